//! How fast stored history is judged again, and what that holds in memory: alerts of a simulated month on the embedded store, by
//! the same rules and by others.

use crate::Setup;
use crate::process::{forget_peak, peak, resident};
use crate::table::{Cell, Table, as_f64};
use anyhow::{Context as _, ensure};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;
use watchkeeper::clock;
use watchkeeper::config::{self, Environment};
use watchkeeper::domain::alert::{Labels, Said, Sighting, Signal};
use watchkeeper::domain::time::{Moment, Timestamp};
use watchkeeper::engine::{Engine, SharedHealth};
use watchkeeper::rules;
use watchkeeper::simulate::backtest::sums::Span;
use watchkeeper::simulate::backtest::{ACKNOWLEDGE_AFTER, Asked, run as judge};
use watchkeeper::store::engine::{Class, Engine as _};
use watchkeeper::store::intake::record;
use watchkeeper::store::report::Report;
use watchkeeper::store::sled::{Settings, SledEngine};
use watchkeeper::store::sweep::Retention;
use watchkeeper::store::{InForce, Store, unrefused};

/// Dedup keys of the rules that are live.
const SERVICES_MAX: u64 = 3_000;

/// Alerts of each key, at the least.
const PER_SERVICE: u64 = 20;

/// Alerts of one report.
const PER_REPORT: u64 = 50;

/// How long each alert fires, in reports.
const FIRES_FOR: u64 = 10;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const MONTH: Duration = Duration::from_secs(30 * 86_400);

const LIVE: &str = "[[rule]]\nname = \"all\"\nmatch = ['alertname=~\".+\"']\ndedup_key = \"{{ labels.service }}\"\n\
                    severity = { label = \"severity\", map = { critical = \"SEV4\" }, default = \"SEV5\" }\n\
                    verification = { check = \"0 9 * * *\", for = \"1d\" }\n";

const OTHERS: &str = "[[rule]]\nname = \"all\"\nmatch = ['severity=\"critical\"']\n\
                      dedup_key = \"{{ labels.service }}/{{ labels.cluster }}\"\nseverity = \"SEV4\"\nopen = { after = \"2m\" }\n\
                      verification = { check = \"0 9 * * *\", for = \"1d\" }\n";

pub(crate) fn run(setup: &Setup, n_alerts: u64) -> anyhow::Result<Vec<Table>> {
    ensure!(
        n_alerts >= PER_REPORT,
        "at least {PER_REPORT} alerts are wanted"
    );
    let folder = TempDir::with_prefix_in("bench-", &setup.directory)?;
    setup.say("backtest: a month of alerts comes in");
    let (live, others) = (in_force(LIVE)?, in_force(OTHERS)?);
    let span = fill(folder.path(), &live, n_alerts)?;
    let mut table = Table::new(
        format!("{n_alerts} alerts of a month, each fired and resolved, judged again"),
        &[
            "rules",
            "took s",
            "alerts/s",
            "keys that differ",
            "RSS MiB before",
            "peak RSS MiB",
        ],
    );
    for (name, tried) in [("the same", &live), ("others", &others)] {
        setup.say(&format!("backtest: by {name}"));
        let sled = SledEngine::open(folder.path(), Settings::new(clock::wall))?;
        let store = Store::new(Arc::new(sled));
        let asked = Asked {
            span,
            acknowledge_after: ACKNOWLEDGE_AFTER,
            tried: tried.clone(),
            against: None,
        };
        let before = resident(std::process::id())?;
        forget_peak()?;
        let began = Instant::now();
        let report = judge(&store, &asked, &live.rules, &mut |_progress| {
            ControlFlow::Continue(())
        })?;
        let took = began.elapsed().as_secs_f64();
        store.engine().close()?;
        ensure!(
            report.fired == n_alerts,
            "{} alerts were judged",
            report.fired
        );
        table.row(vec![
            Cell::text(name),
            Cell::Number(took, 1),
            Cell::Number(as_f64(n_alerts) / took, 0),
            Cell::count(report.differ),
            Cell::mib(before),
            Cell::mib(peak()?),
        ]);
    }
    Ok(vec![table])
}

/// Everything that comes in, in the time that it took.
fn fill(directory: &Path, in_force: &InForce, n_alerts: u64) -> anyhow::Result<Span> {
    let sled = Arc::new(SledEngine::open(directory, Settings::new(clock::wall))?);
    let store = Store::new(Arc::clone(&sled) as Arc<dyn watchkeeper::store::engine::Engine>);
    let retention = Retention {
        alerts: 90 * DAY,
        changes: 90 * DAY,
        dead_letters: 10_000,
    };
    let mut engine =
        Engine::new(store.clone(), retention, SharedHealth::default()).looking_rarely(DAY);
    let n_reports = n_alerts / PER_REPORT;
    let between = MONTH / u32::try_from(n_reports + FIRES_FOR)?;
    let since = clock::wall().minus(MONTH);
    let mut at = Moment::at(since);
    let mut next;
    for nth in 0..n_reports + FIRES_FOR {
        if nth < n_reports {
            take(
                &store,
                in_force,
                report(nth, n_alerts, Signal::Firing),
                at.now,
            )?;
        }
        if let Some(ended) = nth.checked_sub(FIRES_FOR) {
            take(
                &store,
                in_force,
                report(ended, n_alerts, Signal::Resolved),
                at.now.shifted(1),
            )?;
        }
        // What came in may be due at once.
        next = at.now;
        let end = at.now.plus(between);
        while next <= end {
            at = moved(at, next.max(at.now));
            let due = engine.step(in_force, at)?;
            next = due.max(at.now.shifted(1));
        }
        at = moved(at, end);
    }
    drop((engine, store));
    sled.close()?;
    Ok(Span {
        since,
        until: at.now.plus(MINUTE),
    })
}

fn moved(mut at: Moment, to: Timestamp) -> Moment {
    at.elapsed += to.since(at.now);
    at.now = to;
    at
}

fn take(store: &Store, in_force: &InForce, report: Report, now: Timestamp) -> anyhow::Result<()> {
    let in_force = in_force.clone();
    let work = move |tx: &mut watchkeeper::store::Tx<'_, '_>| record(tx, &report, &in_force, now);
    unrefused(store.transact_blocking(Class::Intake, work))?;
    Ok(())
}

fn report(nth: u64, n_alerts: u64, said: Signal) -> Report {
    let first = nth * PER_REPORT;
    let sightings = (first..(first + PER_REPORT).min(n_alerts))
        .map(|n| sighting(n, (n_alerts / PER_SERVICE).clamp(1, SERVICES_MAX), said));
    Report {
        source: "alertmanager".to_owned(),
        kind: "alertmanager",
        sightings: sightings.collect(),
        acknowledged: Vec::new(),
        changes: Vec::new(),
        rejected: Vec::new(),
        scope: None,
    }
}

fn sighting(n: u64, n_services: u64, said: Signal) -> Sighting {
    let (instance, service) = (
        format!("host-{n}.example"),
        format!("service-{}", n % n_services),
    );
    let (cluster, severity) = (
        format!("c{}", n % 7),
        if n.is_multiple_of(5) {
            "critical"
        } else {
            "warning"
        },
    );
    let labels = [
        ("alertname", "HighErrorRate"),
        ("cluster", &cluster),
        ("instance", &instance),
        ("job", "node"),
        ("service", &service),
        ("severity", severity),
        ("team", "payments"),
    ];
    let summary = format!("{service} answers more than 5 % of its requests with an error");
    let annotations = [
        ("summary", summary.as_str()),
        (
            "description",
            "look at the last deployment, then at the database behind it",
        ),
        ("runbook_url", "https://runbooks.example/high-error-rate"),
    ];
    Sighting {
        labels: labels.into_iter().collect(),
        annotations: annotations.into_iter().collect(),
        attributes: Labels::default(),
        severity: Some(severity.to_owned()),
        starts_at: None,
        ends_at: None,
        said: Said::Signal(said),
    }
}

/// The built-in configuration with these rules.
fn in_force(text: &str) -> anyhow::Result<InForce> {
    let loaded = config::load(None, &Environment::default());
    let config = loaded
        .config
        .context("the built-in configuration is whole")?;
    let context = rules::Context {
        zone: config.server.zone,
        matrix: &config.matrix,
        book: &config.book,
    };
    let loaded = rules::load_texts(&[("all.toml", text)], context);
    let rules = loaded
        .rules
        .with_context(|| format!("{:?}", loaded.findings))?;
    Ok(InForce {
        rules: Arc::new(rules),
        book: Arc::new(config.book),
    })
}
