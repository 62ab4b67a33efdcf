//! A real Alertmanager of Debian's, on a free loopback port, with its delays at their minimum; alerts come by amtool.

use super::wait::{ended, port_in, until};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub(crate) struct Alertmanager {
    process: Child,
    url: String,
    /// Its configuration, data and log, gone with it.
    _folder: TempDir,
}

impl Alertmanager {
    /// Runs one with this configuration, and returns when it is ready.
    pub(crate) async fn start(configuration: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("alertmanager.yml");
        fs::write(&file, configuration).expect("the folder can be written");
        let log = folder.path().join("log");
        let process = spawn(&file, &folder.path().join("data"), &log);

        let mut alertmanager = Self {
            process,
            url: String::new(),
            _folder: folder,
        };
        let port = until("Alertmanager listens", async || {
            assert!(!ended(&mut alertmanager.process), "{}", read(&log));
            // In its log: msg="Listening on" address=127.0.0.1:43210
            let text = read(&log);
            port_in(&text, "msg=\"Listening on\" address=127.0.0.1:").ok_or(text)
        })
        .await;
        alertmanager.url = format!("http://127.0.0.1:{port}");

        let ready = format!("{}/-/ready", alertmanager.url);
        until("Alertmanager is ready", async || {
            let answer = reqwest::get(&ready).await;
            let status = answer.map(|answer| answer.status());
            match status {
                Ok(status) if status.is_success() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        alertmanager
    }

    /// `amtool alert add` of an alert that fires from `start` on.
    pub(crate) fn fire(&self, labels: &[&str], start: DateTime<Utc>) {
        amtool_alert_add(&self.url, labels, &[flag("start", start)]);
    }

    /// `amtool alert add` of the alert that fired from `start` on, with its end.
    pub(crate) fn resolve(&self, labels: &[&str], start: DateTime<Utc>, end: DateTime<Utc>) {
        let flags = [flag("start", start), flag("end", end)];
        amtool_alert_add(&self.url, labels, &flags);
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What it has.
    pub(crate) async fn alerts(&self) -> Value {
        let answer = reqwest::get(format!("{}/api/v2/alerts", self.url)).await;
        let text = answer.expect("it answers").text().await;
        serde_json::from_str(&text.expect("a whole answer")).expect("JSON")
    }
}

/// `amtool alert add` to what is an Alertmanager, or looks like one.
pub(crate) fn amtool_alert_add(url: &str, labels: &[&str], flags: &[String]) {
    let done = Command::new("amtool")
        .arg(format!("--alertmanager.url={url}"))
        .args(["alert", "add"])
        .args(flags)
        .args(labels)
        .output()
        .expect("amtool runs: tests/run installs it");
    assert!(
        done.status.success(),
        "amtool: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}

/// What amtool says, asked of what is an Alertmanager, or looks like one.
pub(crate) fn amtool(url: &str, arguments: &[&str]) -> String {
    let done = Command::new("amtool")
        .arg(format!("--alertmanager.url={url}"))
        .args(arguments)
        .output()
        .expect("amtool runs: tests/run installs it");
    let errors = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "amtool {arguments:?}: {errors}");
    String::from_utf8(done.stdout).expect("amtool says text")
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed, and that is as good.
        if self.process.kill().is_ok() {
            self.process.wait().expect("what was killed ends");
        }
    }
}

fn spawn(configuration: &Path, data: &Path, log: &Path) -> Child {
    let log = File::create(log).expect("the folder can be written");
    Command::new("/usr/bin/prometheus-alertmanager")
        .arg(format!("--config.file={}", configuration.display()))
        .arg(format!("--storage.path={}", data.display()))
        .arg("--web.listen-address=127.0.0.1:0")
        .arg("--cluster.listen-address=")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("Alertmanager runs: tests/run installs it")
}

pub(crate) fn flag(name: &str, at: DateTime<Utc>) -> String {
    format!(
        "--{name}={}",
        at.to_rfc3339_opts(SecondsFormat::Millis, true)
    )
}

fn read(log: &Path) -> String {
    fs::read_to_string(log).expect("the log can be read")
}
