//! What is known of a connection beside its frames: it tells more of an end than they do.

use std::io;

use super::ending::StreamEnding;
use crate::tls::{Observation, TlsFailure};
use crate::transport::error::{Error, PERHAPS_TLS};
use crate::transport::wire::Wire;

pub(super) struct Watch {
    /// How many bytes came.
    pub(super) heard: u64,
    /// The error that ended the connection, where its words are not all there is.
    verdict: Option<Error>,
    /// What was seen of the handshake.
    seen: Observation,
    /// Whether the service has answered a request.
    pub(super) answered: bool,
    /// It was given up for frames that carry no content.
    pub(super) flooded: bool,
    /// Nothing but the config says that HTTP/2 is spoken there (RFC 9113 §3.3).
    by_prior_knowledge: bool,
}

impl Watch {
    pub(super) fn new(wire: &Wire) -> Self {
        let by_prior_knowledge = wire.tls().is_none();
        Self { heard: 0, verdict: None, seen: wire.seen().clone(), answered: false, flooded: false, by_prior_knowledge }
    }

    /// What a read failed with. The first one is the cause, whatever follows from it.
    pub(super) fn note(&mut self, error: &io::Error) {
        if self.verdict.is_none() {
            self.verdict = TlsFailure::within(error, &self.seen).map(Error::from);
        }
    }

    /// It is flooded: that is the cause of all that ends with it.
    pub(super) fn note_flood(&mut self, words: &str) {
        self.flooded = true;
        self.verdict.get_or_insert_with(|| Error::Protocol(words.to_owned()));
    }

    /// Why an exchange ended without an answer: what is known here, else what its ending says.
    ///
    /// A connection that ends without a word before its first answer is often one whose client certificate was not liked: in
    /// TLS 1.3 our side is done before the other has looked at it.
    pub(super) fn verdict_on(&self, ending: &StreamEnding) -> Error {
        if let Some(verdict) = &self.verdict {
            return verdict.clone();
        }
        let unanswered = Error::unanswered(ending);
        if self.answered {
            return unanswered;
        }
        match unanswered {
            Error::Terminated(what) if matches!(ending, StreamEnding::Socket(_)) => match self.seen.why_silent() {
                Some(guess) => Error::Terminated(format!("{what}; {guess}")),
                None => self.perhaps_no_http2(ending, Error::Terminated(what)),
            },
            unanswered => self.perhaps_no_http2(ending, unanswered),
        }
    }

    /// What comes back of a service that speaks HTTP/1.1 is no frame, and one that speaks TLS may say nothing at all.
    fn perhaps_no_http2(&self, ending: &StreamEnding, unanswered: Error) -> Error {
        if !self.by_prior_knowledge {
            return unanswered;
        }
        match unanswered {
            Error::Protocol(what) if matches!(ending, StreamEnding::GivenUp(_)) => Error::Protocol(format!(
                "{what}; if it speaks HTTP/1.1 alone, or HTTP/2 with TLS alone, `http_version: 2` is wrong for this url"
            )),
            Error::Terminated(what) if self.heard == 0 => Error::Terminated(format!(
                "{what}; if it speaks HTTP/1.1 alone, `http_version: 2` is wrong for it; {PERHAPS_TLS}"
            )),
            unanswered => unanswered,
        }
    }
}
