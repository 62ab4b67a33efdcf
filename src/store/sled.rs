//! The embedded engine: a journal that is the record, a state for reads, snapshots that cover what leaves the journal.
//!
//! It has three threads of its own, spawned here and not in `app.rs`: they block on the disk, must outlive every task that waits for them,
//! and end only in `close`. The *writer* owns the journal: it gathers jobs into groups, each one frame and one sync. What groups changed lies in
//! the overlay, which every read consults first, until the *applier* brings it to the state as one run. The *keeper* merges runs and makes
//! checkpoints.

mod apply;
mod keep;
mod merge;
mod recover;
mod run;
mod snapshot;
mod state;
mod verify;
mod write;

use crate::domain::time::Timestamp;
use crate::store::disk::Faults;
use crate::store::disk::replace;
use crate::store::engine::BackupInfo;
use crate::store::engine::Class;
use crate::store::engine::Each;
use crate::store::engine::Engine;
use crate::store::engine::Job;
use crate::store::engine::Order;
use crate::store::engine::Reads;
use crate::store::engine::Status;
use crate::store::engine::panic_text;
use crate::store::error::Error;
use crate::store::journal;
use crate::store::keys;
use crate::store::overlay::Overlay;
use crate::store::queue::Queue;
pub(crate) use snapshot::backup_name;
use state::Runs;
use state::State;
use std::borrow::Cow;
use std::fs::File;
use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::thread::JoinHandle;
pub use verify::Verified;
pub use verify::verify_store;

/// Names in a store's directory.
pub(crate) const SNAPSHOTS: &str = "snapshots";
const JOURNAL: &str = "journal";
const STATE: &str = "state";
const LOCK: &str = "lock";
const CHECKPOINT: &str = "checkpoint";
const BUILDING: &str = "building";
const DAMAGED: &str = "damaged";

/// Records that the writer remembers.
const ROWS_MAX: NonZeroUsize = NonZeroUsize::new(4_096).expect("a number that is not 0");

/// How big things get, and what the engine needs from outside.
#[derive(Clone, Debug)]
pub struct Settings {
    pub journal: journal::Limits,
    /// What sled may hold in memory.
    pub cache_bytes: u64,
    /// What lies in memory before it is brought to the state.
    pub apply_bytes: usize,
    /// What may lie in memory at the most; past it, groups wait.
    pub overlay_bytes: usize,
    /// A checkpoint follows so much journal.
    pub checkpoint_bytes: u64,
    /// A snapshot is due when the journal holds so much, or as much as the last snapshot if that is more.
    pub snapshot_bytes: u64,
    /// Intake is refused when the disk has less room.
    pub floor_bytes: u64,
    /// First bytes of keys whose records the writer remembers.
    pub remembered: &'static [u8],
    /// When a snapshot is made, and how long syncs take.
    pub now: fn() -> Timestamp,
    pub faults: Arc<Faults>,
}

impl Settings {
    pub fn new(now: fn() -> Timestamp) -> Self {
        Self {
            journal: journal::Limits::default(),
            cache_bytes: 1 << 20,
            apply_bytes: 12 << 20,
            overlay_bytes: 48 << 20,
            checkpoint_bytes: 64 << 20,
            snapshot_bytes: 256 << 20,
            floor_bytes: 256 << 20,
            remembered: keys::ASKED_AGAIN,
            now,
            faults: Arc::default(),
        }
    }
}

/// The open store. Dropping it closes it.
#[derive(Debug)]
pub struct SledEngine {
    shared: Arc<Shared>,
    threads: Mutex<Threads>,
}

#[derive(Debug, Default)]
struct Threads {
    writer: Option<JoinHandle<()>>,
    behind: Vec<JoinHandle<()>>,
}

/// What the threads and the callers have in common. Locks are taken in the order of the fields, and none is held over the disk but `maintenance`.
#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    settings: Settings,
    state: State,
    /// One checkpoint or backup at a time: a backup reads segments that a checkpoint would remove.
    maintenance: Mutex<()>,
    queue: Queue,
    recent: Mutex<Recent>,
    moved: Condvar,
    facts: Mutex<Status>,
    /// Held for as long as the store is open.
    _lock: File,
}

/// What is durable, and how far the state is behind.
#[derive(Debug, Default)]
struct Recent {
    overlay: Overlay,
    durable: u64,
    applied: u64,
    /// Layers at the bottom that are being applied.
    n_applying: usize,
    /// Up to which group somebody waits for the state.
    wanted: u64,
    /// Journal written since the last checkpoint.
    unchecked_bytes: u64,
    closing: bool,
    /// Why the state takes no more changes.
    stuck: Option<String>,
    /// The disk has no room for the state, for now.
    full: bool,
}

impl SledEngine {
    /// Opens the store in `dir`, made where there is none: whole, rebuilt from what is whole, or refused with the place of the damage.
    pub fn open(dir: &Path, settings: Settings) -> Result<Self, Error> {
        let opened = recover::open(dir, &settings)?;
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            settings,
            state: opened.state,
            maintenance: Mutex::default(),
            queue: Queue::default(),
            recent: Mutex::new(Recent {
                durable: opened.journal.sequence(),
                applied: opened.journal.sequence(),
                ..Recent::default()
            }),
            moved: Condvar::new(),
            facts: Mutex::new(opened.facts),
            _lock: opened.lock,
        });
        let engine = Self {
            shared: Arc::clone(&shared),
            threads: Mutex::default(),
        };
        let journal = opened.journal;
        let writer = spawn("store-writer", &shared, |shared| shared.write(journal))?;
        lock(&engine.threads).writer = Some(writer);
        let applier = spawn("store-applier", &shared, |shared| shared.apply())?;
        lock(&engine.threads).behind.push(applier);
        let keeper = spawn("store-keeper", &shared, |shared| shared.keep())?;
        lock(&engine.threads).behind.push(keeper);
        Ok(engine)
    }
}

fn spawn(
    name: &str,
    shared: &Arc<Shared>,
    run: impl FnOnce(&Shared) + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    let shared = Arc::clone(shared);
    let spawned = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| run(&shared))) {
                shared.abandon(&panic_text(payload.as_ref()));
            }
        });
    spawned.map_err(|source| Error::io(format!("start thread {name}"), source))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these hold is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine for SledEngine {
    fn submit(&self, class: Class, job: Job) -> Result<(), Error> {
        self.shared.queue.push(class, job)
    }

    fn view(&self) -> Box<dyn Reads + '_> {
        Box::new(self.shared.view())
    }

    fn status(&self) -> Status {
        let recent = lock(&self.shared.recent);
        let (sequence, applied) = (recent.durable, recent.applied);
        let overlay_bytes = recent.overlay.bytes();
        drop(recent);
        let facts = lock(&self.shared.facts).clone();
        // A listing that fails now will fail the next checkpoint, which says so.
        let segments = journal::segments(&self.shared.journal_dir()).unwrap_or_default();
        Status {
            sequence,
            applied,
            journal_bytes: segments.iter().map(|segment| segment.size_bytes).sum(),
            n_segments: segments.len(),
            n_waiting: self.shared.queue.n_waiting(),
            overlay_bytes,
            poisoned: self.shared.queue.poisoned(),
            ..facts
        }
    }

    fn backup(&self, to: &Path, made_at: Timestamp) -> Result<BackupInfo, Error> {
        let _one_at_a_time = lock(&self.shared.maintenance);
        self.shared.backup(to, made_at)
    }

    fn checkpoint(&self) -> Result<(), Error> {
        self.shared.checkpoint()
    }

    fn close(&self) -> Result<(), Error> {
        let mut threads = lock(&self.threads);
        let Some(writer) = threads.writer.take() else {
            return Ok(());
        };
        self.shared.queue.close();
        let mut all_ended = writer.join().is_ok();
        lock(&self.shared.recent).closing = true;
        self.shared.moved.notify_all();
        for thread in std::mem::take(&mut threads.behind) {
            all_ended &= thread.join().is_ok();
        }
        if !all_ended {
            let why = "a thread of the store panicked".to_owned();
            return Err(Error::Poisoned { why });
        }
        if let Some(why) = self.shared.queue.poisoned() {
            return Err(Error::Poisoned { why });
        }
        let _one_at_a_time = lock(&self.shared.maintenance);
        self.shared.sync_state()
    }
}

impl Drop for SledEngine {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the store was not closed cleanly; the journal has all that was acknowledged");
        }
    }
}

impl Shared {
    fn journal_dir(&self) -> PathBuf {
        self.dir.join(JOURNAL)
    }

    /// The durable state as it is now, for as long as the view is held.
    fn view(&self) -> View<'_> {
        // Under one lock: the overlay without what the runs do not have yet would be no state.
        let recent = lock(&self.recent);
        View {
            shared: self,
            overlay: recent.overlay.clone(),
            runs: self.state.runs(),
            at: recent.durable,
        }
    }

    /// From now on everything is refused.
    fn poison(&self, why: &str) {
        self.queue.poison(why);
        lock(&self.facts).last_error = Some(why.to_owned());
    }

    /// A thread of the store panicked: nothing more is written, and who waits is told by dropping what they wait on.
    fn abandon(&self, why: &str) {
        tracing::error!("a thread of the store panicked: {why}");
        self.poison(&format!("a thread of the store panicked: {why}"));
        lock(&self.recent)
            .stuck
            .get_or_insert_with(|| why.to_owned());
        self.moved.notify_all();
        self.queue.drop_all();
    }

    /// The state failed: what it lacks is in the journal, and stays in memory for reads. It has to be opened again to go on.
    fn stuck(&self, error: &Error) {
        tracing::error!(error = %error, "the state takes no more changes until a restart");
        lock(&self.recent).stuck = Some(error.to_string());
        self.moved.notify_all();
        self.poison(&error.to_string());
    }

    /// A read found damage in the state: the next start builds it again, and this process is of no more use.
    fn found_damage(&self, error: &Error) {
        let Error::Corrupt { file, .. } = error else {
            return;
        };
        if !file.starts_with(self.dir.join(STATE)) {
            return;
        }
        tracing::error!(%error, "the state is damaged: it is built again at the next start");
        if let Err(error) = replace(&self.dir.join(DAMAGED), error.to_string().as_bytes()) {
            tracing::error!(%error, "the next start may not see that the state is damaged");
        }
        self.poison(&error.to_string());
    }
}

/// Durable state as of one group.
#[derive(Debug)]
struct View<'a> {
    shared: &'a Shared,
    overlay: Overlay,
    runs: Runs,
    at: u64,
}

impl Reads for View<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Error> {
        let got = self.overlay.over(&self.runs).find(key);
        got.inspect_err(|error| self.shared.found_damage(error))
    }

    fn scan(&self, from: &[u8], to: &[u8], order: Order, each: &mut Each<'_>) -> Result<(), Error> {
        let scanned = self.overlay.over(&self.runs).scan(from, to, order, each);
        scanned.inspect_err(|error| self.shared.found_damage(error))
    }
}
