//! The fields of a WebSocket's handshake (RFC 6455 §4), which name another protocol for one connection: dropped with all that
//! are of one connection, and set anew.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    TRANSFER_ENCODING, UPGRADE,
};

use super::list;

/// Whether a request of HTTP/1.1 asks to go on as a WebSocket (RFC 9110 §7.8).
pub(in crate::proxy) fn asks_for_websocket(fields: &HeaderMap) -> bool {
    names(fields, CONNECTION, "upgrade") && names(fields, UPGRADE, "websocket")
}

/// Whether a field that is a list has this word in it.
fn names(fields: &HeaderMap, field: HeaderName, word: &str) -> bool {
    fields.get_all(field).iter().flat_map(list).any(|one| one.eq_ignore_ascii_case(word))
}

/// Asks for one. `key`: ours, where the app has none.
pub(in crate::proxy) fn ask_for_websocket(fields: &mut HeaderMap, key: Option<&HeaderValue>) {
    fields.insert(UPGRADE, WEBSOCKET);
    if let Some(key) = key {
        fields.insert(SEC_WEBSOCKET_KEY, key.clone());
    }
}

/// What is wrong with a 101 (RFC 6455 §4.1); `accept`: what it has to say to a key of ours.
pub(in crate::proxy) fn fault_of_101(fields: &HeaderMap, accept: Option<&HeaderValue>) -> Option<&'static str> {
    let mut upgrades = fields.get_all(UPGRADE).iter();
    let is_websocket = upgrades.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if !is_websocket || upgrades.next().is_some() {
        return Some("has no `Upgrade: websocket`");
    }
    if !names(fields, CONNECTION, "upgrade") {
        return Some("has no `Connection: upgrade`");
    }
    let mut accepts = fields.get_all(SEC_WEBSOCKET_ACCEPT).iter();
    let is_ours = accept.is_none_or(|accept| accepts.next() == Some(accept) && accepts.next().is_none());
    (!is_ours).then_some("has a `Sec-WebSocket-Accept` that is not the one of the key")
}

/// Takes the framing off a 101, which has none (RFC 9110 §15.2).
pub(in crate::proxy) fn answer_of_websocket(fields: &mut HeaderMap) {
    fields.remove(CONTENT_LENGTH);
    fields.remove(TRANSFER_ENCODING);
}

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
