//! Alerts as an Alertmanager lists them: those that are not resolved, and what mutes each. There is one receiver, and each group is
//! of one name.

use crate::domain::alert::{Fingerprint, Labels, Status};
use crate::domain::go_regex::compile_anchored;
use crate::domain::matcher::Matcher;
use crate::domain::time::Timestamp;
use crate::http::Site;
use crate::http::api_v2::answer::{Asked, Coded, Refused, told};
use crate::http::openapi::words;
use crate::http::problem::Problem;
use crate::http::view::Instant;
use crate::store::lists::{Listed, live_alerts};
use crate::store::served::unserved;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use regex::Regex;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// Alerts of one answer; of more, those of the smallest fingerprints.
const ALERTS_MAX: usize = 20_000;

/// The one receiver, as the configuration that is shown names it.
const RECEIVER: &str = "watchkeeper";

/// Which alerts are wanted.
struct Filter {
    active: bool,
    silenced: bool,
    inhibited: bool,
    unprocessed: bool,
    matchers: Vec<Matcher>,
    /// The one receiver is wanted.
    receiver: bool,
}

/// An alert with its status.
struct Shown {
    labels: Labels,
    is_muted: bool,
    answer: GettableAlert,
}

impl Filter {
    fn read(asked: &Asked) -> Result<Self, Refused> {
        let of_receiver = asked.matchers("receiver_matchers")?;
        Ok(Self {
            active: asked.includes("active"),
            silenced: asked.includes("silenced"),
            inhibited: asked.includes("inhibited"),
            unprocessed: asked.includes("unprocessed"),
            matchers: asked.matchers("filter")?,
            receiver: is_receiver(asked)? && of_receiver.iter().all(|of| of.matches(None)),
        })
    }

    fn fits(&self, listed: &Listed) -> bool {
        let labels = &listed.alert.labels;
        let muting = &listed.muting;
        let state_fits = match state(listed) {
            "active" => self.active,
            "unprocessed" => self.unprocessed,
            _suppressed => true,
        };
        state_fits
            && self.receiver
            && (self.silenced || muting.silenced_by.is_empty())
            && (self.inhibited || muting.inhibited_by.is_none())
            && self
                .matchers
                .iter()
                .all(|of| of.matches(labels.get(of.name())))
    }
}

/// Whether the one receiver is among those that are asked for.
fn is_receiver(asked: &Asked) -> Result<bool, Refused> {
    let Some(pattern) = asked.all("receiver").last().filter(|text| !text.is_empty()) else {
        return Ok(true);
    };
    let regex: Result<Regex, _> = compile_anchored(pattern);
    match regex {
        Ok(regex) => Ok(regex.is_match(RECEIVER)),
        Err(error) => {
            let why = format!("failed to parse receiver param: {error}");
            Err(told(StatusCode::BAD_REQUEST, &why).into())
        }
    }
}

/// One that has not met its rule's `open` is not processed; one that is muted is suppressed.
fn state(listed: &Listed) -> &'static str {
    if listed.muting.is_muted() {
        "suppressed"
    } else if listed.alert.status == Status::Pending {
        "unprocessed"
    } else {
        "active"
    }
}

/// Which alerts are asked for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AlertsQuery {
    /// With those that nothing mutes.
    #[param(value_type = Option<words::Switch>, inline)]
    pub active: Option<bool>,
    /// With those that a silence mutes.
    #[param(value_type = Option<words::Switch>, inline)]
    pub silenced: Option<bool>,
    /// With those that a cause mutes.
    #[param(value_type = Option<words::Switch>, inline)]
    pub inhibited: Option<bool>,
    /// With those that have not met their rule's `open`.
    #[param(value_type = Option<words::Switch>, inline)]
    pub unprocessed: Option<bool>,
    /// A matcher; it may come again, and all of them must match.
    pub filter: Option<Vec<String>>,
    /// A regular expression of receivers.
    pub receiver: Option<String>,
    /// A matcher of labels of receivers.
    pub receiver_matchers: Option<Vec<String>>,
}

/// Whether groups are asked for that are muted as a whole.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MutedQuery {
    #[param(value_type = Option<words::Switch>, inline)]
    pub muted: Option<bool>,
}

/// Which receivers are asked for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReceiversQuery {
    /// A matcher of labels; it may come again.
    pub receiver_matchers: Option<Vec<String>>,
}

/// A receiver.
#[derive(Debug, Serialize, ToSchema)]
pub struct Receiver {
    name: &'static str,
}

/// The one receiver.
const THE_ONE: Receiver = Receiver { name: RECEIVER };

/// An alert as an Alertmanager shows it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GettableAlert {
    #[schema(value_type = words::Labels)]
    annotations: Labels,
    #[schema(value_type = words::Instant)]
    ends_at: Instant,
    #[schema(value_type = words::Fingerprint)]
    fingerprint: Fingerprint,
    receivers: [Receiver; 1],
    #[schema(value_type = words::Instant)]
    starts_at: Instant,
    status: Muting,
    #[schema(value_type = words::Instant)]
    updated_at: Instant,
    #[schema(value_type = words::Labels)]
    labels: Labels,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    generator_url: Option<String>,
}

/// What mutes an alert.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = GettableAlertStatus)]
pub struct Muting {
    #[schema(value_type = Vec<words::Fingerprint>)]
    inhibited_by: Vec<Fingerprint>,
    muted_by: Vec<String>,
    silenced_by: Vec<String>,
    #[schema(value_type = words::ShownState)]
    state: &'static str,
}

/// Alerts of one name.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AlertGroup)]
pub struct Group {
    alerts: Vec<GettableAlert>,
    #[schema(value_type = words::Labels)]
    labels: Labels,
    #[schema(value_type = words::Labels)]
    route_labels: Labels,
    receiver: Receiver,
}

/// Alerts that are not resolved.
#[utoipa::path(
    get,
    path = "/alerts",
    operation_id = "getAlerts",
    security(("bearer" = ["viewer"])),
    params(AlertsQuery),
    responses(
        (status = 200, description = "The alerts", body = Vec<GettableAlert>),
        (status = 400, description = "What is wrong with a parameter", body = String, content_type = "application/json"),
        (status = 406, description = "No JSON is wanted", body = Coded),
    )
)]
pub async fn list(State(site): State<Site>, asked: Asked) -> Response {
    match found(&site, &asked).await {
        Ok(found) => Json(answers(found)).into_response(),
        Err(refused) => refused.into_response(),
    }
}

/// The same in groups, each of one name.
#[utoipa::path(
    get,
    path = "/alerts/groups",
    operation_id = "getAlertGroups",
    security(("bearer" = ["viewer"])),
    params(AlertsQuery, MutedQuery),
    responses(
        (status = 200, description = "The groups", body = Vec<Group>),
        (status = 400, description = "What is wrong with a parameter", body = String, content_type = "application/json"),
        (status = 406, description = "No JSON is wanted", body = Coded),
    )
)]
pub async fn groups(State(site): State<Site>, asked: Asked) -> Response {
    let found = match found(&site, &asked).await {
        Ok(found) => found,
        Err(refused) => return refused.into_response(),
    };
    let mut groups: BTreeMap<Option<String>, Vec<Shown>> = BTreeMap::new();
    for shown in found {
        let name = shown.labels.get("alertname").map(str::to_owned);
        groups.entry(name).or_default().push(shown);
    }
    let shows_muted = asked.includes("muted");
    let groups = groups
        .into_iter()
        .filter(|(_, alerts)| shows_muted || !alerts.iter().all(|shown| shown.is_muted));
    let groups: Vec<Group> = groups
        .map(|(name, alerts)| {
            let labels: Labels = name.into_iter().map(|name| ("alertname", name)).collect();
            Group {
                alerts: answers(alerts),
                labels,
                route_labels: Labels::default(),
                receiver: THE_ONE,
            }
        })
        .collect();
    Json(groups).into_response()
}

/// The one receiver there is.
#[utoipa::path(
    get,
    path = "/receivers",
    operation_id = "getReceivers",
    security(("bearer" = ["viewer"])),
    params(ReceiversQuery),
    responses(
        (status = 200, description = "The receivers", body = Vec<Receiver>),
        (status = 400, description = "What is wrong with a parameter", body = String, content_type = "application/json"),
        (status = 406, description = "No JSON is wanted", body = Coded),
    )
)]
pub async fn receivers(asked: Asked) -> Response {
    let matchers = match asked.matchers("receiver_matchers") {
        Ok(matchers) => matchers,
        Err(refused) => return refused.into_response(),
    };
    // It has no labels.
    let is_wanted = matchers.iter().all(|of| of.matches(None));
    let receivers: Vec<Receiver> = is_wanted.then_some(THE_ONE).into_iter().collect();
    Json(receivers).into_response()
}

fn answers(found: Vec<Shown>) -> Vec<GettableAlert> {
    found.into_iter().map(|shown| shown.answer).collect()
}

async fn found(site: &Site, asked: &Asked) -> Result<Vec<Shown>, Refused> {
    let filter = Filter::read(asked)?;
    let (rules, now) = (site.rules(), site.clock.now());
    let found = site
        .store
        .look(move |reader| {
            let unserved = unserved(reader)?;
            let mut found = Vec::new();
            for listed in live_alerts(reader, ALERTS_MAX)? {
                let listed = listed.with_muting(reader, &rules, now)?;
                if filter.fits(&listed) {
                    let ends_at = listed.seen.lapses_at.map(|at| unserved.wall(at));
                    found.push(Shown {
                        labels: listed.alert.labels.clone(),
                        is_muted: listed.muting.is_muted(),
                        answer: shown(&listed, ends_at),
                    });
                }
            }
            Ok(found)
        })
        .await;
    found.map_err(|error| Problem::from(error).into())
}

/// Year 1 as its end says that it has none.
fn shown(listed: &Listed, ends_at: Option<Timestamp>) -> GettableAlert {
    let alert = &listed.alert;
    let url = alert.attributes.get("generator_url");
    GettableAlert {
        annotations: alert.annotations.clone(),
        ends_at: ends_at.unwrap_or(Timestamp::from_millis(i64::MIN)).into(),
        fingerprint: listed.fingerprint,
        receivers: [THE_ONE],
        starts_at: alert.starts_at.into(),
        status: Muting {
            inhibited_by: listed.muting.inhibited_by.into_iter().collect(),
            muted_by: Vec::new(),
            silenced_by: listed.muting.silenced_by.clone(),
            state: state(listed),
        },
        updated_at: listed.seen.last_at.into(),
        labels: alert.labels.clone(),
        generator_url: url.map(str::to_owned),
    }
}
