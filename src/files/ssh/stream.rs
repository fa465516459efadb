//! The channel on which SFTP is spoken, as a stream of bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use russh::client::{Handle, Msg};
use russh::{Channel, ChannelMsg, ChannelStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Judge;
use super::error::Error;

/// Dropped, it ends the connection.
pub(crate) struct SftpStream {
    channel: ChannelStream<Msg>,
    _connection: Handle<Judge>,
}

impl SftpStream {
    /// Once the server has said that there is such a subsystem.
    pub(super) async fn begin(connection: Handle<Judge>, mut channel: Channel<Msg>) -> Result<Self, Error> {
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => break,
                Some(ChannelMsg::Failure) => return Err(Error::NoSftp),
                Some(ChannelMsg::WindowAdjusted { .. }) => {}
                // It may have no such program, and say so only by ending.
                Some(ChannelMsg::Close | ChannelMsg::Eof | ChannelMsg::ExitStatus { .. }) => return Err(Error::NoSftp),
                Some(_) => {}
                None => return Err(Error::Ended),
            }
        }
        Ok(Self { channel: channel.into_stream(), _connection: connection })
    }
}

impl AsyncRead for SftpStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.channel).poll_read(cx, out)
    }
}

impl AsyncWrite for SftpStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.channel).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.channel).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.channel).poll_shutdown(cx)
    }
}
