//! Flapping: an incident that fires and falls silent again and again pages once, and is not clear before it has settled.

use crate::domain::incident::Incident;
use crate::domain::incident::event::{Event, ToldWhy};
use crate::domain::time::{Timestamp, show_span};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often those who were paged hear that it still flaps.
const SUMMARY_EVERY: Duration = Duration::from_secs(3600);

/// More than so many changes between firing and silent within a span are flapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flapping {
    pub changes: u32,
    pub within_ms: u64,
}

impl Flapping {
    pub fn within(self) -> Duration {
        Duration::from_millis(self.within_ms)
    }
}

/// The last changes of an incident between firing and silent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Changes {
    /// The last ones, one more than it takes at the most.
    recent: Vec<Timestamp>,
    marked: Option<Marked>,
}

#[derive(Clone, Debug, PartialEq)]
struct Marked {
    since: Timestamp,
    told_at: Timestamp,
    /// Since it was told last.
    n_changes: u32,
}

impl Changes {
    /// It began to fire, or fell silent.
    pub(super) fn add(&mut self, rule: Flapping, at: Timestamp) {
        let most = usize::try_from(rule.changes)
            .unwrap_or(usize::MAX)
            .saturating_add(1);
        self.recent.push(at);
        let excess = self.recent.len().saturating_sub(most);
        self.recent.drain(..excess);
        if let Some(marked) = &mut self.marked {
            marked.n_changes = marked.n_changes.saturating_add(1);
        }
    }

    pub(super) fn began(&mut self, at: Timestamp) {
        self.marked = Some(Marked {
            since: at,
            told_at: at,
            n_changes: 0,
        });
    }

    pub(super) fn ended(&mut self) {
        *self = Self::default();
    }

    pub(super) fn told(&mut self, at: Timestamp) {
        if let Some(marked) = &mut self.marked {
            marked.told_at = at;
            marked.n_changes = 0;
        }
    }

    pub(super) fn clock_jumped(&mut self, by_ms: i64) {
        let shift = |at: &mut Timestamp| *at = at.shifted(by_ms);
        self.recent.iter_mut().for_each(shift);
        if let Some(marked) = &mut self.marked {
            shift(&mut marked.since);
            shift(&mut marked.told_at);
        }
    }
}

impl Incident {
    /// It fires and falls silent again and again.
    pub fn is_flapping(&self) -> bool {
        self.changes.marked.is_some()
    }

    /// When it has settled, if nothing changes any more.
    fn settles_at(&self) -> Option<Timestamp> {
        let within = self.opened.flapping?.within();
        let last = self.changes.recent.last()?;
        self.is_flapping().then(|| last.plus(within))
    }

    fn summary_at(&self) -> Option<Timestamp> {
        let marked = self.changes.marked.as_ref()?;
        (marked.n_changes > 0).then(|| marked.told_at.plus(SUMMARY_EVERY))
    }

    /// When flapping has something to do by itself.
    pub(super) fn flapping_next_at(&self) -> Option<Timestamp> {
        let due = [self.settles_at(), self.summary_at()];
        due.into_iter().flatten().min()
    }

    pub(super) fn due_flapping(&self, now: Timestamp) -> Vec<Event> {
        let Some(rule) = self.opened.flapping else {
            return Vec::new();
        };
        if !self.is_open() {
            return Vec::new();
        }
        if self.settles_at().is_some_and(|at| at <= now) {
            return vec![Event::FlappingEnded];
        }
        if !self.is_flapping() {
            return match self.changes_too_often(rule, now) {
                true => vec![Event::FlappingBegan {
                    changes: rule.changes,
                    within_ms: rule.within_ms,
                }],
                false => Vec::new(),
            };
        }
        if self.summary_at().is_none_or(|at| at > now) {
            return Vec::new();
        }
        let marked = self.changes.marked.iter();
        let note = marked.map(|marked| {
            let since = show_span(now.since(marked.told_at));
            let state = match self.is_silent() {
                true => "silent",
                false => "firing",
            };
            format!(
                "still flapping: {} changes between firing and silent in {since}, {state} now",
                marked.n_changes
            )
        });
        let note: String = note.collect();
        vec![Event::Told {
            why: ToldWhy::Flapping,
            pages: self.updates(self.paged(), &note, now),
        }]
    }

    fn changes_too_often(&self, rule: Flapping, now: Timestamp) -> bool {
        let recent = &self.changes.recent;
        let is_recent = |at: &&Timestamp| now.since(**at) < rule.within();
        let n_recent = recent.iter().filter(is_recent).count();
        u32::try_from(n_recent).unwrap_or(u32::MAX) > rule.changes
    }
}
