#!/usr/bin/env bash
# h2 0.4.20, client: empty DATA frames are counted over a connection's whole life, and the 101st ends it for all its streams.
#
# An empty DATA frame without END_STREAM is allowed (RFC 9113 §6.1) and some servers flush with one. h2 bears a hundred of them on
# one connection, however many streams and hours lie between; the next one is answered with GOAWAY(ENHANCE_YOUR_CALM),
# and every stream that is open ends with it. There is no setting. Here each of many answers has one such frame: the
# requests go well, one after the other, until the connection is gone.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "empty-frames"
version = "0.0.0"
edition = "2024"

[dependencies]
bytes = "=1.12.2"
h2 = "=0.4.20"
http = "1"
tokio = { version = "=1.54.1", features = ["rt", "macros", "io-util"] }
TOML
cat > src/main.rs <<'RUST'
use bytes::Bytes;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    tokio::spawn(async move {
        let mut connection = h2::server::handshake(theirs).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut body = respond.send_response(http::Response::new(()), false).unwrap();
            body.send_data(Bytes::new(), false).unwrap();
            body.send_data(Bytes::from_static(b"whole"), true).unwrap();
        }
    });
    let (mut requests, connection) = h2::client::handshake(ours).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut whole = 0;
    while let Ok(true) = ask(&mut requests).await {
        whole += 1;
        assert!(whole < 10_000, "it goes on for ever now");
    }
    println!("{whole} answers with an empty frame each, then: {}", connection.await.unwrap().unwrap_err());
}

async fn ask(requests: &mut h2::client::SendRequest<Bytes>) -> Result<bool, h2::Error> {
    let mut ready = requests.clone().ready().await?;
    let request = http::Request::get("http://service.example/").body(()).unwrap();
    let (answer, _) = ready.send_request(request, true)?;
    let mut body = answer.await?.into_body();
    let mut read = 0;
    while let Some(data) = body.data().await {
        let data = data?;
        read += data.len();
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(read == 5)
}
RUST
cargo run --quiet | tee seen.txt
cat > expected.txt <<'TEXT'
100 answers with an empty frame each, then: connection error detected: detected excessive load generating behavior
TEXT
diff expected.txt seen.txt && echo 'as described'
