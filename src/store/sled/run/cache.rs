//! Blocks that were read last, unpacked: what is asked every second, as what is due next, costs no decompression.

use lru::LruCache;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// Blocks that are kept.
const BLOCKS_MAX: NonZeroUsize = NonZeroUsize::new(512).expect("a number that is not 0");

/// A block that is larger than an ordinary one is not kept, so that the bound is one of bytes, too.
const KEPT_BYTES_MAX: usize = 32 << 10;

/// A run, as blocks are remembered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RunId(u64);

type Blocks = LruCache<(RunId, usize), Arc<[u8]>>;

/// Shared by the runs of one state.
#[derive(Debug)]
pub(in crate::store::sled) struct BlockCache {
    blocks: Mutex<Blocks>,
    next: AtomicU64,
}

impl Default for BlockCache {
    fn default() -> Self {
        Self {
            blocks: Mutex::new(LruCache::new(BLOCKS_MAX)),
            next: AtomicU64::new(0),
        }
    }
}

impl BlockCache {
    pub(super) fn new_run(&self) -> RunId {
        RunId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn get(&self, run: RunId, block: usize) -> Option<Arc<[u8]>> {
        self.lock().get(&(run, block)).map(Arc::clone)
    }

    pub(super) fn keep(&self, run: RunId, block: usize, raw: &Arc<[u8]>) {
        if raw.len() <= KEPT_BYTES_MAX {
            let dropped = self.lock().push((run, block), Arc::clone(raw));
            drop(dropped);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Blocks> {
        // What it holds are copies of what is on disk.
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
