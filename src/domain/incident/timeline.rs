//! An incident's log in words: one sentence for each event, as the timeline shows it.

use crate::domain::incident::event::{
    Cause, Event, HandedOver, PageIssue, RaisedBy, StoodAt, ToldWhy, Unsaid,
};
use crate::domain::incident::{Entry, Incident};
use crate::domain::time::{Timestamp, show_span};
use std::time::Duration;

/// What an entry says, for people. `incident` names the contacts of pages; its state is that of now.
pub fn describe(entry: &Entry, incident: &Incident) -> String {
    match &entry.event {
        Event::Opened(opened) => {
            let rule = opened
                .rule
                .as_ref()
                .map(|rule| format!(" by rule \"{rule}\""))
                .unwrap_or_default();
            let of = opened
                .recurrence_of
                .map(|number| format!(", follows incident {number}"))
                .unwrap_or_default();
            format!("opened as {}{rule}: {}{of}", opened.severity, opened.title)
        }
        Event::AlertJoined {
            fingerprint,
            name,
            severity,
        } => format!("alert {name} ({fingerprint}) fires, {severity}"),
        Event::AlertFired { fingerprint, .. } => format!("alert {fingerprint} fires again"),
        Event::AlertRejudged {
            fingerprint,
            severity,
        } => format!("alert {fingerprint} is now {severity}"),
        Event::AlertResolved {
            fingerprint,
            reason: Some(reason),
            ..
        } => {
            format!("alert {fingerprint} is resolved by hand: {reason}")
        }
        Event::AlertResolved {
            fingerprint,
            moved_to: Some(number),
            ..
        } => format!("alert {fingerprint} moved to incident {number}, where it still fires"),
        Event::AlertResolved {
            fingerprint,
            reason: None,
            unsaid,
            moved_to: None,
        } => match unsaid {
            None => format!("alert {fingerprint} is resolved"),
            Some(Unsaid::Lapsed) => format!(
                "alert {fingerprint} is resolved: its sender said until when it fires, and not again"
            ),
            Some(Unsaid::Assumed) => {
                format!("alert {fingerprint} is assumed to be resolved: it was stale for long")
            }
        },
        Event::AlertWentStale { fingerprint, why } => {
            format!("alert {fingerprint} is stale, which is not fixed: {why}")
        }
        Event::Cleared { since } => format!("clear since {since}: nothing of it fires"),
        Event::FiredAgain { resumes: true } => {
            "fires again: paging goes on where it stood".to_owned()
        }
        Event::FiredAgain { resumes: false } => "fires again: paging starts at step 1".to_owned(),
        Event::FlappingBegan { changes, within_ms } => format!(
            "flapping: more than {changes} changes between firing and silent within {}: paging starts at step 1, once",
            show_span(Duration::from_millis(*within_ms))
        ),
        Event::FlappingEnded => "no longer flapping: it has settled".to_owned(),
        Event::StormGrew {
            key,
            service,
            calls,
            resumes,
        } => storm_grew(key.as_deref(), service.as_deref(), *calls, *resumes),
        Event::StormEnded => {
            "the storm is over: what still fires moves to incidents of its own".to_owned()
        }
        Event::TookOver { from, over } => took_over(*from, over),
        Event::Recurred { recurrences, phase } => {
            format!("recurrence {recurrences}: back to {phase}")
        }
        Event::Reopened {
            phase,
            reason: Some(reason),
            ..
        } => format!("reopened in {phase}: {reason}"),
        Event::Reopened {
            phase,
            reason: None,
            ..
        } => format!("reopened in {phase}: its key fires again"),
        Event::SeverityRaised {
            from, to, because, ..
        } => {
            let because = match because {
                RaisedBy::Alert => "an alert",
                RaisedBy::Recurrence => "a recurrence",
            };
            format!("severity {from} raised to {to} by {because}")
        }
        Event::SeveritySet {
            from, to, reason, ..
        } if from == to => format!("severity {to} confirmed: {reason}"),
        Event::SeveritySet {
            from, to, reason, ..
        } => format!("severity {from} set to {to}: {reason}"),
        Event::BecameFull { phase } => format!("every output is required now: back to {phase}"),
        Event::PagingStarted { start } => format!("paging starts at step 1 (start {start})"),
        Event::StepRan {
            round, step, pages, ..
        } => {
            format!(
                "step {} of round {}: {}",
                step + 1,
                round + 1,
                pages_in_words(pages, entry.at)
            )
        }
        Event::StepReachedNobody { step, why, .. } => {
            format!("step {} reaches nobody: {why}", step + 1)
        }
        Event::Exhausted {
            exhaustion, pages, ..
        } => format!(
            "nobody acknowledged and all steps are spent ({exhaustion}): {}, again in 10m",
            pages_in_words(pages, entry.at)
        ),
        Event::Paged { pages } => format!("by hand: {}", pages_in_words(pages, entry.at)),
        Event::Told {
            why: ToldWhy::Leadership,
            pages,
        } => format!("leadership is told: {}", names(pages)),
        Event::Told {
            why: ToldWhy::Clear,
            pages,
        } => format!("told that it is clear: {}", names(pages)),
        Event::Told {
            why: ToldWhy::Stale,
            pages,
        } => format!("told that it is stale: {}", names(pages)),
        Event::Told {
            why: ToldWhy::Flapping,
            pages,
        } => format!("told that it still flaps: {}", names(pages)),
        Event::Attempted {
            serial,
            attempt,
            outcome,
            detail,
        } => {
            format!(
                "page {serial}{}, attempt {attempt}: {}: {detail}",
                contact_of(incident, *serial),
                outcome.as_str()
            )
        }
        Event::Hastened { serial } => {
            format!("page {serial}{} is sent now", contact_of(incident, *serial))
        }
        Event::PagesDropped { serials, why } => {
            let list: Vec<String> = serials.iter().map(u32::to_string).collect();
            format!("pages not sent any more: {} ({why})", list.join(", "))
        }
        Event::Muted { causes } => {
            let by: Vec<String> = causes.iter().map(ToString::to_string).collect();
            format!("muted by {}: nobody is paged", by.join(", "))
        }
        Event::Unmuted => "no longer muted".to_owned(),
        Event::PagesMuted { serials, why } => {
            let list: Vec<String> = serials.iter().map(u32::to_string).collect();
            format!("pages not sent: {} ({why})", list.join(", "))
        }
        Event::Acknowledged => format!("acknowledged by {}", entry.by),
        Event::Unacknowledged => "acknowledgement taken back: paging starts at step 1".to_owned(),
        Event::AcknowledgeTimedOut => {
            "the acknowledgement ran out: paging starts at step 1".to_owned()
        }
        Event::Escalated { step, .. } => format!("escalated to step {} by {}", step + 1, entry.by),
        Event::ClockJumped { by_ms } => {
            let span = show_span(Duration::from_millis(by_ms.unsigned_abs()));
            let way = if *by_ms < 0 { "back" } else { "forth" };
            format!("the wall clock jumped {way} by {span}: waits move with it")
        }
        Event::TakenOver => format!("taken over by {}", entry.by),
        Event::Assigned { role, person } => format!("{} is {person}", role.as_str()),
        Event::Updated { audience, text } => format!("update to {}: {text}", audience.as_str()),
        Event::Noted(remark) => format!("note: {}", remark.text),
        Event::EvidenceAdded(remark) => format!("evidence: {}", remark.text),
        Event::MitigationApplied(remark) => format!("mitigation: {}", remark.text),
        Event::ContainmentAdded(remark) => format!("containment: {}", remark.text),
        Event::NoContainment { because } => format!("no containment: {because}"),
        Event::Analysed(_) => "the analysis was changed".to_owned(),
        Event::ActionAdded(action) => format!(
            "action added: {}",
            action.title.as_deref().unwrap_or_default()
        ),
        Event::ActionChanged { index, .. } => format!("action {index} was changed"),
        Event::OutputGiven {
            output, statement, ..
        } => format!("{output}: {statement}"),
        Event::Waived(waiver) => format!("{} waived: {}", waiver.output, waiver.reason),
        Event::Advanced { to } => format!("advanced to {to}"),
        Event::VerificationStarted {
            plan,
            from,
            ends_at,
        } => {
            format!(
                "verification by \"{}\" ({}) from {from} to {ends_at}",
                plan.check, plan.zone
            )
        }
        Event::Checked {
            slots,
            result,
            detail,
        } => {
            let slot = slots.last().map(Timestamp::to_string).unwrap_or_default();
            let more = if slots.len() > 1 {
                format!(" and {} before", slots.len() - 1)
            } else {
                String::new()
            };
            format!(
                "recurrence check of {slot}{more}: {}: {detail}",
                result.as_str()
            )
        }
        Event::Closed => format!("closed by {}", entry.by),
    }
}

fn storm_grew(key: Option<&str>, service: Option<&str>, calls: bool, resumes: bool) -> String {
    let joins = key.map(|key| format!("key {key} joins the storm"));
    let first = service.map(|service| match service {
        "" => "the first alert that names no service".to_owned(),
        service => format!("the first alert of {service}"),
    });
    let paging = match (calls, resumes) {
        (false, _) => "",
        (true, true) => ": the step is paged again",
        (true, false) => ": paging starts at step 1",
    };
    let what: Vec<String> = joins.into_iter().chain(first).collect();
    format!("{}{paging}", what.join(", "))
}

fn took_over(from: u64, over: &HandedOver) -> String {
    let stands = match (&over.acknowledged_by, over.stood_at) {
        (Some(by), _) => format!("acknowledged by {by}"),
        (None, Some(StoodAt::Step { step, .. })) => {
            format!("its escalation goes on after step {}", step + 1)
        }
        (None, Some(StoodAt::Exhausted { .. })) => "its escalation is exhausted".to_owned(),
        (None, None) => "paging starts at step 1".to_owned(),
    };
    format!("comes out of the storm of incident {from}, {stands}")
}

fn contact_of(incident: &Incident, serial: u32) -> String {
    match incident.paging.contact_of(serial) {
        Some((person, channel)) => format!(" to {person} by {channel}"),
        None => String::new(),
    }
}

fn pages_in_words(pages: &[PageIssue], at: Timestamp) -> String {
    let words: Vec<String> = pages
        .iter()
        .map(|page| {
            let wait = page.due_at.since(at);
            let when = if wait.is_zero() {
                String::new()
            } else {
                format!(" in {}", show_span(wait))
            };
            format!(
                "{} by {} (page {}){when}",
                page.person, page.channel, page.serial
            )
        })
        .collect();
    if words.is_empty() {
        "nobody to page".to_owned()
    } else {
        format!("paging {}", words.join(", "))
    }
}

fn names(pages: &[PageIssue]) -> String {
    debug_assert!(
        pages.iter().all(|page| page.cause == Cause::Update),
        "only updates tell"
    );
    let names: Vec<&str> = pages.iter().map(|page| page.person.as_str()).collect();
    if names.is_empty() {
        "nobody".to_owned()
    } else {
        names.join(", ")
    }
}
