//! Our own report of check results: one run of a tool, many checks, or a single check written without the list.

use super::checks::{
    Finding, MAX_CHECKS, MAX_RUN_ID_CHARS, MAX_SOURCE_CHARS, Report, Subject, TWIN, no_longer,
    one_of, required, required_id, short,
};
use super::json::{self, Bad, Field};
use super::{Around, Lack, Notes, Parsed, Scope, labels, read_time, words};
use crate::domain::alert::{Labels, Outcome, Run};
use crate::domain::time::Timestamp;
use serde_json::value::RawValue;
use std::borrow::Cow;

const OUTCOMES: [Outcome; 5] = [
    Outcome::Pass,
    Outcome::Warn,
    Outcome::Fail,
    Outcome::Error,
    Outcome::Skip,
];
const SUBJECTS: [&str; 6] = ["dataset", "model", "pipeline", "host", "service", "other"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Listed,
    /// The report is the check, and its `labels` are the report's.
    Single,
}

pub(super) fn parse(root: &RawValue, now: Timestamp) -> Result<Parsed, Bad> {
    let [version, scope, checks, check_id, status] =
        json::fields(root, ["version", "scope", "checks", "check_id", "status"])?;
    let form = match (
        checks.is_absent(),
        check_id.is_absent() && status.is_absent(),
    ) {
        (false, _) => Form::Listed,
        (true, false) => Form::Single,
        (true, true) => return Err(checks.wrong("a list of checks")),
    };
    let around = around(root, version)?;
    let report = report(root, now)?;
    match version.as_written() {
        Some("\"1\"" | "1") => {}
        None if form == Form::Single => {}
        _other => return Err(version.wrong("version \"1\"")),
    }
    let scope = scope.text()?.map(|scope| Scope {
        source: report.source.clone().into_owned(),
        scope: scope.into_owned(),
    });
    let items = match checks.read(|value| json::list(value, MAX_CHECKS))? {
        Some(items) => items,
        None => vec![root],
    };
    report.fits(items.len())?;

    let mut notes = Notes::default();
    if report.labels.get(TWIN).is_some() {
        notes.add(|| format!("$.labels.{TWIN}: left out, the name is taken"));
    }
    let items = items.into_iter().enumerate().map(|(n, item)| {
        let place = match form {
            Form::Listed => format!("$.checks[{n}]"),
            Form::Single => "$".to_owned(),
        };
        (place, item)
    });
    // `details` is never kept: it may hold rows of data.
    let mut parsed = report.read_all(items, &["details"], &mut notes, |item, place, notes| {
        check(item, form, place, notes).map(Some)
    });
    parsed.notes = notes.0;
    // What an item alone is complete for, is no more than itself: `scope` does not stand around it.
    parsed.enclose(|| match form {
        Form::Listed => json::around(&around, "checks"),
        Form::Single => Some(Around::default()),
    });
    for item in &mut parsed.rejected {
        // Nobody looks at `details`.
        item.lacks = item.lacks.filter(|lack| *lack != Lack::Rows);
    }
    parsed.scope = scope;
    Ok(parsed)
}

/// What a report says of all its checks.
fn around<'a>(root: &'a RawValue, version: Field<'a>) -> Result<[Field<'a>; 5], Bad> {
    let [source, owner, labels, run] = json::fields(root, ["source", "owner", "labels", "run"])?;
    Ok([version, source, owner, labels, run])
}

fn report(root: &RawValue, now: Timestamp) -> Result<Report<'_>, Bad> {
    let [source, owner, identity, run] = json::fields(root, ["source", "owner", "labels", "run"])?;
    let (run, run_url) = run.read(read_run)?.unwrap_or_default();
    Ok(Report {
        source: required(source, "a source", MAX_SOURCE_CHARS)?,
        owner: owner.text()?,
        labels: identity.read(labels)?.unwrap_or_default(),
        run,
        run_url,
        now,
    })
}

fn read_run(run: &RawValue) -> Result<(Run, Option<Cow<'_, str>>), Bad> {
    let [id, url, attempt, finished_at, epoch] = json::fields(
        run,
        ["id", "url", "attempt", "finished_at", "finished_at_epoch"],
    )?;
    let finished_at = finished_at.read(read_time)?.flatten();
    let epoch = epoch.read(read_time)?.flatten();
    let id_text = id.read(json::text_or_number)?;
    if let Some(text) = &id_text {
        no_longer(id, text, "a run id", MAX_RUN_ID_CHARS)?;
    }
    let run = Run {
        id: id_text.filter(|text| !text.is_empty()).map(Cow::into_owned),
        attempt: attempt.read(json::whole_number)?,
        finished_at: finished_at.or(epoch),
    };
    Ok((run, url.text()?))
}

fn check<'a>(
    item: &'a RawValue,
    form: Form,
    place: &str,
    notes: &mut Notes,
) -> Result<(Outcome, Finding<'a>), Bad> {
    let [check_id, status, severity, subject, attributes] = json::fields(
        item,
        ["check_id", "status", "severity", "subject", "labels"],
    )?;
    let [annotations, name, sort, message, owner] = json::fields(
        item,
        [
            "annotations",
            "check_name",
            "check_type",
            "message",
            "owner",
        ],
    )?;
    let [observed, expected, failing, total] =
        json::fields(item, ["observed", "expected", "failing_rows", "total_rows"])?;
    let check_id = required_id(check_id)?;
    let outcome = one_of(status, &OUTCOMES.map(|outcome| (outcome.as_str(), outcome)))?;
    let subject = subject.read(read_subject)?.unwrap_or_default();
    let severity = severity.text()?;
    let attributes = match form {
        Form::Single => None,
        Form::Listed => attributes.read(|value| words(value, &format!("{place}.labels"), notes))?,
    };
    let annotations =
        annotations.read(|value| words(value, &format!("{place}.annotations"), notes))?;
    let found = Finding {
        check_id,
        subject,
        labels: Labels::default(),
        severity,
        attributes: attributes.unwrap_or_default(),
        annotations: annotations.unwrap_or_default(),
        name: name.text()?,
        sort: sort.text()?,
        message: message.text()?,
        owner: owner.text()?,
        observed: observed.read(short)?,
        expected: expected.read(short)?,
        failing: failing.read(json::number)?,
        total: total.read(json::number)?,
    };
    Ok((outcome, found))
}

fn read_subject(subject: &RawValue) -> Result<Subject<'_>, Bad> {
    let [kind, name, version, part] = json::fields(subject, ["kind", "name", "version", "part"])?;
    let wanted = kind.text()?.unwrap_or(Cow::Borrowed("other"));
    let Some(known) = SUBJECTS.into_iter().find(|known| *known == wanted) else {
        return Err(kind.wrong(&format!("one of {}", SUBJECTS.join(", "))));
    };
    Ok(Subject {
        kind: known,
        name: name.text()?,
        version: version.read(json::text_or_number)?,
        part: part.text()?,
    })
}
