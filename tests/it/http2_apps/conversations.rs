//! Bodies both ways at once, as they come, with what follows them.

use bytes::Bytes;
use http::{HeaderMap, Request};

use super::{Bench, resident_kib};
use crate::lab::http2_app::{Http2App, in_time, next, read, request};
use crate::lab::mirror::BodyEnd;
use crate::lab::until;

fn post(service: &str) -> Request<()> {
    request("POST", &format!("/{service}/talk"))
}

#[tokio::test]
async fn each_byte_goes_on_at_once_in_both_directions() {
    let bench = Bench::start().await;
    for (name, _) in bench.services() {
        let mut app = Http2App::open(&bench.sidekey.address).await;
        let (answer, mut upload) = app.begin(post(name), false).await;
        upload.send_data(Bytes::from_static(b"a"), false).unwrap();
        let mut body = in_time(answer).await.unwrap().into_body();
        assert_eq!(in_time(next(&mut body)).await.unwrap().unwrap(), "a");

        // None is sent before the one before it has come back.
        for byte in "b conversation".bytes() {
            upload.send_data(vec![byte].into(), false).unwrap();
            assert_eq!(in_time(next(&mut body)).await.unwrap().unwrap(), vec![byte], "{name}");
        }
        upload.send_data(Bytes::new(), true).unwrap();

        assert_eq!(in_time(next(&mut body)).await.unwrap(), None, "{name}");
    }
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let bench = Bench::start().await;
    for (name, mirror) in bench.services() {
        let mut app = Http2App::open(&bench.sidekey.address).await;
        let mut announced = post(name);
        announced.headers_mut().insert("trailer", "x-sum".parse().unwrap());
        let (answer, mut upload) = app.begin(announced, false).await;
        upload.send_data(Bytes::from_static(b"body"), false).unwrap();
        let sums = [("x-sum", "42"), ("authorization", "Bearer apps-own"), ("content-length", "1")];
        let sums = sums.map(|(field, value)| (field.parse().unwrap(), value.parse().unwrap()));
        upload.send_trailers(HeaderMap::from_iter(sums)).unwrap();

        let answer = in_time(async { read(answer.await.unwrap()).await }).await.unwrap();

        assert_eq!(answer.text(), "body", "{name}");
        assert_eq!(answer.trailers.get("x-sum").unwrap(), "42", "{name}");
        assert_eq!(answer.trailers.len(), 1, "{name}: a trailer must set no field that means something else");
        assert_eq!(mirror.ends(), [BodyEnd::Whole], "{name}");
    }
}

#[tokio::test]
async fn what_an_app_does_not_read_stays_where_it_is() {
    const MIB: usize = 64;
    let bench = Bench::start().await;
    for (name, _) in bench.services() {
        let mut app = Http2App::open(&bench.sidekey.address).await;
        let before = resident_kib(&bench.sidekey);
        let (answer, mut upload) = app.begin(post(name), false).await;
        let (taken, seen) = tokio::sync::watch::channel(0);
        let sending = tokio::spawn(async move {
            for _ in 0..MIB {
                let mut piece = Bytes::from(vec![b'x'; 1 << 20]);
                while !piece.is_empty() {
                    upload.reserve_capacity(piece.len());
                    let room = std::future::poll_fn(|cx| upload.poll_capacity(cx)).await.unwrap().unwrap();
                    upload.send_data(piece.split_to(room.min(piece.len())), false).unwrap();
                    taken.send_modify(|taken| *taken += room);
                }
            }
            upload.send_data(Bytes::new(), true).unwrap();
        });
        let body = in_time(answer).await.unwrap().into_body();

        let settled = until("nothing more to be taken", async || {
            let now = *seen.borrow();
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            (*seen.borrow() == now).then_some(now)
        })
        .await;

        assert!(settled < (MIB << 20) / 2, "{name}: {settled} bytes were taken though nobody read them");
        let grown = resident_kib(&bench.sidekey).saturating_sub(before);
        assert!(grown < 16 * 1024, "{name}: {grown} KiB are held");
        // Another stream of the same connection is not held up by that one.
        let (other, mut piece) = app.begin(post(name), false).await;
        piece.send_data(Bytes::from_static(b"other"), true).unwrap();
        assert_eq!(in_time(async { read(other.await.unwrap()).await }).await.unwrap().text(), "other", "{name}");

        let mut body = body;
        let mut length = 0;
        while let Some(piece) = in_time(next(&mut body)).await.unwrap() {
            length += piece.len();
        }
        assert_eq!(length, MIB << 20, "{name}");
        in_time(sending).await.unwrap();
    }
}

#[tokio::test]
async fn many_streams_of_one_connection_keep_their_bodies_apart() {
    let bench = Bench::start().await;
    for (name, _) in bench.services() {
        let mut app = Http2App::open(&bench.sidekey.address).await;
        let (mut uploads, mut answers) = (Vec::new(), Vec::new());
        for _ in 0..200 {
            let (answer, upload) = app.begin(post(name), false).await;
            uploads.push(upload);
            answers.push(tokio::spawn(async { read(answer.await.unwrap()).await }));
        }
        for part in ["begin ", "middle ", "end"] {
            for (number, upload) in uploads.iter_mut().enumerate() {
                upload.send_data(format!("{number} {part}").into(), part == "end").unwrap();
            }
        }

        for (number, answer) in answers.into_iter().enumerate() {
            let answer = in_time(answer).await.unwrap().unwrap();
            assert_eq!(answer.text(), format!("{number} begin {number} middle {number} end"), "{name}");
        }
    }
}
