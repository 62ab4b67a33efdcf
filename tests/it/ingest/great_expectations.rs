//! Checkpoints of Great Expectations, as our action posted them and as it might.

use super::{check_fixture, fixture, labels, line, lines, now, read, refusal};
use watchkeeper::domain::alert::{Run, Said, Sighting};
use watchkeeper::domain::source::Kind;
use watchkeeper::ingest::{Parsed, Post, parse};

const KIND: Kind = Kind::GreatExpectations;

/// Seven expectations of the failing suite, one of the suite that passes, and the checkpoint itself.
fn lines_of_the_failing_checkpoint(time: &str) -> Vec<String> {
    let of = |outcome: &str, name: &str, kwargs: &str, part: &str, suite: &str| {
        let label = |name: &str, value: &str| match value {
            "" => String::new(),
            value => format!("{name}=\"{value}\", "),
        };
        let (kwargs, part) = (label("kwargs", kwargs), label("part", part));
        format!(
            "{outcome} {{alertname=\"{name}\", checkpoint=\"orders_checkpoint\", dataset=\"warehouse.orders\", \
             {kwargs}{part}suite=\"{suite}\", tool=\"great_expectations\"}} run={time} {suite}"
        )
    };
    let (between, suite) = ("expect_column_values_to_be_between", "orders_suite");
    let rows = "expect_table_row_count_to_be_between";
    vec![
        of("error", between, "8519222254979002", "nope", suite),
        of(
            "fail",
            "expect_column_values_to_not_be_null",
            "5776b5db118c9c97",
            "amount",
            suite,
        ),
        of("fail", between, "c36f4a9301c5090c", "amount", suite),
        of(
            "fail",
            "expect_column_values_to_be_unique",
            "",
            "order_id",
            suite,
        ),
        of(
            "fail",
            "expect_column_values_to_be_in_set",
            "f71274d74ecb99e3",
            "status",
            suite,
        ),
        of("pass", rows, "e25355cb2b9e8bd3", "", suite),
        of("fail", "expect_column_to_exist", "", "missing_col", suite),
        of("pass", rows, "e25355cb2b9e8bd3", "", "orders_ok"),
        format!(
            "pass {{alertname=\"checkpoint\", checkpoint=\"orders_checkpoint\", tool=\"great_expectations\"}} run={time}"
        ),
    ]
}

fn parsed_fixture(name: &str) -> Parsed {
    let name = format!("great-expectations/{name}.json");
    parse(KIND, &Post::of(&fixture(&name), now())).expect("a usable body")
}

#[test]
fn what_the_action_posted_is_an_alert_for_each_expectation() {
    let table = [
        ("glue_post_failing", "2026-11-23T08:34:53.681676+00:00"),
        (
            "checkpoint_result_failing_basic",
            "2026-11-23T08:34:53.446308+00:00",
        ),
        (
            "checkpoint_result_failing_summary",
            "2026-11-23T08:34:53.556242+00:00",
        ),
    ];
    for (name, time) in table {
        let expected = lines_of_the_failing_checkpoint(time);
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        let name = format!("great-expectations/{name}.json");
        check_fixture(KIND, &name, &expected);
    }
    let time = "2026-11-23T08:34:53.762145+00:00";
    check_fixture(
        KIND,
        "great-expectations/glue_post_passing.json",
        &[
            &format!(
                "pass {{alertname=\"expect_table_row_count_to_be_between\", checkpoint=\"orders_checkpoint_ok\", \
                 dataset=\"warehouse.orders\", kwargs=\"e25355cb2b9e8bd3\", suite=\"orders_ok\", tool=\"great_expectations\"}} run={time} orders_ok"
            ),
            &format!(
                "pass {{alertname=\"checkpoint\", checkpoint=\"orders_checkpoint_ok\", tool=\"great_expectations\"}} run={time}"
            ),
        ],
    );
}

#[test]
fn what_great_expectations_says_without_our_action_is_refused() {
    let table = [
        (
            "builtin_slack_action",
            "$.validation_results",
            "a list of validations is wanted, found nothing",
        ),
        (
            "builtin_teams_action",
            "$.validation_results",
            "a list of validations is wanted, found nothing",
        ),
        (
            "validation_result_orders_ok",
            "$.validation_results",
            "a list of validations is wanted, found nothing",
        ),
        (
            "describe_failing",
            "$.checkpoint",
            "the name of a checkpoint is wanted, found nothing",
        ),
    ];
    for (name, path, reason) in table {
        let body = fixture(&format!("great-expectations/{name}.json"));
        assert_eq!(
            refusal(KIND, &body),
            (path.to_owned(), reason.to_owned()),
            "{name}"
        );
    }
}

#[test]
fn an_expectation_says_how_bad_how_many_and_whose_it_is() {
    let parsed = parsed_fixture("glue_post_failing");
    let words = |at: usize| {
        let sighting: &Sighting = &parsed.sightings[at];
        (sighting.severity.as_deref(), sighting.annotations.clone())
    };
    assert_eq!(
        words(1),
        (
            Some("critical"),
            labels(&[
                ("expected", r#"{"mostly":0.95}"#),
                ("failing_rows", "1"),
                ("notes", "amount is money"),
                ("owner", "team-data"),
                ("severity", "critical"),
                ("total_rows", "5"),
            ])
        )
    );
    assert_eq!(
        words(4),
        (
            Some("info"),
            labels(&[
                ("expected", r#"{"value_set":["paid","open","void"]}"#),
                ("failing_rows", "1"),
                ("severity", "info"),
                ("total_rows", "5"),
            ])
        )
    );
    assert_eq!(
        words(5),
        (
            Some("critical"),
            labels(&[
                ("expected", r#"{"min_value":1,"max_value":100}"#),
                ("observed", "5"),
                ("severity", "critical"),
            ])
        )
    );
    assert_eq!(
        words(6),
        (Some("critical"), labels(&[("severity", "critical")]))
    );
    assert_eq!(words(8), (None, labels(&[])));
    let at = Some("2026-11-23T08:34:53.681Z".parse().expect("a time"));
    let expected = Run {
        id: Some("2026-11-23T08:34:53.681676+00:00 orders_suite".to_owned()),
        attempt: None,
        finished_at: at,
    };
    let first = &parsed.sightings[0];
    let Said::Check { run, .. } = &first.said else {
        panic!("a check")
    };
    assert_eq!((run, first.starts_at), (&expected, at));
    assert_eq!(parsed.notes, Vec::<String>::new());
}

/// A validation's results in the checkpoint `nightly`, which says whether it succeeded.
fn checkpoint(success: &str, validations: &str) -> String {
    format!(
        r#"{{"checkpoint":"nightly","success":{success},"run_id":{{"run_name":null,"run_time":"2026-11-23T08:00:00+00:00"}},
            "validation_results":[{validations}]}}"#
    )
}

fn validation(success: &str, results: &str) -> String {
    format!(
        r#"{{"validation_result_id":["s","__none__","20261123T080000.000000Z","w-o"],"success":{success},"suite_name":"s",
            "meta":{{"active_batch_definition":{{"datasource_name":"w","data_asset_name":"o"}}}},"results":[{results}]}}"#
    )
}

/// The only result of a checkpoint, with its kwargs, and its outcome as it is put.
fn one(success: bool, kwargs: &str, more: &str) -> Parsed {
    let result = format!(
        r#"{{"success":{success},"expectation_config":{{"type":"e","kwargs":{kwargs}}}{more}}}"#
    );
    let success = success.to_string();
    read(KIND, &checkpoint(&success, &validation(&success, &result)))
}

fn first_line(parsed: &Parsed) -> String {
    line(&parsed.sightings[0])
}

#[test]
fn an_expectation_that_holds_again_has_the_labels_it_had_when_it_failed() {
    let batches = [
        r#"{"batch_id":"w-o-monday","column":"a","min_value":0.0,"max_value":10}"#,
        r#"{"max_value":10.0,"min_value":0,"column":"a","strict_min":null,"batch_id":"w-o-tuesday"}"#,
    ];
    let failed = &one(false, batches[0], r#","id":"6f1c""#).sightings[0];
    let passed = &one(true, batches[1], r#","id":"a07e""#).sightings[0];
    assert_eq!(failed.labels, passed.labels);
    assert!(line(failed).starts_with("fail ") && line(passed).starts_with("pass "));
}

#[test]
fn another_threshold_column_or_option_is_another_expectation() {
    let all = [
        "{}",
        r#"{"column":"a"}"#,
        r#"{"column":"b"}"#,
        r#"{"column":"a","max_value":10}"#,
        r#"{"column":"a","max_value":11}"#,
        r#"{"column":"a","max_value":"10"}"#,
        r#"{"column":"a","min_value":10}"#,
        r#"{"column":"a","max_value":10,"mostly":0.9}"#,
        r#"{"column_A":"a","column_B":"b"}"#,
        r#"{"column_list":["a","b"]}"#,
        r#"{"column_list":["a,b"]}"#,
    ];
    let mut seen: Vec<_> = all
        .iter()
        .map(|kwargs| one(false, kwargs, "").sightings[0].labels.fingerprint())
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), all.len());
    assert_eq!(
        first_line(&one(false, r#"{"column":7,"batch_id":"w-o"}"#, "")),
        "fail {alertname=\"e\", checkpoint=\"nightly\", dataset=\"w.o\", part=\"7\", suite=\"s\", tool=\"great_expectations\"} \
         run=2026-11-23T08:00:00+00:00 s"
    );
}

#[test]
fn an_expectation_that_raised_is_an_error_whichever_shape_it_comes_in() {
    let traceback = r#""Traceback (most recent call last):\n  File \"/home/u/x.py\", line 5, in f\n    raise a.b.OddError(row)\na.b.OddError: row 4711 of bob@example.com: 17\nDETAIL: bob@example.com""#;
    let metric = "MetricConfigurationID(metric_name='column.max', metric_domain_kwargs_id='f4', metric_value_kwargs_id=())";
    let raised = format!(
        r#"{{"raised_exception":true,"exception_message":"bob@example.com","exception_traceback":{traceback}}}"#
    );
    let calm = r#"{"raised_exception":false,"exception_message":null,"exception_traceback":null}"#;
    let no_column = r#"{"raised_exception":true,"exception_message":"Error: The column \"a\" in BatchData does not exist.","exception_traceback":null}"#;
    let of_metric = |info: &str| format!(r#"{{"other":{calm},"nothing":null,"{metric}":{info}}}"#);
    let table = [
        (calm.to_owned(), "fail", None),
        ("{}".to_owned(), "fail", None),
        ("null".to_owned(), "fail", None),
        (of_metric(calm), "fail", None),
        (raised.clone(), "error", Some("OddError")),
        (of_metric(&raised), "error", Some("OddError in column.max")),
        (
            no_column.to_owned(),
            "error",
            Some("an exception: there is no such column"),
        ),
        (
            of_metric(no_column),
            "error",
            Some("an exception in column.max: there is no such column"),
        ),
    ];
    for (info, outcome, message) in table {
        let more = format!(r#","result":{{}},"exception_info":{info}"#);
        let parsed = one(false, r#"{"column":"a"}"#, &more);
        let first = &parsed.sightings[0];
        assert!(line(first).starts_with(outcome), "{info}: {}", line(first));
        assert_eq!(first.annotations.get("message"), message, "{info}");
        assert!(!format!("{parsed:?}").contains("bob@"), "{info}");
        // Whoever raised and says it succeeded did not run either.
        let lucky = one(true, r#"{"column":"a"}"#, &more);
        let expected = if outcome == "error" { "error" } else { "pass" };
        assert!(first_line(&lucky).starts_with(expected), "{info}");
    }
    let real = &parsed_fixture("glue_post_failing").sightings[0];
    assert_eq!(
        real.annotations.get("message"),
        Some("MetricResolutionError in column_values.between.condition: there is no such column")
    );
}

#[test]
fn no_values_of_rows_are_kept() {
    for name in ["glue_post_failing", "checkpoint_result_failing_basic"] {
        let kept = format!("{:?}", parsed_fixture(name));
        for private in [
            "???",
            "-3.5",
            "9000",
            "Traceback",
            "/opt/venv",
            "filter(items",
        ] {
            assert!(!kept.contains(private), "{private} of {name}");
        }
    }
    let result = r#"{"observed_value":["bob@example.com"],"unexpected_list":["bob@example.com"],
        "partial_unexpected_list":["bob@example.com"],"details":{"value_counts":["bob@example.com"]}}"#;
    let more = format!(
        r#","result":{result},"exception_info":{{"raised_exception":false,"exception_message":"bob@example.com"}}"#
    );
    let parsed = one(false, r#"{"column":"a"}"#, &more);
    assert!(!format!("{parsed:?}").contains("bob@"));
    let text = r#","result":{"observed_value":"bob@example.com"}"#;
    assert!(!format!("{:?}", one(false, "{}", text)).contains("bob@"));

    let rejected = format!(
        r#"{{"expectation_config":{{}},"success":false,"result":{result},"rendered_content":["bob@example.com"],
            "exception_info":{{"exception_message":"bob@example.com"}}}}"#
    );
    let parsed = read(KIND, &checkpoint("false", &validation("false", &rejected)));
    assert_eq!(
        parsed.rejected[0].item,
        r#"{"expectation_config":{},"success":false}"#
    );
    let parsed = read(KIND, &checkpoint("false", &validation("\"no\"", &rejected)));
    assert!(!format!("{parsed:?}").contains("bob@"), "{parsed:?}");
    assert_eq!(parsed.rejected[0].path, "$.validation_results[0].success");
}

#[test]
fn what_was_measured_is_a_number_or_says_that_it_is_none() {
    let table = [
        ("5", Some("5")),
        ("-0.25", Some("-0.25")),
        ("\"nan\"", Some("nan")),
        ("\"inf\"", Some("inf")),
        ("NaN", Some("NaN")),
        ("-Infinity", Some("-Infinity")),
        ("null", None),
        ("true", None),
        ("\"bob\"", None),
        ("{\"quantiles\":[1]}", None),
    ];
    for (value, expected) in table {
        let parsed = one(
            false,
            "{}",
            &format!(r#","result":{{"observed_value":{value}}}"#),
        );
        let first = &parsed.sightings[0];
        assert!(line(first).starts_with("fail "), "{value}");
        assert_eq!(first.annotations.get("observed"), expected, "{value}");
    }
    let parsed = one(
        false,
        "{}",
        r#","result":{"unexpected_count":NaN,"element_count":5}"#,
    );
    assert!(first_line(&parsed).starts_with("fail "));
    assert_eq!(
        parsed.notes,
        [
            "$.validation_results[0].results[0].result.unexpected_count: left out, expected a number, found a string",
            "NaN or Infinity without quotes, read as text (1 times)"
        ]
    );
}

#[test]
fn a_checkpoint_that_failed_without_a_result_that_says_why_is_an_error() {
    let fail = r#"{"success":false,"expectation_config":{"type":"e"}}"#;
    let pass = r#"{"success":true,"expectation_config":{"type":"e"}}"#;
    let bad = r#"{"success":false,"expectation_config":{}}"#;
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>);
    let table: [Case<'_>; 9] = [
        ("true", &[], Some("pass")),
        ("false", &[], Some("error")),
        ("false", &[("false", "")], Some("error")),
        ("false", &[("false", pass)], Some("error")),
        ("false", &[("false", fail)], Some("pass")),
        ("false", &[("false", fail), ("false", "")], Some("error")),
        ("true", &[("true", pass)], Some("pass")),
        ("false", &[("false", bad)], Some("error")),
        ("true", &[("true", bad)], None),
    ];
    for (success, validations, expected) in table {
        let parts: Vec<String> = validations
            .iter()
            .map(|(success, results)| validation(success, results))
            .collect();
        let parsed = read(KIND, &checkpoint(success, &parts.join(",")));
        let own = parsed
            .sightings
            .last()
            .filter(|sighting| sighting.labels.get("alertname") == Some("checkpoint"));
        let expected = expected.map(|outcome| {
            format!(
                "{outcome} {{alertname=\"checkpoint\", checkpoint=\"nightly\", tool=\"great_expectations\"}} \
                 run=2026-11-23T08:00:00+00:00"
            )
        });
        assert_eq!(own.map(line), expected, "{success} {validations:?}");
    }
}

#[test]
fn a_checkpoint_is_complete_for_itself_where_all_of_it_could_be_read() {
    let fail = r#"{"success":false,"expectation_config":{"type":"e"}}"#;
    let scope = |body: &str| {
        let parsed = read(KIND, body);
        let scope = parsed.complete_scope()?;
        Some(format!("{} {}", scope.source, scope.scope))
    };
    let whole = checkpoint("false", &validation("false", fail));
    assert_eq!(scope(&whole).as_deref(), Some("great_expectations nightly"));
    let part = checkpoint("false", &validation("false", &format!("{fail},7")));
    assert_eq!(scope(&part), None);
    assert_eq!(scope(&checkpoint("false", &validation("false", ""))), None);
    assert_eq!(scope(&checkpoint("true", "")), None);
}

#[test]
fn a_report_posted_twice_is_one_run_and_the_next_is_another() {
    let run = |parsed: &Parsed| match &parsed.sightings[0].said {
        Said::Check { run, .. } => run.clone(),
        Said::Signal(_) => panic!("a check"),
    };
    let body = checkpoint(
        "true",
        &validation(
            "true",
            r#"{"success":true,"expectation_config":{"type":"e"}}"#,
        ),
    );
    assert_eq!(run(&read(KIND, &body)), run(&read(KIND, &body)));
    let later = body.replace("T08:00:00+00:00", "T08:00:01+00:00");
    assert!(run(&read(KIND, &later)).finished_at > run(&read(KIND, &body)).finished_at);
    assert_ne!(run(&read(KIND, &later)).id, run(&read(KIND, &body)).id);
}

#[test]
fn a_bad_result_is_rejected_with_its_place_and_the_others_are_kept() {
    let many: Vec<String> = (0..257).map(|n| format!("\"k{n}\":1")).collect();
    let many = format!(
        r#""success":true,"expectation_config":{{"type":"e","kwargs":{{{}}}}}"#,
        many.join(",")
    );
    let table: [(&str, &str, &str); 17] = [
        (
            "",
            "expectation_config",
            "the configuration of an expectation is wanted, found nothing",
        ),
        (
            r#""expectation_config":[]"#,
            "expectation_config",
            "expected an object, found a list",
        ),
        (
            r#""expectation_config":{}"#,
            "expectation_config.type",
            "a check id is wanted, found nothing",
        ),
        (
            r#""expectation_config":{"type":7}"#,
            "expectation_config.type",
            "expected a string, found a number",
        ),
        (
            r#""expectation_config":{"type":"e","kwargs":[]}"#,
            "expectation_config.kwargs",
            "expected an object, found a list",
        ),
        (
            r#""expectation_config":{"type":"e","kwargs":{"column":{}}}"#,
            "expectation_config.kwargs.column",
            "expected a string, found an object",
        ),
        (
            &many,
            "expectation_config.kwargs",
            "at most 256 kwargs are wanted, found 257",
        ),
        (
            r#""expectation_config":{"type":"e","severity":1}"#,
            "expectation_config.severity",
            "expected a string, found a number",
        ),
        (
            r#""expectation_config":{"type":"e","meta":"m"}"#,
            "expectation_config.meta",
            "expected an object, found a string",
        ),
        (
            r#""expectation_config":{"type":"e","description":[]}"#,
            "expectation_config.description",
            "expected a string, found a list",
        ),
        (
            r#""expectation_config":{"type":"e"}"#,
            "success",
            "true or false is wanted, found nothing",
        ),
        (
            r#""expectation_config":{"type":"e"},"success":null"#,
            "success",
            "true or false is wanted, found nothing",
        ),
        (
            r#""expectation_config":{"type":"e"},"success":"yes""#,
            "success",
            "expected true or false, found a string",
        ),
        (
            r#""expectation_config":{"type":"e"},"success":false,"exception_info":[]"#,
            "exception_info",
            "expected an object, found a list",
        ),
        (
            r#""expectation_config":{"type":"e"},"success":false,"exception_info":{"raised_exception":1}"#,
            "exception_info.raised_exception",
            "expected true or false, found a number",
        ),
        (
            r#""expectation_config":{"type":"e"},"success":false,"exception_info":{"m":7}"#,
            "exception_info.m",
            "expected an object, found a number",
        ),
        (
            r#""expectation_config":{"type":"e"},"success":false,"exception_info":{"m":{"raised_exception":"x"}}"#,
            "exception_info.m.raised_exception",
            "expected true or false, found a string",
        ),
    ];
    let good = r#"{"success":false,"expectation_config":{"type":"good"}}"#;
    for (fields, path, reason) in table {
        let results = format!("{good},{{{fields}}},{good}");
        let parsed = read(KIND, &checkpoint("false", &validation("false", &results)));
        let kept: Vec<_> = parsed
            .sightings
            .iter()
            .map(|sighting| sighting.labels.get("alertname").expect("a name"))
            .collect();
        assert_eq!(kept, ["good", "good", "checkpoint"], "{fields}");
        let rejected = &lines(&parsed)[3..];
        let expected = format!("rejected $.validation_results[0].results[1].{path}: {reason}");
        assert_eq!(rejected, [expected], "{fields}");
    }
}

#[test]
fn a_bad_validation_is_rejected_with_its_place_and_the_others_are_kept() {
    let long = "x".repeat(257);
    let long = format!(r#""success":true,"results":[],"suite_name":"{long}""#);
    let shown = format!(
        "the name of a suite of at most 256 characters is wanted, found \"{}…\"",
        "x".repeat(64)
    );
    let table: [(&str, &str, &str); 11] = [
        ("", ".success", "true or false is wanted, found nothing"),
        (
            r#""success":1"#,
            ".success",
            "expected true or false, found a number",
        ),
        (
            r#""success":true"#,
            ".results",
            "a list of results is wanted, found nothing",
        ),
        (
            r#""success":true,"results":{}"#,
            ".results",
            "expected a list, found an object",
        ),
        (
            r#""success":true,"results":[]"#,
            ".suite_name",
            "the name of a suite is wanted, found nothing",
        ),
        (
            r#""success":true,"results":[],"suite_name":[]"#,
            ".suite_name",
            "expected a string, found a list",
        ),
        (&long, ".suite_name", &shown),
        (
            r#""success":true,"results":[],"validation_result_id":"s""#,
            ".validation_result_id",
            "expected a list, found a string",
        ),
        (
            r#""success":true,"results":[],"validation_result_id":[7]"#,
            ".validation_result_id[0]",
            "expected a string, found a number",
        ),
        (
            r#""success":true,"results":[],"suite_name":"s","meta":[]"#,
            ".meta",
            "expected an object, found a list",
        ),
        (
            r#""success":true,"results":[],"suite_name":"s","meta":{"active_batch_definition":{"data_asset_name":5}}"#,
            ".meta.active_batch_definition.data_asset_name",
            "expected a string, found a number",
        ),
    ];
    let good = validation(
        "true",
        r#"{"success":true,"expectation_config":{"type":"good"}}"#,
    );
    for (fields, path, reason) in table {
        let parsed = read(KIND, &checkpoint("true", &format!("{{{fields}}},{good},8")));
        assert_eq!(parsed.sightings.len(), 2, "{fields}");
        let rejected = &lines(&parsed)[2..];
        let first = format!("rejected $.validation_results[0]{path}: {reason}");
        let last =
            "rejected $.validation_results[2]: expected an object, found a number".to_owned();
        assert_eq!(rejected, [first, last], "{fields}");
    }
}

#[test]
fn a_validation_that_names_no_asset_is_read_with_a_note() {
    let body = checkpoint(
        "true",
        r#"{"success":true,"validation_result_id":["by_id","x"],"results":[{"success":true,"expectation_config":{"type":"e"}}]}"#,
    );
    let parsed = read(KIND, &body);
    assert_eq!(
        first_line(&parsed),
        "pass {alertname=\"e\", checkpoint=\"nightly\", suite=\"by_id\", tool=\"great_expectations\"} \
         run=2026-11-23T08:00:00+00:00 by_id"
    );
    assert_eq!(
        parsed.notes,
        ["$.validation_results[0].meta: no asset is named, so its alerts name none"]
    );
}

#[test]
fn a_checkpoint_that_is_none_is_refused_with_its_place() {
    let table: [(&str, &str, &str); 11] = [
        ("[]", "$", "expected an object, found a list"),
        (
            "{}",
            "$.validation_results",
            "a list of validations is wanted, found nothing",
        ),
        (
            r#"{"validation_results":{}}"#,
            "$.validation_results",
            "expected a list, found an object",
        ),
        (
            r#"{"validation_results":[]}"#,
            "$.checkpoint",
            "the name of a checkpoint is wanted, found nothing",
        ),
        (
            r#"{"validation_results":[],"checkpoint":1}"#,
            "$.checkpoint",
            "expected a string, found a number",
        ),
        (
            r#"{"validation_results":[],"checkpoint":"c"}"#,
            "$.success",
            "true or false is wanted, found nothing",
        ),
        (
            r#"{"validation_results":[],"checkpoint":"c","success":"true"}"#,
            "$.success",
            "expected true or false, found a string",
        ),
        (
            r#"{"validation_results":[],"checkpoint":"c","success":true,"run_id":"r"}"#,
            "$.run_id",
            "expected an object, found a string",
        ),
        (
            r#"{"validation_results":[],"checkpoint":"c","success":true,"run_id":{"run_time":[]}}"#,
            "$.run_id.run_time",
            "expected a string, found a list",
        ),
        (
            r#"{"validation_results":[],"checkpoint":"c","success":true,"run_id":{"run_time":"soon"}}"#,
            "$.run_id.run_time",
            "an RFC 3339 or Unix time is wanted, found \"soon\"",
        ),
        (
            r#"{"checkpoint":"c","success":tru}"#,
            "$.success",
            "not JSON: expected ident at line 1 column 32",
        ),
    ];
    for (body, path, reason) in table {
        let expected = (path.to_owned(), reason.to_owned());
        assert_eq!(refusal(KIND, body.as_bytes()), expected, "{body}");
    }
}

#[test]
fn a_checkpoint_of_too_many_results_keeps_those_before_and_says_so() {
    let results = vec![r#"{"success":true,"expectation_config":{"type":"e"}}"#; 6_000].join(",");
    let half = validation("true", &results);
    let parsed = read(KIND, &checkpoint("true", &format!("{half},{half}")));
    assert_eq!(parsed.sightings.len(), 6_001);
    assert_eq!(
        lines(&parsed)[6_001..],
        ["rejected $.validation_results[1].results: at most 4000 items are wanted, found more"]
    );
}
