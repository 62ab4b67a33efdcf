//! How an alert comes to its incident, and how it ends: the incident of a key is the open one, a closed one that reopens, or a new
//! one; a resolve finds its alert by fingerprint.

use crate::domain::alert::{Alert, Fingerprint, Status, name_of};
use crate::domain::escalation::EscalationPolicy;
use crate::domain::incident::event::{Opened, Origin, WATCHKEEPER};
use crate::domain::incident::{Command, Incident, Resolution};
use crate::domain::inhibition::Sides;
use crate::domain::oncall::{Book, DEFAULT_POLICY};
use crate::domain::rule::{DEFAULT_SEVERITY, Opening, RuleSet, Verdict};
use crate::domain::severity::Severity;
use crate::domain::template::Facts;
use crate::domain::time::{Timestamp, millis};
use crate::store::error::Error;
use crate::store::muting::inhibited_by;
use crate::store::records::Change;
use crate::store::tx::Tx;
use crate::store::{InForce, storms};
use std::time::Duration;

/// Marks an alert as resolved, and tells its incident; a pending one stops waiting.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a different fact of one resolution"
)]
pub(crate) fn resolve(
    tx: &mut Tx<'_, '_>,
    fingerprint: Fingerprint,
    before: &Alert,
    ends_at: Option<Timestamp>,
    how: Resolution,
    by: &str,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    let mut alert = before.clone();
    alert.status = Status::Resolved;
    alert.ends_at = Some(ends_at.unwrap_or(now));
    alert.changed_at = now;
    alert.pending_key = None;
    alert.watch = None;
    alert.held_by = None;
    tx.put_alert(
        fingerprint,
        Some(before),
        &alert,
        Some(Change::Resolved),
        now,
    )?;
    if let Some(key) = &before.pending_key {
        return tx.remove_pending(key, fingerprint);
    }
    let Some(number) = before.incident else {
        return Ok(());
    };
    if tx.is_open(number)? {
        let command = Command::AlertResolves { fingerprint, how };
        let _refused = tx.command(number, &command, by, in_force, now)?;
    }
    Ok(())
}

/// Which incident an alert of a key goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Open(u64),
    /// Closed, and young enough to be the same.
    Closed(u64),
    /// A new one, which follows the last of its key where there was one.
    New {
        recurrence_of: Option<u64>,
    },
}

/// Whether `open` is asked before the alert counts: not while its incident is worked on before stabilization.
pub(crate) fn waits(tx: &Tx<'_, '_>, target: Target) -> Result<bool, Error> {
    match target {
        Target::New { .. } | Target::Closed(_) => Ok(true),
        Target::Open(number) => {
            let is_asked = tx.with(number, |incident| {
                incident.is_clear() && incident.phase.is_after_response()
            })?;
            Ok(is_asked.unwrap_or(false))
        }
    }
}

/// The cause because of which an alert opens no incident; none where there is an open one that it joins.
pub(crate) fn held_by(
    tx: &mut Tx<'_, '_>,
    alert: &Alert,
    fingerprint: Fingerprint,
    target: Target,
    in_force: &InForce,
) -> Result<Option<Fingerprint>, Error> {
    match target {
        Target::Open(_) => Ok(None),
        Target::New { .. } | Target::Closed(_) => {
            tx.follow_inhibitions(in_force)?;
            let cause = inhibited_by(&tx.read(), &in_force.rules, fingerprint, alert)?;
            Ok(cause.map(|(cause, _)| cause))
        }
    }
}

/// The incident that an alert joined.
pub(crate) struct Joined {
    pub(crate) number: u64,
    pub(crate) opened: bool,
}

/// Brings a firing alert into the incident of its key: the open one, the closed one that reopens, or a new one; past the cap of its
/// team into the storm.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a different fact of one joining"
)]
pub(crate) fn join(
    tx: &mut Tx<'_, '_>,
    alert: &Alert,
    fingerprint: Fingerprint,
    opening: &Opening<'_>,
    key: String,
    target: Target,
    in_force: &InForce,
    now: Timestamp,
) -> Result<Joined, Error> {
    let severity = || opening.severity(facts_of(alert)).0;
    let storm = match target {
        Target::Open(number) => {
            let is_storm = tx.with(number, Incident::is_storm)?;
            is_storm.unwrap_or(false).then_some((number, false, None))
        }
        Target::New { .. } | Target::Closed(_) => {
            let turned = storms::turn_aside(tx, opening.team(), severity(), in_force, now)?;
            if let Some((number, _)) = turned {
                let before = tx.answering(&key)?;
                tx.put_holder(&key, number, before);
            }
            turned.map(|(number, is_new)| (number, is_new, Some(key.as_str())))
        }
    };
    if let Some((number, opened, key)) = storm {
        let this = (fingerprint, alert);
        storms::join(tx, number, this, severity(), key, in_force, now)?;
        return Ok(Joined { number, opened });
    }
    join_own(tx, alert, fingerprint, opening, key, target, in_force, now)
}

/// The same whatever the cap of its team.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a different fact of one joining"
)]
pub(crate) fn join_own(
    tx: &mut Tx<'_, '_>,
    alert: &Alert,
    fingerprint: Fingerprint,
    opening: &Opening<'_>,
    key: String,
    target: Target,
    in_force: &InForce,
    now: Timestamp,
) -> Result<Joined, Error> {
    let facts = facts_of(alert);
    let severity = opening.severity(facts).0;
    let name = name_of(&alert.labels).to_owned();
    let fires = Command::AlertFires {
        fingerprint,
        name: name.clone(),
        severity,
    };
    let (number, command, opened) = match target {
        Target::Open(number) => (number, fires, false),
        Target::Closed(number) => (
            number,
            Command::AlertReopens {
                fingerprint,
                name,
                severity,
            },
            false,
        ),
        Target::New { recurrence_of } => {
            let start = opened_by(alert, opening, key, recurrence_of, in_force);
            (tx.open(start, WATCHKEEPER, now)?, fires, true)
        }
    };
    let _refused = tx.command(number, &command, WATCHKEEPER, in_force, now)?;
    Ok(Joined { number, opened })
}

fn opened_by(
    alert: &Alert,
    opening: &Opening<'_>,
    dedup_key: String,
    recurrence_of: Option<u64>,
    in_force: &InForce,
) -> Opened {
    let facts = facts_of(alert);
    let (severity, inputs) = opening.severity(facts);
    let book = &in_force.book;
    let process = book.processes.of(severity);
    Opened {
        number: 0,
        origin: Origin::Alert,
        title: opening.title(facts),
        description: opening.description(facts),
        severity,
        inputs,
        urgency: process.urgency,
        profile: process.outputs,
        leadership: process.leadership.clone(),
        dedup_key: Some(dedup_key),
        rule: Some(opening.rule().to_owned()),
        revision: in_force.rules.revision.clone(),
        team: opening.team().map(str::to_owned),
        runbook: opening.runbook(facts),
        policy: policy_of(book, opening.escalation_policy(), opening.team()),
        resolve_after_ms: span(opening.resolve_after()),
        reopen_within_ms: span(opening.reopen_within()),
        verification: opening.verification().cloned(),
        flapping: opening.flapping(),
        storm: None,
        recurrence_of,
    }
}

/// The policy an incident keeps. A book without any leads at once to exhaustion, which is loud.
pub(crate) fn policy_of(book: &Book, named: Option<&str>, team: Option<&str>) -> EscalationPolicy {
    book.policy_for(named, team)
        .cloned()
        .unwrap_or_else(|| EscalationPolicy {
            name: DEFAULT_POLICY.to_owned(),
            steps: Vec::new(),
            repeat: 0,
            acknowledge_timeout_ms: None,
            fallback: Vec::new(),
        })
}

fn span(span: Duration) -> u64 {
    u64::try_from(millis(span)).unwrap_or(0)
}

pub(crate) fn facts_of(alert: &Alert) -> Facts<'_> {
    Facts {
        labels: &alert.labels,
        annotations: &alert.annotations,
        attributes: &alert.attributes,
    }
}

pub(crate) fn sides_of(alert: &Alert) -> Sides<'_> {
    Sides {
        labels: &alert.labels,
        attributes: &alert.attributes,
    }
}

/// By the rule by which it joined; if that is gone, by all.
pub(crate) fn severity_by_its_rule(rules: &RuleSet, alert: &Alert, now: Timestamp) -> Severity {
    let facts = facts_of(alert);
    let own = alert
        .rule
        .as_deref()
        .and_then(|rule| rules.opening_of(rule));
    let opening = own.or_else(|| opening_by_all(rules, facts, now));
    opening.map_or(DEFAULT_SEVERITY, |opening| opening.severity(facts).0)
}

/// What all rules say of an alert, where that opens.
pub(crate) fn opening_by_all<'r>(
    rules: &'r RuleSet,
    facts: Facts<'_>,
    now: Timestamp,
) -> Option<Opening<'r>> {
    match rules.judge(facts, now) {
        Verdict::Open(opening) => Some(opening),
        Verdict::Record { .. } | Verdict::Drop { .. } | Verdict::Unrouted => None,
    }
}
