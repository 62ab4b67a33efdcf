//! What Opsgenie's API answers besides taking alerts: what became of a request, and alerts as they are here; and what it may ask of
//! the incident of an alert.

use crate::domain::alert::{Alert, Fingerprint, Labels, Status};
use crate::domain::source::Kind;
use crate::domain::time::Timestamp;
use crate::http::Site;
use crate::http::auth::parameters;
use crate::http::body;
use crate::http::params::Path;
use crate::http::problem::Problem;
use crate::http::vendors::{opsgenie_refused, opsgenie_source};
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
use serde_json::{Value, json};
use std::collections::BTreeMap;
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

/// `GET /v2/alerts/requests/{id}`: what became of it. It succeeded where there is such an alert: to one that is not known nothing is done.
pub async fn outcome(
    State(site): State<Site>,
    Path(id): Path<String>,
    request: Request,
) -> Response {
    let (head, _body) = request.into_parts();
    answered(outcome_or(&site, &id, &head).await, &id)
}

async fn outcome_or(site: &Site, id: &str, head: &Parts) -> Result<Value, Problem> {
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
    Ok(json!({
        "success": known.is_some(),
        "isSuccess": known.is_some(),
        "action": action,
        "processedAt": at.to_string(),
        "integrationId": name,
        "status": if known.is_some() { done } else { "Alert does not exist" },
        "alertId": known.as_ref().map_or_else(String::new, |known| known.fingerprint.to_string()),
        "alias": alias.unwrap_or_default(),
    }))
}

/// The id of a request that changed nothing: there is nothing to be asked of it.
fn random() -> String {
    Uuid::new_v4().to_string()
}

fn answered(done: Result<Value, Problem>, request: &str) -> Response {
    match done {
        Ok(data) => {
            Json(json!({ "data": data, "took": 0.0, "requestId": request })).into_response()
        }
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

/// `GET /v2/alerts/{identifier}`: an alert that this source sent.
pub async fn show(
    State(site): State<Site>,
    Path(identifier): Path<String>,
    request: Request,
) -> Response {
    let (head, _body) = request.into_parts();
    answered(show_or(&site, identifier, &head).await, &random())
}

async fn show_or(site: &Site, identifier: String, head: &Parts) -> Result<Value, Problem> {
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

/// `GET /v2/alerts`: those that this source sent, by their last change, newest first.
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

async fn list_or(site: &Site, head: &Parts) -> Result<Value, Problem> {
    let (name, _source) = opsgenie_source(site, head)?;
    let asked = asked(&parameters(&head.uri))?;
    let alerts = site
        .store
        .look(move |reader| find(reader, &name, &asked))
        .await?;
    Ok(Value::Array(alerts))
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

fn find(reader: &Reader<'_>, source: &str, asked: &Asked) -> Result<Vec<Value>, Error> {
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

/// An alert as Opsgenie lists it. What is not known here (who has seen it, teams) is as for nobody.
fn brief(reader: &Reader<'_>, item: &Listed) -> Result<Value, Error> {
    let alert = &item.alert;
    let incident = match alert.incident {
        Some(number) => reader.incident(number)?,
        None => None,
    };
    let held = incident
        .as_ref()
        .filter(|_| is_open(alert))
        .and_then(|incident| incident.acknowledged.as_ref());
    let id = item.fingerprint.to_string();
    let attribute = |name: &str| alert.attributes.get(name).unwrap_or_default();
    let tags = alert.annotations.get("tags").unwrap_or_default();
    let tags: Vec<&str> = tags.split(", ").filter(|tag| !tag.is_empty()).collect();
    Ok(json!({
        "id": id,
        "tinyId": id,
        "alias": alert.name(),
        "message": attribute("title"),
        "status": if is_open(alert) { "open" } else { "closed" },
        "acknowledged": held.is_some(),
        "isSeen": held.is_some(),
        "tags": tags,
        "snoozed": false,
        "count": item.seen.received,
        "lastOccurredAt": item.seen.last_at.to_string(),
        "createdAt": alert.starts_at.to_string(),
        "updatedAt": alert.changed_at.to_string(),
        "source": attribute("origin"),
        "owner": held.map_or("", |held| held.by.as_str()),
        "priority": attribute("severity"),
        "responders": [],
        "integration": { "id": alert.source, "name": alert.source, "type": "API" },
        "incident": alert.incident,
    }))
}

/// The same with all that is known of it.
fn whole(reader: &Reader<'_>, item: &Listed) -> Result<Value, Error> {
    let mut shown = brief(reader, item)?;
    let alert = &item.alert;
    // What the sender did not call so itself.
    let ours = [
        "title", "entity", "origin", "source", "kind", "outcome", "severity",
    ];
    let details = alert.attributes.iter();
    let details: BTreeMap<&str, &str> = details.filter(|(name, _)| !ours.contains(name)).collect();
    if let Some(shown) = shown.as_object_mut() {
        let description = alert.annotations.get("description").unwrap_or_default();
        let entity = alert.attributes.get("entity").unwrap_or_default();
        shown.insert("description".to_owned(), json!(description));
        shown.insert("entity".to_owned(), json!(entity));
        shown.insert("actions".to_owned(), json!([]));
        shown.insert("details".to_owned(), json!(details));
    }
    Ok(shown)
}
