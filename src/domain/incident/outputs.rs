//! Which outputs an incident has, and the exact list of what is missing before it goes on or closes.

use crate::domain::action_item::{ActionItem, ActionKind};
use crate::domain::incident::Incident;
use crate::domain::incident::command::Refusal;
use crate::domain::incident::event::{Role, Waiver};
use crate::domain::phase::{Output, Phase};
use crate::domain::severity::Profile;
use crate::domain::time::Timestamp;

/// An output in a person's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    pub at: Timestamp,
    pub by: String,
    pub statement: String,
    pub url: Option<String>,
}

impl Incident {
    /// What is missing before the present phase is left; for verification, before the incident closes.
    pub fn missing_now(&self, now: Timestamp) -> Vec<Output> {
        match self.phase.next() {
            Some(next) => self.missing_to_leave(next, &[], now),
            None => self.missing_to_close(&[], now),
        }
    }

    /// What is missing before the incident closes, phase after phase, `clear` last.
    pub fn missing_to_close(&self, waive: &[Waiver], now: Timestamp) -> Vec<Output> {
        let phases: &[Phase] = match self.profile {
            Profile::Full => &Phase::ALL,
            Profile::Light => &[],
        };
        let computed: &[Output] = match self.profile {
            Profile::Full => &[],
            Profile::Light => &[Output::NoRecurrence, Output::Stable],
        };
        let required = phases
            .iter()
            .flat_map(|phase| phase.required_outputs())
            .chain(computed);
        self.missing_of(required.chain(&[Output::Clear]), waive, now)
    }

    pub(super) fn missing_to_leave(
        &self,
        next: Phase,
        waive: &[Waiver],
        now: Timestamp,
    ) -> Vec<Output> {
        let required = match self.profile {
            Profile::Full => self.phase.required_outputs(),
            Profile::Light => &[],
        };
        let clear: &[Output] = if next == Phase::Verification {
            &[Output::Clear]
        } else {
            &[]
        };
        self.missing_of(required.iter().chain(clear), waive, now)
    }

    pub(super) fn check_waivable(waive: &[Waiver]) -> Result<(), Refusal> {
        match waive.iter().find(|waiver| !waiver.output.is_waivable()) {
            Some(waiver) => Err(Refusal::NotWaivable {
                output: waiver.output,
            }),
            None => Ok(()),
        }
    }

    fn missing_of<'a>(
        &self,
        required: impl Iterator<Item = &'a Output>,
        waive: &[Waiver],
        now: Timestamp,
    ) -> Vec<Output> {
        let holds = |waiver: &Waiver| waiver.until.is_none_or(|until| now < until);
        let is_waived = |output: Output| {
            let asked = waive
                .iter()
                .any(|waiver| waiver.output == output && holds(waiver));
            output.is_waivable() && (asked || self.waivers.get(&output).is_some_and(holds))
        };
        required
            .copied()
            .filter(|output| !self.has(*output) && !is_waived(*output))
            .collect()
    }

    /// Whether an output has been given, or holds where it is computed.
    pub fn has(&self, output: Output) -> bool {
        match output {
            // Given by construction when the incident opens.
            Output::Time | Output::InitialSeverity | Output::Description => true,
            Output::Commander => self.roles.contains_key(&Role::Commander),
            Output::TechnicalOwner => self.roles.contains_key(&Role::TechnicalOwner),
            Output::SeverityConfirmed
            | Output::EscalationDecided
            | Output::FirstCommunication
            | Output::Channel
            | Output::Validated
            | Output::Evidence
            | Output::Mitigation
            | Output::Contained
            | Output::TimelineReviewed
            | Output::Stakeholder
            | Output::Lessons => self.given.contains_key(&output),
            Output::Containment => {
                let is_containment =
                    |action: &ActionItem| action.kind == Some(ActionKind::Containment);
                self.given.contains_key(&output) || self.actions.iter().any(is_containment)
            }
            Output::ImmediateCause => self.analysis.has_immediate_cause(),
            Output::Weakness => self.analysis.has_weakness(),
            Output::ContributingFactors => self.analysis.has_contributing_factors(),
            Output::DetectionGap => self.analysis.has_detection_gap(),
            Output::SystemicAction => {
                let mut since = self.actions.iter().skip(self.systemic_from);
                since.any(|action| action.is_systemic_answer(&self.analysis))
            }
            Output::ActionsComplete => self.actions.iter().all(ActionItem::is_complete),
            Output::ActionsDone => self.actions.iter().all(ActionItem::is_ended),
            Output::NoRecurrence => self
                .verification
                .as_ref()
                .is_some_and(|window| window.has_passed()),
            Output::Stable => self
                .verification
                .as_ref()
                .is_some_and(|window| window.is_stable()),
            Output::Clear => self.is_clear(),
        }
    }
}
