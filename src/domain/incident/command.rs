//! What is asked of an incident, and why it may be refused.

use crate::domain::action_item::ActionItem;
use crate::domain::alert::Fingerprint;
use crate::domain::analysis::Analysis;
use crate::domain::escalation::Target;
use crate::domain::incident::event::{
    AttemptOutcome, Audience, MutedBy, Remark, Role, Unsaid, Waiver,
};
use crate::domain::incident::storm::Handing;
use crate::domain::phase::{Output, Phase};
use crate::domain::severity::{Severity, SeverityInputs};

/// Something asked of an incident. The same command twice changes nothing the second time, unless it adds something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// An alert of this incident's key fires, and has met the rule's `open` where that is asked.
    AlertFires {
        fingerprint: Fingerprint,
        name: String,
        severity: Severity,
    },
    /// A firing alert's words or attributes changed; its rule says this severity now.
    AlertRejudged {
        fingerprint: Fingerprint,
        severity: Severity,
    },
    AlertResolves {
        fingerprint: Fingerprint,
        how: Resolution,
    },
    /// An alert that fires was not heard of for so long that nobody knows whether it still does.
    AlertGoesStale {
        fingerprint: Fingerprint,
        name: String,
        why: String,
    },
    /// The key fires again within `reopen_within` of the close.
    AlertReopens {
        fingerprint: Fingerprint,
        name: String,
        severity: Severity,
    },
    /// An alert of this service has joined the storm that the incident is, under a key that may be new to it.
    StormGrows {
        key: Option<String>,
        service: String,
        is_muted: bool,
    },
    /// The storm is over.
    EndStorm,
    /// Its alert comes from a storm that is over.
    TakeOverFrom(Box<Handing>),
    /// How an attempt to deliver a page ended.
    Attempted {
        serial: u32,
        attempt: u32,
        outcome: AttemptOutcome,
        detail: String,
    },
    /// Each of its alerts that fire or are stale is muted, by these.
    Mute {
        by: Vec<MutedBy>,
    },
    /// One of them is not.
    Unmute,
    /// Do what is due.
    Look,
    ClockJumped {
        by_ms: i64,
    },

    Ask(Ask),
}

impl Command {
    /// The alert it tells of.
    pub fn alert(&self) -> Option<Fingerprint> {
        match self {
            Self::AlertFires { fingerprint, .. }
            | Self::AlertRejudged { fingerprint, .. }
            | Self::AlertResolves { fingerprint, .. }
            | Self::AlertGoesStale { fingerprint, .. }
            | Self::AlertReopens { fingerprint, .. } => Some(*fingerprint),
            Self::StormGrows { .. }
            | Self::EndStorm
            | Self::TakeOverFrom(_)
            | Self::Attempted { .. }
            | Self::Mute { .. }
            | Self::Unmute
            | Self::Look
            | Self::ClockJumped { .. }
            | Self::Ask(_) => None,
        }
    }
}

/// How it is known that an alert fires no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Its sender said so.
    Said,
    /// A person did, for this reason.
    ByHand(String),
    /// Nobody did.
    Unsaid(Unsaid),
    /// It fires still, in this incident.
    Moved(u64),
}

/// What people ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    Acknowledge,
    Unacknowledge,
    TakeOver,
    Escalate,
    Page {
        to: Target,
    },
    SetSeverity {
        severity: Severity,
        inputs: SeverityInputs,
        reason: String,
    },
    Assign {
        role: Role,
        person: String,
    },
    Update {
        audience: Audience,
        text: String,
    },
    Note(Remark),
    AddEvidence(Remark),
    ApplyMitigation(Remark),
    AddContainment(Remark),
    NoContainment {
        because: String,
    },
    Analyse(Analysis),
    AddAction(ActionItem),
    ChangeAction {
        index: u32,
        change: ActionItem,
    },
    GiveOutput {
        output: Output,
        statement: String,
        url: Option<String>,
    },
    Advance {
        waive: Vec<Waiver>,
    },
    Close {
        waive: Vec<Waiver>,
    },
    Reopen {
        reason: String,
    },
}

/// Why a command changes nothing. A value, not a failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("incident {number} is closed")]
    Closed { number: u64 },
    #[error("incident {number} is open")]
    NotClosed { number: u64 },
    #[error("another open incident, {number}, has its key")]
    KeyTaken { number: u64 },
    #[error("incident {number} is clear: nothing of it fires")]
    Clear { number: u64 },
    #[error("incident {number} is muted by {by}: its escalation pages nobody")]
    Muted { number: u64, by: String },
    #[error("in {phase}, this is missing: {}", list(missing))]
    OutputsMissing { phase: Phase, missing: Vec<Output> },
    #[error("verification is the last phase: close the incident")]
    NoNextPhase,
    #[error("{output} cannot be waived")]
    NotWaivable { output: Output },
    #[error("{output} is no statement; it is given in its own way")]
    NotAStatement { output: Output },
    #[error("there is no action item {index}")]
    NoSuchAction { index: u32 },
    #[error("there is no alert {fingerprint} in incident {number}")]
    NoSuchAlert {
        number: u64,
        fingerprint: Fingerprint,
    },
    #[error("{list} \"{found}\" is not one of {}", known.join(", "))]
    NotInList {
        list: &'static str,
        found: String,
        known: Vec<String>,
    },
    #[error(
        "an action answers \"weakness:0\", \"detection_gap\" or \"immediate_cause\", found \"{found}\""
    )]
    NotAnAnswer { found: String },
    #[error("an action needs {what}")]
    ActionIncomplete { what: &'static str },
    #[error("{target} reaches nobody")]
    ReachesNobody { target: Target },
}

fn list(missing: &[Output]) -> String {
    missing
        .iter()
        .map(|output| output.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}
