//! The tests of an Evidently report, with what the sender adds to them: the report's name, and whose it is.
//!
//! The id of a metric is a hash of its parameters, thresholds with them, and the name of a test has its threshold in it; so
//! a test is told by its metric's type, what of the metric it looks at, and its own short id. Of several tests that are told
//! apart by their thresholds alone, the worst counts.

use super::checks::{Finding, MAX_CHECKS, Report, Subject, one_of};
use super::json::{self, Bad, Field};
use super::{MAX_LABELS, MAX_VALUE_BYTES, Notes, Parsed, Post, at_most, cut, read_time};
use crate::domain::alert::{Labels, Outcome, Run};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Each test has the tags of its report.
const MAX_TAGS_BYTES: usize = 1024;

/// What a test was set to, which may name values of the data.
const PRIVATE: [&str; 3] = ["metric_config", "test_config", "bound_test"];

const STATUSES: [(&str, Outcome); 5] = [
    ("SUCCESS", Outcome::Pass),
    ("WARNING", Outcome::Warn),
    ("FAIL", Outcome::Fail),
    ("ERROR", Outcome::Error),
    ("SKIPPED", Outcome::Skip),
];

/// The short ids of tests by their types: a test that could not run says the type alone.
const SHORT_IDS: [(&str, &str); 9] = [
    ("EqualMetricTest", "eq"),
    ("GreaterOrEqualMetricTest", "ge"),
    ("GreaterThanMetricTest", "gt"),
    ("IsInMetricTest", "is_in"),
    ("LessOrEqualMetricTest", "le"),
    ("LessThanMetricTest", "lt"),
    ("NotEqualMetricTest", "not_eq"),
    ("NotInMetricTest", "not_in"),
    ("ValueDriftTest", "drift"),
];

const NO_TESTS: &str = "$.tests: there are none, so that nothing is known of how the data are; is include_tests=True set?";
const NO_NAME: &str = "$: neither a report nor a model nor a dataset is named, \
    so that its tests are taken for those of any other such report";

pub(super) fn parse(root: &RawValue, post: &Post<'_>) -> Result<Parsed, Bad> {
    let [tests, metadata, tags, timestamp] =
        json::fields(root, ["tests", "metadata", "tags", "timestamp"])?;
    let Some(items) = tests.read(|value| json::list(value, MAX_CHECKS))? else {
        return Err(tests.wrong("a list of tests"));
    };
    let tags = tags.read(read_tags)?.unwrap_or_default();
    let under = metadata.read(about)?.unwrap_or_default();
    let over = about(root)?;
    let asked = |name: &str| post.parameter(name).map(Cow::Borrowed);
    let labels = [
        ("report", over.report.or(under.report)),
        ("model", over.model.or(under.model)),
        ("dataset", over.dataset.or(under.dataset)),
    ];
    let labels = labels
        .into_iter()
        .filter_map(|(name, told)| Some((name, told.or_else(|| asked(name))?)))
        .collect::<Labels>();
    let mut notes = Notes::default();
    if items.is_empty() {
        notes.add(|| NO_TESTS.to_owned());
    } else if labels.is_empty() {
        notes.add(|| NO_NAME.to_owned());
    }
    let report = Report {
        source: Cow::Borrowed("evidently"),
        owner: over.owner.or(under.owner).or_else(|| asked("owner")),
        labels,
        run: Run {
            finished_at: timestamp.read(read_time)?.flatten(),
            ..Run::default()
        },
        run_url: None,
        now: post.now,
    };
    report.fits(items.len())?;
    let items = items
        .into_iter()
        .enumerate()
        .map(|(n, item)| (format!("$.tests[{n}]"), item));
    let mut parsed = report.read_all(items, &PRIVATE, &mut notes, |item, _place, _notes| {
        test(item, &tags).map(Some)
    });
    parsed.notes = notes.0;
    Ok(parsed)
}

/// What Evidently itself does not say of a report.
#[derive(Default)]
struct About<'a> {
    report: Option<Cow<'a, str>>,
    model: Option<Cow<'a, str>>,
    dataset: Option<Cow<'a, str>>,
    owner: Option<Cow<'a, str>>,
}

fn about(object: &RawValue) -> Result<About<'_>, Bad> {
    let [report, model, dataset, owner] =
        json::fields(object, ["report", "model", "dataset", "owner"])?;
    Ok(About {
        report: name(report)?,
        model: name(model)?,
        dataset: name(dataset)?,
        owner: name(owner)?,
    })
}

fn name(field: Field<'_>) -> Result<Option<Cow<'_, str>>, Bad> {
    let text = field.read(|value| {
        let text = json::text(value)?;
        at_most("a name", MAX_VALUE_BYTES, text.len())?;
        Ok(text)
    })?;
    Ok(text.filter(|text| !text.is_empty()))
}

fn read_tags(tags: &RawValue) -> Result<Labels, Bad> {
    let joined = json::texts(tags, MAX_LABELS)?.join(",");
    Ok([("tags", cut(&joined, MAX_TAGS_BYTES))]
        .into_iter()
        .collect())
}

fn test<'a>(item: &'a RawValue, tags: &Labels) -> Result<(Outcome, Finding<'a>), Bad> {
    let [id, name, description, status] =
        json::fields(item, ["id", "name", "description", "status"])?;
    let [metric, config, bound] =
        json::fields(item, ["metric_config", "test_config", "bound_test"])?;
    let Some((metric_type, column)) = metric.read(read_metric)? else {
        return Err(metric.wrong("a metric"));
    };
    let bound = bound.read(read_bound)?.unwrap_or_default();
    let (is_critical, expected) = config.read(read_config)?.unwrap_or_default();
    let is_critical = bound.is_critical.or(is_critical);
    let short_id = id
        .text()?
        .or_else(|| bound.test_type.as_deref().map(short_id_of));
    let short_id = short_id.ok_or_else(|| id.wrong("a test id"))?;
    let of = bound.of.map(|of| format!(".{of}")).unwrap_or_default();
    let label = bound.label.map(|label| format!("[{label}]"));
    let label = label.unwrap_or_default();
    let found = Finding {
        check_id: format!("{}{label}{of}.{short_id}", last_part(&metric_type)).into(),
        subject: Subject {
            part: column.or(bound.column),
            ..Subject::default()
        },
        // Evidently says it of what a failed test would be, and says it of those that pass too.
        severity: is_critical.map(|is_critical| match is_critical {
            true => Cow::Borrowed("critical"),
            false => Cow::Borrowed("warning"),
        }),
        attributes: tags.clone(),
        name: name.text()?,
        sort: Some(metric_type),
        message: description.text()?,
        expected: expected.map(str::to_owned),
        ..Finding::default()
    };
    Ok((one_of(status, &STATUSES)?, found))
}

/// `lt` of `evidently:test_v2:LessThanMetricTest`.
fn short_id_of(test_type: &str) -> Text<'static> {
    let name = last_part(test_type);
    match SHORT_IDS.iter().find(|(known, _)| *known == name) {
        Some((_, short_id)) => Cow::Borrowed(short_id),
        None => Cow::Owned(name.to_owned()),
    }
}

/// The name of a type without what says where it is from, and in which version.
fn last_part(whole: &str) -> &str {
    match whole.rsplit_once(':') {
        Some((_, last)) if !last.is_empty() => last,
        _other => whole,
    }
}

type Text<'a> = Cow<'a, str>;

/// The type of the metric, and the column it looks at.
fn read_metric(metric: &RawValue) -> Result<(Text<'_>, Option<Text<'_>>), Bad> {
    let [params] = json::fields(metric, ["params"])?;
    let read = params.read(|params| {
        let [metric_type, column] = json::fields(params, ["type", "column"])?;
        let column = column.text()?;
        match metric_type.text()? {
            Some(metric_type) => Ok((metric_type, column)),
            None => Err(metric_type.wrong("the type of a metric")),
        }
    })?;
    read.ok_or_else(|| params.wrong("an object of parameters"))
}

/// Which value of its metric a test looks at, and what test it is.
#[derive(Default)]
struct Bound<'a> {
    test_type: Option<Text<'a>>,
    is_critical: Option<bool>,
    label: Option<Text<'a>>,
    column: Option<Text<'a>>,
    /// Of a metric of two values, the one that is not meant unless it is said.
    of: Option<&'static str>,
}

fn read_bound(bound: &RawValue) -> Result<Bound<'_>, Bad> {
    let [test, label, column, slot, is_count, is_mean] = json::fields(
        bound,
        ["test", "label", "column", "slot", "is_count", "is_mean"],
    )?;
    let test = test.read(|test| {
        let [test_type, is_critical] = json::fields(test, ["type", "is_critical"])?;
        Ok((test_type.text()?, yes_or_no(is_critical)?))
    })?;
    let (test_type, is_critical) = test.unwrap_or_default();
    let is_share = slot.text()?.is_some_and(|slot| slot == "share");
    let of = match (yes_or_no(is_count)?, yes_or_no(is_mean)?) {
        (Some(false), _) => Some("share"),
        (_, Some(false)) => Some("std"),
        _other => is_share.then_some("share"),
    };
    Ok(Bound {
        test_type,
        is_critical,
        label: label.read(read_label)?,
        column: column.text()?,
        of,
    })
}

/// A class: a text, a number, or one of true and false.
fn read_label(label: &RawValue) -> Result<Text<'_>, Bad> {
    match label.get() {
        written @ ("true" | "false") => Ok(Cow::Borrowed(written)),
        _other => json::text_or_number(label),
    }
}

/// Whether it is critical, and its threshold where that is one number: a list may hold values of the data.
fn read_config<'a>(config: &'a RawValue) -> Result<(Option<bool>, Option<&'a str>), Bad> {
    let [is_critical, threshold, expected] =
        json::fields(config, ["is_critical", "threshold", "expected"])?;
    let number = |field: Field<'a>| field.read(|value| Ok(json::number(value).ok()));
    let (threshold, expected) = (number(threshold)?.flatten(), number(expected)?.flatten());
    Ok((yes_or_no(is_critical)?, threshold.or(expected)))
}

fn yes_or_no(field: Field<'_>) -> Result<Option<bool>, Bad> {
    match field.as_written() {
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_other) => Err(field.wrong("true or false")),
        None => Ok(None),
    }
}
