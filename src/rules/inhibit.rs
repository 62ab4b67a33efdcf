//! One `[[inhibit]]`.

use crate::domain::inhibition::Inhibition;
use crate::rules::rule::matchers;
use crate::toml_file::{Section, Value};

/// What has an error is none; the set is not used then.
pub(super) fn read(section: Section<'_>) -> Option<Inhibition> {
    let source = section.required("source").and_then(matchers);
    let target = section.required("target").and_then(matchers);
    let equal = section.get("equal").map_or(Some(Vec::new()), names);
    section.done();
    Some(Inhibition::new(source?, target?, equal?))
}

fn names(value: Value<'_>) -> Option<Vec<String>> {
    let read = value.list()?.into_iter().map(|name| {
        let text = name.string()?;
        if text.is_empty() || text == "@" {
            name.error("the name of a label is wanted, found none");
            return None;
        }
        Some(text.to_owned())
    });
    let read: Vec<Option<String>> = read.collect();
    read.into_iter().collect()
}
