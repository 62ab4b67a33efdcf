//! What happened: what alerts said at any time.

use crate::domain::alert::{Alert, Fingerprint, Labels, Status};
use crate::domain::time::Timestamp;
use crate::simulate::backtest::Ended;
use crate::simulate::backtest::ahead::{self, Told};
use crate::simulate::backtest::sums::{Names, Span};
use crate::store::Store;
use crate::store::history::{self, Standing};
use crate::store::records::{Change, Reworded, Transition, Turns, Was};
use std::collections::{BTreeMap, VecDeque};
use std::thread;

/// Alerts of one span.
pub(super) const ALERTS_MAX: usize = 5_000_000;

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
    /// No rule had opened it, and it was judged again then before anything else became of it.
    pub(super) judged_again_at: Option<Timestamp>,
}

/// A first look through the transitions of the span.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) alerts: Alerts,
    pub(super) lasted: BTreeMap<Fingerprint, Lasted>,
    /// Of those, under which key they waited, as far as that is known.
    pub(super) waited: BTreeMap<Fingerprint, String>,
    /// When an alert that no rule had opened was last judged again.
    pub(super) judged_again: BTreeMap<Fingerprint, Timestamp>,
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
            // All alerts are looked through: that takes longer than the rest, and so is done from two ends.
            let mut lasting = VecDeque::new();
            for half in history::halves_of_alerts() {
                lasting.push_back(ahead::lasting(scope, history, half, span.since)?);
            }
            let mut survey = Self::of(history, span, names, goes_on)?;
            while let Some(mut half) = lasting.pop_front() {
                if let Some(some) = half.next()? {
                    survey.add_unheard(some);
                    goes_on(survey.n_transitions)?;
                    lasting.push_back(half);
                }
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
            let mut ahead = ahead::transitions(scope, history, span, false)?;
            while let Some(Told { some, .. }) = ahead.next()? {
                for (at, transition) in &some {
                    if let Some(number) = transition.incident
                        && !keys.contains_key(&number)
                    {
                        let head = history.read(|reader| reader.head(number))?;
                        let key = head.and_then(|head| head.dedup_key);
                        keys.insert(number, key.map(|key| names.number(&key)));
                    }
                    let key = transition.incident.and_then(|number| *keys.get(&number)?);
                    survey.add(*at, transition, key);
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
                    judged_again_at: None,
                };
                self.lasted.insert(fingerprint, lasted);
                let waited = standing.pending_key.map(|key| (fingerprint, key));
                self.waited.extend(waited);
            }
        }
    }

    fn add(&mut self, at: Timestamp, transition: &Transition, key: Option<u32>) {
        self.n_transitions += 1;
        if transition.change == Change::Fired {
            let joins = transition.incident.is_some() || transition.status == Status::Pending;
            self.n_fired += 1;
            self.n_joined += u64::from(joins);
        }
        let fingerprint = transition.fingerprint;
        if !self.alerts.contains(fingerprint) {
            self.lasted
                .extend(lasted(at, transition).map(|lasted| (fingerprint, lasted)));
            let waited = transition.waited.clone().map(|key| (fingerprint, key));
            self.waited.extend(waited);
        }
        if transition.was == Some(Was::Unopened) {
            self.judged_again.insert(fingerprint, at);
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
fn lasted(at: Timestamp, first: &Transition) -> Option<Lasted> {
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
        // Where it says something else, that may be why.
        judged_again_at: (first.was == Some(Was::Unopened) && first.reworded.is_none())
            .then_some(at),
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
