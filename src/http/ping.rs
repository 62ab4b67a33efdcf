//! Pings of heartbeats: by any client that can fetch an address, and by what pings Opsgenie.

use crate::domain::heartbeat::Ping;
use crate::domain::time::Timestamp;
use crate::http::Site;
use crate::http::auth::{Actor, Admission, Role, parameters};
use crate::http::body;
use crate::http::gate::client;
use crate::http::params::Path;
use crate::http::problem::Problem;
use crate::http::vendors::{opsgenie_error, opsgenie_refused, opsgenie_source};
use crate::http::view;
use crate::store::Tx;
use crate::store::engine::Class;
use crate::store::heartbeats::{self, Beats, Heard};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use uuid::Uuid;

/// Of what a job says of its failure.
const MAX_OUTPUT_BYTES: usize = 2 << 10;

/// Of a run's id.
const MAX_RUN_BYTES: usize = 200;

/// `GET|HEAD|POST /ping/{heartbeat}`.
pub async fn success(
    Path(name): Path<String>,
    State(site): State<Site>,
    request: Request,
) -> Result<&'static str, Problem> {
    take(&site, &name, Ping::Success, request).await
}

/// `…/start`, `…/fail`, `…/log`, or an exit status.
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

/// `/v2/heartbeats/{name}/ping`, as Opsgenie answers it; also what asks for it by `GET`.
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
            let said = json!({
                "result": "PONG - Heartbeat received",
                "took": 0.0,
                "requestId": Uuid::new_v4().to_string(),
            });
            (StatusCode::ACCEPTED, Json(said)).into_response()
        }
        Err(problem) => opsgenie_refused(problem),
    }
}

fn not_found(name: &str) -> Response {
    let said = opsgenie_error(&format!("Heartbeat with name [{name}] does not exist"));
    (StatusCode::NOT_FOUND, Json(said)).into_response()
}

/// `GET /api/v1/heartbeats`: all that are configured, by name.
pub async fn list(actor: Actor, State(site): State<Site>) -> Result<Json<Value>, Problem> {
    actor.must_be(Role::Viewer)?;
    let book = std::sync::Arc::clone(&site.live.load().in_force.book);
    let looked = site
        .store
        .look(move |reader| {
            let names = book.heartbeats.iter();
            names
                .map(|(name, heartbeat)| {
                    let beats = heartbeats::of(reader, name)?.unwrap_or_default();
                    Ok(shown(name, &heartbeat.wanted.to_string(), &beats))
                })
                .collect::<Result<Vec<Value>, crate::store::Error>>()
        })
        .await?;
    Ok(Json(view::list("heartbeats", looked, None)))
}

fn shown(name: &str, wanted: &str, beats: &Beats) -> Value {
    let run =
        |run: &heartbeats::Run| json!({ "id": run.id, "started_at": run.started_at.to_string() });
    let at = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "name": name,
        "state": beats.state.as_str(),
        "wanted": wanted,
        "path": format!("/ping/{name}"),
        "labels": beats.alert,
        "fingerprint": beats.alert.fingerprint().to_string(),
        "received": beats.received,
        "last_ping_at": at(beats.last_ping_at),
        "last_success_at": at(beats.last_success_at),
        "wanted_at": at(beats.wanted_at),
        "runs": beats.runs.iter().map(run).collect::<Vec<_>>(),
        "last_run_ms": beats.last_run_ms,
    })
}
