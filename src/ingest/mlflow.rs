//! The registry webhook of MLflow.
//!
//! The registry has no event of a validation; that a version of a model passed is said by convention, by its tag
//! `validation_status`. Whatever else happens in the registry is no alert.

use super::checks::{Finding, Report, Subject, no_longer, required};
use super::json::{self, Bad, Field};
use super::{Notes, Parsed, Post, cut, read_time};
use crate::domain::alert::{Outcome, Run};
use serde_json::value::RawValue;
use std::borrow::Cow;

const MAX_WORD_CHARS: usize = 64;
const MAX_NAME_CHARS: usize = 512;
const MAX_DELIVERY_ID_BYTES: usize = 256;

const TAG: &str = "validation_status";

/// What the tag may say. `approved` and its like are the words of MLflow's own examples.
const VALUES: [(&str, Outcome); 5] = [
    ("passed", Outcome::Pass),
    ("approved", Outcome::Pass),
    ("failed", Outcome::Fail),
    ("rejected", Outcome::Fail),
    ("pending", Outcome::Skip),
];

pub(super) fn parse(root: &RawValue, post: &Post<'_>) -> Result<Parsed, Bad> {
    let [entity, action, timestamp, data] =
        json::fields(root, ["entity", "action", "timestamp", "data"])?;
    let entity = required(entity, "an entity", MAX_WORD_CHARS)?;
    let action = required(action, "an action", MAX_WORD_CHARS)?;
    if entity != "model_version_tag" {
        return Ok(Parsed::default());
    }
    let tag = data.read(|data| read_tag(data, &action))?;
    let Some(tag) = tag.ok_or_else(|| data.wrong("a tag"))? else {
        return Ok(Parsed::default());
    };
    // The same on each try to deliver one event. A longer one than is sent is told by its start all the same.
    let delivery = post.header("x-mlflow-delivery-id");
    let report = Report {
        source: Cow::Borrowed("mlflow"),
        owner: None,
        // Each version of a model is validated for itself, and the next that passes makes this one no better.
        labels: [("version", tag.version)].into_iter().collect(),
        run: Run {
            id: delivery.map(|id| cut(id, MAX_DELIVERY_ID_BYTES).to_owned()),
            attempt: None,
            finished_at: timestamp.read(read_time)?.flatten(),
        },
        run_url: None,
        now: post.now,
    };
    let found = Finding {
        check_id: Cow::Borrowed(TAG),
        subject: Subject {
            kind: "model",
            name: Some(tag.model),
            ..Subject::default()
        },
        observed: tag.value.map(str::to_owned),
        ..Finding::default()
    };
    let mut notes = Notes::default();
    let sighting = report.sighting((tag.outcome, found), "$", &mut notes)?;
    Ok(Parsed {
        sightings: vec![sighting],
        notes: notes.0,
        ..Parsed::default()
    })
}

/// What the tag says of a version of a model.
struct Tag<'a> {
    model: Cow<'a, str>,
    version: Cow<'a, str>,
    value: Option<&'static str>,
    outcome: Outcome,
}

/// None of a tag that says something else.
fn read_tag<'a>(data: &'a RawValue, action: &str) -> Result<Option<Tag<'a>>, Bad> {
    let [key, name, version, value] = json::fields(data, ["key", "name", "version", "value"])?;
    if required(key, "the key of a tag", MAX_NAME_CHARS)? != TAG {
        return Ok(None);
    }
    let (value, outcome) = match action {
        // That nobody says any more how it went is no pass.
        "deleted" => (None, Outcome::Skip),
        _set => {
            let (value, outcome) = read_value(value)?;
            (Some(value), outcome)
        }
    };
    let version_text = version.read(json::text_or_number)?;
    let version_text = version_text.filter(|text| !text.is_empty());
    let version_text = version_text.ok_or_else(|| version.wrong("a version"))?;
    no_longer(version, &version_text, "a version", MAX_WORD_CHARS)?;
    Ok(Some(Tag {
        model: required(name, "a model's name", MAX_NAME_CHARS)?,
        version: version_text,
        value,
        outcome,
    }))
}

fn read_value(value: Field<'_>) -> Result<(&'static str, Outcome), Bad> {
    // A value that is no text is told as what was found, like any other.
    let text = value.text().ok().flatten().unwrap_or_default();
    let known = VALUES
        .into_iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(text.trim()));
    known.ok_or_else(|| {
        let known = VALUES.map(|(known, _)| known).join(", ");
        value.wrong(&format!("one of {known}"))
    })
}
