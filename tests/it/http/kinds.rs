//! What senders of each kind really posted, as it comes in the life of an alert: it fires, is said again, passes, and is said once
//! more too late. Those that page `PagerDuty` or Opsgenie, and Prometheus, have stories of their own.

use crate::api::{Answer, Api};
use axum::http::Method;
use serde_json::{Value, json};
use std::path::Path;

/// The day of most fixtures, and the day of these tests: all that they tell of was over a little before.
const DAY: (&str, &str) = ("2026-11-23T08:", "2026-03-02T08:");

/// Texts of a fixture, and what stands in their place.
type Edits = &'static [(&'static str, &'static str)];

/// A kind, and what was posted to it.
struct Kind {
    path: &'static str,
    fixture: &'static str,
    /// What makes the fixture the report that fires.
    fires: Edits,
    /// What makes the same of it in another, later run; nothing where there are no runs, and each report counts.
    later: Edits,
    /// What makes all well of it in a run that is later still.
    passes: Edits,
    n_alerts: usize,
}

const KINDS: [Kind; 13] = [
    Kind {
        path: "/hooks/alertmanager",
        fixture: "alertmanager-webhook/firing_grouped_3",
        fires: &[],
        later: &[],
        passes: &[("\"firing\"", "\"resolved\"")],
        n_alerts: 3,
    },
    Kind {
        path: "/hooks/grafana",
        fixture: "grafana/firing_two",
        fires: &[],
        later: &[],
        passes: &[("\"firing\"", "\"resolved\"")],
        n_alerts: 2,
    },
    Kind {
        path: "/hooks/great_expectations",
        fixture: "great-expectations/glue_post_failing",
        fires: &[],
        later: &[("08:34:53.681676+00:00", "08:35:00+00:00")],
        passes: &[
            ("08:34:53.681676+00:00", "08:36:00+00:00"),
            ("\"success\": false", "\"success\": true"),
            ("\"raised_exception\": true", "\"raised_exception\": false"),
        ],
        n_alerts: 6,
    },
    Kind {
        path: "/hooks/dbt?project=shop",
        fixture: "dbt-core/run_results_test_failing",
        fires: &[],
        later: &[("08:14:59.356054Z", "08:15:00Z"), ("08c8a179", "18c8a179")],
        passes: &[
            ("08:14:59.356054Z", "08:16:00Z"),
            ("08c8a179", "28c8a179"),
            ("\"status\": \"fail\"", "\"status\": \"pass\""),
            ("\"status\": \"warn\"", "\"status\": \"pass\""),
            ("\"status\": \"error\"", "\"status\": \"pass\""),
        ],
        n_alerts: 6,
    },
    Kind {
        path: "/hooks/dbt",
        fixture: "dbt-core/sources_freshness_error",
        fires: &[],
        later: &[
            ("17ac1b46", "27ac1b46"),
            (
                "\"generated_at\": \"2026-03-02T08:15",
                "\"generated_at\": \"2026-03-02T08:45",
            ),
        ],
        passes: &[
            ("17ac1b46", "37ac1b46"),
            (
                "\"generated_at\": \"2026-03-02T08:15",
                "\"generated_at\": \"2026-03-02T08:55",
            ),
            ("\"status\": \"error\"", "\"status\": \"pass\""),
        ],
        n_alerts: 1,
    },
    Kind {
        path: "/hooks/dbt_cloud",
        fixture: "dbt-cloud/job_run_errored",
        fires: &[],
        later: &[("wev_2L6m5", "wev_2L6m6"), ("21:15:20Z", "21:25:20Z")],
        passes: &[
            ("wev_2L6m5", "wev_2L6m7"),
            ("21:15:20Z", "21:35:20Z"),
            ("\"Errored\"", "\"Success\""),
            ("run.errored", "run.completed"),
            ("runErroredAt", "runFinishedAt"),
        ],
        n_alerts: 1,
    },
    Kind {
        path: "/hooks/soda",
        fixture: "soda/v3_scan_failing",
        fires: &[],
        later: &[("T08:17:3", "T08:18:3")],
        passes: &[
            ("T08:17:3", "T08:19:3"),
            ("\"outcome\": \"fail\"", "\"outcome\": \"pass\""),
            ("\"outcome\": \"warn\"", "\"outcome\": \"pass\""),
            ("\"hasFailures\": true", "\"hasFailures\": false"),
        ],
        n_alerts: 7,
    },
    Kind {
        path: "/hooks/evidently",
        fixture: "evidently/glue_post",
        fires: &[(
            "\"timestamp\": null",
            "\"timestamp\": \"2026-03-02T08:20:00Z\"",
        )],
        later: &[("08:20:00", "08:21:00")],
        passes: &[
            ("08:20:00", "08:22:00"),
            ("\"FAIL\"", "\"SUCCESS\""),
            ("\"WARNING\"", "\"SUCCESS\""),
        ],
        n_alerts: 5,
    },
    Kind {
        path: "/hooks/mlflow",
        fixture: "mlflow/webhook_tag_set_validation_passed",
        fires: &[("\"passed\"", "\"failed\"")],
        later: &[("caa295fb", "daa295fb"), ("08:22:58", "08:23:58")],
        passes: &[
            ("caa295fb", "eaa295fb"),
            ("08:22:58", "08:24:58"),
            ("\"failed\"", "\"passed\""),
        ],
        n_alerts: 1,
    },
    Kind {
        path: "/hooks/check",
        fixture: "generic/example_pandera",
        fires: &[],
        later: &[("\"r2\"", "\"r3\""), ("08:39:52", "08:40:52")],
        passes: &[
            ("\"r2\"", "\"r4\""),
            ("08:39:52", "08:41:52"),
            ("\"fail\"", "\"pass\""),
        ],
        n_alerts: 5,
    },
    Kind {
        path: "/hooks/cloudevents",
        fixture: "cloudevents/structured",
        fires: &[],
        later: &[("run-42", "run-43"), ("T08:00", "T08:01")],
        passes: &[
            ("run-42", "run-44"),
            ("T08:00", "T08:02"),
            ("check.failed", "check.passed"),
        ],
        n_alerts: 1,
    },
    Kind {
        path: "/hooks/cloudevents",
        fixture: "cloudevents/binary",
        fires: &[],
        later: &[("run-42", "run-43"), ("T08:00", "T08:01")],
        passes: &[
            ("run-42", "run-44"),
            ("T08:00", "T08:02"),
            ("check.failed", "check.passed"),
        ],
        n_alerts: 1,
    },
    Kind {
        path: "/hooks/cloudevents",
        fixture: "cloudevents/batch",
        fires: &[],
        later: &[("run-42", "run-43"), ("T08:00", "T08:01")],
        passes: &[
            ("run-42", "run-44"),
            ("T08:00", "T08:02"),
            ("check.failed", "check.passed"),
        ],
        n_alerts: 1,
    },
];

impl Kind {
    /// The fixture and the headers that it came with, changed so.
    fn post(&self, api: &mut Api, edits: [Edits; 2]) -> Answer {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/payloads");
        let file = |ending: &str| {
            std::fs::read_to_string(folder.join(format!("{}{ending}", self.fixture)))
        };
        let edited = |text: &str| {
            let edits = [&[DAY], edits[0], edits[1]].into_iter().flatten();
            edits.fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
        };
        let body = edited(&file(".json").expect("the fixture is there"));
        let headers =
            file(".http.json").map_or_else(|_none| Vec::new(), |head| headers_of(&edited(&head)));
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str()))
            .collect();
        let answer = api.send(Method::POST, self.path, &headers, body);
        assert_eq!(answer.status, 200, "{}: {}", self.fixture, answer.text);
        assert_eq!(
            answer.at("/rejected"),
            0,
            "{}: {}",
            self.fixture,
            answer.text
        );
        answer
    }
}

/// Those that say something of the body.
fn headers_of(head: &str) -> Vec<(String, String)> {
    let head: Value = serde_json::from_str(head).expect("it is JSON");
    let pairs = head["headers"].as_array().expect("a list").iter();
    let pairs = pairs.map(|pair| {
        let text = |n: usize| pair[n].as_str().expect("a text");
        (text(0).to_ascii_lowercase(), text(1).to_owned())
    });
    pairs
        .filter(|(name, _)| name.starts_with("ce-") || name.starts_with("x-mlflow-"))
        .collect()
}

/// How many alerts fire, and how often each was received.
fn firing(api: &mut Api) -> (usize, Vec<u64>) {
    let alerts = api.get("/api/v1/alerts?limit=100");
    let statuses = alerts.each("alerts", "status");
    let received = alerts.each("alerts", "received").into_iter();
    let received = received.map(|n| n.as_u64().expect("a number")).collect();
    (
        statuses.iter().filter(|status| *status == "firing").count(),
        received,
    )
}

#[test]
fn what_each_kind_posts_opens_joins_and_resolves_and_a_run_is_counted_once() {
    for kind in KINDS {
        let name = kind.fixture;
        let mut api = Api::new();

        let opened = kind.post(&mut api, [kind.fires, &[]]).at("/opened");
        assert_ne!(opened, json!([]), "{name}");
        let times = |n: u64| (kind.n_alerts, vec![n; kind.n_alerts]);
        assert_eq!(firing(&mut api), times(1), "{name} fires");

        let again = kind.post(&mut api, [kind.fires, &[]]);
        assert_eq!(
            (again.at("/opened"), again.at("/joined")),
            (json!([]), opened.clone()),
            "{name}"
        );
        let by_runs = !kind.later.is_empty();
        assert_eq!(
            firing(&mut api),
            times(if by_runs { 1 } else { 2 }),
            "{name} is said again"
        );
        let later = kind.post(&mut api, [kind.fires, kind.later]);
        assert_eq!(
            (later.at("/opened"), later.at("/joined")),
            (json!([]), opened),
            "{name}"
        );
        assert_eq!(
            firing(&mut api),
            times(if by_runs { 2 } else { 3 }),
            "{name} fires in another run"
        );

        kind.post(&mut api, [kind.fires, kind.passes]);
        assert_eq!(firing(&mut api).0, 0, "{name} passes");
        if by_runs {
            for edits in [kind.later, &[]] {
                kind.post(&mut api, [kind.fires, edits]);
                assert_eq!(
                    firing(&mut api).0,
                    0,
                    "{name}: a run of the past was told again"
                );
            }
        }
    }
}
