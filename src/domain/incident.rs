//! An incident: the sum of its events. [`Incident::command`] decides and applies what is asked, [`Incident::settle`] what
//! that makes due, so that a page is written in the same transaction as its cause.

pub mod command;
pub mod entry;
pub mod event;

mod apply;
mod ask;
mod decide;
mod flapping;
mod members;
mod muting;
mod outputs;
mod paging;
mod storm;
mod timeline;
mod verify;

pub use crate::domain::incident::command::{Ask, Command, Refusal, Resolution};
pub use crate::domain::incident::entry::Entry;
pub use crate::domain::incident::event::Event;
pub use crate::domain::incident::flapping::Flapping;
pub use crate::domain::incident::members::{Counts, Member, Members};
pub use crate::domain::incident::muting::Mute;
pub use crate::domain::incident::outputs::Given;
pub use crate::domain::incident::paging::{Live, LiveState, Paging};
pub use crate::domain::incident::storm::{Handing, Storm, StormCap, service_of};
pub use crate::domain::incident::timeline::describe;
pub use crate::domain::incident::verify::Verification;

use crate::domain::action_item::ActionItem;
use crate::domain::analysis::Analysis;
use crate::domain::incident::event::{Opened, Origin, Role, WATCHKEEPER, Waiver};
use crate::domain::oncall::OnCall;
use crate::domain::phase::{Output, Phase};
use crate::domain::severity::{Profile, Severity, SeverityInputs, Urgency};
use crate::domain::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Rounds of follow-up events one command may cause: every step of a long policy that reaches nobody is one.
const FOLLOW_UPS_MAX: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Open,
    Closed,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}

/// Who took it, and since when that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    pub at: Timestamp,
    pub by: String,
    /// Others who acknowledged it after that.
    pub also: Vec<String>,
    /// What the acknowledge timeout counts from; moves with jumps of the clock.
    held_since: Timestamp,
}

/// An unplanned disruption, from detection to its verified close.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// What it started with.
    pub opened: Arc<Opened>,
    pub opened_at: Timestamp,
    pub opened_by: String,
    /// The sequence number of the last event.
    pub seq: u64,
    pub changed_at: Timestamp,
    pub status: Status,
    pub phase: Phase,
    pub severity: Severity,
    /// What the severity was last derived from.
    pub inputs: SeverityInputs,
    pub urgency: Urgency,
    pub profile: Profile,
    pub members: Members,
    /// The worst any alert of it has said.
    worst_alert: Option<Severity>,
    /// Since when nothing fires; none while something does.
    quiet_since: Option<Timestamp>,
    pub clear_since: Option<Timestamp>,
    changes: flapping::Changes,
    storm: Storm,
    /// Clear only once `contained` is given: it has no alerts, or a person reopened it.
    clear_by_word: bool,
    pub acknowledged: Option<Acknowledgement>,
    /// What mutes its alerts, and since when; also while none of them fires, until it is clear.
    muted: Option<Mute>,
    pub paging: Arc<Paging>,
    pub roles: BTreeMap<Role, String>,
    pub given: BTreeMap<Output, Given>,
    pub waivers: BTreeMap<Output, Waiver>,
    pub analysis: Analysis,
    pub actions: Vec<ActionItem>,
    /// Actions before this one were added before the last recurrence.
    systemic_from: usize,
    pub verification: Option<Verification>,
    /// Windows that a recurrence ended.
    pub failed_windows: Vec<Arc<Verification>>,
    pub recurrences: u32,
    pub closed_at: Option<Timestamp>,
}

impl Incident {
    /// The incident that its first event makes.
    pub fn open(opened: Opened, by: &str, now: Timestamp) -> (Self, Entry) {
        let entry = Entry {
            seq: 1,
            at: now,
            by: by.to_owned(),
            event: Event::Opened(Box::new(opened.clone())),
        };
        (Self::first(opened, by, now), entry)
    }

    /// The incident that its log makes; none where the log does not begin with its opening.
    pub fn replay<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Option<Self> {
        let mut entries = entries.into_iter();
        let first = entries.next()?;
        let Event::Opened(opened) = &first.event else {
            return None;
        };
        let mut incident = Self::first((**opened).clone(), &first.by, first.at);
        incident.seq = first.seq;
        for entry in entries {
            incident.apply(entry);
        }
        Some(incident)
    }

    /// Applies entries that were added to its log elsewhere.
    pub fn catch_up(&mut self, entries: &[Entry]) {
        entries.iter().for_each(|entry| self.apply(entry));
    }

    /// Decides `command`, applies what it adds, and returns the entries to write down. A refusal changes nothing.
    /// [`Incident::settle`] must follow before they are written, so that a page stands beside its cause.
    pub fn command(
        &mut self,
        command: &Command,
        by: &str,
        oncall: OnCall<'_>,
        now: Timestamp,
    ) -> Result<Vec<Entry>, Refusal> {
        let events = self.decide(command, by, oncall, now)?;
        let mut entries = Vec::with_capacity(events.len());
        for event in events {
            self.add(event, by, now, &mut entries);
        }
        Ok(entries)
    }

    /// Applies an event that was decided elsewhere, as of the same incident in another history, and returns the entry to write
    /// down. [`Incident::settle`] must follow, as after a command.
    pub fn impose(&mut self, event: Event, by: &str, now: Timestamp) -> Entry {
        let mut entries = Vec::with_capacity(1);
        self.add(event, by, now, &mut entries);
        entries.pop().expect("one was added")
    }

    /// Does everything that is due at `now`, and returns the entries to write down.
    pub fn settle(&mut self, oncall: OnCall<'_>, now: Timestamp) -> Vec<Entry> {
        let mut entries = Vec::new();
        for _ in 0..FOLLOW_UPS_MAX {
            let due = self.due(oncall, now);
            if due.is_empty() {
                break;
            }
            for event in due {
                self.add(event, WATCHKEEPER, now, &mut entries);
            }
        }
        entries
    }

    /// The first instant at which there is something to do without anybody asking.
    pub fn next_due(&self) -> Option<Timestamp> {
        if self.status == Status::Closed {
            return None;
        }
        let candidates = [
            self.clears_at(),
            self.acknowledge_times_out_at(),
            self.pages_next_at(),
            self.next_check_at(),
            self.flapping_next_at(),
        ];
        candidates.into_iter().flatten().min()
    }

    pub fn number(&self) -> u64 {
        self.opened.number
    }

    pub fn is_open(&self) -> bool {
        self.status == Status::Open
    }

    pub fn is_clear(&self) -> bool {
        self.clear_since.is_some()
    }

    /// Nothing fires, and nothing is stale that fired.
    pub fn is_silent(&self) -> bool {
        self.quiet_since.is_some()
    }

    /// Nothing fires, but `resolve_after` has not passed: no page goes out. One that is clear only by a person's word is
    /// not quiet before that is given, and one that flaps not before it has settled.
    pub fn is_quiet(&self) -> bool {
        let awaits_word = self.clear_by_word && !self.given.contains_key(&Output::Contained);
        self.is_open()
            && self.quiet_since.is_some()
            && !self.is_clear()
            && !awaits_word
            && !self.is_flapping()
    }

    /// When a quiet incident becomes clear.
    pub fn clears_at(&self) -> Option<Timestamp> {
        if !self.is_quiet() {
            return None;
        }
        self.quiet_since
            .map(|since| since.plus(self.resolve_after()))
    }

    pub fn resolve_after(&self) -> Duration {
        Duration::from_millis(self.opened.resolve_after_ms)
    }

    pub fn reopen_within(&self) -> Duration {
        Duration::from_millis(self.opened.reopen_within_ms)
    }

    /// Everything that is due now, one small group of events at a time; none where nothing is.
    fn due(&self, oncall: OnCall<'_>, now: Timestamp) -> Vec<Event> {
        let parts: [&dyn Fn() -> Vec<Event>; 9] = [
            &|| self.due_flapping(now),
            &|| self.unwanted_pages(),
            &|| self.due_leadership(oncall, now),
            &|| self.due_clear(now),
            &|| self.due_told(now),
            &|| self.due_light_advance(oncall.book, now),
            &|| self.due_acknowledge_timeout(now),
            &|| self.due_paging(oncall, now),
            &|| self.due_verification(now),
        ];
        parts
            .iter()
            .map(|part| part())
            .find(|events| !events.is_empty())
            .unwrap_or_default()
    }

    fn due_clear(&self, now: Timestamp) -> Vec<Event> {
        match self.clears_at() {
            Some(since) if since <= now => vec![Event::Cleared { since }],
            _ => Vec::new(),
        }
    }

    /// Its paging, to be changed: copied where another copy of the incident has it, too.
    fn paging_mut(&mut self) -> &mut Paging {
        Arc::make_mut(&mut self.paging)
    }

    fn add(&mut self, event: Event, by: &str, now: Timestamp, entries: &mut Vec<Entry>) {
        let entry = Entry {
            seq: self.seq + 1,
            at: now,
            by: by.to_owned(),
            event,
        };
        self.apply(&entry);
        entries.push(entry);
    }

    fn first(opened: Opened, by: &str, at: Timestamp) -> Self {
        let by_person = opened.origin != Origin::Alert;
        let mut incident = Self {
            opened_at: at,
            opened_by: by.to_owned(),
            seq: 1,
            changed_at: at,
            status: Status::Open,
            phase: Phase::Triage,
            severity: opened.severity,
            inputs: opened.inputs.clone(),
            urgency: opened.urgency,
            profile: if by_person {
                Profile::Full
            } else {
                opened.profile
            },
            members: Members::default(),
            worst_alert: None,
            quiet_since: None,
            clear_since: None,
            changes: flapping::Changes::default(),
            storm: Storm::default(),
            clear_by_word: by_person,
            acknowledged: None,
            muted: None,
            paging: Arc::default(),
            roles: BTreeMap::new(),
            given: BTreeMap::new(),
            waivers: BTreeMap::new(),
            analysis: Analysis::default(),
            actions: Vec::new(),
            systemic_from: 0,
            verification: None,
            failed_windows: Vec::new(),
            recurrences: 0,
            closed_at: None,
            opened: Arc::new(opened),
        };
        let leadership = incident.opened.leadership.clone();
        incident.paging_mut().begin(leadership);
        incident
    }
}
