//! `serve --demo`: posts real payloads to the daemon and says what happened and what to try next.

use crate::cli::client::{Daemon, items, text};
use crate::cli::print;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::sync::oneshot;

/// As Alertmanager 0.25 sent it: three alerts of one group.
const ALERTMANAGER: &str =
    include_str!("../../tests/it/fixtures/payloads/alertmanager-webhook/firing_grouped_3.json");

/// As a job with pandera checks sent it: five that fail.
const PANDERA: &str = include_str!("../../tests/it/fixtures/payloads/generic/example_pandera.json");

/// Waits until the daemon serves, then shows it at work.
pub(super) async fn show(served_at: oneshot::Receiver<SocketAddr>) -> anyhow::Result<()> {
    // The daemon did not come up; it says why itself.
    let Ok(address) = served_at.await else {
        return Ok(());
    };
    let daemon = Daemon::at(&format!("http://{address}"), None)?;
    match play(&daemon).await {
        Ok(text) => print(&text),
        Err(error) => print(&format!(
            "\nThe demo could not be played: {error:#}\n\
             It posts to /hooks/alertmanager and /hooks/check without credentials, as the shipped configuration allows on\n\
             loopback. The daemon runs all the same.\n"
        )),
    }
}

async fn play(daemon: &Daemon) -> anyhow::Result<String> {
    let alertmanager: Value = serde_json::from_str(ALERTMANAGER)?;
    let first = daemon.post("/hooks/alertmanager", &alertmanager).await?;
    let again = daemon.post("/hooks/alertmanager", &alertmanager).await?;
    let mut pandera: Value = serde_json::from_str(PANDERA)?;
    // A run of its own each time, or it would be told from the last demo as a repeat.
    if let Some(run) = pandera.get_mut("run").and_then(Value::as_object_mut) {
        run.insert("id".to_owned(), json!(uuid::Uuid::now_v7().to_string()));
        run.insert("finished_at".to_owned(), Value::Null);
    }
    let checks = daemon.post("/hooks/check", &pandera).await?;
    let incidents = daemon.get("/api/v1/incidents?status=open").await?;
    let url = daemon.url();
    let mut shown = format!(
        "\nWatchkeeper is at work on {url}. What just happened:\n\n\
         1. Alertmanager posted a group of three alerts to {url}/hooks/alertmanager:\n     {first}\n   \
         They have one dedup key, so they are one incident, and whoever is on call was paged once.\n\
         2. The same group came again, as Alertmanager repeats it:\n     {again}\n   \
         Nothing opened and nobody was paged: the sightings were counted.\n\
         3. A data-quality job posted five failed checks of one table to {url}/hooks/check:\n     {checks}\n\n\
         Open incidents:\n"
    );
    for incident in items(&incidents, "incidents") {
        let number = incident.get("number").and_then(Value::as_u64).unwrap_or(0);
        let received = incident
            .pointer("/alerts/received")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        shown.push_str(&format!(
            "  #{number} {} in {}: {} ({received} sightings)\n",
            text(incident, "severity"),
            text(incident, "phase"),
            text(incident, "title"),
        ));
    }
    let number = items(&incidents, "incidents")
        .last()
        .and_then(|incident| incident.get("number")?.as_u64())
        .unwrap_or(1);
    shown.push_str(&format!(
        "\nTry next, in another terminal:\n\n  \
         curl -s {url}/api/v1/incidents/{number}/timeline        # everything that happened to it\n  \
         curl -s {url}/api/v1/incidents/{number}/pages           # who was paged, each attempt\n  \
         curl -s -X POST {url}/api/v1/incidents/{number}/acknowledge -d '{{\"by\":\"you\"}}'\n  \
         curl -s -X POST {url}/api/v1/incidents/{number}/close   # refused: what is missing up to the end\n  \
         curl -s {url}/readyz                            # store, engine, audit, rules\n\n\
         Pages went to the log above, because no other channel is configured yet: see config/oncall.toml for people and\n\
         config/watchkeeper.toml for channels. Point a real Alertmanager at {url}/hooks/alertmanager.\n\
         Ctrl-C ends it; nothing is lost, start it again and see.\n\n"
    ));
    Ok(shown)
}
