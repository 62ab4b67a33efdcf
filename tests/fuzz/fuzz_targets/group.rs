//! Payloads of frames: what is read is written so that it is read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchkeeper::store::group::{decode, encode};

fuzz_target!(|payload: &[u8]| {
    let Ok(changes) = decode(payload) else { return };
    let kept = changes
        .iter()
        .map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len));
    assert!(kept.sum::<usize>() <= payload.len());
    let mut again = Vec::new();
    encode(&changes, &mut again);
    assert_eq!(decode(&again), Ok(changes));
});
