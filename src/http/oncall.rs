//! Who is on call: now, over a span, and the exceptions.

use crate::clock::Clock;
use crate::domain::escalation::Target;
use crate::domain::oncall::OnCall;
use crate::domain::schedule::{Override, OverrideKind};
use crate::domain::time::Timestamp;
use crate::http::auth::Actor;
use crate::http::body::Command;
use crate::http::commands::Commander;
use crate::http::params::{Path, Query};
use crate::http::problem::Problem;
use crate::http::{LiveSite, view};
use crate::store::Store;
use crate::store::commands::add_override as add;
use crate::store::engine::Class;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The longest span of shifts that is computed for one answer.
const SPAN_MAX: Duration = Duration::from_secs(400 * 86_400);

/// The span where none is asked for.
const SPAN: Duration = Duration::from_secs(14 * 86_400);

/// Who is on call by every schedule, and until when that holds.
pub async fn now(
    _actor: Actor,
    State(store): State<Store>,
    State(live): State<Arc<LiveSite>>,
    State(clock): State<Clock>,
) -> Result<Json<Value>, Problem> {
    let now = clock.now();
    let overrides = store.look(move |reader| reader.overrides()).await?;
    let book = Arc::clone(&live.load().in_force.book);
    let oncall = OnCall {
        book: &book,
        overrides: &overrides,
    };
    let items = book.schedules.iter().map(|(name, schedule)| {
        let people = oncall.people_of(&Target::Schedule(name.clone()), now);
        let people: Vec<Value> = people
            .iter()
            .map(|person| json!({ "person": person, "name": book.people.get(person).map(|known| &known.name) }))
            .collect();
        let until = schedule.next_change(overrides.of(name), now);
        json!({ "schedule": name, "timezone": schedule.zone.name(), "people": people, "until": until.map(view::instant) })
    });
    Ok(Json(view::list("oncall", items.collect(), None)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpanQuery {
    from: Option<String>,
    to: Option<String>,
}

fn instant(name: &str, text: &str) -> Result<Timestamp, Problem> {
    text.parse()
        .map_err(|error: crate::domain::time::NotATime| {
            Problem::bad_request(format!("{name}: {error}"))
        })
}

fn no_such(name: &str) -> Problem {
    Problem::not_found(format!("there is no schedule \"{name}\""))
}

/// The shifts of a span; the next two weeks where none is asked for.
pub async fn shifts(
    _actor: Actor,
    Path(name): Path<String>,
    Query(query): Query<SpanQuery>,
    State(store): State<Store>,
    State(live): State<Arc<LiveSite>>,
    State(clock): State<Clock>,
) -> Result<Json<Value>, Problem> {
    let from = query
        .from
        .as_deref()
        .map(|from| instant("from", from))
        .transpose()?
        .unwrap_or_else(|| clock.now());
    let to = query
        .to
        .as_deref()
        .map(|to| instant("to", to))
        .transpose()?
        .unwrap_or_else(|| from.plus(SPAN));
    if to <= from || to.since(from) > SPAN_MAX {
        return Err(Problem::bad_request(
            "to lies after from, by at most 400 days",
        ));
    }
    let book = Arc::clone(&live.load().in_force.book);
    let schedule = book.schedules.get(&name).ok_or_else(|| no_such(&name))?;
    let overrides = store.look(move |reader| reader.overrides()).await?;
    let shifts = schedule.shifts(overrides.of(&name), from, to);
    let items = shifts
        .iter()
        .map(|shift| json!({ "person": shift.person, "from": view::instant(shift.from), "to": view::instant(shift.to) }));
    Ok(Json(view::list("shifts", items.collect(), None)))
}

fn override_view(entry: &Override) -> Value {
    json!({
        "id": entry.id,
        "kind": entry.kind,
        "person": entry.person,
        "instead_of": entry.instead_of,
        "from": view::instant(entry.from),
        "to": view::instant(entry.to),
        "reason": entry.reason,
        "by": entry.by,
        "made_at": view::instant(entry.made_at),
    })
}

pub async fn overrides(
    _actor: Actor,
    Path(name): Path<String>,
    State(store): State<Store>,
    State(live): State<Arc<LiveSite>>,
) -> Result<Json<Value>, Problem> {
    if !live.load().in_force.book.schedules.contains_key(&name) {
        return Err(no_such(&name));
    }
    let overrides = store.look(move |reader| reader.overrides()).await?;
    Ok(Json(view::list(
        "overrides",
        overrides
            .of(&name)
            .iter()
            .rev()
            .map(override_view)
            .collect(),
        None,
    )))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewOverride {
    kind: OverrideKind,
    person: String,
    instead_of: Option<String>,
    from: String,
    to: String,
    #[serde(default)]
    reason: String,
    by: Option<String>,
}

pub async fn add_override(
    Path(name): Path<String>,
    State(store): State<Store>,
    State(live): State<Arc<LiveSite>>,
    commander: Commander,
    Command(body): Command<NewOverride>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let book = Arc::clone(&live.load().in_force.book);
    if !book.schedules.contains_key(&name) {
        return Err(no_such(&name));
    }
    for person in std::iter::once(&body.person).chain(&body.instead_of) {
        if !book.people.contains_key(person) {
            return Err(Problem::bad_request(format!(
                "there is nobody called \"{person}\""
            )));
        }
    }
    let (from, to) = (instant("from", &body.from)?, instant("to", &body.to)?);
    if to <= from {
        return Err(Problem::bad_request("to lies after from").at("$.to"));
    }
    let caller = commander.caller(body.by.as_deref())?;
    let entry = Override {
        id: 0,
        kind: body.kind,
        person: body.person,
        instead_of: body.instead_of,
        from,
        to,
        reason: body.reason,
        by: caller.by.clone(),
        made_at: caller.now,
    };
    let entry = store
        .transact(Class::Engine, move |tx| add(tx, &name, entry, &caller))
        .await?;
    Ok((StatusCode::CREATED, Json(override_view(&entry))))
}
