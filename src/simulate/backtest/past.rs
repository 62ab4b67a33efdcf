//! What happened: what alerts said at any time, and what people did with incidents.

use crate::domain::alert::{Alert, Fingerprint, Labels, Status};
use crate::domain::incident::event::WATCHKEEPER;
use crate::domain::incident::{Entry, Event, Incident};
use crate::domain::time::Timestamp;
use crate::simulate::backtest::Ended;
use crate::simulate::backtest::ahead::{self, Ahead, Happened, Told};
use crate::simulate::backtest::sums::{Brief, Names, Span};
use crate::store::history::{self, Standing};
use crate::store::records::{Change, Reworded, Transition, Turns, Was};
use crate::store::{Error, Store};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{self, Scope};

/// Alerts of one span.
pub(super) const ALERTS_MAX: usize = 5_000_000;

/// Alerts by which an incident is known again under another key.
const JOINED_MAX: usize = 16;

/// What is remembered of an alert of the span.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// The key of the incident that it last belonged to.
    pub(super) key: Option<u32>,
    /// That incident, as far as time has come.
    pub(super) live: Option<u64>,
    /// The incident that the first thing that became of it in the span is of.
    pub(super) first_of: Option<u64>,
    /// The key that it last came to in a replay.
    pub(super) came_to: Option<u32>,
}

/// The alerts of a span, in the order in which they are first heard of.
#[derive(Debug, Default)]
pub(super) struct Alerts {
    places: Places,
    known: Vec<(Fingerprint, Known)>,
}

#[expect(
    clippy::disallowed_types,
    reason = "asked several times for each of millions of alerts, and never gone through"
)]
type Places = std::collections::HashMap<Fingerprint, usize>;

impl Alerts {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn contains(&self, fingerprint: Fingerprint) -> bool {
        self.places.contains_key(&fingerprint)
    }

    pub(super) fn get(&self, fingerprint: Fingerprint) -> Option<&Known> {
        let place = self.places.get(&fingerprint)?;
        self.known.get(*place).map(|(_, known)| known)
    }

    pub(super) fn get_mut(&mut self, fingerprint: Fingerprint) -> Option<&mut Known> {
        let place = self.places.get(&fingerprint)?;
        self.known.get_mut(*place).map(|(_, known)| known)
    }

    fn entry(&mut self, fingerprint: Fingerprint, new: impl FnOnce() -> Known) -> &mut Known {
        let place = *self.places.entry(fingerprint).or_insert(self.known.len());
        if place == self.known.len() {
            self.known.push((fingerprint, new()));
        }
        let (_, known) = self.known.get_mut(place).expect("each place is taken");
        known
    }

    /// What is wanted of each, in order of their fingerprints.
    pub(super) fn sorted<T>(&self, wanted: impl Fn(&Known) -> Option<T>) -> Vec<(Fingerprint, T)> {
        let wanted = self
            .known
            .iter()
            .filter_map(|(of, known)| Some((*of, wanted(known)?)));
        let mut wanted: Vec<(Fingerprint, T)> = wanted.collect();
        wanted.sort_unstable_by_key(|(of, _)| *of);
        wanted
    }

    /// As before anything was replayed.
    pub(super) fn rewind(&mut self) {
        for (_, known) in &mut self.known {
            known.live = None;
            known.came_to = None;
        }
    }
}

/// An alert that fired before the span began, and belonged to no incident.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lasted {
    pub(super) held: bool,
    /// It had not been heard of for long.
    pub(super) stale: bool,
    /// When it began, as far as that is known.
    pub(super) starts_at: Option<Timestamp>,
}

/// A first look through the transitions of the span.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) alerts: Alerts,
    pub(super) lasted: BTreeMap<Fingerprint, Lasted>,
    /// Of alerts that changed their words in the span, what they said before the first time.
    before: BTreeMap<Fingerprint, Before>,
    pub(super) n_transitions: u64,
    pub(super) n_fired: u64,
    /// How often one that fired joined an incident, or waited for it.
    pub(super) n_joined: u64,
}

#[derive(Debug, Default)]
struct Before {
    annotations: BTreeMap<String, Option<String>>,
    attributes: BTreeMap<String, Option<String>>,
}

impl Survey {
    /// With everything that had lasted when the span began, also such as nothing became of in it.
    pub(super) fn of_all(
        history: &Store,
        span: Span,
        names: &mut Names,
        goes_on: &mut dyn FnMut(u64) -> Result<(), Ended>,
    ) -> Result<Self, Ended> {
        thread::scope(|scope| {
            let mut lasting = ahead::lasting(scope, history, span.since);
            let mut survey = Self::of(history, span, names, goes_on)?;
            while let Some(some) = lasting.next()? {
                survey.add_unheard(some);
                goes_on(survey.n_transitions)?;
            }
            Ok(survey)
        })
    }

    pub(super) fn of(
        history: &Store,
        span: Span,
        names: &mut Names,
        goes_on: &mut dyn FnMut(u64) -> Result<(), Ended>,
    ) -> Result<Self, Ended> {
        let mut survey = Self::default();
        let mut keys: BTreeMap<u64, Option<u32>> = BTreeMap::new();
        thread::scope(|scope| {
            let mut ahead = ahead::transitions(scope, history, span, false);
            while let Some(Told { some, .. }) = ahead.next()? {
                for (_, transition) in &some {
                    if let Some(number) = transition.incident
                        && !keys.contains_key(&number)
                    {
                        let head = history.read(|reader| reader.head(number))?;
                        let key = head.and_then(|head| head.dedup_key);
                        keys.insert(number, key.map(|key| names.number(&key)));
                    }
                    let key = transition.incident.and_then(|number| *keys.get(&number)?);
                    survey.add(transition, key);
                }
                if survey.alerts.len() > ALERTS_MAX {
                    return Err(Ended::TooManyAlerts);
                }
                goes_on(survey.n_transitions)?;
            }
            Ok(survey)
        })
    }

    /// Alerts that lasted and of which the span may say nothing.
    fn add_unheard(&mut self, some: Vec<(Fingerprint, Standing)>) {
        for (fingerprint, standing) in some {
            if !self.alerts.contains(fingerprint) {
                let lasted = Lasted {
                    held: standing.held_by.is_some(),
                    stale: standing.status == Status::Stale,
                    starts_at: None,
                };
                self.lasted.insert(fingerprint, lasted);
            }
        }
    }

    fn add(&mut self, transition: &Transition, key: Option<u32>) {
        self.n_transitions += 1;
        if transition.change == Change::Fired {
            let joins = transition.incident.is_some() || transition.status == Status::Pending;
            self.n_fired += 1;
            self.n_joined += u64::from(joins);
        }
        let fingerprint = transition.fingerprint;
        if !self.alerts.contains(fingerprint) {
            self.lasted
                .extend(lasted(transition).map(|lasted| (fingerprint, lasted)));
        }
        let known = self.alerts.entry(fingerprint, || Known {
            first_of: transition.incident,
            ..Known::default()
        });
        known.key = key.or(known.key);
        if let Some(reworded) = &transition.reworded {
            let before = self.before.entry(fingerprint).or_default();
            first_turns(&mut before.annotations, &reworded.annotations);
            first_turns(&mut before.attributes, &reworded.attributes);
        }
    }
}

/// How an alert stood of which this is the first that is known, where it fired before and belonged to no incident. One that comes to an
/// incident without saying anything waited, or was held by a cause.
fn lasted(first: &Transition) -> Option<Lasted> {
    let did_last = match (first.was, first.change) {
        (Some(_), _) => true,
        (None, Change::Fired) => false,
        (None, Change::Changed) if first.reworded.is_none() => true,
        (None, Change::Changed | Change::Resolved | Change::Stale) => first.incident.is_none(),
    };
    did_last.then(|| Lasted {
        held: first.was == Some(Was::Held),
        stale: first.status == Status::Stale && first.change != Change::Stale,
        starts_at: first.starts_at.filter(|_| first.change != Change::Fired),
    })
}

fn first_turns(before: &mut BTreeMap<String, Option<String>>, turns: &Turns) {
    for (name, (said, _)) in turns {
        if !before.contains_key(name) {
            before.insert(name.clone(), said.clone());
        }
    }
}

/// What alerts that changed their words said, as far as time has come.
#[derive(Debug, Default)]
pub(super) struct Words(BTreeMap<Fingerprint, (Labels, Labels)>);

impl Words {
    /// The alert as it was, of how it is remembered.
    pub(super) fn then(
        &mut self,
        survey: &Survey,
        fingerprint: Fingerprint,
        mut alert: Alert,
    ) -> Alert {
        let Some(before) = survey.before.get(&fingerprint) else {
            return alert;
        };
        let (annotations, attributes) = self.0.entry(fingerprint).or_insert_with(|| {
            (
                patched(&alert.annotations, before.annotations.iter()),
                patched(&alert.attributes, before.attributes.iter()),
            )
        });
        alert.annotations = annotations.clone();
        alert.attributes = attributes.clone();
        alert
    }

    /// The same once it has changed its words.
    pub(super) fn reworded(
        &mut self,
        survey: &Survey,
        fingerprint: Fingerprint,
        alert: Alert,
        reworded: &Reworded,
    ) -> Alert {
        let mut alert = self.then(survey, fingerprint, alert);
        let after = |turns: &Turns, labels: &Labels| {
            patched(labels, turns.iter().map(|(name, (_, after))| (name, after)))
        };
        alert.annotations = after(&reworded.annotations, &alert.annotations);
        alert.attributes = after(&reworded.attributes, &alert.attributes);
        let words = (alert.annotations.clone(), alert.attributes.clone());
        self.0.insert(fingerprint, words);
        alert
    }
}

fn patched<'a>(
    labels: &Labels,
    patch: impl Iterator<Item = (&'a String, &'a Option<String>)>,
) -> Labels {
    let patch: BTreeMap<&str, Option<&str>> = patch
        .map(|(name, text)| (name.as_str(), text.as_deref()))
        .collect();
    let kept = labels.iter().filter(|(name, _)| !patch.contains_key(name));
    let patched = patch
        .iter()
        .filter_map(|(name, text)| Some((*name, (*text)?)));
    kept.chain(patched).collect()
}

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
        let mut ahead = ahead::incidents(scope, history, span, numbers);
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
