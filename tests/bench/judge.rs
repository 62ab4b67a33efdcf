//! What it costs to judge one alert beside ever more rules for others, by the index and by trying every rule.

use crate::table::{Cell, Table, as_f64};
use anyhow::{Context, ensure};
use std::hint::black_box;
use std::time::Duration;
use tokio::time::Instant;
use watchkeeper::clock;
use watchkeeper::config::{Environment, load};
use watchkeeper::domain::alert::Labels;
use watchkeeper::domain::rule::{RuleSet, Verdict};
use watchkeeper::domain::template::Facts;
use watchkeeper::rules::{Context as RulesContext, load_texts};

const RULES: [u64; 4] = [10, 100, 1_000, 10_000];

/// Looked at the clock after so many.
const AT_ONCE: u64 = 100;

pub(crate) fn run(span: Duration) -> anyhow::Result<Vec<Table>> {
    let mut table = Table::new(
        format!("Judging one alert on one core, {} s each", span.as_secs()),
        &[
            "rules",
            "read and linted in ms",
            "ns by the index",
            "ns by all",
        ],
    );
    for n in RULES {
        let text = rules(n);
        let began = Instant::now();
        let rules = read(&text)?;
        let took = began.elapsed();
        let indexed = measure(span, || verdict(&rules, RuleSet::judge))?;
        let by_all = measure(span, || verdict(&rules, RuleSet::judge_by_all))?;
        table.row(vec![
            Cell::count(n),
            Cell::Number(took.as_secs_f64() * 1e3, 0),
            Cell::Number(indexed, 0),
            Cell::Number(by_all, 0),
        ]);
    }
    Ok(vec![table])
}

/// Nanoseconds that it takes once.
fn measure(span: Duration, judge: impl Fn() -> bool) -> anyhow::Result<f64> {
    ensure!(judge(), "the last rule but one decides");
    let began = Instant::now();
    let mut n = 0;
    while began.elapsed() < span {
        for _ in 0..AT_ONCE {
            black_box(judge());
        }
        n += AT_ONCE;
    }
    Ok(began.elapsed().as_secs_f64() * 1e9 / as_f64(n))
}

type Judge =
    for<'r> fn(&'r RuleSet, Facts<'_>, watchkeeper::domain::time::Timestamp) -> Verdict<'r>;

/// As alerts of Kubernetes look; the time it takes to make them is not counted.
fn verdict(rules: &RuleSet, judge: Judge) -> bool {
    thread_local! {
        static ALERT: (Labels, Labels) = (
            [
                ("alertname", "HighErrorRate"),
                ("cluster", "eu-1"),
                ("container", "app"),
                ("instance", "10.0.0.1:8080"),
                ("job", "checkout"),
                ("namespace", "shop"),
                ("pod", "checkout-7d9c6b5f4-abcde"),
                ("service", "service-last"),
                ("severity", "critical"),
            ]
            .into_iter()
            .collect(),
            [("kind", "alertmanager"), ("source", "prod"), ("severity", "critical")]
                .into_iter()
                .collect(),
        );
    }
    ALERT.with(|(labels, attributes)| {
        let facts = Facts {
            labels,
            annotations: labels,
            attributes,
        };
        let verdict = judge(black_box(rules), black_box(facts), clock::wall());
        matches!(verdict, Verdict::Open(opening) if opening.rule() == "last")
    })
}

/// Two for each of many services, as a company has them, that of the alert last, and one for whatever else comes.
fn rules(n: u64) -> String {
    let mut text = String::new();
    for at in 0..n.saturating_sub(2) {
        let (service, word) = (at / 2, ["critical|page", "warning"]);
        let word = word[usize::from(at % 2 == 1)];
        text.push_str(&format!(
            "[[rule]]\nname = \"r{at}\"\nmatch = ['service=\"service-{service}\"', 'severity=~\"{word}\"', '@kind=\"alertmanager\"']\n\
             dedup_key = \"{{{{ labels.service }}}}/{{{{ labels.alertname }}}}\"\n"
        ));
    }
    text + "[[rule]]\nname = \"last\"\nmatch = ['service=\"service-last\"', 'severity=~\"critical|page\"']\n\
            [[rule]]\nname = \"rest\"\nmatch = ['alertname=~\".*\"']\n"
}

fn read(text: &str) -> anyhow::Result<RuleSet> {
    let config = load(None, &Environment::default()).config;
    let config = config.context("the defaults have an error")?;
    let context = RulesContext {
        zone: config.server.zone,
        matrix: &config.matrix,
        book: &config.book,
    };
    let loaded = load_texts(&[("rules.toml", text)], context);
    loaded.rules.context("the rules have an error")
}
