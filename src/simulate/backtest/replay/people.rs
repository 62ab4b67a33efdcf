//! What people did with incidents is done with those that stand for them; where nobody did anything, it is taken for granted.

use crate::domain::incident::event::WATCHKEEPER;
use crate::domain::incident::{Event, Incident};
use crate::domain::severity::Profile;
use crate::domain::time::Timestamp;
use crate::simulate::backtest::Ended;
use crate::simulate::backtest::lives::{Act, Live, Of};
use crate::simulate::backtest::replay::Replay;
use crate::store::replay;
use crate::store::{Error, InForce};
use std::time::Duration;

/// Who acknowledges and closes where nobody did.
const ASSUMED: &str = "backtest";

/// Alerts of an incident by which it is known again.
const KNOWN_BY_MAX: usize = 16;

/// What is taken to be done where nobody did it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Assumed {
    Acknowledge,
    Close,
}

impl Replay<'_> {
    /// Does with the incident that stands for another what was done with that.
    pub(super) fn act(&mut self, live: u64, acts: Vec<Act>) -> Result<(), Ended> {
        let Some(number) = self.counterpart(live)? else {
            return Ok(());
        };
        self.pair(live, number);
        self.transact(move |tx, _its, now| {
            for Act { by, event } in acts {
                let applies = tx.with(number, |incident| match &event {
                    Event::Reopened { .. } => !incident.is_open(),
                    // A light one is closed by its own verification.
                    Event::Closed => {
                        let is_own = by == WATCHKEEPER && incident.profile == Profile::Light;
                        incident.is_open() && incident.is_clear() && !is_own
                    }
                    _other => incident.is_open(),
                })?;
                if applies == Some(true) {
                    replay::happens(tx, number, event, &by, now)?;
                }
            }
            Ok(())
        })
    }

    pub(super) fn pair(&mut self, live: u64, number: u64) {
        self.pairs.insert(live, number);
        let last = self.lives.by_number.get(&live);
        if let Some(last) = last.and_then(|live| live.last_act_at) {
            let until = self.done_until.entry(number).or_insert(last);
            *until = last.max(*until);
        }
    }

    /// The incident that stands for one that happened: the same, that of its key, the storm of its team, or one with its alerts.
    fn counterpart(&self, live: u64) -> Result<Option<u64>, Error> {
        let Some(of) = self.lives.by_number.get(&live) else {
            return Ok(None);
        };
        self.store.read(|reader| {
            if let Some(number) = self.pairs.get(&live)
                && reader.head(*number)?.is_some()
            {
                return Ok(Some(*number));
            }
            if reader.head(live)?.is_some() {
                return Ok(Some(live));
            }
            match &of.of {
                Of::Key(key) => {
                    if let Some(holder) = reader.holder(key)? {
                        return Ok(Some(holder.incident));
                    }
                }
                Of::Storm(_team) => {
                    if let Some(storm) = self.storms.get(&of.of)
                        && let Some(incident) = reader.incident(*storm)?
                        && !had_ended(&incident, of.opened_at)
                    {
                        return Ok(Some(*storm));
                    }
                }
            }
            for fingerprint in &of.joined {
                // What left a storm is of an incident of its own, with which people did something of its own.
                let known = self.past.survey.alerts.get(*fingerprint);
                let has_left = known.is_some_and(|known| known.live != Some(live));
                if has_left && matches!(of.of, Of::Storm(_)) {
                    continue;
                }
                let alert = reader.alert(*fingerprint)?;
                if let Some(number) = alert.and_then(|alert| alert.incident)
                    && reader.head(number)?.is_some_and(|head| head.open)
                {
                    return Ok(Some(number));
                }
            }
            Ok(None)
        })
    }

    /// Until when one of the incidents that this one stands for is so: of each whether it is, and when that changes. None where none is;
    /// where that never changes, there is no instant. As long as one is so, the others need not be asked.
    fn until(
        &self,
        incident: &Incident,
        is_so: impl Fn(&Live) -> Option<Option<Timestamp>>,
    ) -> Option<Option<Timestamp>> {
        let own = std::iter::once(incident.number());
        let by_key = Of::by(&incident.opened);
        let by_key = by_key.and_then(|of| self.lives.by_of.get(&of).copied());
        let members = incident.members.after(None, KNOWN_BY_MAX);
        let by_alert = members.filter_map(|(of, _)| self.past.survey.alerts.get(of)?.live);
        own.chain(by_key)
            .chain(by_alert)
            .filter_map(|number| self.lives.by_number.get(&number))
            .find_map(is_so)
    }

    /// Whether anything was done.
    pub(super) fn assume(&mut self, number: u64, assumed: Assumed) -> Result<bool, Ended> {
        let Some(incident) = self.store.read(|reader| reader.incident(number))? else {
            return Ok(false);
        };
        let now = self.at;
        let is_asked = match assumed {
            Assumed::Acknowledge => {
                incident.acknowledged.is_none() && !incident.is_clear() && incident.urgency.pages()
            }
            Assumed::Close => incident.is_clear() && incident.profile == Profile::Full,
        };
        if !incident.is_open() || !is_asked {
            return Ok(false);
        }
        let (left, event) = match assumed {
            Assumed::Acknowledge => (
                self.until(&incident, |live| {
                    live.waited(now).then(|| live.waits_until(now))
                }),
                Event::Acknowledged,
            ),
            Assumed::Close => (
                self.until(&incident, |live| {
                    live.is_open(now).then_some(live.closed_at)
                }),
                Event::Closed,
            ),
        };
        // Nobody had done it by then; it is asked again once somebody has.
        if let Some(until) = left {
            let again = until.map(|at| (at.max(now).shifted(1), number, assumed));
            self.assumed.extend(again);
            return Ok(false);
        }
        if assumed == Assumed::Close {
            let clear_for = incident
                .clear_since
                .map_or(Duration::ZERO, |at| now.since(at));
            if clear_for < window_of(&incident, &self.in_force) {
                return Ok(false);
            }
        }
        self.transact(move |tx, _its, now| replay::happens(tx, number, event, ASSUMED, now))?;
        Ok(true)
    }
}

/// A storm was over before an instant.
fn had_ended(storm: &Incident, at: Timestamp) -> bool {
    let over_at = storm.storm().and_then(|storm| storm.over_at);
    over_at.is_some_and(|over| over < at)
}

fn window_of(incident: &Incident, in_force: &InForce) -> Duration {
    match &incident.opened.verification {
        Some(plan) => plan.window,
        None => {
            let processes = &in_force.book.processes;
            processes.of(incident.severity).verification.window
        }
    }
}
