//! A PKCS#12 file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    sidekey::bench::fuzz::pkcs12(data);
});
