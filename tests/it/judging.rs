//! Judging by the index says what trying every rule says, whatever the rules and the alert.

use crate::world::{at, rule_set, template};
use proptest::prelude::*;
use std::sync::Arc;
use watchkeeper::domain::alert::Labels;
use watchkeeper::domain::interval::Interval;
use watchkeeper::domain::matcher::{Matcher, Op};
use watchkeeper::domain::rule::{Action, Rule, RuleSet, Settings};
use watchkeeper::domain::template::Facts;

const OPS: [Op; 5] = [Op::Equal, Op::Equal, Op::Regex, Op::NotEqual, Op::NotRegex];
const NAMES: [&str; 6] = ["a", "b", "c", "@a", "@kind", "alertname"];
/// Also such that are expressions, and the empty one, which an alert without the label has.
const VALUES: [&str; 9] = ["x", "y", "z", "", "x|y", "x|", ".*", "x.*|y", "(?i)X"];

fn matcher() -> impl Strategy<Value = Matcher> {
    let parts = (
        proptest::sample::select(&OPS[..]),
        proptest::sample::select(&NAMES[..]),
        proptest::sample::select(&VALUES[..]),
    );
    parts.prop_map(|(op, name, value)| Matcher::new(op, name, value).expect("an expression"))
}

fn rules() -> impl Strategy<Value = RuleSet> {
    let rule = (
        proptest::collection::vec(matcher(), 0..4),
        any::<bool>(),
        proptest::sample::select(&[None, Some(Action::Record), Some(Action::Open)]),
        0..3_u8,
    );
    proptest::collection::vec(rule, 0..20).prop_map(|rules| {
        let rules = rules.into_iter().enumerate();
        let rules = rules.map(|(n, (matchers, continues, action, active))| Rule {
            name: format!("r{n}"),
            matchers,
            active: interval(active).into_iter().collect(),
            continues,
            settings: Settings {
                action,
                dedup_key: (n % 2 == 0).then(|| template(&format!("key-{n}"))),
                ..Settings::default()
            },
        });
        rule_set("r1", rules.collect())
    })
}

/// Always, in the hour of the alert, or in another one.
fn interval(which: u8) -> Option<Arc<Interval>> {
    let times = ["09:00-10:00", "10:00-11:00"].get(usize::from(which).checked_sub(1)?)?;
    Some(Arc::new(Interval {
        name: (*times).to_owned(),
        zone: chrono_tz::UTC,
        weekdays: None,
        days_of_month: None,
        months: None,
        years: None,
        times: Some(vec![times.parse().expect("times")]),
    }))
}

fn labels() -> impl Strategy<Value = Labels> {
    let value = proptest::sample::select(&["x", "y", "z", "X", "x|y"][..]);
    let name = proptest::sample::select(&["a", "b", "c", "kind", "alertname", "other"][..]);
    proptest::collection::vec((name, value), 0..5)
        .prop_map(|pairs| pairs.into_iter().collect::<Labels>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_changes_no_verdict(rules in rules(), labels in labels(), attributes in labels()) {
        let facts = Facts { labels: &labels, annotations: &labels, attributes: &attributes };
        let now = at("2026-03-02T09:00:00Z");
        prop_assert_eq!(rules.judge(facts, now), rules.judge_by_all(facts, now));
    }
}

#[test]
fn literals_are_the_values_that_fit_and_no_others_do() {
    let literals = |text: &str| {
        let matcher = Matcher::parse(text).expect("a matcher");
        let literals = matcher.literals();
        literals.map(|all| all.join(" "))
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(literals("a=\"x.*\""), some("x.*"));
    assert_eq!(literals("a=~\"x|y-1\""), some("x y-1"));
    assert_eq!(literals("a=~\"x\""), some("x"));
    for open in [
        "a=~\"x.\"",
        "a=~\"x|y+\"",
        "a=~\"(?i)x\"",
        "a=~\"x\\\\b\"",
        "a!=\"x\"",
        "a!~\"x\"",
    ] {
        assert_eq!(literals(open), None, "{open}");
    }
}
