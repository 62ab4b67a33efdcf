//! How the process is doing: alive, ready, measured; and a backup on request.

use crate::clock::Clock;
use crate::domain::time::{Moment, show_span};
use crate::engine::SharedHealth;
use crate::engine::replicas::Shown;
use crate::http::auth::Admin;
use crate::http::body::Command;
use crate::http::openapi::problems::Misread;
use crate::http::openapi::words;
use crate::http::problem::Problem;
use crate::http::view::Instant;
use crate::http::{LiveSite, Site};
use crate::store::Store;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use utoipa::ToSchema;

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

/// That the process answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alive {
    pub status: &'static str,
    pub version: &'static str,
}

/// The process answers.
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "health",
    responses((status = 200, description = "It answers", body = Alive))
)]
pub async fn healthz() -> Json<Alive> {
    Json(Alive {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Whether it does its job, and by what that is told.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    pub ready: bool,
    pub checks: Checks,
}

/// What is looked at.
#[derive(Debug, Serialize, ToSchema)]
pub struct Checks {
    pub store: Look<StoreDetail>,
    pub engine: Look<EngineDetail>,
    pub audit: Look<AuditDetail>,
    pub rules: Look<RulesDetail>,
}

/// One look: whether it is well, and why.
#[derive(Debug, Serialize, ToSchema)]
pub struct Look<D> {
    pub ok: bool,
    pub detail: D,
}

/// Whether the store takes writes.
#[derive(Debug, Serialize, ToSchema)]
pub struct StoreDetail {
    pub sequence: u64,
    pub applied: u64,
    pub full: bool,
    #[schema(required = true)]
    pub unreachable: Option<String>,
    #[schema(required = true)]
    pub poisoned: Option<String>,
    #[schema(required = true)]
    pub rebuilt: Option<String>,
    #[schema(required = true)]
    pub last_error: Option<String>,
}

/// Whether the engine steps.
#[derive(Debug, Serialize, ToSchema)]
pub struct EngineDetail {
    #[schema(required = true)]
    pub last_step_ago: Option<String>,
    #[schema(required = true)]
    pub last_error: Option<String>,
    pub quarantined: usize,
    pub clock_jumps: u64,
}

/// Whether the audit passes.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditDetail {
    #[schema(value_type = Option<words::Instant>, required = true)]
    pub at: Option<Instant>,
    pub violations: Vec<ViolationShown>,
}

/// An incident that should page and does not.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Violation)]
pub struct ViolationShown {
    pub incident: u64,
    pub why: &'static str,
}

/// Whether the rules on disk are live.
#[derive(Debug, Serialize, ToSchema)]
pub struct RulesDetail {
    pub revision: String,
    pub rules: usize,
    #[schema(value_type = words::Instant)]
    pub loaded_at: Instant,
    #[schema(required = true)]
    pub refused: Option<Vec<String>>,
    pub replicas: Vec<ReplicaShown>,
    pub replicas_differ: bool,
}

/// A process on the same store.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Replica)]
pub struct ReplicaShown {
    pub name: String,
    pub version: String,
    pub revision: String,
    #[schema(value_type = words::Instant)]
    pub since: Instant,
    #[serde(rename = "self")]
    pub is_self: bool,
}

/// Whether it does its job: the store takes writes, the engine steps, the audit passes, the rules on disk are live.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "readiness",
    responses((status = 200, description = "It is ready", body = Readiness),
        (status = 503, description = "It is not, and what is amiss", body = Readiness))
)]
pub async fn readyz(
    State(store): State<Store>,
    State(health): State<SharedHealth>,
    State(live): State<Arc<LiveSite>>,
    State(clock): State<Clock>,
) -> (StatusCode, Json<Readiness>) {
    let checks = checks(&store, &health, &live, &clock);
    let ready = checks.are_well();
    let code = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, Json(Readiness { ready, checks }))
}

/// The same without why.
pub(super) fn is_ready(site: &Site) -> bool {
    checks(&site.store, &site.health, &site.live, &site.clock).are_well()
}

impl Checks {
    fn are_well(&self) -> bool {
        self.store.ok && self.engine.ok && self.audit.ok && self.rules.ok
    }
}

fn checks(store: &Store, health: &SharedHealth, live: &LiveSite, clock: &Clock) -> Checks {
    Checks {
        store: check_store(store),
        engine: check_engine(health, clock.moment()),
        audit: check_audit(health),
        rules: check_rules(live, health),
    }
}

fn check_store(store: &Store) -> Look<StoreDetail> {
    let status = store.status();
    Look {
        ok: status.poisoned.is_none() && status.unreachable.is_none() && !status.full,
        detail: StoreDetail {
            sequence: status.sequence,
            applied: status.applied,
            full: status.full,
            unreachable: status.unreachable,
            poisoned: status.poisoned,
            rebuilt: status.rebuilt,
            last_error: status.last_error,
        },
    }
}

fn check_engine(health: &SharedHealth, at: Moment) -> Look<EngineDetail> {
    let health = health.read();
    let since = health
        .stepped
        .map(|stepped| at.elapsed.saturating_sub(stepped.elapsed));
    let steps = since.is_some_and(|since| since < STEPS_WITHIN);
    Look {
        ok: steps && health.last_error.is_none() && health.n_quarantined == 0,
        detail: EngineDetail {
            last_step_ago: since.map(show_span),
            last_error: health.last_error.clone(),
            quarantined: health.n_quarantined,
            clock_jumps: health.n_clock_jumps,
        },
    }
}

fn check_audit(health: &SharedHealth) -> Look<AuditDetail> {
    let health = health.read();
    let violations = health.violations.iter().map(|violation| ViolationShown {
        incident: violation.incident,
        why: violation.why,
    });
    let violations: Vec<ViolationShown> = violations.collect();
    Look {
        ok: violations.is_empty(),
        detail: AuditDetail {
            at: health.audited_at.map(Instant),
            violations,
        },
    }
}

fn check_rules(live: &LiveSite, health: &SharedHealth) -> Look<RulesDetail> {
    let current = live.load();
    let replicas = health.read().replicas;
    let shown = replicas.iter().map(|replica| ReplicaShown {
        name: replica.name.clone(),
        version: replica.version.clone(),
        revision: replica.revision.clone(),
        since: replica.since.into(),
        is_self: replica.is_self,
    });
    Look {
        ok: current.refused.is_none(),
        detail: RulesDetail {
            revision: current.in_force.rules.revision.clone(),
            rules: current.in_force.rules.rules().len(),
            loaded_at: current.loaded_at.into(),
            refused: current.refused.clone(),
            replicas: shown.collect(),
            replicas_differ: differ(&replicas),
        },
    }
}

/// Whether the replicas decide by different rules.
fn differ(replicas: &[Shown]) -> bool {
    let mut revisions = replicas.iter().map(|replica| &replica.revision);
    let first = revisions.next();
    revisions.any(|revision| Some(revision) != first)
}

/// Prometheus text.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    responses((status = 200, description = "Metrics, as Prometheus reads them", body = String, content_type = "text/plain"))
)]
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BackupTo {
    /// An absolute one, on the machine of the daemon.
    #[schema(value_type = String, pattern = "^/")]
    path: PathBuf,
}

/// A backup that was written.
#[derive(Debug, Serialize, ToSchema)]
pub struct BackupWritten {
    pub path: String,
    pub sequence: u64,
    pub records: u64,
    pub bytes: u64,
    #[schema(value_type = words::Instant)]
    pub made_at: Instant,
}

/// Writes a backup on the daemon's machine, of one instant, while work goes on.
#[utoipa::path(
    post,
    path = "/backup",
    operation_id = "backup",
    security(("bearer" = ["admin"])),
    request_body = BackupTo,
    responses((status = 200, description = "What was written", body = BackupWritten), Misread)
)]
pub async fn backup(
    _admin: Admin,
    State(store): State<Store>,
    State(clock): State<Clock>,
    Command(body): Command<BackupTo>,
) -> Result<Json<BackupWritten>, Problem> {
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
    Ok(Json(BackupWritten {
        path: info.path.display().to_string(),
        sequence: info.sequence,
        records: info.n_records,
        bytes: info.size_bytes,
        made_at: info.made_at.into(),
    }))
}
