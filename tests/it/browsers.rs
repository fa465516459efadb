//! No web page is an app: real browsers are set on the program, and the service sees nothing of what their pages try.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use crate::lab::browser::{Browser, Make};
use crate::lab::fault::{Fault, Received, Reply};
use crate::lab::sidekey::Sidekey;
use crate::lab::{Lab, free_port, until};

#[tokio::test(flavor = "multi_thread")]
async fn no_page_of_another_name_gets_to_a_service_by_any_way_that_chromium_has() {
    attack(Make::Chromium, "page.example", 90).await;
}

/// To a browser it is the same site, and trustworthy.
#[tokio::test(flavor = "multi_thread")]
async fn no_page_of_another_port_gets_to_a_service_by_any_way_that_chromium_has() {
    attack(Make::Chromium, "localhost", 90).await;
}

/// `./test field` has this browser.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Firefox"]
async fn no_page_of_another_name_gets_to_a_service_by_any_way_that_firefox_has() {
    attack(Make::Firefox, "page.example", 90).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Firefox"]
async fn no_page_of_another_port_gets_to_a_service_by_any_way_that_firefox_has() {
    attack(Make::Firefox, "localhost", 90).await;
}

/// Opens a page under this name, which tries `least` ways or more at every spelling of this machine.
async fn attack(make: Make, origin: &str, least: usize) {
    let lab = Lab::start().await;
    let port = free_port();
    let service = Fault::plain(|_| tempting("html")).await;
    let sidekey = lab.sidekey(&config(port, &service)).await;
    let page = Page::serve(port).await;
    let (url, proxy) = (format!("http://{origin}:{}/", page.server.port), format!("127.0.0.1:{port}"));

    let _browser = Browser::open(make, &lab.path("browser"), &url, &NAMES, Some(("proxied.example", &proxy)));
    let done = page.until_done().await;

    let seen = page.seen.lock().unwrap().len();
    eprintln!("{make:?}, {origin}: {seen} ways; not of this browser: {done}");
    assert!(seen >= least, "only {seen} ways came to the control; missing: {done}");
    assert_eq!(service.count(), 0, "{:#?}", service.received());
    // They did come here, and were told.
    let refused = sidekey.metric("sidekey_errors_total{service=\"\",error=\"forbidden\"}").await;
    assert!(refused > (least * SPELLINGS.len()) as f64, "{refused}");
    apps_are_welcome(&lab, &sidekey, port, &service).await;
}

/// After all that, under the same names.
async fn apps_are_welcome(lab: &Lab, _sidekey: &Sidekey, port: u16, service: &Fault) {
    for host in ["127.0.0.1", "localhost", "[::1]", "payments.localhost"] {
        let as_tool = format!("-A Mozilla/5.0 http://{host}:{port}/payments/tool");
        lab.curl(&as_tool);
    }
    lab.curl(&format!("-H Host:shop.example http://127.0.0.1:{port}/payments/x"));
    assert_eq!(service.count(), 5);
}

#[tokio::test]
async fn a_person_who_is_let_in_looks_at_a_service_by_host_and_its_page_at_no_other() {
    let lab = Lab::start().await;
    let port = free_port();
    let others = format!("http://localhost:{port}/orders/stolen");
    let page = format!(
        "<title>console</title><img src=/image.png><script>
           fetch('/own').then(() => fetch('{others}').catch(() => fetch('/{others}', {{ mode: 'no-cors' }})))
             .then(() => fetch('http://orders.localhost:{port}/stolen', {{ mode: 'no-cors' }}))
             .then(() => fetch('/done'))</script>"
    );
    let payments = Fault::plain(move |request| match request.target() {
        "/" => Reply::new(200, &[("Content-Type", "text/html")], &page),
        _ => Reply::ok("mine"),
    })
    .await;
    let orders = Fault::plain(|_| tempting("html")).await;
    let config = format!(
        "listen: localhost:{port}
services: {{ payments: {{ url: '{}' }}, orders: {{ url: '{}' }} }}
access: {{ browsers: true }}",
        payments.url(),
        orders.url()
    );
    let _sidekey = lab.sidekey(&config).await;

    let _browser =
        Browser::open(Make::Chromium, &lab.path("browser"), &format!("http://payments.localhost:{port}/"), &[], None);

    let came = |target: &str| payments.received().iter().any(|request| request.target() == target);
    until("the page's last request", async || came("/done").then_some(())).await;
    assert!(came("/own") && came("/"), "{:#?}", payments.received());
    until("the image", async || came("/image.png").then_some(())).await;
    assert_eq!(orders.count(), 0, "{:#?}", orders.received());
}

/// A web page of another name, and its server; what its ways lead to, where nobody stands in the way, as well.
struct Page {
    server: Fault,
    seen: Arc<Mutex<BTreeSet<String>>>,
}

impl Page {
    /// A page that tries to get to the proxy at `port`.
    async fn serve(port: u16) -> Self {
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let known = Arc::clone(&seen);
        let server = Fault::plain(move |request| answer(request, port, &known)).await;
        Self { server, seen }
    }

    /// Waits until it has tried everything; the ways that came to nothing.
    async fn until_done(&self) -> String {
        let mut looks = 0;
        loop {
            let done = self.server.received().into_iter().find(|request| request.target().starts_with("/done?"));
            if let Some(done) = done {
                return done.target().to_owned();
            }
            // Longer than `until` waits: a browser takes its time.
            assert!(looks < 2_400, "the page never ended: {:?}", self.seen.lock().unwrap());
            looks += 1;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }
}

fn answer(request: &Received, port: u16, seen: &Mutex<BTreeSet<String>>) -> Reply {
    let own = request.field("host").unwrap_or_default();
    let page = own.rsplit_once(':').map_or("", |(_, port)| port);
    let (path, query) = request.target().split_once('?').unwrap_or((request.target(), ""));
    if let Some(name) = path.strip_prefix("/control/") {
        let (way, extension) = name.split_once('.').unwrap_or((name, "html"));
        seen.lock().unwrap().insert(way.to_owned());
        return tempting(extension);
    }
    match path {
        "/" => {
            let at = |spelling: &&str| format!("http://{spelling}:{port}/payments");
            let targets = SPELLINGS.iter().map(at).chain(["http://proxied.example/payments".to_owned()]);
            let host = own.split(':').next().unwrap_or_default();
            // What a browser does only to its own site can be seen at a page's own server alone.
            let control = if host == "localhost" { host } else { "127.0.0.1" };
            let plan = serde_json::json!({
                "targets": targets.collect::<Vec<_>>(), "aliases": ALIASES.iter().map(at).collect::<Vec<_>>(),
                "control": format!("http://{control}:{page}/control"),
            });
            let page = format!(
                "<!doctype html><meta charset=utf-8><title>A page</title><body><script type='application/json' \
                 id=plan>{plan}</script><script src=/ways.js></script>"
            );
            Reply::new(200, &[("Content-Type", "text/html")], &page)
        }
        "/ways.js" => Reply::new(200, &[("Content-Type", "text/javascript")], include_str!("../browser/ways.js")),
        "/seen" => Reply::json(&serde_json::json!(*seen.lock().unwrap())),
        "/say" => say(query),
        _ => Reply::ok(""),
    }
}

/// What the page wants to be told.
fn say(query: &str) -> Reply {
    let told: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let one = |name: &str| told.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let mut fields: Vec<_> = told.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    fields.retain(|(name, _)| !["status", "body"].contains(name));
    if one("Content-Type").is_none() {
        fields.push(("Content-Type", "text/html"));
    }
    Reply::new(one("status").map_or(200, |status| status.parse().unwrap()), &fields, one("body").unwrap_or_default())
}

/// An answer that lets every page read it and do with it what it likes.
fn tempting(extension: &str) -> Reply {
    let kind = match extension {
        "js" => "text/javascript",
        "css" => "text/css",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "json" => "application/json",
        "es" => "text/event-stream",
        "mp4" => "video/mp4",
        "vtt" => "text/vtt",
        "woff2" => "font/woff2",
        _ => "text/html",
    };
    let fields = [
        ("Content-Type", kind),
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Methods", "*"),
        ("Access-Control-Allow-Headers", "*"),
        ("Supports-Loading-Mode", "credentialed-prerender"),
    ];
    Reply::new(200, &fields, "")
}

fn config(port: u16, service: &Fault) -> String {
    format!(
        "
listen: localhost:{port}
services: {{ payments: {{ url: '{}', auth: {{ type: bearer, token: what-no-page-may-use }} }} }}
routes:
  - {{ host: shop.example, service: payments }}
  - {{ host: proxied.example, service: payments }}
  - {{ host: '*.pay.example', service: payments }}
access: {{ hosts: [sidekey.internal] }}
",
        service.url()
    )
}

/// Names that lead to this machine.
const SPELLINGS: [&str; 13] = [
    "127.0.0.1",
    "localhost",
    "localhost.",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "0.0.0.0",
    "a.localhost",
    "payments.localhost",
    "payments.localhost.",
    "rebound.example",
    "sidekey.internal",
    "shop.example",
    "eu.pay.example",
];

/// Other spellings of some of them.
const ALIASES: [&str; 8] =
    ["127.1", "2130706433", "0x7f.1", "0177.0.0.1", "0", "[0:0:0:0:0:0:0:1]", "[::ffff:7f00:1]", "LOCALHOST"];

/// Those of them that somebody else's name server would have to say.
const NAMES: [&str; 6] =
    ["page.example", "rebound.example", "sidekey.internal", "shop.example", "eu.pay.example", "proxied.example"];
