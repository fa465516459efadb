#!/usr/bin/env bash
# hyper 1.12.0, client over HTTP/2: a body whose stream is reset without an error code ends as if it were whole.
#
# RST_STREAM(NO_ERROR) is for a server that has sent all of its answer and wants no more of the request (RFC 9113 §8.1).
# Sent in the middle of an answer without a content-length it means that the rest does not come; what tells whole from
# cut is END_STREAM alone. hyper's `Incoming` makes an orderly end of NO_ERROR: no error comes, and `is_end_stream()` is still
# false at that end. Who passes bodies on has to look at that, or use h2 itself, whose `RecvStream` gives the reset as an
# error. With CANCEL or INTERNAL_ERROR in its place hyper gives an error too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "no-error"
version = "0.0.0"
edition = "2024"

[dependencies]
bytes = "=1.12.2"
h2 = "=0.4.20"
http = "1"
http-body-util = "=0.1.5"
hyper = { version = "=1.12.0", features = ["client", "http2"] }
hyper-util = { version = "=0.1.21", features = ["tokio"] }
tokio = { version = "=1.54.1", features = ["rt", "macros", "io-util"] }
TOML
cat > src/main.rs <<'RUST'
use bytes::Bytes;
use h2::Reason;
use http_body_util::{BodyExt, Empty};
use hyper::body::Body;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    for reason in [Reason::NO_ERROR, Reason::CANCEL, Reason::INTERNAL_ERROR] {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(theirs).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(b"half of it"), false).unwrap();
                tokio::spawn(async move {
                    // Once the frames before it are out: a reset overtakes what is still queued.
                    for _ in 0..100 {
                        tokio::task::yield_now().await;
                    }
                    body.send_reset(reason);
                });
            }
        });
        let (mut requests, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(ours)).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get("http://service.example/").body(Empty::<Bytes>::new()).unwrap();
        let mut body = requests.send_request(request).await.unwrap().into_body();
        let mut read = 0;
        let end = loop {
            match body.frame().await {
                Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
                Some(Err(_)) => break "an error",
                None => break "an orderly end",
            }
        };
        println!("{reason:?}: {read} bytes, then {end}; is_end_stream() is {}", body.is_end_stream());
    }
}
RUST
cargo run --quiet | tee seen.txt
cat > expected.txt <<'TEXT'
NO_ERROR: 10 bytes, then an orderly end; is_end_stream() is false
CANCEL: 10 bytes, then an error; is_end_stream() is false
INTERNAL_ERROR: 10 bytes, then an error; is_end_stream() is false
TEXT
diff expected.txt seen.txt && echo 'as described'
