//! Keys whose alerts fire and have not met their rule's `open.after`, and the incident of a key.

use crate::domain::alert::{Fingerprint, Routed, Status};
use crate::domain::escalation::EXHAUSTED_EVERY;
use crate::domain::time::Timestamp;
use crate::store::engine::Order;
use crate::store::error::Error;
use crate::store::joining::{Target, facts_of, held_by, join, opening_by_all};
use crate::store::records::{Change, Pending};
use crate::store::tx::Tx;
use crate::store::{Failure, InForce, keys, quarantine};
use std::ops::ControlFlow;
use std::time::Duration;

/// Keys that one transaction brings to maturity.
const MATURED_MAX: usize = 500;

/// When the next key meets its `open.after`.
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
        mature_key(tx, key, in_force, now)?;
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
    mature_key(tx, key, in_force, now)?;
    Ok(tx.settle(in_force, now)?)
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
        pending.due_at = now.plus(EXHAUSTED_EVERY);
        tx.put_pending(key, Some(&before), Some(&pending));
    }
    match tx.read().holder(key)? {
        Some(number) => quarantine::put(tx, number, why, in_force, now),
        None => Ok(()),
    }
}

/// Opens, reopens or makes recur the incident of a key, where alerts wait under it.
pub(crate) fn mature_key(
    tx: &mut Tx<'_, '_>,
    key: &str,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    let Some(pending) = tx.read().pending(key)? else {
        return Ok(());
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
    Ok(())
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
        pending.due_at = pending.due_at.shifted(by_ms);
        tx.put_pending(key, Some(&before), Some(&pending));
    }
    Ok(())
}

impl Tx<'_, '_> {
    /// A firing alert begins to wait under its key.
    pub(crate) fn add_pending(
        &mut self,
        key: &str,
        fingerprint: Fingerprint,
        after: Duration,
        now: Timestamp,
    ) -> Result<(), Error> {
        let before = self.read().pending(key)?;
        let mut pending = before.clone().unwrap_or(Pending {
            since: now,
            members: std::collections::BTreeMap::new(),
            due_at: now,
        });
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        pending.members.insert(fingerprint, after_ms);
        pending.due_at = due_at(&pending);
        self.put_pending(key, before.as_ref(), Some(&pending));
        Ok(())
    }

    /// An alert that waited fires no more; with the last one the key's time begins anew.
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
        if pending.members.is_empty() {
            self.put_pending(key, Some(&before), None);
        } else {
            pending.due_at = due_at(&pending);
            self.put_pending(key, Some(&before), Some(&pending));
        }
        Ok(())
    }

    /// The incident that an alert of a key goes to.
    pub(crate) fn target(&mut self, key: &str, now: Timestamp) -> Result<Target, Error> {
        let Some(number) = self.read().holder(key)? else {
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

fn due_at(pending: &Pending) -> Timestamp {
    let shortest = pending.members.values().min().copied().unwrap_or(0);
    pending.since.plus(Duration::from_millis(shortest))
}
