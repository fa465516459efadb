//! The request as it will leave, and as HTTP/1.1 and HTTP/2 write it.

use std::fmt;

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRANSFER_ENCODING};
use http::uri::{self, Authority, PathAndQuery, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use hyper::body::Body as _;

use super::Body;
use crate::config::Scheme;

/// A request on its way to a service or a token endpoint: what `authorize` completes and `Sender::send` writes.
///
/// `fields` never contain framing or hop-by-hop fields other than `te: trailers`, `trailer` and the
/// `transfer-encoding: chunked` that marks a body of unknown length on HTTP/1.1. A `Host` in them says nothing: it
/// only keeps a place at their front, where HTTP/1.1 wants it (RFC 9110 §7.2), and `authority` is written there.
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// Path and query, byte for byte; `*` for `OPTIONS *`.
    pub(crate) target: PathAndQuery,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Body,
}

impl Outgoing {
    /// As HTTP/1.1 writes it (RFC 9112 §3.2.1).
    pub(super) fn into_origin_form(self, host: HeaderValue) -> Request<Body> {
        let mut fields = with_host(self.fields, host);
        if self.body.is_end_stream() && has_body_by_nature(&self.method) {
            // Some servers answer 411 to a POST that says nothing of its length (RFC 9110 §8.6).
            fields.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if fields.contains_key(TE) {
            // A server that passes it on must know that it was meant for itself (RFC 9110 §10.1.4).
            fields.insert(CONNECTION, HeaderValue::from_static("te"));
        }
        written(self.method, Uri::from(self.target), Version::HTTP_11, fields, self.body)
    }

    /// As HTTP/2 writes it (RFC 9113 §8.3.1), without what only HTTP/1.1 knows.
    pub(super) fn into_absolute_form(mut self) -> Request<Body> {
        for foreign in [HOST, TRANSFER_ENCODING, EXPECT] {
            self.fields.remove(foreign);
        }
        let mut parts = uri::Parts::default();
        parts.scheme = Some(match self.scheme {
            Scheme::Http => uri::Scheme::HTTP,
            Scheme::Https => uri::Scheme::HTTPS,
        });
        parts.authority = Some(self.authority);
        parts.path_and_query = Some(self.target);
        // Invariant: all three parts are there.
        #[allow(clippy::expect_used)]
        let uri = Uri::from_parts(parts).expect("a whole URI");
        written(self.method, uri, Version::HTTP_2, self.fields, self.body)
    }

    /// The request again that was written as `request` but never sent.
    pub(super) fn restored(request: Request<Body>, scheme: Scheme, authority: Authority) -> Self {
        let (mut head, body) = request.into_parts();
        for said_again in [CONTENT_LENGTH, CONNECTION] {
            head.headers.remove(said_again);
        }
        let target = head.uri.into_parts().path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        Self { method: head.method, scheme, authority, target, fields: head.headers, body }
    }
}

/// Puts `host` first: in its place if the fields keep one, else into a new map.
fn with_host(mut fields: HeaderMap, host: HeaderValue) -> HeaderMap {
    if fields.contains_key(HOST) {
        fields.insert(HOST, host);
        return fields;
    }
    let mut all = HeaderMap::with_capacity(fields.len() + 1);
    all.insert(HOST, host);
    all.extend(fields);
    all
}

fn written(method: Method, uri: Uri, version: Version, fields: HeaderMap, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = version;
    *request.headers_mut() = fields;
    request
}

/// Methods whose requests have a body, if only an empty one.
fn has_body_by_nature(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
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
