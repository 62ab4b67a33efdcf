//! The engine of several equal replicas: state in `PostgreSQL`, groups of all replicas in one order, each a transaction.
//!
//! There is no leader. Each replica gathers jobs into groups as the embedded engine does, takes the turn (a row that it locks), decides,
//! writes, and passes it on with its commit; the sequence of groups is that in which they are committed. Nothing rests on what one
//! database product has: row locks, upserts, plain ranges of keys. `LISTEN` and `NOTIFY` are hints.
//!
//! It has threads of its own, spawned here as those of the embedded engine are: the *writer* with its session, and one that drives
//! the sessions of reads and hints.

mod ahead;
mod connect;
mod doubt;
mod error;
mod listen;
mod load;
mod migrate;
mod read;
mod recent;
mod send;
mod tables;
mod turn;
mod write;

pub use connect::{Address, BadAddress};
pub use load::Loader;

use crate::domain::time::{Moment, Timestamp};
use crate::store::backup;
use crate::store::engine::{BackupInfo, Class, Engine, Hear, Hint, Job, Reads, Status, panic_text};
use crate::store::error::Error;
use crate::store::queue::Queue;
use connect::{Connector, TURN_STANDS_STILL};
use deadpool_postgres::{Connect, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime as Kind};
use read::View;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use write::Writer;

/// A read waits for a free connection no longer.
const WAITS_FOR_CONNECTION: Duration = Duration::from_secs(5);

/// Where the database is, and how long things may take.
#[derive(Clone, Debug)]
pub struct Settings {
    pub address: Address,
    /// Connections for reads; the writer and the listener have one each beside them.
    pub connections: usize,
    /// For each host.
    pub connect_timeout: Duration,
    /// For each statement, and for the turn.
    pub statement_timeout: Duration,
    /// Our own clocks.
    pub moment: fn() -> Moment,
}

impl Settings {
    pub fn new(address: Address, moment: fn() -> Moment) -> Self {
        Self {
            address,
            connections: 8,
            connect_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            moment,
        }
    }
}

/// The open store. Dropping it closes it.
pub struct PostgresEngine {
    shared: Arc<Shared>,
    pool: Pool,
    /// Drives the sessions of reads and hints.
    io: Option<Runtime>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for PostgresEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresEngine")
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

/// What the threads and the callers have in common.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    connector: Arc<Connector>,
    /// This process among those that work on the store, by chance.
    replica: i64,
    queue: Queue,
    facts: Mutex<Status>,
    clock: Mutex<Option<Moment>>,
    ears: OnceLock<Ears>,
    ending: CancellationToken,
}

/// Who hears of what others do.
struct Ears(Hear);

impl std::fmt::Debug for Ears {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ears")
    }
}

impl PostgresEngine {
    /// Whether there is a store at this address.
    pub fn exists(settings: &Settings) -> Result<bool, Error> {
        let on = runtime(&mut tokio::runtime::Builder::new_current_thread())?;
        let connector = Connector::new(
            &settings.address,
            settings.connect_timeout,
            settings.statement_timeout,
        )?;
        on.block_on(async {
            let client = connector.connect(drop).await?;
            Ok(migrate::version(&client).await?.is_some())
        })
    }

    /// Connects, and makes the tables where there are none. Not to be called on a thread of an asynchronous runtime.
    pub fn open(settings: Settings) -> Result<Self, Error> {
        let connector = Arc::new(Connector::new(
            &settings.address,
            settings.connect_timeout,
            settings.statement_timeout,
        )?);
        let io = runtime(tokio::runtime::Builder::new_multi_thread().worker_threads(1))?;
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        let shared = Arc::new(Shared {
            connector: Arc::clone(&connector),
            replica: i64::from_be_bytes((high ^ low).to_be_bytes()),
            queue: Queue::default(),
            facts: Mutex::default(),
            clock: Mutex::default(),
            ears: OnceLock::new(),
            ending: CancellationToken::new(),
            settings,
        });
        let asked = io.block_on(async {
            let client = shared.connector.connect(drop).await?;
            migrate::migrate(&client).await?;
            if connect::forgets(&client).await {
                tracing::error!(
                    "the database runs with fsync = off: what it acknowledges does not survive a power cut"
                );
            }
            Ok::<bool, Error>(listen::ask_time(&shared, &client).await)
        })?;
        if !asked {
            return Err(read::no_answer());
        }
        let pool = pool(connector, shared.settings.connections)?;
        let writer = {
            // Driven by the thread that waits for it, so that no other has to be woken.
            let on = runtime(&mut tokio::runtime::Builder::new_current_thread())?;
            let writer = Writer::new(Arc::clone(&shared), on);
            spawn("store-writer", &shared, move || writer.run())?
        };
        io.spawn(listen::listen(Arc::clone(&shared)));
        let engine = Self {
            shared,
            pool,
            io: Some(io),
            writer: Mutex::new(Some(writer)),
        };
        let sequence = engine.read().sequence()?;
        engine.shared.note(|facts| facts.sequence = sequence);
        Ok(engine)
    }

    fn read(&self) -> View<'_> {
        View::new(self.io(), &self.pool, self.shared.within())
    }

    fn io(&self) -> &Runtime {
        self.io.as_ref().expect("it is taken when this is dropped")
    }
}

fn runtime(builder: &mut tokio::runtime::Builder) -> Result<Runtime, Error> {
    builder
        .enable_all()
        .thread_name("store-io")
        .build()
        .map_err(|source| Error::io("start the store's runtime", source))
}

fn spawn(
    name: &str,
    shared: &Arc<Shared>,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, Error> {
    let shared = Arc::clone(shared);
    let spawned = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
                let why = panic_text(payload.as_ref());
                tracing::error!("a thread of the store panicked: {why}");
                shared
                    .queue
                    .poison(&format!("a thread of the store panicked: {why}"));
                shared.queue.drop_all();
            }
        });
    spawned.map_err(|source| Error::io(format!("start thread {name}"), source))
}

fn pool(connector: Arc<Connector>, connections: usize) -> Result<Pool, Error> {
    let within = connector.within();
    let config = ManagerConfig {
        // Whether it works is seen when its transaction begins.
        recycling_method: RecyclingMethod::Fast,
    };
    // The connector has a configuration of its own.
    let manager = Manager::from_connect(tokio_postgres::Config::new(), Pooled(connector), config);
    let built = Pool::builder(manager)
        // One more than requests may have: the engine's own reads find one.
        .max_size(connections + 1)
        .wait_timeout(Some(WAITS_FOR_CONNECTION))
        .create_timeout(Some(within))
        .runtime(Kind::Tokio1)
        .build();
    built.map_err(|found| Error::Database {
        what: "make the pool of connections".to_owned(),
        why: found.to_string(),
    })
}

/// Makes the connections of the pool.
struct Pooled(Arc<Connector>);

type Connected =
    Result<(tokio_postgres::Client, tokio::task::JoinHandle<()>), tokio_postgres::Error>;

impl Connect for Pooled {
    fn connect(
        &self,
        _config: &tokio_postgres::Config,
    ) -> Pin<Box<dyn Future<Output = Connected> + Send + '_>> {
        Box::pin(self.0.begin(drop))
    }
}

impl Engine for PostgresEngine {
    fn submit(&self, class: Class, job: Job) -> Result<(), Error> {
        self.shared.queue.push(class, job)
    }

    fn view(&self) -> Box<dyn Reads + '_> {
        Box::new(self.read())
    }

    fn status(&self) -> Status {
        let facts = lock(&self.shared.facts).clone();
        Status {
            applied: facts.sequence,
            checkpointed: facts.sequence,
            n_waiting: self.shared.queue.n_waiting(),
            poisoned: self.shared.queue.poisoned(),
            ..facts
        }
    }

    fn backup(&self, to: &Path, made_at: Timestamp) -> Result<BackupInfo, Error> {
        let view = self.read();
        let sequence = view.sequence()?;
        let mut writer = backup::Writer::create(to, sequence, made_at)?;
        if let Err(error) = backup::write_all(&mut writer, &view) {
            writer.abandon();
            return Err(error);
        }
        writer.finish(sequence)
    }

    fn checkpoint(&self) -> Result<(), Error> {
        Ok(())
    }

    fn close(&self) -> Result<(), Error> {
        let Some(writer) = lock(&self.writer).take() else {
            return Ok(());
        };
        self.shared.queue.close();
        let ended = writer.join();
        self.shared.ending.cancel();
        match (ended, self.shared.queue.poisoned()) {
            (Ok(()), None) => Ok(()),
            (_, why) => Err(Error::Poisoned {
                why: why.unwrap_or_else(|| "a thread of the store panicked".to_owned()),
            }),
        }
    }

    fn replica(&self) -> Option<u64> {
        Some(u64::from_be_bytes(self.shared.replica.to_be_bytes()))
    }

    fn reads_at_once(&self) -> Option<usize> {
        Some(self.shared.settings.connections)
    }

    fn hear(&self, hear: Hear) {
        // Whoever came first is told.
        drop(self.shared.ears.set(Ears(hear)));
    }

    fn clock(&self) -> Option<Moment> {
        *lock(&self.shared.clock)
    }
}

impl Drop for PostgresEngine {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the store was not closed cleanly; the database has all that was acknowledged");
        }
        if let Some(io) = self.io.take() {
            // It may be dropped on a thread of another runtime, which must not wait.
            io.shutdown_background();
        }
    }
}

impl Shared {
    /// How long an answer is waited for: the server ends a statement before.
    fn within(&self) -> Duration {
        self.settings.statement_timeout + TURN_STANDS_STILL
    }

    fn tell(&self, hint: Hint) {
        if let Some(Ears(hear)) = self.ears.get() {
            hear(hint);
        }
    }

    fn note(&self, note: impl FnOnce(&mut Status)) {
        note(&mut lock(&self.facts));
    }

    fn set_clock(&self, shown: Moment) {
        *lock(&self.clock) = Some(shown);
    }

    /// Says when the database is back.
    fn reached(&self) {
        let was = std::mem::take(&mut lock(&self.facts).unreachable);
        if was.is_some() {
            tracing::warn!("the database is reached again");
        }
    }

    /// Says once why nothing can be kept.
    fn failed(&self, why: &Error) {
        let text = why.to_string();
        let mut facts = lock(&self.facts);
        facts.last_error = Some(text.clone());
        facts.full |= matches!(why, Error::Full);
        let is_away = why.is_away();
        let is_first = is_away && facts.unreachable.replace(text).is_none();
        drop(facts);
        if is_first {
            tracing::error!(error = %why, "the database is away; it is tried again and again");
        } else if is_away {
            tracing::debug!(error = %why, "the database is still away");
        } else {
            tracing::error!(error = %why, "a group could not be kept");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these hold is whole after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
