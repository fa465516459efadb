//! What a service sends over HTTP/2.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    sidekey::bench::fuzz::frames(data);
});
