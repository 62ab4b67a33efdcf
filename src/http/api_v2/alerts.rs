//! Alerts as an Alertmanager lists them: those that are not resolved, and what mutes each. There is one receiver, and each group is
//! of one name.

use crate::domain::alert::{Fingerprint, Labels, Status};
use crate::domain::go_regex::compile_anchored;
use crate::domain::matcher::Matcher;
use crate::domain::time::Timestamp;
use crate::http::Site;
use crate::http::api_v2::answer::{Asked, Refused, told};
use crate::http::problem::Problem;
use crate::http::view;
use crate::store::lists::{Listed, live_alerts};
use crate::store::served::unserved;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use regex::Regex;
use serde_json::{Value, json};
use std::collections::BTreeMap;

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
    answer: Value,
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

/// `GET /api/v2/alerts`.
pub async fn list(State(site): State<Site>, asked: Asked) -> Response {
    match found(&site, &asked).await {
        Ok(found) => Json(answers(found)).into_response(),
        Err(refused) => refused.into_response(),
    }
}

/// `GET /api/v2/alerts/groups`.
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
    let groups: Vec<Value> = groups
        .map(|(name, alerts)| {
            let labels: Labels = name.into_iter().map(|name| ("alertname", name)).collect();
            json!({
                "alerts": answers(alerts),
                "labels": labels,
                "routeLabels": {},
                "receiver": { "name": RECEIVER },
            })
        })
        .collect();
    Json(groups).into_response()
}

/// `GET /api/v2/receivers`.
pub async fn receivers(asked: Asked) -> Response {
    let matchers = match asked.matchers("receiver_matchers") {
        Ok(matchers) => matchers,
        Err(refused) => return refused.into_response(),
    };
    // It has no labels.
    let is_wanted = matchers.iter().all(|of| of.matches(None));
    let receivers: Vec<Value> = is_wanted
        .then(|| json!({ "name": RECEIVER }))
        .into_iter()
        .collect();
    Json(receivers).into_response()
}

fn answers(found: Vec<Shown>) -> Vec<Value> {
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
fn shown(listed: &Listed, ends_at: Option<Timestamp>) -> Value {
    let alert = &listed.alert;
    let ends_at = ends_at.unwrap_or(Timestamp::from_millis(i64::MIN));
    let inhibited_by: Vec<Fingerprint> = listed.muting.inhibited_by.into_iter().collect();
    let mut shown = json!({
        "annotations": alert.annotations,
        "endsAt": view::instant(ends_at),
        "fingerprint": listed.fingerprint,
        "receivers": [{ "name": RECEIVER }],
        "startsAt": view::instant(alert.starts_at),
        "status": {
            "inhibitedBy": inhibited_by,
            "mutedBy": [],
            "silencedBy": listed.muting.silenced_by,
            "state": state(listed),
        },
        "updatedAt": view::instant(listed.seen.last_at),
        "labels": alert.labels,
    });
    if let (Some(shown), Some(url)) = (shown.as_object_mut(), alert.attributes.get("generator_url"))
    {
        shown.insert("generatorURL".to_owned(), json!(url));
    }
    shown
}
