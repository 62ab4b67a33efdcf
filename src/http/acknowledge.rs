//! The page behind an acknowledge link. Following the link shows it; only its button acknowledges. Nothing of an alert is
//! trusted to be HTML.

use crate::clock::Clock;
use crate::domain::change::related::Related;
use crate::domain::incident::{Ask, Incident};
use crate::domain::time::Timestamp;
use crate::engine::link::{BadLink, Links, Ticket};
use crate::http::LiveSite;
use crate::http::auth::Actor;
use crate::http::params::Path;
use crate::http::problem::Problem;
use crate::store::changes;
use crate::store::commands::{Caller, ask as ask_incident};
use crate::store::engine::Class;
use crate::store::{Failure, Store};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use std::sync::Arc;

type Link = (u64, String, i64, String);

/// Shows what is to be acknowledged, and asks.
pub async fn ask(
    Path(link): Path<Link>,
    State(links): State<Arc<Links>>,
    State(store): State<Store>,
    State(clock): State<Clock>,
) -> Result<Response, Problem> {
    let ticket = match open(&links, &link, clock.now()) {
        Ok(ticket) => ticket,
        Err(bad) => return Ok(refuse(bad)),
    };
    let Some(incident) = store
        .look(move |reader| reader.incident(ticket.incident))
        .await?
    else {
        return Ok(refuse(BadLink::Forged));
    };
    let body = html! {
        (summary(&incident))
        @if !incident.is_open() {
            p { "This incident is closed." }
        } @else if let Some(held) = &incident.acknowledged {
            p { "Acknowledged by " b { (held.by) } " at " (held.at) "." }
        } @else {
            form method="post" { button type="submit" { "Acknowledge as " (ticket.person) } }
        }
    };
    Ok(page(StatusCode::OK, "Acknowledge", &body))
}

/// The second tap.
pub async fn confirm(
    Path(link): Path<Link>,
    State(links): State<Arc<Links>>,
    State(store): State<Store>,
    State(live): State<Arc<LiveSite>>,
    State(clock): State<Clock>,
) -> Result<Response, Problem> {
    let ticket = match open(&links, &link, clock.now()) {
        Ok(ticket) => ticket,
        Err(bad) => return Ok(refuse(bad)),
    };
    let in_force = live.load().in_force.clone();
    let caller = Caller {
        by: ticket.person,
        idempotency_key: None,
        in_force,
        now: clock.now(),
    };
    let number = ticket.incident;
    let acknowledged = store
        .transact(Class::Engine, move |tx| {
            ask_incident(tx, number, Ask::Acknowledge, &caller)
        })
        .await;
    let incident = match acknowledged {
        Err(Failure::Refused(refused)) => {
            let body = html! { p { (refused.to_string()) "." } };
            return Ok(page(StatusCode::CONFLICT, "Not acknowledged", &body));
        }
        other => other?,
    };
    let body = html! {
        (summary(&incident))
        @if let Some(held) = &incident.acknowledged {
            p { "Acknowledged by " b { (held.by) } " at " (held.at) ". Paging has stopped." }
        }
        @if let Some(runbook) = runbook(&incident) {
            p { "Runbook: " (runbook) }
        }
    };
    Ok(page(StatusCode::OK, "Acknowledged", &body))
}

/// An incident in a browser: where the links of pages lead.
pub async fn incident(
    _actor: Actor,
    Path(number): Path<u64>,
    State(store): State<Store>,
    State(clock): State<Clock>,
) -> Result<Response, Problem> {
    let now = clock.now();
    let found = store
        .look(move |reader| {
            let Some(incident) = reader.incident(number)? else {
                return Ok(None);
            };
            let entries = reader.entries(number, 1, TIMELINE_SHOWN)?;
            let related = changes::beside(reader, &incident, now)?;
            Ok(Some((incident, entries, related)))
        })
        .await?;
    let Some((incident, entries, related)) = found else {
        return Err(Problem::not_found(format!("there is no incident {number}")));
    };
    let missing = incident.missing_now(now);
    let body = html! {
        (summary(&incident))
        @if let Some(runbook) = runbook(&incident) {
            p { "Runbook: " (runbook) }
        }
        @if incident.is_open() && !missing.is_empty() {
            p { "Missing before it goes on: " @for output in &missing { code { (output) } " " } }
        }
        (changed(&related))
        h2 { "Timeline" }
        table {
            @for entry in &entries {
                tr {
                    td { (entry.at) }
                    td { (entry.by) }
                    td { (crate::domain::incident::describe(entry, &incident)) }
                }
            }
        }
    };
    Ok(page(StatusCode::OK, &format!("Incident {number}"), &body))
}

/// Entries of a timeline that the page of an incident shows.
const TIMELINE_SHOWN: u64 = 500;

fn open(
    links: &Links,
    (incident, person, expires, signature): &Link,
    now: Timestamp,
) -> Result<Ticket, BadLink> {
    links.open(*incident, person, *expires, signature, now)
}

fn refuse(bad: BadLink) -> Response {
    let code = match bad {
        BadLink::Forged => StatusCode::FORBIDDEN,
        BadLink::Expired => StatusCode::GONE,
    };
    page(
        code,
        "Not acknowledged",
        &html! { p { (bad.to_string()) "." } },
    )
}

fn summary(incident: &Incident) -> Markup {
    html! {
        h1 { (incident.severity) " · " (incident.opened.title) }
        p {
            "Incident " (incident.number()) ", " (incident.status.as_str()) ", in " (incident.phase)
            ", since " (incident.opened_at) "."
        }
        @if !incident.opened.description.is_empty() {
            p { (incident.opened.description) }
        }
    }
}

/// The changes that are worth a look.
fn changed(related: &[Related]) -> Markup {
    html! {
        @if !related.is_empty() {
            h2 { "Changes" }
            table {
                @for Related { change, why, .. } in related {
                    tr {
                        td { (change.at) }
                        td { (change.about.by.as_deref().unwrap_or_default()) }
                        td {
                            (change.summary()) ": " (why)
                            @if let Some(url) = &change.about.url { ". " (link(url)) }
                        }
                    }
                }
            }
        }
    }
}

fn runbook(incident: &Incident) -> Option<Markup> {
    incident.opened.runbook.as_deref().map(link)
}

/// An address as a link where it is one; anything else is text.
fn link(text: &str) -> Markup {
    let is_web = text.starts_with("https://") || text.starts_with("http://");
    if is_web {
        html! { a href=(text) rel="noreferrer" { (text) } }
    } else {
        html! { (text) }
    }
}

const STYLE: &str = "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}\
h1{font-size:1.4rem}button{font:inherit;font-weight:600;padding:.8rem 1.4rem;border:0;border-radius:.4rem;background:#b00020;color:#fff}\
table{border-collapse:collapse;font-size:.9rem}td{padding:.2rem .6rem .2rem 0;vertical-align:top}td:not(:last-child){white-space:nowrap}\
@media(prefers-color-scheme:dark){body{background:#16181c;color:#e8e8e8}a{color:#8ab4f8}}";

fn page(code: StatusCode, title: &str, body: &Markup) -> Response {
    let whole = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { (title) " · Watchkeeper" }
                style { (maud::PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    let headers: [(HeaderName, &str); 3] = [
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
        ),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    (code, headers, whole).into_response()
}
