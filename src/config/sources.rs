//! `[sources]`: who may send to us, in which format, and how they prove who they are.

use crate::config::environment::Environment;
use crate::config::mappings::{Mappings, hosts};
use crate::config::secrets::secret;
use crate::config::server::Server;
use crate::domain::confirmation::HostPattern;
use crate::domain::mapping::Mapping;
use crate::domain::secret::Secret;
use crate::domain::signature::{Algorithm, Encoding, Freshness, Piece, Scheme, WITHIN, pieces};
use crate::domain::source::{Kind, Rate};
use crate::toml_file::{Name, Section, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct Source {
    pub kind: Kind,
    /// Any of them will do.
    pub auth: Vec<SourceAuth>,
    /// How long an alert of it may fire without being heard of.
    pub stale_after: Option<Duration>,
    pub rate: Option<Rate>,
    /// How what it posts is read, where it is of kind `mapped`.
    pub mapping: Option<Arc<Mapping>>,
    /// Where a confirmation may lead.
    pub confirm_hosts: Vec<HostPattern>,
}

/// How a sender proves who it is.
#[derive(Clone, Debug)]
pub enum SourceAuth {
    /// Not at all.
    None,
    Bearer(Secret),
    Basic {
        user: String,
        password: Secret,
    },
    /// The whole value of a header, also `Authorization` with a scheme of the sender's own.
    Header {
        name: String,
        value: Secret,
    },
    /// A parameter of the address, for senders that can set nothing else.
    Query {
        name: String,
        value: Secret,
    },
    /// A signature of the body.
    Hmac {
        scheme: Scheme,
        secret: Secret,
    },
}

/// Of a rate.
const MAX_REQUESTS: u32 = 1_000_000;

const AUTH_WANTED: &str = "\"none\" or a table with one of bearer, basic, header, hmac, query";

pub(super) fn read(
    section: &Section<'_>,
    server: &Server,
    has_builtin: bool,
    mappings: &Mappings,
    environment: &Environment,
) -> BTreeMap<String, Source> {
    let mut sources = BTreeMap::new();
    if has_builtin && server.is_on_loopback() {
        let builtin = |kind: Kind| {
            (
                kind.to_string(),
                Source {
                    kind,
                    auth: vec![SourceAuth::None],
                    stale_after: None,
                    rate: None,
                    mapping: None,
                    confirm_hosts: Vec::new(),
                },
            )
        };
        sources.extend(Kind::ALL.map(builtin));
    }
    for (name, source) in section.each_section() {
        if let Some(source) = read_one(name, source, server, mappings, environment) {
            sources.insert(name.text.to_owned(), source);
        }
    }
    sources
}

fn read_one(
    name: Name<'_>,
    section: Section<'_>,
    server: &Server,
    mappings: &Mappings,
    environment: &Environment,
) -> Option<Source> {
    if !is_path_segment(name.text) {
        section.error(format!(
            "the name of a source is a part of its address /hooks/NAME: letters, digits, \"-\", \"_\" and \".\" are wanted, found \"{}\"",
            name.text
        ));
    }
    let written = section.required("kind");
    let kind = written.and_then(Value::parsed::<Kind>);
    let (mapping, confirm_hosts) = mapped(&section, kind, mappings);
    let signs = mapping
        .as_ref()
        .and_then(|mapping| mapping.signature.clone());
    let usual = signs.or_else(|| kind.and_then(usual_scheme));
    let auth = auth_of(&section, usual.as_ref(), server, "a source", environment);
    let stale_after = section.get("stale_after").and_then(Value::lasting);
    let rate = section.get("rate").and_then(rate);
    section.done();
    Some(Source {
        kind: kind?,
        auth: auth?,
        stale_after,
        rate,
        mapping,
        confirm_hosts,
    })
}

fn rate(value: Value<'_>) -> Option<Rate> {
    let section = value.section()?;
    let requests = section
        .required("requests")
        .and_then(|value| value.integer(1..=MAX_REQUESTS));
    let within = section.required("within").and_then(Value::lasting);
    section.done();
    Some(Rate {
        requests: requests?,
        within: within?,
    })
}

/// Whether a name can stand in an address as it is.
pub(super) fn is_path_segment(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && name.chars().all(fits)
}

/// How `what` is proven; it must be said on a public listener.
pub(super) fn auth_of(
    section: &Section<'_>,
    usual: Option<&Scheme>,
    server: &Server,
    what: &str,
    environment: &Environment,
) -> Option<Vec<SourceAuth>> {
    match section.get("auth") {
        Some(value) => auth(value, usual, environment),
        None if server.is_on_loopback() => Some(vec![SourceAuth::None]),
        None => {
            section.error(format!(
                "{what} on a public listener needs \"auth\"; an open one says auth = \"none\""
            ));
            None
        }
    }
}

/// What only sources of kind `mapped` have.
fn mapped(
    section: &Section<'_>,
    kind: Option<Kind>,
    mappings: &Mappings,
) -> (Option<Arc<Mapping>>, Vec<HostPattern>) {
    if kind.is_some_and(|kind| kind != Kind::Mapped) {
        for key in ["mapping", "confirm_hosts"] {
            section.refuse(key, &format!("\"{key}\" is for kind \"mapped\""));
        }
        return (None, Vec::new());
    }
    let written = match kind {
        Some(_) => section.required("mapping"),
        None => section.get("mapping"),
    };
    let mapping = written.and_then(|value| mappings.named(value));
    let hosts = section.get("confirm_hosts").and_then(hosts);
    let usual = mapping
        .as_ref()
        .map(|mapping| mapping.confirm_hosts.clone());
    (mapping, hosts.or(usual).unwrap_or_default())
}

fn auth(
    value: Value<'_>,
    usual: Option<&Scheme>,
    environment: &Environment,
) -> Option<Vec<SourceAuth>> {
    if value.is_string() {
        return match value.string()? {
            "none" => Some(vec![SourceAuth::None]),
            // It may be a secret that was meant for `bearer`.
            _ => {
                value.hide();
                value.error(format!("{AUTH_WANTED} is wanted, found another string"));
                None
            }
        };
    }
    if !value.is_list() {
        return Some(vec![one_auth(value, usual, environment)?]);
    }
    let items = value.list()?;
    if items.is_empty() {
        value.error(format!("{AUTH_WANTED} is wanted, found an empty list"));
    }
    items
        .into_iter()
        .map(|item| one_auth(item, usual, environment))
        .collect()
}

fn one_auth(
    value: Value<'_>,
    usual: Option<&Scheme>,
    environment: &Environment,
) -> Option<SourceAuth> {
    if !value.is_table() {
        value.hide();
        return value.wanted("a table with one of bearer, basic, header, hmac, query");
    }
    let section = value.section()?;
    let ways = ["bearer", "basic", "header", "hmac", "query"];
    if ways.iter().filter(|way| section.has(way)).count() > 1 {
        section.error("one way of authentication is wanted, found several; write a list of tables to allow each");
    }
    let bearer = section
        .get("bearer")
        .and_then(|value| secret(value, environment));
    let basic = section
        .get("basic")
        .and_then(|value| basic(value, environment));
    let header = section
        .get("header")
        .and_then(|value| header(value, environment));
    let query = section
        .get("query")
        .and_then(|value| query(value, environment));
    let hmac = section
        .get("hmac")
        .and_then(|value| hmac(value, usual, environment));
    if !ways.iter().any(|way| section.has(way)) {
        section.error(format!("{AUTH_WANTED} is wanted"));
    }
    section.done();
    bearer
        .map(SourceAuth::Bearer)
        .or(basic)
        .or(header)
        .or(query)
        .or(hmac)
}

fn basic(value: Value<'_>, environment: &Environment) -> Option<SourceAuth> {
    let section = value.section()?;
    let user = section.required("user").and_then(Value::text);
    let password = section
        .required("password")
        .and_then(|value| secret(value, environment));
    section.done();
    Some(SourceAuth::Basic {
        user: user?,
        password: password?,
    })
}

fn header(value: Value<'_>, environment: &Environment) -> Option<SourceAuth> {
    let section = value.section()?;
    let name = section.required("name").and_then(header_name);
    let value = section
        .required("value")
        .and_then(|value| secret(value, environment));
    section.done();
    Some(SourceAuth::Header {
        name: name?,
        value: value?,
    })
}

fn header_name(value: Value<'_>) -> Option<String> {
    let name = value.text()?;
    if !name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    {
        value.error(format!("the name of a header is wanted, found \"{name}\""));
        return None;
    }
    Some(name)
}

fn query(value: Value<'_>, environment: &Environment) -> Option<SourceAuth> {
    let section = value.section()?;
    let name = section
        .get("name")
        .map_or(Some("token".to_owned()), Value::text);
    let value = section
        .required("value")
        .and_then(|value| secret(value, environment));
    section.done();
    Some(SourceAuth::Query {
        name: name?,
        value: value?,
    })
}

/// How a sender signs: as senders of its kind do, with what is said otherwise.
fn hmac(value: Value<'_>, usual: Option<&Scheme>, environment: &Environment) -> Option<SourceAuth> {
    let section = value.section()?;
    let key = section
        .required("secret")
        .and_then(|value| secret(value, environment));
    let scheme = signed_as(&section, usual);
    section.done();
    Some(SourceAuth::Hmac {
        scheme: scheme?,
        secret: key?,
    })
}

/// A scheme of signatures: the usual one, with what is said otherwise.
pub(super) fn signed_as(section: &Section<'_>, usual: Option<&Scheme>) -> Option<Scheme> {
    let header = match (section.get("header"), usual) {
        (Some(value), _) => header_name(value).map(|name| name.to_ascii_lowercase()),
        (None, Some(usual)) => Some(usual.header.clone()),
        (None, None) => {
            section.error("\"header\" is missing: the header with the signature");
            None
        }
    };
    let usual = usual.cloned();
    let mut scheme = usual.unwrap_or_else(|| scheme("", "", Encoding::Hex, &[Piece::Body], None));
    if let Some(prefix) = section.get("prefix") {
        scheme.prefix = prefix.string()?.to_owned();
    }
    if let Some(value) = section.get("encoding") {
        let words = [("hex", Encoding::Hex), ("base64", Encoding::Base64)];
        scheme.encoding = value.one_of("an encoding", &words)?;
    }
    if let Some(value) = section.get("algorithm") {
        let words = [("sha256", Algorithm::Sha256), ("sha512", Algorithm::Sha512)];
        scheme.algorithm = value.one_of("an algorithm", &words)?;
    }
    if let Some(value) = section.get("signed") {
        scheme.signed = match pieces(value.string()?) {
            Ok(pieces) => pieces,
            Err(why) => return value.refuse(why),
        };
    }
    let within = match section.get("within") {
        Some(value) => value.lasting()?,
        None => WITHIN,
    };
    if let Some(value) = section.get("timestamp") {
        scheme.timestamp = Some(Freshness {
            header: header_name(value)?.to_ascii_lowercase(),
            within,
        });
    } else if let Some(usual) = &mut scheme.timestamp {
        usual.within = within;
    }
    scheme.header = header?;
    Some(scheme)
}

fn scheme(
    header: &str,
    prefix: &str,
    encoding: Encoding,
    signed: &[Piece],
    timestamp: Option<&str>,
) -> Scheme {
    Scheme {
        header: header.to_owned(),
        prefix: prefix.to_owned(),
        encoding,
        algorithm: Algorithm::Sha256,
        signed: signed.to_vec(),
        timestamp: timestamp.map(|header| Freshness {
            header: header.to_owned(),
            within: WITHIN,
        }),
    }
}

/// How senders of a kind sign, as their makers say.
fn usual_scheme(kind: Kind) -> Option<Scheme> {
    let header = |name: &str| Piece::Header(name.to_owned());
    let dot = || Piece::Text(".".to_owned());
    let body = [Piece::Body];
    match kind {
        Kind::Grafana => Some(scheme(
            "x-grafana-alerting-signature",
            "",
            Encoding::Hex,
            &body,
            None,
        )),
        Kind::DbtCloud => Some(scheme("authorization", "", Encoding::Hex, &body, None)),
        // As GitHub does.
        Kind::Change => Some(scheme(
            "x-hub-signature-256",
            "sha256=",
            Encoding::Hex,
            &body,
            None,
        )),
        Kind::Mlflow => Some(scheme(
            "x-mlflow-signature",
            "v1,",
            Encoding::Base64,
            &[
                header("x-mlflow-delivery-id"),
                dot(),
                header("x-mlflow-timestamp"),
                dot(),
                Piece::Body,
            ],
            Some("x-mlflow-timestamp"),
        )),
        _other => None,
    }
}
