//! Senders whose JSON is mapped, over HTTP: what they are answered, how they show themselves, what is confirmed for them.

use crate::api::{Answer, Api, access};
use crate::daemon::{Daemon, Home, Receiver, Reply, answer};
use crate::world::{book, rules};
use axum::http::Method;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use watchkeeper::config::mappings::ready;
use watchkeeper::domain::confirmation::{HostPattern, Unconfirmed};
use watchkeeper::domain::secret::Secret;
use watchkeeper::domain::source::Kind;
use watchkeeper::http::auth::{Credential, Source};
use watchkeeper::outbound::Outbound;

fn payload(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/payloads");
    std::fs::read_to_string(folder.join(name)).expect("the fixture is there")
}

/// The program in memory, with a source of this name by the ready mapping of the name.
fn api(mapping: &str, credentials: Vec<Credential>) -> Api {
    let mut access = access();
    let ready = ready(mapping).expect("it is ready");
    let hosts = ready.confirm_hosts.clone();
    let source = Source::new(Kind::Mapped, credentials).mapped(Some(Arc::new(ready)), hosts);
    access.sources.insert(mapping.to_owned(), Arc::new(source));
    Api::with(access, book(&[("ana", 5)]), rules(|_| {}))
}

fn posts(api: &mut Api, mapping: &str, name: &str) -> Answer {
    let body = payload(&format!("{name}.json"));
    let headers = [("content-type", "text/plain; charset=UTF-8")];
    api.send(Method::POST, &format!("/hooks/{mapping}"), &headers, body)
}

fn counts(answer: &Answer) -> (Value, Value, Value, Value, Value) {
    let at = |name: &str| answer.at(&format!("/{name}"));
    (
        at("received"),
        at("accepted"),
        at("rejected"),
        at("opened"),
        at("joined"),
    )
}

#[test]
fn what_fires_opens_what_repeats_joins_and_what_recovers_resolves() {
    for (mapping, fires, repeats, recovers) in [
        (
            "datadog",
            "datadog/triggered",
            "datadog/renotify",
            "datadog/recovered",
        ),
        (
            "datadog",
            "datadog/no_data",
            "datadog/warn",
            "datadog/recovered",
        ),
        (
            "sentry",
            "sentry/metric_alert_critical_DERIVED",
            "sentry/metric_alert_critical_DERIVED",
            "sentry/metric_alert_resolved",
        ),
        (
            "uptime-kuma",
            "uptime-kuma/down_json",
            "uptime-kuma/down_json",
            "uptime-kuma/up_json",
        ),
        (
            "sns",
            "aws-sns-cloudwatch/notification_alarm",
            "aws-sns-cloudwatch/raw_message_delivery_alarm",
            "aws-sns-cloudwatch/notification_ok",
        ),
        (
            "zabbix",
            "zabbix/problem",
            "zabbix/problem",
            "zabbix/recovery",
        ),
    ] {
        let mut api = api(mapping, vec![Credential::Open]);
        let one = |opened: Value, joined: Value| (json!(1), json!(1), json!(0), opened, joined);
        let fired = posts(&mut api, mapping, fires);
        assert_eq!(counts(&fired), one(json!([1]), json!([])), "{fires}");
        let repeated = posts(&mut api, mapping, repeats);
        assert_eq!(counts(&repeated), one(json!([]), json!([1])), "{repeats}");
        let recovered = posts(&mut api, mapping, recovers);
        assert_eq!(counts(&recovered), one(json!([]), json!([1])), "{recovers}");
        let incident = api.get("/api/v1/incidents/1");
        assert_eq!(
            incident.at("/alerts"),
            json!({ "firing": 0, "resolved": 1, "stale": 0, "received": 2 }),
            "{mapping}"
        );
        assert_eq!(
            api.simulation.sent().len(),
            2,
            "a page, and that it is clear"
        );
    }
}

#[test]
fn what_zabbix_says_is_acknowledged_is_so_in_its_name() {
    let mut api = api("zabbix", vec![Credential::Open]);
    posts(&mut api, "zabbix", "zabbix/problem");
    assert_eq!(
        api.get("/api/v1/incidents/1").at("/acknowledged_by"),
        Value::Null
    );
    let update = posts(&mut api, "zabbix", "zabbix/update_ack");
    assert_eq!(
        counts(&update),
        (json!(1), json!(1), json!(0), json!([]), json!([1]))
    );
    assert_eq!(
        api.get("/api/v1/incidents/1").at("/acknowledged_by"),
        "zabbix"
    );
}

#[test]
fn what_cannot_be_mapped_is_a_dead_letter_with_its_place() {
    let mut api = api("datadog", vec![Credential::Open]);
    let refused = posts(&mut api, "datadog", "datadog/default_payload_no_transition");
    let reason = "status: one of No Data, Null, Re-No Data, Re-Triggered, Re-Warn, Recovered, Renotify, Triggered, Warn is wanted, \
        found nothing";
    assert_eq!(
        refused.problem(),
        format!("400 $.alert_transition: {reason}")
    );
    let letters = api.get("/api/v1/dead-letters");
    assert_eq!(letters.each("dead_letters", "path"), ["$.alert_transition"]);
    assert_eq!(letters.each("dead_letters", "reason"), [reason]);
    let ignored = api.post("/hooks/datadog", &json!({ "alert_transition": "Null" }));
    let nothing =
        json!({ "received": 0, "accepted": 0, "rejected": 0, "opened": [], "joined": [] });
    assert_eq!((ignored.status, ignored.json()), (200, nothing));
    let unmapped = api.post("/hooks/mapped", &json!({}));
    assert_eq!(
        unmapped.problem(),
        "400 $: this source has no mapping: name one in its [sources.NAME], as mapping = \"…\""
    );
}

#[test]
fn only_what_is_mapped_is_told_by_an_address_alone() {
    let recorded: Value =
        serde_json::from_str(&payload("uptime-kuma/down_get_query.http.json")).expect("JSON");
    let sent = recorded["path"].as_str().expect("a path");
    let (_, query) = sent.split_once('?').expect("a query");
    // As it goes over the wire: brackets and blanks are no part of an address.
    let query = query.replace('[', "%5B").replace(']', "%5D");
    let mut api = api(
        "uptime-kuma",
        vec![Credential::Query {
            name: "token".to_owned(),
            value: Secret::new("s3cret"),
        }],
    );
    let path = format!("/hooks/uptime-kuma?{query}");
    assert_eq!(api.get(&path).status, 401);
    let answer = api.get(&format!("{path}&token=s3cret"));
    assert_eq!(answer.at("/opened"), json!([1]), "{}", answer.text);
    let kuma = "/hooks/uptime-kuma?token=s3cret";
    for (method, path, allowed) in [
        (Method::GET, "/hooks/alertmanager", "POST"),
        (Method::GET, "/hooks/mapped", "POST"),
        (Method::HEAD, kuma, "GET,POST"),
        (Method::OPTIONS, kuma, "GET,POST"),
        (Method::PUT, kuma, "POST,GET,HEAD,OPTIONS"),
    ] {
        let refused = api.send(method, path, &[], "");
        assert_eq!(
            (refused.status, refused.header("allow")),
            (405, allowed),
            "{path}"
        );
    }
}

#[test]
fn a_form_of_uptime_kuma_is_its_body() {
    let recorded: Value =
        serde_json::from_str(&payload("uptime-kuma/down_multipart_form.http.json")).expect("JSON");
    let kind = "multipart/form-data; boundary=--------------------------37c27b5125b0ea3002132701";
    let body = recorded["body_text"].as_str().expect("a text").to_owned();
    let mut api = api("uptime-kuma", vec![Credential::Open]);
    let answer = api.send(
        Method::POST,
        "/hooks/uptime-kuma",
        &[("content-type", kind)],
        body,
    );
    assert_eq!(answer.at("/opened"), json!([1]), "{}", answer.text);
    let alerts = api.get("/api/v1/alerts");
    assert_eq!(
        alerts.each("alerts", "labels"),
        [json!({ "alertname": "monitor-7", "tool": "uptime-kuma" })]
    );
}

/// A home with these lines in its configuration.
fn home(lines: &str) -> Home {
    Home::with(
        lines,
        "[people.ana]\nnotify = [{ channel = \"log\", address = \"ana\" }]\n\
         [policies.default]\nsteps = [{ targets = [\"person:ana\"], timeout = \"1h\" }]\n",
    )
}

async fn sends(daemon: &Daemon, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let mut asked = daemon.client().post(format!("{}{path}", daemon.url));
    for (name, value) in headers {
        asked = asked.header(*name, *value);
    }
    answer(asked.body(body.to_owned()))
        .await
        .expect("it answers")
}

#[tokio::test]
async fn sentry_signs_with_its_secret_in_its_own_header() {
    let home = home(
        "[sources.sentry]\nkind = \"mapped\"\nmapping = \"sentry\"\nauth = { hmac = { secret = \"cl13nt\" } }\n",
    );
    let daemon = home.serve().await;
    let body = payload("sentry/issue_alert_triggered.json");
    let mut mac = Hmac::<Sha256>::new_from_slice(b"cl13nt").expect("any key");
    mac.update(body.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let signed = [
        ("sentry-hook-resource", "event_alert"),
        ("sentry-hook-signature", signature.as_str()),
    ];
    let (status, said) = sends(&daemon, "/hooks/sentry", &signed, &body).await;
    assert_eq!((status, &said["opened"]), (200, &json!([1])), "{said}");
    let spoilt = body.replace("heck", "hack");
    assert_eq!(
        sends(&daemon, "/hooks/sentry", &signed, &spoilt).await.0,
        401
    );
    assert_eq!(sends(&daemon, "/hooks/sentry", &[], &body).await.0, 401);
    let (_, incident) = daemon.get("/api/v1/incidents/1").await;
    assert_eq!(incident["title"], "ReferenceError: heck is not defined");
}

#[tokio::test]
async fn a_mapping_sees_no_secret_of_its_sender() {
    let home = home(
        r#"
[sources.own]
kind = "mapped"
mapping = "own"
auth = [{ query = { value = "s3cret-1" } }, { header = { name = "X-Key", value = "s3cret-2" } }, { bearer = "s3cret-3" }]
[mappings.own]
status = "firing"
[mappings.own.labels]
alertname = "{{ query.token }}{{ headers['x-key'] }}{{ headers.authorization }}{{ headers.cookie }}{{ query.team }}"
all = "{{ headers }}"
"#,
    );
    let daemon = home.serve().await;
    let sent = [("x-key", "s3cret-2"), ("cookie", "s3cret-4")];
    let (status, said) = sends(&daemon, "/hooks/own?token=s3cret-1&team=web", &sent, "{}").await;
    assert_eq!(status, 200, "{said}");
    let bearer = [("authorization", "Bearer s3cret-3")];
    assert_eq!(
        sends(&daemon, "/hooks/own?team=web", &bearer, "{}").await.0,
        200
    );
    let alerts = daemon.list("alerts").await;
    assert!(!alerts.is_empty());
    for alert in &alerts {
        assert_eq!(alert["labels"]["alertname"], "web");
        assert!(!alert.to_string().contains("s3cret"), "{alert}");
    }
}

/// What SNS sends for its subscription to be confirmed here.
fn confirmation(url: &str) -> String {
    let mut body: Value = serde_json::from_str(&payload(
        "aws-sns-cloudwatch/subscription_confirmation.json",
    ))
    .expect("JSON");
    body["SubscribeURL"] = json!(url);
    body.to_string()
}

fn subscribed(hosts: &str) -> Home {
    home(&format!(
        "[sources.aws]\nkind = \"mapped\"\nmapping = \"sns\"\n{hosts}\n[sources.closed]\nkind = \"mapped\"\nmapping = \"sns\"\n\
         auth = {{ bearer = \"topsecret\" }}\n"
    ))
}

/// `127.0.0.1:1234` of an address.
fn host(url: &str) -> String {
    let host = url.trim_start_matches("http://");
    host.split('/').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_subscription_is_confirmed_where_that_is_allowed() {
    let amazon = Receiver::start().await;
    let home = subscribed(&format!("confirm_hosts = [\"{}\"]", host(&amazon.url)));
    let daemon = home.serve().await;
    let url = format!("{}?Action=ConfirmSubscription&Token=t0ken", amazon.url);
    let asks = [
        ("content-type", "text/plain; charset=UTF-8"),
        ("x-amz-sns-message-type", "SubscriptionConfirmation"),
    ];
    let (status, said) = sends(&daemon, "/hooks/aws", &asks, &confirmation(&url)).await;
    let nothing =
        json!({ "received": 0, "accepted": 0, "rejected": 0, "opened": [], "joined": [] });
    assert_eq!((status, said), (200, nothing));
    assert_eq!(amazon.got().len(), 1);
    daemon.says("a subscription was confirmed").await;
    // Without credentials nothing is asked, nor from a host that is not named.
    let (status, _) = sends(&daemon, "/hooks/closed", &asks, &confirmation(&url)).await;
    assert_eq!(status, 401);
    let elsewhere = "http://127.0.0.1:1/?Token=t0ken";
    let (status, problem) = sends(&daemon, "/hooks/aws", &asks, &confirmation(elsewhere)).await;
    assert_eq!(
        (status, &problem["path"], &problem["detail"]),
        (
            400,
            &json!("$.SubscribeURL"),
            &json!(format!(
                "host \"127.0.0.1:1\" is not asked: allowed are {}",
                host(&amazon.url)
            ))
        )
    );
    assert_eq!(amazon.got().len(), 1);
    let (_, letters) = daemon.get("/api/v1/dead-letters").await;
    assert_eq!(letters["dead_letters"][0]["path"], "$.SubscribeURL");
}

#[tokio::test]
async fn a_subscription_that_could_not_be_confirmed_is_asked_for_again() {
    let amazon = Receiver::answering(|_body| Reply::Status(302)).await;
    let home = subscribed(&format!("confirm_hosts = [\"{}\"]", host(&amazon.url)));
    let daemon = home.serve().await;
    let (status, problem) = sends(&daemon, "/hooks/aws", &[], &confirmation(&amazon.url)).await;
    assert_eq!(
        (status, &problem["detail"]),
        (
            503,
            &json!(
                "the subscription could not be confirmed: HTTP 302 Found: redirects are not followed"
            )
        )
    );
    let (_, letters) = daemon.get("/api/v1/dead-letters").await;
    assert_eq!(letters["dead_letters"], json!([]));
    assert!(!daemon.log().contains("t0ken"));
}

#[tokio::test]
async fn by_default_only_amazon_is_asked_and_the_end_of_a_subscription_is_told() {
    let home = subscribed("");
    let daemon = home.serve().await;
    for url in [
        "https://sns.evil.example/",
        "https://sns.eu-west-2.amazonaws.com.evil.example/",
        "http://sns.eu-west-2.amazonaws.com/",
        "file:///etc/passwd",
        "nonsense",
    ] {
        let (status, problem) = sends(&daemon, "/hooks/aws", &[], &confirmation(url)).await;
        assert_eq!(
            (status, &problem["path"]),
            (400, &json!("$.SubscribeURL")),
            "{url}"
        );
    }
    let (_, letters) = daemon.get("/api/v1/dead-letters").await;
    assert_eq!(letters["dead_letters"].as_array().map(Vec::len), Some(5));
    let ended = json!({ "Type": "UnsubscribeConfirmation", "TopicArn": "arn:aws:sns:eu-west-2:1:t", "Message": "m", "SubscribeURL": "https://x" });
    let (status, said) = sends(&daemon, "/hooks/aws", &[], &ended.to_string()).await;
    assert_eq!((status, &said["received"]), (200, &json!(0)), "{said}");
    daemon
        .says("SNS says that the subscription to arn:aws:sns:eu-west-2:1:t was ended")
        .await;
}

#[tokio::test]
async fn whoever_hangs_is_not_waited_for_and_nobody_is_believed_but_a_2xx() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let confirm = async |receiver: &Receiver| {
        let hosts: Vec<HostPattern> = vec![host(&receiver.url).parse().expect("a host")];
        let outbound = Outbound::new(Duration::from_millis(200)).expect("a client");
        outbound.confirm(&receiver.url, &hosts).await
    };
    let hangs = Receiver::answering(|_body| Reply::Hang).await;
    assert!(matches!(confirm(&hangs).await, Err(Unconfirmed::Failed(_))));
    let refuses = Receiver::answering(|_body| Reply::Status(404)).await;
    assert_eq!(
        confirm(&refuses).await,
        Err(Unconfirmed::Failed("HTTP 404 Not Found".to_owned()))
    );
    let takes = Receiver::start().await;
    assert_eq!(confirm(&takes).await, Ok(()));
    let outbound = Outbound::new(Duration::from_millis(200)).expect("a client");
    let with_password = takes.url.replace("http://", "http://user:pa@");
    let hosts: Vec<HostPattern> = vec![host(&takes.url).parse().expect("a host")];
    assert_eq!(
        outbound.confirm(&with_password, &hosts).await,
        Err(Unconfirmed::NotAllowed(
            "an address without user and password is wanted".to_owned()
        ))
    );
    assert_eq!(takes.got().len(), 1);
}
