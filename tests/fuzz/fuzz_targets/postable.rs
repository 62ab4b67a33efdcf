//! Alerts as Prometheus and its relatives post them to an Alertmanager.
#![no_main]

mod parsed;

use libfuzzer_sys::fuzz_target;
use watchkeeper::domain::source::Kind;
use watchkeeper::ingest::{Post, postable};

fuzz_target!(|body: &[u8]| {
    let (name, form) = postable::FORM;
    let query = [(name.to_owned(), form.to_owned())];
    let post = Post {
        query: &query,
        ..Post::of(body, parsed::now())
    };
    parsed::read(Kind::Alertmanager, &post);
    if let Ok(postable) = postable::parse(&post) {
        assert_eq!(
            postable.faults.len(),
            postable.parsed.rejected.len(),
            "each is told"
        );
    }
});
