//! What people ask of an incident, each with its body; and who asks, with which key.

use crate::domain::action_item::{ActionItem, ActionKind, ActionState, Priority, is_an_answer};
use crate::domain::analysis::Analysis;
use crate::domain::incident::event::{Audience, Origin, Remark, Role as IncidentRole, Waiver};
use crate::domain::incident::{Ask, Refusal};
use crate::domain::phase::Output;
use crate::domain::rule::DEFAULT_SEVERITY;
use crate::domain::severity::{Severity, SeverityInputs};
use crate::domain::time::Timestamp;
use crate::http::auth::{Actor, Role};
use crate::http::body::Command;
use crate::http::openapi::asked::{Once, asked};
use crate::http::openapi::problems::{Misread, Unmet};
use crate::http::openapi::words;
use crate::http::params::{ByFingerprint, ByNumber, Path};
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
use std::sync::Arc;
use utoipa::ToSchema;

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
pub(super) type Asked = Result<(Ask, Option<String>), Problem>;

/// An incident that something is asked of, and who asks.
#[derive(Debug)]
pub struct On {
    number: u64,
    store: Store,
    commander: Commander,
}

impl FromRequestParts<Site> for On {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        let Path(number) = Path::from_request_parts(parts, site).await?;
        Ok(Self {
            number,
            store: site.store.clone(),
            commander: Commander::from_request_parts(parts, site).await?,
        })
    }
}

impl On {
    /// Does what was asked, and answers the incident as it is then.
    pub(super) async fn ask(self, asked: Asked) -> Result<Json<view::Incident>, Problem> {
        let (asked, by) = asked?;
        do_ask(
            &self.store,
            self.number,
            asked,
            self.commander,
            by.as_deref(),
        )
        .await
    }
}

async fn do_ask(
    store: &Store,
    number: u64,
    asked: Ask,
    commander: Commander,
    by: Option<&str>,
) -> Result<Json<view::Incident>, Problem> {
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
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Asked)]
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewIncident {
    #[schema(pattern = "\\S", max_length = 16384)]
    title: String,
    #[schema(value_type = Option<words::Severity>)]
    severity: Option<Severity>,
    /// The title where it is missing.
    description: Option<String>,
    /// One that is configured.
    team: Option<String>,
    /// Who reports it.
    #[schema(value_type = words::ReportedBy)]
    source: Origin,
    by: Option<String>,
}

/// Reports an incident: it is paged about at once.
#[utoipa::path(
    post,
    path = "/incidents",
    operation_id = "openIncident",
    security(("bearer" = ["responder"])),
    params(Once),
    request_body = NewIncident,
    responses((status = 201, description = "The incident", body = view::Incident), Misread)
)]
pub async fn open(
    State(store): State<Store>,
    State(live): State<Arc<LiveSite>>,
    commander: Commander,
    Command(body): Command<NewIncident>,
) -> Result<(StatusCode, Json<view::Incident>), Problem> {
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPage)]
pub struct PageTo {
    #[schema(value_type = words::Target)]
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewSeverity)]
pub struct SetSeverity {
    #[schema(value_type = words::Severity)]
    severity: Severity,
    impact: Option<String>,
    scope: Option<String>,
    urgency: Option<String>,
    #[schema(value_type = String, pattern = "\\S", max_length = 16384)]
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewAssignment)]
pub struct Assign {
    #[schema(value_type = words::Role)]
    role: IncidentRole,
    #[schema(pattern = "\\S", max_length = 16384)]
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewUpdate)]
pub struct Update {
    #[schema(value_type = words::Audience)]
    audience: Audience,
    #[schema(pattern = "\\S", max_length = 16384)]
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRemark)]
pub struct Remarked {
    #[schema(pattern = "\\S", max_length = 16384)]
    text: String,
    url: Option<String>,
    /// When it happened: an instant, or a day, of which it is the end in UTC.
    #[schema(value_type = Option<words::Day>)]
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewContainment)]
pub struct Containment {
    #[schema(pattern = "\\S", max_length = 16384)]
    text: Option<String>,
    url: Option<String>,
    #[schema(value_type = Option<words::Day>)]
    at: Option<String>,
    #[schema(pattern = "\\S", max_length = 16384)]
    none_because: Option<String>,
    by: Option<String>,
}

asked!(AskedContainment as "NewContainment": Containment, one_of("text", "none_because"));

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
        (None, Some(because)) => {
            at.as_deref().map(|at| read_time("at", at)).transpose()?;
            Ask::NoContainment {
                because: text("none_because", because)?,
            }
        }
        _ => return Err(Problem::bad_request("either text or none_because is wanted").at("$")),
    };
    Ok((ask, by))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewAnalysis)]
pub struct Analysed {
    immediate_cause: Option<String>,
    #[schema(value_type = Option<Vec<view::Finding>>)]
    weaknesses: Option<Vec<crate::domain::analysis::Finding>>,
    contributing_factors: Option<Vec<String>>,
    none_because: Option<String>,
    #[schema(value_type = Option<view::Finding>)]
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChangedAction)]
pub struct Action {
    #[schema(value_type = Option<words::ActionKind>)]
    kind: Option<ActionKind>,
    title: Option<String>,
    #[schema(value_type = Option<Vec<words::Answered>>)]
    answers: Option<Vec<String>>,
    owner: Option<String>,
    /// An instant, or a day, of which it is the end in UTC.
    #[schema(value_type = Option<words::Day>)]
    due: Option<String>,
    #[schema(value_type = Option<words::Priority>)]
    priority: Option<Priority>,
    #[schema(value_type = Option<words::ActionState>)]
    state: Option<ActionState>,
    /// Where one sees that it was done; the reason where it was dropped.
    evidence: Option<String>,
    by: Option<String>,
}

asked!(AskedAction as "NewAction": Action, all_of("kind", "title"));

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
        for (n, answer) in answers.iter().flatten().enumerate() {
            if !is_an_answer(answer) {
                let found = answer.clone();
                let refusal = Refusal::NotAnAnswer { found };
                let path = format!("$.answers[{n}]");
                return Err(Problem::bad_request(refusal.to_string()).at(path));
            }
        }
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
    let title = action.title.as_deref().map(str::trim);
    let needs = |what, path: &str| {
        let refusal = Refusal::ActionIncomplete { what };
        Problem::bad_request(refusal.to_string()).at(path)
    };
    if action.kind.is_none() {
        return Err(needs("a kind, \"containment\" or \"systemic\"", "$.kind"));
    }
    if title.unwrap_or_default().is_empty() {
        return Err(needs("a title", "$.title"));
    }
    Ok((Ask::AddAction(action), by))
}

/// Changes an action item; what is absent stays as it was.
#[utoipa::path(
    patch,
    path = "/actions/{index}",
    operation_id = "changeAction",
    security(("bearer" = ["responder"])),
    params(ByNumber, ("index" = u32, Path, description = "Counted from 0", maximum = 4294967295u32), Once),
    request_body = Action,
    responses((status = 200, description = "The incident as it is then", body = view::Incident), Unmet)
)]
pub async fn change_action(
    Path((number, index)): Path<(u64, u32)>,
    State(store): State<Store>,
    commander: Commander,
    Command(body): Command<Action>,
) -> Result<Json<view::Incident>, Problem> {
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewStatement)]
pub struct Statement {
    #[schema(pattern = "\\S", max_length = 16384)]
    statement: String,
    url: Option<String>,
    by: Option<String>,
}

/// Gives an output in somebody's words.
#[utoipa::path(
    post,
    path = "/outputs/{id}",
    operation_id = "giveOutput",
    security(("bearer" = ["responder"])),
    params(ByNumber, ("id" = inline(words::Statement), Path, description = "The output"), Once),
    request_body = Statement,
    responses((status = 200, description = "The incident as it is then", body = view::Incident), Unmet)
)]
pub async fn output(
    Path((number, id)): Path<(u64, String)>,
    State(store): State<Store>,
    commander: Commander,
    Command(body): Command<Statement>,
) -> Result<Json<view::Incident>, Problem> {
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Waivers)]
pub struct Waive {
    #[serde(default)]
    waive: Vec<Exception>,
    by: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewWaiver)]
struct Exception {
    #[schema(value_type = words::Output)]
    output: Output,
    #[schema(pattern = "\\S", max_length = 16384)]
    reason: String,
    #[schema(value_type = Option<words::Day>)]
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    #[schema(pattern = "\\S", max_length = 16384)]
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
#[utoipa::path(
    post,
    path = "/alerts/{fingerprint}/resolve",
    operation_id = "resolveAlertOfIncident",
    security(("bearer" = ["responder"])),
    params(ByNumber, ByFingerprint),
    request_body = Reason,
    responses((status = 200, description = "The incident as it is then", body = view::Incident), Unmet)
)]
pub async fn resolve(
    Path((number, fingerprint)): Path<(u64, String)>,
    State(store): State<Store>,
    commander: Commander,
    Command(body): Command<Reason>,
) -> Result<Json<view::Incident>, Problem> {
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

/// Resolves an alert by hand, whether it belongs to an incident or to none.
#[utoipa::path(
    post,
    path = "/alerts/{fingerprint}/resolve",
    operation_id = "resolveAlert",
    security(("bearer" = ["responder"])),
    params(ByFingerprint),
    request_body = Reason,
    responses((status = 200, description = "The alert as it is then", body = view::Alert), Unmet)
)]
pub async fn resolve_alone(
    Path(fingerprint): Path<String>,
    State(store): State<Store>,
    commander: Commander,
    Command(body): Command<Reason>,
) -> Result<Json<view::Alert>, Problem> {
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
