//! A way to a database that can be cut at a chosen moment: before a commit arrives, or after it did and before it is answered. It can also
//! say of a commit that it was cancelled, as a database does that cannot tell how it ended.

use std::borrow::Cow;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

const SOCKET: &str = ".s.PGSQL.5432";

/// How the writer names to the server what ends its turn: behind the name, where the statement is prepared.
const COMMIT: &[u8] = b"\0COMMIT\0";

/// What the server answers to that.
const COMMITTED: &[u8] = b"COMMIT\0";

/// The kind of a `Bind` and its length, before the portal and the name of the statement.
const BIND_BYTES: usize = 5;

/// Bytes in which a statement is named as it is prepared.
const NAMED_BYTES: usize = 64;

/// The whole message of what undoes the turn instead, and how the server says either.
const ROLLBACK_MESSAGE: &[u8] = b"Q\0\0\0\x0dROLLBACK\0";
const COMMITTED_MESSAGE: &[u8] = b"C\0\0\0\x0bCOMMIT\0";
const ROLLED_BACK_MESSAGE: &[u8] = b"C\0\0\0\x0dROLLBACK\0";

/// What is said instead: an error of `query_canceled`.
const CANCELLED_MESSAGE: &[u8] =
    b"E\0\0\0\x3cSERROR\0VERROR\0C57014\0Mcanceling statement, as one says\0\0";

const NEVER: u8 = 0;
const BEFORE: u8 = 1;
const AFTER: u8 = 2;
/// The commit is kept, and said to be cancelled.
const KEEPS: u8 = 3;
/// The turn is undone, and its commit said to be cancelled.
const UNDOES: u8 = 4;

/// How long anything may take here; only a failure waits for it.
const BOUND: Duration = Duration::from_secs(30);

pub(super) struct Proxy {
    dir: TempDir,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    cuts: AtomicU8,
    n_cut: AtomicU32,
    refuses: AtomicBool,
    /// What the server answers next to how the turn ended is replaced.
    forges: AtomicBool,
    changed: Mutex<()>,
    cut: Condvar,
}

impl Proxy {
    /// In front of the server with this directory. It ends with the process.
    pub(super) fn start(server: &Path) -> Self {
        let dir = TempDir::new().expect("a directory");
        let listener = UnixListener::bind(dir.path().join(SOCKET)).expect("a socket");
        let shared = Arc::new(Shared::default());
        let (own, server) = (Arc::clone(&shared), server.join(SOCKET));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if own.refuses.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = UnixStream::connect(&server) else {
                    continue;
                };
                let own = Arc::clone(&own);
                std::thread::spawn(move || own.carry(&client, &server));
            }
        });
        Self { dir, shared }
    }

    /// As a host of a url.
    pub(super) fn host(&self) -> String {
        self.dir.path().display().to_string().replace('/', "%2F")
    }

    pub(super) fn cut_after_next_commit(&self) {
        self.shared.cuts.store(AFTER, Ordering::SeqCst);
    }

    pub(super) fn cut_before_next_commit(&self) {
        self.shared.cuts.store(BEFORE, Ordering::SeqCst);
    }

    pub(super) fn say_that_next_commit_is_cancelled_though_it_is_kept(&self) {
        self.shared.cuts.store(KEEPS, Ordering::SeqCst);
    }

    pub(super) fn cancel_next_commit(&self) {
        self.shared.cuts.store(UNDOES, Ordering::SeqCst);
    }

    /// Nobody comes through from now on; who is through already stays.
    pub(super) fn refuse(&self) {
        self.shared.refuses.store(true, Ordering::SeqCst);
    }

    pub(super) fn accept(&self) {
        self.shared.refuses.store(false, Ordering::SeqCst);
    }

    pub(super) fn n_cut(&self) -> u32 {
        self.shared.n_cut.load(Ordering::SeqCst)
    }

    /// Waits for the first cut.
    pub(super) fn wait_for_cut(&self) {
        let changed = self.shared.changed.lock();
        let changed = changed.unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .shared
            .cut
            .wait_timeout_while(changed, BOUND, |()| self.n_cut() == 0);
        let (_changed, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "it is cut");
    }
}

impl Shared {
    fn carry(&self, client: &UnixStream, server: &UnixStream) {
        let is_mute = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                self.forward(client, server, &is_mute);
                if !is_mute.load(Ordering::SeqCst) {
                    close(client, server);
                }
            });
            let mut bytes = [0; 16 << 10];
            while let Some(read) = read(server, &mut bytes) {
                if is_mute.load(Ordering::SeqCst) {
                    // Nothing of it comes back, and the server has done all the same what it was sent.
                    if read.windows(COMMITTED.len()).any(|some| some == COMMITTED) {
                        break;
                    }
                } else if { client }.write_all(&self.answered(read)).is_err() {
                    break;
                }
            }
            close(client, server);
            if is_mute.load(Ordering::SeqCst) {
                self.note_cut();
            }
        });
    }

    /// What the client is to hear of what the server says.
    fn answered<'r>(&self, read: &'r [u8]) -> Cow<'r, [u8]> {
        if !self.forges.load(Ordering::SeqCst) {
            return Cow::Borrowed(read);
        }
        let ends = [COMMITTED_MESSAGE, ROLLED_BACK_MESSAGE];
        let Some(forged) = ends
            .iter()
            .find_map(|end| replaced(read, end, CANCELLED_MESSAGE))
        else {
            return Cow::Borrowed(read);
        };
        self.forges.store(false, Ordering::SeqCst);
        self.note_cut();
        Cow::Owned(forged)
    }

    /// From the client to the server, until it is cut.
    fn forward(&self, client: &UnixStream, server: &UnixStream, is_mute: &AtomicBool) {
        let mut bytes = [0; 64 << 10];
        let mut last: Vec<u8> = Vec::new();
        let mut named: Vec<u8> = Vec::new();
        while let Some(read) = read(client, &mut bytes) {
            last.extend_from_slice(read);
            if let Some(name) = named_commit(&last) {
                named = [b"\0", name, b"\0"].concat();
                last.clear();
            }
            let commits = !named.is_empty() && find(&last, &named).is_some();
            let kept = named.len().max(NAMED_BYTES).saturating_sub(1);
            last.drain(..last.len().saturating_sub(kept));
            if commits {
                last.clear();
            }
            let cuts = match commits {
                true => self.cuts.swap(NEVER, Ordering::SeqCst),
                false => NEVER,
            };
            match cuts {
                BEFORE => {
                    close(client, server);
                    self.note_cut();
                    return;
                }
                AFTER => is_mute.store(true, Ordering::SeqCst),
                KEEPS | UNDOES => self.forges.store(true, Ordering::SeqCst),
                _ => {}
            }
            let undone = match cuts {
                UNDOES => {
                    // A `Bind` to no portal: nothing comes behind it but that it is to be done.
                    let at = find(read, &named).and_then(|at| at.checked_sub(BIND_BYTES));
                    let before = &read[..at.expect("it comes in one piece")];
                    Some([before, ROLLBACK_MESSAGE].concat())
                }
                _ => None,
            };
            let sent = { server }.write_all(undone.as_deref().unwrap_or(read));
            if sent.is_err() || cuts == AFTER {
                return;
            }
        }
    }

    fn note_cut(&self) {
        self.n_cut.fetch_add(1, Ordering::SeqCst);
        self.cut.notify_all();
    }
}

/// The name under which what ends a turn is prepared, where it is there.
fn named_commit(sent: &[u8]) -> Option<&[u8]> {
    let before = &sent[..find(sent, COMMIT)?];
    let from = before
        .iter()
        .rposition(|byte| !byte.is_ascii_alphanumeric())?;
    Some(&before[from + 1..])
}

fn find(all: &[u8], wanted: &[u8]) -> Option<usize> {
    all.windows(wanted.len()).rposition(|some| some == wanted)
}

/// With the last of one message replaced by another; none where it is not in it.
fn replaced(read: &[u8], one: &[u8], by: &[u8]) -> Option<Vec<u8>> {
    let at = find(read, one)?;
    let (before, rest) = read.split_at(at);
    Some([before, by, &rest[one.len()..]].concat())
}

fn close(client: &UnixStream, server: &UnixStream) {
    drop(client.shutdown(Shutdown::Both));
    drop(server.shutdown(Shutdown::Both));
}

/// What came; none at the end.
fn read<'b>(mut from: &UnixStream, bytes: &'b mut [u8]) -> Option<&'b [u8]> {
    loop {
        match from.read(bytes) {
            Ok(0) => return None,
            Ok(n) => return bytes.get(..n),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_broken) => return None,
        }
    }
}
