//! Variables: `WATCHKEEPER__SECTION__KEY` laid over the files, and those that secrets name.

use crate::domain::finding::{Finding, Level};
use crate::toml_file::Node;
use ::config::Source;
use std::collections::BTreeMap;

const PREFIX: &str = "WATCHKEEPER";
const SEPARATOR: &str = "__";

/// The sections of `oncall.toml`; all others are of `watchkeeper.toml`.
pub(super) const ONCALL_SECTIONS: [&str; 4] = ["people", "teams", "schedules", "policies"];

/// The variables the program was started with.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

/// Names only: values may be secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let owned = |(name, value): (N, V)| (name.into(), value.into());
        Self(variables.into_iter().map(owned).collect())
    }
}

impl Environment {
    /// Of this process. What is not Unicode is left out: nothing of ours can be.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// Where commands find a running daemon.
    pub fn daemon_url(&self) -> Option<&str> {
        self.get("WATCHKEEPER_URL").filter(|url| !url.is_empty())
    }

    /// The bearer token commands show to it.
    pub fn daemon_token(&self) -> Option<&str> {
        self.get("WATCHKEEPER_TOKEN")
            .filter(|token| !token.is_empty())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Lays the overriding variables over the trees of the two files, a section before what is in it.
    pub(super) fn overlay(&self, watchkeeper: &mut Node, oncall: &mut Node) -> Vec<Finding> {
        let mut problems = Vec::new();
        for (path, variable, value) in self.overrides(&mut problems) {
            let path: Vec<&str> = path.split('.').collect();
            let is_oncall = path
                .first()
                .is_some_and(|first| ONCALL_SECTIONS.contains(first));
            let tree = if is_oncall {
                &mut *oncall
            } else {
                &mut *watchkeeper
            };
            tree.overlay(&path, Node::of_variable(&variable, &value));
        }
        problems
    }

    /// Path, variable and value of each override, sorted by path.
    fn overrides(&self, problems: &mut Vec<Finding>) -> Vec<(String, String, String)> {
        let mut by_path: BTreeMap<String, &String> = BTreeMap::new();
        let prefix = format!("{PREFIX}{SEPARATOR}").to_lowercase();
        for variable in self.0.keys() {
            let lower = variable.to_lowercase();
            let Some(key) = lower.strip_prefix(&prefix) else {
                continue;
            };
            if key.split(SEPARATOR).any(str::is_empty) || key.contains('.') {
                problems.push(problem(
                    variable,
                    "a name such as WATCHKEEPER__SECTION__KEY is wanted".to_owned(),
                ));
            } else if let Some(twin) = by_path.insert(key.replace(SEPARATOR, "."), variable) {
                problems.push(problem(
                    variable,
                    format!("the same as {twin}, in another case"),
                ));
            }
        }
        let source = ::config::Environment::with_prefix(PREFIX)
            .separator(SEPARATOR)
            .source(Some(by_path.values().map(|name| self.pair(name)).collect()));
        let collected = match source.collect() {
            Ok(collected) => collected,
            Err(error) => {
                problems.push(problem(PREFIX, error.to_string()));
                return Vec::new();
            }
        };
        let mut overrides: Vec<(String, String, String)> = collected
            .into_iter()
            .filter_map(|(path, value)| {
                let variable = (*by_path.get(&path)?).clone();
                Some((path, variable, value.into_string().ok()?))
            })
            .collect();
        overrides.sort();
        overrides
    }

    fn pair(&self, name: &str) -> (String, String) {
        (
            name.to_owned(),
            self.get(name).unwrap_or_default().to_owned(),
        )
    }
}

fn problem(variable: &str, message: String) -> Finding {
    Finding {
        file: format!("environment:{variable}"),
        line: 1,
        column: 1,
        level: Level::Error,
        message,
        text: None,
        width: 1,
    }
}
