//! Bodies as senders of any kind post them: the first byte says which.
#![no_main]

mod parsed;

use libfuzzer_sys::fuzz_target;
use watchkeeper::domain::source::Kind;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, body)) = bytes.split_first() else {
        return;
    };
    let kinds = Kind::ALL.into_iter().filter(|kind| kind.is_read());
    let kinds: Vec<Kind> = kinds.collect();
    parsed::read(kinds[usize::from(*first) % kinds.len()], body);
});
