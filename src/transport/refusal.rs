//! What no handshake shows: a service may refuse our client certificate by a status (it shakes hands whatever it is shown,
//! and answers each request with, say, nginx's 400), mind the name it goes by, or speak something else than it is spoken to.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use ::http::uri::{Authority, PathAndQuery};
use ::http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::dial::{self, DialNotes};
use super::http::{self, Connected};
use super::{DialTarget, Error, Outgoing, ProtocolSwitch, RequestBody};
use crate::config::Scheme;
use crate::legible::{excerpt, legible};

/// What an `OPTIONS` shows that a request would meet.
pub(crate) enum Objection {
    /// Our client certificate is refused, or missed.
    Certificate(String),
    /// It is not who is asked (RFC 9110 §15.5.20).
    Misdirected(String),
    /// It wants TLS, and says so without it.
    WantsTls(String),
    /// What answers is no HTTP, or not the version of it that is spoken to it.
    NoHttp(Error),
}

/// Sends an `OPTIONS` that carries nothing of ours: it is safe (RFC 9110 §9.2.1), and even a service that gives its other
/// methods a meaning of their own seldom gives it one. What comes of it counts only where every request would meet it.
pub(super) async fn ask(endpoint: &DialTarget, authority: &Authority, target: PathAndQuery) -> Option<Objection> {
    ask_within(LONGEST, endpoint, authority, target).await
}

async fn ask_within(
    limit: Duration,
    endpoint: &DialTarget,
    authority: &Authority,
    target: PathAndQuery,
) -> Option<Objection> {
    let mut answer = Answer::default();
    // Past the limit what has come by then is all there is: a status is enough, whatever its body does.
    let asked = timeout(limit, read(endpoint, authority, target.clone(), &mut answer)).await;
    let Answer { status, words } = answer;
    let Some(status) = status else {
        return asked.ok()?.err().filter(|error| is_of_all_requests(error, endpoint)).map(Objection::NoHttp);
    };
    let words = String::from_utf8_lossy(&words);
    let told = || {
        let words: String = excerpt(&gist(&words)).chars().flat_map(legible).collect();
        let colon = if words.is_empty() { "" } else { ": " };
        format!("it answers `OPTIONS {target}` with {}{colon}{words}", status.as_u16())
    };
    match status.as_u16() {
        421 => Some(Objection::Misdirected(told())),
        400 | 403 | 426 if endpoint.tls.is_none() && wants_tls(&words) => Some(Objection::WantsTls(told())),
        _ if is_about_certificates(status, &words) => Some(Objection::Certificate(told())),
        _ => None,
    }
}

/// Whether another request would fare no better. Whoever has shaken hands is who is meant, and may be odd to this method alone
/// (`gnutls-serv` answers it with no HTTP); without TLS the port may be another's.
fn is_of_all_requests(error: &Error, endpoint: &DialTarget) -> bool {
    endpoint.tls.is_none() && matches!(error, Error::Protocol(_) | Error::Terminated(_))
}

/// What servers of TLS say to plain HTTP: nginx and Apache; Go; Tomcat; Keycloak, which goes by what a proxy before it says.
pub(crate) fn wants_tls(words: &str) -> bool {
    const SAID: [&str; 4] = ["plain http", "http request to an https server", "requires tls", "https required"];
    let words = words.to_ascii_lowercase();
    SAID.iter().any(|said| words.contains(said))
}

/// As much of it as has come.
#[derive(Default)]
struct Answer {
    status: Option<StatusCode>,
    words: Vec<u8>,
}

async fn read(
    endpoint: &DialTarget,
    authority: &Authority,
    target: PathAndQuery,
    answer: &mut Answer,
) -> Result<(), Error> {
    let dialed = dial::dial(endpoint, &DialNotes::default()).await?;
    let Connected { mut sender, mut driver, spent: _ } = http::handshake(dialed, Default::default(), endpoint).await?;
    let mut outgoing = Outgoing {
        method: Method::OPTIONS,
        scheme: if endpoint.tls.is_some() { Scheme::Https } else { Scheme::Http },
        authority: authority.clone(),
        target,
        fields: HeaderMap::new(),
        body: RequestBody::Empty,
        switch: ProtocolSwitch::NotAsked,
    };
    let mut asking = pin!(async {
        let response = sender.send(&mut outgoing).await.map_err(|unsent| unsent.error)?;
        answer.status = Some(response.status());
        let mut body = sender.read(response.into_body());
        while let Some(Ok(frame)) = body.frame().await {
            answer.words.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            if answer.words.len() > MOST_BYTES {
                break;
            }
        }
        Ok(())
    });
    poll_fn(|cx| {
        // It moves the bytes of HTTP/2; once it has ended, what is asked is answered, if only by that.
        driver.take_if(|driver| driver.as_mut().poll(cx).is_ready());
        asking.as_mut().poll(cx)
    })
    .await
}

/// nginx's own codes are 495 and 496, which some say outright. A 401 may speak of certificates too, but was to be expected
/// of a request without a credential. For the same reason a text that speaks of tokens counts for nothing: those may be
/// bound to certificates (RFC 8705 §3), and no token was shown.
fn is_about_certificates(status: StatusCode, words: &str) -> bool {
    match status.as_u16() {
        495 | 496 => true,
        400 | 403 => {
            let words = words.to_ascii_lowercase();
            words.contains("certificate") && !words.contains("token")
        }
        _ => false,
    }
}

/// The title of a page, else its text.
fn gist(words: &str) -> String {
    let title = words.split_once("<title>").and_then(|(_, rest)| Some(rest.split_once("</title>")?.0));
    let mut within_tag = false;
    let text: String = title
        .unwrap_or(words)
        .chars()
        .filter(|character| {
            let is_text = !within_tag && *character != '<';
            within_tag = *character == '<' || (within_tag && *character != '>');
            is_text
        })
        .collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Who looks at a config waits for no more than this.
const LONGEST: Duration = Duration::from_secs(5);

/// A page that says why begins with it.
const MOST_BYTES: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::transport::tests::lab::{Service, read_head};

    #[track_caller]
    fn check(status: u16, words: &str, expected: Option<&str>) {
        let status = StatusCode::from_u16(status).unwrap();
        let told = is_about_certificates(status, words).then(|| gist(words));
        assert_eq!(told.as_deref(), expected);
    }

    #[test]
    fn only_an_answer_that_speaks_of_certificates_is_a_refusal() {
        let nginx = "<html>\r\n<head><title>400 The SSL certificate error</title></head>\r\n<body>\r\n<center>";
        check(400, nginx, Some("400 The SSL certificate error"));
        check(
            403,
            "<h1>Forbidden</h1>\n<p>A client  certificate is required</p>",
            Some("Forbidden A client certificate is required"),
        );
        check(403, r#"{"error":"Client Certificate unknown"}"#, Some(r#"{"error":"Client Certificate unknown"}"#));
        check(496, "", Some(""));
        check(400, "<title>400 Bad Request</title>", None);
        check(403, r#"{"error":"a certificate-bound access token is required"}"#, None);
        check(401, "show a token or a certificate", None);
        check(404, "no certificate of that number", None);
        check(405, "", None);
        check(200, "certificates", None);
    }

    #[tokio::test(flavor = "local")]
    async fn a_status_that_says_enough_is_told_whatever_its_body_does() {
        let authority = Authority::from_static("service.example");
        let target = PathAndQuery::from_static("/");
        let limit = Duration::from_secs(1);
        for (answer, expected) in [
            ("HTTP/1.1 496 Word\r\ncontent-length: 0\r\n\r\n", "496"),
            ("HTTP/1.1 496 Word\r\ncontent-length: 9\r\n\r\n", "496"),
            ("HTTP/1.1 403 Word\r\ncontent-length: 99\r\n\r\nwhich certificate", "403: which certificate"),
        ] {
            let service = Service::raw(move |mut tcp, _| async move {
                read_head(&mut tcp).await;
                tcp.write_all(answer.as_bytes()).await.unwrap();
                std::future::pending::<()>().await;
            })
            .await;

            let told = ask_within(limit, &service.connector().0, &authority, target.clone()).await;

            let Some(Objection::Certificate(told)) = told else { panic!("no objection to {answer}") };
            assert_eq!(told, format!("it answers `OPTIONS /` with {expected}"), "{answer}");
        }
    }
}
