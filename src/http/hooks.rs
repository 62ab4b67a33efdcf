//! What senders post. A 2xx means that everything it counts is on disk.

use crate::domain::alert::Labels;
use crate::domain::confirmation::Unconfirmed;
use crate::domain::source::{Kind, Rate};
use crate::domain::time::Timestamp;
use crate::http::auth::{Admission, Source, parameters};
use crate::http::body;
use crate::http::confirm::problem;
use crate::http::gate::client;
use crate::http::openapi::problems::{SourceMissing, SourceMistold};
use crate::http::params::{BySource, Path};
use crate::http::problem::Problem;
use crate::http::{LiveSite, Site};
use crate::ingest::{self, Around, Confirm, Parsed, Post, Rejected, Unusable};
use crate::store::engine::Class;
use crate::store::intake::record;
use crate::store::records::{DeadLetter, Lack};
use crate::store::report::{Recorded, Report, foreseen};
use crate::store::{Failure, Store, Tx};
use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::ALLOW;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use metrics::Counter;
use serde::Serialize;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, OnceLock};
use utoipa::ToSchema;

/// Bytes that one report may add to its rejected items so that each can be read again alone.
const AROUND_MAX_BYTES: usize = 2 << 20;

const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// What became of a report.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Taken)]
pub struct Answer {
    received: usize,
    accepted: usize,
    /// Which went to the dead letters.
    rejected: usize,
    /// Incidents that it opened.
    opened: BTreeSet<u64>,
    /// The other open incidents that alerts in it belong to.
    joined: BTreeSet<u64>,
}

/// Takes what a sender posts, in the format of its kind. Once this is answered, all that it counts is on disk.
#[utoipa::path(
    post,
    path = "/hooks/{source}",
    operation_id = "postReport",
    security(("source" = []), ("basic" = [])),
    params(BySource),
    request_body(content = serde_json::Value, description = "What the kind of the source says: see the README"),
    responses((status = 200, description = "What became of it", body = Answer), SourceMistold)
)]
pub async fn receive(
    path: Path<String>,
    site: State<Site>,
    request: Request,
) -> Result<Json<Answer>, Problem> {
    received(path, site, request).await
}

/// Takes what an address alone tells, where a mapping reads it.
#[utoipa::path(
    get,
    path = "/hooks/{source}",
    operation_id = "tellReport",
    security(("source" = []), ("basic" = [])),
    params(BySource),
    responses(
        (status = 200, description = "What became of it", body = Answer),
        (status = 405, description = "The source reads bodies", body = super::problem::Document, content_type = "application/problem+json", headers(("Allow" = String, description = "The methods that it takes"))),
        SourceMistold,
    )
)]
pub async fn told(
    path: Path<String>,
    site: State<Site>,
    request: Request,
) -> Result<Json<Answer>, Problem> {
    received(path, site, request).await
}

async fn received(
    Path(name): Path<String>,
    State(site): State<Site>,
    request: Request,
) -> Result<Json<Answer>, Problem> {
    let (head, body) = request.into_parts();
    let live = site.live.load();
    let Some(source) = live.access.source(&name).cloned() else {
        return Err(Problem::not_found(format!("there is no source \"{name}\"")));
    };
    let max_body_bytes = live.max_body_bytes;
    let client = client(&head, &live.access.proxies);
    // Not held while a sender takes its time.
    drop(live);
    // What is mapped may be told by an address alone.
    let is_told = head.method == Method::GET && source.mapping.is_some();
    if head.method != Method::POST && !is_told {
        return Err(Problem::not_allowed(methods(&source)));
    }
    site.gate.admit(&name, client)?;
    let admission = source.admits(&head);
    match admission {
        Admission::No => {
            let problem = site.gate.wrong(&name, source.wrong(&head), client);
            return Err(match source.is_basic() {
                true => problem.asking_for_a_password(),
                false => problem,
            });
        }
        Admission::Yes => site.gate.takes(&name, source.rate)?,
        Admission::IfSigned => {}
    }
    let body = body::read(body, max_body_bytes, &site.memory).await?;
    let now = site.clock.now();
    if admission == Admission::IfSigned {
        if let Some(wrong) = source.is_unsigned(&head, &body.bytes, now) {
            return Err(site.gate.wrong(&name, wrong, client));
        }
        site.gate.takes(&name, source.rate)?;
    }
    let (mut headers, mut query) = match source.kind.is_told_by_its_body() {
        true => (Vec::new(), Vec::new()),
        false => (words_of(&head.headers), parameters(&head.uri)),
    };
    // A mapping may make anything of them, and a secret stays one.
    if source.mapping.is_some() {
        headers.retain(|(name, _)| !source.has_secret_in_header(name));
        query.retain(|(name, _)| !source.has_secret_in_query(name));
    }
    let post = Post {
        body: &body.bytes,
        headers: &headers,
        query: &query,
        now,
        mapping: source.mapping.as_deref(),
    };
    let taken = take(&site, &name, &source, &post).await?;
    Ok(Json(taken.answer))
}

/// `OPTIONS`: whether a sender of events may send them here, and how often, as the webhooks of `CloudEvents` ask before they send
/// any. Its consent is in the answer: an address to call back is not called.
#[utoipa::path(
    options,
    path = "/hooks/{source}",
    operation_id = "askToSend",
    params(BySource),
    responses(
        (status = 200, description = "It may"),
        (status = 405, description = "It need not ask", body = super::problem::Document, content_type = "application/problem+json", headers(("Allow" = String, description = "The methods that it takes"))),
        SourceMissing,
    )
)]
pub async fn handshake(
    Path(name): Path<String>,
    State(live): State<Arc<LiveSite>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let live = live.load();
    let Some(source) = live.access.source(&name) else {
        return Err(Problem::not_found(format!("there is no source \"{name}\"")));
    };
    let origin = headers.get(REQUEST_ORIGIN);
    let Some(origin) = origin.filter(|_| source.kind == Kind::Cloudevents) else {
        return Err(Problem::not_allowed(methods(source)));
    };
    let rate = match source.rate {
        Some(rate) => HeaderValue::from(per_minute(rate)),
        None => HeaderValue::from_static("*"),
    };
    let consent = [
        (ALLOW, HeaderValue::from_static(methods(source))),
        (ALLOWED_ORIGIN, origin.clone()),
        (ALLOWED_RATE, rate),
    ];
    Ok((consent, StatusCode::OK).into_response())
}

/// The methods by which a source may send.
fn methods(source: &Source) -> &'static str {
    match source.mapping {
        Some(_) => "GET,POST",
        None => "POST",
    }
}

/// At least one: none would be no consent.
fn per_minute(rate: Rate) -> u64 {
    let n = u128::from(rate.requests) * 60_000 / rate.within.as_millis().max(1);
    u64::try_from(n).unwrap_or(u64::MAX).max(1)
}

/// What was taken of a post.
pub(super) struct Taken {
    pub(super) answer: Answer,
    /// The first alert that it told of.
    pub(super) first: Option<Labels>,
}

/// Reads and records what a source posted. Once this returns, all that it counts survives a crash.
pub(super) async fn take(
    site: &Site,
    name: &str,
    source: &Source,
    post: &Post<'_>,
) -> Result<Taken, Problem> {
    take_as(site, name, source, source.kind, post).await
}

/// The same, read as another kind than the source's.
pub(super) async fn take_as(
    site: &Site,
    name: &str,
    source: &Source,
    kind: Kind,
    post: &Post<'_>,
) -> Result<Taken, Problem> {
    let parsed = match read(kind, post) {
        Ok(parsed) => parsed,
        Err(unusable) => return refuse(site, name, kind, post, unusable).await,
    };
    record_parsed(site, name, source, kind, post, parsed).await
}

/// Keeps a body of which nothing could be used, and says why.
pub(super) async fn refuse(
    site: &Site,
    name: &str,
    kind: Kind,
    post: &Post<'_>,
    unusable: Unusable,
) -> Result<Taken, Problem> {
    metrics::counter!("watchkeeper_rejected_total", "source" => name.to_owned()).increment(1);
    let letter = unusable_letter(name, kind, post, &unusable);
    keep(&site.store, letter).await?;
    Err(Problem::bad_request(unusable.reason).at(unusable.path))
}

/// Records what was read.
pub(super) async fn record_parsed(
    site: &Site,
    name: &str,
    source: &Source,
    kind: Kind,
    post: &Post<'_>,
    parsed: Parsed,
) -> Result<Taken, Problem> {
    let now = post.now;
    note(name, &parsed);
    if let Some(asked) = &parsed.confirm {
        confirm(site, name, source, asked, post).await?;
    }
    let n_told = parsed.n_told();
    let (accepted, n_rejected) = (parsed.n_accepted(), parsed.rejected.len());
    let unusable = parsed.rejected.first().filter(|_| accepted == 0);
    let unusable =
        unusable.map(|item| Problem::bad_request(item.reason.as_str()).at(item.path.as_str()));
    let told = parsed.sightings.iter().map(|sighting| &sighting.labels);
    let first = told.chain(&parsed.acknowledged).next().cloned();
    let report = report(name, kind, post, parsed);
    let recorded = match n_told + n_rejected {
        0 => Recorded::default(),
        _some => keep_report(site, report, now).await?,
    };
    source.counters.count(name, accepted, n_rejected, &recorded);
    if let Some(nothing_usable) = unusable {
        return Err(nothing_usable);
    }
    let answer = Answer {
        received: accepted + n_rejected,
        accepted,
        rejected: n_rejected,
        opened: recorded.opened,
        joined: recorded.joined,
    };
    Ok(Taken { answer, first })
}

/// What was posted in a format.
pub(super) fn read(kind: Kind, post: &Post<'_>) -> Result<Parsed, Unusable> {
    ingest::parse(kind, post)
}

/// Tells people how it was read, where they should know.
pub(super) fn note(source: &str, parsed: &Parsed) {
    for note in &parsed.notes {
        tracing::warn!(source, note, "a report was read with a note");
    }
}

/// What is recorded of what was read.
pub(super) fn report(name: &str, kind: Kind, post: &Post<'_>, parsed: Parsed) -> Report {
    let scope = parsed.complete_scope().cloned();
    let rejected = letters(name, kind, post, parsed.rejected);
    Report {
        source: name.to_owned(),
        kind: kind.as_str(),
        sightings: parsed.sightings,
        acknowledged: parsed.acknowledged,
        changes: parsed.changes,
        rejected,
        scope,
    }
}

/// Confirms a subscription. What is not allowed is kept, for a person to look at.
async fn confirm(
    site: &Site,
    name: &str,
    source: &Source,
    asked: &Confirm,
    post: &Post<'_>,
) -> Result<(), Problem> {
    let confirming = site.confirmer.confirm(&asked.url, &source.confirm_hosts);
    let Err(why) = confirming.await else {
        tracing::info!(source = name, "a subscription was confirmed");
        return Ok(());
    };
    tracing::warn!(source = name, %why, "a subscription was not confirmed");
    if let Unconfirmed::NotAllowed(reason) = &why {
        let unusable = Unusable {
            path: asked.path.clone(),
            reason: reason.clone(),
        };
        refuse(site, name, source.kind, post, unusable).await?;
    }
    Err(problem(&why))
}

async fn keep_report(site: &Site, report: Report, now: Timestamp) -> Result<Recorded, Problem> {
    let in_force = site.live.load().in_force.clone();
    // Worth its while only where records are far away.
    let foreseen = match site.store.reads_are_far() {
        true => foreseen(&report, &in_force, now),
        false => Vec::new(),
    };
    let work = move |tx: &mut Tx<'_, '_>| record(tx, &report, &in_force, now);
    let recorded = site
        .store
        .transact_foreseeing(Class::Intake, foreseen, work);
    Ok(recorded.await?)
}

/// The headers that are texts.
fn words_of(headers: &HeaderMap) -> Vec<(String, String)> {
    let texts = headers.iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    texts.collect()
}

/// What nothing could be read of is kept all the same.
async fn keep(store: &Store, letter: DeadLetter) -> Result<(), Problem> {
    let work = move |tx: &mut Tx<'_, '_>| -> Result<(), Failure<Infallible>> {
        Ok(tx.put_dead_letter(&letter).map(drop)?)
    };
    Ok(store.transact(Class::Intake, work).await?)
}

/// The rejected items of a report, each with what it takes to read it again alone, as far as there is room for that.
fn letters(name: &str, kind: Kind, post: &Post<'_>, rejected: Vec<Rejected>) -> Vec<DeadLetter> {
    let mut left = AROUND_MAX_BYTES;
    let letter = |item: Rejected| {
        let size = |around: &Around| around.before.len() + around.after.len();
        let around = item.around.filter(|around| {
            let fitting = left.checked_sub(size(around));
            left = fitting.unwrap_or(left);
            fitting.is_some()
        });
        DeadLetter {
            path: item.path,
            reason: item.reason,
            item: item.item,
            lacks: item.lacks.map(lack),
            around: around.map(|around| (around.before.clone(), around.after.clone())),
            ..blank_letter(name, kind, post)
        }
    };
    rejected.into_iter().map(letter).collect()
}

fn unusable_letter(name: &str, kind: Kind, post: &Post<'_>, unusable: &Unusable) -> DeadLetter {
    let (item, lacks) = ingest::kept(kind, post.body);
    DeadLetter {
        path: unusable.path.clone(),
        reason: unusable.reason.clone(),
        item,
        lacks: lacks.map(lack),
        around: Some((String::new(), String::new())).filter(|_| lacks.is_none()),
        ..blank_letter(name, kind, post)
    }
}

/// Where something came from, and what its kind reads besides a body.
fn blank_letter(name: &str, kind: Kind, post: &Post<'_>) -> DeadLetter {
    let those = |pairs: &[(String, String)], reads: fn(Kind, &str) -> bool| {
        let those = pairs.iter().filter(|(name, _)| reads(kind, name));
        those.cloned().collect()
    };
    DeadLetter {
        at: post.now,
        source: name.to_owned(),
        kind: kind.as_str().to_owned(),
        reason: String::new(),
        path: String::new(),
        item: String::new(),
        lacks: None,
        around: None,
        headers: those(post.headers, ingest::reads_header),
        query: those(post.query, ingest::reads_parameter),
        replayed: None,
    }
}

fn lack(lack: ingest::Lack) -> Lack {
    match lack {
        ingest::Lack::Rows => Lack::Rows,
        ingest::Lack::End => Lack::End,
        ingest::Lack::Text => Lack::Text,
    }
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
    pub(super) fn count(
        &self,
        source: &str,
        accepted: usize,
        rejected: usize,
        recorded: &Recorded,
    ) {
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
