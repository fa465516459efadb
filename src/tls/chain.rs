//! A service's chain as it came, read, to find in it what is wrong.

use rustls::RootCertStore;
use x509_parser::certificate::X509Certificate;

use super::distinguished;
use super::issuers::{is_self_issued, missing, path};
use super::origin::TlsOrigin;

/// A chain whose leaf can be read.
pub(super) struct ReadChain<'a> {
    pub(super) leaf: X509Certificate<'a>,
    pub(super) others: Vec<X509Certificate<'a>>,
    pub(super) roots: Option<&'a RootCertStore>,
    pub(super) origin: TlsOrigin,
}

impl ReadChain<'_> {
    /// What nobody here vouches for.
    pub(super) fn missing(&self) -> String {
        let none = RootCertStore::empty();
        missing(&self.leaf, &self.others, self.roots.unwrap_or(&none), self.origin)
    }

    /// The leaf, then its issuers as far as they came.
    pub(super) fn path(&self) -> Vec<&X509Certificate<'_>> {
        path(&self.leaf, &self.others)
    }

    /// The first of the chain of which this is true, as it begins a sentence.
    pub(super) fn whose(&self, is_it: impl Fn(&X509Certificate<'_>) -> bool) -> String {
        if is_it(&self.leaf) {
            return "the service's certificate".to_owned();
        }
        match self.others.iter().find(|other| is_it(other)) {
            Some(other) => {
                format!("{}, a certificate that the service sends along,", distinguished::text(other.subject()))
            }
            None => "a certificate of the service's chain".to_owned(),
        }
    }

    pub(super) fn is_self_issued(&self) -> bool {
        is_self_issued(&self.leaf)
    }
}

/// Who can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Who names the CAs that are trusted.
    Ca,
    /// Who names the endpoint.
    Name,
    /// The owner of the clock here, or of the certificate.
    Time,
    /// Who has the certificate, or another of its chain, issued.
    Owner,
    /// Who wrote the pin.
    Pin,
}

/// What is said where nothing more is known.
pub(super) const UNUSUAL: &str = "the service's certificate, or one of its chain, is not as RFC 5280 wants it";
