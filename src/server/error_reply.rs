//! The last word on a client connection: where no service could answer, one of ours.

use http::Response;
use http_body_util::BodyExt;

use super::connection::Port;
use super::diagnosis::diagnose;
use super::progress::{Progress, Used};
use super::refusal::ConnectionRefusal;
use super::stream::ClientStream;
use crate::code::Code;
use crate::deadline::ConnectionDeadline;
use crate::proxy::{Peer, ResponseBody};

/// Why hyper gave up, and what it had read and taken for nothing.
pub(crate) struct BrokenRequest<'a> {
    pub(crate) error: &'a hyper::Error,
    pub(crate) read: &'a [u8],
    /// The byte of its target that can't be carried, and its place in its line, from 1.
    pub(crate) refused: Option<(u8, usize)>,
}

/// The head did not arrive within `limits.header_timeout`.
pub(crate) async fn too_slow<P: Port>(port: &P, socket: Used, peer: Peer, deadline: &ConnectionDeadline) {
    let detail = "the request's head did not arrive within `limits.header_timeout`";
    write(port.refuse(&ConnectionRefusal::new(Code::RequestTimeout, detail), peer), socket, deadline).await;
}

/// This client gets no request through: it hears why at once, and its silence holds no place.
pub(crate) async fn turned_away<P: Port>(
    port: &P,
    stream: ClientStream,
    (code, detail): (Code, String),
    peer: Peer,
    deadline: &ConnectionDeadline,
) {
    write(port.refuse(&ConnectionRefusal::new(code, detail), peer), Used::new(stream), deadline).await;
}

/// hyper gave up: answers a request too broken to parse, resets what broke off, and lets go of a client that left.
pub(crate) async fn failed<P: Port>(
    port: &P,
    socket: Used,
    progress: &Progress,
    broken: BrokenRequest<'_>,
    peer: Peer,
    deadline: &ConnectionDeadline,
) {
    if !progress.is_answered() {
        // What was sent of the answer must not pass for the whole.
        return socket.reset();
    }
    // What fails after the last answer is no request.
    let is_a_request = progress.is_between() && (broken.error.is_parse() || progress.owes_an_answer());
    if is_a_request {
        let refusal = diagnose(broken.error, broken.read, broken.refused);
        write(port.refuse(&refusal, peer), socket, deadline).await;
    } else {
        socket.close(&[], deadline).await;
    }
}

async fn write(answer: Response<ResponseBody>, socket: Used, deadline: &ConnectionDeadline) {
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
    socket.close(&message, deadline).await;
}
