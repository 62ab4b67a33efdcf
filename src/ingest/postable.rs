//! Alerts as Prometheus and its relatives post them to an Alertmanager (API v2): a list, each alert with the time until which it
//! fires unless it is said again.

use super::json::{self, Bad, Field};
use super::{
    Around, MAX_VALUE_BYTES, NAMELESS, Notes, Parsed, Post, Rejected, Unusable, calendar_time, cut,
    labels, words,
};
use crate::domain::alert::{Labels, Said, Sighting, Signal};
use crate::domain::time::Timestamp;
use chrono::{DateTime, Datelike, Utc};
use serde_json::value::RawValue;
use std::time::Duration;

const MAX_ALERTS: usize = 50_000;

/// How long an alert fires whose sender does not say until when: as long as Alertmanager's `resolve_timeout` is by default.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(300);

/// What is wrong with an alert, as Alertmanager tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It has no labels at all; which one of the list.
    NoLabels(usize),
    /// It is not of the form that is wanted.
    Form(String),
    /// What it says is not possible.
    Alert(String),
}

/// What was posted, and what Alertmanager would say of what was rejected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Postable {
    pub parsed: Parsed,
    pub faults: Vec<Fault>,
}

/// Reads a list of alerts.
pub fn parse(post: &Post<'_>) -> Result<Postable, Unusable> {
    let (root, flag) = json::read(post.body)?;
    let mut postable = read(&root, post.now).map_err(Bad::unusable)?;
    postable.parsed.notes.extend(flag);
    Ok(postable)
}

/// What is kept with such a list, so that it is read as one again: nobody sends it.
pub const FORM: (&str, &str) = ("form", "api_v2");

pub(super) fn is_posted_so(post: &Post<'_>) -> bool {
    post.parameter(FORM.0) == Some(FORM.1)
}

pub(super) fn read(root: &RawValue, now: Timestamp) -> Result<Postable, Bad> {
    let mut postable = Postable::default();
    if json::is_null(root) {
        return Ok(postable);
    }
    let alerts = json::list(root, MAX_ALERTS)?;
    let mut notes = Notes::default();
    for (n, item) in alerts.into_iter().enumerate() {
        let place = format!("$[{n}]");
        match alert(item, n, &place, now, &mut notes) {
            Ok(sighting) => postable.parsed.sightings.push(sighting),
            Err(Wrong { bad, fault }) => {
                let path = place + &bad.path;
                let rejected = Rejected::new(path, bad.reason.clone(), item, &[]);
                postable.parsed.rejected.push(rejected);
                postable
                    .faults
                    .push(fault.unwrap_or(Fault::Form(bad.reason)));
            }
        }
    }
    postable.parsed.enclose(|| {
        Some(Around {
            before: "[".to_owned(),
            after: "]".to_owned(),
        })
    });
    postable.parsed.notes = notes.0;
    Ok(postable)
}

/// What is wrong, in our words and where it differs in Alertmanager's.
struct Wrong {
    bad: Bad,
    fault: Option<Fault>,
}

impl From<Bad> for Wrong {
    fn from(bad: Bad) -> Self {
        Self { bad, fault: None }
    }
}

fn alert(
    item: &RawValue,
    n: usize,
    place: &str,
    now: Timestamp,
    notes: &mut Notes,
) -> Result<Sighting, Wrong> {
    let [identity, annotations, starts_at, ends_at, generator] = json::fields(
        item,
        [
            "labels",
            "annotations",
            "startsAt",
            "endsAt",
            "generatorURL",
        ],
    )?;
    if identity.is_absent() {
        let bad = identity.wrong("an object of labels");
        let fault = Some(Fault::NoLabels(n));
        return Err(Wrong { bad, fault });
    }
    let labels = identity.read(labels).map_err(|bad| Wrong {
        fault: (bad.reason == NAMELESS)
            .then(|| Fault::Alert("invalid label set: invalid name \"\"".to_owned())),
        bad,
    })?;
    let labels = labels.unwrap_or_default();
    if labels.is_empty() {
        let bad = Bad::here("an alert without labels").under("labels");
        let fault = Some(Fault::Alert("at least one label pair required".to_owned()));
        return Err(Wrong { bad, fault });
    }
    let words_at = format!("{place}.annotations");
    let annotations = annotations.read(|value| words(value, &words_at, notes))?;
    let (starts, ends) = (
        starts_at.read(time)?.flatten(),
        ends_at.read(time)?.flatten(),
    );
    let until = ends.unwrap_or_else(|| now.plus(RESOLVE_TIMEOUT));
    if starts.is_some_and(|starts| starts > until) {
        let bad = Bad::here(format!(
            "a start no later than its end ({until}) is wanted, found {}",
            starts.unwrap_or(until)
        ));
        let fault = Some(Fault::Alert(
            "start time must be before end time".to_owned(),
        ));
        return Err(Wrong {
            bad: bad.under("startsAt"),
            fault,
        });
    }
    let fires = until > now;
    Ok(Sighting {
        severity: labels.get("severity").map(str::to_owned),
        labels,
        annotations: annotations.unwrap_or_default(),
        attributes: generator_url(generator, place, notes),
        starts_at: starts.or(ends.filter(|_| !fires)),
        ends_at: ends.filter(|_| !fires),
        said: Said::Signal(match fires {
            true => Signal::FiringUntil(until),
            false => Signal::Resolved,
        }),
    })
}

/// Where the alert was made. What is no text is worth no rejected alert.
fn generator_url(generator: Field<'_>, place: &str, notes: &mut Notes) -> Labels {
    match generator.text() {
        Ok(url) => {
            let url = url.unwrap_or_default();
            let kept = cut(&url, MAX_VALUE_BYTES);
            [("generator_url", kept)].into_iter().collect()
        }
        Err(bad) => {
            notes.add(|| format!("{place}{}: left out, {}", bad.path, bad.reason));
            Labels::default()
        }
    }
}

/// An instant in one of the forms that Alertmanager takes; none where it is unset: null, empty, or in the year 1.
fn time(value: &RawValue) -> Result<Option<Timestamp>, Bad> {
    let text = json::text_or_nothing(value)?;
    if text.is_empty() {
        return Ok(None);
    }
    match calendar_time(&text).or_else(|| without_seconds(&text)) {
        Some(instant) => Ok((instant.year() > 1).then(|| instant.into())),
        None => Err(json::wrong("an RFC 3339 time", Some(value))),
    }
}

fn without_seconds(text: &str) -> Option<DateTime<Utc>> {
    let form = "%Y-%m-%dT%H:%M%:z";
    let text = text.strip_suffix('Z').map(|text| format!("{text}+00:00"));
    let instant = DateTime::parse_from_str(&text?, form).ok()?;
    Some(instant.to_utc())
}
