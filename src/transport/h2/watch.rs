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
    /// Nothing but the config says that HTTP/2 is spoken there (RFC 9113 §3.3).
    by_prior_knowledge: bool,
}

impl Watch {
    pub(super) fn new(wire: &Wire) -> Self {
        let by_prior_knowledge = wire.tls().is_none();
        Self { heard: 0, verdict: None, seen: wire.seen().clone(), answered: false, by_prior_knowledge }
    }

    /// As if TLS had shown nothing.
    #[cfg(test)]
    pub(super) fn unseen() -> Self {
        let seen = Observation::default();
        Self { heard: 0, verdict: None, seen, answered: false, by_prior_knowledge: false }
    }

    /// What a read failed with. The first one is the cause, whatever follows from it.
    pub(super) fn note(&mut self, error: &io::Error) {
        if self.verdict.is_none() {
            self.verdict = TlsFailure::within(error, &self.seen).map(Error::from);
        }
    }

    /// Why an exchange ended without an answer: what is known here, else what its ending says.
    ///
    /// A connection that ends without a word before its first answer is often one whose client certificate was not liked: in
    /// TLS 1.3 our side is done before the other has looked at it.
    pub(super) fn verdict_on(&self, ending: &StreamEnding) -> Error {
        if let Some(verdict) = self.verdict.as_ref().filter(|_| !ending.is_of_stream_alone()) {
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
            Error::Terminated(what) if self.heard == 0 && matches!(ending, StreamEnding::Socket(_)) => {
                Error::Terminated(format!(
                    "{what}; if it speaks HTTP/1.1 alone, `http_version: 2` is wrong for it; {PERHAPS_TLS}"
                ))
            }
            unanswered => unanswered,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::task::Poll;
    use std::{io, thread};

    use h2::Reason;
    use http::Method;
    use rustls::{ServerConfig, ServerConnection};

    use super::super::connection::Connection;
    use super::super::ending::StreamEnding;
    use super::super::frames::{ServiceSettings, StreamEnd};
    use super::Watch;
    use crate::code::Code;
    use crate::config::{HttpVersion, Scheme};
    use crate::transport::Error;
    use crate::transport::dial::DialNotes;
    use crate::transport::tests::lab::{AsksForCertificate, Authorities, outgoing, url};
    use crate::transport::{Connector, RequestBody, Spelling, dial};

    #[test]
    fn what_ended_a_stream_is_not_what_ended_the_connection_after_it() {
        let alert = Error::Alert("certificate required".to_owned());
        let watch = Watch { heard: 1, verdict: Some(alert), ..Watch::unseen() };

        for (ending, code) in [
            (StreamEnding::ResetByService(Reason::CANCEL), Code::ConnectionTerminated),
            (StreamEnding::closed(), Code::TlsAlertReceived),
            (StreamEnding::GivenUp(Reason::ENHANCE_YOUR_CALM), Code::TlsAlertReceived),
        ] {
            assert_eq!(watch.verdict_on(&ending).code(), code, "{ending:?}");
        }
        let http1 = watch.verdict_on(&StreamEnding::ResetByService(Reason::HTTP_1_1_REQUIRED));
        assert!(matches!(http1, Error::Http1Required), "{http1}");
    }

    /// Shakes hands, reads on only when it is told to, refuses what it finds there, and is gone, with much left unread: what
    /// follows its alert is a reset.
    fn refuse(listener: &TcpListener, config: Arc<ServerConfig>, go: &Receiver<()>, gone: &Sender<()>) {
        let (mut tcp, _) = listener.accept().unwrap();
        let mut tls = ServerConnection::new(config).unwrap();
        while !tls.wants_write() {
            step(&mut tls, &mut tcp).unwrap();
        }
        while tls.wants_write() {
            tls.write_tls(&mut tcp).unwrap();
        }
        go.recv().unwrap();
        while step(&mut tls, &mut tcp).is_ok() {}
        drop(tcp);
        gone.send(()).unwrap();
    }

    fn step(tls: &mut ServerConnection, tcp: &mut TcpStream) -> io::Result<()> {
        tls.read_tls(tcp)?;
        let outcome = tls.process_new_packets().map(drop).map_err(io::Error::other);
        while outcome.is_err() && tls.wants_write() {
            tls.write_tls(tcp)?;
        }
        outcome
    }

    #[tokio::test(flavor = "local")]
    async fn an_alert_before_a_reset_is_heard_though_a_write_finds_the_reset_first() {
        let authorities = Authorities::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = authorities.server("127.0.0.1", &[], AsksForCertificate::Yes);
        let ((go, told), (gone, left)) = (channel(), channel());
        let service = thread::spawn(move || refuse(&listener, server, &told, &gone));
        let tls = Some(authorities.client(&[]));
        let connector = Connector::new(&url(Scheme::Https, port), tls, HttpVersion::Auto, None, Spelling::LowerCase);
        let dialed = dial::dial(&connector.0, &DialNotes::default()).await.unwrap_or_else(|error| panic!("{error}"));
        let mut connection = Connection::new(dialed.wire);
        // As if the service took much, which it will not live to say.
        connection.multiplexer.opened(1024 * 1024).unwrap();
        let settings = ServiceSettings { window: Some(1024 * 1024), ..ServiceSettings::default() };
        connection.multiplexer.settle(settings).unwrap();
        let request = outgoing(Method::POST, "/", RequestBody::Empty);
        let begun = poll_fn(|cx| connection.poll_begin(&request, StreamEnd::Later, cx)).await;
        let (key, _) = begun.unwrap_or_else(|ending| panic!("{ending:?}"));
        for _ in 0..8 {
            connection.send(key, &[0; 16 * 1024], StreamEnd::Later);
            let polled = poll_fn(|cx| Poll::Ready(connection.poll_head(key, cx))).await;
            assert!(polled.is_pending(), "nothing was said yet");
        }
        let counted = connection.multiplexer.outbox.written();
        assert!(connection.multiplexer.outbox.is_empty() && counted > 8 * 16 * 1024);

        // The runtime is held up meanwhile, and learns of nothing that comes.
        go.send(()).unwrap();
        left.recv().unwrap();
        service.join().unwrap();
        // It goes nowhere, and whoever writes is to read first what was said last.
        connection.send(key, &[0; 16 * 1024], StreamEnd::Later);
        let ending = poll_fn(|cx| connection.poll_head(key, cx)).await.expect_err("no answer");

        assert_eq!(connection.multiplexer.outbox.written(), counted, "what goes nowhere was not written");
        let verdict = connection.watch.verdict_on(&ending);
        assert_eq!(verdict.code(), Code::TlsAlertReceived, "{verdict}");
    }
}
