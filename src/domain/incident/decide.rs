//! Which events a command adds at an instant; none when it changes nothing, a refusal when it may not.

use crate::domain::alert::Fingerprint;
use crate::domain::incident::command::{Ask, Command, Refusal, Resolution};
use crate::domain::incident::event::{AttemptOutcome, Event, RaisedBy};
use crate::domain::incident::{Incident, Member};
use crate::domain::oncall::{Book, OnCall};
use crate::domain::phase::Phase;
use crate::domain::severity::{Profile, Severity};
use crate::domain::time::Timestamp;

impl Incident {
    pub(super) fn decide(
        &self,
        command: &Command,
        by: &str,
        oncall: OnCall<'_>,
        now: Timestamp,
    ) -> Result<Vec<Event>, Refusal> {
        match command {
            Command::AlertFires {
                fingerprint,
                name,
                severity,
            } => {
                self.must_be_open()?;
                Ok(self.alert_fires(*fingerprint, name, *severity, oncall.book, now))
            }
            Command::AlertReopens {
                fingerprint,
                name,
                severity,
            } => {
                self.must_be_closed()?;
                Ok(self.reopens_by_alert(*fingerprint, name, *severity, oncall.book))
            }
            Command::AlertRejudged {
                fingerprint,
                severity,
            } => Ok(self.alert_rejudged(*fingerprint, *severity, oncall.book)),
            Command::AlertResolves { fingerprint, how } => self.alert_resolves(*fingerprint, how),
            Command::AlertGoesStale {
                fingerprint,
                name,
                why,
            } => Ok(self.alert_goes_stale(*fingerprint, name, why, now)),
            Command::Attempted {
                serial,
                attempt,
                outcome,
                detail,
            } => Ok(self.attempted(*serial, *attempt, *outcome, detail, now)),
            Command::StormGrows {
                key,
                service,
                is_muted,
            } => Ok(self.storm_grows(key.as_deref(), service, *is_muted, now)),
            Command::EndStorm => Ok(self.ends_storm()),
            Command::TakeOverFrom(handing) => Ok(self.takes_over_from(handing)),
            Command::Mute { by } => Ok(self.mute_by(by)),
            Command::Unmute => Ok(self.unmute()),
            Command::Look => Ok(Vec::new()),
            Command::ClockJumped { by_ms } => Ok(vec![Event::ClockJumped { by_ms: *by_ms }]),
            Command::Ask(ask) => {
                // A closed incident takes a note, and can be reopened; nothing else of it changes.
                if !matches!(ask, Ask::Reopen { .. } | Ask::Note(_)) {
                    self.must_be_open()?;
                }
                self.asked(ask, by, oncall, now)
            }
        }
    }

    fn must_be_open(&self) -> Result<(), Refusal> {
        if self.is_open() {
            Ok(())
        } else {
            Err(Refusal::Closed {
                number: self.number(),
            })
        }
    }

    pub(super) fn must_be_closed(&self) -> Result<(), Refusal> {
        if self.is_open() {
            Err(Refusal::NotClosed {
                number: self.number(),
            })
        } else {
            Ok(())
        }
    }

    fn alert_fires(
        &self,
        fingerprint: Fingerprint,
        name: &str,
        severity: Severity,
        book: &Book,
        now: Timestamp,
    ) -> Vec<Event> {
        let before = self.members.get(fingerprint);
        let joined = match before {
            Some(Member::Firing) => return self.alert_rejudged(fingerprint, severity, book),
            Some(Member::Resolved | Member::Stale) => Event::AlertFired {
                fingerprint,
                severity,
            },
            None => Event::AlertJoined {
                fingerprint,
                name: name.to_owned(),
                severity,
            },
        };
        let mut events = vec![joined];
        let recurs = self.is_clear() && self.phase.is_after_response();
        let by_recurrence = if recurs {
            self.severity_after_recurrence()
        } else {
            self.severity
        };
        let by_alert = self.severity_after(severity);
        let to = by_recurrence.worst(by_alert);
        if recurs {
            events.push(Event::Recurred {
                recurrences: self.recurrences + 1,
                phase: Phase::Response,
            });
        }
        if self.is_clear() {
            let resumes =
                to == self.severity && self.acknowledged.is_none() && self.paging.can_resume(now);
            events.push(Event::FiredAgain { resumes });
        }
        // Whoever took it may have thought it over, since nothing was heard of it.
        if before == Some(Member::Stale) && self.members.counts().firing == 0 && !self.is_flapping()
        {
            events.push(Event::FiredAgain { resumes: false });
        }
        let because = if by_alert == to && by_alert != self.severity {
            RaisedBy::Alert
        } else {
            RaisedBy::Recurrence
        };
        events.extend(self.rise(to, because, book));
        events
    }

    fn alert_rejudged(
        &self,
        fingerprint: Fingerprint,
        severity: Severity,
        book: &Book,
    ) -> Vec<Event> {
        let is_worse = self
            .worst_alert
            .is_none_or(|worst| severity.is_more_severe_than(worst));
        if !is_worse || !self.is_open() || self.members.get(fingerprint) != Some(Member::Firing) {
            return Vec::new();
        }
        let mut events = vec![Event::AlertRejudged {
            fingerprint,
            severity,
        }];
        events.extend(self.rise(self.severity_after(severity), RaisedBy::Alert, book));
        events
    }

    /// One that a person set stands until an alert is more severe than every alert so far; the program never lowers.
    fn severity_after(&self, alert: Severity) -> Severity {
        let is_worst_so_far = self
            .worst_alert
            .is_none_or(|worst| alert.is_more_severe_than(worst));
        if is_worst_so_far {
            self.severity.worst(alert)
        } else {
            self.severity
        }
    }

    /// The events of a rise that no person made; none where it is no rise.
    fn rise(&self, to: Severity, because: RaisedBy, book: &Book) -> Vec<Event> {
        if !to.is_more_severe_than(self.severity) {
            return Vec::new();
        }
        let process = book.processes.of(to);
        let raised = Event::SeverityRaised {
            from: self.severity,
            to,
            urgency: process.urgency,
            because,
            leadership: process.leadership.clone(),
        };
        std::iter::once(raised)
            .chain(self.becomes_full(to, book))
            .collect()
    }

    /// A light incident that becomes full returns to triage, from any phase.
    pub(super) fn becomes_full(&self, severity: Severity, book: &Book) -> Option<Event> {
        let turns =
            self.profile == Profile::Light && book.processes.of(severity).outputs == Profile::Full;
        turns.then_some(Event::BecameFull {
            phase: Phase::Triage,
        })
    }

    fn reopens_by_alert(
        &self,
        fingerprint: Fingerprint,
        name: &str,
        severity: Severity,
        book: &Book,
    ) -> Vec<Event> {
        let joined = match self.members.contains(fingerprint) {
            true => Event::AlertFired {
                fingerprint,
                severity,
            },
            false => Event::AlertJoined {
                fingerprint,
                name: name.to_owned(),
                severity,
            },
        };
        let reopened = Event::Reopened {
            phase: Phase::Response,
            reason: None,
            by_person: false,
        };
        let by_recurrence = self.severity_after_recurrence();
        let by_alert = self.severity_after(severity);
        let to = by_recurrence.worst(by_alert);
        let because = if by_alert == to && by_alert != self.severity {
            RaisedBy::Alert
        } else {
            RaisedBy::Recurrence
        };
        let mut events = vec![reopened, joined];
        events.extend(self.rise(to, because, book));
        events
    }

    /// It is full from then on: one that was light returns to triage, as any that becomes full.
    pub(super) fn reopens_by_person(&self, reason: &str, book: &Book) -> Vec<Event> {
        let reopened = Event::Reopened {
            phase: match self.profile {
                Profile::Full => Phase::Response,
                Profile::Light => Phase::Triage,
            },
            reason: Some(reason.to_owned()),
            by_person: true,
        };
        let to = self.severity_after_recurrence();
        std::iter::once(reopened)
            .chain(self.rise(to, RaisedBy::Recurrence, book))
            .collect()
    }

    /// In a full incident each recurrence from the second on raises it by one.
    fn severity_after_recurrence(&self) -> Severity {
        if self.profile == Profile::Full && self.recurrences >= 1 {
            self.severity.raised()
        } else {
            self.severity
        }
    }

    fn alert_resolves(
        &self,
        fingerprint: Fingerprint,
        how: &Resolution,
    ) -> Result<Vec<Event>, Refusal> {
        let (reason, unsaid, moved_to) = match how {
            Resolution::Said => (None, None, None),
            Resolution::ByHand(reason) => (Some(reason.clone()), None, None),
            Resolution::Unsaid(unsaid) => (None, Some(*unsaid), None),
            Resolution::Moved(to) => (None, None, Some(*to)),
        };
        match self.members.get(fingerprint) {
            None => Err(Refusal::NoSuchAlert {
                number: self.number(),
                fingerprint,
            }),
            Some(Member::Resolved) => Ok(Vec::new()),
            Some(Member::Firing | Member::Stale) => Ok(vec![Event::AlertResolved {
                fingerprint,
                reason,
                unsaid,
                moved_to,
            }]),
        }
    }

    /// Stale is not fixed: escalation goes on. Those who were paged are told of the first one.
    fn alert_goes_stale(
        &self,
        fingerprint: Fingerprint,
        name: &str,
        why: &str,
        now: Timestamp,
    ) -> Vec<Event> {
        if !self.is_open() || self.members.get(fingerprint) != Some(Member::Firing) {
            return Vec::new();
        }
        let went = Event::AlertWentStale {
            fingerprint,
            why: why.to_owned(),
        };
        let told = match self.members.counts().stale {
            0 if !self.is_muted() => self.told_of_stale(name, why, now),
            _said_before_or_muted => None,
        };
        std::iter::once(went).chain(told).collect()
    }

    fn attempted(
        &self,
        serial: u32,
        attempt: u32,
        outcome: AttemptOutcome,
        detail: &str,
        now: Timestamp,
    ) -> Vec<Event> {
        let attempted = Event::Attempted {
            serial,
            attempt,
            outcome,
            detail: detail.to_owned(),
        };
        let next = match outcome {
            AttemptOutcome::Failed => self.next_contact_of(serial, now),
            AttemptOutcome::Delivered | AttemptOutcome::Retry => None,
        };
        std::iter::once(attempted)
            .chain(next.map(|serial| Event::Hastened { serial }))
            .collect()
    }
}
