//! Requests out of a seed: most have something odd about them, and few of the oddities are alike.

use fastrand::Rng;

/// A request as it is sent.
pub struct Sent {
    pub method: String,
    pub target: String,
    pub version: &'static str,
    /// In order, as they are written.
    pub fields: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
}

impl Sent {
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.shown().into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    /// The head.
    pub fn shown(&self) -> String {
        let mut text = format!("{} {} {}\r\n", self.method, self.target, self.version);
        for (name, value) in &self.fields {
            text += &format!("{name}: {value}\r\n");
        }
        text + "\r\n"
    }

    /// All values of a field, in order.
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub fn closes(&self) -> bool {
        self.values("connection").iter().any(|value| value.contains("close"))
    }
}

/// The request of this seed.
pub fn any(seed: u64, ports: [u16; 3]) -> Sent {
    let mut rng = Rng::with_seed(seed);
    let one = |rng: &mut Rng, of: &[&str]| of[rng.usize(..of.len())].to_owned();
    let method = if rng.u8(..8) == 0 { one(&mut rng, ODD_METHODS) } else { one(&mut rng, METHODS) };
    let version = if rng.u8(..12) == 0 { "HTTP/1.0" } else { "HTTP/1.1" };
    let absolute = rng.u8(..4) == 0;
    let path = path(&mut rng);
    let query = if rng.bool() { String::new() } else { one(&mut rng, QUERIES) };
    let target = match absolute {
        true => format!("{}{}{path}{query}", one(&mut rng, SCHEMES), host(&mut rng, ports)),
        false if rng.u8(..40) == 0 => "*".to_owned(),
        false => format!("{path}{query}"),
    };

    let mut fields = Vec::new();
    match rng.u8(..30) {
        0 => {}
        1 => (0..2).for_each(|_| fields.push(("Host".to_owned(), host(&mut rng, ports)))),
        _ => fields.push((one(&mut rng, &["Host", "host", "HOST"]), host(&mut rng, ports))),
    }
    for _ in 0..rng.usize(..5) {
        let field = one(&mut rng, FIELDS);
        let (name, value) = field.split_once(": ").unwrap_or((field.trim_end_matches(':'), ""));
        fields.push((name.to_owned(), value.to_owned()));
    }
    // What browsers send would end most requests if it were as frequent as the rest.
    if rng.u8(..4) == 0 {
        for _ in 0..rng.usize(1..3) {
            let field = one(&mut rng, BROWSERS);
            let (name, value) = field.split_once(": ").unwrap_or((&field, ""));
            fields.push((name.to_owned(), value.to_owned()));
        }
    }
    let body = (rng.u8(..4) == 0 && version == "HTTP/1.1").then(|| vec![b'x'; rng.usize(..40)]);
    if let Some(body) = &body {
        fields.push(("Content-Length".to_owned(), body.len().to_string()));
    }
    rng.shuffle(&mut fields);
    Sent { method, target, version, fields, body }
}

fn host(rng: &mut Rng, ports: [u16; 3]) -> String {
    // Most are local, or nothing else would be seen of the rest.
    let names = match rng.u8(..10) {
        0..=4 => LOCAL,
        5 | 6 => NAMED,
        7 => return format!("127.0.0.1:{}", ports[rng.usize(..3)]),
        8 => STRANGE,
        _ => MALFORMED,
    };
    let name = names[rng.usize(..names.len())];
    match rng.u8(..3) {
        0 if !name.contains(' ') => format!("{name}:{}", [80, 443, 9800][rng.usize(..3)]),
        _ => name.to_owned(),
    }
}

fn path(rng: &mut Rng) -> String {
    let mut path = String::new();
    for place in 0..rng.usize(1..6) {
        let segments = match (place, rng.u8(..12)) {
            (0, 0..=9) => FIRST,
            (_, 0) => NASTY,
            _ => PLAIN,
        };
        path += &format!("/{}", segments[rng.usize(..segments.len())]);
    }
    path
}

const METHODS: &[&str] = &["GET", "GET", "GET", "POST", "PUT", "HEAD", "OPTIONS"];
const ODD_METHODS: &[&str] = &["DELETE", "PATCH", "TRACE", "PROPFIND", "get", "M-SEARCH"];
const SCHEMES: &[&str] = &["http://", "http://", "http://", "https://", "HTTP://", "ftp://"];
const QUERIES: &[&str] = &["?", "?x=1", "?a=/../b&c=%zz", "?a?b", "?x#y", "#y", "?//evil.example/"];

const LOCAL: &[&str] = &[
    "localhost",
    "LocalHost",
    "localhost.",
    "127.0.0.1",
    "127.9.9.9",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "payments.localhost",
    "Orders.localhost.",
    "keys.localhost",
    "nobody.localhost",
];
const NAMED: &[&str] = &["sidekey.internal", "shop.example", "SHOP.example.", "eu.pay.example", "a.b.pay.example"];
const STRANGE: &[&str] = &[
    "evil.example",
    "pay.example",
    "xshop.example",
    "localhost.evil.example",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "0.0.0.0",
    "[::]",
    "127.1",
    "2130706433",
    "10.0.0.7",
];
const MALFORMED: &[&str] =
    &["user@localhost", "localhost:x", "localhost:99999", "a,b", "a..b", "[::1", "%6cocalhost", ".localhost"];

const FIRST: &[&str] = &["payments", "orders", "keys", "pay", "pay", "p", "m", "m", "h", "v1", "k", "paymentsX", "PAY"];
const PLAIN: &[&str] =
    &["a", "b", "raw", "a%20b", "", ";v=1", "a;x=..", "...", "a..b", "%2f", "a%5cb", "~", "v1", "%25", "%2500"];
const NASTY: &[&str] = &[
    ".",
    "..",
    "%2e",
    "%2E%2e",
    ".%2e",
    "..;x=1",
    "..%3b",
    "..%2fa",
    "a%2f..",
    "a%5c..%5cb",
    "%252e%252e",
    "%2e%2e%3fx",
    "..%23",
    "%",
    "%4",
    "%zz",
    "%00",
    "a\\b",
    "\u{1}",
];

const FIELDS: &[&str] = &[
    "Authorization: Bearer apps-own",
    "Authorization:",
    "authorization: Basic YTpi",
    "X-Api-Key: apps-own",
    "x_api_key: apps-own",
    "X-API-KEY:",
    "Cookie: a=b; c=d",
    "Accept: */*",
    "Accept:",
    "Connection: keep-alive",
    "Connection: close",
    "Connection: X-Hop, authorization",
    "X-Hop: 1",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "Proxy-Authorization: Basic eDp5",
    "TE: trailers",
    "TE: gzip",
    "Via: 1.0 edge",
    "Via: 1.1 sidekey-00000000, 1.1 b",
    "Forwarded: for=10.0.0.1",
    "X-Forwarded-For: 10.0.0.1",
    "x_forwarded_host: evil.example",
    "X-Tenant: acme",
    "X-Tenant: other",
    "X-Environment: apps-own",
    "X_Debug: 1",
    "X-Debug: 1",
    "Max-Forwards: 0",
    "Max-Forwards: 7",
    "Sec-Fetch-Mode: cors",
    "Sec-Fetch-Dest: empty",
    "User-Agent: curl/8.5.0",
    "User-Agent: like Mozilla/5.0",
    "Referer: http://evil.example/",
    "X-Original-Length: 0",
];
const BROWSERS: &[&str] = &[
    "Origin: https://app.example",
    "Origin: https://evil.example",
    "Origin: null",
    "Origin: http://localhost",
    "Sec-Fetch-Site: none",
    "Sec-Fetch-Site: none",
    "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-Site: same-site",
    "Sec-Fetch-Site: cross-site",
    "Sec-Fetch-User: ?1",
    "Sec-Fetch-User: ?1",
    "Sec-Purpose: prefetch",
    "Purpose: prefetch",
    "X-Moz: prefetch",
    "Service-Worker: script",
    "User-Agent: Mozilla/5.0 (X11)",
    "User-Agent: Mozilla/5.0 (X11)",
];
