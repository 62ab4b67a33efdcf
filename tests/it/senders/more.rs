//! Tools that are too much for every run of the tests, in environments that `tests/run --senders` makes: each is run as its users run
//! it, finds something wrong, then finds it mended. Skipped aloud where their environment is not there.

use super::{counts, folder, run, succeeds};
use crate::daemon::{Daemon, Home, eventually, within};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A registry makes its tables before it listens.
const PATIENCE: Duration = Duration::from_secs(150);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// An environment of Python's, by the file of `tests/senders` that it is made of.
#[derive(Clone)]
struct Environment(PathBuf);

impl Environment {
    /// None where it was not made: then it says aloud that the test of this tool is skipped.
    fn of(name: &str, tool: &str) -> Option<Self> {
        let bin = root().join(format!("target/senders-{name}/bin"));
        if bin.join("python").exists() {
            return Some(Self(bin));
        }
        // Past what the test runner captures.
        let mut aloud = std::io::stderr().lock();
        let why = format!(
            "{} is not there, `tests/run --senders` makes it",
            bin.display()
        );
        writeln!(aloud, "skipped: {tool}: {why}").expect("it can be said");
        None
    }

    /// A program of it that posts to this daemon, in a directory where it may leave what it likes.
    fn command(&self, program: &Path, daemon: &Daemon, home: &Home) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(home.path(""))
            .env("PATH", format!("{}:/usr/bin:/bin", self.0.display()))
            .env("PYTHONPATH", folder())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONWARNINGS", "ignore")
            .env("HOME", home.path(""))
            .env("WATCHKEEPER_URL", &daemon.url)
            // They tell nobody how they are used.
            .env("DO_NOT_TRACK", "1")
            .env("SODA_CORE_TELEMETRY_ENABLED", "false")
            .env("MLFLOW_DISABLE_TELEMETRY", "true");
        command
    }

    /// A script of `tests/senders`.
    fn script(&self, name: &str, arguments: &[&str], daemon: &Daemon, home: &Home) -> Command {
        let mut command = self.command(&self.0.join("python"), daemon, home);
        command
            .arg(root().join("tests/senders").join(name))
            .args(arguments);
        command
    }
}

/// `firing fail NAME of PART`, of all alerts, sorted; of those whose check could not run, the outcome is `error`.
async fn told(daemon: &Daemon) -> Vec<String> {
    let alerts = daemon.list("alerts").await;
    let text = |alert: &Value, pointer: &str| {
        let value = alert.pointer(pointer).and_then(Value::as_str);
        value.map(str::to_owned)
    };
    let told = |alert: &Value| {
        let of = |pointer: &str| text(alert, pointer).unwrap_or_default();
        let is_twin = text(alert, "/labels/check").as_deref() == Some("error");
        assert_eq!(is_twin, of("/outcome") == "error", "{alert}");
        let part = text(alert, "/labels/part").map(|part| format!(" of {part}"));
        format!(
            "{} {} {}{}",
            of("/status"),
            of("/outcome"),
            of("/labels/alertname"),
            part.unwrap_or_default()
        )
    };
    let mut told: Vec<String> = alerts.iter().map(told).collect();
    told.sort();
    told
}

/// dbt by our script; its exit status.
async fn dbt(arguments: &[&str], in_use: &(Environment, Daemon, Home)) -> Option<i32> {
    let (environment, daemon, home) = in_use;
    let mut command = environment.command(&folder().join("dbt.sh"), daemon, home);
    command.args(arguments).current_dir(home.path("shop"));
    run(command).await.status.code()
}

/// A small project of dbt beside a daemon; none where there is no dbt.
async fn shop() -> Option<(Environment, Daemon, Home)> {
    let environment = Environment::of("more", "dbt")?;
    let home = Home::new();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(root().join("tests/senders/dbt_project"))
        .arg(home.path("shop"))
        .status();
    assert!(copied.expect("it starts").success());
    Some((environment, home.serve().await, home))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_of_dbt_fails_warns_breaks_and_skips_and_then_is_mended() {
    let Some(shop) = shop().await else { return };
    let daemon = &shop.1;
    let wrong = ["build", "--vars", "{amounts: bad, revenue: broken}"];
    assert_eq!(dbt(&wrong, &shop).await, Some(1));
    let warns = "accepted_values_orders_status__paid__open.96857baef1";
    let fails = "unique_orders_order_id.fed79b3a6e";
    let of_the_build = |status: &str| {
        [
            format!("{status} error model.shop.revenue"),
            format!("{status} fail test.shop.{fails}"),
            format!("{status} warn test.shop.{warns}"),
        ]
    };
    // Of the model that was skipped, and of its test, nothing is known.
    assert_eq!(told(daemon).await, of_the_build("firing"));
    let alerts = Value::from(daemon.list("alerts").await);
    let message = "Runtime Error in model revenue (models/revenue.sql)";
    assert!(alerts.to_string().contains(message), "{alerts}");
    for private in ["no_such_column", "select", "raw_orders"] {
        assert!(!alerts.to_string().contains(private), "{private}: {alerts}");
    }
    // The same once more is heard, and is the same three.
    assert_eq!(dbt(&wrong, &shop).await, Some(1));
    assert_eq!(told(daemon).await, of_the_build("firing"));

    // It ends before it begins, where the results of the last run are.
    let nowhere = ["build", "--vars", "{forecast: of nothing}"];
    assert_eq!(dbt(&nowhere, &shop).await, Some(2));
    let mut with_its_own = vec!["firing error dbt.build".to_owned()];
    with_its_own.extend(of_the_build("firing"));
    assert_eq!(told(daemon).await, with_its_own);
    for alert in daemon.list("alerts").await {
        let received = if alert["labels"]["alertname"] == "dbt.build" {
            1
        } else {
            2
        };
        assert_eq!(alert["received"], received, "{alert}");
    }

    assert_eq!(dbt(&["build"], &shop).await, Some(0));
    let mut mended = vec!["resolved error dbt.build".to_owned()];
    mended.extend(of_the_build("resolved"));
    assert_eq!(told(daemon).await, mended);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_of_dbt_is_too_old_then_cannot_be_asked_and_then_is_fresh() {
    let Some(shop) = shop().await else { return };
    let daemon = &shop.1;
    let old = [
        "run",
        "--vars",
        "{loaded: long ago}",
        "--select",
        "raw_orders",
    ];
    assert_eq!(dbt(&old, &shop).await, Some(0));
    assert_eq!(told(daemon).await, [""; 0]);

    assert_eq!(dbt(&["source", "freshness"], &shop).await, Some(1));
    assert_eq!(
        told(daemon).await,
        ["firing fail source.shop.raw.raw_orders"]
    );
    let alerts = daemon.list("alerts").await;
    let labels = json!({ "alertname": "source.shop.raw.raw_orders", "dataset": "raw.raw_orders", "tool": "dbt" });
    assert_eq!(alerts[0]["labels"], labels);
    let expected = "warn after 1 hour, error after 1 day";
    assert_eq!(alerts[0]["annotations"]["expected"], expected);

    // Of a source that cannot be asked dbt leaves no result; that it failed is all that is known.
    let unasked = ["source", "freshness", "--vars", "{field: nothing}"];
    assert_eq!(dbt(&unasked, &shop).await, Some(1));
    assert_eq!(
        told(daemon).await,
        [
            "firing error dbt.source",
            "firing fail source.shop.raw.raw_orders"
        ]
    );

    assert_eq!(
        dbt(&["run", "--select", "raw_orders"], &shop).await,
        Some(0)
    );
    assert_eq!(dbt(&["source", "freshness"], &shop).await, Some(0));
    assert_eq!(
        told(daemon).await,
        [
            "resolved error dbt.source",
            "resolved fail source.shop.raw.raw_orders"
        ]
    );
}

/// A registry of MLflow. Dropped, it and all that it started are ended.
struct Registry {
    child: Child,
    url: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        kill_process_group(Pid::from_child(&self.child), Signal::KILL).unwrap_or_default();
        drop(self.child.wait());
    }
}

impl Registry {
    async fn serve(environment: &Environment, daemon: &Daemon, home: &Home) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let log = fs::File::create(home.path("registry.log")).expect("a file can be made");
        let mut command = environment.command(&environment.0.join("mlflow"), daemon, home);
        command
            .args(["server", "--host", "127.0.0.1", "--workers", "1"])
            .args(["--port", &port.to_string()])
            .args(["--backend-store-uri", "sqlite:///registry.db"])
            .args(["--default-artifact-root", "artifacts"])
            .env("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")
            // A server of one's own on a network of one's own.
            .env("MLFLOW_WEBHOOK_ALLOWED_SCHEMES", "http,https")
            .env("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
            .env(
                "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY",
                format!("{}=", "k".repeat(43)),
            )
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let registry = Self {
            child: command.spawn().expect("it starts"),
            url: format!("http://127.0.0.1:{port}"),
        };
        within(PATIENCE, "the registry answers", async || {
            let health = format!("{}/health", registry.url);
            let answer = daemon.client().get(health).send().await;
            answer.ok().filter(|answer| answer.status() == 200)
        })
        .await;
        registry
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_of_mlflow_tells_by_signed_webhook_that_a_version_failed_and_then_passed() {
    let Some(environment) = Environment::of("more", "MLflow") else {
        return;
    };
    let home = Home::with(
        "[sources.registry]\nkind = \"mlflow\"\nauth = { hmac = { secret = \"right\" } }\n",
        "[people.ana]\nnotify = [{ channel = \"log\", address = \"ana\" }]\n\
         [policies.default]\nsteps = [{ targets = [\"person:ana\"], timeout = \"1h\" }]\n",
    );
    let daemon = home.serve().await;
    let registry = Registry::serve(&environment, &daemon, &home).await;
    let does = async |arguments: &[&str]| {
        let mut command = environment.script("mlflow_registry.py", arguments, &daemon, &home);
        command.env("MLFLOW_TRACKING_URI", &registry.url);
        let output = run(command).await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let hook = format!("{}/hooks/registry", daemon.url);
    assert_eq!(does(&["hook", &hook, "wrong"]).await, "False 401");
    daemon
        .says("wrong or missing credentials: they are wrong source=\"registry\"")
        .await;
    assert_eq!(does(&["hook", &hook, "right"]).await, "True 200");
    let version = does(&["model"]).await;

    does(&["tag", &version, "failed"]).await;
    eventually("the tag is heard of", async || {
        let told = told(&daemon).await;
        (told == ["firing fail validation_status"]).then_some(())
    })
    .await;
    assert_eq!(counts(&daemon).await, (json!(1), json!(0)));
    let alerts = daemon.list("alerts").await;
    let labels = json!({ "alertname": "validation_status", "model": "churn", "tool": "mlflow", "version": version });
    assert_eq!(alerts[0]["labels"], labels);
    does(&["tag", &version, "passed"]).await;
    eventually("the other tag is heard of", async || {
        (counts(&daemon).await == (json!(0), json!(1))).then_some(())
    })
    .await;
    assert_eq!(told(&daemon).await, ["resolved fail validation_status"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_of_soda_3_fails_then_cannot_run_and_then_passes() {
    let Some(environment) = Environment::of("more", "Soda Core 3") else {
        return;
    };
    let home = Home::new();
    let daemon = home.serve().await;
    let scans = async |orders: &str| {
        let said = succeeds(environment.script("soda_scan.py", &[orders], &daemon, &home)).await;
        said.split(' ').take(2).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(scans("bad").await, "exit 2");
    let (few, negative) = ("9ad80062", "ba3323f4 of amount");
    let checks = [
        format!("firing fail {negative}"),
        format!("firing warn {few}"),
    ];
    assert_eq!(told(&daemon).await, checks);
    let alerts = daemon.list("alerts").await;
    let fails = alerts
        .iter()
        .find(|alert| alert["outcome"] == "fail")
        .expect("it is there");
    assert_eq!(
        (
            &fails["attributes"]["title"],
            &fails["attributes"]["severity"]
        ),
        (
            &json!("amounts are not negative: duckdb.orders"),
            &json!("high")
        )
    );
    // One column that is not there takes all checks of the scan with it.
    assert_eq!(scans("broken").await, "exit 3");
    let mut with_the_scan = vec!["firing error scan".to_owned()];
    with_the_scan.extend(checks);
    assert_eq!(told(&daemon).await, with_the_scan);
    assert_eq!(scans("good").await, "exit 1");
    assert_eq!(
        told(&daemon).await,
        [
            format!("firing warn {few}"),
            "resolved error scan".to_owned(),
            format!("resolved fail {negative}"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contract_of_soda_4_fails_then_cannot_be_verified_and_then_holds() {
    let Some(environment) = Environment::of("soda4", "Soda Core 4") else {
        return;
    };
    let home = Home::new();
    let daemon = home.serve().await;
    let verifies = async |orders: &str| {
        succeeds(environment.script("soda_contract.py", &[orders], &daemon, &home)).await;
        told(&daemon).await
    };
    let [negative, empty] = ["2bd79a31 of amount", "29cf3b4e"];
    assert_eq!(
        verifies("bad").await,
        [
            format!("firing fail {empty}"),
            format!("firing fail {negative}")
        ]
    );
    let alerts = daemon.list("alerts").await;
    let of = |name: &str| {
        let found = alerts
            .iter()
            .find(|alert| alert["labels"]["alertname"] == name);
        found.expect("it is there").clone()
    };
    let invalid = of("2bd79a31");
    let labels = json!({ "alertname": "2bd79a31", "dataset": "shop/main/orders", "part": "amount", "tool": "soda" });
    assert_eq!(invalid["labels"], labels);
    assert_eq!(
        invalid["attributes"]["title"],
        "No invalid values: shop/main/orders"
    );
    assert_eq!(
        invalid["annotations"]["expected"],
        "level: fail, must be: 0"
    );
    let rows = of("29cf3b4e");
    assert_eq!(
        (
            &rows["attributes"]["severity"],
            &rows["annotations"]["owner"]
        ),
        (&json!("high"), &json!("team-data"))
    );
    // Its data cannot be opened: nothing is known of its checks, and none of them is stale.
    assert_eq!(
        verifies("broken").await,
        [
            "firing error contract".to_owned(),
            format!("firing fail {empty}"),
            format!("firing fail {negative}"),
        ]
    );
    assert_eq!(
        verifies("good").await,
        [
            "resolved error contract".to_owned(),
            format!("resolved fail {empty}"),
            format!("resolved fail {negative}"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_dagster_and_checks_of_its_assets_fail_and_then_pass() {
    let Some(environment) = Environment::of("more", "Dagster") else {
        return;
    };
    let home = Home::new();
    let daemon = home.serve().await;
    let does = async |orders: &str| {
        let output = run(environment.script("dagster_job.py", &[orders], &daemon, &home)).await;
        assert!(output.status.success(), "{output:?}");
        told(&daemon).await
    };
    let found = |status: &str| {
        [
            format!("{status} fail nightly.load of load"),
            format!("{status} fail orders.not_empty"),
            format!("{status} warn orders.not_negative"),
        ]
    };
    assert_eq!(does("bad").await, found("firing"));
    let alerts = daemon.list("alerts").await;
    let negative = alerts
        .iter()
        .find(|alert| alert["outcome"] == "warn")
        .expect("it is there");
    assert_eq!(
        negative["labels"],
        json!({ "alertname": "orders.not_negative", "dataset": "orders", "tool": "dagster" })
    );
    assert_eq!(negative["annotations"]["message"], "1 negative row");
    // A check that raises has no evaluation: its step failed.
    let step = "fail __ephemeral_asset_job__.orders_not_empty of orders_not_empty";
    let with_the_step = |status: &str| {
        let mut all = vec![format!("{status} {step}")];
        all.extend(found(status));
        all
    };
    assert_eq!(does("broken").await, with_the_step("firing"));
    assert_eq!(does("good").await, with_the_step("resolved"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mapped_task_of_airflow_fails_and_then_succeeds() {
    let Some(environment) = Environment::of("airflow", "Airflow") else {
        return;
    };
    let home = Home::new();
    let daemon = home.serve().await;
    let dags = home.path("airflow/dags");
    fs::create_dir_all(&dags).expect("a directory can be made");
    fs::copy(
        root().join("tests/senders/airflow_dag.py"),
        dags.join("nightly.py"),
    )
    .expect("a file can be made");
    let airflow = async |orders: &str, arguments: &[&str]| {
        let mut command = environment.command(&environment.0.join("airflow"), &daemon, &home);
        command
            .args(arguments)
            .env("ORDERS", orders)
            .env("AIRFLOW_HOME", home.path("airflow"))
            .env("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
            .env("AIRFLOW__USAGE_DATA_COLLECTION__ENABLED", "False");
        let output = run(command).await;
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    let (status, said) = airflow("good", &["db", "migrate"]).await;
    assert_eq!(status, Some(0), "{said}");
    for (orders, expected) in [("bad", "firing"), ("good", "resolved")] {
        let (_status, said) = airflow(orders, &["dags", "test", "nightly"]).await;
        let told = told(&daemon).await;
        assert_eq!(
            told,
            [format!("{expected} fail nightly.load[1] of load[1]")],
            "{said}"
        );
    }
    let alerts = daemon.list("alerts").await;
    assert_eq!(alerts[0]["labels"]["pipeline"], "nightly");
    assert_eq!(
        alerts[0]["annotations"]["message"],
        "ValueError('a negative amount')"
    );
}
