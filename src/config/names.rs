//! The names that other places refer to, gathered before anything is read, so that order does not matter.

use crate::toml_file::Value;
use crate::toml_file::nearest::unknown;

#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) channels: Vec<String>,
    /// Those of kind email, whose addresses have a form.
    pub(super) email_channels: Vec<String>,
    pub(super) log_channels: Vec<String>,
    pub(super) people: Vec<String>,
    pub(super) schedules: Vec<String>,
    pub(super) policies: Vec<String>,
}

impl Names {
    pub(super) fn channel(&self, value: Value<'_>) -> Option<String> {
        known(value, "channel", value.string()?, &self.channels)
    }

    pub(super) fn person(&self, value: Value<'_>, name: &str) -> Option<String> {
        known(value, "person", name, &self.people)
    }

    pub(super) fn schedule(&self, value: Value<'_>, name: &str) -> Option<String> {
        known(value, "schedule", name, &self.schedules)
    }

    pub(super) fn policy(&self, value: Value<'_>, name: &str) -> Option<String> {
        known(value, "policy", name, &self.policies)
    }
}

fn known(value: Value<'_>, what: &str, name: &str, names: &[String]) -> Option<String> {
    if names.iter().any(|known| known == name) {
        return Some(name.to_owned());
    }
    value.error(unknown(what, name, names.iter().map(String::as_str)));
    None
}
