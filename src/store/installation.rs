//! What makes this installation this one: its name in page ids, and the key that signs acknowledge links.

use crate::store::Failure;
use crate::store::keys;
use crate::store::tx::Tx;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;

/// Made once, when a store is first opened; moves with its backups.
#[derive(Clone, Serialize, Deserialize)]
pub struct Installation {
    pub name: String,
    /// Hexadecimal.
    pub key: String,
}

impl std::fmt::Debug for Installation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Installation")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The installation of this store; `fresh` becomes it where there is none yet.
pub fn installation(
    tx: &mut Tx<'_, '_>,
    fresh: Installation,
) -> Result<Installation, Failure<Infallible>> {
    let key = keys::meta("installation");
    if let Some(known) = tx.get(&key)? {
        return Ok(known);
    }
    tx.put(key, &fresh);
    Ok(fresh)
}
