//! Against GnuPG 2.2 and Sequoia's `sq`, both ways.

mod bounds;
mod damage;
mod judged_keys;
mod programs;
mod versions;
mod wrapping;

use std::collections::VecDeque;
use std::io::Write;
use std::path::Path;
use std::pin::Pin;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use tempfile::TempDir;

use super::*;
use crate::secret::Secret;

/// A private home of GnuPG's.
struct Gpg {
    home: TempDir,
}

impl Gpg {
    fn new() -> Self {
        let home = TempDir::with_prefix("gpg").unwrap();
        std::fs::write(home.path().join("gpg.conf"), "no-auto-key-locate\ntrust-model always\nno-greeting\n").unwrap();
        Self { home }
    }

    fn with_key(algorithm: &str) -> Self {
        let gpg = Self::new();
        gpg.make(algorithm, &[]);
        gpg
    }

    /// Makes the key `own@example.org`.
    fn make(&self, algorithm: &str, more: &[&str]) {
        let more = [more, &["--passphrase", ""]].concat();
        self.run(&[&more[..], &["--quick-gen-key", "Own <own@example.org>", algorithm, "default", "0"]].concat(), b"");
        // By that name alone a key of RSA only signs.
        if algorithm.starts_with("rsa") {
            let own = self.fingerprints()[0].clone();
            self.run(&[&more[..], &["--quick-add-key", &own, algorithm, "encr", "0"]].concat(), b"");
        }
    }

    /// Of all keys and their parts, in gpg's order.
    fn fingerprints(&self) -> Vec<String> {
        let listed = String::from_utf8(self.run(&["--with-colons", "--list-keys"], b"")).unwrap();
        let lines = listed.lines().filter(|line| line.starts_with("fpr"));
        lines.map(|line| line.split(':').nth(9).unwrap().to_owned()).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(self.home.path()).args(["--batch", "--yes", "--pinentry-mode", "loopback"]);
        command.args(arguments);
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let output = fed(self.command(arguments), input);
        assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn public(&self) -> Vec<u8> {
        self.run(&["--armor", "--export"], b"")
    }

    fn private(&self) -> Vec<u8> {
        self.run(&["--armor", "--export-secret-keys"], b"")
    }

    fn encrypt(&self, more: &[&str], plaintext: &[u8]) -> Vec<u8> {
        self.run(&[&["-r", "own@example.org"], more, &["--encrypt"]].concat(), plaintext)
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        // Its agent, and nobody else's.
        drop(Command::new("gpgconf").arg("--homedir").arg(self.home.path()).args(["--kill", "all"]).status());
    }
}

/// Runs it with this input.
fn fed(mut command: Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("installed");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeding = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    feeding.join().unwrap();
    output
}

#[track_caller]
fn sq(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("sq");
    command.args(arguments);
    let output = fed(command, input);
    assert!(output.status.success(), "sq {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A body that comes in these pieces.
struct Pieces(VecDeque<Result<Bytes, &'static str>>);

impl Pieces {
    fn of(bytes: &[u8], size: usize) -> Self {
        Self(bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect())
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(self.get_mut().0.pop_front().map(|piece| piece.map(Frame::data)))
    }
}

fn now() -> SystemTime {
    SystemTime::now()
}

fn plain() -> EncryptorOptions {
    EncryptorOptions {
        armor: false,
        compression: Compression::None,
        format: MessageFormat::Auto,
        hide_recipients: false,
    }
}

fn encryptor(public: &[u8], options: EncryptorOptions) -> Encryptor {
    let recipients = Recipient::read(public, now()).unwrap().into_iter().map(Arc::new).collect();
    Encryptor { recipients, sign_with: None, options }
}

const HELD_FIRST: DecryptorOptions =
    DecryptorOptions { check_first: 8 << 20, beyond: BeyondCheck::Stream, max_plaintext: 10 << 30 };

fn decryptor(private: &[u8]) -> Decryptor {
    let key = UnlockedKey::read(private, None, UnlockedKeyUse::Decrypt, now()).unwrap();
    Decryptor { keys: vec![Arc::new(key)], signers: Vec::new(), options: HELD_FIRST }
}

fn no_bound() -> Hold {
    Box::new(|_| true)
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// What came out of a body, and how it ended.
type Came = (Vec<u8>, Result<(), TransformError<&'static str>>);

fn read(mut body: TransformedBody<Pieces>) -> Came {
    wait(async {
        let mut came = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => came.extend_from_slice(&frame.into_data().unwrap()),
                Err(error) => return (came, Err(error)),
            }
        }
        (came, Ok(()))
    })
}

fn encrypted(encryptor: Encryptor, plaintext: &[u8], piece: usize) -> Vec<u8> {
    let (message, end) =
        read(TransformedBody::encrypted(Pieces::of(plaintext, piece), Arc::new(encryptor), ThreadLane::Request));
    assert_eq!(end, Ok(()));
    message
}

fn decrypted(decryptor: &Arc<Decryptor>, message: &[u8], piece: usize) -> Came {
    let body = Pieces::of(message, piece);
    read(TransformedBody::decrypted(body, Arc::clone(decryptor), no_bound(), ThreadLane::Answer))
}

#[track_caller]
fn refused(came: &Came) -> MessageErrorKind {
    match &came.1 {
        Err(TransformError::Message(error)) => error.kind,
        other => panic!("{other:?} after {} bytes", came.0.len()),
    }
}

/// So many bytes that don't repeat.
fn noise(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(length as u64);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

/// A packet of this type (RFC 9580 §4.2), whatever is in it.
fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[0xc0 | tag, 255][..], &length, body].concat()
}

/// Binary, without a name and a time (RFC 9580 §5.9).
fn literal(plaintext: &[u8]) -> Vec<u8> {
    packet(11, &[b"b\0\0\0\0\0", plaintext].concat())
}

fn file(folder: &Path, name: &str, content: &[u8]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}
