//! The ceiling: axum takes Alertmanager's webhook, `serde_json` reads it into types, 200 goes back. Nothing is kept.

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::hint::black_box;
use tokio::net::TcpListener;

type Labels = BTreeMap<String, String>;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "it is read for what reading costs")]
struct Webhook {
    receiver: String,
    status: String,
    alerts: Vec<Alert>,
    group_labels: Labels,
    common_labels: Labels,
    common_annotations: Labels,
    #[serde(rename = "externalURL")]
    external_url: String,
    version: String,
    group_key: String,
    truncated_alerts: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "it is read for what reading costs")]
struct Alert {
    status: String,
    labels: Labels,
    annotations: Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: String,
    fingerprint: String,
}

/// Serves until it is killed. What it prints first says where.
#[tokio::main]
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let router = Router::new()
        .route("/hooks/alertmanager", post(take))
        .route("/ready", get(StatusCode::OK));
    Ok(axum::serve(listener, router).await?)
}

async fn take(body: Bytes) -> StatusCode {
    match serde_json::from_slice::<Webhook>(&body) {
        Ok(webhook) => {
            black_box(webhook);
            StatusCode::OK
        }
        Err(_unreadable) => StatusCode::BAD_REQUEST,
    }
}
