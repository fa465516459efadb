//! The request as it will leave. How it is written is said in `h1` and `h2`.

use std::fmt;

use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method};

use super::{RequestBody, scratch};
use crate::config::Scheme;

/// A request on its way to a service or a token endpoint: what `authorize` completes and `Sender::send` writes.
///
/// `fields` never contain framing or hop-by-hop fields other than `te: trailers`, `trailer`, the `transfer-encoding: chunked`
/// that marks a body of unknown length on HTTP/1.1, and the `upgrade` of one that asks for another protocol. A `Host` in them
/// says nothing: it only keeps a place at their front, where HTTP/1.1 wants it (RFC 9110 §7.2), and `authority` is written
/// there.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// Path and query, byte for byte; `*` for `OPTIONS *`.
    pub(crate) target: PathAndQuery,
    pub(crate) fields: HeaderMap,
    pub(crate) body: RequestBody,
    pub(crate) switch: ProtocolSwitch,
}

/// Whether a request asks to go on in another protocol, which its `upgrade` names (RFC 9110 §7.8). Such a one goes over
/// HTTP/1.1, whatever else the service speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ProtocolSwitch {
    #[default]
    NotAsked,
    Asked,
}

impl Outgoing {
    /// It was sent for the last time: the memory of its fields is for those of the next answer.
    pub(crate) fn recycle(&mut self) {
        scratch::keep_fields(std::mem::take(&mut self.fields));
    }
}

/// Leaves out the query and all values: credentials are among them.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing")
            .field("method", &self.method)
            .field("scheme", &self.scheme)
            .field("authority", &self.authority)
            .field("path", &self.target.path())
            .field("fields", &self.fields.keys().collect::<Vec<_>>())
            .field("body", &self.body)
            .finish()
    }
}
