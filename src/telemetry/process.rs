//! What the kernel says of this process, as every exporter of `process_*` metrics names it.

#![allow(clippy::disallowed_methods, reason = "files of /proc are in memory, and read by the background alone")]

use std::fs;
use std::time::{Duration, SystemTime};

/// Numbers of the process itself. A field is `None` where `/proc` can't be read.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) open_descriptors: Option<u64>,
    pub(super) max_descriptors: Option<u64>,
    /// Seconds since the epoch.
    pub(super) start_seconds: Option<f64>,
}

impl Process {
    /// Reads `/proc/self`.
    pub(super) fn now() -> Self {
        let stat = Stat::parse(&kernel_says("/proc/self/stat"));
        let status = kernel_says("/proc/self/status");
        let limits = kernel_says("/proc/self/limits");
        Self {
            cpu_seconds: stat.map(|stat| stat.cpu_ticks as f64 / TICKS_PER_SECOND),
            resident_bytes: number_after(&status, "VmRSS:").map(|kibibytes| kibibytes * 1024),
            virtual_bytes: number_after(&status, "VmSize:").map(|kibibytes| kibibytes * 1024),
            // The descriptor that lists the directory is one of them.
            open_descriptors: fs::read_dir("/proc/self/fd").ok().map(|all| (all.count() as u64).saturating_sub(1)),
            max_descriptors: number_after(&limits, "Max open files"),
            start_seconds: stat.and_then(start_seconds),
        }
    }
}

/// The fields of `/proc/self/stat` that are wanted (proc(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    /// Since boot.
    start_ticks: u64,
}

impl Stat {
    fn parse(line: &str) -> Option<Self> {
        // The second field is the program's name in parentheses and may hold spaces and parentheses itself.
        let (_, behind_name) = line.rsplit_once(')')?;
        let fields: Vec<_> = behind_name.split_ascii_whitespace().collect();
        // proc(5) numbers fields from 1; the first one behind the name is number 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self { cpu_ticks: field(14)? + field(15)?, start_ticks: field(22)? })
    }
}

fn start_seconds(stat: Stat) -> Option<f64> {
    let uptime: f64 = kernel_says("/proc/uptime").split_ascii_whitespace().next()?.parse().ok()?;
    let age = Duration::try_from_secs_f64(uptime - stat.start_ticks as f64 / TICKS_PER_SECOND).unwrap_or_default();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(now.checked_sub(age)?.as_secs_f64())
}

/// A file of `/proc`; empty if it can't be read.
#[expect(
    clippy::disallowed_methods,
    reason = "there is no disk behind these files: the kernel writes them as they are read"
)]
fn kernel_says(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The first number of the line that starts with `label`.
fn number_after(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// `USER_HZ`, in which the kernel shows times to programs: 100 on every architecture that Rust has a Linux target for.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_spaces_and_parentheses_shifts_no_field() {
        let line = "42 (a (b) c) S 4 5 6 7 8 9 10 11 12 13 70 30 16 17 18 19 20 21 1234 23 24";

        let stat = Stat::parse(line);

        assert_eq!(stat, Some(Stat { cpu_ticks: 100, start_ticks: 1234 }));
    }

    #[test]
    fn a_line_that_is_cut_short_is_no_stat() {
        assert_eq!(Stat::parse("42 (sidekey) S 1 2 3"), None);
    }

    #[test]
    fn every_number_of_this_process_is_known() {
        let process = Process::now();

        assert!(process.cpu_seconds.is_some());
        assert!(process.resident_bytes > Some(0));
        assert!(process.virtual_bytes >= process.resident_bytes);
        assert!(process.open_descriptors > Some(0));
        assert!(process.max_descriptors >= process.open_descriptors);
        // Within the uptime's and the clock's rounding.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(process.start_seconds.is_some_and(|start| start <= now + 1.0 && start > now - 86_400.0));
    }
}
