//! Delivery: pages are claimed from the outbox, sent with a bounded number in flight for each channel, and recorded. A
//! receiver that hangs delays nobody else.

use crate::clock::Clock;
use crate::domain::incident::event::Cause;
use crate::domain::page::{ATTEMPT_TIMEOUT, Message, Outcome, PageKind, Subject};
use crate::domain::phase::Phase;
use crate::domain::time::Timestamp;
use crate::engine::link::Links;
use crate::engine::replicas::GONE_AFTER;
use crate::engine::stuck;
use crate::pager::Pager;
use crate::store::delivery::{Claimed, channels, claim, record_beside, record_outcome};
use crate::store::engine::Class;
use crate::store::{Error, Failure, InForce, Store, unrefused};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// Sends in flight for one channel.
pub const IN_FLIGHT_MAX: usize = 8;

/// A send ends by itself after the attempt's time; this bounds one that does not.
const SEND_ENDS_WITHIN: Duration = ATTEMPT_TIMEOUT.saturating_add(Duration::from_secs(5));

/// A claim that took longer to come is not sent by where there are others: its owner may be taken for gone.
const CLAIM_FRESH_FOR: Duration = GONE_AFTER;

type Send<'a> = Pin<Box<dyn Future<Output = Sent> + std::marker::Send + 'a>>;

/// An attempt that ended.
#[derive(Debug)]
pub struct Sent {
    incident: u64,
    serial: u32,
    claim: u32,
    channel: String,
    outcome: Outcome,
}

/// The sends that are under way.
pub struct Delivery<'a> {
    store: &'a Store,
    pager: &'a dyn Pager,
    links: &'a Links,
    clock: &'a Clock,
    in_flight: Vec<Send<'a>>,
    per_channel: BTreeMap<String, usize>,
}

impl std::fmt::Debug for Delivery<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("per_channel", &self.per_channel)
            .finish_non_exhaustive()
    }
}

impl<'a> Delivery<'a> {
    pub fn new(store: &'a Store, pager: &'a dyn Pager, links: &'a Links, clock: &'a Clock) -> Self {
        Self {
            store,
            pager,
            links,
            clock,
            in_flight: Vec::new(),
            per_channel: BTreeMap::new(),
        }
    }

    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Claims and begins to send what is due. Returns when the next page is due on a channel that has room.
    pub async fn begin_due(&mut self, now: Timestamp) -> Result<Option<Timestamp>, Error> {
        let mut next = None;
        for (channel, first_at) in self.store.look(channels).await? {
            let room =
                IN_FLIGHT_MAX.saturating_sub(self.per_channel.get(&channel).copied().unwrap_or(0));
            if room == 0 {
                continue;
            }
            if first_at > now {
                next = Some(next.map_or(first_at, |next: Timestamp| next.min(first_at)));
                continue;
            }
            let began = self.clock.moment().elapsed;
            let claimed = claim_due(self.store, &channel, room, now).await?;
            let took = self.clock.moment().elapsed.saturating_sub(began);
            if took > CLAIM_FRESH_FOR && self.store.engine().replica().is_some() {
                // This process stood still; its claims may be another's by now, and come back if they are not.
                tracing::warn!(
                    channel,
                    pages = claimed.len(),
                    "claims are too old to send by"
                );
                continue;
            }
            for claimed in claimed {
                self.begin(claimed, now);
            }
        }
        Ok(next)
    }

    fn begin(&mut self, claimed: Claimed, now: Timestamp) {
        let message = message(&claimed, self.links, now);
        let channel = claimed.page.issue.channel.clone();
        *self.per_channel.entry(channel.clone()).or_default() += 1;
        let pager = self.pager;
        self.in_flight.push(Box::pin(async move {
            let outcome =
                match tokio::time::timeout(SEND_ENDS_WITHIN, pager.send(&message, now)).await {
                    Ok(outcome) => outcome,
                    Err(_elapsed) => Outcome::Retry {
                        after: None,
                        why: "no answer in time".to_owned(),
                    },
                };
            Sent {
                incident: claimed.number,
                serial: claimed.page.issue.serial,
                claim: claimed.attempt(),
                channel,
                outcome,
            }
        }));
    }

    /// The next attempt that ends; never, while none is under way.
    pub async fn ended(&mut self) -> Sent {
        let sent = poll_fn(|context| {
            for at in 0..self.in_flight.len() {
                let Some(send) = self.in_flight.get_mut(at) else {
                    break;
                };
                if let Poll::Ready(sent) = send.as_mut().poll(context) {
                    drop(self.in_flight.swap_remove(at));
                    return Poll::Ready(sent);
                }
            }
            Poll::Pending
        })
        .await;
        if let Some(n) = self.per_channel.get_mut(&sent.channel) {
            *n = n.saturating_sub(1);
        }
        sent
    }
}

async fn claim_due(
    store: &Store,
    channel: &str,
    most: usize,
    now: Timestamp,
) -> Result<Vec<Claimed>, Error> {
    let (channel, by) = (channel.to_owned(), store.engine().replica());
    let claimed = store
        .transact(Class::Engine, move |tx| claim(tx, &channel, most, by, now))
        .await;
    unrefused(claimed)
}

/// Writes down how an attempt ended, with what follows from it.
pub async fn record(
    store: &Store,
    sent: Sent,
    in_force: InForce,
    now: Timestamp,
) -> Result<(), Error> {
    let result = match &sent.outcome {
        Outcome::Delivered { .. } => "delivered",
        Outcome::Retry { .. } => "retry",
        Outcome::Rejected { .. } => "rejected",
    };
    metrics::counter!("watchkeeper_page_attempts_total", "channel" => sent.channel.clone(), "outcome" => result)
        .increment(1);
    let (number, serial, claim) = (sent.incident, sent.serial, sent.claim);
    let (outcome, its) = (sent.outcome.clone(), in_force.clone());
    let work = move |tx: &mut crate::store::Tx<'_, '_>| -> Result<(), Failure<Infallible>> {
        record_outcome(tx, number, serial, claim, &outcome, &its, now)
    };
    let recorded = store.transact(Class::Engine, work).await;
    let Some(why) = stuck(number, &recorded) else {
        return unrefused(recorded);
    };
    let beside = store
        .transact(Class::Engine, move |tx| {
            record_beside(
                tx,
                number,
                serial,
                claim,
                &sent.outcome,
                &why,
                &in_force,
                now,
            )
        })
        .await;
    unrefused(beside)
}

/// The words and links of a page, as the incident is when it goes out.
pub fn message(claimed: &Claimed, links: &Links, now: Timestamp) -> Message {
    let Claimed {
        number,
        head,
        incident,
        page,
    } = claimed;
    let (number, incident) = (*number, incident.as_deref());
    let opened = incident.map(|incident| &incident.opened);
    let issue = &page.issue;
    let kind = if issue.cause == Cause::Update {
        PageKind::Update
    } else {
        PageKind::Page
    };
    let is_taken = incident.is_some_and(|incident| incident.acknowledged.is_some());
    // One that is stuck is brought back by the acknowledgement, whoever has it.
    let asks = kind == PageKind::Page && head.open && (!is_taken || issue.cause == Cause::Stuck);
    let runbook = opened.and_then(|opened| opened.runbook.clone());
    Message {
        page_id: links.page_id(number, issue.serial),
        kind,
        incident: Subject {
            number,
            title: head.title.clone(),
            severity: head.severity.as_str().to_owned(),
            url: links.incident_url(number),
            dedup_key: head.dedup_key.clone(),
            phase: head.phase.as_str().to_owned(),
            description: opened
                .map(|opened| opened.description.clone())
                .filter(|text| !text.is_empty()),
            first_step: first_step(head.phase, runbook.as_ref()),
            runbook,
        },
        to: issue.person.clone(),
        channel: issue.channel.clone(),
        address: issue.address.clone(),
        step: issue.step,
        attempt: u32::try_from(page.attempts.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1),
        acknowledge_url: asks.then(|| links.acknowledge_url(number, &issue.person, now)),
        note: issue.note.clone(),
    }
}

/// What to do first, for somebody who was woken up.
fn first_step(phase: Phase, runbook: Option<&String>) -> String {
    let then = match phase {
        Phase::Detection | Phase::Triage => "confirm its severity and name a commander",
        Phase::Response => "stop the damage: mitigate or roll back",
        Phase::Stabilization
        | Phase::RootCauseAnalysis
        | Phase::ActionItems
        | Phase::Verification => "see whether it came back",
    };
    match runbook {
        Some(_) => format!("acknowledge, open the runbook, then {then}"),
        None => format!("acknowledge, then {then}"),
    }
}
