//! What is older than it need be leaves, however much of it there is; what is needed stays.

use crate::world::{START, World, sighting};
use std::ops::ControlFlow;
use std::time::Duration;
use watchkeeper::domain::alert::Signal;
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
    let mut world = World::new(START, &[("ana", 60)]);
    for said in [Signal::Firing, Signal::Resolved] {
        let alerts = (0..2_000).map(|n| sighting(&format!("Down db{n}"), said));
        world.receives(alerts.collect());
    }
    assert_eq!(transitions(&world), 4_000);
    world.simulation.sleep(Duration::from_secs(91 * 86_400));
    world.advance(1);
    assert_eq!(transitions(&world), 0);
}
