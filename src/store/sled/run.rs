//! A run: records of the state in order of their keys, in a file that is never changed once it is whole.
//!
//! Blocks of some KiB, most of them compressed, each with a checksum; behind them the index (where each block begins), the filter and a footer, under
//! a checksum of their own. A removal is a record, too: it hides what an older run has.

mod cache;
mod filter;
mod write;

use crate::store::disk::is_absent;
use crate::store::engine::Order;
use crate::store::error::Error;
pub(super) use cache::BlockCache;
use cache::RunId;
use filter::Filter;
pub(super) use filter::Hash;
use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
pub(super) use write::RunWriter;

/// First and last in the file; the last byte is the version of the format.
const MAGIC: &[u8; 8] = b"WK-run\0\x02";

/// The version before, of which every block is compressed. It is read as well: a snapshot may be of such runs, and nothing else may have
/// what it covers.
const MAGIC_1: &[u8; 8] = b"WK-run\0\x01";

/// Raw bytes after which a block ends.
const BLOCK_BYTES: usize = 8 << 10;

/// No block unpacks to more: a record of the largest transaction.
const MAX_BLOCK_BYTES: usize = 40 << 20;

/// Offset and length of the index, length of the filter, counts, checksum, magic.
const FOOTER_BYTES: usize = 8 + 8 + 8 + 8 + 8 + 8 + 4 + 8;

/// The length that says that a record is a removal.
const REMOVED: u32 = u32::MAX;

/// What a run holds, and how big it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) n_records: u64,
    pub(super) n_removals: u64,
    /// Of keys and values.
    pub(super) raw_bytes: u64,
    pub(super) file_bytes: u64,
    /// Over the index, which holds the checksums of all blocks.
    pub(super) checksum: u32,
}

#[derive(Debug)]
struct Block {
    /// The first key in it.
    first: Box<[u8]>,
    offset: u64,
    packing: Packing,
    /// Bytes in the file, and unpacked.
    packed: u32,
    raw: u32,
    checksum: u32,
}

/// Whether blocks are compressed. A run that will soon be merged is not worth the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Raw,
    Lz4,
}

/// Stands in the length of a block that is not compressed.
const IS_RAW: u32 = 1 << 31;

/// An open run.
#[derive(Debug)]
pub(super) struct Run {
    path: PathBuf,
    file: File,
    index: Vec<Block>,
    filter: Filter,
    facts: Facts,
    cache: Arc<BlockCache>,
    id: RunId,
}

/// Whether what is read is likely to be asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    Likely,
    Never,
}

/// A key, and its value or that it was removed.
type Record<'a> = (&'a [u8], Option<&'a [u8]>);

impl Run {
    /// Opens a run; index, filter and footer are checked, blocks when they are read.
    pub(super) fn open(path: &Path, cache: &Arc<BlockCache>) -> Result<Self, Error> {
        let failed = |source| match is_absent(&source) {
            true => Error::damaged(path, "it is missing"),
            false => Error::io(format!("read {}", path.display()), source),
        };
        let file = File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        let bad = |why: &str| Error::damaged(path, why);
        let footer_at = size.checked_sub(wide(FOOTER_BYTES));
        let footer_at = footer_at.ok_or_else(|| bad("it is too short"))?;
        let mut footer = [0; FOOTER_BYTES];
        file.read_exact_at(&mut footer, footer_at).map_err(failed)?;
        let footer = Footer::read(&footer).ok_or_else(|| bad("it does not end as a run does"))?;
        let tail_bytes = footer_at.checked_sub(footer.index_at);
        let tail_bytes = tail_bytes
            .filter(|bytes| footer.index_bytes.checked_add(footer.filter_bytes) == Some(*bytes));
        let tail_bytes = tail_bytes.ok_or_else(|| bad("its footer does not fit its size"))?;
        let mut tail = vec![0; narrow(tail_bytes)];
        file.read_exact_at(&mut tail, footer.index_at)
            .map_err(failed)?;
        if footer.checksum != footer.checksum_with(&tail) {
            return Err(Error::at(
                path,
                footer.index_at,
                "the checksum of its index does not match",
            ));
        }
        let (index, filter) = tail
            .split_at_checked(narrow(footer.index_bytes))
            .ok_or_else(|| bad("its footer does not fit its size"))?;
        let index = read_index(index).ok_or_else(|| bad("its index cannot be read"))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            index,
            filter: Filter::from_bytes(filter)?,
            facts: Facts {
                file_bytes: size,
                checksum: footer.checksum,
                ..footer.facts
            },
            cache: Arc::clone(cache),
            id: cache.new_run(),
        })
    }

    pub(super) fn facts(&self) -> Facts {
        self.facts
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The open file; it can be read also once it has no name any more.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The value of a key, or that it was removed; none where the run says nothing of it.
    pub(super) fn get(&self, key: &[u8], hash: Hash) -> Result<Option<Option<Vec<u8>>>, Error> {
        if !self.filter.may_hold(hash) {
            return Ok(None);
        }
        let after = self
            .index
            .partition_point(|block| block.first.as_ref() <= key);
        let Some(at) = after.checked_sub(1) else {
            return Ok(None);
        };
        let raw = self.block(at, Again::Likely)?;
        let mut rest: &[u8] = &raw;
        while let Some((found, value)) = self.take_record(&mut rest, at)? {
            if found == key {
                return Ok(Some(value.map(<[u8]>::to_vec)));
            }
            if found > key {
                break;
            }
        }
        Ok(None)
    }

    /// Reads every block and checks it.
    pub(super) fn check(&self) -> Result<(), Error> {
        for at in 0..self.index.len() {
            let raw = self.block(at, Again::Never)?;
            let mut rest: &[u8] = &raw;
            while self.take_record(&mut rest, at)?.is_some() {}
        }
        Ok(())
    }

    fn block(&self, at: usize, again: Again) -> Result<Arc<[u8]>, Error> {
        let Some(block) = self.index.get(at) else {
            return Ok(Arc::default());
        };
        if let Some(known) = self.cache.get(self.id, at) {
            return Ok(known);
        }
        let raw = SCRATCH.with_borrow_mut(|scratch| {
            let raw = self.unpack(at, block, scratch);
            scratch.let_go();
            raw
        })?;
        if again == Again::Likely {
            self.cache.keep(self.id, at, &raw);
        }
        Ok(raw)
    }

    fn unpack(&self, at: usize, block: &Block, scratch: &mut Scratch) -> Result<Arc<[u8]>, Error> {
        let packed = room(&mut scratch.packed, narrow(u64::from(block.packed)));
        let read = self.file.read_exact_at(packed, block.offset);
        read.map_err(|source| Error::io(format!("read {}", self.path.display()), source))?;
        if crc32c::crc32c(packed) != block.checksum {
            return Err(self.bad_block(at, "the checksum does not match"));
        }
        match block.packing {
            Packing::Raw => Ok(Arc::from(&*packed)),
            Packing::Lz4 => {
                let raw_bytes = narrow(u64::from(block.raw)).min(MAX_BLOCK_BYTES);
                let raw = room(&mut scratch.raw, raw_bytes);
                let n = lz4_flex::block::decompress_into(packed, raw)
                    .map_err(|error| self.bad_block(at, &error.to_string()))?;
                Ok(Arc::from(raw.get(..n).unwrap_or_default()))
            }
        }
    }

    fn take_record<'r>(&self, rest: &mut &'r [u8], at: usize) -> Result<Option<Record<'r>>, Error> {
        if rest.is_empty() {
            return Ok(None);
        }
        match take_record(rest) {
            Some(record) => Ok(Some(record)),
            None => Err(self.bad_block(at, "a record is cut short")),
        }
    }

    fn bad_block(&self, at: usize, why: &str) -> Error {
        let offset = self.index.get(at).map_or(0, |block| block.offset);
        Error::at(&self.path, offset, why)
    }
}

/// Where a thread reads and unpacks blocks before they are copied to as much memory as they need: memory that is
/// cleared anew for each of them is a tenth of what a look-up takes.
#[derive(Default)]
struct Scratch {
    packed: Vec<u8>,
    raw: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What a thread keeps of each: the largest of ordinary blocks.
const SCRATCH_KEPT_BYTES: usize = 32 << 10;

impl Scratch {
    fn let_go(&mut self) {
        for buffer in [&mut self.packed, &mut self.raw] {
            buffer.truncate(SCRATCH_KEPT_BYTES);
            buffer.shrink_to(SCRATCH_KEPT_BYTES);
        }
    }
}

/// The first bytes of a buffer, of which those behind its end are cleared.
fn room(buffer: &mut Vec<u8>, n: usize) -> &mut [u8] {
    if buffer.len() < n {
        buffer.resize(n, 0);
    }
    buffer.get_mut(..n).unwrap_or_default()
}

fn take_record<'r>(rest: &mut &'r [u8]) -> Option<Record<'r>> {
    let key_bytes = take_u32(rest)?;
    let value_bytes = take_u32(rest)?;
    let key = take(rest, key_bytes)?;
    if value_bytes == REMOVED {
        return Some((key, None));
    }
    Some((key, Some(take(rest, value_bytes)?)))
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_be_bytes(*bytes))
}

fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u64::from_be_bytes(*bytes))
}

fn take<'r>(rest: &mut &'r [u8], n: u32) -> Option<&'r [u8]> {
    let (taken, after) = rest.split_at_checked(narrow(u64::from(n)))?;
    *rest = after;
    Some(taken)
}

fn read_index(mut rest: &[u8]) -> Option<Vec<Block>> {
    let mut index = Vec::new();
    while !rest.is_empty() {
        let key_bytes = take_u32(&mut rest)?;
        let first = take(&mut rest, key_bytes)?.into();
        let offset = take_u64(&mut rest)?;
        let packed = take_u32(&mut rest)?;
        index.push(Block {
            first,
            offset,
            packing: match packed & IS_RAW {
                0 => Packing::Lz4,
                _ => Packing::Raw,
            },
            packed: packed & !IS_RAW,
            raw: take_u32(&mut rest)?,
            checksum: take_u32(&mut rest)?,
        });
    }
    Some(index)
}

/// The end of the file.
#[derive(Debug)]
struct Footer {
    index_at: u64,
    index_bytes: u64,
    filter_bytes: u64,
    facts: Facts,
    checksum: u32,
}

impl Footer {
    fn read(bytes: &[u8; FOOTER_BYTES]) -> Option<Self> {
        let mut rest = bytes
            .strip_suffix(MAGIC)
            .or_else(|| bytes.strip_suffix(MAGIC_1))?;
        Some(Self {
            index_at: take_u64(&mut rest)?,
            index_bytes: take_u64(&mut rest)?,
            filter_bytes: take_u64(&mut rest)?,
            facts: Facts {
                n_records: take_u64(&mut rest)?,
                n_removals: take_u64(&mut rest)?,
                raw_bytes: take_u64(&mut rest)?,
                ..Facts::default()
            },
            checksum: take_u32(&mut rest)?,
        })
    }

    fn numbers(&self) -> [u64; 6] {
        [
            self.index_at,
            self.index_bytes,
            self.filter_bytes,
            self.facts.n_records,
            self.facts.n_removals,
            self.facts.raw_bytes,
        ]
    }

    /// The checksum over index, filter and the numbers of the footer.
    fn checksum_with(&self, tail: &[u8]) -> u32 {
        let sum = crc32c::crc32c(tail);
        self.numbers().iter().fold(sum, |sum, number| {
            crc32c::crc32c_append(sum, &number.to_be_bytes())
        })
    }
}

/// Goes through the records of a run from one key to another.
#[derive(Debug)]
pub(super) struct Cursor {
    run: Arc<Run>,
    again: Again,
    order: Order,
    from: Vec<u8>,
    to: Vec<u8>,
    /// The block that is loaded, and where its records begin.
    block: usize,
    raw: Arc<[u8]>,
    starts: Vec<usize>,
    /// Where in `starts` the present record is; none at the end.
    at: Option<usize>,
}

impl Cursor {
    /// At the first record, in this order, with `from <= key < to`.
    pub(super) fn new(
        run: &Arc<Run>,
        from: &[u8],
        to: &[u8],
        order: Order,
        again: Again,
    ) -> Result<Self, Error> {
        let wanted = match order {
            Order::Forward => from,
            Order::Reverse => to,
        };
        let after = run
            .index
            .partition_point(|block| block.first.as_ref() <= wanted);
        let mut cursor = Self {
            run: Arc::clone(run),
            again,
            order,
            from: from.to_vec(),
            to: to.to_vec(),
            block: after.saturating_sub(1),
            raw: Arc::default(),
            starts: Vec::new(),
            at: None,
        };
        cursor.load()?;
        while cursor.record().is_some_and(|(key, _value)| match order {
            Order::Forward => key < from,
            Order::Reverse => key >= to,
        }) {
            cursor.step()?;
        }
        cursor.end_past_range();
        Ok(cursor)
    }

    /// The present record; none at the end.
    pub(super) fn record(&self) -> Option<Record<'_>> {
        let start = *self.starts.get(self.at?)?;
        let mut rest = self.raw.get(start..)?;
        take_record(&mut rest)
    }

    pub(super) fn step(&mut self) -> Result<(), Error> {
        let next = match (self.order, self.at) {
            (Order::Forward, Some(at)) => Some(at + 1).filter(|at| *at < self.starts.len()),
            (Order::Reverse, Some(at)) => at.checked_sub(1),
            (_, None) => return Ok(()),
        };
        if next.is_some() {
            self.at = next;
        } else {
            let block = match self.order {
                Order::Forward => self.block.checked_add(1),
                Order::Reverse => self.block.checked_sub(1),
            };
            match block.filter(|block| *block < self.run.index.len()) {
                Some(block) => {
                    self.block = block;
                    self.load()?;
                }
                None => self.at = None,
            }
        }
        self.end_past_range();
        Ok(())
    }

    fn end_past_range(&mut self) {
        let is_past = self.record().is_some_and(|(key, _value)| match self.order {
            Order::Forward => key >= self.to.as_slice(),
            Order::Reverse => key < self.from.as_slice(),
        });
        if is_past {
            self.at = None;
        }
    }

    fn load(&mut self) -> Result<(), Error> {
        self.raw = self.run.block(self.block, self.again)?;
        self.starts.clear();
        let mut rest: &[u8] = &self.raw;
        while !rest.is_empty() {
            self.starts.push(self.raw.len() - rest.len());
            self.run.take_record(&mut rest, self.block)?;
        }
        self.at = match self.order {
            Order::Forward => Some(0),
            Order::Reverse => self.starts.len().checked_sub(1),
        };
        Ok(())
    }
}

fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

fn narrow(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}
