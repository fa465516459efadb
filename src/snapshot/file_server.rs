//! From the login of a service, and from its `files`, to the server that files are asked of.

use std::sync::Arc;

use crate::config::auth::{FileLogin, FtpLogin, NotBuiltIn, PrivateKeyFile, SftpLogin, Transform, WrittenHostKeys};
use crate::config::{self, Auth, HttpVersion, Inputs, LinkPolicy, Report, Scheme, UploadWay, Url};
use crate::digest::Digest;
use crate::files::{self, FileServer, FtpAccess, ftp, ssh};
use crate::tls::{Certificate, ClientTls, TlsOrigin, TlsPlace};

/// A server, and by what another version of it is told apart.
pub(crate) struct CompiledFiles {
    pub(crate) server: Arc<FileServer>,
    pub(super) fingerprints: FileFingerprints,
    url: Url,
}

/// SHA-256 over all that made a server, but for what the config says itself of its `files`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileFingerprints {
    pub(super) login: [u8; 32],
    /// Of FTP, unless it is plain.
    pub(super) tls: Option<[u8; 32]>,
}

impl CompiledFiles {
    /// Nothing that was compiled before is changed: it goes on if this is never published.
    fn new(
        access: files::ServerAccess,
        fingerprints: FileFingerprints,
        service: &config::ServiceConfig,
        older: Option<&Self>,
    ) -> Self {
        let url = service.url.value.clone();
        let has_same_login = |older: &&Self| {
            let is_there = older.url.scheme == url.scheme && older.url.authority == url.authority;
            is_there && older.fingerprints == fingerprints
        };
        let server = match older.filter(has_same_login) {
            // A password that was refused is not tried again for a change of something else, nor by two at once.
            Some(older) => FileServer::with_same_login(access, options(service), &older.server),
            None => FileServer::new(access, options(service)),
        };
        Self { server: Arc::new(server), fingerprints, url }
    }
}

/// Reads the files of the login. `Some(None)`: no files are asked for there, or nobody can log in as a secret is missing.
///
/// `None`: what is wrong has been reported, or no secrets are read.
pub(super) fn compile(
    service: &config::ServiceConfig,
    certificate: Option<&Arc<Certificate>>,
    older: Option<&CompiledFiles>,
    inputs: &Inputs,
    report: &mut Report,
) -> Option<Option<CompiledFiles>> {
    if !service.url.value.scheme.is_of_files() {
        return Some(None);
    }
    let login = service.auth.iter().find_map(|method| match &method.value {
        Auth::Files(login) => Some(Some(login)),
        // What was read of it has placeholders, which must not be shown to anybody.
        Auth::Unavailable(NotBuiltIn { method, .. }) if method.file_login().is_some() => Some(None),
        _ => None,
    });
    // A service without one has been reported.
    let Some(login) = login? else { return Some(None) };
    let (access, fingerprints) = match login {
        FileLogin::Sftp(login) => sftp(login, service, inputs, report)?,
        FileLogin::Ftp(login) => ftp(login, service, certificate, inputs, report)?,
    };
    Some(Some(CompiledFiles::new(access, fingerprints, service, older)))
}

fn options(service: &config::ServiceConfig) -> files::FileOptions {
    let written = &service.files;
    let encrypts = service.auth.iter().find_map(|method| match method.value.transform() {
        Some(Transform::Encrypt(written)) => Some(written),
        _ => None,
    });
    files::FileOptions {
        upload: match written.upload {
            UploadWay::Atomic => files::UploadMode::Atomic,
            UploadWay::Direct => files::UploadMode::Direct,
        },
        temp_suffix: written.temp_suffix.clone(),
        overwrite: written.overwrite,
        links: match written.links {
            LinkPolicy::Follow => files::Links::Follow,
            LinkPolicy::Refuse => files::Links::Refuse,
        },
        names_of_config: service.url.value.path.split('/').filter(|name| !matches!(*name, "" | "~")).count(),
        list_limit: written.list_limit,
        name_suffix: encrypts.and_then(|written| Some(written.name_suffix.as_ref()?.value.clone())),
    }
}

fn sftp(
    login: &SftpLogin,
    service: &config::ServiceConfig,
    inputs: &Inputs,
    report: &mut Report,
) -> Option<(files::ServerAccess, FileFingerprints)> {
    if !inputs.reads_secrets() {
        return None;
    }
    // Both are looked at before one is given up: a user wants to hear of every problem at once.
    let key = login.private_key.as_ref().map(|key| private_key(key, inputs, report));
    let host_keys = host_keys(&login.host_keys, service, inputs, report);
    let (key, host_keys) = (key.map_or(Some(None), |key| key.map(Some))?, host_keys?);

    let mut digest = Digest::new();
    digest.field(login.username.as_bytes());
    digest.list(key.iter().map(|key| key.public_key().fingerprint(Default::default()).to_string()));
    digest.list(login.password.iter());
    digest.field(&[u8::from(login.allow_sha1)]);
    host_keys.digest(&mut digest);

    let (username, password, key) = (login.username.clone(), login.password.clone(), key.map(Arc::new));
    let login =
        ssh::SshClient { host_keys, login: ssh::SshLogin { username, key, password }, allow_sha1: login.allow_sha1 };
    Some((files::ServerAccess::Sftp(login), FileFingerprints { login: digest.finish(), tls: None }))
}

fn private_key(written: &PrivateKeyFile, inputs: &Inputs, report: &mut Report) -> Option<ssh::PrivateKey> {
    let file = &written.file;
    let text = inputs.read_secret(&file.value, file.span, report)?;
    let passphrase = written.passphrase.as_ref();
    match ssh::read_key(&text, passphrase.map(|passphrase| &passphrase.value)) {
        Ok(key) => {
            if let Some(bits) = ssh::rsa_bits(&key).filter(|bits| *bits < FEWEST_RSA_BITS) {
                report
                    .warning(file.span, format!("the private key is an RSA key of {bits} bits, which servers refuse"))
                    .help("make one of 3072 bits, or an Ed25519 key: ssh-keygen -t ed25519 -f NEW");
            }
            Some(key)
        }
        Err(error) => {
            let is_of_passphrase = matches!(error, ssh::KeyError::PassphraseWrong | ssh::KeyError::PassphraseNotNeeded);
            let span = passphrase.filter(|_| is_of_passphrase).map_or(file.span, |passphrase| passphrase.span);
            let path = file.value.display();
            report.error(span, format!("`{path}`: {error}")).help(error.help(&file.value));
            None
        }
    }
}

fn host_keys(
    written: &WrittenHostKeys,
    service: &config::ServiceConfig,
    inputs: &Inputs,
    report: &mut Report,
) -> Option<ssh::HostKeys> {
    let file = match written {
        WrittenHostKeys::Pinned(pins) => {
            return Some(ssh::HostKeys::pinned(pins.iter().map(|pin| pin.as_str().to_owned()).collect()));
        }
        WrittenHostKeys::KnownHosts(file) => file,
    };
    let bytes = inputs.read(&file.value, file.span, report)?;
    let path = file.value.display();
    let Ok(text) = String::from_utf8(bytes) else {
        report.error(file.span, format!("`{path}` is not UTF-8 text"));
        return None;
    };
    let authority = &service.url.value.authority;
    let (host, port) = (&authority.host, authority.port);
    match ssh::HostKeys::listed(&text, host, port) {
        Ok(keys) if keys.is_empty() => {
            let at = if port == 22 { String::new() } else { format!("-p {port} ") };
            report
                .error(file.span, format!("`{path}` has no key for `{}`", ssh::known_name(host, port)))
                .also(service.url.span, "the server of this URL")
                .help(format!("ssh-keyscan {at}{host} >> {path}, and compare with what the server's owner tells"));
            None
        }
        Ok(keys) => Some(keys),
        Err(error) => {
            report
                .error(file.span, format!("`{path}`: {error}"))
                .help("a line has names, the kind of a key and the key: `host ssh-ed25519 AAAA…`");
            None
        }
    }
}

fn ftp(
    login: &FtpLogin,
    service: &config::ServiceConfig,
    certificate: Option<&Arc<Certificate>>,
    inputs: &Inputs,
    report: &mut Report,
) -> Option<(files::ServerAccess, FileFingerprints)> {
    let url = &service.url;
    let tls = if login.is_plain() {
        None
    } else {
        let place = TlsPlace { url: url.span, origin: TlsOrigin::Service };
        let (trust, host) = (service.tls.as_ref(), &url.value.authority.host);
        Some(ClientTls::compile(trust, host, certificate, HttpVersion::Http1, place, inputs, report)?)
    };
    if !inputs.reads_secrets() {
        return None;
    }
    let mut digest = Digest::new();
    digest.field(url.value.scheme.start().as_bytes());
    digest.field(login.username.as_bytes());
    digest.field(login.password.as_ref());
    let fingerprints = FileFingerprints { login: digest.finish(), tls: tls.as_ref().map(|tls| tls.fingerprint) };

    let client = tls.map(|tls| tls.without_protocols());
    let client = client.map(|tls| ftp::TlsClient { config: tls.config, name: tls.server_name });
    let security = match (client, url.value.scheme) {
        (None, _) => ftp::Security::Plain,
        (Some(client), Scheme::Ftps) => ftp::Security::Implicit(client),
        (Some(client), _) => ftp::Security::Explicit(client),
    };
    let (username, password) = (login.username.clone(), login.password.clone());
    Some((files::ServerAccess::Ftp(FtpAccess { security, username, password }), fingerprints))
}

/// What OpenSSH's servers ask for at least is 1024 to 2048, by their version.
const FEWEST_RSA_BITS: usize = 2048;
