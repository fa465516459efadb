//! The fields of an answer, on their way to the app.

use http::Version;
use http::header::{CONTENT_LENGTH, HeaderMap};

use super::{Instance, Name, Present, Rules, is_chunked, remove_hop_by_hop};
use crate::proxy::Error;

/// What decides about the fields of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Downward<'a> {
    /// The protocol in which the service answered.
    pub(crate) version: Version,
    /// Who signs in `Via`: an app that uses us as its forward proxy is told, another one sees no proxy.
    pub(crate) via: Option<&'a Instance>,
}

/// Makes a service's fields those of the answer to the app.
///
/// # Errors
/// When the body has a transfer coding that we cannot take off: the app would take it for the content.
pub(crate) fn answer(fields: &mut HeaderMap, answer: Downward<'_>, rules: &Rules) -> Result<(), Error> {
    let present = Present::of(fields);
    if present.has(Name::TransferEncoding) {
        if !is_chunked(fields) {
            return Err(Error::AnswerCoding);
        }
        // Two framings are an attack on whoever believes the other one (RFC 9112 §6.3).
        fields.remove(CONTENT_LENGTH);
    }
    remove_hop_by_hop(fields, present);
    rules.answer.apply(fields);
    if let Some(instance) = answer.via {
        instance.sign(fields, answer.version);
    }
    Ok(())
}
