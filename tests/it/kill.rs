//! `kill -9` at random moments under load: what was acknowledged is there, and every page arrives.

use crate::chance::{Chance, rounds, seed};
use crate::daemon::{Home, Receiver};
use crate::load::{Ledger, Load, Refusal, check_pages};
use std::sync::Arc;
use std::time::Duration;

/// Rounds that one store goes through; then its pages are looked at.
const OF_ONE_STORE: u64 = 10;

/// The load lasts at most so long, milliseconds.
const LOAD_MS: u64 = 150;

/// A start is cut off within so long, milliseconds.
const START_MS: u64 = 120;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_under_load_it_loses_no_alert_and_no_page() {
    let (seed, rounds) = (seed(), rounds(200));
    println!("SEED={seed} WATCHKEEPER_ROUNDS={rounds}");
    let mut chance = Chance::new(seed);
    let (one, other) = (chance.fork(), chance.fork());
    // While the daemon of one starts, that of the other works.
    let both = tokio::join!(
        one_lane(rounds / 2, one),
        one_lane(rounds - rounds / 2, other)
    );
    let n_acknowledged = both.0 + both.1;
    println!("{n_acknowledged} alerts acknowledged in {rounds} rounds");
    assert!(n_acknowledged > rounds, "there was load: {n_acknowledged}");
}

/// One store after another.
async fn one_lane(rounds: u64, mut chance: Chance) -> u64 {
    let (mut done, mut n_acknowledged) = (0, 0);
    while done < rounds {
        let n = OF_ONE_STORE.min(rounds - done);
        n_acknowledged += one_store(n, &mut chance).await;
        done += n;
    }
    n_acknowledged
}

/// Returns how many alerts were acknowledged.
async fn one_store(rounds: u64, chance: &mut Chance) -> u64 {
    let receiver = Receiver::start().await;
    let home = Home::paging(&receiver.url);
    let ledger = Arc::new(Ledger::default());
    for round in 0..rounds {
        let mut daemon = home.serve().await;
        ledger.check(&daemon).await;
        assert!(daemon.logged("built again").is_none(), "{}", daemon.log());
        let load = Load::start(&daemon, round, &ledger, chance, Refusal::Never);
        tokio::time::sleep(Duration::from_millis(chance.below(LOAD_MS))).await;
        daemon.kill();
        load.ended().await;
        // While it recovers, too.
        if chance.one_in(8) {
            let after = Duration::from_millis(chance.below(START_MS));
            home.start_and_kill(after).await;
        }
    }
    let daemon = home.serve().await;
    ledger.check(&daemon).await;
    check_pages(&daemon, &receiver).await;
    daemon.stop().await;
    if chance.one_in(4) {
        verify(&home);
    }
    ledger.n_acknowledged()
}

/// Its state, built once more, is the same.
fn verify(home: &Home) {
    let verified = home.run(&["store", "verify"]);
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
}
