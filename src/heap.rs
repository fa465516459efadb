//! Gives memory that is not used back to the system: freed heap, and what the start alone has read of the program.
//!
//! One of the two files with `unsafe`.

use std::ops::Range;

/// Returns free pages of the heap to the system; does nothing where the allocator is not glibc's.
///
/// glibc keeps what was freed: after a burst of 5,000 connections 151 MB stay resident where 20 MB are in use.
///
/// Costs milliseconds on a large heap: not for a request's path.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `malloc_trim` has no preconditions, is thread-safe, and touches free memory only.
    #[allow(unsafe_code)]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets go of the program file's pages that were read so far.
///
/// The start reads parsers, schemas and command-line texts that no request needs, and Linux maps 64 KiB around each
/// byte that is read: two thirds of a fresh process. What is needed again comes back from the page cache, at a
/// microsecond for each piece of 64 KiB. A page that anybody has written, a debugger for one, is kept.
pub(crate) fn let_go_of_start() {
    for range in unwritten_file_pages() {
        // SAFETY: the range is a mapping of this process's own file, in which no page was written: what is read there
        // again is read from the file, and is the same.
        #[allow(unsafe_code)]
        unsafe {
            libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTNEED);
        }
    }
}

/// Where the program's own file is mapped read-only, and no page differs from it.
#[allow(clippy::disallowed_methods, reason = "files of /proc are in memory, and read once by the background alone")]
fn unwritten_file_pages() -> Vec<Range<usize>> {
    let Ok(program) = std::fs::read_link("/proc/self/exe") else { return Vec::new() };
    let Ok(maps) = std::fs::read_to_string("/proc/self/smaps") else { return Vec::new() };
    unwritten(&maps, &program.to_string_lossy())
}

/// The same, out of the text of `smaps`: of each mapping a line that begins with its range, then what it holds.
fn unwritten(maps: &str, program: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut candidate = None;
    for line in maps.lines() {
        if let Some(range) = mapping(line) {
            let is_ours = line.ends_with(program) && [" r--p ", " r-xp "].iter().any(|rights| line.contains(rights));
            candidate = is_ours.then_some(range);
        } else if let Some(written) = line.strip_prefix("Anonymous:") {
            found.extend(candidate.take().filter(|_| written.trim() == "0 kB"));
        }
    }
    found
}

fn mapping(line: &str) -> Option<Range<usize>> {
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_program_only_what_nobody_wrote_is_let_go() {
        let maps = "\
            1000-3000 r--p 00000000 08:01 7 /usr/bin/sidekey\nRss: 8 kB\nAnonymous: 0 kB\nVmFlags: rd mr\n\
            3000-9000 r-xp 00002000 08:01 7 /usr/bin/sidekey\nRss: 24 kB\nAnonymous: 4 kB\n\
            9000-a000 r--p 00008000 08:01 7 /usr/bin/sidekey\nRss: 4 kB\nAnonymous: 0 kB\n\
            a000-b000 rw-p 00009000 08:01 7 /usr/bin/sidekey\nRss: 4 kB\nAnonymous: 0 kB\n\
            b000-c000 r-xp 00000000 08:01 9 /usr/lib/libc.so.6\nRss: 4 kB\nAnonymous: 0 kB\n\
            c000-d000 rw-p 00000000 00:00 0 \nRss: 4 kB\nAnonymous: 0 kB\n";

        assert_eq!(unwritten(maps, "/usr/bin/sidekey"), [0x1000..0x3000, 0x9000..0xa000]);
    }

    #[test]
    fn the_program_runs_on_without_the_pages_of_its_start() {
        let ranges = unwritten_file_pages();
        assert!(!ranges.is_empty());

        let_go_of_start();

        assert_eq!(unwritten_file_pages(), ranges);
    }
}
