//! What `transport` promises, against real sockets on loopback.

mod answers;
mod bodies;
mod connecting;
mod floods;
pub(crate) mod lab;
mod proxies;
mod stream_ends;
mod streams;
mod switches;
