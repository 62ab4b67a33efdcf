//! What the live rules say of an incident's alerts, and what rules that are only tried would say.

use crate::api::Api;
use serde_json::{Value, json};

fn firing(name: &str) -> Value {
    json!({ "version": "4", "alerts": [{ "status": "firing", "labels": { "alertname": name } }] })
}

#[test]
fn an_incident_says_by_which_rule_it_opened_and_what_the_rules_say_now() {
    let mut api = Api::new();
    api.post("/hooks/alertmanager", &firing("Down"));
    let answer = api.get("/api/v1/incidents/1/explain");
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        answer.at("/opened"),
        json!({ "at": "2026-03-02T09:00:00.000Z", "rule": "all", "revision": "r1" })
    );
    assert_eq!(
        answer.at("/live"),
        json!({ "revision": "r1", "has_rule": true })
    );
    assert_eq!(answer.at("/alerts/0/joined_by"), "all");
    assert_eq!(answer.at("/alerts/0/rules/0/outcome"), "decides");
    assert_eq!(answer.at("/alerts/0/verdict/action"), "open");
    assert_eq!(answer.at("/alerts/0/verdict/dedup_key"), "Down");
    assert_eq!(api.get("/api/v1/incidents/2/explain").status, 404);
}

const RULES: &str = "[[interval]]\nname = \"day\"\ntimes = [\"09:00-17:00\"]\n\
    [[rule]]\nname = \"a\"\nmatch = ['alertname=\"Down\"']\nactive = \"day\"\nseverity = \"SEV2\"\n";

#[test]
fn rules_are_tried_on_a_payload_and_on_alerts_and_change_nothing() {
    let mut api = Api::new();
    let try_it = |api: &mut Api, body: Value| api.post("/api/v1/rules/try", &body);
    let payload = json!({ "rules": RULES, "source": "alertmanager", "payload": firing("Down") });
    let answer = try_it(&mut api, payload);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.at("/alerts/0/rules/0/outcome"), "decides");
    assert_eq!(answer.at("/alerts/0/verdict/severity"), "SEV2");

    let alerts = json!({
        "rules": RULES, "source": "alertmanager", "at": "2026-03-02T18:00:00Z",
        "alerts": [{ "labels": { "alertname": "Down" } }, { "labels": { "alertname": "Up" } }],
    });
    let answer = try_it(&mut api, alerts);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.at("/alerts/0/rules/0/outcome"), "not_active");
    assert_eq!(answer.at("/alerts/1/rules/0/outcome"), "no_match");
    assert_eq!(
        answer.at("/alerts/1/verdict"),
        json!({ "action": "unrouted" })
    );
    assert_eq!(
        api.get("/api/v1/incidents")
            .each("incidents", "number")
            .len(),
        0
    );
    assert_eq!(api.get("/api/v1/rules").at("/revision"), "r1");
}

#[test]
fn what_cannot_be_tried_says_why() {
    let mut api = Api::new();
    let mut try_it = |body: Value| {
        let answer = api.post("/api/v1/rules/try", &body);
        (answer.status, answer.json())
    };
    let (status, problem) = try_it(json!({
        "rules": "[[rule]]\nname = \"a\"\n", "source": "alertmanager", "alerts": [],
    }));
    assert_eq!(
        (status, &problem["detail"]),
        (422, &json!("the rules have errors"))
    );
    assert_eq!(
        problem["errors"],
        json!(["rules.toml:1:1: error: \"match\" is missing\n    [[rule]]\n    ^^^^^^^^"])
    );
    let (status, problem) = try_it(json!({ "rules": "", "source": "nobody", "alerts": [] }));
    assert_eq!(
        (status, &problem["detail"], &problem["path"]),
        (
            400,
            &json!("there is no source \"nobody\""),
            &json!("$.source")
        )
    );
    let (status, problem) = try_it(json!({ "rules": "", "source": "alertmanager" }));
    assert_eq!(
        (status, &problem["detail"]),
        (400, &json!("either \"payload\" or \"alerts\" is wanted"))
    );
    let (status, problem) =
        try_it(json!({ "rules": "", "source": "alertmanager", "payload": { "alerts": 5 } }));
    assert_eq!(
        (status, &problem["path"]),
        (400, &json!("$.payload.alerts"))
    );
    let (status, problem) =
        try_it(json!({ "rules": "", "source": "alertmanager", "alerts": [], "at": "noon" }));
    assert_eq!(
        (status, &problem["detail"], &problem["path"]),
        (
            400,
            &json!("an RFC 3339 time is wanted, found \"noon\""),
            &json!("$.at")
        )
    );
    let many: Vec<Value> = (0..101)
        .map(|n| json!({ "labels": { "alertname": format!("a{n}") } }))
        .collect();
    let (status, problem) =
        try_it(json!({ "rules": "", "source": "alertmanager", "alerts": many }));
    assert_eq!(
        (status, &problem["detail"]),
        (
            400,
            &json!("at most 100 alerts are tried at once, found 101")
        )
    );
}
