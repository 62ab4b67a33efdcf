//! Action items: what is done so that it does not happen again, by whom, until when, and which finding it answers.

use crate::domain::analysis::Analysis;
use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// Limits the damage of this incident.
    Containment,
    /// Changes what made it possible.
    Systemic,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionState {
    #[default]
    Open,
    Doing,
    Done,
    /// Will not be done, with its reason in `evidence`.
    Dropped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Priority {
    P1,
    P2,
    P3,
    P4,
}

/// One action item. As a change, a part that is absent stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionItem {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ActionKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// `weakness:0`, `detection_gap`, `immediate_cause`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ActionState>,
    /// Where one sees that it was done; the reason where it was dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<String>,
}

impl ActionItem {
    pub fn merge(&mut self, change: Self) {
        let Self {
            kind,
            title,
            answers,
            owner,
            due,
            priority,
            state,
            evidence,
        } = change;
        self.kind = kind.or(self.kind);
        self.title = title.or(self.title.take());
        self.answers = answers.or(self.answers.take());
        self.owner = owner.or(self.owner.take());
        self.due = due.or(self.due);
        self.priority = priority.or(self.priority);
        self.state = state.or(self.state);
        self.evidence = evidence.or(self.evidence.take());
    }

    pub fn state(&self) -> ActionState {
        self.state.unwrap_or_default()
    }

    /// Done, or dropped for a reason.
    pub fn is_ended(&self) -> bool {
        matches!(self.state(), ActionState::Done | ActionState::Dropped)
    }

    /// Has an owner, a deadline and a priority.
    pub fn is_complete(&self) -> bool {
        self.owner.is_some() && self.due.is_some() && self.priority.is_some()
    }

    /// A systemic action, not dropped, that answers a weakness or the detection gap, and not only the immediate cause.
    pub fn is_systemic_answer(&self, analysis: &Analysis) -> bool {
        let answers_a_finding = |answer: &String| match answer.strip_prefix("weakness:") {
            Some(index) => {
                let weaknesses = analysis.weaknesses.as_deref().unwrap_or_default();
                index
                    .parse::<usize>()
                    .is_ok_and(|index| index < weaknesses.len())
            }
            None => answer == "detection_gap" && analysis.has_detection_gap(),
        };
        self.kind == Some(ActionKind::Systemic)
            && self.state() != ActionState::Dropped
            && self
                .answers
                .as_deref()
                .unwrap_or_default()
                .iter()
                .any(answers_a_finding)
    }
}

/// Whether a text can stand in `answers`.
pub fn is_an_answer(text: &str) -> bool {
    let is_weakness = text
        .strip_prefix("weakness:")
        .is_some_and(|index| index.parse::<usize>().is_ok());
    is_weakness || text == "detection_gap" || text == "immediate_cause"
}
