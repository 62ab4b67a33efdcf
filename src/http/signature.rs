//! Whether what was posted is signed as its source signs.

use crate::domain::secret::Secret;
use crate::domain::signature::{Algorithm, Encoding, Freshness, Piece, Scheme};
use crate::domain::time::{Timestamp, show_span};
use axum::http::HeaderMap;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha512};
use std::fmt;
use std::time::Duration;

/// A Unix time that is larger is one in milliseconds.
const SECONDS_MAX: i64 = 100_000_000_000;

/// Whether one of the signatures that came is that of the body, and of our time. They are compared in constant time, and of its time
/// is told only whoever has the secret.
pub(super) fn signed(
    scheme: &Scheme,
    secret: &Secret,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Signed {
    if !is_signed(scheme, secret, headers, body) {
        return Signed::No;
    }
    let Some(Freshness { header, within }) = &scheme.timestamp else {
        return Signed::Yes;
    };
    let text = headers.get(header).and_then(|value| value.to_str().ok());
    let Some(at) = text.and_then(|text| instant(text.trim())) else {
        return Signed::No;
    };
    let off = Off {
        behind: now.since(at),
        ahead: at.since(now),
        within: *within,
    };
    match off.behind.max(off.ahead) <= *within {
        true => Signed::Yes,
        false => Signed::Late(off),
    }
}

/// What a signature is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signed {
    Yes,
    /// By whoever has the secret, at a time that is not ours.
    Late(Off),
    No,
}

impl Signed {
    /// The better of two.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::Late(off), _) | (_, Self::Late(off)) => Self::Late(off),
            (Self::No, Self::No) => Self::No,
        }
    }
}

/// How far the time of a signature is from ours, and how far it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Off {
    behind: Duration,
    ahead: Duration,
    within: Duration,
}

impl fmt::Display for Off {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (by, side) = match self.behind > self.ahead {
            true => (self.behind, "behind"),
            false => (self.ahead, "ahead of"),
        };
        let whole = |span: Duration| show_span(Duration::from_secs(span.as_secs()));
        let (by, within) = (whole(by), whole(self.within));
        write!(
            f,
            "its time is {by} {side} ours, and at most {within} off is taken"
        )
    }
}

fn is_signed(scheme: &Scheme, secret: &Secret, headers: &HeaderMap, body: &[u8]) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(came) = text(&scheme.header) else {
        return false;
    };
    let mut signed: Vec<&[u8]> = Vec::new();
    for piece in &scheme.signed {
        match piece {
            Piece::Body => signed.push(body),
            Piece::Text(text) => signed.push(text.as_bytes()),
            Piece::Header(name) => match headers.get(name) {
                Some(value) => signed.push(value.as_bytes()),
                None => return false,
            },
        }
    }
    // While a secret is changed, some senders send one of each.
    let came = came.split_whitespace();
    let presented =
        came.filter_map(|one| decoded(one.strip_prefix(&scheme.prefix)?, scheme.encoding));
    let key = secret.expose().as_bytes();
    presented.fold(false, |holds, presented| {
        let this = match scheme.algorithm {
            Algorithm::Sha256 => fits::<Hmac<Sha256>>(key, &signed, &presented),
            Algorithm::Sha512 => fits::<Hmac<Sha512>>(key, &signed, &presented),
        };
        holds | this
    })
}

fn fits<M: Mac + KeyInit>(key: &[u8], signed: &[&[u8]], presented: &[u8]) -> bool {
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else {
        return false;
    };
    for part in signed {
        mac.update(part);
    }
    mac.verify_slice(presented).is_ok()
}

fn decoded(text: &str, encoding: Encoding) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Hex => hex::decode(text).ok(),
        Encoding::Base64 => BASE64_STANDARD.decode(text).ok(),
    }
}

fn instant(text: &str) -> Option<Timestamp> {
    let number: i64 = text.parse().ok()?;
    let millis = match number {
        seconds if seconds.abs() < SECONDS_MAX => seconds * 1000,
        millis => millis,
    };
    Some(Timestamp::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::signature::{WITHIN, pieces};
    use axum::http::{HeaderName, HeaderValue};

    fn scheme(header: &str, prefix: &str, encoding: Encoding, signed: &str) -> Scheme {
        Scheme {
            header: header.to_owned(),
            prefix: prefix.to_owned(),
            encoding,
            algorithm: Algorithm::Sha256,
            signed: pieces(signed).expect("pieces"),
            timestamp: None,
        }
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let value = HeaderValue::from_str(value).expect("a value");
            (HeaderName::from_static(name), value)
        });
        pairs.collect()
    }

    fn now() -> Timestamp {
        Timestamp::from_millis(1_795_422_180_000)
    }

    /// As MLflow 3.17.2 signed it.
    const BODY: &str = "{\"entity\": \"model_version\", \"action\": \"created\", \"timestamp\": \"2026-11-23T08:22:58.095964+00:00\", \"data\": {\"name\": \"example_model\", \"version\": \"1\", \"source\": \"models:/123\", \"run_id\": \"abcd1234abcd5678\", \"tags\": {\"example_key\": \"example_value\"}, \"description\": \"An example model version\"}}";
    const DELIVERY: &str = "f72b6c1a-7919-40a6-a002-dc3a504848e4";
    const SIGNATURE: &str = "v1,j1hs2r2sPKvj/+9zya3RtUd7EPCAgAxydB+OPcjvtpA=";

    fn mlflow(within: Option<()>) -> Scheme {
        let mut scheme = scheme(
            "x-mlflow-signature",
            "v1,",
            Encoding::Base64,
            "{x-mlflow-delivery-id}.{x-mlflow-timestamp}.{body}",
        );
        scheme.timestamp = within.map(|()| Freshness {
            header: "x-mlflow-timestamp".to_owned(),
            within: WITHIN,
        });
        scheme
    }

    #[test]
    fn a_body_is_signed_with_its_id_and_time() {
        let secret = Secret::new("whsec-test");
        let sent = headers(&[
            ("x-mlflow-delivery-id", DELIVERY),
            ("x-mlflow-timestamp", "1795422178"),
            ("x-mlflow-signature", SIGNATURE),
        ]);
        let holds = |scheme: &Scheme, body: &str, now| {
            signed(scheme, &secret, &sent, body.as_bytes(), now) == Signed::Yes
        };
        assert!(holds(&mlflow(Some(())), BODY, now()));
        assert!(!holds(&mlflow(Some(())), &BODY.replace('1', "2"), now()));
        let later = Timestamp::from_millis(1_795_422_178_000 + 301_000);
        assert!(!holds(&mlflow(Some(())), BODY, later), "a replay");
        assert!(
            holds(&mlflow(None), BODY, later),
            "where its time is not looked at"
        );
        let other = Secret::new("whsec-other");
        assert!(!is_signed(&mlflow(None), &other, &sent, BODY.as_bytes()));
        let mut without = sent.clone();
        without.remove("x-mlflow-delivery-id");
        assert!(!is_signed(
            &mlflow(None),
            &secret,
            &without,
            BODY.as_bytes()
        ));
    }

    #[test]
    fn a_signature_may_be_hexadecimal_with_a_prefix_or_none_and_one_of_several() {
        let secret = Secret::new("s3cr3t");
        let body = br#"{"version":"1","status":"firing"}"#;
        let plain = "9aabe62d8fe5d651730480f8105e361c9f2395b16e380232bd1b525a51b8bebe";
        let timed = "342c52385019f6e4e4281bbf5ac8bae2cb99fc4eda69824d489fbf5d49cea58c";
        let bare = scheme("authorization", "", Encoding::Hex, "{body}");
        let holds = |scheme: &Scheme, sent: &HeaderMap| is_signed(scheme, &secret, sent, body);
        assert!(holds(&bare, &headers(&[("authorization", plain)])));
        assert!(!holds(&bare, &headers(&[("authorization", timed)])));
        assert!(!holds(&bare, &headers(&[("authorization", "zz")])));
        assert!(!holds(&bare, &headers(&[])));
        let prefixed = scheme("x-sig", "sha256=", Encoding::Hex, "{body}");
        let both = format!("sha256={timed} sha256={plain}");
        assert!(holds(&prefixed, &headers(&[("x-sig", &both)])));
        assert!(!holds(&prefixed, &headers(&[("x-sig", plain)])));
        let with_time = scheme("x-sig", "", Encoding::Hex, "{x-time}:{body}");
        let sent = headers(&[("x-sig", timed), ("x-time", "1795422000")]);
        assert!(holds(&with_time, &sent));
    }

    #[test]
    fn of_its_time_is_told_only_who_has_the_secret() {
        let sent = headers(&[
            ("x-mlflow-delivery-id", DELIVERY),
            ("x-mlflow-timestamp", "1795422178"),
            ("x-mlflow-signature", SIGNATURE),
        ]);
        let told = |secret: &str, offset_seconds: i64| {
            let now = Timestamp::from_millis(1_795_422_178_000 + offset_seconds * 1000);
            let secret = Secret::new(secret);
            match signed(&mlflow(Some(())), &secret, &sent, BODY.as_bytes(), now) {
                Signed::Yes => "yes".to_owned(),
                Signed::Late(off) => off.to_string(),
                Signed::No => "no".to_owned(),
            }
        };
        assert_eq!(told("whsec-test", 300), "yes");
        assert_eq!(
            told("whsec-test", 3690),
            "its time is 1h1m30s behind ours, and at most 5m off is taken"
        );
        assert_eq!(
            told("whsec-test", -720),
            "its time is 12m ahead of ours, and at most 5m off is taken"
        );
        assert_eq!(told("whsec-other", 3690), "no");
    }
}
