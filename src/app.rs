//! Wiring and life cycle: read the files, open the store, step the engine, deliver, serve, drain. Every task is spawned
//! here, in one set.

pub mod files;
pub mod open;
pub mod watch;

use crate::clock::{self, Clock};
use crate::config::Environment;
use crate::domain::time::Timestamp;
use crate::engine::deliver::{self, Delivery};
use crate::engine::link::Links;
use crate::engine::replicas::{BEATS_EVERY, Replicas, depart};
use crate::engine::{Engine, LOOKS_EVERY, SharedHealth};
use crate::http::backtest::Backtests;
use crate::http::body::Memory;
use crate::http::confirm::Confirmer;
use crate::http::connection;
use crate::http::entrance::Entrance;
use crate::http::gate::Gate;
use crate::http::health::Metrics;
use crate::http::reload::{Reload, Reloaded};
use crate::http::{LiveSite, Parts, Site};
use crate::outbound::{CONFIRM_TIMEOUT, Outbound};
use crate::pager::Swapped;
use crate::store::engine::Class;
use crate::store::installation::{Installation, installation};
use crate::store::sweep::Retention;
use crate::store::{Error, InForce, Store, unrefused};
use crate::telemetry;
use anyhow::{Context, anyhow, bail};
use files::{Files, read};
use open::{clock_of, open_store};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use watch::Watched;

/// How long requests that were taken may still run after the end was asked for.
const DRAIN: Duration = Duration::from_secs(20);

/// How often the watchdog is fed while the engine waits for a database.
const FED_EVERY: Duration = Duration::from_secs(5);

/// After a pass the engine is not woken for so long, and the delivery not after a look: under load each would look after every
/// group, and find nothing.
const STEPS_APART: Duration = Duration::from_millis(20);
const LOOKS_APART: Duration = Duration::from_millis(2);

/// Where things are.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration directory; none for the built-in defaults.
    pub config: Option<PathBuf>,
    pub environment: Environment,
}

/// The files have errors: what was found, ready to be printed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadFiles(pub String);

/// Runs the daemon until it is asked to end. `ready` hears the address once it serves.
pub async fn serve(
    options: Options,
    ready: Option<oneshot::Sender<SocketAddr>>,
) -> anyhow::Result<()> {
    let watched = options.config.clone();
    let watched = watched.map(|config| Watched::new(config, options.environment.clone()));
    let watched = watched.map(Arc::new);
    if let Some(watched) = &watched {
        watched.will_be_read();
    }
    let read = read(
        options.config.as_deref(),
        &options.environment,
        clock::wall(),
    )
    .map_err(BadFiles)?;
    let Files {
        config,
        current,
        channels,
        warnings,
    } = read;
    let (form, level) = files::log_form(&config.log);
    telemetry::start_logs(form, level).context("cannot start the log")?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let metrics = telemetry::start_metrics().context("cannot start the metrics")?;
    let rules = &current.in_force.rules;
    note_rules(&rules.revision, true);
    let (revision, n) = (&rules.revision, rules.rules().len());
    tracing::info!(revision, rules = n, "rules are live");
    let store = open_store(&config.store).await?;
    let links = Arc::new(links(&store, &config.server.public_url).await?);
    let pager = Arc::new(Swapped::new(channels));
    let live = Arc::new(LiveSite::new(current));
    let health = SharedHealth::default();
    let reload = reloader(
        options,
        watched.clone(),
        Arc::clone(&live),
        Arc::clone(&pager),
    );
    let listener = TcpListener::bind(config.server.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.server.listen))?;
    let address = listener
        .local_addr()
        .context("cannot read the address that was bound")?;

    let clock = clock_of(&store);
    let ending = CancellationToken::new();
    let mut tasks: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let retention = Retention {
        alerts: config.retention.alerts_for,
        changes: config.retention.changes_for,
        dead_letters: u64::try_from(config.retention.n_dead_letters).unwrap_or(u64::MAX),
    };
    let engine = Engine::new(store.clone(), retention, health.clone());
    tasks.spawn(step(
        engine,
        store.clone(),
        Arc::clone(&live),
        clock.clone(),
        ending.clone(),
    ));
    if let Some(replicas) = Replicas::of(&store) {
        tasks.spawn(meet(
            replicas,
            store.clone(),
            health.clone(),
            Arc::clone(&live),
            clock.clone(),
            ending.clone(),
        ));
    }
    tasks.spawn(send(
        store.clone(),
        Arc::clone(&pager),
        Arc::clone(&links),
        Arc::clone(&live),
        clock.clone(),
        ending.clone(),
    ));
    let site = Site::new(Parts {
        store: store.clone(),
        live,
        links,
        health,
        reload: reload.clone(),
        metrics: Metrics::new(move || metrics.render()),
        memory: Memory::default(),
        gate: Gate::new(clock.clone()),
        confirmer: confirmer()?,
        backtests: Backtests::default(),
        clock,
    });
    tasks.spawn(answer(listener, Entrance::new(site), ending.clone()));
    if let Some(watched) = watched {
        tasks.spawn(watch(watched, reload.clone(), ending.clone()));
    }
    tasks.spawn(hear_signals(reload, ending.clone()));

    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        "listening on http://{address}"
    );
    notify(&[sd_notify::NotifyState::Ready]);
    if let Some(ready) = ready {
        // Whoever asked may have gone away.
        let _unheard = ready.send(address);
    }
    let ended = run_to_end(&mut tasks, &ending).await;
    notify(&[sd_notify::NotifyState::Stopping]);
    if let Err(error) = depart(&store, clock_of(&store).now()).await {
        tracing::warn!(%error, "it could not be kept that this process ends");
    }
    let closed = tokio::task::spawn_blocking(move || store.engine().close()).await;
    ended?;
    closed
        .context("closing the store panicked")?
        .context("cannot close the store")?;
    tracing::info!("ended");
    Ok(())
}

/// The first task that ends ends all: a daemon that cannot page must not look alive.
async fn run_to_end(
    tasks: &mut JoinSet<anyhow::Result<()>>,
    ending: &CancellationToken,
) -> anyhow::Result<()> {
    let mut result = Ok(());
    while let Some(ended) = tasks.join_next().await {
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => Err(anyhow!(error).context("a task panicked")),
        };
        if let (Err(error), true) = (&ended, result.is_ok()) {
            tracing::error!(
                error = format!("{error:#}"),
                "a task failed; the program ends"
            );
            result = ended;
        }
        ending.cancel();
    }
    result
}

async fn links(store: &Store, public_url: &str) -> anyhow::Result<Links> {
    let random = || uuid::Uuid::new_v4().simple().to_string();
    let name: String = random().chars().take(8).collect();
    let fresh = Installation {
        name,
        key: format!("{}{}", random(), random()),
    };
    let known = unrefused(
        store
            .transact(Class::Engine, move |tx| installation(tx, fresh))
            .await,
    )?;
    let key = hex::decode(&known.key).context("the key of this installation is damaged")?;
    Ok(Links::new(public_url, key, known.name))
}

/// Steps the engine whenever something is due, and feeds the watchdog each time it went through.
async fn step(
    mut engine: Engine,
    store: Store,
    live: Arc<LiveSite>,
    clock: Clock,
    ending: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let in_force = live.load().in_force.clone();
        let started = clock.look();
        let stepped = tokio::task::spawn_blocking(move || {
            let stepped = engine.step(&in_force, started);
            (engine, stepped)
        });
        let (returned, stepped) = while_away(&store, stepped)
            .await
            .context("the engine panicked")?;
        engine = returned;
        if stepped.is_ok() {
            clock.believe(started);
        }
        let took = clock.moment().elapsed.saturating_sub(started.elapsed);
        metrics::counter!("watchkeeper_engine_steps_total").increment(1);
        metrics::histogram!("watchkeeper_engine_step_seconds").record(took.as_secs_f64());
        if let Some(why) = store.status().poisoned {
            bail!("the store takes no writes until it is opened anew: {why}");
        }
        let wait = match stepped {
            Ok(next) => {
                notify(&[sd_notify::NotifyState::Watchdog]);
                next.since(clock.now()).min(LOOKS_EVERY)
            }
            Err(error @ (Error::Closed | Error::Poisoned { .. })) => {
                return Err(anyhow!(error).context("the engine cannot go on"));
            }
            Err(error) => {
                feed_while_away(&store);
                metrics::counter!("watchkeeper_engine_errors_total").increment(1);
                let is_away = error.is_away();
                let error = format!("{:#}", anyhow!(error));
                match is_away {
                    true => tracing::debug!(error, "a pass of the engine failed"),
                    false => tracing::error!(error, "a pass of the engine failed; it tries again"),
                }
                LOOKS_EVERY
            }
        };
        tokio::time::sleep(STEPS_APART.min(wait)).await;
        tokio::select! {
            () = ending.cancelled() => return Ok(()),
            () = store.wakes().engine.notified() => {}
            () = tokio::time::sleep(wait.saturating_sub(STEPS_APART)) => {}
        }
    }
}

/// Waits for the engine. Where it waits for a database that is away, starting anew would bring nothing: the watchdog is fed.
async fn while_away<T>(store: &Store, stepped: JoinHandle<T>) -> Result<T, JoinError> {
    tokio::pin!(stepped);
    loop {
        tokio::select! {
            stepped = &mut stepped => return stepped,
            () = tokio::time::sleep(FED_EVERY) => feed_while_away(store),
        }
    }
}

fn feed_while_away(store: &Store) {
    if store.status().unreachable.is_some() {
        notify(&[sd_notify::NotifyState::Watchdog]);
    }
}

/// Says again and again that this replica lives, and takes over from others: beside the engine, which may have much to do.
async fn meet(
    mut replicas: Replicas,
    store: Store,
    health: SharedHealth,
    live: Arc<LiveSite>,
    clock: Clock,
    ending: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let revision = live.load().in_force.rules.revision.clone();
        let (at, to, told) = (clock.moment(), store.clone(), health.clone());
        let met = tokio::task::spawn_blocking(move || {
            let met = replicas.step(&to, &told, &revision, at);
            (replicas, met)
        });
        let (returned, met) = met.await.context("looking for other replicas panicked")?;
        replicas = returned;
        if let Err(error) = met {
            // The writer says what is wrong with the way to the database.
            tracing::debug!(%error, "the other replicas could not be looked for");
        }
        tokio::select! {
            () = ending.cancelled() => return Ok(()),
            () = tokio::time::sleep(BEATS_EVERY) => {}
        }
    }
}

/// Delivers pages until the end; what is under way then is waited for.
async fn send(
    store: Store,
    pager: Arc<Swapped>,
    links: Arc<Links>,
    live: Arc<LiveSite>,
    clock: Clock,
    ending: CancellationToken,
) -> anyhow::Result<()> {
    let mut delivery = Delivery::new(&store, pager.as_ref(), &links, &clock);
    loop {
        let now = clock.now();
        let next = if ending.is_cancelled() {
            Ok(None)
        } else {
            delivery.begin_due(now).await
        };
        let next = next.unwrap_or_else(|error| {
            let is_away = error.is_away();
            let error = format!("{:#}", anyhow!(error));
            match is_away {
                true => tracing::debug!(error, "pages could not be claimed"),
                false => tracing::error!(error, "pages could not be claimed; trying again"),
            }
            None
        });
        let wait = next.map_or(LOOKS_EVERY, |next| next.since(now).min(LOOKS_EVERY));
        tokio::select! {
            sent = delivery.ended() => {
                let in_force = live.load().in_force.clone();
                record(&store, sent, in_force, clock.now()).await;
            }
            () = ending.cancelled(), if delivery.is_idle() => return Ok(()),
            () = woken(&store) => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Pages may have been written.
async fn woken(store: &Store) {
    store.wakes().delivery.notified().await;
    tokio::time::sleep(LOOKS_APART).await;
}

async fn record(store: &Store, sent: deliver::Sent, in_force: InForce, now: Timestamp) {
    if let Err(error) = deliver::record(store, sent, in_force, now).await {
        // Its claim runs out, and it is sent again under the same id.
        tracing::error!(
            error = format!("{:#}", anyhow!(error)),
            "the outcome of a page could not be written down"
        );
    }
}

fn confirmer() -> anyhow::Result<Confirmer> {
    let outbound = Outbound::new(CONFIRM_TIMEOUT).map_err(|why| anyhow!(why))?;
    Ok(Confirmer::new(move |url, hosts| {
        let outbound = outbound.clone();
        Box::pin(async move { outbound.confirm(&url, &hosts).await })
    }))
}

/// Serves connections until the end, each by a task of its own; requests that were taken are finished.
async fn answer(
    listener: TcpListener,
    entrance: Entrance,
    ending: CancellationToken,
) -> anyhow::Result<()> {
    let most = connection::most();
    tracing::debug!(most, "connections that may be open");
    let mut open = JoinSet::new();
    let mut full = false;
    loop {
        tokio::select! {
            () = ending.cancelled() => break,
            Some(ended) = open.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "serving a connection panicked");
                }
            }
            stream = connection::accept(&listener) => {
                note_connections(open.len(), most, &mut full);
                if open.len() < most {
                    open.spawn(connection::serve(stream, entrance.clone(), ending.clone()));
                } else {
                    metrics::counter!("watchkeeper_connections_refused_total").increment(1);
                    connection::turn_away(&stream);
                }
            }
        }
    }
    drop(listener);
    let drained = async { while open.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("requests were still open at the end and were cut off");
    }
    Ok(())
}

/// Says when connections begin to be refused, and when that is over.
fn note_connections(open: usize, most: usize, full: &mut bool) {
    if !*full && open >= most {
        *full = true;
        tracing::error!(open, "too many connections: new ones are refused");
    } else if *full && open < most - most / 8 {
        *full = false;
        tracing::warn!(open, "there is room for connections again");
    }
}

/// SIGTERM and SIGINT end the program, SIGHUP reads the files again.
async fn hear_signals(reload: Reload, ending: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot hear SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot hear SIGINT")?;
    let mut hang_up = signal(SignalKind::hangup()).context("cannot hear SIGHUP")?;
    loop {
        tokio::select! {
            () = ending.cancelled() => return Ok(()),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => {
                let reload = reload.clone();
                // What came of it is logged where it is done.
                let _outcome = tokio::task::spawn_blocking(move || reload.run()).await.context("a reload panicked")?;
            }
        }
    }
    tracing::info!("asked to end: taking no more requests");
    Ok(())
}

/// Reads the files again whenever they have changed and nobody writes them any more.
async fn watch(
    watched: Arc<Watched>,
    reload: Reload,
    ending: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = ending.cancelled() => return Ok(()),
            () = tokio::time::sleep(watch::LOOKS_EVERY) => {}
        }
        let (watched, reload) = (Arc::clone(&watched), reload.clone());
        let looked = tokio::task::spawn_blocking(move || {
            if watched.has_settled() {
                // What came of it is logged where it is done.
                let _outcome = reload.run();
            }
        });
        if let Err(error) = looked.await {
            // Whatever a file did to it, what is live works on.
            tracing::error!(%error, "looking at the files panicked");
        }
    }
}

/// Which rules are live, as a metric.
fn note_rules(revision: &str, live: bool) {
    let info = metrics::gauge!("watchkeeper_rules_info", "revision" => revision.to_owned());
    info.set(f64::from(u8::from(live)));
}

/// Builds everything anew from the files, then swaps it; on an error the old stays.
fn reloader(
    options: Options,
    watched: Option<Arc<Watched>>,
    live: Arc<LiveSite>,
    pager: Arc<Swapped>,
) -> Reload {
    // One at a time: of two that overlap the one that read first could be swapped in last.
    let turn = Mutex::new(());
    Reload::new(move || {
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let now: Timestamp = clock::wall();
        if let Some(watched) = &watched {
            watched.will_be_read();
        }
        match read(options.config.as_deref(), &options.environment, now) {
            Ok(Files {
                current,
                channels,
                warnings,
                ..
            }) => {
                let revision = current.in_force.rules.revision.clone();
                pager.swap(channels);
                note_rules(&live.load().in_force.rules.revision, false);
                note_rules(&revision, true);
                live.swap(current);
                metrics::counter!("watchkeeper_reloads_total", "result" => "taken").increment(1);
                tracing::info!(revision, "the files were read again and are live");
                Ok(Reloaded { revision, warnings })
            }
            Err(errors) => {
                metrics::counter!("watchkeeper_reloads_total", "result" => "refused").increment(1);
                let lines: Vec<String> = errors.lines().map(str::to_owned).collect();
                // Who reads the log sees it everywhere else.
                live.refuse(lines.clone());
                tracing::error!(errors, "the files have errors; what was live stays live");
                Err(lines)
            }
        }
    })
}

/// Tells systemd, where it listens. An empty socket name is an error that is none of ours.
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}
