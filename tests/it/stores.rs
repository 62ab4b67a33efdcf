//! Empty stores of each engine for tests that do not care which.

use crate::cluster;
use std::sync::Arc;
use tempfile::TempDir;
use watchkeeper::clock;
use watchkeeper::domain::time::Timestamp;
use watchkeeper::store::Error;
use watchkeeper::store::engine::{BackupInfo, Class, Engine, Job, Reads, Status};
use watchkeeper::store::postgres::{self, Address, PostgresEngine};
use watchkeeper::store::sled::{self, SledEngine};

/// An embedded store in a directory that goes with it.
#[derive(Debug)]
struct InDirectory {
    engine: SledEngine,
    _directory: TempDir,
}

/// A store in an empty directory.
pub(crate) fn sled() -> Arc<dyn Engine> {
    let directory = TempDir::new().expect("a directory");
    let mut settings = sled::Settings::new(clock::wall);
    settings.journal.segment_bytes = 64 << 10;
    settings.journal.reserve_bytes = 64 << 10;
    settings.floor_bytes = 0;
    Arc::new(InDirectory {
        engine: SledEngine::open(directory.path(), settings).expect("the store opens"),
        _directory: directory,
    })
}

/// A store in an empty schema.
pub(crate) fn postgres() -> Arc<dyn Engine> {
    Arc::new(postgres_at(&cluster::fresh_schema()))
}

/// Two replicas of one store.
pub(crate) fn replicas() -> [Arc<dyn Engine>; 2] {
    let url = cluster::fresh_schema();
    [Arc::new(postgres_at(&url)), Arc::new(postgres_at(&url))]
}

/// A replica of the store at this address.
pub(crate) fn postgres_at(url: &str) -> PostgresEngine {
    PostgresEngine::open(settings_of(url)).expect("the store opens")
}

pub(crate) fn settings_of(url: &str) -> postgres::Settings {
    let address = Address::parse(url, None).expect("it is a url");
    let mut settings = postgres::Settings::new(address, clock::both);
    settings.connections = 2;
    settings
}

impl Engine for InDirectory {
    fn submit(&self, class: Class, job: Job) -> Result<(), Error> {
        self.engine.submit(class, job)
    }

    fn view(&self) -> Box<dyn Reads + '_> {
        self.engine.view()
    }

    fn status(&self) -> Status {
        self.engine.status()
    }

    fn backup(&self, to: &std::path::Path, made_at: Timestamp) -> Result<BackupInfo, Error> {
        self.engine.backup(to, made_at)
    }

    fn checkpoint(&self) -> Result<(), Error> {
        self.engine.checkpoint()
    }

    fn close(&self) -> Result<(), Error> {
        self.engine.close()
    }
}
