//! The three forms of a rule's `severity`.

use crate::domain::rule::{DEFAULT_SEVERITY, SeverityRule};
use crate::domain::severity::{Matrix, Severity};
use crate::rules::rule::template;
use crate::toml_file::{Section, Value};
use std::collections::BTreeMap;

pub(super) fn read(value: Value<'_>, matrix: &Matrix) -> Option<SeverityRule> {
    if value.is_string() {
        return value.parsed().map(SeverityRule::Fixed);
    }
    if !value.is_table() {
        return value.wanted("a severity such as \"SEV2\" or a table");
    }
    let section = value.section()?;
    if ["label", "map", "default"]
        .iter()
        .any(|key| section.has(key))
    {
        return by_label(section);
    }
    by_matrix(section, matrix)
}

fn by_label(section: Section<'_>) -> Option<SeverityRule> {
    let label = section.required("label").and_then(Value::text);
    let written = section.required("map");
    let words = written.and_then(Value::section);
    let mut map: BTreeMap<String, Severity> = BTreeMap::new();
    for (word, severity) in words.iter().flat_map(Section::each) {
        map.extend(
            severity
                .parsed()
                .map(|severity| (word.text.to_owned(), severity)),
        );
    }
    let default = section.get("default").map(Value::parsed::<Severity>);
    section.done();
    Some(SeverityRule::Map {
        label: label?,
        map,
        default: match default {
            Some(default) => Some(default?),
            None => None,
        },
    })
}

fn by_matrix(section: Section<'_>, matrix: &Matrix) -> Option<SeverityRule> {
    let input = |key| section.get(key).and_then(template);
    let (impact, scope, urgency) = (input("impact"), input("scope"), input("urgency"));
    if !["impact", "scope", "urgency"]
        .iter()
        .any(|key| section.has(key))
    {
        section.error("a label with a map, or one of impact, scope, urgency is wanted");
    }
    if matrix.0.is_empty() {
        section.warn(format!(
            "there is no matrix in [severity]: this is always {DEFAULT_SEVERITY}"
        ));
    }
    section.done();
    Some(SeverityRule::Matrix {
        impact,
        scope,
        urgency,
    })
}
