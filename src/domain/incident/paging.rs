//! Paging of one incident, as far as its events have brought it: what ran last, who was reached, and who is to be told.

mod due;

use crate::domain::escalation::EXHAUSTED_EVERY;
use crate::domain::incident::event::{AttemptOutcome, Cause, PageIssue, StoodAt, ToldWhy};
use crate::domain::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
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
    /// Whom each page was for: the timeline names them long after they ended. Apart, so that it is copied only where pages are added.
    contacts: Arc<BTreeMap<u32, Contacted>>,
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
        if pages.is_empty() {
            return;
        }
        let contacts = Arc::make_mut(&mut self.contacts);
        for issue in pages {
            self.last_serial = self.last_serial.max(issue.serial);
            let contacted = Contacted {
                cause: issue.cause,
                person: issue.person.clone(),
                channel: issue.channel.clone(),
                address: issue.address.clone(),
            };
            contacts.insert(issue.serial, contacted);
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

    /// Pages of the step or exhaustion that ran last that have not ended.
    pub(super) fn untried(&self) -> impl Iterator<Item = &PageIssue> {
        let of_last = |live: &&Live| {
            live.issue.serial >= self.ran_from
                && matches!(live.issue.cause, Cause::Step | Cause::Exhaustion)
        };
        self.unfinished().filter(of_last).map(|live| &live.issue)
    }

    /// The same contacts, as the next pages of this incident.
    pub(super) fn numbered(&self, pages: &[PageIssue]) -> Vec<PageIssue> {
        let numbered = pages.iter().zip(self.last_serial + 1..);
        numbered
            .map(|(page, serial)| PageIssue {
                serial,
                note: None,
                ..page.clone()
            })
            .collect()
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
