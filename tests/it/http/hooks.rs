//! What senders are answered, line by line of the contract's table; and bodies that are none.

use crate::api::{Answer, Api, MAX_BODY, alerts};
use axum::http::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use watchkeeper::domain::time::Timestamp;
use watchkeeper::store::engine::{BackupInfo, Class, Engine, Job, Reads, Status};
use watchkeeper::store::memory::MemoryEngine;
use watchkeeper::store::{Error, Store};

const HOOK: &str = "/hooks/alertmanager";

fn hook(api: &mut Api, body: impl Into<axum::body::Body>) -> Answer {
    api.send(Method::POST, HOOK, &[], body)
}

#[test]
fn what_was_accepted_is_counted_with_the_incidents_it_opened_and_joined() {
    let mut api = Api::new();
    let answer = api.post(HOOK, &alerts(&[("Down", "firing"), ("Slow", "firing")]));
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({ "received": 2, "accepted": 2, "rejected": 0, "opened": [1, 2], "joined": [] })
    );
    let repeated = api.post(HOOK, &alerts(&[("Down", "firing"), ("New", "firing")]));
    assert_eq!(
        repeated.json(),
        json!({ "received": 2, "accepted": 2, "rejected": 0, "opened": [3], "joined": [1] })
    );
}

#[test]
fn the_same_alert_twice_in_one_body_opens_one_incident() {
    let mut api = Api::new();
    let answer = api.post(HOOK, &alerts(&[("Down", "firing"), ("Down", "firing")]));
    assert_eq!(answer.at("/opened"), json!([1]));
    assert_eq!(answer.at("/joined"), json!([]));
    assert_eq!(api.simulation.sent().len(), 1);
    let incident = api.get("/api/v1/incidents/1");
    assert_eq!(incident.at("/alerts/received"), 2);
}

#[test]
fn a_late_check_result_is_accepted_and_names_the_incident() {
    let mut api = Api::new();
    let result = json!({
        "source": "job", "check_id": "rows", "status": "fail",
        "run": { "id": "7", "finished_at": "2026-03-02T08:59:00Z" },
    });
    assert_eq!(
        api.post("/hooks/check", &result).json(),
        json!({ "received": 1, "accepted": 1, "rejected": 0, "opened": [1], "joined": [] })
    );
    assert_eq!(
        api.post("/hooks/check", &result).json(),
        json!({ "received": 1, "accepted": 1, "rejected": 0, "opened": [], "joined": [1] })
    );
}

#[test]
fn a_check_that_could_not_run_is_told_again_and_names_its_incident() {
    let mut api = Api::new();
    let result = |status: &str| {
        json!({
            "source": "job", "check_id": "rows", "status": status,
            "run": { "id": "7", "finished_at": "2026-03-02T08:59:00Z" },
        })
    };
    let opened = api.post("/hooks/check", &result("error"));
    assert_eq!(opened.at("/opened"), json!([1]));
    for status in ["error", "skip"] {
        let again = api.post("/hooks/check", &result(status));
        assert_eq!(
            (again.at("/opened"), again.at("/joined")),
            (json!([]), json!([1])),
            "{status}"
        );
    }
}

#[test]
fn a_body_without_items_counts_nothing() {
    let mut api = Api::new();
    let empty = json!({ "received": 0, "accepted": 0, "rejected": 0, "opened": [], "joined": [] });
    let answer = hook(&mut api, r#"{"version":"4","alerts":[]}"#);
    assert_eq!((answer.status, answer.json()), (200, empty.clone()));
    let answer = api.post(
        "/hooks/check",
        &json!({ "version": "1", "source": "job", "checks": [] }),
    );
    assert_eq!((answer.status, answer.json()), (200, empty));
}

#[test]
fn a_body_of_which_nothing_is_usable_is_refused_with_its_place_and_kept() {
    let cases: [(&[u8], &str); 12] = [
        (b"", "400 $: the body is empty"),
        (
            b"{",
            "400 $: not JSON: EOF while parsing an object at line 1 column 1",
        ),
        (b"[]", "400 $: expected an object, found a list"),
        (b"null", "400 $: expected an object, found null"),
        (b"7", "400 $: expected an object, found a number"),
        (
            b"{}",
            "400 $.alerts: a list of alerts is wanted, found nothing",
        ),
        (
            br#"{"alerts":{}}"#,
            "400 $.alerts: expected a list, found an object",
        ),
        (
            br#"{"alerts":NaN}"#,
            "400 $.alerts: expected a list, found a string",
        ),
        (
            br#"{"alerts":[{"status":"firing","labels":{"a":"#,
            "400 $.alerts[0].labels.a: not JSON: EOF while parsing a value at line 1 column 44",
        ),
        (
            br#"{"alerts":[{"status":firing}]}"#,
            "400 $.alerts[0].status: not JSON: expected ident at line 1 column 23",
        ),
        (
            b"{\"alerts\":[\xff]}",
            "400 $: the body is not UTF-8 at line 1 column 12",
        ),
        (
            br#"{"alerts":[]} {}"#,
            "400 $: not JSON: trailing characters at line 1 column 15",
        ),
    ];
    let mut api = Api::new();
    for (body, wanted) in cases {
        let answer = hook(&mut api, body.to_vec());
        assert_eq!(answer.problem(), wanted);
        let letters = api.get("/api/v1/dead-letters?limit=1");
        let (status, rest) = wanted.split_once(' ').unwrap();
        assert_eq!(status, "400");
        let (path, reason) = rest.split_once(": ").unwrap();
        assert_eq!(letters.at("/dead_letters/0/path"), path);
        assert_eq!(letters.at("/dead_letters/0/reason"), reason);
        assert_eq!(letters.at("/dead_letters/0/source"), "alertmanager");
        assert_eq!(
            letters.at("/dead_letters/0/item"),
            String::from_utf8_lossy(body).as_ref()
        );
    }
    let letters = api.get("/api/v1/dead-letters");
    assert_eq!(letters.each("dead_letters", "id").len(), cases.len());
    assert_eq!(api.get("/api/v1/incidents").at("/incidents"), json!([]));
}

#[test]
fn a_body_nested_without_end_is_refused() {
    let mut api = Api::new();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(
        hook(&mut api, deep).problem(),
        "400 $: nested deeper than 128 at line 1 column 129"
    );
}

#[test]
fn bad_items_go_to_dead_letters_and_the_others_are_taken() {
    let mut api = Api::new();
    let body = json!({ "version": "4", "alerts": [
        { "status": "firing", "labels": { "alertname": "Good" } },
        { "status": "on fire", "labels": { "alertname": "BadStatus" } },
        { "status": "firing", "labels": { "alertname": 7 } },
        { "status": "firing", "labels": {} },
        { "status": "firing", "labels": { "alertname": "BadTime" }, "startsAt": "yesterday" },
        { "status": "firing", "labels": { "alertname": "AlsoGood" } },
        "an alert",
        null,
    ] });
    let answer = api.post(HOOK, &body);
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json(),
        json!({ "received": 8, "accepted": 2, "rejected": 6, "opened": [1, 2], "joined": [] })
    );
    let letters = api.get("/api/v1/dead-letters").json();
    let letters: Vec<String> = letters["dead_letters"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|letter| {
            format!(
                "{}: {}",
                letter["path"].as_str().unwrap(),
                letter["reason"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        letters,
        [
            "$.alerts[1].status: one of firing, resolved is wanted, found \"on fire\"",
            "$.alerts[2].labels.alertname: expected a string, found a number",
            "$.alerts[3].labels: an alert without labels",
            "$.alerts[4].startsAt: an RFC 3339 or Unix time is wanted, found \"yesterday\"",
            "$.alerts[6]: expected an object, found a string",
            "$.alerts[7]: expected an object, found null",
        ]
    );
}

#[test]
fn a_dead_letter_has_its_time_source_kind_and_item() {
    let mut api = Api::new();
    api.post(
        HOOK,
        &json!({ "version": "4", "alerts": [{ "status": "x" }] }),
    );
    assert_eq!(
        api.get("/api/v1/dead-letters").json(),
        json!({ "next": null, "dead_letters": [{
            "id": 1,
            "at": "2026-03-02T09:00:00.000Z",
            "source": "alertmanager",
            "kind": "alertmanager",
            "path": "$.alerts[0].status",
            "reason": "one of firing, resolved is wanted, found \"x\"",
            "item": "{\"status\":\"x\"}",
            "cut": false,
            "replayable": true,
            "replayed": null,
        }] })
    );
}

#[test]
fn odd_alerts_are_taken_for_what_they_say() {
    let mut api = Api::new();
    let body = r#"{"version":"4","alerts":[
        {"status":"firing","labels":{"alertname":"YearOne"},"startsAt":"0001-01-01T00:00:00Z","endsAt":"0001-01-01T00:00:00Z"},
        {"status":"firing","labels":{"alertname":"Names","überwachung":"ja","日本":"東京","a b":"c"}},
        {"status":"firing","labels":{"alertname":"Empty","gone":"","null":null}},
        {"status":"firing","labels":{"alertname":"First","alertname":"Last"}},
        {"status":"firing","labels":{"alertname":"Extra"},"value":NaN,"more":[Infinity,-Infinity]}
    ]}"#;
    let answer = hook(&mut api, body);
    assert_eq!(
        answer.json(),
        json!({ "received": 5, "accepted": 5, "rejected": 0, "opened": [1, 2, 3, 4, 5], "joined": [] })
    );
    // Which of them came to which incident is the fingerprints' affair.
    let list = api.get("/api/v1/alerts").json();
    let of = |name: &str| {
        let alerts = list["alerts"].as_array().unwrap().iter();
        let mut its = alerts.filter(|alert| alert["labels"]["alertname"] == name);
        its.next().cloned().unwrap_or(Value::Null)
    };
    let labels =
        ["YearOne", "Names", "Empty", "Last", "Extra"].map(|name| of(name)["labels"].clone());
    assert_eq!(
        labels,
        [
            json!({ "alertname": "YearOne" }),
            json!({ "alertname": "Names", "überwachung": "ja", "日本": "東京", "a b": "c" }),
            json!({ "alertname": "Empty" }),
            json!({ "alertname": "Last" }),
            json!({ "alertname": "Extra" }),
        ]
    );
    let year_one = of("YearOne");
    assert_eq!(year_one["starts_at"], "2026-03-02T09:00:00.000Z");
    assert_eq!(year_one["ends_at"], Value::Null);
}

#[test]
fn a_packed_body_is_unpacked() {
    let mut api = Api::new();
    let packed = include_bytes!("../fixtures/bodies/one_alert.json.gz").to_vec();
    let answer = api.send(Method::POST, HOOK, &[("content-encoding", "gzip")], packed);
    assert_eq!(answer.at("/opened"), json!([1]), "{}", answer.text);
}

#[test]
fn a_body_that_is_packed_otherwise_is_refused_in_words_everywhere() {
    let mut api = Api::new();
    for path in [
        HOOK,
        "/api/v1/silences",
        "/api/v2/alerts",
        "/api/v2/silences",
        "/v2/enqueue",
        "/v2/alerts",
    ] {
        let answer = api.send(Method::POST, path, &[("content-encoding", "br")], "x");
        assert_eq!(
            answer.problem(),
            "415 a body as it is, or packed by gzip, is wanted, found \"br\"",
            "{path}"
        );
        assert_eq!(answer.header("accept-encoding"), "gzip");
    }
}

#[test]
fn a_packed_body_that_is_none_or_too_large_unpacked_is_refused() {
    let mut api = Api::new();
    let gzip = [("content-encoding", "gzip")];
    let broken = api.send(Method::POST, HOOK, &gzip, "not packed at all");
    assert_eq!(
        broken.problem(),
        "400 $: the body could not be read: Invalid gzip header"
    );
    let bomb = include_bytes!("../fixtures/bodies/ten_mebibytes.json.gz").to_vec();
    let answer = api.send(Method::POST, HOOK, &gzip, bomb);
    assert_eq!(
        answer.problem(),
        "413 a body of at most 8388608 bytes is taken"
    );
}

#[test]
fn a_body_that_is_too_large_is_413_and_one_that_just_fits_is_read() {
    let mut api = Api::new();
    let answer = hook(&mut api, " ".repeat(10 << 20));
    assert_eq!(
        answer.problem(),
        "413 a body of at most 8388608 bytes is taken"
    );
    let body = r#"{"version":"4","alerts":[]}"#;
    let padded = format!("{body}{}", " ".repeat(MAX_BODY - body.len()));
    assert_eq!(hook(&mut api, padded.clone()).status, 200);
    assert_eq!(hook(&mut api, padded + " ").status, 413);
    assert_eq!(
        api.get("/api/v1/dead-letters").at("/dead_letters"),
        json!([])
    );
}

#[test]
fn ten_thousand_alerts_in_one_body_are_one_incident_and_one_page() {
    let mut api = Api::new();
    let items: Vec<Value> = (0..10_000)
        .map(|n| {
            json!({ "status": "firing", "labels": { "alertname": "Down", "instance": format!("i{n}") } })
        })
        .collect();
    let answer = api.post(HOOK, &json!({ "version": "4", "alerts": items }));
    assert_eq!(
        answer.json(),
        json!({ "received": 10_000, "accepted": 10_000, "rejected": 0, "opened": [1], "joined": [] })
    );
    let incident = api.get("/api/v1/incidents/1");
    assert_eq!(
        incident.at("/alerts"),
        json!({ "firing": 10_000, "resolved": 0, "stale": 0, "received": 10_000 })
    );
    assert_eq!(api.simulation.sent().len(), 1);
}

#[test]
fn an_unknown_source_is_404() {
    let mut api = Api::new();
    let answer = api.post("/hooks/nagios", &json!({}));
    assert_eq!(answer.problem(), "404 there is no source \"nagios\"");
}

#[test]
fn a_body_of_the_wrong_kind_is_refused() {
    let mut api = Api::new();
    let answer = api.post("/hooks/check", &alerts(&[("Down", "firing")]));
    assert_eq!(
        answer.problem(),
        "400 $.source: a source is wanted, found nothing"
    );
}

/// An engine that takes nothing, for a reason.
#[derive(Debug)]
struct Refusing(MemoryEngine, fn() -> Error);

impl Engine for Refusing {
    fn submit(&self, _class: Class, _job: Job) -> Result<(), Error> {
        Err((self.1)())
    }

    fn view(&self) -> Box<dyn Reads + '_> {
        self.0.view()
    }

    fn status(&self) -> Status {
        self.0.status()
    }

    fn backup(&self, to: &Path, made_at: Timestamp) -> Result<BackupInfo, Error> {
        self.0.backup(to, made_at)
    }

    fn checkpoint(&self) -> Result<(), Error> {
        self.0.checkpoint()
    }

    fn close(&self) -> Result<(), Error> {
        self.0.close()
    }
}

#[test]
fn a_store_that_takes_nothing_is_503_with_a_time_to_come_back() {
    type Refuse = fn() -> Error;
    let cases: [(Refuse, &str); 4] = [
        (|| Error::Busy, "503 the store has too much waiting"),
        (|| Error::Full, "503 the disk of the store is full"),
        (|| Error::Closed, "503 the store is closed"),
        (
            || Error::Poisoned {
                why: "a sync failed".to_owned(),
            },
            "503 the store is failing; nothing was taken",
        ),
    ];
    for (error, wanted) in cases {
        let mut api = Api::new();
        api.over(Store::new(Arc::new(Refusing(MemoryEngine::new(), error))));
        for answer in [
            api.fires("Down"),
            hook(&mut api, "{"),
            api.post(
                "/api/v1/incidents",
                &json!({ "title": "x", "source": "customer" }),
            ),
        ] {
            assert_eq!(answer.problem(), wanted);
            assert_eq!(answer.header("retry-after"), "5");
        }
        // What is read is read all the same.
        assert_eq!(api.get("/api/v1/incidents").status, 200);
    }
}

#[test]
fn a_commit_that_fails_is_503_and_nothing_of_it_stays() {
    let mut api = Api::in_memory();
    api.simulation.memory().fail_at(1);
    let answer = api.fires("Down");
    assert_eq!(
        answer.problem(),
        "503 the store is failing; nothing was taken"
    );
    assert_eq!(answer.header("retry-after"), "5");
    assert_eq!(api.get("/api/v1/incidents").at("/incidents"), json!([]));
    assert_eq!(api.fires("Down").at("/opened"), json!([1]));
}

#[test]
fn of_a_body_that_may_hold_rows_only_what_is_wrong_with_it_is_kept() {
    let mut api = Api::new();
    let body = r#"{"checkpoint":"c","rows":["ana@example.org"]}"#;
    let answer = api.send(Method::POST, "/hooks/great_expectations", &[], body);
    assert_eq!(answer.status, 400);
    let letters = api.get("/api/v1/dead-letters");
    assert_eq!(letters.each("dead_letters", "item"), [""]);
    assert_eq!(
        letters.each("dead_letters", "path"),
        ["$.validation_results"]
    );
    assert!(
        !letters.text.contains("ana@example.org"),
        "{}",
        letters.text
    );
}
