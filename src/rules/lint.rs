//! What is odd about rules that can be read: those that never decide, matchers and keys without effect, words with a slip.

use crate::domain::alert::Outcome;
use crate::domain::matcher::{Matcher, Op};
use crate::domain::rule::{Rule, SeverityRule};
use crate::domain::source::Kind;
use crate::domain::template::Template;
use crate::toml_file::nearest::nearest;
use crate::toml_file::{Section, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a template can look into.
const SETS: [&str; 3] = ["labels", "annotations", "attributes"];

/// Names of what is another for every alert, or every time it is said, in small letters without `_`.
const PASSING: [&str; 12] = [
    "startsat",
    "endsat",
    "startedat",
    "timestamp",
    "time",
    "date",
    "datetime",
    "fingerprint",
    "value",
    "uuid",
    "runid",
    "finishedat",
];

/// Those of them that a label may have.
const MAY_STAY: [&str; 4] = ["value", "time", "date", "uuid"];

/// The words that senders use for how bad it is, in small letters.
const SEVERITY_WORDS: [&str; 29] = [
    "alert",
    "average",
    "critical",
    "debug",
    "disaster",
    "emergency",
    "error",
    "fatal",
    "high",
    "info",
    "information",
    "informational",
    "low",
    "major",
    "medium",
    "minor",
    "moderate",
    "none",
    "normal",
    "notice",
    "okay",
    "page",
    "panic",
    "trace",
    "unknown",
    "urgent",
    "warn",
    "warning",
    "severe",
];

/// A slip is told in words of at least so many letters; shorter ones are near too much.
const SLIP_LETTERS_MIN: usize = 4;

/// Rules read so far that decide, found by what they want, so that thousands are compared with few.
#[derive(Default)]
pub(super) struct Earlier {
    rules: Vec<Rule>,
    by_value: BTreeMap<(String, String), Vec<usize>>,
    others: Vec<usize>,
}

/// Notes what is odd about a rule, beside those before it.
pub(super) fn rule(value: Value<'_>, rule: &Rule, earlier: &mut Earlier) {
    let Some(section) = value.peek() else {
        return;
    };
    let is_possible = matchers(&section, rule);
    if is_possible && let Some(winner) = earlier.winner(rule) {
        let (name, winner) = (&rule.name, &winner.name);
        value.warn(format!(
            "rule \"{name}\" never decides: rule \"{winner}\" before it matches whatever it matches"
        ));
    }
    templates(&section, rule);
    severity(&section, rule);
    if is_possible && !rule.continues {
        earlier.add(rule);
    }
}

// ---- rules that never decide ----

impl Earlier {
    fn add(&mut self, rule: &Rule) {
        let at = self.rules.len();
        self.rules.push(rule.clone());
        let literal = rule.matchers.iter().find_map(|matcher| {
            let values = matcher.literals()?;
            Some((matcher.name(), values))
        });
        let Some((name, values)) = literal else {
            self.others.push(at);
            return;
        };
        for value in values {
            let key = (name.to_owned(), value.to_owned());
            self.by_value.entry(key).or_default().push(at);
        }
    }

    /// The first that matches whatever this one does, so far as that can be told.
    fn winner(&self, rule: &Rule) -> Option<&Rule> {
        // One that is found by a value wins only over those that want this value or fewer.
        let wanted = rule.matchers.iter().filter_map(|matcher| {
            let first = matcher
                .literals()?
                .first()
                .map(|value| (*value).to_owned())?;
            self.by_value.get(&(matcher.name().to_owned(), first))
        });
        let candidates = wanted.flatten().chain(&self.others);
        let winners = candidates.filter(|at| {
            let earlier = self.rules.get(**at);
            earlier.is_some_and(|earlier| wins_over(earlier, rule))
        });
        winners.min().and_then(|at| self.rules.get(*at))
    }
}

fn wins_over(earlier: &Rule, rule: &Rule) -> bool {
    let is_there = |interval: &Arc<_>| earlier.active.contains(interval);
    let is_active_then =
        earlier.active.is_empty() || (!rule.active.is_empty() && rule.active.iter().all(is_there));
    is_active_then
        && earlier.matchers.iter().all(|wanted| {
            fits_anything(wanted) || rule.matchers.iter().any(|known| implies(known, wanted))
        })
}

/// Whether whatever fits one matcher fits another, so far as that can be told.
fn implies(one: &Matcher, other: &Matcher) -> bool {
    if one.name() != other.name() {
        return false;
    }
    if one == other {
        return true;
    }
    if let Some(values) = one.literals() {
        return values.iter().all(|value| other.matches(Some(value)));
    }
    // What does not fit the other does not fit this one either.
    excluded(other).is_some_and(|values| !values.iter().any(|value| one.matches(Some(value))))
}

/// The values that do not fit, where these are texts written out.
fn excluded(matcher: &Matcher) -> Option<Vec<&str>> {
    match matcher.op() {
        Op::NotEqual => Some(vec![matcher.value()]),
        Op::NotRegex => matcher.words(),
        Op::Equal | Op::Regex => None,
    }
}

// ---- matchers ----

/// Whether anything can fit all of them.
fn matchers(section: &Section<'_>, rule: &Rule) -> bool {
    let written = section.get("match").map(Value::items).unwrap_or_default();
    let mut is_possible = true;
    for (at, (matcher, place)) in rule.matchers.iter().zip(&written).enumerate() {
        let (name, value) = (matcher.name(), matcher.value());
        if fits_anything(matcher) && rule.matchers.len() > 1 {
            place.warn(format!("{matcher} fits every alert: it does nothing here"));
        }
        if matcher.op() == Op::NotRegex && is_anything(value) {
            place.warn(format!("{matcher} fits no alert: the rule never matches"));
            is_possible = false;
        }
        let word = matcher.words().filter(|words| words.len() == 1);
        if word.is_some() && matcher.op() == Op::Regex {
            place.warn(format!(
                "no expression is in {matcher}: {name}=\"{value}\" says the same"
            ));
        }
        if word.is_some() && matcher.op() == Op::NotRegex {
            place.warn(format!(
                "no expression is in {matcher}: {name}!=\"{value}\" says the same"
            ));
        }
        let before = rule.matchers.iter().take(at);
        if let Some(other) = before.into_iter().find(|other| contradict(other, matcher)) {
            place.warn(format!(
                "nothing fits both {other} and {matcher}: the rule never matches"
            ));
            is_possible = false;
        }
        known_words(*place, matcher);
    }
    is_possible
}

fn fits_anything(matcher: &Matcher) -> bool {
    matcher.op() == Op::Regex && is_anything(matcher.value())
}

/// Expressions that people write for "whatever".
fn is_anything(expression: &str) -> bool {
    matches!(
        expression,
        ".*" | "(.*)" | "^.*$" | "^.*" | ".*$" | "(?s).*" | "(?s:.*)"
    )
}

fn contradict(one: &Matcher, other: &Matcher) -> bool {
    let none_fits = |one: &Matcher, other: &Matcher| {
        let values = one.literals();
        values.is_some_and(|values| !values.iter().any(|value| other.matches(Some(value))))
    };
    one.name() == other.name() && (none_fits(one, other) || none_fits(other, one))
}

/// Kinds and outcomes are ours: a word that is none of them fits nothing.
fn known_words(place: Value<'_>, matcher: &Matcher) {
    let (what, known) = match matcher.attribute() {
        Some("kind") => ("kind", kinds()),
        Some("outcome") => ("outcome", outcomes()),
        _another => return,
    };
    for word in matcher.words().unwrap_or_default() {
        if !word.is_empty() && !known.contains(&word) {
            place.warn(no_such_word(what, word, &known));
        }
    }
}

fn kinds() -> Vec<&'static str> {
    let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Change);
    let kinds = kinds.map(Kind::as_str);
    kinds.chain([crate::domain::heartbeat::KIND]).collect()
}

/// Those that fire: rules are asked of no others.
fn outcomes() -> Vec<&'static str> {
    [Outcome::Warn, Outcome::Fail, Outcome::Error]
        .map(Outcome::as_str)
        .to_vec()
}

fn no_such_word(what: &str, word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(meant) => format!("no alert has the {what} \"{word}\", did you mean \"{meant}\"?"),
        None => format!(
            "no alert has the {what} \"{word}\", there are {}",
            known.join(", ")
        ),
    }
}

// ---- templates ----

fn templates(section: &Section<'_>, rule: &Rule) {
    let settings = &rule.settings;
    let all = [
        ("dedup_key", &settings.dedup_key),
        ("title", &settings.title),
        ("description", &settings.description),
        ("runbook", &settings.runbook),
    ];
    for (key, template) in all {
        let (Some(template), Some(value)) = (template, section.get(key)) else {
            continue;
        };
        unknown_names(value, template);
        excluded_labels(value, template, rule);
        if key == "dedup_key" {
            dedup_key(value, template);
        }
    }
}

fn unknown_names(value: Value<'_>, template: &Template) {
    for name in template.names() {
        if !SETS.contains(&name.as_str()) {
            value.warn(format!(
                "\"{name}\" renders as nothing: labels.{name}, annotations.{name} or attributes.{name} may be meant"
            ));
        }
    }
}

/// A label that an alert of this rule never has.
fn excluded_labels(value: Value<'_>, template: &Template, rule: &Rule) {
    for lookup in template.lookups() {
        let name = match lookup.split_once('.') {
            Some(("labels", name)) => name.to_owned(),
            Some(("attributes", name)) => format!("@{name}"),
            _another => continue,
        };
        let lacks = rule.matchers.iter().find(|matcher| {
            let only_empty = |values: Vec<&str>| values.iter().all(|value| value.is_empty());
            matcher.name() == name && matcher.literals().is_some_and(only_empty)
        });
        if let Some(matcher) = lacks {
            value.warn(format!(
                "{lookup} renders as nothing: {matcher} lets in only alerts without it"
            ));
        }
    }
}

fn dedup_key(value: Value<'_>, template: &Template) {
    if template.is_constant() {
        value.warn("nothing of an alert is in this key: all alerts of the rule are one incident");
    }
    for lookup in template.lookups() {
        let Some((set, name)) = lookup.split_once('.') else {
            continue;
        };
        let plain: String = name.chars().filter(|c| *c != '_').collect();
        let plain = plain.to_lowercase();
        // A label is identity, whatever its name; only a time is never meant to be.
        let may_stay = set == "labels" && MAY_STAY.contains(&plain.as_str());
        if PASSING.contains(&plain.as_str()) && !may_stay {
            value.warn(format!(
                "{lookup} is another for every alert: each opens an incident of its own"
            ));
        }
    }
}

// ---- severity ----

fn severity(section: &Section<'_>, rule: &Rule) {
    let Some(SeverityRule::Map { label, .. }) = &rule.settings.severity else {
        return;
    };
    let written = section.get("severity").and_then(Value::peek);
    let words = written.and_then(|severity| severity.get("map"));
    let Some(words) = words.and_then(Value::peek) else {
        return;
    };
    let known: &[&str] = match label.as_str() {
        "@kind" => &kinds(),
        "@outcome" => &outcomes(),
        "severity" | "@severity" | "level" | "@level" => &SEVERITY_WORDS,
        _another => return,
    };
    let is_ours = matches!(label.as_str(), "@kind" | "@outcome");
    for (word, _) in words.each() {
        let text = word.text.to_lowercase();
        if known.contains(&text.as_str()) && (!is_ours || text == word.text) {
            continue;
        }
        let message = match (is_ours, nearest(&text, known)) {
            (true, _) => no_such_word(label.trim_start_matches('@'), word.text, known),
            (false, Some(meant)) if text.chars().count() >= SLIP_LETTERS_MIN => {
                format!(
                    "no sender says \"{}\", did you mean \"{meant}\"?",
                    word.text
                )
            }
            (false, _) => continue,
        };
        section.report().warn(word.place, message);
    }
}
