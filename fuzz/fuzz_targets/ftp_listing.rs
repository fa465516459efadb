//! A folder's listing by FTP.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    sidekey::bench::fuzz::ftp_listing(data);
});
