//! The multiplexer alone: against a service of others, against a model, and against whatever may come.

mod beside_h2;
mod hostile;
mod model;

use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use h2::Reason;
use http::{HeaderMap, StatusCode};

use super::ending::StreamEnding;
use super::frames::{self, StreamEnd};
use super::multiplexer::{Multiplexer, StreamSide, UploadRoom};
use super::streams::{NextPart, StreamKey};
use crate::clock::Moment;
use crate::transport::tests::lab::get;

/// A connection on which so many requests were sent that end with their heads, and what was written so far is gone.
fn asked(requests: usize) -> (Multiplexer, Vec<StreamKey>) {
    let mut multiplexer = Multiplexer::new(Moment::now());
    let keys = (0..requests).map(|_| multiplexer.begin(&get("/"), StreamEnd::Here)).collect();
    written(&mut multiplexer);
    (multiplexer, keys)
}

/// Takes what is to be written.
fn written(multiplexer: &mut Multiplexer) -> Vec<u8> {
    let bytes = multiplexer.outbox.rest().to_vec();
    if !bytes.is_empty() {
        multiplexer.outbox.advance(bytes.len());
        multiplexer.drained();
    }
    bytes
}

fn come(multiplexer: &mut Multiplexer, bytes: &[u8]) -> Result<(), Reason> {
    match multiplexer.take(&mut BytesMut::from(bytes)) {
        Ok(()) => Ok(()),
        Err(StreamEnding::GivenUp(reason)) => Err(reason),
        Err(ending) => panic!("{ending:?}"),
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frames::write(kind, flags, stream, payload, &mut bytes);
    bytes
}

fn head(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    frame(frames::HEADERS, flags | frames::END_HEADERS, stream, block)
}

/// What is told of an answer: its status, body and trailers, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    status: Option<StatusCode>,
    fields: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
    /// `None`: nothing more has come.
    end: Option<String>,
}

impl Told {
    /// As much more of it as is here.
    fn read_on(&mut self, multiplexer: &mut Multiplexer, key: StreamKey) {
        if self.status.is_none() {
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
                NextPart::End => self.end = Some("whole".to_owned()),
                NextPart::Broken(ending) => self.end = Some(format!("{ending:?}")),
                NextPart::Nothing => return,
            }
        }
    }
}

fn told(multiplexer: &mut Multiplexer, key: StreamKey) -> Told {
    let mut told = Told::default();
    told.read_on(multiplexer, key);
    told
}
