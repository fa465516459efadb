//! `ftp`: a login by FTP (RFC 959), over TLS (RFC 4217) unless that is switched off.

use super::file_login::{self, FileLogin};
use super::{Auth, CertificateUse, MethodRow};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{SectionFields, SectionReader};
use crate::config::section::{section, words};
use crate::config::value::At;
use crate::secret::Secret;

pub(super) const METHOD: MethodRow =
    MethodRow { name: "ftp", certificate: CertificateUse::Allowed, keys: FtpKeys::properties, read };

/// A login by FTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FtpLogin {
    /// The user.
    pub username: String,
    /// Of the user; has no control character.
    pub password: Secret,
    /// As it is written; `None`: `explicit` at `ftp://`.
    pub tls: Option<At<FtpTls>>,
}

words! {
    /// `tls` of `ftp`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum FtpTls ("a way to have TLS by FTP") {
        /// TLS is asked for before the login, and demanded.
        "explicit" => Explicit,
        /// There is none.
        "off" => Off,
    }
}

section! {
    struct FtpKeys {
        /// The user.
        username: At<String>,
        /// Of the user.
        password: At<Secret>,
        /// Whether TLS is asked for (`explicit`, the default at `ftp://`) or not had (`off`, which needs
        /// `allow_plaintext_credentials` but for this machine).
        tls: Option<At<FtpTls>> = None,
    }
}

impl FtpLogin {
    /// Whether the config says that there is no TLS.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.value == FtpTls::Off)
    }
}

fn read(fields: &mut SectionFields<'_>, _: &Node, reader: &mut SectionReader<'_>) -> Result<Option<Auth>, Reported> {
    let FtpKeys { username, password, tls } = FtpKeys::from_fields(fields, reader)?;
    file_login::check_text(&password, "password", reader)?;
    let login = FtpLogin { username: username.value, password: password.value, tls };
    Ok(Some(Auth::Files(FileLogin::Ftp(Box::new(login)))))
}
