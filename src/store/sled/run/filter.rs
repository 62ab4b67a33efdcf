//! A filter of keys: says of most keys that are not in a run that they are not, without a look at the run. Each key has its
//! bits in one line of 64 bytes, so that asking costs one look at memory.

use crate::store::error::Error;

/// With so many bits for each key one in some 300 absent keys is looked for in vain.
const BITS_PER_KEY: u64 = 12;

/// Bits that each key sets.
const PROBES: u32 = 7;

/// Bits and words of a line.
const LINE_BITS: u64 = 512;
const LINE_WORDS: usize = 8;
const LINE_BYTES: usize = LINE_WORDS * 8;

/// Multipliers with well-spread bits: those of FNV-1a and of `SplitMix64`.
const PRIME: u64 = 0x0000_0100_0000_01b3;
const MIX: u64 = 0xbf58_476d_1ce4_e5b9;
const SPREAD: u64 = 0x94d0_49bb_1331_11eb;

/// What a key is asked by. Stored with the filter, so that it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::sled) struct Hash(u64);

impl Hash {
    pub(in crate::store::sled) fn of(key: &[u8]) -> Self {
        let mut hash = u64::try_from(key.len()).unwrap_or(u64::MAX) ^ MIX;
        for part in key.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
            hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(PRIME);
            hash ^= hash >> 29;
        }
        hash = (hash ^ (hash >> 30)).wrapping_mul(MIX);
        hash = (hash ^ (hash >> 27)).wrapping_mul(SPREAD);
        Self(hash ^ (hash >> 31))
    }
}

#[derive(Debug)]
pub(super) struct Filter {
    lines: Vec<[u64; LINE_WORDS]>,
}

impl Filter {
    pub(super) fn with_room_for(n_keys: u64) -> Self {
        let n_lines = (n_keys.saturating_mul(BITS_PER_KEY) / LINE_BITS).saturating_add(1);
        let n_lines = usize::try_from(n_lines).unwrap_or(usize::MAX);
        Self {
            lines: vec![[0; LINE_WORDS]; n_lines],
        }
    }

    pub(super) fn add(&mut self, hash: Hash) {
        let at = self.line_of(hash);
        if let Some(line) = self.lines.get_mut(at) {
            for (word, bit) in bits(hash) {
                if let Some(word) = line.get_mut(word) {
                    *word |= bit;
                }
            }
        }
    }

    /// False: the key is certainly not there.
    pub(super) fn may_hold(&self, hash: Hash) -> bool {
        let Some(line) = self.lines.get(self.line_of(hash)) else {
            return false;
        };
        bits(hash).all(|(word, bit)| line.get(word).is_some_and(|word| word & bit != 0))
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let words = self.lines.iter().flatten();
        words.flat_map(|word| word.to_le_bytes()).collect()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let (lines, rest) = bytes.as_chunks::<LINE_BYTES>();
        if lines.is_empty() || !rest.is_empty() {
            return Err(Error::damaged("a filter", "it is of no whole lines"));
        }
        let line = |bytes: &[u8; LINE_BYTES]| {
            let mut line = [0; LINE_WORDS];
            let (words, _none) = bytes.as_chunks::<8>();
            for (to, from) in line.iter_mut().zip(words) {
                *to = u64::from_le_bytes(*from);
            }
            line
        };
        Ok(Self {
            lines: lines.iter().map(line).collect(),
        })
    }

    fn line_of(&self, hash: Hash) -> usize {
        let n_lines = u64::try_from(self.lines.len()).unwrap_or(u64::from(u32::MAX));
        let at = ((hash.0 >> 32).wrapping_mul(n_lines)) >> 32;
        usize::try_from(at).unwrap_or(usize::MAX)
    }
}

/// The words and bits that a key has in its line.
fn bits(hash: Hash) -> impl Iterator<Item = (usize, u64)> {
    let spread = hash.0.wrapping_mul(SPREAD) ^ (hash.0 >> 32);
    (0..PROBES).map(move |n| {
        let at = (spread >> (n * 9)) % LINE_BITS;
        let word = usize::try_from(at / 64).unwrap_or(usize::MAX);
        (word, 1 << (at % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_held_and_little_else() {
        let mut filter = Filter::with_room_for(10_000);
        let hash = |n: u32| Hash::of(format!("Akey{n:08}").as_bytes());
        (0..10_000).for_each(|n| filter.add(hash(n)));
        let read = Filter::from_bytes(&filter.to_bytes()).unwrap();
        assert!((0..10_000).all(|n| read.may_hold(hash(n))));
        let wrong = (10_000..20_000).filter(|n| read.may_hold(hash(*n))).count();
        assert!(wrong < 150, "{wrong} of 10000");
    }
}
