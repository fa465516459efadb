//! Pieces of a body on their way between a task and the thread that transforms it.
//!
//! One side is a task and must not wait, the other a thread that may. Between them are so many bytes at most, so that whoever
//! is slow slows the other down. Both sides learn of each other's end: a writer that is dropped before it said how it ended
//! has failed, and what is written for a reader that is gone is refused, so that no thread outlives its body.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::error::{MessageError, MessageErrorKind};

/// What may be under way: a piece more is taken as long as there is less.
pub(super) const PIPE_BYTES: usize = 64 << 10;

/// The reader is gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Closed;

pub(super) struct PipeWriter(Arc<Pipe>);

pub(super) struct PipeReader(Arc<Pipe>);

struct Pipe {
    state: Mutex<PipeState>,
    /// The thread waits here; the task leaves its waker.
    moved: Condvar,
}

#[derive(Default)]
struct PipeState {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    /// How the writer ended.
    end: Option<Result<(), MessageError>>,
    reader_is_gone: bool,
    task: Option<Waker>,
}

pub(super) fn pipe() -> (PipeWriter, PipeReader) {
    let pipe = Arc::new(Pipe { state: Mutex::default(), moved: Condvar::new() });
    (PipeWriter(Arc::clone(&pipe)), PipeReader(pipe))
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, PipeState> {
        // Nothing is done under the lock that could panic and leave it half-changed.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Changes the state, and then wakes the other side, whichever of the two it is.
    fn change<T>(&self, change: impl FnOnce(&mut PipeState) -> T) -> T {
        let mut state = self.lock();
        let outcome = change(&mut state);
        let task = state.task.take();
        // Woken after the lock is given back: else the first that it does is to wait for it.
        drop(state);
        self.moved.notify_all();
        if let Some(task) = task {
            task.wake();
        }
        outcome
    }
}

impl PipeState {
    fn put(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        self.pieces.push_back(piece);
    }

    fn take(&mut self) -> Option<Option<Result<Bytes, MessageError>>> {
        if let Some(piece) = self.pieces.pop_front() {
            self.bytes -= piece.len();
            return Some(Some(Ok(piece)));
        }
        Some(match self.end.clone()? {
            Ok(()) => None,
            Err(error) => Some(Err(error)),
        })
    }
}

impl PipeWriter {
    /// For a task: whether one more piece may be put.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut state = self.0.lock();
        if state.reader_is_gone {
            return Poll::Ready(Err(Closed));
        }
        if state.bytes < PIPE_BYTES {
            return Poll::Ready(Ok(()));
        }
        state.task = Some(cx.waker().clone());
        Poll::Pending
    }

    /// For a task, after [`poll_ready`](Self::poll_ready): never waits.
    pub(super) fn put(&self, piece: Bytes) {
        self.0.change(|state| state.put(piece));
    }

    /// For a thread: waits until there is room.
    pub(super) fn push(&self, piece: Bytes) -> Result<(), Closed> {
        let mut state = self.0.lock();
        while !state.reader_is_gone && state.bytes >= PIPE_BYTES {
            state = self.0.moved.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        if state.reader_is_gone {
            return Err(Closed);
        }
        drop(state);
        // There is one writer: between the two nobody else takes the room.
        self.put(piece);
        Ok(())
    }

    /// Says how it ended.
    pub(super) fn end(self, end: Result<(), MessageError>) {
        self.0.change(|state| state.end = Some(end));
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        let abandoned = || MessageError::new(MessageErrorKind::BrokenOff, "the body was given up");
        self.0.change(|state| state.end.get_or_insert_with(|| Err(abandoned())).is_err());
    }
}

impl PipeReader {
    /// For a task: the next piece, or how it ended.
    pub(super) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, MessageError>>> {
        let mut state = self.0.lock();
        if state.pieces.is_empty() && state.end.is_none() {
            state.task = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        self.0.change(PipeState::take).map_or(Poll::Pending, Poll::Ready)
    }

    /// For a thread: waits for it.
    pub(super) fn next(&self) -> Option<Result<Bytes, MessageError>> {
        let mut state = self.0.lock();
        while state.pieces.is_empty() && state.end.is_none() {
            state = self.0.moved.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        drop(state);
        self.0.change(PipeState::take).flatten()
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        self.0.change(|state| {
            state.reader_is_gone = true;
            state.pieces.clear();
        });
    }
}
