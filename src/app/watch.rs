//! Whether the files have changed: looked at again and again, since a watch of the kernel's misses what is mounted or linked anew.

use crate::config::{Environment, RulesFrom, files_of, load};
use crate::rules::rule_files_of;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often the files are looked at. They are read when they were the same twice: then nobody is writing them any more.
pub const LOOKS_EVERY: Duration = Duration::from_secs(2);

/// Of a longer file only its size and times are looked at.
const HASHED_MAX_BYTES: u64 = 64 << 20;

/// The files of a configuration directory and of its rules, as they were read last.
#[derive(Debug)]
pub struct Watched {
    directory: PathBuf,
    environment: Environment,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, (Stamp, Hash)>,
    /// Where rules are, as the configuration of this hash says.
    rules: Option<(Hash, RulesFrom)>,
    /// What was read last.
    read: Option<Hash>,
    /// What is there since the last look, and was not read.
    waiting: Option<Hash>,
}

type Hash = [u8; 32];

/// A file whose stamp is the same has the same content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    place: (u64, u64),
}

impl Watched {
    pub fn new(directory: PathBuf, environment: Environment) -> Self {
        Self {
            directory,
            environment,
            state: Mutex::default(),
        }
    }

    /// The files are about to be read: what is written from now on is seen as a change.
    pub fn will_be_read(&self) {
        let mut state = self.lock();
        let now = self.hash(&mut state);
        state.read = Some(now);
        state.waiting = None;
    }

    /// Whether the files are other than those that were read, and the same as at the last look.
    pub fn has_settled(&self) -> bool {
        let mut state = self.lock();
        let now = self.hash(&mut state);
        if state.read == Some(now) {
            state.waiting = None;
            return false;
        }
        state.waiting.replace(now) == Some(now)
    }

    fn hash(&self, state: &mut State) -> Hash {
        let mut files = BTreeMap::new();
        let mut of_config = Sha256::new();
        for path in files_of(&self.directory) {
            add(&mut of_config, &path, state, &mut files);
        }
        let of_config: Hash = of_config.finalize().into();
        let known = state.rules.take().filter(|(of, _)| *of == of_config);
        let rules = known.map_or_else(|| self.rules(), |(_, rules)| rules);
        let mut all = Sha256::new();
        all.update(of_config);
        if let RulesFrom::Directory(directory) = &rules {
            all.update(directory.as_os_str().as_encoded_bytes());
            for path in rule_files_of(directory).unwrap_or_default() {
                add(&mut all, &path, state, &mut files);
            }
        }
        // The built-in ones give way to a directory that appears where one is looked for, whatever the files say.
        if rules != RulesFrom::BuiltIn {
            state.rules = Some((of_config, rules));
        }
        state.files = files;
        all.finalize().into()
    }

    /// Where the rules are, also where the configuration has errors.
    fn rules(&self) -> RulesFrom {
        let loaded = load(Some(&self.directory), &self.environment);
        let config = loaded.config.or(loaded.remains);
        config.map_or(RulesFrom::BuiltIn, |config| config.rules)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(
    hash: &mut Sha256,
    path: &Path,
    state: &State,
    files: &mut BTreeMap<PathBuf, (Stamp, Hash)>,
) {
    let name = path.as_os_str().as_encoded_bytes();
    hash.update(name.len().to_le_bytes());
    hash.update(name);
    let stamp = match fs::metadata(path) {
        Ok(found) => Stamp::of(&found),
        Err(error) => {
            hash.update(error.kind().to_string());
            return;
        }
    };
    let known = state.files.get(path);
    let known = known.and_then(|(known, hash)| (*known == stamp).then_some(*hash));
    match known.map_or_else(|| content(path, stamp), Ok) {
        Ok(content) => {
            hash.update(content);
            files.insert(path.to_owned(), (stamp, content));
        }
        Err(error) => hash.update(error.kind().to_string()),
    }
}

fn content(path: &Path, stamp: Stamp) -> std::io::Result<Hash> {
    let mut hash = Sha256::new();
    if stamp.size_bytes > HASHED_MAX_BYTES {
        hash.update(format!("{stamp:?}"));
        return Ok(hash.finalize().into());
    }
    let mut text = Vec::new();
    fs::File::open(path)?
        .take(HASHED_MAX_BYTES)
        .read_to_end(&mut text)?;
    hash.update(&text);
    Ok(hash.finalize().into())
}

impl Stamp {
    fn of(found: &fs::Metadata) -> Self {
        Self {
            size_bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
            place: (found.dev(), found.ino()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_once_they_were_the_same_twice() {
        let root = tempfile::tempdir().expect("a directory");
        let write =
            |name: &str, text: &str| fs::write(root.path().join(name), text).expect("a file");
        fs::create_dir(root.path().join("rules")).expect("a directory");
        write("rules/a.toml", "# a");
        let watched = Watched::new(root.path().to_owned(), Environment::default());
        watched.will_be_read();
        assert!(!watched.has_settled());
        // Written in pieces.
        write("rules/a.toml", "# b");
        assert!(!watched.has_settled());
        write("rules/a.toml", "# bc");
        assert!(!watched.has_settled());
        assert!(watched.has_settled());
        watched.will_be_read();
        assert!(!watched.has_settled());
        // Written anew, and the same: nothing to read.
        write("rules/a.toml", "# bc");
        assert!(!watched.has_settled());
        assert!(!watched.has_settled());
        // Taken back before anybody read it.
        write("rules/a.toml", "# c");
        assert!(!watched.has_settled());
        write("rules/a.toml", "# bc");
        assert!(!watched.has_settled());
    }

    #[test]
    fn files_that_come_and_go_are_seen_also_where_the_configuration_is_broken() {
        let root = tempfile::tempdir().expect("a directory");
        let write =
            |name: &str, text: &str| fs::write(root.path().join(name), text).expect("a file");
        let watched = Watched::new(root.path().to_owned(), Environment::default());
        let settles = || (!watched.has_settled(), watched.has_settled());
        watched.will_be_read();
        write("oncall.toml", "");
        assert_eq!(settles(), (true, true));
        watched.will_be_read();
        // A directory of rules where there was none.
        fs::create_dir(root.path().join("rules")).expect("a directory");
        write("rules/a.toml", "# a");
        assert_eq!(settles(), (true, true));
        watched.will_be_read();
        fs::create_dir(root.path().join("more")).expect("a directory");
        let more = root.path().join("more");
        write(
            "watchkeeper.toml",
            &format!("rules_dir = {more:?}\nodd = 1\n"),
        );
        assert_eq!(settles(), (true, true));
        watched.will_be_read();
        write("more/a.toml", "# a");
        assert_eq!(settles(), (true, true));
        watched.will_be_read();
        fs::remove_file(root.path().join("more/a.toml")).expect("it is there");
        assert_eq!(settles(), (true, true));
        // Tests are no rules.
        watched.will_be_read();
        fs::create_dir(root.path().join("more/tests")).expect("a directory");
        write("more/tests/a.toml", "# a");
        assert_eq!(settles(), (true, false));
    }
}
