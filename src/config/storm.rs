//! `[storm]`: how many new incidents of one team are too many.

use crate::domain::incident::StormCap;
use crate::toml_file::Value;
use std::ops::RangeInclusive;

/// Each of them is remembered for as long as it counts.
const INCIDENTS: RangeInclusive<u32> = 1..=1000;

/// None where there is no such table: storms are not handled then.
pub(super) fn read(value: Option<Value<'_>>) -> Option<StormCap> {
    let section = value?.section()?;
    let incidents = section
        .required("incidents")
        .and_then(|value| value.integer(INCIDENTS));
    let within = section.required("within").and_then(Value::lasting);
    section.done();
    Some(StormCap {
        incidents: incidents?,
        within_ms: u64::try_from(within?.as_millis()).unwrap_or(u64::MAX),
    })
}
