//! Fingerprints: those that Alertmanager gives the same labels.

use serde_json::Value;
use watchkeeper::domain::alert::Labels;

const CASES: &str = include_str!("fixtures/cases/fingerprints.json");

fn rows(table: &Value, name: &str) -> Vec<Value> {
    let rows = table[name].as_array().cloned().unwrap_or_default();
    assert!(!rows.is_empty(), "{name}");
    rows
}

fn labels(row: &Value, name: &str) -> Labels {
    let labels = row[name].as_object().expect("labels");
    labels
        .iter()
        .map(|(name, value)| (name, value.as_str().expect("a text")))
        .collect()
}

#[test]
fn labels_have_alertmanagers_fingerprint() {
    let table: Value = serde_json::from_str(CASES).expect("the table is JSON");
    for row in rows(&table, "vectors") {
        let posted = labels(&row, "labels_posted");
        assert_eq!(
            posted,
            labels(&row, "labels_stored"),
            "an empty label is an absent one"
        );
        assert_eq!(
            posted.fingerprint().to_string(),
            row["fingerprint"],
            "{posted}"
        );
    }
    for row in rows(&table, "utf8_label_names_computed_only") {
        let labels = labels(&row, "labels");
        assert_eq!(
            labels.fingerprint().to_string(),
            row["fingerprint"],
            "{labels}"
        );
    }
}

#[test]
fn a_fingerprint_is_read_as_it_is_shown() {
    let fingerprint = [("alertname", "A")]
        .into_iter()
        .collect::<Labels>()
        .fingerprint();
    assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
    let refused = "d2c6efc389df092".parse::<watchkeeper::domain::alert::Fingerprint>();
    assert_eq!(
        refused.expect_err("a digit is missing").to_string(),
        "a fingerprint of 16 hexadecimal digits is wanted, found \"d2c6efc389df092\""
    );
}
