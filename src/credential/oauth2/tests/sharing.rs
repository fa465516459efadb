//! Which methods share a token: those that agree on everything that decides which token it is, and no others.

use std::collections::BTreeMap;

use http::HeaderName;

use super::super::entry::Entry;
use crate::config::auth::oauth2::{ClientAuth, EndpointConfig, ExchangeConfig, GrantConfig, OAuth2, SubjectToken};
use crate::config::value::Issuer;
use crate::config::{self, At, Inputs, Report, Scheme, Secrets, Url};
use crate::credential::tests::{load, oauth2};
use crate::credential::{Material, Slots};
use crate::name::ServiceName;
use crate::secret::Secret;

/// Each is compared with all before it: more than a million pairs.
const METHODS: usize = 1_500;

#[test]
fn of_a_million_pairs_of_methods_those_share_a_token_that_agree_on_every_field_of_its_entry() {
    let (config, _) = load("services: { api: { url: 'https://api.example' } }".to_owned());
    let service = &config.services["api"].value;
    let mut random = fastrand::Rng::with_seed(7);

    let methods: Vec<(OAuth2, [u8; 32])> = (0..METHODS).map(|_| keyed(any(&mut random), service)).collect();

    let (mut shared, mut separate) = (0_u32, 0_u32);
    for (at, (one, its_key)) in methods.iter().enumerate() {
        for (other, others_key) in &methods[..at] {
            let agree = one == other;
            assert_eq!(its_key == others_key, agree, "{one:?}\n{other:?}");
            *(if agree { &mut shared } else { &mut separate }) += 1;
        }
    }
    assert!(shared + separate > 1_000_000);
    // Neither side of the promise was tested in vain.
    assert!(shared > 1_000, "{shared} pairs agree");
    assert!(separate > 1_000, "{separate} pairs differ");
}

fn keyed(method: OAuth2, service: &config::ServiceConfig) -> (OAuth2, [u8; 32]) {
    let material = Material {
        inputs: &Inputs::new(Secrets::Read),
        name: &ServiceName::parse("api").expect("a name"),
        service,
        certificate: None,
        certificates: &BTreeMap::new(),
        slots: &Slots::default(),
        first_tokens: None,
        tls_cache: &<_>::default(),
        proxies: &<_>::default(),
    };
    let mut report = Report::default();
    let entry = Entry::compile(&method, &material, &mut report);
    let key = entry.unwrap_or_else(|| panic!("{:?}", report.diagnostics())).key;
    (method, key)
}

/// A method that is like any other in most fields, so that many agree in all, and many in all but one. Values are made
/// of the same few letters, so that fields which run into each other would be found out.
fn any(random: &mut fastrand::Rng) -> OAuth2 {
    let mut method = oauth2();
    method.endpoint = At::nowhere(EndpointConfig::Token(url("/t")));
    for _ in 0..random.usize(..3) {
        vary(&mut method, random);
    }
    method
}

fn vary(method: &mut OAuth2, random: &mut fastrand::Rng) {
    let text = ["a", "b", "ab", "a b"][random.usize(..4)].to_owned();
    let secret = Secret::new(text.clone());
    match random.u8(..17) {
        0 => method.endpoint = At::nowhere(EndpointConfig::Token(url(&format!("/{text}").replace(' ', "%20")))),
        1 => {
            method.endpoint = At::nowhere(EndpointConfig::Issuer(issuer(url(&format!("/{text}").replace(' ', "%20")))))
        }
        2 => method.client_id = Some(text),
        3 => method.client_auth = ClientAuth::Basic(At::nowhere(secret)),
        4 => method.client_auth = ClientAuth::Post(At::nowhere(secret)),
        5 => method.client_auth = ClientAuth::None,
        6 => method.grant = GrantConfig::Password { username: text, password: secret },
        7 => method.scope = Some(text),
        8 => method.audience = Some(text),
        9 => method.resource.push(text),
        10 => method.params.push((text, At::nowhere(secret))),
        11 => method.headers.push((At::nowhere(HeaderName::from_static("x-tenant")), At::nowhere(secret))),
        12 => method.grant = GrantConfig::RefreshToken { refresh_token: secret, state_file: None },
        13 => method.client_auth = ClientAuth::SecretJwt(At::nowhere(secret)),
        14 => method.dpop = true,
        15 => method.grant = exchange(SubjectToken::Fixed(secret), None),
        _ => method.grant = exchange(SubjectToken::FromHeader(HeaderName::from_static("x-user")), Some(secret)),
    }
}

fn exchange(subject_token: SubjectToken, actor_token: Option<Secret>) -> GrantConfig {
    let [subject_token_type, actor_token_type, requested_token_type] = ["s", "a", "r"].map(str::to_owned);
    GrantConfig::TokenExchange(Box::new(ExchangeConfig {
        subject_token,
        subject_token_type,
        actor_token,
        actor_token_type,
        requested_token_type,
    }))
}

fn issuer(url: Url) -> Issuer {
    Issuer { written: url.to_string(), url }
}

fn url(path: &str) -> Url {
    let authority = config::UrlAuthority { host: "127.0.0.1".to_owned(), port: 1, default_port: false };
    Url { scheme: Scheme::Http, authority, path: path.to_owned(), query: None }
}
