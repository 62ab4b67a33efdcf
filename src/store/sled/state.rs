//! The current state in sled: one tree, the applied sequence in the same batch as what it applied. sled panics on damage; here that is an error.

use crate::store::disk::sync_tree;
use crate::store::engine::Each;
use crate::store::engine::FIRST;
use crate::store::engine::LAST;
use crate::store::engine::Order;
use crate::store::engine::Reads;
use crate::store::engine::panic_text;
use crate::store::error::Error;
use crate::store::error::is_full;
use crate::store::overlay::Changes;
use std::io;
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// Table 0 is not the callers': here the sequence of the last group that was applied.
const APPLIED: &[u8] = b"\0applied";

/// Bigger segments than sled's own half MiB: with those, a power cut could leave a database that does not open.
const SEGMENT_BYTES: usize = 8 << 20;

/// What one batch changes at most; sled keeps a batch in one piece.
const BATCH_RECORDS: usize = 1_000;

/// What sled says, how often, and after what pause the lock of an instance that was just dropped is tried again.
const LOCK_ERROR: &str = "could not acquire lock";
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The state on disk.
#[derive(Debug)]
pub(super) struct State {
    dir: PathBuf,
    db: sled::Db,
}

impl State {
    /// Opens the state of `dir`, made where there is none. `Corrupt`: it cannot be opened, and will not be.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, Error> {
        let config = sled::Config::new()
            .path(dir)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(cache_bytes)
            // sled's flusher syncs by sync_file_range: checkpoints sync instead.
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
                opened => {
                    let dir = dir.to_owned();
                    return opened.map(|db| Self { dir, db });
                }
            }
        }
    }

    /// The last group applied; 0 where there is none.
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

    /// Applies the changes of groups up to `last`, and with the last batch of them that sequence.
    /// What a crash leaves half-done is done again from the journal.
    pub(super) fn apply(&self, changes: &Changes, last: u64) -> Result<(), Error> {
        let mut batch = self.load_all_but_last(changes)?;
        batch.insert(APPLIED, &last.to_be_bytes());
        guarded(&self.dir, || self.db.apply_batch(batch))
    }

    /// Puts changes in without saying of which group they are.
    pub(super) fn load(&self, changes: &Changes) -> Result<(), Error> {
        let batch = self.load_all_but_last(changes)?;
        guarded(&self.dir, || self.db.apply_batch(batch))
    }

    fn load_all_but_last(&self, changes: &Changes) -> Result<sled::Batch, Error> {
        let mut batch = sled::Batch::default();
        let mut n_records = 0;
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                None => batch.remove(key.as_slice()),
            }
            n_records += 1;
            if n_records == BATCH_RECORDS {
                let full = std::mem::take(&mut batch);
                guarded(&self.dir, || self.db.apply_batch(full))?;
                n_records = 0;
            }
        }
        Ok(batch)
    }

    /// Brings to disk all that was applied before the call.
    pub(super) fn sync(&self) -> Result<(), Error> {
        guarded(&self.dir, || self.db.flush())?;
        sync_tree(&self.dir)
    }
}

impl Reads for State {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let found = guarded(&self.dir, || self.db.get(key))?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn scan(&self, from: &[u8], to: &[u8], order: Order, each: &mut Each<'_>) -> Result<(), Error> {
        let from = from.max(FIRST);
        let to = to.min(LAST);
        if from >= to {
            return Ok(());
        }
        let mut records = guarded(&self.dir, || Ok(self.db.range(from..to)))?;
        let mut next = || match order {
            Order::Forward => records.next().transpose(),
            Order::Reverse => records.next_back().transpose(),
        };
        while let Some((key, value)) = guarded(&self.dir, &mut next)? {
            if let ControlFlow::Break(()) = each(&key, &value)? {
                break;
            }
        }
        Ok(())
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
