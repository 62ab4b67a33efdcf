//! What the database or the way to it said, as an error of the store.

use crate::store::error::Error;
use tokio_postgres::error::SqlState;

/// What became of what was asked for.
pub(super) fn error(what: &str, error: &tokio_postgres::Error) -> Error {
    let why = chain(error);
    let Some(code) = error.code() else {
        return Error::Unreachable { why };
    };
    if is_lost(error) {
        return Error::Unreachable { why };
    }
    match code {
        &SqlState::DISK_FULL => Error::Full,
        &SqlState::LOCK_NOT_AVAILABLE
        | &SqlState::QUERY_CANCELED
        | &SqlState::T_R_SERIALIZATION_FAILURE
        | &SqlState::T_R_DEADLOCK_DETECTED => Error::Slow { why },
        _ => Error::Database {
            what: what.to_owned(),
            why,
        },
    }
}

/// Whether the connection is of no more use: it is gone, or leads to a server that takes no writes.
pub(super) fn is_lost(error: &tokio_postgres::Error) -> bool {
    let Some(code) = error.code() else {
        return true;
    };
    let class = code.code().get(..2).unwrap_or_default();
    // 08 connection, 57P shutdown and recovery, 25006 a server that became a standby, 53300 too many connections,
    // 25P03 and 57P05 a session that stood still for too long.
    matches!(class, "08")
        || code.code().starts_with("57P")
        || [
            &SqlState::READ_ONLY_SQL_TRANSACTION,
            &SqlState::TOO_MANY_CONNECTIONS,
            &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        ]
        .contains(&code)
}

/// The error with what caused it, without any address or password of the configuration.
pub(super) fn chain(error: &tokio_postgres::Error) -> String {
    if let Some(told) = error.as_db_error() {
        return format!("{} ({})", told.message(), told.code().code());
    }
    crate::store::error::chain(error)
}
