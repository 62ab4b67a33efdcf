//! The `log` channel: a page is one line in our own log. It reaches whoever reads it, and needs no configuration.

use crate::domain::page::{LINE_MAX, Message, Outcome, one_line, subject_line};
use crate::domain::time::Timestamp;
use crate::pager::{Pager, Sending};

/// Writes each page to the log.
#[derive(Clone, Copy, Debug)]
pub struct Log;

impl Pager for Log {
    fn send<'a>(&'a self, message: &'a Message, _now: Timestamp) -> Sending<'a> {
        write(message);
        Box::pin(std::future::ready(Outcome::Delivered {
            detail: "written to the log".to_owned(),
        }))
    }
}

/// The link that acknowledges is left out: whoever holds it may use it, and more people read logs.
fn write(message: &Message) {
    let incident = &message.incident;
    let line = |text: &str| one_line(text, LINE_MAX);
    tracing::info!(
        target: "watchkeeper::page",
        {
        page.id = %message.page_id,
        page.kind = message.kind.as_str(),
        incident.id = incident.number,
        severity = %line(&incident.severity),
        phase = %line(&incident.phase),
        to = %line(&message.to),
        address = %line(&message.address),
        step = message.step,
        attempt = message.attempt,
        first_step = %line(&incident.first_step),
        runbook = %line(incident.runbook.as_deref().unwrap_or_default()),
        url = %line(&incident.url),
        note = %line(message.note.as_deref().unwrap_or_default()),
        },
        "{} for {}: {}",
        message.kind.as_str(),
        line(&message.to),
        subject_line(message)
    );
}
