//! A connection to a service, used again and again, with uploads.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    sidekey::bench::fuzz::reuse(data);
});
