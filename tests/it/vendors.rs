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
    let answer = api.send(Method::POST, "/v2/alerts/x/dance", &key, "{}");
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

/// Opsgenie's API as the owner of `og-key`, with an alert `disk` that fires.
fn with_an_alert() -> Api {
    let mut api = with_secret(Kind::Opsgenie, "og-key");
    let body = json!({
        "message": "disk full", "alias": "disk", "description": "99 %", "priority": "P2", "source": "zabbix",
        "tags": ["db", "prod"], "details": { "host": "db1" }, "entity": "orders",
    });
    assert_eq!(opsgenie(&mut api, Method::POST, "", &body).status, 202);
    api
}

fn opsgenie(api: &mut Api, method: Method, path: &str, body: &Value) -> Answer {
    let key = [("authorization", "GenieKey og-key")];
    api.send(method, &format!("/v2/alerts{path}"), &key, body.to_string())
}

fn asks(api: &mut Api, path: &str) -> Answer {
    opsgenie(api, Method::GET, path, &json!({}))
}

#[test]
fn what_became_of_a_request_is_told_by_its_id_alone() {
    let mut api = with_an_alert();
    let path = "/disk/close?identifierType=alias";
    let closed = opsgenie(&mut api, Method::POST, path, &json!({}));
    let id = closed.at("/requestId").as_str().expect("an id").to_owned();
    let told = asks(&mut api, &format!("/requests/{id}"));
    assert_eq!(told.status, 200, "{}", told.text);
    assert_eq!(told.at("/requestId"), id.as_str());
    let alert = asks(&mut api, "/disk?identifierType=alias").at("/data/id");
    assert_eq!(
        told.at("/data"),
        json!({
            "success": true, "isSuccess": true, "action": "Close", "status": "Closed alert", "integrationId": "prod",
            "processedAt": "2026-03-02T09:00:00.000Z", "alertId": alert, "alias": "disk",
        })
    );
    let unknown = opsgenie(
        &mut api,
        Method::POST,
        "/none/close?identifierType=alias",
        &json!({}),
    );
    assert_eq!(unknown.status, 202);
    let id = unknown.at("/requestId").as_str().expect("an id").to_owned();
    let told = asks(&mut api, &format!("/requests/{id}"));
    assert_eq!(
        (told.at("/data/success"), told.at("/data/status")),
        (json!(false), json!("Alert does not exist"))
    );
    // One of nobody's, and one that somebody changed.
    let changed = id.chars().rev().collect::<String>();
    for id in ["4513b7ea-3b91-438f-b7e4-e3e54af9147c", "", "zz", &changed] {
        let told = asks(&mut api, &format!("/requests/{id}"));
        assert_eq!(told.status, 404, "{id}");
        if !id.is_empty() {
            assert_eq!(
                told.at("/message"),
                "Request not found. It might not be processed, yet."
            );
        }
    }
    let other = [("authorization", "GenieKey other")];
    let path = format!("/v2/alerts/requests/{id}");
    assert_eq!(api.send(Method::GET, &path, &other, "").status, 401);
}

#[test]
fn alerts_are_shown_as_opsgenie_shows_them_to_the_source_that_sent_them() {
    let mut api = with_an_alert();
    let shown = asks(&mut api, "/disk?identifierType=alias").at("/data");
    let id = shown["id"].as_str().expect("an id").to_owned();
    let wanted = json!({
        "id": id, "tinyId": id, "alias": "disk", "message": "disk full", "status": "open", "acknowledged": false,
        "isSeen": false, "tags": ["db", "prod"], "snoozed": false, "count": 1,
        "lastOccurredAt": "2026-03-02T09:00:00.000Z", "createdAt": "2026-03-02T09:00:00.000Z",
        "updatedAt": "2026-03-02T09:00:00.000Z", "source": "zabbix", "owner": "", "priority": "P2", "responders": [],
        "integration": { "id": "prod", "name": "prod", "type": "API" }, "incident": 1,
        "description": "99 %", "entity": "orders", "actions": [], "details": { "host": "db1" },
    });
    assert_eq!(shown, wanted);
    assert_eq!(
        asks(&mut api, &format!("/{id}?identifierType=id")).at("/data"),
        wanted
    );
    assert_eq!(asks(&mut api, &format!("/{id}")).at("/data"), wanted);
    opsgenie(
        &mut api,
        Method::POST,
        &format!("/{id}/acknowledge"),
        &json!({}),
    );
    let held = asks(&mut api, "/disk").at("/data");
    assert_eq!(
        (&held["acknowledged"], &held["owner"]),
        (&json!(true), &json!("prod"))
    );
    let none = asks(&mut api, "/none?identifierType=alias");
    assert_eq!(
        (none.status, none.at("/message")),
        (404, json!("Alert with identifier [none] does not exist."))
    );
    let odd = asks(&mut api, "/disk?identifierType=name");
    assert_eq!(
        (odd.status, odd.at("/message")),
        (
            422,
            json!("identifierType: one of id, alias, tiny is wanted, found \"name\"")
        )
    );
}

#[test]
fn alerts_are_listed_and_what_is_asked_in_other_words_is_not_guessed() {
    let mut api = with_an_alert();
    for n in 1..=30 {
        api.advance(std::time::Duration::from_secs(60));
        let body = json!({ "message": "m", "alias": format!("a{n}") });
        opsgenie(&mut api, Method::POST, "", &body);
    }
    api.fires("Down");
    opsgenie(
        &mut api,
        Method::POST,
        "/a30/close?identifierType=alias",
        &json!({}),
    );
    let mut aliases = |query: &str| {
        let answer = asks(&mut api, query);
        assert_eq!(answer.status, 200, "{}", answer.text);
        let list = answer.at("/data");
        let list = list.as_array().expect("a list").iter();
        list.map(|alert| alert["alias"].as_str().expect("a text").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(aliases("").len(), 20);
    assert_eq!(aliases("?limit=100").len(), 31);
    assert_eq!(aliases("?limit=2&offset=29"), ["a1", "disk"]);
    assert_eq!(aliases("?query=status%3Aclosed"), ["a30"]);
    assert_eq!(aliases("?query=status%3A%20open&limit=1"), ["a29"]);
    assert_eq!(
        aliases("?query=alias%3A%22disk%22%20AND%20status%3Aopen"),
        ["disk"]
    );
    for (query, why) in [
        (
            "?limit=101",
            "limit: a number up to 100 is wanted, found \"101\"",
        ),
        (
            "?query=priority%3AP1",
            "query: status:open, status:closed and alias:… are read, joined by AND, found \"priority:P1\"",
        ),
    ] {
        let answer = asks(&mut api, query);
        assert_eq!((answer.status, answer.at("/message")), (422, json!(why)));
    }
    let other = [("authorization", "GenieKey other")];
    assert_eq!(api.send(Method::GET, "/v2/alerts", &other, "").status, 401);
}

#[test]
fn of_what_else_may_be_asked_that_is_done_which_can_be() {
    let mut api = with_an_alert();
    let post = |api: &mut Api, action: &str, body: Value| {
        let path = format!("/disk/{action}?identifierType=alias");
        let answer = opsgenie(api, Method::POST, &path, &body);
        (
            answer.status,
            answer
                .at("/message")
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    let done = (202, String::new());
    assert_eq!(api.simulation.sent().len(), 1);
    assert_eq!(post(&mut api, "acknowledge", json!({})), done);
    assert_eq!(incident(&mut api, 1)["acknowledged_by"], "prod");
    assert_eq!(
        post(&mut api, "unacknowledge", json!({ "user": "x" })),
        done
    );
    assert_eq!(incident(&mut api, 1)["acknowledged_by"], Value::Null);
    assert_eq!(api.simulation.sent().len(), 2, "paging starts");
    assert_eq!(post(&mut api, "acknowledge", json!({})), done);
    assert_eq!(
        post(
            &mut api,
            "escalate",
            json!({ "escalation": { "name": "x" } })
        ),
        done
    );
    assert_eq!(incident(&mut api, 1)["acknowledged_by"], Value::Null);
    let timeline = api.get("/api/v1/incidents/1/timeline");
    assert!(
        timeline
            .each("timeline", "by")
            .contains(&json!("prod (unverified)")),
        "{}",
        timeline.text
    );

    let path = "/disk/priority?identifierType=alias";
    let raised = opsgenie(&mut api, Method::PUT, path, &json!({ "priority": "P1" }));
    assert_eq!(raised.status, 202, "{}", raised.text);
    assert_eq!(asks(&mut api, "/disk").at("/data/priority"), "P1");
    assert_eq!(
        asks(&mut api, "/disk").at("/data/details"),
        json!({ "host": "db1" })
    );
    for (body, why) in [
        (
            json!({}),
            "$.priority: one of P1, P2, P3, P4, P5 is wanted, found nothing",
        ),
        (
            json!({ "priority": "P0" }),
            "$.priority: one of P1, P2, P3, P4, P5 is wanted, found \"P0\"",
        ),
    ] {
        assert_eq!(post(&mut api, "priority", body), (422, why.to_owned()));
    }
    for (action, why) in [
        ("snooze", "an alert cannot be snoozed here"),
        ("assign", "an alert has no owner here"),
        (
            "responders",
            "responders are those of the escalation policy",
        ),
        ("attachments", "files are not kept here"),
    ] {
        let (status, said) = post(&mut api, action, json!({}));
        assert_eq!(status, 422);
        assert!(said.starts_with(why), "{said}");
    }
    let unknown = opsgenie(
        &mut api,
        Method::POST,
        "/none/escalate?identifierType=alias",
        &json!({}),
    );
    assert_eq!(
        (unknown.status, unknown.at("/message")),
        (404, json!("Alert does not exist"))
    );
    assert_eq!(post(&mut api, "close", json!({})), done);
    assert_eq!(
        post(&mut api, "escalate", json!({})),
        (422, "the alert is closed".to_owned())
    );
    let other = [("authorization", "GenieKey other")];
    for action in ["escalate", "snooze", "notes"] {
        let path = format!("/v2/alerts/disk/{action}");
        assert_eq!(
            api.send(Method::POST, &path, &other, "{}").status,
            401,
            "{action}"
        );
    }
}

#[test]
fn a_priority_that_is_raised_is_judged_anew() {
    let credentials = vec![Credential::Bearer(Secret::new("og-key"))];
    let access = access_with_source_of(Kind::Opsgenie, "prod", credentials);
    let severity = watchkeeper::rules::load_texts(
        &[(
            "rules/a.toml",
            "[[rule]]\nname = \"all\"\nmatch = []\n\
             severity = { label = \"@severity\", map = { P1 = \"SEV1\" }, default = \"SEV4\" }\n",
        )],
        watchkeeper::rules::Context {
            zone: chrono_tz::UTC,
            matrix: &Default::default(),
            book: &book(&[("ana", 5)]),
        },
    );
    let mut api = Api::with(
        access,
        book(&[("ana", 5)]),
        severity.rules.expect("they are read"),
    );
    let body = json!({ "message": "m", "alias": "disk" });
    assert_eq!(opsgenie(&mut api, Method::POST, "", &body).status, 202);
    assert_eq!(incident(&mut api, 1)["severity"], "SEV4");
    let path = "/disk/priority?identifierType=alias";
    opsgenie(&mut api, Method::PUT, path, &json!({ "priority": "P1" }));
    assert_eq!(incident(&mut api, 1)["severity"], "SEV1");
}
