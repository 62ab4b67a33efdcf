//! CloudEvents 1.0: an envelope around a check result or an alert, alone, in a batch, or with its attributes in headers.
//!
//! What an event carries is told by its shape: our own report of checks or a single check, an alert as Alertmanager sends it
//! or a list of them. Any other data is none of our business, and is not kept; such an event is itself the alert, by its type,
//! source and subject.

mod batch;

use super::alertmanager::{self, MAX_ALERTS, More};
use super::checks::{Finding, Report, Subject, no_longer, required};
use super::json::{self, Bad, Field};
use super::{Around, Notes, Parsed, Post, Rejected, Unusable, check, read_time};
use crate::domain::alert::{Labels, Outcome, Run, Said, Sighting};
use crate::domain::time::Timestamp;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::value::{RawValue, to_raw_value};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

const MAX_EVENTS: usize = 10_000;
/// Both together tell a run, of which many are remembered.
const MAX_ID_CHARS: usize = 256;
const MAX_SOURCE_CHARS: usize = 512;
const MAX_NAME_CHARS: usize = 512;
const MAX_SEVERITY_CHARS: usize = 64;

/// What may hold rows of data.
const PRIVATE: [&str; 2] = ["data", "data_base64"];

/// The attributes that are looked at.
const ATTRIBUTES: [&str; 8] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "severitytext",
    "severitynumber",
];

/// With which a type may end, where things are well again.
const WELL: [&str; 11] = [
    "cleared",
    "closed",
    "fixed",
    "healthy",
    "ok",
    "passed",
    "recovered",
    "recovery",
    "resolved",
    "succeeded",
    "success",
];
/// With which a type may end, where they are not. Neither word is of the alert's name, so that the one resolves the other.
const ILL: [&str; 11] = [
    "alerting",
    "error",
    "failed",
    "failing",
    "failure",
    "fired",
    "firing",
    "opened",
    "raised",
    "triggered",
    "unhealthy",
];

/// The words of OpenTelemetry for its numbers, four to each.
const SEVERITIES: [&str; 6] = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];

/// What an event says of itself.
struct Envelope<'a> {
    id: Cow<'a, str>,
    source: Cow<'a, str>,
    kind: Cow<'a, str>,
    subject: Option<Cow<'a, str>>,
    at: Option<Timestamp>,
    severity: Option<Cow<'a, str>>,
}

/// One event or a batch of them, each with all of it in the body.
pub(super) fn parse(root: &RawValue, post: &Post<'_>) -> Result<Parsed, Bad> {
    if root.get().starts_with('[') {
        let events = json::list(root, MAX_EVENTS)?;
        return Ok(batch::read(&events, post.now));
    }
    content(root, &envelope(root)?, post.now)
}

/// Whether an event's attributes are in the headers: one has been sent without any content type.
pub(super) fn is_binary(post: &Post<'_>) -> bool {
    let content_type = post.header("content-type").unwrap_or_default();
    let is_whole = content_type
        .to_ascii_lowercase()
        .starts_with("application/cloudevents");
    let required = ["ce-specversion", "ce-id", "ce-source", "ce-type"];
    !is_whole && required.iter().any(|name| post.header(name).is_some())
}

pub(super) fn parse_binary(post: &Post<'_>) -> Result<Parsed, Bad> {
    let mut attributes = BTreeMap::new();
    for name in ATTRIBUTES {
        if let Some(text) = post.header(&format!("ce-{name}")) {
            attributes.insert(name, decoded(text).map_err(|bad| of_header(name, &bad))?);
        }
    }
    let attributes = to_raw_value(&attributes).map_err(|error| Bad::here(error.to_string()))?;
    let envelope =
        envelope(&attributes).map_err(|bad| of_header(bad.path.trim_start_matches('.'), &bad))?;
    match data(post.body, post.header("content-type"))? {
        Some((data, flag)) => {
            let mut parsed = carried(&data, &envelope, post.now)?;
            parsed.notes.extend(flag);
            Ok(parsed)
        }
        None => itself(&envelope, post.now),
    }
}

fn of_header(name: &str, bad: &Bad) -> Bad {
    Bad::here(format!("header ce-{name}: {}", bad.reason))
}

/// The text of a header: without the quotes that it may have, and with percent signs read, once.
fn decoded(text: &str) -> Result<String, Bad> {
    let text = unquoted(text);
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let digits = part.split_at_checked(2);
        let read = digits.and_then(|(digits, rest)| Some((hexadecimal(digits)?, rest)));
        match read {
            Some((byte, rest)) => {
                bytes.push(byte);
                bytes.extend_from_slice(rest.as_bytes());
            }
            None => {
                bytes.push(b'%');
                bytes.extend_from_slice(part.as_bytes());
            }
        }
    }
    String::from_utf8(bytes).map_err(|_error| Bad::here("a text in UTF-8 is wanted"))
}

fn unquoted(text: &str) -> Cow<'_, str> {
    let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
        return Cow::Borrowed(text);
    };
    let mut chars = inner.chars();
    let mut plain = String::with_capacity(inner.len());
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next()),
            _other => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

fn hexadecimal(digits: &str) -> Option<u8> {
    let are_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    are_digits.then(|| u8::from_str_radix(digits, 16).ok())?
}

fn envelope(event: &RawValue) -> Result<Envelope<'_>, Bad> {
    let [version, id, source, kind, subject, time, word, number] = json::fields(event, ATTRIBUTES)?;
    if version.as_written() != Some("\"1.0\"") {
        return Err(version.wrong("version \"1.0\""));
    }
    let subject_text = subject.text()?;
    if let Some(text) = &subject_text {
        no_longer(subject, text, "a subject", MAX_NAME_CHARS)?;
    }
    Ok(Envelope {
        id: required(id, "an id", MAX_ID_CHARS)?,
        source: required(source, "a source", MAX_SOURCE_CHARS)?,
        kind: required(kind, "a type", MAX_NAME_CHARS)?,
        subject: subject_text,
        at: time.read(read_time)?.flatten(),
        severity: severity(word, number)?,
    })
}

fn severity<'a>(word: Field<'a>, number: Field<'a>) -> Result<Option<Cow<'a, str>>, Bad> {
    if let Some(text) = word.text()? {
        no_longer(word, &text, "a severity", MAX_SEVERITY_CHARS)?;
        return Ok(Some(text));
    }
    let Some(text) = number.read(json::text_or_number)? else {
        return Ok(None);
    };
    let known = text.parse::<usize>().ok().and_then(|n| n.checked_sub(1));
    let known = known.and_then(|n| SEVERITIES.get(n / 4));
    let wanted = "a severity number from 1 to 24";
    let known = known.ok_or_else(|| number.wrong(wanted))?;
    Ok(Some(Cow::Borrowed(known)))
}

/// What an event in its own JSON carries, or what it is itself.
fn content(event: &RawValue, envelope: &Envelope<'_>, now: Timestamp) -> Result<Parsed, Bad> {
    let [plain, encoded, content_type] =
        json::fields(event, ["data", "data_base64", "datacontenttype"])?;
    let plain = plain.read(|plain| Ok(moved(carried(plain, envelope, now)?, ".data")))?;
    if let Some(parsed) = plain {
        return within(event, parsed);
    }
    let content_type = content_type.text()?;
    let encoded = encoded.read(|encoded| {
        let text = json::text(encoded)?;
        let bytes = BASE64_STANDARD.decode(text.as_bytes());
        let bytes = bytes.map_err(|error| Bad::here(format!("not base64: {error}")))?;
        let Some((data, flag)) = data(&bytes, content_type.as_deref())? else {
            return Ok(None);
        };
        let mut parsed = moved(carried(&data, envelope, now)?, ".data_base64");
        parsed.notes.extend(flag);
        Ok(Some(parsed))
    })?;
    match encoded.flatten() {
        Some(parsed) => within(event, parsed),
        None => itself(envelope, now),
    }
}

/// What its data say, whose rejected items are in an event once more where they are read alone.
fn within(event: &RawValue, mut parsed: Parsed) -> Result<Parsed, Bad> {
    if parsed.rejected.is_empty() {
        return Ok(parsed);
    }
    let outer = json::around_value(&json::fields(event, ATTRIBUTES)?, "data");
    for item in &mut parsed.rejected {
        let inner = item.around.take();
        item.around = outer.as_ref().zip(inner).map(|(outer, inner)| {
            Arc::new(Around {
                before: format!("{}{}", outer.before, inner.before),
                after: format!("{}{}", inner.after, outer.after),
            })
        });
    }
    Ok(parsed)
}

/// The bytes of some data as JSON, and a note where they had to be mended; none where they are nothing, or something else.
#[expect(
    clippy::type_complexity,
    reason = "what json::read returns, or nothing"
)]
fn data<'a>(
    bytes: &'a [u8],
    content_type: Option<&str>,
) -> Result<Option<(Cow<'a, RawValue>, Option<String>)>, Bad> {
    let bytes = bytes.trim_ascii();
    if bytes.is_empty() {
        return Ok(None);
    }
    let is_meant = match content_type {
        Some(said) => said.to_ascii_lowercase().contains("json"),
        None => matches!(bytes.first(), Some(b'{' | b'[')),
    };
    match json::read(bytes) {
        Ok(read) => Ok(Some(read)),
        Err(Unusable { path, reason }) if is_meant => Err(Bad {
            path: path.trim_start_matches('$').to_owned(),
            reason,
        }),
        Err(_something_else) => Ok(None),
    }
}

/// What the data say, if they say something to us.
fn carried(data: &RawValue, envelope: &Envelope<'_>, now: Timestamp) -> Result<Parsed, Bad> {
    let mut parsed = match shape(data)? {
        Shape::Checks => check::parse(data, now)?,
        Shape::Alerts(alerts) => read_alerts(&alerts),
        Shape::Other => return itself(envelope, now),
    };
    for sighting in &mut parsed.sightings {
        complete(sighting, envelope, now);
    }
    Ok(parsed)
}

enum Shape<'a> {
    /// A report, or a single check.
    Checks,
    /// Each with its place in the data.
    Alerts(Vec<(String, &'a RawValue)>),
    Other,
}

fn shape(data: &RawValue) -> Result<Shape<'_>, Bad> {
    match data.get().bytes().next() {
        Some(b'{') => {
            let [checks, check_id] = json::fields(data, ["checks", "check_id"])?;
            if !(checks.is_absent() && check_id.is_absent()) {
                return Ok(Shape::Checks);
            }
            Ok(match is_alert(data)? {
                true => Shape::Alerts(vec![("$".to_owned(), data)]),
                false => Shape::Other,
            })
        }
        Some(b'[') => {
            let items = json::list(data, MAX_ALERTS)?;
            // One that cannot be read is told as such, if there is another that shows what the list is of.
            if !items.iter().any(|item| is_alert(item).unwrap_or(false)) {
                return Ok(Shape::Other);
            }
            let items = items.into_iter().enumerate();
            Ok(Shape::Alerts(
                items.map(|(n, item)| (format!("$[{n}]"), item)).collect(),
            ))
        }
        _other => Ok(Shape::Other),
    }
}

/// Labels alone are had by many things.
fn is_alert(item: &RawValue) -> Result<bool, Bad> {
    let [labels, rest @ ..] = json::fields(
        item,
        ["labels", "status", "annotations", "startsAt", "endsAt"],
    )?;
    Ok(!labels.is_absent() && rest.iter().any(|field| !field.is_absent()))
}

fn read_alerts(alerts: &[(String, &RawValue)]) -> Parsed {
    let mut parsed = Parsed::default();
    let mut notes = Notes::default();
    for (place, item) in alerts {
        match alertmanager::alert(item, "", &More::default(), place, &mut notes) {
            Ok(sighting) => parsed.sightings.push(sighting),
            Err(bad) => {
                let path = format!("{place}{}", bad.path);
                let rejected = Rejected::new(path, bad.reason, item, &[]);
                parsed.rejected.push(match is_alert(item) {
                    Ok(true) => rejected.alone(),
                    // Alone it would be taken for something else.
                    Ok(false) | Err(_) => rejected,
                });
            }
        }
    }
    parsed.notes = notes.0;
    parsed
}

/// What the data left open, the envelope says: how bad it is, and which run it was.
fn complete(sighting: &mut Sighting, envelope: &Envelope<'_>, now: Timestamp) {
    let severity = envelope.severity.as_deref();
    if let Some(word) = severity.filter(|_| sighting.severity.is_none()) {
        sighting.severity = Some(word.to_owned());
        sighting.annotations = sighting.annotations.with("severity", word);
    }
    if let Said::Check { run, .. } = &mut sighting.said
        && *run == Run::default()
    {
        *run = envelope.run();
        sighting.starts_at = envelope.at.map(|at| at.min(now));
    }
}

impl Envelope<'_> {
    /// Source and id together are of one event alone, however often it is sent.
    fn run(&self) -> Run {
        Run {
            id: Some(format!("{} {}", self.source, self.id)),
            attempt: None,
            finished_at: self.at,
        }
    }
}

/// The alert that an event is by itself.
///
/// It is seen as the result of a check at the instant of the event, since such results, unlike signals, are counted once each
/// and never against a later one: events are sent at least once, in no order.
fn itself(envelope: &Envelope<'_>, now: Timestamp) -> Result<Parsed, Bad> {
    let (name, outcome) = named(&envelope.kind);
    let report = Report {
        // There is no tool that it would be the name of.
        source: Cow::Borrowed(""),
        owner: None,
        labels: [("source", &envelope.source)].into_iter().collect(),
        run: envelope.run(),
        run_url: None,
        now,
    };
    let found = Finding {
        check_id: Cow::Borrowed(name),
        subject: Subject {
            kind: "subject",
            name: envelope.subject.as_deref().map(Cow::Borrowed),
            ..Subject::default()
        },
        severity: envelope.severity.as_deref().map(Cow::Borrowed),
        attributes: [("type", &envelope.kind)].into_iter().collect::<Labels>(),
        ..Finding::default()
    };
    let mut notes = Notes::default();
    let sighting = report.sighting((outcome, found), "$", &mut notes)?;
    Ok(Parsed {
        sightings: vec![sighting],
        ..Parsed::default()
    })
}

/// What a type calls its subject matter, and how that stands: `com.example.backup` and a fail of `com.example.backup.failed.v2`.
fn named(kind: &str) -> (&str, Outcome) {
    let whole = without_version(kind);
    for word in [last_word(whole), last_hump(whole)] {
        let stem = whole.strip_suffix(word).unwrap_or_default();
        let stem = stem.trim_end_matches(|c: char| !c.is_alphanumeric());
        let is_one_of = |words: &[&str]| words.iter().any(|one| one.eq_ignore_ascii_case(word));
        match (is_one_of(&WELL), is_one_of(&ILL)) {
            // A type that is nothing but such a word leaves no other name.
            (true, _) if stem.is_empty() => return (kind, Outcome::Pass),
            (true, _) => return (stem, Outcome::Pass),
            (_, true) if !stem.is_empty() => return (stem, Outcome::Fail),
            _neither => {}
        }
    }
    (kind, Outcome::Fail)
}

fn without_version(kind: &str) -> &str {
    match kind.rsplit_once(".v") {
        Some((rest, n)) if !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _other => kind,
    }
}

fn last_word(text: &str) -> &str {
    text.rsplit(|c: char| !c.is_alphanumeric())
        .next()
        .unwrap_or(text)
}

/// `Resolved` of `AlertResolved`.
fn last_hump(text: &str) -> &str {
    let at = text.rfind(|c: char| c.is_ascii_uppercase());
    at.and_then(|at| text.get(at..)).unwrap_or(text)
}

/// What was read at the root of a value that stands at `place`.
fn moved(mut parsed: Parsed, place: &str) -> Parsed {
    let at_root = |path: &str| path.strip_prefix('$').map(|rest| format!("${place}{rest}"));
    for item in &mut parsed.rejected {
        if let Some(path) = at_root(&item.path) {
            item.path = path;
        }
    }
    for note in &mut parsed.notes {
        if let Some(moved) = at_root(note) {
            *note = moved;
        }
    }
    parsed
}
