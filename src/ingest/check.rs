//! Our own report of check results: one run of a tool, many checks, or a single check written without the list.

use super::json::{self, Bad, Field};
use super::{MAX_ITEM_BYTES, Notes, Parsed, Rejected, Scope, cut, labels, read_time, words};
use crate::domain::alert::{Labels, Outcome, Run, Said, Sighting};
use crate::domain::time::Timestamp;
use serde_json::value::RawValue;
use std::borrow::Cow;

const MAX_CHECKS: usize = 10_000;
const MAX_SOURCE_CHARS: usize = 64;
const MAX_CHECK_ID_CHARS: usize = 512;
const MAX_RUN_ID_CHARS: usize = 256;
const MAX_MESSAGE_BYTES: usize = 8 * 1024;
/// Of what was observed and expected: enough for a number or a condition, too little for rows of data.
const MAX_OBSERVED_BYTES: usize = 1024;

/// Of what a report says once for all of its checks, for all of them together: each check has it as its own.
const MAX_SHARED_BYTES: usize = 32 << 20;

const OUTCOMES: [Outcome; 5] = [
    Outcome::Pass,
    Outcome::Warn,
    Outcome::Fail,
    Outcome::Error,
    Outcome::Skip,
];
const SUBJECTS: [&str; 6] = ["dataset", "model", "pipeline", "host", "service", "other"];
/// Tells the twin of an alert whose check could not run, and so is no sender's to set.
const TWIN: &str = "check";
/// The attributes that are ours to set.
const BUILT_IN: [&str; 4] = ["source", "kind", "outcome", "severity"];

/// What holds for each check of a report.
struct Report<'a> {
    source: Cow<'a, str>,
    owner: Option<Cow<'a, str>>,
    labels: Labels,
    run: Run,
    run_url: Option<Cow<'a, str>>,
    /// When it came: no alert of it began later, whatever the clock of its sender shows.
    now: Timestamp,
    form: Form,
}

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
    let report = report(root, form, now)?;
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
    let mut parsed = Parsed::default();
    for (n, item) in items.into_iter().enumerate() {
        let place = match form {
            Form::Listed => format!("$.checks[{n}]"),
            Form::Single => "$".to_owned(),
        };
        match check(item, &report, &place, &mut notes) {
            Ok(sighting) => parsed.sightings.push(sighting),
            Err(bad) => parsed.rejected.push(Rejected {
                path: place + &bad.path,
                reason: bad.reason,
                item: json::compact_without("details", item, MAX_ITEM_BYTES),
            }),
        }
    }
    parsed.notes = notes.0;
    parsed.scope = scope;
    Ok(parsed)
}

impl Report<'_> {
    /// Refuses a report whose labels and words would take too much where every check has them: a small body could say a
    /// lot of them once, and have many checks.
    fn fits(&self, n_checks: usize) -> Result<(), Bad> {
        let labels = self.labels.iter();
        let words = self.owner.iter().chain(&self.run_url);
        let bytes = labels
            .map(|(name, value)| name.len() + value.len())
            .sum::<usize>()
            + words.map(|text| text.len()).sum::<usize>();
        if bytes.saturating_mul(n_checks) <= MAX_SHARED_BYTES {
            return Ok(());
        }
        let most = MAX_SHARED_BYTES / n_checks.max(1);
        let reason = format!(
            "labels, owner and run url of at most {most} bytes are wanted for {n_checks} checks, found {bytes}; \
            send fewer checks at a time"
        );
        Err(Bad::here(reason))
    }
}

fn report(root: &RawValue, form: Form, now: Timestamp) -> Result<Report<'_>, Bad> {
    let [source, owner, identity, run] = json::fields(root, ["source", "owner", "labels", "run"])?;
    let (run, run_url) = run.read(read_run)?.unwrap_or_default();
    Ok(Report {
        source: required(source, "a source", MAX_SOURCE_CHARS)?,
        owner: owner.text()?,
        labels: identity.read(labels)?.unwrap_or_default(),
        run,
        run_url,
        now,
        form,
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

fn required<'a>(field: Field<'a>, what: &str, most: usize) -> Result<Cow<'a, str>, Bad> {
    let text = field.text()?.ok_or_else(|| field.wrong(what))?;
    no_longer(field, &text, what, most)?;
    Ok(text)
}

fn no_longer(field: Field<'_>, text: &str, what: &str, most: usize) -> Result<(), Bad> {
    if text.chars().nth(most).is_some() {
        return Err(field.wrong(&format!("{what} of at most {most} characters")));
    }
    Ok(())
}

fn check(
    item: &RawValue,
    report: &Report<'_>,
    place: &str,
    notes: &mut Notes,
) -> Result<Sighting, Bad> {
    let [check_id, status, severity, subject, own] = json::fields(
        item,
        ["check_id", "status", "severity", "subject", "labels"],
    )?;
    let check_id = required(check_id, "a check id", MAX_CHECK_ID_CHARS)?;
    let outcome = read_outcome(status)?;
    let subject = subject.read(read_subject)?.unwrap_or_default();
    let severity = severity.text()?;
    let attributes = match report.form {
        Form::Single => None,
        Form::Listed => own.read(|value| words(value, &format!("{place}.labels"), notes))?,
    };
    let annotations = annotations(item, report, place, notes)?;
    let extra = [
        ("severity", severity.as_deref().unwrap_or_default()),
        ("version", subject.version.as_deref().unwrap_or_default()),
    ];
    Ok(Sighting {
        labels: identity(report, &check_id, &subject),
        annotations: merged(&annotations, &extra),
        attributes: attributes
            .unwrap_or_default()
            .iter()
            .filter(|(name, _)| !BUILT_IN.contains(name))
            .collect(),
        severity: severity.map(Cow::into_owned),
        starts_at: report.run.finished_at.map(|at| at.min(report.now)),
        ends_at: None,
        said: Said::Check {
            outcome,
            run: report.run.clone(),
        },
    })
}

fn read_outcome(status: Field<'_>) -> Result<Outcome, Bad> {
    // A status that is no text is told as what was found, like any other.
    let text = status.text().ok().flatten().unwrap_or_default();
    OUTCOMES
        .into_iter()
        .find(|outcome| outcome.as_str() == text)
        .ok_or_else(|| {
            let known = OUTCOMES.map(Outcome::as_str).join(", ");
            status.wrong(&format!("one of {known}"))
        })
}

/// What a check looked at.
#[derive(Default)]
struct Subject<'a> {
    kind: &'static str,
    name: Option<Cow<'a, str>>,
    version: Option<Cow<'a, str>>,
    part: Option<Cow<'a, str>>,
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

/// The report's labels under our own, which win.
fn identity(report: &Report<'_>, check_id: &str, subject: &Subject<'_>) -> Labels {
    let ours = [
        (subject.kind, subject.name.as_deref().unwrap_or_default()),
        ("part", subject.part.as_deref().unwrap_or_default()),
        ("tool", &report.source),
        ("alertname", check_id),
    ];
    let theirs = report.labels.iter().filter(|(name, _)| *name != TWIN);
    let ours = ours.into_iter().filter(|(_, value)| !value.is_empty());
    theirs.chain(ours).collect()
}

/// The check's own annotations, and the fields that are words for people, which win. `details` is never kept: it may hold
/// rows of data.
fn annotations(
    item: &RawValue,
    report: &Report<'_>,
    place: &str,
    notes: &mut Notes,
) -> Result<Labels, Bad> {
    let [
        own,
        name,
        sort,
        message,
        owner,
        observed,
        expected,
        failing,
        total,
    ] = json::fields(
        item,
        [
            "annotations",
            "check_name",
            "check_type",
            "message",
            "owner",
            "observed",
            "expected",
            "failing_rows",
            "total_rows",
        ],
    )?;
    let own = own.read(|value| words(value, &format!("{place}.annotations"), notes))?;
    let (name, sort, owner) = (name.text()?, sort.text()?, owner.text()?);
    let message = message.text()?.unwrap_or_default();
    let kept = cut(&message, MAX_MESSAGE_BYTES);
    if kept.len() < message.len() {
        let (from, to) = (message.len(), kept.len());
        notes.add(|| format!("{place}.message: cut from {from} bytes to {to}"));
    }
    let observed = observed.read(short)?.unwrap_or_default();
    let expected = expected.read(short)?.unwrap_or_default();
    let fields = [
        ("check_name", name.as_deref().unwrap_or_default()),
        ("check_type", sort.as_deref().unwrap_or_default()),
        ("message", kept),
        ("observed", &observed),
        ("expected", &expected),
        (
            "failing_rows",
            failing.read(json::number)?.unwrap_or_default(),
        ),
        ("total_rows", total.read(json::number)?.unwrap_or_default()),
        (
            "owner",
            owner
                .as_ref()
                .or(report.owner.as_ref())
                .map_or("", Cow::as_ref),
        ),
        ("run_url", report.run_url.as_deref().unwrap_or_default()),
    ];
    Ok(merged(&own.unwrap_or_default(), &fields))
}

/// The first, with those of the others that say something.
fn merged(under: &Labels, over: &[(&str, &str)]) -> Labels {
    let over = over.iter().copied().filter(|(_, value)| !value.is_empty());
    under.iter().chain(over).collect()
}

/// A text as it is, anything else as JSON; short either way.
fn short(value: &RawValue) -> Result<String, Bad> {
    match json::text(value) {
        Ok(text) if text.len() > MAX_OBSERVED_BYTES => {
            Ok(format!("{}…", cut(&text, MAX_OBSERVED_BYTES)))
        }
        Ok(text) => Ok(text.into_owned()),
        Err(_no_text) => Ok(json::compact(value, MAX_OBSERVED_BYTES)),
    }
}
