//! A connection's bytes, watched: what happens on them tells more than h2 passes on.

use std::cell::{Cell, OnceCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::BORNE_HEAD_BYTES;
use super::frame_meter::FrameMeter;
use crate::clock::Moment;
use crate::tls::{Observation, TlsFailure};
use crate::transport::error::{Error, PERHAPS_TLS};
use crate::transport::wire::{Wire, is_gone};

/// The connection's bytes.
pub(super) struct WatchedWire {
    wire: Wire,
    watch: Rc<Watch>,
    meter: FrameMeter,
    /// A write found nobody there to read it.
    gone: bool,
}

/// What is known of a connection beside h2's own view.
#[derive(Debug, Default)]
pub(super) struct Watch {
    read: Cell<u64>,
    written: Cell<u64>,
    /// The error that ended the connection, where h2 would lose its kind.
    verdict: OnceCell<Error>,
    /// What was seen of the handshake.
    seen: Observation,
    /// Whether the service has answered a request.
    answered: Cell<bool>,
    /// What came since a request last came on, of frames that carry no content.
    idle_bytes: Cell<u64>,
    /// It was given up for these.
    flooded: Cell<bool>,
    /// Nothing but the config says that HTTP/2 is spoken there (RFC 9113 §3.3).
    by_prior_knowledge: bool,
}

impl WatchedWire {
    pub(super) fn new(wire: Wire) -> Self {
        let by_prior_knowledge = wire.tls().is_none();
        let watch = Rc::new(Watch { seen: wire.seen().clone(), by_prior_knowledge, ..Watch::default() });
        Self { wire, watch, meter: FrameMeter::new(Moment::now()), gone: false }
    }

    /// What is known of it beside h2's own view.
    pub(super) fn watch(&self) -> Rc<Watch> {
        Rc::clone(&self.watch)
    }

    /// What a write came to, in words for h2: one that finds nobody there is a success whose bytes go nowhere.
    ///
    /// h2 gives a connection up at the first write that fails, and reads no further. But who refuses a client certificate
    /// with an upload under way says so and closes, and the kernel resets what is still on its way: the reset is found by
    /// the write, often before the runtime has noticed that the alert is there to be read. So the write must not fail:
    /// h2 goes on to read, gets what was said last, an answer or an alert, and then the end, which can't be far: nothing
    /// comes on a connection that was reset.
    fn wrote<T>(&mut self, written: Poll<io::Result<T>>, nowhere: T) -> Poll<io::Result<T>> {
        match written {
            Poll::Ready(Err(error)) if is_gone(&error) => {
                self.gone = true;
                Poll::Ready(Ok(nowhere))
            }
            written => written,
        }
    }

    /// Counts what came. A connection that is flooded ends here, as if the socket had: h2 tells all streams.
    fn heard(&mut self, came: &[u8]) -> io::Result<()> {
        let watch = &self.watch;
        watch.read.set(watch.read.get() + came.len() as u64);
        let idle = watch.idle_bytes.get() + self.meter.idle_bytes(came);
        watch.idle_bytes.set(idle);
        if idle <= IDLE_BYTES || idle <= watch.borne_bytes() {
            return Ok(());
        }
        watch.idle_bytes.set(0);
        if !self.meter.is_flood(Moment::now()) {
            return Ok(());
        }
        watch.flooded.set(true);
        watch.verdict.get_or_init(|| Error::Protocol(FLOOD.to_owned()));
        Err(io::Error::other(FLOOD))
    }

    fn counted(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &written {
            self.watch.wrote(*bytes as u64);
        }
        written
    }
}

impl AsyncRead for WatchedWire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Half of all that h2 asks for is not there.
        if this.wire.poll_news(cx).is_pending() {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.wire).poll_read(cx, buffer);
        match &read {
            Poll::Ready(Ok(())) => this.heard(buffer.filled().split_at(before).1)?,
            Poll::Ready(Err(error)) => this.watch.note(error),
            Poll::Pending => {}
        }
        read
    }
}

impl AsyncWrite for WatchedWire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.gone {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut this.wire).poll_write(cx, bytes);
        let written = this.counted(written);
        this.wrote(written, bytes.len())
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length = || slices.iter().map(|slice| slice.len()).sum();
        if this.gone {
            return Poll::Ready(Ok(length()));
        }
        let written = Pin::new(&mut this.wire).poll_write_vectored(cx, slices);
        let written = this.counted(written);
        this.wrote(written, length())
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.gone {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut this.wire).poll_flush(cx);
        this.wrote(flushed, ())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().wire).poll_shutdown(cx)
    }
}

impl Watch {
    /// How many bytes came.
    pub(super) fn heard(&self) -> u64 {
        self.read.get()
    }

    /// How many bytes went.
    pub(super) fn written(&self) -> u64 {
        self.written.get()
    }

    /// A request was answered.
    pub(super) fn answer(&self) {
        self.answered.set(true);
        self.come_on();
    }

    /// Something of an answer was taken.
    pub(super) fn come_on(&self) {
        self.idle_bytes.set(0);
    }

    /// Whether the connection was given up for what it was flooded with.
    pub(super) fn is_flooded(&self) -> bool {
        self.flooded.get()
    }

    /// Why an exchange ended without an answer: what is known here, else what h2 says.
    ///
    /// A connection that ends without a word before its first answer is often one whose client certificate was not liked: in
    /// TLS 1.3 our side is done before the other has looked at it.
    pub(super) fn verdict_on(&self, error: &h2::Error) -> Error {
        if let Some(verdict) = self.verdict.get() {
            return verdict.clone();
        }
        let unanswered = Error::unanswered(error);
        if self.answered.get() {
            return unanswered;
        }
        match unanswered {
            Error::Terminated(what) if error.is_io() => match self.seen.why_silent() {
                Some(guess) => Error::Terminated(format!("{what}; {guess}")),
                None => self.perhaps_no_http2(error, Error::Terminated(what)),
            },
            unanswered => self.perhaps_no_http2(error, unanswered),
        }
    }

    /// What comes back of a service that speaks HTTP/1.1 is no frame, and one that speaks TLS may say nothing at all.
    fn perhaps_no_http2(&self, error: &h2::Error, unanswered: Error) -> Error {
        if !self.by_prior_knowledge {
            return unanswered;
        }
        match unanswered {
            Error::Protocol(what) if error.is_go_away() && !error.is_remote() => Error::Protocol(format!(
                "{what}; if it speaks HTTP/1.1 alone, or HTTP/2 with TLS alone, `http_version: 2` is wrong for this url"
            )),
            Error::Terminated(what) if self.read.get() == 0 => Error::Terminated(format!(
                "{what}; if it speaks HTTP/1.1 alone, `http_version: 2` is wrong for it; {PERHAPS_TLS}"
            )),
            unanswered => unanswered,
        }
    }

    /// Half of it pays for what comes: a service that reads an upload opens its windows again and again. What we answer to a
    /// PING or SETTINGS is not longer than they are, so these are never paid for in full.
    fn wrote(&self, bytes: u64) {
        self.written.set(self.written.get() + bytes);
        self.idle_bytes.set(self.idle_bytes.get().saturating_sub(bytes / 2));
    }

    /// How much may come at a time: the heads of all that wait are read before the first of them is told. Each request has
    /// one of these for itself, and its answer; the wire has another, and the driver.
    fn borne_bytes(self: &Rc<Self>) -> u64 {
        let at_most = Rc::strong_count(self).saturating_sub(2) as u64;
        IDLE_BYTES + at_most * u64::from(BORNE_HEAD_BYTES)
    }

    fn note(&self, error: &io::Error) {
        if let Some(failure) = TlsFailure::within(error, &self.seen) {
            // The first one is the cause, whatever follows from it.
            self.verdict.get_or_init(|| failure.into());
        }
    }
}

/// Within a second. 15,000 PINGs are as much, and less than one part in a hundred of a core.
const IDLE_BYTES: u64 = 256 * 1024;

const FLOOD: &str = "the connection was given up for all requests on it, as it is flooded with frames that carry no content (HEADERS, PING \
     and the like)";

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::{io, thread};

    use rustls::{ServerConfig, ServerConnection};

    use super::*;
    use crate::code::Code;
    use crate::config::{HttpVersion, Scheme};
    use crate::transport::dial::DialNotes;
    use crate::transport::tests::lab::{AsksForCertificate, Authorities, url};
    use crate::transport::{Connector, Spelling, dial};

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
        let mut wire = WatchedWire::new(dialed.wire);
        let watch = wire.watch();
        let upload = [0; 16 * 1024];
        for _ in 0..8 {
            let written = poll_fn(|cx| Pin::new(&mut wire).poll_write(cx, &upload)).await;
            assert_eq!(written.unwrap(), upload.len());
        }
        let mut byte = [0];
        let read = poll_fn(|cx| Poll::Ready(Pin::new(&mut wire).poll_read(cx, &mut ReadBuf::new(&mut byte)))).await;
        assert!(read.is_pending(), "nothing was said yet");
        let counted = watch.written();

        // The runtime is held up meanwhile, and learns of nothing that comes.
        go.send(()).unwrap();
        left.recv().unwrap();
        service.join().unwrap();
        for _ in 0..3 {
            // It goes nowhere, and whoever writes is to read first what was said last.
            let written = poll_fn(|cx| Pin::new(&mut wire).poll_write(cx, &upload)).await;
            assert_eq!(written.unwrap(), upload.len());
            poll_fn(|cx| Pin::new(&mut wire).poll_flush(cx)).await.unwrap();
        }
        let read = poll_fn(|cx| Pin::new(&mut wire).poll_read(cx, &mut ReadBuf::new(&mut byte))).await;

        assert!(read.is_err());
        assert_eq!(watch.written(), counted, "what goes nowhere was not written");
        let verdict = watch.verdict_on(&h2::Reason::CANCEL.into());
        assert_eq!(verdict.code(), Code::TlsAlertReceived, "{verdict}");
    }
}
