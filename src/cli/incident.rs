//! `incident`: lists, shows, opens, acknowledges and advances incidents of a running daemon.

use crate::cli::client::{Daemon, encoded, items, text};
use crate::cli::{Exit, Output, block_on, print, print_json};
use crate::config::Environment;
use serde_json::{Value, json};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Incident {
    /// Open incidents, newest first
    List {
        /// open, closed or all
        #[arg(long, default_value = "open")]
        status: String,
        #[arg(long)]
        severity: Option<String>,
        #[arg(long)]
        team: Option<String>,
        #[arg(long, default_value_t = 50)]
        limit: usize,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// One incident with its timeline
    Show {
        number: u64,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Report an incident; it pages at once
    Open {
        title: String,
        #[arg(long)]
        severity: Option<String>,
        #[arg(long)]
        description: Option<String>,
        #[arg(long)]
        team: Option<String>,
        /// engineering or customer
        #[arg(long, default_value = "engineering")]
        source: String,
        /// Who reports it
        #[arg(long)]
        by: Option<String>,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Acknowledge: paging stops
    Ack {
        number: u64,
        /// Who acknowledges
        #[arg(long)]
        by: Option<String>,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Go on to the next phase
    Advance {
        number: u64,
        #[arg(long)]
        by: Option<String>,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Close, once it is verified
    Close {
        number: u64,
        #[arg(long)]
        by: Option<String>,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

impl Incident {
    pub(super) fn run(self, environment: &Environment) -> anyhow::Result<Exit> {
        let daemon = Daemon::of(environment)?;
        block_on(self.ask(&daemon))?;
        Ok(Exit::Done)
    }

    async fn ask(self, daemon: &Daemon) -> anyhow::Result<()> {
        match self {
            Self::List {
                status,
                severity,
                team,
                limit,
                output,
            } => {
                let mut query = vec![format!("limit={limit}")];
                if status != "all" {
                    query.push(format!("status={}", encoded(&status)));
                }
                query.extend(severity.map(|severity| format!("severity={}", encoded(&severity))));
                query.extend(team.map(|team| format!("team={}", encoded(&team))));
                let answer = daemon
                    .get(&format!("/api/v1/incidents?{}", query.join("&")))
                    .await?;
                match output {
                    Output::Json => print_json(&answer),
                    Output::Text => print(&table(items(&answer, "incidents"))),
                }
            }
            Self::Show { number, output } => {
                let incident = daemon.get(&format!("/api/v1/incidents/{number}")).await?;
                let timeline = daemon
                    .get(&format!("/api/v1/incidents/{number}/timeline"))
                    .await?;
                match output {
                    Output::Json => print_json(
                        &json!({ "incident": incident, "timeline": items(&timeline, "timeline") }),
                    ),
                    Output::Text => print(&whole(&incident, items(&timeline, "timeline"))),
                }
            }
            Self::Open {
                title,
                severity,
                description,
                team,
                source,
                by,
                output,
            } => {
                let body = json!({
                    "title": title, "severity": severity, "description": description, "team": team,
                    "source": source, "by": by,
                });
                changed(&daemon.post("/api/v1/incidents", &body).await?, output)
            }
            Self::Ack { number, by, output } => {
                ask(daemon, number, "acknowledge", by, output).await
            }
            Self::Advance { number, by, output } => {
                ask(daemon, number, "advance", by, output).await
            }
            Self::Close { number, by, output } => ask(daemon, number, "close", by, output).await,
        }
    }
}

async fn ask(
    daemon: &Daemon,
    number: u64,
    what: &str,
    by: Option<String>,
    output: Output,
) -> anyhow::Result<()> {
    let answer = daemon
        .post(
            &format!("/api/v1/incidents/{number}/{what}"),
            &json!({ "by": by }),
        )
        .await?;
    changed(&answer, output)
}

fn changed(incident: &Value, output: Output) -> anyhow::Result<()> {
    match output {
        Output::Json => print_json(incident),
        Output::Text => print(&format!("{}\n", line(incident))),
    }
}

fn table(incidents: &[Value]) -> String {
    if incidents.is_empty() {
        return "no incidents\n".to_owned();
    }
    incidents
        .iter()
        .map(|incident| format!("{}\n", line(incident)))
        .collect()
}

fn line(incident: &Value) -> String {
    let number = incident.get("number").and_then(Value::as_u64).unwrap_or(0);
    let held = match text(incident, "acknowledged_by") {
        "" => "not acknowledged".to_owned(),
        by => format!("acknowledged by {by}"),
    };
    let clear = if incident.get("clear_since").is_none_or(Value::is_null) {
        ""
    } else {
        ", clear"
    };
    format!(
        "#{number:<5} {}  {:<19} {} ({held}{clear}) since {}",
        text(incident, "severity"),
        if text(incident, "status") == "closed" {
            "closed"
        } else {
            text(incident, "phase")
        },
        text(incident, "title"),
        text(incident, "opened_at"),
    )
}

/// `2026-03-02T08:54:00.000Z  succeeded  deployment of checkout 1.4.2 by ana: same service, 4 minutes before the first alert`.
fn changed_before(change: &Value) -> String {
    let by = match text(change, "by") {
        "" => String::new(),
        by => format!(" by {by}"),
    };
    let url = match text(change, "url") {
        "" => String::new(),
        url => format!(" ({url})"),
    };
    format!(
        "{}  {:<11} {}{by}: {}{url}",
        text(change, "at"),
        text(change, "status"),
        text(change, "summary"),
        text(change, "why"),
    )
}

fn whole(incident: &Value, timeline: &[Value]) -> String {
    let mut shown = format!("{}\n", line(incident));
    let missing: Vec<&str> = incident
        .pointer("/next/missing")
        .and_then(Value::as_array)
        .map(|missing| missing.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    if !missing.is_empty() {
        shown.push_str(&format!(
            "missing before it goes on: {}\n",
            missing.join(", ")
        ));
    }
    let changes = items(incident, "changes");
    if !changes.is_empty() {
        shown.push_str("changes to look at:\n");
    }
    for change in changes {
        shown.push_str(&format!("  {}\n", changed_before(change)));
    }
    for entry in timeline {
        shown.push_str(&format!("{}  {}\n", text(entry, "at"), text(entry, "text")));
    }
    shown
}
