//! Data connections: one for each transfer, always made by us.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::control::expect;
use super::error::Error;
use super::reply::FtpReply;
use super::session::FtpSession;
use super::wire::FtpWire;

/// A transfer that has begun.
pub(super) struct Transfer {
    pub(super) data: FtpWire,
    /// What the server said of its end already.
    pub(super) end: Option<FtpReply>,
}

impl FtpSession {
    /// Makes a data connection, and has the server use it for this command.
    pub(super) async fn begin(
        &mut self,
        (verb, argument): (&str, &[u8]),
        from: u64,
        operation: &'static str,
    ) -> Result<Transfer, Error> {
        let socket = self.dial_data().await.map_err(|error| Error::NoData(Box::new(error)))?;
        if from > 0 {
            let rest = self.control.ask_for(3, ("REST", from.to_string().as_bytes()), "to begin in the middle").await;
            // Also of one that lists it not: some have it all the same.
            self.knows_rest = !matches!(&rest, Err(Error::Refused { reply, .. }) if (500..=504).contains(&reply.code));
            rest?;
        }
        let reply = self.control.ask(verb, argument).await?;
        // Whatever is short may be over before it is said to have begun.
        let end = match reply.class() {
            2 => Some(reply),
            _ => expect(reply, 1, operation).map(|_| None)?,
        };
        // Only now is the server listening for a handshake; a refusal before has none to follow.
        let data = match &self.handshakes {
            Some(handshakes) => handshakes.shake(socket).await,
            None => Ok(FtpWire::Plain(socket)),
        };
        match data {
            Ok(data) => Ok(Transfer { data, end }),
            Err(error) => Err(Error::NoData(Box::new(error))),
        }
    }

    /// To the host of the control connection: an address that the server names could be anybody's (RFC 2428 §4).
    async fn dial_data(&mut self) -> Result<TcpStream, Error> {
        let port = self.passive_port().await?;
        let socket = TcpStream::connect((self.peer, port)).await?;
        socket.set_nodelay(true)?;
        Ok(socket)
    }

    async fn passive_port(&mut self) -> Result<u16, Error> {
        if self.knows_epsv {
            let reply = self.control.ask("EPSV", b"").await?;
            if reply.class() == 2 {
                return reply.extended_passive_port().ok_or(Error::Protocol("it names no port for data"));
            }
            self.knows_epsv = false;
        }
        let reply = self.control.ask_for(2, ("PASV", b""), "a data connection").await?;
        reply.passive_port().ok_or(Error::Protocol("it names no port for data"))
    }

    /// What the server says at the end of what it sent. It waits for us to close, some of them for ten seconds.
    pub(super) async fn received(&mut self, transfer: Option<Transfer>, operation: &'static str) -> Result<(), Error> {
        let end = match transfer {
            Some(Transfer { mut data, end }) => {
                // Who has closed for good needs no word of ours.
                let _closed = data.shutdown().await;
                end
            }
            None => None,
        };
        self.ended(end, operation).await
    }

    /// What the server says of a transfer's end.
    pub(super) async fn ended(&mut self, transfer_end: Option<FtpReply>, operation: &'static str) -> Result<(), Error> {
        let reply = match transfer_end {
            Some(reply) => reply,
            None => self.control.reply().await?,
        };
        expect(reply, 2, operation).map(drop)
    }
}
