//! Dead letters that are read again after a fix: which of them wait for it, and that each is taken once.

use crate::domain::time::Timestamp;
use crate::store::engine::Order;
use crate::store::error::Error;
use crate::store::intake::record;
use crate::store::read::Reader;
use crate::store::records::{DeadLetter, NoBody, Replayed};
use crate::store::report::{Recorded, Report};
use crate::store::tx::Tx;
use crate::store::{Failure, InForce, keys};
use std::ops::ControlFlow;

/// Letters looked at to find those of one source, or to count them.
const LOOKED_AT_MAX: usize = 20_000;

/// Bytes of each item that a list shows.
const LISTED_BYTES: usize = 8 * 1024;

/// Why a dead letter is not read again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreplayed {
    #[error("there is no dead letter {0}")]
    NoSuchLetter(u64),
    #[error("dead letter {id} was replayed by {by} at {at} already")]
    Already { id: u64, by: String, at: Timestamp },
    #[error("dead letter {id} cannot be replayed: {why}")]
    NoBody { id: u64, why: NoBody },
}

/// A dead letter by its number.
pub fn letter(reader: &Reader<'_>, id: u64) -> Result<Option<DeadLetter>, Error> {
    reader.get(&keys::dead_letter(id))
}

/// A dead letter that can be read again, and was not yet.
pub fn replayable(id: u64, letter: Option<DeadLetter>) -> Result<DeadLetter, Unreplayed> {
    let letter = letter.ok_or(Unreplayed::NoSuchLetter(id))?;
    if let Some(Replayed { at, by, .. }) = letter.replayed {
        return Err(Unreplayed::Already { id, by, at });
    }
    match letter.body() {
        Ok(_body) => Ok(letter),
        Err(why) => Err(Unreplayed::NoBody { id, why }),
    }
}

/// Records what was read of a dead letter, and marks it, in one transaction: a crash leaves both or neither, and of two who do
/// it at the same time the second is refused.
pub fn replay(
    tx: &mut Tx<'_, '_>,
    id: u64,
    report: &Report,
    by: &str,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(Recorded, DeadLetter), Failure<Unreplayed>> {
    let known = letter(&tx.read(), id)?;
    let mut letter = replayable(id, known).map_err(Failure::Refused)?;
    let recorded = match record(tx, report, in_force, now) {
        Ok(recorded) => recorded,
        Err(Failure::Store(error)) => return Err(Failure::Store(error)),
        Err(Failure::Refused(never)) => match never {},
    };
    letter.replayed = Some(Replayed {
        at: now,
        by: by.to_owned(),
        accepted: report.sightings.len() + report.acknowledged.len() + report.changes.len(),
        rejected: report.rejected.len(),
        opened: recorded.opened.clone(),
        joined: recorded.joined.clone(),
    });
    tx.put(keys::dead_letter(id), &letter);
    tx.remove(keys::awaiting_replay(id));
    Ok((recorded, letter))
}

/// Letters of a source that wait to be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaiting {
    /// The oldest, in order of arrival.
    pub first: Vec<u64>,
    /// How many come after those, as far as they were looked at.
    pub n_more: usize,
    /// Behind which to go on; none where there are no more.
    pub next: Option<u64>,
}

/// The letters of a source behind `after` that wait to be read again.
pub fn awaiting(
    reader: &Reader<'_>,
    source: &str,
    after: u64,
    most: usize,
) -> Result<Awaiting, Error> {
    let mut awaiting = Awaiting {
        first: Vec::new(),
        n_more: 0,
        next: None,
    };
    let (mut n_looked_at, mut last, mut is_all) = (0, after, true);
    reader.scan(
        &keys::awaiting_replay(after.saturating_add(1)),
        &keys::after(&keys::all_awaiting_replay()),
        Order::Forward,
        &mut |key, of: String| {
            if n_looked_at >= LOOKED_AT_MAX {
                is_all = false;
                return Ok(ControlFlow::Break(()));
            }
            n_looked_at += 1;
            last = keys::last_number(key).unwrap_or(last);
            if of == source {
                match awaiting.first.len() < most {
                    true => awaiting.first.push(last),
                    false => awaiting.n_more += 1,
                }
            }
            Ok(ControlFlow::Continue(()))
        },
    )?;
    awaiting.next = match (awaiting.n_more, is_all) {
        (0, true) => None,
        (0, false) => Some(last),
        (_more, _) => awaiting.first.last().copied(),
    };
    Ok(awaiting)
}

/// The same letter with no more of its item than a list shows.
pub fn shortened(mut letter: DeadLetter) -> DeadLetter {
    let end = letter.item.floor_char_boundary(LISTED_BYTES);
    letter.item.truncate(end);
    letter
}
