//! What few requests come to, out of the way of all others.

use std::pin::Pin;

/// Makes a future that few of those who could await it do.
///
/// In a box it takes no room in the future that awaits it. But where its type is known there, it is polled in that one's
/// stack frame all the same, and every poll goes down the stack page by page for it: past 80 KiB for a connection that might
/// turn out to be HTTP/2. So its type is not known.
#[cold]
#[inline(never)]
pub(crate) fn aside<'a, F: Future + 'a>(make: impl FnOnce() -> F) -> Pin<Box<dyn Future<Output = F::Output> + 'a>> {
    Box::pin(make())
}
