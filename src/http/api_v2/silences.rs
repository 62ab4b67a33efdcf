//! Silences as an Alertmanager takes and lists them: the same ones as our own API has.

use crate::domain::alert::Labels;
use crate::domain::matcher::{Matcher, Op};
use crate::domain::silence::{
    Silence, State as SilenceState, fits_without_labels, mutes_everything,
};
use crate::domain::time::Timestamp;
use crate::http::Site;
use crate::http::api_v2::answer::{Asked, Coded, Refused, Said, coded, told};
use crate::http::api_v2::{REQUIRED, other_media_type};
use crate::http::auth::Role;
use crate::http::body;
use crate::http::openapi::problems::{NotText, TooLong};
use crate::http::openapi::words;
use crate::http::params::Path;
use crate::http::problem::{Document, Problem};
use crate::http::silences::{MATCHERS_MAX, TO_MEAN_THAT};
use crate::http::view::Instant;
use crate::store::Failure;
use crate::store::engine::Class;
use crate::store::silences::{self, Unset, Wanted};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// What a validation says of a list that is too short, and of a text of another form.
const TOO_SHORT: u16 = 612;
const MALFORMED: u16 = 601;

/// Bytes of a silence.
const BODY_MAX_BYTES: usize = 256 * 1024;

/// A silence as it is posted; what it has besides is passed over.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = PostableSilence)]
struct Posted {
    /// Of one that is changed.
    id: Option<String>,
    #[schema(value_type = Vec<PostedMatcher>, min_items = 1, max_items = 100)]
    matchers: Option<Vec<PostedMatcher>>,
    #[serde(rename = "startsAt")]
    #[schema(value_type = words::Instant)]
    starts_at: Option<String>,
    #[serde(rename = "endsAt")]
    #[schema(value_type = words::Instant)]
    ends_at: Option<String>,
    #[serde(rename = "createdBy")]
    #[schema(value_type = String)]
    created_by: Option<String>,
    #[schema(value_type = String)]
    comment: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
    /// Ours: that it shall mute every alert.
    everything: Option<bool>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PostableMatcher)]
struct PostedMatcher {
    #[schema(value_type = String, min_length = 1)]
    name: Option<String>,
    #[schema(value_type = String)]
    value: Option<String>,
    #[schema(value_type = bool)]
    is_regex: Option<bool>,
    is_equal: Option<bool>,
}

/// Which silences are asked for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SilencesQuery {
    /// A matcher that they must have, as it is; it may come again.
    pub filter: Option<Vec<String>>,
    #[param(value_type = Option<words::Switch>, inline)]
    pub active: Option<bool>,
    #[param(value_type = Option<words::Switch>, inline)]
    pub pending: Option<bool>,
    #[param(value_type = Option<words::Switch>, inline)]
    pub expired: Option<bool>,
}

/// A silence by its id.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub struct BySilence {
    #[param(value_type = words::SilenceId, inline)]
    pub id: String,
}

/// A silence as an Alertmanager shows it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GettableSilence {
    id: String,
    status: Standing,
    #[schema(value_type = words::Instant)]
    updated_at: Instant,
    #[schema(value_type = words::Labels)]
    annotations: Labels,
    comment: String,
    created_by: String,
    #[schema(value_type = words::Instant)]
    ends_at: Instant,
    #[schema(min_items = 1)]
    matchers: Vec<GettableMatcher>,
    #[schema(value_type = words::Instant)]
    starts_at: Instant,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GettableSilenceStatus)]
struct Standing {
    #[schema(value_type = words::SilenceState)]
    state: SilenceState,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct GettableMatcher {
    is_equal: bool,
    is_regex: bool,
    name: String,
    value: String,
}

/// That a silence was set.
#[derive(Debug, Serialize, ToSchema)]
pub struct SilenceSet {
    #[serde(rename = "silenceID")]
    id: String,
}

/// Silences.
#[utoipa::path(
    get,
    path = "/silences",
    operation_id = "getSilences",
    security(("bearer" = ["viewer"])),
    params(SilencesQuery),
    responses(
        (status = 200, description = "The silences", body = Vec<GettableSilence>),
        (status = 400, description = "What is wrong with a parameter", body = String, content_type = "application/json"),
        (status = 406, description = "No JSON is wanted", body = Coded),
    )
)]
pub async fn list(State(site): State<Site>, asked: Asked) -> Response {
    let matchers = match asked.matchers("filter") {
        Ok(matchers) => matchers,
        Err(refused) => return refused.into_response(),
    };
    let states = [
        (SilenceState::Active, asked.includes("active")),
        (SilenceState::Pending, asked.includes("pending")),
        (SilenceState::Expired, asked.includes("expired")),
    ];
    let now = site.clock.now();
    let is_wanted = move |silence: &Silence| {
        let state = silence.state(now);
        states.contains(&(state, true)) && matchers.iter().all(|of| silence.matchers.contains(of))
    };
    let listed = site
        .store
        .look(move |reader| silences::list(reader, is_wanted, now))
        .await;
    match listed {
        Ok(listed) => {
            let shown: Vec<GettableSilence> =
                listed.iter().map(|silence| shown(silence, now)).collect();
            Json(shown).into_response()
        }
        Err(error) => Problem::from(error).into_response(),
    }
}

/// One silence.
#[utoipa::path(
    get,
    path = "/silence/{id}",
    operation_id = "getSilence",
    security(("bearer" = ["viewer"])),
    params(BySilence),
    responses(
        (status = 200, description = "The silence", body = GettableSilence),
        (status = 404, description = "There is no such silence"),
        (status = 406, description = "No JSON is wanted", body = Coded),
        (status = 422, description = "The id is none", body = Coded),
        NotText,
    )
)]
pub async fn show(Path(id): Path<String>, State(site): State<Site>, _asked: Asked) -> Response {
    let id = match uuid(&id) {
        Ok(id) => id,
        Err(refused) => return refused.into_response(),
    };
    let now = site.clock.now();
    let found = site
        .store
        .look(move |reader| silences::find(reader, &id))
        .await;
    match found {
        Ok(Some(silence)) => Json(shown(&silence, now)).into_response(),
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(error) => Problem::from(error).into_response(),
    }
}

/// Ends a silence.
#[utoipa::path(
    delete,
    path = "/silence/{id}",
    operation_id = "deleteSilence",
    security(("bearer" = ["responder"])),
    params(BySilence),
    responses(
        (status = 200, description = "It has ended"),
        (status = 404, description = "There is no such silence"),
        (status = 406, description = "No JSON is wanted", body = Coded),
        (status = 422, description = "The id is none", body = Coded),
        NotText,
    )
)]
pub async fn expire(Path(id): Path<String>, State(site): State<Site>, asked: Asked) -> Response {
    if let Err(refused) = asked.actor.must_be(Role::Responder) {
        return refused.into_response();
    }
    let id = match uuid(&id) {
        Ok(id) => id,
        Err(refused) => return refused.into_response(),
    };
    let now = site.clock.now();
    let of = id.clone();
    let ended = site
        .store
        .transact(Class::Engine, move |tx| silences::expire(tx, &of, now))
        .await;
    match ended {
        Ok(_ended) => {
            let by = asked.actor.token.as_deref().unwrap_or("anonymous");
            tracing::info!(silence.id = id, by, "a silence was expired");
            StatusCode::OK.into_response()
        }
        Err(Failure::Refused(_unknown)) => StatusCode::NOT_FOUND.into_response(),
        Err(Failure::Store(error)) => Problem::from(&*error).into_response(),
    }
}

/// Makes a silence, or changes the one of this id.
#[utoipa::path(
    post,
    path = "/silences",
    operation_id = "postSilences",
    security(("bearer" = ["responder"])),
    request_body = Posted,
    responses(
        (status = 200, description = "It is set", body = SilenceSet),
        (status = 400, description = "What is wrong", body = Said),
        (status = 404, description = "There is no silence of this id", body = String, content_type = "application/json"),
        (status = 406, description = "No JSON is wanted", body = Coded),
        (
            status = 415,
            description = "It is not said to be JSON, or is packed in a way that is not read",
            content((Coded = "application/json"), (Document = "application/problem+json"))
        ),
        (status = 422, description = "Something is missing", body = Coded),
        TooLong,
    )
)]
pub async fn set(
    State(site): State<Site>,
    asked: Asked,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match set_or(&site, &asked, &headers, body).await {
        Ok(id) => Json(SilenceSet { id }).into_response(),
        Err(refused) => refused.into_response(),
    }
}

async fn set_or(
    site: &Site,
    asked: &Asked,
    headers: &HeaderMap,
    body: Body,
) -> Result<String, Refused> {
    asked.actor.must_be(Role::Responder)?;
    if let Some(found) = other_media_type(headers) {
        let message =
            format!("unsupported media type {found:?}, only [application/json] are allowed");
        return Err(coded(StatusCode::UNSUPPORTED_MEDIA_TYPE, 415, &message).into());
    }
    let body = body::read(body, BODY_MAX_BYTES, &site.memory).await?;
    if body.bytes.is_empty() {
        return Err(invalid(REQUIRED, "silence in body is required"));
    }
    let posted: Posted = serde_json::from_slice(&body.bytes).map_err(|error| unread(&error))?;
    let now = site.clock.now();
    let token = asked.actor.token.clone();
    let wanted = wanted(posted, token)?;
    let silence = site
        .store
        .transact(Class::Engine, move |tx| silences::set(tx, wanted, now))
        .await;
    match silence {
        Ok(silence) => {
            let by = asked.actor.token.as_deref().unwrap_or(&silence.created_by);
            tracing::info!(silence.id = silence.id, by, "a silence was set");
            Ok(silence.id)
        }
        Err(Failure::Store(error)) => Err(Problem::from(&*error).into()),
        Err(Failure::Refused(why)) => Err(Refused::from(match why {
            Unset::NoSuchSilence(_) => told(StatusCode::NOT_FOUND, "silence not found"),
            Unset::Unfit(why) => {
                let why = format!("Failed to create silence: {why}");
                told(StatusCode::BAD_REQUEST, &why)
            }
            Unset::TooMany => told(StatusCode::BAD_REQUEST, &format!("silence invalid: {why}")),
        })),
    }
}

/// What is posted, if there is all that must be.
fn wanted(posted: Posted, token: Option<String>) -> Result<Wanted, Refused> {
    let missing = |name: &str| invalid(REQUIRED, &format!("{name} in body is required"));
    let starts_at = instant(posted.starts_at)?;
    let ends_at = instant(posted.ends_at)?;
    let comment = posted.comment.ok_or_else(|| missing("comment"))?;
    let created_by = posted.created_by.ok_or_else(|| missing("createdBy"))?;
    let ends_at = ends_at.ok_or_else(|| missing("endsAt"))?;
    let texts = posted.matchers.ok_or_else(|| missing("matchers"))?;
    if texts.is_empty() {
        let message = "matchers in body should have at least 1 items";
        return Err(invalid(TOO_SHORT, message));
    }
    let starts_at = starts_at.ok_or_else(|| missing("startsAt"))?;
    let matchers = matchers(texts)?;
    let means_everything = posted.everything == Some(true);
    if !means_everything && mutes_everything(&matchers) {
        let why = match fits_without_labels(&matchers) {
            true => "at least one matcher must not match the empty string",
            false => "it would mute every alert",
        };
        let why = format!("silence invalid: {why}; {TO_MEAN_THAT}");
        return Err(told(StatusCode::BAD_REQUEST, &why).into());
    }
    Ok(Wanted {
        id: posted.id.filter(|id| !id.is_empty()),
        new_id: Uuid::new_v4().to_string(),
        matchers,
        starts_at,
        ends_at,
        token: token.filter(|token| *token != created_by),
        created_by,
        comment,
        annotations: posted.annotations.into_iter().flatten().collect::<Labels>(),
    })
}

fn instant(text: Option<String>) -> Result<Option<Timestamp>, Refused> {
    let read = text.map(|text| text.parse::<Timestamp>()).transpose();
    read.map_err(|error| unread(&error))
}

fn matchers(posted: Vec<PostedMatcher>) -> Result<Vec<Matcher>, Refused> {
    if posted.len() > MATCHERS_MAX {
        let message = format!("matchers in body should have at most {MATCHERS_MAX} items");
        return Err(invalid(TOO_SHORT + 1, &message));
    }
    let mut checked = Vec::with_capacity(posted.len());
    for (n, matcher) in posted.into_iter().enumerate() {
        let missing = |name: &str| {
            let message = format!("matchers.{n}.{name} in body is required");
            invalid(REQUIRED, &message)
        };
        let is_regex = matcher.is_regex.ok_or_else(|| missing("isRegex"))?;
        let name = matcher.name.ok_or_else(|| missing("name"))?;
        let value = matcher.value.ok_or_else(|| missing("value"))?;
        let op = match (is_regex, matcher.is_equal.unwrap_or(true)) {
            (false, true) => Op::Equal,
            (false, false) => Op::NotEqual,
            (true, true) => Op::Regex,
            (true, false) => Op::NotRegex,
        };
        checked.push((op, name, value));
    }
    let mut matchers = Vec::with_capacity(checked.len());
    for (n, (op, name, value)) in checked.into_iter().enumerate() {
        let unfit = |why: String| {
            let why = format!("silence invalid: invalid label matcher {n}: {why}");
            Refused::from(told(StatusCode::BAD_REQUEST, &why))
        };
        if name.is_empty() {
            return Err(unfit("invalid label name \"\"".to_owned()));
        }
        let matcher = Matcher::new(op, name, value.as_str()).map_err(|error| {
            // The expression as it was written, without what is put around it.
            let why = error.to_string().replace("`^(?:", "`").replace(")$`", "`");
            unfit(format!("invalid regular expression {value:?}: {why}"))
        })?;
        matchers.push(matcher);
    }
    Ok(matchers)
}

fn invalid(code: u16, message: &str) -> Refused {
    coded(StatusCode::UNPROCESSABLE_ENTITY, code, message).into()
}

fn unread(error: &impl std::fmt::Display) -> Refused {
    let message = format!("parsing silence body from \"\" failed, because {error}");
    coded(StatusCode::BAD_REQUEST, 400, &message).into()
}

/// An id as silences have it.
fn uuid(text: &str) -> Result<String, Refused> {
    const LENGTH: usize = 36;
    match Uuid::try_parse(text) {
        Ok(uuid) if text.len() == LENGTH => Ok(uuid.to_string()),
        Ok(_) | Err(_) => {
            let message = format!("silenceID in path must be of type uuid: {text:?}");
            Err(invalid(MALFORMED, &message))
        }
    }
}

fn shown(silence: &Silence, now: Timestamp) -> GettableSilence {
    GettableSilence {
        id: silence.id.clone(),
        status: Standing {
            state: silence.state(now),
        },
        updated_at: silence.updated_at.into(),
        annotations: silence.annotations.clone(),
        comment: silence.comment.clone(),
        created_by: silence.created_by.clone(),
        ends_at: silence.ends_at.into(),
        matchers: silence.matchers.iter().map(matcher).collect(),
        starts_at: silence.starts_at.into(),
    }
}

fn matcher(matcher: &Matcher) -> GettableMatcher {
    let op = matcher.op();
    GettableMatcher {
        is_equal: matches!(op, Op::Equal | Op::Regex),
        is_regex: matches!(op, Op::Regex | Op::NotRegex),
        name: matcher.name().to_owned(),
        value: matcher.value().to_owned(),
    }
}
