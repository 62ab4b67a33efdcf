//! Why the rules decide as they do: of the alerts of an incident by those that are live, and of whatever is posted by rules that are
//! only tried. Neither changes anything.

use crate::clock::Clock;
use crate::domain::alert::{Fingerprint, Labels, Outcome, Run, Said, Sighting, Signal, Status};
use crate::domain::template::Facts;
use crate::domain::time::Timestamp;
use crate::http::auth::{Actor, Responder, Source};
use crate::http::body::Command;
use crate::http::incidents::{PartQuery, limit, member_cursor, no_such};
use crate::http::openapi::asked::asked;
use crate::http::openapi::problems::{Missing, Untried};
use crate::http::openapi::words;
use crate::http::params::{ByNumber, Path, Query};
use crate::http::problem::Problem;
use crate::http::view::Instant;
use crate::http::{Current, LiveSite};
use crate::ingest::{Parsed, Post, parse};
use crate::rules::explain::{Ruling, Tried as TriedRule, explain};
use crate::rules::{Context, load_texts};
use crate::store::{InForce, Store, lists};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// How rules that are tried are named in findings.
const TRIED: &str = "rules.toml";

/// Alerts that are tried at once: of each every rule is told.
const TRIED_MAX: usize = 100;

/// Why an incident was opened, and what the live rules say of its alerts.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explained {
    pub alerts: Vec<AlertExplained>,
    /// The `cursor` of the next page; null where this is the last one.
    #[schema(required = true)]
    pub next: Option<String>,
    pub opened: OpenedBy,
    pub live: LiveRules,
}

/// What the live rules say now of an alert of an incident.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertExplained {
    #[schema(value_type = words::Fingerprint)]
    pub fingerprint: Fingerprint,
    #[schema(value_type = words::Labels)]
    pub labels: Labels,
    #[schema(value_type = words::AlertStatus)]
    pub status: Status,
    /// The rule by which it was routed.
    #[schema(required = true)]
    pub joined_by: Option<String>,
    /// All rules, in order.
    pub rules: Vec<TriedRule>,
    pub verdict: Ruling,
    /// What an alert must fit that mutes this one while it fires.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inhibited_by: Vec<String>,
    /// What this one mutes while it fires.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inhibits: Vec<String>,
}

/// By which rule, of which revision, an incident was opened.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenedBy {
    #[schema(value_type = words::Instant)]
    pub at: Instant,
    /// None where a person opened it.
    #[schema(required = true)]
    pub rule: Option<String>,
    pub revision: String,
}

/// The rules that are live.
#[derive(Debug, Serialize, ToSchema)]
pub struct LiveRules {
    pub revision: String,
    /// Whether the rule that opened it is among them.
    #[schema(required = true)]
    pub has_rule: Option<bool>,
}

/// What rules that were tried say.
#[derive(Debug, Serialize, ToSchema)]
pub struct Verdicts {
    /// The hash of the rules that were tried.
    pub revision: String,
    pub warnings: Vec<String>,
    pub alerts: Vec<AlertTried>,
    /// What could not be used.
    pub rejected: Vec<RejectedItem>,
}

/// What they say of one alert.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlertTried {
    #[schema(value_type = words::Fingerprint)]
    pub fingerprint: Fingerprint,
    #[schema(value_type = words::Labels)]
    pub labels: Labels,
    #[schema(value_type = words::Labels)]
    pub attributes: Labels,
    pub rules: Vec<TriedRule>,
    pub verdict: Ruling,
    /// What an alert must fit that mutes this one while it fires.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inhibited_by: Vec<String>,
    /// What this one mutes while it fires.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inhibits: Vec<String>,
}

/// An item that could not be used, and where it stood.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectedItem {
    pub path: String,
    pub reason: String,
}

asked!(AskedTrial as "Trial": Trial, one_of("payload", "alerts"));

/// By which rule an incident was opened, and what the live rules say now of each of its alerts.
#[utoipa::path(
    get,
    path = "/explain",
    operation_id = "explainIncident",
    security(("bearer" = ["viewer"])),
    params(ByNumber, PartQuery),
    responses((status = 200, description = "Why it was opened, and what the live rules say of its alerts", body = Explained), Missing)
)]
pub async fn incident(
    _actor: Actor,
    Path(number): Path<u64>,
    Query(query): Query<PartQuery>,
    State(store): State<Store>,
    State(live): State<Arc<LiveSite>>,
    State(clock): State<Clock>,
) -> Result<Json<Explained>, Problem> {
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
        AlertExplained {
            fingerprint: listed.fingerprint,
            labels: alert.labels.clone(),
            status: alert.status,
            joined_by: alert.rule.clone(),
            rules: explained.rules,
            verdict: explained.verdict,
            inhibited_by: explained.inhibited_by,
            inhibits: explained.inhibits,
        }
    });
    let opened = &incident.opened;
    let is_there = opened
        .rule
        .as_deref()
        .map(|rule| rules.opening_of(rule).is_some());
    Ok(Json(Explained {
        alerts: alerts.collect(),
        next: page.next,
        opened: OpenedBy {
            at: incident.opened_at.into(),
            rule: opened.rule.clone(),
            revision: opened.revision.clone(),
        },
        live: LiveRules {
            revision: rules.revision.clone(),
            has_rule: is_there,
        },
    }))
}

/// Rules, and what is tried on them: a payload as the source posts it, or alerts of it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// TOML, as in a file of rules.
    #[schema(example = "[[rule]]\nname = \"all\"\nmatch = ['alertname=~\".+\"']\n")]
    rules: String,
    /// As which source it came: one that is configured.
    source: String,
    /// What that source would post. Either this or `alerts` is wanted.
    #[schema(value_type = Option<serde_json::Value>)]
    payload: Option<Box<RawValue>>,
    /// Of the request, for formats that are told by those.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[schema(max_items = 100)]
    alerts: Option<Vec<Tried>>,
    /// When they arrive; now where it is missing.
    #[schema(value_type = Option<words::Instant>)]
    at: Option<String>,
}

/// An alert that is tried.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TriedAlert)]
struct Tried {
    #[schema(value_type = words::Labels)]
    labels: Labels,
    #[serde(default)]
    #[schema(value_type = words::Labels)]
    annotations: Labels,
    #[serde(default)]
    #[schema(value_type = words::Labels)]
    attributes: Labels,
    /// The sender's own word.
    severity: Option<String>,
    #[schema(value_type = Option<words::Outcome>)]
    outcome: Option<Outcome>,
}

/// What these rules would say.
#[utoipa::path(
    post,
    path = "/rules/try",
    operation_id = "tryRules",
    security(("bearer" = ["responder"])),
    request_body = AskedTrial,
    responses((status = 200, description = "What they would say", body = Verdicts), Untried)
)]
pub async fn try_rules(
    _responder: Responder,
    State(live): State<Arc<LiveSite>>,
    State(clock): State<Clock>,
    Command(trial): Command<Trial>,
) -> Result<Json<Verdicts>, Problem> {
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

fn tried(current: &Current, trial: &Trial, now: Timestamp) -> Result<Verdicts, Problem> {
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
        AlertTried {
            fingerprint,
            labels,
            attributes,
            rules: explained.rules,
            verdict: explained.verdict,
            inhibited_by: explained.inhibited_by,
            inhibits: explained.inhibits,
        }
    });
    let alerts: Vec<AlertTried> = alerts.collect();
    let rejected = parsed.rejected.into_iter().map(|item| RejectedItem {
        path: item.path,
        reason: item.reason,
    });
    Ok(Verdicts {
        revision: rules.revision.clone(),
        warnings: loaded.findings.iter().map(ToString::to_string).collect(),
        alerts,
        rejected: rejected.collect(),
    })
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
