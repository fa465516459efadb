//! Which fields go on, in both directions. Pure: works in place, on one head at a time.
//!
//! Promises that nothing hop-by-hop passes, that no field which the service's credential owns passes under any
//! spelling (`on_client_authorization` aside), in the head or as a trailer, that no service speaks in our name, and
//! that our `Via` is put on. Leaves `Host` and the form of each protocol to `transport`, and the credential itself to
//! `credential`.

mod answer;
mod apps_credential;
mod edit;
mod member;
mod names;
mod naming;
mod present;
mod request;
mod set_cookie;
#[cfg(test)]
mod tests;
mod via;
mod websocket;

use std::rc::Rc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

pub(crate) use answer::{ResponseContext, answer, leave_shared_origin_alone};
pub(super) use apps_credential::AppsCredential;
pub(crate) use names::FieldNames;
pub(super) use present::Name;
pub(crate) use present::Present;
pub(super) use request::forwards;
pub(crate) use request::{RequestContext, request};
pub(crate) use via::Instance;
pub(super) use websocket::{answer_of_websocket, ask_for_websocket, asks_for_websocket, fault_of_101};

use crate::config::{self, Cookies, Forwarded, OnClientAuthorization};
use crate::credential::{Owned, own_name, own_value};
use crate::route::allow::Allow;
use crate::snapshot::Service;
use crate::spelling::same_field;
use crate::transport::TrailerFilter;
use member::remove_ours;
use names::remove_where;
use present::is_of_one_connection;
use request::names_a_sender;

/// What becomes of the fields of one service's requests and answers: a worker's own copy, so that setting a value
/// touches no reference count that other workers touch.
pub(crate) struct Rules {
    /// The fields that only the service's credential sets, and those that are meant for it alone.
    owned: FieldNames,
    /// Of these, the ones in which the app may not, or may, have its own say: `on_client_authorization`.
    contested: FieldNames,
    /// What no request of an app may say in its head.
    unsaid: FieldNames,
    /// What the app's trailers go through, and which those are that it takes out beside [`NO_TRAILERS`].
    pub(super) screen: TrailerFilter,
    untrailed: Rc<FieldNames>,
    /// What the service's trailers go through.
    pub(super) answer_screen: TrailerFilter,
    /// Whether the credential sets nothing but these.
    owns_fields_only: bool,
    on_client_authorization: OnClientAuthorization,
    forwarded: Forwarded,
    /// Whether `Via` names us.
    signs: bool,
    cookies: Cookies,
    request: Changes,
    answer: Changes,
}

/// What of a service decides about its fields.
pub(super) struct WrittenRules<'a> {
    pub(super) owned: &'a Owned,
    /// In which the app names the identity.
    pub(super) identity_field: Option<&'a HeaderName>,
    pub(super) allow: Option<&'a Allow>,
    pub(super) request: &'a config::RequestHeaders,
    pub(super) answer: &'a config::ResponseHeaders,
    pub(super) on_client_authorization: OnClientAuthorization,
    pub(super) forwarded: Forwarded,
    pub(super) via: bool,
    pub(super) cookies: Cookies,
}

/// What rules are made from.
struct FieldRuleInputs {
    owned: Vec<HeaderName>,
    contested: Vec<HeaderName>,
    /// What `allow` has looked at goes by no other field.
    renaming: Vec<HeaderName>,
    owns_fields_only: bool,
    on_client_authorization: OnClientAuthorization,
    forwarded: Forwarded,
    signs: bool,
    cookies: Cookies,
    request: Changes,
    answer: Changes,
}

/// `headers` or `response_headers` of the config.
#[derive(Debug, Default)]
struct Changes {
    set: Vec<(HeaderName, HeaderValue)>,
    /// Those that are removed, and those that are set.
    named: FieldNames,
}

impl Rules {
    pub(crate) fn compile(service: &Service) -> Self {
        Self::of_written(&WrittenRules {
            owned: service.identities.owned(),
            identity_field: service.identities.field(),
            allow: service.allow.as_ref(),
            request: &service.headers,
            answer: &service.response_headers,
            on_client_authorization: service.on_client_authorization,
            forwarded: service.forwarded,
            via: service.via,
            cookies: service.cookies,
        })
    }

    /// The same, of a service that was not compiled.
    pub(super) fn of_written(service: &WrittenRules<'_>) -> Self {
        let credential = service.owned;
        let owned = credential.fields.iter().chain(&credential.subjects).map(own_name);
        // A subject's token is asked for, wherever it comes: it is no credential for the service.
        let contested = credential.fields.iter().filter(|name| !credential.subjects.contains(name));
        let (request, answer) = (service.request, service.answer);
        Self::of(FieldRuleInputs {
            owned: owned.collect(),
            contested: contested.map(own_name).collect(),
            renaming: service.allow.map(renaming).unwrap_or_default(),
            owns_fields_only: credential.query.is_empty() && credential.cookies.is_empty(),
            on_client_authorization: service.on_client_authorization,
            forwarded: service.forwarded,
            signs: service.via,
            cookies: service.cookies,
            request: Changes::new(
                request.set.iter().map(|(name, value)| (&name.value, value)),
                // What names an identity is for us alone.
                request.remove.iter().map(|name| &name.value).chain(service.identity_field),
            ),
            answer: Changes::new(
                answer.set.iter().map(|(name, value)| (&name.value, value)),
                answer.remove.iter().map(|name| &name.value),
            ),
        })
    }

    fn of(terms: FieldRuleInputs) -> Self {
        let unsaid: FieldNames = terms.owned.iter().chain(&terms.renaming).chain(&FRAMING).map(own_name).collect();
        let untrailed = unsaid.iter().chain(terms.request.named.iter()).map(own_name).collect();
        let untrailed: Rc<FieldNames> = Rc::new(untrailed);
        Self {
            owned: terms.owned.into_iter().collect(),
            contested: terms.contested.into_iter().collect(),
            unsaid,
            screen: screen(Rc::clone(&untrailed)),
            untrailed,
            answer_screen: answer_screen(terms.answer.named.iter().map(own_name).collect()),
            owns_fields_only: terms.owns_fields_only,
            on_client_authorization: terms.on_client_authorization,
            forwarded: terms.forwarded,
            signs: terms.signs,
            cookies: terms.cookies,
            request: terms.request,
            answer: terms.answer,
        }
    }

    /// Whether the credential puts something elsewhere than into fields of its own: into the query, or among cookies.
    pub(super) fn touches_target(&self) -> bool {
        !self.owns_fields_only
    }

    /// Takes out what the credential has set.
    pub(super) fn withdraw(&self, fields: &mut HeaderMap) {
        for name in self.owned.iter() {
            fields.remove(name);
        }
    }
}

/// The fields by which some services take another method, or another path, than the one that was sent.
fn renaming(allow: &Allow) -> Vec<HeaderName> {
    let methods = METHODS.iter().filter(|_| allow.limits_methods());
    methods.chain(PATHS.iter().filter(|_| allow.limits_paths())).map(own_name).collect()
}

/// `screen`, and beside it no field that decides about a route: a service that takes trailers for fields would read another
/// request than the one that was routed.
pub(super) fn screen_routed(screen: &TrailerFilter, routed_by: &Rc<FieldNames>) -> TrailerFilter {
    let screen = Rc::clone(screen);
    if routed_by.is_empty() {
        return screen;
    }
    let routed_by = Rc::clone(routed_by);
    Rc::new(move |trailers| {
        screen(trailers);
        remove_where(trailers, |name| routed_by.has(name));
    })
}

fn screen(untrailed: Rc<FieldNames>) -> TrailerFilter {
    Rc::new(move |trailers| remove_where(trailers, |name| is_no_trailer_of_apps(name, &untrailed)))
}

/// Takes out of an answer's trailers what no trailer may be, and what `response_headers` speak of.
fn answer_screen(named: FieldNames) -> TrailerFilter {
    Rc::new(move |trailers| {
        remove_where(trailers, |name| is_no_trailer(name) || named.has(name));
        remove_ours_everywhere(trailers);
    })
}

/// No service speaks in our name, under whatever spelling of the fields in which each hop does.
fn remove_ours_everywhere(fields: &mut HeaderMap) {
    let signed =
        |name: &&HeaderName| [&PROXY_STATUS, &SERVER_TIMING].iter().any(|one| same_field(name.as_str(), one.as_str()));
    let names: Vec<HeaderName> = fields.keys().filter(signed).cloned().collect();
    names.iter().for_each(|name| remove_ours(fields, name));
}

/// Whether the one transfer coding is `chunked`: any other would be taken for the content, or for another length.
pub(super) fn is_chunked(fields: &HeaderMap) -> bool {
    let mut lines = fields.get_all(header::TRANSFER_ENCODING).iter();
    lines.next().is_some_and(|line| line.as_bytes().eq_ignore_ascii_case(b"chunked")) && lines.next().is_none()
}

impl Changes {
    fn new<'a>(
        set: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>,
        remove: impl Iterator<Item = &'a HeaderName>,
    ) -> Self {
        let set: Vec<_> = set.map(|(name, value)| (own_name(name), own_value(value))).collect();
        let named = remove.map(own_name).chain(set.iter().map(|(name, _)| own_name(name))).collect();
        Self { set, named }
    }

    fn apply(&self, fields: &mut HeaderMap) {
        if self.named.is_empty() {
            return;
        }
        remove_where(fields, |name| self.named.has(name));
        for (name, value) in &self.set {
            fields.insert(name.clone(), value.clone());
        }
    }
}

/// The fields of one connection, and those that `Connection` declares to be so.
fn remove_hop_by_hop(fields: &mut HeaderMap, present: Present) {
    if present.has(Name::Connection) {
        remove_nominated(fields);
    }
    for name in present.hop_by_hop() {
        fields.remove(name);
    }
}

fn remove_nominated(fields: &mut HeaderMap) {
    // As nearly every message has it that has one.
    let names_nothing = |value: &HeaderValue| matches!(value.as_bytes(), b"keep-alive" | b"close");
    if fields.get_all(header::CONNECTION).iter().all(names_nothing) {
        return;
    }
    let mut line = 0;
    while let Some(value) = fields.get_all(header::CONNECTION).iter().nth(line).cloned() {
        for option in list(&value) {
            // `Connection` itself goes last: its other lines are still to be read.
            if !NO_FIELDS.iter().any(|word| option.eq_ignore_ascii_case(word)) {
                remove_where(fields, |name| same_field(name, option));
            }
        }
        line += 1;
    }
}

/// The members of a comma-separated list (RFC 9110 §5.6.1). One that is no text hides none of the others.
fn list(value: &HeaderValue) -> impl Iterator<Item = &str> {
    let members = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    members.filter_map(|member| std::str::from_utf8(member).ok()).filter(|member| !member.is_empty())
}

/// Whether a trailer would say what only a head may: framing, routing, or who sends it (RFC 9110 §6.5.1).
fn is_no_trailer(name: &str) -> bool {
    is_of_one_connection(name) || NO_TRAILERS.iter().any(|one| same_field(name, one.as_str()))
}

/// The same for one of an app's, to whom more is forbidden: a service that takes trailers for fields would believe it.
fn is_no_trailer_of_apps(name: &str, untrailed: &FieldNames) -> bool {
    is_no_trailer(name) || names_a_sender(name) || untrailed.has(name)
}

/// Options of `Connection` that stand in nearly every request and name no field to look for.
static NO_FIELDS: [&str; 3] = ["close", "keep-alive", "connection"];

/// What frames a message, and can be spelt otherwise. The names as they should be have been dealt with before.
static FRAMING: [HeaderName; 4] = [
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("http2-settings"),
];

static METHODS: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
];

static PATHS: [HeaderName; 2] = [HeaderName::from_static("x-original-url"), HeaderName::from_static("x-rewrite-url")];

static PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Beside those of one connection.
static NO_TRAILERS: [HeaderName; 17] = [
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
    header::CONTENT_LOCATION,
    header::TRAILER,
    header::HOST,
    header::LOCATION,
    header::ALT_SVC,
    header::EXPECT,
    header::MAX_FORWARDS,
    header::VIA,
    header::FORWARDED,
    header::AUTHORIZATION,
    header::WWW_AUTHENTICATE,
    header::COOKIE,
    header::SET_COOKIE,
];
