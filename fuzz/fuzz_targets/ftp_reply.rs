//! What an FTP server says.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    sidekey::bench::fuzz::ftp_reply(data);
});
