//! `store`: backup of a running daemon's store, restore and verification of one that is not running.

use crate::app::files::StoreAt;
use crate::app::open::configured_store;
use crate::cli::client::Daemon;
use crate::cli::{Exit, Output, WrongCall, block_on, print, print_json};
use crate::clock;
use crate::config::Environment;
use crate::store::copy::{self, Sum};
use crate::store::engine::Engine;
use crate::store::postgres::{self, Address, PostgresEngine};
use crate::store::sled::{Settings, SledEngine, verify_store};
use crate::store::{Error, backup};
use anyhow::{Context, bail};
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
    /// Put a backup in the place of the store; the daemon must be stopped and the store's directory or database empty
    Restore {
        file: PathBuf,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Copy everything from one store to another, empty one: `sled:DIR` or `postgres://user@host/database`. Daemons of the
    /// one copied to, and of an embedded one copied from, must be stopped
    Copy {
        /// Where everything is
        #[arg(long, value_name = "URL")]
        from: String,
        /// Where it shall be
        #[arg(long, value_name = "URL")]
        to: String,
        /// A file with the password of the database copied from
        #[arg(long, value_name = "FILE")]
        from_password: Option<PathBuf>,
        /// A file with the password of the database copied to
        #[arg(long, value_name = "FILE")]
        to_password: Option<PathBuf>,
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Check a backup file, or, without one, the whole store: that of a stopped daemon, or the database
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
                let at = configured_store(config, environment)?;
                let (info, shown) = match at {
                    StoreAt::Sled(dir) => {
                        let shown = dir.display().to_string();
                        (backup::restore(&file, &dir, &mut progress()), shown)
                    }
                    StoreAt::Postgres(to) => {
                        let shown = to.address.shown().to_owned();
                        let restored = copy::restore_to_database(&file, &to, &mut progress());
                        (restored, shown)
                    }
                };
                let info =
                    info.with_context(|| format!("cannot restore {} to {shown}", file.display()))?;
                let text = format!("restored {} records to {shown}\n", info.n_records);
                tell(
                    output,
                    &text,
                    &json!({ "records": info.n_records, "sequence": info.sequence }),
                )?;
            }
            Self::Copy {
                from,
                to,
                from_password,
                to_password,
                output,
            } => {
                let from = place(&from, from_password.as_deref())?;
                let to = place(&to, to_password.as_deref())?;
                let sum = run_copy(&from, &to)
                    .with_context(|| format!("cannot copy {} to {}", shown(&from), shown(&to)))?;
                let text = format!(
                    "copied {} records from {} to {}, and read them back: sha256 {}\n",
                    sum.n_records,
                    shown(&from),
                    shown(&to),
                    sum.sha256
                );
                tell(
                    output,
                    &text,
                    &json!({ "records": sum.n_records, "sha256": sum.sha256 }),
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
                let at = configured_store(config, environment)?;
                let (sequence, sum) = verify(&at)
                    .with_context(|| format!("the store at {} is not whole", shown(&at)))?;
                let text = format!(
                    "whole: {} records, sequence {sequence}, sha256 {}\n",
                    sum.n_records, sum.sha256
                );
                tell(
                    output,
                    &text,
                    &json!({ "records": sum.n_records, "sequence": sequence, "sha256": sum.sha256 }),
                )?;
            }
        }
        Ok(Exit::Done)
    }
}

/// Looks through a whole store.
fn verify(at: &StoreAt) -> Result<(u64, Sum), Error> {
    if let StoreAt::Sled(dir) = at {
        verify_store(dir, &Settings::new(clock::wall), &mut progress())?;
    }
    let engine = open(at)?;
    let sum = copy::check(engine.view().as_ref(), &mut progress())?;
    let sequence = engine.status().sequence;
    engine.close()?;
    Ok((sequence, sum))
}

fn run_copy(from: &StoreAt, to: &StoreAt) -> anyhow::Result<Sum> {
    let engine = open(from)?;
    let (view, sequence) = (engine.view(), engine.status().sequence);
    let sum = match to {
        StoreAt::Postgres(to) => copy::to_database(view.as_ref(), sequence, to, &mut progress())?,
        StoreAt::Sled(dir) => {
            let made_at = clock::wall();
            let read = copy::to_directory(view.as_ref(), sequence, dir, made_at, &mut progress())?;
            let (_sequence, written) = verify(to)?;
            if written != read {
                bail!(
                    "what was read back is not what was copied: {written:?}, {read:?} was wanted"
                );
            }
            read
        }
    };
    drop(view);
    engine.close()?;
    Ok(sum)
}

/// Opens a store that is there.
pub(super) fn open(at: &StoreAt) -> Result<Box<dyn Engine>, Error> {
    match at {
        StoreAt::Sled(dir) => {
            if !dir.exists() {
                return Err(Error::Missing {
                    what: dir.display().to_string(),
                });
            }
            Ok(Box::new(SledEngine::open(dir, Settings::new(clock::wall))?))
        }
        StoreAt::Postgres(settings) => {
            if !PostgresEngine::exists(settings)? {
                return Err(Error::Missing {
                    what: settings.address.shown().to_owned(),
                });
            }
            Ok(Box::new(PostgresEngine::open((**settings).clone())?))
        }
    }
}

/// The store that a URL of the command line names.
fn place(url: &str, password: Option<&Path>) -> anyhow::Result<StoreAt> {
    if let Some(dir) = url.strip_prefix("sled:").filter(|dir| !dir.is_empty()) {
        return Ok(StoreAt::Sled(dir.into()));
    }
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        bail!(WrongCall(format!(
            "a store such as sled:data or postgres://user@host/watchkeeper is wanted, found {}:…",
            url.split(':').next().unwrap_or_default()
        )));
    }
    let password = password
        .map(|file| {
            std::fs::read_to_string(file)
                .with_context(|| format!("cannot read the password in {}", file.display()))
        })
        .transpose()?;
    let password = password.as_deref().map(str::trim_end);
    let address = Address::parse(url, password)
        .map_err(|bad| WrongCall(format!("the url of the database cannot be used: {bad}")))?;
    let settings = postgres::Settings::new(address, clock::both);
    Ok(StoreAt::Postgres(Box::new(settings)))
}

fn shown(at: &StoreAt) -> String {
    match at {
        StoreAt::Sled(dir) => dir.display().to_string(),
        StoreAt::Postgres(settings) => settings.address.shown().to_owned(),
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
