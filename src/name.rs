//! Names of services and certificates: `[a-z0-9][a-z0-9_-]{0,62}`.
//!
//! A name can't be wrong once it exists. Cloning one copies a pointer.

use std::fmt;
use std::sync::Arc;

/// The permanent name of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(Arc<str>);

/// The name of a certificate, by which services link it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CertificateName(Arc<str>);

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 63 of a-z, 0-9, `_` and `-`, and starts with a letter or a digit")]
pub struct NotAName;

fn parse(text: &str) -> Result<Arc<str>, NotAName> {
    let starts_well = text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    let fits = text.len() <= LONGEST;
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    if starts_well && fits && text.bytes().all(allowed) { Ok(text.into()) } else { Err(NotAName) }
}

macro_rules! name {
    ($type:ident) => {
        impl $type {
            /// Reads a name.
            ///
            /// # Errors
            /// When the text is not `[a-z0-9][a-z0-9_-]{0,62}`.
            pub fn parse(text: &str) -> Result<Self, NotAName> {
                parse(text).map(Self)
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        // Maps keyed by name can be asked with a `&str`.
        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(ServiceName);
name!(CertificateName);

const LONGEST: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, is_name: bool) {
        assert_eq!(ServiceName::parse(text).is_ok(), is_name, "{text:?}");
    }

    #[test]
    fn a_name_is_short_lower_case_and_starts_with_a_letter_or_digit() {
        check("payments", true);
        check("0-a_b", true);
        check(&"a".repeat(63), true);
        check(&"a".repeat(64), false);
        check("", false);
        check("-a", false);
        check("_a", false);
        check("Payments", false);
        check("a.b", false);
        check("ä", false);
    }
}
