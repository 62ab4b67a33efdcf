//! Dead letters: what was received and could not be used, and that it is read again after a fix.

use crate::domain::confirmation::Unconfirmed;
use crate::domain::source::Kind;
use crate::http::auth::Source;
use crate::http::body::Command;
use crate::http::commands::{Commander, OnlyBy};
use crate::http::hooks::{note, read, report};
use crate::http::incidents::limit;
use crate::http::openapi::problems::{Misasked, Missing, Unusable};
use crate::http::params::{ByIdNumber, Path, Query};
use crate::http::problem::Problem;
use crate::http::{Site, auth::Actor, confirm, view};
use crate::ingest::Post;
use crate::store::commands::Caller;
use crate::store::engine::Class;
use crate::store::letters::{self, Unreplayed, replayable};
use crate::store::records::DeadLetter;
use crate::store::{Store, lists};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Letters that one call reads again.
const REPLAYED_MAX: usize = 100;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PlainQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next` of the page before.
    #[param(pattern = "^[0-9]{1,19}$")]
    cursor: Option<String>,
}

/// What was received and could not be used, newest first; of long items the start.
#[utoipa::path(
    get,
    path = "/dead-letters",
    operation_id = "listDeadLetters",
    security(("bearer" = ["viewer"])),
    params(PlainQuery),
    responses((status = 200, description = "A page of dead letters", body = view::DeadLetters), Misasked)
)]
pub async fn list(
    _actor: Actor,
    State(store): State<Store>,
    Query(query): Query<PlainQuery>,
) -> Result<Json<view::DeadLetters>, Problem> {
    let limit = limit(query.limit)?;
    let before = cursor(query.cursor.as_deref())?;
    let page = store
        .look(move |reader| lists::dead_letters(reader, before, limit))
        .await?;
    let letters = page.items.iter();
    Ok(Json(view::DeadLetters {
        dead_letters: letters
            .map(|(id, letter)| view::dead_letter(*id, letter))
            .collect(),
        next: page.next,
    }))
}

fn cursor(text: Option<&str>) -> Result<Option<u64>, Problem> {
    let read = |text: &str| {
        text.parse()
            .map_err(|_not_a_number| Problem::bad_request(format!("bad cursor \"{text}\"")))
    };
    text.map(read).transpose()
}

/// One letter with all that is kept of it.
#[utoipa::path(
    get,
    path = "/dead-letters/{id}",
    operation_id = "showDeadLetter",
    security(("bearer" = ["viewer"])),
    params(ByIdNumber),
    responses((status = 200, description = "The letter", body = view::WholeDeadLetter), Missing)
)]
pub async fn show(
    _actor: Actor,
    Path(id): Path<u64>,
    State(store): State<Store>,
) -> Result<Json<view::WholeDeadLetter>, Problem> {
    let found = store
        .look(move |reader| letters::letter(reader, id))
        .await?;
    let letter = found.ok_or(Unreplayed::NoSuchLetter(id))?;
    Ok(Json(view::whole_dead_letter(id, &letter)))
}

/// Reads one again, as if its source had sent it now.
#[utoipa::path(
    post,
    path = "/dead-letters/{id}/replay",
    operation_id = "replayDeadLetter",
    security(("bearer" = ["responder"])),
    params(ByIdNumber),
    request_body = OnlyBy,
    responses((status = 200, description = "The letter, with what came of it", body = view::WholeDeadLetter), Unusable)
)]
pub async fn replay(
    Path(id): Path<u64>,
    State(site): State<Site>,
    commander: Commander,
    Command(body): Command<OnlyBy>,
) -> Result<Json<view::WholeDeadLetter>, Problem> {
    let caller = commander.caller(body.by())?;
    let letter = replay_one(&site, id, &caller).await?;
    Ok(Json(view::whole_dead_letter(id, &letter)))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct OfSource {
    /// Whose letters.
    source: String,
    /// `next` of the page before.
    #[param(pattern = "^[0-9]{1,19}$")]
    cursor: Option<String>,
}

/// What came of reading the letters of a source again.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReplayedAll {
    pub replayed: Vec<u64>,
    pub failed: Vec<Failed>,
    /// How many are left; many are not counted to their end.
    #[schema(value_type = u64)]
    pub left: usize,
    /// The `cursor` for the next call; null where none is left.
    #[schema(required = true)]
    pub next: Option<String>,
}

/// A letter that cannot be used even so.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StillUnusable)]
pub struct Failed {
    pub id: u64,
    pub reason: String,
}

/// Reads the letters of one source again, the oldest first: so many in one call, and it says how many are left.
#[utoipa::path(
    post,
    path = "/dead-letters/replay",
    operation_id = "replayDeadLetters",
    security(("bearer" = ["responder"])),
    params(OfSource),
    request_body = OnlyBy,
    responses((status = 200, description = "What came of them", body = ReplayedAll), Unusable)
)]
pub async fn replay_all(
    State(site): State<Site>,
    commander: Commander,
    Query(query): Query<OfSource>,
    Command(body): Command<OnlyBy>,
) -> Result<Json<ReplayedAll>, Problem> {
    let caller = commander.caller(body.by())?;
    let after = cursor(query.cursor.as_deref())?.unwrap_or(0);
    let name = query.source;
    // Said before anything is done: each of its letters would say the same.
    source_of(&site, &name)?;
    let awaiting = site
        .store
        .look(move |reader| letters::awaiting(reader, &name, after, REPLAYED_MAX))
        .await?;
    let (mut replayed, mut failed) = (Vec::new(), Vec::new());
    for id in awaiting.first {
        match replay_one(&site, id, &caller).await {
            Ok(_letter) => replayed.push(id),
            Err(problem) if is_of_the_letter(&problem) => {
                failed.push(Failed {
                    id,
                    reason: problem.reason(),
                });
            }
            Err(problem) => return Err(problem),
        }
    }
    Ok(Json(ReplayedAll {
        replayed,
        failed,
        left: awaiting.n_more,
        next: awaiting.next.map(|next| next.to_string()),
    }))
}

/// Whether another letter may go better.
fn is_of_the_letter(problem: &Problem) -> bool {
    matches!(
        problem.code(),
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::CONFLICT | StatusCode::NOT_FOUND
    )
}

/// Once this returns, the letter is marked, and what was taken of it survives a crash.
async fn replay_one(site: &Site, id: u64, caller: &Caller) -> Result<DeadLetter, Problem> {
    let found = site
        .store
        .look(move |reader| letters::letter(reader, id))
        .await?;
    let letter = replayable(id, found)?;
    let body = letter
        .body()
        .map_err(|why| Unreplayed::NoBody { id, why })?;
    let (name, now) = (letter.source.clone(), caller.now);
    let source = source_of(site, &name)?;
    let is_whole = letter
        .around
        .as_ref()
        .is_some_and(|(before, after)| before.is_empty() && after.is_empty());
    // A source that pages may tell of changes, too.
    let kind = match letter.kind == Kind::Change.as_str() && source.kind == Kind::Pagerduty {
        true => Kind::Change,
        false => source.kind,
    };
    // What stands around an item is of one kind; a whole body may have been sent to a source of the wrong kind.
    if !is_whole && kind.as_str() != letter.kind {
        let detail = format!(
            "dead letter {id} is an item of kind {}, and source \"{name}\" is of kind {} now",
            letter.kind, kind
        );
        return Err(Problem::new(StatusCode::CONFLICT, detail));
    }
    let post = Post {
        body: body.as_bytes(),
        headers: &letter.headers,
        query: &letter.query,
        mapping: source.mapping.as_deref(),
        now,
    };
    let unusable =
        |reason: &str, path: &str| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, reason).at(path);
    let parsed = read(kind, &post).map_err(|bad| unusable(&bad.reason, &bad.path))?;
    if let Some(asked) = &parsed.confirm {
        let confirming = site.confirmer.confirm(&asked.url, &source.confirm_hosts);
        confirming.await.map_err(|why| match &why {
            Unconfirmed::NotAllowed(reason) => unusable(reason, &asked.path),
            Unconfirmed::Failed(_) => confirm::problem(&why),
        })?;
    }
    let n_told = parsed.n_told();
    // It would be a dead letter once more.
    if let (0, Some(bad)) = (n_told - parsed.n_own_passes, parsed.rejected.first()) {
        return Err(unusable(&bad.reason, &bad.path));
    }
    note(&name, &parsed);
    let report = report(&name, kind, &post, parsed);
    let (by, in_force) = (caller.by.clone(), caller.in_force.clone());
    let replayed = site.store.transact(Class::Intake, move |tx| {
        letters::replay(tx, id, &report, &by, &in_force, now)
    });
    let (recorded, letter) = replayed.await?;
    source.counters.count(&name, 0, 0, &recorded);
    tracing::info!(
        letter.id = id,
        source = name,
        by = caller.by,
        opened = ?recorded.opened,
        joined = ?recorded.joined,
        "a dead letter was replayed"
    );
    Ok(letter)
}

fn source_of(site: &Site, name: &str) -> Result<Arc<Source>, Problem> {
    let found = site.live.load().access.source(name).cloned();
    found.ok_or_else(|| {
        Problem::new(
            StatusCode::CONFLICT,
            format!("there is no source \"{name}\" any more"),
        )
    })
}
