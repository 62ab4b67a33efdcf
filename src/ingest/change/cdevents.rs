//! CDEvents of services: deployed, upgraded, rolled back, removed. Each is a change of its own, which is done. Events of other
//! things are taken and say nothing.

use super::{Found, MAX_NAME_CHARS, Reading, name, web};
use crate::domain::change::About;
use crate::ingest::json::{self, Bad};
use crate::ingest::{cut, read_time};
use serde_json::value::RawValue;

const PREFIX: &str = "dev.cdevents.";

/// What happened to a service, and what sort of change that is.
const EVENTS: [(&str, &str); 5] = [
    ("deployed", "deployment"),
    ("upgraded", "deployment"),
    ("rolledback", "rollback"),
    ("removed", "removal"),
    ("published", "publication"),
];

pub(super) fn read(root: &RawValue, reading: &mut Reading<'_>) -> Result<Option<Found>, Bad> {
    let [context, subject] = json::fields(root, ["context", "subject"])?;
    let Some(mut found) = context.read(read_context)?.flatten() else {
        return Ok(None);
    };
    let of_subject = subject.read(|subject| read_subject(subject, reading))?;
    let of_subject = of_subject.ok_or_else(|| subject.wrong("a subject"))?;
    let kind = found.about.kind.take();
    found.about = About { kind, ..of_subject };
    Ok(Some(found))
}

fn read_context(context: &RawValue) -> Result<Option<Found>, Bad> {
    let [kind, id, source, at] = json::fields(context, ["type", "id", "source", "timestamp"])?;
    let word = kind.text()?;
    let event = word.as_deref().and_then(|word| word.strip_prefix(PREFIX));
    let event = event.ok_or_else(|| kind.wrong("a type of CDEvents"))?;
    let event = event.strip_prefix("service.").unwrap_or_default();
    let event = event.split('.').next().unwrap_or_default();
    let Some((_, sort)) = EVENTS.iter().find(|(name, _)| *name == event) else {
        return Ok(None);
    };
    let found = Found {
        at: at.read(read_time)?.flatten(),
        about: About {
            kind: Some((*sort).to_owned()),
            ..About::default()
        },
        ..Found::default()
    };
    Ok(Some(found.unless_named((source.text()?, id.text()?))))
}

/// What was changed, where, and to which version.
fn read_subject(subject: &RawValue, reading: &mut Reading<'_>) -> Result<About, Bad> {
    let [id, content] = json::fields(subject, ["id", "content"])?;
    let service = name(id, "an id", MAX_NAME_CHARS)?;
    let mut about = About {
        service: Some(service.ok_or_else(|| id.wrong("an id"))?),
        ..About::default()
    };
    content.read(|content| {
        let [environment, artifact] = json::fields(content, ["environment", "artifactId"])?;
        // A package URL, which may be long.
        let artifact = artifact.text()?;
        about.version = artifact.map(|text| cut(&text, MAX_NAME_CHARS).to_owned());
        environment.read(|environment| {
            let [id, url] = json::fields(environment, ["id", "url"])?;
            about.environment = name(id, "an environment", MAX_NAME_CHARS)?;
            about.url = web(&[url], reading)?;
            Ok(())
        })
    })?;
    Ok(about)
}
