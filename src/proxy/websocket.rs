//! A WebSocket: a request that goes on as a tunnel, over HTTP/1.1 to the service (RFC 6455), whichever dialect the app speaks.
//!
//! ```text
//!  app: GET, Upgrade: websocket (RFC 6455 §4.1) ─┐                                  ┌─► 101, or in HTTP/2 200
//!                                                ├─► GET, Upgrade: websocket ─► 101 ┘   the exchange goes on in the tunnel
//!  app: CONNECT, :protocol websocket (RFC 8441) ─┘        over HTTP/1.1     └► any other answer goes to the app as it is
//! ```
//!
//! It is a request like any other up to its answer: admitted, routed, limited, authorized, sent again where that is safe.
//! In HTTP/2 a handshake has neither key nor accept (RFC 8441 §5.1), so there the key is ours and so is the proof.

use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{HeaderValue, Method, Response, StatusCode, Version, request};
use hyper::body::Body as _;

use super::byte_tunnel::{ByteTunnel, ExchangeSpan};
use super::exchange::ExchangeRecord;
use super::fields::{self, Name, Present, ResponseContext};
use super::relay::{self, Acquaintance};
use super::tunnel::OpenedTunnel;
use super::view::ServiceHalf;
use super::{Error, ResponseBody};
use crate::incoming::IncomingBody;
use crate::upstream::PooledBody;

/// What an app asks for when it asks for a WebSocket.
pub(super) struct WebSocketHandshake {
    /// `None`: the app has a key of its own, and sees to the proof.
    own: Option<Box<OwnKey>>,
}

/// A key of ours, and what a service that has understood it says to it.
struct OwnKey {
    key: HeaderValue,
    accept: HeaderValue,
}

impl WebSocketHandshake {
    /// `None`: the request asks for nothing of the kind, or in a way that is none (RFC 6455 §4.1), and then an `Upgrade` is
    /// declined as any other is.
    ///
    /// # Errors
    /// When the system has no random bytes for a key.
    pub(super) fn of(head: &request::Parts, present: Present, body: &IncomingBody) -> Result<Option<Self>, Error> {
        // Nearly no request has the field.
        if !present.has(Name::Upgrade) {
            return Ok(None);
        }
        let is_handshake =
            head.method == Method::GET && body.is_end_stream() && fields::asks_for_websocket(&head.headers);
        match head.version {
            _ if !is_handshake => Ok(None),
            Version::HTTP_11 => Ok(Some(Self { own: None })),
            // No stream of HTTP/2 has the field but one that asks by extended CONNECT.
            Version::HTTP_2 => Ok(Some(Self { own: Some(Box::new(OwnKey::make()?)) })),
            // RFC 9110 §7.8: in HTTP/1.0 it says nothing.
            _ => Ok(None),
        }
    }

    /// The key to ask with, where the app has none.
    pub(super) fn key(&self) -> Option<&HeaderValue> {
        self.own.as_ref().map(|own| &own.key)
    }

    /// Makes the service's answer the app's: a tunnel is open only after a 101.
    ///
    /// # Errors
    /// When it can't be passed on as what it says it is.
    pub(super) fn answered(
        self,
        response: Response<PooledBody>,
        known: Acquaintance<'_>,
        half: &ServiceHalf,
        exchange: &ExchangeRecord,
    ) -> Result<Response<ResponseBody>, Error> {
        let status = response.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            // In HTTP/2 it would say that the tunnel is open (RFC 9110 §9.3.6).
            return match self.own {
                Some(_) if status.is_success() => Err(Error::NoUpgrade { status }),
                _ => relay::relay(response, known, half, &exchange.deadline),
            };
        }
        let (mut head, body) = response.into_parts();
        if let Some(what) = fields::fault_of_101(&head.headers, self.own.as_ref().map(|own| &own.accept)) {
            return Err(Error::Upgrade { what });
        }
        let upstream = body.into_upgraded().ok_or(Error::Upgrade { what: "came over no connection of its own" })?;
        fields::answer_of_websocket(&mut head.headers);
        let (via, way_back) = (known.via, Some(known.way_back));
        let downward = ResponseContext { status, version: head.version, via, way_back };
        fields::answer(&mut head.headers, downward, &half.rules)?;
        head.version = Version::HTTP_11;
        if self.own.is_some() {
            head.status = StatusCode::OK;
            head.headers.remove(SEC_WEBSOCKET_ACCEPT);
        } else {
            head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        }
        let tunnel = ByteTunnel {
            upstream: Box::new(upstream),
            target: half.service.name.to_string(),
            began: exchange.began(),
            log: exchange.view.snapshot.config.log.access,
            idle: half.service.timeouts.idle,
            span: ExchangeSpan::Tunnel(None),
        };
        Ok(Response::from_parts(head, ResponseBody::opening(OpenedTunnel::Bytes(Box::new(tunnel)))))
    }
}

impl OwnKey {
    /// RFC 6455 §4.1, §4.2.2.
    fn make() -> Result<Self, Error> {
        let mut nonce = [0; 16];
        rand::fill(&mut nonce).map_err(|_| Error::NoRandom)?;
        let key = STANDARD.encode(nonce);
        let accept = accept_of(&key);
        // Base64 is text, so neither fails.
        let value = |text: String| HeaderValue::try_from(text).map_err(|_| Error::NoRandom);
        Ok(Self { key: value(key)?, accept: value(accept)? })
    }
}

fn accept_of(key: &str) -> String {
    let hashed = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{WEBSOCKET_GUID}").as_bytes());
    STANDARD.encode(hashed)
}

/// RFC 6455 §1.3.
const WEBSOCKET_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_proven_as_the_rfc_has_it() {
        assert_eq!(accept_of("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn no_two_keys_are_the_same() {
        let (one, other) = (OwnKey::make().unwrap(), OwnKey::make().unwrap());

        assert_ne!(one.key, other.key);
        assert_eq!(one.key.len(), 24);
    }
}
