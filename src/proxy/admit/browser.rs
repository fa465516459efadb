//! Browsers: they are no apps of ours, but for the pages that are named and the people who are let in to look.
//!
//! A page may make its browser send a request to any name, and read what comes back from its own. So a request is
//! judged by what only browsers send, and that is not always the same: under the names of this machine they say in
//! `Sec-Fetch-Site` and its kin that a page is behind it, but not under others without TLS, where nothing but their own
//! name gives them away. `none` says little: what is loaded ahead on a page's behalf has it too, and a redirect keeps it.

use http::header::{HeaderMap, HeaderName, HeaderValue, ORIGIN, USER_AGENT};
use http::request;

use super::{AccessCheck, Named};
use crate::proxy::Error;
use crate::proxy::fields::Present;
use crate::route::TargetForm;
use crate::route::authority::RequestAuthority;
use crate::snapshot::LocalName;

/// Whether a browser may have sent this, so that it has to be looked at more closely.
pub(super) fn may_have_sent(head: &request::Parts, present: Present, name: Option<LocalName>) -> bool {
    // Load tools call themselves like a browser too. Under a name of this machine they are believed: a real one would
    // say more there.
    present.is_of_browser() || (name != Some(LocalName::OfThisMachine) && called_like_one(&head.headers).is_some())
}

impl AccessCheck<'_> {
    /// Lets a browser's request in, or says why not.
    ///
    /// # Errors
    /// With the field that gave the browser away, and what to do about it.
    pub(super) fn admit_browser(&self, head: &request::Parts, named: &Named<'_>) -> Result<(), Error> {
        if self.access.any_origin() {
            return Ok(());
        }
        let fields = &head.headers;
        let page = origin(fields, |origin| self.access.allows_origin(origin));
        match page.map_err(|value| self.strange_page(value, head, named))? {
            PageOrigin::Listed => return Ok(()),
            PageOrigin::Unnamed => {}
        }
        let refused = |name, value| Err(self.refusal(name, value, head, named));
        if let Some((name, value)) = loading_ahead(fields) {
            return refused(name, value);
        }
        let Some(value) = fields.get(&SEC_FETCH_SITE) else {
            return called_like_one(fields).map_or(Ok(()), |value| refused("User-Agent", value));
        };
        let may_look = self.access.lets_people_look() && !self.is_shared(named);
        if may_look && is_a_look(fields) { Ok(()) } else { refused("Sec-Fetch-Site", value) }
    }

    /// Whether this name leads to several services: to a browser they are one origin, so that a page of one reads all
    /// others, with their credentials.
    pub(super) fn is_shared(&self, named: &Named<'_>) -> bool {
        let RequestAuthority { host, port } = &named.authority;
        // In a whole URL the authority of one service leads nowhere else, whatever other routes its host has.
        let is_own = named.form == TargetForm::Absolute && self.routes.has_one_service(host, *port);
        let is_alone = match self.own {
            None => self.routes.has_alone(host, named.local),
            Some(service) => self.routes.has_alone_at_own_port(host, named.local, service),
        };
        !is_own && !is_alone
    }

    fn strange_page(&self, origin: &HeaderValue, head: &request::Parts, named: &Named<'_>) -> Error {
        let value = shown(origin);
        let advice = match &*value {
            // RFC 6454 §6.2: it has no name to write there.
            "null" => "a page without a name of its own is let by `access: {origins: [\"*\"]}` alone".to_owned(),
            own if self.is_ours(own, named) => {
                format!(
                    "this one came through Sidekey, and would have all services for one; {}",
                    self.way_in(head, named)
                )
            }
            other if is_one_origin(other) => {
                format!("to let this one, add `access: {{origins: [\"{other}\"]}}`; {PASSES_ON}")
            }
            _ => "that is not one origin (`https://app.example`), so it can't be named".to_owned(),
        };
        Error::Origin { value, advice }
    }

    fn refusal(&self, name: &'static str, value: &HeaderValue, head: &request::Parts, named: &Named<'_>) -> Error {
        let looks_here = self.access.lets_people_look() && !self.is_shared(named);
        let mut advice = match looks_here {
            true => "`access.browsers` lets in who opens this themselves, and its own page, but nothing that another \
                     page asks for or that is loaded ahead"
                .to_owned(),
            false => format!("browsers are no apps; {}", self.way_in(head, named)),
        };
        if name == "User-Agent" {
            advice += "; a tool that is called so may come under `localhost`";
        }
        Error::Browser { field: format!("{name}: {}", shown(value)), advice: format!("{advice}; {PASSES_ON}") }
    }

    /// Where people may look at the service that this request is for.
    fn way_in(&self, head: &request::Parts, named: &Named<'_>) -> String {
        let service = self.own.or_else(|| self.routes.find(&named.question(head)).map(|found| found.service));
        let host = match service.map(|service| self.routes.name_for_browsers(service)) {
            Some(Some(host)) => host,
            Some(None) => return "only a service with a host of its own can be looked at (`routes: [{host: \"NAME.localhost\", …}]`)".to_owned(),
            None => "NAME.localhost",
        };
        let port = named.authority.port.map(|port| format!(":{port}")).unwrap_or_default();
        let url = format!("`http://{host}{port}/…`");
        match self.access.lets_people_look() {
            true => format!("people may look at services by host: {url}"),
            false => format!("to look at a service, set `access: {{browsers: true}}` and open {url}"),
        }
    }

    /// Whether this is the origin of a page that came through us.
    fn is_ours(&self, origin: &str, named: &Named<'_>) -> bool {
        let page = origin.split_once("://").and_then(|(_, authority)| RequestAuthority::parse(authority).ok());
        page.is_some_and(|page| {
            let is_our_name = self.access.local_name(&page.host).is_some() || self.routes.has_host(&page.host);
            let is_our_port = page.port == named.authority.port || self.access.listens_on(page.port.unwrap_or(80));
            page == named.authority || (is_our_name && is_our_port)
        })
    }
}

/// Whether a web page that sent this may, and whether it said which one it is.
///
/// # Errors
/// An `Origin` that `allowed` does not allow.
pub(crate) fn origin(fields: &HeaderMap, allowed: impl Fn(&str) -> bool) -> Result<PageOrigin, &HeaderValue> {
    let mut page = PageOrigin::Unnamed;
    for origin in fields.get_all(ORIGIN) {
        if !origin.to_str().is_ok_and(&allowed) {
            return Err(origin);
        }
        page = PageOrigin::Listed;
    }
    Ok(page)
}

/// What `Origin` says of the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageOrigin {
    Listed,
    /// It names no page: an app, or a browser that leaves `Origin` out.
    Unnamed,
}

/// What says that nobody looks at the answer yet: a browser loads it ahead, or as a service worker. With the name as
/// browsers write it.
pub(crate) fn loading_ahead(fields: &HeaderMap) -> Option<(&'static str, &HeaderValue)> {
    LOADING_AHEAD.iter().find_map(|(name, written)| Some((*written, fields.get(name)?)))
}

/// Whether a person opened this, or the page that they see there asks for it. A page that made the browser ask can't
/// have this: its browser writes these fields, and a redirect by another origin turns `same-origin` into `cross-site`.
fn is_a_look(fields: &HeaderMap) -> bool {
    let mut sites = fields.get_all(&SEC_FETCH_SITE).iter();
    let (Some(site), None) = (sites.next(), sites.next()) else { return false };
    match site.as_bytes() {
        b"same-origin" => true,
        b"none" => fields.get(&SEC_FETCH_USER).is_some_and(|value| value == "?1"),
        _ => false,
    }
}

/// The `User-Agent` of a browser, or of who calls itself like one: all of them begin so.
fn called_like_one(fields: &HeaderMap) -> Option<&HeaderValue> {
    fields.get_all(USER_AGENT).iter().find(|value| value.as_bytes().starts_with(b"Mozilla/"))
}

/// Whether it is of the form that `access.origins` takes.
fn is_one_origin(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, authority)| RequestAuthority::parse(authority).is_ok())
}

/// A value as it may be shown: ASCII, and no longer than a line or two.
pub(crate) fn shown(value: &HeaderValue) -> String {
    let bytes = value.as_bytes();
    // Invariant: it is cut no later than it ends.
    bytes[..bytes.len().min(LONGEST_SHOWN)].escape_ascii().to_string()
}

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
static SEC_FETCH_USER: HeaderName = HeaderName::from_static("sec-fetch-user");

static LOADING_AHEAD: [(HeaderName, &str); 4] = [
    (HeaderName::from_static("sec-purpose"), "Sec-Purpose"),
    (HeaderName::from_static("purpose"), "Purpose"),
    (HeaderName::from_static("x-moz"), "X-Moz"),
    (HeaderName::from_static("service-worker"), "Service-Worker"),
];

const PASSES_ON: &str =
    "an app that passes on what browsers sent it (a gateway, a development server) needs `access: {origins: [\"*\"]}`";

const LONGEST_SHOWN: usize = 200;
