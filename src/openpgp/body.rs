//! A body around a body: what comes out is what comes in, encrypted or decrypted.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame};

use super::decrypt::{Decryptor, Hold};
use super::encrypt::Encryptor;
use super::error::{MessageError, MessageErrorKind};
use super::pipe::{PipeReader, PipeWriter, pipe};
use super::threads::{self, Permit, ThreadLane};

/// The body that comes out. Its length is unknown until its end, and trailers of what came in are left out: they spoke of
/// other bytes.
///
/// The end comes only if all of the message was good. Dropped, it ends its thread.
pub(crate) struct TransformedBody<B> {
    /// `None` once it has ended.
    input: Option<B>,
    work: TransformWork,
    feed: Option<PipeWriter>,
    out: PipeReader,
    /// What came out before anybody asked for it.
    first: Option<Option<Bytes>>,
    is_over: bool,
}

/// Why a body broke off.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TransformError<E> {
    /// What came in did.
    Input(E),
    /// What came in was read to its end, or to where it was wrong.
    Message(MessageError),
}

enum TransformWork {
    /// In line for a thread.
    Waiting(Pin<Box<dyn Future<Output = Option<Permit>>>>, Option<Task>),
    Running,
}

type Task = Box<dyn FnOnce() + Send>;

impl<B: Body<Data = Bytes> + Unpin> TransformedBody<B> {
    pub(crate) fn encrypted(input: B, encryptor: Arc<Encryptor>, lane: ThreadLane) -> Self {
        Self::new(input, lane, move |from, to| encryptor.run(from, to))
    }

    /// `hold` is asked for the memory of what is held to be checked first.
    pub(crate) fn decrypted(input: B, decryptor: Arc<Decryptor>, hold: Hold, lane: ThreadLane) -> Self {
        Self::new(input, lane, move |from, to| decryptor.run(from, to, hold))
    }

    fn new(
        input: B,
        lane: ThreadLane,
        run: impl FnOnce(PipeReader, &PipeWriter) -> Result<(), MessageError> + Send + 'static,
    ) -> Self {
        let (feed, from) = pipe();
        let (to, out) = pipe();
        let task = move || {
            let end = run(from, &to);
            to.end(end);
        };
        let work = TransformWork::Waiting(Box::pin(threads::permit(lane)), Some(Box::new(task)));
        Self { input: Some(input), work, feed: Some(feed), out, first: None, is_over: false }
    }

    /// What comes in, as long as there is more of it.
    pub(crate) fn input_mut(&mut self) -> Option<&mut B> {
        self.input.as_mut()
    }

    /// Waits until the first piece is there, or it is known that there is none: what is wrong until then can still be
    /// answered.
    ///
    /// # Errors
    /// When it was wrong.
    pub(crate) async fn begin(&mut self) -> Result<(), TransformError<B::Error>> {
        let first = poll_fn(|cx| self.poll_piece(cx)).await.transpose()?;
        self.first = Some(first);
        Ok(())
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TransformError<B::Error>>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Err(error) = ready!(self.poll_thread(cx)) {
            return self.over(Some(TransformError::Message(error)));
        }
        if let Err(error) = self.feed(cx) {
            return self.over(Some(TransformError::Input(error)));
        }
        match ready!(self.out.poll_next(cx)) {
            Some(Ok(piece)) => Poll::Ready(Some(Ok(piece))),
            Some(Err(error)) => self.over(Some(TransformError::Message(error))),
            None => self.over(None),
        }
    }

    /// Nothing follows.
    fn over(
        &mut self,
        error: Option<TransformError<B::Error>>,
    ) -> Poll<Option<Result<Bytes, TransformError<B::Error>>>> {
        self.is_over = true;
        (self.input, self.feed) = (None, None);
        Poll::Ready(error.map(Err))
    }

    fn poll_thread(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), MessageError>> {
        let TransformWork::Waiting(turn, task) = &mut self.work else { return Poll::Ready(Ok(())) };
        let Some(permit) = ready!(turn.as_mut().poll(cx)) else { return Poll::Ready(Err(threads::none_is_free())) };
        let started = task.take().is_some_and(|task| threads::start(permit, task).is_ok());
        self.work = TransformWork::Running;
        let no_thread = || MessageError::new(MessageErrorKind::Internal, "the system has no thread left for it");
        Poll::Ready(if started { Ok(()) } else { Err(no_thread()) })
    }

    /// Passes on what has come, as far as there is room. The thread's own end is seen where its output is read.
    fn feed(&mut self, cx: &mut Context<'_>) -> Result<(), B::Error> {
        while let (Some(input), Some(feed)) = (&mut self.input, &self.feed) {
            match feed.poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                // The thread wants no more of it: what it has to say comes out.
                Poll::Ready(Err(_)) => {
                    self.input = None;
                    break;
                }
                Poll::Pending => break,
            }
            match Pin::new(input).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Some(piece) = frame.into_data().ok().filter(|piece| !piece.is_empty()) {
                        feed.put(piece);
                    }
                }
                Poll::Ready(Some(Err(error))) => return Err(error),
                Poll::Ready(None) => {
                    self.input = None;
                    if let Some(feed) = self.feed.take() {
                        feed.end(Ok(()));
                    }
                }
                Poll::Pending => break,
            }
        }
        Ok(())
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for TransformedBody<B> {
    type Data = Bytes;
    type Error = TransformError<B::Error>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let body = self.get_mut();
        match body.first.take() {
            Some(Some(piece)) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            Some(None) => Poll::Ready(None),
            None => body.poll_piece(cx).map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_over && !matches!(self.first, Some(Some(_)))
    }
}
