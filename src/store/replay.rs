//! What judging history again asks of a store beside what live reports ask of it. The store is one of its own, in memory: it holds
//! what is live at the instant that history has come to, and no more.

use crate::domain::alert::{Alert, Fingerprint, Status};
use crate::domain::incident::event::{AttemptOutcome, Cause, Event, WATCHKEEPER};
use crate::domain::incident::{Command, Entry, Incident, Resolution, StormCap};
use crate::domain::rule::RuleSet;
use crate::domain::schedule::Override;
use crate::domain::severity::Profile;
use crate::domain::silence::Silence;
use crate::domain::time::Timestamp;
use crate::store::engine::{Stage, panic_text};
use crate::store::error::Error;
use crate::store::joining::{facts_of, opening_by_all, resolve, sides_of};
use crate::store::kept::Kept;
use crate::store::memory::{Map, Records};
use crate::store::overlay::Changes;
use crate::store::pending::wait_of;
use crate::store::read::Reader;
use crate::store::records::Wait;
use crate::store::report::fires_as_then;
use crate::store::tx::{Counter, Tx};
use crate::store::watch::go_stale;
use crate::store::{Cache, InForce, keys, lists, muting, pending, silences, storms};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

/// How often pages that follow from pages are delivered at one instant.
const DELIVERIES_MAX: usize = 100;

/// Incidents of one look at what is due.
const DUE_AT_ONCE: usize = 256;

/// The store of a replay: what a replay reads again, in memory.
#[derive(Debug)]
pub struct Scratch {
    records: Arc<Records>,
    cache: Cache,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            records: Arc::default(),
            cache: Cache::keeping(),
        }
    }
}

impl Scratch {
    pub fn read<T>(&self, read: impl FnOnce(&Reader<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let map = Map(Arc::clone(&self.records));
        read(&Reader::durable(&map, &self.cache))
    }

    /// Runs `work`, delivers what that pages, and says how the incidents stand that were worked on. One that fails leaves nothing
    /// that could be gone on with.
    pub fn transact<T>(
        &mut self,
        in_force: &InForce,
        now: Timestamp,
        work: impl FnOnce(&mut Tx<'_, '_>) -> Result<T, Error>,
    ) -> Result<(T, Vec<Touched>), Error> {
        let map = Map(Arc::clone(&self.records));
        let mut changes = Changes::new();
        let mut stage = Stage::new(&map, &mut changes);
        let mut tx = Tx::new(&mut stage, &self.cache);
        let worked = catch_unwind(AssertUnwindSafe(|| {
            let done = work(&mut tx)?;
            deliver(&mut tx, in_force, now)?;
            let touched = touched(&tx, in_force);
            crate::store::unrefused(tx.finish())?;
            Ok((done, touched))
        }));
        let worked = worked.unwrap_or_else(|payload| {
            let why = panic_text(payload.as_ref());
            Err(Error::Panicked { why })
        })?;
        drop(map);
        let records = Arc::make_mut(&mut self.records);
        for (key, value) in changes {
            match value {
                Some(value) => records.insert(key, value),
                None => records.remove(&key),
            };
        }
        Ok(worked)
    }

    /// What was added to logs of incidents since this was last asked.
    pub fn take_said(&mut self) -> Vec<(u64, Vec<Entry>)> {
        self.kept()
            .map(|mut kept| kept.take_said())
            .unwrap_or_default()
    }

    /// Numbers of the incidents that are there.
    pub fn incidents(&self) -> Vec<u64> {
        self.kept().map(|kept| kept.numbers()).unwrap_or_default()
    }

    fn kept(&self) -> Option<MutexGuard<'_, Kept>> {
        self.cache.kept()
    }

    /// Removes an incident that nothing can ask for any more, with the alerts that were its last.
    pub fn forget(&mut self, number: u64) {
        if let Some(mut kept) = self.kept() {
            kept.forget(number);
        }
    }
}

/// Begins with numbers of incidents after `last`, these exceptions of schedules, and the inhibitions that are in force.
///
/// What is taken over before anything that is due is done is looked at then: something of what muted it may have ended just now.
pub fn begin(
    tx: &mut Tx<'_, '_>,
    last: u64,
    overrides: &[(String, Override)],
    in_force: &InForce,
) -> Result<(), Error> {
    tx.put(keys::meta(Counter::Incident.name()), &last);
    for (schedule, of) in overrides {
        tx.put_override(schedule, of);
    }
    let last = overrides.iter().map(|(_, of)| of.id).max().unwrap_or(0);
    tx.put(keys::meta(Counter::Override.name()), &last);
    crate::store::unrefused(muting::arm(tx, &in_force.rules))?;
    muting::begin_lap(tx)
}

/// Takes over an incident as it was.
pub fn adopt(tx: &mut Tx<'_, '_>, incident: Incident, entries: Vec<Entry>) -> Result<(), Error> {
    tx.adopt(incident, entries)
}

/// Takes over when a team had incidents of late, and the storm that is on, with the keys that joined it.
pub fn put_openings(
    tx: &mut Tx<'_, '_>,
    team: Option<&str>,
    recent: &[Timestamp],
    storm: Option<(u64, StormCap)>,
    keys: &[String],
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    storms::take_over(tx, team, recent, storm, in_force, now);
    let Some((number, _)) = storm else {
        return Ok(());
    };
    for key in keys {
        let before = tx.answering(key)?;
        tx.put_holder(key, number, before.filter(|before| *before != number));
    }
    Ok(())
}

/// A storm was over, and what fires of it has yet to move.
pub fn hands_on(tx: &mut Tx<'_, '_>, storm: u64, now: Timestamp) {
    tx.put(keys::storm_hands(now, storm), &());
}

/// Takes over an alert as it was.
pub fn put_alert(
    tx: &mut Tx<'_, '_>,
    fingerprint: Fingerprint,
    alert: &Alert,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    tx.put_alert(fingerprint, None, alert, None, now)?;
    tx.follow_inhibitions(in_force)
}

/// Under what an alert waits.
#[derive(Clone, Debug)]
pub struct Waits {
    pub key: String,
    pub rule: String,
    /// That it began is what its key waited for.
    pub is_met: bool,
}

/// An alert began to wait at an instant before now, as it was `then`, under the key of its incident where it has one. None where it waits
/// for nothing under these rules.
pub fn begins_to_wait(
    tx: &mut Tx<'_, '_>,
    then: &Alert,
    fingerprint: Fingerprint,
    key: Option<String>,
    in_force: &InForce,
    at: Timestamp,
) -> Result<Option<Waits>, Error> {
    let rules = &in_force.rules;
    let before = tx.read().alert(fingerprint)?;
    let own = before.as_ref().filter(|_| key.is_some());
    let own = own.and_then(|before| rules.opening_of(before.rule.as_deref()?));
    let facts = facts_of(then);
    let Some(opening) = own.or_else(|| opening_by_all(rules, facts, at)) else {
        return Ok(None);
    };
    let Some(wait) = wait_of(opening.open()) else {
        return Ok(None);
    };
    let key = key.unwrap_or_else(|| opening.dedup_key(facts, fingerprint).key);
    let rule = opening.rule().to_owned();
    let target = tx.target(&key, at)?;
    let is_met = tx.add_pending(&key, (fingerprint, then), wait, target, at)?;
    Ok(Some(Waits { key, rule, is_met }))
}

/// An alert that began to wait longer ago than any wait counts a start, by the `live` rules and under this key. It waits on, where these
/// rules ask for the same start of the same key; else none.
pub fn waits_on(
    tx: &mut Tx<'_, '_>,
    then: &Alert,
    fingerprint: Fingerprint,
    key: String,
    live: &RuleSet,
    in_force: &InForce,
    at: Timestamp,
) -> Result<Option<Waits>, Error> {
    let facts = facts_of(then);
    let openings = [live, &*in_force.rules].map(|rules| {
        let own = || rules.opening_of(then.rule.as_deref()?);
        opening_by_all(rules, facts, at).or_else(own)
    });
    let [Some(live), Some(opening)] = openings else {
        return Ok(None);
    };
    let keys = [&live, &opening].map(|opening| opening.dedup_key(facts, fingerprint).key);
    let wait = wait_of(opening.open()).filter(|wait| matches!(wait, Wait::Starts { .. }));
    let Some(wait) = wait else { return Ok(None) };
    let [by_live, own] = keys;
    if by_live != own || live.open() != opening.open() {
        return Ok(None);
    }
    tx.wait_on(&key, fingerprint, wait, at)?;
    Ok(Some(Waits {
        key,
        rule: opening.rule().to_owned(),
        is_met: false,
    }))
}

/// One that waited fires no more.
pub fn leaves_off(
    tx: &mut Tx<'_, '_>,
    fingerprint: Fingerprint,
    waits: &Waits,
) -> Result<(), Error> {
    tx.remove_pending(&waits.key, fingerprint)
}

/// One that waited has met what it waited for.
pub fn has_waited(
    tx: &mut Tx<'_, '_>,
    fingerprint: Fingerprint,
    waits: &Waits,
) -> Result<(), Error> {
    tx.end_pending(&waits.key, fingerprint)
}

/// Takes over an alert that waits.
pub fn put_waiting(
    tx: &mut Tx<'_, '_>,
    fingerprint: Fingerprint,
    alert: &Alert,
    now: Timestamp,
) -> Result<(), Error> {
    let before = tx.read().alert(fingerprint)?;
    tx.put_alert(fingerprint, before.as_ref(), alert, None, now)
}

/// A key has met what it waits for.
pub fn is_met(
    tx: &mut Tx<'_, '_>,
    key: &str,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    pending::mature_key(tx, key, in_force, now).map(drop)
}

/// Looks for the cause that holds an alert; where nothing does under these rules, the alert is judged as if it had just arrived.
pub fn look_at_held(
    tx: &mut Tx<'_, '_>,
    fingerprint: Fingerprint,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    match tx.read().alert(fingerprint)? {
        Some(alert) => muting::look_at_held(tx, fingerprint, &alert, in_force, now),
        None => Ok(()),
    }
}

/// An alert fires, or says something else while it does.
pub fn fires(
    tx: &mut Tx<'_, '_>,
    then: &Alert,
    fingerprint: Fingerprint,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    fires_as_then(tx, then, fingerprint, in_force, now)
}

/// Where an alert stands among those of its report, the first first.
pub fn rank(alert: &Alert, in_force: &InForce) -> (bool, bool) {
    let sides = sides_of(alert);
    let inhibitions = &in_force.rules.inhibitions;
    let is_cause = inhibitions.iter().any(|of| of.is_cause(sides));
    let is_effect = inhibitions.iter().any(|of| of.is_effect(sides));
    (!is_cause, is_effect)
}

/// An alert is resolved; nothing where it does not fire. It is forgotten where no open incident has it.
pub fn resolves(
    tx: &mut Tx<'_, '_>,
    fingerprint: Fingerprint,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    let Some(before) = tx.read().alert(fingerprint)? else {
        return Ok(());
    };
    if before.status != Status::Resolved {
        let said = Resolution::Said;
        resolve(
            tx,
            fingerprint,
            &before,
            None,
            said,
            WATCHKEEPER,
            in_force,
            now,
        )?;
    }
    let is_kept = match before.incident {
        Some(number) => tx.is_open(number)?,
        None => false,
    };
    if !is_kept {
        tx.follow_inhibitions(in_force)?;
        tx.forget_alert(fingerprint);
    }
    Ok(())
}

/// An alert that fires was not heard of for long.
pub fn goes_stale(
    tx: &mut Tx<'_, '_>,
    fingerprint: Fingerprint,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    match tx.read().alert(fingerprint)? {
        Some(before) if before.status == Status::Firing => {
            let why = "not heard of for long";
            go_stale(tx, fingerprint, &before, why, in_force, now)
        }
        Some(_) | None => Ok(()),
    }
}

/// A silence begins.
pub fn silence(tx: &mut Tx<'_, '_>, silence: &Silence, now: Timestamp) -> Result<(), Error> {
    silences::put(tx, None, silence, now)
}

/// Something happens to an incident that no rule decides. One that is opened again has its key again.
pub fn happens(
    tx: &mut Tx<'_, '_>,
    number: u64,
    event: Event,
    by: &str,
    now: Timestamp,
) -> Result<(), Error> {
    if matches!(event, Event::Reopened { .. }) {
        let key = tx.with(number, |incident| incident.opened.dedup_key.clone())?;
        if let Some(key) = key.flatten() {
            tx.put_holder(&key, number, None);
        }
    }
    tx.impose(number, event, by, now)
}

/// When something is due without anybody saying anything.
pub fn next_due(reader: &Reader<'_>) -> Result<Option<Timestamp>, Error> {
    let all = [
        lists::next_due(reader)?,
        pending::next_due(reader)?,
        storms::next_due(reader)?,
        muting::next_due(reader)?,
        muting::has_upkeep(reader)?.then_some(Timestamp::EPOCH),
    ];
    Ok(all.into_iter().flatten().min())
}

/// Does some of what is due, in the order in which the engine does it.
pub fn do_due(tx: &mut Tx<'_, '_>, in_force: &InForce, now: Timestamp) -> Result<(), Error> {
    let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
    if is_due(pending::next_due(&tx.read())?) {
        return crate::store::unrefused(pending::mature(tx, in_force, now).map(drop));
    }
    if is_due(storms::next_due(&tx.read())?) {
        return crate::store::unrefused(storms::step(tx, in_force, now));
    }
    if muting::has_upkeep(&tx.read())? {
        return crate::store::unrefused(muting::keep_up(tx, in_force));
    }
    if is_due(muting::next_due(&tx.read())?) {
        return crate::store::unrefused(muting::look(tx, in_force, now));
    }
    for number in lists::due_incidents(&tx.read(), now, DUE_AT_ONCE)? {
        let _refused = tx.command(number, &Command::Look, WATCHKEEPER, in_force, now)?;
    }
    tx.settle(in_force, now)
}

/// Delivers pages that are due of incidents that are worked on, whatever their channels.
fn deliver(tx: &mut Tx<'_, '_>, in_force: &InForce, now: Timestamp) -> Result<(), Error> {
    for _ in 0..DELIVERIES_MAX {
        tx.settle(in_force, now)?;
        let due = tx.worked_on().flat_map(|(number, incident, _)| {
            let held = incident.clears_at().is_some();
            let is_due = move |escalates: bool, at: Timestamp| at <= now && !(escalates && held);
            incident.paging.unfinished().filter_map(move |live| {
                let issue = &live.issue;
                let escalates = matches!(issue.cause, Cause::Step | Cause::Exhaustion);
                is_due(escalates, issue.due_at).then_some((number, issue.serial))
            })
        });
        let due: Vec<(u64, u32)> = due.collect();
        if due.is_empty() {
            break;
        }
        for (number, serial) in due {
            let delivered = Command::Attempted {
                serial,
                attempt: 1,
                outcome: AttemptOutcome::Delivered,
                detail: String::new(),
            };
            let _refused = tx.command(number, &delivered, WATCHKEEPER, in_force, now)?;
        }
    }
    Ok(())
}

/// An incident is looked at, so that what is due of its pages is delivered.
pub fn look(
    tx: &mut Tx<'_, '_>,
    number: u64,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    let _refused = tx.command(number, &Command::Look, WATCHKEEPER, in_force, now)?;
    Ok(())
}

/// How an incident stands after a transaction that worked on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    pub number: u64,
    /// A step or an exhaustion called somebody.
    pub paged: bool,
    pub is_open: bool,
    pub is_acknowledged: bool,
    pub profile: Profile,
    pub clear_since: Option<Timestamp>,
    pub closed_at: Option<Timestamp>,
    pub reopen_within: Duration,
    /// How long it must have been clear before it is closed.
    pub window: Duration,
    /// When the next of its pages is to be delivered.
    pub page_at: Option<Timestamp>,
}

/// How the incidents stand that a transaction worked on.
fn touched(tx: &Tx<'_, '_>, in_force: &InForce) -> Vec<Touched> {
    let processes = &in_force.book.processes;
    let of = |(number, incident, entries): (u64, &Incident, &[Entry])| {
        let plan = incident.opened.verification.as_ref();
        let window = plan.map_or_else(
            || processes.of(incident.severity).verification.window,
            |plan| plan.window,
        );
        let is_held = incident.clears_at().is_some();
        let unfinished = incident.paging.unfinished().map(|live| live.issue.due_at);
        Touched {
            number,
            paged: entries.iter().any(|entry| pages_somebody(&entry.event)),
            is_open: incident.is_open(),
            is_acknowledged: incident.acknowledged.is_some(),
            profile: incident.profile,
            clear_since: incident.clear_since,
            closed_at: incident.closed_at,
            reopen_within: incident.reopen_within(),
            window,
            page_at: unfinished.min().filter(|_| !is_held),
        }
    };
    tx.worked_on().map(of).collect()
}

fn pages_somebody(event: &Event) -> bool {
    match event {
        Event::StepRan { pages, .. } | Event::Exhausted { pages, .. } => !pages.is_empty(),
        _other => false,
    }
}
