//! Against OpenSSH's server, which speaks over pipes, and against scripted ones for what it never does.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll};

use bytes::{BufMut, BytesMut};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, Join, ReadBuf, duplex, join};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::super::begun::UnfinishedFile;
use super::super::entry::Overwrite;
use super::*;

mod faults;

/// OpenSSH's server on two pipes.
type OpenSsh = Join<ServerOutput, ChildStdin>;

/// What it says, for as long as it runs.
struct ServerOutput {
    _process: Child,
    from: ChildStdout,
}

fn openssh(arguments: &[&str]) -> OpenSsh {
    let mut process = Command::new("/usr/lib/openssh/sftp-server")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("OpenSSH's sftp-server: {error}; ./test installs it"));
    let (to, from) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
    join(ServerOutput { _process: process, from }, to)
}

impl AsyncRead for ServerOutput {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.from).poll_read(cx, out)
    }
}

/// A folder, and a session with a server of it.
async fn start() -> (TempDir, SftpSession<OpenSsh>) {
    let folder = tempfile::tempdir().unwrap();
    let session = SftpSession::start(openssh(&[])).await.unwrap();
    (folder, session)
}

fn path(folder: &TempDir, name: &str) -> Vec<u8> {
    folder.path().join(name).into_os_string().into_encoded_bytes()
}

async fn read_all<S: SftpChannel>(download: &mut SftpDownload<S>) -> Result<Vec<u8>, Error> {
    let mut all = Vec::new();
    while let Some(bytes) = download.next().await? {
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(length as u64).fill(&mut bytes);
    bytes
}

fn file(folder: &TempDir, name: &str) -> Vec<u8> {
    std::fs::read(folder.path().join(name)).unwrap()
}

#[tokio::test]
async fn files_of_any_size_pass_both_ways_over_one_session() {
    let (folder, mut session) = start().await;
    for length in [0, 1, 32_767, 32_768, 32_769, 260_000, 1 << 20, 5_000_001] {
        let sent = random(length);

        let mut upload =
            session.create(&path(&folder, "a"), Overwrite::Replaced).await.unwrap_or_else(|(why, _)| panic!("{why}"));
        for piece in sent.chunks(70_001) {
            upload.push(piece).await.unwrap();
        }
        assert_eq!(upload.written(), length as u64);
        session = upload.finish().await.unwrap_or_else(|(why, _)| panic!("{why}"));
        assert!(file(&folder, "a") == sent, "{length} written");

        let mut download = session.open_file(&path(&folder, "a")).await.unwrap_or_else(|(why, _)| panic!("{why}"));
        assert_eq!(download.attributes().size, Some(length as u64));
        assert!(read_all(&mut download).await.unwrap() == sent, "{length} read");
        session = download.finish().await.unwrap();
    }
}

#[tokio::test]
async fn a_part_of_a_file_is_read_alone() {
    let (folder, mut session) = start().await;
    let whole = random(3_000_000);
    std::fs::write(folder.path().join("a"), &whole).unwrap();

    for (from, to) in [(0, 1), (5, 5), (1_000_000, 2_500_000), (2_999_999, 3_000_000), (2_999_999, 9_000_000)] {
        let mut download = session.open_file(&path(&folder, "a")).await.unwrap_or_else(|(why, _)| panic!("{why}"));
        download.limit(from, to);
        let read = read_all(&mut download).await.unwrap();
        let to = usize::try_from(to.min(3_000_000)).unwrap();
        assert!(read == whole[usize::try_from(from).unwrap()..to], "{from} to {to}");
        session = download.finish().await.unwrap();
    }
}

#[tokio::test]
async fn a_large_folder_is_listed_whole() {
    let (folder, session) = start().await;
    for number in 0..1234 {
        std::fs::write(folder.path().join(format!("f{number}")), "abc").unwrap();
    }
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    symlink("f1", folder.path().join("link")).unwrap();

    let mut listing = session.open_folder(&path(&folder, "")).await.unwrap_or_else(|(why, _)| panic!("{why}"));
    let mut found = Vec::new();
    while let Some((name, attributes)) = listing.next().await.unwrap() {
        let kind = attributes.mode.unwrap() & 0o170_000;
        let wanted = match &*name {
            b"folder" => 0o040_000,
            b"link" => 0o120_000,
            _ => 0o100_000,
        };
        assert_eq!(kind, wanted, "{name:?}");
        found.push(name);
    }
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), 1236);
    listing.finish().await.unwrap();
}

#[tokio::test]
async fn what_is_refused_leaves_a_session_that_goes_on() {
    let (folder, session) = start().await;

    let (error, session) = session.open_file(&path(&folder, "none")).await.err().unwrap();
    assert_eq!(error.to_string(), "the server refused to open it: No such file (status 2)");
    let (error, session) = session.unwrap().open_folder(&path(&folder, "none")).await.err().unwrap();
    assert!(matches!(error, Error::Refused { refusal, .. } if refusal.code == 2));
    std::fs::write(folder.path().join("a"), "old").unwrap();
    let (error, session) = session.unwrap().create(&path(&folder, "a"), Overwrite::Refused).await.err().unwrap();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    assert_eq!(file(&folder, "a"), b"old");
    let mut session = session.unwrap();
    assert_eq!(session.stat(&path(&folder, "a")).await.unwrap().size, Some(3));
}

#[tokio::test]
async fn names_change_in_one_step_and_over_what_is_there_only_if_that_is_wanted() {
    for arguments in [&[][..], &["-P", "posix-rename"]] {
        let folder = tempfile::tempdir().unwrap();
        let mut session = SftpSession::start(openssh(arguments)).await.unwrap();
        assert_eq!(session.renames_over, arguments.is_empty());
        std::fs::write(folder.path().join("a"), "new").unwrap();
        std::fs::write(folder.path().join("b"), "old").unwrap();
        let [a, b, none] = ["a", "b", "none"].map(|name| path(&folder, name));

        assert!(session.rename(&a, &b, Overwrite::Refused, &UnfinishedFile::default()).await.is_err());
        assert!(session.rename(&none, &b, Overwrite::Replaced, &UnfinishedFile::default()).await.is_err());
        assert_eq!(file(&folder, "b"), b"old");
        session.rename(&a, &b, Overwrite::Replaced, &UnfinishedFile::default()).await.unwrap();
        assert_eq!(file(&folder, "b"), b"new");
        assert!(!folder.path().join("a").exists());
    }
}

#[tokio::test]
async fn folders_are_made_and_removed() {
    let (folder, mut session) = start().await;
    let inner = path(&folder, "inner");

    session.make_folder(&inner).await.unwrap();
    assert!(session.make_folder(&inner).await.is_err());
    session.remove_folder(&inner).await.unwrap();
    assert!(!Path::new(std::str::from_utf8(&inner).unwrap()).exists());
}

#[tokio::test]
async fn what_was_left_unwritten_can_be_removed_in_the_same_session() {
    let (folder, session) = start().await;
    let mut upload =
        session.create(&path(&folder, "a.part"), Overwrite::Refused).await.unwrap_or_else(|(why, _)| panic!("{why}"));
    upload.push(&random(300_000)).await.unwrap();

    let mut session = upload.abandon().await.unwrap();
    session.remove(&path(&folder, "a.part")).await.unwrap();
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn a_file_that_shrinks_meanwhile_is_not_whole() {
    let (folder, session) = start().await;
    std::fs::write(folder.path().join("a"), random(4_000_000)).unwrap();
    let mut download = session.open_file(&path(&folder, "a")).await.unwrap_or_else(|(why, _)| panic!("{why}"));
    download.next().await.unwrap();
    std::fs::File::options().write(true).open(folder.path().join("a")).unwrap().set_len(2_000_000).unwrap();

    let error = read_all(&mut download).await.unwrap_err();
    assert!(matches!(error, Error::Shrunk { size: 4_000_000, .. }), "{error}");
}

#[tokio::test]
async fn a_file_that_grows_meanwhile_is_what_was_announced() {
    let (folder, session) = start().await;
    std::fs::write(folder.path().join("a"), random(100)).unwrap();
    let mut download = session.open_file(&path(&folder, "a")).await.unwrap_or_else(|(why, _)| panic!("{why}"));
    std::fs::write(folder.path().join("a"), random(200)).unwrap();

    assert_eq!(read_all(&mut download).await.unwrap().len(), 100);
    assert_eq!(std::fs::metadata(folder.path().join("a")).unwrap().size(), 200);
}

/// The other side of a pipe, in the tests' hands.
struct Scripted {
    stream: DuplexStream,
}

impl Scripted {
    /// A session with it. What its VERSION offers is nothing.
    async fn start() -> (Self, SftpSession<DuplexStream>) {
        let (ours, theirs) = duplex(64 * 1024);
        let mut server = Self { stream: theirs };
        let greet = async {
            assert_eq!(server.read().await, b"\x01\0\0\0\x03");
            server.send(b"\x02\0\0\0\x03").await;
        };
        let (session, ()) = tokio::join!(SftpSession::start(ours), greet);
        (server, session.unwrap())
    }

    async fn read(&mut self) -> Vec<u8> {
        self.read_or_end().await.unwrap()
    }

    /// `None`: the client has ended the session.
    async fn read_or_end(&mut self) -> Option<Vec<u8>> {
        let length = self.stream.read_u32().await.ok()?;
        let mut packet = vec![0; length as usize];
        self.stream.read_exact(&mut packet).await.unwrap();
        Some(packet)
    }

    async fn send(&mut self, packet: &[u8]) {
        self.stream.write_u32(u32::try_from(packet.len()).unwrap()).await.unwrap();
        // In single bytes: nothing may depend on how packets come.
        for byte in packet {
            self.stream.write_u8(*byte).await.unwrap();
        }
    }

    /// Answers the request with a packet of this kind.
    async fn answer(&mut self, request: &[u8], kind: u8, rest: &[u8]) {
        let mut packet = BytesMut::new();
        packet.put_u8(kind);
        packet.put_slice(&request[1..5]);
        packet.put_slice(rest);
        self.send(&packet).await;
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut all = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    all.extend_from_slice(bytes);
    all
}

/// Serves one file whose reads are shortened and answered in another order; handles are bytes. Says how much was asked for
/// at once.
async fn serve_backwards(mut server: Scripted, content: Vec<u8>, at_once: usize) -> usize {
    let mut longest = 0;
    let handle = b"\0\xFF\0";
    let open = server.read().await;
    server.answer(&open, 102, &string(handle)).await;
    let look = server.read().await;
    assert!(look.ends_with(handle));
    let mut attributes = 1_u32.to_be_bytes().to_vec();
    attributes.extend_from_slice(&(content.len() as u64).to_be_bytes());
    server.answer(&look, 105, &attributes).await;
    loop {
        let mut requests = vec![server.read().await];
        while requests[0][0] == 5 && requests.len() < 4 {
            let more = tokio::time::timeout(std::time::Duration::from_millis(5), server.stream.read_u32()).await;
            let Ok(length) = more else { break };
            let mut packet = vec![0; length.unwrap() as usize];
            server.stream.read_exact(&mut packet).await.unwrap();
            requests.push(packet);
        }
        for request in requests.iter().rev() {
            match request[0] {
                5 => {
                    let offset = u64::from_be_bytes(request[12..20].try_into().unwrap());
                    let length = u32::from_be_bytes(request[20..24].try_into().unwrap()) as usize;
                    longest = longest.max(length);
                    let from = usize::try_from(offset).unwrap();
                    let to = (from + length.min(at_once)).min(content.len());
                    server.answer(request, 103, &string(&content[from..to])).await;
                }
                4 => {
                    server.answer(request, 101, &0_u32.to_be_bytes()).await;
                    return longest;
                }
                kind => panic!("{kind}"),
            }
        }
    }
}

#[tokio::test]
async fn short_reads_in_any_order_make_up_the_file() {
    let content = random(400_000);
    for at_once in [5000, 20_000, 40_000] {
        let (server, session) = Scripted::start().await;
        let read = async {
            let mut download = session.open_file(b"/a").await.unwrap_or_else(|(why, _)| panic!("{why}"));
            let read = read_all(&mut download).await.unwrap();
            download.finish().await.unwrap();
            read
        };
        let (read, _) = tokio::join!(read, serve_backwards(server, content.clone(), at_once));
        assert!(read == content, "{at_once}");
    }
}

#[tokio::test]
async fn what_a_server_must_not_say_ends_the_session_with_a_word() {
    let cases: [(u8, &[u8], &str); 4] = [
        (101, &[0, 0, 0, 0], "it says OK where something was asked for"),
        (103, &[0, 0, 0, 0], "a reply is of another kind than its request"),
        (99, &[], "a packet is of a kind that no server sends"),
        (102, &[0, 0, 0, 9, 1], "a packet ends in the middle of what it says"),
    ];
    for (kind, rest, why) in cases {
        let (mut server, session) = Scripted::start().await;
        let serve = async {
            let open = server.read().await;
            server.answer(&open, kind, rest).await;
        };
        let (opened, ()) = tokio::join!(session.open_file(b"/a"), serve);
        let (error, session) = opened.err().unwrap();
        assert_eq!(error.to_string(), format!("the server does not speak SFTP as it should: {why}"));
        assert!(session.is_none());
    }
}

#[tokio::test]
async fn a_server_of_another_version_is_told_so() {
    let (ours, theirs) = duplex(1024);
    let mut server = Scripted { stream: theirs };
    let (session, ()) = tokio::join!(SftpSession::start(ours), server.send(b"\x02\0\0\0\x02"));
    let error = session.err().unwrap().to_string();
    assert_eq!(error, "the server speaks version 2 of SFTP alone; version 3 was asked for");
}

#[tokio::test]
async fn a_write_that_is_refused_is_an_error_and_the_file_can_be_removed() {
    let (mut server, session) = Scripted::start().await;
    let serve = async {
        let open = server.read().await;
        server.answer(&open, 102, &string(b"h")).await;
        for code in [0_u32, 4, 4] {
            let write = server.read().await;
            assert_eq!(write[0], 6);
            server.answer(&write, 101, &code.to_be_bytes()).await;
        }
        let close = server.read().await;
        assert_eq!(close[0], 4);
        server.answer(&close, 101, &4_u32.to_be_bytes()).await;
    };
    let write = async {
        let mut upload = session.create(b"/a", Overwrite::Refused).await.unwrap_or_else(|(why, _)| panic!("{why}"));
        upload.push(&random(80_000)).await.unwrap();
        upload.finish().await.err().unwrap()
    };
    let ((error, session), ()) = tokio::join!(write, serve);
    assert_eq!(error.to_string(), "the server refused to write it: failure (status 4)");
    assert!(session.is_some());
}

#[tokio::test]
async fn what_trickles_in_shares_memory() {
    let (mut server, session) = Scripted::start().await;
    let serve = async {
        let open = server.read().await;
        server.answer(&open, 102, &string(b"h")).await;
        let look = server.read().await;
        server.answer(&look, 105, &0_u32.to_be_bytes()).await;
        let first = server.read().await;
        server.answer(&first, 103, &string(b"abc")).await;
        let second = loop {
            let request = server.read().await;
            if request[5..] == [&string(b"h")[..], &3_u64.to_be_bytes(), &32_765_u32.to_be_bytes()].concat() {
                break request;
            }
        };
        server.answer(&second, 103, &string(b"def")).await;
    };
    let read = async {
        let mut download = session.open_file(b"/a").await.unwrap_or_else(|(why, _)| panic!("{why}"));
        (download.next().await.unwrap().unwrap(), download.next().await.unwrap().unwrap())
    };

    let ((first, second), ()) = tokio::join!(read, serve);

    // Else each few bytes that wait for those in front of them would hold a whole buffer.
    assert_eq!((&*first, &*second), (&b"abc"[..], &b"def"[..]));
    assert!((first.as_ptr() as usize).abs_diff(second.as_ptr() as usize) < 1024, "each has a buffer of its own");
}
