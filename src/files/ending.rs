//! What sockets fail with when the other side is gone.

use std::io;

/// Whether it says no more than that the other side is gone; a number of the system's helps nobody.
pub(super) fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::UnexpectedEof | Kind::BrokenPipe | Kind::ConnectionReset | Kind::ConnectionAborted | Kind::NotConnected
    )
}
