//! Gives freed heap back to the system.
//!
//! One of the two files with `unsafe`.

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
