//! The catalogue of the state, in sled: which runs there are, in which order of age, and up to which group they go. What changes together is
//! one batch.

use crate::store::disk::sync_tree;
use crate::store::engine::panic_text;
use crate::store::error::Error;
use crate::store::error::is_full;
use serde::Deserialize;
use serde::Serialize;
use std::io;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// The last group of which the runs hold everything.
const APPLIED: &[u8] = b"applied";

/// Before the age of a run, big-endian.
const RUN: &[u8] = b"run";

/// Which form the state has; what was written before there were runs has none.
const FORM: &[u8] = b"form";
const RUNS_AND_CATALOGUE: &[u8] = b"2";

/// Bigger segments than sled's own half MiB, with which a power cut could leave a database that does not open; not so big that the buffers, one
/// segment each, count in memory.
const SEGMENT_BYTES: usize = 2 << 20;

/// What sled says, how often, and after what pause the lock of an instance that was just dropped is tried again.
const LOCK_ERROR: &str = "could not acquire lock";
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A run as the catalogue names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store::sled) struct Listed {
    /// Where it stands among the others: what a later one says holds.
    pub(in crate::store::sled) age: u64,
    /// The number in the name of its file.
    pub(in crate::store::sled) file: u64,
    /// How often what it holds was merged.
    pub(in crate::store::sled) level: u32,
}

#[derive(Debug)]
pub(super) struct Catalogue {
    dir: PathBuf,
    db: sled::Db,
}

impl Catalogue {
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, Error> {
        let catalogue = Self {
            dir: dir.to_owned(),
            db: open(dir, cache_bytes)?,
        };
        let form = guarded(dir, || catalogue.db.get(FORM))?;
        match form.as_deref() {
            Some(RUNS_AND_CATALOGUE) => Ok(catalogue),
            None if guarded(dir, || Ok(catalogue.db.is_empty()))? => {
                guarded(dir, || catalogue.db.insert(FORM, RUNS_AND_CATALOGUE))?;
                Ok(catalogue)
            }
            Some(_) | None => Err(Error::damaged(dir, "another version wrote it")),
        }
    }

    pub(super) fn applied(&self) -> Result<u64, Error> {
        let Some(found) = guarded(&self.dir, || self.db.get(APPLIED))? else {
            return Ok(0);
        };
        match found.as_ref().try_into() {
            Ok(bytes) => Ok(u64::from_be_bytes(bytes)),
            Err(_size) => Err(Error::damaged(
                &self.dir,
                "the applied sequence is no number",
            )),
        }
    }

    pub(super) fn runs(&self) -> Result<Vec<Listed>, Error> {
        let found = guarded(&self.dir, || {
            self.db
                .scan_prefix(RUN)
                .values()
                .collect::<Result<Vec<_>, _>>()
        })?;
        let read = |value: sled::IVec| {
            serde_json::from_slice(&value)
                .map_err(|error| Error::damaged(&self.dir, format!("a run is listed as {error}")))
        };
        found.into_iter().map(read).collect()
    }

    pub(super) fn note_applied(&self, last: u64) -> Result<(), Error> {
        guarded(&self.dir, || self.db.insert(APPLIED, &last.to_be_bytes()))?;
        Ok(())
    }

    /// Names one more run, and with it the last group it goes up to.
    pub(super) fn add(&self, listed: &Listed, last: Option<u64>) -> Result<(), Error> {
        let mut batch = sled::Batch::default();
        batch.insert(key(listed.age), value(listed));
        if let Some(last) = last {
            batch.insert(APPLIED, &last.to_be_bytes());
        }
        guarded(&self.dir, || self.db.apply_batch(batch))
    }

    /// Names one run in the place of others. Once this returns, that survives a power cut: the others may be removed.
    pub(super) fn replace(&self, ages: &[u64], by: &Listed) -> Result<(), Error> {
        let mut batch = sled::Batch::default();
        for age in ages {
            batch.remove(key(*age));
        }
        batch.insert(key(by.age), value(by));
        guarded(&self.dir, || self.db.apply_batch(batch))?;
        self.sync()
    }

    /// Brings to disk all that was changed before the call.
    pub(super) fn sync(&self) -> Result<(), Error> {
        guarded(&self.dir, || self.db.flush())?;
        sync_tree(&self.dir)
    }
}

fn key(age: u64) -> Vec<u8> {
    [RUN, &age.to_be_bytes()].concat()
}

fn value(listed: &Listed) -> Vec<u8> {
    serde_json::to_vec(listed).expect("a record of numbers")
}

fn open(dir: &Path, cache_bytes: u64) -> Result<sled::Db, Error> {
    let config = sled::Config::new()
        .path(dir)
        .segment_size(SEGMENT_BYTES)
        .cache_capacity(cache_bytes)
        // sled's flusher syncs by sync_file_range: we sync ourselves.
        .flush_every_ms(None);
    let mut tries = 1;
    loop {
        match guarded(dir, || config.open()) {
            // The directory is ours by our own lock: who has it is our own instance of a moment ago.
            Err(Error::Io { source, .. })
                if source.to_string().contains(LOCK_ERROR) && tries < LOCK_TRIES =>
            {
                tries += 1;
                std::thread::park_timeout(LOCK_PAUSE);
            }
            opened => return opened,
        }
    }
}

/// Calls sled; its panics and its errors about what it reads are damage.
fn guarded<T>(dir: &Path, call: impl FnOnce() -> Result<T, sled::Error>) -> Result<T, Error> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(source))) if is_from_outside(&source) => {
            Err(Error::io(format!("use {}", dir.display()), source))
        }
        Ok(Err(error)) => Err(Error::damaged(dir, format!("sled says: {error}"))),
        Err(payload) => {
            let text = panic_text(payload.as_ref());
            if text.contains("StorageFull") {
                return Err(Error::Full);
            }
            Err(Error::damaged(dir, format!("sled panicked: {text}")))
        }
    }
}

/// Whether what is there may be whole, and only cannot be used now. Of the system's errors sled keeps the kind.
fn is_from_outside(error: &io::Error) -> bool {
    is_full(error)
        || matches!(
            error.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        )
        || error.to_string().contains(LOCK_ERROR)
}
