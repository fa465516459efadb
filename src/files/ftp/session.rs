//! A session: who is logged in at which server, and what that can do.

use std::net::IpAddr;

use tokio::net::TcpStream;

use super::super::begun::UnfinishedFile;
use super::super::entry::EntryKind;
use super::super::replace::{NameSession, replace};
use super::control::{Control, expect};
use super::error::Error;
use super::reply::GOODBYE;
use super::wire::{FtpWire, Handshakes, Security};
use super::{FtpEntry, facts};

/// A session in which nothing is under way.
pub(crate) struct FtpSession {
    pub(super) control: Control,
    pub(super) handshakes: Option<Handshakes>,
    pub(super) peer: IpAddr,
    /// It understands `EPSV`, as far as is known.
    pub(super) knows_epsv: bool,
    /// Where the login begins.
    pub(crate) home: Vec<u8>,
    /// It has `MLST` and `MLSD`, and tells times in UTC.
    pub(crate) tells_facts: bool,
    /// It begins in the middle of a file (`REST`), as far as is known. Who lists no features has said nothing of it.
    pub(super) knows_rest: bool,
}

/// Who comes.
pub(crate) struct FtpCredentials<'a> {
    pub(crate) username: &'a [u8],
    pub(crate) password: &'a [u8],
}

impl FtpSession {
    /// A new connection up to where the server is known. Nothing was shown to it; only [`log_in`](Self::log_in) and then
    /// [`prepare`](Self::prepare) may follow.
    pub(crate) async fn greet(socket: TcpStream, security: &Security) -> Result<Self, Error> {
        let peer = socket.peer_addr()?.ip();
        socket.set_nodelay(true)?;
        let (control, handshakes) = greet(socket, security).await?;
        let (knows_epsv, home, tells_facts, knows_rest) = (true, Vec::new(), false, true);
        let mut session = Self { control, handshakes, peer, knows_epsv, home, tells_facts, knows_rest };
        if session.handshakes.is_some() {
            // Also where TLS was there from the start (RFC 4217 §9).
            session.control.ask_for(2, ("PBSZ", b"0"), "to protect what is transferred").await?;
            session.control.ask_for(2, ("PROT", b"P"), "to protect what is transferred").await?;
        }
        Ok(session)
    }

    /// What has to be known and agreed on before files are asked for.
    pub(crate) async fn prepare(&mut self) -> Result<(), Error> {
        self.learn().await?;
        // Servers begin in ASCII, and change line ends then.
        self.control.ask_for(2, ("TYPE", b"I"), "to leave bytes as they are").await?;
        // Before anything moves it. Who does not say begins in the root.
        let reply = self.control.ask("PWD", b"").await?;
        self.home = if reply.class() == 2 { reply.quoted().unwrap_or_default() } else { Vec::new() };
        Ok(())
    }

    /// Whether it is of no use any more: the server has ended it, or says something that nobody asked for.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.control.has_news()
    }

    /// Shows who comes: one try.
    pub(crate) async fn log_in(&mut self, login: &FtpCredentials<'_>) -> Result<(), Error> {
        let reply = self.control.ask("USER", login.username).await?;
        if reply.class() == 2 {
            return Ok(());
        }
        expect(reply, 3, LOG_IN)?;
        let reply = self.control.ask("PASS", login.password).await?;
        match reply.class() {
            // It wants an account besides, which nobody has any more.
            3 => Err(Error::Refused { operation: LOG_IN, reply }),
            _ => expect(reply, 2, LOG_IN).map(drop),
        }
    }

    async fn learn(&mut self) -> Result<(), Error> {
        let reply = self.control.ask("FEAT", b"").await?;
        // Old ones do not know the question.
        let lines = if reply.class() == 2 { reply.lines } else { Vec::new() };
        let offers = |name: &[u8]| {
            let words = lines.iter().filter_map(|line| line.trim_ascii().split(|byte| *byte == b' ').next());
            words.into_iter().any(|word| word.eq_ignore_ascii_case(name))
        };
        self.tells_facts = offers(b"MLST");
        // Who has it lists it (RFC 3659 §5.3).
        self.knows_rest = lines.is_empty() || offers(b"REST");
        if offers(b"UTF8") {
            // Some begin in the code page of their machine. Most do not know the command, and need it not.
            self.control.ask("OPTS", b"UTF8 ON").await?;
        }
        Ok(())
    }

    /// Whether a file can be read from somewhere else than its start, as far as is known.
    pub(crate) fn may_restart(&self) -> bool {
        self.knows_rest
    }

    /// Whether a file can still be transferred: servers of TLS 1.3 may have no ticket left for another data connection.
    pub(crate) fn can_transfer(&self) -> bool {
        !self.handshakes.as_ref().is_some_and(Handshakes::are_used_up)
    }

    /// What is under this name. Of servers that tell no facts only what is a file or a folder, and no time: theirs is in a zone of
    /// their own.
    pub(crate) async fn stat(&mut self, path: &[u8]) -> Result<FtpEntry, Error> {
        if self.tells_facts {
            let reply = self.control.ask_for(2, ("MLST", path), LOOK).await?;
            if let Some(entry) = reply.lines.iter().find_map(|line| facts::of_itself(line.trim_ascii_start())) {
                return Ok(entry);
            }
            // What nobody understands says nothing: there are older questions.
        }
        let size = self.control.ask("SIZE", path).await?;
        if let (213, Some(size)) = (size.code, size.lines.first().and_then(|line| facts::digits(line.trim_ascii()))) {
            return Ok(FtpEntry { kind: EntryKind::File, size: Some(size), modified: None });
        }
        match (self.control.ask_for(2, ("CWD", path), LOOK).await, size.code) {
            (Ok(_), _) => Ok(FtpEntry { kind: EntryKind::Folder, size: None, modified: None }),
            // That it is no folder is not that it is nothing, where `SIZE` has told no more than that there is no `SIZE`.
            (Err(Error::Refused { .. }), 200..=299 | 500..=504) => Err(Error::Untold),
            (Err(Error::Refused { .. }), 400..=499) => Err(Error::Refused { operation: LOOK, reply: size }),
            (Err(error), _) => Err(error),
        }
    }

    pub(crate) async fn remove(&mut self, path: &[u8]) -> Result<(), Error> {
        self.control.ask_for(2, ("DELE", path), "to remove it").await.map(drop)
    }

    pub(crate) async fn remove_folder(&mut self, path: &[u8]) -> Result<(), Error> {
        self.control.ask_for(2, ("RMD", path), "to remove the folder").await.map(drop)
    }

    pub(crate) async fn make_folder(&mut self, path: &[u8]) -> Result<(), Error> {
        self.control.ask_for(2, ("MKD", path), "to make the folder").await.map(drop)
    }

    /// Most servers replace what has the name already; at one that refuses it is set aside first.
    pub(crate) async fn rename_over(&mut self, from: &[u8], to: &[u8], begun: &UnfinishedFile) -> Result<(), Error> {
        match self.rename(from, to).await {
            Err(refusal @ Error::Refused { operation: RENAME_TO, .. }) if from != to => {
                replace(self, (from, to), begun, refusal).await
            }
            done => done,
        }
    }

    /// Many servers replace what has the name already.
    pub(crate) async fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        // What is not there is refused here, before anything could be lost.
        self.control.ask_for(3, ("RNFR", from), "to rename it").await?;
        self.control.ask_for(2, ("RNTO", to), RENAME_TO).await.map(drop)
    }

    /// The error, and the session if that goes on after it.
    pub(super) fn after(self, error: Error) -> Failed {
        let goes_on = match &error {
            Error::Refused { reply, .. } => reply.code != GOODBYE,
            Error::Unspeakable | Error::TooLong(_) | Error::Changed { .. } | Error::Untold => true,
            _ => false,
        };
        Failed { error, session: goes_on.then(|| Box::new(self)) }
    }
}

impl NameSession for FtpSession {
    type Error = Error;

    async fn rename_once(&mut self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        self.rename(from, to).await
    }

    async fn remove_file(&mut self, path: &[u8]) -> Result<(), Error> {
        self.remove(path).await
    }

    fn is_refusal(error: &Error) -> bool {
        matches!(error, Error::Refused { .. })
    }
}

/// What did not come to be, and the session if that goes on.
pub(crate) struct Failed {
    pub(crate) error: Error,
    pub(crate) session: Option<Box<FtpSession>>,
}

async fn greet(socket: TcpStream, security: &Security) -> Result<(Control, Option<Handshakes>), Error> {
    let (wire, handshakes) = match security {
        Security::Plain => (FtpWire::Plain(socket), None),
        Security::Explicit(client) => (FtpWire::Plain(socket), Some(Handshakes::new(client))),
        Security::Implicit(client) => {
            let handshakes = Handshakes::new(client);
            (handshakes.shake(socket).await?, Some(handshakes))
        }
    };
    let mut control = Control::new(wire);
    loop {
        let greeting = control.reply().await?;
        // 120: in a moment.
        if greeting.class() != 1 {
            expect(greeting, 2, "the connection")?;
            break;
        }
    }
    if let (Security::Explicit(_), Some(handshakes)) = (security, &handshakes) {
        control.ask_for(2, ("AUTH", b"TLS"), "to speak TLS").await?;
        control = control.secured(handshakes).await?;
    }
    Ok((control, handshakes))
}

pub(crate) const LOG_IN: &str = "the login";
const LOOK: &str = "to look at it";
const RENAME_TO: &str = "the new name";
