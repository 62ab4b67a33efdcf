//! Intervals: parts of the week, the month and the year by the wall clock of a zone, as Alertmanager's `time_intervals` have them.

use crate::domain::time::Timestamp;
use chrono::{DateTime, Datelike, Timelike};
use chrono_tz::Tz;
use std::fmt;
use std::str::FromStr;

const WEEKDAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// The days that every month has.
const SHORTEST_MONTH: i32 = 28;
const LONGEST_MONTH: i32 = 31;

/// A named part of time. All lists that there are must fit, and one entry of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interval {
    /// Unique.
    pub name: String,
    pub zone: Tz,
    pub weekdays: Option<Vec<Weekdays>>,
    pub days_of_month: Option<Vec<DaysOfMonth>>,
    pub months: Option<Vec<Months>>,
    pub years: Option<Vec<Years>>,
    pub times: Option<Vec<Times>>,
}

/// From one day of the week to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weekdays(Span);

/// From one day of a month to another, both included; negative ones count from the end of the month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaysOfMonth(Span);

/// From one month to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Months(Span);

/// From one year to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Years(Span);

/// From a minute of the day to just before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times(Span);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: i32,
    to: i32,
}

impl Span {
    fn has(self, number: i32) -> bool {
        self.from <= number && number <= self.to
    }
}

/// Why a text is no part of an interval.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoInterval(String);

impl Interval {
    /// Whether `now` lies in it.
    pub fn contains(&self, now: Timestamp) -> bool {
        let local = now.to_utc().with_timezone(&self.zone);
        let minute = number(local.hour() * 60 + local.minute());
        let weekday = number(local.weekday().num_days_from_sunday());
        fits(self.times.as_deref(), |times| {
            times.0.from <= minute && minute < times.0.to
        }) && fits(self.days_of_month.as_deref(), |days| days.have(&local))
            && fits(self.months.as_deref(), |months| {
                months.0.has(number(local.month()))
            })
            && fits(self.weekdays.as_deref(), |days| days.0.has(weekday))
            && fits(self.years.as_deref(), |years| years.0.has(local.year()))
    }
}

fn fits<T>(all: Option<&[T]>, fits: impl Fn(&T) -> bool) -> bool {
    all.is_none_or(|all| all.iter().any(fits))
}

/// Numbers of a calendar are small.
fn number(of_calendar: u32) -> i32 {
    i32::try_from(of_calendar).unwrap_or(i32::MAX)
}

impl DaysOfMonth {
    fn have(self, local: &DateTime<Tz>) -> bool {
        let n_days = i32::from(local.num_days_in_month());
        let of_month = |day: i32| match day < 0 {
            true => n_days + day + 1,
            false => day,
        };
        let (from, to) = (of_month(self.0.from), of_month(self.0.to));
        let day = number(local.day());
        // A day that this month lacks does not make the last one of it a day that is meant.
        from <= n_days && from <= day && day <= to.min(n_days)
    }
}

/// `monday`, `monday:friday`.
impl FromStr for Weekdays {
    type Err = NoInterval;

    fn from_str(text: &str) -> Result<Self, NoInterval> {
        let day = |word: &str| {
            position(&WEEKDAYS, word).ok_or_else(|| {
                NoInterval(format!(
                    "a weekday such as \"monday\" or \"monday:friday\" is wanted, found \"{text}\""
                ))
            })
        };
        let span = span(text, day)?;
        if span.from > span.to {
            return Err(NoInterval(format!(
                "weeks begin on Sunday, and \"{text}\" ends before it begins; write two entries"
            )));
        }
        Ok(Self(span))
    }
}

/// `15`, `1:5`, `-3:-1`.
impl FromStr for DaysOfMonth {
    type Err = NoInterval;

    fn from_str(text: &str) -> Result<Self, NoInterval> {
        let day = |word: &str| {
            let day = word.parse().ok();
            let is_day = |day: &i32| *day != 0 && day.abs() <= LONGEST_MONTH;
            day.filter(is_day).ok_or_else(|| {
                NoInterval(format!(
                    "days from 1 to 31, or from -31 to -1, are wanted, as \"1:5\" or \"-1\", found \"{text}\""
                ))
            })
        };
        let span = span(text, day)?;
        if span.from < 0 && span.to > 0 {
            return Err(NoInterval(format!(
                "the end must be negative as the beginning is, found \"{text}\""
            )));
        }
        // Of months of every length: refused is what ends before it begins in the shortest one.
        let in_shortest = |day: i32| if day < 0 { SHORTEST_MONTH + day } else { day };
        if in_shortest(span.from) > in_shortest(span.to) {
            return Err(NoInterval(format!(
                "\"{text}\" ends before it begins in some months"
            )));
        }
        Ok(Self(span))
    }
}

/// `december`, `1:3`.
impl FromStr for Months {
    type Err = NoInterval;

    fn from_str(text: &str) -> Result<Self, NoInterval> {
        let month = |word: &str| {
            let named = position(&MONTHS, word).map(|at| at + 1);
            let month = named.or_else(|| word.parse().ok());
            month
                .filter(|month| (1..=12).contains(month))
                .ok_or_else(|| {
                    NoInterval(format!(
                        "a month such as \"december\", \"12\" or \"1:3\" is wanted, found \"{text}\""
                    ))
                })
        };
        let span = span(text, month)?;
        if span.from > span.to {
            return Err(NoInterval(format!(
                "\"{text}\" ends before it begins; write two entries"
            )));
        }
        Ok(Self(span))
    }
}

/// `2026`, `2026:2028`.
impl FromStr for Years {
    type Err = NoInterval;

    fn from_str(text: &str) -> Result<Self, NoInterval> {
        let year = |word: &str| {
            word.parse().map_err(|_no_number| {
                NoInterval(format!(
                    "a year such as \"2026\" or \"2026:2028\" is wanted, found \"{text}\""
                ))
            })
        };
        let span = span(text, year)?;
        if span.from > span.to {
            return Err(NoInterval(format!("\"{text}\" ends before it begins")));
        }
        Ok(Self(span))
    }
}

/// `09:00-17:00`; a day ends at `24:00`.
impl FromStr for Times {
    type Err = NoInterval;

    fn from_str(text: &str) -> Result<Self, NoInterval> {
        let minute = |word: &str| {
            minute_of_day(word).ok_or_else(|| {
                NoInterval(format!(
                    "times such as \"09:00-17:00\" are wanted, found \"{text}\""
                ))
            })
        };
        let (from, to) = text.split_once('-').unwrap_or((text, ""));
        let span = Span {
            from: minute(from)?,
            to: minute(to)?,
        };
        if span.from >= span.to {
            return Err(NoInterval(format!(
                "\"{text}\" ends before it begins; for a night write two entries, \"{from}-24:00\" and \"00:00-{to}\""
            )));
        }
        Ok(Self(span))
    }
}

fn minute_of_day(text: &str) -> Option<i32> {
    let (hour, minute) = text.split_once(':')?;
    let two_digits = |text: &str| {
        let is_it = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_it.then(|| text.parse().ok()).flatten()
    };
    let (hour, minute): (i32, i32) = (two_digits(hour)?, two_digits(minute)?);
    let is_time = (hour < 24 && minute < 60) || (hour == 24 && minute == 0);
    is_time.then_some(hour * 60 + minute)
}

fn span(text: &str, read: impl Fn(&str) -> Result<i32, NoInterval>) -> Result<Span, NoInterval> {
    let (from, to) = text.split_once(':').unwrap_or((text, text));
    Ok(Span {
        from: read(from)?,
        to: read(to)?,
    })
}

fn position(words: &[&str], word: &str) -> Option<i32> {
    let at = words
        .iter()
        .position(|known| known.eq_ignore_ascii_case(word))?;
    i32::try_from(at).ok()
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
