//! The engine of tests and simulations: a map, jobs run at once on the caller's thread, and commits that fail when asked to.

use crate::domain::time::Timestamp;
use crate::store::backup;
use crate::store::engine::BackupInfo;
use crate::store::engine::Class;
use crate::store::engine::Done;
use crate::store::engine::Each;
use crate::store::engine::Engine;
use crate::store::engine::Job;
use crate::store::engine::Keep;
use crate::store::engine::Key;
use crate::store::engine::Order;
use crate::store::engine::Reads;
use crate::store::engine::Stage;
use crate::store::engine::Status;
use crate::store::error::Error;
use crate::store::overlay::Changes;
use crate::store::overlay::range;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// A store in memory. Every job is a group of its own. A job must not submit another; a `Done` may.
#[derive(Debug, Default)]
pub struct MemoryEngine {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    // Views hold the map they began with.
    map: Arc<Records>,
    sequence: u64,
    /// Commits left until one fails; `None`: none will.
    fails_in: Option<u64>,
    fails: Fails,
    stopped: Option<Error>,
}

/// Whom to tell what.
type Answer = (Done, Result<(), Arc<Error>>);

/// What failing means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fails {
    #[default]
    Once,
    AndStops,
    KeptButStops,
}

impl MemoryEngine {
    pub fn new() -> Self {
        Self::default()
    }

    /// The k-th commit from now (1 is the next) is not kept, and its `Done` hears of it. Later ones work.
    pub fn fail_at(&self, k: u64) {
        self.plan(k, Fails::Once);
    }

    /// As a crash before the k-th commit from now is durable: it is not kept, and every later job is refused.
    pub fn stop_at(&self, k: u64) {
        self.plan(k, Fails::AndStops);
    }

    /// As a crash after the k-th commit from now is durable and before anybody was told: it is kept, its `Done` gets an error, later jobs are refused.
    pub fn stop_after(&self, k: u64) {
        self.plan(k, Fails::KeptButStops);
    }

    /// The engine a restart finds: what was kept, and no faults.
    pub fn reopen(&self) -> Self {
        let inner = self.lock();
        let reopened = Inner {
            map: Arc::clone(&inner.map),
            sequence: inner.sequence,
            ..Inner::default()
        };
        Self {
            inner: Mutex::new(reopened),
        }
    }

    fn plan(&self, k: u64, fails: Fails) {
        let mut inner = self.lock();
        inner.fails_in = Some(k);
        inner.fails = fails;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for MemoryEngine {
    fn submit(&self, _class: Class, job: Job) -> Result<(), Error> {
        let (done, result) = self.lock().run(job)?;
        // The lock is given back, so that `Done` may submit the next job.
        done(result);
        Ok(())
    }

    fn view(&self) -> Box<dyn Reads + '_> {
        Box::new(Map(Arc::clone(&self.lock().map)))
    }

    fn status(&self) -> Status {
        let inner = self.lock();
        Status {
            sequence: inner.sequence,
            applied: inner.sequence,
            checkpointed: inner.sequence,
            poisoned: inner.stopped.as_ref().map(ToString::to_string),
            ..Status::default()
        }
    }

    fn backup(&self, to: &Path, made_at: Timestamp) -> Result<BackupInfo, Error> {
        let (map, sequence) = {
            let inner = self.lock();
            (Map(Arc::clone(&inner.map)), inner.sequence)
        };
        let mut writer = backup::Writer::create(to, sequence, made_at)?;
        backup::write_all(&mut writer, &map)?;
        writer.finish(sequence)
    }

    fn checkpoint(&self) -> Result<(), Error> {
        Ok(())
    }

    fn close(&self) -> Result<(), Error> {
        self.lock().stopped.get_or_insert(Error::Closed);
        Ok(())
    }
}

impl Inner {
    /// Runs one job; what to tell whom.
    fn run(&mut self, job: Job) -> Result<Answer, Error> {
        match &self.stopped {
            Some(Error::Closed) => return Err(Error::Closed),
            Some(other) => {
                let why = other.to_string();
                return Err(Error::Poisoned { why });
            }
            None => {}
        }
        let committed = Map(Arc::clone(&self.map));
        let mut changes = Changes::new();
        let mut stage = Stage::new(&committed, &mut changes);
        let (keep, done) = job.run(&mut stage);
        drop(committed);
        if keep == Keep::No || changes.is_empty() {
            return Ok((done, Ok(())));
        }
        Ok((done, self.commit(changes)))
    }

    fn commit(&mut self, changes: Changes) -> Result<(), Arc<Error>> {
        let fails_now = match self.fails_in.as_mut() {
            Some(left) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            None => false,
        };
        if !fails_now {
            self.keep(changes);
            return Ok(());
        }
        self.fails_in = None;
        let failed = || Error::Io {
            what: "write the group: a fault was asked for".to_owned(),
            source: std::io::Error::other("a fault was asked for"),
        };
        match self.fails {
            Fails::Once => {}
            Fails::AndStops => self.stopped = Some(failed()),
            Fails::KeptButStops => {
                self.keep(changes);
                self.stopped = Some(failed());
            }
        }
        Err(Arc::new(failed()))
    }

    fn keep(&mut self, changes: Changes) {
        let map = Arc::make_mut(&mut self.map);
        for (key, value) in changes {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        self.sequence += 1;
    }
}

/// Records in memory.
pub(crate) type Records = BTreeMap<Key, Vec<u8>>;

/// The same, read.
#[derive(Debug)]
pub(crate) struct Map(pub(crate) Arc<Records>);

impl Reads for Map {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Error> {
        Ok(self.0.get(key).map(|value| Cow::Borrowed(value.as_slice())))
    }

    fn scan(&self, from: &[u8], to: &[u8], order: Order, each: &mut Each<'_>) -> Result<(), Error> {
        let records = range(&self.0, from, to);
        match order {
            Order::Forward => walk(records, each),
            Order::Reverse => walk(records.rev(), each),
        }
    }
}

fn walk<'a>(
    records: impl Iterator<Item = (&'a Key, &'a Vec<u8>)>,
    each: &mut Each<'_>,
) -> Result<(), Error> {
    for (key, value) in records {
        if let ControlFlow::Break(()) = each(key, value)? {
            break;
        }
    }
    Ok(())
}
