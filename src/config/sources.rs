//! `[sources]`: who may send to us, in which format, and how they prove who they are.

use crate::config::environment::Environment;
use crate::config::secrets::secret;
use crate::config::server::Server;
use crate::domain::secret::Secret;
use crate::domain::source::Kind;
use crate::toml_file::{Name, Section, Value};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub struct Source {
    pub kind: Kind,
    /// Any of them will do.
    pub auth: Vec<SourceAuth>,
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
    /// A way that is not built yet, by its name: nothing fits it.
    NotYet(&'static str),
}

const AUTH_WANTED: &str = "\"none\" or a table with one of bearer, basic, header, hmac, query";

pub(super) fn read(
    section: &Section<'_>,
    server: &Server,
    has_builtin: bool,
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
                },
            )
        };
        sources.extend(Kind::ALL.map(builtin));
    }
    for (name, source) in section.each_section() {
        if let Some(source) = read_one(name, source, server, environment) {
            sources.insert(name.text.to_owned(), source);
        }
    }
    sources
}

fn read_one(
    name: Name<'_>,
    section: Section<'_>,
    server: &Server,
    environment: &Environment,
) -> Option<Source> {
    let is_path_segment = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.text.is_empty() || !name.text.chars().all(is_path_segment) {
        section.error(format!(
            "the name of a source is a part of its address /hooks/NAME: letters, digits, \"-\", \"_\" and \".\" are wanted, found \"{}\"",
            name.text
        ));
    }
    let written = section.required("kind");
    let kind = written.and_then(Value::parsed::<Kind>);
    if let (Some(value), Some(kind)) = (written, kind)
        && !Kind::READ.contains(&kind)
    {
        value.warn(format!("kind \"{kind}\" is not yet in effect"));
    }
    let auth = match section.get("auth") {
        Some(value) => auth(value, environment),
        None if server.is_on_loopback() => Some(vec![SourceAuth::None]),
        None => {
            section.error(
                "a source on a public listener needs \"auth\"; an open one says auth = \"none\"",
            );
            None
        }
    };
    section.not_yet("stale_after");
    section.not_yet("mapping");
    section.done();
    Some(Source {
        kind: kind?,
        auth: auth?,
    })
}

fn auth(value: Value<'_>, environment: &Environment) -> Option<Vec<SourceAuth>> {
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
        return Some(vec![one_auth(value, environment)?]);
    }
    let items = value.list()?;
    if items.is_empty() {
        value.error(format!("{AUTH_WANTED} is wanted, found an empty list"));
    }
    items
        .into_iter()
        .map(|item| one_auth(item, environment))
        .collect()
}

fn one_auth(value: Value<'_>, environment: &Environment) -> Option<SourceAuth> {
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
    section.not_yet("hmac");
    section.not_yet("query");
    let not_yet = ["hmac", "query"].into_iter().find(|way| section.has(way));
    if !ways.iter().any(|way| section.has(way)) {
        section.error(format!("{AUTH_WANTED} is wanted"));
    }
    section.done();
    bearer
        .map(SourceAuth::Bearer)
        .or(basic)
        .or(header)
        .or(not_yet.map(SourceAuth::NotYet))
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
