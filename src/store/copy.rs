//! Moving a whole store from one engine to another, and looking whether one is whole: every record counted and hashed, in the order of
//! the keys, on both sides.

use crate::store::Cache;
use crate::store::backup;
use crate::store::engine::{BackupInfo, FIRST, LAST, Order, Reads};
use crate::store::error::Error;
use crate::store::keys;
use crate::store::lists;
use crate::store::postgres::{self, Loader};
use crate::store::read::Reader;
use crate::store::records::Head;
use sha2::{Digest, Sha256};
use std::ops::ControlFlow;
use std::path::Path;

/// After how many records progress is told.
const PROGRESS_EVERY: u64 = 10_000;

/// How many records there are, and what they hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    pub n_records: u64,
    /// SHA-256 in hexadecimal, over keys and values with their lengths.
    pub sha256: String,
}

/// Sums up records as they go by.
#[derive(Debug, Default)]
pub(crate) struct Summer {
    hash: Sha256,
    n_records: u64,
}

impl Summer {
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        for part in [key, value] {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            self.hash.update(length.to_be_bytes());
            self.hash.update(part);
        }
        self.n_records += 1;
    }

    pub(crate) fn sum(self) -> Sum {
        Sum {
            n_records: self.n_records,
            sha256: hex::encode(self.hash.finalize()),
        }
    }
}

/// What is done with each record.
type EachRecord<'e> = dyn FnMut(&[u8], &[u8]) -> Result<(), Error> + 'e;

/// Calls `each` for all that moves with a store: not who works on it at the moment.
fn each_moving(
    from: &dyn Reads,
    progress: &mut dyn FnMut(u64),
    each: &mut EachRecord<'_>,
) -> Result<Sum, Error> {
    let mut summer = Summer::default();
    from.scan(FIRST, LAST, Order::Forward, &mut |key, value| {
        if !keys::moves(key) {
            return Ok(ControlFlow::Continue(()));
        }
        each(key, value)?;
        summer.add(key, value);
        if summer.n_records.is_multiple_of(PROGRESS_EVERY) {
            progress(summer.n_records);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(summer.sum())
}

/// Copies everything into an empty database, as one transaction that stands only if what was written reads back the same.
pub fn to_database(
    from: &dyn Reads,
    sequence: u64,
    to: &postgres::Settings,
    progress: &mut dyn FnMut(u64),
) -> Result<Sum, Error> {
    let mut loader = Loader::begin(to)?;
    let read = each_moving(from, progress, &mut |key, value| loader.put(key, value))?;
    let written = loader.written(sequence)?;
    if written != read {
        return Err(differs(&read, &written));
    }
    loader.finish()?;
    Ok(read)
}

/// Copies everything into an empty directory, by way of a backup beside it that is verified.
pub fn to_directory(
    from: &dyn Reads,
    sequence: u64,
    to: &Path,
    made_at: crate::domain::time::Timestamp,
    progress: &mut dyn FnMut(u64),
) -> Result<Sum, Error> {
    backup::refuse_unless_empty(to)?;
    let mut name = to.as_os_str().to_owned();
    name.push(".copying");
    let beside = Path::new(&name);
    let mut writer = backup::Writer::create(beside, sequence, made_at)?;
    let read = each_moving(from, progress, &mut |key, value| {
        writer.record(key, Some(value))
    });
    let read = match read {
        Ok(read) => read,
        Err(error) => {
            writer.abandon();
            return Err(error);
        }
    };
    writer.finish(sequence)?;
    let restored = backup::restore(beside, to, progress);
    let removed = std::fs::remove_file(beside);
    restored?;
    removed.map_err(|source| Error::io(format!("remove {}", beside.display()), source))?;
    Ok(read)
}

/// Puts a verified backup into an empty database.
pub fn restore_to_database(
    file: &Path,
    to: &postgres::Settings,
    progress: &mut dyn FnMut(u64),
) -> Result<BackupInfo, Error> {
    let mut loader = Loader::begin(to)?;
    let info = backup::read(file, progress, &mut |key, value| match value {
        Some(value) => loader.put(key, value),
        None => loader.remove(key),
    })?;
    loader.written(info.sequence)?;
    loader.finish()?;
    Ok(info)
}

fn differs(read: &Sum, written: &Sum) -> Error {
    Error::Database {
        what: "copy the store".to_owned(),
        why: format!(
            "{} records were read ({}) and {} read back ({}); nothing was kept",
            read.n_records, read.sha256, written.n_records, written.sha256
        ),
    }
}

/// Sums up all that moves with a store.
pub fn sum(of: &dyn Reads, progress: &mut dyn FnMut(u64)) -> Result<Sum, Error> {
    each_moving(of, progress, &mut |_key, _value| Ok(()))
}

/// Reads everything and holds it against each other.
///
/// Values are JSON, each incident's log is whole up to its head and replays, and stands in the index of what is due. The first that
/// is not so is the error.
pub fn check(of: &dyn Reads, progress: &mut dyn FnMut(u64)) -> Result<Sum, Error> {
    let mut heads: Vec<(u64, Head)> = Vec::new();
    let sum = each_moving(of, progress, &mut |key, value| {
        let parsed = serde_json::from_slice::<serde::de::IgnoredAny>(value);
        parsed.map_err(|error| Error::record(key, error.to_string()))?;
        if key.starts_with(&keys::all_heads()) {
            let head = serde_json::from_slice(value);
            let head = head.map_err(|error| Error::record(key, error.to_string()))?;
            heads.extend(keys::last_number(key).map(|number| (number, head)));
        }
        Ok(())
    })?;
    let cache = Cache::default();
    for (number, head) in heads {
        let reader = Reader::staged(of, &cache);
        let incident = reader.incident_at(number, head.seq)?;
        let key = keys::head(number);
        if incident.seq != head.seq {
            let why = format!(
                "it is of event {}, the log ends at {}",
                head.seq, incident.seq
            );
            return Err(Error::record(&key, why));
        }
        if let Some(due) = head.due_at
            && !lists::is_due_at(&reader, number, due)?
        {
            return Err(Error::record(&key, "what is due of it is not in the index"));
        }
    }
    Ok(sum)
}
