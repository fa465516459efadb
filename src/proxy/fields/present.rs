//! Which of the fields that we have something to do with stand in a head.
//!
//! A look-up in a [`HeaderMap`] hashes the name. A request and its answer would need three dozen of them, nearly all for
//! fields that are not there; one look at each name that is there costs less than two.

use http::header::{self, HeaderMap, HeaderName};

use crate::spelling::same_field;

/// The names that stand in a head, of those in [`NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Present(u32);

/// A name that is looked for: its place in [`NAMES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Name {
    Connection,
    KeepAlive,
    ProxyConnection,
    ProxyAuthenticate,
    ProxyAuthenticationInfo,
    ProxyAuthorization,
    Te,
    TransferEncoding,
    Upgrade,
    Http2Settings,
    ContentLength,
    Expect,
    Origin,
    SecFetchSite,
    SecPurpose,
    Purpose,
    XMoz,
    ServiceWorker,
    Trailer,
    Via,
    AltSvc,
    Date,
    ProxyStatus,
    ServerTiming,
    Location,
    ContentLocation,
    Link,
    SetCookie,
}

impl Present {
    pub(crate) fn of(fields: &HeaderMap) -> Self {
        let bit = |name: &str| match place(name) {
            Some(name) => name.bit(),
            None if may_be_spelt_otherwise(name) => SPELT_OTHERWISE,
            None => 0,
        };
        Self(fields.keys().fold(0, |all, name| all | bit(name.as_str())))
    }

    /// Whether a name stands there that may be one of [`NAMES`] in another spelling.
    pub(super) fn is_spelt_otherwise(self) -> bool {
        self.0 & SPELT_OTHERWISE != 0
    }

    pub(crate) fn has(self, name: Name) -> bool {
        self.0 & name.bit() != 0
    }

    /// Whether there is one of those that browsers send, and nobody else.
    pub(crate) fn is_of_browser(self) -> bool {
        self.0 & OF_BROWSERS != 0
    }

    /// Whether there is one that names what is the service's.
    pub(super) fn names_service(self) -> bool {
        self.0 & NAMING != 0
    }

    /// Those of one connection (RFC 9110 §7.6.1).
    pub(super) fn hop_by_hop(self) -> impl Iterator<Item = &'static HeaderName> {
        let mut left = self.0 & HOP_BY_HOP;
        std::iter::from_fn(move || {
            let next = NAMES.get(left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(next)
        })
    }
}

impl Name {
    fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// By length and bytes: the compiler makes a few comparisons of it.
fn place(name: &str) -> Option<Name> {
    Some(match name {
        "connection" => Name::Connection,
        "keep-alive" => Name::KeepAlive,
        "proxy-connection" => Name::ProxyConnection,
        "proxy-authenticate" => Name::ProxyAuthenticate,
        "proxy-authentication-info" => Name::ProxyAuthenticationInfo,
        "proxy-authorization" => Name::ProxyAuthorization,
        "te" => Name::Te,
        "transfer-encoding" => Name::TransferEncoding,
        "upgrade" => Name::Upgrade,
        "http2-settings" => Name::Http2Settings,
        "content-length" => Name::ContentLength,
        "expect" => Name::Expect,
        "origin" => Name::Origin,
        "sec-fetch-site" => Name::SecFetchSite,
        "sec-purpose" => Name::SecPurpose,
        "purpose" => Name::Purpose,
        "x-moz" => Name::XMoz,
        "service-worker" => Name::ServiceWorker,
        "trailer" => Name::Trailer,
        "via" => Name::Via,
        "alt-svc" => Name::AltSvc,
        "date" => Name::Date,
        "proxy-status" => Name::ProxyStatus,
        "server-timing" => Name::ServerTiming,
        "location" => Name::Location,
        "content-location" => Name::ContentLocation,
        "link" => Name::Link,
        "set-cookie" => Name::SetCookie,
        _ => return None,
    })
}

static NAMES: [HeaderName; 28] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::ORIGIN,
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-moz"),
    HeaderName::from_static("service-worker"),
    header::TRAILER,
    header::VIA,
    header::ALT_SVC,
    header::DATE,
    HeaderName::from_static("proxy-status"),
    HeaderName::from_static("server-timing"),
    header::LOCATION,
    header::CONTENT_LOCATION,
    header::LINK,
    header::SET_COOKIE,
];

/// By its length and a byte that is neither letter nor digit nor the `-` that [`NAMES`] have: most names have the length of
/// none, and few such a byte.
fn may_be_spelt_otherwise(name: &str) -> bool {
    let has_length = LENGTHS & (1_u64 << name.len().min(63)) != 0;
    has_length && name.bytes().any(|byte| !byte.is_ascii_alphanumeric() && byte != b'-')
}

/// Those of one connection, whatever their spelling.
pub(super) fn is_of_one_connection(name: &str) -> bool {
    NAMES.iter().take(HOP_BY_HOP.count_ones() as usize).any(|one| same_field(name, one.as_str()))
}

/// A bit for each length of a name that can be spelt otherwise.
const LENGTHS: u64 = {
    let lengths = [10, 16, 18, 25, 19, 17, 14, 11, 7, 12, 13];
    let (mut bits, mut at) = (0, 0);
    while at < lengths.len() {
        // Invariant: it is below the length, and this runs when it is compiled.
        bits |= 1 << lengths[at];
        at += 1;
    }
    bits
};

/// Beside those of the names.
const SPELT_OTHERWISE: u32 = 1 << 31;

/// The first ten.
const HOP_BY_HOP: u32 = (1 << 10) - 1;

/// From `Origin` to `Service-Worker`.
const OF_BROWSERS: u32 = (1 << (Name::ServiceWorker as u32 + 1)) - (1 << Name::Origin as u32);

/// From `Location` on.
const NAMING: u32 = (1 << NAMES.len()) - (1 << Name::Location as u32);

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn each_name_is_found_in_its_place() {
        for (at, name) in NAMES.iter().enumerate() {
            let found = place(name.as_str()).map(|found| found as usize);

            assert_eq!(found, Some(at), "{name}");
        }
    }

    #[test]
    fn what_is_there_is_found_and_nothing_else() {
        let names = ["via", "te", "x-other", "connection", "host"];
        let fields: HeaderMap =
            names.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("x"))).collect();

        let present = Present::of(&fields);

        assert!(present.has(Name::Via) && present.has(Name::Te) && !present.has(Name::Expect));
        assert_eq!(present.hop_by_hop().collect::<Vec<_>>(), [&header::CONNECTION, &header::TE]);
        assert_eq!(Present::of(&HeaderMap::new()).hop_by_hop().count(), 0);
    }

    #[test]
    fn each_name_that_has_a_dash_is_noticed_under_any_spelling() {
        // What only browsers send is looked for as they spell it.
        let browsers = |name: &HeaderName| OF_BROWSERS & place(name.as_str()).map_or(0, Name::bit) != 0;
        let dashed: Vec<_> = NAMES
            .iter()
            .filter(|name| name.as_str().contains('-') && !browsers(name))
            .map(HeaderName::as_str)
            .collect();
        assert!(dashed.len() > 10, "{dashed:?}");

        for name in dashed {
            assert!(may_be_spelt_otherwise(&name.replace('-', "_")) && !may_be_spelt_otherwise(name), "{name}");
        }
    }

    #[test]
    fn six_fields_are_those_of_browsers() {
        let of = |name: &HeaderName| {
            Present::of(&HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("x"))])).is_of_browser()
        };
        let found: Vec<_> = NAMES.iter().filter(|name| of(name)).map(HeaderName::as_str).collect();

        assert_eq!(found, ["origin", "sec-fetch-site", "sec-purpose", "purpose", "x-moz", "service-worker"]);
    }
}
