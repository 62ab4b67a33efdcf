//! Root cause analysis as data: immediate cause, system weaknesses, contributing factors, detection gap.

use serde::{Deserialize, Serialize};

/// The built-in system weaknesses; operators may add to them.
pub const WEAKNESSES: [&str; 6] = [
    "missing_validation",
    "undocumented_assumption",
    "missing_integration_check",
    "weak_data_contract",
    "insufficient_monitoring",
    "unclear_handoff",
];

/// The built-in detection gaps; operators may add to them.
pub const DETECTION_GAPS: [&str; 6] = [
    "no_alert",
    "wrong_threshold",
    "incomplete_logs",
    "missing_qa_coverage",
    "unclear_acceptance_criteria",
    "missing_downstream_monitoring",
];

/// A weakness or a gap: one of a list, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub kind: String,
    #[serde(default)]
    pub text: String,
}

/// What is known of why it happened and why it was not seen. A part that is absent has not been given yet; as a
/// change, a part that is absent stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Analysis {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub immediate_cause: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weaknesses: Option<Vec<Finding>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contributing_factors: Option<Vec<String>>,
    /// Why there are no contributing factors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub none_because: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detection_gap: Option<Finding>,
}

impl Analysis {
    /// Takes over the parts that `change` has.
    pub fn merge(&mut self, change: &Self) {
        take_over(&mut self.immediate_cause, &change.immediate_cause);
        take_over(&mut self.weaknesses, &change.weaknesses);
        take_over(&mut self.contributing_factors, &change.contributing_factors);
        take_over(&mut self.none_because, &change.none_because);
        take_over(&mut self.detection_gap, &change.detection_gap);
    }

    pub fn has_immediate_cause(&self) -> bool {
        self.immediate_cause
            .as_ref()
            .is_some_and(|text| !text.trim().is_empty())
    }

    pub fn has_weakness(&self) -> bool {
        self.weaknesses
            .as_ref()
            .is_some_and(|weaknesses| !weaknesses.is_empty())
    }

    /// Factors, or the statement that there are none.
    pub fn has_contributing_factors(&self) -> bool {
        let stated = self
            .none_because
            .as_ref()
            .is_some_and(|text| !text.trim().is_empty());
        stated
            || self
                .contributing_factors
                .as_ref()
                .is_some_and(|factors| !factors.is_empty())
    }

    pub fn has_detection_gap(&self) -> bool {
        self.detection_gap.is_some()
    }
}

fn take_over<T: Clone>(part: &mut Option<T>, change: &Option<T>) {
    if change.is_some() {
        part.clone_from(change);
    }
}
