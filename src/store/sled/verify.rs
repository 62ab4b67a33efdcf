//! Verifies a closed store: every frame and snapshot is read, the state is built once more and compared.

use crate::store::backup;
use crate::store::engine::FIRST;
use crate::store::engine::Key;
use crate::store::engine::LAST;
use crate::store::engine::Order;
use crate::store::engine::Reads;
use crate::store::engine::Status;
use crate::store::error::Error;
use crate::store::group;
use crate::store::journal;
use crate::store::sled::JOURNAL;
use crate::store::sled::STATE;
use crate::store::sled::Settings;
use crate::store::sled::recover;
use crate::store::sled::recover::Loader;
use crate::store::sled::snapshot;
use crate::store::sled::state::State;
use std::ops::ControlFlow;
use std::path::Path;

/// Where the state is built for the comparison; removed afterwards.
const COMPARED: &str = "state.compared";

/// How many records are compared at a time.
const CHUNK_RECORDS: usize = 1_000;

/// A key and its value.
type Record = (Key, Vec<u8>);

/// A store that was found whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub sequence: u64,
    pub snapshot: Option<u64>,
    pub n_records: u64,
    pub n_segments: usize,
}

/// Reads a whole store that no process has open. `Corrupt` says what does not fit and where.
///
/// Needs room for the state once more. Changes nothing but that groups not yet in the state are put there, as opening would.
pub fn verify_store(
    dir: &Path,
    settings: &Settings,
    progress: &mut dyn FnMut(u64),
) -> Result<Verified, Error> {
    let _lock = recover::lock_dir(dir)?;
    let journal_dir = dir.join(JOURNAL);
    let newest = snapshot::all(dir)?.pop();
    let facts = Status {
        snapshot: newest.as_ref().map(|newest| newest.sequence),
        checkpointed: recover::checkpointed(dir)?,
        ..Status::default()
    };
    if let (Some(snapshot), true) = (newest, is_just_restored(dir)?) {
        let found = backup::verify(&snapshot.path, progress)?;
        return Ok(Verified {
            sequence: snapshot.sequence,
            snapshot: Some(snapshot.sequence),
            n_records: found.n_records,
            n_segments: 0,
        });
    }
    let state = match recover::usable_state(dir, settings, &facts)? {
        Ok(state) => state,
        Err(why) => return Err(Error::damaged(dir.join(STATE), why)),
    };
    let sequence = catch_up(&journal_dir, &state, &facts)?;
    let compared = dir.join(COMPARED);
    remove(&compared)?;
    let again = State::open(&compared, settings.cache_bytes)?;
    let snapshot = recover::build(dir, &again, sequence, progress)?;
    let n_records = compare(&state, &again, progress)?;
    drop(again);
    remove(&compared)?;
    Ok(Verified {
        sequence,
        snapshot,
        n_records,
        n_segments: journal::segments(&journal_dir)?.len(),
    })
}

/// A store that was restored and not opened since is its snapshot alone.
fn is_just_restored(dir: &Path) -> Result<bool, Error> {
    let has_journal = !journal::segments(&dir.join(JOURNAL))?.is_empty();
    Ok(!has_journal && !dir.join(STATE).exists())
}

/// Brings the state to the end of the journal, and returns which group that is.
fn catch_up(journal_dir: &Path, state: &State, facts: &Status) -> Result<u64, Error> {
    let applied = state.applied()?;
    let mut last = facts.snapshot.unwrap_or(0);
    let mut loader = Loader::new(state);
    journal::replay(journal_dir, 0, u64::MAX, &mut |sequence, payload| {
        last = sequence;
        if sequence <= facts.checkpointed {
            return Ok(());
        }
        let changes = group::decode(payload);
        let changes = changes
            .map_err(|why| Error::damaged(journal_dir, format!("group {sequence}: {why}")))?;
        loader.group(sequence, changes)
    })?;
    loader.finish()?;
    if last < applied {
        let why = format!("it ends with group {last}, though the state holds group {applied}");
        return Err(Error::damaged(journal_dir, why));
    }
    Ok(last)
}

fn remove(dir: &Path) -> Result<(), Error> {
    if !dir.exists() {
        return Ok(());
    }
    let removed = std::fs::remove_dir_all(dir);
    removed.map_err(|source| Error::io(format!("remove {}", dir.display()), source))
}

/// Counts the records of two states that must be the same.
fn compare(state: &State, again: &State, progress: &mut dyn FnMut(u64)) -> Result<u64, Error> {
    let mut n_records: u64 = 0;
    let mut from = FIRST.to_vec();
    loop {
        let found = chunk(state, &from)?;
        let wanted = chunk(again, &from)?;
        let differs = found.iter().zip(&wanted).find(|(a, b)| a != b);
        if let Some(((found, _), (wanted, _))) = differs {
            let key = found.min(wanted);
            return Err(Error::record(
                key,
                "the state and the journal say different things",
            ));
        }
        if found.len() != wanted.len() {
            let longer = if found.len() > wanted.len() {
                &found
            } else {
                &wanted
            };
            let extra = longer.get(found.len().min(wanted.len()));
            let key = extra
                .map(|(key, _value)| key.as_slice())
                .unwrap_or_default();
            return Err(Error::record(key, "only one of state and journal has it"));
        }
        n_records += u64::try_from(found.len()).unwrap_or(u64::MAX);
        progress(n_records);
        match found.last() {
            Some((key, _value)) if found.len() == CHUNK_RECORDS => {
                from = key.to_vec();
                from.push(0);
            }
            Some(_) | None => return Ok(n_records),
        }
    }
}

fn chunk(state: &State, from: &[u8]) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    state.scan(from, LAST, Order::Forward, &mut |key, value| {
        records.push((Key::from_slice(key), value.to_vec()));
        Ok(match records.len() {
            CHUNK_RECORDS => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        })
    })?;
    Ok(records)
}
