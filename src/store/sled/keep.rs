//! The keeper: checkpoints, snapshots, and the removal of segments that both cover; and backups, which are snapshots put elsewhere.

use crate::domain::time::Timestamp;
use crate::store::backup;
use crate::store::disk::make_dir;
use crate::store::disk::sync_dir;
use crate::store::engine::BackupInfo;
use crate::store::engine::FIRST;
use crate::store::engine::LAST;
use crate::store::engine::Order;
use crate::store::engine::Reads;
use crate::store::error::Error;
use crate::store::group;
use crate::store::journal;
use crate::store::sled::SNAPSHOTS;
use crate::store::sled::Shared;
use crate::store::sled::lock;
use crate::store::sled::recover;
use crate::store::sled::snapshot_name;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::PoisonError;

/// The name of a snapshot before it is whole.
const WRITING: &str = "writing";

/// How many records a backup reads in one view, so that the applier is held up but briefly.
const CHUNK_RECORDS: usize = 1_000;

impl Shared {
    /// Makes a checkpoint whenever enough was written, until the store is closed.
    pub(super) fn keep(&self) {
        while self.wait_until_due() {
            match self.checkpoint() {
                Ok(()) | Err(Error::Closed) => {}
                Err(error) => {
                    tracing::error!(%error, "the checkpoint failed; the journal keeps all it has");
                }
            }
        }
    }

    fn wait_until_due(&self) -> bool {
        let mut recent = lock(&self.recent);
        loop {
            if recent.closing {
                return false;
            }
            if recent.unchecked_bytes >= self.settings.checkpoint_bytes && recent.stuck.is_none() {
                return true;
            }
            recent = self
                .moved
                .wait(recent)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn checkpoint(&self) -> Result<(), Error> {
        let _one_at_a_time = lock(&self.maintenance);
        let done = self.sync_state().and_then(|()| self.cover());
        if let Err(error) = &done
            && !matches!(error, Error::Closed)
        {
            lock(&self.facts).last_error = Some(error.to_string());
        }
        done
    }

    /// Once this returns, the state up to the recorded group is on disk.
    pub(super) fn sync_state(&self) -> Result<(), Error> {
        let applied = {
            let mut recent = lock(&self.recent);
            // Counted anew also where this fails: the next try is so much later.
            recent.unchecked_bytes = 0;
            recent.applied
        };
        match self.state.sync() {
            Err(Error::Full) => return Err(Error::Full),
            Err(error) => {
                // Pages may be lost that sled believes written. The journal has them: the next start does those groups again.
                self.poison(&error.to_string());
                return Err(error);
            }
            Ok(()) => {}
        }
        recover::write_checkpoint(&self.dir, applied)?;
        lock(&self.facts).checkpointed = applied;
        Ok(())
    }

    /// Writes a snapshot if one is due, and removes the segments that it and the checkpoint cover.
    fn cover(&self) -> Result<(), Error> {
        if self.snapshot_is_due()? {
            self.snapshot()?;
        }
        let (checkpointed, snapshot) = {
            let facts = lock(&self.facts);
            (facts.checkpointed, facts.snapshot)
        };
        let Some(snapshot) = snapshot else {
            return Ok(());
        };
        let n_removed = journal::remove_covered(&self.journal_dir(), checkpointed.min(snapshot))?;
        if n_removed > 0 {
            tracing::info!(
                n_removed,
                snapshot,
                "journal segments that a snapshot covers were removed"
            );
        }
        Ok(())
    }

    /// Enough lies in segments that could be removed to be worth writing the whole state.
    fn snapshot_is_due(&self) -> Result<bool, Error> {
        let segments = journal::segments(&self.journal_dir())?;
        let removable = segments.split_last().map(|(_last, removable)| removable);
        let removable_bytes: u64 = removable
            .unwrap_or_default()
            .iter()
            .map(|segment| segment.size_bytes)
            .sum();
        let snapshots = recover::snapshots(&self.dir)?;
        let newest = snapshots.last().map(|(_sequence, path)| path);
        let newest_bytes = newest
            .and_then(|path| std::fs::metadata(path).ok())
            .map_or(0, |found| found.len());
        Ok(
            removable_bytes > 0
                && removable_bytes >= self.settings.snapshot_bytes.max(newest_bytes),
        )
    }

    fn snapshot(&self) -> Result<(), Error> {
        let dir = self.dir.join(SNAPSHOTS);
        make_dir(&dir)?;
        let written = dir.join(WRITING);
        self.backup(&written, (self.settings.now)())?;
        let info = backup::verify(&written, &mut |_n| {})?;
        let path = dir.join(snapshot_name(info.sequence));
        let renamed = std::fs::rename(&written, &path);
        renamed.map_err(|source| Error::io(format!("rename {}", written.display()), source))?;
        sync_dir(&dir)?;
        for (sequence, older) in recover::snapshots(&self.dir)? {
            if sequence < info.sequence {
                let removed = std::fs::remove_file(&older);
                removed
                    .map_err(|source| Error::io(format!("remove {}", older.display()), source))?;
            }
        }
        sync_dir(&dir)?;
        lock(&self.facts).snapshot = Some(info.sequence);
        Ok(())
    }

    /// Writes the state of one group to a file while groups go on: first all records, read a chunk at a time,
    /// then, from the journal, every change since the first chunk. `maintenance` must be held.
    pub(super) fn backup(&self, to: &Path, made_at: Timestamp) -> Result<BackupInfo, Error> {
        let begun_at = lock(&self.recent).durable;
        let mut writer = backup::Writer::create(to, begun_at, made_at)?;
        match self.write_backup(&mut writer, begun_at) {
            Ok(ended_at) => writer.finish(ended_at),
            Err(error) => {
                writer.abandon();
                Err(error)
            }
        }
    }

    fn write_backup(&self, writer: &mut backup::Writer, begun_at: u64) -> Result<u64, Error> {
        let mut from = FIRST.to_vec();
        loop {
            if lock(&self.recent).closing {
                return Err(Error::Closed);
            }
            let mut left = CHUNK_RECORDS;
            let mut last = None;
            let view = self.view();
            view.scan(&from, LAST, Order::Forward, &mut |key, value| {
                writer.record(key, Some(value))?;
                left -= 1;
                if left > 0 {
                    return Ok(ControlFlow::Continue(()));
                }
                last = Some(key.to_vec());
                Ok(ControlFlow::Break(()))
            })?;
            let Some(mut last) = last else { break };
            // The next key there could be.
            last.push(0);
            from = last;
        }
        let ended_at = lock(&self.recent).durable;
        if ended_at > begun_at {
            let dir = self.journal_dir();
            journal::replay(&dir, begun_at + 1, ended_at, &mut |sequence, payload| {
                let changes = group::decode(payload)
                    .map_err(|why| Error::damaged(&dir, format!("group {sequence}: {why}")))?;
                for (key, value) in &changes {
                    writer.record(key, value.as_deref())?;
                }
                Ok(())
            })?;
        }
        Ok(ended_at)
    }
}
