//! The program without its edges: memory store, engine, a pager that remembers, a clock that is moved. Rule tests,
//! backtests and the stories of tests run on it.

pub mod backtest;
pub mod cases;

use crate::clock::Clock;
use crate::domain::alert::{Fingerprint, Labels, Outcome, Run, Said, Sighting, Signal};
use crate::domain::incident::{Ask, Incident};
use crate::domain::page::{Message, Outcome as PageOutcome};
use crate::domain::silence::Silence;
use crate::domain::time::{Moment, Timestamp};
use crate::engine::deliver::message;
use crate::engine::link::Links;
use crate::engine::{Engine, Health, SharedHealth, stuck};
use crate::store::commands::{
    Caller, Refused, Reported, ask, report as report_incident, resolve_alert,
};
use crate::store::delivery::{
    Claimed, channels, claim, record_beside, record_outcome, release_claims,
};
use crate::store::engine::{Class, Engine as StoreEngine};
use crate::store::intake::record;
use crate::store::memory::MemoryEngine;
use crate::store::report::{Recorded, Report};
use crate::store::silences::{self, Unset, Wanted};
use crate::store::sweep::Retention;
use crate::store::{Error, Failure, InForce, Store, unrefused};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Passes of engine and delivery at one instant; more is a loop.
const PASSES_MAX: usize = 10_000;

/// How often the engine audits and sweeps a database: as often as it otherwise does would take a simulated day minutes.
const LOOKS_FAR_EVERY: Duration = Duration::from_secs(3600);

const RETENTION: Retention = Retention {
    alerts: Duration::from_secs(90 * 86_400),
    changes: Duration::from_secs(90 * 86_400),
    dead_letters: 10_000,
};

/// A page that went out, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    pub at: Timestamp,
    pub message: Message,
    pub outcome: PageOutcome,
}

/// What the receiver of a page answers.
type Receiver = Box<dyn FnMut(&Message, Timestamp) -> PageOutcome + Send>;

/// The program in memory, at an instant that only its owner moves.
pub struct Simulation {
    memory: Arc<MemoryEngine>,
    store: Store,
    engine: Engine,
    health: SharedHealth,
    pub in_force: InForce,
    links: Links,
    receiver: Receiver,
    clock: Clock,
    at: Moment,
    sent: Vec<Sent>,
    other: Option<Other>,
}

/// A second replica on the same store.
struct Other {
    store: Store,
    engine: Engine,
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("at", &self.at)
            .field("sent", &self.sent.len())
            .finish_non_exhaustive()
    }
}

impl Simulation {
    pub fn new(in_force: InForce, start: Timestamp) -> Self {
        Self::over(Arc::new(MemoryEngine::new()), in_force, start)
    }

    /// Begins over a store that holds something already.
    pub fn over(memory: Arc<MemoryEngine>, in_force: InForce, start: Timestamp) -> Self {
        Self {
            memory: Arc::clone(&memory),
            ..Self::on(memory, in_force, start)
        }
    }

    /// The same on any engine; [`Simulation::memory`] is idle then.
    pub fn on(engine: Arc<dyn StoreEngine>, in_force: InForce, start: Timestamp) -> Self {
        let store = Store::new(engine);
        let health = SharedHealth::default();
        Self {
            engine: engine_of(&store, health.clone()),
            memory: Arc::default(),
            store,
            health,
            in_force,
            links: Links::new(
                "http://watch.example",
                b"simulated".to_vec(),
                "wk".to_owned(),
            ),
            receiver: Box::new(|_message, _now| PageOutcome::Delivered {
                detail: "200".to_owned(),
            }),
            clock: Clock::standing(Moment::at(start)),
            at: Moment::at(start),
            sent: Vec::new(),
            other: None,
        }
    }

    /// With a second replica, on an engine over the same store: both do what is due, and take turns in what is asked and sent.
    pub fn beside(mut self, engine: Arc<dyn StoreEngine>) -> Self {
        let store = Store::new(engine);
        self.other = Some(Other {
            engine: engine_of(&store, SharedHealth::default()),
            store,
        });
        self
    }

    /// Decides from now on what receivers of pages answer.
    pub fn answer_pages(
        &mut self,
        receiver: impl FnMut(&Message, Timestamp) -> PageOutcome + Send + 'static,
    ) {
        self.receiver = Box::new(receiver);
    }

    /// The time as the program has it.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn memory(&self) -> &Arc<MemoryEngine> {
        &self.memory
    }

    pub fn links(&self) -> &Links {
        &self.links
    }

    /// A clock that goes with this simulation.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    pub fn shared_health(&self) -> &SharedHealth {
        &self.health
    }

    pub fn health(&self) -> Health {
        self.health.read()
    }

    /// Every page that went out, in order.
    pub fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// Records a report, then does what is due.
    pub fn receive(&mut self, report: Report) -> Result<Recorded, Error> {
        let recorded = self.take(report)?;
        self.run()?;
        Ok(recorded)
    }

    /// Records a report, and leaves what is due for later: the engine has yet to be woken.
    pub fn take(&self, report: Report) -> Result<Recorded, Error> {
        let (in_force, now) = (self.in_force.clone(), self.now());
        let recorded = self
            .store
            .transact_blocking(Class::Intake, move |tx| record(tx, &report, &in_force, now));
        unrefused(recorded)
    }

    pub fn ask(
        &mut self,
        number: u64,
        asked: Ask,
        by: &str,
    ) -> Result<Arc<Incident>, Failure<Refused>> {
        let caller = self.caller(by);
        let answer = self
            .store
            .transact_blocking(Class::Engine, move |tx| ask(tx, number, asked, &caller));
        self.run()?;
        answer
    }

    pub fn report(
        &mut self,
        reported: Reported,
        by: &str,
    ) -> Result<Arc<Incident>, Failure<Refused>> {
        let caller = self.caller(by);
        let answer = self.store.transact_blocking(Class::Engine, move |tx| {
            report_incident(tx, &reported, &caller)
        });
        self.run()?;
        answer
    }

    /// Resolves an alert by hand.
    pub fn resolve(
        &mut self,
        number: Option<u64>,
        fingerprint: Fingerprint,
        reason: &str,
        by: &str,
    ) -> Result<(), Failure<Refused>> {
        let (caller, reason) = (self.caller(by), reason.to_owned());
        let answer = self.store.transact_blocking(Class::Engine, move |tx| {
            resolve_alert(tx, number, fingerprint, &reason, &caller)
        });
        self.run()?;
        answer
    }

    /// Makes a silence, or changes one.
    pub fn silence(&mut self, wanted: Wanted) -> Result<Silence, Failure<Unset>> {
        let now = self.now();
        let answer = self
            .store
            .transact_blocking(Class::Engine, move |tx| silences::set(tx, wanted, now));
        self.run()?;
        answer
    }

    pub fn expire_silence(&mut self, id: &str) -> Result<Silence, Failure<Unset>> {
        let (id, now) = (id.to_owned(), self.now());
        let answer = self
            .store
            .transact_blocking(Class::Engine, move |tx| silences::expire(tx, &id, now));
        self.run()?;
        answer
    }

    pub fn incident(&self, number: u64) -> Result<Option<Arc<Incident>>, Error> {
        self.store.read(|reader| reader.incident(number))
    }

    /// Moves the clock, stopping wherever something is due.
    pub fn advance(&mut self, span: Duration) -> Result<(), Error> {
        let end = self.at.now.plus(span);
        loop {
            let next = self.run()?;
            // Whatever is due at this very instant has been done; time goes on by at least a millisecond.
            let next = next.max(self.at.now.shifted(1));
            if next > end {
                break;
            }
            self.move_to(next);
        }
        self.move_to(end);
        self.run().map(drop)
    }

    /// Sets the wall clock without time passing.
    pub fn jump(&mut self, by_ms: i64) -> Result<(), Error> {
        self.set_clock(by_ms);
        self.run().map(drop)
    }

    /// The same before the engine looks again.
    pub fn set_clock(&mut self, by_ms: i64) {
        self.at.now = self.at.now.shifted(by_ms);
        self.clock.set(self.at);
    }

    /// The time passes with nobody there: the program was down.
    pub fn sleep(&mut self, span: Duration) {
        self.at.now = self.at.now.plus(span);
        self.at.elapsed = Duration::ZERO;
        self.clock.set(self.at);
        self.clock.believe(self.at);
        self.engine = engine_of(&self.store, self.health.clone());
        if let Some(other) = &mut self.other {
            other.engine = engine_of(&other.store, SharedHealth::default());
        }
    }

    /// Starts again after a crash, over what is durable.
    pub fn restart(&mut self, memory: Arc<MemoryEngine>) -> Result<(), Error> {
        self.memory = Arc::clone(&memory);
        self.restart_on(memory)
    }

    /// The same on any engine.
    pub fn restart_on(&mut self, engine: Arc<dyn StoreEngine>) -> Result<(), Error> {
        let memory = Arc::clone(&self.memory);
        let receiver =
            std::mem::replace(&mut self.receiver, Box::new(|_, _| unreachable_receiver()));
        let sent = std::mem::take(&mut self.sent);
        let (in_force, at) = (self.in_force.clone(), self.at);
        let clock = self.clock.clone();
        *self = Self {
            memory,
            ..Self::on(engine, in_force, at.now)
        };
        self.clock = clock;
        self.clock.set(self.at);
        self.clock.believe(self.at);
        self.receiver = receiver;
        self.sent = sent;
        let now = self.at.now;
        unrefused(
            self.store
                .transact_blocking(Class::Engine, move |tx| release_claims(tx, now)),
        )?;
        self.run().map(drop)
    }

    /// Engine and delivery until nothing is due now. Returns when something is next.
    pub fn run(&mut self) -> Result<Timestamp, Error> {
        for _ in 0..PASSES_MAX {
            let in_force = self.in_force.clone();
            let mut next = self.engine.step(&in_force, self.at)?;
            if let Some(other) = &mut self.other {
                next = next.min(other.engine.step(&in_force, self.at)?);
                std::mem::swap(&mut self.store, &mut other.store);
                std::mem::swap(&mut self.engine, &mut other.engine);
            }
            self.clock.believe(self.at);
            let next_page = self.deliver()?;
            match next_page {
                NextPage::Sent => {}
                NextPage::At(at) => return Ok(next.min(at)),
                NextPage::None => return Ok(next),
            }
        }
        Ok(self.at.now)
    }

    fn deliver(&mut self) -> Result<NextPage, Error> {
        let now = self.now();
        let mut found = NextPage::None;
        for (channel, first_at) in self.store.read(channels)? {
            if first_at > now {
                found = found.earlier(first_at);
                continue;
            }
            let claimed = self
                .store
                .transact_blocking(Class::Engine, move |tx| claim(tx, &channel, 1, None, now));
            for claimed in unrefused(claimed)? {
                let message = message(&claimed, &self.links, now);
                let outcome = (self.receiver)(&message, now);
                self.sent.push(Sent {
                    at: now,
                    message,
                    outcome: outcome.clone(),
                });
                self.record(&claimed, outcome)?;
            }
            found = NextPage::Sent;
        }
        Ok(found)
    }

    fn record(&self, claimed: &Claimed, outcome: PageOutcome) -> Result<(), Error> {
        let (number, serial, ended) =
            (claimed.number, claimed.page.issue.serial, claimed.attempt());
        let (in_force, now) = (self.in_force.clone(), self.now());
        let (its, said) = (in_force.clone(), outcome.clone());
        let recorded = self.store.transact_blocking(Class::Engine, move |tx| {
            record_outcome(tx, number, serial, ended, &said, &its, now)
        });
        let Some(why) = stuck(number, &recorded) else {
            return unrefused(recorded);
        };
        unrefused(self.store.transact_blocking(Class::Engine, move |tx| {
            record_beside(tx, number, serial, ended, &outcome, &why, &in_force, now)
        }))
    }

    fn caller(&self, by: &str) -> Caller {
        Caller {
            by: by.to_owned(),
            idempotency_key: None,
            in_force: self.in_force.clone(),
            now: self.now(),
        }
    }

    fn move_to(&mut self, at: Timestamp) {
        self.at.elapsed += at.since(self.at.now);
        self.at.now = at;
        self.clock.set(self.at);
    }
}

fn engine_of(store: &Store, health: SharedHealth) -> Engine {
    let engine = Engine::new(store.clone(), RETENTION, health);
    match store.reads_are_far() {
        true => engine.looking_rarely(LOOKS_FAR_EVERY),
        false => engine,
    }
}

/// When the outbox has something.
enum NextPage {
    Sent,
    At(Timestamp),
    None,
}

impl NextPage {
    fn earlier(self, at: Timestamp) -> Self {
        match self {
            Self::Sent => Self::Sent,
            Self::At(known) => Self::At(known.min(at)),
            Self::None => Self::At(at),
        }
    }
}

fn unreachable_receiver() -> PageOutcome {
    PageOutcome::Retry {
        after: None,
        why: "the program is starting".to_owned(),
    }
}

/// A report with one alert, as a monitoring system says it.
pub fn signal(labels: &[(&str, &str)], signal: Signal) -> Report {
    one(labels, Said::Signal(signal))
}

/// A report with one result of a check.
pub fn check_result(labels: &[(&str, &str)], outcome: Outcome, run: Run) -> Report {
    one(labels, Said::Check { outcome, run })
}

fn one(labels: &[(&str, &str)], said: Said) -> Report {
    let kind = match said {
        Said::Signal(_) => "alertmanager",
        Said::Check { .. } => "check",
    };
    let labels: Labels = labels.iter().copied().collect();
    let severity = labels.get("severity").map(str::to_owned);
    let sighting = Sighting {
        labels,
        annotations: Labels::default(),
        attributes: Labels::default(),
        severity,
        starts_at: None,
        ends_at: None,
        said,
    };
    Report {
        source: kind.to_owned(),
        kind,
        sightings: vec![sighting],
        acknowledged: Vec::new(),
        changes: Vec::new(),
        rejected: Vec::new(),
        scope: None,
    }
}
