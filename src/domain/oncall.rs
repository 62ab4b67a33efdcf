//! The book: people with their contacts, teams, schedules with overrides, policies, and the process of each severity.

use crate::domain::escalation::{EscalationPolicy, Target};
use crate::domain::heartbeat::Heartbeat;
use crate::domain::incident::StormCap;
use crate::domain::schedule::{Override, Schedule};
use crate::domain::severity::{Processes, Urgency};
use crate::domain::source::Kind;
use crate::domain::time::Timestamp;
use chrono_tz::Tz;
use std::collections::BTreeMap;
use std::time::Duration;

/// The policy of incidents that name none.
pub const DEFAULT_POLICY: &str = "default";

/// One way to reach a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    pub channel: String,
    pub address: String,
    /// Counted from the start of the step.
    pub after: Duration,
}

/// A responder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub name: String,
    pub zone: Option<Tz>,
    pub notify: Vec<Contact>,
    /// `notify` where it is missing.
    pub notify_low: Option<Vec<Contact>>,
    pub manager: Option<String>,
}

impl Person {
    /// The contacts for an urgency, in order of their time.
    pub fn contacts(&self, urgency: Urgency) -> &[Contact] {
        match (urgency, &self.notify_low) {
            (Urgency::Low, Some(low)) => low,
            (Urgency::High | Urgency::Low | Urgency::None, _) => &self.notify,
        }
    }
}

/// A team: its policy, and who hears of its incidents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Team {
    pub policy: Option<String>,
    pub stakeholders: Vec<Contact>,
}

/// Everything that says who is paged, as the configuration has it now.
#[derive(Clone, Debug, PartialEq)]
pub struct Book {
    pub people: BTreeMap<String, Person>,
    pub teams: BTreeMap<String, Team>,
    pub schedules: BTreeMap<String, Schedule>,
    /// Has [`DEFAULT_POLICY`] always.
    pub policies: BTreeMap<String, EscalationPolicy>,
    pub processes: Processes,
    /// System weaknesses and detection gaps that operators added to the built-in lists.
    pub weaknesses: Vec<String>,
    pub detection_gaps: Vec<String>,
    pub heartbeats: BTreeMap<String, Heartbeat>,
    /// How long an alert of a source may fire without being heard of, where the source says.
    pub stale_after: BTreeMap<String, Duration>,
    /// New incidents of one team past which further keys join its storm; storms are not handled where there is none.
    pub storm: Option<StormCap>,
}

impl Book {
    /// How long an alert may fire without being heard of, as its source has it, else its kind.
    pub fn stale_after(&self, source: &str, kind: &str) -> Option<Duration> {
        let of_source = self.stale_after.get(source).copied();
        of_source.or_else(|| kind.parse::<Kind>().ok()?.stale_after())
    }

    /// The policy of an incident: the rule's, else its team's, else the default one.
    pub fn policy_for(&self, named: Option<&str>, team: Option<&str>) -> Option<&EscalationPolicy> {
        let of_team = || {
            team.and_then(|team| self.teams.get(team))
                .and_then(|team| team.policy.as_deref())
        };
        named
            .and_then(|name| self.policies.get(name))
            .or_else(|| of_team().and_then(|name| self.policies.get(name)))
            .or_else(|| self.policies.get(DEFAULT_POLICY))
    }
}

/// The overrides of each schedule; they are stored, not configured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides(pub BTreeMap<String, Vec<Override>>);

impl Overrides {
    pub fn of(&self, schedule: &str) -> &[Override] {
        self.0.get(schedule).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Who can be reached: the book and the overrides as they are now.
#[derive(Clone, Copy, Debug)]
pub struct OnCall<'a> {
    pub book: &'a Book,
    pub overrides: &'a Overrides,
}

impl OnCall<'_> {
    /// The people a target stands for at `now`, in order, each once; none where it is unknown.
    pub fn people_of(&self, target: &Target, now: Timestamp) -> Vec<String> {
        match target {
            Target::Person(name) => vec![name.clone()],
            Target::Schedule(name) => match self.book.schedules.get(name) {
                Some(schedule) => schedule.on_call(self.overrides.of(name), now),
                None => Vec::new(),
            },
            Target::Policy(name) => {
                let first = self
                    .book
                    .policies
                    .get(name)
                    .and_then(|policy| policy.steps.first());
                let targets = first
                    .map(|step| step.targets.as_slice())
                    .unwrap_or_default();
                // A policy within a policy is refused when the configuration is read.
                self.all_people_of(
                    targets
                        .iter()
                        .filter(|target| !matches!(target, Target::Policy(_))),
                    now,
                )
            }
        }
    }

    /// The people several targets stand for, each once.
    pub fn all_people_of<'a>(
        &self,
        targets: impl IntoIterator<Item = &'a Target>,
        now: Timestamp,
    ) -> Vec<String> {
        let mut people: Vec<String> = Vec::new();
        for target in targets {
            for person in self.people_of(target, now) {
                if !people.contains(&person) {
                    people.push(person);
                }
            }
        }
        people
    }
}
