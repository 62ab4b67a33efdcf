//! `[policies]`: whom to page in which order.

use crate::config::names::Names;
use crate::domain::escalation::{DEFAULT_TIMEOUT, EscalationPolicy, Step, Target};
use crate::domain::time::millis;
use crate::toml_file::{Section, Value};
use std::collections::BTreeMap;

/// Rounds a policy may have; more is a slip of the pen.
const REPEAT_MAX: u32 = 1000;

pub(super) fn read(section: &Section<'_>, names: &Names) -> BTreeMap<String, EscalationPolicy> {
    let mut policies = BTreeMap::new();
    for (name, policy) in section.each_section() {
        policies.insert(name.text.to_owned(), read_one(name.text, policy, names));
    }
    policies
}

fn read_one(name: &str, section: Section<'_>, names: &Names) -> EscalationPolicy {
    let policy = EscalationPolicy {
        name: name.to_owned(),
        steps: steps(&section, names),
        repeat: section
            .get("repeat")
            .and_then(|value| value.integer(0..=REPEAT_MAX))
            .unwrap_or(0),
        acknowledge_timeout_ms: section
            .get("acknowledge_timeout")
            .and_then(Value::lasting)
            .and_then(|span| u64::try_from(millis(span)).ok()),
        fallback: section
            .get("fallback")
            .map(|value| targets(value, names))
            .unwrap_or_default(),
    };
    section.done();
    policy
}

fn steps(section: &Section<'_>, names: &Names) -> Vec<Step> {
    let Some(value) = section.get("steps") else {
        section.error("a policy needs a step");
        return Vec::new();
    };
    let items = value.list().unwrap_or_default();
    if items.is_empty() && value.is_list() {
        value.error("a policy needs a step");
    }
    items
        .into_iter()
        .filter_map(|item| step(item.section()?, names))
        .collect()
}

fn step(section: Section<'_>, names: &Names) -> Option<Step> {
    let targets = section.required("targets").map(|value| {
        let found = targets(value, names);
        if value.list().is_some_and(|list| list.is_empty()) {
            value.error("a step needs a target");
        }
        found
    });
    let timeout = section
        .get("timeout")
        .map_or(Some(DEFAULT_TIMEOUT), Value::lasting);
    section.done();
    Some(Step {
        targets: targets?,
        timeout: timeout?,
    })
}

fn targets(value: Value<'_>, names: &Names) -> Vec<Target> {
    let items = value.list().unwrap_or_default();
    items
        .into_iter()
        .filter_map(|item| target(item, names))
        .collect()
}

fn target(value: Value<'_>, names: &Names) -> Option<Target> {
    match value.parsed::<Target>()? {
        Target::Person(name) => names.person(value, &name).map(Target::Person),
        Target::Schedule(name) => names.schedule(value, &name).map(Target::Schedule),
        Target::Policy(_) => {
            value.error("a person or a schedule is wanted, found a policy");
            None
        }
    }
}
