//! `openpgp:`, the URL of a service that is nowhere: what is sent to it comes back encrypted or decrypted.

use super::url::{Scheme, Url, UrlAuthority};
use crate::config::text::Wrong;

/// Reads it; `None`: it is another URL.
pub(super) fn read(text: &str) -> Option<Result<Url, Wrong>> {
    let (scheme, rest) = text.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("openpgp") {
        return None;
    }
    if !cfg!(feature = "openpgp") {
        return Some(Err(Wrong::new("this build of Sidekey has no OpenPGP").help(WITHOUT_FEATURE)));
    }
    if !rest.is_empty() {
        return Some(Err(Wrong::new("an `openpgp:` service is nowhere else").help("write `url: \"openpgp:\"`")));
    }
    // A name that leads nowhere (RFC 6761 §6.4), at a port that nobody can ask for.
    let authority = UrlAuthority { host: "openpgp.invalid".to_owned(), port: 0, default_port: true };
    Some(Ok(Url { scheme: Scheme::OpenPgp, authority, path: String::new(), query: None }))
}

/// What to do about a build that lacks it.
const WITHOUT_FEATURE: &str = "use a build with the cargo feature `openpgp`, which is on unless it is switched off";
