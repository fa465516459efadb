//! A PEM file of certificates and keys.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    sidekey::bench::fuzz::pem(data);
});
