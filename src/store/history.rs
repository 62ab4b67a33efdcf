//! What was: transitions of alerts in order of time, and the logs of incidents, a bounded page at a time, so that who reads all of it
//! holds up nobody.

use crate::domain::alert::{Alert, Fingerprint, Status};
use crate::domain::incident::Entry;
use crate::domain::schedule::Override;
use crate::domain::silence::Silence;
use crate::domain::time::Timestamp;
use crate::store::engine::{Key, Order};
use crate::store::error::Error;
use crate::store::keys;
use crate::store::lists::LOOKED_AT_TOGETHER;
use crate::store::read::Reader;
use crate::store::records::{Head, OneOrMore, Transition};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Transitions of one page; the record that fills it is read whole.
const PAGE_TRANSITIONS: usize = 4_000;

/// Records of other tables that are looked at for one page.
const PAGE_RECORDS: usize = 4_000;

/// Where reading goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(Key);

/// Some records, and where those after them begin; none at the end.
pub type Page<T, N = Place> = (Vec<T>, Option<N>);

/// Where the transitions from an instant on begin.
pub fn transitions_from(at: Timestamp) -> Place {
    Place(keys::transitions_before(at))
}

/// The next transitions, at `until` at the latest, and where those after them begin.
pub fn transitions(
    reader: &Reader<'_>,
    from: &Place,
    until: Timestamp,
) -> Result<Page<(Timestamp, Transition)>, Error> {
    let mut found: Vec<(Timestamp, Transition)> = Vec::new();
    let mut next = None;
    let end = keys::transitions_before(until.shifted(1));
    if from.0 >= end {
        return Ok((found, None));
    }
    reader.scan(
        &from.0,
        &end,
        Order::Forward,
        &mut |key, transitions: OneOrMore<Transition>| {
            let at = keys::instant_at(key, 1).unwrap_or(until);
            found.extend(transitions.into_vec().into_iter().map(|one| (at, one)));
            if found.len() < PAGE_TRANSITIONS {
                return Ok(ControlFlow::Continue(()));
            }
            next = Some(behind(key));
            Ok(ControlFlow::Break(()))
        },
    )?;
    Ok((found, next))
}

/// The first place after a key.
fn behind(key: &[u8]) -> Place {
    let mut behind = Key::from_slice(key);
    behind.push(0);
    Place(behind)
}

/// These alerts as they are remembered, read many at once.
pub fn alerts(
    reader: &Reader<'_>,
    wanted: impl Iterator<Item = Fingerprint>,
) -> Result<BTreeMap<Fingerprint, Alert>, Error> {
    let mut wanted: Vec<Fingerprint> = wanted.collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut found = BTreeMap::new();
    for some in wanted.chunks(LOOKED_AT_TOGETHER) {
        reader.foresee(&some.iter().copied().map(keys::alert).collect::<Vec<Key>>())?;
        for fingerprint in some {
            found.extend(
                reader
                    .alert(*fingerprint)?
                    .map(|alert| (*fingerprint, alert)),
            );
        }
    }
    Ok(found)
}

/// As much of an alert as says whether it is wanted, and how it stands.
#[derive(Clone, Debug, Deserialize)]
pub struct Standing {
    pub status: Status,
    changed_at: Timestamp,
    #[serde(default)]
    incident: Option<u64>,
    #[serde(default)]
    pub held_by: Option<Fingerprint>,
    #[serde(default)]
    pub pending_key: Option<String>,
}

/// Where each half of the alerts begins and ends.
pub fn halves_of_alerts() -> [(Place, Place); 2] {
    let (first, last) = (keys::all_alerts(), keys::after(&keys::all_alerts()));
    let middle = keys::alert(Fingerprint(1 << 63));
    [
        (Place(first), Place(middle.clone())),
        (Place(middle), Place(last)),
    ]
}

/// Alerts that are not resolved and have come to that before an instant, of those without an incident and of those that wait: a page of
/// those between two places, and where the next begins.
pub fn lasting(
    reader: &Reader<'_>,
    from: &Place,
    to: &Place,
    before: Timestamp,
) -> Result<Page<(Fingerprint, Standing)>, Error> {
    let (mut found, mut n, mut next) = (Vec::new(), 0, None);
    reader.scan(
        &from.0,
        &to.0,
        Order::Forward,
        &mut |key, alert: Standing| {
            let lasts = alert.status != Status::Resolved && alert.changed_at < before;
            if lasts && (alert.incident.is_none() || alert.status == Status::Pending) {
                found.extend(keys::last_number(key).map(|of| (Fingerprint(of), alert)));
            }
            n += 1;
            if n < PAGE_RECORDS {
                return Ok(ControlFlow::Continue(()));
            }
            next = Some(behind(key));
            Ok(ControlFlow::Break(()))
        },
    )?;
    Ok((found, next))
}

/// Incidents from a number on, each with its head; and the number from which the next page begins.
pub fn heads(reader: &Reader<'_>, from: u64) -> Result<Page<(u64, Head), u64>, Error> {
    let (mut found, mut next) = (Vec::new(), None);
    reader.scan(
        &keys::head(from),
        &keys::after(&keys::all_heads()),
        Order::Forward,
        &mut |key, head: Head| {
            let Some(number) = keys::last_number(key) else {
                return Ok(ControlFlow::Continue(()));
            };
            found.push((number, head));
            if found.len() < PAGE_RECORDS {
                return Ok(ControlFlow::Continue(()));
            }
            next = number.checked_add(1);
            Ok(ControlFlow::Break(()))
        },
    )?;
    Ok((found, next))
}

/// When something was last written to an incident's log.
pub fn last_written(reader: &Reader<'_>, number: u64) -> Result<Option<Timestamp>, Error> {
    let mut last = None;
    reader.scan(
        &keys::event(number, 0),
        &keys::event(number, u64::MAX),
        Order::Reverse,
        &mut |_key, entries: OneOrMore<Entry>| {
            last = entries.into_vec().last().map(|entry| entry.at);
            Ok(ControlFlow::Break(()))
        },
    )?;
    Ok(last)
}

/// All exceptions of schedules, each with its schedule.
pub fn overrides(reader: &Reader<'_>) -> Result<Vec<(String, Override)>, Error> {
    let all = keys::all_overrides();
    let mut found = Vec::new();
    reader.scan(
        &all,
        &keys::after(&all),
        Order::Forward,
        &mut |key, of: Override| {
            found.extend(keys::schedule_of(key).map(|schedule| (schedule, of)));
            Ok(ControlFlow::Continue(()))
        },
    )?;
    Ok(found)
}

/// The silences that had not ended at an instant.
pub fn silences(reader: &Reader<'_>, since: Timestamp) -> Result<Vec<Silence>, Error> {
    let mut ids: Vec<String> = Vec::new();
    reader.scan_keys(
        &keys::silence_ends(since, ""),
        &keys::after(&keys::all_silence_ends()),
        Order::Forward,
        &mut |key| {
            ids.extend(keys::read_silence_at(key).map(|(_, id)| id));
            Ok(ControlFlow::Continue(()))
        },
    )?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        found.extend(reader.get::<Silence>(&keys::silence(&id))?);
    }
    Ok(found)
}
