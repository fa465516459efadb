//! A connection to a service, used again and again: any bytes as answers, cut anywhere, some before their request was written
//! to its end. Whatever they are, no connection is used again after an exchange that did not end on both sides.
//!
//! Run as `answer` is.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first bytes say where the rest is cut, and which answers come too early.
    let (cuts, rest) = data.split_at(data.len().min(4));
    let (late, answers) = rest.split_at(rest.len().min(2));
    sidekey::bench::reuse_is_earned(answers, cuts, late);
});
