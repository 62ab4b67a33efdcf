//! Recording a report, or what is due of alerts, so that one incident that is stuck costs the other alerts nothing.

use crate::domain::time::Timestamp;
use crate::store::engine::panic_text;
use crate::store::error::Error;
use crate::store::report::{Recorded, Report, record_once};
use crate::store::tx::Tx;
use crate::store::{Failure, InForce, quarantine};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// How many stuck incidents one report may run into. Each costs deciding all of it once more; those found are put aside, so
/// that the sender's next attempt begins with none of them.
const STUCK_MAX: usize = 32;

/// Records a report. Once this is durable, every alert it counts and every page it causes survives a crash.
pub fn record(
    tx: &mut Tx<'_, '_>,
    report: &Report,
    in_force: &InForce,
    now: Timestamp,
) -> Result<Recorded, Failure<Infallible>> {
    unharmed(tx, in_force, now, |tx| {
        record_once(tx, report, in_force, now)
    })
}

/// Does something with many alerts at once.
///
/// An incident that panics or whose log is damaged is put aside and shouted about; what became of its alerts is recorded, and it
/// is told of them when it comes back.
pub(crate) fn unharmed<T>(
    tx: &mut Tx<'_, '_>,
    in_force: &InForce,
    now: Timestamp,
    mut work: impl FnMut(&mut Tx<'_, '_>) -> Result<T, Error>,
) -> Result<T, Failure<Infallible>> {
    let mut stuck: BTreeMap<u64, String> = BTreeMap::new();
    loop {
        let tried = catch_unwind(AssertUnwindSafe(|| work(tx)));
        let why = match &tried {
            Ok(Ok(_recorded)) => None,
            Ok(Err(error)) if matches!(error, Error::Corrupt { .. }) => Some(error.to_string()),
            Ok(Err(_of_the_store)) => None,
            Err(payload) => Some(panic_text(payload.as_ref())),
        };
        if let (Some(why), Some(number)) = (why, tx.asked())
            && stuck.len() < STUCK_MAX
            && !stuck.contains_key(&number)
        {
            tracing::error!(
                incident.id = number,
                "an incident could not take an alert, it is quarantined: {why}"
            );
            stuck.insert(number, why);
            // Those that are put aside already are likely to be met next.
            let known = tx.read().quarantined()?;
            let avoided = known.into_iter().map(|(number, _)| number);
            let avoided = avoided.chain(stuck.keys().copied()).collect();
            tx.start_over_without(avoided);
            continue;
        }
        let recorded = tried.unwrap_or_else(|payload| resume_unwind(payload))?;
        for (number, why) in &stuck {
            quarantine::put(tx, *number, why, in_force, now)?;
        }
        return Ok(recorded);
    }
}
