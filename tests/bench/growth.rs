//! What grows: the cost of the same batch of alerts beside ever more that fire already, and ever more open incidents.

use crate::Setup;
use crate::alerts::{Status, Times};
use crate::ingest::{MANY, SERVICES, load};
use crate::load::{Generator, Ids};
use crate::process::{cpu, resident};
use crate::servers::{Kind, Server};
use crate::table::{Cell, Table, as_f64};
use std::sync::Arc;
use tokio::time::Instant;

/// Firing alerts that a batch comes on top of.
const RESIDENTS: [u64; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// Open incidents, each time with as many alerts.
const INCIDENTS: [u64; 3] = [10, 1_000, 10_000];
const ALERTS_OF_INCIDENTS: u64 = 10_000;

/// Alerts of a measured batch: enough for the clock of a process, which ticks every 10 ms.
const NEW: u64 = 5_000;
const REPEATED: u64 = 20_000;

/// Where the numbers of a batch's new alerts begin: far from those that fire.
const NEW_FROM: u64 = 10_000_000;

const HEAD: [&str; 7] = [
    "open incidents",
    "firing alerts",
    "new/s",
    "new CPU µs",
    "repeated/s",
    "repeated CPU µs",
    "RSS MiB",
];

pub(crate) async fn run(setup: &Setup, n_alerts: u64) -> anyhow::Result<Vec<Table>> {
    let mut by_alerts = Table::new("Cost by firing alerts, 50 per request", &HEAD);
    let server = Server::start(Kind::Watchkeeper, &setup.directory, None).await?;
    let times = Times::now();
    let mut loaded = 0;
    for (nth, n) in (0_u64..).zip(RESIDENTS.into_iter().filter(|n| *n <= n_alerts)) {
        setup.say(&format!("growth: {n} alerts"));
        load(setup, &server, loaded, n, SERVICES, &times).await?;
        loaded = n;
        by_alerts.row(measure(setup, &server, SERVICES, n, nth, &times).await?);
    }
    drop(server);

    let mut by_incidents = Table::new("Cost by open incidents, 50 per request", &HEAD);
    for n in INCIDENTS {
        setup.say(&format!("growth: {n} incidents"));
        let server = Server::start(Kind::Watchkeeper, &setup.directory, None).await?;
        load(setup, &server, 0, ALERTS_OF_INCIDENTS, n, &times).await?;
        by_incidents.row(measure(setup, &server, n, ALERTS_OF_INCIDENTS, 0, &times).await?);
    }
    Ok(vec![by_alerts, by_incidents])
}

async fn measure(
    setup: &Setup,
    server: &Server,
    incidents: u64,
    alerts: u64,
    nth: u64,
    times: &Times,
) -> anyhow::Result<Vec<Cell>> {
    let first_new = NEW_FROM + nth * NEW;
    let new = Ids::once(first_new, first_new + NEW);
    let (new_rate, new_cpu) = batch(setup, server, incidents, &new, times).await?;
    // Many times over where few fire, and not all of them where many do.
    let repeated = Ids::again(0, alerts, REPEATED);
    let (rate, cost) = batch(setup, server, incidents, &repeated, times).await?;
    Ok(vec![
        Cell::count(incidents),
        Cell::count(alerts),
        Cell::Number(new_rate, 0),
        Cell::Number(new_cpu, 1),
        Cell::Number(rate, 0),
        Cell::Number(cost, 1),
        Cell::mib(resident(server.child.id())?),
    ])
}

/// Alerts a second and microseconds of CPU for each, all of it in the state.
async fn batch(
    setup: &Setup,
    server: &Server,
    services: u64,
    ids: &Arc<Ids>,
    times: &Times,
) -> anyhow::Result<(f64, f64)> {
    server.rest().await?;
    let shape = server.shape(MANY, Status::Firing, services, times);
    let mut generator = Generator::new(&shape);
    let (began, cpu_before) = (Instant::now(), cpu(server.child.id())?);
    let loaded = generator.run(ids, None).await;
    server.catch_up().await?;
    let (took, cpu) = (began.elapsed(), cpu(server.child.id())? - cpu_before);
    setup.complain(server.kind, &loaded);
    let n = as_f64(loaded.n_alerts);
    Ok((n / took.as_secs_f64(), cpu.as_secs_f64() * 1e6 / n))
}
