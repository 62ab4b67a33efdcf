//! Opening the store: the state as it is brought up to the journal, or built again from a snapshot and the journal.

use crate::store::backup;
use crate::store::disk::is_absent;
use crate::store::disk::make_dir;
use crate::store::disk::replace;
use crate::store::disk::sync_dir;
use crate::store::engine::Status;
use crate::store::error::Error;
use crate::store::group;
use crate::store::journal;
use crate::store::journal::EachFrame;
use crate::store::journal::Journal;
use crate::store::overlay::Changes;
use crate::store::overlay::size_of;
use crate::store::sled::BUILDING;
use crate::store::sled::CHECKPOINT;
use crate::store::sled::DAMAGED;
use crate::store::sled::JOURNAL;
use crate::store::sled::LOCK;
use crate::store::sled::STATE;
use crate::store::sled::Settings;
use crate::store::sled::snapshot;
use crate::store::sled::snapshot::Contents;
use crate::store::sled::state::RUNS_MAX;
use crate::store::sled::state::State;
use std::fs::File;
use std::fs::TryLockError;
use std::io::ErrorKind;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

/// What is gathered from the journal or a snapshot before it goes into sled.
const LOAD_BYTES: usize = 16 << 20;

/// The parts of an open store.
pub(super) struct Opened {
    pub(super) lock: File,
    pub(super) journal: Journal,
    pub(super) state: State,
    pub(super) facts: Status,
}

/// The state, or why it has to be built again.
type Usable = Result<State, String>;

pub(super) fn open(dir: &Path, settings: &Settings) -> Result<Opened, Error> {
    make_dir(dir)?;
    let lock = lock_dir(dir)?;
    let opened = match open_parts(dir, settings) {
        Err(Error::Full) => {
            // A daemon that cannot start cannot page: the reserve is for that.
            tracing::error!(
                "the disk of the store is full: it is opened with what the reserve held"
            );
            journal::give_up_reserve(&dir.join(JOURNAL))?;
            open_parts(dir, settings)
        }
        opened => opened,
    };
    let (journal, state, facts) = opened?;
    Ok(Opened {
        lock,
        journal,
        state,
        facts,
    })
}

fn open_parts(dir: &Path, settings: &Settings) -> Result<(Journal, State, Status), Error> {
    let newest = snapshot::all(dir)?.last().map(|newest| newest.sequence);
    let mut facts = Status {
        snapshot: newest,
        checkpointed: checkpointed(dir)?,
        ..Status::default()
    };
    let (journal, usable) = match usable_state(dir, settings, &facts)? {
        Ok(state) => follow(dir, settings, state, &mut facts)?,
        Err(why) => {
            let journal = open_journal(dir, settings, 0, &mut facts, &mut |_, _| Ok(()))?;
            (journal, Err(why))
        }
    };
    let state = match usable {
        Ok(state) => state,
        Err(why) => rebuild(dir, settings, &why, &journal, &mut facts)?,
    };
    Ok((journal, state, facts))
}

pub(super) fn lock_dir(dir: &Path) -> Result<File, Error> {
    let path = dir.join(LOCK);
    let failed = |source| Error::io(format!("lock {}", path.display()), source);
    let mut options = File::options();
    let file = options.create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked {
            path: dir.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// The group up to which the state was on disk; 0 where nothing says so.
pub(super) fn checkpointed(dir: &Path) -> Result<u64, Error> {
    let path = dir.join(CHECKPOINT);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(source) => return Err(Error::io(format!("read {}", path.display()), source)),
    };
    match text.trim().parse() {
        Ok(sequence) => Ok(sequence),
        // The first group is then the one to begin with, which is never wrong.
        Err(_not_a_number) => Ok(0),
    }
}

/// Opens the state there is, if the journal can go on from it.
pub(super) fn usable_state(
    dir: &Path,
    settings: &Settings,
    facts: &Status,
) -> Result<Usable, Error> {
    let path = dir.join(STATE);
    if dir.join(BUILDING).exists() {
        return Ok(Err("it was being built when the program stopped".to_owned()));
    }
    if let Ok(why) = std::fs::read_to_string(dir.join(DAMAGED)) {
        return Ok(Err(why));
    }
    let journal_dir = dir.join(JOURNAL);
    let segments = journal::segments(&journal_dir)?;
    let is_new = segments.is_empty() && facts.snapshot.is_none();
    if !path.exists() && !is_new {
        return Ok(Err("it was missing".to_owned()));
    }
    let opened = State::open(&path, settings.cache_bytes);
    let opened = opened.and_then(|state| state.applied().map(|applied| (state, applied)));
    let (state, applied) = match opened {
        Ok(opened) => opened,
        Err(Error::Corrupt { why, .. }) => return Ok(Err(why)),
        Err(error) => return Err(error),
    };
    let checkpointed = facts.checkpointed;
    if applied < checkpointed {
        let why = format!("it holds group {applied}, though {checkpointed} was on disk");
        return Ok(Err(why));
    }
    match segments.first() {
        Some(segment) if segment.first > checkpointed.saturating_add(1) => {
            let first = segment.first;
            let why = format!("the journal begins with group {first}, {checkpointed} was on disk");
            Ok(Err(why))
        }
        None if applied > facts.snapshot.unwrap_or(0) => {
            let why = format!("it has no segments, though the state holds group {applied}");
            Err(Error::damaged(journal_dir, why))
        }
        Some(_) | None => Ok(Ok(state)),
    }
}

/// Opens the journal and brings the state up to its end. Begins at the last checkpoint, not at what the state says it holds:
/// after a power cut a page of a later group may be missing.
fn follow(
    dir: &Path,
    settings: &Settings,
    state: State,
    facts: &mut Status,
) -> Result<(Journal, Usable), Error> {
    let checkpointed = facts.checkpointed;
    let applied = state.applied()?;
    let mut loader = Loader::new(&state);
    let mut failed = None;
    let journal_dir = dir.join(JOURNAL);
    let journal = open_journal(dir, settings, applied, facts, &mut |sequence, payload| {
        if sequence <= checkpointed || failed.is_some() {
            return Ok(());
        }
        let changes = decode(&journal_dir, sequence, payload)?;
        match loader.group(sequence, changes) {
            Err(Error::Corrupt { why, .. }) => failed = Some(why),
            other => other?,
        }
        Ok(())
    })?;
    let finished = loader.finish();
    let why = match (failed, finished) {
        (Some(why), _) | (None, Err(Error::Corrupt { why, .. })) => why,
        (None, Err(error)) => return Err(error),
        (None, Ok(())) if journal.sequence() < applied => {
            let end = journal.sequence();
            format!("it holds group {applied}, though the journal ends with {end}")
        }
        (None, Ok(())) => return Ok((journal, Ok(state))),
    };
    Ok((journal, Err(why)))
}

/// Opens the journal; `each` gets the payload of every group in it, and decodes what it needs: most of a long journal is in the
/// state already. Notes in `facts` what was cut off its end.
fn open_journal(
    dir: &Path,
    settings: &Settings,
    applied: u64,
    facts: &mut Status,
    each: &mut EachFrame<'_>,
) -> Result<Journal, Error> {
    let journal_dir = dir.join(JOURNAL);
    let after = applied.max(facts.snapshot.unwrap_or(0));
    let (journal, cut) = Journal::open(
        &journal_dir,
        after,
        settings.journal.clone(),
        Arc::clone(&settings.faults),
        each,
    )?;
    facts.cut = cut.map(|cut| cut.to_string());
    if let Some(cut) = &facts.cut {
        tracing::warn!("{cut}; nobody was told that it was kept");
    }
    Ok(journal)
}

fn decode(journal_dir: &Path, sequence: u64, payload: &[u8]) -> Result<Changes, Error> {
    group::decode(payload).map_err(|why| {
        let why = format!("group {sequence} cannot be read: {why}");
        Error::damaged(journal_dir, why)
    })
}

/// Puts the state there is aside and builds another from the newest whole snapshot and the journal.
fn rebuild(
    dir: &Path,
    settings: &Settings,
    why: &str,
    journal: &Journal,
    facts: &mut Status,
) -> Result<State, Error> {
    tracing::warn!("the state is being built again: {why}");
    let path = dir.join(STATE);
    let aside = put_aside(dir)?;
    replace(&dir.join(BUILDING), why.as_bytes())?;
    let state = State::open(&path, settings.cache_bytes)?;
    let end = journal.sequence();
    facts.snapshot = build(dir, &state, end, &mut |_n| {})?;
    state.sync()?;
    write_checkpoint(dir, end)?;
    facts.checkpointed = end;
    for marker in [DAMAGED, BUILDING].map(|name| dir.join(name)) {
        match std::fs::remove_file(&marker) {
            Err(source) if !is_absent(&source) => {
                return Err(Error::io(format!("remove {}", marker.display()), source));
            }
            _gone => {}
        }
    }
    sync_dir(dir)?;
    let mut told = format!("the state was built again up to group {end}: {why}");
    if let Some(aside) = aside {
        told.push_str(&format!("; what was there is in {}", aside.display()));
    }
    tracing::warn!("{told}");
    facts.rebuilt = Some(told);
    Ok(state)
}

/// Moves the state away, or removes it where it is one half-built. Returns where it is now.
fn put_aside(dir: &Path) -> Result<Option<PathBuf>, Error> {
    let path = dir.join(STATE);
    if !path.exists() {
        return Ok(None);
    }
    if dir.join(BUILDING).exists() {
        let removed = std::fs::remove_dir_all(&path);
        removed.map_err(|source| Error::io(format!("remove {}", path.display()), source))?;
        return Ok(None);
    }
    let free = (1_u64..)
        .map(|n| dir.join(format!("{STATE}.damaged-{n}")))
        .find(|path| !path.exists());
    let aside = free.expect("there are more numbers than directories");
    let renamed = std::fs::rename(&path, &aside);
    renamed.map_err(|source| Error::io(format!("move {} aside", path.display()), source))?;
    sync_dir(dir)?;
    Ok(Some(aside))
}

/// Builds the state of group `end` into an empty one. Returns the snapshot it began with.
pub(super) fn build(
    dir: &Path,
    state: &State,
    end: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Option<u64>, Error> {
    let journal_dir = dir.join(JOURNAL);
    let snapshot = whole_snapshot(dir, progress)?;
    let mut loader = Loader::new(state);
    let mut base = 0;
    if let Some((sequence, contents)) = &snapshot {
        base = *sequence;
        match contents {
            Contents::Backup(path) => {
                backup::read(path, progress, &mut |key, value| loader.record(key, value))?;
                loader.reached(base);
            }
            Contents::Runs(runs) => state.import(runs, base)?,
        }
    }
    if base > end {
        let why = format!("it ends with group {end}, though a snapshot holds group {base}");
        return Err(Error::damaged(journal_dir, why));
    }
    if base < end {
        journal::replay(&journal_dir, base + 1, end, &mut |sequence, payload| {
            loader.group(sequence, decode(&journal_dir, sequence, payload)?)
        })?;
    }
    loader.finish()?;
    Ok(snapshot.map(|(sequence, _contents)| sequence))
}

/// The newest snapshot that is whole. One that is not is passed over, and said.
fn whole_snapshot(
    dir: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Option<(u64, Contents)>, Error> {
    for snapshot in snapshot::all(dir)?.into_iter().rev() {
        match snapshot.verify(progress) {
            Ok(contents) => return Ok(Some((snapshot.sequence, contents))),
            Err(error @ Error::Corrupt { .. }) => tracing::error!("{error}"),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Records that the state is on disk up to a group.
pub(super) fn write_checkpoint(dir: &Path, sequence: u64) -> Result<(), Error> {
    replace(&dir.join(CHECKPOINT), format!("{sequence}\n").as_bytes())
}

/// Puts changes into the state in pieces of bounded size.
pub(super) struct Loader<'a> {
    state: &'a State,
    pending: Changes,
    pending_bytes: usize,
    reached: Option<u64>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(state: &'a State) -> Self {
        Self {
            state,
            pending: Changes::new(),
            pending_bytes: 0,
            reached: None,
        }
    }

    pub(super) fn group(&mut self, sequence: u64, changes: Changes) -> Result<(), Error> {
        self.pending_bytes += size_of(&changes);
        self.pending.extend(changes);
        self.reached = Some(sequence);
        self.flush_when_full()
    }

    fn record(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        self.pending_bytes += key.len() + value.map_or(0, <[u8]>::len);
        self.pending.insert(key.into(), value.map(<[u8]>::to_vec));
        self.flush_when_full()
    }

    fn reached(&mut self, sequence: u64) {
        self.reached = Some(sequence);
    }

    fn flush_when_full(&mut self) -> Result<(), Error> {
        if self.pending_bytes < LOAD_BYTES {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.pending_bytes = 0;
        let changes = std::mem::take(&mut self.pending);
        match self.reached {
            Some(last) => self.state.apply(&changes, last)?,
            None => self.state.load(&changes)?,
        }
        // No keeper runs yet.
        while self.state.n_runs() >= RUNS_MAX && self.state.merge(&|| true)? {}
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<(), Error> {
        if self.pending.is_empty() && self.reached.is_none() {
            return Ok(());
        }
        self.flush()
    }
}
