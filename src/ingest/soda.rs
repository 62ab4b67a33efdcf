//! A scan of Soda Core 3, as `Scan().get_scan_results()` has it.
//!
//! A check's identity is Soda's own hash over what it checks: its table, condition, data source and file. One query that
//! fails takes all checks with it that it was asked for, and they are then simply not there: so that a scan had errors is an
//! alert of its own.

use super::checks::{
    Finding, MAX_CHECKS, MAX_OBSERVED_BYTES, Report, Subject, any_failed, measured, no_longer,
    required_boolean, required_id,
};
use super::json::{self, Bad, Field};
use super::{MAX_LABELS, MAX_NAME_BYTES, MAX_VALUE_BYTES, Notes, Parsed, Post, cut, read_time};
use crate::domain::alert::{Labels, Outcome, Run};
use crate::domain::time::Timestamp;
use serde_json::value::RawValue;
use std::borrow::Cow;

const TOOL: &str = "soda";
/// The check that a scan is itself: it could not run where it had errors.
const SCAN: &str = "scan";
const MAX_NAME_CHARS: usize = 256;
const MAX_TIME_CHARS: usize = 64;
const MAX_QUERIES: usize = 100_000;
const MAX_REASONS: usize = 100;
const MAX_TITLE_BYTES: usize = 255;
const MAX_BLOCKS: usize = 100;
/// Of names in a message.
const MAX_NAMED: usize = 5;
/// What may hold values of rows, or a query with literals.
const PRIVATE: [&str; 2] = ["diagnostics", "definition"];

pub(super) fn parse(root: &RawValue, post: &Post<'_>) -> Result<Parsed, Bad> {
    let [errors, failures, checks, monitors, queries] = json::fields(
        root,
        [
            "hasErrors",
            "hasFailures",
            "checks",
            "automatedMonitoringChecks",
            "queries",
        ],
    )?;
    let had_errors = required_boolean(errors)?;
    let had_failures = failures.read(json::boolean)?.unwrap_or_default();
    let mut items = numbered(checks, "$.checks", MAX_CHECKS)?;
    let n_left = MAX_CHECKS - items.len();
    items.extend(numbered(monitors, "$.automatedMonitoringChecks", n_left)?);
    let (report, data_source) = report(root, post.now)?;
    report.fits(items.len())?;

    let mut notes = Notes::default();
    let mut parsed = report.read_all(items, &PRIVATE, &mut notes, |item, place, notes| {
        check(item, place, notes).map(Some)
    });
    let unexplained = had_failures && !any_failed(&parsed.sightings);
    let (outcome, message) = match (had_errors, unexplained) {
        (true, _) => (Outcome::Error, Some(errors_message(&parsed, queries))),
        (false, true) => {
            let message = "it failed, but no check of it that could be read says why";
            (Outcome::Error, Some(message.to_owned()))
        }
        (false, false) => (Outcome::Pass, None),
    };
    // Nothing is known of a scan that says all is well in checks of which none could be read.
    if outcome == Outcome::Error || !parsed.sightings.is_empty() || parsed.rejected.is_empty() {
        let found = Finding {
            check_id: SCAN.into(),
            subject: Subject {
                kind: "data_source",
                name: data_source,
                ..Subject::default()
            },
            message: message.map(Cow::Owned),
            ..Finding::default()
        };
        parsed.n_own_passes = usize::from(outcome == Outcome::Pass);
        let own = report.sighting((outcome, found), "$", &mut notes)?;
        parsed.sightings.push(own);
    }
    parsed.notes = notes.0;
    Ok(parsed)
}

/// The items of a list with their places; none where there is no list.
fn numbered<'a>(
    field: Field<'a>,
    place: &str,
    most: usize,
) -> Result<Vec<(String, &'a RawValue)>, Bad> {
    let items = field.read(|list| json::list(list, most))?;
    let items = items.unwrap_or_default().into_iter().enumerate();
    Ok(items
        .map(|(n, item)| (format!("{place}[{n}]"), item))
        .collect())
}

/// What holds for all checks of a scan, and its data source.
fn report(root: &RawValue, now: Timestamp) -> Result<(Report<'static>, Option<Cow<'_, str>>), Bad> {
    let [definition, data_source, start, end] = json::fields(
        root,
        [
            "definitionName",
            "defaultDataSource",
            "scanStartTimestamp",
            "scanEndTimestamp",
        ],
    )?;
    let definition = short_name(definition, "the name of a scan", MAX_NAME_CHARS)?;
    let data_source = short_name(data_source, "a data source", MAX_NAME_CHARS)?;
    // A scan has no id: it is told from others by when it started.
    let id = short_name(start, "a time", MAX_TIME_CHARS)?.map(|start| match &definition {
        Some(definition) => format!("{start} {definition}"),
        None => start.into_owned(),
    });
    let started_at = start.read(read_time)?.flatten();
    let ended_at = end.read(read_time)?.flatten();
    let report = Report {
        source: TOOL.into(),
        owner: None,
        labels: [("scan", definition.unwrap_or_default())]
            .into_iter()
            .collect(),
        run: Run {
            id,
            attempt: None,
            finished_at: ended_at.or(started_at),
        },
        run_url: None,
        now,
    };
    Ok((report, data_source))
}

fn short_name<'a>(field: Field<'a>, what: &str, most: usize) -> Result<Option<Cow<'a, str>>, Bad> {
    let text = field.text()?;
    if let Some(text) = &text {
        no_longer(field, text, what, most)?;
    }
    Ok(text)
}

/// What a scan had errors in. What they say is left out: a database quotes what it could not read.
fn errors_message(parsed: &Parsed, queries: Field<'_>) -> String {
    let queries = queries.read(|list| json::list(list, MAX_QUERIES));
    // That the queries cannot be read hides no alarm, only what it says.
    let queries = queries.ok().flatten().unwrap_or_default();
    let names: Vec<_> = queries.into_iter().filter_map(name_of_failed).collect();
    let mut message = match parsed.sightings.is_empty() {
        true => "it had errors, and no check has a result".to_owned(),
        false => "it had errors, and checks without a result are not listed".to_owned(),
    };
    if !names.is_empty() {
        message.push_str(&format!("; queries that failed: {}", first_of(&names)));
    }
    message
}

fn name_of_failed(query: &RawValue) -> Option<Cow<'_, str>> {
    let [name, exception] = json::fields(query, ["name", "exception"]).ok()?;
    let failed = !exception.is_absent();
    name.text().ok().flatten().filter(|_| failed)
}

fn first_of(names: &[Cow<'_, str>]) -> String {
    let named = names.iter().take(MAX_NAMED);
    let named: Vec<_> = named.map(|name| cut(name, MAX_OBSERVED_BYTES)).collect();
    let more = if names.len() > MAX_NAMED { ", …" } else { "" };
    named.join(", ") + more
}

fn check<'a>(
    item: &'a RawValue,
    place: &str,
    notes: &mut Notes,
) -> Result<(Outcome, Finding<'a>), Bad> {
    let [identity, outcome, reasons, name, attributes] = json::fields(
        item,
        [
            "identity",
            "outcome",
            "outcomeReasons",
            "name",
            "resourceAttributes",
        ],
    )?;
    let [sort, data_source, table, column, diagnostics] = json::fields(
        item,
        ["type", "dataSource", "table", "column", "diagnostics"],
    )?;
    let reasons = reasons.read(read_reasons)?.unwrap_or_default();
    let names = [data_source.text()?, table.text()?];
    let names: Vec<_> = names.into_iter().flatten().collect();
    let name = name.text()?;
    let attributes = attributes.read(read_attributes)?.unwrap_or_default();
    let its = |word: &str| attributes.get(word).map(|text| Cow::Owned(text.to_owned()));
    // Its shape is each sort of check's own, and worth no rejected check.
    let diagnostics = diagnostics.read(read_diagnostics).unwrap_or_else(|bad| {
        notes.add(|| format!("{place}{}: left out, {}", bad.path, bad.reason));
        None
    });
    let diagnostics = diagnostics.unwrap_or_default();
    let found = Finding {
        check_id: required_id(identity)?,
        subject: Subject {
            kind: "dataset",
            name: Some(Cow::Owned(names.join("."))),
            part: column.text()?,
            version: None,
        },
        severity: its("severity").or_else(|| its("priority")),
        owner: its("owner"),
        // Its identity is a hash: people know it by its name.
        attributes: match &name {
            Some(name) => attributes
                .with("check_name", cut(name, MAX_VALUE_BYTES))
                .with("title", &title_of(name, &names)),
            None => attributes,
        },
        name,
        sort: sort.text()?,
        message: message_of(diagnostics.events.as_ref(), &reasons).map(Cow::Owned),
        observed: diagnostics.observed,
        expected: diagnostics.expected,
        failing: diagnostics.failing,
        ..Finding::default()
    };
    Ok((read_outcome(outcome, &reasons)?, found))
}

/// What is shown as the title of an incident: the check's name, and what it looked at.
fn title_of(name: &str, names: &[Cow<'_, str>]) -> String {
    let name = cut(name, MAX_TITLE_BYTES);
    match names.is_empty() {
        true => name.to_owned(),
        false => format!("{name}: {}", cut(&names.join("."), MAX_TITLE_BYTES)),
    }
}

/// Why a check came out as it did, in Soda's own code words.
#[derive(Default)]
struct Reasons<'a> {
    codes: Vec<Cow<'a, str>>,
    /// Whether one of them is an error.
    any_error: bool,
}

fn read_reasons(reasons: &RawValue) -> Result<Reasons<'_>, Bad> {
    let mut read = Reasons::default();
    for (n, reason) in json::list(reasons, MAX_REASONS)?.into_iter().enumerate() {
        let [code, severity] =
            json::fields(reason, ["code", "severity"]).map_err(|bad| bad.at(n))?;
        let severity = severity.text().map_err(|bad| bad.at(n))?;
        read.any_error |= severity.as_deref() == Some("error");
        read.codes.extend(code.text().map_err(|bad| bad.at(n))?);
    }
    Ok(read)
}

/// A check without an outcome was not evaluated. Where Soda says why and calls it no error, as of a check that compares
/// with a past it has not got yet, it says nothing; else it could not run.
fn read_outcome(outcome: Field<'_>, reasons: &Reasons<'_>) -> Result<Outcome, Bad> {
    let text = outcome.text().ok().flatten();
    match text.as_deref() {
        Some("pass") => Ok(Outcome::Pass),
        Some("warn") => Ok(Outcome::Warn),
        Some("fail") => Ok(Outcome::Fail),
        None if outcome.is_absent() && !reasons.codes.is_empty() && !reasons.any_error => {
            Ok(Outcome::Skip)
        }
        None if outcome.is_absent() => Ok(Outcome::Error),
        _other => Err(outcome.wrong("one of pass, warn, fail, null")),
    }
}

/// Attributes come as a list of names and values.
fn read_attributes(attributes: &RawValue) -> Result<Labels, Bad> {
    let mut read = Vec::new();
    for (n, attribute) in json::list(attributes, MAX_LABELS)?.into_iter().enumerate() {
        let (name, value) = read_attribute(attribute).map_err(|bad| bad.at(n))?;
        read.push((name, value));
    }
    Ok(read.into_iter().collect())
}

fn read_attribute(attribute: &RawValue) -> Result<(Cow<'_, str>, String), Bad> {
    let [name, value] = json::fields(attribute, ["name", "value"])?;
    let text = name.text()?.ok_or_else(|| name.wrong("a name"))?;
    no_longer(name, &text, "a name", MAX_NAME_BYTES)?;
    let value = value.read(json::text_or_number)?.unwrap_or_default();
    Ok((text, cut(&value, MAX_VALUE_BYTES).to_owned()))
}

/// What of a check's diagnostics is no value of a row.
#[derive(Default)]
struct Diagnostics<'a> {
    observed: Option<String>,
    expected: Option<String>,
    failing: Option<&'a str>,
    /// `1 schema event(s)`.
    events: Option<Cow<'a, str>>,
}

fn read_diagnostics(diagnostics: &RawValue) -> Result<Diagnostics<'_>, Bad> {
    let [value, measure, fail, warn, blocks, events] = json::fields(
        diagnostics,
        ["value", "measure", "fail", "warn", "blocks", "valueLabel"],
    )?;
    let unit = match measure.text()?.as_deref() {
        Some("time") => " ms",
        _other => "",
    };
    let value = value.read(|value| Ok(measured(value)))?.flatten();
    let limit = |word: &str, field: Field<'_>| {
        let limit = field.read(|limit| Ok(json::compact(limit, MAX_OBSERVED_BYTES)))?;
        Ok(limit.map(|limit| format!("{word} {limit}")))
    };
    let limits = [limit("fail", fail)?, limit("warn", warn)?];
    let limits: Vec<_> = limits.into_iter().flatten().collect();
    Ok(Diagnostics {
        observed: value.map(|value| format!("{value}{unit}")),
        expected: (!limits.is_empty()).then(|| format!("not {}", limits.join(", not "))),
        failing: blocks.read(read_blocks)?.flatten(),
        events: events.text()?,
    })
}

/// How many rows failed, from the first block that says so.
fn read_blocks(blocks: &RawValue) -> Result<Option<&str>, Bad> {
    for (n, block) in json::list(blocks, MAX_BLOCKS)?.into_iter().enumerate() {
        let [total] = json::fields(block, ["totalFailingRows"]).map_err(|bad| bad.at(n))?;
        let total = total.read(json::number).map_err(|bad| bad.at(n))?;
        if total.is_some() {
            return Ok(total);
        }
    }
    Ok(None)
}

fn message_of(events: Option<&Cow<'_, str>>, reasons: &Reasons<'_>) -> Option<String> {
    let words = events.into_iter().chain(reasons.codes.iter());
    let words: Vec<_> = words.map(AsRef::as_ref).collect();
    (!words.is_empty()).then(|| words.join(", "))
}
