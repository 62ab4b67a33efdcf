//! The command line: one file for each command, exit codes, output for people or as JSON.

mod check;
mod client;
mod dead_letters;
mod demo;
mod incident;
mod oncall;
mod rules;
mod serve;
mod silence;
mod store;

use crate::config::{Environment, default_directory};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use serde_json::Value;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// Takes an incident from the first alert to a verified close.
#[derive(Debug, Parser)]
#[command(
    name = "watchkeeper",
    version,
    arg_required_else_help = true,
    disable_help_subcommand = true
)]
struct Cli {
    /// Configuration directory [default: config where it exists, else /etc/watchkeeper]
    #[arg(long, global = true, value_name = "DIR")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Serve(serve::Serve),
    /// Validate configuration, rules and on-call readiness; exit 1 if there is an error
    Check(check::Check),
    /// Try rules before they are live
    #[command(subcommand)]
    Rules(rules::Rules),
    /// Work on incidents of a running daemon (`WATCHKEEPER_URL`, `WATCHKEEPER_TOKEN`)
    #[command(subcommand)]
    Incident(incident::Incident),
    /// What a running daemon could not use, and that it reads it again
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLetters),
    /// Silences of a running daemon: mute alerts for a span
    #[command(subcommand)]
    Silence(silence::Silence),
    /// Who is on call
    #[command(subcommand)]
    Oncall(oncall::Oncall),
    /// Backup, restore and verify the store
    #[command(subcommand)]
    Store(store::StoreCommand),
}

/// How a command prints data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    #[default]
    Text,
    Json,
}

/// How a command ended: done, the answer is no, or the call was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    No,
}

/// The call was wrong: what was asked cannot be, whatever the state of things.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongCall(pub(crate) String);

/// Runs the command of the process's arguments.
pub fn run() -> ExitCode {
    if std::env::args_os().len() <= 1 {
        // Alone it says what it can do; that is no wrong call.
        let help = Cli::command().render_help();
        return match print(&help.to_string()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_unprintable) => ExitCode::from(1),
        };
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; what cannot be printed need not be.
            drop(error.print());
            return if error.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match run_command(cli) {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::No) => ExitCode::from(1),
        Err(error) => {
            let is_wrong_call = error.is::<WrongCall>() || error.is::<crate::app::BadFiles>();
            print_error(&error);
            ExitCode::from(if is_wrong_call { 2 } else { 1 })
        }
    }
}

fn run_command(cli: Cli) -> anyhow::Result<Exit> {
    // Fails only where somebody chose a provider before: then there is one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let environment = Environment::of_process();
    let directory = match cli.config {
        Some(directory) if !directory.is_dir() => {
            return Err(WrongCall(format!("there is no directory {}", directory.display())).into());
        }
        Some(directory) => Some(directory),
        None => default_directory(),
    };
    match cli.command {
        Command::Serve(serve) => serve.run(directory, environment),
        Command::Check(check) => check.run(directory.as_deref(), &environment),
        Command::Rules(rules) => rules.run(directory.as_deref(), &environment),
        Command::Incident(incident) => incident.run(&environment),
        Command::DeadLetters(letters) => letters.run(&environment),
        Command::Silence(silence) => silence.run(&environment),
        Command::Oncall(oncall) => oncall.run(&environment),
        Command::Store(store) => store.run(directory.as_deref(), &environment),
    }
}

/// A runtime for commands that talk to a daemon.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

/// Prints to standard output; a reader that went away is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn print_json(value: &Value) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

fn print_error(error: &anyhow::Error) {
    let text = format!("{error:#}\n");
    let text = if error.is::<crate::app::BadFiles>() {
        text
    } else {
        format!("error: {text}")
    };
    // Nobody is left to be told where standard error is gone.
    drop(io::stderr().write_all(text.as_bytes()));
}
