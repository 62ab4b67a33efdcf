//! Changes, as a list.

use crate::domain::time::Timestamp;
use crate::http::auth::Actor;
use crate::http::incidents::limit;
use crate::http::openapi::problems::Misasked;
use crate::http::openapi::words;
use crate::http::params::Query;
use crate::http::problem::Problem;
use crate::http::view;
use crate::store::Store;
use crate::store::changes::{self, ChangeFilter};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ChangeQuery {
    service: Option<String>,
    /// A part of what is shown.
    q: Option<String>,
    #[param(value_type = Option<words::Instant>, inline)]
    since: Option<String>,
    #[param(value_type = Option<words::Instant>, inline)]
    until: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next` of the page before.
    #[param(pattern = "^-?[0-9]{1,18}-[0-9a-fA-F]{32}$")]
    cursor: Option<String>,
}

/// Changes by when they last came to another status, newest first.
#[utoipa::path(
    get,
    path = "/changes",
    operation_id = "listChanges",
    security(("bearer" = ["viewer"])),
    params(ChangeQuery),
    responses((status = 200, description = "A page of changes", body = view::Changes), Misasked)
)]
pub async fn list(
    _actor: Actor,
    State(store): State<Store>,
    Query(query): Query<ChangeQuery>,
) -> Result<Json<view::Changes>, Problem> {
    let limit = limit(query.limit)?;
    let before = match query.cursor {
        None => None,
        Some(cursor) => match changes::read_cursor(&cursor) {
            Some(before) => Some(before),
            None => return Err(Problem::bad_request(format!("bad cursor \"{cursor}\""))),
        },
    };
    let filter = ChangeFilter {
        service: query.service,
        text: query.q,
        since: instant("since", query.since)?,
        until: instant("until", query.until)?,
    };
    let page = store
        .look(move |reader| changes::list(reader, &filter, before, limit))
        .await?;
    Ok(Json(view::Changes {
        changes: page.items.iter().map(view::change).collect(),
        next: page.next,
    }))
}

fn instant(name: &str, text: Option<String>) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else {
        return Ok(None);
    };
    let read: Result<Timestamp, _> = text.parse();
    match read {
        Ok(at) => Ok(Some(at)),
        Err(error) => Err(Problem::bad_request(format!("{name}: {error}"))),
    }
}
