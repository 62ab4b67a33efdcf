//! Bodies as senders of kind `alertmanager` post them.
#![no_main]

mod parsed;

use libfuzzer_sys::fuzz_target;
use watchkeeper::domain::source::Kind;
use watchkeeper::ingest::Post;

fuzz_target!(|body: &[u8]| parsed::read(Kind::Alertmanager, &Post::of(body, parsed::now())));
