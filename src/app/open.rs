//! Opening the store that the configuration names, embedded or on a database.

use crate::app::BadFiles;
use crate::app::files::{self, StoreAt, read};
use crate::clock::{self, Clock};
use crate::config::{self, Environment};
use crate::store::delivery::release_claims;
use crate::store::engine::Class;
use crate::store::postgres::{self, PostgresEngine};
use crate::store::sled::{Settings, SledEngine};
use crate::store::{Error, Store, unrefused};
use anyhow::{Context, anyhow};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often it is tried to reach a database at the start, and how long between two tries.
const OPEN_TRIES: u32 = 30;
const OPEN_TRIED_EVERY: Duration = Duration::from_secs(1);

/// Replicas go by the clock of the store they share.
pub(super) fn clock_of(store: &Store) -> Clock {
    match store.engine().replica() {
        Some(_) => {
            let engine = Arc::clone(store.engine());
            Clock::following(move || engine.clock())
        }
        None => Clock::system(),
    }
}

/// Opens the store that the configuration names.
pub(super) async fn open_store(config: &config::store::Store) -> anyhow::Result<Store> {
    match files::store_at(config).map_err(|finding| BadFiles(format!("{finding}\n")))? {
        StoreAt::Sled(dir) => open_embedded(dir).await,
        StoreAt::Postgres(settings) => open_shared(*settings).await,
    }
}

async fn open_embedded(dir: PathBuf) -> anyhow::Result<Store> {
    let shown = dir.display().to_string();
    let opened =
        tokio::task::spawn_blocking(move || SledEngine::open(&dir, Settings::new(clock::wall)))
            .await;
    let engine = opened
        .context("opening the store panicked")?
        .with_context(|| format!("cannot open the store at {shown}"))?;
    let store = Store::new(Arc::new(engine));
    let status = store.status();
    tracing::info!(
        path = shown,
        sequence = status.sequence,
        "the store is open"
    );
    if let Some(rebuilt) = status.rebuilt {
        tracing::warn!(
            why = rebuilt,
            "the state was built again from snapshot and journal"
        );
    }
    if let Some(cut) = status.cut {
        tracing::warn!(
            what = cut,
            "the end of the journal was not whole and was cut off"
        );
    }
    let now = clock::wall();
    let released = unrefused(
        store
            .transact(Class::Engine, move |tx| release_claims(tx, now))
            .await,
    )?;
    if released > 0 {
        tracing::info!(
            pages = released,
            "pages were being sent when the program last ended; they are sent again"
        );
    }
    Ok(store)
}

/// A database may come up after us: it is waited for, for a while.
async fn open_shared(settings: postgres::Settings) -> anyhow::Result<Store> {
    let shown = settings.address.shown().to_owned();
    let mut tries = 0;
    loop {
        tries += 1;
        let own = settings.clone();
        let opened = tokio::task::spawn_blocking(move || PostgresEngine::open(own)).await;
        match opened.context("opening the store panicked")? {
            Ok(engine) => {
                tracing::info!(database = shown, "the store is open");
                return Ok(Store::new(Arc::new(engine)));
            }
            Err(error @ (Error::Unreachable { .. } | Error::Slow { .. })) if tries < OPEN_TRIES => {
                tracing::warn!(database = shown, %error, "waiting for the database");
                tokio::time::sleep(OPEN_TRIED_EVERY).await;
            }
            Err(error) => {
                return Err(anyhow!(error).context(format!("cannot open the store on {shown}")));
            }
        }
    }
}

/// The store that the configuration names, for commands that work on it without a daemon.
pub fn configured_store(
    config: Option<&Path>,
    environment: &Environment,
) -> anyhow::Result<StoreAt> {
    let files = read(config, environment, clock::wall()).map_err(BadFiles)?;
    files::store_at(&files.config.store)
        .map_err(|finding| anyhow!(BadFiles(format!("{finding}\n"))))
}
