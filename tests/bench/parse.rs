//! How fast bodies are read into alerts, on one core: what real senders sent, again and again.

use crate::table::{Cell, Table, as_f64};
use anyhow::{Context, ensure};
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;
use watchkeeper::clock;
use watchkeeper::domain::source::Kind;
use watchkeeper::ingest::{Post, parse, postable};

/// As the table names what is posted to `/api/v2/alerts`.
const POSTABLE: &str = "API v2";

/// Bodies of each kind, under the payloads of the tests.
const BODIES: [(Kind, &str); 13] = [
    (Kind::Alertmanager, "alertmanager-webhook/firing_grouped_3"),
    (Kind::Grafana, "grafana/firing_two"),
    (
        Kind::GreatExpectations,
        "great-expectations/checkpoint_result_failing_summary",
    ),
    (Kind::Dbt, "dbt-core/run_results_test_failing"),
    (Kind::DbtCloud, "dbt-cloud/job_run_errored"),
    (Kind::Soda, "soda/v3_scan_failing"),
    (Kind::Evidently, "evidently/report_failing"),
    (Kind::Mlflow, "mlflow/webhook_tag_set_validation_passed"),
    (Kind::Check, "generic/example_pandera"),
    (Kind::Cloudevents, "cloudevents/batch"),
    (Kind::Pagerduty, "pagerduty-events-v2/trigger_full"),
    (Kind::Opsgenie, "opsgenie/create_full"),
    (Kind::Alertmanager, POSTED),
];

const POSTED: &str = "prometheus-to-alertmanager-api-v2/firing_two_alerts_bearer";

/// Looked at the clock after so many.
const AT_ONCE: u64 = 100;

pub(crate) fn run(span: Duration) -> anyhow::Result<Vec<Table>> {
    let mut table = Table::new(
        format!("Reading on one core, {} s each", span.as_secs()),
        &[
            "kind",
            "bytes",
            "alerts each",
            "bodies/s",
            "alerts/s",
            "MiB/s",
        ],
    );
    for (kind, name) in BODIES {
        let payloads = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures/payloads");
        let path = payloads.join(name).with_extension("json");
        let body = fs::read(&path).with_context(|| path.display().to_string())?;
        let form = (name == POSTED).then(|| {
            let (name, form) = postable::FORM;
            (name.to_owned(), form.to_owned())
        });
        let query: Vec<(String, String)> = form.into_iter().collect();
        let post = Post {
            query: &query,
            ..Post::of(&body, clock::wall())
        };
        let parsed = parse(kind, &post)?;
        let n_alerts = u64::try_from(parsed.sightings.len())?;
        ensure!(
            n_alerts > 0 && parsed.rejected.is_empty(),
            "{kind}: {parsed:?}"
        );
        let began = Instant::now();
        let mut n_bodies = 0;
        while began.elapsed() < span {
            for _ in 0..AT_ONCE {
                black_box(parse(kind, black_box(&post))?);
            }
            n_bodies += AT_ONCE;
        }
        let per_second = as_f64(n_bodies) / began.elapsed().as_secs_f64();
        let bytes = u64::try_from(body.len())?;
        table.row(vec![
            Cell::text(match name {
                POSTED => POSTABLE,
                _webhook => kind.as_str(),
            }),
            Cell::count(bytes),
            Cell::count(n_alerts),
            Cell::Number(per_second, 0),
            Cell::Number(per_second * as_f64(n_alerts), 0),
            Cell::Number(per_second * as_f64(bytes) / 1_048_576.0, 0),
        ]);
    }
    Ok(vec![table])
}
