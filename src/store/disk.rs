//! What the store asks of the disk: room, syncs, whole files; and the faults a test may ask for.

use crate::store::error::Error;
use rustix::fs::FallocateFlags;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

/// What goes wrong, for tests of what cannot be had on demand. Nothing does by default.
#[derive(Debug)]
pub struct Faults {
    /// Bytes that may still be allocated.
    pub room_bytes: AtomicU64,
    /// The next write of a frame finds the disk full half-way.
    pub half_written: AtomicBool,
    /// Syncs fail.
    pub sync_fails: AtomicBool,
    /// Writes, syncs and allocations that still work; those after them fail, and a write leaves half of it behind.
    pub works_for: AtomicU64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            room_bytes: AtomicU64::new(u64::MAX),
            half_written: AtomicBool::new(false),
            sync_fails: AtomicBool::new(false),
            works_for: AtomicU64::new(u64::MAX),
        }
    }
}

impl Faults {
    /// Counts one of what is asked of the disk.
    fn work(&self) -> Result<(), io::Error> {
        let counted = self
            .works_for
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| match left {
                u64::MAX => Some(left),
                _ => left.checked_sub(1),
            });
        match counted {
            Ok(_) => Ok(()),
            Err(_none_left) => Err(io::Error::other("a fault was asked for")),
        }
    }

    /// Gives `file` its first `bytes` bytes on disk, so that writing them needs no room. False: this file system cannot.
    pub(crate) fn allocate(&self, file: &File, bytes: u64) -> Result<bool, io::Error> {
        self.work()?;
        let taken = self
            .room_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| match room {
                u64::MAX => Some(room),
                _ => room.checked_sub(bytes),
            });
        if taken.is_err() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes note that `bytes` were given back.
    pub(crate) fn released(&self, bytes: u64) {
        if self.room_bytes.load(Ordering::Relaxed) != u64::MAX {
            self.room_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> Result<(), io::Error> {
        let fault = if self.half_written.swap(false, Ordering::Relaxed) {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            self.work()
        };
        let Err(fault) = fault else {
            return file.write_all_at(bytes, offset);
        };
        let (half, _lost) = bytes.split_at(bytes.len() / 2);
        file.write_all_at(half, offset)?;
        Err(fault)
    }

    pub(crate) fn sync_data(&self, file: &File) -> Result<(), io::Error> {
        if self.sync_fails.load(Ordering::Relaxed) {
            return Err(io::Error::other("a fault was asked for"));
        }
        self.work()?;
        file.sync_data()
    }
}

/// Nothing of that name is there.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Error> {
    let synced = File::open(dir).and_then(|opened| opened.sync_all());
    synced.map_err(|source| Error::io(format!("sync {}", dir.display()), source))
}

/// Makes a directory, durably.
pub(crate) fn make_dir(dir: &Path) -> Result<(), Error> {
    if dir.is_dir() {
        return Ok(());
    }
    let made = std::fs::create_dir_all(dir);
    made.map_err(|source| Error::io(format!("make {}", dir.display()), source))?;
    match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_dir(Path::new(".")),
        Some(parent) => sync_dir(parent),
        None => Ok(()),
    }
}

/// Brings every file below a directory, and the directories themselves, to disk.
pub(crate) fn sync_tree(dir: &Path) -> Result<(), Error> {
    let failed = |source| Error::io(format!("sync {}", dir.display()), source);
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            sync_tree(&path)?;
            continue;
        }
        match File::open(&path).and_then(|file| file.sync_data()) {
            Ok(()) => {}
            // sled removes what it no longer needs while it works.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(format!("sync {}", path.display()), error)),
        }
    }
    sync_dir(dir)
}

/// Puts a whole file in place durably: all of `bytes`, or what was there before.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = path.with_extension("tmp");
    let failed = |source| Error::io(format!("write {}", path.display()), source);
    let file = File::create(&temporary).map_err(failed)?;
    file.write_all_at(bytes, 0).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)?;
    sync_parent(path)
}

/// Makes the name of `path` durable.
pub(crate) fn sync_parent(path: &Path) -> Result<(), Error> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        Some(_) | None => sync_dir(Path::new(".")),
    }
}

/// Bytes a user of the system may still write where `dir` is.
pub(crate) fn free_bytes(dir: &Path) -> Result<u64, Error> {
    match rustix::fs::statvfs(dir) {
        Ok(found) => Ok(found.f_bavail.saturating_mul(found.f_frsize)),
        Err(error) => Err(Error::io(
            format!("ask how full {} is", dir.display()),
            error.into(),
        )),
    }
}
