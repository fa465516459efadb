//! SSH up to where SFTP is spoken: a server that is known, a login, and one channel (RFC 4253, 4252, 4254).
//!
//! Promises that no secret is shown to a server whose key is not among the expected ones, that there is one try to log in
//! (which a server that refuses the key counts as two, if there is a password as well), and that SHA-1 signs nothing unless that
//! is asked for.

mod error;
mod greeting;
mod host_keys;
mod key;
mod login;
mod stream;

pub(crate) use self::error::{Error, ShownKey};
pub(crate) use self::host_keys::{HostKeys, known_name};
pub(crate) use self::key::{KeyError, read_key, rsa_bits};
pub(crate) use self::login::SshLogin;
pub(crate) use self::stream::SftpStream;
pub(crate) use russh::keys::PrivateKey;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use russh::client::{self, DisconnectReason, Handle};
use russh::keys::Algorithm;
use russh::keys::PublicKeyOrCertificate;
use russh::{ChannelOpenFailure, Disconnect, Preferred, SshId};
use tokio::io::{AsyncRead, AsyncWrite};

use self::error::Mistrust;
use self::greeting::GreetedSocket;
use self::host_keys::is_same_kind;

/// How one server is spoken to.
pub(crate) struct SshClient {
    pub(crate) host_keys: HostKeys,
    pub(crate) login: SshLogin,
    /// SHA-1 may sign, for servers that know nothing better.
    pub(crate) allow_sha1: bool,
}

impl SshClient {
    /// A new connection up to where the server is known. Nothing was shown to it. A server shows one key on a connection: its
    /// `unfit` ones, which others have seen it show, are not asked for, and what it shows now is put there if it is one more.
    pub(crate) async fn shake<S>(&self, socket: S, unfit: &mut Vec<ShownKey>) -> Result<Shaken, Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let algorithms = self.key_algorithms(unfit);
        let verdict = HostVerdict::default();
        let judge = Judge { host_keys: self.host_keys.clone(), verdict: verdict.clone() };
        let config = client::Config {
            client_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-sidekey_", env!("CARGO_PKG_VERSION")))),
            preferred: Preferred { key: algorithms.into(), ..Preferred::DEFAULT },
            window_size: WINDOW,
            channel_buffer_size: PACKETS_HELD,
            ..client::Config::default()
        };
        let socket = GreetedSocket::new(socket, verdict.clone());
        let shaken = client::connect_stream(Arc::new(config), socket, judge).await;
        match shaken {
            Ok(handle) => Ok(Shaken { handle, verdict }),
            // The library says no more than that the key is unknown, or that nothing came.
            Err(error) => Err(self.beside_others(verdict.explain(error), unfit)),
        }
    }

    /// Shows who comes: one try.
    pub(crate) async fn log_in(&self, shaken: &mut Shaken) -> Result<(), Error> {
        let outcome = self.login.log_in(&mut shaken.handle, self.allow_sha1).await;
        outcome.map_err(|error| shaken.verdict.take().unwrap_or(error))
    }

    /// The channel on which SFTP is spoken, once somebody is logged in.
    pub(crate) async fn open_sftp(&self, shaken: Shaken) -> Result<SftpStream, Error> {
        let Shaken { handle, verdict } = shaken;
        let channel = handle.channel_open_session().await.map_err(|error| match error {
            // Some let one in, and have no room for what is wanted.
            russh::Error::ChannelOpenFailure(ChannelOpenFailure::ResourceShortage) => Error::TooMany(error.to_string()),
            russh::Error::ChannelOpenFailure(_) => verdict.take().unwrap_or(Error::NoChannel(error)),
            error => verdict.explain(error),
        })?;
        channel.request_subsystem(true, "sftp").await.map_err(Error::from)?;
        SftpStream::begin(handle, channel).await
    }

    /// Why there is no connection, given that others before it came to no better end.
    fn beside_others(&self, error: Error, unfit: &mut Vec<ShownKey>) -> Error {
        match error {
            Error::Mistrusted(Mistrust { shown, revoked: false, same_kind }) if self.host_keys.may_be_of_any_kind() => {
                let asked = self.key_algorithms(unfit).len();
                unfit.extend(shown);
                let why = Mistrust { shown: unfit.clone(), revoked: false, same_kind };
                let rest = self.key_algorithms(unfit).len();
                // A key that was not asked for takes nothing from what is left to be asked for.
                let may_go_on = (1..asked).contains(&rest);
                if may_go_on { Error::OtherKindWanted(why) } else { Error::Mistrusted(why) }
            }
            // It has no key of another kind.
            Error::NothingInCommon { kind, .. } if kind == "key" && !unfit.is_empty() => {
                Error::Mistrusted(Mistrust { shown: unfit.clone(), revoked: false, same_kind: None })
            }
            error => error,
        }
    }

    /// The kinds of host keys but those that are known to be unfit, and those first that the server is known by: it shows the
    /// first that it has.
    fn key_algorithms(&self, unfit: &[ShownKey]) -> Vec<Algorithm> {
        let all = Preferred::DEFAULT.key.iter().filter(|algorithm| {
            let is_unfit = unfit.iter().any(|key| is_same_kind(&key.kind, algorithm));
            !is_unfit && (self.allow_sha1 || !is_sha1(algorithm))
        });
        let (mut first, others): (Vec<_>, Vec<_>) = all.cloned().partition(|one| self.host_keys.have(one));
        first.extend(others);
        first
    }
}

fn is_sha1(algorithm: &Algorithm) -> bool {
    matches!(algorithm, Algorithm::Rsa { hash: None } | Algorithm::Dsa)
}

/// A connection to a server that is known.
pub(crate) struct Shaken {
    handle: Handle<Judge>,
    verdict: HostVerdict,
}

/// Looks at the server's key, and remembers why it is none; and why the server ends the connection, if it says so.
pub(super) struct Judge {
    host_keys: HostKeys,
    verdict: HostVerdict,
}

#[derive(Clone, Default)]
struct HostVerdict(Arc<Mutex<Option<Error>>>);

impl HostVerdict {
    fn set(&self, why: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn explain(&self, error: russh::Error) -> Error {
        self.take().unwrap_or_else(|| error.into())
    }
}

impl client::Handler for Judge {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else { return Ok(false) };
        match self.host_keys.judge(key) {
            Ok(()) => Ok(true),
            Err(why) => {
                self.verdict.set(Error::Mistrusted(why));
                Ok(false)
            }
        }
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Self::Error>) -> Result<(), Self::Error> {
        match reason {
            DisconnectReason::ReceivedDisconnect(told) => {
                if matches!(told.reason_code, Disconnect::TooManyConnections) {
                    self.verdict.set(Error::TooMany(legible(&told.message)));
                }
                Ok(())
            }
            DisconnectReason::Error(error) => Err(error),
        }
    }
}

/// The server's words, bounded.
fn legible(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// What a server may send before it is read: as much as a file has under way.
const WINDOW: u32 = 1024 * 1024;
/// Packets of 32 KiB that wait between the connection and whoever reads: not more than the window lets come.
const PACKETS_HELD: usize = 32;
