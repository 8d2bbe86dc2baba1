//! What a process costs, as the kernel counts it, and how measurements are summed up.

use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::ClockId;
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// The CPU time that a process has used since its start, all its threads together, user and system.
pub(crate) fn cpu_time(process_id: u32) -> Result<Duration> {
    let pid = Pid::from_raw(process_id.try_into().context("a process id")?);
    let clock = ClockId::pid_cpu_clock_id(pid).with_context(|| format!("process {process_id} is gone"))?;
    Ok(clock.now().context("the process's CPU clock")?.into())
}

/// The CPU time of a process and of its children, those that have ended included, in steps of the kernel's clock tick.
pub(crate) fn cpu_time_with_children(process_id: u32) -> Result<Duration> {
    let own = Stat::of(process_id)?;
    let children = std::fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|process| Stat::of(process).ok())
        .filter(|stat| stat.parent == process_id);
    let ticks = own.ticks + own.ticks_of_ended_children + children.map(|stat| stat.ticks).sum::<u64>();
    // Linux tells these times in hundredths of a second on every machine (USER_HZ).
    Ok(Duration::from_millis(ticks * 10))
}

/// The CPU time that all processes together have used since the machine's start.
pub(crate) fn cpu_time_of_all() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks = line.split_whitespace().skip(1).map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    // user, nice, system, then idle and iowait, in which nothing runs (proc_stat(5)).
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    // The last two are part of user and nice.
    let all: u64 = ticks.iter().take(8).sum();
    Ok(Duration::from_millis((all - idle) * 10))
}

/// What `/proc/<id>/stat` tells (proc_pid_stat(5)).
struct Stat {
    parent: u32,
    /// Used by the process itself, user and system.
    ticks: u64,
    ticks_of_ended_children: u64,
}

impl Stat {
    fn of(process_id: u32) -> Result<Self> {
        let text = std::fs::read_to_string(format!("/proc/{process_id}/stat"))?;
        // The second field is a name in brackets, which may hold anything.
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let number = |field: usize| -> Result<u64> {
            // The first field behind the name is the third.
            let text = fields.get(field - 3).with_context(|| format!("no field {field} in stat"))?;
            text.parse().with_context(|| format!("field {field} of stat"))
        };
        Ok(Self {
            parent: number(4)?.try_into()?,
            ticks: number(14)? + number(15)?,
            ticks_of_ended_children: number(16)? + number(17)?,
        })
    }
}

/// The memory of a process that is resident, in MB (10^6 bytes).
pub(crate) fn resident_mb(process_id: u32) -> Result<f64> {
    Ok(memory_bytes(process_id, "VmRSS:")? / 1e6)
}

/// The address space of a process, in GB (10^9 bytes); most of it may never be touched.
pub(crate) fn address_space_gb(process_id: u32) -> Result<f64> {
    Ok(memory_bytes(process_id, "VmSize:")? / 1e9)
}

/// A line of `/proc/<id>/status`.
fn memory_bytes(process_id: u32, name: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process_id}/status"))?;
    let kib = status.lines().find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"));
    let kib: f64 = kib.with_context(|| format!("a process without {name}"))?.parse()?;
    Ok(kib * 1024.0)
}

/// The rounds of one measurement: their median, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let lower = if values.len().is_multiple_of(2) { *values.get(middle - 1)? } else { upper };
        Some(Self { median: f64::midpoint(lower, upper), min: *values.first()?, max: *values.last()? })
    }

    /// The median with the span of the rounds: `180 (175–190)`.
    pub(crate) fn text(&self, decimals: usize) -> String {
        let Self { median, min, max } = self;
        format!("{median:.decimals$} ({min:.decimals$}–{max:.decimals$})")
    }
}

pub(crate) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
