//! `[severity]`: what each severity means here, and how impact, scope and urgency make one.

use crate::domain::severity::{Matrix, MatrixRow, Severity};
use crate::toml_file::{Section, Value};
use std::collections::BTreeMap;

/// What each severity means, by its name.
pub type Definitions = BTreeMap<String, String>;

const DEFINITIONS: [(Severity, &str); 5] = [
    (Severity::Sev1, "customers cannot use the product"),
    (Severity::Sev2, "a main function is degraded"),
    (Severity::Sev3, "a part is degraded"),
    (Severity::Sev4, "no user notices yet"),
    (Severity::Sev5, "for the record"),
];

pub(super) fn read(section: Section<'_>) -> (Definitions, Matrix) {
    let mut definitions: Definitions = DEFINITIONS
        .into_iter()
        .map(|(severity, text)| (severity.to_string(), text.to_owned()))
        .collect();
    for (name, text) in section.section("definitions").each() {
        match name.text.parse::<Severity>() {
            Ok(severity) => {
                definitions.extend(text.text().map(|text| (severity.to_string(), text)));
            }
            Err(error) => section.report().error(name.place, error.to_string()),
        }
    }
    let rows = section
        .get("matrix")
        .and_then(Value::list)
        .unwrap_or_default();
    let matrix = Matrix(rows.into_iter().filter_map(row).collect());
    section.done();
    (definitions, matrix)
}

fn row(value: Value<'_>) -> Option<MatrixRow> {
    let section = value.section()?;
    let input = |key| section.get(key).and_then(Value::text);
    let (impact, scope, urgency) = (input("impact"), input("scope"), input("urgency"));
    let severity = section
        .required("severity")
        .and_then(Value::parsed::<Severity>);
    section.done();
    Some(MatrixRow {
        impact,
        scope,
        urgency,
        severity: severity?,
    })
}
