//! Errors as answers: RFC 9457 problem documents. The person gets the message, the log gets the chain.

use crate::domain::incident::Refusal;
use crate::domain::phase::Output;
use crate::http::openapi::words;
use crate::store::commands::Refused;
use crate::store::error::chain;
use crate::store::letters::Unreplayed;
use crate::store::silences::Unset;
use crate::store::wish::Unmet;
use crate::store::{Error, Failure};
use axum::Json;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// Seconds after which a sender may try again.
pub(super) const RETRY_AFTER_SECONDS: &str = "5";

/// Why a request was not done.
#[derive(Debug)]
pub struct Problem(Box<Document>);

/// A problem document (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Document {
    #[serde(skip)]
    code: StatusCode,
    /// Seconds after which it may be tried again.
    #[serde(skip)]
    retry_after: Option<u64>,
    #[serde(rename = "type")]
    kind: &'static str,
    title: String,
    status: u16,
    detail: String,
    /// How credentials are to be shown, where they are missing.
    #[serde(skip)]
    challenge: &'static str,
    /// The methods that are taken, where this one is not.
    #[serde(skip)]
    allowed: Option<&'static str>,
    /// Where in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    path: Option<String>,
    /// Outputs that are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<words::Output>>, nullable = false)]
    missing: Option<Vec<Output>>,
    /// Everything that is wrong, where that is a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    errors: Option<Vec<String>>,
}

impl Problem {
    pub fn new(code: StatusCode, detail: impl Into<String>) -> Self {
        Self(Box::new(Document {
            code,
            retry_after: None,
            kind: "about:blank",
            title: code.canonical_reason().unwrap_or("Error").to_owned(),
            status: code.as_u16(),
            detail: detail.into(),
            challenge: "Bearer",
            allowed: None,
            path: None,
            missing: None,
            errors: None,
        }))
    }

    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub fn code(&self) -> StatusCode {
        self.0.code
    }

    /// What is wrong, and where in the body.
    pub fn reason(&self) -> String {
        match &self.0.path {
            Some(path) => format!("{path}: {}", self.0.detail),
            None => self.0.detail.clone(),
        }
    }

    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.0.path = Some(path.into());
        self
    }

    /// That this method is not taken, and which are.
    pub(super) fn not_allowed(allowed: &'static str) -> Self {
        let detail = "this path does not take this method";
        let mut problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, detail);
        problem.0.allowed = Some(allowed);
        problem
    }

    /// Asks for user and password: some senders show them only then.
    pub(super) fn asking_for_a_password(mut self) -> Self {
        self.0.challenge = "Basic realm=\"watchkeeper\"";
        self
    }

    pub fn with_errors(mut self, errors: Vec<String>) -> Self {
        self.0.errors = Some(errors);
        self
    }

    /// Of one that is 503: after how many seconds it may be tried again.
    pub(super) fn with_retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    fn failing() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the store is failing; nothing was taken",
        )
    }

    fn with_missing(mut self, missing: Vec<Output>) -> Self {
        self.0.missing = Some(missing);
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (code, challenge, allowed) = (self.0.code, self.0.challenge, self.0.allowed);
        let mut response = (code, Json(&self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if code == StatusCode::SERVICE_UNAVAILABLE {
            let after = match self.0.retry_after {
                Some(seconds) => HeaderValue::from(seconds),
                None => HeaderValue::from_static(RETRY_AFTER_SECONDS),
            };
            headers.insert(RETRY_AFTER, after);
        }
        if let Some(allowed) = allowed {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        if code == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

/// One match for what the store may say: overload and failure are 503, never 429, which some senders do not repeat.
impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        match error {
            Error::Busy
            | Error::Full
            | Error::Closed
            | Error::Unreachable { .. }
            | Error::Slow { .. }
            | Error::Uncertain { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
            }
            Error::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()),
            Error::Panicked { .. } => {
                tracing::error!(
                    error = chain(error),
                    "a transaction panicked; nothing of it was kept"
                );
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "this could not be decided; nothing was changed",
                )
            }
            // Why, was logged when it came to that, and the program ends.
            Error::Poisoned { .. } => Self::failing(),
            Error::Io { .. }
            | Error::Corrupt { .. }
            | Error::Locked { .. }
            | Error::NewerSchema { .. }
            | Error::Database { .. }
            | Error::NewerTables { .. }
            | Error::Missing { .. }
            | Error::NotEmpty { .. } => {
                tracing::error!(error = chain(error), "the store failed");
                Self::failing()
            }
        }
    }
}

impl From<Failure<Refused>> for Problem {
    fn from(failure: Failure<Refused>) -> Self {
        match failure {
            Failure::Store(error) => Self::from(&*error),
            Failure::Refused(refused) => Self::from(refused),
        }
    }
}

impl From<Failure<std::convert::Infallible>> for Problem {
    fn from(failure: Failure<std::convert::Infallible>) -> Self {
        match failure {
            Failure::Store(error) => Self::from(&*error),
            Failure::Refused(never) => match never {},
        }
    }
}

impl From<Failure<Unmet>> for Problem {
    fn from(failure: Failure<Unmet>) -> Self {
        let why = match failure {
            Failure::Store(error) => return Self::from(&*error),
            Failure::Refused(why) => why,
        };
        let code = match why {
            Unmet::NoSuchAlert => StatusCode::NOT_FOUND,
            Unmet::Resolved | Unmet::NoIncident | Unmet::Refused(_) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
        };
        Self::new(code, why.to_string())
    }
}

impl From<Failure<Unset>> for Problem {
    fn from(failure: Failure<Unset>) -> Self {
        let why = match failure {
            Failure::Store(error) => return Self::from(&*error),
            Failure::Refused(why) => why,
        };
        let detail = why.to_string();
        match why {
            Unset::NoSuchSilence(_) => Self::not_found(detail),
            Unset::Unfit(_) => Self::bad_request(detail).at("$.ends_at"),
            Unset::TooMany => Self::new(StatusCode::CONFLICT, detail),
        }
    }
}

impl From<Failure<Unreplayed>> for Problem {
    fn from(failure: Failure<Unreplayed>) -> Self {
        match failure {
            Failure::Store(error) => Self::from(&*error),
            Failure::Refused(why) => Self::from(why),
        }
    }
}

impl From<Unreplayed> for Problem {
    fn from(why: Unreplayed) -> Self {
        let code = match why {
            Unreplayed::NoSuchLetter(_) => StatusCode::NOT_FOUND,
            Unreplayed::Already { .. } | Unreplayed::NoBody { .. } => StatusCode::CONFLICT,
        };
        Self::new(code, why.to_string())
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let detail = refused.to_string();
        match refused {
            Refused::NoSuchIncident(_) | Refused::NoSuchAlert(_) => Self::not_found(detail),
            Refused::Incident(refusal) => match refusal {
                Refusal::OutputsMissing { missing, .. } => {
                    Self::new(StatusCode::CONFLICT, detail).with_missing(missing)
                }
                Refusal::Closed { .. }
                | Refusal::NotClosed { .. }
                | Refusal::KeyTaken { .. }
                | Refusal::Clear { .. }
                | Refusal::Muted { .. }
                | Refusal::NoNextPhase
                | Refusal::NotWaivable { .. }
                | Refusal::ReachesNobody { .. } => Self::new(StatusCode::CONFLICT, detail),
                Refusal::NoSuchAction { .. } | Refusal::NoSuchAlert { .. } => {
                    Self::not_found(detail)
                }
                Refusal::NotAStatement { .. }
                | Refusal::NotInList { .. }
                | Refusal::NotAnAnswer { .. }
                | Refusal::ActionIncomplete { .. } => Self::bad_request(detail),
            },
        }
    }
}
