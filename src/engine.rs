//! Does what is due. [`Engine::step`] takes no input but the time, and says when to be called next; a wake only says
//! "look now", and it looks again periodically anyway.

pub mod audit;
pub mod deliver;
pub mod link;
pub mod replicas;
pub mod set_clock;

use crate::domain::incident::Command;
use crate::domain::incident::event::WATCHKEEPER;
use crate::domain::oncall::Book;
use crate::domain::rule::RuleSet;
use crate::domain::time::{Moment, Timestamp};
use crate::engine::audit::Violation;
use crate::engine::replicas::Shown;
use crate::engine::set_clock::{CLOCK_KEPT_EVERY, Jump};
use crate::store::engine::Class;
use crate::store::sweep::{REMOVED_MAX, Retention, sweep};
use crate::store::{
    Error, Failure, InForce, Reader, Store, Tx, heartbeats, lists, muting, pending, quarantine,
    storms, unrefused, watch,
};
use std::collections::VecDeque;
use std::convert::Infallible;
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

/// Upkeep of inhibitions after a change of the rules, in one step: escalations come in between.
const UPKEEP_MAX: usize = 10;

/// What the engine shows of itself.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// The last step that went through.
    pub stepped: Option<Moment>,
    pub last_error: Option<String>,
    pub audited_at: Option<Timestamp>,
    pub violations: Vec<Violation>,
    pub n_quarantined: usize,
    pub n_storms: usize,
    pub n_clock_jumps: u64,
    /// All processes that work on the store, where there may be several.
    pub replicas: Vec<Shown>,
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
    /// Jumps that not every incident has heard of yet.
    jumps: VecDeque<Jump>,
    /// The time that must have passed before old records are swept again.
    sweeps_from: Duration,
    clock_kept: Option<Duration>,
    /// When it was last kept that reports can come in.
    serving_kept: Option<Duration>,
    /// Since then there was no room for reports, or they could not be kept.
    was_unserving: bool,
    /// The book by which heartbeats are waited for.
    armed_by: Option<Arc<Book>>,
    /// The rules by which inhibitions are followed.
    inhibits_by: Option<Arc<RuleSet>>,
    audited: Option<Duration>,
    audit_every: Duration,
    swept: Option<Duration>,
    sweep_every: Duration,
    sweep_again: Duration,
}

impl Engine {
    pub fn new(store: Store, retention: Retention, health: SharedHealth) -> Self {
        Self {
            store,
            retention,
            health,
            last: None,
            jumps: VecDeque::new(),
            sweeps_from: Duration::ZERO,
            clock_kept: None,
            serving_kept: None,
            was_unserving: false,
            armed_by: None,
            inhibits_by: None,
            audited: None,
            audit_every: AUDIT_EVERY,
            swept: None,
            sweep_every: SWEEP_EVERY,
            sweep_again: SWEEP_EVERY,
        }
    }

    /// Audits and sweeps so rarely: for simulations of long times on stores where each look is dear.
    pub fn looking_rarely(mut self, every: Duration) -> Self {
        self.audit_every = every;
        self.sweep_every = every;
        self.sweep_again = every;
        self
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
        self.keep_serving(at)?;
        self.arm_heartbeats(in_force, at.now)?;
        self.arm_inhibitions(in_force)?;
        let mut look = self.look(at.now)?;
        if look.is_silent(at.now) {
            self.look_while_due(watch::next_due, watch::look, in_force, at.now)?;
            look = self.look(at.now)?;
        }
        if look.misses(at.now) {
            self.look_while_due(heartbeats::next_due, heartbeats::look, in_force, at.now)?;
            look = self.look(at.now)?;
        }
        if look.matures(at.now) {
            self.open_matured(in_force, at.now)?;
            look = self.look(at.now)?;
        }
        if look.storms(at.now) {
            self.look_while_due(storms::next_due, storms::step, in_force, at.now)?;
            look = self.look(at.now)?;
        }
        if look.mutes(at.now) {
            self.look_at_muting(in_force, at.now)?;
            look = self.look(at.now)?;
        }
        if look.is_due(at.now) {
            self.step_incidents(in_force, at.now)?;
            look.is_old = true;
        }
        if is_time(&mut self.audited, self.audit_every, at) {
            look.is_old |= self.audit(in_force, at.now)?;
        }
        if look.is_old {
            look = self.look(at.now)?;
        }
        look.is_old |= self.shout(&look, in_force, at.now)?;
        let sweep_every = self.sweep_every;
        if at.elapsed >= self.sweeps_from && is_time(&mut self.swept, sweep_every, at) {
            self.sweep(at.now)?;
        }
        if is_time(&mut self.clock_kept, CLOCK_KEPT_EVERY, at) {
            self.keep_clock(at.now)?;
        }
        if look.is_old {
            look = self.look(at.now)?;
        }
        Ok(self.next(&look, at.now))
    }

    /// Everything that says whether there is something to do, as of one instant of the store.
    fn look(&self, now: Timestamp) -> Result<Look, Error> {
        self.store.read(|reader| {
            let quarantined = reader.quarantined()?;
            let numbers: Vec<u64> = quarantined.iter().map(|(number, _)| *number).collect();
            Ok(Look {
                due_at: lists::next_due(reader)?,
                matures_at: pending::next_due(reader)?,
                storms_at: storms::next_due(reader)?,
                n_storms: storms::n_on(reader)?,
                watched_at: watch::next_due(reader)?,
                beats_at: heartbeats::next_due(reader)?,
                mutes_at: muting::next_due(reader)?,
                has_upkeep: muting::has_upkeep(reader)?,
                shouts: quarantined.iter().any(|(_, of)| of.is_due(now)),
                shout_at: quarantined.iter().filter_map(|(_, of)| of.shout_at).min(),
                has_untold: quarantine::untold_alerts(reader, &numbers)?.is_some(),
                quarantined: numbers,
                is_old: false,
            })
        })
    }

    /// Heartbeats are waited for as they are configured now.
    fn arm_heartbeats(&mut self, in_force: &InForce, now: Timestamp) -> Result<(), Error> {
        let is_same = |armed: &Arc<Book>| Arc::ptr_eq(armed, &in_force.book);
        if self.armed_by.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        let has_changed = self
            .armed_by
            .as_ref()
            .is_none_or(|armed| armed.heartbeats != in_force.book.heartbeats);
        if has_changed {
            let its = in_force.clone();
            unrefused(
                self.store
                    .transact_blocking(Class::Engine, move |tx| heartbeats::arm(tx, &its, now)),
            )?;
        }
        self.armed_by = Some(Arc::clone(&in_force.book));
        Ok(())
    }

    /// Looks at what must have been heard of by now, for as long as there is something.
    fn look_while_due(
        &self,
        next_due: fn(&Reader<'_>) -> Result<Option<Timestamp>, Error>,
        look: fn(&mut Tx<'_, '_>, &InForce, Timestamp) -> Result<(), Failure<Infallible>>,
        in_force: &InForce,
        now: Timestamp,
    ) -> Result<(), Error> {
        for _ in 0..LOOKS_MAX {
            if self.store.read(next_due)?.is_none_or(|due| due > now) {
                break;
            }
            let its = in_force.clone();
            unrefused(
                self.store
                    .transact_blocking(Class::Engine, move |tx| look(tx, &its, now)),
            )?;
        }
        Ok(())
    }

    /// Inhibitions are followed as the rules have them now.
    fn arm_inhibitions(&mut self, in_force: &InForce) -> Result<(), Error> {
        let is_same = |armed: &Arc<RuleSet>| Arc::ptr_eq(armed, &in_force.rules);
        if self.inhibits_by.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        let has_changed = self
            .inhibits_by
            .as_ref()
            .is_none_or(|armed| armed.inhibitions != in_force.rules.inhibitions);
        if has_changed {
            let rules = Arc::clone(&in_force.rules);
            unrefused(
                self.store
                    .transact_blocking(Class::Engine, move |tx| muting::arm(tx, &rules)),
            )?;
        }
        self.inhibits_by = Some(Arc::clone(&in_force.rules));
        Ok(())
    }

    /// Silences that start or end, causes that began or ended.
    fn look_at_muting(&self, in_force: &InForce, now: Timestamp) -> Result<(), Error> {
        for _ in 0..UPKEEP_MAX {
            if !self.store.read(muting::has_upkeep)? {
                break;
            }
            let its = in_force.clone();
            unrefused(
                self.store
                    .transact_blocking(Class::Engine, move |tx| muting::keep_up(tx, &its)),
            )?;
        }
        for _ in 0..LOOKS_MAX {
            if self
                .store
                .read(muting::next_due)?
                .is_none_or(|due| due > now)
            {
                break;
            }
            let its = in_force.clone();
            unrefused(
                self.store
                    .transact_blocking(Class::Engine, move |tx| muting::look(tx, &its, now)),
            )?;
        }
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
            let its = in_force.clone();
            let matured = self.store.transact_blocking(Class::Engine, move |tx| {
                pending::mature(tx, &its, now).map(drop)
            });
            match stuck_why(&matured) {
                None => unrefused(matured)?,
                Some(_) => self.open_one_by_one(in_force, now)?,
            }
        }
        Ok(())
    }

    /// One of the keys cannot be opened, because its incident is stuck: it waits, and the others do not.
    fn open_one_by_one(&self, in_force: &InForce, now: Timestamp) -> Result<(), Error> {
        for key in self.store.read(|reader| pending::due_keys(reader, now))? {
            let (its, of) = (in_force.clone(), key.clone());
            let matured = self.store.transact_blocking(Class::Engine, move |tx| {
                pending::mature_one(tx, &of, &its, now)
            });
            let Some(why) = stuck_why(&matured) else {
                unrefused(matured)?;
                continue;
            };
            tracing::error!(
                key,
                why,
                "what waited under a key could not join its incident"
            );
            let its = in_force.clone();
            unrefused(self.store.transact_blocking(Class::Engine, move |tx| {
                pending::put_off(tx, &key, &why, &its, now)
            }))?;
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
        let (its, jumped) = (in_force.clone(), command.clone());
        let stepped = self.store.transact_blocking(Class::Engine, move |tx| {
            let _refused = tx.command(number, &command, WATCHKEEPER, &its, now)?;
            tx.settle(&its, now)?;
            Ok(())
        });
        let Some(why) = stuck(number, &stepped) else {
            return unrefused(stepped);
        };
        if let Command::ClockJumped { by_ms } = jumped {
            unrefused(self.store.transact_blocking(Class::Engine, move |tx| {
                quarantine::shift_its_pages(tx, number, by_ms)
            }))?;
        }
        self.put_aside(number, why, in_force, now)
    }

    fn put_aside(
        &self,
        number: u64,
        why: String,
        in_force: &InForce,
        now: Timestamp,
    ) -> Result<(), Error> {
        let its = in_force.clone();
        unrefused(self.store.transact_blocking(Class::Engine, move |tx| {
            quarantine::put(tx, number, &why, &its, now)
        }))
    }

    /// Pages again for incidents in quarantine, as often as an exhausted escalation does. Whether it changed anything.
    fn shout(&self, look: &Look, in_force: &InForce, now: Timestamp) -> Result<bool, Error> {
        if look.shouts {
            let its = in_force.clone();
            unrefused(self.store.transact_blocking(Class::Engine, move |tx| {
                quarantine::shout_due(tx, &its, now)
            }))?;
        }
        self.health.change(|health| {
            if health.n_storms != look.n_storms {
                tracing::warn!(
                    storms = look.n_storms,
                    before = health.n_storms,
                    "teams with more new incidents than [storm] takes: further keys join one incident each"
                );
            }
            health.n_storms = look.n_storms;
            health.n_quarantined = look.quarantined.len();
        });
        if look.has_untold {
            self.tell_alerts(look.quarantined.clone(), in_force, now)?;
        }
        Ok(look.shouts || look.has_untold)
    }

    /// Incidents that are back hear of the alerts that came meanwhile.
    fn tell_alerts(
        &self,
        mut quarantined: Vec<u64>,
        in_force: &InForce,
        now: Timestamp,
    ) -> Result<(), Error> {
        for _ in 0..LOOKS_MAX {
            let untold = self
                .store
                .read(|reader| quarantine::untold_alerts(reader, &quarantined))?;
            let Some((number, alerts)) = untold else {
                break;
            };
            let (its, of) = (in_force.clone(), alerts.clone());
            let told = self.store.transact_blocking(Class::Engine, move |tx| {
                quarantine::tell_alerts(tx, number, &of, &its, now)
            });
            let Some(why) = stuck(number, &told) else {
                unrefused(told)?;
                continue;
            };
            quarantined.push(number);
            let its = in_force.clone();
            unrefused(self.store.transact_blocking(Class::Engine, move |tx| {
                quarantine::put_untold(tx, number, &alerts, &why, &its, now)
            }))?;
        }
        Ok(())
    }

    /// Whether it changed anything.
    fn audit(&self, in_force: &InForce, now: Timestamp) -> Result<bool, Error> {
        let violations = self.store.read(|reader| audit::audit(reader, now))?;
        for violation in &violations {
            tracing::error!(
                incident.id = violation.incident,
                why = violation.why,
                "audit: nobody is served by this incident's paging"
            );
            // Nothing is due of it that the engine would find: the audit alone sees it.
            if violation.why == audit::UNREADABLE {
                self.put_aside(violation.incident, violation.why.to_owned(), in_force, now)?;
            }
        }
        self.health.change(|health| {
            health.audited_at = Some(now);
            health.violations.clone_from(&violations);
        });
        Ok(violations
            .iter()
            .any(|violation| violation.why == audit::UNREADABLE))
    }

    /// One bounded step. What grows by more than a step a minute is swept by more than one.
    fn sweep(&mut self, now: Timestamp) -> Result<(), Error> {
        let retention = self.retention;
        let swept = self
            .store
            .transact_blocking(Class::Engine, move |tx| sweep(tx, retention, now));
        self.sweep_every = if unrefused(swept)? < REMOVED_MAX {
            self.sweep_again
        } else {
            SWEEPS_ON_AFTER
        };
        Ok(())
    }

    fn next(&self, look: &Look, now: Timestamp) -> Timestamp {
        let next = [
            look.due_at,
            look.matures_at,
            look.watched_at,
            look.storms_at,
            look.beats_at,
            look.mutes_at,
            look.has_upkeep.then_some(now),
            look.shout_at,
        ];
        // By then audit and sweep are due again.
        let latest = now.plus(self.audit_every.min(self.sweep_every));
        next.into_iter().flatten().fold(latest, Timestamp::min)
    }
}

/// What there is to do, as it was when the store was looked at.
#[derive(Debug)]
struct Look {
    due_at: Option<Timestamp>,
    matures_at: Option<Timestamp>,
    /// The first watch of an alert is due.
    watched_at: Option<Timestamp>,
    storms_at: Option<Timestamp>,
    n_storms: usize,
    /// The first heartbeat must have been heard of.
    beats_at: Option<Timestamp>,
    /// The first silence starts or ends, or there are incidents to be looked at.
    mutes_at: Option<Timestamp>,
    /// Alerts are to be entered for inhibitions that are new.
    has_upkeep: bool,
    shout_at: Option<Timestamp>,
    /// People are to be paged for what is in quarantine.
    shouts: bool,
    quarantined: Vec<u64>,
    has_untold: bool,
    /// Something was changed since.
    is_old: bool,
}

impl Look {
    fn matures(&self, now: Timestamp) -> bool {
        self.matures_at.is_some_and(|at| at <= now)
    }

    fn misses(&self, now: Timestamp) -> bool {
        self.beats_at.is_some_and(|at| at <= now)
    }

    fn mutes(&self, now: Timestamp) -> bool {
        self.has_upkeep || self.mutes_at.is_some_and(|at| at <= now)
    }

    fn storms(&self, now: Timestamp) -> bool {
        self.storms_at.is_some_and(|at| at <= now)
    }

    fn is_silent(&self, now: Timestamp) -> bool {
        self.watched_at.is_some_and(|at| at <= now)
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.due_at.is_some_and(|at| at <= now)
    }
}

/// Why an incident could not take what was done with it: its code panicked, or what is stored of it is damaged. Said
/// once, where it happens.
pub fn stuck<T>(number: u64, result: &Result<T, Failure<Infallible>>) -> Option<String> {
    let why = stuck_why(result)?;
    tracing::error!(
        incident.id = number,
        why,
        "an incident could not be stepped and is quarantined"
    );
    Some(why)
}

fn stuck_why<T>(result: &Result<T, Failure<Infallible>>) -> Option<String> {
    match result {
        Err(Failure::Store(error)) => {
            let is_its_own = matches!(**error, Error::Panicked { .. } | Error::Corrupt { .. });
            is_its_own.then(|| error.to_string())
        }
        Err(Failure::Refused(_)) | Ok(_) => None,
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
