//! Chance from a seed, so that what failed can be tried again; and how many rounds a test runs.

/// Numbers that look random and follow from the seed (`SplitMix64`).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another sequence, of its own.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// 0 … bound - 1.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of these, of which there are some.
    pub(crate) fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        self.pick(all).expect("there are some")
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let n = u64::try_from(from.len()).ok().filter(|n| *n > 0)?;
        from.get(usize::try_from(self.below(n)).ok()?)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// `SEED`, where it is set; else a new one.
pub(crate) fn seed() -> u64 {
    number("SEED").unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0)
}

/// `WATCHKEEPER_ROUNDS`, which the long commands of `tests/long` set; else `few`.
pub(crate) fn rounds(few: u64) -> u64 {
    number("WATCHKEEPER_ROUNDS").unwrap_or(few)
}

#[expect(
    clippy::disallowed_methods,
    reason = "what a person asks of the tests; the program reads none of it"
)]
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is not a number: {text}")),
    )
}

#[test]
fn the_same_seed_brings_the_same_and_another_brings_other() {
    let drawn = |seed| {
        let mut chance = Chance::new(seed);
        (0..20).map(|_| chance.below(1_000_000)).collect::<Vec<_>>()
    };
    assert_eq!(drawn(7), drawn(7));
    assert_ne!(drawn(7), drawn(8));
}
