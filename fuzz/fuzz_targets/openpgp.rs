//! An OpenPGP message.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    sidekey::bench::fuzz::openpgp(data);
});
