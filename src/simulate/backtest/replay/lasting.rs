//! What lasted when the span began, beside the incidents that were open: alerts that waited, such as a cause held, and such as no rule
//! had opened.

use crate::domain::alert::{Alert, Fingerprint, Outcome, Routed, Status};
use crate::domain::time::Timestamp;
use crate::simulate::backtest::Ended;
use crate::simulate::backtest::past::{Lasted, Survey, Words};
use crate::simulate::backtest::replay::{Replay, Says, Stands, Step, TOGETHER_MAX, stands_of};
use crate::simulate::backtest::sums::{Names, Span};
use crate::store::history::{self, Place};
use crate::store::records::{Change, Transition};
use crate::store::replay::{self, Waits};
use crate::store::{Error, InForce, Reader, Tx};
use std::collections::{BTreeMap, BTreeSet};

/// An alert that waits.
struct Waiting {
    since: Timestamp,
    starts_at: Timestamp,
    outcome: Option<Outcome>,
    incident: Option<u64>,
    /// None where it waits for nothing under the rules that are tried.
    waits: Option<Waits>,
}

/// What a transition means for those that wait.
struct Turn {
    at: Timestamp,
    fingerprint: Fingerprint,
    what: What,
}

enum What {
    Begins {
        then: Box<Alert>,
        /// The incident that it belongs to all the same, and the key of that.
        of: Option<(u64, Option<String>)>,
    },
    LeavesOff,
    HasWaited,
}

/// What was said shortly before the span.
struct Shortly {
    survey: Survey,
    words: Words,
}

impl Replay<'_> {
    /// Takes over what lasted, besides what is `seeded`.
    pub(super) fn carry_lasting(&mut self, mut seeded: BTreeSet<Fingerprint>) -> Result<(), Ended> {
        self.standing = self.in_force.rules.standing(self.at);
        let mut told = self.carry_waiting(&mut seeded)?;
        let lasted = self.past.survey.lasted.iter();
        let lasted = lasted.filter(|(fingerprint, _)| !seeded.contains(fingerprint));
        let lasted = lasted.map(|(fingerprint, lasted)| (*fingerprint, *lasted));
        let (held, unopened): (Vec<_>, Vec<_>) = lasted.partition(|(_, lasted)| lasted.held);
        let (unheard, unopened): (Vec<_>, Vec<_>) = unopened
            .into_iter()
            .partition(|(_, lasted)| self.is_unheard(lasted));
        told.extend(unopened.into_iter().map(|(fingerprint, _)| fingerprint));
        for some in unheard.chunks(TOGETHER_MAX) {
            self.carry_unheard(some)?;
        }
        // What was held may hold others, and is there before any of them is looked at.
        for some in held.chunks(TOGETHER_MAX) {
            self.carry_held(some)?;
        }
        let told: Vec<Fingerprint> = told.into_iter().collect();
        for some in told.chunks(TOGETHER_MAX) {
            let alerts = self.as_it_began(some)?.into_iter();
            let told = alerts.map(|(of, alert)| (of, false, Says::Fires(Box::new(alert))));
            self.tell(told.collect())?;
        }
        for some in held.chunks(TOGETHER_MAX) {
            self.look_at_held(some)?;
        }
        self.do_due()
    }

    /// These alerts as they were when the span began.
    fn as_it_began(&mut self, some: &[Fingerprint]) -> Result<Vec<(Fingerprint, Alert)>, Ended> {
        let history = self.past.history;
        let known = history.read(|reader| history::alerts(reader, some.iter().copied()))?;
        let then = known.into_iter().map(|(fingerprint, alert)| {
            let mut alert = self.words.then(self.past.survey, fingerprint, alert);
            let lasted = self.past.survey.lasted.get(&fingerprint);
            if let Some(starts_at) = lasted.and_then(|lasted| lasted.starts_at) {
                alert.starts_at = starts_at;
            }
            (fingerprint, alert)
        });
        Ok(then.collect())
    }

    // ---- not heard of since an interval began ----

    /// Whether its being judged again follows from an interval that had begun before the span: nothing was heard of it since.
    fn is_unheard(&self, lasted: &Lasted) -> bool {
        let live = self.past.live;
        lasted
            .judged_again_at
            .is_some_and(|at| live.standing(at) == live.standing(self.past.span.since))
    }

    /// They are judged when they are heard of.
    fn carry_unheard(&mut self, some: &[(Fingerprint, Lasted)]) -> Result<(), Ended> {
        let all: Vec<Fingerprint> = some.iter().map(|(fingerprint, _)| *fingerprint).collect();
        let (mut alerts, at) = (self.as_it_began(&all)?, self.at);
        for (_, alert) in &mut alerts {
            *alert = Alert {
                status: Status::Firing,
                ends_at: None,
                changed_at: at,
                incident: None,
                routed: Routed::Unrouted,
                pending_key: None,
                watch: None,
                // By rules as they stood at some time before.
                judged_by: Some(String::new()),
                held_by: None,
                ..alert.clone()
            };
        }
        let stands = self.transact(move |tx, its, now| {
            let mut stands: Vec<Stands> = Vec::with_capacity(alerts.len());
            for (fingerprint, alert) in alerts {
                replay::put_alert(tx, fingerprint, &alert, its, now)?;
                stands.push(stands_of(tx, fingerprint, false)?);
            }
            Ok(stands)
        })?;
        stands.iter().for_each(|stands| self.note(stands));
        Ok(())
    }

    // ---- held by causes ----

    fn carry_held(&mut self, some: &[(Fingerprint, Lasted)]) -> Result<(), Ended> {
        let held: BTreeMap<Fingerprint, Lasted> = some.iter().copied().collect();
        let all: Vec<Fingerprint> = held.keys().copied().collect();
        let (mut alerts, at) = (self.as_it_began(&all)?, self.at);
        for (fingerprint, alert) in &mut alerts {
            let is_stale = held.get(fingerprint).is_some_and(|lasted| lasted.stale);
            *alert = Alert {
                status: match is_stale {
                    true => Status::Stale,
                    false => Status::Firing,
                },
                ends_at: None,
                changed_at: at,
                incident: None,
                routed: Routed::Open,
                pending_key: None,
                watch: None,
                judged_by: None,
                // By which cause is looked for once all are there.
                held_by: Some(*fingerprint),
                ..alert.clone()
            };
        }
        self.transact(move |tx, its, now| {
            alerts
                .iter()
                .try_for_each(|(of, alert)| replay::put_alert(tx, *of, alert, its, now))
        })
    }

    fn look_at_held(&mut self, some: &[(Fingerprint, Lasted)]) -> Result<(), Ended> {
        let held: Vec<Fingerprint> = some.iter().map(|(fingerprint, _)| *fingerprint).collect();
        let stands = self.transact(move |tx, its, now| {
            let mut stands: Vec<Stands> = Vec::with_capacity(held.len());
            for fingerprint in held {
                replay::look_at_held(tx, fingerprint, its, now)?;
                stands.push(stands_of(tx, fingerprint, false)?);
            }
            Ok(stands)
        })?;
        stands.iter().for_each(|stands| self.note(stands));
        Ok(())
    }

    // ---- that waited ----

    /// Takes over what waited, since when and under which key. Returns which of it waits for nothing under the rules that are tried.
    ///
    /// No key waits longer than the longest that a rule asks for: what was said in as long a time before the span tells it all.
    fn carry_waiting(
        &mut self,
        seeded: &mut BTreeSet<Fingerprint>,
    ) -> Result<BTreeSet<Fingerprint>, Ended> {
        let (history, since, n_done) = (self.past.history, self.past.span.since, self.n_done);
        let of_live = self.past.live.longest_wait();
        let longest = of_live.max(self.in_force.rules.longest_wait());
        if longest.is_zero() {
            return Ok(BTreeSet::new());
        }
        let before = Span {
            since: since.minus(longest),
            until: since.shifted(-1),
        };
        let goes_on = &mut self.past.goes_on;
        let survey = Survey::of(history, before, &mut Names::default(), &mut |_read| {
            goes_on(Step::Replayed(n_done))
        })?;
        let mut shortly = Shortly {
            survey,
            words: Words::default(),
        };
        let mut waiting: BTreeMap<Fingerprint, Waiting> = BTreeMap::new();
        let mut place: Option<Place> = Some(history::transitions_from(before.since));
        while let Some(from) = place {
            let (some, next) =
                history.read(|reader| history::transitions(reader, &from, before.until))?;
            let turns = self.turns(&some, &mut shortly)?;
            waiting = self.transact(move |tx, its, _now| turned(tx, turns, waiting, its))?;
            self.sign()?;
            place = next;
        }
        waiting.retain(|fingerprint, _| !seeded.contains(fingerprint));
        self.wait_on(&mut waiting, seeded, before.since)?;
        self.put_waiting(waiting, seeded)
    }

    /// Adds what has waited for longer than that, under the key that is known of it.
    fn wait_on(
        &mut self,
        waiting: &mut BTreeMap<Fingerprint, Waiting>,
        seeded: &BTreeSet<Fingerprint>,
        since: Timestamp,
    ) -> Result<(), Ended> {
        let waited = self.past.survey.waited.iter();
        let waited: Vec<(Fingerprint, String)> = waited
            .filter(|(of, _)| !waiting.contains_key(of) && !seeded.contains(of))
            .map(|(of, key)| (*of, key.clone()))
            .collect();
        for some in waited.chunks(TOGETHER_MAX) {
            let keys: BTreeMap<Fingerprint, String> = some.iter().cloned().collect();
            let all: Vec<Fingerprint> = keys.keys().copied().collect();
            let alerts = self.as_it_began(&all)?;
            let live = self.past.live;
            let found = self.transact(move |tx, its, _now| {
                let mut found: Vec<(Fingerprint, Waiting)> = Vec::new();
                for (fingerprint, then) in alerts {
                    let Some(key) = keys.get(&fingerprint).cloned() else {
                        continue;
                    };
                    let waits = replay::waits_on(tx, &then, fingerprint, key, live, its, since)?;
                    if waits.is_some() {
                        let waiting = Waiting {
                            since,
                            starts_at: then.starts_at,
                            outcome: then.outcome,
                            incident: None,
                            waits,
                        };
                        found.push((fingerprint, waiting));
                    }
                }
                Ok(found)
            })?;
            for (fingerprint, mut of) in found {
                of.incident = self.waits_in(fingerprint)?;
                waiting.insert(fingerprint, of);
            }
        }
        Ok(())
    }

    /// The incident that an alert that waits belongs to all the same, where that is there.
    fn waits_in(&self, fingerprint: Fingerprint) -> Result<Option<u64>, Error> {
        let first = match self.past.survey.alerts.get(fingerprint) {
            Some(known) => known.first_of,
            None => {
                let read = |reader: &Reader<'_>| reader.alert(fingerprint);
                self.past
                    .history
                    .read(read)?
                    .and_then(|alert| alert.incident)
            }
        };
        let Some(number) = first else { return Ok(None) };
        let head = self.store.read(|reader| reader.head(number))?;
        Ok(head.map(|_there| number))
    }

    fn turns(
        &mut self,
        some: &[(Timestamp, Transition)],
        shortly: &mut Shortly,
    ) -> Result<Vec<Turn>, Ended> {
        let history = self.past.history;
        let said = some.iter().filter(|(_, transition)| {
            transition.reworded.is_some() || transition.status == Status::Pending
        });
        let said = said.map(|(_, transition)| transition.fingerprint);
        let known = history.read(|reader| history::alerts(reader, said))?;
        let mut turns = Vec::new();
        for (at, transition) in some {
            let fingerprint = transition.fingerprint;
            let then = known.get(&fingerprint).map(|alert| {
                let (survey, alert) = (&*self.past.survey, alert.clone());
                let alert = self.words.then(survey, fingerprint, alert);
                let (survey, words) = (&shortly.survey, &mut shortly.words);
                match &transition.reworded {
                    None => words.then(survey, fingerprint, alert),
                    Some(reworded) => words.reworded(survey, fingerprint, alert, reworded),
                }
            });
            let waits = transition.status == Status::Pending;
            let what = match (transition.change, then) {
                (Change::Changed, _) if waits && transition.reworded.is_some() => continue,
                (Change::Fired | Change::Changed, Some(then)) if waits => What::Begins {
                    then: Box::new(Alert {
                        outcome: transition.outcome,
                        starts_at: transition.starts_at.unwrap_or(*at),
                        ..then
                    }),
                    of: self.belongs_to(transition)?,
                },
                (Change::Changed, _) => What::HasWaited,
                (Change::Fired | Change::Resolved | Change::Stale, _) => What::LeavesOff,
            };
            turns.push(Turn {
                at: *at,
                fingerprint,
                what,
            });
        }
        Ok(turns)
    }

    fn belongs_to(&self, transition: &Transition) -> Result<Option<(u64, Option<String>)>, Error> {
        let Some(number) = transition.incident else {
            return Ok(None);
        };
        let head = self.past.history.read(|reader| reader.head(number))?;
        Ok(Some((number, head.and_then(|head| head.dedup_key))))
    }

    fn put_waiting(
        &mut self,
        mut waiting: BTreeMap<Fingerprint, Waiting>,
        seeded: &mut BTreeSet<Fingerprint>,
    ) -> Result<BTreeSet<Fingerprint>, Ended> {
        let all: Vec<Fingerprint> = waiting.keys().copied().collect();
        let (mut told, mut met) = (BTreeSet::new(), BTreeSet::new());
        for some in all.chunks(TOGETHER_MAX) {
            let mut alerts: Vec<(Fingerprint, Alert)> = Vec::new();
            for (fingerprint, alert) in self.as_it_began(some)? {
                let Some(known) = waiting.remove(&fingerprint) else {
                    continue;
                };
                let Some(Waits { key, rule, is_met }) = known.waits else {
                    told.insert(fingerprint);
                    continue;
                };
                seeded.insert(fingerprint);
                if is_met {
                    met.insert(key.clone());
                }
                let alert = Alert {
                    status: Status::Pending,
                    outcome: known.outcome,
                    starts_at: known.starts_at,
                    ends_at: None,
                    changed_at: known.since,
                    incident: known.incident,
                    rule: Some(rule),
                    routed: Routed::Open,
                    pending_key: Some(key),
                    watch: None,
                    judged_by: None,
                    held_by: None,
                    ..alert
                };
                alerts.push((fingerprint, alert));
            }
            let stands = self.transact(move |tx, _its, now| {
                let mut stands: Vec<Stands> = Vec::with_capacity(alerts.len());
                for (fingerprint, alert) in alerts {
                    replay::put_waiting(tx, fingerprint, &alert, now)?;
                    stands.push(stands_of(tx, fingerprint, false)?);
                }
                Ok(stands)
            })?;
            stands.iter().for_each(|stands| self.note(stands));
        }
        for key in met {
            self.transact(move |tx, its, now| replay::is_met(tx, &key, its, now))?;
        }
        Ok(told)
    }
}

/// What waits after all this.
fn turned(
    tx: &mut Tx<'_, '_>,
    turns: Vec<Turn>,
    mut waiting: BTreeMap<Fingerprint, Waiting>,
    in_force: &InForce,
) -> Result<BTreeMap<Fingerprint, Waiting>, Error> {
    for turn in turns {
        let (at, fingerprint) = (turn.at, turn.fingerprint);
        let before = waiting.remove(&fingerprint);
        let waits = before.and_then(|before| before.waits);
        match (turn.what, waits) {
            (What::LeavesOff, Some(waits)) => replay::leaves_off(tx, fingerprint, &waits)?,
            (What::HasWaited, Some(waits)) => replay::has_waited(tx, fingerprint, &waits)?,
            (What::LeavesOff | What::HasWaited, None) => {}
            (What::Begins { then, of }, _) => {
                let (incident, key) = of.unzip();
                let key = key.flatten();
                let waits = replay::begins_to_wait(tx, &then, fingerprint, key, in_force, at)?;
                let begun = Waiting {
                    since: at,
                    starts_at: then.starts_at,
                    outcome: then.outcome,
                    incident,
                    waits,
                };
                waiting.insert(fingerprint, begun);
            }
        }
    }
    Ok(waiting)
}
