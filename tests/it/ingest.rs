//! What senders really send, what they should not have sent, and what nobody would, read into sightings.

mod change;
mod cloudevents;
mod dbt;
mod dbt_cloud;
mod evidently;
mod grafana;
mod great_expectations;
mod mapped;
mod mlflow;
mod soda;

use proptest::prelude::*;
use serde_json::value::RawValue;
use std::path::{Path, PathBuf};
use watchkeeper::domain::alert::{Labels, Run, Said, Sighting, Signal};
use watchkeeper::domain::source::Kind;
use watchkeeper::domain::time::Timestamp;
use watchkeeper::ingest::{Parsed, Post, Unusable, parse, parse_time};

fn now() -> Timestamp {
    "2026-11-23T09:00:00Z".parse().expect("a time")
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/fixtures/payloads")
        .join(name)
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(folder(name)).expect("the fixture is there")
}

/// The headers with which a body was sent, as they come to be read.
fn headers(name: &str) -> Vec<(String, String)> {
    let sent: serde_json::Value = serde_json::from_slice(&fixture(name)).expect("JSON");
    let sent: Vec<(String, String)> =
        serde_json::from_value(sent["headers"].clone()).expect("pairs of texts");
    let lower = |(name, text): (String, String)| (name.to_ascii_lowercase(), text);
    sent.into_iter().map(lower).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    pairs.iter().map(owned).collect()
}

fn read(kind: Kind, body: &str) -> Parsed {
    parse(kind, &Post::of(body.as_bytes(), now())).expect("a usable body")
}

fn refusal(kind: Kind, body: &[u8]) -> (String, String) {
    let Unusable { path, reason } =
        parse(kind, &Post::of(body, now())).expect_err("an unusable body");
    (path, reason)
}

/// `firing {labels} starts=… ends=…`, or of a check `fail {labels} run=… attempt=… finished=…`.
fn line(sighting: &Sighting) -> String {
    let at = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let labels = &sighting.labels;
    match &sighting.said {
        Said::Signal(signal) => {
            let word = match signal {
                Signal::FiringUntil(_) => "firing for now",
                Signal::Firing => "firing",
                Signal::Resolved => "resolved",
            };
            let (starts, ends) = (at(sighting.starts_at), at(sighting.ends_at));
            format!("{word} {labels} starts={starts} ends={ends}")
        }
        Said::Check { outcome, run } => {
            let id = run.id.as_deref().unwrap_or("-");
            format!("{} {labels} run={id}", outcome.as_str())
        }
    }
}

fn lines(parsed: &Parsed) -> Vec<String> {
    let rejected = parsed
        .rejected
        .iter()
        .map(|item| format!("rejected {}: {}", item.path, item.reason));
    parsed.sightings.iter().map(line).chain(rejected).collect()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

fn check_fixture(kind: Kind, name: &str, expected: &[&str]) {
    let parsed = parse(kind, &Post::of(&fixture(name), now())).expect("a usable body");
    assert_eq!(lines(&parsed), expected, "{name}");
}

#[test]
fn alertmanagers_own_bodies_are_read_as_they_were_sent() {
    let errors = |n: u8, status: &str, starts: &str, ends: &str| {
        format!(
            "{status} {{alertname=\"HighErrorRate\", cluster=\"eu1\", instance=\"api-{n}:8080\", \
             service=\"checkout\", severity=\"critical\"}} starts={starts} ends={ends}"
        )
    };
    let since = "2026-11-23T08:08:51.653Z";
    let firing = |n| errors(n, "firing", since, "-");
    let auth = "firing {alertname=\"AuthTest\", severity=\"critical\", team=\"auth\"} starts=2026-11-23T08:08:52.238Z ends=-";
    let failing = "firing {alertname=\"FailTest\", severity=\"info\", team=\"fail\"} starts=2026-11-23T08:08:53.708Z ends=-";
    let truncated = |host: &str, status: &str, ends: &str| {
        format!(
            "{status} {{alertname=\"Trunc\", instance=\"{host}\", severity=\"info\", team=\"trunc\"}} \
             starts=2026-11-23T08:10:06.415Z ends={ends}"
        )
    };
    let gone = "2026-11-23T08:10:20.000Z";
    let three = vec![firing(1), firing(2), firing(3)];
    let one = |line: &str| vec![line.to_owned()];
    let table: [(&str, Vec<String>); 15] = [
        ("firing_grouped_3", three.clone()),
        ("repeat_interval_resend_identical", three),
        (
            "firing_missing_group_label",
            one(
                "firing {alertname=\"Watchdog\", severity=\"none\"} starts=2026-11-23T08:08:52.053Z ends=-",
            ),
        ),
        ("firing_single_basic_auth", one(auth)),
        ("firing_single_bearer_auth", one(auth)),
        ("firing_single_custom_auth_scheme", one(auth)),
        (
            "partial_resolved_2_firing_1_resolved",
            vec![
                firing(1),
                firing(2),
                errors(3, "resolved", since, "2026-11-23T08:10:05.000Z"),
            ],
        ),
        ("redirect_307_followed", one(failing)),
        (
            "refire_same_fingerprint_new_startsAt",
            vec![errors(1, "firing", "2026-11-23T08:33:35.446Z", "-")],
        ),
        ("resend_after_4xx_next_group_interval", one(failing)),
        (
            "resolved_all",
            vec![
                errors(1, "resolved", since, gone),
                errors(2, "resolved", since, gone),
            ],
        ),
        ("retry_attempt1_got500", one(failing)),
        ("retry_attempt2_got503", one(failing)),
        ("retry_attempt3_got200", one(failing)),
        (
            "truncated_firing_2_of_5",
            vec![
                truncated("h1", "firing", "-"),
                truncated("h2", "firing", "-"),
            ],
        ),
    ];
    for (name, expected) in table {
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        let name = format!("alertmanager-webhook/{name}.json");
        check_fixture(Kind::Alertmanager, &name, &expected);
    }
}

#[test]
fn alertmanagers_fingerprints_are_ours() {
    let mut n_alerts = 0;
    for file in std::fs::read_dir(folder("alertmanager-webhook")).expect("a folder") {
        let body = std::fs::read(file.expect("an entry").path()).expect("a file");
        let sent: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let sent: Vec<&str> = sent["alerts"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|alert| alert["fingerprint"].as_str().expect("a text"))
            .collect();
        let parsed = parse(Kind::Alertmanager, &Post::of(&body, now())).expect("a usable body");
        let ours: Vec<String> = parsed
            .sightings
            .iter()
            .map(|sighting| sighting.labels.fingerprint().to_string())
            .collect();
        assert_eq!(ours, sent);
        n_alerts += ours.len();
    }
    assert_eq!(n_alerts, 25);
}

#[test]
fn an_alert_keeps_its_words_and_where_it_came_from() {
    let body = fixture("alertmanager-webhook/firing_grouped_3.json");
    let parsed = parse(Kind::Alertmanager, &Post::of(&body, now())).expect("a usable body");
    let first = &parsed.sightings[0];
    assert_eq!(first.severity.as_deref(), Some("critical"));
    assert_eq!(
        first.annotations,
        labels(&[
            ("description", "5xx ratio over 5m is above 5%"),
            ("runbook_url", "https://runbooks.example/high-error-rate"),
            ("summary", "Error rate 12% on api-1"),
        ])
    );
    assert_eq!(
        first.attributes,
        labels(&[
            (
                "generator_url",
                "http://prometheus.example:9090/graph?g0.expr=x&g0.tab=1"
            ),
            ("receiver", "all"),
        ])
    );
    assert_eq!(parsed.notes, Vec::<String>::new());
    assert_eq!(parsed.scope, None);
}

#[test]
fn a_truncated_message_resolves_only_the_alerts_in_it() {
    let name = "alertmanager-webhook/truncated_status_resolved_but_others_firing.json";
    check_fixture(
        Kind::Alertmanager,
        name,
        &[
            "resolved {alertname=\"Trunc\", instance=\"h1\", severity=\"info\", team=\"trunc\"} starts=2026-11-23T08:10:06.415Z ends=2026-11-23T08:10:20.000Z",
            "resolved {alertname=\"Trunc\", instance=\"h2\", severity=\"info\", team=\"trunc\"} starts=2026-11-23T08:10:06.415Z ends=2026-11-23T08:10:20.000Z",
        ],
    );
    let parsed =
        parse(Kind::Alertmanager, &Post::of(&fixture(name), now())).expect("a usable body");
    assert_eq!(
        parsed.notes,
        ["$.truncatedAlerts: the sender left out 3 alerts"]
    );
}

/// One alert with these fields, in a body of version 4.
fn alert(fields: &str) -> String {
    format!(r#"{{"version":"4","alerts":[{{{fields}}}]}}"#)
}

#[test]
fn a_bad_alert_is_rejected_with_its_place_and_the_others_are_kept() {
    let long = "x".repeat(70_000);
    let many: Vec<String> = (0..257).map(|n| format!("\"l{n}\":\"x\"")).collect();
    let (too_long, too_many) = (
        format!(r#""status":"firing","labels":{{"a":"{long}"}}"#),
        format!(r#""status":"firing","labels":{{{}}}"#, many.join(",")),
    );
    let long_name = format!(
        r#""status":"firing","labels":{{"{}":"x"}}"#,
        "n".repeat(1025)
    );
    let long_name_path = format!("$.alerts[1].labels[\"{}…\"]", "n".repeat(64));
    let table: [(&str, &str, &str); 20] = [
        (
            r#""status":"broken","labels":{"a":"b"}"#,
            "$.alerts[1].status",
            "one of firing, resolved is wanted, found \"broken\"",
        ),
        (
            r#""labels":{"a":"b"}"#,
            "$.alerts[1].status",
            "one of firing, resolved is wanted, found nothing",
        ),
        (
            r#""status":1,"labels":{"a":"b"}"#,
            "$.alerts[1].status",
            "one of firing, resolved is wanted, found 1",
        ),
        (
            r#""status":"firing""#,
            "$.alerts[1].labels",
            "an alert without labels",
        ),
        (
            r#""status":"firing","labels":{}"#,
            "$.alerts[1].labels",
            "an alert without labels",
        ),
        (
            r#""status":"firing","labels":{"a":""}"#,
            "$.alerts[1].labels",
            "an alert without labels",
        ),
        (
            r#""status":"firing","labels":[]"#,
            "$.alerts[1].labels",
            "expected an object, found a list",
        ),
        (
            r#""status":"firing","labels":{"foo":3}"#,
            "$.alerts[1].labels.foo",
            "expected a string, found a number",
        ),
        (
            r#""status":"firing","labels":{"a b":true}"#,
            "$.alerts[1].labels[\"a b\"]",
            "expected a string, found true",
        ),
        (
            r#""status":"firing","labels":{"a":{}}"#,
            "$.alerts[1].labels.a",
            "expected a string, found an object",
        ),
        (
            r#""status":"firing","labels":{"":"x"}"#,
            "$.alerts[1].labels[\"\"]",
            "a label without a name",
        ),
        (
            r#""status":"firing","labels":{"a":"\ud800"}"#,
            "$.alerts[1].labels.a",
            "not readable: unexpected end of hex escape",
        ),
        (
            r#""status":"firing","labels":{"a":"b"},"annotations":{"summary":5}"#,
            "$.alerts[1].annotations.summary",
            "expected a string, found a number",
        ),
        (
            r#""status":"firing","labels":{"a":"b"},"annotations":"words""#,
            "$.alerts[1].annotations",
            "expected an object, found a string",
        ),
        (
            r#""status":"firing","labels":{"a":"b"},"startsAt":"yesterday""#,
            "$.alerts[1].startsAt",
            "an RFC 3339 or Unix time is wanted, found \"yesterday\"",
        ),
        (
            r#""status":"firing","labels":{"a":"b"},"endsAt":{}"#,
            "$.alerts[1].endsAt",
            "expected a string, found an object",
        ),
        (
            r#""status":"firing","labels":{"a":"b"},"generatorURL":[]"#,
            "$.alerts[1].generatorURL",
            "expected a string, found a list",
        ),
        (
            &too_long,
            "$.alerts[1].labels.a",
            "a value of at most 65536 bytes is wanted, found 70000",
        ),
        (
            &too_many,
            "$.alerts[1].labels",
            "at most 256 labels are wanted, found 257",
        ),
        (
            &long_name,
            &long_name_path,
            "a name of at most 1024 bytes is wanted, found 1025",
        ),
    ];
    let good = r#"{"status":"firing","labels":{"alertname":"Good"}}"#;
    for (fields, path, reason) in table {
        let body = format!(r#"{{"version":"4","alerts":[{good},{{{fields}}},{good}]}}"#);
        let parsed = read(Kind::Alertmanager, &body);
        let kept = "firing {alertname=\"Good\"} starts=- ends=-";
        let rejected = format!("rejected {path}: {reason}");
        assert_eq!(lines(&parsed), [kept, kept, &rejected]);
        assert!(parsed.rejected[0].item.len() <= 256 * 1024 + "…".len());
    }
    let parsed = read(
        Kind::Alertmanager,
        r#"{"version":"4","alerts":[ { "status" : 7 }, null, "x" ]}"#,
    );
    assert_eq!(parsed.rejected[0].item, r#"{"status":7}"#);
    assert_eq!(
        lines(&parsed)[1..],
        [
            "rejected $.alerts[1]: expected an object, found null",
            "rejected $.alerts[2]: expected an object, found a string",
        ]
    );
}

#[test]
fn a_body_of_which_nothing_is_usable_is_refused_with_its_place() {
    let deep_but_balanced = format!(
        "{{\"alerts\":[],\"x\":{}1{}}}",
        "[".repeat(128),
        "]".repeat(128)
    );
    let alertmanager: [(&[u8], &str, &str); 20] = [
        (b"", "$", "the body is empty"),
        (b" \n ", "$", "the body is empty"),
        (b"\xef\xbb\xbf", "$", "the body is empty"),
        (
            b"{\"alerts\":\n [\"\xff\"]}",
            "$",
            "the body is not UTF-8 at line 2 column 4",
        ),
        (
            b"\xff\xfe{\x00}\x00",
            "$",
            "the body is not UTF-8 at line 1 column 1",
        ),
        (b"hello", "$", "not JSON: expected value at line 1 column 1"),
        (
            b"payload=%7B%7D",
            "$",
            "not JSON: expected value at line 1 column 1",
        ),
        (
            b"{} {}",
            "$",
            "not JSON: trailing characters at line 1 column 4",
        ),
        (
            b"{\"alerts\":[]}x",
            "$",
            "not JSON: trailing characters at line 1 column 14",
        ),
        (
            b"{\"alerts\":[{\"status\":\"firing\",\"labels\":{\"a\":x}}]}",
            "$.alerts[0].labels.a",
            "not JSON: expected value at line 1 column 45",
        ),
        (
            b"{\"alerts\":[1,\n2,\n{\"a\":1,}]}",
            "$.alerts[2]",
            "not JSON: key must be a string at line 3 column 8",
        ),
        (
            b"{\"alerts\":[NaN,\n{\"a b\":NaN,\"c\":NaN x}]}",
            "$.alerts[1].c",
            "not JSON: expected `,` or `}` at line 2 column 20",
        ),
        (
            b"{\"alerts\":[{\"labels\":{\"a\":\"b",
            "$.alerts[0].labels.a",
            "not JSON: EOF while parsing a string at line 1 column 28",
        ),
        (
            b"{\"alerts\"",
            "$.alerts",
            "not JSON: EOF while parsing an object at line 1 column 9",
        ),
        (b"[]", "$", "expected an object, found a list"),
        (b"NaN", "$", "expected an object, found a string"),
        (
            b"{}",
            "$.alerts",
            "a list of alerts is wanted, found nothing",
        ),
        (
            b"{\"alerts\":null}",
            "$.alerts",
            "a list of alerts is wanted, found nothing",
        ),
        (
            b"{\"alerts\":{}}",
            "$.alerts",
            "expected a list, found an object",
        ),
        (
            deep_but_balanced.as_bytes(),
            "$",
            "nested deeper than 128 at line 1 column 145",
        ),
    ];
    for (body, path, reason) in alertmanager {
        let expected = (path.to_owned(), reason.to_owned());
        let shown = String::from_utf8_lossy(body);
        assert_eq!(refusal(Kind::Alertmanager, body), expected, "{shown}");
    }
    let checks: [(&str, &str, &str); 18] = [
        (
            "{}",
            "$.checks",
            "a list of checks is wanted, found nothing",
        ),
        ("7", "$", "expected an object, found a number"),
        (
            r#"{"version":"1","source":"s","checks":{}}"#,
            "$.checks",
            "expected a list, found an object",
        ),
        (
            r#"{"version":"1","checks":[]}"#,
            "$.source",
            "a source is wanted, found nothing",
        ),
        (
            r#"{"version":"1","source":"","checks":[]}"#,
            "$.source",
            "a source is wanted, found \"\"",
        ),
        (
            r#"{"version":"1","source":3,"checks":[]}"#,
            "$.source",
            "expected a string, found a number",
        ),
        (
            r#"{"check_id":"c","status":"fail"}"#,
            "$.source",
            "a source is wanted, found nothing",
        ),
        (
            r#"{"source":"s","checks":[]}"#,
            "$.version",
            "version \"1\" is wanted, found nothing",
        ),
        (
            r#"{"version":"2","source":"s","checks":[]}"#,
            "$.version",
            "version \"1\" is wanted, found \"2\"",
        ),
        (
            r#"{"version":2,"source":"s","check_id":"c"}"#,
            "$.version",
            "version \"1\" is wanted, found 2",
        ),
        (
            r#"{"version":1,"source":"s","checks":[],"labels":{"a":1}}"#,
            "$.labels.a",
            "expected a string, found a number",
        ),
        (
            r#"{"version":1,"source":"s","checks":[],"scope":1}"#,
            "$.scope",
            "expected a string, found a number",
        ),
        (
            r#"{"version":1,"source":"s","checks":[],"run":"r"}"#,
            "$.run",
            "expected an object, found a string",
        ),
        (
            r#"{"version":1,"source":"s","checks":[],"run":{"id":{}}}"#,
            "$.run.id",
            "expected a string, found an object",
        ),
        (
            r#"{"version":1,"source":"s","checks":[],"run":{"attempt":"1"}}"#,
            "$.run.attempt",
            "expected a number, found a string",
        ),
        (
            r#"{"version":1,"source":"s","checks":[],"run":{"attempt":1.5}}"#,
            "$.run.attempt",
            "a whole number is wanted, found 1.5",
        ),
        (
            r#"{"version":1,"source":"s","checks":[],"run":{"finished_at":"soon"}}"#,
            "$.run.finished_at",
            "an RFC 3339 or Unix time is wanted, found \"soon\"",
        ),
        (
            r#"{"version":1,"source":"s","checks":[],"run":{"finished_at_epoch":true}}"#,
            "$.run.finished_at_epoch",
            "expected a string, found true",
        ),
    ];
    for (body, path, reason) in checks {
        let expected = (path.to_owned(), reason.to_owned());
        assert_eq!(refusal(Kind::Check, body.as_bytes()), expected, "{body}");
    }
    let unusable = parse(Kind::Alertmanager, &Post::of(b"{}", now())).expect_err("no alerts");
    assert_eq!(
        unusable.to_string(),
        "$.alerts: a list of alerts is wanted, found nothing"
    );
}

#[test]
fn a_body_without_items_is_well_formed() {
    assert_eq!(
        read(Kind::Alertmanager, r#"{"version":"4","alerts":[]}"#),
        Parsed::default()
    );
    assert_eq!(
        read(Kind::Check, r#"{"version":"1","source":"s","checks":[]}"#),
        Parsed::default()
    );
}

#[test]
fn a_million_brackets_are_refused_at_the_first_too_many() {
    let expected = (
        "$".to_owned(),
        "nested deeper than 128 at line 1 column 129".to_owned(),
    );
    let open = "[".repeat(1_000_000);
    assert_eq!(refusal(Kind::Alertmanager, open.as_bytes()), expected);
    let closed = open + &"]".repeat(1_000_000);
    assert_eq!(refusal(Kind::Check, closed.as_bytes()), expected);
    let closing_only = "]".repeat(1_000_000);
    assert_eq!(
        refusal(Kind::Check, closing_only.as_bytes()).1,
        "not JSON: expected value at line 1 column 1"
    );
}

#[test]
fn ten_thousand_alerts_are_read_and_one_too_many_of_fifty_thousand_is_told() {
    let body = |n: usize| {
        let alerts: Vec<String> = (0..n)
            .map(|n| format!(r#"{{"status":"firing","labels":{{"alertname":"Load","n":"{n}"}}}}"#))
            .collect();
        format!(r#"{{"version":"4","alerts":[{}]}}"#, alerts.join(","))
    };
    let parsed = read(Kind::Alertmanager, &body(10_000));
    assert_eq!(parsed.sightings.len(), 10_000);
    assert_eq!(
        line(&parsed.sightings[9_999]),
        "firing {alertname=\"Load\", n=\"9999\"} starts=- ends=-"
    );
    assert_eq!(
        read(Kind::Alertmanager, &body(50_000)).sightings.len(),
        50_000
    );
    assert_eq!(
        refusal(Kind::Alertmanager, body(50_001).as_bytes()),
        (
            "$.alerts".to_owned(),
            "at most 50000 items are wanted, found more".to_owned()
        )
    );
}

#[test]
fn bare_nan_and_infinity_are_read_as_text_and_flagged() {
    let body = r#"{"version":"1","source":"s","checks":[
        {"check_id":"a","status":"fail","observed":NaN,"expected":{"max": Infinity,"min":-Infinity},
         "message":"NaN, \" NaN, Infinity\\\" and -Infinity","details":[NaN]}]}"#;
    let parsed = read(Kind::Check, body);
    assert_eq!(
        parsed.sightings[0].annotations,
        labels(&[
            ("expected", r#"{"max":"Infinity","min":"-Infinity"}"#),
            ("message", r#"NaN, " NaN, Infinity\" and -Infinity"#),
            ("observed", "NaN"),
        ])
    );
    assert_eq!(
        parsed.notes,
        ["NaN or Infinity without quotes, read as text (4 times)"]
    );

    let quoted =
        r#"{"version":"4","alerts":[{"status":"firing","labels":{"a":"NaN","b":",NaN,"}}]}"#;
    let parsed = read(Kind::Alertmanager, quoted);
    assert_eq!(
        lines(&parsed),
        ["firing {a=\"NaN\", b=\",NaN,\"} starts=- ends=-"]
    );
    assert_eq!(parsed.notes, Vec::<String>::new());

    for body in [
        "{\"alerts\":[nan]}",
        "{\"alerts\":[NaNs]}",
        "{\"alerts\":[+Infinity]}",
    ] {
        let (path, _reason) = refusal(Kind::Alertmanager, body.as_bytes());
        assert_eq!(path, "$.alerts[0]", "{body}");
    }
}

#[test]
fn of_a_name_that_comes_twice_the_last_value_counts() {
    let body = r#"{"version":"4","alerts":"x","alerts":[
        {"status":"resolved","status":"firing","labels":{"z":"9"},"labels":{"a":"1","b":"2","a":"3"}}]}"#;
    assert_eq!(
        lines(&read(Kind::Alertmanager, body)),
        ["firing {a=\"3\", b=\"2\"} starts=- ends=-"]
    );
}

#[test]
fn what_is_unusual_but_clear_is_read() {
    let table: [(&str, &str); 8] = [
        (
            "\u{feff}{\"version\":\"4\",\"alerts\":[{\"status\":\"firing\",\"labels\":{\"a\":\"b\"}}]}",
            "firing {a=\"b\"} starts=- ends=-",
        ),
        (
            &alert(r#""st\u0061tus":"f\u0069ring","labels":{"a":"b\u00e9"}"#),
            "firing {a=\"bé\"} starts=- ends=-",
        ),
        (
            &alert(r#""status":"firing","labels":{"größe.in-m":"schön","日本":"語"}"#),
            "firing {größe.in-m=\"schön\", 日本=\"語\"} starts=- ends=-",
        ),
        (
            &alert(
                r#""status":"firing","labels":{"a":"b","empty":"","none":null},"annotations":null"#,
            ),
            "firing {a=\"b\"} starts=- ends=-",
        ),
        (
            &alert(r#""status":"firing","labels":{"a":"b"},"fingerprint":7,"new":{"x":[1e999]}"#),
            "firing {a=\"b\"} starts=- ends=-",
        ),
        (
            &alert(
                r#""status":"firing","labels":{"a":"b"},"startsAt":"0001-01-01T00:00:00.000Z","endsAt":null"#,
            ),
            "firing {a=\"b\"} starts=- ends=-",
        ),
        (
            &alert(
                r#""status":"firing","labels":{"a":"b"},"startsAt":1764000000,"endsAt":"2020-01-01T00:00:00Z""#,
            ),
            "firing {a=\"b\"} starts=2025-11-24T16:00:00.000Z ends=2020-01-01T00:00:00.000Z",
        ),
        (
            &alert(
                r#""status":"resolved","labels":{"a":"b"},"startsAt":"2026-11-23T08:00:00Z","endsAt":"0001-01-01T00:00:00Z""#,
            ),
            "resolved {a=\"b\"} starts=2026-11-23T08:00:00.000Z ends=-",
        ),
    ];
    for (body, expected) in table {
        let parsed = read(Kind::Alertmanager, body);
        assert_eq!(lines(&parsed), [expected]);
        assert_eq!(parsed.notes, Vec::<String>::new());
    }
}

#[test]
fn what_is_cut_or_left_out_is_noted() {
    let long = "é".repeat(40_000);
    let body = alert(&format!(
        r#""status":"firing","labels":{{"a":"b"}},"annotations":{{"odd name":"{long}","":"x","fine":"y"}}"#
    ));
    let parsed = read(Kind::Alertmanager, &body);
    let kept = parsed.sightings[0]
        .annotations
        .get("odd name")
        .expect("kept");
    assert_eq!(kept, "é".repeat(32_768));
    assert_eq!(
        parsed.notes,
        [
            "$.alerts[0].annotations[\"odd name\"]: cut from 80000 bytes to 65536",
            "$.alerts[0].annotations: one with a name of 0 bytes was left out",
        ]
    );

    let many: Vec<String> = (0..260).map(|n| format!("\"a{n}\":\"x\"")).collect();
    let body = alert(&format!(
        r#""status":"firing","labels":{{"a":"b"}},"annotations":{{{}}}"#,
        many.join(",")
    ));
    let parsed = read(Kind::Alertmanager, &body);
    assert_eq!(parsed.sightings[0].annotations.len(), 256);
    assert_eq!(
        parsed.notes,
        ["$.alerts[0].annotations: the last 4 were left out, over 256"]
    );

    let alerts = vec![r#"{"status":"firing","labels":{"a":"b"},"annotations":{"":"x"}}"#; 500];
    let body = format!(r#"{{"version":"4","alerts":[{}]}}"#, alerts.join(","));
    let notes = read(Kind::Alertmanager, &body).notes;
    assert_eq!((notes.len(), notes[100].as_str()), (101, "and more"));

    let other = r#"{"version":"5","alerts":[]}"#;
    assert_eq!(
        read(Kind::Alertmanager, other).notes,
        ["$.version: version \"4\" is wanted, found \"5\"; read as version 4"]
    );
    assert_eq!(
        read(Kind::Alertmanager, r#"{"alerts":[]}"#).notes,
        ["$.version: version \"4\" is wanted, found nothing; read as version 4"]
    );
}

#[test]
fn times_are_read_as_senders_write_them() {
    let table: [(&str, &str); 28] = [
        (
            r#""2026-11-23T08:08:51.653899493Z""#,
            "2026-11-23T08:08:51.653Z",
        ),
        (r#""2026-11-23T10:08:51+02:00""#, "2026-11-23T08:08:51.000Z"),
        (
            r#""2026-11-23T08:08:51.688+0000""#,
            "2026-11-23T08:08:51.688Z",
        ),
        (r#""2026-11-23T10:08:51+0200""#, "2026-11-23T08:08:51.000Z"),
        (r#""2026-11-23 08:08:51.123""#, "2026-11-23T08:08:51.123Z"),
        (r#""2026-11-23 08:08:51""#, "2026-11-23T08:08:51.000Z"),
        (r#""2026-11-23T08:08:51""#, "2026-11-23T08:08:51.000Z"),
        (r#"" 2026-11-23T08:08:51Z ""#, "2026-11-23T08:08:51.000Z"),
        ("1764000000", "2025-11-24T16:00:00.000Z"),
        ("1764000000.123", "2025-11-24T16:00:00.123Z"),
        ("1.764e9", "2025-11-24T16:00:00.000Z"),
        ("1764000000123", "2025-11-24T16:00:00.123Z"),
        ("1764000000123456", "2025-11-24T16:00:00.123Z"),
        ("1764000000123456789", "2025-11-24T16:00:00.123Z"),
        (r#""1764000000""#, "2025-11-24T16:00:00.000Z"),
        (r#""1764000000123""#, "2025-11-24T16:00:00.123Z"),
        ("-1", "1969-12-31T23:59:59.000Z"),
        ("null", "none"),
        (r#""""#, "none"),
        (r#""0001-01-01T00:00:00Z""#, "none"),
        (r#""0001-01-01T00:00:00.000Z""#, "none"),
        (r#""0001-01-01T00:00:00+01:00""#, "none"),
        (r#""9999-12-31T23:59:59-23:59""#, "9999-12-31T23:59:59.999Z"),
        ("1e22", "9999-12-31T23:59:59.999Z"),
        ("1e300", "an RFC 3339 or Unix time is wanted, found 1e300"),
        (
            r#""inf""#,
            "an RFC 3339 or Unix time is wanted, found \"inf\"",
        ),
        (
            r#""2026-02-30T00:00:00Z""#,
            "an RFC 3339 or Unix time is wanted, found \"2026-02-30T00:00:00Z\"",
        ),
        ("[]", "expected a string, found a list"),
    ];
    for (written, expected) in table {
        let value: &RawValue = serde_json::from_str(written).expect("JSON");
        let found = match parse_time(value) {
            Ok(None) => "none".to_owned(),
            Ok(Some(at)) => at.to_string(),
            Err(reason) => reason,
        };
        assert_eq!(found, expected, "{written}");
    }
}

#[test]
fn the_reports_of_our_own_sender_are_read() {
    let table: [(&str, &[&str]); 6] = [
        (
            "deepchecks",
            &[
                "fail {alertname=\"Feature Drift/Feature Drift/categorical drift score < 0.2 and numerical drift score < 0.2\", model=\"churn\", tool=\"deepchecks\"} run=r1",
                "fail {alertname=\"Label Drift/Label Drift/Label drift score < 0.15\", model=\"churn\", tool=\"deepchecks\"} run=r1",
                "fail {alertname=\"Percent Of Nulls/PercentOfNulls - Test Dataset/Percent of null values in each column is not greater than 1%\", model=\"churn\", tool=\"deepchecks\"} run=r1",
                "pass {alertname=\"Percent Of Nulls/PercentOfNulls - Train Dataset/Percent of null values in each column is not greater than 1%\", model=\"churn\", tool=\"deepchecks\"} run=r1",
                "pass {alertname=\"Data Duplicates/Data Duplicates - Train Dataset/Duplicate data ratio is less or equal to 0%\", model=\"churn\", tool=\"deepchecks\"} run=r1",
                "pass {alertname=\"Data Duplicates/Data Duplicates - Test Dataset/Duplicate data ratio is less or equal to 0%\", model=\"churn\", tool=\"deepchecks\"} run=r1",
                "pass {alertname=\"New Category Train Test/New Category Train Test/Number of new category values is less or equal to 0\", model=\"churn\", tool=\"deepchecks\"} run=r1",
                "skip {alertname=\"Train Test Performance/Train Test Performance\", model=\"churn\", tool=\"deepchecks\"} run=r1",
            ],
        ),
        (
            "nannyml",
            &[
                "fail {alertname=\"drift.age_kolmogorov_smirnov\", model=\"churn\", part=\"age\", tool=\"nannyml\"} run=2026-03-25T23:00:00.000",
                "pass {alertname=\"drift.income_kolmogorov_smirnov\", model=\"churn\", part=\"income\", tool=\"nannyml\"} run=2026-03-25T23:00:00.000",
            ],
        ),
        (
            "pandera",
            &[
                "fail {alertname=\"orders.nope.column_in_dataframe\", dataset=\"orders\", part=\"nope\", tool=\"pandera\"} run=r2",
                "fail {alertname=\"orders.amount.not_nullable\", dataset=\"orders\", part=\"amount\", tool=\"pandera\"} run=r2",
                "fail {alertname=\"orders.id.field_uniqueness\", dataset=\"orders\", part=\"id\", tool=\"pandera\"} run=r2",
                "fail {alertname=\"orders.amount.in_range(0, 1000)\", dataset=\"orders\", part=\"amount\", tool=\"pandera\"} run=r2",
                "fail {alertname=\"orders.status.isin(['paid', 'open'])\", dataset=\"orders\", part=\"status\", tool=\"pandera\"} run=r2",
            ],
        ),
        (
            "retry_demo",
            &["fail {alertname=\"x\", tool=\"demo\"} run=r9"],
        ),
        (
            "tfdv",
            &[
                "fail {alertname=\"payment_type.ENUM_TYPE_UNEXPECTED_STRING_VALUES\", dataset=\"trips\", part=\"payment_type\", tool=\"tfdv\"} run=span-42",
                "warn {alertname=\"company.FEATURE_TYPE_LOW_FRACTION_PRESENT\", dataset=\"trips\", part=\"company\", tool=\"tfdv\"} run=span-42",
            ],
        ),
        (
            "whylogs",
            &[
                "fail {alertname=\"profile.amount has no missing values\", dataset=\"payments\", tool=\"whylogs\"} run=r3",
                "fail {alertname=\"profile.amount is in range [0,100]\", dataset=\"payments\", tool=\"whylogs\"} run=r3",
                "pass {alertname=\"profile.id has no missing values\", dataset=\"payments\", tool=\"whylogs\"} run=r3",
            ],
        ),
    ];
    for (name, expected) in table {
        check_fixture(
            Kind::Check,
            &format!("generic/example_{name}.json"),
            expected,
        );
    }
    let parsed = parse(
        Kind::Check,
        &Post::of(&fixture("generic/example_nannyml.json"), now()),
    )
    .expect("usable");
    let first = &parsed.sightings[0];
    let finished_at = Some("2026-11-23T08:39:52.694Z".parse().expect("a time"));
    assert_eq!(first.starts_at, finished_at);
    assert_eq!(
        first.attributes,
        labels(&[("chunk_end", "2026-03-25T23:00:00.000")])
    );
    assert_eq!(
        first.annotations,
        labels(&[
            ("expected", r#"{"op":"<=","value":0.1048345158}"#),
            ("observed", "0.704")
        ])
    );
    let scope = parsed.complete_scope().expect("a scope");
    assert_eq!(
        (scope.source.as_str(), scope.scope.as_str()),
        ("nannyml", "churn")
    );
}

#[test]
fn a_check_says_everything_it_may_say() {
    let parsed = read(
        Kind::Check,
        r#"{"version":1,"source":"tool-x","owner":"team-a","scope":"nightly",
            "labels":{"env":"prod","tool":"fake","alertname":"fake","part":"fake","dataset":"fake","check":"error"},
            "run":{"id":4711,"url":"https://ci.example/4711","attempt":2,"started_at":"nonsense",
                   "finished_at":"2026-11-23T08:30:00+0000"},
            "checks":[{"check_id":"c1","check_name":"Nulls","check_type":"null_ratio","status":"warn","severity":"P1",
              "subject":{"kind":"dataset","name":"orders","version":"v7","part":"amount"},
              "observed":0.25,"expected":"at most 0.1","message":"too many nulls","failing_rows":25,"total_rows":100,
              "labels":{"env":"attribute","source":"fake","kind":"fake","outcome":"fake","severity":"fake","dag":"d"},
              "annotations":{"runbook_url":"https://runbooks.example","message":"lost"},
              "details":{"rows":["secret"]}}]}"#,
    );
    let check = &parsed.sightings[0];
    assert_eq!(
        line(check),
        "warn {alertname=\"c1\", dataset=\"orders\", env=\"prod\", part=\"amount\", tool=\"tool-x\"} run=4711"
    );
    assert_eq!(
        check.attributes,
        labels(&[("dag", "d"), ("env", "attribute")])
    );
    assert_eq!(check.severity.as_deref(), Some("P1"));
    assert_eq!(
        check.annotations,
        labels(&[
            ("check_name", "Nulls"),
            ("check_type", "null_ratio"),
            ("expected", "at most 0.1"),
            ("failing_rows", "25"),
            ("message", "too many nulls"),
            ("observed", "0.25"),
            ("owner", "team-a"),
            ("run_url", "https://ci.example/4711"),
            ("runbook_url", "https://runbooks.example"),
            ("severity", "P1"),
            ("total_rows", "100"),
            ("version", "v7"),
        ])
    );
    let Said::Check { run, .. } = &check.said else {
        panic!("a check")
    };
    let expected = Run {
        id: Some("4711".to_owned()),
        attempt: Some(2),
        finished_at: check.starts_at,
    };
    assert_eq!(*run, expected);
    assert_eq!(
        parsed.notes,
        ["$.labels.check: left out, the name is taken"]
    );
}

#[test]
fn a_single_check_needs_no_list() {
    let parsed = read(
        Kind::Check,
        r#"{"source":"cron","check_id":"backup","status":"error","labels":{"host":"db1"},"owner":"ops","message":"no space"}"#,
    );
    assert_eq!(
        lines(&parsed),
        ["error {alertname=\"backup\", host=\"db1\", tool=\"cron\"} run=-"]
    );
    let check = &parsed.sightings[0];
    assert_eq!(check.attributes, Labels::default());
    assert_eq!(
        check.annotations,
        labels(&[("message", "no space"), ("owner", "ops")])
    );
    assert_eq!(check.starts_at, None);

    let bad = read(
        Kind::Check,
        r#"{"source":"cron","check_id":"backup","status":"ko"}"#,
    );
    assert_eq!(
        lines(&bad),
        ["rejected $.status: one of pass, warn, fail, error, skip is wanted, found \"ko\""]
    );
}

#[test]
fn what_every_check_of_a_report_has_is_bounded_for_all_of_them_together() {
    let n = 10_000;
    let checks = vec![r#"{"check_id":"c","status":"pass"}"#; n].join(",");
    let report = |bytes: usize| {
        let value = "x".repeat(bytes);
        format!(
            r#"{{"version":"1","source":"s","labels":{{"team":"{value}"}},"run":{{"url":"u"}},"checks":[{checks}]}}"#
        )
    };
    let most = (32 << 20) / n;
    let read_all = read(Kind::Check, &report(most - 5));
    assert_eq!(read_all.sightings.len(), n);
    let (path, reason) = refusal(Kind::Check, report(most - 4).as_bytes());
    assert_eq!(path, "$");
    assert_eq!(
        reason,
        "labels, owner and run url of at most 3355 bytes are wanted for 10000 checks, found 3356; \
        send fewer checks at a time"
    );
}

#[test]
fn a_receiver_is_cut_where_every_alert_has_it() {
    let receiver = "r".repeat(100_000);
    let body = format!(
        r#"{{"version":"4","receiver":"{receiver}","alerts":[{{"status":"firing","labels":{{"a":"1"}}}}]}}"#
    );
    let parsed = read(Kind::Alertmanager, &body);
    let kept = parsed.sightings[0].attributes.get("receiver");
    assert_eq!(kept.map(str::len), Some(1024));
    assert_eq!(parsed.notes, ["$.receiver: cut from 100000 bytes to 1024"]);
}

#[test]
fn no_alert_of_a_check_began_in_the_future() {
    let body =
        |run: &str| format!(r#"{{"source":"s","check_id":"c","status":"pass","run":{run}}}"#);
    let table: [(&str, &str); 6] = [
        (
            r#"{"finished_at":"2026-11-23T08:30:00Z"}"#,
            "2026-11-23T08:30:00.000Z",
        ),
        (
            r#"{"finished_at":"2026-11-23T09:00:01Z"}"#,
            "2026-11-23T09:00:00.000Z",
        ),
        (
            r#"{"finished_at":"9999-12-31T23:59:59Z"}"#,
            "2026-11-23T09:00:00.000Z",
        ),
        (
            r#"{"finished_at_epoch":1764000000.5}"#,
            "2025-11-24T16:00:00.500Z",
        ),
        (
            r#"{"finished_at":"0001-01-01T00:00:00Z","finished_at_epoch":1764000000}"#,
            "2025-11-24T16:00:00.000Z",
        ),
        (
            r#"{"finished_at":"2026-11-23T08:30:00Z","finished_at_epoch":1764000000}"#,
            "2026-11-23T08:30:00.000Z",
        ),
    ];
    for (run, expected) in table {
        let parsed = read(Kind::Check, &body(run));
        let at = parsed.sightings[0].starts_at.map(|at| at.to_string());
        assert_eq!(at.as_deref(), Some(expected), "{run}");
    }
}

#[test]
fn a_bad_check_is_rejected_without_its_rows_and_its_report_is_complete_for_nothing() {
    let long = "x".repeat(513);
    let long_id = format!(r#""check_id":"{long}","status":"pass""#);
    let shown = format!(
        "a check id of at most 512 characters is wanted, found \"{}…\"",
        "x".repeat(64)
    );
    let table: [(&str, &str, &str); 10] = [
        (
            r#""check_id":"c","status":"broken""#,
            "$.checks[1].status",
            "one of pass, warn, fail, error, skip is wanted, found \"broken\"",
        ),
        (
            r#""check_id":"c","status":"PASS""#,
            "$.checks[1].status",
            "one of pass, warn, fail, error, skip is wanted, found \"PASS\"",
        ),
        (
            r#""check_id":"c""#,
            "$.checks[1].status",
            "one of pass, warn, fail, error, skip is wanted, found nothing",
        ),
        (
            r#""status":"pass""#,
            "$.checks[1].check_id",
            "a check id is wanted, found nothing",
        ),
        (
            r#""check_id":7,"status":"pass""#,
            "$.checks[1].check_id",
            "expected a string, found a number",
        ),
        (&long_id, "$.checks[1].check_id", &shown),
        (
            r#""check_id":"c","status":"pass","subject":{"kind":"table"}"#,
            "$.checks[1].subject.kind",
            "one of dataset, model, pipeline, host, service, other is wanted, found \"table\"",
        ),
        (
            r#""check_id":"c","status":"pass","labels":{"n":1}"#,
            "$.checks[1].labels.n",
            "expected a string, found a number",
        ),
        (
            r#""check_id":"c","status":"pass","failing_rows":"3""#,
            "$.checks[1].failing_rows",
            "expected a number, found a string",
        ),
        (
            r#""check_id":"c","status":"pass","message":["m"]"#,
            "$.checks[1].message",
            "expected a string, found a list",
        ),
    ];
    for (fields, path, reason) in table {
        let body = format!(
            r#"{{"version":"1","source":"s","scope":"all","checks":[{{"check_id":"good","status":"pass"}},{{{fields}}}]}}"#
        );
        let parsed = read(Kind::Check, &body);
        let rejected = format!("rejected {path}: {reason}");
        assert_eq!(
            lines(&parsed),
            ["pass {alertname=\"good\", tool=\"s\"} run=-", &rejected]
        );
        assert_eq!(parsed.complete_scope(), None);
        assert!(parsed.scope.is_some());
    }
    let body = r#"{"version":"1","source":"s","checks":[
        {"details":["secret"],"check_id":"a","status":"?","details":"secret"},{"details":["secret"]},5]}"#;
    let items: Vec<String> = read(Kind::Check, body)
        .rejected
        .into_iter()
        .map(|item| item.item)
        .collect();
    assert_eq!(items, [r#"{"check_id":"a","status":"?"}"#, "{}", "5"]);
}

#[test]
fn a_subject_without_a_kind_is_some_other_thing() {
    let of = |subject: &str| {
        let body =
            format!(r#"{{"source":"s","check_id":"c","status":"pass","subject":{subject}}}"#);
        lines(&read(Kind::Check, &body)).join("")
    };
    assert_eq!(
        of(r#"{"name":"n"}"#),
        "pass {alertname=\"c\", other=\"n\", tool=\"s\"} run=-"
    );
    assert_eq!(
        of(r#"{"kind":"host","name":null}"#),
        "pass {alertname=\"c\", tool=\"s\"} run=-"
    );
    assert_eq!(of("null"), "pass {alertname=\"c\", tool=\"s\"} run=-");
}

#[test]
fn what_was_observed_is_kept_short() {
    let rows: Vec<String> = (0..1000).map(|n| format!("\"row {n}\"")).collect();
    let body = format!(
        r#"{{"source":"s","check_id":"c","status":"fail","observed":[{}],"expected":"{}"}}"#,
        rows.join(" , "),
        "e".repeat(2000)
    );
    let parsed = read(Kind::Check, &body);
    let annotations = &parsed.sightings[0].annotations;
    let observed = annotations.get("observed").expect("kept");
    assert!(observed.starts_with("[\"row 0\",\"row 1\",") && observed.ends_with('…'));
    assert_eq!(observed.len(), 1024 + "…".len());
    assert_eq!(
        annotations.get("expected"),
        Some(&*("e".repeat(1024) + "…"))
    );
}

/// Bodies that were really sent, to be spoilt.
fn any_fixture() -> impl Strategy<Value = Vec<u8>> {
    let folders = [
        "alertmanager-webhook",
        "cdevents",
        "cloudevents",
        "dbt-cloud",
        "dbt-core",
        "evidently",
        "generic",
        "github",
        "gitlab",
        "grafana",
        "great-expectations",
        "mlflow",
        "opsgenie",
        "pagerduty-events-v2",
        "soda",
    ];
    let bodies: Vec<Vec<u8>> = folders
        .into_iter()
        .flat_map(|name| std::fs::read_dir(folder(name)).expect("a folder"))
        .map(|file| std::fs::read(file.expect("an entry").path()).expect("a file"))
        .collect();
    prop::sample::select(bodies)
}

/// Pieces of JSON, so that what is made of them gets past the first byte.
fn any_pieces() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\u",
        "\\ud800",
        "NaN",
        "-Infinity",
        "null",
        "1e9",
        "-",
        "é",
        " ",
        "\n",
        "\"alerts\":",
        "\"checks\":",
        "\"changes\":",
        "\"context\":{\"type\":\"dev.cdevents.service.deployed.0.2.0\"}",
        "\"data\":",
        "\"deployment\":",
        "\"entity\":\"model_version_tag\"",
        "\"hasErrors\":true",
        "\"results\":",
        "\"validation_results\":",
        "\"labels\":",
        "\"object_kind\":\"deployment\"",
        "\"payload\":",
        "\"repository\":",
        "\"service\":\"s\"",
        "\"status\":\"firing\"",
        "\"source\":\"s\"",
        "\"specversion\":\"1.0\"",
        "\"tests\":",
        "\"version\":1",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..60)
        .prop_map(|pieces| pieces.concat().into_bytes())
}

fn read_both(body: &[u8]) {
    for kind in Kind::ALL {
        if let Err(unusable) = parse(kind, &Post::of(body, now())) {
            assert!(unusable.path.starts_with('$') && !unusable.reason.is_empty());
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(body in prop::collection::vec(any::<u8>(), 0..300)) {
        read_both(&body);
    }

    #[test]
    fn any_pieces_of_json_get_an_answer(body in any_pieces()) {
        read_both(&body);
    }

    #[test]
    fn spoilt_bodies_get_an_answer(
        mut body in any_fixture(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        end in any::<prop::sample::Index>(),
        pieces in any_pieces(),
    ) {
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        read_both(&body);
        let at = end.index(body.len());
        let rest = body.split_off(at);
        read_both(&body);
        body.extend(pieces);
        body.extend(rest);
        read_both(&body);
    }
}
