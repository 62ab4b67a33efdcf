//! Instants and spans: UTC, milliseconds, always passed in, never read from a clock here.

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// An instant: milliseconds since the Unix epoch, UTC. Stored as that number, shown as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

/// The first and the last instant that have a date of four digits; what lies outside is brought to the nearer one.
const EARLIEST: i64 = -62_135_596_800_000; // 0001-01-01T00:00:00Z
const LATEST: i64 = 253_402_300_799_999; // 9999-12-31T23:59:59.999Z

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The instant `millis` milliseconds after the epoch.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(EARLIEST, LATEST))
    }

    /// Milliseconds since the epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// The instant `span` later; the last one there is where that lies beyond it.
    pub fn plus(self, span: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(millis(span)))
    }

    /// The instant `span` earlier.
    pub fn minus(self, span: Duration) -> Self {
        Self::from_millis(self.0.saturating_sub(millis(span)))
    }

    /// How long after `earlier` this is; zero where it is before.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This instant moved by a signed number of milliseconds.
    pub fn shifted(self, by_ms: i64) -> Self {
        Self::from_millis(self.0.saturating_add(by_ms))
    }

    /// Whole seconds since the epoch.
    pub fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The same instant as `chrono` has it.
    pub fn to_utc(self) -> DateTime<Utc> {
        Utc.timestamp_millis_opt(self.0)
            .earliest()
            .unwrap_or_default()
    }
}

impl<Tz: TimeZone> From<DateTime<Tz>> for Timestamp {
    fn from(instant: DateTime<Tz>) -> Self {
        Self::from_millis(instant.timestamp_millis())
    }
}

/// RFC 3339, UTC, milliseconds: `2026-03-02T09:00:00.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

/// An instant of the time in which reports could come in: only differences of it mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Served(Timestamp);

impl Served {
    /// The instant `span` later.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.plus(span))
    }

    /// The first whole second that is no earlier: what is due by seconds shares a record.
    pub fn rounded_up(self) -> Self {
        let millis = self.0.as_millis();
        Self(self.0.shifted((1000 - millis.rem_euclid(1000)) % 1000))
    }

    /// As it stands in keys.
    pub fn as_instant(self) -> Timestamp {
        self.0
    }

    pub fn of_instant(at: Timestamp) -> Self {
        Self(at)
    }
}

/// What both clocks say: the wall clock, which may be set, and the time that has passed, which may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub now: Timestamp,
    /// Since some fixed instant of this process.
    pub elapsed: Duration,
}

impl Moment {
    /// An instant from which time is counted.
    pub fn at(now: Timestamp) -> Self {
        Self {
            now,
            elapsed: Duration::ZERO,
        }
    }

    /// This moment as it is once `elapsed` has passed, by a wall clock that nobody set.
    pub fn after(self, elapsed: Duration) -> Self {
        let passed = elapsed.saturating_sub(self.elapsed);
        Self {
            now: self.now.plus(passed),
            elapsed,
        }
    }

    /// By how much the wall clock was set since `earlier`, in milliseconds.
    pub fn jumped_since(self, earlier: Self) -> i64 {
        let by_wall = self.now.0.saturating_sub(earlier.now.0);
        by_wall.saturating_sub(millis(self.elapsed.saturating_sub(earlier.elapsed)))
    }
}

/// Why a text is no instant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an RFC 3339 time is wanted, found \"{0}\"")]
pub struct NotATime(pub String);

impl FromStr for Timestamp {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        match DateTime::parse_from_rfc3339(text) {
            Ok(instant) => Ok(instant.into()),
            Err(_not_rfc3339) => Err(NotATime(text.to_owned())),
        }
    }
}

/// Milliseconds of a span, the most there can be where it is longer.
pub fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// `90s`, `5m`, `2h30m`, `14d`: a span as people write it. Units: `ms`, `s`, `m`, `h`, `d`, `w`.
pub fn parse_span(text: &str) -> Result<Duration, NotASpan> {
    let refuse = || NotASpan(text.to_owned());
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(refuse());
    }
    let mut total_ms: u64 = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .ok_or_else(refuse)?;
        let (number, after) = rest.split_at_checked(digits).ok_or_else(refuse)?;
        let end = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(end).ok_or_else(refuse)?;
        let factor: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(refuse()),
        };
        let number: u64 = number
            .parse()
            .map_err(|_not_a_number: std::num::ParseIntError| refuse())?;
        total_ms = number
            .checked_mul(factor)
            .and_then(|ms| total_ms.checked_add(ms))
            .ok_or_else(refuse)?;
        rest = next;
    }
    if total_ms > LONGEST_MS {
        return Err(refuse());
    }
    Ok(Duration::from_millis(total_ms))
}

/// A hundred years: a longer span is a slip of the pen, and sums of spans stay far from overflow.
const LONGEST_MS: u64 = 100 * 366 * 86_400_000;

/// Why a text is no span.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a duration such as \"90s\", \"5m\" or \"14d\" is wanted, found \"{0}\"")]
pub struct NotASpan(pub String);

/// A span in the largest units that leave no rest: `1h30m`, `5m`, `0s`.
pub fn show_span(span: Duration) -> String {
    let mut rest = span.as_millis();
    let mut text = String::new();
    for (unit, ms) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ] {
        let n = rest / ms;
        rest %= ms;
        if n > 0 {
            text.push_str(&format!("{n}{unit}"));
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

/// Spans are stored as milliseconds: `#[serde(with = "span_ms")]`.
pub mod span_ms {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    pub fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Ok(Duration::from_millis(u64::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        let secs = |text: &str| parse_span(text).map(|span| span.as_secs()).ok();
        assert_eq!(secs("90s"), Some(90));
        assert_eq!(secs("1h30m"), Some(5400));
        assert_eq!(secs("14d"), Some(14 * 86_400));
        assert_eq!(secs("0s"), Some(0));
        for bad in [
            "",
            "5",
            "m",
            "-5m",
            "5 m",
            "1.5h",
            "5y",
            "99999999999999999999d",
            "200000w",
        ] {
            assert_eq!(secs(bad), None, "{bad}");
        }
    }

    #[test]
    fn spans_are_shown_in_the_largest_units() {
        assert_eq!(show_span(Duration::from_secs(5400)), "1h30m");
        assert_eq!(show_span(Duration::ZERO), "0s");
        assert_eq!(show_span(Duration::from_secs(14 * 86_400)), "14d");
    }

    #[test]
    fn instants_beyond_the_calendar_are_brought_to_its_edge() {
        assert_eq!(
            Timestamp::from_millis(i64::MAX).to_string(),
            "9999-12-31T23:59:59.999Z"
        );
        assert_eq!(
            Timestamp::from_millis(i64::MIN).to_string(),
            "0001-01-01T00:00:00.000Z"
        );
    }
}
