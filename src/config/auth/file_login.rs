//! Methods that log in to a server of files, and put nothing on a request.

use super::ftp::FtpLogin;
use super::sftp::{SftpLogin, WrittenHostKeys};
use crate::config::diagnostic::Reported;
use crate::config::read::{SectionReader, Wrong};
use crate::config::value::{At, Scheme};
use crate::secret::Secret;

/// A login to a server of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileLogin {
    /// Over SSH.
    Sftp(Box<SftpLogin>),
    /// By FTP, over TLS or not.
    Ftp(Box<FtpLogin>),
}

impl FileLogin {
    /// What the config calls the method.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::Sftp(_) => "sftp",
            Self::Ftp(_) => "ftp",
        }
    }

    /// Whether it logs in where URLs have this scheme.
    #[must_use]
    pub fn fits(&self, scheme: Scheme) -> bool {
        match self {
            Self::Sftp(_) => scheme == Scheme::Sftp,
            Self::Ftp(_) => matches!(scheme, Scheme::Ftp | Scheme::Ftps),
        }
    }

    /// What is shown to the server, a line each, values masked.
    pub(super) fn masked(&self) -> Vec<String> {
        match self {
            Self::Sftp(login) => {
                let user = format!("login: {} by SFTP", login.username);
                let key = login.private_key.as_ref().map(|key| format!("key: {}", key.file.value.display()));
                let password = login.password.as_ref().map(|_| "password: ***".to_owned());
                let known = match &login.host_keys {
                    WrittenHostKeys::Pinned(pins) => {
                        let pins: Vec<&str> = pins.iter().map(|pin| pin.as_str()).collect();
                        format!("to a server with the host key {}", pins.join(" or "))
                    }
                    WrittenHostKeys::KnownHosts(file) => {
                        format!("to a server with a host key of {}", file.value.display())
                    }
                };
                [Some(user), key, password, Some(known)].into_iter().flatten().collect()
            }
            Self::Ftp(login) => {
                let how = if login.is_plain() { "FTP without TLS" } else { "FTP over TLS" };
                vec![format!("login: {} by {how}", login.username), "password: ***".to_owned()]
            }
        }
    }
}

/// Refuses a secret that can't be said in one line.
pub(super) fn check_text(secret: &At<Secret>, what: &str, reader: &mut SectionReader<'_>) -> Result<(), Reported> {
    if secret.value.expose().contains(char::is_control) {
        let wrong = Wrong::new(format!("the {what} has a line break or another control character"));
        return Err(wrong.report(secret.span, reader.report));
    }
    Ok(())
}
