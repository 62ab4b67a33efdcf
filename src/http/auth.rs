//! Who may do what: bearer tokens with a role for people and programs, credentials of their own for sources.

use crate::domain::secret::Secret;
use crate::domain::source::Kind;
use crate::http::Site;
use crate::http::hooks::Counters;
use crate::http::problem::Problem;
use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
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
}

/// A configured sender. Of several credentials any one will do, so that they can be rotated.
#[derive(Clone, Debug)]
pub struct Source {
    pub kind: Kind,
    pub credentials: Vec<Credential>,
    pub(super) counters: Counters,
}

impl Source {
    pub fn new(kind: Kind, credentials: Vec<Credential>) -> Self {
        Self {
            kind,
            credentials,
            counters: Counters::default(),
        }
    }
}

/// Everything that decides who may do what.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// None: everything is open, which the configuration allows on loopback only.
    pub tokens: Vec<Token>,
    pub sources: BTreeMap<String, Source>,
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

    /// The source of this name, if the request may speak for it.
    pub fn source(&self, name: &str, headers: &HeaderMap) -> Result<&Source, SourceRefusal> {
        let source = self.sources.get(name).ok_or(SourceRefusal::Unknown)?;
        let mut holds = false;
        for credential in &source.credentials {
            holds |= credential.holds(headers);
        }
        if holds {
            Ok(source)
        } else {
            Err(SourceRefusal::WrongCredentials)
        }
    }
}

/// Why a request may not speak for a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceRefusal {
    Unknown,
    WrongCredentials,
}

impl Credential {
    fn holds(&self, headers: &HeaderMap) -> bool {
        match self {
            Self::Open => true,
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
