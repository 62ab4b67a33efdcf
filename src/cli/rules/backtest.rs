//! `rules backtest`: history judged by the rules on disk, beside what happened or beside other rules; by the running daemon, or on the
//! store that the configuration names.

use crate::app::BadFiles;
use crate::app::files::{StoreAt, show, store_at};
use crate::cli::client::Daemon;
use crate::cli::store::open;
use crate::cli::{Exit, Output, WrongCall, block_on, print, print_json};
use crate::clock;
use crate::config::{Config, Environment, RulesFrom, load};
use crate::domain::finding::Finding;
use crate::domain::rule::RuleSet;
use crate::domain::time::{parse_span, show_span};
use crate::rules::{self, Context as RulesContext, load_builtin, load_dir};
use crate::simulate::backtest::report::{InWords, Report};
use crate::simulate::backtest::{ACKNOWLEDGE_AFTER, Asked, Progress, run, span};
use crate::store::{Error, InForce, Store};
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of rules that a daemon takes.
const RULES_MAX_BYTES: u64 = 4 << 20;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Backtest {
    /// How much of history: the last 30d, 12h
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    since: Duration,
    /// The rules that are tried [default: those of the configuration]
    #[arg(long, value_name = "DIR")]
    rules: Option<PathBuf>,
    /// Rules to compare these with [default: what happened]
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// How long after a page somebody acknowledges an incident that did not happen
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    acknowledge_after: Option<Duration>,
    /// How many keys that differ are shown
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// A rule set that can be loaded, and from where.
struct Tried {
    rules: RuleSet,
    from: RulesFrom,
}

impl Backtest {
    pub(super) fn run(
        self,
        directory: Option<&Path>,
        environment: &Environment,
    ) -> anyhow::Result<Exit> {
        let loaded = load(directory, environment);
        let Some(config) = loaded.config else {
            return Err(BadFiles(show(&loaded.findings)).into());
        };
        let named = |dir: &Option<PathBuf>| match dir {
            Some(dir) if !dir.is_dir() => Err(WrongCall(format!(
                "there is no directory {}",
                dir.display()
            ))),
            Some(dir) => Ok(RulesFrom::Directory(dir.clone())),
            None => Ok(config.rules.clone()),
        };
        let mut findings = Vec::new();
        let tried = tried(named(&self.rules)?, &config, &mut findings);
        let against = match &self.against {
            None => None,
            dir => Some(tried_against(named(dir)?, &config, &mut findings)),
        };
        let (Some(tried), Some(against)) = (tried, against.map_or(Some(None), |it| it.map(Some)))
        else {
            print(&show(&findings))?;
            return Ok(Exit::No);
        };
        let mut shown = Shown::default();
        let report = self.report(&tried, against.as_ref(), &config, environment, &mut shown);
        shown.end();
        let report = report?;
        match self.output {
            Output::Json => print_json(&serde_json::to_value(&report)?)?,
            Output::Text => {
                let words = InWords {
                    report: &report,
                    limit: self.limit,
                };
                print(&words.to_string())?;
            }
        }
        Ok(Exit::Done)
    }

    /// By the daemon that is named; else from the store, or by the daemon that has it.
    fn report(
        &self,
        tried: &Tried,
        against: Option<&Tried>,
        config: &Config,
        environment: &Environment,
        shown: &mut Shown,
    ) -> anyhow::Result<Report> {
        if environment.daemon_url().is_some() {
            return self.ask(tried, against, environment, shown);
        }
        let at = store_at(&config.store).map_err(|finding| BadFiles(format!("{finding}\n")))?;
        match open(&at) {
            Ok(engine) => {
                let store = Store::new(Arc::from(engine));
                let report = self.judge(&store, tried, against, config, shown);
                store.engine().close()?;
                report
            }
            Err(Error::Locked { .. }) => self.ask(tried, against, environment, shown),
            Err(error) => Err(error).with_context(|| match &at {
                StoreAt::Sled(dir) => format!("cannot open the store at {}", dir.display()),
                StoreAt::Postgres(settings) => {
                    format!("cannot open the store on {}", settings.address.shown())
                }
            }),
        }
    }

    fn judge(
        &self,
        store: &Store,
        tried: &Tried,
        against: Option<&Tried>,
        config: &Config,
        shown: &mut Shown,
    ) -> anyhow::Result<Report> {
        let asked = Asked {
            span: span(self.since, clock::wall()),
            acknowledge_after: self.acknowledge_after.unwrap_or(ACKNOWLEDGE_AFTER),
            tried: InForce {
                rules: Arc::new(tried.rules.clone()),
                book: Arc::new(config.book.clone()),
            },
            against: against.map(|tried| Arc::new(tried.rules.clone())),
        };
        // What the configuration names is what was live, so far as anybody knows.
        let live = load_from(&config.rules, config).rules;
        let live = live.unwrap_or_default();
        let report = run(store, &asked, &live, &mut |progress| {
            shown.show(progress);
            ControlFlow::Continue(())
        });
        report.context("history could not be judged")
    }

    fn ask(
        &self,
        tried: &Tried,
        against: Option<&Tried>,
        environment: &Environment,
        shown: &mut Shown,
    ) -> anyhow::Result<Report> {
        let daemon = Daemon::of(environment)?;
        let mut body = json!({
            "since": show_span(self.since),
            "rules": files(&tried.from)?,
        });
        if let Some(body) = body.as_object_mut() {
            if let Some(against) = against {
                body.insert("against".to_owned(), files(&against.from)?);
            }
            if let Some(after) = self.acknowledge_after {
                body.insert("acknowledge_after".to_owned(), json!(show_span(after)));
            }
        }
        let mut report = None;
        let path = "/api/v1/rules/backtest";
        block_on(daemon.post_for_lines(path, &body, &mut |mut line: Value| {
            if let Some(progress) = line.get("progress") {
                shown.show(progress_of(progress));
            }
            if let Some(error) = line.get("error").and_then(Value::as_str) {
                bail!("{error}");
            }
            if let Some(found) = line.get_mut("report") {
                report = Some(serde_json::from_value(found.take())?);
            }
            Ok(())
        }))?;
        report.with_context(|| format!("the daemon at {} ended before its report", daemon.url()))
    }
}

fn tried(from: RulesFrom, config: &Config, findings: &mut Vec<Finding>) -> Option<Tried> {
    let loaded = load_from(&from, config);
    findings.extend(loaded.findings);
    loaded.rules.map(|rules| Tried { rules, from })
}

/// The same, which says nothing twice where both are the same directory.
fn tried_against(from: RulesFrom, config: &Config, findings: &mut Vec<Finding>) -> Option<Tried> {
    let mut more = Vec::new();
    let tried = tried(from, config, &mut more);
    findings.extend(more);
    findings.sort();
    findings.dedup();
    tried
}

fn load_from(from: &RulesFrom, config: &Config) -> rules::LoadedRules {
    let context = RulesContext {
        zone: config.server.zone,
        matrix: &config.matrix,
        book: &config.book,
    };
    match from {
        RulesFrom::Directory(directory) => load_dir(directory, context),
        RulesFrom::BuiltIn => load_builtin(context),
    }
}

/// The files as a daemon takes them.
fn files(from: &RulesFrom) -> anyhow::Result<Value> {
    let texts = match from {
        RulesFrom::BuiltIn => vec![rules::builtin()],
        RulesFrom::Directory(directory) => {
            let files = rules::rule_files_of(directory)
                .with_context(|| format!("cannot read {}", directory.display()))?;
            let mut texts = Vec::with_capacity(files.len());
            let mut n_bytes = 0;
            for file in files {
                let text = std::fs::read_to_string(&file)
                    .with_context(|| format!("cannot read {}", file.display()))?;
                n_bytes += u64::try_from(text.len()).unwrap_or(u64::MAX);
                texts.push((file.display().to_string(), text));
            }
            if n_bytes >= RULES_MAX_BYTES {
                bail!("the rules are {n_bytes} bytes; a daemon takes {RULES_MAX_BYTES}");
            }
            texts
        }
    };
    let files = texts.into_iter();
    Ok(files
        .map(|(name, text)| json!({ "name": name, "text": text }))
        .collect())
}

fn progress_of(value: &Value) -> Progress {
    let number = |name: &str| value.get(name).and_then(Value::as_u64);
    match (number("judged"), number("of")) {
        (Some(done), Some(of)) => Progress::Judged { done, of },
        _reading => Progress::Read(number("read").unwrap_or(0)),
    }
}

/// What stands on the terminal, where there is one, of how far it is.
#[derive(Debug, Default)]
struct Shown {
    line: String,
}

impl Shown {
    fn show(&mut self, progress: Progress) {
        let line = match progress {
            Progress::Read(read) => format!("reading history: {read} changes of alerts"),
            Progress::Judged { done, of } => {
                let percent = done.saturating_mul(100).checked_div(of).unwrap_or(100);
                format!("judging again: {percent} % of {of} changes of alerts")
            }
        };
        if line != self.line {
            self.put(&line);
            self.line = line;
        }
    }

    fn end(&mut self) {
        if !self.line.is_empty() {
            self.put("");
            self.line.clear();
        }
    }

    fn put(&self, line: &str) {
        let mut terminal = std::io::stderr();
        if terminal.is_terminal() {
            let width = self.line.len();
            // A sign of life that cannot be shown is not missed.
            drop(write!(terminal, "\r{line:<width$}\r{line}"));
        }
    }
}
