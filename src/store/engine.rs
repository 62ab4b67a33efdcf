//! What a store engine does: jobs that decide against the state, gathered into groups that are durable before anybody is answered.

use crate::domain::time::{Moment, Timestamp};
use crate::store::error::Error;
use crate::store::overlay::Changes;
use crate::store::overlay::Layered;
use crate::store::overlay::range;
use smallvec::SmallVec;
use std::any::Any;
use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::fmt;
use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

/// Table byte, then big-endian parts, so that ranges are scans. Tables 0 and 255 are not to be used.
///
/// Short ones, as most are, lie in place: a search through a map of them touches little memory.
pub type Key = SmallVec<[u8; 24]>;

/// Where the keys of all tables begin.
pub const FIRST: &[u8] = &[1];

/// Where they end.
pub const LAST: &[u8] = &[u8::MAX];

/// What a scan calls for each record; it ends the scan with `Break`.
pub type Each<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Error> + 'a;

/// Which end of a range comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Forward,
    Reverse,
}

/// Committed state, or committed and staged.
pub trait Reads {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Error>;

    /// The records with `from <= key < to` in order, until `each` says `Break`.
    fn scan(&self, from: &[u8], to: &[u8], order: Order, each: &mut Each<'_>) -> Result<(), Error>;

    /// These records will be asked for: who reads over a network brings them all at once.
    fn foresee(&self, keys: &[Key]) -> Result<(), Error> {
        let _none_are_far_away = keys;
        Ok(())
    }
}

/// The state as a job sees it: committed, and over that what its group changed so far, itself included.
pub struct Stage<'a> {
    committed: &'a dyn Reads,
    group: &'a mut Changes,
    /// What the group held of each key before the job changed it, in the order of its changes.
    before: Vec<(Key, Option<Option<Vec<u8>>>)>,
    /// By how much the job makes the group larger.
    bytes: isize,
}

/// What a key and its change take in a group.
const RECORD_OVERHEAD: usize = 9;

impl<'a> Stage<'a> {
    /// The stage of the next job of a group that has changed `group` so far.
    pub fn new(committed: &'a dyn Reads, group: &'a mut Changes) -> Self {
        Self {
            committed,
            group,
            before: Vec::new(),
            bytes: 0,
        }
    }

    pub fn put(&mut self, key: Key, value: Vec<u8>) {
        self.change(key, Some(value));
    }

    pub fn remove(&mut self, key: Key) {
        self.change(key, None);
    }

    fn change(&mut self, key: Key, value: Option<Vec<u8>>) {
        debug_assert!(key.as_slice() >= FIRST && key.as_slice() < LAST);
        self.bytes += size(&key, value.as_ref());
        let before = match self.group.entry(key.clone()) {
            Entry::Occupied(mut changed) => {
                let before = changed.insert(value);
                self.bytes -= size(&key, before.as_ref());
                Some(before)
            }
            Entry::Vacant(new) => {
                new.insert(value);
                None
            }
        };
        self.before.push((key, before));
    }

    /// The last record of a range that the group has put, the job included; none where the last one is older than the group.
    pub fn last_of_group(&self, from: &[u8], to: &[u8]) -> Option<(&Key, &[u8])> {
        let (key, value) = range(self.group, from, to).next_back()?;
        Some((key, value.as_deref()?))
    }

    /// Whether the job changed nothing.
    pub fn is_unchanged(&self) -> bool {
        self.before.is_empty()
    }

    /// By how many bytes the job makes the group larger; less than nothing where it takes away what others put.
    pub fn bytes(&self) -> isize {
        self.bytes
    }

    /// What the job changed and did not take back; a record for each time it did.
    pub(crate) fn changed(self) -> impl Iterator<Item = Key> + use<> {
        self.before.into_iter().map(|(key, _before)| key)
    }

    /// Takes back what the job changed.
    pub fn undo(&mut self) {
        while let Some((key, before)) = self.before.pop() {
            match before {
                Some(before) => self.group.insert(key, before),
                None => self.group.remove(&key),
            };
        }
        self.bytes = 0;
    }
}

fn size(key: &Key, value: Option<&Vec<u8>>) -> isize {
    let bytes = key.len() + value.map_or(0, Vec::len) + RECORD_OVERHEAD;
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

impl Reads for Stage<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Error> {
        Layered::new(self.committed, self.group).find(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], order: Order, each: &mut Each<'_>) -> Result<(), Error> {
        Layered::new(self.committed, self.group).scan(from, to, order, each)
    }

    fn foresee(&self, keys: &[Key]) -> Result<(), Error> {
        self.committed.foresee(keys)
    }
}

impl fmt::Debug for Stage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage")
            .field("group", &self.group.len())
            .field("own", &self.before.len())
            .finish_non_exhaustive()
    }
}

/// Whether a job's changes stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    Yes,
    /// A refusal: what the job changed is dropped.
    No,
}

/// Called once the group is on disk, or could not be brought there.
pub type Done = Box<dyn FnOnce(Result<(), Arc<Error>>) + Send>;

/// Decides and changes; where there is nothing to decide against, it is told why, and changes nothing.
type Decide = Box<dyn FnOnce(Result<&mut Stage<'_>, Arc<Error>>) -> (Keep, Done) + Send>;

/// What is to be decided; it runs once, alone, on the engine's writer.
pub struct Job {
    /// Records that it will ask for, where that is known before it runs.
    pub foreseen: Vec<Key>,
    decide: Decide,
}

impl Job {
    pub fn run(self, stage: &mut Stage<'_>) -> (Keep, Done) {
        (self.decide)(Ok(stage))
    }

    /// Tells who asked that it was not run.
    pub fn refuse(self, why: Arc<Error>) {
        let (_keep, done) = (self.decide)(Err(why));
        done(Ok(()));
    }

    /// The same, which will ask for these records.
    pub fn foreseeing(mut self, keys: Vec<Key>) -> Self {
        self.foreseen = keys;
        self
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("foreseen", &self.foreseen.len())
            .finish_non_exhaustive()
    }
}

/// A job that decides by `decide` and always answers: with the decision once the group is durable, or with why it is not.
pub fn job<T: Send + 'static>(
    decide: impl FnOnce(&mut Stage<'_>) -> (Keep, T) + Send + 'static,
    answer: impl FnOnce(Result<T, Arc<Error>>) + Send + 'static,
) -> Job {
    let decide: Decide = Box::new(move |stage| {
        let stage = match stage {
            Ok(stage) => stage,
            Err(why) => return (Keep::No, Box::new(move |_group| answer(Err(why)))),
        };
        match catch_unwind(AssertUnwindSafe(|| decide(stage))) {
            Ok((keep, decision)) => {
                let done = move |result: Result<(), Arc<Error>>| answer(result.map(|()| decision));
                (keep, Box::new(done))
            }
            Err(payload) => {
                let why = panic_text(payload.as_ref());
                let error = Arc::new(Error::Panicked { why });
                (Keep::No, Box::new(move |_group| answer(Err(error))))
            }
        }
    });
    Job {
        foreseen: Vec::new(),
        decide,
    }
}

/// What a panic said.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    match payload.downcast_ref::<String>() {
        Some(text) => text.clone(),
        None => "no message".to_owned(),
    }
}

/// Who asks. Each has its own queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Refused when its queue or the disk is full.
    Intake,
    /// What pages people: goes first, and may use the reserve of a full disk.
    Engine,
}

/// What an engine that several processes share tells of the others. It may be late, or lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Another process changed something.
    Changed,
    /// The store went back behind what it had said was durable: what was remembered of it is not to be believed.
    WentBack,
}

/// Who hears of that.
pub type Hear = Arc<dyn Fn(Hint) + Send + Sync>;

/// A store below the domain: keys, values, groups.
pub trait Engine: Send + Sync + fmt::Debug {
    /// Runs the job in the next group; its `Done` is called once that is durable, or failed.
    /// Refused at once, without running it: `Busy`, `Full`, `Poisoned`, `Closed`.
    fn submit(&self, class: Class, job: Job) -> Result<(), Error>;

    /// Reads of durable state on the caller's thread, as of one sequence. Hold it briefly.
    fn view(&self) -> Box<dyn Reads + '_>;

    fn status(&self) -> Status;

    /// Writes a backup of one sequence to `to` while work goes on.
    fn backup(&self, to: &Path, made_at: Timestamp) -> Result<BackupInfo, Error>;

    /// Brings the state to disk, writes a snapshot if one is due, and removes the segments both cover.
    fn checkpoint(&self) -> Result<(), Error>;

    /// Finishes what waits, syncs, and stops the engine's threads.
    fn close(&self) -> Result<(), Error>;

    /// This process among those that work on the same store; none where no other can.
    fn replica(&self) -> Option<u64> {
        None
    }

    /// How many reads may go on at once, where they wait for a network: such are not for the threads of the runtime.
    fn reads_at_once(&self) -> Option<usize> {
        None
    }

    /// Tells of other processes from now on.
    fn hear(&self, hear: Hear) {
        let _there_are_no_others = hear;
    }

    /// What the clock of a shared store showed, and beside it our own time when it did.
    fn clock(&self) -> Option<Moment> {
        None
    }
}

/// How an engine is doing, for the health page and the metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The last durable group.
    pub sequence: u64,
    /// The last group in the state; those after it are in the journal and in memory.
    pub applied: u64,
    /// The last group for which the state is known to be on disk.
    pub checkpointed: u64,
    /// The group of the newest verified snapshot.
    pub snapshot: Option<u64>,
    pub journal_bytes: u64,
    pub n_segments: usize,
    /// What the engine may still write when the disk is full.
    pub reserve_bytes: u64,
    pub n_waiting: usize,
    /// What groups not yet in the state take in memory.
    pub overlay_bytes: usize,
    pub last_sync_ms: u64,
    /// Whether intake was last refused for want of room.
    pub full: bool,
    /// Why nothing is written and read for now: it goes on by itself.
    pub unreachable: Option<String>,
    /// Why nothing is written any more.
    pub poisoned: Option<String>,
    pub last_error: Option<String>,
    /// Why the state was built again when the store was opened.
    pub rebuilt: Option<String>,
    /// What was cut off the end of the journal when the store was opened.
    pub cut: Option<String>,
}

/// A backup that was written or verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupInfo {
    pub path: PathBuf,
    pub sequence: u64,
    pub made_at: Timestamp,
    /// Lines of records; a key that changed while the backup was written comes more than once.
    pub n_records: u64,
    pub size_bytes: u64,
}
