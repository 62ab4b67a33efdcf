//! Reports of Evidently: which test is which, however it went.

use super::{check_fixture, fixture, labels, lines, now, pairs, read, refusal};
use std::collections::BTreeSet;
use watchkeeper::domain::alert::{Outcome, Run, Said};
use watchkeeper::domain::source::Kind;
use watchkeeper::ingest::{Parsed, Post, parse};

const KIND: Kind = Kind::Evidently;

const FAILING: [&str; 7] = [
    "fail {alertname=\"DriftedColumnsCount.share.lt\", tool=\"evidently\"} run=-",
    "fail {alertname=\"ValueDrift.drift\", part=\"age\", tool=\"evidently\"} run=-",
    "pass {alertname=\"ValueDrift.drift\", part=\"income\", tool=\"evidently\"} run=-",
    "fail {alertname=\"ValueDrift.drift\", part=\"seg\", tool=\"evidently\"} run=-",
    "fail {alertname=\"MissingValueCount.eq\", part=\"income\", tool=\"evidently\"} run=-",
    "pass {alertname=\"RowCount.ge\", tool=\"evidently\"} run=-",
    "warn {alertname=\"MeanValue.lt\", part=\"age\", tool=\"evidently\"} run=-",
];

/// A test of the mean of a column, with these fields beside it.
fn test(fields: &str) -> String {
    format!(
        r#"{{"metric_config":{{"params":{{"type":"evidently:metric_v2:MeanValue","column":"age"}}}},{fields}}}"#
    )
}

fn report(head: &str, tests: &[&str]) -> String {
    format!(r#"{{{head}"tests":[{}]}}"#, tests.join(","))
}

fn asked(body: &str, query: &[(&str, &str)]) -> Parsed {
    let query = pairs(query);
    let post = Post {
        query: &query,
        ..Post::of(body.as_bytes(), now())
    };
    parse(KIND, &post).expect("a usable body")
}

#[test]
fn real_reports_are_read_as_they_were_made() {
    check_fixture(KIND, "evidently/report_failing.json", &FAILING);
    check_fixture(
        KIND,
        "evidently/report_passing.json",
        &[
            "pass {alertname=\"DriftedColumnsCount.share.lt\", tool=\"evidently\"} run=-",
            "pass {alertname=\"ValueDrift.drift\", part=\"age\", tool=\"evidently\"} run=-",
            "pass {alertname=\"ValueDrift.drift\", part=\"income\", tool=\"evidently\"} run=-",
            "pass {alertname=\"ValueDrift.drift\", part=\"seg\", tool=\"evidently\"} run=-",
            "pass {alertname=\"RowCount.ge\", tool=\"evidently\"} run=-",
        ],
    );
    let posted = FAILING.map(|line| {
        let line = line.replace(", tool=", ", report=\"churn_daily\", tool=");
        let before = if line.contains("part=") {
            "part="
        } else {
            "report="
        };
        line.replace(before, &format!("model=\"churn\", {before}"))
    });
    let posted: Vec<&str> = posted.iter().map(String::as_str).collect();
    check_fixture(KIND, "evidently/glue_post.json", &posted);
}

#[test]
fn a_test_says_what_it_saw_and_how_bad_that_is() {
    let body = fixture("evidently/glue_post.json");
    let parsed = parse(KIND, &Post::of(&body, now())).expect("a usable body");
    let first = &parsed.sightings[0];
    assert_eq!(first.severity.as_deref(), Some("critical"));
    assert_eq!(first.attributes, labels(&[("tags", "prod")]));
    assert_eq!(
        first.annotations,
        labels(&[
            ("check_name", "Share of Drifted Columns: Less 0.500"),
            ("check_type", "evidently:metric_v2:DriftedColumnsCount"),
            ("expected", "0.5"),
            (
                "message",
                "Share of Drifted Columns: Actual value 0.667 >= 0.500"
            ),
            ("owner", "ml-team"),
            ("severity", "critical"),
        ])
    );
    assert_eq!(first.starts_at, None);
    // Of a test of drift, only what it is bound to says how critical it is.
    let severities: Vec<Option<&str>> = parsed
        .sightings
        .iter()
        .map(|sighting| sighting.severity.as_deref())
        .collect();
    let critical = Some("critical");
    let expected = [critical, critical, critical, critical, critical, critical];
    assert_eq!(severities[..6], expected);
    assert_eq!(severities[6], Some("warning"));
    assert_eq!(parsed.notes, Vec::<String>::new());
    assert_eq!(parsed.scope, None);
}

#[test]
fn a_failure_of_which_nothing_is_a_number_fires() {
    let body = fixture("evidently/report_nan_INVALID_JSON.txt");
    let parsed = parse(KIND, &Post::of(&body, now())).expect("a usable body");
    assert_eq!(
        lines(&parsed),
        [
            "fail {alertname=\"MeanValue.lt\", part=\"a\", tool=\"evidently\"} run=-",
            "fail {alertname=\"MaxValue.lt\", part=\"b\", tool=\"evidently\"} run=-",
        ]
    );
    assert_eq!(
        parsed.sightings[1].annotations.get("message"),
        Some("Maximum value of 'b': Actual value inf >= 10.000")
    );
    assert!(
        parsed
            .notes
            .contains(&"NaN or Infinity without quotes, read as text (2 times)".to_owned())
    );
    let threshold = test(r#""id":"lt","status":"FAIL","test_config":{"threshold":NaN}"#);
    let parsed = read(KIND, &report("", &[&threshold]));
    assert_eq!(lines(&parsed).len(), 1);
}

#[test]
fn a_test_that_passes_resolves_what_it_fired_though_its_threshold_has_changed() {
    let at = |threshold: &str, id: &str, status: &str| {
        let fields = format!(
            r#""id":"lt","name":"Mean value of 'age': Less {threshold}","status":"{status}",
                "test_config":{{"threshold":{threshold},"is_critical":true}}"#
        );
        let test = test(&fields).replace(
            r#""metric_config":{"#,
            &format!(r#""metric_config":{{"metric_id":"{id}","#),
        );
        read(KIND, &report("", &[&test])).sightings.remove(0).labels
    };
    assert_eq!(at("50.0", "1ac1", "FAIL"), at("60.0", "9bd2", "SUCCESS"));
}

#[test]
fn a_test_that_could_not_run_has_the_twin_of_the_alert_that_it_has_when_it_runs() {
    let bound = r#""bound_test":{"label":"yes","test":{"type":"evidently:test_v2:LessThanMetricTest","is_critical":true}}"#;
    let broken = test(&format!(
        r#""id":"","name":"Missing label","status":"ERROR","description":"Missing label yes","test_config":{{}},{bound}"#
    ));
    let well = test(&format!(r#""id":"lt","status":"SUCCESS",{bound}"#));
    let parsed = read(KIND, &report("", &[&broken, &well]));
    assert_eq!(
        lines(&parsed),
        [
            "error {alertname=\"MeanValue[yes].lt\", part=\"age\", tool=\"evidently\"} run=-",
            "pass {alertname=\"MeanValue[yes].lt\", part=\"age\", tool=\"evidently\"} run=-",
        ]
    );
    let own = broken.replace("evidently:test_v2:LessThanMetricTest", "mine:Odd");
    assert_eq!(
        lines(&read(KIND, &report("", &[&own]))),
        ["error {alertname=\"MeanValue[yes].Odd\", part=\"age\", tool=\"evidently\"} run=-"]
    );
}

#[test]
fn tests_of_different_values_of_one_metric_are_different_alerts() {
    let bound = [
        r#""label":1"#,
        r#""label":true"#,
        r#""is_count":true"#,
        r#""is_count":false"#,
        r#""is_mean":false"#,
        r#""label":"a","slot":"share""#,
        r#""column":"f1""#,
    ];
    let tests: Vec<String> = bound
        .iter()
        .map(|bound| {
            test(&format!(
                r#""id":"lt","status":"SKIPPED","bound_test":{{{bound}}}"#
            ))
        })
        .collect();
    let tests: Vec<&str> = tests.iter().map(String::as_str).collect();
    let parsed = read(KIND, &report("", &tests));
    let names: Vec<&str> = parsed
        .sightings
        .iter()
        .filter_map(|sighting| sighting.labels.get("alertname"))
        .collect();
    assert_eq!(
        names,
        [
            "MeanValue[1].lt",
            "MeanValue[true].lt",
            "MeanValue.lt",
            "MeanValue.share.lt",
            "MeanValue.std.lt",
            "MeanValue[a].share.lt",
            "MeanValue.lt",
        ]
    );
    assert!(parsed.sightings.iter().all(|sighting| {
        matches!(&sighting.said, Said::Check { outcome, .. } if *outcome == Outcome::Skip)
    }));
}

#[test]
fn the_address_names_what_the_body_cannot() {
    let body = report("", &[&test(r#""id":"lt","status":"FAIL""#)]);
    let query = [
        ("model", "churn"),
        ("dataset", "orders"),
        ("report", "daily"),
        ("owner", "ml-team"),
    ];
    let parsed = asked(&body, &query);
    assert_eq!(
        lines(&parsed),
        [
            "fail {alertname=\"MeanValue.lt\", dataset=\"orders\", model=\"churn\", part=\"age\", report=\"daily\", tool=\"evidently\"} run=-"
        ]
    );
    let owner = parsed.sightings[0].annotations.get("owner");
    assert_eq!(owner, Some("ml-team"));
    assert_eq!(parsed.notes, Vec::<String>::new());

    let head = r#""dataset":"","model":"fraud","metadata":{"model":"lost","report":"weekly"},"#;
    let body = body.replacen('{', &format!("{{{head}"), 1);
    assert_eq!(
        lines(&asked(&body, &query[..3])),
        [
            "fail {alertname=\"MeanValue.lt\", dataset=\"orders\", model=\"fraud\", part=\"age\", report=\"weekly\", tool=\"evidently\"} run=-"
        ]
    );
}

#[test]
fn a_report_that_names_nobody_is_read_and_flagged() {
    let parsed = read(KIND, &report("", &[&test(r#""id":"lt","status":"FAIL""#)]));
    assert_eq!(
        parsed.notes,
        [
            "$: neither a report nor a model nor a dataset is named, so that its tests are taken for those of any other such report"
        ]
    );
}

#[test]
fn a_report_without_tests_says_nothing_and_is_flagged() {
    let parsed = read(KIND, r#"{"report":"r","metrics":[{"value":1}],"tests":[]}"#);
    assert_eq!(lines(&parsed), Vec::<String>::new());
    assert_eq!(
        parsed.notes,
        [
            "$.tests: there are none, so that nothing is known of how the data are; is include_tests=True set?"
        ]
    );
}

#[test]
fn a_report_with_a_time_is_counted_once() {
    let body = |time: &str| {
        report(
            &format!(r#""timestamp":{time},"#),
            &[&test(r#""id":"lt","status":"FAIL""#)],
        )
    };
    let run = |time: &str| match read(KIND, &body(time)).sightings.remove(0).said {
        Said::Check { run, .. } => run,
        Said::Signal(_) => panic!("a check"),
    };
    let at = |time: &str| Run {
        finished_at: Some(time.parse().expect("a time")),
        ..Run::default()
    };
    assert_eq!(
        run("\"2026-11-23 08:18:51.673\""),
        at("2026-11-23T08:18:51.673Z")
    );
    assert_eq!(run("1795420731"), at("2026-11-23T07:58:51Z"));
    assert_eq!(run("null"), Run::default());
}

#[test]
fn what_was_seen_in_the_data_is_not_kept() {
    let body = r#"{"report":"r","metrics":[{"id":"m","value":{"SECRET-1":1}}],"tests":[
        {"id":"is_in","name":"n","description":"d","status":"FAIL",
         "metric_config":{"metric_id":"m","params":{"type":"t:InListValueCount","column":"c","values":["SECRET-2"]}},
         "test_config":{"expected":["SECRET-3"]},"bound_test":{"test":{"values":["SECRET-4"]}}},
        {"id":"is_in","status":"odd","metric_config":{"params":{"type":"t","values":["SECRET-5"]}},
         "test_config":{"expected":["SECRET-6"]},"bound_test":{"label":"SECRET-7"}}]}"#;
    let parsed = read(KIND, body);
    assert_eq!(lines(&parsed).len(), 2);
    assert!(!format!("{parsed:?}").contains("SECRET"), "{parsed:?}");
    assert_eq!(parsed.rejected[0].item, r#"{"id":"is_in","status":"odd"}"#);
}

#[test]
fn a_bad_test_is_rejected_with_its_place_and_the_others_are_kept() {
    let table: [(&str, &str, &str); 15] = [
        (
            r#"{"id":"lt"}"#,
            ".metric_config",
            "a metric is wanted, found nothing",
        ),
        (
            r#"{"id":"lt","metric_config":[]}"#,
            ".metric_config",
            "expected an object, found a list",
        ),
        (
            r#"{"id":"lt","metric_config":{}}"#,
            ".metric_config.params",
            "an object of parameters is wanted, found nothing",
        ),
        (
            r#"{"id":"lt","metric_config":{"params":{"type":7}}}"#,
            ".metric_config.params.type",
            "expected a string, found a number",
        ),
        (
            r#"{"id":"lt","metric_config":{"params":{}}}"#,
            ".metric_config.params.type",
            "the type of a metric is wanted, found nothing",
        ),
        (
            r#"{"id":"lt","metric_config":{"params":{"type":"t","column":["c"]}}}"#,
            ".metric_config.params.column",
            "expected a string, found a list",
        ),
        (
            r#"{"status":"FAIL","metric_config":{"params":{"type":"t"}}}"#,
            ".id",
            "a test id is wanted, found nothing",
        ),
        (
            r#"{"id":{},"metric_config":{"params":{"type":"t"}}}"#,
            ".id",
            "expected a string, found an object",
        ),
        (
            r#"{"id":"lt","status":"fail","metric_config":{"params":{"type":"t"}}}"#,
            ".status",
            "one of SUCCESS, WARNING, FAIL, ERROR, SKIPPED is wanted, found \"fail\"",
        ),
        (
            r#"{"id":"lt","status":["FAIL"],"metric_config":{"params":{"type":"t"}}}"#,
            ".status",
            "one of SUCCESS, WARNING, FAIL, ERROR, SKIPPED is wanted, found a list",
        ),
        (
            r#"{"id":"lt","status":"FAIL","description":1,"metric_config":{"params":{"type":"t"}}}"#,
            ".description",
            "expected a string, found a number",
        ),
        (
            r#"{"id":"lt","status":"FAIL","test_config":{"is_critical":1},"metric_config":{"params":{"type":"t"}}}"#,
            ".test_config.is_critical",
            "true or false is wanted, found 1",
        ),
        (
            r#"{"id":"lt","status":"FAIL","bound_test":{"test":{"is_critical":"x"}},"metric_config":{"params":{"type":"t"}}}"#,
            ".bound_test.test.is_critical",
            "true or false is wanted, found \"x\"",
        ),
        (
            r#"{"id":"lt","status":"FAIL","bound_test":{"label":{}},"metric_config":{"params":{"type":"t"}}}"#,
            ".bound_test.label",
            "expected a string, found an object",
        ),
        ("5", "", "expected an object, found a number"),
    ];
    let good = test(r#""id":"lt","status":"SUCCESS""#);
    for (bad, path, reason) in table {
        let parsed = read(KIND, &report("", &[&good, bad, &good]));
        let good = "pass {alertname=\"MeanValue.lt\", part=\"age\", tool=\"evidently\"} run=-";
        let rejected = format!("rejected $.tests[1]{path}: {reason}");
        assert_eq!(lines(&parsed), [good, good, &rejected]);
    }
    let long = format!(r#""id":"{}","status":"FAIL""#, "x".repeat(600));
    assert_eq!(
        lines(&read(KIND, &report("", &[&test(&long)]))),
        ["rejected $.tests[0]: a check id of at most 512 characters is wanted"]
    );
}

#[test]
fn a_report_of_which_nothing_is_usable_is_refused_with_its_place() {
    let many_tests = format!("[{}]", vec!["{}"; 10_001].join(","));
    let many_tests = format!(r#"{{"tests":{many_tests}}}"#);
    let table: [(&str, &str, &str); 9] = [
        ("[]", "$", "expected an object, found a list"),
        (
            r#"{"metrics":[]}"#,
            "$.tests",
            "a list of tests is wanted, found nothing",
        ),
        (
            r#"{"tests":{}}"#,
            "$.tests",
            "expected a list, found an object",
        ),
        (
            &many_tests,
            "$.tests",
            "at most 10000 items are wanted, found more",
        ),
        (
            r#"{"tests":[],"report":{}}"#,
            "$.report",
            "expected a string, found an object",
        ),
        (
            r#"{"tests":[],"metadata":{"model":1}}"#,
            "$.metadata.model",
            "expected a string, found a number",
        ),
        (
            r#"{"tests":[],"metadata":"x"}"#,
            "$.metadata",
            "expected an object, found a string",
        ),
        (
            r#"{"tests":[],"tags":["a",2]}"#,
            "$.tags[1]",
            "expected a string, found a number",
        ),
        (
            r#"{"tests":[],"timestamp":"soon"}"#,
            "$.timestamp",
            "an RFC 3339 or Unix time is wanted, found \"soon\"",
        ),
    ];
    for (body, path, reason) in table {
        let expected = (path.to_owned(), reason.to_owned());
        assert_eq!(refusal(KIND, body.as_bytes()), expected);
    }
}

#[test]
fn no_two_tests_of_a_real_report_are_taken_for_one() {
    let body = fixture("evidently/report_failing.json");
    let parsed = parse(KIND, &Post::of(&body, now())).expect("a usable body");
    let told: BTreeSet<_> = parsed
        .sightings
        .iter()
        .map(|sighting| sighting.labels.fingerprint())
        .collect();
    assert_eq!(told.len(), parsed.sightings.len());
}
