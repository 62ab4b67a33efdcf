//! One transaction: what it reads, what it changes, and the indexes that follow from that.

use crate::domain::alert::{Alert, Fingerprint, Labels};
use crate::domain::incident::event::Opened;
use crate::domain::incident::{Command, Entry, Event, Incident, Refusal};
use crate::domain::oncall::{OnCall, Overrides};
use crate::domain::schedule::Override;
use crate::domain::time::{Served, Timestamp};
use crate::store::engine::{Key, Reads, Stage};
use crate::store::error::Error;
use crate::store::kept::Kept;
use crate::store::read::{Reader, SILENCES_CHANGED, encode};
use crate::store::records::{
    Change, CheckSeen, DeadLetter, FIRST_SIGHTING, Head, KeyHolder, OneOrMore, PageRecord, Pending,
    Reworded, Seen, Transition, Was, joined,
};
use crate::store::served::{self, Unserved, unserved};
use crate::store::{Cache, Failure, InForce, keys, outbox};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// A transaction that runs now. Incidents it touches are settled and written when it ends.
pub struct Tx<'t, 's> {
    stage: &'t mut Stage<'s>,
    cache: &'t Cache,
    work: BTreeMap<u64, Work>,
    overrides: Option<Arc<Overrides>>,
    /// It added one: what it sees is not what others see, should it be refused.
    adds_override: bool,
    /// What became of alerts, at one instant; written together.
    history: Vec<Transition>,
    history_at: Option<Timestamp>,
    unserved: Option<Unserved>,
    /// Alerts that must be heard of, by when; written together.
    watches: BTreeMap<Served, Vec<Fingerprint>>,
    /// Sightings that incidents are to be counted, and when the last was.
    tallies: BTreeMap<u64, (u64, Timestamp)>,
    /// The incident that was last asked for anything: where that panics, it is this one that is stuck.
    asked: Cell<Option<u64>>,
    /// Incidents that are asked for nothing, since they are stuck.
    avoided: BTreeSet<u64>,
    /// Alerts that began or ended to be live, or are matched otherwise than before: inhibitions have yet to follow.
    moved: Vec<Moved>,
    /// What it made due may be before what whoever waits for it knows of.
    makes_due: bool,
    writes_pages: bool,
}

/// Transitions that one record holds.
const HISTORY_MAX: usize = 200;

/// A record of the history that is larger is not joined by further transactions of its group.
const HISTORY_JOINED_BYTES: usize = 8 << 10;

/// An alert as inhibitions saw it, and as they are to see it; none where it is not live.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    pub(crate) fingerprint: Fingerprint,
    pub(crate) was: Option<Matched>,
    pub(crate) is: Option<Matched>,
}

/// What inhibitions match of an alert. Copies share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Matched {
    pub(crate) labels: Labels,
    pub(crate) attributes: Labels,
    pub(crate) held_by: Option<Fingerprint>,
}

impl Matched {
    pub(crate) fn of(alert: &Alert) -> Option<Self> {
        alert.is_live().then(|| Self {
            labels: alert.labels.clone(),
            attributes: alert.attributes.clone(),
            held_by: alert.held_by,
        })
    }
}

/// How an incident stood in indexes.
#[derive(Clone, Copy)]
struct Before {
    is_open: bool,
    due_at: Option<Timestamp>,
}

/// An incident that the transaction works on.
struct Work {
    /// Copied where it is changed while others have it, too.
    incident: Arc<Incident>,
    entries: Vec<Entry>,
    before: Option<Before>,
    /// Nothing fired before the transaction, so that pages may be kept back.
    was_silent: bool,
    settled: bool,
    /// Alerts of which it was told since muting was last looked at.
    told: Vec<Fingerprint>,
}

impl fmt::Debug for Tx<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx")
            .field("incidents", &self.work.keys())
            .finish_non_exhaustive()
    }
}

/// The next number of something that is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counter {
    Incident,
    DeadLetter,
    Transition,
    Override,
    Shout,
    /// How often silences were changed.
    Silence,
}

impl Counter {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Incident => "incident",
            Self::DeadLetter => "dead_letter",
            Self::Transition => "transition",
            Self::Override => "override",
            Self::Shout => "shout",
            Self::Silence => SILENCES_CHANGED,
        }
    }
}

impl<'t, 's> Tx<'t, 's> {
    pub(crate) fn new(stage: &'t mut Stage<'s>, cache: &'t Cache) -> Self {
        Self {
            stage,
            cache,
            work: BTreeMap::new(),
            overrides: None,
            adds_override: false,
            history: Vec::new(),
            history_at: None,
            unserved: None,
            watches: BTreeMap::new(),
            tallies: BTreeMap::new(),
            asked: Cell::new(None),
            avoided: BTreeSet::new(),
            moved: Vec::new(),
            makes_due: false,
            writes_pages: false,
        }
    }

    /// Whether something is due at another time than before, for the engine and for the delivery.
    pub(crate) fn wakes(&self) -> (bool, bool) {
        (self.makes_due, self.writes_pages)
    }

    /// Records that nearly every transaction asks for.
    pub(crate) fn always_asked() -> Vec<Key> {
        let counters = [
            Counter::Incident,
            Counter::Transition,
            Counter::Override,
            Counter::Silence,
        ];
        counters
            .iter()
            .map(|counter| keys::meta(counter.name()))
            .chain([served::key()])
            .collect()
    }

    /// The record that keeping a dead letter asks for.
    pub(crate) fn dead_letters_asked() -> Key {
        keys::meta(Counter::DeadLetter.name())
    }

    /// The incidents that it works on, each with what it adds to their logs.
    pub(crate) fn worked_on(&self) -> impl Iterator<Item = (u64, &Incident, &[Entry])> {
        let work = self.work.iter();
        work.map(|(number, work)| (*number, &*work.incident, work.entries.as_slice()))
    }

    /// Takes an incident over as its log has it, from another store.
    pub(crate) fn adopt(&mut self, incident: Incident, entries: Vec<Entry>) -> Result<(), Error> {
        let number = incident.number();
        if let Some(dedup_key) = &incident.opened.dedup_key {
            let known = self.read().holder(dedup_key)?;
            // People can have opened an earlier one of the key again.
            let is_held = !incident.is_open()
                && match known {
                    Some(known) => self.is_open(known.incident)?,
                    None => false,
                };
            if !is_held {
                self.put_holder(dedup_key, number, None);
            }
        }
        let work = Work {
            was_silent: false,
            incident: Arc::new(incident),
            entries,
            before: None,
            settled: true,
            told: Vec::new(),
        };
        self.work.insert(number, work);
        Ok(())
    }

    /// Adds to an incident's log what was decided elsewhere; nothing where there is no such incident.
    pub(crate) fn impose(
        &mut self,
        number: u64,
        event: Event,
        by: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        if self.incident(number)?.is_some()
            && let Some(work) = self.work.get_mut(&number)
        {
            let incident = Arc::make_mut(&mut work.incident);
            work.entries.push(incident.impose(event, by, now));
            work.settled = false;
        }
        Ok(())
    }

    /// Whether nothing is asked of this incident, since it is stuck.
    pub(crate) fn avoids(&self, number: u64) -> bool {
        self.avoided.contains(&number)
    }

    /// The incident that was last asked for anything.
    pub(crate) fn asked(&self) -> Option<u64> {
        self.asked.get()
    }

    /// Forgets all that this transaction did so far; from now on it asks nothing of these incidents.
    pub(crate) fn start_over_without(&mut self, avoided: BTreeSet<u64>) {
        self.stage.undo();
        self.work.clear();
        self.overrides = None;
        self.adds_override = false;
        self.history.clear();
        self.history_at = None;
        self.unserved = None;
        self.watches.clear();
        self.tallies.clear();
        self.asked.set(None);
        self.moved.clear();
        self.avoided = avoided;
    }

    /// Reads the state as this transaction has it; incidents it works on are read by [`Tx::incident`].
    pub fn read(&self) -> Reader<'_> {
        Reader::staged(&*self.stage as &dyn Reads, self.cache)
    }

    /// An incident, with what this transaction has changed of it.
    pub fn incident(&mut self, number: u64) -> Result<Option<&Incident>, Error> {
        self.asked.set(Some(number));
        if !self.work.contains_key(&number) {
            let before = self.read().with_head(number, |head| {
                let (is_open, due_at) = (head.open, head.due_at);
                (head.seq, Before { is_open, due_at })
            })?;
            let Some((seq, before)) = before else {
                return Ok(None);
            };
            let taken = self.cache.kept().and_then(|mut kept| kept.take(number));
            let incident = match taken {
                Some(taken) => taken,
                None => self.read().incident_at(number, seq)?,
            };
            let work = Work {
                was_silent: incident.is_silent(),
                incident,
                entries: Vec::new(),
                before: Some(before),
                settled: true,
                told: Vec::new(),
            };
            self.work.insert(number, work);
        }
        Ok(self.work.get(&number).map(|work| &*work.incident))
    }

    /// Looks at an incident without taking it into work.
    pub fn with<T>(
        &self,
        number: u64,
        look: impl FnOnce(&Incident) -> T,
    ) -> Result<Option<T>, Error> {
        if self.avoided.contains(&number) {
            return Ok(None);
        }
        match self.work.get(&number) {
            Some(work) => Ok(Some(look(&work.incident))),
            None => {
                self.asked.set(Some(number));
                let incident = self.read().incident(number)?;
                Ok(incident.map(|incident| look(&incident)))
            }
        }
    }

    pub fn is_open(&self, number: u64) -> Result<bool, Error> {
        match self.work.get(&number) {
            Some(work) => Ok(work.incident.is_open()),
            None => {
                let is_open = self.read().with_head(number, |head| head.open)?;
                Ok(is_open == Some(true))
            }
        }
    }

    /// Whether an alert that belonged to it does so still: it is open, and no storm that is over.
    pub(crate) fn takes_alerts(&self, number: u64) -> Result<bool, Error> {
        match self.work.get(&number) {
            Some(work) => Ok(work.incident.is_open() && !work.incident.is_storm_over()),
            None => {
                let takes = |head: &Head| head.open && !head.storm_over;
                Ok(self.read().with_head(number, takes)? == Some(true))
            }
        }
    }

    /// Whether it is a storm that is over. Every alert asks that of the incident of its key, which is not replayed for it: another
    /// replica may have gone on with it.
    pub(crate) fn is_storm_over(&self, number: u64) -> Result<bool, Error> {
        match self.work.get(&number) {
            Some(work) => Ok(work.incident.is_storm_over()),
            None => {
                let head = self.read().head(number)?;
                Ok(head.is_some_and(|head| head.storm_over))
            }
        }
    }

    /// Asks something of an incident; none where there is no such incident. What it makes due is settled in this
    /// transaction.
    pub fn command(
        &mut self,
        number: u64,
        command: &Command,
        by: &str,
        in_force: &InForce,
        now: Timestamp,
    ) -> Result<Option<Result<(), Refusal>>, Error> {
        let overrides = self.overrides()?;
        if self.avoided.contains(&number) {
            if let Some(fingerprint) = command.alert() {
                self.put(keys::untold(number, fingerprint), &());
            }
            return Ok(None);
        }
        if self.incident(number)?.is_none() {
            return Ok(None);
        }
        let oncall = OnCall {
            book: &in_force.book,
            overrides: &overrides,
        };
        let Some(work) = self.work.get_mut(&number) else {
            return Ok(None);
        };
        match Arc::make_mut(&mut work.incident).command(command, by, oncall, now) {
            Ok(entries) => {
                work.entries.extend(entries);
                work.settled = false;
                work.told.extend(command.alert());
                Ok(Some(Ok(())))
            }
            Err(refusal) => Ok(Some(Err(refusal))),
        }
    }

    /// Opens an incident under the next number.
    pub fn open(&mut self, mut opened: Opened, by: &str, now: Timestamp) -> Result<u64, Error> {
        let number = self.next(Counter::Incident)?;
        opened.number = number;
        if let Some(dedup_key) = &opened.dedup_key {
            self.put_holder(dedup_key, number, None);
        }
        let (incident, entry) = Incident::open(opened, by, now);
        let work = Work {
            incident: Arc::new(incident),
            entries: vec![entry],
            before: None,
            was_silent: false,
            settled: false,
            told: Vec::new(),
        };
        self.work.insert(number, work);
        Ok(number)
    }

    /// Does what is due of every incident that was touched. Must be called before the transaction ends.
    pub fn settle(&mut self, in_force: &InForce, now: Timestamp) -> Result<(), Error> {
        self.look_at_muting(in_force, now)?;
        let overrides = self.overrides()?;
        let oncall = OnCall {
            book: &in_force.book,
            overrides: &overrides,
        };
        let avoided = &self.avoided;
        let unsettled =
            |(number, work): &(&u64, &mut Work)| !work.settled && !avoided.contains(number);
        for (number, work) in self.work.iter_mut().filter(unsettled) {
            self.asked.set(Some(*number));
            let incident = Arc::make_mut(&mut work.incident);
            work.entries.extend(incident.settle(oncall, now));
            work.settled = true;
        }
        Ok(())
    }

    /// The same of one incident, before more is asked of it.
    pub(crate) fn settle_one(
        &mut self,
        number: u64,
        in_force: &InForce,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.look_at_muting_of(number, in_force, now)?;
        let overrides = self.overrides()?;
        let oncall = OnCall {
            book: &in_force.book,
            overrides: &overrides,
        };
        if let Some(work) = self.work.get_mut(&number) {
            self.asked.set(Some(number));
            let incident = Arc::make_mut(&mut work.incident);
            work.entries.extend(incident.settle(oncall, now));
            work.settled = true;
        }
        Ok(())
    }

    /// Alerts that inhibitions have yet to follow.
    pub(crate) fn take_moved(&mut self) -> Vec<Moved> {
        std::mem::take(&mut self.moved)
    }

    /// Incidents that have yet to be settled, each with the alerts of which it was told.
    pub(crate) fn take_told(&mut self) -> Vec<(u64, Vec<Fingerprint>)> {
        let avoided = &self.avoided;
        let unsettled =
            |(number, work): &(&u64, &mut Work)| !work.settled && !avoided.contains(number);
        self.work
            .iter_mut()
            .filter(unsettled)
            .map(|(number, work)| (*number, std::mem::take(&mut work.told)))
            .collect()
    }

    /// The alerts of which one of them was told.
    pub(crate) fn take_told_of(&mut self, number: u64) -> Vec<Fingerprint> {
        let work = self.work.get_mut(&number);
        work.map(|work| std::mem::take(&mut work.told))
            .unwrap_or_default()
    }

    /// An alert of an incident that was not muted when it was last looked at.
    pub(crate) fn witness(&self, number: u64) -> Option<Fingerprint> {
        self.cache.witness(number)
    }

    pub(crate) fn keep_witness(&self, number: u64, of: Fingerprint) {
        self.cache.keep_witness(number, of);
    }

    /// Something of what is muted is due.
    pub(crate) fn wake_engine(&mut self) {
        self.makes_due = true;
    }

    pub fn overrides(&mut self) -> Result<Arc<Overrides>, Error> {
        if let Some(overrides) = &self.overrides {
            return Ok(Arc::clone(overrides));
        }
        let overrides = match self.adds_override {
            false => self.read().overrides()?,
            true => Arc::new(self.read().read_overrides()?),
        };
        self.overrides = Some(Arc::clone(&overrides));
        Ok(overrides)
    }

    pub(crate) fn put_override(&mut self, schedule: &str, added: &Override) {
        self.overrides = None;
        self.adds_override = true;
        self.put(keys::schedule_override(schedule, added.id), added);
    }

    /// Remembers an alert, moves it in the list of changes, and writes down what changed.
    pub(crate) fn put_alert(
        &mut self,
        fingerprint: Fingerprint,
        before: Option<&Alert>,
        alert: &Alert,
        change: Option<Change>,
        now: Timestamp,
    ) -> Result<(), Error> {
        if before.is_none_or(|before| before.changed_at != alert.changed_at) {
            if let Some(before) = before {
                self.remove(keys::changed(before.changed_at, fingerprint));
            }
            self.put(keys::changed(alert.changed_at, fingerprint), &());
        }
        let (was, is) = (before.and_then(Matched::of), Matched::of(alert));
        if was != is {
            self.moved.push(Moved {
                fingerprint,
                was,
                is,
            });
        }
        if let Some(mut kept) = self.cache.kept() {
            kept.put_alert(fingerprint, before.map(|before| before.status), alert);
            return Ok(());
        }
        self.put(keys::alert(fingerprint), alert);
        let Some(change) = change else { return Ok(()) };
        if self.history.len() >= HISTORY_MAX || self.history_at.is_some_and(|at| at != now) {
            self.write_history()?;
        }
        self.history_at = Some(now);
        self.history.push(Transition {
            fingerprint,
            change,
            status: alert.status,
            source: alert.source.clone(),
            outcome: alert.outcome,
            starts_at: Some(alert.starts_at),
            incident: alert.incident,
            reworded: before.and_then(|before| Reworded::between(before, alert)),
            was: before.and_then(|before| Was::of(before, change)),
            waited: before.and_then(|before| before.pending_key.clone()),
        });
        Ok(())
    }

    /// Nothing can ask for an alert any more; of a store that keeps records as they are.
    pub(crate) fn forget_alert(&mut self, fingerprint: Fingerprint) {
        match self.cache.kept() {
            Some(mut kept) => kept.forget_alert(fingerprint),
            None => self.remove(keys::alert(fingerprint)),
        }
    }

    fn write_history(&mut self) -> Result<(), Error> {
        let transitions = std::mem::take(&mut self.history);
        if let (Some(at), false) = (self.history_at, transitions.is_empty()) {
            let added = OneOrMore::of(transitions);
            if self.join_history(at, &added) {
                return Ok(());
            }
            let seq = self.next(Counter::Transition)?;
            self.put(keys::transition(at, seq), &added);
        }
        Ok(())
    }

    /// Adds to the record that the group has begun for this instant, where there is one with room.
    fn join_history(&mut self, at: Timestamp, added: &OneOrMore<Transition>) -> bool {
        let from = keys::transitions_before(at);
        let to = keys::transitions_before(at.shifted(1));
        let Some((begun, value)) = self.stage.last_of_group(&from, &to) else {
            return false;
        };
        if value.len() > HISTORY_JOINED_BYTES {
            return false;
        }
        let (begun, value) = (begun.clone(), joined(value, &encode(added)));
        self.stage.put(begun, value);
        true
    }

    /// The last record of what became of alerts in this transaction.
    fn write_last_history(&mut self) -> Result<(), Error> {
        match (self.history_at, self.last_event()) {
            (Some(at), Some((incident, seq))) if !self.history.is_empty() => {
                let added = OneOrMore::of(std::mem::take(&mut self.history));
                if !self.join_history(at, &added) {
                    self.put(keys::transition_of(at, incident, seq), &added);
                }
                Ok(())
            }
            (Some(_) | None, Some(_) | None) => self.write_history(),
        }
    }

    /// How far served time is behind the clock.
    pub(crate) fn unserved(&mut self) -> Result<Unserved, Error> {
        match self.unserved {
            Some(known) => Ok(known),
            None => Ok(*self.unserved.insert(unserved(&self.read())?)),
        }
    }

    /// An alert is looked at then, unless it is watched otherwise before.
    pub(crate) fn add_watch(&mut self, fingerprint: Fingerprint, due_at: Served) {
        // Nothing of it is kept.
        if self.cache.keeps() {
            return;
        }
        self.watches.entry(due_at).or_default().push(fingerprint);
    }

    /// Those of one instant are one record, in each group.
    fn write_watches(&mut self) -> Result<(), Error> {
        let event = self.last_event();
        for (due_at, alerts) in std::mem::take(&mut self.watches) {
            let added = encode(&alerts);
            let from = keys::watches_before(due_at);
            let begun = self.stage.last_of_group(&from, &keys::after(&from));
            let (key, value) = match begun {
                Some((begun, value)) if value.len() <= HISTORY_JOINED_BYTES => {
                    (begun.clone(), joined(value, &added))
                }
                Some(_) | None => match event {
                    Some((incident, seq)) => (keys::watch(due_at, incident, seq), added),
                    None => {
                        let number = self.next(Counter::Transition)?;
                        (keys::numbered_watch(due_at, number), added)
                    }
                },
            };
            self.stage.put(key, value);
        }
        Ok(())
    }

    /// An event that this transaction adds: its number is nobody else's.
    fn last_event(&self) -> Option<(u64, u32)> {
        self.work.iter().find_map(|(number, work)| {
            let seq = u32::try_from(work.entries.first()?.seq).ok()?;
            Some((*number, seq))
        })
    }

    /// Counts one more sighting of an alert, and of its incident where it has one. The first of an alert is counted by its
    /// being there.
    pub(crate) fn count(
        &mut self,
        fingerprint: Fingerprint,
        before: Option<&Alert>,
        incident: Option<u64>,
        lapses_at: Option<Served>,
        now: Timestamp,
    ) -> Result<(), Error> {
        if self.cache.keeps() {
            return Ok(());
        }
        if before.is_some() {
            let heard = self.unserved()?.at(now);
            let seen = Seen {
                received: 1,
                last_at: now,
                heard_at: (heard != Served::of_instant(now)).then_some(heard),
                lapses_at,
            };
            self.count_at(keys::seen(fingerprint), FIRST_SIGHTING, seen)?;
        }
        if let Some(number) = incident {
            self.count_for(number, 1, now);
        }
        Ok(())
    }

    /// Counts sightings of before an alert joined an incident for that incident, too.
    pub(crate) fn count_for(&mut self, incident: u64, received: u64, now: Timestamp) {
        let (more, at) = self.tallies.entry(incident).or_insert((0, now));
        *more = more.saturating_add(received);
        *at = now;
    }

    /// Writes down how often an alert was seen before it is changed by something else than a sighting.
    pub(crate) fn keep_count(
        &mut self,
        fingerprint: Fingerprint,
        before: &Alert,
    ) -> Result<u64, Error> {
        if let Some(seen) = self.read().seen(fingerprint)? {
            return Ok(seen.received);
        }
        let seen = Seen::first_of(before);
        self.put(keys::seen(fingerprint), &seen);
        Ok(seen.received)
    }

    fn count_at(&mut self, key: Key, at_first: u64, more: Seen) -> Result<(), Error> {
        let before: Option<Seen> = self.get(&key)?;
        let received = before.map_or(at_first, |seen| seen.received);
        let received = received.saturating_add(more.received);
        self.put(key, &Seen { received, ..more });
        Ok(())
    }

    pub(crate) fn put_check(&mut self, fingerprint: Fingerprint, seen: &CheckSeen) {
        self.put(keys::check(fingerprint), seen);
    }

    /// `before` had the key, where it is a storm that takes it.
    pub(crate) fn put_holder(&mut self, dedup_key: &str, incident: u64, before: Option<u64>) {
        let holder = KeyHolder { incident, before };
        match self.cache.kept() {
            Some(mut kept) => {
                kept.holders.insert(dedup_key.to_owned(), holder);
            }
            None => self.stage.put(keys::dedup(dedup_key), encode(&holder)),
        }
    }

    pub(crate) fn put_pending(
        &mut self,
        dedup_key: &str,
        before: Option<&Pending>,
        pending: Option<&Pending>,
    ) {
        if let Some(due_at) = before.and_then(|before| before.due_at) {
            self.remove(keys::pending_due(due_at, dedup_key));
        }
        match pending {
            Some(pending) => {
                if let Some(due_at) = pending.due_at {
                    self.makes_due = true;
                    self.put(keys::pending_due(due_at, dedup_key), &());
                }
                self.put(keys::pending(dedup_key), pending);
            }
            None => self.remove(keys::pending(dedup_key)),
        }
    }

    /// Keeps what could not be used, and returns its number.
    pub fn put_dead_letter(&mut self, letter: &DeadLetter) -> Result<u64, Error> {
        let id = self.next(Counter::DeadLetter)?;
        self.put(keys::dead_letter(id), letter);
        if letter.body().is_ok() {
            self.put(keys::awaiting_replay(id), &letter.source);
        }
        Ok(id)
    }

    /// Writes a page, and where it stands in the outbox.
    pub(crate) fn put_page(
        &mut self,
        incident: u64,
        before: Option<&PageRecord>,
        page: &PageRecord,
    ) {
        let serial = page.issue.serial;
        let slot = |page: &PageRecord| {
            page.next_at
                .map(|at| keys::outbox(&page.issue.channel, at, incident, serial))
        };
        let (old, new) = (before.and_then(slot), slot(page));
        if old != new {
            if let Some(old) = old {
                self.remove(old);
            }
            if let Some(new) = new {
                self.put(new, &());
                self.writes_pages = true;
            }
        }
        self.put(keys::page(incident, serial), page);
    }

    pub(crate) fn next(&mut self, counter: Counter) -> Result<u64, Error> {
        let key = keys::meta(counter.name());
        let next = self.get::<u64>(&key)?.unwrap_or(0) + 1;
        self.put(key, &next);
        Ok(next)
    }

    pub(crate) fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, Error> {
        self.read().get(key)
    }

    pub(crate) fn put(&mut self, key: Key, value: &impl Serialize) {
        if !self.forgets(&key) {
            self.stage.put(key, encode(value));
        }
    }

    pub(crate) fn remove(&mut self, key: Key) {
        if !self.forgets(&key) {
            self.stage.remove(key);
        }
    }

    /// Whether records of this kind are written for others, and there are none.
    fn forgets(&self, key: &[u8]) -> bool {
        self.cache.keeps() && Kept::forgets(key)
    }

    /// Writes the entries, heads and indexes of the incidents that changed, and the pages they issued.
    pub(crate) fn finish<R>(&mut self) -> Result<Vec<Arc<Incident>>, Failure<R>> {
        if self.cache.keeps() {
            self.give_back();
            return Ok(Vec::new());
        }
        self.write_last_history()?;
        self.write_watches()?;
        for (number, (more, at)) in std::mem::take(&mut self.tallies) {
            let more = Seen {
                received: more,
                last_at: at,
                heard_at: None,
                lapses_at: None,
            };
            self.count_at(keys::tally(number), 0, more)?;
        }
        let mut changed = Vec::new();
        for (number, work) in std::mem::take(&mut self.work) {
            debug_assert!(
                work.settled || self.avoided.contains(&number),
                "a transaction that commands an incident settles it"
            );
            if work.entries.is_empty() {
                continue;
            }
            outbox::follow(self, &work.incident, &work.entries, work.was_silent)?;
            self.put_entries(number, work.entries);
            self.put_indexes(number, &work.incident, work.before);
            self.put(keys::head(number), &Head::of(&work.incident));
            changed.push(work.incident);
        }
        Ok(changed)
    }

    /// The same where records are kept as they are: the incidents go back to where they came from.
    fn give_back(&mut self) {
        for (number, work) in std::mem::take(&mut self.work) {
            if !work.entries.is_empty() {
                self.put_indexes(number, &work.incident, work.before);
            }
            if let Some(mut kept) = self.cache.kept() {
                kept.put_head(number, &work.incident);
                kept.put_back(work.incident, work.entries);
            }
        }
    }

    /// Adds to the log of an incident: to the record that the group has begun there, or as a new one.
    fn put_entries(&mut self, number: u64, entries: Vec<Entry>) {
        let Some(first) = entries.first().map(|entry| entry.seq) else {
            return;
        };
        let key = keys::event(number, first);
        let added = encode(&OneOrMore::of(entries));
        let begun = self.stage.last_of_group(&keys::event(number, 0), &key);
        let (key, value) = match begun {
            Some((begun, value)) => (begun.clone(), joined(value, &added)),
            None => (key, added),
        };
        self.stage.put(key, value);
    }

    /// Where an incident stands in the lists of those that are open and of those that are due.
    fn put_indexes(&mut self, number: u64, incident: &Incident, before: Option<Before>) {
        let (is_open, due_at) = (incident.is_open(), incident.next_due());
        let due_before = before.and_then(|before| before.due_at);
        if due_before != due_at {
            if let Some(at) = due_before {
                self.remove(keys::due(at, number));
            }
            if let Some(at) = due_at {
                self.put(keys::due(at, number), &());
                self.makes_due = true;
            }
        }
        let was_open = before.is_some_and(|before| before.is_open);
        match (was_open, is_open) {
            (false, true) => self.put(keys::open(number), &()),
            (true, false) => self.remove(keys::open(number)),
            (true, true) | (false, false) => {}
        }
    }
}
