//! The run webhook of dbt Cloud: one run of one job, without the results of its tests.
//!
//! The identity of a job is its number in its account; what it, its project and its environment are called may change, and are attributes. The
//! reason of a run is not kept: it names who started it.

use super::checks::{
    Finding, MAX_RUN_ID_CHARS, Report, Subject, labels_of_address, no_longer, one_of,
};
use super::json::{self, Bad, Field};
use super::{MAX_NAME_BYTES, Notes, Parsed, Post, cut, read_time};
use crate::domain::alert::{Outcome, Run};
use crate::domain::time::Timestamp;
use serde_json::value::RawValue;
use std::borrow::Cow;

const MAX_ID_CHARS: usize = 64;
const MAX_WORD_BYTES: usize = 64;

#[derive(Clone, Copy)]
enum Event {
    Started,
    Completed,
    Errored,
}

const EVENTS: [(&str, Event); 3] = [
    ("job.run.started", Event::Started),
    ("job.run.completed", Event::Completed),
    ("job.run.errored", Event::Errored),
];

/// What a run came to. That its job fails is what the alert of a job is about; a run that was cancelled did not tell, and it may have been a time
/// limit that did it.
const OUTCOMES: [(&str, Outcome); 6] = [
    ("Success", Outcome::Pass),
    ("Errored", Outcome::Fail),
    ("Error", Outcome::Fail),
    ("Failed", Outcome::Fail),
    ("Cancelled", Outcome::Error),
    ("Canceled", Outcome::Error),
];

pub(super) fn parse(root: &RawValue, post: &Post<'_>) -> Result<Parsed, Bad> {
    let [account, event_id, timestamp, event, data] = json::fields(
        root,
        ["accountId", "eventId", "timestamp", "eventType", "data"],
    )?;
    let mut notes = Notes::default();
    let event = one_of(event, &EVENTS)?;
    let account = read_id(account, "an account id")?;
    // Each event has an id of its own, and keeps it when it is sent again.
    let event_id = optional_id(event_id, "an event id", MAX_RUN_ID_CHARS)?;
    let sent_at = timestamp.read(read_time)?.flatten();
    let Some(told) = data.read(|value| read_run(value, event))? else {
        return Err(data.wrong("the data of a run"));
    };
    let report = Report {
        source: Cow::Borrowed("dbt_cloud"),
        owner: post.parameter("owner").map(Cow::Borrowed),
        labels: labels_of_address(post, &mut notes)?.with("account", &account),
        run: Run {
            id: event_id.map(Cow::into_owned),
            attempt: None,
            finished_at: told.finished_at.or(sent_at),
        },
        run_url: None,
        now: post.now,
    };
    let sighting = report.sighting((told.outcome, told.found), "$", &mut notes)?;
    Ok(Parsed {
        sightings: vec![sighting],
        notes: notes.0,
        ..Parsed::default()
    })
}

struct Told<'a> {
    outcome: Outcome,
    finished_at: Option<Timestamp>,
    found: Finding<'a>,
}

fn read_run(data: &RawValue, event: Event) -> Result<Told<'_>, Bad> {
    let [job, name, project, environment, environment_id] = json::fields(
        data,
        [
            "jobId",
            "jobName",
            "projectName",
            "environmentName",
            "environmentId",
        ],
    )?;
    let [run, status, message, finished_at, errored_at] = json::fields(
        data,
        [
            "runId",
            "runStatus",
            "runStatusMessage",
            "runFinishedAt",
            "runErroredAt",
        ],
    )?;
    let job = read_id(job, "a job id")?;
    let name = name.text()?;
    let run = optional_id(run, "a run id", MAX_ID_CHARS)?;
    let finished_at = finished_at.read(read_time)?.flatten();
    let errored_at = errored_at.read(read_time)?.flatten();
    // Nothing to say is said as Python prints it.
    let message = message.text()?.filter(|text| text != "None");
    let attributes = [
        ("job", name.clone()),
        // Its number is no word for people.
        ("title", name.clone()),
        ("project", project.text()?),
        ("environment", environment.text()?),
        (
            "environment_id",
            optional_id(environment_id, "an environment id", MAX_ID_CHARS)?,
        ),
    ];
    let said = || {
        let word = status.text().ok().flatten()?;
        let run = run.as_deref()?;
        Some(Cow::Owned(format!(
            "run {run}: {}",
            cut(&word, MAX_WORD_BYTES)
        )))
    };
    let attributes = attributes.iter();
    let found = Finding {
        check_id: Cow::Borrowed("job_run"),
        subject: Subject {
            kind: "pipeline",
            name: Some(job),
            ..Subject::default()
        },
        attributes: attributes
            .filter_map(|(name, text)| Some((*name, cut(text.as_ref()?, MAX_NAME_BYTES))))
            .collect(),
        annotations: run.iter().map(|run| ("run_id", run)).collect(),
        message: message.or_else(said),
        name,
        ..Finding::default()
    };
    Ok(Told {
        outcome: read_outcome(event, status)?,
        finished_at: finished_at.or(errored_at),
        found,
    })
}

/// A failed run is told twice, as errored and as completed, in whatever order.
fn read_outcome(event: Event, status: Field<'_>) -> Result<Outcome, Bad> {
    let told = one_of(status, &OUTCOMES);
    match event {
        Event::Started => Ok(Outcome::Skip),
        Event::Completed => told,
        Event::Errored if matches!(told, Ok(Outcome::Error)) => told,
        Event::Errored => Ok(Outcome::Fail),
    }
}

fn read_id<'a>(field: Field<'a>, what: &str) -> Result<Cow<'a, str>, Bad> {
    optional_id(field, what, MAX_ID_CHARS)?.ok_or_else(|| field.wrong(what))
}

/// An id: dbt Cloud writes some as numbers and some as texts.
fn optional_id<'a>(
    field: Field<'a>,
    what: &str,
    most_chars: usize,
) -> Result<Option<Cow<'a, str>>, Bad> {
    let text = field.read(json::text_or_number)?;
    if let Some(text) = &text {
        no_longer(field, text, what, most_chars)?;
    }
    Ok(text.filter(|text| !text.is_empty()))
}
