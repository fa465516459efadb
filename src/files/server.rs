//! A file server, and how one gets in.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

use super::login::{LoginDeadline, LoginFailure, LoginFailureKind, LoginGate};
use super::options::FileOptions;
use super::session::FileSession;
use super::{ftp, sftp, ssh};
use crate::clock::Moment;
use crate::secret::Secret;

/// A file server, and how one gets in. Made once for each version of a service.
pub(crate) struct FileServer {
    pub(crate) access: ServerAccess,
    pub(crate) options: FileOptions,
    /// Shared with whatever version of the service has the same login: to the server they are one.
    gate: Arc<LoginGate>,
}

/// What is spoken, and who comes.
pub(crate) enum ServerAccess {
    Sftp(ssh::SshClient),
    Ftp(FtpAccess),
}

/// A login by FTP.
pub(crate) struct FtpAccess {
    pub(crate) security: ftp::Security,
    pub(crate) username: String,
    pub(crate) password: Secret,
}

/// What the bytes come over.
pub(crate) enum FileSocket {
    Tcp(TcpStream),
    /// Through a proxy; FTP has no use for it, as its data comes over other connections.
    Tunnel(Box<dyn TunnelStream>),
}

/// A way for bytes that is no socket of its own.
pub(crate) trait TunnelStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> TunnelStream for S {}

/// How far a login has come, and how long each step took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LoginTimings {
    /// TLS, or SSH up to where the server has shown its key.
    pub(crate) secured: Option<Duration>,
    /// Without the wait for others that log in.
    pub(crate) login: Option<Duration>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// Also where it was not tried, as another attempt was refused a moment ago.
    #[error(transparent)]
    Login(#[from] LoginFailure),
    #[error(transparent)]
    Ssh(#[from] ssh::Error),
    #[error(transparent)]
    Sftp(#[from] sftp::Error),
    #[error(transparent)]
    Ftp(#[from] ftp::Error),
    #[error("FTP has no use for a proxy")]
    Tunnel,
}

impl FileServer {
    pub(crate) fn new(access: ServerAccess, options: FileOptions) -> Self {
        Self { access, options, gate: Arc::new(LoginGate::new()) }
    }

    /// Another version of a service whose login is the same: what is learned of that through one is known to both.
    pub(crate) fn with_same_login(access: ServerAccess, options: FileOptions, older: &Self) -> Self {
        Self { access, options, gate: Arc::clone(&older.gate) }
    }

    /// Whether the server is known by a key, and not by a certificate.
    pub(crate) fn is_ssh(&self) -> bool {
        matches!(self.access, ServerAccess::Sftp(_))
    }

    /// Whether what is said is hidden from whoever is on the way.
    pub(crate) fn is_secured(&self) -> bool {
        !matches!(&self.access, ServerAccess::Ftp(access) if matches!(access.security, ftp::Security::Plain))
    }

    /// Why nobody gets in for now; `None`: it may be tried.
    pub(crate) fn refusal(&self) -> Option<LoginFailure> {
        self.gate.refusal(Moment::now())
    }

    /// A place among those that are about to log in; to be held until they have.
    pub(crate) async fn enter(&self) -> SemaphorePermit<'_> {
        self.gate.enter().await
    }

    /// Everything up to where files can be asked for, over a new connection. There is one try to log in, over all workers,
    /// and none for a while after one that was refused. Host keys that do not fit are kept in `unfit`, for the next connection.
    pub(crate) async fn log_in(
        &self,
        socket: FileSocket,
        deadline: &LoginDeadline,
        timings: &Cell<LoginTimings>,
        unfit: &mut Vec<ssh::ShownKey>,
    ) -> Result<FileSession, LoginError> {
        match &self.access {
            ServerAccess::Sftp(client) => self.log_in_by_ssh(client, socket, deadline, timings, unfit).await,
            ServerAccess::Ftp(access) => match socket {
                FileSocket::Tcp(tcp) => self.log_in_by_ftp(access, tcp, deadline, timings).await,
                FileSocket::Tunnel(_) => Err(LoginError::Tunnel),
            },
        }
    }

    async fn log_in_by_ssh(
        &self,
        client: &ssh::SshClient,
        socket: FileSocket,
        deadline: &LoginDeadline,
        timings: &Cell<LoginTimings>,
        unfit: &mut Vec<ssh::ShownKey>,
    ) -> Result<FileSession, LoginError> {
        let mut shaken = timed(timings, |all, took| all.secured = took, client.shake(socket, unfit)).await?;
        let turn = self.gate.turn(deadline).await?;
        let logged_in = timed(timings, |all, took| all.login = took, client.log_in(&mut shaken)).await;
        turn.ended(logged_in.as_ref().err().map(ssh::Error::as_failure));
        logged_in.map_err(|error| self.told(error))?;
        let stream = client.open_sftp(shaken).await?;
        Ok(FileSession::Sftp(Box::new(sftp::SftpSession::start(stream).await?)))
    }

    async fn log_in_by_ftp(
        &self,
        access: &FtpAccess,
        socket: TcpStream,
        deadline: &LoginDeadline,
        timings: &Cell<LoginTimings>,
    ) -> Result<FileSession, LoginError> {
        let greeted = ftp::FtpSession::greet(socket, &access.security);
        let mut session = timed(timings, |all, took| all.secured = took, greeted).await?;
        let turn = self.gate.turn(deadline).await?;
        let login =
            ftp::FtpCredentials { username: access.username.as_bytes(), password: access.password.expose().as_bytes() };
        let logged_in = timed(timings, |all, took| all.login = took, session.log_in(&login)).await;
        let logged_in = logged_in.map_err(|error| match &access.security {
            ftp::Security::Plain => error.where_tls_is_off(),
            _ => error,
        });
        turn.ended(logged_in.as_ref().err().map(ftp::Error::as_failure));
        logged_in.map_err(|error| self.told(error))?;
        session.prepare().await?;
        Ok(FileSession::Ftp(Box::new(session)))
    }

    /// As if the server had taken nothing of what it was shown just now.
    #[cfg(test)]
    pub(crate) fn refuse(&self) {
        self.gate.refuse(LoginFailure::new(LoginFailureKind::Refused, "530 no"));
    }

    /// The same with the pause that it brings.
    fn told(&self, error: impl Into<LoginError>) -> LoginError {
        self.refusal().map_or_else(|| error.into(), LoginError::Login)
    }
}

async fn timed<T, E>(
    timings: &Cell<LoginTimings>,
    note: impl FnOnce(&mut LoginTimings, Option<Duration>),
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let began = Instant::now();
    let done = step.await?;
    let mut all = timings.get();
    note(&mut all, Some(began.elapsed()));
    timings.set(all);
    Ok(done)
}

impl LoginError {
    /// What it comes to; what TLS failed with is the caller's to say.
    pub(crate) fn as_failure(&self) -> LoginFailure {
        match self {
            Self::Login(failure) => failure.clone(),
            Self::Ssh(error) => error.as_failure(),
            Self::Ftp(error) => error.as_failure(),
            Self::Sftp(sftp::Error::Ended | sftp::Error::Io(_)) => {
                LoginFailure::new(LoginFailureKind::Ended, self.to_string())
            }
            Self::Sftp(sftp::Error::Version(_)) => LoginFailure::new(LoginFailureKind::Lacks, self.to_string()),
            Self::Sftp(_) | Self::Tunnel => LoginFailure::new(LoginFailureKind::NoFiles, self.to_string()),
        }
    }

    /// Whether the server may have another key that fits: over another connection it is asked for that.
    pub(crate) fn wants_another_key(&self) -> bool {
        matches!(self, Self::Ssh(ssh::Error::OtherKindWanted(_)))
    }

    /// What a handshake of TLS ended with.
    pub(crate) fn into_tls(self) -> Result<io::Error, Self> {
        match self {
            Self::Ftp(ftp::Error::Tls(error)) => Ok(error),
            other => Err(other),
        }
    }
}

impl ssh::Error {
    fn as_failure(&self) -> LoginFailure {
        let kind = match self {
            Self::Mistrusted(_) | Self::OtherKindWanted(_) => LoginFailureKind::HostKey,
            Self::Refused { .. } => LoginFailureKind::Refused,
            Self::TooMany(_) => LoginFailureKind::Overloaded,
            Self::NothingInCommon { .. } | Self::NoChannel(_) | Self::NoSftp => LoginFailureKind::Lacks,
            Self::NoSsh(_) | Self::Other(_) => LoginFailureKind::NoFiles,
            Self::Ended | Self::Dismissed(_) => LoginFailureKind::Ended,
        };
        LoginFailure::new(kind, self.to_string())
    }
}

impl ftp::Error {
    fn as_failure(&self) -> LoginFailure {
        let kind = match (self, self.reply()) {
            (Self::TlsDemanded(_), _) => LoginFailureKind::DemandsTls,
            (_, Some(reply)) if is_full(reply.code, &reply.text()) => LoginFailureKind::Overloaded,
            (Self::Refused { operation, .. }, _) if *operation == ftp::LOG_IN => LoginFailureKind::Refused,
            (Self::Ended | Self::Io(_), _) => LoginFailureKind::Ended,
            (Self::Refused { .. }, _) => LoginFailureKind::Lacks,
            _ => LoginFailureKind::NoFiles,
        };
        LoginFailure::new(kind, self.to_string())
    }
}

/// 421 is that alone before a login; ProFTPD has 530 for it, which others say of a wrong password.
fn is_full(code: u16, text: &str) -> bool {
    code == 421 || code == 530 && says_full(text)
}

/// Whether these are words of a server that serves too many at the moment.
pub(super) fn says_full(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    FULL.iter().any(|words| text.contains(words))
}

/// The last is OpenSSH's, before SSH is spoken.
const FULL: [&str; 5] = ["too many", "maximum number", "limit exceeded", "connection limit", "exceeded maxstartups"];

impl AsyncRead for FileSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, out),
            Self::Tunnel(stream) => Pin::new(stream).poll_read(cx, out),
        }
    }
}

impl AsyncWrite for FileSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tunnel(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tunnel(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tunnel(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Says nothing of who comes.
impl fmt::Debug for FileServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileServer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_full_is_told_from_one_that_refuses_the_password() {
        assert!(is_full(421, "There are too many connected users, please try later."));
        assert!(is_full(530, "Sorry, the maximum number of clients (2) for this user are already connected."));
        assert!(is_full(530, "Too many users, please try again later."));
        assert!(!is_full(530, "Login incorrect."));
        assert!(!is_full(550, "Too many levels of symbolic links"));
    }
}
