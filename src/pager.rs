//! Pagers: a message goes out by the channel it names, and what the provider said comes back as data.

use crate::domain::page::{Message, Outcome, one_line};
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub mod email;
pub mod log;
pub mod webhook;

/// What others see in a log of us: the name in HTTP requests.
const USER_AGENT: &str = concat!("Watchkeeper/", env!("CARGO_PKG_VERSION"));

/// A provider's words are cut to so many characters.
const WHY_MAX: usize = 300;

/// Shorter parts of a secret are left in a provider's words: they would hide half of the text.
const HIDDEN_MIN: usize = 6;

/// An attempt under way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// Sends a page: one attempt, which ends within its time limit whatever the provider does.
pub trait Pager: Send + Sync + Debug {
    fn send<'a>(&'a self, message: &'a Message, now: Timestamp) -> Sending<'a>;
}

/// A channel as it is configured.
#[derive(Clone, Debug)]
pub enum ChannelSpec {
    Log,
    Webhook {
        /// All of it is a secret: chat services put theirs into the path.
        url: Secret,
        /// Signs the body.
        secret: Option<Secret>,
        timeout: Duration,
    },
    Email {
        host: String,
        port: u16,
        user: Option<String>,
        password: Option<Secret>,
        from: String,
        tls: Tls,
        /// TLS from the first byte (`smtps`) and not by STARTTLS.
        implicit_tls: bool,
        timeout: Duration,
    },
}

/// Whether mail may go out in the clear. A certificate is checked wherever there is TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    Required,
    /// Where the server offers it.
    Opportunistic,
    None,
}

/// Why a channel cannot be made as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("channel \"{channel}\": {why}")]
pub struct BuildError {
    pub channel: String,
    pub why: String,
}

/// The configured channels by name; as a pager, it sends a message by the one that the message names.
#[derive(Debug)]
pub struct Channels(BTreeMap<String, Box<dyn Pager>>);

impl Channels {
    /// Connects to nobody. Webhooks need the process's crypto provider for TLS to be installed before.
    pub fn build(specs: BTreeMap<String, ChannelSpec>) -> Result<Self, BuildError> {
        let mut channels = BTreeMap::new();
        for (name, spec) in specs {
            match build_one(spec) {
                Ok(pager) => channels.insert(name, pager),
                Err(why) => return Err(BuildError { channel: name, why }),
            };
        }
        Ok(Self(channels))
    }
}

fn build_one(spec: ChannelSpec) -> Result<Box<dyn Pager>, String> {
    Ok(match spec {
        ChannelSpec::Log => Box::new(log::Log),
        ChannelSpec::Webhook {
            url,
            secret,
            timeout,
        } => Box::new(webhook::Webhook::new(&url, secret, timeout)?),
        ChannelSpec::Email {
            host,
            port,
            user,
            password,
            from,
            tls,
            implicit_tls,
            timeout,
        } => {
            let server = email::Server::new(host, port, tls, implicit_tls)?;
            let login = email::Login::new(user, password)?;
            Box::new(email::Email::new(server, login, &from, timeout)?)
        }
    })
}

impl Pager for Channels {
    fn send<'a>(&'a self, message: &'a Message, now: Timestamp) -> Sending<'a> {
        match self.0.get(&message.channel) {
            Some(channel) => channel.send(message, now),
            None => Box::pin(std::future::ready(Outcome::Rejected {
                why: format!("channel {:?} is not configured", message.channel),
            })),
        }
    }
}

/// A provider's words as they may stand in a timeline: one short line without the secrets in `hidden`, should it repeat them.
fn quoted(words: &str, hidden: &[String]) -> String {
    let mut longest_first: Vec<&String> = hidden
        .iter()
        .filter(|secret| secret.chars().count() >= HIDDEN_MIN)
        .collect();
    longest_first.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let mut text = words.to_owned();
    for secret in longest_first {
        text = text.replace(secret.as_str(), "[hidden]");
    }
    one_line(&text, WHY_MAX)
}

/// Channels that a reload replaces; what is being sent ends by the old ones.
#[derive(Debug)]
pub struct Swapped(ArcSwap<Channels>);

impl Swapped {
    pub fn new(channels: Channels) -> Self {
        Self(ArcSwap::from_pointee(channels))
    }

    pub fn swap(&self, channels: Channels) {
        self.0.store(Arc::new(channels));
    }
}

impl Pager for Swapped {
    fn send<'a>(&'a self, message: &'a Message, now: Timestamp) -> Sending<'a> {
        let channels = self.0.load_full();
        Box::pin(async move { channels.send(message, now).await })
    }
}
