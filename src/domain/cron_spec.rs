//! What people write as cron, and the instants it means: five fields, as cron(8) reads them, on the wall clock of a zone.

use crate::domain::schedule::wall_clock::{first_instant, shown};
use crate::domain::time::Timestamp;
use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone};
use chrono_tz::Tz;
use cron::Schedule;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// No clock is put back or forward by more than a day.
const SHIFT_MAX: Duration = Duration::from_secs(25 * 3600);

/// Local times looked at for one instant: more than the minutes of two such shifts.
const CANDIDATES_MAX: usize = 2 * 25 * 60;

const FIELDS: [Field; 5] = [
    Field {
        name: "minute",
        first: 0,
        last: 59,
        names: &[],
    },
    Field {
        name: "hour",
        first: 0,
        last: 23,
        names: &[],
    },
    Field {
        name: "day of month",
        first: 1,
        last: 31,
        names: &[],
    },
    Field {
        name: "month",
        first: 1,
        last: 12,
        names: &MONTHS,
    },
    Field {
        name: "day of week",
        first: 0,
        last: 7,
        names: &DAYS,
    },
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

/// 0 and 7 are Sunday.
const DAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];

const MACROS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// When something recurs. Copies share it: every incident that is worked on has its plan with it.
#[derive(Clone)]
pub struct CronSpec {
    text: Arc<str>,
    /// Evaluated on local time; their union counts. Two where both day fields are restricted, for then either fits.
    schedules: Arc<[Schedule]>,
    /// Its hour field names one hour: it runs once a day, whatever the clock does.
    once_a_day: bool,
    /// What was last found: it is asked for one instant after the other between two that fit.
    found: Arc<Mutex<Option<Found>>>,
}

/// That nothing fits between two instants, the first excluded.
#[derive(Clone, Copy)]
struct Found {
    zone: Tz,
    after: Timestamp,
    next: Timestamp,
}

/// Why a text is no cron.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    #[error("five fields wanted (minute, hour, day of month, month, day of week), found {found}")]
    Fields { found: usize },
    #[error("{field}: {why}, found \"{found}\"")]
    Field {
        field: &'static str,
        why: String,
        found: String,
    },
    #[error("\"{found}\" is not one of @yearly, @monthly, @weekly, @daily, @hourly")]
    Macro { found: String },
    #[error("\"{text}\" never runs")]
    Never { text: String },
}

struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    names: &'static [&'static str],
}

/// The values a field names; all of them unrestricted where it is `*`.
struct Values {
    set: BTreeSet<u32>,
    is_restricted: bool,
}

impl CronSpec {
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let fields = expand(text.trim())?;
        let parts: Vec<&str> = fields.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts.as_slice() else {
            return Err(CronError::Fields { found: parts.len() });
        };
        let [in_minute, in_hour, in_day, in_month, in_weekday] = &FIELDS;
        let (minute, hour) = (in_minute.read(minute)?, in_hour.read(hour)?);
        let (day, month) = (in_day.read(day)?, in_month.read(month)?);
        let mut weekday = in_weekday.read(weekday)?;
        if weekday.set.remove(&7) {
            weekday.set.insert(0);
        }
        let schedule = |day: &str, weekday: &str| {
            let line = format!(
                "0 {} {} {day} {} {weekday}",
                list(&minute.set),
                list(&hour.set),
                list(&month.set)
            );
            Schedule::from_str(&line).map_err(|_unexpected| CronError::Never {
                text: text.to_owned(),
            })
        };
        let (days, weekdays) = (list(&day.set), weekday_list(&weekday.set));
        let schedules = match (day.is_restricted, weekday.is_restricted) {
            (true, true) => vec![schedule(&days, "*")?, schedule("*", &weekdays)?],
            (true, false) => vec![schedule(&days, "*")?],
            (false, true) => vec![schedule("*", &weekdays)?],
            (false, false) => vec![schedule("*", "*")?],
        };
        let spec = Self {
            text: text.trim().into(),
            schedules: schedules.into(),
            once_a_day: hour.set.len() == 1,
            found: Arc::default(),
        };
        match spec.next_local(DateTime::UNIX_EPOCH.naive_utc()) {
            Some(_) => Ok(spec),
            None => Err(CronError::Never {
                text: text.to_owned(),
            }),
        }
    }

    /// The first instant after `after` at which it runs on the wall clock of `zone`; none beyond the calendar's end.
    ///
    /// Where the clock is put forward, a spec with one hour runs at the first instant after the gap, any other skips it;
    /// where it is put back, the former runs in the first pass only, any other in both.
    pub fn next_after(&self, after: Timestamp, zone: Tz) -> Option<Timestamp> {
        let found = || self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = *found()
            && found.zone == zone
            && (found.after..found.next).contains(&after)
        {
            return Some(found.next);
        }
        let next = self.find_after(after, zone)?;
        *found() = Some(Found { zone, after, next });
        Some(next)
    }

    fn find_after(&self, after: Timestamp, zone: Tz) -> Option<Timestamp> {
        let mut cursor = shown(after, zone).checked_sub_signed(self.shown_again(after, zone))?;
        let mut best: Option<Timestamp> = None;
        for _ in 0..CANDIDATES_MAX {
            let Some(local) = self.next_local(cursor) else {
                break;
            };
            // No later local time comes before this instant.
            let earliest = first_instant(local, zone);
            if best.is_some_and(|best| best <= earliest) {
                break;
            }
            let instants = self.instants(local, zone).into_iter().flatten();
            best = best
                .into_iter()
                .chain(instants.filter(|at| *at > after))
                .min();
            cursor = local;
        }
        best
    }

    /// How far the clock is put back soon after `after`: so much of what it has shown, it may show again.
    fn shown_again(&self, after: Timestamp, zone: Tz) -> TimeDelta {
        let offset_s = |at: Timestamp| {
            let utc = at.to_utc().naive_utc();
            zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()
        };
        let put_back_s = offset_s(after) - offset_s(after.plus(SHIFT_MAX));
        match self.once_a_day {
            true => TimeDelta::zero(),
            false => TimeDelta::seconds(i64::from(put_back_s.max(0))),
        }
    }

    /// The first `n` instants after `after`.
    pub fn first_slots(&self, zone: Tz, after: Timestamp, n: usize) -> Vec<Timestamp> {
        std::iter::successors(self.next_after(after, zone), |last| {
            self.next_after(*last, zone)
        })
        .take(n)
        .collect()
    }

    /// The next local time that fits, with no thought of the zone.
    fn next_local(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        let as_if_utc = after.and_utc();
        let next = self
            .schedules
            .iter()
            .filter_map(|schedule| schedule.after(&as_if_utc).next());
        next.map(|next| next.naive_utc()).min()
    }

    /// The instants that a local time stands for: two where the clock is put back over it, none where forward, unless
    /// it runs once a day.
    fn instants(&self, local: NaiveDateTime, zone: Tz) -> [Option<Timestamp>; 2] {
        if self.once_a_day {
            return [Some(first_instant(local, zone)), None];
        }
        let found = zone.from_local_datetime(&local);
        [found.earliest(), found.latest()].map(|instant| instant.map(Timestamp::from))
    }
}

fn expand(text: &str) -> Result<&str, CronError> {
    if !text.starts_with('@') {
        return Ok(text);
    }
    let known = MACROS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text));
    known
        .map(|(_, fields)| *fields)
        .ok_or_else(|| CronError::Macro {
            found: text.to_owned(),
        })
}

impl Field {
    fn read(&self, text: &str) -> Result<Values, CronError> {
        if text == "*" || text == "?" {
            return Ok(Values {
                set: (self.first..=self.last).collect(),
                is_restricted: false,
            });
        }
        let mut set = BTreeSet::new();
        for part in text.split(',') {
            set.extend(self.part(part)?);
        }
        Ok(Values {
            set,
            is_restricted: true,
        })
    }

    /// One part of a list: a value, a range, or a range with a step.
    fn part(&self, part: &str) -> Result<Vec<u32>, CronError> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (
                self.first,
                if self.name == "day of week" {
                    6
                } else {
                    self.last
                },
            ),
            Some((first, last)) => self.range(first, last, part)?,
            None if step.is_some() => {
                return Err(self.refuse("a step wants a range or * before it", part));
            }
            None => {
                let value = self.value(range, part)?;
                (value, value)
            }
        };
        if first > last {
            return Err(self.refuse("a range goes from less to more", part));
        }
        let step = step.map_or(Ok(1), |step| self.step(step, part))?;
        Ok((first..=last).step_by(step).collect())
    }

    /// A week ends with Sunday: as a name at the end of a range, Sunday is the seventh day.
    fn range(&self, first: &str, last: &str, part: &str) -> Result<(u32, u32), CronError> {
        let is_named = !is_number(last);
        let (first, last) = (self.value(first, part)?, self.value(last, part)?);
        let is_end_of_week = self.name == "day of week" && is_named && last == 0 && first > 0;
        Ok((first, if is_end_of_week { 7 } else { last }))
    }

    fn step(&self, text: &str, part: &str) -> Result<usize, CronError> {
        let size = usize::try_from(self.last - self.first + 1).unwrap_or(usize::MAX);
        match text.parse::<usize>() {
            Ok(step) if (1..=size).contains(&step) && is_number(text) => Ok(step),
            _ => Err(self.refuse(&format!("a step from 1 to {size} wanted"), part)),
        }
    }

    fn value(&self, text: &str, part: &str) -> Result<u32, CronError> {
        let named = |name: &&&str| {
            text.len() >= 3
                && (name.eq_ignore_ascii_case(text)
                    || name
                        .get(..3)
                        .is_some_and(|short| short.eq_ignore_ascii_case(text)))
        };
        if let Some(at) = self.names.iter().position(|name| named(&name)) {
            // The names of days begin at 0, those of months at 1.
            return Ok(self.first + u32::try_from(at).unwrap_or(0));
        }
        match text.parse() {
            Ok(value) if (self.first..=self.last).contains(&value) && is_number(text) => Ok(value),
            _ if text.contains(['L', 'W', '#', 'l', 'w']) && self.looks_extended(text) => {
                Err(self.refuse("L, W and # are not supported", part))
            }
            _ => Err(self.refuse(
                &format!("a value from {} to {} wanted", self.first, self.last),
                part,
            )),
        }
    }

    /// A form of other schedulers: `L`, `LW`, `15W`, `TUE#2`, `L-3`.
    fn looks_extended(&self, text: &str) -> bool {
        matches!(self.name, "day of month" | "day of week") && !text.contains(' ')
    }

    fn refuse(&self, why: &str, found: &str) -> CronError {
        CronError::Field {
            field: self.name,
            why: why.to_owned(),
            found: found.to_owned(),
        }
    }
}

fn is_number(text: &str) -> bool {
    text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn list(values: &BTreeSet<u32>) -> String {
    values
        .iter()
        .map(u32::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

/// The crate counts Sunday as 1, so days are named.
fn weekday_list(values: &BTreeSet<u32>) -> String {
    let name = |day: &u32| {
        usize::try_from(*day)
            .ok()
            .and_then(|day| DAYS.get(day)?.get(..3))
            .unwrap_or_default()
    };
    values.iter().map(name).collect::<Vec<_>>().join(",")
}

impl fmt::Display for CronSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for CronSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CronSpec({:?})", self.text)
    }
}

impl PartialEq for CronSpec {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for CronSpec {}

impl Serialize for CronSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for CronSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        KNOWN.with_borrow_mut(|known| {
            if let Some(known) = known.get(&*text) {
                return Ok(known.clone());
            }
            let parsed = Self::parse(&text).map_err(serde::de::Error::custom)?;
            if known.len() >= KNOWN_MAX {
                known.clear();
            }
            known.insert(Arc::clone(&parsed.text), parsed.clone());
            Ok(parsed)
        })
    }
}

/// Crons that a thread remembers: the logs of many incidents name the same few.
const KNOWN_MAX: usize = 64;

thread_local! {
    static KNOWN: RefCell<BTreeMap<Arc<str>, CronSpec>> = const { RefCell::new(BTreeMap::new()) };
}
