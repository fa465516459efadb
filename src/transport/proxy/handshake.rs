//! `CONNECT`: asking a proxy for a tunnel, and what it answers.
//!
//! The answer is read byte by byte: what follows its empty line is the other end's already (a service of HTTP/2 may speak
//! first), and must be found on the connection by whoever reads there next.

use std::io;

use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use super::ProxyFailure;
use crate::code::Code;
use crate::secret::Secret;

/// Asks for a tunnel to `target` (`host:port`). When this is `Ok`, the stream is the tunnel.
pub(super) async fn connect(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: &str,
    login: Option<&Secret>,
) -> Result<(), ProxyFailure> {
    let ask = async {
        stream.write_all(&request(target, login)).await?;
        stream.flush().await
    };
    // Not the end of it: who answers before it has read all may have closed its half already.
    let asked = ask.await;
    let answer = match (read_answer(stream).await, asked) {
        (Err(Broken::Off(_)), Err(error)) => Err(Broken::Off(error)),
        (read, _) => read,
    };
    let answer = answer.map_err(Broken::into_failure)?;
    // RFC 9110 §9.3.6: any 2xx opens the tunnel, and what its head says of a body counts for nothing.
    if answer.status.is_success() { Ok(()) } else { Err(answer.refusal(target, login.is_some())) }
}

/// A whole head.
struct ConnectAnswer {
    status: StatusCode,
    /// The schemes by which a 407 would have its clients show who they are.
    schemes: Vec<String>,
}

/// Why there is no answer.
enum Broken {
    Off(io::Error),
    Malformed(&'static str),
}

fn request(target: &str, login: Option<&Secret>) -> Zeroizing<Vec<u8>> {
    let agent = concat!("user-agent: sidekey/", env!("CARGO_PKG_VERSION"), "\r\n");
    let authorization = login.map_or(["", "", ""], |login| ["proxy-authorization: ", login.expose(), "\r\n"]);
    let parts = [&["CONNECT ", target, " HTTP/1.1\r\nhost: ", target, "\r\n", agent][..], &authorization, &["\r\n"]];
    Zeroizing::new(parts.concat().concat().into_bytes())
}

/// The first answer that is not interim.
async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> Result<ConnectAnswer, Broken> {
    let mut left = HEAD_BYTES;
    loop {
        let head = read_head(stream, &mut left).await?;
        let answer = parse(&head)?;
        if !answer.status.is_informational() {
            return Ok(answer);
        }
    }
}

/// All of a head up to its empty line, and not a byte more.
async fn read_head(stream: &mut (impl AsyncRead + Unpin), left: &mut usize) -> Result<Vec<u8>, Broken> {
    let mut head = Vec::with_capacity(128);
    loop {
        let byte = stream.read_u8().await.map_err(Broken::Off)?;
        head.push(byte);
        *left = left.checked_sub(1).ok_or(Broken::Malformed("a head longer than 16 KiB"))?;
        // Told at once, as far as it can be: who does not speak HTTP may never end a line.
        if head.iter().zip(b"HTTP/1.").any(|(byte, expected)| byte != expected) {
            return Err(Broken::Malformed("something that is not HTTP/1.1"));
        }
        if head.ends_with(b"\r\n\r\n") || head.ends_with(b"\n\n") {
            return Ok(head);
        }
    }
}

fn parse(head: &[u8]) -> Result<ConnectAnswer, Broken> {
    let mut lines = [httparse::EMPTY_HEADER; FIELDS];
    let mut answer = httparse::Response::new(&mut lines);
    let malformed = Broken::Malformed("a head that is malformed");
    let Ok(httparse::Status::Complete(_)) = answer.parse(head) else { return Err(malformed) };
    let Some(status) = answer.code.and_then(|code| StatusCode::from_u16(code).ok()) else { return Err(malformed) };
    let challenges = answer.headers.iter().filter(|line| line.name.eq_ignore_ascii_case("proxy-authenticate"));
    let schemes = challenges.flat_map(|line| schemes(line.value)).take(MOST_SCHEMES).collect();
    Ok(ConnectAnswer { status, schemes })
}

/// The schemes of a list of challenges (RFC 9110 §11.6.1): the words that no `=` follows, which parameters have.
fn schemes(challenges: &[u8]) -> impl Iterator<Item = String> {
    let text = String::from_utf8_lossy(challenges).into_owned();
    let parts: Vec<_> = text.split(',').filter_map(scheme).collect();
    parts.into_iter()
}

fn scheme(part: &str) -> Option<String> {
    let word = part.trim().split([' ', '\t']).next()?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (!word.is_empty() && word.len() <= 20 && word.bytes().all(is_token)).then(|| word.to_owned())
}

impl ConnectAnswer {
    /// The status alone: what else the proxy says is its own to choose, and may repeat the password.
    fn refusal(&self, target: &str, logged_in: bool) -> ProxyFailure {
        let number = self.status.as_u16();
        let reason = self.status.canonical_reason().map(|reason| format!(" {reason}")).unwrap_or_default();
        let said = format!("answered {number}{reason} to CONNECT {target}");
        let advice = match self.status {
            // tinyproxy says 401 to a wrong password.
            StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED => self.advice_on_login(logged_in),
            StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED if !target.ends_with(":443") => {
                ": many proxies let CONNECT through to port 443 alone; have this one allow the port".to_owned()
            }
            StatusCode::FORBIDDEN | StatusCode::METHOD_NOT_ALLOWED => ": have it allow this host".to_owned(),
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                ": it can't get there itself".to_owned()
            }
            _ => String::new(),
        };
        let code = match self.status {
            StatusCode::GATEWAY_TIMEOUT => Code::ConnectionTimeout,
            _ => Code::ConnectionRefused,
        };
        // Asked again at once it would say the same; and a wrong password that is shown twice for each request locks the user
        // out the sooner.
        let refused = self.status.is_client_error();
        ProxyFailure { code, what: said + &advice, refused }
    }

    fn advice_on_login(&self, logged_in: bool) -> String {
        let knows_basic = self.schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic"));
        match (logged_in, self.schemes.is_empty() || knows_basic) {
            (_, false) => {
                format!(": it asks for a user by {}, and only `Basic` is spoken here", self.schemes.join(", "))
            }
            (true, true) => ": it does not take this user and password".to_owned(),
            (false, true) => {
                ": it asks for a user and a password, which `outbound_proxy: { url, username, password }` shows it"
                    .to_owned()
            }
        }
    }
}

impl Broken {
    fn into_failure(self) -> ProxyFailure {
        match self {
            Self::Off(error) if error.kind() == io::ErrorKind::UnexpectedEof => ProxyFailure {
                code: Code::ConnectionTerminated,
                what: "closed the connection instead of answering CONNECT".to_owned(),
                refused: false,
            },
            Self::Off(error) => ProxyFailure {
                code: Code::ConnectionTerminated,
                what: format!("broke off instead of answering CONNECT: {error}"),
                refused: false,
            },
            Self::Malformed(what) => {
                let what = format!("answered CONNECT with {what}: check that it is an HTTP proxy, and its port");
                ProxyFailure { code: Code::HttpProtocolError, what, refused: false }
            }
        }
    }
}

/// Of all heads up to the one that counts. Pages of refusal come after it, and are not read.
const HEAD_BYTES: usize = 16 * 1024;
const FIELDS: usize = 100;
const MOST_SCHEMES: usize = 5;

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// What comes of an answer that arrives in pieces of this size, what the proxy got, and what is left to be read.
    async fn ask(answer: &[u8], piece: usize, login: Option<&Secret>) -> (Result<(), ProxyFailure>, String, Vec<u8>) {
        let (mut near, mut far) = duplex(piece);
        let proxy = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(far.read_u8().await.unwrap());
            }
            // Who has read enough goes away.
            drop(far.write_all(answer).await);
            drop(far);
            String::from_utf8(head).unwrap()
        };
        let client = async {
            let outcome = connect(&mut near, "api.example:443", login).await;
            let mut rest = Vec::new();
            if outcome.is_ok() {
                near.read_to_end(&mut rest).await.unwrap();
            }
            drop(near);
            (outcome, rest)
        };
        let ((outcome, rest), head) = tokio::join!(client, proxy);
        (outcome, head, rest)
    }

    #[tokio::test]
    async fn a_tunnel_is_asked_for_by_name_and_with_the_login_that_is_set() {
        let login = Secret::new("Basic bWU6aHVudGVyMg==".to_owned());

        let (outcome, head, _) = ask(b"HTTP/1.1 200 OK\r\n\r\n", 64, Some(&login)).await;
        let (_, bare, _) = ask(b"HTTP/1.1 200 OK\r\n\r\n", 64, None).await;

        assert_eq!(outcome, Ok(()));
        let agent = format!("user-agent: sidekey/{}\r\n", env!("CARGO_PKG_VERSION"));
        let begin = format!("CONNECT api.example:443 HTTP/1.1\r\nhost: api.example:443\r\n{agent}");
        assert_eq!(head, format!("{begin}proxy-authorization: Basic bWU6aHVudGVyMg==\r\n\r\n"));
        assert_eq!(bare, format!("{begin}\r\n"));
    }

    #[tokio::test]
    async fn what_follows_the_answer_is_left_on_the_connection_however_it_arrives() {
        let long = format!("HTTP/1.1 200 OK\r\nvia: {}\r\n\r\n", "x".repeat(15_000));
        for head in [
            "HTTP/1.1 200 Connection established\r\n\r\n",
            "HTTP/1.0 200\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 299 Odd\r\nx: y\r\n\r\n",
            "HTTP/1.1 200 OK\nproxy-agent: old\n\n",
            &long,
        ] {
            for piece in [1, 2, 3, 7, 64, 65_536] {
                let answer = [head.as_bytes(), b"\r\nPRI early\n\n"].concat();

                let (outcome, _, rest) = ask(&answer, piece, None).await;

                assert_eq!((outcome, rest.as_slice()), (Ok(()), &b"\r\nPRI early\n\n"[..]), "{piece}: {head}");
            }
        }
    }

    #[track_caller]
    fn check(failure: Result<(), ProxyFailure>, code: Code, what: &str) {
        let refused = [" 401 ", " 403 ", " 407 "].iter().any(|status| what.contains(status));
        assert_eq!(failure, Err(ProxyFailure { code, what: what.to_owned(), refused }));
    }

    #[tokio::test]
    async fn a_refusal_is_told_by_its_status_and_with_what_to_do() {
        let login = Secret::new("Basic bWU6aHVudGVyMg==".to_owned());
        let refused = |status: &str, fields: &str| format!("HTTP/1.1 {status}\r\n{fields}\r\n").into_bytes();
        let basic = "proxy-authenticate: Basic realm=\"bWU6aHVudGVyMg==\"\r\n";
        for (status, fields, login, code, what) in [
            (
                "407 hunter2",
                basic,
                None,
                Code::ConnectionRefused,
                "answered 407 Proxy Authentication Required to CONNECT api.example:443: it asks for a user and a password, \
                 which `outbound_proxy: { url, username, password }` shows it",
            ),
            (
                "407 No",
                basic,
                Some(&login),
                Code::ConnectionRefused,
                "answered 407 Proxy Authentication Required to CONNECT api.example:443: it does not take this user and \
                 password",
            ),
            (
                "407 No",
                "Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: Digest realm=\"a, b\", nonce=x,NTLM\r\n",
                Some(&login),
                Code::ConnectionRefused,
                "answered 407 Proxy Authentication Required to CONNECT api.example:443: it asks for a user by Negotiate, \
                 Digest, NTLM, and only `Basic` is spoken here",
            ),
            (
                "403 Filtered",
                "",
                None,
                Code::ConnectionRefused,
                "answered 403 Forbidden to CONNECT api.example:443: have it allow this host",
            ),
            (
                "503 x",
                "content-length: 5\r\n",
                None,
                Code::ConnectionRefused,
                "answered 503 Service Unavailable to CONNECT api.example:443: it can't get there itself",
            ),
            (
                "504 x",
                "",
                None,
                Code::ConnectionTimeout,
                "answered 504 Gateway Timeout to CONNECT api.example:443: it can't get there itself",
            ),
            (
                "302 x",
                "location: /\r\n",
                None,
                Code::ConnectionRefused,
                "answered 302 Found to CONNECT api.example:443",
            ),
            (
                "401 x",
                "",
                Some(&login),
                Code::ConnectionRefused,
                "answered 401 Unauthorized to CONNECT api.example:443: it does not take this user and password",
            ),
            ("599 x", "", None, Code::ConnectionRefused, "answered 599 to CONNECT api.example:443"),
        ] {
            let (outcome, ..) = ask(&refused(status, fields), 9, login).await;

            check(outcome, code, what);
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_of_http_is_told_at_once_and_without_end_is_bounded() {
        let not_http =
            "answered CONNECT with something that is not HTTP/1.1: check that it is an HTTP proxy, and its port";
        let endless = "answered CONNECT with a head longer than 16 KiB: check that it is an HTTP proxy, and its port";
        let malformed = "answered CONNECT with a head that is malformed: check that it is an HTTP proxy, and its port";
        let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1_000);
        for (answer, what) in [
            ("SSH-2.0-OpenSSH_9.2\r\n", not_http),
            ("\u{15}\u{3}\u{1}", not_http),
            ("HTTP/2 200\r\n\r\n", not_http),
            (&format!("HTTP/1.1 200 OK\r\nx: {}", "x".repeat(20_000)), endless),
            (&interim, endless),
            ("HTTP/1.1 two\r\n\r\n", malformed),
            ("HTTP/1.1 200 OK\r\n b ad\r\n\r\n", malformed),
            (&format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101)), malformed),
        ] {
            let (outcome, ..) = ask(answer.as_bytes(), 64, None).await;

            check(outcome, Code::HttpProtocolError, what);
        }
    }

    #[tokio::test]
    async fn a_proxy_that_goes_away_terminated_the_connection() {
        for answer in ["", "HTTP/1.1 200 OK\r\n"] {
            let (outcome, ..) = ask(answer.as_bytes(), 64, None).await;

            check(outcome, Code::ConnectionTerminated, "closed the connection instead of answering CONNECT");
        }
    }
}
