//! How the changes of a group are written as the payload of a journal frame: a count, then for each key whether it is put, its length, it, and its value likewise.

use crate::store::engine::Key;
use crate::store::keys;
use crate::store::overlay::Changes;

/// The schema of payloads that are written; those up to it can be read.
pub const SCHEMA: u32 = 2;

const REMOVE: u8 = 0;
const PUT: u8 = 1;

/// Writes the payload of a frame.
pub fn encode(changes: &Changes, payload: &mut Vec<u8>) {
    length(payload, changes.len());
    for (key, value) in changes {
        payload.push(if value.is_some() { PUT } else { REMOVE });
        bytes(payload, key);
        if let Some(value) = value {
            bytes(payload, value);
        }
    }
}

/// The changes a payload holds, or why it cannot be read.
pub fn decode(payload: &[u8]) -> Result<Changes, String> {
    let mut rest = payload;
    let mut changes = Changes::new();
    for _ in 0..take_length(&mut rest)? {
        let (key, value) = take_change(&mut rest)?;
        changes.insert(key, value);
    }
    if !rest.is_empty() {
        return Err(format!("{} bytes follow the last change", rest.len()));
    }
    Ok(changes)
}

/// A record that was put, or is gone.
pub(crate) type Change = (Key, Option<Vec<u8>>);

/// What other processes are told of a group: the changes of records that all of them remember.
pub(crate) fn encode_told(changes: &Changes) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in changes.iter().filter(|(key, _)| keys::is_told(key)) {
        out.push(if value.is_some() { PUT } else { REMOVE });
        bytes(&mut out, key);
        if let Some(value) = value {
            bytes(&mut out, value);
        }
    }
    out
}

/// The changes that were told.
pub(crate) fn decode_told(mut rest: &[u8]) -> Result<Vec<Change>, String> {
    let mut told = Vec::new();
    while !rest.is_empty() {
        told.push(take_change(&mut rest)?);
    }
    Ok(told)
}

fn take_change(rest: &mut &[u8]) -> Result<Change, String> {
    let kind = take(rest, 1)?.first().copied();
    let key = Key::from_slice(take_bytes(rest)?);
    match kind {
        Some(REMOVE) => Ok((key, None)),
        Some(PUT) => Ok((key, Some(take_bytes(rest)?.to_vec()))),
        other => Err(format!("a change is of kind {other:?}, 0 or 1 was wanted")),
    }
}

fn length(out: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("groups are limited far below 4 GiB");
    out.extend_from_slice(&length.to_be_bytes());
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> Result<&'a [u8], String> {
    let Some((taken, after)) = rest.split_at_checked(n) else {
        return Err(format!("{n} bytes were wanted, {} are left", rest.len()));
    };
    *rest = after;
    Ok(taken)
}

fn take_length(rest: &mut &[u8]) -> Result<usize, String> {
    let taken = take(rest, 4)?.try_into().unwrap_or_default();
    Ok(usize::try_from(u32::from_be_bytes(taken)).unwrap_or(usize::MAX))
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let n = take_length(rest)?;
    take(rest, n)
}
