//! The HTTP face: every route on one screen, with its limits.

pub mod acknowledge;
pub mod api_v2;
pub mod auth;
pub mod backtest;
pub mod body;
pub mod changes;
pub mod commands;
pub mod confirm;
pub mod connection;
pub mod dead_letters;
pub mod entrance;
pub mod explain;
pub mod gate;
pub mod health;
pub mod hooks;
pub mod incidents;
pub mod lists;
pub mod oncall;
pub mod opsgenie;
pub mod params;
pub mod ping;
pub mod problem;
pub mod reload;
mod signature;
pub mod silences;
pub mod vendors;
pub mod view;

use crate::clock::Clock;
use crate::domain::rule::RuleSet;
use crate::domain::time::Timestamp;
use crate::engine::SharedHealth;
use crate::engine::link::Links;
use crate::http::api_v2::{alerts, only};
use crate::http::auth::Access;
use crate::http::backtest::Backtests;
use crate::http::commands::asks;
use crate::http::confirm::Confirmer;
use crate::http::problem::Problem;
use crate::http::reload::Reload;
use crate::store::{InForce, Store};
use arc_swap::{ArcSwap, Guard};
use axum::Router;
use axum::extract::FromRef;
use axum::http::StatusCode;
use axum::routing::{get, patch, post, put};
use chrono_tz::Tz;
use std::ops::Deref;
use std::sync::Arc;

/// What handlers take their parts from. Each request has a copy of it, which is one pointer.
#[derive(Clone, Debug)]
pub struct Site(Arc<Parts>);

impl Site {
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Site {
    /// The rules that are live.
    pub(crate) fn rules(&self) -> Arc<RuleSet> {
        Arc::clone(&self.live.load().in_force.rules)
    }
}

impl Deref for Site {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// What a site is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    pub store: Store,
    pub live: Arc<LiveSite>,
    pub links: Arc<Links>,
    pub health: SharedHealth,
    pub reload: Reload,
    pub metrics: health::Metrics,
    pub memory: body::Memory,
    pub gate: gate::Gate,
    pub confirmer: Confirmer,
    pub backtests: Backtests,
    pub clock: Clock,
}

/// What a reload swaps: all at once, or nothing.
#[derive(Clone, Debug)]
pub struct Current {
    pub in_force: InForce,
    pub access: Access,
    pub max_body_bytes: usize,
    /// That of crons and intervals which name none.
    pub zone: Tz,
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

    pub fn load_full(&self) -> Arc<Current> {
        self.0.load_full()
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

macro_rules! parts {
    ($($part:ident: $of:ty,)*) => {
        $(impl FromRef<Site> for $of {
            fn from_ref(site: &Site) -> Self {
                site.$part.clone()
            }
        })*
    };
}

parts! {
    store: Store,
    live: Arc<LiveSite>,
    links: Arc<Links>,
    health: SharedHealth,
    reload: Reload,
    metrics: health::Metrics,
    memory: body::Memory,
    backtests: Backtests,
    clock: Clock,
}

/// Every route.
fn router(site: Site) -> Router {
    let incident = Router::new()
        .route("/", get(incidents::show))
        .route("/timeline", get(incidents::timeline))
        .route("/alerts", get(incidents::alerts))
        .route("/pages", get(incidents::pages))
        .route("/explain", get(explain::incident))
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
        .route("/silences", get(silences::list).post(silences::add))
        .route(
            "/silences/{id}",
            get(silences::show).delete(silences::expire),
        )
        .route("/changes", get(changes::list))
        .route("/heartbeats", get(ping::list))
        .route("/dead-letters", get(dead_letters::list))
        .route("/dead-letters/replay", post(dead_letters::replay_all))
        .route("/dead-letters/{id}", get(dead_letters::show))
        .route("/dead-letters/{id}/replay", post(dead_letters::replay))
        .route("/sources", get(lists::sources))
        .route("/rules", get(lists::rules))
        .route("/rules/try", post(explain::try_rules))
        .route("/rules/backtest", post(backtest::backtest))
        .route("/actions", get(lists::actions))
        .route("/oncall", get(oncall::now))
        .route("/schedules/{name}", get(oncall::shifts))
        .route(
            "/schedules/{name}/overrides",
            get(oncall::overrides).post(oncall::add_override),
        )
        .route("/reload", post(reload::reload))
        .route("/backup", post(health::backup));
    let alertmanager = Router::new()
        .route("/status", only(get(api_v2::status), "[GET]"))
        .route("/receivers", only(get(alerts::receivers), "[GET]"))
        .route(
            "/alerts",
            only(get(alerts::list).post(api_v2::take_alerts), "[POST,GET]"),
        )
        .route("/alerts/groups", only(get(alerts::groups), "[GET]"))
        .route(
            "/silences",
            only(
                get(api_v2::silences::list).post(api_v2::silences::set),
                "[POST,GET]",
            ),
        )
        .route(
            "/silence/{id}",
            only(
                get(api_v2::silences::show).delete(api_v2::silences::expire),
                "[DELETE,GET]",
            ),
        )
        .fallback(api_v2::answer::not_found);
    let router = Router::new()
        .route(
            "/hooks/{source}",
            post(hooks::receive)
                .get(hooks::receive)
                .options(hooks::handshake),
        )
        .route(
            "/hooks/{source}/api/v2/alerts",
            post(api_v2::alerts_of_source),
        )
        .route("/ping/{heartbeat}", get(ping::success).post(ping::success))
        .route("/ping/{heartbeat}/{said}", get(ping::said).post(ping::said))
        .route(
            "/v2/heartbeats/{heartbeat}/ping",
            get(ping::opsgenie)
                .post(ping::opsgenie)
                .put(ping::opsgenie)
                .patch(ping::opsgenie),
        )
        .nest("/api/v2", alertmanager)
        .route("/-/healthy", get(api_v2::healthy))
        .route("/-/ready", get(api_v2::ready))
        .route("/v2/enqueue", post(vendors::enqueue))
        .route("/v2/change/enqueue", post(vendors::enqueue_change))
        .route("/v2/alerts", get(opsgenie::list).post(vendors::create))
        .route("/v2/alerts/requests/{id}", get(opsgenie::outcome))
        .route(
            "/v2/alerts/{alias}",
            get(opsgenie::show).delete(vendors::delete),
        )
        .route(
            "/v2/alerts/{alias}/{action}",
            post(vendors::change).put(vendors::change),
        )
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
    router.with_state(site)
}
