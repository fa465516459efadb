//! The fields of an answer, on their way to the app.

use http::header::{ALT_SVC, CONTENT_LENGTH, DATE, HeaderMap, HeaderName};
use http::{StatusCode, Version};

use super::naming::map_names;
use super::{
    Instance, Name, PROXY_STATUS, Present, Rules, SERVER_TIMING, is_chunked, is_of_one_connection, remove_hop_by_hop,
    remove_ours, remove_ours_everywhere, remove_where,
};
use crate::proxy::{Error, date};
use crate::route::WayBack;
use crate::spelling::same_field;

/// What decides about the fields of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseContext<'a> {
    pub(crate) status: StatusCode,
    /// The protocol in which the service answered.
    pub(crate) version: Version,
    /// Who signs in `Via`: an app that uses us as its forward proxy is told, another one sees no proxy.
    pub(crate) via: Option<&'a Instance>,
    /// How the app names what is the service's; `None`: as the service does.
    pub(crate) way_back: Option<WayBack<'a>>,
}

/// Makes a service's fields those of the answer to the app.
///
/// # Errors
/// When the body has a transfer coding that we cannot take off: the app would take it for the content.
pub(crate) fn answer(fields: &mut HeaderMap, answer: ResponseContext<'_>, rules: &Rules) -> Result<(), Error> {
    let present = Present::of(fields);
    if present.has(Name::TransferEncoding) {
        if !is_chunked(fields) {
            return Err(Error::AnswerCoding);
        }
        // Two framings are an attack on whoever believes the other one (RFC 9112 §6.3).
        fields.remove(CONTENT_LENGTH);
    }
    if answer.status == StatusCode::NOT_MODIFIED && answer.version == Version::HTTP_2 {
        // It is the length of what is not sent (RFC 9110 §8.6). In HTTP/2 the stream's end says so; some clients of
        // HTTP/1.1 wait for the body.
        fields.remove(CONTENT_LENGTH);
    }
    remove_hop_by_hop(fields, present);
    if present.has(Name::AltSvc) {
        // Another way to the service is a way round us.
        fields.remove(ALT_SVC);
    }
    if present.is_spelt_otherwise() {
        remove_spelt_otherwise(fields);
    }
    // What these say in our name, we say ourselves.
    if present.has(Name::ProxyStatus) {
        remove_ours(fields, &PROXY_STATUS);
    }
    if present.has(Name::ServerTiming) {
        remove_ours(fields, &SERVER_TIMING);
    }
    if let (true, Some(way_back)) = (present.names_service(), &answer.way_back) {
        // Before the config has its say: what it sets is written for the app already.
        map_names(fields, present, way_back, rules.cookies);
    }
    if !present.has(Name::Date) {
        // RFC 9110 §6.6.1.
        fields.insert(DATE, date::now());
    }
    rules.answer.apply(fields);
    if let Some(instance) = answer.via.filter(|_| rules.signs) {
        instance.sign(fields, answer.version);
    }
    Ok(())
}

/// The same for names that somebody reads as those.
fn remove_spelt_otherwise(fields: &mut HeaderMap) {
    // As it should be spelt, it has been dealt with.
    let is_spelling_of = |name: &str, one: &HeaderName| name != one.as_str() && same_field(name, one.as_str());
    remove_where(fields, |name| {
        is_of_one_connection(name) || is_spelling_of(name, &CONTENT_LENGTH) || is_spelling_of(name, &ALT_SVC)
    });
    remove_ours_everywhere(fields);
}

/// Takes out what would let one service's page keep the origin that it shares with others, or clear what they have there.
pub(crate) fn leave_shared_origin_alone(fields: &mut HeaderMap) {
    fields.remove(&SERVICE_WORKER_ALLOWED);
    fields.remove(&CLEAR_SITE_DATA);
}

static SERVICE_WORKER_ALLOWED: HeaderName = HeaderName::from_static("service-worker-allowed");
static CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");
