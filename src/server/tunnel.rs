//! A client's socket that carries a tunnel's bytes.

use super::stream::ClientStream;
use crate::deadline::ConnectionDeadline;
use crate::proxy::{ByteTunnel, Peer};

/// Carries them to the end; `read` is what has been read of them already. What comes to no end of its own, as it breaks off
/// or is cut at the end of a drain, is reset.
pub(super) async fn carry(
    tunnel: Box<ByteTunnel>,
    stream: ClientStream,
    read: &[u8],
    peer: Peer,
    deadline: &ConnectionDeadline,
) {
    let mut socket = TunnelSocket { stream, ended: false };
    socket.ended = tunnel.carry(&mut socket.stream, read, peer, deadline).await.is_ok();
}

/// Dropped before both ways have ended it resets the connection: what came so far must not pass for all.
struct TunnelSocket {
    stream: ClientStream,
    ended: bool,
}

impl Drop for TunnelSocket {
    fn drop(&mut self) {
        if !self.ended {
            self.stream.reset_on_close();
        }
    }
}
