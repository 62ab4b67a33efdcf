//! A small disk of a test's own: ext4 in a file, by a loop device. Only root may have one.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Once told to, what Linux calls `EXT4_IOC_SHUTDOWN`, with its flag for losing what was not flushed.
const SHUTDOWN: &str = "import fcntl, os, struct, sys; \
    disk = os.open(sys.argv[1], os.O_RDONLY); print('ready', flush=True); sys.stdin.readline(); \
    fcntl.ioctl(disk, 0x8004587d, struct.pack('I', 2))";

/// How often a disk that is still held is asked to let go.
const TRIES: usize = 500;

/// Cuts the power of a disk.
pub(crate) struct Switch(Child);

impl Switch {
    /// From now on nothing reaches the disk, and what was not flushed is lost.
    pub(crate) fn cut(mut self) {
        drop(self.0.stdin.take());
        let status = self.0.wait().expect("it ends");
        assert!(status.success(), "ext4 can be shut down: {status}");
    }
}

/// Dropped, it is gone.
pub(crate) struct Disk {
    dir: TempDir,
}

impl Disk {
    /// None where this machine gives none: then it says aloud that the test named `what` is skipped.
    pub(crate) fn new(what: &str, megabytes: u64) -> Option<Self> {
        match Self::make(megabytes) {
            Ok(disk) => Some(disk),
            Err(why) => {
                // Past what the test runner captures.
                let mut aloud = std::io::stderr().lock();
                writeln!(aloud, "skipped: {what}: {why}").expect("it can be said");
                None
            }
        }
    }

    fn make(megabytes: u64) -> Result<Self, String> {
        if !is_root()? {
            return Err("only root can have a loop device".to_owned());
        }
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let disk = Self { dir };
        let image = File::create(disk.image()).map_err(|error| error.to_string())?;
        let sized = image.set_len(megabytes << 20);
        sized.map_err(|error| error.to_string())?;
        std::fs::create_dir(disk.path()).map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4")
            .args(["-q", "-m", "0"])
            .arg(disk.image()))?;
        disk.mount()?;
        Ok(disk)
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    fn mount(&self) -> Result<(), String> {
        let mut mount = Command::new("mount");
        run(mount
            .args(["-o", "loop"])
            .arg(self.image())
            .arg(self.path()))
    }

    /// A hand on the switch, so that the cut itself takes no time.
    pub(crate) fn switch(&self) -> Switch {
        let mut python = Command::new("python3");
        python.args(["-c", SHUTDOWN]).arg(self.path());
        python.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut hand = python.spawn().expect("python3 starts");
        let mut ready = String::new();
        let said = hand.stdout.as_mut().expect("it is ours");
        let read = BufReader::new(said).read_line(&mut ready);
        assert!(read.is_ok() && ready == "ready\n", "{read:?} {ready}");
        Switch(hand)
    }

    /// As a machine that has power again. Nobody may have a file open on it.
    pub(crate) fn remount(&self) {
        // A killed process lets go of its files a moment after it is waited for.
        let unmounted = (0..TRIES).find(|_| self.unmount().is_ok());
        assert!(unmounted.is_some(), "{:?}", self.unmount());
        self.mount().expect("it can be mounted again");
    }

    fn unmount(&self) -> Result<(), String> {
        run(Command::new("umount").arg(self.path()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Also where a failed test still has a daemon on it.
        drop(run(Command::new("umount").arg("--lazy").arg(self.path())));
    }
}

fn is_root() -> Result<bool, String> {
    let asked = Command::new("id").arg("-u").output();
    let asked = asked.map_err(|error| error.to_string())?;
    Ok(asked.stdout.trim_ascii() == b"0")
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program}: {}", said.trim()))
}
