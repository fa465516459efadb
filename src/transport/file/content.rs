//! What comes of a file or a folder, as the body of an answer.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::files::{FileContent, FileError, FileSession};

/// A body that comes. The last piece is held back until the server has vouched for the end, and the session is at rest.
pub(super) struct ComingContent {
    given: Rc<Cell<Option<Bytes>>>,
    reading: Pin<Box<dyn Future<Output = Result<ReadContent, FileError>>>>,
    /// What is still to come, where that is known.
    pub(super) left: Option<u64>,
}

/// All of it was read.
pub(super) struct ReadContent {
    pub(super) last: Option<Bytes>,
    pub(super) session: Option<FileSession>,
}

/// The next of it.
pub(super) enum Piece {
    Next(Bytes),
    Last(ReadContent),
}

impl ComingContent {
    pub(super) fn new(content: FileContent, left: Option<u64>) -> Self {
        let given = Rc::default();
        let reading = Box::pin(read(content, Rc::clone(&given)));
        Self { given, reading, left }
    }

    pub(super) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, FileError>> {
        let polled = self.reading.as_mut().poll(cx);
        if let Some(bytes) = self.given.take() {
            self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
            return Poll::Ready(Ok(Piece::Next(bytes)));
        }
        polled.map(|read| read.map(Piece::Last))
    }
}

async fn read(mut content: FileContent, given: Rc<Cell<Option<Bytes>>>) -> Result<ReadContent, FileError> {
    let mut held: Option<Bytes> = None;
    while let Some(bytes) = content.next().await? {
        if let Some(before) = held.replace(bytes) {
            give(before, &given).await;
        }
    }
    // Who reads a body of known length does not ask again after its last byte: by then the session has to be free.
    Ok(ReadContent { last: held, session: content.finish().await })
}

/// Lets whoever polls take it, and goes on when they come again.
async fn give(bytes: Bytes, given: &Cell<Option<Bytes>>) {
    given.set(Some(bytes));
    let mut is_new = true;
    poll_fn(|_| if std::mem::replace(&mut is_new, false) { Poll::Pending } else { Poll::Ready(()) }).await;
}
