//! Requests that HTTP/2 forbids (RFC 9113 §8): none of them gets to a service, and each costs its own stream only, where it
//! leaves the connection's state alone.

use super::Bench;
use crate::lab::frames::{DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, fields, frame};
use crate::lab::raw_http2::Frames;

/// What became of the stream 1.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// RST_STREAM with this code.
    Reset(u32),
    /// An answer of ours; its status is looked at elsewhere.
    Answered,
    /// GOAWAY with this code.
    Ended(u32),
}

impl Frames {
    async fn fate(&mut self, of: u32) -> Fate {
        loop {
            let (kind, _, stream, payload) = self.next().await.expect("the connection is closed without a word");
            let code = |payload: &[u8]| u32::from_be_bytes(payload.try_into().unwrap());
            match kind {
                RST_STREAM if stream == of => return Fate::Reset(code(&payload)),
                HEADERS if stream == of => return Fate::Answered,
                GOAWAY => return Fate::Ended(code(&payload[4..8])),
                _ => {}
            }
        }
    }
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "localhost"), (":path", "/one/x")];

fn head(more: &[(&str, &str)]) -> Vec<u8> {
    fields(&[&GET[..], more].concat())
}

/// The head without the pseudo-field, or with another value for it.
fn with(name: &str, value: Option<&str>) -> Vec<u8> {
    let all = GET.iter().filter_map(|field| match value {
        _ if field.0 != name => Some(*field),
        Some(value) => Some((name, value)),
        None => None,
    });
    fields(&all.collect::<Vec<_>>())
}

#[tokio::test]
async fn what_http_2_forbids_is_refused() {
    // PROTOCOL_ERROR. Of what is no name or value at all, h2 makes it the whole connection's, as RFC 9113 §5.4.1 lets it.
    const RESET: Fate = Fate::Reset(1);
    let bench = Bench::start().await;
    let table = [
        // Of a connection (§8.2.2).
        ("transfer-encoding", head(&[("transfer-encoding", "chunked")]), RESET),
        ("connection", head(&[("connection", "close")]), RESET),
        ("connection that names a field", head(&[("connection", "x-hop"), ("x-hop", "1")]), RESET),
        ("keep-alive", head(&[("keep-alive", "timeout=5")]), RESET),
        ("proxy-connection", head(&[("proxy-connection", "keep-alive")]), RESET),
        ("upgrade", head(&[("upgrade", "websocket")]), RESET),
        ("te", head(&[("te", "gzip")]), RESET),
        ("te with more than trailers", head(&[("te", "trailers, chunked")]), RESET),
        // Names and values (§8.2.1).
        ("an upper-case name", head(&[("X-Upper", "1")]), RESET),
        ("a space in a name", head(&[("x y", "1")]), RESET),
        ("a colon in a name", head(&[("x:y", "1")]), RESET),
        ("an empty name", head(&[("", "1")]), RESET),
        ("a line break in a name", head(&[("x\r\ny", "1")]), RESET),
        ("CR LF in a value", head(&[("x", "1\r\nhost: elsewhere")]), RESET),
        ("LF in a value", head(&[("x", "1\ny: 2")]), RESET),
        ("CR in a value", head(&[("x", "1\ry")]), RESET),
        ("NUL in a value", head(&[("x", "1\0")]), RESET),
        ("a space before a value", head(&[("x", " 1")]), Fate::Answered),
        ("a tab behind a value", head(&[("x", "1\t")]), Fate::Answered),
        // Pseudo-fields (§8.3).
        ("one behind a field", fields(&[&[("x", "1")], &GET[..]].concat()), RESET),
        ("an unknown one", head(&[(":x", "1")]), RESET),
        ("one of answers", head(&[(":status", "200")]), RESET),
        ("one twice", head(&[(":path", "/two/x")]), RESET),
        ("no method", with(":method", None), RESET),
        ("no scheme", with(":scheme", None), RESET),
        ("no path", with(":path", None), RESET),
        ("an empty path", with(":path", Some("")), RESET),
        ("a path that is none", with(":path", Some("one/x")), RESET),
        ("a space in the path", with(":path", Some("/one/x HTTP/1.1")), RESET),
        ("CR LF in the path", with(":path", Some("/one/x\r\nx: y")), RESET),
        ("CR LF in the authority", with(":authority", Some("localhost\r\nx: y")), RESET),
        ("CR LF in the method", with(":method", Some("GET / HTTP/1.1\r\nx: y")), RESET),
        ("another scheme", with(":scheme", Some("ftp")), Fate::Answered),
        ("another host", head(&[("host", "one.localhost")]), Fate::Answered),
        (
            "another host without an authority",
            fields(&[&GET[..2], &GET[3..], &[("host", "elsewhere.example")]].concat()),
            Fate::Answered,
        ),
        ("no host at all", with(":authority", None), Fate::Answered),
        ("an empty authority", with(":authority", Some("")), RESET),
        ("userinfo in the authority", with(":authority", Some("elsewhere@localhost")), Fate::Answered),
        ("a path in the authority", with(":authority", Some("localhost/elsewhere")), RESET),
        ("a list of authorities", with(":authority", Some("localhost, elsewhere.example")), RESET),
        ("two hosts", head(&[("host", "localhost"), ("host", "localhost")]), Fate::Answered),
        // A tunnel is asked for without scheme and path (§8.5), but for what another RFC defines: of that there is WebSocket
        // (RFC 8441), which has tests of its own.
        ("CONNECT", fields(&[(":method", "CONNECT"), (":authority", "localhost:443")]), Fate::Answered),
        ("CONNECT with a path", with(":method", Some("CONNECT")), RESET),
        (
            "extended CONNECT of something else",
            fields(&[&[(":method", "CONNECT"), (":protocol", "connect-udp")], &GET[1..]].concat()),
            Fate::Answered,
        ),
        ("a protocol without CONNECT", head(&[(":protocol", "websocket")]), RESET),
        // Lengths (§8.1.1).
        ("two lengths", head(&[("content-length", "0"), ("content-length", "0")]), Fate::Answered),
        ("a signed length", head(&[("content-length", "+0")]), RESET),
        ("a list of lengths", head(&[("content-length", "0, 0")]), RESET),
        ("a body that is not there", head(&[("content-length", "5")]), RESET),
        ("a length that is none", head(&[("content-length", "-0")]), RESET),
    ];
    for (what, block, fate) in table {
        let mut frames = Frames::open(&bench.sidekey.address).await;
        frames.write(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)).await;

        let seen = frames.fate(1).await;

        assert!(seen == fate || fate == RESET && seen == Fate::Ended(1), "{what}: {seen:?}");
        assert!(bench.one.heads().is_empty(), "{what} got to the service: {:?}", bench.one.heads());
        if matches!(seen, Fate::Ended(_)) {
            continue;
        }
        // The next one is as good as on a new connection.
        frames.write(&frame(HEADERS, END_HEADERS | END_STREAM, 3, &with(":path", Some("/two/x")))).await;
        assert_eq!(frames.fate(3).await, Fate::Answered, "after {what}");
    }
    assert!(bench.two.heads().iter().all(|head| head.starts_with("GET ") && head.contains("/x\r\n")));
}

#[tokio::test]
async fn a_body_of_another_length_than_announced_is_no_body() {
    let bench = Bench::start().await;
    for (name, mirror) in bench.services() {
        for (count, body) in ["less", "more than that"].into_iter().enumerate() {
            let path = format!("/{name}/x");
            let mut block = with(":path", Some(&path));
            block.extend(fields(&[("content-length", "7"), ("expect-nothing", "1")]));
            let mut frames = Frames::open(&bench.sidekey.address).await;
            frames.write(&frame(HEADERS, END_HEADERS, 1, &block)).await;
            frames.write(&frame(DATA, END_STREAM, 1, body.as_bytes())).await;

            let seen = frames.fate(1).await;

            assert!(matches!(seen, Fate::Reset(1) | Fate::Answered), "{name} {body}: {seen:?}");
            let whole = mirror.ends().iter().filter(|end| **end == crate::lab::mirror::BodyEnd::Whole).count();
            assert_eq!(whole, 0, "{name}: {count}");
        }
    }
}
