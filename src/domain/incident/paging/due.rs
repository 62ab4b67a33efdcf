//! What is due of paging: which step runs, whom it pages, and who is told instead.

use crate::domain::escalation::{EXHAUSTED_EVERY, Target};
use crate::domain::incident::Incident;
use crate::domain::incident::event::{Cause, Event, PageIssue, ToldWhy};
use crate::domain::incident::paging::{Live, LiveState, Reached, Stage};
use crate::domain::oncall::OnCall;
use crate::domain::phase::Phase;
use crate::domain::severity::Urgency;
use crate::domain::time::Timestamp;
use std::time::Duration;

impl Incident {
    /// Pages may be sent and steps may run.
    fn may_page(&self) -> bool {
        self.is_open()
            && self.acknowledged.is_none()
            && !self.is_clear()
            && !self.is_quiet()
            && !self.is_muted()
            && self.urgency.pages()
    }

    /// When paging has something to do by itself.
    pub(in crate::domain::incident) fn pages_next_at(&self) -> Option<Timestamp> {
        if !self.may_page() {
            return None;
        }
        match &self.paging.stage {
            Stage::Idle => None,
            Stage::Starting | Stage::Running { .. } => Some(self.changed_at),
            Stage::Waiting { .. } | Stage::Exhausted { .. } if self.is_served_low() => None,
            Stage::Waiting { next_at, .. } | Stage::Exhausted { next_at, .. } => Some(*next_at),
        }
    }

    /// Low urgency asks for one step that reaches somebody, and has had it.
    fn is_served_low(&self) -> bool {
        if self.urgency != Urgency::Low {
            return false;
        }
        match &self.paging.stage {
            Stage::Waiting { round, step, .. } => {
                self.paging.has_reached(*round, *step) || self.paging.last_reached.is_some()
            }
            Stage::Idle | Stage::Starting | Stage::Running { .. } | Stage::Exhausted { .. } => {
                self.paging.last_reached.is_some()
            }
        }
    }

    /// Pages of steps that nobody needs any more: it was acknowledged, is clear, or pages nobody.
    pub(in crate::domain::incident) fn unwanted_pages(&self) -> Vec<Event> {
        let why = if !self.is_open() {
            "closed".to_owned()
        } else if self.is_clear() {
            "clear".to_owned()
        } else if let Some(acknowledged) = &self.acknowledged {
            format!("acknowledged by {}", acknowledged.by)
        } else if !self.urgency.pages() {
            format!("{} pages nobody", self.severity)
        } else if self.is_muted() {
            format!("muted by {}", self.muted_by_in_words())
        } else {
            return Vec::new();
        };
        let escalating = |live: &&Live| matches!(live.issue.cause, Cause::Step | Cause::Exhaustion);
        let serials: Vec<u32> = self
            .paging
            .unfinished()
            .filter(escalating)
            .map(|live| live.issue.serial)
            .collect();
        if serials.is_empty() {
            Vec::new()
        } else if self.may_only_be_muted() {
            vec![Event::PagesMuted { serials, why }]
        } else {
            vec![Event::PagesDropped { serials, why }]
        }
    }

    pub(in crate::domain::incident) fn due_leadership(
        &self,
        oncall: OnCall<'_>,
        now: Timestamp,
    ) -> Vec<Event> {
        let Some(policy) = &self.paging.leadership else {
            return Vec::new();
        };
        // They are told once it is muted no more.
        if self.has_mute() {
            return Vec::new();
        }
        let people = oncall.people_of(&Target::Policy(policy.clone()), now);
        let note = format!(
            "{} at {}",
            if self.is_open() { "open" } else { "closed" },
            self.severity
        );
        let contacts = people.iter().filter_map(|person| {
            let contact = oncall.book.people.get(person)?.notify.first()?;
            Some((
                person.clone(),
                contact.channel.clone(),
                contact.address.clone(),
            ))
        });
        let pages = self.updates(contacts, &note, now);
        vec![Event::Told {
            why: ToldWhy::Leadership,
            pages,
        }]
    }

    /// Those who were paged are told that it is clear.
    pub(in crate::domain::incident) fn due_told(&self, now: Timestamp) -> Vec<Event> {
        let (Some(since), false) = (self.clear_since, self.paging.to_tell.is_empty()) else {
            return Vec::new();
        };
        vec![Event::Told {
            why: ToldWhy::Clear,
            pages: self.updates(self.paged(), &self.clear_in_words(since), now),
        }]
    }

    fn clear_in_words(&self, since: Timestamp) -> String {
        match self.is_storm_over() {
            true => format!(
                "the storm is over since {since}; what still fires has an incident of its own"
            ),
            false => format!("clear since {since}"),
        }
    }

    /// Those who were paged hear that nobody knows whether it still fires; none where nobody was.
    pub(in crate::domain::incident) fn told_of_stale(
        &self,
        name: &str,
        why: &str,
        now: Timestamp,
    ) -> Option<Event> {
        let note = format!("{name} is stale, which is not fixed: {why}");
        let pages = self.updates(self.paged(), &note, now);
        (!pages.is_empty()).then_some(Event::Told {
            why: ToldWhy::Stale,
            pages,
        })
    }

    /// Everybody who was paged since the last clear, each by one contact.
    pub(in crate::domain::incident) fn paged(
        &self,
    ) -> impl Iterator<Item = (String, String, String)> {
        let contacts = self.paging.to_tell.iter();
        contacts
            .map(|(person, (channel, address))| (person.clone(), channel.clone(), address.clone()))
    }

    pub(in crate::domain::incident) fn updates(
        &self,
        contacts: impl Iterator<Item = (String, String, String)>,
        note: &str,
        now: Timestamp,
    ) -> Vec<PageIssue> {
        contacts
            .zip(self.paging.last_serial + 1..)
            .map(|((person, channel, address), serial)| PageIssue {
                serial,
                cause: Cause::Update,
                step: 0,
                round: 0,
                person,
                channel,
                address,
                due_at: now,
                note: Some(note.to_owned()),
            })
            .collect()
    }

    /// When an acknowledgement runs out: in triage and response only, and not while nothing fires.
    pub(in crate::domain::incident) fn acknowledge_times_out_at(&self) -> Option<Timestamp> {
        let held_since = self.acknowledged.as_ref()?.held_since;
        let runs = matches!(self.phase, Phase::Triage | Phase::Response)
            && !self.is_clear()
            && !self.is_quiet()
            && !self.is_muted();
        let timeout = self.opened.policy.acknowledge_timeout()?;
        runs.then(|| held_since.plus(timeout))
    }

    pub(in crate::domain::incident) fn due_acknowledge_timeout(
        &self,
        now: Timestamp,
    ) -> Vec<Event> {
        match self.acknowledge_times_out_at() {
            Some(at) if at <= now => vec![Event::AcknowledgeTimedOut],
            _ => Vec::new(),
        }
    }

    pub(in crate::domain::incident) fn due_paging(
        &self,
        oncall: OnCall<'_>,
        now: Timestamp,
    ) -> Vec<Event> {
        if !self.may_page() {
            return Vec::new();
        }
        match &self.paging.stage {
            Stage::Idle => Vec::new(),
            Stage::Starting => vec![Event::PagingStarted {
                start: self.paging.start + 1,
            }],
            Stage::Running { round, step, left } => {
                vec![self.run_step(*round, *step, *left, oncall, now)]
            }
            Stage::Waiting {
                round,
                step,
                next_at,
                nobody,
            } => {
                if !nobody && !self.paging.has_reached(*round, *step) {
                    vec![self.nobody_reached(*round, *step, oncall, now)]
                } else if *next_at <= now && !self.is_served_low() {
                    vec![self.after_step(*round, *step, oncall, now)]
                } else {
                    Vec::new()
                }
            }
            Stage::Exhausted {
                exhaustion,
                next_at,
            } if !self.is_served_low()
                && (*next_at <= now || self.exhaustion_widens(oncall, now)) =>
            {
                vec![self.exhaust(exhaustion + 1, oncall, now)]
            }
            Stage::Exhausted { .. } => Vec::new(),
        }
    }

    fn run_step(
        &self,
        round: u32,
        step: u32,
        left: Option<Duration>,
        oncall: OnCall<'_>,
        now: Timestamp,
    ) -> Event {
        let Some(of_policy) = self
            .opened
            .policy
            .steps
            .get(usize::try_from(step).unwrap_or(usize::MAX))
        else {
            return self.exhaust(1, oncall, now);
        };
        let people = oncall.all_people_of(&of_policy.targets, now);
        let pages = self.pages_to(&people, Cause::Step, round, step + 1, oncall, now);
        let next_at = now.plus(left.unwrap_or(of_policy.timeout));
        Event::StepRan {
            round,
            step,
            next_at,
            pages,
        }
    }

    fn after_step(&self, round: u32, step: u32, oncall: OnCall<'_>, now: Timestamp) -> Event {
        let last = u32::try_from(self.opened.policy.steps.len())
            .unwrap_or(u32::MAX)
            .saturating_sub(1);
        if step < last {
            return self.run_step(round, step + 1, None, oncall, now);
        }
        let repeats = self.urgency == Urgency::High && round < self.opened.policy.repeat;
        if repeats && self.paging.reached_in_round(round) {
            return self.run_step(round + 1, 0, None, oncall, now);
        }
        self.exhaust(1, oncall, now)
    }

    /// Pages the fallback; without one the targets of the last step that reached somebody; where these reach nobody,
    /// those of all steps.
    fn exhaust(&self, exhaustion: u32, oncall: OnCall<'_>, now: Timestamp) -> Event {
        let policy = &self.opened.policy;
        let targets: Vec<&Target> = if policy.fallback.is_empty() {
            let reached = self
                .last_step_reached()
                .and_then(|step| usize::try_from(step.saturating_sub(1)).ok());
            match reached.and_then(|step| policy.steps.get(step)) {
                Some(step) => step.targets.iter().collect(),
                None => self.everybody(),
            }
        } else {
            policy.fallback.iter().collect()
        };
        let page = |targets: Vec<&Target>| {
            let people = oncall.all_people_of(targets, now);
            self.pages_to(&people, Cause::Exhaustion, 0, 0, oncall, now)
        };
        let mut pages = page(targets);
        if pages.is_empty() || self.last_exhaustion_failed() {
            pages = page(self.everybody());
        }
        Event::Exhausted {
            exhaustion,
            next_at: now.plus(EXHAUSTED_EVERY),
            pages,
        }
    }

    /// All targets of the policy, the fallback's first.
    fn everybody(&self) -> Vec<&Target> {
        let policy = &self.opened.policy;
        let of_steps = policy.steps.iter().flat_map(|step| &step.targets);
        policy.fallback.iter().chain(of_steps).collect()
    }

    /// Every page of the last exhaustion failed for good, and there are others to page: they are, without waiting.
    fn exhaustion_widens(&self, oncall: OnCall<'_>, now: Timestamp) -> bool {
        let was_paged = |person: &String| {
            let mut of_last = self.paging.of_exhaustion();
            of_last.any(|live| live.issue.person == *person)
        };
        let has_contact = |person: &String| {
            let known = oncall.book.people.get(person);
            known.is_some_and(|known| !known.contacts(self.urgency).is_empty())
        };
        self.last_exhaustion_failed()
            && oncall
                .all_people_of(self.everybody(), now)
                .iter()
                .any(|person| has_contact(person) && !was_paged(person))
    }

    fn last_step_reached(&self) -> Option<u32> {
        let pending = self.paging.pending_of_steps().map(|live| Reached {
            serial: live.issue.serial,
            step: live.issue.step,
            round: live.issue.round,
        });
        pending
            .chain(self.paging.last_reached)
            .max()
            .map(|reached| reached.step)
    }

    fn last_exhaustion_failed(&self) -> bool {
        let mut last = self.paging.of_exhaustion().peekable();
        last.peek().is_some() && last.all(|live| live.state == LiveState::Failed)
    }

    fn nobody_reached(&self, round: u32, step: u32, oncall: OnCall<'_>, now: Timestamp) -> Event {
        let why = if self.paging.of_step(round, step).next().is_some() {
            "every contact of everybody failed".to_owned()
        } else {
            self.why_nobody(step, oncall, now)
        };
        Event::StepReachedNobody { round, step, why }
    }

    fn why_nobody(&self, step: u32, oncall: OnCall<'_>, now: Timestamp) -> String {
        let steps = &self.opened.policy.steps;
        let targets = usize::try_from(step)
            .ok()
            .and_then(|step| steps.get(step))
            .map(|step| step.targets.as_slice());
        let whys: Vec<String> = targets
            .unwrap_or_default()
            .iter()
            .map(|target| {
                let people = oncall.people_of(target, now);
                match (target, people.first()) {
                    (Target::Schedule(name), _) if !oncall.book.schedules.contains_key(name) => {
                        format!("{target} is not in the configuration")
                    }
                    (_, None) => format!("nobody is on call by {target}"),
                    (_, Some(person)) if !oncall.book.people.contains_key(person) => {
                        format!("{person} is not in the configuration")
                    }
                    (_, Some(person)) => format!("{person} has no contact"),
                }
            })
            .collect();
        if whys.is_empty() {
            "it has no targets".to_owned()
        } else {
            whys.join("; ")
        }
    }

    /// A page to every contact of each of these people, each at its own time.
    pub(in crate::domain::incident) fn pages_to(
        &self,
        people: &[String],
        cause: Cause,
        round: u32,
        step: u32,
        oncall: OnCall<'_>,
        now: Timestamp,
    ) -> Vec<PageIssue> {
        let contacts = people.iter().flat_map(|person| {
            let contacts = oncall
                .book
                .people
                .get(person)
                .map(|known| known.contacts(self.urgency));
            contacts
                .unwrap_or_default()
                .iter()
                .map(move |contact| (person, contact))
        });
        let note = self.storm_in_words();
        contacts
            .zip(self.paging.last_serial + 1..)
            .map(|((person, contact), serial)| PageIssue {
                serial,
                cause,
                step,
                round,
                person: person.clone(),
                channel: contact.channel.clone(),
                address: contact.address.clone(),
                due_at: now.plus(contact.after),
                note: note.clone(),
            })
            .collect()
    }

    /// The next step by hand: after the last, the first.
    pub(in crate::domain::incident) fn next_step_by_hand(&self) -> (u32, u32) {
        let steps = u32::try_from(self.opened.policy.steps.len())
            .unwrap_or(u32::MAX)
            .max(1);
        match &self.paging.stage {
            Stage::Waiting { round, step, .. } | Stage::Running { round, step, .. } => {
                (*round, (step + 1) % steps)
            }
            Stage::Idle | Stage::Starting | Stage::Exhausted { .. } => (0, 0),
        }
    }

    /// The later contact that is tried at once, now that a page has failed for good: the same person's next one.
    pub(in crate::domain::incident) fn next_contact_of(
        &self,
        failed: u32,
        now: Timestamp,
    ) -> Option<u32> {
        let failed = &self.paging.live.get(&failed)?.issue;
        let same = |live: &&Live| {
            let issue = &live.issue;
            issue.person == failed.person
                && issue.cause == failed.cause
                && (issue.round, issue.step) == (failed.round, failed.step)
                && issue.due_at > now
        };
        self.paging
            .unfinished()
            .filter(same)
            .min_by_key(|live| live.issue.due_at)
            .map(|live| live.issue.serial)
    }

    /// What the audit asks of an incident that pages: a page in flight, a step in the future, or a loud exhaustion.
    /// The answer is what is missing.
    pub fn unserved(&self, now: Timestamp) -> Option<&'static str> {
        if !self.may_page() {
            return None;
        }
        let escalating = |live: &&Live| matches!(live.issue.cause, Cause::Step | Cause::Exhaustion);
        let in_flight = self.paging.unfinished().any(|live| escalating(&live));
        match &self.paging.stage {
            Stage::Exhausted { .. } if self.is_served_low() || self.paging.exhaustion_delivered => {
                None
            }
            // Only just spent: its first pages are on their way.
            Stage::Exhausted {
                exhaustion: 1,
                next_at,
            } if in_flight && now.plus(EXHAUSTED_EVERY) < next_at.plus(OVERDUE_AFTER) => None,
            Stage::Exhausted { .. } => Some("exhausted, and no page of it was delivered"),
            _ if in_flight => None,
            Stage::Waiting { .. } if self.is_served_low() => None,
            Stage::Waiting { next_at, .. } if next_at.plus(OVERDUE_AFTER) > now => None,
            Stage::Idle => Some("nobody is being paged"),
            Stage::Starting | Stage::Running { .. } | Stage::Waiting { .. } => {
                Some("the next step is overdue")
            }
        }
    }
}

/// A step that is late by more than this is a violation: the engine looks far more often.
const OVERDUE_AFTER: Duration = Duration::from_secs(60);
