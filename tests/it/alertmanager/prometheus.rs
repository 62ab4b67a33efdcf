//! A real Prometheus of Debian's, with rules that are judged each second, posting to Alertmanagers and to what looks like one.

use super::wait::{ended, port_in, until};
use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub(crate) struct Prometheus {
    process: Child,
    url: String,
    folder: TempDir,
}

impl Prometheus {
    /// Runs one with these rules that posts to each of these: host and port, and a prefix of the path.
    pub(crate) async fn start(rules: &str, alertmanagers: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let one = |(target, prefix): &(&str, &str)| {
            format!(
                "  - path_prefix: {prefix}\n    static_configs: [{{ targets: ['{target}'] }}]\n"
            )
        };
        let all: String = alertmanagers.iter().map(one).collect();
        let configuration = format!(
            "global:\n  evaluation_interval: 1s\n  external_labels: {{ cluster: eu1 }}\n\
             rule_files: [rules.yml]\nalerting:\n  alertmanagers:\n{all}"
        );
        let written = [
            ("prometheus.yml", configuration.as_str()),
            ("rules.yml", rules),
        ];
        for (name, text) in written {
            fs::write(folder.path().join(name), text).expect("the folder can be written");
        }
        let log = folder.path().join("log");
        let mut prometheus = Self {
            process: spawn(&folder, &File::create(&log).expect("a log")),
            url: String::new(),
            folder,
        };
        let port = until("Prometheus listens", async || {
            let text = fs::read_to_string(&log).expect("the log can be read");
            assert!(!ended(&mut prometheus.process), "it ended:\n{text}");
            port_in(&text, "msg=\"Listening on\" address=127.0.0.1:").ok_or(text)
        })
        .await;
        prometheus.url = format!("http://127.0.0.1:{port}");
        prometheus
    }

    /// From now on it has these rules.
    pub(crate) async fn judge_by(&self, rules: &str) {
        fs::write(self.folder.path().join("rules.yml"), rules).expect("the folder can be written");
        let reload = format!("{}/-/reload", self.url);
        let answer = reqwest::Client::new().post(reload).send().await;
        assert!(answer.expect("it answers").status().is_success());
    }

    /// It dies, and says nothing any more.
    pub(crate) fn kill(&mut self) {
        if self.process.kill().is_ok() {
            self.process.wait().expect("what was killed ends");
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(folder: &TempDir, log: &File) -> Child {
    let path = folder.path();
    Command::new("prometheus")
        .arg(format!(
            "--config.file={}",
            path.join("prometheus.yml").display()
        ))
        .arg(format!(
            "--storage.tsdb.path={}",
            path.join("data").display()
        ))
        .arg("--web.listen-address=127.0.0.1:0")
        .arg("--web.enable-lifecycle")
        .arg("--rules.alert.resend-delay=1s")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.try_clone().expect("a file can be opened twice"))
        .spawn()
        .expect("Prometheus runs: tests/run installs it")
}
