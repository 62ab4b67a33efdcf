//! Confirming a subscription: some senders want an address fetched before they send anything.

use crate::domain::confirmation::{HostPattern, Unconfirmed};
use crate::http::problem::Problem;
use axum::http::StatusCode;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

/// A confirmation under way.
pub type Confirming = Pin<Box<dyn Future<Output = Result<(), Unconfirmed>> + Send>>;

type Confirm = dyn Fn(String, Vec<HostPattern>) -> Confirming + Send + Sync;

/// Fetches an address, if it is on one of these hosts; made by whoever may send requests.
#[derive(Clone)]
pub struct Confirmer(Arc<Confirm>);

impl Confirmer {
    pub fn new(
        confirm: impl Fn(String, Vec<HostPattern>) -> Confirming + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(confirm))
    }

    pub(super) fn confirm(&self, url: &str, hosts: &[HostPattern]) -> Confirming {
        (self.0)(url.to_owned(), hosts.to_vec())
    }
}

impl fmt::Debug for Confirmer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Confirmer")
    }
}

/// What its sender is told: what is not allowed will not be another time; what failed may be tried again.
pub(super) fn problem(why: &Unconfirmed) -> Problem {
    match why {
        Unconfirmed::NotAllowed(_) => Problem::bad_request(why.to_string()),
        Unconfirmed::Failed(_) => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the subscription could not be confirmed: {why}"),
        ),
    }
}
