//! How the process is doing: alive, ready, measured; and a backup on request.

use crate::clock::Clock;
use crate::domain::time::{Moment, show_span};
use crate::engine::SharedHealth;
use crate::engine::replicas::Shown;
use crate::http::auth::{Actor, Role};
use crate::http::body::Command;
use crate::http::problem::Problem;
use crate::http::{LiveSite, Site, view};
use crate::store::Store;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// An engine that has not stepped for this long is not ready.
pub const STEPS_WITHIN: Duration = Duration::from_secs(10);

/// Renders the metrics; made by whoever installed the recorder.
#[derive(Clone)]
pub struct Metrics(Arc<dyn Fn() -> String + Send + Sync>);

impl Metrics {
    pub fn new(render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(render))
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// The process answers.
pub async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

/// Whether it does its job: the store takes writes, the engine steps, the audit passes, the rules on disk are live.
pub async fn readyz(
    State(store): State<Store>,
    State(health): State<SharedHealth>,
    State(live): State<Arc<LiveSite>>,
    State(clock): State<Clock>,
) -> (StatusCode, Json<Value>) {
    let checks = checks(&store, &health, &live, &clock);
    let is_ready = checks.iter().all(|(_, (ok, _))| *ok);
    let detail: serde_json::Map<String, Value> = checks
        .into_iter()
        .map(|(name, (ok, detail))| (name.to_owned(), json!({ "ok": ok, "detail": detail })))
        .collect();
    let code = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, Json(json!({ "ready": is_ready, "checks": detail })))
}

/// The same without why.
pub(super) fn is_ready(site: &Site) -> bool {
    let checks = checks(&site.store, &site.health, &site.live, &site.clock);
    checks.iter().all(|(_, (ok, _))| *ok)
}

type Check = (&'static str, (bool, Value));

fn checks(store: &Store, health: &SharedHealth, live: &LiveSite, clock: &Clock) -> [Check; 4] {
    [
        ("store", check_store(store)),
        ("engine", check_engine(health, clock.moment())),
        ("audit", check_audit(health)),
        ("rules", check_rules(live, health)),
    ]
}

fn check_store(store: &Store) -> (bool, Value) {
    let status = store.status();
    let detail = json!({
        "sequence": status.sequence,
        "applied": status.applied,
        "full": status.full,
        "unreachable": status.unreachable,
        "poisoned": status.poisoned,
        "rebuilt": status.rebuilt,
        "last_error": status.last_error,
    });
    let takes_writes = status.poisoned.is_none() && status.unreachable.is_none() && !status.full;
    (takes_writes, detail)
}

fn check_engine(health: &SharedHealth, at: Moment) -> (bool, Value) {
    let health = health.read();
    let since = health
        .stepped
        .map(|stepped| at.elapsed.saturating_sub(stepped.elapsed));
    let steps = since.is_some_and(|since| since < STEPS_WITHIN);
    let detail = json!({
        "last_step_ago": since.map(show_span),
        "last_error": health.last_error,
        "quarantined": health.n_quarantined,
        "clock_jumps": health.n_clock_jumps,
    });
    (
        steps && health.last_error.is_none() && health.n_quarantined == 0,
        detail,
    )
}

fn check_audit(health: &SharedHealth) -> (bool, Value) {
    let health = health.read();
    let violations: Vec<Value> = health
        .violations
        .iter()
        .map(|violation| json!({ "incident": violation.incident, "why": violation.why }))
        .collect();
    let passes = violations.is_empty();
    (
        passes,
        json!({ "at": health.audited_at.map(view::instant), "violations": violations }),
    )
}

fn check_rules(live: &LiveSite, health: &SharedHealth) -> (bool, Value) {
    let current = live.load();
    let replicas = health.read().replicas;
    let shown: Vec<Value> = replicas
        .iter()
        .map(|replica| {
            json!({
                "name": replica.name,
                "version": replica.version,
                "revision": replica.revision,
                "since": view::instant(replica.since),
                "self": replica.is_self,
            })
        })
        .collect();
    let detail = json!({
        "revision": current.in_force.rules.revision,
        "rules": current.in_force.rules.rules().len(),
        "loaded_at": view::instant(current.loaded_at),
        "refused": current.refused,
        "replicas": shown,
        "replicas_differ": differ(&replicas),
    });
    (current.refused.is_none(), detail)
}

/// Whether the replicas decide by different rules.
fn differ(replicas: &[Shown]) -> bool {
    let mut revisions = replicas.iter().map(|replica| &replica.revision);
    let first = revisions.next();
    revisions.any(|revision| Some(revision) != first)
}

/// Prometheus text.
pub async fn metrics(State(site): State<Site>) -> impl IntoResponse {
    let status = site.store.status();
    let health = site.health.read();
    set("watchkeeper_audit_violations", health.violations.len());
    set("watchkeeper_quarantined_incidents", health.n_quarantined);
    set("watchkeeper_storms", health.n_storms);
    set("watchkeeper_store_journal_segments", status.n_segments);
    metrics::gauge!("watchkeeper_store_sequence").set(as_f64(status.sequence));
    metrics::gauge!("watchkeeper_store_applied_sequence").set(as_f64(status.applied));
    metrics::gauge!("watchkeeper_store_journal_bytes").set(as_f64(status.journal_bytes));
    metrics::gauge!("watchkeeper_store_last_sync_seconds")
        .set(as_f64(status.last_sync_ms) / 1000.0);
    set("watchkeeper_replicas", health.replicas.len());
    metrics::gauge!("watchkeeper_replicas_differ")
        .set(f64::from(u8::from(differ(&health.replicas))));
    metrics::gauge!("watchkeeper_store_unreachable")
        .set(f64::from(u8::from(status.unreachable.is_some())));
    metrics::gauge!("watchkeeper_store_full").set(f64::from(u8::from(status.full)));
    let refused = site.live.load().refused.is_some();
    metrics::gauge!("watchkeeper_reload_refused").set(f64::from(u8::from(refused)));
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        (site.metrics.0)(),
    )
}

fn set(name: &'static str, n: usize) {
    metrics::gauge!(name).set(as_f64(u64::try_from(n).unwrap_or(u64::MAX)));
}

/// Metrics are floating-point numbers; counts stay exact far beyond what is counted here.
fn as_f64(n: u64) -> f64 {
    let (high, low) = (n >> 32, n & 0xffff_ffff);
    let part = |bits: u64| f64::from(u32::try_from(bits).unwrap_or(u32::MAX));
    part(high).mul_add(4_294_967_296.0, part(low))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupTo {
    path: PathBuf,
}

/// Writes a backup on the daemon's machine, of one instant, while work goes on.
pub async fn backup(
    actor: Actor,
    State(store): State<Store>,
    State(clock): State<Clock>,
    Command(body): Command<BackupTo>,
) -> Result<Json<Value>, Problem> {
    actor.must_be(Role::Admin)?;
    if !body.path.is_absolute() {
        return Err(Problem::bad_request("an absolute path is wanted").at("$.path"));
    }
    let made_at = clock.now();
    let written =
        tokio::task::spawn_blocking(move || store.engine().backup(&body.path, made_at)).await;
    let info = written.map_err(|error| {
        tracing::error!(%error, "a backup panicked");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the backup could not be written",
        )
    })??;
    Ok(Json(json!({
        "path": info.path.display().to_string(),
        "sequence": info.sequence,
        "records": info.n_records,
        "bytes": info.size_bytes,
        "made_at": view::instant(info.made_at),
    })))
}
