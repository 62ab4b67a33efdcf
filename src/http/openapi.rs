//! The description of the API, made from the code, once.
//!
//! It is `OpenAPI` 3.1. The paths stand beside the handlers, the schemas are those of what is read and answered, and what every
//! operation has in common is added here.

pub mod asked;
pub mod page;
pub mod problems;
pub mod words;

use crate::http::auth::Actor;
use crate::http::openapi::problems::{EVERYWHERE, named};
use crate::http::{Site, problem, surface};
use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::LazyLock;
use utoipa::PartialSchema;
use utoipa::openapi::{Info, OpenApi};

/// The name of the one way to show who asks.
const BEARER: &str = "bearer";

/// The routes and what is said of them.
pub(super) struct Surface {
    pub(super) routes: Router<Site>,
    document: Bytes,
    page: Bytes,
}

pub(super) static SURFACE: LazyLock<Surface> = LazyLock::new(|| {
    let (routes, described) = surface();
    let document = whole(&described);
    Surface {
        routes,
        page: Bytes::from(page::rendered(&document).into_string()),
        document: Bytes::from(document.to_string()),
    }
});

/// The description as it is answered.
pub fn text() -> Bytes {
    SURFACE.document.clone()
}

/// What the description begins with.
pub(super) fn head() -> OpenApi {
    let mut info = Info::new("Watchkeeper", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.to_owned());
    OpenApi::new(info, utoipa::openapi::Paths::new())
}

const ABOUT: &str = "Takes an incident from the first alert to a verified close.\n\n\
    Requests show a bearer token, whose role is one of viewer, responder and admin; where no token is configured, everything is open, on \
    loopback. Errors are problem documents (RFC 9457); below `/api/v2` also what an Alertmanager says. Bodies of commands are JSON of at \
    most 256 KiB, whatever type they are said to be; a field that is not known is refused. A command that comes again under the same `Idempotency-Key` \
    is answered as the first was, and done once. Who acts is the holder of the token; `by` names somebody else, which an admin may.";

/// This description.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "getDescription",
    security(("bearer" = ["viewer"])),
    responses((status = 200, description = "This description", body = Object))
)]
pub async fn document(_actor: Actor) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(CONTENT_TYPE, kind)], text()).into_response()
}

/// This description, as a page to read.
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "readDescription",
    security(("bearer" = ["viewer"])),
    responses((status = 200, description = "This description, as a page to read", body = String, content_type = "text/html"))
)]
pub async fn docs(_actor: Actor) -> Response {
    page::shown(SURFACE.page.clone())
}

/// Parts of the API: their names, what they are about, and how their paths begin.
const PARTS: [(&str, &str, &[&str]); 12] = [
    (
        "Incidents",
        "What is led from the first alert to a verified close",
        &["/api/v1/incidents", "/api/v1/actions"],
    ),
    (
        "Alerts",
        "What fires, and what no longer does",
        &["/api/v1/alerts"],
    ),
    (
        "Silences",
        "What people mute for a time",
        &["/api/v1/silences"],
    ),
    (
        "Rules",
        "What becomes of an alert, and why",
        &["/api/v1/rules"],
    ),
    (
        "On call",
        "Who is paged, and when",
        &["/api/v1/oncall", "/api/v1/schedules"],
    ),
    (
        "Changes",
        "What may have been the cause",
        &["/api/v1/changes"],
    ),
    (
        "Heartbeats",
        "Jobs that must be heard of",
        &["/api/v1/heartbeats", "/ping"],
    ),
    (
        "Intake",
        "What was received",
        &["/api/v1/dead-letters", "/api/v1/sources", "/hooks"],
    ),
    (
        "Alertmanager",
        "What Prometheus, amtool and karma ask of an Alertmanager (API v2)",
        &["/api/v2", "/-/"],
    ),
    (
        "PagerDuty and Opsgenie",
        "What can page them can page us",
        &["/v2"],
    ),
    (
        "Operation",
        "How the process is doing",
        &[
            "/api/v1/reload",
            "/api/v1/backup",
            "/healthz",
            "/readyz",
            "/metrics",
        ],
    ),
    (
        "Description",
        "This description",
        &["/openapi.json", "/docs"],
    ),
];

/// The whole description.
fn whole(described: &OpenApi) -> Value {
    let mut document = serde_json::to_value(described).unwrap_or_default();
    let schemas = document.pointer("/components/schemas").cloned();
    let mut ids = BTreeSet::new();
    for (path, item) in members(document.pointer_mut("/paths")) {
        for (method, operation) in members(Some(item)) {
            if let Some(operation) = operation.as_object_mut() {
                complete(path, operation);
                may_be_empty(operation, schemas.as_ref());
                // What takes several methods is as many operations.
                let id = operation.get("operationId").and_then(Value::as_str);
                let id = id.unwrap_or_default().to_owned();
                if !ids.insert(id.clone()) {
                    let id = format!("{id}By{}", method.to_uppercase());
                    operation.insert("operationId".to_owned(), id.into());
                }
            }
        }
    }
    let parts = PARTS.map(|(name, about, _)| json!({ "name": name, "description": about }));
    put(&mut document, "", "tags", json!(parts));
    let problem = <problem::Document as PartialSchema>::schema();
    put(
        &mut document,
        "/components/schemas",
        "Problem",
        json!(problem),
    );
    put(
        &mut document,
        "/components",
        "responses",
        problems::responses(),
    );
    put(
        &mut document,
        "/components",
        "securitySchemes",
        security_schemes(),
    );
    document
}

fn members(object: Option<&mut Value>) -> impl Iterator<Item = (&String, &mut Value)> {
    object.and_then(Value::as_object_mut).into_iter().flatten()
}

fn put(document: &mut Value, pointer: &str, name: &str, value: Value) {
    if let Some(object) = document.pointer_mut(pointer).and_then(Value::as_object_mut) {
        object.insert(name.to_owned(), value);
    }
}

/// Adds what all operations have in common, and what follows from who may ask.
fn complete(path: &str, operation: &mut Map<String, Value>) {
    let role = operation.get("security");
    let role = role.and_then(|all| all.pointer(&format!("/0/{BEARER}/0"))?.as_str());
    let mut codes = EVERYWHERE.to_vec();
    codes.extend(match role {
        None => &[][..],
        // Every token has this role.
        Some("viewer") => &[401],
        Some(_more) => &[401, 403],
    });
    if operation.contains_key("requestBody") {
        codes.push(415);
    }
    let responses = operation.entry("responses").or_insert_with(|| json!({}));
    for (code, name) in codes.iter().filter_map(|code| Some((code, named(*code)?))) {
        let responses = responses.as_object_mut().into_iter();
        for responses in responses {
            let response = responses.entry(code.to_string());
            response.or_insert_with(|| json!({ "$ref": format!("#/components/responses/{name}") }));
        }
    }
    let part = PARTS
        .iter()
        .find(|(_, _, starts)| starts.iter().any(|start| path.starts_with(start)));
    if let Some((name, _, _)) = part {
        operation.insert("tags".to_owned(), json!([name]));
    }
    let parameters = operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        if let Some(schema) = parameter.get_mut("schema") {
            never_null(schema);
        }
    }
}

/// A body of which nothing must be there may be absent as a whole.
fn may_be_empty(operation: &mut Map<String, Value>, schemas: Option<&Value>) {
    let Some(body) = operation.get_mut("requestBody") else {
        return;
    };
    let of = body.pointer("/content/application~1json/schema/$ref");
    let name = of.and_then(|of| of.as_str()?.rsplit('/').next());
    let schema = name.and_then(|name| schemas?.get(name));
    let is_of_options = schema.is_some_and(|schema| {
        schema.get("properties").is_some() && schema.get("required").is_none()
    });
    if let Some(body) = body.as_object_mut().filter(|_| is_of_options) {
        body.insert("required".to_owned(), Value::Bool(false));
    }
}

/// What stands in an address is there or not, and never null.
fn never_null(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else {
        return;
    };
    if let Some(kinds) = schema.get_mut("type").and_then(Value::as_array_mut) {
        kinds.retain(|kind| kind != "null");
        if let [one] = kinds.as_slice() {
            let one = one.clone();
            schema.insert("type".to_owned(), one);
        }
    }
    if let Some(mut either) = schema.remove("oneOf") {
        if let Some(either) = either.as_array_mut() {
            either.retain(|kind| kind.get("type").is_none_or(|kind| kind != "null"));
        }
        match either.as_array().map(Vec::as_slice) {
            Some([Value::Object(one)]) => schema.extend(one.clone()),
            _several => drop(schema.insert("oneOf".to_owned(), either)),
        }
    }
}

fn security_schemes() -> Value {
    json!({
        BEARER: { "type": "http", "scheme": "bearer", "description": "The token of somebody; what it may do, its role says." },
        "source": { "type": "http", "scheme": "bearer", "description": "The secret of a source, where it is a bearer token." },
        "basic": { "type": "http", "scheme": "basic", "description": "User and password of a source." },
        "genie": { "type": "apiKey", "in": "header", "name": "Authorization", "description": "`GenieKey` and the secret of a source." },
    })
}
