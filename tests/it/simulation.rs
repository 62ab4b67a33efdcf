//! Seeded simulations: alerts, people, receivers that fail, writes that fail, crashes, a clock that is set, edits of rules
//! and policies, in an order that the seed decides. Then every fault ends, and every page must arrive within its bound.
//!
//! `SEED=7` runs one seed, `WATCHKEEPER_SEEDS=10000` as many as it says.

mod laws;

use crate::chance::Chance;
use crate::lifecycle::{START, advance, close, confirms, missing_one, waiver};
use crate::world::{book, contacts, person, plan, policy, rule, rule_set, template};
use laws::Acknowledged;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use watchkeeper::domain::alert::{Outcome as CheckOutcome, Run, Sighting, Signal};
use watchkeeper::domain::escalation::Target;
use watchkeeper::domain::incident::event::{Origin, Remark};
use watchkeeper::domain::incident::{Ask, Flapping, StormCap};
use watchkeeper::domain::oncall::Book;
use watchkeeper::domain::page::Outcome;
use watchkeeper::domain::phase::Output;
use watchkeeper::domain::rule::{Action, OpenWhen, RuleSet, SeverityRule};
use watchkeeper::domain::severity::{Processes, Severity};
use watchkeeper::simulate::{Simulation, check_result, signal};
use watchkeeper::store::commands::{Caller, Reported, ask, report as report_incident};
use watchkeeper::store::engine::Class;
use watchkeeper::store::report::Report;
use watchkeeper::store::{Failure, InForce};

/// Seeds where nobody says how many.
const SEEDS: u64 = 200;

/// What happens before everything heals.
const ACTIONS: u64 = 30;

const NAMES: [&str; 4] = ["Down", "Slow", "Full", "Odd"];
const INSTANCES: [&str; 2] = ["a", "b"];
/// SEV1, SEV3, SEV4, SEV5.
const WORDS: [(&str, Severity); 4] = [
    ("critical", Severity::Sev1),
    ("warning", Severity::Sev3),
    ("minor", Severity::Sev4),
    ("info", Severity::Sev5),
];
const PEOPLE: [&str; 3] = ["ana", "ben", "cem"];

/// The longest of the times that [`random_book`] and [`random_rules`] set.
const LONGEST_STEP: Duration = Duration::from_secs(12 * 60);
const LONGEST_CONTACT: Duration = Duration::from_secs(2 * 60);
const LONGEST_OPEN: Duration = Duration::from_secs(3 * 60);

/// How a receiver of pages behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Receiver {
    Works,
    Down,
    /// Asks to be left alone for so many seconds.
    Busy(u64),
    Refuses,
    /// Answers nothing until the attempt's time is over.
    Hangs,
    /// Works now and then.
    Flaky,
}

/// One run of one seed.
struct Story {
    simulation: Simulation,
    random: Chance,
    receivers: Arc<Mutex<BTreeMap<String, Receiver>>>,
    acknowledged: Vec<Acknowledged>,
    /// Faults and deaths: how often a page may have gone out again.
    n_faults: usize,
    n_runs: u64,
    n_revisions: u64,
    told: Told,
}

/// What happened, printed when a law breaks.
struct Told {
    seed: u64,
    lines: Vec<String>,
}

impl Drop for Told {
    #[expect(clippy::print_stdout, reason = "a test prints what it fails with")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.lines.join("\n  ");
            print!("SEED={} after\n  {lines}\n", self.seed);
        }
    }
}

#[test]
fn whatever_fails_every_page_arrives_once_nothing_does() {
    let all = seeds();
    let next = AtomicU64::new(all.start);
    let run = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !all.contains(&seed) {
                break;
            }
            Story::new(seed).tell();
        }
    };
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            threads.spawn(run);
        }
    });
}

#[expect(
    clippy::disallowed_methods,
    reason = "which seeds run is said from outside"
)]
fn seeds() -> std::ops::Range<u64> {
    let number = |name| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().expect("a number of a seed or of seeds"))
    };
    match (number("SEED"), number("WATCHKEEPER_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(n)) => 0..n,
        (None, None) => 0..SEEDS,
    }
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut random = Chance::new(seed);
        let in_force = InForce {
            rules: Arc::new(random_rules(&mut random, 0)),
            book: Arc::new(random_book(&mut random)),
        };
        let receivers: Arc<Mutex<BTreeMap<String, Receiver>>> = Arc::default();
        let (answers, mut luck) = (Arc::clone(&receivers), Chance::new(seed ^ 0x5eed));
        let mut simulation = Simulation::new(in_force, START.parse().expect("a time"));
        simulation.answer_pages(move |message, _now| {
            let receivers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            let known = receivers.get(&message.address).copied();
            answer(known.unwrap_or(Receiver::Works), &mut luck)
        });
        Self {
            simulation,
            random,
            receivers,
            acknowledged: Vec::new(),
            n_faults: 0,
            n_runs: 0,
            n_revisions: 0,
            told: Told {
                seed,
                lines: Vec::new(),
            },
        }
    }

    fn tell(mut self) {
        for _ in 0..ACTIONS {
            self.happens();
        }
        self.heals();
    }

    fn says(&mut self, line: impl Into<String>) {
        let now = self.simulation.now();
        self.told.lines.push(format!("{now} {}", line.into()));
    }

    fn happens(&mut self) {
        match self.random.below(100) {
            0..30 => self.sends(),
            30..55 => self.somebody_asks(),
            55..58 => self.somebody_reports(),
            58..61 => self.somebody_resolves(),
            61..70 => self.receiver_changes(),
            70..77 => self.writes_will_fail(),
            77..80 => self.dies(),
            80..84 => self.clock_is_set(),
            84..88 => self.configuration_is_edited(),
            _ => {}
        }
        self.goes_on();
        self.time_passes();
    }

    /// Seconds mostly, an hour seldom.
    fn time_passes(&mut self) {
        let seconds = match self.random.below(10) {
            0..4 => self.random.below(20),
            4..9 => self.random.below(8 * 60),
            _ => self.random.below(70 * 60),
        };
        self.says(format!("{seconds} s pass"));
        if self
            .simulation
            .advance(Duration::from_secs(seconds))
            .is_err()
        {
            self.n_faults += 1;
        }
        self.goes_on();
    }

    /// A process whose store takes no more writes ends, and is started again.
    fn goes_on(&mut self) {
        if self.simulation.store().status().poisoned.is_some() {
            self.restarts();
        } else if self.simulation.run().is_err() {
            self.n_faults += 1;
            self.goes_on();
        }
    }

    fn sends(&mut self) {
        let report = if self.random.one_in(4) {
            self.check_report()
        } else {
            self.alert_report()
        };
        let said: Vec<String> = report
            .sightings
            .iter()
            .map(|sighting| format!("{:?} {:?}", sighting.labels, sighting.said))
            .collect();
        let recorded = self.simulation.take(report.clone());
        self.says(format!("sent {}: {recorded:?}", said.join(", ")));
        match recorded {
            Ok(recorded) => self
                .acknowledged
                .push(Acknowledged::Reported(report, recorded)),
            Err(_not_taken) => self.n_faults += 1,
        }
    }

    fn alert_report(&mut self) -> Report {
        let n = 1 + self.random.below(5);
        let sightings = (0..n).map(|_| self.alert()).collect();
        let mut report = signal(&[], Signal::Firing);
        report.sightings = sightings;
        report
    }

    fn alert(&mut self) -> Sighting {
        let said = if self.random.one_in(3) {
            Signal::Resolved
        } else if self.random.one_in(3) {
            let minutes = 1 + self.random.below(40);
            let until = self
                .simulation
                .now()
                .plus(Duration::from_secs(minutes * 60));
            Signal::FiringUntil(until)
        } else {
            Signal::Firing
        };
        let labels = [
            ("alertname", *self.random.of(&NAMES)),
            ("instance", *self.random.of(&INSTANCES)),
        ];
        let (word, _) = *self.random.of(&WORDS);
        let mut sighting = signal(&labels, said).sightings.remove(0);
        sighting.severity = Some(word.to_owned());
        sighting
    }

    fn check_report(&mut self) -> Report {
        self.n_runs += 1;
        // Now and then the last run is reported once more.
        let id = self.n_runs - u64::from(self.random.one_in(4));
        let run = Run {
            id: Some(id.to_string()),
            attempt: None,
            finished_at: Some(self.simulation.now()),
        };
        let outcomes = [
            CheckOutcome::Pass,
            CheckOutcome::Warn,
            CheckOutcome::Fail,
            CheckOutcome::Error,
            CheckOutcome::Skip,
        ];
        let labels = [("alertname", "null_rate"), ("dataset", "orders")];
        let mut report = check_result(&labels, *self.random.of(&outcomes), run.clone());
        if self.random.one_in(2) {
            let labels = [("alertname", "row_count"), ("dataset", "orders")];
            let other = check_result(&labels, *self.random.of(&outcomes), run);
            report.sightings.extend(other.sightings);
        }
        report
    }

    fn caller(&mut self) -> Caller {
        Caller {
            by: (*self.random.of(&PEOPLE)).to_owned(),
            idempotency_key: None,
            in_force: self.simulation.in_force.clone(),
            now: self.simulation.now(),
        }
    }

    fn somebody_asks(&mut self) {
        let incidents = self.incidents();
        if incidents.is_empty() {
            return;
        }
        let incident = Arc::clone(self.random.of(&incidents));
        let number = incident.number();
        for asked in self.random_asks(&incident) {
            let caller = self.caller();
            let its = asked.clone();
            let answer = self
                .simulation
                .store()
                .transact_blocking(Class::Engine, move |tx| ask(tx, number, its, &caller));
            let shown = match &answer {
                Ok(incident) => format!("granted, entry {}", incident.seq),
                Err(failure) => format!("{failure:?}"),
            };
            self.says(format!("somebody asks #{number} {asked:?}: {shown}"));
            match answer {
                Ok(incident) => self.acknowledged.push(Acknowledged::Asked {
                    number,
                    last: self.entry(number, incident.seq),
                }),
                Err(Failure::Refused(_)) => {}
                Err(Failure::Store(_)) => self.n_faults += 1,
            }
        }
    }

    /// What somebody asks: one thing, or every output of the phase and then to go on.
    fn random_asks(&mut self, incident: &watchkeeper::domain::incident::Incident) -> Vec<Ask> {
        let reopens = !incident.is_open() && self.random.one_in(2);
        let what = if reopens { 10 } else { self.random.below(20) };
        let one = match what {
            0..4 => Ask::Acknowledge,
            4 => Ask::Unacknowledge,
            5 => Ask::TakeOver,
            6 => Ask::Escalate,
            7 => Ask::Page {
                to: Target::Person((*self.random.of(&PEOPLE)).to_owned()),
            },
            8 => confirms(*self.random.of(&Severity::ALL)),
            9 => Ask::Note(Remark::default()),
            10 => Ask::Reopen {
                reason: "it is still there".to_owned(),
            },
            11 => Ask::Close {
                waive: Output::ALL
                    .into_iter()
                    .filter(|output| output.is_waivable())
                    .map(|output| waiver(output, None))
                    .collect(),
            },
            12 => close(),
            _ => {
                let outputs = incident.phase.required_outputs().iter();
                let missing = outputs.filter_map(|output| missing_one(*output, incident));
                return missing.chain([advance()]).collect();
            }
        };
        vec![one]
    }

    fn somebody_reports(&mut self) {
        let reported = Reported {
            title: "the shop is odd".to_owned(),
            description: String::new(),
            severity: *self.random.of(&Severity::ALL),
            team: None,
            origin: Origin::Customer,
        };
        let caller = self.caller();
        let answer = self
            .simulation
            .store()
            .transact_blocking(Class::Engine, move |tx| {
                report_incident(tx, &reported, &caller)
            });
        match answer {
            Ok(incident) => {
                let number = incident.number();
                self.says(format!("somebody reports #{number}"));
                let last = self.entry(number, incident.seq);
                self.acknowledged.push(Acknowledged::Asked { number, last });
            }
            Err(failed) => {
                self.n_faults += 1;
                self.says(format!("somebody reports: {failed:?}"));
            }
        }
    }

    fn somebody_resolves(&mut self) {
        let fingerprint = self.alert().labels.fingerprint();
        let by = *self.random.of(&PEOPLE);
        let answer = self.simulation.resolve(None, fingerprint, "seen to", by);
        self.says(format!("somebody resolves {fingerprint}: {answer:?}"));
        if matches!(answer, Err(Failure::Store(_))) {
            self.n_faults += 1;
        }
    }

    fn receiver_changes(&mut self) {
        let behaviours = [
            Receiver::Works,
            Receiver::Works,
            Receiver::Down,
            Receiver::Busy(20),
            Receiver::Busy(280),
            Receiver::Busy(4_000),
            Receiver::Refuses,
            Receiver::Hangs,
            Receiver::Flaky,
        ];
        let behaviour = *self.random.of(&behaviours);
        let of: Vec<&str> = if self.random.one_in(3) {
            PEOPLE.to_vec()
        } else {
            vec![*self.random.of(&PEOPLE)]
        };
        self.says(format!("receivers of {of:?}: {behaviour:?}"));
        let mut receivers = self
            .receivers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for name in of {
            receivers.insert(name.to_owned(), behaviour);
            if self.random.one_in(2) {
                receivers.insert(format!("{name}-phone"), behaviour);
            }
        }
    }

    fn writes_will_fail(&mut self) {
        let most = *self.random.of(&[3, 12]);
        let k = 1 + self.random.below(most);
        let memory = self.simulation.memory();
        let how = match self.random.below(4) {
            0 => {
                memory.stop_at(k);
                "and every one after it, as before a crash"
            }
            1 => {
                memory.stop_after(k);
                "is kept, and the process dies"
            }
            _ => {
                memory.fail_at(k);
                "fails once"
            }
        };
        self.says(format!("write {k} from now {how}"));
    }

    fn dies(&mut self) {
        self.says("the process dies");
        self.restarts();
    }

    /// The state comes from the store. Some of the time nobody was there, and the clock may have been set meanwhile.
    fn restarts(&mut self) {
        self.n_faults += 1;
        let away = match self.random.below(3) {
            0 => self.random.below(3600),
            _ => self.random.below(10),
        };
        let set_by = if self.random.one_in(8) {
            self.hours()
        } else {
            0
        };
        self.simulation.sleep(Duration::from_secs(away));
        self.simulation.set_clock(set_by);
        self.says(format!(
            "the program starts again after {away} s, the clock set by {set_by} ms"
        ));
        let memory = Arc::new(self.simulation.memory().reopen());
        self.simulation
            .restart(memory)
            .expect("what was kept reads");
    }

    fn hours(&mut self) -> i64 {
        let minutes = i64::try_from(2 + self.random.below(300)).expect("few");
        if self.random.one_in(2) {
            minutes * 60_000
        } else {
            -minutes * 60_000
        }
    }

    /// With or without a request before the engine sees it.
    fn clock_is_set(&mut self) {
        let by_ms = self.hours();
        self.says(format!("the clock is set by {by_ms} ms"));
        self.simulation.set_clock(by_ms);
        if self.random.one_in(2) {
            self.writes_will_fail();
        }
        match self.random.below(3) {
            0 => self.sends(),
            1 => self.somebody_asks(),
            _ => {}
        }
    }

    fn configuration_is_edited(&mut self) {
        self.n_revisions += 1;
        let in_force = InForce {
            rules: Arc::new(random_rules(&mut self.random, self.n_revisions)),
            book: Arc::new(random_book(&mut self.random)),
        };
        let of = in_force.book.policies.values().next();
        self.says(format!(
            "the configuration is edited: {:?} {of:?}",
            in_force.rules.rules()
        ));
        self.simulation.in_force = in_force;
    }
}

fn answer(receiver: Receiver, luck: &mut Chance) -> Outcome {
    let delivered = Outcome::Delivered {
        detail: "200".to_owned(),
    };
    let later = |after, why: &str| Outcome::Retry {
        after,
        why: why.to_owned(),
    };
    match receiver {
        Receiver::Works => delivered,
        Receiver::Down => later(None, "503"),
        Receiver::Busy(seconds) => later(Some(Duration::from_secs(seconds)), "429"),
        Receiver::Refuses => Outcome::Rejected {
            why: "410".to_owned(),
        },
        Receiver::Hangs => later(None, "no answer in time"),
        Receiver::Flaky if luck.one_in(2) => later(None, "502"),
        Receiver::Flaky => delivered,
    }
}

/// Every policy reaches somebody: what cannot page at all is for `check` to refuse.
fn random_book(random: &mut Chance) -> Book {
    let minutes = |random: &mut Chance| 1 + random.below(LONGEST_STEP.as_secs() / 60);
    let steps = [
        ("ana", minutes(random)),
        ("ben", minutes(random)),
        ("ana+cem", minutes(random)),
    ];
    let n = usize::try_from(1 + random.below(3)).expect("few");
    let mut book = book(steps.get(..n).unwrap_or(&steps));
    for name in PEOPLE {
        let mut known = person(name);
        if random.one_in(2) {
            let phone = format!("{name}-phone");
            known.notify = contacts(&[(name, 0), (&phone, LONGEST_CONTACT.as_secs() / 60)]);
        }
        book.people.insert(name.to_owned(), known);
    }
    // Now and then somebody cannot be reached at all.
    if random.one_in(4)
        && let Some(ana) = book.people.get_mut("ana")
    {
        ana.notify.clear();
    }
    let fallback = random.one_in(2);
    let (repeat, timeout) = (random.below(2), random.one_in(2));
    let policy = policy(&mut book);
    policy.repeat = u32::try_from(repeat).expect("few");
    policy.acknowledge_timeout_ms = timeout.then_some(20 * 60_000);
    policy.fallback = if fallback {
        vec![Target::Person("cem".to_owned())]
    } else {
        vec![Target::Person("ben".to_owned())]
    };
    book.storm = random.one_in(2).then(|| StormCap {
        incidents: u32::try_from(1 + random.below(3)).expect("few"),
        within_ms: 60_000 * (1 + random.below(60)),
    });
    book.processes = Processes::new(Severity::ALL.map(|severity| {
        let mut process = book.processes.of(severity).clone();
        process.verification = plan("*/20 * * * *", 1);
        process
    }));
    book
}

fn random_rules(random: &mut Chance, revision: u64) -> RuleSet {
    let words = WORDS.map(|(word, severity)| (word.to_owned(), severity));
    let spans = [Duration::ZERO, Duration::from_secs(45), LONGEST_OPEN];
    let (open_after, resolve_after) = (*random.of(&spans), *random.of(&spans));
    let reopen_within = *random.of(&[Duration::ZERO, Duration::from_secs(90 * 60)]);
    let stale_after = random
        .one_in(2)
        .then(|| Duration::from_secs(60 * (5 + random.below(60))));
    let flapping = random.one_in(2).then(|| Flapping {
        changes: u32::try_from(1 + random.below(4)).expect("few"),
        within_ms: 60_000 * (1 + random.below(40)),
    });
    let open = match random.one_in(4) {
        true => OpenWhen::Count {
            count: u32::try_from(2 + random.below(3)).expect("few"),
            within: Duration::from_secs(60 * (1 + random.below(60))),
        },
        false => OpenWhen::After(open_after),
    };
    let by_instance = random.one_in(3);
    let odd_is_recorded = random.one_in(5);
    let name = format!("all-{}", revision % 2);
    let mut all = vec![rule(&name, &[], |settings| {
        settings.severity = Some(SeverityRule::Map {
            label: "@severity".to_owned(),
            map: words.into_iter().collect(),
            default: Some(Severity::Sev3),
        });
        settings.open = Some(open);
        settings.resolve_after = Some(resolve_after);
        settings.reopen_within = Some(reopen_within);
        settings.stale_after = stale_after;
        settings.flapping = flapping;
        if by_instance {
            let key = "{{ labels.alertname }}/{{ labels.instance }}";
            settings.dedup_key = Some(template(key));
        }
    })];
    if odd_is_recorded {
        let recorded = rule("odd", &["alertname=\"Odd\""], |settings| {
            settings.action = Some(Action::Record);
        });
        all.insert(0, recorded);
    }
    rule_set(&format!("r{revision}"), all)
}
