//! A file server, and how one gets in.

use tokio::net::TcpStream;

use super::answer::Options;
use super::session::FileSession;
use super::{ftp, sftp, ssh};
use crate::secret::Secret;

/// A file server, and how one gets in. Made once for each version of a service.
pub(crate) struct FileServer {
    pub(crate) access: Access,
    pub(crate) options: Options,
}

/// What is spoken, and who comes.
pub(crate) enum Access {
    Sftp(ssh::Client),
    Ftp(FtpAccess),
}

/// A login by FTP.
pub(crate) struct FtpAccess {
    pub(crate) security: ftp::Security,
    pub(crate) username: String,
    pub(crate) password: Secret,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    #[error(transparent)]
    Ssh(#[from] ssh::Error),
    #[error(transparent)]
    Sftp(#[from] sftp::Error),
    #[error(transparent)]
    Ftp(#[from] ftp::Error),
}

impl FileServer {
    /// Everything up to where files can be asked for, over a new connection. There is one try to log in.
    pub(crate) async fn log_in(&self, socket: TcpStream) -> Result<FileSession, LoginError> {
        match &self.access {
            Access::Sftp(client) => {
                let stream = client.open_sftp(socket).await?;
                Ok(FileSession::Sftp(Box::new(sftp::Session::start(stream).await?)))
            }
            Access::Ftp(access) => {
                let login =
                    ftp::Login { username: access.username.as_bytes(), password: access.password.expose().as_bytes() };
                Ok(FileSession::Ftp(Box::new(ftp::Session::start(socket, &access.security, &login).await?)))
            }
        }
    }
}
