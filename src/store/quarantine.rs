//! Incidents that could not be stepped: taken off the due index, so that the rest goes on, and kept in sight.

use crate::domain::time::Timestamp;
use crate::store::error::Error;
use crate::store::records::{Head, Quarantined};
use crate::store::tx::Tx;
use crate::store::{Failure, keys};
use std::convert::Infallible;

/// Puts an incident aside. The engine leaves it alone until somebody commands it successfully.
pub fn put(
    tx: &mut Tx<'_, '_>,
    number: u64,
    why: &str,
    now: Timestamp,
) -> Result<(), Failure<Infallible>> {
    tx.put(
        keys::quarantine(number),
        &Quarantined {
            at: now,
            why: why.to_owned(),
        },
    );
    tx.take_off(number)?;
    Ok(())
}

impl Tx<'_, '_> {
    /// Removes an incident from the due index as it stands there.
    fn take_off(&mut self, number: u64) -> Result<(), Error> {
        let Some(head) = self.get::<Head>(&keys::head(number))? else {
            return Ok(());
        };
        if let Some(at) = head.due_at {
            self.remove(keys::due(at, number));
            self.put(
                keys::head(number),
                &Head {
                    due_at: None,
                    ..head
                },
            );
        }
        Ok(())
    }
}
