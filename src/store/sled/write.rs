//! The writer: takes what waits, lets each job decide, writes what they changed as one frame, and answers all.

use crate::store::disk::free_bytes;
use crate::store::engine::Class;
use crate::store::error::Error;
use crate::store::gather::GROUP_BYTES;
use crate::store::gather::Group;
use crate::store::gather::JOB_BYTES;
use crate::store::group;
use crate::store::journal::Journal;
use crate::store::journal::MAX_PAYLOAD_BYTES;
use crate::store::journal::Room;
use crate::store::queue::Waiting;
use crate::store::rows::Rows;
use crate::store::sled::ROWS_MAX;
use crate::store::sled::Shared;
use crate::store::sled::lock;
use std::sync::Arc;
use std::sync::PoisonError;

// A group below its bound and one more job fit a frame.
const _: () = assert!(GROUP_BYTES + JOB_BYTES < MAX_PAYLOAD_BYTES);

impl Shared {
    /// Writes groups until the store is closed and nothing waits.
    pub(super) fn write(&self, mut journal: Journal) {
        lock(&self.facts).reserve_bytes = journal.reserve_bytes();
        let mut rows = Rows::new(self.settings.remembered, ROWS_MAX);
        while let Some(first) = self.queue.wait() {
            self.wait_for_overlay();
            let group = self.gather(first, &rows, &mut journal);
            self.commit(group, &mut rows, &mut journal);
        }
    }

    /// Waits until what lies in memory is below its bound again; while the state is stuck that will not be.
    fn wait_for_overlay(&self) {
        let mut recent = lock(&self.recent);
        while recent.overlay.bytes() >= self.settings.overlay_bytes
            && recent.stuck.is_none()
            && !recent.full
        {
            recent = self
                .moved
                .wait(recent)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Runs the first job and those that wait behind it, each against what those before it changed.
    fn gather(&self, first: Waiting, rows: &Rows, journal: &mut Journal) -> Group {
        let view = self.view();
        let view = rows.over(&view);
        let mut group = Group::default();
        let mut intake_refusal = None;
        let mut n_jobs = 0;
        let mut next = Some(first);
        while let Some(Waiting { class, job }) = next {
            n_jobs += 1;
            let refusal = match class {
                Class::Engine => self.engine_refusal(),
                Class::Intake => {
                    let refusal = intake_refusal.get_or_insert_with(|| self.refusal(journal));
                    refusal.clone()
                }
            };
            // A group is written at once, at its end.
            drop(group.run(&view, class, job, refusal));
            let more = group.has_room(n_jobs);
            next = more.then(|| self.queue.next()).flatten();
        }
        group
    }

    /// Why intake may change nothing now.
    fn refusal(&self, journal: &mut Journal) -> Option<Arc<Error>> {
        match self.room_for_intake(journal) {
            Ok(true) => None,
            Ok(false) => Some(Arc::new(Error::Full)),
            Err(error) => Some(Arc::new(error)),
        }
    }

    /// Says when intake begins to be refused for want of room, and when that ends.
    fn note_room(&self, full: bool) {
        let was_full = std::mem::replace(&mut lock(&self.facts).full, full);
        if full && !was_full {
            tracing::error!("the disk of the store is full: intake is refused");
        } else if was_full && !full {
            tracing::warn!("the store has room again: intake is taken");
        }
    }

    fn room_for_intake(&self, journal: &mut Journal) -> Result<bool, Error> {
        let floor = self.settings.floor_bytes;
        if lock(&self.recent).full {
            return Ok(false);
        }
        Ok(journal.reserve_is_whole()? && (floor == 0 || free_bytes(&self.dir)? >= floor))
    }

    /// Why the engine may change nothing now: the disk has no room for the state, and memory has taken what it may.
    fn engine_refusal(&self) -> Option<Arc<Error>> {
        let recent = lock(&self.recent);
        let at_bound = recent.overlay.bytes() >= self.settings.overlay_bytes;
        (recent.full && at_bound).then(|| Arc::new(Error::Full))
    }

    fn commit(&self, mut group: Group, rows: &mut Rows, journal: &mut Journal) {
        let result = self.make_durable(&group, journal).map_err(Arc::new);
        lock(&self.facts).reserve_bytes = journal.reserve_bytes();
        if group.has_intake {
            let is_full = group
                .errors(&result)
                .any(|error| matches!(error, Error::Full));
            self.note_room(is_full);
        }
        if result.is_ok() && !group.changes.is_empty() {
            rows.follow(&group.changes);
            let mut recent = lock(&self.recent);
            let frozen = recent.n_applying;
            recent.durable = journal.sequence();
            let bytes = u64::try_from(group.bytes).unwrap_or(u64::MAX);
            recent.unchecked_bytes = recent.unchecked_bytes.saturating_add(bytes);
            recent.overlay.push(
                journal.sequence(),
                std::mem::take(&mut group.changes),
                frozen,
            );
            // Applier and keeper look by themselves when nothing comes; they are woken only when there is enough for them.
            let is_enough = recent.overlay.bytes() >= self.settings.apply_bytes
                || recent.unchecked_bytes >= self.settings.checkpoint_bytes;
            drop(recent);
            if is_enough {
                self.moved.notify_all();
            }
        }
        group.answer(&result);
    }

    fn make_durable(&self, group: &Group, journal: &mut Journal) -> Result<(), Error> {
        if let Some(why) = self.queue.poisoned() {
            return Err(Error::Poisoned { why });
        }
        if group.changes.is_empty() {
            return Ok(());
        }
        let room = match group.has_engine {
            true => Room::Reserve,
            false => Room::Ordinary,
        };
        let began = (self.settings.now)();
        let appended = journal.append_with(|frame| group::encode(&group.changes, frame), room);
        let took = (self.settings.now)().since(began);
        lock(&self.facts).last_sync_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if let Some(why) = journal.poisoned() {
            self.poison(why);
        }
        if let Err(error) = &appended {
            lock(&self.facts).last_error = Some(error.to_string());
        }
        appended.map(|_sequence| ())
    }
}
