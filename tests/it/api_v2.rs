//! Alerts as they are posted to an Alertmanager: by Prometheus, its relatives and amtool.

use crate::api::{Answer, Api, access_with_source};
use crate::world::{at, book, rules};
use axum::http::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use watchkeeper::domain::secret::Secret;
use watchkeeper::http::auth::Credential;

const CASES: &str = include_str!("fixtures/cases/alertmanager_api.json");

/// When the cases were recorded.
const RECORDED_AT: &str = "2026-11-23T08:10:57.900Z";

/// Where we answer otherwise than Alertmanager 0.25 did, and why.
const OTHERWISE: &[(&str, u16, &str)] = &[
    ("label name '0abc'", 200, "as since 0.27: any name of UTF-8"),
    ("label name 'a-b'", 200, "as since 0.27"),
    ("label name 'a.b'", 200, "as since 0.27"),
    ("label name 'a b'", 200, "as since 0.27"),
    ("label name 'ä'", 200, "as since 0.27"),
    ("label name 'a:b'", 200, "as since 0.27"),
    ("annotation name '0abc'", 200, "as since 0.27"),
    ("annotation name 'a-b'", 200, "as since 0.27"),
    ("annotation name 'ä'", 200, "as since 0.27"),
    (
        "annotation name ''",
        200,
        "an annotation is no identity: one without a name is left out, the alert is kept",
    ),
    (
        "list with null",
        400,
        "it had no answer at all: the handler panicked",
    ),
    (
        "lone surrogate escape in label value",
        400,
        "half a character is no text",
    ),
    (
        "trailing garbage after JSON",
        400,
        "what follows may be half of another body",
    ),
    (
        "startsAt '2020-01-01 00:00:00Z'",
        200,
        "a time that can be told is taken, as in every body",
    ),
    ("startsAt '2020-01-01t00:00:00z'", 200, "the same"),
    (
        "startsAt '2016-12-31T23:59:60Z'",
        200,
        "a leap second is one",
    ),
    ("UTF-8 BOM", 200, "it is passed over, as in every body"),
    (
        "generatorURL 'not a url'",
        200,
        "a bad link is no reason to lose an alert",
    ),
    ("generatorURL 'http://[::1'", 200, "the same"),
    ("generatorURL 'x y'", 200, "the same"),
];

fn payload(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/payloads");
    std::fs::read_to_string(folder.join(name)).expect("the fixture is there")
}

/// The program when the clock shows this.
fn api_at(time: &str) -> Api {
    let mut api = Api::new();
    let by_ms = at(time).as_millis() - api.simulation.now().as_millis();
    api.simulation.jump(by_ms).expect("the store works");
    api
}

fn posts(api: &mut Api, body: impl Into<String>) -> Answer {
    let headers = [("content-type", "application/json")];
    api.send(Method::POST, "/api/v2/alerts", &headers, body.into())
}

fn alert(api: &mut Api) -> Value {
    let list = api.get("/api/v1/alerts").at("/alerts");
    let alerts = list.as_array().expect("a list");
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    alerts[0].clone()
}

#[test]
fn posts_are_answered_as_alertmanager_answers_them() {
    let cases: Value = serde_json::from_str(CASES).expect("the cases are JSON");
    let mut n_seen = 0;
    for case in cases["cases"].as_array().expect("a list of cases") {
        let request = &case["request"];
        if request["method"] != "POST" || request["path"] != "/api/v2/alerts" {
            continue;
        }
        let name = case["name"].as_str().expect("a case has a name");
        let mut api = api_at(RECORDED_AT);
        let headers = request["headers"].as_object().expect("headers");
        let headers = headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
        let headers: Vec<(&str, &str)> = headers.collect();
        let body = request["body"].as_str().unwrap_or_default().to_owned();
        let answer = api.send(Method::POST, "/api/v2/alerts", &headers, body);
        let otherwise = OTHERWISE.iter().find(|(of, _, _)| *of == name);
        let theirs = case["response"]["status"].as_u64();
        let wanted = otherwise.map_or(theirs, |(_, ours, _why)| Some(u64::from(*ours)));
        assert_eq!(
            Some(u64::from(answer.status)),
            wanted,
            "{name}: {}",
            answer.text
        );
        assert_ne!(
            otherwise.map(|(_, ours, _)| u64::from(*ours)),
            theirs,
            "{name}"
        );
        if otherwise.is_none() {
            says_the_same(name, &answer, case["response"]["body_text"].as_str());
        }
        n_seen += 1;
    }
    assert!(n_seen > 70, "{n_seen}");
}

/// The same words, but for what Go says of its own types.
fn says_the_same(name: &str, answer: &Answer, theirs: Option<&str>) {
    let theirs = theirs.unwrap_or_default().trim();
    let of_go = [
        "because json: ",
        "because parsing time",
        "because unexpected",
        "because invalid",
    ];
    if of_go.iter().any(|words| theirs.contains(words)) {
        let start = "parsing alerts body from \"\" failed, because ";
        let message = answer.at("/message");
        let message = message.as_str().expect("a message");
        assert!(message.starts_with(start), "{name}: {message}");
        return;
    }
    let joined_since = theirs.replace("invalid label set: invalid name \\\"0bad\\\"; ", "");
    assert_eq!(answer.text, joined_since, "{name}");
}

#[test]
fn one_bad_alert_costs_the_others_nothing_and_is_kept() {
    let mut api = Api::new();
    let body = json!([
        { "labels": { "alertname": "One" } },
        { "labels": {} },
        { "labels": { "alertname": "Two" }, "startsAt": "tomorrow" },
        { "labels": { "alertname": "Three" } },
    ]);
    assert_eq!(posts(&mut api, body.to_string()).status, 400);
    let names = api.get("/api/v1/alerts").each("alerts", "labels");
    let names: Vec<&str> = names
        .iter()
        .filter_map(|of| of["alertname"].as_str())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let letters = api.get("/api/v1/dead-letters");
    assert_eq!(
        letters.each("dead_letters", "path"),
        ["$[2].startsAt", "$[1].labels"]
    );
    assert_eq!(
        letters.each("dead_letters", "reason"),
        [
            "an RFC 3339 time is wanted, found \"tomorrow\"",
            "an alert without labels"
        ]
    );
}

#[test]
fn a_rule_of_prometheus_fires_resolves_is_told_again_and_fires_anew() {
    let mut api = api_at("2026-11-23T08:13:02Z");
    let file = |name: &str| payload(&format!("prometheus-to-alertmanager-api-v2/{name}.json"));
    assert_eq!(posts(&mut api, file("flap_firing")).status, 200);
    let first = alert(&mut api);
    assert_eq!(first["status"], "firing");
    assert_eq!(first["starts_at"], "2026-11-23T08:13:01.632Z");
    assert_eq!(first["ends_at"], Value::Null);
    assert_eq!(
        (&first["source"], &first["kind"]),
        (&json!("alertmanager"), &json!("alertmanager"))
    );
    assert_eq!(first["attributes"]["severity"], "warning");
    assert!(first["attributes"]["generator_url"].is_string());

    api.advance(Duration::from_secs(20));
    assert_eq!(posts(&mut api, file("flap_resolved")).status, 200);
    assert_eq!(alert(&mut api)["status"], "resolved");
    assert_eq!(alert(&mut api)["ends_at"], "2026-11-23T08:13:21.632Z");
    api.advance(Duration::from_secs(15));
    let resent = posts(&mut api, file("flap_resolved_resent_same_endsAt"));
    assert_eq!((resent.status, resent.text.as_str()), (200, ""));
    assert_eq!(alert(&mut api)["ends_at"], "2026-11-23T08:13:21.632Z");

    api.advance(Duration::from_secs(25));
    assert_eq!(
        posts(&mut api, file("flap_refire_new_startsAt")).status,
        200
    );
    assert_eq!(alert(&mut api)["status"], "firing");
    assert_eq!(alert(&mut api)["starts_at"], "2026-11-23T08:14:01.632Z");
    // Nobody says it again.
    api.advance(Duration::from_secs(60));
    assert_eq!(alert(&mut api)["status"], "resolved");
    assert_eq!(alert(&mut api)["ends_at"], "2026-11-23T08:15:01.632Z");
}

#[test]
fn a_firing_alert_that_comes_after_its_time_is_no_longer_firing() {
    let mut api = api_at("2026-11-23T08:20:00Z");
    let late = payload("prometheus-to-alertmanager-api-v2/flap_firing.json");
    assert_eq!(posts(&mut api, late).status, 200);
    assert_eq!(
        api.get("/api/v1/incidents")
            .each("incidents", "number")
            .len(),
        0
    );
}

#[test]
fn an_alert_without_an_end_fires_for_five_minutes() {
    let mut api = Api::new();
    let added = payload("amtool-api-v2/alert_add.json");
    let added: Value = serde_json::from_str(&added).expect("JSON");
    let body = added[1]["request"]["body"].to_string();
    assert_eq!(posts(&mut api, body.clone()).status, 200);
    api.advance(Duration::from_secs(200));
    assert_eq!(posts(&mut api, body).status, 200);
    api.advance(Duration::from_secs(299));
    assert_eq!(alert(&mut api)["status"], "firing");
    assert_eq!(alert(&mut api)["received"], 2);
    api.advance(Duration::from_secs(1));
    assert_eq!(alert(&mut api)["status"], "resolved");
}

#[test]
fn by_webhook_and_by_api_it_is_one_alert() {
    let mut api = Api::new();
    let labels = json!({ "alertname": "Down", "service": "checkout" });
    let webhook = json!({ "version": "4", "receiver": "all", "alerts": [
        { "status": "firing", "labels": labels, "startsAt": "2026-03-02T08:58:00Z", "generatorURL": "http://p/1" }
    ] });
    let posted = json!([{ "labels": labels, "generatorURL": "http://p/1" }]);
    for _ in 0..3 {
        assert_eq!(api.post("/hooks/alertmanager", &webhook).status, 200);
        assert_eq!(posts(&mut api, posted.to_string()).status, 200);
    }
    let alert = alert(&mut api);
    assert_eq!(alert["received"], 6);
    assert_eq!(alert["incident"], 1);
    // That it came by another way is no change of it.
    let fingerprint = alert["fingerprint"].as_str().expect("a fingerprint");
    let timeline = api.get("/api/v1/incidents/1/timeline").text;
    assert_eq!(timeline.matches(fingerprint).count(), 1, "{timeline}");
}

#[test]
fn the_source_is_the_one_whose_credentials_are_shown() {
    let secret = Credential::Bearer(Secret::new("s3cret".to_owned()));
    let access = access_with_source("prod", vec![secret]);
    let mut api = Api::with(access, book(&[("ana", 5)]), rules(|_| {}));
    let body = json!([{ "labels": { "alertname": "Down" } }]).to_string();
    let json = ("content-type", "application/json");
    let shown = [json, ("authorization", "Bearer s3cret")];
    let answer = api.send(Method::POST, "/api/v2/alerts", &shown, body.clone());
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(alert(&mut api)["source"], "prod");
    let answer = api.send(
        Method::POST,
        "/hooks/prod/api/v2/alerts",
        &shown,
        body.clone(),
    );
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(alert(&mut api)["received"], 2);
    let hidden = api.send(
        Method::POST,
        "/hooks/prod/api/v2/alerts",
        &[json],
        body.clone(),
    );
    assert_eq!(
        hidden.problem(),
        "401 wrong or missing credentials for \"prod\""
    );
    for other in ["none", "check"] {
        let path = format!("/hooks/{other}/api/v2/alerts");
        let answer = api.send(Method::POST, &path, &shown, body.clone());
        let wanted = format!("404 there is no source \"{other}\" of the kind alertmanager");
        assert_eq!(answer.problem(), wanted);
    }
    // Without credentials it is the open one's.
    assert_eq!(posts(&mut api, body).status, 200);
}

#[test]
fn where_no_source_is_open_none_takes_what_shows_nothing() {
    let mut access = access_with_source(
        "prod",
        vec![Credential::Bearer(Secret::new("a".to_owned()))],
    );
    access.sources.remove("alertmanager");
    let mut api = Api::with(access, book(&[("ana", 5)]), rules(|_| {}));
    let body = json!([{ "labels": { "alertname": "Down" } }]).to_string();
    assert_eq!(posts(&mut api, body).status, 401);
}

#[test]
fn a_body_that_cannot_be_read_is_kept() {
    let mut api = Api::new();
    assert_eq!(posts(&mut api, "[{").status, 400);
    let letters = api.get("/api/v1/dead-letters");
    assert_eq!(letters.each("dead_letters", "item"), ["[{"]);
    assert_eq!(letters.each("dead_letters", "source"), ["alertmanager"]);
}

#[test]
fn what_was_posted_and_rejected_is_replayed_as_it_was_posted() {
    let mut api = Api::new();
    let body = json!([{ "labels": { "alertname": "One" } }, { "labels": { "alertname": "Two" }, "startsAt": "2027-01-01T00:00:00Z" }]);
    assert_eq!(posts(&mut api, body.to_string()).status, 400);
    assert_eq!(posts(&mut api, "[{").status, 400);
    // It begins before its end by then.
    let by_ms = at("2027-01-01T00:00:00Z").as_millis() - api.simulation.now().as_millis();
    api.simulation.jump(by_ms).expect("the store works");
    let replayed = api.post("/api/v1/dead-letters/1/replay", &json!({}));
    assert_eq!(replayed.status, 200, "{}", replayed.text);
    assert_eq!(replayed.at("/replayed/opened/0"), 2, "{}", replayed.text);
    let still = api.post("/api/v1/dead-letters/2/replay", &json!({}));
    assert_eq!(still.status, 422, "{}", still.text);
}
