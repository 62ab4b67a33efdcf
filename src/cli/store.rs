//! `store`: backup of a running daemon's store, restore and verification of one that is not running.

use crate::app::embedded_store;
use crate::cli::client::Daemon;
use crate::cli::{Exit, Output, block_on, print, print_json};
use crate::clock;
use crate::config::Environment;
use crate::store::backup;
use crate::store::sled::{Settings, verify_store};
use anyhow::Context;
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf, absolute};

/// Records between two signs of progress.
const SHOWN_EVERY: u64 = 50_000;

#[derive(Debug, clap::Subcommand)]
pub(super) enum StoreCommand {
    /// Have the running daemon write a backup of one instant to a file
    Backup {
        file: PathBuf,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Put a backup in the place of the store; the daemon must be stopped and the store's directory empty
    Restore {
        file: PathBuf,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Check a backup file, or, without one, the whole store of a stopped daemon
    Verify {
        file: Option<PathBuf>,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

impl StoreCommand {
    pub(super) fn run(
        self,
        config: Option<&Path>,
        environment: &Environment,
    ) -> anyhow::Result<Exit> {
        match self {
            Self::Backup { file, output } => {
                let path =
                    absolute(&file).with_context(|| format!("cannot find {}", file.display()))?;
                let daemon = Daemon::of(environment)?;
                let answer = block_on(daemon.post("/api/v1/backup", &json!({ "path": path })))?;
                match output {
                    Output::Json => print_json(&answer)?,
                    Output::Text => print(&format!("backup written to {}\n", path.display()))?,
                }
            }
            Self::Restore { file, output } => {
                let dir = embedded_store(config, environment)?;
                let info = backup::restore(&file, &dir, &mut progress()).with_context(|| {
                    format!("cannot restore {} to {}", file.display(), dir.display())
                })?;
                let text = format!("restored {} records to {}\n", info.n_records, dir.display());
                tell(
                    output,
                    &text,
                    &json!({ "records": info.n_records, "sequence": info.sequence }),
                )?;
            }
            Self::Verify {
                file: Some(file),
                output,
            } => {
                let info = backup::verify(&file, &mut progress())
                    .with_context(|| format!("{} is not a whole backup", file.display()))?;
                let text = format!("whole: {} records of {}\n", info.n_records, info.made_at);
                let made_at = info.made_at.to_string();
                tell(
                    output,
                    &text,
                    &json!({ "records": info.n_records, "sequence": info.sequence, "made_at": made_at }),
                )?;
            }
            Self::Verify { file: None, output } => {
                let dir = embedded_store(config, environment)?;
                let found = verify_store(&dir, &Settings::new(clock::wall), &mut progress())
                    .with_context(|| format!("the store at {} is not whole", dir.display()))?;
                let text = format!(
                    "whole: {} records, sequence {}\n",
                    found.n_records, found.sequence
                );
                tell(
                    output,
                    &text,
                    &json!({ "records": found.n_records, "sequence": found.sequence }),
                )?;
            }
        }
        Ok(Exit::Done)
    }
}

fn tell(output: Output, text: &str, value: &serde_json::Value) -> anyhow::Result<()> {
    match output {
        Output::Json => print_json(value),
        Output::Text => print(text),
    }
}

/// Shows on a terminal how far it is.
fn progress() -> impl FnMut(u64) {
    let shows = std::io::stderr().is_terminal();
    move |records| {
        if shows && records > 0 && records % SHOWN_EVERY == 0 {
            // A sign of life that cannot be shown is not missed.
            drop(write!(std::io::stderr(), "\r{records} records"));
        }
    }
}
