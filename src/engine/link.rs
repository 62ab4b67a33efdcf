//! Acknowledge links: signed, expiring. Following one shows a page that asks; only its button acknowledges, so that link
//! previews acknowledge nothing.

use crate::domain::time::Timestamp;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use std::time::Duration;

/// How long a link may be used.
pub const VALID_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

/// Of the code that shows who made some bytes.
const SEAL_BYTES: usize = 16;

/// Makes and checks links of one installation.
#[derive(Clone)]
pub struct Links {
    public_url: String,
    key: Vec<u8>,
    installation: String,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links")
            .field("public_url", &self.public_url)
            .finish_non_exhaustive()
    }
}

/// What a link says, once its signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    pub incident: u64,
    pub person: String,
}

/// Why a link is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadLink {
    #[error("this link was not made here, or was changed on the way")]
    Forged,
    #[error("this link has expired")]
    Expired,
}

impl Links {
    /// `key` is the secret of the installation, `installation` its public name in page ids.
    pub fn new(public_url: &str, key: Vec<u8>, installation: String) -> Self {
        Self {
            public_url: public_url.trim_end_matches('/').to_owned(),
            key,
            installation,
        }
    }

    pub fn incident_url(&self, incident: u64) -> String {
        format!("{}/incidents/{incident}", self.public_url)
    }

    /// Names one page to one contact, through retries and crashes.
    pub fn page_id(&self, incident: u64, serial: u32) -> String {
        format!("{}-{incident}-{serial}", self.installation)
    }

    pub fn acknowledge_url(&self, incident: u64, person: &str, now: Timestamp) -> String {
        let expires = now.plus(VALID_FOR).as_seconds();
        let person = hex::encode(person);
        let signature = hex::encode(self.mac(incident, &person, expires).finalize().into_bytes());
        format!(
            "{}/acknowledge/{incident}/{person}/{expires}/{signature}",
            self.public_url
        )
    }

    /// Checks the parts of a link.
    pub fn open(
        &self,
        incident: u64,
        person: &str,
        expires: i64,
        signature: &str,
        now: Timestamp,
    ) -> Result<Ticket, BadLink> {
        let Ok(signature) = hex::decode(signature) else {
            return Err(BadLink::Forged);
        };
        // Compared in constant time.
        if self
            .mac(incident, person, expires)
            .verify_slice(&signature)
            .is_err()
        {
            return Err(BadLink::Forged);
        }
        if now.as_seconds() >= expires {
            return Err(BadLink::Expired);
        }
        let person = hex::decode(person)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        person
            .map(|person| Ticket { incident, person })
            .ok_or(BadLink::Forged)
    }

    /// Some bytes that this installation, and nobody else, can have made for this purpose, as a word for an address.
    pub fn sealed(&self, purpose: &str, bytes: &[u8]) -> String {
        let mac = self.seal(purpose, bytes).finalize().into_bytes();
        let mac = mac.get(..SEAL_BYTES).unwrap_or_default();
        format!("{}{}", hex::encode(mac), hex::encode(bytes))
    }

    /// The bytes of such a word.
    pub fn unsealed(&self, purpose: &str, text: &str) -> Option<Vec<u8>> {
        let sealed = hex::decode(text).ok()?;
        let (mac, bytes) = sealed.split_at_checked(SEAL_BYTES)?;
        // Compared in constant time.
        let held = self.seal(purpose, bytes).verify_truncated_left(mac);
        held.ok().map(|()| bytes.to_vec())
    }

    fn seal(&self, purpose: &str, bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(format!("{purpose}/").as_bytes());
        mac.update(bytes);
        mac
    }

    fn mac(&self, incident: u64, person: &str, expires: i64) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(format!("acknowledge/{incident}/{person}/{expires}").as_bytes());
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> (u64, String, i64, String) {
        let parts: Vec<&str> = url.rsplit('/').take(4).collect();
        (
            parts[3].parse().unwrap(),
            parts[2].to_owned(),
            parts[1].parse().unwrap(),
            parts[0].to_owned(),
        )
    }

    #[test]
    fn a_link_opens_until_it_expires_and_only_as_it_was_made() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let links = Links::new("http://watch.example/", b"secret".to_vec(), "a1".to_owned());
        let url = links.acknowledge_url(12, "ana ruiz", now);
        assert!(
            url.starts_with("http://watch.example/acknowledge/12/"),
            "{url}"
        );
        let (incident, person, expires, signature) = parts(&url);
        let ticket = Ticket {
            incident: 12,
            person: "ana ruiz".to_owned(),
        };
        assert_eq!(
            links.open(incident, &person, expires, &signature, now),
            Ok(ticket)
        );
        assert_eq!(
            links.open(13, &person, expires, &signature, now),
            Err(BadLink::Forged)
        );
        assert_eq!(
            links.open(incident, &person, expires + 1, &signature, now),
            Err(BadLink::Forged)
        );
        assert_eq!(
            links.open(incident, &person, expires, "00", now),
            Err(BadLink::Forged)
        );
        let later = now.plus(VALID_FOR);
        assert_eq!(
            links.open(incident, &person, expires, &signature, later),
            Err(BadLink::Expired)
        );
    }
}
