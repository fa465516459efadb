//! How many connections the descriptors of the process suffice for.
//!
//! A connection of an app and the one to its service take a descriptor each, and one that can't be had is an error in the
//! middle of something. So the limit of connections is fitted to them. As many are left for services, up to a number that
//! few have use for; and some are kept for the admin and health ports, for the files of a reload, for what the runtime opens.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config;

/// How many connections may be open at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Of apps.
    pub(crate) traffic: usize,
    /// Of the admin port, and as many of the health port.
    pub(crate) others: usize,
}

impl Capacity {
    /// For `limits.connections`, as far as `descriptors` allow.
    pub(crate) fn fit(wanted: usize, descriptors: u64) -> Self {
        let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
        let kept = (descriptors / 4).min(MOST_KEPT);
        let upstream = ((descriptors - kept) / 2).min(MOST_UPSTREAM);
        let traffic = (descriptors - kept - upstream).max(1).min(wanted);
        // A third is for everything that is no connection.
        Self { traffic, others: (kept / 3).max(1) }
    }
}

/// Raises the limit of open descriptors as far as this process may, and returns it. What it starts keeps the old one.
pub(crate) fn raise() -> u64 {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files can't be read");
            return DESCRIPTORS_EVERYWHERE;
        }
    };
    if soft < hard {
        config::hand_on_open_files(soft, hard);
    }
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Err(error) if soft < hard => {
            tracing::warn!(%error, soft, "the limit of open files can't be raised");
            soft
        }
        _ => hard,
    }
}

/// What a process has where nobody says anything else.
const DESCRIPTORS_EVERYWHERE: u64 = 1024;
/// Enough for 64 connections of operators, as many of probes, and as many other things.
const MOST_KEPT: usize = 3 * 64;
const MOST_UPSTREAM: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_what_the_config_says_where_there_is_room_and_fits_where_there_is_not() {
        let table = [
            ((10_000, 1_048_576), (10_000, 64)),
            ((10_000, 20_000), (10_000, 64)),
            ((10_000, 12_000), (7_712, 64)),
            ((10_000, 1_024), (416, 64)),
            ((10_000, 256), (96, 21)),
            ((10, 1_024), (10, 64)),
            ((10_000, 20), (8, 1)),
            ((10_000, 0), (1, 1)),
        ];
        for ((wanted, descriptors), (traffic, others)) in table {
            assert_eq!(Capacity::fit(wanted, descriptors), Capacity { traffic, others }, "{wanted} of {descriptors}");
        }
    }
}
