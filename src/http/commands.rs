//! What people ask of an incident, each with its body; and who asks, with which key.

use crate::domain::action_item::{ActionItem, ActionKind, ActionState, Priority};
use crate::domain::analysis::Analysis;
use crate::domain::incident::Ask;
use crate::domain::incident::event::{Audience, Origin, Remark, Role as IncidentRole, Waiver};
use crate::domain::phase::Output;
use crate::domain::rule::DEFAULT_SEVERITY;
use crate::domain::severity::{Severity, SeverityInputs};
use crate::domain::time::Timestamp;
use crate::http::auth::{Actor, Role};
use crate::http::body::Command;
use crate::http::params::Path;
use crate::http::problem::Problem;
use crate::http::{LiveSite, Site, view};
use crate::store::Store;
use crate::store::commands::{Caller, Reported, ask, report, resolve_alert};
use crate::store::engine::Class;
use crate::store::lists::{self};
use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::pin::Pin;
use std::sync::Arc;

use crate::http::incidents::{find, no_such, read_fingerprint, shown};

/// Bytes of a text that somebody writes.
const TEXT_MAX_BYTES: usize = 16 * 1024;

/// Who commands, with which key.
#[derive(Debug)]
pub struct Commander {
    actor: Actor,
    idempotency_key: Option<String>,
    live: Arc<LiveSite>,
    now: Timestamp,
}

impl FromRequestParts<Site> for Commander {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        let actor = Actor::from_request_parts(parts, site).await?;
        actor.must_be(Role::Responder)?;
        let key = parts
            .headers
            .get("idempotency-key")
            .map(|value| value.to_str().map(str::to_owned));
        let idempotency_key = key
            .transpose()
            .map_err(|_not_text| Problem::bad_request("the Idempotency-Key is no text"))?;
        if idempotency_key
            .as_ref()
            .is_some_and(|key| key.is_empty() || key.len() > 256)
        {
            return Err(Problem::bad_request(
                "an Idempotency-Key has 1 to 256 bytes",
            ));
        }
        Ok(Self {
            actor,
            idempotency_key,
            live: Arc::clone(&site.live),
            now: site.clock.now(),
        })
    }
}

impl Commander {
    /// Whose token it shows.
    pub(super) fn token(&self) -> Option<String> {
        self.actor.token.clone()
    }

    pub fn caller(self, by: Option<&str>) -> Result<Caller, Problem> {
        Ok(Caller {
            by: self.actor.acts_as(by)?,
            idempotency_key: self.idempotency_key,
            in_force: self.live.load().in_force.clone(),
            now: self.now,
        })
    }
}

/// What a body asks, and in whose name.
type Asked = Result<(Ask, Option<String>), Problem>;

/// The handler of bodies that ask one thing of an incident.
pub fn asks<B: DeserializeOwned + Send + 'static>(
    read: fn(B) -> Asked,
) -> impl Fn(Path<u64>, State<Store>, Commander, Command<B>) -> Answering + Clone + Send + Sync + 'static
{
    move |Path(number), State(store), commander, Command(body)| {
        Box::pin(async move {
            let (asked, by) = read(body)?;
            do_ask(&store, number, asked, commander, by.as_deref()).await
        })
    }
}

/// A command that is being done: it answers the incident as it is then.
type Answering = Pin<Box<dyn Future<Output = Result<Json<Value>, Problem>> + Send>>;

async fn do_ask(
    store: &Store,
    number: u64,
    asked: Ask,
    commander: Commander,
    by: Option<&str>,
) -> Result<Json<Value>, Problem> {
    let now = commander.now;
    let caller = commander.caller(by)?;
    let incident = store
        .transact(Class::Engine, move |tx| ask(tx, number, asked, &caller))
        .await?;
    shown(store, &incident, now).await
}

pub(super) fn text(name: &str, text: String) -> Result<String, Problem> {
    if text.trim().is_empty() {
        return Err(
            Problem::bad_request(format!("{name} wants a text, found none"))
                .at(format!("$.{name}")),
        );
    }
    if text.len() > TEXT_MAX_BYTES {
        let detail = format!(
            "{name} has at most {TEXT_MAX_BYTES} bytes, found {}",
            text.len()
        );
        return Err(Problem::bad_request(detail).at(format!("$.{name}")));
    }
    Ok(text)
}

fn read_time(name: &str, text: &str) -> Result<Timestamp, Problem> {
    // A day without a time is its end: what is due on a day may be done on that day.
    let text = if text.len() == 10 {
        format!("{text}T23:59:59Z")
    } else {
        text.to_owned()
    };
    text.parse()
        .map_err(|error: crate::domain::time::NotATime| {
            Problem::bad_request(error.to_string()).at(format!("$.{name}"))
        })
}

/// A command's body that has nothing but who asks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnlyBy {
    by: Option<String>,
}

impl OnlyBy {
    pub fn by(&self) -> Option<&str> {
        self.by.as_deref()
    }
}

pub fn acknowledge(body: OnlyBy) -> Asked {
    Ok((Ask::Acknowledge, body.by))
}

pub fn unacknowledge(body: OnlyBy) -> Asked {
    Ok((Ask::Unacknowledge, body.by))
}

pub fn take_over(body: OnlyBy) -> Asked {
    Ok((Ask::TakeOver, body.by))
}

pub fn escalate(body: OnlyBy) -> Asked {
    Ok((Ask::Escalate, body.by))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewIncident {
    title: String,
    severity: Option<Severity>,
    description: Option<String>,
    team: Option<String>,
    source: Origin,
    by: Option<String>,
}

pub async fn open(
    State(store): State<Store>,
    State(live): State<Arc<LiveSite>>,
    commander: Commander,
    Command(body): Command<NewIncident>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    if body.source == Origin::Alert {
        return Err(Problem::bad_request("source is engineering or customer").at("$.source"));
    }
    let book = Arc::clone(&live.load().in_force.book);
    if let Some(team) = &body.team
        && !book.teams.contains_key(team)
    {
        return Err(Problem::bad_request(format!("there is no team \"{team}\"")).at("$.team"));
    }
    let title = text("title", body.title)?;
    let reported = Reported {
        description: body.description.unwrap_or_else(|| title.clone()),
        title,
        severity: body.severity.unwrap_or(DEFAULT_SEVERITY),
        team: body.team,
        origin: body.source,
    };
    let now = commander.now;
    let caller = commander.caller(body.by.as_deref())?;
    let incident = store
        .transact(Class::Engine, move |tx| report(tx, &reported, &caller))
        .await?;
    Ok((StatusCode::CREATED, shown(&store, &incident, now).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageTo {
    to: String,
    by: Option<String>,
}

pub fn page(body: PageTo) -> Asked {
    let to = body
        .to
        .parse()
        .map_err(|error: crate::domain::escalation::NotATarget| {
            Problem::bad_request(error.to_string()).at("$.to")
        })?;
    Ok((Ask::Page { to }, body.by))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetSeverity {
    severity: Severity,
    impact: Option<String>,
    scope: Option<String>,
    urgency: Option<String>,
    reason: Option<String>,
    by: Option<String>,
}

pub fn severity(body: SetSeverity) -> Asked {
    let ask = Ask::SetSeverity {
        severity: body.severity,
        inputs: SeverityInputs {
            impact: body.impact,
            scope: body.scope,
            urgency: body.urgency,
        },
        reason: text("reason", body.reason.unwrap_or_default())?,
    };
    Ok((ask, body.by))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assign {
    role: IncidentRole,
    person: String,
    by: Option<String>,
}

pub fn assign(body: Assign) -> Asked {
    let ask = Ask::Assign {
        role: body.role,
        person: text("person", body.person)?,
    };
    Ok((ask, body.by))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    audience: Audience,
    text: String,
    by: Option<String>,
}

pub fn update(body: Update) -> Asked {
    let ask = Ask::Update {
        audience: body.audience,
        text: text("text", body.text)?,
    };
    Ok((ask, body.by))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remarked {
    text: String,
    url: Option<String>,
    at: Option<String>,
    by: Option<String>,
}

impl Remarked {
    fn read(self) -> Result<(Remark, Option<String>), Problem> {
        let happened_at = self
            .at
            .as_deref()
            .map(|at| read_time("at", at))
            .transpose()?;
        Ok((
            Remark {
                text: text("text", self.text)?,
                url: self.url,
                happened_at,
            },
            self.by,
        ))
    }
}

pub fn note(body: Remarked) -> Asked {
    let (remark, by) = body.read()?;
    Ok((Ask::Note(remark), by))
}

pub fn evidence(body: Remarked) -> Asked {
    let (remark, by) = body.read()?;
    Ok((Ask::AddEvidence(remark), by))
}

pub fn mitigation(body: Remarked) -> Asked {
    let (remark, by) = body.read()?;
    Ok((Ask::ApplyMitigation(remark), by))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Containment {
    text: Option<String>,
    url: Option<String>,
    at: Option<String>,
    none_because: Option<String>,
    by: Option<String>,
}

pub fn containment(body: Containment) -> Asked {
    let Containment {
        text: said,
        url,
        at,
        none_because,
        by,
    } = body;
    let ask = match (said, none_because) {
        (Some(said), None) => {
            let (remark, _by) = Remarked {
                text: said,
                url,
                at,
                by: None,
            }
            .read()?;
            Ask::AddContainment(remark)
        }
        (None, Some(because)) => Ask::NoContainment {
            because: text("none_because", because)?,
        },
        _ => return Err(Problem::bad_request("either text or none_because is wanted").at("$")),
    };
    Ok((ask, by))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analysed {
    immediate_cause: Option<String>,
    weaknesses: Option<Vec<crate::domain::analysis::Finding>>,
    contributing_factors: Option<Vec<String>>,
    none_because: Option<String>,
    detection_gap: Option<crate::domain::analysis::Finding>,
    by: Option<String>,
}

pub fn analysis(body: Analysed) -> Asked {
    let Analysed {
        immediate_cause,
        weaknesses,
        contributing_factors,
        none_because,
        detection_gap,
        by,
    } = body;
    let change = Analysis {
        immediate_cause,
        weaknesses,
        contributing_factors,
        none_because,
        detection_gap,
    };
    Ok((Ask::Analyse(change), by))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    kind: Option<ActionKind>,
    title: Option<String>,
    answers: Option<Vec<String>>,
    owner: Option<String>,
    due: Option<String>,
    priority: Option<Priority>,
    state: Option<ActionState>,
    evidence: Option<String>,
    by: Option<String>,
}

impl Action {
    fn read(self) -> Result<(ActionItem, Option<String>), Problem> {
        let Self {
            kind,
            title,
            answers,
            owner,
            due,
            priority,
            state,
            evidence,
            by,
        } = self;
        let due = due
            .as_deref()
            .map(|due| read_time("due", due))
            .transpose()?;
        Ok((
            ActionItem {
                kind,
                title,
                answers,
                owner,
                due,
                priority,
                state,
                evidence,
            },
            by,
        ))
    }
}

pub fn add_action(body: Action) -> Asked {
    let (action, by) = body.read()?;
    Ok((Ask::AddAction(action), by))
}

pub async fn change_action(
    Path((number, index)): Path<(u64, u32)>,
    State(store): State<Store>,
    commander: Commander,
    Command(body): Command<Action>,
) -> Result<Json<Value>, Problem> {
    let (change, by) = body.read()?;
    do_ask(
        &store,
        number,
        Ask::ChangeAction { index, change },
        commander,
        by.as_deref(),
    )
    .await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    statement: String,
    url: Option<String>,
    by: Option<String>,
}

pub async fn output(
    Path((number, id)): Path<(u64, String)>,
    State(store): State<Store>,
    commander: Commander,
    Command(body): Command<Statement>,
) -> Result<Json<Value>, Problem> {
    let output: Output = id
        .parse()
        .map_err(|error: crate::domain::phase::NotAnOutput| {
            Problem::not_found(format!(
                "{error}; statements are {}",
                view::statements().join(", ")
            ))
        })?;
    let ask = Ask::GiveOutput {
        output,
        statement: text("statement", body.statement)?,
        url: body.url,
    };
    do_ask(&store, number, ask, commander, body.by.as_deref()).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waive {
    #[serde(default)]
    waive: Vec<Exception>,
    by: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    output: Output,
    reason: String,
    until: Option<String>,
}

impl Waive {
    fn read(self) -> Result<(Vec<Waiver>, Option<String>), Problem> {
        let mut waivers = Vec::new();
        for exception in self.waive {
            let until = exception
                .until
                .as_deref()
                .map(|until| read_time("waive", until))
                .transpose()?;
            let reason = text("reason", exception.reason)?;
            waivers.push(Waiver {
                output: exception.output,
                reason,
                until,
            });
        }
        Ok((waivers, self.by))
    }
}

pub fn advance(body: Waive) -> Asked {
    let (waive, by) = body.read()?;
    Ok((Ask::Advance { waive }, by))
}

pub fn close(body: Waive) -> Asked {
    let (waive, by) = body.read()?;
    Ok((Ask::Close { waive }, by))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    reason: String,
    by: Option<String>,
}

pub fn reopen(body: Reason) -> Asked {
    let ask = Ask::Reopen {
        reason: text("reason", body.reason)?,
    };
    Ok((ask, body.by))
}

/// Resolves by hand one of its alerts that fires or is stale.
pub async fn resolve(
    Path((number, fingerprint)): Path<(u64, String)>,
    State(store): State<Store>,
    commander: Commander,
    Command(body): Command<Reason>,
) -> Result<Json<Value>, Problem> {
    let fingerprint = read_fingerprint(&fingerprint)?;
    let now = commander.now;
    let caller = commander.caller(body.by.as_deref())?;
    let reason = text("reason", body.reason)?;
    let work = move |tx: &mut crate::store::Tx<'_, '_>| {
        resolve_alert(tx, Some(number), fingerprint, &reason, &caller)
    };
    store.transact(Class::Engine, work).await?;
    let incident = store
        .look(move |reader| find(reader, number))
        .await?
        .ok_or_else(|| no_such(number))?;
    shown(&store, &incident, now).await
}

/// Resolves by hand an alert that has no incident.
pub async fn resolve_alone(
    Path(fingerprint): Path<String>,
    State(store): State<Store>,
    commander: Commander,
    Command(body): Command<Reason>,
) -> Result<Json<Value>, Problem> {
    let fingerprint = read_fingerprint(&fingerprint)?;
    let caller = commander.caller(body.by.as_deref())?;
    let reason = text("reason", body.reason)?;
    let work = move |tx: &mut crate::store::Tx<'_, '_>| {
        resolve_alert(tx, None, fingerprint, &reason, &caller)
    };
    store.transact(Class::Engine, work).await?;
    let listed = store
        .look(move |reader| lists::listed(reader, fingerprint))
        .await?;
    let listed =
        listed.ok_or_else(|| Problem::not_found(format!("there is no alert {fingerprint}")))?;
    Ok(Json(view::alert(&listed)))
}
