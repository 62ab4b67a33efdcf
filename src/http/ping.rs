//! Pings of heartbeats: by any client that can fetch an address, and by what pings Opsgenie.

use crate::domain::alert::{Fingerprint, Labels};
use crate::domain::heartbeat::{Ping, State as Standing};
use crate::domain::time::Timestamp;
use crate::http::Site;
use crate::http::auth::{Actor, Admission, Role, parameters};
use crate::http::body;
use crate::http::gate::client;
use crate::http::openapi::problems::{NotText, SourceMistold, TooLong};
use crate::http::openapi::words;
use crate::http::params::Path;
use crate::http::problem::Problem;
use crate::http::vendors::{
    OpsgenieError, Receipt, opsgenie_error, opsgenie_refused, opsgenie_source,
};
use crate::http::view::Instant;
use crate::store::Tx;
use crate::store::engine::Class;
use crate::store::heartbeats::{self, Beats, Heard};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Of what a job says of its failure.
const MAX_OUTPUT_BYTES: usize = 2 << 10;

/// Of a run's id.
const MAX_RUN_BYTES: usize = 200;

/// Which heartbeat is pinged.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ByHeartbeat {
    /// One that is configured.
    pub heartbeat: String,
}

/// Which run pings.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunQuery {
    /// The same of its start and of its end.
    pub rid: Option<String>,
}

/// Says that a job has run well, and what it said.
#[utoipa::path(
    post,
    path = "/ping/{heartbeat}",
    operation_id = "postPing",
    security(("source" = []), ("basic" = [])),
    params(ByHeartbeat, RunQuery),
    request_body(content = Option<String>, content_type = "text/plain", description = "What the job says"),
    responses((status = 200, description = "It counts", body = String, content_type = "text/plain"), SourceMistold)
)]
pub async fn success(
    Path(name): Path<String>,
    State(site): State<Site>,
    request: Request,
) -> Result<&'static str, Problem> {
    take(&site, &name, Ping::Success, request).await
}

/// Says that a job has run well, by an address alone.
#[utoipa::path(
    get,
    path = "/ping/{heartbeat}",
    operation_id = "ping",
    security(("source" = []), ("basic" = [])),
    params(ByHeartbeat, RunQuery),
    responses((status = 200, description = "It counts", body = String, content_type = "text/plain"), SourceMistold)
)]
pub async fn succeeded(
    name: Path<String>,
    site: State<Site>,
    request: Request,
) -> Result<&'static str, Problem> {
    success(name, site, request).await
}

/// How far a job has come: `start`, `success`, `fail`, `log`, or an exit status.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct BySaid {
    #[param(pattern = "^(start|success|fail|log|1?[0-9]{1,2}|2[0-4][0-9]|25[0-5])$")]
    pub said: String,
}

/// Says how far a job has come, and what it said.
#[utoipa::path(
    post,
    path = "/ping/{heartbeat}/{said}",
    operation_id = "postPingSaying",
    security(("source" = []), ("basic" = [])),
    params(ByHeartbeat, BySaid, RunQuery),
    request_body(content = Option<String>, content_type = "text/plain", description = "What the job says"),
    responses((status = 200, description = "It counts", body = String, content_type = "text/plain"), SourceMistold)
)]
pub async fn said(
    Path((name, said)): Path<(String, String)>,
    State(site): State<Site>,
    request: Request,
) -> Result<&'static str, Problem> {
    let ping = match said.as_str() {
        "start" => Ping::Start,
        "success" => Ping::Success,
        "fail" => Ping::Fail,
        "log" => Ping::Log,
        status => match status.parse() {
            Ok(status) => Ping::Exit(status),
            Err(_no_status) => {
                return Err(Problem::not_found(format!(
                    "start, success, fail, log or an exit status from 0 to 255 is wanted, found \"{status}\""
                )));
            }
        },
    };
    take(&site, &name, ping, request).await
}

/// Says how far a job has come, by an address alone.
#[utoipa::path(
    get,
    path = "/ping/{heartbeat}/{said}",
    operation_id = "pingSaying",
    security(("source" = []), ("basic" = [])),
    params(ByHeartbeat, BySaid, RunQuery),
    responses((status = 200, description = "It counts", body = String, content_type = "text/plain"), SourceMistold)
)]
pub async fn saying(
    names: Path<(String, String)>,
    site: State<Site>,
    request: Request,
) -> Result<&'static str, Problem> {
    said(names, site, request).await
}

/// Once this returns, the ping counts, whatever happens.
async fn take(
    site: &Site,
    name: &str,
    ping: Ping,
    request: Request,
) -> Result<&'static str, Problem> {
    let (head, body) = request.into_parts();
    let live = site.live.load();
    let Some(door) = live.access.heartbeats.get(name).cloned() else {
        return Err(unknown(name));
    };
    let max_body_bytes = live.max_body_bytes;
    let client = client(&head, &live.access.proxies);
    drop(live);
    site.gate.admit(name, client)?;
    let admission = door.admits(&head);
    if admission == Admission::No {
        return Err(site.gate.wrong(name, door.wrong(&head), client));
    }
    let body = body::read(body, max_body_bytes, &site.memory).await?;
    let now = site.clock.now();
    if admission == Admission::IfSigned
        && let Some(wrong) = door.is_unsigned(&head, &body.bytes, now)
    {
        return Err(site.gate.wrong(name, wrong, client));
    }
    let all = parameters(&head.uri);
    let run = all.into_iter().find(|(key, _)| key == "rid");
    let run = run.map(|(_, id)| start_of(&id, MAX_RUN_BYTES));
    let output = String::from_utf8_lossy(body.bytes.get(..MAX_OUTPUT_BYTES).unwrap_or(&body.bytes));
    let output = output.trim();
    let heard = Heard {
        ping,
        run: run.filter(|id| !id.is_empty()),
        output: (!output.is_empty()).then(|| output.to_owned()),
    };
    keep(site, name, heard, now).await?;
    Ok("OK")
}

async fn keep(site: &Site, name: &str, heard: Heard, now: Timestamp) -> Result<(), Problem> {
    let word = match heard.ping {
        Ping::Start => "start",
        Ping::Success | Ping::Exit(0) => "success",
        Ping::Fail | Ping::Exit(_) => "fail",
        Ping::Log => "log",
    };
    let in_force = site.live.load().in_force.clone();
    let of = name.to_owned();
    let work = move |tx: &mut Tx<'_, '_>| heartbeats::ping(tx, &of, &heard, &in_force, now);
    site.store.transact(Class::Intake, work).await?;
    metrics::counter!("watchkeeper_pings_total", "heartbeat" => name.to_owned(), "ping" => word)
        .increment(1);
    Ok(())
}

fn start_of(text: &str, most: usize) -> String {
    let end = text.floor_char_boundary(most);
    text.get(..end).unwrap_or_default().to_owned()
}

fn unknown(name: &str) -> Problem {
    Problem::not_found(format!("there is no heartbeat \"{name}\""))
}

/// Pings a heartbeat as Opsgenie's API does, by whatever method.
#[utoipa::path(
    method(get, post, put, patch),
    path = "/v2/heartbeats/{heartbeat}/ping",
    operation_id = "pingHeartbeat",
    security(("genie" = [])),
    params(ByHeartbeat),
    responses(
        (status = 202, description = "It counts", body = Receipt),
        (status = 401, description = "The key is none of ours", body = OpsgenieError),
        (status = 404, description = "There is no such heartbeat", body = OpsgenieError),
        NotText,
        TooLong,
    )
)]
pub async fn opsgenie(
    Path(name): Path<String>,
    State(site): State<Site>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let max_body_bytes = site.live.load().max_body_bytes;
    let admitted = match opsgenie_source(&site, &head) {
        Ok(_source) => body::pass_over(body, max_body_bytes).await,
        Err(problem) => Err(problem),
    };
    let done = match admitted {
        Err(problem) => Err(problem),
        Ok(()) if !site.live.load().access.heartbeats.contains_key(&name) => {
            return not_found(&name);
        }
        Ok(()) => keep(&site, &name, Heard::of(Ping::Success), site.clock.now()).await,
    };
    match done {
        Ok(()) => {
            let request = Uuid::new_v4().to_string();
            let said = Receipt::new("PONG - Heartbeat received", request);
            (StatusCode::ACCEPTED, Json(said)).into_response()
        }
        Err(problem) => opsgenie_refused(problem),
    }
}

fn not_found(name: &str) -> Response {
    let said = opsgenie_error(&format!("Heartbeat with name [{name}] does not exist"));
    (StatusCode::NOT_FOUND, Json(said)).into_response()
}

/// Heartbeats, by name.
#[derive(Debug, Serialize, ToSchema)]
pub struct Heartbeats {
    pub heartbeats: Vec<Heartbeat>,
    #[schema(required = true)]
    pub next: Option<String>,
}

/// A heartbeat as it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct Heartbeat {
    pub name: String,
    #[schema(value_type = words::HeartbeatState)]
    pub state: Standing,
    /// When it is wanted, in words.
    pub wanted: String,
    /// What is pinged.
    pub path: String,
    /// Those of its alert.
    #[schema(value_type = words::Labels)]
    pub labels: Labels,
    #[schema(value_type = words::Fingerprint)]
    pub fingerprint: Fingerprint,
    pub received: u64,
    #[schema(value_type = Option<words::Instant>, required = true)]
    pub last_ping_at: Option<Instant>,
    #[schema(value_type = Option<words::Instant>, required = true)]
    pub last_success_at: Option<Instant>,
    /// When the next ping is wanted.
    #[schema(value_type = Option<words::Instant>, required = true)]
    pub wanted_at: Option<Instant>,
    /// Those under way.
    pub runs: Vec<UnderWay>,
    #[schema(required = true)]
    pub last_run_ms: Option<u64>,
}

/// A run that has begun and not ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct UnderWay {
    #[schema(required = true)]
    pub id: Option<String>,
    #[schema(value_type = words::Instant)]
    pub started_at: Instant,
}

/// All heartbeats that are configured, by name.
#[utoipa::path(
    get,
    path = "/heartbeats",
    operation_id = "listHeartbeats",
    security(("bearer" = ["viewer"])),
    responses((status = 200, description = "All heartbeats", body = Heartbeats))
)]
pub async fn list(actor: Actor, State(site): State<Site>) -> Result<Json<Heartbeats>, Problem> {
    actor.must_be(Role::Viewer)?;
    let book = std::sync::Arc::clone(&site.live.load().in_force.book);
    let heartbeats = site
        .store
        .look(move |reader| {
            let names = book.heartbeats.iter();
            names
                .map(|(name, heartbeat)| {
                    let beats = heartbeats::of(reader, name)?.unwrap_or_default();
                    Ok(shown(name, &heartbeat.wanted.to_string(), beats))
                })
                .collect::<Result<Vec<Heartbeat>, crate::store::Error>>()
        })
        .await?;
    Ok(Json(Heartbeats {
        heartbeats,
        next: None,
    }))
}

fn shown(name: &str, wanted: &str, beats: Beats) -> Heartbeat {
    let runs = beats.runs.into_iter().map(|run| UnderWay {
        id: run.id,
        started_at: run.started_at.into(),
    });
    Heartbeat {
        name: name.to_owned(),
        state: beats.state,
        wanted: wanted.to_owned(),
        path: format!("/ping/{name}"),
        fingerprint: beats.alert.fingerprint(),
        labels: beats.alert,
        received: beats.received,
        last_ping_at: beats.last_ping_at.map(Instant),
        last_success_at: beats.last_success_at.map(Instant),
        wanted_at: beats.wanted_at.map(Instant),
        runs: runs.collect(),
        last_run_ms: beats.last_run_ms,
    }
}
