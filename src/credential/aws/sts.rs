//! Keys of AWS that STS lends for the token of a workload (`AssumeRoleWithWebIdentity`).
//!
//! They live in a [`Slot`] as tokens do: one request in flight, refreshed ahead, backing off. What is kept there as the
//! token is id, key and session token, a line each.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, DATE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use crate::clock::Moment;
use crate::config::auth::aws::{AwsKey, WebIdentity};
use crate::config::{HttpVersion, Report, Scheme};
use crate::credential::digest::Digest;
use crate::credential::oauth2::answer::{Granted, Oddities, TokenAnswer};
use crate::credential::oauth2::call::{Address, TimeBudget};
use crate::credential::oauth2::entry::{EntryKey, trust_of};
use crate::credential::oauth2::failure::{FailureKind, HELP_ELSEWHERE, NotAsked, TokenFailure};
use crate::credential::oauth2::origin::UrlOrigin;
use crate::credential::oauth2::policy::RefreshPolicy;
use crate::credential::oauth2::source::{Beginning, TokenSource, at_once};
use crate::credential::oauth2::spellings::Spellings;
use crate::credential::oauth2::{Slot, as_used};
use crate::credential::{Error, Material};
use crate::secret::Secret;
use crate::tls::{ClientTls, TlsOrigin, TlsPlace};
use crate::transport::RequestBody;

/// Keys that are lent to one service.
#[derive(Debug)]
pub(super) struct Lent {
    slot: Arc<Slot>,
    entry: EntryKey,
    /// Held for the slot: it counts as long as this is here.
    _policy: Arc<RefreshPolicy>,
}

impl Lent {
    /// `None`: what is wrong has been reported.
    pub(super) fn compile(written: &WebIdentity, material: &Material<'_>, report: &mut Report) -> Option<Self> {
        let (sts, entry) = Sts::compile(written, material, report)?;
        let first_tokens = material.first_tokens.cloned();
        let slot = material.slots.slot_of(entry, || Slot::new(Arc::new(sts), None, first_tokens));
        let policy = Arc::new(RefreshPolicy::of_keys(DEFAULT_LIFE, TIMEOUT, material.slots.told(material.name)));
        slot.policies.join(&policy);
        Some(Self { slot, entry, _policy: policy })
    }

    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    pub(super) fn digest(&self, digest: &mut Digest) {
        digest.field(&self.entry);
    }

    /// The key that is lent now.
    ///
    /// # Errors
    /// When there is none, and none is to be had.
    pub(super) async fn key(&self) -> Result<AwsKey, Error> {
        if let Some(key) = self.slot.load(Moment::now(), |token| unpacked(&token.access_token)) {
            return Ok(key);
        }
        Ok(unpacked(&self.slot.wait().await?.access_token))
    }
}

/// STS, asked for one role with one file's token.
struct Sts {
    address: Address,
    role_arn: String,
    token_file: PathBuf,
}

impl Sts {
    /// With all that decides which keys it lends.
    fn compile(written: &WebIdentity, material: &Material<'_>, report: &mut Report) -> Option<(Self, EntryKey)> {
        let url = &written.sts_url.value;
        let tls = match url.scheme {
            Scheme::Http | Scheme::Sftp | Scheme::Ftp | Scheme::Ftps | Scheme::OpenPgp => None,
            Scheme::Https => {
                let trust = material.service.tls.as_ref().map(trust_of);
                let (host, url) = (&url.authority.host, written.sts_url.span);
                let place = TlsPlace { url, origin: TlsOrigin::Sts };
                Some(ClientTls::compile(trust.as_ref(), host, None, HttpVersion::Auto, place, material.inputs, report)?)
            }
        };
        let mut digest = Digest::new();
        digest.list(tls.iter().map(|tls| tls.fingerprint.as_slice()));
        let parts = [url.to_string(), written.role_arn.clone(), written.token_file.to_string_lossy().into_owned()];
        digest.list([b"sts".as_slice()].into_iter().chain(parts.iter().map(String::as_bytes)));
        let way = material.proxies.way_to(url);
        way.digest(&mut digest);
        let address = Address::of(url, tls, way, UrlOrigin::Sts);
        if address.is_err() {
            report.error(written.sts_url.span, "a request can't be sent to this URL");
        }
        let (role_arn, token_file) = (written.role_arn.clone(), written.token_file.clone());
        Some((Self { address: address.ok()?, role_arn, token_file }, digest.finish()))
    }

    async fn exchange(&self, timeout: Duration) -> Result<Granted, TokenFailure> {
        let patience = TimeBudget::of(timeout);
        let token = patience.keep(self.token()).await.unwrap_or_else(|| Err(self.unreadable("it takes too long")));
        let token = token.map_err(|unready| TokenFailure::unready(self.host(), unready))?;
        let form = self.form(&token);
        let body = RequestBody::Whole(Some(Bytes::copy_from_slice(form.expose().as_bytes())));
        let heard = self.address.ask(Method::POST, fields(), body, patience).await?;
        self.read(&heard.answer(), &Spellings::of([token.expose()]), heard.sent)
    }

    /// The workload's token, as it is now.
    async fn token(&self) -> Result<Secret, NotAsked> {
        let token = as_used::read(&self.token_file).await.map_err(|reason| self.unreadable(&reason))?;
        match std::str::from_utf8(&token) {
            Ok(token) if !token.is_empty() => Ok(Secret::new(token.to_owned())),
            _ => Err(self.unreadable("it has no token")),
        }
    }

    fn unreadable(&self, reason: &str) -> NotAsked {
        NotAsked {
            what: format!("`token_file` at `{}` can't be used: {reason}", self.token_file.display()),
            help: "check that whoever puts the token there is running; it is read anew at each attempt",
        }
    }

    fn form(&self, token: &Secret) -> Secret {
        let mut form = Serializer::new(String::new());
        for (name, value) in [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", &self.role_arn),
            ("RoleSessionName", "sidekey"),
            ("WebIdentityToken", token.expose()),
        ] {
            form.append_pair(name, value);
        }
        Secret::new(form.finish())
    }

    fn read(&self, answer: &TokenAnswer<'_>, secrets: &Spellings, sent: Moment) -> Result<Granted, TokenFailure> {
        let text = answer.body.and_then(|body| std::str::from_utf8(body).ok()).unwrap_or_default();
        if answer.status != StatusCode::OK {
            return Err(self.refusal(answer.status, text, secrets));
        }
        let parts = ["AccessKeyId", "SecretAccessKey", "SessionToken"].map(|name| element(text, name));
        let [Some(id), Some(secret), Some(token)] = parts else {
            return Err(self.unavailable("answered without a key".to_owned(), CHECK));
        };
        let parts = [&id, &secret, &token];
        if !parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(self.unavailable("answered with a key that can't be sent".to_owned(), CHECK));
        }
        let access_token = Secret::new(parts.map(|part| part.as_str()).join("\n"));
        let life = element(text, "Expiration").and_then(|at| life(&at, answer.fields));
        Ok(Granted { access_token, sent, life, scope: None, oddities: Oddities::default() })
    }

    /// STS says what it has against us in `Code` and `Message`.
    fn refusal(&self, status: StatusCode, text: &str, secrets: &Spellings) -> TokenFailure {
        let said = ["Code", "Message"].map(|name| element(text, name).unwrap_or_default());
        let [code, message] = [(&said[0], 80), (&said[1], 200)].map(|(words, longest)| secrets.quote(words, longest));
        let passing = ["Throttling", "ThrottlingException", "IDPCommunicationError", "RequestLimitExceeded"];
        let rejected = matches!(status.as_u16(), 400 | 401 | 403 | 404 | 405) && !passing.contains(&said[0].as_str());
        let what = match (code.is_empty(), message.is_empty()) {
            (true, _) => format!("answered with {}", status.as_u16()),
            (false, true) => format!("answered with {}: {code}", status.as_u16()),
            (false, false) => format!("answered with {}: {code}, {message}", status.as_u16()),
        };
        let kind = if rejected { FailureKind::Rejected } else { FailureKind::Unavailable };
        let help = if rejected { "check `role_arn`, and whom the role trusts" } else { HELP_ELSEWHERE };
        TokenFailure { kind, ..self.unavailable(what, help) }
    }

    fn unavailable(&self, what: String, help: &'static str) -> TokenFailure {
        TokenFailure {
            kind: FailureKind::Unavailable,
            endpoint: self.host().to_owned(),
            what,
            help: help.into(),
            retry_after: None,
        }
    }
}

impl TokenSource for Sts {
    fn begin(&self) -> Beginning<'_> {
        at_once(|attempt| Box::pin(self.exchange(attempt.timeout)))
    }

    fn host(&self) -> &str {
        self.address.host()
    }
}

fn fields() -> HeaderMap {
    let mut fields = HeaderMap::new();
    fields.insert(USER_AGENT, HeaderValue::from_static(concat!("sidekey/", env!("CARGO_PKG_VERSION"))));
    fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    fields
}

/// A key that stands in the slot.
fn unpacked(token: &Secret) -> AwsKey {
    let mut lines = token.expose().lines().map(str::to_owned);
    let mut line = || lines.next().unwrap_or_default();
    AwsKey { id: line(), secret: Secret::new(line()), session_token: Some(Secret::new(line())) }
}

/// The text of the first element of this name.
fn element(xml: &str, name: &str) -> Option<Zeroizing<String>> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let mut text = Zeroizing::new(text.trim().to_owned());
    for (entity, character) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")] {
        text = Zeroizing::new(text.replace(entity, character));
    }
    Some(text)
}

/// How long a key lives that ends at `expiration`, by the clock of who lends it.
fn life(expiration: &str, fields: &HeaderMap) -> Option<Duration> {
    let end: SystemTime = OffsetDateTime::parse(expiration, &Rfc3339).ok()?.into();
    let date = fields.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
    let life = end.duration_since(date.unwrap_or_else(SystemTime::now)).unwrap_or_default();
    Some(life.min(LONGEST_LIFE))
}

const CHECK: &str = "check `sts_url`, and that it can be reached from here";
const TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_LIFE: Duration = Duration::from_secs(5 * 60);
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Url, UrlAuthority};
    use crate::transport::ProxySelector;

    fn sts() -> Sts {
        let authority = UrlAuthority { host: "sts.example".to_owned(), port: 80, default_port: true };
        let url = Url { scheme: Scheme::Http, authority, path: "/".to_owned(), query: None };
        let address =
            Address::of(&url, None, ProxySelector::default().way_to(&url), UrlOrigin::Sts).expect("an address");
        Sts { address, role_arn: "arn".to_owned(), token_file: PathBuf::from("token") }
    }

    fn read(status: u16, date: Option<&str>, body: &str) -> Result<Granted, TokenFailure> {
        let mut fields = HeaderMap::new();
        if let Some(date) = date {
            fields.insert(DATE, HeaderValue::from_str(date).expect("a date"));
        }
        let status = StatusCode::from_u16(status).expect("a status");
        let answer = TokenAnswer { status, fields: &fields, body: Some(body.as_bytes()) };
        sts().read(&answer, &Spellings::of(["ey.J.w"]), Moment::now())
    }

    const KEY: &str = "<Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
                       <SessionToken>t&lt;&amp;lt;</SessionToken><Expiration>2026-11-27T23:00:00Z</Expiration></Credentials>";

    #[test]
    fn a_key_lives_by_the_clock_of_who_lends_it() {
        let granted = read(200, Some("Fri, 27 Nov 2026 22:00:00 GMT"), KEY).expect("a key");

        assert_eq!(granted.life, Some(Duration::from_secs(60 * 60)));
        let key = unpacked(&granted.access_token);
        assert_eq!((key.id.as_str(), key.secret.expose()), ("ASIA", "s"));
        assert_eq!(key.session_token.expect("a token").expose(), "t<&lt;");
        let long = KEY.replace("2026", "2099");
        assert_eq!(read(200, None, &long).expect("a key").life, Some(LONGEST_LIFE));
        assert_eq!(read(200, None, &KEY.replace("2026", "soon")).expect("a key").life, None);
    }

    #[track_caller]
    fn check(status: u16, body: &str, kind: FailureKind, what: &str) {
        let failure = read(status, None, body).expect_err("no key");

        assert_eq!((failure.kind, failure.what.as_str()), (kind, what), "{status} {body}");
    }

    #[test]
    fn anything_else_is_a_failure_that_says_why() {
        let error =
            |code: &str, message: &str| format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
        check(
            400,
            &error("ExpiredTokenException", "old ey.J.w"),
            FailureKind::Rejected,
            "answered with 400: ExpiredTokenException, old ***",
        );
        check(403, &error("AccessDenied", ""), FailureKind::Rejected, "answered with 403: AccessDenied");
        check(
            400,
            &error("IDPCommunicationError", "a"),
            FailureKind::Unavailable,
            "answered with 400: IDPCommunicationError, a",
        );
        check(500, "", FailureKind::Unavailable, "answered with 500");
        check(200, "<html>", FailureKind::Unavailable, "answered without a key");
        check(200, &KEY.replace("ASIA", "A B"), FailureKind::Unavailable, "answered with a key that can't be sent");
    }
}
