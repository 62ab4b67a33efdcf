//! Keys whose alerts fire and have not met their rule's `open`, and the incident of a key.

use crate::domain::alert::{Alert, Fingerprint, Routed, Status};
use crate::domain::escalation::EXHAUSTED_EVERY;
use crate::domain::rule::{OpenWhen, STARTS_MAX};
use crate::domain::time::Timestamp;
use crate::store::engine::Order;
use crate::store::error::Error;
use crate::store::joining::{Joined, Target, facts_of, held_by, join, opening_by_all};
use crate::store::records::{Change, Pending, Start, Wait};
use crate::store::tx::Tx;
use crate::store::{Failure, InForce, keys, quarantine};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

/// Keys that one transaction brings to maturity.
const MATURED_MAX: usize = 500;

/// When the next key meets its `open.after`, or what is remembered of one is of no use any more.
pub fn next_due(reader: &crate::store::Reader<'_>) -> Result<Option<Timestamp>, Error> {
    let all = keys::all_pending_due();
    let mut first = None;
    reader.scan_keys(&all, &keys::after(&all), Order::Forward, &mut |key| {
        first = keys::instant_at(key, 1);
        Ok(ControlFlow::Break(()))
    })?;
    Ok(first)
}

/// Opens, reopens or makes recur the incidents of keys whose `open.after` has passed. Returns how many keys it did.
pub fn mature(
    tx: &mut Tx<'_, '_>,
    in_force: &InForce,
    now: Timestamp,
) -> Result<usize, Failure<std::convert::Infallible>> {
    let due = due_keys(&tx.read(), now)?;
    for key in &due {
        ripen(tx, key, in_force, now)?;
    }
    tx.settle(in_force, now)?;
    Ok(due.len())
}

/// Keys whose `open.after` has passed, as many as one transaction takes.
pub fn due_keys(reader: &crate::store::Reader<'_>, now: Timestamp) -> Result<Vec<String>, Error> {
    let mut due: Vec<String> = Vec::new();
    reader.scan_keys(
        &keys::all_pending_due(),
        &keys::pending_due(now.shifted(1), ""),
        Order::Forward,
        &mut |key| {
            let text = key.get(9..).and_then(|text| std::str::from_utf8(text).ok());
            due.extend(text.map(str::to_owned));
            Ok(if due.len() < MATURED_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        },
    )?;
    Ok(due)
}

/// The same for one key alone.
pub fn mature_one(
    tx: &mut Tx<'_, '_>,
    key: &str,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Failure<std::convert::Infallible>> {
    ripen(tx, key, in_force, now)?;
    Ok(tx.settle(in_force, now)?)
}

/// A key that is due: its incident opens, or only starts of it are left that nobody counts any more.
fn ripen(tx: &mut Tx<'_, '_>, key: &str, in_force: &InForce, now: Timestamp) -> Result<(), Error> {
    let Some(before) = tx.read().pending(key)? else {
        return Ok(());
    };
    if ripe_at(&before).is_some_and(|at| at <= now) {
        return mature_key(tx, key, in_force, now).map(drop);
    }
    let mut pending = before.clone();
    pending.starts.retain(|start| start.until > now);
    tx.keep_pending(key, Some(&before), pending);
    Ok(())
}

/// The incident of a key could not take what waits under it: that is quarantined, and the key is tried again when that is
/// next shouted about.
pub fn put_off(
    tx: &mut Tx<'_, '_>,
    key: &str,
    why: &str,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Failure<std::convert::Infallible>> {
    if let Some(before) = tx.read().pending(key)? {
        let mut pending = before.clone();
        pending.due_at = Some(now.plus(EXHAUSTED_EVERY));
        tx.put_pending(key, Some(&before), Some(&pending));
    }
    match tx.read().holder(key)?.map(|holder| holder.incident) {
        Some(number) => quarantine::put(tx, number, why, in_force, now),
        None => Ok(()),
    }
}

/// Opens, reopens or makes recur the incident of a key, where alerts wait under it. Returns what they joined.
pub(crate) fn mature_key(
    tx: &mut Tx<'_, '_>,
    key: &str,
    in_force: &InForce,
    now: Timestamp,
) -> Result<Vec<Joined>, Error> {
    let mut all_joined = Vec::new();
    let Some(pending) = tx.read().pending(key)? else {
        return Ok(all_joined);
    };
    tx.put_pending(key, Some(&pending), None);
    for fingerprint in pending.members.keys() {
        let Some(before) = tx.read().alert(*fingerprint)? else {
            continue;
        };
        if before.status != Status::Pending {
            continue;
        }
        let rules = &in_force.rules;
        let own = before
            .rule
            .as_deref()
            .and_then(|rule| rules.opening_of(rule));
        let opening = own.or_else(|| opening_by_all(rules, facts_of(&before), now));
        let mut alert = before.clone();
        alert.status = Status::Firing;
        alert.changed_at = now;
        alert.pending_key = None;
        match opening {
            Some(opening) => {
                let target = tx.target(key, now)?;
                if let Some(cause) = held_by(tx, &alert, *fingerprint, target, in_force)? {
                    alert.held_by = Some(cause);
                    // One that it began to wait with is closed by now, and it is no longer of that.
                    alert.incident = None;
                    tx.put_alert(
                        *fingerprint,
                        Some(&before),
                        &alert,
                        Some(Change::Changed),
                        now,
                    )?;
                    continue;
                }
                let joined = join(
                    tx,
                    &alert,
                    *fingerprint,
                    &opening,
                    key.to_owned(),
                    target,
                    in_force,
                    now,
                )?;
                let received = tx.keep_count(*fingerprint, &before)?;
                if before.incident != Some(joined.number) {
                    tx.count_for(joined.number, received, now);
                }
                alert.incident = Some(joined.number);
                all_joined.push(joined);
            }
            // Edited away meanwhile: kept, as any alert that no rule opens.
            None => alert.routed = Routed::Unrouted,
        }
        tx.put_alert(
            *fingerprint,
            Some(&before),
            &alert,
            Some(Change::Changed),
            now,
        )?;
    }
    Ok(all_joined)
}

/// The wall clock jumped: what a key waits for is of elapsed time and moves with it.
pub fn shift(tx: &mut Tx<'_, '_>, by_ms: i64) -> Result<(), Failure<std::convert::Infallible>> {
    let mut waiting: Vec<String> = Vec::new();
    let all = keys::all_pending_due();
    tx.read()
        .scan_keys(&all, &keys::after(&all), Order::Forward, &mut |key| {
            let text = key.get(9..).and_then(|text| std::str::from_utf8(text).ok());
            waiting.extend(text.map(str::to_owned));
            Ok(ControlFlow::Continue(()))
        })?;
    for key in &waiting {
        let Some(before) = tx.read().pending(key)? else {
            continue;
        };
        let mut pending = before.clone();
        pending.since = pending.since.shifted(by_ms);
        pending.due_at = pending.due_at.map(|at| at.shifted(by_ms));
        for start in &mut pending.starts {
            start.until = start.until.shifted(by_ms);
        }
        tx.put_pending(key, Some(&before), Some(&pending));
    }
    Ok(())
}

impl Tx<'_, '_> {
    /// A firing alert begins to wait under its key. Whether that is met by its having begun.
    pub(crate) fn add_pending(
        &mut self,
        key: &str,
        alert: (Fingerprint, &Alert),
        wait: Wait,
        target: Target,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let (fingerprint, alert) = alert;
        let before = self.read().pending(key)?;
        let pending = with_member(before.clone(), fingerprint, wait, now);
        self.began(
            key,
            before.as_ref(),
            pending,
            (fingerprint, alert.starts_at),
            target,
            now,
        )
    }

    /// One that began so long ago that this counts for nothing waits under its key.
    pub(crate) fn wait_on(
        &mut self,
        key: &str,
        fingerprint: Fingerprint,
        wait: Wait,
        now: Timestamp,
    ) -> Result<(), Error> {
        let before = self.read().pending(key)?;
        let pending = with_member(before.clone(), fingerprint, wait, now);
        self.keep_pending(key, before.as_ref(), pending);
        Ok(())
    }

    /// One that waits began anew, as its sender says, without having ended before. Whether that meets what it waits for.
    pub(crate) fn begins_anew(
        &mut self,
        key: &str,
        fingerprint: Fingerprint,
        starts_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let Some(before) = self.read().pending(key)? else {
            return Ok(false);
        };
        let target = self.target(key, now)?;
        let start = (fingerprint, starts_at);
        self.began(key, Some(&before), before.clone(), start, target, now)
    }

    fn began(
        &mut self,
        key: &str,
        before: Option<&Pending>,
        mut pending: Pending,
        start: (Fingerprint, Timestamp),
        target: Target,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let from = self.counts_from(target)?;
        count_start(&mut pending, start, now);
        let is_met = has_met_count(&pending, from);
        self.keep_pending(key, before, pending);
        Ok(is_met)
    }

    /// Starts before this do not count: the incident was clear then, or closed.
    fn counts_from(&mut self, target: Target) -> Result<Option<Timestamp>, Error> {
        let number = match target {
            Target::Open(number) | Target::Closed(number) => Some(number),
            Target::New { recurrence_of } => recurrence_of,
        };
        let Some(number) = number else {
            return Ok(None);
        };
        let ended = self.with(number, |incident| {
            incident.closed_at.or(incident.clear_since)
        })?;
        Ok(ended.flatten())
    }

    /// Writes what waits under a key, and when it is looked at; nothing where nothing is left of it.
    fn keep_pending(&mut self, key: &str, before: Option<&Pending>, mut pending: Pending) {
        if pending.members.is_empty() && pending.starts.is_empty() {
            return self.put_pending(key, before, None);
        }
        pending.due_at = due_at(&pending);
        self.put_pending(key, before, Some(&pending));
    }

    /// An alert that waited fires no more; with the last one the key's time begins anew. That it had begun is remembered.
    pub(crate) fn remove_pending(
        &mut self,
        key: &str,
        fingerprint: Fingerprint,
    ) -> Result<(), Error> {
        let Some(before) = self.read().pending(key)? else {
            return Ok(());
        };
        let mut pending = before.clone();
        pending.members.remove(&fingerprint);
        self.keep_pending(key, Some(&before), pending);
        Ok(())
    }

    /// The same of one whose key has met what it waits for: with the last one nothing of the key is left.
    pub(crate) fn end_pending(&mut self, key: &str, fingerprint: Fingerprint) -> Result<(), Error> {
        self.remove_pending(key, fingerprint)?;
        match self.read().pending(key)? {
            Some(left) if left.members.is_empty() => {
                self.put_pending(key, Some(&left), None);
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The last incident of a key; where a storm that is over took it, the last one before that.
    pub(crate) fn answering(&mut self, key: &str) -> Result<Option<u64>, Error> {
        let Some(holder) = self.read().holder(key)? else {
            return Ok(None);
        };
        // One that is stuck keeps its key.
        let is_over = !self.avoids(holder.incident) && self.is_storm_over(holder.incident)?;
        Ok(match is_over {
            true => holder.before,
            false => Some(holder.incident),
        })
    }

    /// The incident that an alert of a key goes to.
    pub(crate) fn target(&mut self, key: &str, now: Timestamp) -> Result<Target, Error> {
        let Some(number) = self.answering(key)? else {
            return Ok(Target::New {
                recurrence_of: None,
            });
        };
        if self.avoids(number) {
            // When it was closed is its own to say: somebody is paged for a new one.
            return Ok(match self.is_open(number)? {
                true => Target::Open(number),
                false => Target::New {
                    recurrence_of: Some(number),
                },
            });
        }
        // Taken into work: what asks is about to join it.
        let Some(incident) = self.incident(number)? else {
            return Ok(Target::New {
                recurrence_of: None,
            });
        };
        Ok(match incident.closed_at {
            None => Target::Open(number),
            Some(closed) if now.since(closed) < incident.reopen_within() => Target::Closed(number),
            Some(_) => Target::New {
                recurrence_of: Some(number),
            },
        })
    }
}

/// One more waits; with the first the key's time begins.
fn with_member(
    before: Option<Pending>,
    fingerprint: Fingerprint,
    wait: Wait,
    now: Timestamp,
) -> Pending {
    let mut pending = before.unwrap_or(Pending {
        since: now,
        members: BTreeMap::new(),
        starts: Vec::new(),
        due_at: None,
    });
    if pending.members.is_empty() {
        pending.since = now;
    }
    pending.members.insert(fingerprint, wait);
    pending
}

/// What an alert waits for by a rule that opens not at once.
pub(crate) fn wait_of(open: OpenWhen) -> Option<Wait> {
    let in_ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    match open {
        OpenWhen::AtOnce => None,
        OpenWhen::After(span) if span.is_zero() => None,
        OpenWhen::After(span) => Some(Wait::Elapsed(in_ms(span))),
        OpenWhen::Count { count, within } => Some(Wait::Starts {
            count,
            within_ms: in_ms(within),
        }),
    }
}

/// When the key has fired for as long as the most impatient of its alerts asks for.
fn ripe_at(pending: &Pending) -> Option<Timestamp> {
    let spans = pending.members.values().filter_map(|wait| match wait {
        Wait::Elapsed(after_ms) => Some(*after_ms),
        Wait::Starts { .. } => None,
    });
    let shortest = spans.min()?;
    Some(pending.since.plus(Duration::from_millis(shortest)))
}

/// When a key is looked at: when it is ripe, and one of which only starts are left when these are of no use any more.
fn due_at(pending: &Pending) -> Option<Timestamp> {
    match pending.members.is_empty() {
        true => pending.starts.iter().map(|start| start.until).max(),
        false => ripe_at(pending),
    }
}

/// Starts that are remembered of one key.
const STARTS_KEPT_MAX: usize = STARTS_MAX as usize;

/// Remembers when an alert of a key began, where something of the key counts that. The same start of the same alert is one.
fn count_start(pending: &mut Pending, start: (Fingerprint, Timestamp), now: Timestamp) {
    let spans = pending.members.values().filter_map(|wait| match wait {
        Wait::Elapsed(_) => None,
        Wait::Starts { within_ms, .. } => Some(*within_ms),
    });
    pending.starts.retain(|start| start.until > now);
    let Some(longest) = spans.max() else {
        return;
    };
    let (alert, said) = start;
    let at = said.min(now);
    let starts = &mut pending.starts;
    if starts
        .iter()
        .any(|known| (known.alert, known.at) == (alert, at))
    {
        return;
    }
    starts.push(Start {
        alert,
        at,
        // A start at the very end of the span still counts with it.
        until: now.plus(Duration::from_millis(longest)).shifted(1),
    });
    starts.sort_unstable_by_key(|start| (start.at, start.alert));
    let excess = starts.len().saturating_sub(STARTS_KEPT_MAX);
    starts.drain(..excess);
}

/// Whether as many alerts began within the span of one that waits as it waits for, not before `from`.
fn has_met_count(pending: &Pending, from: Option<Timestamp>) -> bool {
    let counted = pending.starts.iter().map(|start| start.at);
    let counted = counted.filter(|at| from.is_none_or(|from| *at >= from));
    let counted: Vec<Timestamp> = counted.collect();
    pending.members.values().any(|wait| match wait {
        Wait::Elapsed(_) => false,
        Wait::Starts { count, within_ms } => {
            let others = usize::try_from(*count)
                .unwrap_or(usize::MAX)
                .saturating_sub(1);
            let within = Duration::from_millis(*within_ms);
            let mut spans = counted.iter().zip(counted.iter().skip(others));
            spans.any(|(first, last)| last.since(*first) <= within)
        }
    })
}
