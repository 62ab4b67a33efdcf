//! Stories of what is one incident: keys, opening, clearing, firing again, rises, reopening, results of checks.

use crate::world::{
    START, World, at, book, by_word, lead, plan, rule, rule_set, rules, run, sighting, template,
    worded,
};
use std::sync::Arc;
use std::time::Duration;
use watchkeeper::domain::alert::{Fingerprint, Outcome, Run, Sighting, Signal, Status};
use watchkeeper::domain::incident::Ask;
use watchkeeper::domain::incident::event::{Origin, Waiver};
use watchkeeper::domain::phase::{Output, Phase};
use watchkeeper::domain::rule::{Action, OpenWhen, Rule, RuleSet, Settings, SeverityRule};
use watchkeeper::domain::severity::{Severity, SeverityInputs};
use watchkeeper::store::commands::Reported;
use watchkeeper::store::report::Recorded;

const TWO: &[(&str, u64)] = &[("ann", 5), ("bob", 10)];

fn two(change: impl FnOnce(&mut Settings)) -> World {
    World::with(START, book(TWO), rules(change))
}

fn two_by(rules: Vec<Rule>) -> World {
    World::with(START, book(TWO), rule_set("r1", rules))
}

fn opened(number: u64) -> Recorded {
    Recorded {
        opened: [number].into(),
        ..Recorded::default()
    }
}

fn joined(number: u64) -> Recorded {
    Recorded {
        joined: [number].into(),
        ..Recorded::default()
    }
}

fn fingerprint(name: &str) -> Fingerprint {
    sighting(name, Signal::Firing).labels.fingerprint()
}

fn status(world: &World, name: &str) -> Status {
    let read = world.simulation.store();
    let alert = read.read(|reader| reader.alert(fingerprint(name)));
    let alert = alert.expect("the memory store reads");
    alert.expect("it was received").status
}

fn minutes(minutes: u64) -> Option<Duration> {
    Some(Duration::from_secs(minutes * 60))
}

fn after_minutes(span: u64) -> Option<OpenWhen> {
    minutes(span).map(OpenWhen::After)
}

/// So many starts within ten minutes.
fn at_starts(count: u32) -> Option<OpenWhen> {
    let within = Duration::from_secs(600);
    Some(OpenWhen::Count { count, within })
}

fn fixed(severity: Severity) -> Option<SeverityRule> {
    Some(SeverityRule::Fixed(severity))
}

// Keys.

#[test]
fn the_same_alert_a_thousand_times_is_one_incident_and_one_page() {
    let mut world = World::new(START, TWO);
    assert_eq!(world.fires("Down"), opened(1));
    for _ in 1..1000 {
        let again = world.fires("Down");
        assert_eq!((again.n_repeats, again.joined), (1, [1].into()));
    }
    world.advance(4);
    assert_eq!(world.pages(), ["09:00 ann"]);
    assert_eq!(world.received(1), 1000);
    assert_eq!(world.incident(1).members.counts().firing, 1);
}

#[test]
fn two_keys_are_two_incidents() {
    let mut world = World::new(START, TWO);
    assert_eq!(world.fires("Down"), opened(1));
    assert_eq!(world.fires("Slow"), opened(2));
    assert_eq!(world.pages(), ["09:00 ann", "09:00 ann"]);
}

#[test]
fn two_rules_that_render_the_same_key_feed_one_incident() {
    let of = |name, matcher, key: &str| {
        rule(name, &[matcher], |settings| {
            settings.dedup_key = Some(template(key));
        })
    };
    let mut world = two_by(vec![
        of("by name", r#"alertname="Down""#, "{{ labels.instance }}"),
        of(
            "by instance",
            r#"alertname="Slow""#,
            "db{{ labels.nothing }}1",
        ),
    ]);
    assert_eq!(world.fires("Down db1"), opened(1));
    assert_eq!(world.fires("Slow db7"), joined(1));
    assert_eq!(world.fires("Down db2"), opened(2));
    assert_eq!(world.pages(), ["09:00 ann", "09:00 ann"]);
    assert_eq!(world.incident(1).opened.dedup_key.as_deref(), Some("db1"));
}

#[test]
fn a_key_that_renders_empty_falls_back_to_the_fingerprint_and_warns() {
    let key = |settings: &mut Settings| settings.dedup_key = Some(template("{{ labels.service }}"));
    let mut world = two(key);
    let recorded = world.fires("Down");
    assert_eq!(recorded.opened, [1].into());
    assert_eq!(
        recorded.warnings,
        ["the dedup key of rule \"all\" renders empty; the fingerprint is taken"]
    );
    assert_eq!(world.fires("Slow").opened, [2].into());
    let key = world.incident(1).opened.dedup_key.clone();
    assert_eq!(key, Some(fingerprint("Down").to_string()));
}

#[test]
fn a_resolve_of_an_unknown_alert_is_counted_and_makes_nothing() {
    let mut world = World::new(START, TWO);
    let recorded = world.resolves("Down");
    let expected = Recorded {
        n_unknown_resolved: 1,
        ..Recorded::default()
    };
    assert_eq!(recorded, expected);
    assert!(world.simulation.incident(1).expect("it reads").is_none());
    assert_eq!(world.fires("Down"), opened(1));
    assert_eq!(world.pages(), ["09:00 ann"]);
}

// Severity.

#[test]
fn an_alert_of_the_same_or_a_lesser_severity_joins_and_pages_nobody() {
    let mut world = two(|settings| settings.severity = Some(by_word()));
    world.fires_as("Down db1", "major");
    world.advance(1);
    world.acknowledges(1, "ann");
    world.fires_as("Down db2", "major");
    world.fires_as("Down db3", "minor");
    world.advance(60);
    assert_eq!(world.pages(), ["09:00 ann"]);
    let incident = world.incident(1);
    assert_eq!(incident.severity, Severity::Sev2);
    assert!(incident.acknowledged.is_some());
    assert_eq!(incident.members.counts().firing, 3);
}

#[test]
fn a_worse_alert_raises_drops_the_acknowledgement_and_pages_from_step_1() {
    let mut world = two(|settings| settings.severity = Some(by_word()));
    world.fires_as("Down db1", "major");
    world.advance(6);
    world.acknowledges(1, "bob");
    world.advance(4);
    world.fires_as("Down db2", "critical");
    world.advance(6);
    assert_eq!(
        world.pages(),
        ["09:00 ann", "09:05 bob", "09:10 ann", "09:15 bob"]
    );
    assert_eq!(world.incident(1).severity, Severity::Sev1);
    assert!(world.incident(1).acknowledged.is_none());
    assert_eq!(
        world.timeline(1, "raised"),
        ["09:10 severity SEV2 raised to SEV1 by an alert"]
    );
}

#[test]
fn a_rise_counts_rounds_anew() {
    let mut book = book(TWO);
    crate::world::policy(&mut book).repeat = 1;
    let rules = rules(|settings| settings.severity = Some(by_word()));
    let mut world = World::with(START, book, rules);
    world.fires_as("Down db1", "major");
    world.advance(21);
    world.fires_as("Down db2", "critical");
    world.advance(31);
    assert_eq!(
        world.pages(),
        [
            "09:00 ann",
            "09:05 bob",
            "09:15 ann",
            "09:20 bob", // two rounds
            "09:21 ann",
            "09:26 bob",
            "09:36 ann",
            "09:41 bob", // and two more
            "09:51 bob", // then spent
        ]
    );
}

#[test]
fn an_alert_whose_words_changed_is_judged_again_by_its_rule_for_its_severity() {
    let by_name = |settings: &mut Settings| settings.severity = Some(by_word());
    let mut world = two_by(vec![
        rule(
            "down",
            &[r#"alertname="Down""#, r#"@severity!="critical""#],
            by_name,
        ),
        rule("any", &[], |settings| {
            settings.severity = fixed(Severity::Sev5);
            settings.dedup_key = Some(template("other"));
        }),
    ]);
    world.fires_as("Down", "warning");
    world.advance(1);
    world.fires_as("Down", "critical");
    world.advance(1);
    world.fires_as("Down", "warning");
    world.advance(1);
    assert_eq!(world.pages(), ["09:00 ann", "09:01 ann"]);
    assert_eq!(world.incident(1).severity, Severity::Sev1, "never lowered");
    assert!(world.simulation.incident(2).expect("it reads").is_none());
}

#[test]
fn an_alert_whose_rule_is_gone_is_judged_again_by_all() {
    let mut world = two_by(vec![rule("old", &[], |settings| {
        settings.severity = fixed(Severity::Sev3);
    })]);
    world.fires_as("Down", "warning");
    world.advance(1);
    let new = rule("new", &[], |settings| settings.severity = Some(by_word()));
    world.simulation.in_force.rules = Arc::new(rule_set("r2", vec![new]));
    world.fires_as("Down", "major");
    assert_eq!(world.pages(), ["09:00 ann", "09:01 ann"]);
    assert_eq!(world.incident(1).severity, Severity::Sev2);
}

fn set(severity: Severity) -> Ask {
    Ask::SetSeverity {
        severity,
        inputs: SeverityInputs::default(),
        reason: "we looked".to_owned(),
    }
}

#[test]
fn a_severity_set_by_a_person_stands_until_an_alert_is_worse_than_every_alert_so_far() {
    let mut world = two(|settings| settings.severity = Some(by_word()));
    world.fires_as("Down db1", "major");
    world.advance(1);
    world.acknowledges(1, "ann");
    world.asks(1, set(Severity::Sev4), "ann");
    world.fires_as("Down db2", "major");
    world.fires_as("Down db3", "warning");
    world.advance(1);
    assert_eq!(world.incident(1).severity, Severity::Sev4);
    assert_eq!(world.pages(), ["09:00 ann"]);

    world.fires_as("Down db4", "critical");
    assert_eq!(world.incident(1).severity, Severity::Sev1);
    assert_eq!(world.pages(), ["09:00 ann", "09:02 ann"]);
}

#[test]
fn a_person_who_raises_starts_paging_where_the_old_urgency_was_lower() {
    let mut world = two(|settings| settings.severity = fixed(Severity::Sev5));
    world.fires("Down");
    world.advance(1);
    assert_eq!(world.pages(), [""; 0]);
    world.asks(1, set(Severity::Sev2), "ann");
    world.advance(6);
    assert_eq!(world.pages(), ["09:01 ann", "09:06 bob"]);
}

#[test]
fn a_person_who_raises_what_was_acknowledged_or_is_clear_starts_no_paging() {
    let mut book = book(TWO);
    lead(&mut book, &[Severity::Sev1], "cto");
    let rules = rules(|settings| settings.severity = fixed(Severity::Sev4));
    let mut world = World::with(START, book, rules);
    world.fires("Down");
    world.acknowledges(1, "ann");
    world.fires("Slow");
    world.resolves("Slow");
    world.advance(1);
    world.asks(1, set(Severity::Sev1), "ann");
    world.asks(2, set(Severity::Sev1), "ann");
    world.advance(30);
    assert_eq!(
        world.pages(),
        [
            "09:00 ann",
            "09:00 ann",
            "09:00 ann (update)",
            "09:01 cto (update)",
            "09:01 cto (update)",
        ]
    );
}

#[test]
fn a_severity_that_pages_nobody_drops_what_was_not_sent() {
    let mut world = World::new(START, TWO);
    world.edits(|book| {
        let ann = book.people.get_mut("ann").expect("she is there");
        ann.notify = crate::world::contacts(&[("ann", 0), ("ann-phone", 2)]);
    });
    world.fires("Down");
    world.advance(1);
    world.asks(1, set(Severity::Sev5), "ann");
    world.advance(30);
    assert_eq!(world.pages(), ["09:00 ann"]);
    assert_eq!(
        world.timeline(1, "not sent"),
        ["09:01 pages not sent any more: 2 (SEV5 pages nobody)"]
    );
}

#[test]
fn the_order_of_alerts_in_a_batch_does_not_change_the_pages() {
    let batch = [
        worded("Down db1", "warning"),
        worded("Down db2", "critical"),
        worded("Down db3", "major"),
    ];
    let told = |order: [usize; 3]| {
        let mut book = book(TWO);
        lead(&mut book, &[Severity::Sev1, Severity::Sev2], "cto");
        let rules = rules(|settings| settings.severity = Some(by_word()));
        let mut world = World::with(START, book, rules);
        let ordered: Vec<Sighting> = order.iter().map(|n| batch[*n].clone()).collect();
        world.receives(ordered);
        world.advance(6);
        (world.pages(), world.incident(1).severity)
    };
    let expected = ["09:00 cto (update)", "09:00 ann", "09:05 bob"].map(str::to_owned);
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let found = told(order);
        assert_eq!(found, (expected.to_vec(), Severity::Sev1), "{order:?}");
    }
}

#[test]
fn of_one_batch_one_that_fires_and_one_that_is_resolved_leave_it_firing_in_either_order() {
    let batch = [
        sighting("Down db1", Signal::Resolved),
        sighting("Down db2", Signal::Firing),
    ];
    for order in [[0, 1], [1, 0]] {
        let mut world = World::new(START, TWO);
        world.fires("Down db1");
        world.advance(1);
        world.acknowledges(1, "ann");
        world.receives(order.map(|n: usize| batch[n].clone()).to_vec());
        world.advance(30);
        assert_eq!(world.pages(), ["09:00 ann"], "{order:?}");
        assert!(world.incident(1).acknowledged.is_some());
    }
}

// Clear, and firing again.

#[test]
fn while_resolve_after_runs_no_page_goes_out_and_clear_tells_those_who_were_paged() {
    let mut world = two(|settings| settings.resolve_after = minutes(10));
    world.fires("Down");
    world.advance(4);
    world.resolves("Down");
    world.advance(30);
    assert_eq!(world.pages(), ["09:00 ann", "09:14 ann (update)"]);
    let incident = world.incident(1);
    assert_eq!(incident.clear_since, Some(at("2026-03-02T09:14:00Z")));
    assert!(incident.is_open());
}

#[test]
fn what_fell_due_while_nothing_fired_runs_at_once_when_it_fires_again() {
    let mut world = two(|settings| settings.resolve_after = minutes(10));
    world.fires("Down");
    world.advance(4);
    world.resolves("Down");
    for _ in 0..4 {
        world.advance(1);
        assert_eq!(world.violations(), [], "it is served");
    }
    world.fires("Down");
    world.advance(11);
    assert_eq!(world.pages(), ["09:00 ann", "09:08 bob", "09:18 bob"]);
}

#[test]
fn a_contact_that_fell_due_while_nothing_fired_is_held_until_it_fires_again() {
    let mut world = two(|settings| settings.resolve_after = minutes(10));
    world.edits(|book| {
        let ann = book.people.get_mut("ann").expect("she is there");
        ann.notify = crate::world::contacts(&[("ann", 0), ("ann-phone", 2)]);
    });
    world.fires("Down");
    world.advance(1);
    world.resolves("Down");
    world.advance(2);
    world.fires("Down");
    world.advance(1);
    assert_eq!(world.pages(), ["09:00 ann", "09:03 ann by ann-phone"]);
}

#[test]
fn a_contact_that_is_held_is_dropped_when_it_becomes_clear() {
    let mut world = two(|settings| settings.resolve_after = minutes(10));
    world.edits(|book| {
        let ann = book.people.get_mut("ann").expect("she is there");
        ann.notify = crate::world::contacts(&[("ann", 0), ("ann-phone", 2)]);
    });
    world.fires("Down");
    world.advance(1);
    world.resolves("Down");
    world.advance(30);
    assert_eq!(world.pages(), ["09:00 ann", "09:11 ann (update)"]);
    assert_eq!(
        world.timeline(1, "not sent"),
        ["09:11 pages not sent any more: 2 (clear)"]
    );
}

#[test]
fn firing_again_within_resolve_after_keeps_the_acknowledgement() {
    let mut world = two(|settings| settings.resolve_after = minutes(10));
    world.fires("Down");
    world.advance(1);
    world.acknowledges(1, "ann");
    world.advance(1);
    world.resolves("Down");
    world.advance(9);
    world.fires("Down");
    world.advance(60);
    assert_eq!(world.pages(), ["09:00 ann"]);
    assert!(world.incident(1).acknowledged.is_some());
}

#[test]
fn everybody_who_was_paged_is_told_once_that_it_is_clear() {
    let mut world = World::new(START, TWO);
    world.fires("Down");
    world.advance(16);
    world.resolves("Down");
    world.advance(30);
    assert_eq!(
        world.pages(),
        [
            "09:00 ann",
            "09:05 bob",
            "09:15 bob",
            "09:16 ann (update)",
            "09:16 bob (update)"
        ]
    );
}

#[test]
fn firing_again_after_an_acknowledgement_drops_it_and_begins_with_step_1() {
    let mut world = World::new(START, TWO);
    world.fires("Down");
    world.advance(6);
    world.acknowledges(1, "bob");
    world.advance(1);
    world.resolves("Down");
    world.advance(1);
    assert_eq!(world.fires("Down"), joined(1));
    world.advance(6);
    assert_eq!(
        world.pages(),
        [
            "09:00 ann",
            "09:05 bob",
            "09:07 ann (update)",
            "09:07 bob (update)",
            "09:08 ann",
            "09:13 bob"
        ]
    );
    assert!(world.incident(1).acknowledged.is_none());
    assert_eq!(world.incident(1).recurrences, 0, "still in triage");
}

#[test]
fn flapping_does_not_keep_an_escalation_at_its_first_step() {
    let mut world = World::new(START, TWO);
    world.fires("Down");
    for _ in 0..3 {
        world.advance(2);
        world.resolves("Down");
        world.advance(1);
        world.fires("Down");
    }
    assert_eq!(
        world.pages(),
        [
            "09:00 ann",
            "09:02 ann (update)",
            "09:03 ann", // 3 minutes left
            "09:05 ann (update)",
            "09:06 ann", // 1 minute left
            "09:07 bob",
            "09:08 ann (update)",
            "09:08 bob (update)",
            "09:09 bob", // 9 minutes left
        ]
    );
    world.advance(10);
    assert_eq!(world.pages()[9..], ["09:18 bob"]);
}

#[test]
fn firing_again_when_all_was_spent_goes_on_as_spent() {
    let mut world = World::new(START, TWO);
    world.fires("Down");
    world.advance(16);
    world.resolves("Down");
    world.advance(1);
    world.fires("Down");
    world.advance(11);
    assert_eq!(world.pages()[5..], ["09:17 bob", "09:27 bob"]);
    assert_eq!(world.violations(), []);
}

#[test]
fn firing_again_an_hour_after_the_last_start_begins_with_step_1() {
    let mut world = World::new(START, TWO);
    world.fires("Down");
    world.advance(6);
    world.resolves("Down");
    world.advance(53);
    world.fires("Down"); // 59 minutes after the start
    world.resolves("Down");
    world.advance(1);
    world.fires("Down"); // 60 minutes
    world.advance(6);
    assert_eq!(
        world.pages(),
        [
            "09:00 ann",
            "09:05 bob",
            "09:06 ann (update)",
            "09:06 bob (update)",
            "09:59 bob",
            "09:59 bob (update)",
            "10:00 ann",
            "10:05 bob"
        ]
    );
}

#[test]
fn a_worse_alert_that_ends_a_clear_begins_with_step_1() {
    let mut world = two(|settings| settings.severity = Some(by_word()));
    world.fires_as("Down db1", "major");
    world.advance(6);
    world.resolves("Down db1");
    world.advance(1);
    world.fires_as("Down db2", "critical");
    world.advance(6);
    assert_eq!(world.pages()[4..], ["09:07 ann", "09:12 bob"]);
}

#[test]
fn an_alert_resolved_by_hand_makes_it_clear() {
    let mut world = World::new(START, TWO);
    world.fires("Down");
    world.advance(1);
    world
        .simulation
        .resolve(Some(1), fingerprint("Down"), "the probe is gone", "ann")
        .expect("it fires");
    assert!(world.incident(1).is_clear());
    assert_eq!(
        world.timeline(1, "by hand"),
        [format!(
            "09:01 alert {} is resolved by hand: the probe is gone",
            fingerprint("Down")
        )]
    );
    world.advance(30);
    assert_eq!(world.pages(), ["09:00 ann", "09:01 ann (update)"]);
}

// Opening.

#[test]
fn an_alert_is_pending_until_open_after_has_passed_and_opens_exactly_then() {
    let mut world = two(|settings| settings.open = after_minutes(2));
    assert_eq!(world.fires("Down"), Recorded::default());
    world.advance_seconds(119);
    assert_eq!(world.pages(), [""; 0]);
    assert_eq!(status(&world, "Down"), Status::Pending);
    world.advance_seconds(1);
    assert_eq!(world.pages(), ["09:02 ann"]);
    assert_eq!(status(&world, "Down"), Status::Firing);
    assert_eq!(world.incident(1).opened_at, at("2026-03-02T09:02:00Z"));
}

#[test]
fn an_alert_that_resolves_before_open_after_has_passed_opens_nothing() {
    let mut world = two(|settings| settings.open = after_minutes(2));
    world.fires("Down");
    world.advance(1);
    world.resolves("Down");
    world.advance(1);
    world.fires("Down");
    world.advance_seconds(119);
    assert_eq!(world.pages(), [""; 0], "its time begins anew");
    world.advance_seconds(1);
    assert_eq!(world.pages(), ["09:04 ann"]);
}

#[test]
fn alerts_that_hand_over_keep_their_key_firing() {
    let mut world = two(|settings| settings.open = after_minutes(2));
    world.fires("Down a");
    world.advance(1);
    world.fires("Down b");
    world.resolves("Down a");
    world.advance(2);
    assert_eq!(world.pages(), ["09:02 ann"]);
    assert_eq!(world.incident(1).members.counts().firing, 1);
    assert_eq!(world.incident(1).members.len(), 1);
}

#[test]
fn firing_again_in_triage_counts_without_open() {
    let mut world = two(|settings| settings.open = after_minutes(2));
    world.fires("Down");
    world.advance(3);
    world.acknowledges(1, "ann");
    world.resolves("Down");
    world.advance(1);
    world.fires("Down");
    assert_eq!(
        world.pages(),
        ["09:02 ann", "09:03 ann (update)", "09:04 ann"]
    );
}

#[test]
fn what_waits_joins_as_soon_as_another_alert_of_its_key_opens_in_either_order() {
    let waiting = rule("waiting", &[r#"instance="a""#], |settings| {
        settings.open = after_minutes(2);
    });
    let at_once = rule("at once", &[], |settings| {
        settings.severity = fixed(Severity::Sev2);
    });
    let batch = ["Down a", "Down b"].map(|name| sighting(name, Signal::Firing));
    for order in [[0, 1], [1, 0]] {
        let mut world = two_by(vec![waiting.clone(), at_once.clone()]);
        world.receives(order.map(|n: usize| batch[n].clone()).to_vec());
        world.advance(1);
        assert_eq!(world.pages(), ["09:00 ann"], "{order:?}");
        assert_eq!(world.incident(1).severity, Severity::Sev1, "{order:?}");
        assert_eq!(world.received(1), 2, "{order:?}");
        world.resolves("Down b");
        assert!(!world.incident(1).is_clear(), "{order:?}");
        world.advance(3);
        assert_eq!(world.pages(), ["09:00 ann"], "{order:?}");
    }
}

// Opening by a number of starts.

/// An alert that began then, as its sender says.
fn since(name: &str, starts_at: &str) -> Sighting {
    Sighting {
        starts_at: Some(at(starts_at)),
        ..sighting(name, Signal::Firing)
    }
}

#[test]
fn so_many_starts_of_a_key_within_the_span_open_its_incident() {
    let mut world = two(|settings| settings.open = at_starts(3));
    assert_eq!(world.fires("Down a"), Recorded::default());
    world.advance(4);
    assert_eq!(world.fires("Down b"), Recorded::default());
    for _ in 0..20 {
        assert_eq!(world.fires("Down a").n_repeats, 1, "a repeat is no start");
    }
    world.advance(6);
    assert_eq!(status(&world, "Down a"), Status::Pending);
    assert_eq!(world.pages(), [""; 0]);
    assert_eq!(world.fires("Down c"), opened(1));
    assert_eq!(world.pages(), ["09:10 ann"]);
    assert_eq!(world.incident(1).members.counts().firing, 3);
    assert_eq!(world.received(1), 23);
}

#[test]
fn one_alert_that_begins_again_and_again_is_so_many_starts() {
    let mut world = two(|settings| settings.open = at_starts(3));
    for _ in 0..2 {
        assert_eq!(world.fires("Down"), Recorded::default());
        world.advance(2);
        world.resolves("Down");
        world.advance(1);
    }
    assert_eq!(world.fires("Down"), opened(1));
    assert_eq!(world.pages(), ["09:06 ann"]);
}

#[test]
fn starts_further_apart_than_the_span_open_nothing_and_are_forgotten() {
    let mut world = two(|settings| settings.open = at_starts(3));
    for _ in 0..20 {
        world.fires("Down");
        world.advance(3);
        world.resolves("Down");
        world.advance(3);
    }
    assert_eq!(world.pages(), [""; 0]);
    world.advance(10);
    let left = world
        .simulation
        .store()
        .read(|reader| reader.pending("Down"));
    assert_eq!(left.expect("the memory store reads"), None);
}

#[test]
fn the_same_start_of_the_same_alert_counts_once_and_senders_say_when_it_was() {
    let mut world = two(|settings| settings.open = at_starts(3));
    for _ in 0..5 {
        world.receives(vec![since("Down", "2026-03-02T08:59:00Z")]);
        world.resolves("Down");
    }
    // A sender that forgot what it had sent: without a resolve it is the next start all the same.
    world.receives(vec![since("Down", "2026-03-02T08:59:30Z")]);
    assert_eq!(status(&world, "Down"), Status::Pending);
    let recorded = world.receives(vec![since("Down", "2026-03-02T08:59:50Z")]);
    assert_eq!((recorded.opened, recorded.n_repeats), ([1].into(), 1));
}

#[test]
fn what_began_hours_apart_is_not_together_because_it_arrives_together() {
    let mut world = two(|settings| settings.open = at_starts(3));
    let began = ["03:00", "05:00", "07:00"]
        .map(|time| since(&format!("Down {time}"), &format!("2026-03-02T{time}:00Z")));
    assert_eq!(world.receives(began.to_vec()), Recorded::default());
    let late = ["06:52", "06:55"]
        .map(|time| since(&format!("Down {time}"), &format!("2026-03-02T{time}:00Z")));
    assert_eq!(
        world.receives(late.to_vec()),
        opened(1),
        "with that of 07:00"
    );
}

#[test]
fn what_waits_for_a_number_joins_what_another_alert_of_its_key_opens() {
    let counted = rule("counted", &[r#"instance="a""#], |settings| {
        settings.open = at_starts(3);
    });
    let at_once = rule("at once", &[], |_| ());
    let mut world = two_by(vec![counted, at_once]);
    assert_eq!(world.fires("Down a"), Recorded::default());
    assert_eq!(world.fires("Down b"), opened(1));
    assert_eq!(status(&world, "Down a"), Status::Firing);
    assert_eq!(world.incident(1).members.counts().firing, 2);
}

#[test]
fn from_stabilization_on_only_starts_since_it_is_clear_count() {
    let mut world = two(|settings| settings.open = at_starts(2));
    world.fires("Down a");
    world.fires("Down b");
    world.acknowledges(1, "ann");
    world.resolves("Down a");
    world.resolves("Down b");
    advances_to(&mut world, 1, Phase::Stabilization);
    world.advance(5);
    world.receives(vec![since("Down a", "2026-03-02T08:59:00Z")]);
    world.receives(vec![since("Down b", "2026-03-02T09:01:00Z")]);
    assert!(
        world.incident(1).is_clear(),
        "one of them began before that"
    );
    world.receives(vec![since("Down c", "2026-03-02T09:04:00Z")]);
    let incident = world.incident(1);
    assert_eq!((incident.is_clear(), incident.recurrences), (false, 1));
    assert_eq!(incident.members.counts().firing, 3);
}

#[test]
fn reopen_within_is_asked_when_the_number_is_met() {
    let mut world = two(|settings| {
        closes_by_itself(settings);
        settings.open = at_starts(2);
    });
    world.fires("Down");
    world.advance(1);
    world.resolves("Down");
    world.fires("Down");
    world.acknowledges(1, "ann");
    world.resolves("Down");
    world.advance(60);
    let closed_at = world.incident(1).closed_at.expect("it was verified");
    world.receives(vec![since("Down", "2026-03-02T09:30:00Z")]);
    world.resolves("Down");
    world.advance(115);
    assert_eq!(
        world.fires("Down"),
        Recorded {
            joined: [].into(),
            ..Recorded::default()
        }
    );
    assert!(
        !world.incident(1).is_open(),
        "a start before the close does not count"
    );
    world.resolves("Down");
    world.advance(6);
    assert!(world.simulation.now().since(closed_at) > Duration::from_secs(2 * 3600));
    assert_eq!(world.fires("Down"), opened(2), "too late to be the same");
    assert_eq!(world.incident(2).opened.recurrence_of, Some(1));
}

// From stabilization on.

/// Leaves the phase with every output waived.
fn advances(world: &mut World, number: u64) {
    let waive = world
        .incident(number)
        .missing_now(world.simulation.now())
        .into_iter()
        .map(waiver)
        .collect();
    world.asks(number, Ask::Advance { waive }, "ann");
}

fn waiver(output: Output) -> Waiver {
    Waiver {
        output,
        reason: "a story".to_owned(),
        until: None,
    }
}

fn advances_to(world: &mut World, number: u64, phase: Phase) {
    while world.incident(number).phase != phase {
        advances(world, number);
    }
}

#[test]
fn firing_again_from_stabilization_on_is_a_recurrence_in_response() {
    let mut world = World::new(START, TWO);
    world.fires("Down");
    world.acknowledges(1, "ann");
    world.resolves("Down");
    advances_to(&mut world, 1, Phase::ActionItems);
    world.advance(90);
    world.fires("Down");
    world.advance(6);
    assert_eq!(
        world.pages(),
        ["09:00 ann", "09:00 ann (update)", "10:30 ann", "10:35 bob"]
    );
    let incident = world.incident(1);
    assert_eq!((incident.phase, incident.recurrences), (Phase::Response, 1));
    assert_eq!(incident.severity, Severity::Sev1);
}

#[test]
fn what_is_pending_from_stabilization_on_ends_no_clear_until_it_has_met_open() {
    let mut world = two(|settings| settings.open = after_minutes(5));
    world.fires("Down");
    world.advance(6);
    world.acknowledges(1, "ann");
    world.resolves("Down");
    advances_to(&mut world, 1, Phase::Stabilization);
    world.advance(1);
    assert_eq!(world.fires("Down").joined, [1].into());
    world.advance(4);
    assert_eq!(status(&world, "Down"), Status::Pending);
    assert!(world.incident(1).is_clear());
    world.resolves("Down");
    world.advance(10);
    assert!(world.incident(1).is_clear());
    assert_eq!(world.incident(1).recurrences, 0);

    world.fires("Down");
    world.advance_seconds(299);
    assert!(world.incident(1).is_clear());
    world.advance_seconds(1);
    assert!(!world.incident(1).is_clear());
    assert_eq!(world.incident(1).recurrences, 1);
    assert_eq!(world.incident(1).phase, Phase::Response);
    assert_eq!(
        world.pages(),
        ["09:05 ann", "09:06 ann (update)", "09:26 ann"]
    );
}

#[test]
fn a_recurrence_that_is_not_the_first_raises_the_severity() {
    let mut world = two(|settings| settings.severity = fixed(Severity::Sev2));
    for expected in [Severity::Sev2, Severity::Sev2, Severity::Sev1] {
        world.fires("Down");
        assert_eq!(world.incident(1).severity, expected);
        world.acknowledges(1, "ann");
        world.resolves("Down");
        advances_to(&mut world, 1, Phase::Stabilization);
        world.advance(1);
    }
    assert_eq!(world.incident(1).recurrences, 2);
}

// Reopening.

/// Light, verified within the hour, then closed by itself.
fn closes_by_itself(settings: &mut Settings) {
    settings.severity = fixed(Severity::Sev3);
    settings.verification = Some(plan("0 * * * *", 1));
    settings.reopen_within = minutes(120);
}

#[test]
fn within_reopen_within_of_the_close_the_same_incident_reopens_in_response() {
    let mut world = two(closes_by_itself);
    world.fires("Down");
    world.advance(1);
    world.acknowledges(1, "ann");
    world.resolves("Down");
    world.advance(60);
    let closed_at = world.incident(1).closed_at.expect("it was verified");
    assert_eq!(closed_at, at("2026-03-02T10:00:00Z"));
    world.advance(178 - 60);
    assert_eq!(world.fires("Down"), joined(1)); // 11:59
    let incident = world.incident(1);
    assert!(incident.is_open());
    assert_eq!((incident.phase, incident.recurrences), (Phase::Response, 1));
    assert!(incident.acknowledged.is_none());
    assert_eq!(
        world.pages(),
        ["09:00 ann", "09:01 ann (update)", "11:59 ann"]
    );
}

#[test]
fn later_than_reopen_within_it_is_a_new_incident_that_follows_the_old_one() {
    let mut world = two(closes_by_itself);
    world.fires("Down");
    world.advance(1);
    world.resolves("Down");
    world.advance(179);
    assert_eq!(world.fires("Down"), opened(2)); // 12:00, two hours after the close
    assert_eq!(world.incident(2).opened.recurrence_of, Some(1));
    assert!(!world.incident(1).is_open());
    assert_eq!(
        world.pages(),
        ["09:00 ann", "09:01 ann (update)", "12:00 ann"]
    );
}

#[test]
fn a_closed_incident_reopens_when_open_is_met_not_when_it_begins_to_fire() {
    let mut world = two(|settings| {
        closes_by_itself(settings);
        settings.open = after_minutes(5);
    });
    world.fires("Down");
    world.advance(5);
    world.resolves("Down");
    world.advance(55);
    assert!(!world.incident(1).is_open());
    world.advance(116);
    assert_eq!(world.fires("Down"), Recorded::default()); // 11:56
    assert!(!world.incident(1).is_open());
    world.advance(5);
    assert!(!world.incident(1).is_open(), "12:01 is too late");
    assert_eq!(world.incident(2).opened.recurrence_of, Some(1));
    assert_eq!(
        world.pages(),
        ["09:05 ann", "09:05 ann (update)", "12:01 ann"]
    );
}

#[test]
fn reopened_by_a_person_it_pages_until_it_is_contained() {
    let mut world = two(closes_by_itself);
    world.fires("Down");
    world.advance(1);
    world.resolves("Down");
    world.advance(60);
    let reopen = Ask::Reopen {
        reason: "customers still see it".to_owned(),
    };
    world.asks(1, reopen, "cyd");
    world.advance(6); // 10:07
    let incident = world.incident(1);
    // A light one that becomes full returns to triage.
    assert_eq!((incident.phase, incident.recurrences), (Phase::Triage, 1));
    assert_eq!(world.pages()[2..], ["10:01 ann", "10:06 bob"]);
    assert_eq!(world.violations(), []);

    world.fires("Down");
    world.resolves("Down");
    assert!(!world.incident(1).is_clear(), "not by its alerts alone");
    world.advance(10); // 10:17
    assert_eq!(world.pages()[4..], ["10:16 bob"]);

    let contained = Ask::GiveOutput {
        output: Output::Contained,
        statement: "the queue is empty".to_owned(),
        url: None,
    };
    world.asks(1, contained, "cyd");
    world.advance(30);
    assert!(world.incident(1).is_clear());
    assert_eq!(
        world.pages()[5..],
        ["10:17 ann (update)", "10:17 bob (update)"]
    );
}

#[test]
fn an_incident_cannot_be_reopened_while_another_has_its_key() {
    let mut world = two(closes_by_itself);
    world.fires("Down");
    world.resolves("Down");
    world.advance(240);
    assert_eq!(world.fires("Down"), opened(2));
    let reopen = Ask::Reopen {
        reason: "it is the same".to_owned(),
    };
    let refused = world.ask(1, reopen, "cyd").expect_err("2 has its key");
    assert_eq!(refused.to_string(), "another open incident, 2, has its key");
}

#[test]
fn an_incident_that_a_person_reports_pages_and_is_clear_once_it_is_contained() {
    let mut world = World::new(START, TWO);
    let reported = Reported {
        title: "nobody can log in".to_owned(),
        description: String::new(),
        severity: Severity::Sev1,
        team: None,
        origin: Origin::Customer,
    };
    world
        .simulation
        .report(reported, "cyd")
        .expect("the memory store works");
    world.advance(6);
    assert_eq!(world.pages(), ["09:00 ann", "09:05 bob"]);
    let contained = Ask::GiveOutput {
        output: Output::Contained,
        statement: "rolled back".to_owned(),
        url: None,
    };
    world.asks(1, contained, "cyd");
    world.advance(30);
    assert!(world.incident(1).is_clear());
    assert_eq!(
        world.pages()[2..],
        ["09:06 ann (update)", "09:06 bob (update)"]
    );
}

// What opens nothing.

fn with_action(action: Action) -> RuleSet {
    rules(|settings| settings.action = Some(action))
}

#[test]
fn what_is_recorded_dropped_or_unrouted_opens_nothing() {
    let elsewhere = rule("elsewhere", &[r#"alertname="Other""#], |_settings| {});
    let kept = |world: &World| {
        let read = world.simulation.store();
        read.read(|reader| reader.alert(fingerprint("Down")))
            .expect("the memory store reads")
            .map(|alert| (alert.status, alert.rule))
    };
    let cases = [
        (
            with_action(Action::Record),
            Some((Status::Firing, Some("all".to_owned()))),
            0,
            0,
        ),
        (with_action(Action::Drop), None, 1, 0),
        (
            rule_set("r1", vec![elsewhere]),
            Some((Status::Firing, None)),
            0,
            1,
        ),
    ];
    for (rules, stored, n_dropped, n_unrouted) in cases {
        let mut world = World::with(START, book(TWO), rules);
        let recorded = world.fires("Down");
        assert!(recorded.opened.is_empty());
        assert_eq!(
            (recorded.n_dropped, recorded.n_unrouted),
            (n_dropped, n_unrouted)
        );
        assert_eq!(kept(&world), stored);
        world.advance(10);
        assert_eq!(world.pages(), [""; 0]);
    }
}

#[test]
fn an_unrouted_alert_that_still_fires_is_opened_once_the_rules_take_it() {
    let elsewhere = rule("elsewhere", &[r#"alertname="Other""#], |_settings| {});
    let mut world = two_by(vec![elsewhere]);
    assert_eq!(world.fires("Down").n_unrouted, 1);
    world.advance(1);
    world.fires("Down");
    assert_eq!(world.pages(), [""; 0]);
    world.simulation.in_force.rules = Arc::new(rule_set("r2", vec![rule("all", &[], |_| {})]));
    world.advance(1);
    assert_eq!(world.fires("Down"), opened(1));
    assert_eq!(world.pages(), ["09:02 ann"]);
}

#[test]
fn an_unrouted_alert_whose_words_change_so_that_a_rule_takes_it_opens() {
    let critical = rule("critical", &[r#"@severity="critical""#], |_settings| {});
    let mut world = two_by(vec![critical]);
    world.fires_as("Down", "warning");
    world.advance(1);
    world.fires_as("Down", "critical");
    assert_eq!(world.pages(), ["09:01 ann"]);
    world.fires_as("Down", "warning");
    world.resolves("Down");
    assert!(world.incident(1).is_clear(), "it stays with its incident");
}

#[test]
fn an_alert_that_waits_and_is_resolved_by_hand_opens_nothing() {
    let mut world = two(|settings| settings.open = after_minutes(2));
    world.fires("Down");
    world
        .simulation
        .resolve(None, fingerprint("Down"), "a test", "ann")
        .expect("it waits");
    world.advance(10);
    assert_eq!(world.pages(), [""; 0]);
    assert_eq!(status(&world, "Down"), Status::Resolved);
}

// Checks.

const LATER: &[&str] = &[
    "2026-03-02T08:51:00Z",
    "2026-03-02T08:52:00Z",
    "2026-03-02T08:53:00Z",
    "2026-03-02T08:54:00Z",
    "2026-03-02T08:55:00Z",
];

fn nth(n: usize) -> Run {
    let finished_at = LATER.get(n).expect("a story has few runs");
    run(&format!("run-{n}"), finished_at)
}

/// Of each incident: its members that fire and that are resolved.
fn members(world: &World, number: u64) -> (usize, usize) {
    let incident = world.incident(number);
    (
        incident.members.counts().firing,
        incident.members.counts().resolved,
    )
}

#[test]
fn each_outcome_of_a_check_does_what_it_means() {
    // Outcomes one after another; how many alerts fire and are resolved then.
    let cases: &[(&[Outcome], (usize, usize))] = &[
        (&[Outcome::Warn], (1, 0)),
        (&[Outcome::Fail], (1, 0)),
        (&[Outcome::Warn, Outcome::Fail], (1, 0)),
        (&[Outcome::Error], (1, 0)),
        (&[Outcome::Fail, Outcome::Error], (2, 0)),
        (&[Outcome::Error, Outcome::Fail], (1, 1)),
        (&[Outcome::Error, Outcome::Warn], (1, 1)),
        (&[Outcome::Error, Outcome::Pass], (0, 1)),
        (&[Outcome::Fail, Outcome::Error, Outcome::Pass], (0, 2)),
        (&[Outcome::Fail, Outcome::Error, Outcome::Fail], (1, 1)),
        (&[Outcome::Fail, Outcome::Skip], (1, 0)),
        (&[Outcome::Error, Outcome::Skip], (1, 0)),
        (&[Outcome::Fail, Outcome::Pass, Outcome::Skip], (0, 1)),
    ];
    for (outcomes, expected) in cases {
        let mut world = World::new(START, TWO);
        for (n, outcome) in outcomes.iter().enumerate() {
            world.checks(&nth(n), &[*outcome]);
        }
        assert_eq!(members(&world, 1), *expected, "{outcomes:?}");
        assert_eq!(world.pages()[0], "09:00 ann");
    }
}

#[test]
fn a_check_that_passes_or_is_skipped_opens_nothing() {
    let mut world = World::new(START, TWO);
    world.checks(&nth(0), &[Outcome::Pass]);
    world.checks(&nth(1), &[Outcome::Skip]);
    world.advance(10);
    assert_eq!(world.pages(), [""; 0]);
}

#[test]
fn a_check_that_cannot_run_is_the_twin_of_the_alert() {
    let mut world = World::new(START, TWO);
    world.checks(&nth(0), &[Outcome::Error]);
    let labels: Vec<(&str, &str)> = crate::world::CHECK
        .iter()
        .copied()
        .chain([("check", "error")])
        .collect();
    let twin = watchkeeper::simulate::signal(&labels, Signal::Firing);
    let twin = twin.sightings[0].labels.fingerprint();
    assert!(world.incident(1).members.contains(twin));
}

#[test]
fn of_several_results_in_one_report_the_worst_counts() {
    let cases: &[(&[Outcome], (usize, usize))] = &[
        (&[Outcome::Pass, Outcome::Fail, Outcome::Pass], (1, 0)),
        (&[Outcome::Fail, Outcome::Pass], (1, 0)),
        (&[Outcome::Skip, Outcome::Warn, Outcome::Pass], (1, 0)),
        (&[Outcome::Pass, Outcome::Error], (1, 0)),
    ];
    for (outcomes, expected) in cases {
        let mut world = World::new(START, TWO);
        let recorded = world.checks(&nth(0), outcomes);
        assert_eq!(recorded.opened, [1].into(), "{outcomes:?}");
        assert_eq!(members(&world, 1), *expected, "{outcomes:?}");
    }
    let mut world = World::new(START, TWO);
    world.checks(&nth(0), &[Outcome::Fail]);
    world.checks(&nth(1), &[Outcome::Pass, Outcome::Warn]);
    assert_eq!(members(&world, 1), (1, 0), "a warn among passes");
}

#[test]
fn a_result_of_a_run_that_finished_before_the_last_counted_one_changes_nothing() {
    let mut world = World::new(START, TWO);
    world.checks(&nth(1), &[Outcome::Fail]);
    let late = world.checks(&nth(0), &[Outcome::Pass]);
    let expected = Recorded {
        joined: [1].into(),
        n_late: 1,
        ..Recorded::default()
    };
    assert_eq!(late, expected);
    assert_eq!(members(&world, 1), (1, 0));
    world.checks(&nth(2), &[Outcome::Pass]);
    assert!(world.incident(1).is_clear());
}

#[test]
fn a_failing_check_counts_after_our_clock_stepped_back() {
    let mut world = World::new(START, TWO);
    world.checks(&run("before", "2026-03-02T08:59:00Z"), &[Outcome::Pass]);
    world.simulation.jump(-3 * 3_600_000).expect("it works");
    let recorded = world.checks(&run("after", "2026-03-02T09:01:00Z"), &[Outcome::Fail]);
    assert_eq!((recorded.opened, recorded.n_late), ([1].into(), 0));
}

#[test]
fn a_run_of_a_sender_whose_clock_is_ahead_does_not_outdate_later_ones() {
    let mut world = World::new(START, TWO);
    world.checks(&run("ahead", "2026-03-03T09:00:00Z"), &[Outcome::Pass]);
    world.advance(10);
    let recorded = world.checks(&run("mended", "2026-03-02T09:09:00Z"), &[Outcome::Fail]);
    assert_eq!(recorded.opened, [1].into());
}

#[test]
fn a_run_is_counted_once_within_a_day() {
    let mut world = World::new(START, TWO);
    world.checks(&nth(0), &[Outcome::Fail]);
    world.checks(&nth(1), &[Outcome::Pass]);
    let repeated = world.checks(&nth(1), &[Outcome::Fail]);
    assert_eq!(repeated.n_late, 1);
    assert!(world.incident(1).is_clear());

    let same_time = run("another", LATER[1]);
    world.checks(&same_time, &[Outcome::Fail]);
    assert_eq!(members(&world, 1), (1, 0), "another run counts");
    let second_attempt = Run {
        attempt: Some(2),
        ..same_time
    };
    world.checks(&second_attempt, &[Outcome::Pass]);
    assert!(world.incident(1).is_clear(), "another attempt counts");
}

#[test]
fn a_finish_ahead_of_our_clock_is_read_as_the_arrival() {
    let mut world = World::new(START, TWO);
    world.checks(&run("ahead", "2030-01-01T00:00:00Z"), &[Outcome::Fail]);
    world.advance(1);
    world.checks(&run("ahead", "2030-01-01T00:00:00Z"), &[Outcome::Pass]);
    assert_eq!(members(&world, 1), (1, 0), "a repeat of it is known");
    world.checks(&run("next", "2026-03-02T09:01:00Z"), &[Outcome::Pass]);
    assert!(world.incident(1).is_clear());
}

#[test]
fn a_warning_that_turns_into_a_failure_opens_where_only_failures_do() {
    let failures = rule("failures", &[r#"@outcome="fail""#], |_settings| {});
    let mut world = two_by(vec![failures]);
    assert_eq!(world.checks(&nth(0), &[Outcome::Warn]).n_unrouted, 1);
    world.advance(1);
    world.checks(&nth(1), &[Outcome::Fail]);
    assert_eq!(world.pages(), ["09:01 ann"]);
}
