//! Processes from the outside: pinned to a core, their CPU time and memory read from `/proc`.
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};

/// The unit of times in `/proc/PID/stat`: Linux shows a hundredth of a second to every program (`getconf CLK_TCK`).
const TICK: Duration = Duration::from_millis(10);

/// User and system time that all threads of a process used since its start.
pub(crate) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("reading a process's CPU time")?;
    // The name, in parentheses, may contain anything; the fields after it are numbers. utime and stime are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(')').context("/proc/PID/stat has no name")?;
    let ticks = |field: usize| -> anyhow::Result<u32> {
        Ok(fields.split_whitespace().nth(field - 3).context("/proc/PID/stat is too short")?.parse()?)
    };
    Ok(TICK * (ticks(14)? + ticks(15)?))
}

/// CPU time of one thread of this process, named by the kernel's number.
pub(crate) fn thread_cpu(tid: u32) -> anyhow::Result<Duration> {
    let text = fs::read_to_string(format!("/proc/self/task/{tid}/schedstat")).context("reading a thread's CPU time")?;
    let nanoseconds = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// CPU time of a process's living threads, added up by their names.
pub(crate) fn threads(pid: u32) -> anyhow::Result<BTreeMap<String, Duration>> {
    let mut by_name = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task")).context("listing a process's threads")? {
        let dir = entry?.path();
        // A thread may end between the listing and the reading.
        let (Ok(name), Ok(text)) = (fs::read_to_string(dir.join("comm")), fs::read_to_string(dir.join("schedstat")))
        else {
            continue;
        };
        let nanoseconds = text.split(' ').next().unwrap_or_default().parse()?;
        *by_name.entry(name.trim().to_owned()).or_default() += Duration::from_nanos(nanoseconds);
    }
    Ok(by_name)
}

/// The kernel's number of the calling thread.
pub(crate) fn this_thread() -> anyhow::Result<u32> {
    let link = fs::read_link("/proc/thread-self").context("finding this thread in /proc")?;
    let name = link.file_name().and_then(|name| name.to_str()).context("/proc/thread-self names no thread")?;
    Ok(name.parse()?)
}

/// A line such as `VmHWM` of `/proc/PID/status`, in MiB.
pub(crate) fn memory_mib(pid: u32, line: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("reading a process's memory")?;
    let value = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'));
    let kib: f64 = value.and_then(|text| text.trim().strip_suffix(" kB")).context("no such line of memory")?.parse()?;
    Ok(kib / 1024.0)
}

/// Pins all threads of a process to one core.
pub(crate) fn pin(pid: u32, core: usize) -> anyhow::Result<()> {
    let output = Command::new("taskset").args(["-acp", &core.to_string(), &pid.to_string()]).output();
    let output = output.context("taskset (Debian: util-linux) is needed to give each process its core")?;
    ensure!(output.status.success(), "taskset: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A command that runs on one core from its first instruction; its pid is the program's own.
pub(crate) fn pinned(core: usize, program: &std::path::Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", &core.to_string()]).arg(program);
    command
}
