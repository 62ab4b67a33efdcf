//! A checkpoint of Great Expectations, as our action posts it: validations, each of one suite on one asset, with a result
//! for each expectation.
//!
//! The ids that it gives to expectations and validations are new ones in each process. So an expectation is known by its
//! type, its column and what else it expects: one with another threshold is another expectation.

use super::checks::{
    Finding, MAX_CHECKS, MAX_OBSERVED_BYTES, Report, Subject, any_failed, measured, no_longer,
    required, required_boolean, required_id, short,
};
use super::json::{self, Bad, Field};
use super::{Notes, Parsed, Post, Rejected, Scope, read_time};
use crate::domain::alert::{Labels, Outcome, Run};
use crate::domain::time::Timestamp;
use serde_json::value::RawValue;
use std::borrow::Cow;

const TOOL: &str = "great_expectations";
/// The check that a checkpoint is itself: it could not run where it failed and no result says why.
const CHECKPOINT: &str = "checkpoint";
const MAX_NAME_CHARS: usize = 256;
const MAX_TIME_CHARS: usize = 64;
const MAX_KWARGS: usize = 256;
/// Of the id of a validation: its suite, the name and time of its run, and its batch.
const MAX_ID_PARTS: usize = 16;
/// Which batch was looked at differs from run to run.
const BATCH: &str = "batch_id";
/// What may hold values of rows, or results that do.
const PRIVATE: [&str; 4] = ["result", "results", "exception_info", "rendered_content"];

/// The run of a checkpoint, which each of its validations is a part of.
struct Checkpoint<'a> {
    name: Cow<'a, str>,
    time: RunTime<'a>,
    now: Timestamp,
}

/// When a run began; nothing says when it ended.
#[derive(Default)]
struct RunTime<'a> {
    as_written: Option<Cow<'a, str>>,
    at: Option<Timestamp>,
}

pub(super) fn parse(root: &RawValue, post: &Post<'_>) -> Result<Parsed, Bad> {
    let [validations, name, success, run_id] = json::fields(
        root,
        ["validation_results", "checkpoint", "success", "run_id"],
    )?;
    let items = validations
        .read(|list| json::list(list, MAX_CHECKS))?
        .ok_or_else(|| validations.wrong("a list of validations"))?;
    let checkpoint = Checkpoint {
        name: required(name, "the name of a checkpoint", MAX_NAME_CHARS)?,
        time: run_id.read(read_run_time)?.unwrap_or_default(),
        now: post.now,
    };
    let failed = !required_boolean(success)?;

    let mut notes = Notes::default();
    let mut parsed = Parsed::default();
    let mut unexplained = false;
    let (mut n_left, n_items) = (MAX_CHECKS, items.len());
    for (n, item) in items.into_iter().enumerate() {
        let place = format!("$.validation_results[{n}]");
        match checkpoint.validation(item, &place, &mut n_left, &mut notes) {
            Ok((failed, part)) => {
                unexplained |= failed && !any_failed(&part.sightings);
                parsed.sightings.extend(part.sightings);
                parsed.rejected.extend(part.rejected);
            }
            Err(bad) => {
                let path = place + &bad.path;
                let rejected = Rejected::new(path, bad.reason, item, &PRIVATE);
                parsed.rejected.push(rejected);
            }
        }
    }
    unexplained |= failed && !any_failed(&parsed.sightings);
    // A checkpoint runs all of its validations, and each of them all of its suite.
    parsed.scope = (n_items > 0 && !unexplained).then(|| Scope {
        source: TOOL.to_owned(),
        scope: checkpoint.name.clone().into_owned(),
    });
    if let Some(found) = own_finding(unexplained, &parsed) {
        let report = checkpoint.report([], None);
        parsed.n_own_passes = usize::from(found.0 == Outcome::Pass);
        let own = report.sighting(found, "$", &mut notes)?;
        parsed.sightings.push(own);
    }
    parsed.notes = notes.0;
    Ok(parsed)
}

/// What the checkpoint is itself: nothing is known of one that says all is well in results of which none could be read.
fn own_finding(unexplained: bool, parsed: &Parsed) -> Option<(Outcome, Finding<'static>)> {
    let (outcome, message) = match unexplained {
        true => {
            let message = "it failed, but no result in it that could be read says why";
            (Outcome::Error, Some(message.into()))
        }
        false if parsed.sightings.is_empty() && !parsed.rejected.is_empty() => return None,
        false => (Outcome::Pass, None),
    };
    let found = Finding {
        check_id: CHECKPOINT.into(),
        message,
        ..Finding::default()
    };
    Some((outcome, found))
}

fn read_run_time(run_id: &RawValue) -> Result<RunTime<'_>, Bad> {
    let [time] = json::fields(run_id, ["run_time"])?;
    let as_written = time.text()?;
    if let Some(text) = &as_written {
        no_longer(time, text, "a time", MAX_TIME_CHARS)?;
    }
    let at = time.read(read_time)?.flatten();
    Ok(RunTime { as_written, at })
}

impl Checkpoint<'_> {
    /// Whether a validation failed, and what its expectations found.
    fn validation(
        &self,
        item: &RawValue,
        place: &str,
        n_left: &mut usize,
        notes: &mut Notes,
    ) -> Result<(bool, Parsed), Bad> {
        let [success, results, suite, id, meta] = json::fields(
            item,
            [
                "success",
                "results",
                "suite_name",
                "validation_result_id",
                "meta",
            ],
        )?;
        let failed = !required_boolean(success)?;
        let items = results
            .read(|list| json::list(list, *n_left))?
            .ok_or_else(|| results.wrong("a list of results"))?;
        let suite = suite_of(suite, id)?;
        let dataset = meta.read(read_dataset)?.flatten();
        if dataset.is_none() {
            notes.add(|| format!("{place}.meta: no asset is named, so its alerts name none"));
        }
        let labels = [("suite", Some(&*suite)), ("dataset", dataset.as_deref())];
        let report = self.report(labels, Some(&suite));
        report.fits(items.len())?;
        *n_left -= items.len();
        let items = items.into_iter().enumerate();
        let items = items.map(|(n, item)| (format!("{place}.results[{n}]"), item));
        let parsed = report.read_all(items, &PRIVATE, notes, |item, place, notes| {
            expectation(item, place, notes).map(Some)
        });
        Ok((failed, parsed))
    }

    /// The report of a part of the run, with the part's own labels.
    fn report<const N: usize>(
        &self,
        labels: [(&str, Option<&str>); N],
        part: Option<&str>,
    ) -> Report<'static> {
        let labels = labels
            .into_iter()
            .chain([("checkpoint", Some(&*self.name))]);
        let id = self.time.as_written.as_deref().map(|time| match part {
            Some(part) => format!("{time} {part}"),
            None => time.to_owned(),
        });
        Report {
            source: TOOL.into(),
            owner: None,
            labels: labels
                .map(|(name, value)| (name, value.unwrap_or_default()))
                .collect(),
            run: Run {
                id,
                attempt: None,
                finished_at: self.time.at,
            },
            run_url: None,
            now: self.now,
        }
    }
}

/// The name of the suite, which is also the first part of the validation's id.
fn suite_of<'a>(name: Field<'a>, id: Field<'a>) -> Result<Cow<'a, str>, Bad> {
    let what = "the name of a suite";
    if !name.is_absent() {
        return required(name, what, MAX_NAME_CHARS);
    }
    let parts = id.read(|list| json::list(list, MAX_ID_PARTS))?;
    let Some(first) = parts.and_then(|parts| parts.first().copied()) else {
        return Err(name.wrong(what));
    };
    let first = json::text(first).map_err(|bad| bad.at(0));
    let suite = id.read(|_list| first)?.unwrap_or_default();
    no_longer(id, &suite, what, MAX_NAME_CHARS)?;
    Ok(suite)
}

/// The asset in its data source: `warehouse.orders`.
fn read_dataset(meta: &RawValue) -> Result<Option<String>, Bad> {
    let [batch] = json::fields(meta, ["active_batch_definition"])?;
    let dataset = batch.read(|batch| {
        let [source, asset] = json::fields(batch, ["datasource_name", "data_asset_name"])?;
        let mut names = Vec::new();
        for name in [source, asset] {
            if let Some(text) = name.text()? {
                no_longer(name, &text, "a name", MAX_NAME_CHARS)?;
                names.push(text);
            }
        }
        Ok(names.join("."))
    })?;
    Ok(dataset.filter(|name| !name.is_empty()))
}

fn expectation<'a>(
    item: &'a RawValue,
    place: &str,
    notes: &mut Notes,
) -> Result<(Outcome, Finding<'a>), Bad> {
    let [config, success, result, raised] = json::fields(
        item,
        ["expectation_config", "success", "result", "exception_info"],
    )?;
    let found = config
        .read(read_config)?
        .ok_or_else(|| config.wrong("the configuration of an expectation"))?;
    let succeeded = required_boolean(success)?;
    let column = found.subject.part.as_deref();
    if let Some(message) = raised.read(|info| read_exception(info, column))?.flatten() {
        let found = Finding {
            message: Some(message.into()),
            ..found
        };
        return Ok((Outcome::Error, found));
    }
    // What was measured is worth no rejected result: its shape is each expectation's own.
    let measures = result.read(read_measures).unwrap_or_else(|bad| {
        notes.add(|| format!("{place}{}: left out, {}", bad.path, bad.reason));
        None
    });
    let (observed, failing, total) = measures.unwrap_or_default();
    let found = Finding {
        observed,
        failing,
        total,
        ..found
    };
    let outcome = match succeeded {
        true => Outcome::Pass,
        false => Outcome::Fail,
    };
    Ok((outcome, found))
}

fn read_config(config: &RawValue) -> Result<Finding<'_>, Bad> {
    let [kind, kwargs, severity, meta] =
        json::fields(config, ["type", "kwargs", "severity", "meta"])?;
    let [name, remarks] = json::fields(config, ["description", "notes"])?;
    let check_id = required_id(kind)?;
    let kwargs = kwargs.read(read_kwargs)?.unwrap_or_default();
    let owner = meta.read(|meta| {
        let [owner] = json::fields(meta, ["owner"])?;
        owner.read(short)
    })?;
    let remarks = remarks.read(short)?;
    Ok(Finding {
        check_id,
        subject: Subject {
            part: kwargs.column,
            ..Subject::default()
        },
        labels: [("kwargs", kwargs.digest)].into_iter().collect(),
        severity: severity.text()?,
        annotations: [("notes", remarks.unwrap_or_default())]
            .into_iter()
            .collect(),
        name: name.text()?,
        owner: owner.flatten().map(Cow::Owned),
        expected: kwargs.expected,
        ..Finding::default()
    })
}

/// What an expectation expects.
#[derive(Default)]
struct Kwargs<'a> {
    column: Option<Cow<'a, str>>,
    /// Of all others, whatever their order; empty where there are none.
    digest: String,
    expected: Option<String>,
}

fn read_kwargs(kwargs: &RawValue) -> Result<Kwargs<'_>, Bad> {
    let pairs = json::pairs(kwargs, MAX_KWARGS)?;
    if pairs.n_found > MAX_KWARGS {
        let n = pairs.n_found;
        let reason = format!("at most {MAX_KWARGS} kwargs are wanted, found {n}");
        return Err(Bad::here(reason));
    }
    let (mut column, mut others) = (None, Vec::new());
    for (name, value) in pairs.kept {
        match name.as_str() {
            BATCH => {}
            _unset if json::is_null(value) => {}
            "column" => {
                let text = json::text_or_number(value).map_err(|bad| bad.under(&name))?;
                column = Some(text);
            }
            _other => others.push((name, canonical(value))),
        }
    }
    if others.is_empty() {
        return Ok(Kwargs {
            column,
            ..Kwargs::default()
        });
    }
    let others: Labels = others.into_iter().collect();
    Ok(Kwargs {
        column,
        digest: others.fingerprint().to_string(),
        expected: Some(json::compact_without(
            &[BATCH, "column"],
            kwargs,
            MAX_OBSERVED_BYTES,
        )),
    })
}

/// One writing for what is the same: Python writes a number as 1 or as 1.0 by where it came from.
fn canonical(value: &RawValue) -> String {
    let text = json::compact(value, usize::MAX);
    match text.strip_suffix(".0") {
        Some(whole) if json::is_number(value) => whole.to_owned(),
        _other => text,
    }
}

type Measures<'a> = (Option<String>, Option<&'a str>, Option<&'a str>);

/// What was measured, of how many rows, and how many were not as expected: no values of rows.
fn read_measures(result: &RawValue) -> Result<Measures<'_>, Bad> {
    let [observed, unexpected, total] = json::fields(
        result,
        ["observed_value", "unexpected_count", "element_count"],
    )?;
    let observed = observed.read(|value| Ok(measured(value)))?.flatten();
    Ok((
        observed.map(Cow::into_owned),
        unexpected.read(json::number)?,
        total.read(json::number)?,
    ))
}

/// What to say of an expectation that raised an exception; none where it did not.
///
/// It comes in two shapes: flat, or by the metric that could not be computed.
fn read_exception(info: &RawValue, column: Option<&str>) -> Result<Option<String>, Bad> {
    let [flat] = json::fields(info, ["raised_exception"])?;
    if !flat.is_absent() {
        return read_raised(info, "", column);
    }
    for (metric, info) in json::pairs(info, MAX_CHECKS)?.kept {
        if json::is_null(info) {
            continue;
        }
        let raised = read_raised(info, &metric, column).map_err(|bad| bad.under(&metric))?;
        if raised.is_some() {
            return Ok(raised);
        }
    }
    Ok(None)
}

/// The words of an exception and its traceback may quote rows, and parameters of a query: only its name is kept, that of
/// the metric, and that the column is not there, which is the commonest of all.
fn read_raised(info: &RawValue, metric: &str, column: Option<&str>) -> Result<Option<String>, Bad> {
    let [raised, traceback, words] = json::fields(
        info,
        [
            "raised_exception",
            "exception_traceback",
            "exception_message",
        ],
    )?;
    if !raised.read(json::boolean)?.unwrap_or_default() {
        return Ok(None);
    }
    let text = |field: Field<'_>| field.text().ok().flatten().unwrap_or_default().into_owned();
    let traceback = text(traceback);
    let mut message = exception_name(&traceback)
        .unwrap_or("an exception")
        .to_owned();
    if let Some(metric) = metric_name(metric) {
        message.push_str(&format!(" in {metric}"));
    }
    let not_there = |column| format!("The column \"{column}\" in BatchData does not exist");
    if column.is_some_and(|column| text(words).contains(&not_there(column))) {
        message.push_str(": there is no such column");
    }
    Ok(Some(message))
}

/// `MetricResolutionError`, from the last line that names one.
fn exception_name(traceback: &str) -> Option<&str> {
    traceback.lines().rev().find_map(|line| {
        let path = line.split(':').next()?;
        let name = path.rsplit('.').next()?;
        let is_one = name.ends_with("Error") || name.ends_with("Exception");
        (is_one && is_code(path)).then_some(name)
    })
}

/// `column_values.between.condition`, from `MetricConfigurationID(metric_name='…', …)`.
fn metric_name(metric: &str) -> Option<&str> {
    let (_, rest) = metric.split_once("metric_name='")?;
    let (name, _) = rest.split_once('\'')?;
    is_code(name).then_some(name)
}

/// Whether a text is a dotted name, as code has them.
fn is_code(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    (1..=MAX_NAME_CHARS).contains(&text.len()) && text.chars().all(fits)
}
