//! Pages as they are answered, and lines of the timeline.

use crate::domain::incident::event::{AttemptOutcome, Cause, Remark};
use crate::domain::incident::{self, Entry, describe};
use crate::domain::oncall::Book;
use crate::engine::link::Links;
use crate::http::openapi::words;
use crate::http::view::{Instant, instant};
use crate::store::records::{PageRecord, PageState};
use serde::Serialize;
use utoipa::ToSchema;

/// One page to one contact.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page {
    pub page_id: String,
    /// `page` asks to act, `update` tells how it goes on.
    #[schema(value_type = words::SentKind)]
    pub kind: &'static str,
    #[schema(value_type = words::Cause)]
    pub cause: Cause,
    pub incident: u64,
    /// Who is paged.
    pub to: String,
    pub channel: String,
    pub address: String,
    /// Counted from 1; 0 where it belongs to no step.
    pub step: u32,
    pub round: u32,
    #[schema(value_type = words::PageState)]
    pub state: PageState,
    #[schema(value_type = words::Instant)]
    pub written_at: Instant,
    #[schema(value_type = words::Instant)]
    pub due_at: Instant,
    #[schema(value_type = Option<words::Instant>, required = true)]
    pub next_attempt_at: Option<Instant>,
    pub attempts: Vec<Attempt>,
    #[schema(required = true)]
    pub dropped_because: Option<String>,
}

/// One try to deliver a page.
#[derive(Debug, Serialize, ToSchema)]
pub struct Attempt {
    #[schema(value_type = words::Instant)]
    pub at: Instant,
    #[schema(value_type = words::AttemptOutcome)]
    pub outcome: AttemptOutcome,
    pub detail: String,
}

pub fn page(incident: &incident::Incident, page: &PageRecord, links: &Links) -> Page {
    let issue = &page.issue;
    let attempts = page.attempts.iter().map(|attempt| Attempt {
        at: attempt.at.into(),
        outcome: attempt.outcome,
        detail: attempt.detail.clone(),
    });
    Page {
        page_id: links.page_id(incident.number(), issue.serial),
        kind: match issue.cause {
            Cause::Update => "update",
            Cause::Step | Cause::Exhaustion | Cause::Person | Cause::Stuck => "page",
        },
        cause: issue.cause,
        incident: incident.number(),
        to: issue.person.clone(),
        channel: issue.channel.clone(),
        address: issue.address.clone(),
        step: issue.step,
        round: if issue.step == 0 { 0 } else { issue.round + 1 },
        state: page.state,
        written_at: page.written_at.into(),
        due_at: issue.due_at.into(),
        next_attempt_at: instant(page.next_at.filter(|_| !page.state.has_ended())),
        attempts: attempts.collect(),
        dropped_because: page.dropped.clone(),
    }
}

/// A line of the timeline.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimelineEntry {
    pub seq: u64,
    #[schema(value_type = words::Instant)]
    pub at: Instant,
    /// What kind of event it is.
    #[schema(required = true)]
    pub event: Option<String>,
    /// An actor who is neither configured nor the holder of a token is shown as `(unverified)`.
    pub by: String,
    pub text: String,
    #[schema(required = true)]
    pub url: Option<String>,
    /// When it happened, where that is not when it was said.
    #[schema(value_type = Option<words::Instant>, required = true)]
    pub happened_at: Option<Instant>,
}

/// A line of the timeline. An actor who is neither configured nor the holder of a token is shown as unverified.
pub fn entry(
    entry: &Entry,
    incident: &incident::Incident,
    book: &Book,
    tokens: &[String],
) -> TimelineEntry {
    let written = serde_json::to_value(entry).ok();
    let kind = written
        .as_ref()
        .and_then(|entry| entry.get("event")?.as_str());
    let verified = entry.by == incident::event::WATCHKEEPER
        || book.people.contains_key(&entry.by)
        || tokens.contains(&entry.by);
    let remark = remark_of(entry);
    TimelineEntry {
        seq: entry.seq,
        at: entry.at.into(),
        event: kind.map(str::to_owned),
        by: match verified {
            true => entry.by.clone(),
            false => format!("{} (unverified)", entry.by),
        },
        text: describe(entry, incident),
        url: remark.and_then(|remark| remark.url.clone()),
        happened_at: instant(remark.and_then(|remark| remark.happened_at)),
    }
}

fn remark_of(entry: &Entry) -> Option<&Remark> {
    use crate::domain::incident::Event::{
        ContainmentAdded, EvidenceAdded, MitigationApplied, Noted,
    };
    match &entry.event {
        Noted(remark)
        | EvidenceAdded(remark)
        | MitigationApplied(remark)
        | ContainmentAdded(remark) => Some(remark),
        _ => None,
    }
}
