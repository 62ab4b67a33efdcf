//! The addresses of PagerDuty and Opsgenie: what can page them can page us unchanged, and is answered as they answer.

use crate::domain::source::Kind;
use crate::http::Site;
use crate::http::body;
use crate::http::hooks::{Taken, take, unauthorized};
use crate::http::params::Path;
use crate::http::problem::Problem;
use crate::ingest::{self, Post};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use uuid::Uuid;

/// `POST /v2/enqueue`: the routing key in the body is the secret of a source.
pub async fn enqueue(State(site): State<Site>, request: Request) -> Response {
    match enqueue_or(&site, request).await {
        Ok(taken) => {
            let key = taken
                .first
                .as_ref()
                .and_then(|labels| labels.get("alertname"));
            let said =
                json!({ "status": "success", "message": "Event processed", "dedup_key": key });
            (StatusCode::ACCEPTED, Json(said)).into_response()
        }
        Err(problem) => refused(problem, StatusCode::BAD_REQUEST, |problem| {
            json!({
                "status": "invalid event",
                "message": "Event object is invalid",
                "errors": [problem.reason()],
            })
        }),
    }
}

async fn enqueue_or(site: &Site, request: Request) -> Result<Taken, Problem> {
    let max_body_bytes = site.live.load().max_body_bytes;
    let body = body::read(request.into_body(), max_body_bytes, &site.memory).await?;
    let key = ingest::routing_key(&body.bytes)
        .map_err(|unusable| Problem::bad_request(unusable.reason).at(unusable.path))?;
    let found = site.live.load().access.source_of(Kind::Pagerduty, &key);
    let (name, source) = found.ok_or_else(|| unauthorized("pagerduty"))?;
    let post = Post::of(&body.bytes, site.clock.now());
    take(site, &name, &source, &post).await
}

/// `POST /v2/alerts`.
pub async fn create(State(site): State<Site>, request: Request) -> Response {
    answered(act(&site, "create", None, request).await)
}

/// What is done to an alert that was created. What is said of it beside (its message, notes, tags) came with the alert itself and comes again
/// with it: it is answered, and changes nothing.
pub async fn change(
    State(site): State<Site>,
    Path((alias, action)): Path<(String, String)>,
    request: Request,
) -> Response {
    let action = match action.as_str() {
        "close" => "close",
        "acknowledge" => "acknowledge",
        "message" | "description" | "notes" | "tags" | "details" => {
            return said_only(&site, &request);
        }
        _other => {
            return Problem::not_found("there is nothing at this path").into_response();
        }
    };
    answered(act(&site, action, Some(alias), request).await)
}

/// `DELETE /v2/alerts/{alias}` closes it: what happened stays on record.
pub async fn delete(
    State(site): State<Site>,
    Path(alias): Path<String>,
    request: Request,
) -> Response {
    answered(act(&site, "close", Some(alias), request).await)
}

fn said_only(site: &Site, request: &Request) -> Response {
    let key = genie_key(request.headers()).unwrap_or_default();
    match site.live.load().access.source_of(Kind::Opsgenie, key) {
        Some(_source) => processed(),
        None => refused(
            unauthorized("opsgenie"),
            StatusCode::UNPROCESSABLE_ENTITY,
            opsgenie_error,
        ),
    }
}

async fn act(
    site: &Site,
    action: &str,
    alias: Option<String>,
    request: Request,
) -> Result<Taken, Problem> {
    let key = genie_key(request.headers()).unwrap_or_default();
    let live = site.live.load();
    let found = live.access.source_of(Kind::Opsgenie, key);
    let max_body_bytes = live.max_body_bytes;
    drop(live);
    let (name, source) = found.ok_or_else(|| unauthorized("opsgenie"))?;
    let body = body::read(request.into_body(), max_body_bytes, &site.memory).await?;
    let mut query = vec![("action".to_owned(), action.to_owned())];
    query.extend(alias.map(|alias| ("alias".to_owned(), alias)));
    let post = Post {
        body: match body.bytes.is_empty() && action != "create" {
            true => b"{}",
            false => &body.bytes,
        },
        headers: &[],
        query: &query,
        now: site.clock.now(),
    };
    take(site, &name, &source, &post).await
}

pub(super) fn genie_key(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("geniekey")
        .then_some(key.trim())
}

fn answered(taken: Result<Taken, Problem>) -> Response {
    match taken {
        Ok(_taken) => processed(),
        Err(problem) => refused(problem, StatusCode::UNPROCESSABLE_ENTITY, opsgenie_error),
    }
}

/// All of it is done by then; that it would be done is what Opsgenie says.
fn processed() -> Response {
    let said = json!({
        "result": "Request will be processed",
        "took": 0.0,
        "requestId": Uuid::new_v4().to_string(),
    });
    (StatusCode::ACCEPTED, Json(said)).into_response()
}

pub(super) fn opsgenie_error(problem: &Problem) -> Value {
    let request = Uuid::new_v4().to_string();
    json!({ "message": problem.reason(), "took": 0.0, "requestId": request })
}

/// What the sender did wrong is said as its vendor says it; that it may try again is said as everywhere.
pub(super) fn refused(
    problem: Problem,
    unusable: StatusCode,
    says: impl FnOnce(&Problem) -> Value,
) -> Response {
    let code = match problem.code() {
        StatusCode::BAD_REQUEST => unusable,
        StatusCode::UNAUTHORIZED => StatusCode::UNAUTHORIZED,
        _ours => return problem.into_response(),
    };
    (code, Json(says(&problem))).into_response()
}
