//! What is on disk, read as one: configuration, rules and on-call readiness; and the values that are live made from it.

use crate::clock;
use crate::config::auth::Role as TokenRole;
use crate::config::channels::{Channel, Email, Tls};
use crate::config::log::{Log, LogFormat};
use crate::config::sources::SourceAuth;
use crate::config::store::Store;
use crate::config::{Config, Environment, RulesFrom, load, readiness};
use crate::domain::finding::{Finding, Level};
use crate::domain::page::ATTEMPT_TIMEOUT;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::http::Current;
use crate::http::auth::{Access, Credential, Door, Role, Source, Token};
use crate::http::gate::Network;
use crate::pager::{ChannelSpec, Channels, Tls as PagerTls};
use crate::rules::{Context, LoadedRules, load_builtin, load_dir};
use crate::store::InForce;
use crate::store::postgres::{self, Address};
use crate::telemetry::Form;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything the files say, built and not yet live.
#[derive(Debug)]
pub struct Files {
    pub config: Config,
    pub current: Current,
    pub channels: Channels,
    pub warnings: Vec<String>,
}

/// Reads the files. The error is everything that is wrong with them, as it is printed.
pub fn read(
    directory: Option<&Path>,
    environment: &Environment,
    now: Timestamp,
) -> Result<Files, String> {
    let loaded = load(directory, environment);
    let mut findings = loaded.findings;
    let Some(config) = loaded.config.or(loaded.remains) else {
        return Err(show(&findings));
    };
    let rules = load_rules(&config);
    findings.extend(rules.findings);
    findings.extend(store_findings(&config.store));
    findings.sort();
    let has_errors = findings.iter().any(Finding::is_error);
    let (Some(rules), false) = (rules.rules, has_errors) else {
        return Err(show(&findings));
    };
    let channels = match Channels::build(specs(&config)) {
        Ok(channels) => channels,
        Err(error) => return Err(format!("{}channels: {error}\n", show(&findings))),
    };
    let in_force = InForce {
        rules: Arc::new(rules),
        book: Arc::new(config.book.clone()),
    };
    let current = Current {
        in_force,
        access: access(&config),
        max_body_bytes: config.server.max_body_bytes,
        zone: config.server.zone,
        loaded_at: now,
        refused: None,
    };
    let warnings = findings.iter().map(ToString::to_string).collect();
    Ok(Files {
        config,
        current,
        channels,
        warnings,
    })
}

/// Everything there is to say about what is on disk, by file and position. Readiness needs files without errors.
pub fn check(directory: Option<&Path>, environment: &Environment, now: Timestamp) -> Vec<Finding> {
    let loaded = load(directory, environment);
    let mut findings = loaded.findings;
    if let Some(config) = loaded.config.as_ref().or(loaded.remains.as_ref()) {
        findings.extend(load_rules(config).findings);
        findings.extend(store_findings(&config.store));
    }
    if let Some(config) = &loaded.config {
        findings.extend(readiness::check(config, &loaded.places, now));
    }
    findings.sort();
    findings
}

/// The findings as they are printed, and how many there are.
pub fn show(findings: &[Finding]) -> String {
    let n_errors = findings.iter().filter(|finding| finding.is_error()).count();
    let count = |n: usize, what: &str| {
        if n == 1 {
            format!("1 {what}")
        } else {
            format!("{n} {what}s")
        }
    };
    let mut text: String = findings
        .iter()
        .map(|finding| format!("{finding}\n"))
        .collect();
    text.push_str(&format!(
        "{}, {}\n",
        count(n_errors, "error"),
        count(findings.len() - n_errors, "warning")
    ));
    text
}

/// Which store is to be opened.
#[derive(Clone, Debug)]
pub enum StoreAt {
    Sled(PathBuf),
    Postgres(Box<postgres::Settings>),
}

/// The store that the configuration names; what is wrong with its address, as a finding.
pub fn store_at(store: &Store) -> Result<StoreAt, Finding> {
    let named = match store {
        Store::Sled(directory) => return Ok(StoreAt::Sled(directory.clone())),
        Store::Postgres(named) => named,
    };
    let password = named.password.as_ref().map(Secret::expose);
    match Address::parse(named.url.expose(), password) {
        Ok(address) => Ok(StoreAt::Postgres(Box::new(postgres::Settings {
            address,
            connections: named.connections,
            connect_timeout: named.connect_timeout,
            statement_timeout: named.statement_timeout,
            moment: clock::both,
        }))),
        Err(bad) => Err(named.place.secretive(
            Level::Error,
            format!("a url such as \"postgres://user@host/watchkeeper\" is wanted: {bad}"),
        )),
    }
}

/// What is to be said of the store's address, without connecting.
fn store_findings(store: &Store) -> Vec<Finding> {
    let (Store::Postgres(named), at) = (store, store_at(store)) else {
        return Vec::new();
    };
    match at {
        Err(finding) => vec![finding],
        Ok(StoreAt::Postgres(settings)) if settings.address.is_exposed() => {
            let said =
                "the database's certificate is not verified: add sslmode=verify-full to the url";
            vec![named.place.secretive(Level::Warning, said.to_owned())]
        }
        Ok(_) => Vec::new(),
    }
}

pub fn log_form(log: &Log) -> (Form, &'static str) {
    let form = match log.format {
        LogFormat::Text => Form::Text,
        LogFormat::Json => Form::Json,
    };
    (form, log.level.as_str())
}

fn load_rules(config: &Config) -> LoadedRules {
    let context = Context {
        zone: config.server.zone,
        matrix: &config.matrix,
        book: &config.book,
    };
    match &config.rules {
        RulesFrom::Directory(directory) => load_dir(directory, context),
        RulesFrom::BuiltIn => load_builtin(context),
    }
}

fn access(config: &Config) -> Access {
    let role = |role: TokenRole| match role {
        TokenRole::Viewer => Role::Viewer,
        TokenRole::Responder => Role::Responder,
        TokenRole::Admin => Role::Admin,
    };
    let tokens = config
        .tokens
        .iter()
        .map(|(name, token)| Token::new(name.clone(), role(token.role), &token.secret));
    let sources = config.sources.iter().map(|(name, source)| {
        let credentials = source.auth.iter().map(credential).collect();
        let made = Source::new(source.kind, credentials).at_most(source.rate);
        let made = made.mapped(source.mapping.clone(), source.confirm_hosts.clone());
        (name.clone(), Arc::new(made))
    });
    let heartbeats = config.heartbeats.iter().map(|(name, heartbeat)| {
        let credentials = heartbeat.auth.iter().map(credential).collect();
        (name.clone(), Arc::new(Door(credentials)))
    });
    let proxies = config.server.trusted_proxies.iter();
    let proxies = proxies.map(|network| Network::new(network.address, network.bits));
    Access {
        tokens: tokens.collect(),
        sources: sources.collect(),
        heartbeats: heartbeats.collect(),
        proxies: proxies.collect(),
    }
}

fn credential(auth: &SourceAuth) -> Credential {
    match auth {
        SourceAuth::None => Credential::Open,
        SourceAuth::Bearer(secret) => Credential::Bearer(secret.clone()),
        SourceAuth::Basic { user, password } => Credential::Basic {
            user: user.clone(),
            password: password.clone(),
        },
        SourceAuth::Header { name, value } => Credential::Header {
            name: name.clone(),
            value: value.clone(),
        },
        SourceAuth::Query { name, value } => Credential::Query {
            name: name.clone(),
            value: value.clone(),
        },
        SourceAuth::Hmac { scheme, secret } => Credential::Signature {
            scheme: scheme.clone(),
            secret: secret.clone(),
        },
    }
}

fn specs(config: &Config) -> BTreeMap<String, ChannelSpec> {
    let spec = |channel: &Channel| match channel {
        Channel::Log => Some(ChannelSpec::Log),
        Channel::Webhook { url, secret } => Some(ChannelSpec::Webhook {
            url: Secret::new(url.as_str()),
            secret: secret.clone(),
            timeout: ATTEMPT_TIMEOUT,
        }),
        Channel::Email(email) => Some(email_spec(email)),
        // Sending to it is refused, as to any channel that is not there.
        Channel::NotYet { .. } => None,
    };
    config
        .channels
        .iter()
        .filter_map(|(name, channel)| Some((name.clone(), spec(channel)?)))
        .collect()
}

fn email_spec(email: &Email) -> ChannelSpec {
    ChannelSpec::Email {
        host: email.host.clone(),
        port: email.port,
        user: email.user.clone(),
        password: email.password.clone(),
        from: email.from.clone(),
        tls: match email.tls {
            Tls::Required => PagerTls::Required,
            Tls::Opportunistic => PagerTls::Opportunistic,
            Tls::Plain => PagerTls::None,
        },
        implicit_tls: email.implicit_tls,
        timeout: ATTEMPT_TIMEOUT,
    }
}
