//! What Prometheus and amtool ask of an Alertmanager: alerts are posted as they are posted there, and answered as they are answered there.

pub mod alerts;
pub mod answer;
pub mod silences;

use crate::domain::source::Kind;
use crate::http::Site;
use crate::http::auth::{Actor, Admission, Role, Source};
use crate::http::body;
use crate::http::gate::{Wrong, client};
use crate::http::health;
use crate::http::hooks::{record_parsed, refuse};
use crate::http::params::Path;
use crate::http::problem::Problem;
use crate::ingest::Post;
use crate::ingest::postable::{self, Fault};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use serde_json::{Value, json};
use std::sync::Arc;

/// What is shown as the configuration: the one receiver that there is.
const ORIGINAL: &str = "route:\n  receiver: watchkeeper\n  group_by:\n  - alertname\nreceivers:\n- name: watchkeeper\n";

/// Other methods are refused in Alertmanager's words; it does not answer `HEAD` either.
pub(super) fn only(routes: MethodRouter<Site>, allowed: &'static str) -> MethodRouter<Site> {
    let refuse = move |method: Method| async move { answer::not_allowed(&method, allowed) };
    routes.head(refuse).fallback(refuse)
}

/// `GET /-/healthy`.
pub async fn healthy() -> &'static str {
    "OK"
}

/// `GET /-/ready`: as `/readyz` says.
pub async fn ready(State(site): State<Site>) -> Response {
    match health::is_ready(&site) {
        true => "OK".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable").into_response(),
    }
}

/// `POST /api/v2/alerts`: the source is told by the credentials that the request shows.
pub async fn take_alerts(State(site): State<Site>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let kind = Kind::Alertmanager;
    let live = site.live.load();
    let client = client(&head, &live.access.proxies);
    let found = live.access.source_shown(kind, &head);
    drop(live);
    if let Err(problem) = site.gate.admit(kind.as_str(), client) {
        return problem.into_response();
    }
    match found {
        Some((name, source)) => take(&site, &name, &source, &head, body).await,
        None => {
            let wrong = match head.headers.contains_key(AUTHORIZATION) {
                true => Wrong::Unknown,
                false => Wrong::Missing,
            };
            site.gate
                .wrong(kind.as_str(), wrong, client)
                .into_response()
        }
    }
}

/// `POST /hooks/{source}/api/v2/alerts`: for a Prometheus with `path_prefix: /hooks/{source}`.
pub async fn alerts_of_source(
    Path(name): Path<String>,
    State(site): State<Site>,
    request: Request,
) -> Response {
    let (head, body) = request.into_parts();
    let live = site.live.load();
    let client = client(&head, &live.access.proxies);
    let found = live.access.source(&name).map(Arc::clone);
    drop(live);
    let Some(source) = found.filter(|source| source.kind == Kind::Alertmanager) else {
        let detail = format!("there is no source \"{name}\" of the kind alertmanager");
        return Problem::not_found(detail).into_response();
    };
    if let Err(problem) = site.gate.admit(&name, client) {
        return problem.into_response();
    }
    if source.admits(&head) != Admission::Yes {
        return site
            .gate
            .wrong(&name, source.wrong(&head), client)
            .into_response();
    }
    take(&site, &name, &source, &head, body).await
}

async fn take(
    site: &Site,
    name: &str,
    source: &Source,
    head: &Parts,
    body: axum::body::Body,
) -> Response {
    if let Err(problem) = site.gate.takes(name, source.rate) {
        return problem.into_response();
    }
    if let Some(found) = other_media_type(&head.headers) {
        let message =
            format!("unsupported media type {found:?}, only [application/json] are allowed");
        return answer::coded(StatusCode::UNSUPPORTED_MEDIA_TYPE, 415, &message);
    }
    match take_or(site, name, source, body).await {
        Ok(answer) => answer,
        Err(problem) => problem.into_response(),
    }
}

async fn take_or(
    site: &Site,
    name: &str,
    source: &Source,
    body: axum::body::Body,
) -> Result<Response, Problem> {
    let max_body_bytes = site.live.load().max_body_bytes;
    let body = match body::read(body, max_body_bytes, &site.memory).await {
        Err(problem) if problem.code() == StatusCode::BAD_REQUEST => {
            return Ok(unread(&problem.reason()));
        }
        body => body?,
    };
    let now = site.clock.now();
    if body.bytes.is_empty() {
        let message = "alerts in body is required";
        return Ok(answer::coded(
            StatusCode::UNPROCESSABLE_ENTITY,
            REQUIRED,
            message,
        ));
    }
    let (name_of_form, form) = postable::FORM;
    let query = [(name_of_form.to_owned(), form.to_owned())];
    let post = Post {
        query: &query,
        ..Post::of(&body.bytes, now)
    };
    let postable = match postable::parse(&post) {
        Ok(postable) => postable,
        Err(unusable) => {
            let why = unusable.to_string();
            return match refuse(site, name, source.kind, &post, unusable).await {
                Err(problem) if problem.code() == StatusCode::BAD_REQUEST => Ok(unread(&why)),
                Err(problem) => Err(problem),
                Ok(_taken) => Ok(unread(&why)),
            };
        }
    };
    match record_parsed(site, name, source, source.kind, &post, postable.parsed).await {
        Ok(_taken) => Ok(said(&postable.faults)),
        Err(problem) if problem.code() == StatusCode::BAD_REQUEST => Ok(said(&postable.faults)),
        Err(problem) => Err(problem),
    }
}

/// What a validation says of a field that must be there.
const REQUIRED: u16 = 602;

/// Alerts that were sound are taken, whatever is said of the others.
fn said(faults: &[Fault]) -> Response {
    let missing = faults.iter().find_map(|fault| match fault {
        Fault::NoLabels(n) => Some(format!("{n}.labels in body is required")),
        Fault::Form(_) | Fault::Alert(_) => None,
    });
    if let Some(message) = missing {
        return answer::coded(StatusCode::UNPROCESSABLE_ENTITY, REQUIRED, &message);
    }
    let form = faults.iter().find_map(|fault| match fault {
        Fault::Form(why) => Some(why),
        Fault::NoLabels(_) | Fault::Alert(_) => None,
    });
    if let Some(why) = form {
        return unread(why);
    }
    let said = faults.iter().filter_map(|fault| match fault {
        Fault::Alert(why) => Some(why.as_str()),
        Fault::NoLabels(_) | Fault::Form(_) => None,
    });
    let said: Vec<&str> = said.collect();
    if said.is_empty() {
        return StatusCode::OK.into_response();
    }
    (StatusCode::BAD_REQUEST, Json(Value::from(said.join("\n")))).into_response()
}

fn unread(why: &str) -> Response {
    let message = format!("parsing alerts body from \"\" failed, because {why}");
    answer::coded(StatusCode::BAD_REQUEST, 400, &message)
}

/// The media type of a body that is not said to be JSON.
fn other_media_type(headers: &HeaderMap) -> Option<String> {
    let written = headers.get(CONTENT_TYPE).map(|value| value.to_str());
    let written = match written {
        Some(Ok(written)) => written,
        Some(Err(_)) | None => "application/octet-stream",
    };
    let essence = written.split(';').next().unwrap_or_default().trim();
    let is_json = essence.eq_ignore_ascii_case("application/json");
    (!is_json).then(|| essence.to_owned())
}

/// `GET /api/v2/status`, which amtool asks before everything else.
pub async fn status(State(site): State<Site>, actor: Actor) -> Result<Json<Value>, Problem> {
    actor.must_be(Role::Viewer)?;
    let since = site.live.load().loaded_at;
    Ok(Json(json!({
        "cluster": { "status": "disabled", "peers": [] },
        "config": { "original": ORIGINAL },
        "uptime": since.to_string(),
        "versionInfo": {
            "version": env!("CARGO_PKG_VERSION"),
            "branch": "",
            "revision": "",
            "buildDate": "",
            "buildUser": "",
            "goVersion": "",
        },
    })))
}
