//! The load generator: a number of connections, each of which sends its next request when it has the answer to the last.

use crate::alerts::{Shape, Template};
use crate::client::Connection;
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const CONNECTIONS: usize = 32;

/// Latencies are kept in microseconds, up to a minute, to a tenth of a percent.
const LATENCY_MAX_US: u64 = 60_000_000;

/// A load ends when as many requests failed: the server is gone.
const ERRORS_MAX: u64 = 1_000;

/// Which alerts are sent.
#[derive(Debug)]
pub(crate) struct Ids {
    first: u64,
    n: u64,
    /// How many are sent in all, repeats included.
    total: u64,
    n_taken: AtomicU64,
}

impl Ids {
    /// Each once; the load ends with the last.
    pub(crate) fn once(first: u64, end: u64) -> Arc<Self> {
        Self::again(first, end, end - first)
    }

    /// All of them, again and again, until so many were sent.
    pub(crate) fn again(first: u64, end: u64, total: u64) -> Arc<Self> {
        Arc::new(Self {
            first,
            n: end - first,
            total,
            n_taken: AtomicU64::new(0),
        })
    }

    pub(crate) fn n_taken(&self) -> u64 {
        self.n_taken.load(Ordering::Relaxed)
    }

    /// The first of the next `n` alerts.
    fn take(&self, n: u64) -> Option<u64> {
        let taken = self.n_taken.fetch_add(n, Ordering::Relaxed);
        (taken + n <= self.total).then(|| self.first + taken % (self.n - self.n % n))
    }
}

/// What came of a load.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Alerts that were answered with a 2xx.
    pub(crate) n_alerts: u64,
    pub(crate) n_errors: u64,
    /// What the first failed request was told.
    pub(crate) first_error: Option<String>,
    pub(crate) latency_us: Histogram<u64>,
    pub(crate) took: Duration,
}

impl Loaded {
    pub(crate) fn none() -> Self {
        Self {
            n_alerts: 0,
            n_errors: 0,
            first_error: None,
            latency_us: latencies(),
            took: Duration::ZERO,
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.n_alerts += other.n_alerts;
        self.n_errors += other.n_errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.took += other.took;
        merge(&mut self.latency_us, &other.latency_us);
    }
}

/// A histogram of latencies in microseconds.
pub(crate) fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX_US, 3).expect("the bounds are in order")
}

pub(crate) fn record(latencies: &mut Histogram<u64>, took: Duration) {
    latencies.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
}

fn merge(into: &mut Histogram<u64>, from: &Histogram<u64>) {
    into.add(from).expect("all have the same bounds");
}

/// Connections that stay open from one load to the next.
#[derive(Debug)]
pub(crate) struct Generator {
    senders: Vec<Sender>,
    per_request: u64,
}

#[derive(Debug)]
struct Sender {
    connection: Connection,
    templates: [Template; 2],
}

impl Generator {
    pub(crate) fn new(shape: &Shape) -> Self {
        Self::over(std::slice::from_ref(shape))
    }

    /// The same over several servers, which share the connections.
    pub(crate) fn over(shapes: &[Shape]) -> Self {
        let sender = |shape: &Shape| Sender {
            connection: Connection::to(shape.address),
            templates: Template::pair(shape),
        };
        let in_turn = shapes.iter().cycle().take(CONNECTIONS);
        Self {
            senders: in_turn.map(sender).collect(),
            per_request: shapes.first().map_or(1, |shape| shape.per_request),
        }
    }

    /// Sends until the time is over, or the alerts are.
    pub(crate) async fn run(&mut self, ids: &Arc<Ids>, span: Option<Duration>) -> Loaded {
        let began = Instant::now();
        let until = span.map(|span| began + span);
        let n_errors = Arc::new(AtomicU64::new(0));
        let mut sending = JoinSet::new();
        for sender in std::mem::take(&mut self.senders) {
            let (ids, n_errors) = (Arc::clone(ids), Arc::clone(&n_errors));
            sending.spawn(send(sender, self.per_request, ids, until, n_errors));
        }
        let mut all = Loaded::none();
        for (sender, loaded) in sending.join_all().await {
            self.senders.push(sender);
            all.add(loaded);
        }
        all.took = began.elapsed();
        all
    }
}

async fn send(
    mut sender: Sender,
    per_request: u64,
    ids: Arc<Ids>,
    until: Option<Instant>,
    n_errors: Arc<AtomicU64>,
) -> (Sender, Loaded) {
    let mut loaded = Loaded::none();
    while until.is_none_or(|until| Instant::now() < until)
        && n_errors.load(Ordering::Relaxed) < ERRORS_MAX
        && let Some(first) = ids.take(per_request)
    {
        let [even, odd] = &mut sender.templates;
        let template = if first % 2 == 0 { even } else { odd };
        let request = template.request(first);
        let sent = Instant::now();
        let answered = sender.connection.exchange(request).await;
        match answered {
            Ok(200..=299) => {
                record(&mut loaded.latency_us, sent.elapsed());
                loaded.n_alerts += per_request;
            }
            failed => {
                n_errors.fetch_add(1, Ordering::Relaxed);
                loaded.n_errors += 1;
                loaded.first_error.get_or_insert_with(|| match failed {
                    Ok(status) => {
                        let body = String::from_utf8_lossy(sender.connection.body());
                        format!("{status}: {body}")
                    }
                    Err(error) => format!("{error:#}"),
                });
            }
        }
    }
    (sender, loaded)
}
