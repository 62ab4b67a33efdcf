//! The road from a real Alertmanager through the real executable to a pager's webhook, on loopback and in real time.

mod daemon;
mod peer;
mod prometheus;
mod receiver;
mod wait;

use chrono::{DateTime, Utc};
use daemon::Daemon;
use peer::Alertmanager;
use prometheus::Prometheus;
use receiver::Receiver;
use serde_json::{Value, json};
use wait::until;

const ONE: [&str; 3] = [
    "alertname=HighErrorRate",
    "service=checkout",
    "instance=one",
];
const TWO: [&str; 3] = [
    "alertname=HighErrorRate",
    "service=checkout",
    "instance=two",
];
const OTHER: [&str; 2] = ["alertname=DiskHalfFull", "service=archive"];

/// The timeout is longer than it takes to see the first page and acknowledge it.
const ONCALL: &str = r#"
[people.ana]
name = "Ana"
notify = [{ channel = "hook", address = "ana" }]

[people.ben]
name = "Ben"
notify = [{ channel = "hook", address = "ben" }]

[policies.payments]
steps = [{ targets = ["person:ana"], timeout = "4s" }, { targets = ["person:ben"], timeout = "1h" }]
fallback = ["person:ben"]
"#;

const RULES: &str = r#"
[[rule]]
name = "errors"
match = ['alertname="HighErrorRate"']
severity = "SEV2"
dedup_key = "{{ labels.service }}/{{ labels.alertname }}"
title = "{{ labels.service }} fails"
escalation_policy = "payments"

[[rule]]
name = "disks"
match = ['alertname="DiskHalfFull"']
severity = "SEV5"
dedup_key = "{{ labels.service }}/{{ labels.alertname }}"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alertmanagers_alerts_become_one_incident_a_key_and_one_page_a_step() {
    // An error says that another test was first.
    drop(rustls::crypto::ring::default_provider().install_default());
    let pager = Receiver::start().await;
    let daemon = Daemon::serve(&[
        ("config/watchkeeper.toml", &configuration(&pager)),
        ("config/oncall.toml", ONCALL),
        ("rules/all.toml", RULES),
    ])
    .await;
    let alertmanager = Alertmanager::start(&routes(&daemon)).await;

    // Two alerts in one group, and one of another key: two incidents, of which one pages.
    let start = now();
    alertmanager.fire(&ONE, start);
    alertmanager.fire(&TWO, start);
    alertmanager.fire(&OTHER, start);
    let checkout = until_counted(&daemon, "checkout/HighErrorRate", 2, 0).await;
    let archive = until_counted(&daemon, "archive/DiskHalfFull", 1, 0).await;
    assert_eq!(n_incidents(&daemon).await, 2);
    assert_eq!(checkout["status"], "open");
    assert_eq!(checkout["severity"], "SEV2");
    assert_eq!(archive["severity"], "SEV5");
    until_paged(&pager, &["ana step 1", "ben step 2"]).await;

    // Repeats are counted and page nobody.
    let before = received(&checkout);
    let number = &checkout["number"];
    until("the group is sent twice more", async || {
        let incident = incident(&daemon, number).await;
        let is_repeated = received(&incident) >= before + 4;
        is_repeated.then_some(()).ok_or(incident.to_string())
    })
    .await;
    assert_eq!(pages(&pager), ["ana step 1", "ben step 2"]);
    acknowledge(&daemon, number, "ben").await;

    // One of two resolves: the incident goes on. The other too: it is clear, and stays open.
    alertmanager.resolve(&ONE, start, now());
    let partly = until_counted(&daemon, "checkout/HighErrorRate", 1, 1).await;
    assert_eq!(partly["clear_since"], Value::Null);
    assert_eq!(partly["acknowledged_by"], "ben");
    alertmanager.resolve(&TWO, start, now());
    let quiet = until_counted(&daemon, "checkout/HighErrorRate", 0, 2).await;
    assert_eq!(quiet["status"], "open");
    until("the incident is clear", async || {
        let incident = incident(&daemon, number).await;
        let is_clear = incident["clear_since"].is_string();
        is_clear.then_some(()).ok_or(incident.to_string())
    })
    .await;
    assert_eq!(statuses(&daemon, number).await, ["resolved", "resolved"]);
    assert_eq!(pages(&pager), ["ana step 1", "ben step 2"]);

    // It fires again: the same incident, no longer acknowledged, paged from step 1 under a new id.
    alertmanager.fire(&ONE, now());
    let again = until_counted(&daemon, "checkout/HighErrorRate", 1, 1).await;
    assert_eq!(&again["number"], number);
    assert_eq!(again["clear_since"], Value::Null);
    until_paged(&pager, &["ana step 1", "ben step 2", "ana step 1"]).await;
    acknowledge(&daemon, number, "ana").await;
    assert_eq!(n_incidents(&daemon).await, 2);
    assert_page_ids_differ(&pager);
}

fn configuration(pager: &Receiver) -> String {
    let hook = pager.url();
    format!(
        r#"
[server]
listen = "127.0.0.1:0"

[store]
url = "sled:data"

[sources.prod]
kind = "alertmanager"

[channels.hook]
kind = "webhook"
url = "{hook}"
"#
    )
}

/// Groups are sent at once where they are new, then each second what changed, and every two all of it.
fn routes(daemon: &Daemon) -> String {
    let hook = daemon.url("/hooks/prod");
    format!(
        "
route:
  receiver: watchkeeper
  group_by: [alertname, service]
  group_wait: 1s
  group_interval: 1s
  repeat_interval: 2s
receivers:
  - name: watchkeeper
    webhook_configs:
      - url: {hook}
        send_resolved: true
"
    )
}

/// The incident of this key, once so many of its alerts fire and so many are resolved.
async fn until_counted(daemon: &Daemon, key: &str, firing: u64, resolved: u64) -> Value {
    let what = format!("{key} has {firing} firing, {resolved} resolved");
    until(&what, async || {
        let list = incidents(daemon).await;
        let mut of_key = list.iter().filter(|incident| incident["dedup_key"] == key);
        let found = of_key.next().cloned();
        assert_eq!(of_key.count(), 0, "a second incident of {key}: {list:?}");
        found
            .filter(|incident| {
                let counts = &incident["alerts"];
                counts["firing"] == firing && counts["resolved"] == resolved
            })
            .ok_or(format!("{list:?}"))
    })
    .await
}

/// Waits for as many pages, then wants these and no others, in this order.
async fn until_paged(pager: &Receiver, expected: &[&str]) {
    until("the pages arrive", async || {
        let pages = pages(pager);
        let is_enough = pages.len() >= expected.len();
        is_enough.then_some(()).ok_or(pages.join("\n"))
    })
    .await;
    assert_eq!(pages(pager), expected);
}

/// What woke somebody; updates are not of it.
fn pages(pager: &Receiver) -> Vec<String> {
    let bodies = pager.bodies();
    let woke = bodies.iter().filter(|body| body["kind"] == "page");
    woke.map(|body| {
        let to = body["to"].as_str().expect("a page is to somebody");
        format!("{to} step {}", body["step"])
    })
    .collect()
}

fn assert_page_ids_differ(pager: &Receiver) {
    let bodies = pager.bodies();
    let mut ids: Vec<_> = bodies.iter().map(|body| body["page_id"].as_str()).collect();
    let keys: Vec<_> = bodies
        .iter()
        .map(|b| b["idempotency_key"].as_str())
        .collect();
    assert_eq!(keys, ids);
    assert!(ids.iter().all(Option::is_some), "{bodies:?}");
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), bodies.len(), "{bodies:?}");
}

async fn incidents(daemon: &Daemon) -> Vec<Value> {
    let list = daemon.get("/api/v1/incidents").await;
    let incidents = list.pointer("/incidents").and_then(Value::as_array);
    incidents.expect("a list").clone()
}

async fn n_incidents(daemon: &Daemon) -> usize {
    incidents(daemon).await.len()
}

async fn incident(daemon: &Daemon, number: &Value) -> Value {
    daemon.get(&format!("/api/v1/incidents/{number}")).await
}

async fn statuses(daemon: &Daemon, number: &Value) -> Vec<Value> {
    let path = format!("/api/v1/incidents/{number}/alerts");
    let list = daemon.get(&path).await;
    let alerts = list.pointer("/alerts").and_then(Value::as_array);
    let alerts = alerts.expect("a list");
    alerts.iter().map(|alert| alert["status"].clone()).collect()
}

async fn acknowledge(daemon: &Daemon, number: &Value, by: &str) {
    let path = format!("/api/v1/incidents/{number}/acknowledge");
    let incident = daemon.post(&path, &json!({ "by": by })).await;
    assert_eq!(incident.get("acknowledged_by"), Some(&json!(by)));
}

fn received(incident: &Value) -> u64 {
    let count = incident.pointer("/alerts/received");
    count.and_then(Value::as_u64).expect("a count")
}

#[expect(
    clippy::disallowed_methods,
    reason = "Alertmanager runs on the real clock"
)]
fn now() -> DateTime<Utc> {
    Utc::now()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alertmanager_that_pages_pagerduty_and_opsgenie_is_pointed_at_us() {
    // An error says that another test was first.
    drop(rustls::crypto::ring::default_provider().install_default());
    let home = crate::daemon::Home::new();
    let daemon = home.serve().await;
    let url = &daemon.url;
    let alertmanager = Alertmanager::start(&format!(
        "
route:
  receiver: vendors
  group_by: [alertname]
  group_wait: 1s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: vendors
    pagerduty_configs:
      - url: {url}/v2/enqueue
        routing_key: 0123456789abcdef0123456789abcdef
    opsgenie_configs:
      - api_url: {url}/
        api_key: key
        update_alerts: true
"
    ))
    .await;
    let start = now();
    alertmanager.fire(&ONE, start);
    let counts = async |firing: u64, resolved: u64| {
        until(
            &format!("{firing} firing, {resolved} resolved"),
            async || {
                let (_, incident) = daemon.get("/api/v1/incidents/1").await;
                let counts = &incident["alerts"];
                let is_so = counts["firing"] == firing && counts["resolved"] == resolved;
                is_so
                    .then_some(incident.clone())
                    .ok_or(incident.to_string())
            },
        )
        .await
    };
    // Each of the two names the group alike, and is an alert of its own under that name.
    let opened = counts(2, 0).await;
    assert!(
        opened["title"]
            .as_str()
            .is_some_and(|title| title.contains("HighErrorRate")),
        "{opened}"
    );
    alertmanager.resolve(&ONE, start, now());
    counts(0, 2).await;
    let (_, alerts) = daemon.get("/api/v1/alerts").await;
    let mut tools: Vec<String> = alerts["alerts"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|alert| alert["labels"]["tool"].to_string())
        .collect();
    tools.sort();
    assert_eq!(tools, ["\"opsgenie\"", "\"pagerduty\""]);
    let (_, letters) = daemon.get("/api/v1/dead-letters").await;
    assert_eq!(letters["dead_letters"], json!([]));
}

const FIRES: &str = r#"
groups:
  - name: all
    rules:
      - alert: HighErrorRate
        expr: vector(1)
        labels: { severity: critical, service: checkout, instance: one }
        annotations: { summary: "errors: {{ $value }}" }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_posts_straight_to_us_and_through_alertmanager_and_it_is_one_alert() {
    // An error says that another test was first.
    drop(rustls::crypto::ring::default_provider().install_default());
    let pager = Receiver::start().await;
    let daemon = Daemon::serve(&[
        ("config/watchkeeper.toml", &configuration(&pager)),
        ("config/oncall.toml", ONCALL),
        ("rules/all.toml", RULES),
    ])
    .await;
    let alertmanager = Alertmanager::start(&routes(&daemon)).await;
    let host = |url: &str| url.trim_start_matches("http://").to_owned();
    let (us, them) = (host(&daemon.url("")), host(alertmanager.url()));
    let to = [(us.as_str(), "/hooks/alertmanager"), (them.as_str(), "/")];
    let mut prometheus = Prometheus::start(FIRES, &to).await;

    let fires = until_counted(&daemon, "checkout/HighErrorRate", 1, 0).await;
    let number = &fires["number"];
    until("it comes by both ways, again and again", async || {
        let metrics = reqwest::get(daemon.url("/metrics"))
            .await
            .expect("it answers");
        let metrics = metrics.text().await.expect("a whole answer");
        let repeats = |source: &str| {
            let name = format!("watchkeeper_repeats_total{{source=\"{source}\"}} ");
            let mut counts = metrics.lines().filter_map(|line| line.strip_prefix(&name));
            counts.next().and_then(|count| count.parse::<u64>().ok())
        };
        let is_repeated = repeats("prod") >= Some(2) && repeats("alertmanager") >= Some(2);
        is_repeated.then_some(()).ok_or(metrics)
    })
    .await;
    let alert = the_alert(&daemon, number).await;
    assert_eq!(alert["labels"]["cluster"], "eu1");
    assert_eq!(alert["annotations"]["summary"], "errors: 1");
    let said = alertmanager.alerts().await;
    assert_eq!(
        said[0]["fingerprint"], alert["fingerprint"],
        "one fingerprint"
    );

    // It says that it is resolved.
    prometheus
        .judge_by(&FIRES.replace("vector(1)", "vector(1) > 1"))
        .await;
    until_counted(&daemon, "checkout/HighErrorRate", 0, 1).await;
    prometheus.judge_by(FIRES).await;
    until_counted(&daemon, "checkout/HighErrorRate", 1, 0).await;
    // It dies, and says nothing any more: Alertmanager takes that for resolved, and so do we.
    prometheus.kill();
    until_counted(&daemon, "checkout/HighErrorRate", 0, 1).await;
    assert_eq!(n_incidents(&daemon).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amtool_adds_alerts_to_us_as_to_an_alertmanager() {
    // An error says that another test was first.
    drop(rustls::crypto::ring::default_provider().install_default());
    let pager = Receiver::start().await;
    let daemon = Daemon::serve(&[
        ("config/watchkeeper.toml", &configuration(&pager)),
        ("config/oncall.toml", ONCALL),
        ("rules/all.toml", RULES),
    ])
    .await;
    let start = now();
    peer::amtool_alert_add(&daemon.url(""), &ONE, &[peer::flag("start", start)]);
    until_counted(&daemon, "checkout/HighErrorRate", 1, 0).await;
    let flags = [peer::flag("start", start), peer::flag("end", now())];
    peer::amtool_alert_add(&daemon.url(""), &ONE, &flags);
    until_counted(&daemon, "checkout/HighErrorRate", 0, 1).await;
}

async fn the_alert(daemon: &Daemon, number: &Value) -> Value {
    let list = daemon
        .get(&format!("/api/v1/incidents/{number}/alerts"))
        .await;
    let alerts = list["alerts"].as_array().expect("a list").clone();
    assert_eq!(alerts.len(), 1, "{alerts:?}");
    alerts[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amtool_silences_and_queries_us_as_it_does_an_alertmanager() {
    // An error says that another test was first.
    drop(rustls::crypto::ring::default_provider().install_default());
    let pager = Receiver::start().await;
    let daemon = Daemon::serve(&[
        ("config/watchkeeper.toml", &configuration(&pager)),
        ("config/oncall.toml", ONCALL),
        ("rules/all.toml", RULES),
    ])
    .await;
    let url = daemon.url("");
    let amtool = |arguments: &[&str]| peer::amtool(&url, arguments);
    let silence = [
        "silence",
        "add",
        "service=checkout",
        "instance=~one|two",
        "severity!=none",
        "--comment=maint",
        "--author=ops",
        "--duration=1h",
    ];
    let id = amtool(&silence).trim().to_owned();
    peer::amtool_alert_add(&url, &ONE, &[peer::flag("start", now())]);
    peer::amtool_alert_add(&url, &OTHER, &[peer::flag("start", now())]);
    let muted = until_counted(&daemon, "checkout/HighErrorRate", 1, 0).await;
    assert_eq!(muted["muted"], true);
    assert_eq!(muted["muted_by"][0]["silence"], json!(id));

    let json_of = |arguments: &[&str]| -> Value {
        let said = amtool(arguments);
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("JSON: {said}"))
    };
    let names = |list: &Value| -> Vec<String> {
        let alerts = list.as_array().expect("a list").iter();
        let mut names: Vec<String> = alerts
            .map(|alert| alert["labels"]["alertname"].to_string())
            .collect();
        names.sort();
        names
    };
    let active = json_of(&["alert", "query", "-o", "json"]);
    assert_eq!(names(&active), ["\"DiskHalfFull\""]);
    let silenced = json_of(&["alert", "query", "--silenced", "-o", "json"]);
    assert_eq!(names(&silenced), ["\"HighErrorRate\""]);
    assert_eq!(silenced[0]["status"]["silencedBy"], json!([id]));
    let all = [
        "alert",
        "query",
        "--silenced",
        "--inhibited",
        "--active",
        "--unprocessed",
        "-o",
        "json",
    ];
    assert_eq!(json_of(&all).as_array().map(Vec::len), Some(2));
    let one = json_of(&["alert", "query", "-o", "json", "alertname=DiskHalfFull"]);
    assert_eq!(names(&one), ["\"DiskHalfFull\""]);
    let none = json_of(&[
        "alert",
        "query",
        "-o",
        "json",
        "--receiver=all",
        "severity=~\"crit.*\"",
    ]);
    assert_eq!(none, json!([]));
    for text in [
        vec!["alert", "query"],
        vec!["alert", "query", "-o", "extended"],
    ] {
        let said = amtool(&text);
        assert!(
            said.contains("DiskHalfFull") && !said.contains("HighErrorRate"),
            "{said}"
        );
    }

    let listed = json_of(&["silence", "query", "-o", "json"]);
    assert_eq!(listed[0]["comment"], "maint");
    assert_eq!(listed[0]["matchers"].as_array().map(Vec::len), Some(3));
    let within = ["silence", "query", "--created-by=ops", "--within=3h", "-q"];
    assert_eq!(amtool(&within).trim(), id);
    let updated = amtool(&["silence", "update", "-d", "3h", "--comment=upd", &id]);
    assert!(updated.contains("upd"), "{updated}");
    let of_ours = daemon.get(&format!("/api/v1/silences/{id}")).await;
    assert_eq!(of_ours["reason"], "upd");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let export = json!([{
        "comment": "imp", "createdBy": "ops",
        "startsAt": "2026-01-01T00:00:00.000Z", "endsAt": "2099-01-01T00:00:00.000Z",
        "matchers": [{ "isEqual": true, "isRegex": false, "name": "a", "value": "b" }],
    }]);
    std::fs::write(file.path(), export.to_string()).expect("a file");
    amtool(&["silence", "import", &file.path().display().to_string()]);
    assert_eq!(
        json_of(&["silence", "query", "-o", "json"])
            .as_array()
            .map(Vec::len),
        Some(2)
    );

    amtool(&["silence", "expire", &id]);
    until("the silence is over, and somebody is paged", async || {
        let incident = incident(&daemon, &json!(muted["number"])).await;
        let is_over = incident["muted"] == false && !pages(&pager).is_empty();
        is_over.then_some(()).ok_or(incident.to_string())
    })
    .await;
    let expired = json_of(&["silence", "query", "--expired", "-o", "json"]);
    assert_eq!(expired[0]["id"], json!(id));
    assert!(amtool(&["cluster", "show"]).contains("disabled"));
    assert!(amtool(&["config", "show"]).contains("watchkeeper"));
    assert!(amtool(&["config", "routes", "show"]).contains("watchkeeper"));
}
