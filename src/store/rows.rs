//! Records that a writer asks for again and again: as they are in durable state, so that most jobs look them up in one place
//! and not in every layer and run, or over the network. That a record is not there is remembered, too.

use crate::store::engine::Each;
use crate::store::engine::Key;
use crate::store::engine::Order;
use crate::store::engine::Reads;
use crate::store::error::Error;
use crate::store::overlay::Changes;
use lru::LruCache;
use std::borrow::Cow;
use std::cell::RefCell;
use std::num::NonZeroUsize;

/// How big a record may be that is remembered.
const ROW_BYTES_MAX: usize = 2 << 10;

/// What is remembered. The writer alone has this, and it hears of everything that changes durable state.
#[derive(Debug)]
pub(crate) struct Rows {
    /// First bytes of the keys that are.
    tables: &'static [u8],
    rows: RefCell<LruCache<Key, Option<Vec<u8>>>>,
}

impl Rows {
    /// Of these tables, at most so many records.
    pub(crate) fn new(tables: &'static [u8], most: NonZeroUsize) -> Self {
        Self {
            tables,
            rows: RefCell::new(LruCache::new(most)),
        }
    }

    /// These changes are durable now.
    pub(crate) fn follow(&mut self, changes: &Changes) {
        let rows = self.rows.get_mut();
        for (key, value) in changes {
            if !holds(self.tables, key) {
                continue;
            }
            if is_too_large(value.as_deref()) {
                rows.pop(key);
            } else if let Some(row) = rows.peek_mut(key) {
                row.clone_from(value);
            }
        }
    }

    pub(crate) fn forget_all(&mut self) {
        self.rows.get_mut().clear();
    }

    /// Whether it is known how this record is, so that nobody need ask below.
    pub(crate) fn knows(&self, key: &[u8]) -> bool {
        self.rows.borrow().contains(key)
    }

    /// Whether it is known that there is no such record.
    pub(crate) fn knows_none(&self, key: &[u8]) -> bool {
        matches!(self.rows.borrow().peek(key), Some(None))
    }

    /// This is how records are; those of other tables are not remembered.
    pub(crate) fn remember_all(&self, records: &Changes) {
        let its = records.iter().filter(|(key, _)| holds(self.tables, key));
        its.for_each(|(key, value)| self.remember(key.clone(), value.clone()));
    }

    /// This is how a record is, or that there is none.
    pub(crate) fn remember(&self, key: Key, value: Option<Vec<u8>>) {
        let mut rows = self.rows.borrow_mut();
        match is_too_large(value.as_deref()) {
            true => rows.pop(&key),
            false => rows.put(key, value),
        };
    }

    /// `below`, with what is remembered of it.
    pub(crate) fn over<'a>(&'a self, below: &'a dyn Reads) -> Remembered<'a> {
        Remembered { below, rows: self }
    }
}

fn holds(tables: &[u8], key: &[u8]) -> bool {
    key.first().is_some_and(|table| tables.contains(table))
}

fn is_too_large(value: Option<&[u8]>) -> bool {
    value.is_some_and(|value| value.len() > ROW_BYTES_MAX)
}

/// Durable state as the writer reads it.
pub(crate) struct Remembered<'a> {
    below: &'a dyn Reads,
    rows: &'a Rows,
}

impl Reads for Remembered<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Error> {
        if !holds(self.rows.tables, key) {
            return self.below.get(key);
        }
        let known = self.rows.rows.borrow_mut().get(key).cloned();
        if let Some(row) = known {
            return Ok(row.map(Cow::Owned));
        }
        let found = self.below.get(key)?;
        let row = found.as_deref().map(<[u8]>::to_vec);
        self.rows.remember(Key::from_slice(key), row);
        Ok(found)
    }

    fn scan(&self, from: &[u8], to: &[u8], order: Order, each: &mut Each<'_>) -> Result<(), Error> {
        self.below.scan(from, to, order, each)
    }

    fn foresee(&self, keys: &[Key]) -> Result<(), Error> {
        let unknown: Vec<Key> = keys
            .iter()
            .filter(|key| !self.rows.knows(key))
            .cloned()
            .collect();
        self.below.foresee(&unknown)
    }
}
