//! What people do: asking something of an incident, opening one by hand, resolving an alert, exceptions of a schedule.

use crate::domain::alert::{Fingerprint, Status};
use crate::domain::incident::event::{Opened, Origin};
use crate::domain::incident::{Ask, Command, Incident, Refusal, Resolution};
use crate::domain::schedule::Override;
use crate::domain::severity::{Profile, Severity, SeverityInputs};
use crate::domain::time::Timestamp;
use crate::store::error::Error;
use crate::store::joining::{policy_of, resolve};
use crate::store::tx::{Counter, Tx};
use crate::store::{Failure, InForce, keys, quarantine};
use std::sync::Arc;
use std::time::Duration;

/// How long an `Idempotency-Key` is remembered.
const IDEMPOTENCY_KEPT_FOR: Duration = Duration::from_secs(24 * 3600);

/// Why a person's command did nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("there is no incident {0}")]
    NoSuchIncident(u64),
    #[error("there is no alert {0}")]
    NoSuchAlert(Fingerprint),
    #[error(transparent)]
    Incident(#[from] Refusal),
}

impl From<Refused> for Failure<Refused> {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// Who asks, when, under what, and the key under which a repeat is recognised.
#[derive(Clone, Debug)]
pub struct Caller {
    pub by: String,
    pub idempotency_key: Option<String>,
    pub in_force: InForce,
    pub now: Timestamp,
}

/// An incident that somebody reports.
#[derive(Clone, Debug)]
pub struct Reported {
    pub title: String,
    pub description: String,
    pub severity: Severity,
    pub team: Option<String>,
    pub origin: Origin,
}

/// Asks something of an incident and returns it as it is then.
pub fn ask(
    tx: &mut Tx<'_, '_>,
    number: u64,
    ask: Ask,
    caller: &Caller,
) -> Result<Arc<Incident>, Failure<Refused>> {
    if tx.is_repeated(&format!("incident {number}"), caller)? {
        return present(tx, number);
    }
    if matches!(ask, Ask::Reopen { .. }) {
        claim_key(tx, number)?;
    }
    let Caller {
        by, in_force, now, ..
    } = caller;
    match tx.command(number, &Command::Ask(ask), by, in_force, *now)? {
        None => Err(Refused::NoSuchIncident(number).into()),
        Some(Err(refusal)) => Err(Refused::Incident(refusal).into()),
        Some(Ok(())) => {
            tx.settle(in_force, *now)?;
            quarantine::release(tx, number, by, in_force, *now)?;
            present(tx, number)
        }
    }
}

/// Opens an incident that a person reports; it pages at once.
pub fn report(
    tx: &mut Tx<'_, '_>,
    reported: &Reported,
    caller: &Caller,
) -> Result<Arc<Incident>, Failure<Refused>> {
    let scope = "incidents";
    if tx.is_repeated(scope, caller)?
        && let Some(number) = tx.answered(scope, caller)?
    {
        return present(tx, number);
    }
    let book = &caller.in_force.book;
    let process = book.processes.of(reported.severity);
    let opened = Opened {
        number: 0,
        origin: reported.origin,
        title: reported.title.clone(),
        description: reported.description.clone(),
        severity: reported.severity,
        inputs: SeverityInputs::default(),
        urgency: process.urgency,
        profile: Profile::Full,
        leadership: process.leadership.clone(),
        dedup_key: None,
        rule: None,
        revision: caller.in_force.rules.revision.clone(),
        team: reported.team.clone(),
        runbook: None,
        policy: policy_of(book, None, reported.team.as_deref()),
        resolve_after_ms: 0,
        reopen_within_ms: 0,
        verification: None,
        flapping: None,
        storm: None,
        recurrence_of: None,
    };
    let number = tx.open(opened, &caller.by, caller.now)?;
    tx.answer(scope, caller, number);
    tx.settle(&caller.in_force, caller.now)?;
    present(tx, number)
}

/// Resolves by hand an alert that fires, is stale or waits, of this incident or of none.
pub fn resolve_alert(
    tx: &mut Tx<'_, '_>,
    incident: Option<u64>,
    fingerprint: Fingerprint,
    reason: &str,
    caller: &Caller,
) -> Result<(), Failure<Refused>> {
    let Some(alert) = tx.read().alert(fingerprint)? else {
        return Err(Refused::NoSuchAlert(fingerprint).into());
    };
    if let Some(number) = incident {
        if tx.incident(number)?.is_none() {
            return Err(Refused::NoSuchIncident(number).into());
        }
        if alert.incident != Some(number) {
            return Err(Refused::Incident(Refusal::NoSuchAlert {
                number,
                fingerprint,
            })
            .into());
        }
    }
    if alert.status != Status::Resolved {
        let Caller {
            by, in_force, now, ..
        } = caller;
        resolve(
            tx,
            fingerprint,
            &alert,
            None,
            Resolution::ByHand(reason.to_owned()),
            by,
            in_force,
            *now,
        )?;
        tx.settle(in_force, *now)?;
        if let Some(number) = alert.incident {
            quarantine::release(tx, number, by, in_force, *now)?;
        }
    }
    Ok(())
}

/// Adds an exception to a schedule, and returns it with its number.
pub fn add_override(
    tx: &mut Tx<'_, '_>,
    schedule: &str,
    mut added: Override,
    caller: &Caller,
) -> Result<Override, Failure<std::convert::Infallible>> {
    let scope = format!("schedule {schedule}");
    if tx.is_repeated(&scope, caller)?
        && let Some(id) = tx.answered(&scope, caller)?
        && let Some(known) = tx.get(&keys::schedule_override(schedule, id))?
    {
        return Ok(known);
    }
    added.id = tx.next(Counter::Override)?;
    tx.put_override(schedule, &added);
    tx.answer(&scope, caller, added.id);
    Ok(added)
}

fn present(tx: &mut Tx<'_, '_>, number: u64) -> Result<Arc<Incident>, Failure<Refused>> {
    match tx.incident(number)? {
        Some(incident) => Ok(Arc::new(incident.clone())),
        None => Err(Refused::NoSuchIncident(number).into()),
    }
}

/// A reopened incident answers for its key again, unless another open one does.
fn claim_key(tx: &mut Tx<'_, '_>, number: u64) -> Result<(), Failure<Refused>> {
    let Some(Some(key)) = tx.with(number, |incident| incident.opened.dedup_key.clone())? else {
        return Ok(());
    };
    match tx.read().holder(&key)?.map(|holder| holder.incident) {
        Some(holder) if holder != number && tx.is_open(holder)? => {
            Err(Refused::Incident(Refusal::KeyTaken { number: holder }).into())
        }
        _ => {
            tx.put_holder(&key, number, None);
            Ok(())
        }
    }
}

impl Tx<'_, '_> {
    /// Whether this command was done before under the same key; if not, it is remembered as done.
    fn is_repeated(&mut self, scope: &str, caller: &Caller) -> Result<bool, Error> {
        let Some(text) = idempotency_text(scope, caller) else {
            return Ok(false);
        };
        if self.get::<u64>(&keys::idempotency(&text))?.is_some() {
            return Ok(true);
        }
        self.put(keys::idempotency(&text), &0_u64);
        self.put(
            keys::idempotency_ends(caller.now.plus(IDEMPOTENCY_KEPT_FOR), &text),
            &(),
        );
        Ok(false)
    }

    /// The number that the first command under this key made.
    fn answered(&self, scope: &str, caller: &Caller) -> Result<Option<u64>, Error> {
        let Some(text) = idempotency_text(scope, caller) else {
            return Ok(None);
        };
        self.get(&keys::idempotency(&text))
    }

    fn answer(&mut self, scope: &str, caller: &Caller, number: u64) {
        if let Some(text) = idempotency_text(scope, caller) {
            self.put(keys::idempotency(&text), &number);
        }
    }
}

fn idempotency_text(scope: &str, caller: &Caller) -> Option<String> {
    caller
        .idempotency_key
        .as_ref()
        .map(|key| format!("{scope}\n{}\n{key}", caller.by))
}
