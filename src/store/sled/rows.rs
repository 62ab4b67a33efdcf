//! Records that the writer asks for again and again: as they are in durable state, so that most jobs look them up in one place
//! and not in every layer and run. That a record is not there is remembered, too.

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

/// Records that are remembered, and how big one may be.
const ROWS_MAX: NonZeroUsize = NonZeroUsize::new(4_096).expect("a number that is not 0");
const ROW_BYTES_MAX: usize = 2 << 10;

/// What is remembered. Nothing but the writer changes durable state, and it alone has this.
#[derive(Debug)]
pub(super) struct Rows {
    /// First bytes of the keys that are.
    tables: &'static [u8],
    rows: RefCell<LruCache<Key, Option<Vec<u8>>>>,
}

impl Rows {
    pub(super) fn new(tables: &'static [u8]) -> Self {
        Self {
            tables,
            rows: RefCell::new(LruCache::new(ROWS_MAX)),
        }
    }

    /// These changes are durable now.
    pub(super) fn follow(&mut self, changes: &Changes) {
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

    /// `below`, with what is remembered of it.
    pub(super) fn over<'a>(&'a self, below: &'a dyn Reads) -> Remembered<'a> {
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
pub(super) struct Remembered<'a> {
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
        if !is_too_large(found.as_deref()) {
            let row = found.as_deref().map(<[u8]>::to_vec);
            self.rows.rows.borrow_mut().put(Key::from_slice(key), row);
        }
        Ok(found)
    }

    fn scan(&self, from: &[u8], to: &[u8], order: Order, each: &mut Each<'_>) -> Result<(), Error> {
        self.below.scan(from, to, order, each)
    }
}
