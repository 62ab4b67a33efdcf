//! Laws that hold whatever happens: random alerts, commands of people, minutes and failing receivers.

use crate::lifecycle::{START, STEPS, advance, close, confirms, entries, give_all, waiver};
use crate::world::{World, book, rules};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;
use watchkeeper::domain::alert::Signal;
use watchkeeper::domain::cron_spec::CronSpec;
use watchkeeper::domain::incident::event::{Event, PageIssue, Remark};
use watchkeeper::domain::incident::{Ask, Entry, Incident, Status};
use watchkeeper::domain::oncall::DEFAULT_POLICY;
use watchkeeper::domain::page::Outcome;
use watchkeeper::domain::phase::{Output, Phase};
use watchkeeper::domain::rule::{OpenWhen, SeverityRule};
use watchkeeper::domain::severity::{Processes, Severity};
use watchkeeper::domain::time::Timestamp;
use watchkeeper::domain::verification::Plan;
use watchkeeper::engine::audit::audit;
use watchkeeper::simulate::signal;
use watchkeeper::store::report::Report;

const KEYS: [&str; 3] = ["orders", "checkout", "model"];

/// How bad the senders say it is: SEV1, SEV3, SEV4.
const WORDS: [&str; 3] = ["critical", "warning", "info"];

/// How long after a receiver recovers an exhausted escalation may still be silent.
const LOUD_AGAIN_WITHIN: Duration = Duration::from_secs(11 * 60);

#[derive(Clone, Copy)]
enum Happens {
    Fires {
        key: usize,
        word: usize,
    },
    Resolves {
        key: usize,
        word: usize,
    },
    /// All alerts of a key.
    KeyResolves {
        key: usize,
    },
    Minutes(u64),
    Somebody {
        incident: u64,
        does: Does,
    },
    Receivers(Receivers),
    Downtime {
        minutes: u64,
    },
}

/// One line each, so that the story that breaks a law can be read.
impl fmt::Debug for Happens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fires { key, word } => write!(f, "{} fires, {}", KEYS[*key], WORDS[*word]),
            Self::Resolves { key, word } => {
                write!(f, "{} resolves, {}", KEYS[*key], WORDS[*word])
            }
            Self::KeyResolves { key } => write!(f, "all of {} resolves", KEYS[*key]),
            Self::Minutes(minutes) => write!(f, "{minutes} minutes pass"),
            Self::Somebody {
                incident,
                does: Does::SetsSeverity(severity),
            } => write!(f, "somebody sets incident {incident} to {severity}"),
            Self::Somebody { incident, does } => write!(f, "somebody {does:?} incident {incident}"),
            Self::Receivers(receivers) => write!(f, "receivers {receivers:?}"),
            Self::Downtime { minutes } => write!(f, "{minutes} minutes of downtime"),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Does {
    Acknowledges,
    Unacknowledges,
    TakesOver,
    Escalates,
    PagesCem,
    SetsSeverity(Severity),
    Notes,
    Advances,
    /// Gives what is missing and advances, as far as that goes, then closes.
    WalksOn,
    ClosesWaivingAll,
    Reopens,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Receivers {
    Work,
    AnswerLater,
    Refuse,
    /// Only ana's.
    RefuseAna,
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    open_after: u64,
    resolve_after: u64,
    acknowledge_timeout: Option<u64>,
    repeat: u32,
}

fn setting() -> impl Strategy<Value = Setting> {
    let minutes = || prop_oneof![2 => Just(0_u64), 1 => Just(2_u64)];
    let timeout = prop_oneof![Just(None), Just(Some(15))];
    (minutes(), minutes(), timeout, 0..2_u32).prop_map(
        |(open_after, resolve_after, acknowledge_timeout, repeat)| Setting {
            open_after,
            resolve_after,
            acknowledge_timeout,
            repeat,
        },
    )
}

fn happens() -> impl Strategy<Value = Happens> {
    let alert = || (0..KEYS.len(), 0..WORDS.len());
    let severity = prop::sample::select(Severity::ALL.to_vec());
    let does = prop_oneof![
        3 => Just(Does::Acknowledges),
        1 => Just(Does::Unacknowledges),
        1 => Just(Does::TakesOver),
        1 => Just(Does::Escalates),
        1 => Just(Does::PagesCem),
        1 => severity.prop_map(Does::SetsSeverity),
        1 => Just(Does::Notes),
        1 => Just(Does::Advances),
        6 => Just(Does::WalksOn),
        1 => Just(Does::ClosesWaivingAll),
        2 => Just(Does::Reopens),
    ];
    let receivers = prop::sample::select(vec![
        Receivers::Work,
        Receivers::AnswerLater,
        Receivers::Refuse,
        Receivers::RefuseAna,
    ]);
    prop_oneof![
        5 => alert().prop_map(|(key, word)| Happens::Fires { key, word }),
        2 => alert().prop_map(|(key, word)| Happens::Resolves { key, word }),
        4 => (0..KEYS.len()).prop_map(|key| Happens::KeyResolves { key }),
        5 => prop_oneof![1..12_u64, 40..130_u64].prop_map(Happens::Minutes),
        8 => (1..4_u64, does).prop_map(|(incident, does)| Happens::Somebody { incident, does }),
        1 => receivers.prop_map(Happens::Receivers),
        1 => (1..90_u64).prop_map(|minutes| Happens::Downtime { minutes }),
    ]
}

fn report(key: usize, word: usize, said: Signal) -> Report {
    signal(&[("alertname", KEYS[key]), ("severity", WORDS[word])], said)
}

/// The world and what the laws need to know of its past.
struct Story {
    world: World,
    receivers: Receivers,
    /// Until when a receiver failed.
    failed_until: Option<Timestamp>,
}

impl Story {
    fn new(setting: Setting) -> Self {
        let mut book = book(STEPS);
        book.people
            .insert("cem".to_owned(), crate::world::person("cem"));
        let policy = book.policies.get_mut(DEFAULT_POLICY).expect("it is there");
        policy.repeat = setting.repeat;
        policy.acknowledge_timeout_ms = setting.acknowledge_timeout.map(|m| m * 60_000);
        book.processes = Processes::new(Severity::ALL.map(|severity| {
            let mut process = book.processes.of(severity).clone();
            process.verification = Plan {
                check: CronSpec::parse("0 * * * *").expect("a cron"),
                zone: chrono_tz::UTC,
                window: Duration::from_secs(2 * 3600),
            };
            process
        }));
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let rules = rules(|settings| {
            let severities = [Severity::Sev1, Severity::Sev3, Severity::Sev4];
            let map = WORDS.map(str::to_owned).into_iter().zip(severities);
            settings.severity = Some(SeverityRule::Map {
                label: "severity".to_owned(),
                map: map.collect(),
                default: None,
            });
            settings.open = Some(OpenWhen::After(minutes(setting.open_after)));
            settings.resolve_after = Some(minutes(setting.resolve_after));
            settings.reopen_within = Some(minutes(90));
        });
        Self {
            world: World::with(START, book, rules),
            receivers: Receivers::Work,
            failed_until: None,
        }
    }

    fn last_number(&self) -> u64 {
        (1..)
            .find(|number| {
                let read = self.world.simulation.incident(*number);
                read.expect("the memory store reads").is_none()
            })
            .expect("there are few")
            - 1
    }

    fn incidents(&self) -> Vec<std::sync::Arc<Incident>> {
        (1..=self.last_number())
            .map(|number| self.world.incident(number))
            .collect()
    }

    fn happens(&mut self, happens: Happens) {
        match happens {
            Happens::Fires { key, word } => self.fires_twice(key, word),
            Happens::Resolves { key, word } => self.resolves(key, word),
            Happens::KeyResolves { key } => {
                (0..WORDS.len()).for_each(|word| self.resolves(key, word));
            }
            Happens::Minutes(minutes) => self.world.advance(minutes),
            Happens::Somebody { incident, does } if incident <= self.last_number() => {
                self.somebody(incident, does);
            }
            Happens::Somebody { .. } => {}
            Happens::Receivers(receivers) => {
                self.receivers = receivers;
                self.world.simulation.answer_pages(move |message, _now| {
                    let why = "it does not work".to_owned();
                    let refused = Outcome::Rejected { why: why.clone() };
                    match receivers {
                        Receivers::AnswerLater => Outcome::Retry { after: None, why },
                        Receivers::Refuse => refused,
                        Receivers::RefuseAna if message.to == "ana" => refused,
                        Receivers::Work | Receivers::RefuseAna => Outcome::Delivered {
                            detail: "200".to_owned(),
                        },
                    }
                });
            }
            Happens::Downtime { minutes } => {
                self.world
                    .simulation
                    .sleep(Duration::from_secs(minutes * 60));
                self.world.advance(0);
            }
        }
        if self.receivers != Receivers::Work {
            self.failed_until = Some(self.world.simulation.now());
        }
    }

    fn resolves(&mut self, key: usize, word: usize) {
        self.world
            .simulation
            .receive(report(key, word, Signal::Resolved))
            .expect("it is taken");
    }

    /// The second time is a repeat: it opens nothing, changes no incident and pages nobody.
    fn fires_twice(&mut self, key: usize, word: usize) {
        let simulation = &mut self.world.simulation;
        simulation
            .receive(report(key, word, Signal::Firing))
            .expect("it is taken");
        let before: Vec<u64> = self.incidents().iter().map(|known| known.seq).collect();
        let sent = self.world.simulation.sent().len();
        let again = self
            .world
            .simulation
            .receive(report(key, word, Signal::Firing))
            .expect("it is taken");
        assert_eq!(again.opened, BTreeSet::new(), "a repeat opens nothing");
        let after: Vec<u64> = self.incidents().iter().map(|known| known.seq).collect();
        assert_eq!(before, after, "a repeat changes no incident");
        assert_eq!(
            self.world.simulation.sent().len(),
            sent,
            "a repeat pages nobody"
        );
    }

    fn somebody(&mut self, number: u64, does: Does) {
        let ask = match does {
            Does::Acknowledges => Ask::Acknowledge,
            Does::Unacknowledges => Ask::Unacknowledge,
            Does::TakesOver => Ask::TakeOver,
            Does::Escalates => Ask::Escalate,
            Does::PagesCem => Ask::Page {
                to: "person:cem".parse().expect("a target"),
            },
            Does::SetsSeverity(severity) => confirms(severity),
            Does::Notes => Ask::Note(Remark::default()),
            Does::Advances => advance(),
            Does::WalksOn => return self.walks_on(number),
            Does::ClosesWaivingAll => {
                let waivable = Output::ALL
                    .into_iter()
                    .filter(|output| output.is_waivable());
                Ask::Close {
                    waive: waivable.map(|output| waiver(output, None)).collect(),
                }
            }
            Does::Reopens => Ask::Reopen {
                reason: "it is still there".to_owned(),
            },
        };
        // A refusal is an answer, too.
        drop(self.world.ask(number, ask, "ana"));
    }

    fn walks_on(&mut self, number: u64) {
        while self.world.incident(number).is_open() {
            give_all(&mut self.world, number);
            let next = match self.world.incident(number).phase {
                Phase::Verification => close(),
                _ => advance(),
            };
            if self.world.ask(number, next, "ana").is_err() {
                break;
            }
        }
    }

    fn check(&self) {
        for incident in self.incidents() {
            self.replays(&incident);
            closed_with_everything(&incident);
            self.is_served(&incident);
        }
        self.page_ids_name_one_page();
        self.keys_have_one_open_incident();
        self.audit_passes();
    }

    fn replays(&self, live: &Incident) {
        let log = entries(&self.world, live.number());
        assert_eq!(Incident::replay(&log).as_ref(), Some(live));
        let text = serde_json::to_string(&log).expect("events are stored as JSON");
        let read: Vec<Entry> = serde_json::from_str(&text).expect("and read back");
        assert_eq!(read, log);
        let numbered: Vec<u64> = log.iter().map(|entry| entry.seq).collect();
        assert_eq!(numbered, Vec::from_iter(1..=live.seq));
    }

    /// No step runs while somebody has it, while nothing fires, or after the close.
    fn nobody_is_called_for_nothing(&self) {
        for incident in self.incidents() {
            let log = entries(&self.world, incident.number());
            let mut then = Incident::replay(&log[..1]).expect("it begins with its opening");
            for entry in &log[1..] {
                if matches!(entry.event, Event::StepRan { .. } | Event::Exhausted { .. }) {
                    assert!(
                        then.is_open() && then.acknowledged.is_none() && !then.is_clear(),
                        "incident {}: {entry:?}",
                        incident.number()
                    );
                }
                then.catch_up(std::slice::from_ref(entry));
            }
        }
    }

    /// By what went out and what is due, not by what the audit says of itself.
    fn is_served(&self, incident: &Incident) {
        let pages = incident.is_open()
            && incident.acknowledged.is_none()
            && !incident.is_clear()
            && incident.urgency.pages();
        if !pages {
            return;
        }
        let was_sent = self.world.simulation.sent().iter().any(|sent| {
            sent.message.incident.number == incident.number()
                && matches!(sent.outcome, Outcome::Delivered { .. })
        });
        let due = incident.next_due().is_some() || incident.paging.unfinished().count() > 0;
        assert!(
            was_sent || due,
            "nobody hears of incident {}",
            incident.number()
        );
    }

    fn page_ids_name_one_page(&self) {
        let mut known = BTreeMap::new();
        for sent in self.world.simulation.sent() {
            let message = &sent.message;
            let page = (
                message.incident.number,
                message.to.clone(),
                message.address.clone(),
                message.step,
            );
            let (before, attempt) = known
                .entry(message.page_id.clone())
                .or_insert((page.clone(), 0));
            assert_eq!(before, &page, "page id {}", message.page_id);
            assert!(message.attempt > *attempt, "page id {}", message.page_id);
            *attempt = message.attempt;
        }
        for incident in self.incidents() {
            let mut serials = BTreeSet::new();
            for entry in entries(&self.world, incident.number()) {
                for issue in issued(&entry.event) {
                    assert!(serials.insert(issue.serial), "serial {}", issue.serial);
                }
            }
        }
    }

    fn keys_have_one_open_incident(&self) {
        let mut open = BTreeSet::new();
        for incident in self.incidents().iter().filter(|known| known.is_open()) {
            let key = incident.opened.dedup_key.clone();
            assert!(open.insert(key.clone()), "two are open for {key:?}");
        }
    }

    fn audit_passes(&self) {
        let now = self.world.simulation.now();
        let store = self.world.simulation.store();
        let violations = store
            .read(|reader| audit(reader, now))
            .expect("the memory store reads");
        let excused = self
            .failed_until
            .is_some_and(|until| now.since(until) < LOUD_AGAIN_WITHIN);
        for violation in violations {
            let is_silent = violation.why == "exhausted, and no page of it was delivered";
            assert!(is_silent && excused, "{violation:?} at {now}");
        }
    }

    /// What people see, whichever numbers the incidents have.
    fn seen(&self, since: usize) -> (Vec<String>, Vec<String>) {
        let sent = self.world.simulation.sent().iter().skip(since);
        let mut pages: Vec<String> = sent
            .map(|sent| {
                let message = &sent.message;
                let key = message.incident.dedup_key.as_deref().unwrap_or_default();
                let kind = message.kind.as_str();
                format!(
                    "{} {kind} {} {key} {}",
                    sent.at, message.to, message.incident.severity
                )
            })
            .collect();
        pages.sort();
        let mut incidents: Vec<String> = self
            .incidents()
            .iter()
            .map(|known| {
                format!(
                    "{:?} {} {} {:?} {:?} {} recurrences, clear since {:?}",
                    known.opened.dedup_key,
                    known.severity,
                    known.phase,
                    known.profile,
                    known.status,
                    known.recurrences,
                    known.clear_since
                )
            })
            .collect();
        incidents.sort();
        (pages, incidents)
    }
}

fn issued(event: &Event) -> &[PageIssue] {
    match event {
        Event::StepRan { pages, .. }
        | Event::Exhausted { pages, .. }
        | Event::Paged { pages }
        | Event::Told { pages, .. } => pages,
        _ => &[],
    }
}

fn closed_with_everything(incident: &Incident) {
    let Some(closed_at) = incident.closed_at else {
        assert_eq!(incident.status, Status::Open);
        return;
    };
    assert_eq!(incident.status, Status::Closed);
    assert_eq!(
        incident.missing_to_close(&[], closed_at),
        [],
        "incident {} is closed without",
        incident.number()
    );
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(64))]

    #[test]
    fn whatever_happens_the_laws_hold(
        setting in setting(),
        story in prop::collection::vec(happens(), 1..50),
    ) {
        let mut told = Story::new(setting);
        for happens in story {
            told.happens(happens);
            told.check();
        }
        told.happens(Happens::Receivers(Receivers::Work));
        told.happens(Happens::Minutes(30));
        told.check();
        told.nobody_is_called_for_nothing();
    }

    #[test]
    fn the_order_of_alerts_in_a_batch_does_not_matter(
        setting in setting(),
        past in prop::collection::vec(happens(), 0..16),
        batch in prop::collection::btree_map((0..KEYS.len(), 0..WORDS.len()), any::<bool>(), 2..7),
        shuffle in any::<prop::sample::Index>(),
    ) {
        let sightings: Vec<_> = batch
            .into_iter()
            .map(|((key, word), fires)| {
                let said = if fires { Signal::Firing } else { Signal::Resolved };
                report(key, word, said).sightings.remove(0)
            })
            .collect();
        let mut turned = sightings.clone();
        turned.rotate_left(shuffle.index(sightings.len()));
        turned.reverse();
        let seen = [sightings, turned].map(|sightings| {
            let mut story = Story::new(setting);
            past.iter().for_each(|happens| story.happens(*happens));
            let sent = story.world.simulation.sent().len();
            let mut report = report(0, 0, Signal::Firing);
            report.sightings = sightings;
            story.world.simulation.receive(report).expect("it is taken");
            story.world.advance(25);
            story.seen(sent)
        });
        prop_assert_eq!(&seen[0], &seen[1]);
    }
}
