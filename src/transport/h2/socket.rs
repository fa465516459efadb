//! A connection's bytes, in and out: how whoever is polled moves them.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncReadExt, AsyncWrite};

use super::connection::Connection;
use super::ending::StreamEnding;
use super::streams::StreamKey;
use crate::transport::scratch;
use crate::transport::wire::is_gone;

impl Connection {
    /// Writes what is ready. What the socket has no room for wakes the driver, whoever's task this is.
    ///
    /// A write that finds nobody there is no error yet: who refuses a client certificate with an upload under way says so and
    /// closes, and the kernel resets what is still on its way. The reset is found by the write, often before the runtime has
    /// noticed that the alert is there to be read. So what is written goes nowhere, and is read on: what was said last, an
    /// answer or an alert, and then the end, which can't be far.
    pub(super) fn flush(&mut self, cx: &Context<'_>) {
        if self.multiplexer.outbox.is_empty() && !self.is_held_back {
            return;
        }
        let driver = self.driver.take();
        let outcome = self.write(&mut Context::from_waker(driver.as_ref().unwrap_or(cx.waker())));
        self.driver = driver;
        match outcome {
            Ok(()) => {}
            Err(error) if is_gone(&error) => self.gone = true,
            Err(error) => {
                self.multiplexer.end(&StreamEnding::of_socket(&error));
                self.summon();
            }
        }
        if self.gone {
            self.multiplexer.outbox.clear();
            self.multiplexer.drained();
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(wire) = self.wire.as_mut().filter(|_| !self.gone) else { return Ok(()) };
        let outbox = &mut self.multiplexer.outbox;
        while !outbox.is_empty() {
            let Poll::Ready(written) = Pin::new(&mut *wire).poll_write(cx, outbox.rest())? else { break };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.multiplexer.flood.wrote(written);
            outbox.advance(written);
        }
        // What TLS holds back goes when the socket has room: the driver is woken for that too.
        let flushed = Pin::new(wire).poll_flush(cx);
        self.is_held_back = flushed.is_pending();
        if let Poll::Ready(flushed) = flushed {
            flushed?;
        }
        if self.multiplexer.outbox.is_empty() {
            self.multiplexer.drained();
        }
        Ok(())
    }

    /// Reads what there is: until the head of one's answer is here, if that is all one waits for.
    pub(super) fn read(&mut self, cx: &mut Context<'_>, until: Option<StreamKey>) {
        for _ in 0..READS {
            if self.multiplexer.owes_too_much() {
                self.flush(cx);
                if self.multiplexer.owes_too_much() {
                    // The driver goes on once the socket has room: that has woken it then.
                    return;
                }
            }
            match self.read_once(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => self.end(&StreamEnding::closed()),
                Poll::Ready(Err(error)) => {
                    self.watch.note(&error);
                    self.end(&StreamEnding::of_socket(&error));
                }
            }
            if self.multiplexer.is_over() || until.is_some_and(|key| self.has_head(key)) {
                return;
            }
        }
        // The others of this thread have their turn.
        cx.waker().wake_by_ref();
    }

    /// Reads once. `false`: there is no more.
    fn read_once(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(wire) = self.wire.as_mut().filter(|_| !self.multiplexer.is_over()) else { return Poll::Pending };
        // Half of all reads would find nothing.
        ready!(wire.poll_news(cx))?;
        if self.inbox.capacity() == 0 {
            self.inbox = scratch::buffer();
        }
        let (least, most) = if self.is_busy { BODY_ROOM } else { HEAD_ROOM };
        if self.inbox.capacity() - self.inbox.len() < least {
            self.inbox.reserve(most);
        }
        let read = pin!(wire.read_buf(&mut self.inbox)).poll(cx);
        if let Poll::Ready(Ok(bytes)) = read {
            self.is_busy = bytes >= HEAD_ROOM.0 / 2;
            self.watch.heard += bytes as u64;
            if let Err(ending) = self.multiplexer.take(&mut self.inbox) {
                self.end(&ending);
            }
        }
        if self.inbox.is_empty() && self.inbox.capacity() > 0 {
            scratch::keep_buffer(std::mem::take(&mut self.inbox));
        }
        read.map_ok(|bytes| bytes > 0)
    }

    pub(super) fn end(&mut self, ending: &StreamEnding) {
        if !self.multiplexer.is_over() {
            self.multiplexer.end(ending);
        }
        self.summon();
    }
}

/// How often one reads at a time.
const READS: usize = 16;

/// The least room for a read, and what is made if there is less. A small answer comes in one; TLS gives up to 16 KiB.
const HEAD_ROOM: (usize, usize) = (8 * 1024, 8 * 1024);
const BODY_ROOM: (usize, usize) = (16 * 1024, 64 * 1024);
