//! A connection of HTTP/2: its socket, and all that its requests share. Of one thread, and behind no lock.
//!
//! Whoever is polled moves the bytes. With one request under way that is its own task, until the head of its answer is here:
//! it writes its frames to the socket itself, and is woken by the socket itself. With several it is the driver's, which
//! reads and writes for all of them at once. A body is always read by the driver: who takes that may have turned to
//! somebody who reads slowly, and would hold up all the others.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use tokio::io::AsyncWrite;

use super::answer::AnswerHead;
use super::ending::StreamEnding;
use super::frames::StreamEnd;
use super::multiplexer::{Multiplexer, StreamSide, UploadRoom};
use super::streams::{NextPart, Stream, StreamKey};
use super::watch::Watch;
use crate::clock::Moment;
use crate::transport::Outgoing;
use crate::transport::wire::Wire;

pub(super) struct Connection {
    /// `None`: the driver has come to its end, and nothing moves any more.
    pub(super) wire: Option<Wire>,
    pub(super) multiplexer: Multiplexer,
    pub(super) watch: Watch,
    /// What came and was not understood yet: the beginning of a frame.
    pub(super) inbox: BytesMut,
    /// The last read brought much.
    pub(super) is_busy: bool,
    /// TLS holds back some of what was written.
    pub(super) is_held_back: bool,
    /// A write found nobody there to read it.
    pub(super) gone: bool,
    /// The request whose task the socket wakes; `None`: the driver's.
    reader: Option<StreamKey>,
    pub(super) driver: Option<Waker>,
    /// The driver was woken, and has not come yet.
    is_summoned: bool,
    /// Nobody can send a request any more.
    pub(super) is_let_go: bool,
}

/// A side of a stream, for whoever has it. Dropped, the stream is reset if it has not ended and nobody has the other side.
pub(super) struct StreamHold {
    pub(super) connection: Rc<RefCell<Connection>>,
    pub(super) key: StreamKey,
    side: StreamSide,
}

impl StreamHold {
    pub(super) fn new(connection: &Rc<RefCell<Connection>>, key: StreamKey, side: StreamSide) -> Self {
        Self { connection: Rc::clone(connection), key, side }
    }
}

impl Drop for StreamHold {
    fn drop(&mut self) {
        self.connection.borrow_mut().let_go(self.key, self.side);
    }
}

impl Connection {
    pub(super) fn new(wire: Wire) -> Self {
        Self::with(Watch::new(&wire), Some(wire))
    }

    /// One whose bytes are a test's to move.
    #[cfg(test)]
    pub(super) fn unwired() -> Self {
        Self::with(Watch::unseen(), None)
    }

    fn with(watch: Watch, wire: Option<Wire>) -> Self {
        Self {
            watch,
            wire,
            multiplexer: Multiplexer::new(Moment::now()),
            inbox: BytesMut::new(),
            is_busy: false,
            is_held_back: false,
            gone: false,
            reader: None,
            driver: None,
            is_summoned: false,
            is_let_go: false,
        }
    }

    // For requests.

    /// Writes a request's head, once there is a place for it. Says where among all that is written it begins.
    ///
    /// # Errors
    ///
    /// When the connection takes no request any more, or no other beside those that it carries: nothing was written.
    pub(super) fn poll_begin(
        &mut self,
        outgoing: &Outgoing,
        end: StreamEnd,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(StreamKey, u64), StreamEnding>> {
        if self.wire.as_ref().is_some_and(Wire::has_news) {
            // It may have ended meanwhile, and what is not written need not be told apart from what was.
            self.read(cx, None);
            self.hand_over();
        }
        // What was read may have to be answered to. A request that begins takes that along; one that does not leaves it to
        // the driver, or it would wait for whoever writes next.
        if let Some(refusal) = self.multiplexer.refusal().cloned() {
            self.attend();
            return Poll::Ready(Err(refusal));
        }
        if self.multiplexer.is_full() {
            self.attend();
            // Whoever sends it may have another connection for it. Here it would wait for the end of others, while the
            // time for an answer that nobody was asked for runs.
            if !self.multiplexer.capacity.takes_none_for_now() {
                return Poll::Ready(Err(StreamEnding::Full));
            }
            self.multiplexer.capacity.wait(cx.waker());
            return Poll::Pending;
        }
        let begins_at = self.multiplexer.outbox.position();
        Poll::Ready(Ok((self.multiplexer.begin(outgoing, end), begins_at)))
    }

    /// The head of an answer.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) fn poll_head(&mut self, key: StreamKey, cx: &mut Context<'_>) -> Poll<Result<AnswerHead, StreamEnding>> {
        let is_alone = self.multiplexer.streams.count() == 1;
        if is_alone {
            self.flush(cx);
            if let Some(stream) = self.multiplexer.streams.get_mut(key) {
                // Who reads need not be woken.
                stream.reader = None;
            }
            if !self.has_head(key) {
                self.read(cx, Some(key));
                // What came may have to be answered to.
                self.flush(cx);
            }
        } else {
            self.attend();
        }
        let Some(stream) = self.multiplexer.streams.get_mut(key) else {
            return Poll::Ready(Err(StreamEnding::closed()));
        };
        let Some(outcome) = stream.take_head() else {
            stream.wait_to_read(cx);
            if is_alone && !self.multiplexer.owes_too_much() {
                self.reader = Some(key);
            } else if self.reader.is_some() {
                self.hand_over();
            }
            return Poll::Pending;
        };
        if self.reader == Some(key) {
            self.hand_over();
        }
        Poll::Ready(outcome)
    }

    /// Ready once it has come to carry more requests than when that had been so `seen` times, or takes none any more: `false`.
    pub(super) fn poll_growth(&mut self, seen: &mut u32, cx: &Context<'_>) -> Poll<bool> {
        if self.multiplexer.refusal().is_some() {
            return Poll::Ready(false);
        }
        let growths = self.multiplexer.capacity.growths();
        if std::mem::replace(seen, growths) != growths {
            return Poll::Ready(true);
        }
        self.multiplexer.capacity.wait(cx.waker());
        Poll::Pending
    }

    /// A request was answered.
    pub(super) fn note_answer(&mut self) {
        self.watch.answered = true;
        self.multiplexer.flood.came_on();
    }

    /// What comes next of an answer's body.
    pub(super) fn poll_part(&mut self, key: StreamKey, cx: &mut Context<'_>) -> Poll<NextPart> {
        let part = self.multiplexer.take_part(key);
        self.attend();
        if matches!(part, NextPart::Nothing) {
            if let Some(stream) = self.multiplexer.streams.get_mut(key) {
                stream.wait_to_read(cx);
            }
            return Poll::Pending;
        }
        Poll::Ready(part)
    }

    /// How much of a request's body may go now; its writer is woken once that may be more.
    pub(super) fn room(&mut self, key: StreamKey, cx: &Context<'_>) -> UploadRoom {
        let mut room = self.multiplexer.room(key);
        if room == UploadRoom::Crowded && self.multiplexer.streams.count() == 1 {
            self.flush(cx);
            room = self.multiplexer.room(key);
        }
        match room {
            UploadRoom::Bytes(_) | UploadRoom::Never => {}
            UploadRoom::Held | UploadRoom::NoWindow | UploadRoom::Crowded => self.wait_to_write(key, cx),
        }
        room
    }

    /// Wakes the writer of a request when its stream changes.
    pub(super) fn wait_to_write(&mut self, key: StreamKey, cx: &Context<'_>) {
        if let Some(stream) = self.multiplexer.streams.get_mut(key) {
            stream.wait_to_write(cx);
        }
    }

    pub(super) fn send(&mut self, key: StreamKey, data: &[u8], end: StreamEnd) {
        self.multiplexer.send(key, data, end);
    }

    pub(super) fn send_trailers(&mut self, key: StreamKey, trailers: &HeaderMap) {
        self.multiplexer.send_trailers(key, trailers);
    }

    /// The app's body broke off: half of it must not look whole.
    pub(super) fn break_off(&mut self, key: StreamKey) {
        self.multiplexer.reset(key, h2::Reason::CANCEL, StreamEnding::BrokenOff);
        self.attend();
    }

    fn let_go(&mut self, key: StreamKey, side: StreamSide) {
        self.multiplexer.let_go(key, side);
        if self.reader == Some(key) && side == StreamSide::Answer {
            self.hand_over();
        }
        self.attend();
        if self.is_let_go || self.multiplexer.refusal().is_some() {
            self.summon();
        }
    }

    pub(super) fn has_head(&self, key: StreamKey) -> bool {
        self.multiplexer.streams.get(key).is_none_or(|stream| stream.has_news())
    }

    /// As [`Connection::attend`], unless that request's own task does so.
    pub(super) fn attend_to(&mut self, key: StreamKey) {
        let does_so = self.multiplexer.streams.count() == 1
            && self.multiplexer.streams.get(key).is_some_and(Stream::is_read_for_head);
        if !does_so {
            self.attend();
        }
    }

    /// Has what is ready written soon, together with what else is ready by then.
    pub(super) fn attend(&mut self) {
        if !self.multiplexer.outbox.is_empty() {
            self.summon();
        }
    }

    pub(super) fn summon(&mut self) {
        if let (false, Some(driver)) = (self.is_summoned, &self.driver) {
            self.is_summoned = true;
            driver.wake_by_ref();
        }
    }

    /// Has the socket wake the driver from now on. That takes no turn of it, unless something is there already.
    fn hand_over(&mut self) {
        self.reader = None;
        if let (Some(wire), Some(driver)) = (&self.wire, &self.driver)
            && wire.poll_news(&mut Context::from_waker(driver)).is_ready()
        {
            self.summon();
        }
    }

    /// All of an answer's body, if it is here and in one piece.
    pub(super) fn take_whole(&mut self, key: StreamKey) -> Option<Bytes> {
        self.multiplexer.streams.get_mut(key)?.take_whole()
    }

    /// Ready once an answer's body that is empty has ended.
    ///
    /// # Errors
    ///
    /// Why it never will.
    pub(super) fn poll_body_end(&mut self, key: StreamKey, cx: &Context<'_>) -> Poll<Result<(), StreamEnding>> {
        self.attend();
        let Some(stream) = self.multiplexer.streams.get_mut(key) else { return Poll::Ready(Ok(())) };
        let ended = stream.empty_end();
        if ended.is_none() {
            stream.wait_to_read(cx);
        }
        ended.map_or(Poll::Pending, Poll::Ready)
    }

    /// Whether all of an answer was taken.
    pub(super) fn is_over(&self, key: StreamKey) -> bool {
        self.multiplexer.streams.get(key).is_none_or(Stream::is_over)
    }

    /// Nobody can send a request any more.
    pub(super) fn let_go_of_all(&mut self) {
        self.is_let_go = true;
        self.summon();
    }

    // For the driver.

    /// Ready once the connection is over.
    pub(super) fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.is_summoned = false;
        if !self.driver.as_ref().is_some_and(|driver| driver.will_wake(cx.waker())) {
            self.driver = Some(cx.waker().clone());
        }
        self.flush(cx);
        let reads_for_itself = self.reader.is_some() && self.multiplexer.streams.count() == 1;
        if !reads_for_itself {
            self.reader = None;
            self.read(cx, None);
            self.flush(cx);
        }
        if self.multiplexer.is_over() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether nothing is under way, and nothing will be.
    pub(super) fn is_done(&self) -> bool {
        let takes_no_more = self.is_let_go || self.multiplexer.refusal().is_some();
        takes_no_more && self.multiplexer.streams.count() == 0
    }

    /// Says goodbye; ready once that is on its way.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.flush(cx);
        match &mut self.wire {
            _ if self.gone => Poll::Ready(()),
            Some(_) if !self.multiplexer.outbox.is_empty() => Poll::Pending,
            Some(wire) => Pin::new(wire).poll_shutdown(cx).map(drop),
            None => Poll::Ready(()),
        }
    }

    /// Nothing moves any more.
    pub(super) fn close(&mut self) {
        if !self.multiplexer.is_over() {
            self.multiplexer.end(&StreamEnding::closed());
        }
        self.driver = None;
        self.wire = None;
    }
}
