//! What senders post. A 2xx means that everything it counts is on disk.

use crate::clock::Clock;
use crate::domain::time::Timestamp;
use crate::http::LiveSite;
use crate::http::auth::SourceRefusal;
use crate::http::body::{self, Memory};
use crate::http::params::Path;
use crate::http::problem::Problem;
use crate::ingest;
use crate::store::engine::Class;
use crate::store::records::DeadLetter;
use crate::store::report::{Recorded, Report, record};
use crate::store::{Failure, Store, Tx};
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Serialize;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;

/// Bytes of a rejected item that are kept.
const ITEM_KEPT_BYTES: usize = 16 * 1024;

/// What became of a report.
#[derive(Debug, Serialize)]
pub struct Answer {
    received: usize,
    accepted: usize,
    rejected: usize,
    opened: BTreeSet<u64>,
    joined: BTreeSet<u64>,
}

pub async fn receive(
    Path(name): Path<String>,
    State(live): State<Arc<LiveSite>>,
    State(store): State<Store>,
    State(clock): State<Clock>,
    State(memory): State<Memory>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Answer>, Problem> {
    let site = live.load();
    let kind = match site.access.source(&name, &headers) {
        Ok(source) => source.kind,
        Err(SourceRefusal::Unknown) => {
            return Err(Problem::not_found(format!("there is no source \"{name}\"")));
        }
        Err(SourceRefusal::WrongCredentials) => {
            metrics::counter!("watchkeeper_unauthorized_total", "source" => name.clone())
                .increment(1);
            return Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                format!("wrong or missing credentials for \"{name}\""),
            ));
        }
    };
    let (in_force, max_body_bytes) = (site.in_force.clone(), site.max_body_bytes);
    // Not held while a sender takes its time.
    drop(site);
    let body = body::read(body, max_body_bytes, &memory).await?;
    let bytes = &body.bytes;
    let now = clock.now();
    let parsed = match ingest::parse(kind, bytes, now) {
        Ok(parsed) => parsed,
        Err(unusable) => {
            metrics::counter!("watchkeeper_rejected_total", "source" => name.clone()).increment(1);
            let letter = dead_letter(
                &name,
                kind.as_str(),
                &unusable.path,
                &unusable.reason,
                &text(bytes),
                now,
            );
            keep(&store, letter).await?;
            return Err(Problem::bad_request(unusable.reason).at(unusable.path));
        }
    };
    for note in &parsed.notes {
        tracing::warn!(source = name, note, "a report was read with a correction");
    }
    let rejected = parsed
        .rejected
        .iter()
        .map(|item| {
            dead_letter(
                &name,
                kind.as_str(),
                &item.path,
                &item.reason,
                &item.item,
                now,
            )
        })
        .collect::<Vec<_>>();
    let (accepted, n_rejected) = (parsed.sightings.len(), rejected.len());
    let unusable = parsed.rejected.first().filter(|_| accepted == 0);
    let unusable =
        unusable.map(|item| Problem::bad_request(item.reason.as_str()).at(item.path.as_str()));
    let report = Report {
        source: name.clone(),
        kind: kind.as_str(),
        sightings: parsed.sightings,
        rejected,
    };
    let recorded = if accepted + n_rejected == 0 {
        Recorded::default()
    } else {
        store
            .transact(Class::Intake, move |tx| record(tx, &report, &in_force, now))
            .await?
    };
    count(&name, accepted, n_rejected, &recorded);
    if let Some(nothing_usable) = unusable {
        return Err(nothing_usable);
    }
    Ok(Json(Answer {
        received: accepted + n_rejected,
        accepted,
        rejected: n_rejected,
        opened: recorded.opened,
        joined: recorded.joined,
    }))
}

/// What nothing could be read of is kept all the same.
async fn keep(store: &Store, letter: DeadLetter) -> Result<(), Problem> {
    let work = move |tx: &mut Tx<'_, '_>| -> Result<(), Failure<Infallible>> {
        Ok(tx.put_dead_letter(&letter).map(drop)?)
    };
    Ok(store.transact(Class::Intake, work).await?)
}

fn dead_letter(
    source: &str,
    kind: &str,
    path: &str,
    reason: &str,
    item: &str,
    now: Timestamp,
) -> DeadLetter {
    let end = item.floor_char_boundary(ITEM_KEPT_BYTES);
    DeadLetter {
        at: now,
        source: source.to_owned(),
        kind: kind.to_owned(),
        reason: reason.to_owned(),
        path: path.to_owned(),
        item: item.get(..end).unwrap_or_default().to_owned(),
    }
}

/// The start of a body as text; what is no UTF-8 is shown as such.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..ITEM_KEPT_BYTES).unwrap_or(bytes)).into_owned()
}

fn count(source: &str, accepted: usize, rejected: usize, recorded: &Recorded) {
    let add = |name: &'static str, n: u64| {
        metrics::counter!(name, "source" => source.to_owned()).increment(n);
    };
    let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    add("watchkeeper_received_total", number(accepted + rejected));
    add("watchkeeper_rejected_total", number(rejected));
    add("watchkeeper_repeats_total", recorded.n_repeats);
    add("watchkeeper_late_results_total", recorded.n_late);
    add("watchkeeper_unrouted_total", recorded.n_unrouted);
    add("watchkeeper_dropped_total", recorded.n_dropped);
    add(
        "watchkeeper_unknown_resolved_total",
        recorded.n_unknown_resolved,
    );
    add(
        "watchkeeper_incidents_opened_total",
        number(recorded.opened.len()),
    );
    for warning in &recorded.warnings {
        tracing::warn!(source, warning, "a dedup key is not what its rule says");
    }
}
