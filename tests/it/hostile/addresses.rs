//! The same three bodies at every address that takes what senders post: one without end, one that is without end when it is
//! unpacked, and one nested without end.

use super::{GROWTH_BYTES, PATIENCE, assert_serves, connect, rest_of};
use crate::daemon::{Daemon, Home};
use std::process::Command;
use tokio::io::AsyncWriteExt;

/// 100 MiB, a piece so often.
const PIECES: usize = 100;
const PIECE_BYTES: usize = 1 << 20;

const DEEP: usize = 1_000_000;

/// What the daemon may take more for the bodies at one address: those that it takes are of 8 MiB, and it may have some copies.
const AT_ONE_ADDRESS_BYTES: u64 = 64 << 20;

/// Where something is posted, with which headers, and what is answered there to JSON that is nested without end.
const ADDRESSES: [(&str, &[&str], u16); 33] = [
    ("/hooks/alertmanager", &[], 400),
    ("/hooks/grafana", &[], 400),
    ("/hooks/great_expectations", &[], 400),
    ("/hooks/dbt", &[], 400),
    ("/hooks/dbt?project=shop&label.env=prod", &[], 400),
    ("/hooks/dbt_cloud", &[], 400),
    ("/hooks/soda", &[], 400),
    ("/hooks/evidently?report=drift", &[], 400),
    ("/hooks/mlflow", &["x-mlflow-delivery-id: 1"], 400),
    ("/hooks/check", &[], 400),
    (
        "/hooks/cloudevents",
        &["content-type: application/cloudevents+json"],
        400,
    ),
    (
        "/hooks/cloudevents",
        &["content-type: application/cloudevents-batch+json"],
        400,
    ),
    ("/hooks/cloudevents", BINARY_JSON, 400),
    // An event whose data are nothing that is read here is an alert by its type; what its data are does not matter.
    ("/hooks/cloudevents", BINARY_OTHER, 200),
    ("/hooks/change", &[], 400),
    ("/hooks/change", &["x-github-event: deployment_status"], 400),
    ("/hooks/change", FORM, 400),
    ("/v2/change/enqueue", JSON, 400),
    ("/hooks/probes", JSON, 400),
    ("/hooks/probes", FORM, 400),
    // Of a form whose fields are not there nothing is read.
    ("/hooks/probes", MULTIPART, 400),
    ("/hooks/topic", &["content-type: text/plain"], 400),
    ("/hooks/metrics", JSON, 400),
    ("/hooks/pagerduty", &[], 400),
    ("/hooks/opsgenie", &[], 400),
    ("/hooks/alertmanager/api/v2/alerts", JSON, 400),
    ("/api/v2/alerts", JSON, 400),
    ("/v2/enqueue", JSON, 400),
    ("/v2/alerts", JSON, 422),
    ("/v2/alerts/disk/close", JSON, 422),
    ("/v2/alerts/disk/priority", JSON, 422),
    // Whatever a job says of its run is text.
    ("/ping/nightly", &[], 200),
    ("/ping/nightly/fail", &[], 200),
];

const JSON: &[&str] = &["content-type: application/json"];
const FORM: &[&str] = &["content-type: application/x-www-form-urlencoded"];
const MULTIPART: &[&str] = &["content-type: multipart/form-data; boundary=x"];
const BINARY_JSON: &[&str] = &[
    "content-type: application/json",
    "ce-specversion: 1.0",
    "ce-id: 1",
    "ce-source: /s",
    "ce-type: down",
];
const BINARY_OTHER: &[&str] = &[
    "content-type: text/plain",
    "ce-specversion: 1.0",
    "ce-id: 2",
    "ce-source: /s",
    "ce-type: down",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_costs_more_than_it_may_wherever_it_is_posted() {
    let home = Home::with(
        "[heartbeats.nightly]\nevery = \"1d\"\n\
         [sources.probes]\nkind = \"mapped\"\nmapping = \"uptime-kuma\"\n\
         [sources.topic]\nkind = \"mapped\"\nmapping = \"sns\"\n\
         [sources.metrics]\nkind = \"mapped\"\nmapping = \"datadog\"\n",
        "[people.ana]\nnotify = [{ channel = \"log\", address = \"ana\" }]\n\
         [policies.default]\nsteps = [{ targets = [\"person:ana\"], timeout = \"1h\" }]\n",
    );
    let daemon = home.serve().await;
    assert_serves(&daemon).await;
    let idle_bytes = daemon.resident_bytes();
    let bomb = bomb();
    assert!(bomb.len() < 2 << 20, "{} bytes", bomb.len());
    let lists = vec![b'['; DEEP];
    let objects = [b"{\"a\":".repeat(DEEP), b"1".to_vec()].concat();
    let mut most = 0;
    for (path, headers, of_deep) in ADDRESSES {
        daemon.forget_peak();
        let before = daemon.resident_bytes();
        let post = Post {
            daemon: &daemon,
            path,
            headers,
        };
        let long = post.in_pieces().await;
        assert_eq!(long, 413, "{path} {headers:?}: 100 MiB in pieces");
        let told = post.whole("", &vec![b' '; PIECES * PIECE_BYTES]).await;
        assert_eq!(told, 413, "{path} {headers:?}: 100 MiB that were announced");
        let packed = post.whole("content-encoding: gzip\r\n", &bomb).await;
        assert_eq!(packed, 413, "{path} {headers:?}: 1 GiB in 1 MiB");
        for deep in [&lists, &objects] {
            let deep = post.whole("", deep).await;
            assert_eq!(deep, of_deep, "{path} {headers:?}: nested a million times");
        }
        let peak = daemon.peak_bytes();
        let grown = peak.saturating_sub(before);
        assert!(
            grown < AT_ONE_ADDRESS_BYTES,
            "{path} {headers:?}: {grown} bytes more"
        );
        most = most.max(peak);
    }
    let grown = most.saturating_sub(idle_bytes);
    println!("at most, all of it took {grown} bytes");
    assert!(grown < GROWTH_BYTES, "{grown} bytes more");
    assert_serves(&daemon).await;
    daemon.stop().await;
}

struct Post<'a> {
    daemon: &'a Daemon,
    path: &'a str,
    headers: &'a [&'a str],
}

impl Post<'_> {
    fn head(&self, more: &str) -> String {
        let mut head = format!(
            "POST {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n",
            self.path
        );
        for header in self.headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        format!("{head}{more}\r\n")
    }

    async fn whole(&self, header: &str, body: &[u8]) -> u16 {
        let head = self.head(&format!("{header}content-length: {}\r\n", body.len()));
        self.sent(&head, body, 1).await
    }

    async fn in_pieces(&self) -> u16 {
        let mut piece = format!("{PIECE_BYTES:x}\r\n").into_bytes();
        piece.resize(piece.len() + PIECE_BYTES, b' ');
        piece.extend_from_slice(b"\r\n");
        let head = self.head("transfer-encoding: chunked\r\n");
        self.sent(&head, &piece, PIECES).await
    }

    /// The status of the answer; who sends does not listen before it has sent all, or has been cut off.
    async fn sent(&self, head: &str, piece: &[u8], times: usize) -> u16 {
        let mut stream = connect(self.daemon).await;
        let sending = async {
            stream.write_all(head.as_bytes()).await?;
            for _ in 0..times {
                stream.write_all(piece).await?;
            }
            std::io::Result::Ok(())
        };
        let sent = tokio::time::timeout(PATIENCE, sending).await;
        drop(sent.expect("it takes what is sent, or ends the connection"));
        let said = rest_of(stream).await;
        let status = said.split(' ').nth(1).and_then(|word| word.parse().ok());
        status.unwrap_or_else(|| panic!("{}: {said:?}", self.path))
    }
}

/// A gibibyte of zeros, packed.
fn bomb() -> Vec<u8> {
    let make = "import sys, zlib\n\
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)\n\
        for _ in range(64): sys.stdout.buffer.write(packer.compress(bytes(1 << 24)))\n\
        sys.stdout.buffer.write(packer.flush())";
    let made = Command::new("python3").args(["-c", make]).output();
    made.expect("python3 starts").stdout
}
