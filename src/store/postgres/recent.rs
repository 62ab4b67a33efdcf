//! What other replicas added to the logs of incidents since this one last did: an incident that another replica went on with is caught
//! up without asking the database. What this replica adds itself is in the incident that it remembers.

use crate::store::engine::{Each, Key, Order, Reads};
use crate::store::error::Error;
use crate::store::keys;
use lru::LruCache;
use std::borrow::Cow;

/// What is kept of them, in bytes of keys and values.
const BYTES_MAX: usize = 8 << 20;

/// The newest records of logs. Of each incident that has any here, all from the first of them on are here.
#[derive(Debug)]
pub(super) struct Recent {
    /// By incident, and in the order in which they were last added to: where there are too many, those go first that have been quiet for
    /// the longest.
    logs: LruCache<u64, Log>,
    bytes: usize,
}

/// The end of one log, in order.
type Log = Vec<(Key, Vec<u8>)>;

impl Default for Recent {
    fn default() -> Self {
        Self {
            logs: LruCache::unbounded(),
            bytes: 0,
        }
    }
}

impl Recent {
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// A record of a log that another replica added to it.
    pub(super) fn add(&mut self, key: Key, value: Vec<u8>) {
        let Some(incident) = keys::incident_of_log(&key, &key) else {
            return;
        };
        self.bytes += key.len() + value.len();
        let log = self.logs.get_or_insert_mut(incident, Log::new);
        match log.binary_search_by(|(known, _)| known.cmp(&key)) {
            Ok(at) => {
                let before = log.get_mut(at).map(|known| &mut known.1);
                let before = before.map_or_else(Vec::new, |known| std::mem::replace(known, value));
                self.bytes -= key.len() + before.len();
            }
            Err(at) => log.insert(at, (key, value)),
        }
        while self.bytes > BYTES_MAX
            && let Some((_incident, quiet)) = self.logs.pop_lru()
        {
            self.bytes -= size_of(&quiet);
        }
    }

    /// This replica added to a log, and remembers the incident as of then: what was added before is asked for no more. What comes after
    /// would not follow on it here.
    pub(super) fn drop_log(&mut self, key: &[u8]) {
        let incident = keys::incident_of_log(key, key);
        if let Some(log) = incident.and_then(|incident| self.logs.pop(&incident)) {
            self.bytes -= size_of(&log);
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
    fn range(&self, incident: u64, from: &[u8], to: &[u8]) -> (&[(Key, Vec<u8>)], bool) {
        let Some(log) = self.logs.peek(&incident) else {
            return (&[], false);
        };
        let first = log.partition_point(|(key, _)| key.as_slice() < from);
        let end = log.partition_point(|(key, _)| key.as_slice() < to);
        let has_from = log.first().is_some_and(|(key, _)| key.as_slice() <= from);
        (log.get(first..end).unwrap_or_default(), has_from)
    }
}

fn size_of(log: &Log) -> usize {
    log.iter().map(|(key, value)| key.len() + value.len()).sum()
}

/// Durable state, of which the ends of logs are in memory.
pub(super) struct Caught<'a> {
    below: &'a dyn Reads,
    recent: &'a Recent,
}

impl Caught<'_> {
    fn scan_log(
        &self,
        incident: u64,
        from: &[u8],
        to: &[u8],
        order: Order,
        each: &mut Each<'_>,
    ) -> Result<(), Error> {
        let (here, has_from) = self.recent.range(incident, from, to);
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
                for (key, value) in here.iter().rev() {
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
        match keys::incident_of_log(from, to) {
            Some(incident) => self.scan_log(incident, from, to, order, each),
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

    /// With this log of incident 7, and others beside it.
    fn engine_with(seqs: &'static [u64]) -> MemoryEngine {
        let engine = MemoryEngine::new();
        let write = job(
            move |stage| {
                for seq in seqs {
                    stage.put(keys::event(7, *seq), b"{}".to_vec());
                }
                stage.put(keys::event(6, 3), b"{}".to_vec());
                stage.put(keys::event(8, 1), b"{}".to_vec());
                (Keep::Yes, ())
            },
            drop,
        );
        engine.submit(Class::Engine, write).expect("it is taken");
        engine
    }

    #[test]
    fn a_log_reads_the_same_whatever_of_its_end_is_in_memory() {
        let seqs = &[1, 4, 5, 9, 12];
        let engine = engine_with(seqs);
        let view = engine.view();
        for first in 0..=seqs.len() {
            let mut recent = Recent::default();
            for seq in seqs.iter().skip(first) {
                recent.add(keys::event(7, *seq), b"{}".to_vec());
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
    fn what_this_replica_added_itself_is_read_from_below_with_all_before_it() {
        let mut recent = Recent::default();
        recent.add(keys::event(7, 1), b"{}".to_vec());
        recent.add(keys::event(7, 4), b"{}".to_vec());
        recent.drop_log(&keys::event(7, 5));
        recent.add(keys::event(7, 9), b"{}".to_vec());
        recent.add(keys::event(7, 12), b"{}".to_vec());
        let engine = engine_with(&[1, 4, 5, 9, 12]);
        let view = engine.view();
        let caught = recent.over(view.as_ref());
        for from in [0, 1, 4, 5, 6, 9, 10] {
            for order in [Order::Forward, Order::Reverse] {
                let wanted = scanned(view.as_ref(), from, 20, order);
                assert_eq!(scanned(&caught, from, 20, order), wanted, "{from}");
            }
        }
        let nothing = MemoryEngine::new();
        let view = nothing.view();
        let caught = recent.over(view.as_ref());
        assert_eq!(
            scanned(&caught, 9, 20, Order::Forward),
            [9, 12],
            "in memory"
        );
        assert!(
            scanned(&caught, 5, 20, Order::Forward).is_empty(),
            "asked below"
        );
    }

    #[test]
    fn the_logs_that_are_quiet_for_the_longest_go_first() {
        let mut recent = Recent::default();
        for (incident, seq) in [(1, 1), (2, 1), (1, 2), (3, 1), (1, 3), (3, 2), (1, 4)] {
            recent.add(keys::event(incident, seq), vec![b'1'; 1 << 20]);
        }
        recent.add(keys::event(3, 3), vec![b'1'; 1 << 20]);
        let mut left: Vec<(u64, usize)> =
            recent.logs.iter().map(|(k, log)| (*k, log.len())).collect();
        left.sort_unstable();
        assert_eq!(left, [(1, 4), (3, 3)]);
        for seq in 1..=8 {
            recent.add(keys::event(4, seq), vec![b'1'; 1 << 20]);
        }
        assert!(recent.logs.is_empty(), "one is more than is kept");
        assert_eq!(recent.bytes, 0);
    }
}
