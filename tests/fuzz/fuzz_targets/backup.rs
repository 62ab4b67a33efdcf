//! Backups: a whole one gives back what was written; one that was changed in any byte is refused, with its line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs;
use std::path::Path;
use watchkeeper::domain::time::Timestamp;
use watchkeeper::store::Error;
use watchkeeper::store::backup::{Writer, read};

type Records = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn records_of(path: &Path) -> Result<Records, Error> {
    let mut found = Records::new();
    read(path, &mut |_n| {}, &mut |key, value| {
        found.push((key.to_vec(), value.map(<[u8]>::to_vec)));
        Ok(())
    })?;
    Ok(found)
}

fn write(path: &Path, records: &Records) -> Result<(), Error> {
    let mut writer = Writer::create(path, 7, Timestamp::EPOCH)?;
    for (key, value) in records {
        writer.record(key, value.as_deref())?;
    }
    writer.finish(7).map(drop)
}

fuzz_target!(|data: &[u8]| {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("backup");
    let Some((mode, data)) = data.split_first() else {
        return;
    };
    if mode % 2 == 0 {
        fs::write(&path, data).expect("it is written");
        match records_of(&path) {
            Ok(_) | Err(Error::Corrupt { .. } | Error::NewerSchema { .. }) => return,
            Err(other) => panic!("damage is told as damage, found {other:?}"),
        }
    }
    // Records that the fuzzer chose: keys and values by turns; an empty value is one that is gone.
    let parts: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
    let (damage, parts) = parts.split_last().expect("a split gives one part at least");
    let records: Records = parts
        .chunks(2)
        .map(|pair| {
            let value = pair.get(1).filter(|value| !value.is_empty());
            (pair[0].to_vec(), value.map(|value| value.to_vec()))
        })
        .collect();
    write(&path, &records).expect("there is room");
    assert_eq!(records_of(&path).expect("it is whole"), records);
    let written = fs::read(&path).expect("it is there");
    let mut bytes = written.clone();
    for pair in damage.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([pair[0], pair[1]])) % bytes.len();
        bytes[at] ^= pair[2];
    }
    if bytes != written {
        fs::write(&path, &bytes).expect("it is written");
        match records_of(&path) {
            // Other white space of the last line, which is no part of what was summed, is the same backup.
            Ok(found) => assert_eq!(found, records),
            Err(Error::Corrupt { .. } | Error::NewerSchema { .. }) => {}
            Err(other) => panic!("damage is told as damage, found {other:?}"),
        }
    }
});
