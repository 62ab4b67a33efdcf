//! What the last groups of all replicas added to the logs of incidents: an incident that another replica went on with is caught up
//! without asking the database.

use crate::store::engine::{Each, Key, Order, Reads};
use crate::store::error::Error;
use crate::store::keys;
use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

/// What is kept of them, in bytes of keys and values.
const BYTES_MAX: usize = 8 << 20;

/// The newest records of logs. Of each incident that has any here, all from the first of them on are here.
#[derive(Debug, Default)]
pub(super) struct Recent {
    logs: BTreeMap<Key, Log>,
    /// Of which log each record is, in the order in which they came: the oldest go first, so that what is left of each log is
    /// its end.
    came: VecDeque<Key>,
    bytes: usize,
}

/// The end of one log, in order.
type Log = VecDeque<(Key, Vec<u8>)>;

impl Recent {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A record of a log that was added to it.
    pub(super) fn add(&mut self, key: &Key, value: Vec<u8>) {
        let Some(name) = keys::log_of(key, key) else {
            return;
        };
        let name = Key::from_slice(name);
        let log = self.logs.entry(name.clone()).or_default();
        self.bytes += key.len() + value.len();
        match log.binary_search_by(|(known, _)| known.cmp(key)) {
            Ok(at) => {
                let before = log.get_mut(at).map(|known| &mut known.1);
                let before = before.map_or_else(Vec::new, |known| std::mem::replace(known, value));
                self.bytes -= key.len() + before.len();
            }
            Err(at) => {
                log.insert(at, (key.clone(), value));
                self.came.push_back(name);
            }
        }
        while self.bytes > BYTES_MAX
            && let Some(oldest) = self.came.pop_front()
        {
            self.drop_first(oldest);
        }
    }

    fn drop_first(&mut self, name: Key) {
        let Entry::Occupied(mut log) = self.logs.entry(name) else {
            return;
        };
        if let Some((key, value)) = log.get_mut().pop_front() {
            self.bytes -= key.len() + value.len();
        }
        if log.get().is_empty() {
            log.remove();
        }
    }

    /// `below`, with what is here over it.
    pub(super) fn over<'a>(&'a self, below: &'a dyn Reads) -> Caught<'a> {
        Caught {
            below,
            recent: self,
        }
    }

    /// The records of a log that are here with `from <= key < to`, and whether there is one here at or before `from`.
    fn range(&self, log: &[u8], from: &[u8], to: &[u8]) -> (Range<'_>, bool) {
        let Some(log) = self.logs.get(log) else {
            return (NONE.range(..), false);
        };
        let first = log.partition_point(|(key, _)| key.as_slice() < from);
        let end = log.partition_point(|(key, _)| key.as_slice() < to);
        let has_from = log.front().is_some_and(|(key, _)| key.as_slice() <= from);
        (log.range(first..end.max(first)), has_from)
    }
}

type Range<'a> = std::collections::vec_deque::Iter<'a, (Key, Vec<u8>)>;

static NONE: Log = VecDeque::new();

/// Durable state, of which the ends of logs are in memory.
pub(super) struct Caught<'a> {
    below: &'a dyn Reads,
    recent: &'a Recent,
}

impl Caught<'_> {
    fn scan_log(
        &self,
        log: &[u8],
        from: &[u8],
        to: &[u8],
        order: Order,
        each: &mut Each<'_>,
    ) -> Result<(), Error> {
        let (here, has_from) = self.recent.range(log, from, to);
        match order {
            Order::Forward if !has_from => self.below.scan(from, to, order, each),
            Order::Forward => {
                for (key, value) in here {
                    if each(key, value)?.is_break() {
                        break;
                    }
                }
                Ok(())
            }
            Order::Reverse => {
                let mut rest = Key::from_slice(to);
                for (key, value) in here.rev() {
                    if each(key, value)?.is_break() {
                        return Ok(());
                    }
                    rest = key.clone();
                }
                self.below.scan(from, &rest, order, each)
            }
        }
    }
}

impl Reads for Caught<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Error> {
        self.below.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], order: Order, each: &mut Each<'_>) -> Result<(), Error> {
        match keys::log_of(from, to) {
            Some(log) => self.scan_log(log, from, to, order, each),
            None => self.below.scan(from, to, order, each),
        }
    }

    fn foresee(&self, keys: &[Key]) -> Result<(), Error> {
        self.below.foresee(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::engine::{Class, Engine, Keep, job};
    use crate::store::memory::MemoryEngine;
    use std::ops::ControlFlow;

    fn scanned(reads: &dyn Reads, from: u64, to: u64, order: Order) -> Vec<u64> {
        let mut found = Vec::new();
        let (from, to) = (keys::event(7, from), keys::event(7, to));
        let each = &mut |key: &[u8], _value: &[u8]| {
            found.extend(keys::last_number(key));
            Ok(ControlFlow::Continue(()))
        };
        reads.scan(&from, &to, order, each).expect("a scan");
        found
    }

    #[test]
    fn a_log_reads_the_same_whatever_of_its_end_is_in_memory() {
        let engine = MemoryEngine::new();
        let seqs = [1, 4, 5, 9, 12];
        let write = job(
            move |stage| {
                for seq in seqs {
                    stage.put(keys::event(7, seq), b"{}".to_vec());
                }
                stage.put(keys::event(6, 3), b"{}".to_vec());
                stage.put(keys::event(8, 1), b"{}".to_vec());
                (Keep::Yes, ())
            },
            drop,
        );
        engine.submit(Class::Engine, write).expect("it is taken");
        let view = engine.view();
        for first in 0..=seqs.len() {
            let mut recent = Recent::default();
            for seq in seqs.iter().skip(first) {
                recent.add(&keys::event(7, *seq), b"{}".to_vec());
            }
            let caught = recent.over(view.as_ref());
            for (from, to) in [
                (0, 20),
                (1, 5),
                (4, 12),
                (5, 13),
                (6, 9),
                (9, 9),
                (12, 99),
                (13, 99),
            ] {
                for order in [Order::Forward, Order::Reverse] {
                    let wanted = scanned(view.as_ref(), from, to, order);
                    assert_eq!(
                        scanned(&caught, from, to, order),
                        wanted,
                        "{first} {from} {to}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_oldest_go_first() {
        let mut recent = Recent::default();
        for seq in 0..9 {
            recent.add(&keys::event(7, seq), vec![b'1'; 1 << 20]);
        }
        let log = recent.logs.first_key_value().expect("it is there").1;
        assert_eq!(log.len(), 7);
        assert_eq!(log.front().expect("the first").0, keys::event(7, 2));
        assert!(recent.bytes <= BYTES_MAX);
    }
}
