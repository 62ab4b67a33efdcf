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
use crate::store::intake::record;
use crate::store::records::DeadLetter;
use crate::store::report::{Recorded, Report, foreseen};
use crate::store::{Failure, Store, Tx};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use metrics::Counter;
use serde::Serialize;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, OnceLock};

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
    request: Request,
) -> Result<Json<Answer>, Problem> {
    let (head, body) = request.into_parts();
    let site = live.load();
    let (kind, counters) = match site.access.source(&name, &head.headers) {
        Ok(source) => (source.kind, source.counters.clone()),
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
        // Worth its while only where records are far away.
        let foreseen = match store.reads_are_far() {
            true => foreseen(&report, &in_force),
            false => Vec::new(),
        };
        store
            .transact_foreseeing(Class::Intake, foreseen, move |tx| {
                record(tx, &report, &in_force, now)
            })
            .await?
    };
    counters.count(&name, accepted, n_rejected, &recorded);
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

/// What is counted of a source, found once: by their names it would cost more than the rest of a small report.
#[derive(Clone, Default)]
pub struct Counters(Arc<OnceLock<Counted>>);

struct Counted {
    received: Counter,
    rejected: Counter,
    repeats: Counter,
    late_results: Counter,
    unrouted: Counter,
    dropped: Counter,
    unknown_resolved: Counter,
    incidents_opened: Counter,
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counters")
    }
}

impl Counted {
    fn of(source: &str) -> Self {
        let counter = |name: &'static str| metrics::counter!(name, "source" => source.to_owned());
        Self {
            received: counter("watchkeeper_received_total"),
            rejected: counter("watchkeeper_rejected_total"),
            repeats: counter("watchkeeper_repeats_total"),
            late_results: counter("watchkeeper_late_results_total"),
            unrouted: counter("watchkeeper_unrouted_total"),
            dropped: counter("watchkeeper_dropped_total"),
            unknown_resolved: counter("watchkeeper_unknown_resolved_total"),
            incidents_opened: counter("watchkeeper_incidents_opened_total"),
        }
    }
}

impl Counters {
    fn count(&self, source: &str, accepted: usize, rejected: usize, recorded: &Recorded) {
        let counted = self.0.get_or_init(|| Counted::of(source));
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        counted.received.increment(number(accepted + rejected));
        counted.rejected.increment(number(rejected));
        counted.repeats.increment(recorded.n_repeats);
        counted.late_results.increment(recorded.n_late);
        counted.unrouted.increment(recorded.n_unrouted);
        counted.dropped.increment(recorded.n_dropped);
        counted
            .unknown_resolved
            .increment(recorded.n_unknown_resolved);
        counted
            .incidents_opened
            .increment(number(recorded.opened.len()));
        for warning in &recorded.warnings {
            tracing::warn!(source, warning, "a dedup key is not what its rule says");
        }
    }
}
