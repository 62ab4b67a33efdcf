//! The events of a batch, of which each is sent at least once and in no order.

use super::{PRIVATE, content, envelope, moved};
use crate::domain::alert::{Fingerprint, Outcome, Said, Sighting};
use crate::domain::time::Timestamp;
use crate::ingest::json::Bad;
use crate::ingest::{Notes, Parsed, Rejected};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};

/// Of the labels and words of all events of a batch together: a small report may say one of them of many checks.
const MAX_BATCH_BYTES: usize = 64 << 20;

/// The events of a batch, each as if it had come alone and in its turn.
pub(super) fn read(events: &[&RawValue], now: Timestamp) -> Parsed {
    let mut parsed = Parsed::default();
    let mut notes = Notes::default();
    let mut sightings = Vec::new();
    let mut known = BTreeSet::new();
    let mut left = MAX_BATCH_BYTES;
    for (n, event) in events.iter().enumerate() {
        let read = envelope(event).and_then(|envelope| {
            // The same event once more.
            if !known.insert((envelope.source.clone(), envelope.id.clone())) {
                return Ok(Parsed::default());
            }
            let found = content(event, &envelope, now)?;
            left = left
                .checked_sub(found.sightings.iter().map(size).sum())
                .ok_or_else(too_much)?;
            Ok(found)
        });
        let place = format!("[{n}]");
        match read {
            Ok(found) => {
                let found = moved(found, &place);
                let of_it = found.sightings.into_iter().map(|sighting| (n, sighting));
                sightings.extend(of_it);
                parsed.rejected.extend(found.rejected);
                for note in found.notes {
                    notes.add(|| note);
                }
                // Of several no scope is that of the others' checks.
                parsed.scope = found.scope.filter(|_| events.len() == 1);
            }
            Err(bad) => {
                let path = format!("${place}{}", bad.path);
                let rejected = Rejected::new(path, bad.reason, event, &PRIVATE);
                parsed.rejected.push(rejected.alone());
            }
        }
    }
    parsed.sightings = without_overtaken(sightings);
    parsed.notes = notes.0;
    parsed
}

fn too_much() -> Bad {
    Bad::here(format!(
        "events that say at most {MAX_BATCH_BYTES} bytes of their checks and alerts are wanted in one batch; \
        send fewer events at a time"
    ))
}

fn size(sighting: &Sighting) -> usize {
    let all = [
        &sighting.labels,
        &sighting.annotations,
        &sighting.attributes,
    ];
    all.iter()
        .flat_map(|labels| labels.iter())
        .map(|(name, value)| name.len() + value.len())
        .sum()
}

/// The sightings without those of checks that are worse than what a later event of the batch says of the same alert: of the
/// results of one report the worst counts, and these are of several.
fn without_overtaken(sightings: Vec<(usize, Sighting)>) -> Vec<Sighting> {
    let mut last: BTreeMap<Fingerprint, (Turn, Outcome)> = BTreeMap::new();
    for (n, sighting) in &sightings {
        if let Said::Check { outcome, run } = &sighting.said
            && has_run(*outcome)
        {
            let result = ((run.finished_at, *n), *outcome);
            let latest = last.entry(sighting.labels.fingerprint()).or_insert(result);
            *latest = result.max(*latest);
        }
    }
    let is_left = |(n, sighting): &(usize, Sighting)| match &sighting.said {
        Said::Signal(_) => true,
        Said::Check { outcome, run } => last
            .get(&sighting.labels.fingerprint())
            .is_none_or(|(turn, latest)| outcome <= latest || (run.finished_at, *n) >= *turn),
    };
    let left = sightings.into_iter().filter(is_left);
    left.map(|(_, sighting)| sighting).collect()
}

/// When a result was had, and which event of the batch said it.
type Turn = (Option<Timestamp>, usize);

fn has_run(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Pass | Outcome::Warn | Outcome::Fail)
}
