//! The alerts of the bench, and requests that carry them: written once, of a fixed width, so that making the next request
//! is copying a few digits and costs the generator next to nothing.

use chrono::SecondsFormat;
use std::net::SocketAddr;
use std::time::Duration;
use watchkeeper::clock;

/// How a server wants its alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Alertmanager's webhook, version 4: `{"alerts":[…],…}`.
    Webhook,
    /// Alertmanager's own API: `[…]`.
    Api,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Firing,
    Resolved,
}

/// What stands in for numbers until a request is made; no other text of an alert has these characters in a row.
const ID: &str = "########";
const SERVICE: &str = "@@@@@";
const FINGERPRINT: &str = "~~~~~~~~~~~~~~~~";

/// Alertmanager takes an alert for fired until then.
const FIRES_FOR: Duration = Duration::from_secs(6 * 3600);

/// Instants of all alerts of a run.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    starts_at: String,
    /// For the sender of an alert that still fires.
    until: String,
}

impl Times {
    pub(crate) fn now() -> Self {
        let now = clock::wall();
        let text = |at: watchkeeper::domain::time::Timestamp| {
            at.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true)
        };
        Self {
            starts_at: text(now),
            until: text(now.plus(FIRES_FOR)),
        }
    }
}

/// What the requests of one load are like.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) address: SocketAddr,
    pub(crate) path: &'static str,
    pub(crate) body: Body,
    pub(crate) status: Status,
    pub(crate) name: String,
    pub(crate) per_request: u64,
    /// Over how many services the alerts are spread: with the rules that ship with the program, as many incidents.
    pub(crate) services: u64,
    pub(crate) times: Times,
}

/// A request with gaps for numbers. Two severities of different width take turns, so that there is one for alerts that
/// begin with an even number, and one for the others.
#[derive(Debug)]
pub(crate) struct Template {
    bytes: Vec<u8>,
    body_starts: usize,
    gaps: Vec<Gap>,
    services: u64,
}

/// Where a number stands, and of which alert of the request.
#[derive(Debug)]
struct Gap {
    at: usize,
    nth: u64,
    number: Number,
}

#[derive(Clone, Copy, Debug)]
enum Number {
    Id,
    Service,
    Fingerprint,
}

impl Template {
    pub(crate) fn pair(shape: &Shape) -> [Self; 2] {
        [Self::new(shape, 0), Self::new(shape, 1)]
    }

    fn new(shape: &Shape, parity: u64) -> Self {
        let alerts = (0..shape.per_request).map(|nth| alert(shape, (nth + parity) % 2));
        let alerts = alerts.collect::<Vec<_>>().join(",");
        let body = match shape.body {
            Body::Api => format!("[{alerts}]"),
            Body::Webhook => webhook(&alerts, shape),
        };
        let (path, address, length) = (shape.path, shape.address, body.len());
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        let mut gaps = gaps_of(&request, ID, Number::Id);
        gaps.extend(gaps_of(&request, SERVICE, Number::Service));
        gaps.extend(gaps_of(&request, FINGERPRINT, Number::Fingerprint));
        Self {
            body_starts: request.len() - length,
            bytes: request.into_bytes(),
            gaps,
            services: shape.services,
        }
    }

    /// The request whose first alert has this number; the next ones count on.
    pub(crate) fn request(&mut self, first: u64) -> &[u8] {
        for gap in &self.gaps {
            let id = first + gap.nth;
            let tail = &mut self.bytes[gap.at..];
            match gap.number {
                Number::Id => write_decimal(&mut tail[..ID.len()], id),
                Number::Service => write_decimal(&mut tail[..SERVICE.len()], id % self.services),
                Number::Fingerprint => write_hex(&mut tail[..FINGERPRINT.len()], id),
            }
        }
        &self.bytes
    }

    /// The body alone of that request.
    pub(crate) fn body(&mut self, first: u64) -> &[u8] {
        let starts = self.body_starts;
        &self.request(first)[starts..]
    }
}

/// One alert of eight labels and three annotations.
fn alert(shape: &Shape, parity: u64) -> String {
    let severity = if parity == 0 { "critical" } else { "warning" };
    let times = &shape.times;
    let ends_at = match (shape.status, shape.body) {
        (Status::Resolved, _) => &times.starts_at,
        (Status::Firing, Body::Api) => &times.until,
        (Status::Firing, Body::Webhook) => "0001-01-01T00:00:00Z",
    };
    let status = word(shape.status);
    let (first, last) = match shape.body {
        Body::Api => (String::new(), String::new()),
        Body::Webhook => (
            format!("\"status\":\"{status}\","),
            format!(",\"fingerprint\":\"{FINGERPRINT}\""),
        ),
    };
    let (name, starts_at) = (&shape.name, &times.starts_at);
    format!(
        "{{{first}\"labels\":{{\"alertname\":\"{name}\",\"cluster\":\"prod-eu-1\",\
         \"environment\":\"Production\",\"instance\":\"host-{ID}.prod.example.net:9100\",\"job\":\"node-exporter\",\
         \"namespace\":\"team-{SERVICE}\",\"service\":\"svc-{SERVICE}\",\"severity\":\"{severity}\"}},\
         \"annotations\":{{\"description\":\"5xx ratio on host-{ID} has been above 5% for 10 minutes (now 7.31%).\",\
         \"runbook_url\":\"https://runbooks.example.net/{name}\",\
         \"summary\":\"High error rate on host-{ID}\"}},\"startsAt\":\"{starts_at}\",\"endsAt\":\"{ends_at}\",\
         \"generatorURL\":\"http://prometheus.example.net:9090/graph?g0.expr=rate%28http_errors%5B5m%5D%29&g0.tab=1\"\
         {last}}}"
    )
}

fn webhook(alerts: &str, shape: &Shape) -> String {
    let (name, status) = (&shape.name, word(shape.status));
    format!(
        "{{\"receiver\":\"incident-daemon\",\"status\":\"{status}\",\"alerts\":[{alerts}],\
         \"groupLabels\":{{\"alertname\":\"{name}\"}},\
         \"commonLabels\":{{\"alertname\":\"{name}\",\"cluster\":\"prod-eu-1\",\"job\":\"node-exporter\"}},\
         \"commonAnnotations\":{{\"runbook_url\":\"https://runbooks.example.net/{name}\"}},\
         \"externalURL\":\"http://alertmanager.example.net:9093\",\"version\":\"4\",\
         \"groupKey\":\"{{}}:{{alertname=\\\"{name}\\\"}}\",\"truncatedAlerts\":0}}"
    )
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Firing => "firing",
        Status::Resolved => "resolved",
    }
}

/// An alert says its number three times, and its fingerprint once.
fn gaps_of(request: &str, mark: &str, number: Number) -> Vec<Gap> {
    let per_alert = match number {
        Number::Id => 3,
        Number::Service => 2,
        Number::Fingerprint => 1,
    };
    let found = (0_u64..).zip(request.match_indices(mark));
    found
        .map(|(n, (at, _))| Gap {
            at,
            nth: n / per_alert,
            number,
        })
        .collect()
}

fn write_decimal(gap: &mut [u8], mut number: u64) {
    for digit in gap.iter_mut().rev() {
        *digit = b"0123456789"[usize::try_from(number % 10).unwrap_or(0)];
        number /= 10;
    }
}

/// A fingerprint, which the server computes itself: any that differs will do.
fn write_hex(gap: &mut [u8], id: u64) {
    let mut number = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for digit in gap.iter_mut().rev() {
        *digit = b"0123456789abcdef"[usize::try_from(number % 16).unwrap_or(0)];
        number /= 16;
    }
}
