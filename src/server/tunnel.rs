//! A client's socket after a 200 to `CONNECT`, or the 101 that opens a WebSocket.

use std::rc::Rc;

use bytes::Bytes;

use super::stream::ClientStream;
use crate::deadline::ConnectionDeadline;
use crate::proxy::{Arrival, ByteTunnel, OpenedTunnel, Peer};

/// Goes on with a socket whose answer has left; `read` is what the client has said since. `Some`: requests come on it, as from
/// the end of a tunnel, and `arrival` knows.
pub(super) async fn begin(
    opened: OpenedTunnel,
    stream: ClientStream,
    read: Bytes,
    arrival: &mut Rc<Arrival>,
    deadline: &ConnectionDeadline,
) -> Option<(ClientStream, Bytes)> {
    match opened {
        OpenedTunnel::Bytes(tunnel) => {
            carry(tunnel, stream, &read, arrival.peer, deadline).await;
            None
        }
        OpenedTunnel::Service(tunnel) => {
            *arrival = Rc::new(arrival.within(tunnel));
            Some((stream, read))
        }
    }
}

/// Tells of a client that speaks TLS in a tunnel where plain HTTP is spoken, if what it said first is that.
pub(super) fn tells_of_tls(arrival: &Arrival, read: &[u8]) -> bool {
    let Some(tunnel) = arrival.inside.as_ref().filter(|_| read.first() == Some(&TLS_HANDSHAKE)) else { return false };
    tunnel.tell_of_tls(arrival.peer);
    true
}

/// Carries bytes to the end. What comes to no end of its own, as it breaks off or is cut at the end of a drain, is reset.
async fn carry(tunnel: Box<ByteTunnel>, stream: ClientStream, read: &[u8], peer: Peer, deadline: &ConnectionDeadline) {
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

/// The content type of a record with a hello in it (RFC 8446 §5.1). No method begins with it.
const TLS_HANDSHAKE: u8 = 22;
