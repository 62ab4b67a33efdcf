//! What holds of everything that a sender's body was read into.

use std::collections::BTreeSet;
use watchkeeper::domain::alert::{Labels, Sighting};
use watchkeeper::domain::change::MAX_LABELS;
use watchkeeper::domain::source::Kind;
use watchkeeper::domain::time::Timestamp;
use watchkeeper::ingest::{self, MAX_ITEM_BYTES, Post, Rejected, parse};

/// A reader may keep so many bytes for each byte that came; what a whole report says is repeated for each of its items.
const BYTES_PER_BYTE: usize = 64;

/// And so many beside: reasons, paths, names of our own.
const BYTES_BESIDE: usize = 1 << 20;

/// What says that a text goes on.
const MARK_BYTES: usize = 3;

pub fn now() -> Timestamp {
    Timestamp::from_millis(1_772_442_000_000)
}

/// Reads it, and asserts what must hold: it is read alike twice, it is bounded, and what is kept can be stored and read.
pub fn read(kind: Kind, post: &Post<'_>) {
    let body = post.body;
    let first = parse(kind, post);
    assert_eq!(first, parse(kind, post), "the same body is read alike");
    let (whole, _lack) = ingest::kept(kind, body);
    assert!(whole.len() <= kept_at_most(body.len()));
    match kind {
        Kind::Pagerduty => drop(ingest::routing_key(body)),
        Kind::Opsgenie => drop(ingest::opsgenie_priority(body)),
        _other => {}
    }
    let parsed = match first {
        Ok(parsed) => parsed,
        Err(unusable) => {
            assert!(unusable.path.starts_with('$'), "{unusable}");
            assert!(!unusable.reason.is_empty());
            return;
        }
    };
    // What is told by headers or in the address needs no body.
    let n_told = parsed.sightings.len() + parsed.changes.len() + parsed.rejected.len();
    assert!(n_told <= body.len() + 1);
    let mut kept = 0;
    for sighting in &parsed.sightings {
        kept += sighting_holds(sighting);
    }
    for change in &parsed.changes {
        assert!(change.about.labels.len() <= MAX_LABELS);
        kept += serde_json::to_string(&change.about).map_or(0, |stored| stored.len());
    }
    for rejected in &parsed.rejected {
        assert!(rejected.path.starts_with('$'), "{}", rejected.path);
        assert!(rejected.item.len() <= MAX_ITEM_BYTES + MARK_BYTES);
        kept += rejected.reason.len() + rejected.item.len();
        is_read_alone(kind, post, rejected);
    }
    kept += parsed.notes.iter().map(String::len).sum::<usize>();
    assert!(
        kept <= BYTES_PER_BYTE * body.len() + BYTES_BESIDE,
        "{kept} bytes are kept of {}",
        body.len()
    );
}

/// Of a body that is kept: what is no text is shown by three bytes for each of its own.
fn kept_at_most(body: usize) -> usize {
    (body * 3).min(MAX_ITEM_BYTES * 3) + MARK_BYTES
}

/// An item that is kept whole, and what stood around it, are read once more as one item that is no better than it was.
fn is_read_alone(kind: Kind, post: &Post<'_>, rejected: &Rejected) {
    let (Some(around), None) = (&rejected.around, rejected.lacks) else {
        return;
    };
    let body = format!("{}{}{}", around.before, rejected.item, around.after);
    let again = Post {
        body: body.as_bytes(),
        ..*post
    };
    match parse(kind, &again) {
        Ok(parsed) => {
            assert!(parsed.sightings.is_empty(), "{body}: {parsed:?}");
            let reasons: Vec<&str> = parsed
                .rejected
                .iter()
                .map(|item| item.reason.as_str())
                .collect();
            assert_eq!(reasons, [rejected.reason.as_str()], "{body}");
        }
        // Alone it may be all that there is, of which nothing can be used.
        Err(unusable) => assert_eq!(unusable.reason, rejected.reason, "{body}"),
    }
}

/// The bytes it keeps.
fn sighting_holds(sighting: &Sighting) -> usize {
    let all = [
        &sighting.labels,
        &sighting.annotations,
        &sighting.attributes,
    ];
    for labels in all {
        let names: Vec<&str> = labels.iter().map(|(name, _)| name).collect();
        let distinct: BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), distinct.len(), "a name comes once");
        let stored = serde_json::to_string(labels).expect("labels are text");
        let read: Labels = serde_json::from_str(&stored).expect("what is stored is read");
        assert_eq!(&read, labels);
        assert_eq!(read.fingerprint(), labels.fingerprint());
    }
    assert!(
        sighting.labels.iter().next().is_some(),
        "an alert has a name at least"
    );
    let bytes = |labels: &Labels| -> usize {
        labels
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum()
    };
    all.into_iter().map(bytes).sum()
}
