//! What a server of HTTP/1.1 must take, refuse and wait for (RFC 9110, RFC 9112).

use crate::lab::client::{Answer, Connection, Request};
use crate::lab::fault::{Fault, Reply};
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, until};

/// What has to come.
#[derive(Clone, Copy)]
enum Due {
    /// The service's answer, with the body that it was sent.
    Body(&'static str),
    /// An answer of ours with one of these codes.
    Refused(&'static [&'static str]),
}

use Due::{Body, Refused};

const BAD: Due = Refused(&["bad_request"]);

/// A section, what is sent, in words and in bytes, and what has to come.
type Row = (&'static str, &'static str, &'static str, Due);

#[rustfmt::skip] // A line for each.
const REQUESTS: &[Row] = &[
    ("9112 §3", "a request", "GET /echo/x HTTP/1.1\r\nHost: localhost\r\n\r\n", Body("")),
    ("9112 §2.2", "empty lines before it", "\r\n\r\nGET /echo/x HTTP/1.1\r\nHost: localhost\r\n\r\n", Body("")),
    ("9112 §2.2", "lines that end in LF alone", "GET /echo/x HTTP/1.1\nHost: localhost\n\n", Body("")),
    ("9112 §2.2", "a CR within a line", "GET /echo/x HTTP/1.1\r\nHost: localhost\r\nX: a\rb\r\n\r\n", BAD),
    ("9112 §2.2", "a CR in front of a name", "GET /echo/x HTTP/1.1\r\nHost: localhost\r\n\rX: a\r\n\r\n", BAD),
    ("9112 §2.2", "white space in front of the first field", "GET /echo/x HTTP/1.1\r\n Host: localhost\r\n\r\n", BAD),
    ("9112 §2.3", "no version", "GET /echo/x \r\n\r\n", BAD),
    ("9112 §2.3", "no version and no space", "GET /echo/x\r\n\r\n", BAD),
    ("9112 §2.3", "a version that there is not", "GET /echo/x HTTP/9.9\r\nHost: localhost\r\n\r\n", BAD),
    ("9112 §2.3", "a version in lower case", "GET /echo/x http/1.1\r\nHost: localhost\r\n\r\n", BAD),
    ("9112 §2.3", "a version with two digits", "GET /echo/x HTTP/1.10\r\nHost: localhost\r\n\r\n", BAD),
    ("9112 §3", "one word", "nonsense\r\n\r\n", BAD),
    ("9112 §3", "nothing but a method", "GET\r\n\r\n", BAD),
    ("9112 §3", "what begins as TLS does", "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03", BAD),
    ("9112 §3", "two spaces", "GET  /echo/x HTTP/1.1\r\nHost: localhost\r\n\r\n", BAD),
    ("9112 §3", "a space in the target", "GET /echo/x y HTTP/1.1\r\nHost: localhost\r\n\r\n", BAD),
    ("9110 §9.1", "words in front of the method", "Some words GET /echo/x HTTP/1.1\r\nHost: localhost\r\n\r\n", BAD),
    ("9110 §9.1", "a method that is no token", "GE[T /echo/x HTTP/1.1\r\nHost: localhost\r\n\r\n", BAD),
    ("9110 §9.1", "a method that nobody knows", "BREW /echo/x HTTP/1.1\r\nHost: localhost\r\n\r\n", Body("")),
    ("9110 §9.1", "a method in lower case, which is another", "get /echo/x HTTP/1.1\r\nHost: localhost\r\n\r\n", Body("")),
    ("9112 §3.2", "no Host", "GET /echo/x HTTP/1.1\r\nX: y\r\n\r\n", BAD),
    ("9112 §3.2", "no Host, and a length", "GET /echo/x HTTP/1.1\r\nContent-Length: 5\r\n\r\n", BAD),
    ("9112 §3.2", "two of Host", "GET /echo/x HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", BAD),
    ("9112 §3.2", "a Host that is none", "GET /echo/x HTTP/1.1\r\nHost: local host\r\n\r\n", BAD),
    ("9112 §3.2", "a Host with a path", "GET /echo/x HTTP/1.1\r\nHost: localhost/x\r\n\r\n", BAD),
    ("9112 §3.2", "an empty Host", "GET /echo/x HTTP/1.1\r\nHost:\r\n\r\n", BAD),
    ("9112 §3.2.2", "absolute-form", "GET http://localhost/echo/x HTTP/1.1\r\nHost: localhost\r\n\r\n", Body("")),
    ("9112 §3.2.4", "asterisk-form for another method", "GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", BAD),
    ("9110 §5.1", "a name in any case", "GET /echo/x HTTP/1.1\r\nhOsT: localhost\r\n\r\n", Body("")),
    ("9110 §5.1", "a name with brackets", "GET /echo/x HTTP/1.1\r\nHost: localhost\r\nX[]: y\r\n\r\n", BAD),
    ("9110 §5.1", "a name beyond ASCII", "GET /echo/x HTTP/1.1\r\nHost: localhost\r\nX-\u{fc}: y\r\n\r\n", BAD),
    ("9112 §5", "no name", "GET /echo/x HTTP/1.1\r\nHost: localhost\r\n: y\r\n\r\n", BAD),
    ("9112 §5", "no colon", "GET /echo/x HTTP/1.1\r\nHost: localhost\r\nX\r\n\r\n", BAD),
    ("9112 §5.1", "a space in front of the colon", "GET /echo/x HTTP/1.1\r\nHost: localhost\r\nX : y\r\n\r\n", BAD),
    ("9112 §5.1", "a tab behind the colon, and an empty value", "GET /echo/x HTTP/1.1\r\nHost:\tlocalhost\r\nX:\r\n\r\n", Body("")),
    ("9112 §5.1", "nothing but a space for a value", "GET /echo/x HTTP/1.1\r\nHost: localhost\r\nX: \r\n\r\n", Body("")),
    ("9110 §5.5", "a control character in a value", "GET /echo/x HTTP/1.1\r\nHost: localhost\r\nX: a\x07\r\n\r\n", BAD),
    ("9110 §5.5", "NUL in a value", "GET /echo/x HTTP/1.1\r\nHost: localhost\r\nX: a\0\r\n\r\n", BAD),
    ("9110 §5.5", "bytes beyond ASCII in a value", "GET /echo/x HTTP/1.1\r\nHost: localhost\r\nX: \u{fc}\r\n\r\n", Body("")),
    ("9112 §5.2", "a folded field", "GET /echo/x HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n", BAD),
    ("9110 §8.6", "a body", "POST /echo/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", Body("hello")),
    ("9110 §8.6", "a body of a GET", "GET /echo/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello", Body("hello")),
    ("9110 §8.6", "a length with zeros in front", "POST /echo/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 005\r\n\r\nhello", Body("hello")),
    ("9110 §8.6", "the same length twice", "POST /echo/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", Body("hello")),
    ("9112 §6.3", "two lengths", "POST /echo/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", BAD),
    ("9112 §6.3", "a length below nothing", "POST /echo/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\nhello", BAD),
    ("9112 §6.3", "one far below nothing", "POST /echo/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: -123456789012345678901234567890\r\n\r\n", BAD),
    ("9112 §6.3", "one that is too large to count", "POST /echo/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 123456789012345678901234567890\r\n\r\n", BAD),
    ("9112 §6.3", "a length that is no number", "POST /echo/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: five\r\n\r\nhello", BAD),
    ("9112 §6.3", "both framings", "POST /echo/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Body("hello")),
    ("9112 §6.1", "a coding that nobody knows", "POST /echo/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x, chunked\r\n\r\n0\r\n\r\n", Refused(&["not_implemented"])),
    ("9112 §6.3", "chunked, and not last", "POST /echo/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", BAD),
    ("9112 §6.1", "HTTP/1.0 with a coding", "POST /echo/x HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", BAD),
    ("9112 §7", "a coding in any case", "POST /echo/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: ChUnKeD\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Body("hello")),
    ("9112 §7.1", "chunks", "POST /echo/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nA\r\nhello worl\r\n001\r\nd\r\n0\r\n\r\n", Body("hello world")),
    ("9112 §7.1.1", "an extension of a chunk", "POST /echo/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b;c=\"d\"\r\nhello\r\n0\r\n\r\n", Body("hello")),
    ("9112 §7.1.2", "trailers", "POST /echo/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n", Body("hello")),
    ("9112 §7.1", "a chunk whose size is no number", "POST /echo/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nhello\r\n0\r\n\r\n", BAD),
    ("9112 §7.1", "a chunk without a size", "POST /echo/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n", BAD),
    ("9110 §9.3.8", "TRACE", "TRACE /echo/x HTTP/1.1\r\nHost: localhost\r\n\r\n", Refused(&["method_not_allowed"])),
    ("9110 §9.3.6", "CONNECT without a port", "CONNECT localhost HTTP/1.1\r\nHost: localhost\r\n\r\n", Refused(&["bad_request", "method_not_allowed"])),
    ("9110 §10.1.1", "an expectation that nobody knows", "GET /echo/x HTTP/1.1\r\nHost: localhost\r\nExpect: more\r\n\r\n", Body("")),
    ("9110 §10.1.1", "an expectation where no body is", "GET /echo/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n", Body("")),
    ("9112 §9.3", "HTTP/1.0", "GET /echo/x HTTP/1.0\r\n\r\n", Body("")),
];

/// A service that sends back the bodies that it gets.
async fn start() -> (Lab, Fault, Sidekey) {
    let lab = Lab::start().await;
    let service = Fault::reading_idp(|request| Reply::ok(&body(&request.text()))).await;
    let sidekey = lab.sidekey(&format!("services: {{ echo: {{ url: '{}' }} }}", service.url())).await;
    (lab, service, sidekey)
}

/// Chunks and all, as it came, taken apart.
fn body(text: &str) -> String {
    let mut body = String::new();
    let mut rest = text;
    while let Some((size, more)) = rest.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size, 16) else { return text.to_owned() };
        body += &more[..size];
        rest = more[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    if text.contains("\r\n") { body } else { text.to_owned() }
}

fn check(row: &Row, answer: &Answer) -> Result<(), String> {
    let (section, what, _, due) = row;
    let word = answer.field("proxy-status").map(|_| answer.json()["type"].as_str().unwrap_or_default().to_owned());
    let is_due = match (due, &word) {
        (Body(body), None) => answer.status == 200 && answer.text() == *body,
        (Refused(any), Some(word)) => any.iter().any(|code| word.ends_with(&format!(":{code}"))),
        _ => false,
    };
    if is_due { Ok(()) } else { Err(format!("RFC {section}, {what}: {} {}", answer.status, answer.text())) }
}

#[tokio::test]
async fn requests_are_taken_or_refused_as_the_rfcs_say() {
    let (_lab, service, sidekey) = start().await;
    let mut wrong = Vec::new();
    for row in REQUESTS {
        let mut app = sidekey.raw(row.2).await;
        let answer = app.answer().await;
        wrong.extend(check(row, &answer).err());
        if answer.field("connection").as_deref() == Some("close") {
            app.closed().await;
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let answered = REQUESTS.iter().filter(|row| matches!(row.3, Body(_)));
    let broken_off = REQUESTS.iter().filter(|row| row.0 == "9112 §7.1" && matches!(row.3, Refused(_)));
    assert_eq!(service.received().iter().filter(|request| request.whole).count(), answered.count());
    assert!(service.received().iter().filter(|request| !request.whole).count() <= broken_off.count());
}

#[tokio::test]
async fn a_request_that_is_not_whole_is_waited_for_wherever_it_was_cut() {
    let (_lab, service, sidekey) = start().await;
    let request =
        "POST /echo/x?y=\"z\" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";

    for cut in 1..request.len() {
        let (first, rest) = request.split_at(cut);
        let mut app = sidekey.raw(first).await;
        app.until_read().await;
        app.write(rest).await;

        let answer = app.answer().await;
        assert_eq!((answer.status_of_service(), answer.text()), (200, "hello".to_owned()), "after {first:?}");
    }

    assert_eq!(service.count(), request.len() - 1);
}

#[tokio::test]
async fn a_connection_goes_on_or_ends_as_it_was_said() {
    let (_lab, _service, sidekey) = start().await;
    // RFC 9112 §9.3: the version, what `Connection` says, and whether another request is answered.
    for (version, option, goes_on) in [
        ("1.1", "", true),
        ("1.1", "keep-alive", true),
        ("1.1", "close", false),
        ("1.1", "Close", false),
        ("1.1", "keep-alive, close", false),
        ("1.1", "close\r\nConnection: keep-alive", false),
        ("1.1", "closed", true),
        ("1.0", "", false),
        ("1.0", "close", false),
        ("1.0", "keep-alive", true),
        ("1.0", "Keep-Alive, x", true),
        ("1.0", "keep-alive, close", false),
    ] {
        let get = format!("GET /echo/x HTTP/{version}\r\nHost: localhost\r\nConnection: {option}\r\n\r\n");
        let mut app: Connection = sidekey.raw(format!("{get}{get}")).await;
        let first = app.answer().await;
        let second = app.next().await;

        assert_eq!((first.status, second.is_ok()), (200, goes_on), "HTTP/{version} {option}: {second:?}");
        let said = first.field("connection");
        let is_said = if version == "1.0" || !goes_on {
            said.as_deref() == Some(if goes_on { "keep-alive" } else { "close" })
        } else {
            said.is_none()
        };
        assert!(is_said, "HTTP/{version} {option}: {said:?}");
    }
}

/// RFC 9110 §9.3.2: what an answer to `HEAD` says is what one to `GET` says, without a body.
#[tokio::test]
async fn head_is_answered_as_get_is_and_the_next_answer_is_found() {
    let (_lab, _service, sidekey) = start().await;
    for target in ["/echo/x", "/nobody"] {
        let get = sidekey.get(target).await;
        let mut app = sidekey.connect().await;
        for _ in 0..2 {
            let head = app.send(Request::new("HEAD", target)).await;
            assert_eq!((head.status, head.body.len()), (get.status, 0), "{target}");
        }
        until("the next answer", async || (app.send(Request::get(target)).await.status == get.status).then_some(()))
            .await;
    }
}
