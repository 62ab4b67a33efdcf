//! The seven phases of an incident and the outputs each requires before the next. One table: the refusal, the API and the tests read it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Where an incident stands between detection and its verified close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Detection,
    Triage,
    Response,
    Stabilization,
    RootCauseAnalysis,
    ActionItems,
    Verification,
}

/// What a phase must produce.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    Time,
    InitialSeverity,
    Description,
    SeverityConfirmed,
    EscalationDecided,
    Commander,
    FirstCommunication,
    TechnicalOwner,
    Channel,
    Validated,
    Evidence,
    Mitigation,
    Containment,
    Contained,
    TimelineReviewed,
    ImmediateCause,
    Weakness,
    ContributingFactors,
    DetectionGap,
    SystemicAction,
    ActionsComplete,
    ActionsDone,
    NoRecurrence,
    Stable,
    Stakeholder,
    Lessons,
    /// Not an output of a phase but a condition of verification and of closing: nothing of the incident fires any more.
    Clear,
}

impl Phase {
    pub const ALL: [Self; 7] = [
        Self::Detection,
        Self::Triage,
        Self::Response,
        Self::Stabilization,
        Self::RootCauseAnalysis,
        Self::ActionItems,
        Self::Verification,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Detection => "detection",
            Self::Triage => "triage",
            Self::Response => "response",
            Self::Stabilization => "stabilization",
            Self::RootCauseAnalysis => "root_cause_analysis",
            Self::ActionItems => "action_items",
            Self::Verification => "verification",
        }
    }

    pub fn next(self) -> Option<Self> {
        match self {
            Self::Detection => Some(Self::Triage),
            Self::Triage => Some(Self::Response),
            Self::Response => Some(Self::Stabilization),
            Self::Stabilization => Some(Self::RootCauseAnalysis),
            Self::RootCauseAnalysis => Some(Self::ActionItems),
            Self::ActionItems => Some(Self::Verification),
            Self::Verification => None,
        }
    }

    /// What must be given or waived before the phase is left.
    pub fn required_outputs(self) -> &'static [Output] {
        match self {
            Self::Detection => &[Output::Time, Output::InitialSeverity, Output::Description],
            Self::Triage => &[
                Output::SeverityConfirmed,
                Output::EscalationDecided,
                Output::Commander,
                Output::FirstCommunication,
            ],
            Self::Response => &[
                Output::TechnicalOwner,
                Output::Channel,
                Output::Validated,
                Output::Evidence,
                Output::Mitigation,
            ],
            Self::Stabilization => &[Output::Containment, Output::Contained],
            Self::RootCauseAnalysis => &[
                Output::TimelineReviewed,
                Output::ImmediateCause,
                Output::Weakness,
                Output::ContributingFactors,
                Output::DetectionGap,
            ],
            Self::ActionItems => &[Output::SystemicAction, Output::ActionsComplete],
            Self::Verification => &[
                Output::ActionsDone,
                Output::NoRecurrence,
                Output::Stable,
                Output::Stakeholder,
                Output::Lessons,
            ],
        }
    }

    /// Firing again from here on is a recurrence.
    pub fn is_after_response(self) -> bool {
        self >= Self::Stabilization
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Output {
    pub const ALL: [Self; 27] = [
        Self::Time,
        Self::InitialSeverity,
        Self::Description,
        Self::SeverityConfirmed,
        Self::EscalationDecided,
        Self::Commander,
        Self::FirstCommunication,
        Self::TechnicalOwner,
        Self::Channel,
        Self::Validated,
        Self::Evidence,
        Self::Mitigation,
        Self::Containment,
        Self::Contained,
        Self::TimelineReviewed,
        Self::ImmediateCause,
        Self::Weakness,
        Self::ContributingFactors,
        Self::DetectionGap,
        Self::SystemicAction,
        Self::ActionsComplete,
        Self::ActionsDone,
        Self::NoRecurrence,
        Self::Stable,
        Self::Stakeholder,
        Self::Lessons,
        Self::Clear,
    ];

    /// The outputs that are a person's word, given by `POST …/outputs/{id}`.
    pub const STATEMENTS: [Self; 7] = [
        Self::EscalationDecided,
        Self::Channel,
        Self::Validated,
        Self::Contained,
        Self::TimelineReviewed,
        Self::Stakeholder,
        Self::Lessons,
    ];

    /// What a recurrence takes back; `systemic_action` must then be served by an action added since.
    pub const LOST_BY_RECURRENCE: [Self; 8] = [
        Self::Validated,
        Self::Mitigation,
        Self::Contained,
        Self::TimelineReviewed,
        Self::SystemicAction,
        Self::Stable,
        Self::Stakeholder,
        Self::Lessons,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::InitialSeverity => "initial_severity",
            Self::Description => "description",
            Self::SeverityConfirmed => "severity_confirmed",
            Self::EscalationDecided => "escalation_decided",
            Self::Commander => "commander",
            Self::FirstCommunication => "first_communication",
            Self::TechnicalOwner => "technical_owner",
            Self::Channel => "channel",
            Self::Validated => "validated",
            Self::Evidence => "evidence",
            Self::Mitigation => "mitigation",
            Self::Containment => "containment",
            Self::Contained => "contained",
            Self::TimelineReviewed => "timeline_reviewed",
            Self::ImmediateCause => "immediate_cause",
            Self::Weakness => "weakness",
            Self::ContributingFactors => "contributing_factors",
            Self::DetectionGap => "detection_gap",
            Self::SystemicAction => "systemic_action",
            Self::ActionsComplete => "actions_complete",
            Self::ActionsDone => "actions_done",
            Self::NoRecurrence => "no_recurrence",
            Self::Stable => "stable",
            Self::Stakeholder => "stakeholder",
            Self::Lessons => "lessons",
            Self::Clear => "clear",
        }
    }

    /// Whether a named exception can stand for it.
    pub fn is_waivable(self) -> bool {
        !matches!(self, Self::Clear | Self::NoRecurrence)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no output \"{0}\"")]
pub struct NotAnOutput(pub String);

impl FromStr for Output {
    type Err = NotAnOutput;

    fn from_str(text: &str) -> Result<Self, NotAnOutput> {
        Self::ALL
            .into_iter()
            .find(|output| output.as_str() == text)
            .ok_or_else(|| NotAnOutput(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_output_but_clear_belongs_to_exactly_one_phase() {
        let of_phases: Vec<Output> = Phase::ALL
            .iter()
            .flat_map(|phase| phase.required_outputs())
            .copied()
            .collect();
        let all_but_clear: Vec<Output> = Output::ALL
            .into_iter()
            .filter(|output| *output != Output::Clear)
            .collect();
        assert_eq!(of_phases, all_but_clear);
    }
}
