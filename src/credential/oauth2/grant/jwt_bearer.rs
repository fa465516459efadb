//! A JWT of our own as what a token is asked for with (RFC 7523 §2.1).

use serde_json::Value;

use crate::config::auth::oauth2::{self as config, OAuth2};
use crate::config::{Inputs, Report};
use crate::credential::jws::JwsSigner;
use crate::credential::oauth2::assertion::{AssertionMaker, KeyName, audience};
use crate::tls;

/// `None`: what is wrong has been reported, or can't be known without the secrets.
pub(super) fn compile(
    written: &config::AssertionConfig,
    method: &OAuth2,
    inputs: &Inputs,
    report: &mut Report,
) -> Option<AssertionMaker> {
    let key = tls::private_key(&written.key, inputs, report)?;
    let signer = JwsSigner::compile(&*key, written.algorithm, written.key.span, report)?;
    let issuer = written.issuer.clone().or_else(|| method.client_id.clone());
    let own = [
        ("iss", issuer),
        ("sub", written.subject.clone()),
        ("aud", Some(written.audience.clone().unwrap_or_else(|| audience(method)))),
    ];
    let own = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))));
    let name = KeyName { id: written.key_id.as_deref(), certificate: None };
    Some(AssertionMaker::new(signer, &name, own.chain(written.claims.iter().cloned()), written.lifetime))
}
