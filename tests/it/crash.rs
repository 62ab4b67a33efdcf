//! A crash at every write: the same story stops at the k-th one, for every k, starts again and goes on as its senders
//! would. What was acknowledged is there, no page is lost, and nothing happens twice.

use crate::lifecycle::{START, STEPS, entries, says};
use crate::store::copy_dir;
use crate::world::{World, at, book, rules};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tempfile::TempDir;
use watchkeeper::domain::alert::{Fingerprint, Labels, Outcome as CheckOutcome, Run, Signal};
use watchkeeper::domain::cron_spec::CronSpec;
use watchkeeper::domain::incident::event::{Event, Remark};
use watchkeeper::domain::incident::{Ask, Entry, Incident};
use watchkeeper::domain::page::Outcome;
use watchkeeper::domain::phase::{Output, Phase};
use watchkeeper::domain::rule::{OpenWhen, SeverityRule};
use watchkeeper::domain::severity::{Profile, Severity};
use watchkeeper::domain::time::Timestamp;
use watchkeeper::domain::verification::Plan;
use watchkeeper::simulate::{Simulation, check_result, signal};
use watchkeeper::store::commands::{Caller, ask};
use watchkeeper::store::engine::Class;
use watchkeeper::store::report::{Recorded, Report};
use watchkeeper::store::sled::{Settings, SledEngine};

/// More writes than the story has: the last run is one that no fault stopped.
const WRITES_MAX: u64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// The k-th write is lost, with the process.
    Before,
    /// The k-th write is on disk, and the process dies before it can say so.
    After,
    /// The k-th write fails, and the process goes on.
    Once,
    /// From the k-th write on all fail, and the process goes on trying for a while before somebody restarts it.
    Onwards,
}

/// One thing that somebody does, again until it is acknowledged.
enum Step {
    Reports(Report),
    Asks {
        number: u64,
        ask: Ask,
        key: &'static str,
    },
    /// Time goes on until then.
    Until(&'static str),
}

fn alert(name: &str, word: &str, said: Signal) -> Step {
    Step::Reports(signal(&[("alertname", name), ("severity", word)], said))
}

fn check(outcome: CheckOutcome, id: &str, finished_at: &str) -> Step {
    let run = Run {
        id: Some(id.to_owned()),
        attempt: None,
        finished_at: Some(at(finished_at)),
    };
    let labels = [("alertname", "orders_not_null"), ("tool", "pandera")];
    Step::Reports(check_result(&labels, outcome, run))
}

fn asks(number: u64, key: &'static str, ask: Ask) -> Step {
    Step::Asks { number, ask, key }
}

fn remark(text: &str) -> Remark {
    Remark {
        text: text.to_owned(),
        ..Remark::default()
    }
}

/// Two incidents: a full one that is escalated, acknowledged and worked on, and a light one that verifies, recurs,
/// closes by itself, and reopens.
fn story() -> Vec<Step> {
    vec![
        alert("Down", "critical", Signal::Firing),
        Step::Until("2026-03-02T09:03:00Z"),
        check(CheckOutcome::Fail, "a", "2026-03-02T09:03:00Z"),
        alert("Down", "critical", Signal::Firing),
        Step::Until("2026-03-02T09:08:00Z"),
        asks(1, "1", Ask::Acknowledge),
        asks(1, "2", Ask::AddEvidence(remark("the log of 09:00"))),
        asks(1, "3", Ask::Note(remark("called the supplier"))),
        asks(1, "4", says(Output::Validated)),
        alert("Down", "warning", Signal::Firing),
        Step::Until("2026-03-02T09:15:00Z"),
        check(CheckOutcome::Pass, "b", "2026-03-02T09:15:00Z"),
        Step::Until("2026-03-02T11:30:00Z"),
        check(CheckOutcome::Fail, "c", "2026-03-02T11:30:00Z"),
        Step::Until("2026-03-02T11:35:00Z"),
        check(CheckOutcome::Pass, "d", "2026-03-02T11:35:00Z"),
        Step::Until("2026-03-02T14:59:00Z"),
        asks(1, "5", Ask::Unacknowledge),
        check(CheckOutcome::Error, "e", "2026-03-02T14:59:00Z"),
        check(CheckOutcome::Fail, "f", "2026-03-02T14:59:01Z"),
        Step::Until("2026-03-02T15:15:00Z"),
        alert("Down", "critical", Signal::Resolved),
        alert("Down", "warning", Signal::Resolved),
        Step::Until("2026-03-02T15:20:00Z"),
    ]
}

fn world() -> World {
    let rules = rules(|settings| {
        settings.severity = Some(SeverityRule::Map {
            label: "severity".to_owned(),
            map: BTreeMap::from([("critical".to_owned(), Severity::Sev1)]),
            default: Some(Severity::Sev3),
        });
        settings.open = Some(OpenWhen::After(Duration::from_secs(60)));
        settings.resolve_after = Some(Duration::from_secs(120));
        settings.verification = Some(Plan {
            check: CronSpec::parse("0 * * * *").expect("a cron"),
            zone: chrono_tz::UTC,
            window: Duration::from_secs(2 * 3600),
        });
    });
    let mut world = World::with(START, book(STEPS), rules).in_memory();
    ben_answers_late(&mut world.simulation);
    world
}

/// Ben's receiver answers on the second attempt only.
fn ben_answers_late(simulation: &mut Simulation) {
    simulation.answer_pages(|message, _now| {
        if message.to == "ben" && message.attempt == 1 {
            return Outcome::Retry {
                after: Some(Duration::from_secs(20)),
                why: "503".to_owned(),
            };
        }
        Outcome::Delivered {
            detail: "200".to_owned(),
        }
    });
}

/// What somebody was told: this holds from then on.
#[derive(Debug)]
enum Acknowledged {
    Reported(Vec<Fingerprint>, Recorded),
    /// The incident had this many entries.
    Asked {
        number: u64,
        seq: u64,
    },
}

/// How the story went.
struct Told {
    world: World,
    acknowledged: Vec<Acknowledged>,
    n_faults: u32,
}

/// Tells the story with a fault at the k-th write; none where it has fewer.
fn tell(fault: Fault, k: u64) -> Told {
    let mut told = Told {
        world: world(),
        acknowledged: Vec::new(),
        n_faults: 0,
    };
    let memory = told.world.simulation.memory();
    match fault {
        Fault::Before | Fault::Onwards => memory.stop_at(k),
        Fault::After => memory.stop_after(k),
        Fault::Once => memory.fail_at(k),
    }
    for step in story() {
        while !told.does(&step) {
            told.n_faults += 1;
            assert_eq!(told.n_faults, 1, "one fault was planted");
            if fault == Fault::Onwards {
                told.goes_on_trying(&step);
            }
            if fault != Fault::Once {
                let reopened = Arc::new(told.world.simulation.memory().reopen());
                told.world
                    .simulation
                    .restart(reopened)
                    .expect("what was kept can be read");
            }
        }
    }
    told
}

impl Told {
    /// Minutes in which nothing can be written: nothing is acknowledged, and nobody is told anything new.
    fn goes_on_trying(&mut self, step: &Step) {
        let (n, now) = (self.acknowledged.len(), self.world.simulation.now());
        let sent = self.world.simulation.sent().len();
        for _ in 0..3 {
            if !matches!(step, Step::Until(_)) {
                assert!(!self.does(step), "it cannot be written down");
            }
            // Where nothing is due nothing fails.
            drop(self.world.simulation.run());
        }
        assert_eq!(self.acknowledged.len(), n);
        assert_eq!(self.world.simulation.sent().len(), sent);
        assert_eq!(self.world.simulation.now(), now);
    }

    /// Whether it was acknowledged.
    fn does(&mut self, step: &Step) -> bool {
        let simulation = &mut self.world.simulation;
        match step {
            Step::Until(then) => simulation.advance(at(then).since(simulation.now())).is_ok(),
            Step::Reports(report) => match simulation.receive(report.clone()) {
                Err(_stopped) => false,
                Ok(recorded) => {
                    let labels = report.sightings.iter().map(|sighting| &sighting.labels);
                    let fingerprints = labels.map(Labels::fingerprint).collect();
                    let reported = Acknowledged::Reported(fingerprints, recorded);
                    self.acknowledged.push(reported);
                    true
                }
            },
            Step::Asks {
                number,
                ask: asked,
                key,
            } => {
                let caller = Caller {
                    by: "ben".to_owned(),
                    idempotency_key: Some((*key).to_owned()),
                    in_force: simulation.in_force.clone(),
                    now: simulation.now(),
                };
                let (number, asked) = (*number, asked.clone());
                let answer = simulation
                    .store()
                    .transact_blocking(Class::Engine, move |tx| ask(tx, number, asked, &caller));
                let Ok(incident) = answer else {
                    return false;
                };
                let seq = incident.seq;
                self.acknowledged.push(Acknowledged::Asked { number, seq });
                simulation.run().is_ok()
            }
        }
    }

    fn incidents(&self) -> Vec<Arc<Incident>> {
        let read = |number| self.world.simulation.incident(number);
        (1..)
            .map_while(|number| read(number).expect("the memory store reads"))
            .collect()
    }

    fn logs(&self) -> Vec<Vec<Entry>> {
        let incidents = self.incidents();
        let numbers = incidents.iter().map(|incident| incident.number());
        numbers.map(|number| entries(&self.world, number)).collect()
    }

    /// Every page by its id: to whom, and when it first went out.
    fn pages(&self) -> BTreeMap<String, (Timestamp, String)> {
        let mut pages = BTreeMap::new();
        for sent in self.world.simulation.sent() {
            let page = (sent.at, sent.message.to.clone());
            let first = pages
                .entry(sent.message.page_id.clone())
                .or_insert_with(|| page.clone());
            assert_eq!(first.1, page.1, "a page id names one page to one contact");
        }
        pages
    }

    fn n_writes(&self) -> u64 {
        self.world.simulation.store().status().sequence
    }

    fn nothing_acknowledged_is_missing(&self) {
        let store = self.world.simulation.store();
        for acknowledged in &self.acknowledged {
            match acknowledged {
                Acknowledged::Reported(fingerprints, recorded) => {
                    for fingerprint in fingerprints {
                        let seen = store.read(|reader| reader.alert(*fingerprint));
                        let twin = self.twin_is_seen();
                        assert!(seen.expect("it reads").is_some() || twin, "{fingerprint}");
                    }
                    for number in recorded.opened.union(&recorded.joined) {
                        let read = self.world.simulation.incident(*number);
                        assert!(read.expect("it reads").is_some(), "incident {number}");
                    }
                }
                Acknowledged::Asked { number, seq } => {
                    assert!(self.world.incident(*number).seq >= *seq);
                }
            }
        }
        let evidence = entries(&self.world, 1)
            .into_iter()
            .filter(|entry| matches!(entry.event, Event::EvidenceAdded(_)));
        assert_eq!(evidence.count(), 1, "added once, however often it was sent");
    }

    /// An error of a check fires its twin, whose labels say so.
    fn twin_is_seen(&self) -> bool {
        let labels = [
            ("alertname", "orders_not_null"),
            ("check", "error"),
            ("tool", "pandera"),
        ];
        let labels: Labels = labels.into_iter().collect();
        let store = self.world.simulation.store();
        let seen = store.read(|reader| reader.alert(labels.fingerprint()));
        seen.expect("it reads").is_some()
    }

    fn every_page_of_the_log_ended(&self) {
        for incident in self.incidents() {
            let read = self.world.simulation.store();
            let pages = read.read(|reader| reader.pages(incident.number()));
            for page in pages.expect("it reads") {
                let ended = page.state.has_ended();
                let due = page
                    .next_at
                    .is_some_and(|at| at > self.world.simulation.now());
                assert!(ended || due, "incident {}: {page:?}", incident.number());
            }
        }
        assert_eq!(self.world.simulation.health().violations, []);
    }
}

#[test]
fn the_story_without_a_fault_has_what_it_is_told_for() {
    let told = tell(Fault::Before, WRITES_MAX);
    assert_eq!(told.n_faults, 0);
    let found: Vec<_> = told
        .incidents()
        .iter()
        .map(|known| {
            (
                known.opened.dedup_key.clone().unwrap_or_default(),
                known.profile,
                known.phase,
                known.recurrences,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("Down".to_owned(), Profile::Full, Phase::Triage, 0),
            (
                "orders_not_null".to_owned(),
                Profile::Light,
                Phase::Response,
                2
            )
        ]
    );
    assert!(told.incidents()[0].is_clear());
    let pages: Vec<String> = told
        .pages()
        .into_iter()
        .map(|(id, (at, to))| format!("{id} {} {to}", &at.to_string()[11..16]))
        .collect();
    assert_eq!(
        pages,
        [
            "wk-1-1 09:01 ana",
            "wk-1-2 09:06 ben",
            "wk-1-3 14:59 ana",
            "wk-1-4 15:04 ben",
            "wk-1-5 15:14 ben",
            "wk-1-6 15:17 ana",
            "wk-1-7 15:17 ben",
            "wk-2-1 09:04 ana",
            "wk-2-2 09:09 ben",
            "wk-2-3 09:17 ana",
            "wk-2-4 09:17 ben",
            "wk-2-5 11:31 ana",
            "wk-2-6 11:37 ana",
            "wk-2-7 15:00 ana",
            "wk-2-8 15:05 ben",
            "wk-2-9 15:15 ben"
        ]
    );
    assert!(told.n_writes() > 80, "{} writes", told.n_writes());
}

#[test]
fn a_crash_at_any_write_loses_nothing_that_was_acknowledged_and_no_page() {
    let whole = tell(Fault::Before, WRITES_MAX);
    let (pages, logs) = (whole.pages(), whole.logs());
    for fault in [Fault::Before, Fault::After, Fault::Onwards] {
        for k in 1..=whole.n_writes() {
            let told = tell(fault, k);
            assert_eq!(
                told.n_faults, 1,
                "{fault:?} write {k} is one of the story's"
            );
            told.nothing_acknowledged_is_missing();
            told.every_page_of_the_log_ended();
            assert_eq!(told.pages(), pages, "{fault:?} write {k}");
            // Whoever was not answered asked again; the log shows it once.
            assert_eq!(told.logs(), logs, "{fault:?} write {k}");
        }
    }
}

#[test]
fn a_write_that_fails_once_is_made_up_for() {
    let whole = tell(Fault::Before, WRITES_MAX);
    for k in 1..=whole.n_writes() {
        let told = tell(Fault::Once, k);
        assert_eq!(told.n_faults, 1, "write {k} is one of the story's");
        told.nothing_acknowledged_is_missing();
        told.every_page_of_the_log_ended();
        assert_eq!(told.pages(), whole.pages(), "write {k}");
    }
}

// ---- the same on disk ----

/// Steps of the story that are told on disk: two incidents, pages with a retry, an acknowledgement, work of people.
const STEPS_ON_DISK: usize = 14;

/// Small files, so that segments end within the story.
fn settings() -> Settings {
    let mut settings = Settings::new(|| at(START));
    settings.journal.segment_bytes = 16 << 10;
    settings.journal.reserve_bytes = 4 << 10;
    settings.cache_bytes = 1 << 20;
    settings.floor_bytes = 0;
    settings
}

/// Where the machine keeps files in memory, if it does: it is not its disk that is tried here.
fn directory() -> TempDir {
    let in_memory = TempDir::new_in("/dev/shm");
    in_memory
        .or_else(|_none| TempDir::new())
        .expect("a directory")
}

/// Tells it with a disk that works for so many writes, syncs and allocations. Returns it with how many it took.
fn tell_on_disk(works_for: u64) -> (Told, u64) {
    let (first, settings) = (directory(), settings());
    let faults = Arc::clone(&settings.faults);
    let engine = Arc::new(SledEngine::open(first.path(), settings).expect("it opens"));
    let mut world = world();
    let in_force = world.simulation.in_force.clone();
    world.simulation = Simulation::on(engine, in_force, at(START));
    ben_answers_late(&mut world.simulation);
    faults.works_for.store(works_for, Ordering::Relaxed);
    let mut told = Told {
        world,
        acknowledged: Vec::new(),
        n_faults: 0,
    };
    // What the dead process left behind; the living one still holds its own.
    let left = directory();
    for step in story().into_iter().take(STEPS_ON_DISK) {
        while !told.does(&step) {
            told.n_faults += 1;
            assert_eq!(told.n_faults, 1, "one fault was planted");
            copy_dir(first.path(), left.path());
            let reopened = SledEngine::open(left.path(), self::settings());
            let reopened = Arc::new(reopened.expect("what was kept can be read"));
            told.world
                .simulation
                .restart_on(reopened)
                .expect("it starts again");
        }
    }
    told.nothing_acknowledged_is_missing();
    told.every_page_of_the_log_ended();
    let took = works_for - faults.works_for.load(Ordering::Relaxed);
    let last = told.world.simulation.store().engine();
    last.close()
        .expect("the last one works, and ends before its directory");
    (told, took)
}

#[test]
fn a_disk_that_fails_at_any_write_or_sync_loses_nothing_that_was_acknowledged_and_no_page() {
    let (whole, n) = tell_on_disk(u64::MAX - 1);
    assert_eq!(whole.n_faults, 0);
    assert!(n > 60, "{n} writes and syncs");
    assert_eq!(whole.incidents().len(), 2);
    let (pages, logs) = (whole.pages(), whole.logs());
    for k in 0..n {
        let (told, _) = tell_on_disk(k);
        assert_eq!(told.n_faults, 1, "{k} is one of the story's");
        assert_eq!(told.pages(), pages, "after {k}");
        assert_eq!(told.logs(), logs, "after {k}");
    }
}
