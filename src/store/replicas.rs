//! The processes that work on a shared store: each says again and again that it lives, and takes over from one that no longer does.
//!
//! Nobody's clock is asked for that: a process counts its beats up, and who sees the same count for a while by its own steady clock
//! takes it for gone. That is no proof; what makes it safe is that a claim has a number, which the next claim counts up.

use crate::domain::time::Timestamp;
use crate::store::engine::Order;
use crate::store::error::Error;
use crate::store::read::Reader;
use crate::store::records::PageState;
use crate::store::tx::Tx;
use crate::store::{Failure, keys};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::ops::ControlFlow;

/// One process, as the others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Machine and process.
    pub name: String,
    pub version: String,
    /// The rules that are live in it.
    pub revision: String,
    pub since: Timestamp,
    /// Counted up for as long as it lives.
    pub beats: u64,
}

/// What a process says of itself.
#[derive(Clone, Debug)]
pub struct Beat {
    pub id: u64,
    pub name: String,
    pub version: String,
    pub revision: String,
}

/// Says that a process lives; whether the others knew.
pub fn beat(tx: &mut Tx<'_, '_>, beat: Beat, now: Timestamp) -> Result<bool, Failure<Infallible>> {
    let key = keys::replica(beat.id);
    let before: Option<Replica> = tx.get(&key)?;
    let known = before.is_some();
    let (since, beats) = before.map_or((now, 0), |before| (before.since, before.beats));
    tx.put(
        key,
        &Replica {
            name: beat.name,
            version: beat.version,
            revision: beat.revision,
            since,
            beats: beats.saturating_add(1),
        },
    );
    Ok(known)
}

/// All that are known, by their ids.
pub fn all(reader: &Reader<'_>) -> Result<Vec<(u64, Replica)>, Error> {
    let all = keys::all_replicas();
    let mut found = Vec::new();
    reader.scan(
        &all,
        &keys::after(&all),
        Order::Forward,
        &mut |key, replica: Replica| {
            found.extend(keys::last_number(key).map(|id| (id, replica)));
            Ok(ControlFlow::Continue(()))
        },
    )?;
    Ok(found)
}

/// A process has gone: what it was sending is sent by others now. Returns how many pages that are; none where it has shown
/// since that it lives.
pub fn bury(
    tx: &mut Tx<'_, '_>,
    id: u64,
    beats: u64,
    now: Timestamp,
) -> Result<Option<usize>, Failure<Infallible>> {
    let key = keys::replica(id);
    let last: Option<Replica> = tx.get(&key)?;
    if last.is_none_or(|last| last.beats != beats) {
        return Ok(None);
    }
    tx.remove(key);
    Ok(Some(release(tx, id, now)?))
}

/// A process says that it goes.
pub fn leave(tx: &mut Tx<'_, '_>, id: u64, now: Timestamp) -> Result<usize, Failure<Infallible>> {
    tx.remove(keys::replica(id));
    Ok(release(tx, id, now)?)
}

/// Ends the claims of one process.
fn release(tx: &mut Tx<'_, '_>, id: u64, now: Timestamp) -> Result<usize, Error> {
    crate::store::delivery::release(tx, now, |page| {
        page.state == PageState::Sending && page.claimed_by == Some(id)
    })
}
