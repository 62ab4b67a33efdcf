//! The HTTP face: every route on one screen, with its limits.

#![expect(unused_qualifications, reason = "what describes a route writes them")]

pub mod acknowledge;
pub mod api_v2;
pub mod asks;
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
pub mod openapi;
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
use crate::http::confirm::Confirmer;
use crate::http::openapi::SURFACE;
use crate::http::problem::Problem;
use crate::http::reload::Reload;
use crate::store::{InForce, Store};
use arc_swap::{ArcSwap, Guard};
use axum::Router;
use axum::extract::FromRef;
use axum::http::StatusCode;
use axum::routing::get;
use chrono_tz::Tz;
use std::ops::Deref;
use std::sync::Arc;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

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

/// The routes over this site.
fn router(site: Site) -> Router {
    SURFACE.routes.clone().with_state(site)
}

/// Every route. Those that are added by `route` are not described, for the reason that stands before them.
fn surface() -> (Router<Site>, OpenApi) {
    let incident = OpenApiRouter::new()
        .routes(routes!(incidents::show))
        .routes(routes!(incidents::timeline))
        .routes(routes!(incidents::alerts))
        .routes(routes!(incidents::pages))
        .routes(routes!(explain::incident))
        .routes(routes!(asks::acknowledge))
        .routes(routes!(asks::unacknowledge))
        .routes(routes!(asks::take_over))
        .routes(routes!(asks::escalate))
        .routes(routes!(asks::page))
        .routes(routes!(commands::resolve))
        .routes(routes!(asks::severity))
        .routes(routes!(asks::assign))
        .routes(routes!(asks::update))
        .routes(routes!(asks::note))
        .routes(routes!(asks::evidence))
        .routes(routes!(asks::mitigation))
        .routes(routes!(asks::containment))
        .routes(routes!(asks::analysis))
        .routes(routes!(asks::add_action))
        .routes(routes!(commands::change_action))
        .routes(routes!(commands::output))
        .routes(routes!(asks::advance))
        .routes(routes!(asks::close))
        .routes(routes!(asks::reopen));
    let api = OpenApiRouter::new()
        .routes(routes!(incidents::list, commands::open))
        .nest("/incidents/{number}", incident)
        .routes(routes!(lists::alerts))
        .routes(routes!(lists::alert))
        .routes(routes!(commands::resolve_alone))
        .routes(routes!(silences::list, silences::add))
        .routes(routes!(silences::show, silences::expire))
        .routes(routes!(changes::list))
        .routes(routes!(ping::list))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::replay_all))
        .routes(routes!(dead_letters::show))
        .routes(routes!(dead_letters::replay))
        .routes(routes!(lists::sources))
        .routes(routes!(lists::rules))
        .routes(routes!(explain::try_rules))
        .routes(routes!(backtest::backtest))
        .routes(routes!(lists::actions))
        .routes(routes!(oncall::now))
        .routes(routes!(oncall::shifts))
        .routes(routes!(oncall::overrides, oncall::add_override))
        .routes(routes!(reload::reload))
        .routes(routes!(health::backup));
    let alertmanager = OpenApiRouter::new()
        .routes(only(routes!(api_v2::status), "[GET]"))
        .routes(only(routes!(alerts::receivers), "[GET]"))
        .routes(only(
            routes!(alerts::list, api_v2::take_alerts),
            "[POST,GET]",
        ))
        .routes(only(routes!(alerts::groups), "[GET]"))
        .routes(only(
            routes!(api_v2::silences::list, api_v2::silences::set),
            "[POST,GET]",
        ))
        .routes(only(
            routes!(api_v2::silences::show, api_v2::silences::expire),
            "[DELETE,GET]",
        ))
        .fallback(api_v2::answer::not_found);
    let (routes, described) = OpenApiRouter::with_openapi(openapi::head())
        .routes(routes!(hooks::receive, hooks::told, hooks::handshake))
        .routes(routes!(api_v2::alerts_of_source))
        .routes(routes!(ping::success, ping::succeeded))
        .routes(routes!(ping::said, ping::saying))
        .nest("/api/v2", alertmanager)
        .routes(routes!(api_v2::healthy))
        .routes(routes!(api_v2::ready))
        .routes(routes!(vendors::enqueue))
        .routes(routes!(vendors::enqueue_change))
        .routes(routes!(opsgenie::list, vendors::create))
        .routes(routes!(opsgenie::outcome))
        .routes(routes!(opsgenie::show, vendors::delete))
        .routes(routes!(vendors::change))
        .routes(routes!(ping::opsgenie))
        .nest("/api/v1", api)
        // Pages for people, where links lead that no program follows.
        .route(
            "/acknowledge/{number}/{person}/{expires}/{signature}",
            get(acknowledge::ask).post(acknowledge::confirm),
        )
        .route("/incidents/{number}", get(acknowledge::incident))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(openapi::document))
        .routes(routes!(openapi::docs))
        .split_for_parts();
    let routes = routes
        .fallback(|| async { Problem::not_found("there is nothing at this path") })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path does not take this method",
            )
        });
    (routes, described)
}
