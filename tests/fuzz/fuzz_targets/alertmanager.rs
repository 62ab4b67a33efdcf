//! Bodies as senders of kind `alertmanager` post them.
#![no_main]

mod parsed;

use libfuzzer_sys::fuzz_target;
use watchkeeper::domain::source::Kind;

fuzz_target!(|body: &[u8]| parsed::read(Kind::Alertmanager, body));
