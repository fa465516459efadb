//! What is fuzzed: every parser of ours, each as a function that any bytes may be given to, and that panics where a promise
//! is broken, and says whether it took them. `fuzz/` gives them to libFuzzer; a test gives each a few thousand inputs on stable.

use std::sync::Arc;

use http::HeaderMap;
use http::uri::PathAndQuery;
use tokio::runtime::LocalRuntime;

use super::{attach_to, compile};
#[cfg(feature = "files")]
use crate::files;
#[cfg(feature = "openpgp")]
use crate::openpgp::{BeyondCheck, trial as trial_of_messages};
use crate::server::trial;
use crate::server::worker::runtime_of_one_thread;
use crate::transport::Outgoing;
#[cfg(any(feature = "files", feature = "openpgp"))]
use crate::transport::pieces;
use crate::{config, credential, route, tls, transport};

/// A parser, and how the test on stable fuzzes it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Of its program in `fuzz/fuzz_targets`, and of the folder in `fuzz/seeds`.
    pub name: &'static str,
    /// Panics where a promise is broken; says whether the input is of the kind that is taken.
    pub run: fn(&[u8]) -> bool,
    /// What chance alone would seldom make.
    pub words: &'static [&'static str],
    /// How many inputs are tried by every run of the tests: a second's worth, without optimization.
    pub rounds: u32,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "answer", run: answer, words: HTTP, rounds: 20_000 },
    Target { name: "config", run: config, words: YAML, rounds: 200 },
    Target { name: "connection", run: connection, words: HTTP, rounds: 300 },
    Target { name: "frames", run: frames, words: FRAMES, rounds: 20_000 },
    #[cfg(feature = "files")]
    Target { name: "ftp_listing", run: ftp_listing, words: FTP, rounds: 20_000 },
    #[cfg(feature = "files")]
    Target { name: "ftp_reply", run: ftp_reply, words: FTP, rounds: 20_000 },
    Target { name: "metadata", run: metadata, words: JSON, rounds: 20_000 },
    #[cfg(feature = "openpgp")]
    Target { name: "openpgp", run: openpgp, words: OPENPGP, rounds: 500 },
    Target { name: "pem", run: pem, words: PEM, rounds: 5_000 },
    Target { name: "pkcs12", run: pkcs12, words: DER, rounds: 2_000 },
    Target { name: "query", run: query, words: QUERY, rounds: 20_000 },
    Target { name: "reuse", run: reuse, words: HTTP, rounds: 20_000 },
    #[cfg(feature = "files")]
    Target { name: "sftp", run: sftp, words: SFTP, rounds: 10_000 },
    Target { name: "target", run: target, words: PATH, rounds: 20_000 },
    Target { name: "token", run: token, words: JSON, rounds: 20_000 },
];

/// A service's answer, cut as its first four bytes say: whatever comes, it neither panics nor reads in pieces what it does
/// not read at once.
pub fn answer(data: &[u8]) -> bool {
    let (cuts, answer) = data.split_at(data.len().min(4));
    transport::pieces_make_no_difference(answer, cuts)
}

/// The config file: what is wrong with it is told in one way, at places that it has, and without a secret.
pub fn config(data: &[u8]) -> bool {
    config::trial::problems_are_told(data)
}

/// A client's connection, cut and paused as its first six bytes say: no request is carried out that hyper's own server does
/// not read in it, and none after the last answer.
pub fn connection(data: &[u8]) -> bool {
    thread_local! {
        static RUNTIME: LocalRuntime =
            runtime_of_one_thread()().unwrap_or_else(|error| panic!("no runtime: {error}"));
    }
    let (cuts, bytes) = data.split_at(data.len().min(6));
    let played = RUNTIME.with(|runtime| runtime.block_on(trial::no_request_is_made_up(bytes, cuts)));
    played.unwrap_or_else(|error| panic!("no sockets: {error}"))
}

/// What a service sends over HTTP/2, cut as its first four bytes say: whatever comes, three requests come to an end, the same as
/// if it had come at once.
pub fn frames(data: &[u8]) -> bool {
    let (cuts, frames) = data.split_at(data.len().min(4));
    transport::cuts_make_no_difference(frames, cuts)
}

/// A folder's listing by FTP, of `MLSD` if the first byte is odd and else of `LIST`, cut as the next four say: what comes in
/// pieces has the same entries, and the app can go by each of them.
#[cfg(feature = "files")]
pub fn ftp_listing(data: &[u8]) -> bool {
    let Some((first, rest)) = data.split_first() else { return false };
    let (cuts, lines) = rest.split_at(rest.len().min(4));
    files::ftp::trial::listings_are_read_alike(lines, &pieces(lines, cuts), first % 2 == 1)
}

/// What an FTP server says on its control connection, cut as the first four bytes say: the same replies, and bounded ones.
#[cfg(feature = "files")]
pub fn ftp_reply(data: &[u8]) -> bool {
    let (cuts, lines) = data.split_at(data.len().min(4));
    files::ftp::trial::replies_are_read_alike(lines, &pieces(lines, cuts))
}

/// An issuer's metadata, with a status and fields that its first byte names: credentials go nowhere worse than where the
/// issuer is.
pub fn metadata(data: &[u8]) -> bool {
    credential::oauth2::trial::metadata_lead_to_no_worse_place(data)
}

/// An OpenPGP message, cut as its second to fifth bytes say, or, if the first is odd, what is inside one: the same plaintext or
/// the same words, nothing that was changed with a good end, and no more than may come out.
#[cfg(feature = "openpgp")]
pub fn openpgp(data: &[u8]) -> bool {
    let Some((first, rest)) = data.split_first() else { return false };
    let (cuts, bytes) = rest.split_at(rest.len().min(4));
    let beyond = if first & 2 == 0 { BeyondCheck::Stream } else { BeyondCheck::Refuse };
    match first % 2 {
        0 => trial_of_messages::messages_are_read_alike(bytes, &pieces(bytes, cuts), beyond),
        _ => trial_of_messages::insides_are_read_alike(bytes, |message| pieces(message, cuts), beyond),
    }
}

/// A PEM file: each section that begins is read, or the file is refused.
pub fn pem(data: &[u8]) -> bool {
    tls::trial::every_section_counts(data)
}

/// A PKCS#12 file: its chain begins with the certificate of its key, and has each certificate once.
pub fn pkcs12(data: &[u8]) -> bool {
    tls::trial::a_chain_begins_with_its_key(data)
}

/// A target that gets a credential in its query: it has exactly one parameter of that name, ours. All others stay as they came,
/// in their order, but for those that some service may take for ours.
pub fn query(data: &[u8]) -> bool {
    thread_local! {
        static ATTACH: Attach = Box::new(attach_to(Arc::clone(&compile(WITH_QUERY).services[0])));
    }
    let Ok(asked) = PathAndQuery::try_from(data) else { return false };
    let Some(sent) = ATTACH.with(|attach| attach(asked.clone(), HeaderMap::new())) else { return false };

    let query = sent.target.query().unwrap_or_default();
    let read = form_urlencoded::parse(query.as_bytes());
    let ours: Vec<_> = read.filter(|(name, _)| name == "api key").map(|(_, value)| value.into_owned()).collect();
    assert_eq!(ours, ["a b&c"], "{asked} is sent as {}", sent.target);
    let mut left = query.split(['&', ';']);
    let mut next = left.next();
    for came in asked.query().unwrap_or_default().split(['&', ';']) {
        if next == Some(came) {
            next = left.next();
        } else {
            assert!(may_be_ours(came), "{came} is not in {}", sent.target);
        }
    }
    let rest: Vec<_> = next.into_iter().chain(left).filter(|part| !part.is_empty()).collect();
    assert_eq!(rest, ["api%20key=a%20b%26c"], "{asked} is sent as {}", sent.target);
    assert_eq!(sent.target.path(), asked.path());
    true
}

/// A connection to a service, used again and again: bytes as answers, cut as the first four say, some before their request
/// was uploaded to its end, as the next two say. None is used again after an exchange that did not end on both sides.
pub fn reuse(data: &[u8]) -> bool {
    let (cuts, rest) = data.split_at(data.len().min(4));
    let (late, answers) = rest.split_at(rest.len().min(2));
    transport::reuse_is_earned(answers, cuts, late)
}

/// What an SFTP server says to what the first byte names, cut as the next four say: it comes to the same, no file ends but where
/// the server said, and none is written that was not confirmed.
#[cfg(feature = "files")]
pub fn sftp(data: &[u8]) -> bool {
    let Some((first, rest)) = data.split_first() else { return false };
    let (cuts, packets) = rest.split_at(rest.len().min(4));
    files::sftp::trial::sessions_go_alike(*first, packets, &pieces(packets, cuts))
}

/// The target of a request: what is let through is sent as it came, and stays under the base path.
pub fn target(data: &[u8]) -> bool {
    route::trial::nothing_leaves_the_base_path(data)
}

/// A token endpoint's answer, with a status and fields that its first byte names: it is a token that can be sent, and reads
/// the same once written down, or a reason that quotes it legibly and without our secret.
pub fn token(data: &[u8]) -> bool {
    credential::oauth2::trial::an_answer_is_a_token_or_a_reason(data)
}

type Attach = Box<dyn Fn(PathAndQuery, HeaderMap) -> Option<Outgoing>>;

const WITH_QUERY: &str =
    "services: { a: { url: 'https://a.example', auth: { type: api_key, query: api key, key: a b&c } } }";

const HTTP: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 204 \r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "GET / HTTP/1.1\r\n",
    "POST /early HTTP/1.1\r\n",
    "HEAD /unread HTTP/1.0\r\n",
    "Host: a\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive\r\n",
    "Expect: 100-continue\r\n",
    "Upgrade: h2c\r\n",
    "Trailer: x\r\n",
    "x: y\r\n",
    "\r\n",
    "\n",
    "\r\n\r\n",
    "0\r\n\r\n",
    "3\r\nabc\r\n",
    ";a=\"b\"",
    "ffffffffffffffff",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];
const FRAMES: &[&str] = &[
    // SETTINGS, and their windows.
    "\0\0\0\u{4}\0\0\0\0\0",
    "\0\0\u{6}\u{4}\0\0\0\0\0\0\u{4}\0\0\0\u{9}",
    "\0\0\u{6}\u{4}\0\0\0\0\0\0\u{1}\0\0\0\0",
    // HEADERS with a status, an interim one, a length, and a field to be remembered.
    "\0\0\u{5}\u{1}\u{4}\0\0\0\u{1}\u{8}\u{3}200",
    "\0\0\u{5}\u{1}\u{5}\0\0\0\u{3}\u{8}\u{3}204",
    "\0\0\u{5}\u{1}\u{4}\0\0\0\u{5}\u{8}\u{3}103",
    "\0\0\u{9}\u{1}\u{4}\0\0\0\u{1}\u{8}\u{3}200\u{f}\u{d}\u{1}5",
    "\0\0\u{a}\u{1}\u{4}\0\0\0\u{5}\u{8}\u{3}200@\u{1}x\u{1}y",
    // Trailers, and a head that goes on.
    "\0\0\u{5}\u{1}\u{5}\0\0\0\u{1}\0\u{1}x\u{1}y",
    "\0\0\u{5}\u{1}\0\0\0\0\u{1}\u{8}\u{3}200",
    "\0\0\0\u{9}\u{4}\0\0\0\u{1}",
    // DATA.
    "\0\0\u{5}\0\0\0\0\0\u{1}hello",
    "\0\0\u{5}\0\u{1}\0\0\0\u{1}hello",
    "\0\0\u{5}\0\u{9}\0\0\0\u{5}\u{2}hi\0\0",
    "\0\0\0\0\u{1}\0\0\0\u{1}",
    // RST_STREAM, PING, GOAWAY, WINDOW_UPDATE.
    "\0\0\u{4}\u{3}\0\0\0\0\u{1}\0\0\0\u{8}",
    "\0\0\u{8}\u{6}\0\0\0\0\u{0}12345678",
    "\0\0\u{8}\u{7}\0\0\0\0\0\0\0\0\u{1}\0\0\0\0",
    "\0\0\u{4}\u{8}\0\0\0\0\0\0\0\0\u{1}",
    "\0\0\u{4}\u{8}\0\0\0\0\u{5}\u{7f}\0\0\0",
];
const YAML: &[&str] = &[
    "services:",
    "  a:",
    "url:",
    " https://a.example",
    "auth:",
    " { type: bearer, token: abc }",
    "type:",
    "token:",
    "env:",
    "file:",
    "default:",
    "routes:",
    "certificates:",
    "listen:",
    "admin:",
    "off",
    "&a ",
    "*a",
    "<<:",
    "  ",
    "\n",
    "\n  ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    ": ",
    "'",
    "\"",
    "|\n",
    ">\n",
    "# ",
    "!x ",
    "!!int ",
    "~",
    "1",
    "true",
    "---\n",
    "\t",
    "\u{feff}",
    "\u{202e}",
    "\u{0}",
];
const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "null",
    "true",
    "1e999",
    "-1",
    "\\u0000",
    "\\ud800",
    "\\\"",
    "\"issuer\":",
    "\"https://idp.example/realms/x\"",
    "\"token_endpoint\":",
    "\"http://127.0.0.1/t\"",
    "\"https://[::1]:8443/t?v=1\"",
    "\"mtls_endpoint_aliases\":",
    "\"token_endpoint_auth_methods_supported\":",
    "\"access_token\":",
    "\"token_type\":",
    "\"Bearer\"",
    "\"DPoP\"",
    "\"expires_in\":",
    "\"scope\":",
    "\"error\":",
    "\"error_description\":",
    "\"hunter2\"",
    "hunter%32",
    "&#104;unter2",
    "eyJhbGciOiJFUzI1NiJ9.eyJleHAiOjF9.c2ln",
];
const PEM: &[&str] = &[
    "-----BEGIN ",
    "-----END ",
    "-----",
    "CERTIFICATE",
    "PRIVATE KEY",
    "EC PRIVATE KEY",
    "RSA PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "-----BEGIN CERTIFICATE-----\n",
    "-----END CERTIFICATE-----\n",
    "\n",
    "\r\n",
    "\r",
    " ",
    "AA==",
    "Proc-Type: 4,ENCRYPTED\n",
];
const DER: &[&str] = &["\0", "\u{1}", "\u{2}\u{1}\u{3}", "0\0", "\u{4}\0", "\u{5}\0", "\u{6}\t*"];
#[cfg(feature = "files")]
const FTP: &[&str] = &[
    "\r\n",
    "\n",
    "220 ",
    "220-",
    "226 done\r\n",
    "229 ok (|||6446|)\r\n",
    "227 ok (127,0,0,1,25,46)\r\n",
    "257 \"/home/a\"\"b\" is current\r\n",
    "211-Features:\r\n",
    " MLST type*;size*;\r\n",
    "211 End\r\n",
    "type=file;size=12;modify=20261129184200; a\r\n",
    "type=OS.unix=slink:",
    "type=cdir; ",
    "modify=",
    ";",
    "; ",
    "-rw-r--r-- 1 a b 12 Nov 29 18:42 c\r\n",
    "drwxr-xr-x",
    "lrwxrwxrwx 1 0 0 2 Nov 29 18:42 ",
    " -> ",
    " Jan ",
    "11-29-26  06:42PM       <DIR>          d\r\n",
    "total 12\r\n",
    " .\r\n",
    "%",
];
#[cfg(feature = "openpgp")]
const OPENPGP: &[&str] = &[
    "-----BEGIN PGP MESSAGE-----\n",
    "-----END PGP MESSAGE-----\n",
    "\n",
    "\r\n",
    "=",
    "=aaaa\n",
    "Comment: c\n",
    "\u{feff}",
    " ",
    "b\0",
    "t\u{0}\u{0}\u{0}\u{0}\u{0}",
    "\u{1}",
    "\u{3}",
    "\u{7f}",
];
#[cfg(feature = "files")]
const SFTP: &[&str] = &[
    "\0\0\0\u{5}\u{2}\0\0\0\u{3}",
    "\0\0\0\u{9}e\0\0\0\u{1}\0\0\0\0",
    "\0\0\0\u{9}e\0\0\0\u{4}\0\0\0\u{1}",
    "\0\0\0\u{a}f\0\0\0\u{1}\0\0\0\u{1}h",
    "\0\0\0\u{c}g\0\0\0\u{3}\0\0\0\u{3}abc",
    "\0\0\0\u{11}i\0\0\0\u{2}\0\0\0\u{1}\0\0\0\0\0\0\0\u{3}",
    "\0\0\0",
    "\0\0\0\u{1}",
    "\0",
];
const QUERY: &[&str] = &[
    "/",
    "?",
    "&",
    "=",
    "+",
    "%20",
    "%",
    "api key",
    "api+key",
    "api%20key",
    "%61pi%20key",
    "x=1",
    ";",
    "#",
    "%26",
    "a%20b%26c",
];
const PATH: &[&str] = &[
    "/", "//", ".", "..", "%2e", "%252e", "%25", "2e", "%2f", "%5c", "%252F", ";", "%3b", "%253B", "%3f", "%23",
    "%253f", "a", "?", "#", "%00", "\\",
];

/// Whether the name of this parameter is `api key` to somebody, or encoded so often that nobody can tell; nothing at all is
/// what is left between two that were taken out.
fn may_be_ours(part: &str) -> bool {
    let mut name = part.split('=').next().unwrap_or_default().as_bytes().to_vec();
    for _ in 0..8 {
        let letters: Vec<u8> =
            name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect();
        if letters.starts_with(b"apikey") {
            return true;
        }
        name = percent_encoding::percent_decode(&name).collect();
    }
    part.is_empty() || part.contains('%')
}
