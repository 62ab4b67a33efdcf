//! What is older than it need be leaves, however much of it there is; what is needed stays.

use crate::world::{START, World, book, rules, sighting};
use std::ops::ControlFlow;
use std::time::Duration;
use watchkeeper::domain::alert::Signal;
use watchkeeper::domain::rule::{Action, Settings};
use watchkeeper::store::engine::Order;

/// Records of the history of alerts.
fn transitions(world: &World) -> usize {
    let mut n = 0;
    let view = world.simulation.store().engine().view();
    view.scan(b"T", b"U", Order::Forward, &mut |_key, _record| {
        n += 1;
        Ok(ControlFlow::Continue(()))
    })
    .expect("the memory store reads");
    n
}

#[test]
fn a_day_of_alerts_that_is_too_old_is_swept_within_a_minute() {
    let mut world = World::new(START, &[("ana", 60)]).in_memory();
    for said in [Signal::Firing, Signal::Resolved] {
        for n in 0..600 {
            world.receives(vec![sighting(&format!("Down db{n}"), said)]);
        }
    }
    assert_eq!(transitions(&world), 1_200);
    world.simulation.sleep(Duration::from_secs(91 * 86_400));
    // A clock that is so much ahead may be wrong: nothing is swept by it for a day.
    world.advance(24 * 60 - 1);
    assert_eq!(transitions(&world), 1_200);
    world.advance(2);
    assert_eq!(transitions(&world), 0);
}

#[test]
fn alerts_that_fire_for_longer_than_alerts_are_kept_hold_up_no_other() {
    let record = |settings: &mut Settings| settings.action = Some(Action::Record);
    let mut world = World::with(START, book(&[("ana", 60)]), rules(record));
    let old = (0..2_500).map(|n| sighting(&format!("Old db{n}"), Signal::Firing));
    world.receives(old.collect());
    world.advance(1);
    world.fires("Late");
    world.resolves("Late");
    let late = sighting("Late", Signal::Firing).labels.fingerprint();
    let store = world.simulation.store().clone();
    let is_there = move || {
        let found = store.read(|reader| reader.alert(late));
        found.expect("the memory store reads").is_some()
    };
    assert!(is_there());
    world.simulation.sleep(Duration::from_secs(91 * 86_400));
    world.advance(24 * 60 + 3);
    assert!(!is_there());
    let old = sighting("Old db7", Signal::Firing).labels.fingerprint();
    let found = world.simulation.store().read(|reader| reader.alert(old));
    assert!(found.expect("the memory store reads").is_some());
}
