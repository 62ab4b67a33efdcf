//! The power goes at random moments under load: a file system that forgets what was not flushed, and what was acknowledged
//! is there all the same. Needs root and a loop device; skipped aloud where it has none.

use crate::chance::{Chance, rounds, seed};
use crate::daemon::{Home, Receiver};
use crate::disk::Disk;
use crate::load::{Ledger, Load, Refusal, check_pages};
use std::sync::Arc;
use std::time::Duration;

/// Room for a journal, its reserve, and the floor below which intake is refused.
const DISK_MEGABYTES: u64 = 1024;

/// Rounds that one store goes through; then its pages are looked at.
const OF_ONE_STORE: u64 = 5;

/// The load lasts at most so long, milliseconds.
const LOAD_MS: u64 = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cut_at_any_moment_under_load_it_loses_no_alert_and_no_page() {
    let (seed, rounds) = (seed(), rounds(5));
    println!("SEED={seed} WATCHKEEPER_ROUNDS={rounds}");
    let mut chance = Chance::new(seed);
    let (mut done, mut n_acknowledged) = (0, 0);
    while done < rounds {
        let Some(disk) = Disk::new("power cut", DISK_MEGABYTES) else {
            return;
        };
        let n = OF_ONE_STORE.min(rounds - done);
        n_acknowledged += one_store(&disk, n, &mut chance).await;
        done += n;
    }
    println!("{n_acknowledged} alerts acknowledged in {rounds} rounds");
    assert!(n_acknowledged > rounds, "there was load: {n_acknowledged}");
}

/// Returns how many alerts were acknowledged.
async fn one_store(disk: &Disk, rounds: u64, chance: &mut Chance) -> u64 {
    let receiver = Receiver::start().await;
    let home = Home::paging_from(&receiver.url, disk.path().join("data"));
    let ledger = Arc::new(Ledger::default());
    for round in 0..rounds {
        let mut daemon = home.serve().await;
        ledger.check(&daemon).await;
        // Once its disk is gone it answers 503 until it has ended.
        let load = Load::start(&daemon, round, &ledger, chance, Refusal::Expected);
        tokio::time::sleep(Duration::from_millis(chance.below(LOAD_MS))).await;
        let switch = disk.switch();
        // A machine without power tells nobody anything; here the daemon outlives its disk by a moment, in which a sync
        // that the cut broke off may look as if it had succeeded.
        ledger.close();
        switch.cut();
        daemon.kill();
        load.ended().await;
        ledger.reopen();
        disk.remount();
        if chance.one_in(4) {
            // While it recovers, too.
            let switch = disk.switch();
            let after = Duration::from_millis(chance.below(100));
            home.start_and_kill(after).await;
            switch.cut();
            disk.remount();
        }
    }
    let daemon = home.serve().await;
    ledger.check(&daemon).await;
    check_pages(&daemon, &receiver).await;
    daemon.stop().await;
    ledger.n_acknowledged()
}
