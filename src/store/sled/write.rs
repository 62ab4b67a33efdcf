//! The writer: takes what waits, lets each job decide, writes what they changed as one frame, and answers all.

use crate::store::disk::free_bytes;
use crate::store::engine::Class;
use crate::store::engine::Done;
use crate::store::engine::Job;
use crate::store::engine::Keep;
use crate::store::engine::Reads;
use crate::store::engine::Stage;
use crate::store::engine::panic_text;
use crate::store::error::Error;
use crate::store::group;
use crate::store::journal::Journal;
use crate::store::journal::MAX_PAYLOAD_BYTES;
use crate::store::journal::Room;
use crate::store::overlay::Changes;
use crate::store::sled::Shared;
use crate::store::sled::Waiting;
use crate::store::sled::lock;
use crate::store::sled::rows::Rows;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::PoisonError;

/// A group takes no further job past either.
const GROUP_JOBS: usize = 1_024;
const GROUP_BYTES: usize = 4 << 20;

/// What one job may change.
const JOB_BYTES: usize = 16 << 20;

// A group below its bound and one more job fit a frame.
const _: () = assert!(GROUP_BYTES + JOB_BYTES < MAX_PAYLOAD_BYTES);

/// What jobs of one group changed so far, and whom to tell.
#[derive(Default)]
struct Group {
    changes: Changes,
    bytes: usize,
    has_engine: bool,
    /// Intake that wanted to change something.
    has_intake: bool,
    /// Who is answered in order, with the error that is theirs alone.
    answers: Vec<(Done, Option<Arc<Error>>)>,
}

impl Shared {
    /// Writes groups until the store is closed and nothing waits.
    pub(super) fn write(&self, mut journal: Journal) {
        lock(&self.facts).reserve_bytes = journal.reserve_bytes();
        let mut rows = Rows::new(self.settings.remembered);
        while let Some(first) = self.wait_for_job() {
            self.wait_for_overlay();
            let group = self.gather(first, &rows, &mut journal);
            self.commit(group, &mut rows, &mut journal);
        }
    }

    fn wait_for_job(&self) -> Option<Waiting> {
        let mut queues = lock(&self.queues);
        loop {
            let next = queues.engine.pop_front();
            if let Some(waiting) = next.or_else(|| queues.intake.pop_front()) {
                return Some(waiting);
            }
            if queues.closing {
                return None;
            }
            queues = self
                .work
                .wait(queues)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn next_job(&self) -> Option<Waiting> {
        let mut queues = lock(&self.queues);
        let next = queues.engine.pop_front();
        next.or_else(|| queues.intake.pop_front())
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
            group.run(&view, class, job, refusal);
            let more = n_jobs < GROUP_JOBS && group.bytes < GROUP_BYTES;
            next = more.then(|| self.next_job()).flatten();
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

    fn commit(&self, group: Group, rows: &mut Rows, journal: &mut Journal) {
        let result = self.make_durable(&group, journal).map_err(Arc::new);
        lock(&self.facts).reserve_bytes = journal.reserve_bytes();
        if group.has_intake {
            self.note_room(group.full(&result));
        }
        if result.is_ok() && !group.changes.is_empty() {
            rows.follow(&group.changes);
            let mut recent = lock(&self.recent);
            let frozen = recent.n_applying;
            recent.durable = journal.sequence();
            let bytes = u64::try_from(group.bytes).unwrap_or(u64::MAX);
            recent.unchecked_bytes = recent.unchecked_bytes.saturating_add(bytes);
            recent
                .overlay
                .push(journal.sequence(), group.changes, frozen);
            // Applier and keeper look by themselves when nothing comes; they are woken only when there is enough for them.
            let is_enough = recent.overlay.bytes() >= self.settings.apply_bytes
                || recent.unchecked_bytes >= self.settings.checkpoint_bytes;
            drop(recent);
            if is_enough {
                self.moved.notify_all();
            }
        }
        for (done, own) in group.answers {
            let answer = match own {
                Some(error) => Err(error),
                None => result.clone(),
            };
            if catch_unwind(AssertUnwindSafe(|| done(answer))).is_err() {
                tracing::error!("what a job had to tell panicked");
            }
        }
    }

    fn make_durable(&self, group: &Group, journal: &mut Journal) -> Result<(), Error> {
        if let Some(why) = lock(&self.queues).poisoned.clone() {
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

impl Group {
    /// Whether one of its jobs found no room.
    fn full(&self, result: &Result<(), Arc<Error>>) -> bool {
        let own = self
            .answers
            .iter()
            .filter_map(|(_done, own)| own.as_deref());
        own.chain(result.as_ref().err().map(AsRef::as_ref))
            .any(|error| matches!(error, Error::Full))
    }

    /// Runs a job and keeps what it wants to keep, unless it may not.
    fn run(&mut self, view: &dyn Reads, class: Class, job: Job, refusal: Option<Arc<Error>>) {
        let mut stage = Stage::new(view, &mut self.changes);
        // A panic drops the job with whoever waits on it, and nothing of it stays.
        let (keep, done) = match catch_unwind(AssertUnwindSafe(|| job(&mut stage))) {
            Ok(ran) => ran,
            Err(payload) => {
                stage.undo();
                let text = panic_text(payload.as_ref());
                tracing::error!("a job panicked, its changes are dropped: {text}");
                return;
            }
        };
        if keep == Keep::No || stage.is_unchanged() {
            stage.undo();
            self.answers.push((done, None));
            return;
        }
        self.has_intake |= class == Class::Intake;
        let bytes = stage.bytes();
        let too_large = || {
            let bytes = usize::try_from(bytes).unwrap_or(0);
            let most = JOB_BYTES;
            (bytes > most).then(|| Arc::new(Error::TooLarge { bytes, most }))
        };
        if let Some(why) = refusal.or_else(too_large) {
            stage.undo();
            self.answers.push((done, Some(why)));
            return;
        }
        self.bytes = self.bytes.saturating_add_signed(bytes);
        self.has_engine |= class == Class::Engine;
        self.answers.push((done, None));
    }
}
