//! What an SFTP server says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    sidekey::bench::fuzz::sftp(data);
});
