//! Alertmanager's webhook, version 4: the status of each alert is the truth, whatever the head of the message says.

use super::json::{self, Bad};
use super::{
    MAX_ITEM_BYTES, MAX_NAME_BYTES, Notes, Parsed, Rejected, cut, labels, read_time, words,
};
use crate::domain::alert::{Labels, Said, Sighting, Signal};
use serde_json::value::RawValue;

pub(super) const MAX_ALERTS: usize = 50_000;

pub(super) fn parse(root: &RawValue) -> Result<Parsed, Bad> {
    let [alerts, receiver, version, truncated] =
        json::fields(root, ["alerts", "receiver", "version", "truncatedAlerts"])?;
    let Some(alerts) = alerts.read(|value| json::list(value, MAX_ALERTS))? else {
        return Err(alerts.wrong("a list of alerts"));
    };
    let mut notes = Notes::default();
    if !matches!(version.as_written(), Some("\"4\"" | "4")) {
        let found = version.wrong("version \"4\"").reason;
        notes.add(|| format!("$.version: {found}; read as version 4"));
    }
    // Absent alerts mean nothing either way, so that this is only for people.
    if let Ok(Some(n)) = truncated.read(json::whole_number)
        && n > 0
    {
        notes.add(|| format!("$.truncatedAlerts: the sender left out {n} alerts"));
    }
    // A receiver that is no text is a custom body's own affair.
    let receiver = receiver.text().ok().flatten().unwrap_or_default();
    let kept = cut(&receiver, MAX_NAME_BYTES);
    if kept.len() < receiver.len() {
        // Each alert has it: a long one would take more than its body by far.
        let (from, to) = (receiver.len(), kept.len());
        notes.add(|| format!("$.receiver: cut from {from} bytes to {to}"));
    }

    let mut parsed = Parsed::default();
    for (n, item) in alerts.into_iter().enumerate() {
        let place = format!("$.alerts[{n}]");
        match alert(item, kept, &place, &mut notes) {
            Ok(sighting) => parsed.sightings.push(sighting),
            Err(bad) => parsed.rejected.push(Rejected {
                path: place + &bad.path,
                reason: bad.reason,
                item: json::compact(item, MAX_ITEM_BYTES),
            }),
        }
    }
    parsed.notes = notes.0;
    Ok(parsed)
}

fn alert(item: &RawValue, receiver: &str, place: &str, notes: &mut Notes) -> Result<Sighting, Bad> {
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
    let generator = generator.text()?.unwrap_or_default();
    Ok(Sighting {
        severity: labels.get("severity").map(str::to_owned),
        labels,
        annotations: annotations.unwrap_or_default(),
        attributes: Labels::from_iter([
            ("generator_url", generator.as_ref()),
            ("receiver", receiver),
        ]),
        starts_at: starts_at.read(read_time)?.flatten(),
        ends_at: ends_at.read(read_time)?.flatten(),
        said: Said::Signal(signal),
    })
}
