//! Talking to a running daemon.

use crate::cli::WrongCall;
use crate::config::Environment;
use anyhow::{Context, bail};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::Value;
use std::time::Duration;

/// Where the daemon is, unless `WATCHKEEPER_URL` says otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:9095";

const TIMEOUT: Duration = Duration::from_secs(30);

/// A daemon that works on something says so more often than this.
const SILENT_MAX: Duration = Duration::from_secs(120);

/// Bytes of one line of an answer.
const LINE_MAX_BYTES: usize = 64 << 20;

/// A daemon to be asked.
#[derive(Debug)]
pub(super) struct Daemon {
    client: Client,
    url: String,
    token: Option<String>,
}

impl Daemon {
    /// The one that `WATCHKEEPER_URL` and `WATCHKEEPER_TOKEN` name.
    pub(super) fn of(environment: &Environment) -> anyhow::Result<Self> {
        let url = environment.daemon_url().unwrap_or(DEFAULT_URL);
        Self::at(url, environment.daemon_token())
    }

    pub(super) fn at(url: &str, token: Option<&str>) -> anyhow::Result<Self> {
        let client = Client::builder()
            .timeout(TIMEOUT)
            .build()
            .context("cannot make requests")?;
        Ok(Self {
            client,
            url: url.trim_end_matches('/').to_owned(),
            token: token.map(str::to_owned),
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, Some(body)).await
    }

    pub(super) async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::DELETE, path, None).await
    }

    /// Posts what takes long, and takes each line of the answer as it comes.
    pub(super) async fn post_for_lines(
        &self,
        path: &str,
        body: &Value,
        each: &mut dyn FnMut(Value) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let patient = Client::builder().read_timeout(SILENT_MAX).build();
        let patient = patient.context("cannot make requests")?;
        let mut answer = self.send(&patient, Method::POST, path, Some(body)).await?;
        if !answer.status().is_success() {
            return Self::json(answer).await.map(drop);
        }
        let mut begun: Vec<u8> = Vec::new();
        let lost = || format!("the daemon at {} went away", self.url);
        while let Some(piece) = answer.chunk().await.with_context(lost)? {
            begun.extend_from_slice(&piece);
            while let Some(end) = begun.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = begun.drain(..=end).collect();
                each(
                    serde_json::from_slice(&line)
                        .context("the daemon answered a line that is no JSON")?,
                )?;
            }
            if begun.len() > LINE_MAX_BYTES {
                bail!("the daemon answered a line of more than {LINE_MAX_BYTES} bytes");
            }
        }
        Ok(())
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        Self::json(self.send(&self.client, method, path, body).await?).await
    }

    async fn send(
        &self,
        client: &Client,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Response> {
        let mut request = client.request(method, format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.with_context(|| {
            format!(
                "no daemon answers at {} (set WATCHKEEPER_URL to where it listens)",
                self.url
            )
        })
    }

    async fn json(answer: Response) -> anyhow::Result<Value> {
        let status = answer.status();
        let answer: Value = answer
            .json()
            .await
            .with_context(|| format!("the daemon answered {status} and no JSON"))?;
        if status.is_success() {
            return Ok(answer);
        }
        let errors = items(&answer, "errors").iter().filter_map(Value::as_str);
        let errors: String = errors.map(|error| format!("{error}\n")).collect();
        if !errors.is_empty() {
            crate::cli::print(&errors)?;
        }
        let detail = answer
            .get("detail")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if status == StatusCode::BAD_REQUEST || status == StatusCode::NOT_FOUND {
            return Err(WrongCall(detail.to_owned()).into());
        }
        bail!("{detail} ({status})")
    }
}

/// A text member of an answer, or nothing.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The items of a list of an answer.
pub(super) fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// A query's value, percent-encoded.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}
