//! A request of the command line's own, over HTTP/1.1 in plain.

use std::error::Error;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// The status of the answer to a `GET`, and all of its body.
///
/// # Errors
/// When the connection ends before.
pub(super) async fn get<S>(stream: S, host: &str, target: &str) -> Result<(StatusCode, Bytes), Box<dyn Error>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    let request = Request::get(target).header(HOST, host).body(Empty::<Bytes>::new())?;
    let asked = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        Ok::<_, hyper::Error>((status, answer.into_body().collect().await?.to_bytes()))
    };
    tokio::select! {
        answered = asked => Ok(answered?),
        Err(error) = connection => Err(error.into()),
    }
}
