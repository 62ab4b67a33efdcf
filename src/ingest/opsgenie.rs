//! Alerts as Opsgenie's Alert API takes them. The identity is the `alias`; what is done to an alert stands in the address of the request, which
//! comes here as the parameters `action` and `alias`.

use super::json::{self, Bad, Field};
use super::{MAX_LABELS, MAX_NAME_BYTES, MAX_VALUE_BYTES, Parsed, Post, cut, resolved};
use crate::domain::alert::{Labels, Said, Sighting, Signal};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// What Opsgenie takes at most.
const MAX_ALIAS_CHARS: usize = 512;
const PRIORITIES: [&str; 5] = ["P1", "P2", "P3", "P4", "P5"];
const DEFAULT_PRIORITY: &str = "P3";

const MAX_TITLE_BYTES: usize = 255;

pub(super) fn parse(root: &RawValue, post: &Post<'_>) -> Result<Parsed, Bad> {
    let mut parsed = Parsed::default();
    let alias = post.parameter("alias");
    match (post.parameter("action").unwrap_or("create"), alias) {
        ("create", _) => parsed.sightings.push(created(root)?),
        ("close", Some(alias)) => parsed.sightings.push(resolved(identity(alias))),
        ("acknowledge", Some(alias)) => parsed.acknowledged.push(identity(alias)),
        (_, None) => return Err(Bad::here("an alias is wanted for what is done to an alert")),
        (other, Some(_)) => {
            let reason = format!("one of create, close, acknowledge is wanted, found \"{other}\"");
            return Err(Bad::here(reason));
        }
    }
    Ok(parsed)
}

pub(super) fn identity(alias: &str) -> Labels {
    Labels::from_iter([("alertname", alias), ("tool", "opsgenie")])
}

fn created(root: &RawValue) -> Result<Sighting, Bad> {
    let [message, alias, description, details, tags] =
        json::fields(root, ["message", "alias", "description", "details", "tags"])?;
    let [entity, source, priority, note] =
        json::fields(root, ["entity", "source", "priority", "note"])?;
    let title = message.text()?.ok_or_else(|| message.wrong("a message"))?;
    let alias = match alias.text()? {
        Some(text) if text.chars().nth(MAX_ALIAS_CHARS).is_some() => {
            return Err(alias.wrong(&format!("an alias of at most {MAX_ALIAS_CHARS} characters")));
        }
        Some(text) => text,
        None => Cow::Owned(alias_for(&title)),
    };
    let priority = read_priority(priority)?.unwrap_or(Cow::Borrowed(DEFAULT_PRIORITY));
    let (description, note) = (description.text()?, note.text()?);
    let (entity, source) = (entity.text()?, source.text()?);
    let details = details.read(read_details)?.unwrap_or_default();
    let tags = tags
        .read(|tags| json::texts(tags, MAX_LABELS))?
        .unwrap_or_default()
        .join(", ");
    let ours = [
        ("description", description.as_deref().unwrap_or_default()),
        ("note", note.as_deref().unwrap_or_default()),
        ("summary", title.as_ref()),
        ("tags", &tags),
    ];
    let ours = ours.map(|(name, text)| (name, cut(text, MAX_VALUE_BYTES)));
    let words = [
        ("title", cut(&title, MAX_TITLE_BYTES)),
        ("entity", entity.as_deref().unwrap_or_default()),
        ("origin", source.as_deref().unwrap_or_default()),
    ];
    Ok(Sighting {
        labels: identity(&alias),
        annotations: ours
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .collect(),
        attributes: details.iter().chain(words).collect(),
        severity: Some(priority.into_owned()),
        starts_at: None,
        ends_at: None,
        said: Said::Signal(Signal::Firing),
    })
}

/// The priority in the body of a request that says nothing else.
pub(super) fn given_priority(root: &RawValue) -> Result<String, Bad> {
    let [priority] = json::fields(root, ["priority"])?;
    let word = read_priority(priority)?.ok_or_else(|| wrong_priority(priority))?;
    Ok(word.into_owned())
}

fn read_priority(field: Field<'_>) -> Result<Option<Cow<'_, str>>, Bad> {
    match field.text()? {
        Some(word) if !PRIORITIES.contains(&word.as_ref()) => Err(wrong_priority(field)),
        word => Ok(word),
    }
}

fn wrong_priority(field: Field<'_>) -> Bad {
    field.wrong(&format!("one of {}", PRIORITIES.join(", ")))
}

/// An alias for an alert that has none: the same message again joins.
fn alias_for(message: &str) -> String {
    hex::encode(Sha256::digest(message)).split_off(32)
}

/// Details are what rules can match: names and texts.
fn read_details(value: &RawValue) -> Result<Labels, Bad> {
    let pairs = json::pairs(value, MAX_LABELS)?;
    let texts = pairs.kept.into_iter().map(|(name, value)| {
        let text = json::text_or_number(value).map_err(|bad| bad.under(&name))?;
        let text = cut(&text, MAX_VALUE_BYTES).to_owned();
        Ok((cut(&name, MAX_NAME_BYTES).to_owned(), text))
    });
    let texts: Vec<(String, String)> = texts.collect::<Result<_, Bad>>()?;
    Ok(texts
        .into_iter()
        .filter(|(name, _)| !name.is_empty())
        .collect())
}
