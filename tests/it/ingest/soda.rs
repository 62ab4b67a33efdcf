//! Scans of Soda Core 3, as they came out and as they might.

use super::{check_fixture, fixture, labels, line, lines, now, read, refusal};
use watchkeeper::domain::alert::{Run, Said};
use watchkeeper::domain::source::Kind;
use watchkeeper::ingest::{Parsed, Post, parse};

const KIND: Kind = Kind::Soda;

#[test]
fn a_scan_is_an_alert_for_each_check_and_one_for_itself() {
    let of = |outcome: &str, identity: &str, part: &str, time: &str| {
        let part = if part.is_empty() {
            String::new()
        } else {
            format!("part=\"{part}\", ")
        };
        format!(
            "{outcome} {{alertname=\"{identity}\", dataset=\"duckdb.orders\", {part}scan=\"orders_daily\", tool=\"soda\"}} \
             run={time} orders_daily"
        )
    };
    let own = |time: &str| {
        format!(
            "pass {{alertname=\"scan\", data_source=\"duckdb\", scan=\"orders_daily\", tool=\"soda\"}} run={time} orders_daily"
        )
    };
    let time = "2026-11-23T08:17:34+00:00";
    let failing = [
        of("pass", "fd740658", "", time),
        of("fail", "484cfae0", "", time),
        of("fail", "d67e1055", "", time),
        of("fail", "4137c60b", "amount", time),
        of("fail", "3c69c74a", "amount", time),
        of("warn", "748da6dd", "id", time),
        of("fail", "a315491a", "status", time),
        of("fail", "9926e200", "ts", time),
        own(time),
    ];
    check_fixture(
        KIND,
        "soda/v3_scan_failing.json",
        &failing.each_ref().map(String::as_str),
    );
    let time = "2026-11-23T08:17:36+00:00";
    let passing = [
        of("pass", "fd740658", "", time),
        of("pass", "948fbaab", "id", time),
        own(time),
    ];
    check_fixture(
        KIND,
        "soda/v3_scan_passing.json",
        &passing.each_ref().map(String::as_str),
    );
}

fn failing() -> Parsed {
    parse(
        KIND,
        &Post::of(&fixture("soda/v3_scan_failing.json"), now()),
    )
    .expect("a usable body")
}

#[test]
fn a_check_says_what_was_measured_and_whose_it_is() {
    let parsed = failing();
    let table = [
        (
            0,
            labels(&[
                ("check_name", "row_count > 0"),
                ("check_type", "generic"),
                ("expected", r#"not fail {"lessThanOrEqual":0.0}"#),
                ("observed", "4"),
            ]),
        ),
        (
            1,
            labels(&[
                ("check_name", "schema check"),
                ("check_type", "generic"),
                ("message", "1 schema event(s)"),
            ]),
        ),
        (
            3,
            labels(&[
                ("check_name", "No missing amount"),
                ("check_type", "generic"),
                ("expected", r#"not fail {"greaterThan":0.0,"lessThan":0.0}"#),
                ("failing_rows", "1"),
                ("observed", "1"),
                ("owner", "team-data"),
                ("severity", "1"),
            ]),
        ),
        (
            5,
            labels(&[
                ("check_name", "dup ids"),
                ("check_type", "generic"),
                (
                    "expected",
                    r#"not fail {"greaterThan":10.0}, not warn {"greaterThan":0.0}"#,
                ),
                ("failing_rows", "1"),
                ("observed", "1"),
            ]),
        ),
        (
            7,
            labels(&[
                ("check_name", "freshness(ts) < 1d"),
                ("check_type", "generic"),
                ("observed", "1757854096 ms"),
            ]),
        ),
    ];
    for (at, annotations) in table {
        assert_eq!(parsed.sightings[at].annotations, annotations, "{at}");
    }
    let owned = &parsed.sightings[3];
    assert_eq!(
        owned.attributes,
        labels(&[
            ("check_name", "No missing amount"),
            ("owner", "team-data"),
            ("priority", "1"),
            ("title", "No missing amount: duckdb.orders"),
        ])
    );
    let at = Some("2026-11-23T08:17:34Z".parse().expect("a time"));
    let Said::Check { run, .. } = &owned.said else {
        panic!("a check")
    };
    let expected = Run {
        id: Some("2026-11-23T08:17:34+00:00 orders_daily".to_owned()),
        attempt: None,
        finished_at: at,
    };
    assert_eq!((run, owned.starts_at), (&expected, at));
    assert_eq!((parsed.notes.len(), &parsed.scope), (0, &None));
}

#[test]
fn no_values_of_rows_nor_queries_are_kept() {
    let kept = format!("{:?}", failing());
    for private in [
        "paid",
        "select",
        "SELECT",
        "2026-11-03",
        "checks.yml",
        "customer",
        "aggregation",
    ] {
        assert!(!kept.contains(private), "{private}");
    }
    let scan = scan(
        "true",
        r#"{"identity":"a","outcome":"fail","diagnostics":{"value":"bob@example.com","maxColumnTimestamp":"bob@example.com",
            "blocks":[{"text":"bob@example.com"}]}},
           {"outcome":"fail","diagnostics":{"value":"bob@example.com"},"definition":"where mail = 'bob@example.com'"}"#,
        r#","queries":[{"name":"1.q","exception":"no number: bob@example.com","sql":"bob@example.com"}],
           "logs":[{"level":"ERROR","message":"bob@example.com"}]"#,
    );
    let parsed = read(KIND, &scan);
    assert!(!format!("{parsed:?}").contains("bob@"), "{parsed:?}");
    assert_eq!(parsed.rejected[0].item, r#"{"outcome":"fail"}"#);
}

/// A scan of these checks.
fn scan(errors: &str, checks: &str, more: &str) -> String {
    format!(
        r#"{{"definitionName":"d","defaultDataSource":"w","scanStartTimestamp":"2026-11-23T08:00:00+00:00",
            "scanEndTimestamp":"2026-11-23T08:01:00+00:00","hasErrors":{errors},"hasWarnings":false,"hasFailures":false,
            "checks":[{checks}]{more}}}"#
    )
}

const PASS: &str = r#"{"identity":"good","outcome":"pass"}"#;
const FAIL: &str = r#"{"identity":"bad","outcome":"fail"}"#;

fn own(outcome: &str) -> String {
    format!(
        "{outcome} {{alertname=\"scan\", data_source=\"w\", scan=\"d\", tool=\"soda\"}} run=2026-11-23T08:00:00+00:00 d"
    )
}

fn message_of_scan(parsed: &Parsed) -> Option<&str> {
    parsed.sightings.last()?.annotations.get("message")
}

#[test]
fn a_scan_with_errors_and_no_checks_is_an_error_that_a_good_scan_resolves() {
    let queries = r#","queries":[{"name":"1.w.orders.aggregation[0]","exception":"no column nope"},{"name":"2.ok","exception":null}]"#;
    let parsed = read(KIND, &scan("true", "", queries));
    assert_eq!(lines(&parsed), [own("error")]);
    assert_eq!(
        message_of_scan(&parsed),
        Some(
            "it had errors, and no check has a result; queries that failed: 1.w.orders.aggregation[0]"
        )
    );
    let good = read(KIND, &scan("false", PASS, ""));
    assert_eq!(line(&good.sightings[1]), own("pass"));
    assert_eq!(message_of_scan(&good), None);
    assert_eq!(good.sightings[1].labels, parsed.sightings[0].labels);

    // Nor does it take a list of checks.
    let bare = read(KIND, r#"{"hasErrors":true}"#);
    assert_eq!(
        lines(&bare),
        ["error {alertname=\"scan\", tool=\"soda\"} run=-"]
    );
    assert_eq!(
        message_of_scan(&bare),
        Some("it had errors, and no check has a result")
    );
}

#[test]
fn a_scan_with_errors_keeps_the_checks_that_it_has() {
    let query = |n: usize| format!(r#"{{"name":"q{n}","exception":"x"}}"#);
    let queries: Vec<String> = (1..=6).map(query).collect();
    let more = format!(r#","queries":[{}]"#, queries.join(","));
    let parsed = read(KIND, &scan("true", PASS, &more));
    assert_eq!(
        lines(&parsed),
        [
            "pass {alertname=\"good\", scan=\"d\", tool=\"soda\"} run=2026-11-23T08:00:00+00:00 d"
                .to_owned(),
            own("error")
        ]
    );
    assert_eq!(
        message_of_scan(&parsed),
        Some(
            "it had errors, and checks without a result are not listed; queries that failed: q1, q2, q3, q4, q5, …"
        )
    );
    let odd = read(
        KIND,
        &scan(
            "true",
            PASS,
            r#","queries":[7,{"name":5,"exception":"x"},{"exception":"x"}]"#,
        ),
    );
    assert_eq!(
        message_of_scan(&odd),
        Some("it had errors, and checks without a result are not listed")
    );
}

#[test]
fn a_scan_that_failed_without_a_check_that_says_why_is_an_error() {
    let failed = |checks: &str| {
        let body =
            scan("false", checks, "").replace("\"hasFailures\":false", "\"hasFailures\":true");
        read(KIND, &body)
    };
    let own_line = |parsed: &Parsed| parsed.sightings.last().map(line);
    assert_eq!(own_line(&failed(FAIL)), Some(own("pass")));
    assert_eq!(own_line(&failed(PASS)), Some(own("error")));
    assert_eq!(own_line(&failed("{}")), Some(own("error")));
    assert_eq!(
        message_of_scan(&failed(PASS)),
        Some("it failed, but no check of it that could be read says why")
    );
    // One of which nothing could be read and that says all is well says nothing.
    assert_eq!(own_line(&read(KIND, &scan("false", "{}", ""))), None);
    assert_eq!(
        own_line(&read(KIND, &scan("false", "", ""))),
        Some(own("pass"))
    );
}

#[test]
fn a_check_that_was_not_evaluated_is_an_error_unless_soda_calls_it_none() {
    let table = [
        (r#""outcome":null"#, "error", None),
        (r#""x":1"#, "error", None),
        (r#""outcome":null,"outcomeReasons":[]"#, "error", None),
        (
            r#""outcome":null,"outcomeReasons":[{"code":"notEnoughHistory","message":"words","severity":"warn"}]"#,
            "skip",
            Some("notEnoughHistory"),
        ),
        (
            r#""outcome":null,"outcomeReasons":[{"code":"a","severity":"info"},{"code":"b","severity":"error"}]"#,
            "error",
            Some("a, b"),
        ),
        (
            r#""outcome":"fail","outcomeReasons":[{"code":"a","severity":"warn"}]"#,
            "fail",
            Some("a"),
        ),
    ];
    for (fields, outcome, message) in table {
        let parsed = read(
            KIND,
            &scan("false", &format!(r#"{{"identity":"i",{fields}}}"#), ""),
        );
        let first = &parsed.sightings[0];
        assert!(
            line(first).starts_with(outcome),
            "{fields}: {}",
            line(first)
        );
        assert_eq!(first.annotations.get("message"), message, "{fields}");
    }
}

#[test]
fn a_check_that_passes_again_has_the_labels_it_had_when_it_failed() {
    let check = |outcome: &str, more: &str| {
        let check = format!(
            r#"{{"identity":"4137c60b","dataSource":"w","table":"orders","column":"amount","outcome":"{outcome}",{more}}}"#
        );
        read(KIND, &scan("false", &check, ""))
    };
    let failed = check(
        "fail",
        r#""name":"No missing amount","resourceAttributes":[],"location":{"line":3}"#,
    );
    let passed = check(
        "pass",
        r#""name":"amount is there","resourceAttributes":[{"name":"owner","value":"x"}],"location":{"line":9}"#,
    );
    assert_eq!(failed.sightings[0].labels, passed.sightings[0].labels);
}

#[test]
fn checks_of_automated_monitoring_count_as_well() {
    let more =
        r#","automatedMonitoringChecks":[{"identity":"m","archetype":"a","outcome":"warn"},{}]"#;
    let parsed = read(KIND, &scan("false", PASS, more));
    assert!(line(&parsed.sightings[1]).starts_with("warn {alertname=\"m\""));
    assert_eq!(
        parsed.rejected[0].path,
        "$.automatedMonitoringChecks[1].identity"
    );
}

#[test]
fn what_was_measured_may_be_no_number_and_fails_all_the_same() {
    let table = [
        ("NaN", Some("NaN")),
        ("-Infinity", Some("-Infinity")),
        ("null", None),
        ("[1]", None),
        ("\"bob\"", None),
    ];
    for (value, expected) in table {
        let check =
            format!(r#"{{"identity":"i","outcome":"fail","diagnostics":{{"value":{value}}}}}"#);
        let parsed = read(KIND, &scan("false", &check, ""));
        let first = &parsed.sightings[0];
        assert!(line(first).starts_with("fail "), "{value}");
        assert_eq!(first.annotations.get("observed"), expected, "{value}");
    }
}

#[test]
fn diagnostics_of_another_shape_cost_no_check() {
    let table = [
        ("[]", ": left out, expected an object, found a list"),
        (
            r#"{"measure":1}"#,
            ".measure: left out, expected a string, found a number",
        ),
        (
            r#"{"blocks":{}}"#,
            ".blocks: left out, expected a list, found an object",
        ),
        (
            r#"{"blocks":[7]}"#,
            ".blocks[0]: left out, expected an object, found a number",
        ),
        (
            r#"{"blocks":[{"totalFailingRows":"x"}]}"#,
            ".blocks[0].totalFailingRows: left out, expected a number, found a string",
        ),
        (
            r#"{"valueLabel":[]}"#,
            ".valueLabel: left out, expected a string, found a list",
        ),
    ];
    for (diagnostics, note) in table {
        let check = format!(r#"{{"identity":"i","outcome":"fail","diagnostics":{diagnostics}}}"#);
        let parsed = read(KIND, &scan("false", &check, ""));
        assert!(
            line(&parsed.sightings[0]).starts_with("fail "),
            "{diagnostics}"
        );
        assert_eq!(
            parsed.notes,
            [format!("$.checks[0].diagnostics{note}")],
            "{diagnostics}"
        );
    }
}

#[test]
fn a_later_scan_is_another_run() {
    let run = |body: &str| match &read(KIND, body).sightings[0].said {
        Said::Check { run, .. } => run.clone(),
        Said::Signal(_) => panic!("a check"),
    };
    let (first, later) = (
        scan("false", PASS, ""),
        scan("false", PASS, "").replace("T08:0", "T08:1"),
    );
    assert_eq!(run(&first), run(&first));
    assert_ne!(run(&first).id, run(&later).id);
    assert!(run(&first).finished_at < run(&later).finished_at);
    let endless = first.replace("scanEndTimestamp", "other");
    assert_eq!(
        run(&endless).finished_at,
        Some("2026-11-23T08:00:00Z".parse().expect("a time"))
    );
}

#[test]
fn a_bad_check_is_rejected_with_its_place_and_the_others_are_kept() {
    let many = vec![r#"{"name":"n","value":"v"}"#; 257].join(",");
    let many = format!(r#""identity":"i","resourceAttributes":[{many}]"#);
    let table: [(&str, &str, &str); 18] = [
        ("", "identity", "a check id is wanted, found nothing"),
        (
            r#""identity":7"#,
            "identity",
            "expected a string, found a number",
        ),
        (
            r#""identity":"i","outcome":"ko""#,
            "outcome",
            "one of pass, warn, fail, null is wanted, found \"ko\"",
        ),
        (
            r#""identity":"i","outcome":"""#,
            "outcome",
            "one of pass, warn, fail, null is wanted, found \"\"",
        ),
        (
            r#""identity":"i","outcome":[]"#,
            "outcome",
            "one of pass, warn, fail, null is wanted, found a list",
        ),
        (
            r#""identity":"i","outcomeReasons":{}"#,
            "outcomeReasons",
            "expected a list, found an object",
        ),
        (
            r#""identity":"i","outcomeReasons":["x"]"#,
            "outcomeReasons[0]",
            "expected an object, found a string",
        ),
        (
            r#""identity":"i","outcomeReasons":[{"code":1}]"#,
            "outcomeReasons[0].code",
            "expected a string, found a number",
        ),
        (
            r#""identity":"i","name":[]"#,
            "name",
            "expected a string, found a list",
        ),
        (
            r#""identity":"i","type":true"#,
            "type",
            "expected a string, found true",
        ),
        (
            r#""identity":"i","dataSource":1"#,
            "dataSource",
            "expected a string, found a number",
        ),
        (
            r#""identity":"i","table":1"#,
            "table",
            "expected a string, found a number",
        ),
        (
            r#""identity":"i","column":1"#,
            "column",
            "expected a string, found a number",
        ),
        (
            r#""identity":"i","resourceAttributes":{}"#,
            "resourceAttributes",
            "expected a list, found an object",
        ),
        (
            r#""identity":"i","resourceAttributes":[{"value":"v"}]"#,
            "resourceAttributes[0].name",
            "a name is wanted, found nothing",
        ),
        (
            r#""identity":"i","resourceAttributes":[{"name":"n","value":[]}]"#,
            "resourceAttributes[0].value",
            "expected a string, found a list",
        ),
        (
            r#""identity":"i","resourceAttributes":[3]"#,
            "resourceAttributes[0]",
            "expected an object, found a number",
        ),
        (
            &many,
            "resourceAttributes",
            "at most 256 items are wanted, found more",
        ),
    ];
    for (fields, path, reason) in table {
        let parsed = read(
            KIND,
            &scan("false", &format!("{PASS},{{{fields}}},{FAIL}"), ""),
        );
        assert_eq!(parsed.sightings.len(), 3, "{fields}");
        assert_eq!(
            lines(&parsed)[3..],
            [format!("rejected $.checks[1].{path}: {reason}")],
            "{fields}"
        );
    }
    let parsed = read(KIND, &scan("false", &format!("{PASS},null"), ""));
    assert_eq!(
        lines(&parsed)[2..],
        ["rejected $.checks[1]: expected an object, found null"]
    );
}

#[test]
fn a_scan_that_is_none_is_refused_with_its_place() {
    let long = "x".repeat(257);
    let long = format!(r#"{{"hasErrors":true,"definitionName":"{long}"}}"#);
    let shown = format!(
        "the name of a scan of at most 256 characters is wanted, found \"{}…\"",
        "x".repeat(64)
    );
    let table: [(&str, &str, &str); 11] = [
        ("[]", "$", "expected an object, found a list"),
        (
            "{}",
            "$.hasErrors",
            "true or false is wanted, found nothing",
        ),
        (
            r#"{"hasErrors":"no"}"#,
            "$.hasErrors",
            "expected true or false, found a string",
        ),
        (
            r#"{"hasErrors":true,"hasFailures":0}"#,
            "$.hasFailures",
            "expected true or false, found a number",
        ),
        (
            r#"{"hasErrors":true,"checks":{}}"#,
            "$.checks",
            "expected a list, found an object",
        ),
        (
            r#"{"hasErrors":true,"automatedMonitoringChecks":1}"#,
            "$.automatedMonitoringChecks",
            "expected a list, found a number",
        ),
        (
            r#"{"hasErrors":true,"definitionName":1}"#,
            "$.definitionName",
            "expected a string, found a number",
        ),
        (&long, "$.definitionName", &shown),
        (
            r#"{"hasErrors":true,"defaultDataSource":[]}"#,
            "$.defaultDataSource",
            "expected a string, found a list",
        ),
        (
            r#"{"hasErrors":true,"scanStartTimestamp":"soon"}"#,
            "$.scanStartTimestamp",
            "an RFC 3339 or Unix time is wanted, found \"soon\"",
        ),
        (
            r#"{"hasErrors":true,"scanEndTimestamp":{}}"#,
            "$.scanEndTimestamp",
            "expected a string, found an object",
        ),
    ];
    for (body, path, reason) in table {
        let expected = (path.to_owned(), reason.to_owned());
        assert_eq!(refusal(KIND, body.as_bytes()), expected, "{body}");
    }
}
