//! `dead-letters`: what a running daemon received and could not use, and that it reads it again after a fix.

use crate::cli::client::{Daemon, encoded, items, text};
use crate::cli::{Exit, Output, block_on, print, print_json};
use crate::config::Environment;
use serde_json::{Value, json};

#[derive(Debug, clap::Subcommand)]
pub(super) enum DeadLetters {
    /// The newest, with place and reason
    List {
        #[arg(long, default_value_t = 50)]
        limit: usize,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// One with all that is kept of it
    Show {
        id: u64,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Read one again as if it came now, or all of a source
    Replay {
        #[arg(required_unless_present = "source", conflicts_with = "source")]
        id: Option<u64>,
        /// All of this source, the oldest first
        #[arg(long)]
        source: Option<String>,
        /// Who has it done
        #[arg(long)]
        by: Option<String>,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

impl DeadLetters {
    pub(super) fn run(self, environment: &Environment) -> anyhow::Result<Exit> {
        let daemon = Daemon::of(environment)?;
        block_on(self.ask(&daemon))
    }

    async fn ask(self, daemon: &Daemon) -> anyhow::Result<Exit> {
        match self {
            Self::List { limit, output } => {
                let path = format!("/api/v1/dead-letters?limit={limit}");
                let answer = daemon.get(&path).await?;
                match output {
                    Output::Json => print_json(&answer)?,
                    Output::Text => print(&table(items(&answer, "dead_letters")))?,
                }
            }
            Self::Show { id, output } => {
                let letter = daemon.get(&format!("/api/v1/dead-letters/{id}")).await?;
                match output {
                    Output::Json => print_json(&letter)?,
                    Output::Text => {
                        print(&format!("{}\n{}\n", line(&letter), text(&letter, "item")))?;
                    }
                }
            }
            Self::Replay {
                id: Some(id),
                by,
                output,
                ..
            } => {
                let path = format!("/api/v1/dead-letters/{id}/replay");
                let letter = daemon.post(&path, &json!({ "by": by })).await?;
                match output {
                    Output::Json => print_json(&letter)?,
                    Output::Text => print(&format!("{}\n", line(&letter)))?,
                }
            }
            Self::Replay {
                id: None,
                source,
                by,
                output,
            } => return replay_all(daemon, &source.unwrap_or_default(), by, output).await,
        }
        Ok(Exit::Done)
    }
}

/// Goes on until none is left; the answer is no where some could still not be used.
async fn replay_all(
    daemon: &Daemon,
    source: &str,
    by: Option<String>,
    output: Output,
) -> anyhow::Result<Exit> {
    let (mut replayed, mut failed) = (Vec::new(), Vec::new());
    let mut cursor = String::new();
    loop {
        let query = format!("source={}{cursor}", encoded(source));
        let path = format!("/api/v1/dead-letters/replay?{query}");
        let answer = daemon.post(&path, &json!({ "by": by })).await?;
        let (those, not) = (items(&answer, "replayed"), items(&answer, "failed"));
        replayed.extend_from_slice(those);
        failed.extend_from_slice(not);
        if output == Output::Text {
            print(&progress(those.len(), not, &answer))?;
        }
        match text(&answer, "next") {
            "" => break,
            next => cursor = format!("&cursor={}", encoded(next)),
        }
    }
    let exit = match failed.is_empty() {
        true => Exit::Done,
        false => Exit::No,
    };
    if output == Output::Json {
        print_json(&json!({ "replayed": replayed, "failed": failed }))?;
    }
    Ok(exit)
}

fn progress(n_replayed: usize, failed: &[Value], answer: &Value) -> String {
    let n_left = answer.get("left").and_then(Value::as_u64).unwrap_or(0);
    let n_failed = failed.len();
    let mut said = format!("replayed {n_replayed}, failed {n_failed}, left {n_left}\n");
    for letter in failed {
        let id = letter.get("id").and_then(Value::as_u64).unwrap_or(0);
        said.push_str(&format!("#{id:<5} {}\n", text(letter, "reason")));
    }
    said
}

fn table(letters: &[Value]) -> String {
    if letters.is_empty() {
        return "no dead letters\n".to_owned();
    }
    letters
        .iter()
        .map(|letter| format!("{}\n", line(letter)))
        .collect()
}

fn line(letter: &Value) -> String {
    let id = letter.get("id").and_then(Value::as_u64).unwrap_or(0);
    let is_replayable = letter.get("replayable") == Some(&Value::Bool(true));
    let state = match letter
        .get("replayed")
        .filter(|replayed| !replayed.is_null())
    {
        Some(replayed) => format!(
            "replayed by {} at {}",
            text(replayed, "by"),
            text(replayed, "at")
        ),
        None if is_replayable => "waits for a replay".to_owned(),
        None => "cannot be replayed".to_owned(),
    };
    format!(
        "#{id:<5} {} {} ({state}) {}: {}",
        text(letter, "at"),
        text(letter, "source"),
        text(letter, "path"),
        text(letter, "reason"),
    )
}
