//! `[channels]`: by which ways pages leave.

use crate::config::environment::Environment;
use crate::config::secrets::secret;
use crate::config::server::is_http_url;
use crate::domain::secret::Secret;
use crate::toml_file::nearest::unknown;
use crate::toml_file::{Section, Value};
use std::collections::BTreeMap;

/// The channel that is always there, and that the built-in policy writes to.
pub const LOG_CHANNEL: &str = "log";

#[derive(Clone, Debug)]
pub enum Channel {
    /// Our own log: for trying out, nobody is woken.
    Log,
    Webhook {
        url: String,
        /// Signs the body.
        secret: Option<Secret>,
    },
    Email(Email),
    /// A kind that is not built yet: what is sent to it fails.
    NotYet {
        kind: &'static str,
    },
}

#[derive(Clone, Debug)]
pub struct Email {
    pub host: String,
    pub port: u16,
    /// TLS from the first byte (`smtps`); else the connection is upgraded, as `tls` says.
    pub implicit_tls: bool,
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// `Name <address>` or an address.
    pub from: String,
    pub tls: Tls,
}

/// Whether mail may leave unencrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    Required,
    /// Where the server offers it.
    Opportunistic,
    Plain,
}

const TLS: [(&str, Tls); 3] = [
    ("required", Tls::Required),
    ("opportunistic", Tls::Opportunistic),
    ("none", Tls::Plain),
];

/// Every kind there is, and whether it is built.
const KINDS: [(&str, bool); 13] = [
    ("log", true),
    ("webhook", true),
    ("email", true),
    ("slack", false),
    ("teams", false),
    ("mattermost", false),
    ("ntfy", false),
    ("telegram", false),
    ("twilio_sms", false),
    ("twilio_voice", false),
    ("pagerduty", false),
    ("opsgenie", false),
    ("command", false),
];

impl Channel {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Webhook { .. } => "webhook",
            Self::Email(_) => "email",
            Self::NotYet { kind } => kind,
        }
    }
}

/// The channels, and the names of all of them, also of those with a problem.
pub(super) fn read(
    section: &Section<'_>,
    environment: &Environment,
) -> (BTreeMap<String, Channel>, Vec<String>) {
    let mut channels = BTreeMap::from([(LOG_CHANNEL.to_owned(), Channel::Log)]);
    let mut names = vec![LOG_CHANNEL.to_owned()];
    for (name, channel) in section.each_section() {
        names.push(name.text.to_owned());
        if let Some(channel) = read_one(channel, environment) {
            channels.insert(name.text.to_owned(), channel);
        }
    }
    names.sort();
    names.dedup();
    (channels, names)
}

fn read_one(section: Section<'_>, environment: &Environment) -> Option<Channel> {
    let value = section.required("kind")?;
    let found = value.string()?;
    let channel = match found {
        "log" => Some(Channel::Log),
        "webhook" => webhook(&section, environment),
        "email" => email(&section, environment).map(Channel::Email),
        _ => return not_yet(value, found),
    };
    section.done();
    channel
}

/// The keys of a kind that is not built are not looked at.
fn not_yet(value: Value<'_>, found: &str) -> Option<Channel> {
    let Some((kind, _)) = KINDS.iter().find(|(kind, _)| *kind == found) else {
        value.error(unknown("kind", found, KINDS.map(|(kind, _)| kind)));
        return None;
    };
    value.warn(format!("kind \"{kind}\" is not yet in effect"));
    Some(Channel::NotYet { kind })
}

fn webhook(section: &Section<'_>, environment: &Environment) -> Option<Channel> {
    let url = section
        .required("url")
        .and_then(|value| webhook_url(value, environment));
    let secret = section
        .get("secret")
        .map(|value| secret(value, environment));
    Some(Channel::Webhook {
        url: url?,
        secret: match secret {
            Some(secret) => Some(secret?),
            None => None,
        },
    })
}

/// The address of a hook is often a secret itself, so it may be given as one.
fn webhook_url(value: Value<'_>, environment: &Environment) -> Option<String> {
    let url = match value.is_string() {
        true => value.string()?.to_owned(),
        false => secret(value, environment)?.expose().to_owned(),
    };
    if !is_http_url(&url) {
        value.error("a URL such as \"https://host/path\" is wanted");
        return None;
    }
    Some(url)
}

fn email(section: &Section<'_>, environment: &Environment) -> Option<Email> {
    let server = section.required("smtp").and_then(smtp);
    let password = section
        .get("password")
        .map(|value| secret(value, environment));
    let from = section.required("from").and_then(mailbox);
    let tls = section.get("tls");
    let tls_wanted = tls.map_or(Some(Tls::Required), |value| value.one_of("tls", &TLS));
    let (host, port, implicit_tls, user) = server?;
    if let Some(value) = tls
        && implicit_tls
        && tls_wanted == Some(Tls::Plain)
    {
        value.error("\"none\" does not go with smtps, which is TLS from the first byte");
    }
    if password.is_some() && user.is_none() {
        section.error("a password without a user; write the user in \"smtp\": smtps://user@host");
    }
    Some(Email {
        host,
        port,
        implicit_tls,
        user,
        password: match password {
            Some(password) => Some(password?),
            None => None,
        },
        from: from?,
        tls: tls_wanted?,
    })
}

/// `smtp[s]://[user@]host[:port]`: host, port, whether it is TLS from the first byte, user.
fn smtp(value: Value<'_>) -> Option<(String, u16, bool, Option<String>)> {
    let text = value.string()?;
    let wanted = || {
        value.error("a mail server such as \"smtps://user@mail.example:465\" or \"smtp://mail.example:587\" is wanted");
        None
    };
    let (rest, implicit_tls) = match (text.strip_prefix("smtps://"), text.strip_prefix("smtp://")) {
        (Some(rest), _) => (rest, true),
        (None, Some(rest)) => (rest, false),
        (None, None) => return wanted(),
    };
    let (user, server) = match rest.trim_end_matches('/').rsplit_once('@') {
        Some((user, server)) => (Some(user), server),
        None => (None, rest.trim_end_matches('/')),
    };
    if user.is_some_and(|user| user.contains(':')) {
        value.hide();
        value.error("the password of a mail server belongs in \"password\", not in the URL");
        return None;
    }
    let default_port = if implicit_tls { 465 } else { 587 };
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (server, Some(default_port)),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_host =
        !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/?#".contains(c));
    let user = match user {
        Some("") => return wanted(),
        Some(user) => Some(user.replace("%40", "@")),
        None => None,
    };
    match port {
        Some(port) if is_host && port > 0 => Some((host.to_owned(), port, implicit_tls, user)),
        _ => wanted(),
    }
}

fn mailbox(value: Value<'_>) -> Option<String> {
    let found = value.text()?;
    if !is_mailbox(&found) {
        value.error(format!(
            "a sender such as \"Watchkeeper <watch@example.org>\" is wanted, found \"{found}\""
        ));
        return None;
    }
    Some(found)
}

/// `name@host` or `Name <name@host>`, as far as a glance can tell.
pub(super) fn is_mailbox(text: &str) -> bool {
    let address = match text.split_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').unwrap_or_default(),
        None => text,
    };
    let parts = address.split_once('@');
    let is_clean = !address.contains(|c: char| c.is_whitespace() || c == ',');
    is_clean && parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
}
