//! An app that speaks HTTP/2 frame by frame, for what no real client can be asked to do.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::frames::{ACK, PREFACE, SETTINGS, frame};
use super::http2_app::in_time;

/// A connection, frame by frame.
pub struct Frames(pub TcpStream);

impl Frames {
    pub async fn open(address: &str) -> Self {
        Self::open_with(address, &[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await
    }

    /// As [`Frames::open`], with other first bytes.
    pub async fn open_with(address: &str, first: &[u8]) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(first).await.unwrap();
        Self(stream)
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Kind, flags, stream and payload of the next frame; `None`: the connection is closed.
    pub async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        in_time(self.0.read_exact(&mut head)).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        in_time(self.0.read_exact(&mut payload)).await.ok()?;
        if head[3] == SETTINGS && head[4] & ACK == 0 {
            self.0.write_all(&frame(SETTINGS, ACK, 0, &[])).await.ok()?;
        }
        Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }
}
