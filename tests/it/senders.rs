//! What is ready to copy for jobs, run as jobs run it: against the real program, and against one that is away.

mod more;

use crate::daemon::{Daemon, Home, Receiver, Reply, closed_url};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/senders")
}

/// A job of Python's that posts to this address.
fn python(url: &str, code: &str) -> Command {
    let mut command = Command::new("python3");
    command
        .args(["-B", "-c", code])
        .env("PYTHONPATH", folder())
        .env("WATCHKEEPER_URL", url);
    command
}

/// Runs a job off the threads of the test.
async fn run(mut command: Command) -> Output {
    let ran = tokio::task::spawn_blocking(move || command.output()).await;
    ran.expect("it does not panic").expect("it starts")
}

async fn succeeds(command: Command) -> String {
    let output = run(command).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The alerts of the first incident: firing and resolved.
async fn counts(daemon: &Daemon) -> (Value, Value) {
    let (status, incident) = daemon.get("/api/v1/incidents/1").await;
    assert_eq!(status, 200, "{incident}");
    let alerts = &incident["alerts"];
    (alerts["firing"].clone(), alerts["resolved"].clone())
}

const REPORT: &str = r#"
import sys
from watchkeeper import check, report
status, run = sys.argv[1:]
print(report("nightly-load", [check("rows_today", status, dataset="orders", observed=float("nan"), message="0 rows")], run_id=run))
"#;

fn reports(url: &str, status: &str, run: &str) -> Command {
    let mut command = python(url, REPORT);
    command.args([status, run]);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_pythons_opens_joins_and_resolves() {
    let home = Home::new();
    let daemon = home.serve().await;
    let said = succeeds(reports(&daemon.url, "fail", "run-1")).await;
    assert!(said.contains("'opened': [1]"), "{said}");
    let said = succeeds(reports(&daemon.url, "fail", "run-2")).await;
    assert!(said.contains("'joined': [1]"), "{said}");
    assert_eq!(counts(&daemon).await, (json!(1), json!(0)));
    succeeds(reports(&daemon.url, "pass", "run-3")).await;
    assert_eq!(counts(&daemon).await, (json!(0), json!(1)));
    let (_, alerts) = daemon.get("/api/v1/alerts").await;
    let labels = &alerts["alerts"][0]["labels"];
    assert_eq!(
        labels,
        &json!({ "alertname": "rows_today", "dataset": "orders", "tool": "nightly-load" })
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_on_where_nobody_takes_its_report() {
    for url in [closed_url(), "http://127.0.0.1:1".to_owned()] {
        let url = url.trim_end_matches("/hook").to_owned();
        // Its waits are not what is seen here.
        let code = format!("import time; time.sleep = lambda s: None\n{REPORT}");
        let mut impatient = python(&url, &code);
        impatient.args(["fail", "run-1"]);
        let output = run(impatient).await;
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.starts_with("watchkeeper: the report was not delivered: "),
            "{said}"
        );
        assert_eq!(String::from_utf8_lossy(&output.stdout), "None\n");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_is_sent_again_when_that_may_help_and_waits_as_it_is_told() {
    let n = Arc::new(AtomicUsize::new(0));
    let receiver = Receiver::answering(move |_body| {
        Reply::Later([503, 429, 200][n.fetch_add(1, Ordering::SeqCst).min(2)], 7)
    })
    .await;
    let base = receiver.url.trim_end_matches("/hook").to_owned();
    let code = format!("import time; time.sleep = lambda s: print('waits', s)\n{REPORT}");
    let mut command = python(&base, &code);
    command.args(["fail", "run-1"]);
    let said = succeeds(command).await;
    assert_eq!(said, "waits 7.0\nwaits 7.0\n{}\n");
    let got = receiver.got();
    assert_eq!(got.len(), 3);
    assert!(
        got.iter().all(|one| one.body == got[0].body),
        "the same each time"
    );

    let refusing = Receiver::answering(|_body| Reply::Status(400)).await;
    let base = refusing.url.trim_end_matches("/hook").to_owned();
    let output = run(reports(&base, "fail", "run-1")).await;
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("HTTP 400"));
    assert_eq!(
        refusing.got().len(),
        1,
        "what is refused would be refused again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_of_airflow_that_fails_opens_and_one_that_succeeds_resolves() {
    let home = Home::new();
    let daemon = home.serve().await;
    let code = r#"
import sys, types, datetime
import airflow_callbacks
task = types.SimpleNamespace(dag_id="load", task_id="orders", map_index=2, run_id=sys.argv[2], try_number=1,
                             log_url="http://airflow.example/log", end_date=datetime.datetime.now(datetime.timezone.utc))
getattr(airflow_callbacks, sys.argv[1])({"ti": task, "exception": ValueError("no rows")})
"#;
    for (callback, run, expected) in [("failed", "r1", (1, 0)), ("succeeded", "r2", (0, 1))] {
        let mut command = python(&daemon.url, code);
        command.args([callback, run]);
        succeeds(command).await;
        assert_eq!(
            counts(&daemon).await,
            (json!(expected.0), json!(expected.1))
        );
    }
    let (_, alerts) = daemon.get("/api/v1/alerts").await;
    let labels = &alerts["alerts"][0]["labels"];
    assert_eq!(labels["alertname"], "load.orders[2]");
    assert_eq!(labels["pipeline"], "load");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_of_a_model_are_checked_against_their_thresholds() {
    let home = Home::new();
    let daemon = home.serve().await;
    let code = r#"
import mlflow_validation
print(mlflow_validation.post("churn", {"accuracy": 0.7, "log_loss": "0.3", "auc": float("nan")},
    {"accuracy": (">=", 0.9), "log_loss": ("<=", 0.4), "auc": (">=", 0.8), "recall": (">=", 0.5)}, version="7", run_id="r"))
"#;
    let said = succeeds(python(&daemon.url, code)).await;
    assert!(said.contains("'accepted': 4"), "{said}");
    let (_, alerts) = daemon.get("/api/v1/alerts").await;
    let alerts = alerts["alerts"].as_array().expect("a list");
    let shown = |alert: &Value| {
        let text = |pointer: &str| {
            alert
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or("-")
                .to_owned()
        };
        format!(
            "{} {} {}",
            text("/status"),
            text("/labels/alertname"),
            text("/labels/check")
        )
    };
    let mut shown: Vec<String> = alerts.iter().map(shown).collect();
    shown.sort();
    assert_eq!(
        shown,
        ["firing accuracy -", "firing auc -", "firing recall error"],
        "what passes is remembered only where it failed"
    );
}

/// A script of the environment that `tests/run` makes, with real tools.
fn real(name: &str, argument: &str, url: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/senders/bin/python");
    assert!(python.exists(), "tests/run makes {}", python.display());
    let mut command = Command::new(python);
    command
        .args(["-B", "-W", "ignore"])
        .arg(root.join("tests/senders").join(name))
        .arg(argument)
        .env("PYTHONPATH", folder())
        .env("WATCHKEEPER_URL", url)
        // They tell nobody how they are used.
        .env("GX_ANALYTICS_ENABLED", "false")
        .env("DO_NOT_TRACK", "1");
    command
}

/// `firing expect_…: severity`, of all alerts, sorted.
async fn shown(daemon: &Daemon) -> Vec<String> {
    let alerts = daemon.list("alerts").await;
    let shown = |alert: &Value| {
        let text = |pointer: &str| {
            let value = alert.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or("-").to_owned()
        };
        let twin = match alert.pointer("/labels/check") {
            Some(_) => " could not run",
            None => "",
        };
        format!(
            "{} {}{twin} of {}",
            text("/status"),
            text("/labels/alertname"),
            text("/labels/part")
        )
    };
    let mut shown: Vec<String> = alerts.iter().map(shown).collect();
    shown.sort();
    shown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_of_great_expectations_fails_and_then_passes() {
    let home = Home::new();
    let daemon = home.serve().await;
    let output = run(real("checkpoint.py", "bad", &daemon.url)).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        shown(&daemon).await,
        [
            "firing expect_column_values_to_be_between of amount",
            "firing expect_column_values_to_be_unique could not run of order_nr",
        ]
    );
    let alerts = daemon.list("alerts").await;
    let between = alerts
        .iter()
        .find(|alert| alert["labels"]["check"].is_null());
    let between = between.expect("it is there");
    assert_eq!(between["labels"]["dataset"], "warehouse.orders");
    assert_eq!(between["attributes"]["severity"], "warning");
    assert!(
        !Value::from(alerts.clone()).to_string().contains("-3.5"),
        "{alerts:?}"
    );
    let output = run(real("checkpoint.py", "good", &daemon.url)).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        shown(&daemon).await,
        [
            "resolved expect_column_values_to_be_between of amount",
            "stale expect_column_values_to_be_unique could not run of order_nr",
        ],
        "of the other column nothing was said any more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_of_evidently_drifts_and_then_does_not() {
    let home = Home::new();
    let daemon = home.serve().await;
    for (data, age) in [("drifted", "firing"), ("same", "resolved")] {
        let output = run(real("drift.py", data, &daemon.url)).await;
        assert!(output.status.success(), "{output:?}");
        let shown = shown(&daemon).await;
        let wanted = format!("{age} ValueDrift.drift of age");
        assert!(shown.contains(&wanted), "{data}: {shown:?} {output:?}");
    }
    let alerts = daemon.list("alerts").await;
    assert_eq!(alerts[0]["labels"]["model"], "churn");
    assert_eq!(alerts[0]["labels"]["report"], "churn-drift");
}

/// A daemon with sources that the keys of these clients open, and with somebody to go on to.
async fn paged_by_vendors() -> (Home, Daemon) {
    let home = Home::with(
        "[sources.og]\nkind = \"opsgenie\"\nauth = { bearer = \"og-key\" }\n\
         [sources.pd]\nkind = \"pagerduty\"\nauth = { bearer = \"pd-key\" }\n",
        "[people.ana]\nnotify = [{ channel = \"log\", address = \"ana\" }]\n\
         [people.ben]\nnotify = [{ channel = \"log\", address = \"ben\" }]\n\
         [policies.default]\nsteps = [{ targets = [\"person:ana\"], timeout = \"1h\" }, { targets = [\"person:ben\"], timeout = \"1h\" }]\n",
    );
    let config = std::fs::read_to_string(home.config().join("watchkeeper.toml")).expect("a file");
    home.write(
        "watchkeeper.toml",
        &format!("builtin_sources = false\n{config}"),
    );
    let daemon = home.serve().await;
    (home, daemon)
}

/// What a client of a vendor's prints; with its status where it ends with one.
async fn client_says(name: &str, command: &str, daemon: &Daemon) -> String {
    let output = run(real(name, command, &daemon.url)).await;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim_end().to_owned();
    match output.status.code() {
        Some(0) => said,
        code => format!("{code:?} {said}"),
    }
}

/// To whom pages of the first incident went.
async fn paged(daemon: &Daemon) -> Vec<Value> {
    let (_, pages) = daemon.get("/api/v1/incidents/1/pages").await;
    let pages = pages["pages"].as_array().expect("a list").iter();
    pages.rev().map(|page| page["to"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_of_opsgenie_creates_acknowledges_escalates_and_closes() {
    let (_home, daemon) = paged_by_vendors().await;
    let says = async |command: &str| client_says("opsgenie_alerts.py", command, &daemon).await;
    assert_eq!(says("create").await, "Create: Created alert, True, disk");
    assert_eq!(says("create").await, "Create: Created alert, True, disk");
    assert_eq!(says("get").await, "disk open P2 acknowledged=False count=2");
    assert_eq!(counts(&daemon).await, (json!(1), json!(0)));
    assert_eq!(
        says("acknowledge").await,
        "Acknowledge: Acknowledged alert, True, disk"
    );
    let held = async || daemon.get("/api/v1/incidents/1").await.1["acknowledged_by"].clone();
    assert_eq!(held().await, "og");
    assert_eq!(says("get").await, "disk open P2 acknowledged=True count=2");
    assert_eq!(
        says("unacknowledge").await,
        "UnAcknowledge: Unacknowledged alert, True, disk"
    );
    assert_eq!(held().await, Value::Null);
    assert_eq!(
        says("escalate").await,
        "EscalateToNext: Escalated alert, True, disk"
    );
    assert_eq!(paged(&daemon).await, ["ana", "ana", "ben"]);
    assert_eq!(
        says("note").await,
        "AddNote: Read; a note comes with the alert, True, disk"
    );
    assert_eq!(
        says("raise").await,
        "UpdatePriority: Updated priority, True, disk"
    );
    assert_eq!(says("open").await, "disk");
    assert_eq!(
        says("snooze").await,
        "Some(1) 422 an alert cannot be snoozed here: acknowledge it, and the acknowledge_timeout of its policy pages again"
    );
    assert_eq!(says("close").await, "Close: Closed alert, True, disk");
    assert_eq!(
        says("get").await,
        "disk closed P1 acknowledged=False count=3"
    );
    assert_eq!(
        (says("open").await, says("closed").await),
        (String::new(), "disk".to_owned())
    );
    assert_eq!(counts(&daemon).await, (json!(0), json!(1)));
    let (_, incident) = daemon.get("/api/v1/incidents/1").await;
    assert!(incident["clear_since"].is_string(), "{incident}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_of_pagerduty_triggers_acknowledges_and_resolves() {
    let (_home, daemon) = paged_by_vendors().await;
    for (command, held, expected) in [
        ("trigger", Value::Null, (1, 0)),
        ("acknowledge", json!("pd"), (1, 0)),
        ("resolve", json!("pd"), (0, 1)),
    ] {
        assert_eq!(
            client_says("pagerduty_events.py", command, &daemon).await,
            "disk"
        );
        let (_, incident) = daemon.get("/api/v1/incidents/1").await;
        assert_eq!(incident["acknowledged_by"], held, "{command}");
        assert_eq!(
            counts(&daemon).await,
            (json!(expected.0), json!(expected.1)),
            "{command}"
        );
    }
    let (_, alerts) = daemon.get("/api/v1/alerts").await;
    assert_eq!(alerts["alerts"][0]["attributes"]["severity"], "error");
    assert_eq!(alerts["alerts"][0]["annotations"]["free"], "1 %");
}

fn script(name: &str, url: &str) -> Command {
    let mut command = Command::new(folder().join(name));
    command.env("WATCHKEEPER_URL", url);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_problem_of_nagios_opens_and_its_recovery_resolves() {
    let home = Home::new();
    let daemon = home.serve().await;
    let mut since = 1_795_422_000;
    for (state, expected) in [("CRITICAL", (1, 0)), ("WARNING", (1, 0)), ("OK", (0, 1))] {
        since += 60;
        let mut command = script("nagios.sh", &daemon.url);
        command
            .env("HOSTNAME", "db1")
            .env("SERVICEDESC", "disk /")
            .env("STATE", state)
            .env("OUTPUT", "DISK $(touch /tmp/never) `x` \" 91% used")
            .env("LASTCHANGE", since.to_string());
        succeeds(command).await;
        assert_eq!(
            counts(&daemon).await,
            (json!(expected.0), json!(expected.1)),
            "{state}"
        );
    }
    let (_, alerts) = daemon.get("/api/v1/alerts").await;
    let alert = &alerts["alerts"][0];
    assert_eq!(
        alert["labels"],
        json!({ "alertname": "disk /", "host": "db1", "part": "disk /", "tool": "nagios" })
    );
}

/// A dbt that leaves these results, or none, and ends with this status.
fn dbt(results: Option<&str>, status: u8) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let leave = match results {
        Some(name) => {
            let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("tests/it/fixtures/payloads/dbt-core")
                .join(name);
            format!(
                "mkdir -p target; cp {} target/run_results.json",
                fixture.display()
            )
        }
        None => "true".to_owned(),
    };
    let program = dir.path().join("dbt");
    std::fs::write(&program, format!("#!/bin/sh\n{leave}\nexit {status}\n")).expect("a file");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, executable).expect("it can be run");
    dir
}

/// Runs dbt by our script; its exit status.
async fn builds(dir: &tempfile::TempDir, url: &str) -> Option<i32> {
    let mut command = script("dbt.sh", url);
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", dir.path().display());
    command
        .arg("test")
        .current_dir(dir.path())
        .env("PATH", path);
    run(command).await.status.code()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_of_dbt_keeps_its_own_status_and_never_sends_results_of_the_one_before() {
    let home = Home::new();
    let daemon = home.serve().await;
    let firing = async |daemon: &Daemon| {
        let shown = shown(daemon).await;
        shown
            .into_iter()
            .filter(|alert| alert.starts_with("firing"))
            .collect::<Vec<_>>()
    };
    let failing = dbt(Some("run_results_test_failing.json"), 1);
    assert_eq!(builds(&failing, &daemon.url).await, Some(1));
    assert!(
        firing(&daemon)
            .await
            .contains(&"firing test.shop.unique_orders_id.1360ecc70e of -".to_owned())
    );
    // It ends before it has results, in the directory where those of the last run are.
    let broken = dbt(None, 2);
    std::fs::rename(failing.path().join("target"), broken.path().join("target")).expect("moved");
    assert_eq!(builds(&broken, &daemon.url).await, Some(2));
    assert!(!broken.path().join("target/run_results.json").exists());
    assert!(
        firing(&daemon)
            .await
            .contains(&"firing dbt.test could not run of -".to_owned())
    );
    assert_eq!(
        builds(&broken, "http://127.0.0.1:1").await,
        Some(2),
        "nobody takes it"
    );
}

/// `failed: it says "no"`, of each change, sorted.
async fn changes(daemon: &Daemon) -> Vec<String> {
    let changes = daemon.list("changes").await;
    let shown = |change: &Value| {
        let text = |name: &str| change[name].as_str().unwrap_or("-").to_owned();
        format!("{}: {}", text("status"), text("summary"))
    };
    let mut shown: Vec<String> = changes.iter().map(shown).collect();
    shown.sort();
    shown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_is_told_when_it_begins_and_ends_and_keeps_its_own_status() {
    let home = Home::new();
    let daemon = home.serve().await;
    let deploy = |words: &[&str], command: &[&str]| {
        let mut deploy = script("deploy.sh", &daemon.url);
        deploy.args(words).arg("--").args(command);
        deploy
    };
    let nasty = "it says \"no\" \\ $(touch /tmp/never) `x`\n\tand é";
    let words = [
        "--service",
        "checkout",
        "--version",
        "1.4.2",
        "--by",
        "ana",
        "--summary",
        nasty,
    ];
    let output = run(deploy(&words, &["sh", "-c", "echo rolled out"])).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "rolled out\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    for (status, environment) in [(3, "failed"), (143, "ended")] {
        let words = [
            "--service",
            "checkout",
            "--environment",
            environment,
            "--by",
            "",
        ];
        let output = run(deploy(&words, &["sh", "-c", &format!("exit {status}")])).await;
        assert_eq!(output.status.code(), Some(status), "{output:?}");
    }
    let mut done = script("deploy.sh", &daemon.url);
    done.args(["--kind", "configuration", "--summary", "new tax rules"]);
    succeeds(done).await;
    assert_eq!(
        changes(&daemon).await,
        [
            "cancelled: deployment of checkout to ended",
            "failed: deployment of checkout to failed",
            "succeeded: it says \"no\" \\ $(touch /tmp/never) `x`  and é",
            "succeeded: new tax rules",
        ],
        "each is one change, however it went"
    );
    for wrong in [&["--service"][..], &["--colour", "red"], &["roll-out.sh"]] {
        let mut command = script("deploy.sh", &daemon.url);
        command.args(wrong);
        assert_eq!(run(command).await.status.code(), Some(2), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_goes_on_where_nobody_hears_of_it() {
    // A curl that gives up at once: how long it tries is not what is seen here.
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join("curl");
    std::fs::write(&program, "#!/bin/sh\ncat >/dev/null\nexit 7\n").expect("a file");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, executable).expect("it can be run");
    let mut command = script("deploy.sh", "http://127.0.0.1:1");
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", dir.path().display());
    command.env("PATH", path);
    command.args([
        "--service",
        "checkout",
        "--",
        "sh",
        "-c",
        "echo done; exit 4",
    ]);
    let output = run(command).await;
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "watchkeeper: the change was not delivered\n".repeat(2)
    );
}

/// The lines of the block that follows `key` in a text of YAML, without their indentation.
fn yaml_block(text: &str, key: &str) -> String {
    let mut lines = text.lines().skip_while(|line| line.trim() != key);
    let indent = |line: &str| line.len() - line.trim_start().len();
    let own = indent(lines.next().expect("the key is there"));
    let block: Vec<&str> = lines
        .take_while(|line| line.trim().is_empty() || indent(line) > own)
        .collect();
    let inner = block.iter().map(|line| indent(line)).min().unwrap_or(0);
    let lines = block
        .iter()
        .map(|line| line.get(inner..).unwrap_or_default());
    lines.map(|line| format!("{line}\n")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_of_github_actions_tells_how_the_job_went() {
    let text = std::fs::read_to_string(folder().join("github_actions.yml")).expect("a file");
    let script = yaml_block(&text, "run: |");
    assert!(
        !script.contains("${{"),
        "what others wrote is never run: {script}"
    );
    let home = Home::new();
    let daemon = home.serve().await;
    let step = |values: &[(&str, &str)]| {
        let mut command = Command::new("bash");
        command.args(["-e", "-c", &script]);
        // Every variable of the step has a value, as an empty one at least.
        let named = yaml_block(&text, "env:");
        let named = named.lines().filter_map(|line| line.split_once(": "));
        for (name, _) in named {
            let given = values.iter().find(|(known, _)| *known == name);
            command.env(name, given.map_or("", |(_, value)| value));
        }
        command.env("URL", &daemon.url);
        command
    };
    let mut values = vec![
        ("SERVICE", "checkout"),
        ("ENVIRONMENT", "production"),
        ("STATUS", "failure"),
        ("VERSION", "f95f852bd8fca8fcc58a9a2d6c842781e32a215e"),
        ("BY", "ana"),
        ("SUMMARY", "Tax \"rules\" $(touch /tmp/never)\n\nin full"),
        ("RUN", "https://github.com/example/checkout/actions/runs/9"),
        ("ID", "example/checkout/9/1/deploy"),
    ];
    let output = run(step(&values)).await;
    assert!(output.status.success(), "{output:?}");
    values.retain(|(name, _)| *name != "SUMMARY");
    let output = run(step(&values)).await;
    assert!(output.status.success(), "{output:?}");
    let changes = daemon.list("changes").await;
    assert_eq!(changes.len(), 1, "{changes:?}");
    let change = &changes[0];
    assert_eq!(change["status"], "failed");
    assert_eq!(change["summary"], "Tax \"rules\" $(touch /tmp/never)");
    assert_eq!(change["version"], "f95f852b");
    assert_eq!(
        change["url"],
        "https://github.com/example/checkout/actions/runs/9"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_template_for_argo_cd_is_a_change_from_running_to_its_end() {
    let text = std::fs::read_to_string(folder().join("argocd_notifications.yaml")).expect("a file");
    let template = yaml_block(&text, "body: |");
    let rendered = |phase: &str, finished_at: Option<&str>| {
        let started_at = "2026-03-02T08:50:00Z";
        // What the templates of Argo CD make of each of these.
        let values = [
            (
                "(printf \"%s/%s\" .app.metadata.name .app.status.operationState.startedAt)",
                json!(format!("checkout/{started_at}")),
            ),
            (".app.status.operationState.phase", json!(phase)),
            (
                "(default .app.status.operationState.startedAt .app.status.operationState.finishedAt)",
                json!(finished_at.unwrap_or(started_at)),
            ),
            (".app.metadata.name", json!("checkout")),
            (
                ".app.status.sync.revision",
                json!("f95f852bd8fca8fcc58a9a2d6c842781e32a215e"),
            ),
            (".app.status.operationState.message", Value::Null),
            (
                "(printf \"%s/applications/%s\" .context.argocdUrl .app.metadata.name)",
                json!("https://argocd.example/applications/checkout"),
            ),
            (".app.spec.destination.namespace", json!("shop")),
            (
                "(default .app.spec.destination.server .app.spec.destination.name)",
                json!("eu1"),
            ),
            (".app.spec.project", json!("default")),
        ];
        let filled = values.iter().fold(template.clone(), |text, (name, value)| {
            text.replace(&format!("{{{{ toJson {name} }}}}"), &value.to_string())
        });
        assert!(!filled.contains("{{"), "{filled}");
        serde_json::from_str::<Value>(&filled).expect("it renders JSON")
    };
    let home = Home::new();
    let daemon = home.serve().await;
    for (phase, finished_at) in [
        ("Running", None),
        ("Failed", Some("2026-03-02T08:54:00Z")),
        ("Running", None),
    ] {
        let (status, answer) = daemon
            .post("/hooks/change", &rendered(phase, finished_at))
            .await;
        assert_eq!((status, &answer["accepted"]), (200, &json!(1)), "{answer}");
    }
    let changes = daemon.list("changes").await;
    assert_eq!(changes.len(), 1, "{changes:?}");
    let change = &changes[0];
    assert_eq!(
        (&change["status"], &change["service"]),
        (&json!("failed"), &json!("checkout"))
    );
    assert_eq!(
        change["labels"],
        json!({ "namespace": "shop", "cluster": "eu1", "project": "default" })
    );
    assert_eq!(change["started_at"], "2026-03-02T08:50:00.000Z");
    assert_eq!(change["ended_at"], "2026-03-02T08:54:00.000Z");
}
