//! The HTTP face: every route on one screen, with its limits.

pub mod acknowledge;
pub mod auth;
pub mod body;
pub mod commands;
pub mod connection;
pub mod health;
pub mod hooks;
pub mod incidents;
pub mod lists;
pub mod oncall;
pub mod params;
pub mod problem;
pub mod reload;
pub mod view;

use crate::clock::Clock;
use crate::domain::time::Timestamp;
use crate::engine::SharedHealth;
use crate::engine::link::Links;
use crate::http::auth::Access;
use crate::http::commands::asks;
use crate::http::problem::Problem;
use crate::http::reload::Reload;
use crate::store::{InForce, Store};
use arc_swap::{ArcSwap, Guard};
pub use axum::Router;
use axum::extract::FromRef;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderName, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post, put};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::request_id::{
    MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer,
};
use tower_http::sensitive_headers::SetSensitiveRequestHeadersLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

/// How long a request may take, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What handlers take their parts from.
#[derive(Clone, Debug, FromRef)]
pub struct Site {
    pub store: Store,
    pub live: Arc<LiveSite>,
    pub links: Arc<Links>,
    pub health: SharedHealth,
    pub reload: Reload,
    pub metrics: health::Metrics,
    pub memory: body::Memory,
    pub clock: Clock,
}

/// What a reload swaps: all at once, or nothing.
#[derive(Clone, Debug)]
pub struct Current {
    pub in_force: InForce,
    pub access: Access,
    pub max_body_bytes: usize,
    pub loaded_at: Timestamp,
    /// What is wrong with the files as they are now, where they were not taken.
    pub refused: Option<Vec<String>>,
}

/// The current configuration, as everybody sees it.
#[derive(Debug)]
pub struct LiveSite(ArcSwap<Current>);

impl LiveSite {
    pub fn new(current: Current) -> Self {
        Self(ArcSwap::from_pointee(current))
    }

    pub fn load(&self) -> Guard<Arc<Current>> {
        self.0.load()
    }

    pub fn swap(&self, current: Current) {
        self.0.store(Arc::new(current));
    }

    /// The old stays, and what was wrong with the new is kept in sight.
    pub fn refuse(&self, errors: Vec<String>) {
        let old = self.0.load_full();
        self.0.store(Arc::new(Current {
            refused: Some(errors),
            ..(*old).clone()
        }));
    }
}

/// Every route.
pub fn router(site: Site) -> Router {
    let incident = Router::new()
        .route("/", get(incidents::show))
        .route("/timeline", get(incidents::timeline))
        .route("/alerts", get(incidents::alerts))
        .route("/pages", get(incidents::pages))
        .route("/acknowledge", post(asks(commands::acknowledge)))
        .route("/unacknowledge", post(asks(commands::unacknowledge)))
        .route("/take-over", post(asks(commands::take_over)))
        .route("/escalate", post(asks(commands::escalate)))
        .route("/page", post(asks(commands::page)))
        .route("/alerts/{fingerprint}/resolve", post(commands::resolve))
        .route("/severity", post(asks(commands::severity)))
        .route("/assign", post(asks(commands::assign)))
        .route("/updates", post(asks(commands::update)))
        .route("/notes", post(asks(commands::note)))
        .route("/evidence", post(asks(commands::evidence)))
        .route("/mitigation", post(asks(commands::mitigation)))
        .route("/containment", post(asks(commands::containment)))
        .route("/analysis", put(asks(commands::analysis)))
        .route("/actions", post(asks(commands::add_action)))
        .route("/actions/{index}", patch(commands::change_action))
        .route("/outputs/{id}", post(commands::output))
        .route("/advance", post(asks(commands::advance)))
        .route("/close", post(asks(commands::close)))
        .route("/reopen", post(asks(commands::reopen)));
    let api = Router::new()
        .route("/incidents", get(incidents::list).post(commands::open))
        .nest("/incidents/{number}", incident)
        .route("/alerts", get(lists::alerts))
        .route("/alerts/{fingerprint}", get(lists::alert))
        .route(
            "/alerts/{fingerprint}/resolve",
            post(commands::resolve_alone),
        )
        .route("/dead-letters", get(lists::dead_letters))
        .route("/sources", get(lists::sources))
        .route("/rules", get(lists::rules))
        .route("/actions", get(lists::actions))
        .route("/oncall", get(oncall::now))
        .route("/schedules/{name}", get(oncall::shifts))
        .route(
            "/schedules/{name}/overrides",
            get(oncall::overrides).post(oncall::add_override),
        )
        .route("/reload", post(reload::reload))
        .route("/backup", post(health::backup));
    let router = Router::new()
        .route("/hooks/{source}", post(hooks::receive))
        .nest("/api/v1", api)
        .route(
            "/acknowledge/{number}/{person}/{expires}/{signature}",
            get(acknowledge::ask).post(acknowledge::confirm),
        )
        .route("/incidents/{number}", get(acknowledge::incident))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .fallback(|| async { Problem::not_found("there is nothing at this path") })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path does not take this method",
            )
        });
    limited(router).with_state(site)
}

/// The limits and marks that every request has.
fn limited(router: Router<Site>) -> Router<Site> {
    let span = |request: &Request<axum::body::Body>| {
        let id = request
            .extensions()
            .get::<RequestId>()
            .and_then(|id| id.header_value().to_str().ok());
        tracing::debug_span!(
            "request",
            request.id = id.unwrap_or_default(),
            method = %request.method(),
            path = request.uri().path(),
        )
    };
    router.layer(
        ServiceBuilder::new()
            .layer(SetSensitiveRequestHeadersLayer::new([AUTHORIZATION]))
            .layer(SetRequestIdLayer::new(REQUEST_ID, NewId::default()))
            // A failure is logged where it happens, once; not again for each request that it refuses.
            .layer(
                TraceLayer::new_for_http()
                    .make_span_with(span)
                    .on_failure(()),
            )
            .layer(PropagateRequestIdLayer::new(REQUEST_ID))
            .layer(CatchPanicLayer::custom(panicked))
            .layer(TimeoutLayer::with_status_code(
                StatusCode::REQUEST_TIMEOUT,
                REQUEST_TIMEOUT,
            ))
            .layer(RequestDecompressionLayer::new()),
    )
}

/// Ids of requests that bring none: which process it was, and its how many-th. Only to find log lines by, so that no entropy is
/// asked for each.
#[derive(Clone, Debug)]
struct NewId {
    process: Arc<str>,
    last: Arc<AtomicU64>,
}

impl Default for NewId {
    fn default() -> Self {
        let random = uuid::Uuid::new_v4().simple().to_string();
        Self {
            process: random.get(..8).unwrap_or(&random).into(),
            last: Arc::default(),
        }
    }
}

impl MakeRequestId for NewId {
    fn make_request_id<B>(&mut self, _request: &Request<B>) -> Option<RequestId> {
        let n = self.last.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{n}", self.process);
        id.parse().ok().map(RequestId::new)
    }
}

/// A panic in a handler ends its request, and nothing else.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the layer hands the panic over"
)]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let why = panic
        .downcast_ref::<&str>()
        .map(|why| (*why).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    tracing::error!(why = why.unwrap_or_default(), "a handler panicked");
    Problem::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "this request could not be answered",
    )
    .into_response()
}
