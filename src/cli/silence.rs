//! `silence`: silences of a running daemon.

use crate::cli::client::{Daemon, encoded, items, text};
use crate::cli::{Exit, Output, block_on, print, print_json};
use crate::config::Environment;
use serde_json::{Value, json};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Silence {
    /// Those that are active, then those to come, then those that have ended
    List {
        #[arg(long, value_parser = ["active", "pending", "expired"])]
        state: Option<String>,
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Mute alerts that match, such as 'service="checkout"'; from --starts-at on it is a maintenance window
    Add {
        #[arg(required_unless_present = "everything")]
        matchers: Vec<String>,
        #[arg(long)]
        reason: String,
        /// How long, such as 2h
        #[arg(long = "for", value_name = "SPAN", required_unless_present = "ends_at")]
        lasts: Option<String>,
        #[arg(long, conflicts_with = "lasts")]
        ends_at: Option<String>,
        #[arg(long)]
        starts_at: Option<String>,
        /// Whether or not that is every alert
        #[arg(long)]
        everything: bool,
        /// Who wants it
        #[arg(long)]
        by: Option<String>,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// End one now
    Expire {
        id: String,
        /// Who wants it
        #[arg(long)]
        by: Option<String>,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

impl Silence {
    pub(super) fn run(self, environment: &Environment) -> anyhow::Result<Exit> {
        let daemon = Daemon::of(environment)?;
        block_on(self.ask(&daemon))
    }

    async fn ask(self, daemon: &Daemon) -> anyhow::Result<Exit> {
        let (silence, output) = match self {
            Self::List {
                state,
                limit,
                output,
            } => {
                let state = state.map(|state| format!("&state={state}"));
                let path = format!(
                    "/api/v1/silences?limit={limit}{}",
                    state.unwrap_or_default()
                );
                let answer = daemon.get(&path).await?;
                match output {
                    Output::Json => print_json(&answer)?,
                    Output::Text => print(&table(items(&answer, "silences")))?,
                }
                return Ok(Exit::Done);
            }
            Self::Add {
                matchers,
                reason,
                lasts,
                ends_at,
                starts_at,
                everything,
                by,
                output,
            } => {
                let body = json!({
                    "matchers": matchers,
                    "reason": reason,
                    "for": lasts,
                    "ends_at": ends_at,
                    "starts_at": starts_at,
                    "everything": everything,
                    "by": by,
                });
                (daemon.post("/api/v1/silences", &body).await?, output)
            }
            Self::Expire { id, by, output } => {
                let by = by.map(|by| format!("?by={}", encoded(&by)));
                let path = format!(
                    "/api/v1/silences/{}{}",
                    encoded(&id),
                    by.unwrap_or_default()
                );
                (daemon.delete(&path).await?, output)
            }
        };
        match output {
            Output::Json => print_json(&silence)?,
            Output::Text => print(&line(&silence))?,
        }
        Ok(Exit::Done)
    }
}

fn table(silences: &[Value]) -> String {
    if silences.is_empty() {
        return "no silences\n".to_owned();
    }
    silences.iter().map(line).collect()
}

fn line(silence: &Value) -> String {
    let matchers: Vec<&str> = items(silence, "matchers")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let is = |name: &str| silence.get(name) == Some(&Value::Bool(true));
    let mut notes = String::new();
    let incidents: Vec<String> = items(silence, "incidents")
        .iter()
        .map(|number| format!("#{number}"))
        .collect();
    if !incidents.is_empty() {
        notes.push_str(&format!("; mutes {}", incidents.join(", ")));
    }
    if is("expires_soon") {
        notes.push_str("; ends within a day");
    }
    if is("forgotten") {
        notes.push_str("; has muted nothing for weeks");
    }
    format!(
        "{} {:<7} {} to {} {} by {}: {}{notes}\n",
        text(silence, "id"),
        text(silence, "state"),
        text(silence, "starts_at"),
        text(silence, "ends_at"),
        matchers.join(", "),
        text(silence, "by"),
        text(silence, "reason"),
    )
}
