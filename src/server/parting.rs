//! The last word on a client connection: where no service could answer, one of ours.

use std::error::Error as _;

use http::Response;
use http_body_util::BodyExt;

use super::connection::Port;
use super::progress::Progress;
use super::stream::Stream;
use crate::code::Code;
use crate::deadline::Deadline;
use crate::proxy::Body;

/// The head did not arrive within `limits.header_timeout`.
pub(crate) async fn too_slow<P: Port>(port: &P, stream: Stream, deadline: &Deadline) {
    let detail = "the request's head did not arrive within `limits.header_timeout`";
    write(port.refuse(Code::RequestTimeout, detail), stream, deadline).await;
}

/// hyper gave up: answers a request too broken to parse, resets what broke off, and lets go of a client that left.
pub(crate) async fn failed<P: Port>(
    port: &P,
    stream: Stream,
    progress: &Progress,
    error: &hyper::Error,
    deadline: &Deadline,
) {
    if !progress.is_between_exchanges() {
        // Dropped with the flag set: what was sent of the answer must not pass for the whole.
        return stream.reset_on_close();
    }
    if error.is_parse() || progress.owes_an_answer() {
        let (code, detail) = broken(error);
        write(port.refuse(code, &detail), stream, deadline).await;
    }
}

/// The word for what hyper could not parse.
fn broken(error: &hyper::Error) -> (Code, String) {
    if error.is_parse_too_large() {
        let detail =
            "the request's head is over `limits.header_size` or `limits.headers`, or its target over 65,534 bytes";
        return (Code::HeadersTooLarge, detail.to_owned());
    }
    if error.is_parse_version_h2() {
        return (Code::BadRequest, "HTTP/2 is not spoken on this port: send HTTP/1.1".to_owned());
    }
    let text = error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
    // hyper tells this apart in its text alone; every other coding is refused by `proxy::admit`. (An "unexpected" one is
    // that of an HTTP/1.0 request, which may have none.)
    if text.contains("invalid transfer-encoding") {
        return (Code::NotImplemented, format!("{text}: `chunked` alone is understood"));
    }
    (Code::BadRequest, text)
}

async fn write(answer: Response<Body>, stream: Stream, deadline: &Deadline) {
    let (head, body) = answer.into_parts();
    // Our own bodies are whole in memory: this does not wait.
    let Ok(body) = body.collect().await else { return };
    let body = body.to_bytes();
    let mut message =
        format!("HTTP/1.1 {}\r\nconnection: close\r\ncontent-length: {}\r\n", head.status, body.len()).into_bytes();
    for (name, value) in &head.headers {
        let ours = [http::header::CONNECTION, http::header::CONTENT_LENGTH].contains(name);
        if !ours {
            message.extend_from_slice(name.as_str().as_bytes());
            message.extend_from_slice(b": ");
            message.extend_from_slice(value.as_bytes());
            message.extend_from_slice(b"\r\n");
        }
    }
    message.extend_from_slice(b"\r\n");
    message.extend_from_slice(&body);
    stream.close(&message, deadline).await;
}
