//! Pages: what goes out to one contact, what the provider said, when the next attempt is, and the words people read.

use crate::domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A contact is given up after so many attempts.
pub const ATTEMPTS_MAX: u32 = 5;

/// A contact is given up when its next attempt would begin so long after the first.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(5 * 60);

/// One attempt takes no longer.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// The waits after the first, second, … failed attempt: a lost packet costs seconds, and a restart of minutes is outlived.
///
/// With the longest jitter and every attempt timing out the last one begins 228 s after the first,
/// which leaves more than a minute of [`GIVE_UP_AFTER`] for waiting in a queue.
pub const BACKOFF: [Duration; 4] = [
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(40),
    Duration::from_secs(90),
];

/// A wait is lengthened by up to this part of it, so that the pages of one outage do not all return at once.
const JITTER_PART: u32 = 4;

/// Lengths, in characters, to which text of senders and providers is cut.
pub const TITLE_MAX: usize = 200;
pub const LINE_MAX: usize = 1_000;
pub const TEXT_MAX: usize = 4_000;

/// Why something is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageKind {
    /// Someone is asked to act.
    Page,
    /// Someone is told how it goes on.
    Update,
    /// Several pages to one person in one message.
    Bundle,
    /// A page to practise with.
    Drill,
}

impl PageKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Update => "update",
            Self::Bundle => "bundle",
            Self::Drill => "drill",
        }
    }
}

/// The incident as a page shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub number: u64,
    pub title: String,
    /// `SEV1` … `SEV5`.
    pub severity: String,
    /// Where people read of the incident.
    pub url: String,
    /// None where a person opened it.
    pub dedup_key: Option<String>,
    pub phase: String,
    pub description: Option<String>,
    pub runbook: Option<String>,
    /// What to do first; empty where nobody said.
    pub first_step: String,
}

/// One page to one contact, as it goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The same for each attempt, and never that of another page.
    pub page_id: String,
    pub kind: PageKind,
    pub incident: Subject,
    /// The key of the person.
    pub to: String,
    pub channel: String,
    pub address: String,
    /// The step of the escalation policy, from 1; 0 where it is none.
    pub step: u32,
    /// From 1.
    pub attempt: u32,
    pub acknowledge_url: Option<String>,
    /// What is to be said beside the incident: `clear since 09:12`.
    pub note: Option<String>,
}

/// What the provider said to one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Delivered {
        detail: String,
    },
    /// It may go well later; where the provider said when, `after` is how long to wait at least.
    Retry {
        after: Option<Duration>,
        why: String,
    },
    /// It will never go well.
    Rejected {
        why: String,
    },
}

/// When the next attempt is due after `attempts_made` that failed, the last of them at `now`; none when the contact is given up.
///
/// It is never before `retry_after` has passed. The same `seed` gives the same jitter; a seed per page spreads the pages.
pub fn next_attempt(
    attempts_made: u32,
    first_attempt_at: Timestamp,
    retry_after: Option<Duration>,
    seed: u64,
    now: Timestamp,
) -> Option<Timestamp> {
    if attempts_made >= ATTEMPTS_MAX {
        return None;
    }
    let give_up_at = first_attempt_at.plus(GIVE_UP_AFTER);
    let wait = backoff(attempts_made);
    let earliest = now.plus(wait.max(retry_after.unwrap_or_default()));
    if earliest > give_up_at {
        return None;
    }
    // Jitter alone gives nobody up.
    Some(
        earliest
            .plus(jitter(wait, seed, attempts_made))
            .min(give_up_at),
    )
}

/// No wait before the first attempt.
fn backoff(attempts_made: u32) -> Duration {
    let Some(failed_before) = attempts_made.checked_sub(1) else {
        return Duration::ZERO;
    };
    usize::try_from(failed_before)
        .ok()
        .and_then(|n| BACKOFF.get(n))
        .copied()
        .unwrap_or(GIVE_UP_AFTER)
}

/// Up to a quarter of `wait`, drawn from the seed by one round of `SplitMix64`.
fn jitter(wait: Duration, seed: u64, attempts_made: u32) -> Duration {
    let mut mixed = seed.wrapping_add(u64::from(attempts_made).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    let most_ms = u64::try_from((wait / JITTER_PART).as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(mixed % most_ms.saturating_add(1))
}

/// One line that tells which incident this is about, safe as a header: `[SEV1] #42 Checkout is down`.
pub fn subject_line(message: &Message) -> String {
    let before = match message.kind {
        PageKind::Page => "",
        PageKind::Update => "Update: ",
        PageKind::Bundle => "Bundle: ",
        PageKind::Drill => "Drill: ",
    };
    let incident = &message.incident;
    let severity = one_line(&incident.severity, TITLE_MAX);
    let title = one_line(&incident.title, TITLE_MAX);
    format!("{before}[{severity}] #{} {title}", incident.number)
}

/// What a person needs at three in the morning, as plain text, the most urgent first.
pub fn body_text(message: &Message) -> String {
    let incident = &message.incident;
    let mut text = format!(
        "{} incident #{}: {}\n",
        one_line(&incident.severity, TITLE_MAX),
        incident.number,
        one_line(&incident.title, TITLE_MAX)
    );
    if message.kind == PageKind::Drill {
        text.push_str("This is a drill.\n");
    }
    if let Some(note) = &message.note {
        text.push_str(&indented(note));
        text.push('\n');
    }
    text.push('\n');
    for (name, value) in [
        ("Do first", Some(&incident.first_step)),
        ("Runbook", incident.runbook.as_ref()),
        ("Acknowledge", message.acknowledge_url.as_ref()),
        ("Incident", Some(&incident.url)),
        ("Phase", Some(&incident.phase)),
    ] {
        let value = value.map(|value| indented(value)).unwrap_or_default();
        if !value.is_empty() {
            text.push_str(&format!("{name}: {value}\n"));
        }
    }
    if let Some(description) = &incident.description {
        text.push_str(&format!("\nWhat is known:\n  {}\n", indented(description)));
    }
    text
}

/// The text as one line of at most `max` characters: runs of white space, line ends and other control characters become one space.
pub fn one_line(text: &str, max: usize) -> String {
    let spaced: String = text
        .chars()
        .map(|c| if is_unsafe(c) { ' ' } else { c })
        .collect();
    let words: Vec<&str> = spaced.split_whitespace().collect();
    shortened(&words.join(" "), max)
}

/// The first `max` characters; where some are missing, an ellipsis is the last.
pub fn shortened(text: &str, max: usize) -> String {
    if text.chars().nth(max).is_none() {
        return text.to_owned();
    }
    let kept = text.chars().take(max.saturating_sub(1));
    kept.chain(['…']).collect()
}

/// Lines after the first are set in by two spaces: a sender's text cannot pass for a line of ours, such as `Acknowledge: …`.
fn indented(text: &str) -> String {
    let lines: Vec<String> = shortened(text.trim(), TEXT_MAX)
        .lines()
        .map(|line| one_line(line, LINE_MAX))
        .collect();
    lines.join("\n  ")
}

/// Control characters, line separators, and those that turn the direction of writing, with which a text can look like another.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIRST_AT: i64 = 1_772_442_000_000;

    fn message() -> Message {
        Message {
            page_id: "p-1".to_owned(),
            kind: PageKind::Page,
            incident: Subject {
                number: 42,
                title: "Checkout is down".to_owned(),
                severity: "SEV1".to_owned(),
                url: "https://wk.example/incidents/42".to_owned(),
                dedup_key: Some("checkout".to_owned()),
                phase: "triage".to_owned(),
                description: Some("5xx above 20 %".to_owned()),
                runbook: Some("https://runbooks.example/checkout".to_owned()),
                first_step: "Roll back the last deploy".to_owned(),
            },
            to: "ana".to_owned(),
            channel: "mail".to_owned(),
            address: "ana@example.org".to_owned(),
            step: 1,
            attempt: 1,
            acknowledge_url: Some("https://wk.example/ack/t0k3n".to_owned()),
            note: None,
        }
    }

    /// Milliseconds from the last attempt to the next.
    fn wait_ms(made: u32, elapsed_s: i64, retry_after_s: Option<u64>, seed: u64) -> Option<i64> {
        let now = Timestamp::from_millis(FIRST_AT + elapsed_s * 1000);
        let retry_after = retry_after_s.map(Duration::from_secs);
        let first_at = Timestamp::from_millis(FIRST_AT);
        let next = next_attempt(made, first_at, retry_after, seed, now)?;
        Some(next.as_millis() - now.as_millis())
    }

    #[test]
    fn waits_grow_and_end_after_five_attempts_or_five_minutes() {
        // attempts made, seconds since the first, Retry-After → the shortest and longest wait in seconds
        for (made, elapsed, retry_after, expected) in [
            (0, 0, None, Some((0, 0))),
            (1, 0, None, Some((5_000, 6_250))),
            (2, 10, None, Some((15_000, 18_750))),
            (3, 40, None, Some((40_000, 50_000))),
            (4, 100, None, Some((90_000, 112_500))),
            (5, 200, None, None),
            (6, 200, None, None),
            (u32::MAX, 0, None, None),
            // the provider asks for less than we would wait, for more, for exactly the rest, for too much
            (1, 0, Some(2), Some((5_000, 6_250))),
            (1, 0, Some(60), Some((60_000, 61_250))),
            (1, 0, Some(300), Some((300_000, 300_000))),
            (1, 0, Some(301), None),
            (1, 0, Some(u64::MAX), None),
            // jitter alone gives nobody up; the wait itself does
            (1, 295, None, Some((5_000, 5_000))),
            (1, 296, None, None),
            (4, 220, None, None),
            // the clock was set back by an hour
            (1, -3600, None, Some((5_000, 6_250))),
        ] {
            for seed in [0, 1, 7, 12_345, u64::MAX] {
                let row = format!("{made} {elapsed} {retry_after:?} seed {seed}");
                match (wait_ms(made, elapsed, retry_after, seed), expected) {
                    (Some(wait), Some((shortest, longest))) => {
                        assert!((shortest..=longest).contains(&wait), "{row}: {wait}");
                    }
                    (found, expected) => {
                        assert_eq!(found.is_some(), expected.is_some(), "{row}: {found:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn five_attempts_that_time_out_fit_into_five_minutes_with_a_minute_to_spare() {
        let longest: Duration = BACKOFF
            .iter()
            .map(|wait| *wait + *wait / JITTER_PART + ATTEMPT_TIMEOUT)
            .sum();
        assert_eq!(longest.as_secs(), 227);
        assert!(longest + Duration::from_secs(60) < GIVE_UP_AFTER);
        assert_eq!(BACKOFF.len() + 1, usize::try_from(ATTEMPTS_MAX).unwrap());
    }

    #[test]
    fn seeds_spread_the_pages() {
        let waits: std::collections::BTreeSet<_> =
            (0..100).map(|seed| wait_ms(4, 0, None, seed)).collect();
        assert!(waits.len() > 90, "{}", waits.len());
    }

    proptest! {
        #[test]
        fn the_next_attempt_is_later_within_bounds_and_never_before_it_was_asked_for(
            made in 1u32..8,
            elapsed_ms in 0i64..400_000,
            retry_after_ms in proptest::option::of(0u64..400_000),
            seed: u64,
        ) {
            let first_at = Timestamp::from_millis(FIRST_AT);
            let now = Timestamp::from_millis(FIRST_AT + elapsed_ms);
            let retry_after = retry_after_ms.map(Duration::from_millis);
            if let Some(next) = next_attempt(made, first_at, retry_after, seed, now) {
                prop_assert!(made < ATTEMPTS_MAX);
                prop_assert!(next > now);
                prop_assert!(next >= now.plus(retry_after.unwrap_or_default()));
                prop_assert!(next <= first_at.plus(GIVE_UP_AFTER));
                prop_assert_eq!(next_attempt(made, first_at, retry_after, seed, now), Some(next));
            }
        }

        #[test]
        fn more_attempts_wait_longer_whatever_the_seed(made in 1u32..4, seed: u64, other: u64) {
            prop_assert!(wait_ms(made, 0, None, seed) < wait_ms(made + 1, 0, None, other));
        }

        #[test]
        fn a_subject_is_one_bounded_line_whatever_the_title(title: String, severity: String) {
            let mut message = message();
            message.incident.title = title;
            message.incident.severity = severity;
            let line = subject_line(&message);
            prop_assert!(!line.chars().any(char::is_control));
            prop_assert!(line.chars().count() <= 2 * TITLE_MAX + 40);
        }
    }

    #[test]
    fn a_page_says_what_to_do_first_and_where() {
        assert_eq!(subject_line(&message()), "[SEV1] #42 Checkout is down");
        assert_eq!(
            body_text(&message()),
            "SEV1 incident #42: Checkout is down\n\
             \n\
             Do first: Roll back the last deploy\n\
             Runbook: https://runbooks.example/checkout\n\
             Acknowledge: https://wk.example/ack/t0k3n\n\
             Incident: https://wk.example/incidents/42\n\
             Phase: triage\n\
             \n\
             What is known:\n  5xx above 20 %\n"
        );
    }

    #[test]
    fn an_update_says_what_changed_and_a_drill_that_it_is_one() {
        let mut message = message();
        message.incident.description = None;
        message.incident.first_step = String::new();
        message.incident.runbook = None;
        message.acknowledge_url = None;
        message.kind = PageKind::Update;
        message.note = Some("clear since 09:12".to_owned());
        assert_eq!(
            subject_line(&message),
            "Update: [SEV1] #42 Checkout is down"
        );
        assert_eq!(
            body_text(&message),
            "SEV1 incident #42: Checkout is down\n\
             clear since 09:12\n\
             \n\
             Incident: https://wk.example/incidents/42\n\
             Phase: triage\n"
        );
        message.kind = PageKind::Drill;
        message.note = None;
        assert_eq!(subject_line(&message), "Drill: [SEV1] #42 Checkout is down");
        assert!(body_text(&message).starts_with(
            "SEV1 incident #42: Checkout is down\nThis is a drill.\n\nIncident: https://"
        ));
    }

    #[test]
    fn a_senders_text_cannot_pass_for_a_line_of_ours() {
        let mut message = message();
        message.incident.title = "down\r\nBcc: eve@example.org\u{202e}\u{0}  now".to_owned();
        message.incident.description =
            Some("high\nAcknowledge: https://evil.example\u{1b}[2J".to_owned());
        assert_eq!(
            subject_line(&message),
            "[SEV1] #42 down Bcc: eve@example.org now"
        );
        assert!(
            body_text(&message)
                .ends_with("What is known:\n  high\n  Acknowledge: https://evil.example [2J\n")
        );
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shortened("äöü", 3), "äöü");
        assert_eq!(shortened("äöüß", 3), "äö…");
        assert_eq!(
            one_line(&"ä".repeat(500), TITLE_MAX).chars().count(),
            TITLE_MAX
        );
    }
}
