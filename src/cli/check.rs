//! `check`: every problem of what is on disk, with its place.

use crate::app::files::{check, show};
use crate::cli::{Exit, Output, print, print_json};
use crate::clock;
use crate::config::Environment;
use crate::domain::finding::Finding;
use serde_json::{Value, json};
use std::path::Path;

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

impl Check {
    pub(super) fn run(
        &self,
        directory: Option<&Path>,
        environment: &Environment,
    ) -> anyhow::Result<Exit> {
        let findings = check(directory, environment, clock::wall());
        match self.output {
            Output::Text => print(&show(&findings))?,
            Output::Json => {
                print_json(&json!({ "findings": findings.iter().map(view).collect::<Vec<_>>() }))?;
            }
        }
        Ok(if findings.iter().any(Finding::is_error) {
            Exit::No
        } else {
            Exit::Done
        })
    }
}

fn view(finding: &Finding) -> Value {
    json!({
        "file": finding.file,
        "line": finding.line,
        "column": finding.column,
        "level": finding.level.to_string(),
        "message": finding.message,
    })
}
