//! From POST to page: new incidents one after another, and when the receiver has the page of each.

use crate::Setup;
use crate::alerts::{Status, Template, Times};
use crate::client::Connection;
use crate::load::{latencies, record};
use crate::servers::{Kind, Server};
use crate::table::{Cell, Table};
use anyhow::{Context, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::Instant;

const INCIDENTS: u64 = 200;

/// A page that is not there by then is lost.
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);

/// What a receiver got, and when.
type Got = (Bytes, Instant);

/// A receiver of pages. Dropped, it is gone.
struct Receiver {
    url: String,
    got: UnboundedReceiver<Got>,
    _task: JoinSet<()>,
}

impl Receiver {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        let (sender, got) = unbounded_channel();
        let take = async move |body: Bytes| {
            // At the end nobody listens any more.
            drop(sender.send((body, Instant::now())));
            StatusCode::OK
        };
        let mut task = JoinSet::new();
        task.spawn(async move {
            let served = axum::serve(listener, Router::new().fallback(take)).await;
            served.expect("a receiver serves until it is dropped");
        });
        Ok(Self {
            url,
            got,
            _task: task,
        })
    }

    /// When a message with this text in it came.
    async fn message_with(&mut self, text: &str) -> anyhow::Result<Instant> {
        let found = async {
            while let Some((body, at)) = self.got.recv().await {
                if String::from_utf8_lossy(&body).contains(text) {
                    return Some(at);
                }
            }
            None
        };
        let found = tokio::time::timeout(ARRIVES_WITHIN, found).await;
        let found =
            found.with_context(|| format!("no page of {text} within {ARRIVES_WITHIN:?}"))?;
        found.context("the receiver ended")
    }
}

pub(crate) async fn run(setup: &Setup) -> anyhow::Result<Vec<Table>> {
    let mut table = Table::new(
        format!("POST to page, {INCIDENTS} new incidents one after another"),
        &[
            "server",
            "answer p50 ms",
            "answer p99 ms",
            "page p50 ms",
            "page p99 ms",
            "page max ms",
        ],
    );
    for kind in [Kind::Watchkeeper, Kind::Alertmanager] {
        setup.say(&format!("pages of {}", kind.name()));
        table.row(measure(setup, kind).await?);
    }
    Ok(vec![table])
}

async fn measure(setup: &Setup, kind: Kind) -> anyhow::Result<Vec<Cell>> {
    let mut receiver = Receiver::start().await?;
    let server = Server::start(kind, &setup.directory, Some(&receiver.url)).await?;
    let mut connection = Connection::to(server.address);
    let times = Times::now();
    let (mut answers, mut pages) = (latencies(), latencies());
    for nth in 0..INCIDENTS {
        let name = format!("Incident{nth:05}");
        let mut shape = server.shape(1, Status::Firing, 1, &times);
        shape.name.clone_from(&name);
        let [mut template, _] = Template::pair(&shape);
        let request = template.request(nth);
        let began = Instant::now();
        let status = connection.exchange(request).await?;
        record(&mut answers, began.elapsed());
        ensure!(status == 200, "{name} was answered by {status}");
        let arrived = receiver.message_with(&name).await?;
        record(&mut pages, arrived - began);
    }
    Ok(vec![
        Cell::text(kind.name()),
        Cell::ms(answers.value_at_quantile(0.5)),
        Cell::ms(answers.value_at_quantile(0.99)),
        Cell::ms(pages.value_at_quantile(0.5)),
        Cell::ms(pages.value_at_quantile(0.99)),
        Cell::ms(pages.max()),
    ])
}
