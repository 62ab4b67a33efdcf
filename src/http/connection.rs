//! Connections: how many there may be, how long each may take, and what it may hold in memory meanwhile.

use crate::http::entrance::Entrance;
use crate::http::gate::Peer;
use crate::http::problem::RETRY_AFTER_SECONDS;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// More connections are not open at a time; fewer where the system gives fewer files.
pub const MOST: usize = 16_384;

/// Files that the program needs beside its connections: store, channels, configuration.
const OWN_FILES: usize = 256;

/// How long the head of a request may take, from when the connection was made or the last answer was sent. An idle
/// connection ends with it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a request's head.
const HEAD_MAX_BYTES: usize = 16 * 1024;

/// Whoever takes nothing of an answer for so long is gone.
const TAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// What a client may still send while it is told that its request was refused, and for how long.
const LINGER_BYTES: u64 = 128 << 20;
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long after the system had no more files for us the next connection is tried.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

/// Has the system give as many files as it will, and returns how many connections may be open.
pub fn most() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(MOST + OWN_FILES).unwrap_or(u64::MAX);
    let possible = limit.maximum.unwrap_or(u64::MAX).min(wanted);
    let mut files = limit.current.unwrap_or(u64::MAX);
    if files < possible {
        let raised = Rlimit {
            current: Some(possible),
            maximum: limit.maximum,
        };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => files = possible,
            Err(error) => tracing::warn!(%error, "the limit of open files stays at {files}"),
        }
    }
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    // At least half, where there are hardly any.
    files.saturating_sub(OWN_FILES).max(files / 2).min(MOST)
}

/// The next connection.
pub async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _from)) => return stream,
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                tracing::error!(%error, "a connection could not be taken; trying again");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// Tells one for whom there is no place to come again.
pub fn turn_away(stream: &TcpStream) {
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: {RETRY_AFTER_SECONDS}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    // It is told as far as it goes at once: nobody waits for it.
    if let Err(error) = stream.try_write(answer.as_bytes()) {
        tracing::debug!(%error, "one who was turned away was not told");
    }
}

/// Answers the requests of a connection until it or the program ends; one that was taken is finished.
pub async fn serve(stream: TcpStream, entrance: Entrance, ending: CancellationToken) {
    if let Err(error) = prepare(&stream) {
        tracing::debug!(%error, "a connection was gone at once");
        return;
    }
    // Nothing is held for one that has sent nothing.
    tokio::select! {
        sent = tokio::time::timeout(HEAD_TIMEOUT, stream.readable()) => match sent {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        },
        () = ending.cancelled() => return,
    }
    let peer = stream.peer_addr().map(|address| Peer(address.ip())).ok();
    let answering = service_fn(|mut request: Request<Incoming>| {
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let answer = entrance.answer(request.map(Body::new));
        Box::pin(async { Ok::<_, Infallible>(answer.await) })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(HEAD_MAX_BYTES)
        // Whoever has sent all may say so and still be answered; and nothing is read while there is nothing to come.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), answering);
    let ended = {
        let mut served = std::future::poll_fn(|context| connection.poll_without_shutdown(context));
        tokio::select! {
            biased;
            ended = &mut served => Some(ended),
            () = ending.cancelled() => None,
        }
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            std::future::poll_fn(|context| connection.poll_without_shutdown(context)).await
        }
    };
    match ended {
        Ok(()) => {
            let stream = connection.into_parts().io.into_inner();
            ending.run_until_cancelled(linger(stream)).await;
        }
        Err(error) => tracing::debug!(%error, "a connection broke off"),
    }
}

/// Answers are small and wait for nothing; and the system gives up one who takes none of them.
fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let patience = u32::try_from(TAKE_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(
        stream, patience,
    )?)
}

/// Many read the answer only once their whole body was sent: were the connection closed at once, they would find it broken,
/// and not that they were refused.
async fn linger(mut stream: TcpStream) {
    let rest = async {
        stream.shutdown().await?;
        let mut rest = stream.take(LINGER_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // There is nobody left to tell.
    drop(tokio::time::timeout(LINGER_TIMEOUT, rest).await);
}
