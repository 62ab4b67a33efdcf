//! Logs and metrics: how they are set up, and the name of every metric.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Every metric, its kind, and what it says.
pub const METRICS: [(&str, Kind, &str); 31] = [
    (
        "watchkeeper_received_total",
        Kind::Counter,
        "items received, by source",
    ),
    (
        "watchkeeper_rejected_total",
        Kind::Counter,
        "items that went to dead letters, by source",
    ),
    (
        "watchkeeper_repeats_total",
        Kind::Counter,
        "sightings of alerts that fired already and changes told again, by source",
    ),
    (
        "watchkeeper_pings_total",
        Kind::Counter,
        "pings of heartbeats, by heartbeat and what they said",
    ),
    (
        "watchkeeper_late_results_total",
        Kind::Counter,
        "check results that were late or counted before, by source",
    ),
    (
        "watchkeeper_unrouted_total",
        Kind::Counter,
        "alerts that no rule matched, by source",
    ),
    (
        "watchkeeper_dropped_total",
        Kind::Counter,
        "alerts that a rule drops, by source",
    ),
    (
        "watchkeeper_unknown_resolved_total",
        Kind::Counter,
        "resolves of alerts that were never seen, by source",
    ),
    (
        "watchkeeper_unauthorized_total",
        Kind::Counter,
        "requests with wrong or missing credentials, by source",
    ),
    (
        "watchkeeper_rate_limited_total",
        Kind::Counter,
        "requests that were more than is taken, by source",
    ),
    (
        "watchkeeper_connections_refused_total",
        Kind::Counter,
        "connections for which there was no place",
    ),
    (
        "watchkeeper_incidents_opened_total",
        Kind::Counter,
        "incidents opened by alerts, by source",
    ),
    (
        "watchkeeper_page_attempts_total",
        Kind::Counter,
        "attempts to deliver a page, by channel and outcome",
    ),
    (
        "watchkeeper_engine_steps_total",
        Kind::Counter,
        "passes of the engine",
    ),
    (
        "watchkeeper_engine_errors_total",
        Kind::Counter,
        "passes of the engine that failed",
    ),
    (
        "watchkeeper_engine_step_seconds",
        Kind::Summary,
        "how long passes of the engine take",
    ),
    (
        "watchkeeper_audit_violations",
        Kind::Gauge,
        "open incidents that should page and may not: must be 0",
    ),
    (
        "watchkeeper_quarantined_incidents",
        Kind::Gauge,
        "incidents that could not be stepped: must be 0",
    ),
    (
        "watchkeeper_storms",
        Kind::Gauge,
        "teams with more new incidents than [storm] takes",
    ),
    (
        "watchkeeper_store_sequence",
        Kind::Gauge,
        "last group in the journal",
    ),
    (
        "watchkeeper_store_applied_sequence",
        Kind::Gauge,
        "last group in the state",
    ),
    (
        "watchkeeper_store_journal_bytes",
        Kind::Gauge,
        "size of the journal",
    ),
    (
        "watchkeeper_store_journal_segments",
        Kind::Gauge,
        "files of the journal",
    ),
    (
        "watchkeeper_store_last_sync_seconds",
        Kind::Gauge,
        "how long the last sync took",
    ),
    (
        "watchkeeper_store_unreachable",
        Kind::Gauge,
        "1 while the database cannot be reached",
    ),
    (
        "watchkeeper_replicas",
        Kind::Gauge,
        "processes that work on the database",
    ),
    (
        "watchkeeper_replicas_differ",
        Kind::Gauge,
        "1 while replicas have different rules",
    ),
    (
        "watchkeeper_store_full",
        Kind::Gauge,
        "1 while intake is refused for want of room",
    ),
    (
        "watchkeeper_reload_refused",
        Kind::Gauge,
        "1 while the files on disk have errors and the old ones are live",
    ),
    (
        "watchkeeper_rules_info",
        Kind::Gauge,
        "1 for the revision of the rules that are live, 0 for those that were",
    ),
    (
        "watchkeeper_reloads_total",
        Kind::Counter,
        "reloads, by result",
    ),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Summary,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text,
    Json,
}

/// Starts writing logs to standard error, from this level on. `RUST_LOG` overrides it.
pub fn start_logs(form: Form, level: &str) -> Result<(), tracing_subscriber::util::TryInitError> {
    use tracing_subscriber::util::SubscriberInitExt;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_not_set| EnvFilter::new(level));
    // It logs the parameters of each statement: everything that is stored, also what is secret.
    let silent = "tokio_postgres=warn".parse().expect("it is a directive");
    // A connection that the server closed is made anew; where that fails the store says so.
    let pool = "deadpool.postgres=error"
        .parse()
        .expect("it is a directive");
    let filter = filter.add_directive(silent).add_directive(pool);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match form {
        Form::Json => builder.json().flatten_event(true).finish().try_init(),
        Form::Text => builder.finish().try_init(),
    }
}

/// Starts counting, and returns what renders the counts.
pub fn start_metrics() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    let handle = PrometheusBuilder::new().install_recorder()?;
    for (name, kind, what) in METRICS {
        match kind {
            Kind::Counter => metrics::describe_counter!(name, what),
            Kind::Gauge => metrics::describe_gauge!(name, what),
            Kind::Summary => metrics::describe_histogram!(name, what),
        }
    }
    Ok(handle)
}
