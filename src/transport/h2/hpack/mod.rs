//! The compression of heads (RFC 7541). Pure: bytes and fields, no connection.
//!
//! What is written is for those who pay for each: a token of 800 bytes costs one byte from the second request on, and nothing
//! goes in Huffman's code. What is read is whatever the other end may write.

mod decoder;
mod encoder;
mod huffman;
mod known;
mod received;
mod sent;
#[cfg(test)]
mod tests;

pub(super) use self::decoder::HeadDecoder;
pub(super) use self::encoder::{HeadEncoder, RequestLine};
pub(super) use self::known::ReceivedName;
pub(super) use self::received::ReceivedField;
