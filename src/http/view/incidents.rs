//! An incident as it is answered, with all its parts.

use crate::domain::action_item::{ActionItem, ActionKind, ActionState, Priority};
use crate::domain::alert::Fingerprint;
use crate::domain::incident::event::{MutedBy as By, Origin, Waiver as Waived};
use crate::domain::phase::{Output, Phase};
use crate::domain::severity::{Severity, Urgency};
use crate::domain::time::{Timestamp, show_span};
use crate::domain::verification::CheckResult;
use crate::domain::{analysis, incident};
use crate::http::openapi::words;
use crate::http::view::{Instant, RelatedChange, instant};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// An incident.
#[derive(Debug, Serialize, ToSchema)]
pub struct Incident {
    pub number: u64,
    pub title: String,
    pub description: String,
    #[schema(value_type = words::Severity)]
    pub severity: Severity,
    #[schema(value_type = words::Urgency)]
    pub urgency: Urgency,
    #[schema(value_type = words::IncidentStatus)]
    pub status: &'static str,
    #[schema(value_type = words::Phase)]
    pub phase: Phase,
    /// How many outputs its severity asks for.
    #[schema(value_type = words::Profile)]
    pub outputs: &'static str,
    /// None where a person opened it.
    #[schema(required = true)]
    pub dedup_key: Option<String>,
    #[schema(required = true)]
    pub rule: Option<String>,
    /// Of the rules that were live when it opened.
    pub rules_revision: String,
    #[schema(required = true)]
    pub team: Option<String>,
    #[schema(required = true)]
    pub runbook: Option<String>,
    pub policy: String,
    #[schema(value_type = words::Origin)]
    pub origin: Origin,
    #[schema(value_type = words::Instant)]
    pub opened_at: Instant,
    pub opened_by: String,
    #[schema(value_type = Option<words::Instant>, required = true)]
    pub acknowledged_at: Option<Instant>,
    #[schema(required = true)]
    pub acknowledged_by: Option<String>,
    /// Since when nothing of it fires.
    #[schema(value_type = Option<words::Instant>, required = true)]
    pub clear_since: Option<Instant>,
    #[schema(value_type = Option<words::Instant>, required = true)]
    pub closed_at: Option<Instant>,
    #[schema(required = true)]
    pub commander: Option<String>,
    /// Who is named on it, by role.
    pub roles: BTreeMap<&'static str, String>,
    pub alerts: AlertCounts,
    pub muted: bool,
    #[schema(value_type = Option<words::Instant>, required = true)]
    pub muted_since: Option<Instant>,
    pub muted_by: Vec<MutedBy>,
    pub flapping: bool,
    /// Of the storm that it is; null of any other.
    #[schema(required = true)]
    pub storm: Option<Storm>,
    pub next: Next,
    /// Outputs in people's words, by output.
    pub given: BTreeMap<&'static str, Given>,
    pub waivers: Vec<Waiver>,
    pub analysis: Analysis,
    pub actions: Vec<Action>,
    /// The closed incident of the same key that it follows.
    #[schema(required = true)]
    pub recurrence_of: Option<u64>,
    pub recurrences: u32,
    #[schema(required = true)]
    pub verification: Option<Verification>,
    pub failed_verifications: Vec<Verification>,
    #[schema(value_type = words::Instant)]
    pub changed_at: Instant,
    /// Changes that are worth a look, the most relevant first; only of one incident that is asked for by its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Vec<RelatedChange>>,
}

/// How many alerts an incident has, and how many sightings of them there were.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertCounts {
    pub firing: usize,
    pub resolved: usize,
    pub stale: usize,
    pub received: u64,
}

/// What mutes an incident: a silence, or the alert of a cause.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum MutedBy {
    Silence {
        /// Its id.
        silence: String,
        by: String,
        reason: String,
    },
    Inhibition {
        #[schema(value_type = words::Fingerprint)]
        inhibited_by: Fingerprint,
        /// Of the alert.
        name: String,
    },
}

/// Past what a storm was opened, and what joined it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Storm {
    /// New incidents of one team
    pub incidents: u32,
    /// in this span.
    pub within: String,
    pub n_keys: usize,
    /// The first hundred of them.
    pub keys: Vec<String>,
    /// Each of which an alert paged; empty where alerts name none.
    pub services: Vec<String>,
    #[schema(value_type = Option<words::Instant>, required = true)]
    pub over_at: Option<Instant>,
}

/// Where an incident goes next, and what is missing before.
#[derive(Debug, Serialize, ToSchema)]
pub struct Next {
    /// Null from the last phase on, which ends with closing.
    #[schema(value_type = Option<words::Phase>, required = true)]
    pub phase: Option<Phase>,
    #[schema(value_type = Vec<words::Output>)]
    pub missing: Vec<Output>,
}

/// An output in somebody's words.
#[derive(Debug, Serialize, ToSchema)]
pub struct Given {
    pub statement: String,
    #[schema(required = true)]
    pub url: Option<String>,
    pub by: String,
    #[schema(value_type = words::Instant)]
    pub at: Instant,
}

/// A named exception: an output that nobody gave.
#[derive(Debug, Serialize, ToSchema)]
pub struct Waiver {
    #[schema(value_type = words::Output)]
    pub output: Output,
    pub reason: String,
    #[schema(value_type = Option<words::Instant>, required = true)]
    pub until: Option<Instant>,
}

/// What is known of why it happened and why it was not seen; parts that nobody gave are absent.
#[derive(Debug, Serialize, ToSchema)]
pub struct Analysis {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub immediate_cause: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub weaknesses: Option<Vec<Finding>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub contributing_factors: Option<Vec<String>>,
    /// Why there are no contributing factors.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub none_because: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub detection_gap: Option<Finding>,
}

/// A weakness or a gap: one of a list that operators may add to, in words.
#[derive(Debug, Serialize, ToSchema)]
pub struct Finding {
    pub kind: String,
    #[schema(required = false)]
    pub text: String,
}

/// An action item of an incident.
#[derive(Debug, Serialize, ToSchema)]
pub struct Action {
    pub index: usize,
    #[schema(value_type = Option<words::ActionKind>, required = true)]
    pub kind: Option<ActionKind>,
    #[schema(required = true)]
    pub title: Option<String>,
    /// `weakness:0`, `detection_gap`, `immediate_cause`.
    pub answers: Vec<String>,
    #[schema(required = true)]
    pub owner: Option<String>,
    #[schema(value_type = Option<words::Instant>, required = true)]
    pub due: Option<Instant>,
    #[schema(value_type = Option<words::Priority>, required = true)]
    pub priority: Option<Priority>,
    #[schema(value_type = words::ActionState)]
    pub state: ActionState,
    #[schema(required = true)]
    pub evidence: Option<String>,
}

/// A window in which it is looked whether an incident comes back.
#[derive(Debug, Serialize, ToSchema)]
pub struct Verification {
    /// When it is looked, as cron.
    pub check: String,
    pub timezone: &'static str,
    #[schema(value_type = words::Instant)]
    pub window_starts_at: Instant,
    #[schema(value_type = words::Instant)]
    pub window_ends_at: Instant,
    #[schema(value_type = Option<words::Instant>, required = true)]
    pub next_check_at: Option<Instant>,
    pub passed: bool,
    pub stable: bool,
    pub failed: bool,
    pub checks: Vec<Check>,
}

/// A recurrence check that ran.
#[derive(Debug, Serialize, ToSchema)]
pub struct Check {
    #[schema(value_type = words::Instant)]
    pub at: Instant,
    #[schema(value_type = words::Instant)]
    pub ran_at: Instant,
    #[schema(value_type = words::CheckResult)]
    pub result: CheckResult,
    pub detail: String,
}

/// An incident as it is at `now`; `received` counts the sightings of its alerts.
pub fn incident(incident: &incident::Incident, received: u64, now: Timestamp) -> Incident {
    let opened = &incident.opened;
    let acknowledged = incident.acknowledged.as_ref();
    let counts = incident.members.counts();
    let roles = incident.roles.iter();
    let roles: BTreeMap<&str, String> = roles
        .map(|(role, person)| (role.as_str(), person.clone()))
        .collect();
    Incident {
        number: incident.number(),
        title: opened.title.clone(),
        description: opened.description.clone(),
        severity: incident.severity,
        urgency: incident.urgency,
        status: incident.status.as_str(),
        phase: incident.phase,
        outputs: incident.profile.as_str(),
        dedup_key: opened.dedup_key.clone(),
        rule: opened.rule.clone(),
        rules_revision: opened.revision.clone(),
        team: opened.team.clone(),
        runbook: opened.runbook.clone(),
        policy: opened.policy.name.clone(),
        origin: opened.origin,
        opened_at: incident.opened_at.into(),
        opened_by: incident.opened_by.clone(),
        acknowledged_at: instant(acknowledged.map(|held| held.at)),
        acknowledged_by: acknowledged.map(|held| held.by.clone()),
        clear_since: instant(incident.clear_since),
        closed_at: instant(incident.closed_at),
        commander: roles.get("commander").cloned(),
        roles,
        alerts: AlertCounts {
            firing: counts.firing,
            resolved: counts.resolved,
            stale: counts.stale,
            received,
        },
        muted: incident.is_muted(),
        muted_since: instant(incident.mute().map(|mute| mute.since)),
        muted_by: incident
            .mute()
            .iter()
            .flat_map(|mute| &mute.by)
            .map(muted_by)
            .collect(),
        flapping: incident.is_flapping(),
        storm: storm(incident),
        next: next(incident, now),
        given: given(incident),
        waivers: incident.waivers.values().map(waiver).collect(),
        analysis: analysis(&incident.analysis),
        actions: incident.actions.iter().enumerate().map(action).collect(),
        recurrence_of: opened.recurrence_of,
        recurrences: incident.recurrences,
        verification: incident.verification.as_ref().map(verification),
        failed_verifications: incident
            .failed_windows
            .iter()
            .map(|window| verification(window))
            .collect(),
        changed_at: incident.changed_at.into(),
        changes: None,
    }
}

fn storm(incident: &incident::Incident) -> Option<Storm> {
    let (cap, storm) = (incident.opened.storm?, incident.storm()?);
    Some(Storm {
        incidents: cap.incidents,
        within: show_span(cap.within()),
        n_keys: storm.n_keys,
        keys: storm.keys.to_vec(),
        services: storm.services.iter().cloned().collect(),
        over_at: storm.over_at.map(Instant),
    })
}

fn muted_by(by: &By) -> MutedBy {
    match by {
        By::Silence { id, by, reason } => MutedBy::Silence {
            silence: id.clone(),
            by: by.clone(),
            reason: reason.clone(),
        },
        By::Inhibition { fingerprint, name } => MutedBy::Inhibition {
            inhibited_by: *fingerprint,
            name: name.clone(),
        },
    }
}

fn next(incident: &incident::Incident, now: Timestamp) -> Next {
    if !incident.is_open() {
        return Next {
            phase: None,
            missing: Vec::new(),
        };
    }
    Next {
        phase: incident.phase.next(),
        missing: incident.missing_now(now),
    }
}

fn given(incident: &incident::Incident) -> BTreeMap<&'static str, Given> {
    let words = incident.given.iter().map(|(output, given)| {
        let word = Given {
            statement: given.statement.clone(),
            url: given.url.clone(),
            by: given.by.clone(),
            at: given.at.into(),
        };
        (output.as_str(), word)
    });
    words.collect()
}

fn waiver(waiver: &Waived) -> Waiver {
    Waiver {
        output: waiver.output,
        reason: waiver.reason.clone(),
        until: instant(waiver.until),
    }
}

fn analysis(analysis: &analysis::Analysis) -> Analysis {
    let weaknesses = analysis.weaknesses.as_ref();
    Analysis {
        immediate_cause: analysis.immediate_cause.clone(),
        weaknesses: weaknesses.map(|all| all.iter().map(finding).collect()),
        contributing_factors: analysis.contributing_factors.clone(),
        none_because: analysis.none_because.clone(),
        detection_gap: analysis.detection_gap.as_ref().map(finding),
    }
}

fn finding(finding: &analysis::Finding) -> Finding {
    Finding {
        kind: finding.kind.clone(),
        text: finding.text.clone(),
    }
}

fn action((index, action): (usize, &ActionItem)) -> Action {
    Action {
        index,
        kind: action.kind,
        title: action.title.clone(),
        answers: action.answers.clone().unwrap_or_default(),
        owner: action.owner.clone(),
        due: instant(action.due),
        priority: action.priority,
        state: action.state(),
        evidence: action.evidence.clone(),
    }
}

fn verification(window: &incident::Verification) -> Verification {
    let checks = window.checks.iter().map(|check| Check {
        at: check.at.into(),
        ran_at: check.ran_at.into(),
        result: check.result,
        detail: check.detail.clone(),
    });
    Verification {
        check: window.plan.check.to_string(),
        timezone: window.plan.zone.name(),
        window_starts_at: window.from.into(),
        window_ends_at: window.ends_at.into(),
        next_check_at: instant(window.next_check_at()),
        passed: window.has_passed(),
        stable: window.is_stable(),
        failed: window.failed,
        checks: checks.collect(),
    }
}
