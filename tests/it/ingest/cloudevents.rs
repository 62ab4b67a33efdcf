//! CloudEvents: one alone, a batch, and one whose attributes are headers, with what they carry.

use super::{check_fixture, fixture, headers, labels, line, lines, now, pairs, read, refusal};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use watchkeeper::domain::alert::{Run, Said, Sighting};
use watchkeeper::domain::source::Kind;
use watchkeeper::ingest::{Parsed, Post, parse};

const KIND: Kind = Kind::Cloudevents;

const ORDERS: &str =
    "{alertname=\"com.example.dq.check\", source=\"/dq/orders\", subject=\"orders.freshness\"}";

/// An event with this id, at this minute past eight.
fn event(id: &str, minute: u8, fields: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/s","time":"2026-11-23T08:{minute:02}:00Z",{fields}}}"#
    )
}

/// A single check of ours, as the data of an event.
fn check(status: &str) -> String {
    format!(r#""type":"t","data":{{"source":"tool-x","check_id":"c","status":"{status}"}}"#)
}

fn batch(events: &[String]) -> Parsed {
    read(KIND, &format!("[{}]", events.join(",")))
}

fn posted(body: &[u8], sent: &[(&str, &str)]) -> Result<Parsed, String> {
    let headers = pairs(sent);
    let post = Post {
        headers: &headers,
        ..Post::of(body, now())
    };
    parse(KIND, &post).map_err(|unusable| unusable.to_string())
}

const BINARY: [(&str, &str); 4] = [
    ("ce-specversion", "1.0"),
    ("ce-id", "1"),
    ("ce-source", "/s"),
    ("ce-type", "t"),
];

fn binary(body: &str, more: &[(&str, &str)]) -> Result<Parsed, String> {
    posted(body.as_bytes(), &[&BINARY, more].concat())
}

fn run(sighting: &Sighting) -> &Run {
    match &sighting.said {
        Said::Check { run, .. } => run,
        Said::Signal(_) => panic!("a check"),
    }
}

#[test]
fn real_events_of_each_mode_are_one_alert() {
    let fail = format!("fail {ORDERS} run=/dq/orders run-42:orders.freshness");
    check_fixture(KIND, "cloudevents/structured.json", &[&fail]);
    check_fixture(KIND, "cloudevents/structured_base64.json", &[&fail]);
    check_fixture(
        KIND,
        "cloudevents/batch.json",
        &[
            &format!("fail {ORDERS} run=/dq/orders run-42:0"),
            &format!("fail {ORDERS} run=/dq/orders run-42:1"),
        ],
    );
    let sent = headers("cloudevents/binary.http.json");
    let body = fixture("cloudevents/binary.json");
    let post = Post {
        headers: &sent,
        ..Post::of(&body, now())
    };
    let in_headers = parse(KIND, &post).expect("a usable body");
    let body = fixture("cloudevents/structured.json");
    let in_body = parse(KIND, &Post::of(&body, now())).expect("a usable body");
    assert_eq!(in_headers, in_body);

    let alert = &in_body.sightings[0];
    assert_eq!(alert.severity.as_deref(), Some("ERROR"));
    assert_eq!(alert.annotations, labels(&[("severity", "ERROR")]));
    assert_eq!(
        alert.attributes,
        labels(&[("type", "com.example.dq.check.failed")])
    );
    let at = Some("2026-11-23T08:00:00Z".parse().expect("a time"));
    assert_eq!(alert.starts_at, at);
    assert_eq!(run(alert).finished_at, at);
}

#[test]
fn the_last_word_of_a_type_says_how_things_stand_and_is_no_part_of_the_name() {
    let table: [(&str, &str); 18] = [
        ("com.example.backup.failed", "fail com.example.backup"),
        ("com.example.backup.succeeded", "pass com.example.backup"),
        ("com.example.backup.resolved", "pass com.example.backup"),
        ("com.example.backup.failed.v2", "fail com.example.backup"),
        ("com.example.backup.resolved.v2", "pass com.example.backup"),
        ("com.example.backup-RECOVERED", "pass com.example.backup"),
        ("com.example.BackupFailed", "fail com.example.Backup"),
        ("com.example.BackupResolved", "pass com.example.Backup"),
        ("com.example.backup", "fail com.example.backup"),
        ("com.example.backup.v2", "fail com.example.backup.v2"),
        ("com.example.unresolved", "fail com.example.unresolved"),
        (
            "com.example.resolved.soon",
            "fail com.example.resolved.soon",
        ),
        ("backup:ok", "pass backup"),
        ("resolved", "pass resolved"),
        ("failed", "fail failed"),
        ("Resolved", "pass Resolved"),
        (".v1", "fail .v1"),
        ("é.failed", "fail é"),
    ];
    for (kind, expected) in table {
        let parsed = read(KIND, &event("1", 0, &format!(r#""type":"{kind}""#)));
        let line = line(&parsed.sightings[0]);
        let found = line.replacen("{alertname=\"", "", 1);
        let expected = format!("{expected}\", source=\"/s\"}} run=/s 1");
        assert_eq!(found, expected, "{kind}");
    }
}

#[test]
fn what_an_event_carries_is_told_by_its_shape() {
    let table: [(&str, &str, &[&str]); 12] = [
        (
            "a single check",
            r#"{"source":"x","check_id":"c","status":"warn","subject":{"kind":"model","name":"m"}}"#,
            &["warn {alertname=\"c\", model=\"m\", tool=\"x\"} run=/s 1"],
        ),
        (
            "a report with a run of its own",
            r#"{"version":"1","source":"x","run":{"id":"r"},"checks":[{"check_id":"a","status":"fail"},{"check_id":"b","status":"pass"}]}"#,
            &[
                "fail {alertname=\"a\", tool=\"x\"} run=r",
                "pass {alertname=\"b\", tool=\"x\"} run=r",
            ],
        ),
        (
            "an alert",
            r#"{"labels":{"alertname":"Down"},"annotations":{"a":"b"},"status":"firing","startsAt":"2026-11-23T08:00:00Z","endsAt":"0001-01-01T00:00:00Z"}"#,
            &["firing {alertname=\"Down\"} starts=2026-11-23T08:00:00.000Z ends=-"],
        ),
        (
            "alerts",
            r#"[{"labels":{"alertname":"Down"},"status":"resolved"},{"labels":{"alertname":"Up"},"status":"firing"},7,{"labels":{"x":1},"status":"firing"}]"#,
            &[
                "resolved {alertname=\"Down\"} starts=- ends=-",
                "firing {alertname=\"Up\"} starts=- ends=-",
                "rejected $.data[2]: expected an object, found a number",
                "rejected $.data[3].labels.x: expected a string, found a number",
            ],
        ),
        (
            "a bad alert",
            r#"{"labels":{"alertname":"Down"},"startsAt":"2026-11-23T08:00:00Z"}"#,
            &["rejected $.data.status: one of firing, resolved is wanted, found nothing"],
        ),
        (
            "a bad check",
            r#"{"source":"x","check_id":"c","status":"?"}"#,
            &[
                "rejected $.data.status: one of pass, warn, fail, error, skip is wanted, found \"?\"",
            ],
        ),
        (
            "a bad check of a report",
            r#"{"version":"1","source":"x","checks":[{"check_id":"a","status":"fail"},{"check_id":"b"}]}"#,
            &[
                "fail {alertname=\"a\", tool=\"x\"} run=/s 1",
                "rejected $.data.checks[1].status: one of pass, warn, fail, error, skip is wanted, found nothing",
            ],
        ),
        (
            "some thing with labels",
            r#"{"labels":{"a":"b"},"name":"n"}"#,
            &["fail {alertname=\"t\", source=\"/s\"} run=/s 1"],
        ),
        (
            "a list of something",
            "[1,2]",
            &["fail {alertname=\"t\", source=\"/s\"} run=/s 1"],
        ),
        (
            "a text",
            "\"text\"",
            &["fail {alertname=\"t\", source=\"/s\"} run=/s 1"],
        ),
        (
            "nothing",
            "null",
            &["fail {alertname=\"t\", source=\"/s\"} run=/s 1"],
        ),
        (
            "no number",
            "NaN",
            &["fail {alertname=\"t\", source=\"/s\"} run=/s 1"],
        ),
    ];
    for (what, data, expected) in table {
        let structured = event("1", 0, &format!(r#""type":"t","data":{data}"#));
        assert_eq!(lines(&read(KIND, &structured)), expected, "{what}");

        let encoded = BASE64_STANDARD.encode(data);
        let encoded = event("1", 0, &format!(r#""type":"t","data_base64":"{encoded}""#));
        let places = expected
            .iter()
            .map(|line| line.replace("$.data", "$.data_base64"));
        let places: Vec<String> = places.collect();
        assert_eq!(lines(&read(KIND, &encoded)), places, "{what}");

        let at_the_root = expected.iter().map(|line| line.replace("$.data", "$"));
        let at_the_root: Vec<String> = at_the_root.collect();
        let body_alone = binary(data, &[]).expect("a usable body");
        assert_eq!(lines(&body_alone), at_the_root, "{what}");
    }
}

#[test]
fn an_event_that_fails_and_one_that_passes_are_of_one_alert() {
    let of = |kind: &str| {
        let fields = format!(r#""type":"com.example.dq.{kind}","subject":"orders""#);
        read(KIND, &event("1", 0, &fields))
            .sightings
            .remove(0)
            .labels
    };
    assert_eq!(of("failed"), of("passed"));
    let of = |status: &str| {
        let found = read(KIND, &event("1", 0, &check(status)));
        found.sightings[0].labels.clone()
    };
    assert_eq!(of("fail"), of("pass"));
}

#[test]
fn the_envelope_says_what_its_check_left_open() {
    let body = |more: &str| {
        let data = format!(r#"{{"source":"x","check_id":"c","status":"fail"{more}}}"#);
        event(
            "7",
            30,
            &format!(r#""type":"t","severitynumber":21,"data":{data}"#),
        )
    };
    let parsed = read(KIND, &body(""));
    let check = &parsed.sightings[0];
    assert_eq!(check.severity.as_deref(), Some("FATAL"));
    assert_eq!(check.annotations, labels(&[("severity", "FATAL")]));
    let at = Some("2026-11-23T08:30:00Z".parse().expect("a time"));
    assert_eq!(check.starts_at, at);
    let expected = Run {
        id: Some("/s 7".to_owned()),
        attempt: None,
        finished_at: at,
    };
    assert_eq!(*run(check), expected);

    let own = r#","severity":"P3","run":{"finished_at":"2026-11-23T08:10:00Z"}"#;
    let parsed = read(KIND, &body(own));
    let check = &parsed.sightings[0];
    assert_eq!(check.severity.as_deref(), Some("P3"));
    let expected = Run {
        finished_at: Some("2026-11-23T08:10:00Z".parse().expect("a time")),
        ..Run::default()
    };
    assert_eq!(*run(check), expected);

    let later = body("").replace("T08:30", "T10:30");
    let check = read(KIND, &later).sightings.remove(0);
    assert_eq!(check.starts_at, Some(now()), "no alert began in the future");
}

#[test]
fn a_severity_is_a_word_or_a_number() {
    let table: [(&str, Option<&str>); 10] = [
        (r#""severitytext":"Bad","severitynumber":99"#, Some("Bad")),
        (r#""severitynumber":1"#, Some("TRACE")),
        (r#""severitynumber":8"#, Some("DEBUG")),
        (r#""severitynumber":9"#, Some("INFO")),
        (r#""severitynumber":"16""#, Some("WARN")),
        (r#""severitynumber":17"#, Some("ERROR")),
        (r#""severitynumber":24"#, Some("FATAL")),
        (r#""severitytext":"""#, None),
        (r#""severitynumber":null"#, None),
        (r#""severity":"other""#, None),
    ];
    for (fields, expected) in table {
        let parsed = read(KIND, &event("1", 0, &format!(r#""type":"t",{fields}"#)));
        let found = parsed.sightings[0].severity.as_deref();
        assert_eq!(found, expected, "{fields}");
    }
    let alert =
        r#""type":"t","severitytext":"ERROR","data":{"labels":{"a":"b"},"status":"firing"}"#;
    let parsed = read(KIND, &event("1", 0, alert));
    assert_eq!(parsed.sightings[0].severity.as_deref(), Some("ERROR"));
    let own = alert.replace(r#""a":"b""#, r#""severity":"page""#);
    let parsed = read(KIND, &event("1", 0, &own));
    assert_eq!(parsed.sightings[0].severity.as_deref(), Some("page"));
}

#[test]
fn a_bad_event_costs_the_others_of_its_batch_nothing() {
    let events = [
        event("1", 0, &check("pass")),
        event(
            "2",
            0,
            r#""data":{"rows":["SECRET"]},"data_base64":"SECRET""#,
        ),
        r#""text""#.to_owned(),
        event("3", 0, r#""type":"t","data":{"checks":[{"row":"SECRET"}]}"#),
        event("4", 0, r#""type":"t","data_base64":"?SECRET""#),
        event(
            "5",
            0,
            r#""type":"t","data":{"source":"x","version":1,"labels":{"check":"l"},
            "checks":[{"check_id":"a","status":"fail"},{"check_id":"b","status":"?","details":["SECRET"]}]}"#,
        ),
        event("6", 1, &check("pass")),
    ];
    let parsed = batch(&events);
    assert_eq!(
        lines(&parsed),
        [
            "pass {alertname=\"c\", tool=\"tool-x\"} run=/s 1",
            "fail {alertname=\"a\", tool=\"x\"} run=/s 5",
            "pass {alertname=\"c\", tool=\"tool-x\"} run=/s 6",
            "rejected $[1].type: a type is wanted, found nothing",
            "rejected $[2]: expected an object, found a string",
            "rejected $[3].data.source: a source is wanted, found nothing",
            "rejected $[4].data_base64: not base64: Invalid symbol 63, offset 0.",
            "rejected $[5].data.checks[1].status: one of pass, warn, fail, error, skip is wanted, found \"?\"",
        ]
    );
    assert_eq!(
        parsed.notes,
        ["$[5].data.labels.check: left out, the name is taken"]
    );
    assert!(!format!("{parsed:?}").contains("SECRET"), "{parsed:?}");
    assert_eq!(lines(&batch(&[])), Vec::<String>::new());
}

#[test]
fn an_event_that_comes_twice_in_a_batch_is_read_once() {
    let alert = |status: &str| {
        format!(r#""type":"t","data":{{"labels":{{"alertname":"Down"}},"status":"{status}"}}"#)
    };
    let events = [
        event("1", 0, &alert("firing")),
        event("2", 1, &alert("resolved")),
        event("1", 0, &alert("firing")),
        event("1", 0, &alert("firing")).replace("\"/s\"", "\"/other\""),
    ];
    assert_eq!(
        lines(&batch(&events)),
        [
            "firing {alertname=\"Down\"} starts=- ends=-",
            "resolved {alertname=\"Down\"} starts=- ends=-",
            "firing {alertname=\"Down\"} starts=- ends=-",
        ]
    );
}

#[test]
fn of_the_events_of_one_check_in_a_batch_the_last_counts() {
    type Results<'a> = &'a [(&'a str, u8)];
    let table: [(Results<'_>, &[&str]); 8] = [
        (&[("fail", 0), ("pass", 1)], &["pass 1"]),
        (&[("pass", 1), ("fail", 0)], &["pass 0"]),
        (&[("fail", 0), ("pass", 0)], &["pass 1"]),
        (&[("pass", 0), ("fail", 1)], &["pass 0", "fail 1"]),
        (&[("fail", 0), ("warn", 1)], &["warn 1"]),
        (&[("error", 0), ("pass", 1)], &["pass 1"]),
        (&[("fail", 0), ("error", 1)], &["fail 0", "error 1"]),
        (&[("fail", 0), ("skip", 1)], &["fail 0", "skip 1"]),
    ];
    for (results, expected) in table {
        let results = results.iter().enumerate();
        let events: Vec<String> = results
            .map(|(n, (status, minute))| event(&n.to_string(), *minute, &check(status)))
            .collect();
        let found: Vec<String> = lines(&batch(&events))
            .iter()
            .map(|line| line.replace(" {alertname=\"c\", tool=\"tool-x\"} run=/s", ""))
            .collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_scope_is_that_of_one_event_alone() {
    let scoped = |id: &str| {
        let data = r#"{"source":"x","version":1,"scope":"all","checks":[]}"#;
        event(id, 0, &format!(r#""type":"t","data":{data}"#))
    };
    assert!(read(KIND, &scoped("1")).complete_scope().is_some());
    assert!(batch(&[scoped("1")]).complete_scope().is_some());
    assert_eq!(batch(&[scoped("1"), scoped("2")]).scope, None);
}

#[test]
fn what_the_reports_of_a_batch_say_of_many_checks_is_bounded_for_all_of_them_together() {
    let value = "x".repeat(30_000);
    let checks = vec![r#"{"check_id":"c","status":"pass"}"#; 1_000].join(",");
    let data = format!(
        r#"{{"version":1,"source":"s","labels":{{"team":"{value}"}},"checks":[{checks}]}}"#
    );
    let events: Vec<String> = (0..4)
        .map(|n| event(&n.to_string(), 0, &format!(r#""type":"t","data":{data}"#)))
        .collect();
    let parsed = batch(&events);
    assert_eq!(parsed.sightings.len(), 2_000);
    let rejected: Vec<&str> = parsed
        .rejected
        .iter()
        .map(|item| item.path.as_str())
        .collect();
    assert_eq!(rejected, ["$[2]", "$[3]"]);
    assert_eq!(
        parsed.rejected[0].reason,
        "events that say at most 67108864 bytes of their checks and alerts are wanted in one batch; \
        send fewer events at a time"
    );
}

#[test]
fn the_attributes_of_a_binary_event_are_texts_in_headers() {
    let parsed = posted(
        b"",
        &[
            ("ce-specversion", "1.0"),
            ("ce-id", "\"a\\\"b\""),
            ("ce-source", "/caf%C3%A9%20100%"),
            ("ce-type", "com.example.%2Ffailed"),
            ("ce-subject", " %E2%82%AC "),
            ("ce-time", "2026-11-23T08%3A00:00Z"),
            ("ce-severitynumber", "18"),
        ],
    )
    .expect("a usable event");
    assert_eq!(
        lines(&parsed),
        [
            "fail {alertname=\"com.example\", source=\"/café 100%\", subject=\"€\"} run=/café 100% a\"b"
        ]
    );
    assert_eq!(parsed.sightings[0].severity.as_deref(), Some("ERROR"));
    assert_eq!(
        run(&parsed.sightings[0]).finished_at,
        Some("2026-11-23T08:00:00Z".parse().expect("a time"))
    );

    let table: [(&[(&str, &str)], &str); 8] = [
        (
            &[("ce-id", "1")],
            "$: header ce-specversion: version \"1.0\" is wanted, found nothing",
        ),
        (
            &[("ce-specversion", "0.3")],
            "$: header ce-specversion: version \"1.0\" is wanted, found \"0.3\"",
        ),
        (
            &[("ce-specversion", "1.0")],
            "$: header ce-id: an id is wanted, found nothing",
        ),
        (
            &[
                ("ce-specversion", "1.0"),
                ("ce-id", "1"),
                ("ce-source", "%ff"),
            ],
            "$: header ce-source: a text in UTF-8 is wanted",
        ),
        (
            &[
                ("ce-specversion", "1.0"),
                ("ce-id", "1"),
                ("ce-source", "s"),
            ],
            "$: header ce-type: a type is wanted, found nothing",
        ),
        (
            &[
                BINARY[0],
                BINARY[1],
                BINARY[2],
                BINARY[3],
                ("ce-time", "soon"),
            ],
            "$: header ce-time: an RFC 3339 or Unix time is wanted, found \"soon\"",
        ),
        (
            &[
                BINARY[0],
                BINARY[1],
                BINARY[2],
                BINARY[3],
                ("ce-severitynumber", "25"),
            ],
            "$: header ce-severitynumber: a severity number from 1 to 24 is wanted, found \"25\"",
        ),
        (
            &[
                ("content-type", "Application/CloudEvents+json"),
                ("ce-specversion", "1.0"),
            ],
            "$: the body is empty",
        ),
    ];
    for (sent, reason) in table {
        assert_eq!(posted(b"", sent), Err(reason.to_owned()));
    }
}

#[test]
fn the_body_of_a_binary_event_may_be_nothing_or_anything() {
    let itself = ["fail {alertname=\"t\", source=\"/s\"} run=/s 1"];
    let text = ("content-type", "text/plain");
    let json = ("content-type", "application/json; charset=utf-8");
    for (body, sent) in [
        ("", None),
        (" \n", Some(json)),
        ("plain words", None),
        ("[not JSON]", Some(text)),
        ("\u{0}\u{1}raw", None),
    ] {
        let parsed = binary(body, &Vec::from_iter(sent)).expect("a usable event");
        assert_eq!(lines(&parsed), itself, "{body}");
    }
    let parsed = posted(b"\xff\xfe", &BINARY).expect("a usable event");
    assert_eq!(lines(&parsed), itself);
    let check = r#"{"source":"x","check_id":"c","status":"fail","observed":NaN}"#;
    let parsed = binary(check, &[text]).expect("a usable event");
    assert_eq!(
        lines(&parsed),
        ["fail {alertname=\"c\", tool=\"x\"} run=/s 1"]
    );
    assert_eq!(
        parsed.notes,
        ["NaN or Infinity without quotes, read as text (1 times)"]
    );
    // What was to be JSON and is cut short is no alert of its own.
    let cut = r#"{"source":"x","check_id"#;
    let reason = "$: not JSON: EOF while parsing a string at line 1 column 23";
    for sent in [None, Some(json)] {
        assert_eq!(binary(cut, &Vec::from_iter(sent)), Err(reason.to_owned()));
    }
}

#[test]
fn the_data_of_an_event_are_not_kept() {
    let data = r#"{"rows":["SECRET"],"message":"SECRET","labels":"SECRET"}"#;
    for field in [
        format!(r#""data":{data}"#),
        format!(r#""data_base64":"{}""#, BASE64_STANDARD.encode(data)),
        format!(r#""extension":"SECRET","data":{data}"#),
    ] {
        let parsed = read(KIND, &event("1", 0, &format!(r#""type":"t",{field}"#)));
        assert_eq!(lines(&parsed).len(), 1);
        assert!(!format!("{parsed:?}").contains("SECRET"), "{parsed:?}");
    }
}

#[test]
fn an_event_that_cannot_be_read_is_refused_with_its_place() {
    let long = |n: usize| "x".repeat(n);
    let shown = format!("{}…", long(64));
    let with = |field: &str, value: &str| {
        let whole = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","x":0}"#;
        let whole = whole.replace(&format!("\"{field}\":"), "\"was\":");
        whole.replace("\"x\":0", &format!("\"{field}\":{value}"))
    };
    let encoded = BASE64_STANDARD.encode(r#"{"checks":[{"#);
    let table: [(String, &str, &str); 18] = [
        ("7".to_owned(), "$", "expected an object, found a number"),
        (
            with("specversion", "1.0"),
            "$.specversion",
            "version \"1.0\" is wanted, found 1.0",
        ),
        (
            with("specversion", "\"2.0\""),
            "$.specversion",
            "version \"1.0\" is wanted, found \"2.0\"",
        ),
        (with("id", "null"), "$.id", "an id is wanted, found nothing"),
        (with("id", "7"), "$.id", "expected a string, found a number"),
        (
            with("id", &format!("\"{}\"", long(257))),
            "$.id",
            &format!("an id of at most 256 characters is wanted, found \"{shown}\""),
        ),
        (
            with("source", "\"\""),
            "$.source",
            "a source is wanted, found \"\"",
        ),
        (
            with("source", "{}"),
            "$.source",
            "expected a string, found an object",
        ),
        (
            with("source", &format!("\"{}\"", long(513))),
            "$.source",
            &format!("a source of at most 512 characters is wanted, found \"{shown}\""),
        ),
        (
            with("type", "[]"),
            "$.type",
            "expected a string, found a list",
        ),
        (
            with("subject", "1"),
            "$.subject",
            "expected a string, found a number",
        ),
        (
            with("time", "\"soon\""),
            "$.time",
            "an RFC 3339 or Unix time is wanted, found \"soon\"",
        ),
        (
            with("severitytext", "17"),
            "$.severitytext",
            "expected a string, found a number",
        ),
        (
            with("severitynumber", "0"),
            "$.severitynumber",
            "a severity number from 1 to 24 is wanted, found 0",
        ),
        (
            with("severitynumber", "true"),
            "$.severitynumber",
            "expected a string, found true",
        ),
        (
            with("data_base64", "5"),
            "$.data_base64",
            "expected a string, found a number",
        ),
        (
            with("data_base64", &format!("\"{encoded}\"")),
            "$.data_base64.checks[0]",
            "not JSON: EOF while parsing an object at line 1 column 12",
        ),
        (
            with("data", r#"{"checks":5,"source":"x","version":1}"#),
            "$.data.checks",
            "expected a list, found a number",
        ),
    ];
    for (body, path, reason) in table {
        let expected = (path.to_owned(), reason.to_owned());
        assert_eq!(refusal(KIND, body.as_bytes()), expected, "{body}");
    }
    let many = format!("[{}]", vec!["0"; 10_001].join(","));
    let expected = "at most 10000 items are wanted, found more";
    assert_eq!(
        refusal(KIND, many.as_bytes()),
        ("$".to_owned(), expected.to_owned())
    );
}
