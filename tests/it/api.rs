//! The router in this process, over a simulation whose clock only the test moves: no socket, no thread, no waiting.

use crate::openapi;
use crate::world::{book, rules, simulation};
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use axum::response::Response;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use watchkeeper::domain::confirmation::Unconfirmed;
use watchkeeper::domain::oncall::Book;
use watchkeeper::domain::rule::RuleSet;
use watchkeeper::domain::secret::Secret;
use watchkeeper::domain::source::Kind;
use watchkeeper::domain::time::Timestamp;
use watchkeeper::http::auth::{Access, Credential, Role, Source, Token};
use watchkeeper::http::backtest::Backtests;
use watchkeeper::http::body::Memory;
use watchkeeper::http::confirm::Confirmer;
use watchkeeper::http::entrance::Entrance;
use watchkeeper::http::gate::{Gate, Network, Peer};
use watchkeeper::http::health::Metrics;
use watchkeeper::http::reload::{Reload, Reloaded};
use watchkeeper::http::{Current, LiveSite, Parts, Site};
use watchkeeper::simulate::Simulation;
use watchkeeper::store::{InForce, Store};

/// A Monday.
pub(crate) const START: &str = "2026-03-02T09:00:00Z";

/// The largest body of a hook.
pub(crate) const MAX_BODY: usize = 8 << 20;

/// The daemon's HTTP face, its engine and its pager, at an instant.
pub(crate) struct Api {
    pub(crate) simulation: Simulation,
    pub(crate) live: Arc<LiveSite>,
    /// Where requests come from.
    pub(crate) peer: IpAddr,
    site: Parts,
    runtime: tokio::runtime::Runtime,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Api {
    /// Ana is paged first, then ben. One rule takes every alert, SEV1, its key the alert's name. Sources named after
    /// their kinds are open, and so is everything else.
    pub(crate) fn new() -> Self {
        Self::with(access(), book(&[("ana", 5), ("ben", 10)]), rules(|_| {}))
    }

    /// The same, in memory whatever the others run on: for what can be done to that store alone.
    pub(crate) fn in_memory() -> Self {
        Self::on(
            access(),
            book(&[("ana", 5), ("ben", 10)]),
            rules(|_| {}),
            Simulation::new,
        )
    }

    pub(crate) fn with(access: Access, book: Book, rules: RuleSet) -> Self {
        Self::on(access, book, rules, simulation)
    }

    fn on(
        access: Access,
        book: Book,
        rules: RuleSet,
        simulation: fn(InForce, Timestamp) -> Simulation,
    ) -> Self {
        let start = START.parse().expect("an RFC 3339 time");
        let in_force = InForce {
            rules: Arc::new(rules),
            book: Arc::new(book),
        };
        let simulation = simulation(in_force.clone(), start);
        let live = live(access, in_force, start);
        let site = site(&simulation, simulation.store().clone(), Arc::clone(&live));
        Self {
            simulation,
            live,
            peer: [192, 0, 2, 1].into(),
            site,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime of one thread can be built"),
        }
    }

    /// The same program over another store: what answers when that one fails.
    pub(crate) fn over(&mut self, store: Store) {
        self.site = site(&self.simulation, store, Arc::clone(&self.live));
    }

    /// What a reload does from now on.
    pub(crate) fn reload_by(&mut self, reload: Reload) {
        self.site.reload = reload;
    }

    pub(crate) fn backtests_by(&mut self, backtests: Backtests) {
        self.site.backtests = backtests;
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "")
    }

    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.send(Method::POST, path, &[], body.to_string())
    }

    /// Posts, and takes nothing of the answer: it may be dropped while it is made.
    pub(crate) fn begin(&mut self, path: &str, body: &Value) -> Response {
        let mut request = Request::post(path)
            .body(Body::from(body.to_string()))
            .expect("a request");
        request.extensions_mut().insert(Peer(self.peer));
        let entrance = Entrance::new(Site::new(self.site.clone()));
        self.runtime.block_on(entrance.answer(request))
    }

    /// Sends a request, then lets the engine and the pager do what it made due.
    pub(crate) fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let asked = method.clone();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body.into()).expect("a request");
        request.extensions_mut().insert(Peer(self.peer));
        let entrance = Entrance::new(Site::new(self.site.clone()));
        let answer = self.runtime.block_on(async {
            let response = entrance.answer(request).await;
            let (head, body) = response.into_parts();
            let bytes = axum::body::to_bytes(body, usize::MAX)
                .await
                .expect("an answer is in memory");
            Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                text: String::from_utf8_lossy(&bytes).into_owned(),
            }
        });
        // A store that was told to fail fails here, too; the answer is what the story is about.
        drop(self.simulation.run());
        // Whatever the story is about, the description knows the answer.
        openapi::must_describe(&asked, path, &answer);
        answer
    }

    pub(crate) fn advance(&mut self, span: Duration) {
        self.simulation
            .advance(span)
            .expect("the memory store works");
    }

    /// An alert of this name fires, as Alertmanager says it.
    pub(crate) fn fires(&mut self, name: &str) -> Answer {
        self.post("/hooks/alertmanager", &alerts(&[(name, "firing")]))
    }

    pub(crate) fn resolves(&mut self, name: &str) -> Answer {
        self.post("/hooks/alertmanager", &alerts(&[(name, "resolved")]))
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).expect("the answer is JSON")
    }

    /// The part of the answer at a JSON pointer; null where there is none.
    pub(crate) fn at(&self, pointer: &str) -> Value {
        self.json().pointer(pointer).cloned().unwrap_or(Value::Null)
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("a header is text"))
    }

    /// Status and detail of a problem document, with its path where it has one.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{}",
            self.text
        );
        assert_eq!(self.at("/status"), self.status, "{}", self.text);
        assert_eq!(self.at("/type"), "about:blank");
        assert!(self.at("/title").is_string(), "{}", self.text);
        let detail = self.at("/detail");
        let detail = detail.as_str().expect("a problem has a detail");
        match self.at("/path").as_str() {
            Some(path) => format!("{} {path}: {detail}", self.status),
            None => format!("{} {detail}", self.status),
        }
    }

    /// One field of every item of a list.
    pub(crate) fn each(&self, noun: &str, field: &str) -> Vec<Value> {
        let list = self.at(&format!("/{noun}"));
        let items = list.as_array().expect("the answer has the list");
        items
            .iter()
            .map(|item| item.get(field).cloned().unwrap_or(Value::Null))
            .collect()
    }
}

/// A webhook of Alertmanager's, with these alerts by name and status.
pub(crate) fn alerts(of: &[(&str, &str)]) -> Value {
    let alert = |(name, status): &(&str, &str)| {
        serde_json::json!({
            "status": status,
            "labels": { "alertname": name, "service": "checkout" },
            "annotations": { "summary": format!("{name} is down") },
            "startsAt": "2026-03-02T08:58:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
        })
    };
    serde_json::json!({ "version": "4", "receiver": "all", "status": "firing", "alerts": of.iter().map(alert).collect::<Vec<_>>() })
}

/// No tokens, and an open source named after each kind that is read.
pub(crate) fn access() -> Access {
    let open = |kind: Kind| {
        let credentials = vec![Credential::Open];
        (kind.to_string(), Arc::new(Source::new(kind, credentials)))
    };
    Access {
        heartbeats: BTreeMap::new(),
        tokens: Vec::new(),
        sources: Kind::ALL.into_iter().map(open).collect(),
        proxies: vec![Network::new([10, 0, 0, 0].into(), 8)],
    }
}

/// The same with tokens: name, role, and the secret is the name again.
pub(crate) fn access_with_tokens(tokens: &[(&str, Role)]) -> Access {
    let token = |(name, role): &(&str, Role)| {
        Token::new((*name).to_owned(), *role, &Secret::new((*name).to_owned()))
    };
    Access {
        tokens: tokens.iter().map(token).collect(),
        ..access()
    }
}

/// A source with these credentials, beside the open ones.
pub(crate) fn access_with_source(name: &str, credentials: Vec<Credential>) -> Access {
    access_with_source_of(Kind::Alertmanager, name, credentials)
}

/// The same, of a kind: no other source of that kind is there.
pub(crate) fn access_with_source_of(
    kind: Kind,
    name: &str,
    credentials: Vec<Credential>,
) -> Access {
    let mut access = access();
    if kind != Kind::Alertmanager {
        access.sources.remove(kind.as_str());
    }
    let source = Arc::new(Source::new(kind, credentials));
    access.sources.insert(name.to_owned(), source);
    access
}

fn live(access: Access, in_force: InForce, loaded_at: Timestamp) -> Arc<LiveSite> {
    Arc::new(LiveSite::new(Current {
        in_force,
        access,
        max_body_bytes: MAX_BODY,
        zone: chrono_tz::UTC,
        loaded_at,
        refused: None,
    }))
}

fn site(simulation: &Simulation, store: Store, live: Arc<LiveSite>) -> Parts {
    Parts {
        store,
        live,
        links: Arc::new(simulation.links().clone()),
        health: simulation.shared_health().clone(),
        reload: Reload::new(|| {
            Ok(Reloaded {
                revision: "r2".to_owned(),
                warnings: Vec::new(),
            })
        }),
        metrics: metrics(),
        memory: Memory::default(),
        gate: Gate::new(simulation.clock().clone()),
        confirmer: Confirmer::new(|_url, _hosts| {
            Box::pin(async { Err(Unconfirmed::Failed("nobody is asked here".to_owned())) })
        }),
        backtests: Backtests::default(),
        clock: simulation.clock().clone(),
    }
}

/// The recorder is the process's: all tests count into one.
fn metrics() -> Metrics {
    static RECORDER: OnceLock<Metrics> = OnceLock::new();
    RECORDER
        .get_or_init(|| {
            let handle =
                watchkeeper::telemetry::start_metrics().expect("nobody else installs a recorder");
            Metrics::new(move || handle.render())
        })
        .clone()
}
