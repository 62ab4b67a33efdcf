//! Does what is due. [`Engine::step`] takes no input but the time, and says when to be called next; a wake only says
//! "look now", and it looks again periodically anyway.

pub mod audit;
pub mod deliver;
pub mod link;

use crate::domain::incident::Command;
use crate::domain::incident::event::WATCHKEEPER;
use crate::domain::time::{Moment, Timestamp};
use crate::engine::audit::Violation;
use crate::store::engine::Class;
use crate::store::sweep::{REMOVED_MAX, Retention, sweep};
use crate::store::{Error, Failure, InForce, Store, lists, pending, quarantine, unrefused};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The longest whoever steps the engine sleeps: it looks again though nobody woke it.
pub const LOOKS_EVERY: Duration = Duration::from_secs(1);

/// How often the audit runs.
pub const AUDIT_EVERY: Duration = Duration::from_secs(60);

/// How often old records are swept.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Where a sweep left some over, the next one follows so soon: pages come in between.
const SWEEPS_ON_AFTER: Duration = Duration::from_millis(100);

/// Incidents of one look at the due index.
const DUE_AT_ONCE: usize = 256;

/// Looks at the due index in one step: an incident that stays due cannot hold the step for ever.
const LOOKS_MAX: usize = 10_000;

/// A wall clock that is off by more than this was set, and did not drift.
const JUMP: i64 = 60_000;

/// What the engine shows of itself.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// The last step that went through.
    pub stepped: Option<Moment>,
    pub last_error: Option<String>,
    pub audited_at: Option<Timestamp>,
    pub violations: Vec<Violation>,
    pub n_quarantined: usize,
    pub n_clock_jumps: u64,
}

/// Health as others read it.
#[derive(Clone, Debug, Default)]
pub struct SharedHealth(Arc<Mutex<Health>>);

impl SharedHealth {
    pub fn read(&self) -> Health {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn change(&self, change: impl FnOnce(&mut Health)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The engine: one per process, stepped by one task.
#[derive(Debug)]
pub struct Engine {
    store: Store,
    retention: Retention,
    health: SharedHealth,
    last: Option<Moment>,
    audited: Option<Duration>,
    swept: Option<Duration>,
    sweep_every: Duration,
}

impl Engine {
    pub fn new(store: Store, retention: Retention, health: SharedHealth) -> Self {
        Self {
            store,
            retention,
            health,
            last: None,
            audited: None,
            swept: None,
            sweep_every: SWEEP_EVERY,
        }
    }

    /// One pass over everything that is due. Returns when to call it next.
    pub fn step(&mut self, in_force: &InForce, at: Moment) -> Result<Timestamp, Error> {
        let stepped = self.do_due(in_force, at);
        self.health.change(|health| match &stepped {
            Ok(_) => {
                health.stepped = Some(at);
                health.last_error = None;
            }
            Err(error) => health.last_error = Some(error.to_string()),
        });
        stepped
    }

    fn do_due(&mut self, in_force: &InForce, at: Moment) -> Result<Timestamp, Error> {
        self.watch_clock(in_force, at)?;
        self.open_matured(in_force, at.now)?;
        self.step_incidents(in_force, at.now)?;
        if is_time(&mut self.audited, AUDIT_EVERY, at) {
            self.audit(at.now)?;
        }
        let sweep_every = self.sweep_every;
        if is_time(&mut self.swept, sweep_every, at) {
            self.sweep(at.now)?;
        }
        self.next(at.now)
    }

    /// A wall clock that was set moves every wait with it: waits are of elapsed time.
    fn watch_clock(&mut self, in_force: &InForce, at: Moment) -> Result<(), Error> {
        let by_ms = self.last.map_or(0, |last| at.jumped_since(last));
        if by_ms.abs() > JUMP {
            tracing::warn!(by_ms, now = %at.now, "the wall clock jumped; waits move with it");
            unrefused(
                self.store
                    .transact_blocking(Class::Engine, move |tx| pending::shift(tx, by_ms)),
            )?;
            for number in self.store.read(lists::open_incidents)? {
                self.command(number, Command::ClockJumped { by_ms }, in_force, at.now)?;
            }
            self.health.change(|health| health.n_clock_jumps += 1);
            self.audited = None;
        }
        self.last = Some(at);
        Ok(())
    }

    fn open_matured(&self, in_force: &InForce, now: Timestamp) -> Result<(), Error> {
        for _ in 0..LOOKS_MAX {
            if self
                .store
                .read(pending::next_due)?
                .is_none_or(|due| due > now)
            {
                break;
            }
            let in_force = in_force.clone();
            unrefused(
                self.store.transact_blocking(Class::Engine, move |tx| {
                    pending::mature(tx, &in_force, now)
                }),
            )?;
        }
        Ok(())
    }

    fn step_incidents(&self, in_force: &InForce, now: Timestamp) -> Result<(), Error> {
        for _ in 0..LOOKS_MAX {
            let due = self
                .store
                .read(|reader| lists::due_incidents(reader, now, DUE_AT_ONCE))?;
            if due.is_empty() {
                break;
            }
            for number in due {
                self.command(number, Command::Look, in_force, now)?;
            }
        }
        Ok(())
    }

    /// One incident in its own transaction. A panic in it quarantines that incident, and the others go on.
    fn command(
        &self,
        number: u64,
        command: Command,
        in_force: &InForce,
        now: Timestamp,
    ) -> Result<(), Error> {
        let its = in_force.clone();
        let stepped = self.store.transact_blocking(Class::Engine, move |tx| {
            let _refused = tx.command(number, &command, WATCHKEEPER, &its, now)?;
            tx.settle(&its, now)?;
            Ok(())
        });
        match stepped {
            Err(Failure::Store(error))
                if matches!(*error, Error::Panicked { .. } | Error::Corrupt { .. }) =>
            {
                let why = error.to_string();
                tracing::error!(
                    incident.id = number,
                    why,
                    "an incident could not be stepped and is quarantined"
                );
                unrefused(self.store.transact_blocking(Class::Engine, move |tx| {
                    quarantine::put(tx, number, &why, now)
                }))
            }
            other => unrefused(other),
        }
    }

    fn audit(&self, now: Timestamp) -> Result<(), Error> {
        let violations = self.store.read(|reader| audit::audit(reader, now))?;
        let n_quarantined = self.store.read(|reader| Ok(reader.quarantined()?.len()))?;
        for violation in &violations {
            tracing::error!(
                incident.id = violation.incident,
                why = violation.why,
                "audit: nobody is served by this incident's paging"
            );
        }
        self.health.change(|health| {
            health.audited_at = Some(now);
            health.violations = violations;
            health.n_quarantined = n_quarantined;
        });
        Ok(())
    }

    /// One bounded step. What grows by more than a step a minute is swept by more than one.
    fn sweep(&mut self, now: Timestamp) -> Result<(), Error> {
        let retention = self.retention;
        let swept = self
            .store
            .transact_blocking(Class::Engine, move |tx| sweep(tx, retention, now));
        self.sweep_every = if unrefused(swept)? < REMOVED_MAX {
            SWEEP_EVERY
        } else {
            SWEEPS_ON_AFTER
        };
        Ok(())
    }

    fn next(&self, now: Timestamp) -> Result<Timestamp, Error> {
        let (incident, key) = self
            .store
            .read(|reader| Ok((lists::next_due(reader)?, pending::next_due(reader)?)))?;
        // By then audit and sweep are due again.
        let latest = now.plus(AUDIT_EVERY.min(self.sweep_every));
        Ok([incident, key]
            .into_iter()
            .flatten()
            .fold(latest, Timestamp::min))
    }
}

/// Whether something that is done every so often is due; the first time it is.
fn is_time(last: &mut Option<Duration>, every: Duration, at: Moment) -> bool {
    let due = last.is_none_or(|last| at.elapsed >= last + every);
    if due {
        *last = Some(at.elapsed);
    }
    due
}
