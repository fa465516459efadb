//! A client's connection: any bytes, in any pieces, with any pauses. Whatever they are, no request is carried out that is
//! not there, and none after the last answer.
//!
//! Run as `answer` is.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first bytes say where the rest is cut, and how long it pauses there.
    let (cuts, bytes) = data.split_at(data.len().min(6));
    sidekey::bench::no_request_is_made_up(bytes, cuts);
});
