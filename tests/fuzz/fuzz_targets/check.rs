//! Bodies as senders of kind `check` post them.
#![no_main]

mod parsed;

use libfuzzer_sys::fuzz_target;
use watchkeeper::domain::source::Kind;

fuzz_target!(|body: &[u8]| parsed::read(Kind::Check, body));
