//! What a sender wishes for the incident of an alert of its own: in its name, and as far as a person could have it.

use crate::domain::alert::{Labels, Said, Sighting, Signal, Status};
use crate::domain::incident::{Ask, Command, Refusal};
use crate::domain::time::Timestamp;
use crate::store::intake::record;
use crate::store::report::Report;
use crate::store::tx::Tx;
use crate::store::{Failure, InForce};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Nobody works on it after all.
    Unacknowledge,
    /// On to the next step of its policy.
    Escalate,
    /// It is as bad as this word of the sender's says: judged as if the alert had been sent once more with it.
    Say { severity: String },
}

/// Why a wish is not granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmet {
    #[error("Alert does not exist")]
    NoSuchAlert,
    #[error("the alert is closed")]
    Resolved,
    #[error("no open incident belongs to the alert")]
    NoIncident,
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// Grants a wish; `by` is the name of the source and its kind.
pub fn wish(
    tx: &mut Tx<'_, '_>,
    labels: &Labels,
    wish: &Wish,
    by: (&str, &'static str),
    in_force: &InForce,
    now: Timestamp,
) -> Result<(), Failure<Unmet>> {
    let Some(alert) = tx.read().alert(labels.fingerprint())? else {
        return Err(Failure::Refused(Unmet::NoSuchAlert));
    };
    if alert.status == Status::Resolved {
        return Err(Failure::Refused(Unmet::Resolved));
    }
    let (source, kind) = by;
    let asked = match wish {
        Wish::Unacknowledge => Ask::Unacknowledge,
        Wish::Escalate => Ask::Escalate,
        Wish::Say { severity } => {
            let again = Sighting {
                labels: alert.labels,
                annotations: alert.annotations,
                attributes: alert.attributes,
                severity: Some(severity.clone()),
                starts_at: Some(alert.starts_at),
                ends_at: None,
                said: Said::Signal(Signal::Firing),
            };
            let report = Report {
                scope: None,
                source: source.to_owned(),
                kind,
                sightings: vec![again],
                acknowledged: Vec::new(),
                changes: Vec::new(),
                rejected: Vec::new(),
            };
            return match record(tx, &report, in_force, now) {
                Ok(_recorded) => Ok(()),
                Err(Failure::Store(error)) => Err(Failure::Store(error)),
                Err(Failure::Refused(never)) => match never {},
            };
        }
    };
    let Some(number) = alert.incident else {
        return Err(Failure::Refused(Unmet::NoIncident));
    };
    if !tx.is_open(number)? {
        return Err(Failure::Refused(Unmet::NoIncident));
    }
    match tx.command(number, &Command::Ask(asked), source, in_force, now)? {
        None => Err(Failure::Refused(Unmet::NoIncident)),
        Some(Err(refusal)) => Err(Failure::Refused(Unmet::Refused(refusal))),
        Some(Ok(())) => Ok(tx.settle(in_force, now)?),
    }
}
