//! The same requests over HTTP/1.1 and over HTTP/2: they get the same answer, and the service gets the same request. What is
//! promised of access, routes, fields and framing is so promised of both.

use http::{HeaderMap, HeaderName, HeaderValue, Request};

use crate::lab::Lab;
use crate::lab::client::{Connection, Request as Http1Request};
use crate::lab::fault::{Fault, Received, Reply};
use crate::lab::http2_app::Http2App;
use crate::lab::sidekey::Sidekey;
use crate::model::generator::{Sent, any};

#[tokio::test]
async fn a_request_is_the_same_in_both_dialects() {
    check("{ hosts: [sidekey.internal], origins: ['https://app.example'] }", 0).await;
}

#[tokio::test]
async fn so_it_is_where_people_are_let_in_and_where_a_token_is_wanted() {
    check("{ hosts: [sidekey.internal], browsers: true }", 1 << 40).await;
    check("{ hosts: [sidekey.internal], token: y }", 1 << 41).await;
}

async fn check(access: &str, first: u64) {
    let lab = Lab::start().await;
    let services = [service().await, service().await, service().await];
    let ports = [services[0].port, services[1].port, services[2].port];
    let sidekey = lab.sidekey(&config(ports, access)).await;
    let mut app = Http2App::open(&sidekey.address).await;
    let mut tally = [0; 3];

    for seed in first..first + REQUESTS {
        let Some((one, two)) = twins(&any(seed, ports)) else {
            tally[0] += 1;
            continue;
        };
        let over_one = over_http1(&sidekey, &one, &services).await;
        let over_two = over_http2(&mut app, &two, &services).await;
        tally[if over_one.arrived.is_some() { 2 } else { 1 }] += 1;

        assert_eq!(over_one, over_two, "seed {seed} {access}: {}", one.shown());
    }

    // All kinds are looked at: those that only one dialect can write, refused ones, and such as arrive.
    assert!(tally.iter().all(|kind| *kind > 0), "{tally:?}");
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    status: u16,
    /// Our own word for it.
    body: String,
    arrived: Option<Arrival>,
}

#[derive(Debug, PartialEq, Eq)]
struct Arrival {
    service: usize,
    line: String,
    fields: Vec<String>,
    body: Vec<u8>,
}

async fn over_http1(sidekey: &Sidekey, sent: &Sent, services: &[Fault; 3]) -> Outcome {
    let before = counts(services);
    let mut connection: Connection = sidekey.connect().await;
    connection.expects(&sent.method);
    connection.write(sent.bytes()).await;
    let answer = connection.answer().await;
    Outcome { status: answer.status, body: answer.text(), arrived: arrived(services, before, "1.1") }
}

async fn over_http2(app: &mut Http2App, sent: &Request<Vec<u8>>, services: &[Fault; 3]) -> Outcome {
    let before = counts(services);
    let (head, body) = sent.clone().into_parts();
    let answer = app.send(Request::from_parts(head, ()), &body).await.unwrap();
    Outcome { status: answer.status, body: answer.text(), arrived: arrived(services, before, "2") }
}

/// The request without what its dialect must not say, in both dialects; `None`: one of them can't write it.
fn twins(sent: &Sent) -> Option<(Sent, Request<Vec<u8>>)> {
    let [host] = sent.values("host")[..] else { return None };
    // In HTTP/2 there is no other form than the one; and nobody may write what comes after a `#`.
    let can_be_both = sent.version == "HTTP/1.1" && sent.target.starts_with('/') && !sent.target.contains('#');
    let uri = can_be_both.then(|| format!("http://{host}{}", sent.target).parse().ok())??;
    let fields: Vec<_> = sent
        .fields
        .iter()
        .filter(|(name, value)| !OF_CONNECTIONS.contains(&&*name.to_ascii_lowercase()) && value != "gzip")
        .cloned()
        .collect();
    let mut request = Request::new(sent.body.clone().unwrap_or_default());
    (*request.method_mut(), *request.uri_mut()) = (sent.method.parse().ok()?, uri);
    // h2's own client would leave out the rest of such an authority.
    if request.uri().authority()?.as_str() != host {
        return None;
    }
    let named = fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host"));
    *request.headers_mut() = named
        .map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        })
        .collect::<HeaderMap>();
    let one = Sent { fields, ..copy(sent) };
    Some((one, request))
}

fn copy(Sent { method, target, version, fields, body }: &Sent) -> Sent {
    Sent { method: method.clone(), target: target.clone(), version, fields: fields.clone(), body: body.clone() }
}

fn counts(services: &[Fault; 3]) -> [usize; 3] {
    [services[0].count(), services[1].count(), services[2].count()]
}

fn arrived(services: &[Fault; 3], before: [usize; 3], dialect: &str) -> Option<Arrival> {
    let mut new = services.iter().zip(before).enumerate().flat_map(|(number, (service, before))| {
        service.received().into_iter().skip(before).map(move |received| (number, received))
    });
    let (service, Received { head, body, whole, .. }) = new.next()?;
    assert!(new.next().is_none() && whole, "{head}");
    let mut lines = head.trim_end().split("\r\n").map(str::to_owned);
    let line = lines.next().unwrap();
    // The one field in which the dialect is told.
    let told = format!("via: {dialect} sidekey-");
    let is_ours = |field: &str| field.starts_with(&told) && !field.contains(',');
    let mut fields: Vec<_> = lines
        .map(|field| field.trim_end().to_ascii_lowercase())
        .map(|field| if is_ours(&field) { field.replace(&told, "ours: ") } else { field })
        .collect();
    fields.sort();
    Some(Arrival { service, line, fields, body })
}

async fn service() -> Fault {
    Fault::reading_idp(|_| Reply::ok("ok")).await
}

fn config([payments, orders, keys]: [u16; 3], access: &str) -> String {
    format!(
        "
services:
  payments: {{ url: 'http://127.0.0.1:{payments}/v1', auth: {{ type: bearer, token: services-own }} }}
  orders: {{ url: 'http://127.0.0.1:{orders}', allow: {{ methods: [GET, HEAD, POST, OPTIONS], paths: [/**] }} }}
  keys:
    url: 'http://127.0.0.1:{keys}/k/'
    auth: {{ type: api_key, key: services-key, header: X-Api-Key }}
    headers: {{ set: {{ X-Environment: test }}, remove: [X-Debug] }}
routes:
  - {{ path: /pay, service: payments }}
  - {{ host: shop.example, service: orders }}
  - {{ host: '*.pay.example', path: /p, service: payments }}
  - {{ path: /m, methods: [POST], service: keys }}
  - {{ path: /m, service: orders }}
access: {access}
"
    )
}

// With a thread for what the service does while curl is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_speaks_both_dialects_too() {
    let lab = Lab::start().await;
    let service = service().await;
    let config =
        format!("listen: [$LISTEN, 'unix:$FOLDER/app.sock']\nservices: {{ s: {{ url: '{}' }} }}", service.url());
    let sidekey = lab.sidekey(&config).await;
    let mut connection = Connection::unix(&lab.path("app.sock")).await;
    assert_eq!(connection.send(Http1Request::get("/s/x").host("localhost")).await.status, 200);

    let seen = lab.curl("--http2-prior-knowledge --unix-socket $FOLDER/app.sock http://localhost/s/y");

    assert_eq!(seen, "ok");
    assert_eq!(service.received()[1].target(), "/y");
    drop(sidekey);
}

/// RFC 9113 §8.2.2 forbids them, or they are no header of HTTP/2.
const OF_CONNECTIONS: [&str; 5] = ["connection", "keep-alive", "proxy-connection", "x-hop", "upgrade"];
const REQUESTS: u64 = 600;
