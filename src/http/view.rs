//! What is answered: incidents, alerts, pages and timelines as the outside knows them.

use crate::domain::change::Change;
use crate::domain::change::related::Related;
use crate::domain::incident::event::{Entry, MutedBy, Remark, Waiver};
use crate::domain::incident::{Incident, Storm, Verification, describe};
use crate::domain::oncall::Book;
use crate::domain::phase::Output;
use crate::domain::time::{Timestamp, show_span};
use crate::engine::link::Links;
use crate::store::lists::Listed;
use crate::store::records::{DeadLetter, PageRecord, Replayed};
use crate::store::silences;
use serde_json::{Value, json};

/// An instant as it is answered: RFC 3339, UTC, milliseconds.
pub fn instant(at: Timestamp) -> Value {
    Value::String(at.to_string())
}

fn instant_or_null(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, instant)
}

/// A page of a list.
pub fn list(noun: &str, items: Vec<Value>, next: Option<String>) -> Value {
    let next = next.map_or(Value::Null, Value::String);
    Value::Object(
        [
            (noun.to_owned(), Value::Array(items)),
            ("next".to_owned(), next),
        ]
        .into_iter()
        .collect(),
    )
}

/// An incident as it is at `now`; `received` counts the sightings of its alerts.
pub fn incident(incident: &Incident, received: u64, now: Timestamp) -> Value {
    let opened = &incident.opened;
    let acknowledged = incident.acknowledged.as_ref();
    let counts = incident.members.counts();
    let roles: serde_json::Map<String, Value> = incident
        .roles
        .iter()
        .map(|(role, person)| (role.as_str().to_owned(), json!(person)))
        .collect();
    let commander = roles.get("commander").cloned().unwrap_or(Value::Null);
    json!({
        "number": incident.number(),
        "title": opened.title,
        "description": opened.description,
        "severity": incident.severity,
        "urgency": incident.urgency,
        "status": incident.status.as_str(),
        "phase": incident.phase,
        "outputs": incident.profile.as_str(),
        "dedup_key": opened.dedup_key,
        "rule": opened.rule,
        "rules_revision": opened.revision,
        "team": opened.team,
        "runbook": opened.runbook,
        "policy": opened.policy.name,
        "origin": opened.origin,
        "opened_at": instant(incident.opened_at),
        "opened_by": incident.opened_by,
        "acknowledged_at": instant_or_null(acknowledged.map(|held| held.at)),
        "acknowledged_by": acknowledged.map(|held| held.by.clone()),
        "clear_since": instant_or_null(incident.clear_since),
        "closed_at": instant_or_null(incident.closed_at),
        "commander": commander,
        "roles": roles,
        "alerts": {
            "firing": counts.firing,
            "resolved": counts.resolved,
            "stale": counts.stale,
            "received": received,
        },
        "muted": incident.is_muted(),
        "muted_since": instant_or_null(incident.mute().map(|mute| mute.since)),
        "muted_by": incident.mute().iter().flat_map(|mute| &mute.by).map(muted_by).collect::<Vec<_>>(),
        "flapping": incident.is_flapping(),
        "storm": incident.storm().map(|of| storm(of, incident)),
        "next": next(incident, now),
        "given": given(incident),
        "waivers": incident.waivers.values().map(waiver).collect::<Vec<_>>(),
        "analysis": incident.analysis,
        "actions": actions(incident),
        "recurrence_of": opened.recurrence_of,
        "recurrences": incident.recurrences,
        "verification": incident.verification.as_ref().map(verification),
        "failed_verifications": incident.failed_windows.iter().map(verification).collect::<Vec<_>>(),
        "changed_at": instant(incident.changed_at),
    })
}

/// Past what it was opened, and what joined it: the first keys by name, all of them by number.
fn storm(storm: &Storm, incident: &Incident) -> Value {
    let cap = incident.opened.storm;
    json!({
        "incidents": cap.map(|cap| cap.incidents),
        "within": cap.map(|cap| show_span(cap.within())),
        "n_keys": storm.n_keys,
        "keys": *storm.keys,
        "services": *storm.services,
        "over_at": instant_or_null(storm.over_at),
    })
}

fn muted_by(by: &MutedBy) -> Value {
    match by {
        MutedBy::Silence { id, by, reason } => json!({ "silence": id, "by": by, "reason": reason }),
        MutedBy::Inhibition { fingerprint, name } => {
            json!({ "inhibited_by": fingerprint, "name": name })
        }
    }
}

/// Where it goes next, and what is missing before.
fn next(incident: &Incident, now: Timestamp) -> Value {
    if !incident.is_open() {
        return json!({ "phase": null, "missing": [] });
    }
    json!({ "phase": incident.phase.next(), "missing": incident.missing_now(now) })
}

/// Outputs in people's words.
fn given(incident: &Incident) -> Value {
    let words = incident.given.iter().map(|(output, given)| {
        let word = json!({
            "statement": given.statement,
            "url": given.url,
            "by": given.by,
            "at": instant(given.at),
        });
        (output.as_str().to_owned(), word)
    });
    Value::Object(words.collect())
}

fn waiver(waiver: &Waiver) -> Value {
    json!({ "output": waiver.output, "reason": waiver.reason, "until": instant_or_null(waiver.until) })
}

fn actions(incident: &Incident) -> Vec<Value> {
    let view = |(index, action): (usize, &crate::domain::action_item::ActionItem)| {
        json!({
            "index": index,
            "kind": action.kind,
            "title": action.title,
            "answers": action.answers.clone().unwrap_or_default(),
            "owner": action.owner,
            "due": instant_or_null(action.due),
            "priority": action.priority,
            "state": action.state(),
            "evidence": action.evidence,
        })
    };
    incident.actions.iter().enumerate().map(view).collect()
}

fn verification(window: &Verification) -> Value {
    let checks: Vec<Value> = window
        .checks
        .iter()
        .map(|check| {
            json!({
                "at": instant(check.at),
                "ran_at": instant(check.ran_at),
                "result": check.result,
                "detail": check.detail,
            })
        })
        .collect();
    json!({
        "check": window.plan.check.to_string(),
        "timezone": window.plan.zone.name(),
        "window_starts_at": instant(window.from),
        "window_ends_at": instant(window.ends_at),
        "next_check_at": instant_or_null(window.next_check_at()),
        "passed": window.has_passed(),
        "stable": window.is_stable(),
        "failed": window.failed,
        "checks": checks,
    })
}

pub fn alert(listed: &Listed) -> Value {
    let alert = &listed.alert;
    json!({
        "fingerprint": listed.fingerprint,
        "labels": alert.labels,
        "annotations": alert.annotations,
        "attributes": alert.attributes,
        "status": alert.status,
        "outcome": alert.outcome,
        "source": alert.source,
        "kind": alert.kind,
        "starts_at": instant(alert.starts_at),
        "ends_at": instant_or_null(alert.ends_at),
        "changed_at": instant(alert.changed_at),
        "last_received_at": instant_or_null(Some(listed.seen.last_at)),
        "received": listed.seen.received,
        "incident": alert.incident,
        "silenced_by": listed.muting.silenced_by,
        "inhibited_by": listed.muting.inhibited_by,
        "rule": alert.rule,
        "routed": alert.routed,
    })
}

pub fn silence(listed: &silences::Listed, now: Timestamp) -> Value {
    let silence = &listed.silence;
    let matchers: Vec<String> = silence.matchers.iter().map(ToString::to_string).collect();
    json!({
        "id": silence.id,
        "state": silence.state(now),
        "matchers": matchers,
        "by": silence.created_by,
        "token": silence.token,
        "reason": silence.comment,
        "starts_at": instant(silence.starts_at),
        "ends_at": instant(silence.ends_at),
        "updated_at": instant(silence.updated_at),
        "expires_soon": silence.expires_soon(now),
        "forgotten": listed.is_forgotten(now),
        "muted_at": instant_or_null(listed.muted_at),
        "incidents": listed.mutes,
    })
}

pub fn change(change: &Change) -> Value {
    let about = &change.about;
    json!({
        "id": change.id,
        "source": change.source,
        "kind": change.kind(),
        "status": change.status,
        "summary": change.summary(),
        "service": about.service,
        "environment": about.environment,
        "version": about.version,
        "url": about.url,
        "by": about.by,
        "labels": about.labels,
        "at": instant(change.at),
        "started_at": instant(change.started_at),
        "ended_at": instant_or_null(change.ended_at()),
        "received_at": instant(change.received_at),
    })
}

/// A change beside an incident, with why it stands there.
pub fn related(related: &Related) -> Value {
    let mut shown = change(&related.change);
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("relevance".to_owned(), json!(related.relevance));
        shown.insert("why".to_owned(), json!(related.why));
    }
    shown
}

pub fn page(incident: &Incident, page: &PageRecord, links: &Links) -> Value {
    let issue = &page.issue;
    let kind = match issue.cause {
        crate::domain::incident::event::Cause::Update => "update",
        _ => "page",
    };
    let attempts: Vec<Value> = page
        .attempts
        .iter()
        .map(|attempt| {
            json!({ "at": instant(attempt.at), "outcome": attempt.outcome, "detail": attempt.detail })
        })
        .collect();
    json!({
        "page_id": links.page_id(incident.number(), issue.serial),
        "kind": kind,
        "cause": issue.cause,
        "incident": incident.number(),
        "to": issue.person,
        "channel": issue.channel,
        "address": issue.address,
        "step": issue.step,
        "round": if issue.step == 0 { 0 } else { issue.round + 1 },
        "state": page.state,
        "written_at": instant(page.written_at),
        "due_at": instant(issue.due_at),
        "next_attempt_at": instant_or_null(page.next_at.filter(|_| !page.state.has_ended())),
        "attempts": attempts,
        "dropped_because": page.dropped,
    })
}

/// A line of the timeline. An actor who is neither configured nor the holder of a token is shown as unverified.
pub fn entry(entry: &Entry, incident: &Incident, book: &Book, tokens: &[String]) -> Value {
    let name = serde_json::to_value(&entry.event)
        .ok()
        .and_then(|event| event.get("event").cloned());
    let verified = entry.by == crate::domain::incident::event::WATCHKEEPER
        || book.people.contains_key(&entry.by)
        || tokens.contains(&entry.by);
    let by = if verified {
        entry.by.clone()
    } else {
        format!("{} (unverified)", entry.by)
    };
    let remark = remark_of(entry);
    json!({
        "seq": entry.seq,
        "at": instant(entry.at),
        "event": name,
        "by": by,
        "text": describe(entry, incident),
        "url": remark.and_then(|remark| remark.url.clone()),
        "happened_at": instant_or_null(remark.and_then(|remark| remark.happened_at)),
    })
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

pub fn dead_letter(id: u64, letter: &DeadLetter) -> Value {
    json!({
        "id": id,
        "at": instant(letter.at),
        "source": letter.source,
        "kind": letter.kind,
        "reason": letter.reason,
        "path": letter.path,
        "item": letter.item,
        "cut": letter.lacks.is_some(),
        "replayable": letter.replayed.is_none() && letter.body().is_ok(),
        "replayed": letter.replayed.as_ref().map(replayed),
    })
}

fn replayed(replayed: &Replayed) -> Value {
    json!({
        "at": instant(replayed.at),
        "by": replayed.by,
        "accepted": replayed.accepted,
        "rejected": replayed.rejected,
        "opened": replayed.opened,
        "joined": replayed.joined,
    })
}

/// The outputs there are, phase by phase: what clients may offer.
pub fn statements() -> Vec<&'static str> {
    Output::STATEMENTS
        .iter()
        .map(|output| output.as_str())
        .collect()
}
