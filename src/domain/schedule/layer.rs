//! A layer: people who take turns by the wall clock, and when in the week the layer is active.

use crate::domain::schedule::wall_clock::{first_instant, last_instant, shown};
use crate::domain::time::Timestamp;
use chrono::{Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Weekday};
use chrono_tz::Tz;

/// Turns that can begin while the clock is put back: no clock is put back by more than a day.
const TURNS_PUT_BACK_MAX: u32 = 25;

/// A week and a day: within it every window of days begins once more.
const DAYS_AHEAD: u64 = 8;

/// How long a turn is, times `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    Hourly,
    Daily,
    Weekly,
    Monthly,
}

/// People who take turns, counted on the wall clock from `start`, before it backwards.
///
/// Turns are counted whether or not the layer is active; but a daily rotation that has `days` counts these alone, so that
/// everybody serves. A monthly hand-off on a day that the month lacks is on its last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    pub name: String,
    pub people: Vec<String>,
    pub rotation: Rotation,
    /// So many hours, days, weeks or months are one turn.
    pub every: u32,
    /// When the first person's first turn begins, on the wall clock of `zone`.
    pub start: NaiveDateTime,
    pub zone: Tz,
    /// The days on which it is active; of a window over midnight, those on which it begins. All where there are none.
    pub days: Option<Vec<Weekday>>,
    /// The time of day at which it becomes active; midnight where there is none.
    pub from: Option<NaiveTime>,
    /// The time of day at which it ends: the next day's where this is not after `from`; midnight where there is none.
    pub to: Option<NaiveTime>,
}

impl Layer {
    /// Whose turn it is, while the layer is active.
    pub fn person(&self, at: Timestamp) -> Option<&str> {
        if !self.is_active(at) {
            return None;
        }
        let n_people = i64::try_from(self.people.len()).ok()?;
        let turn = match n_people {
            1 => 0,
            _ => self.turn(at).checked_rem_euclid(n_people)?,
        };
        self.people
            .get(usize::try_from(turn).ok()?)
            .map(String::as_str)
    }

    /// Whether its first turn has begun.
    pub fn has_started(&self, at: Timestamp) -> bool {
        first_instant(self.start, self.zone) <= at
    }

    /// The next instant at which it starts, hands over, or becomes active or inactive.
    pub(super) fn next_boundary(&self, after: Timestamp) -> Option<Timestamp> {
        let start = Some(first_instant(self.start, self.zone)).filter(|start| *start > after);
        [start, self.next_hand_off(after), self.next_window(after)]
            .into_iter()
            .flatten()
            .min()
    }

    fn next_hand_off(&self, after: Timestamp) -> Option<Timestamp> {
        if self.people.len() < 2 {
            return None;
        }
        if let Some(days) = self.counted_days() {
            let today = shown(after, self.zone).date();
            let ahead = (0..=DAYS_AHEAD).filter_map(|n| today.checked_add_days(Days::new(n)));
            return ahead
                .filter(|day| days.contains(&day.weekday()))
                .map(|day| self.hand_off_on(day))
                .find(|begins| *begins > after);
        }
        let next = self.turn(after).checked_add(1)?;
        self.turn_begins(next).filter(|begins| *begins > after)
    }

    /// The number of the turn at `at`; the one that begins at `start` is 0.
    fn turn(&self, at: Timestamp) -> i64 {
        if let Some(days) = self.counted_days() {
            return self.turn_of_days(days, at);
        }
        let mut turn = self.turn_shown(shown(at, self.zone));
        // In the second pass of a repeated hour the clock shows less than it already has shown.
        for _ in 0..TURNS_PUT_BACK_MAX {
            match self.turn_begins(turn.saturating_add(1)) {
                Some(next) if next <= at => turn = turn.saturating_add(1),
                Some(_) | None => break,
            }
        }
        turn
    }

    /// The days that a daily rotation counts, where it does not count all.
    fn counted_days(&self) -> Option<&[Weekday]> {
        match self.rotation {
            Rotation::Daily => self.days.as_deref(),
            Rotation::Hourly | Rotation::Weekly | Rotation::Monthly => None,
        }
    }

    fn hand_off_on(&self, day: NaiveDate) -> Timestamp {
        first_instant(day.and_time(self.start.time()), self.zone)
    }

    /// The first turn begins on the first of the days from `start` on.
    fn turn_of_days(&self, days: &[Weekday], at: Timestamp) -> i64 {
        let today = shown(at, self.zone).date();
        let yesterday = today.pred_opt().unwrap_or(today);
        let last = if self.hand_off_on(today) <= at {
            today
        } else {
            yesterday
        };
        let start = self.start.date();
        let before_start = start.pred_opt().unwrap_or(start);
        let passed = n_days_until(days, last) - n_days_until(days, before_start);
        (passed - 1).div_euclid(self.every())
    }

    fn turn_begins(&self, turn: i64) -> Option<Timestamp> {
        Some(first_instant(self.local_begin(turn)?, self.zone))
    }

    fn turn_shown(&self, local: NaiveDateTime) -> i64 {
        let Some(length_ms) = self.length_ms() else {
            return self.month_turn(local);
        };
        let since_start = local.signed_duration_since(self.start);
        since_start.num_milliseconds().div_euclid(length_ms)
    }

    fn month_turn(&self, local: NaiveDateTime) -> i64 {
        let months = |at: NaiveDateTime| i64::from(at.year()) * 12 + i64::from(at.month());
        let turn = (months(local) - months(self.start)).div_euclid(self.every());
        match self.local_begin(turn) {
            Some(begins) if begins > local => turn - 1,
            Some(_) | None => turn,
        }
    }

    fn local_begin(&self, turn: i64) -> Option<NaiveDateTime> {
        if let Some(length_ms) = self.length_ms() {
            let since_start = TimeDelta::try_milliseconds(turn.checked_mul(length_ms)?)?;
            return self.start.checked_add_signed(since_start);
        }
        let months = turn.checked_mul(self.every())?;
        let n = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
        if months < 0 {
            self.start.checked_sub_months(n)
        } else {
            self.start.checked_add_months(n)
        }
    }

    /// The length of a turn on the wall clock; months have none.
    fn length_ms(&self) -> Option<i64> {
        let unit_ms = match self.rotation {
            Rotation::Hourly => 3_600_000,
            Rotation::Daily => 86_400_000,
            Rotation::Weekly => 7 * 86_400_000,
            Rotation::Monthly => return None,
        };
        Some(unit_ms * self.every())
    }

    fn every(&self) -> i64 {
        i64::from(self.every.max(1))
    }

    fn is_active(&self, at: Timestamp) -> bool {
        !self.is_restricted()
            || self
                .windows_around(at)
                .any(|(begins, ends)| begins <= at && at < ends)
    }

    fn next_window(&self, after: Timestamp) -> Option<Timestamp> {
        if !self.is_restricted() {
            return None;
        }
        self.windows_around(after)
            .flat_map(|(begins, ends)| [begins, ends])
            .find(|at| *at > after)
    }

    fn is_restricted(&self) -> bool {
        self.days.is_some() || self.from.is_some() || self.to.is_some()
    }

    /// The windows that can hold `at`, and those of the week after, in order.
    fn windows_around(&self, at: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let today = shown(at, self.zone).date();
        let yesterday = today.pred_opt().unwrap_or(today);
        (0..=DAYS_AHEAD + 1)
            .filter_map(move |n| self.window(yesterday.checked_add_days(Days::new(n))?))
    }

    /// The window that begins on `day`. One that lies in a gap of the clock is empty; one that ends in a repeated hour
    /// ends in its second pass, so that for all the time shown within the window somebody is there.
    fn window(&self, day: NaiveDate) -> Option<(Timestamp, Timestamp)> {
        if let Some(days) = &self.days
            && !days.contains(&day.weekday())
        {
            return None;
        }
        let from = self.from.unwrap_or(NaiveTime::MIN);
        let to = self.to.unwrap_or(NaiveTime::MIN);
        let last = if to > from { day } else { day.succ_opt()? };
        let begins = first_instant(day.and_time(from), self.zone);
        let ends = last_instant(last.and_time(to), self.zone);
        Some((begins, ends))
    }
}

/// How many of these weekdays there were up to and with a day, counted from a Monday long ago.
fn n_days_until(days: &[Weekday], day: NaiveDate) -> i64 {
    // The first day of the common era was a Monday.
    let since = i64::from(day.num_days_from_ce()) - 1;
    let is_among = |n: u8| Weekday::try_from(n).is_ok_and(|weekday| days.contains(&weekday));
    let n_among = |last: i64| {
        let passed = (0..7)
            .filter(|n| i64::from(*n) <= last && is_among(*n))
            .count();
        i64::try_from(passed).unwrap_or(0)
    };
    since.div_euclid(7) * n_among(6) + n_among(since.rem_euclid(7))
}
