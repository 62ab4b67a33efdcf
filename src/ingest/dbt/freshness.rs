//! How old the data of a source are, and how old they may be. The query that told it stays out.

use super::super::checks::Finding;
use super::super::cut;
use super::super::json::{self, Bad};
use super::count;
use crate::domain::alert::Outcome;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Of each number and word.
const MAX_WORD_BYTES: usize = 64;

/// Here `error` says that its data are too old; that their age could not be told has a word of its own.
pub(super) const OUTCOMES: [(&str, Outcome); 5] = [
    ("pass", Outcome::Pass),
    ("warn", Outcome::Warn),
    ("error", Outcome::Fail),
    ("runtime error", Outcome::Error),
    ("skipped", Outcome::Skip),
];

pub(super) fn read<'a>(item: &'a RawValue, found: &mut Finding<'a>) -> Result<(), Bad> {
    let [loaded_at, age, criteria, error] = json::fields(
        item,
        [
            "max_loaded_at",
            "max_loaded_at_time_ago_in_s",
            "criteria",
            "error",
        ],
    )?;
    let loaded_at = loaded_at.text()?;
    let age = age.read(count)?;
    found.observed = age.map(|age| {
        let age = cut(age, MAX_WORD_BYTES);
        let at = loaded_at.map(|at| format!(", loaded at {}", cut(&at, MAX_WORD_BYTES)));
        format!("{age} s old{}", at.unwrap_or_default())
    });
    found.expected = criteria.read(read_criteria)?;
    let error = error.read(json::text_or_number)?;
    let error = error.filter(|error| !error.is_empty());
    let said = found.message.take().or(error);
    found.message = said.or_else(|| {
        let words = [found.observed.as_deref(), found.expected.as_deref()];
        let words: Vec<&str> = words.into_iter().flatten().collect();
        Some(Cow::Owned(words.join("; ")))
    });
    Ok(())
}

fn read_criteria(criteria: &RawValue) -> Result<String, Bad> {
    let [warn, error] = json::fields(criteria, ["warn_after", "error_after"])?;
    let mut texts = Vec::new();
    for (word, field) in [("warn", warn), ("error", error)] {
        if let Some(span) = field.read(read_span)?.flatten() {
            texts.push(format!("{word} after {span}"));
        }
    }
    Ok(texts.join(", "))
}

/// `10 day`; none where it is not limited.
fn read_span(span: &RawValue) -> Result<Option<String>, Bad> {
    let [count, period] = json::fields(span, ["count", "period"])?;
    let (Some(count), Some(period)) = (count.read(json::number)?, period.text()?) else {
        return Ok(None);
    };
    let (count, period) = (cut(count, MAX_WORD_BYTES), cut(&period, MAX_WORD_BYTES));
    Ok(Some(format!("{count} {period}")))
}
