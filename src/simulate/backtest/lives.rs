//! The incidents that happened: when somebody was waited for, and what people did with them.

use crate::domain::alert::Fingerprint;
use crate::domain::incident::event::{Opened as Opening, WATCHKEEPER};
use crate::domain::incident::{Entry, Event, Incident};
use crate::domain::time::Timestamp;
use crate::simulate::backtest::ahead::{self, Ahead, Happened};
use crate::simulate::backtest::sums::{Brief, Span};
use crate::store::{Error, Store, history};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::Scope;
use std::time::Duration;

/// Alerts by which an incident is known again under another key.
const JOINED_MAX: usize = 16;

/// Which alerts come to an incident: those of a key, or those of a team while it has a storm.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Of {
    Key(Arc<str>),
    Storm(Option<Arc<str>>),
}

impl Of {
    /// None of an incident to which no alert comes.
    pub(super) fn by(opened: &Opening) -> Option<Self> {
        let key = opened.dedup_key.as_deref().map(Arc::from).map(Self::Key);
        let team = || opened.team.as_deref().map(Arc::from);
        key.or_else(|| opened.storm.map(|_cap| Self::Storm(team())))
    }
}

/// An incident that happened.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) of: Of,
    pub(super) opened_at: Timestamp,
    /// Its first alerts.
    pub(super) joined: Vec<Fingerprint>,
    pub(super) closed_at: Option<Timestamp>,
    /// When somebody last did something with it.
    pub(super) last_act_at: Option<Timestamp>,
    /// Since when somebody who was called was waited for, and since when not.
    waits: Vec<(Timestamp, bool)>,
}

impl Live {
    pub(super) fn of(entries: &[Entry], of: Of) -> Self {
        let mut live = Self {
            of,
            opened_at: entries.first().map_or(Timestamp::EPOCH, |first| first.at),
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
        // People call somebody also where paging has not started.
        let mut has_called = false;
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
            has_called |= calls(&entry.event);
            let waits = incident.as_ref().is_some_and(|incident| {
                incident.is_open()
                    && incident.acknowledged.is_none()
                    && !incident.is_clear()
                    && incident.urgency.pages()
                    && has_called
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
    /// The last one.
    pub(super) by_of: BTreeMap<Of, u64>,
    pub(super) last_number: u64,
    /// When the span begins.
    since: Timestamp,
}

impl Lives {
    /// Those that were open in the span or of which something happened in it, or `shortly` before it.
    pub(super) fn of<'s>(
        scope: &'s Scope<'s, '_>,
        history: &'s Store,
        span: Span,
        shortly: Duration,
    ) -> Result<Self, Error> {
        let from_then = span.since.minus(shortly);
        let (mut numbers, mut last_number) = (Vec::new(), 0);
        let mut from = Some(0);
        while let Some(first) = from {
            let (heads, next) = history.read(|reader| history::heads(reader, first))?;
            for (number, head) in heads {
                last_number = number.max(last_number);
                let is_wanted = head.open
                    || history
                        .read(|reader| history::last_written(reader, number))?
                        .is_some_and(|last| last >= from_then);
                if is_wanted {
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
            by_of: BTreeMap::new(),
            since: span.since,
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
        let (number, live) = (happened.number, happened.live);
        let acts = happened.acts.into_iter();
        self.acts
            .extend(acts.map(|(at, seq, act)| ((at, number, seq), act)));
        let is_of_span = was_open_since(live.closed_at, self.since);
        self.by_of.insert(live.of.clone(), number);
        self.by_number.insert(number, live);
        Ok(Some(Opened {
            brief: happened.brief.filter(|_| is_of_span),
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

/// Whether somebody is called from then on.
fn calls(event: &Event) -> bool {
    match event {
        Event::PagingStarted { .. } | Event::StepRan { .. } | Event::Exhausted { .. } => true,
        Event::TookOver { over, .. } => over.stood_at.is_some(),
        _other => false,
    }
}

/// Whether an incident was open at an instant or after it. One that was not is nothing of a span that began then.
pub(super) fn was_open_since(closed_at: Option<Timestamp>, since: Timestamp) -> bool {
    closed_at.is_none_or(|closed| closed >= since)
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
