//! The time in which reports could come in. What waits to hear of an alert counts no other: neither hours in which the program
//! was down or took no reports, nor those by which somebody set the clock.

use crate::domain::time::{Served, Timestamp, millis};
use crate::store::engine::Order;
use crate::store::error::Error;
use crate::store::read::Reader;
use crate::store::tx::Tx;
use crate::store::{Failure, keys};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::time::Duration;

/// How far served time is behind the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unserved {
    /// Milliseconds in which no reports came in, and by which the clock was set.
    #[serde(rename = "ms")]
    lost_ms: i64,
    /// Until when that is known.
    #[serde(default)]
    until: Option<Timestamp>,
}

impl Unserved {
    /// What the served time is when the wall clock shows `now`.
    pub fn at(self, now: Timestamp) -> Served {
        Served::of_instant(now.shifted(self.lost_ms.saturating_neg()))
    }

    /// What the wall clock shows then, if nothing else is lost.
    pub fn wall(self, at: Served) -> Timestamp {
        at.as_instant().shifted(self.lost_ms)
    }
}

const NAME: &str = "unserved";

/// The record that says so.
pub(crate) fn key() -> crate::store::engine::Key {
    keys::meta(NAME)
}

pub fn unserved(reader: &Reader<'_>) -> Result<Unserved, Error> {
    Ok(reader.get(&key())?.unwrap_or_default())
}

/// When the first record of an index by served time is due, by the wall clock.
pub(crate) fn first_due(reader: &Reader<'_>, index: &[u8]) -> Result<Option<Timestamp>, Error> {
    let mut first = None;
    reader.scan_keys(index, &keys::after(index), Order::Forward, &mut |key| {
        first = keys::instant_at(key, 1).map(Served::of_instant);
        Ok(ControlFlow::Break(()))
    })?;
    match first {
        Some(due_at) => Ok(Some(unserved(reader)?.wall(due_at))),
        None => Ok(None),
    }
}

/// Whoever serves says so again and again. Has nobody for longer than `slack`, that time was not served.
pub fn serve(
    tx: &mut Tx<'_, '_>,
    slack: Duration,
    now: Timestamp,
) -> Result<(), Failure<Infallible>> {
    let mut unserved = unserved(&tx.read())?;
    if let Some(until) = unserved.until {
        let away = now.since(until);
        if away > slack {
            let away_ms = millis(away);
            unserved.lost_ms = unserved.lost_ms.saturating_add(away_ms);
        }
    }
    unserved.until = Some(unserved.until.map_or(now, |until| until.max(now)));
    tx.put(key(), &unserved);
    Ok(())
}

/// The wall clock was set: to `to`, by so much.
pub(crate) fn clock_was_set(
    tx: &mut Tx<'_, '_>,
    to: Timestamp,
    by_ms: i64,
) -> Result<(), Failure<Infallible>> {
    let mut unserved = unserved(&tx.read())?;
    // Another process may have taken a clock that was set forth for time that nobody served.
    let is_counted = by_ms > 0
        && unserved
            .until
            .is_some_and(|until| millis(to.since(until)) < by_ms / 2);
    if !is_counted {
        unserved.lost_ms = unserved.lost_ms.saturating_add(by_ms);
    }
    unserved.until = Some(to);
    tx.put(key(), &unserved);
    Ok(())
}
