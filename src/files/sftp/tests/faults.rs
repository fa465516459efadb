//! What few servers do, or do once in a while.

use std::cell::Cell;
use std::rc::Rc;

use tokio::io::{ReadHalf, split};

use super::*;

/// A session with a server that tells these limits of one packet's bytes.
async fn limited(read: u64, write: u64) -> (Scripted, SftpSession<DuplexStream>) {
    let (ours, theirs) = duplex(64 * 1024);
    let mut server = Scripted { stream: theirs };
    let greet = async {
        server.read().await;
        let offered = [&b"\x02\0\0\0\x03"[..], &string(b"limits@openssh.com"), &string(b"1")].concat();
        server.send(&offered).await;
        let asked = server.read().await;
        let limits: Vec<_> = [0, read, write, 0].into_iter().flat_map(u64::to_be_bytes).collect();
        server.answer(&asked, 201, &limits).await;
    };
    let (session, ()) = tokio::join!(SftpSession::start(ours), greet);
    (server, session.unwrap())
}

#[tokio::test]
async fn limits_that_are_small_are_kept_also_after_a_short_read() {
    for limit in [2048, 512] {
        let content = random(300 * 512);
        let (server, session) = limited(limit, limit).await;
        let read = async {
            let mut download = session.open_file(b"/a").await.unwrap_or_else(|(why, _)| panic!("{why}"));
            let read = read_all(&mut download).await.unwrap();
            download.finish().await.unwrap();
            read
        };
        let at_once = usize::try_from(limit).unwrap();
        let served = serve_backwards(server, content.clone(), at_once - 200);

        let (read, longest) = tokio::join!(read, served);

        assert!(read == content, "{limit}");
        assert_eq!(longest, at_once);
    }
}

#[tokio::test]
async fn what_comes_behind_the_end_of_a_file_is_none_of_it_whenever_it_comes() {
    // Which of the requests is answered first, and so on.
    for order in [[2, 1, 0], [1, 2, 0], [0, 2, 1], [0, 1, 2]] {
        let (mut server, session) = Scripted::start().await;
        let serve = async {
            let open = server.read().await;
            server.answer(&open, 102, &string(b"h")).await;
            let look = server.read().await;
            // It does not say how long it is.
            server.answer(&look, 105, &0_u32.to_be_bytes()).await;
            let requests = [server.read().await, server.read().await, server.read().await];
            for at in order {
                match at {
                    1 => server.answer(&requests[1], 101, &1_u32.to_be_bytes()).await,
                    at => server.answer(&requests[at], 103, &string(&random(32 * 1024))).await,
                }
            }
            // Of all that was asked for ahead, and of its close.
            loop {
                let Some(request) = server.read_or_end().await else { return };
                let code = if request[0] == 5 { 1_u32 } else { 0 };
                server.answer(&request, 101, &code.to_be_bytes()).await;
            }
        };
        let read = async {
            let mut download = session.open_file(b"/a").await.unwrap_or_else(|(why, _)| panic!("{why}"));
            let read = read_all(&mut download).await.unwrap();
            drop(download.finish().await.unwrap());
            read
        };

        let (read, ()) = tokio::join!(read, serve);

        assert!(read == random(32 * 1024), "{order:?}: {} bytes", read.len());
    }
}

#[tokio::test]
async fn a_server_that_replaces_by_every_rename_is_not_asked_to_where_something_is_there() {
    let (mut server, mut session) = Scripted::start().await;
    let mut renamed = 0;
    let serve = async {
        while let Some(request) = server.read_or_end().await {
            match request[0] {
                7 => server.answer(&request, 105, &0_u32.to_be_bytes()).await,
                kind => {
                    renamed += usize::from(kind == 18);
                    server.answer(&request, 101, &0_u32.to_be_bytes()).await;
                }
            }
        }
    };
    let rename = async {
        let refused = session.rename(b"/a", b"/b", Overwrite::Refused, &UnfinishedFile::default()).await;
        drop(session);
        refused
    };

    let (refused, ()) = tokio::join!(rename, serve);

    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    assert_eq!(renamed, 0);
}

/// As SSH does it: of what comes beside the bytes of a channel a read takes one, and wants to be asked again.
struct WithNews {
    from: ReadHalf<DuplexStream>,
    news: Rc<Cell<usize>>,
}

impl AsyncRead for WithNews {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if let Some(left) = self.news.get().checked_sub(1) {
            self.news.set(left);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Pin::new(&mut self.from).poll_read(cx, out)
    }
}

#[tokio::test]
async fn an_end_is_seen_behind_what_comes_beside_the_bytes() {
    let (ours, theirs) = duplex(1024);
    let news = Rc::new(Cell::new(0));
    let mut server = Scripted { stream: theirs };
    let (from, to) = split(ours);
    let stream = join(WithNews { from, news: Rc::clone(&news) }, to);
    let (session, ()) = tokio::join!(SftpSession::start(stream), server.send(b"\x02\0\0\0\x03"));
    let mut session = session.unwrap();

    news.set(3);
    assert!(!session.has_ended());
    news.set(3);
    drop(server);

    assert!(session.has_ended());
}

#[tokio::test]
async fn bytes_that_trickle_in_go_on_together() {
    let (mut server, session) = Scripted::start().await;
    let sent = random(3000);
    let serve = async {
        let (mut writes, mut file) = (0, Vec::new());
        while let Some(request) = server.read_or_end().await {
            match request[0] {
                3 => server.answer(&request, 102, &string(b"h")).await,
                kind => {
                    if kind == 6 {
                        writes += 1;
                        file.extend_from_slice(&request[1 + 4 + 5 + 8 + 4..]);
                    }
                    server.answer(&request, 101, &0_u32.to_be_bytes()).await;
                }
            }
        }
        (writes, file)
    };
    let write = async {
        let mut upload = session.create(b"/a", Overwrite::Refused).await.unwrap_or_else(|(why, _)| panic!("{why}"));
        for byte in &sent {
            upload.push(&[*byte]).await.unwrap();
        }
        drop(upload.finish().await.unwrap_or_else(|(why, _)| panic!("{why}")));
    };

    let ((), (writes, file)) = tokio::join!(write, serve);

    assert!(file == sent, "{} bytes", file.len());
    assert!(writes < 10, "{writes} requests");
}

#[tokio::test]
async fn a_server_that_says_what_nobody_asked_is_not_listened_to() {
    let (mut server, session) = Scripted::start().await;
    let serve = async move {
        let open = server.read().await;
        server.answer(&open, 102, &string(b"h")).await;
        let mut status = BytesMut::new();
        status.put_u32(9);
        status.put_u8(101);
        status.put_u64(0xAB_CDEF << 32);
        for _ in 0..100_000 {
            if server.stream.write_all(&status).await.is_err() {
                return;
            }
        }
    };
    let write = async {
        let mut upload = session.create(b"/a", Overwrite::Refused).await.unwrap_or_else(|(why, _)| panic!("{why}"));
        upload.push(&random(2 << 20)).await.err()
    };

    let (error, ()) = tokio::join!(write, serve);

    let words = "the server does not speak SFTP as it should: a reply is to no request";
    assert_eq!(error.map(|error| error.to_string()).as_deref(), Some(words));
}
