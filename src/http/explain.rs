//! Why the rules decide as they do: of the alerts of an incident by those that are live, and of whatever is posted by rules that are
//! only tried. Neither changes anything.

use crate::clock::Clock;
use crate::domain::alert::{Labels, Outcome, Run, Said, Sighting, Signal};
use crate::domain::template::Facts;
use crate::domain::time::Timestamp;
use crate::http::auth::{Actor, Role, Source};
use crate::http::body::Command;
use crate::http::incidents::{PartQuery, limit, member_cursor, no_such};
use crate::http::params::{Path, Query};
use crate::http::problem::Problem;
use crate::http::{Current, LiveSite, view};
use crate::ingest::{Parsed, Post, Rejected, parse};
use crate::rules::explain::explain;
use crate::rules::{Context, load_texts};
use crate::store::{InForce, Store, lists};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How rules that are tried are named in findings.
const TRIED: &str = "rules.toml";

/// Alerts that are tried at once: of each every rule is told.
const TRIED_MAX: usize = 100;

/// By which rule an incident was opened, and what the live rules say now of each of its alerts.
pub async fn incident(
    _actor: Actor,
    Path(number): Path<u64>,
    Query(query): Query<PartQuery>,
    State(store): State<Store>,
    State(live): State<Arc<LiveSite>>,
    State(clock): State<Clock>,
) -> Result<Json<Value>, Problem> {
    let after = query.cursor.as_deref().map(member_cursor).transpose()?;
    let limit = limit(Some(query.limit.unwrap_or(TRIED_MAX)))?.min(TRIED_MAX);
    let found = store
        .look(move |reader| {
            let Some(incident) = reader.incident(number)? else {
                return Ok(None);
            };
            Ok(Some((
                incident,
                lists::alerts_of(reader, number, after, limit)?,
            )))
        })
        .await?;
    let (incident, page) = found.ok_or_else(|| no_such(number))?;
    let (current, now) = (live.load(), clock.now());
    let InForce { rules, book } = &current.in_force;
    let alerts = page.items.iter().map(|listed| {
        let alert = &listed.alert;
        let facts = Facts {
            labels: &alert.labels,
            annotations: &alert.annotations,
            attributes: &alert.attributes,
        };
        let explained = explain(rules, book, facts, listed.fingerprint, now);
        json!({
            "fingerprint": listed.fingerprint,
            "labels": alert.labels,
            "status": alert.status,
            "joined_by": alert.rule,
            "rules": explained.rules,
            "verdict": explained.verdict,
        })
    });
    let mut answer = view::list("alerts", alerts.collect(), page.next);
    if let Some(answer) = answer.as_object_mut() {
        let opened = &incident.opened;
        let is_there = opened
            .rule
            .as_deref()
            .map(|rule| rules.opening_of(rule).is_some());
        answer.insert(
            "opened".to_owned(),
            json!({ "at": view::instant(incident.opened_at), "rule": opened.rule, "revision": opened.revision }),
        );
        answer.insert(
            "live".to_owned(),
            json!({ "revision": rules.revision, "has_rule": is_there }),
        );
    }
    Ok(Json(answer))
}

/// Rules, and what is tried on them: a payload as the source posts it, or alerts of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    rules: String,
    source: String,
    payload: Option<Box<RawValue>>,
    /// Of the request, for formats that are told by those.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    alerts: Option<Vec<Tried>>,
    /// When they arrive; now where it is missing.
    at: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tried {
    labels: Labels,
    #[serde(default)]
    annotations: Labels,
    #[serde(default)]
    attributes: Labels,
    severity: Option<String>,
    outcome: Option<Outcome>,
}

/// What these rules would say.
pub async fn try_rules(
    actor: Actor,
    State(live): State<Arc<LiveSite>>,
    State(clock): State<Clock>,
    Command(trial): Command<Trial>,
) -> Result<Json<Value>, Problem> {
    actor.must_be(Role::Responder)?;
    let at = trial.at.as_deref().map(str::parse::<Timestamp>).transpose();
    let at = at.map_err(|error| Problem::bad_request(error.to_string()).at("$.at"))?;
    let now = at.unwrap_or_else(|| clock.now());
    let current = live.load_full();
    let tried = tokio::task::spawn_blocking(move || tried(&current, &trial, now)).await;
    let tried = tried.map_err(|error| {
        tracing::error!(%error, "trying rules panicked");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the rules could not be tried",
        )
    })?;
    tried.map(Json)
}

fn tried(current: &Current, trial: &Trial, now: Timestamp) -> Result<Value, Problem> {
    let Some(source) = current.access.sources.get(&trial.source) else {
        let detail = format!("there is no source \"{}\"", trial.source);
        return Err(Problem::bad_request(detail).at("$.source"));
    };
    let InForce { rules, book } = &current.in_force;
    let context = Context {
        zone: current.zone,
        matrix: &rules.matrix,
        book,
    };
    let loaded = load_texts(&[(TRIED, &trial.rules)], context);
    let Some(rules) = loaded.rules else {
        let errors = loaded.findings.iter().map(ToString::to_string).collect();
        let detail = "the rules have errors";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with_errors(errors));
    };
    let parsed = said(trial, source, now)?;
    if parsed.sightings.len() > TRIED_MAX {
        let n = parsed.sightings.len();
        let detail = format!("at most {TRIED_MAX} alerts are tried at once, found {n}");
        return Err(Problem::bad_request(detail).at("$"));
    }
    let alerts = parsed.sightings.iter().map(|sighting| {
        let outcome = match &sighting.said {
            Said::Check { outcome, .. } => Some(*outcome),
            Said::Signal(_) => None,
        };
        // One that could not run is an alert of its own.
        let labels = match outcome {
            Some(Outcome::Error) => sighting.labels.twin(),
            _other => sighting.labels.clone(),
        };
        let attributes = sighting.attributes_from(&trial.source, source.kind.as_str(), outcome);
        let facts = Facts {
            labels: &labels,
            annotations: &sighting.annotations,
            attributes: &attributes,
        };
        let fingerprint = labels.fingerprint();
        let explained = explain(&rules, book, facts, fingerprint, now);
        json!({
            "fingerprint": fingerprint,
            "labels": labels,
            "attributes": attributes,
            "rules": explained.rules,
            "verdict": explained.verdict,
        })
    });
    let alerts: Vec<Value> = alerts.collect();
    let rejected = |item: &Rejected| json!({ "path": item.path, "reason": item.reason });
    Ok(json!({
        "revision": rules.revision,
        "warnings": loaded.findings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "alerts": alerts,
        "rejected": parsed.rejected.iter().map(rejected).collect::<Vec<_>>(),
    }))
}

fn said(trial: &Trial, source: &Source, now: Timestamp) -> Result<Parsed, Problem> {
    match (&trial.payload, &trial.alerts) {
        (Some(payload), None) => {
            let headers = trial.headers.iter();
            let headers = headers.map(|(name, text)| (name.to_ascii_lowercase(), text.clone()));
            let headers: Vec<(String, String)> = headers.collect();
            let post = Post {
                body: payload.get().as_bytes(),
                headers: &headers,
                query: &[],
                now,
                mapping: source.mapping.as_deref(),
            };
            parse(source.kind, &post).map_err(|unusable| {
                let inside = unusable.path.trim_start_matches('$');
                Problem::bad_request(unusable.reason.clone()).at(format!("$.payload{inside}"))
            })
        }
        (None, Some(alerts)) => Ok(Parsed {
            sightings: alerts.iter().map(sighting).collect(),
            ..Parsed::default()
        }),
        (Some(_), Some(_)) | (None, None) => {
            Err(Problem::bad_request("either \"payload\" or \"alerts\" is wanted").at("$"))
        }
    }
}

fn sighting(tried: &Tried) -> Sighting {
    Sighting {
        labels: tried.labels.clone(),
        annotations: tried.annotations.clone(),
        attributes: tried.attributes.clone(),
        severity: tried.severity.clone(),
        starts_at: None,
        ends_at: None,
        said: match tried.outcome {
            None => Said::Signal(Signal::Firing),
            Some(outcome) => Said::Check {
                outcome,
                run: Run::default(),
            },
        },
    }
}
