//! Paging of one incident: which step is due, who was reached, and what follows when nobody was.

use crate::domain::escalation::{EXHAUSTED_EVERY, Target};
use crate::domain::incident::Incident;
use crate::domain::incident::event::{AttemptOutcome, Cause, Event, PageIssue, StoodAt, ToldWhy};
use crate::domain::oncall::OnCall;
use crate::domain::phase::Phase;
use crate::domain::severity::Urgency;
use crate::domain::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// An escalation that stood still for less than this goes on where it stood when the incident fires again.
const RESUMES_WITHIN: Duration = Duration::from_secs(3600);

/// Paging as far as the events have brought it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Paging {
    /// How often paging was started; 0 before the first time.
    pub start: u32,
    pub started_at: Option<Timestamp>,
    pub stage: Stage,
    /// The last serial number given to a page.
    last_serial: u32,
    /// The first serial number of this start, and of the step or exhaustion that ran last: pages before it are another's.
    start_from: u32,
    ran_from: u32,
    /// Whom each page was for: the timeline names them long after they ended.
    contacts: BTreeMap<u32, Contacted>,
    /// Pages that have not ended, and those of the current round, to know whom it reached.
    pub live: BTreeMap<u32, Live>,
    /// The last page of a step of this start that was delivered.
    last_reached: Option<Reached>,
    /// A page of an exhaustion was delivered: it is loud.
    exhaustion_delivered: bool,
    /// Where the escalation stood when the incident became clear unacknowledged.
    stood: Option<Stood>,
    /// Who was paged since the last clear, by which contact.
    to_tell: BTreeMap<String, (String, String)>,
    /// The policy of those who are to be told that the incident opened or rose.
    leadership: Option<String>,
}

/// Whom a page was for, and why.
#[derive(Clone, Debug, PartialEq)]
struct Contacted {
    cause: Cause,
    person: String,
    channel: String,
    address: String,
}

/// A page of a step that was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reached {
    serial: u32,
    /// Counted from 1.
    step: u32,
    round: u32,
}

/// What paging does next.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Stage {
    #[default]
    Idle,
    /// Step 1 of a new start is to run.
    Starting,
    /// A step is to run now: after it was asked for, or where the escalation stood.
    Running {
        round: u32,
        step: u32,
        left: Option<Duration>,
    },
    /// A step has run. `nobody` once it is known that it reached nobody, or where its pages are another incident's.
    Waiting {
        round: u32,
        step: u32,
        next_at: Timestamp,
        nobody: bool,
    },
    /// Steps and repeats are spent.
    Exhausted { exhaustion: u32, next_at: Timestamp },
}

/// A page that has not ended, or is of the current round.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    pub issue: PageIssue,
    pub state: LiveState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveState {
    Unfinished,
    Delivered,
    Failed,
}

#[derive(Clone, Debug, PartialEq)]
struct Stood {
    exhausted: Option<u32>,
    round: u32,
    step: u32,
    left: Duration,
}

impl Paging {
    /// Step 1 is due, and leadership is told.
    pub(super) fn begin(&mut self, leadership: Option<String>) {
        self.stage = Stage::Starting;
        self.stood = None;
        if leadership.is_some() {
            self.leadership = leadership;
        }
    }

    /// It became clear before leadership could be told: nothing is left to tell.
    pub(super) fn forget_leadership(&mut self) {
        self.leadership = None;
    }

    pub(super) fn tell_leadership(&mut self, leadership: Option<String>) {
        if leadership.is_some() {
            self.leadership = leadership;
        }
    }

    pub(super) fn started(&mut self, start: u32, at: Timestamp) {
        self.start = start;
        self.started_at = Some(at);
        self.stage = Stage::Running {
            round: 0,
            step: 0,
            left: None,
        };
        self.start_from = self.last_serial + 1;
        self.last_reached = None;
        self.exhaustion_delivered = false;
        self.forget_ended();
    }

    pub(super) fn step_ran(
        &mut self,
        round: u32,
        step: u32,
        next_at: Timestamp,
        pages: &[PageIssue],
    ) {
        self.stage = Stage::Waiting {
            round,
            step,
            next_at,
            nobody: false,
        };
        self.forget_ended();
        self.ran_from = self.last_serial + 1;
        self.issued(pages);
    }

    pub(super) fn reached_nobody(&mut self, at: Timestamp) {
        if let Stage::Waiting {
            next_at, nobody, ..
        } = &mut self.stage
        {
            *next_at = at;
            *nobody = true;
        }
    }

    pub(super) fn exhausted(&mut self, exhaustion: u32, next_at: Timestamp, pages: &[PageIssue]) {
        self.stage = Stage::Exhausted {
            exhaustion,
            next_at,
        };
        self.forget_ended();
        self.ran_from = self.last_serial + 1;
        self.issued(pages);
    }

    pub(super) fn issued(&mut self, pages: &[PageIssue]) {
        for issue in pages {
            self.last_serial = self.last_serial.max(issue.serial);
            let contacted = Contacted {
                cause: issue.cause,
                person: issue.person.clone(),
                channel: issue.channel.clone(),
                address: issue.address.clone(),
            };
            self.contacts.insert(issue.serial, contacted);
            self.live.insert(
                issue.serial,
                Live {
                    issue: issue.clone(),
                    state: LiveState::Unfinished,
                },
            );
        }
    }

    pub(super) fn told(&mut self, why: ToldWhy, pages: &[PageIssue]) {
        match why {
            ToldWhy::Leadership => self.leadership = None,
            ToldWhy::Clear => self.to_tell.clear(),
            // They are told yet when it is clear.
            ToldWhy::Stale | ToldWhy::Flapping => {}
        }
        self.issued(pages);
    }

    pub(super) fn attempted(&mut self, serial: u32, outcome: AttemptOutcome) {
        match outcome {
            AttemptOutcome::Delivered => self.delivered(serial),
            AttemptOutcome::Retry => {}
            AttemptOutcome::Failed => self.failed(serial),
        }
    }

    /// This step is to run now.
    pub(super) fn run(&mut self, round: u32, step: u32) {
        self.stage = Stage::Running {
            round,
            step,
            left: None,
        };
    }

    fn delivered(&mut self, serial: u32) {
        self.remember_to_tell(serial);
        let Some(live) = self.live.get_mut(&serial) else {
            return;
        };
        live.state = LiveState::Delivered;
        let issue = &live.issue;
        match issue.cause {
            Cause::Update => {
                self.live.remove(&serial);
                return;
            }
            // A page of an earlier start, or one that arrives after a later step's, is not the last that reached somebody.
            Cause::Step if serial >= self.start_from => {
                let reached = Reached {
                    serial,
                    step: issue.step,
                    round: issue.round,
                };
                self.last_reached = self.last_reached.max(Some(reached));
            }
            Cause::Step => {}
            Cause::Exhaustion => self.exhaustion_delivered = true,
            Cause::Person | Cause::Stuck => {}
        }
        if issue.cause == Cause::Person {
            self.live.remove(&serial);
        }
    }

    /// Who was called is told when it is clear; also where the page was under way when nobody wanted it any more.
    fn remember_to_tell(&mut self, serial: u32) {
        if let Some(contacted) = self.contacts.get(&serial)
            && contacted.cause != Cause::Update
        {
            let contact = (contacted.channel.clone(), contacted.address.clone());
            let person = contacted.person.clone();
            self.to_tell.entry(person).or_insert(contact);
        }
    }

    fn failed(&mut self, serial: u32) {
        if let Some(live) = self.live.get_mut(&serial) {
            live.state = LiveState::Failed;
            if matches!(live.issue.cause, Cause::Update | Cause::Person) {
                self.live.remove(&serial);
            }
        }
    }

    pub(super) fn dropped(&mut self, serials: &[u32]) {
        self.live.retain(|serial, _| !serials.contains(serial));
    }

    pub(super) fn hastened(&mut self, serial: u32, at: Timestamp) {
        if let Some(live) = self.live.get_mut(&serial) {
            live.issue.due_at = at;
        }
    }

    /// The escalation stands still; `since` is when nothing fired any more.
    pub(super) fn stopped(&mut self, acknowledged: bool, since: Timestamp) {
        self.stood = match &self.stage {
            _ if acknowledged => None,
            Stage::Waiting {
                round,
                step,
                next_at,
                ..
            } => Some(Stood {
                exhausted: None,
                round: *round,
                step: *step,
                left: next_at.since(since),
            }),
            Stage::Exhausted { exhaustion, .. } => Some(Stood {
                exhausted: Some(*exhaustion),
                round: 0,
                step: 0,
                left: EXHAUSTED_EVERY,
            }),
            Stage::Idle | Stage::Starting | Stage::Running { .. } => None,
        };
        self.stage = Stage::Idle;
    }

    /// Goes on where it stood: that step is paged again, with what was left of its time.
    pub(super) fn resumed(&mut self, at: Timestamp) {
        self.forget_ended();
        self.stage = match self.stood.take() {
            Some(Stood {
                exhausted: Some(exhaustion),
                ..
            }) => Stage::Exhausted {
                exhaustion,
                next_at: at,
            },
            Some(Stood {
                round, step, left, ..
            }) => Stage::Running {
                round,
                step,
                left: Some(left),
            },
            None => Stage::Starting,
        };
    }

    /// The step or exhaustion that ran last is paged again, and its time goes on.
    pub(super) fn page_again(&mut self, at: Timestamp) {
        self.stopped(false, at);
        self.resumed(at);
    }

    /// Something has run, and nobody has been told to stop.
    pub(super) fn is_escalating(&self, now: Timestamp) -> bool {
        let is_recent = self
            .started_at
            .is_some_and(|started| now.since(started) < RESUMES_WITHIN);
        is_recent && matches!(self.stage, Stage::Waiting { .. } | Stage::Exhausted { .. })
    }

    /// The last step of this start of which a page was delivered, counted from 1.
    pub(super) fn reached_step(&self) -> Option<u32> {
        self.last_reached.map(|reached| reached.step)
    }

    /// A page of an exhaustion was delivered.
    pub(super) fn is_loud(&self) -> bool {
        self.exhaustion_delivered
    }

    /// Goes on where the escalation of another incident stood, whose pages were for this one, too.
    pub(super) fn take_over(&mut self, started_at: Option<Timestamp>, stood_at: StoodAt) {
        self.start += 1;
        self.started_at = started_at;
        self.start_from = self.last_serial + 1;
        self.last_reached = None;
        self.stage = match stood_at {
            StoodAt::Step {
                round,
                step,
                next_at,
                reached,
            } => {
                self.last_reached = reached.then_some(Reached {
                    serial: self.last_serial,
                    step: step + 1,
                    round,
                });
                Stage::Waiting {
                    round,
                    step,
                    next_at,
                    nobody: true,
                }
            }
            StoodAt::Exhausted {
                exhaustion,
                next_at,
                delivered,
            } => {
                self.exhaustion_delivered = delivered;
                Stage::Exhausted {
                    exhaustion,
                    next_at,
                }
            }
        };
    }

    pub(super) fn clock_jumped(&mut self, by_ms: i64) {
        let shift = |at: &mut Timestamp| *at = at.shifted(by_ms);
        match &mut self.stage {
            Stage::Waiting { next_at, .. } | Stage::Exhausted { next_at, .. } => shift(next_at),
            Stage::Idle | Stage::Starting | Stage::Running { .. } => {}
        }
        self.started_at.iter_mut().for_each(shift);
        self.live
            .values_mut()
            .for_each(|live| shift(&mut live.issue.due_at));
    }

    /// Whether firing again at `now` goes on where the escalation stood.
    pub(super) fn can_resume(&self, now: Timestamp) -> bool {
        let is_recent = self
            .started_at
            .is_some_and(|started| now.since(started) < RESUMES_WITHIN);
        is_recent && self.stood.is_some()
    }

    /// Serial numbers of pages that have not ended.
    pub fn unfinished(&self) -> impl Iterator<Item = &Live> {
        self.live
            .values()
            .filter(|live| live.state == LiveState::Unfinished)
    }

    /// Whom a page was for, and by which channel.
    pub(super) fn contact_of(&self, serial: u32) -> Option<(&str, &str)> {
        let contacted = self.contacts.get(&serial)?;
        Some((&contacted.person, &contacted.channel))
    }

    fn forget_ended(&mut self) {
        self.live
            .retain(|_, live| live.state == LiveState::Unfinished);
    }

    /// Pages of the step that ran last; not those of an earlier run of the same step.
    fn of_step(&self, round: u32, step: u32) -> impl Iterator<Item = &Live> {
        self.live.values().filter(move |live| {
            live.issue.cause == Cause::Step
                && live.issue.serial >= self.ran_from
                && live.issue.round == round
                && live.issue.step == step + 1
        })
    }

    /// Pages of the last exhaustion.
    fn of_exhaustion(&self) -> impl Iterator<Item = &Live> {
        self.live.values().filter(|live| {
            live.issue.cause == Cause::Exhaustion && live.issue.serial >= self.ran_from
        })
    }

    /// Whether a step reached somebody, or may yet.
    fn has_reached(&self, round: u32, step: u32) -> bool {
        self.of_step(round, step)
            .any(|live| live.state != LiveState::Failed)
    }

    fn reached_in_round(&self, round: u32) -> bool {
        let is_pending = |live: &Live| live.issue.round == round;
        self.last_reached
            .is_some_and(|reached| reached.round == round)
            || self.pending_of_steps().any(is_pending)
    }

    /// Pages of steps of this start that may yet reach somebody.
    fn pending_of_steps(&self) -> impl Iterator<Item = &Live> {
        self.unfinished()
            .filter(|live| live.issue.cause == Cause::Step && live.issue.serial >= self.start_from)
    }
}

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
    pub(super) fn pages_next_at(&self) -> Option<Timestamp> {
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
    pub(super) fn unwanted_pages(&self) -> Vec<Event> {
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

    pub(super) fn due_leadership(&self, oncall: OnCall<'_>, now: Timestamp) -> Vec<Event> {
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
    pub(super) fn due_told(&self, now: Timestamp) -> Vec<Event> {
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
    pub(super) fn told_of_stale(&self, name: &str, why: &str, now: Timestamp) -> Option<Event> {
        let note = format!("{name} is stale, which is not fixed: {why}");
        let pages = self.updates(self.paged(), &note, now);
        (!pages.is_empty()).then_some(Event::Told {
            why: ToldWhy::Stale,
            pages,
        })
    }

    /// Everybody who was paged since the last clear, each by one contact.
    pub(super) fn paged(&self) -> impl Iterator<Item = (String, String, String)> {
        let contacts = self.paging.to_tell.iter();
        contacts
            .map(|(person, (channel, address))| (person.clone(), channel.clone(), address.clone()))
    }

    pub(super) fn updates(
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
    pub(super) fn acknowledge_times_out_at(&self) -> Option<Timestamp> {
        let held_since = self.acknowledged.as_ref()?.held_since;
        let runs = matches!(self.phase, Phase::Triage | Phase::Response)
            && !self.is_clear()
            && !self.is_quiet()
            && !self.is_muted();
        let timeout = self.opened.policy.acknowledge_timeout()?;
        runs.then(|| held_since.plus(timeout))
    }

    pub(super) fn due_acknowledge_timeout(&self, now: Timestamp) -> Vec<Event> {
        match self.acknowledge_times_out_at() {
            Some(at) if at <= now => vec![Event::AcknowledgeTimedOut],
            _ => Vec::new(),
        }
    }

    pub(super) fn due_paging(&self, oncall: OnCall<'_>, now: Timestamp) -> Vec<Event> {
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
    pub(super) fn pages_to(
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
    pub(super) fn next_step_by_hand(&self) -> (u32, u32) {
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
    pub(super) fn next_contact_of(&self, failed: u32, now: Timestamp) -> Option<u32> {
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
