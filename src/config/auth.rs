//! `[auth]`: bearer tokens for people and programs, each with a role.

use crate::config::environment::Environment;
use crate::config::secrets::secret;
use crate::domain::secret::Secret;
use crate::toml_file::Section;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub struct Token {
    pub secret: Secret,
    pub role: Role,
}

/// What a token allows; each role allows what those before it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Viewer,
    Responder,
    Admin,
}

const ROLES: [(&str, Role); 3] = [
    ("viewer", Role::Viewer),
    ("responder", Role::Responder),
    ("admin", Role::Admin),
];

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Responder => "responder",
            Self::Admin => "admin",
        }
    }
}

pub(super) fn read(section: Section<'_>, environment: &Environment) -> BTreeMap<String, Token> {
    let mut tokens: BTreeMap<String, Token> = BTreeMap::new();
    for (name, token) in section.section("tokens").each_section() {
        let secret = token
            .required("secret")
            .and_then(|value| secret(value, environment));
        let role = token
            .required("role")
            .and_then(|value| value.one_of("role", &ROLES));
        token.done();
        let (Some(secret), Some(role)) = (secret, role) else {
            continue;
        };
        let twin = tokens
            .iter()
            .find(|(_, known)| known.secret.expose() == secret.expose());
        if let Some((twin, _)) = twin {
            let message = format!("token \"{}\" has the secret of token \"{twin}\"", name.text);
            section.report().error(name.place, message);
        }
        tokens.insert(name.text.to_owned(), Token { secret, role });
    }
    section.done();
    tokens
}
