//! What stands in a path or a query. What is wrong there is a problem document, like everything else.

use crate::http::problem::Problem;
use axum::extract::FromRequestParts;
use axum::extract::rejection::{PathRejection, QueryRejection};
use utoipa::IntoParams;

/// The parts of a path.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(Problem))]
pub struct Path<T>(pub T);

/// The query.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(Problem))]
pub struct Query<T>(pub T);

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), rejection.body_text())
    }
}

/// An incident in a path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ByNumber {
    /// Of the incident.
    #[param(maximum = 9_007_199_254_740_991_u64)]
    pub number: u64,
}

/// An alert in a path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ByFingerprint {
    #[param(pattern = "^[0-9a-fA-F]{16}$")]
    pub fingerprint: String,
}

/// Something by its name in a path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ByName {
    pub name: String,
}

/// Something by its id in a path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ById {
    pub id: String,
}

/// Something by the number that is its id in a path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct ByIdNumber {
    #[param(maximum = 9_007_199_254_740_991_u64)]
    pub id: u64,
}

/// A source in a path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct BySource {
    /// One that is configured.
    pub source: String,
}
