//! One `[[interval]]`.

use crate::domain::interval::Interval;
use crate::toml_file::{Section, Value};
use chrono_tz::Tz;
use std::fmt;
use std::str::FromStr;

/// An interval that has an error is none; its name is known all the same, so that rules that name it are not in error too.
pub(super) fn read(section: Section<'_>, server_zone: Tz) -> (Option<String>, Option<Interval>) {
    let name = section.required("name").and_then(Value::text);
    let zone = section
        .get("timezone")
        .map_or(Some(server_zone), Value::zone);
    let weekdays = entries(&section, "weekdays");
    let days_of_month = entries(&section, "days_of_month");
    let months = entries(&section, "months");
    let years = entries(&section, "years");
    let times = entries(&section, "times");
    section.done();
    let read = || {
        Some(Interval {
            name: name.clone()?,
            zone: zone?,
            weekdays: weekdays?,
            days_of_month: days_of_month?,
            months: months?,
            years: years?,
            times: times?,
        })
    };
    let interval = read();
    (name, interval)
}

/// The entries of a list: no list where the key is not there, nothing at all where one has an error.
fn entries<T: FromStr<Err: fmt::Display>>(
    section: &Section<'_>,
    key: &'static str,
) -> Option<Option<Vec<T>>> {
    let Some(value) = section.get(key) else {
        return Some(None);
    };
    let items = value.list()?;
    if items.is_empty() {
        return value.refuse(format!(
            "nothing is in an empty list; without \"{key}\" anything is"
        ));
    }
    let read: Vec<Option<T>> = items.into_iter().map(entry).collect();
    read.into_iter().collect::<Option<Vec<T>>>().map(Some)
}

fn entry<T: FromStr<Err: fmt::Display>>(value: Value<'_>) -> Option<T> {
    match value.word()?.parse() {
        Ok(entry) => Some(entry),
        Err(error) => value.refuse(format!("{error}")),
    }
}
