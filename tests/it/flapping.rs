//! Flapping: what fires and falls silent again and again pages once, and is not clear before it has settled.

use crate::world::{START, World, book, rules};
use std::time::Duration;
use watchkeeper::domain::incident::Flapping;
use watchkeeper::domain::rule::{Settings, SeverityRule};
use watchkeeper::domain::severity::Severity;

const MINUTE: u64 = 60;

/// Ann, then ben; more than three changes within half an hour are flapping.
fn world(change: impl FnOnce(&mut Settings)) -> World {
    let rules = rules(|settings| {
        settings.flapping = Some(Flapping {
            changes: 3,
            within_ms: 30 * MINUTE * 1000,
        });
        change(settings);
    });
    World::with(START, book(&[("ann", 5), ("ben", 90)]), rules)
}

/// It fires and falls silent so often, a minute each.
fn flaps(world: &mut World, times: usize) {
    for _ in 0..times {
        world.fires("Down");
        world.advance(1);
        world.resolves("Down");
        world.advance(1);
    }
}

#[test]
fn an_incident_that_flaps_is_marked_pages_once_more_and_then_no_more() {
    let mut world = world(|_settings| {});
    world.fires("Down");
    world.acknowledges(1, "ann");
    world.advance(1);
    world.resolves("Down");
    world.advance(1);
    world.fires("Down");
    world.acknowledges(1, "ann");
    world.advance(1);
    assert!(!world.incident(1).is_flapping());
    world.resolves("Down");
    let marked = world.incident(1);
    assert!(marked.is_flapping());
    assert!(!marked.is_clear());
    assert!(marked.acknowledged.is_none());
    world.acknowledges(1, "ann");
    world.advance(1);
    flaps(&mut world, 10);
    let told = ["09:00 ann", "09:01 ann (update)", "09:02 ann", "09:03 ann"];
    assert_eq!(world.pages(), told);
    assert_eq!(
        world.timeline(1, "flapping"),
        [
            "09:03 flapping: more than 3 changes between firing and silent within 30m: \
             paging starts at step 1, once"
        ]
    );
    assert!(
        world.incident(1).acknowledged.is_some(),
        "that it fires again changes nothing"
    );
}

#[test]
fn the_escalation_of_what_flaps_runs_on_also_while_it_is_silent() {
    let mut world = world(|_settings| {});
    flaps(&mut world, 2);
    assert_eq!(
        world.pages(),
        ["09:00 ann", "09:01 ann (update)", "09:02 ann", "09:03 ann"]
    );
    world.advance(4);
    assert_eq!(world.pages().last().map(String::as_str), Some("09:08 ben"));
}

#[test]
fn it_has_settled_when_nothing_has_changed_for_as_long_and_is_clear_then() {
    let mut world = world(|_settings| {});
    flaps(&mut world, 2);
    world.acknowledges(1, "ann");
    world.advance(29 - 1);
    assert!(!world.incident(1).is_clear());
    world.advance(1);
    let settled = world.incident(1);
    assert!(!settled.is_flapping() && settled.is_clear());
    assert_eq!(
        world.timeline(1, "settled"),
        ["09:33 no longer flapping: it has settled"]
    );
    // It begins to count anew.
    world.fires("Down");
    assert!(!world.incident(1).is_flapping());
    assert_eq!(world.pages().last().map(String::as_str), Some("09:33 ann"));
}

#[test]
fn what_settles_while_it_fires_goes_on_as_any_that_fires() {
    let mut world = world(|_settings| {});
    flaps(&mut world, 2);
    world.acknowledges(1, "ann");
    world.fires("Down");
    world.advance(30);
    let settled = world.incident(1);
    assert!(!settled.is_flapping() && !settled.is_clear());
    assert!(settled.acknowledged.is_some());
}

#[test]
fn those_who_were_paged_hear_at_most_hourly_that_it_still_flaps() {
    let mut world = world(|_settings| {});
    flaps(&mut world, 2);
    world.acknowledges(1, "ann");
    flaps(&mut world, 60);
    let summaries: Vec<String> = world.timeline(1, "still flaps");
    assert_eq!(
        summaries,
        [
            "10:03 told that it still flaps: ann",
            "11:03 told that it still flaps: ann"
        ]
    );
    let sent = world.simulation.sent();
    let notes = sent.iter().filter_map(|sent| sent.message.note.as_deref());
    let mut notes = notes.filter(|note| note.contains("flapping"));
    assert_eq!(
        notes.next(),
        Some("still flapping: 59 changes between firing and silent in 1h, firing now")
    );
}

#[test]
fn many_alerts_that_fire_at_once_are_no_flapping() {
    let mut world = world(|_settings| {});
    for n in 0..20 {
        world.fires(&format!("Down db{n}"));
    }
    for n in 0..19 {
        world.resolves(&format!("Down db{n}"));
    }
    assert!(!world.incident(1).is_flapping());
}

#[test]
fn slow_changes_and_rules_without_flapping_mark_nothing() {
    let mut slow = world(|_settings| {});
    for _ in 0..10 {
        slow.fires("Down");
        slow.advance(10);
        slow.resolves("Down");
        slow.advance(10);
    }
    assert!(!slow.incident(1).is_flapping());
    let mut never = world(|settings| settings.flapping = None);
    flaps(&mut never, 20);
    assert!(!never.incident(1).is_flapping());
}

#[test]
fn a_clock_that_is_set_neither_marks_nor_settles() {
    for hours in [5, -5] {
        let mut world = world(|_settings| {});
        flaps(&mut world, 2);
        world.acknowledges(1, "ann");
        world
            .simulation
            .jump(hours * 3_600_000)
            .expect("the store works");
        world.advance(28);
        assert!(world.incident(1).is_flapping(), "by {hours} hours");
        world.advance(1);
        assert!(!world.incident(1).is_flapping(), "by {hours} hours");
    }
}

#[test]
fn a_light_incident_that_flaps_is_verified_once_it_has_settled() {
    let mut world = world(|settings| {
        settings.severity = Some(SeverityRule::Fixed(Severity::Sev5));
        settings.resolve_after = Some(Duration::from_secs(60));
    });
    flaps(&mut world, 4);
    assert!(world.incident(1).is_flapping());
    world.advance(4 * 60);
    assert!(
        !world.incident(1).is_open(),
        "verified and closed by itself"
    );
}
