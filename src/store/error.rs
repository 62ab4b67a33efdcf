//! Why the store refused or failed.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system said no. `what` completes "cannot …".
    #[error("cannot {what}")]
    Io { what: String, source: io::Error },
    /// What was read is not what was written.
    #[error("{}{place} is damaged: {why}", file.display())]
    Corrupt {
        file: PathBuf,
        place: Place,
        why: String,
    },
    /// The disk has no room for what intake may use.
    #[error("the disk of the store is full")]
    Full,
    /// More waits than may wait.
    #[error("the store has too much waiting")]
    Busy,
    /// A write or a sync failed, so that nobody knows what is on disk: no write is taken until a restart.
    #[error("the store takes no writes until it is restarted: {why}")]
    Poisoned { why: String },
    /// Another process has it.
    #[error("the store at {} is in use by another process", path.display())]
    Locked { path: PathBuf },
    /// The job that was to decide panicked; its changes were dropped.
    #[error("the job panicked: {why}")]
    Panicked { why: String },
    /// One job wanted to change more than a group may.
    #[error("one transaction changes {bytes} bytes, at most {most} are taken")]
    TooLarge { bytes: usize, most: usize },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// A later version of the program wrote it.
    #[error("{} has schema {found}, this program knows up to {known}", file.display())]
    NewerSchema {
        file: PathBuf,
        found: u32,
        known: u32,
    },
    /// There is no connection to the database, or it was lost before anything was kept.
    #[error("the database cannot be reached: {why}")]
    Unreachable { why: String },
    /// The database took longer than it may, or another replica had the turn for too long.
    #[error("the database is too slow: {why}")]
    Slow { why: String },
    /// The connection was lost while the database was keeping it.
    #[error("the database did not say whether this was kept: {why}")]
    Uncertain { why: String },
    /// The database said no. `what` completes "cannot …".
    #[error("cannot {what}: {why}")]
    Database { what: String, why: String },
    /// A later version of the program has made the tables.
    #[error(
        "the tables have version {found}, this program knows up to {known}: run a newer version of the program"
    )]
    NewerTables { found: i32, known: i32 },
    /// There is nothing where a store was wanted.
    #[error("there is no store at {what}")]
    Missing { what: String },
    /// A backup is restored into an empty directory only.
    #[error("{} is not empty", path.display())]
    NotEmpty { path: PathBuf },
}

impl Error {
    /// What the operating system refused; `what` completes "cannot …". No room is `Full`.
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        if is_full(&source) {
            return Self::Full;
        }
        Self::Io {
            what: what.into(),
            source,
        }
    }

    /// Damage at a byte of a file.
    pub fn at(file: impl Into<PathBuf>, offset: u64, why: impl Into<String>) -> Self {
        Self::Corrupt {
            file: file.into(),
            place: Place::Offset(offset),
            why: why.into(),
        }
    }

    /// Damage of a file or directory as a whole.
    pub fn damaged(file: impl Into<PathBuf>, why: impl Into<String>) -> Self {
        Self::Corrupt {
            file: file.into(),
            place: Place::Whole,
            why: why.into(),
        }
    }

    /// The same error for one of several who were told of it together: of the same kind, so that a full disk is not taken
    /// for a store that is poisoned.
    pub fn of_shared(error: Arc<Self>) -> Self {
        Arc::try_unwrap(error).unwrap_or_else(|shared| match &*shared {
            Self::Full => Self::Full,
            Self::Busy => Self::Busy,
            Self::Closed => Self::Closed,
            Self::Poisoned { why } => Self::Poisoned { why: why.clone() },
            Self::Panicked { why } => Self::Panicked { why: why.clone() },
            Self::TooLarge { bytes, most } => Self::TooLarge {
                bytes: *bytes,
                most: *most,
            },
            Self::Unreachable { why } => Self::Unreachable { why: why.clone() },
            Self::Slow { why } => Self::Slow { why: why.clone() },
            Self::Uncertain { why } => Self::Uncertain { why: why.clone() },
            Self::Database { what, why } => Self::Database {
                what: what.clone(),
                why: why.clone(),
            },
            Self::Io { .. }
            | Self::NewerTables { .. }
            | Self::Missing { .. }
            | Self::Corrupt { .. }
            | Self::Locked { .. }
            | Self::NewerSchema { .. }
            | Self::NotEmpty { .. } => Self::Io {
                what: "keep the group".to_owned(),
                source: io::Error::other(shared.to_string()),
            },
        })
    }

    /// Whether the database is away or too slow for now: the store said so when that began, and goes on by itself.
    pub fn is_away(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Uncertain { .. } | Self::Slow { .. }
        )
    }

    /// A record whose value cannot be read.
    pub fn record(key: &[u8], why: impl Into<String>) -> Self {
        Self::Corrupt {
            file: PathBuf::from("the state"),
            place: Place::Key(key.to_vec()),
            why: why.into(),
        }
    }
}

/// Where in a file the damage is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    Offset(u64),
    Line(u64),
    Key(Vec<u8>),
    Whole,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(f, " at byte {offset}"),
            Self::Line(line) => write!(f, " at line {line}"),
            Self::Key(key) => write!(f, " at key {}", hex::encode(key)),
            Self::Whole => Ok(()),
        }
    }
}

/// An error with all that caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// No space left, or the quota is used up.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_told_to_several_keeps_its_kind() {
        let full = Arc::new(Error::Full);
        let other = Arc::clone(&full);
        assert!(matches!(Error::of_shared(full), Error::Full));
        assert!(matches!(Error::of_shared(other), Error::Full));
    }
}
