//! Which fields go on, in both directions. Pure: works in place, on one head at a time.
//!
//! Promises that nothing hop-by-hop passes, that no field which the service's credential owns passes under any
//! spelling (`on_client_authorization` aside), and that our `Via` is put on. Leaves `Host` and the form of each
//! protocol to `transport`, and the credential itself to `credential`.

mod answer;
mod present;
mod request;
#[cfg(test)]
mod tests;
mod via;

use std::rc::Rc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

pub(crate) use answer::{Downward, answer, leave_shared_origin_alone};
pub(super) use present::{Name, Present};
pub(super) use request::{Kept, forwards};
pub(crate) use request::{Upward, request};
pub(crate) use via::Instance;

use crate::config::OnClientAuthorization;
use crate::credential::{own_name, own_value};
use crate::snapshot::Service;
use crate::transport::Screen;

/// What becomes of the fields of one service's requests and answers: a worker's own copy, so that setting a value
/// touches no reference count that other workers touch.
pub(crate) struct Rules {
    /// The fields that only the service's credential sets, and those that are meant for it alone.
    owned: Rc<[HeaderName]>,
    /// Of these, the ones in which the app may not, or may, have its own say: `on_client_authorization`.
    contested: Vec<HeaderName>,
    /// What the app's trailers go through.
    pub(super) screen: Screen,
    /// Whether the credential sets nothing but these.
    owns_fields_only: bool,
    on_client_authorization: OnClientAuthorization,
    request: Changes,
    answer: Changes,
}

/// `headers` or `response_headers` of the config.
#[derive(Debug, Default)]
struct Changes {
    set: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
}

impl Rules {
    pub(crate) fn compile(service: &Service) -> Self {
        let credential = service.identities.owned();
        let owned: Rc<[_]> = credential.fields.iter().chain(&credential.subjects).map(own_name).collect();
        // A subject's token is asked for, wherever it comes: it is no credential for the service.
        let contested = credential.fields.iter().filter(|name| !credential.subjects.contains(name));
        let (request, answer) = (&service.headers, &service.response_headers);
        Self {
            screen: screen(Rc::clone(&owned)),
            owned,
            contested: contested.map(own_name).collect(),
            owns_fields_only: credential.query.is_empty() && credential.cookies.is_empty(),
            on_client_authorization: service.on_client_authorization,
            request: Changes::new(
                request.set.iter().map(|(name, value)| (&name.value, value)),
                // What names an identity is for us alone.
                request.remove.iter().map(|name| &name.value).chain(service.identities.field()),
            ),
            answer: Changes::new(
                answer.set.iter().map(|(name, value)| (&name.value, value)),
                answer.remove.iter().map(|name| &name.value),
            ),
        }
    }

    /// Takes out what the credential has set.
    pub(super) fn withdraw(&self, fields: &mut HeaderMap) {
        for name in &*self.owned {
            fields.remove(name);
        }
    }

    /// Whether only the credential may set a field of this name, however it is spelt.
    pub(super) fn owns(&self, name: &str) -> bool {
        is_one_of(&self.owned, name)
    }
}

fn screen(owned: Rc<[HeaderName]>) -> Screen {
    Rc::new(move |trailers| remove_where(trailers, |name| is_no_trailer(name) || is_one_of(&owned, name)))
}

fn is_one_of(names: &[HeaderName], name: &str) -> bool {
    names.iter().any(|one| same_field(name, one.as_str()))
}

/// Takes out of an answer's trailers what no trailer may be.
pub(super) fn screen_answer(trailers: &mut HeaderMap) {
    remove_where(trailers, is_no_trailer);
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
        Self {
            set: set.map(|(name, value)| (own_name(name), own_value(value))).collect(),
            remove: remove.map(own_name).collect(),
        }
    }

    fn apply(&self, fields: &mut HeaderMap) {
        let ours = || self.remove.iter().chain(self.set.iter().map(|(name, _)| name));
        if ours().next().is_some() {
            remove_where(fields, |name| ours().any(|one| same_field(name, one.as_str())));
        }
        for (name, value) in &self.set {
            fields.insert(name.clone(), value.clone());
        }
    }
}

/// Whether two names mean one field to a service that reads `_` as `-` (CGI and what came after it). Names of a
/// [`HeaderMap`] are in lower case already; those of a list are not.
fn same_field(one: &str, other: &str) -> bool {
    let dashed = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    one.len() == other.len() && one.bytes().map(dashed).eq(other.bytes().map(dashed))
}

/// Removes every field whose name is unwanted. Looks at each name once; only a hit costs more.
fn remove_where(fields: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    while let Some(name) = fields.keys().find(|name| unwanted(name.as_str())).cloned() {
        fields.remove(name);
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
    let mut line = 0;
    while let Some(value) = fields.get_all(header::CONNECTION).iter().nth(line).cloned() {
        for option in list(&value) {
            // `Connection` itself goes last: its other lines are still to be read.
            if !NO_FIELDS.iter().any(|word| option.eq_ignore_ascii_case(word)) {
                fields.remove(option);
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
    is_one_of(&NO_TRAILERS, name)
}

/// Options of `Connection` that stand in nearly every request and name no field to look for.
static NO_FIELDS: [&str; 3] = ["close", "keep-alive", "connection"];

static NO_TRAILERS: [HeaderName; 22] = [
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::HOST,
    header::EXPECT,
    header::MAX_FORWARDS,
    header::VIA,
    header::FORWARDED,
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::WWW_AUTHENTICATE,
    header::PROXY_AUTHENTICATE,
    header::COOKIE,
    header::SET_COOKIE,
];
