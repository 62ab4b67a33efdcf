//! Verification of one incident: its window, the checks that ran in it, and when the next one is due.

use crate::domain::incident::Incident;
use crate::domain::incident::event::Event;
use crate::domain::oncall::Book;
use crate::domain::phase::{Output, Phase};
use crate::domain::severity::Profile;
use crate::domain::time::{Timestamp, show_span};
use crate::domain::verification::{Check, CheckResult, Plan};
use std::time::Duration;

/// A check that did not pass runs again after this, until it passes.
const AGAIN_AFTER: Duration = Duration::from_secs(3600);

/// A check that ran later than this after its slot says so.
const LATE_AFTER: Duration = Duration::from_secs(60);

/// Slots of one window that are counted one by one; a plan with more is cut there.
const SLOTS_MAX: usize = 50_000;

/// A window of recurrence checks.
#[derive(Clone, Debug, PartialEq)]
pub struct Verification {
    pub plan: Plan,
    pub from: Timestamp,
    pub ends_at: Timestamp,
    /// In order of their slots; the latest result of each.
    pub checks: Vec<Check>,
    /// A recurrence ended it.
    pub failed: bool,
    /// The first slot that has not been looked at; none once the last one has.
    next_slot: Option<Timestamp>,
}

impl Verification {
    pub(super) fn new(plan: Plan, from: Timestamp, ends_at: Timestamp) -> Self {
        let next_slot = plan
            .check
            .next_after(from, plan.zone)
            .filter(|slot| *slot <= ends_at);
        Self {
            plan,
            from,
            ends_at,
            checks: Vec::new(),
            failed: false,
            next_slot,
        }
    }

    /// When the next check is due: the next slot, or an hour after one that did not pass.
    pub fn next_check_at(&self) -> Option<Timestamp> {
        if self.failed {
            return None;
        }
        let again = self
            .checks
            .iter()
            .filter(|check| check.result != CheckResult::Passed)
            .map(|check| check.ran_at.plus(AGAIN_AFTER));
        again.chain(self.next_slot).min()
    }

    /// The window has passed: the check of its last slot has run.
    pub fn has_passed(&self) -> bool {
        !self.failed && self.next_slot.is_none()
    }

    /// The latest check of each slot has passed.
    pub fn is_stable(&self) -> bool {
        !self.checks.is_empty()
            && self
                .checks
                .iter()
                .all(|check| check.result == CheckResult::Passed)
    }

    pub(super) fn checked(
        &mut self,
        slots: &[Timestamp],
        result: CheckResult,
        detail: &str,
        ran_at: Timestamp,
    ) {
        for slot in slots {
            let check = Check {
                at: *slot,
                ran_at,
                result,
                detail: detail.to_owned(),
            };
            match self.checks.iter_mut().find(|known| known.at == *slot) {
                Some(known) => *known = check,
                None => self.checks.push(check),
            }
        }
        if let Some(last) = slots.iter().max() {
            let is_behind = self.next_slot.is_some_and(|next| next <= *last);
            if is_behind {
                self.next_slot = self
                    .plan
                    .check
                    .next_after(*last, self.plan.zone)
                    .filter(|slot| *slot <= self.ends_at);
            }
        }
    }

    /// The slots that are due at `now`: those not yet looked at, and those whose check is to run again.
    fn due_slots(&self, now: Timestamp) -> Vec<Timestamp> {
        let again = self
            .checks
            .iter()
            .filter(|check| {
                check.result != CheckResult::Passed && check.ran_at.plus(AGAIN_AFTER) <= now
            })
            .map(|check| check.at);
        let mut slots: Vec<Timestamp> = again.collect();
        let mut next = self.next_slot;
        while let Some(slot) = next.filter(|slot| *slot <= now && *slot <= self.ends_at) {
            slots.push(slot);
            if slots.len() >= SLOTS_MAX {
                break;
            }
            next = self.plan.check.next_after(slot, self.plan.zone);
        }
        slots
    }
}

impl Incident {
    /// The event that fixes the plan when verification is entered.
    pub(super) fn start_verification(&self, book: &Book, now: Timestamp) -> Event {
        let plan = match &self.opened.verification {
            Some(plan) => plan.clone(),
            None => book.processes.of(self.severity).verification.clone(),
        };
        let from = self.clear_since.map_or(now, |clear| clear.max(now));
        let end = from.plus(plan.window);
        let first = plan.check.next_after(from, plan.zone);
        let ends_at = first.map_or(end, |first| first.max(end));
        Event::VerificationStarted {
            plan,
            from,
            ends_at,
        }
    }

    /// A light incident enters verification by itself when it is clear.
    pub(super) fn due_light_advance(&self, book: &Book, now: Timestamp) -> Vec<Event> {
        let enters = self.is_open()
            && self.profile == Profile::Light
            && self.is_clear()
            && self.phase != Phase::Verification;
        if !enters {
            return Vec::new();
        }
        vec![
            Event::Advanced {
                to: Phase::Verification,
            },
            self.start_verification(book, now),
        ]
    }

    pub(super) fn next_check_at(&self) -> Option<Timestamp> {
        if !self.is_open() || self.phase != Phase::Verification {
            return None;
        }
        self.verification
            .as_ref()
            .and_then(Verification::next_check_at)
    }

    /// The check of every slot that is due, then, for a light incident whose window has passed, its close.
    pub(super) fn due_verification(&self, now: Timestamp) -> Vec<Event> {
        let Some(verification) = &self.verification else {
            return Vec::new();
        };
        if !self.is_open() || self.phase != Phase::Verification {
            return Vec::new();
        }
        let slots = verification.due_slots(now);
        if let Some(due_at) = verification.next_check_at().filter(|_| !slots.is_empty()) {
            let (result, found) = self.look();
            let late = now.since(due_at);
            let detail = if late > LATE_AFTER {
                format!("{found}; late by {}", show_span(late))
            } else {
                found
            };
            return vec![Event::Checked {
                slots,
                result,
                detail,
            }];
        }
        let closes = self.profile == Profile::Light
            && self.has(Output::NoRecurrence)
            && self.has(Output::Stable)
            && self.is_clear();
        if closes {
            vec![Event::Closed]
        } else {
            Vec::new()
        }
    }

    /// What a check finds: the incident is clear. Had its key fired since the last one, this would be a recurrence and
    /// the window would have ended.
    fn look(&self) -> (CheckResult, String) {
        match self.clear_since {
            Some(since) => (
                CheckResult::Passed,
                format!("clear since {since}, not fired since"),
            ),
            None => (CheckResult::Failed, "not clear".to_owned()),
        }
    }
}
