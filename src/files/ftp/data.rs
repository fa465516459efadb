//! Data connections: one for each transfer, always made by us.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

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
    /// Makes a data connection, and has the server send over it what this command asks for.
    pub(super) async fn begin(
        &mut self,
        command: (&str, &[u8]),
        from: u64,
        operation: &'static str,
    ) -> Result<Transfer, Error> {
        let (socket, reply) = self.ask_with_data(command, from).await?;
        // Whatever is short may be over before it is said to have begun.
        let end = match reply.class() {
            2 => Some(reply),
            _ => expect(reply, 1, operation).map(|_| None)?,
        };
        Ok(Transfer { data: self.secured(socket, operation).await?, end })
    }

    /// Makes a data connection, and has the server take over it what this command is about.
    pub(super) async fn begin_upload(
        &mut self,
        command: (&str, &[u8]),
        operation: &'static str,
    ) -> Result<Transfer, Error> {
        let (socket, reply) = self.ask_with_data(command, 0).await?;
        // The end of a file of which no byte has gone is no end of it.
        expect(reply, 1, operation)?;
        Ok(Transfer { data: self.secured(socket, operation).await?, end: None })
    }

    async fn ask_with_data(
        &mut self,
        (verb, argument): (&str, &[u8]),
        from: u64,
    ) -> Result<(TcpStream, FtpReply), Error> {
        let socket = self.dial_data().await.map_err(|error| Error::NoData(Box::new(error)))?;
        if from > 0 {
            let rest = self.control.ask_for(3, ("REST", from.to_string().as_bytes()), "to begin in the middle").await;
            // Also of one that lists it not: some have it all the same.
            self.knows_rest = !matches!(&rest, Err(Error::Refused { reply, .. }) if (500..=504).contains(&reply.code));
            rest?;
        }
        Ok((socket, self.control.ask(verb, argument).await?))
    }

    /// Once the server has agreed: only then it listens for a handshake, and a refusal has none to follow.
    async fn secured(&mut self, socket: TcpStream, operation: &'static str) -> Result<FtpWire, Error> {
        let Some(handshakes) = &self.handshakes else { return Ok(FtpWire::Plain(socket)) };
        let error = match handshakes.shake(socket).await {
            Ok(data) => return Ok(data),
            Err(error) => error,
        };
        // What it wants of a handshake it says on the control connection: that a session be resumed, say.
        let why = match timeout(REASON_AWAITED, self.control.reply()).await {
            Ok(Ok(reply)) if matches!(reply.class(), 4 | 5) => Error::Refused { operation, reply },
            _ => error,
        };
        Err(Error::NoData(Box::new(why)))
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

/// It is said at once, if at all.
const REASON_AWAITED: Duration = Duration::from_secs(5);
