//! A service's answer: any bytes, cut anywhere. Whatever they are, it neither panics nor reads in pieces what it does
//! not read at once.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first bytes say where the rest is cut.
    let (cuts, answer) = data.split_at(data.len().min(4));
    sidekey::bench::pieces_make_no_difference(answer, cuts);
});
