//! Alerts that are not heard of: stale, which is not fixed, or resolved where their sender said until when they fire.

use crate::world::{CHECK, START, World, at, book, rules, run, sighting};
use std::time::Duration;
use watchkeeper::domain::alert::{
    Alert, Fingerprint, Outcome, Run, Scope, Sighting, Signal, Status,
};
use watchkeeper::domain::rule::SeverityRule;
use watchkeeper::domain::rule::{OpenWhen, Settings};
use watchkeeper::domain::severity::Severity;
use watchkeeper::simulate::check_result;
use watchkeeper::store::engine::Order;
use watchkeeper::store::report::{Recorded, Report};

const HOUR: u64 = 60;

fn hours(hours: u64) -> Option<Duration> {
    Some(Duration::from_secs(hours * 3600))
}

/// Ann, then ben, under one rule whose alerts are stale after six hours.
fn world(change: impl FnOnce(&mut Settings)) -> World {
    let rules = rules(|settings| {
        settings.stale_after = hours(6);
        change(settings);
    });
    World::with(START, book(&[("ann", 5), ("ben", 5)]), rules)
}

fn light(settings: &mut Settings) {
    settings.severity = Some(SeverityRule::Fixed(Severity::Sev3));
}

fn fingerprint(name: &str) -> Fingerprint {
    sighting(name, Signal::Firing).labels.fingerprint()
}

fn alert(world: &World, of: Fingerprint) -> Alert {
    let read = world.simulation.store().read(|reader| reader.alert(of));
    read.expect("it reads").expect("there is such an alert")
}

fn status(world: &World, name: &str) -> Status {
    alert(world, fingerprint(name)).status
}

/// It fires, and until then unless it is said again.
fn leased(world: &mut World, name: &str, until: &str) -> Recorded {
    let mut sighting = sighting(name, Signal::FiringUntil(at(until)));
    sighting.starts_at = Some(at(START));
    world.receives(vec![sighting])
}

#[test]
fn an_alert_not_heard_of_is_stale_and_those_who_were_paged_are_told_once() {
    let mut world = world(|_settings| {});
    world.fires("Down");
    world.fires("Down db2");
    world.acknowledges(1, "ann");
    world.advance(6 * HOUR - 1);
    assert_eq!(status(&world, "Down"), Status::Firing);
    world.advance(1);
    assert_eq!(status(&world, "Down"), Status::Stale);
    assert_eq!(world.pages(), ["09:00 ann", "15:00 ann (update)"]);
    let sent = world.simulation.sent();
    let note = sent.last().and_then(|sent| sent.message.note.as_deref());
    assert_eq!(
        note,
        Some("Down is stale, which is not fixed: not heard of for 6h")
    );
    assert_eq!(
        world.timeline(1, "stale"),
        [
            "15:00 alert 6accfd3d0992a914 is stale, which is not fixed: not heard of for 6h",
            "15:00 told that it is stale: ann",
            "15:00 alert 7b5f23497e734865 is stale, which is not fixed: not heard of for 6h",
        ]
    );
    let incident = world.incident(1);
    assert!(!incident.is_clear(), "stale is not fixed");
    assert_eq!(incident.members.counts().stale, 2);
    world.advance(48 * HOUR);
    assert_eq!(world.pages().len(), 2, "once, and nobody else");
}

#[test]
fn escalation_goes_on_over_what_is_stale() {
    let mut world = world(|settings| settings.stale_after = Some(Duration::from_secs(120)));
    world.fires("Down");
    world.advance(6);
    let all = ["09:00 ann", "09:02 ann (update)", "09:05 ben"];
    assert_eq!(world.pages(), all);
}

#[test]
fn an_alert_that_is_heard_of_is_not_stale() {
    let mut world = world(|_settings| {});
    world.fires("Down");
    for _ in 0..4 {
        world.advance(4 * HOUR);
        world.fires("Down");
    }
    world.advance(6 * HOUR - 1);
    assert_eq!(status(&world, "Down"), Status::Firing);
    world.advance(1);
    assert_eq!(status(&world, "Down"), Status::Stale);
}

#[test]
fn a_stale_alert_that_is_heard_while_nothing_else_fires_drops_the_acknowledgement() {
    let mut world = world(|_settings| {});
    world.fires("Down");
    world.fires("Down db2");
    world.acknowledges(1, "ann");
    world.advance(5 * HOUR);
    world.fires("Down db2");
    world.advance(HOUR);
    world.fires("Down");
    assert!(
        world.incident(1).acknowledged.is_some(),
        "db2 fires all along"
    );
    world.advance(6 * HOUR);
    world.fires("Down");
    assert!(world.incident(1).acknowledged.is_none());
    let pages = world.pages();
    assert_eq!(pages[0], "09:00 ann");
    assert_eq!(pages.last().map(String::as_str), Some("21:00 ann"));
}

#[test]
fn a_stale_alert_that_is_resolved_clears_its_incident() {
    let mut world = world(|_settings| {});
    world.fires("Down");
    world.acknowledges(1, "ann");
    world.advance(7 * HOUR);
    world.resolves("Down");
    assert!(world.incident(1).is_clear());
    let all = ["09:00 ann", "15:00 ann (update)", "16:00 ann (update)"];
    assert_eq!(world.pages(), all);
}

#[test]
fn in_a_light_incident_what_stays_stale_counts_as_resolved_after_as_long_again() {
    let mut world = world(light);
    world.fires("Down");
    world.acknowledges(1, "ann");
    world.advance(12 * HOUR - 1);
    assert_eq!(status(&world, "Down"), Status::Stale);
    world.advance(1);
    assert_eq!(status(&world, "Down"), Status::Resolved);
    assert!(world.incident(1).is_clear());
    assert_eq!(
        world.timeline(1, "assumed"),
        ["21:00 alert 6accfd3d0992a914 is assumed to be resolved: it was stale for long"]
    );
}

#[test]
fn an_alert_without_an_incident_goes_the_same_way() {
    let mut world = world(|settings| {
        settings.action = Some(watchkeeper::domain::rule::Action::Record);
    });
    world.fires("Down");
    world.advance(6 * HOUR);
    assert_eq!(status(&world, "Down"), Status::Stale);
    world.advance(6 * HOUR);
    assert_eq!(status(&world, "Down"), Status::Resolved);
}

#[test]
fn where_no_rule_says_the_source_does_and_else_the_kind() {
    let quiet = |change: fn(&mut World)| {
        let mut world = World::new(START, &[("ann", 5)]);
        change(&mut world);
        world.fires("Down");
        world.acknowledges(1, "ann");
        let mut passed = 0;
        while status(&world, "Down") == Status::Firing && passed < 100 {
            world.advance(HOUR);
            passed += 1;
        }
        passed
    };
    assert_eq!(quiet(|_world| {}), 24);
    let by_source = |world: &mut World| {
        world.edits(|book| {
            book.stale_after
                .extend([("alertmanager".to_owned(), Duration::from_secs(7200))]);
        });
    };
    assert_eq!(quiet(by_source), 2);
}

#[test]
fn checks_and_senders_that_say_it_once_are_never_stale_by_themselves() {
    let mut world = World::new(START, &[("ann", 5)]);
    world.checks(&run("a", START), &[Outcome::Fail]);
    world.acknowledges(1, "ann");
    world.advance(1000 * HOUR);
    let of = check_result(CHECK, Outcome::Fail, Run::default()).sightings[0]
        .labels
        .fingerprint();
    assert_eq!(alert(&world, of).status, Status::Firing);
}

#[test]
fn time_in_which_the_program_was_down_does_not_count() {
    let mut world = world(|_settings| {});
    world.fires("Down");
    world.acknowledges(1, "ann");
    world.advance(4 * HOUR);
    world.simulation.sleep(Duration::from_secs(10 * 3600));
    world.advance(2 * HOUR - 11);
    assert_eq!(status(&world, "Down"), Status::Firing);
    // What it did in its last ten minutes is not known.
    world.advance(11);
    assert_eq!(status(&world, "Down"), Status::Stale);
}

#[test]
fn a_clock_that_is_set_makes_nothing_stale_and_keeps_nothing_from_it() {
    for jump in [30, -30] {
        let mut world = world(|_settings| {});
        world.fires("Down");
        world.acknowledges(1, "ann");
        world.advance(4 * HOUR);
        world
            .simulation
            .jump(jump * 3_600_000)
            .expect("the store works");
        world.advance(2 * HOUR - 1);
        assert_eq!(status(&world, "Down"), Status::Firing, "by {jump} hours");
        world.advance(1);
        assert_eq!(status(&world, "Down"), Status::Stale, "by {jump} hours");
    }
}

#[test]
fn a_pending_alert_that_is_not_heard_of_opens_all_the_same() {
    let mut world = world(|settings| {
        settings.open = Some(OpenWhen::After(Duration::from_secs(7 * 3600)));
    });
    world.fires("Down");
    world.advance(7 * HOUR);
    assert_eq!(world.pages(), ["16:00 ann"]);
}

// Leases.

#[test]
fn an_alert_whose_sender_does_not_say_again_that_it_fires_is_resolved_when_it_said() {
    let mut world = world(|_settings| {});
    leased(&mut world, "Down", "2026-03-02T09:04:00Z");
    world.advance(3);
    assert_eq!(status(&world, "Down"), Status::Firing);
    world.advance(1);
    assert_eq!(status(&world, "Down"), Status::Resolved);
    let down = alert(&world, fingerprint("Down"));
    assert_eq!(down.ends_at, Some(at("2026-03-02T09:04:00Z")));
    assert!(world.incident(1).is_clear());
    assert_eq!(
        world.timeline(1, "resolved"),
        [
            "09:04 alert 6accfd3d0992a914 is resolved: its sender said until when it fires, and not again"
        ]
    );
}

#[test]
fn a_lease_that_is_renewed_goes_on() {
    let mut world = world(|_settings| {});
    for minute in 0..20 {
        let until = format!("2026-03-02T09:{:02}:00Z", minute + 4);
        leased(&mut world, "Down", &until);
        world.advance(1);
    }
    assert_eq!(status(&world, "Down"), Status::Firing);
    assert_eq!(world.received(1), 20);
    world.advance(3);
    assert_eq!(status(&world, "Down"), Status::Resolved, "at 09:23");
}

#[test]
fn a_lease_shorter_than_the_one_before_holds() {
    let mut world = world(|_settings| {});
    leased(&mut world, "Down", "2030-01-01T00:00:00Z");
    world.advance(1);
    leased(&mut world, "Down", "2026-03-02T09:03:00Z");
    world.advance(2);
    assert_eq!(status(&world, "Down"), Status::Resolved);
}

#[test]
fn a_lease_without_end_is_stale_when_nobody_renews_it() {
    let mut world = world(|_settings| {});
    leased(&mut world, "Down", "2030-01-01T00:00:00Z");
    world.advance(6 * HOUR);
    assert_eq!(status(&world, "Down"), Status::Stale);
}

#[test]
fn heard_without_a_lease_after_one_with_it_fires_on() {
    let mut world = world(|_settings| {});
    leased(&mut world, "Down", "2026-03-02T09:04:00Z");
    world.fires("Down");
    world.advance(6 * HOUR - 1);
    assert_eq!(status(&world, "Down"), Status::Firing);
    world.advance(1);
    assert_eq!(status(&world, "Down"), Status::Stale);
}

#[test]
fn no_lease_ends_while_nobody_could_renew_it() {
    let mut world = world(|_settings| {});
    leased(&mut world, "Down", "2026-03-02T09:10:00Z");
    world.advance(1);
    world.simulation.sleep(Duration::from_secs(3 * 3600));
    world.advance(1);
    assert_eq!(status(&world, "Down"), Status::Firing);
    world.advance(9);
    assert_eq!(status(&world, "Down"), Status::Resolved);
}

#[test]
fn a_lease_that_ends_while_its_alert_waits_opens_nothing() {
    let mut world =
        world(|settings| settings.open = Some(OpenWhen::After(Duration::from_secs(600))));
    leased(&mut world, "Down", "2026-03-02T09:04:00Z");
    world.advance(20);
    assert_eq!(world.pages(), [""; 0]);
    assert_eq!(status(&world, "Down"), Status::Resolved);
}

#[test]
fn an_alert_that_fires_and_ends_again_and_again_is_watched_once() {
    let mut world = world(|_settings| {});
    for _ in 0..30 {
        world.fires("Down");
        world.resolves("Down");
        world.advance(1);
    }
    world.fires("Down");
    world.acknowledges(1, "ann");
    world.advance(6 * HOUR - 1);
    assert_eq!(status(&world, "Down"), Status::Firing);
    world.advance(1);
    assert_eq!(status(&world, "Down"), Status::Stale);
    world.advance(HOUR);
    assert_eq!(world.timeline(1, "is stale,").len(), 1);
}

// Scopes.

/// A report of checks that is all of its scope: each by name, with its outcome.
fn scoped(id: &str, minute: u64, results: &[(&str, Outcome)]) -> Report {
    let run = run(id, &format!("2026-03-02T08:{minute:02}:00Z"));
    let mut report = check_result(CHECK, Outcome::Skip, run.clone());
    report.sightings = results
        .iter()
        .map(|(name, outcome)| result(name, *outcome, run.clone()))
        .collect();
    report.scope = Some(Scope {
        source: "soda".to_owned(),
        scope: "orders".to_owned(),
    });
    report
}

fn result(name: &str, outcome: Outcome, run: Run) -> Sighting {
    let labels = [("alertname", name), ("dataset", "orders")];
    check_result(&labels, outcome, run).sightings.remove(0)
}

fn check_status(world: &World, name: &str) -> Status {
    let of = result(name, Outcome::Fail, Run::default())
        .labels
        .fingerprint();
    alert(world, of).status
}

#[test]
fn a_check_that_a_complete_report_lacks_is_stale() {
    let mut world = world(light);
    let (fail, pass) = (Outcome::Fail, Outcome::Pass);
    world.report(scoped(
        "a",
        1,
        &[("rows", fail), ("nulls", fail), ("age", fail)],
    ));
    world.report(scoped("b", 2, &[("rows", fail), ("nulls", pass)]));
    assert_eq!(check_status(&world, "rows"), Status::Firing);
    assert_eq!(check_status(&world, "nulls"), Status::Resolved);
    assert_eq!(check_status(&world, "age"), Status::Stale);
    let all = [
        "09:00 alert 55da6f0a27c9664c is stale, which is not fixed: \
         the last complete report of \"orders\" by soda says nothing of it",
        "09:00 told that it is stale: ann",
    ];
    let said: Vec<String> = (1..4).flat_map(|n| world.timeline(n, "stale")).collect();
    assert_eq!(said, all);
    world.report(scoped(
        "c",
        3,
        &[("rows", fail), ("nulls", fail), ("age", pass)],
    ));
    assert_eq!(
        check_status(&world, "nulls"),
        Status::Firing,
        "it is entered again"
    );
    assert_eq!(check_status(&world, "age"), Status::Resolved);
    world.report(scoped("d", 4, &[("rows", fail)]));
    assert_eq!(check_status(&world, "nulls"), Status::Stale);
}

#[test]
fn a_check_that_could_not_run_is_absent_with_its_check() {
    let mut world = world(light);
    world.report(scoped(
        "a",
        1,
        &[("rows", Outcome::Error), ("nulls", Outcome::Fail)],
    ));
    world.report(scoped(
        "b",
        2,
        &[("rows", Outcome::Skip), ("nulls", Outcome::Fail)],
    ));
    let twin = result("rows", Outcome::Error, Run::default())
        .labels
        .with("check", "error")
        .fingerprint();
    assert_eq!(
        alert(&world, twin).status,
        Status::Firing,
        "it is there, and was not run"
    );
    world.report(scoped("c", 3, &[("nulls", Outcome::Fail)]));
    assert_eq!(alert(&world, twin).status, Status::Stale);
}

#[test]
fn an_old_report_and_another_scope_make_nothing_stale() {
    let mut world = world(light);
    world.report(scoped(
        "b",
        2,
        &[("rows", Outcome::Fail), ("nulls", Outcome::Fail)],
    ));
    world.report(scoped("a", 1, &[("rows", Outcome::Fail)]));
    assert_eq!(check_status(&world, "nulls"), Status::Firing, "it is old");
    world.report(scoped("b", 2, &[("rows", Outcome::Fail)]));
    assert_eq!(
        check_status(&world, "nulls"),
        Status::Firing,
        "it was counted"
    );
    let mut other = scoped("c", 3, &[("others", Outcome::Fail)]);
    other.scope = Some(Scope {
        source: "soda".to_owned(),
        scope: "customers".to_owned(),
    });
    world.report(other);
    assert_eq!(
        check_status(&world, "nulls"),
        Status::Firing,
        "it is another scope"
    );
}

#[test]
fn an_absent_check_of_a_light_incident_counts_as_resolved_after_a_day() {
    let mut world = World::with(START, book(&[("ann", 5)]), rules(light));
    world.report(scoped(
        "a",
        1,
        &[("rows", Outcome::Fail), ("nulls", Outcome::Fail)],
    ));
    world.report(scoped("b", 2, &[("rows", Outcome::Fail)]));
    world.advance(24 * HOUR - 1);
    assert_eq!(check_status(&world, "nulls"), Status::Stale);
    world.advance(1);
    assert_eq!(check_status(&world, "nulls"), Status::Resolved);
}

#[test]
fn what_is_known_of_a_scope_goes_with_its_alerts_though_no_report_comes_again() {
    let mut world = world(light);
    world.report(scoped(
        "a",
        1,
        &[("rows", Outcome::Fail), ("nulls", Outcome::Fail)],
    ));
    let n_entries = |world: &World| {
        let read = world.simulation.store().engine().view();
        let mut n = 0;
        let mut count = |_key: &[u8], _value: &[u8]| {
            n += 1;
            Ok(std::ops::ControlFlow::Continue(()))
        };
        read.scan(b"c", b"d", Order::Forward, &mut count)
            .expect("it reads");
        n
    };
    assert_eq!(n_entries(&world), 2);
    let rows = result("rows", Outcome::Pass, run("b", "2026-03-02T08:02:00Z"));
    let mut report = scoped("b", 2, &[]);
    report.sightings = vec![rows];
    report.scope = None;
    world.report(report);
    world.advance(HOUR + 2);
    assert_eq!(n_entries(&world), 1);
}
