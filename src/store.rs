//! The transactions the program needs, by name, over an engine that makes them durable. What a transaction returns
//! has reached the disk.

pub mod backup;
pub mod changes;
pub mod commands;
pub mod copy;
pub mod delivery;
pub mod engine;
pub mod error;
mod gather;
pub mod heartbeats;
pub mod history;
pub mod installation;
pub mod intake;

pub mod journal;
pub mod letters;
pub mod lists;
pub mod memory;
pub mod muting;
pub mod pending;
pub mod postgres;
pub mod quarantine;
pub mod records;
pub mod replay;
pub mod replicas;
pub mod report;
pub mod seen_clock;
pub mod served;
pub mod silences;

pub mod sled;
pub mod storms;
pub mod sweep;
pub mod watch;

pub mod disk;
pub mod group;
mod joining;
mod kept;
mod keys;
mod outbox;
pub mod overlay;
mod queue;
mod read;
mod rows;
mod tx;
pub mod wish;

pub use crate::store::error::Error;
pub use crate::store::read::Reader;
pub use crate::store::tx::Tx;

use crate::domain::alert::Fingerprint;
use crate::domain::incident::Incident;
use crate::domain::oncall::{Book, Overrides};
use crate::domain::rule::RuleSet;
use crate::domain::silence::Silence;
use crate::store::engine::{Class, Engine, Hint, Keep, Key, Stage, Status, job};
use crate::store::kept::Kept;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

/// Incidents kept in memory.
const CACHED_MAX: usize = 20_000;

/// The rules and the book that are live: swapped as one.
#[derive(Clone, Debug, PartialEq)]
pub struct InForce {
    pub rules: Arc<RuleSet>,
    pub book: Arc<Book>,
}

/// Why a transaction did not happen: the store failed, or the answer is no.
#[derive(Debug, thiserror::Error)]
pub enum Failure<R> {
    #[error(transparent)]
    Store(#[from] Arc<Error>),
    #[error("refused")]
    Refused(R),
}

impl<R> From<Error> for Failure<R> {
    fn from(error: Error) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// Says "look now" to whoever does what is due. It may be lost: they look again by themselves.
#[derive(Debug, Default)]
pub struct Wakes {
    pub engine: Notify,
    pub delivery: Notify,
}

/// What came of a transaction that refuses nothing.
pub fn unrefused<T>(result: Result<T, Failure<Infallible>>) -> Result<T, Error> {
    match result {
        Ok(value) => Ok(value),
        Err(Failure::Store(error)) => Err(Error::of_shared(error)),
        Err(Failure::Refused(never)) => match never {},
    }
}

/// The store: an engine, and the incidents that are in memory.
#[derive(Clone, Debug)]
pub struct Store {
    engine: Arc<dyn Engine>,
    cache: Arc<Cache>,
    wakes: Arc<Wakes>,
    /// Reads that wait for a network: no more at once than there are connections.
    reads: Option<Arc<Semaphore>>,
}

/// A read waits for others no longer than this.
const READ_WAITS: Duration = Duration::from_secs(5);

impl Store {
    pub fn new(engine: Arc<dyn Engine>) -> Self {
        let (cache, wakes) = (Arc::<Cache>::default(), Arc::<Wakes>::default());
        let (remembered, sleeping) = (Arc::clone(&cache), Arc::clone(&wakes));
        engine.hear(Arc::new(move |hint| {
            if hint == Hint::WentBack {
                remembered.forget_all();
            }
            sleeping.engine.notify_one();
            sleeping.delivery.notify_one();
        }));
        let reads = engine.reads_at_once().map(|n| Arc::new(Semaphore::new(n)));
        Self {
            engine,
            cache,
            wakes,
            reads,
        }
    }

    /// Runs `work` in the next group and waits, without blocking the runtime, until what it changed is durable.
    pub async fn transact<T, R>(
        &self,
        class: Class,
        work: impl FnOnce(&mut Tx<'_, '_>) -> Result<T, Failure<R>> + Send + 'static,
    ) -> Result<T, Failure<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        self.transact_foreseeing(class, Vec::new(), work).await
    }

    /// The same where it is known which records `work` will ask for.
    pub async fn transact_foreseeing<T, R>(
        &self,
        class: Class,
        foreseen: Vec<Key>,
        work: impl FnOnce(&mut Tx<'_, '_>) -> Result<T, Failure<R>> + Send + 'static,
    ) -> Result<T, Failure<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // Whoever waited may have gone away; the transaction stands all the same.
        self.submit(class, foreseen, work, move |result| {
            drop(sender.send(result));
        })?;
        match receiver.await {
            Ok(result) => result,
            Err(_dropped) => Err(self.gone().into()),
        }
    }

    /// The same for callers that are no async code: the engine, the command line, simulations.
    pub fn transact_blocking<T, R>(
        &self,
        class: Class,
        work: impl FnOnce(&mut Tx<'_, '_>) -> Result<T, Failure<R>> + Send + 'static,
    ) -> Result<T, Failure<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.submit(class, Vec::new(), work, move |result| {
            drop(sender.send(result));
        })?;
        match receiver.recv() {
            Ok(result) => result,
            Err(_dropped) => Err(self.gone().into()),
        }
    }

    /// Reads durable state, on a thread that may wait for it.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Reader<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let Some(reads) = &self.reads else {
            return self.read(look);
        };
        let waiting = Arc::clone(reads).acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(READ_WAITS, waiting).await else {
            return Err(Error::Busy);
        };
        let store = self.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let looked = store.read(look);
            drop(permit);
            looked
        });
        match looked.await {
            Ok(looked) => looked,
            Err(panicked) => Err(Error::Panicked {
                why: panicked.to_string(),
            }),
        }
    }

    /// Reads durable state on the caller's thread, which must be none of an asynchronous runtime.
    pub fn read<T>(&self, read: impl FnOnce(&Reader<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let view = self.engine.view();
        read(&Reader::durable(view.as_ref(), &self.cache))
    }

    /// Whether a read goes over a network.
    pub fn reads_are_far(&self) -> bool {
        self.reads.is_some()
    }

    pub fn wakes(&self) -> &Wakes {
        &self.wakes
    }

    pub fn status(&self) -> Status {
        self.engine.status()
    }

    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    fn submit<T, R>(
        &self,
        class: Class,
        foreseen: Vec<Key>,
        work: impl FnOnce(&mut Tx<'_, '_>) -> Result<T, Failure<R>> + Send + 'static,
        answer: impl FnOnce(Result<T, Failure<R>>) + Send + 'static,
    ) -> Result<(), Error>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        let (cache, wakes) = (Arc::clone(&self.cache), Arc::clone(&self.wakes));
        let committed = Arc::clone(&self.cache);
        let decide = move |stage: &mut Stage<'_>| {
            let mut tx = Tx::new(stage, &cache);
            let worked = work(&mut tx).and_then(|value| {
                let changed = tx.finish()?;
                Ok((value, changed, tx.wakes()))
            });
            let keep = match &worked {
                Ok((_, changed, _)) => {
                    cache.stage(changed);
                    Keep::Yes
                }
                Err(_) => Keep::No,
            };
            (keep, worked)
        };
        let tell = move |durable: Result<Decided<T, R>, Arc<Error>>| {
            answer(match durable {
                Err(error) => {
                    committed.forget_staged();
                    Err(Failure::Store(error))
                }
                Ok(Err(failure)) => Err(failure),
                Ok(Ok((value, changed, (makes_due, writes_pages)))) => {
                    if !changed.is_empty() {
                        committed.keep(changed);
                    }
                    if makes_due {
                        wakes.engine.notify_one();
                    }
                    if writes_pages {
                        wakes.delivery.notify_one();
                    }
                    Ok(value)
                }
            });
        };
        self.engine
            .submit(class, job(decide, tell).foreseeing(foreseen))
    }

    /// Nobody was told: the engine ended.
    fn gone(&self) -> Error {
        match self.engine.status().poisoned {
            Some(why) => Error::Poisoned { why },
            None => Error::Closed,
        }
    }
}

/// What a transaction decided: its value, the incidents it changed and whom it wakes, or why not.
type Decided<T, R> = Result<(T, Changed, (bool, bool)), Failure<R>>;

/// Incidents as a transaction left them.
type Changed = Vec<Arc<Incident>>;

/// Incidents as their events make them. Each is a prefix of its log, so that one that is behind catches up by the events
/// it lacks.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    cached: Mutex<Cached>,
    /// The records of a store that nothing else has: they are not encoded.
    kept: Option<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Cached {
    durable: BTreeMap<u64, Arc<Incident>>,
    /// Those of them that are closed: they go first when there are too many.
    closed: BTreeSet<u64>,
    /// As the jobs of the group that is being gathered left them. One that was not kept is ahead of its head, and so is
    /// never taken, until a job that is kept puts its own in its place.
    staged: BTreeMap<u64, Arc<Incident>>,
    /// The exceptions of all schedules, as of the last number given to one.
    overrides: Option<(u64, Arc<Overrides>)>,
    /// The silences that had not ended, as of how often any was changed.
    silences: Option<(u64, Arc<Vec<Silence>>)>,
    /// Of incidents an alert that was not muted when it was last looked at. Whoever uses it looks again.
    witnesses: BTreeMap<u64, Fingerprint>,
}

impl Cache {
    /// That of a store which keeps records as they are.
    pub(crate) fn keeping() -> Self {
        Self {
            cached: Mutex::default(),
            kept: Some(Mutex::default()),
        }
    }

    pub(crate) fn kept(&self) -> Option<MutexGuard<'_, Kept>> {
        let kept = self.kept.as_ref()?;
        Some(kept.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn keeps(&self) -> bool {
        self.kept.is_some()
    }

    /// The incident as far as `seq` at the most.
    pub(crate) fn get(&self, number: u64, seq: u64) -> Option<Arc<Incident>> {
        let cached = self.lock();
        let within = |incident: &&Arc<Incident>| incident.seq <= seq;
        let staged = cached.staged.get(&number).filter(within);
        staged
            .or_else(|| cached.durable.get(&number).filter(within))
            .map(Arc::clone)
    }

    /// The exceptions of all schedules as of this number. A group that is lost leaves no number behind that another could take
    /// for its own: what it kept is forgotten with it.
    pub(crate) fn overrides(&self, last: u64) -> Option<Arc<Overrides>> {
        let cached = self.lock();
        let known = cached.overrides.as_ref().filter(|(of, _)| *of == last);
        known.map(|(_, overrides)| Arc::clone(overrides))
    }

    pub(crate) fn keep_overrides(&self, last: u64, overrides: &Arc<Overrides>) {
        self.lock().overrides = Some((last, Arc::clone(overrides)));
    }

    /// The same of silences.
    pub(crate) fn silences(&self, changed: u64) -> Option<Arc<Vec<Silence>>> {
        let cached = self.lock();
        let known = cached.silences.as_ref().filter(|(of, _)| *of == changed);
        known.map(|(_, silences)| Arc::clone(silences))
    }

    pub(crate) fn keep_silences(&self, changed: u64, silences: &Arc<Vec<Silence>>) {
        self.lock().silences = Some((changed, Arc::clone(silences)));
    }

    pub(crate) fn witness(&self, number: u64) -> Option<Fingerprint> {
        self.lock().witnesses.get(&number).copied()
    }

    pub(crate) fn keep_witness(&self, number: u64, of: Fingerprint) {
        let mut cached = self.lock();
        cached.witnesses.insert(number, of);
        if cached.witnesses.len() > CACHED_MAX {
            cached.witnesses.pop_first();
        }
    }

    /// What a job left, for the next ones of its group.
    pub(crate) fn stage(&self, changed: &[Arc<Incident>]) {
        let mut cached = self.lock();
        for incident in changed {
            cached
                .staged
                .insert(incident.number(), Arc::clone(incident));
        }
    }

    /// The group is not durable: nothing of it is kept.
    pub(crate) fn forget_staged(&self) {
        let mut cached = self.lock();
        cached.staged.clear();
        cached.overrides = None;
        cached.silences = None;
    }

    /// What was durable may be so no longer.
    pub(crate) fn forget_all(&self) {
        *self.lock() = Cached::default();
    }

    pub(crate) fn keep(&self, changed: Vec<Arc<Incident>>) {
        let mut cached = self.lock();
        for incident in changed {
            let number = incident.number();
            if cached
                .staged
                .get(&number)
                .is_some_and(|staged| staged.seq <= incident.seq)
            {
                cached.staged.remove(&number);
            }
            if cached
                .durable
                .get(&number)
                .is_none_or(|known| known.seq < incident.seq)
            {
                if incident.is_open() {
                    cached.closed.remove(&number);
                } else {
                    cached.closed.insert(number);
                }
                cached.durable.insert(number, incident);
            }
        }
        while cached.durable.len() > CACHED_MAX {
            // The oldest that is closed, else the oldest: it is replayed when it is asked for.
            let closed = cached.closed.pop_first();
            let oldest = closed.or_else(|| cached.durable.keys().next().copied());
            let Some(number) = oldest else {
                break;
            };
            cached.durable.remove(&number);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Cached> {
        // A panic while it was held left whole incidents behind: each insertion is one step.
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
