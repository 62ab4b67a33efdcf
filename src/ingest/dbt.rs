//! What dbt leaves behind a run: results of tests and models (`run_results.json`), and freshness of sources (`sources.json`), alone or both in one
//! body, with or without a manifest.
//!
//! The identity of a check is dbt's `unique_id`. The manifest adds attributes to it and never labels, so that an alert is the same whether one came
//! along or not. No report is taken for complete: a default selector, of which it does not tell, may have left tests out.

mod freshness;
mod manifest;

use super::checks::{
    Finding, MAX_CHECKS, MAX_RUN_ID_CHARS, Report, Subject, labels_of_address, no_longer, one_of,
    required_id,
};
use super::json::{self, Bad, Field};
use super::{Notes, Parsed, Post, Rejected, cut, read_time};
use crate::domain::alert::{Labels, Outcome, Run};
use manifest::Manifest;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A model that was not built anew, since nothing under it changed, says as little as one that was skipped.
const OUTCOMES: [(&str, Outcome); 10] = [
    ("pass", Outcome::Pass),
    ("success", Outcome::Pass),
    ("no-op", Outcome::Pass),
    ("warn", Outcome::Warn),
    ("fail", Outcome::Fail),
    ("partial success", Outcome::Fail),
    ("error", Outcome::Error),
    ("runtime error", Outcome::Error),
    ("skipped", Outcome::Skip),
    ("reused", Outcome::Skip),
];

/// Queries, and what the database said to them, under their names of today and of old.
const PRIVATE: [&str; 12] = [
    "message",
    "error",
    "compiled_code",
    "compiled_sql",
    "raw_code",
    "raw_sql",
    "relation_name",
    "adapter_response",
    "batch_results",
    "criteria",
    "node",
    "args",
];
/// The same of a whole artifact, whose `env` may hold secrets.
const PRIVATE_OF_AN_ARTIFACT: [&str; 3] = ["metadata", "results", "args"];

const MAX_SCHEMA_BYTES: usize = 256;

pub(super) fn parse(root: &RawValue, post: &Post<'_>) -> Result<Parsed, Bad> {
    let [metadata, results, run_results, sources, manifest] = json::fields(
        root,
        ["metadata", "results", "run_results", "sources", "manifest"],
    )?;
    let mut notes = Notes::default();
    let told = Told::by(post, &mut notes)?;
    let known = manifest.read(|value| Ok(Manifest::read(value, &mut notes)))?;
    let known = known.unwrap_or_default();

    // A manifest has `sources` of its own, and metadata that tell what it is.
    let is_an_artifact = !metadata.is_absent() || !results.is_absent();
    let mut parsed = if is_an_artifact {
        read_artifact(root, "$", &told, &known, &mut notes)?
    } else {
        let wrapped = [("$.run_results", run_results), ("$.sources", sources)];
        match read_wrapped(wrapped, &told, &known, &mut notes)? {
            Some(parsed) => parsed,
            None => return Err(results.wrong("a list of results")),
        }
    };
    parsed.notes = notes.0;
    Ok(parsed)
}

/// The artifacts of one body; none where there are none. One that cannot be read costs the other nothing.
fn read_wrapped(
    fields: [(&str, Field<'_>); 2],
    told: &Told<'_>,
    known: &Manifest,
    notes: &mut Notes,
) -> Result<Option<Parsed>, Bad> {
    let (mut all, mut unread) = (None, Vec::new());
    for (place, field) in fields {
        let artifact = field.read(|value| read_artifact(value, place, told, known, notes));
        match artifact {
            Ok(None) => {}
            Ok(Some(found)) => {
                let all = all.get_or_insert_with(Parsed::default);
                all.sightings.extend(found.sightings);
                all.rejected.extend(found.rejected);
            }
            Err(bad) => unread.push((field, bad)),
        }
    }
    let mut unread = unread.into_iter();
    let Some(all) = &mut all else {
        return match unread.next() {
            Some((_, bad)) => Err(bad),
            None => Ok(None),
        };
    };
    all.rejected.extend(unread.map(rejected_artifact));
    Ok(Some(std::mem::take(all)))
}

fn rejected_artifact((field, bad): (Field<'_>, Bad)) -> Rejected {
    let item = field.value().unwrap_or(RawValue::NULL);
    let path = format!("${}", bad.path);
    Rejected::new(path, bad.reason, item, &PRIVATE_OF_AN_ARTIFACT)
}

/// What the request says beside its body.
struct Told<'a> {
    post: Post<'a>,
    labels: Labels,
    project: Option<&'a str>,
}

impl<'a> Told<'a> {
    fn by(post: &Post<'a>, notes: &mut Notes) -> Result<Self, Bad> {
        let labels = labels_of_address(post, notes)?;
        let project = post.parameter("project");
        Ok(Self {
            post: *post,
            labels: match project {
                Some(project) => labels.with("project", project),
                None => labels,
            },
            project,
        })
    }

    fn report(&self, run: Run) -> Report<'a> {
        Report {
            source: Cow::Borrowed("dbt"),
            owner: self.post.parameter("owner").map(Cow::Borrowed),
            labels: self.labels.clone(),
            run,
            run_url: None,
            now: self.post.now,
        }
    }
}

/// One `run_results.json` or `sources.json`.
fn read_artifact(
    value: &RawValue,
    place: &str,
    told: &Told<'_>,
    known: &Manifest,
    notes: &mut Notes,
) -> Result<Parsed, Bad> {
    let [metadata, results] = json::fields(value, ["metadata", "results"])?;
    let run = metadata.read(|value| read_metadata(value, place, notes))?;
    let Some(items) = results.read(|value| json::list(value, MAX_CHECKS))? else {
        return Err(results.wrong("a list of results"));
    };
    let report = told.report(run.unwrap_or_default());
    report.fits(items.len())?;

    let items = items.into_iter().enumerate();
    let items = items.map(|(n, item)| (format!("{place}.results[{n}]"), item));
    Ok(
        report.read_all(items, &PRIVATE, notes, |item, _place, _notes| {
            read_result(item, told.project, known).map(Some)
        }),
    )
}

/// What the name of a schema has in it, and the version that is known.
const SCHEMAS: [(&str, &str); 2] = [("/run-results/", "v6"), ("/sources/", "v3")];

fn read_metadata(metadata: &RawValue, place: &str, notes: &mut Notes) -> Result<Run, Bad> {
    let [version, id, generated_at] = json::fields(
        metadata,
        ["dbt_schema_version", "invocation_id", "generated_at"],
    )?;
    if let Some(text) = version.text()? {
        let mut all = SCHEMAS.into_iter();
        let Some((_, known)) = all.find(|(name, _)| text.contains(name)) else {
            return Err(version.wrong("the schema of run results or sources"));
        };
        // What is looked at has been the same in all of them.
        if !text.ends_with(&format!("/{known}.json")) {
            let found = cut(&text, MAX_SCHEMA_BYTES);
            notes.add(|| {
                format!("{place}.metadata.dbt_schema_version: read as {known}, found {found:?}")
            });
        }
    }
    let id_text = id.text()?;
    if let Some(text) = &id_text {
        no_longer(id, text, "an invocation id", MAX_RUN_ID_CHARS)?;
    }
    Ok(Run {
        id: id_text.map(Cow::into_owned),
        attempt: None,
        finished_at: generated_at.read(read_time)?.flatten(),
    })
}

fn read_result<'a>(
    item: &'a RawValue,
    project: Option<&str>,
    known: &Manifest,
) -> Result<(Outcome, Finding<'a>), Bad> {
    let [id, status, message, failures] =
        json::fields(item, ["unique_id", "status", "message", "failures"])?;
    let check_id = required_id(id)?;
    let name = Name::of(&check_id);
    let its = known.node(&check_id);
    let dataset = match its.attached_to() {
        Some(attached) => Name::of(attached).dataset(),
        None => name.dataset(),
    };
    let attributes = [
        ("project", Some(project.unwrap_or(name.package))),
        ("resource_type", Some(name.resource)),
        ("dataset", dataset),
        ("part", its.part()),
        ("tags", its.tags()),
    ];
    let mut found = Finding {
        subject: Subject {
            kind: "dataset",
            name: name.dataset().map(owned),
            ..Subject::default()
        },
        severity: its.severity().map(owned),
        attributes: attributes
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect(),
        name: Some(owned(name.shown())),
        sort: Some(owned(name.resource)),
        message: message.text()?,
        owner: its.owner().map(owned),
        failing: failures.read(count)?,
        ..Finding::default()
    };
    let outcome = match name.resource {
        "source" => {
            freshness::read(item, &mut found)?;
            one_of(status, &freshness::OUTCOMES)?
        }
        _other => one_of(status, &OUTCOMES)?,
    };
    if outcome == Outcome::Error {
        found.message = found.message.as_deref().and_then(words_of_error);
    }
    found.check_id = check_id;
    Ok((outcome, found))
}

/// Nothing that runs in the database is seen by a compilation: its words are dbt's own.
const COMPILATION: &str = "Compilation Error";
const MAX_HEADING_BYTES: usize = 64;

/// What is kept of what an error says: dbt's own line, which says where it was. Below it stand the words of the database, which quotes
/// queries and rows.
fn words_of_error<'a>(message: &str) -> Option<Cow<'a, str>> {
    let line = message.lines().next().unwrap_or_default();
    let heading = line.split(" in ").next().unwrap_or_default();
    if heading == COMPILATION {
        return Some(owned(message));
    }
    let is_dbts = heading.len() <= MAX_HEADING_BYTES
        && heading.ends_with(" Error")
        && heading.chars().all(|c| c.is_alphanumeric() || c == ' ');
    is_dbts.then(|| owned(line))
}

fn owned<'a>(text: &str) -> Cow<'a, str> {
    Cow::Owned(text.to_owned())
}

/// A number as it is written, or the text for what is none: no alert is lost over how many rows there were.
fn count(value: &RawValue) -> Result<&str, Bad> {
    match value.get() {
        "\"NaN\"" => Ok("NaN"),
        "\"Infinity\"" => Ok("Infinity"),
        "\"-Infinity\"" => Ok("-Infinity"),
        _other => json::number(value),
    }
}

/// What a `unique_id` says: `model.shop.orders`, `source.shop.raw.orders`, `test.shop.unique_orders_id.1360ecc70e`.
struct Name<'i> {
    resource: &'i str,
    package: &'i str,
    rest: &'i str,
}

impl<'i> Name<'i> {
    fn of(unique_id: &'i str) -> Self {
        let mut parts = unique_id.splitn(3, '.');
        let mut next = || parts.next().unwrap_or_default();
        Self {
            resource: next(),
            package: next(),
            rest: next(),
        }
    }

    /// The data that it names, if it names data.
    fn dataset(&self) -> Option<&'i str> {
        let names_data = matches!(self.resource, "model" | "seed" | "snapshot" | "source");
        names_data.then_some(self.rest)
    }

    /// Without the hash that tells tests of one name apart.
    fn shown(&self) -> &'i str {
        let is_hash = |text: &str| text.len() == 10 && text.bytes().all(|b| b.is_ascii_hexdigit());
        match self.rest.rsplit_once('.') {
            Some((name, hash)) if self.resource == "test" && is_hash(hash) => name,
            _other => self.rest,
        }
    }
}
