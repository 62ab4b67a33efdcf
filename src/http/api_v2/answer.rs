//! What an Alertmanager answers where nothing else is to be said: what is not there, not allowed, or not what was asked for.

use crate::domain::matcher::Matcher;
use crate::http::Site;
use crate::http::auth::{Actor, Role, parameters};
use crate::http::problem::Problem;
use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT, ALLOW};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// An answer that is no answer to what was asked.
#[derive(Debug)]
pub(super) struct Refused(Box<Response>);

impl From<Response> for Refused {
    fn from(response: Response) -> Self {
        Self(Box::new(response))
    }
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        problem.into_response().into()
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        *self.0
    }
}

/// Who asks, and for what. It is answered in JSON, or not at all.
#[derive(Debug)]
pub struct Asked {
    pub(super) actor: Actor,
    parameters: Vec<(String, String)>,
}

impl FromRequestParts<Site> for Asked {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Response> {
        let actor = Actor::from_request_parts(parts, site).await;
        let actor = actor.map_err(IntoResponse::into_response)?;
        let may_read = actor.must_be(Role::Viewer);
        may_read.map_err(IntoResponse::into_response)?;
        if !takes_json(&parts.headers) {
            let message = "unsupported media type requested, only [application/json] are available";
            return Err(coded(StatusCode::NOT_ACCEPTABLE, 406, message));
        }
        Ok(Self {
            actor,
            parameters: parameters(&parts.uri),
        })
    }
}

impl Asked {
    /// All values of a parameter, in order.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.parameters
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// What is said of something that is included unless it is said that it is not. What is no such word says so, too.
    pub(super) fn includes(&self, name: &str) -> bool {
        const YES: [&str; 10] = [
            "true", "1", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled",
        ];
        match self.all(name).last() {
            None | Some("") => true,
            Some(word) => YES.contains(&word.to_ascii_lowercase().as_str()),
        }
    }

    /// The matchers of a parameter that may come again; what is wrong with the first that is none.
    pub(super) fn matchers(&self, name: &str) -> Result<Vec<Matcher>, Refused> {
        let read = self.all(name).map(|text| match text {
            // Braces are of lists, and this is no list.
            _ if text.starts_with('{') || text.ends_with('}') => {
                Err(format!("bad matcher format: {text}"))
            }
            _ => Matcher::parse(text).map_err(|error| error.to_string()),
        });
        let read: Result<Vec<Matcher>, String> = read.collect();
        read.map_err(|why| told(StatusCode::BAD_REQUEST, &why).into())
    }
}

/// `*/*` and `application/*` take it, too.
fn takes_json(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter().peekable();
    if accepted.peek().is_none() {
        return true;
    }
    let ranges = accepted.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    let mut essences = ranges.map(|range| range.split(';').next().unwrap_or_default().trim());
    essences.any(|essence| {
        let essence = essence.to_ascii_lowercase();
        ["application/json", "application/*", "*/*"].contains(&essence.as_str())
    })
}

/// `GET /api/v2/nope`.
pub async fn not_found(below: Uri) -> Response {
    let message = format!("path /api/v2{} was not found", below.path());
    coded(StatusCode::NOT_FOUND, 404, &message)
}

pub(super) fn not_allowed(method: &Method, allowed: &'static str) -> Response {
    let message = format!("method {method} is not allowed, but {allowed} are");
    let mut refused = coded(StatusCode::METHOD_NOT_ALLOWED, 405, &message);
    let names = allowed.trim_matches(['[', ']']);
    if let Ok(names) = names.parse() {
        refused.headers_mut().insert(ALLOW, names);
    }
    refused
}

/// What checks requests says of one that is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub struct Coded {
    code: u16,
    message: String,
}

/// What is wrong: by number and word where requests are checked, in words alone where they are done.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Said {
    Coded(Coded),
    Told(String),
}

/// An error of what checks requests.
pub(super) fn coded(status: StatusCode, code: u16, message: &str) -> Response {
    let message = message.to_owned();
    (status, Json(Said::Coded(Coded { code, message }))).into_response()
}

/// An error of what does what they ask.
pub(super) fn told(status: StatusCode, why: &str) -> Response {
    (status, Json(Said::Told(why.to_owned()))).into_response()
}
