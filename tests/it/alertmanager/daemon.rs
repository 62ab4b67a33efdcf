//! The real executable, serving on a free loopback port from a folder of its own.

use super::wait::{ended, port_in, until};
use reqwest::Client;
use serde_json::Value;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub(crate) struct Daemon {
    process: Child,
    url: String,
    client: Client,
    /// Its configuration, rules, store and log, gone with it.
    _folder: TempDir,
}

impl Daemon {
    /// Serves with these files, by their paths below the folder it works in, and returns when it is ready.
    /// `config/watchkeeper.toml` is to listen on `127.0.0.1:0`.
    pub(crate) async fn serve(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (path, text) in files {
            let path = folder.path().join(path);
            let above = path.parent().expect("a file lies in a folder");
            fs::create_dir_all(above).expect("the folder can be written");
            fs::write(path, text).expect("the folder can be written");
        }
        let log = folder.path().join("log");
        let mut daemon = Self {
            process: spawn(folder.path(), &log),
            url: String::new(),
            client: Client::new(),
            _folder: folder,
        };
        let port = until("watchkeeper listens", async || {
            let text = fs::read_to_string(&log).expect("the log can be read");
            assert!(!ended(&mut daemon.process), "it ended:\n{text}");
            port_in(&text, "listening on http://127.0.0.1:").ok_or(text)
        })
        .await;
        daemon.url = format!("http://127.0.0.1:{port}");
        daemon.until_ready().await;
        daemon
    }

    async fn until_ready(&self) {
        let ready = self.url("/readyz");
        until("watchkeeper is ready", async || {
            let answer = self.client.get(&ready).send().await;
            match answer.map(|answer| answer.status()) {
                Ok(status) if status.is_success() => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        answer(self.client.get(self.url(path))).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        answer(self.client.post(self.url(path)).json(body)).await
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended by itself cannot be killed, and that is as good.
        if self.process.kill().is_ok() {
            self.process.wait().expect("what was killed ends");
        }
    }
}

fn spawn(folder: &Path, log: &Path) -> Child {
    let log = File::create(log).expect("the folder can be written");
    let also = log.try_clone().expect("a file can be opened twice");
    Command::new(env!("CARGO_BIN_EXE_watchkeeper"))
        .arg("--config")
        .arg(folder.join("config"))
        .arg("serve")
        .current_dir(folder)
        .env_remove("NOTIFY_SOCKET")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(also)
        .spawn()
        .expect("the executable runs")
}

async fn answer(request: reqwest::RequestBuilder) -> Value {
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    let text = answer.text().await.expect("a whole answer");
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).expect("an answer is JSON")
}
