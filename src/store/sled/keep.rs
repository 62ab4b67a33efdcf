//! The keeper: merges of runs, checkpoints, snapshots, and the removal of segments that both cover; and backups.

use crate::domain::time::Timestamp;
use crate::store::backup;
use crate::store::engine::BackupInfo;
use crate::store::engine::FIRST;
use crate::store::engine::LAST;
use crate::store::engine::Order;
use crate::store::engine::Reads;
use crate::store::error::Error;
use crate::store::journal;
use crate::store::sled::Shared;
use crate::store::sled::apply::PAUSE;
use crate::store::sled::lock;
use crate::store::sled::recover;
use crate::store::sled::snapshot;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::PoisonError;

/// After how many records a backup looks whether the store is being closed.
const LOOKS_EVERY: u64 = 1_000;

/// What the keeper has to do.
enum Task {
    Checkpoint,
    Merge,
}

impl Shared {
    /// Does what is due, until the store is closed.
    pub(super) fn keep(&self) {
        while let Some(task) = self.wait_until_due() {
            let done = match task {
                Task::Checkpoint => self.checkpoint(),
                Task::Merge => self.merge(),
            };
            match done {
                Ok(()) | Err(Error::Closed) => {}
                Err(error) => {
                    tracing::error!(%error, "the store could not be tidied; the journal keeps all it has");
                    self.pause();
                }
            }
        }
    }

    fn wait_until_due(&self) -> Option<Task> {
        let mut recent = lock(&self.recent);
        loop {
            if recent.closing {
                return None;
            }
            if recent.stuck.is_none() {
                // Merges first: with too many runs the applier waits.
                if self.state.is_merge_due() {
                    return Some(Task::Merge);
                }
                if recent.unchecked_bytes >= self.settings.checkpoint_bytes {
                    return Some(Task::Checkpoint);
                }
            }
            recent = self
                .moved
                .wait(recent)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What failed is not tried again at once.
    fn pause(&self) {
        let recent = lock(&self.recent);
        let paused = self
            .moved
            .wait_timeout_while(recent, PAUSE, |recent| !recent.closing);
        drop(paused);
    }

    fn merge(&self) -> Result<(), Error> {
        let merged = self.state.merge(&|| !lock(&self.recent).closing);
        match merged {
            Ok(_any) => {
                self.moved.notify_all();
                Ok(())
            }
            // It stays as it is until there is room.
            Err(Error::Full) => {
                self.pause();
                Ok(())
            }
            Err(error) => {
                self.found_damage(&error);
                Err(error)
            }
        }
    }

    /// Waits until the state holds every group that is durable now.
    fn apply_all(&self) -> Result<(), Error> {
        let mut recent = lock(&self.recent);
        let wanted = recent.durable;
        recent.wanted = recent.wanted.max(wanted);
        self.moved.notify_all();
        while recent.applied < wanted {
            if let Some(why) = &recent.stuck {
                return Err(Error::Poisoned { why: why.clone() });
            }
            if recent.full {
                return Err(Error::Full);
            }
            if recent.closing {
                return Err(Error::Closed);
            }
            recent = self
                .moved
                .wait(recent)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    pub(super) fn checkpoint(&self) -> Result<(), Error> {
        let _one_at_a_time = lock(&self.maintenance);
        let applied = self.apply_all();
        let done = applied
            .and_then(|()| self.sync_state())
            .and_then(|()| self.cover());
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

    /// Enough lies in segments that could be removed to be worth copying the state.
    fn snapshot_is_due(&self) -> Result<bool, Error> {
        let segments = journal::segments(&self.journal_dir())?;
        let removable = segments.split_last().map(|(_last, removable)| removable);
        let removable_bytes: u64 = removable
            .unwrap_or_default()
            .iter()
            .map(|segment| segment.size_bytes)
            .sum();
        let newest_bytes = match snapshot::all(&self.dir)?.pop() {
            Some(newest) => newest.size_bytes()?,
            None => 0,
        };
        Ok(
            removable_bytes > 0
                && removable_bytes >= self.settings.snapshot_bytes.max(newest_bytes),
        )
    }

    fn snapshot(&self) -> Result<(), Error> {
        let (runs, sequence) = {
            let recent = lock(&self.recent);
            (self.state.runs(), recent.applied)
        };
        snapshot::make(&self.dir, &runs, sequence)?;
        lock(&self.facts).snapshot = Some(sequence);
        Ok(())
    }

    /// Writes the state of one group to a file while groups go on. `maintenance` must be held.
    pub(super) fn backup(&self, to: &Path, made_at: Timestamp) -> Result<BackupInfo, Error> {
        let view = self.view();
        let mut writer = backup::Writer::create(to, view.at, made_at)?;
        let mut n_written = 0_u64;
        let written = view.scan(FIRST, LAST, Order::Forward, &mut |key, value| {
            writer.record(key, Some(value))?;
            n_written += 1;
            if n_written.is_multiple_of(LOOKS_EVERY) && lock(&self.recent).closing {
                return Err(Error::Closed);
            }
            Ok(ControlFlow::Continue(()))
        });
        match written {
            Ok(()) => writer.finish(view.at),
            Err(error) => {
                writer.abandon();
                Err(error)
            }
        }
    }
}
