//! `[schedules]`: who is on call when, in layers.

use crate::config::names::Names;
use crate::domain::schedule::{Layer, Rotation, Schedule};
use crate::toml_file::nearest::unknown;
use crate::toml_file::{Section, Value};
use chrono::Weekday;
use chrono_tz::Tz;
use std::collections::BTreeMap;

const ROTATIONS: [(&str, Rotation); 4] = [
    ("hourly", Rotation::Hourly),
    ("daily", Rotation::Daily),
    ("weekly", Rotation::Weekly),
    ("monthly", Rotation::Monthly),
];

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Mon),
    ("tue", Weekday::Tue),
    ("wed", Weekday::Wed),
    ("thu", Weekday::Thu),
    ("fri", Weekday::Fri),
    ("sat", Weekday::Sat),
    ("sun", Weekday::Sun),
];

/// Turns of one person that a rotation may have in one.
const EVERY_MAX: u32 = 1000;

pub(super) fn read(section: &Section<'_>, zone: Tz, names: &Names) -> BTreeMap<String, Schedule> {
    let mut schedules = BTreeMap::new();
    for (name, schedule) in section.each_section() {
        let zone = schedule
            .get("timezone")
            .and_then(Value::zone)
            .unwrap_or(zone);
        let layers = match schedule.required("layers") {
            Some(value) => read_layers(value, zone, names),
            None => Vec::new(),
        };
        schedule.done();
        let name = name.text.to_owned();
        schedules.insert(name.clone(), Schedule { name, zone, layers });
    }
    schedules
}

fn read_layers(value: Value<'_>, zone: Tz, names: &Names) -> Vec<Layer> {
    let Some(items) = value.list() else {
        return Vec::new();
    };
    if items.is_empty() {
        value.error("a schedule needs a layer");
    }
    let mut names_seen: Vec<String> = Vec::new();
    let mut layers: Vec<Layer> = Vec::new();
    for (n, item) in items.into_iter().enumerate() {
        let Some(section) = item.section() else {
            continue;
        };
        let written = section.get("name");
        let name = written
            .and_then(Value::text)
            .unwrap_or_else(|| format!("layer {}", n + 1));
        if names_seen.contains(&name) {
            let place = section.place_of("name");
            section.report().error(
                place,
                format!("there is another layer \"{name}\" in this schedule"),
            );
        }
        names_seen.push(name.clone());
        layers.extend(read_layer(name, section, zone, names));
    }
    layers
}

fn read_layer(name: String, section: Section<'_>, zone: Tz, names: &Names) -> Option<Layer> {
    let people = section
        .required("people")
        .and_then(|value| people(value, names));
    let rotation = section
        .required("rotation")
        .and_then(|value| value.one_of("rotation", &ROTATIONS));
    let every = section
        .get("every")
        .map_or(Some(1), |value| value.integer(1..=EVERY_MAX));
    let start = section.required("start").and_then(Value::local_time);
    let days = section.get("days").map(days);
    let from = section.get("from").map(Value::time_of_day);
    let to = section.get("to").map(Value::time_of_day);
    section.done();
    Some(Layer {
        name,
        people: people?,
        rotation: rotation?,
        every: every?,
        start: start?,
        zone,
        days: match days {
            Some(days) => Some(days?),
            None => None,
        },
        from: match from {
            Some(from) => Some(from?),
            None => None,
        },
        to: match to {
            Some(to) => Some(to?),
            None => None,
        },
    })
}

fn people(value: Value<'_>, names: &Names) -> Option<Vec<String>> {
    let items = value.list()?;
    if items.is_empty() {
        value.error("a layer needs people");
        return None;
    }
    let named: Vec<Option<String>> = items
        .into_iter()
        .map(|item| names.person(item, item.string()?))
        .collect();
    named.into_iter().collect()
}

fn days(value: Value<'_>) -> Option<Vec<Weekday>> {
    let items = value.list()?;
    if items.is_empty() {
        value.error("a day such as \"mon\" is wanted, found an empty list");
        return None;
    }
    let days: Vec<Option<Weekday>> = items.into_iter().map(day).collect();
    days.into_iter().collect()
}

/// `mon` or `monday`, in any case.
fn day(value: Value<'_>) -> Option<Weekday> {
    let found = value.string()?;
    let is_a_day = found.len() == 3 || found.to_lowercase().ends_with("day");
    match found.parse() {
        Ok(day) if is_a_day => Some(day),
        _ => {
            value.error(unknown("day", found, DAYS.map(|(day, _)| day)));
            None
        }
    }
}
