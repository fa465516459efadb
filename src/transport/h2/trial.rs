//! Frames read from bytes alone, as tests and the fuzz target do it.

use bytes::BytesMut;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method, StatusCode};

use super::ending::StreamEnding;
use super::frames::{FRAME_HEAD_BYTES, FrameHead, StreamEnd};
use super::multiplexer::Multiplexer;
use super::streams::{NextPart, StreamKey};
use crate::clock::Moment;
use crate::config::Scheme;
use crate::transport::h1::trial::pieces;
use crate::transport::{Outgoing, ProtocolSwitch, RequestBody};

/// What is told of an answer: its head, body and trailers, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) status: Option<StatusCode>,
    pub(super) fields: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) trailers: HeaderMap,
    /// `None`: nothing more has come.
    pub(super) end: Option<String>,
}

impl Told {
    /// As much more of it as is here.
    pub(super) fn read_on(&mut self, multiplexer: &mut Multiplexer, key: StreamKey) {
        if self.end.is_none() && self.status.is_none() {
            let Some(stream) = multiplexer.streams.get_mut(key) else { return };
            match stream.take_head() {
                Some(Ok(head)) => (self.status, self.fields) = (Some(head.status), head.fields),
                Some(Err(ending)) => return self.end = Some(format!("{ending:?}")),
                None => return,
            }
        }
        while self.end.is_none() {
            match multiplexer.take_part(key) {
                NextPart::Data(data, _) => self.body.extend_from_slice(&data),
                NextPart::Trailers(trailers) => self.trailers = trailers,
                NextPart::End => self.end = Some(WHOLE.to_owned()),
                NextPart::Broken(ending) => self.end = Some(format!("{ending:?}")),
                NextPart::Nothing => return,
            }
        }
    }
}

/// Panics unless frames that come in pieces tell what they tell at once, and all that is written is frames: each byte of
/// `cuts` is the length of a piece, again and again. They come as answers to three requests, the last of which goes on. Says
/// whether they tell of an answer that is whole.
pub(crate) fn cuts_make_no_difference(frames: &[u8], cuts: &[u8]) -> bool {
    let whole = played([frames]);
    assert_eq!(whole, played(pieces(frames, cuts)), "cut {cuts:?}: {}", frames.escape_ascii());
    whole.iter().any(|told| told.end.as_deref() == Some(WHOLE))
}

fn played<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Told> {
    let mut multiplexer = Multiplexer::new(Moment::now());
    let requests = [(Method::GET, StreamEnd::Here), (Method::HEAD, StreamEnd::Here), (Method::GET, StreamEnd::Later)];
    let keys = requests.map(|(method, end)| multiplexer.begin(&request(method), end));
    let (mut came, mut all) = (BytesMut::new(), vec![Told::default(); keys.len()]);
    for piece in pieces {
        came.extend_from_slice(piece);
        let outcome = multiplexer.take(&mut came);
        if let Err(ending) = &outcome {
            multiplexer.end(ending);
        }
        all.iter_mut().zip(keys).for_each(|(told, key)| told.read_on(&mut multiplexer, key));
        if outcome.is_err() {
            break;
        }
    }
    if !multiplexer.is_over() {
        multiplexer.end(&StreamEnding::closed());
    }
    all.iter_mut().zip(keys).for_each(|(told, key)| told.read_on(&mut multiplexer, key));
    assert!(all.iter().all(|told| told.end.is_some()), "an exchange goes on for ever");
    let written = multiplexer.outbox.rest();
    // What a connection begins with is no frame.
    let mut rest = written.get(24..).unwrap_or_default();
    while let Some(frame) = FrameHead::of(rest) {
        rest = rest.get(FRAME_HEAD_BYTES + frame.length..).unwrap_or(b"half a frame");
    }
    assert!(rest.is_empty(), "what is written is no frame");
    all
}

fn request(method: Method) -> Outgoing {
    Outgoing {
        method,
        scheme: Scheme::Https,
        authority: Authority::from_static("service.example"),
        target: PathAndQuery::from_static("/"),
        fields: HeaderMap::new(),
        body: RequestBody::Empty,
        switch: ProtocolSwitch::NotAsked,
    }
}

const WHOLE: &str = "whole";
