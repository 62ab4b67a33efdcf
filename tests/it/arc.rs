//! The whole arc by HTTP, from the first failing check to a verified close, on a clock that only the test moves.

use crate::api::{Answer, Api};
use axum::http::Method;
use serde_json::{Value, json};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3600);

/// A run of the job whose check found this, finished when it is posted.
fn checked(api: &mut Api, run: u32, status: &str) -> Answer {
    let answer = api.post(
        "/hooks/check",
        &json!({
            "version": "1",
            "source": "pandera",
            "run": { "id": run.to_string(), "finished_at": api.simulation.now().to_string() },
            "checks": [{
                "check_id": "orders.amount.not_nullable",
                "status": status,
                "message": "2 of 3 rows are null",
                "subject": { "kind": "dataset", "name": "orders" },
            }],
        }),
    );
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer
}

/// Asks something of the incident, which it must grant.
fn ask(api: &mut Api, command: &str, mut body: Value) -> Answer {
    body["by"] = json!("ana");
    let method = match command.split('/').next() {
        Some("analysis") => Method::PUT,
        Some("actions") if command.contains('/') => Method::PATCH,
        _ => Method::POST,
    };
    let path = format!("/api/v1/incidents/1/{command}");
    let answer = api.send(method, &path, &[], body.to_string());
    assert_eq!(answer.status, 200, "{command}: {}", answer.text);
    answer
}

fn show(api: &mut Api) -> Answer {
    api.get("/api/v1/incidents/1")
}

/// Advancing is refused with exactly this list.
fn lacks(api: &mut Api, missing: &[&str]) {
    let answer = api.post("/api/v1/incidents/1/advance", &json!({ "by": "ana" }));
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert_eq!(answer.at("/missing"), json!(missing));
    assert_eq!(show(api).at("/next/missing"), json!(missing));
}

fn advances_to(api: &mut Api, phase: &str) {
    let answer = ask(api, "advance", json!({}));
    assert_eq!(answer.at("/phase"), phase);
}

/// Closing is refused with exactly this list.
fn stays_open(api: &mut Api, missing: &[&str]) {
    let answer = api.post("/api/v1/incidents/1/close", &json!({ "by": "ana" }));
    assert_eq!(answer.status, 409, "{}", answer.text);
    assert_eq!(answer.at("/missing"), json!(missing));
}

fn pages(api: &Api) -> Vec<String> {
    let sent = api.simulation.sent().iter();
    sent.map(|sent| {
        let at = sent.at.to_string();
        let day_and_time = at.get(8..16).expect("an RFC 3339 time");
        format!(
            "{day_and_time} {} {}",
            sent.message.kind.as_str(),
            sent.message.to
        )
    })
    .collect()
}

fn say(api: &mut Api, output: &str) {
    ask(
        api,
        &format!("outputs/{output}"),
        json!({ "statement": format!("{output}: yes") }),
    );
}

/// From triage into stabilization, each phase first refused with the list of its outputs.
fn walk_to_stabilization(api: &mut Api) {
    lacks(
        api,
        &[
            "severity_confirmed",
            "escalation_decided",
            "commander",
            "first_communication",
        ],
    );
    ask(
        api,
        "severity",
        json!({ "severity": "SEV1", "impact": "high", "scope": "many", "urgency": "now", "reason": "all orders" }),
    );
    lacks(
        api,
        &["escalation_decided", "commander", "first_communication"],
    );
    say(api, "escalation_decided");
    ask(
        api,
        "assign",
        json!({ "role": "commander", "person": "ana" }),
    );
    lacks(api, &["first_communication"]);
    ask(
        api,
        "updates",
        json!({ "audience": "responders", "text": "not for them" }),
    );
    lacks(api, &["first_communication"]);
    ask(
        api,
        "updates",
        json!({ "audience": "stakeholders", "text": "orders are late" }),
    );
    advances_to(api, "response");

    lacks(
        api,
        &[
            "technical_owner",
            "channel",
            "validated",
            "evidence",
            "mitigation",
        ],
    );
    ask(
        api,
        "assign",
        json!({ "role": "technical_owner", "person": "ben" }),
    );
    say(api, "channel");
    say(api, "validated");
    ask(
        api,
        "evidence",
        json!({ "text": "the log", "url": "https://logs.example/1" }),
    );
    lacks(api, &["mitigation"]);
    ask(api, "mitigation", json!({ "text": "rolled back" }));
    advances_to(api, "stabilization");
}

/// From stabilization to the door of verification.
fn walk_to_action_items(api: &mut Api) {
    lacks(api, &["containment", "contained"]);
    ask(api, "containment", json!({ "text": "the load is paused" }));
    say(api, "contained");
    advances_to(api, "root_cause_analysis");

    lacks(
        api,
        &[
            "timeline_reviewed",
            "immediate_cause",
            "weakness",
            "contributing_factors",
            "detection_gap",
        ],
    );
    say(api, "timeline_reviewed");
    ask(
        api,
        "analysis",
        json!({ "immediate_cause": "a column became nullable" }),
    );
    ask(
        api,
        "analysis",
        json!({ "weaknesses": [{ "kind": "weak_data_contract", "text": "nobody owns it" }] }),
    );
    lacks(api, &["contributing_factors", "detection_gap"]);
    ask(
        api,
        "analysis",
        json!({ "contributing_factors": ["a release on Friday"], "detection_gap": { "kind": "no_alert", "text": "found by hand" } }),
    );
    advances_to(api, "action_items");

    // The check still fails, so that there is nothing to verify yet.
    lacks(api, &["systemic_action", "clear"]);
    // What answers only the immediate cause is not systemic, whatever it says of itself.
    ask(
        api,
        "actions",
        json!({ "kind": "systemic", "title": "fix the column", "answers": ["immediate_cause"], "owner": "ben", "due": "2026-03-03", "priority": "P1" }),
    );
    lacks(api, &["systemic_action", "clear"]);
    ask(
        api,
        "actions",
        json!({ "kind": "systemic", "title": "a contract for orders", "answers": ["weakness:0"] }),
    );
    lacks(api, &["actions_complete", "clear"]);
    ask(
        api,
        "actions/1",
        json!({ "owner": "ana", "due": "2026-03-10", "priority": "P2" }),
    );
}

#[test]
fn a_failing_check_is_led_to_a_close_that_its_cron_verified() {
    let mut api = Api::new();
    assert_eq!(checked(&mut api, 1, "pass").at("/opened"), json!([]));
    api.advance(HOUR);
    assert_eq!(checked(&mut api, 2, "fail").at("/opened"), json!([1]));
    assert_eq!(pages(&api), ["02T10:00 page ana"]);
    api.advance(Duration::from_secs(6 * 60));
    assert_eq!(pages(&api), ["02T10:00 page ana", "02T10:05 page ben"]);
    let held = ask(&mut api, "acknowledge", json!({}));
    assert_eq!(held.at("/acknowledged_by"), "ana");
    assert_eq!(held.at("/phase"), "triage");

    stays_open(
        &mut api,
        &[
            "severity_confirmed",
            "escalation_decided",
            "commander",
            "first_communication",
            "technical_owner",
            "channel",
            "validated",
            "evidence",
            "mitigation",
            "containment",
            "contained",
            "timeline_reviewed",
            "immediate_cause",
            "weakness",
            "contributing_factors",
            "detection_gap",
            "systemic_action",
            "no_recurrence",
            "stable",
            "stakeholder",
            "lessons",
            "clear",
        ],
    );
    walk_to_stabilization(&mut api);
    walk_to_action_items(&mut api);
    lacks(&mut api, &["clear"]);
    api.advance(HOUR);
    checked(&mut api, 3, "pass");
    assert_eq!(
        show(&mut api).at("/clear_since"),
        "2026-03-02T11:06:00.000Z"
    );
    advances_to(&mut api, "verification");
    let entered = show(&mut api);
    assert_eq!(
        entered.at("/verification/window_starts_at"),
        "2026-03-02T11:06:00.000Z"
    );
    assert_eq!(
        entered.at("/verification/window_ends_at"),
        "2026-03-16T11:06:00.000Z"
    );
    assert_eq!(
        entered.at("/verification/next_check_at"),
        "2026-03-03T09:00:00.000Z"
    );
    assert_eq!(entered.at("/verification/check"), "0 9 * * *");
    assert_eq!(
        entered.at("/next"),
        json!({
            "phase": null,
            "missing": ["actions_done", "no_recurrence", "stable", "stakeholder", "lessons"],
        })
    );
    let no_next = api.post("/api/v1/incidents/1/advance", &json!({}));
    assert_eq!(
        no_next.problem(),
        "409 verification is the last phase: close the incident"
    );

    say(&mut api, "stakeholder");
    say(&mut api, "lessons");
    ask(&mut api, "actions/0", json!({ "state": "done" }));
    stays_open(&mut api, &["actions_done", "no_recurrence", "stable"]);
    ask(
        &mut api,
        "actions/1",
        json!({ "state": "done", "evidence": "https://contracts.example/orders" }),
    );
    for day in 1..=13 {
        api.advance(DAY);
        let incident = show(&mut api);
        let checks = incident.at("/verification/checks");
        assert_eq!(checks.as_array().unwrap().len(), day);
        assert_eq!(checks[day - 1]["result"], "passed");
        stays_open(&mut api, &["no_recurrence"]);
    }
    // The last slot of the window is the 16th at 09:00.
    api.advance(21 * HOUR + 53 * Duration::from_secs(60));
    assert_eq!(api.simulation.now().to_string(), "2026-03-16T08:59:00.000Z");
    stays_open(&mut api, &["no_recurrence"]);
    api.advance(Duration::from_secs(60));
    let slots: Vec<Value> = show(&mut api)
        .at("/verification/checks")
        .as_array()
        .unwrap()
        .iter()
        .map(|check| check["at"].clone())
        .collect();
    let nine: Vec<Value> = (3..=16)
        .map(|day| json!(format!("2026-03-{day:02}T09:00:00.000Z")))
        .collect();
    assert_eq!(slots, nine);

    let closed = ask(&mut api, "close", json!({}));
    assert_eq!(closed.at("/status"), "closed");
    assert_eq!(closed.at("/closed_at"), "2026-03-16T09:00:00.000Z");
    assert_eq!(closed.at("/next"), json!({ "phase": null, "missing": [] }));
    assert_eq!(closed.at("/waivers"), json!([]));
    assert_eq!(closed.at("/recurrences"), 0);
    assert_eq!(
        api.get("/api/v1/incidents?status=open").at("/incidents"),
        json!([])
    );
    // Nobody was paged again, and those who were heard that it is clear.
    assert_eq!(
        pages(&api),
        [
            "02T10:00 page ana",
            "02T10:05 page ben",
            "02T11:06 update ana",
            "02T11:06 update ben",
        ]
    );
    let note = api.post("/api/v1/incidents/1/advance", &json!({}));
    assert_eq!(note.problem(), "409 incident 1 is closed");
}

/// Opened, acknowledged and walked into verification at 10:00 on the 2nd.
fn in_verification() -> Api {
    let mut api = Api::new();
    api.advance(HOUR);
    checked(&mut api, 1, "fail");
    ask(&mut api, "acknowledge", json!({}));
    walk_to_stabilization(&mut api);
    walk_to_action_items(&mut api);
    checked(&mut api, 2, "pass");
    advances_to(&mut api, "verification");
    say(&mut api, "stakeholder");
    say(&mut api, "lessons");
    ask(&mut api, "actions/0", json!({ "state": "done" }));
    ask(&mut api, "actions/1", json!({ "state": "done" }));
    api
}

#[test]
fn a_recurrence_on_day_nine_goes_back_to_response_and_starts_the_window_anew() {
    let mut api = in_verification();
    let before = pages(&api).len();
    api.advance(9 * DAY);
    let again = checked(&mut api, 3, "fail");
    assert_eq!(
        (again.at("/opened"), again.at("/joined")),
        (json!([]), json!([1]))
    );
    let incident = show(&mut api);
    assert_eq!(incident.at("/phase"), "response");
    assert_eq!(incident.at("/recurrences"), 1);
    assert_eq!(incident.at("/severity"), "SEV1");
    assert_eq!(incident.at("/acknowledged_by"), Value::Null);
    assert_eq!(incident.at("/clear_since"), Value::Null);
    assert_eq!(incident.at("/verification"), Value::Null);
    let failed = incident.at("/failed_verifications/0");
    assert_eq!(failed["failed"], true);
    assert_eq!(failed["checks"].as_array().unwrap().len(), 9);
    assert_eq!(pages(&api)[before..], ["11T10:00 page ana"]);

    // What must be given anew, and nothing else.
    lacks(&mut api, &["validated", "mitigation"]);
    stays_open(
        &mut api,
        &[
            "validated",
            "mitigation",
            "contained",
            "timeline_reviewed",
            "systemic_action",
            "no_recurrence",
            "stable",
            "stakeholder",
            "lessons",
            "clear",
        ],
    );
    ask(&mut api, "acknowledge", json!({}));
    say(&mut api, "validated");
    ask(
        &mut api,
        "mitigation",
        json!({ "text": "rolled back again" }),
    );
    advances_to(&mut api, "stabilization");
    lacks(&mut api, &["contained"]);
    say(&mut api, "contained");
    advances_to(&mut api, "root_cause_analysis");
    lacks(&mut api, &["timeline_reviewed"]);
    say(&mut api, "timeline_reviewed");
    advances_to(&mut api, "action_items");
    lacks(&mut api, &["systemic_action", "clear"]);
    checked(&mut api, 4, "pass");
    ask(
        &mut api,
        "actions",
        json!({ "kind": "systemic", "title": "block such releases", "answers": ["detection_gap"], "owner": "ana", "due": "2026-03-20", "priority": "P1", "state": "done" }),
    );
    advances_to(&mut api, "verification");
    assert_eq!(
        show(&mut api).at("/verification/window_ends_at"),
        "2026-03-25T10:00:00.000Z"
    );
    say(&mut api, "stakeholder");
    say(&mut api, "lessons");
    // The old window would have ended by now.
    api.advance(6 * DAY);
    stays_open(&mut api, &["no_recurrence"]);
    api.advance(8 * DAY);
    let closed = ask(&mut api, "close", json!({}));
    assert_eq!(closed.at("/status"), "closed");
    assert_eq!(closed.at("/recurrences"), 1);
    assert_eq!(
        closed.at("/verification/checks").as_array().unwrap().len(),
        14
    );
    assert_eq!(
        closed.at("/failed_verifications").as_array().unwrap().len(),
        1
    );
}

#[test]
fn firing_again_after_the_close_reopens_within_a_day_and_opens_anew_after_it() {
    let mut api = in_verification();
    api.advance(14 * DAY);
    ask(&mut api, "close", json!({}));
    api.advance(23 * HOUR);
    assert_eq!(checked(&mut api, 3, "fail").at("/joined"), json!([1]));
    let reopened = show(&mut api);
    assert_eq!(reopened.at("/status"), "open");
    assert_eq!(reopened.at("/phase"), "response");
    assert_eq!(reopened.at("/recurrences"), 1);

    let mut api = in_verification();
    api.advance(14 * DAY);
    ask(&mut api, "close", json!({}));
    api.advance(25 * HOUR);
    assert_eq!(checked(&mut api, 3, "fail").at("/opened"), json!([2]));
    assert_eq!(show(&mut api).at("/status"), "closed");
    let follows = api.get("/api/v1/incidents/2");
    assert_eq!(follows.at("/recurrence_of"), 1);
    assert_eq!(follows.at("/phase"), "triage");
}

#[test]
fn a_close_may_waive_what_a_person_answers_for_and_never_that_it_came_back() {
    let mut api = in_verification();
    api.advance(2 * DAY);
    let waive =
        json!({ "by": "ana", "waive": [{ "output": "no_recurrence", "reason": "we hurry" }] });
    let answer = api.post("/api/v1/incidents/1/close", &waive);
    assert_eq!(answer.problem(), "409 no_recurrence cannot be waived");
    assert_eq!(show(&mut api).at("/waivers"), json!([]));
}
