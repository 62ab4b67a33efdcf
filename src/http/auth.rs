//! Who may do what: bearer tokens with a role for people and programs, credentials of their own for sources.

use crate::domain::confirmation::HostPattern;
use crate::domain::mapping::Mapping;
use crate::domain::secret::Secret;
use crate::domain::signature::Scheme;
use crate::domain::source::{Kind, Rate};
use crate::domain::time::Timestamp;
use crate::http::Site;
use crate::http::gate::{Network, Wrong};
use crate::http::hooks::Counters;
use crate::http::problem::Problem;
use crate::http::signature::{Signed, signed};
use axum::extract::{FromRequestParts, Query};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What a token may do; each includes the ones before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Works on incidents.
    Responder,
    /// Changes what is live, and speaks for others.
    Admin,
}

/// A bearer token, kept as its hash.
#[derive(Clone, Debug)]
pub struct Token {
    pub name: String,
    pub role: Role,
    hash: [u8; 32],
}

impl Token {
    pub fn new(name: String, role: Role, secret: &Secret) -> Self {
        Self {
            name,
            role,
            hash: hash(secret.expose().as_bytes()),
        }
    }
}

/// What a source shows that it is the one.
#[derive(Clone, Debug)]
pub enum Credential {
    Open,
    Bearer(Secret),
    Basic { user: String, password: Secret },
    Header { name: String, value: Secret },
    Query { name: String, value: Secret },
    Signature { scheme: Scheme, secret: Secret },
}

/// What opens by any one of several credentials, so that they can be rotated.
#[derive(Clone, Debug)]
pub struct Door(pub Vec<Credential>);

/// A configured sender.
#[derive(Clone, Debug)]
pub struct Source {
    pub kind: Kind,
    pub door: Door,
    /// How often it may send; none where it may as often as it likes.
    pub rate: Option<Rate>,
    /// How what it posts is read, where it is of kind `mapped`.
    pub mapping: Option<Arc<Mapping>>,
    /// Where a confirmation may lead.
    pub confirm_hosts: Vec<HostPattern>,
    pub(super) counters: Counters,
}

impl Source {
    pub fn new(kind: Kind, credentials: Vec<Credential>) -> Self {
        Self {
            kind,
            door: Door(credentials),
            rate: None,
            mapping: None,
            confirm_hosts: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// The same, no more often than that.
    pub fn at_most(self, rate: Option<Rate>) -> Self {
        Self { rate, ..self }
    }

    /// The same read by a mapping.
    pub fn mapped(
        mut self,
        mapping: Option<Arc<Mapping>>,
        confirm_hosts: Vec<HostPattern>,
    ) -> Self {
        self.mapping = mapping;
        self.confirm_hosts = confirm_hosts;
        self
    }

    /// Whether the sender's secret stands in a header of this name, which is in lower case.
    pub(super) fn has_secret_in_header(&self, name: &str) -> bool {
        let is_usual = ["authorization", "proxy-authorization", "cookie"].contains(&name);
        let is_its = |credential: &Credential| matches!(credential, Credential::Header { name: header, .. } if header.eq_ignore_ascii_case(name));
        is_usual || self.door.0.iter().any(is_its)
    }

    /// The same of a parameter of the address.
    pub(super) fn has_secret_in_query(&self, name: &str) -> bool {
        let is_its = |credential: &Credential| matches!(credential, Credential::Query { name: parameter, .. } if parameter == name);
        self.door.0.iter().any(is_its)
    }

    /// Whether it shows itself as `Authorization: Basic` does.
    pub(super) fn is_basic(&self) -> bool {
        let is_basic = |credential: &Credential| matches!(credential, Credential::Basic { .. });
        self.door.0.iter().any(is_basic)
    }
}

/// Everything that decides who may do what.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// None: everything is open, which the configuration allows on loopback only.
    pub tokens: Vec<Token>,
    pub sources: BTreeMap<String, Arc<Source>>,
    /// How pings of heartbeats prove whose they are.
    pub heartbeats: BTreeMap<String, Arc<Door>>,
    /// Who says truly whom a request comes from.
    pub proxies: Vec<Network>,
}

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The token's name; none where everything is open.
    pub token: Option<String>,
    pub role: Role,
}

impl Actor {
    pub fn must_be(&self, role: Role) -> Result<(), Problem> {
        if self.role >= role {
            return Ok(());
        }
        let needed = match role {
            Role::Viewer => "viewer",
            Role::Responder => "responder",
            Role::Admin => "admin",
        };
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!("this needs a token with the role {needed}"),
        ))
    }

    /// In whose name something is done: the token's, unless an admin speaks for somebody; where everything is open,
    /// whoever is named.
    pub fn acts_as(&self, by: Option<&str>) -> Result<String, Problem> {
        let by = by.map(str::trim).filter(|by| !by.is_empty());
        match (&self.token, by) {
            (None, Some(by)) => Ok(by.to_owned()),
            (None, None) => Ok("anonymous".to_owned()),
            (Some(token), None) => Ok(token.clone()),
            (Some(token), Some(by)) if by == token || self.role == Role::Admin => Ok(by.to_owned()),
            (Some(token), Some(by)) => {
                let detail = format!("the token is {token}'s; only an admin may act as {by}");
                Err(Problem::new(StatusCode::FORBIDDEN, detail))
            }
        }
    }
}

impl FromRequestParts<Site> for Actor {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        site.live.load().access.actor(&parts.headers)
    }
}

/// Who works on incidents: told before a body is read.
#[derive(Debug)]
pub struct Responder(pub Actor);

impl FromRequestParts<Site> for Responder {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        let actor = Actor::from_request_parts(parts, site).await?;
        actor.must_be(Role::Responder)?;
        Ok(Self(actor))
    }
}

/// Who changes what is live: told before a body is read.
#[derive(Debug)]
pub struct Admin(pub Actor);

impl FromRequestParts<Site> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        let actor = Actor::from_request_parts(parts, site).await?;
        actor.must_be(Role::Admin)?;
        Ok(Self(actor))
    }
}

impl Access {
    fn actor(&self, headers: &HeaderMap) -> Result<Actor, Problem> {
        if self.tokens.is_empty() {
            return Ok(Actor {
                token: None,
                role: Role::Admin,
            });
        }
        let Some(presented) = bearer(headers) else {
            return Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "a bearer token is wanted",
            ));
        };
        let presented = hash(presented.as_bytes());
        // All are compared, so that the time says nothing about which one it was.
        let mut found = None;
        for token in &self.tokens {
            if bool::from(token.hash.ct_eq(&presented)) {
                found = Some(Actor {
                    token: Some(token.name.clone()),
                    role: token.role,
                });
            }
        }
        found
            .ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "this bearer token is not known"))
    }

    /// A source of this kind of which this is a secret; the first by name, where several share it.
    pub fn source_of(&self, kind: Kind, presented: &str) -> Option<(String, Arc<Source>)> {
        let mut found = None;
        for (name, source) in self
            .sources
            .iter()
            .filter(|(_, source)| source.kind == kind)
        {
            if source.knows(presented) && found.is_none() {
                found = Some((name.clone(), Arc::clone(source)));
            }
        }
        found
    }

    /// A source of this kind whose credentials a request shows; else one that asks for none. The first by name, where there are several.
    pub fn source_shown(&self, kind: Kind, head: &Parts) -> Option<(String, Arc<Source>)> {
        let mut shown = None;
        let mut open = None;
        for (name, source) in &self.sources {
            let admits = source.admits(head) == Admission::Yes;
            if source.kind != kind || !admits {
                continue;
            }
            let is_open = source
                .door
                .0
                .iter()
                .any(|credential| matches!(credential, Credential::Open));
            let found = if is_open { &mut open } else { &mut shown };
            if found.is_none() {
                *found = Some((name.clone(), Arc::clone(source)));
            }
        }
        shown.or(open)
    }

    /// The source of this name.
    pub fn source(&self, name: &str) -> Option<&Arc<Source>> {
        self.sources.get(name)
    }
}

impl Deref for Source {
    type Target = Door;

    fn deref(&self) -> &Door {
        &self.door
    }
}

impl Door {
    /// Whether a request may speak for it, as far as can be told without its body.
    pub fn admits(&self, head: &Parts) -> Admission {
        let mut holds = false;
        for credential in &self.0 {
            holds |= credential.holds(head);
        }
        let signs = |credential: &Credential| matches!(credential, Credential::Signature { .. });
        match holds {
            true => Admission::Yes,
            false if self.0.iter().any(signs) => Admission::IfSigned,
            false => Admission::No,
        }
    }

    /// Whether this is one of its secrets, for senders that show it in a way of their own.
    pub fn knows(&self, presented: &str) -> bool {
        let mut holds = false;
        for credential in &self.0 {
            holds |= match credential {
                Credential::Open => true,
                Credential::Bearer(secret) => same(presented, secret.expose()),
                _other => false,
            };
        }
        holds
    }

    /// What is wrong with a body that none of its credentials says is signed.
    pub(super) fn is_unsigned(&self, head: &Parts, body: &[u8], now: Timestamp) -> Option<Wrong> {
        let mut is = Signed::No;
        for credential in &self.0 {
            if let Credential::Signature { scheme, secret } = credential {
                is = is.or(signed(scheme, secret, &head.headers, body, now));
            }
        }
        match is {
            Signed::Yes => None,
            Signed::Late(off) => Some(Wrong::Late(off)),
            Signed::No => Some(self.wrong(head)),
        }
    }

    /// What is wrong with a request that shows nothing that is right.
    pub(super) fn wrong(&self, head: &Parts) -> Wrong {
        match self.0.iter().any(|one| one.is_shown(head)) {
            true => Wrong::Unknown,
            false => Wrong::Missing,
        }
    }
}

/// Whether a request may speak for a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    Yes,
    /// Only its body can tell.
    IfSigned,
    No,
}

impl Credential {
    /// Whether there is something in its place.
    fn is_shown(&self, head: &Parts) -> bool {
        let has = |name: &str| head.headers.contains_key(name);
        match self {
            Self::Open => false,
            Self::Bearer(_) | Self::Basic { .. } => has(AUTHORIZATION.as_str()),
            Self::Header { name, .. } => has(name),
            Self::Signature { scheme, .. } => has(&scheme.header),
            Self::Query { name, .. } => {
                let all = parameters(&head.uri);
                all.iter().any(|(known, _)| known == name)
            }
        }
    }

    fn holds(&self, head: &Parts) -> bool {
        let headers = &head.headers;
        match self {
            Self::Open => true,
            Self::Signature { .. } => false,
            Self::Query { name, value } => {
                let all = parameters(&head.uri);
                let mut its = all.iter().filter(|(known, _)| known == name);
                its.any(|(_, presented)| same(presented, value.expose()))
            }
            Self::Bearer(secret) => {
                bearer(headers).is_some_and(|presented| same(presented, secret.expose()))
            }
            Self::Basic { user, password } => match basic(headers) {
                Some((presented_user, presented_password)) => {
                    let user_fits = same(&presented_user, user);
                    same(&presented_password, password.expose()) && user_fits
                }
                None => false,
            },
            Self::Header { name, value } => {
                let presented = headers.get(name).map(axum::http::HeaderValue::as_bytes);
                presented.is_some_and(|presented| same_bytes(presented, value.expose().as_bytes()))
            }
        }
    }
}

/// The parameters of an address; none where they cannot be read.
pub(super) fn parameters(uri: &Uri) -> Vec<(String, String)> {
    Query::try_from_uri(uri).map_or_else(|_unreadable| Vec::new(), |Query(all)| all)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(
        base64::Engine::decode(&base64::prelude::BASE64_STANDARD, encoded.trim()).ok()?,
    );
    let (user, password) = decoded
        .ok()?
        .split_once(':')
        .map(|(user, password)| (user.to_owned(), password.to_owned()))?;
    Some((user, password))
}

fn same(presented: &str, secret: &str) -> bool {
    same_bytes(presented.as_bytes(), secret.as_bytes())
}

/// By their hashes, in constant time: neither content nor length shows.
fn same_bytes(presented: &[u8], secret: &[u8]) -> bool {
    bool::from(hash(presented).ct_eq(&hash(secret)))
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
