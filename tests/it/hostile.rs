//! Clients that are slow, gone, too many or too much: each ends at a limit, memory stays bounded, and others are served.

mod addresses;

use crate::daemon::{Daemon, Home, eventually, firing, within};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Write;
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::JoinSet;

/// Every limit of time is 30 s, and the system looks after whoever takes nothing at 51 s; what is over one ends before this.
const PATIENCE: Duration = Duration::from_secs(150);

/// A slow sender sends a byte so often.
const A_BYTE_EVERY: Duration = Duration::from_millis(250);

/// What the daemon may take beyond what it has when idle.
const GROWTH_BYTES: u64 = 200 << 20;

/// What all bodies together may hold is 256 MiB, and the rest is on top of it.
const GROWTH_WITH_BODIES_BYTES: u64 = 256 * (1 << 20) + GROWTH_BYTES;

const IDLE: usize = 10_000;

async fn connect(daemon: &Daemon) -> TcpStream {
    let stream = TcpStream::connect(daemon.address()).await;
    stream.expect("it takes connections")
}

fn hook(rest: &str) -> String {
    format!("POST /hooks/alertmanager HTTP/1.1\r\nhost: x\r\n{rest}")
}

/// An alert of somebody who means well is taken.
async fn assert_serves(daemon: &Daemon) {
    let (status, answer) = daemon.post("/hooks/alertmanager", &firing("Well")).await;
    assert_eq!(status, 200, "{answer}");
}

/// All that it still says, until it ends the connection.
async fn rest_of(mut from: impl AsyncReadExt + Unpin) -> String {
    let mut said = Vec::new();
    // A reset ends it, too.
    drop(
        tokio::time::timeout(PATIENCE, from.read_to_end(&mut said))
            .await
            .expect("it ends the connection"),
    );
    String::from_utf8_lossy(&said).into_owned()
}

/// Sends one byte after the other until the connection is ended, and returns what was answered.
async fn trickle(stream: TcpStream, bytes: &'static str) -> String {
    let (from, mut to) = stream.into_split();
    let sending = async move {
        for byte in bytes.as_bytes().iter().cycle() {
            if to.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(A_BYTE_EVERY).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        said = rest_of(from) => said,
        () = sending => unreachable!("it never ends"),
    }
}

/// Asks for one answer after the other, takes none, and ends when it is given up.
async fn take_nothing(mut stream: TcpStream) {
    let asked = "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    let asking = async { while stream.write_all(asked.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .expect("it is given up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_slow_is_ended_by_a_limit_of_time() {
    let home = Home::new();
    let daemon = home.serve().await;
    let body = connect(&daemon).await;
    let (mut from, mut to) = body.into_split();
    to.write_all(hook("content-length: 1000\r\n\r\n").as_bytes())
        .await
        .expect("it reads");
    let kept = connect(&daemon).await;
    let (nothing, head, body, kept, (), ()) = tokio::join!(
        rest_of(connect(&daemon).await),
        trickle(connect(&daemon).await, "x"),
        async {
            tokio::select! {
                said = rest_of(&mut from) => said,
                () = trickle_body(&mut to) => unreachable!("it never ends"),
            }
        },
        used_once_and_kept(kept),
        take_nothing(connect(&daemon).await),
        assert_serves(&daemon),
    );
    assert_eq!((nothing.as_str(), head.as_str()), ("", ""));
    assert!(
        body.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{body}"
    );
    assert!(kept.starts_with("HTTP/1.1 200 OK\r\n"), "{kept}");
    assert_serves(&daemon).await;
    daemon.stop().await;
}

async fn trickle_body(to: &mut OwnedWriteHalf) {
    while to.write_all(b" ").await.is_ok() {
        tokio::time::sleep(A_BYTE_EVERY).await;
    }
    std::future::pending::<()>().await;
}

/// A connection on which nothing more is asked.
async fn used_once_and_kept(mut stream: TcpStream) -> String {
    let asked = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(asked).await.expect("it reads");
    rest_of(stream).await
}

/// This process needs as many files as it opens connections.
fn may_open(n: usize) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(n).expect("it is small");
    if limit.maximum.is_some_and(|most| most < wanted) {
        return Err(format!(
            "{n} open files are wanted, {limit:?} is all there is"
        ));
    }
    if limit.current.is_some_and(|now| now < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_keep_nobody_out_and_cost_little() {
    if let Err(why) = may_open(IDLE + 1_000) {
        // Past what the test runner captures.
        let mut aloud = std::io::stderr().lock();
        writeln!(aloud, "skipped: ten thousand idle connections: {why}").expect("it can be said");
        return;
    }
    let home = Home::new();
    // As systemd and shells start it; it asks for more by itself.
    let daemon = home.serve_with_files("-S -n 1024").await;
    assert_serves(&daemon).await;
    let idle_bytes = daemon.resident_bytes();
    let mut held = Vec::new();
    for n in 0..IDLE {
        let mut stream = connect(&daemon).await;
        match n % 4 {
            0 => stream
                .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
                .await
                .expect("it reads"),
            1 => stream
                .write_all(b"POST /hooks/alertmanager HTTP/1.1\r\nho")
                .await
                .expect("it reads"),
            _ => {}
        }
        held.push(stream);
    }
    assert_serves(&daemon).await;
    // It has heard each of those that asked.
    for stream in held.iter_mut().step_by(4) {
        let mut said = [0; 15];
        stream.read_exact(&mut said).await.expect("it answers");
        assert_eq!(&said, b"HTTP/1.1 200 OK");
    }
    let grown = daemon.resident_bytes().saturating_sub(idle_bytes);
    println!("{IDLE} connections take {grown} bytes");
    assert!(grown < GROWTH_BYTES, "{grown} bytes more");
    assert!(
        daemon.logged("too many connections").is_none(),
        "{}",
        daemon.log()
    );
    drop(held);
    assert_serves(&daemon).await;
    daemon.stop().await;
}

#[tokio::test]
async fn one_that_says_that_it_sends_no_more_is_answered() {
    let home = Home::new();
    let daemon = home.serve().await;
    let check = r#"{"check_id":"c","status":"fail","source":"s"}"#;
    let head = "POST /hooks/check HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    let mut stream = connect(&daemon).await;
    let request = format!("{head}content-length: {}\r\n\r\n{check}", check.len());
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it reads");
    stream.shutdown().await.expect("it is half closed");
    let answer = rest_of(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    daemon.stop().await;
}

#[tokio::test]
async fn one_that_sends_its_body_after_its_head_keeps_its_connection() {
    let home = Home::new();
    let daemon = home.serve().await;
    let mut stream = connect(&daemon).await;
    for (path, wanted) in [
        ("/v2/alerts/disk/notes", "HTTP/1.1 202 Accepted"),
        (
            "/v2/alerts/disk/snooze",
            "HTTP/1.1 422 Unprocessable Entity",
        ),
        ("/v2/heartbeats/none/ping", "HTTP/1.1 404 Not Found"),
        ("/v2/alerts/disk/close", "HTTP/1.1 202 Accepted"),
    ] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.expect("it reads");
        assert_eq!(
            head_of_answer(&mut stream).await,
            "HTTP/1.1 100 Continue\r\n\r\n",
            "{path}"
        );
        stream.write_all(b"{}").await.expect("it reads");
        let answer = head_of_answer(&mut stream).await;
        assert!(answer.starts_with(wanted), "{path}: {answer}");
        let length = answer
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length = length.expect("it has a length").parse().expect("a number");
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.expect("it answers");
    }
    daemon.stop().await;
}

/// All lines up to the one that is empty.
async fn head_of_answer(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = tokio::time::timeout(PATIENCE, stream.read_u8()).await;
        head.push(byte.expect("it answers").expect("it is not ended"));
    }
    String::from_utf8_lossy(&head).into_owned()
}

#[tokio::test]
async fn one_connection_too_many_is_told_to_come_again() {
    let home = Home::new();
    // 256 of these are its own.
    let daemon = home.serve_with_files("-n 600").await;
    let mut held = Vec::new();
    for _ in 0..344 {
        held.push(connect(&daemon).await);
    }
    let told = eventually("one is turned away", async || {
        let told = rest_of_at_once(&daemon).await;
        (!told.is_empty()).then_some(told)
    })
    .await;
    assert_eq!(
        told,
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    daemon
        .says("too many connections: new ones are refused open=344")
        .await;
    drop(held);
    eventually("there is room again", async || {
        let answer = daemon
            .client()
            .get(format!("{}/healthz", daemon.url))
            .send()
            .await;
        (answer.ok()?.status() == 200).then_some(())
    })
    .await;
    // It is said at a connection that comes; the client may have kept the one it had.
    eventually("it says that there is room", async || {
        drop(connect(&daemon).await);
        daemon.logged("there is room for connections again")
    })
    .await;
    let metrics = daemon.metrics().await;
    assert!(
        metrics.contains("watchkeeper_connections_refused_total"),
        "{metrics}"
    );
    daemon.stop().await;
}

/// What one hears that asks nothing; nothing where it is let in.
async fn rest_of_at_once(daemon: &Daemon) -> String {
    let mut stream = connect(daemon).await;
    let mut said = String::new();
    let heard = stream.read_to_string(&mut said);
    drop(tokio::time::timeout(Duration::from_millis(500), heard).await);
    said
}

/// Sends a head and then the same piece of a body so often, or until it is ended, and returns what was answered.
async fn flood(daemon: &Daemon, head: &str, piece: &[u8], times: usize) -> String {
    let (from, mut to) = connect(daemon).await.into_split();
    let sending = async {
        if to.write_all(head.as_bytes()).await.is_err() {
            return;
        }
        for _ in 0..times {
            if to.write_all(piece).await.is_err() {
                return;
            }
        }
    };
    let (said, ()) = tokio::join!(rest_of(from), sending);
    said
}

/// The same of one who breaks off where it cannot send, as many do, and then hears nothing.
async fn send_then_listen(daemon: &Daemon, head: &str, piece: &[u8], times: usize) -> String {
    let mut stream = connect(daemon).await;
    stream.write_all(head.as_bytes()).await.expect("it reads");
    for _ in 0..times {
        stream
            .write_all(piece)
            .await
            .expect("it reads on, or its answer is lost");
    }
    rest_of(stream).await
}

async fn status_of(daemon: &Daemon, headers: &[(&str, &str)], body: Vec<u8>) -> u16 {
    let mut asked = daemon
        .client()
        .post(format!("{}/hooks/alertmanager", daemon.url))
        .body(body);
    for (name, value) in headers {
        asked = asked.header(*name, *value);
    }
    asked.send().await.expect("it answers").status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_refused_in_time() {
    let home = Home::new();
    let daemon = home.serve().await;
    assert_serves(&daemon).await;
    let idle_bytes = daemon.resident_bytes();
    let megabyte = vec![b' '; 1 << 20];

    // By what it says of itself, before any of it is sent; and also to a sender that listens only after it has sent all.
    let announced = hook("content-length: 104857600\r\nexpect: 100-continue\r\n\r\n");
    let said = flood(&daemon, &announced, b"", 0).await;
    assert!(
        said.starts_with("HTTP/1.1 413 Payload Too Large\r\n"),
        "{said}"
    );
    let announced = hook("content-length: 104857600\r\n\r\n");
    let said = send_then_listen(&daemon, &announced, &megabyte, 100).await;
    assert!(
        said.starts_with("HTTP/1.1 413 Payload Too Large\r\n"),
        "{said}"
    );
    assert_eq!(status_of(&daemon, &[], vec![b' '; 100 << 20]).await, 413);
    // By what comes.
    let mut chunk = format!("{:x}\r\n", megabyte.len()).into_bytes();
    chunk.extend_from_slice(&megabyte);
    chunk.extend_from_slice(b"\r\n");
    let head = hook("transfer-encoding: chunked\r\n\r\n");
    let said = send_then_listen(&daemon, &head, &chunk, 100).await;
    assert!(
        said.starts_with("HTTP/1.1 413 Payload Too Large\r\n"),
        "{said}"
    );
    assert_eq!(
        status_of(&daemon, &[("content-encoding", "gzip")], bomb()).await,
        413
    );
    assert_eq!(status_of(&daemon, &[], vec![b'['; 1_000_000]).await, 400);
    let deep = [b"{\"a\":".repeat(1_000_000), b"1".to_vec()].concat();
    assert_eq!(status_of(&daemon, &[], deep).await, 400);

    let lines = hook("") + &"x-more: of it\r\n".repeat(200) + "\r\n";
    for (name, head, piece) in [
        ("endless headers", hook("x-more: "), "x".repeat(1 << 16)),
        ("an endless path", "GET /".to_owned(), "x".repeat(1 << 16)),
        ("many headers", lines, String::new()),
    ] {
        let said = flood(&daemon, &head, piece.as_bytes(), 100).await;
        assert!(said.starts_with("HTTP/1.1 431 "), "{name}: {said}");
    }
    for bad in [
        "garbage\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
    ] {
        let said = flood(&daemon, bad, b"", 0).await;
        assert!(
            said.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{bad:?}: {said}"
        );
    }
    let grown = daemon.resident_bytes().saturating_sub(idle_bytes);
    println!("all of it takes {grown} bytes");
    assert!(grown < GROWTH_BYTES, "{grown} bytes more");
    assert_serves(&daemon).await;
    daemon.stop().await;
}

/// Eight megabytes that are eight gigabytes of blanks.
fn bomb() -> Vec<u8> {
    let make = "import gzip, sys; sys.stdout.buffer.write(gzip.compress(b' ' * (1 << 24)) * 512)";
    let made = Command::new("python3").args(["-c", make]).output();
    made.expect("python3 starts").stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_never_finished_are_bounded_together() {
    let home = Home::new();
    let daemon = home.serve().await;
    assert_serves(&daemon).await;
    let idle_bytes = daemon.resident_bytes();
    // 40 times all but one byte of 8 MiB are more than 256 MiB.
    let piece = vec![b' '; (8 << 20) - 1];
    let mut sending = JoinSet::new();
    for _ in 0..40 {
        let stream = connect(&daemon).await;
        sending.spawn(all_but_the_end(stream, piece.clone()));
    }
    let refused = within(PATIENCE, "one is refused", async || {
        sending
            .join_next()
            .await
            .expect("not all are held")
            .expect("it does not panic")
            .ok()
    })
    .await;
    assert!(
        refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
        "{refused}"
    );
    assert!(refused.contains("\r\nretry-after: 5\r\n"), "{refused}");
    let grown = daemon.resident_bytes().saturating_sub(idle_bytes);
    println!("unfinished bodies take {grown} bytes");
    assert!(grown < GROWTH_WITH_BODIES_BYTES, "{grown} bytes more");
    // Who gives up gives back.
    sending.shutdown().await;
    eventually("others are served again", async || {
        let (status, _) = daemon.post("/hooks/alertmanager", &firing("Well")).await;
        (status == 200).then_some(())
    })
    .await;
    daemon.stop().await;
}

/// What it is told, or its connection where it is told nothing.
async fn all_but_the_end(
    stream: TcpStream,
    piece: Vec<u8>,
) -> Result<String, (OwnedReadHalf, OwnedWriteHalf)> {
    let (mut from, mut to) = stream.into_split();
    let head = hook("content-length: 8388608\r\n\r\n");
    let sent = async {
        to.write_all(head.as_bytes()).await?;
        to.write_all(&piece).await
    };
    drop(sent.await);
    let mut said = String::new();
    let heard = tokio::time::timeout(Duration::from_secs(2), from.read_to_string(&mut said)).await;
    match heard {
        Ok(_) => Ok(said),
        Err(_nothing) => Err((from, to)),
    }
}
