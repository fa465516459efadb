//! The heads of requests, written by us in the place of h2.
//!
//! h2 writes a field's value anew for each request, letter by letter in Huffman's code, and `authorization` without
//! exception: for a token of 800 bytes that is more work than all else it does for a request. So h2 is given a head that
//! says next to nothing, and where its bytes pass on their way to the socket ([`SplicedWire`]) the true head
//! (`RequestHead`) takes that one's place, written by a `HeadEncoder` that knows what the connection has carried before.
//!
//! ```text
//!  request ──► h2: stand-in, stream 5 ──► HEADERS 5, DATA 5 ──► SplicedWire ──► HEADERS 5 (true), DATA 5 ──► TLS
//!     └──────► PendingHeads: (5, true head) ────────────────────────┘
//! ```
//!
//! Promises that no stand-in leaves: without its true head a connection ends. Trailers stay h2's, written so that they
//! refer to nothing that only h2 knows.

mod encoder;
mod pending;
mod spliced;
mod table;
#[cfg(test)]
mod tests;

pub(super) use self::pending::{PendingHeads, stand_in};
pub(super) use self::spliced::SplicedWire;
