//! Methods that sign each request, after all others have put theirs on it.

use http::HeaderName;

use super::place::RequestPlace;
use super::{AwsSigV4, Hmac};
use crate::config::value::{At, Span, Url};

/// A method that signs. One more is a variant here, with its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// As AWS wants it.
    AwsSigV4(Box<AwsSigV4>),
    /// With a key that both sides know.
    Hmac(Box<Hmac>),
}

/// What must be known of a method that signs, beside how it is read.
pub(super) trait Signs {
    /// What it sets, and where that is written; `method` is where the method is.
    fn places(&self, method: Span) -> Vec<(RequestPlace, Span)>;

    /// The fields that it sets.
    fn fields(&self) -> Vec<HeaderName>;

    /// What it puts on a request, a line each, values masked.
    fn masked(&self) -> Vec<String>;

    /// Where its keys are asked for, if they are lent.
    fn sts_url(&self) -> Option<&At<Url>> {
        None
    }
}

impl Signature {
    pub(super) fn method(&self) -> &dyn Signs {
        match self {
            Self::AwsSigV4(aws) => &**aws,
            Self::Hmac(hmac) => &**hmac,
        }
    }
}
