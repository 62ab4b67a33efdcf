//! Grafana's webhook of unified alerting: Alertmanager's message with a version of its own, and links to its panels.
//!
//! The fingerprint that it sends along is not looked at: it is ours over the same labels. That its data are missing or its query failed is an alert
//! of its own (`DatasourceNoData`, `DatasourceError`), with the rule's name as a label.

use super::alertmanager::{More, parse_as};
use super::json::{self, Bad};
use super::{MAX_VALUE_BYTES, Parsed, cut};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Of what the values of an alert are said to be.
const MAX_VALUES_BYTES: usize = 1024;

pub(super) fn parse(root: &RawValue) -> Result<Parsed, Bad> {
    parse_as(root, "1", more)
}

fn more(alert: &RawValue) -> Result<More<'_>, Bad> {
    let [silence, dashboard, panel, image, rule, values] = json::fields(
        alert,
        [
            "silenceURL",
            "dashboardURL",
            "panelURL",
            "imageURL",
            "ruleUID",
            "valueString",
        ],
    )?;
    let links = [
        ("silence_url", silence),
        ("dashboard_url", dashboard),
        ("panel_url", panel),
        ("image_url", image),
        ("rule_uid", rule),
    ];
    let mut more = More::default();
    for (name, field) in links {
        // One that is no text, or no link but a picture, is worth no rejected alert.
        let text = field.text().ok().flatten();
        let text = text.filter(|text: &Cow<'_, str>| text.len() <= MAX_VALUE_BYTES);
        more.attributes.extend(text.map(|text| (name, text)));
    }
    if let Ok(Some(values)) = values.text() {
        let values = cut(&values, MAX_VALUES_BYTES).to_owned();
        more.annotations.push(("values", values));
    }
    Ok(more)
}
