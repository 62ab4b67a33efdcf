//! What Opsgenie's API answers besides taking alerts: what became of a request, and alerts as they are here; and what it may ask of
//! the incident of an alert.

use crate::domain::alert::{Alert, Fingerprint, Labels, Status};
use crate::domain::source::Kind;
use crate::domain::time::Timestamp;
use crate::http::Site;
use crate::http::auth::parameters;
use crate::http::body;
use crate::http::openapi::problems::NotText;
use crate::http::openapi::words;
use crate::http::params::{ById, Path};
use crate::http::problem::Problem;
use crate::http::vendors::{
    ByAlias, IdentifierQuery, OpsgenieError, opsgenie_refused, opsgenie_source,
};
use crate::http::view::Instant;
use crate::ingest;
use crate::store::Reader;
use crate::store::engine::Class;
use crate::store::error::Error;
use crate::store::lists::{self, Listed, listed};
use crate::store::wish::{Wish, wish as ask};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Alerts of one answer, and the most that may be passed over before them.
const LISTED: usize = 20;
const LISTED_MAX: usize = 100;
const OFFSET_MAX: usize = 20_000;

/// Alerts of all kinds that are looked at for one answer.
const LOOKED_AT_TOGETHER: usize = 1_000;
const LOOKED_AT_MAX: usize = 20_000;

/// What is done to alerts, by its number in receipts: its name, what Opsgenie calls it, and how it says that it was done. A number stays.
const ACTIONS: [(&str, &str, &str); 11] = [
    ("create", "Create", "Created alert"),
    ("close", "Close", "Closed alert"),
    ("acknowledge", "Acknowledge", "Acknowledged alert"),
    ("unacknowledge", "UnAcknowledge", "Unacknowledged alert"),
    ("escalate", "EscalateToNext", "Escalated alert"),
    ("priority", "UpdatePriority", "Updated priority"),
    (
        "message",
        "UpdateMessage",
        "Read; the message comes with the alert",
    ),
    (
        "description",
        "UpdateDescription",
        "Read; the description comes with the alert",
    ),
    ("notes", "AddNote", "Read; a note comes with the alert"),
    ("tags", "AddTags", "Read; tags come with the alert"),
    ("details", "AddDetails", "Read; details come with the alert"),
];

/// What a receipt is sealed for.
const RECEIPT: &str = "opsgenie-request";

/// What is asked for and not done, with the reason.
pub(super) fn why_not(action: &str) -> Option<&'static str> {
    match action {
        "snooze" => Some(
            "an alert cannot be snoozed here: acknowledge it, and the acknowledge_timeout of its policy pages again",
        ),
        "assign" => Some(
            "an alert has no owner here: assign a role of its incident, POST /api/v1/incidents/{number}/assign",
        ),
        "responders" => Some(
            "responders are those of the escalation policy: page others, POST /api/v1/incidents/{number}/page",
        ),
        "attachments" => {
            Some("files are not kept here: add a link, POST /api/v1/incidents/{number}/evidence")
        }
        _unknown => None,
    }
}

pub(super) async fn refuses(site: &Site, why: &str, request: Request) -> Result<String, Problem> {
    let (head, body) = request.into_parts();
    opsgenie_source(site, &head)?;
    let max_body_bytes = site.live.load().max_body_bytes;
    body::pass_over(body, max_body_bytes).await?;
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, why))
}

/// What is said of an alert besides, and came with the alert itself.
pub(super) async fn says(
    site: &Site,
    action: &str,
    identifier: &str,
    request: Request,
) -> Result<String, Problem> {
    let (head, body) = request.into_parts();
    opsgenie_source(site, &head)?;
    let max_body_bytes = site.live.load().max_body_bytes;
    body::pass_over(body, max_body_bytes).await?;
    let alias = alias(site, identifier.to_owned(), &head).await?;
    let labels = ingest::opsgenie_identity(&alias);
    Ok(receipt(site, action, &labels, site.clock.now()))
}

/// What its sender wishes for the incident of an alert. Once this returns, it is done.
pub(super) async fn wish(
    site: &Site,
    action: &str,
    identifier: &str,
    request: Request,
) -> Result<String, Problem> {
    let (head, body) = request.into_parts();
    let (name, _source) = opsgenie_source(site, &head)?;
    let alias = alias(site, identifier.to_owned(), &head).await?;
    let (in_force, max_body_bytes) = {
        let live = site.live.load();
        (live.in_force.clone(), live.max_body_bytes)
    };
    let body = body::read(body, max_body_bytes, &site.memory).await?;
    let wished = match action {
        "unacknowledge" => Wish::Unacknowledge,
        "escalate" => Wish::Escalate,
        _priority => Wish::Say {
            severity: ingest::opsgenie_priority(&body.bytes)
                .map_err(|unusable| Problem::bad_request(unusable.reason).at(unusable.path))?,
        },
    };
    let labels = ingest::opsgenie_identity(&alias);
    let (of, now) = (labels.clone(), site.clock.now());
    let kind = Kind::Opsgenie.as_str();
    site.store
        .transact(Class::Intake, move |tx| {
            ask(tx, &of, &wished, (&name, kind), &in_force, now)
        })
        .await?;
    Ok(receipt(site, action, &labels, now))
}

/// The id of a request: it says itself what was done to which alert and when, sealed, so that nothing need be kept.
pub(super) fn receipt(site: &Site, action: &str, labels: &Labels, now: Timestamp) -> String {
    let n = ACTIONS.iter().position(|(name, _, _)| *name == action);
    let n = u8::try_from(n.unwrap_or(0)).unwrap_or(0);
    let parts = [
        &[n][..],
        &now.as_millis().to_be_bytes(),
        &labels.fingerprint().0.to_be_bytes(),
    ];
    site.links.sealed(RECEIPT, &parts.concat())
}

/// Action, instant and alert of a receipt that was made here.
fn read_receipt(
    site: &Site,
    text: &str,
) -> Option<(
    &'static (&'static str, &'static str, &'static str),
    Timestamp,
    Fingerprint,
)> {
    let bytes = site.links.unsealed(RECEIPT, text)?;
    let (n, rest) = bytes.split_first()?;
    let (at, fingerprint) = rest.split_first_chunk::<8>()?;
    let fingerprint: [u8; 8] = fingerprint.try_into().ok()?;
    Some((
        ACTIONS.get(usize::from(*n))?,
        Timestamp::from_millis(i64::from_be_bytes(*at)),
        Fingerprint(u64::from_be_bytes(fingerprint)),
    ))
}

/// What Opsgenie's API answers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpsgenieAnswer)]
pub struct Data<D> {
    data: D,
    took: f64,
    #[serde(rename = "requestId")]
    request: String,
}

/// What became of a request.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RequestOutcome)]
pub struct Became {
    success: bool,
    is_success: bool,
    action: &'static str,
    #[schema(value_type = words::Instant)]
    processed_at: Instant,
    integration_id: String,
    status: &'static str,
    alert_id: String,
    alias: String,
}

/// What became of a request. It succeeded where there is such an alert: to one that is not known nothing is done.
#[utoipa::path(
    get,
    path = "/v2/alerts/requests/{id}",
    operation_id = "showRequest",
    security(("genie" = [])),
    params(ById),
    responses(
        (status = 200, description = "What became of it", body = Data<Became>),
        (status = 401, description = "The key is none of ours", body = OpsgenieError),
        (status = 404, description = "There was no such request", body = OpsgenieError),
        NotText,
    )
)]
pub async fn outcome(
    State(site): State<Site>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (head, _body) = request.into_parts();
    answered(outcome_or(&site, &id, &head).await, &id)
}

async fn outcome_or(site: &Site, id: &str, head: &Parts) -> Result<Became, Problem> {
    let (name, _source) = opsgenie_source(site, head)?;
    let Some(((_, action, done), at, fingerprint)) = read_receipt(site, id) else {
        return Err(Problem::not_found(
            "Request not found. It might not be processed, yet.",
        ));
    };
    let known = site
        .store
        .look(move |reader| listed(reader, fingerprint))
        .await?;
    let alias = known.as_ref().map(|known| known.alert.name());
    Ok(Became {
        success: known.is_some(),
        is_success: known.is_some(),
        action,
        processed_at: at.into(),
        integration_id: name,
        status: if known.is_some() {
            done
        } else {
            "Alert does not exist"
        },
        alert_id: known
            .as_ref()
            .map_or_else(String::new, |known| known.fingerprint.to_string()),
        alias: alias.unwrap_or_default().to_owned(),
    })
}

/// The id of a request that changed nothing: there is nothing to be asked of it.
fn random() -> String {
    Uuid::new_v4().to_string()
}

fn answered<D: Serialize>(done: Result<D, Problem>, request: &str) -> Response {
    match done {
        Ok(data) => Json(Data {
            data,
            took: 0.0,
            request: request.to_owned(),
        })
        .into_response(),
        Err(problem) => opsgenie_refused(problem),
    }
}

/// The alias that an address means: by `identifierType`, an id is that of an alert here; what is the id of none is an alias, as if it had
/// been said to be one.
pub(super) async fn alias(
    site: &Site,
    identifier: String,
    head: &Parts,
) -> Result<String, Problem> {
    let query = parameters(&head.uri);
    let said = query.iter().find(|(name, _)| name == "identifierType");
    let is_alias = match said.map(|(_, kind)| kind.as_str()) {
        None | Some("id" | "tiny") => false,
        Some("alias") => true,
        Some(other) => {
            let reason = format!("one of id, alias, tiny is wanted, found \"{other}\"");
            return Err(Problem::bad_request(reason).at("identifierType"));
        }
    };
    let Some(fingerprint) = identifier.parse().ok().filter(|_| !is_alias) else {
        return Ok(identifier);
    };
    let known = site
        .store
        .look(move |reader| reader.alert(fingerprint))
        .await?;
    let known = known.filter(is_of_the_kind);
    Ok(known.map_or(identifier, |alert| alert.name().to_owned()))
}

fn is_of_the_kind(alert: &Alert) -> bool {
    alert.labels.get("tool") == Some(Kind::Opsgenie.as_str())
}

/// An alert that this source sent.
#[utoipa::path(
    get,
    path = "/v2/alerts/{alias}",
    operation_id = "showAlertSent",
    security(("genie" = [])),
    params(ByAlias, IdentifierQuery),
    responses(
        (status = 200, description = "The alert", body = Data<WholeAlert>),
        (status = 401, description = "The key is none of ours", body = OpsgenieError),
        (status = 404, description = "There is no such alert", body = OpsgenieError),
        (status = 422, description = "What is wrong with the question", body = OpsgenieError),
        NotText,
    )
)]
pub async fn show(
    State(site): State<Site>,
    Path(identifier): Path<String>,
    request: Request,
) -> Response {
    let (head, _body) = request.into_parts();
    answered(show_or(&site, identifier, &head).await, &random())
}

async fn show_or(site: &Site, identifier: String, head: &Parts) -> Result<WholeAlert, Problem> {
    let (name, _source) = opsgenie_source(site, head)?;
    let alias = alias(site, identifier.clone(), head).await?;
    let fingerprint = ingest::opsgenie_identity(&alias).fingerprint();
    let found = site
        .store
        .look(move |reader| {
            let found = listed(reader, fingerprint)?;
            let found = found.filter(|found| found.alert.source == name);
            found.map(|found| whole(reader, &found)).transpose()
        })
        .await?;
    found.ok_or_else(|| {
        Problem::not_found(format!(
            "Alert with identifier [{identifier}] does not exist."
        ))
    })
}

/// Which alerts are listed.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SentQuery {
    /// `status:open`, `status:closed` and `alias:…`, joined by `AND`.
    pub query: Option<String>,
    #[param(minimum = 0, maximum = 100, default = 20)]
    pub limit: Option<usize>,
    #[param(minimum = 0, maximum = 20000, default = 0)]
    pub offset: Option<usize>,
}

/// The alerts that this source sent, by their last change, newest first.
#[utoipa::path(
    get,
    path = "/v2/alerts",
    operation_id = "listAlertsSent",
    security(("genie" = [])),
    params(SentQuery),
    responses(
        (status = 200, description = "The alerts", body = Data<Vec<BriefAlert>>),
        (status = 401, description = "The key is none of ours", body = OpsgenieError),
        (status = 422, description = "What is wrong with the question", body = OpsgenieError),
    )
)]
pub async fn list(State(site): State<Site>, request: Request) -> Response {
    let (head, _body) = request.into_parts();
    answered(list_or(&site, &head).await, &random())
}

/// Which alerts are wanted.
struct Asked {
    is_open: Option<bool>,
    alias: Option<String>,
    offset: usize,
    limit: usize,
}

async fn list_or(site: &Site, head: &Parts) -> Result<Vec<BriefAlert>, Problem> {
    let (name, _source) = opsgenie_source(site, head)?;
    let asked = asked(&parameters(&head.uri))?;
    let alerts = site
        .store
        .look(move |reader| find(reader, &name, &asked))
        .await?;
    Ok(alerts)
}

fn asked(query: &[(String, String)]) -> Result<Asked, Problem> {
    let of = |name: &str| {
        let found = query.iter().find(|(known, _)| known == name);
        found.map(|(_, text)| text.as_str())
    };
    let number = |name: &'static str, otherwise: usize, most: usize| {
        let Some(text) = of(name) else {
            return Ok(otherwise);
        };
        let number = text.parse().ok().filter(|number| *number <= most);
        number.ok_or_else(|| {
            let reason = format!("a number up to {most} is wanted, found \"{text}\"");
            Problem::bad_request(reason).at(name)
        })
    };
    let mut asked = Asked {
        is_open: None,
        alias: None,
        offset: number("offset", 0, OFFSET_MAX)?,
        limit: number("limit", LISTED, LISTED_MAX)?,
    };
    // What is not understood must not be answered with other alerts.
    for term in of("query").unwrap_or_default().split(" AND ") {
        let parts = term.split_once(':').map(|(field, text)| {
            (
                field.trim().to_ascii_lowercase(),
                text.trim().trim_matches('"'),
            )
        });
        match parts.as_ref().map(|(field, text)| (field.as_str(), *text)) {
            Some(("status", "open")) => asked.is_open = Some(true),
            Some(("status", "closed")) => asked.is_open = Some(false),
            Some(("alias", alias)) => asked.alias = Some(alias.to_owned()),
            None if term.trim().is_empty() => {}
            Some(_) | None => {
                let reason = format!(
                    "status:open, status:closed and alias:… are read, joined by AND, found \"{}\"",
                    term.trim()
                );
                return Err(Problem::bad_request(reason).at("query"));
            }
        }
    }
    Ok(asked)
}

fn find(reader: &Reader<'_>, source: &str, asked: &Asked) -> Result<Vec<BriefAlert>, Error> {
    let (mut found, mut n_passed, mut n_looked_at) = (Vec::new(), 0, 0);
    let mut before = None;
    while n_looked_at < LOOKED_AT_MAX && found.len() < asked.limit {
        let page = lists::alerts(reader, None, before, LOOKED_AT_TOGETHER)?;
        n_looked_at += page.items.len();
        for item in &page.items {
            if !fits(item, source, asked) {
                continue;
            }
            if n_passed < asked.offset {
                n_passed += 1;
            } else if found.len() < asked.limit {
                found.push(brief(reader, item)?);
            }
        }
        before = page.next.as_deref().and_then(lists::read_alert_cursor);
        if before.is_none() {
            break;
        }
    }
    Ok(found)
}

fn fits(item: &Listed, source: &str, asked: &Asked) -> bool {
    let alert = &item.alert;
    is_of_the_kind(alert)
        && alert.source == source
        && asked.is_open.is_none_or(|open| open == is_open(alert))
        && asked
            .alias
            .as_deref()
            .is_none_or(|alias| alias == alert.name())
}

/// What is stale is not fixed.
fn is_open(alert: &Alert) -> bool {
    alert.status != Status::Resolved
}

/// An alert as Opsgenie lists it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = OpsgenieListedAlert)]
pub struct BriefAlert {
    #[schema(value_type = words::Fingerprint)]
    id: Fingerprint,
    #[schema(value_type = words::Fingerprint)]
    tiny_id: Fingerprint,
    alias: String,
    message: String,
    #[schema(value_type = words::IncidentStatus)]
    status: &'static str,
    acknowledged: bool,
    is_seen: bool,
    tags: Vec<String>,
    snoozed: bool,
    count: u64,
    #[schema(value_type = words::Instant)]
    last_occurred_at: Instant,
    #[schema(value_type = words::Instant)]
    created_at: Instant,
    #[schema(value_type = words::Instant)]
    updated_at: Instant,
    source: String,
    owner: String,
    priority: String,
    responders: Vec<String>,
    integration: Integration,
    /// Ours: its incident.
    #[schema(required = true)]
    incident: Option<u64>,
}

/// The source that sent it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpsgenieIntegration)]
struct Integration {
    id: String,
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

/// The same with all that is known of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpsgenieAlert)]
pub struct WholeAlert {
    #[serde(flatten)]
    brief: BriefAlert,
    description: String,
    entity: String,
    actions: Vec<String>,
    details: BTreeMap<String, String>,
}

/// What is not known here (who has seen it, teams) is as for nobody.
fn brief(reader: &Reader<'_>, item: &Listed) -> Result<BriefAlert, Error> {
    let alert = &item.alert;
    let incident = match alert.incident {
        Some(number) => reader.incident(number)?,
        None => None,
    };
    let held = incident
        .as_ref()
        .filter(|_| is_open(alert))
        .and_then(|incident| incident.acknowledged.as_ref());
    let attribute = |name: &str| alert.attributes.get(name).unwrap_or_default().to_owned();
    let tags = alert.annotations.get("tags").unwrap_or_default();
    let tags = tags.split(", ").filter(|tag| !tag.is_empty());
    Ok(BriefAlert {
        id: item.fingerprint,
        tiny_id: item.fingerprint,
        alias: alert.name().to_owned(),
        message: attribute("title"),
        status: if is_open(alert) { "open" } else { "closed" },
        acknowledged: held.is_some(),
        is_seen: held.is_some(),
        tags: tags.map(str::to_owned).collect(),
        snoozed: false,
        count: item.seen.received,
        last_occurred_at: item.seen.last_at.into(),
        created_at: alert.starts_at.into(),
        updated_at: alert.changed_at.into(),
        source: attribute("origin"),
        owner: held.map_or_else(String::new, |held| held.by.clone()),
        priority: attribute("severity"),
        responders: Vec::new(),
        integration: Integration {
            id: alert.source.clone(),
            name: alert.source.clone(),
            kind: "API",
        },
        incident: alert.incident,
    })
}

fn whole(reader: &Reader<'_>, item: &Listed) -> Result<WholeAlert, Error> {
    let alert = &item.alert;
    // What the sender did not call so itself.
    let ours = [
        "title", "entity", "origin", "source", "kind", "outcome", "severity",
    ];
    let details = alert.attributes.iter();
    let details = details.filter(|(name, _)| !ours.contains(name));
    let text = |labels: &Labels, name| labels.get(name).unwrap_or_default().to_owned();
    Ok(WholeAlert {
        brief: brief(reader, item)?,
        description: text(&alert.annotations, "description"),
        entity: text(&alert.attributes, "entity"),
        actions: Vec::new(),
        details: details
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    })
}
