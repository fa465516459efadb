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

/// What may be under way: a piece more is taken as long as there is less. Once there is not, none is taken until a quarter is
/// left, so that the two sides wake each other once for all of that, and not for each piece.
pub(super) const PIPE_BYTES: usize = 128 << 10;
const FEW_BYTES: usize = PIPE_BYTES / 4;

/// The reader is gone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Closed;

pub(super) struct PipeWriter(Arc<Pipe>);

pub(super) struct PipeReader(Arc<Pipe>);

/// Whether anybody reads a pipe, for who has nothing to write yet.
#[derive(Clone)]
pub(super) struct ReaderWatch(Arc<Pipe>);

impl ReaderWatch {
    pub(super) fn is_gone(&self) -> bool {
        self.0.lock().reader_is_gone
    }
}

struct Pipe {
    state: Mutex<PipeState>,
    /// A thread waits here; a task leaves its waker.
    moved: Condvar,
}

#[derive(Default)]
struct PipeState {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    is_full: bool,
    /// How the writer ended.
    end: Option<Result<(), MessageError>>,
    reader_is_gone: bool,
    /// Who waits, for the other side has something to do.
    task: Option<Waker>,
    thread_waits: bool,
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
        self.wake(state);
        outcome
    }

    fn wake(&self, mut state: MutexGuard<'_, PipeState>) {
        let (task, thread_waits) = (state.task.take(), std::mem::take(&mut state.thread_waits));
        // Woken after the lock is given back: else the first that it does is to wait for it.
        drop(state);
        if thread_waits {
            self.moved.notify_all();
        }
        if let Some(task) = task {
            task.wake();
        }
    }

    /// For a thread: waits as long as that holds.
    fn wait_while(&self, holds: impl Fn(&PipeState) -> bool) -> MutexGuard<'_, PipeState> {
        let mut state = self.lock();
        while holds(&state) {
            state.thread_waits = true;
            state = self.moved.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        state
    }

    fn take(&self, mut state: MutexGuard<'_, PipeState>) -> Option<Option<Result<Bytes, MessageError>>> {
        let was_full = state.is_full;
        let taken = state.take();
        // Else a writer waits for more room than there is, or for nothing.
        if was_full && !state.is_full {
            self.wake(state);
        }
        taken
    }
}

impl PipeState {
    fn put(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        self.is_full |= self.bytes >= PIPE_BYTES;
        self.pieces.push_back(piece);
    }

    fn take(&mut self) -> Option<Option<Result<Bytes, MessageError>>> {
        if let Some(piece) = self.pieces.pop_front() {
            self.bytes -= piece.len();
            self.is_full &= self.bytes > FEW_BYTES;
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
        if !state.is_full {
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
        let state = self.0.wait_while(|state| !state.reader_is_gone && state.is_full);
        if state.reader_is_gone {
            return Err(Closed);
        }
        drop(state);
        // There is one writer: between the two nobody else takes the room.
        self.put(piece);
        Ok(())
    }

    pub(super) fn watch(&self) -> ReaderWatch {
        ReaderWatch(Arc::clone(&self.0))
    }

    /// Says how it ended.
    pub(super) fn end(self, end: Result<(), MessageError>) {
        self.0.change(|state| state.end = Some(end));
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        let abandoned = || {
            if std::thread::panicking() {
                return MessageError::new(MessageErrorKind::Internal, "what transforms the body has panicked");
            }
            MessageError::new(MessageErrorKind::BrokenOff, "the body was given up")
        };
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
        self.0.take(state).map_or(Poll::Pending, Poll::Ready)
    }

    /// For a thread: waits for it.
    pub(super) fn next(&self) -> Option<Result<Bytes, MessageError>> {
        let state = self.0.wait_while(|state| state.pieces.is_empty() && state.end.is_none());
        self.0.take(state).flatten()
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Woken {
        fn often(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    const PIECE: usize = PIPE_BYTES / 16;

    #[test]
    fn a_writer_that_waits_is_woken_once_there_is_room_for_much() {
        let (writer, reader) = pipe();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let mut put = 0;
        while writer.poll_ready(&mut cx).is_ready() {
            writer.put(Bytes::from_static(&[7; PIECE]));
            put += 1;
        }
        assert_eq!(put * PIECE, PIPE_BYTES);

        for taken in 1..=put {
            assert!(reader.next().is_some());
            let is_due = (put - taken) * PIECE <= FEW_BYTES;
            assert_eq!(woken.often(), usize::from(is_due), "{taken} of {put} were taken");
        }
        assert!(writer.poll_ready(&mut cx).is_ready());
    }

    #[test]
    fn a_reader_that_waits_is_woken_by_each_piece_and_by_the_end() {
        let (writer, reader) = pipe();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        for number in 1..=3 {
            assert!(reader.poll_next(&mut cx).is_pending());
            writer.put(Bytes::from_static(b"x"));
            assert_eq!(woken.often(), number);
            assert!(matches!(reader.poll_next(&mut cx), Poll::Ready(Some(Ok(_)))));
        }

        assert!(reader.poll_next(&mut cx).is_pending());
        writer.end(Ok(()));

        assert_eq!(woken.often(), 4);
        assert!(matches!(reader.poll_next(&mut cx), Poll::Ready(None)));
    }
}
