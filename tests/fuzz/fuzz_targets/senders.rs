//! Bodies as senders of any kind post them: the first byte says which.
#![no_main]

mod parsed;

use libfuzzer_sys::fuzz_target;
use watchkeeper::domain::source::Kind;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, body)) = bytes.split_first() else {
        return;
    };
    parsed::read(Kind::ALL[usize::from(*first) % Kind::ALL.len()], body);
});
