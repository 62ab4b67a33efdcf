//! Stories of verification: the window and its checks, the gate they guard, and what a recurrence does.

use crate::lifecycle::{
    START, STEPS, close, confirms, entries, give_all, missing, opened, paged_since, rules_of,
    waiver, walk_to,
};
use crate::world::{World, at, book, rules};
use std::time::Duration;
use watchkeeper::domain::alert::{Outcome, Run};
use watchkeeper::domain::cron_spec::CronSpec;
use watchkeeper::domain::incident::event::{Event, WATCHKEEPER};
use watchkeeper::domain::incident::{Ask, Entry, Incident, Verification};
use watchkeeper::domain::oncall::{OnCall, Overrides};
use watchkeeper::domain::phase::{Output, Phase};
use watchkeeper::domain::rule::{OpenWhen, SeverityRule};
use watchkeeper::domain::severity::{Profile, Severity};
use watchkeeper::domain::time::Timestamp;
use watchkeeper::domain::verification::{CheckResult, Plan};
use watchkeeper::simulate::check_result;

const DAY: u64 = 24 * 60;

fn window(world: &World) -> Verification {
    let incident = world.incident(1);
    incident.verification.clone().expect("a window is open")
}

/// The slots that were checked: `03-03 09:00 passed`.
fn checked(window: &Verification) -> Vec<String> {
    let line = |at: Timestamp| at.to_string()[5..16].replace('T', " ");
    window
        .checks
        .iter()
        .map(|check| format!("{} {}", line(check.at), check.result.as_str()))
        .collect()
}

fn plan(check: &str, zone: chrono_tz::Tz, hours: u64) -> Plan {
    Plan {
        check: CronSpec::parse(check).expect("a cron"),
        zone,
        window: Duration::from_secs(hours * 3600),
    }
}

/// An incident that enters verification at once, under this plan of its rule.
fn verifying(start: &str, of_rule: Plan) -> World {
    let rules = rules(|settings| {
        settings.severity = Some(SeverityRule::Fixed(Severity::Sev3));
        settings.verification = Some(of_rule);
    });
    let mut world = World::with(start, book(STEPS), rules);
    world.fires("Down");
    world.resolves("Down");
    world
}

/// A full incident in verification since `03-02 10:00`.
fn full_in_verification(severity: Severity) -> World {
    let mut world = opened(severity);
    world.advance(60);
    world.resolves("Down");
    walk_to(&mut world, 1, Phase::Verification);
    world
}

#[test]
fn a_window_of_fourteen_days_has_fourteen_daily_checks() {
    let mut world = full_in_verification(Severity::Sev1);
    let open = window(&world);
    assert_eq!(
        (open.from, open.ends_at),
        (at("2026-03-02T10:00:00Z"), at("2026-03-16T10:00:00Z"))
    );
    world.advance(20 * DAY);
    let days = 3..=16;
    let expected: Vec<String> = days
        .map(|day| format!("03-{day:02} 09:00 passed"))
        .collect();
    assert_eq!(checked(&window(&world)), expected);
    assert_eq!(expected.len(), 14);
    let incident = world.incident(1);
    assert!(incident.is_open(), "a full one is closed by a person");
    for check in &window(&world).checks {
        assert_eq!(check.ran_at, check.at);
        assert_eq!(
            check.detail,
            "clear since 2026-03-02T10:00:00.000Z, not fired since"
        );
    }
}

#[test]
fn the_window_runs_from_when_the_phase_was_entered() {
    let mut world = opened(Severity::Sev1);
    world.resolves("Down");
    world.advance(3 * DAY + 120);
    walk_to(&mut world, 1, Phase::Verification);
    let open = window(&world);
    assert_eq!(
        (open.from, open.ends_at),
        (at("2026-03-05T11:00:00Z"), at("2026-03-19T11:00:00Z"))
    );
}

#[test]
fn checks_run_on_the_wall_clock_of_the_plans_zone() {
    let berlin = chrono_tz::Europe::Berlin;
    let cases: [(&str, [&str; 4]); 2] = [
        (
            "2026-03-26T12:00:00Z",
            ["03-27 08:00", "03-28 08:00", "03-29 07:00", "03-30 07:00"],
        ),
        (
            "2026-10-22T12:00:00Z",
            ["10-23 07:00", "10-24 07:00", "10-25 08:00", "10-26 08:00"],
        ),
    ];
    for (start, slots) in cases {
        let mut world = verifying(start, plan("0 9 * * *", berlin, 4 * 24));
        world.advance(5 * DAY);
        let expected = slots.map(|slot| format!("{slot} passed"));
        assert_eq!(checked(&window(&world)), expected);
    }
}

#[test]
fn a_window_without_a_slot_is_extended_to_the_first_one() {
    let mut world = verifying("2026-03-02T10:00:00Z", plan("0 9 * * *", chrono_tz::UTC, 1));
    assert_eq!(window(&world).ends_at, at("2026-03-03T09:00:00Z"));
    world.advance(2 * DAY);
    assert_eq!(checked(&window(&world)), ["03-03 09:00 passed"]);
    assert_eq!(
        world.incident(1).closed_at,
        Some(at("2026-03-03T09:00:00Z"))
    );
}

#[test]
fn a_slot_at_the_very_end_belongs_to_the_window_and_one_at_its_start_does_not() {
    let mut world = verifying(START, plan("0 * * * *", chrono_tz::UTC, 3));
    world.advance(DAY);
    assert_eq!(
        checked(&window(&world)),
        [
            "03-02 10:00 passed",
            "03-02 11:00 passed",
            "03-02 12:00 passed"
        ]
    );
    assert_eq!(
        world.incident(1).closed_at,
        Some(at("2026-03-02T12:00:00Z"))
    );
}

#[test]
fn the_plan_is_fixed_when_the_phase_is_entered() {
    let mut world = full_in_verification(Severity::Sev1);
    world
        .ask(1, confirms(Severity::Sev3), "ana")
        .expect("it is open");
    assert_eq!(window(&world).ends_at, at("2026-03-16T10:00:00Z"));
}

#[test]
fn closing_is_refused_until_the_check_of_the_last_slot_has_run() {
    let mut world = full_in_verification(Severity::Sev1);
    give_all(&mut world, 1);
    assert_eq!(
        missing(world.ask(1, close(), "ana")).1,
        ["no_recurrence", "stable"]
    );
    world.advance(DAY);
    assert_eq!(missing(world.ask(1, close(), "ana")).1, ["no_recurrence"]);
    world.advance(13 * DAY - 61);
    assert_eq!(
        missing(world.ask(1, close(), "ana")).1,
        ["no_recurrence"],
        "a minute before the last slot"
    );
    world.advance(1);
    let closed = world.ask(1, close(), "ana").expect("the last one has run");
    assert_eq!(closed.closed_at, Some(at("2026-03-16T09:00:00Z")));
}

#[test]
fn a_recurrence_on_day_nine_returns_to_response_and_pages() {
    let mut world = full_in_verification(Severity::Sev2);
    give_all(&mut world, 1);
    world.advance(9 * DAY);
    let sent = world.simulation.sent().len();
    let before = world.incident(1);

    world.fires("Down");
    world.advance(20);
    let incident = world.incident(1);
    assert_eq!(
        paged_since(&world, sent),
        ["03-11 10:00 ana", "03-11 10:05 ben", "03-11 10:15 ben"]
    );
    assert_eq!(
        (incident.phase, incident.recurrences, incident.severity),
        (Phase::Response, 1, Severity::Sev2)
    );
    assert!(incident.acknowledged.is_none() && !incident.is_clear());

    let lost: Vec<&str> = Output::ALL
        .into_iter()
        .filter(|output| before.has(*output) && !incident.has(*output))
        .map(Output::as_str)
        .collect();
    assert_eq!(
        lost,
        [
            "validated",
            "mitigation",
            "contained",
            "timeline_reviewed",
            "systemic_action",
            "stable",
            "stakeholder",
            "lessons",
            "clear"
        ]
    );
    assert_eq!(
        missing(world.ask(1, close(), "ana")).1,
        [
            "validated",
            "mitigation",
            "contained",
            "timeline_reviewed",
            "systemic_action",
            "no_recurrence",
            "stable",
            "stakeholder",
            "lessons",
            "clear"
        ]
    );

    assert_eq!(incident.verification, None);
    let [failed] = &incident.failed_windows[..] else {
        panic!("one window failed, found {:?}", incident.failed_windows);
    };
    assert!(failed.failed);
    assert_eq!(failed.checks.len(), 9);
    assert_eq!(checked(failed)[8], "03-11 09:00 passed");
}

#[test]
fn after_a_recurrence_only_an_action_added_since_is_a_systemic_answer() {
    let mut world = full_in_verification(Severity::Sev1);
    world.advance(DAY);
    world.fires("Down");
    world.resolves("Down");
    assert_eq!(world.incident(1).actions.len(), 1);
    walk_to(&mut world, 1, Phase::Verification);
    assert_eq!(world.incident(1).actions.len(), 2);
    world.advance(14 * DAY);
    give_all(&mut world, 1);
    world
        .ask(1, close(), "ana")
        .expect("the second window has passed");
    assert_eq!(world.incident(1).failed_windows.len(), 1);
}

#[test]
fn the_second_recurrence_of_a_full_incident_raises_its_severity() {
    let mut world = full_in_verification(Severity::Sev2);
    let mut found = Vec::new();
    for _ in 0..3 {
        world.advance(DAY);
        world.fires("Down");
        let incident = world.incident(1);
        found.push((incident.recurrences, incident.severity));
        world.resolves("Down");
        walk_to(&mut world, 1, Phase::Verification);
    }
    assert_eq!(
        found,
        [
            (1, Severity::Sev2),
            (2, Severity::Sev1),
            (3, Severity::Sev1)
        ]
    );
    assert_eq!(world.incident(1).failed_windows.len(), 3);
}

#[test]
fn a_light_incident_recurs_without_rising_and_verifies_anew() {
    let mut world = opened(Severity::Sev3);
    world.resolves("Down");
    for recurrences in 1..=3 {
        world.advance(2 * DAY);
        let sent = world.simulation.sent().len();
        world.fires("Down");
        let incident = world.incident(1);
        assert_eq!(
            (incident.recurrences, incident.severity, incident.profile),
            (recurrences, Severity::Sev3, Profile::Light)
        );
        assert_eq!(incident.phase, Phase::Response);
        assert_eq!(paged_since(&world, sent).len(), 1);
        world.resolves("Down");
        assert_eq!(world.incident(1).phase, Phase::Verification);
    }
    world.advance(7 * DAY);
    assert!(!world.incident(1).is_open());
    assert_eq!(world.incident(1).failed_windows.len(), 3);
}

#[test]
fn a_light_incident_that_becomes_full_by_a_recurrence_is_in_triage() {
    let mut world = opened(Severity::Sev3);
    world.resolves("Down");
    world.advance(DAY);
    crate::lifecycle::fires_critical(&mut world);
    let incident = world.incident(1);
    assert_eq!(
        (incident.phase, incident.profile, incident.recurrences),
        (Phase::Triage, Profile::Full, 1)
    );
    assert_eq!(incident.failed_windows.len(), 1);
}

#[test]
fn from_stabilization_on_a_clear_incident_that_fires_again_recurs() {
    for (phase, expected) in [
        (Phase::Response, (Phase::Response, 0)),
        (Phase::Stabilization, (Phase::Response, 1)),
        (Phase::ActionItems, (Phase::Response, 1)),
    ] {
        let mut world = opened(Severity::Sev1);
        world.resolves("Down");
        walk_to(&mut world, 1, phase);
        world.fires("Down");
        let incident = world.incident(1);
        assert_eq!((incident.phase, incident.recurrences), expected, "{phase}");
    }
    let mut world = opened(Severity::Sev1);
    walk_to(&mut world, 1, Phase::RootCauseAnalysis);
    crate::lifecycle::fires_critical(&mut world);
    assert_eq!(
        world.incident(1).recurrences,
        0,
        "one that joins an incident that is not clear is none"
    );
}

#[test]
fn an_alert_that_has_not_met_open_after_is_no_recurrence() {
    let rules = rules(|settings| settings.open = Some(OpenWhen::After(Duration::from_secs(120))));
    let mut world = World::with(START, book(STEPS), rules);
    world.fires("Down");
    world.advance(2);
    world.resolves("Down");
    walk_to(&mut world, 1, Phase::Verification);
    world.advance(DAY - 3);
    let sent = world.simulation.sent().len();

    // 08:59 to 09:00:30: pending at the slot of 09:00.
    world.fires("Down");
    world.advance(1);
    world.resolves("Down");
    let incident = world.incident(1);
    assert_eq!(checked(&window(&world)), ["03-03 09:00 passed"]);
    assert!(incident.is_clear() && incident.recurrences == 0);
    assert_eq!(paged_since(&world, sent), Vec::<String>::new());

    world.fires("Down");
    world.advance(2);
    let incident = world.incident(1);
    assert_eq!((incident.phase, incident.recurrences), (Phase::Response, 1));
    assert_eq!(paged_since(&world, sent), ["03-03 09:02 ana"]);
}

#[test]
fn what_a_downtime_missed_is_checked_once_and_stands_at_every_slot() {
    let mut world = full_in_verification(Severity::Sev1);
    world.advance(DAY);
    world
        .simulation
        .sleep(Duration::from_secs(3 * 86_400 + 1800));
    world.advance(0);
    assert_eq!(
        checked(&window(&world)),
        [
            "03-03 09:00 passed",
            "03-04 09:00 passed",
            "03-05 09:00 passed",
            "03-06 09:00 passed"
        ]
    );
    for check in &window(&world).checks[1..] {
        assert_eq!(check.ran_at, at("2026-03-06T10:30:00Z"));
        assert_eq!(
            check.detail,
            "clear since 2026-03-02T10:00:00.000Z, not fired since; late by 2d1h30m"
        );
    }
    let runs = entries(&world, 1)
        .into_iter()
        .filter(|entry| matches!(entry.event, Event::Checked { .. }));
    assert_eq!(runs.count(), 2, "one in time, one for all that was missed");
}

#[test]
fn a_downtime_beyond_the_end_of_the_window_still_ends_it() {
    let mut world = opened(Severity::Sev3);
    world.resolves("Down");
    world.simulation.sleep(Duration::from_secs(30 * 86_400));
    world.advance(0);
    let incident = world.incident(1);
    assert_eq!(checked(&window(&world)).len(), 7);
    assert_eq!(incident.closed_at, Some(at("2026-04-01T09:00:00Z")));
}

/// Whatever is asked of an incident by its log alone.
fn settle(incident: &mut Incident, now: &str) -> Vec<Entry> {
    let (book, overrides) = (book(STEPS), Overrides::default());
    let oncall = OnCall {
        book: &book,
        overrides: &overrides,
    };
    incident.settle(oncall, at(now))
}

#[test]
fn a_check_that_did_not_pass_runs_again_hourly_until_it_passes() {
    let world = full_in_verification(Severity::Sev1);
    for result in [CheckResult::Failed, CheckResult::Error] {
        let mut incident = (*world.incident(1)).clone();
        let slot = at("2026-03-03T09:00:00Z");
        let checked_at = |seq: u64, at: Timestamp| Entry {
            seq,
            at,
            by: WATCHKEEPER.to_owned(),
            event: Event::Checked {
                slots: vec![slot],
                result,
                detail: "prometheus answers 503".to_owned(),
            },
        };
        let first = checked_at(incident.seq + 1, slot);
        incident.catch_up(&[first]);
        assert!(!incident.has(Output::Stable));
        assert_eq!(incident.next_due(), Some(at("2026-03-03T10:00:00Z")));
        assert_eq!(settle(&mut incident, "2026-03-03T09:59:59Z"), []);

        let again = checked_at(incident.seq + 1, at("2026-03-03T10:00:00Z"));
        incident.catch_up(&[again]);
        assert_eq!(incident.next_due(), Some(at("2026-03-03T11:00:00Z")));

        let ran = settle(&mut incident, "2026-03-03T11:00:00Z");
        assert_eq!(
            ran[0].event,
            Event::Checked {
                slots: vec![slot],
                result: CheckResult::Passed,
                detail: "clear since 2026-03-02T10:00:00.000Z, not fired since".to_owned(),
            }
        );
        assert!(incident.has(Output::Stable));
        assert_eq!(incident.next_due(), Some(at("2026-03-04T09:00:00Z")));
    }
}

#[test]
fn a_failed_check_of_the_last_slot_ends_the_window_and_stable_is_waived_or_waited_for() {
    let mut world = opened(Severity::Sev3);
    world.resolves("Down");
    let mut incident = (*world.incident(1)).clone();
    let slots: Vec<Timestamp> = (3..=9)
        .map(|day| at(&format!("2026-03-{day:02}T09:00:00Z")))
        .collect();
    let failed = Entry {
        seq: incident.seq + 1,
        at: at("2026-03-09T09:00:00Z"),
        by: WATCHKEEPER.to_owned(),
        event: Event::Checked {
            slots,
            result: CheckResult::Failed,
            detail: "3 rows, empty wanted".to_owned(),
        },
    };
    incident.catch_up(&[failed]);
    assert!(incident.has(Output::NoRecurrence));
    assert_eq!(settle(&mut incident, "2026-03-09T09:30:00Z"), []);
    assert_eq!(
        incident.missing_to_close(&[], at("2026-03-09T09:30:00Z")),
        [Output::Stable]
    );
    let waive = [waiver(Output::Stable, None)];
    assert_eq!(
        incident.missing_to_close(&waive, at("2026-03-09T09:30:00Z")),
        []
    );
    settle(&mut incident, "2026-03-09T10:00:00Z");
    assert!(!incident.is_open(), "it passed an hour later");
}

#[test]
fn from_a_failed_check_of_data_to_the_verified_close() {
    let mut world = World::with(START, book(STEPS), rules_of(Severity::Sev1));
    let labels = [("alertname", "orders_not_null"), ("tool", "pandera")];
    let run = |id: &str, finished: &str| Run {
        id: Some(id.to_owned()),
        attempt: None,
        finished_at: Some(at(finished)),
    };
    let failed = check_result(&labels, Outcome::Fail, run("a", START));
    let recorded = world.simulation.receive(failed).expect("it is taken");
    assert_eq!(Vec::from_iter(recorded.opened), [1]);
    world.advance(3);
    world.ask(1, Ask::Acknowledge, "ana").expect("it is open");
    walk_to(&mut world, 1, Phase::ActionItems);
    give_all(&mut world, 1);
    world.advance(57);
    let passed = check_result(&labels, Outcome::Pass, run("b", "2026-03-02T10:00:00Z"));
    world.simulation.receive(passed).expect("it is taken");
    walk_to(&mut world, 1, Phase::Verification);
    give_all(&mut world, 1);
    world.advance(14 * DAY);
    world
        .ask(1, close(), "ana")
        .expect("all is given and verified");

    let incident = world.incident(1);
    assert!(!incident.is_open());
    assert_eq!(window(&world).checks.len(), 14);
    assert_eq!(
        paged_since(&world, 0),
        ["03-02 09:00 ana", "03-02 10:00 ana (update)"]
    );
    assert_eq!(
        Incident::replay(&entries(&world, 1)),
        Some((*incident).clone())
    );
    assert_eq!(world.simulation.health().violations, []);
}
