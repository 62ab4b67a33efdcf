//! Bodies as senders of kind `check` post them.
#![no_main]

mod parsed;

use libfuzzer_sys::fuzz_target;
use watchkeeper::domain::source::Kind;
use watchkeeper::ingest::Post;

fuzz_target!(|body: &[u8]| parsed::read(Kind::Check, &Post::of(body, parsed::now())));
