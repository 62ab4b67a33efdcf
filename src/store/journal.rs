//! The record: frames appended to segment files, each checksummed and synced before anybody is answered.
//!
//! A segment is named by the sequence of its first frame. A frame is its payload's length (4 bytes), a CRC-32C of all that follows (4),
//! its sequence (8), the payload's schema (4) and the payload, numbers big-endian. Segments are preallocated: zeros follow the last frame.

mod walk;

use crate::store::disk::Faults;
use crate::store::disk::make_dir;
use crate::store::disk::sync_dir;
use crate::store::error::Error;
use crate::store::error::is_full;
use crate::store::group::SCHEMA;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
pub use walk::Cut;
pub use walk::EachFrame;
pub use walk::Segment;
pub use walk::replay;
pub use walk::segments;

/// No frame holds more; groups are limited well below.
pub const MAX_PAYLOAD_BYTES: usize = 32 << 20;

/// What is kept of the memory that a frame was put together in.
const FRAME_KEPT_BYTES: usize = 1 << 20;

/// Length, checksum, sequence, schema.
const HEADER_BYTES: usize = 20;

/// What the engine may write when there is no room: a file that only holds it.
const RESERVE: &str = "reserve";

/// Sizes of the journal's files.
#[derive(Clone, Debug)]
pub struct Limits {
    pub segment_bytes: u64,
    pub reserve_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            segment_bytes: 32 << 20,
            reserve_bytes: 64 << 20,
        }
    }
}

/// Whether a frame may be written into the reserve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    Ordinary,
    Reserve,
}

/// The open journal. One thread owns it.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    limits: Limits,
    faults: Arc<Faults>,
    /// The segment frames go to; none before the first.
    last: Option<Open>,
    next: u64,
    reserve: Reserve,
    poisoned: Option<String>,
    /// Where frames are put together.
    frame: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    /// Where the next frame goes.
    end: u64,
    /// How far the file may grow.
    allocated: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reserve {
    Whole,
    Used,
}

impl Journal {
    /// Opens the journal of `dir`, made where there is none, and calls `each` for every frame in order.
    /// What follows the last whole frame of the last segment is cut off; damage anywhere else is an error with its place.
    /// Where there is no frame at all, the first to come is `after + 1`.
    pub fn open(
        dir: &Path,
        after: u64,
        limits: Limits,
        faults: Arc<Faults>,
        each: &mut EachFrame<'_>,
    ) -> Result<(Self, Option<Cut>), Error> {
        make_dir(dir)?;
        let found = segments(dir)?;
        let walked = walk::walk(&found, 0, u64::MAX, each)?;
        let mut journal = Self {
            dir: dir.to_owned(),
            limits,
            faults,
            last: None,
            next: walked.next.unwrap_or(after + 1),
            reserve: Reserve::Used,
            poisoned: None,
            frame: Vec::new(),
        };
        if let Some(segment) = found.last() {
            journal.last =
                Some(journal.continue_segment(segment, walked.end, walked.cut.is_some())?);
        }
        journal.remake_reserve()?;
        Ok((journal, walked.cut))
    }

    /// Appends a frame. Once this returns its sequence, the frame survives a power cut.
    /// `Full`: nothing was written, and the journal can be used as before.
    pub fn append(&mut self, payload: &[u8], room: Room) -> Result<u64, Error> {
        self.append_with(|frame| frame.extend_from_slice(payload), room)
    }

    /// The same with a payload that is written where the frame is put together.
    pub fn append_with(
        &mut self,
        payload: impl FnOnce(&mut Vec<u8>),
        room: Room,
    ) -> Result<u64, Error> {
        if let Some(why) = &self.poisoned {
            return Err(Error::Poisoned { why: why.clone() });
        }
        let mut frame = std::mem::take(&mut self.frame);
        begin_frame(&mut frame, self.next);
        payload(&mut frame);
        let appended = self.append_frame(&mut frame, room);
        frame.shrink_to(FRAME_KEPT_BYTES);
        self.frame = frame;
        appended
    }

    fn append_frame(&mut self, frame: &mut [u8], room: Room) -> Result<u64, Error> {
        let bytes = frame.len() - HEADER_BYTES;
        if bytes > MAX_PAYLOAD_BYTES {
            let most = MAX_PAYLOAD_BYTES;
            return Err(Error::TooLarge { bytes, most });
        }
        // A length of zero is how a reader knows that nothing was written: such a frame could not be read again.
        debug_assert!(bytes > 0, "a group says something");
        end_frame(frame);
        match self.write(frame) {
            Err(Error::Full) if room == Room::Reserve && self.release_reserve()? => {
                self.write(frame)?;
            }
            written => written?,
        }
        let sequence = self.next;
        self.next += 1;
        Ok(sequence)
    }

    /// The sequence of the last frame, or what came before the first.
    pub fn sequence(&self) -> u64 {
        self.next - 1
    }

    /// Whether the engine's reserve is whole, remade if there is room again. Intake is refused while it is not.
    pub fn reserve_is_whole(&mut self) -> Result<bool, Error> {
        if self.reserve == Reserve::Used {
            self.remake_reserve()?;
        }
        Ok(self.reserve == Reserve::Whole)
    }

    /// Bytes held in reserve.
    pub fn reserve_bytes(&self) -> u64 {
        match self.reserve {
            Reserve::Whole => self.limits.reserve_bytes,
            Reserve::Used => 0,
        }
    }

    /// Why nothing is written any more.
    pub fn poisoned(&self) -> Option<&str> {
        self.poisoned.as_deref()
    }

    fn write(&mut self, frame: &[u8]) -> Result<(), Error> {
        let bytes = u64::try_from(frame.len()).unwrap_or(u64::MAX);
        let fits = |open: &Open| open.end.saturating_add(bytes) <= open.allocated;
        if !self.last.as_ref().is_some_and(fits) {
            self.begin_segment(bytes)?;
        }
        let open = self.last.as_mut().expect("a segment was begun above");
        if let Err(error) = self.faults.write_at(&open.file, frame, open.end) {
            let what = format!("write {}", open.path.display());
            return Err(self.take_back(what, error));
        }
        if let Err(error) = self.faults.sync_data(&open.file) {
            let what = format!("sync {}", open.path.display());
            return Err(self.poison(what, error));
        }
        open.end += bytes;
        Ok(())
    }

    /// Undoes a frame of which a part may be written: only for want of room, which the file system told in time.
    fn take_back(&mut self, what: String, error: io::Error) -> Error {
        let Some(open) = self.last.as_mut().filter(|_| is_full(&error)) else {
            return self.poison(what, error);
        };
        let allocated = open.allocated;
        let cut = open.file.set_len(open.end);
        // Synced, or a torn frame could be found in a segment that is no longer the last.
        if let Err(error) = cut.and_then(|()| self.faults.sync_data(&open.file)) {
            return self.poison(what, error);
        }
        match self.faults.allocate(&open.file, allocated) {
            Ok(_) => Error::Full,
            Err(error) if is_full(&error) => {
                // The rest of the file is not ours any more.
                open.allocated = open.end;
                Error::Full
            }
            Err(error) => self.poison(what, error),
        }
    }

    /// From now on everything is refused: a failed sync may have lost what the kernel held, and a second one would not tell.
    fn poison(&mut self, what: String, source: io::Error) -> Error {
        tracing::error!(error = %source, "cannot {what}: the store takes no more writes");
        self.poisoned = Some(format!("cannot {what}"));
        Error::Io { what, source }
    }

    fn begin_segment(&mut self, frame_bytes: u64) -> Result<(), Error> {
        let path = self.dir.join(walk::file_name(self.next));
        let allocated = self.limits.segment_bytes.max(frame_bytes);
        let file = match self.allocate_file(&path, allocated) {
            Ok(file) => file,
            Err(error) => {
                // Should the name be there after a crash, it must be that of the next frame: nothing more goes into the segment before.
                if let Some(before) = self.last.as_mut() {
                    before.allocated = before.end;
                }
                if let Err(source) = std::fs::remove_file(&path) {
                    tracing::debug!(error = %source, "{} stays behind", path.display());
                }
                return Err(Error::io(format!("make {}", path.display()), error));
            }
        };
        let synced = file.sync_all();
        if let Err(error) = synced {
            return Err(self.poison(format!("sync {}", path.display()), error));
        }
        if let Err(error) = File::open(&self.dir).and_then(|dir| dir.sync_all()) {
            return Err(self.poison(format!("sync {}", self.dir.display()), error));
        }
        if let Some(full) = self.last.take().filter(|full| full.path != path) {
            // Only saves room; zeros there say the same.
            if let Err(error) = full.file.set_len(full.end) {
                tracing::debug!(%error, "{} keeps its unused end", full.path.display());
            }
        }
        self.last = Some(Open {
            file,
            path,
            end: 0,
            allocated,
        });
        Ok(())
    }

    fn allocate_file(&self, path: &Path, bytes: u64) -> Result<File, io::Error> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).open(path)?;
        self.faults.allocate(&file, bytes)?;
        Ok(file)
    }

    /// Goes on in the last segment of before, with everything after its last whole frame zero.
    fn continue_segment(&self, segment: &Segment, end: u64, torn: bool) -> Result<Open, Error> {
        let path = segment.path.clone();
        let failed = |source| Error::io(format!("continue {}", path.display()), source);
        let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
        let mut allocated = file.metadata().map_err(failed)?.len();
        if torn {
            file.set_len(end).map_err(failed)?;
            allocated = end;
        }
        // What a killed process wrote may not be on disk yet.
        file.sync_all().map_err(failed)?;
        sync_dir(&self.dir)?;
        Ok(Open {
            file,
            path,
            end,
            allocated,
        })
    }

    fn remake_reserve(&mut self) -> Result<(), Error> {
        let path = self.dir.join(RESERVE);
        let wanted = self.limits.reserve_bytes;
        let failed = |source| Error::io(format!("make {}", path.display()), source);
        let there = std::fs::metadata(&path).map_or(0, |found| found.len());
        if there != wanted {
            match self.allocate_file(&path, wanted) {
                Ok(file) => file.sync_all().map_err(failed)?,
                Err(error) if is_full(&error) => {
                    // A part of the reserve is none, and would keep others from the room.
                    return match File::create(&path) {
                        Ok(_emptied) => Ok(()),
                        Err(error) if is_full(&error) => Ok(()),
                        Err(error) => Err(failed(error)),
                    };
                }
                Err(error) => return Err(failed(error)),
            }
        }
        self.reserve = Reserve::Whole;
        Ok(())
    }

    /// Gives the reserve's room to what comes next. False: it was given away before.
    fn release_reserve(&mut self) -> Result<bool, Error> {
        if self.reserve == Reserve::Used {
            return Ok(false);
        }
        give_up_reserve(&self.dir)?;
        self.faults.released(self.limits.reserve_bytes);
        self.reserve = Reserve::Used;
        tracing::warn!("the disk is full: the engine writes into its reserve, intake is refused");
        Ok(true)
    }
}

/// Gives the reserve of a closed journal back to the disk; the journal makes it again when there is room.
pub fn give_up_reserve(dir: &Path) -> Result<(), Error> {
    let path = dir.join(RESERVE);
    let emptied = File::create(&path).and_then(|file| file.sync_all());
    emptied.map_err(|source| Error::io(format!("empty {}", path.display()), source))
}

/// Removes the segments of which every frame is at or before `covered`; never the last. Returns how many went.
pub fn remove_covered(dir: &Path, covered: u64) -> Result<usize, Error> {
    let found = segments(dir)?;
    let mut n_removed = 0;
    for (segment, next) in found.iter().zip(found.iter().skip(1)) {
        if next.first > covered.saturating_add(1) {
            break;
        }
        let path = &segment.path;
        let removed = std::fs::remove_file(path);
        removed.map_err(|source| Error::io(format!("remove {}", path.display()), source))?;
        n_removed += 1;
    }
    if n_removed > 0 {
        sync_dir(dir)?;
    }
    Ok(n_removed)
}

/// The header of a frame, with room for what depends on the payload.
fn begin_frame(frame: &mut Vec<u8>, sequence: u64) {
    frame.clear();
    frame.extend_from_slice(&[0; 8]);
    frame.extend_from_slice(&sequence.to_be_bytes());
    frame.extend_from_slice(&SCHEMA.to_be_bytes());
}

/// Length and checksum, now that the payload is there.
fn end_frame(frame: &mut [u8]) {
    let length = u32::try_from(frame.len() - HEADER_BYTES);
    let length = length.expect("a payload is at most MAX_PAYLOAD_BYTES");
    let (head, checked) = frame.split_at_mut(8);
    let checksum = walk::checksum(length, checked);
    let (of_length, of_checksum) = head.split_at_mut(4);
    of_length.copy_from_slice(&length.to_be_bytes());
    of_checksum.copy_from_slice(&checksum.to_be_bytes());
}
