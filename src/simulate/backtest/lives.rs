//! The incidents that happened: when somebody was waited for, and what people did with them.

use crate::domain::alert::Fingerprint;
use crate::domain::incident::event::WATCHKEEPER;
use crate::domain::incident::{Entry, Event, Incident};
use crate::domain::time::Timestamp;
use crate::simulate::backtest::ahead::{self, Ahead, Happened};
use crate::simulate::backtest::sums::{Brief, Span};
use crate::store::{Error, Store, history};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::Scope;

/// Alerts by which an incident is known again under another key.
const JOINED_MAX: usize = 16;

/// An incident that happened.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) dedup_key: Arc<str>,
    /// Its first alerts.
    pub(super) joined: Vec<Fingerprint>,
    pub(super) closed_at: Option<Timestamp>,
    /// When somebody last did something with it.
    pub(super) last_act_at: Option<Timestamp>,
    /// Since when somebody who was called was waited for, and since when not.
    waits: Vec<(Timestamp, bool)>,
}

impl Live {
    pub(super) fn of(entries: &[Entry], dedup_key: Arc<str>) -> Self {
        let mut live = Self {
            dedup_key,
            joined: Vec::new(),
            closed_at: None,
            last_act_at: entries
                .iter()
                .rev()
                .find(|entry| is_act(entry))
                .map(|entry| entry.at),
            waits: Vec::new(),
        };
        let mut incident: Option<Incident> = None;
        for entry in entries {
            match &mut incident {
                None => incident = Incident::replay([entry]),
                Some(incident) => incident.catch_up(std::slice::from_ref(entry)),
            }
            if let Event::AlertJoined { fingerprint, .. } = &entry.event
                && live.joined.len() < JOINED_MAX
            {
                live.joined.push(*fingerprint);
            }
            let waits = incident.as_ref().is_some_and(|incident| {
                incident.is_open()
                    && incident.acknowledged.is_none()
                    && !incident.is_clear()
                    && incident.urgency.pages()
                    && incident.paging.start > 0
            });
            if live.waits.last().map(|(_, waits)| *waits) != Some(waits) {
                live.waits.push((entry.at, waits));
            }
        }
        live.closed_at = incident.and_then(|incident| incident.closed_at);
        live
    }

    /// Whether somebody was called until an instant and had not acknowledged it.
    pub(super) fn waited(&self, until: Timestamp) -> bool {
        let waits = |at: Timestamp| {
            let before = self.waits.partition_point(|(since, _)| *since <= at);
            let last = before.checked_sub(1).and_then(|last| self.waits.get(last));
            last.is_some_and(|(_, waits)| *waits)
        };
        waits(until) || waits(until.shifted(-1))
    }

    /// When that changes after an instant; none where it never does.
    pub(super) fn waits_until(&self, at: Timestamp) -> Option<Timestamp> {
        let next = self.waits.partition_point(|(since, _)| *since <= at);
        let changes = self.waits.get(next).map(|(since, _)| *since);
        // What it has just come from is looked at once more.
        let has_ended = !self.waits.get(..next)?.last()?.1;
        if has_ended { Some(at) } else { changes }
    }

    pub(super) fn is_open(&self, at: Timestamp) -> bool {
        self.closed_at.is_none_or(|closed| closed > at)
    }
}

/// What somebody did with an incident, or that it was closed.
#[derive(Clone, Debug)]
pub(super) struct Act {
    pub(super) by: String,
    pub(super) event: Event,
}

/// An incident that time has come to.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) brief: Option<Brief>,
    pub(super) before: Vec<Entry>,
}

/// The incidents that happened, as far as time has come.
#[derive(Debug)]
pub(super) struct Lives {
    /// Those to come.
    ahead: Ahead<Happened>,
    next: Option<Happened>,
    acts: BTreeMap<(Timestamp, u64, u64), Act>,
    pub(super) by_number: BTreeMap<u64, Live>,
    pub(super) by_key: BTreeMap<Arc<str>, u64>,
    pub(super) last_number: u64,
}

impl Lives {
    /// Those of which something happened in the span, or that were open in it.
    pub(super) fn of<'s>(
        scope: &'s Scope<'s, '_>,
        history: &'s Store,
        span: Span,
    ) -> Result<Self, Error> {
        let (mut numbers, mut last_number) = (Vec::new(), 0);
        let mut from = Some(0);
        while let Some(first) = from {
            let (heads, next) = history.read(|reader| history::heads(reader, first))?;
            for (number, head) in heads {
                last_number = number.max(last_number);
                let is_in_span = head.dedup_key.is_some()
                    && (head.open
                        || history
                            .read(|reader| history::last_written(reader, number))?
                            .is_some_and(|last| last >= span.since));
                if is_in_span {
                    numbers.push(number);
                }
            }
            from = next;
        }
        let mut ahead = ahead::incidents(scope, history, span, numbers)?;
        Ok(Self {
            next: ahead.next()?,
            ahead,
            acts: BTreeMap::new(),
            by_number: BTreeMap::new(),
            by_key: BTreeMap::new(),
            last_number,
        })
    }

    /// The next that opened before an instant: what is said of it, and its log before the span.
    pub(super) fn opened_before(&mut self, before: Timestamp) -> Result<Option<Opened>, Error> {
        let opened_at = self.opens_at();
        if opened_at.is_none_or(|at| at >= before) {
            return Ok(None);
        }
        let Some(happened) = std::mem::replace(&mut self.next, self.ahead.next()?) else {
            return Ok(None);
        };
        let number = happened.number;
        if let Some(live) = happened.live {
            let acts = happened.acts.into_iter();
            self.acts
                .extend(acts.map(|(at, seq, act)| ((at, number, seq), act)));
            self.by_key.insert(Arc::clone(&live.dedup_key), number);
            self.by_number.insert(number, live);
        }
        Ok(Some(Opened {
            brief: happened.brief,
            before: happened.before,
        }))
    }

    /// When the next one opens.
    pub(super) fn opens_at(&self) -> Option<Timestamp> {
        self.next.as_ref().map(|next| next.opened_at)
    }

    pub(super) fn acts_at(&self) -> Option<Timestamp> {
        self.acts.first_key_value().map(|((at, ..), _)| *at)
    }

    /// What somebody did next, with which incident: all of it that nothing came between.
    pub(super) fn next_acts(&mut self, until: Timestamp) -> Option<(u64, Vec<Act>)> {
        let (at, number, mut seq) = *self.acts.first_key_value()?.0;
        if at > until {
            return None;
        }
        let mut acts = Vec::new();
        while let Some(act) = self.acts.remove(&(at, number, seq)) {
            acts.push(act);
            seq += 1;
        }
        Some((number, acts))
    }
}

/// What no rule decides: that people did something, and that an incident was closed.
pub(super) fn is_act(entry: &Entry) -> bool {
    match &entry.event {
        Event::Closed => true,
        Event::Opened(_)
        | Event::AlertJoined { .. }
        | Event::AlertFired { .. }
        | Event::AlertRejudged { .. }
        | Event::AlertResolved { .. }
        | Event::AlertWentStale { .. }
        | Event::Cleared { .. }
        | Event::FiredAgain { .. }
        | Event::FlappingBegan { .. }
        | Event::FlappingEnded
        | Event::StormGrew { .. }
        | Event::StormEnded
        | Event::TookOver { .. }
        | Event::Recurred { .. }
        | Event::PagingStarted { .. }
        | Event::StepRan { .. }
        | Event::StepReachedNobody { .. }
        | Event::Exhausted { .. }
        | Event::Paged { .. }
        | Event::Told { .. }
        | Event::Attempted { .. }
        | Event::Hastened { .. }
        | Event::PagesDropped { .. }
        | Event::Muted { .. }
        | Event::Unmuted
        | Event::PagesMuted { .. }
        | Event::ClockJumped { .. } => false,
        _by_people => entry.by != WATCHKEEPER,
    }
}
