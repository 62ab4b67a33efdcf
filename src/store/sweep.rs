//! Retention: what is older than it need be is removed, a bounded step at a time.

use crate::domain::alert::{Fingerprint, Status};
use crate::domain::change::Change;
use crate::domain::time::Timestamp;
use crate::store::engine::{Key, Order};
use crate::store::error::Error;
use crate::store::records::CheckSeen;
use crate::store::tx::Tx;
use crate::store::{Failure, changes, keys, silences};
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::time::Duration;

/// Records of each table that one step removes.
pub const REMOVED_MAX: usize = 500;

/// Alerts that one step looks at: nearly all that are older than their retention can be removed.
const LOOKED_AT_MAX: usize = 2_000;

/// What is kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Resolved alerts that belong to no open incident, the history of all alerts, and silences from their ends.
    pub alerts: Duration,
    /// Changes, from when they last came to another status.
    pub changes: Duration,
    /// The newest of them, so many.
    pub dead_letters: u64,
}

/// Removes what is too old. Returns how many records it removed; as many as a step may mean that there is more.
pub fn sweep(
    tx: &mut Tx<'_, '_>,
    retention: Retention,
    now: Timestamp,
) -> Result<usize, Failure<Infallible>> {
    let end = now.minus(retention.alerts);
    let removed = remove_range(tx, &keys::all_transitions(), &keys::transitions_before(end))?
        + remove_alerts(tx, end)?
        + remove_dead_letters(tx, retention.dead_letters)?
        + remove_idempotency(tx, now)?
        + remove_checks(tx, end)?
        + remove_scopes(tx)?
        + remove_changes(tx, now.minus(retention.changes))?
        + silences::sweep(tx, end, REMOVED_MAX)?;
    Ok(removed)
}

fn remove_range(tx: &mut Tx<'_, '_>, from: &[u8], to: &[u8]) -> Result<usize, Error> {
    let found = first_keys(tx, from, to)?;
    let removed = found.len();
    found.into_iter().for_each(|key| tx.remove(key));
    Ok(removed)
}

fn first_keys(tx: &Tx<'_, '_>, from: &[u8], to: &[u8]) -> Result<Vec<Key>, Error> {
    let mut found = Vec::new();
    tx.read().scan_keys(from, to, Order::Forward, &mut |key| {
        found.push(Key::from_slice(key));
        Ok(if found.len() < REMOVED_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        })
    })?;
    Ok(found)
}

/// Alerts that are resolved since before `end` and whose incident, if any, is closed. Those that are still needed are passed
/// over, and where they are many the next step goes on behind them.
fn remove_alerts(tx: &mut Tx<'_, '_>, end: Timestamp) -> Result<usize, Error> {
    let cursor = keys::meta("swept_alerts");
    let before: Option<(Timestamp, Fingerprint)> = tx.get(&cursor)?;
    let from = before.map_or_else(keys::all_changed, |(at, fingerprint)| {
        keys::changed(at, fingerprint)
    });
    let to = keys::changed_before(end);
    let mut found = Vec::new();
    if from < to {
        tx.read()
            .scan_keys(&from, &to, Order::Forward, &mut |key| {
                found.push(Key::from_slice(key));
                Ok(match found.len() {
                    LOOKED_AT_MAX => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                })
            })?;
    }
    let looked_at = found
        .iter()
        .filter_map(|key| keys::last_number(key).map(Fingerprint));
    let alerts: Vec<Key> = looked_at.map(keys::alert).collect();
    tx.read().foresee(&alerts)?;
    let is_end = found.len() < LOOKED_AT_MAX;
    let (mut removed, mut last) = (0, None);
    for key in found {
        let (Some(at), Some(fingerprint)) = (
            keys::instant_at(&key, 1),
            keys::last_number(&key).map(Fingerprint),
        ) else {
            continue;
        };
        last = Some((at, fingerprint));
        if removed >= REMOVED_MAX {
            break;
        }
        removed += usize::from(remove_alert(tx, key, fingerprint)?);
    }
    let after = last.filter(|_| !is_end || removed >= REMOVED_MAX);
    if after != before {
        match after {
            Some(after) => tx.put(cursor, &after),
            None => tx.remove(cursor),
        }
    }
    Ok(removed)
}

/// Removes an alert that is needed no more; its key in the list of changes is known.
fn remove_alert(tx: &mut Tx<'_, '_>, key: Key, fingerprint: Fingerprint) -> Result<bool, Error> {
    if let Some(alert) = tx.read().alert(fingerprint)? {
        let is_needed = match alert.incident {
            Some(number) => tx.is_open(number)?,
            None => false,
        };
        if alert.status != Status::Resolved || is_needed {
            return Ok(false);
        }
        tx.remove(keys::alert(fingerprint));
        tx.remove(keys::seen(fingerprint));
    }
    tx.remove(key);
    Ok(true)
}

/// Changes that came to no other status since `end`. One that began before and ended later is no longer found by its beginning.
fn remove_changes(tx: &mut Tx<'_, '_>, end: Timestamp) -> Result<usize, Error> {
    let from = keys::changes_of(keys::ALL_CHANGES);
    let old = first_keys(tx, &from, &keys::changes_from(keys::ALL_CHANGES, end))?;
    let ids: Vec<Key> = old
        .iter()
        .filter_map(|key| keys::read_change_at(key))
        .map(|(_, id)| keys::change(id))
        .collect();
    tx.read().foresee(&ids)?;
    for id in &ids {
        if let Some(change) = tx.get::<Change>(id)?
            && change.at < end
        {
            changes::remove(tx, &change);
        }
    }
    let removed = old.len();
    old.into_iter().for_each(|key| tx.remove(key));
    Ok(removed)
}

fn remove_dead_letters(tx: &mut Tx<'_, '_>, kept: u64) -> Result<usize, Error> {
    let last = tx.get::<u64>(&keys::meta("dead_letter"))?.unwrap_or(0);
    let first_kept = last.saturating_sub(kept).saturating_add(1);
    let awaiting = remove_range(
        tx,
        &keys::all_awaiting_replay(),
        &keys::awaiting_replay(first_kept),
    )?;
    let letters = remove_range(
        tx,
        &keys::all_dead_letters(),
        &keys::dead_letter(first_kept),
    )?;
    Ok(awaiting + letters)
}

fn remove_idempotency(tx: &mut Tx<'_, '_>, now: Timestamp) -> Result<usize, Error> {
    let ended = first_keys(
        tx,
        &keys::all_idempotency_ends(),
        &keys::idempotency_ended_before(now),
    )?;
    let removed = ended.len();
    for key in ended {
        if let Some(text) = key.get(9..).and_then(|text| std::str::from_utf8(text).ok()) {
            tx.remove(keys::idempotency(text));
        }
        tx.remove(key);
    }
    Ok(removed)
}

/// Checks that have not reported for as long as alerts are kept.
fn remove_checks(tx: &mut Tx<'_, '_>, end: Timestamp) -> Result<usize, Error> {
    let all = keys::all_checks();
    let mut old = Vec::new();
    tx.read().scan(
        &all,
        &keys::after(&all),
        Order::Forward,
        &mut |key, seen: CheckSeen| {
            let last = seen
                .runs
                .iter()
                .map(|run| run.counted_at)
                .chain(seen.finished_at)
                .max();
            if last.is_none_or(|last| last < end) {
                old.push(Key::from_slice(key));
            }
            Ok(if old.len() < REMOVED_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        },
    )?;
    let removed = old.len();
    old.into_iter().for_each(|key| tx.remove(key));
    Ok(removed)
}

/// Entries of scopes whose alerts fire no more. A report of the scope would remove them, but it may never come again.
fn remove_scopes(tx: &mut Tx<'_, '_>) -> Result<usize, Error> {
    let cursor = keys::meta("swept_scopes");
    let after: Option<String> = tx.get(&cursor)?;
    let all = keys::all_scopes();
    let from = after
        .as_deref()
        .and_then(|after| hex::decode(after).ok())
        .map_or_else(|| all.clone(), Key::from_vec);
    let mut found = Vec::new();
    tx.read()
        .scan_keys(&from, &keys::after(&all), Order::Forward, &mut |key| {
            found.push(Key::from_slice(key));
            Ok(match found.len() {
                REMOVED_MAX => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            })
        })?;
    let alerts = found.iter().filter_map(|key| keys::last_number(key));
    let alerts: Vec<Key> = alerts.map(|of| keys::alert(Fingerprint(of))).collect();
    tx.read().foresee(&alerts)?;
    let next = found.get(REMOVED_MAX - 1).map(hex::encode);
    let mut removed = 0;
    for key in found {
        let alert = match keys::last_number(&key).map(Fingerprint) {
            Some(fingerprint) => tx.read().alert(fingerprint)?,
            None => None,
        };
        if alert.is_none_or(|alert| alert.status == Status::Resolved) {
            tx.remove(key);
            removed += 1;
        }
    }
    if next != after {
        match next {
            Some(next) => tx.put(cursor, &next),
            None => tx.remove(cursor),
        }
    }
    Ok(removed)
}
