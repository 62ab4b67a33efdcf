//! The wall clock of a zone: what it shows at an instant, and the instants at which it shows a time.

use crate::domain::time::Timestamp;
use chrono::{DateTime, LocalResult, NaiveDateTime, TimeZone};
use chrono_tz::{GapInfo, Tz};

/// What the clock shows at `at`.
pub(crate) fn shown(at: Timestamp, zone: Tz) -> NaiveDateTime {
    at.to_utc().with_timezone(&zone).naive_local()
}

/// The first instant at which the clock shows `local` or, where it is put forward over that, more. Never decreases as
/// `local` grows, which all that is said about hand-offs rests on.
pub(crate) fn first_instant(local: NaiveDateTime, zone: Tz) -> Timestamp {
    instant(local, zone, LocalResult::earliest)
}

/// The same in the second pass, where the clock is put back over `local`.
pub(super) fn last_instant(local: NaiveDateTime, zone: Tz) -> Timestamp {
    instant(local, zone, LocalResult::latest)
}

fn instant(
    local: NaiveDateTime,
    zone: Tz,
    pass: fn(LocalResult<DateTime<Tz>>) -> Option<DateTime<Tz>>,
) -> Timestamp {
    let as_if_utc = Timestamp::from(local.and_utc());
    // Brought to the calendar's edge, so that no offset leads over it.
    let local = as_if_utc.to_utc().naive_utc();
    if let Some(found) = pass(zone.from_local_datetime(&local)) {
        return found.into();
    }
    match GapInfo::new(&local, &zone).and_then(|gap| gap.end) {
        Some(end) => end.into(),
        None => as_if_utc,
    }
}
