//! What every route has in common: problems, request ids, repeats under one key.

use crate::api::Api;
use axum::http::Method;
use serde_json::{Value, json};

#[test]
fn a_path_that_is_not_there_is_a_404_problem() {
    let mut api = Api::new();
    for path in ["/", "/nothing", "/api/v1/nothing", "/api/v3", "/hooks"] {
        assert_eq!(
            api.get(path).problem(),
            "404 there is nothing at this path",
            "{path}"
        );
    }
}

#[test]
fn a_method_that_a_path_does_not_take_is_a_405_problem() {
    let mut api = Api::new();
    api.fires("Down");
    let cases = [
        (Method::GET, "/hooks/alertmanager"),
        (Method::DELETE, "/api/v1/incidents"),
        (Method::PUT, "/api/v1/incidents/1"),
        (Method::GET, "/api/v1/incidents/1/acknowledge"),
        (Method::POST, "/api/v1/rules"),
        (Method::POST, "/healthz"),
    ];
    for (method, path) in cases {
        let answer = api.send(method, path, &[], "");
        assert_eq!(
            answer.problem(),
            "405 this path does not take this method",
            "{path}"
        );
    }
    let answer = api.send(Method::DELETE, "/api/v1/incidents", &[], "");
    assert_eq!(answer.header("allow"), "GET,HEAD,POST");
}

#[test]
fn an_incident_that_is_not_there_is_a_404_problem_everywhere() {
    let mut api = Api::new();
    for path in ["", "/timeline", "/alerts", "/pages"] {
        let answer = api.get(&format!("/api/v1/incidents/7{path}"));
        assert_eq!(answer.problem(), "404 there is no incident 7", "{path}");
    }
    let commands = [
        ("acknowledge", json!({})),
        ("unacknowledge", json!({})),
        ("take-over", json!({})),
        ("escalate", json!({})),
        ("page", json!({ "to": "person:ana" })),
        ("severity", json!({ "severity": "SEV2", "reason": "x" })),
        ("assign", json!({ "role": "commander", "person": "ana" })),
        ("updates", json!({ "audience": "public", "text": "x" })),
        ("notes", json!({ "text": "x" })),
        ("containment", json!({ "text": "x" })),
        ("actions", json!({ "kind": "systemic", "title": "x" })),
        ("outputs/validated", json!({ "statement": "x" })),
        ("advance", json!({})),
        ("close", json!({})),
        ("reopen", json!({ "reason": "x" })),
    ];
    for (command, body) in commands {
        let answer = api.post(&format!("/api/v1/incidents/7/{command}"), &body);
        assert_eq!(answer.problem(), "404 there is no incident 7", "{command}");
    }
}

#[test]
fn what_is_no_number_in_a_path_or_a_query_is_a_problem_too() {
    let mut api = Api::new();
    let cases = [
        (
            "/api/v1/incidents/seven",
            "400 Invalid URL: Cannot parse `seven` to a `u64`",
        ),
        (
            "/api/v1/incidents/-1",
            "400 Invalid URL: Cannot parse `-1` to a `u64`",
        ),
        (
            "/api/v1/incidents/7.5/timeline",
            "400 Invalid URL: Cannot parse `7.5` to a `u64`",
        ),
        (
            "/incidents/x",
            "400 Invalid URL: Cannot parse `x` to a `u64`",
        ),
        (
            "/api/v1/incidents?limit=many",
            "400 Failed to deserialize query string: limit: invalid digit found in string",
        ),
        (
            "/api/v1/incidents?severity=SEV9",
            "400 Failed to deserialize query string: severity: unknown variant `SEV9`, expected one of `SEV1`, `SEV2`, `SEV3`, `SEV4`, `SEV5`",
        ),
        (
            "/api/v1/incidents?colour=red",
            "400 Failed to deserialize query string: colour: unknown field `colour`, expected one of `status`, `severity`, `phase`, `team`, `q`, `limit`, `cursor`",
        ),
        (
            "/api/v1/incidents?limit=0",
            "400 limit is from 1 to 1000, found 0",
        ),
        (
            "/api/v1/incidents?limit=1001",
            "400 limit is from 1 to 1000, found 1001",
        ),
        (
            "/api/v1/incidents?status=new",
            "400 status is open or closed, found \"new\"",
        ),
        ("/api/v1/incidents?cursor=x", "400 bad cursor \"x\""),
        ("/api/v1/alerts?cursor=x", "400 bad cursor \"x\""),
        ("/api/v1/dead-letters?cursor=x", "400 bad cursor \"x\""),
        (
            "/api/v1/alerts?status=on",
            "400 Failed to deserialize query string: status: unknown variant `on`, expected one of `pending`, `firing`, `resolved`, `stale`",
        ),
        (
            "/api/v1/alerts/xyz",
            "400 a fingerprint of 16 hexadecimal digits is wanted, found \"xyz\"",
        ),
        (
            "/api/v1/alerts/58b170e698d6fadd",
            "404 there is no alert 58b170e698d6fadd",
        ),
        (
            "/api/v1/schedules/none",
            "404 there is no schedule \"none\"",
        ),
        (
            "/api/v1/schedules/none/overrides",
            "404 there is no schedule \"none\"",
        ),
    ];
    let found: Vec<String> = cases
        .iter()
        .map(|(path, _)| api.get(path).problem())
        .collect();
    let wanted: Vec<&str> = cases.iter().map(|(_, wanted)| *wanted).collect();
    assert_eq!(found, wanted);
}

#[test]
fn a_body_that_is_wrong_is_refused_with_its_place() {
    let mut api = Api::new();
    api.fires("Down");
    let cases = [
        (
            "acknowledge",
            "{",
            "400 $: EOF while parsing an object at line 1 column 1",
        ),
        (
            "acknowledge",
            "[]",
            "400 $: invalid length 0, expected struct OnlyBy with 1 element at line 1 column 2",
        ),
        (
            "acknowledge",
            r#"{"by":7}"#,
            "400 $.by: invalid type: integer `7`, expected a string at line 1 column 7",
        ),
        (
            "acknowledge",
            r#"{"bye":"ana"}"#,
            "400 $.bye: unknown field `bye`, expected `by` at line 1 column 6",
        ),
        (
            "acknowledge",
            r#"{"by":"ana"} x"#,
            "400 $: trailing characters at line 1 column 14",
        ),
        (
            "acknowledge",
            r#"{"by":"ana","by":"ben"}"#,
            "400 $: duplicate field `by` at line 1 column 16",
        ),
        (
            "notes",
            r#"{"text":NaN}"#,
            "400 $.text: expected value at line 1 column 9",
        ),
        (
            "notes",
            "{}",
            "400 $: missing field `text` at line 1 column 2",
        ),
        (
            "notes",
            r#"{"text":"  "}"#,
            "400 $.text: text wants a text, found none",
        ),
        (
            "notes",
            r#"{"text":"x","at":"yesterday"}"#,
            "400 $.at: an RFC 3339 time is wanted, found \"yesterday\"",
        ),
        (
            "severity",
            r#"{"severity":"SEV2"}"#,
            "400 $.reason: reason wants a text, found none",
        ),
        (
            "severity",
            r#"{"severity":"SEV9","reason":"x"}"#,
            "400 $.severity: unknown variant `SEV9`, expected one of `SEV1`, `SEV2`, `SEV3`, `SEV4`, `SEV5` at line 1 column 18",
        ),
        (
            "assign",
            r#"{"role":"boss","person":"ana"}"#,
            "400 $.role: unknown variant `boss`, expected one of `commander`, `deputy`, `communications`, `scribe`, `technical_owner`, `analysis_owner`, `verifier` at line 1 column 14",
        ),
        (
            "updates",
            r#"{"audience":"all","text":"x"}"#,
            "400 $.audience: unknown variant `all`, expected one of `stakeholders`, `responders`, `public` at line 1 column 17",
        ),
        (
            "page",
            r#"{"to":"ana"}"#,
            "400 $.to: a target such as \"person:ana\", \"schedule:payments\" or \"policy:payments\" is wanted, found \"ana\"",
        ),
        (
            "containment",
            "{}",
            "400 $: either text or none_because is wanted",
        ),
        (
            "actions",
            r#"{"kind":"systemic","title":"x","due":"soon"}"#,
            "400 $.due: an RFC 3339 time is wanted, found \"soon\"",
        ),
        (
            "containment",
            r#"{"none_because":"x","at":"soon"}"#,
            "400 $.at: an RFC 3339 time is wanted, found \"soon\"",
        ),
        (
            "actions",
            r#"{"title":"x"}"#,
            "400 $.kind: an action needs a kind, \"containment\" or \"systemic\"",
        ),
        (
            "actions",
            r#"{"kind":"systemic","title":" "}"#,
            "400 $.title: an action needs a title",
        ),
        (
            "actions",
            r#"{"kind":"systemic","title":"x","answers":["all"]}"#,
            "400 $.answers[0]: an action answers \"weakness:0\", \"detection_gap\" or \"immediate_cause\", found \"all\"",
        ),
        (
            "advance",
            r#"{"waive":[{"output":"commander"}]}"#,
            "400 $.waive[0]: missing field `reason` at line 1 column 32",
        ),
        (
            "advance",
            r#"{"waive":[{"output":"coffee","reason":"x"}]}"#,
            "400 $.waive[0].output",
        ),
        (
            "outputs/coffee",
            r#"{"statement":"x"}"#,
            "404 there is no output \"coffee\"; statements are escalation_decided, channel, validated, contained, timeline_reviewed, stakeholder, lessons",
        ),
        (
            "outputs/commander",
            r#"{"statement":"x"}"#,
            "400 commander is no statement; it is given in its own way",
        ),
    ];
    let mut wrong = Vec::new();
    for (command, body, wanted) in cases {
        let path = format!("/api/v1/incidents/1/{command}");
        let found = api.send(Method::POST, &path, &[], body).problem();
        if !found.starts_with(wanted) {
            wrong.push(format!(
                "{command} {body}\n  wanted {wanted}\n  found  {found}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_command_that_is_too_long_is_413() {
    let mut api = Api::new();
    api.fires("Down");
    let body = json!({ "text": "x".repeat(300 * 1024) });
    let answer = api.post("/api/v1/incidents/1/notes", &body);
    assert_eq!(
        answer.problem(),
        "413 a body of at most 262144 bytes is taken"
    );
    let body = json!({ "text": "x".repeat(20 * 1024) });
    let answer = api.post("/api/v1/incidents/1/notes", &body);
    assert_eq!(
        answer.problem(),
        "400 $.text: text has at most 16384 bytes, found 20480"
    );
}

#[test]
fn a_request_id_is_echoed_or_made() {
    let mut api = Api::new();
    let answer = api.send(
        Method::GET,
        "/api/v1/incidents",
        &[("x-request-id", "mine-7")],
        "",
    );
    assert_eq!(answer.header("x-request-id"), "mine-7");
    let made = api.get("/nothing").header("x-request-id").to_owned();
    let (process, n) = made.split_once('-').unwrap();
    assert!(process.len() == 8 && n.parse::<u64>().is_ok(), "{made}");
    assert_ne!(made, api.get("/nothing").header("x-request-id"));
}

/// Posts twice under one key and once under another.
fn three_times(api: &mut Api, path: &str, body: &Value) -> [crate::api::Answer; 3] {
    ["a", "a", "b"].map(|key| {
        api.send(
            Method::POST,
            path,
            &[("idempotency-key", key)],
            body.to_string(),
        )
    })
}

#[test]
fn the_same_key_adds_a_note_once() {
    let mut api = Api::new();
    api.fires("Down");
    let answers = three_times(
        &mut api,
        "/api/v1/incidents/1/notes",
        &json!({ "text": "look here", "by": "ana" }),
    );
    assert_eq!(answers.each_ref().map(|answer| answer.status), [200; 3]);
    let texts = api
        .get("/api/v1/incidents/1/timeline")
        .each("timeline", "text");
    let notes = texts.iter().filter(|text| *text == "note: look here");
    assert_eq!(notes.count(), 2);
}

#[test]
fn the_same_key_opens_an_incident_once() {
    let mut api = Api::new();
    let body = json!({ "title": "The till is stuck", "source": "customer", "by": "ana" });
    let answers = three_times(&mut api, "/api/v1/incidents", &body);
    assert_eq!(answers.each_ref().map(|answer| answer.status), [201; 3]);
    assert_eq!(
        answers.map(|answer| answer.at("/number")),
        [1, 1, 2].map(Value::from)
    );
}

#[test]
fn a_key_that_is_empty_or_endless_is_refused() {
    let mut api = Api::new();
    api.fires("Down");
    for key in ["", &"x".repeat(257)] {
        let answer = api.send(
            Method::POST,
            "/api/v1/incidents/1/notes",
            &[("idempotency-key", key)],
            r#"{"text":"x"}"#,
        );
        assert_eq!(
            answer.problem(),
            "400 an Idempotency-Key has 1 to 256 bytes"
        );
    }
}

#[test]
fn a_command_that_was_refused_may_be_tried_again_under_its_key() {
    let mut api = Api::new();
    api.fires("Down");
    let path = "/api/v1/incidents/1/actions";
    let key = [("idempotency-key", "k")];
    let refused = api.send(Method::POST, path, &key, r#"{"title":"x"}"#);
    assert_eq!(refused.status, 400);
    let body = r#"{"kind":"systemic","title":"x"}"#;
    let answer = api.send(Method::POST, path, &key, body);
    assert_eq!(answer.at("/actions/0/title"), "x", "{}", answer.text);
}
