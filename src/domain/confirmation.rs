//! Confirmations: an address that a sender wants fetched before it sends anything, and where that may lead.

use std::fmt;
use std::str::FromStr;

/// Hosts that may be asked, as `sns.*.amazonaws.com`: a star stands for one part of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    host: String,
    port: Option<u16>,
}

/// Why a text is no such pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a host such as \"sns.*.amazonaws.com\" or \"127.0.0.1:8080\" is wanted, found \"{0}\"")]
pub struct NotAHost(pub String);

/// Why an address was not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unconfirmed {
    /// It is not asked at all.
    #[error("{0}")]
    NotAllowed(String),
    /// It may go well another time.
    #[error("{0}")]
    Failed(String),
}

/// The parts of an address that decide whether it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Address<'a> {
    pub scheme: &'a str,
    pub host: &'a str,
    /// Where it is not that of the scheme.
    pub port: Option<u16>,
    pub has_credentials: bool,
}

impl Address<'_> {
    /// Refuses what no pattern allows. Without TLS only this machine is asked, where that is written down.
    pub fn is_allowed_by(self, patterns: &[HostPattern]) -> Result<(), Unconfirmed> {
        let no = |why: String| Err(Unconfirmed::NotAllowed(why));
        if self.has_credentials {
            return no("an address without user and password is wanted".to_owned());
        }
        let fitting = patterns.iter().filter(|pattern| pattern.fits(self));
        let mut fitting = fitting.peekable();
        if fitting.peek().is_none() {
            let shown: Vec<String> = patterns.iter().map(ToString::to_string).collect();
            let allowed = match shown.is_empty() {
                true => "none is allowed".to_owned(),
                false => format!("allowed are {}", shown.join(", ")),
            };
            let port = self
                .port
                .map_or_else(String::new, |port| format!(":{port}"));
            return no(format!(
                "host \"{}{port}\" is not asked: {allowed}",
                self.host
            ));
        }
        match self.scheme {
            "https" => Ok(()),
            "http" if fitting.any(HostPattern::is_loopback) => Ok(()),
            scheme => no(format!("an https address is wanted, found \"{scheme}\"")),
        }
    }
}

impl HostPattern {
    fn fits(&self, address: Address<'_>) -> bool {
        let mut wanted = self.host.split('.');
        let mut found = address.host.split('.');
        if self.port != address.port {
            return false;
        }
        if !self.host.contains('*') {
            return self.host == address.host;
        }
        loop {
            match (wanted.next(), found.next()) {
                (None, None) => return true,
                (Some("*"), Some(part)) if is_part_of_name(part) => {}
                (Some(wanted), Some(part)) if wanted == part => {}
                (_, _) => return false,
            }
        }
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host == "[::1]" || is_loopback_v4(&self.host)
    }
}

fn is_loopback_v4(host: &str) -> bool {
    let parts: Vec<&str> = host.split('.').collect();
    let is_byte = |part: &&str| part.parse::<u8>().is_ok();
    parts.len() == 4 && parts.first() == Some(&"127") && parts.iter().all(is_byte)
}

fn is_part_of_name(part: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !part.is_empty() && part.chars().all(is_letter)
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl FromStr for HostPattern {
    type Err = NotAHost;

    /// A star must be followed by two parts that are none: not every host of a country.
    fn from_str(text: &str) -> Result<Self, NotAHost> {
        let bad = || NotAHost(text.to_owned());
        let text = text.to_ascii_lowercase();
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                let port: u16 = port.parse().map_err(|_no_number| bad())?;
                (host, Some(port))
            }
            _without => (text.as_str(), None),
        };
        let parts: Vec<&str> = host.split('.').collect();
        let is_name = parts
            .iter()
            .all(|part| *part == "*" || is_part_of_name(part));
        let last_star = parts.iter().rposition(|part| *part == "*");
        let is_narrow = last_star.is_none_or(|at| at + 2 < parts.len());
        if (is_name && is_narrow) || host == "[::1]" {
            return Ok(Self {
                host: host.to_owned(),
                port,
            });
        }
        Err(bad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(patterns: &[&str], scheme: &str, host: &str, port: Option<u16>) -> Result<(), String> {
        let patterns: Vec<HostPattern> = patterns
            .iter()
            .map(|text| text.parse().expect(text))
            .collect();
        let address = Address {
            scheme,
            host,
            port,
            has_credentials: false,
        };
        address
            .is_allowed_by(&patterns)
            .map_err(|why| why.to_string())
    }

    const AMAZON: [&str; 2] = ["sns.*.amazonaws.com", "sns.*.amazonaws.com.cn"];

    #[test]
    fn only_the_hosts_of_the_pattern_are_asked() {
        let table = [
            ("sns.eu-west-2.amazonaws.com", true),
            ("sns.us-gov-west-1.amazonaws.com", true),
            ("sns.cn-north-1.amazonaws.com.cn", true),
            ("sns.amazonaws.com", false),
            ("sns..amazonaws.com", false),
            ("sns.a.b.amazonaws.com", false),
            ("xsns.eu-west-2.amazonaws.com", false),
            ("sns.eu-west-2.amazonaws.com.evil.example", false),
            ("sns.eu-west-2.amazonaws.com.", false),
            ("sns.eu_west.amazonaws.com", false),
            ("sns.eu-west-2.amazonaws.comx", false),
            ("evil.example", false),
            ("169.254.169.254", false),
            ("127.0.0.1", false),
        ];
        for (host, expected) in table {
            assert_eq!(
                asked(&AMAZON, "https", host, None).is_ok(),
                expected,
                "{host}"
            );
        }
        assert_eq!(
            asked(&AMAZON, "https", "evil.example", Some(8443)),
            Err("host \"evil.example:8443\" is not asked: allowed are sns.*.amazonaws.com, sns.*.amazonaws.com.cn".to_owned())
        );
        assert_eq!(
            asked(&[], "https", "evil.example", None),
            Err("host \"evil.example\" is not asked: none is allowed".to_owned())
        );
        assert!(asked(&AMAZON, "https", "sns.eu-west-2.amazonaws.com", Some(22)).is_err());
    }

    #[test]
    fn without_tls_only_this_machine_is_asked_where_it_is_named() {
        let sns = "sns.eu-west-2.amazonaws.com";
        assert_eq!(
            asked(&AMAZON, "http", sns, None),
            Err("an https address is wanted, found \"http\"".to_owned())
        );
        assert!(asked(&["127.0.0.1:8080"], "http", "127.0.0.1", Some(8080)).is_ok());
        assert!(asked(&["127.0.0.1:8080"], "http", "127.0.0.1", Some(8081)).is_err());
        assert!(asked(&["localhost"], "http", "localhost", None).is_ok());
        assert!(asked(&["[::1]:81"], "http", "[::1]", Some(81)).is_ok());
        assert!(asked(&["10.0.0.1:80"], "http", "10.0.0.1", Some(80)).is_err());
        assert!(asked(&["127.0.0.1"], "ftp", "127.0.0.1", None).is_err());
        let with_password = Address {
            scheme: "https",
            host: sns,
            port: None,
            has_credentials: true,
        };
        let patterns: Vec<HostPattern> = AMAZON
            .iter()
            .map(|text| text.parse().expect(text))
            .collect();
        assert!(with_password.is_allowed_by(&patterns).is_err());
    }

    #[test]
    fn what_is_no_host_or_too_many_is_refused() {
        for bad in [
            "",
            "*",
            "*.com",
            "a.*.com",
            "a*.example.com",
            "a b",
            "a:x",
            "https://a.b",
            "a..b",
            "a/b",
        ] {
            assert_eq!(
                bad.parse::<HostPattern>(),
                Err(NotAHost(bad.to_owned())),
                "{bad}"
            );
        }
        for good in [
            "*.example.com",
            "sns.*.amazonaws.com",
            "localhost:81",
            "[::1]",
            "[::1]:81",
        ] {
            let pattern: HostPattern = good.parse().expect(good);
            assert_eq!(pattern.to_string(), good);
        }
    }
}
