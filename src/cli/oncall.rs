//! `oncall`: who is on call, asked of a running daemon.

use crate::cli::client::{Daemon, items, text};
use crate::cli::{Exit, Output, block_on, print, print_json};
use crate::config::Environment;
use serde_json::Value;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Oncall {
    /// Who is on call now, by every schedule
    Now {
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

impl Oncall {
    pub(super) fn run(self, environment: &Environment) -> anyhow::Result<Exit> {
        let daemon = Daemon::of(environment)?;
        let Self::Now { output } = self;
        let answer = block_on(daemon.get("/api/v1/oncall"))?;
        match output {
            Output::Json => print_json(&answer)?,
            Output::Text => print(&table(items(&answer, "oncall")))?,
        }
        Ok(Exit::Done)
    }
}

fn table(schedules: &[Value]) -> String {
    if schedules.is_empty() {
        return "there are no schedules\n".to_owned();
    }
    schedules
        .iter()
        .map(|schedule| {
            let people: Vec<&str> = items(schedule, "people")
                .iter()
                .map(|person| text(person, "person"))
                .collect();
            let people = if people.is_empty() {
                "nobody".to_owned()
            } else {
                people.join(", ")
            };
            let until = match text(schedule, "until") {
                "" => String::new(),
                until => format!(" until {until}"),
            };
            format!("{}: {people}{until}\n", text(schedule, "schedule"))
        })
        .collect()
}
