//! Who a request is sent as.

use std::rc::Rc;

use http::request;

use super::view::{IdentityHalf, ServiceHalf};
use super::{Arrival, Error};
use crate::credential::{self, Credential, SentToken, SubjectTokens};
use crate::transport::Outgoing;
use crate::upstream::Pool;

/// An identity of the service, and the subject on whose behalf the app asks: decided once, before any field is touched, and
/// the same for each sending.
pub(super) struct Principal {
    half: Rc<IdentityHalf>,
    subject: SubjectTokens,
}

impl Principal {
    /// Of a request as the app sent it: the fields that name identity and subject go no further than here.
    ///
    /// # Errors
    /// When the app has to say as whom it calls, and does not.
    pub(super) fn of(head: &request::Parts, half: &ServiceHalf, arrival: &Arrival) -> Result<Self, Error> {
        let half = Rc::clone(half.identity(&head.headers, arrival)?);
        let subject = half.identity.credential.subject_tokens(&head.headers);
        Ok(Self { half, subject })
    }

    pub(super) fn credential(&self) -> &Credential {
        &self.half.identity.credential
    }

    /// The connections that carry its requests, and nobody else's.
    pub(super) fn pool(&self) -> &Rc<Pool> {
        &self.half.pool
    }

    /// Puts its credential on a request.
    ///
    /// # Errors
    /// When it can't be had.
    pub(super) async fn authorize(&self, outgoing: &mut Outgoing) -> Result<SentToken, credential::Error> {
        self.credential().authorize(&self.half.attachments, &self.subject, outgoing).await
    }
}
