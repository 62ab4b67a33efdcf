//! Silences: made, listed, ended. One that starts in the future is a maintenance window.

use crate::domain::alert::Labels;
use crate::domain::matcher::Matcher;
use crate::domain::silence::{Silence, State as SilenceState, mutes_everything};
use crate::domain::time::{Timestamp, parse_span};
use crate::http::Site;
use crate::http::auth::Actor;
use crate::http::body::Command;
use crate::http::commands::{Commander, text};
use crate::http::incidents::limit;
use crate::http::openapi::asked::{Once, asked};
use crate::http::openapi::problems::{Misasked, Missing, Unmet};
use crate::http::openapi::words;
use crate::http::params::{ById, Path, Query};
use crate::http::problem::Problem;
use crate::http::view;
use crate::store::engine::Class;
use crate::store::silences::{self, Wanted};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};
use uuid::{Builder, Uuid};

/// Matchers of one silence.
pub(super) const MATCHERS_MAX: usize = 100;

/// How it is said that a silence shall mute every alert.
pub(super) const TO_MEAN_THAT: &str = "to mute every alert, send \"everything\": true with it";

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSilence {
    /// As Alertmanager reads them; all of them must match.
    #[schema(max_items = 100, example = json!(["service=\"checkout\"", "severity=~\"warning|page\""]))]
    matchers: Vec<String>,
    /// Whose name it bears: an admin may name somebody else.
    by: Option<String>,
    #[schema(pattern = "\\S", max_length = 16384)]
    reason: String,
    /// Now, where it is missing or has passed.
    #[schema(value_type = Option<words::Instant>)]
    starts_at: Option<String>,
    /// In the future. Either this or `for` is wanted.
    #[schema(value_type = Option<words::Instant>)]
    ends_at: Option<String>,
    /// From its start.
    #[schema(value_type = Option<words::Span>)]
    #[serde(rename = "for")]
    lasts: Option<String>,
    /// That it may mute every alert.
    #[serde(default)]
    everything: bool,
}

asked!(AskedSilence as "NewSilence": NewSilence, one_of("ends_at", "for"));

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    #[param(value_type = Option<words::SilenceState>, inline)]
    state: Option<SilenceState>,
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct By {
    /// In whose name: an admin may name somebody else.
    by: Option<String>,
}

/// Silences: those that are active by their ends, those to come by their starts, then those that have ended.
#[utoipa::path(
    get,
    path = "/silences",
    operation_id = "listSilences",
    security(("bearer" = ["viewer"])),
    params(ListQuery),
    responses((status = 200, description = "A page of silences", body = view::Silences), Misasked)
)]
pub async fn list(
    _actor: Actor,
    State(site): State<Site>,
    Query(query): Query<ListQuery>,
) -> Result<Json<view::Silences>, Problem> {
    let limit = limit(query.limit)?;
    let now = site.clock.now();
    let is_wanted = move |silence: &Silence| {
        let mut wanted = query.state.iter();
        wanted.all(|state| silence.state(now) == *state)
    };
    let cursor = query.cursor;
    let found = site
        .store
        .look(move |reader| {
            let all = silences::list(reader, is_wanted, now)?;
            let from = match &cursor {
                None => 0,
                Some(last) => match all.iter().position(|silence| silence.id == *last) {
                    Some(at) => at + 1,
                    None => return Ok(Err(last.clone())),
                },
            };
            let is_end = all.len() <= from.saturating_add(limit);
            let some: Vec<Silence> = all.into_iter().skip(from).take(limit).collect();
            let next = some.last().map(|silence| silence.id.clone());
            let next = next.filter(|_| !is_end);
            Ok(Ok((silences::listed(reader, some)?, next)))
        })
        .await?;
    let (listed, next) =
        found.map_err(|cursor| Problem::bad_request(format!("bad cursor \"{cursor}\"")))?;
    let silences = listed.iter();
    Ok(Json(view::Silences {
        silences: silences
            .map(|silence| view::silence(silence, now))
            .collect(),
        next,
    }))
}

/// One silence.
#[utoipa::path(
    get,
    path = "/silences/{id}",
    operation_id = "showSilence",
    security(("bearer" = ["viewer"])),
    params(ById),
    responses((status = 200, description = "The silence", body = view::Silence), Missing)
)]
pub async fn show(
    _actor: Actor,
    Path(id): Path<String>,
    State(site): State<Site>,
) -> Result<Json<view::Silence>, Problem> {
    shown(&site, id).await
}

/// Makes a silence. Asked for again under the same `Idempotency-Key`, it is the one that was made.
#[utoipa::path(
    post,
    path = "/silences",
    operation_id = "addSilence",
    security(("bearer" = ["responder"])),
    params(Once),
    request_body = AskedSilence,
    responses((status = 201, description = "The silence", body = view::Silence), Unmet)
)]
pub async fn add(
    State(site): State<Site>,
    commander: Commander,
    Command(body): Command<NewSilence>,
) -> Result<(StatusCode, Json<view::Silence>), Problem> {
    let now = site.clock.now();
    let token = commander.token();
    let caller = commander.caller(body.by.as_deref())?;
    let new_id = id_of(&caller.by, caller.idempotency_key.as_deref());
    let matchers = matchers(&body.matchers, body.everything)?;
    let (starts_at, ends_at) = span(&body, now)?;
    let wanted = Wanted {
        id: None,
        new_id,
        matchers,
        starts_at,
        ends_at,
        token: token.filter(|token| *token != caller.by),
        created_by: caller.by.clone(),
        comment: text("reason", body.reason)?,
        annotations: Labels::default(),
    };
    let made = site
        .store
        .transact(Class::Engine, move |tx| silences::set(tx, wanted, now))
        .await?;
    tracing::info!(silence.id = made.id, by = caller.by, "a silence was set");
    Ok((StatusCode::CREATED, shown(&site, made.id).await?))
}

/// Ends a silence; one that has ended stays as it is.
#[utoipa::path(
    delete,
    path = "/silences/{id}",
    operation_id = "expireSilence",
    security(("bearer" = ["responder"])),
    params(ById, By),
    responses((status = 200, description = "The silence as it is then", body = view::Silence), Missing)
)]
pub async fn expire(
    Path(id): Path<String>,
    State(site): State<Site>,
    Query(query): Query<By>,
    commander: Commander,
) -> Result<Json<view::Silence>, Problem> {
    let now = site.clock.now();
    let caller = commander.caller(query.by.as_deref())?;
    let ended = site
        .store
        .transact(Class::Engine, move |tx| silences::expire(tx, &id, now))
        .await?;
    tracing::info!(
        silence.id = ended.id,
        by = caller.by,
        "a silence was expired"
    );
    shown(&site, ended.id).await
}

async fn shown(site: &Site, id: String) -> Result<Json<view::Silence>, Problem> {
    let now = site.clock.now();
    let of = id.clone();
    let found = site
        .store
        .look(move |reader| {
            let found = silences::find(reader, &of)?;
            silences::listed(reader, found.into_iter().collect())
        })
        .await?;
    match found.first() {
        Some(silence) => Ok(Json(view::silence(silence, now))),
        None => Err(Problem::not_found(format!("there is no silence {id}"))),
    }
}

/// The same key of the same caller makes the same id.
fn id_of(by: &str, key: Option<&str>) -> String {
    let Some(key) = key else {
        return Uuid::new_v4().to_string();
    };
    let mut hash = Sha256::new();
    for part in ["silences", by, key] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes
        .iter_mut()
        .zip(hash.finalize())
        .for_each(|(to, from)| *to = from);
    Builder::from_random_bytes(bytes).into_uuid().to_string()
}

fn matchers(texts: &[String], everything: bool) -> Result<Vec<Matcher>, Problem> {
    if texts.len() > MATCHERS_MAX {
        let detail = format!(
            "at most {MATCHERS_MAX} matchers are taken, found {}",
            texts.len()
        );
        return Err(Problem::bad_request(detail).at("$.matchers"));
    }
    let mut matchers = Vec::with_capacity(texts.len());
    for (n, text) in texts.iter().enumerate() {
        let matcher = Matcher::parse(text).map_err(|error| {
            Problem::bad_request(error.to_string()).at(format!("$.matchers[{n}]"))
        })?;
        matchers.push(matcher);
    }
    if mutes_everything(&matchers) && !everything {
        let detail = format!("these matchers fit every alert; {TO_MEAN_THAT}");
        return Err(Problem::bad_request(detail).at("$.matchers"));
    }
    if matchers.is_empty() {
        // So that it can be read as what it is, wherever it is shown.
        let all = Matcher::parse("alertname=~\".*\"");
        matchers.extend(all.ok());
    }
    Ok(matchers)
}

/// From when to when: `ends_at`, or `for` so long from its start.
fn span(body: &NewSilence, now: Timestamp) -> Result<(Timestamp, Timestamp), Problem> {
    let instant = |name: &str, text: &Option<String>| -> Result<Option<Timestamp>, Problem> {
        let read = text.as_deref().map(str::parse).transpose();
        read.map_err(|error: crate::domain::time::NotATime| {
            Problem::bad_request(error.to_string()).at(format!("$.{name}"))
        })
    };
    let starts_at = instant("starts_at", &body.starts_at)?
        .unwrap_or(now)
        .max(now);
    let ends_at = instant("ends_at", &body.ends_at)?;
    let lasts = body.lasts.as_deref().map(parse_span).transpose();
    let lasts =
        lasts.map_err(|error| Problem::bad_request(error.to_string()).at("$.for".to_owned()))?;
    match (ends_at, lasts) {
        (Some(ends_at), None) => Ok((starts_at, ends_at)),
        (None, Some(lasts)) => Ok((starts_at, starts_at.plus(lasts))),
        (None, None) | (Some(_), Some(_)) => {
            let detail = "either \"ends_at\" or \"for\" is wanted";
            Err(Problem::bad_request(detail).at("$.ends_at"))
        }
    }
}
