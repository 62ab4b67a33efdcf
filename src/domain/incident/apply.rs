//! What an event makes of an incident. Cannot fail and decides nothing: it replays events written by other rules years ago.

use crate::domain::alert::Fingerprint;
use crate::domain::incident::event::{Audience, Event, ToldWhy};
use crate::domain::incident::{
    Acknowledgement, Entry, Given, Incident, Member, Status, Verification,
};
use crate::domain::phase::{Output, Phase};
use crate::domain::severity::{Profile, Severity};
use crate::domain::time::Timestamp;
use std::sync::Arc;

impl Incident {
    pub(super) fn apply(&mut self, entry: &Entry) {
        let at = entry.at;
        self.seq = entry.seq;
        self.changed_at = at;
        match &entry.event {
            // Only ever the first; the log of a second opening would be another incident's.
            Event::Opened(_) => {}

            Event::AlertJoined {
                fingerprint,
                severity,
                ..
            }
            | Event::AlertFired {
                fingerprint,
                severity,
            } => {
                self.set_member(*fingerprint, Member::Firing, at);
                self.alert_said(*severity);
            }
            Event::AlertRejudged { severity, .. } => self.alert_said(*severity),
            Event::AlertResolved { fingerprint, .. } => {
                self.set_member(*fingerprint, Member::Resolved, at);
            }
            Event::AlertWentStale { fingerprint, .. } => {
                self.set_member(*fingerprint, Member::Stale, at);
            }
            Event::Cleared { since } => {
                let since_quiet = self.quiet_since.unwrap_or(*since);
                let acknowledged = self.acknowledged.is_some();
                self.paging_mut().stopped(acknowledged, since_quiet);
                self.clear_since = Some(*since);
                self.forget_mute();
                self.clear_by_word &= self.members.is_empty();
            }
            Event::FiredAgain { resumes } => {
                self.clear_since = None;
                self.acknowledged = None;
                if *resumes {
                    self.paging_mut().resumed(at);
                } else {
                    self.paging_mut().begin(None);
                }
            }
            Event::FlappingBegan { .. } => {
                self.changes.began(at);
                self.clear_since = None;
                self.acknowledged = None;
                self.paging_mut().begin(None);
            }
            Event::FlappingEnded => self.changes.ended(),
            Event::StormGrew {
                key,
                service,
                calls,
                resumes,
            } => self.apply_storm_grew(key.as_deref(), service.as_deref(), *calls, *resumes, at),
            Event::StormEnded => self.storm.over_at = Some(at),
            Event::TookOver { over, .. } => self.apply_took_over(over),
            Event::Recurred { recurrences, phase } => self.recurred(*recurrences, *phase),
            Event::Reopened {
                phase, by_person, ..
            } => {
                self.status = Status::Open;
                self.closed_at = None;
                self.acknowledged = None;
                self.clear_since = None;
                self.recurred(self.recurrences + 1, *phase);
                self.paging_mut().begin(None);
                if *by_person {
                    self.profile = Profile::Full;
                    self.clear_by_word = true;
                    self.quiet_since = if self.members.n_holding() == 0 {
                        Some(at)
                    } else {
                        None
                    };
                }
            }

            Event::SeverityRaised {
                to,
                urgency,
                leadership,
                ..
            } => {
                self.severity = *to;
                self.urgency = *urgency;
                self.acknowledged = None;
                self.paging_mut().begin(leadership.clone());
            }
            Event::SeveritySet {
                from,
                to,
                urgency,
                inputs,
                reason,
                leadership,
            } => {
                let starts = self.urgency.is_lower_than(*urgency)
                    && self.acknowledged.is_none()
                    && !self.is_clear();
                self.severity = *to;
                self.inputs = inputs.clone();
                self.urgency = *urgency;
                self.give(Output::SeverityConfirmed, reason, None, entry);
                if to.is_more_severe_than(*from) {
                    self.paging_mut().tell_leadership(leadership.clone());
                }
                if starts {
                    self.paging_mut().begin(None);
                }
            }
            Event::BecameFull { phase } => {
                self.profile = Profile::Full;
                self.phase = *phase;
                self.verification = None;
            }

            Event::PagingStarted { start } => self.paging_mut().started(*start, at),
            Event::StepRan {
                round,
                step,
                next_at,
                pages,
            } => self.paging_mut().step_ran(*round, *step, *next_at, pages),
            Event::StepReachedNobody { .. } => self.paging_mut().reached_nobody(at),
            Event::Exhausted {
                exhaustion,
                next_at,
                pages,
            } => self.paging_mut().exhausted(*exhaustion, *next_at, pages),
            Event::Paged { pages } => self.paging_mut().issued(pages),
            Event::Told { why, pages } => {
                if *why == ToldWhy::Flapping {
                    self.changes.told(at);
                }
                self.paging_mut().told(*why, pages);
            }
            Event::Attempted {
                serial, outcome, ..
            } => self.paging_mut().attempted(*serial, *outcome),
            Event::Hastened { serial } => self.paging_mut().hastened(*serial, at),
            Event::PagesDropped { serials, .. } | Event::PagesMuted { serials, .. } => {
                self.paging_mut().dropped(serials);
            }
            Event::Muted { causes } => self.apply_muted(causes, at),
            Event::Unmuted => self.apply_unmuted(at),
            Event::Acknowledged => match &mut self.acknowledged {
                Some(held) => held.also.push(entry.by.clone()),
                None => {
                    let by = entry.by.clone();
                    self.acknowledged = Some(Acknowledgement {
                        at,
                        by,
                        also: Vec::new(),
                        held_since: at,
                    });
                }
            },
            Event::Unacknowledged | Event::AcknowledgeTimedOut => {
                self.acknowledged = None;
                self.paging_mut().begin(None);
            }
            Event::Escalated { round, step } => {
                self.acknowledged = None;
                self.paging_mut().run(*round, *step);
            }
            Event::ClockJumped { by_ms } => self.clock_jumped(*by_ms),

            Event::TakenOver => self.profile = Profile::Full,
            Event::Assigned { role, person } => {
                self.roles.insert(*role, person.clone());
            }
            Event::Updated { audience, text } => {
                if *audience == Audience::Stakeholders
                    && !self.given.contains_key(&Output::FirstCommunication)
                {
                    self.give(Output::FirstCommunication, text, None, entry);
                }
            }
            Event::Noted(_) => {}
            Event::EvidenceAdded(remark) => {
                self.give(Output::Evidence, &remark.text, remark.url.clone(), entry);
            }
            Event::MitigationApplied(remark) => {
                self.give(Output::Mitigation, &remark.text, remark.url.clone(), entry);
            }
            Event::ContainmentAdded(remark) => {
                self.give(Output::Containment, &remark.text, remark.url.clone(), entry);
            }
            Event::NoContainment { because } => {
                self.give(Output::Containment, because, None, entry);
            }
            Event::Analysed(change) => self.analysis.merge(change),
            Event::ActionAdded(action) => self.actions.push(action.clone()),
            Event::ActionChanged { index, change } => {
                if let Some(action) = usize::try_from(*index)
                    .ok()
                    .and_then(|index| self.actions.get_mut(index))
                {
                    action.merge(change.clone());
                }
            }
            Event::OutputGiven {
                output,
                statement,
                url,
            } => {
                self.give(*output, statement, url.clone(), entry);
                if *output == Output::Contained
                    && self.clear_by_word
                    && self.members.n_holding() == 0
                {
                    self.quiet_since = Some(at);
                }
            }
            Event::Waived(waiver) => {
                self.waivers.insert(waiver.output, waiver.clone());
            }
            Event::Advanced { to } => self.phase = *to,
            Event::VerificationStarted {
                plan,
                from,
                ends_at,
            } => {
                self.verification = Some(Verification::new(plan.clone(), *from, *ends_at));
            }
            Event::Checked {
                slots,
                result,
                detail,
            } => {
                if let Some(verification) = &mut self.verification {
                    verification.checked(slots, *result, detail, at);
                }
            }
            Event::Closed => {
                self.status = Status::Closed;
                self.closed_at = Some(at);
            }
        }
    }

    fn set_member(&mut self, fingerprint: Fingerprint, member: Member, at: Timestamp) {
        let did_fire = self.members.n_holding() > 0;
        self.members.set(fingerprint, member);
        let fires = self.members.n_holding() > 0;
        if let Some(rule) = self.opened.flapping
            && fires != did_fire
        {
            self.changes.add(rule, at);
        }
        if self.members.n_holding() > 0 {
            self.quiet_since = None;
        } else if self.quiet_since.is_none() {
            self.quiet_since = Some(at);
        }
    }

    fn alert_said(&mut self, severity: Severity) {
        self.worst_alert = Some(
            self.worst_alert
                .map_or(severity, |worst| worst.worst(severity)),
        );
    }

    fn give(&mut self, output: Output, statement: &str, url: Option<String>, entry: &Entry) {
        let given = Given {
            at: entry.at,
            by: entry.by.clone(),
            statement: statement.to_owned(),
            url,
        };
        self.given.insert(output, given);
    }

    /// Back to an earlier phase; what the recurrence disproved must be given anew.
    fn recurred(&mut self, recurrences: u32, phase: Phase) {
        self.recurrences = recurrences;
        self.phase = phase;
        for output in Output::LOST_BY_RECURRENCE {
            self.given.remove(&output);
            self.waivers.remove(&output);
        }
        self.systemic_from = self.actions.len();
        if let Some(mut failed) = self.verification.take() {
            failed.failed = true;
            self.failed_windows.push(Arc::new(failed));
        }
    }

    /// Waits are of elapsed time: they move with the wall clock.
    fn clock_jumped(&mut self, by_ms: i64) {
        self.paging_mut().clock_jumped(by_ms);
        self.changes.clock_jumped(by_ms);
        if self.is_quiet() {
            self.quiet_since = self.quiet_since.map(|since| since.shifted(by_ms));
        }
        if let Some(acknowledged) = &mut self.acknowledged {
            acknowledged.held_since = acknowledged.held_since.shifted(by_ms);
        }
        if let Some(mute) = &mut self.muted {
            mute.since = mute.since.shifted(by_ms);
        }
    }
}
