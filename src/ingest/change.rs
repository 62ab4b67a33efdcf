//! Changes: deployments and changes of configuration, in our own form and in those of GitHub, GitLab, PagerDuty and CDEvents.
//! Which it is, the headers tell or the body itself.

mod cdevents;
mod github;
mod gitlab;
mod pagerduty;

use super::checks::{labels_of_address, no_longer};
use super::json::{self, Bad, Field};
use super::{Notes, Parsed, Post, Rejected, cut, read_time};
use crate::domain::alert::Labels;
use crate::domain::change::{About, Identity, MAX_LABELS, Mention, Status};
use crate::domain::time::Timestamp;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

const MAX_CHANGES: usize = 500;
const MAX_ID_CHARS: usize = 256;
/// Of a service, an environment, a version, and of whoever made the change.
const MAX_NAME_CHARS: usize = 256;
const MAX_KIND_CHARS: usize = 64;
/// Digits by which a commit is shown.
const SHORT_SHA: usize = 8;
const MAX_SUMMARY_BYTES: usize = 1024;
const MAX_URL_BYTES: usize = 2048;
const MAX_LABEL_NAME_BYTES: usize = 128;
const MAX_LABEL_VALUE_BYTES: usize = 512;

/// What is secret in a body, and not kept with an item that is rejected.
const SECRET: [&str; 1] = ["routing_key"];

/// The words of many tools, with small letters and `_`; the first of each are ours.
const STATUSES: [(&str, Status); 34] = [
    ("pending", Status::Pending),
    ("blocked", Status::Pending),
    ("created", Status::Pending),
    ("queued", Status::Pending),
    ("scheduled", Status::Pending),
    ("waiting", Status::Pending),
    ("in_progress", Status::InProgress),
    ("progressing", Status::InProgress),
    ("running", Status::InProgress),
    ("started", Status::InProgress),
    ("succeeded", Status::Succeeded),
    ("completed", Status::Succeeded),
    ("deployed", Status::Succeeded),
    ("done", Status::Succeeded),
    ("finished", Status::Succeeded),
    ("healthy", Status::Succeeded),
    ("ok", Status::Succeeded),
    ("passed", Status::Succeeded),
    ("success", Status::Succeeded),
    ("successful", Status::Succeeded),
    ("failed", Status::Failed),
    ("degraded", Status::Failed),
    ("error", Status::Failed),
    ("failure", Status::Failed),
    ("rolled_back", Status::RolledBack),
    ("reverted", Status::RolledBack),
    ("rollback", Status::RolledBack),
    ("rolledback", Status::RolledBack),
    ("cancelled", Status::Cancelled),
    ("aborted", Status::Cancelled),
    ("canceled", Status::Cancelled),
    ("skipped", Status::Cancelled),
    ("terminated", Status::Cancelled),
    ("terminating", Status::Cancelled),
];

/// A body of a form of a web page, as GitHub sends it unless it is told otherwise: the JSON in it.
pub(super) fn in_form(post: &Post<'_>) -> Option<Vec<u8>> {
    let encoded = post.body.strip_prefix(b"payload=")?;
    let end = encoded.iter().position(|byte| *byte == b'&');
    let encoded = encoded.get(..end.unwrap_or(encoded.len()))?;
    let mut plain = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.iter().copied();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'+' => b' ',
            b'%' => digit(bytes.next()?)? * 16 + digit(bytes.next()?)?,
            other => other,
        });
    }
    Some(plain)
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

pub(super) fn parse(root: &RawValue, post: &Post<'_>) -> Result<Parsed, Bad> {
    let mut notes = Notes::default();
    let address = Address::of(post, &mut notes)?;
    let mut parsed = Parsed::default();
    for (place, item) in items(root)? {
        let found = read(item, post, &mut Reading::at(&place, &mut notes));
        let mention = found.and_then(|found| found.map(|found| address.mention(found)).transpose());
        match mention {
            Ok(mention) => parsed.changes.extend(mention),
            Err(bad) => {
                let path = place + &bad.path;
                let rejected = Rejected::new(path, bad.reason, item, &SECRET);
                parsed.rejected.push(rejected.alone());
            }
        }
    }
    parsed.notes = notes.0;
    Ok(parsed)
}

/// A list of changes, an object with one, or a single change; each with its place.
fn items(root: &RawValue) -> Result<Vec<(String, &RawValue)>, Bad> {
    let placed = |place: &str, items: Vec<_>| {
        let items = items.into_iter().enumerate();
        items
            .map(|(n, item)| (format!("${place}[{n}]"), item))
            .collect()
    };
    if root.get().starts_with('[') {
        return Ok(placed("", json::list(root, MAX_CHANGES)?));
    }
    let [changes] = json::fields(root, ["changes"])?;
    // In the bodies of others it is something else.
    let listed = changes.as_written().filter(|text| text.starts_with('['));
    if listed.is_none() {
        return Ok(vec![("$".to_owned(), root)]);
    }
    let items = changes.read(|list| json::list(list, MAX_CHANGES))?;
    Ok(placed(".changes", items.unwrap_or_default()))
}

/// What is noted of an item while it is read, and where it stands.
struct Reading<'r> {
    place: &'r str,
    notes: &'r mut Notes,
}

impl<'r> Reading<'r> {
    fn at(place: &'r str, notes: &'r mut Notes) -> Self {
        Self { place, notes }
    }

    fn note(&mut self, field: &str, what: &str) {
        let place = self.place;
        self.notes.add(|| format!("{place}.{field}: {what}"));
    }
}

/// What an item says of a change.
#[derive(Debug, Default)]
struct Found {
    id: Option<String>,
    /// Succeeded, where nothing is said.
    status: Option<Status>,
    at: Option<Timestamp>,
    about: About,
    /// The service, where nobody names one.
    stands_for_service: Option<String>,
}

/// One change in whatever form; none where the item tells of something else.
fn read(item: &RawValue, post: &Post<'_>, reading: &mut Reading<'_>) -> Result<Option<Found>, Bad> {
    if let Some(event) = post.header("x-github-event") {
        return github::read(item, Some(event), reading);
    }
    let [object_kind, hook, deployment, repository] =
        json::fields(item, ["object_kind", "hook_id", "deployment", "repository"])?;
    if post.header("x-gitlab-event").is_some() || !object_kind.is_absent() {
        return gitlab::read(item, reading);
    }
    if !(hook.is_absent() && (deployment.is_absent() || repository.is_absent())) {
        return github::read(item, None, reading);
    }
    let [version, data, id, source] = json::fields(item, ["specversion", "data", "id", "source"])?;
    if !version.is_absent() {
        let found = data.read(|data| of_event_data(data, reading))?;
        let found = found.ok_or_else(|| data.wrong("data in JSON"))?;
        let of_event = (source.text()?, id.text()?);
        return Ok(found.map(|found| found.unless_named(of_event)));
    }
    let found = of_event_data(item, reading)?;
    let header = |name: &str| post.header(name).map(Cow::Borrowed);
    let of_event = (header("ce-source"), header("ce-id"));
    Ok(found.map(|found| found.unless_named(of_event)))
}

/// What is told by its fields alone.
fn of_event_data(item: &RawValue, reading: &mut Reading<'_>) -> Result<Option<Found>, Bad> {
    let [context, key, payload] = json::fields(item, ["context", "routing_key", "payload"])?;
    if context
        .as_written()
        .is_some_and(|text| text.starts_with('{'))
    {
        return cdevents::read(item, reading);
    }
    if !(key.is_absent() && payload.is_absent()) {
        return pagerduty::read(item, reading).map(Some);
    }
    own(item, reading).map(Some)
}

/// Our own form.
fn own(item: &RawValue, reading: &mut Reading<'_>) -> Result<Found, Bad> {
    let [id, status, at, kind, labels] =
        json::fields(item, ["id", "status", "at", "kind", "labels"])?;
    let [service, environment, summary, version, url, by] = json::fields(
        item,
        ["service", "environment", "summary", "version", "url", "by"],
    )?;
    let found = Found {
        id: name(id, "an id", MAX_ID_CHARS)?,
        status: read_status(status)?,
        at: at.read(read_time)?.flatten(),
        about: About {
            kind: name(kind, "a kind", MAX_KIND_CHARS)?,
            service: name(service, "a service", MAX_NAME_CHARS)?,
            environment: name(environment, "an environment", MAX_NAME_CHARS)?,
            summary: summary_of(summary, reading)?,
            version: name(version, "a version", MAX_NAME_CHARS)?,
            url: web(&[url], reading)?,
            by: name(by, "a name", MAX_NAME_CHARS)?,
            labels: labels
                .read(|labels| own_labels(labels, reading))?
                .unwrap_or_default(),
        },
        stands_for_service: None,
    };
    Ok(found)
}

impl Found {
    /// A change that has no id of its own is known by that of the event that told of it.
    fn unless_named(mut self, (source, id): (Option<Cow<'_, str>>, Option<Cow<'_, str>>)) -> Self {
        if let (None, Some(source), Some(id)) = (&self.id, source, id) {
            let whole = format!("{source} {id}");
            let is_short = whole.chars().nth(MAX_ID_CHARS).is_none();
            self.id = Some(match is_short {
                true => whole,
                false => hash(&[&whole]),
            });
        }
        self
    }
}

/// What the address of the request says of every change in it, where they do not.
struct Address {
    service: Option<String>,
    environment: Option<String>,
    labels: Labels,
}

impl Address {
    fn of(post: &Post<'_>, notes: &mut Notes) -> Result<Self, Bad> {
        let named = |name: &str| {
            let text = post.parameter(name);
            if text.is_some_and(|text| text.chars().nth(MAX_NAME_CHARS).is_some()) {
                let reason = format!(
                    "{name} of the address: at most {MAX_NAME_CHARS} characters are wanted"
                );
                return Err(Bad::here(reason));
            }
            Ok(text.map(str::to_owned))
        };
        let labels = labels_of_address(post, notes)?;
        let n = labels.len();
        if n > MAX_LABELS {
            let reason =
                format!("at most {MAX_LABELS} labels in the address are wanted, found {n}");
            return Err(Bad::here(reason));
        }
        Ok(Self {
            service: named("service")?,
            environment: named("environment")?,
            labels: labels
                .iter()
                .map(|(name, value)| {
                    let name = cut(name, MAX_LABEL_NAME_BYTES);
                    (name, cut(value, MAX_LABEL_VALUE_BYTES))
                })
                .collect(),
        })
    }

    fn mention(&self, mut found: Found) -> Result<Mention, Bad> {
        let about = &mut found.about;
        let labelled = |names: &[&str]| {
            let mut values = names.iter().filter_map(|name| about.labels.get(name));
            values.next().map(str::to_owned)
        };
        let service = about.service.clone().or_else(|| labelled(&["service"]));
        let service = service.or_else(|| self.service.clone());
        let environment = about.environment.clone();
        let environment = environment.or_else(|| labelled(&["environment", "env"]));
        about.environment = environment.or_else(|| self.environment.clone());
        about.service = service.or(found.stands_for_service);
        let room = MAX_LABELS.saturating_sub(about.labels.len());
        let more = self.labels.iter();
        let more = more.filter(|(name, _)| about.labels.get(name).is_none());
        about.labels = about.labels.iter().chain(more.take(room)).collect();
        if found.id.is_none() && about.service.is_none() && about.summary.is_none() {
            let reason = "a service, a summary or an id is wanted, found none of them";
            return Err(Bad::here(reason));
        }
        Ok(Mention {
            identity: identity(found.id, &found.about, found.at),
            status: found.status.unwrap_or(Status::Succeeded),
            at: found.at,
            about: found.about,
        })
    }
}

/// What has no id is known by what it is and when.
fn identity(id: Option<String>, about: &About, at: Option<Timestamp>) -> Identity {
    if let Some(id) = id {
        return Identity::Named(id);
    }
    let at_text = at.map(|at| at.to_string());
    let parts = [
        &about.service,
        &about.environment,
        &about.kind,
        &about.version,
        &about.summary,
        &at_text,
    ];
    let parts = parts.map(|part| part.as_deref().unwrap_or_default());
    match at {
        Some(_) => Identity::Named(hash(&parts)),
        None => Identity::Made(hash(&parts)),
    }
}

/// The id of a deployment that is one of a repository's: its number alone may be another's, too.
fn deployment_id(repository: &str, number: &str) -> String {
    let whole = format!("{repository}/deployments/{number}");
    match whole.chars().nth(MAX_ID_CHARS) {
        None => whole,
        Some(_) => hash(&[&whole]),
    }
}

/// `main (f95f852)`; the commit alone where that is what was asked for.
fn version_of(reference: &str, sha: &str) -> Option<String> {
    let short = sha.get(..SHORT_SHA).unwrap_or(sha);
    match (reference, short) {
        ("", "") => None,
        ("", only) | (only, "") => Some(only.to_owned()),
        (reference, short) if reference.starts_with(short) => Some(short.to_owned()),
        (reference, short) => Some(format!("{reference} ({short})")),
    }
}

fn hash(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize()).split_off(32)
}

/// A short text or a number.
fn name(field: Field<'_>, what: &str, most: usize) -> Result<Option<String>, Bad> {
    let Some(text) = field.read(json::text_or_number)? else {
        return Ok(None);
    };
    let text = text.trim();
    no_longer(field, text, what, most)?;
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

fn summary_of(field: Field<'_>, reading: &mut Reading<'_>) -> Result<Option<String>, Bad> {
    let Some(text) = field.text()? else {
        return Ok(None);
    };
    let text = text.trim();
    let kept = cut(text, MAX_SUMMARY_BYTES);
    if kept.len() < text.len() {
        let (from, to) = (text.len(), kept.len());
        reading.note("summary", &format!("cut from {from} bytes to {to}"));
    }
    Ok(Some(kept.to_owned()).filter(|text| !text.is_empty()))
}

/// The first of these fields that says something, where that is an address of the web: it is shown as a link.
fn web(fields: &[Field<'_>], reading: &mut Reading<'_>) -> Result<Option<String>, Bad> {
    for field in fields {
        let Some(text) = field.text()? else {
            continue;
        };
        let text = text.trim();
        let is_web = text.starts_with("https://") || text.starts_with("http://");
        if is_web && text.len() <= MAX_URL_BYTES {
            return Ok(Some(text.to_owned()));
        }
        let what = format!("left out: no address of http or https within {MAX_URL_BYTES} bytes");
        reading.note("url", &what);
    }
    Ok(None)
}

fn read_status(field: Field<'_>) -> Result<Option<Status>, Bad> {
    let Some(text) = field.text()? else {
        return Ok(None);
    };
    match status(&text) {
        Some(status) => Ok(Some(status)),
        None => {
            let ours = Status::ALL.map(Status::as_str).join(", ");
            Err(field.wrong(&format!("one of {ours}")))
        }
    }
}

/// What the word of whatever tool means.
fn status(text: &str) -> Option<Status> {
    let word = text.trim().to_ascii_lowercase().replace([' ', '-'], "_");
    let known = STATUSES.iter().find(|(known, _)| *known == word);
    known.map(|(_, status)| *status)
}

/// Labels are no identity of a change: what is too long is cut, what is too many left out.
fn own_labels(value: &RawValue, reading: &mut Reading<'_>) -> Result<Labels, Bad> {
    let pairs = json::pairs(value, MAX_LABELS)?;
    if pairs.n_found > MAX_LABELS {
        let n = pairs.n_found - MAX_LABELS;
        reading.note(
            "labels",
            &format!("the last {n} were left out, over {MAX_LABELS}"),
        );
    }
    let mut labels = Vec::with_capacity(pairs.kept.len());
    for (name, value) in pairs.kept {
        if json::is_null(value) {
            continue;
        }
        let text = scalar(value).map_err(|bad| bad.under(&name))?;
        let kept = cut(text.trim(), MAX_LABEL_VALUE_BYTES).to_owned();
        if name.is_empty() || name.len() > MAX_LABEL_NAME_BYTES {
            let n = name.len();
            reading.note(
                "labels",
                &format!("one with a name of {n} bytes was left out"),
            );
            continue;
        }
        if kept.len() < text.trim().len() {
            let (from, to) = (text.len(), kept.len());
            let at = json::segment(&name);
            reading.note(
                &format!("labels{at}"),
                &format!("cut from {from} bytes to {to}"),
            );
        }
        labels.push((name, kept));
    }
    Ok(labels.into_iter().collect())
}

/// A text, or a number, true or false as it is written.
fn scalar(value: &RawValue) -> Result<Cow<'_, str>, Bad> {
    match value.get() {
        word @ ("true" | "false") => Ok(Cow::Borrowed(word)),
        _other => json::text_or_number(value),
    }
}
