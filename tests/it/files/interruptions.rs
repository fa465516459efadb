//! Uploads that are interrupted at any byte, by the app or on the way to the server: the name has the old file or the new
//! one all the time, and nothing is left beside it.
//!
//! `SIDEKEY_TEST_INTERRUPTIONS` is how many there are at each server, and `SIDEKEY_TEST_SEED` where they begin.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use fastrand::Rng;

use super::rights::WITHOUT_REPLACE;
use super::servers::server;
use super::{names, number};
use crate::lab::client::{Connection, Request};
use crate::lab::files::{FileServer, Kind};
use crate::lab::relay::{Cut, Direction, Relay};
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, until};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_half_is_ever_whole_at_openssh() {
    interrupt(server("OpenSSH")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_half_is_ever_whole_at_asyncssh() {
    interrupt(server("AsyncSSH")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_half_is_ever_whole_at_proftpd_by_sftp() {
    interrupt(server("ProFTPD's mod_sftp")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_half_is_ever_whole_at_proftpd() {
    interrupt(server("ProFTPD")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_half_is_ever_whole_at_proftpd_without_tls() {
    interrupt(server("ProFTPD, no TLS")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_half_is_ever_whole_at_vsftpd() {
    interrupt(server("vsftpd")).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "these servers are installed by ./test field"]
async fn nothing_half_is_ever_whole_at_the_servers_of_the_field() {
    for name in ["Paramiko", "dropbear", "Pure-FTPd", "pyftpdlib"] {
        interrupt(server(name)).await;
    }
}

/// There, for a moment, the name has no file.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_half_is_ever_whole_where_nothing_is_replaced_in_one_step() {
    interrupt(&WITHOUT_REPLACE).await;
}

async fn interrupt(kind: &'static Kind) {
    let count = number("SIDEKEY_TEST_INTERRUPTIONS").unwrap_or(25);
    let first = number("SIDEKEY_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    let mut desk = Desk::start(kind).await;
    for number in 0..count {
        desk.interrupt(first.wrapping_add(number)).await;
    }
    println!("{}: {:?}", kind.name, desk.seen);
}

/// One server behind a way that can be cut, one Sidekey, and one file.
struct Desk {
    sidekey: Sidekey,
    relay: Relay,
    server: FileServer,
    /// What the file has now.
    old: Vec<u8>,
    /// Bytes that pass for an upload of [`LARGEST`], to the server and to the client.
    whole: [u64; 2],
    /// How often what has come of an upload.
    seen: BTreeMap<String, usize>,
    _lab: Lab,
}

impl Desk {
    async fn start(kind: &'static Kind) -> Self {
        let lab = Lab::start().await;
        let (server, relay) = FileServer::start_behind_relay(&lab, kind).await;
        let config =
            format!("services: {{ box: {{ url: '{}', {} }} }}\nworkers: 1", server.relayed_url(), server.login());
        let sidekey = lab.sidekey(&config).await;
        let (old, whole, seen) = (vec![b'0'; LARGEST], [0; 2], BTreeMap::new());
        let mut desk = Self { sidekey, relay, server, old, whole, seen, _lab: lab };
        // Twice: of the first the login is a part.
        for status in [201, 204] {
            desk.relay.mend();
            assert_eq!(desk.sidekey.send(put(&desk.old)).await.status, status);
        }
        desk.whole = desk.relay.mend();
        desk
    }

    /// One upload.
    async fn interrupt(&mut self, seed: u64) {
        let told = ToldSeed(seed, self.server.kind.name);
        let mut random = Rng::with_seed(seed);
        let new: Vec<u8> = {
            let length = random.usize(1..=LARGEST);
            (0..length).map(|_| random.u8(..)).collect()
        };
        self.until_clean().await;
        let answer = self.sidekey.send(Request::new("HEAD", TARGET)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        self.until_at_rest().await;

        let has_a_gap = [WITHOUT_REPLACE.name, "Paramiko"].contains(&self.server.kind.name);
        let reader = Reader::start(self.path(), [self.old.clone(), new.clone()], has_a_gap);
        let outcome =
            if random.bool() { self.leave(&mut random, &new).await } else { self.cut(&mut random, &new).await };
        self.until_clean().await;
        reader.stop();

        let there = fs::read(self.path()).unwrap();
        assert!(there == self.old || there == new, "{outcome}: {} bytes", there.len());
        if outcome == "gone" {
            assert!(there == self.old, "half of it was sent, and is taken for all");
        }
        if outcome.ends_with("201") || outcome.ends_with("204") {
            assert!(there == new, "{outcome}, and it is not there");
        }
        let kept = if there == new { "new" } else { "old" };
        *self.seen.entry(format!("{outcome}, {kept}")).or_default() += 1;
        self.old = there;
        drop(told);
    }

    /// The app is gone before it has sent all.
    async fn leave(&self, random: &mut Rng, new: &[u8]) -> String {
        let mut bytes = put(new).to_bytes(&self.sidekey.address);
        bytes.truncate(bytes.len() - random.usize(1..=new.len()));
        let mut app = Connection::open(&self.sidekey.address).await;
        app.write(&bytes).await;
        if random.bool() {
            app.until_read().await;
        }
        if random.bool() {
            app.reset();
        }
        "gone".to_owned()
    }

    /// The way to the server is cut.
    async fn cut(&self, random: &mut Rng, new: &[u8]) -> String {
        let direction = if random.bool() { Direction::ToServer } else { Direction::ToClient };
        // A little beyond: as the answer is on its way nothing is interrupted.
        let share = self.whole[direction as usize] * new.len() as u64 / LARGEST as u64;
        let after = random.u64(0..=share + 200);
        let cut = Cut { direction, after, all: random.bool(), hard: random.bool() };
        self.relay.cut(cut);
        let answer = self.sidekey.send(put(new)).await;
        let has_cut = self.relay.has_cut();
        self.relay.mend();
        format!("{} {}", if has_cut { "cut" } else { "whole" }, answer.status)
    }

    /// Waits until the file is alone.
    async fn until_clean(&self) {
        let alone = async || (names(&self.server.root) == ["a.bin"]).then_some(());
        until("the file alone", alone).await;
    }

    /// Waits until no connection is being made: after a login that is cut there is none for a while, which is another test's
    /// matter.
    async fn until_at_rest(&self) {
        let at_rest = async || {
            let idle = self.sidekey.metric("sidekey_upstream_connections{service=\"box\",state=\"idle\"}").await;
            (idle == self.relay.carried() as f64).then_some(())
        };
        until("every connection to be idle", at_rest).await;
    }

    fn path(&self) -> PathBuf {
        self.server.root.join("a.bin")
    }
}

fn put(body: &[u8]) -> Request {
    Request::post(TARGET, body).method("PUT")
}

/// Somebody who reads the file all the time, as a partner's program may.
struct Reader {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), String>>,
}

impl Reader {
    fn start(path: PathBuf, whole: [Vec<u8>; 2], has_a_gap: bool) -> Self {
        let ends = Arc::<AtomicBool>::default();
        let end = ends.clone();
        let thread = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                match fs::read(&path) {
                    Ok(read) if whole.contains(&read) => {}
                    Ok(read) => return Err(format!("{} bytes that are no file", read.len())),
                    Err(error) if has_a_gap && error.kind() == ErrorKind::NotFound => {}
                    Err(error) => return Err(error.to_string()),
                }
                // Not all the time, for the sake of those who are watched.
                thread::sleep(Duration::from_millis(1));
            }
            Ok(())
        });
        Self { ends, thread }
    }

    fn stop(self) {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap().unwrap();
    }
}

/// Says with what an upload that fails can be made again.
struct ToldSeed(u64, &'static str);

impl Drop for ToldSeed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}: SIDEKEY_TEST_SEED={}", self.1, self.0);
        }
    }
}

const TARGET: &str = "/box/a.bin";
const LARGEST: usize = 300_000;
