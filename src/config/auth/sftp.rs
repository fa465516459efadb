//! `sftp`: a login over SSH (RFC 4252), to a server that is known by its key.

use std::path::PathBuf;

use super::file_login::{self, FileLogin};
use super::{Auth, CertificateUse, MethodRow};
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{SectionFields, SectionReader, Wrong};
use crate::config::section::section;
use crate::config::value::{At, HostKeyFingerprint, Span};
use crate::secret::Secret;

pub(super) const METHOD: MethodRow =
    MethodRow { name: "sftp", certificate: CertificateUse::Allowed, keys: SftpKeys::properties, read };

/// A login by SFTP: shows a key, a password, or the one and then the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SftpLogin {
    /// The user.
    pub username: String,
    /// Is shown first.
    pub private_key: Option<PrivateKeyFile>,
    /// Is shown where the key does not suffice, or there is none.
    pub password: Option<Secret>,
    /// By what the server is known.
    pub host_keys: WrittenHostKeys,
    /// SHA-1 may sign, for servers that know nothing better.
    pub allow_sha1: bool,
}

/// A private key in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivateKeyFile {
    /// In OpenSSH's format, PKCS#8 or PKCS#1.
    pub file: At<PathBuf>,
    /// Opens an encrypted one.
    pub passphrase: Option<At<Secret>>,
}

/// By which keys a server is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrittenHostKeys {
    /// Those with one of these fingerprints; at least one.
    Pinned(Vec<HostKeyFingerprint>),
    /// Those that a file in OpenSSH's form has for the server.
    KnownHosts(At<PathBuf>),
}

section! {
    struct SftpKeys {
        /// The user.
        username: At<String>,
        /// File with the user's private key: OpenSSH's format, PKCS#8 or PKCS#1. It is shown before `password` is.
        private_key: Option<At<PathBuf>> = None,
        /// Of an encrypted `private_key`.
        passphrase: Option<At<Secret>> = None,
        /// Of the user.
        password: Option<At<Secret>> = None,
        /// The fingerprint of the server's key, `SHA256:…`, or a list of those that it may have.
        host_key: Option<Vec<At<HostKeyFingerprint>>> = None,
        /// File with the keys of servers, as OpenSSH has it; instead of `host_key`.
        known_hosts: Option<At<PathBuf>> = None,
        /// Lets SHA-1 sign, for servers that know nothing better.
        allow_sha1: bool = false,
    }
}

fn read(fields: &mut SectionFields<'_>, node: &Node, reader: &mut SectionReader<'_>) -> Result<Option<Auth>, Reported> {
    let keys = SftpKeys::from_fields(fields, reader);
    // All that is missing is told at once.
    let is_shown = check_shown(node, reader);
    let is_known = check_known(node, reader);
    let SftpKeys { username, private_key, passphrase, password, host_key, known_hosts, allow_sha1 } = keys?;
    is_shown?;
    is_known?;
    let pinned = host_key.map(|pins| pins.into_iter().map(|pin| pin.value).collect::<Vec<_>>());
    let host_keys = match (pinned.filter(|pins| !pins.is_empty()), known_hosts) {
        (Some(pins), _) => WrittenHostKeys::Pinned(pins),
        (None, Some(file)) => WrittenHostKeys::KnownHosts(file),
        // It could not be read, and that has been reported.
        (None, None) => return Err(Reported),
    };
    if let Some(password) = &password {
        file_login::check_text(password, "password", reader)?;
    }
    let private_key = private_key.map(|file| PrivateKeyFile { file, passphrase });
    let (username, password) = (username.value, password.map(|password| password.value));
    let login = SftpLogin { username, private_key, password, host_keys, allow_sha1 };
    Ok(Some(Auth::Files(FileLogin::Sftp(Box::new(login)))))
}

fn check_shown(node: &Node, reader: &mut SectionReader<'_>) -> Result<(), Reported> {
    let written = |key: &str| node.entry(key).map(|entry| entry.key.span);
    match (written("private_key"), written("passphrase"), written("password")) {
        (None, None, None) => {
            let wrong = Wrong::new("this login shows neither a key nor a password");
            Err(wrong.help("add `private_key: PATH` or `password: …`, or both").report(node.span, reader.report))
        }
        (None, Some(passphrase), _) => {
            let wrong = Wrong::new("nothing would be opened with this passphrase");
            Err(wrong.help("add `private_key: PATH`, or write `password`").report(passphrase, reader.report))
        }
        _ => Ok(()),
    }
}

fn check_known(node: &Node, reader: &mut SectionReader<'_>) -> Result<(), Reported> {
    let entry = |key: &str| node.entry(key);
    match (entry("host_key"), entry("known_hosts")) {
        (None, None) => Err(report_unknown_server(node.span, reader)),
        (Some(pins), Some(file)) => {
            let report = &mut *reader.report;
            report
                .error(file.key.span, "`known_hosts` stands instead of `host_key`")
                .also(pins.key.span, "written here too")
                .help("remove the one or the other");
            Err(Reported)
        }
        (Some(pins), None) if pins.value.is_empty_list() => {
            let wrong = Wrong::new("`host_key` lists none");
            Err(wrong.help("write the fingerprint of the server's key").report(pins.key.span, reader.report))
        }
        _ => Ok(()),
    }
}

fn report_unknown_server(span: Span, reader: &mut SectionReader<'_>) -> Reported {
    let wrong = Wrong::new("nothing says by which key the server is known");
    let help = "add `host_key: \"SHA256:…\"`, which the server's owner tells, or `known_hosts: PATH`";
    wrong.help(help).report(span, reader.report)
}
