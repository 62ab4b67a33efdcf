//! The far end of a webhook channel: takes every page and remembers it.

use axum::Router;
use axum::extract::{Json, State};
use axum::http::HeaderMap;
use axum::routing::post;
use serde_json::Value;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub(crate) struct Receiver {
    url: String,
    bodies: Arc<Mutex<Vec<Value>>>,
    /// Serves until it is dropped.
    _serving: JoinSet<std::io::Result<()>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let bodies = Arc::default();
        let router = Router::new()
            .route("/hook", post(take))
            .with_state(Arc::clone(&bodies));
        let mut serving = JoinSet::new();
        serving.spawn(async { axum::serve(listener, router).await });
        Self {
            url: format!("http://{address}/hook"),
            bodies,
            _serving: serving,
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What came so far, oldest first.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        self.bodies.lock().expect("nobody panics in here").clone()
    }
}

async fn take(
    State(bodies): State<Arc<Mutex<Vec<Value>>>>,
    headers: HeaderMap,
    Json(mut body): Json<Value>,
) {
    if let (Some(key), Some(body)) = (headers.get("idempotency-key"), body.as_object_mut()) {
        let key = key.to_str().expect("a page id is ASCII");
        body.insert("idempotency_key".to_owned(), key.into());
    }
    bodies.lock().expect("nobody panics in here").push(body);
}
