//! What many firing alerts hold: memory, the time to be ready after a kill, and how long the pages of lists take.

use crate::Setup;
use crate::alerts::Times;
use crate::client::Connection;
use crate::ingest::{SERVICES, load};
use crate::load::{latencies, record};
use crate::process::resident;
use crate::servers::{Kind, Server};
use crate::table::{Cell, Table};
use anyhow::ensure;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::Instant;

/// Kills, each followed by the time to be ready.
const KILLS: usize = 3;

pub(crate) async fn run(setup: &Setup, n_alerts: u64) -> anyhow::Result<Vec<Table>> {
    let mut server = Server::start(Kind::Watchkeeper, &setup.directory, None).await?;
    let mut memory = Table::new(
        format!("Memory and start, {n_alerts} distinct firing alerts, {SERVICES} open incidents"),
        &["when", "RSS MiB", "ready after ms"],
    );
    let row = |when: &str, server: &Server, ready: Option<Duration>| -> anyhow::Result<_> {
        let ready = ready.map_or(Cell::Nothing, |took| {
            Cell::Number(took.as_secs_f64() * 1e3, 0)
        });
        Ok(vec![
            Cell::text(when),
            Cell::mib(resident(server.child.id())?),
            ready,
        ])
    };
    server.rest().await?;
    memory.row(row("idle, empty", &server, None)?);
    setup.say(&format!("loading {n_alerts} alerts"));
    load(setup, &server, 0, n_alerts, SERVICES, &Times::now()).await?;
    memory.row(row("loaded", &server, None)?);
    server.rest().await?;
    memory.row(row("at rest", &server, None)?);
    for nth in 1..=KILLS {
        let took = server.crash().await?;
        memory.row(row(&format!("after kill -9, {nth}"), &server, Some(took))?);
    }

    let mut lists = Table::new(
        "Lists, every page",
        &[
            "list", "limit", "pages", "items", "p50 ms", "p99 ms", "max ms",
        ],
    );
    for noun in ["incidents", "alerts"] {
        for limit in [100, 1000] {
            setup.say(&format!("listing {noun}, {limit} a page"));
            lists.row(list(&server, noun, limit).await?);
        }
    }
    memory.row(row("after the lists", &server, None)?);
    Ok(vec![memory, lists])
}

/// A page of either list.
#[derive(Debug, Deserialize)]
struct Page {
    #[serde(alias = "incidents", alias = "alerts")]
    items: Vec<serde::de::IgnoredAny>,
    next: Option<String>,
}

async fn list(server: &Server, noun: &str, limit: u64) -> anyhow::Result<Vec<Cell>> {
    let mut connection = Connection::to(server.address);
    let mut took = latencies();
    let (mut n_items, mut cursor) = (0, String::new());
    loop {
        let path = format!("/api/v1/{noun}?limit={limit}{cursor}");
        let began = Instant::now();
        let (status, body) = connection.get(&path).await?;
        record(&mut took, began.elapsed());
        ensure!(status == 200, "{path} was answered by {status}: {body}");
        let page: Page = serde_json::from_str(&body)?;
        n_items += page.items.len();
        match page.next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    Ok(vec![
        Cell::text(noun),
        Cell::count(limit),
        Cell::count(took.len()),
        Cell::count(u64::try_from(n_items)?),
        Cell::ms(took.value_at_quantile(0.5)),
        Cell::ms(took.value_at_quantile(0.99)),
        Cell::ms(took.max()),
    ])
}
