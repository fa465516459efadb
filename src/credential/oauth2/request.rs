//! A token request: what the grant asks for and how the client authenticates, as a form over HTTP.
//!
//! It is written anew each time it is sent, for parts of it may be good only once.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderName, Method};

use super::advice::Given;
use super::answer::{self, AnswerExpectation, Granted};
use super::attempt::{TokenAttempt, TokenTypes};
use super::call::{Address, Heard, TimeBudget};
use super::client::Client;
use super::dpop::{ProofKey, Prover};
use super::failure::{NotAsked, TokenFailure};
use super::form::{TokenForm, WrittenRequest};
use super::grant::{Claim, Families, Grant, Input};
use super::policy::RefreshPolicies;
use super::source::{Beginning, Begun, Holdup, TokenSource};
use super::state_file::ClaimError;
use super::token_endpoint::TokenEndpoint;
use crate::config::auth::OAuth2;
use crate::config::{Inputs, Report};
use crate::credential::digest::Digest;
use crate::secret::Secret;
use crate::tls::Certificate;
use crate::transport::RequestBody;

/// The token request of one entry, made anew each time it is sent.
pub(super) struct TokenRequest {
    endpoint: TokenEndpoint,
    client: Client,
    grant: Grant,
    wanted: Wanted,
    certificate: Option<[u8; 32]>,
    /// What of it the endpoint may refuse.
    given: Given,
    /// `None`: whoever has a token of the entry may use it.
    prover: Option<Prover>,
}

/// What is asked for, whatever the grant.
struct Wanted {
    scope: Option<String>,
    audience: Option<String>,
    resource: Vec<String>,
    params: Vec<(String, Secret)>,
    headers: Vec<(HeaderName, Secret)>,
}

impl TokenRequest {
    /// `certificate` is the one that the endpoint sees. `None`: what is wrong has been reported, or can't be known
    /// without the secrets.
    pub(super) fn compile(
        written: &OAuth2,
        endpoint: TokenEndpoint,
        certificate: Option<&Certificate>,
        families: &Families,
        inputs: &Inputs,
        report: &mut Report,
    ) -> Option<Self> {
        let client = Client::compile(written, certificate, inputs, report);
        let grant = Grant::compile(written, families, inputs, report);
        let certificate = certificate.map(|certificate| certificate.leaf.sha256);
        let given = Given::of(written, certificate.is_some());
        let prover = written.dpop.then(|| Prover::new(Arc::new(ProofKey::generate())));
        Some(Self { endpoint, client: client?, grant: grant?, wanted: Wanted::of(written), certificate, given, prover })
    }

    /// Digests all that decides which token it brings, but for where it is sent.
    pub(super) fn digest(&self, digest: &mut Digest) {
        self.client.digest(digest);
        self.grant.digest(digest);
        self.wanted.digest(digest);
    }

    /// The field of a request that says on whose behalf a token is asked for.
    pub(super) fn subject_field(&self) -> Option<&HeaderName> {
        self.grant.subject_field()
    }

    /// The client's name at the endpoint.
    pub(super) fn client_id(&self) -> Option<&str> {
        self.client.id()
    }

    /// The key that its tokens are bound to (DPoP).
    pub(super) fn proof_key(&self) -> Option<&Arc<ProofKey>> {
        self.prover.as_ref().map(Prover::key)
    }

    /// One token request, on behalf of `subject` where requests say who that is.
    ///
    /// A refresh token is waited for first. Whoever has it may take all of its own `timeout`, and no part of that is ours.
    pub(super) async fn begin<'a>(&'a self, subject: Option<&'a Secret>) -> Begun<'a> {
        let input = self.grant.input(subject).await;
        Box::new(move |attempt| Box::pin(self.exchange(attempt, input)))
    }

    async fn exchange(&self, attempt: TokenAttempt, mut input: Input<'_>) -> Result<Granted, TokenFailure> {
        let patience = TimeBudget::of(attempt.timeout);
        let address = self.endpoint.find(patience, &attempt.services).await?;
        let mut sent = self.send(&address, &input, patience).await?;
        if self.prover.is_some() && answer::wants_nonce(&sent.1.answer()) {
            // Once: the nonce that came with this answer is in the next proof.
            sent = self.send(&address, &input, patience).await?;
        }
        let (written, heard) = sent;
        // Kept before the access token is used, even if that turns out to be none: the old one is good no more.
        if let Some(refresh_token) = answer::refresh_token(&heard.answer()) {
            input.replace(refresh_token).await;
        }
        answer::read(&heard.answer(), &self.asked(&address, &written, &heard, attempt.types), SystemTime::now())
    }

    async fn send(
        &self,
        address: &Address,
        input: &Input<'_>,
        patience: TimeBudget,
    ) -> Result<(WrittenRequest, Heard), TokenFailure> {
        let (written, heard) = match self.send_on_kept(address, input, patience).await? {
            Some((written, heard)) => (written, heard),
            None => {
                // Written anew, though one may have been written for a connection that was lost: an endpoint that got it
                // all the same would not take the same JWT or proof twice.
                let written = self.write(address, input, patience).await?;
                let (fields, form) = (written.fields.clone(), RequestBody::Whole(Some(written.body.clone())));
                let heard = address.ask(Method::POST, fields, form, patience).await;
                (written, heard)
            }
        };
        self.endpoint.learn(&heard);
        let heard = heard?;
        if let Some(prover) = &self.prover {
            prover.remember(&heard.fields);
        }
        Ok((written, heard))
    }

    /// Sends it on a connection that was kept. `None`: there is none, or it was lost before an answer began.
    async fn send_on_kept(
        &self,
        address: &Address,
        input: &Input<'_>,
        patience: TimeBudget,
    ) -> Result<Option<(WrittenRequest, Result<Heard, TokenFailure>)>, TokenFailure> {
        // A refresh token may be good only once: what is lost with one must not be asked again, so it is never put on a
        // connection that may be about to close. All other requests may be made twice.
        if self.is_heard_out() {
            return Ok(None);
        }
        let Some(kept) = address.kept() else { return Ok(None) };
        let written = self.write(address, input, patience).await?;
        let (fields, form) = (written.fields.clone(), RequestBody::Whole(Some(written.body.clone())));
        let heard = address.ask_on(kept, Method::POST, fields, form, patience).await;
        Ok(heard.map(|heard| (written, heard)))
    }

    /// The request, in no more than the time that is left.
    async fn write(
        &self,
        address: &Address,
        input: &Input<'_>,
        patience: TimeBudget,
    ) -> Result<WrittenRequest, TokenFailure> {
        let Some(form) = patience.keep(self.form(address, input)).await else {
            let what = format!("the request could not be written until `timeout` ({:?}) was over", patience.timeout);
            return Err(TokenFailure::unready(
                self.host(),
                NotAsked { what, help: "check the disk of `client_assertion`" },
            ));
        };
        Ok(form.map_err(|unready| TokenFailure::unready(self.host(), unready))?.finish())
    }

    /// Writes the request as it goes out this time.
    async fn form(&self, address: &Address, input: &Input<'_>) -> Result<TokenForm, NotAsked> {
        let mut form = self.grant.form(input).await?;
        self.client.authenticate(&mut form).await?;
        self.wanted.write(&mut form);
        if let Some(prover) = &self.prover {
            form.prove(prover.prove("POST", address.resource(), None)?);
        }
        Ok(form)
    }

    fn asked<'a>(
        &'a self,
        address: &'a Address,
        written: &'a WrittenRequest,
        heard: &Heard,
        types: TokenTypes,
    ) -> AnswerExpectation<'a> {
        AnswerExpectation {
            endpoint: address.host(),
            secrets: &written.secrets,
            certificate: self.certificate,
            proof_key: self.proof_key().map(|key| key.thumbprint()),
            given: &self.given,
            learnt: address.learnt(),
            scope: self.wanted.scope.as_deref(),
            types,
            sent: heard.sent,
        }
    }
}

impl TokenSource for TokenRequest {
    fn begin(&self) -> Beginning<'_> {
        Box::pin(self.begin(None))
    }

    fn host(&self) -> &str {
        self.endpoint.host()
    }

    fn client_id(&self) -> Option<&str> {
        self.client_id()
    }

    fn serves(&self, services: &Arc<RefreshPolicies>) {
        if let Some(token) = self.grant.refresh_token() {
            token.serves(services);
        }
    }

    fn proof_key(&self) -> Option<&Arc<ProofKey>> {
        self.proof_key()
    }

    fn is_heard_out(&self) -> bool {
        self.grant.refresh_token().is_some()
    }

    fn claim(&self) -> Result<Option<Claim>, ClaimError> {
        self.grant.refresh_token().map_or(Ok(None), |token| token.claim())
    }

    fn state_file(&self) -> Option<&Path> {
        self.grant.refresh_token().and_then(|token| token.state_file())
    }

    fn family(&self) -> Option<u64> {
        self.grant.refresh_token().map(|token| token.family().number())
    }

    fn trouble(&self) -> Option<String> {
        self.grant.refresh_token().and_then(|token| token.trouble())
    }

    fn holdup(&self) -> Option<Holdup> {
        self.grant.refresh_token().and_then(|token| token.holdup())
    }
}

impl Wanted {
    fn of(written: &OAuth2) -> Self {
        let params = written.params.iter().map(|(name, value)| (name.clone(), value.value.clone()));
        let headers = written.headers.iter().map(|(name, value)| (name.value.clone(), value.value.clone()));
        Self {
            scope: written.scope.clone(),
            audience: written.audience.clone(),
            resource: written.resource.clone(),
            params: params.collect(),
            headers: headers.collect(),
        }
    }

    fn digest(&self, digest: &mut Digest) {
        digest.list(self.scope.iter().map(String::as_bytes));
        digest.list(self.audience.iter().map(String::as_bytes));
        digest.list(self.resource.iter().map(String::as_bytes));
        digest.list(self.params.iter().flat_map(|(name, value)| [name.as_bytes(), value.expose().as_bytes()]));
        let headers = self.headers.iter();
        digest.list(headers.flat_map(|(name, value)| [name.as_str().as_bytes(), value.expose().as_bytes()]));
    }

    fn write(&self, form: &mut TokenForm) {
        self.scope.iter().for_each(|scope| form.add("scope", scope));
        self.audience.iter().for_each(|audience| form.add("audience", audience));
        self.resource.iter().for_each(|resource| form.add("resource", resource));
        self.params.iter().for_each(|(name, value)| form.add_secret(name, value));
        for (name, value) in &self.headers {
            form.set_field(name, value.expose(), [value.clone()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};

    use super::*;
    use crate::config::auth::oauth2::ClientAuth;
    use crate::config::{At, Scheme, Secrets, Url};
    use crate::credential::oauth2::origin::UrlOrigin;
    use crate::credential::tests::oauth2;

    fn secret(text: &str) -> At<Secret> {
        At::nowhere(Secret::new(text.to_owned()))
    }

    /// The request that this method makes.
    fn written(method: &OAuth2) -> WrittenRequest {
        let url = Url { scheme: Scheme::Http, ..method.endpoint.value.url().clone() };
        let address = Arc::new(Address::of(&url, None, UrlOrigin::Written).expect("an address"));
        let (inputs, mut report) = (Inputs::new(Secrets::Read), Report::default());
        let endpoint = TokenEndpoint::Configured(Arc::clone(&address));
        let request = TokenRequest::compile(method, endpoint, None, &Families::default(), &inputs, &mut report);
        let request = request.expect("a request");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(request.form(&address, &Input::Nothing)).expect("a form").finish()
    }

    #[track_caller]
    fn check(method: &OAuth2, authorization: Option<&str>, expected: &str) {
        let written = written(method);
        let sent = written.fields.get(AUTHORIZATION).map(|value| value.to_str().expect("ASCII"));

        assert_eq!(written.body, expected);
        assert_eq!(sent, authorization);
    }

    #[test]
    fn basic_encodes_id_and_secret_before_it_joins_them() {
        let mut method = oauth2();
        method.client_id = Some("odd:id%".to_owned());
        method.client_auth = ClientAuth::Basic(secret("p ä&ss"));

        // odd%3Aid%25:p%20%C3%A4%26ss
        check(&method, Some("Basic b2RkJTNBaWQlMjU6cCUyMCVDMyVBNCUyNnNz"), "grant_type=client_credentials");
    }

    #[test]
    fn the_other_ways_to_authenticate_send_the_id_in_the_form_and_no_authorization() {
        let mut method = oauth2();
        method.client_auth = ClientAuth::Post(secret("s&s"));
        check(&method, None, "grant_type=client_credentials&client_id=app&client_secret=s%26s");

        method.client_auth = ClientAuth::TlsClientAuth;
        check(&method, None, "grant_type=client_credentials&client_id=app");

        method.client_auth = ClientAuth::None;
        check(&method, None, "grant_type=client_credentials&client_id=app");
    }

    #[test]
    fn all_that_is_asked_for_stands_in_the_form() {
        let mut method = oauth2();
        method.client_auth = ClientAuth::None;
        method.scope = Some("read write".to_owned());
        method.audience = Some("https://api".to_owned());
        method.resource = vec!["urn:a".to_owned(), "urn:b".to_owned()];
        method.params = vec![("tenant".to_owned(), secret("t=1"))];

        let expected = "grant_type=client_credentials&client_id=app&scope=read+write&audience=https%3A%2F%2Fapi\
                        &resource=urn%3Aa&resource=urn%3Ab&tenant=t%3D1";
        check(&method, None, expected);
    }

    #[test]
    fn the_head_says_who_asks_and_what_may_come_back() {
        let mut method = oauth2();
        method.headers = vec![(At::nowhere(http::HeaderName::from_static("x-tenant")), secret("t1"))];

        let fields = written(&method).fields;

        assert_eq!(fields[ACCEPT], "application/json");
        assert_eq!(fields[ACCEPT_ENCODING], "identity");
        assert_eq!(fields[CONTENT_TYPE], "application/x-www-form-urlencoded");
        assert_eq!(fields[USER_AGENT], concat!("sidekey/", env!("CARGO_PKG_VERSION")));
        assert_eq!(fields["x-tenant"], "t1");
        assert!(fields["x-tenant"].is_sensitive());
    }
}
