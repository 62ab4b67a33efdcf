//! The comparison: the same load on each server, one after the other in each case. Whoever has no turn is stopped, so that
//! none costs the others anything.

use crate::Setup;
use crate::alerts::{Shape, Status, Times};
use crate::disk::Syncs;
use crate::load::{Generator, Ids, Loaded};
use crate::process::{cpu, hold, let_go, resident};
use crate::servers::{Kind, Server};
use crate::table::{Cell, Table, as_f64};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Incidents that the alerts make.
pub(crate) const SERVICES: u64 = 50;

/// Alerts of one request where there are many.
pub(crate) const MANY: u64 = 50;

/// Alerts that are repeated, for each second of the run up to the most.
const REPEATED_PER_SECOND: u64 = 5_000;
const REPEATED_MAX: u64 = 50_000;

/// Alerts that are there to be resolved, for each second of the run: each can be resolved once.
const RESOLVED_PER_SECOND: u64 = 20_000;
const RESOLVED_MAX: u64 = 400_000;

/// More than any server takes.
pub(crate) const NO_END: u64 = 99_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Case {
    #[value(name = "new-1")]
    New1,
    #[value(name = "new-50")]
    New50,
    #[value(name = "repeated-1")]
    Repeated1,
    #[value(name = "repeated-50")]
    Repeated50,
    #[value(name = "resolved-50")]
    Resolved50,
}

impl Case {
    pub(crate) const ALL: [Self; 5] = [
        Self::New1,
        Self::New50,
        Self::Repeated1,
        Self::Repeated50,
        Self::Resolved50,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::New1 => "new, 1 per request",
            Self::New50 => "new, 50 per request",
            Self::Repeated1 => "repeated, 1 per request",
            Self::Repeated50 => "repeated, 50 per request",
            Self::Resolved50 => "resolved, 50 per request",
        }
    }

    fn per_request(self) -> u64 {
        match self {
            Self::New1 | Self::Repeated1 => 1,
            Self::New50 | Self::Repeated50 | Self::Resolved50 => MANY,
        }
    }

    fn status(self) -> Status {
        match self {
            Self::New1 | Self::New50 | Self::Repeated1 | Self::Repeated50 => Status::Firing,
            Self::Resolved50 => Status::Resolved,
        }
    }

    /// Alerts that fire before the clock starts.
    fn loaded_before(self, span: Duration) -> u64 {
        let seconds = span.as_secs();
        match self {
            Self::New1 | Self::New50 => 0,
            Self::Repeated1 | Self::Repeated50 => (seconds * REPEATED_PER_SECOND).min(REPEATED_MAX),
            Self::Resolved50 => (seconds * RESOLVED_PER_SECOND).min(RESOLVED_MAX),
        }
    }

    fn ids(self, n_before: u64) -> Arc<Ids> {
        match self {
            Self::New1 | Self::New50 => Ids::once(0, NO_END),
            Self::Repeated1 | Self::Repeated50 => Ids::again(0, n_before, u64::MAX),
            Self::Resolved50 => Ids::once(0, n_before),
        }
    }
}

/// What one server did in one case.
#[derive(Debug)]
struct Measured {
    loaded: Loaded,
    cpu: Duration,
    resident_bytes: u64,
}

impl Measured {
    fn per_second(&self) -> f64 {
        as_f64(self.loaded.n_alerts) / self.loaded.took.as_secs_f64()
    }

    fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / as_f64(self.loaded.n_alerts)
    }
}

/// A server under load, and what it has done so far.
#[derive(Debug)]
struct Runner {
    server: Server,
    generator: Generator,
    ids: Arc<Ids>,
    loaded: Loaded,
    cpu_before: Duration,
    is_done: bool,
}

pub(crate) async fn run(
    setup: &Setup,
    cases: &[Case],
    span: Duration,
) -> anyhow::Result<Vec<Table>> {
    let mut syncs = Syncs::new();
    let mut table = Table::new(
        format!("Ingest, {} s for each server and case", span.as_secs()),
        &[
            "case",
            "server",
            "alerts",
            "alerts/s",
            "CPU µs/alert",
            "p50 ms",
            "p99 ms",
            "max ms",
            "RSS MiB",
            "errors",
            "rate to Alertmanager's",
            "CPU to Alertmanager's",
        ],
    );
    for case in cases {
        syncs.measure(&setup.directory)?;
        let mut measured = compare(setup, *case, span).await?;
        syncs.measure(&setup.directory)?;
        rows(*case, &mut measured, &mut table);
    }
    Ok(vec![table, syncs.table(&setup.directory)?])
}

async fn compare(
    setup: &Setup,
    case: Case,
    span: Duration,
) -> anyhow::Result<Vec<(Kind, Measured)>> {
    let mut runners = Vec::new();
    for kind in Kind::ALL {
        setup.say(&format!("{}: {} starts", case.name(), kind.name()));
        let runner = prepare(setup, kind, case, span).await?;
        hold(&runner.server.child)?;
        runners.push(runner);
    }
    while !runners.iter().all(|runner| runner.is_done) {
        for runner in runners.iter_mut().filter(|runner| !runner.is_done) {
            turn(setup, runner, span).await?;
        }
    }
    let mut measured = Vec::new();
    for runner in runners {
        let kind = runner.server.kind;
        // First: a server that ended under load has no memory left to ask for.
        setup.complain(kind, &runner.loaded);
        measured.push((
            kind,
            Measured {
                cpu: cpu(runner.server.child.id())? - runner.cpu_before,
                resident_bytes: resident(runner.server.child.id())?,
                loaded: runner.loaded,
            },
        ));
    }
    Ok(measured)
}

async fn prepare(setup: &Setup, kind: Kind, case: Case, span: Duration) -> anyhow::Result<Runner> {
    let server = Server::start(kind, &setup.directory, None).await?;
    let times = Times::now();
    let n_before = case.loaded_before(span);
    if n_before > 0 && kind != Kind::Axum {
        load(setup, &server, 0, n_before, SERVICES, &times).await?;
    }
    server.rest().await?;
    let shape = server.shape(case.per_request(), case.status(), SERVICES, &times);
    Ok(Runner {
        generator: Generator::new(&shape),
        ids: case.ids(n_before),
        loaded: Loaded::none(),
        cpu_before: cpu(server.child.id())?,
        is_done: false,
        server,
    })
}

/// Loads a server for a while, or for what is left. What it has behind its answers it catches up with in its last turn,
/// and that counts.
async fn turn(setup: &Setup, runner: &mut Runner, span: Duration) -> anyhow::Result<()> {
    let left = span.saturating_sub(runner.loaded.took).min(setup.turn);
    let_go(&runner.server.child)?;
    let loaded = runner.generator.run(&runner.ids, Some(left)).await;
    let ran_out = loaded.took < left;
    runner.loaded.add(loaded);
    if ran_out || runner.loaded.took >= span {
        let began = Instant::now();
        runner.server.catch_up().await?;
        runner.loaded.took += began.elapsed();
        runner.is_done = true;
    }
    hold(&runner.server.child)
}

/// Has alerts fire that are not measured.
pub(crate) async fn load(
    setup: &Setup,
    server: &Server,
    first: u64,
    end: u64,
    services: u64,
    times: &Times,
) -> anyhow::Result<Loaded> {
    let shape: Shape = server.shape(MANY, Status::Firing, services, times);
    let loaded = Generator::new(&shape)
        .run(&Ids::once(first, end), None)
        .await;
    setup.complain(server.kind, &loaded);
    Ok(loaded)
}

fn rows(case: Case, measured: &mut Vec<(Kind, Measured)>, table: &mut Table) {
    let peer = measured
        .iter()
        .find(|(kind, _)| *kind == Kind::Alertmanager);
    let peer = peer.map(|(_, peer)| (peer.per_second(), peer.cpu_us()));
    for (kind, measured) in measured.drain(..) {
        let latency = &measured.loaded.latency_us;
        let (per_second, cpu_us) = (measured.per_second(), measured.cpu_us());
        let ratio = |of: f64, to: fn((f64, f64)) -> f64| match peer {
            Some(peer) => Cell::Number(of / to(peer), 2),
            None => Cell::Nothing,
        };
        table.row(vec![
            Cell::text(case.name()),
            Cell::text(kind.name()),
            Cell::count(measured.loaded.n_alerts),
            Cell::Number(per_second, 0),
            Cell::Number(cpu_us, 1),
            Cell::ms(latency.value_at_quantile(0.5)),
            Cell::ms(latency.value_at_quantile(0.99)),
            Cell::ms(latency.max()),
            Cell::mib(measured.resident_bytes),
            Cell::count(measured.loaded.n_errors),
            ratio(per_second, |(rate, _)| rate),
            ratio(cpu_us, |(_, cpu)| cpu),
        ]);
    }
}
