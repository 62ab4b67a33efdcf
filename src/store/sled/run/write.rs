//! Writing a run: records come in order, blocks go to the file as they fill, and once `finish` returns the file is on disk.

use super::BLOCK_BYTES;
use super::Block;
use super::BlockCache;
use super::Facts;
use super::Filter;
use super::Footer;
use super::Hash;
use super::IS_RAW;
use super::MAGIC;
use super::Packing;
use super::REMOVED;
use super::Run;
use super::wide;
use crate::store::error::Error;
use std::borrow::Cow;
use std::fs::File;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

/// What is gathered before it goes to the file.
const BUFFER_BYTES: usize = 256 << 10;

/// What may wait in the kernel before it is brought to disk: a sync of the journal must not find the disk busy with more.
const UNSYNCED_BYTES: u64 = 4 << 20;

#[derive(Debug)]
pub(in crate::store::sled) struct RunWriter {
    path: PathBuf,
    file: File,
    packing: Packing,
    /// The block that is being filled, and its first key.
    raw: Vec<u8>,
    first: Vec<u8>,
    index: Vec<Block>,
    filter: Filter,
    facts: Facts,
    buffer: Vec<u8>,
    offset: u64,
    unsynced: u64,
}

impl RunWriter {
    /// Begins a run of at most so many records.
    pub(in crate::store::sled) fn create(
        path: &Path,
        packing: Packing,
        n_records_max: u64,
    ) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path);
        let file = file.map_err(|source| Error::io(format!("make {}", path.display()), source))?;
        let mut writer = Self {
            path: path.to_owned(),
            file,
            packing,
            raw: Vec::with_capacity(BLOCK_BYTES * 2),
            first: Vec::new(),
            index: Vec::new(),
            filter: Filter::with_room_for(n_records_max),
            facts: Facts::default(),
            buffer: Vec::with_capacity(BUFFER_BYTES * 2),
            offset: 0,
            unsynced: 0,
        };
        writer.put(MAGIC)?;
        Ok(writer)
    }

    /// Adds a record, or a removal. Keys come in order, each once.
    pub(in crate::store::sled) fn add(
        &mut self,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), Error> {
        if self.raw.is_empty() {
            self.first.clear();
            self.first.extend_from_slice(key);
        }
        self.filter.add(Hash::of(key));
        self.raw.extend_from_slice(&length(key).to_be_bytes());
        let value_bytes = value.map_or(REMOVED, length);
        self.raw.extend_from_slice(&value_bytes.to_be_bytes());
        self.raw.extend_from_slice(key);
        self.raw.extend_from_slice(value.unwrap_or_default());
        self.facts.n_records += 1;
        self.facts.n_removals += u64::from(value.is_none());
        self.facts.raw_bytes += wide(key.len() + value.map_or(0, <[u8]>::len));
        if self.raw.len() >= BLOCK_BYTES {
            self.end_block()?;
        }
        Ok(())
    }

    /// Once this returns, the run is whole and on disk; its name is once the directory is synced.
    pub(in crate::store::sled) fn finish(mut self, cache: &Arc<BlockCache>) -> Result<Run, Error> {
        if !self.raw.is_empty() {
            self.end_block()?;
        }
        let (tail, checksum) = self.tail();
        self.put(&tail)?;
        self.flush()?;
        let synced = self.file.sync_all();
        synced.map_err(|source| Error::io(format!("sync {}", self.path.display()), source))?;
        Ok(Run {
            path: self.path,
            file: self.file,
            index: self.index,
            filter: self.filter,
            facts: Facts {
                file_bytes: self.offset,
                checksum,
                ..self.facts
            },
            cache: Arc::clone(cache),
            id: cache.new_run(),
        })
    }

    fn end_block(&mut self) -> Result<(), Error> {
        let raw = std::mem::take(&mut self.raw);
        let packed = match self.packing {
            Packing::Raw => Cow::Borrowed(&raw),
            Packing::Lz4 => Cow::Owned(lz4_flex::block::compress(&raw)),
        };
        self.index.push(Block {
            first: self.first.as_slice().into(),
            offset: self.offset,
            packing: self.packing,
            packed: length(&packed),
            raw: length(&raw),
            checksum: crc32c::crc32c(&packed),
        });
        self.put(&packed)?;
        self.raw = raw;
        self.raw.clear();
        Ok(())
    }

    /// Index, filter and footer, and their checksum.
    fn tail(&self) -> (Vec<u8>, u32) {
        let mut tail = Vec::new();
        for block in &self.index {
            tail.extend_from_slice(&length(&block.first).to_be_bytes());
            tail.extend_from_slice(&block.first);
            tail.extend_from_slice(&block.offset.to_be_bytes());
            let packed = match block.packing {
                Packing::Raw => block.packed | IS_RAW,
                Packing::Lz4 => block.packed,
            };
            for number in [packed, block.raw, block.checksum] {
                tail.extend_from_slice(&number.to_be_bytes());
            }
        }
        let index_bytes = wide(tail.len());
        tail.extend_from_slice(&self.filter.to_bytes());
        let mut footer = Footer {
            index_at: self.offset,
            index_bytes,
            filter_bytes: wide(tail.len()) - index_bytes,
            facts: self.facts,
            checksum: 0,
        };
        footer.checksum = footer.checksum_with(&tail);
        for number in footer.numbers() {
            tail.extend_from_slice(&number.to_be_bytes());
        }
        tail.extend_from_slice(&footer.checksum.to_be_bytes());
        tail.extend_from_slice(MAGIC);
        (tail, footer.checksum)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(bytes);
        self.offset += wide(bytes.len());
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let written = self.file.write_all(&self.buffer);
        written.map_err(|source| Error::io(format!("write {}", self.path.display()), source))?;
        self.unsynced += wide(self.buffer.len());
        self.buffer.clear();
        if self.unsynced >= UNSYNCED_BYTES {
            self.unsynced = 0;
            let synced = self.file.sync_data();
            synced.map_err(|source| Error::io(format!("sync {}", self.path.display()), source))?;
        }
        Ok(())
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a transaction is limited far below 4 GiB")
}
