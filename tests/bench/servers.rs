//! The servers that are measured: each a process of its own, on a free loopback port, with a fresh directory.

use crate::alerts::{Body, Shape, Status, Times};
use crate::client::Connection;
use crate::process;
use anyhow::{Context, bail, ensure};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::Instant;

/// How long a server may take until it is ready, and until it has caught up.
const READY_WITHIN: Duration = Duration::from_secs(300);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A server that has written nothing for so long rests.
const RESTS_FOR: Duration = Duration::from_millis(500);

/// The name of every alert, unless a mode wants others.
const NAME: &str = "HighErrorRate";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Watchkeeper,
    Alertmanager,
    /// The ceiling: reads the webhook and answers, keeps nothing.
    Axum,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Watchkeeper, Self::Alertmanager, Self::Axum];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Watchkeeper => "watchkeeper",
            Self::Alertmanager => "alertmanager",
            Self::Axum => "bare axum",
        }
    }

    fn ready_path(self) -> &'static str {
        match self {
            Self::Watchkeeper => "/readyz",
            Self::Alertmanager => "/-/ready",
            Self::Axum => "/ready",
        }
    }

    /// What stands before the port in its log.
    fn listens(self) -> &'static str {
        match self {
            Self::Watchkeeper => "listening on http://127.0.0.1:",
            Self::Alertmanager => "msg=\"Listening on\" address=127.0.0.1:",
            Self::Axum => "listening on 127.0.0.1:",
        }
    }
}

/// A server that runs. Dropped, it is killed, and its directory is gone.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(process::kill(&mut self.child));
    }
}

impl Server {
    /// Starts one with a fresh directory below `above`, and waits until it is ready. Its pages go to `hook`; without
    /// one, Watchkeeper's go to its log, and Alertmanager notifies nobody.
    pub(crate) async fn start(
        kind: Kind,
        above: &Path,
        hook: Option<&str>,
    ) -> anyhow::Result<Self> {
        Self::start_on(kind, above, None, hook).await
    }

    /// Watchkeeper, on a database.
    pub(crate) async fn on_database(above: &Path, url: &str) -> anyhow::Result<Self> {
        Self::start_on(Kind::Watchkeeper, above, Some(url), None).await
    }

    async fn start_on(
        kind: Kind,
        above: &Path,
        database: Option<&str>,
        hook: Option<&str>,
    ) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix_in("bench-", above)?;
        configure(kind, folder.path(), database, hook)?;
        let child = spawn(kind, folder.path())?;
        let mut server = Self {
            kind,
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            folder,
        };
        server.until_ready().await?;
        Ok(server)
    }

    /// Kills it where it stands and starts it again in its directory. Returns how long it took to be ready.
    pub(crate) async fn crash(&mut self) -> anyhow::Result<Duration> {
        process::kill(&mut self.child)?;
        let began = Instant::now();
        self.child = spawn(self.kind, self.folder.path())?;
        self.until_ready().await?;
        Ok(began.elapsed())
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Requests as this server takes them.
    pub(crate) fn shape(
        &self,
        per_request: u64,
        status: Status,
        services: u64,
        times: &Times,
    ) -> Shape {
        let (path, body) = match self.kind {
            Kind::Watchkeeper | Kind::Axum => ("/hooks/alertmanager", Body::Webhook),
            Kind::Alertmanager => ("/api/v2/alerts", Body::Api),
        };
        Shape {
            address: self.address,
            path,
            body,
            status,
            name: NAME.to_owned(),
            per_request,
            services,
            times: times.clone(),
        }
    }

    /// Waits until everything that was answered is in the state, too; the others have nothing behind their answers that
    /// could be asked for.
    pub(crate) async fn catch_up(&self) -> anyhow::Result<()> {
        if self.kind != Kind::Watchkeeper {
            return Ok(());
        }
        let mut connection = Connection::to(self.address);
        let late = Instant::now() + READY_WITHIN;
        while self.sequences(&mut connection).await?.lag() > 0 {
            ensure!(Instant::now() < late, "the state did not catch up");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Waits until it has caught up and writes nothing more: pages too are out.
    pub(crate) async fn rest(&self) -> anyhow::Result<()> {
        if self.kind != Kind::Watchkeeper {
            return Ok(());
        }
        let mut connection = Connection::to(self.address);
        let late = Instant::now() + READY_WITHIN;
        let mut before = self.sequences(&mut connection).await?;
        loop {
            tokio::time::sleep(RESTS_FOR).await;
            let now = self.sequences(&mut connection).await?;
            if now.lag() == 0 && now.durable == before.durable {
                return Ok(());
            }
            ensure!(Instant::now() < late, "it did not come to rest");
            before = now;
        }
    }

    async fn sequences(&self, connection: &mut Connection) -> anyhow::Result<Sequences> {
        let (status, metrics) = connection.get("/metrics").await?;
        ensure!(status == 200, "the metrics were answered by {status}");
        let value = |name: &str| -> anyhow::Result<u64> {
            let value = metrics.lines().find_map(|line| line.strip_prefix(name));
            let value = value.with_context(|| format!("no metric {name}"))?;
            Ok(value.trim().parse()?)
        };
        Ok(Sequences {
            durable: value("watchkeeper_store_sequence ")?,
            applied: value("watchkeeper_store_applied_sequence ")?,
        })
    }

    async fn until_ready(&mut self) -> anyhow::Result<()> {
        let log = self.folder.path().join("log");
        let late = Instant::now() + READY_WITHIN;
        let name = self.kind.name();
        loop {
            let text = fs::read_to_string(&log)?;
            if let Some(status) = self.child.try_wait()? {
                bail!("{name} ended with {status}:\n{text}");
            }
            if let Some(port) = port_in(&text, self.kind.listens()) {
                self.address.set_port(port);
                let mut connection = Connection::to(self.address);
                if let Ok((200, _)) = connection.get(self.kind.ready_path()).await {
                    return Ok(());
                }
            }
            ensure!(Instant::now() < late, "{name} is not ready:\n{text}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// How far the journal is, and the state behind it.
#[derive(Clone, Copy, Debug)]
struct Sequences {
    durable: u64,
    applied: u64,
}

impl Sequences {
    fn lag(self) -> u64 {
        self.durable.saturating_sub(self.applied)
    }
}

fn configure(
    kind: Kind,
    folder: &Path,
    database: Option<&str>,
    hook: Option<&str>,
) -> anyhow::Result<()> {
    match kind {
        Kind::Watchkeeper => {
            let config = folder.join("config");
            fs::create_dir(&config)?;
            fs::write(
                config.join("watchkeeper.toml"),
                watchkeeper_toml(folder, database, hook),
            )?;
            fs::write(config.join("oncall.toml"), oncall_toml(hook))?;
        }
        Kind::Alertmanager => {
            fs::create_dir(folder.join("data"))?;
            fs::write(folder.join("alertmanager.yml"), alertmanager_yml(hook))?;
        }
        Kind::Axum => {}
    }
    Ok(())
}

fn watchkeeper_toml(folder: &Path, database: Option<&str>, hook: Option<&str>) -> String {
    let data = format!("sled:{}", folder.join("data").display());
    let url = database.unwrap_or(&data);
    let channel = hook.map(|url| format!("[channels.hook]\nkind = \"webhook\"\nurl = \"{url}\"\n"));
    format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[store]\nurl = \"{url}\"\n{}",
        channel.unwrap_or_default()
    )
}

fn oncall_toml(hook: Option<&str>) -> String {
    let channel = if hook.is_some() { "hook" } else { "log" };
    format!(
        "[people.ana]\nnotify = [{{ channel = \"{channel}\", address = \"ana\" }}]\n\
         [policies.default]\nsteps = [{{ targets = [\"person:ana\"], timeout = \"1h\" }}]\n"
    )
}

/// Its delays at their minimum; one group for each incident that Watchkeeper makes.
fn alertmanager_yml(hook: Option<&str>) -> String {
    let receiver =
        hook.map(|url| format!("  webhook_configs:\n  - url: {url}\n    send_resolved: true\n"));
    format!(
        "route:\n  receiver: hook\n  group_by: [alertname, service]\n  group_wait: 0s\n  group_interval: 1s\n  \
         repeat_interval: 4h\nreceivers:\n- name: hook\n{}",
        receiver.unwrap_or_default()
    )
}

fn spawn(kind: Kind, folder: &Path) -> anyhow::Result<Child> {
    let log = File::create(folder.join("log"))?;
    let mut command = command(kind, folder)?;
    command
        .current_dir(folder)
        .env_remove("NOTIFY_SOCKET")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    match command.spawn() {
        Err(error) if kind == Kind::Alertmanager && error.kind() == ErrorKind::NotFound => {
            bail!("prometheus-alertmanager is missing: apt-get install prometheus-alertmanager")
        }
        spawned => spawned.with_context(|| format!("{} does not start", kind.name())),
    }
}

fn command(kind: Kind, folder: &Path) -> anyhow::Result<Command> {
    let mut command = match kind {
        Kind::Watchkeeper => Command::new(env!("CARGO_BIN_EXE_watchkeeper")),
        Kind::Alertmanager => Command::new("prometheus-alertmanager"),
        Kind::Axum => Command::new(std::env::current_exe()?),
    };
    match kind {
        Kind::Watchkeeper => {
            command
                .arg("--config")
                .arg(folder.join("config"))
                .arg("serve");
        }
        Kind::Alertmanager => {
            let path = |flag: &str, name: &str| format!("{flag}={}", folder.join(name).display());
            command
                .arg(path("--config.file", "alertmanager.yml"))
                .arg(path("--storage.path", "data"))
                .args([
                    "--web.listen-address=127.0.0.1:0",
                    "--cluster.listen-address=",
                ]);
        }
        Kind::Axum => {
            command.arg("--axum");
        }
    }
    Ok(command)
}

/// The port after a text, where the log has it.
fn port_in(log: &str, before: &str) -> Option<u16> {
    let (_, rest) = log.split_once(before)?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest.get(..end)?.parse().ok()
}
