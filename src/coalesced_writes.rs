//! Several pieces in one write, the cheap way.
//!
//! `writev` costs the kernel a tenth of a microsecond more than `send`: it has a list to fetch and to check. What is
//! small is put together first; what is large goes as it is, as copying it would cost more.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A socket whose gathered writes are [`poll_write_all`].
#[derive(Debug)]
pub(crate) struct Gathering<S>(pub(crate) S);

/// Writes the pieces, or as much of them as there is room for, with one system call.
pub(crate) fn poll_write_all(
    socket: Pin<&mut impl AsyncWrite>,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    if let [only] = pieces {
        return socket.poll_write(cx, only);
    }
    let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
    if bytes > SMALL {
        return socket.poll_write_vectored(cx, pieces);
    }
    // A thread that ends has none any more.
    let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
    scratch.clear();
    pieces.iter().for_each(|piece| scratch.extend_from_slice(piece));
    let written = socket.poll_write(cx, &scratch);
    SCRATCH.try_with(|kept| kept.set(scratch)).ok();
    written
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathering<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathering<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        poll_write_all(Pin::new(&mut self.get_mut().0), cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

thread_local! {
    /// For this thread's small writes: as large as the largest of them was.
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Up to here copying is cheaper.
const SMALL: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn pieces_arrive_in_order_whatever_their_size() {
        for sizes in [vec![3], vec![0, 5, 7], vec![SMALL, 1], vec![1, SMALL, 9, 4]] {
            let (mut near, mut far) = tokio::io::duplex(4 * SMALL);
            let sent: Vec<Vec<u8>> = (b'a'..).zip(&sizes).map(|(letter, size)| vec![letter; *size]).collect();
            let pieces: Vec<_> = sent.iter().map(|piece| IoSlice::new(piece)).collect();

            let written = poll_fn(|cx| poll_write_all(Pin::new(&mut near), cx, &pieces)).await.unwrap();

            let mut arrived = vec![0; written];
            far.read_exact(&mut arrived).await.unwrap();
            assert!(written > 0 && sent.concat().starts_with(&arrived), "{sizes:?}");
        }
    }

    #[tokio::test]
    async fn what_was_written_before_never_comes_again() {
        let (mut near, mut far) = tokio::io::duplex(SMALL);

        for text in [["a long first ", "piece"], ["short", "er"]] {
            let pieces = text.map(|piece| IoSlice::new(piece.as_bytes()));
            let written = poll_fn(|cx| poll_write_all(Pin::new(&mut near), cx, &pieces)).await.unwrap();
            let mut arrived = vec![0; written];
            far.read_exact(&mut arrived).await.unwrap();

            assert_eq!(arrived, text.concat().as_bytes());
        }
    }
}
