//! What dbt leaves behind a run, read into sightings.

use super::{check_fixture, fixture, labels, lines, now, read, refusal};
use watchkeeper::domain::alert::{Outcome, Said, Sighting};
use watchkeeper::domain::source::Kind;
use watchkeeper::ingest::{Parsed, Post, parse};

const FAILING: &str = "dbt-core/run_results_test_failing.json";
const PASSING: &str = "dbt-core/run_results_test_passing.json";
const FRESHNESS: &str = "dbt-core/sources_freshness_error.json";
const MANIFEST: &str = "dbt-core/manifest_trimmed.json";

fn text(name: &str) -> String {
    String::from_utf8(fixture(name)).expect("UTF-8")
}

fn wrapped(run_results: &str, sources: &str, manifest: &str) -> String {
    format!(r#"{{"run_results":{run_results},"sources":{sources},"manifest":{manifest}}}"#)
}

/// Read with parameters of the address.
fn read_as(body: &str, query: &[(&str, &str)]) -> Parsed {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let query: Vec<(String, String)> = query.iter().map(owned).collect();
    let post = Post {
        body: body.as_bytes(),
        headers: &[],
        query: &query,
        now: now(),
        mapping: None,
    };
    parse(Kind::Dbt, &post).expect("a usable body")
}

/// Run results of these items.
fn results(items: &str) -> String {
    format!(
        r#"{{"metadata":{{"dbt_schema_version":"https://schemas.getdbt.com/dbt/run-results/v6.json",
        "invocation_id":"i","generated_at":"2026-11-23T08:00:00.000000Z"}},"results":[{items}],"args":{{"which":"build"}}}}"#
    )
}

fn named<'p>(parsed: &'p Parsed, alertname: &str) -> &'p Sighting {
    let mut all = parsed.sightings.iter();
    all.find(|sighting| sighting.labels.get("alertname") == Some(alertname))
        .expect("a sighting of that name")
}

fn outcome(sighting: &Sighting) -> Outcome {
    match &sighting.said {
        Said::Check { outcome, .. } => *outcome,
        Said::Signal(_) => panic!("a check"),
    }
}

#[test]
fn dbts_own_artifacts_are_read_as_they_were_left() {
    let run = "08c8a179-2c8d-4bc5-a439-9daa0a9fa8d0";
    let test = |outcome: &str, name: &str| {
        format!("{outcome} {{alertname=\"test.shop.{name}\", tool=\"dbt\"}} run={run}")
    };
    let failing = [
        test(
            "fail",
            "accepted_values_orders_status__paid__open.96857baef1",
        ),
        test("fail", "assert_no_negative"),
        test("warn", "amount_warn_if.6b30fa2e81"),
        test("warn", "not_null_orders_amount.106140f9fd"),
        test("error", "not_null_orders_nope.fe8c8e497c"),
        test("pass", "not_null_orders_id.84ef11d8fe"),
        test("fail", "unique_orders_id.1360ecc70e"),
    ];
    check_fixture(Kind::Dbt, FAILING, &failing.each_ref().map(String::as_str));
    check_fixture(
        Kind::Dbt,
        PASSING,
        &[
            "pass {alertname=\"test.shop.not_null_orders_id.84ef11d8fe\", tool=\"dbt\"} run=d2f45d08-9544-4d79-ac12-6b0ab3b9a861",
        ],
    );
    check_fixture(
        Kind::Dbt,
        "dbt-core/glue_post_run_results.json",
        &[
            "pass {alertname=\"test.shop.not_null_orders_id.84ef11d8fe\", tool=\"dbt\"} run=213389bc-3855-4f3e-bcee-a78d18bd6234",
            "fail {alertname=\"test.shop.unique_orders_id.1360ecc70e\", tool=\"dbt\"} run=213389bc-3855-4f3e-bcee-a78d18bd6234",
        ],
    );
}

#[test]
fn a_source_whose_data_are_too_old_fails_and_could_be_looked_at() {
    check_fixture(
        Kind::Dbt,
        FRESHNESS,
        &[
            "fail {alertname=\"source.shop.raw.raw_orders\", dataset=\"raw.raw_orders\", tool=\"dbt\"} run=17ac1b46-555f-48bd-ade0-6fc3e69e64ad",
        ],
    );
    let parsed = read(Kind::Dbt, &text(FRESHNESS));
    assert_eq!(
        parsed.sightings[0].annotations,
        labels(&[
            ("check_name", "raw.raw_orders"),
            ("check_type", "source"),
            ("expected", "warn after 1 day, error after 10 day"),
            (
                "message",
                "1757708.219703 s old, loaded at 2026-11-03T00:00:00+00:00; warn after 1 day, error after 10 day"
            ),
            (
                "observed",
                "1757708.219703 s old, loaded at 2026-11-03T00:00:00+00:00"
            ),
        ])
    );
    let could_not = r#"{"unique_id":"source.shop.raw.raw_orders","status":"runtime error",
        "error":"Database Error in source raw_orders (models/shop.yml)\n  no such table"}"#;
    let other = read(Kind::Dbt, &results(could_not));
    assert_eq!(outcome(&other.sightings[0]), Outcome::Error);
    assert_eq!(other.sightings[0].labels, parsed.sightings[0].labels);
    assert_eq!(
        other.sightings[0].annotations.get("message"),
        Some("Database Error in source raw_orders (models/shop.yml)")
    );
}

#[test]
fn each_status_has_its_outcome() {
    let table = [
        ("success", Outcome::Pass),
        ("pass", Outcome::Pass),
        ("no-op", Outcome::Pass),
        ("warn", Outcome::Warn),
        ("fail", Outcome::Fail),
        ("partial success", Outcome::Fail),
        ("error", Outcome::Error),
        ("runtime error", Outcome::Error),
        ("skipped", Outcome::Skip),
        ("reused", Outcome::Skip),
    ];
    for (status, expected) in table {
        let item = format!(r#"{{"unique_id":"model.shop.orders","status":"{status}"}}"#);
        let parsed = read(Kind::Dbt, &results(&item));
        assert_eq!(outcome(&parsed.sightings[0]), expected, "{status}");
        assert_eq!(
            parsed.sightings[0].labels.to_string(),
            "{alertname=\"model.shop.orders\", dataset=\"orders\", tool=\"dbt\"}"
        );
    }
}

#[test]
fn a_test_that_passes_again_is_the_alert_that_fired() {
    let id = "test.shop.not_null_orders_id.84ef11d8fe";
    let failing = text(FAILING).replace("\"pass\"", "\"fail\"");
    let (fired, passed) = (read(Kind::Dbt, &failing), read(Kind::Dbt, &text(PASSING)));
    let (fired, passed) = (named(&fired, id), named(&passed, id));
    assert_eq!(
        (outcome(fired), outcome(passed)),
        (Outcome::Fail, Outcome::Pass)
    );
    assert_eq!(fired.labels, passed.labels);
}

#[test]
fn a_run_is_told_from_others_by_its_invocation_and_its_end() {
    let parsed = read(Kind::Dbt, &text(PASSING));
    for sighting in &parsed.sightings {
        let Said::Check { run, .. } = &sighting.said else {
            panic!("a check")
        };
        assert_eq!(
            run.id.as_deref(),
            Some("d2f45d08-9544-4d79-ac12-6b0ab3b9a861")
        );
        assert_eq!(run.attempt, None);
        let ended = run.finished_at.expect("an end");
        assert_eq!(ended.to_string(), "2026-11-23T08:15:15.657Z");
        assert_eq!(sighting.starts_at, Some(ended));
    }
    assert_eq!(
        parsed,
        read(Kind::Dbt, &text(PASSING)),
        "posted again, it says the same"
    );
    assert_eq!(parsed.scope, None, "a selection may have left tests out");
}

#[test]
fn the_manifest_adds_what_only_it_knows_and_no_identity() {
    let (plain, whole) = (
        read(Kind::Dbt, &text(FAILING)),
        read(
            Kind::Dbt,
            &wrapped(&text(FAILING), &text(FRESHNESS), &text(MANIFEST)),
        ),
    );
    let identity = |parsed: &Parsed| -> Vec<_> {
        let its = parsed.sightings.iter();
        its.map(|sighting| sighting.labels.clone()).collect()
    };
    let (plain, mut more) = (identity(&plain), identity(&whole));
    more.retain(|labels| plain.contains(labels));
    assert_eq!(more, plain);
    assert_eq!(whole.notes, Vec::<String>::new());
    assert_eq!(whole.sightings.len(), 7 + 1);

    let test = named(&whole, "test.shop.amount_warn_if.6b30fa2e81");
    assert_eq!(test.severity.as_deref(), Some("error"));
    assert_eq!(
        test.attributes,
        labels(&[
            ("dataset", "orders"),
            ("part", "amount"),
            ("project", "shop"),
            ("resource_type", "test"),
            ("tags", "dq"),
        ])
    );
    assert_eq!(
        test.annotations,
        labels(&[
            ("check_name", "amount_warn_if"),
            ("check_type", "test"),
            ("failing_rows", "1"),
            ("message", "Got 1 result, configured to warn if >0"),
            ("owner", "alice"),
            ("severity", "error"),
        ])
    );
    let owner = |name: &str| named(&whole, name).annotations.get("owner");
    assert_eq!(
        owner("test.shop.unique_orders_id.1360ecc70e"),
        Some("team-data"),
        "the model's, since the test has none"
    );
    assert_eq!(owner("test.shop.assert_no_negative"), None);
    let warned = named(&whole, "test.shop.not_null_orders_amount.106140f9fd");
    assert_eq!(warned.severity.as_deref(), Some("warn"));
}

#[test]
fn what_is_wrong_in_a_manifest_costs_no_result() {
    let item = r#"{"unique_id":"test.shop.a","status":"fail"}"#;
    let table = [
        (
            "[]",
            "$.manifest: left out, expected an object, found a list",
        ),
        (
            r#"{"nodes":7}"#,
            "$.manifest.nodes: left out, expected an object, found a number",
        ),
        (
            r#"{"nodes":{"test.shop.a":7}}"#,
            "$.manifest.nodes[\"test.shop.a\"]: left out, expected an object, found a number",
        ),
        (
            r#"{"nodes":{"test.shop.a":{"config":{"severity":["x"]}}}}"#,
            "$.manifest.nodes[\"test.shop.a\"].config.severity: left out, expected a string, found a list",
        ),
        (
            r#"{"nodes":{"test.shop.a":{"meta":{"owner":{"name":"x"}}}}}"#,
            "$.manifest.nodes[\"test.shop.a\"].meta.owner: left out, expected a string, found an object",
        ),
        (
            r#"{"nodes":{"test.shop.a":{"tags":["a",1]}}}"#,
            "$.manifest.nodes[\"test.shop.a\"].tags[1]: left out, expected a string, found a number",
        ),
        (
            r#"{"nodes":{"test.shop.a":{"attached_node":1}}}"#,
            "$.manifest.nodes[\"test.shop.a\"].attached_node: left out, expected a string, found a number",
        ),
    ];
    for (manifest, note) in table {
        let parsed = read(Kind::Dbt, &wrapped(&results(item), "null", manifest));
        assert_eq!(
            lines(&parsed),
            ["fail {alertname=\"test.shop.a\", tool=\"dbt\"} run=i",]
        );
        assert_eq!(parsed.notes, [note]);
    }
}

#[test]
fn one_node_of_the_manifest_named_by_many_results_is_not_multiplied() {
    let long = "x".repeat(1 << 20);
    let manifest = format!(
        r#"{{"nodes":{{"test.shop.a":{{"meta":{{"owner":"{long}"}},"tags":["{long}"],"column_name":"{long}","attached_node":"{long}"}}}}}}"#
    );
    let items = vec![r#"{"unique_id":"test.shop.a","status":"fail"}"#; 10_000];
    let parsed = read(
        Kind::Dbt,
        &wrapped(&results(&items.join(",")), "null", &manifest),
    );
    assert_eq!(parsed.sightings.len(), 10_000);
    let owner = parsed.sightings[0].annotations.get("owner");
    assert_eq!(owner.map(str::len), Some(512));
}

#[test]
fn the_address_adds_what_only_the_manifest_would_know() {
    let query = [
        ("project", "warehouse"),
        ("owner", "team-data"),
        ("label.env", "prod"),
        ("label.check", "error"),
        ("label.tool", "other"),
        ("label.", "no name"),
        ("unknown", "x"),
    ];
    let parsed = read_as(&text(PASSING), &query);
    assert_eq!(
        lines(&parsed),
        [
            "pass {alertname=\"test.shop.not_null_orders_id.84ef11d8fe\", env=\"prod\", project=\"warehouse\", tool=\"dbt\"} run=d2f45d08-9544-4d79-ac12-6b0ab3b9a861",
        ]
    );
    for sighting in &parsed.sightings {
        assert_eq!(sighting.attributes.get("project"), Some("warehouse"));
        assert_eq!(sighting.annotations.get("owner"), Some("team-data"));
    }
    assert_eq!(
        parsed.notes,
        ["label.check of the address: left out, the name is taken"]
    );
}

#[test]
fn the_address_cannot_say_too_much() {
    let long = "x".repeat(70_000);
    let refused = |query: &[(String, String)]| {
        let body = text(PASSING);
        let post = Post {
            query,
            ..Post::of(body.as_bytes(), now())
        };
        parse(Kind::Dbt, &post).expect_err("too much").to_string()
    };
    assert_eq!(
        refused(&[("label.a".to_owned(), long)]),
        "$: a label of the address with a value of at most 65536 bytes is wanted, found 70000"
    );
    let many = (0..257).map(|n| (format!("label.{n}"), "x".to_owned()));
    assert_eq!(
        refused(&many.collect::<Vec<_>>()),
        "$: at most 256 labels in the address are wanted, found 257"
    );
}

#[test]
fn a_bad_result_is_rejected_with_its_place_and_the_others_are_kept() {
    let long_id = format!(r#""status":"fail","unique_id":"test.{}""#, "x".repeat(600));
    let long_reason = format!(
        "a check id of at most 512 characters is wanted, found \"test.{}…\"",
        "x".repeat(59)
    );
    let known = "one of pass, success, no-op, warn, fail, partial success, error, runtime error, skipped, reused is wanted";
    let table: [(&str, &str, String); 10] = [
        (
            r#""status":"fail""#,
            ".unique_id",
            "a check id is wanted, found nothing".to_owned(),
        ),
        (
            r#""status":"fail","unique_id":7"#,
            ".unique_id",
            "expected a string, found a number".to_owned(),
        ),
        (&long_id, ".unique_id", long_reason),
        (
            r#""unique_id":"test.shop.a""#,
            ".status",
            format!("{known}, found nothing"),
        ),
        (
            r#""unique_id":"test.shop.a","status":"odd""#,
            ".status",
            format!("{known}, found \"odd\""),
        ),
        (
            r#""unique_id":"test.shop.a","status":["fail"]"#,
            ".status",
            format!("{known}, found a list"),
        ),
        (
            r#""unique_id":"test.shop.a","status":"fail","message":{}"#,
            ".message",
            "expected a string, found an object".to_owned(),
        ),
        (
            r#""unique_id":"test.shop.a","status":"fail","failures":"many""#,
            ".failures",
            "expected a number, found a string".to_owned(),
        ),
        (
            r#""unique_id":"source.shop.a.b","status":"error","criteria":{"warn_after":3}"#,
            ".criteria.warn_after",
            "expected an object, found a number".to_owned(),
        ),
        (
            r#""unique_id":"source.shop.a.b","status":"error","max_loaded_at":5"#,
            ".max_loaded_at",
            "expected a string, found a number".to_owned(),
        ),
    ];
    let good = r#"{"unique_id":"test.shop.good","status":"fail"}"#;
    for (fields, path, reason) in table {
        let parsed = read(Kind::Dbt, &results(&format!("{good},{{{fields}}},{good}")));
        let kept = "fail {alertname=\"test.shop.good\", tool=\"dbt\"} run=i";
        let rejected = format!("rejected $.results[1]{path}: {reason}");
        assert_eq!(lines(&parsed), [kept, kept, &rejected]);
    }
    let parsed = read(Kind::Dbt, &results(r#"5,"x",null"#));
    assert_eq!(
        lines(&parsed),
        [
            "rejected $.results[0]: expected an object, found a number",
            "rejected $.results[1]: expected an object, found a string",
            "rejected $.results[2]: expected an object, found null",
        ]
    );
}

#[test]
fn a_body_of_which_nothing_is_usable_is_refused_with_its_place() {
    let manifest = text(MANIFEST);
    let table: [(&str, &str, &str); 10] = [
        ("[]", "$", "expected an object, found a list"),
        (
            r#"{"metadata":{}}"#,
            "$.results",
            "a list of results is wanted, found nothing",
        ),
        (
            r#"{"results":{}}"#,
            "$.results",
            "expected a list, found an object",
        ),
        (
            r#"{"metadata":[],"results":[]}"#,
            "$.metadata",
            "expected an object, found a list",
        ),
        (
            r#"{"metadata":{"invocation_id":1},"results":[]}"#,
            "$.metadata.invocation_id",
            "expected a string, found a number",
        ),
        (
            r#"{"metadata":{"generated_at":"soon"},"results":[]}"#,
            "$.metadata.generated_at",
            "an RFC 3339 or Unix time is wanted, found \"soon\"",
        ),
        (
            r#"{"metadata":{"dbt_schema_version":6},"results":[]}"#,
            "$.metadata.dbt_schema_version",
            "expected a string, found a number",
        ),
        (
            &manifest,
            "$.metadata.dbt_schema_version",
            "the schema of run results or sources is wanted, found \"https://schemas.getdbt.com/dbt/manifest/v12.json\"",
        ),
        (
            r#"{"run_results":[]}"#,
            "$.run_results",
            "expected an object, found a list",
        ),
        (
            r#"{"run_results":{"results":1},"sources":{"results":2}}"#,
            "$.run_results.results",
            "expected a list, found a number",
        ),
    ];
    for (body, path, reason) in table {
        let expected = (path.to_owned(), reason.to_owned());
        assert_eq!(refusal(Kind::Dbt, body.as_bytes()), expected, "{body}");
    }
    let long = format!(
        r#"{{"metadata":{{"invocation_id":"{}"}},"results":[]}}"#,
        "i".repeat(257)
    );
    assert_eq!(
        refusal(Kind::Dbt, long.as_bytes()).0,
        "$.metadata.invocation_id"
    );
}

#[test]
fn one_artifact_that_cannot_be_read_costs_the_other_nothing() {
    let sources = r#"{"metadata":{"env":{"TOKEN":"secret"},"generated_at":"soon"},"results":["secret"],"elapsed_time":1}"#;
    let parsed = read(Kind::Dbt, &wrapped(&text(PASSING), sources, "null"));
    assert_eq!(
        lines(&parsed)[1..],
        [
            "rejected $.sources.metadata.generated_at: an RFC 3339 or Unix time is wanted, found \"soon\"",
        ]
    );
    assert_eq!(parsed.rejected[0].item, r#"{"elapsed_time":1}"#);
    let bad = wrapped("null", &text(FRESHNESS).replace("\"error\",", "1,"), "null");
    let parsed = read(Kind::Dbt, &bad);
    assert_eq!(parsed.rejected[0].path, "$.sources.results[0].status");
}

#[test]
fn another_version_is_read_with_a_note() {
    let item = r#"{"unique_id":"test.shop.a","status":"fail"}"#;
    let parsed = read(
        Kind::Dbt,
        &results(item).replace("run-results/v6", "run-results/v7"),
    );
    assert_eq!(parsed.sightings.len(), 1);
    assert_eq!(
        parsed.notes,
        [
            "$.metadata.dbt_schema_version: read as v6, found \"https://schemas.getdbt.com/dbt/run-results/v7.json\""
        ]
    );
}

#[test]
fn a_long_message_is_cut_and_keeps_its_lines() {
    let message = format!("Compilation Error\\n  {}", "x".repeat(10_000));
    let item = format!(r#"{{"unique_id":"model.shop.a","status":"error","message":"{message}"}}"#);
    let parsed = read(Kind::Dbt, &results(&item));
    let kept = parsed.sightings[0].annotations.get("message");
    assert_eq!(kept.map(str::len), Some(8192));
    assert!(kept.is_some_and(|kept| kept.starts_with("Compilation Error\n  x")));
    assert_eq!(
        parsed.notes,
        ["$.results[0].message: cut from 10020 bytes to 8192"]
    );
}

#[test]
fn queries_arguments_and_rows_never_enter() {
    let secrets = r#""compiled_code":"SECRET","raw_code":"SECRET","compiled_sql":"SECRET","raw_sql":"SECRET","relation_name":"SECRET",
        "adapter_response":{"_message":"SECRET"},"batch_results":{"failed":["SECRET"]},"node":{"a":"SECRET"},"args":["SECRET"],
        "criteria":{"filter":"SECRET","warn_after":{"count":null,"period":null}}"#;
    let items = [
        format!(r#"{{"unique_id":"test.shop.a","status":"fail",{secrets}}}"#),
        format!(r#"{{"unique_id":"source.shop.a.b","status":"error",{secrets}}}"#),
        format!(
            r#"{{"unique_id":"test.shop.a","status":"odd","message":"SECRET","error":"SECRET",{secrets}}}"#
        ),
    ];
    let args = r#""args":{"which":"build","project_dir":"SECRET","vars":{"password":"SECRET"},"invocation_command":"SECRET"}"#;
    let body = results(&items.join(",")).replace(r#""args":{"which":"build"}"#, args);
    assert!(body.contains("invocation_command"));
    let parsed = read(Kind::Dbt, &body);
    assert_eq!((parsed.sightings.len(), parsed.rejected.len()), (2, 1));
    assert!(!format!("{parsed:?}").contains("SECRET"));

    let whole = wrapped(&text(FAILING), &text(FRESHNESS), &text(MANIFEST));
    let shown = format!("{:?}", read(Kind::Dbt, &whole));
    for private in [
        "select",
        "/srv/dbt",
        "main_dbt_test__audit",
        "profiles",
        "Thread-1",
    ] {
        assert!(!shown.contains(private), "{private}");
    }
}

#[test]
fn of_an_error_the_words_of_the_database_are_left_out() {
    let real = r"Runtime Error in model conv (models/conv.sql)\n  Conversion Error: Could not convert string 'john@example.com' to INT32\n  LINE 11: select cast(a as int)";
    let table = [
        (real, Some("Runtime Error in model conv (models/conv.sql)")),
        (
            "Database Error\\n  john@example.com",
            Some("Database Error"),
        ),
        (
            r"Compilation Error in model a (models/a.sql)\n  'nowhere' is undefined",
            Some("Compilation Error in model a (models/a.sql)\n  'nowhere' is undefined"),
        ),
        ("Could not convert 'john@example.com' in row 3", None),
        ("john@example.com is no number: Error", None),
        ("", None),
    ];
    for (message, kept) in table {
        let of = |status: &str| {
            let item = format!(
                r#"{{"unique_id":"model.shop.a","status":"{status}","message":"{message}"}}"#
            );
            read(Kind::Dbt, &results(&item)).sightings.remove(0)
        };
        let error = of("error");
        assert_eq!(error.annotations.get("message"), kept, "{message}");
        // What a test says of itself is dbt's own.
        assert_eq!(
            of("fail").annotations.get("message").is_some(),
            !message.is_empty()
        );
    }
}

#[test]
fn a_number_that_is_none_raises_the_alert_all_the_same() {
    let body = results(
        r#"{"unique_id":"test.shop.a","status":"fail","failures":NaN},
        {"unique_id":"source.shop.a.b","status":"error","max_loaded_at_time_ago_in_s":Infinity}"#,
    );
    let parsed = read(Kind::Dbt, &body);
    assert_eq!(
        lines(&parsed)[..2],
        [
            "fail {alertname=\"test.shop.a\", tool=\"dbt\"} run=i",
            "fail {alertname=\"source.shop.a.b\", dataset=\"a.b\", tool=\"dbt\"} run=i",
        ]
    );
    let (test, source) = (&parsed.sightings[0], &parsed.sightings[1]);
    assert_eq!(test.annotations.get("failing_rows"), Some("NaN"));
    assert_eq!(source.annotations.get("observed"), Some("Infinity s old"));
    assert_eq!(
        parsed.notes,
        ["NaN or Infinity without quotes, read as text (2 times)"]
    );
}
