//! Snapshots: what the state is built from when it is lost. One is a directory with copies of the runs of a state and a list of them; runs
//! that the snapshot before has are taken from there. A store that was restored begins with a backup in the place of one.

use crate::store::backup;
use crate::store::disk::make_dir;
use crate::store::disk::replace;
use crate::store::disk::sync_dir;
use crate::store::error::Error;
use crate::store::sled::SNAPSHOTS;
use crate::store::sled::run::Facts;
use crate::store::sled::run::Run;
use crate::store::sled::state::Runs;
use serde::Deserialize;
use serde::Serialize;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

/// The name of a snapshot before it is whole.
const WRITING: &str = "writing";

/// The list of what a snapshot holds.
const LIST: &str = "list.json";

const RUNS_SUFFIX: &str = ".runs";
const BACKUP_SUFFIX: &str = ".backup";

/// The form that is written; those up to it can be read.
const SCHEMA: u32 = 1;

/// How much is copied at a time.
const COPY_BYTES: usize = 1 << 20;

/// A snapshot and the group it holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Snapshot {
    pub(super) sequence: u64,
    pub(super) path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Backup,
    Runs,
}

/// What a snapshot that was read is made of.
#[derive(Debug)]
pub(super) enum Contents {
    Backup(PathBuf),
    /// Levels and files, the oldest first.
    Runs(Vec<(u32, PathBuf)>),
}

#[derive(Debug, Serialize, Deserialize)]
struct List {
    schema: u32,
    sequence: u64,
    /// The oldest first.
    runs: Vec<Listed>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Listed {
    file: String,
    level: u32,
    n_records: u64,
    size_bytes: u64,
    checksum: u32,
}

impl Listed {
    fn is_of(&self, facts: Facts) -> bool {
        (self.n_records, self.size_bytes, self.checksum)
            == (facts.n_records, facts.file_bytes, facts.checksum)
    }
}

/// The file name of a backup that serves as a snapshot.
pub(crate) fn backup_name(sequence: u64) -> String {
    format!("{sequence:020}{BACKUP_SUFFIX}")
}

/// The snapshots of a store, oldest first.
pub(super) fn all(dir: &Path) -> Result<Vec<Snapshot>, Error> {
    let dir = dir.join(SNAPSHOTS);
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let failed = |source| Error::io(format!("list {}", dir.display()), source);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.unwrap_or_default();
        let kinds = [(BACKUP_SUFFIX, Kind::Backup), (RUNS_SUFFIX, Kind::Runs)];
        for (suffix, kind) in kinds {
            let number = name.strip_suffix(suffix);
            if let Some(sequence) = number.and_then(|number| number.parse().ok()) {
                found.push(Snapshot {
                    sequence,
                    path: path.clone(),
                    kind,
                });
            }
        }
    }
    found.sort();
    Ok(found)
}

impl Snapshot {
    pub(super) fn size_bytes(&self) -> Result<u64, Error> {
        match self.kind {
            Kind::Backup => {
                let found = std::fs::metadata(&self.path);
                found
                    .map(|found| found.len())
                    .map_err(|source| failed("look at", &self.path, source))
            }
            Kind::Runs => Ok(self.list()?.runs.iter().map(|run| run.size_bytes).sum()),
        }
    }

    /// Reads the whole snapshot and checks it; returns what it is made of. `Corrupt`: it is not whole.
    pub(super) fn verify(&self, progress: &mut dyn FnMut(u64)) -> Result<Contents, Error> {
        match self.kind {
            Kind::Backup => {
                let info = backup::verify(&self.path, progress)?;
                self.must_hold(info.sequence)?;
                Ok(Contents::Backup(self.path.clone()))
            }
            Kind::Runs => {
                let list = self.list()?;
                self.must_hold(list.sequence)?;
                let (mut runs, mut n_records) = (Vec::new(), 0);
                for listed in &list.runs {
                    let path = self.path.join(&listed.file);
                    check(&path, listed)?;
                    n_records += listed.n_records;
                    progress(n_records);
                    runs.push((listed.level, path));
                }
                Ok(Contents::Runs(runs))
            }
        }
    }

    fn must_hold(&self, found: u64) -> Result<(), Error> {
        if found == self.sequence {
            return Ok(());
        }
        let why = format!("it holds group {found}, which is not what its name says");
        Err(Error::damaged(&self.path, why))
    }

    fn list(&self) -> Result<List, Error> {
        let path = self.path.join(LIST);
        let text = std::fs::read(&path).map_err(|source| failed("read", &path, source))?;
        let list: List = serde_json::from_slice(&text)
            .map_err(|error| Error::damaged(&path, error.to_string()))?;
        if list.schema > SCHEMA {
            return Err(Error::NewerSchema {
                file: path,
                found: list.schema,
                known: SCHEMA,
            });
        }
        Ok(list)
    }

    fn remove(&self) -> Result<(), Error> {
        let removed = match self.kind {
            Kind::Backup => std::fs::remove_file(&self.path),
            Kind::Runs => std::fs::remove_dir_all(&self.path),
        };
        removed.map_err(|source| failed("remove", &self.path, source))
    }
}

/// Makes the snapshot of a group from the runs of the state, checks it, and removes those before it.
pub(super) fn make(dir: &Path, runs: &Runs, sequence: u64) -> Result<(), Error> {
    let before = all(dir)?;
    if before.last().is_some_and(|last| last.sequence >= sequence) {
        return Ok(());
    }
    let snapshots = dir.join(SNAPSHOTS);
    let writing = snapshots.join(WRITING);
    make_dir(&snapshots)?;
    if writing.exists() {
        std::fs::remove_dir_all(&writing).map_err(|source| failed("remove", &writing, source))?;
    }
    make_dir(&writing)?;
    let made = fill(&writing, runs, sequence, before.last());
    if let Err(error) = made {
        // What is half-made would keep others from the room.
        if let Err(error) = std::fs::remove_dir_all(&writing) {
            tracing::warn!(%error, "{} stays behind", writing.display());
        }
        return Err(error);
    }
    let path = snapshots.join(format!("{sequence:020}{RUNS_SUFFIX}"));
    std::fs::rename(&writing, &path).map_err(|source| failed("rename", &writing, source))?;
    sync_dir(&snapshots)?;
    for older in before {
        older.remove()?;
    }
    sync_dir(&snapshots)
}

fn fill(
    writing: &Path,
    runs: &Runs,
    sequence: u64,
    before: Option<&Snapshot>,
) -> Result<(), Error> {
    let mut list = List {
        schema: SCHEMA,
        sequence,
        runs: Vec::new(),
    };
    for placed in runs.files() {
        let (run, level) = (&placed.run, placed.listed.level);
        let name = run.path().file_name().and_then(|name| name.to_str());
        let facts = run.facts();
        let listed = Listed {
            file: name.unwrap_or_default().to_owned(),
            level,
            n_records: facts.n_records,
            size_bytes: facts.file_bytes,
            checksum: facts.checksum,
        };
        let to = writing.join(&listed.file);
        if !take_from(before, &listed, facts, &to)? {
            copy(run, &to)?;
            check(&to, &listed)?;
        }
        list.runs.push(listed);
    }
    let text = serde_json::to_vec_pretty(&list).expect("a list of numbers and names");
    replace(&writing.join(LIST), &text)?;
    sync_dir(writing)
}

/// Takes a run that the snapshot before has: the same bytes under one more name, for files are never changed.
fn take_from(
    before: Option<&Snapshot>,
    listed: &Listed,
    facts: Facts,
    to: &Path,
) -> Result<bool, Error> {
    let Some(before) = before.filter(|before| before.kind == Kind::Runs) else {
        return Ok(false);
    };
    let is_same = |run: &Listed| run.file == listed.file && run.is_of(facts);
    if !before.list()?.runs.iter().any(is_same) {
        return Ok(false);
    }
    match std::fs::hard_link(before.path.join(&listed.file), to) {
        Ok(()) => Ok(true),
        // A file system without such links, or a file that is gone: copied.
        Err(error) => {
            tracing::debug!(%error, "{} is copied again", listed.file);
            Ok(false)
        }
    }
}

/// A copy that is on disk. The run may have lost its name meanwhile.
fn copy(run: &Run, to: &Path) -> Result<(), Error> {
    let copied = || -> io::Result<()> {
        let file = File::create(to)?;
        let mut buffer = vec![0; COPY_BYTES];
        let mut at = 0;
        loop {
            let n = run.file().read_at(&mut buffer, at)?;
            if n == 0 {
                return file.sync_all();
            }
            file.write_all_at(buffer.get(..n).unwrap_or_default(), at)?;
            at += u64::try_from(n).unwrap_or(u64::MAX);
        }
    };
    copied().map_err(|source| failed("write", to, source))
}

/// Reads a run whole and holds it against the list.
fn check(path: &Path, listed: &Listed) -> Result<(), Error> {
    let run = Run::open(path, &Arc::default())?;
    if !listed.is_of(run.facts()) {
        return Err(Error::damaged(path, "it is not the run that is listed"));
    }
    run.check()
}

fn failed(what: &str, path: &Path, source: io::Error) -> Error {
    Error::io(format!("{what} {}", path.display()), source)
}
