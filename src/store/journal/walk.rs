//! Reading the journal: frames in order, and what is wrong where one is not whole.

use crate::store::error::Error;
use crate::store::group::SCHEMA;
use crate::store::journal::HEADER_BYTES;
use crate::store::journal::MAX_PAYLOAD_BYTES;
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::io::Read;
use std::io::Seek;
use std::io::SeekFrom;
use std::path::Path;
use std::path::PathBuf;

const SUFFIX: &str = ".journal";

/// How much is read at a time.
const BUFFER_BYTES: usize = 256 << 10;

/// Called with the sequence and the payload of a frame.
pub type EachFrame<'a> = dyn FnMut(u64, &[u8]) -> Result<(), Error> + 'a;

/// A file of frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The sequence of its first frame.
    pub first: u64,
    pub path: PathBuf,
    pub size_bytes: u64,
}

/// What was cut off the end of the journal: a frame that was being written when the process or the machine stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    pub path: PathBuf,
    pub offset: u64,
    /// What would have been its sequence.
    pub sequence: u64,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            offset,
            sequence,
        } = self;
        write!(
            f,
            "group {sequence} was not wholly written: cut off {} at byte {offset}",
            path.display()
        )
    }
}

pub(super) fn file_name(first: u64) -> String {
    format!("{first:020}{SUFFIX}")
}

/// The segments of a directory in order; none where there is no directory.
pub fn segments(dir: &Path) -> Result<Vec<Segment>, Error> {
    let failed = |source| Error::io(format!("list {}", dir.display()), source);
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
        if let Some(first) = number.and_then(|number| number.parse().ok()) {
            found.push(Segment {
                first,
                path: entry.path(),
                size_bytes: entry.metadata().map_err(failed)?.len(),
            });
        }
    }
    found.sort_by_key(|segment| segment.first);
    Ok(found)
}

/// Calls `each` for the frames with `from <= sequence <= to`. While the journal is written to, `to` must be durable.
pub fn replay(dir: &Path, from: u64, to: u64, each: &mut EachFrame<'_>) -> Result<(), Error> {
    let found = segments(dir)?;
    let skipped = found.iter().skip(1).take_while(|next| next.first <= from);
    let wanted = found.get(skipped.count()..).unwrap_or_default();
    let mut n_read = 0;
    walk(wanted, from, to, &mut |sequence, payload| {
        n_read += 1;
        each(sequence, payload)
    })?;
    let n_wanted = to.saturating_add(1).saturating_sub(from);
    if to < u64::MAX && n_read < n_wanted {
        let why = format!("it has {n_read} of the groups {from} to {to}");
        return Err(Error::damaged(dir, why));
    }
    Ok(())
}

/// Where the frames end.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// The sequence after the last frame; none where there are no segments.
    pub(super) next: Option<u64>,
    /// Where in the last segment the next frame goes.
    pub(super) end: u64,
    pub(super) cut: Option<Cut>,
}

pub(super) fn walk(
    segments: &[Segment],
    from: u64,
    to: u64,
    each: &mut EachFrame<'_>,
) -> Result<Walked, Error> {
    let mut walked = Walked::default();
    for (index, segment) in segments.iter().enumerate() {
        let is_last = index + 1 == segments.len();
        let expected = walked.next.unwrap_or(segment.first);
        if segment.first != expected {
            let first = segment.first;
            let why = format!("it begins with group {first} where {expected} was expected");
            return Err(Error::at(&segment.path, 0, why));
        }
        let mut reader = Reader::open(segment)?;
        while reader.next <= to {
            match reader.frame()? {
                Some((sequence, payload)) if sequence >= from => each(sequence, payload)?,
                Some(_skipped) => {}
                None => break,
            }
        }
        if reader.next > to {
            return Ok(walked);
        }
        walked.cut = reader.tail(is_last)?;
        walked.end = reader.offset;
        walked.next = Some(reader.next);
    }
    Ok(walked)
}

/// Reads one segment. `frame` returns nothing at the end of what is whole.
struct Reader<'a> {
    segment: &'a Segment,
    file: BufReader<File>,
    size: u64,
    offset: u64,
    next: u64,
    payload: Vec<u8>,
    why: &'static str,
}

impl<'a> Reader<'a> {
    fn open(segment: &'a Segment) -> Result<Self, Error> {
        let failed = |source| Error::io(format!("read {}", segment.path.display()), source);
        let file = File::open(&segment.path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        Ok(Self {
            segment,
            file: BufReader::with_capacity(BUFFER_BYTES, file),
            size,
            offset: 0,
            next: segment.first,
            payload: Vec::new(),
            why: "the frame is cut short",
        })
    }

    fn frame(&mut self) -> Result<Option<(u64, &[u8])>, Error> {
        let left = self.size.saturating_sub(self.offset);
        if left < wide(HEADER_BYTES) {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES];
        self.read(&mut header)?;
        let header = Header::parse(&header);
        if header.length == 0 || header.length > MAX_PAYLOAD_BYTES {
            self.why = "a frame of impossible length";
            return Ok(None);
        }
        let size = wide(HEADER_BYTES + header.length);
        if left < size {
            return Ok(None);
        }
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(header.length, 0);
        self.read(&mut payload)?;
        self.payload = payload;
        if !header.matches(&self.payload) {
            self.why = "the checksum does not match";
            return Ok(None);
        }
        self.accept(&header)?;
        self.offset += size;
        self.next += 1;
        Ok(Some((header.sequence, &self.payload)))
    }

    /// A whole frame must be the one expected, in a schema that is known.
    fn accept(&self, header: &Header) -> Result<(), Error> {
        let Header {
            sequence, schema, ..
        } = *header;
        let path = &self.segment.path;
        if sequence != self.next {
            let why = format!("it holds group {sequence} where {} was expected", self.next);
            return Err(Error::at(path, self.offset, why));
        }
        if schema > SCHEMA {
            return Err(Error::NewerSchema {
                file: path.clone(),
                found: schema,
                known: SCHEMA,
            });
        }
        Ok(())
    }

    /// Judges what follows the last whole frame: nothing, a frame torn by a crash, or damage.
    fn tail(&mut self, is_last: bool) -> Result<Option<Cut>, Error> {
        if !self.anything_follows()? {
            return Ok(None);
        }
        let path = &self.segment.path;
        if !is_last {
            return Err(Error::at(path, self.offset, self.why));
        }
        // At most one frame can be torn: the next is begun only when the one before is synced.
        if let Some(after) = self.whole_frame_follows()? {
            let why = format!("{}, and a whole one follows at byte {after}", self.why);
            return Err(Error::at(path, self.offset, why));
        }
        Ok(Some(Cut {
            path: path.clone(),
            offset: self.offset,
            sequence: self.next,
        }))
    }

    fn anything_follows(&mut self) -> Result<bool, Error> {
        self.seek(self.offset)?;
        let zeros = vec![0; BUFFER_BYTES];
        let mut buffer = zeros.clone();
        loop {
            let n = self.file.read(&mut buffer);
            let n = n.map_err(|source| self.failed(source))?;
            if n == 0 {
                return Ok(false);
            }
            // Slices compare as memory does, which a loop over bytes does not: most of a segment may be zeros.
            if buffer.get(..n) != zeros.get(..n) {
                return Ok(true);
            }
        }
    }

    /// Where a whole frame stands after the bad one. A segment is small enough to be held.
    fn whole_frame_follows(&mut self) -> Result<Option<u64>, Error> {
        self.seek(self.offset)?;
        let mut rest = Vec::new();
        let read = self.file.read_to_end(&mut rest);
        read.map_err(|source| self.failed(source))?;
        let plausible = self.next..=self.next.saturating_add(wide(rest.len()));
        for (at, window) in rest.windows(HEADER_BYTES).enumerate() {
            let Ok(window) = window.try_into() else {
                continue;
            };
            let header = Header::parse(window);
            if header.length == 0
                || header.length > MAX_PAYLOAD_BYTES
                || !plausible.contains(&header.sequence)
            {
                continue;
            }
            let start = at + HEADER_BYTES;
            let payload = rest.get(start..start + header.length);
            if payload.is_some_and(|payload| header.matches(payload)) {
                return Ok(Some(self.offset + wide(at)));
            }
        }
        Ok(None)
    }

    fn read(&mut self, into: &mut [u8]) -> Result<(), Error> {
        let read = self.file.read_exact(into);
        read.map_err(|source| self.failed(source))
    }

    fn seek(&mut self, to: u64) -> Result<(), Error> {
        let sought = self.file.seek(SeekFrom::Start(to));
        sought.map(|_at| ()).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::io(format!("read {}", self.segment.path.display()), source)
    }
}

/// The head of a frame.
#[derive(Debug)]
struct Header {
    length: usize,
    checksum: u32,
    sequence: u64,
    schema: u32,
}

impl Header {
    fn parse(bytes: &[u8; HEADER_BYTES]) -> Self {
        let [l0, l1, l2, l3, c0, c1, c2, c3, q @ .., s0, s1, s2, s3] = *bytes;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        Self {
            length: usize::try_from(length).unwrap_or(usize::MAX),
            checksum: u32::from_be_bytes([c0, c1, c2, c3]),
            sequence: u64::from_be_bytes(q),
            schema: u32::from_be_bytes([s0, s1, s2, s3]),
        }
    }

    fn matches(&self, payload: &[u8]) -> bool {
        let Ok(length) = u32::try_from(self.length) else {
            return false;
        };
        let mut sum = crc32c::crc32c(&length.to_be_bytes());
        sum = crc32c::crc32c_append(sum, &self.sequence.to_be_bytes());
        sum = crc32c::crc32c_append(sum, &self.schema.to_be_bytes());
        crc32c::crc32c_append(sum, payload) == self.checksum
    }
}

/// The checksum of a frame: over its length and what follows the checksum.
pub(super) fn checksum(length: u32, after: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length.to_be_bytes()), after)
}

fn wide(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
