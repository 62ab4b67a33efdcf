//! Lists beside incidents: alerts, sources, rules, action items.

use crate::clock::Clock;
use crate::domain::action_item::{ActionKind, ActionState, Priority};
use crate::domain::alert::Status;
use crate::domain::rule::{Action, Rule};
use crate::http::auth::Actor;
use crate::http::incidents::{limit, with_muting};
use crate::http::openapi::problems::{Misasked, Missing};
use crate::http::openapi::words;
use crate::http::params::{ByFingerprint, Path, Query};
use crate::http::problem::Problem;
use crate::http::view::Instant;
use crate::http::{LiveSite, Site, view};
use crate::store::Store;
use crate::store::lists;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AlertQuery {
    #[param(value_type = Option<words::AlertStatus>, inline)]
    status: Option<Status>,
    /// How many at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next` of the page before.
    #[param(pattern = "^-?[0-9]{1,18}-[0-9a-fA-F]{16}$")]
    cursor: Option<String>,
}

/// Alerts by their last change, newest first.
#[utoipa::path(
    get,
    path = "/alerts",
    operation_id = "listAlerts",
    security(("bearer" = ["viewer"])),
    params(AlertQuery),
    responses((status = 200, description = "A page of alerts", body = view::Alerts), Misasked)
)]
pub async fn alerts(
    _actor: Actor,
    State(site): State<Site>,
    Query(query): Query<AlertQuery>,
) -> Result<Json<view::Alerts>, Problem> {
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
    Ok(Json(view::Alerts {
        alerts: page.items.iter().map(view::alert).collect(),
        next: page.next,
    }))
}

/// One alert.
#[utoipa::path(
    get,
    path = "/alerts/{fingerprint}",
    operation_id = "showAlert",
    security(("bearer" = ["viewer"])),
    params(ByFingerprint),
    responses((status = 200, description = "The alert", body = view::Alert), Missing)
)]
pub async fn alert(
    _actor: Actor,
    Path(fingerprint): Path<String>,
    State(site): State<Site>,
) -> Result<Json<view::Alert>, Problem> {
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

/// Senders, by name.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sources {
    pub sources: Vec<Sender>,
    #[schema(required = true)]
    pub next: Option<String>,
}

/// A sender.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Source)]
pub struct Sender {
    pub name: String,
    /// The format it speaks.
    pub kind: &'static str,
    /// Where it posts.
    pub path: String,
}

/// The senders that are configured; never their secrets.
#[utoipa::path(
    get,
    path = "/sources",
    operation_id = "listSources",
    security(("bearer" = ["viewer"])),
    responses((status = 200, description = "All senders", body = Sources))
)]
pub async fn sources(_actor: Actor, State(live): State<Arc<LiveSite>>) -> Json<Sources> {
    let current = live.load();
    let sources = current.access.sources.iter();
    let sources = sources.map(|(name, source)| Sender {
        name: name.clone(),
        kind: source.kind.as_str(),
        path: format!("/hooks/{name}"),
    });
    Json(Sources {
        sources: sources.collect(),
        next: None,
    })
}

/// The rules that are live, in order.
#[derive(Debug, Serialize, ToSchema)]
pub struct Rules {
    pub rules: Vec<RuleShown>,
    #[schema(required = true)]
    pub next: Option<String>,
    /// The hash of their files.
    pub revision: String,
    #[schema(value_type = words::Instant)]
    pub loaded_at: Instant,
    /// What is wrong with the files as they are now, where they were not taken.
    #[schema(required = true)]
    pub refused: Option<Vec<String>>,
}

/// A rule.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rule)]
pub struct RuleShown {
    pub name: String,
    /// Matchers, all of which must match.
    #[serde(rename = "match")]
    pub matchers: Vec<String>,
    /// The intervals in which it may match; always, where there is none.
    pub active: Vec<String>,
    #[schema(value_type = words::RuleAction)]
    pub action: &'static str,
    /// Adds its settings, and lets later rules go on.
    #[serde(rename = "continue")]
    pub continues: bool,
    #[schema(required = true)]
    pub team: Option<String>,
    #[schema(required = true)]
    pub escalation_policy: Option<String>,
}

/// The rules that are live, in order, and what is wrong with the files where they were not taken.
#[utoipa::path(
    get,
    path = "/rules",
    operation_id = "listRules",
    security(("bearer" = ["viewer"])),
    responses((status = 200, description = "All rules", body = Rules))
)]
pub async fn rules(_actor: Actor, State(live): State<Arc<LiveSite>>) -> Json<Rules> {
    let current = live.load();
    let rules = &current.in_force.rules;
    Json(Rules {
        rules: rules.rules().iter().map(rule).collect(),
        next: None,
        revision: rules.revision.clone(),
        loaded_at: current.loaded_at.into(),
        refused: current.refused.clone(),
    })
}

fn rule(rule: &Rule) -> RuleShown {
    RuleShown {
        name: rule.name.clone(),
        matchers: rule.matchers.iter().map(ToString::to_string).collect(),
        active: rule.active.iter().map(ToString::to_string).collect(),
        action: match rule.settings.action.unwrap_or_default() {
            Action::Open => "open",
            Action::Record => "record",
            Action::Drop => "drop",
        },
        continues: rule.continues,
        team: rule.settings.team.clone(),
        escalation_policy: rule.settings.escalation_policy.clone(),
    }
}

/// Action items of open incidents.
#[derive(Debug, Serialize, ToSchema)]
pub struct Actions {
    pub actions: Vec<OpenAction>,
    #[schema(required = true)]
    pub next: Option<String>,
}

/// An action item that is not ended.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenAction {
    pub incident: u64,
    pub index: usize,
    #[schema(value_type = Option<words::ActionKind>, required = true)]
    pub kind: Option<ActionKind>,
    #[schema(required = true)]
    pub title: Option<String>,
    #[schema(required = true)]
    pub owner: Option<String>,
    #[schema(value_type = Option<words::Instant>, required = true)]
    pub due: Option<Instant>,
    #[schema(value_type = Option<words::Priority>, required = true)]
    pub priority: Option<Priority>,
    #[schema(value_type = words::ActionState)]
    pub state: ActionState,
    pub overdue: bool,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ActionQuery {
    /// Only those past their deadline, or only the others.
    overdue: Option<bool>,
}

/// Action items of open incidents that are not ended; only those past their deadline where that is asked.
#[utoipa::path(
    get,
    path = "/actions",
    operation_id = "listActions",
    security(("bearer" = ["viewer"])),
    params(ActionQuery),
    responses((status = 200, description = "All of them", body = Actions), Misasked)
)]
pub async fn actions(
    _actor: Actor,
    State(store): State<Store>,
    State(clock): State<Clock>,
    Query(query): Query<ActionQuery>,
) -> Result<Json<Actions>, Problem> {
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
                        items.push(OpenAction {
                            incident: number,
                            index,
                            kind: action.kind,
                            title: action.title.clone(),
                            owner: action.owner.clone(),
                            due: action.due.map(Instant),
                            priority: action.priority,
                            state: action.state(),
                            overdue,
                        });
                    }
                }
            }
            Ok(items)
        })
        .await?;
    Ok(Json(Actions {
        actions: items,
        next: None,
    }))
}
