//! Who may ask, and for what: the first phase of a request.
//!
//! Promises that a request which passes came from somebody who may use the proxy, names one host, is framed in one
//! way, and has a target that can't be read as another. Pure: but for our own token, which is taken out, the request is
//! left as it is. The parts are functions of their own, as the admin port asks the same of other names.

mod browser;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, MAX_FORWARDS, PROXY_AUTHORIZATION, TRANSFER_ENCODING};
use http::{Method, Version, request, uri};
use zeroize::Zeroizing;

use super::fields::{Instance, Name, Present, forwards, is_chunked};
use super::{Error, Peer};
use crate::bearer::bearer;
use crate::route::authority::RequestAuthority;
use crate::route::target::{self, TargetError};
use crate::route::{Question, RouteTable, TargetForm};
use crate::secret::Secret;
use crate::snapshot::{Access, LocalName};
pub(crate) use browser::{PageOrigin, loading_ahead, origin, shown};

/// What decides who may ask.
#[derive(Clone, Copy)]
pub(super) struct AccessCheck<'v> {
    pub(super) access: &'v Access,
    pub(super) routes: &'v RouteTable,
    pub(super) instance: &'v Instance,
    /// The service on whose own port this is, by its place; `None`: it is a port of all.
    pub(super) own: Option<usize>,
}

/// What becomes of a request that may ask.
#[derive(Debug)]
pub(super) enum Admission<'r> {
    /// It is for a service. What was seen of its fields is of use to who goes on with it.
    Carry(Named<'r>, Present),
    /// An `OPTIONS` that asks about us.
    AnswerOptions,
}

/// How a request names where it wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named<'r> {
    pub(crate) form: TargetForm,
    pub(crate) authority: RequestAuthority<'r>,
    /// Whether the host counts as a local name, under which every route is in reach.
    pub(crate) local: bool,
    /// Whether people may look at services with a browser, and this name is that of several: none of them may take the
    /// origin for itself.
    pub(crate) shares_origin: bool,
}

impl Named<'_> {
    /// What the table is asked about this request.
    pub(super) fn question<'q>(&'q self, head: &'q request::Parts) -> Question<'q> {
        Question {
            form: self.form,
            host: &self.authority.host,
            port: self.authority.port,
            local: self.local,
            method: &head.method,
            path: head.uri.path(),
            fields: &head.headers,
        }
    }
}

/// Who sent a request. There is none but by [`AccessCheck::recognize`], which takes our token off the request: so nobody goes on
/// who has not been asked for it, and it goes on with nobody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller(SenderTrust);

/// Whether the token was shown before a request came: with the `CONNECT` for the tunnel in which it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenBefore {
    Shown,
    NotShown,
}

impl Caller {
    /// What is known of those who ask in a tunnel that this one has asked for.
    pub(super) fn inside_tunnel(self) -> TokenBefore {
        if self.0 == SenderTrust::Token { TokenBefore::Shown } else { TokenBefore::NotShown }
    }
}

/// How far the sender is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SenderTrust {
    /// No browser gets to a unix socket.
    Unix,
    /// It knows the token, which no web page does.
    Token,
    /// It is on this machine, and may be a browser.
    Near,
}

impl AccessCheck<'_> {
    /// Tells who sent a request, and takes the token of `access` out of it where it could be taken for the app's own
    /// credential. `Proxy-Authorization` goes with all that is meant for us.
    ///
    /// # Errors
    /// When the sender shows no token, or is a user who may not call.
    pub(super) fn recognize(
        &self,
        head: &mut request::Parts,
        peer: Peer,
        before: TokenBefore,
    ) -> Result<Caller, Error> {
        let form = form_of(head);
        let shown = self.access.token().map(|token| {
            // Whether it is asked for or not, and shown elsewhere or not: none must be sent on. In absolute-form, whose
            // client knows of a proxy, it does not count there.
            let taken_out = take_out(token, &mut head.headers);
            taken_out && form == TargetForm::Origin || shown_to_proxy(token, &head.headers)
        });
        match (peer, shown, form) {
            (Peer::Unix { uid }, ..) if self.access.admits_uid(uid) => Ok(Caller(SenderTrust::Unix)),
            (Peer::Unix { uid }, ..) => Err(Error::UnixUser { uid }),
            (Peer::Tcp(_), None, _) => Ok(Caller(SenderTrust::Near)),
            (Peer::Tcp(_), Some(true), _) => Ok(Caller(SenderTrust::Token)),
            // It was shown for the tunnel, as to a proxy: who speaks inside speaks as if to the service.
            (Peer::Tcp(_), Some(false), _) if before == TokenBefore::Shown => Ok(Caller(SenderTrust::Token)),
            (Peer::Tcp(_), Some(false), TargetForm::Origin) => Err(Error::Token),
            (Peer::Tcp(_), Some(false), TargetForm::Absolute) => Err(Error::ProxyToken),
        }
    }

    /// Somebody at a TCP port who shows the token, where one is asked for: for a request that nobody has sent.
    pub(super) fn presumed(&self) -> Caller {
        Caller(if self.access.token().is_some() { SenderTrust::Token } else { SenderTrust::Near })
    }

    /// Lets a request in, or says why not.
    ///
    /// # Errors
    /// With the reason that the app is told.
    pub(super) fn admit<'r>(&self, head: &'r request::Parts, caller: Caller) -> Result<Admission<'r>, Error> {
        let Caller(trust) = caller;
        carried(&head.method)?;
        let present = Present::of(&head.headers);
        // hyper frames by `Transfer-Encoding` alone where a length is sent too, and takes any coding that ends in
        // `chunked`.
        if present.has(Name::TransferEncoding) && !is_chunked(&head.headers) {
            return Err(Error::Coding { value: codings(&head.headers) });
        }
        let named = if trust == SenderTrust::Unix { named_leniently(head)? } else { named(head)? };
        let name = self.access.local_name(&named.authority.host);
        let mut named = self.reachable(named, name, head, trust)?;
        if trust != SenderTrust::Unix {
            if browser::may_have_sent(head, present, name) {
                self.admit_browser(head, &named)?;
            }
            named.shares_origin = self.access.lets_people_look() && self.is_shared(&named);
        }
        if present.has(Name::Via) && self.instance.stands_in(&head.headers) {
            return Err(Error::Loop);
        }
        if asks_about_us(head) {
            return Ok(Admission::AnswerOptions);
        }
        target::check(head.uri.path())?;
        Ok(Admission::Carry(named, present))
    }

    /// The Host check: a page that rebound a name of its own to this machine does not get past it.
    fn reachable<'r>(
        &self,
        named: Named<'r>,
        name: Option<LocalName>,
        head: &request::Parts,
        trust: SenderTrust,
    ) -> Result<Named<'r>, Error> {
        let host = &*named.authority.host;
        let local_name = named.local || name.is_some();
        // In absolute-form a strange host finds no route; only local names are read like a plain path.
        if named.form == TargetForm::Absolute {
            return Ok(Named { local: local_name, ..named });
        }
        let local = local_name || trust != SenderTrust::Near;
        // On a service's own port no route has a say, nor has its host.
        if local || self.own.is_none() && self.routes.has_host(host) {
            return Ok(Named { local, ..named });
        }
        let value = head.headers.get(HOST).map(shown).unwrap_or_default();
        Err(match self.routes.ways_in(host) {
            Some(ways) => Error::HostOfService { value, ways },
            None => Error::Host { value, host: host.to_owned() },
        })
    }
}

/// Where a request wants to go, by its target and its `Host` field.
///
/// In absolute-form the target's authority counts; the field must be there and well-formed all the same (RFC 9112
/// §3.2). An HTTP/1.0 request without one counts as sent under a local name.
///
/// # Errors
/// When the target is in no form that is carried, or the host is missing, repeated or malformed.
pub(crate) fn named(head: &request::Parts) -> Result<Named<'_>, Error> {
    let field = host_field(&head.headers)?;
    if head.uri.authority().is_some() {
        if field.is_none() && head.version != Version::HTTP_10 {
            return Err(Error::HostMissing);
        }
        return named_by_target(&head.uri);
    }
    match field {
        Some(authority) => Ok(Named { form: TargetForm::Origin, authority, local: false, shares_origin: false }),
        None if head.version == Version::HTTP_10 => Ok(local_name()),
        None => Err(Error::HostMissing),
    }
}

/// On a unix socket any name will do: libraries make one up.
fn named_leniently(head: &request::Parts) -> Result<Named<'_>, Error> {
    if head.uri.authority().is_some() {
        return named_by_target(&head.uri);
    }
    match host_field(&head.headers) {
        Ok(Some(authority)) => Ok(Named { form: TargetForm::Origin, authority, local: true, shares_origin: false }),
        Ok(None) | Err(_) => Ok(local_name()),
    }
}

fn named_by_target(target: &uri::Uri) -> Result<Named<'_>, Error> {
    let (Some(scheme), Some(authority)) = (target.scheme(), target.authority()) else { return Err(Error::Form) };
    let authority = RequestAuthority::parse(authority.as_str())?;
    if ![uri::Scheme::HTTP, uri::Scheme::HTTPS].contains(scheme) {
        return Err(Error::NoRoute { host: authority.host.into_owned(), path: target.path().to_owned() });
    }
    Ok(Named { form: TargetForm::Absolute, authority, local: false, shares_origin: false })
}

/// The one `Host` field, if there is one.
fn host_field(fields: &HeaderMap) -> Result<Option<RequestAuthority<'_>>, Error> {
    let mut sent = fields.get_all(HOST).iter();
    let Some(value) = sent.next() else { return Ok(None) };
    if sent.next().is_some() {
        return Err(Error::HostRepeated);
    }
    let malformed = |source| Error::HostMalformed { value: shown(value), source };
    let text = value.to_str().map_err(|_| malformed(TargetError::Host))?;
    RequestAuthority::parse(text).map(Some).map_err(malformed)
}

/// What the lines of `Transfer-Encoding` say, as the one list that they are (RFC 9110 §5.3).
fn codings(fields: &HeaderMap) -> String {
    let lines: Vec<_> = fields.get_all(TRANSFER_ENCODING).iter().map(shown).collect();
    lines.join(", ")
}

fn local_name() -> Named<'static> {
    let authority = RequestAuthority { host: Cow::Borrowed("localhost"), port: None };
    Named { form: TargetForm::Origin, authority, local: true, shares_origin: false }
}

fn carried(method: &Method) -> Result<(), Error> {
    match *method {
        Method::CONNECT => Err(Error::Connect),
        Method::TRACE => Err(Error::Method { method: Method::TRACE }),
        _ => Ok(()),
    }
}

/// `OPTIONS *`, or an `OPTIONS` that may go no further (RFC 9110 §7.6.2).
fn asks_about_us(head: &request::Parts) -> bool {
    let spent = || head.headers.get(MAX_FORWARDS).and_then(forwards) == Some(0);
    head.method == Method::OPTIONS && (head.uri.path() == "*" || spent())
}

/// How the target is written. Authority-form is a proxy's affair too.
fn form_of(head: &request::Parts) -> TargetForm {
    if head.uri.authority().is_some() { TargetForm::Absolute } else { TargetForm::Origin }
}

/// Takes the token out of `Authorization`; whether it was there. A line that is not exactly ours is the app's own.
fn take_out(token: &Secret, fields: &mut HeaderMap) -> bool {
    let (ours, of_app): (Vec<_>, Vec<_>) = fields.get_all(AUTHORIZATION).iter().partition(|value| shows(token, value));
    if ours.is_empty() {
        return false;
    }
    let of_app: Vec<_> = of_app.into_iter().cloned().collect();
    fields.remove(AUTHORIZATION);
    for value in of_app {
        fields.append(AUTHORIZATION, value);
    }
    true
}

/// Whether the one `Proxy-Authorization` shows the token.
fn shown_to_proxy(token: &Secret, fields: &HeaderMap) -> bool {
    let mut sent = fields.get_all(PROXY_AUTHORIZATION).iter();
    matches!((sent.next(), sent.next()), (Some(value), None) if shows(token, value))
}

/// Whether a value is the token: `Bearer`, or as the password of any user of `Basic`.
fn shows(token: &Secret, value: &HeaderValue) -> bool {
    if let Some(shown) = bearer(value.as_bytes()) {
        return token.is(shown);
    }
    let Some((scheme, shown)) = value.to_str().ok().and_then(|text| text.split_once(' ')) else { return false };
    scheme.eq_ignore_ascii_case("basic") && password(shown.trim()).is_some_and(|password| token.is(&password))
}

fn password(encoded: &str) -> Option<Zeroizing<Vec<u8>>> {
    let decoded = Zeroizing::new(BASE64.decode(encoded).ok()?);
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    // Invariant: a colon was found there, and after the last byte there is nothing, which may be taken.
    Some(Zeroizing::new(decoded[colon + 1..].to_vec()))
}

/// Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
