//! The gate before sources: rates, wrong credentials from one address, signatures of another time, and what senders of events ask first.

use crate::api::{Answer, Api, access, access_with_source, alerts};
use crate::daemon::{Home, firing};
use crate::world::{book, rules};
use axum::http::Method;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::sync::Arc;
use std::time::Duration;
use watchkeeper::domain::secret::Secret;
use watchkeeper::domain::signature::{Algorithm, Encoding, Freshness, Scheme, WITHIN, pieces};
use watchkeeper::domain::source::{Kind, Rate};
use watchkeeper::http::auth::{Access, Credential, Source};

fn with(access: Access) -> Api {
    Api::with(access, book(&[("ana", 5)]), rules(|_| {}))
}

fn a_minute(requests: u32) -> Option<Rate> {
    Some(Rate {
        requests,
        within: Duration::from_secs(60),
    })
}

/// A source `prod` of this kind that wants the token `s3cret`, no more often than that.
fn limited(kind: Kind, rate: Option<Rate>) -> Access {
    let mut access = access();
    access.sources.remove(kind.as_str());
    let credentials = vec![Credential::Bearer(Secret::new("s3cret"))];
    let source = Source::new(kind, credentials).at_most(rate);
    access.sources.insert("prod".to_owned(), Arc::new(source));
    access
}

fn sends(api: &mut Api, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let body = alerts(&[("Down", "firing")]).to_string();
    api.send(
        Method::POST,
        "/hooks/prod",
        &[("authorization", &bearer)],
        body,
    )
}

fn n_received(api: &mut Api) -> Value {
    api.get("/api/v1/alerts").at("/alerts/0/received")
}

#[test]
fn what_is_more_than_a_source_may_send_is_503_and_leaves_nothing() {
    let mut api = with(limited(Kind::Alertmanager, a_minute(3)));
    // Whoever has not its credentials uses nothing up.
    for _ in 0..5 {
        assert_eq!(sends(&mut api, "wrong").status, 401);
    }
    for _ in 0..3 {
        assert_eq!(sends(&mut api, "s3cret").status, 200);
    }
    let refused = sends(&mut api, "s3cret");
    assert_eq!(
        refused.problem(),
        "503 more than 3 requests in 1m came for \"prod\"; try again after 20s"
    );
    assert_eq!(refused.header("retry-after"), "20");
    assert_eq!(n_received(&mut api), 3);
    assert_eq!(
        api.get("/api/v1/dead-letters").at("/dead_letters"),
        json!([])
    );
    let counted = api.get("/metrics").text;
    assert!(
        counted.contains("watchkeeper_rate_limited_total{source=\"prod\"}"),
        "{counted}"
    );
    assert_eq!(
        api.post(
            "/hooks/check",
            &json!({ "version": "1", "source": "s", "checks": [] })
        )
        .status,
        200
    );

    api.advance(Duration::from_secs(19));
    assert_eq!(sends(&mut api, "s3cret").header("retry-after"), "1");
    api.advance(Duration::from_secs(1));
    assert_eq!(sends(&mut api, "s3cret").status, 200);
    assert_eq!(sends(&mut api, "s3cret").status, 503);
    api.advance(Duration::from_secs(60));
    let statuses: Vec<u16> = (0..4).map(|_| sends(&mut api, "s3cret").status).collect();
    assert_eq!(statuses, [200, 200, 200, 503]);
}

#[test]
fn a_rate_holds_for_the_addresses_of_vendors_too() {
    let mut api = with(limited(Kind::Pagerduty, a_minute(1)));
    let event = json!({ "routing_key": "s3cret", "event_action": "resolve", "dedup_key": "k" });
    assert_eq!(api.post("/v2/enqueue", &event).status, 202);
    let refused = api.post("/v2/enqueue", &event);
    assert_eq!((refused.status, refused.header("retry-after")), (503, "60"));
    let mut api = with(limited(Kind::Opsgenie, a_minute(1)));
    let key = [("authorization", "GenieKey s3cret")];
    assert_eq!(api.send(Method::GET, "/v2/alerts", &key, "").status, 200);
    let refused = api.send(Method::POST, "/v2/alerts", &key, r#"{"message":"m"}"#);
    assert_eq!((refused.status, refused.header("retry-after")), (503, "60"));
}

#[test]
fn from_where_too_many_wrong_credentials_come_nothing_more_is_looked_at() {
    let mut api = with(limited(Kind::Alertmanager, None));
    for n in 1..=21 {
        assert_eq!(sends(&mut api, "wrong").status, 401, "{n}");
    }
    let shut = "503 too many wrong credentials came from this address; try again after 3s";
    for token in ["wrong", "s3cret"] {
        let refused = sends(&mut api, token);
        assert_eq!(refused.problem(), shut);
        assert_eq!(refused.header("retry-after"), "3");
    }
    api.peer = [192, 0, 2, 2].into();
    assert_eq!(sends(&mut api, "s3cret").status, 200, "from elsewhere");
    api.peer = [192, 0, 2, 1].into();
    api.advance(Duration::from_secs(3));
    assert_eq!(sends(&mut api, "s3cret").status, 200);

    // All addresses of one network of IPv6 are whoever has it.
    for n in 1..=21 {
        api.peer = [0x2001, 0xdb8, 0, 1, n, n, n, n].into();
        assert_eq!(sends(&mut api, "wrong").status, 401, "{n}");
    }
    assert_eq!(sends(&mut api, "s3cret").problem(), shut);
    api.peer = [0x2001, 0xdb8, 0, 2, 1, 1, 1, 1].into();
    assert_eq!(sends(&mut api, "s3cret").status, 200);
    // A proxy speaks for many.
    api.peer = [10, 0, 0, 1].into();
    for _ in 0..30 {
        assert_eq!(sends(&mut api, "wrong").status, 401);
    }
    assert_eq!(sends(&mut api, "s3cret").status, 200);
}

#[test]
fn whoever_has_the_secret_and_another_time_is_told_so() {
    let scheme = Scheme {
        header: "x-signature".to_owned(),
        prefix: String::new(),
        encoding: Encoding::Hex,
        algorithm: Algorithm::Sha256,
        signed: pieces("{x-time}.{body}").expect("pieces"),
        timestamp: Some(Freshness {
            header: "x-time".to_owned(),
            within: WITHIN,
        }),
    };
    let secret = Secret::new("s3cr3t");
    let mut api = with(access_with_source(
        "prod",
        vec![Credential::Signature { scheme, secret }],
    ));
    let body = alerts(&[("Down", "firing")]).to_string();
    let mut signs = |secret: &str, seconds: i64| {
        let time = (1_772_442_000 + seconds).to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key");
        mac.update(format!("{time}.{body}").as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());
        let headers = [("x-signature", signature.as_str()), ("x-time", &time)];
        api.send(Method::POST, "/hooks/prod", &headers, body.clone())
    };
    assert_eq!(signs("s3cr3t", -300).status, 200);
    assert_eq!(signs("s3cr3t", 300).status, 200);
    assert_eq!(
        signs("s3cr3t", -301).problem(),
        "401 the signature for \"prod\" is right, but its time is 5m1s behind ours, and at most 5m off is taken"
    );
    assert_eq!(
        signs("s3cr3t", 3600).problem(),
        "401 the signature for \"prod\" is right, but its time is 1h ahead of ours, and at most 5m off is taken"
    );
    let unknown = "401 wrong or missing credentials for \"prod\"";
    assert_eq!(signs("wrong", -301).problem(), unknown);
    assert_eq!(signs("wrong", 0).problem(), unknown);
}

#[test]
fn a_sender_of_events_that_asks_first_is_told_that_it_may_and_how_often() {
    let ask = |api: &mut Api, path: &str, headers: &[(&str, &str)]| {
        let answer = api.send(Method::OPTIONS, path, headers, "");
        let shown = ["allow", "webhook-allowed-origin", "webhook-allowed-rate"];
        let shown = shown.map(|name| answer.header(name).to_owned());
        (answer.status, shown.join(" "))
    };
    let origin = [
        ("webhook-request-origin", "eventemitter.example.com"),
        ("webhook-request-rate", "120"),
        ("webhook-request-callback", "https://192.0.2.9/confirm"),
    ];
    let mut api = Api::new();
    assert_eq!(
        ask(&mut api, "/hooks/cloudevents", &origin),
        (200, "POST eventemitter.example.com *".to_owned())
    );
    let refused = (405, "POST  ".to_owned());
    assert_eq!(
        ask(&mut api, "/hooks/cloudevents", &[]),
        refused,
        "it asks nothing"
    );
    assert_eq!(ask(&mut api, "/hooks/alertmanager", &origin), refused);
    assert_eq!(ask(&mut api, "/hooks/none", &origin).0, 404);
    let rates = [
        (a_minute(90), "90"),
        (
            Some(Rate {
                requests: 5,
                within: Duration::from_secs(3600),
            }),
            "1",
        ),
    ];
    for (rate, told) in rates {
        let mut api = with(limited(Kind::Cloudevents, rate));
        assert_eq!(
            ask(&mut api, "/hooks/prod", &origin),
            (200, format!("POST eventemitter.example.com {told}"))
        );
    }
}

#[tokio::test]
async fn behind_a_proxy_of_this_machine_each_client_counts_for_itself_and_the_log_says_it_once() {
    let home = Home::new();
    let config = std::fs::read_to_string(home.config().join("watchkeeper.toml")).expect("a file");
    let source = "[sources.prod]\nkind = \"alertmanager\"\nauth = { bearer = \"s3cret\" }\n\
                  rate = { requests = 2, within = \"1h\" }\n";
    home.write("watchkeeper.toml", &format!("{config}{source}"));
    let daemon = home.serve().await;
    let post = async |token: &str, client: &str| {
        let asked = daemon
            .client()
            .post(format!("{}/hooks/prod", daemon.url))
            .bearer_auth(token)
            .header("x-forwarded-for", client)
            .json(&firing("Down"));
        let answer = asked.send().await.expect("it answers");
        let after = answer.headers().get("retry-after").cloned();
        (answer.status().as_u16(), after.is_some())
    };
    for _ in 0..21 {
        assert_eq!(post("wr0ng", "198.51.100.7").await, (401, false));
    }
    assert_eq!(post("s3cret", "198.51.100.7").await, (503, true));
    for expected in [(200, false), (200, false), (503, true)] {
        assert_eq!(post("s3cret", "198.51.100.8").await, expected);
    }
    let logged = daemon
        .says("wrong or missing credentials: they are wrong")
        .await;
    assert!(logged.contains("source=\"prod\""), "{logged}");
    assert!(logged.contains("client=\"198.51.100.7\""), "{logged}");
    let log = daemon.log();
    assert_eq!(
        log.matches("wrong or missing credentials").count(),
        1,
        "{log}"
    );
    assert!(!log.contains("wr0ng") && !log.contains("s3cret"), "{log}");
    let metrics = daemon.metrics().await;
    assert!(
        metrics.contains("watchkeeper_unauthorized_total{source=\"prod\"} 21"),
        "{metrics}"
    );
    assert!(
        metrics.contains("watchkeeper_rate_limited_total{source=\"prod\"} 2"),
        "{metrics}"
    );
}
