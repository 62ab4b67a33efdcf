//! The gate before sources: who sends more than is taken, and from where too many wrong credentials come.
//!
//! Each process counts for itself, in bounded memory, by the steady clock.

use crate::clock::Clock;
use crate::domain::source::Rate;
use crate::domain::time::show_span;
use crate::http::problem::Problem;
use crate::http::signature::Off;
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode};
use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use lru::LruCache;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Wrong credentials that may come from one address at once, and how long it takes until so many may come again.
pub const WRONG: Rate = Rate {
    requests: 20,
    within: Duration::from_secs(60),
};

/// Addresses that are remembered; the one that was wrong the longest ago is forgotten first.
const ADDRESSES_MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("it is not zero");

/// Sources of which it is remembered when they were last complained of.
const SOURCES_MAX: usize = 10_000;

/// A source is complained of in the log no more often.
const COMPLAINED_EVERY: Duration = Duration::from_secs(60);

/// A network of an IPv6 address is one client: whoever has one address there has all of them.
const CLIENT_BITS: u32 = 64;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// How many bits they have in common.
    bits: u32,
}

impl Network {
    pub fn new(address: IpAddr, bits: u32) -> Self {
        Self { address, bits }
    }

    fn has(self, address: IpAddr) -> bool {
        let differ = match (self.address, address.to_canonical()) {
            (IpAddr::V4(one), IpAddr::V4(other)) => {
                (one.to_bits() ^ other.to_bits()).leading_zeros()
            }
            (IpAddr::V6(one), IpAddr::V6(other)) => {
                (one.to_bits() ^ other.to_bits()).leading_zeros()
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
        };
        differ >= self.bits
    }
}

/// Whom a request comes from, as far as that can be told: whoever the last of the trusted proxies says it had it from. None for a
/// proxy itself, which speaks for many.
pub(super) fn client(head: &Parts, proxies: &[Network]) -> Option<IpAddr> {
    let Peer(peer) = *head.extensions.get::<Peer>()?;
    let is_proxy = |address: IpAddr| proxies.iter().any(|network| network.has(address));
    if !is_proxy(peer) {
        return Some(peer);
    }
    let lines = head.headers.get_all(FORWARDED_FOR).iter().rev();
    let texts = lines.map(|line| line.to_str().unwrap_or_default());
    let mut named = texts.flat_map(|line| line.rsplit(','));
    // What the proxy before said is worth nothing where that is none of ours.
    named
        .by_ref()
        .map(|text| text.trim().parse::<IpAddr>())
        .find(|read| read.as_ref().map_or(true, |address| !is_proxy(*address)))?
        .ok()
}

/// What is wrong with the credentials of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Missing,
    Unknown,
    /// Signed by whoever has the secret, at a time that is not ours.
    Late(Off),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("there were none"),
            Self::Unknown => f.write_str("they are wrong"),
            Self::Late(off) => write!(f, "the signature is right, but {off}"),
        }
    }
}

/// What is held against those who send. One for all; a copy is the same.
#[derive(Clone, Debug)]
pub struct Gate {
    steady: Steady,
    held: Arc<Mutex<Held>>,
}

/// The time that has passed, which nobody sets.
#[derive(Clone, Debug)]
struct Steady(Clock);

impl governor::clock::Clock for Steady {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.moment().elapsed
    }
}

/// Lets through all of a rate at once, then one at a time, evenly.
type Limiter = RateLimiter<NotKeyed, InMemoryState, Steady, NoOpMiddleware<Duration>>;

#[derive(Debug)]
struct Held {
    /// By source, for those that have a rate.
    rates: BTreeMap<String, (Rate, Limiter)>,
    /// By address, for those from where wrong credentials came.
    wrong: LruCache<IpAddr, Record>,
    complaints: BTreeMap<String, Complaint>,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            rates: BTreeMap::new(),
            wrong: LruCache::new(ADDRESSES_MAX),
            complaints: BTreeMap::new(),
        }
    }
}

#[derive(Debug)]
struct Record {
    allowance: Limiter,
    shut_until: Option<Duration>,
}

/// When a source was last complained of, and how often it would have been since.
#[derive(Debug)]
struct Complaint {
    at: Duration,
    n_unsaid: u64,
}

impl Gate {
    pub fn new(clock: Clock) -> Self {
        Self {
            steady: Steady(clock),
            held: Arc::default(),
        }
    }

    /// Refuses what is more than a source may send.
    pub(super) fn takes(&self, source: &str, rate: Option<Rate>) -> Result<(), Problem> {
        let Some(rate) = rate else {
            return Ok(());
        };
        let taken = self.lock().takes(source, rate, &self.steady);
        taken.map_err(|left| {
            let (most, within) = (rate.requests, show_span(rate.within));
            let why = format!("more than {most} requests in {within} came for \"{source}\"");
            limited(source, &why, left)
        })
    }

    /// Refuses whoever has shown too many wrong credentials: 503, so that one who shares an address with them tries again.
    pub(super) fn admit(&self, source: &str, client: Option<IpAddr>) -> Result<(), Problem> {
        let Some(client) = client.map(whole_network) else {
            return Ok(());
        };
        let shut_until = |held: &Held| held.wrong.peek(&client)?.shut_until;
        let until = shut_until(&self.lock());
        match until.and_then(|until| until.checked_sub(self.steady.now())) {
            None | Some(Duration::ZERO) => Ok(()),
            Some(left) => {
                let why = "too many wrong credentials came from this address";
                Err(limited(source, why, left))
            }
        }
    }

    /// Counts wrong credentials, and says so in the log at most once for each source and minute.
    pub(super) fn wrong(&self, source: &str, wrong: Wrong, client: Option<IpAddr>) -> Problem {
        metrics::counter!("watchkeeper_unauthorized_total", "source" => source.to_owned())
            .increment(1);
        let mut held = self.lock();
        // Whoever has the secret tries none, whatever its clock shows.
        if let (Some(client), Wrong::Missing | Wrong::Unknown) = (client.map(whole_network), wrong)
        {
            held.count(client, &self.steady);
        }
        if let Some(n_unsaid) = held.complains(source, self.steady.now()) {
            let client = client.map(|client| client.to_string());
            tracing::warn!(
                source,
                client,
                n_unsaid,
                "wrong or missing credentials: {wrong}"
            );
        }
        let detail = match wrong {
            Wrong::Missing | Wrong::Unknown => {
                format!("wrong or missing credentials for \"{source}\"")
            }
            Wrong::Late(off) => format!("the signature for \"{source}\" is right, but {off}"),
        };
        Problem::new(StatusCode::UNAUTHORIZED, detail)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Counts that a panic left half made are counts all the same.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// How long it takes until one more is taken, where this one is too much.
    fn takes(&mut self, source: &str, rate: Rate, steady: &Steady) -> Result<(), Duration> {
        let is_known = matches!(self.rates.get(source), Some((known, _)) if *known == rate);
        if !is_known {
            if self.rates.len() >= SOURCES_MAX {
                self.rates.clear();
            }
            let limiter = limiter(rate, steady);
            self.rates.insert(source.to_owned(), (rate, limiter));
        }
        match self.rates.get(source) {
            Some((_, limiter)) => limiter
                .check()
                .map_err(|until| until.wait_time_from(steady.now())),
            None => Ok(()),
        }
    }

    fn count(&mut self, client: IpAddr, steady: &Steady) {
        let fresh = || Record {
            allowance: limiter(WRONG, steady),
            shut_until: None,
        };
        let record = self.wrong.get_or_insert_mut(client, fresh);
        if let Err(until) = record.allowance.check() {
            record.shut_until = Some(until.earliest_possible());
        }
    }

    /// How often nothing was said since the last time, where it is time to say something.
    fn complains(&mut self, source: &str, elapsed: Duration) -> Option<u64> {
        if let Some(complaint) = self.complaints.get_mut(source) {
            if elapsed.saturating_sub(complaint.at) < COMPLAINED_EVERY {
                complaint.n_unsaid += 1;
                return None;
            }
            complaint.at = elapsed;
            return Some(std::mem::take(&mut complaint.n_unsaid));
        }
        if self.complaints.len() >= SOURCES_MAX {
            self.complaints.clear();
        }
        let first = Complaint {
            at: elapsed,
            n_unsaid: 0,
        };
        self.complaints.insert(source.to_owned(), first);
        Some(0)
    }
}

fn limiter(rate: Rate, steady: &Steady) -> Limiter {
    let burst = NonZeroU32::new(rate.requests).unwrap_or(NonZeroU32::MIN);
    let each = (rate.within / burst.get()).max(Duration::from_nanos(1));
    let quota = Quota::with_period(each).unwrap_or(Quota::per_second(burst));
    RateLimiter::direct_with_clock(quota.allow_burst(burst), steady.clone())
}

fn whole_network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => {
            let mask = u128::MAX << (u128::BITS - CLIENT_BITS);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// 503 and never 429, which some senders do not repeat.
pub(super) fn limited(source: &str, why: &str, left: Duration) -> Problem {
    metrics::counter!("watchkeeper_rate_limited_total", "source" => source.to_owned()).increment(1);
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    let whole = show_span(Duration::from_secs(seconds));
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("{why}; try again after {whole}"),
    )
    .with_retry_after(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    #[test]
    fn a_source_is_complained_of_once_a_minute_and_what_was_not_said_is_counted() {
        let mut held = Held::default();
        let mut at = |seconds| held.complains("prod", Duration::from_secs(seconds));
        assert_eq!(at(0), Some(0));
        assert_eq!((at(1), at(59)), (None, None));
        assert_eq!(at(60), Some(2));
        assert_eq!(at(61), None);
        assert_eq!(
            held.complains("other", Duration::from_secs(61)),
            Some(0),
            "each for itself"
        );
    }

    #[test]
    fn whom_a_request_comes_from_is_said_by_the_last_proxy_that_is_trusted() {
        let proxies = [
            Network::new([10, 0, 0, 0].into(), 8),
            Network::new(Ipv6Addr::LOCALHOST.into(), 128),
        ];
        let from = |peer: &str, forwarded: &[&str]| {
            let mut request = Request::new(());
            let peer = Peer(peer.parse().expect("an address"));
            request.extensions_mut().insert(peer);
            for line in forwarded {
                let line = axum::http::HeaderValue::from_str(line).expect("a value");
                request.headers_mut().append(FORWARDED_FOR, line);
            }
            let client = client(&request.into_parts().0, &proxies);
            client.map_or_else(|| "nobody".to_owned(), |client| client.to_string())
        };
        assert_eq!(from("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(from("10.1.2.3", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(from("::ffff:10.1.2.3", &["2001:db8::7"]), "2001:db8::7");
        let chain = ["203.0.113.9, 198.51.100.7", "10.0.0.2 , 10.0.0.3"];
        assert_eq!(from("::1", &chain), "198.51.100.7");
        // A proxy speaks for many, and what is no address says nothing.
        assert_eq!(from("10.1.2.3", &[]), "nobody");
        assert_eq!(from("10.1.2.3", &["10.0.0.2"]), "nobody");
        assert_eq!(from("10.1.2.3", &["198.51.100.7, unknown"]), "nobody");
    }
}
