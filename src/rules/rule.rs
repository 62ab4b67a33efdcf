//! One `[[rule]]`.

use crate::domain::alert::Labels;
use crate::domain::cron_spec::CronSpec;
use crate::domain::go_regex::RegexError;
use crate::domain::incident::Flapping;
use crate::domain::interval::Interval;
use crate::domain::matcher::{Matcher, MatcherError, Op};
use crate::domain::rule::{Action, OpenWhen, Rule, STARTS_MAX, Settings};
use crate::domain::template::{Facts, Template};
use crate::domain::verification::Plan;
use crate::rules::{Context, Intervals, severity};
use crate::toml_file::nearest::unknown;
use crate::toml_file::{Section, Value};
use std::sync::Arc;

const ACTIONS: [(&str, Action); 3] = [
    ("open", Action::Open),
    ("record", Action::Record),
    ("drop", Action::Drop),
];

/// Whether the rule matches whatever comes, as far as its text tells.
pub(super) fn matches_everything(rule: &Rule) -> bool {
    let is_anything = |matcher: &Matcher| matcher.op() == Op::Regex && matcher.value() == ".*";
    rule.active.is_empty() && rule.matchers.iter().all(is_anything)
}

pub(super) fn read(
    section: Section<'_>,
    context: Context<'_>,
    intervals: Option<&Intervals>,
) -> Option<Rule> {
    let name = section.required("name").and_then(Value::text);
    let matchers = section.required("match").and_then(matchers);
    let continues = section.get("continue").and_then(Value::boolean);
    let settings = settings(&section, context);
    let active = section
        .get("active")
        .map_or(Some(Vec::new()), |value| active(value, intervals?));
    section.done();
    Some(Rule {
        name: name?,
        matchers: matchers?,
        active: active.unwrap_or_default(),
        continues: continues.unwrap_or_default(),
        settings,
    })
}

/// What has an error is left out; the set is not used then.
fn settings(section: &Section<'_>, context: Context<'_>) -> Settings {
    let template = |key| section.get(key).and_then(template);
    let span = |key| section.get(key).and_then(Value::span);
    Settings {
        action: section
            .get("action")
            .and_then(|value| value.one_of("action", &ACTIONS)),
        severity: section
            .get("severity")
            .and_then(|value| severity::read(value, context.matrix)),
        dedup_key: template("dedup_key"),
        title: template("title"),
        description: template("description"),
        team: section
            .get("team")
            .and_then(|value| known(value, "team", context.book.teams.keys())),
        escalation_policy: section
            .get("escalation_policy")
            .and_then(|value| known(value, "policy", context.book.policies.keys())),
        runbook: template("runbook"),
        open: section.get("open").and_then(Value::section).and_then(open),
        stale_after: section.get("stale_after").and_then(Value::lasting),
        flapping: section
            .get("flapping")
            .and_then(Value::section)
            .and_then(flapping),
        resolve_after: span("resolve_after"),
        reopen_within: span("reopen_within"),
        verification: section
            .get("verification")
            .and_then(Value::section)
            .and_then(|section| verification(section, context)),
    }
}

pub(super) fn matchers(value: Value<'_>) -> Option<Vec<Matcher>> {
    let items = value.list()?;
    if items.is_empty() {
        value.warn("an empty list matches every alert");
    }
    let read: Vec<Option<Matcher>> = items.into_iter().map(matcher).collect();
    read.into_iter().collect()
}

fn matcher(value: Value<'_>) -> Option<Matcher> {
    let text = value.string()?;
    match Matcher::parse(text) {
        Ok(matcher) => Some(matcher),
        Err(error) => {
            value.error_at(offset_of(&error, text), error.to_string());
            None
        }
    }
}

/// Where in the text an expression is wrong, where the part that is stands there only once.
fn offset_of(error: &MatcherError, text: &str) -> Option<usize> {
    let MatcherError::Regex(RegexError::Refused { part, .. }) = error else {
        return None;
    };
    // What is told is a part of the expression with its anchors.
    let part = part.strip_prefix("^(?:").unwrap_or(part);
    let part = part.strip_suffix(")$").unwrap_or(part);
    if part.is_empty() {
        return None;
    }
    let mut places = text.match_indices(part);
    let (first, _) = places.next()?;
    places.next().is_none().then_some(first)
}

pub(super) fn template(value: Value<'_>) -> Option<Template> {
    match Template::parse(value.string()?) {
        Ok(template) => {
            // Filters and functions are looked up only now.
            let none = Labels::default();
            let rendered = template.render(Facts {
                labels: &none,
                annotations: &none,
                attributes: &none,
            });
            if let Err(error) = rendered {
                value.warn(format!(
                    "an alert without labels does not render: {}",
                    error.message
                ));
            }
            Some(template)
        }
        Err(error) => {
            value.error_at(error.offset, error.message);
            None
        }
    }
}

fn known<'a>(
    value: Value<'_>,
    what: &str,
    names: impl Iterator<Item = &'a String>,
) -> Option<String> {
    let found = value.string()?;
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.contains(&found) {
        return Some(found.to_owned());
    }
    value.error(unknown(what, found, names));
    None
}

/// Changes between firing and silent that one incident is asked to remember.
const MAX_CHANGES: u32 = 1000;

fn flapping(section: Section<'_>) -> Option<Flapping> {
    let changes = section
        .required("changes")
        .and_then(|value| value.integer(1..=MAX_CHANGES));
    let within = section.required("within").and_then(Value::lasting);
    section.done();
    Some(Flapping {
        changes: changes?,
        within_ms: u64::try_from(within?.as_millis()).unwrap_or(u64::MAX),
    })
}

/// One interval, or several any of which will do. What is unknown is told, and nothing is used then.
fn active(value: Value<'_>, intervals: &Intervals) -> Option<Vec<Arc<Interval>>> {
    let names = match value.is_string() {
        true => vec![value],
        false => value.list()?,
    };
    if names.is_empty() {
        return value.refuse("an interval is wanted, found an empty list".to_owned());
    }
    let named = |value: Value<'_>| {
        let name = known(value, "interval", intervals.by_name.keys())?;
        intervals.by_name.get(&name)?.clone()
    };
    let read: Vec<Option<Arc<Interval>>> = names.into_iter().map(named).collect();
    read.into_iter().collect()
}

/// Either `after`, or `count` and `within`.
fn open(section: Section<'_>) -> Option<OpenWhen> {
    let after = section.get("after");
    let counts = section.get("count").is_some() | section.get("within").is_some();
    let read = match after {
        Some(after) if counts => after.refuse(
            "either \"after\" or \"count\" with \"within\" is wanted, found both".to_owned(),
        ),
        Some(after) => after.span().map(|span| match span.is_zero() {
            true => OpenWhen::AtOnce,
            false => OpenWhen::After(span),
        }),
        None if !counts => {
            section.error("\"after\", or \"count\" with \"within\", is wanted, found neither");
            None
        }
        None => {
            let count = section
                .required("count")
                .and_then(|value| value.integer(1..=STARTS_MAX));
            let within = section.required("within").and_then(Value::lasting);
            count.zip(within).map(|(count, within)| match count {
                1 => OpenWhen::AtOnce,
                _ => OpenWhen::Count { count, within },
            })
        }
    };
    section.done();
    read
}

fn verification(section: Section<'_>, context: Context<'_>) -> Option<Plan> {
    let check = section.required("check").and_then(cron);
    let window = section.required("for").and_then(Value::lasting);
    let zone = section
        .get("timezone")
        .map_or(Some(context.zone), Value::zone);
    section.not_yet("query");
    section.done();
    Some(Plan {
        check: check?,
        zone: zone?,
        window: window?,
    })
}

fn cron(value: Value<'_>) -> Option<CronSpec> {
    match CronSpec::parse(value.string()?) {
        Ok(spec) => Some(spec),
        Err(error) => {
            value.error(error.to_string());
            None
        }
    }
}
