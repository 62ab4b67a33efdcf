//! Typed reads of the state, for transactions and for answers.

use crate::domain::alert::{Alert, Fingerprint};
use crate::domain::incident::{Entry, Incident};
use crate::domain::oncall::Overrides;
use crate::domain::schedule::Override;
use crate::domain::silence::Silence;
use crate::store::Cache;
use crate::store::engine::{Key, Order, Reads};
use crate::store::error::Error;
use crate::store::keys;
use crate::store::records::{
    CheckSeen, Head, KeyHolder, OneOrMore, PageRecord, Pending, Quarantined, Seen,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The count of changes of silences.
pub(crate) const SILENCES_CHANGED: &str = "silence";

/// What a scan of decoded records calls for each.
type EachRecord<'e, T> = dyn FnMut(&[u8], T) -> Result<ControlFlow<()>, Error> + 'e;

/// What a scan of keys calls for each.
type EachKey<'e> = dyn FnMut(&[u8]) -> Result<ControlFlow<()>, Error> + 'e;

/// Reads records of one state.
pub struct Reader<'a> {
    reads: &'a dyn Reads,
    cache: &'a Cache,
    /// What it reads is on disk: what is replayed of it may be kept.
    is_durable: bool,
}

impl std::fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

impl<'a> Reader<'a> {
    /// Reads what is on disk.
    pub(crate) fn durable(reads: &'a dyn Reads, cache: &'a Cache) -> Self {
        Self {
            reads,
            cache,
            is_durable: true,
        }
    }

    /// Reads what a group has changed so far, which may come to nothing.
    pub(crate) fn staged(reads: &'a dyn Reads, cache: &'a Cache) -> Self {
        Self {
            reads,
            cache,
            is_durable: false,
        }
    }

    /// These records will be asked for.
    pub(crate) fn foresee(&self, keys: &[Key]) -> Result<(), Error> {
        self.reads.foresee(keys)
    }

    pub fn alert(&self, fingerprint: Fingerprint) -> Result<Option<Alert>, Error> {
        match self.cache.kept() {
            Some(kept) => Ok(kept.alert(fingerprint)),
            None => self.get(&keys::alert(fingerprint)),
        }
    }

    /// Looks at an alert without a copy of it, where it is at hand.
    pub(crate) fn with_alert<T>(
        &self,
        fingerprint: Fingerprint,
        look: impl FnOnce(&Alert) -> T,
    ) -> Result<Option<T>, Error> {
        if let Some(kept) = self.cache.kept()
            && let Some(live) = kept.alerts.get(&fingerprint)
        {
            return Ok(Some(look(live)));
        }
        Ok(self.alert(fingerprint)?.as_ref().map(look))
    }

    pub fn seen(&self, fingerprint: Fingerprint) -> Result<Option<Seen>, Error> {
        self.get(&keys::seen(fingerprint))
    }

    /// How often alerts of an incident were received.
    pub fn tally(&self, incident: u64) -> Result<u64, Error> {
        Ok(self
            .get::<Seen>(&keys::tally(incident))?
            .map_or(0, |seen| seen.received))
    }

    pub fn check(&self, fingerprint: Fingerprint) -> Result<Option<CheckSeen>, Error> {
        self.get(&keys::check(fingerprint))
    }

    pub fn head(&self, incident: u64) -> Result<Option<Head>, Error> {
        self.with_head(incident, Head::clone)
    }

    /// Looks at a head without a copy of it, where it is at hand.
    pub(crate) fn with_head<T>(
        &self,
        incident: u64,
        look: impl FnOnce(&Head) -> T,
    ) -> Result<Option<T>, Error> {
        match self.cache.kept() {
            Some(kept) => Ok(kept.head(incident).map(look)),
            None => Ok(self.get(&keys::head(incident))?.as_ref().map(look)),
        }
    }

    /// The first alerts from a fingerprint on.
    pub(crate) fn alerts_from(
        &self,
        from: Fingerprint,
        most: usize,
    ) -> Result<Vec<(Fingerprint, Alert)>, Error> {
        if let Some(kept) = self.cache.kept() {
            let from = kept.alerts.range(from..).take(most);
            return Ok(from.map(|(of, alert)| (*of, alert.clone())).collect());
        }
        let mut some: Vec<(Fingerprint, Alert)> = Vec::new();
        let end = keys::after(&keys::all_alerts());
        self.scan(
            &keys::alert(from),
            &end,
            Order::Forward,
            &mut |key, alert: Alert| {
                some.extend(keys::last_number(key).map(|of| (Fingerprint(of), alert)));
                Ok(match some.len() < most {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                })
            },
        )?;
        Ok(some)
    }

    /// The incident with this number, as its events make it.
    pub fn incident(&self, number: u64) -> Result<Option<Arc<Incident>>, Error> {
        if let Some(kept) = self.cache.kept() {
            return Ok(kept.incident(number).map(Arc::clone));
        }
        match self.with_head(number, |head| head.seq)? {
            Some(seq) => self.incident_at(number, seq).map(Some),
            None => Ok(None),
        }
    }

    /// The same, where its head is known: up to its last event, which is `seq`.
    pub(crate) fn incident_at(&self, number: u64, seq: u64) -> Result<Arc<Incident>, Error> {
        let cached = self.cache.get(number, seq);
        if let Some(incident) = &cached
            && incident.seq == seq
        {
            return Ok(Arc::clone(incident));
        }
        let behind = cached.as_ref().map_or(0, |incident| incident.seq);
        let entries = self.entries(number, behind + 1, u64::MAX)?;
        let incident = match cached {
            Some(cached) => {
                let mut incident = (*cached).clone();
                incident.catch_up(&entries);
                incident
            }
            None => Incident::replay(&entries).ok_or_else(|| {
                Error::record(
                    &keys::event(number, 1),
                    "the log does not begin with its opening",
                )
            })?,
        };
        let incident = Arc::new(incident);
        if self.is_durable {
            self.cache.keep(vec![Arc::clone(&incident)]);
        }
        Ok(incident)
    }

    /// The same where it can be had: none also where its log is damaged, or panics when it is replayed. For what must go
    /// on for all the others.
    pub(crate) fn readable_incident(&self, number: u64) -> Option<Arc<Incident>> {
        catch_unwind(AssertUnwindSafe(|| self.incident(number)))
            .ok()?
            .ok()?
    }

    /// Entries of an incident's log with `from <= seq < to`.
    pub fn entries(&self, number: u64, from: u64, to: u64) -> Result<Vec<Entry>, Error> {
        let mut entries = self.entries_recorded(number, from, to)?;
        if entries.first().is_none_or(|first| first.seq != from) && from < to {
            // It stands in the record of a transaction that began before it.
            entries = self.entries_recorded(number, self.record_with(number, from)?, to)?;
            entries.retain(|entry| from <= entry.seq);
        }
        entries.retain(|entry| entry.seq < to);
        Ok(entries)
    }

    /// The entries of all records with `from <= seq < to`.
    fn entries_recorded(&self, number: u64, from: u64, to: u64) -> Result<Vec<Entry>, Error> {
        let mut entries: Vec<Entry> = Vec::new();
        self.scan(
            &keys::event(number, from),
            &keys::event(number, to),
            Order::Forward,
            &mut |_key, more: OneOrMore<Entry>| {
                entries.extend(more.into_vec());
                Ok(ControlFlow::Continue(()))
            },
        )?;
        Ok(entries)
    }

    /// The sequence number under which the entry `seq` is recorded: that of the first of its transaction.
    fn record_with(&self, number: u64, seq: u64) -> Result<u64, Error> {
        let mut first = seq;
        self.scan_keys(
            &keys::event(number, 0),
            &keys::event(number, seq.saturating_add(1)),
            Order::Reverse,
            &mut |key| {
                first = keys::last_number(key).unwrap_or(seq);
                Ok(ControlFlow::Break(()))
            },
        )?;
        Ok(first)
    }

    /// The last incident of a dedup key.
    pub fn holder(&self, dedup_key: &str) -> Result<Option<KeyHolder>, Error> {
        match self.cache.kept() {
            Some(kept) => Ok(kept.holders.get(dedup_key).cloned()),
            None => self.get(&keys::dedup(dedup_key)),
        }
    }

    pub fn pending(&self, dedup_key: &str) -> Result<Option<Pending>, Error> {
        self.get(&keys::pending(dedup_key))
    }

    pub fn page(&self, incident: u64, serial: u32) -> Result<Option<PageRecord>, Error> {
        self.get(&keys::page(incident, serial))
    }

    pub fn pages(&self, incident: u64) -> Result<Vec<PageRecord>, Error> {
        let prefix = keys::pages(incident);
        let mut pages = Vec::new();
        self.scan(
            &prefix,
            &keys::after(&prefix),
            Order::Forward,
            &mut |_key, page: PageRecord| {
                pages.push(page);
                Ok(ControlFlow::Continue(()))
            },
        )?;
        Ok(pages)
    }

    /// All exceptions of schedules. Kept in memory as long as none is added: every transaction asks.
    pub fn overrides(&self) -> Result<Arc<Overrides>, Error> {
        // Each one that is added takes the next number.
        let last: u64 = self.get(&keys::meta("override"))?.unwrap_or(0);
        if let Some(known) = self.cache.overrides(last) {
            return Ok(known);
        }
        let overrides = Arc::new(self.read_overrides()?);
        self.cache.keep_overrides(last, &overrides);
        Ok(overrides)
    }

    pub(crate) fn read_overrides(&self) -> Result<Overrides, Error> {
        let mut overrides = Overrides::default();
        let all = keys::all_overrides();
        self.scan(
            &all,
            &keys::after(&all),
            Order::Forward,
            &mut |key, entry: Override| {
                if let Some(schedule) = keys::schedule_of(key) {
                    overrides.0.entry(schedule).or_default().push(entry);
                }
                Ok(ControlFlow::Continue(()))
            },
        )?;
        Ok(overrides)
    }

    /// The silences that have not ended, in order of their ids; some may have meanwhile. Kept in memory as long as none is
    /// changed: every transaction asks.
    pub fn silences(&self) -> Result<Arc<Vec<Silence>>, Error> {
        let changed: u64 = self.get(&keys::meta(SILENCES_CHANGED))?.unwrap_or(0);
        if changed == 0 {
            return Ok(Arc::default());
        }
        if let Some(known) = self.cache.silences(changed) {
            return Ok(known);
        }
        let silences = Arc::new(self.read_silences()?);
        self.cache.keep_silences(changed, &silences);
        Ok(silences)
    }

    /// By what they have yet to do: a silence that has ended has nothing.
    fn read_silences(&self) -> Result<Vec<Silence>, Error> {
        let all = keys::all_silence_alarms();
        let mut ids: BTreeSet<String> = BTreeSet::new();
        self.scan_keys(&all, &keys::after(&all), Order::Forward, &mut |key| {
            ids.extend(keys::read_silence_at(key).map(|(_, id)| id));
            Ok(ControlFlow::Continue(()))
        })?;
        let mut silences = Vec::with_capacity(ids.len());
        for id in ids {
            silences.extend(self.get::<Silence>(&keys::silence(&id))?);
        }
        Ok(silences)
    }

    /// Incidents that could not be stepped.
    pub fn quarantined(&self) -> Result<Vec<(u64, Quarantined)>, Error> {
        let all = keys::all_quarantined();
        let mut found = Vec::new();
        self.scan(
            &all,
            &keys::after(&all),
            Order::Forward,
            &mut |key, quarantined: Quarantined| {
                found.extend(keys::last_number(key).map(|number| (number, quarantined)));
                Ok(ControlFlow::Continue(()))
            },
        )?;
        Ok(found)
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, Error> {
        match self.reads.get(key)? {
            Some(value) => decode(key, &value).map(Some),
            None => Ok(None),
        }
    }

    /// Records of a range, decoded.
    pub(crate) fn scan<T: DeserializeOwned>(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
        each: &mut EachRecord<'_, T>,
    ) -> Result<(), Error> {
        self.reads.scan(from, to, order, &mut |key, value| {
            each(key, decode(key, value)?)
        })
    }

    /// Keys of a range, where they say everything.
    pub(crate) fn scan_keys(
        &self,
        from: &[u8],
        to: &[u8],
        order: Order,
        each: &mut EachKey<'_>,
    ) -> Result<(), Error> {
        self.reads
            .scan(from, to, order, &mut |key, _value| each(key))
    }
}

fn decode<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, Error> {
    // Looked at once as a whole, which is faster than once for each text that stands in it.
    let text = str::from_utf8(value).map_err(|error| Error::record(key, error.to_string()))?;
    serde_json::from_str(text).map_err(|error| Error::record(key, error.to_string()))
}

/// Stored values are JSON: readable, and open to new fields.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        serde_json::to_writer(&mut *scratch, value)
            .expect("records have text keys and no foreign code in their serialization");
        let encoded = scratch.clone();
        scratch.shrink_to(SCRATCH_KEPT_BYTES);
        encoded
    })
}

thread_local! {
    /// Where records are encoded before they are copied to as much memory as they need: they lie in it for long.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a thread keeps of that.
const SCRATCH_KEPT_BYTES: usize = 64 << 10;
