//! Incidents that could not be stepped: taken off the due index, so that the rest goes on, and shouted about.
//!
//! Nothing here asks the incident itself for anything: what it does may panic again.

use crate::domain::alert::{Fingerprint, Status};
use crate::domain::escalation::{EXHAUSTED_EVERY, EscalationPolicy, Target};
use crate::domain::incident::event::{Cause, Event, PageIssue, WATCHKEEPER};
use crate::domain::incident::{Command, Resolution};
use crate::domain::oncall::{Contact, DEFAULT_POLICY, OnCall};
use crate::domain::severity::Urgency;
use crate::domain::time::Timestamp;
use crate::store::engine::{Key, Order};
use crate::store::error::Error;
use crate::store::joining::severity_by_its_rule;
use crate::store::read::Reader;
use crate::store::records::{Head, PageRecord, PageState, Quarantined};
use crate::store::tx::{Counter, Tx};
use crate::store::{Failure, InForce, keys, outbox};
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Where the serial numbers of shouts begin. An incident counts its own pages from 1 and cannot be asked for its next
/// number here; the two never meet.
const SHOUTS_FROM: u32 = 1 << 31;

/// Alerts that one transaction tells an incident of.
const TOLD_AT_ONCE: usize = 500;

/// What people read who are paged for an incident that is stuck.
const STUCK: &str = "this incident is stuck: the program failed while it worked on it, and pages nobody for it by itself. \
    Handle it by hand; a command that succeeds, such as an acknowledgement, brings it back";

/// Puts an incident aside, and pages its fallback in the same transaction.
///
/// The engine leaves it alone until somebody
/// commands it successfully. One that is there already stays as it is: what was shouted stands.
pub fn put(
    tx: &mut Tx<'_, '_>,
    number: u64,
    why: &str,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Failure<Infallible>> {
    let known: Option<Quarantined> = tx.get(&keys::quarantine(number))?;
    let is_new = known.is_none();
    let mut quarantined = known.unwrap_or(Quarantined {
        at: now,
        why: String::new(),
        shout_at: None,
        shouted_from: None,
    });
    quarantined.why = why.to_owned();
    if is_new {
        shout(tx, number, &mut quarantined, in_force, now)?;
    }
    tx.put(keys::quarantine(number), &quarantined);
    tx.take_off(number)?;
    Ok(())
}

/// Pages again for every incident in quarantine whose time has come.
pub fn shout_due(
    tx: &mut Tx<'_, '_>,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Failure<Infallible>> {
    for (number, mut quarantined) in tx.read().quarantined()? {
        if quarantined.shout_at.is_none_or(|at| at <= now) {
            shout(tx, number, &mut quarantined, in_force, now)?;
            tx.put(keys::quarantine(number), &quarantined);
        }
    }
    Ok(())
}

/// The wall clock jumped: shouts are of elapsed time and move with it.
pub fn shift(tx: &mut Tx<'_, '_>, by_ms: i64) -> Result<(), Failure<Infallible>> {
    for (number, mut quarantined) in tx.read().quarantined()? {
        quarantined.shout_at = quarantined.shout_at.map(|at| at.shifted(by_ms));
        tx.put(keys::quarantine(number), &quarantined);
        shift_pages(tx, number, by_ms, |page| page.issue.cause == Cause::Stuck)?;
    }
    Ok(())
}

/// The same for the incident's own pages, where it cannot be told of the jump.
pub fn shift_its_pages(
    tx: &mut Tx<'_, '_>,
    number: u64,
    by_ms: i64,
) -> Result<(), Failure<Infallible>> {
    Ok(shift_pages(tx, number, by_ms, |page| {
        page.issue.cause != Cause::Stuck
    })?)
}

/// A person's command succeeded: the incident is stepped again, and nobody is called for it any more. Attempts that it
/// could not be told of are told now.
pub(crate) fn release(
    tx: &mut Tx<'_, '_>,
    number: u64,
    by: &str,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    if tx.get::<Quarantined>(&keys::quarantine(number))?.is_none() {
        return Ok(());
    }
    tx.remove(keys::quarantine(number));
    for before in shouts(tx, number)? {
        if before.state.has_ended() {
            continue;
        }
        let mut page = before.clone();
        page.dropped = Some(format!("{by} has it in hand"));
        if page.state == PageState::Waiting {
            page.state = PageState::Dropped;
            page.next_at = None;
        }
        tx.put_page(number, Some(&before), &page);
    }
    for untold in untold_attempts(tx, number)? {
        let _refused = tx.command(number, &untold, WATCHKEEPER, in_force, now)?;
    }
    tx.settle(in_force, now)?;
    tx.put_back(number)
}

/// How attempts ended that the incident does not know of.
fn untold_attempts(tx: &mut Tx<'_, '_>, number: u64) -> Result<Vec<Command>, Error> {
    let Some(incident) = tx.incident(number)? else {
        return Ok(Vec::new());
    };
    let unfinished = incident.paging.unfinished();
    let serials: Vec<u32> = unfinished.map(|live| live.issue.serial).collect();
    let mut untold = Vec::new();
    for serial in serials {
        let page = tx.read().page(number, serial)?;
        let Some(page) = page.filter(|page| page.state.has_ended()) else {
            continue;
        };
        untold.extend(page.attempts.last().map(|last| Command::Attempted {
            serial,
            attempt: u32::try_from(page.attempts.len()).unwrap_or(u32::MAX),
            outcome: last.outcome,
            detail: last.detail.clone(),
        }));
    }
    Ok(untold)
}

/// The first incident that is back and has yet to be told of alerts, with some of these.
pub fn untold_alerts(
    reader: &Reader<'_>,
    quarantined: &[u64],
) -> Result<Option<(u64, Vec<Fingerprint>)>, Error> {
    let mut from = keys::any_untold();
    let end = keys::after(&from);
    loop {
        let mut found: Option<(u64, Vec<Fingerprint>)> = None;
        reader.scan_keys(&from, &end, Order::Forward, &mut |key| {
            let Some((number, fingerprint)) = keys::read_untold(key) else {
                return Ok(ControlFlow::Continue(()));
            };
            let (of, alerts) = found.get_or_insert((number, Vec::new()));
            if *of != number || alerts.len() >= TOLD_AT_ONCE || quarantined.contains(&number) {
                return Ok(ControlFlow::Break(()));
            }
            alerts.push(fingerprint);
            Ok(ControlFlow::Continue(()))
        })?;
        match found {
            Some((number, _)) if quarantined.contains(&number) => {
                from = keys::after(&keys::all_untold(number));
            }
            found => return Ok(found),
        }
    }
}

/// Puts an incident aside that could not even be told of these alerts, and forgets that it should: each command of a person
/// would page them anew.
pub fn put_untold(
    tx: &mut Tx<'_, '_>,
    number: u64,
    alerts: &[Fingerprint],
    why: &str,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Failure<Infallible>> {
    for fingerprint in alerts {
        tx.remove(keys::untold(number, *fingerprint));
    }
    put(tx, number, why, in_force, now)
}

/// Tells an incident how alerts are of which it could not be told.
pub fn tell_alerts(
    tx: &mut Tx<'_, '_>,
    number: u64,
    alerts: &[Fingerprint],
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Failure<Infallible>> {
    for fingerprint in alerts {
        let fingerprint = *fingerprint;
        tx.remove(keys::untold(number, fingerprint));
        let Some(alert) = tx.read().alert(fingerprint)? else {
            continue;
        };
        if alert.incident != Some(number) {
            continue;
        }
        let fires = Command::AlertFires {
            fingerprint,
            name: alert.name().to_owned(),
            severity: severity_by_its_rule(&in_force.rules, &alert, now),
        };
        let command = match alert.status {
            Status::Firing => fires,
            Status::Resolved => Command::AlertResolves {
                fingerprint,
                how: Resolution::Said,
            },
            Status::Stale => {
                // It may not know of it at all.
                let _refused = tx.command(number, &fires, WATCHKEEPER, in_force, now)?;
                Command::AlertGoesStale {
                    fingerprint,
                    name: alert.name().to_owned(),
                    why: "not heard of for long, while this incident was stuck".to_owned(),
                }
            }
            Status::Pending => continue,
        };
        let _refused = tx.command(number, &command, WATCHKEEPER, in_force, now)?;
    }
    tx.settle(in_force, now)?;
    Ok(())
}

/// Writes a page to every contact of those who are to be told that it is stuck.
fn shout(
    tx: &mut Tx<'_, '_>,
    number: u64,
    quarantined: &mut Quarantined,
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Error> {
    let overrides = tx.overrides()?;
    let oncall = OnCall {
        book: &in_force.book,
        overrides: &overrides,
    };
    let all_failed = last_shout_failed(tx, number, quarantined.shouted_from)?;
    let contacts = whom(policy(tx, number).as_ref(), oncall, all_failed, now);
    if contacts.is_empty() {
        tracing::error!(
            incident.id = number,
            "an incident is stuck and nobody can be paged for it: no policy has anybody with a contact"
        );
    }
    let mut pages = Vec::new();
    for (person, contact) in contacts {
        let count = u32::try_from(tx.next(Counter::Shout)?).unwrap_or(u32::MAX);
        pages.push(PageIssue {
            serial: SHOUTS_FROM.saturating_add(count),
            cause: Cause::Stuck,
            step: 0,
            round: 0,
            person,
            channel: contact.channel,
            address: contact.address,
            due_at: now.plus(contact.after),
            note: Some(STUCK.to_owned()),
        });
    }
    outbox::issue(tx, number, &pages, now);
    quarantined.shout_at = Some(now.plus(EXHAUSTED_EVERY));
    quarantined.shouted_from = pages.first().map(|page| page.serial);
    Ok(())
}

/// The policy the incident opened with, read from its first event alone.
fn policy(tx: &Tx<'_, '_>, number: u64) -> Option<EscalationPolicy> {
    let first = tx.read().entries(number, 1, 2).ok()?;
    match first.into_iter().next()?.event {
        Event::Opened(opened) => Some(opened.policy),
        _ => None,
    }
}

/// The fallback's people; without any the policy's; without these the default policy's. All of them where nobody was
/// reached the last time.
fn whom(
    policy: Option<&EscalationPolicy>,
    oncall: OnCall<'_>,
    all: bool,
    now: Timestamp,
) -> Vec<(String, Contact)> {
    let everybody = |policy: &EscalationPolicy| -> Vec<Target> {
        let of_steps = policy.steps.iter().flat_map(|step| &step.targets);
        of_steps.chain(&policy.fallback).cloned().collect()
    };
    let default = oncall.book.policies.get(DEFAULT_POLICY);
    let circles = [
        policy.map(|policy| policy.fallback.clone()),
        policy.map(everybody),
        default.map(everybody),
    ];
    let mut found: Vec<(String, Contact)> = Vec::new();
    for targets in circles.into_iter().flatten() {
        if !found.is_empty() && !all {
            break;
        }
        for contact in contacts(&targets, oncall, now) {
            if !found.contains(&contact) {
                found.push(contact);
            }
        }
    }
    found
}

/// Every contact of these people. Nothing says that it is not the schedule that panics: then the next circle is asked.
fn contacts(targets: &[Target], oncall: OnCall<'_>, now: Timestamp) -> Vec<(String, Contact)> {
    let read = || -> Vec<(String, Contact)> {
        let people = oncall.all_people_of(targets, now);
        let known = people
            .into_iter()
            .filter_map(|name| oncall.book.people.get(&name).map(|person| (name, person)));
        known
            .flat_map(|(name, person)| {
                let contacts = person.contacts(Urgency::High).iter();
                contacts.map(move |contact| (name.clone(), contact.clone()))
            })
            .collect()
    };
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_default()
}

fn last_shout_failed(tx: &Tx<'_, '_>, number: u64, from: Option<u32>) -> Result<bool, Error> {
    let Some(from) = from else { return Ok(false) };
    let all = shouts(tx, number)?;
    let mut last = all.iter().filter(|page| page.issue.serial >= from);
    Ok(last.all(|page| page.state == PageState::Failed))
}

/// Every page that was ever shouted for an incident.
fn shouts(tx: &Tx<'_, '_>, number: u64) -> Result<Vec<PageRecord>, Error> {
    let mut pages = tx.read().pages(number)?;
    pages.retain(|page| page.issue.cause == Cause::Stuck);
    Ok(pages)
}

fn shift_pages(
    tx: &mut Tx<'_, '_>,
    number: u64,
    by_ms: i64,
    wanted: impl Fn(&PageRecord) -> bool,
) -> Result<(), Error> {
    for before in tx.read().pages(number)? {
        if before.state.has_ended() || !wanted(&before) {
            continue;
        }
        let mut page = before.clone();
        outbox::move_by(&mut page, by_ms);
        tx.put_page(number, Some(&before), &page);
    }
    Ok(())
}

impl Tx<'_, '_> {
    /// Removes an incident from the due index: where its head says it stands, or wherever it is found.
    fn take_off(&mut self, number: u64) -> Result<(), Error> {
        if let Ok(Some(head)) = self.get::<Head>(&keys::head(number)) {
            self.put(
                keys::head(number),
                &Head {
                    due_at: None,
                    ..head
                },
            );
        }
        let mut slots = Vec::new();
        let all = keys::all_due();
        self.read()
            .scan_keys(&all, &keys::after(&all), Order::Forward, &mut |key| {
                if keys::last_number(key) == Some(number) {
                    slots.push(Key::from_slice(key));
                }
                Ok(ControlFlow::Continue(()))
            })?;
        slots.into_iter().for_each(|slot| self.remove(slot));
        Ok(())
    }

    /// Brings it back to the due index; a command that added nothing would not.
    fn put_back(&mut self, number: u64) -> Result<(), Error> {
        let due_at = match self.incident(number)? {
            Some(incident) => incident.next_due(),
            None => None,
        };
        if let (Some(at), Some(head)) = (due_at, self.get::<Head>(&keys::head(number))?) {
            self.put(keys::due(at, number), &());
            self.put(keys::head(number), &Head { due_at, ..head });
        }
        Ok(())
    }
}
