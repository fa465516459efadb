//! The app's own credential, where `on_client_authorization: keep` lets it have one.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::Rules;
use crate::config::OnClientAuthorization;
use crate::proxy::Error;

/// What the app sent itself of the fields that our credential owns: taken off its request before anything else may be
/// mistaken for it, and put back before each sending, in the place of ours.
#[derive(Debug, Default)]
pub(crate) struct AppsCredential(Vec<(HeaderName, HeaderValue)>);

impl AppsCredential {
    /// Takes it off a request. Nothing, where the config does not keep it.
    ///
    /// # Errors
    /// When a field of it was sent more than once, or says nothing.
    pub(super) fn take(fields: &mut HeaderMap, rules: &Rules) -> Result<Self, Error> {
        let mut taken = Self::default();
        if rules.on_client_authorization != OnClientAuthorization::Keep {
            return Ok(taken);
        }
        for name in rules.contested.iter() {
            let mut sent = fields.get_all(name).iter();
            let Some(value) = sent.next() else { continue };
            if sent.next().is_some() {
                return Err(Error::ClientCredentialTwice { name: name.as_str().to_owned() });
            }
            if value.as_bytes().trim_ascii().is_empty() {
                return Err(Error::ClientCredentialEmpty { name: name.as_str().to_owned() });
            }
            taken.0.extend(fields.remove(name).map(|value| (name.clone(), value)));
        }
        Ok(taken)
    }

    /// Puts it back, where the credential may have set its own.
    pub(crate) fn put_back(&self, fields: &mut HeaderMap) {
        for (name, value) in &self.0 {
            fields.insert(name.clone(), value.clone());
        }
    }

    /// Whether the app sent all that our credential would have set: then none of ours is asked for.
    pub(crate) fn is_all_of(&self, rules: &Rules) -> bool {
        rules.owns_fields_only && !rules.contested.is_empty() && self.0.len() == rules.contested.len()
    }
}
