//! What the wall clock showed when the program was last seen running: a machine may start with a clock that is behind.

use crate::domain::time::Timestamp;
use crate::store::error::Error;
use crate::store::read::Reader;
use crate::store::tx::Tx;
use crate::store::{Failure, keys};
use std::convert::Infallible;

const NAME: &str = "seen_clock";

/// What was kept; none in a store that no engine has stepped over.
pub fn last(reader: &Reader<'_>) -> Result<Option<Timestamp>, Error> {
    reader.get(&keys::meta(NAME))
}

/// Keeps what it shows now.
pub fn keep(tx: &mut Tx<'_, '_>, now: Timestamp) -> Result<(), Failure<Infallible>> {
    tx.put(keys::meta(NAME), &now);
    Ok(())
}
