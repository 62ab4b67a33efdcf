//! The channels against real receivers: what arrives byte by byte, and what each answer means.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use watchkeeper::domain::page::{ATTEMPT_TIMEOUT, Message, Outcome, PageKind, Subject};
use watchkeeper::domain::secret::Secret;
use watchkeeper::domain::time::Timestamp;
use watchkeeper::pager::{ChannelSpec, Channels, Pager, Tls};

mod email;
mod webhook;

const KEY: &str = "hook-signing-key";
/// For those that never answer.
const SOON: Duration = Duration::from_millis(300);

fn now() -> Timestamp {
    "2026-03-02T09:00:00.250Z".parse().expect("an instant")
}

fn message() -> Message {
    Message {
        page_id: "inc-42/step-1/ana".to_owned(),
        kind: PageKind::Page,
        incident: Subject {
            number: 42,
            title: "Checkout is \"down\"".to_owned(),
            severity: "SEV1".to_owned(),
            url: "https://wk.example/incidents/42".to_owned(),
            dedup_key: Some("checkout:eu".to_owned()),
            phase: "triage".to_owned(),
            description: Some("5xx > 20 %\nsince 08:58".to_owned()),
            runbook: Some("https://runbooks.example/checkout".to_owned()),
            first_step: "Roll back the last deploy".to_owned(),
        },
        to: "ana".to_owned(),
        channel: "it".to_owned(),
        address: "Ana Ruiz <ana@example.org>".to_owned(),
        step: 1,
        attempt: 2,
        acknowledge_url: Some("https://wk.example/ack/42?sig=t0k3n-of-ana".to_owned()),
        note: None,
    }
}

fn channels(spec: ChannelSpec) -> Channels {
    // Another test may have installed it already.
    drop(rustls::crypto::ring::default_provider().install_default());
    Channels::build(BTreeMap::from([("it".to_owned(), spec)])).expect("a channel")
}

fn delivered(detail: &str) -> Outcome {
    Outcome::Delivered {
        detail: detail.to_owned(),
    }
}

fn retry(after_s: Option<u64>, why: &str) -> Outcome {
    Outcome::Retry {
        after: after_s.map(Duration::from_secs),
        why: why.to_owned(),
    }
}

fn rejected(why: &str) -> Outcome {
    Outcome::Rejected {
        why: why.to_owned(),
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("a lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_page_by_log_is_one_line_without_the_link_that_acknowledges() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .without_time()
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let mut message = message();
    message.incident.title = "down\nINFO all is well".to_owned();
    let outcome = channels(ChannelSpec::Log).send(&message, now()).await;
    drop(guard);

    assert_eq!(outcome, delivered("written to the log"));
    let written = String::from_utf8(lines.0.lock().expect("a lock").clone()).expect("text");
    assert_eq!(written.lines().count(), 1, "{written}");
    let line: serde_json::Value = serde_json::from_str(&written).expect("JSON");
    assert_eq!(
        line,
        serde_json::json!({
            "level": "INFO",
            "target": "watchkeeper::page",
            "fields": {
                "message": "page for ana: [SEV1] #42 down INFO all is well",
                "page.id": "inc-42/step-1/ana",
                "page.kind": "page",
                "incident.id": 42,
                "severity": "SEV1",
                "phase": "triage",
                "to": "ana",
                "address": "Ana Ruiz <ana@example.org>",
                "step": 1,
                "attempt": 2,
                "first_step": "Roll back the last deploy",
                "runbook": "https://runbooks.example/checkout",
                "url": "https://wk.example/incidents/42",
                "note": "",
            },
        })
    );
}

#[tokio::test]
async fn a_channel_that_nobody_configured_rejects() {
    let mut message = message();
    message.channel = "pigeon".to_owned();
    assert_eq!(
        channels(ChannelSpec::Log).send(&message, now()).await,
        rejected("channel \"pigeon\" is not configured")
    );
}

#[test]
fn a_channel_that_cannot_work_is_refused_at_once() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let webhook = |url: &str| ChannelSpec::Webhook {
        url: Secret::new(url),
        secret: None,
        timeout: ATTEMPT_TIMEOUT,
    };
    let email =
        |user: Option<&str>, password: Option<&str>, from: &str, implicit_tls| ChannelSpec::Email {
            host: "mail.example".to_owned(),
            port: 465,
            user: user.map(str::to_owned),
            password: password.map(Secret::new),
            from: from.to_owned(),
            tls: Tls::None,
            implicit_tls,
            timeout: ATTEMPT_TIMEOUT,
        };
    let from = "watch@example.net";
    for (spec, expected) in [
        (
            webhook("ftp://user:passw0rd@example.org/"),
            "channel \"it\": url: an http or https URL is wanted, found scheme \"ftp\"",
        ),
        (
            webhook("example.org/hook"),
            "channel \"it\": url: an http or https URL is wanted: relative URL without a base",
        ),
        (
            email(Some("watch"), None, from, false),
            "channel \"it\": a password is wanted for the user \"watch\"",
        ),
        (
            email(None, Some("passw0rd"), from, false),
            "channel \"it\": a user is wanted for the password",
        ),
        (
            email(None, None, from, true),
            "channel \"it\": smtps is TLS from the first byte, and tls = \"none\" forbids it",
        ),
        (
            email(None, None, "Watchkeeper", false),
            "channel \"it\": from: an address such as \"Watchkeeper <watch@example.org>\" is wanted, found \"Watchkeeper\"",
        ),
    ] {
        let error = Channels::build(BTreeMap::from([("it".to_owned(), spec)])).expect_err("built");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn what_is_printed_of_a_channel_holds_no_secret() {
    let hook = ChannelSpec::Webhook {
        url: Secret::new("https://user:passw0rd@chat.example/services/T0000000?key=s3cr3t"),
        secret: Some(Secret::new(KEY)),
        timeout: ATTEMPT_TIMEOUT,
    };
    let spec = format!("{hook:?}");
    let built = format!("{:?}", channels(hook));
    assert_eq!(
        spec,
        "Webhook { url: Secret(..), secret: Some(Secret(..)), timeout: 10s }"
    );
    assert_eq!(
        built,
        "Channels({\"it\": Webhook { host: Some(\"chat.example\"), .. }})"
    );
}

/// An address where nobody listens.
async fn unused() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address")
}
