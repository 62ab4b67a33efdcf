//! Changes, as a list.

use crate::domain::time::Timestamp;
use crate::http::auth::Actor;
use crate::http::incidents::limit;
use crate::http::params::Query;
use crate::http::problem::Problem;
use crate::http::view;
use crate::store::Store;
use crate::store::changes::{self, ChangeFilter};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeQuery {
    service: Option<String>,
    q: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Changes by when they last came to another status, newest first.
pub async fn list(
    _actor: Actor,
    State(store): State<Store>,
    Query(query): Query<ChangeQuery>,
) -> Result<Json<Value>, Problem> {
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
    let items = page.items.iter().map(view::change).collect();
    Ok(Json(view::list("changes", items, page.next)))
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
