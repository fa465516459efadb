//! SSH up to where SFTP is spoken: a server that is known, a login, and one channel (RFC 4253, 4252, 4254).
//!
//! Promises that no secret is shown to a server whose key is not among the expected ones, that there is one try to log in,
//! and that SHA-1 signs nothing unless that is asked for.

mod error;
mod host_keys;
mod key;
mod login;
mod stream;

pub(crate) use self::error::{Error, Mistrust};
pub(crate) use self::host_keys::{HostKeys, known_name};
pub(crate) use self::key::{KeyError, read_key, rsa_bits};
pub(crate) use self::login::Login;
pub(crate) use self::stream::SftpStream;
pub(crate) use russh::keys::PrivateKey;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use russh::client::{self, Handle};
use russh::keys::Algorithm;
use russh::keys::PublicKeyOrCertificate;
use russh::{Preferred, SshId};
use tokio::io::{AsyncRead, AsyncWrite};

/// How one server is spoken to.
pub(crate) struct Client {
    pub(crate) host_keys: HostKeys,
    pub(crate) login: Login,
    /// SHA-1 may sign, for servers that know nothing better.
    pub(crate) allow_sha1: bool,
}

impl Client {
    /// All that comes before SFTP, over a new connection.
    pub(crate) async fn open_sftp<S>(&self, socket: S) -> Result<SftpStream, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut handle = self.shake(socket).await?;
        self.login.log_in(&mut handle, self.allow_sha1).await?;
        let channel = handle.channel_open_session().await.map_err(Error::NoChannel)?;
        channel.request_subsystem(true, "sftp").await.map_err(Error::from)?;
        SftpStream::begin(handle, channel).await
    }

    async fn shake<S>(&self, socket: S) -> Result<Handle<Judge>, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let verdict = Verdict::default();
        let judge = Judge { host_keys: self.host_keys.clone(), verdict: verdict.clone() };
        let config = client::Config {
            client_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-sidekey_", env!("CARGO_PKG_VERSION")))),
            preferred: Preferred { key: self.key_algorithms().into(), ..Preferred::DEFAULT },
            window_size: WINDOW,
            channel_buffer_size: PACKETS_HELD,
            ..client::Config::default()
        };
        let shaken = client::connect_stream(Arc::new(config), socket, judge).await;
        // The library says no more than that the key is unknown.
        shaken.map_err(|error| verdict.take().map_or_else(|| Error::from(error), Error::Mistrusted))
    }

    /// The kinds of host keys, those first that the server is known by: it shows the first that it has.
    fn key_algorithms(&self) -> Vec<Algorithm> {
        let all = Preferred::DEFAULT.key.iter().filter(|algorithm| self.allow_sha1 || !is_sha1(algorithm));
        let (mut first, others): (Vec<_>, Vec<_>) = all.cloned().partition(|one| self.host_keys.have(one));
        first.extend(others);
        first
    }
}

fn is_sha1(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::Rsa { hash: None } | Algorithm::Dsa)
}

/// Looks at the server's key, and remembers why it is none.
pub(super) struct Judge {
    host_keys: HostKeys,
    verdict: Verdict,
}

#[derive(Clone, Default)]
struct Verdict(Arc<Mutex<Option<Mistrust>>>);

impl Verdict {
    fn set(&self, why: Mistrust) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    fn take(&self) -> Option<Mistrust> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl client::Handler for Judge {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else { return Ok(false) };
        match self.host_keys.judge(key) {
            Ok(()) => Ok(true),
            Err(why) => {
                self.verdict.set(why);
                Ok(false)
            }
        }
    }
}

/// What a server may send before it is read: as much as a file has under way.
const WINDOW: u32 = 1024 * 1024;
/// Packets of 32 KiB that wait between the connection and whoever reads: not more than the window lets come.
const PACKETS_HELD: usize = 32;
