//! Incidents: lists, one, and its parts.

use crate::clock::Clock;
use crate::domain::alert::Fingerprint;
use crate::domain::incident::Incident;
use crate::domain::phase::Phase;
use crate::domain::rule::RuleSet;
use crate::domain::severity::Severity;
use crate::domain::time::Timestamp;
use crate::engine::link::Links;
use crate::http::auth::Actor;
use crate::http::openapi::problems::{Misasked, Missing};
use crate::http::openapi::words;
use crate::http::params::{ByNumber, Path, Query};
use crate::http::problem::Problem;
use crate::http::{Site, view};
use crate::store::changes;
use crate::store::lists::{self, IncidentFilter, Listed};
use crate::store::{Reader, Store};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

/// Items of a list where nothing is asked, and at most.
const LIMIT: usize = 100;
pub const LIMIT_MAX: usize = 1000;

/// Entries of one page of a timeline.
const TIMELINE_MAX: u64 = 1000;

/// How many a list shall have.
pub fn limit(asked: Option<usize>) -> Result<usize, Problem> {
    match asked.unwrap_or(LIMIT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        other => Err(Problem::bad_request(format!(
            "limit is from 1 to {LIMIT_MAX}, found {other}"
        ))),
    }
}

fn read_number(text: &str, what: &str) -> Result<u64, Problem> {
    text.parse()
        .map_err(|_not_a_number: std::num::ParseIntError| {
            Problem::bad_request(format!("bad {what} \"{text}\""))
        })
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    #[param(value_type = Option<words::IncidentStatus>, inline)]
    status: Option<String>,
    #[param(value_type = Option<words::Severity>, inline)]
    severity: Option<Severity>,
    #[param(value_type = Option<words::Phase>, inline)]
    phase: Option<Phase>,
    team: Option<String>,
    /// A part of the title or of the key.
    q: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next` of the page before.
    #[param(pattern = "^[0-9]{1,19}$")]
    cursor: Option<String>,
}

/// Incidents, newest first.
#[utoipa::path(
    get,
    path = "/incidents",
    operation_id = "listIncidents",
    security(("bearer" = ["viewer"])),
    params(ListQuery),
    responses((status = 200, description = "A page of incidents", body = view::Incidents), Misasked)
)]
pub async fn list(
    _actor: Actor,
    State(store): State<Store>,
    State(clock): State<Clock>,
    Query(query): Query<ListQuery>,
) -> Result<Json<view::Incidents>, Problem> {
    let open = match query.status.as_deref() {
        None => None,
        Some("open") => Some(true),
        Some("closed") => Some(false),
        Some(other) => {
            return Err(Problem::bad_request(format!(
                "status is open or closed, found \"{other}\""
            )));
        }
    };
    let filter = IncidentFilter {
        open,
        severity: query.severity,
        phase: query.phase,
        team: query.team,
        text: query.q,
    };
    let before = query
        .cursor
        .map(|cursor| read_number(&cursor, "cursor"))
        .transpose()?;
    let limit = limit(query.limit)?;
    let now = clock.now();
    let (items, next) = store
        .look(move |reader| {
            let page = lists::incidents(reader, &filter, before, limit)?;
            let mut items = Vec::with_capacity(page.items.len());
            for number in page.items {
                if let Some(incident) = reader.incident(number)? {
                    items.push(view::incident(&incident, reader.tally(number)?, now));
                }
            }
            Ok((items, page.next))
        })
        .await?;
    Ok(Json(view::Incidents {
        incidents: items,
        next,
    }))
}

pub(super) fn find(
    reader: &Reader<'_>,
    number: u64,
) -> Result<Option<Arc<Incident>>, crate::store::Error> {
    reader.incident(number)
}

pub(super) fn no_such(number: u64) -> Problem {
    Problem::not_found(format!("there is no incident {number}"))
}

pub(super) async fn shown(
    store: &Store,
    incident: &Incident,
    now: Timestamp,
) -> Result<Json<view::Incident>, Problem> {
    let number = incident.number();
    let received = store.look(move |reader| reader.tally(number)).await?;
    Ok(Json(view::incident(incident, received, now)))
}

/// An incident with the changes that are worth a look beside it.
#[utoipa::path(
    get,
    path = "/",
    operation_id = "showIncident",
    security(("bearer" = ["viewer"])),
    params(ByNumber),
    responses((status = 200, description = "The incident", body = view::Incident), Missing)
)]
pub async fn show(
    _actor: Actor,
    Path(number): Path<u64>,
    State(store): State<Store>,
    State(clock): State<Clock>,
) -> Result<Json<view::Incident>, Problem> {
    let now = clock.now();
    let found = store
        .look(move |reader| {
            let Some(incident) = find(reader, number)? else {
                return Ok(None);
            };
            let mut whole = view::incident(&incident, reader.tally(number)?, now);
            let related = changes::beside(reader, &incident, now)?;
            whole.changes = Some(related.iter().map(view::related).collect());
            Ok(Some(whole))
        })
        .await?;
    found.map(Json).ok_or_else(|| no_such(number))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PartQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
    /// `next` of the page before.
    #[param(pattern = "^[0-9a-fA-F]{16}(-[0-9a-fA-F]{16})?$")]
    pub(super) cursor: Option<String>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct TimelineQuery {
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = 1000)]
    limit: Option<usize>,
    /// The sequence number to go on from.
    #[param(pattern = "^[0-9]{1,19}$")]
    cursor: Option<String>,
}

/// The incident's events in order; the cursor is the sequence number to go on from.
#[utoipa::path(
    get,
    path = "/timeline",
    operation_id = "showTimeline",
    security(("bearer" = ["viewer"])),
    params(ByNumber, TimelineQuery),
    responses((status = 200, description = "A page of its timeline", body = view::Timeline), Missing)
)]
pub async fn timeline(
    _actor: Actor,
    Path(number): Path<u64>,
    Query(query): Query<TimelineQuery>,
    State(site): State<Site>,
) -> Result<Json<view::Timeline>, Problem> {
    let from = query
        .cursor
        .map(|cursor| read_number(&cursor, "cursor"))
        .transpose()?
        .unwrap_or(1);
    let limit = query
        .limit
        .map_or(Ok(LIMIT_MAX), |asked| limit(Some(asked)))?;
    let most = u64::try_from(limit)
        .unwrap_or(TIMELINE_MAX)
        .min(TIMELINE_MAX);
    let live = site.live.load();
    let tokens: Vec<String> = live
        .access
        .tokens
        .iter()
        .map(|token| token.name.clone())
        .collect();
    let found = site
        .store
        .look(move |reader| {
            let Some(incident) = find(reader, number)? else {
                return Ok(None);
            };
            let entries = reader.entries(number, from, from.saturating_add(most))?;
            Ok(Some((incident, entries)))
        })
        .await?;
    let (incident, entries) = found.ok_or_else(|| no_such(number))?;
    let last = entries.last().map_or(0, |entry| entry.seq);
    let next = (last != 0 && last < incident.seq).then(|| (last + 1).to_string());
    let book = &live.in_force.book;
    let items = entries
        .iter()
        .map(|entry| view::entry(entry, &incident, book, &tokens))
        .collect();
    Ok(Json(view::Timeline {
        timeline: items,
        next,
    }))
}

/// The alerts of an incident, and behind a cause what it keeps from one.
#[utoipa::path(
    get,
    path = "/alerts",
    operation_id = "listAlertsOfIncident",
    security(("bearer" = ["viewer"])),
    params(ByNumber, PartQuery),
    responses((status = 200, description = "A page of its alerts", body = view::Alerts), Missing)
)]
pub async fn alerts(
    _actor: Actor,
    Path(number): Path<u64>,
    Query(query): Query<PartQuery>,
    State(site): State<Site>,
) -> Result<Json<view::Alerts>, Problem> {
    let after = query.cursor.as_deref().map(member_cursor).transpose()?;
    let limit = limit(query.limit)?;
    let (rules, now) = (site.rules(), site.clock.now());
    let page = site
        .store
        .look(move |reader| {
            if reader.head(number)?.is_none() {
                return Ok(None);
            }
            let mut page = lists::alerts_of(reader, number, after, limit)?;
            page.items = with_muting(reader, page.items, &rules, now)?;
            Ok(Some(page))
        })
        .await?;
    let page = page.ok_or_else(|| no_such(number))?;
    Ok(Json(view::Alerts {
        alerts: page.items.iter().map(view::alert).collect(),
        next: page.next,
    }))
}

/// Where a page of an incident's alerts ended.
pub(super) fn member_cursor(text: &str) -> Result<lists::MemberCursor, Problem> {
    let read = lists::read_member_cursor(text);
    read.ok_or_else(|| Problem::bad_request(format!("bad cursor \"{text}\"")))
}

/// The same alerts with what mutes them now.
pub(super) fn with_muting(
    reader: &Reader<'_>,
    items: Vec<Listed>,
    rules: &RuleSet,
    now: Timestamp,
) -> Result<Vec<Listed>, crate::store::Error> {
    let each = items.into_iter();
    each.map(|listed| listed.with_muting(reader, rules, now))
        .collect()
}

/// The pages of an incident, newest first, each with its attempts.
#[utoipa::path(
    get,
    path = "/pages",
    operation_id = "listPages",
    security(("bearer" = ["viewer"])),
    params(ByNumber),
    responses((status = 200, description = "Its pages", body = view::Pages), Missing)
)]
pub async fn pages(
    _actor: Actor,
    Path(number): Path<u64>,
    State(store): State<Store>,
    State(links): State<Arc<Links>>,
) -> Result<Json<view::Pages>, Problem> {
    let found = store
        .look(move |reader| {
            let Some(incident) = find(reader, number)? else {
                return Ok(None);
            };
            Ok(Some((incident, reader.pages(number)?)))
        })
        .await?;
    let (incident, pages) = found.ok_or_else(|| no_such(number))?;
    let items = pages
        .iter()
        .rev()
        .map(|page| view::page(&incident, page, &links))
        .collect();
    Ok(Json(view::Pages {
        pages: items,
        next: None,
    }))
}

pub(super) fn read_fingerprint(text: &str) -> Result<Fingerprint, Problem> {
    text.parse()
        .map_err(|error: crate::domain::alert::NotAFingerprint| {
            Problem::bad_request(error.to_string())
        })
}
