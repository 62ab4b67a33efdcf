//! Changes, from whoever deploys to the incident beside which they stand.

use crate::api::{Answer, Api, MAX_BODY, access_with_source_of, access_with_tokens};
use crate::daemon::Home;
use crate::world::{book, rules};
use axum::http::Method;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;
use watchkeeper::config::sources::SourceAuth;
use watchkeeper::config::{Environment, load};
use watchkeeper::domain::secret::Secret;
use watchkeeper::domain::source::Kind;
use watchkeeper::http::auth::{Credential, Role};
use watchkeeper::store::engine::Order;

const HOOK: &str = "/hooks/change";

fn payload(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/payloads");
    std::fs::read_to_string(folder.join(name)).expect("the fixture is there")
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

fn taken(answer: &Answer) -> (u16, u64) {
    let accepted = answer.at("/accepted").as_u64();
    (answer.status, accepted.unwrap_or(0))
}

/// `succeeded checkout 1.4.2 09:00-09:05`, of each, newest first.
fn listed(api: &mut Api, query: &str) -> Vec<String> {
    let answer = api.get(&format!("/api/v1/changes{query}"));
    assert_eq!(answer.status, 200, "{}", answer.text);
    let items = answer.at("/changes");
    let items = items.as_array().expect("a list").iter();
    items.map(shown).collect()
}

fn shown(change: &Value) -> String {
    let text = |name: &str| change[name].as_str().unwrap_or("-").to_owned();
    let clock = |name: &str| text(name).get(11..16).unwrap_or("-").to_owned();
    let (from, to) = (clock("started_at"), clock("at"));
    let parts = [text("status"), text("service"), text("version")];
    format!("{} {from}-{to}", parts.join(" "))
}

/// `76 checkout 1.4.2: same service, …`, of each change beside the incident.
fn beside(api: &mut Api, number: u64) -> Vec<String> {
    let incident = api.get(&format!("/api/v1/incidents/{number}"));
    assert_eq!(incident.status, 200, "{}", incident.text);
    let changes = incident.at("/changes");
    let changes = changes.as_array().expect("a list").iter();
    let line = |change: &Value| {
        let text = |name: &str| change[name].as_str().unwrap_or("-").to_owned();
        let (what, why) = (text("id"), text("why"));
        format!("{} {what}: {why}", change["relevance"])
    };
    changes.map(line).collect()
}

#[test]
fn a_change_is_kept_with_all_that_was_said_and_opens_nothing() {
    let mut api = Api::new();
    let whole = json!({
        "id": "deploy-17", "kind": "deployment", "status": "failed", "at": "2026-03-02T08:50:00Z",
        "service": "checkout", "environment": "production", "version": "1.4.2", "by": "ana",
        "summary": "New tax rules", "url": "https://ci.example/17", "labels": { "region": "eu" },
    });
    let answer = api.post(HOOK, &whole);
    assert_eq!(
        (answer.status, answer.json()),
        (
            200,
            json!({ "received": 1, "accepted": 1, "rejected": 0, "opened": [], "joined": [] })
        )
    );
    assert_eq!(
        api.get("/api/v1/changes").json(),
        json!({ "next": null, "changes": [{
            "id": "deploy-17", "source": "change", "kind": "deployment", "status": "failed",
            "summary": "New tax rules", "service": "checkout", "environment": "production", "version": "1.4.2",
            "url": "https://ci.example/17", "by": "ana", "labels": { "region": "eu" },
            "at": "2026-03-02T08:50:00.000Z", "started_at": "2026-03-02T08:50:00.000Z",
            "ended_at": "2026-03-02T08:50:00.000Z", "received_at": "2026-03-02T09:00:00.000Z",
        }] })
    );
    assert_eq!(api.get("/api/v1/incidents").at("/incidents"), json!([]));
    assert_eq!(api.get("/api/v1/alerts").at("/alerts"), json!([]));
    assert!(api.simulation.sent().is_empty());
}

#[test]
fn a_bad_change_is_a_dead_letter_and_costs_the_others_nothing() {
    let mut api = Api::new();
    let body = json!({ "changes": [{ "service": "a" }, { "service": "b", "status": "odd" }] });
    assert_eq!(
        api.post(HOOK, &body).json(),
        json!({ "received": 2, "accepted": 1, "rejected": 1, "opened": [], "joined": [] })
    );
    let letters = api.get("/api/v1/dead-letters");
    assert_eq!(
        letters.each("dead_letters", "path"),
        ["$.changes[1].status"]
    );
    assert_eq!(letters.each("dead_letters", "kind"), ["change"]);
    assert_eq!(listed(&mut api, ""), ["succeeded a - 09:00-09:00"]);
    assert_eq!(
        api.post(HOOK, &json!({ "version": "1" })).problem(),
        "400 $: a service, a summary or an id is wanted, found none of them"
    );
    let ping = [("x-github-event", "ping")];
    let answer = api.send(Method::POST, HOOK, &ping, payload("github/ping.json"));
    assert_eq!(
        (answer.status, answer.json()),
        (
            200,
            json!({ "received": 0, "accepted": 0, "rejected": 0, "opened": [], "joined": [] })
        )
    );
}

#[test]
fn a_deployment_is_one_change_whose_status_moves_whatever_the_order_and_however_often_it_is_told() {
    let github = |api: &mut Api, name: &str, event: &str| {
        let body = payload(&format!("github/{name}.json")).replace("2026-11-23", "2026-03-02");
        let answer = api.send(Method::POST, HOOK, &[("x-github-event", event)], body);
        assert_eq!(answer.status, 200, "{}", answer.text);
    };
    let mut api = Api::new();
    let steps = [
        (
            "deployment",
            "deployment",
            "pending checkout main (f95f852b) 08:41-08:41",
        ),
        (
            "deployment_status_in_progress",
            "deployment_status",
            "in_progress checkout main (f95f852b) 08:41-08:42",
        ),
        (
            "deployment_status_success",
            "deployment_status",
            "succeeded checkout main (f95f852b) 08:41-08:44",
        ),
    ];
    for (name, event, expected) in steps {
        for _delivery in 0..2 {
            github(&mut api, name, event);
            assert_eq!(listed(&mut api, ""), [expected]);
        }
    }
    // Delivered once more, and another one takes its place later.
    for (name, event, _) in steps {
        github(&mut api, name, event);
    }
    github(&mut api, "deployment_status_inactive", "deployment_status");
    assert_eq!(listed(&mut api, ""), [steps[2].2]);
    let mut api = Api::new();
    for (name, event, _) in steps.into_iter().rev() {
        github(&mut api, name, event);
    }
    assert_eq!(listed(&mut api, ""), [steps[2].2], "the last came first");
    let once = api.get("/api/v1/changes?since=2026-03-02T08:41:00Z&until=2026-03-02T08:43:00Z");
    assert_eq!(
        once.at("/changes"),
        json!([]),
        "it is found by its last status"
    );
}

#[test]
fn the_same_without_an_id_is_the_same_change_for_ten_minutes() {
    let mut api = Api::new();
    let deploy = |api: &mut Api, status: &str| {
        let body = json!({ "service": "checkout", "version": "1.4.2", "status": status });
        assert_eq!(taken(&api.post(HOOK, &body)), (200, 1));
    };
    api.advance(minutes(5));
    deploy(&mut api, "in_progress");
    api.advance(minutes(9));
    deploy(&mut api, "succeeded");
    deploy(&mut api, "succeeded");
    api.advance(minutes(10));
    deploy(&mut api, "succeeded");
    assert_eq!(
        listed(&mut api, ""),
        ["succeeded checkout 1.4.2 09:05-09:14"]
    );
    // An hour later the same version is deployed again.
    api.advance(minutes(60));
    deploy(&mut api, "succeeded");
    assert_eq!(
        listed(&mut api, ""),
        [
            "succeeded checkout 1.4.2 10:24-10:24",
            "succeeded checkout 1.4.2 09:05-09:14"
        ]
    );
}

#[test]
fn a_body_as_large_as_may_be_is_taken_as_one() {
    let mut api = Api::new();
    let labels: serde_json::Map<String, Value> = (0..32)
        .map(|n| (format!("{n:0100}"), Value::from("x".repeat(400))))
        .collect();
    let change = |n: usize| json!({ "id": format!("{n}"), "labels": labels });
    let body = Value::from((0..490).map(change).collect::<Vec<Value>>()).to_string();
    assert!((7 << 20..MAX_BODY).contains(&body.len()), "{}", body.len());
    let answer = api.send(Method::POST, HOOK, &[], body);
    assert_eq!(taken(&answer), (200, 490), "{}", answer.text);
    assert_eq!(listed(&mut api, "?limit=1000").len(), 490);
}

#[test]
fn ids_are_of_their_source_alone() {
    let credentials = vec![Credential::Open];
    let mut access = access_with_source_of(Kind::Change, "ci", credentials.clone());
    let other = access_with_source_of(Kind::Change, "cd", credentials);
    access.sources.extend(other.sources);
    let mut api = Api::with(access, book(&[("ana", 5)]), rules(|_| {}));
    for source in ["ci", "cd"] {
        let body = json!({ "id": "17", "service": source });
        assert_eq!(
            taken(&api.post(&format!("/hooks/{source}"), &body)),
            (200, 1)
        );
    }
    assert_eq!(listed(&mut api, "").len(), 2);
    assert_eq!(
        api.get("/api/v1/changes").each("changes", "id"),
        ["17", "17"]
    );
}

/// Signed as GitHub signs.
fn signature(secret: &str, body: &str) -> String {
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes());
    let mut mac = mac.expect("any length will do");
    mac.update(body.as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// The credentials that a source has by these lines of the configuration.
fn credentials(auth: &str) -> Vec<Credential> {
    let directory = tempfile::tempdir().expect("a directory");
    let text = format!("[sources.deploys]\nkind = \"change\"\nauth = {auth}\n");
    std::fs::write(directory.path().join("watchkeeper.toml"), text).expect("a file");
    let loaded = load(Some(directory.path()), &Environment::default());
    let config = loaded.config.expect("it has no error");
    let source = config.sources.get("deploys").expect("it is there");
    let of = |auth: &SourceAuth| match auth {
        SourceAuth::Hmac { scheme, secret } => Credential::Signature {
            scheme: scheme.clone(),
            secret: secret.clone(),
        },
        SourceAuth::Header { name, value } => Credential::Header {
            name: name.clone(),
            value: value.clone(),
        },
        other => panic!("{other:?}"),
    };
    source.auth.iter().map(of).collect()
}

#[test]
fn a_webhook_of_githubs_is_signed_and_one_of_gitlabs_has_a_token() {
    let github = credentials("{ hmac = { secret = \"whsec\" } }");
    let access = access_with_source_of(Kind::Change, "deploys", github);
    let mut api = Api::with(access, book(&[("ana", 5)]), rules(|_| {}));
    let body = payload("github/deployment_status_success.json");
    let mut send = |secret: &str| {
        let signed = signature(secret, &body);
        let headers = [
            ("x-github-event", "deployment_status"),
            ("x-hub-signature-256", &signed),
        ];
        api.send(Method::POST, "/hooks/deploys", &headers, body.clone())
            .status
    };
    assert_eq!(send("whsec"), 200);
    assert_eq!(send("other"), 401);
    assert_eq!(listed(&mut api, "").len(), 1);

    let gitlab = credentials("{ header = { name = \"X-Gitlab-Token\", value = \"glsec\" } }");
    let access = access_with_source_of(Kind::Change, "deploys", gitlab);
    let mut api = Api::with(access, book(&[("ana", 5)]), rules(|_| {}));
    let body = payload("gitlab/deployment_running.json").replace("2026-11-23", "2026-03-02");
    for (token, status) in [("glsec", 200), ("other", 401)] {
        let headers = [
            ("x-gitlab-event", "Deployment Hook"),
            ("x-gitlab-token", token),
        ];
        let answer = api.send(Method::POST, "/hooks/deploys", &headers, body.clone());
        assert_eq!(answer.status, status);
    }
    assert_eq!(
        listed(&mut api, ""),
        ["in_progress order-loading v2.7.0 (279484c0) 08:40-08:40"]
    );
}

fn enqueue(api: &mut Api, query: &str, body: &str) -> Answer {
    api.send(
        Method::POST,
        &format!("/v2/change/enqueue{query}"),
        &[],
        body.to_owned(),
    )
}

#[test]
fn what_is_told_to_pagerduty_is_told_here_by_the_same_call() {
    let key = "0123456789abcdef0123456789abcdef";
    let body = payload("pagerduty-events-v2/change_event.json");
    for kind in [Kind::Change, Kind::Pagerduty] {
        let credentials = vec![Credential::Bearer(Secret::new(key))];
        let mut access = access_with_source_of(kind, "prod", credentials);
        access.sources.retain(|name, _| name == "prod");
        let mut api = Api::with(access, book(&[("ana", 5)]), rules(|_| {}));
        for _delivery in 0..2 {
            let answer = enqueue(&mut api, "?service=checkout", &body);
            assert_eq!(answer.status, 202, "{}", answer.text);
            let theirs: Value =
                serde_json::from_str(&payload("pagerduty-events-v2/response_202_change.json"))
                    .expect("JSON");
            assert_eq!(answer.json(), theirs);
        }
        let changes = api.get("/api/v1/changes");
        assert_eq!(changes.each("changes", "source"), ["prod"]);
        assert_eq!(changes.each("changes", "service"), ["checkout"]);
        assert_eq!(api.get("/api/v1/incidents").at("/incidents"), json!([]));

        let unknown = enqueue(&mut api, "", &body.replace(key, "another"));
        assert_eq!(
            (unknown.status, unknown.at("/status")),
            (401, json!("invalid event"))
        );
        for (body, reason) in [
            (
                format!("{{\"routing_key\":\"{key}\"}}"),
                "$.payload: a payload is wanted, found nothing",
            ),
            (
                format!("{{\"routing_key\":\"{key}\",\"payload\":{{}}}}"),
                "$.payload.summary: a summary is wanted, found nothing",
            ),
            ("[]".to_owned(), "$: expected an object, found a list"),
        ] {
            let refused = enqueue(&mut api, "", &body);
            assert_eq!(refused.status, 400, "{}", refused.text);
            assert_eq!(refused.at("/errors"), json!([reason]));
        }
        let letters = api.get("/api/v1/dead-letters").text;
        assert!(!letters.contains(key), "{letters}");
    }
}

/// So many changes, a minute apart, the last at nine.
fn deploys(api: &mut Api, services: &[&str]) {
    let of = |(n, service): (usize, &&str)| {
        json!({
            "id": format!("d{n}"), "service": service, "version": n,
            "at": format!("2026-03-02T08:{:02}:00Z", n + 1), "by": "ana",
        })
    };
    let changes: Vec<Value> = services.iter().enumerate().map(of).collect();
    let answer = api.post(HOOK, &json!({ "changes": changes }));
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[test]
fn changes_are_listed_newest_first_by_service_words_and_time() {
    let mut api = Api::new();
    deploys(&mut api, &["a", "b", "a", "c", "A"]);
    let ids = |api: &mut Api, query: &str| {
        let answer = api.get(&format!("/api/v1/changes{query}"));
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.each("changes", "id")
    };
    for (query, expected) in [
        ("", &["d4", "d3", "d2", "d1", "d0"][..]),
        ("?service=a", &["d4", "d2", "d0"]),
        ("?service=z", &[]),
        ("?q=DEPLOYMENT%20of%20C", &["d3"]),
        ("?q=ana&service=b", &["d1"]),
        ("?q=nobody", &[]),
        ("?since=2026-03-02T08:04:00Z", &["d4", "d3"]),
        ("?until=2026-03-02T08:04:00Z", &["d2", "d1", "d0"]),
        (
            "?service=a&since=2026-03-02T08:02:00Z&until=2026-03-02T08:04:00Z",
            &["d2"],
        ),
        (
            "?since=2026-03-02T09:00:00%2B01:00&until=2026-03-02T08:00:00Z",
            &[],
        ),
    ] {
        assert_eq!(ids(&mut api, query), expected, "{query}");
    }
    let mut pages = Vec::new();
    let mut cursor = String::new();
    loop {
        let answer = api.get(&format!("/api/v1/changes?service=a&limit=1{cursor}"));
        pages.push(answer.each("changes", "id"));
        let Some(next) = answer.at("/next").as_str().map(str::to_owned) else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(pages, [["d4"], ["d2"], ["d0"]]);
    for (query, problem) in [
        ("?cursor=x", "400 bad cursor \"x\""),
        ("?cursor=7-zz", "400 bad cursor \"7-zz\""),
        (
            "?since=today",
            "400 since: an RFC 3339 time is wanted, found \"today\"",
        ),
        ("?limit=0", "400 limit is from 1 to 1000, found 0"),
    ] {
        assert_eq!(
            api.get(&format!("/api/v1/changes{query}")).problem(),
            problem
        );
    }
    let access = access_with_tokens(&[("viewer", Role::Viewer)]);
    let mut api = Api::with(access, book(&[("ana", 5)]), rules(|_| {}));
    assert_eq!(api.get("/api/v1/changes").status, 401);
}

/// An alert of checkout in production fires, since two minutes before nine.
fn fires(api: &mut Api, labels: &Value) -> u64 {
    let mut all = json!({ "alertname": "HighErrorRate" });
    for (name, value) in labels.as_object().expect("labels") {
        all[name] = value.clone();
    }
    let alert = json!({
        "status": "firing", "labels": all, "startsAt": "2026-03-02T08:58:00Z", "endsAt": "0001-01-01T00:00:00Z",
    });
    let answer = api.post(
        "/hooks/alertmanager",
        &json!({ "version": "4", "alerts": [alert] }),
    );
    answer.at("/opened/0").as_u64().expect("it opens one")
}

#[test]
fn an_incident_shows_what_changed_before_it_and_why_that_may_matter() {
    let mut api = Api::new();
    let at = |clock: &str| format!("2026-03-02T{clock}:00Z");
    let changes = json!([
        { "id": "this", "service": "checkout", "environment": "prod", "at": at("08:54") },
        { "id": "earlier", "service": "checkout", "at": at("02:58") },
        { "id": "broken", "service": "Checkout", "status": "failed", "at": at("02:58") },
        { "id": "staged", "service": "checkout", "environment": "staging", "at": at("08:57") },
        { "id": "nobody's", "service": "search", "at": at("08:57") },
        { "id": "cluster", "kind": "configuration", "summary": "new nodes", "labels": { "cluster": "eu1" }, "at": at("08:57") },
        { "id": "neighbour", "service": "search", "environment": "production", "labels": { "cluster": "eu1" }, "at": at("08:50") },
        { "id": "elsewhere", "service": "search", "environment": "staging", "labels": { "cluster": "eu1" }, "at": at("08:50") },
        { "id": "flag", "service": "checkout", "labels": { "app": "checkout", "title": "x" }, "status": "in_progress", "at": at("08:58") },
        { "id": "yesterday", "service": "checkout", "at": "2026-03-01T08:57:00Z" },
        { "id": "dataset", "labels": { "dataset": "checkout" }, "at": at("06:58") },
        { "id": "waits", "service": "checkout", "status": "pending", "at": at("08:58") },
    ]);
    let answer = api.post(HOOK, &changes);
    assert_eq!(taken(&answer), (200, 12), "{}", answer.text);
    let labels = json!({ "service": "checkout", "env": "production", "cluster": "eu1" });
    let number = fires(&mut api, &labels);
    api.advance(minutes(7));
    let back = json!({ "id": "back", "service": "checkout", "kind": "rollback", "summary": "back to 1.4.1" });
    assert_eq!(taken(&api.post(HOOK, &back)), (200, 1));
    assert_eq!(
        beside(&mut api, number),
        [
            "90 flag: same service, at the time of the first alert, still in progress",
            "88 this: same service and environment, 4 minutes before the first alert",
            "74 broken: same service, 6 hours before the first alert, failed",
            "73 back: same service, 9 minutes after the first alert",
            "70 dataset: same service, 2 hours before the first alert",
            "64 earlier: same service, 6 hours before the first alert",
            "60 waits: same service, at the time of the first alert, not begun",
            "49 staged: same service, but environment staging, 60 seconds before the first alert",
            "18 neighbour: same environment and cluster, 8 minutes before the first alert",
            "14 cluster: same cluster, 60 seconds before the first alert",
        ],
        "at most ten"
    );
    let incident = api.get("/api/v1/incidents/1");
    assert_eq!(
        incident.at("/changes/1/summary"),
        "change of checkout to prod"
    );
    assert_eq!(incident.at("/changes/1/source"), "change");
    let page = api.get("/incidents/1").text;
    assert!(page.contains("<h2>Changes</h2>"), "{page}");
    assert!(
        page.contains("back to 1.4.1: same service, 9 minutes after the first alert"),
        "{page}"
    );
}

#[test]
fn a_label_in_common_is_little_where_the_place_differs() {
    let mut api = Api::new();
    let change = json!({
        "id": "elsewhere", "service": "search", "environment": "staging", "labels": { "cluster": "eu1" },
        "at": "2026-03-02T08:50:00Z",
    });
    assert_eq!(taken(&api.post(HOOK, &change)), (200, 1));
    let labels = json!({ "service": "checkout", "env": "production", "cluster": "eu1" });
    let number = fires(&mut api, &labels);
    assert_eq!(
        beside(&mut api, number),
        ["2 elsewhere: same cluster, but environment staging, 8 minutes before the first alert"]
    );
}

#[test]
fn at_most_ten_changes_stand_beside_an_incident_and_those_of_others_hide_none() {
    let mut api = Api::new();
    let ours = json!({ "id": "ours", "service": "checkout", "environment": "production", "at": "2026-03-02T01:00:00Z" });
    assert_eq!(taken(&api.post(HOOK, &ours)), (200, 1));
    for batch in 0..3 {
        let other = |n: usize| {
            let minute = n % 58;
            json!({
                "id": format!("{batch}-{n}"), "service": format!("s{n}"), "environment": "production",
                "at": format!("2026-03-02T08:{minute:02}:00Z"),
            })
        };
        let changes: Vec<Value> = (0..400).map(other).collect();
        assert_eq!(taken(&api.post(HOOK, &json!(changes))), (200, 400));
    }
    let number = fires(
        &mut api,
        &json!({ "service": "checkout", "environment": "production" }),
    );
    let shown = beside(&mut api, number);
    assert_eq!(shown.len(), 10);
    assert_eq!(
        shown[0],
        "63 ours: same service and environment, 7 hours before the first alert"
    );
    assert!(
        shown[1].ends_with("same environment, 60 seconds before the first alert"),
        "{}",
        shown[1]
    );
    assert_eq!(listed(&mut api, "?limit=1000").len(), 1000);
}

#[test]
fn changes_after_an_incident_is_clear_are_of_another_story() {
    let mut api = Api::new();
    let number = fires(&mut api, &json!({ "service": "checkout" }));
    let change = |api: &mut Api, id: &str| {
        let body = json!({ "id": id, "service": "checkout" });
        assert_eq!(taken(&api.post(HOOK, &body)), (200, 1));
    };
    change(&mut api, "fix");
    let resolved = json!({
        "status": "resolved", "labels": { "alertname": "HighErrorRate", "service": "checkout" },
        "startsAt": "2026-03-02T08:58:00Z", "endsAt": "2026-03-02T09:00:00Z",
    });
    let answer = api.post(
        "/hooks/alertmanager",
        &json!({ "version": "4", "alerts": [resolved] }),
    );
    assert_eq!(answer.status, 200);
    api.advance(minutes(1));
    change(&mut api, "next");
    let expected = ["74 fix: same service, 2 minutes after the first alert"];
    assert_eq!(beside(&mut api, number), expected);
}

#[test]
fn an_incident_that_a_person_reports_is_set_beside_what_its_title_names() {
    let mut api = Api::new();
    for (id, service) in [("ours", "checkout-api"), ("not", "search"), ("nor", "api")] {
        let body = json!({ "id": id, "service": service });
        assert_eq!(taken(&api.post(HOOK, &body)), (200, 1));
    }
    api.advance(minutes(30));
    let report = json!({ "title": "Checkout-API: customers see errors.", "source": "customer" });
    assert_eq!(api.post("/api/v1/incidents", &report).status, 201);
    assert_eq!(
        beside(&mut api, 1),
        ["80 ours: named in the title, 30 minutes before the opening of the incident"]
    );
}

#[test]
fn an_alert_that_says_it_began_long_ago_costs_no_look_at_all_of_history() {
    let mut api = Api::new();
    deploys(&mut api, &["checkout"]);
    let alert = json!({
        "status": "firing", "labels": { "alertname": "Down", "service": "checkout" }, "startsAt": "1970-01-01T00:00:00Z",
    });
    let answer = api.post(
        "/hooks/alertmanager",
        &json!({ "version": "4", "alerts": [alert] }),
    );
    assert_eq!(answer.at("/opened"), json!([1]));
    assert_eq!(
        beside(&mut api, 1),
        ["60 d0: same service, 6 days after the first alert"]
    );
}

/// Records of the tables of changes.
fn n_records(api: &Api) -> usize {
    let view = api.simulation.store().engine().view();
    let mut n = 0;
    for (from, to) in [(b"G", b"H"), (b"g", b"h")] {
        view.scan(from, to, Order::Forward, &mut |_key, _record| {
            n += 1;
            Ok(ControlFlow::Continue(()))
        })
        .expect("it reads");
    }
    n
}

#[test]
fn changes_leave_when_they_are_older_than_they_are_kept_and_nothing_of_them_stays() {
    let mut api = Api::in_memory();
    let changes = |from: usize, at: &str| {
        let change = |n: usize| json!({ "id": format!("{}", from + n), "service": format!("s{n}"), "status": "in_progress", "at": at });
        Value::from((0..500).map(change).collect::<Vec<Value>>())
    };
    for from in [0, 500] {
        let answer = api.post(HOOK, &changes(from, "2026-03-02T08:00:00Z"));
        assert_eq!(taken(&answer), (200, 500));
    }
    // It began with the others, and ended much later.
    api.advance(Duration::from_secs(86_400));
    assert_eq!(
        taken(&api.post(HOOK, &json!({ "id": "7", "status": "failed" }))),
        (200, 1)
    );
    api.simulation.sleep(Duration::from_secs(88 * 86_400));
    api.advance(Duration::from_secs(86_400 + 180));
    assert_eq!(listed(&mut api, "?limit=1000"), ["failed s7 - 08:00-09:00"]);
    api.advance(Duration::from_secs(86_400 + 60));
    assert_eq!(listed(&mut api, ""), [""; 0]);
    assert_eq!(n_records(&api), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_was_taken_survives_a_kill_and_is_shown_with_the_incident() {
    let home = Home::new();
    let mut daemon = home.serve().await;
    let body = json!({
        "id": "17", "service": "checkout", "version": "1.4.2", "by": "ana", "url": "https://ci.example/17", "status": "failed",
    });
    let (status, answer) = daemon.post(HOOK, &body).await;
    assert_eq!((status, &answer["accepted"]), (200, &json!(1)), "{answer}");
    daemon.kill();
    let daemon = home.serve().await;
    let changes = daemon.list("changes").await;
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0]["summary"], "deployment of checkout 1.4.2");
    let alert =
        json!({ "status": "firing", "labels": { "alertname": "Down", "service": "checkout" } });
    let body = json!({ "version": "4", "alerts": [alert] });
    let (status, answer) = daemon.post("/hooks/alertmanager", &body).await;
    assert_eq!((status, &answer["opened"]), (200, &json!([1])));
    let mut command = home.command(&["incident", "show", "1"]);
    command.env("WATCHKEEPER_URL", &daemon.url);
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.expect("it does not panic").expect("it starts");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = shown
        .lines()
        .skip_while(|line| !line.starts_with("changes"))
        .collect();
    assert_eq!(lines[0], "changes to look at:", "{shown}");
    let (_at, said) = lines[1].split_once("Z  ").expect("an instant");
    assert!(
        said.starts_with("failed      deployment of checkout 1.4.2 by ana: same service, "),
        "{said}"
    );
    assert!(
        said.ends_with(" the first alert, failed (https://ci.example/17)"),
        "{said}"
    );
    daemon.stop().await;
    let verified = home.run(&["store", "verify"]);
    assert!(verified.status.success(), "{verified:?}");
}

#[test]
fn a_change_that_was_rejected_is_replayed_when_it_can_be_read() {
    let access = access_with_source_of(Kind::Check, "deploys", vec![Credential::Open]);
    let mut api = Api::with(access, book(&[("ana", 5)]), rules(|_| {}));
    let body = json!({ "service": "checkout", "version": "1.4.2" });
    assert_eq!(api.post("/hooks/deploys", &body).status, 400);
    let mut live = (**api.live.load()).clone();
    let right = access_with_source_of(Kind::Change, "deploys", vec![Credential::Open]);
    live.access = right;
    api.live.swap(live);
    let replayed = api.post("/api/v1/dead-letters/1/replay", &json!({}));
    assert_eq!(replayed.status, 200, "{}", replayed.text);
    assert_eq!(replayed.at("/replayed/accepted"), 1);
    assert_eq!(listed(&mut api, "").len(), 1);
}
