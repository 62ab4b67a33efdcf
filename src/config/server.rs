//! `[server]`: where we listen, under which address we are known, and in which zone we count days.

use crate::toml_file::{Section, Value};
use chrono_tz::Tz;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub listen: SocketAddr,
    /// Without a slash at the end.
    pub public_url: String,
    /// Of every cron and review that names none.
    pub zone: Tz,
    /// Of one request, unpacked.
    pub max_body_bytes: usize,
    /// Who says truly, in `X-Forwarded-For`, whom a request comes from.
    pub trusted_proxies: Vec<Network>,
}

/// Addresses that have their first bits in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    pub address: IpAddr,
    pub bits: u32,
}

/// A reverse proxy on this machine.
const LOOPBACK: [Network; 2] = [
    Network {
        address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)),
        bits: 8,
    },
    Network {
        address: IpAddr::V6(Ipv6Addr::LOCALHOST),
        bits: 128,
    },
];

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || {
            format!("an address or a network such as \"10.0.0.0/8\" is wanted, found \"{text}\"")
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_not_one| wanted())?;
        let all = match address {
            IpAddr::V4(_) => Ipv4Addr::BITS,
            IpAddr::V6(_) => Ipv6Addr::BITS,
        };
        let bits = match bits {
            Some(bits) => bits.parse().map_err(|_no_number| wanted())?,
            None => all,
        };
        if bits > all {
            return Err(wanted());
        }
        Ok(Self { address, bits })
    }
}

const DEFAULT_PORT: u16 = 9095;
const DEFAULT_MAX_BODY_BYTES: usize = 8 << 20;

impl Server {
    pub fn is_on_loopback(&self) -> bool {
        self.listen.ip().to_canonical().is_loopback()
    }
}

/// Refuses a public address where there is no token.
pub(super) fn read(section: Section<'_>, has_tokens: bool) -> Server {
    let written = section.get("listen");
    let listen = written
        .and_then(address)
        .unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)));
    let url = section.get("public_url").and_then(http_url);
    let server = Server {
        listen,
        public_url: url.unwrap_or_else(|| format!("http://{listen}")),
        zone: section
            .get("timezone")
            .and_then(Value::zone)
            .unwrap_or(Tz::UTC),
        max_body_bytes: section
            .get("max_body")
            .and_then(Value::size)
            .unwrap_or(DEFAULT_MAX_BODY_BYTES),
        trusted_proxies: match section.get("trusted_proxies") {
            Some(value) => {
                let items = value.list().unwrap_or_default().into_iter();
                items.filter_map(Value::parsed).collect()
            }
            None => LOOPBACK.to_vec(),
        },
    };
    if let Some(written) = written
        && !server.is_on_loopback()
        && !has_tokens
    {
        written.error(format!(
            "{listen} can be reached from outside, which needs a token in [auth.tokens]"
        ));
    }
    section.done();
    server
}

fn address(value: Value<'_>) -> Option<SocketAddr> {
    let found = value.string()?;
    match found.parse() {
        Ok(address) => Some(address),
        Err(_not_one) => {
            value.error(format!(
                "an address such as \"127.0.0.1:9095\" is wanted, found \"{found}\""
            ));
            None
        }
    }
}

/// An `http` or `https` address without a slash at the end.
pub(super) fn http_url(value: Value<'_>) -> Option<String> {
    let found = value.string()?;
    if !is_http_url(found) {
        value.error("a URL such as \"https://host/path\" is wanted");
        return None;
    }
    Some(found.trim_end_matches('/').to_owned())
}

pub(super) fn is_http_url(text: &str) -> bool {
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let is_plain = !text.contains(|c: char| c.is_whitespace() || c.is_control());
    is_plain && host.is_some_and(|host| !host.is_empty() && !host.starts_with(':'))
}
