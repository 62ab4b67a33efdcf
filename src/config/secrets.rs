//! Secrets as they are written: plain, `{ env = "NAME" }` or `{ file = "PATH" }`. No message shows one.

use crate::config::environment::Environment;
use crate::domain::secret::Secret;
use crate::toml_file::Value;

const WANTED: &str = "a secret, { env = \"NAME\" } or { file = \"PATH\" }";

/// The secret that `value` is or names.
pub(super) fn secret(value: Value<'_>, environment: &Environment) -> Option<Secret> {
    if value.is_string() {
        value.hide();
        return filled(value, value.string()?, "the secret");
    }
    if !value.is_table() {
        value.hide();
        return value.wanted(WANTED);
    }
    let section = value.section()?;
    let (env, file) = (section.get("env"), section.get("file"));
    let read = match (env, file) {
        (Some(env), None) => from_variable(env, environment),
        (None, Some(file)) => from_file(file),
        (Some(_), Some(_)) => {
            section.error(format!("{WANTED} is wanted, found both"));
            None
        }
        (None, None) => {
            section.error(format!("{WANTED} is wanted"));
            None
        }
    };
    section.done();
    read
}

fn from_variable(name: Value<'_>, environment: &Environment) -> Option<Secret> {
    let variable = name.text()?;
    let Some(found) = environment.get(&variable) else {
        name.error(format!("environment variable {variable} is not set"));
        return None;
    };
    filled(name, found, &format!("environment variable {variable}"))
}

fn from_file(path: Value<'_>) -> Option<Secret> {
    let file = path.text()?;
    match std::fs::read_to_string(&file) {
        Ok(text) => filled(path, text.trim_end_matches(['\r', '\n']), &file),
        Err(error) => {
            path.error(format!(
                "cannot read {file}: {}",
                crate::toml_file::why_unreadable(&error)
            ));
            None
        }
    }
}

fn filled(value: Value<'_>, text: &str, what: &str) -> Option<Secret> {
    if text.is_empty() {
        value.error(format!("{what} is empty"));
        return None;
    }
    Some(Secret::new(text.to_owned()))
}
