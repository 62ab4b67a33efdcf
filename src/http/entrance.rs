//! What every request goes through, whatever its path: an id, a time limit, and that a panic ends it alone.
//!
//! One function and no stack of layers: each layer would wrap the bodies of request and answer once more, and for a small report that
//! costs as much as reading it.

use crate::http::problem::Problem;
use crate::http::{Site, router};
use crate::store::engine::panic_text;
use axum::Router;
use axum::body::Body;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use axum::http::{HeaderName, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use std::any::Any;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;
use tower::{Service, ServiceExt};
use tower_http::decompression::RequestDecompression;
use tracing::Instrument;

/// How long a request may take, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How bodies may be packed, and the one of these that does something.
const PACKINGS: [&[u8]; 2] = [b"gzip", b"identity"];
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Where requests come in. A copy is as good as the original.
#[derive(Clone, Debug)]
pub struct Entrance {
    router: Router,
    ids: Arc<Ids>,
}

impl Entrance {
    pub fn new(site: Site) -> Self {
        Self {
            router: router(site),
            ids: Arc::default(),
        }
    }

    /// Answers a request, in any case.
    pub async fn answer(&self, request: Request<Body>) -> Response {
        let id = request.headers().get(REQUEST_ID).cloned();
        let id = id.unwrap_or_else(|| self.ids.next());
        let span = tracing::debug_span!(
            "request",
            request.id = id.to_str().unwrap_or_default(),
            method = %request.method(),
            path = request.uri().path(),
        );
        let routed = self.route(request);
        let answered = tokio::time::timeout(REQUEST_TIMEOUT, unpanicked(routed));
        let mut response = match answered.instrument(span.clone()).await {
            Ok(response) => response,
            Err(_elapsed) => Problem::new(StatusCode::REQUEST_TIMEOUT, "the request took too long")
                .into_response(),
        };
        tracing::debug!(parent: &span, status = response.status().as_u16(), "answered");
        response.headers_mut().insert(REQUEST_ID, id);
        response
    }

    async fn route(&self, request: Request<Body>) -> Response {
        let mut router = self.router.clone();
        let Some(packing) = request.headers().get(CONTENT_ENCODING) else {
            return always(router.call(request).await);
        };
        if !PACKINGS.contains(&packing.as_bytes()) {
            return not_read(packing);
        }
        let unpacking = RequestDecompression::new(router);
        match unpacking.oneshot(request).await {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        }
    }
}

/// A body is packed in a way that is not read.
fn not_read(packing: &HeaderValue) -> Response {
    let found = String::from_utf8_lossy(packing.as_bytes());
    let detail = format!("a body as it is, or packed by gzip, is wanted, found {found:?}");
    let problem = Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
    ([(ACCEPT_ENCODING, GZIP)], problem).into_response()
}

fn always(answered: Result<Response, Infallible>) -> Response {
    match answered {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// A panic in a handler ends its request, and nothing else.
async fn unpanicked(answering: impl Future<Output = Response>) -> Response {
    let mut answering = pin!(answering);
    std::future::poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(context)));
        polled.unwrap_or_else(|panic| Poll::Ready(panicked(panic.as_ref())))
    })
    .await
}

fn panicked(panic: &(dyn Any + Send)) -> Response {
    tracing::error!(why = panic_text(panic), "a handler panicked");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "this request could not be answered",
    )
    .into_response()
}

/// Ids of requests that bring none: which process it was, and its how many-th. Only to find log lines by, so that no entropy is
/// asked for each.
#[derive(Debug)]
struct Ids {
    process: String,
    last: AtomicU64,
}

impl Default for Ids {
    fn default() -> Self {
        let random = uuid::Uuid::new_v4().simple().to_string();
        Self {
            process: random.get(..8).unwrap_or(&random).to_owned(),
            last: AtomicU64::new(0),
        }
    }
}

impl Ids {
    fn next(&self) -> HeaderValue {
        let n = self.last.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{n}", self.process);
        HeaderValue::try_from(id).expect("letters, digits and a dash")
    }
}
