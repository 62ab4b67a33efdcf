//! Bodies as senders of any kind post them, with what their headers and addresses say beside: the first byte says which.
#![no_main]

mod parsed;

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use watchkeeper::config::mappings::ready;
use watchkeeper::domain::mapping::Mapping;
use watchkeeper::domain::source::Kind;
use watchkeeper::ingest::Post;

type Words = &'static [(&'static str, &'static str)];

/// A kind, and what a request says beside its body.
struct Way {
    kind: Kind,
    headers: Words,
    query: Words,
    /// How a body of kind `mapped` is read.
    mapping: Option<&'static str>,
}

const fn plain(kind: Kind) -> Way {
    Way {
        kind,
        headers: &[],
        query: &[],
        mapping: None,
    }
}

const fn asked(kind: Kind, query: Words) -> Way {
    Way {
        query,
        ..plain(kind)
    }
}

const fn told(kind: Kind, headers: Words) -> Way {
    Way {
        headers,
        ..plain(kind)
    }
}

const fn mapped(name: &'static str, headers: Words) -> Way {
    Way {
        mapping: Some(name),
        headers,
        ..plain(Kind::Mapped)
    }
}

/// In the order in which `tests/long` makes seeds of them.
const WAYS: [Way; 31] = [
    plain(Kind::Alertmanager),
    plain(Kind::Grafana),
    plain(Kind::GreatExpectations),
    plain(Kind::Dbt),
    plain(Kind::DbtCloud),
    plain(Kind::Soda),
    plain(Kind::Evidently),
    plain(Kind::Mlflow),
    plain(Kind::Check),
    plain(Kind::Cloudevents),
    plain(Kind::Pagerduty),
    plain(Kind::Opsgenie),
    asked(
        Kind::Dbt,
        &[
            ("project", "shop"),
            ("owner", "data"),
            ("label.env", "prod"),
        ],
    ),
    asked(
        Kind::DbtCloud,
        &[
            ("owner", "data"),
            ("label.", "nameless"),
            ("label.check", "error"),
        ],
    ),
    asked(Kind::Soda, &[("owner", "data"), ("label.env", "prod")]),
    asked(
        Kind::Evidently,
        &[
            ("report", "drift"),
            ("model", "churn"),
            ("dataset", "d"),
            ("label.tool", "x"),
        ],
    ),
    told(
        Kind::Mlflow,
        &[(
            "x-mlflow-delivery-id",
            "caa295fb-031e-4a1f-96e0-e2d4e979e41b",
        )],
    ),
    asked(Kind::Opsgenie, &[("action", "close"), ("alias", "disk")]),
    asked(
        Kind::Opsgenie,
        &[("action", "acknowledge"), ("alias", "disk")],
    ),
    asked(Kind::Opsgenie, &[("action", "snooze")]),
    plain(Kind::Change),
    told(Kind::Change, &[("x-github-event", "deployment_status")]),
    told(Kind::Change, &[("x-gitlab-event", "Deployment Hook")]),
    told(
        Kind::Change,
        &[
            ("ce-id", "1"),
            ("ce-source", "/ci"),
            ("ce-type", "dev.cdevents.service.deployed.0.2.0"),
        ],
    ),
    mapped("datadog", &[]),
    mapped("sentry", &[("sentry-hook-resource", "metric_alert")]),
    mapped("uptime-kuma", &[("content-type", "application/json")]),
    mapped(
        "uptime-kuma",
        &[("content-type", "multipart/form-data; boundary=X")],
    ),
    mapped(
        "uptime-kuma",
        &[("content-type", "application/x-www-form-urlencoded")],
    ),
    mapped("sns", &[("x-amz-sns-message-type", "Notification")]),
    mapped("zabbix", &[]),
];

/// What each of them is read with.
static MAPPINGS: LazyLock<Vec<Option<Mapping>>> = LazyLock::new(|| {
    let of = |way: &Way| way.mapping.map(|name| ready(name).expect("it ships"));
    WAYS.iter().map(of).collect()
});

/// The headers of a binary event: each is what stands before a zero byte.
const HEADERS: [&str; 7] = [
    "ce-id",
    "ce-source",
    "ce-type",
    "ce-subject",
    "ce-time",
    "ce-severitynumber",
    "content-type",
];

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    let n = usize::from(*first);
    match WAYS.get(n) {
        Some(way) => {
            let (headers, query) = (owned(way.headers), owned(way.query));
            let mapping = MAPPINGS[n].as_ref();
            let post = Post {
                headers: &headers,
                query: &query,
                mapping,
                ..Post::of(rest, parsed::now())
            };
            parsed::read(way.kind, &post);
        }
        None => binary_event(rest),
    }
});

fn binary_event(bytes: &[u8]) {
    let mut pieces = bytes.splitn(HEADERS.len() + 1, |byte| *byte == 0);
    let mut headers = vec![("ce-specversion".to_owned(), "1.0".to_owned())];
    for name in HEADERS {
        let text = pieces
            .next()
            .map(String::from_utf8_lossy)
            .unwrap_or_default();
        headers.push((name.to_owned(), text.into_owned()));
    }
    let body = pieces.next().unwrap_or_default();
    let post = Post {
        headers: &headers,
        ..Post::of(body, parsed::now())
    };
    parsed::read(Kind::Cloudevents, &post);
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let own = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    pairs.iter().map(own).collect()
}
