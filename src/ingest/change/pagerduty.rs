//! Change events as PagerDuty takes them. They have no id: one with a time is known by that and by what it says.

use super::{
    Found, MAX_LABEL_NAME_BYTES, MAX_LABEL_VALUE_BYTES, MAX_LABELS, MAX_NAME_CHARS, Reading, name,
    scalar, status, summary_of, web,
};
use crate::domain::alert::Labels;
use crate::domain::change::About;
use crate::ingest::json::{self, Bad};
use crate::ingest::{cut, read_time};
use serde_json::value::RawValue;

/// Links of which the first is kept.
const MAX_LINKS: usize = 100;

/// Where those who send say in their own details what we have a field for.
const STATUS: [&str; 3] = ["status", "build_state", "build_status"];

pub(super) fn read(root: &RawValue, reading: &mut Reading<'_>) -> Result<Found, Bad> {
    let [action, payload, links] = json::fields(root, ["event_action", "payload", "links"])?;
    if !action.is_absent() {
        return Err(action.wrong("a change, which has no event action,"));
    }
    let found = payload.read(|payload| read_payload(payload, reading))?;
    let mut found = found.ok_or_else(|| payload.wrong("a payload"))?;
    let first = links.read(|links| {
        let links = json::list(links, MAX_LINKS)?;
        let Some(first) = links.first() else {
            return Ok(None);
        };
        let [href] = json::fields(first, ["href"]).map_err(|bad| bad.at(0))?;
        web(&[href], reading).map_err(|bad| bad.at(0))
    })?;
    found.about.url = first.flatten();
    Ok(found)
}

fn read_payload(payload: &RawValue, reading: &mut Reading<'_>) -> Result<Found, Bad> {
    let [summary, at, source, details] = json::fields(
        payload,
        ["summary", "timestamp", "source", "custom_details"],
    )?;
    let said = summary_of(summary, reading)?.ok_or_else(|| summary.wrong("a summary"))?;
    let source = name(source, "a source", MAX_NAME_CHARS)?;
    let details = details.read(|details| Ok(short_details(details)))?;
    let details = details.unwrap_or_default();
    let known = |names: &[&str]| {
        let mut values = names.iter().filter_map(|name| details.get(name));
        values.next().map(str::to_owned)
    };
    let so_far = STATUS.iter().filter_map(|name| details.get(name));
    Ok(Found {
        id: None,
        status: so_far.filter_map(status).next(),
        at: at.read(read_time)?.flatten(),
        about: About {
            kind: known(&["kind"]),
            service: known(&["service"]),
            environment: known(&["environment", "env"]),
            summary: Some(said),
            version: known(&["version"]),
            url: None,
            by: known(&["by", "user", "author"]),
            labels: match source {
                Some(source) => details.with("host", cut(&source, MAX_LABEL_VALUE_BYTES)),
                None => details,
            },
        },
        stands_for_service: None,
    })
}

/// Details may be any JSON; what is short and simple can be matched, and the rest is not kept.
fn short_details(details: &RawValue) -> Labels {
    let Ok(pairs) = json::pairs(details, MAX_LABELS - 1) else {
        return Labels::default();
    };
    let short = pairs.kept.into_iter().filter_map(|(name, value)| {
        let text = scalar(value).ok()?.trim().to_owned();
        let fits =
            !name.is_empty() && name.len() <= MAX_LABEL_NAME_BYTES && text.len() <= MAX_NAME_CHARS;
        fits.then_some((name, text))
    });
    short.collect()
}
