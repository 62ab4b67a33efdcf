//! What holds of everything that a sender's body was read into.

use std::collections::BTreeSet;
use watchkeeper::domain::alert::{Labels, Sighting};
use watchkeeper::domain::change::MAX_LABELS;
use watchkeeper::domain::source::Kind;
use watchkeeper::domain::time::Timestamp;
use watchkeeper::ingest::{Post, parse};

/// A reader may keep so many bytes for each byte that came; what a whole report says is repeated for each of its items.
const BYTES_PER_BYTE: usize = 64;

/// And so many beside: reasons, paths, names of our own.
const BYTES_BESIDE: usize = 1 << 20;

/// Reads it, and asserts what must hold: it is read alike twice, it is bounded, and what is kept can be stored and read.
pub fn read(kind: Kind, body: &[u8]) {
    let now = Timestamp::from_millis(1_772_442_000_000);
    let post = Post::of(body, now);
    let first = parse(kind, &post);
    assert_eq!(first, parse(kind, &post), "the same body is read alike");
    let parsed = match first {
        Ok(parsed) => parsed,
        Err(unusable) => {
            assert!(unusable.path.starts_with('$'), "{unusable}");
            assert!(!unusable.reason.is_empty());
            return;
        }
    };
    assert!(parsed.sightings.len() + parsed.changes.len() + parsed.rejected.len() <= body.len());
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
        kept += rejected.reason.len() + rejected.item.len();
    }
    kept += parsed.notes.iter().map(String::len).sum::<usize>();
    assert!(
        kept <= BYTES_PER_BYTE * body.len() + BYTES_BESIDE,
        "{kept} bytes are kept of {}",
        body.len()
    );
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
