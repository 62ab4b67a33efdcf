//! What is answered: incidents, alerts, pages and timelines as the outside knows them. Their fields are those of the description of
//! the API, too.

mod incidents;
mod letters;
mod pages;

pub use crate::http::view::incidents::{Finding, Incident, incident};
pub use crate::http::view::letters::{DeadLetter, WholeDeadLetter, dead_letter, whole_dead_letter};
pub use crate::http::view::pages::{Page, TimelineEntry, entry, page};

use crate::domain::alert::{self, Fingerprint, Labels, Outcome, Routed};
use crate::domain::change;
use crate::domain::change::related::Related;
use crate::domain::phase::Output;
use crate::domain::silence::State as SilenceState;
use crate::domain::time::Timestamp;
use crate::http::openapi::words;
use crate::store::lists::Listed;
use crate::store::silences;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// An instant as it is answered: RFC 3339, UTC, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant(pub Timestamp);

impl From<Timestamp> for Instant {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

fn instant(at: Option<Timestamp>) -> Option<Instant> {
    at.map(Instant)
}

/// Pages of lists, each under its own name.
macro_rules! lists {
    ($($(#[$doc:meta])* $list:ident { $noun:ident: $item:ty })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Serialize, ToSchema)]
            pub struct $list {
                pub $noun: Vec<$item>,
                /// The `cursor` of the next page; null where this is the last one.
                #[schema(required = true)]
                pub next: Option<String>,
            }
        )*
    };
}

lists! {
    /// Incidents, newest first.
    Incidents { incidents: Incident }
    /// Events of an incident, in order.
    Timeline { timeline: TimelineEntry }
    /// Alerts.
    Alerts { alerts: Alert }
    /// Pages of an incident, newest first.
    Pages { pages: Page }
    /// Silences: active ones by their ends, those to come by their starts, then those that have ended.
    Silences { silences: Silence }
    /// Changes, newest first.
    Changes { changes: Change }
    /// Dead letters, newest first.
    DeadLetters { dead_letters: DeadLetter }
}

/// An alert.
#[derive(Debug, Serialize, ToSchema)]
pub struct Alert {
    #[schema(value_type = words::Fingerprint)]
    pub fingerprint: Fingerprint,
    /// Its identity.
    #[schema(value_type = words::Labels)]
    pub labels: Labels,
    #[schema(value_type = words::Labels)]
    pub annotations: Labels,
    /// What is known of it besides, matched as `@name`.
    #[schema(value_type = words::Labels)]
    pub attributes: Labels,
    #[schema(value_type = words::AlertStatus)]
    pub status: alert::Status,
    /// What a check said last.
    #[schema(value_type = Option<words::Outcome>, required = true)]
    pub outcome: Option<Outcome>,
    pub source: String,
    pub kind: String,
    #[schema(value_type = words::Instant)]
    pub starts_at: Instant,
    #[schema(value_type = Option<words::Instant>, required = true)]
    pub ends_at: Option<Instant>,
    #[schema(value_type = words::Instant)]
    pub changed_at: Instant,
    #[schema(value_type = words::Instant)]
    pub last_received_at: Instant,
    pub received: u64,
    /// The incident it belongs to, or last did.
    #[schema(required = true)]
    pub incident: Option<u64>,
    /// Ids of silences.
    pub silenced_by: Vec<String>,
    /// The alert of the cause.
    #[schema(value_type = Option<words::Fingerprint>, required = true)]
    pub inhibited_by: Option<Fingerprint>,
    #[schema(required = true)]
    pub rule: Option<String>,
    /// What the rules did with it.
    #[schema(value_type = words::Routed)]
    pub routed: Routed,
}

pub fn alert(listed: &Listed) -> Alert {
    let alert = &listed.alert;
    Alert {
        fingerprint: listed.fingerprint,
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        attributes: alert.attributes.clone(),
        status: alert.status,
        outcome: alert.outcome,
        source: alert.source.clone(),
        kind: alert.kind.clone(),
        starts_at: alert.starts_at.into(),
        ends_at: instant(alert.ends_at),
        changed_at: alert.changed_at.into(),
        last_received_at: listed.seen.last_at.into(),
        received: listed.seen.received,
        incident: alert.incident,
        silenced_by: listed.muting.silenced_by.clone(),
        inhibited_by: listed.muting.inhibited_by,
        rule: alert.rule.clone(),
        routed: alert.routed,
    }
}

/// A silence. One that starts in the future is a maintenance window.
#[derive(Debug, Serialize, ToSchema)]
pub struct Silence {
    pub id: String,
    #[schema(value_type = words::SilenceState)]
    pub state: SilenceState,
    /// All of them must match.
    pub matchers: Vec<String>,
    pub by: String,
    /// Whose token made it, where that is not who is named.
    #[schema(required = true)]
    pub token: Option<String>,
    pub reason: String,
    #[schema(value_type = words::Instant)]
    pub starts_at: Instant,
    #[schema(value_type = words::Instant)]
    pub ends_at: Instant,
    #[schema(value_type = words::Instant)]
    pub updated_at: Instant,
    pub expires_soon: bool,
    /// Active, and has muted nothing for long.
    pub forgotten: bool,
    /// When it last began or ceased to mute an incident.
    #[schema(value_type = Option<words::Instant>, required = true)]
    pub muted_at: Option<Instant>,
    /// Those that it mutes now.
    pub incidents: Vec<u64>,
}

pub fn silence(listed: &silences::Listed, now: Timestamp) -> Silence {
    let silence = &listed.silence;
    Silence {
        id: silence.id.clone(),
        state: silence.state(now),
        matchers: silence.matchers.iter().map(ToString::to_string).collect(),
        by: silence.created_by.clone(),
        token: silence.token.clone(),
        reason: silence.comment.clone(),
        starts_at: silence.starts_at.into(),
        ends_at: silence.ends_at.into(),
        updated_at: silence.updated_at.into(),
        expires_soon: silence.expires_soon(now),
        forgotten: listed.is_forgotten(now),
        muted_at: instant(listed.muted_at),
        incidents: listed.mutes.clone(),
    }
}

/// A deployment, or a change of configuration.
#[derive(Debug, Serialize, ToSchema)]
pub struct Change {
    pub id: String,
    pub source: String,
    pub kind: String,
    #[schema(value_type = words::ChangeStatus)]
    pub status: change::Status,
    pub summary: String,
    #[schema(required = true)]
    pub service: Option<String>,
    #[schema(required = true)]
    pub environment: Option<String>,
    #[schema(required = true)]
    pub version: Option<String>,
    #[schema(required = true)]
    pub url: Option<String>,
    #[schema(required = true)]
    pub by: Option<String>,
    #[schema(value_type = words::Labels)]
    pub labels: Labels,
    /// When it came to its status.
    #[schema(value_type = words::Instant)]
    pub at: Instant,
    #[schema(value_type = words::Instant)]
    pub started_at: Instant,
    #[schema(value_type = Option<words::Instant>, required = true)]
    pub ended_at: Option<Instant>,
    #[schema(value_type = words::Instant)]
    pub received_at: Instant,
}

pub fn change(change: &change::Change) -> Change {
    let about = &change.about;
    Change {
        id: change.id.clone(),
        source: change.source.clone(),
        kind: change.kind().to_owned(),
        status: change.status,
        summary: change.summary(),
        service: about.service.clone(),
        environment: about.environment.clone(),
        version: about.version.clone(),
        url: about.url.clone(),
        by: about.by.clone(),
        labels: about.labels.clone(),
        at: change.at.into(),
        started_at: change.started_at.into(),
        ended_at: instant(change.ended_at()),
        received_at: change.received_at.into(),
    }
}

/// A change beside an incident, with why it stands there.
#[derive(Debug, Serialize, ToSchema)]
pub struct RelatedChange {
    #[serde(flatten)]
    pub change: Change,
    /// From 1 to 100.
    pub relevance: u64,
    pub why: String,
}

pub fn related(related: &Related) -> RelatedChange {
    RelatedChange {
        change: change(&related.change),
        relevance: related.relevance,
        why: related.why.clone(),
    }
}

/// The outputs there are, phase by phase: what clients may offer.
pub fn statements() -> Vec<&'static str> {
    Output::STATEMENTS
        .iter()
        .map(|output| output.as_str())
        .collect()
}
