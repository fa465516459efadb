//! What an SFTP server says given as any bytes, as the fuzz targets and their test do it.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::begun::UnfinishedFile;
use super::super::entry::Overwrite;
use super::packet::{self, SftpReply};
use super::session::UNDER_WAY;
use super::{Error, SftpSession};

/// A server whose words come in pieces, whatever it is asked.
struct TrialServer {
    pieces: VecDeque<Bytes>,
    /// What came last is waited for.
    is_late: bool,
}

impl AsyncRead for TrialServer {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.is_late = !self.is_late;
        if self.is_late {
            return Poll::Pending;
        }
        if let Some(piece) = self.pieces.front_mut() {
            out.put_slice(&piece.split_to(piece.len().min(out.remaining())));
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TrialServer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Panics unless what a server says in pieces comes to what it would at once: a look, a file that is read or written, a
/// listing or a new name, by the `deed`. A file that is read is no longer than what came, one that was written was
/// confirmed packet by packet, and what is wrong can be told. Says whether it came to a good end.
pub(crate) fn sessions_go_alike(deed: u8, whole: &[u8], pieces: &[&[u8]]) -> bool {
    let played = play(deed, &[whole]);
    let again = play(deed, pieces);
    assert_eq!(told(&again), told(&played), "deed {deed}: {}", whole.escape_ascii());
    match played {
        Ok(told) => {
            assert!(told.len() <= whole.len(), "more was read than came");
            true
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.len() < 1000 && !text.contains(char::is_control), "{text:?}");
            false
        }
    }
}

fn told(played: &Result<Vec<u8>, Error>) -> Result<&[u8], String> {
    played.as_deref().map_err(ToString::to_string)
}

/// What it came to, in bytes that stand for it.
fn play(deed: u8, pieces: &[&[u8]]) -> Result<Vec<u8>, Error> {
    let pieces: VecDeque<_> =
        pieces.iter().filter(|piece| !piece.is_empty()).map(|piece| Bytes::copy_from_slice(piece)).collect();
    let confirmed = confirmed(&pieces);
    let mut playing = pin!(act(deed, TrialServer { pieces, is_late: false }, confirmed));
    loop {
        // It waits for nothing but what is there a poll later.
        if let Poll::Ready(played) = playing.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return played;
        }
    }
}

async fn act(deed: u8, server: TrialServer, confirmed: usize) -> Result<Vec<u8>, Error> {
    let mut session = SftpSession::start(server).await?;
    let mut told = Vec::new();
    match deed % 6 {
        0 => {
            let attributes = session.stat(b"/a").await?;
            told.extend(attributes.modified.map(u32::to_be_bytes).into_iter().flatten());
        }
        1 | 2 => {
            let mut download = session.open_file(b"/a").await.map_err(|(error, _)| error)?;
            if deed % 6 == 2 {
                download.limit(2, 5);
            }
            while let Some(bytes) = download.next().await? {
                assert!(!bytes.is_empty(), "no bytes are no end");
                told.extend_from_slice(&bytes);
                assert!(download.held() as u64 <= UNDER_WAY, "more is held than may be under way");
            }
            let size = download.attributes().size.filter(|_| deed % 6 == 1);
            assert!(size.is_none_or(|size| size == told.len() as u64), "the end is not where the server said");
            download.finish().await?;
        }
        3 => {
            let mut listing = session.open_folder(b"/").await.map_err(|(error, _)| error)?;
            while let Some((name, _)) = listing.next().await? {
                assert!(name != "." && name != "..");
                told.extend_from_slice(&name);
            }
            listing.finish().await?;
        }
        4 => {
            let mut upload = session.create(b"/a", Overwrite::Refused).await.map_err(|(error, _)| error)?;
            for _ in 0..WRITES {
                upload.push(b"abc").await?;
            }
            let syncs = usize::from(upload.finish().await.map_err(|(error, _)| error)?.syncs);
            // The first goes at once, and the others together.
            assert!(confirmed > 2 + syncs, "it is written that was not confirmed");
        }
        _ => session.rename(b"/a", b"/b", Overwrite::Replaced, &UnfinishedFile::default()).await?,
    }
    Ok(told)
}

/// How often all of it says OK.
fn confirmed(pieces: &VecDeque<Bytes>) -> usize {
    let mut all = BytesMut::new();
    pieces.iter().for_each(|piece| all.extend_from_slice(piece));
    let mut count = 0;
    while let Ok(Some(packet)) = packet::split(&mut all) {
        let reply = packet::read_reply(packet);
        count += usize::from(matches!(reply, Ok((_, SftpReply::Status { code: 0, .. }))));
    }
    count
}

const WRITES: usize = 3;
