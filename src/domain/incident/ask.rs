//! What people ask of an incident: which events that adds, and why it may be refused.

use crate::domain::action_item::{ActionItem, is_an_answer};
use crate::domain::analysis::{Analysis, DETECTION_GAPS, Finding, WEAKNESSES};
use crate::domain::escalation::Target;
use crate::domain::incident::command::{Ask, Refusal};
use crate::domain::incident::event::{Cause, Event, Role, Waiver};
use crate::domain::incident::{Given, Incident};
use crate::domain::oncall::{Book, OnCall};
use crate::domain::phase::{Output, Phase};
use crate::domain::severity::{Profile, Severity, SeverityInputs};
use crate::domain::time::Timestamp;

impl Incident {
    pub(super) fn asked(
        &self,
        ask: &Ask,
        by: &str,
        oncall: OnCall<'_>,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        match ask {
            Ask::Acknowledge => Ok(self.acknowledge(by)),
            Ask::Unacknowledge if self.acknowledged.is_none() => Ok(Vec::new()),
            Ask::Unacknowledge => Ok(vec![Event::Unacknowledged]),
            Ask::TakeOver => Ok(self.take_over(by)),
            Ask::Escalate if self.is_clear() => Err(Refusal::Clear {
                number: self.number(),
            }),
            Ask::Escalate if self.is_muted() => Err(Refusal::Muted {
                number: self.number(),
                by: self.muted_by_in_words(),
            }),
            Ask::Escalate => {
                let (round, step) = self.next_step_by_hand();
                Ok(vec![Event::Escalated { round, step }])
            }
            Ask::Page { to } => self.page(to, oncall, now),
            Ask::SetSeverity {
                severity,
                inputs,
                reason,
            } => Ok(self.set_severity(*severity, inputs, reason, oncall.book)),
            Ask::Assign { role, person } if self.roles.get(role) == Some(person) => Ok(Vec::new()),
            Ask::Assign { role, person } => Ok(vec![Event::Assigned {
                role: *role,
                person: person.clone(),
            }]),
            Ask::Update { audience, text } => Ok(vec![Event::Updated {
                audience: *audience,
                text: text.clone(),
            }]),
            Ask::Note(remark) => Ok(vec![Event::Noted(remark.clone())]),
            Ask::AddEvidence(remark) => Ok(vec![Event::EvidenceAdded(remark.clone())]),
            Ask::ApplyMitigation(remark) => Ok(vec![Event::MitigationApplied(remark.clone())]),
            Ask::AddContainment(remark) => Ok(vec![Event::ContainmentAdded(remark.clone())]),
            Ask::NoContainment { because } if self.has_said(Output::Containment, because, None) => {
                Ok(Vec::new())
            }
            Ask::NoContainment { because } => Ok(vec![Event::NoContainment {
                because: because.clone(),
            }]),
            Ask::Analyse(change) => self.analyse(change, oncall.book),
            Ask::AddAction(action) => add_action(action),
            Ask::ChangeAction { index, change } => self.change_action(*index, change),
            Ask::GiveOutput {
                output,
                statement,
                url,
            } => self.give_output(*output, statement, url.as_deref()),
            Ask::Advance { waive } => self.advance(waive, oncall.book, now),
            Ask::Close { waive } => self.close(waive, now),
            Ask::Reopen { reason } => {
                self.must_be_closed()?;
                Ok(self.reopens_by_person(reason, oncall.book))
            }
        }
    }

    /// The first holds; a later one of somebody else stands in the timeline.
    fn acknowledge(&self, by: &str) -> Vec<Event> {
        match &self.acknowledged {
            Some(held) if held.by == by || held.also.iter().any(|known| known == by) => Vec::new(),
            _ => vec![Event::Acknowledged],
        }
    }

    fn take_over(&self, by: &str) -> Vec<Event> {
        let mut events = Vec::new();
        if self
            .roles
            .get(&Role::Commander)
            .is_none_or(|commander| commander != by)
        {
            events.push(Event::TakenOver);
            events.push(Event::Assigned {
                role: Role::Commander,
                person: by.to_owned(),
            });
        }
        if self.profile == Profile::Light {
            if events.is_empty() {
                events.push(Event::TakenOver);
            }
            events.push(Event::BecameFull {
                phase: Phase::Triage,
            });
        }
        if self.acknowledged.is_none() {
            events.push(Event::Acknowledged);
        }
        events
    }

    fn page(&self, to: &Target, oncall: OnCall<'_>, now: Timestamp) -> Result<Vec<Event>, Refusal> {
        let people = oncall.people_of(to, now);
        let pages = self.pages_to(&people, Cause::Person, 0, 0, oncall, now);
        if pages.is_empty() {
            return Err(Refusal::ReachesNobody { target: to.clone() });
        }
        Ok(vec![Event::Paged { pages }])
    }

    fn set_severity(
        &self,
        to: Severity,
        inputs: &SeverityInputs,
        reason: &str,
        book: &Book,
    ) -> Vec<Event> {
        let is_same = to == self.severity && *inputs == self.inputs;
        if is_same && self.has_said(Output::SeverityConfirmed, reason, None) {
            return Vec::new();
        }
        let process = book.processes.of(to);
        let set = Event::SeveritySet {
            from: self.severity,
            to,
            urgency: process.urgency,
            inputs: inputs.clone(),
            reason: reason.to_owned(),
            leadership: process.leadership.clone(),
        };
        std::iter::once(set)
            .chain(self.becomes_full(to, book))
            .collect()
    }

    fn analyse(&self, change: &Analysis, book: &Book) -> Result<Vec<Event>, Refusal> {
        for weakness in change.weaknesses.as_deref().unwrap_or_default() {
            must_be_in_list("weakness", weakness, &WEAKNESSES, &book.weaknesses)?;
        }
        if let Some(gap) = &change.detection_gap {
            must_be_in_list("detection gap", gap, &DETECTION_GAPS, &book.detection_gaps)?;
        }
        let mut changed = self.analysis.clone();
        changed.merge(change);
        if changed == self.analysis {
            Ok(Vec::new())
        } else {
            Ok(vec![Event::Analysed(change.clone())])
        }
    }

    fn change_action(&self, index: u32, change: &ActionItem) -> Result<Vec<Event>, Refusal> {
        let known = usize::try_from(index)
            .ok()
            .and_then(|index| self.actions.get(index));
        let Some(action) = known else {
            return Err(Refusal::NoSuchAction { index });
        };
        must_answer(change)?;
        let mut changed = action.clone();
        changed.merge(change.clone());
        must_have_reason(&changed)?;
        if changed == *action {
            Ok(Vec::new())
        } else {
            Ok(vec![Event::ActionChanged {
                index,
                change: change.clone(),
            }])
        }
    }

    fn give_output(
        &self,
        output: Output,
        statement: &str,
        url: Option<&str>,
    ) -> Result<Vec<Event>, Refusal> {
        if !Output::STATEMENTS.contains(&output) {
            return Err(Refusal::NotAStatement { output });
        }
        if self.has_said(output, statement, url) {
            return Ok(Vec::new());
        }
        let url = url.map(str::to_owned);
        Ok(vec![Event::OutputGiven {
            output,
            statement: statement.to_owned(),
            url,
        }])
    }

    fn has_said(&self, output: Output, statement: &str, url: Option<&str>) -> bool {
        let same = |given: &Given| given.statement == statement && given.url.as_deref() == url;
        self.given.get(&output).is_some_and(same)
    }

    fn advance(
        &self,
        waive: &[Waiver],
        book: &Book,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        let Some(next) = self.phase.next() else {
            return Err(Refusal::NoNextPhase);
        };
        Self::check_waivable(waive)?;
        let missing = self.missing_to_leave(next, waive, now);
        if !missing.is_empty() {
            return Err(Refusal::OutputsMissing {
                phase: self.phase,
                missing,
            });
        }
        let mut events = waived(waive);
        events.push(Event::Advanced { to: next });
        if next == Phase::Verification {
            events.push(self.start_verification(book, now));
        }
        Ok(events)
    }

    /// From verification, with everything that all phases require.
    fn close(&self, waive: &[Waiver], now: Timestamp) -> Result<Vec<Event>, Refusal> {
        Self::check_waivable(waive)?;
        let missing = self.missing_to_close(waive, now);
        if !missing.is_empty() {
            return Err(Refusal::OutputsMissing {
                phase: self.phase,
                missing,
            });
        }
        let mut events = waived(waive);
        events.push(Event::Closed);
        Ok(events)
    }
}

fn waived(waive: &[Waiver]) -> Vec<Event> {
    waive.iter().cloned().map(Event::Waived).collect()
}

fn add_action(action: &ActionItem) -> Result<Vec<Event>, Refusal> {
    if action.kind.is_none() {
        return Err(Refusal::ActionIncomplete {
            what: "a kind, \"containment\" or \"systemic\"",
        });
    }
    if action
        .title
        .as_ref()
        .is_none_or(|title| title.trim().is_empty())
    {
        return Err(Refusal::ActionIncomplete { what: "a title" });
    }
    must_answer(action)?;
    must_have_reason(action)?;
    Ok(vec![Event::ActionAdded(action.clone())])
}

fn must_answer(action: &ActionItem) -> Result<(), Refusal> {
    match action
        .answers
        .as_deref()
        .unwrap_or_default()
        .iter()
        .find(|answer| !is_an_answer(answer))
    {
        Some(found) => Err(Refusal::NotAnAnswer {
            found: found.clone(),
        }),
        None => Ok(()),
    }
}

/// One that is dropped says why.
fn must_have_reason(action: &ActionItem) -> Result<(), Refusal> {
    let is_dropped = action.state() == crate::domain::action_item::ActionState::Dropped;
    if is_dropped
        && action
            .evidence
            .as_ref()
            .is_none_or(|reason| reason.trim().is_empty())
    {
        return Err(Refusal::ActionIncomplete {
            what: "its reason in \"evidence\" when it is dropped",
        });
    }
    Ok(())
}

fn must_be_in_list(
    list: &'static str,
    found: &Finding,
    built_in: &[&str],
    added: &[String],
) -> Result<(), Refusal> {
    if built_in.contains(&found.kind.as_str()) || added.contains(&found.kind) {
        return Ok(());
    }
    let known = built_in
        .iter()
        .map(|kind| (*kind).to_owned())
        .chain(added.iter().cloned())
        .collect();
    Err(Refusal::NotInList {
        list,
        found: found.kind.clone(),
        known,
    })
}
