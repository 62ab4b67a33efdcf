//! The run webhook of dbt Cloud, read into sightings.

use super::{check_fixture, fixture, labels, line, lines, now, read, refusal};
use watchkeeper::domain::alert::{Labels, Run, Said};
use watchkeeper::domain::source::Kind;
use watchkeeper::ingest::{Post, parse};

const EVENT: &str = "wev_2L6m5BggBw9uPNuSmtg4MUiW4Re";
const JOB: &str = "{account=\"1\", alertname=\"job_run\", pipeline=\"123\", tool=\"dbt_cloud\"}";

fn text(name: &str) -> String {
    String::from_utf8(fixture(&format!("dbt-cloud/{name}.json"))).expect("UTF-8")
}

/// What an event comes to.
fn outcome(body: &str) -> String {
    let parsed = read(Kind::DbtCloud, body);
    let line = lines(&parsed).join("; ");
    line.split(' ').next().unwrap_or_default().to_owned()
}

fn run(body: &str) -> Run {
    let parsed = read(Kind::DbtCloud, body);
    match &parsed.sightings[0].said {
        Said::Check { run, .. } => run.clone(),
        Said::Signal(_) => panic!("a check"),
    }
}

#[test]
fn dbt_clouds_own_events_are_read_as_they_were_sent() {
    for (name, outcome) in [
        ("job_run_completed_success", "pass"),
        ("job_run_errored", "fail"),
        ("job_run_started", "skip"),
    ] {
        let expected = format!("{outcome} {JOB} run={EVENT}");
        let name = format!("dbt-cloud/{name}.json");
        check_fixture(Kind::DbtCloud, &name, &[expected.as_str()]);
    }
}

#[test]
fn what_a_run_came_to_is_told_by_its_status() {
    let completed = text("job_run_completed_success");
    for (status, expected) in [
        ("Success", "pass"),
        ("Errored", "fail"),
        ("Error", "fail"),
        ("Failed", "fail"),
        ("Cancelled", "error"),
        ("Canceled", "error"),
    ] {
        let body = completed.replace("\"Success\"", &format!("\"{status}\""));
        assert_eq!(outcome(&body), expected, "{status}");
    }
    let errored = text("job_run_errored");
    assert_eq!(outcome(&errored.replace("\"Errored\"", "\"Odd\"")), "fail");
    let cancelled = errored.replace("\"Errored\"", "\"Cancelled\"");
    assert_eq!(outcome(&cancelled), "error");
}

#[test]
fn a_renamed_job_is_the_alert_that_it_was() {
    let renamed = text("job_run_completed_success")
        .replace("Daily Job (dbt build)", "Nightly")
        .replace("Production", "Live")
        .replace("Snowflake Github Demo", "Shop")
        .replace("\"accountId\": 1", "\"accountId\": \"1\"");
    let identity = |body: &str| -> Labels {
        let parsed = read(Kind::DbtCloud, body);
        parsed.sightings[0].labels.clone()
    };
    assert_eq!(identity(&renamed), identity(&text("job_run_errored")));
}

#[test]
fn an_event_sent_again_is_told_by_its_id_and_the_end_of_its_run() {
    let errored = run(&text("job_run_errored"));
    assert_eq!(errored.id.as_deref(), Some(EVENT));
    assert_eq!(errored, run(&text("job_run_errored")));
    let ended = |run: Run| run.finished_at.map(|at| at.to_string());
    assert_eq!(ended(errored).as_deref(), Some("2023-01-31T21:15:20.000Z"));
    let completed = text("job_run_completed_success");
    assert_eq!(
        ended(run(&completed)).as_deref(),
        Some("2023-01-31T21:16:32.000Z")
    );
    let without = completed.replace("runFinishedAt", "other");
    assert_eq!(
        ended(run(&without)).as_deref(),
        Some("2023-01-31T21:15:20.419Z"),
        "when it was sent"
    );
}

#[test]
fn an_event_keeps_the_names_and_not_who_started_the_run() {
    let parsed = read(Kind::DbtCloud, &text("job_run_errored"));
    let job = &parsed.sightings[0];
    assert_eq!(
        job.attributes,
        labels(&[
            ("environment", "Production"),
            ("environment_id", "1234"),
            ("job", "Daily Job (dbt build)"),
            ("project", "Snowflake Github Demo"),
            ("title", "Daily Job (dbt build)"),
        ])
    );
    assert_eq!(
        job.annotations,
        labels(&[
            ("check_name", "Daily Job (dbt build)"),
            ("message", "run 12345: Errored"),
            ("run_id", "12345"),
        ])
    );
    assert_eq!(parsed.scope, None);
    assert!(!format!("{parsed:?}").contains("test@test.com"));

    let told = text("job_run_errored").replace("\"None\"", "\"Database Error\"");
    let parsed = read(Kind::DbtCloud, &told);
    let message = parsed.sightings[0].annotations.get("message");
    assert_eq!(message, Some("Database Error"));
}

#[test]
fn the_address_adds_an_owner_and_labels() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let query = [
        pair("owner", "team-data"),
        pair("label.env", "prod"),
        pair("label.account", "other"),
    ];
    let body = text("job_run_errored");
    let post = Post {
        query: &query,
        ..Post::of(body.as_bytes(), now())
    };
    let parsed = parse(Kind::DbtCloud, &post).expect("a usable body");
    assert_eq!(
        line(&parsed.sightings[0]),
        format!(
            "fail {{account=\"1\", alertname=\"job_run\", env=\"prod\", pipeline=\"123\", tool=\"dbt_cloud\"}} run={EVENT}"
        )
    );
    let owner = parsed.sightings[0].annotations.get("owner");
    assert_eq!(owner, Some("team-data"));
}

#[test]
fn an_event_that_is_not_usable_is_refused_with_its_place() {
    let good = text("job_run_completed_success");
    let long = format!("\"{}\"", "i".repeat(300));
    let long_reason = format!(
        "an event id of at most 256 characters is wanted, found \"{}…\"",
        "i".repeat(64)
    );
    let event = format!("\"{EVENT}\"");
    let table: [(&str, &str, &str, &str); 12] = [
        (
            "\"job.run.completed\"",
            "\"job.run.paused\"",
            "$.eventType",
            "one of job.run.started, job.run.completed, job.run.errored is wanted, found \"job.run.paused\"",
        ),
        (
            "\"job.run.completed\"",
            "[1]",
            "$.eventType",
            "one of job.run.started, job.run.completed, job.run.errored is wanted, found a list",
        ),
        (
            "\"accountId\": 1",
            "\"accountId\": null",
            "$.accountId",
            "an account id is wanted, found nothing",
        ),
        (
            "\"accountId\": 1",
            "\"accountId\": true",
            "$.accountId",
            "expected a string, found true",
        ),
        (&event, &long, "$.eventId", &long_reason),
        (
            &event,
            "{}",
            "$.eventId",
            "expected a string, found an object",
        ),
        (
            "\"2023-01-31T21:15:20.419714619Z\"",
            "\"soon\"",
            "$.timestamp",
            "an RFC 3339 or Unix time is wanted, found \"soon\"",
        ),
        (
            "\"data\"",
            "\"other\"",
            "$.data",
            "the data of a run is wanted, found nothing",
        ),
        (
            "\"123\"",
            "\"\"",
            "$.data.jobId",
            "a job id is wanted, found \"\"",
        ),
        (
            "\"Success\"",
            "\"Odd\"",
            "$.data.runStatus",
            "one of Success, Errored, Error, Failed, Cancelled, Canceled is wanted, found \"Odd\"",
        ),
        (
            "\"2023-01-31T21:16:32Z\"",
            "{}",
            "$.data.runFinishedAt",
            "expected a string, found an object",
        ),
        (
            "\"Production\"",
            "7",
            "$.data.environmentName",
            "expected a string, found a number",
        ),
    ];
    for (from, to, path, reason) in table {
        let body = good.replace(from, to);
        assert_ne!(body, good);
        let expected = (path.to_owned(), reason.to_owned());
        assert_eq!(refusal(Kind::DbtCloud, body.as_bytes()), expected);
    }
    let list = refusal(Kind::DbtCloud, b"[]");
    assert_eq!(list.1, "expected an object, found a list");
}
