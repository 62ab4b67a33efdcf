//! Snapshot and backup are one format: JSON Lines with a header, a line for each record, and a last line with their count and checksum.
//!
//! Keys are hexadecimal, values the JSON they are. A key may come again when it changed while the backup was written: the later line holds,
//! and one without a value says that the record is gone.

use crate::domain::time::Timestamp;
use crate::store::disk::make_dir;
use crate::store::disk::sync_parent;
use crate::store::engine::BackupInfo;
use crate::store::engine::FIRST;
use crate::store::engine::LAST;
use crate::store::engine::Order;
use crate::store::engine::Reads;
use crate::store::error::Error;
use crate::store::error::Place;
use crate::store::keys;
use serde::Deserialize;
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::Digest;
use sha2::Sha256;
use std::fs::File;
use std::io::BufRead;
use std::io::BufReader;
use std::io::BufWriter;
use std::io::Read;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::path::PathBuf;

/// The schema that is written; those up to it can be read.
const SCHEMA: u32 = 2;

/// No line is longer: a group's limit as hexadecimal, with room for the rest.
const MAX_LINE_BYTES: u64 = 80 << 20;

/// After how many records progress is told.
const PROGRESS_EVERY: u64 = 10_000;

/// Called with each record's key and value, or with the key of one that is gone.
pub type EachRecord<'a> = dyn FnMut(&[u8], Option<&[u8]>) -> Result<(), Error> + 'a;

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    watchkeeper: String,
    schema: u32,
    sequence: u64,
    made_at: String,
}

/// One record. Values that are no JSON on one line are given as `bytes`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Line<'a> {
    key: String,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trailer {
    n_records: u64,
    /// The group the records are of, later than the header's where work went on.
    sequence: u64,
    sha256: String,
}

/// Writes a backup under a temporary name; `finish` gives it its own.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
    sum: Sha256,
    made_at: Timestamp,
    n_records: u64,
    size_bytes: u64,
}

impl Writer {
    pub fn create(path: &Path, sequence: u64, made_at: Timestamp) -> Result<Self, Error> {
        let mut name = path.as_os_str().to_owned();
        name.push(".tmp");
        let temporary = PathBuf::from(name);
        let file = File::create(&temporary);
        let file =
            file.map_err(|source| Error::io(format!("make {}", temporary.display()), source))?;
        let mut writer = Self {
            path: path.to_owned(),
            temporary,
            file: BufWriter::new(file),
            sum: Sha256::new(),
            made_at,
            n_records: 0,
            size_bytes: 0,
        };
        writer.line(&Header {
            watchkeeper: "backup".to_owned(),
            schema: SCHEMA,
            sequence,
            made_at: made_at.to_string(),
        })?;
        Ok(writer)
    }

    /// A record, or that it is gone.
    pub fn record(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        let json = value.and_then(as_json);
        let bytes = value.filter(|_| json.is_none()).map(hex::encode);
        self.n_records += 1;
        self.line(&Line {
            key: hex::encode(key),
            value: json,
            bytes,
        })
    }

    /// Records written so far.
    pub fn n_records(&self) -> u64 {
        self.n_records
    }

    /// Ends the backup. Once this returns, the whole file is on disk under its name.
    pub fn finish(mut self, sequence: u64) -> Result<BackupInfo, Error> {
        let finished = self.put_in_place(sequence);
        if finished.is_err() {
            self.abandon();
        }
        finished
    }

    /// Removes what was written.
    pub fn abandon(self) {
        if let Err(error) = std::fs::remove_file(&self.temporary) {
            tracing::warn!(%error, "{} stays behind", self.temporary.display());
        }
    }

    fn put_in_place(&mut self, sequence: u64) -> Result<BackupInfo, Error> {
        let sha256 = hex::encode(self.sum.clone().finalize());
        let n_records = self.n_records;
        self.line(&Trailer {
            n_records,
            sequence,
            sha256,
        })?;
        let synced = self
            .file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all());
        synced.map_err(|source| self.failed(source))?;
        let renamed = std::fs::rename(&self.temporary, &self.path);
        renamed.map_err(|source| self.failed(source))?;
        sync_parent(&self.path)?;
        Ok(BackupInfo {
            path: self.path.clone(),
            sequence,
            made_at: self.made_at,
            n_records,
            size_bytes: self.size_bytes,
        })
    }

    fn line(&mut self, line: &impl Serialize) -> Result<(), Error> {
        let mut text = serde_json::to_vec(line).expect("keys are texts and values are JSON");
        text.push(b'\n');
        self.sum.update(&text);
        self.size_bytes += u64::try_from(text.len()).unwrap_or(u64::MAX);
        let written = self.file.write_all(&text);
        written.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> Error {
        Error::io(format!("write {}", self.path.display()), source)
    }
}

/// The value as JSON that reads back to the same bytes.
fn as_json(value: &[u8]) -> Option<&RawValue> {
    let json: &RawValue = serde_json::from_slice(value).ok()?;
    // A `null` would read back as no value at all.
    let same = json.get().as_bytes() == value && value != b"null" && !value.contains(&b'\n');
    same.then_some(json)
}

/// Writes every record of a state that stands still.
pub fn write_all(writer: &mut Writer, state: &dyn Reads) -> Result<(), Error> {
    state.scan(FIRST, LAST, Order::Forward, &mut |key, value| {
        if !keys::moves(key) {
            return Ok(ControlFlow::Continue(()));
        }
        writer.record(key, Some(value))?;
        Ok(ControlFlow::Continue(()))
    })
}

/// Reads a whole backup and checks it against its last line.
pub fn verify(path: &Path, progress: &mut dyn FnMut(u64)) -> Result<BackupInfo, Error> {
    read(path, progress, &mut |_key, _value| Ok(()))
}

/// Puts a verified backup into an empty directory as a store's only snapshot; the store builds its state from it when it is opened.
pub fn restore(
    path: &Path,
    store_dir: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<BackupInfo, Error> {
    refuse_unless_empty(store_dir)?;
    let info = verify(path, progress)?;
    let snapshots = store_dir.join(crate::store::sled::SNAPSHOTS);
    make_dir(store_dir)?;
    make_dir(&snapshots)?;
    let to = snapshots.join(crate::store::sled::backup_name(info.sequence));
    let temporary = to.with_extension("tmp");
    let failed = |source| Error::io(format!("write {}", to.display()), source);
    std::fs::copy(path, &temporary).map_err(failed)?;
    let copy = File::open(&temporary).map_err(failed)?;
    copy.sync_all().map_err(failed)?;
    // The copy is what will be read.
    let mut copied = verify(&temporary, progress)?;
    std::fs::rename(&temporary, &to).map_err(failed)?;
    sync_parent(&to)?;
    copied.path = to;
    Ok(copied)
}

pub(crate) fn refuse_unless_empty(dir: &Path) -> Result<(), Error> {
    if !dir.exists() {
        return Ok(());
    }
    let failed = |source| Error::io(format!("list {}", dir.display()), source);
    let mut entries = std::fs::read_dir(dir).map_err(failed)?;
    match entries.next() {
        None => Ok(()),
        Some(_entry) => Err(Error::NotEmpty {
            path: dir.to_owned(),
        }),
    }
}

/// Calls `each` for every line of records and checks the whole. Nothing read is to be trusted before this returns.
pub fn read(
    path: &Path,
    progress: &mut dyn FnMut(u64),
    each: &mut EachRecord<'_>,
) -> Result<BackupInfo, Error> {
    let mut lines = Lines::open(path)?;
    let Some(first) = lines.next()? else {
        return Err(lines.bad("it is empty"));
    };
    let header: Header = lines.parse(&first)?;
    if header.watchkeeper != "backup" {
        return Err(lines.bad("it is no backup"));
    }
    if header.schema > SCHEMA {
        return Err(Error::NewerSchema {
            file: path.to_owned(),
            found: header.schema,
            known: SCHEMA,
        });
    }
    let Ok(made_at) = header.made_at.parse() else {
        return Err(lines.bad("made_at is no time"));
    };
    let mut n_records = 0;
    lines.sum.update(&first);
    loop {
        let Some(text) = lines.next()? else {
            return Err(lines.bad("it ends before its last line"));
        };
        if text.starts_with(b"{\"n_records\"") {
            let trailer: Trailer = lines.parse(&text)?;
            lines.check_end(&trailer, n_records)?;
            return Ok(BackupInfo {
                path: path.to_owned(),
                sequence: trailer.sequence,
                made_at,
                n_records,
                size_bytes: lines.size_bytes,
            });
        }
        lines.sum.update(&text);
        let line: Line<'_> = lines.parse(&text)?;
        let key = hex::decode(&line.key);
        let bytes = line.bytes.map(hex::decode).transpose();
        let (Ok(key), Ok(bytes)) = (key, bytes) else {
            return Err(lines.bad("a key or value is not hexadecimal"));
        };
        let json = line.value.map(|json| json.get().as_bytes());
        each(&key, json.or(bytes.as_deref()))?;
        n_records += 1;
        if n_records % PROGRESS_EVERY == 0 {
            progress(n_records);
        }
    }
}

/// The lines of a file, and the checksum of those that were taken into it.
struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    sum: Sha256,
    number: u64,
    size_bytes: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path);
        let file = file.map_err(|source| Error::io(format!("read {}", path.display()), source))?;
        Ok(Self {
            path: path.to_owned(),
            file: BufReader::new(file),
            sum: Sha256::new(),
            number: 0,
            size_bytes: 0,
        })
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let mut text = Vec::new();
        let read = Read::take(&mut self.file, MAX_LINE_BYTES).read_until(b'\n', &mut text);
        let n =
            read.map_err(|source| Error::io(format!("read {}", self.path.display()), source))?;
        if n == 0 {
            return Ok(None);
        }
        self.number += 1;
        if text.last() != Some(&b'\n') {
            return Err(self.bad("the line is cut short"));
        }
        self.size_bytes += u64::try_from(n).unwrap_or(u64::MAX);
        Ok(Some(text))
    }

    fn parse<'t, T: Deserialize<'t>>(&self, text: &'t [u8]) -> Result<T, Error> {
        match serde_json::from_slice(text) {
            Ok(parsed) => Ok(parsed),
            Err(error) => Err(self.bad(&error.to_string())),
        }
    }

    fn check_end(&mut self, trailer: &Trailer, n_records: u64) -> Result<(), Error> {
        if trailer.n_records != n_records {
            let wanted = trailer.n_records;
            return Err(self.bad(&format!(
                "it should hold {wanted} records and holds {n_records}"
            )));
        }
        if trailer.sha256 != hex::encode(self.sum.clone().finalize()) {
            return Err(self.bad("the checksum does not match"));
        }
        match self.next()? {
            None => Ok(()),
            Some(_more) => Err(self.bad("something follows its last line")),
        }
    }

    fn bad(&self, why: &str) -> Error {
        Error::Corrupt {
            file: self.path.clone(),
            place: Place::Line(self.number),
            why: why.to_owned(),
        }
    }
}
