//! The stored contract: every kind of event, and the records beside them, as they lie on disk today. What was written
//! once must read for ever; a line of a fixture is never changed, only added.

use crate::world::at;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;
use watchkeeper::domain::action_item::{ActionItem, ActionKind, ActionState, Priority};
use watchkeeper::domain::alert::{Alert, Fingerprint, Labels, Outcome, Routed, Status, Watch};
use watchkeeper::domain::analysis::{Analysis, Finding};
use watchkeeper::domain::change::{About, Change as ToldChange, Status as ChangeStatus};
use watchkeeper::domain::cron_spec::CronSpec;
use watchkeeper::domain::escalation::{EscalationPolicy, Step, Target};
use watchkeeper::domain::incident::event::{
    AttemptOutcome, Audience, Cause, HandedOver, MutedBy, Opened, Origin, PageIssue, RaisedBy,
    Remark, Role, StoodAt, ToldWhy, Unsaid, Waiver,
};
use watchkeeper::domain::incident::{Entry, Event, Incident, StormCap};
use watchkeeper::domain::matcher::Matcher;
use watchkeeper::domain::phase::{Output, Phase};
use watchkeeper::domain::severity::{Profile, Severity, SeverityInputs, Urgency};
use watchkeeper::domain::silence::Silence;
use watchkeeper::domain::time::{Served, Timestamp};
use watchkeeper::domain::verification::{CheckResult, Plan};
use watchkeeper::store::muting::Standing;
use watchkeeper::store::records::{
    Attempt, Change, CheckSeen, CountedRun, DeadLetter, Head, KeyHolder, Lack, PageRecord,
    PageState, Pending, Quarantined, Replayed, Reworded, Seen, Start, Transition, Wait, Was,
};
use watchkeeper::store::storms::Openings;

const EVENTS: &str = include_str!("fixtures/golden/events-1.jsonl");
const RECORDS: &str = include_str!("fixtures/golden/records-1.tsv");

/// The name of every kind of event. A new kind does not compile until it is named here, and then wants a line.
macro_rules! kinds {
    ($($kind:ident),* $(,)?) => {
        const KINDS: &[&str] = &[$(stringify!($kind)),*];

        fn kind(event: &Event) -> &'static str {
            match event {
                $(Event::$kind { .. } => stringify!($kind),)*
            }
        }
    };
}

kinds! {
    Opened, AlertJoined, AlertFired, AlertRejudged, AlertResolved, AlertWentStale, FlappingBegan, FlappingEnded, Cleared, FiredAgain, Recurred, Reopened,
    SeverityRaised, SeveritySet, BecameFull, PagingStarted, StepRan, StepReachedNobody, Exhausted, Paged, Told,
    Attempted, Hastened, PagesDropped, Acknowledged, Unacknowledged, AcknowledgeTimedOut, Escalated, ClockJumped,
    TakenOver, Assigned, Updated, Noted, EvidenceAdded, MitigationApplied, ContainmentAdded, NoContainment, Analysed,
    ActionAdded, ActionChanged, OutputGiven, Waived, Advanced, VerificationStarted, Checked, Closed, Muted, Unmuted,
    PagesMuted, StormGrew, StormEnded, TookOver,
}

const DOWN: Fingerprint = Fingerprint(0x0123_4567_89ab_cdef);

fn nine() -> Timestamp {
    at("2026-03-02T09:00:00Z")
}

fn inputs() -> SeverityInputs {
    SeverityInputs {
        impact: Some("high".to_owned()),
        scope: Some("many".to_owned()),
        urgency: Some("now".to_owned()),
    }
}

fn plan() -> Plan {
    Plan {
        check: CronSpec::parse("0 9 * * *").expect("a cron"),
        zone: chrono_tz::Europe::Berlin,
        window: Duration::from_secs(14 * 86_400),
    }
}

fn opened() -> Opened {
    Opened {
        number: 12,
        origin: Origin::Alert,
        title: "checkout: errors".to_owned(),
        description: "more than 5 % of requests fail".to_owned(),
        severity: Severity::Sev1,
        inputs: inputs(),
        urgency: Urgency::High,
        profile: Profile::Full,
        leadership: Some("leadership".to_owned()),
        dedup_key: Some("checkout/HighErrorRate".to_owned()),
        rule: Some("checkout-down".to_owned()),
        revision: "4f1d".to_owned(),
        team: Some("payments".to_owned()),
        runbook: Some("https://runbooks.example/checkout".to_owned()),
        policy: EscalationPolicy {
            name: "payments".to_owned(),
            steps: vec![Step {
                targets: vec![
                    Target::Schedule("payments".to_owned()),
                    Target::Person("cem".to_owned()),
                    Target::Policy("leadership".to_owned()),
                ],
                timeout: Duration::from_secs(300),
            }],
            repeat: 2,
            acknowledge_timeout_ms: Some(1_800_000),
            fallback: vec![Target::Person("cem".to_owned())],
        },
        resolve_after_ms: 300_000,
        reopen_within_ms: 86_400_000,
        verification: Some(plan()),
        storm: None,
        flapping: None,
        recurrence_of: Some(7),
    }
}

fn page(serial: u32, cause: Cause, note: Option<&str>) -> PageIssue {
    let is_step = cause == Cause::Step;
    PageIssue {
        serial,
        cause,
        step: u32::from(is_step),
        round: 0,
        person: "ana".to_owned(),
        channel: "ops-hook".to_owned(),
        address: "ana-phone".to_owned(),
        due_at: at("2026-03-02T09:02:00Z"),
        note: note.map(str::to_owned),
    }
}

fn remark(text: &str) -> Remark {
    Remark {
        text: text.to_owned(),
        url: Some("https://logs.example/1".to_owned()),
        happened_at: Some(at("2026-03-02T08:55:00Z")),
    }
}

fn action() -> ActionItem {
    ActionItem {
        kind: Some(ActionKind::Systemic),
        title: Some("validate on load".to_owned()),
        answers: Some(vec!["weakness:0".to_owned(), "detection_gap".to_owned()]),
        owner: Some("ana".to_owned()),
        due: Some(at("2026-04-01T00:00:00Z")),
        priority: Some(Priority::P2),
        state: Some(ActionState::Doing),
        evidence: Some("https://code.example/pull/9".to_owned()),
    }
}

fn finding(kind: &str) -> Finding {
    Finding {
        kind: kind.to_owned(),
        text: "seen in the log".to_owned(),
    }
}

/// One event of every kind, some with what may be absent.
fn events() -> Vec<Event> {
    let text = |text: &str| text.to_owned();
    let next_at = at("2026-03-02T09:05:00Z");
    let severity = Severity::Sev1;
    let fingerprint = DOWN;
    vec![
        Event::Opened(Box::new(opened())),
        Event::AlertJoined {
            fingerprint,
            name: text("HighErrorRate"),
            severity,
        },
        Event::AlertFired {
            fingerprint,
            severity,
        },
        Event::AlertRejudged {
            fingerprint,
            severity,
        },
        Event::AlertResolved {
            fingerprint,
            reason: None,
            unsaid: None,
            moved_to: None,
        },
        Event::AlertResolved {
            fingerprint,
            reason: Some(text("the host is gone")),
            unsaid: None,
            moved_to: None,
        },
        Event::Cleared { since: nine() },
        Event::FiredAgain { resumes: true },
        Event::Recurred {
            recurrences: 2,
            phase: Phase::Response,
        },
        Event::Reopened {
            phase: Phase::Response,
            reason: None,
            by_person: false,
        },
        Event::Reopened {
            phase: Phase::Triage,
            reason: Some(text("still there")),
            by_person: true,
        },
        Event::SeverityRaised {
            from: Severity::Sev3,
            to: Severity::Sev2,
            urgency: Urgency::High,
            because: RaisedBy::Alert,
            leadership: None,
        },
        Event::SeverityRaised {
            from: Severity::Sev2,
            to: Severity::Sev1,
            urgency: Urgency::High,
            because: RaisedBy::Recurrence,
            leadership: Some(text("leadership")),
        },
        Event::SeveritySet {
            from: Severity::Sev1,
            to: Severity::Sev5,
            urgency: Urgency::None,
            inputs: inputs(),
            reason: text("a test system"),
            leadership: None,
        },
        Event::BecameFull {
            phase: Phase::Triage,
        },
        Event::PagingStarted { start: 1 },
        Event::StepRan {
            round: 0,
            step: 0,
            next_at,
            pages: vec![page(1, Cause::Step, None)],
        },
        Event::StepReachedNobody {
            round: 0,
            step: 1,
            why: text("nobody is on call by schedule:payments"),
        },
        Event::Exhausted {
            exhaustion: 1,
            next_at,
            pages: vec![page(2, Cause::Exhaustion, None)],
        },
        Event::Paged {
            pages: vec![page(3, Cause::Person, None)],
        },
        Event::Told {
            why: ToldWhy::Leadership,
            pages: vec![page(4, Cause::Update, Some("open at SEV1"))],
        },
        Event::Told {
            why: ToldWhy::Clear,
            pages: Vec::new(),
        },
        Event::Attempted {
            serial: 1,
            attempt: 1,
            outcome: AttemptOutcome::Retry,
            detail: text("503"),
        },
        Event::Attempted {
            serial: 1,
            attempt: 2,
            outcome: AttemptOutcome::Delivered,
            detail: text("200"),
        },
        Event::Attempted {
            serial: 2,
            attempt: 1,
            outcome: AttemptOutcome::Failed,
            detail: text("410"),
        },
        Event::Hastened { serial: 2 },
        Event::PagesDropped {
            serials: vec![2, 3],
            why: text("acknowledged by ana"),
        },
        Event::Acknowledged,
        Event::Unacknowledged,
        Event::AcknowledgeTimedOut,
        Event::Escalated { round: 0, step: 1 },
        Event::ClockJumped { by_ms: -3_600_000 },
        Event::TakenOver,
        Event::Assigned {
            role: Role::TechnicalOwner,
            person: text("ben"),
        },
        Event::Updated {
            audience: Audience::Stakeholders,
            text: text("we are on it"),
        },
        Event::Noted(Remark {
            text: text("called the supplier"),
            ..Remark::default()
        }),
        Event::EvidenceAdded(remark("the log")),
        Event::MitigationApplied(remark("rolled back")),
        Event::ContainmentAdded(remark("traffic moved")),
        Event::NoContainment {
            because: text("nothing to contain"),
        },
        Event::Analysed(Analysis {
            immediate_cause: Some(text("a null in the key")),
            weaknesses: Some(vec![finding("missing_validation")]),
            contributing_factors: Some(vec![text("a holiday")]),
            none_because: None,
            detection_gap: Some(finding("no_alert")),
        }),
        Event::Analysed(Analysis {
            none_because: Some(text("one cause only")),
            ..Analysis::default()
        }),
        Event::ActionAdded(action()),
        Event::ActionChanged {
            index: 0,
            change: ActionItem {
                state: Some(ActionState::Dropped),
                ..ActionItem::default()
            },
        },
        Event::OutputGiven {
            output: Output::Validated,
            statement: text("reproduced"),
            url: None,
        },
        Event::OutputGiven {
            output: Output::Channel,
            statement: text("the bridge"),
            url: Some(text("https://talk.example/12")),
        },
        Event::Waived(Waiver {
            output: Output::FirstCommunication,
            reason: text("nobody outside is hit"),
            until: Some(at("2026-03-09T09:00:00Z")),
        }),
        Event::Advanced {
            to: Phase::RootCauseAnalysis,
        },
        Event::VerificationStarted {
            plan: plan(),
            from: nine(),
            ends_at: at("2026-03-16T09:00:00Z"),
        },
        Event::Checked {
            slots: vec![at("2026-03-03T08:00:00Z"), at("2026-03-04T08:00:00Z")],
            result: CheckResult::Passed,
            detail: text("clear; late by 1d"),
        },
        Event::Closed,
        Event::AlertResolved {
            fingerprint,
            reason: None,
            unsaid: Some(Unsaid::Assumed),
            moved_to: None,
        },
        Event::AlertWentStale {
            fingerprint,
            why: text("not heard of for 6h"),
        },
        Event::FlappingBegan {
            changes: 4,
            within_ms: 1_800_000,
        },
        Event::FlappingEnded,
        Event::Muted {
            causes: vec![
                MutedBy::Silence {
                    id: text(SILENCE),
                    by: text("ana"),
                    reason: text("deploy"),
                },
                MutedBy::Inhibition {
                    fingerprint,
                    name: text("ClusterDown"),
                },
            ],
        },
        Event::PagesMuted {
            serials: vec![4],
            why: text("muted by its cause ClusterDown (0123456789abcdef)"),
        },
        Event::Unmuted,
        Event::StormGrew {
            key: Some(text("checkout/HighErrorRate")),
            service: Some(text("checkout")),
            calls: true,
            resumes: true,
        },
        Event::StormEnded,
        Event::AlertResolved {
            fingerprint,
            reason: None,
            unsaid: None,
            moved_to: Some(13),
        },
        Event::TookOver {
            from: 11,
            over: HandedOver {
                acknowledged_by: Some(text("ana")),
                acknowledged_at: Some(nine()),
                held_since: Some(nine()),
                started_at: Some(nine()),
                stood_at: None,
            },
        },
        Event::TookOver {
            from: 11,
            over: HandedOver {
                stood_at: Some(StoodAt::Step {
                    round: 1,
                    step: 0,
                    next_at: nine(),
                    reached: true,
                }),
                ..HandedOver::default()
            },
        },
        Event::TookOver {
            from: 11,
            over: HandedOver {
                stood_at: Some(StoodAt::Exhausted {
                    exhaustion: 2,
                    next_at: nine(),
                    delivered: true,
                }),
                ..HandedOver::default()
            },
        },
    ]
}

const SILENCE: &str = "090d6e35-889c-4447-81ef-1893f5d8b979";

/// A log with all of them.
fn log() -> Vec<Entry> {
    (1..)
        .zip(events())
        .map(|(seq, event)| Entry {
            seq,
            at: nine().shifted(i64::try_from(seq).expect("few") * 1_000),
            by: "watchkeeper".to_owned(),
            event,
        })
        .collect()
}

fn head() -> Head {
    Head {
        seq: 51,
        open: true,
        severity: Severity::Sev1,
        phase: Phase::Triage,
        team: Some("payments".to_owned()),
        title: "checkout: errors".to_owned(),
        dedup_key: Some("checkout/HighErrorRate".to_owned()),
        due_at: Some(nine()),
        storm_over: false,
    }
}

fn alert() -> Alert {
    let labels = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Labels>();
    Alert {
        labels: labels(&[("alertname", "null_rate"), ("dataset", "orders")]),
        annotations: labels(&[("message", "3 % are null")]),
        attributes: labels(&[("kind", "check"), ("outcome", "fail"), ("source", "ge")]),
        status: Status::Pending,
        outcome: Some(Outcome::Fail),
        source: "ge".to_owned(),
        kind: "check".to_owned(),
        starts_at: nine(),
        ends_at: Some(at("2026-03-02T10:00:00Z")),
        changed_at: nine(),
        incident: Some(12),
        rule: Some("data".to_owned()),
        routed: Routed::Open,
        pending_key: Some("orders".to_owned()),
        watch: None,
        judged_by: Some("4f1d".to_owned()),
        held_by: None,
    }
}

fn page_record() -> PageRecord {
    PageRecord {
        issue: page(1, Cause::Step, None),
        written_at: nine(),
        state: PageState::Waiting,
        attempts: vec![Attempt {
            at: at("2026-03-02T09:02:00Z"),
            outcome: AttemptOutcome::Retry,
            detail: "503".to_owned(),
        }],
        claims: 1,
        claimed_by: None,
        next_at: Some(at("2026-03-02T09:02:10Z")),
        first_attempt_at: Some(at("2026-03-02T09:02:00Z")),
        held: false,
        dropped: Some("acknowledged by ana".to_owned()),
        muted: false,
    }
}

fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("it is stored as JSON")
}

#[test]
fn every_kind_of_event_is_stored_as_it_was_and_reads_back_equal() {
    let lines: Vec<&str> = EVENTS.lines().collect();
    let log = log();
    assert_eq!(lines.len(), log.len());
    for (stored, entry) in lines.iter().zip(&log) {
        let read: Entry = serde_json::from_str(stored).expect("what was stored reads");
        assert_eq!(read, *entry);
        assert_eq!(line(entry), *stored, "as it is stored today");
    }
}

#[test]
fn every_kind_of_event_stands_in_the_golden_file() {
    let stored: BTreeSet<&str> = EVENTS
        .lines()
        .map(|line| serde_json::from_str::<Entry>(line).expect("it reads"))
        .map(|entry| kind(&entry.event))
        .collect();
    assert_eq!(stored, KINDS.iter().copied().collect());
}

#[test]
fn a_log_of_every_kind_of_event_makes_an_incident() {
    let incident = Incident::replay(&log()).expect("it begins with its opening");
    assert_eq!(incident.number(), 12);
    assert!(!incident.is_open());
}

#[test]
fn the_records_beside_the_events_are_stored_as_they_were() {
    let stored: BTreeMap<&str, &str> = RECORDS
        .lines()
        .map(|line| line.split_once('\t').expect("name, tab, JSON"))
        .collect();
    let mut known = BTreeSet::new();
    let mut check = |name: &'static str, read: &dyn Fn(&str)| {
        read(
            stored
                .get(name)
                .unwrap_or_else(|| panic!("{name} is stored")),
        );
        known.insert(name);
    };
    check("head", &|text| same(text, &head()));
    check("alert", &|text| same(text, &alert()));
    check("alert_watched", &|text| {
        let watch = Some(Watch {
            due_at: Served::of_instant(nine()),
            heard_at: Some(Served::of_instant(nine())),
            lapses_at: Some(Served::of_instant(nine())),
        });
        same(text, &Alert { watch, ..alert() });
    });
    check("alert_held", &|text| {
        let held_by = Some(DOWN);
        same(text, &Alert { held_by, ..alert() });
    });
    check("page", &|text| same(text, &page_record()));
    check("page_muted", &|text| {
        let page = PageRecord {
            state: PageState::Muted,
            muted: true,
            ..page_record()
        };
        same(text, &page);
    });
    check("silence", &|text| {
        let silence = Silence {
            id: SILENCE.to_owned(),
            matchers: vec![
                Matcher::parse("service=\"checkout\"").expect("a matcher"),
                Matcher::parse("@kind=~\"check|mlflow\"").expect("a matcher"),
            ],
            starts_at: nine(),
            ends_at: at("2026-03-02T11:00:00Z"),
            created_by: "ana".to_owned(),
            comment: "deploy".to_owned(),
            updated_at: nine(),
            token: Some("ci".to_owned()),
            annotations: Labels::from_iter([("ticket", "OPS-1")]),
        };
        same(text, &silence);
    });
    check("muting", &|text| {
        let standing = Standing {
            inhibitions: vec![7],
            entering: Some(DOWN),
            purging: true,
            incidents: Some(12),
            held: Some((DOWN, DOWN)),
            again: true,
            thorough: true,
        };
        same(text, &standing);
    });
    let seen = Seen {
        received: 3,
        last_at: nine(),
        heard_at: None,
        lapses_at: None,
    };
    check("seen", &|text| same(text, &seen));
    check("seen_leased", &|text| {
        let heard_at = Some(Served::of_instant(nine()));
        let lapses_at = heard_at;
        same(
            text,
            &Seen {
                heard_at,
                lapses_at,
                ..seen
            },
        );
    });
    check("key", &|text| {
        same(
            text,
            &KeyHolder {
                incident: 12,
                before: None,
            },
        );
    });
    check("key_of_storm", &|text| {
        same(
            text,
            &KeyHolder {
                incident: 12,
                before: Some(11),
            },
        );
    });
    check("head_of_storm", &|text| {
        same(
            text,
            &Head {
                storm_over: true,
                ..head()
            },
        );
    });
    check("openings", &|text| {
        let openings = Openings {
            recent: [nine()].into(),
            storm: Some(12),
            ends_at: Some(at("2026-03-02T09:01:00Z")),
        };
        same(text, &openings);
    });
    check("storm_cap", &|text| {
        let cap = StormCap {
            incidents: 50,
            within_ms: 60_000,
        };
        same(text, &cap);
    });
    check("check", &|text| {
        let run = CountedRun {
            id: Some("a".to_owned()),
            attempt: Some(1),
            finished_at: Some(nine()),
            counted_at: nine(),
        };
        let finished_at = Some(nine());
        same(
            text,
            &CheckSeen {
                finished_at,
                runs: vec![run],
            },
        );
    });
    check("told_change", &|text| {
        let text_of = |text: &str| Some(text.to_owned());
        let change = ToldChange {
            id: "deploy-17".to_owned(),
            source: "ci".to_owned(),
            status: ChangeStatus::RolledBack,
            at: at("2026-03-02T10:00:00Z"),
            started_at: nine(),
            received_at: nine(),
            heard_at: at("2026-03-02T10:00:01Z"),
            about: About {
                kind: text_of("deployment"),
                service: text_of("checkout"),
                environment: text_of("production"),
                summary: text_of("New tax rules"),
                version: text_of("1.4.2"),
                url: text_of("https://ci.example/17"),
                by: text_of("ana"),
                labels: Labels::from_iter([("region", "eu")]),
            },
        };
        same(text, &change);
    });
    check("pending", &|text| {
        let pending = Pending {
            since: nine(),
            members: BTreeMap::from([(DOWN, Wait::Elapsed(120_000))]),
            starts: Vec::new(),
            due_at: Some(at("2026-03-02T09:02:00Z")),
        };
        same(text, &pending);
    });
    check("pending_count", &|text| {
        let wait = Wait::Starts {
            count: 3,
            within_ms: 600_000,
        };
        let start = Start {
            alert: DOWN,
            at: nine(),
            until: at("2026-03-02T09:10:00Z"),
        };
        let pending = Pending {
            since: nine(),
            members: BTreeMap::from([(DOWN, wait)]),
            starts: vec![start],
            due_at: None,
        };
        same(text, &pending);
    });
    check("transition", &|text| {
        let transition = Transition {
            fingerprint: DOWN,
            change: Change::Fired,
            status: Status::Firing,
            source: "ge".to_owned(),
            outcome: Some(Outcome::Warn),
            starts_at: Some(nine()),
            incident: Some(12),
            reworded: None,
            was: None,
            waited: None,
        };
        same(text, &transition);
    });
    check("transition_reworded", &|text| {
        let turn = |before: Option<&str>, after: Option<&str>| {
            (before.map(str::to_owned), after.map(str::to_owned))
        };
        let transition = Transition {
            fingerprint: DOWN,
            change: Change::Changed,
            status: Status::Firing,
            source: "ge".to_owned(),
            outcome: Some(Outcome::Fail),
            starts_at: Some(nine()),
            incident: Some(12),
            reworded: Some(Box::new(Reworded {
                annotations: BTreeMap::from([(
                    "summary".to_owned(),
                    turn(Some("3 % are null"), Some("9 % are null")),
                )]),
                attributes: BTreeMap::from([("severity".to_owned(), turn(None, Some("critical")))]),
            })),
            was: None,
            waited: None,
        };
        same(text, &transition);
    });
    check("transition_was_held", &|text| {
        let transition = Transition {
            fingerprint: DOWN,
            change: Change::Resolved,
            status: Status::Resolved,
            source: "ge".to_owned(),
            outcome: None,
            starts_at: Some(nine()),
            incident: None,
            reworded: None,
            was: Some(Was::Held),
            waited: None,
        };
        same(text, &transition);
    });
    check("transition_waited", &|text| {
        let transition = Transition {
            fingerprint: DOWN,
            change: Change::Changed,
            status: Status::Firing,
            source: "ge".to_owned(),
            outcome: None,
            starts_at: Some(nine()),
            incident: Some(12),
            reworded: None,
            was: None,
            waited: Some("orders/NullRate".to_owned()),
        };
        same(text, &transition);
    });
    check("dead_letter", &|text| {
        let letter = DeadLetter {
            at: nine(),
            source: "ge".to_owned(),
            kind: "check".to_owned(),
            reason: "status is missing".to_owned(),
            path: "$.alerts[0]".to_owned(),
            item: "{}".to_owned(),
            lacks: None,
            around: None,
            headers: Vec::new(),
            query: Vec::new(),
            replayed: None,
        };
        same(text, &letter);
    });
    check("dead_letter_replayed", &|text| {
        let letter = DeadLetter {
            at: nine(),
            source: "ge".to_owned(),
            kind: "check".to_owned(),
            reason: "status is missing".to_owned(),
            path: "$.alerts[0]".to_owned(),
            item: "{}".to_owned(),
            lacks: Some(Lack::Rows),
            around: Some(("[".to_owned(), "]".to_owned())),
            headers: vec![("ce-id".to_owned(), "1".to_owned())],
            query: vec![("owner".to_owned(), "ana".to_owned())],
            replayed: Some(Replayed {
                at: nine(),
                by: "ana".to_owned(),
                accepted: 2,
                rejected: 1,
                opened: BTreeSet::from([12]),
                joined: BTreeSet::from([7]),
            }),
        };
        same(text, &letter);
    });
    check("awaiting_replay", &|text| same(text, &"ge".to_owned()));
    check("quarantined", &|text| {
        let why = "a panic".to_owned();
        let known = Quarantined {
            at: nine(),
            why,
            shout_at: None,
            shouted_from: None,
        };
        same(text, &known);
    });
    check("quarantined_and_shouted_about", &|text| {
        let known = Quarantined {
            at: nine(),
            why: "a panic".to_owned(),
            shout_at: Some(nine()),
            shouted_from: Some(2_147_483_649),
        };
        same(text, &known);
    });
    assert_eq!(known, stored.keys().copied().collect());
}

fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(stored: &str, value: &T) {
    assert_eq!(line(value), stored, "as it is stored today");
    let read: T = serde_json::from_str(stored).expect("what was stored reads");
    assert_eq!(read, *value);
}
