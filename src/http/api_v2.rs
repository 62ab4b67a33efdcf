//! What Prometheus and amtool ask of an Alertmanager: alerts are posted as they are posted there, and answered as they are answered there.

pub mod alerts;
pub mod answer;
pub mod silences;

use crate::domain::alert::Labels;
use crate::domain::source::Kind;
use crate::http::Site;
use crate::http::auth::{Actor, Admission, Role, Source};
use crate::http::body;
use crate::http::gate::{Wrong, client};
use crate::http::health;
use crate::http::hooks::{record_parsed, refuse};
use crate::http::openapi::problems::{SourceMissing, SourceProblems};
use crate::http::openapi::words;
use crate::http::params::{BySource, Path};
use crate::http::problem::{Document, Problem};
use crate::http::view::Instant;
use crate::ingest::Post;
use crate::ingest::postable::{self, Fault};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::openapi::{Array, Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::UtoipaMethodRouter;

/// What is shown as the configuration: the one receiver that there is.
const ORIGINAL: &str = "route:\n  receiver: watchkeeper\n  group_by:\n  - alertname\nreceivers:\n- name: watchkeeper\n";

/// Other methods are refused in Alertmanager's words; it does not answer `HEAD` either.
pub(super) fn only(
    (schemas, paths, routes): UtoipaMethodRouter<Site>,
    allowed: &'static str,
) -> UtoipaMethodRouter<Site> {
    let refuse = move |method: Method| async move { answer::not_allowed(&method, allowed) };
    (schemas, paths, routes.head(refuse).fallback(refuse))
}

/// `GET /-/healthy`.
#[utoipa::path(
    get,
    path = "/-/healthy",
    operation_id = "isHealthy",
    responses((status = 200, description = "It answers", body = String, content_type = "text/plain"))
)]
pub async fn healthy() -> &'static str {
    "OK"
}

/// `GET /-/ready`: as `/readyz` says.
#[utoipa::path(
    get,
    path = "/-/ready",
    operation_id = "isReady",
    responses((status = 200, description = "It is ready", body = String, content_type = "text/plain"),
        (status = 503, description = "It is not", body = String, content_type = "text/plain"))
)]
pub async fn ready(State(site): State<Site>) -> Response {
    match health::is_ready(&site) {
        true => "OK".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable").into_response(),
    }
}

/// Takes alerts as Prometheus posts them. The source is told by the credentials that the request shows: one of kind `alertmanager`.
#[utoipa::path(
    post,
    path = "/alerts",
    operation_id = "postAlerts",
    security(("source" = []), ("basic" = [])),
    request_body(content = PostableAlerts, description = "Those that are sound are taken, whatever is said of the others"),
    responses(
        (status = 200, description = "They are on disk"),
        (status = 400, description = "What is wrong, in words", body = answer::Said),
        (
            status = 415,
            description = "It is not said to be JSON, or is packed in a way that is not read",
            content((answer::Coded = "application/json"), (Document = "application/problem+json"))
        ),
        (status = 422, description = "Something is missing", body = answer::Coded),
        SourceProblems,
    )
)]
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

/// The same for a Prometheus with `path_prefix: /hooks/{source}`.
#[utoipa::path(
    post,
    path = "/hooks/{source}/api/v2/alerts",
    operation_id = "postAlertsOfSource",
    security(("source" = []), ("basic" = [])),
    params(BySource),
    request_body = PostableAlerts,
    responses(
        (status = 200, description = "They are on disk"),
        (status = 400, description = "What is wrong, in words", body = answer::Said),
        (
            status = 415,
            description = "It is not said to be JSON, or is packed in a way that is not read",
            content((answer::Coded = "application/json"), (Document = "application/problem+json"))
        ),
        (status = 422, description = "Something is missing", body = answer::Coded),
        SourceMissing,
    )
)]
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

/// An alert as it is posted.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct PostableAlert {
    /// Its identity.
    #[schema(value_type = words::Labels)]
    pub labels: Labels,
    #[schema(value_type = words::Labels, required = false)]
    pub annotations: Labels,
    #[schema(value_type = words::Instant, required = false)]
    pub starts_at: Instant,
    /// Resolved, where it has passed.
    #[schema(value_type = words::Instant, required = false)]
    pub ends_at: Instant,
    #[schema(rename = "generatorURL", required = false)]
    pub generator_url: String,
}

/// Alerts as they are posted; null is none.
#[derive(Debug)]
pub struct PostableAlerts;

impl PartialSchema for PostableAlerts {
    fn schema() -> RefOr<Schema> {
        Array::new_nullable(Ref::from_schema_name(PostableAlert::name())).into()
    }
}

impl ToSchema for PostableAlerts {
    fn schemas(all: &mut Vec<(String, RefOr<Schema>)>) {
        all.push((PostableAlert::name().into(), PostableAlert::schema()));
        PostableAlert::schemas(all);
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

/// How an Alertmanager stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AlertmanagerStatus)]
pub struct Status {
    cluster: Cluster,
    config: Config,
    /// Since when this configuration is live.
    #[schema(value_type = words::Instant)]
    uptime: Instant,
    #[serde(rename = "versionInfo")]
    version: Version,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AlertmanagerCluster)]
struct Cluster {
    #[schema(value_type = words::ClusterStatus)]
    status: &'static str,
    peers: Vec<String>,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AlertmanagerConfig)]
struct Config {
    original: &'static str,
}

#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AlertmanagerVersion)]
struct Version {
    version: &'static str,
    branch: &'static str,
    revision: &'static str,
    build_date: &'static str,
    build_user: &'static str,
    go_version: &'static str,
}

/// How it stands, which amtool asks before everything else.
#[utoipa::path(
    get,
    path = "/status",
    operation_id = "getStatus",
    security(("bearer" = ["viewer"])),
    responses((status = 200, description = "The status", body = Status))
)]
pub async fn status(State(site): State<Site>, actor: Actor) -> Result<Json<Status>, Problem> {
    actor.must_be(Role::Viewer)?;
    let since = site.live.load().loaded_at;
    Ok(Json(Status {
        cluster: Cluster {
            status: "disabled",
            peers: Vec::new(),
        },
        config: Config { original: ORIGINAL },
        uptime: since.into(),
        version: Version {
            version: env!("CARGO_PKG_VERSION"),
            ..Version::default()
        },
    }))
}
