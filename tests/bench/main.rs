//! The bench: how much Watchkeeper takes beside Alertmanager and a server that keeps nothing, how fast it pages, and what
//! it holds in memory and on disk. `cargo bench --bench ingest -- --help` says what can be asked.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a program for a person at a terminal, over bytes that it wrote itself"
)]

mod alerts;
mod axum_server;
mod backtest;
mod client;
#[path = "../it/cluster.rs"]
#[expect(dead_code, reason = "the tests need more of it")]
mod cluster;
mod database;
mod disk;
mod growth;
mod ingest;
mod judge;
mod load;
mod page;
mod parse;
mod process;
mod resident;
mod servers;
mod space;
mod table;

use crate::ingest::Case;
use crate::load::Loaded;
use crate::servers::Kind;
use crate::table::{Output, Table};
use clap::Parser;
use std::cell::Cell;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// As the program itself: some of what is measured runs in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const QUICK_SECONDS: u64 = 2;

/// What can be asked for.
#[derive(Debug, Parser)]
#[command(name = "cargo bench --bench ingest --")]
struct Options {
    /// How long each server is loaded in each case of the comparison.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Stops a loaded server after so many seconds for the next one's turn, again and again. Default: never. It spreads
    /// a machine's moods, and costs the servers unequally: Alertmanager's CPU per alert rose by a quarter, ours by half that.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    turn: Option<u64>,
    /// Only these cases of the comparison.
    #[arg(long = "case")]
    cases: Vec<Case>,
    /// Two seconds each: shows that it runs, and nothing else.
    #[arg(long)]
    quick: bool,
    /// Instead of the comparison: how soon after a POST its page arrives.
    #[arg(long, group = "mode")]
    page: bool,
    /// Instead of the comparison: memory, start and lists with `--alerts` firing alerts.
    #[arg(long, group = "mode")]
    resident: bool,
    /// Instead of the comparison: how fast bodies of each kind are read, on one core.
    #[arg(long, group = "mode")]
    parse: bool,
    /// Instead of the comparison: what judging an alert costs beside ever more rules, on one core.
    #[arg(long, group = "mode")]
    judge: bool,
    /// Instead of the comparison: embedded, one and two replicas on `PostgreSQL`, and Alerta on that (it is installed from
    /// `PyPI`).
    #[arg(long, group = "mode")]
    database: bool,
    /// Instead of the comparison: what an alert costs beside ever more others, up to `--alerts`.
    #[arg(long, group = "mode")]
    growth: bool,
    /// Instead of the comparison: the disk that `--alerts` alerts take over a simulated week, and the start after a crash.
    #[arg(long, group = "mode")]
    space: bool,
    /// Instead of the comparison: how fast a simulated month of `--alerts` alerts is judged again by other rules.
    #[arg(long, group = "mode")]
    backtest: bool,
    /// How many alerts; 100 000 for `--resident`, else 1 000 000.
    #[arg(long)]
    alerts: Option<u64>,
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Where the servers keep their data.
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    directory: PathBuf,
    /// Is the server that keeps nothing, in a process of its own.
    #[arg(long, hide = true)]
    axum: bool,
    /// Cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What every mode needs.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) directory: PathBuf,
    pub(crate) turn: Duration,
    /// Whether a request failed that should not: the numbers are not to be trusted, and the exit code says so.
    failed: Cell<bool>,
}

impl Setup {
    /// Says what goes on, beside what is printed in the end.
    pub(crate) fn say(&self, what: &str) {
        eprintln!("bench: {what}");
    }

    /// Something failed that should not.
    pub(crate) fn fail(&self, what: &str) {
        self.failed.set(true);
        self.say(what);
    }

    /// Requests that failed are no part of any number; nobody is to overlook them.
    pub(crate) fn complain(&self, kind: Kind, loaded: &Loaded) {
        if let Some(first) = &loaded.first_error {
            self.failed.set(true);
            let (name, n) = (kind.name(), loaded.n_errors);
            self.say(&format!(
                "{name}: {n} requests failed, the first with: {first}"
            ));
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    if options.axum {
        axum_server::serve()?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(options))
}

async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let setup = Setup {
        directory: options.directory.clone(),
        turn: options.turn.map_or(Duration::MAX, Duration::from_secs),
        failed: Cell::new(false),
    };
    let alerts = |default: u64| options.alerts.unwrap_or(default);
    let tables = if options.page {
        page::run(&setup).await?
    } else if options.resident {
        resident::run(&setup, alerts(100_000)).await?
    } else if options.parse {
        parse::run(seconds(&options))?
    } else if options.judge {
        judge::run(seconds(&options))?
    } else if options.database {
        database::run(&setup, seconds(&options)).await?
    } else if options.growth {
        growth::run(&setup, alerts(1_000_000)).await?
    } else if options.space {
        space::run(&setup, alerts(1_000_000)).await?
    } else if options.backtest {
        backtest::run(&setup, alerts(1_000_000))?
    } else {
        compare(&setup, &options).await?
    };
    table::print(options.output, &tables);
    Ok(if setup.failed.get() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn seconds(options: &Options) -> Duration {
    Duration::from_secs(match options.quick {
        true => QUICK_SECONDS,
        false => options.seconds,
    })
}

async fn compare(setup: &Setup, options: &Options) -> anyhow::Result<Vec<Table>> {
    let cases = match options.cases.as_slice() {
        [] => Case::ALL.as_slice(),
        some => some,
    };
    ingest::run(setup, cases, seconds(options)).await
}
