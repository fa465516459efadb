//! A service's answer: any bytes, cut anywhere. Whatever they are, it neither panics nor reads in pieces what it does
//! not read at once.
//!
//! `cargo fuzz run answer`; or on stable Rust, without a sanitizer, which the lack of `unsafe` can spare:
//!
//! ```sh
//! RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
//!     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
//!     -Cllvm-args=-sanitizer-coverage-trace-compares" \
//!     cargo run --release --target x86_64-unknown-linux-gnu -- -runs=10000000 -max_len=200
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first bytes say where the rest is cut.
    let (cuts, answer) = data.split_at(data.len().min(4));
    sidekey::bench::pieces_make_no_difference(answer, cuts);
});
