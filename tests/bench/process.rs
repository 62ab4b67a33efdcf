//! What a process costs, from `/proc`, and how it is held, let go and killed.

use anyhow::{Context, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::process::Child;
use std::time::Duration;

/// The clock of `/proc/PID/stat` has 100 ticks a second on every Linux this runs on.
const TICK: Duration = Duration::from_millis(10);

/// User and system time of a process so far, of all its threads, also of those that have ended.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    // The name stands in brackets and may hold anything, spaces too.
    let (_, fields) = text.rsplit_once(") ").context("a stat without a name")?;
    let ticks = |nth: usize| -> anyhow::Result<u32> {
        let field = fields.split(' ').nth(nth).context("a short stat")?;
        Ok(field.parse()?)
    };
    Ok(TICK * (ticks(11)? + ticks(12)?))
}

/// The same of a process and of all that it started, also of those that it has waited for.
pub(crate) fn tree_cpu(pid: u32) -> anyhow::Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let (_, fields) = text.rsplit_once(") ").context("a stat without a name")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let ticks: u32 = fields
        .get(11..15)
        .context("a short stat")?
        .iter()
        .map(|field| field.parse::<u32>().unwrap_or(0))
        .sum();
    let children = format!("/proc/{pid}/task/{pid}/children");
    let mut all = TICK * ticks;
    for child in fs::read_to_string(children)?.split_whitespace() {
        // It may have ended since.
        all += tree_cpu(child.parse()?).unwrap_or_default();
    }
    Ok(all)
}

/// Resident memory in bytes.
pub(crate) fn resident(pid: u32) -> anyhow::Result<u64> {
    status_bytes(pid, "VmRSS:")
}

/// The most that this process held since it was last forgotten.
pub(crate) fn peak() -> anyhow::Result<u64> {
    status_bytes(std::process::id(), "VmHWM:")
}

pub(crate) fn forget_peak() -> anyhow::Result<()> {
    let path = "/proc/self/clear_refs";
    fs::write(path, "5").with_context(|| path.to_owned())
}

fn status_bytes(pid: u32, name: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib: u64 = kib
        .with_context(|| format!("process {pid} has ended"))?
        .parse()?;
    Ok(kib * 1024)
}

/// Stops a process where it is, so that it costs the others nothing.
pub(crate) fn hold(child: &Child) -> anyhow::Result<()> {
    signal(child, Signal::STOP)
}

pub(crate) fn let_go(child: &Child) -> anyhow::Result<()> {
    signal(child, Signal::CONT)
}

fn signal(child: &Child, signal: Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| anyhow!("{} is no process id", child.id()))?;
    Ok(kill_process(pid, signal)?)
}

/// Ends a process as a power cut would, for it alone.
pub(crate) fn kill(child: &mut Child) -> anyhow::Result<()> {
    child.kill()?;
    child.wait()?;
    Ok(())
}
