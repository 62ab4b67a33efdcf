//! Crons: the table of what each spec means, refusals, and the two ends of daylight saving in words.

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Timelike};
use chrono_tz::Tz;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeSet;
use watchkeeper::domain::cron_spec::CronSpec;
use watchkeeper::domain::time::Timestamp;

const CASES: &str = include_str!("fixtures/cases/cron.json");

fn instant(text: &str) -> Timestamp {
    DateTime::parse_from_rfc3339(text)
        .expect("an instant")
        .into()
}

/// All instants of a row, or that it is refused.
fn check(row: &Value) -> Result<(), String> {
    let text = |name: &str| row[name].as_str().unwrap_or_default();
    let parsed = CronSpec::parse(text("expr"));
    let Some(wanted) = row["expected"].as_array() else {
        return match parsed {
            Err(_refused) => Ok(()),
            Ok(_) => Err(format!("{:?} is taken", text("expr"))),
        };
    };
    let zone = text("tz").parse().expect("a zone");
    let spec = parsed.map_err(|error| format!("{:?}: {error}", text("expr")))?;
    let wanted: Vec<Timestamp> = wanted
        .iter()
        .map(|at| instant(at.as_str().expect("a text")))
        .collect();
    let found = spec.first_slots(zone, instant(text("after")), wanted.len());
    if found == wanted {
        return Ok(());
    }
    let shown = |all: &[Timestamp]| {
        all.iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ")
    };
    Err(format!(
        "{} {:?} after {}: wanted {}, found {}",
        text("name"),
        text("expr"),
        text("after"),
        shown(&wanted),
        shown(&found)
    ))
}

#[test]
fn every_row_of_the_table_holds() {
    let table: Value = serde_json::from_str(CASES).expect("the table is JSON");
    let rows = table["cases"].as_array().expect("it has rows");
    assert!(rows.len() > 100);
    let wrong: Vec<String> = rows.iter().filter_map(|row| check(row).err()).collect();
    assert!(
        wrong.is_empty(),
        "{} of {} rows:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}

#[test]
fn refusals_say_what_was_wanted_and_what_was_found() {
    let refusal = |text: &str| {
        CronSpec::parse(text)
            .expect_err("it is refused")
            .to_string()
    };
    assert_eq!(
        refusal("0 0 9 * * *"),
        "five fields wanted (minute, hour, day of month, month, day of week), found 6"
    );
    assert_eq!(
        refusal("0 24 * * *"),
        "hour: a value from 0 to 23 wanted, found \"24\""
    );
    assert_eq!(
        refusal("*/90 * * * *"),
        "minute: a step from 1 to 60 wanted, found \"*/90\""
    );
    assert_eq!(
        refusal("5/15 * * * *"),
        "minute: a step wants a range or * before it, found \"5/15\""
    );
    assert_eq!(
        refusal("0 9 * * FRI-MON"),
        "day of week: a range goes from less to more, found \"FRI-MON\""
    );
    assert_eq!(
        refusal("0 9 * * TUE#2"),
        "day of week: L, W and # are not supported, found \"TUE#2\""
    );
    assert_eq!(refusal("0 9 30 2 *"), "\"0 9 30 2 *\" never runs");
    assert_eq!(
        refusal("@reboot"),
        "\"@reboot\" is not one of @yearly, @monthly, @weekly, @daily, @hourly"
    );
}

fn slots(text: &str, after: &str, n: usize) -> Vec<String> {
    let spec = CronSpec::parse(text).expect("a cron");
    let slots = spec.first_slots(chrono_tz::Europe::Berlin, instant(after), n);
    slots.iter().map(ToString::to_string).collect()
}

#[test]
fn a_daily_check_inside_the_gap_of_spring_runs_once_when_the_gap_ends() {
    let found = slots("30 2 * * *", "2026-03-28T12:00:00+01:00", 2);
    assert_eq!(
        found,
        ["2026-03-29T01:00:00.000Z", "2026-03-30T00:30:00.000Z"]
    );
}

#[test]
fn a_daily_check_inside_the_repeated_hour_of_autumn_runs_in_the_first_pass_only() {
    let found = slots("30 2 * * *", "2026-10-24T12:00:00+02:00", 2);
    assert_eq!(
        found,
        ["2026-10-25T00:30:00.000Z", "2026-10-26T01:30:00.000Z"]
    );
}

#[test]
fn an_hourly_check_runs_in_both_passes_of_the_repeated_hour() {
    let found = slots("0 * * * *", "2026-10-25T01:30:00+02:00", 3);
    assert_eq!(
        found,
        [
            "2026-10-25T00:00:00.000Z",
            "2026-10-25T01:00:00.000Z",
            "2026-10-25T02:00:00.000Z"
        ]
    );
}

#[test]
fn a_spec_is_stored_as_it_was_written() {
    let spec = CronSpec::parse("  0 9 * * Mon-Fri ").expect("a cron");
    let stored = serde_json::to_string(&spec).expect("it is a text");
    assert_eq!(stored, "\"0 9 * * Mon-Fri\"");
    assert_eq!(
        serde_json::from_str::<CronSpec>(&stored).expect("it is read back"),
        spec
    );
}

#[test]
fn an_instant_of_the_second_pass_is_found_also_when_the_next_local_time_is_a_year_off() {
    let found = slots("40 1-2 25 10 *", "2026-10-25T02:45:00+02:00", 2);
    assert_eq!(
        found,
        ["2026-10-25T01:40:00.000Z", "2027-10-24T23:40:00.000Z"]
    );
}

#[test]
fn a_range_of_names_may_end_with_the_week_and_one_day_is_one_day() {
    let days = |text: &str| slots(text, "2026-06-01T00:00:00+02:00", 3);
    assert_eq!(days("0 9 * * fri-SUNDAY"), days("0 9 * * 5,6,0"));
    assert_eq!(days("0 9 * * SUN-SUN"), days("0 9 * * 0"));
    assert_eq!(days("0 9 * * sun-tue"), days("0 9 * * 0-2"));
    assert_eq!(days("0 9 ? ? saturday-sun/1"), days("0 9 * * 6-7"));
}

#[test]
fn years_beyond_those_of_the_crate_have_no_slot_and_no_panic() {
    let spec = CronSpec::parse("* * * * *").expect("a cron");
    for zone in [Tz::UTC, Tz::Pacific__Apia, Tz::America__Adak] {
        let last = spec.next_after(Timestamp::from_millis(i64::MAX), zone);
        assert_eq!(last, None);
        let first = spec.next_after(Timestamp::from_millis(i64::MIN), zone);
        assert!(first.is_some_and(|first| first.to_utc().year() <= 1970));
    }
}

/// What a clock does around these local noons: put forward, put back, by half an hour, at midnight, by a day.
const DAYS: [(Tz, &str); 9] = [
    (Tz::Europe__Berlin, "2026-03-29T12:00:00Z"),
    (Tz::Europe__Berlin, "2026-10-25T12:00:00Z"),
    (Tz::America__New_York, "2026-11-01T12:00:00Z"),
    (Tz::Australia__Lord_Howe, "2026-04-04T12:00:00Z"),
    (Tz::Australia__Lord_Howe, "2026-10-03T12:00:00Z"),
    (Tz::America__Santiago, "2026-04-05T00:00:00Z"),
    (Tz::America__Santiago, "2026-09-06T00:00:00Z"),
    (Tz::Pacific__Apia, "2011-12-30T00:00:00Z"),
    (Tz::UTC, "2026-06-01T00:00:00Z"),
];

/// All instants of six days around `about`, minute by minute, with what the clock shows.
fn clock(zone: Tz, about: Timestamp) -> Vec<(Timestamp, NaiveDateTime)> {
    let minutes = -3 * 1440..3 * 1440_i64;
    let instants = minutes.map(|minute| about.shifted(minute * 60_000));
    instants
        .map(|at| (at, at.to_utc().with_timezone(&zone).naive_local()))
        .collect()
}

fn list(values: &BTreeSet<u32>) -> String {
    let values: Vec<String> = values.iter().map(u32::to_string).collect();
    values.join(",")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn slots_are_those_that_a_walk_through_every_minute_finds(
        day in 0..DAYS.len(),
        minutes in prop::collection::btree_set((0..12_u32).prop_map(|n| n * 5), 1..4),
        hours in prop::collection::btree_set(0..5_u32, 1..4),
        dates in prop::option::of(prop::collection::btree_set(1..32_u32, 1..20)),
        weekdays in prop::option::of(prop::collection::btree_set(0..7_u32, 1..4)),
        offset_s in -36 * 3600..36 * 3600_i64,
    ) {
        let (zone, about) = DAYS[day];
        let about = instant(about);
        let after = about.shifted(offset_s * 1000);
        let or_any = |set: &Option<BTreeSet<u32>>| set.as_ref().map_or("*".to_owned(), list);
        let text = format!("{} {} {} * {}", list(&minutes), list(&hours), or_any(&dates), or_any(&weekdays));
        let fits = |local: NaiveDateTime| {
            let date = dates.as_ref().map(|set| set.contains(&local.day()));
            let weekday = weekdays.as_ref().map(|set| set.contains(&local.weekday().num_days_from_sunday()));
            let is_day = match (date, weekday) {
                (Some(date), Some(weekday)) => date || weekday,
                (one, other) => one.or(other).unwrap_or(true),
            };
            is_day && minutes.contains(&local.minute()) && hours.contains(&local.hour())
        };
        let clock = clock(zone, about);
        let wanted: BTreeSet<Timestamp> = if hours.len() == 1 {
            let (first, last) = (clock[0].1, clock[clock.len() - 1].1);
            let locals = std::iter::successors(Some(first), |local| Some(*local + TimeDelta::minutes(1)));
            let fitting = locals.take_while(|local| *local <= last).filter(|local| fits(*local));
            fitting.filter_map(|local| Some(clock.iter().find(|(_, shown)| *shown >= local)?.0)).collect()
        } else {
            clock.iter().filter(|(_, local)| fits(*local)).map(|(at, _)| *at).collect()
        };
        let end = about.shifted(2 * 86_400_000);
        let wanted: Vec<Timestamp> = wanted.into_iter().filter(|at| *at > after && *at < end).collect();
        let found = CronSpec::parse(&text).expect("a cron").first_slots(zone, after, wanted.len() + 1);
        let found: Vec<Timestamp> = found.into_iter().filter(|at| *at < end).collect();
        prop_assert_eq!(found, wanted, "{} in {} after {}", text, zone, after);
    }
}
