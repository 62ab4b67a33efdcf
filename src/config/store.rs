//! `[store]`: which engine keeps everything, and where.

use crate::config::environment::Environment;
use crate::config::secrets::secret;
use crate::domain::secret::Secret;
use crate::toml_file::{Place, Section, Value};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug)]
pub enum Store {
    /// The embedded store in this directory.
    Sled(PathBuf),
    Postgres(Postgres),
}

/// A database that several replicas share.
#[derive(Clone)]
pub struct Postgres {
    /// The whole URL, which may have a password in it.
    pub url: Secret,
    /// Where the URL stands.
    pub place: Place,
    /// One that is given apart from the URL.
    pub password: Option<Secret>,
    /// Connections for reads.
    pub connections: usize,
    /// For each host.
    pub connect_timeout: Duration,
    pub statement_timeout: Duration,
}

impl fmt::Debug for Postgres {
    /// Without the place, which has the text of its file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("url", &self.url)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

const DEFAULT_DIRECTORY: &str = "data";
const DEFAULT_CONNECTIONS: usize = 8;
const CONNECTIONS_MAX: usize = 256;
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests end after 30 s: a statement that takes longer answers nobody.
const TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// Keys that a store in a directory has no use for.
const OF_POSTGRES: [&str; 4] = [
    "password",
    "connections",
    "connect_timeout",
    "statement_timeout",
];

pub(super) fn read(section: Section<'_>, environment: &Environment) -> Store {
    let written = section.get("url");
    let url = written.and_then(|value| url(value, environment));
    let password = section
        .get("password")
        .and_then(|value| secret(value, environment));
    let connections = section
        .get("connections")
        .and_then(|value| value.integer(1..=CONNECTIONS_MAX));
    let connect_timeout = section.get("connect_timeout").and_then(timeout);
    let statement_timeout = section.get("statement_timeout").and_then(timeout);
    let store = match (url, written) {
        (Some(Url::Postgres(url)), Some(written)) => Store::Postgres(Postgres {
            url,
            place: written.place().clone(),
            password,
            connections: connections.unwrap_or(DEFAULT_CONNECTIONS),
            connect_timeout: connect_timeout.unwrap_or(DEFAULT_CONNECT_TIMEOUT),
            statement_timeout: statement_timeout.unwrap_or(DEFAULT_STATEMENT_TIMEOUT),
        }),
        (Some(Url::Sled(directory)), _) => {
            warn_of_unused(&section);
            Store::Sled(directory)
        }
        (Some(Url::Postgres(_)) | None, _) => {
            if written.is_none() {
                warn_of_unused(&section);
            }
            Store::Sled(DEFAULT_DIRECTORY.into())
        }
    };
    section.done();
    store
}

fn warn_of_unused(section: &Section<'_>) {
    for key in OF_POSTGRES.into_iter().filter(|key| section.has(key)) {
        section.report().warn(
            section.place_of(key),
            format!("{key} has no effect: the store is no database"),
        );
    }
}

fn timeout(value: Value<'_>) -> Option<Duration> {
    let found = value.lasting()?;
    if found > TIMEOUT_MAX {
        value.error("at most \"30s\" is wanted: requests end after that");
        return None;
    }
    Some(found)
}

enum Url {
    Sled(PathBuf),
    Postgres(Secret),
}

fn url(value: Value<'_>, environment: &Environment) -> Option<Url> {
    let url = match value.is_string() {
        true => Secret::new(value.string()?.to_owned()),
        false => secret(value, environment)?,
    };
    let text = url.expose();
    if let Some(path) = text.strip_prefix("sled:").filter(|path| !path.is_empty()) {
        return Some(Url::Sled(path.into()));
    }
    let is_postgres = ["postgres://", "postgresql://"].iter().any(|scheme| {
        text.strip_prefix(scheme)
            .is_some_and(|rest| !rest.is_empty())
    });
    if !is_postgres {
        value.error(
            "a store such as \"sled:data\" or \"postgres://user@host/watchkeeper\" is wanted",
        );
        return None;
    }
    value.hide();
    Some(Url::Postgres(url))
}
