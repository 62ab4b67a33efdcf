//! Alertmanager's webhook, version 4: the status of each alert is the truth, whatever the head of the message says.

use super::json::{self, Bad};
use super::{MAX_NAME_BYTES, Notes, Parsed, Rejected, cut, labels, read_time, words};
use crate::domain::alert::{Labels, Said, Sighting, Signal};
use serde_json::value::RawValue;
use std::borrow::Cow;

pub(super) const MAX_ALERTS: usize = 50_000;

pub(super) fn parse(root: &RawValue) -> Result<Parsed, Bad> {
    parse_as(root, "4", |_alert| Ok(More::default()))
}

/// What a relative of Alertmanager says of an alert beside what that says.
#[derive(Default)]
pub(super) struct More<'a> {
    pub(super) attributes: Vec<(&'static str, Cow<'a, str>)>,
    pub(super) annotations: Vec<(&'static str, String)>,
}

/// The same of a relative with this version.
pub(super) fn parse_as(
    root: &RawValue,
    wanted: &str,
    more: impl Fn(&RawValue) -> Result<More<'_>, Bad>,
) -> Result<Parsed, Bad> {
    let [alerts, receiver_field, version, truncated] =
        json::fields(root, ["alerts", "receiver", "version", "truncatedAlerts"])?;
    let Some(alerts) = alerts.read(|value| json::list(value, MAX_ALERTS))? else {
        return Err(alerts.wrong("a list of alerts"));
    };
    let mut notes = Notes::default();
    let written = version.as_written().map(|text| text.trim_matches('"'));
    if written != Some(wanted) {
        let found = version.wrong(&format!("version \"{wanted}\"")).reason;
        notes.add(|| format!("$.version: {found}; read as version {wanted}"));
    }
    // Absent alerts mean nothing either way, so that this is only for people.
    if let Ok(Some(n)) = truncated.read(json::whole_number)
        && n > 0
    {
        notes.add(|| format!("$.truncatedAlerts: the sender left out {n} alerts"));
    }
    // A receiver that is no text is a custom body's own affair.
    let receiver = receiver_field.text().ok().flatten().unwrap_or_default();
    let kept = cut(&receiver, MAX_NAME_BYTES);
    if kept.len() < receiver.len() {
        // Each alert has it: a long one would take more than its body by far.
        let (from, to) = (receiver.len(), kept.len());
        notes.add(|| format!("$.receiver: cut from {from} bytes to {to}"));
    }

    let mut parsed = Parsed::default();
    for (n, item) in alerts.into_iter().enumerate() {
        let place = format!("$.alerts[{n}]");
        let read = more(item).and_then(|more| alert(item, kept, &more, &place, &mut notes));
        match read {
            Ok(sighting) => parsed.sightings.push(sighting),
            Err(bad) => {
                let path = place + &bad.path;
                let rejected = Rejected::new(path, bad.reason, item, &[]);
                parsed.rejected.push(rejected);
            }
        }
    }
    parsed.enclose(|| json::around(&[version, receiver_field], "alerts"));
    parsed.notes = notes.0;
    Ok(parsed)
}

pub(super) fn alert(
    item: &RawValue,
    receiver: &str,
    more: &More<'_>,
    place: &str,
    notes: &mut Notes,
) -> Result<Sighting, Bad> {
    let [status, identity, annotations, starts_at, ends_at, generator] = json::fields(
        item,
        [
            "status",
            "labels",
            "annotations",
            "startsAt",
            "endsAt",
            "generatorURL",
        ],
    )?;
    let signal = match status.text().ok().flatten().as_deref() {
        Some("firing") => Signal::Firing,
        Some("resolved") => Signal::Resolved,
        _other => return Err(status.wrong("one of firing, resolved")),
    };
    let labels = identity.read(labels)?.unwrap_or_default();
    if labels.is_empty() {
        return Err(Bad::here("an alert without labels").under("labels"));
    }
    let place = format!("{place}.annotations");
    let annotations = annotations.read(|value| words(value, &place, notes))?;
    let annotations = annotations.unwrap_or_default();
    let said = more
        .annotations
        .iter()
        .map(|(name, text)| (*name, text.as_str()));
    let generator = generator.text()?.unwrap_or_default();
    let ours = [
        ("generator_url", generator.as_ref()),
        ("receiver", receiver),
    ];
    let theirs = more
        .attributes
        .iter()
        .map(|(name, text)| (*name, text.as_ref()));
    Ok(Sighting {
        severity: labels.get("severity").map(str::to_owned),
        labels,
        annotations: match more.annotations.is_empty() {
            true => annotations,
            false => said.chain(annotations.iter()).collect(),
        },
        attributes: ours.into_iter().chain(theirs).collect::<Labels>(),
        starts_at: starts_at.read(read_time)?.flatten(),
        ends_at: ends_at.read(read_time)?.flatten(),
        said: Said::Signal(signal),
    })
}
