//! What the wall clock showed when the program was last seen running: a machine may start with a clock that is behind.

use crate::domain::time::Timestamp;
use crate::store::error::Error;
use crate::store::read::Reader;
use crate::store::tx::Tx;
use crate::store::{Failure, keys, lists, pending, quarantine, served, silences, storms};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;

const NAME: &str = "seen_clock";

/// What was kept; none in a store that no engine has stepped over.
pub fn last(reader: &Reader<'_>) -> Result<Option<Timestamp>, Error> {
    reader.get(&keys::meta(NAME))
}

/// The last time that the clock was set that several processes share, and who is still to hear of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Jump {
    to: Timestamp,
    pub by_ms: i64,
    /// Incidents that were open and have not moved yet. While there are any, nothing that is due is done.
    #[serde(default)]
    pub left: Vec<u64>,
}

const JUMP: &str = "clock_jump";

/// A process that was cut off from the store sees a jump so much later than the others, in milliseconds.
const SEEN_WITHIN: i64 = 3_600_000;

/// Two that see one jump see it by as much, but for this, in milliseconds.
const SAME_BY: i64 = 60_000;

/// The last jump of a clock that several processes share.
pub fn last_jump(reader: &Reader<'_>) -> Result<Option<Jump>, Error> {
    reader.get(&keys::meta(JUMP))
}

/// A clock that several processes share was set: the first who sees it moves what waits beside the incidents, and writes down
/// which incidents are to be moved; for the others there is nothing left to do.
pub fn begin_jump(
    tx: &mut Tx<'_, '_>,
    to: Timestamp,
    by_ms: i64,
) -> Result<(), Failure<Infallible>> {
    let last = last_jump(&tx.read())?;
    let is_same = last.as_ref().is_some_and(|last| {
        let later = to.as_millis().saturating_sub(last.to.as_millis());
        (-SAME_BY..=SEEN_WITHIN).contains(&later)
            && last.by_ms.saturating_sub(by_ms).abs() <= SAME_BY
    });
    if is_same {
        return Ok(());
    }
    // What was left of an earlier one moves by both: each is written down by itself, and the earlier one is done first.
    if let Some(before) = last.filter(|last| !last.left.is_empty()) {
        return Err(Error::Database {
            what: "follow a clock that was set".to_owned(),
            why: format!(
                "{} incidents have not moved by the jump before",
                before.left.len()
            ),
        }
        .into());
    }
    pending::shift(tx, by_ms)?;
    storms::shift(tx, by_ms)?;
    quarantine::shift(tx, by_ms)?;
    silences::clock_was_set(tx, to)?;
    served::clock_was_set(tx, to, by_ms)?;
    let left = lists::open_incidents(&tx.read())?;
    tx.put(keys::meta(JUMP), &Jump { to, by_ms, left });
    Ok(())
}

/// One of the incidents has moved, or never will.
pub fn has_moved(tx: &mut Tx<'_, '_>, number: u64) -> Result<(), Failure<Infallible>> {
    if let Some(mut jump) = last_jump(&tx.read())? {
        jump.left.retain(|left| *left != number);
        tx.put(keys::meta(JUMP), &jump);
    }
    Ok(())
}

/// Keeps what it shows now.
pub fn keep(tx: &mut Tx<'_, '_>, now: Timestamp) -> Result<(), Failure<Infallible>> {
    tx.put(keys::meta(NAME), &now);
    Ok(())
}
