//! `[heartbeats]`: what must say again and again that it lives, and by when.

use crate::config::environment::Environment;
use crate::config::server::Server;
use crate::config::sources::{SourceAuth, auth_of, is_path_segment};
use crate::domain::cron_spec::CronSpec;
use crate::domain::heartbeat::{DEFAULT_GRACE, Heartbeat, Wanted};
use crate::domain::matcher::Matcher;
use crate::toml_file::{Name, Section, Value};
use std::collections::BTreeMap;

/// A heartbeat, and how its pings prove whose they are.
#[derive(Clone, Debug)]
pub struct Configured {
    pub heartbeat: Heartbeat,
    pub auth: Vec<SourceAuth>,
}

pub(super) fn read(
    section: &Section<'_>,
    server: &Server,
    environment: &Environment,
) -> BTreeMap<String, Configured> {
    let mut heartbeats = BTreeMap::new();
    for (name, section) in section.each_section() {
        if let Some(one) = read_one(name, section, server, environment) {
            heartbeats.insert(name.text.to_owned(), one);
        }
    }
    heartbeats
}

fn read_one(
    name: Name<'_>,
    section: Section<'_>,
    server: &Server,
    environment: &Environment,
) -> Option<Configured> {
    if !is_path_segment(name.text) {
        section.error(format!(
            "the name of a heartbeat is a part of its address /ping/NAME: letters, digits, \"-\", \"_\" and \".\" are wanted, found \"{}\"",
            name.text
        ));
    }
    let wanted = wanted(&section, server);
    let span = |key| section.get(key).and_then(Value::lasting);
    let grace = section.get("grace").map(Value::span);
    let max_run = span("max_run");
    let labels = section.get("labels").map(labels);
    let fed_by = section.get("fed_by").map(matchers);
    let auth = auth_of(&section, None, server, "a heartbeat", environment);
    section.done();
    Some(Configured {
        heartbeat: Heartbeat {
            wanted: wanted?,
            grace: grace.unwrap_or(Some(DEFAULT_GRACE))?,
            max_run,
            labels: labels.unwrap_or_default().into_iter().collect(),
            fed_by: fed_by.unwrap_or_default(),
        },
        auth: auth?,
    })
}

fn wanted(section: &Section<'_>, server: &Server) -> Option<Wanted> {
    let (every, cron) = (section.get("every"), section.get("cron"));
    let zone = section
        .get("timezone")
        .map_or(Some(server.zone), Value::zone);
    match (every, cron) {
        (Some(every), None) => every.lasting().map(Wanted::Every),
        (None, Some(value)) => match CronSpec::parse(value.string()?) {
            Ok(cron) => Some(Wanted::At { cron, zone: zone? }),
            Err(error) => value.refuse(error.to_string()),
        },
        (Some(_), Some(cron)) => {
            cron.refuse("\"every\" or \"cron\" is wanted, found both".to_owned())
        }
        (None, None) => {
            section.error("\"every\" or \"cron\" is wanted: when it must be heard of");
            None
        }
    }
}

fn labels(value: Value<'_>) -> Vec<(String, String)> {
    let Some(section) = value.section() else {
        return Vec::new();
    };
    let each = section.each();
    each.filter_map(|(name, value)| Some((name.text.to_owned(), value.text()?)))
        .collect()
}

fn matchers(value: Value<'_>) -> Vec<Matcher> {
    let items = value.list().unwrap_or_default();
    if items.is_empty() {
        value.error("matchers of the alerts that are its pings are wanted, found an empty list");
    }
    items
        .into_iter()
        .filter_map(|item| match Matcher::parse(item.string()?) {
            Ok(matcher) => Some(matcher),
            Err(error) => item.refuse(error.to_string()),
        })
        .collect()
}
