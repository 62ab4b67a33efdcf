//! What happened to an incident: the stored contract. New kinds and defaulted fields may be added; nothing is renamed or removed.

use crate::domain::action_item::ActionItem;
use crate::domain::alert::Fingerprint;
use crate::domain::analysis::Analysis;
use crate::domain::escalation::EscalationPolicy;
use crate::domain::incident::flapping::Flapping;
use crate::domain::incident::storm::StormCap;
use crate::domain::phase::{Output, Phase};
use crate::domain::severity::{Profile, Severity, SeverityInputs, Urgency};
use crate::domain::time::Timestamp;
use crate::domain::verification::{CheckResult, Plan};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The actor of what the program does by itself.
pub const WATCHKEEPER: &str = "watchkeeper";

/// How an incident came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Alert,
    Engineering,
    Customer,
}

impl Origin {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alert => "alert",
            Self::Engineering => "engineering",
            Self::Customer => "customer",
        }
    }
}

/// Everything an incident starts with; later edits of rules and policies do not reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    pub number: u64,
    pub origin: Origin,
    pub title: String,
    pub description: String,
    pub severity: Severity,
    #[serde(default, skip_serializing_if = "SeverityInputs::is_empty")]
    pub inputs: SeverityInputs,
    pub urgency: Urgency,
    pub profile: Profile,
    #[serde(default)]
    pub leadership: Option<String>,
    /// None where a person opened it.
    #[serde(default)]
    pub dedup_key: Option<String>,
    #[serde(default)]
    pub rule: Option<String>,
    /// The rule set that was live.
    #[serde(default)]
    pub revision: String,
    #[serde(default)]
    pub team: Option<String>,
    #[serde(default)]
    pub runbook: Option<String>,
    pub policy: EscalationPolicy,
    #[serde(default)]
    pub resolve_after_ms: u64,
    #[serde(default)]
    pub reopen_within_ms: u64,
    /// The rule's plan; the process's where it has none.
    #[serde(default)]
    pub verification: Option<Plan>,
    /// How often it may change between firing and silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flapping: Option<Flapping>,
    /// Past which it was opened, where it is the storm of its team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storm: Option<StormCap>,
    /// The closed incident of the same key that this one follows.
    #[serde(default)]
    pub recurrence_of: Option<u64>,
}

/// Why a page goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A step of the policy.
    Step,
    /// Steps and repeats are spent.
    Exhaustion,
    /// Somebody asked for it.
    Person,
    /// To be told, not to be called.
    Update,
    /// The incident could not be stepped. No event has such a page: it stands beside the log.
    Stuck,
}

/// One page to one contact, as it is written down before it is sent. `serial` counts the pages of the incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageIssue {
    pub serial: u32,
    pub cause: Cause,
    /// Counted from 1; 0 where it belongs to no step.
    #[serde(default)]
    pub step: u32,
    #[serde(default)]
    pub round: u32,
    pub person: String,
    pub channel: String,
    pub address: String,
    pub due_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    Delivered,
    /// Another attempt follows.
    Retry,
    /// For good: refused, or the retries are spent.
    Failed,
}

impl AttemptOutcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry => "retry",
            Self::Failed => "failed",
        }
    }
}

/// Who may be named on an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Commander,
    Deputy,
    Communications,
    Scribe,
    TechnicalOwner,
    AnalysisOwner,
    Verifier,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Commander => "commander",
            Self::Deputy => "deputy",
            Self::Communications => "communications",
            Self::Scribe => "scribe",
            Self::TechnicalOwner => "technical_owner",
            Self::AnalysisOwner => "analysis_owner",
            Self::Verifier => "verifier",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    Stakeholders,
    Responders,
    Public,
}

impl Audience {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stakeholders => "stakeholders",
            Self::Responders => "responders",
            Self::Public => "public",
        }
    }
}

/// A named exception: an output that nobody gave, why, and until when that is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiver {
    pub output: Output,
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Words of a person, with a link and the time they speak of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When it happened, where that is not when it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub happened_at: Option<Timestamp>,
}

/// Who raised the severity, where no person did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RaisedBy {
    Alert,
    Recurrence,
}

/// Why an alert counts as resolved though nobody said that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unsaid {
    /// Its sender said until when it fires, and did not say it again.
    Lapsed,
    /// It was stale for long, and nobody walks its incident, if it has one.
    Assumed,
}

/// What an incident that came out of a storm gets from that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOver {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<Timestamp>,
    /// What the acknowledge timeout counts from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stood_at: Option<StoodAt>,
}

/// Where an escalation stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoodAt {
    /// This step, counted from 0, had run.
    Step {
        round: u32,
        step: u32,
        next_at: Timestamp,
        reached: bool,
    },
    Exhausted {
        exhaustion: u32,
        next_at: Timestamp,
        delivered: bool,
    },
}

/// What mutes alerts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MutedBy {
    Silence {
        id: String,
        /// Who made it, and why.
        by: String,
        reason: String,
    },
    /// An alert that fires or is stale, of which these are effects.
    Inhibition {
        fingerprint: Fingerprint,
        name: String,
    },
}

impl MutedBy {
    /// Whether both are the same silence, or the same cause.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Silence { id, .. }, Self::Silence { id: other, .. }) => id == other,
            (
                Self::Inhibition { fingerprint, .. },
                Self::Inhibition {
                    fingerprint: other, ..
                },
            ) => fingerprint == other,
            (Self::Silence { .. }, Self::Inhibition { .. })
            | (Self::Inhibition { .. }, Self::Silence { .. }) => false,
        }
    }
}

impl fmt::Display for MutedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence { id, by, reason } if reason.is_empty() => {
                write!(f, "silence {id} of {by}")
            }
            Self::Silence { id, by, reason } => write!(f, "silence {id} of {by} ({reason})"),
            Self::Inhibition { fingerprint, name } => {
                write!(f, "its cause {name} ({fingerprint})")
            }
        }
    }
}

/// Written beside when it happened and who did it: [`Entry`](crate::domain::incident::Entry) says how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    Opened(Box<Opened>),

    // Alerts.
    AlertJoined {
        fingerprint: Fingerprint,
        name: String,
        severity: Severity,
    },
    AlertFired {
        fingerprint: Fingerprint,
        severity: Severity,
    },
    AlertRejudged {
        fingerprint: Fingerprint,
        severity: Severity,
    },
    AlertResolved {
        fingerprint: Fingerprint,
        /// Where a person resolved it by hand.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Where nobody said that it is resolved.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unsaid: Option<Unsaid>,
        /// It fires still: it moved to an incident of its own when the storm was over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        moved_to: Option<u64>,
    },
    /// Fired, and was not heard of for long.
    AlertWentStale {
        fingerprint: Fingerprint,
        why: String,
    },
    Cleared {
        since: Timestamp,
    },
    /// No longer clear.
    FiredAgain {
        /// The escalation goes on where it stood, and does not begin anew.
        resumes: bool,
    },
    /// It fires and falls silent more often than its rule takes.
    FlappingBegan {
        changes: u32,
        within_ms: u64,
    },
    /// It has settled.
    FlappingEnded,
    /// An alert joined a storm: under a key that is new to it, or as the first of its service, which calls anew.
    StormGrew {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
        calls: bool,
        /// The escalation goes on where it stands, and does not begin anew.
        resumes: bool,
    },
    /// The rate has fallen: what still fires moves to incidents of its own.
    StormEnded,
    /// Its alert came from the storm, with whoever acknowledged that and where its escalation stood.
    TookOver {
        from: u64,
        over: HandedOver,
    },
    Recurred {
        recurrences: u32,
        phase: Phase,
    },
    Reopened {
        phase: Phase,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        by_person: bool,
    },

    // Severity.
    SeverityRaised {
        from: Severity,
        to: Severity,
        urgency: Urgency,
        because: RaisedBy,
        #[serde(default)]
        leadership: Option<String>,
    },
    SeveritySet {
        from: Severity,
        to: Severity,
        urgency: Urgency,
        inputs: SeverityInputs,
        reason: String,
        #[serde(default)]
        leadership: Option<String>,
    },
    BecameFull {
        phase: Phase,
    },

    // Paging.
    PagingStarted {
        start: u32,
    },
    StepRan {
        round: u32,
        step: u32,
        next_at: Timestamp,
        pages: Vec<PageIssue>,
    },
    StepReachedNobody {
        round: u32,
        step: u32,
        why: String,
    },
    Exhausted {
        exhaustion: u32,
        next_at: Timestamp,
        pages: Vec<PageIssue>,
    },
    Paged {
        pages: Vec<PageIssue>,
    },
    Told {
        why: ToldWhy,
        pages: Vec<PageIssue>,
    },
    Attempted {
        serial: u32,
        attempt: u32,
        outcome: AttemptOutcome,
        detail: String,
    },
    /// A contact failed for good; this later one of the same person is tried at once.
    Hastened {
        serial: u32,
    },
    PagesDropped {
        serials: Vec<u32>,
        why: String,
    },
    /// Each alert that keeps the incident from being clear is muted: nobody is paged for it.
    Muted {
        causes: Vec<MutedBy>,
    },
    Unmuted,
    PagesMuted {
        serials: Vec<u32>,
        why: String,
    },
    Acknowledged,
    Unacknowledged,
    AcknowledgeTimedOut,
    Escalated {
        round: u32,
        step: u32,
    },
    /// The wall clock jumped; waits are of elapsed time and move with it.
    ClockJumped {
        by_ms: i64,
    },

    // People.
    TakenOver,
    Assigned {
        role: Role,
        person: String,
    },
    Updated {
        audience: Audience,
        text: String,
    },
    Noted(Remark),
    EvidenceAdded(Remark),
    MitigationApplied(Remark),
    ContainmentAdded(Remark),
    NoContainment {
        because: String,
    },
    Analysed(Analysis),
    ActionAdded(ActionItem),
    ActionChanged {
        index: u32,
        change: ActionItem,
    },
    OutputGiven {
        output: Output,
        statement: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url: Option<String>,
    },
    Waived(Waiver),
    Advanced {
        to: Phase,
    },
    VerificationStarted {
        plan: Plan,
        from: Timestamp,
        ends_at: Timestamp,
    },
    Checked {
        slots: Vec<Timestamp>,
        result: CheckResult,
        detail: String,
    },
    Closed,
}

/// What somebody is told who is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToldWhy {
    Leadership,
    Clear,
    Stale,
    Flapping,
}
