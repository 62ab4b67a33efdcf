//! Every command of people, each with what it changes in the incident that it answers.

use crate::api::{Answer, Api};
use axum::http::Method;
use serde_json::{Value, json};

fn ask(api: &mut Api, command: &str, body: &Value) -> Answer {
    api.post(&format!("/api/v1/incidents/1/{command}"), body)
}

fn done(api: &mut Api, command: &str, body: &Value) -> Answer {
    let answer = ask(api, command, body);
    assert_eq!(answer.status, 200, "{command}: {}", answer.text);
    assert_eq!(answer.at("/number"), 1, "{command}");
    answer
}

fn last_text(api: &mut Api) -> Value {
    let timeline = api.get("/api/v1/incidents/1/timeline");
    timeline.each("timeline", "text").pop().unwrap()
}

#[test]
fn an_incident_has_every_field_of_the_contract() {
    let mut api = Api::new();
    api.fires("Down");
    let answer = api.get("/api/v1/incidents/1");
    assert_eq!(answer.status, 200);
    let revision = answer.at("/rules_revision");
    assert_eq!(
        answer.json(),
        json!({
            "number": 1,
            "title": "Down: checkout",
            "description": "Down is down",
            "severity": "SEV1",
            "urgency": "high",
            "status": "open",
            "phase": "triage",
            "outputs": "full",
            "dedup_key": "Down",
            "rule": "all",
            "rules_revision": revision,
            "team": null,
            "runbook": null,
            "policy": "default",
            "origin": "alert",
            "opened_at": "2026-03-02T09:00:00.000Z",
            "opened_by": "watchkeeper",
            "acknowledged_at": null,
            "acknowledged_by": null,
            "clear_since": null,
            "closed_at": null,
            "commander": null,
            "roles": {},
            "alerts": { "firing": 1, "resolved": 0, "stale": 0, "received": 1 },
            "muted": false,
            "muted_since": null,
            "muted_by": [],
            "flapping": false,
            "storm": null,
            "next": {
                "phase": "response",
                "missing": ["severity_confirmed", "escalation_decided", "commander", "first_communication"],
            },
            "given": {},
            "waivers": [],
            "analysis": {},
            "actions": [],
            "changes": [],
            "recurrence_of": null,
            "recurrences": 0,
            "verification": null,
            "failed_verifications": [],
            "changed_at": "2026-03-02T09:00:00.000Z",
        })
    );
}

#[test]
fn an_alert_has_every_field_of_the_contract() {
    let mut api = Api::new();
    api.fires("Down");
    let of_incident = api.get("/api/v1/incidents/1/alerts");
    let alert = of_incident.at("/alerts/0");
    let fingerprint = alert["fingerprint"].as_str().unwrap().to_owned();
    assert_eq!(
        alert,
        json!({
            "fingerprint": fingerprint,
            "labels": { "alertname": "Down", "service": "checkout" },
            "annotations": { "summary": "Down is down" },
            "attributes": { "kind": "alertmanager", "receiver": "all", "source": "alertmanager" },
            "status": "firing",
            "outcome": null,
            "source": "alertmanager",
            "kind": "alertmanager",
            "starts_at": "2026-03-02T08:58:00.000Z",
            "ends_at": null,
            "changed_at": "2026-03-02T09:00:00.000Z",
            "last_received_at": "2026-03-02T09:00:00.000Z",
            "received": 1,
            "incident": 1,
            "silenced_by": [],
            "inhibited_by": null,
            "rule": "all",
            "routed": "open",
        })
    );
    assert_eq!(
        api.get(&format!("/api/v1/alerts/{fingerprint}")).json(),
        alert
    );
    assert_eq!(api.get("/api/v1/alerts").at("/alerts/0"), alert);
}

#[test]
fn a_page_has_every_field_of_the_contract() {
    let mut api = Api::new();
    api.fires("Down");
    assert_eq!(
        api.get("/api/v1/incidents/1/pages").json(),
        json!({ "next": null, "pages": [{
            "page_id": "wk-1-1",
            "kind": "page",
            "cause": "step",
            "incident": 1,
            "to": "ana",
            "channel": "ops-hook",
            "address": "ana",
            "step": 1,
            "round": 1,
            "state": "delivered",
            "written_at": "2026-03-02T09:00:00.000Z",
            "due_at": "2026-03-02T09:00:00.000Z",
            "next_attempt_at": null,
            "attempts": [{ "at": "2026-03-02T09:00:00.000Z", "outcome": "delivered", "detail": "200" }],
            "dropped_because": null,
        }] })
    );
}

#[test]
fn a_timeline_tells_in_order_what_happened() {
    let mut api = Api::new();
    api.fires("Down");
    done(&mut api, "acknowledge", &json!({ "by": "ana" }));
    let timeline = api.get("/api/v1/incidents/1/timeline");
    let entries = timeline.json();
    let seqs = timeline.each("timeline", "seq");
    let wanted: Vec<Value> = (1..=seqs.len()).map(Value::from).collect();
    assert_eq!(seqs, wanted);
    assert_eq!(
        timeline.each("timeline", "event"),
        [
            "opened",
            "alert_joined",
            "paging_started",
            "step_ran",
            "attempted",
            "acknowledged"
        ]
    );
    assert_eq!(
        entries["timeline"][5],
        json!({
            "seq": 6,
            "at": "2026-03-02T09:00:00.000Z",
            "event": "acknowledged",
            "by": "ana",
            "text": "acknowledged by ana",
            "url": null,
            "happened_at": null,
        })
    );
    let second = api.get("/api/v1/incidents/1/timeline?limit=2&cursor=3");
    assert_eq!(second.each("timeline", "seq"), [3, 4].map(Value::from));
    assert_eq!(second.at("/next"), "5");
    let rest = api.get("/api/v1/incidents/1/timeline?cursor=5");
    assert_eq!(rest.each("timeline", "seq"), [5, 6].map(Value::from));
    assert_eq!(rest.at("/next"), Value::Null);
}

#[test]
fn people_open_incidents_which_page_at_once() {
    let mut api = Api::new();
    let answer = api.post(
        "/api/v1/incidents",
        &json!({
            "title": "The till is stuck", "severity": "SEV2", "description": "in shop 7",
            "source": "customer", "by": "ana",
        }),
    );
    assert_eq!(answer.status, 201);
    let fields = [
        "title",
        "description",
        "severity",
        "origin",
        "outputs",
        "phase",
        "opened_by",
        "dedup_key",
    ];
    let found = fields.map(|field| answer.at(&format!("/{field}")));
    assert_eq!(
        found,
        [
            json!("The till is stuck"),
            json!("in shop 7"),
            json!("SEV2"),
            json!("customer"),
            json!("full"),
            json!("triage"),
            json!("ana"),
            Value::Null,
        ]
    );
    assert_eq!(api.simulation.sent().len(), 1);

    let plain = api.post(
        "/api/v1/incidents",
        &json!({ "title": "Odd numbers", "source": "engineering" }),
    );
    assert_eq!(plain.at("/origin"), "engineering");
    assert_eq!(plain.at("/severity"), "SEV3");
    assert_eq!(plain.at("/description"), "Odd numbers");
    assert_eq!(plain.at("/outputs"), "full");
    let cases = [
        (
            json!({ "title": "x", "source": "alert" }),
            "400 $.source: source is engineering or customer",
        ),
        (
            json!({ "title": " ", "source": "customer" }),
            "400 $.title: title wants a text, found none",
        ),
        (
            json!({ "title": "x", "source": "customer", "team": "none" }),
            "400 $.team: there is no team \"none\"",
        ),
    ];
    for (body, wanted) in cases {
        assert_eq!(api.post("/api/v1/incidents", &body).problem(), wanted);
    }
}

#[test]
fn acknowledging_holds_and_is_taken_back() {
    let mut api = Api::new();
    api.fires("Down");
    let held = done(&mut api, "acknowledge", &json!({ "by": "ana" }));
    assert_eq!(held.at("/acknowledged_by"), "ana");
    assert_eq!(held.at("/acknowledged_at"), "2026-03-02T09:00:00.000Z");
    let again = done(&mut api, "acknowledge", &json!({ "by": "ben" }));
    assert_eq!(again.at("/acknowledged_by"), "ana");
    let back = done(&mut api, "unacknowledge", &json!({}));
    assert_eq!(back.at("/acknowledged_by"), Value::Null);
    assert_eq!(back.at("/acknowledged_at"), Value::Null);
}

#[test]
fn escalating_and_paging_by_hand_reach_others() {
    let mut api = Api::new();
    api.fires("Down");
    done(&mut api, "acknowledge", &json!({ "by": "ana" }));
    let escalated = done(&mut api, "escalate", &json!({ "by": "ana" }));
    assert_eq!(escalated.at("/acknowledged_by"), Value::Null);
    done(
        &mut api,
        "page",
        &json!({ "to": "person:ben", "by": "ana" }),
    );
    let to: Vec<&str> = api
        .simulation
        .sent()
        .iter()
        .map(|sent| sent.message.to.as_str())
        .collect();
    assert_eq!(to, ["ana", "ben", "ben"]);
    let nobody = ask(&mut api, "page", &json!({ "to": "person:nobody" }));
    assert_eq!(nobody.problem(), "409 person:nobody reaches nobody");
}

#[test]
fn taking_over_makes_an_incident_full() {
    let mut api = Api::with(
        crate::api::access(),
        crate::world::book(&[("ana", 5)]),
        crate::world::rules(|settings| {
            settings.severity = Some(watchkeeper::domain::rule::SeverityRule::Fixed(
                watchkeeper::domain::severity::Severity::Sev3,
            ));
        }),
    );
    api.fires("Down");
    assert_eq!(api.get("/api/v1/incidents/1").at("/outputs"), "light");
    let taken = done(&mut api, "take-over", &json!({ "by": "ana" }));
    assert_eq!(taken.at("/outputs"), "full");
    assert_eq!(taken.at("/phase"), "triage");
    assert_eq!(taken.at("/acknowledged_by"), "ana");
    let texts = api
        .get("/api/v1/incidents/1/timeline")
        .each("timeline", "text");
    assert!(texts.contains(&json!("taken over by ana")), "{texts:?}");
}

#[test]
fn a_person_sets_the_severity_with_its_grounds() {
    let mut api = Api::new();
    api.fires("Down");
    let answer = done(
        &mut api,
        "severity",
        &json!({ "severity": "SEV2", "impact": "high", "scope": "few", "urgency": "now", "reason": "one shop", "by": "ana" }),
    );
    assert_eq!(answer.at("/severity"), "SEV2");
    assert!(
        answer.at("/given/severity_confirmed").is_object(),
        "{}",
        answer.text
    );
    assert_eq!(last_text(&mut api), "severity SEV1 set to SEV2: one shop");
}

#[test]
fn each_role_is_given_to_a_person() {
    let mut api = Api::new();
    api.fires("Down");
    let roles = [
        "commander",
        "deputy",
        "communications",
        "scribe",
        "technical_owner",
        "analysis_owner",
        "verifier",
    ];
    for role in roles {
        let answer = done(
            &mut api,
            "assign",
            &json!({ "role": role, "person": "ben" }),
        );
        assert_eq!(answer.at(&format!("/roles/{role}")), "ben");
    }
    assert_eq!(api.get("/api/v1/incidents/1").at("/commander"), "ben");
}

#[test]
fn what_people_add_stands_in_the_timeline() {
    let mut api = Api::new();
    api.fires("Down");
    let with_url =
        json!({ "text": "see", "url": "https://logs.example/1", "at": "2026-03-02T08:59:00Z" });
    let cases = [
        ("notes", with_url.clone(), "note: see"),
        ("evidence", with_url.clone(), "evidence: see"),
        ("mitigation", with_url.clone(), "mitigation: see"),
        ("containment", with_url, "containment: see"),
        (
            "containment",
            json!({ "none_because": "it ended" }),
            "no containment: it ended",
        ),
        (
            "updates",
            json!({ "audience": "stakeholders", "text": "we look" }),
            "update to stakeholders: we look",
        ),
        (
            "updates",
            json!({ "audience": "public", "text": "we look" }),
            "update to public: we look",
        ),
        (
            "outputs/validated",
            json!({ "statement": "real", "url": "https://x.example" }),
            "validated: real",
        ),
    ];
    let mut found = Vec::new();
    for (command, body, _) in &cases {
        done(&mut api, command, body);
        found.push(last_text(&mut api));
    }
    assert_eq!(found, cases.map(|(_, _, text)| text));
    let timeline = api.get("/api/v1/incidents/1/timeline");
    let urls = timeline.each("timeline", "url");
    assert!(urls.contains(&json!("https://logs.example/1")), "{urls:?}");
    let happened = timeline.each("timeline", "happened_at");
    assert!(
        happened.contains(&json!("2026-03-02T08:59:00.000Z")),
        "{happened:?}"
    );
    let incident = api.get("/api/v1/incidents/1");
    assert_eq!(
        incident.at("/given/validated"),
        json!({ "statement": "real", "url": "https://x.example", "by": "anonymous", "at": "2026-03-02T09:00:00.000Z" })
    );
    assert!(incident.at("/given/first_communication").is_object());
}

#[test]
fn an_analysis_is_given_in_parts() {
    let mut api = Api::new();
    api.fires("Down");
    let path = "/api/v1/incidents/1/analysis";
    let put = |api: &mut Api, body: Value| api.send(Method::PUT, path, &[], body.to_string());
    let first = put(&mut api, json!({ "immediate_cause": "a full disk" }));
    assert_eq!(first.status, 200, "{}", first.text);
    put(
        &mut api,
        json!({ "weaknesses": [{ "kind": "insufficient_monitoring", "text": "no alert on disks" }] }),
    );
    put(&mut api, json!({ "none_because": "nothing else" }));
    let last = put(
        &mut api,
        json!({ "detection_gap": { "kind": "no_alert", "text": "a customer called" } }),
    );
    assert_eq!(
        last.at("/analysis"),
        json!({
            "immediate_cause": "a full disk",
            "weaknesses": [{ "kind": "insufficient_monitoring", "text": "no alert on disks" }],
            "none_because": "nothing else",
            "detection_gap": { "kind": "no_alert", "text": "a customer called" },
        })
    );
    let odd = put(
        &mut api,
        json!({ "weaknesses": [{ "kind": "bad_luck", "text": "x" }] }),
    );
    assert_eq!(
        odd.problem(),
        "400 weakness \"bad_luck\" is not one of missing_validation, undocumented_assumption, missing_integration_check, weak_data_contract, insufficient_monitoring, unclear_handoff"
    );
}

#[test]
fn action_items_are_added_changed_and_listed() {
    let mut api = Api::new();
    api.fires("Down");
    let added = done(
        &mut api,
        "actions",
        &json!({ "kind": "systemic", "title": "watch disks", "answers": ["detection_gap"], "owner": "ana", "due": "2026-03-05", "priority": "P2" }),
    );
    let action = json!({
        "index": 0, "kind": "systemic", "title": "watch disks", "answers": ["detection_gap"], "owner": "ana",
        "due": "2026-03-05T23:59:59.000Z", "priority": "P2", "state": "open", "evidence": null,
    });
    assert_eq!(added.at("/actions/0"), action);
    done(
        &mut api,
        "actions",
        &json!({ "kind": "containment", "title": "free the disk" }),
    );
    assert_eq!(
        api.get("/api/v1/actions").each("actions", "title"),
        ["watch disks", "free the disk"]
    );
    assert_eq!(
        api.get("/api/v1/actions?overdue=true").at("/actions"),
        json!([])
    );
    api.advance(std::time::Duration::from_secs(4 * 86_400));
    let overdue = api.get("/api/v1/actions?overdue=true");
    assert_eq!(overdue.at("/actions/0/title"), "watch disks");
    assert_eq!(overdue.at("/actions/0/overdue"), true);
    assert_eq!(overdue.at("/actions/0/incident"), 1);
    assert_eq!(
        api.get("/api/v1/actions?overdue=false")
            .each("actions", "title"),
        ["free the disk"]
    );

    let path = "/api/v1/incidents/1/actions/0";
    let changed = api.send(
        Method::PATCH,
        path,
        &[],
        r#"{"state":"done","evidence":"https://x.example"}"#,
    );
    assert_eq!(changed.at("/actions/0/state"), "done");
    assert_eq!(changed.at("/actions/0/title"), "watch disks");
    assert_eq!(
        api.get("/api/v1/actions?overdue=true").at("/actions"),
        json!([])
    );
    let dropped = api.send(
        Method::PATCH,
        "/api/v1/incidents/1/actions/1",
        &[],
        r#"{"state":"dropped"}"#,
    );
    assert_eq!(dropped.status, 400, "{}", dropped.text);
    let none = api.send(Method::PATCH, "/api/v1/incidents/1/actions/9", &[], "{}");
    assert_eq!(none.problem(), "404 there is no action item 9");
    for path in [
        "/api/v1/incidents/1/actions/-1",
        "/api/v1/incidents/1/actions/x",
    ] {
        let answer = api.send(Method::PATCH, path, &[], "{}");
        assert!(answer.problem().starts_with("400 Invalid URL"), "{path}");
    }
}

#[test]
fn an_alert_is_resolved_by_hand() {
    let mut api = Api::new();
    api.fires("Down");
    let fingerprint = api.get("/api/v1/alerts").at("/alerts/0/fingerprint");
    let fingerprint = fingerprint.as_str().unwrap();
    let answer = done(
        &mut api,
        &format!("alerts/{fingerprint}/resolve"),
        &json!({ "reason": "the host is gone", "by": "ana" }),
    );
    assert_eq!(answer.at("/alerts/resolved"), 1);
    assert_eq!(answer.at("/clear_since"), "2026-03-02T09:00:00.000Z");
    assert_eq!(api.get("/api/v1/alerts").at("/alerts/0/status"), "resolved");
    let texts = api
        .get("/api/v1/incidents/1/timeline")
        .each("timeline", "text");
    let wanted = format!("alert {fingerprint} is resolved by hand: the host is gone");
    assert!(texts.contains(&json!(wanted)), "{texts:?}");

    let other = ask(
        &mut api,
        "alerts/0000000000000001/resolve",
        &json!({ "reason": "x" }),
    );
    assert_eq!(other.problem(), "404 there is no alert 0000000000000001");
    let no_reason = ask(
        &mut api,
        &format!("alerts/{fingerprint}/resolve"),
        &json!({}),
    );
    assert_eq!(
        no_reason.problem(),
        "400 $: missing field `reason` at line 1 column 2"
    );
}

#[test]
fn an_alert_without_an_incident_is_resolved_by_hand() {
    let mut api = Api::with(
        crate::api::access(),
        crate::world::book(&[("ana", 5)]),
        crate::world::rules(|settings| {
            settings.action = Some(watchkeeper::domain::rule::Action::Record);
        }),
    );
    assert_eq!(
        api.fires("Down").json(),
        json!({ "received": 1, "accepted": 1, "rejected": 0, "opened": [], "joined": [] })
    );
    let fingerprint = api.get("/api/v1/alerts").at("/alerts/0/fingerprint");
    let fingerprint = fingerprint.as_str().unwrap();
    let answer = api.post(
        &format!("/api/v1/alerts/{fingerprint}/resolve"),
        &json!({ "reason": "gone" }),
    );
    assert_eq!(
        (answer.status, answer.at("/status")),
        (200, json!("resolved"))
    );
    assert_eq!(answer.at("/incident"), Value::Null);
    assert_eq!(answer.at("/ends_at"), "2026-03-02T09:00:00.000Z");
}

#[test]
fn what_does_not_fit_the_state_is_409() {
    let mut api = Api::new();
    api.fires("Down");
    let answer = ask(&mut api, "advance", &json!({}));
    assert_eq!(
        answer.problem(),
        "409 in triage, this is missing: severity_confirmed, escalation_decided, commander, first_communication"
    );
    assert_eq!(
        answer.at("/missing"),
        json!([
            "severity_confirmed",
            "escalation_decided",
            "commander",
            "first_communication"
        ])
    );
    let answer = ask(&mut api, "reopen", &json!({ "reason": "x" }));
    assert_eq!(answer.problem(), "409 incident 1 is open");
    let answer = ask(
        &mut api,
        "close",
        &json!({ "waive": [{ "output": "clear", "reason": "x" }] }),
    );
    assert_eq!(answer.problem(), "409 clear cannot be waived");
    let answer = ask(
        &mut api,
        "advance",
        &json!({ "waive": [{ "output": "no_recurrence", "reason": "x" }] }),
    );
    assert_eq!(answer.problem(), "409 no_recurrence cannot be waived");
}

#[test]
fn a_waiver_stands_for_an_output_and_stays_in_sight() {
    let mut api = Api::new();
    api.fires("Down");
    let waive: Vec<Value> = [
        "severity_confirmed",
        "escalation_decided",
        "commander",
        "first_communication",
    ]
    .iter()
    .map(|output| json!({ "output": output, "reason": "a rehearsal", "until": "2026-04-01" }))
    .collect();
    let answer = done(&mut api, "advance", &json!({ "waive": waive, "by": "ana" }));
    assert_eq!(answer.at("/phase"), "response");
    assert_eq!(
        answer.at("/waivers/0"),
        json!({ "output": "severity_confirmed", "reason": "a rehearsal", "until": "2026-04-01T23:59:59.000Z" })
    );
}
