//! The multiplexer alone: against a service of others, against a model, and against whatever may come.

mod beside_h2;
mod hostile;
mod model;
mod moves;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::{Bytes, BytesMut};
use h2::Reason;
use http::{HeaderMap, StatusCode};

use super::ending::StreamEnding;
use super::frames::{self, StreamEnd};
use super::multiplexer::{Multiplexer, StreamSide, UploadRoom};
use super::streams::{NextPart, StreamKey};
use super::trial::Told;
use crate::clock::Moment;
use crate::transport::tests::lab::get;

/// A task, and whether it was woken.
#[derive(Default)]
struct WokenTask(AtomicBool);

impl Wake for WokenTask {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

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

fn told(multiplexer: &mut Multiplexer, key: StreamKey) -> Told {
    let mut told = Told::default();
    told.read_on(multiplexer, key);
    told
}
