//! Pages by webhook, against a receiver that answers by script.

use super::{KEY, SOON, channels, delivered, message, now, rejected, retry, unused};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use watchkeeper::domain::page::{ATTEMPT_TIMEOUT, Outcome, PageKind};
use watchkeeper::domain::secret::Secret;
use watchkeeper::pager::webhook::{sign, verify_signature};
use watchkeeper::pager::{ChannelSpec, Channels, Pager};

/// Long enough for a status to arrive on a busy machine; the rest of the answer never does.
const SECONDS: Duration = Duration::from_secs(2);

/// A receiver that remembers what it was sent and answers by script; when that is spent, with 200.
struct Receiver {
    at: SocketAddr,
    seen: Arc<Mutex<Vec<Request>>>,
    _server: JoinSet<()>,
}

#[derive(Clone, Debug)]
struct Request {
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

#[derive(Clone, Debug)]
enum Answer {
    With(u16, &'static [(&'static str, &'static str)], String),
    Never,
}

type Script = Arc<Mutex<VecDeque<Answer>>>;
type Seen = Arc<Mutex<Vec<Request>>>;

impl Receiver {
    async fn start(script: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let at = listener.local_addr().expect("an address");
        let seen = Seen::default();
        let script: Script = Arc::new(Mutex::new(script.iter().cloned().collect()));
        let app = Router::new()
            .fallback(answer)
            .with_state((script, Arc::clone(&seen)));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.expect("serving") });
        Self {
            at,
            seen,
            _server: server,
        }
    }

    fn url(&self, rest: &str) -> String {
        format!("http://{}{rest}", self.at)
    }

    fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("a lock").clone()
    }
}

async fn answer(
    State((script, seen)): State<(Script, Seen)>,
    target: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let target = target.to_string();
    seen.lock().expect("a lock").push(Request {
        target,
        headers,
        body,
    });
    let next = script.lock().expect("a lock").pop_front();
    match next {
        None => StatusCode::OK.into_response(),
        Some(Answer::Never) => std::future::pending().await,
        Some(Answer::With(status, headers, body)) => {
            let mut response = body.into_response();
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            for (name, value) in headers {
                response
                    .headers_mut()
                    .insert(*name, value.parse().expect("a value"));
            }
            response
        }
    }
}

fn hook(url: &str, secret: Option<&str>, timeout: Duration) -> Channels {
    channels(ChannelSpec::Webhook {
        url: Secret::new(url),
        secret: secret.map(Secret::new),
        timeout,
    })
}

#[tokio::test]
async fn a_page_is_posted_as_signed_json() {
    let receiver = Receiver::start(&[]).await;
    let channels = hook(&receiver.url("/hook?team=a"), Some(KEY), ATTEMPT_TIMEOUT);
    let outcome = channels.send(&message(), now()).await;
    assert_eq!(outcome, delivered("HTTP 200 OK"));

    let [request] = &receiver.seen()[..] else {
        panic!("one request is wanted: {:?}", receiver.seen());
    };
    let expected = r#"{"page_id":"inc-42/step-1/ana","kind":"page","incident":{"number":42,"title":"Checkout is \"down\"","severity":"SEV1","url":"https://wk.example/incidents/42","dedup_key":"checkout:eu","phase":"triage","first_step":"Roll back the last deploy","runbook":"https://runbooks.example/checkout","description":"5xx > 20 %\nsince 08:58"},"to":"ana","address":"Ana Ruiz <ana@example.org>","step":1,"attempt":2,"acknowledge_url":"https://wk.example/ack/42?sig=t0k3n-of-ana"}"#;
    assert_eq!(std::str::from_utf8(&request.body), Ok(expected));
    assert_eq!(request.target, "/hook?team=a");
    let header = |name: &str| request.headers[name].to_str().expect("text");
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("idempotency-key"), "inc-42/step-1/ana");
    assert_eq!(
        header("user-agent"),
        concat!("Watchkeeper/", env!("CARGO_PKG_VERSION"))
    );
    let signature = header("x-watchkeeper-signature");
    assert_eq!(
        signature,
        sign(&Secret::new(KEY), expected.as_bytes(), now())
    );
    assert!(signature.starts_with("t=1772442000,v1="), "{signature}");
    let tolerance = Duration::from_secs(300);
    assert_eq!(
        verify_signature(
            &Secret::new(KEY),
            signature,
            &request.body,
            now(),
            tolerance
        ),
        Ok(())
    );
}

#[tokio::test]
async fn what_is_absent_is_left_out_and_nothing_is_signed_without_a_secret() {
    let receiver = Receiver::start(&[]).await;
    let channels = hook(&receiver.url("/"), None, ATTEMPT_TIMEOUT);
    let mut update = message();
    update.kind = PageKind::Update;
    update.incident.description = None;
    update.incident.runbook = None;
    update.acknowledge_url = None;
    update.step = 0;
    update.note = Some("clear since 09:12".to_owned());
    assert_eq!(
        channels.send(&update, now()).await,
        delivered("HTTP 200 OK")
    );

    let request = &receiver.seen()[0];
    assert_eq!(
        std::str::from_utf8(&request.body),
        Ok(
            r#"{"page_id":"inc-42/step-1/ana","kind":"update","incident":{"number":42,"title":"Checkout is \"down\"","severity":"SEV1","url":"https://wk.example/incidents/42","dedup_key":"checkout:eu","phase":"triage","first_step":"Roll back the last deploy"},"to":"ana","address":"Ana Ruiz <ana@example.org>","step":0,"attempt":2,"note":"clear since 09:12"}"#
        )
    );
    assert!(!request.headers.contains_key("x-watchkeeper-signature"));
}

#[tokio::test]
async fn each_answer_has_its_outcome() {
    let with = |status, headers, body: &str| Answer::With(status, headers, body.to_owned());
    let rows = [
        (with(204, &[], ""), delivered("HTTP 204 No Content")),
        (with(202, &[], "ignored"), delivered("HTTP 202 Accepted")),
        (
            with(500, &[], ""),
            retry(None, "HTTP 500 Internal Server Error"),
        ),
        (
            with(503, &[("retry-after", "20")], "restarting\r\n"),
            retry(Some(20), "HTTP 503 Service Unavailable: restarting"),
        ),
        (
            with(429, &[("retry-after", "7")], "slow down"),
            retry(Some(7), "HTTP 429 Too Many Requests: slow down"),
        ),
        (
            with(429, &[("retry-after", "Mon, 02 Mar 2026 09:01:00 GMT")], ""),
            Outcome::Retry {
                after: Some(Duration::from_millis(59_750)),
                why: "HTTP 429 Too Many Requests".to_owned(),
            },
        ),
        (with(408, &[], ""), retry(None, "HTTP 408 Request Timeout")),
        (with(425, &[], ""), retry(None, "HTTP 425 Too Early")),
        (
            with(404, &[], "<h1>no such\thook</h1>\n\u{1b}[2J"),
            rejected("HTTP 404 Not Found: <h1>no such hook</h1> [2J"),
        ),
        (
            with(401, &[("retry-after", "5")], ""),
            rejected("HTTP 401 Unauthorized"),
        ),
        (
            with(
                302,
                &[("location", "/elsewhere?token=t0k3n-of-ana")],
                "moved",
            ),
            rejected("HTTP 302 Found: redirects are not followed"),
        ),
        (
            with(400, &[], &"x".repeat(20 * 1024 * 1024)),
            rejected(&format!("HTTP 400 Bad Request: {}…", "x".repeat(299))),
        ),
    ];
    let script: Vec<Answer> = rows.iter().map(|(answer, _)| answer.clone()).collect();
    let receiver = Receiver::start(&script).await;
    let channels = hook(&receiver.url("/hook"), Some(KEY), ATTEMPT_TIMEOUT);
    for (_, expected) in &rows {
        assert_eq!(&channels.send(&message(), now()).await, expected);
    }
    // Nobody followed the redirect.
    assert_eq!(receiver.seen().len(), rows.len());
}

#[tokio::test]
async fn a_receiver_that_never_answers_is_tried_again() {
    let receiver = Receiver::start(&[Answer::Never]).await;
    let channels = hook(&receiver.url("/"), None, SOON);
    assert_eq!(
        channels.send(&message(), now()).await,
        retry(None, "no answer within 0.3 s")
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_after_its_status_has_said_enough() {
    for (head, expected) in [
        ("HTTP/1.1 200 OK", delivered("HTTP 200 OK")),
        (
            "HTTP/1.1 404 Not Found",
            rejected("HTTP 404 Not Found: no such"),
        ),
        (
            "HTTP/1.1 502 Bad Gateway",
            retry(None, "HTTP 502 Bad Gateway: no such"),
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 64 * 1024];
            assert!(stream.read(&mut request).await.expect("a request") > 0);
            let answer = format!("{head}\r\nContent-Length: 100\r\n\r\nno such");
            stream.write_all(answer.as_bytes()).await.expect("written");
            std::future::pending::<()>().await;
        });
        let outcome = hook(&url, None, SECONDS).send(&message(), now()).await;
        assert_eq!(outcome, expected);
    }
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_tried_again_and_its_url_is_not_told() {
    let url = format!("http://user:passw0rd@{}/hook?key=s3cr3t", unused().await);
    let outcome = hook(&url, None, ATTEMPT_TIMEOUT)
        .send(&message(), now())
        .await;
    assert_eq!(
        outcome,
        retry(
            None,
            "error sending request: client error (Connect): tcp connect error: Connection refused (os error 111)"
        )
    );
}

#[tokio::test]
async fn a_receiver_that_repeats_secrets_does_not_bring_them_into_the_timeline() {
    let echo = "Cannot POST /services/T0000000/B0000000?key=k%2Bsecret with k+secret, \
                hook-signing-key, passw0rd; \
                {\"acknowledge_url\":\"https:\\/\\/wk.example\\/ack\\/42?sig=t0k3n-of-ana\"} T0000000";
    let receiver = Receiver::start(&[Answer::With(403, &[], echo.to_owned())]).await;
    let url = format!(
        "http://user:passw0rd@{}/services/T0000000/B0000000?key=k%2Bsecret",
        receiver.at
    );
    assert_eq!(
        hook(&url, Some(KEY), ATTEMPT_TIMEOUT)
            .send(&message(), now())
            .await,
        rejected(
            "HTTP 403 Forbidden: Cannot POST [hidden]?[hidden] with [hidden], [hidden], [hidden]; \
             {\"acknowledge_url\":\"https:\\/\\/wk.example\\/ack\\/42?[hidden]\"} [hidden]"
        )
    );
}

#[tokio::test]
async fn a_page_id_that_is_no_header_value_sends_nothing() {
    let receiver = Receiver::start(&[]).await;
    let mut message = message();
    message.page_id = "p\r\nX-Role: admin".to_owned();
    assert_eq!(
        hook(&receiver.url("/"), None, ATTEMPT_TIMEOUT)
            .send(&message, now())
            .await,
        rejected("page id \"p\\r\\nX-Role: admin\" cannot stand in a header")
    );
    assert_eq!(receiver.seen().len(), 0);
}

#[tokio::test]
async fn a_long_description_is_cut() {
    let receiver = Receiver::start(&[]).await;
    let mut message = message();
    message.incident.description = Some("ä".repeat(1_000_000));
    let channels = hook(&receiver.url("/"), None, ATTEMPT_TIMEOUT);
    assert_eq!(
        channels.send(&message, now()).await,
        delivered("HTTP 200 OK")
    );
    let body: serde_json::Value = serde_json::from_slice(&receiver.seen()[0].body).expect("JSON");
    let description = body["incident"]["description"].as_str().expect("text");
    assert_eq!(description, format!("{}…", "ä".repeat(3_999)));
}
