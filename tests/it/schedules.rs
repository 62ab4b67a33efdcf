//! Schedules: the tables of two other programs, and in words what layers, hand-offs and overrides mean.

#![expect(
    clippy::indexing_slicing,
    reason = "a table of another shape fails the test, as it should"
)]

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Weekday};
use chrono_tz::Tz;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use watchkeeper::domain::schedule::{Layer, Override, OverrideKind, Rotation, Schedule, Shift};
use watchkeeper::domain::time::Timestamp;

const CASES: &str = include_str!("fixtures/cases/oncall.json");

/// Rows of the tables that ask for what we do not have, or answer otherwise than we do; and why. Those of the rolling
/// users have a number for a name.
const OTHERWISE: [(&str, &[&str]); 8] = [
    (
        "there are no temporary schedules: a replacement in place of everybody does the part of them that is asked for",
        &["temporary schedule replaces rules AND overrides; gaps inside it are nobody"],
    ),
    (
        "GoAlert runs over into the next month; we clamp to the month's end, see the test of that name",
        &["monthly rotation started on the 31st"],
    ),
    (
        "the gap swallows a whole turn of an hour: GoAlert moves every later turn by one, for us its hour is lost",
        &[
            "hourly rotation x1, spring-forward Europe/Berlin",
            "hourly rotation x1, spring-forward America/Chicago",
        ],
    ),
    (
        "OnCall's shifts last so many elapsed hours; ours, as GoAlert's, end at a time of the wall clock",
        &[
            "night 22-06 spring America/New_York",
            "night 22-06 fall America/New_York",
            "night 22-06 spring Europe/Berlin",
            "night 22-06 fall Australia/Lord_Howe",
            "first shift itself starts at 01:45 on the DST day fall Europe/Berlin",
        ],
    ),
    (
        "OnCall's last shift is as long as the first of that person, which had half an hour more, and overlaps the next",
        &[
            "daily 24h handoff 02:00 fall Australia/Lord_Howe",
            "daily 24h handoff 02:30 fall Australia/Lord_Howe",
            "daily 24h handoff 09:00 fall Australia/Lord_Howe",
        ],
    ),
    (
        "OnCall's weeks and months of a layer with days are the calendar's; ours begin with the layer",
        &["4", "6", "7", "18"],
    ),
    (
        "in OnCall, of every two weeks one has a turn and the other nobody",
        &["17"],
    ),
    (
        "in OnCall, seven days for each are one day in seven until the window ends",
        &["21"],
    ),
];

fn instant(text: &str) -> Timestamp {
    let parsed = DateTime::parse_from_rfc3339(text);
    parsed.expect("an instant").into()
}

fn local(text: &str) -> NaiveDateTime {
    let text = text.replace('T', " ");
    NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M").expect("a local time")
}

fn time(text: &str) -> NaiveTime {
    NaiveTime::parse_from_str(text, "%H:%M").expect("a time of day")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().expect("a text")
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    let texts = items(value).iter().map(|item| item.as_str());
    texts.map(|text| text.expect("a text").to_owned()).collect()
}

fn rotation(name: &str) -> Rotation {
    match name.to_lowercase().as_str() {
        "hourly" => Rotation::Hourly,
        "daily" => Rotation::Daily,
        "weekly" => Rotation::Weekly,
        "monthly" => Rotation::Monthly,
        other => unreachable!("no rotation: {other}"),
    }
}

/// Always active, one person a day from 2026-01-01T00:00.
fn layer(name: &str, zone: Tz, people: &[&str]) -> Layer {
    Layer {
        name: name.to_owned(),
        people: people.iter().map(|&person| person.to_owned()).collect(),
        rotation: Rotation::Daily,
        every: 1,
        start: local("2026-01-01T00:00"),
        zone,
        days: None,
        from: None,
        to: None,
    }
}

fn schedule(zone: Tz, layers: Vec<Layer>) -> Schedule {
    Schedule {
        name: "payments".to_owned(),
        zone,
        layers,
    }
}

fn exception(
    id: u64,
    kind: OverrideKind,
    person: &str,
    from: Timestamp,
    to: Timestamp,
) -> Override {
    Override {
        id,
        kind,
        person: person.to_owned(),
        instead_of: None,
        from,
        to,
        reason: "a swap".to_owned(),
        by: "ana".to_owned(),
        made_at: Timestamp::from_millis(1_767_225_600_000 + i64::try_from(id).expect("few")),
    }
}

fn instead_of(absent: &str, mut by: Override) -> Override {
    by.instead_of = Some(absent.to_owned());
    by
}

/// `person from to`, one line each, on the wall clock of the zone with its offset.
fn lines(shifts: &[Shift], zone: Tz) -> Vec<String> {
    let shown = |at: Timestamp| at.to_utc().with_timezone(&zone).format("%m-%d %H:%M%:z");
    let line =
        |shift: &Shift| format!("{} {} {}", shift.person, shown(shift.from), shown(shift.to));
    shifts.iter().map(line).collect()
}

/// Who, from when, to when: what the tables say of a shift.
type Row = (String, Timestamp, Timestamp);

fn rows(shifts: Vec<Shift>) -> Vec<Row> {
    let row = |shift: Shift| (shift.person, shift.from, shift.to);
    shifts.into_iter().map(row).collect()
}

fn wanted(shifts: &Value) -> Vec<Row> {
    let shifts = items(shifts).iter();
    shifts
        .map(|shift| {
            let (from, to) = (text(shift, "start"), text(shift, "end"));
            (text(shift, "user").to_owned(), instant(from), instant(to))
        })
        .collect()
}

fn is_otherwise(name: &str) -> bool {
    OTHERWISE.iter().any(|(_, rows)| rows.contains(&name))
}

/// Checks every row of a table by its name, but for those in [`OTHERWISE`], which must indeed differ.
fn check_all(rows: impl Iterator<Item = (String, Result<(), String>)>) {
    let mut wrong = Vec::new();
    for (name, found) in rows {
        match (found, is_otherwise(&name)) {
            (Err(error), false) => wrong.push(format!("{name}: {error}")),
            (Ok(()), true) => wrong.push(format!("{name}: is not otherwise")),
            (Ok(()), false) | (Err(_), true) => {}
        }
    }
    assert!(
        wrong.is_empty(),
        "{} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn same<T: PartialEq + std::fmt::Debug>(found: &T, wanted: &T) -> Result<(), String> {
    match found == wanted {
        true => Ok(()),
        false => Err(format!("wanted {wanted:?}\n  found {found:?}")),
    }
}

mod goalert {
    use super::*;

    /// Rules are on call side by side; those of the table never at one time, so they stand as layers.
    fn read_rule(rule: &Value, zone: Tz) -> Layer {
        let mut layer = layer("rule", zone, &[]);
        let (from, to) = (text(rule, "start"), text(rule, "end"));
        let days = text(rule, "days");
        if (days, from, to) != ("all", "00:00", "00:00") {
            (layer.from, layer.to) = (Some(time(from)), Some(time(to)));
        }
        if days != "all" {
            let days = days.split(' ').map(|day| day.parse().expect("a day"));
            layer.days = Some(days.collect());
        }
        if let Some(user) = rule["user"].as_str() {
            layer.people = vec![user.to_owned()];
        }
        let turns = &rule["rotation"];
        if turns.is_object() {
            layer.people = texts(&turns["users"]);
            layer.rotation = rotation(text(turns, "type"));
            let every = turns["shift_length"].as_u64().expect("a number");
            layer.every = u32::try_from(every).expect("small");
            layer.start = local(text(turns, "start_local"));
            layer.zone = text(turns, "timezone").parse().expect("a zone");
        }
        layer
    }

    fn read_override((n, row): (usize, &Value)) -> Override {
        let (from, to) = (instant(text(row, "start")), instant(text(row, "end")));
        let id = u64::try_from(n).expect("few");
        match (row["add"].as_str(), row["remove"].as_str()) {
            (Some(person), Some(absent)) => instead_of(
                absent,
                exception(id, OverrideKind::Replace, person, from, to),
            ),
            (Some(person), None) => exception(id, OverrideKind::Add, person, from, to),
            (None, Some(person)) => exception(id, OverrideKind::Remove, person, from, to),
            (None, None) => unreachable!("an override does something"),
        }
    }

    fn check(row: &Value) -> Result<(), String> {
        let zone = text(row, "schedule_timezone").parse().expect("a zone");
        let rules = items(&row["rules"]).iter();
        let schedule = schedule(zone, rules.map(|rule| read_rule(rule, zone)).collect());
        let overrides = items(&row["overrides"]).iter().enumerate();
        let overrides: Vec<Override> = overrides.map(read_override).collect();
        let (from, to) = (text(row, "window_start"), text(row, "window_end"));
        let mut wanted = wanted(&row["shifts"]);
        if let Some(ours) = row["expected_ours"].as_str() {
            assert!(ours.starts_with("no shift on the gap day (zero-length)"));
            // The shift that GoAlert begins on the gap day runs into the next day's.
            for (_, from, to) in &mut wanted {
                if to.since(*from).as_secs() > 3600 {
                    *from = to.shifted(-30 * 60_000);
                }
            }
        }
        let found = rows(schedule.shifts(&overrides, instant(from), instant(to)));
        same(&found, &wanted)?;
        for query in items(&row["at"]) {
            let at = text(query, "instant");
            let found = schedule.on_call(&overrides, instant(at));
            same(&found, &texts(&query["who"])).map_err(|error| format!("at {at}: {error}"))?;
        }
        Ok(())
    }

    #[test]
    fn every_row_of_goalerts_table_holds() {
        let table: Value = serde_json::from_str(CASES).expect("the table is JSON");
        let rows = items(&table["goalert"]);
        assert!(rows.len() > 100);
        check_all(
            rows.iter()
                .map(|row| (text(row, "name").to_owned(), check(row))),
        );
    }
}

mod grafana_oncall {
    use super::*;

    fn check_ical(row: &Value) -> Result<(), String> {
        let zone: Tz = text(row, "timezone").parse().expect("a zone");
        let start = local(text(row, "start_local"));
        let mut layer = layer("shift", zone, &[]);
        layer.people = texts(&row["users"]);
        layer.rotation = rotation(text(row, "frequency"));
        layer.start = start;
        let hours = row["duration_hours"].as_i64().expect("hours");
        if hours < 24 {
            layer.from = Some(start.time());
            layer.to = Some((start + TimeDelta::hours(hours)).time());
        }
        let schedule = schedule(zone, vec![layer]);
        if row["error"].is_string() {
            // OnCall has no answer where a hand-off falls in a gap or in the repeated hour. We have one, without a hole.
            let window = texts(&row["window"]);
            let day = |n: usize| instant(&format!("{}T12:00:00Z", window[n]));
            let shifts = schedule.shifts(&[], day(0), day(1));
            assert!(!shifts.is_empty());
            let touch = |pair: &[Shift]| pair[0].to == pair[1].from;
            return same(&(hours < 24 || shifts.windows(2).all(touch)), &true);
        }
        let wanted = wanted(&row["shifts"]);
        let (from, to) = (wanted[0].1, wanted[wanted.len() - 1].2);
        same(&rows(schedule.shifts(&[], from, to)), &wanted)
    }

    #[test]
    fn every_row_of_its_calendars_holds() {
        let table: Value = serde_json::from_str(CASES).expect("the table is JSON");
        let rows = items(&table["oncall_ical"]);
        assert!(rows.len() > 30);
        check_all(
            rows.iter()
                .map(|row| (text(row, "name").to_owned(), check_ical(row))),
        );
    }

    /// One schedule for each person of a group, together on call: a turn of ours is one person's.
    fn check_rolling(row: &Value) -> Result<(), String> {
        let sizes = items(&row["users_per_group"]).iter();
        let sizes: Vec<usize> = sizes
            .map(|n| usize::try_from(n.as_u64().expect("a size")).expect("small"))
            .collect();
        let mut names = ('A'..='Z').map(|name| name.to_string());
        let groups: Vec<Vec<String>> = sizes
            .iter()
            .map(|n| names.by_ref().take(*n).collect())
            .collect();
        let most = groups.iter().map(Vec::len).max().expect("a group");
        let start: NaiveDate = text(row, "shift_start").parse().expect("a date");
        let schedules: Vec<Schedule> = (0..most)
            .map(|seat| {
                let mut layer = layer("shift", Tz::UTC, &[]);
                let person = |group: &Vec<String>| group.get(seat).or(group.last()).cloned();
                layer.people = groups.iter().filter_map(person).collect();
                layer.rotation = rotation(text(row, "frequency"));
                layer.every =
                    u32::try_from(row["interval"].as_u64().expect("a number")).expect("small");
                layer.start = start.and_time(NaiveTime::MIN);
                let days = items(&row["by_day"])
                    .iter()
                    .map(|day| day.as_str().expect("a day"));
                let days: Vec<Weekday> = days.map(weekday).collect();
                layer.days = Some(days).filter(|days| !days.is_empty());
                schedule(Tz::UTC, vec![layer])
            })
            .collect();
        let days = row["total_days"].as_u64().expect("days");
        for day in start.iter_days().take(usize::try_from(days).expect("few")) {
            let noon = Timestamp::from(day.and_hms_opt(12, 0, 0).expect("noon").and_utc());
            let people = schedules
                .iter()
                .flat_map(|schedule| schedule.on_call(&[], noon));
            let found: BTreeSet<String> = people.collect();
            let found: String = found.into_iter().collect();
            let wanted = row["expected"][day.to_string()]
                .as_str()
                .unwrap_or_default();
            same(&found, &wanted.to_owned()).map_err(|error| format!("{day}: {error}"))?;
        }
        Ok(())
    }

    fn weekday(short: &str) -> Weekday {
        match short {
            "MO" => Weekday::Mon,
            "TU" => Weekday::Tue,
            "WE" => Weekday::Wed,
            "TH" => Weekday::Thu,
            "FR" => Weekday::Fri,
            "SA" => Weekday::Sat,
            "SU" => Weekday::Sun,
            other => unreachable!("no day: {other}"),
        }
    }

    #[test]
    fn the_rows_of_its_rolling_users_that_count_as_we_do_hold() {
        let table: Value = serde_json::from_str(CASES).expect("the table is JSON");
        let rows = items(&table["oncall_rolling_users_upstream_table"]["cases"]);
        assert!(rows.len() > 20);
        let named = rows.iter().enumerate();
        check_all(named.map(|(n, row)| (n.to_string(), check_rolling(row))));
    }

    /// Hours of one day.
    fn at(hours: f64) -> Timestamp {
        instant("2026-06-05T00:00:00Z").plus(Duration::from_secs_f64(hours * 3600.0))
    }

    /// A schedule of the shifts of one person at level 1 and of all above: levels of equal height stand side by side in
    /// that program, which two schedules of ours do.
    fn side(row: &Value, person: &str) -> Schedule {
        let mut shifts: Vec<&Value> = items(&row["shifts"]).iter().collect();
        shifts.retain(|shift| shift[1].as_u64() > Some(1) || shift[0] == person);
        shifts.sort_by_key(|shift| shift[1].as_u64());
        let layers = shifts.into_iter().map(|shift| {
            let mut layer = layer("shift", Tz::UTC, &[shift[0].as_str().expect("a name")]);
            let hour = |n: usize| at(shift[n].as_f64().expect("hours")).to_utc().time();
            layer.days = Some(vec![Weekday::Fri]);
            (layer.from, layer.to) = (Some(hour(2)), Some(hour(3)));
            layer
        });
        schedule(Tz::UTC, layers.collect())
    }

    /// The later an override stands in a row, the later it was made.
    fn read_overrides(row: &Value) -> Vec<Override> {
        let overrides = items(&row["overrides"]).iter().enumerate();
        overrides
            .map(|(n, row)| {
                let id = u64::try_from(n).expect("few");
                let hours = |n: usize| at(row[n].as_f64().expect("hours"));
                let person = row[0].as_str().expect("a name");
                exception(id, OverrideKind::Replace, person, hours(2), hours(3))
            })
            .collect()
    }

    #[test]
    fn layers_gaps_and_overrides_over_overrides_end_in_its_final_schedule() {
        let table: Value = serde_json::from_str(CASES).expect("the table is JSON");
        for row in items(&table["oncall_final_schedule"]) {
            let overrides = read_overrides(row);
            let sides = ["A", "B"].map(|person| side(row, person));
            let expected = items(&row["expected"]).iter();
            let expected: Vec<(f64, f64, String)> = expected
                .map(|part| {
                    let who = part[2].as_str().unwrap_or_default();
                    let hours = |n: usize| part[n].as_f64().expect("hours");
                    (hours(0), hours(1), who.replace("(override)", ""))
                })
                .collect();
            // Every quarter of an hour of what the row speaks of.
            for quarter in 0..96_u32 {
                let hour = f64::from(quarter) / 4.0;
                let spans = expected
                    .iter()
                    .filter(|(from, to, _)| (*from..*to).contains(&hour));
                let wanted: BTreeSet<String> = spans
                    .clone()
                    .map(|(_, _, who)| who.clone())
                    .filter(|who| !who.is_empty())
                    .collect();
                if spans.count() == 0 {
                    continue;
                }
                let found = sides
                    .iter()
                    .flat_map(|side| side.on_call(&overrides, at(hour)));
                let found: BTreeSet<String> = found.collect();
                assert_eq!(found, wanted, "{} at {hour}", text(row, "name"));
            }
            if row["query_at"].is_array() {
                let shifts = sides[0].shifts(&overrides, at(0.0), at(24.0));
                let during = shifts
                    .iter()
                    .find(|shift| shift.from <= at(10.0003) && at(10.0003) < shift.to);
                let during = during.expect("somebody is on call");
                assert_eq!(
                    (during.person.as_str(), during.from, during.to),
                    ("B", at(10.0), at(14.0))
                );
            }
        }
    }
}

#[test]
fn a_hand_off_that_the_clock_is_put_forward_over_is_when_the_gap_ends() {
    let mut nights = layer("nights", Tz::Europe__Berlin, &["ana", "ben"]);
    nights.start = local("2026-03-27T02:30");
    let schedule = schedule(Tz::Europe__Berlin, vec![nights]);
    let shifts = schedule.shifts(
        &[],
        instant("2026-03-28T12:00:00Z"),
        instant("2026-03-30T12:00:00Z"),
    );
    assert_eq!(
        lines(&shifts, Tz::Europe__Berlin),
        [
            "ben 03-28 13:00+01:00 03-29 03:00+02:00",
            "ana 03-29 03:00+02:00 03-30 02:30+02:00",
            "ben 03-30 02:30+02:00 03-30 14:00+02:00",
        ]
    );
}

#[test]
fn a_hand_off_in_the_repeated_hour_is_in_its_first_pass_and_the_second_takes_nothing_back() {
    let mut nights = layer("nights", Tz::Europe__Berlin, &["ana", "ben"]);
    nights.start = local("2026-10-23T02:30");
    let schedule = schedule(Tz::Europe__Berlin, vec![nights]);
    let shifts = schedule.shifts(
        &[],
        instant("2026-10-24T12:00:00Z"),
        instant("2026-10-26T12:00:00Z"),
    );
    assert_eq!(
        lines(&shifts, Tz::Europe__Berlin),
        [
            "ben 10-24 14:00+02:00 10-25 02:30+02:00",
            "ana 10-25 02:30+02:00 10-26 02:30+01:00",
            "ben 10-26 02:30+01:00 10-26 13:00+01:00",
        ]
    );
    assert_eq!(
        schedule.on_call(&[], instant("2026-10-25T02:15:00+01:00")),
        ["ana"]
    );
}

#[test]
fn a_month_without_the_day_hands_over_on_its_last() {
    let mut monthly = layer("monthly", Tz::UTC, &["ana", "ben", "cem"]);
    monthly.rotation = Rotation::Monthly;
    monthly.start = local("2026-01-31T09:00");
    let schedule = schedule(Tz::UTC, vec![monthly]);
    let shifts = schedule.shifts(
        &[],
        instant("2026-01-30T00:00:00Z"),
        instant("2026-06-01T00:00:00Z"),
    );
    assert_eq!(
        lines(&shifts, Tz::UTC),
        [
            "cem 01-30 00:00+00:00 01-31 09:00+00:00",
            "ana 01-31 09:00+00:00 02-28 09:00+00:00",
            "ben 02-28 09:00+00:00 03-31 09:00+00:00",
            "cem 03-31 09:00+00:00 04-30 09:00+00:00",
            "ana 04-30 09:00+00:00 05-31 09:00+00:00",
            "ben 05-31 09:00+00:00 06-01 00:00+00:00",
        ]
    );
}

fn with_nights() -> Schedule {
    let mut weekly = layer("weekly", Tz::Europe__Berlin, &["ana", "ben"]);
    weekly.rotation = Rotation::Weekly;
    weekly.start = local("2026-01-05T09:00");
    let mut nights = layer("nights", Tz::Europe__Berlin, &["cem"]);
    nights.start = local("2026-01-05T22:00");
    nights.days = Some(vec![Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu]);
    (nights.from, nights.to) = (Some(time("22:00")), Some(time("06:00")));
    schedule(Tz::Europe__Berlin, vec![weekly, nights])
}

#[test]
fn a_higher_layer_takes_over_while_it_has_somebody_and_its_night_belongs_to_the_day_it_begins_on() {
    let schedule = with_nights();
    let (from, to) = (
        instant("2026-06-04T12:00:00+02:00"),
        instant("2026-06-08T23:00:00+02:00"),
    );
    let shifts = schedule.shifts(&[], from, to);
    assert_eq!(
        lines(&shifts, Tz::Europe__Berlin),
        [
            "ben 06-04 12:00+02:00 06-04 22:00+02:00",
            "cem 06-04 22:00+02:00 06-05 06:00+02:00",
            "ben 06-05 06:00+02:00 06-08 09:00+02:00",
            "ana 06-08 09:00+02:00 06-08 22:00+02:00",
            "cem 06-08 22:00+02:00 06-08 23:00+02:00",
        ]
    );
    let layers: Vec<Option<&str>> = shifts.iter().map(|shift| shift.layer.as_deref()).collect();
    let (weekly, nights) = (Some("weekly"), Some("nights"));
    assert_eq!(layers, [weekly, nights, weekly, weekly, nights]);
}

#[test]
fn a_layer_without_people_hides_nobody() {
    let layers = vec![
        layer("days", Tz::UTC, &["ana"]),
        layer("empty", Tz::UTC, &[]),
    ];
    let schedule = schedule(Tz::UTC, layers);
    assert_eq!(
        schedule.on_call(&[], instant("2026-06-04T12:00:00Z")),
        ["ana"]
    );
}

#[test]
fn a_layer_that_starts_next_month_takes_over_next_month() {
    let mut next = layer("from July on", Tz::UTC, &["ben"]);
    next.start = local("2026-07-01T09:00");
    let schedule = schedule(Tz::UTC, vec![layer("until then", Tz::UTC, &["ana"]), next]);
    let june = instant("2026-06-04T12:00:00Z");
    assert_eq!(schedule.on_call(&[], june), ["ana"]);
    assert_eq!(
        schedule.next_change(&[], june),
        Some(instant("2026-07-01T09:00:00Z"))
    );
    assert_eq!(
        schedule.on_call(&[], instant("2026-07-01T09:00:00Z")),
        ["ben"]
    );
}

#[test]
fn an_override_counts_from_its_beginning_up_to_its_end() {
    let schedule = with_nights();
    let (from, to) = (
        instant("2026-06-05T10:00:00Z"),
        instant("2026-06-05T12:00:00Z"),
    );
    let on_call = |exception: Override, at: &str| schedule.on_call(&[exception], instant(at));
    let cem = || exception(7, OverrideKind::Replace, "cem", from, to);
    assert_eq!(on_call(cem(), "2026-06-05T09:59:59Z"), ["ben"]);
    assert_eq!(on_call(cem(), "2026-06-05T10:00:00Z"), ["cem"]);
    assert_eq!(on_call(cem(), "2026-06-05T12:00:00Z"), ["ben"]);
    assert_eq!(
        on_call(instead_of("ana", cem()), "2026-06-05T11:00:00Z"),
        ["ben"]
    );
    let added = exception(7, OverrideKind::Add, "cem", from, to);
    assert_eq!(on_call(added, "2026-06-05T11:00:00Z"), ["ben", "cem"]);
    let removed = exception(7, OverrideKind::Remove, "ben", from, to);
    assert!(on_call(removed, "2026-06-05T11:00:00Z").is_empty());
    let shifts = schedule.shifts(&[cem()], from, to);
    assert_eq!(shifts.len(), 1);
    assert_eq!((&shifts[0].layer, shifts[0].override_id), (&None, Some(7)));
}

#[test]
fn who_stands_in_can_be_stood_in_for_and_the_last_word_holds() {
    let schedule = schedule(Tz::UTC, vec![layer("days", Tz::UTC, &["ana"])]);
    let (from, to) = (
        instant("2026-06-05T10:00:00Z"),
        instant("2026-06-05T12:00:00Z"),
    );
    let replace = |id, person: &str| exception(id, OverrideKind::Replace, person, from, to);
    let on_call = |overrides: &[Override]| schedule.on_call(overrides, from);

    let ben = instead_of("ana", replace(1, "ben"));
    let cem = instead_of("ben", replace(2, "cem"));
    assert_eq!(on_call(&[cem.clone(), ben.clone()]), ["cem"]);
    let back = instead_of("cem", replace(3, "ana"));
    assert_eq!(on_call(&[ben.clone(), cem.clone(), back]), ["ana"]);
    let dan = instead_of("ana", replace(4, "dan"));
    assert_eq!(on_call(&[ben, cem, dan]), ["dan"]);

    let remove = exception(6, OverrideKind::Remove, "ana", from, to);
    let add = exception(5, OverrideKind::Add, "ana", from, to);
    assert_eq!(on_call(&[remove, add]), ["ana"]);
}

#[test]
fn whoever_replaces_everybody_is_on_call_also_where_nobody_would_be() {
    let schedule = schedule(Tz::UTC, Vec::new());
    let (from, to) = (
        instant("2026-06-05T10:00:00Z"),
        instant("2026-06-05T12:00:00Z"),
    );
    let ben = [exception(1, OverrideKind::Replace, "ben", from, to)];
    assert!(schedule.on_call(&[], from).is_empty());
    assert_eq!(schedule.on_call(&ben, from), ["ben"]);
    assert_eq!(schedule.next_change(&ben, from), Some(to));
    assert_eq!(schedule.next_change(&ben, to), None);
}

#[test]
fn an_override_is_stored_in_words() {
    let (from, to) = (Timestamp::from_millis(1), Timestamp::from_millis(2));
    let stored = serde_json::to_value(exception(3, OverrideKind::Replace, "ben", from, to));
    let stored = stored.expect("it is JSON");
    assert_eq!(
        stored,
        serde_json::json!({
            "id": 3, "kind": "replace", "person": "ben", "instead_of": null, "from": 1, "to": 2,
            "reason": "a swap", "by": "ana", "made_at": 1_767_225_600_003_i64,
        })
    );
    let read: Override = serde_json::from_value(stored).expect("it is read back");
    assert_eq!(read, exception(3, OverrideKind::Replace, "ben", from, to));
}

#[test]
fn far_off_years_are_answered_without_a_walk_there() {
    for turns in [
        Rotation::Hourly,
        Rotation::Daily,
        Rotation::Weekly,
        Rotation::Monthly,
    ] {
        for (every, start) in [
            (1, local("2026-01-05T09:00")),
            (u32::MAX, NaiveDateTime::MAX),
            (0, NaiveDateTime::MIN),
        ] {
            let mut far = layer("far", Tz::Australia__Lord_Howe, &["ana", "ben"]);
            (far.rotation, far.every, far.start) = (turns, every, start);
            let always = schedule(Tz::Australia__Lord_Howe, vec![far.clone()]);
            (far.from, far.to) = (Some(time("22:00")), Some(time("06:00")));
            let nights = schedule(Tz::Australia__Lord_Howe, vec![far]);
            for at in [i64::MIN, 0, 64_060_588_800_000, i64::MAX] {
                let at = Timestamp::from_millis(at);
                assert_eq!(
                    always.on_call(&[], at).len(),
                    1,
                    "{turns:?} {every} {start} {at}"
                );
                assert!(nights.on_call(&[], at).len() <= 1);
                let shifts = nights.shifts(&[], at, at.shifted(7 * 86_400_000));
                assert!(shifts.len() <= 7 * 24);
                assert!(nights.next_change(&[], at) != Some(at));
            }
        }
    }
}

const ZONES: [Tz; 5] = [
    Tz::UTC,
    Tz::Europe__Berlin,
    Tz::America__New_York,
    Tz::Australia__Lord_Howe,
    Tz::America__Santiago,
];

prop_compose! {
    fn any_layer()(
        n_people in 0..4_usize,
        turns in prop::sample::select(vec![Rotation::Hourly, Rotation::Daily, Rotation::Weekly, Rotation::Monthly]),
        every in 1..4_u32,
        start_min in 0..400 * 1440_i64,
        zone in prop::sample::select(ZONES.to_vec()),
        days in prop::option::of(prop::collection::vec(0..7_u8, 0..5)),
        from in prop::option::of(0..96_u32),
        to in prop::option::of(0..96_u32),
    ) -> Layer {
        let time = |quarter: u32| NaiveTime::from_num_seconds_from_midnight_opt(quarter * 900, 0).expect("within a day");
        let mut any = layer("any", zone, &["ana", "ben", "cem"][..n_people.min(3)]);
        any.rotation = turns;
        any.every = every;
        any.start = local("2025-06-01T00:00") + TimeDelta::minutes(start_min);
        any.days = days.map(|days| days.into_iter().map(|day| Weekday::try_from(day).expect("a day")).collect());
        (any.from, any.to) = (from.map(time), to.map(time));
        any
    }
}

prop_compose! {
    fn any_override(from: Timestamp)(
        id in 0..9_u64,
        kind in prop::sample::select(vec![OverrideKind::Add, OverrideKind::Remove, OverrideKind::Replace]),
        person in prop::sample::select(vec!["ana", "ben", "cem", "dan"]),
        absent in prop::option::of(prop::sample::select(vec!["ana", "ben", "dan"])),
        begin_min in -600..6000_i64,
        length_min in 1..3000_i64,
    ) -> Override {
        let begin = from.shifted(begin_min * 60_000);
        let mut any = exception(id, kind, person, begin, begin.shifted(length_min * 60_000));
        any.instead_of = absent.map(str::to_owned);
        any
    }
}

/// Days around the ends of daylight saving, and one far from them.
fn any_day() -> impl Strategy<Value = Timestamp> {
    let days = [
        "2026-03-06",
        "2026-03-27",
        "2026-04-03",
        "2026-06-01",
        "2026-10-02",
        "2026-10-23",
        "2026-10-30",
    ];
    prop::sample::select(
        days.map(|day| instant(&format!("{day}T12:00:00Z")))
            .to_vec(),
    )
}

prop_compose! {
    fn any_case()(from in any_day())(
        from in Just(from),
        layers in prop::collection::vec(any_layer(), 0..4),
        overrides in prop::collection::vec(any_override(from), 0..4),
        zone in prop::sample::select(ZONES.to_vec()),
    ) -> (Schedule, Vec<Override>, Timestamp) {
        (schedule(zone, layers), overrides, from)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_shifts_say_the_same_as_asking_at_every_instant((schedule, overrides, from) in any_case()) {
        let to = from.shifted(4 * 86_400_000);
        let shifts = schedule.shifts(&overrides, from, to);
        let quarters = (0..4 * 96).map(|n| from.shifted(n * 15 * 60_000));
        let edges = shifts.iter().flat_map(|shift| [shift.from, shift.from.shifted(-1), shift.to, shift.to.shifted(-1)]);
        for at in quarters.chain(edges).filter(|at| (from..to).contains(at)) {
            let on_call = schedule.on_call(&overrides, at);
            let asked: BTreeSet<&str> = on_call.iter().map(String::as_str).collect();
            prop_assert_eq!(asked.len(), on_call.len(), "somebody twice at {}", at);
            let during = shifts.iter().filter(|shift| (shift.from..shift.to).contains(&at));
            let listed: BTreeSet<&str> = during.map(|shift| shift.person.as_str()).collect();
            prop_assert_eq!(asked, listed, "at {}", at);
        }
    }

    #[test]
    fn without_overrides_shifts_never_overlap_and_hand_offs_strictly_increase((schedule, _, from) in any_case()) {
        let shifts = schedule.shifts(&[], from, from.shifted(20 * 86_400_000));
        for shift in &shifts {
            prop_assert!(shift.from < shift.to);
        }
        for pair in shifts.windows(2) {
            prop_assert!(pair[0].to <= pair[1].from);
            prop_assert!(pair[0].to < pair[1].from || pair[0].person != pair[1].person);
        }
    }

    #[test]
    fn the_next_change_is_the_first((schedule, overrides, from) in any_case()) {
        let now = schedule.on_call(&overrides, from);
        let next = schedule.next_change(&overrides, from);
        let until = next.unwrap_or(from.shifted(3 * 86_400_000));
        if let Some(next) = next {
            prop_assert!(next > from);
            prop_assert_ne!(&schedule.on_call(&overrides, next), &now);
        }
        let minutes = (1..3 * 1440).map(|n| from.shifted(n * 60_000));
        for at in minutes.take_while(|at| *at < until) {
            prop_assert_eq!(&schedule.on_call(&overrides, at), &now, "at {}", at);
        }
    }
}
