//! Matchers as people write them: what is read is written so that it is read again, and says the same of every value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use watchkeeper::domain::matcher::{Matcher, Op};

fuzz_target!(|text: &str| {
    // The first line is the matcher, what follows is a value to hold it against.
    let (text, value) = text.split_once('\n').unwrap_or((text, "critical"));
    let listed = Matcher::parse_list(text);
    let all = listed.iter().flatten().cloned();
    for matcher in Matcher::parse(text).into_iter().chain(all) {
        let written = matcher.to_string();
        let read = Matcher::parse(&written);
        assert_eq!(read.as_ref(), Ok(&matcher), "{written}");
        assert_eq!(matcher.matches(None), matcher.matches(Some("")));
        let opposite = match matcher.op() {
            Op::Equal => Op::NotEqual,
            Op::NotEqual => Op::Equal,
            Op::Regex => Op::NotRegex,
            Op::NotRegex => Op::Regex,
        };
        let opposite = Matcher::new(opposite, matcher.name(), matcher.value());
        let opposite = opposite.expect("the same value is read under the opposite sign");
        for value in [None, Some(value), Some(matcher.value())] {
            assert_ne!(matcher.matches(value), opposite.matches(value), "{written}");
        }
    }
});
