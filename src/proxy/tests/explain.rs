//! What is explained, and what the proxy does: the same, for whatever request.

use http::{HeaderName, HeaderValue, Method};
use tokio::io::AsyncWriteExt;

use super::lab::Worker;
use crate::proxy::explain::{Outcome, World, asked};
use crate::transport::tests::lab::{Service, read_head};

/// Numbers that look drawn and are the same each time.
struct Dice(u64);

impl Dice {
    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let place = usize::try_from(self.0 >> 20).unwrap() % of.len();
        &of[place]
    }
}

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "HEAD"];

const TARGETS: [&str; 24] = [
    "/",
    "/a",
    "/a/x?y=1",
    "/ax",
    "/b/v1/read/x",
    "/b/v1/write",
    "/reads/1",
    "/c/x",
    "/d/x",
    "/d",
    "/pay",
    "/pay/x",
    "/a/%2e%2e/x",
    "/a/..;/x",
    "/a//x",
    "//a",
    "/a/%00",
    "/nobody",
    "http://localhost/a/x",
    "http://SERVICE/v1/x",
    "http://SERVICE/x",
    "http://elsewhere.example/x",
    "https://SERVICE/v1/x",
    "http://b.localhost/v1/read",
];

const HOSTS: [&str; 8] = [
    "localhost",
    "a.localhost",
    "b.localhost:80",
    "shop.internal",
    "x.shop.internal",
    "rebound.example",
    "SERVICE",
    "",
];

const FIELDS: [(&str, &str); 14] = [
    ("origin", "http://page.example"),
    ("origin", "http://listed.example"),
    ("sec-fetch-site", "cross-site"),
    ("user-agent", "Mozilla/5.0"),
    ("authorization", "Bearer app's"),
    ("authorization", ""),
    ("connection", "authorization"),
    ("x-who", "alice"),
    ("x-who", "nobody"),
    ("x-tenant", "acme"),
    ("x-tenant", "other"),
    ("x_tenant", "acme"),
    ("max-forwards", "0"),
    ("cookie", "a=1"),
];

fn config(address: &str) -> String {
    format!(
        "access: {{ hosts: [shop.internal], origins: ['http://listed.example'] }}\n\
         services:\n  \
           a: {{ url: 'http://{address}/v1' }}\n  \
           b: {{ url: 'http://{address}', allow: {{ methods: [GET], paths: [/v1/read/**] }} }}\n  \
           c: {{ url: 'http://{address}/c', auth: {{ type: bearer, token: secret-of-c }}, on_client_authorization: reject }}\n  \
           d: {{ url: 'http://{address}/d', auth: {{ type: bearer, token: secret-of-d }}, on_client_authorization: keep }}\n  \
           e: {{ url: 'http://{address}/e', auth: {{ type: basic, username: u, password: password-of-u }}, \
                identities: {{ pick: header, header: x-who, sets: [{{ name: alice, username: alice }}] }} }}\n\
         routes:\n  \
           - {{ path: /pay, service: e }}\n  \
           - {{ path: /pay, headers: {{ x-tenant: acme }}, service: a }}\n  \
           - {{ path: /reads, methods: [GET, HEAD], service: b }}\n  \
           - {{ host: '*.shop.internal', service: d }}\n"
    )
}

/// Answers each request, and says in its head what it was asked.
async fn telling() -> Service {
    Service::raw(|mut tcp, _| async move {
        while let Some(path) = read_head(&mut tcp).await.split(' ').nth(1).map(str::to_owned) {
            let answer = format!("HTTP/1.1 204 No Content\r\nx-asked: {path}\r\n\r\n");
            tcp.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await
}

/// What the proxy did, in the words of [`explained`].
fn done(answer: &str, address: &str) -> String {
    let line = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if let Some(asked) = line("x-asked:") {
        return format!("sent http://{address}{asked}");
    }
    let status = answer.split(' ').nth(1).unwrap_or_default();
    match line("proxy-status:") {
        Some(_) => format!("refused {status} {}", answer.split("\r\n\r\n").nth(1).map(detail).unwrap_or_default()),
        None => format!("answered {status}"),
    }
}

fn detail(body: &str) -> String {
    serde_json::from_str::<serde_json::Value>(body)
        .map_or(String::new(), |body| body["detail"].as_str().unwrap().to_owned())
}

fn explained(worker: &Worker, method: &str, target: &str, fields: &[(&str, String)]) -> Option<String> {
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = Method::from_bytes(method.as_bytes()).unwrap();
    head.uri = asked(target)?;
    for (name, value) in fields {
        head.headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    let snapshot = worker.published.current().load_full();
    let world = World { config: &snapshot.config, routes: &snapshot.routes, access: &snapshot.access };
    Some(match world.explain(&head).outcome {
        Outcome::Sent { url } => format!("sent {url}"),
        Outcome::Answered => "answered 204".to_owned(),
        Outcome::Tunnel { .. } => "answered 200".to_owned(),
        // What a `HEAD` is told has no body.
        Outcome::Refused(error) => {
            let detail = if method == "HEAD" { String::new() } else { error.detail() };
            format!("refused {} {detail}", error.code().status().as_u16())
        }
    })
}

#[tokio::test(flavor = "local")]
async fn what_is_explained_is_what_the_proxy_does() {
    let service = telling().await;
    let address = service.address.to_string();
    let worker = Worker::start(&config(&address));
    let mut dice = Dice(0x5eed_1234_5678_9abc);
    let mut kinds = std::collections::BTreeMap::<String, usize>::new();

    for _ in 0..3_000 {
        let (method, target) = (*dice.pick(&METHODS), dice.pick(&TARGETS).replace("SERVICE", &address));
        let host = dice.pick(&HOSTS).replace("SERVICE", &address);
        let mut fields = vec![("host", host), ("connection", "close".to_owned())];
        for _ in 0..*dice.pick(&[0, 0, 1, 1, 2, 3]) {
            let (name, value) = *dice.pick(&FIELDS);
            fields.push((name, value.to_owned()));
        }
        let Some(explained) = explained(&worker, method, &target, &fields) else { continue };
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let sent = format!("{method} {target} HTTP/1.1\r\n{lines}\r\n");

        let mut app = worker.app(&sent).await;
        let done = done(&app.answer().await, &address);

        assert_eq!(explained, done, "{sent}");
        *kinds.entry(done.split(' ').take(2).filter(|word| !word.contains(':')).collect()).or_default() += 1;
    }

    for kind in ["sent", "answered204", "refused400", "refused403", "refused404", "refused405"] {
        assert!(kinds.get(kind).is_some_and(|count| *count >= 5), "{kind}: {kinds:?}");
    }
}
