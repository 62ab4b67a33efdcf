//! Intervals: Alertmanager's own cases with where we differ and why, and rules that match only in one.

use crate::daemon::Home;
use crate::world::{START, World, at, book, rule, rule_set};
use chrono_tz::Tz;
use regex::Regex;
use serde_json::Value;
use std::sync::Arc;
use watchkeeper::config::{Environment, load};
use watchkeeper::domain::interval::Interval;
use watchkeeper::domain::rule::{Action, RuleSet};
use watchkeeper::rules::{Context, LoadedRules, load_texts};

/// What Alertmanager takes and we refuse, and why.
const REFUSED: [(&str, &str); 5] = [
    (
        "- times: []",
        "nothing is in an empty list, and nobody means that",
    ),
    (
        "- months: ['0']",
        "there is no such month: the interval never comes",
    ),
    (
        "- months: ['13']",
        "there is no such month: the interval never comes",
    ),
    (
        "- location: 'Local'",
        "the zone of a machine is not that of the next one",
    ),
    (
        "days_of_month: [\"-31:31\"]\nmonths: [\"6\"]\n",
        "made in the code of its tests; as a text Alertmanager refuses it, too",
    ),
];

/// Its YAML as our TOML, and a rule that is active in any of the intervals.
fn ours(yaml: &str) -> String {
    let find = |text: &str| Regex::new(text).expect("an expression");
    let start = find(r"(?m)^- ([^s]|s[^t]|start[^_]|\{)");
    let mut begins: Vec<usize> = start.find_iter(yaml).map(|found| found.start()).collect();
    if begins.is_empty() && yaml.trim() != "[]" {
        begins.push(0);
    }
    let ends = begins.iter().skip(1).copied().chain([yaml.len()]);
    let (list, time) = (
        find(r"(weekdays|days_of_month|months|years): (\[[^\]]*\])"),
        find(r#"(?:(start|end)_time: ['"]([^'"]*)['"](?:,?\s+end_time: ['"]([^'"]*)['"])?)"#),
    );
    let (zone, unknown) = (
        find(r#"location: ['"]?([^'"\s]+)"#),
        find(r"unknown: (\w+)"),
    );
    let mut toml = String::new();
    for (n, (from, to)) in begins.iter().zip(ends).enumerate() {
        let item = &yaml[*from..to];
        toml.push_str(&format!("[[interval]]\nname = \"{n}\"\n"));
        for found in list.captures_iter(item) {
            toml.push_str(&format!("{} = {}\n", &found[1], &found[2]));
        }
        let times: Vec<String> = time
            .captures_iter(item)
            .map(|found| match &found[1] {
                "start" => format!(
                    "\"{}-{}\"",
                    &found[2],
                    found.get(3).map_or("", |it| it.as_str())
                ),
                _end => format!("\"-{}\"", &found[2]),
            })
            .collect();
        if item.contains("times:") {
            toml.push_str(&format!("times = [{}]\n", times.join(", ")));
        }
        for found in zone.captures_iter(item) {
            toml.push_str(&format!("timezone = \"{}\"\n", &found[1]));
        }
        for found in unknown.captures_iter(item) {
            toml.push_str(&format!("unknown = \"{}\"\n", &found[1]));
        }
    }
    let names: Vec<String> = (0..begins.len()).map(|n| format!("\"{n}\"")).collect();
    let active = match names.is_empty() {
        true => String::new(),
        false => format!("active = [{}]\n", names.join(", ")),
    };
    format!("{toml}[[rule]]\nname = \"all\"\nmatch = ['a=\"b\"']\n{active}")
}

fn read(toml: &str) -> LoadedRules {
    let config = load(None, &Environment::default());
    let config = config.config.expect("the defaults have no error");
    let context = Context {
        zone: Tz::UTC,
        matrix: &config.matrix,
        book: &config.book,
    };
    load_texts(&[("rules.toml", toml)], context)
}

fn cases() -> Value {
    serde_json::from_str(include_str!("fixtures/cases/time_intervals.json")).expect("JSON")
}

#[test]
fn intervals_are_read_and_hold_as_alertmanager_s_do() {
    let all = cases();
    let (mut n_read, mut n_instants, mut differing) = (0, 0, Vec::new());
    for group in [
        "contains_extra",
        "parse_extra",
        "upstream_contains",
        "upstream_yaml",
    ] {
        for case in all[group].as_array().expect("a list") {
            let yaml = case["yaml"].as_str().or(case["interval_yaml"].as_str());
            let yaml = yaml.expect("its text");
            let is_refused = REFUSED.iter().any(|(refused, _)| *refused == yaml);
            let is_read = case["ok"].as_bool().unwrap_or(true) && !is_refused;
            let toml = ours(yaml);
            let loaded = read(&toml);
            n_read += 1;
            if loaded.rules.is_some() != is_read {
                differing.push(format!("{yaml}\n{toml}\n{:?}", loaded.findings));
                continue;
            }
            let Some(rules) = loaded.rules else {
                continue;
            };
            for check in case["checks"].as_array().into_iter().flatten() {
                let instant = check["instant"].as_str().expect("an instant");
                n_instants += 1;
                if Some(rules.rules()[0].is_active(at(instant))) != check["contained"].as_bool() {
                    differing.push(format!("{yaml}\n{toml}\n{check}"));
                }
            }
        }
    }
    assert_eq!(differing.join("\n\n"), "");
    assert_eq!((n_read, n_instants), (97, 126));
}

fn interval(times: &str) -> Arc<Interval> {
    Arc::new(Interval {
        name: "business-hours".to_owned(),
        zone: Tz::UTC,
        weekdays: Some(vec!["monday:friday".parse().expect("weekdays")]),
        days_of_month: None,
        months: None,
        years: None,
        times: Some(vec![times.parse().expect("times")]),
    })
}

/// In business hours an incident for everything, else only a record.
fn by_day(times: &str) -> RuleSet {
    let mut by_day = rule("by-day", &[], |_settings| {});
    by_day.active = vec![interval(times)];
    let by_night = rule("by-night", &[], |settings| {
        settings.action = Some(Action::Record);
    });
    rule_set("r1", vec![by_day, by_night])
}

#[test]
fn a_rule_matches_only_in_its_interval() {
    let mut world = World::with(START, book(&[("ana", 60)]), by_day("09:00-09:30"));
    world.fires("Down");
    assert_eq!(world.pages(), ["09:00 ana"]);
    world.advance(30);
    assert_eq!(world.fires("Late").opened.len(), 0);
    world.advance(24 * 60 - 30);
    assert_eq!(world.fires("Again").opened.len(), 1);
    // That Saturday.
    world.advance(4 * 24 * 60);
    assert_eq!(world.fires("Weekend").opened.len(), 0);
}

#[test]
fn an_alert_that_fires_when_its_interval_begins_opens_when_it_is_next_heard_of() {
    let mut world = World::with(START, book(&[("ana", 60)]), by_day("10:00-17:00"));
    assert_eq!(world.fires("Down").opened.len(), 0);
    world.advance(59);
    assert_eq!(world.fires("Down").n_repeats, 1);
    world.advance(1);
    assert_eq!(world.pages(), [""; 0]);
    assert_eq!(world.fires("Down").opened.len(), 1);
    assert_eq!(world.pages(), ["10:00 ana"]);
}

#[test]
fn an_incident_outlives_the_interval_in_which_it_opened() {
    let mut world = World::with(
        START,
        book(&[("ana", 60), ("ben", 60)]),
        by_day("09:00-09:30"),
    );
    world.fires_as("Down", "warning");
    world.advance(45);
    // Judged again by the rule by which it joined, and a resolve finds it.
    world.fires_as("Down", "critical");
    world.resolves("Down");
    world.advance(1);
    assert!(world.incident(1).is_clear());
}

#[test]
fn explain_says_that_a_rule_is_not_active() {
    let home = Home::new();
    home.write(
        "rules/all.toml",
        "[[interval]]\nname = \"business-hours\"\ntimezone = \"Europe/Berlin\"\nweekdays = [\"monday:friday\"]\n\
         times = [\"09:00-17:00\"]\n\
         [[rule]]\nname = \"by-day\"\nmatch = ['alertname=\"Down\"']\nactive = \"business-hours\"\n",
    );
    home.write(
        "body.json",
        r#"{"version":"4","alerts":[{"status":"firing","labels":{"alertname":"Down"},"startsAt":"2026-03-02T03:00:00Z"}]}"#,
    );
    let body = home.config().join("body.json").display().to_string();
    let rules_at = |time: &str| {
        let explain = [
            "rules",
            "explain",
            &body,
            "--source",
            "alertmanager",
            "--at",
            time,
        ];
        let output = home.run(&explain);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let from = text.find("  rules").unwrap_or_else(|| panic!("{text}"));
        let to = text.find("               severity").unwrap_or(text.len());
        text[from..to].to_owned()
    };
    assert_eq!(
        rules_at("2026-03-02T08:00:00Z"),
        r#"  rules        by-day: yes, and decides
                 alertname="Down" fits "Down"
  verdict      opens or joins an incident, by by-day
"#
    );
    assert_eq!(
        rules_at("2026-03-02T16:00:00Z"),
        r#"  rules        by-day: no, not active at 2026-03-02T16:00:00.000Z (business-hours)
                 alertname="Down" fits "Down"
  verdict      unrouted: no rule matches; kept, and opens nothing
"#
    );
}
