//! Who is on call: now, over a span, and the exceptions.

use crate::clock::Clock;
use crate::domain::escalation::Target;
use crate::domain::oncall::OnCall;
use crate::domain::schedule::{Override, OverrideKind};
use crate::domain::time::Timestamp;
use crate::http::LiveSite;
use crate::http::auth::Actor;
use crate::http::body::Command;
use crate::http::commands::Commander;
use crate::http::openapi::asked::Once;
use crate::http::openapi::problems::{Missing, Mistold};
use crate::http::openapi::words;
use crate::http::params::{ByName, Path, Query};
use crate::http::problem::Problem;
use crate::http::view::Instant;
use crate::store::Store;
use crate::store::commands::add_override as add;
use crate::store::engine::Class;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// The longest span of shifts that is computed for one answer.
const SPAN_MAX: Duration = Duration::from_secs(400 * 86_400);

/// The span where none is asked for.
const SPAN: Duration = Duration::from_secs(14 * 86_400);

/// Who is on call, by schedule.
#[derive(Debug, Serialize, ToSchema)]
pub struct OnCallSchedules {
    pub oncall: Vec<OnCallNow>,
    #[schema(required = true)]
    pub next: Option<String>,
}

/// Who is on call by one schedule.
#[derive(Debug, Serialize, ToSchema)]
pub struct OnCallNow {
    pub schedule: String,
    pub timezone: &'static str,
    pub people: Vec<OnCallPerson>,
    /// When that changes.
    #[schema(value_type = Option<words::Instant>, required = true)]
    pub until: Option<Instant>,
}

/// Somebody who is on call.
#[derive(Debug, Serialize, ToSchema)]
pub struct OnCallPerson {
    pub person: String,
    #[schema(required = true)]
    pub name: Option<String>,
}

/// Shifts of a schedule, in order.
#[derive(Debug, Serialize, ToSchema)]
pub struct Shifts {
    pub shifts: Vec<Shift>,
    #[schema(required = true)]
    pub next: Option<String>,
}

/// Somebody's time on call.
#[derive(Debug, Serialize, ToSchema)]
pub struct Shift {
    pub person: String,
    #[schema(value_type = words::Instant)]
    pub from: Instant,
    #[schema(value_type = words::Instant)]
    pub to: Instant,
}

/// Overrides of a schedule, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Overrides {
    pub overrides: Vec<OverrideShown>,
    #[schema(required = true)]
    pub next: Option<String>,
}

/// An exception to a schedule, for a span.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Override)]
pub struct OverrideShown {
    pub id: u64,
    #[schema(value_type = words::OverrideKind)]
    pub kind: OverrideKind,
    pub person: String,
    #[schema(required = true)]
    pub instead_of: Option<String>,
    #[schema(value_type = words::Instant)]
    pub from: Instant,
    #[schema(value_type = words::Instant)]
    pub to: Instant,
    pub reason: String,
    pub by: String,
    #[schema(value_type = words::Instant)]
    pub made_at: Instant,
}

/// Who is on call by every schedule, and until when that holds.
#[utoipa::path(
    get,
    path = "/oncall",
    operation_id = "showOnCall",
    security(("bearer" = ["viewer"])),
    responses((status = 200, description = "All schedules", body = OnCallSchedules))
)]
pub async fn now(
    _actor: Actor,
    State(store): State<Store>,
    State(live): State<Arc<LiveSite>>,
    State(clock): State<Clock>,
) -> Result<Json<OnCallSchedules>, Problem> {
    let now = clock.now();
    let overrides = store.look(move |reader| reader.overrides()).await?;
    let book = Arc::clone(&live.load().in_force.book);
    let oncall = OnCall {
        book: &book,
        overrides: &overrides,
    };
    let items = book.schedules.iter().map(|(name, schedule)| {
        let people = oncall.people_of(&Target::Schedule(name.clone()), now);
        let people = people.into_iter().map(|person| OnCallPerson {
            name: book.people.get(&person).map(|known| known.name.clone()),
            person,
        });
        let until = schedule.next_change(overrides.of(name), now);
        OnCallNow {
            schedule: name.clone(),
            timezone: schedule.zone.name(),
            people: people.collect(),
            until: until.map(Instant),
        }
    });
    Ok(Json(OnCallSchedules {
        oncall: items.collect(),
        next: None,
    }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct SpanQuery {
    /// Now, where it is missing.
    #[param(value_type = Option<words::Instant>, inline)]
    from: Option<String>,
    /// Two weeks later, where it is missing; at most 400 days after `from`.
    #[param(value_type = Option<words::Instant>, inline)]
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
#[utoipa::path(
    get,
    path = "/schedules/{name}",
    operation_id = "listShifts",
    security(("bearer" = ["viewer"])),
    params(ByName, SpanQuery),
    responses((status = 200, description = "The shifts", body = Shifts), Missing)
)]
pub async fn shifts(
    _actor: Actor,
    Path(name): Path<String>,
    Query(query): Query<SpanQuery>,
    State(store): State<Store>,
    State(live): State<Arc<LiveSite>>,
    State(clock): State<Clock>,
) -> Result<Json<Shifts>, Problem> {
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
    let shifts = shifts.into_iter().map(|shift| Shift {
        person: shift.person,
        from: shift.from.into(),
        to: shift.to.into(),
    });
    Ok(Json(Shifts {
        shifts: shifts.collect(),
        next: None,
    }))
}

fn override_view(entry: &Override) -> OverrideShown {
    OverrideShown {
        id: entry.id,
        kind: entry.kind,
        person: entry.person.clone(),
        instead_of: entry.instead_of.clone(),
        from: entry.from.into(),
        to: entry.to.into(),
        reason: entry.reason.clone(),
        by: entry.by.clone(),
        made_at: entry.made_at.into(),
    }
}

/// The overrides of a schedule, newest first.
#[utoipa::path(
    get,
    path = "/schedules/{name}/overrides",
    operation_id = "listOverrides",
    security(("bearer" = ["viewer"])),
    params(ByName),
    responses((status = 200, description = "The overrides", body = Overrides), Missing)
)]
pub async fn overrides(
    _actor: Actor,
    Path(name): Path<String>,
    State(store): State<Store>,
    State(live): State<Arc<LiveSite>>,
) -> Result<Json<Overrides>, Problem> {
    if !live.load().in_force.book.schedules.contains_key(&name) {
        return Err(no_such(&name));
    }
    let overrides = store.look(move |reader| reader.overrides()).await?;
    let overrides = overrides.of(&name).iter().rev();
    Ok(Json(Overrides {
        overrides: overrides.map(override_view).collect(),
        next: None,
    }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOverride {
    #[schema(value_type = words::OverrideKind)]
    kind: OverrideKind,
    person: String,
    /// Of `replace`: whom; everybody, where it is missing.
    instead_of: Option<String>,
    #[schema(value_type = words::Instant)]
    from: String,
    #[schema(value_type = words::Instant)]
    to: String,
    #[serde(default)]
    reason: String,
    by: Option<String>,
}

/// Puts somebody on call, takes somebody off, or puts one in the place of another, for a span.
#[utoipa::path(
    post,
    path = "/schedules/{name}/overrides",
    operation_id = "addOverride",
    security(("bearer" = ["responder"])),
    params(ByName, Once),
    request_body = NewOverride,
    responses((status = 201, description = "The override", body = OverrideShown), Mistold)
)]
pub async fn add_override(
    Path(name): Path<String>,
    State(store): State<Store>,
    State(live): State<Arc<LiveSite>>,
    commander: Commander,
    Command(body): Command<NewOverride>,
) -> Result<(StatusCode, Json<OverrideShown>), Problem> {
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
