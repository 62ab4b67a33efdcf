//! Where each record lies: a table byte, then big-endian parts, so that ranges are scans in order.

use crate::domain::alert::Fingerprint;
use crate::domain::time::{Served, Timestamp};
use crate::store::engine::Key;
use sha2::{Digest, Sha256};
use std::fmt;

const META: u8 = b'M';
const ALERT: u8 = b'A';
const SEEN: u8 = b'S';
const CHANGED: u8 = b'J';
const CHECK: u8 = b'R';
pub(crate) const EVENT: u8 = b'E';
const HEAD: u8 = b'H';
const OPEN: u8 = b'o';
const KEY: u8 = b'K';
const DUE: u8 = b'D';
const TALLY: u8 = b'C';
const PAGE: u8 = b'P';
const OUTBOX: u8 = b'Q';
const DEAD_LETTER: u8 = b'X';
const AWAITING_REPLAY: u8 = b'x';
pub(crate) const TRANSITION: u8 = b'T';
const IDEMPOTENCY: u8 = b'I';
const IDEMPOTENCY_ENDS: u8 = b'i';
const PENDING: u8 = b'W';
const PENDING_DUE: u8 = b'V';
const OVERRIDE: u8 = b'O';
const QUARANTINE: u8 = b'z';
const UNTOLD: u8 = b'u';
const REPLICA: u8 = b'B';
const WATCH: u8 = b'L';
const SCOPE: u8 = b'c';
const HEARTBEAT: u8 = b'N';
const HEARTBEAT_DUE: u8 = b'h';
const CHANGE: u8 = b'G';
const CHANGE_AT: u8 = b'g';
const SILENCE: u8 = b'Y';
const MUTING: u8 = b'y';
const STORM: u8 = b'w';

/// Tables of which the same few records are asked for by most transactions.
pub(crate) const ASKED_AGAIN: &[u8] = &[META, HEAD, KEY, PENDING, TALLY, STORM];

/// Tables of which most processes ask for the same records again and again: they remember them, and tell each other of them.
pub(crate) const TOLD: &[u8] = &[META, HEAD, KEY, TALLY, PENDING, STORM];

/// Tables that nothing reads when history is judged again by other rules.
pub(crate) const NOT_REPLAYED: &[u8] = &[TRANSITION, CHANGED, SEEN, TALLY, WATCH, PAGE, OUTBOX];

/// Tables that stay small and are rewritten all the time.
pub(crate) const WORK: &[u8] = &[
    META,
    OPEN,
    DUE,
    TALLY,
    OUTBOX,
    IDEMPOTENCY_ENDS,
    PENDING,
    PENDING_DUE,
    QUARANTINE,
    UNTOLD,
    REPLICA,
    WATCH,
    HEARTBEAT,
    HEARTBEAT_DUE,
    MUTING,
    STORM,
];

/// Instants sort as unsigned numbers: the sign bit is flipped.
fn instant(at: Timestamp) -> [u8; 8] {
    (at.as_millis() ^ i64::MIN).to_be_bytes()
}

fn key(table: u8, parts: &[&[u8]]) -> Key {
    let mut key = Key::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(table);
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}

/// The first key after every key that begins with `prefix`.
pub(crate) fn after(prefix: &[u8]) -> Key {
    let mut end = Key::from_slice(prefix);
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            break;
        }
    }
    end
}

/// The number that a key ends in.
pub(crate) fn last_number(key: &[u8]) -> Option<u64> {
    let tail = key
        .len()
        .checked_sub(8)
        .and_then(|start| key.get(start..))?;
    tail.try_into().ok().map(u64::from_be_bytes)
}

/// The instant that stands in a key at `offset`.
pub(crate) fn instant_at(key: &[u8], offset: usize) -> Option<Timestamp> {
    let bytes = key.get(offset..offset + 8)?;
    let bits: [u8; 8] = bytes.try_into().ok()?;
    Some(Timestamp::from_millis(i64::from_be_bytes(bits) ^ i64::MIN))
}

pub(crate) fn meta(name: &str) -> Key {
    key(META, &[name.as_bytes()])
}

pub(crate) fn alert(fingerprint: Fingerprint) -> Key {
    key(ALERT, &[&fingerprint.0.to_be_bytes()])
}

pub(crate) fn all_alerts() -> Key {
    key(ALERT, &[])
}

/// How often an alert was received: small, written at each repeat.
pub(crate) fn seen(fingerprint: Fingerprint) -> Key {
    key(SEEN, &[&fingerprint.0.to_be_bytes()])
}

/// Alerts by their last change, for lists.
pub(crate) fn changed(at: Timestamp, fingerprint: Fingerprint) -> Key {
    key(CHANGED, &[&instant(at), &fingerprint.0.to_be_bytes()])
}

pub(crate) fn all_changed() -> Key {
    key(CHANGED, &[])
}

/// Alerts whose last change was before `at`.
pub(crate) fn changed_before(at: Timestamp) -> Key {
    key(CHANGED, &[&instant(at)])
}

pub(crate) fn check(fingerprint: Fingerprint) -> Key {
    key(CHECK, &[&fingerprint.0.to_be_bytes()])
}

pub(crate) fn all_checks() -> Key {
    key(CHECK, &[])
}

pub(crate) fn event(incident: u64, seq: u64) -> Key {
    key(EVENT, &[&incident.to_be_bytes(), &seq.to_be_bytes()])
}

/// The incident of whose log a range is a part.
pub(crate) fn incident_of_log(from: &[u8], to: &[u8]) -> Option<u64> {
    const PREFIX: usize = 9;
    let log = from.get(..PREFIX)?;
    let is_within = log.first() == Some(&EVENT) && to.get(..PREFIX) == Some(log);
    is_within.then(|| last_number(log)).flatten()
}

/// Whether a record is one that is added and never changed by a later group.
pub(crate) fn is_added(key: &[u8]) -> bool {
    matches!(key.first(), Some(&(EVENT | TRANSITION | CHANGED | WATCH)))
}

/// Whether a record says that something is due.
pub(crate) fn is_due(key: &[u8]) -> bool {
    matches!(key.first(), Some(&(DUE | OUTBOX | PENDING_DUE)))
}

/// Whether other processes are told of a record's new value.
pub(crate) fn is_told(key: &[u8]) -> bool {
    let table = key.first();
    table == Some(&EVENT) || table.is_some_and(|table| TOLD.contains(table))
}

pub(crate) fn head(incident: u64) -> Key {
    key(HEAD, &[&incident.to_be_bytes()])
}

pub(crate) fn all_heads() -> Key {
    key(HEAD, &[])
}

pub(crate) fn open(incident: u64) -> Key {
    key(OPEN, &[&incident.to_be_bytes()])
}

pub(crate) fn all_open() -> Key {
    key(OPEN, &[])
}

/// The last incident of a dedup key. Keys may be long; the record holds the text, to be compared.
pub(crate) fn dedup(dedup_key: &str) -> Key {
    key(KEY, &[dedup_key.as_bytes()])
}

pub(crate) fn due(at: Timestamp, incident: u64) -> Key {
    key(DUE, &[&instant(at), &incident.to_be_bytes()])
}

pub(crate) fn all_due() -> Key {
    key(DUE, &[])
}

/// How often alerts of an incident were received.
pub(crate) fn tally(incident: u64) -> Key {
    key(TALLY, &[&incident.to_be_bytes()])
}

pub(crate) fn page(incident: u64, serial: u32) -> Key {
    key(PAGE, &[&incident.to_be_bytes(), &serial.to_be_bytes()])
}

pub(crate) fn pages(incident: u64) -> Key {
    key(PAGE, &[&incident.to_be_bytes()])
}

/// Pages to be sent, by channel and then by time, so that one channel that hangs hides no other.
pub(crate) fn outbox(channel: &str, at: Timestamp, incident: u64, serial: u32) -> Key {
    let parts: [&[u8]; 4] = [
        &outbox_of(channel),
        &instant(at),
        &incident.to_be_bytes(),
        &u64::from(serial).to_be_bytes(),
    ];
    parts.concat().into()
}

/// The outbox of one channel.
pub(crate) fn outbox_of(channel: &str) -> Key {
    key(OUTBOX, &[channel.as_bytes(), &[0]])
}

pub(crate) fn all_outbox() -> Key {
    key(OUTBOX, &[])
}

/// Channel, instant, incident and serial of an outbox key.
pub(crate) fn read_outbox(key: &[u8]) -> Option<(String, Timestamp, u64, u32)> {
    const TAIL: usize = 24;
    let tail = key.len().checked_sub(TAIL)?;
    let channel = std::str::from_utf8(key.get(1..tail.checked_sub(1)?)?).ok()?;
    let incident = last_number(key.get(..key.len() - 8)?)?;
    let serial = u32::try_from(last_number(key)?).ok()?;
    Some((channel.to_owned(), instant_at(key, tail)?, incident, serial))
}

pub(crate) fn dead_letter(id: u64) -> Key {
    key(DEAD_LETTER, &[&id.to_be_bytes()])
}

pub(crate) fn all_dead_letters() -> Key {
    key(DEAD_LETTER, &[])
}

/// A dead letter that can be read again and was not yet.
pub(crate) fn awaiting_replay(id: u64) -> Key {
    key(AWAITING_REPLAY, &[&id.to_be_bytes()])
}

pub(crate) fn all_awaiting_replay() -> Key {
    key(AWAITING_REPLAY, &[])
}

/// Transitions of alerts, in order of time.
pub(crate) fn transition(at: Timestamp, seq: u64) -> Key {
    key(TRANSITION, &[&instant(at), &seq.to_be_bytes()])
}

/// The same of a transaction that added an event: that numbers it as well as a count would.
pub(crate) fn transition_of(at: Timestamp, incident: u64, seq: u32) -> Key {
    key(
        TRANSITION,
        &[&instant(at), &incident.to_be_bytes(), &seq.to_be_bytes()],
    )
}

pub(crate) fn all_transitions() -> Key {
    key(TRANSITION, &[])
}

pub(crate) fn transitions_before(at: Timestamp) -> Key {
    key(TRANSITION, &[&instant(at)])
}

pub(crate) fn idempotency(text: &str) -> Key {
    key(IDEMPOTENCY, &[text.as_bytes()])
}

pub(crate) fn idempotency_ends(at: Timestamp, text: &str) -> Key {
    key(IDEMPOTENCY_ENDS, &[&instant(at), text.as_bytes()])
}

pub(crate) fn all_idempotency_ends() -> Key {
    key(IDEMPOTENCY_ENDS, &[])
}

pub(crate) fn idempotency_ended_before(at: Timestamp) -> Key {
    key(IDEMPOTENCY_ENDS, &[&instant(at)])
}

/// The table of storms: what stands in it after its byte.
const OPENINGS: &[u8] = b"o";
const STORM_ENDS: &[u8] = b"e";
const STORM_HANDS: &[u8] = b"h";

/// A team's name; a byte of its own where there is none, as a name may be empty.
fn team_part(team: Option<&str>) -> Vec<u8> {
    match team {
        Some(team) => [b"t", team.as_bytes()].concat(),
        None => b"-".to_vec(),
    }
}

pub(crate) fn openings(team: Option<&str>) -> Key {
    key(STORM, &[OPENINGS, &team_part(team)])
}

pub(crate) fn all_openings() -> Key {
    key(STORM, &[OPENINGS])
}

/// When a team's storm ends.
pub(crate) fn storm_ends(at: Timestamp, team: Option<&str>) -> Key {
    key(STORM, &[STORM_ENDS, &instant(at), &team_part(team)])
}

pub(crate) fn all_storm_ends() -> Key {
    key(STORM, &[STORM_ENDS])
}

/// The team that a key of this table names from `offset` on.
pub(crate) fn read_storm_team(key: &[u8], offset: usize) -> Option<Option<String>> {
    match key.get(offset..)? {
        [b't', team @ ..] => Some(Some(String::from_utf8(team.to_vec()).ok()?)),
        _none => Some(None),
    }
}

/// A storm that is over and has alerts yet to move, from then on.
pub(crate) fn storm_hands(at: Timestamp, number: u64) -> Key {
    key(STORM, &[STORM_HANDS, &instant(at), &number.to_be_bytes()])
}

pub(crate) fn all_storms_handing() -> Key {
    key(STORM, &[STORM_HANDS])
}

pub(crate) fn pending(dedup_key: &str) -> Key {
    key(PENDING, &[dedup_key.as_bytes()])
}

pub(crate) fn pending_due(at: Timestamp, dedup_key: &str) -> Key {
    key(PENDING_DUE, &[&instant(at), dedup_key.as_bytes()])
}

pub(crate) fn all_pending_due() -> Key {
    key(PENDING_DUE, &[])
}

pub(crate) fn schedule_override(schedule: &str, id: u64) -> Key {
    key(OVERRIDE, &[schedule.as_bytes(), &[0], &id.to_be_bytes()])
}

pub(crate) fn all_overrides() -> Key {
    key(OVERRIDE, &[])
}

/// The schedule of an override's key.
pub(crate) fn schedule_of(key: &[u8]) -> Option<String> {
    let end = key.len().checked_sub(9)?;
    std::str::from_utf8(key.get(1..end)?)
        .ok()
        .map(str::to_owned)
}

pub(crate) fn quarantine(incident: u64) -> Key {
    key(QUARANTINE, &[&incident.to_be_bytes()])
}

pub(crate) fn all_quarantined() -> Key {
    key(QUARANTINE, &[])
}

/// An alert of which an incident could not be told.
pub(crate) fn untold(incident: u64, fingerprint: Fingerprint) -> Key {
    key(
        UNTOLD,
        &[&incident.to_be_bytes(), &fingerprint.0.to_be_bytes()],
    )
}

pub(crate) fn all_untold(incident: u64) -> Key {
    key(UNTOLD, &[&incident.to_be_bytes()])
}

pub(crate) fn any_untold() -> Key {
    key(UNTOLD, &[])
}

/// Incident and alert of such a key.
pub(crate) fn read_untold(key: &[u8]) -> Option<(u64, Fingerprint)> {
    let number: [u8; 8] = key.get(1..9)?.try_into().ok()?;
    let fingerprint = last_number(key).map(Fingerprint)?;
    Some((u64::from_be_bytes(number), fingerprint))
}

/// Alerts that must be heard of until an instant of served time.
pub(crate) fn watch(at: Served, incident: u64, seq: u32) -> Key {
    let at = instant(at.as_instant());
    key(WATCH, &[&at, &incident.to_be_bytes(), &seq.to_be_bytes()])
}

/// The same where no event numbers the record.
pub(crate) fn numbered_watch(at: Served, number: u64) -> Key {
    key(WATCH, &[&instant(at.as_instant()), &number.to_be_bytes()])
}

/// Those whose instant is before `at`.
pub(crate) fn watches_before(at: Served) -> Key {
    key(WATCH, &[&instant(at.as_instant())])
}

pub(crate) fn all_watches() -> Key {
    key(WATCH, &[])
}

/// When the alerts of such a record must have been heard of.
pub(crate) fn read_watch(key: &[u8]) -> Option<Served> {
    instant_at(key, 1).map(Served::of_instant)
}

/// An alert that is reported by reports of a scope.
pub(crate) fn scope(tool: &str, scope: &str, fingerprint: Fingerprint) -> Key {
    let mut key = scope_of(tool, scope);
    key.extend_from_slice(&fingerprint.0.to_be_bytes());
    key
}

pub(crate) fn all_scopes() -> Key {
    key(SCOPE, &[])
}

/// The hash stands for names that may be long; what it stands for is in the record.
pub(crate) fn scope_of(tool: &str, scope: &str) -> Key {
    let mut hash = Sha256::new();
    hash.update(tool.len().to_be_bytes());
    hash.update(tool);
    hash.update(scope);
    let hash = hash.finalize();
    key(SCOPE, &[hash.get(..16).unwrap_or_default()])
}

pub(crate) fn heartbeat(name: &str) -> Key {
    key(HEARTBEAT, &[name.as_bytes()])
}

pub(crate) fn all_heartbeats() -> Key {
    key(HEARTBEAT, &[])
}

/// A heartbeat by when it is looked at next.
pub(crate) fn heartbeat_due(at: Served, name: &str) -> Key {
    key(HEARTBEAT_DUE, &[&instant(at.as_instant()), name.as_bytes()])
}

pub(crate) fn all_heartbeats_due() -> Key {
    key(HEARTBEAT_DUE, &[])
}

/// A process that works on a shared store.
pub(crate) fn replica(id: u64) -> Key {
    key(REPLICA, &[&id.to_be_bytes()])
}

/// Whether a record goes along when a store moves: not who works on it at the moment.
pub(crate) fn moves(key: &[u8]) -> bool {
    key.first() != Some(&REPLICA)
}

pub(crate) fn all_replicas() -> Key {
    key(REPLICA, &[])
}

/// A change, by a hash of its source and its id; shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeId(pub(crate) [u8; 16]);

impl ChangeId {
    pub(crate) fn read(text: &str) -> Option<Self> {
        hex::decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A list of changes: that of one service, by a hash of its name, or of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChangesOf(pub(crate) [u8; 8]);

pub(crate) const ALL_CHANGES: ChangesOf = ChangesOf([0; 8]);

pub(crate) fn change(id: ChangeId) -> Key {
    key(CHANGE, &[&id.0])
}

/// Changes of a list by their instants.
pub(crate) fn change_at(of: ChangesOf, at: Timestamp, id: ChangeId) -> Key {
    key(CHANGE_AT, &[&of.0, &instant(at), &id.0])
}

pub(crate) fn changes_of(of: ChangesOf) -> Key {
    key(CHANGE_AT, &[&of.0])
}

/// Where those begin that are not before `at`.
pub(crate) fn changes_from(of: ChangesOf, at: Timestamp) -> Key {
    key(CHANGE_AT, &[&of.0, &instant(at)])
}

/// Instant and change of such a key.
pub(crate) fn read_change_at(key: &[u8]) -> Option<(Timestamp, ChangeId)> {
    const INSTANT: usize = 9;
    let id: [u8; 16] = key.get(INSTANT + 8..)?.try_into().ok()?;
    Some((instant_at(key, INSTANT)?, ChangeId(id)))
}

/// A silence, by its id.
pub(crate) fn silence(id: &str) -> Key {
    key(SILENCE, &[b"s", id.as_bytes()])
}

/// When a silence last muted something.
pub(crate) fn silence_muted(id: &str) -> Key {
    key(SILENCE, &[b"m", id.as_bytes()])
}

/// Silences by their ends.
pub(crate) fn silence_ends(at: Timestamp, id: &str) -> Key {
    key(MUTING, &[b"e", &instant(at), id.as_bytes()])
}

pub(crate) fn all_silence_ends() -> Key {
    key(MUTING, &[b"e"])
}

/// Where a silence starts or ends that has yet to: then it is looked at.
pub(crate) fn silence_alarm(at: Timestamp, id: &str) -> Key {
    key(MUTING, &[b"a", &instant(at), id.as_bytes()])
}

pub(crate) fn all_silence_alarms() -> Key {
    key(MUTING, &[b"a"])
}

/// The instant and the id of such a key.
pub(crate) fn read_silence_at(key: &[u8]) -> Option<(Timestamp, String)> {
    const INSTANT: usize = 2;
    let id = std::str::from_utf8(key.get(INSTANT + 8..)?).ok()?;
    Some((instant_at(key, INSTANT)?, id.to_owned()))
}

/// The alerts of one inhibition that have the same values: causes, and effects of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bucket {
    pub(crate) inhibition: u64,
    pub(crate) equal: u64,
}

impl Bucket {
    fn bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let parts = self.inhibition.to_be_bytes().into_iter();
        bytes
            .iter_mut()
            .zip(parts.chain(self.equal.to_be_bytes()))
            .for_each(|(to, from)| *to = from);
        bytes
    }
}

/// Whether a cause is an effect of the same inhibition, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fits {
    One,
    Both,
}

/// A cause of a bucket; those that fit one side come first.
pub(crate) fn cause(of: Bucket, fits: Fits, fingerprint: Fingerprint) -> Key {
    let mut key = causes_that_fit(of, fits);
    key.extend_from_slice(&fingerprint.0.to_be_bytes());
    key
}

pub(crate) fn causes_that_fit(of: Bucket, fits: Fits) -> Key {
    key(
        MUTING,
        &[b"c", &of.bytes(), &[u8::from(fits == Fits::Both)]],
    )
}

pub(crate) fn causes(of: Bucket) -> Key {
    key(MUTING, &[b"c", &of.bytes()])
}

/// An effect of a bucket.
pub(crate) fn effect(of: Bucket, fingerprint: Fingerprint) -> Key {
    key(MUTING, &[b"t", &of.bytes(), &fingerprint.0.to_be_bytes()])
}

pub(crate) fn effects(of: Bucket) -> Key {
    key(MUTING, &[b"t", &of.bytes()])
}

/// Where all causes, and all effects, of all inhibitions are.
pub(crate) fn all_sides() -> [Key; 2] {
    [key(MUTING, &[b"c"]), key(MUTING, &[b"t"])]
}

/// The inhibition of the key of a cause or an effect, and the prefix of all that are its.
pub(crate) fn inhibition_of(of: &[u8]) -> Option<(u64, Key)> {
    let prefix = of.get(..10)?;
    Some((last_number(prefix)?, Key::from_slice(prefix)))
}

/// A bucket in which a cause began or ended: its effects are to be looked at.
pub(crate) fn stirred(of: Bucket) -> Key {
    key(MUTING, &[b"q", &of.bytes()])
}

pub(crate) fn all_stirred() -> Key {
    key(MUTING, &[b"q"])
}

/// The bucket of such a key.
pub(crate) fn read_stirred(key: &[u8]) -> Option<Bucket> {
    Some(Bucket {
        inhibition: last_number(key.get(..10)?)?,
        equal: last_number(key.get(..18)?)?,
    })
}

/// An alert that has no incident because of a cause.
pub(crate) fn held(cause: Fingerprint, fingerprint: Fingerprint) -> Key {
    let mut key = held_by(cause);
    key.extend_from_slice(&fingerprint.0.to_be_bytes());
    key
}

pub(crate) fn held_by(cause: Fingerprint) -> Key {
    key(MUTING, &[b"h", &cause.0.to_be_bytes()])
}

pub(crate) fn all_held() -> Key {
    key(MUTING, &[b"h"])
}

/// Cause and alert of such a key.
pub(crate) fn read_held(key: &[u8]) -> Option<(Fingerprint, Fingerprint)> {
    let cause = last_number(key.get(..10)?)?;
    Some((Fingerprint(cause), last_number(key).map(Fingerprint)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_parts_do() {
        let at = Timestamp::from_millis;
        assert!(due(at(-1), 9) < due(at(0), 1));
        assert!(due(at(5), 1) < due(at(5), 2));
        assert!(due(at(5), 2) < after(&all_due()));
    }

    #[test]
    fn a_change_is_found_by_its_instant_and_read_back() {
        let at = Timestamp::from_millis;
        let id = ChangeId([7; 16]);
        let key = change_at(ALL_CHANGES, at(5), id);
        assert_eq!(read_change_at(&key), Some((at(5), id)));
        assert_eq!(ChangeId::read(&id.to_string()), Some(id));
        assert!(changes_from(ALL_CHANGES, at(5)) < key && key < changes_from(ALL_CHANGES, at(6)));
        assert!(key < after(&changes_of(ALL_CHANGES)));
        assert!(after(&changes_of(ALL_CHANGES)) <= changes_of(ChangesOf([0x80; 8])));
    }

    #[test]
    fn an_outbox_key_is_read_back() {
        let at = Timestamp::from_millis(1_700_000_000_123);
        let read = read_outbox(&outbox("ops-hook", at, 12, 3));
        assert_eq!(read, Some(("ops-hook".to_owned(), at, 12, 3)));
    }
}
