//! Events as PagerDuty's Events API v2 takes them: any tool that can page PagerDuty can page us.
//!
//! The identity of an alert is its `dedup_key`: a resolve has nothing beside. A trigger without one has a key made of what it is about, so that the
//! same again joins.

use super::json::{self, Bad, Field};
use super::{MAX_LABELS, MAX_NAME_BYTES, MAX_VALUE_BYTES, Notes, Parsed, cut, read_time, resolved};
use crate::domain::alert::{Labels, Said, Sighting, Signal};
use crate::domain::time::Timestamp;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// What PagerDuty takes at most.
const MAX_KEY_CHARS: usize = 255;
const SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];

/// Of what is shown as a title.
const MAX_TITLE_BYTES: usize = 255;

pub(super) fn parse(root: &RawValue) -> Result<Parsed, Bad> {
    let [action, key, payload] = json::fields(root, ["event_action", "dedup_key", "payload"])?;
    let mut parsed = Parsed::default();
    let mut notes = Notes::default();
    let given = given_key(key)?;
    match action.text()?.as_deref() {
        Some("trigger") => {
            let about = payload.read(|value| read_about(value, &mut notes))?;
            let about = about.ok_or_else(|| payload.wrong("a payload"))?;
            let key = given.unwrap_or_else(|| about.key().into());
            parsed.sightings.push(triggered(root, &key, about)?);
        }
        Some("resolve") => {
            let key = given.ok_or_else(|| key.wrong("a dedup key"))?;
            parsed.sightings.push(resolved(identity(&key)));
        }
        Some("acknowledge") => {
            let key = given.ok_or_else(|| key.wrong("a dedup key"))?;
            parsed.acknowledged.push(identity(&key));
        }
        _other => return Err(action.wrong("one of trigger, acknowledge, resolve")),
    }
    parsed.notes = notes.0;
    Ok(parsed)
}

fn identity(key: &str) -> Labels {
    Labels::from_iter([("alertname", key), ("tool", "pagerduty")])
}

fn given_key(field: Field<'_>) -> Result<Option<Cow<'_, str>>, Bad> {
    let key = field.read(json::text_or_number)?;
    let key = key.filter(|key| !key.is_empty());
    if key
        .as_ref()
        .is_some_and(|key| key.chars().nth(MAX_KEY_CHARS).is_some())
    {
        return Err(field.wrong(&format!("a key of at most {MAX_KEY_CHARS} characters")));
    }
    Ok(key)
}

/// The payload of a trigger.
struct About<'a> {
    summary: Cow<'a, str>,
    severity: Cow<'a, str>,
    /// What is affected, and which part of it in which group.
    source: Cow<'a, str>,
    component: Option<Cow<'a, str>>,
    group: Option<Cow<'a, str>>,
    class: Option<Cow<'a, str>>,
    at: Option<Timestamp>,
    details: Labels,
}

fn read_about<'a>(payload: &'a RawValue, notes: &mut Notes) -> Result<About<'a>, Bad> {
    let [
        summary,
        source,
        severity,
        at,
        component,
        group,
        class,
        details,
    ] = json::fields(
        payload,
        [
            "summary",
            "source",
            "severity",
            "timestamp",
            "component",
            "group",
            "class",
            "custom_details",
        ],
    )?;
    let word = severity.text()?;
    let known = word.filter(|word| SEVERITIES.contains(&word.as_ref()));
    Ok(About {
        summary: summary.text()?.ok_or_else(|| summary.wrong("a summary"))?,
        source: source.text()?.ok_or_else(|| source.wrong("a source"))?,
        severity: known
            .ok_or_else(|| severity.wrong(&format!("one of {}", SEVERITIES.join(", "))))?,
        component: component.text()?,
        group: group.text()?,
        class: class.text()?,
        at: at.read(read_time)?.flatten(),
        details: details
            .read(|value| read_details(value, notes))?
            .unwrap_or_default(),
    })
}

/// Custom details may be any JSON: what is no text is kept as JSON.
fn read_details(value: &RawValue, notes: &mut Notes) -> Result<Labels, Bad> {
    let Ok(pairs) = json::pairs(value, MAX_LABELS) else {
        return Ok(Labels::from_iter([("details", as_text(value))]));
    };
    if pairs.n_found > MAX_LABELS {
        let n = pairs.n_found - MAX_LABELS;
        notes.add(|| format!("$.payload.custom_details: the last {n} were left out"));
    }
    let texts = pairs.kept.into_iter().map(|(name, value)| {
        let name = cut(&name, MAX_NAME_BYTES).to_owned();
        (name, as_text(value))
    });
    Ok(texts.filter(|(name, _)| !name.is_empty()).collect())
}

/// A text as it is, anything else as JSON.
fn as_text(value: &RawValue) -> String {
    match json::text(value) {
        Ok(text) => cut(&text, MAX_VALUE_BYTES).to_owned(),
        Err(_no_text) => json::compact(value, MAX_VALUE_BYTES),
    }
}

impl About<'_> {
    /// A key for what has none.
    fn key(&self) -> String {
        let mut hash = Sha256::new();
        let parts = [
            Some(&self.source),
            self.component.as_ref(),
            self.group.as_ref(),
        ];
        let parts = parts
            .into_iter()
            .chain([self.class.as_ref(), Some(&self.summary)]);
        for part in parts {
            let part = part.map(Cow::as_ref).unwrap_or_default();
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        hex::encode(hash.finalize()).split_off(32)
    }
}

fn triggered(root: &RawValue, key: &str, about: About<'_>) -> Result<Sighting, Bad> {
    let [client, client_url] = json::fields(root, ["client", "client_url"])?;
    let (client, client_url) = (client.text()?, client_url.text()?);
    let words = [
        ("title", Some(cut(&about.summary, MAX_TITLE_BYTES))),
        ("host", Some(about.source.as_ref())),
        ("component", about.component.as_deref()),
        ("group", about.group.as_deref()),
        ("class", about.class.as_deref()),
        ("client", client.as_deref()),
        ("client_url", client_url.as_deref()),
    ];
    let words = words.map(|(name, text)| (name, text.unwrap_or_default()));
    let summary = cut(&about.summary, MAX_VALUE_BYTES);
    Ok(Sighting {
        labels: identity(key),
        annotations: about.details.iter().chain([("summary", summary)]).collect(),
        attributes: Labels::from_iter(words),
        severity: Some(about.severity.into_owned()),
        starts_at: about.at,
        ends_at: None,
        said: Said::Signal(Signal::Firing),
    })
}
