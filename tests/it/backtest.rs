//! Backtest: history that is judged again is what live reports made of it, under the same rules and under others.

use crate::chance::{Chance, rounds, seed};
use crate::daemon::{Home, closed_url, firing, rule};
use crate::lifecycle::{START, STEPS, advance, close, confirms, give_all};
use crate::world::{World, at, book};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;
use watchkeeper::domain::alert::{Labels, Outcome, Run, Said, Sighting, Signal};
use watchkeeper::domain::incident::{Ask, StormCap};
use watchkeeper::domain::matcher::Matcher;
use watchkeeper::domain::oncall::{Book, Team};
use watchkeeper::domain::phase::Phase;
use watchkeeper::domain::rule::RuleSet;
use watchkeeper::domain::severity::{Processes, Profile, Severity};
use watchkeeper::domain::time::Timestamp;
use watchkeeper::rules::{Context, load_texts};
use watchkeeper::simulate::backtest::report::{InWords, Report};
use watchkeeper::simulate::backtest::sums::{Brief, Span};
use watchkeeper::simulate::backtest::{Asked, Witness, run_seen};
use watchkeeper::simulate::signal;
use watchkeeper::store::InForce;
use watchkeeper::store::silences::Wanted;

/// Long before anything happens.
const BEFORE: &str = "2026-03-01T00:00:00Z";

/// How often the end of one story is judged again, each time from another instant on.
const ENDS: usize = 8;

/// Nobody acknowledges what nobody did.
const NEVER: Duration = Duration::from_secs(3650 * 86_400);

pub(crate) fn rules_of(text: &str, book: &Book) -> RuleSet {
    let none = RuleSet::default();
    let context = Context {
        zone: chrono_tz::UTC,
        matrix: &none.matrix,
        book,
    };
    let loaded = load_texts(&[("rules.toml", text)], context);
    let findings = loaded.findings;
    loaded
        .rules
        .unwrap_or_else(|| panic!("the rules can be read: {findings:?}"))
}

/// Sums of both sides as they came to be.
#[derive(Default)]
struct Seen {
    then: Vec<Brief>,
    now: Vec<Brief>,
}

impl Witness for Seen {
    fn then(&mut self, brief: &Brief) {
        self.then.push(brief.clone());
    }

    fn now(&mut self, brief: &Brief) {
        self.now.push(brief.clone());
    }
}

/// Incidents in an order that no number tells.
fn sorted(mut briefs: Vec<Brief>) -> Vec<Brief> {
    briefs.iter_mut().for_each(|brief| brief.number = 0);
    briefs.sort_by(|one, other| {
        (&one.dedup_key, one.opened_at).cmp(&(&other.dedup_key, other.opened_at))
    });
    briefs
}

/// The program with some rules, and what is asked of its history.
struct Story {
    world: World,
    book: Book,
    acknowledge_after: Duration,
}

impl Story {
    fn new(rules: &str) -> Self {
        Self::with(rules, book(STEPS))
    }

    fn with(rules: &str, book: Book) -> Self {
        let world = World::with(START, book.clone(), rules_of(rules, &book)).in_memory();
        Self {
            world,
            book,
            acknowledge_after: Duration::from_secs(300),
        }
    }

    fn fires(&mut self, labels: &[(&str, &str)]) {
        self.world.report(signal(labels, Signal::Firing));
    }

    fn resolves(&mut self, labels: &[(&str, &str)]) {
        self.world.report(signal(labels, Signal::Resolved));
    }

    fn asked(&self, rules: &str, since: Timestamp) -> Asked {
        Asked {
            span: Span {
                since,
                until: self.world.simulation.now(),
            },
            acknowledge_after: self.acknowledge_after,
            tried: InForce {
                rules: Arc::new(rules_of(rules, &self.book)),
                book: Arc::new(self.book.clone()),
            },
            against: None,
        }
    }

    fn seen(&self, asked: &Asked) -> (Report, Seen) {
        let mut seen = Seen::default();
        let simulation = &self.world.simulation;
        let live = &simulation.in_force.rules;
        let go_on = &mut |_progress| ControlFlow::Continue(());
        let report = run_seen(simulation.store(), asked, live, go_on, &mut seen);
        (report.expect("the store reads"), seen)
    }

    fn backtest(&self, rules: &str) -> Report {
        self.seen(&self.asked(rules, at(BEFORE))).0
    }

    /// What is said of keys that differ.
    fn differences(&self, rules: &str) -> String {
        let report = self.backtest(rules);
        let limit = 50;
        let words = InWords {
            report: &report,
            limit,
        };
        let words = words.to_string();
        let (_, keys) = words.split_once("\n\n").expect("sums come first");
        let from = keys.find("window\n").map_or(0, |at| at + 7);
        let keys = &keys[from..];
        let from = keys.find("today\n").map_or(0, |at| at + 6);
        keys[from..].trim().to_owned()
    }
}

// ---- chance ----

const NAMES: [&str; 4] = ["Disk", "Load", "Null", "Slow"];
const SERVICES: [&str; 2] = ["api", "web"];
const WORDS: [&str; 3] = ["critical", "warning", "info"];

/// Rules whose settings chance takes from.
fn some_rules(chance: &mut Chance) -> String {
    let key = *chance.of(&[
        "{{ labels.alertname }}",
        "{{ labels.service }}",
        "{{ labels.alertname }}/{{ labels.service }}",
        "{{ labels.service }}/{{ annotations.summary }}",
    ]);
    let map = *chance.of(&[
        "critical = \"SEV1\", warning = \"SEV3\", info = \"SEV4\"",
        "critical = \"SEV2\", warning = \"SEV4\"",
        "critical = \"SEV3\", warning = \"SEV3\", info = \"SEV5\"",
    ]);
    let open = *chance.of(&[
        "after = \"0s\"",
        "after = \"0s\"",
        "after = \"0s\"",
        "after = \"2m\"",
        "after = \"7m\"",
        "count = 2, within = \"5m\"",
        "count = 3, within = \"20m\"",
    ]);
    let resolve_after = *chance.of(&["0s", "0s", "3m", "11m"]);
    let reopen_within = *chance.of(&["0s", "40m", "24h"]);
    let flapping = *chance.of(&["", "", "flapping = { changes = 2, within = \"30m\" }\n"]);
    let verification = *chance.of(&[
        "",
        "verification = { check = \"*/10 * * * *\", for = \"30m\" }\n",
    ]);
    let unmatched = *chance.of(&["", "", "Slow|Null"]);
    let inhibit = *chance.of(&[
        "",
        "",
        "[[inhibit]]\nsource = ['alertname=\"Disk\"']\ntarget = ['alertname=~\"Load|Null\"']\nequal = [\"service\"]\n",
    ]);
    let recorded = *chance.of(&[
        "",
        "[[rule]]\nname = \"kept\"\nmatch = ['alertname=\"Load\"', '@severity=\"info\"']\naction = \"record\"\n",
    ]);
    format!(
        "{recorded}[[rule]]\nname = \"some\"\nmatch = ['alertname!~\"{unmatched}\"']\nseverity = {{ label = \"@severity\", map = {{ {map} }}, default = \"SEV3\" }}\n\
         dedup_key = \"{key}\"\nopen = {{ {open} }}\nresolve_after = \"{resolve_after}\"\nreopen_within = \"{reopen_within}\"\n{flapping}{verification}{inhibit}"
    )
}

fn sighting(chance: &mut Chance, signal: Signal) -> Sighting {
    let labels = [
        ("alertname", *chance.of(&NAMES)),
        ("service", *chance.of(&SERVICES)),
    ];
    let summary = format!("at {}", chance.below(3));
    Sighting {
        labels: labels.into_iter().collect(),
        annotations: [("summary", summary.as_str())].into_iter().collect(),
        attributes: Labels::default(),
        severity: Some((*chance.of(&WORDS)).to_owned()),
        starts_at: None,
        ends_at: None,
        said: Said::Signal(signal),
    }
}

/// One thing that senders say.
fn says(story: &mut Story, chance: &mut Chance) {
    let n = 1 + chance.below(3);
    let signal = match chance.below(5) {
        0 | 1 => Signal::Resolved,
        _ => Signal::Firing,
    };
    let mut sightings: BTreeMap<u64, Sighting> = BTreeMap::new();
    for _ in 0..n {
        let sighting = sighting(chance, signal);
        sightings.insert(sighting.labels.fingerprint().0, sighting);
    }
    if chance.one_in(6) {
        let outcome = *chance.of(&[Outcome::Pass, Outcome::Warn, Outcome::Fail, Outcome::Error]);
        story.world.checks(&Run::default(), &[outcome]);
    } else {
        story.world.receives(sightings.into_values().collect());
    }
}

/// One thing that somebody does.
fn does(story: &mut Story, chance: &mut Chance) {
    let number = 1 + chance.below(6);
    let there = story.world.simulation.incident(number);
    if there.expect("it reads").is_none() {
        return;
    }
    let ask = match chance.below(9) {
        0..=2 => Ask::Acknowledge,
        3 => Ask::Unacknowledge,
        4 => Ask::TakeOver,
        5 => Ask::Escalate,
        6 => confirms(*chance.of(&Severity::ALL)),
        7 => Ask::Reopen {
            reason: "it is still there".to_owned(),
        },
        _ => {
            while story.world.incident(number).is_open() {
                give_all(&mut story.world, number);
                let next = match story.world.incident(number).phase {
                    Phase::Verification => close(),
                    _ => advance(),
                };
                if story.world.ask(number, next, "ana").is_err() {
                    break;
                }
            }
            return;
        }
    };
    // A refusal is an answer, too.
    drop(story.world.ask(number, ask, "ana"));
}

fn silences(story: &mut Story, chance: &mut Chance) {
    let now = story.world.simulation.now();
    let service = chance.of(&SERVICES);
    // One that begins by itself does so when nothing else happens: of one that has ended by hand nobody knows which came first.
    let starts_in = Duration::from_millis(*chance.of(&[0, 600_500]));
    let wanted = Wanted {
        id: None,
        new_id: format!("s{}", now.as_millis()),
        matchers: vec![Matcher::parse(&format!("service=\"{service}\"")).expect("a matcher")],
        starts_at: now.plus(starts_in),
        ends_at: now.plus(starts_in + Duration::from_secs(60 + chance.below(2_400))),
        created_by: "ana".to_owned(),
        comment: String::new(),
        token: None,
        annotations: Labels::default(),
    };
    let made = story.world.simulation.silence(wanted).expect("it is taken");
    if chance.one_in(3) {
        pass(story, chance);
        let expired = story.world.simulation.expire_silence(&made.id);
        expired.expect("it is there");
    }
}

fn pass(story: &mut Story, chance: &mut Chance) {
    let seconds = 1 + chance.below(*chance.clone().of(&[30, 300, 300, 900]));
    story.world.advance_seconds(seconds);
}

/// Returns when it happens.
fn happens(story: &mut Story, chance: &mut Chance, with_people: bool) -> Vec<Timestamp> {
    let mut instants = Vec::new();
    for _ in 0..(20 + chance.below(60)) {
        pass(story, chance);
        instants.push(story.world.simulation.now());
        match chance.below(10) {
            0 | 1 if with_people => does(story, chance),
            2 if chance.one_in(4) => silences(story, chance),
            _ => says(story, chance),
        }
    }
    if chance.one_in(2) {
        story.world.advance(chance.below(600));
    }
    instants
}

/// How many incidents are a storm, where chance wants that many to be one.
fn some_cap(chance: &mut Chance) -> Option<StormCap> {
    let (incidents, within_ms) = *chance.of(&[(1, 120_000), (2, 300_000), (3, 900_000)]);
    let cap = StormCap {
        incidents,
        within_ms,
    };
    chance.one_in(2).then_some(cap)
}

/// The same, and where chance wants that, what is of Disk is of a team of its own. A key is of one team: that a reopening counted for
/// another than the one that opened is not stored.
fn some_teams(chance: &mut Chance, rules: String, book: &mut Book) -> String {
    let at = rules.find("[[rule]]\nname = \"some\"").expect("it is one");
    let (before, some) = rules.split_at(at);
    if !some.contains("dedup_key = \"{{ labels.alertname") || !chance.one_in(3) {
        return rules;
    }
    let team = Team {
        policy: None,
        stakeholders: Vec::new(),
    };
    book.teams.insert("disk".to_owned(), team);
    let (own, _) = some.split_once("[[inhibit]]").unwrap_or((some, ""));
    let own = own.replace("name = \"some\"\n", "name = \"disk\"\nteam = \"disk\"\n");
    let from = own.find("match = ").expect("it matches");
    let to = own.find("severity = ").expect("it has one");
    let own = format!(
        "{}match = ['alertname=\"Disk\"']\n{}",
        &own[..from],
        &own[to..]
    );
    format!("{before}{own}{some}")
}

/// Every incident closes by itself.
pub(crate) fn nobody_closes() -> Book {
    let mut book = book(STEPS);
    book.processes = Processes::new(Severity::ALL.map(|severity| {
        let mut process = book.processes.of(severity).clone();
        process.outputs = Profile::Light;
        process
    }));
    book
}

/// What happened is what would have, to the second and to the page.
fn same(what: &str, one: Vec<Brief>, other: Vec<Brief>) {
    let (one, other) = (sorted(one), sorted(other));
    let differing = one.iter().zip(&other).find(|(one, other)| one != other);
    assert!(
        one == other,
        "{what}: {} and {} incidents; the first that differ: {differing:#?}",
        one.len(),
        other.len()
    );
}

#[test]
fn the_same_rules_make_of_history_what_happened() {
    let seed = seed();
    for round in 0..rounds(15) {
        let mut chance = Chance::new(seed.wrapping_add(round));
        let rules = some_rules(&mut chance);
        let mut book = book(STEPS);
        book.storm = some_cap(&mut chance);
        let rules = some_teams(&mut chance, rules, &mut book);
        let mut story = Story::with(&rules, book);
        happens(&mut story, &mut chance, true);
        let cap = story.book.storm;
        let what = format!("SEED={seed} round {round}, {cap:?}\n{rules}");
        let (report, seen) = story.seen(&story.asked(&rules, at(BEFORE)));
        same(&what, seen.then, seen.now);
        assert_eq!((report.differ, report.keys.len()), (0, 0), "{what}");
        assert_eq!(report.then.incidents, report.now.incidents, "{what}");
    }
}

#[test]
fn so_they_do_of_the_end_of_it() {
    let seed = seed();
    for round in 0..rounds(15) {
        let mut chance = Chance::new(seed.wrapping_add(round));
        let rules = some_rules(&mut chance);
        let mut book = book(STEPS);
        book.storm = some_cap(&mut chance);
        let rules = some_teams(&mut chance, rules, &mut book);
        let mut story = Story::with(&rules, book);
        let instants = happens(&mut story, &mut chance, true);
        // With something that happens, and just after it.
        for _ in 0..ENDS {
            let since = chance
                .of(&instants)
                .shifted(*chance.of(&[0, 1, 400, 90_000]));
            let cap = story.book.storm;
            let what = format!("SEED={seed} round {round}, since {since}, {cap:?}\n{rules}");
            let (_, seen) = story.seen(&story.asked(&rules, since));
            same(&what, seen.then, seen.now);
        }
    }
}

#[test]
fn other_rules_make_of_it_what_they_would_have_made_live() {
    let seed = seed();
    for round in 0..rounds(15) {
        let mut chance = Chance::new(seed.wrapping_add(round));
        let (rules, others) = (some_rules(&mut chance), some_rules(&mut chance));
        let mut book = nobody_closes();
        book.storm = some_cap(&mut chance);
        // Of one report the first keys open incidents of their own, and the further ones join the storm: which these are follows from
        // the order in which the live rules looked at them, causes first. That in which they were sent is not stored.
        if rules.contains("[[inhibit]]") != others.contains("[[inhibit]]") {
            book.storm = None;
        }
        let mut here = Story::with(&rules, book.clone());
        happens(&mut here, &mut chance.clone(), false);
        let mut there = Story::with(&others, book);
        happens(&mut there, &mut chance, false);
        here.acknowledge_after = NEVER;
        let (_, tried) = here.seen(&here.asked(&others, at(BEFORE)));
        let (_, live) = there.seen(&there.asked(&others, at(BEFORE)));
        let cap = here.book.storm;
        let what = format!("SEED={seed} round {round}, {cap:?}\n{rules}\nagainst\n{others}");
        same(&what, live.then, tried.now);
    }
}

const BY_NAME: &str = r#"
[[rule]]
name = "all"
match = []
severity = "SEV2"
dedup_key = "{{ labels.alertname }}"
"#;

#[test]
fn nothing_differs_of_nothing() {
    let story = Story::new(BY_NAME);
    let report = story.backtest(BY_NAME);
    assert_eq!((report.fired, report.alerts, report.differ), (0, 0, 0));
    assert_eq!(story.differences(BY_NAME), "nothing differs");
}

#[test]
fn a_stricter_rule_shows_what_it_would_not_have_opened() {
    let mut story = Story::new(BY_NAME);
    for _ in 0..3 {
        for name in ["Disk", "Load"] {
            story.fires(&[("alertname", name)]);
            story.world.advance(7);
            story.resolves(&[("alertname", name)]);
            story.world.advance(60);
        }
    }
    let stricter = BY_NAME.replace("match = []", "match = ['alertname=\"Disk\"']");
    assert_eq!(
        story.differences(&stricter),
        "Load\n  incidents 1 -> 0 (-1)\n    SEV2 1 -> 0 (-1)\n  pages 6 -> 0 (-6)\n\
         \x20   to ana 3 -> 0 (-3)\n    to ben 3 -> 0 (-3)\n  minutes 21 -> 0 (-21)"
    );
    let report = story.backtest(&stricter);
    assert_eq!((report.then.joined, report.now.joined), (6, 3));
    let without = report.now.of_these.expect("it is known of a replay");
    assert_eq!(without.unrouted, 3);
}

#[test]
fn a_key_that_is_split_says_what_it_was_part_of() {
    let mut story = Story::new(BY_NAME);
    for service in ["api", "web"] {
        story.fires(&[("alertname", "Disk"), ("service", service)]);
        story.world.advance(2);
    }
    let split = BY_NAME.replace(
        "labels.alertname }}",
        "labels.alertname }}/{{ labels.service }}",
    );
    assert_eq!(
        story.differences(&split),
        "Disk\n  incidents 1 -> 0 (-1)\n    SEV2 1 -> 0 (-1)\n  pages 1 -> 0 (-1)\n    to ana 1 -> 0 (-1)\n\
         \x20 minutes 4 -> 0 (-4)\n  is part of Disk/api (1 alert)\n  is part of Disk/web (1 alert)\n\n\
         Disk/api\n  incidents 0 -> 1 (+1)\n    SEV2 0 -> 1 (+1)\n  pages 0 -> 1 (+1)\n    to ana 0 -> 1 (+1)\n\
         \x20 minutes 0 -> 4 (+4)\n  was part of Disk (1 alert)\n\n\
         Disk/web\n  incidents 0 -> 1 (+1)\n    SEV2 0 -> 1 (+1)\n  pages 0 -> 1 (+1)\n    to ana 0 -> 1 (+1)\n\
         \x20 minutes 0 -> 2 (+2)\n  was part of Disk (1 alert)"
    );
}

#[test]
fn a_severity_that_is_raised_shows_whom_it_pages() {
    let mut story = Story::new(&BY_NAME.replace("SEV2", "SEV5"));
    story.fires(&[("alertname", "Disk")]);
    story.world.advance(30);
    // Nobody was called, and so nobody could acknowledge it: when somebody would have is taken for granted.
    assert_eq!(
        story.differences(&BY_NAME.replace("SEV2", "SEV1")),
        "Disk\n    SEV1 0 -> 1 (+1)\n    SEV5 1 -> 0 (-1)\n  pages 0 -> 2 (+2)\n    to ana 0 -> 1 (+1)\n    to ben 0 -> 1 (+1)"
    );
    story.acknowledge_after = Duration::from_secs(240);
    assert_eq!(
        story.differences(&BY_NAME.replace("SEV2", "SEV1")),
        "Disk\n    SEV1 0 -> 1 (+1)\n    SEV5 1 -> 0 (-1)\n  pages 0 -> 1 (+1)\n    to ana 0 -> 1 (+1)"
    );
}

#[test]
fn to_wait_before_opening_spares_what_is_short() {
    let mut story = Story::new(BY_NAME);
    for minutes in [1, 1, 4] {
        story.fires(&[("alertname", "Disk"), ("n", &minutes.to_string())]);
        story.world.advance(minutes);
        story.resolves(&[("alertname", "Disk"), ("n", &minutes.to_string())]);
        story.world.advance(300);
    }
    let patient = format!("{BY_NAME}open = {{ after = \"2m\" }}\n");
    assert_eq!(
        story.differences(&patient),
        "Disk\n  pages 3 -> 1 (-2)\n    to ana 3 -> 1 (-2)\n  minutes 6 -> 2 (-4)"
    );
}

const AT_NIGHT: &str = r#"
[[interval]]
name = "day"
times = ["10:00-17:00"]
[[rule]]
name = "all"
match = []
active = "day"
severity = "SEV2"
dedup_key = "{{ labels.alertname }}"
"#;

#[test]
fn what_no_rule_opened_is_judged_again_when_an_interval_begins() {
    let nothing = BY_NAME.replace("match = []", "match = ['alertname=\"Other\"']");
    let mut story = Story::new(&nothing);
    // The second is heard once and never again.
    story.fires(&[("alertname", "Disk")]);
    story.world.advance(1);
    story.fires(&[("alertname", "Load")]);
    for _ in 0..4 {
        story.world.advance(30);
        story.fires(&[("alertname", "Disk")]);
    }
    let (_, seen) = story.seen(&story.asked(AT_NIGHT, at(BEFORE)));
    let opened: Vec<(&str, String)> = seen
        .now
        .iter()
        .map(|brief| (brief.dedup_key.as_str(), brief.opened_at.to_string()))
        .collect();
    assert_eq!(opened, [("Disk", "2026-03-02T10:00:00.000Z".to_owned())]);
}

#[test]
fn alerts_say_what_they_said_then() {
    let by_word = BY_NAME.replace(
        "\"SEV2\"",
        "{ label = \"@severity\", map = { critical = \"SEV1\" }, default = \"SEV4\" }",
    );
    let mut story = Story::new(BY_NAME);
    for word in ["info", "critical", "info", "warning"] {
        story.world.fires_as("Disk", word);
        story.world.advance(3);
    }
    story.world.fires_as("Load", "info");
    story.world.advance(1);
    story.world.resolves("Load");
    story.world.advance(1);
    story.world.fires_as("Load", "critical");
    story.world.advance(1);
    story.world.resolves("Load");
    let (_, seen) = story.seen(&story.asked(&by_word, at(BEFORE)));
    let mut severities: Vec<(&str, Severity)> = seen
        .now
        .iter()
        .map(|brief| (brief.dedup_key.as_str(), brief.severity))
        .collect();
    severities.sort_by_key(|(key, _)| *key);
    assert_eq!(
        severities,
        [("Disk", Severity::Sev1), ("Load", Severity::Sev1)],
        "each was critical once, and says something else since"
    );
    let since = at("2026-03-02T09:07:00Z");
    let (_, seen) = story.seen(&story.asked(&by_word, since));
    let disk = seen.now.iter().find(|brief| brief.dedup_key == "Disk");
    assert_eq!(
        disk.map(|brief| (brief.is_new, brief.severity)),
        Some((false, Severity::Sev2)),
        "what was said before the span is part of what it begins with"
    );
}

#[test]
fn what_other_words_open_begins_with_them_where_its_sender_does_not_say_when_it_did() {
    let rules = COUNTING.replace("count = 3, within = \"20m\"", "count = 2, within = \"5m\"");
    let kept = "[[rule]]\nname = \"kept\"\nmatch = ['@severity=\"info\"']\naction = \"record\"\n";
    let rules = format!("{kept}{rules}");
    let mut here = Story::new(BY_NAME);
    let mut there = Story::new(&rules);
    for story in [&mut here, &mut there] {
        story.says(&[("alertname", "Disk"), ("n", "1")], "info");
        story.world.advance(10);
        story.says(&[("alertname", "Disk"), ("n", "1")], "critical");
        story.world.advance(2);
        story.says(&[("alertname", "Disk"), ("n", "2")], "critical");
        story.world.advance(3);
    }
    let opened = |story: &Story, rules: &str| -> Vec<String> {
        let (_, seen) = story.seen(&story.asked(rules, at(BEFORE)));
        let opened = seen.now.iter().map(|brief| brief.opened_at.to_string());
        opened.collect()
    };
    assert_eq!(opened(&here, &rules), ["2026-03-02T09:12:00.000Z"]);
    assert_eq!(opened(&there, &rules), opened(&here, &rules), "as live");
    // By rules that keep nothing it has waited since 09:00, and does not begin anew with other words.
    let others = rules.replace(kept, "");
    let none: [&str; 0] = [];
    assert_eq!(opened(&there, &others), none);
}

#[test]
fn two_rule_sets_are_compared_with_each_other() {
    let mut story = Story::new(BY_NAME);
    story.fires(&[("alertname", "Disk")]);
    story.world.advance(2);
    story.world.acknowledges(1, "ana");
    story.world.advance(20);
    let mut asked = story.asked(&BY_NAME.replace("SEV2", "SEV4"), at(BEFORE));
    let other = rules_of(&BY_NAME.replace("SEV2", "SEV1"), &story.book);
    asked.against = Some(Arc::new(other));
    let (report, _) = story.seen(&asked);
    assert!(report.against.is_some());
    let severities = |sums: &watchkeeper::simulate::backtest::report::Totals| {
        let all = sums.incidents.severities.iter();
        all.map(|(severity, n)| format!("{severity} {n}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(severities(&report.then), ["SEV1 1"]);
    assert_eq!(severities(&report.now), ["SEV4 1"]);
    // Both were acknowledged when it was.
    assert_eq!(
        (report.then.incidents.pages, report.now.incidents.pages),
        (1, 1)
    );
    assert!(report.then.of_these.is_some());
}

#[test]
fn a_backtest_ends_when_nobody_waits_for_it() {
    let mut story = Story::new(BY_NAME);
    story.fires(&[("alertname", "Disk")]);
    let asked = story.asked(BY_NAME, at(BEFORE));
    let simulation = &story.world.simulation;
    let rules = &simulation.in_force.rules;
    let stop = &mut |_progress| ControlFlow::Break(());
    let ended = watchkeeper::simulate::backtest::run(simulation.store(), &asked, rules, stop);
    let ended = ended.expect_err("it is given up");
    assert_eq!(ended.to_string(), "nobody waits for it any more");
}

#[test]
fn live_rules_that_drop_are_named() {
    let dropping = format!(
        "[[rule]]\nname = \"noise\"\nmatch = ['alertname=\"Noise\"']\naction = \"drop\"\n{BY_NAME}"
    );
    let mut story = Story::new(&dropping);
    story.fires(&[("alertname", "Noise")]);
    let report = story.backtest(BY_NAME);
    assert_eq!(
        (report.fired, report.notes),
        (
            0,
            vec![
                "rule \"noise\" drops what it matches: that was never stored, and is not in this"
                    .to_owned()
            ]
        )
    );
}

// ---- the beginning of a span ----

/// Judges the end of a story by the rules under which it happened: each incident of it with when it opened and how often it called.
fn of_the_end(story: &Story, rules: &str, since: Timestamp) -> Vec<String> {
    let (_, seen) = story.seen(&story.asked(rules, since));
    let line = |brief: &Brief| {
        let opened = brief.opened_at.to_string();
        let n_pages: u64 = brief.pages.values().sum();
        let minutes = brief.noise.as_secs() / 60;
        let key = &brief.dedup_key;
        format!("{key} {}, {n_pages} pages, {minutes} min", &opened[11..16])
    };
    let now: Vec<String> = sorted(seen.now.clone()).iter().map(line).collect();
    same("the end of it", seen.then, seen.now);
    now
}

const PATIENT: &str = r#"
[[rule]]
name = "all"
match = []
severity = "SEV2"
dedup_key = "{{ labels.alertname }}"
open = { after = "7m" }
resolve_after = "0s"
verification = { check = "*/10 * * * *", for = "30m" }
"#;

#[test]
fn what_waited_when_the_span_began_opens_when_it_did() {
    let mut story = Story::new(PATIENT);
    story.fires(&[("alertname", "Disk")]);
    story.world.advance(5);
    let since = story.world.simulation.now();
    story.world.advance(10);
    assert_eq!(
        of_the_end(&story, PATIENT, since),
        ["Disk 09:07, 2 pages, 8 min"]
    );
}

#[test]
fn a_key_waited_since_the_first_of_its_alerts_also_where_that_is_over() {
    let mut story = Story::new(PATIENT);
    story.fires(&[("alertname", "Disk"), ("n", "1")]);
    story.world.advance(2);
    story.fires(&[("alertname", "Disk"), ("n", "2")]);
    story.world.advance(2);
    story.resolves(&[("alertname", "Disk"), ("n", "1")]);
    story.world.advance(1);
    let since = story.world.simulation.now();
    story.world.advance(1);
    story.fires(&[("alertname", "Disk"), ("n", "3")]);
    story.world.advance(9);
    assert_eq!(
        of_the_end(&story, PATIENT, since),
        ["Disk 09:07, 2 pages, 8 min"]
    );
}

#[test]
fn what_waited_under_the_key_of_what_it_said_then_waits_under_it() {
    let by_words = PATIENT.replace("labels.alertname", "annotations.summary");
    let mut story = Story::new(&by_words);
    let mut worded = |minutes: u64, summary: &str| {
        let mut report = signal(&[("alertname", "Disk")], Signal::Firing);
        for sighting in &mut report.sightings {
            sighting.annotations = [("summary", summary)].into_iter().collect();
        }
        story.world.report(report);
        story.world.advance(minutes);
        story.world.simulation.now()
    };
    worded(2, "full");
    let since = worded(2, "fuller");
    worded(10, "fullest");
    assert_eq!(
        of_the_end(&story, &by_words, since),
        ["full 09:07, 2 pages, 7 min"]
    );
}

#[test]
fn what_waited_as_a_recurrence_recurs_when_it_did() {
    let mut story = Story::with(PATIENT, nobody_closes());
    story.fires(&[("alertname", "Disk")]);
    story.world.advance(8);
    story.resolves(&[("alertname", "Disk")]);
    story.world.advance(12);
    story.fires(&[("alertname", "Disk")]);
    story.world.advance(4);
    let since = story.world.simulation.now();
    story.world.advance(6);
    assert_eq!(
        of_the_end(&story, PATIENT, since),
        ["Disk 09:07, 1 pages, 3 min"]
    );
}

const COUNTING: &str = r#"
[[rule]]
name = "all"
match = []
severity = "SEV2"
dedup_key = "{{ labels.alertname }}"
open = { count = 3, within = "20m" }
"#;

#[test]
fn starts_before_the_span_count() {
    let mut story = Story::new(COUNTING);
    for n in ["1", "2"] {
        story.fires(&[("alertname", "Disk"), ("n", n)]);
        story.world.advance(3);
        story.resolves(&[("alertname", "Disk"), ("n", n)]);
        story.world.advance(1);
    }
    let since = story.world.simulation.now();
    story.world.advance(2);
    story.fires(&[("alertname", "Disk"), ("n", "3")]);
    story.world.advance(4);
    assert_eq!(
        of_the_end(&story, COUNTING, since),
        ["Disk 09:10, 1 pages, 4 min"]
    );
}

#[test]
fn starts_before_the_span_suffice_for_a_rule_that_asks_for_fewer() {
    let mut story = Story::new(COUNTING);
    for n in ["1", "2"] {
        story.fires(&[("alertname", "Disk"), ("n", n)]);
        story.world.advance(3);
    }
    let since = story.world.simulation.now();
    story.world.advance(5);
    let asked = story.asked(&COUNTING.replace("count = 3", "count = 2"), since);
    let (_, seen) = story.seen(&asked);
    assert_eq!(seen.then, []);
    let opened: Vec<String> = seen
        .now
        .iter()
        .map(|brief| brief.opened_at.to_string())
        .collect();
    assert_eq!(opened, ["2026-03-02T09:06:00.000Z"], "when the span began");
}

#[test]
fn what_waited_has_waited_long_enough_for_a_rule_that_asks_for_less() {
    let mut story = Story::new(PATIENT);
    story.fires(&[("alertname", "Disk")]);
    story.world.advance(5);
    let since = story.world.simulation.now();
    story.world.advance(10);
    for (after, opened) in [("6m", "09:06"), ("2m", "09:05"), ("0s", "09:05")] {
        let asked = story.asked(&PATIENT.replace("7m", after), since);
        let (_, seen) = story.seen(&asked);
        let all: Vec<String> = seen
            .now
            .iter()
            .map(|brief| brief.opened_at.to_string())
            .collect();
        assert_eq!(all, [format!("2026-03-02T{opened}:00.000Z")], "{after}");
    }
}

const INHIBITING: &str = r#"
[[rule]]
name = "kept"
match = ['@severity="info"']
action = "record"
[[rule]]
name = "all"
match = []
severity = "SEV2"
dedup_key = "{{ labels.alertname }}"
resolve_after = "0s"
[[inhibit]]
source = ['alertname="Disk"']
target = ['alertname="Load"']
equal = ["service"]
"#;

impl Story {
    fn says(&mut self, labels: &[(&str, &str)], severity: &str) {
        let mut report = signal(labels, Signal::Firing);
        for sighting in &mut report.sightings {
            sighting.severity = Some(severity.to_owned());
        }
        self.world.report(report);
    }
}

#[test]
fn what_a_cause_held_when_the_span_began_is_held_also_where_its_key_has_opened_since() {
    let mut story = Story::new(INHIBITING);
    story.fires(&[("alertname", "Disk"), ("service", "api")]);
    story.fires(&[("alertname", "Load"), ("service", "api")]);
    story.fires(&[("alertname", "Load"), ("service", "web")]);
    story.world.advance(1);
    story.resolves(&[("alertname", "Load"), ("service", "web")]);
    story.world.advance(1);
    let since = story.world.simulation.now();
    story.world.advance(1);
    story.fires(&[("alertname", "Load"), ("service", "web")]);
    story.world.advance(2);
    story.resolves(&[("alertname", "Load"), ("service", "web")]);
    story.world.advance(5);
    story.resolves(&[("alertname", "Disk"), ("service", "api")]);
    story.world.advance(3);
    assert_eq!(
        of_the_end(&story, INHIBITING, since),
        ["Disk 09:00, 1 pages, 8 min", "Load 09:00, 3 pages, 5 min"]
    );
}

#[test]
fn what_a_cause_held_is_held_whatever_it_says_by_now() {
    let mut story = Story::new(INHIBITING);
    let load = [("alertname", "Load"), ("service", "api")];
    story.fires(&[("alertname", "Disk"), ("service", "api")]);
    story.says(&load, "critical");
    story.world.advance(1);
    story.says(&load, "info");
    story.world.advance(1);
    let since = story.world.simulation.now();
    story.fires(&[("alertname", "Load"), ("service", "web")]);
    story.world.advance(1);
    story.says(&load, "critical");
    story.world.advance(1);
    story.resolves(&[("alertname", "Load"), ("service", "web")]);
    story.world.advance(5);
    assert_eq!(
        of_the_end(&story, INHIBITING, since),
        ["Disk 09:00, 1 pages, 7 min", "Load 09:02, 1 pages, 2 min"]
    );
}

#[test]
fn a_cause_that_no_rule_had_opened_is_known_to_have_fired() {
    let rules = format!(
        "{AT_NIGHT}[[inhibit]]\nsource = ['alertname=\"Disk\"']\ntarget = ['alertname=\"Load\"']\n"
    );
    let rules = rules.replace("match = []", "match = ['alertname=\"Disk\"']");
    let rules = format!(
        "{rules}[[rule]]\nname = \"load\"\nmatch = ['alertname=\"Load\"']\nseverity = \"SEV2\"\ndedup_key = \"load\"\n"
    );
    let mut story = Story::new(&rules);
    story.fires(&[("alertname", "Disk")]);
    story.fires(&[("alertname", "Load")]);
    story.world.advance(30);
    let since = story.world.simulation.now();
    story.world.advance(30);
    // The day begins: it is judged again, and opens.
    story.fires(&[("alertname", "Disk")]);
    story.world.advance(5);
    assert_eq!(
        of_the_end(&story, &rules, since),
        ["Disk 10:00, 2 pages, 5 min"]
    );
}

#[test]
fn what_no_rule_opened_is_judged_again_when_it_was_heard_again() {
    let mut story = Story::new(AT_NIGHT);
    for name in ["Disk", "Load"] {
        story.fires(&[("alertname", name)]);
    }
    story.world.advance(50);
    let begins = story.world.simulation.now();
    // It is 10:00 and the rule begins to open; Disk is heard two minutes later, and Load three more.
    story.world.advance(12);
    story.fires(&[("alertname", "Disk")]);
    story.world.advance(3);
    story.fires(&[("alertname", "Load")]);
    story.world.advance(4);
    let after = at("2026-03-02T10:01:00Z");
    for since in [at(BEFORE), begins, after] {
        assert_eq!(
            of_the_end(&story, AT_NIGHT, since),
            ["Disk 10:02, 2 pages, 7 min", "Load 10:05, 1 pages, 4 min"],
            "{since}"
        );
    }
}

fn of_disk(starts_at: Timestamp, lasts: Duration) -> Wanted {
    Wanted {
        id: None,
        new_id: "s1".to_owned(),
        matchers: vec![Matcher::parse("alertname=\"Disk\"").expect("a matcher")],
        starts_at,
        ends_at: starts_at.plus(lasts),
        created_by: "ana".to_owned(),
        comment: String::new(),
        token: None,
        annotations: Labels::default(),
    }
}

#[test]
fn a_silence_that_begins_by_itself_mutes_what_is_due_just_then() {
    let mut story = Story::new(BY_NAME);
    let now = story.world.simulation.now();
    let begins = now.plus(Duration::from_secs(300));
    let wanted = of_disk(begins, Duration::from_secs(600));
    story.world.simulation.silence(wanted).expect("it is taken");
    story.fires(&[("alertname", "Disk")]);
    story.world.advance(20);
    // Ben would have been called when it began.
    for (since, told) in [
        (at(BEFORE), "Disk 09:00, 3 pages, 20 min"),
        (begins, "Disk 09:00, 2 pages, 15 min"),
    ] {
        assert_eq!(of_the_end(&story, BY_NAME, since), [told], "{since}");
    }
}

#[test]
fn what_began_before_its_incident_closed_does_not_count() {
    let rules = COUNTING.replace("count = 3", "count = 2");
    let rules = format!(
        "{rules}resolve_after = \"0s\"\nreopen_within = \"0s\"\nverification = {{ check = \"*/10 * * * *\", for = \"30m\" }}\n"
    );
    let mut story = Story::with(&rules, nobody_closes());
    let alerts = ["1", "2"].map(|n| [("alertname", "Disk"), ("n", n)]);
    alerts.iter().for_each(|alert| story.fires(alert));
    story.world.advance(1);
    alerts.iter().for_each(|alert| story.resolves(alert));
    // It closes at half past.
    for (minutes, alert) in [(27, alerts[0]), (5, alerts[1])] {
        story.world.advance(minutes);
        story.fires(&alert);
    }
    story.world.advance(10);
    assert_eq!(
        of_the_end(&story, &rules, at(BEFORE)),
        ["Disk 09:00, 1 pages, 1 min"]
    );
}

#[test]
fn a_storm_ends_and_hands_on_what_still_fires() {
    let mut book = nobody_closes();
    book.storm = Some(StormCap {
        incidents: 2,
        within_ms: 60_000,
    });
    let mut story = Story::with(BY_NAME, book);
    for name in ["Disk", "Load", "Null", "Slow"] {
        story.fires(&[("alertname", name)]);
    }
    story.world.advance(10);
    assert_eq!(
        of_the_end(&story, BY_NAME, at(BEFORE)),
        [
            "Disk 09:00, 2 pages, 10 min",
            "Load 09:00, 2 pages, 10 min",
            "Null 09:01, 1 pages, 9 min",
            "Slow 09:01, 1 pages, 9 min"
        ]
    );
}

#[test]
fn a_silence_that_begins_or_ends_with_the_span_is_no_earlier_and_no_later_than_it_was() {
    let rules = BY_NAME;
    let mut story = Story::new(rules);
    story.fires(&[("alertname", "Disk")]);
    story.world.advance(3);
    let begins = story.world.simulation.now();
    let wanted = of_disk(begins, Duration::from_secs(600));
    story.world.simulation.silence(wanted).expect("it is taken");
    story.world.advance(10);
    let ends = story.world.simulation.now();
    story.world.advance(7);
    for (since, told) in [
        (begins, "Disk 09:00, 2 pages, 17 min"),
        (ends, "Disk 09:00, 2 pages, 7 min"),
    ] {
        assert_eq!(of_the_end(&story, rules, since), [told], "{since}");
    }
}

/// So many incidents within so many minutes are a storm.
fn stormy(incidents: u32, minutes: u64) -> Book {
    let mut book = nobody_closes();
    book.storm = Some(StormCap {
        incidents,
        within_ms: minutes * 60_000,
    });
    book
}

/// It closes two minutes after it is clear.
const SHORT: &str = r#"
[[rule]]
name = "all"
match = []
severity = "SEV2"
dedup_key = "{{ labels.alertname }}"
resolve_after = "0s"
reopen_within = "0s"
verification = { check = "* * * * *", for = "1m" }
"#;

#[test]
fn a_storm_that_is_on_when_the_span_begins_goes_on_and_ends_when_it_did() {
    let mut story = Story::with(BY_NAME, stormy(2, 5));
    for name in ["Disk", "Load", "Null"] {
        story.fires(&[("alertname", name)]);
    }
    story.world.advance(2);
    let since = story.world.simulation.now();
    story.world.advance(1);
    story.fires(&[("alertname", "Slow")]);
    story.world.advance(12);
    assert_eq!(
        of_the_end(&story, BY_NAME, since),
        [
            "Disk 09:00, 2 pages, 13 min",
            "Load 09:00, 2 pages, 13 min",
            "Null 09:05, 2 pages, 10 min",
            "Slow 09:05, 2 pages, 10 min"
        ],
        "what the storm became goes on at the step where that stood"
    );
}

#[test]
fn what_opened_before_the_span_makes_a_storm_with_what_opens_in_it() {
    let mut story = Story::with(SHORT, stormy(2, 5));
    story.fires(&[("alertname", "Disk")]);
    story.resolves(&[("alertname", "Disk")]);
    story.world.advance(1);
    story.fires(&[("alertname", "Load")]);
    // Disk is closed by now, and is nothing of the span; that it opened counts.
    story.world.advance(2);
    let since = story.world.simulation.now();
    story.world.advance(1);
    story.fires(&[("alertname", "Null")]);
    story.world.advance(6);
    assert_eq!(
        of_the_end(&story, SHORT, since),
        ["Load 09:01, 1 pages, 7 min", "Null 09:06, 1 pages, 4 min"]
    );
}

#[test]
fn what_moved_out_of_a_storm_before_the_span_does_not_count_for_the_next() {
    let mut story = Story::with(BY_NAME, stormy(2, 5));
    for name in ["Disk", "Load", "Null"] {
        story.fires(&[("alertname", name)]);
    }
    // What was one too many has an incident of its own since 09:05.
    story.world.advance(6);
    let since = story.world.simulation.now();
    story.world.advance(1);
    story.fires(&[("alertname", "Slow")]);
    story.world.advance(1);
    story.fires(&[("alertname", "Late")]);
    story.world.advance(2);
    assert_eq!(
        of_the_end(&story, BY_NAME, since),
        [
            "Disk 09:00, 0 pages, 4 min",
            "Late 09:08, 1 pages, 2 min",
            "Load 09:00, 0 pages, 4 min",
            "Null 09:05, 0 pages, 4 min",
            "Slow 09:07, 1 pages, 3 min"
        ]
    );
}

#[test]
fn who_acknowledged_a_storm_has_acknowledged_what_it_becomes() {
    let mut story = Story::with(BY_NAME, stormy(2, 5));
    for name in ["Disk", "Load", "Null"] {
        story.fires(&[("alertname", name)]);
    }
    story.world.advance(1);
    let since = story.world.simulation.now();
    story.world.advance(1);
    for number in 1..=3 {
        story.world.acknowledges(number, "ana");
    }
    story.world.advance(18);
    for (since, pages, minutes) in [(at(BEFORE), 1, 20), (since, 0, 19)] {
        assert_eq!(
            of_the_end(&story, BY_NAME, since),
            [
                format!("Disk 09:00, {pages} pages, {minutes} min"),
                format!("Load 09:00, {pages} pages, {minutes} min"),
                "Null 09:05, 0 pages, 15 min".to_owned()
            ]
        );
    }
}

#[test]
fn somebody_is_waited_for_also_where_only_people_have_called() {
    let mut story = Story::new(BY_NAME);
    let now = story.world.simulation.now();
    let wanted = of_disk(now, Duration::from_secs(600));
    story.world.simulation.silence(wanted).expect("it is taken");
    story.fires(&[("alertname", "Disk")]);
    story.world.advance(1);
    story.world.acknowledges(1, "ana");
    story.world.advance(14);
    story.world.asks(1, Ask::Escalate, "ana");
    story.world.advance(20);
    assert_eq!(
        of_the_end(&story, BY_NAME, at(BEFORE)),
        ["Disk 09:00, 3 pages, 35 min"]
    );
}

#[test]
fn what_has_waited_for_longer_than_its_starts_count_waits_under_the_key_of_what_it_said_then() {
    let rules = COUNTING.replace("labels.alertname", "annotations.summary");
    let rules = rules.replace("count = 3", "count = 2");
    let mut story = Story::new(&rules);
    let mut worded = |name: &str, summary: &str| {
        let mut report = signal(&[("alertname", name)], Signal::Firing);
        for sighting in &mut report.sightings {
            sighting.annotations = [("summary", summary)].into_iter().collect();
        }
        story.world.report(report);
        story.world.advance(1);
    };
    worded("Disk", "full");
    worded("Load", "high");
    // Each says the same meanwhile, and they began together; but they wait under keys of their own.
    for name in ["Disk", "Load"] {
        worded(name, "odd");
    }
    story.world.advance(40);
    let since = story.world.simulation.now();
    let mut worded = |name: &str, summary: &str| {
        let mut report = signal(&[("alertname", name)], Signal::Firing);
        for sighting in &mut report.sightings {
            sighting.annotations = [("summary", summary)].into_iter().collect();
        }
        story.world.report(report);
        story.world.advance(1);
    };
    worded("Null", "full");
    worded("Slow", "full");
    story.world.advance(2);
    assert_eq!(
        of_the_end(&story, &rules, since),
        ["full 09:45, 1 pages, 3 min"]
    );
    let brief = &story.seen(&story.asked(&rules, since)).1.now[0];
    assert_eq!(brief.severity, Severity::Sev2);
}

#[test]
fn a_start_from_before_its_incident_closed_does_not_count_in_a_span_that_began_since() {
    let rules = COUNTING.replace("count = 3", "count = 2");
    let rules = format!(
        "{rules}resolve_after = \"0s\"\nreopen_within = \"0s\"\nverification = {{ check = \"* * * * *\", for = \"3m\" }}\n"
    );
    let mut story = Story::with(&rules, nobody_closes());
    let alerts = ["1", "2", "3"].map(|n| [("alertname", "Disk"), ("n", n)]);
    alerts[..2].iter().for_each(|alert| story.fires(alert));
    alerts[..2].iter().for_each(|alert| story.resolves(alert));
    // It closes at 09:03.
    story.world.advance(1);
    story.fires(&alerts[2]);
    story.world.advance(4);
    let since = story.world.simulation.now();
    story.world.advance(1);
    story.fires(&alerts[0]);
    story.world.advance(5);
    let none: [&str; 0] = [];
    assert_eq!(of_the_end(&story, &rules, since), none);
}

// ---- the real executable ----

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A store in which one alert has opened a SEV1, and other rules beside it.
async fn home_with_history() -> Home {
    let home = Home::new();
    let daemon = home.serve().await;
    let (status, _) = daemon.post("/hooks/alertmanager", &firing("Down")).await;
    assert_eq!(status, 200);
    daemon.stop().await;
    fs::create_dir_all(home.path("others")).expect("a directory can be made");
    fs::write(home.path("others/a.toml"), rule("all", "SEV3")).expect("it can be written");
    home
}

const FOUND: &str = "
Down
    SEV1 1 -> 0 (-1)
    SEV3 0 -> 1 (+1)
";

#[tokio::test]
async fn the_program_judges_the_store_of_its_configuration() {
    let home = home_with_history().await;
    let same = home.run(&["rules", "backtest", "--since", "1d"]);
    assert_eq!(stderr(&same), "", "no terminal, no progress");
    assert!(
        stdout(&same).ends_with("\nnothing differs\n"),
        "{}",
        stdout(&same)
    );
    assert_eq!(same.status.code(), Some(0));

    let others = home.path("others");
    let others = others.to_str().expect("a path that is text");
    let asked = ["rules", "backtest", "--since", "1d", "--rules", others];
    let tried = home.run(&asked);
    assert!(stdout(&tried).ends_with(FOUND), "{}", stdout(&tried));
    assert_eq!(tried.status.code(), Some(0));
    let none = home.run(&[&asked[..], &["--limit", "0"]].concat());
    assert!(
        stdout(&none).ends_with("\n1 key more differ; --limit shows more\n"),
        "{}",
        stdout(&none)
    );

    let listed = home.run(&[&asked[..], &["--output", "json"]].concat());
    let listed: Value = serde_json::from_str(&stdout(&listed)).expect("it is JSON");
    assert_eq!(listed["keys"][0]["now"]["severities"], json!({ "SEV3": 1 }));

    let against = home.run(&[&asked[..], &["--against", others]].concat());
    assert!(
        stdout(&against).ends_with("\nnothing differs\n"),
        "{}",
        stdout(&against)
    );
}

#[tokio::test]
async fn on_a_terminal_it_says_how_far_it_is_and_takes_that_away_at_the_end() {
    let home = home_with_history().await;
    let said = said_to_a_terminal(home.command(&["rules", "backtest", "--since", "1d"]));
    let lines: Vec<&str> = said.split('\r').map(str::trim_end).collect();
    let first = lines.iter().find(|line| !line.is_empty());
    assert_eq!(
        first,
        Some(&"reading history: 1 changes of alerts"),
        "{said:?}"
    );
    assert!(
        lines.contains(&"judging again: 100 % of 1 changes of alerts"),
        "{said:?}"
    );
    assert_eq!(lines.last(), Some(&""), "{said:?}");
}

/// What it writes to its standard error, where that is a terminal.
fn said_to_a_terminal(mut command: Command) -> String {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal can be made");
    grantpt(&ours).expect("it is ours");
    unlockpt(&ours).expect("it can be opened");
    let name = ptsname(&ours, Vec::new()).expect("it has a name");
    let its = OsStr::from_bytes(name.to_bytes());
    let its = fs::File::options().write(true).open(its);
    command.stdout(Stdio::null());
    command.stderr(its.expect("it can be opened"));
    let mut child = command.spawn().expect("the program runs");
    // The last that has its side open is the child.
    drop(command);
    let (mut said, mut ours) = (Vec::new(), fs::File::from(ours));
    let mut some = [0; 4096];
    // At its end it is an error to read on.
    while let Ok(n @ 1..) = ours.read(&mut some) {
        said.extend_from_slice(&some[..n]);
    }
    assert!(child.wait().expect("it ends").success());
    String::from_utf8(said).expect("it is text")
}

#[tokio::test]
async fn the_daemon_that_has_the_store_judges_it() {
    let home = home_with_history().await;
    let daemon = home.serve().await;
    let others = home.path("others");
    let others = others.to_str().expect("a path that is text");
    let asked = ["rules", "backtest", "--since", "1d", "--rules", others];
    let ask = |url: &str| {
        let mut command = home.command(&asked);
        command.env("WATCHKEEPER_URL", url);
        command.output().expect("the program runs")
    };
    let tried = ask(&daemon.url);
    assert!(
        stdout(&tried).ends_with(FOUND),
        "{}{}",
        stdout(&tried),
        stderr(&tried)
    );
    assert_eq!(tried.status.code(), Some(0));
    daemon.says("a backtest begins").await;
    let (_, incident) = daemon.get("/api/v1/incidents/1").await;
    assert_eq!(incident["severity"], "SEV1");

    let closed = closed_url();
    let nobody = ask(&closed);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(
        stderr(&nobody).starts_with(&format!("error: no daemon answers at {closed} ")),
        "{}",
        stderr(&nobody)
    );
}

#[tokio::test]
async fn what_is_wrong_with_rules_is_shown_and_what_is_wrong_with_the_call() {
    let home = Home::new();
    fs::create_dir_all(home.path("others")).expect("a directory can be made");
    fs::write(home.path("others/a.toml"), "[[rule]]\nname = \"a\"\n").expect("it can be written");
    let others = home.path("others");
    let others = others.to_str().expect("a path that is text");
    let broken = home.run(&["rules", "backtest", "--since", "1d", "--rules", others]);
    assert_eq!(
        stdout(&broken),
        format!(
            "{others}/a.toml:1:1: error: \"match\" is missing\n    [[rule]]\n    ^^^^^^^^\n1 error, 0 warnings\n"
        )
    );
    assert_eq!(broken.status.code(), Some(1));
    for (wrong, why) in [
        (
            &["--since", "1d", "--rules", "/nowhere"][..],
            "error: there is no directory /nowhere\n",
        ),
        (
            &["--since", "soon"][..],
            "error: invalid value 'soon' for '--since <SPAN>'",
        ),
        (
            &[][..],
            "error: the following required arguments were not provided:\n  --since <SPAN>\n",
        ),
    ] {
        let wrong = home.run(&[&["rules", "backtest"][..], wrong].concat());
        assert!(stderr(&wrong).starts_with(why), "{}", stderr(&wrong));
        assert_eq!(wrong.status.code(), Some(2));
    }
    let missing = home.run(&["rules", "backtest", "--since", "1d"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(
        stderr(&missing).starts_with("error: cannot open the store at "),
        "{}",
        stderr(&missing)
    );
}
