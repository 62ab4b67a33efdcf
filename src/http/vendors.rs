//! The addresses of PagerDuty and Opsgenie: what can page them can page us unchanged, and is answered as they answer.

use crate::domain::source::Kind;
use crate::http::Site;
use crate::http::auth::{Source, parameters};
use crate::http::body;
use crate::http::gate::{Wrong, client};
use crate::http::hooks::{Taken, take, take_as};
use crate::http::openapi::problems::{NotText, TooLong};
use crate::http::openapi::words;
use crate::http::opsgenie;
use crate::http::params::Path;
use crate::http::problem::Problem;
use crate::ingest::{self, Post};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// An event as PagerDuty takes it; what it has besides its key, PagerDuty describes.
#[derive(Debug, ToSchema)]
pub struct PagerDutyEvent {
    /// The secret of a source.
    pub routing_key: String,
}

/// That an event was taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct Enqueued {
    status: &'static str,
    message: &'static str,
    #[schema(required = true)]
    dedup_key: Option<String>,
}

/// That a change was taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeEnqueued {
    status: &'static str,
    message: &'static str,
}

/// What is wrong with an event.
#[derive(Debug, Serialize, ToSchema)]
pub struct NotEnqueued {
    status: &'static str,
    message: &'static str,
    errors: [String; 1],
}

/// That a request was taken, and under which id.
#[derive(Debug, Serialize, ToSchema)]
pub struct Receipt {
    result: &'static str,
    took: f64,
    #[serde(rename = "requestId")]
    request: String,
}

impl Receipt {
    pub(super) fn new(result: &'static str, request: String) -> Self {
        Self {
            result,
            took: 0.0,
            request,
        }
    }
}

/// What is wrong, as Opsgenie says it.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpsgenieError {
    message: String,
    took: f64,
    #[serde(rename = "requestId")]
    request: String,
}

/// An alert by its identifier in a path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ByAlias {
    /// An id or an alias.
    pub alias: String,
}

/// Which of them an identifier is.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct IdentifierQuery {
    #[param(rename = "identifierType", value_type = Option<words::IdentifierType>, inline)]
    pub kind: Option<String>,
}

/// Takes an event as PagerDuty's Events API v2 does. The routing key in the body is the secret of a source.
#[utoipa::path(
    post,
    path = "/v2/enqueue",
    operation_id = "enqueueEvent",
    request_body = PagerDutyEvent,
    responses(
        (status = 202, description = "It is on disk", body = Enqueued),
        (status = 400, description = "What is wrong with it", body = NotEnqueued),
        (status = 401, description = "The key is none of ours", body = NotEnqueued),
        TooLong,
    )
)]
pub async fn enqueue(State(site): State<Site>, request: Request) -> Response {
    match enqueue_or(&site, request).await {
        Ok(taken) => {
            let key = taken
                .first
                .as_ref()
                .and_then(|labels| labels.get("alertname"));
            let said = Enqueued {
                status: "success",
                message: "Event processed",
                dedup_key: key.map(str::to_owned),
            };
            (StatusCode::ACCEPTED, Json(said)).into_response()
        }
        Err(problem) => refused(problem, StatusCode::BAD_REQUEST, pagerduty_error),
    }
}

fn pagerduty_error(problem: &Problem) -> NotEnqueued {
    NotEnqueued {
        status: "invalid event",
        message: "Event object is invalid",
        errors: [problem.reason()],
    }
}

async fn enqueue_or(site: &Site, request: Request) -> Result<Taken, Problem> {
    let (head, body) = request.into_parts();
    let (client, max_body_bytes) = {
        let live = site.live.load();
        (client(&head, &live.access.proxies), live.max_body_bytes)
    };
    let kind = Kind::Pagerduty.as_str();
    site.gate.admit(kind, client)?;
    let body = body::read(body, max_body_bytes, &site.memory).await?;
    let key = ingest::routing_key(&body.bytes)
        .map_err(|unusable| Problem::bad_request(unusable.reason).at(unusable.path))?;
    let found = site.live.load().access.source_of(Kind::Pagerduty, &key);
    let Some((name, source)) = found else {
        return Err(site.gate.wrong(kind, wrong(&key), client));
    };
    site.gate.takes(&name, source.rate)?;
    let post = Post::of(&body.bytes, site.clock.now());
    take(site, &name, &source, &post).await
}

/// What is wrong with a secret that is none of ours.
fn wrong(presented: &str) -> Wrong {
    match presented {
        "" => Wrong::Missing,
        _other => Wrong::Unknown,
    }
}

/// Takes a change event as PagerDuty does. The routing key is the secret of a source of changes, or of one that pages.
#[utoipa::path(
    post,
    path = "/v2/change/enqueue",
    operation_id = "enqueueChange",
    request_body = PagerDutyEvent,
    responses(
        (status = 202, description = "It is on disk", body = ChangeEnqueued),
        (status = 400, description = "What is wrong with it", body = NotEnqueued),
        (status = 401, description = "The key is none of ours", body = NotEnqueued),
        TooLong,
    )
)]
pub async fn enqueue_change(State(site): State<Site>, request: Request) -> Response {
    match enqueue_change_or(&site, request).await {
        Ok(_taken) => {
            let said = ChangeEnqueued {
                status: "success",
                message: "Change event processed",
            };
            (StatusCode::ACCEPTED, Json(said)).into_response()
        }
        Err(problem) => refused(problem, StatusCode::BAD_REQUEST, pagerduty_error),
    }
}

async fn enqueue_change_or(site: &Site, request: Request) -> Result<Taken, Problem> {
    let (head, body) = request.into_parts();
    let query = parameters(&head.uri);
    let (client, max_body_bytes) = {
        let live = site.live.load();
        (client(&head, &live.access.proxies), live.max_body_bytes)
    };
    let kind = Kind::Change.as_str();
    site.gate.admit(kind, client)?;
    let body = body::read(body, max_body_bytes, &site.memory).await?;
    let key = ingest::routing_key(&body.bytes)
        .map_err(|unusable| Problem::bad_request(unusable.reason).at(unusable.path))?;
    let found = {
        let live = site.live.load();
        // Both are asked, so that the time says nothing about which one it was.
        let of = |kind| live.access.source_of(kind, &key);
        let (of_changes, of_pages) = (of(Kind::Change), of(Kind::Pagerduty));
        of_changes.or(of_pages)
    };
    let Some((name, source)) = found else {
        return Err(site.gate.wrong(kind, wrong(&key), client));
    };
    site.gate.takes(&name, source.rate)?;
    let post = Post {
        query: &query,
        ..Post::of(&body.bytes, site.clock.now())
    };
    take_as(site, &name, &source, Kind::Change, &post).await
}

/// Takes an alert as Opsgenie does.
#[utoipa::path(
    post,
    path = "/v2/alerts",
    operation_id = "createAlert",
    security(("genie" = [])),
    request_body(content = Object, description = "As Opsgenie describes it"),
    responses(
        (status = 202, description = "It is on disk", body = Receipt),
        (status = 401, description = "The key is none of ours", body = OpsgenieError),
        (status = 422, description = "What is wrong with it", body = OpsgenieError),
        TooLong,
    )
)]
pub async fn create(State(site): State<Site>, request: Request) -> Response {
    answered(act(&site, "create", None, request).await)
}

/// What is done to an alert that was created.
///
/// What is said of it beside (its message, notes, tags) came with the alert itself and comes again with it: it is answered, and changes
/// nothing. What cannot be done here is refused, and says why.
#[utoipa::path(
    method(post, put),
    path = "/v2/alerts/{alias}/{action}",
    operation_id = "changeAlert",
    security(("genie" = [])),
    params(
        ByAlias,
        ("action" = String, Path, description = "`close`, `acknowledge`, `unacknowledge`, `escalate`, `priority`; what is said besides is answered and changes nothing"),
        IdentifierQuery,
    ),
    request_body(content = Option<Object>, description = "As Opsgenie describes it"),
    responses(
        (status = 202, description = "It is done", body = Receipt),
        (
            status = 404,
            description = "There is no such alert, or no such action",
            content((OpsgenieError = "application/json"), (crate::http::problem::Document = "application/problem+json"))
        ),
        NotText,
        (status = 401, description = "The key is none of ours", body = OpsgenieError),
        (status = 422, description = "What is wrong with it", body = OpsgenieError),
        TooLong,
    )
)]
pub async fn change(
    State(site): State<Site>,
    Path((identifier, action)): Path<(String, String)>,
    request: Request,
) -> Response {
    answered(match action.as_str() {
        "close" | "acknowledge" => act(&site, &action, Some(identifier), request).await,
        "unacknowledge" | "escalate" | "priority" => {
            opsgenie::wish(&site, &action, &identifier, request).await
        }
        "message" | "description" | "notes" | "tags" | "details" => {
            opsgenie::says(&site, &action, &identifier, request).await
        }
        other => match opsgenie::why_not(other) {
            Some(why) => opsgenie::refuses(&site, why, request).await,
            None => return Problem::not_found("there is nothing at this path").into_response(),
        },
    })
}

/// Closes an alert: what happened stays on record.
#[utoipa::path(
    delete,
    path = "/v2/alerts/{alias}",
    operation_id = "closeAlert",
    security(("genie" = [])),
    params(ByAlias, IdentifierQuery),
    responses(
        (status = 202, description = "It is closed", body = Receipt),
        NotText,
        (status = 401, description = "The key is none of ours", body = OpsgenieError),
        (status = 422, description = "What is wrong with it", body = OpsgenieError),
        TooLong,
    )
)]
pub async fn delete(
    State(site): State<Site>,
    Path(identifier): Path<String>,
    request: Request,
) -> Response {
    answered(act(&site, "close", Some(identifier), request).await)
}

/// Does what is asked of an alert, and answers under which id that was.
async fn act(
    site: &Site,
    action: &str,
    identifier: Option<String>,
    request: Request,
) -> Result<String, Problem> {
    let (head, body) = request.into_parts();
    let (name, source) = opsgenie_source(site, &head)?;
    let alias = match identifier {
        Some(identifier) => Some(opsgenie::alias(site, identifier, &head).await?),
        None => None,
    };
    let max_body_bytes = site.live.load().max_body_bytes;
    let body = body::read(body, max_body_bytes, &site.memory).await?;
    let mut query = vec![("action".to_owned(), action.to_owned())];
    query.extend(
        alias
            .iter()
            .map(|alias| ("alias".to_owned(), alias.clone())),
    );
    let post = Post {
        body: match body.bytes.is_empty() && action != "create" {
            true => b"{}",
            false => &body.bytes,
        },
        headers: &[],
        query: &query,
        now: site.clock.now(),
        mapping: None,
    };
    let taken = take(site, &name, &source, &post).await?;
    let labels = alias.map(|alias| ingest::opsgenie_identity(&alias));
    let labels = labels.or(taken.first).unwrap_or_default();
    Ok(opsgenie::receipt(site, action, &labels, post.now))
}

/// The source that speaks here, no more often than it may.
pub(super) fn opsgenie_source(site: &Site, head: &Parts) -> Result<(String, Arc<Source>), Problem> {
    let kind = Kind::Opsgenie;
    let live = site.live.load();
    let client = client(head, &live.access.proxies);
    site.gate.admit(kind.as_str(), client)?;
    let key = genie_key(&head.headers).unwrap_or_default();
    let Some((name, source)) = live.access.source_of(kind, key) else {
        return Err(site.gate.wrong(kind.as_str(), wrong(key), client));
    };
    site.gate.takes(&name, source.rate)?;
    Ok((name, source))
}

pub(super) fn genie_key(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("geniekey")
        .then_some(key.trim())
}

fn answered(done: Result<String, Problem>) -> Response {
    match done {
        // All of it is done by then; that it would be done is what Opsgenie says.
        Ok(request) => {
            let said = Receipt::new("Request will be processed", request);
            (StatusCode::ACCEPTED, Json(said)).into_response()
        }
        Err(problem) => opsgenie_refused(problem),
    }
}

pub(super) fn opsgenie_refused(problem: Problem) -> Response {
    refused(problem, StatusCode::UNPROCESSABLE_ENTITY, |problem| {
        opsgenie_error(&problem.reason())
    })
}

/// As Opsgenie says what is wrong.
pub(super) fn opsgenie_error(reason: &str) -> OpsgenieError {
    OpsgenieError {
        message: reason.to_owned(),
        took: 0.0,
        request: Uuid::new_v4().to_string(),
    }
}

/// What the sender did wrong is said as its vendor says it; that it may try again is said as everywhere.
pub(super) fn refused<E: Serialize>(
    problem: Problem,
    unusable: StatusCode,
    says: impl FnOnce(&Problem) -> E,
) -> Response {
    let code = match problem.code() {
        StatusCode::BAD_REQUEST => unusable,
        of_the_vendor @ (StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND) => of_the_vendor,
        StatusCode::UNPROCESSABLE_ENTITY => unusable,
        _ours => return problem.into_response(),
    };
    (code, Json(says(&problem))).into_response()
}
