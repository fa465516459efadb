//! Values: places, addresses, URLs, durations, sizes.

mod address;
mod duration;
mod field;
mod file_url;
mod host;
mod host_header;
mod host_key;
mod no_proxy;
mod number;
mod openpgp_url;
mod proxy;
mod rate;
mod tunnel_target;
mod url;

pub use address::ListenAddress;
pub use duration::parse_duration;
pub use host_header::HostHeader;
pub use host_key::HostKeyFingerprint;
pub use no_proxy::NoProxy;
pub use proxy::{ProxyAddress, ProxyLogin};
pub use rate::Rate;
pub use tunnel_target::{TunnelGrant, TunnelTarget};
pub use url::{Issuer, Scheme, Url, UrlAuthority};

pub(super) use address::OwnListen;
pub(super) use duration::{OrOff, Positive};
pub(super) use field::{Fields as HeaderFields, header_value};
pub(super) use host::Host;
pub(super) use number::{InRange, Mode, Size, StatusNumber};
pub(super) use proxy::{check_username as check_proxy_username, from_variable as proxy_from_variable};
pub(super) use url::{EndpointUrl, ServiceUrl};

/// A value and the place where it was written.
///
/// Two are equal if their values are: a line more above changes no service.
#[derive(Clone, Copy, Debug)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it was written.
    pub span: Span,
}

impl<T> At<T> {
    /// A value that was written nowhere: a default, or a flag.
    pub fn nowhere(value: T) -> Self {
        Self { value, span: Span::NOWHERE }
    }
}

impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for At<T> {}

/// A place in a file of the config: bytes from `start` to `end` of the file numbered `file`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The number of the file, in the order of reading.
    pub file: u16,
    /// The first byte.
    pub start: u32,
    /// The byte after the last.
    pub end: u32,
}

impl Span {
    /// The place of what was written in no file.
    pub const NOWHERE: Self = Self { file: u16::MAX, start: 0, end: 0 };
}

impl Default for Span {
    fn default() -> Self {
        Self::NOWHERE
    }
}
