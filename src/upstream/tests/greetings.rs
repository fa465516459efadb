//! What is heard of a server of files before SSH is spoken.

use super::files::{options, upstream};
use super::*;
use crate::files::{ServerAccess, ssh};
use crate::secret::Secret;

/// A server of SSH, or what says that it is one: it says this, and nothing more.
async fn code_and_words(said: &'static [u8], then: AfterGreeting) -> (&'static str, String) {
    let service = Service::raw(move |mut tcp, _| async move {
        let _left = tcp.write_all(said).await;
        if then == AfterGreeting::Waits {
            let _left = tcp.read_to_end(&mut Vec::new()).await;
        }
    })
    .await;
    let login =
        ssh::SshLogin { username: "acme".to_owned(), key: None, password: Some(Secret::new("secret".to_owned())) };
    let host_keys = ssh::HostKeys::pinned(vec!["SHA256:none".to_owned()]);
    let access = ServerAccess::Sftp(ssh::SshClient { host_keys, login, allow_sha1: false });
    let failure = send(&pool(&upstream(&service, Scheme::Sftp, access, options())), get("/a")).await.unwrap_err();
    (failure.error.code().word(), failure.error.to_string())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AfterGreeting {
    Leaves,
    Waits,
}

#[tokio::test(flavor = "local")]
async fn what_a_server_says_before_ssh_is_spoken_tells_why_it_is_not() {
    use AfterGreeting::{Leaves, Waits};
    for (said, then, code, words) in [
        // As OpenSSH says it.
        (&b"Exceeded MaxStartups\r\n"[..], Leaves, "overloaded", "Exceeded MaxStartups"),
        (b"Welcome\r\nToo many connections\r\n", Leaves, "overloaded", "Too many connections"),
        (b"Under maintenance\r\n", Leaves, "connection_terminated", "and said `Under maintenance`"),
        (b"", Leaves, "connection_terminated", "ended the connection"),
        (
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
            Waits,
            "file_error",
            "an HTTP server: `HTTP/1.1 400 Bad Request`",
        ),
        // As Python's server says it.
        (b"<!DOCTYPE HTML>\n<html lang=\"en\">\n", Leaves, "file_error", "an HTTP server: `<!DOCTYPE HTML>`"),
        (b"220 mail.example ESMTP\r\n", Waits, "file_error", "FTP or mail: `220 mail.example ESMTP`"),
        (b"\x15\x03\x01\0\x02\x02\x46", Waits, "file_error", "a server of TLS"),
        (b"\x4a\0\0\0\x0a8.0.36", Waits, "file_error", "bytes that are no text"),
    ] {
        let (found, text) = code_and_words(said, then).await;

        assert_eq!(found, code, "{text}");
        assert!(text.contains(words), "{text}");
    }
}
