//! Who may use the admin port: no web page but its own, and, where it is set, nobody without the token.

use http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};

use super::{AdminPage, Refusal};
use crate::bearer::bearer;
use crate::code::Code;
use crate::proxy::admit::{PageOrigin as Sender, loading_ahead, named, origin, shown};
use crate::proxy::{Error, Peer};
use crate::route::authority::RequestAuthority;
use crate::secret::Secret;
use crate::snapshot::{Access, Snapshot};

/// The page that a request may have, or why it gets none.
///
/// Whoever is not let in does not hear what there is: a page that is missing is told of last.
pub(super) fn admit<'a>(head: &'a Parts, peer: Peer, snapshot: &Snapshot) -> Result<AdminPage<'a>, Refusal> {
    let admin = snapshot.config.admin.as_ref();
    let token = admin.and_then(|admin| admin.token.as_ref()).map(|token| &token.value);
    let bears_it = token.is_some_and(|token| bears(&head.headers, token));
    match peer {
        Peer::Unix { uid } if !snapshot.access.admits_uid(uid) => return Err(Error::UnixUser { uid }.into()),
        // No browser gets to a unix socket.
        Peer::Unix { .. } => {}
        Peer::Tcp(_) => admit_sender(head, &snapshot.access, bears_it)?,
    }
    let page = AdminPage::at(&head.uri);
    if token.is_some() && !bears_it && !page.is_some_and(AdminPage::is_probe) {
        let detail = "send the token of `admin.token` as `Authorization: Bearer`";
        return Err(Refusal::new(Code::Unauthorized, detail).with(WWW_AUTHENTICATE, "Bearer"));
    }
    let hands_out = bears_it && admin.is_some_and(|admin| admin.hand_out.value);
    let page = page
        .filter(|page| hands_out || !page.hands_out())
        .ok_or_else(|| Refusal::new(Code::NotFound, "there is no such page here"))?;
    if !page.takes(&head.method) {
        return Err(Refusal::method(page));
    }
    // A page of another site can make a browser send a request, but not with a field of its own choosing.
    let needs_confirmation = head.method == Method::POST || page.hands_out();
    if needs_confirmation && head.headers.get(&CONFIRMATION).is_none_or(|value| value != "1") {
        let what = if page.hands_out() { "this page" } else { "a POST here" };
        return Err(Refusal::new(Code::Forbidden, format!("{what} needs the header `Sidekey-Admin: 1`")));
    }
    Ok(page)
}

/// The checks of the traffic ports against rebound names and strange pages; `access.origins` does not count here.
fn admit_sender(head: &Parts, access: &Access, bears_token: bool) -> Result<(), Refusal> {
    let authority = named(head)?.authority;
    // A web page can't know the token: who has it may come under any name.
    if !bears_token && access.local_name(&authority.host).is_none() {
        let (value, host) = (written(&authority), authority.host.into_owned());
        return Err(Error::Host { value, host }.into());
    }
    let fields = &head.headers;
    let sender = origin(fields, |page| is_own(page, &authority));
    if let Sender::Listed = sender.map_err(|value| foreign_page("Origin", value))? {
        return Ok(());
    }
    if let Some((name, value)) = loading_ahead(fields) {
        return Err(foreign_page(name, value));
    }
    let is_cross_site = |site: &&HeaderValue| !matches!(site.as_bytes(), b"none" | b"same-origin");
    match fields.get_all(&SEC_FETCH_SITE).iter().find(is_cross_site) {
        Some(site) if !opens_the_console(head) => Err(foreign_page("Sec-Fetch-Site", site)),
        _ => Ok(()),
    }
}

/// Whether somebody goes to the console itself, by a link from anywhere: it shows itself in no frame, and no other page
/// reads it.
fn opens_the_console(head: &Parts) -> bool {
    let says = |name: &HeaderName, what: &str| head.headers.get(name).map(|value| value == what);
    let is_top_level =
        says(&SEC_FETCH_MODE, "navigate") == Some(true) && says(&SEC_FETCH_DEST, "document") != Some(false);
    head.method == Method::GET && head.uri.path() == "/" && is_top_level
}

/// Whether this origin is the page that the request's own Host serves.
fn is_own(origin: &str, host: &RequestAuthority<'_>) -> bool {
    let page = origin.strip_prefix("http://").and_then(|page| RequestAuthority::parse(page).ok());
    page.is_some_and(|page| page == *host)
}

fn written(authority: &RequestAuthority<'_>) -> String {
    match authority.port {
        Some(port) => format!("{}:{port}", authority.host),
        None => authority.host.to_string(),
    }
}

fn foreign_page(name: &str, value: &HeaderValue) -> Refusal {
    let value = shown(value);
    Refusal::new(Code::Forbidden, format!("`{name}: {value}`: no other web page may use the admin port"))
}

/// Whether the one `Authorization` has the token.
fn bears(fields: &HeaderMap, token: &Secret) -> bool {
    let mut sent = fields.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (sent.next(), sent.next()) else { return false };
    bearer(value.as_bytes()).is_some_and(|shown| token.is(shown))
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::new(error.code(), error.detail())
    }
}

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
static SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
static CONFIRMATION: HeaderName = HeaderName::from_static("sidekey-admin");

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::config::{ConfigSource, Overrides};
    use crate::reload::{Loaded, Loader};

    const TCP: Peer = Peer::Tcp(std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 50_000));
    const OPEN: &str = "services: {}\naccess: { hosts: [ops.example], origins: ['https://app.example'] }";
    const LOCKED: &str = "services: {}\nadmin: { token: sesame }";

    fn snapshot(config: &str) -> Snapshot {
        let loader = Loader { source: ConfigSource::Text(config.to_owned()), overrides: Overrides::default() };
        let Loaded { snapshot, report, .. } = loader.load(None, &<_>::default());
        snapshot.unwrap_or_else(|| panic!("{}", report.render(crate::config::Color::Plain)))
    }

    /// Status and detail of the refusal of a request; `"200 "` if there is none.
    fn answer(config: &str, peer: Peer, method: &str, target: &str, fields: &[(&str, &str)]) -> String {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        match admit(&head, peer, &snapshot(config)) {
            Ok(_) => "200 ".to_owned(),
            Err(refusal) => format!("{} {}", refusal.code.status().as_u16(), refusal.detail),
        }
    }

    #[track_caller]
    fn check(config: &str, method: &str, target: &str, fields: &[(&str, &str)], expected: &str) {
        let seen = answer(config, TCP, method, target, fields);
        assert!(seen.starts_with(expected), "{method} {target} {fields:?}: {seen}");
    }

    #[test]
    fn a_request_comes_under_a_local_name() {
        let status = |host: &str, expected| check(OPEN, "GET", "/api/status", &[("host", host)], expected);

        status("localhost:9900", "200 ");
        status("127.0.0.1:9900", "200 ");
        status("[::1]:9900", "200 ");
        status("LOCALHOST.", "200 ");
        status("ops.example", "200 ");
        // It leads here, but no browser would say there that a page made it call.
        status("[::ffff:127.0.0.1]:9900", "403 `Host: ::ffff:127.0.0.1:9900` is no local name");
        status("evil.example:9900", "403 `Host: evil.example:9900` is no local name");
        status("localhost.evil.example", "403 ");
        status("local host", "400 ");
        check(OPEN, "GET", "/api/status", &[], "400 the request has no `Host` field");
        check(OPEN, "GET", "/api/status", &[("host", "localhost"), ("host", "localhost")], "400 ");
        check(OPEN, "GET", "http://evil.example/api/status", &[("host", "localhost")], "403 ");
        check(OPEN, "GET", "http://localhost/api/status", &[("host", "localhost")], "200 ");
    }

    #[test]
    fn no_web_page_but_its_own_may_call() {
        let host = ("host", "localhost:9900");
        let page =
            |fields: &[(&str, &str)], expected| check(OPEN, "GET", "/livez", &[&[host], fields].concat(), expected);

        page(&[("origin", "http://localhost:9900")], "200 ");
        page(&[("origin", "http://localhost:9900"), ("sec-fetch-site", "cross-site")], "200 ");
        page(&[("origin", "http://localhost:9800")], "403 `Origin: http://localhost:9800`: no other web page");
        page(&[("origin", "http://localhost")], "403 ");
        page(&[("origin", "https://localhost:9900")], "403 ");
        page(&[("origin", "https://app.example")], "403 ");
        page(&[("origin", "null")], "403 ");
        page(&[("origin", "http://localhost:9900"), ("origin", "https://evil.example")], "403 ");
        page(&[("sec-fetch-site", "same-origin")], "200 ");
        page(&[("sec-fetch-site", "none")], "200 ");
        page(&[("sec-fetch-site", "same-site")], "403 `Sec-Fetch-Site: same-site`");
        page(
            &[("sec-fetch-site", "none"), ("sec-purpose", "prefetch")],
            "403 `Sec-Purpose: prefetch`: no other web page",
        );
        page(&[("purpose", "prefetch")], "403 `Purpose: prefetch`");
        page(&[("service-worker", "script"), ("sec-fetch-site", "same-origin")], "403 `Service-Worker: script`");
    }

    #[test]
    fn a_link_from_anywhere_leads_to_the_console_and_to_nothing_else() {
        let go = |method, target, fields: &[(&str, &str)], expected| {
            let fields = [&[("host", "localhost:9900"), ("sec-fetch-site", "cross-site")], fields].concat();
            check(OPEN, method, target, &fields, expected);
        };
        let refused = "403 `Sec-Fetch-Site: cross-site`";
        let (navigate, document) = (("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"));

        // Past the guard: whether there is a page is another question.
        go("GET", "/", &[navigate], "404 ");
        go("GET", "/", &[navigate, document], "404 ");
        go("GET", "/", &[navigate, ("sec-fetch-dest", "iframe")], refused);
        go("GET", "/", &[navigate, document, ("sec-purpose", "prefetch;prerender")], "403 `Sec-Purpose: ");
        go("GET", "/", &[("sec-fetch-mode", "no-cors")], refused);
        go("GET", "/", &[], refused);
        go("POST", "/", &[navigate], refused);
        go("GET", "/api/status", &[navigate, document], refused);
    }

    #[test]
    fn the_token_is_needed_for_all_but_probes() {
        let ask = |target: &str, authorization: &str, expected| {
            let fields = [("host", "localhost"), ("authorization", authorization)];
            check(LOCKED, "GET", target, &fields, expected);
        };

        for page in ["/livez", "/healthz", "/readyz"] {
            check(LOCKED, "GET", page, &[("host", "localhost")], "200 ");
        }
        for page in ["/metrics", "/api/status", "/nothing"] {
            check(LOCKED, "GET", page, &[("host", "localhost")], "401 ");
        }
        ask("/api/status", "Bearer sesame", "200 ");
        ask("/api/status", "bearer sesame", "200 ");
        ask("/api/status", "Bearer sesam", "401 ");
        ask("/api/status", "Basic c2VzYW1l", "401 ");
        ask("/api/status", "sesame", "401 ");
        ask("/nothing", "Bearer sesame", "404 ");
    }

    #[test]
    fn who_shows_the_token_may_come_under_any_name_but_from_no_page() {
        let token = [("host", "sidekey.internal"), ("authorization", "Bearer sesame")];

        check(LOCKED, "GET", "/api/status", &token, "200 ");
        check(LOCKED, "GET", "/api/status", &[&token[..], &[("origin", "http://evil.example")]].concat(), "403 ");
        check(LOCKED, "GET", "/livez", &[("host", "sidekey.internal")], "403 ");
    }

    #[test]
    fn a_post_needs_the_header_that_no_web_page_can_send() {
        let host = ("host", "localhost");

        check(OPEN, "POST", "/api/reload", &[host], "403 a POST here needs the header `Sidekey-Admin: 1`");
        check(OPEN, "POST", "/api/reload", &[host, ("sidekey-admin", "0")], "403 ");
        check(OPEN, "POST", "/api/reload", &[host, ("sidekey-admin", "1")], "200 ");
        check(LOCKED, "POST", "/api/reload", &[host, ("sidekey-admin", "1")], "401 ");
    }

    #[test]
    fn credentials_are_handed_out_only_where_that_is_open_and_to_who_confirms_it() {
        const OPENED: &str = "services: {}\nadmin: { token: sesame, hand_out: true }";
        let page = "/api/services/payments/authorization";
        let (host, token) = (("host", "localhost"), ("authorization", "Bearer sesame"));
        let confirmed = ("sidekey-admin", "1");

        check(OPENED, "GET", page, &[host, token, confirmed], "200 ");
        check(OPENED, "GET", page, &[host, token], "403 this page needs the header `Sidekey-Admin: 1`");
        check(OPENED, "GET", page, &[host, confirmed], "401 ");
        check(OPENED, "POST", page, &[host, token, confirmed], "405 this page takes GET, HEAD");
        check(LOCKED, "GET", page, &[host, token, confirmed], "404 there is no such page here");
        check(OPEN, "GET", page, &[host, confirmed], "404 ");
    }

    #[test]
    fn a_page_takes_its_own_methods_only() {
        let host = ("host", "localhost");

        check(OPEN, "HEAD", "/metrics", &[host], "200 ");
        check(OPEN, "DELETE", "/api/status", &[host], "405 this page takes GET, HEAD");
        check(OPEN, "GET", "/api/reload", &[host], "405 this page takes POST");
        check(OPEN, "GET", "/nothing", &[host], "404 ");
    }

    #[test]
    fn on_a_unix_socket_the_user_counts_and_no_name_does() {
        let config = "services: {}\naccess: { unix_users: ['1234'] }";
        let fields = [("host", "evil.example"), ("sec-fetch-site", "cross-site")];

        assert_eq!(answer(config, Peer::Unix { uid: 1234 }, "GET", "/api/status", &fields), "200 ");
        assert!(answer(config, Peer::Unix { uid: 1235 }, "GET", "/api/status", &fields).starts_with("403 "));
    }
}
