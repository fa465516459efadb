//! The request as it will leave, and as HTTP/2 writes it; HTTP/1.1 does so in `h1`.

use std::fmt;

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::uri::{self, Authority, PathAndQuery, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use hyper::body::Body as _;

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
    /// The head as HTTP/2 writes it (RFC 9113 §8.3.1), without what only HTTP/1.1 knows, and whether that is all of the
    /// request. Copied, as it may be wanted for another sending.
    pub(super) fn absolute_form(&self) -> (Request<()>, bool) {
        let mut fields = self.fields.clone();
        for foreign in [HOST, TRANSFER_ENCODING, EXPECT] {
            fields.remove(foreign);
        }
        let ends = self.body.is_end_stream();
        match self.body.size_hint().exact() {
            // What has no body by its nature need not say so.
            Some(0) if matches!(self.method, Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS) => {}
            Some(length) => drop(fields.insert(CONTENT_LENGTH, HeaderValue::from(length))),
            None => {}
        }
        let mut parts = uri::Parts::default();
        parts.scheme = Some(match self.scheme {
            Scheme::Http => uri::Scheme::HTTP,
            Scheme::Https => uri::Scheme::HTTPS,
        });
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(self.target.clone());
        let mut request = Request::new(());
        // Invariant: all three parts are there.
        #[allow(clippy::expect_used)]
        let uri = Uri::from_parts(parts).expect("a whole URI");
        *request.uri_mut() = uri;
        *request.method_mut() = self.method.clone();
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = fields;
        (request, ends)
    }

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
