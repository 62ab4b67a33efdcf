//! The `webhook` channel: a page is a signed JSON `POST`; the status of the answer is the outcome.

use crate::domain::page::{Message, Outcome, TEXT_MAX, shortened};
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::pager::{Pager, Sending, USER_AGENT, quoted};
use chrono::{DateTime, NaiveDateTime};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use serde::Serialize;
use sha2::Sha256;
use std::error::Error;
use std::fmt;
use std::time::Duration;
use subtle::{Choice, ConstantTimeEq};

/// A connection that is not there after so long is tried again later.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Of the answer to a page that was not taken so much is read; of other answers, nothing.
const ANSWER_MAX_BYTES: usize = 4 * 1024;

/// Carries the time and the signature: `t={unix},v1={hex}`.
pub const SIGNATURE_HEADER: &str = "X-Watchkeeper-Signature";

/// Names the page, so that a receiver tells a repeat.
pub const IDEMPOTENCY_HEADER: &str = "Idempotency-Key";

/// One receiver.
pub struct Webhook {
    client: Client,
    url: Url,
    secret: Option<Secret>,
    timeout: Duration,
    /// What must not stand in a timeline, should the receiver repeat it.
    hidden: Vec<String>,
}

/// The URL may hold a secret: only the host is shown.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}

impl Webhook {
    /// Refuses what is no `http` or `https` URL. A proxy named in the environment is not used.
    pub fn new(url: &Secret, secret: Option<Secret>, timeout: Duration) -> Result<Self, String> {
        let url = match url.expose().parse::<Url>() {
            Ok(url) if ["http", "https"].contains(&url.scheme()) => url,
            Ok(other) => {
                let scheme = other.scheme();
                return Err(format!(
                    "url: an http or https URL is wanted, found scheme {scheme:?}"
                ));
            }
            Err(why) => return Err(format!("url: an http or https URL is wanted: {why}")),
        };
        // A page is rare and must not be lost to a connection that the other side has meanwhile closed: none is kept.
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .timeout(timeout)
            .build()
            .map_err(|error| format!("no HTTP client: {}", chain(error)))?;
        let mut hidden = secret_parts(&url);
        hidden.extend(secret.iter().map(|secret| secret.expose().to_owned()));
        Ok(Self {
            client,
            url,
            secret,
            timeout,
            hidden,
        })
    }

    async fn post(&self, message: &Message, now: Timestamp) -> Outcome {
        let body = body(message);
        let headers = match self.headers(message, &body, now) {
            Ok(headers) => headers,
            Err(why) => return Outcome::Rejected { why },
        };
        let request = self
            .client
            .post(self.url.clone())
            .headers(headers)
            .body(body);
        match request.send().await {
            Ok(response) => self.judge(response, message, now).await,
            Err(error) if error.is_builder() => Outcome::Rejected {
                why: quoted(&chain(error), &self.hidden),
            },
            Err(error) => Outcome::Retry {
                after: None,
                why: self.failure(error),
            },
        }
    }

    fn headers(&self, message: &Message, body: &[u8], now: Timestamp) -> Result<HeaderMap, String> {
        let page_id = HeaderValue::from_str(&message.page_id).map_err(|_not_visible_ascii| {
            format!("page id {:?} cannot stand in a header", message.page_id)
        })?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(IDEMPOTENCY_HEADER, page_id);
        if let Some(secret) = &self.secret {
            let signature = HeaderValue::from_str(&sign(secret, body, now))
                .expect("digits, letters, commas and equal signs are a header value");
            headers.insert(SIGNATURE_HEADER, signature);
        }
        Ok(headers)
    }

    /// The status decides; an answer that then breaks off or goes on for ever changes nothing.
    async fn judge(&self, mut response: Response, message: &Message, now: Timestamp) -> Outcome {
        let status = response.status();
        if status.is_success() {
            return Outcome::Delivered {
                detail: format!("HTTP {status}"),
            };
        }
        let after = retry_after(response.headers(), now);
        let why = self.refusal(&mut response, message).await;
        if may_go_well_later(status) {
            Outcome::Retry { after, why }
        } else {
            Outcome::Rejected { why }
        }
    }

    /// `HTTP 404 Not Found: no such hook`
    async fn refusal(&self, response: &mut Response, message: &Message) -> String {
        let status = response.status();
        if status.is_redirection() {
            return format!("HTTP {status}: redirects are not followed");
        }
        let mut hidden = self.hidden.clone();
        hidden.extend(message.acknowledge_url.iter().cloned());
        hidden.extend(
            message
                .acknowledge_url
                .iter()
                .filter_map(|url| url.parse().ok())
                .flat_map(|url| secret_parts(&url)),
        );
        let answer = quoted(&beginning(response).await, &hidden);
        if answer.is_empty() {
            format!("HTTP {status}")
        } else {
            format!("HTTP {status}: {answer}")
        }
    }

    fn failure(&self, error: reqwest::Error) -> String {
        if error.is_connect() && error.is_timeout() {
            "the connection timed out".to_owned()
        } else if error.is_timeout() {
            let seconds = self.timeout.as_secs_f32();
            format!("no answer within {seconds} s")
        } else {
            quoted(&chain(error), &self.hidden)
        }
    }
}

impl Pager for Webhook {
    fn send<'a>(&'a self, message: &'a Message, now: Timestamp) -> Sending<'a> {
        Box::pin(self.post(message, now))
    }
}

/// The body of a page. Names and meaning are a contract with receivers: fields may be added.
#[derive(Serialize)]
struct Body<'a> {
    page_id: &'a str,
    kind: &'static str,
    incident: BodyIncident<'a>,
    to: &'a str,
    address: &'a str,
    step: u32,
    attempt: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledge_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Serialize)]
struct BodyIncident<'a> {
    number: u64,
    title: String,
    severity: &'a str,
    url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dedup_key: Option<&'a str>,
    phase: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    first_step: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    runbook: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

/// Texts that senders write at length are cut: a page must not be refused as too large.
fn body(message: &Message) -> Vec<u8> {
    let incident = &message.incident;
    let cut = |text: &String| shortened(text, TEXT_MAX);
    let body = Body {
        page_id: &message.page_id,
        kind: message.kind.as_str(),
        incident: BodyIncident {
            number: incident.number,
            title: cut(&incident.title),
            severity: &incident.severity,
            url: &incident.url,
            dedup_key: incident.dedup_key.as_deref(),
            phase: &incident.phase,
            first_step: &incident.first_step,
            runbook: incident.runbook.as_deref(),
            description: incident.description.as_ref().map(cut),
        },
        to: &message.to,
        address: &message.address,
        step: message.step,
        attempt: message.attempt,
        acknowledge_url: message.acknowledge_url.as_deref(),
        note: message.note.as_ref().map(cut),
    };
    serde_json::to_vec(&body).expect("strings and numbers are always JSON")
}

/// The value of [`SIGNATURE_HEADER`] for this body: `t={unix},v1={hex HMAC-SHA256 of "{t}.{body}"}`.
pub fn sign(secret: &Secret, body: &[u8], now: Timestamp) -> String {
    let t = now.as_seconds();
    format!("t={t},v1={}", hex::encode(mac(secret, t, body)))
}

/// Why a signature is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    #[error("a signature \"t=…,v1=…\" is wanted")]
    Malformed,
    #[error("the signature is too old, or from the future")]
    Stale,
    #[error("the signature is not that of this body")]
    Mismatch,
}

/// What a receiver does: the signature fits the body, and was made no more than `tolerance` before or after `now`.
///
/// Several `v1` are allowed, one of which has to fit; they are compared in constant time.
pub fn verify_signature(
    secret: &Secret,
    header: &str,
    body: &[u8],
    now: Timestamp,
    tolerance: Duration,
) -> Result<(), BadSignature> {
    let parts: Vec<(&str, &str)> = header
        .split(',')
        .filter_map(|part| part.trim().split_once('='))
        .collect();
    let t: i64 = parts
        .iter()
        .find(|(name, _)| *name == "t")
        .and_then(|(_, value)| value.parse().ok())
        .ok_or(BadSignature::Malformed)?;
    let given: Vec<Vec<u8>> = parts
        .iter()
        .filter(|(name, _)| *name == "v1")
        .filter_map(|(_, value)| hex::decode(value).ok())
        .collect();
    if given.is_empty() {
        return Err(BadSignature::Malformed);
    }
    let expected = mac(secret, t, body);
    let fits = given.iter().fold(Choice::from(0), |fits, one| {
        fits | one.as_slice().ct_eq(&expected)
    });
    if !bool::from(fits) {
        return Err(BadSignature::Mismatch);
    }
    if now.as_seconds().abs_diff(t) > tolerance.as_secs() {
        return Err(BadSignature::Stale);
    }
    Ok(())
}

fn mac(secret: &Secret, t: i64, body: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())
        .expect("HMAC takes a key of any length");
    mac.update(format!("{t}.").as_bytes());
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// 408, 425, 429, and what went wrong on the other side.
fn may_go_well_later(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error()
}

/// `Retry-After` in seconds or as one of the three forms of an HTTP date; none where it says neither.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    Some(http_date(value)?.since(now))
}

fn http_date(text: &str) -> Option<Timestamp> {
    if let Ok(date) = DateTime::parse_from_rfc2822(text) {
        return Some(date.into());
    }
    ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .map(|date| date.and_utc().into())
}

/// The first bytes of an answer, as far as they come within the time limit of the attempt.
async fn beginning(response: &mut Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_MAX_BYTES {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    bytes.truncate(ANSWER_MAX_BYTES);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What of a URL can be a secret: credentials, the query, the path, and each of their parts.
fn secret_parts(url: &Url) -> Vec<String> {
    let mut parts = vec![url.as_str().to_owned(), url.path().to_owned()];
    parts.extend(url.password().map(str::to_owned));
    parts.extend(url.path().split('/').map(str::to_owned));
    if let Some(query) = url.query() {
        parts.push(query.to_owned());
        parts.extend(
            query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .map(|(_, value)| value.to_owned()),
        );
        parts.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
    }
    parts
}

/// An error and its causes in one line, without the URL.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(why) = cause {
        text.push_str(&format!(": {why}"));
        cause = why.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_each_form_of_a_date() {
        let now: Timestamp = "1994-11-06T08:49:07Z".parse().unwrap();
        for (text, expected_s) in [
            ("120", Some(120)),
            ("0", Some(0)),
            (" 7 ", Some(7)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(30)),
            ("Sun Nov  6 08:49:37 1994", Some(30)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            let found = retry_after(&headers, now).map(|wait| wait.as_secs());
            assert_eq!(found, expected_s, "{text:?}");
        }
    }

    #[test]
    fn a_signature_fits_one_body_one_secret_and_a_span() {
        let key = Secret::new("s3cret");
        let at = Timestamp::from_millis(1_772_442_000_500);
        let header = sign(&key, b"{}", at);
        // printf '1772442000.{}' | openssl dgst -sha256 -hmac s3cret
        assert_eq!(
            header,
            "t=1772442000,v1=729a18db7fdf3b1c6c0d1ff3b81691f64ac965bbb3ff49783bc1fd48b59b0f78"
        );
        let verify = |key: &str, header: &str, body: &[u8], later_s: i64| {
            let now = at.shifted(later_s * 1000);
            verify_signature(
                &Secret::new(key),
                header,
                body,
                now,
                Duration::from_secs(300),
            )
        };
        let rotated = header.replace(",v1=", ",v1=00ff,v1=");
        assert_eq!(verify("s3cret", &header, b"{}", 0), Ok(()));
        assert_eq!(verify("s3cret", &header, b"{}", -300), Ok(()));
        assert_eq!(verify("s3cret", &rotated, b"{}", 300), Ok(()));
        for (key, header, body, later_s, expected) in [
            ("s3cret", &*header, "{}", 301, BadSignature::Stale),
            ("s3cret", &header, "{}", -301, BadSignature::Stale),
            ("s3cret", &header, "{ }", 0, BadSignature::Mismatch),
            ("other", &header, "{}", 0, BadSignature::Mismatch),
            (
                "s3cret",
                "t=1772442000,v1=00",
                "{}",
                0,
                BadSignature::Mismatch,
            ),
            (
                "s3cret",
                "t=1772442000,v1=zz",
                "{}",
                0,
                BadSignature::Malformed,
            ),
            ("s3cret", "t=1772442000", "{}", 0, BadSignature::Malformed),
            ("s3cret", "v1=00", "{}", 0, BadSignature::Malformed),
            ("s3cret", "", "{}", 0, BadSignature::Malformed),
        ] {
            assert_eq!(
                verify(key, header, body.as_bytes(), later_s),
                Err(expected),
                "{header}"
            );
        }
    }
}
