//! What is carried once a WebSocket is open, for how long, and how it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use h2::Reason;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{AppEnd, Asking, BOTH, Dialect, Finish, Scene, config, opened};
use crate::http2_apps::resident_kib;
use crate::lab::http2_app::in_time;
use crate::lab::until;

/// The next so many bytes at the service.
async fn heard(far: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut heard = vec![0; count];
    in_time(far.read_exact(&mut heard)).await.unwrap();
    heard
}

/// Whether the service's end was reset.
async fn was_reset(far: &mut TcpStream) -> bool {
    let read = in_time(far.read_to_end(&mut Vec::new())).await;
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn what_an_app_says_before_the_answer_waits_for_it_and_is_not_lost() {
    let scene = Scene::start("").await;
    for dialect in BOTH {
        let mut asking = Asking::begin(dialect, &scene.sidekey, "/s/talk", &[]).await;
        asking.say_early(b"too early, ").await;
        let asked = scene.service.asked().await;
        asking.say_early(b"still, ").await;
        // Another request has come and gone in the meantime, so these would have as well.
        assert_eq!(scene.sidekey.get("/nowhere").await.status, 404);
        assert_eq!(asked.came_behind(), 0, "{dialect:?}");

        let mut far = asked.switch("at once, ").await;
        let mut answer = asking.answer().await;
        answer.end.say(b"now").await;

        assert_eq!(answer.status, opened(dialect));
        assert_eq!(heard(&mut far, b"too early, still, now".len()).await, b"too early, still, now", "{dialect:?}");
        far.write_all(b"and later").await.unwrap();
        assert_eq!(answer.end.hear(b"at once, and later".len()).await, b"at once, and later", "{dialect:?}");
    }
}

#[tokio::test]
async fn each_side_ends_by_itself_and_what_the_other_says_still_comes() {
    let scene = Scene::start("").await;
    for dialect in BOTH {
        let (mut app, mut far) = scene.open(dialect).await;
        app.say(b"the last").await;
        app.finish().await;
        let mut all = Vec::new();
        in_time(far.read_to_end(&mut all)).await.unwrap();
        far.write_all(b"an answer to it").await.unwrap();
        drop(far);
        assert_eq!((all, app.ended().await), (b"the last".to_vec(), Finish::Whole(b"an answer to it".to_vec())));

        let (mut app, mut far) = scene.open(dialect).await;
        far.write_all(b"the last").await.unwrap();
        far.shutdown().await.unwrap();
        assert_eq!(app.ended().await, Finish::Whole(b"the last".to_vec()), "{dialect:?}");
        app.say(b"an answer to it").await;
        app.finish().await;
        let mut all = Vec::new();
        in_time(far.read_to_end(&mut all)).await.unwrap();
        assert_eq!(all, b"an answer to it", "{dialect:?}");
        scene.sidekey.until_metric("sidekey_requests_in_flight{service=\"s\"}", 0.0).await;
    }
}

#[tokio::test]
async fn what_breaks_off_at_one_end_breaks_off_at_the_other() {
    let scene = Scene::start("").await;
    for dialect in BOTH {
        let (mut app, far) = scene.open(dialect).await;
        far.set_zero_linger().unwrap();
        drop(far);
        assert_eq!(app.ended().await, Finish::BrokenOff, "{dialect:?}");

        let (mut app, mut far) = scene.open(dialect).await;
        app.say(b"half").await;
        assert_eq!(heard(&mut far, 4).await, b"half");
        app.reset();
        if dialect == Dialect::One {
            drop(app);
        }
        assert!(was_reset(&mut far).await, "{dialect:?}");
    }
    // The stream costs its app nothing but itself.
    let (app, _far) = scene.open(Dialect::Two).await;
    let AppEnd::Two(mut connection, mut stream, _) = app else { unreachable!() };
    stream.send_reset(Reason::CANCEL);
    assert_eq!(connection.get("/nowhere").await.unwrap().status, 404);
}

#[tokio::test]
async fn an_app_that_has_ended_and_then_gives_up_breaks_off_at_the_service_and_the_log_says_so() {
    let scene = Scene::start("").await;
    for (dialect, of_service) in BOTH.into_iter().zip(["hey", "hello"]) {
        let (mut app, mut far) = scene.open(dialect).await;
        app.say(b"the last").await;
        app.finish().await;
        in_time(far.read_to_end(&mut Vec::new())).await.unwrap();
        far.write_all(of_service.as_bytes()).await.unwrap();
        assert_eq!(app.hear(of_service.len()).await, of_service.as_bytes(), "{dialect:?}");

        app.reset();
        if dialect == Dialect::One {
            drop(app);
            // Nothing more is read of an app that has ended: it is heard of when something is written to it.
            in_time(far.write_all(b"there?")).await.unwrap();
        }

        scene.sidekey.until_metric("sidekey_requests_in_flight{service=\"s\"}", 0.0).await;
        let line = format!("sent=8 received={} ", of_service.len());
        scene.sidekey.until_logged(&line).await;
        // Where one side has ended, a reset is nothing that could be read.
        let error = until("the reset", async || far.take_error().unwrap()).await;
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "{dialect:?}");
    }
}

#[tokio::test]
async fn one_that_is_silent_for_timeouts_idle_is_ended_and_one_that_is_not_goes_on() {
    let scene = Scene::start("timeouts: { idle: 700ms }").await;
    for dialect in BOTH {
        let (mut silent, mut far) = scene.open(dialect).await;
        let (mut talking, mut other) = scene.open(dialect).await;
        let talk = async {
            loop {
                talking.say(b".").await;
                heard(&mut other, 1).await;
            }
        };
        tokio::select! {
            () = talk => unreachable!(),
            end = silent.ended() => assert_eq!(end, Finish::BrokenOff, "{dialect:?}"),
        }
        assert!(was_reset(&mut far).await, "{dialect:?}");
        other.write_all(b"!").await.unwrap();
        assert_eq!(talking.hear(1).await, b"!", "{dialect:?}");
    }
}

#[tokio::test]
async fn an_open_one_is_one_request_of_its_service_until_it_ends() {
    let scene = Scene::start("limits: { concurrency: 1 }, pool: { max_connections: 1 }").await;
    for dialect in BOTH {
        let (mut app, mut far) = scene.open(dialect).await;
        assert_eq!(scene.sidekey.metric("sidekey_requests_in_flight{service=\"s\"}").await, 1.0);
        let refused = scene.sidekey.get("/s/x").await;
        assert_eq!(refused.status, 503, "{refused:?}");
        let active = "sidekey_upstream_connections{service=\"s\",state=\"active\"}";
        assert_eq!(scene.sidekey.metric(active).await, 1.0);

        app.finish().await;
        in_time(far.read_to_end(&mut Vec::new())).await.unwrap();
        drop(far);
        assert_eq!(app.ended().await, Finish::Whole(Vec::new()));

        scene.sidekey.until_metric("sidekey_requests_in_flight{service=\"s\"}", 0.0).await;
        scene.sidekey.until_metric(active, 0.0).await;
        let code = opened(dialect);
        let counted = format!("sidekey_requests_total{{service=\"s\",code=\"{code}\"}}");
        assert_eq!(scene.sidekey.metric(&counted).await, 1.0, "{dialect:?}");
    }
}

#[tokio::test]
async fn a_reload_leaves_it_open_and_counts_for_the_next() {
    for dialect in BOTH {
        let scene = Scene::start("").await;
        let (mut app, mut far) = scene.open(dialect).await;
        let generation = scene.sidekey.generation().await;

        scene.sidekey.rewrite(&scene.lab, &config(&scene.service, "headers: { set: { x-reloaded: 'yes' } }"));
        scene.sidekey.until_reloaded_since(generation).await;

        app.say(b"there?").await;
        assert_eq!(heard(&mut far, 6).await, b"there?", "{dialect:?}");
        far.write_all(b"here").await.unwrap();
        assert_eq!(app.hear(4).await, b"here", "{dialect:?}");
        let _asking = Asking::begin(dialect, &scene.sidekey, "/s/talk", &[]).await;
        assert_eq!(scene.service.asked().await.field("x-reloaded").as_deref(), Some("yes"), "{dialect:?}");
    }
}

#[tokio::test]
async fn a_stop_waits_for_its_end() {
    for dialect in BOTH {
        let scene = Scene::start("").await;
        let (mut app, mut far) = scene.open(dialect).await;

        scene.sidekey.signal(Signal::SIGTERM);
        scene.sidekey.until_logged("draining").await;
        app.say(b"the last").await;
        app.finish().await;
        let mut all = Vec::new();
        in_time(far.read_to_end(&mut all)).await.unwrap();
        far.write_all(b"and the answer").await.unwrap();
        drop(far);

        assert_eq!((all, app.ended().await), (b"the last".to_vec(), Finish::Whole(b"and the answer".to_vec())));
        drop(app);
        let (code, log) = scene.sidekey.ended().await;
        assert_eq!(code, Some(0), "{log}");
    }
}

#[tokio::test]
async fn the_end_of_a_drain_cuts_it_so_that_it_can_not_pass_for_whole() {
    for dialect in BOTH {
        let scene = Scene::start_with("", "shutdown: { drain: 100ms }").await;
        let (mut app, mut far) = scene.open(dialect).await;

        let (code, log) = scene.sidekey.stop().await;

        assert_eq!((code, app.ended().await), (Some(0), Finish::BrokenOff), "{dialect:?} {log}");
        assert!(log.contains(" tunnel target=\"s\" "), "{dialect:?} {log}");
        assert!(was_reset(&mut far).await, "{dialect:?}");
    }
}

#[tokio::test]
async fn what_the_app_does_not_read_stays_with_the_service() {
    for dialect in BOTH {
        let scene = Scene::start("").await;
        let (mut app, mut far) = scene.open(dialect).await;
        let before = resident_kib(&scene.sidekey);
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let sending = tokio::spawn(async move {
            for _ in 0..PIECES {
                far.write_all(&[b'x'; PIECE]).await.unwrap();
                count.fetch_add(PIECE, Ordering::Relaxed);
            }
        });

        let settled = settled(&sent).await;

        assert!(settled < PIECE * PIECES / 2, "{dialect:?}: {settled} bytes were taken though nobody read them");
        let grown = resident_kib(&scene.sidekey).saturating_sub(before);
        assert!(grown < 8 * 1024, "{dialect:?}: {grown} KiB are held");
        app.finish().await;
        assert_eq!(app.ended().await, Finish::Whole(vec![b'x'; PIECE * PIECES]), "{dialect:?}");
        in_time(sending).await.unwrap();
    }
}

#[tokio::test]
async fn what_the_service_does_not_read_stays_with_the_app() {
    for dialect in BOTH {
        let scene = Scene::start("").await;
        let (mut app, mut far) = scene.open(dialect).await;
        let before = resident_kib(&scene.sidekey);
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let sending = tokio::spawn(async move {
            for _ in 0..PIECES {
                app.say_slowly(&[b'x'; PIECE]).await;
                count.fetch_add(PIECE, Ordering::Relaxed);
            }
            app.finish().await;
            app
        });

        let settled = settled(&sent).await;

        assert!(settled < PIECE * PIECES / 2, "{dialect:?}: {settled} bytes were taken though nobody read them");
        let grown = resident_kib(&scene.sidekey).saturating_sub(before);
        assert!(grown < 8 * 1024, "{dialect:?}: {grown} KiB are held");
        let mut all = Vec::new();
        in_time(far.read_to_end(&mut all)).await.unwrap();
        assert!(all == vec![b'x'; PIECE * PIECES], "{dialect:?}: {}", all.len());
        drop(in_time(sending).await.unwrap());
    }
}

/// Waits until no more is taken; how much was.
async fn settled(sent: &AtomicUsize) -> usize {
    until("nothing more to be taken", async || {
        let now = sent.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
        (sent.load(Ordering::Relaxed) == now).then_some(now)
    })
    .await
}

const PIECE: usize = 1 << 16;
const PIECES: usize = 1024;
