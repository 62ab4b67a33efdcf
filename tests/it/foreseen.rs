//! What an alert asks of the state. A replica has its records brought with its turn, or remembers them; each one that it asks for
//! beside these is a question over the network in the middle of its turn, while all others wait.

use crate::world::{World, sighting};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use watchkeeper::domain::alert::Signal;
use watchkeeper::domain::time::Timestamp;
use watchkeeper::simulate::{Simulation, signal as signal_of};
use watchkeeper::store::Error;
use watchkeeper::store::engine::{
    BackupInfo, Class, Each, Engine, Job, Keep, Key, Order, Reads, Stage, Status, job,
};
use watchkeeper::store::memory::MemoryEngine;
use watchkeeper::store::overlay::Changes;
use watchkeeper::store::report::foreseen;

/// Tables that replicas remember and tell each other of: counters, incidents' heads, keys, tallies, what is pending, logs.
const REMEMBERED: &[u8] = b"MHKCWE";

/// A store in memory that notes what intake asks for unforeseen.
#[derive(Debug)]
struct Watched {
    below: MemoryEngine,
    asked: Arc<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    foreseen: Mutex<BTreeSet<Key>>,
    unforeseen: Mutex<Vec<String>>,
    /// How many parts of incidents' logs were read.
    n_logs: Mutex<usize>,
}

struct Watching<'a> {
    below: &'a dyn Reads,
    asked: &'a Asked,
}

impl Watching<'_> {
    fn note(&self, key: &[u8]) {
        let is_remembered = key.first().is_some_and(|table| REMEMBERED.contains(table));
        if !is_remembered && !locked(&self.asked.foreseen).contains(key) {
            let key = String::from_utf8_lossy(key).into_owned();
            locked(&self.asked.unforeseen).push(key);
        }
    }
}

impl Reads for Watching<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Cow<'_, [u8]>>, Error> {
        self.note(key);
        self.below.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], order: Order, each: &mut Each<'_>) -> Result<(), Error> {
        self.note(from);
        *locked(&self.asked.n_logs) += usize::from(from.starts_with(b"E"));
        self.below.scan(from, to, order, each)
    }
}

impl Engine for Watched {
    fn submit(&self, class: Class, asked: Job) -> Result<(), Error> {
        if class != Class::Intake {
            return self.below.submit(class, asked);
        }
        let noted = Arc::clone(&self.asked);
        let watched = job(
            move |stage| {
                let mut changes = Changes::new();
                let watching = Watching {
                    below: &*stage,
                    asked: &noted,
                };
                let (keep, done) = asked.run(&mut Stage::new(&watching, &mut changes));
                for (key, value) in changes.into_iter().filter(|_| keep == Keep::Yes) {
                    match value {
                        Some(value) => stage.put(key, value),
                        None => stage.remove(key),
                    }
                }
                (keep, done)
            },
            |result| {
                let done = result.expect("memory keeps it");
                done(Ok(()));
            },
        );
        self.below.submit(class, watched)
    }

    fn view(&self) -> Box<dyn Reads + '_> {
        self.below.view()
    }

    fn status(&self) -> Status {
        self.below.status()
    }

    fn backup(&self, to: &Path, made_at: Timestamp) -> Result<BackupInfo, Error> {
        self.below.backup(to, made_at)
    }

    fn checkpoint(&self) -> Result<(), Error> {
        self.below.checkpoint()
    }

    fn close(&self) -> Result<(), Error> {
        self.below.close()
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().expect("nobody panics while it is held")
}

#[test]
fn an_alert_that_joins_asks_for_nothing_that_was_not_foreseen() {
    let asked = Arc::new(Asked::default());
    let mut world = World::new("2026-03-02T09:00:00Z", &[("ana", 5), ("ben", 5)]);
    world = world.on(Arc::new(Watched {
        below: MemoryEngine::new(),
        asked: Arc::clone(&asked),
    }));
    // That an incident is opened is rare: who is on call is looked up then.
    world.fires("Down db0");
    world.advance(6);
    let mut step = |signal: Signal, names: &[&str]| {
        let mut report = signal_of(&[], signal);
        report.sightings = names.iter().map(|name| sighting(name, signal)).collect();
        *locked(&asked.foreseen) =
            foreseen(&report, &world.simulation.in_force, world.simulation.now())
                .into_iter()
                .collect();
        locked(&asked.unforeseen).clear();
        world.report(report);
        let unforeseen = locked(&asked.unforeseen).clone();
        assert!(
            unforeseen.is_empty(),
            "{signal:?} {names:?}: {unforeseen:?}"
        );
    };
    step(Signal::Firing, &["Down db1", "Down db2"]);
    step(Signal::Firing, &["Down db1", "Down db2"]);
    step(Signal::Resolved, &["Down db2"]);
    step(Signal::Firing, &["Down db2", "Down db3"]);
}

#[test]
fn an_alert_reads_once_what_another_replica_added_to_its_incident() {
    let asked = Arc::new(Asked::default());
    let engine: Arc<dyn Engine> = Arc::new(Watched {
        below: MemoryEngine::new(),
        asked: Arc::clone(&asked),
    });
    let mut world = World::new("2026-03-02T09:00:00Z", &[("ana", 5), ("ben", 5)]);
    world = world.on(Arc::clone(&engine));
    let (in_force, now) = (world.simulation.in_force.clone(), world.simulation.now());
    let mut other = Simulation::on(engine, in_force, now);
    world.fires("Down db0");
    for name in ["Down db1", "Down db2"] {
        let mut report = signal_of(&[], Signal::Firing);
        report.sightings = vec![sighting(name, Signal::Firing)];
        other.receive(report).expect("memory keeps it");
        *locked(&asked.n_logs) = 0;
        world.fires(&format!("{name} as well"));
        assert_eq!(*locked(&asked.n_logs), 1, "after {name}");
    }
}
