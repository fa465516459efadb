//! All kinds of parts, and the one dispatch over them.
//!
//! It is over an enum and not over trait objects: a request's own task calls them, and none but signers need a box for
//! their future. What is the same for all kinds is made from one table, so that a new kind is a row there.

use std::sync::Arc;

use super::digest::Digest;
use super::material::Material;
use super::oauth2::{Bearer, Slot};
use super::owned::Owned;
use super::part::{Part, Sending};
use super::unavailable::UnavailablePart;
use super::{Error, aws, fixed, hmac, query};
use crate::aside::aside;
use crate::config::auth::{Attachment, Signature};
use crate::config::{At, Auth, Report};
use crate::transport::{BodyNeed, Outgoing};

/// Makes the enum of all kinds of parts, and what is the same for each of them.
macro_rules! parts {
    (
        puts { $($(#[doc = $doc:literal])* $put:ident($part:ty)),* $(,)? }
        signs { $($method:literal $sign:ident($signer:ty)),* $(,)? }
    ) => {
        /// A part of any kind.
        #[derive(Debug)]
        pub(super) enum AnyPart {
            $($(#[doc = $doc])* $put($part),)*
            $($sign(Box<$signer>),)*
        }

        impl AnyPart {
            /// Whether it is over what the others put on the request.
            pub(super) fn is_signer(&self) -> bool {
                match self {
                    $(Self::$put(_) => false,)*
                    $(Self::$sign(_) => true,)*
                }
            }

            /// The parts of one method, and its name. `None`: what is wrong has been reported.
            pub(super) fn of(
                auth: &At<Auth>,
                material: &Material<'_>,
                report: &mut Report,
            ) -> Option<(&'static str, Vec<Self>)> {
                Some(match &auth.value {
                    Auth::Static(written) => {
                        let parts = written.attachments.iter().map(|attachment| Self::fixed(&attachment.value));
                        (written.method, parts.collect())
                    }
                    Auth::OAuth2(written) => {
                        (written.grant.method(), vec![Self::Bearer(Bearer::compile(written, material, report)?)])
                    }
                    // It is shown before there is a request.
                    Auth::Files(login) => (login.method(), Vec::new()),
                    // It puts nothing there: what becomes of bodies is seen to where they pass.
                    Auth::Transforms(transform) => (transform.method(), Vec::new()),
                    Auth::Unavailable(missing) => {
                        (missing.name, vec![Self::Unavailable(UnavailablePart::new(&missing.reason))])
                    }
                    $(Auth::Signs(Signature::$sign(written)) => {
                        ($method, vec![Self::$sign(Box::new(<$signer>::compile(written, material, report)?))])
                    })*
                })
            }
        }

        impl Part for AnyPart {
            fn owns(&self, owned: &mut Owned) {
                match self {
                    $(Self::$put(part) => part.owns(owned),)*
                    $(Self::$sign(part) => part.owns(owned),)*
                }
            }

            fn digest(&self, digest: &mut Digest) {
                match self {
                    $(Self::$put(part) => part.digest(digest),)*
                    $(Self::$sign(part) => part.digest(digest),)*
                }
            }

            #[inline]
            fn was_sent(&self, outgoing: &Outgoing) -> bool {
                match self {
                    $(Self::$put(part) => part.was_sent(outgoing),)*
                    $(Self::$sign(part) => part.was_sent(outgoing),)*
                }
            }

            #[inline]
            async fn put(&self, sending: &mut Sending<'_>) -> Result<(), Error> {
                match self {
                    $(Self::$put(part) => part.put(sending).await,)*
                    $(Self::$sign(part) => aside(|| part.put(sending)).await,)*
                }
            }

            fn body_needed(&self) -> Option<BodyNeed> {
                match self {
                    $(Self::$put(part) => part.body_needed(),)*
                    $(Self::$sign(part) => part.body_needed(),)*
                }
            }

            #[inline]
            fn slot(&self) -> Option<&Arc<Slot>> {
                match self {
                    $(Self::$put(part) => part.slot(),)*
                    $(Self::$sign(part) => part.slot(),)*
                }
            }

            #[inline]
            fn bearer(&self) -> Option<&Bearer> {
                match self {
                    $(Self::$put(part) => part.bearer(),)*
                    $(Self::$sign(part) => part.bearer(),)*
                }
            }

            fn unavailable(&self) -> Option<&str> {
                match self {
                    $(Self::$put(part) => part.unavailable(),)*
                    $(Self::$sign(part) => part.unavailable(),)*
                }
            }
        }
    };
}

parts! {
    puts {
        /// A field with a fixed value.
        Field(fixed::Field),
        /// A query parameter with a fixed value.
        Query(query::Query),
        /// A cookie with a fixed value.
        Cookie(fixed::Cookie),
        /// A token of OAuth 2.0.
        Bearer(Bearer),
        /// What can't be had.
        Unavailable(UnavailablePart),
    }
    // By the name of their method, and of its variant in `config::auth::Signature`. They go last.
    signs {
        "hmac" Hmac(hmac::HmacSigner),
        "aws_sigv4" AwsSigV4(aws::SigV4Signer),
    }
}

impl AnyPart {
    /// The part that puts this on each request.
    fn fixed(attachment: &Attachment) -> Self {
        match attachment {
            Attachment::Basic { username, password } => Self::Field(fixed::Field::basic(username, password)),
            Attachment::Header { name, prefix, value } => Self::Field(fixed::Field::new(name, prefix, value)),
            Attachment::Query { name, prefix, value } => Self::Query(query::Query::new(name, prefix, value)),
            Attachment::Cookie { name, prefix, value } => Self::Cookie(fixed::Cookie::new(name, prefix, value)),
        }
    }
}
