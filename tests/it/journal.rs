//! The journal: what is appended is read again, a torn end is cut off, damage elsewhere is named.

use std::fs::File;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tempfile::TempDir;
use watchkeeper::store::Error;
use watchkeeper::store::disk::Faults;
use watchkeeper::store::journal;
use watchkeeper::store::journal::Cut;
use watchkeeper::store::journal::Journal;
use watchkeeper::store::journal::Limits;
use watchkeeper::store::journal::Room;

const HEADER: u64 = 20;

struct Opened {
    journal: Journal,
    cut: Option<Cut>,
    frames: Vec<(u64, String)>,
}

fn small() -> Limits {
    Limits {
        segment_bytes: 128,
        reserve_bytes: 4096,
    }
}

fn open_with(dir: &Path, limits: Limits, faults: &Arc<Faults>) -> Result<Opened, Error> {
    let mut frames = Vec::new();
    let (journal, cut) = Journal::open(
        dir,
        0,
        limits,
        Arc::clone(faults),
        &mut |sequence, payload| {
            frames.push((sequence, String::from_utf8_lossy(payload).into_owned()));
            Ok(())
        },
    )?;
    Ok(Opened {
        journal,
        cut,
        frames,
    })
}

fn open(dir: &Path) -> Result<Opened, Error> {
    open_with(dir, ordinary(), &Arc::default())
}

fn ordinary() -> Limits {
    Limits {
        segment_bytes: 64 << 10,
        reserve_bytes: 4096,
    }
}

fn written(payloads: &[&str]) -> (TempDir, PathBuf) {
    let dir = TempDir::new().expect("a directory");
    let mut journal = open(dir.path()).expect("a new journal").journal;
    for payload in payloads {
        append(&mut journal, payload);
    }
    let segments = journal::segments(dir.path()).expect("a list");
    let segment = segments.first().expect("one was begun");
    (dir, segment.path.clone())
}

fn append(journal: &mut Journal, payload: &str) -> u64 {
    journal
        .append(payload.as_bytes(), Room::Ordinary)
        .expect("there is room")
}

fn texts(opened: &Opened) -> Vec<&str> {
    opened
        .frames
        .iter()
        .map(|(_, text)| text.as_str())
        .collect()
}

fn edit(path: &Path, offset: u64, bytes: &[u8]) {
    let file = OpenOptions::new()
        .write(true)
        .open(path)
        .expect("a segment");
    file.write_all_at(bytes, offset).expect("a write");
}

fn error_of(dir: &Path) -> String {
    let refused = open(dir).map(|opened| opened.frames);
    let said = refused.expect_err("it is damaged").to_string();
    said.replace(&dir.display().to_string(), "DIR")
}

#[test]
fn what_was_appended_is_read_in_order_and_sequences_go_on() {
    let (dir, _segment) = written(&["one", "two", "three"]);
    let mut opened = open(dir.path()).expect("a whole journal");
    assert_eq!(
        opened.frames,
        [
            (1, "one".to_owned()),
            (2, "two".to_owned()),
            (3, "three".to_owned())
        ]
    );
    assert_eq!(opened.cut, None);
    assert_eq!(append(&mut opened.journal, "four"), 4);
    drop(opened);
    let opened = open(dir.path()).expect("a whole journal");
    assert_eq!(texts(&opened), ["one", "two", "three", "four"]);
}

#[test]
fn a_last_frame_torn_at_any_byte_is_cut_off_and_the_journal_goes_on() {
    let (dir, segment) = written(&["one", "two", "three"]);
    let start = 2 * (HEADER + 3);
    let whole = HEADER + 5;
    for kept in 0..whole {
        for zeros_follow in [true, false] {
            let copy = TempDir::new().expect("a directory");
            let path = copy.path().join(segment.file_name().expect("a name"));
            std::fs::copy(&segment, &path).expect("a copy");
            let file = OpenOptions::new().write(true).open(&path).expect("it");
            let size = file.metadata().expect("a size").len();
            file.set_len(start + kept).expect("a cut");
            if zeros_follow {
                file.set_len(size).expect("zeros");
            }
            let mut opened = open(copy.path()).unwrap_or_else(|error| panic!("{kept}: {error}"));
            assert_eq!(texts(&opened), ["one", "two"], "{kept}");
            let told = opened.cut.as_ref().map(|cut| (cut.offset, cut.sequence));
            // A frame of zeros is the end of what is preallocated.
            let expected = (std::fs::read(&segment).expect("it")
                [usize::try_from(start).expect("small")..]
                [..usize::try_from(kept).expect("small")])
                .iter()
                .any(|byte| *byte != 0)
                .then_some((start, 3));
            assert_eq!(told, expected, "{kept}");
            assert_eq!(append(&mut opened.journal, "again"), 3);
            drop(opened);
            let opened = open(copy.path()).expect("a whole journal");
            assert_eq!(texts(&opened), ["one", "two", "again"], "{kept}");
            assert_eq!(opened.cut, None);
        }
    }
    drop(dir);
}

#[test]
fn what_was_cut_off_is_said() {
    let (dir, segment) = written(&["one", "two"]);
    edit(&segment, HEADER + 3 + HEADER + 1, b"?");
    let opened = open(dir.path()).expect("a journal with a torn end");
    let told = opened.cut.expect("a cut").to_string();
    assert_eq!(
        told.replace(&dir.path().display().to_string(), "DIR"),
        "group 2 was not wholly written: cut off DIR/00000000000000000001.journal at byte 23"
    );
}

#[test]
fn any_flipped_byte_before_the_last_frame_is_refused_with_its_place() {
    let (dir, segment) = written(&["one", "two", "three"]);
    let frame = HEADER + 3;
    for at in 0..2 * frame {
        let mut byte = [0];
        let file = File::open(&segment).expect("a segment");
        file.read_exact_at(&mut byte, at).expect("a byte");
        edit(&segment, at, &[byte[0] ^ 0x10]);
        let said = error_of(dir.path());
        let place = format!(
            "00000000000000000001.journal at byte {} is damaged: ",
            at / frame * frame
        );
        assert!(said.contains(&place), "{at}: {said}");
        edit(&segment, at, &byte);
    }
    edit(&segment, frame + HEADER, b"T");
    assert_eq!(
        error_of(dir.path()),
        "DIR/00000000000000000001.journal at byte 23 is damaged: the checksum does not match, and a whole one follows at byte 46"
    );
}

#[test]
fn a_hole_of_zeros_before_a_whole_frame_is_refused() {
    let (dir, segment) = written(&["one", "two", "three"]);
    edit(&segment, HEADER + 3, &[0; 23]);
    assert_eq!(
        error_of(dir.path()),
        "DIR/00000000000000000001.journal at byte 23 is damaged: a frame of impossible length, and a whole one follows at byte 46"
    );
}

#[test]
fn a_frame_out_of_sequence_is_refused() {
    let (dir, segment) = written(&["one", "two", "abc"]);
    let bytes = std::fs::read(&segment).expect("a segment");
    edit(&segment, 23, &bytes[46..69]);
    assert_eq!(
        error_of(dir.path()),
        "DIR/00000000000000000001.journal at byte 23 is damaged: it holds group 3 where 2 was expected"
    );
}

fn many_segments() -> TempDir {
    let dir = TempDir::new().expect("a directory");
    let mut journal = open_with(dir.path(), small(), &Arc::default())
        .expect("a new journal")
        .journal;
    for n in 1..=12 {
        append(&mut journal, &format!("payload number {n:04}"));
    }
    dir
}

fn firsts(dir: &Path) -> Vec<u64> {
    let segments = journal::segments(dir).expect("a list");
    segments.iter().map(|segment| segment.first).collect()
}

#[test]
fn segments_follow_each_other_and_covered_ones_are_removed() {
    let dir = many_segments();
    assert_eq!(firsts(dir.path()), [1, 4, 7, 10]);
    assert_eq!(open(dir.path()).expect("whole").frames.len(), 12);

    assert_eq!(journal::remove_covered(dir.path(), 5).expect("removed"), 1);
    assert_eq!(firsts(dir.path()), [4, 7, 10]);
    assert_eq!(
        journal::remove_covered(dir.path(), 100).expect("removed"),
        2
    );
    assert_eq!(firsts(dir.path()), [10]);
    let opened = open(dir.path()).expect("whole");
    assert_eq!(opened.journal.sequence(), 12);
    assert_eq!(opened.frames[0].0, 10);
}

#[test]
fn a_range_can_be_replayed_while_the_journal_is_open() {
    let dir = many_segments();
    let mut seen = Vec::new();
    let each = &mut |sequence, _payload: &[u8]| {
        seen.push(sequence);
        Ok(())
    };
    journal::replay(dir.path(), 5, 8, each).expect("they are there");
    assert_eq!(seen, [5, 6, 7, 8]);
    let missing = journal::replay(dir.path(), 11, 14, &mut |_, _| Ok(()));
    let said = missing.expect_err("two are not there").to_string();
    assert_eq!(
        said.replace(&dir.path().display().to_string(), "DIR"),
        "DIR is damaged: it has 2 of the groups 11 to 14"
    );
}

#[test]
fn a_missing_segment_and_a_torn_one_that_is_not_the_last_are_refused() {
    let dir = many_segments();
    let segments = journal::segments(dir.path()).expect("a list");
    let kept = std::fs::read(&segments[1].path).expect("a segment");
    std::fs::remove_file(&segments[1].path).expect("removed");
    assert_eq!(
        error_of(dir.path()),
        "DIR/00000000000000000007.journal at byte 0 is damaged: it begins with group 7 where 4 was expected"
    );
    std::fs::write(&segments[1].path, &kept[..kept.len() - 4]).expect("put back in part");
    assert_eq!(
        error_of(dir.path()),
        "DIR/00000000000000000004.journal at byte 78 is damaged: the frame is cut short"
    );
}

#[test]
fn a_frame_of_a_newer_schema_is_refused_and_kept() {
    let (dir, segment) = written(&["one"]);
    let mut frame = std::fs::read(&segment).expect("a segment");
    frame.truncate(23);
    frame[19] = 9;
    let sum = crc32c::crc32c_append(crc32c::crc32c(&frame[..4]), &frame[8..]);
    frame[4..8].copy_from_slice(&sum.to_be_bytes());
    edit(&segment, 0, &frame);
    assert_eq!(
        error_of(dir.path()),
        "DIR/00000000000000000001.journal has schema 9, this program knows up to 2"
    );
}

#[test]
fn a_full_disk_refuses_ordinary_frames_lets_the_engine_into_the_reserve_and_recovers() {
    let dir = TempDir::new().expect("a directory");
    let faults = Arc::<Faults>::default();
    let mut journal = open_with(dir.path(), small(), &faults)
        .expect("new")
        .journal;
    append(&mut journal, "before");
    faults.room_bytes.store(0, Ordering::Relaxed);
    let long = [b'x'; 120];

    let refused = journal.append(&long, Room::Ordinary).expect_err("no room");
    assert_eq!(refused.to_string(), "the disk of the store is full");
    assert_eq!(journal.poisoned(), None);
    assert_eq!(journal.reserve_bytes(), 4096);

    assert_eq!(
        journal.append(&long, Room::Reserve).expect("the reserve"),
        2
    );
    assert_eq!(journal.reserve_bytes(), 0);
    faults.room_bytes.store(0, Ordering::Relaxed);
    assert!(!journal.reserve_is_whole().expect("asked"));
    let refused = journal.append(&long, Room::Reserve).expect_err("used up");
    assert_eq!(refused.to_string(), "the disk of the store is full");

    faults.room_bytes.store(1 << 20, Ordering::Relaxed);
    assert!(journal.reserve_is_whole().expect("asked"));
    assert_eq!(append(&mut journal, "after"), 3);
    drop(journal);
    let opened = open(dir.path()).expect("whole");
    assert_eq!(opened.frames.len(), 3);
    assert_eq!(opened.cut, None);
}

#[test]
fn a_half_written_frame_is_taken_back_when_the_disk_is_full() {
    let dir = TempDir::new().expect("a directory");
    let faults = Arc::<Faults>::default();
    let mut journal = open_with(dir.path(), ordinary(), &faults)
        .expect("new")
        .journal;
    append(&mut journal, "before");
    faults.half_written.store(true, Ordering::Relaxed);
    let refused = journal.append(b"lost", Room::Ordinary).expect_err("full");
    assert_eq!(refused.to_string(), "the disk of the store is full");
    assert_eq!(append(&mut journal, "after"), 2);
    drop(journal);
    let opened = open(dir.path()).expect("whole");
    assert_eq!(texts(&opened), ["before", "after"]);
    assert_eq!(opened.cut, None);
}

#[test]
fn a_failed_sync_poisons_the_journal_for_good() {
    let dir = TempDir::new().expect("a directory");
    let faults = Arc::<Faults>::default();
    let mut journal = open_with(dir.path(), small(), &faults)
        .expect("new")
        .journal;
    append(&mut journal, "before");
    faults.sync_fails.store(true, Ordering::Relaxed);
    let failed = journal.append(b"unknown", Room::Ordinary);
    let said = failed.expect_err("no sync").to_string();
    let path = dir.path().join("00000000000000000001.journal");
    assert_eq!(said, format!("cannot sync {}", path.display()));

    faults.sync_fails.store(false, Ordering::Relaxed);
    let refused = journal.append(b"later", Room::Reserve);
    assert_eq!(
        refused.expect_err("poisoned").to_string(),
        format!(
            "the store takes no writes until it is restarted: cannot sync {}",
            path.display()
        )
    );
}

#[test]
fn a_payload_over_the_bound_is_refused() {
    let dir = TempDir::new().expect("a directory");
    let mut journal = open(dir.path()).expect("new").journal;
    let huge = vec![1; journal::MAX_PAYLOAD_BYTES + 1];
    let refused = journal.append(&huge, Room::Ordinary).expect_err("too much");
    assert_eq!(
        refused.to_string(),
        "one transaction changes 33554433 bytes, at most 33554432 are taken"
    );
}
