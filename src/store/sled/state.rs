//! The current state: runs that hold the records, and a catalogue in sled that says which runs those are and up to which group they go.
//!
//! sled is asked little: what changes often would cost it a page each, so records lie in sorted runs of our own, and one small batch makes a
//! new run, or one merged of several, take its place. sled panics on damage; here that is an error.

mod catalogue;

use crate::store::disk::free_bytes;
use crate::store::disk::make_dir;
use crate::store::disk::sync_dir;
use crate::store::engine::Each;
use crate::store::engine::FIRST;
use crate::store::engine::LAST;
use crate::store::engine::Order;
use crate::store::engine::Reads;
use crate::store::error::Error;
use crate::store::overlay::Changes;
use crate::store::sled::merge::merge;
use crate::store::sled::run::Again;
use crate::store::sled::run::BlockCache;
use crate::store::sled::run::Hash;
use crate::store::sled::run::Packing;
use crate::store::sled::run::Run;
use crate::store::sled::run::RunWriter;
use catalogue::Catalogue;
pub(super) use catalogue::Listed;
use std::borrow::Cow;
use std::ops::ControlFlow;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

/// Where runs lie in the directory of the state.
const RUNS: &str = "runs";

/// So many runs of one level become one of the next.
const LEVEL_RUNS: usize = 6;

/// With more runs than this nothing is added before some are merged: each read asks all of them.
pub(super) const RUNS_MAX: usize = 40;

/// When the newer runs hold as many bytes as the oldest, all become one, so that what is obsolete takes no more room than what is not.
const NEWER_TO_OLDEST: u64 = 1;

/// When more than one record in so many is a removal, all runs become one, which needs none.
const RECORDS_PER_REMOVAL: u64 = 4;

/// Room that stays for others when a run is written.
const ROOM_LEFT: u64 = 8 << 20;

/// A run and its place in the catalogue.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) listed: Listed,
    pub(super) run: Arc<Run>,
}

/// Runs as they were at one time, the newest first: what is read from them never changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs(Arc<Vec<Placed>>);

/// The state on disk.
#[derive(Debug)]
pub(super) struct State {
    dir: PathBuf,
    catalogue: Catalogue,
    /// What is published; who changes it holds `changing` over the disk, too.
    runs: Mutex<Runs>,
    changing: Mutex<Numbers>,
    cache: Arc<BlockCache>,
}

/// The next names.
#[derive(Debug)]
struct Numbers {
    file: u64,
    age: u64,
}

/// A run that is on disk and in the catalogue, and not published yet.
#[derive(Debug)]
#[must_use]
pub(super) struct Written(Option<Placed>);

impl State {
    /// Opens the state of `dir`, made where there is none. `Corrupt`: it cannot be opened, and will not be.
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, Error> {
        let catalogue = Catalogue::open(dir, cache_bytes)?;
        let runs_dir = dir.join(RUNS);
        make_dir(&runs_dir)?;
        let cache = Arc::default();
        let mut placed = Vec::new();
        for listed in catalogue.runs()? {
            let run = Run::open(&path_of(&runs_dir, listed.file), &cache)?;
            placed.push(Placed {
                listed,
                run: Arc::new(run),
            });
        }
        placed.sort_by_key(|placed| std::cmp::Reverse(placed.listed.age));
        let numbers = remove_unlisted(&runs_dir, &placed)?;
        Ok(Self {
            dir: dir.to_owned(),
            catalogue,
            runs: Mutex::new(Runs(Arc::new(placed))),
            changing: Mutex::new(numbers),
            cache,
        })
    }

    /// The last group applied; 0 where there is none.
    pub(super) fn applied(&self) -> Result<u64, Error> {
        self.catalogue.applied()
    }

    /// The runs as they are published now.
    pub(super) fn runs(&self) -> Runs {
        lock(&self.runs).clone()
    }

    /// Applies the changes of groups up to `last`.
    pub(super) fn apply(&self, changes: &Changes, last: u64) -> Result<(), Error> {
        self.put(changes, Some(last))
    }

    /// Puts changes in without saying of which group they are.
    pub(super) fn load(&self, changes: &Changes) -> Result<(), Error> {
        self.put(changes, None)
    }

    fn put(&self, changes: &Changes, last: Option<u64>) -> Result<(), Error> {
        let written = self.write(changes.len(), last, &mut |add| {
            changes
                .iter()
                .try_for_each(|(key, value)| add(key, value.as_deref()))
        })?;
        self.publish(written);
        Ok(())
    }

    /// Writes a run of what `fill` adds, which comes in order of keys, and enters it in the catalogue. `Full`: nothing was changed.
    pub(super) fn write(
        &self,
        n_records: usize,
        last: Option<u64>,
        fill: &mut dyn FnMut(&mut AddTo<'_>) -> Result<(), Error>,
    ) -> Result<Written, Error> {
        let mut numbers = lock(&self.changing);
        if n_records == 0 {
            if let Some(last) = last {
                self.catalogue.note_applied(last).map_err(unusable)?;
            }
            return Ok(Written(None));
        }
        self.must_have_room(0)?;
        let n_records_max = u64::try_from(n_records).unwrap_or(u64::MAX);
        let (file, run) =
            self.new_run(&mut numbers, Packing::Raw, n_records_max, &mut |writer| {
                fill(&mut |key, value| writer.add(key, value))
            })?;
        let listed = Listed {
            age: numbers.age,
            file,
            level: 0,
        };
        self.catalogue.add(&listed, last).map_err(unusable)?;
        numbers.age += 1;
        Ok(Written(Some(Placed {
            listed,
            run: Arc::new(run),
        })))
    }

    /// From now on reads see the run.
    pub(super) fn publish(&self, written: Written) {
        if let Some(placed) = written.0 {
            let mut runs = lock(&self.runs);
            Arc::make_mut(&mut runs.0).insert(0, placed);
        }
    }

    pub(super) fn n_runs(&self) -> usize {
        lock(&self.runs).0.len()
    }

    /// Whether runs should be merged.
    pub(super) fn is_merge_due(&self) -> bool {
        !self.runs().to_merge().is_empty()
    }

    /// Merges what should be. `go_on` is asked now and then; once it says no, nothing is changed. False: nothing was to be merged.
    pub(super) fn merge(&self, go_on: &dyn Fn() -> bool) -> Result<bool, Error> {
        let runs = self.runs();
        let inputs = runs.to_merge();
        let (Some(newest), Some(oldest)) = (inputs.first(), inputs.last()) else {
            return Ok(false);
        };
        let is_all = runs.0.last().map(|last| last.listed.age) == Some(oldest.listed.age);
        let n_records_max = inputs
            .iter()
            .map(|placed| placed.run.facts().n_records)
            .sum();
        self.must_have_room(
            inputs
                .iter()
                .map(|placed| placed.run.facts().file_bytes)
                .sum(),
        )?;
        let level = inputs.iter().map(|placed| placed.listed.level).max();
        let open: Vec<Arc<Run>> = inputs
            .iter()
            .map(|placed| Arc::clone(&placed.run))
            .collect();
        let file = {
            let mut numbers = lock(&self.changing);
            numbers.file += 1;
            numbers.file - 1
        };
        // Runs may be added meanwhile: only the catalogue is changed under the lock.
        let path = path_of(&self.dir.join(RUNS), file);
        let mut n_seen = 0_u64;
        let merged = self.write_run(&path, Packing::Lz4, n_records_max, &mut |writer| {
            merge(
                &open,
                FIRST,
                LAST,
                Order::Forward,
                Again::Never,
                &mut |key, value| {
                    n_seen += 1;
                    if n_seen.is_multiple_of(1 << 12) && !go_on() {
                        return Err(Error::Closed);
                    }
                    if value.is_some() || !is_all {
                        writer.add(key, value)?;
                    }
                    Ok(ControlFlow::Continue(()))
                },
            )
        })?;
        sync_dir(&self.dir.join(RUNS))?;
        let listed = Listed {
            age: newest.listed.age,
            file,
            level: level.unwrap_or(0) + 1,
        };
        let _changing = lock(&self.changing);
        let ages: Vec<u64> = inputs.iter().map(|placed| placed.listed.age).collect();
        self.catalogue.replace(&ages, &listed).map_err(unusable)?;
        let placed = Placed {
            listed,
            run: Arc::new(merged),
        };
        let mut published = lock(&self.runs);
        let all = Arc::make_mut(&mut published.0);
        let at = all
            .iter()
            .position(|placed| placed.listed.age == newest.listed.age);
        all.retain(|placed| !ages.contains(&placed.listed.age));
        all.insert(at.unwrap_or(0), placed);
        drop(published);
        for input in inputs {
            let path = input.run.path();
            let removed = std::fs::remove_file(path);
            removed.map_err(|source| Error::io(format!("remove {}", path.display()), source))?;
        }
        Ok(true)
    }

    /// Brings to disk what the catalogue says; runs are there before it names them.
    pub(super) fn sync(&self) -> Result<(), Error> {
        self.catalogue.sync()?;
        sync_dir(&self.dir.join(RUNS))
    }

    /// A new state in place of one that is built from the runs of a snapshot.
    pub(super) fn import(&self, runs: &[(u32, PathBuf)], last: u64) -> Result<(), Error> {
        let mut numbers = lock(&self.changing);
        // The oldest comes first.
        for (level, from) in runs {
            let file = numbers.file;
            let path = path_of(&self.dir.join(RUNS), file);
            copy(from, &path)?;
            let run = Run::open(&path, &self.cache)?;
            let listed = Listed {
                age: numbers.age,
                file,
                level: *level,
            };
            self.catalogue.add(&listed, None)?;
            numbers.file += 1;
            numbers.age += 1;
            self.publish(Written(Some(Placed {
                listed,
                run: Arc::new(run),
            })));
        }
        self.catalogue.note_applied(last)
    }

    fn new_run(
        &self,
        numbers: &mut Numbers,
        packing: Packing,
        n_records_max: u64,
        fill: &mut dyn FnMut(&mut RunWriter) -> Result<(), Error>,
    ) -> Result<(u64, Run), Error> {
        let file = numbers.file;
        let runs = self.dir.join(RUNS);
        let run = self.write_run(&path_of(&runs, file), packing, n_records_max, fill)?;
        sync_dir(&runs)?;
        numbers.file += 1;
        Ok((file, run))
    }

    /// Writes a whole run, or leaves nothing behind.
    fn write_run(
        &self,
        path: &Path,
        packing: Packing,
        n_records_max: u64,
        fill: &mut dyn FnMut(&mut RunWriter) -> Result<(), Error>,
    ) -> Result<Run, Error> {
        let mut writer = RunWriter::create(path, packing, n_records_max)?;
        let written = fill(&mut writer).and_then(|()| writer.finish(&self.cache));
        if written.is_err()
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::warn!(%error, "{} stays behind until the next start", path.display());
        }
        written
    }

    fn must_have_room(&self, bytes: u64) -> Result<(), Error> {
        if free_bytes(&self.dir)? < bytes.saturating_add(ROOM_LEFT) {
            return Err(Error::Full);
        }
        Ok(())
    }
}

/// Takes one record of a run that is being written.
pub(super) type AddTo<'a> = dyn FnMut(&[u8], Option<&[u8]>) -> Result<(), Error> + 'a;

impl Runs {
    /// The files of all runs with their levels, the oldest first.
    pub(super) fn files(&self) -> impl Iterator<Item = &Placed> {
        self.0.iter().rev()
    }

    /// Neighbours that should become one, the newest first; none where all is well.
    fn to_merge(&self) -> Vec<Placed> {
        let Some((oldest, newer)) = self.0.split_last() else {
            return Vec::new();
        };
        let facts = |placed: &Placed| placed.run.facts();
        let all = || self.0.iter().map(facts);
        let newer_bytes: u64 = newer.iter().map(|placed| facts(placed).raw_bytes).sum();
        let n_removals: u64 = all().map(|facts| facts.n_removals).sum();
        let n_records: u64 = all().map(|facts| facts.n_records).sum();
        let is_large = newer.len() >= LEVEL_RUNS
            && newer_bytes >= NEWER_TO_OLDEST.saturating_mul(facts(oldest).raw_bytes);
        let is_hollow = self.0.len() >= LEVEL_RUNS
            && n_removals.saturating_mul(RECORDS_PER_REMOVAL) > n_records;
        if is_large || is_hollow {
            return self.0.to_vec();
        }
        let mut from = 0;
        while let Some(first) = self.0.get(from) {
            let level = first.listed.level;
            let of_level = self.0.iter().skip(from);
            let n = of_level
                .take_while(|placed| placed.listed.level == level)
                .count();
            if n >= LEVEL_RUNS {
                return self.0.iter().skip(from).take(n).cloned().collect();
            }
            from += n;
        }
        Vec::new()
    }
}

impl Reads for Runs {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Error> {
        let hash = Hash::of(key);
        for placed in self.0.iter() {
            if let Some(found) = placed.run.get(key, hash)? {
                return Ok(found.map(Cow::Owned));
            }
        }
        Ok(None)
    }

    fn scan(&self, from: &[u8], to: &[u8], order: Order, each: &mut Each<'_>) -> Result<(), Error> {
        let from = from.max(FIRST);
        let to = to.min(LAST);
        if from >= to {
            return Ok(());
        }
        let runs: Vec<Arc<Run>> = self
            .0
            .iter()
            .map(|placed| Arc::clone(&placed.run))
            .collect();
        merge(
            &runs,
            from,
            to,
            order,
            Again::Likely,
            &mut |key, value| match value {
                Some(value) => each(key, value),
                None => Ok(ControlFlow::Continue(())),
            },
        )
    }
}

impl Reads for State {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Error> {
        let runs = self.runs();
        let found = runs.get(key)?;
        Ok(found.map(|value| Cow::Owned(value.into_owned())))
    }

    fn scan(&self, from: &[u8], to: &[u8], order: Order, each: &mut Each<'_>) -> Result<(), Error> {
        self.runs().scan(from, to, order, each)
    }
}

/// A full disk spoils sled for good, which is more than want of room.
fn unusable(error: Error) -> Error {
    match error {
        Error::Full => Error::Poisoned {
            why: "the disk was full when the catalogue of the state was written".to_owned(),
        },
        other => other,
    }
}

fn path_of(runs: &Path, file: u64) -> PathBuf {
    runs.join(format!("{file:016x}.run"))
}

/// A copy that is on disk; its name is once the directory is synced.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    let failed = |source| {
        Error::io(
            format!("copy {} to {}", from.display(), to.display()),
            source,
        )
    };
    std::fs::copy(from, to).map_err(failed)?;
    let copied = std::fs::File::open(to).and_then(|copied| copied.sync_all());
    copied.map_err(failed)
}

/// Removes files that a crash left half-written, or that were merged into another. Returns the next numbers.
fn remove_unlisted(runs: &Path, placed: &[Placed]) -> Result<Numbers, Error> {
    let failed = |source| Error::io(format!("list {}", runs.display()), source);
    let known: Vec<PathBuf> = placed
        .iter()
        .map(|placed| path_of(runs, placed.listed.file))
        .collect();
    for entry in std::fs::read_dir(runs).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if !known.contains(&path) {
            let removed = std::fs::remove_file(&path);
            removed.map_err(|source| Error::io(format!("remove {}", path.display()), source))?;
        }
    }
    let after = |number: fn(&Placed) -> u64| placed.iter().map(number).max().map_or(1, |n| n + 1);
    Ok(Numbers {
        file: after(|placed| placed.listed.file),
        age: after(|placed| placed.listed.age),
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What these hold is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
