//! What many alerts take on disk over a simulated week, from the first to the sweep; and how soon the program is ready
//! when it is killed while they come in.

use crate::Setup;
use crate::alerts::{Body, Shape, Status, Template, Times};
use crate::disk::{allocated, by_entry};
use crate::ingest::{MANY, SERVICES};
use crate::load::{Generator, Ids};
use crate::process::resident;
use crate::servers::{Kind, Server};
use crate::table::{Cell, Table, as_f64};
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;
use watchkeeper::clock;
use watchkeeper::config::{self, Environment};
use watchkeeper::domain::source;
use watchkeeper::domain::time::{Moment, Timestamp};
use watchkeeper::engine::{Engine, SharedHealth};
use watchkeeper::ingest;
use watchkeeper::rules;
use watchkeeper::store::engine::{Class, Engine as _, FIRST, LAST, Order};
use watchkeeper::store::intake::record;
use watchkeeper::store::report::Report;
use watchkeeper::store::sled::{Settings, SledEngine};
use watchkeeper::store::sweep::{Retention, sweep};
use watchkeeper::store::{InForce, Store, unrefused};

/// How often each alert is repeated.
const REPEATS: u64 = 20;

/// Alerts of one report.
const PER_REPORT: u64 = 500;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Kills while alerts come in, spread over the load.
const KILLS: u64 = 5;

/// How often it is looked whether it is time to kill.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Looks at the disk in each stage, for the most that lay on it.
const LOOKS: u64 = 50;

/// Incidents that close by themselves, an hour after the last alert is resolved.
const RULES: &str = "[[rule]]\nname = \"all\"\nmatch = ['alertname=~\".+\"']\nseverity = \"SEV5\"\n\
                     verification = { check = \"*/10 * * * *\", for = \"1h\" }\n";

pub(crate) async fn run(setup: &Setup, n_alerts: u64) -> anyhow::Result<Vec<Table>> {
    let crashes = crashes(setup, n_alerts).await?;
    let [week, tables] = week(setup, n_alerts)?;
    Ok(vec![week, tables, crashes])
}

// ---- killed while alerts come in ----

async fn crashes(setup: &Setup, n_alerts: u64) -> anyhow::Result<Table> {
    let mut table = Table::new(
        "Killed (kill -9) while alerts come in, 50 per request",
        &["alerts sent", "journal MiB", "all MiB", "ready after ms"],
    );
    let mut server = Server::start(Kind::Watchkeeper, &setup.directory, None).await?;
    let times = Times::now();
    let mut first = 0;
    for nth in 1..=KILLS {
        setup.say(&format!("space: kill {nth} of {KILLS}"));
        let shape = server.shape(MANY, Status::Firing, SERVICES, &times);
        let mut generator = Generator::new(&shape);
        let ids = Ids::once(first, n_alerts);
        let until = n_alerts * nth / KILLS - first;
        let data = server.data();
        let killed = async {
            // The last kill comes when everything was sent just now.
            while ids.n_taken() < until {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            let began = by_entry(&data)?;
            anyhow::Ok((server.crash().await?, began))
        };
        // The requests that are cut off were not acknowledged: their failures are none.
        let (_cut_off, killed) = tokio::join!(generator.run(&ids, None), killed);
        let (took, lay) = killed?;
        first += until;
        table.row(vec![
            Cell::count(first),
            Cell::mib(lay.get("journal").copied().unwrap_or(0)),
            Cell::mib(lay.values().sum()),
            Cell::Number(took.as_secs_f64() * 1e3, 0),
        ]);
    }
    Ok(table)
}

// ---- a week ----

/// The program's own store, rules and engine in this process, by a clock that only this moves.
struct Week {
    folder: TempDir,
    sled: Arc<SledEngine>,
    store: Store,
    engine: Engine,
    in_force: InForce,
    at: Moment,
    next: Timestamp,
    peak_bytes: u64,
}

/// A part of the week.
struct Stage<'a> {
    name: &'a str,
    n_alerts: u64,
    began: Instant,
}

fn week(setup: &Setup, n_alerts: u64) -> anyhow::Result<[Table; 2]> {
    let mut table = Table::new(
        format!("{n_alerts} alerts over a simulated week, MiB on disk"),
        &[
            "after",
            "journal",
            "snapshots",
            "state",
            "all",
            "most",
            "live",
            "state to live",
            "all to live",
            "records",
            "took s",
            "alerts/s",
            "RSS MiB",
        ],
    );
    let mut tables = Table::new(
        "Live records by table, as named in src/store/keys.rs",
        &["after", "table", "records", "MiB"],
    );
    let mut week = Week::start(setup)?;
    let times = Times::now();
    let mut stage = |name, n, week: &mut Week, work: Work<'_>| -> anyhow::Result<()> {
        let stage = Stage::begin(setup, name, n);
        week.peak_bytes = 0;
        work(week)?;
        table.row(week.measure(&stage)?);
        Ok(())
    };
    let n = n_alerts;
    let fires = |week: &mut Week| week.report_all(n, 1, Status::Firing, HOUR, &times);
    let repeats = |week: &mut Week| week.report_all(n, REPEATS, Status::Firing, 7 * DAY, &times);
    let resolves = |week: &mut Week| week.report_all(n, 1, Status::Resolved, HOUR, &times);
    stage("loaded", n, &mut week, &fires)?;
    stage("repeated 20 times", n * REPEATS, &mut week, &repeats)?;
    stage("resolved", n, &mut week, &resolves)?;
    rows_of("resolved", &week.live()?, &mut tables);
    stage("incidents closed", 0, &mut week, &|week| week.pass(DAY))?;
    stage("swept", n, &mut week, &Week::sweep_all)?;
    rows_of("swept", &week.live()?, &mut tables);
    stage("checkpoint", 0, &mut week, &|week| {
        Ok(week.sled.checkpoint()?)
    })?;
    let opening = Stage::begin(setup, "opened again", 0);
    let mut week = week.opened_again()?;
    table.row(week.measure(&opening)?);
    Ok([table, tables])
}

/// What is done in a stage.
type Work<'a> = &'a dyn Fn(&mut Week) -> anyhow::Result<()>;

impl<'a> Stage<'a> {
    fn begin(setup: &Setup, name: &'a str, n_alerts: u64) -> Self {
        setup.say(&format!("space: {name}"));
        Self {
            name,
            n_alerts,
            began: Instant::now(),
        }
    }
}

impl Week {
    fn start(setup: &Setup) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix_in("bench-", &setup.directory)?;
        let (sled, store, engine) = open(folder.path())?;
        let at = Moment::at(clock::wall());
        Ok(Self {
            folder,
            sled,
            store,
            engine,
            in_force: in_force()?,
            next: at.now,
            at,
            peak_bytes: 0,
        })
    }

    /// Closes the store, and opens it as the next start of the program would.
    fn opened_again(self) -> anyhow::Result<Self> {
        self.sled.close()?;
        // It is in use until the last handle of it is gone.
        drop((self.engine, self.store, self.sled));
        let (sled, store, engine) = open(self.folder.path())?;
        Ok(Self {
            folder: self.folder,
            sled,
            store,
            engine,
            in_force: self.in_force,
            at: self.at,
            next: self.next,
            peak_bytes: 0,
        })
    }

    /// Every alert so many times, evenly over a span.
    fn report_all(
        &mut self,
        n_alerts: u64,
        times_each: u64,
        status: Status,
        span: Duration,
        times: &Times,
    ) -> anyhow::Result<()> {
        let shape = Shape {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            path: "/",
            body: Body::Webhook,
            status,
            name: "HighErrorRate".to_owned(),
            per_request: PER_REPORT,
            services: SERVICES,
            times: times.clone(),
        };
        let [mut template, _odd] = Template::pair(&shape);
        let per_round = n_alerts / PER_REPORT;
        let n_reports = per_round * times_each;
        let between = span / u32::try_from(n_reports)?;
        for nth in 0..n_reports {
            self.report(template.body(nth % per_round * PER_REPORT))?;
            self.pass(between)?;
            if nth % (n_reports / LOOKS).max(1) == 0 {
                self.look()?;
            }
        }
        Ok(())
    }

    fn report(&self, body: &[u8]) -> anyhow::Result<()> {
        let now = self.at.now;
        let parsed = ingest::parse(source::Kind::Alertmanager, &ingest::Post::of(body, now))?;
        let report = Report {
            changes: Vec::new(),
            scope: None,
            source: "alertmanager".to_owned(),
            kind: "alertmanager",
            sightings: parsed.sightings,
            acknowledged: Vec::new(),
            rejected: Vec::new(),
        };
        let in_force = self.in_force.clone();
        let work =
            move |tx: &mut watchkeeper::store::Tx<'_, '_>| record(tx, &report, &in_force, now);
        unrefused(self.store.transact_blocking(Class::Intake, work))?;
        Ok(())
    }

    /// Time passes; the engine steps when it asked for it, and at least every minute.
    fn pass(&mut self, span: Duration) -> anyhow::Result<()> {
        let end = self.at.now.plus(span);
        while self.next <= end {
            self.move_to(self.next.max(self.at.now));
            let next = self.engine.step(&self.in_force, self.at)?;
            self.next = next
                .min(self.at.now.plus(MINUTE))
                .max(self.at.now.shifted(1));
        }
        self.move_to(end);
        Ok(())
    }

    fn move_to(&mut self, at: Timestamp) {
        self.at.elapsed += at.since(self.at.now);
        self.at.now = at;
    }

    /// The retention has passed: sweeps until there is nothing left to sweep.
    fn sweep_all(&mut self) -> anyhow::Result<()> {
        let retention = retention();
        let now = self.at.now.plus(retention.alerts + DAY);
        for nth in 0.. {
            let swept = self
                .store
                .transact_blocking(Class::Engine, move |tx| sweep(tx, retention, now));
            if unrefused(swept)? == 0 {
                break;
            }
            if nth % LOOKS == 0 {
                self.look()?;
            }
        }
        Ok(())
    }

    fn look(&mut self) -> anyhow::Result<()> {
        self.peak_bytes = self.peak_bytes.max(allocated(self.folder.path())?);
        Ok(())
    }

    fn measure(&mut self, stage: &Stage<'_>) -> anyhow::Result<Vec<Cell>> {
        let took = stage.began.elapsed();
        self.look()?;
        let lies = by_entry(self.folder.path())?;
        let of = |name: &str| lies.get(name).copied().unwrap_or(0);
        let all: u64 = lies.values().sum();
        let live = self.live()?;
        let n_records = live.values().map(|(n, _)| n).sum();
        let live: u64 = live.values().map(|(_, bytes)| bytes).sum();
        let ratio = |bytes: u64| Cell::Number(as_f64(bytes) / as_f64(live), 1);
        let rate = match stage.n_alerts {
            0 => Cell::Nothing,
            n => Cell::Number(as_f64(n) / took.as_secs_f64(), 0),
        };
        Ok(vec![
            Cell::text(stage.name),
            Cell::mib(of("journal")),
            Cell::mib(of("snapshots")),
            Cell::mib(of("state")),
            Cell::mib(all),
            Cell::mib(self.peak_bytes),
            Cell::mib(live),
            ratio(of("state")),
            ratio(all),
            Cell::count(n_records),
            Cell::Number(took.as_secs_f64(), 1),
            rate,
            Cell::mib(resident(std::process::id())?),
        ])
    }

    /// The records of each table, by the byte that its keys begin with.
    fn live(&self) -> anyhow::Result<Live> {
        let mut live = Live::new();
        let view = self.sled.view();
        view.scan(FIRST, LAST, Order::Forward, &mut |key, value| {
            let table = key.first().copied().map_or('?', char::from);
            let (n, bytes) = live.entry(table).or_default();
            *n += 1;
            *bytes += u64::try_from(key.len() + value.len()).unwrap_or(u64::MAX);
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(live)
    }
}

/// How many records a table has, and the bytes of their keys and values.
type Live = BTreeMap<char, (u64, u64)>;

fn rows_of(when: &str, live: &Live, table: &mut Table) {
    for (name, (n, bytes)) in live {
        table.row(vec![
            Cell::text(when),
            Cell::text(*name),
            Cell::count(*n),
            Cell::mib(*bytes),
        ]);
    }
}

fn open(directory: &Path) -> anyhow::Result<(Arc<SledEngine>, Store, Engine)> {
    let sled = Arc::new(SledEngine::open(directory, Settings::new(clock::wall))?);
    let store = Store::new(Arc::clone(&sled) as Arc<dyn watchkeeper::store::engine::Engine>);
    let engine = Engine::new(store.clone(), retention(), SharedHealth::default());
    Ok((sled, store, engine))
}

/// What is kept by default.
fn retention() -> Retention {
    Retention {
        alerts: 90 * DAY,
        changes: 90 * DAY,
        dead_letters: 10_000,
    }
}

/// The built-in configuration, and rules whose incidents close by themselves.
fn in_force() -> anyhow::Result<InForce> {
    let loaded = config::load(None, &Environment::default());
    let Some(config) = loaded.config else {
        bail!(
            "the built-in configuration has errors: {:?}",
            loaded.findings
        );
    };
    let context = rules::Context {
        zone: config.server.zone,
        matrix: &config.matrix,
        book: &config.book,
    };
    let loaded = rules::load_texts(&[("all.toml", RULES)], context);
    let rules = loaded
        .rules
        .with_context(|| format!("{:?}", loaded.findings))?;
    Ok(InForce {
        rules: Arc::new(rules),
        book: Arc::new(config.book),
    })
}
