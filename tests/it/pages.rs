//! What browsers send is refused on traffic ports unless it is named: by each field that says so, under every kind of name.

use crate::lab::Lab;
use crate::lab::client::{Answer, Request};
use crate::lab::fault::{Fault, Reply};
use crate::lab::sidekey::Sidekey;

/// Two services that answer anything, and routes with hosts of their own.
struct Pages {
    _lab: Lab,
    payments: Fault,
    orders: Fault,
    sidekey: Sidekey,
}

impl Pages {
    async fn with(access: &str) -> Self {
        let lab = Lab::start().await;
        let answer = |_: &_| {
            let fields = [("Service-Worker-Allowed", "/"), ("Clear-Site-Data", "\"*\""), ("X-Own", "kept")];
            Reply::new(200, &fields, "welcome")
        };
        let [payments, orders] = [Fault::plain(answer).await, Fault::plain(answer).await];
        let config = format!(
            "
services:
  payments: {{ url: '{}', auth: {{ type: bearer, token: services-own }} }}
  orders: {{ url: '{}' }}
routes:
  - {{ host: shop.example, service: orders }}
  - {{ host: '*.pay.example', service: payments }}
access: {access}
",
            payments.url(),
            orders.url()
        );
        let sidekey = lab.sidekey(&config).await;
        Self { _lab: lab, payments, orders, sidekey }
    }

    async fn ask(&self, host: &str, target: &str, fields: &[(&str, &str)]) -> Answer {
        let request =
            fields.iter().fold(Request::get(target).host(host), |request, (name, value)| request.field(name, value));
        self.sidekey.send(request).await
    }

    /// That this is refused, and by no service seen; the detail.
    #[track_caller]
    fn refused(&self, answer: &Answer, what: &str) -> String {
        assert_eq!(answer.status, 403, "{what}: {answer:?}");
        assert_eq!(self.payments.count() + self.orders.count(), 0, "{what} came to a service");
        answer.problem("forbidden")
    }
}

/// As Chromium calls itself.
const BROWSER: (&str, &str) = ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0.0.0");

#[tokio::test]
async fn a_mapped_address_is_no_local_name() {
    let pages = Pages::with("{}").await;

    for host in
        ["[::ffff:127.0.0.1]:9800", "[::ffff:7f00:1]:9800", "[0:0:0:0:0:ffff:127.0.0.1]", "0.0.0.0:9800", "[::]:9800"]
    {
        // No browser trusts it, so it says nothing of the page that made it ask.
        let answer = pages.ask(host, "/payments/x", &[]).await;

        assert!(pages.refused(&answer, host).contains("is no local name"), "{answer:?}");
    }
    assert_eq!(pages.ask("[::1]:9800", "/payments/x", &[]).await.status_of_service(), 200);
}

#[tokio::test]
async fn none_is_no_word_of_honour() {
    let pages = Pages::with("{}").await;

    for fields in [
        // Typed, or what is left of a page's wish after a redirect.
        &[("Sec-Fetch-Site", "none")][..],
        &[("Sec-Fetch-Site", "none"), ("Sec-Fetch-User", "?1"), ("Sec-Fetch-Mode", "navigate")],
        &[("Sec-Fetch-Site", "same-origin")],
        &[("Sec-Fetch-Site", "none"), ("Sec-Purpose", "prefetch;prerender")],
        &[("Sec-Purpose", "prefetch")],
        &[("Purpose", "prefetch")],
        &[("X-Moz", "prefetch")],
        &[("Service-Worker", "script")],
    ] {
        for host in ["localhost:9800", "payments.localhost:9800", "127.0.0.1:9800"] {
            let answer = pages.ask(host, "/payments/x", fields).await;

            let detail = pages.refused(&answer, fields[0].0);
            // The first that is looked at is named, with its value.
            assert!(fields.iter().any(|(name, value)| detail.starts_with(&format!("`{name}: {value}`"))), "{detail}");
            assert!(detail.contains("`access: {origins: [\"*\"]}`") && detail.contains("gateway"), "{detail}");
        }
    }
}

#[tokio::test]
async fn under_a_name_that_browsers_do_not_trust_their_name_gives_them_away() {
    let pages = Pages::with("{ hosts: [sidekey.internal] }").await;

    for host in ["sidekey.internal:9800", "shop.example:9800", "eu.pay.example"] {
        let answer = pages.ask(host, "/payments/x", &[BROWSER]).await;
        assert!(pages.refused(&answer, host).starts_with("`User-Agent: Mozilla/5.0"), "{answer:?}");
    }
    let by_proxy = pages.ask("x", "http://shop.example/x", &[BROWSER]).await;
    pages.refused(&by_proxy, "a whole URL");

    // Load tools say it too, and come under local names; others say something else.
    for host in ["localhost:9800", "payments.localhost:9800", "127.0.0.1:9800", "[::1]:9800"] {
        assert_eq!(pages.ask(host, "/payments/x", &[BROWSER]).await.status_of_service(), 200, "{host}");
    }
    assert_eq!(pages.ask("shop.example", "/x", &[("User-Agent", "curl/8.5.0")]).await.status_of_service(), 200);
}

#[tokio::test]
async fn what_node_says_of_itself_is_welcome() {
    let pages = Pages::with("{}").await;
    let node = [("Sec-Fetch-Mode", "cors"), ("User-Agent", "node"), ("Accept", "*/*"), ("Accept-Language", "*")];

    assert_eq!(pages.ask("localhost:9800", "/payments/x", &node).await.status_of_service(), 200);
}

#[tokio::test]
async fn no_hint_names_a_page_of_our_own() {
    let pages = Pages::with("{}").await;

    for own in ["http://localhost:9800", "http://127.0.0.1:9800", "http://[::1]:9800", "http://orders.localhost:9800"] {
        let detail = pages.refused(&pages.ask("localhost:9800", "/payments/x", &[("Origin", own)]).await, own);
        assert!(detail.starts_with(&format!("`Origin: {own}`")), "{detail}");
        assert!(!detail.contains(&format!("[\"{own}\"]")), "{detail}");
    }
    let other = pages.ask("localhost:9800", "/payments/x", &[("Origin", "http://localhost:3000")]).await;
    let detail = pages.refused(&other, "a development server");
    assert!(detail.contains("`access: {origins: [\"http://localhost:3000\"]}`"), "{detail}");
}

#[tokio::test]
async fn people_may_look_by_host_where_browsers_are_let_in() {
    let pages = Pages::with("{ browsers: true }").await;
    let typed = [("Sec-Fetch-Site", "none"), ("Sec-Fetch-User", "?1"), ("Sec-Fetch-Mode", "navigate"), BROWSER];
    let of_its_page = [("Sec-Fetch-Site", "same-origin"), BROWSER];

    for host in ["localhost:9800", "127.0.0.1:9800", "[::1]:9800", "nobody.localhost:9800"] {
        for fields in [&typed[..], &of_its_page] {
            let detail = pages.refused(&pages.ask(host, "/payments/x", fields).await, host);
            let url = match host.rsplit_once(':') {
                Some((_, port)) => format!("`http://payments.localhost:{port}/…`"),
                None => unreachable!(),
            };
            assert!(detail.contains(&url), "{detail}");
        }
    }
    for fields in [
        &[("Sec-Fetch-Site", "none")][..],
        &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-User", "?1")],
        &[("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-User", "?1")],
        &[("Sec-Fetch-Site", "none"), ("Sec-Fetch-User", "?1"), ("Sec-Purpose", "prefetch")],
        &[("Sec-Fetch-Site", "same-origin"), ("Service-Worker", "script")],
        &[("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-origin"), ("Origin", "http://payments.localhost:9800")],
    ] {
        pages.refused(&pages.ask("payments.localhost:9800", "/x", fields).await, fields[0].1);
    }

    for fields in [&typed[..], &of_its_page] {
        let answer = pages.ask("payments.localhost:9800", "/x", fields).await;
        assert_eq!(answer.status_of_service(), 200);
        assert_eq!(answer.fields("clear-site-data"), ["\"*\""], "the name is its own");
        // With TLS in front a browser trusts this name as well.
        assert_eq!(pages.ask("shop.example", "/x", fields).await.status_of_service(), 200);
    }
    pages_of_suffixes_are_shared(&pages).await;
}

async fn pages_of_suffixes_are_shared(pages: &Pages) {
    let answer = pages.ask("eu.pay.example", "/x", &[("Sec-Fetch-Site", "same-origin")]).await;

    answer.problem("forbidden");
}

#[tokio::test]
async fn no_service_takes_or_clears_a_shared_origin_where_browsers_are_let_in() {
    for (access, kept) in [("{ browsers: true }", false), ("{}", true)] {
        let pages = Pages::with(access).await;
        let seen = async |host: &str, target: &str| {
            let answer = pages.ask(host, target, &[]).await;
            assert_eq!(answer.field("x-own").as_deref(), Some("kept"));
            let both = ["service-worker-allowed", "clear-site-data"].map(|name| !answer.fields(name).is_empty());
            assert_eq!(both[0], both[1]);
            both[0]
        };

        assert_eq!(seen("localhost", "/payments/x").await, kept);
        assert_eq!(seen("127.0.0.1", "/payments/x").await, kept);
        assert_eq!(seen("a.pay.example", "/x").await, kept);
        assert!(seen("payments.localhost", "/x").await);
        assert!(seen("shop.example", "/x").await);
        assert!(seen("x", &format!("{}/x", pages.payments.url())).await);
    }
}

#[tokio::test]
async fn a_token_makes_no_app_of_a_browser() {
    let pages = Pages::with("{ token: sesame-sesame-sesame }").await;
    let token = ("Authorization", "Bearer sesame-sesame-sesame");

    let answer = pages.ask("localhost", "/payments/x", &[token, ("Sec-Fetch-Site", "none")]).await;
    pages.refused(&answer, "a token");
    let answer = pages.ask("sidekey", "/payments/x", &[token, BROWSER]).await;
    pages.refused(&answer, "a token under a name that is no local one");
    assert_eq!(pages.ask("sidekey", "/payments/x", &[token]).await.status_of_service(), 200);
}

#[tokio::test]
async fn all_of_it_can_be_turned_off_for_an_app_that_passes_on_what_browsers_sent() {
    let pages = Pages::with("{ origins: ['*'], hosts: [sidekey.internal] }").await;

    for fields in [
        &[("Origin", "http://any.example"), ("Sec-Fetch-Site", "cross-site")][..],
        &[("Sec-Fetch-Site", "none"), ("Sec-Purpose", "prefetch")],
        &[("Service-Worker", "script")],
        &[BROWSER],
    ] {
        assert_eq!(pages.ask("sidekey.internal", "/payments/x", fields).await.status_of_service(), 200);
    }
}

#[tokio::test]
async fn an_authority_that_two_services_share_is_no_name_to_look_at_them_under() {
    let lab = Lab::start().await;
    let service = Fault::plain(|_| Reply::ok("welcome")).await;
    let config = format!(
        "services: {{ one: {{ url: {0}/v1 }}, two: {{ url: {0}/v2 }} }}\naccess: {{ browsers: true }}",
        service.url()
    );
    let sidekey = lab.sidekey(&config).await;

    for site in ["Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none\r\nSec-Fetch-User: ?1"] {
        let look = format!("GET {}/v2/x HTTP/1.1\r\nHost: localhost\r\n{site}\r\n\r\n", service.url());
        sidekey.raw(look).await.answer().await.problem("forbidden");
    }
    assert_eq!(service.count(), 0);
}
