//! Reading the files again: everything is built first, then swapped; on an error the old stays.

use crate::http::auth::Admin;
use crate::http::openapi::problems::Refused;
use crate::http::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use utoipa::ToSchema;

/// What a reload did.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Reloaded {
    /// The hash of the files of rules.
    pub revision: String,
    pub warnings: Vec<String>,
}

/// Reads the files and swaps what is live; made by whoever knows where they are. The errors are those of the files.
#[derive(Clone)]
pub struct Reload(Arc<dyn Fn() -> Result<Reloaded, Vec<String>> + Send + Sync>);

impl Reload {
    pub fn new(reload: impl Fn() -> Result<Reloaded, Vec<String>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(reload))
    }

    pub fn run(&self) -> Result<Reloaded, Vec<String>> {
        (self.0)()
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reload")
    }
}

/// Reads configuration and rules again: all of it, or on an error nothing.
#[utoipa::path(
    post,
    path = "/reload",
    operation_id = "reload",
    security(("bearer" = ["admin"])),
    responses((status = 200, description = "What is live now", body = Reloaded), Refused)
)]
pub async fn reload(
    _admin: Admin,
    State(reload): State<Reload>,
) -> Result<Json<Reloaded>, Problem> {
    let reloaded = tokio::task::spawn_blocking(move || reload.run())
        .await
        .map_err(|error| {
            tracing::error!(%error, "a reload panicked");
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the files could not be read; what was live stays live",
            )
        })?;
    match reloaded {
        Ok(reloaded) => Ok(Json(reloaded)),
        Err(errors) => {
            let detail = "the files have errors; what was live stays live";
            Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_errors(errors))
        }
    }
}
