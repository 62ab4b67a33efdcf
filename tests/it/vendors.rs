//! Senders that page `PagerDuty` or Opsgenie, pointed at us.

use crate::api::{Answer, Api, access_with_source_of};
use crate::world::{book, rules};
use axum::http::Method;
use serde_json::{Value, json};
use std::path::Path;
use watchkeeper::domain::secret::Secret;
use watchkeeper::domain::source::Kind;
use watchkeeper::http::auth::Credential;

fn payload(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/payloads");
    std::fs::read_to_string(folder.join(name)).expect("the fixture is there")
}

fn pages(api: &mut Api, name: &str) -> Answer {
    let body = payload(&format!("pagerduty-events-v2/{name}.json"));
    api.send(Method::POST, "/v2/enqueue", &[], body)
}

fn incident(api: &mut Api, number: u64) -> Value {
    let answer = api.get(&format!("/api/v1/incidents/{number}"));
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

fn n_incidents(api: &mut Api) -> usize {
    api.get("/api/v1/incidents")
        .each("incidents", "number")
        .len()
}

#[test]
fn what_triggers_acknowledges_and_resolves_at_pagerduty_does_so_here() {
    let mut api = Api::new();
    let first = pages(&mut api, "trigger_full");
    assert_eq!(first.status, 202, "{}", first.text);
    assert_eq!(
        first.json(),
        json!({ "status": "success", "message": "Event processed", "dedup_key": "samplekeyhere" })
    );
    let opened = incident(&mut api, 1);
    assert_eq!(
        opened["title"],
        "DISK at 99% on machine prod-datapipe03.example.com"
    );
    assert_eq!(opened["dedup_key"], "samplekeyhere");
    assert_eq!(pages(&mut api, "trigger_full").status, 202);
    assert_eq!(incident(&mut api, 1)["alerts"]["received"], 2);

    assert_eq!(pages(&mut api, "acknowledge").status, 202);
    assert_eq!(incident(&mut api, 1)["acknowledged_by"], "pagerduty");
    let resolved = pages(&mut api, "resolve_minimal");
    assert_eq!(resolved.at("/dedup_key"), "samplekeyhere");
    assert_eq!(incident(&mut api, 1)["alerts"]["resolved"], 1);
    assert_eq!(n_incidents(&mut api), 1);
}

#[test]
fn what_alertmanager_sends_to_pagerduty_is_one_alert_of_its_group() {
    let mut api = Api::new();
    for name in ["alertmanager_trigger", "alertmanager_trigger_update"] {
        assert_eq!(pages(&mut api, name).status, 202);
    }
    let alerts = incident(&mut api, 1)["alerts"].clone();
    assert_eq!(
        (&alerts["firing"], &alerts["received"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(pages(&mut api, "alertmanager_resolve").status, 202);
    assert_eq!(incident(&mut api, 1)["alerts"]["resolved"], 1);
}

#[test]
fn an_event_without_a_key_is_given_one_and_the_same_again_joins() {
    let mut api = Api::new();
    let key = pages(&mut api, "trigger_minimal_no_dedup_key").at("/dedup_key");
    let key = key.as_str().expect("a key").to_owned();
    assert_eq!(key.len(), 32);
    assert_eq!(
        pages(&mut api, "trigger_minimal_no_dedup_key").at("/dedup_key"),
        key.as_str()
    );
    assert_eq!(n_incidents(&mut api), 1);
    let resolve = json!({ "event_action": "resolve", "dedup_key": key });
    assert_eq!(api.post("/v2/enqueue", &resolve).status, 202);
    assert_eq!(incident(&mut api, 1)["alerts"]["resolved"], 1);
}

#[test]
fn what_pagerduty_would_not_take_is_refused_as_it_would() {
    let mut api = Api::new();
    let mut refused = |body: Value| {
        let answer = api.post("/v2/enqueue", &body);
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert_eq!(answer.at("/status"), "invalid event");
        answer
            .at("/errors/0")
            .as_str()
            .expect("a reason")
            .to_owned()
    };
    let trigger = |payload: Value| json!({ "event_action": "trigger", "payload": payload });
    let whole = json!({ "summary": "s", "source": "h", "severity": "error" });
    let without = |name: &str| {
        let mut payload = whole.clone();
        payload.as_object_mut().expect("an object").remove(name);
        trigger(payload)
    };
    for (body, reason) in [
        (
            json!({}),
            "$.event_action: one of trigger, acknowledge, resolve is wanted, found nothing",
        ),
        (
            json!({ "event_action": "page" }),
            "$.event_action: one of trigger, acknowledge, resolve is wanted, found \"page\"",
        ),
        (
            json!({ "event_action": "trigger" }),
            "$.payload: a payload is wanted, found nothing",
        ),
        (
            without("summary"),
            "$.payload.summary: a summary is wanted, found nothing",
        ),
        (
            without("source"),
            "$.payload.source: a source is wanted, found nothing",
        ),
        (
            without("severity"),
            "$.payload.severity: one of critical, error, warning, info is wanted, found nothing",
        ),
        (
            json!({ "event_action": "resolve" }),
            "$.dedup_key: a dedup key is wanted, found nothing",
        ),
        (
            json!({ "event_action": "acknowledge", "dedup_key": "" }),
            "$.dedup_key: a dedup key is wanted, found \"\"",
        ),
        (
            json!({ "event_action": "resolve", "dedup_key": "k".repeat(256) }),
            "$.dedup_key: a key of at most 255 characters is wanted",
        ),
        (json!([]), "$: expected an object, found a list"),
    ] {
        let found = refused(body);
        assert!(found.starts_with(reason), "{found}");
    }
    let unread = api.send(Method::POST, "/v2/enqueue", &[], "{");
    assert_eq!(unread.status, 400);
    assert_eq!(n_incidents(&mut api), 0);
}

#[test]
fn a_resolve_of_what_is_not_known_is_taken_and_opens_nothing() {
    let mut api = Api::new();
    assert_eq!(pages(&mut api, "resolve_minimal").status, 202);
    assert_eq!(pages(&mut api, "acknowledge").status, 202);
    assert_eq!(n_incidents(&mut api), 0);
}

fn with_secret(kind: Kind, secret: &str) -> Api {
    let credentials = vec![Credential::Bearer(Secret::new(secret))];
    let access = access_with_source_of(kind, "prod", credentials);
    Api::with(access, book(&[("ana", 5)]), rules(|_| {}))
}

#[test]
fn the_routing_key_is_the_secret_of_a_source() {
    let mut api = with_secret(Kind::Pagerduty, "0123456789abcdef0123456789abcdef");
    assert_eq!(pages(&mut api, "trigger_full").status, 202);
    assert_eq!(api.get("/api/v1/alerts").each("alerts", "source"), ["prod"]);
    let mut api = with_secret(Kind::Pagerduty, "another");
    let refused = pages(&mut api, "trigger_full");
    assert_eq!(
        (refused.status, refused.at("/status")),
        (401, json!("invalid event"))
    );
    assert_eq!(n_incidents(&mut api), 0);
}

fn create(api: &mut Api, name: &str, key: &str) -> Answer {
    let body = payload(&format!("opsgenie/{name}.json"));
    api.send(Method::POST, "/v2/alerts", &[("authorization", key)], body)
}

#[test]
fn what_is_created_acknowledged_and_closed_at_opsgenie_is_so_here() {
    let mut api = with_secret(Kind::Opsgenie, "og-key");
    let key = [("authorization", "GenieKey og-key")];
    let created = create(&mut api, "alertmanager_create_003", "GenieKey og-key");
    assert_eq!(created.status, 202, "{}", created.text);
    assert_eq!(created.at("/result"), "Request will be processed");
    assert_eq!(created.at("/requestId").as_str().map(str::len), Some(36));
    let opened = incident(&mut api, 1);
    assert_eq!(
        opened["title"],
        "[FIRING:1] HighErrorRate (api-1 checkout critical)"
    );
    let alias = opened["dedup_key"].as_str().expect("a key").to_owned();

    // As Alertmanager does with each of its messages.
    for what in ["message", "description"] {
        let path = format!("/v2/alerts/{alias}/{what}?identifierType=alias");
        assert_eq!(api.send(Method::PUT, &path, &key, "{}").status, 202);
    }
    let path = format!("/v2/alerts/{alias}/acknowledge?identifierType=alias");
    let body = payload("opsgenie/acknowledge.json");
    assert_eq!(api.send(Method::POST, &path, &key, body).status, 202);
    assert_eq!(incident(&mut api, 1)["acknowledged_by"], "prod");
    let path = format!("/v2/alerts/{alias}/close?identifierType=alias");
    assert_eq!(api.send(Method::POST, &path, &key, "").status, 202);
    assert_eq!(incident(&mut api, 1)["alerts"]["resolved"], 1);

    assert_eq!(
        create(&mut api, "create_full", "GenieKey og-key").status,
        202
    );
    let path = "/v2/alerts/Life%20is%20too%20short%20for%20no%20alias";
    assert_eq!(api.send(Method::DELETE, path, &key, "").status, 202);
    assert_eq!(incident(&mut api, 2)["alerts"]["resolved"], 1);
}

#[test]
fn what_opsgenie_would_not_take_is_refused_as_it_would() {
    let mut api = with_secret(Kind::Opsgenie, "og-key");
    let unknown = create(&mut api, "create_full", "GenieKey other");
    assert_eq!(unknown.status, 401);
    assert!(unknown.at("/message").is_string(), "{}", unknown.text);
    let key = [("authorization", "GenieKey og-key")];
    for (body, reason) in [
        ("{}", "$.message: a message is wanted, found nothing"),
        (
            r#"{"message":"m","priority":"P9"}"#,
            "$.priority: one of P1, P2, P3, P4, P5 is wanted, found \"P9\"",
        ),
        (
            r#"{"message":"m","tags":["a",1]}"#,
            "$.tags[1]: expected a string, found a number",
        ),
        (
            r#"{"message":"m","details":{"a":{}}}"#,
            "$.details.a: expected a string, found an object",
        ),
        ("", "$: the body is empty"),
    ] {
        let answer = api.send(Method::POST, "/v2/alerts", &key, body);
        assert_eq!(answer.status, 422, "{}", answer.text);
        assert_eq!(answer.at("/message"), reason);
    }
    let answer = api.send(Method::POST, "/v2/alerts/x/snooze", &key, "{}");
    assert_eq!(answer.status, 404);
    assert_eq!(n_incidents(&mut api), 0);
}

#[test]
fn the_attributes_of_an_event_are_there_for_rules() {
    let mut api = Api::new();
    pages(&mut api, "trigger_full");
    let alerts = api.get("/api/v1/alerts").json();
    let alert = &alerts["alerts"][0];
    assert_eq!(alert["attributes"]["host"], "prod-datapipe03.example.com");
    assert_eq!(alert["attributes"]["component"], "postgres");
    assert_eq!(alert["attributes"]["severity"], "critical");
    assert_eq!(alert["annotations"]["load avg"], "0.75");
}
