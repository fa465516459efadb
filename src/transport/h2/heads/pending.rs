//! Heads that wait for their frames.

use std::cell::RefCell;
use std::collections::VecDeque;

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderName, HeaderValue, Method, Request};
use hyper::body::Body as _;

use super::encoder::HeadEncoder;
use crate::config::Scheme;
use crate::transport::Outgoing;

/// A request's head as HTTP/2 writes it (RFC 9113 §8.3.1), but for its fields.
pub(super) struct RequestHead {
    pub(super) method: Method,
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
    pub(super) target: PathAndQuery,
}

/// The heads of one connection whose frames are not written yet, by their streams, in order.
#[derive(Default)]
pub(in crate::transport::h2) struct PendingHeads(RefCell<Waiting>);

#[derive(Default)]
struct Waiting {
    /// Each with the number of its fields.
    heads: VecDeque<(u32, RequestHead, usize)>,
    /// Those of all, so that none needs memory of its own.
    fields: VecDeque<(HeaderName, HeaderValue)>,
}

/// As much of a head as h2 must know: that it is of a HEAD, whose answer may lack what it speaks of. All the rest is what takes
/// h2 the least to write, none of it by a table.
pub(in crate::transport::h2) fn stand_in(method: &Method) -> Request<()> {
    let mut head = Request::new(());
    if *method == Method::HEAD {
        *head.method_mut() = Method::HEAD;
    }
    head
}

impl PendingHeads {
    /// Writes the head of `outgoing` as soon as h2 writes that of `stream`, without what only HTTP/1.1 knows. Copied, as it may
    /// be wanted for another sending.
    pub(in crate::transport::h2) fn await_frame(&self, stream: u32, outgoing: &Outgoing) {
        let Waiting { heads, fields } = &mut *self.0.borrow_mut();
        let before = fields.len();
        let only_http1 = |name: &HeaderName| matches!(*name, HOST | TRANSFER_ENCODING | EXPECT | CONTENT_LENGTH);
        let kept = outgoing.fields.iter().filter(|(name, _)| !only_http1(name));
        fields.extend(kept.map(|(name, value)| (name.clone(), value.clone())));
        match outgoing.body.size_hint().exact() {
            // What has no body by its nature need not say so.
            Some(0) if matches!(outgoing.method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS) => {}
            Some(length) => fields.push_back((CONTENT_LENGTH, HeaderValue::from(length))),
            None => {}
        }
        let head = RequestHead {
            method: outgoing.method.clone(),
            scheme: outgoing.scheme,
            authority: outgoing.authority.clone(),
            target: outgoing.target.clone(),
        };
        heads.push_back((stream, head, fields.len() - before));
    }

    /// Has `encoder` write the head of `stream`, whose frame is written now. `false`: there is none that waits.
    ///
    /// Lower streams whose frames were not written can't be any more (RFC 9113 §5.1.1), and so their heads are forgotten: these
    /// requests were given up.
    pub(super) fn write(&self, stream: u32, encoder: &mut HeadEncoder, block: &mut Vec<u8>) -> bool {
        let Waiting { heads, fields } = &mut *self.0.borrow_mut();
        while let Some((first, head, count)) = heads.pop_front_if(|(first, ..)| *first <= stream) {
            let its_fields = fields.drain(..count);
            if first == stream {
                encoder.write(&head, its_fields, block);
                if fields.is_empty() {
                    fields.shrink_to(FIELDS_KEPT);
                }
                return true;
            }
        }
        false
    }
}

/// For so many fields memory is kept: those of some thirty requests at once.
const FIELDS_KEPT: usize = 512;
