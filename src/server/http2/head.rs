//! A request's head as HTTP/2 brings it, made the same head that HTTP/1.1 would have brought. Pure.
//!
//! Promises one normal form: the target in origin-form, the authority in `Host` and nowhere else, one `Cookie`. So all that
//! looks at requests looks at the same thing, and nothing that reads differently in the two dialects goes on. What is
//! malformed by RFC 9113 §8.2 and §8.3 (upper case, fields of a connection, pseudo-fields that are missing, repeated or out
//! of place) h2 has refused before: RST_STREAM with `PROTOCOL_ERROR`.

use h2::ext::Protocol;
use http::header::{CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Uri, request};

use crate::code::Code;
use crate::config::Limits;
use crate::legible::excerpt;
use crate::proxy::admit::shown;
use crate::raw_query;
use crate::route::authority::RequestAuthority;

/// Why a head is no request, though h2 took it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeadError {
    #[error("the request's head is over `limits.header_size`")]
    TooLong,
    #[error("the request's head is over `limits.headers`")]
    TooMany,
    #[error("the request's target is over 65,534 bytes")]
    TargetTooLong,
    #[error("its `:path` begins with no `/`")]
    Path,
    #[error("its `:scheme` is neither `http` nor `https`")]
    Scheme,
    #[error("there are several `Host` fields")]
    HostRepeated,
    #[error(
        "its `:authority` is `{authority}` and its `Host` is `{host}`: they have to be the same, or one is left out"
    )]
    HostOther { authority: String, host: String },
    #[error("the value of `{0}` begins or ends with white space (RFC 9113 §8.2.1)")]
    Padded(HeaderName),
    #[error("there are several `Content-Length` fields")]
    LengthRepeated,
    #[error("`:protocol` is `{}`, and `websocket` is the only one that is carried (RFC 8441)", excerpt(.0))]
    Protocol(String),
    #[error("a `CONNECT` has no body: what follows its head is the tunnel's")]
    ConnectWithContent,
}

impl HeadError {
    pub(super) fn code(&self) -> Code {
        match self {
            Self::TooLong | Self::TooMany | Self::TargetTooLong => Code::HeadersTooLarge,
            Self::Path
            | Self::Scheme
            | Self::HostRepeated
            | Self::HostOther { .. }
            | Self::Padded(_)
            | Self::LengthRepeated
            | Self::ConnectWithContent => Code::BadRequest,
            // RFC 9220 §3; RFC 8441 leaves it open.
            Self::Protocol(_) => Code::NotImplemented,
        }
    }
}

/// Makes it the head of a request in origin-form.
///
/// # Errors
/// When it is too large, or can be read in more than one way.
pub(super) fn normal(mut head: request::Parts, limits: &Limits) -> Result<request::Parts, HeadError> {
    measure(&head, limits)?;
    // In HTTP/1.1 white space belongs to no value: what reads the one would see another value than what reads the other.
    if let Some((name, _)) = head.headers.iter().find(|(_, value)| is_padded(value.as_bytes())) {
        return Err(HeadError::Padded(name.clone()));
    }
    if head.method == Method::CONNECT {
        match head.extensions.remove::<Protocol>() {
            // It has no path: its authority is the target, as in HTTP/1.1.
            None => return Ok(head),
            Some(protocol) => ask_as_http1(&mut head, protocol.as_str())?,
        }
    }
    let parts = std::mem::take(&mut head.uri).into_parts();
    let target = parts.path_and_query.filter(|target| is_target(target, &head.method)).ok_or(HeadError::Path)?;
    head.uri = Uri::from(spelt(target)?);
    if parts.scheme.is_some_and(|scheme| scheme != Scheme::HTTP && scheme != Scheme::HTTPS) {
        return Err(HeadError::Scheme);
    }
    let fields = &mut head.headers;
    if fields.get_all(HOST).iter().nth(1).is_some() {
        return Err(HeadError::HostRepeated);
    }
    if let Some(authority) = parts.authority {
        // The field may be there too, and say the same (RFC 9113 §8.3.1); where it alone is there, it counts.
        if let Some(host) = fields.get(HOST).filter(|host| !names_the_same(authority.as_str(), host)) {
            return Err(HeadError::HostOther { authority: authority.to_string(), host: shown(host) });
        }
        if let Ok(host) = HeaderValue::try_from(authority.as_str()) {
            fields.insert(HOST, host);
        }
    }
    if fields.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err(HeadError::LengthRepeated);
    }
    join_cookies(fields);
    Ok(head)
}

/// Makes an extended CONNECT (RFC 8441 §4) the handshake that HTTP/1.1 has for the same: so it is asked all that any request
/// is asked, and goes where any request goes. Nothing else in HTTP/2 has an `Upgrade`, as h2 refuses that.
fn ask_as_http1(head: &mut request::Parts, protocol: &str) -> Result<(), HeadError> {
    if !protocol.eq_ignore_ascii_case("websocket") {
        return Err(HeadError::Protocol(protocol.to_owned()));
    }
    let fields = &mut head.headers;
    if fields.get_all(CONTENT_LENGTH).iter().any(|length| length != "0") {
        return Err(HeadError::ConnectWithContent);
    }
    // It waits for a 200, whatever it says, and content has no place after a GET.
    fields.remove(CONTENT_LENGTH);
    fields.remove(EXPECT);
    fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
    head.method = Method::GET;
    Ok(())
}

/// What its length is said to be; h2 has seen that it is a number, and sees that it is true.
pub(super) fn declared_length(fields: &HeaderMap) -> Option<u64> {
    fields.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// As long as the same head in HTTP/1.1, so that one limit means the same in both.
fn measure(head: &request::Parts, limits: &Limits) -> Result<(), HeadError> {
    let target = head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    // A cookie that was cut up for compression is one field.
    let crumbs = head.headers.get_all(COOKIE).iter().count();
    if head.headers.len() - crumbs.saturating_sub(1) > limits.headers {
        return Err(HeadError::TooMany);
    }
    let fields = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    if fields.sum::<usize>() + target + LINE_BYTES > limits.header_bytes {
        return Err(HeadError::TooLong);
    }
    Ok(())
}

fn is_padded(value: &[u8]) -> bool {
    let is_white = |end: Option<&u8>| matches!(end, Some(b' ' | b'\t'));
    is_white(value.first()) || is_white(value.last())
}

/// RFC 9113 §8.3.1.
fn is_target(target: &PathAndQuery, method: &Method) -> bool {
    target.as_str().starts_with('/') || (target.as_str() == "*" && *method == Method::OPTIONS)
}

/// With a query as targets of HTTP/1 have it here: what stands for other bytes is told from what only looks so.
fn spelt(target: PathAndQuery) -> Result<PathAndQuery, HeadError> {
    let Some(query) = target.query().filter(|query| raw_query::may_need_spelling(query.as_bytes())) else {
        return Ok(target);
    };
    let mut spelt = format!("{}?", target.path()).into_bytes();
    raw_query::spell(query.as_bytes(), &mut spelt);
    // What was a target is one still, unless it has become too long for one.
    PathAndQuery::try_from(spelt).map_err(|_| HeadError::TargetTooLong)
}

/// RFC 9113 §8.3.1: what is compared is the entity, whatever the spelling.
fn names_the_same(authority: &str, host: &HeaderValue) -> bool {
    let Ok(host) = host.to_str() else { return false };
    if host == authority {
        return true;
    }
    let both = (RequestAuthority::parse(authority), RequestAuthority::parse(host));
    matches!(both, (Ok(one), Ok(other)) if one.host == other.host && is_same_port(one.port, other.port))
}

/// No port is the default one of either scheme.
fn is_same_port(one: Option<u16>, other: Option<u16>) -> bool {
    one == other || matches!((one, other), (None, Some(80 | 443)) | (Some(80 | 443), None))
}

/// RFC 9113 §8.2.3: `Cookie` may be cut up for compression, and nobody but HTTP/2 knows that.
fn join_cookies(fields: &mut HeaderMap) {
    let mut crumbs = fields.get_all(COOKIE).iter();
    if crumbs.nth(1).is_none() {
        return;
    }
    let crumbs: Vec<_> = fields.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(mut joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        joined.set_sensitive(true);
        fields.insert(COOKIE, joined);
    }
}

/// A method, spaces, the version and the empty line.
const LINE_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(target: &str, fields: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[track_caller]
    fn check_refused(head: request::Parts, code: Code, why: &str) {
        let refused = normal(head, &Limits::default()).expect_err(why);

        assert_eq!((refused.code(), &*refused.to_string()), (code, why));
    }

    #[test]
    fn the_authority_becomes_the_host_and_the_target_origin_form() {
        let head = normal(head("http://localhost:9800/payments?x=%2F", &[]), &Limits::default()).unwrap();

        assert_eq!(
            (&*head.uri.to_string(), &head.headers[HOST]),
            ("/payments?x=%2F", &HeaderValue::from_static("localhost:9800"))
        );
    }

    #[test]
    fn a_query_is_spelt_as_that_of_http_1_is() {
        let query = "a=\u{10FF3C}\u{fc}";

        let head = normal(head(&format!("http://localhost/x?{query}"), &[]), &Limits::default()).unwrap();

        let spelt = head.uri.query().unwrap();
        assert_ne!(spelt, query);
        assert_eq!(&*raw_query::as_read(spelt), query.as_bytes());
    }

    #[test]
    fn a_host_that_says_the_same_is_one_host() {
        for host in ["localhost:9800", "LOCALHOST:9800", "localhost.:9800"] {
            let head = normal(head("http://localhost:9800/x", &[("host", host)]), &Limits::default()).unwrap();

            let hosts: Vec<_> = head.headers.get_all(HOST).iter().collect();
            assert_eq!(hosts, ["localhost:9800"], "{host}");
        }
    }

    #[test]
    fn a_host_alone_stays() {
        let head = normal(head("/x", &[("host", "localhost")]), &Limits::default()).unwrap();

        assert_eq!(head.headers[HOST], "localhost");
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (host, seen) in [("elsewhere", "elsewhere"), ("localhost:1", "localhost:1"), ("", "")] {
            let why = format!(
                "its `:authority` is `localhost` and its `Host` is `{seen}`: they have to be the same, or one is left out"
            );
            check_refused(head("http://localhost/x", &[("host", host)]), Code::BadRequest, &why);
        }
        let twice = head("/x", &[("host", "localhost"), ("host", "localhost")]);
        check_refused(twice, Code::BadRequest, "there are several `Host` fields");
        let twice = head("http://localhost/x", &[("content-length", "1"), ("content-length", "2")]);
        check_refused(twice, Code::BadRequest, "there are several `Content-Length` fields");
        for value in [" 1", "1\t"] {
            let padded = head("/x", &[("x-padded", value)]);
            let why = "the value of `x-padded` begins or ends with white space (RFC 9113 §8.2.1)";
            check_refused(padded, Code::BadRequest, why);
        }
        let scheme = head("ftp://localhost/x", &[]);
        check_refused(scheme, Code::BadRequest, "its `:scheme` is neither `http` nor `https`");
        let mut star = head("/", &[]);
        star.uri = "*".parse().unwrap();
        check_refused(star, Code::BadRequest, "its `:path` begins with no `/`");
    }

    #[test]
    fn the_limits_hold_as_for_http_1() {
        let long = "x".repeat(70_000);
        let target = head(&format!("/?{}", "\u{10FFFF}".repeat(5_000)), &[]);
        check_refused(target, Code::HeadersTooLarge, "the request's target is over 65,534 bytes");
        let field = head("/", &[("x-long", &*long)]);
        check_refused(field, Code::HeadersTooLarge, "the request's head is over `limits.header_size`");
        let many = head("/", &[("x-many", "1"); 101]);
        check_refused(many, Code::HeadersTooLarge, "the request's head is over `limits.headers`");
    }

    fn extended(protocol: &'static str, fields: &[(&str, &str)]) -> request::Parts {
        let mut head = head("http://localhost/talk?x=1", fields);
        head.method = Method::CONNECT;
        head.extensions.insert(Protocol::from_static(protocol));
        head
    }

    #[test]
    fn an_extended_connect_is_the_handshake_that_http_1_has() {
        let fields = [("sec-websocket-version", "13"), ("content-length", "0"), ("expect", "100-continue")];

        let head = normal(extended("WebSocket", &fields), &Limits::default()).unwrap();

        assert_eq!((head.method.as_str(), &*head.uri.to_string()), ("GET", "/talk?x=1"));
        let of = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap());
        let names = ["connection", "upgrade", "host", "sec-websocket-version", "content-length", "expect"];
        let expected = [Some("upgrade"), Some("websocket"), Some("localhost"), Some("13"), None, None];
        assert_eq!(names.map(of), expected);
    }

    #[test]
    fn an_extended_connect_that_is_none_for_us_is_refused() {
        let why = "`:protocol` is `connect-udp`, and `websocket` is the only one that is carried (RFC 8441)";
        check_refused(extended("connect-udp", &[]), Code::NotImplemented, why);
        let why = "a `CONNECT` has no body: what follows its head is the tunnel's";
        check_refused(extended("websocket", &[("content-length", "1")]), Code::BadRequest, why);
    }

    #[test]
    fn cookies_that_were_cut_up_count_as_one_field() {
        let limits = Limits { headers: 2, ..Limits::default() };
        let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")];

        assert!(normal(head("http://localhost/x", &crumbs), &limits).is_ok());
        let more = [&crumbs[..], &[("a", "1"), ("b", "2")]].concat();
        assert_eq!(normal(head("http://localhost/x", &more), &limits).err(), Some(HeadError::TooMany));
    }

    #[test]
    fn cookies_that_were_cut_up_are_one_field_again() {
        let head = normal(head("/", &[("cookie", "a=1"), ("cookie", "b=2")]), &Limits::default()).unwrap();

        let cookies: Vec<_> = head.headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
    }
}
