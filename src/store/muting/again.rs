//! What of muting is to be looked at again: where silences start or end, causes begin or end, or the rules were changed. A bounded
//! step at a time, each of which says where the next goes on.

use crate::domain::alert::{Alert, Fingerprint, Routed, Status};
use crate::domain::incident::Command;
use crate::domain::incident::event::WATCHKEEPER;
use crate::domain::rule::{RuleSet, Verdict};
use crate::domain::time::Timestamp;
use crate::store::engine::{Key, Order};
use crate::store::error::Error;
use crate::store::intake::unharmed;
use crate::store::joining::{facts_of, join, waits};
use crate::store::keys::Bucket;
use crate::store::muting::{Look, Places, inhibited_by};
use crate::store::pending::{mature_key, wait_of};
use crate::store::read::Reader;
use crate::store::records::Change;
use crate::store::tx::{Matched, Tx};
use crate::store::{Failure, InForce, keys};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::ops::ControlFlow;

/// Incidents, effects and silences that one transaction looks at.
const LOOKED_AT_MAX: usize = 200;

/// Alerts that one transaction enters for inhibitions that are new.
const ENTERED_MAX: usize = 500;

/// Records of inhibitions that are gone that one transaction removes.
const REMOVED_MAX: usize = 1_000;

/// How far looking again has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The inhibitions that are followed, by their ids.
    #[serde(default)]
    pub inhibitions: Vec<u64>,
    /// Alerts after this one are yet to be entered for those that are new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entering: Option<Fingerprint>,
    /// What is left of inhibitions that are gone is yet to be removed.
    #[serde(default)]
    pub purging: bool,
    /// Open incidents from this one on are to be looked at, then what is held by causes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incidents: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<(Fingerprint, Fingerprint)>,
    /// And once more from the first.
    #[serde(default)]
    pub again: bool,
    /// The rules were changed: what muted an incident before is not believed.
    #[serde(default)]
    pub thorough: bool,
}

impl Standing {
    fn of(reader: &Reader<'_>) -> Result<Self, Error> {
        Ok(reader.get(&keys::meta("muting"))?.unwrap_or_default())
    }

    fn has_urgent(&self) -> bool {
        self.incidents.is_some() || self.held.is_some()
    }

    fn has_upkeep(&self) -> bool {
        self.entering.is_some() || self.purging
    }

    /// Everything is looked at.
    fn begin_lap(&mut self) {
        match self.has_urgent() {
            true => self.again = true,
            false => self.incidents = Some(0),
        }
    }

    fn end_lap(&mut self) {
        match std::mem::take(&mut self.again) {
            true => self.incidents = Some(0),
            false => self.thorough = false,
        }
    }
}

/// The first of all.
const FIRST: Fingerprint = Fingerprint(0);

/// When there is something to look at; at once where it is long ago.
pub fn next_due(reader: &Reader<'_>) -> Result<Option<Timestamp>, Error> {
    if Standing::of(reader)?.has_urgent() || first_stirred(reader)?.is_some() {
        return Ok(Some(Timestamp::EPOCH));
    }
    let all = keys::all_silence_alarms();
    let mut first = None;
    reader.scan_keys(&all, &keys::after(&all), Order::Forward, &mut |key| {
        first = keys::read_silence_at(key).map(|(at, _)| at);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(first)
}

/// Whether alerts are to be entered for inhibitions that are new, or removed for those that are gone.
pub fn has_upkeep(reader: &Reader<'_>) -> Result<bool, Error> {
    Ok(Standing::of(reader)?.has_upkeep())
}

fn first_stirred(reader: &Reader<'_>) -> Result<Option<Bucket>, Error> {
    let all = keys::all_stirred();
    let mut first = None;
    reader.scan_keys(&all, &keys::after(&all), Order::Forward, &mut |key| {
        first = keys::read_stirred(key);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(first)
}

/// Inhibitions are followed as the rules have them now.
pub fn arm(tx: &mut Tx<'_, '_>, rules: &RuleSet) -> Result<(), Failure<Infallible>> {
    let mut ids: Vec<u64> = rules.inhibitions.iter().map(|of| of.id).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut standing = Standing::of(&tx.read())?;
    if standing.inhibitions == ids {
        return Ok(());
    }
    let is_new = |id: &u64| !standing.inhibitions.contains(id);
    if ids.iter().any(is_new) {
        standing.entering = Some(FIRST);
    }
    standing.purging |= standing.inhibitions.iter().any(|id| !ids.contains(id));
    standing.inhibitions = ids;
    standing.thorough = true;
    // Once more when all are entered.
    standing.begin_lap();
    tx.put(keys::meta("muting"), &standing);
    Ok(())
}

/// Every open incident is looked at soon.
pub(crate) fn begin_lap(tx: &mut Tx<'_, '_>) -> Result<(), Error> {
    let mut standing = Standing::of(&tx.read())?;
    standing.begin_lap();
    tx.put(keys::meta("muting"), &standing);
    tx.wake_engine();
    Ok(())
}

/// Looks at what is due, as much as one transaction takes.
pub fn look(
    tx: &mut Tx<'_, '_>,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Failure<Infallible>> {
    unharmed(tx, in_force, now, |tx| {
        ring(tx, now)?;
        look_at_stirred(tx, in_force, now)?;
        go_on(tx, in_force, now)?;
        tx.settle(in_force, now)
    })
}

/// Silences that start or end: all incidents are looked at.
fn ring(tx: &mut Tx<'_, '_>, now: Timestamp) -> Result<(), Error> {
    let from = keys::all_silence_alarms();
    let to = keys::silence_alarm(now.shifted(1), "");
    let mut due: Vec<Key> = Vec::new();
    tx.read()
        .scan_keys(&from, &to, Order::Forward, &mut |key| {
            due.push(Key::from_slice(key));
            Ok(match due.len() < LOOKED_AT_MAX {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            })
        })?;
    if due.is_empty() {
        return Ok(());
    }
    due.into_iter().for_each(|key| tx.remove(key));
    begin_lap(tx)
}

/// Effects of a cause that began or ended.
fn look_at_stirred(tx: &mut Tx<'_, '_>, in_force: &InForce, now: Timestamp) -> Result<(), Error> {
    let Some(of) = first_stirred(&tx.read())? else {
        return Ok(());
    };
    let after: Option<Option<Fingerprint>> = tx.get(&keys::stirred(of))?;
    let all = keys::effects(of);
    let from = match after.flatten() {
        Some(last) => keys::after(&keys::effect(of, last)),
        None => all.clone(),
    };
    let mut effects: Vec<Fingerprint> = Vec::new();
    tx.read()
        .scan_keys(&from, &keys::after(&all), Order::Forward, &mut |key| {
            effects.extend(keys::last_number(key).map(Fingerprint));
            Ok(match effects.len() < LOOKED_AT_MAX {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            })
        })?;
    match effects.last() {
        Some(last) if effects.len() >= LOOKED_AT_MAX => tx.put(keys::stirred(of), &Some(last)),
        Some(_) | None => tx.remove(keys::stirred(of)),
    }
    let asked = effects.iter().copied().map(keys::alert);
    tx.read().foresee(&asked.collect::<Vec<Key>>())?;
    for fingerprint in effects {
        let Some(alert) = tx.read().alert(fingerprint)? else {
            continue;
        };
        match alert.incident {
            Some(number) => {
                tx.look_at(number, &[fingerprint], Look::AtWhatIsNew, in_force, now)?;
            }
            None => look_at_held(tx, fingerprint, &alert, in_force, now)?,
        }
    }
    Ok(())
}

/// Open incidents, some after the other, then what is held.
fn go_on(tx: &mut Tx<'_, '_>, in_force: &InForce, now: Timestamp) -> Result<(), Error> {
    let mut standing = Standing::of(&tx.read())?;
    if let Some(from) = standing.incidents {
        let numbers = open_from(&tx.read(), from)?;
        let heads = numbers.iter().map(|number| keys::head(*number));
        tx.read().foresee(&heads.collect::<Vec<Key>>())?;
        let look = match standing.thorough {
            true => Look::AtAll,
            false => Look::AtWhatIsNew,
        };
        for number in &numbers {
            tx.look_at(*number, &[], look, in_force, now)?;
        }
        match numbers.last() {
            Some(last) if numbers.len() >= LOOKED_AT_MAX => standing.incidents = Some(last + 1),
            Some(_) | None => {
                standing.incidents = None;
                standing.held = Some((FIRST, FIRST));
            }
        }
    } else if let Some((cause, after)) = standing.held {
        let held = held_after(&tx.read(), cause, after)?;
        for (_, fingerprint) in &held {
            if let Some(alert) = tx.read().alert(*fingerprint)? {
                look_at_held(tx, *fingerprint, &alert, in_force, now)?;
            }
        }
        standing.held = held.last().copied().filter(|_| held.len() >= LOOKED_AT_MAX);
        if standing.held.is_none() {
            standing.end_lap();
        }
    } else {
        return Ok(());
    }
    tx.put(keys::meta("muting"), &standing);
    Ok(())
}

fn open_from(reader: &Reader<'_>, from: u64) -> Result<Vec<u64>, Error> {
    let end = keys::after(&keys::all_open());
    let mut numbers: Vec<u64> = Vec::new();
    reader.scan_keys(&keys::open(from), &end, Order::Forward, &mut |key| {
        numbers.extend(keys::last_number(key));
        Ok(match numbers.len() < LOOKED_AT_MAX {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    })?;
    Ok(numbers)
}

/// Causes with what they hold, after one of these.
fn held_after(
    reader: &Reader<'_>,
    cause: Fingerprint,
    after: Fingerprint,
) -> Result<Vec<(Fingerprint, Fingerprint)>, Error> {
    let from = match (cause, after) {
        (FIRST, FIRST) => keys::all_held(),
        _ => keys::after(&keys::held(cause, after)),
    };
    let mut held = Vec::new();
    let end = keys::after(&keys::all_held());
    reader.scan_keys(&from, &end, Order::Forward, &mut |key| {
        held.extend(keys::read_held(key));
        Ok(match held.len() < LOOKED_AT_MAX {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    })?;
    Ok(held)
}

/// Alerts that have no incident because of a cause, after one of them, at most `most`.
pub fn held_by(
    reader: &Reader<'_>,
    cause: Fingerprint,
    after: Option<Fingerprint>,
    most: usize,
) -> Result<Vec<Fingerprint>, Error> {
    let all = keys::held_by(cause);
    let from = match after {
        Some(after) => keys::after(&keys::held(cause, after)),
        None => all.clone(),
    };
    let mut held = Vec::new();
    if most == 0 {
        return Ok(held);
    }
    reader.scan_keys(&from, &keys::after(&all), Order::Forward, &mut |key| {
        held.extend(keys::last_number(key).map(Fingerprint));
        Ok(match held.len() < most {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    })?;
    Ok(held)
}

/// An alert that has no incident because of a cause: where none inhibits it any more, it is judged as if it had just arrived.
pub(crate) fn look_at_held(
    tx: &mut Tx<'_, '_>,
    fingerprint: Fingerprint,
    before: &Alert,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    if before.held_by.is_none() || !before.is_live() {
        return Ok(());
    }
    tx.follow_inhibitions(in_force)?;
    let cause = inhibited_by(&tx.read(), &in_force.rules, fingerprint, before)?;
    let mut alert = before.clone();
    alert.held_by = cause.map(|(cause, _)| cause);
    if alert.held_by.is_some() {
        if alert.held_by != before.held_by {
            tx.put_alert(fingerprint, Some(before), &alert, None, now)?;
        }
        return Ok(());
    }
    let facts = facts_of(before);
    let opening = match in_force.rules.judge(facts, now) {
        Verdict::Open(opening) => opening,
        Verdict::Record { rule } | Verdict::Drop { rule } => {
            alert.rule = Some(rule.to_owned());
            alert.routed = Routed::Record;
            return tx.put_alert(fingerprint, Some(before), &alert, None, now);
        }
        Verdict::Unrouted => {
            alert.rule = None;
            alert.routed = Routed::Unrouted;
            return tx.put_alert(fingerprint, Some(before), &alert, None, now);
        }
    };
    alert.rule = Some(opening.rule().to_owned());
    let key = opening.dedup_key(facts, fingerprint).key;
    let target = tx.target(&key, now)?;
    // One that is stale fired for long before.
    if let (Status::Firing, Some(wait)) = (alert.status, wait_of(opening.open()))
        && waits(tx, target)?
    {
        alert.status = Status::Pending;
        alert.changed_at = now;
        alert.pending_key = Some(key.clone());
        tx.put_alert(
            fingerprint,
            Some(before),
            &alert,
            Some(Change::Changed),
            now,
        )?;
        if tx.add_pending(&key, (fingerprint, &alert), wait, target, now)? {
            mature_key(tx, &key, in_force, now)?;
        }
        return Ok(());
    }
    let joined = join(
        tx,
        &alert,
        fingerprint,
        &opening,
        key,
        target,
        in_force,
        now,
    )?;
    let received = tx.keep_count(fingerprint, before)?;
    tx.count_for(joined.number, received, now);
    alert.incident = Some(joined.number);
    tx.put_alert(
        fingerprint,
        Some(before),
        &alert,
        Some(Change::Changed),
        now,
    )?;
    if alert.status == Status::Stale {
        let command = Command::AlertGoesStale {
            fingerprint,
            name: alert.name().to_owned(),
            why: "not heard of for long, while a cause inhibited it".to_owned(),
        };
        let _refused = tx.command(joined.number, &command, WATCHKEEPER, in_force, now)?;
    }
    Ok(())
}

/// Enters some alerts for inhibitions that are new, and removes some of what is left of those that are gone.
pub fn keep_up(tx: &mut Tx<'_, '_>, in_force: &InForce) -> Result<(), Failure<Infallible>> {
    let mut standing = Standing::of(&tx.read())?;
    if standing.purging {
        standing.purging = purge(tx, &standing.inhibitions)?;
    }
    if let Some(after) = standing.entering {
        standing.entering = enter(tx, after, in_force)?;
        if standing.entering.is_none() {
            standing.begin_lap();
            tx.wake_engine();
        }
    }
    tx.put(keys::meta("muting"), &standing);
    Ok(())
}

/// Where it goes on; none at the end.
fn enter(
    tx: &mut Tx<'_, '_>,
    after: Fingerprint,
    in_force: &InForce,
) -> Result<Option<Fingerprint>, Error> {
    let some = tx.read().alerts_from(after, ENTERED_MAX)?;
    let last = some.last().map(|(last, _)| last.0);
    let is_end = some.len() < ENTERED_MAX;
    for (fingerprint, alert) in some {
        let matched = Matched::of(&alert);
        for inhibition in &in_force.rules.inhibitions {
            let places = Places::of(inhibition, matched.as_ref(), fingerprint);
            let cause = places.cause.map(|(key, _)| key);
            for key in cause.into_iter().chain(places.effect) {
                tx.put(key, &());
            }
        }
    }
    let next = last.and_then(|last| last.checked_add(1)).map(Fingerprint);
    Ok(next.filter(|_| !is_end))
}

/// Whether some is left.
fn purge(tx: &mut Tx<'_, '_>, kept: &[u64]) -> Result<bool, Error> {
    let mut gone: Vec<Key> = Vec::new();
    for all in keys::all_sides() {
        let end = keys::after(&all);
        let mut from = all;
        loop {
            let mut first = None;
            tx.read()
                .scan_keys(&from, &end, Order::Forward, &mut |key| {
                    first = keys::inhibition_of(key);
                    Ok(ControlFlow::Break(()))
                })?;
            let Some((inhibition, its)) = first else {
                break;
            };
            let after = keys::after(&its);
            if !kept.contains(&inhibition) {
                tx.read()
                    .scan_keys(&its, &after, Order::Forward, &mut |key| {
                        gone.push(Key::from_slice(key));
                        Ok(match gone.len() < REMOVED_MAX {
                            true => ControlFlow::Continue(()),
                            false => ControlFlow::Break(()),
                        })
                    })?;
            }
            if gone.len() >= REMOVED_MAX {
                break;
            }
            from = after;
        }
    }
    let is_left = gone.len() >= REMOVED_MAX;
    gone.into_iter().for_each(|key| tx.remove(key));
    Ok(is_left)
}
