//! The comparison on a database: Watchkeeper on its embedded store, one and two replicas of it on `PostgreSQL`, and Alerta on the same
//! `PostgreSQL`; each on a fresh cluster as `initdb` makes it, so that every answer is on disk.

use crate::Setup;
use crate::alerts::{Body, Shape, Status, Times};
use crate::client::Connection;
use crate::cluster::Cluster;
use crate::ingest::{MANY, NO_END, SERVICES};
use crate::load::{Generator, Ids, Loaded};
use crate::process::{kill, resident, tree_cpu};
use crate::servers::{Kind, Server};
use crate::table::{Cell, Table, as_f64};
use anyhow::{Context, bail, ensure};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

/// Alerta's processes; each has eight threads.
const WORKERS: &str = "4";

const READY_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Each is measured so often, in turns: a machine that others share is not as fast at one time as at another.
const ROUNDS_MAX: u32 = 4;

/// A round is no shorter, so that a short measurement has fewer.
const ROUND: Duration = Duration::from_secs(3);

/// Before the load, in which replicas hear of each other and Alerta's processes open what they need.
const SETTLES_FOR: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contender {
    Embedded,
    Replicas(usize),
    Alerta,
}

impl Contender {
    const ALL: [Self; 4] = [
        Self::Embedded,
        Self::Replicas(1),
        Self::Replicas(2),
        Self::Alerta,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Embedded => "watchkeeper, embedded",
            Self::Replicas(1) => "watchkeeper, 1 replica",
            Self::Replicas(_) => "watchkeeper, 2 replicas",
            Self::Alerta => "alerta",
        }
    }
}

/// What one of them did.
struct Measured {
    loaded: Loaded,
    cpu: Duration,
    database_cpu: Duration,
    resident_bytes: u64,
}

impl Measured {
    fn per_second(&self) -> f64 {
        as_f64(self.loaded.n_alerts) / self.loaded.took.as_secs_f64()
    }

    fn us_per_alert(&self, of: Duration) -> f64 {
        of.as_secs_f64() * 1e6 / as_f64(self.loaded.n_alerts)
    }

    fn add(&mut self, other: Self) {
        self.loaded.add(other.loaded);
        self.cpu += other.cpu;
        self.database_cpu += other.database_cpu;
        self.resident_bytes = self.resident_bytes.max(other.resident_bytes);
    }

    fn all_us(&self) -> f64 {
        self.us_per_alert(self.cpu + self.database_cpu)
    }
}

pub(crate) async fn run(setup: &Setup, span: Duration) -> anyhow::Result<Vec<Table>> {
    let rounds = (1..=ROUNDS_MAX)
        .rev()
        .find(|rounds| ROUND * *rounds <= span);
    let rounds = rounds.unwrap_or(1);
    let mut table = Table::new(
        format!(
            "Durable ingest on a database, {} s each in {rounds} rounds",
            span.as_secs()
        ),
        &[
            "case",
            "server",
            "alerts",
            "alerts/s",
            "CPU µs/alert",
            "of that database",
            "p50 ms",
            "p99 ms",
            "RSS MiB",
            "errors",
            "rate to Alerta's",
            "CPU to one replica's",
        ],
    );
    for (case, per_request) in [("new, 1 per request", 1), ("new, 50 per request", MANY)] {
        let mut all: Vec<(Contender, Measured)> = Vec::new();
        for round in 1..=rounds {
            for contender in Contender::ALL {
                setup.say(&format!("{case}, round {round}: {}", contender.name()));
                let measured = measure(setup, contender, per_request, span / rounds).await?;
                if let Some(first) = &measured.loaded.first_error {
                    setup.fail(&format!("{}: {first}", contender.name()));
                }
                match all.iter_mut().find(|(known, _)| *known == contender) {
                    Some((_, before)) => before.add(measured),
                    None => all.push((contender, measured)),
                }
            }
        }
        rows(case, &all, &mut table);
    }
    Ok(vec![table])
}

fn rows(case: &str, all: &[(Contender, Measured)], table: &mut Table) {
    let of = |wanted| all.iter().find(|(contender, _)| *contender == wanted);
    let peer = of(Contender::Alerta).map(|(_, peer)| peer.per_second());
    let one = of(Contender::Replicas(1)).map(|(_, one)| one.all_us());
    let ratio = |of: f64, to: Option<f64>| match to {
        Some(to) => Cell::Number(of / to, 2),
        None => Cell::Nothing,
    };
    for (contender, measured) in all {
        let latency = &measured.loaded.latency_us;
        table.row(vec![
            Cell::text(case),
            Cell::text(contender.name()),
            Cell::count(measured.loaded.n_alerts),
            Cell::Number(measured.per_second(), 0),
            Cell::Number(measured.all_us(), 1),
            Cell::Number(measured.us_per_alert(measured.database_cpu), 1),
            Cell::ms(latency.value_at_quantile(0.5)),
            Cell::ms(latency.value_at_quantile(0.99)),
            Cell::mib(measured.resident_bytes),
            Cell::count(measured.loaded.n_errors),
            ratio(measured.per_second(), peer),
            ratio(measured.all_us(), one),
        ]);
    }
}

async fn measure(
    setup: &Setup,
    contender: Contender,
    per_request: u64,
    span: Duration,
) -> anyhow::Result<Measured> {
    let times = Times::now();
    if contender == Contender::Embedded {
        let server = Server::start(Kind::Watchkeeper, &setup.directory, None).await?;
        let shape = server.shape(per_request, Status::Firing, SERVICES, &times);
        let before = tree_cpu(server.child.id())?;
        let mut loaded = Generator::new(&shape).run(&all_ids(), Some(span)).await;
        let began = Instant::now();
        server.catch_up().await?;
        loaded.took += began.elapsed();
        return Ok(Measured {
            cpu: tree_cpu(server.child.id())?.saturating_sub(before),
            database_cpu: Duration::ZERO,
            resident_bytes: resident(server.child.id())?,
            loaded,
        });
    }
    let cluster = Cluster::start(&[]);
    let (pids, shapes, _held) = match contender {
        Contender::Alerta => {
            let alerta = Alerta::start(setup, &cluster).await?;
            let shape = Shape {
                path: "/webhooks/prometheus",
                ..shape(alerta.address, per_request, &times)
            };
            (vec![alerta.child.id()], vec![shape], Held::Alerta(alerta))
        }
        Contender::Replicas(_) | Contender::Embedded => {
            let mut servers = Vec::new();
            for _ in 0..n_replicas(contender) {
                let url = cluster.url();
                servers.push(Server::on_database(&setup.directory, &url).await?);
            }
            let shapes = servers
                .iter()
                .map(|server| server.shape(per_request, Status::Firing, SERVICES, &times))
                .collect();
            let pids = servers.iter().map(|server| server.child.id()).collect();
            (pids, shapes, Held::Replicas(servers))
        }
    };
    tokio::time::sleep(SETTLES_FOR).await;
    let before = (cpu_of(&pids)?, tree_cpu(cluster.pid())?);
    let loaded = Generator::over(&shapes).run(&all_ids(), Some(span)).await;
    let after = (cpu_of(&pids)?, tree_cpu(cluster.pid())?);
    let stored = stored(&cluster, contender)?;
    ensure!(
        stored >= loaded.n_alerts,
        "{} answered {} alerts and stored {stored}",
        contender.name(),
        loaded.n_alerts
    );
    let mut resident_bytes = 0;
    for pid in pids {
        resident_bytes += resident(pid)?;
    }
    Ok(Measured {
        cpu: after.0.saturating_sub(before.0),
        database_cpu: after.1.saturating_sub(before.1),
        resident_bytes,
        loaded,
    })
}

fn n_replicas(contender: Contender) -> usize {
    match contender {
        Contender::Replicas(n) => n,
        Contender::Embedded | Contender::Alerta => 0,
    }
}

/// What must not go away while it is measured.
enum Held {
    Alerta(#[expect(dead_code, reason = "it is held")] Alerta),
    Replicas(#[expect(dead_code, reason = "they are held")] Vec<Server>),
}

fn all_ids() -> std::sync::Arc<Ids> {
    Ids::once(0, NO_END)
}

fn cpu_of(pids: &[u32]) -> anyhow::Result<Duration> {
    let mut all = Duration::ZERO;
    for pid in pids {
        all += tree_cpu(*pid)?;
    }
    Ok(all)
}

/// Alerts that are in the database.
fn stored(cluster: &Cluster, contender: Contender) -> anyhow::Result<u64> {
    let (database, counts) = match contender {
        Contender::Alerta => ("alerta", "SELECT count(*) FROM alerts"),
        Contender::Embedded | Contender::Replicas(_) => (
            "watchkeeper",
            "SELECT count(*) FROM wk_state WHERE substring(key, 1, 1) = 'A'",
        ),
    };
    Ok(cluster.sql(database, counts).trim().parse()?)
}

fn shape(address: SocketAddr, per_request: u64, times: &Times) -> Shape {
    Shape {
        address,
        path: "",
        body: Body::Webhook,
        status: Status::Firing,
        name: "HighErrorRate".to_owned(),
        per_request,
        services: SERVICES,
        times: times.clone(),
    }
}

/// Alerta, by its script. Dropped, it is killed with its workers.
struct Alerta {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Drop for Alerta {
    fn drop(&mut self) {
        // The workers end when the first process does.
        let group = rustix::process::Pid::from_child(&self.child);
        let _ended = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        drop(kill(&mut self.child));
    }
}

impl Alerta {
    async fn start(setup: &Setup, cluster: &Cluster) -> anyhow::Result<Self> {
        use std::os::unix::process::CommandExt;
        let environment = environment(setup)?;
        cluster.sql("postgres", "CREATE DATABASE alerta");
        let folder = TempDir::with_prefix_in("bench-", &setup.directory)?;
        let log = File::create(folder.path().join("log"))?;
        let port = {
            let free = std::net::TcpListener::bind("127.0.0.1:0")?;
            free.local_addr()?.port()
        };
        let child = script()
            .arg("serve")
            .arg(&environment)
            .arg(cluster.url_of("alerta"))
            .args([&port.to_string(), WORKERS])
            .current_dir(folder.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let alerta = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            _folder: folder,
        };
        let late = Instant::now() + READY_WITHIN;
        loop {
            let mut connection = Connection::to(alerta.address);
            if let Ok((200, _)) = connection.get("/management/gtg").await {
                return Ok(alerta);
            }
            if Instant::now() > late {
                let log = alerta._folder.path().join("log");
                bail!("alerta is not ready:\n{}", fs::read_to_string(log)?);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Where Alerta is installed, once.
fn environment(setup: &Setup) -> anyhow::Result<PathBuf> {
    let environment = setup.directory.join("alerta");
    if !environment.join("bin/gunicorn").exists() {
        setup.say("alerta is installed");
        let installed = script().arg("install").arg(&environment).status()?;
        ensure!(installed.success(), "alerta cannot be installed");
    }
    fs::canonicalize(&environment).context("alerta was installed and is not there")
}

fn script() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/alerta.sh"))
}
