//! Delivery from the outbox: pages are claimed with a lease, sent, and then recorded. A crash in between repeats a page
//! under the same id, and loses none.

use crate::domain::incident::event::{AttemptOutcome, Cause, WATCHKEEPER};
use crate::domain::incident::{Command, Incident};
use crate::domain::page::{Outcome, next_attempt};
use crate::domain::time::Timestamp;
use crate::store::engine::{Key, Order};
use crate::store::error::Error;
use crate::store::read::Reader;
use crate::store::records::{Attempt, Head, PageRecord, PageState};
use crate::store::tx::Tx;
use crate::store::{Failure, InForce, keys, quarantine};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// How long a claim holds: longer than an attempt may take. Whoever claimed it and died is taken over after that.
pub const LEASE: Duration = Duration::from_secs(30);

/// Pages looked at for one channel in one claim.
const LOOKED_AT_MAX: usize = 500;

/// A page that was claimed and is to be sent now.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub number: u64,
    pub head: Head,
    /// None where its log cannot be replayed: the page goes out all the same.
    pub incident: Option<Arc<Incident>>,
    pub page: PageRecord,
}

impl Claimed {
    /// Which attempt this is, from 1; with it the outcome is recorded.
    pub fn attempt(&self) -> u32 {
        self.page.claims
    }
}

/// Channels that have pages in their outbox, with the instant of the first.
pub fn channels(reader: &Reader<'_>) -> Result<BTreeMap<String, Timestamp>, Error> {
    let all = keys::all_outbox();
    let end = keys::after(&all);
    let mut from = all;
    let mut found = BTreeMap::new();
    loop {
        let mut next = None;
        reader.scan_keys(&from, &end, Order::Forward, &mut |key| {
            next = keys::read_outbox(key);
            Ok(ControlFlow::Break(()))
        })?;
        let Some((channel, at, _, _)) = next else {
            return Ok(found);
        };
        from = keys::after(&keys::outbox_of(&channel));
        found.insert(channel, at);
    }
}

/// Claims at most `most` pages of a channel that may be sent at `now`, for one of several processes where there are others.
pub fn claim(
    tx: &mut Tx<'_, '_>,
    channel: &str,
    most: usize,
    by: Option<u64>,
    now: Timestamp,
) -> Result<Vec<Claimed>, Failure<Infallible>> {
    let mut due = Vec::new();
    let from = keys::outbox_of(channel);
    let to = keys::outbox(channel, now.shifted(1), 0, 0);
    tx.read()
        .scan_keys(&from, &to, Order::Forward, &mut |key| {
            due.extend(keys::read_outbox(key));
            Ok(if due.len() < LOOKED_AT_MAX {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        })?;
    let foreseen: Vec<Key> = due
        .iter()
        .take(most)
        .flat_map(|(_, _, number, serial)| [keys::page(*number, *serial), keys::head(*number)])
        .collect();
    tx.read().foresee(&foreseen)?;
    let mut claimed = Vec::new();
    for (_, _, number, serial) in due {
        if claimed.len() >= most {
            break;
        }
        claimed.extend(claim_one(tx, number, serial, by, now)?);
    }
    Ok(claimed)
}

fn claim_one(
    tx: &mut Tx<'_, '_>,
    number: u64,
    serial: u32,
    by: Option<u64>,
    now: Timestamp,
) -> Result<Option<Claimed>, Error> {
    let Some(before) = tx.read().page(number, serial)? else {
        return Ok(None);
    };
    let Some(head) = tx.read().head(number)? else {
        return Ok(None);
    };
    let incident = tx.read().readable_incident(number);
    let mut page = before.clone();
    let escalates = matches!(page.issue.cause, Cause::Step | Cause::Exhaustion);
    let clears_at = incident.as_ref().and_then(|incident| incident.clears_at());
    if escalates && let Some(clears_at) = clears_at {
        // Nothing fires: kept back until it is clear, which drops it, or fires again, which releases it.
        page.held = true;
        page.next_at = Some(clears_at.max(now).plus(Duration::from_secs(1)));
        tx.put_page(number, Some(&before), &page);
        return Ok(None);
    }
    if let Some(why) = page.dropped.clone() {
        // Its delivery died after it was dropped.
        page.state = page.unwanted();
        page.next_at = None;
        page.dropped = Some(why);
        tx.put_page(number, Some(&before), &page);
        return Ok(None);
    }
    page.state = PageState::Sending;
    page.claims += 1;
    page.claimed_by = by;
    page.first_attempt_at = page.first_attempt_at.or(Some(now));
    page.next_at = Some(now.plus(LEASE));
    tx.put_page(number, Some(&before), &page);
    Ok(Some(Claimed {
        number,
        head,
        incident,
        page,
    }))
}

/// Records how an attempt ended. A claim that was taken over meanwhile changes nothing.
pub fn record_outcome(
    tx: &mut Tx<'_, '_>,
    number: u64,
    serial: u32,
    claim: u32,
    outcome: &Outcome,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Failure<Infallible>> {
    let ended = end_attempt(tx, number, serial, claim, outcome, now)?;
    if let Some(command) = ended {
        let _refused = tx.command(number, &command, WATCHKEEPER, in_force, now)?;
        tx.settle(in_force, now)?;
    }
    Ok(())
}

/// Records how an attempt ended where the incident cannot take it; `why` is what it said.
///
/// It is quarantined, and the page ends or waits by itself. Otherwise it would be sent again each time its claim runs out.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a different fact of one attempt"
)]
pub fn record_beside(
    tx: &mut Tx<'_, '_>,
    number: u64,
    serial: u32,
    claim: u32,
    outcome: &Outcome,
    why: &str,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Failure<Infallible>> {
    end_attempt(tx, number, serial, claim, outcome, now)?;
    quarantine::put(tx, number, why, in_force, now)
}

/// Writes the outcome to the page, and returns what its incident is to be told.
fn end_attempt(
    tx: &mut Tx<'_, '_>,
    number: u64,
    serial: u32,
    claim: u32,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<Option<Command>, Error> {
    let Some(before) = tx.read().page(number, serial)? else {
        return Ok(None);
    };
    if before.claims != claim || before.state != PageState::Sending {
        return Ok(None);
    }
    let mut page = before.clone();
    let made = u32::try_from(page.attempts.len())
        .unwrap_or(u32::MAX)
        .saturating_add(1);
    let first = page.first_attempt_at.unwrap_or(now);
    let seed = tx
        .read()
        .head(number)?
        .map_or(0, |head| seed(&head, serial));
    let (state, next_at, result, detail) = match outcome {
        Outcome::Delivered { detail } => (
            PageState::Delivered,
            None,
            AttemptOutcome::Delivered,
            detail.clone(),
        ),
        Outcome::Rejected { why } => (PageState::Failed, None, AttemptOutcome::Failed, why.clone()),
        Outcome::Retry { why, .. } if page.dropped.is_some() => {
            (page.unwanted(), None, AttemptOutcome::Retry, why.clone())
        }
        Outcome::Retry { after, why } => match next_attempt(made, first, *after, seed, now) {
            Some(at) => (
                PageState::Waiting,
                Some(at),
                AttemptOutcome::Retry,
                why.clone(),
            ),
            None => (
                PageState::Failed,
                None,
                AttemptOutcome::Failed,
                format!("{why}; given up after {made} attempts"),
            ),
        },
    };
    page.state = state;
    page.next_at = next_at;
    page.attempts.push(Attempt {
        at: now,
        outcome: result,
        detail: detail.clone(),
    });
    tx.put_page(number, Some(&before), &page);
    if page.issue.cause == Cause::Stuck {
        return Ok(None);
    }
    Ok(Some(Command::Attempted {
        serial,
        attempt: made,
        outcome: result,
        detail,
    }))
}

/// Ends every claim: called when the store was opened by a process that is alone with it, so that nothing waits for the
/// lease of one that died.
pub fn release_claims(tx: &mut Tx<'_, '_>, now: Timestamp) -> Result<usize, Failure<Infallible>> {
    Ok(release(tx, now, |page| page.state == PageState::Sending)?)
}

/// Ends the claims of these pages: they are sent again at once.
pub(crate) fn release(
    tx: &mut Tx<'_, '_>,
    now: Timestamp,
    is_wanted: impl Fn(&PageRecord) -> bool,
) -> Result<usize, Error> {
    let all = keys::all_outbox();
    let mut slots = Vec::new();
    tx.read()
        .scan_keys(&all, &keys::after(&all), Order::Forward, &mut |key| {
            slots.extend(keys::read_outbox(key));
            Ok(ControlFlow::Continue(()))
        })?;
    let pages: Vec<Key> = slots
        .iter()
        .map(|(_, _, number, serial)| keys::page(*number, *serial))
        .collect();
    tx.read().foresee(&pages)?;
    let mut released = 0;
    for (_, _, number, serial) in slots {
        let Some(before) = tx.read().page(number, serial)? else {
            continue;
        };
        if !is_wanted(&before) {
            continue;
        }
        let mut page = before.clone();
        page.state = PageState::Waiting;
        page.next_at = Some(now);
        tx.put_page(number, Some(&before), &page);
        released += 1;
    }
    Ok(released)
}

/// Spreads retries of pages that failed together: by what they are about, and not by the order in which they came.
fn seed(head: &Head, serial: u32) -> u64 {
    let about = head.dedup_key.as_ref().unwrap_or(&head.title);
    about.bytes().fold(u64::from(serial), |seed, byte| {
        seed.rotate_left(7).wrapping_mul(31) ^ u64::from(byte)
    })
}
