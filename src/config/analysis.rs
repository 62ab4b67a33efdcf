//! `[analysis]`: system weaknesses and detection gaps of an operator's own, beside the built-in ones.

use crate::toml_file::{Section, Value};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Analysis {
    pub(super) weaknesses: Vec<String>,
    pub(super) detection_gaps: Vec<String>,
}

pub(super) fn read(section: Section<'_>) -> Analysis {
    let words = |key| section.get(key).and_then(Value::list).unwrap_or_default();
    let analysis = Analysis {
        weaknesses: words("weaknesses").into_iter().filter_map(word).collect(),
        detection_gaps: words("detection_gaps")
            .into_iter()
            .filter_map(word)
            .collect(),
    };
    section.done();
    analysis
}

/// A name of the form of the built-in ones, so that reviews can count by it.
fn word(value: Value<'_>) -> Option<String> {
    let found = value.text()?;
    if !found
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    {
        value.error(format!(
            "a name such as \"missing_validation\" is wanted, found \"{found}\""
        ));
        return None;
    }
    Some(found)
}
