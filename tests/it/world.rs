//! The world of the stories: the program in memory, a clock that only the test moves, a pager that remembers.

use crate::stores;
use chrono::Timelike;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use watchkeeper::domain::alert::{Outcome, Run, Sighting, Signal};
use watchkeeper::domain::cron_spec::CronSpec;
use watchkeeper::domain::escalation::{EscalationPolicy, Step, Target};
use watchkeeper::domain::incident::{Ask, Incident, Refusal, describe};
use watchkeeper::domain::matcher::Matcher;
use watchkeeper::domain::oncall::{Book, Contact, DEFAULT_POLICY, Person};
use watchkeeper::domain::page::{Outcome as PageOutcome, PageKind};
use watchkeeper::domain::rule::{Rule, RuleSet, Settings, SeverityRule};
use watchkeeper::domain::schedule::{Layer, Rotation, Schedule};
use watchkeeper::domain::severity::{Matrix, Process, Processes, Profile, Severity, Urgency};
use watchkeeper::domain::template::Template;
use watchkeeper::domain::time::Timestamp;
use watchkeeper::domain::verification::Plan;
use watchkeeper::engine::audit::audit;
use watchkeeper::simulate::{Sent, Simulation, check_result, signal};
use watchkeeper::store::commands::Refused;
use watchkeeper::store::engine::Engine;
use watchkeeper::store::report::{Recorded, Report};
use watchkeeper::store::{Failure, InForce};

/// A Monday.
pub(crate) const START: &str = "2026-03-02T09:00:00Z";

/// The channel of every contact, unless a story says otherwise.
pub(crate) const CHANNEL: &str = "ops-hook";

/// How a receiver of pages behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receiver {
    /// Not now.
    Down,
    /// Never.
    Refuses,
}

/// The program, as a story sees it.
pub(crate) struct World {
    pub(crate) simulation: Simulation,
    start: Timestamp,
}

impl World {
    /// At `start`, with one policy whose steps are these people and the minutes each has. One rule takes every alert,
    /// SEV1, its key the alert's name.
    pub(crate) fn new(start: &str, steps: &[(&str, u64)]) -> Self {
        Self::with(start, book(steps), rules(|_settings| {}))
    }

    pub(crate) fn with(start: &str, book: Book, rules: RuleSet) -> Self {
        let start = at(start);
        let in_force = InForce {
            rules: Arc::new(rules),
            book: Arc::new(book),
        };
        Self {
            simulation: simulation(in_force, start),
            start,
        }
    }

    /// The same, in memory whatever the other stories run on: for what can be done to that store alone.
    pub(crate) fn in_memory(mut self) -> Self {
        let (in_force, start) = (self.simulation.in_force.clone(), self.start);
        self.simulation = Simulation::new(in_force, start);
        self
    }

    /// The same, on this store.
    pub(crate) fn on(mut self, engine: Arc<dyn Engine>) -> Self {
        let (in_force, start) = (self.simulation.in_force.clone(), self.start);
        self.simulation = Simulation::on(engine, in_force, start);
        self
    }

    /// An alert of this name fires. `Down db1` is the alert `Down` of the instance `db1`.
    pub(crate) fn fires(&mut self, name: &str) -> Recorded {
        self.receives(vec![sighting(name, Signal::Firing)])
    }

    /// The same, with the sender's own word for how bad it is: an attribute, no identity.
    pub(crate) fn fires_as(&mut self, name: &str, severity: &str) -> Recorded {
        self.receives(vec![worded(name, severity)])
    }

    pub(crate) fn resolves(&mut self, name: &str) -> Recorded {
        self.receives(vec![sighting(name, Signal::Resolved)])
    }

    /// One report with all of these.
    pub(crate) fn receives(&mut self, sightings: Vec<Sighting>) -> Recorded {
        let mut report = signal(&[], Signal::Firing);
        report.sightings = sightings;
        self.report(report)
    }

    /// One report with these results of the check `null_rate`, all of one run.
    pub(crate) fn checks(&mut self, run: &Run, outcomes: &[Outcome]) -> Recorded {
        let result = |outcome: &Outcome| {
            let mut report = check_result(CHECK, *outcome, run.clone());
            report.sightings.remove(0)
        };
        let mut report = check_result(CHECK, Outcome::Skip, run.clone());
        report.sightings = outcomes.iter().map(result).collect();
        self.report(report)
    }

    pub(crate) fn report(&mut self, report: Report) -> Recorded {
        self.simulation
            .receive(report)
            .expect("the memory store takes it")
    }

    pub(crate) fn ask(
        &mut self,
        number: u64,
        ask: Ask,
        by: &str,
    ) -> Result<Arc<Incident>, Refusal> {
        match self.simulation.ask(number, ask, by) {
            Ok(incident) => Ok(incident),
            Err(Failure::Refused(Refused::Incident(refusal))) => Err(refusal),
            Err(other) => unreachable!("the story asks what there is: {other:?}"),
        }
    }

    /// Somebody asks what is granted.
    pub(crate) fn asks(&mut self, number: u64, ask: Ask, by: &str) {
        self.ask(number, ask, by).expect("it is granted");
    }

    pub(crate) fn acknowledges(&mut self, number: u64, by: &str) {
        self.asks(number, Ask::Acknowledge, by);
    }

    /// Minutes pass.
    pub(crate) fn advance(&mut self, minutes: u64) {
        self.advance_seconds(minutes * 60);
    }

    pub(crate) fn advance_seconds(&mut self, seconds: u64) {
        self.simulation
            .advance(Duration::from_secs(seconds))
            .expect("the memory store works");
    }

    /// The configuration of people is changed while the program runs.
    pub(crate) fn edits(&mut self, change: impl FnOnce(&mut Book)) {
        change(Arc::make_mut(&mut self.simulation.in_force.book));
    }

    /// From now on the receivers at these addresses behave so; all others take what they get.
    pub(crate) fn receivers(&mut self, broken: &[(&'static str, Receiver)]) {
        let broken: BTreeMap<&str, Receiver> = broken.iter().copied().collect();
        self.simulation.answer_pages(move |message, _now| {
            match broken.get(message.address.as_str()) {
                None => PageOutcome::Delivered {
                    detail: "200".to_owned(),
                },
                Some(Receiver::Down) => PageOutcome::Retry {
                    after: None,
                    why: "503".to_owned(),
                },
                Some(Receiver::Refuses) => PageOutcome::Rejected {
                    why: "410".to_owned(),
                },
            }
        });
    }

    pub(crate) fn incident(&self, number: u64) -> Arc<Incident> {
        self.simulation
            .incident(number)
            .expect("the memory store reads")
            .expect("there is such an incident")
    }

    /// How many alerts, repeats included, an incident has received.
    pub(crate) fn received(&self, number: u64) -> u64 {
        let read = self.simulation.store().read(|reader| reader.tally(number));
        read.expect("the memory store reads")
    }

    /// What an audit finds now.
    pub(crate) fn violations(&self) -> Vec<(u64, &'static str)> {
        let (store, now) = (self.simulation.store(), self.simulation.now());
        let found = store.read(|reader| audit(reader, now)).expect("it reads");
        found
            .iter()
            .map(|violation| (violation.incident, violation.why))
            .collect()
    }

    /// The lines of an incident's timeline that contain a text: `09:05 step 1 reaches nobody: …`.
    pub(crate) fn timeline(&self, number: u64, text: &str) -> Vec<String> {
        let incident = self.incident(number);
        let read = self.simulation.store();
        let entries = read
            .read(|reader| reader.entries(number, 1, u64::MAX))
            .expect("the memory store reads");
        entries
            .iter()
            .map(|entry| format!("{} {}", self.clock(entry.at), describe(entry, &incident)))
            .filter(|line| line.contains(text))
            .collect()
    }

    /// Every page and update that went out: `09:05 ben`, `09:10 ana (update)`, `09:00 ana by ana-phone`, and where it did
    /// not arrive `09:00 ana: retry` or `09:00 ana: refused`.
    pub(crate) fn pages(&self) -> Vec<String> {
        let sent = self.simulation.sent();
        sent.iter().map(|sent| self.line(sent)).collect()
    }

    /// Those that arrived.
    pub(crate) fn delivered(&self) -> Vec<String> {
        let sent = self.simulation.sent().iter();
        let arrived = |sent: &&Sent| matches!(sent.outcome, PageOutcome::Delivered { .. });
        sent.filter(arrived).map(|sent| self.line(sent)).collect()
    }

    /// The page ids of what went out, in order.
    pub(crate) fn page_ids(&self) -> Vec<String> {
        let sent = self.simulation.sent();
        sent.iter()
            .map(|sent| sent.message.page_id.clone())
            .collect()
    }

    fn line(&self, sent: &Sent) -> String {
        let message = &sent.message;
        let by = if message.address == message.to {
            String::new()
        } else {
            format!(" by {}", message.address)
        };
        let update = match message.kind {
            PageKind::Update => " (update)",
            PageKind::Page | PageKind::Bundle | PageKind::Drill => "",
        };
        let outcome = match sent.outcome {
            PageOutcome::Delivered { .. } => "",
            PageOutcome::Retry { .. } => ": retry",
            PageOutcome::Rejected { .. } => ": refused",
        };
        format!(
            "{} {}{by}{update}{outcome}",
            self.clock(sent.at),
            message.to
        )
    }

    /// `09:05`; the seconds too where there are some, the day where it is another one.
    fn clock(&self, at: Timestamp) -> String {
        let (first, at) = (self.start.to_utc(), at.to_utc());
        let day = if first.date_naive() == at.date_naive() {
            ""
        } else {
            "%m-%d "
        };
        let seconds = if at.second() == 0 { "" } else { ":%S" };
        at.format(&format!("{day}%H:%M{seconds}")).to_string()
    }
}

/// The variable that says on which store the stories run: `sled`, `postgres`, or `replicas` for two programs on one
/// database; in memory without it.
const STORIES_ON: &str = "STORIES_ON";

/// The program over an empty store.
#[expect(
    clippy::disallowed_methods,
    reason = "what the runner of the tests asks for; the program reads none of it"
)]
pub(crate) fn simulation(in_force: InForce, start: Timestamp) -> Simulation {
    match std::env::var(STORIES_ON).as_deref() {
        Err(_) | Ok("memory") => Simulation::new(in_force, start),
        Ok("sled") => Simulation::on(stores::sled(), in_force, start),
        Ok("postgres") => Simulation::on(stores::postgres(), in_force, start),
        Ok("replicas") => {
            let [one, other] = stores::replicas();
            Simulation::on(one, in_force, start).beside(other)
        }
        Ok(other) => panic!("{STORIES_ON} is memory, sled, postgres or replicas, found {other}"),
    }
}

/// At the end of every story each incident is the sum of its log.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for number in 1.. {
            let Some(incident) = self.simulation.incident(number).expect("it reads") else {
                break;
            };
            let log = self.simulation.store();
            let log = log.read(|reader| reader.entries(number, 1, u64::MAX));
            let replayed = Incident::replay(&log.expect("it reads"));
            assert_eq!(replayed.as_ref(), Some(incident.as_ref()));
        }
    }
}

/// The labels of the check of the stories.
pub(crate) const CHECK: &[(&str, &str)] = &[("alertname", "null_rate"), ("dataset", "orders")];

/// An alert as a monitoring system says it.
pub(crate) fn sighting(name: &str, said: Signal) -> Sighting {
    let (name, instance) = name.split_once(' ').unwrap_or((name, ""));
    let labels = [("alertname", name), ("instance", instance)];
    signal(&labels, said).sightings.remove(0)
}

/// One that fires, with the sender's own word for how bad it is.
pub(crate) fn worded(name: &str, severity: &str) -> Sighting {
    let mut sighting = sighting(name, Signal::Firing);
    sighting.severity = Some(severity.to_owned());
    sighting
}

/// A run of a check, by its id and the time it finished.
pub(crate) fn run(id: &str, finished_at: &str) -> Run {
    Run {
        id: Some(id.to_owned()),
        attempt: None,
        finished_at: Some(at(finished_at)),
    }
}

/// One policy, `default`, with these targets, each person with one contact, and the minutes each step has. A target is a
/// person or `schedule:NAME`; several are joined by `+`.
pub(crate) fn book(steps: &[(&str, u64)]) -> Book {
    let targets = |text: &str| -> Vec<Target> {
        let names = text.split('+').filter(|name| !name.is_empty());
        names
            .map(|name| match name.strip_prefix("schedule:") {
                Some(schedule) => Target::Schedule(schedule.to_owned()),
                None => Target::Person(name.to_owned()),
            })
            .collect()
    };
    let people = steps
        .iter()
        .flat_map(|(text, _)| text.split('+'))
        .filter(|name| !name.is_empty() && !name.contains(':'))
        .map(|name| (name.to_owned(), person(name)));
    let policy = EscalationPolicy {
        name: DEFAULT_POLICY.to_owned(),
        steps: steps
            .iter()
            .map(|(text, minutes)| Step {
                targets: targets(text),
                timeout: Duration::from_secs(minutes * 60),
            })
            .collect(),
        repeat: 0,
        acknowledge_timeout_ms: None,
        fallback: Vec::new(),
    };
    Book {
        heartbeats: BTreeMap::new(),
        stale_after: BTreeMap::new(),
        storm: None,
        people: people.collect(),
        teams: BTreeMap::new(),
        schedules: BTreeMap::new(),
        policies: BTreeMap::from([(DEFAULT_POLICY.to_owned(), policy)]),
        processes: processes(),
        weaknesses: Vec::new(),
        detection_gaps: Vec::new(),
    }
}

/// The one policy of a story's book.
pub(crate) fn policy(book: &mut Book) -> &mut EscalationPolicy {
    book.policies
        .get_mut(DEFAULT_POLICY)
        .expect("a book has it always")
}

pub(crate) fn person(name: &str) -> Person {
    Person {
        name: name.to_owned(),
        zone: None,
        notify: contacts(&[(name, 0)]),
        notify_low: None,
        manager: None,
    }
}

pub(crate) fn add_person(book: &mut Book, name: &str) {
    book.people.insert(name.to_owned(), person(name));
}

/// Contacts by their address, and the minutes after which each is tried.
pub(crate) fn contacts(of: &[(&str, u64)]) -> Vec<Contact> {
    of.iter()
        .map(|(address, minutes)| Contact {
            channel: CHANNEL.to_owned(),
            address: (*address).to_owned(),
            after: Duration::from_secs(minutes * 60),
        })
        .collect()
}

/// A schedule on which each of these people is on call from a time on, until the next one is.
pub(crate) fn add_schedule(book: &mut Book, name: &str, shifts: &[(&str, &str)]) {
    let layers = shifts.iter().map(|(person, from)| Layer {
        name: (*person).to_owned(),
        people: vec![(*person).to_owned()],
        rotation: Rotation::Weekly,
        every: 1,
        start: at(from).to_utc().naive_utc(),
        zone: chrono_tz::UTC,
        days: None,
        from: None,
        to: None,
    });
    let schedule = Schedule {
        name: name.to_owned(),
        zone: chrono_tz::UTC,
        layers: layers.collect(),
    };
    book.schedules.insert(name.to_owned(), schedule);
    for (name, _) in shifts {
        add_person(book, name);
    }
}

/// The processes that hold where nothing is configured, SEV1 first.
pub(crate) fn default_processes() -> [Process; 5] {
    let process = |outputs, urgency, check: &str, hours: u64| Process {
        outputs,
        urgency,
        leadership: None,
        verification: plan(check, hours),
    };
    [
        process(Profile::Full, Urgency::High, "0 9 * * *", 14 * 24),
        process(Profile::Full, Urgency::High, "0 9 * * *", 14 * 24),
        process(Profile::Light, Urgency::High, "0 9 * * *", 7 * 24),
        process(Profile::Light, Urgency::Low, "0 * * * *", 24),
        process(Profile::Light, Urgency::None, "0 * * * *", 1),
    ]
}

pub(crate) fn processes() -> Processes {
    Processes::new(default_processes())
}

/// Checks by this cron for so many hours.
pub(crate) fn plan(check: &str, hours: u64) -> Plan {
    Plan {
        check: CronSpec::parse(check).expect("a cron"),
        zone: chrono_tz::UTC,
        window: Duration::from_secs(hours * 3600),
    }
}

/// The first step of the policy `leadership` is told when an incident opens at one of these severities or rises to it.
pub(crate) fn lead(book: &mut Book, of: &[Severity], leader: &str) {
    add_person(book, leader);
    let mut leadership = policy(book).clone();
    leadership.name = "leadership".to_owned();
    leadership.steps.truncate(1);
    for step in &mut leadership.steps {
        step.targets = vec![Target::Person(leader.to_owned())];
    }
    book.policies.insert(leadership.name.clone(), leadership);
    let all = Severity::ALL.map(|severity| {
        let mut process = book.processes.of(severity).clone();
        if of.contains(&severity) {
            process.leadership = Some("leadership".to_owned());
        }
        process
    });
    book.processes = Processes::new(all);
}

/// A rule for the alerts that match, SEV1, its key the alert's name, changed as the story wants.
pub(crate) fn rule(name: &str, matchers: &[&str], change: impl FnOnce(&mut Settings)) -> Rule {
    let mut settings = Settings {
        severity: Some(SeverityRule::Fixed(Severity::Sev1)),
        dedup_key: Some(template("{{ labels.alertname }}")),
        ..Settings::default()
    };
    change(&mut settings);
    let matchers = matchers
        .iter()
        .map(|text| Matcher::parse(text).expect("a matcher"));
    Rule {
        name: name.to_owned(),
        matchers: matchers.collect(),
        active: Vec::new(),
        continues: false,
        settings,
    }
}

pub(crate) fn rule_set(revision: &str, rules: Vec<Rule>) -> RuleSet {
    RuleSet::new(rules, Matrix::default(), revision.to_owned())
}

/// One rule that takes every alert, SEV1, its key the alert's name, changed as the story wants.
pub(crate) fn rules(change: impl FnOnce(&mut Settings)) -> RuleSet {
    rule_set("r1", vec![rule("all", &[], change)])
}

/// Severity by the sender's own word.
pub(crate) fn by_word() -> SeverityRule {
    let words = ["critical", "major", "warning", "minor", "info"];
    let map = words.map(str::to_owned).into_iter().zip(Severity::ALL);
    SeverityRule::Map {
        label: "@severity".to_owned(),
        map: map.collect(),
        default: None,
    }
}

pub(crate) fn template(text: &str) -> Template {
    Template::parse(text).expect("a template")
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().expect("an RFC 3339 time")
}
