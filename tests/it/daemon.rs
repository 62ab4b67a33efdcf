//! The real executable in a directory of its own, what it is asked over HTTP, and receivers of its pages.

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinSet;

/// How long anything may take here; only a failure waits for it.
const BOUND: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `look` finds something.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    within(BOUND, what, look).await
}

pub(crate) async fn within<T>(
    bound: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(bound, found).await.expect(what)
}

/// A configuration directory and a place for the store.
pub(crate) struct Home {
    dir: TempDir,
    store: PathBuf,
    /// A database in the place of that.
    database: Option<String>,
}

impl Home {
    /// Ana is on call, by the log.
    pub(crate) fn new() -> Self {
        Self::with(
            "",
            "[people.ana]\nname = \"Ana\"\nnotify = [{ channel = \"log\", address = \"ana\" }]\n\
             [policies.default]\nsteps = [{ targets = [\"person:ana\"], timeout = \"1h\" }]\n",
        )
    }

    /// Ana is on call, by a webhook.
    pub(crate) fn paging(url: &str) -> Self {
        Self::with(&hook(url), ANA_BY_HOOK)
    }

    /// The same, with the store in this place.
    pub(crate) fn paging_from(url: &str, store: PathBuf) -> Self {
        let mut home = Self::paging(url);
        home.store = store;
        home.write_config(&hook(url));
        home
    }

    /// Ana is on call, then ben, each for this time, by a webhook; with the store on a database: these lines of `[store]`.
    pub(crate) fn on_database(url: &str, timeout: &str, store: &str) -> Self {
        let mut home = Self::with(&hook(url), &ana_and_ben(timeout));
        home.database = Some(store.to_owned());
        home.write_config(&hook(url));
        home
    }

    /// These channels, these people.
    pub(crate) fn with(channels: &str, oncall: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let store = dir.path().join("data");
        let home = Self {
            dir,
            store,
            database: None,
        };
        fs::create_dir_all(home.config().join("rules")).expect("a directory can be made");
        home.write_config(channels);
        home.write("oncall.toml", oncall);
        home.write("rules/all.toml", &rule("all", "SEV1"));
        home
    }

    fn write_config(&self, channels: &str) {
        let store = match &self.database {
            Some(database) => database.clone(),
            None => format!("url = \"sled:{}\"", self.store.display()),
        };
        self.write(
            "watchkeeper.toml",
            &format!("[server]\nlisten = \"127.0.0.1:0\"\n[store]\n{store}\n{channels}"),
        );
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("etc")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.store.clone()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.config().join(name), text).expect("a file can be written");
    }

    /// The program with this configuration and these arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command.arg("--config").arg(self.config()).args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    /// Starts the daemon and waits until it listens.
    pub(crate) async fn serve(&self) -> Daemon {
        Daemon::start(self.command(&["serve"])).await
    }

    /// The same with a limit of open files, as `ulimit` takes it.
    pub(crate) async fn serve_with_files(&self, limit: &str) -> Daemon {
        let serve = self.command(&["serve"]);
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", &format!("ulimit {limit}; exec \"$0\" \"$@\"")])
            .arg(serve.get_program())
            .args(serve.get_args())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Daemon::start(shell).await
    }

    /// Starts the daemon and kills it after so long, however far it came.
    pub(crate) async fn start_and_kill(&self, after: Duration) {
        let mut command = self.command(&["serve"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program starts");
        tokio::time::sleep(after).await;
        child.kill().expect("it can be killed");
        child.wait().expect("it was killed");
    }
}

const ANA_BY_HOOK: &str = "[people.ana]\nname = \"Ana\"\nnotify = [{ channel = \"hook\", address = \"ana\" }]\n\
    [policies.default]\nsteps = [{ targets = [\"person:ana\"], timeout = \"1h\" }]\n";

fn ana_and_ben(timeout: &str) -> String {
    let person = |name| {
        format!(
            "[people.{name}]\nname = \"{name}\"\nnotify = [{{ channel = \"hook\", address = \"{name}\" }}]\n"
        )
    };
    let step = |name| format!("{{ targets = [\"person:{name}\"], timeout = \"{timeout}\" }}");
    format!(
        "{}{}[policies.default]\nsteps = [{}, {}]\n",
        person("ana"),
        person("ben"),
        step("ana"),
        step("ben")
    )
}

/// A channel by webhook.
fn hook(url: &str) -> String {
    format!("[channels.hook]\nkind = \"webhook\"\nurl = \"{url}\"\n")
}

/// A rule for every alert, its key the alert's name.
pub(crate) fn rule(name: &str, severity: &str) -> String {
    format!(
        "[[rule]]\nname = \"{name}\"\nmatch = ['alertname=~\".+\"']\nseverity = \"{severity}\"\n\
         dedup_key = \"{{{{ labels.alertname }}}}\"\n"
    )
}

/// The program, deaf to the environment of the tests.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_watchkeeper"));
    command
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A daemon that runs. Dropped, it is killed.
pub(crate) struct Daemon {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    pub(crate) url: String,
    client: reqwest::Client,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Daemon {
    async fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the program starts");
        let stderr = child.stderr.take().expect("its standard error is ours");
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let lines = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lock(&lines).push(line);
            }
        });
        let mut daemon = Self {
            child,
            log,
            url: String::new(),
            client: client(),
        };
        let mark = "listening on ";
        daemon.url = eventually("it says where it listens", async || {
            let line = daemon.logged(mark)?;
            let (_, address) = line.split_once(mark)?;
            let end = address.find(char::is_whitespace).unwrap_or(address.len());
            address.get(..end).map(str::to_owned)
        })
        .await;
        daemon
    }

    /// The first line of its log that has this text.
    pub(crate) fn logged(&self, text: &str) -> Option<String> {
        let log = lock(&self.log);
        log.iter().find(|line| line.contains(text)).cloned()
    }

    /// Waits until its log has this text.
    pub(crate) async fn says(&self, text: &str) -> String {
        eventually(text, async || self.logged(text)).await
    }

    pub(crate) fn log(&self) -> String {
        lock(&self.log).join("\n")
    }

    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let asked = self.client.get(format!("{}{path}", self.url));
        answer(asked).await.expect("it answers")
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let asked = self.client.post(format!("{}{path}", self.url)).json(body);
        answer(asked).await.expect("it answers")
    }

    pub(crate) async fn metrics(&self) -> String {
        let asked = self.client.get(format!("{}/metrics", self.url)).send();
        let text = asked.await.expect("it answers").text().await;
        text.expect("metrics are text")
    }

    /// Every item of a list, whatever the number of its pages.
    pub(crate) async fn list(&self, noun: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/{noun}?limit=1000{cursor}");
            let (status, page) = self.get(&path).await;
            assert_eq!(status, 200, "{page}");
            let items = page.get(noun).and_then(Value::as_array);
            all.extend(items.expect("the list is there").iter().cloned());
            match page.get("next").and_then(Value::as_str) {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    /// Where it listens, as sockets take it.
    pub(crate) fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Memory of it that is resident, bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.memory_bytes("VmRSS:")
    }

    /// The most that was, of late.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.memory_bytes("VmHWM:")
    }

    /// What was the most until now is not what `peak_bytes` asks for any more.
    pub(crate) fn forget_peak(&self) {
        let forgotten = fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5");
        forgotten.expect("it runs, on Linux");
    }

    fn memory_bytes(&self, what: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("it runs, on Linux");
        let line = status.lines().find_map(|line| line.strip_prefix(what));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kilobytes: u64 = kilobytes
            .expect("its size is told")
            .parse()
            .expect("a number");
        kilobytes * 1024
    }

    /// Sends it a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -{name} {}", self.child.id()))
            .status();
        assert!(sent.expect("there is a shell").success());
    }

    /// As a power cut, for this process alone.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("it ends", async || {
            child.try_wait().expect("its state can be asked")
        })
        .await
    }

    /// Asks it to end, and waits.
    pub(crate) async fn stop(mut self) {
        self.signal("TERM");
        let status = self.ended().await;
        assert!(status.success(), "{status}\n{}", self.log());
    }
}

/// A client of its own for each: connections are not shared between daemons.
pub(crate) fn client() -> reqwest::Client {
    // It fails where there is one already, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder()
        .timeout(BOUND)
        .build()
        .expect("a client can be built")
}

/// Status and JSON of an answer; none where the connection broke.
pub(crate) async fn answer(asked: reqwest::RequestBuilder) -> Option<(u16, Value)> {
    let response = asked.send().await.ok()?;
    let status = response.status().as_u16();
    Some((status, response.json().await.ok()?))
}

/// One firing alert of this name.
pub(crate) fn firing(name: &str) -> Value {
    alert(name, "firing")
}

/// The same, resolved.
pub(crate) fn resolved(name: &str) -> Value {
    alert(name, "resolved")
}

fn alert(name: &str, status: &str) -> Value {
    serde_json::json!({ "version": "4", "alerts": [{ "status": status, "labels": { "alertname": name } }] })
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A page as a receiver got it.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    /// When, since the receiver began.
    pub(crate) after: Duration,
}

impl Got {
    pub(crate) fn text(&self, pointer: &str) -> String {
        let value = self.body.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    }
}

/// What a receiver does with a page.
pub(crate) enum Reply {
    Status(u16),
    /// Not before so many seconds.
    Later(u16, u64),
    /// Not before this has passed.
    After(Duration, u16),
    /// Never answers.
    Hang,
}

/// A receiver of pages. Dropped, it is gone.
pub(crate) struct Receiver {
    pub(crate) url: String,
    got: Arc<Mutex<Vec<Got>>>,
    _tasks: JoinSet<()>,
}

impl Receiver {
    /// Takes every page.
    pub(crate) async fn start() -> Self {
        Self::answering(|_page| Reply::Status(200)).await
    }

    pub(crate) async fn answering(
        reply: impl Fn(&Value) -> Reply + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let got: Arc<Mutex<Vec<Got>>> = Arc::default();
        let kept = Arc::clone(&got);
        let began = tokio::time::Instant::now();
        let receive = move |headers: HeaderMap, body: Bytes| {
            let (kept, reply) = (Arc::clone(&kept), reply.clone());
            async move {
                let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
                let reply = reply(&body);
                let after = began.elapsed();
                lock(&kept).push(Got {
                    headers,
                    body,
                    after,
                });
                respond(reply).await
            }
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let served = axum::serve(listener, Router::new().fallback(receive)).await;
            served.expect("a receiver serves until it is dropped");
        });
        Self {
            url: format!("http://{address}/hook"),
            got,
            _tasks: tasks,
        }
    }

    pub(crate) fn got(&self) -> Vec<Got> {
        lock(&self.got).clone()
    }
}

async fn respond(reply: Reply) -> Response {
    let code = |code| StatusCode::from_u16(code).expect("a status");
    match reply {
        Reply::Status(status) => code(status).into_response(),
        Reply::Later(status, seconds) => {
            (code(status), [("retry-after", seconds.to_string())]).into_response()
        }
        Reply::After(span, status) => {
            tokio::time::sleep(span).await;
            code(status).into_response()
        }
        Reply::Hang => std::future::pending().await,
    }
}

/// An address where nobody listens.
pub(crate) fn closed_url() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    format!("http://{address}/hook")
}

/// Writes garbage over every file below a directory.
pub(crate) fn damage(dir: &Path) -> usize {
    let mut damaged = 0;
    for entry in fs::read_dir(dir).expect("the directory is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            damaged += damage(&path);
        } else {
            fs::write(&path, b"garbage, from the first byte to the last")
                .expect("it can be written");
            damaged += 1;
        }
    }
    damaged
}
