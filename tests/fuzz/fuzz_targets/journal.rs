//! The journal: a damaged file gives its whole frames in order and nothing else, and goes on after them.
//!
//! The checksums keep a fuzzer out, so that it damages frames that were really written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use watchkeeper::store::Error;
use watchkeeper::store::disk::Faults;
use watchkeeper::store::journal::{Journal, Limits, Room, segments};

const PAYLOADS: [&[u8]; 4] = [
    b"first",
    b"2",
    b"the third is longer than the others",
    b"last",
];

fn limits() -> Limits {
    Limits {
        segment_bytes: 256,
        reserve_bytes: 64,
    }
}

fn open(dir: &Path) -> Result<(Journal, Vec<Vec<u8>>), Error> {
    let mut frames = Vec::new();
    let opened = Journal::open(
        dir,
        0,
        limits(),
        Arc::new(Faults::default()),
        &mut |sequence, payload| {
            assert_eq!(
                usize::try_from(sequence),
                Ok(frames.len() + 1),
                "frames come in order"
            );
            frames.push(payload.to_vec());
            Ok(())
        },
    );
    opened.map(|(journal, _cut)| (journal, frames))
}

fn path_of_last(dir: &Path) -> std::path::PathBuf {
    let all = segments(dir).expect("they are listed");
    all.last().expect("there is one").path.clone()
}

fuzz_target!(|data: &[u8]| {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let Some((mode, data)) = data.split_first() else {
        return;
    };
    let (mut journal, _) = open(dir).expect("an empty journal opens");
    for payload in PAYLOADS {
        journal
            .append(payload, Room::Ordinary)
            .expect("there is room");
    }
    drop(journal);
    let path = path_of_last(dir);
    let written = fs::read(&path).expect("it is there");
    let mut bytes = written.clone();
    match mode % 3 {
        // The file as the fuzzer says.
        0 => bytes = data.to_vec(),
        // Bytes that were turned: a place and what is laid over it.
        1 => {
            for pair in data.chunks_exact(2) {
                let at = usize::from(pair[0]) % bytes.len();
                bytes[at] ^= pair[1];
            }
        }
        // Cut, and something else after it.
        _ => {
            bytes.truncate(usize::from(data.first().copied().unwrap_or(0)) % (bytes.len() + 1));
            bytes.extend(data.iter().skip(1));
        }
    }
    let is_damaged = bytes != written;
    fs::write(&path, &bytes).expect("it is written");
    match open(dir) {
        Ok((mut journal, frames)) => {
            let is_prefix = PAYLOADS
                .iter()
                .zip(&frames)
                .all(|(payload, frame)| payload == frame);
            assert!(is_prefix && frames.len() <= PAYLOADS.len(), "{frames:?}");
            assert!(is_damaged || frames.len() == PAYLOADS.len());
            journal.append(b"more", Room::Ordinary).expect("it goes on");
            drop(journal);
            let (_journal, again) = open(dir).expect("what was cut is gone");
            assert_eq!(again.len(), frames.len() + 1);
        }
        Err(Error::Corrupt { .. } | Error::NewerSchema { .. }) => assert!(is_damaged),
        Err(other) => panic!("damage is told as damage, found {other:?}"),
    }
});
