//! Following the clock: a wall clock that was set moves every wait with it, and what it shows and when reports could come in is kept
//! for the next start.

use crate::domain::incident::Command;
use crate::domain::incident::event::WATCHKEEPER;
use crate::domain::time::{Moment, Timestamp};
use crate::engine::{Engine, LOOKS_EVERY, is_time, stuck};
use crate::store::engine::Class;
use crate::store::{
    Error, InForce, lists, pending, quarantine, seen_clock, served, silences, storms, unrefused,
};
use std::collections::VecDeque;
use std::time::Duration;

/// A wall clock that is off by more than this was set, and did not drift.
const JUMP: i64 = 60_000;

/// How often it is kept what the wall clock shows. A clock that is behind at the start delays what waits by no more.
pub const CLOCK_KEPT_EVERY: Duration = Duration::from_secs(600);

/// How often a process that shares its store says that it takes reports. The others may be down, and it too in a moment.
const SERVING_KEPT_EVERY: Duration = Duration::from_secs(10);

/// Whoever serves says so far more often than this: time that is longer was not served. A process alone knows of itself when it
/// began, and so when it was not there.
const SERVING_SLACK: Duration = Duration::from_secs(30);
const SERVING_SLACK_ALONE: Duration = CLOCK_KEPT_EVERY.saturating_mul(2);

/// After the wall clock was set forth nothing is swept for so long: it may be wrong, and be set right again.
const SWEEPS_AFTER_JUMP: Duration = Duration::from_secs(24 * 3600);

/// A start after a longer absence might be one with a clock that is ahead.
const AWAY_FOR_LONG: Duration = Duration::from_secs(24 * 3600);

/// A wall clock that was set, and who is still to hear of it.
#[derive(Debug)]
pub(super) struct Jump {
    by_ms: i64,
    /// What the clock showed after it.
    to: Timestamp,
    /// What waits beside the open incidents has moved.
    others_moved: bool,
    incidents: VecDeque<u64>,
}

impl Engine {
    /// A wall clock that was set moves every wait with it: waits are of elapsed time. What fails half-way goes on at the
    /// next step where it failed, so that nothing is moved twice.
    pub(super) fn watch_clock(&mut self, in_force: &InForce, at: Moment) -> Result<(), Error> {
        let by_ms = match self.last {
            Some(last) => at.jumped_since(last),
            None => self.set_while_away(at)?,
        };
        if by_ms.abs() > JUMP {
            tracing::warn!(by_ms, now = %at.now, "the wall clock jumped; waits move with it");
            if self.is_shared() {
                // An earlier one first: each incident hears of both.
                self.move_shared(in_force, at.now)?;
                self.begin_shared_jump(at.now, by_ms)?;
            } else {
                let incidents = self.store.read(lists::open_incidents)?;
                self.jumps.push_back(Jump {
                    by_ms,
                    to: at.now,
                    others_moved: false,
                    incidents: incidents.into(),
                });
            }
            if by_ms > 0 {
                self.sweeps_from = at.elapsed + SWEEPS_AFTER_JUMP;
            }
            self.health.change(|health| health.n_clock_jumps += 1);
            self.audited = None;
            self.clock_kept = None;
        }
        self.last = Some(at);
        if self.is_shared() {
            return self.move_shared(in_force, at.now);
        }
        self.move_waits(in_force, at.now)
    }

    fn is_shared(&self) -> bool {
        self.store.engine().replica().is_some()
    }

    /// A clock that several processes share is seen jumping by each. The first writes down what is to move, and whoever comes
    /// next moves it: nothing that is due is done before.
    fn begin_shared_jump(&self, to: Timestamp, by_ms: i64) -> Result<(), Error> {
        unrefused(self.store.transact_blocking(Class::Engine, move |tx| {
            seen_clock::begin_jump(tx, to, by_ms)
        }))
    }

    fn move_shared(&self, in_force: &InForce, now: Timestamp) -> Result<(), Error> {
        let jump = self.store.read(seen_clock::last_jump)?;
        let Some(seen_clock::Jump { by_ms, left, .. }) = jump else {
            return Ok(());
        };
        for number in left {
            let its = in_force.clone();
            let moved = self.store.transact_blocking(Class::Engine, move |tx| {
                let is_left = seen_clock::last_jump(&tx.read())?
                    .is_some_and(|jump| jump.by_ms == by_ms && jump.left.contains(&number));
                if is_left {
                    let command = Command::ClockJumped { by_ms };
                    let _refused = tx.command(number, &command, WATCHKEEPER, &its, now)?;
                    tx.settle(&its, now)?;
                    seen_clock::has_moved(tx, number)?;
                }
                Ok(())
            });
            let Some(why) = stuck(number, &moved) else {
                unrefused(moved)?;
                continue;
            };
            let its = in_force.clone();
            unrefused(self.store.transact_blocking(Class::Engine, move |tx| {
                quarantine::shift_its_pages(tx, number, by_ms)?;
                quarantine::put(tx, number, &why, &its, now)?;
                seen_clock::has_moved(tx, number)
            }))?;
        }
        Ok(())
    }

    /// By how much the clock was set back while the program was down. That it is ahead may be the time that passed; but
    /// it may be wrong too, and so nothing is swept by it at first.
    fn set_while_away(&mut self, at: Moment) -> Result<i64, Error> {
        let Some(seen) = self.store.read(seen_clock::last)? else {
            return Ok(0);
        };
        if at.now.since(seen) > AWAY_FOR_LONG {
            self.sweeps_from = at.elapsed + SWEEPS_AFTER_JUMP;
        }
        Ok((at.now.as_millis() - seen.as_millis()).min(0))
    }

    fn move_waits(&mut self, in_force: &InForce, now: Timestamp) -> Result<(), Error> {
        while let Some(mut jump) = self.jumps.pop_front() {
            if let Err(error) = self.move_by(&mut jump, in_force, now) {
                self.jumps.push_front(jump);
                return Err(error);
            }
        }
        Ok(())
    }

    fn move_by(&self, jump: &mut Jump, in_force: &InForce, now: Timestamp) -> Result<(), Error> {
        let Jump { by_ms, to, .. } = *jump;
        if !jump.others_moved {
            unrefused(self.store.transact_blocking(Class::Engine, move |tx| {
                // What was set forth is kept before anything moves, what was set back after everything has: dies the
                // program in between and starts by a clock that was set back, waits end early and not late.
                if by_ms > 0 {
                    seen_clock::keep(tx, to)?;
                }
                pending::shift(tx, by_ms)?;
                storms::shift(tx, by_ms)?;
                quarantine::shift(tx, by_ms)?;
                silences::clock_was_set(tx, to)?;
                served::clock_was_set(tx, to, by_ms)
            }))?;
            jump.others_moved = true;
        }
        while let Some(number) = jump.incidents.front() {
            self.command(*number, Command::ClockJumped { by_ms }, in_force, now)?;
            jump.incidents.pop_front();
        }
        Ok(())
    }

    pub(super) fn keep_clock(&mut self, now: Timestamp) -> Result<(), Error> {
        let kept = unrefused(
            self.store
                .transact_blocking(Class::Engine, move |tx| seen_clock::keep(tx, now)),
        );
        if kept.is_err() {
            self.clock_kept = None;
        }
        kept
    }

    /// Keeps that reports can come in, so that alerts are not blamed for silence while they could not.
    pub(super) fn keep_serving(&mut self, at: Moment) -> Result<(), Error> {
        let is_first = self.serving_kept.is_none();
        self.was_unserving |= self.store.status().full || self.health.read().last_error.is_some();
        let (every, slack) = match self.is_shared() {
            true => (SERVING_KEPT_EVERY, SERVING_SLACK),
            false => (CLOCK_KEPT_EVERY, SERVING_SLACK_ALONE),
        };
        let every = match self.was_unserving {
            true => LOOKS_EVERY,
            false => every,
        };
        if !is_time(&mut self.serving_kept, every, at) {
            return Ok(());
        }
        let was_away = is_first && !self.is_shared();
        let slack = match was_away || self.was_unserving {
            true => Duration::ZERO,
            false if self.audit_every > slack => self.audit_every.saturating_mul(2),
            false => slack,
        };
        let now = at.now;
        let kept = unrefused(
            self.store
                .transact_blocking(Class::Engine, move |tx| served::serve(tx, slack, now)),
        );
        match kept {
            Ok(()) => self.was_unserving = false,
            Err(_) => self.serving_kept = None,
        }
        kept
    }
}
