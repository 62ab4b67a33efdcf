//! `[store]`: which engine keeps everything, and where.

use crate::config::environment::Environment;
use crate::config::secrets::secret;
use crate::domain::secret::Secret;
use crate::toml_file::{Section, Value};
use std::path::PathBuf;

#[derive(Clone, Debug)]
pub enum Store {
    /// The embedded store in this directory.
    Sled(PathBuf),
    /// The whole URL, which may have a password in it.
    Postgres(Secret),
}

const DEFAULT_DIRECTORY: &str = "data";

pub(super) fn read(section: Section<'_>, environment: &Environment) -> Store {
    let url = section.get("url").and_then(|value| url(value, environment));
    section.done();
    url.unwrap_or_else(|| Store::Sled(DEFAULT_DIRECTORY.into()))
}

fn url(value: Value<'_>, environment: &Environment) -> Option<Store> {
    let url = match value.is_string() {
        true => Secret::new(value.string()?.to_owned()),
        false => secret(value, environment)?,
    };
    let text = url.expose();
    if let Some(path) = text.strip_prefix("sled:").filter(|path| !path.is_empty()) {
        return Some(Store::Sled(path.into()));
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
    value.warn("a store on PostgreSQL is not yet in effect: `serve` refuses it".to_owned());
    Some(Store::Postgres(url))
}
