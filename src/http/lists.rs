//! Lists beside incidents: alerts, sources, rules, action items.

use crate::clock::Clock;
use crate::domain::alert::Status;
use crate::domain::rule::{Action, Rule};
use crate::http::auth::Actor;
use crate::http::incidents::{limit, with_muting};
use crate::http::params::{Path, Query};
use crate::http::problem::Problem;
use crate::http::{LiveSite, Site, view};
use crate::store::Store;
use crate::store::lists;
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertQuery {
    status: Option<Status>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// Alerts by their last change, newest first.
pub async fn alerts(
    _actor: Actor,
    State(site): State<Site>,
    Query(query): Query<AlertQuery>,
) -> Result<Json<Value>, Problem> {
    let limit = limit(query.limit)?;
    let before = match query.cursor {
        None => None,
        Some(cursor) => match lists::read_alert_cursor(&cursor) {
            Some(before) => Some(before),
            None => return Err(Problem::bad_request(format!("bad cursor \"{cursor}\""))),
        },
    };
    let (rules, now) = (site.rules(), site.clock.now());
    let page = site
        .store
        .look(move |reader| {
            let mut page = lists::alerts(reader, query.status, before, limit)?;
            page.items = with_muting(reader, page.items, &rules, now)?;
            Ok(page)
        })
        .await?;
    Ok(Json(view::list(
        "alerts",
        page.items.iter().map(view::alert).collect(),
        page.next,
    )))
}

pub async fn alert(
    _actor: Actor,
    Path(fingerprint): Path<String>,
    State(site): State<Site>,
) -> Result<Json<Value>, Problem> {
    let fingerprint =
        fingerprint
            .parse()
            .map_err(|error: crate::domain::alert::NotAFingerprint| {
                Problem::bad_request(error.to_string())
            })?;
    let (rules, now) = (site.rules(), site.clock.now());
    let listed = site
        .store
        .look(move |reader| {
            let listed = lists::listed(reader, fingerprint)?;
            listed
                .map(|listed| listed.with_muting(reader, &rules, now))
                .transpose()
        })
        .await?;
    let listed =
        listed.ok_or_else(|| Problem::not_found(format!("there is no alert {fingerprint}")))?;
    Ok(Json(view::alert(&listed)))
}

/// The senders that are configured; never their secrets.
pub async fn sources(_actor: Actor, State(live): State<Arc<LiveSite>>) -> Json<Value> {
    let current = live.load();
    let sources = current.access.sources.iter();
    let items =
        sources.map(|(name, source)| json!({ "name": name, "kind": source.kind.as_str(), "path": format!("/hooks/{name}") }));
    Json(view::list("sources", items.collect(), None))
}

/// The rules that are live, in order, and what is wrong with the files where they were not taken.
pub async fn rules(_actor: Actor, State(live): State<Arc<LiveSite>>) -> Json<Value> {
    let current = live.load();
    let rules = &current.in_force.rules;
    let mut answer = view::list("rules", rules.rules().iter().map(rule).collect(), None);
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("revision".to_owned(), json!(rules.revision));
        answer.insert("loaded_at".to_owned(), view::instant(current.loaded_at));
        answer.insert("refused".to_owned(), json!(current.refused));
    }
    Json(answer)
}

fn rule(rule: &Rule) -> Value {
    let action = match rule.settings.action.unwrap_or_default() {
        Action::Open => "open",
        Action::Record => "record",
        Action::Drop => "drop",
    };
    json!({
        "name": rule.name,
        "match": rule.matchers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "active": rule.active.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "action": action,
        "continue": rule.continues,
        "team": rule.settings.team,
        "escalation_policy": rule.settings.escalation_policy,
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionQuery {
    overdue: Option<bool>,
}

/// Action items of open incidents that are not ended; only those past their deadline where that is asked.
pub async fn actions(
    _actor: Actor,
    State(store): State<Store>,
    State(clock): State<Clock>,
    Query(query): Query<ActionQuery>,
) -> Result<Json<Value>, Problem> {
    let now = clock.now();
    let items = store
        .look(move |reader| {
            let mut items = Vec::new();
            for number in lists::open_incidents(reader)? {
                let Some(incident) = reader.incident(number)? else {
                    continue;
                };
                for (index, action) in incident
                    .actions
                    .iter()
                    .enumerate()
                    .filter(|(_, action)| !action.is_ended())
                {
                    let overdue = action.due.is_some_and(|due| due < now);
                    if query.overdue.is_none_or(|wanted| wanted == overdue) {
                        items.push(json!({
                            "incident": number,
                            "index": index,
                            "kind": action.kind,
                            "title": action.title,
                            "owner": action.owner,
                            "due": action.due.map(view::instant),
                            "priority": action.priority,
                            "state": action.state(),
                            "overdue": overdue,
                        }));
                    }
                }
            }
            Ok(items)
        })
        .await?;
    Ok(Json(view::list("actions", items, None)))
}
