//! What senders say, read into sightings: pure and in bounded memory. A bad item is set aside with its place and reason,
//! and costs the others nothing.

mod alertmanager;
mod change;
mod check;
mod checks;
mod cloudevents;
mod dbt;
mod dbt_cloud;
mod evidently;
mod grafana;
mod great_expectations;
mod json;
mod mapped;
mod mlflow;
mod opsgenie;
mod pagerduty;
mod plain;
pub mod postable;
mod soda;

use crate::domain::alert::{Labels, Said, Scope, Sighting, Signal};
use crate::domain::change::Mention;
use crate::domain::mapping::Mapping;
use crate::domain::source::Kind;
use crate::domain::time::Timestamp;
use chrono::{DateTime, Datelike, NaiveDateTime};
use json::Bad;
use serde_json::value::RawValue;
use std::fmt;
use std::sync::Arc;

/// Why a label is no label.
const NAMELESS: &str = "a label without a name";

const MAX_LABELS: usize = 256;
const MAX_NAME_BYTES: usize = 1024;
const MAX_VALUE_BYTES: usize = 64 * 1024;
/// Of a rejected item, or of a body of which nothing could be used.
pub const MAX_ITEM_BYTES: usize = 256 * 1024;
/// Of what stands around one item so that it can be read alone.
const MAX_AROUND_BYTES: usize = 64 * 1024;
const MAX_NOTES: usize = 100;

/// What one body said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    pub sightings: Vec<Sighting>,
    pub rejected: Vec<Rejected>,
    /// What a person should know of how it was read: something cut, something flagged.
    pub notes: Vec<String>,
    /// What the report says it is complete for.
    pub scope: Option<Scope>,
    /// How many of the sightings say no more than that the run as a whole went well: they are no items of the body.
    pub n_own_passes: usize,
    /// Alerts on which, as their sender says, somebody works.
    pub acknowledged: Vec<Labels>,
    /// Changes that it told of, which are no alerts.
    pub changes: Vec<Mention>,
    /// How many of these are among the sightings, too, and so are no items of their own.
    pub n_seen_and_acknowledged: usize,
    /// An address that its sender wants fetched before it sends anything, and where that stands in the body.
    pub confirm: Option<Confirm>,
}

/// An address that a sender wants fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirm {
    pub path: String,
    pub url: String,
}

impl Parsed {
    /// Says what is to stand around each rejected item.
    fn enclose(&mut self, around: impl FnOnce() -> Option<Around>) {
        if self.rejected.is_empty() {
            return;
        }
        let around = around().map(Arc::new);
        for item in &mut self.rejected {
            item.around.clone_from(&around);
        }
    }

    /// How many things it told of.
    pub fn n_told(&self) -> usize {
        self.sightings.len() + self.acknowledged.len() + self.changes.len()
    }

    /// How many items of the body were taken.
    pub fn n_accepted(&self) -> usize {
        self.n_told() - self.n_own_passes - self.n_seen_and_acknowledged
    }

    /// The scope whose absent checks are really absent: none where an item was rejected, since it may be one of them.
    pub fn complete_scope(&self) -> Option<&Scope> {
        self.scope.as_ref().filter(|_| self.rejected.is_empty())
    }
}

/// An item that could not be used, while others of its body may have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Where in the body: `$.alerts[3].labels.foo`.
    pub path: String,
    pub reason: String,
    /// The item as JSON, cut where it is long, without what may hold rows of data.
    pub item: String,
    /// What the item lacks of what was sent; none where it is whole.
    pub lacks: Option<Lack>,
    /// With which the item can be read alone; none where it cannot.
    pub around: Option<Arc<Around>>,
}

impl Rejected {
    /// An item that cannot be read alone; its fields `private` may hold rows of data, and are left out.
    fn new(path: String, reason: String, item: &RawValue, private: &[&str]) -> Self {
        let (item, lacks) = json::kept(item, private, MAX_ITEM_BYTES);
        Self {
            path,
            reason,
            item,
            lacks,
            around: None,
        }
    }

    /// That the item is all that there is: nothing need stand around it.
    fn alone(mut self) -> Self {
        self.around = Some(Arc::default());
        self
    }
}

/// What stood around an item, as far as its reader looks at it: before the item and after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Around {
    pub before: String,
    pub after: String,
}

/// Why what is kept is less than what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// What may hold rows of data was left out.
    Rows,
    /// It was longer than is kept.
    End,
    /// It was no text.
    Text,
}

/// What is kept of a body of which nothing could be used, so that it can be read again after a fix; and what that lacks.
pub fn kept(kind: Kind, body: &[u8]) -> (String, Option<Lack>) {
    if kind.may_hold_rows() {
        return (String::new(), Some(Lack::Rows));
    }
    if kind == Kind::Pagerduty {
        // Its routing key is the secret of a source, and was looked at already.
        return match json::read(body) {
            Ok((root, _flag)) => match json::kept(&root, &["routing_key"], MAX_ITEM_BYTES) {
                (text, Some(Lack::End)) => (text, Some(Lack::End)),
                (text, _without_its_key) => (text, None),
            },
            Err(_unreadable) => (String::new(), Some(Lack::Text)),
        };
    }
    let Ok(text) = std::str::from_utf8(body) else {
        let start = body.get(..MAX_ITEM_BYTES).unwrap_or(body);
        return (
            String::from_utf8_lossy(start).into_owned(),
            Some(Lack::Text),
        );
    };
    let start = cut(text, MAX_ITEM_BYTES);
    let lacks = (start.len() < text.len()).then_some(Lack::End);
    (start.to_owned(), lacks)
}

/// Whether a header, its name in lower case, is looked at where a body of this kind is read. No other is kept with a body: it
/// may be a secret.
pub fn reads_header(kind: Kind, name: &str) -> bool {
    match kind {
        Kind::Cloudevents => name == "content-type" || name.starts_with("ce-"),
        Kind::Mlflow => name == "x-mlflow-delivery-id",
        _other => false,
    }
}

/// The same of a parameter of the address.
pub fn reads_parameter(kind: Kind, name: &str) -> bool {
    match kind {
        Kind::Alertmanager => name == postable::FORM.0,
        Kind::Dbt => name == "project" || name == "owner" || name.starts_with("label."),
        Kind::DbtCloud => name == "owner" || name.starts_with("label."),
        Kind::Evidently => {
            ["report", "model", "dataset", "owner"].contains(&name) || name.starts_with("label.")
        }
        Kind::Soda => name == "owner" || name.starts_with("label."),
        Kind::Opsgenie => name == "action" || name == "alias",
        _other => false,
    }
}

/// Why nothing of a body could be used, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    pub path: String,
    pub reason: String,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

impl std::error::Error for Unusable {}

/// What was posted.
#[derive(Clone, Copy, Debug)]
pub struct Post<'a> {
    pub body: &'a [u8],
    /// The headers of the request, their names in lower case.
    pub headers: &'a [(String, String)],
    /// The parameters of its address.
    pub query: &'a [(String, String)],
    /// When it came.
    pub now: Timestamp,
    /// How its source wants it read, where that is of kind `mapped`.
    pub mapping: Option<&'a Mapping>,
}

impl<'a> Post<'a> {
    /// A body of which the body says all.
    pub fn of(body: &'a [u8], now: Timestamp) -> Self {
        Self {
            body,
            headers: &[],
            query: &[],
            now,
            mapping: None,
        }
    }

    /// The last parameter of this name that says something.
    fn parameter(&self, name: &str) -> Option<&'a str> {
        named(self.query, name)
    }

    /// The same of a header.
    fn header(&self, name: &str) -> Option<&'a str> {
        named(self.headers, name)
    }
}

fn named<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let its = pairs.iter().rev().filter(|(known, _)| known == name);
    let mut texts = its.map(|(_, text)| text.trim());
    texts.find(|text| !text.is_empty())
}

/// Reads what was posted in the format of `kind`.
pub fn parse(kind: Kind, post: &Post<'_>) -> Result<Parsed, Unusable> {
    if kind == Kind::Alertmanager
        && let Some(parsed) = plain::parse(post.body, alertmanager::MAX_ALERTS)
    {
        return Ok(parsed);
    }
    parse_carefully(kind, post)
}

/// The secret that an event for PagerDuty has in its body; an empty one where it has none.
pub fn routing_key(body: &[u8]) -> Result<String, Unusable> {
    let (root, _flag) = json::read(body)?;
    let read = || -> Result<String, Bad> {
        let [key] = json::fields(&root, ["routing_key"])?;
        Ok(key.text()?.unwrap_or_default().into_owned())
    };
    read().map_err(Bad::unusable)
}

/// The labels of an alert that Opsgenie's API knows by this alias.
pub fn opsgenie_identity(alias: &str) -> Labels {
    opsgenie::identity(alias)
}

/// The priority that an alert of Opsgenie's is given.
pub fn opsgenie_priority(body: &[u8]) -> Result<String, Unusable> {
    let (root, _flag) = json::read(body)?;
    opsgenie::given_priority(&root).map_err(Bad::unusable)
}

/// The same by the reader that tells what is wrong and where.
fn parse_carefully(kind: Kind, post: &Post<'_>) -> Result<Parsed, Unusable> {
    // The body of such an event is its data alone, which may be none, or no JSON.
    if kind == Kind::Cloudevents && cloudevents::is_binary(post) {
        return cloudevents::parse_binary(post).map_err(Bad::unusable);
    }
    // What stands for the body may stand in the address, or be a form.
    if kind == Kind::Mapped {
        return mapped::parse(post);
    }
    let in_form = match kind {
        Kind::Change => change::in_form(post),
        _other => None,
    };
    let (root, flag) = json::read(in_form.as_deref().unwrap_or(post.body))?;
    let parsed = match kind {
        Kind::Alertmanager if postable::is_posted_so(post) => {
            postable::read(&root, post.now).map(|postable| postable.parsed)
        }
        Kind::Alertmanager => alertmanager::parse(&root),
        Kind::Grafana => grafana::parse(&root),
        Kind::GreatExpectations => great_expectations::parse(&root, post),
        Kind::Dbt => dbt::parse(&root, post),
        Kind::DbtCloud => dbt_cloud::parse(&root, post),
        Kind::Soda => soda::parse(&root, post),
        Kind::Evidently => evidently::parse(&root, post),
        Kind::Mlflow => mlflow::parse(&root, post),
        Kind::Check => check::parse(&root, post.now),
        Kind::Cloudevents => cloudevents::parse(&root, post),
        Kind::Pagerduty => pagerduty::parse(&root),
        Kind::Opsgenie => opsgenie::parse(&root, post),
        Kind::Change => change::parse(&root, post),
        Kind::Mapped => return mapped::parse(post),
    };
    let mut parsed = parsed.map_err(Bad::unusable)?;
    parsed.notes.extend(flag);
    Ok(parsed)
}

/// An instant as senders write it; none where it is unset: null, empty, or in the year 1.
///
/// RFC 3339, its zone without a colon or left out (UTC) too, or Unix time in seconds or a finer unit, number or text.
pub fn parse_time(value: &RawValue) -> Result<Option<Timestamp>, String> {
    read_time(value).map_err(|bad| bad.reason)
}

fn read_time(value: &RawValue) -> Result<Option<Timestamp>, Bad> {
    let wanted = "an RFC 3339 or Unix time";
    if json::is_null(value) {
        return Ok(None);
    }
    if json::is_number(value) {
        let instant = unix_time(value.get()).ok_or_else(|| json::wrong(wanted, Some(value)))?;
        return Ok(Some(instant));
    }
    time_in(&json::text(value)?).map_err(|NoTime| json::wrong(wanted, Some(value)))
}

/// A text is none.
struct NoTime;

/// The instant that a text is.
fn time_in(text: &str) -> Result<Option<Timestamp>, NoTime> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    if let Some(instant) = calendar_time(text) {
        return Ok((instant.year() > 1).then(|| instant.into()));
    }
    unix_time(text).map(Some).ok_or(NoTime)
}

fn calendar_time(text: &str) -> Option<DateTime<chrono::Utc>> {
    // As Ruby shows it.
    let text = text.strip_suffix(" UTC").unwrap_or(text);
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(instant.to_utc());
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%d %H:%M:%S%.f%z"] {
        if let Ok(instant) = DateTime::parse_from_str(text, format) {
            return Some(instant.to_utc());
        }
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"] {
        if let Ok(instant) = NaiveDateTime::parse_from_str(text, format) {
            return Some(instant.and_utc());
        }
    }
    None
}

/// The unit is told by the size: in each of them, an instant of our time is a thousand times one of the unit above.
fn unix_time(text: &str) -> Option<Timestamp> {
    let number: f64 = text.parse().ok()?;
    let millis = match number.abs() {
        seconds if seconds < 1e11 => number * 1e3,
        millis if millis < 1e14 => number,
        micros if micros < 1e17 => number / 1e3,
        _nanos => number / 1e6,
    };
    // By way of text: it refuses what does not fit, and infinities.
    let millis: i64 = format!("{millis:.0}").parse().ok()?;
    Some(Timestamp::from_millis(millis))
}

/// That an alert is well again, where nothing more is said of it.
fn resolved(labels: Labels) -> Sighting {
    Sighting {
        labels,
        annotations: Labels::default(),
        attributes: Labels::default(),
        severity: None,
        starts_at: None,
        ends_at: None,
        said: Said::Signal(Signal::Resolved),
    }
}

/// Labels as identity. What is no text, or too much of it, refuses the item: a label that is cut would be another alert.
fn labels(value: &RawValue) -> Result<Labels, Bad> {
    let pairs = json::pairs(value, MAX_LABELS)?;
    if pairs.n_found > MAX_LABELS {
        let n = pairs.n_found;
        let reason = format!("at most {MAX_LABELS} labels are wanted, found {n}");
        return Err(Bad::here(reason));
    }
    let mut labels = Vec::with_capacity(pairs.kept.len());
    for (name, value) in pairs.kept {
        let text = label(&name, value).map_err(|bad| bad.under(&name))?;
        labels.push((name, text));
    }
    Ok(labels.into_iter().collect())
}

fn label<'a>(name: &str, value: &'a RawValue) -> Result<std::borrow::Cow<'a, str>, Bad> {
    if name.is_empty() {
        return Err(Bad::here(NAMELESS));
    }
    at_most("a name", MAX_NAME_BYTES, name.len())?;
    let text = json::text_or_nothing(value)?;
    at_most("a value", MAX_VALUE_BYTES, text.len())?;
    Ok(text)
}

fn at_most(what: &str, most: usize, n_bytes: usize) -> Result<(), Bad> {
    if n_bytes <= most {
        return Ok(());
    }
    let reason = format!("{what} of at most {most} bytes is wanted, found {n_bytes}");
    Err(Bad::here(reason))
}

/// Names and texts that are no identity: what is too long is cut, what is too many left out, with a note; what is no text
/// refuses the item all the same, so that the sender learns of it.
fn words(value: &RawValue, place: &str, notes: &mut Notes) -> Result<Labels, Bad> {
    let pairs = json::pairs(value, MAX_LABELS)?;
    if pairs.n_found > MAX_LABELS {
        let n = pairs.n_found - MAX_LABELS;
        notes.add(|| format!("{place}: the last {n} were left out, over {MAX_LABELS}"));
    }
    let mut words = Vec::with_capacity(pairs.kept.len());
    for (name, value) in pairs.kept {
        let text = json::text_or_nothing(value).map_err(|bad| bad.under(&name))?;
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            let n = name.len();
            notes.add(|| format!("{place}: one with a name of {n} bytes was left out"));
            continue;
        }
        let kept = cut(&text, MAX_VALUE_BYTES).to_owned();
        if kept.len() < text.len() {
            let (at, from, to) = (json::segment(&name), text.len(), kept.len());
            notes.add(|| format!("{place}{at}: cut from {from} bytes to {to}"));
        }
        words.push((name, kept));
    }
    Ok(words.into_iter().collect())
}

/// The start of a text, in whole characters.
fn cut(text: &str, most_bytes: usize) -> &str {
    let end = text.floor_char_boundary(most_bytes);
    text.get(..end).unwrap_or(text)
}

/// Notes for a person; as many as a person reads.
#[derive(Debug, Default)]
struct Notes(Vec<String>);

impl Notes {
    fn add(&mut self, note: impl FnOnce() -> String) {
        match self.0.len() {
            n if n < MAX_NOTES => self.0.push(note()),
            MAX_NOTES => self.0.push("and more".to_owned()),
            _said => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bodies of which some are ordinary and some are not.
    const BODIES: &[&str] = &[
        r#"{"version":"4","receiver":"r","alerts":[]}"#,
        r#"{"version":"4","alerts":[{"status":"firing","labels":{"b":"2","a":"1"},"annotations":{"s":"é\u0041\n"},"startsAt":"2026-03-02T09:00:00.123Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://p","fingerprint":"x"}]}"#,
        r#"{"version":"4","alerts":[{"status":"resolved","labels":{"a":"1","a":"2","e":""},"endsAt":"2026-03-02T10:00:00+01:00"}]}"#,
        r#"{"version":"4","truncatedAlerts":3,"alerts":[{"status":"firing","labels":{"a":"1"}}]}"#,
        r#"{"version":"3","alerts":[{"status":"firing","labels":{"a":"1"}}]}"#,
        r#"{"version":"4","alerts":[{"status":"firing","labels":{"a":1}}]}"#,
        r#"{"version":"4","alerts":[{"status":"firing","labels":{"a":null}}]}"#,
        r#"{"version":"4","alerts":[{"status":"firing","labels":{}}]}"#,
        r#"{"version":"4","alerts":[{"status":"odd","labels":{"a":"1"}}]}"#,
        r#"{"version":"4","alerts":[{"status":"firing","labels":{"a":"1"},"startsAt":"soon"}]}"#,
        r#"{"version":"4","alerts":[{"status":"firing","labels":{"a":"1"},"startsAt":1772442000}]}"#,
        r#"{"version":"4","alerts":[{"status":"firing","status":"resolved","labels":{"a":"1"}}]}"#,
        r#"{"version":"4","alerts":[{"status":"firing","labels":{"":"1"}}]}"#,
        r#"{"version":"4","alerts":[{"status":"firing","labels":{"a":"1"},"annotations":null}]}"#,
        r#"{"version":"4","alerts":[{"status":"firing","labels":{"a":NaN}}]}"#,
        r#"{"version":"4","receiver":7,"alerts":[{"status":"firing","labels":{"a":"1"}}]} "#,
        r#"{"version":"4","alerts":[{"status":"firing","labels":{"a":"1"}}]} x"#,
        r#"{"alerts":[{"status":"firing","labels":{"a":"1"}}]}"#,
        "[]",
        "",
    ];

    #[test]
    fn of_what_both_readers_read_both_say_the_same() {
        let now = Timestamp::from_millis(0);
        let mut n_plain = 0;
        for body in BODIES {
            let careful = parse_carefully(Kind::Alertmanager, &Post::of(body.as_bytes(), now));
            if let Some(plain) = plain::parse(body.as_bytes(), alertmanager::MAX_ALERTS) {
                n_plain += 1;
                assert_eq!(Ok(plain), careful, "{body}");
            }
        }
        assert_eq!(n_plain, 3, "the ordinary ones, and no other");
    }
}
