//! Waiting for what other processes do: until it is seen, with a bound.

use std::process::Child;
use std::time::Duration;

/// Far more than anything here needs, on a machine that is busy with something else.
const LIMIT: u32 = 60 * PER_SECOND;
const PER_SECOND: u32 = 20;

/// Looks again and again until `look` finds it, and fails with what was last seen instead.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    for n_looks in 1_u32.. {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(
                n_looks < LIMIT,
                "waited in vain: {what}; last seen:\n{seen}"
            ),
        }
        tokio::time::sleep(Duration::from_secs(1) / PER_SECOND).await;
    }
    unreachable!("the limit ends the loop")
}

pub(crate) fn ended(process: &mut Child) -> bool {
    process.try_wait().expect("a child can be asked").is_some()
}

/// The number that follows `before` in a log, once its line is whole.
pub(crate) fn port_in(log: &str, before: &str) -> Option<u16> {
    let (_, after) = log.split_once(before)?;
    let end = after.find(|c: char| !c.is_ascii_digit())?;
    after.split_at(end).0.parse().ok()
}
