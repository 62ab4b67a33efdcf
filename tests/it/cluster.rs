//! Throw-away clusters of Postgres, each in a directory of its own, alone or as a synchronous pair.
//! A cluster ends with whoever holds it, whichever way that ends: a shell waits at the other end of a pipe.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// The superuser of every cluster, and the database that each has.
const NAME: &str = "watchkeeper";

/// How long anything may take here; only a failure waits for it.
const BOUND: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a socket's address has room for.
const SOCKET_PATH_BYTES: usize = 107;

/// How many free ports are tried: another process may take one between our look and the server's.
const PORTS: usize = 5;

/// Where the packages of Postgres put a directory for each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// One server, in a directory that nobody else has.
pub(crate) struct Cluster {
    directory: PathBuf,
    port: u16,
    guardian: Mutex<Guardian>,
}

/// A certificate and its key, as files in PEM.
pub(crate) struct Pem<'a> {
    pub(crate) certificate: &'a Path,
    pub(crate) key: &'a Path,
}

/// A primary that acknowledges nothing before its standby has it on disk.
pub(crate) struct Pair {
    pub(crate) primary: Cluster,
    pub(crate) standby: Cluster,
}

// ---- one cluster ----

impl Cluster {
    /// Starts a server with these settings; it listens on a socket in its directory and nowhere else.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let cluster = Self::initialised(settings);
        cluster.run();
        cluster.create_database();
        cluster
    }

    /// The same, listening on a free port of the loopback, too; with TLS where it has a certificate.
    pub(crate) fn start_tcp(settings: &[(&str, &str)], pem: Option<&Pem<'_>>) -> Self {
        let mut all = vec![("listen_addresses", "127.0.0.1")];
        all.extend(pem.map(|_| ("ssl", "on")));
        all.extend(settings);
        let mut cluster = Self::initialised(&all);
        if let Some(pem) = pem {
            cluster.put("server.crt", pem.certificate);
            cluster.put("server.key", pem.key);
        }
        cluster.run_on_a_free_port();
        cluster.create_database();
        cluster
    }

    pub(crate) fn socket_dir(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn url(&self) -> String {
        self.url_of(NAME)
    }

    pub(crate) fn url_of(&self, database: &str) -> String {
        format!("postgres://{NAME}@{}/{database}", self.host())
    }

    /// Over the loopback; whether with TLS is for the caller to add, as `?sslmode=`.
    pub(crate) fn tcp_url(&self) -> String {
        format!("postgres://{NAME}@127.0.0.1:{}/{NAME}", self.port)
    }

    /// What psql prints for these statements, without decoration; each is a transaction of its own.
    pub(crate) fn sql(&self, database: &str, text: &str) -> String {
        let printed = self.try_sql(database, text);
        printed.unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// The postmaster's, also after it was stopped.
    pub(crate) fn pid(&self) -> u32 {
        self.guardian().postmaster
    }

    /// Kills every process of the server at once, as a loss of power does, except that the kernel's cache survives.
    pub(crate) fn kill(&self) {
        self.guardian().order("kill");
    }

    /// Ends every session and flushes; returns when the server is gone.
    pub(crate) fn stop_fast(&self) {
        self.guardian().order("stop");
    }

    /// Starts the server again in the same place, whether or not it still runs.
    pub(crate) fn restart(&self) {
        self.stop_fast();
        self.run();
    }

    /// Makes a standby the primary, which then waits for no standby of its own.
    pub(crate) fn promote(&self) {
        self.sql(
            "postgres",
            "ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf();",
        );
        let seconds = BOUND.as_secs();
        let promoted = self.sql("postgres", &format!("SELECT pg_promote(true, {seconds})"));
        assert_eq!(promoted, "t", "the standby is promoted");
    }

    fn initialised(settings: &[(&str, &str)]) -> Self {
        let cluster = Self::empty(settings);
        cluster.guardian().order("initdb");
        cluster
    }

    /// A standby that follows this primary from now on.
    fn standby(&self, settings: &[(&str, &str)]) -> Self {
        let cluster = Self::empty(settings);
        let directory = self.directory.display();
        cluster.guardian().order(&format!("copy {directory}"));
        cluster.run();
        cluster
    }

    /// A directory and its guardian, before there is a server.
    fn empty(settings: &[(&str, &str)]) -> Self {
        let (guardian, directory) = Guardian::new(settings);
        let cluster = Self {
            directory,
            port: 5432,
            guardian: Mutex::new(guardian),
        };
        let socket = cluster.directory.join(".s.PGSQL.65535");
        let length = socket.as_os_str().len();
        assert!(length <= SOCKET_PATH_BYTES, "{socket:?} is too long");
        cluster
    }

    fn run(&self) {
        let started = self.try_run();
        started.unwrap_or_else(|log| panic!("the server does not start: {log}"));
    }

    /// Starts the server; returns once it answers, or the log where it ends before that.
    fn try_run(&self) -> Result<(), String> {
        self.guardian().start(self.port);
        eventually("the server answers", || {
            if self.try_sql("postgres", "SELECT").is_ok() {
                return Some(Ok(()));
            }
            let mut guardian = self.guardian();
            (guardian.ask("look") == "gone").then(|| Err(guardian.log()))
        })
    }

    fn run_on_a_free_port(&mut self) {
        for _ in 0..PORTS {
            self.port = free_port();
            if self.try_run().is_ok() {
                return;
            }
        }
        let log = self.guardian().log();
        panic!("the server starts on no free port: {log}");
    }

    fn create_database(&self) {
        self.sql("postgres", &format!("CREATE DATABASE {NAME}"));
    }

    /// A copy of the file among the data, as private as the server wants its key.
    fn put(&self, name: &str, file: &Path) {
        let data = self.directory.join("data");
        let owner = fs::metadata(&data).expect("there is a directory of data");
        let place = data.join(name);
        fs::copy(file, &place).expect("a file can be copied");
        fs::set_permissions(&place, Permissions::from_mode(0o600)).expect("the copy is ours");
        chown(&place, Some(owner.uid()), Some(owner.gid())).expect("root may give files away");
    }

    fn try_sql(&self, database: &str, text: &str) -> Result<String, String> {
        let mut psql = self.psql(database).spawn().expect("psql starts");
        let mut input = psql.stdin.take().expect("its input is ours");
        let (written, output) = std::thread::scope(|scope| {
            // Beside the reading: it may print more than a pipe holds before it has read all.
            let writer = scope.spawn(move || input.write_all(text.as_bytes()));
            let output = psql.wait_with_output().expect("psql ends");
            (writer.join().expect("writing does not panic"), output)
        });
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        written.expect("psql reads its input");
        let printed = String::from_utf8(output.stdout).expect("the cluster is UTF-8");
        Ok(printed.trim_end().to_owned())
    }

    /// With nothing of our environment, which may name other servers.
    fn psql(&self, database: &str) -> Command {
        let mut command = Command::new(programs().join("psql"));
        command
            .args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-U", NAME])
            .args(["-d", database, "-p", &self.port.to_string(), "-h"])
            .arg(&self.directory)
            .env_clear()
            .env("PGCONNECT_TIMEOUT", "5")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// The directory as a URL's host: percent-encoded, with the port where it is not the usual one.
    fn host(&self) -> String {
        let directory = self.directory.to_str().expect("its path is UTF-8");
        let mut host = String::new();
        for byte in directory.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                host.push(char::from(byte));
            } else {
                host.push_str(&format!("%{byte:02X}"));
            }
        }
        if self.port != 5432 {
            host.push_str(&format!(":{}", self.port));
        }
        host
    }

    fn guardian(&self) -> MutexGuard<'_, Guardian> {
        // A test that failed while it held the lock left nothing half done.
        self.guardian.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ---- a pair ----

impl Pair {
    /// Returns once the standby is the synchronous one.
    pub(crate) fn start() -> Self {
        // Without a slot: the log a standby has missed while it was down is kept, but only so much of it.
        let settings = [
            ("fsync", "on"),
            ("wal_level", "replica"),
            ("wal_keep_size", "256MB"),
            // Else a promotion takes five seconds where it comes between two looks at a lost primary.
            ("wal_retrieve_retry_interval", "50ms"),
        ];
        let primary = Cluster::start(&settings);
        let standby = primary.standby(&settings);
        // Not before: without a standby every commit would wait, and the copy must not have it.
        primary.sql(
            "postgres",
            "ALTER SYSTEM SET synchronous_standby_names = '*'; SELECT pg_reload_conf();",
        );
        let pair = Self { primary, standby };
        pair.wait_until_synchronous();
        pair
    }

    /// Also for a standby that was stopped and comes back.
    pub(crate) fn wait_until_synchronous(&self) {
        eventually("the standby is synchronous", || {
            let states = "SELECT application_name, sync_state FROM pg_stat_replication";
            (self.primary.sql("postgres", states) == "standby|sync").then_some(())
        });
    }

    /// Both hosts; the client takes the one that can be written to.
    pub(crate) fn url(&self) -> String {
        let hosts = [self.primary.host(), self.standby.host()].join(",");
        format!("postgres://{NAME}@{hosts}/{NAME}?target_session_attrs=read-write")
    }
}

// ---- one cluster for all tests ----

/// The cluster for tests that need a database and not a server of their own: quick, since nothing in it need last.
pub(crate) fn shared() -> &'static Cluster {
    &all_share().cluster
}

/// The URL of a new, empty database in the shared cluster.
pub(crate) fn fresh_database() -> String {
    let shared = all_share();
    let name = shared.fresh_name();
    // Copying files takes half as long as logging each page, where nothing is flushed.
    shared.run(&format!(
        "CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy;"
    ));
    shared.cluster.url_of(&name)
}

/// The URL of a new, empty schema in the shared cluster's database, where unqualified names are found; much cheaper.
pub(crate) fn fresh_schema() -> String {
    let shared = all_share();
    let name = shared.fresh_name();
    shared.run(&format!("CREATE SCHEMA {name};"));
    let url = shared.cluster.url();
    format!("{url}?options=-csearch_path%3D{name}")
}

/// What psql prints for these statements in the schema of a URL that [`fresh_schema`] gave.
pub(crate) fn sql_at(url: &str, text: &str) -> String {
    let name = url.rsplit("%3D").next().expect("it names a schema");
    let text = format!("SET search_path = {name}; {text}");
    shared().sql(NAME, &text)
}

struct Shared {
    cluster: Cluster,
    session: Mutex<Session>,
    names: AtomicU32,
}

/// A psql that stays: to start one takes longer than what it does for us.
struct Session {
    psql: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

fn all_share() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let cluster = Cluster::start(&[
            ("fsync", "off"),
            ("max_connections", "300"),
            ("shared_buffers", "64MB"),
        ]);
        let session = Mutex::new(Session::new(&cluster));
        Shared {
            cluster,
            session,
            names: AtomicU32::new(1),
        }
    })
}

impl Shared {
    fn fresh_name(&self) -> String {
        format!("test_{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    fn run(&self, statement: &str) {
        let session = self.session.lock();
        session
            .unwrap_or_else(PoisonError::into_inner)
            .run(statement);
    }
}

impl Session {
    fn new(cluster: &Cluster) -> Self {
        let mut psql = cluster.psql(NAME).spawn().expect("psql starts");
        let input = psql.stdin.take().expect("its input is ours");
        let output = psql.stdout.take().expect("its output is ours");
        Self {
            psql,
            input,
            output: BufReader::new(output),
        }
    }

    fn run(&mut self, statement: &str) {
        let asked = writeln!(self.input, "{statement}\nSELECT 'done';");
        let mut answer = String::new();
        self.output.read_line(&mut answer).expect("psql is read");
        if asked.is_err() || answer != "done\n" {
            let mut error = String::new();
            let stderr = self.psql.stderr.as_mut().expect("its errors are ours");
            stderr.read_to_string(&mut error).expect("it ends");
            panic!("{statement} {answer}{error}");
        }
    }
}

// ---- the guardian ----

/// A shell that does to the server what it is told, and at the end of its input ends the server and removes the
/// directory. The pipe closes also when this process is killed, so nothing stays behind.
struct Guardian {
    shell: Child,
    /// Taken when it is over.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    directory: PathBuf,
    postmaster: u32,
}

/// Its arguments: where the programs are, where the directory goes, and the server's options.
/// It answers each order with one line.
const GUARDIAN: &str = r#"
programs=$1
directory=$(mktemp -d "$2/wkpg-XXXXXX") || exit
shift 2
data=$directory/data
log=$directory/log
postmaster=
exec 2>>"$log"
trap 'exit 1' HUP INT TERM
trap : PIPE
trap clean EXIT

run() {
    timeout -s KILL 60 "$@" </dev/null >/dev/null && echo done || echo failed
}

# Sets state and parent of a process.
look() {
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    set -- ${stat##*) }
    state=$1
    parent=$2
}

# One that is dead and not yet buried does not run.
runs() {
    [ -n "$1" ] && look "$1" && [ "$state" != Z ] && [ "$state" != X ]
}

ends() {
    looks=$2
    while runs "$1"; do
        [ "$looks" -gt 0 ] || return 1
        looks=$((looks - 1))
        sleep 0.01
    done
}

bury() {
    [ -n "$postmaster" ] && wait "$postmaster"
    postmaster=
}

stop() {
    [ -n "$postmaster" ] || return 0
    kill -s "$1" "$postmaster"
    ends "$postmaster" "$2" && bury
}

children() {
    for process in /proc/[0-9]*; do
        process=${process#/proc/}
        look "$process" && [ "$parent" = "$postmaster" ] && echo "$process"
    done
}

# Each of its children leads a group of its own. First none may be born any more.
kill_all() {
    [ -n "$postmaster" ] || return 0
    kill -s STOP "$postmaster"
    while runs "$postmaster" && [ "$state" != T ]; do sleep 0.01; done
    doomed=$(children)
    kill -s KILL $doomed "$postmaster"
    bury
    for process in $doomed; do ends "$process" 500; done
}

# Of a server that was killed a segment of shared memory stays, which its file names.
clean() {
    stop QUIT 50 || kill_all
    if [ -f "$data/postmaster.pid" ]; then
        set -- $(sed -n 7p "$data/postmaster.pid")
        ipcrm -m "$2"
    fi
    rm -rf "$directory" || { sleep 0.5; rm -rf "$directory"; }
}

echo "$directory"
while read -r order argument; do
    case $order in
    initdb)
        run "$programs/initdb" -D "$data" --no-sync --no-instructions --auth=trust \
            --username=watchkeeper --encoding=UTF8 --locale=C
        # It wrote what fits this machine; all that holds here is in the arguments.
        : >"$data/postgresql.conf"
        ;;
    copy)
        run "$programs/pg_basebackup" -D "$data" -R --checkpoint=fast --no-sync \
            -d "host='$argument' user=watchkeeper application_name=standby"
        ;;
    start)
        "$programs/postgres" -D "$data" -k "$directory" -p "$argument" "$@" </dev/null >>"$log" &
        postmaster=$!
        echo "$postmaster"
        ;;
    look)
        if runs "$postmaster"; then echo runs; else bury; echo gone; fi
        ;;
    stop)
        stop INT 3000 && echo done || echo failed
        ;;
    kill)
        kill_all
        echo done
        ;;
    esac
done
"#;

impl Guardian {
    /// Returns it with its directory.
    fn new(settings: &[(&str, &str)]) -> (Self, PathBuf) {
        // Memory that is shared goes into the directory, too, and vanishes with it.
        let always = [
            ("listen_addresses", ""),
            ("dynamic_shared_memory_type", "mmap"),
        ];
        let settings = always.iter().chain(settings);
        let options = settings.map(|(name, value)| format!("-c{name}={value}"));
        let mut shell = unprivileged_shell()
            .args(["-c", GUARDIAN, "guardian"])
            .arg(programs())
            .arg(std::env::temp_dir())
            .args(options)
            .current_dir("/")
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            // An interrupt from the terminal is for us; it hears of it by the pipe.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let orders = shell.stdin.take();
        let answers = shell.stdout.take().expect("its output is ours");
        let mut guardian = Self {
            shell,
            orders,
            answers: BufReader::new(answers),
            directory: PathBuf::new(),
            postmaster: 0,
        };
        let directory = PathBuf::from(guardian.answer());
        guardian.directory.clone_from(&directory);
        (guardian, directory)
    }

    fn start(&mut self, port: u16) {
        let pid = self.ask(&format!("start {port}"));
        self.postmaster = pid.parse().expect("a process id");
    }

    /// For what must succeed.
    fn order(&mut self, order: &str) {
        let answer = self.ask(order);
        assert_eq!(answer, "done", "{order}: {}", self.log());
    }

    fn ask(&mut self, order: &str) -> String {
        let orders = self.orders.as_mut().expect("it is not over");
        writeln!(orders, "{order}").expect("the guardian reads");
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut answer = String::new();
        let read = self.answers.read_line(&mut answer);
        read.expect("the guardian is read");
        assert!(!answer.is_empty(), "the guardian has ended");
        answer.trim_end().to_owned()
    }

    fn log(&self) -> String {
        match fs::read_to_string(self.directory.join("log")) {
            Ok(log) => log,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => panic!("the log cannot be read: {error}"),
        }
    }
}

impl Drop for Guardian {
    /// Returns when the directory is gone.
    fn drop(&mut self) {
        self.orders = None;
        // Also in a test that failed; a second panic would hide the first.
        drop(self.shell.wait());
    }
}

/// Postgres refuses to run as root.
fn unprivileged_shell() -> Command {
    let us = fs::metadata("/proc/self").expect("there is a /proc");
    if us.uid() != 0 {
        return Command::new("sh");
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--", "sh"]);
    command
}

/// Those of the newest version that is installed.
fn programs() -> PathBuf {
    let versions = fs::read_dir(VERSIONS).expect("PostgreSQL is installed");
    let newest = versions
        .filter_map(|version| version.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|version| programs_of(*version).join("postgres").exists())
        .max();
    programs_of(newest.expect("a version of PostgreSQL is installed"))
}

fn programs_of(version: u32) -> PathBuf {
    Path::new(VERSIONS).join(version.to_string()).join("bin")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    address.port()
}

/// Waits until `look` finds something.
#[expect(
    clippy::disallowed_methods,
    reason = "PostgreSQL runs on the real clock, and tells nobody when it is ready"
)]
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < BOUND, "in time {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}
