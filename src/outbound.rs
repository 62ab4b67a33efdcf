//! Requests that are no pages: an address is fetched because its sender wants that, where that is allowed.

use crate::domain::confirmation::{Address, HostPattern, Unconfirmed};
use reqwest::{Client, Url, redirect};
use std::error::Error;
use std::time::Duration;

/// What others see in a log of us: the name in HTTP requests.
const USER_AGENT: &str = concat!("Watchkeeper/", env!("CARGO_PKG_VERSION"));

/// How long a confirmation may take: its sender waits for our answer meanwhile.
pub const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);

/// Of an address that is no address.
const SHOWN_CHARS: usize = 64;

#[derive(Clone, Debug)]
pub struct Outbound {
    client: Client,
}

impl Outbound {
    /// Connects to nobody. Needs the process's crypto provider for TLS to be installed before.
    pub fn new(timeout: Duration) -> Result<Self, String> {
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .timeout(timeout)
            .build();
        match client {
            Ok(client) => Ok(Self { client }),
            Err(error) => Err(format!("no HTTP client: {}", chain(error))),
        }
    }

    /// Fetches an address once, if it is on one of these hosts. Only the status of the answer is looked at.
    pub async fn confirm(&self, url: &str, hosts: &[HostPattern]) -> Result<(), Unconfirmed> {
        let url = allowed(url, hosts)?;
        let answer = self.client.get(url).send().await;
        let answer = answer.map_err(|error| Unconfirmed::Failed(chain(error)))?;
        let status = answer.status();
        if status.is_redirection() {
            let why = format!("HTTP {status}: redirects are not followed");
            return Err(Unconfirmed::Failed(why));
        }
        match status.is_success() {
            true => Ok(()),
            false => Err(Unconfirmed::Failed(format!("HTTP {status}"))),
        }
    }
}

fn allowed(text: &str, hosts: &[HostPattern]) -> Result<Url, Unconfirmed> {
    let url: Url = text.parse().map_err(|why| {
        let shown: String = text.chars().take(SHOWN_CHARS).collect();
        Unconfirmed::NotAllowed(format!(
            "an https address is wanted, found {shown:?}: {why}"
        ))
    })?;
    let address = Address {
        scheme: url.scheme(),
        host: url.host_str().unwrap_or_default(),
        port: url.port(),
        has_credentials: !url.username().is_empty() || url.password().is_some(),
    };
    address.is_allowed_by(hosts)?;
    Ok(url)
}

/// An error and its causes in one line, without the address, which holds a token.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(why) = cause {
        text.push_str(&format!(": {why}"));
        cause = why.source();
    }
    text
}
