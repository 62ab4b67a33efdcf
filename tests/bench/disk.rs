//! What the disk itself can do, and what lies on it.

use crate::load::{latencies, record};
use crate::table::{Cell, Table};
use anyhow::Context;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tokio::time::Instant;

const APPEND_BYTES: usize = 4096;

/// Syncs of one measurement.
const APPENDS: usize = 200;

/// Appends of 4 KiB, each followed by fdatasync, in the directory where the servers keep theirs.
#[derive(Debug)]
pub(crate) struct Syncs(Histogram<u64>);

impl Syncs {
    pub(crate) fn new() -> Self {
        Self(latencies())
    }

    /// Measures once more; nothing else may run meanwhile.
    pub(crate) fn measure(&mut self, directory: &Path) -> anyhow::Result<()> {
        let mut file = tempfile::tempfile_in(directory)?;
        let bytes = [b'x'; APPEND_BYTES];
        for _ in 0..APPENDS {
            let began = Instant::now();
            file.write_all(&bytes)?;
            file.sync_data()?;
            record(&mut self.0, began.elapsed());
        }
        Ok(())
    }

    /// The machine in a line.
    pub(crate) fn table(&self, directory: &Path) -> anyhow::Result<Table> {
        let mut table = Table::new(
            "The machine",
            &[
                "cores",
                "load",
                "directory's file system",
                "fdatasync p50 ms",
                "p99 ms",
                "count",
            ],
        );
        let cores = std::thread::available_parallelism()?.get();
        let load = fs::read_to_string("/proc/loadavg")?;
        let load: Vec<&str> = load.split(' ').take(3).collect();
        table.row(vec![
            Cell::count(u64::try_from(cores)?),
            Cell::text(load.join(" ")),
            Cell::text(file_system(directory)?),
            Cell::ms(self.0.value_at_quantile(0.5)),
            Cell::ms(self.0.value_at_quantile(0.99)),
            Cell::count(self.0.len()),
        ]);
        Ok(table)
    }
}

/// `ext4`: that of the longest mount point above a directory.
fn file_system(directory: &Path) -> anyhow::Result<String> {
    let directory = directory.canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let above = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind) = (fields.next()?, fields.next()?);
        directory.starts_with(place).then_some((place.len(), kind))
    });
    let longest = above.max_by_key(|(length, _)| *length);
    Ok(longest.context("no mount point above")?.1.to_owned())
}

/// Bytes on disk below each entry of a directory; what is removed meanwhile is not there.
pub(crate) fn by_entry(directory: &Path) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        found.insert(name, allocated(&entry.path())?);
    }
    Ok(found)
}

/// Bytes on disk of a file, or of all below a directory.
pub(crate) fn allocated(path: &Path) -> anyhow::Result<u64> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = found.blocks() * 512;
    if found.is_dir() {
        for entry in fs::read_dir(path)? {
            bytes += allocated(&entry?.path())?;
        }
    }
    Ok(bytes)
}
