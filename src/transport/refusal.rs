//! Whether a service refuses our client certificate by a status: it shakes hands whatever it is shown, and answers each
//! request with, say, nginx's 400.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use ::http::uri::{Authority, PathAndQuery};
use ::http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::dial::{self, DialNotes};
use super::http::{self, Connected};
use super::{DialTarget, Outgoing, RequestBody};
use crate::config::Scheme;
use crate::legible::{excerpt, legible};

/// Sends an `OPTIONS` that carries nothing of ours: it is safe (RFC 9110 §9.3.7), and even a service that gives its other
/// methods a meaning of their own seldom gives it one. What comes of it counts only where it speaks of a certificate.
pub(super) async fn ask(endpoint: &DialTarget, authority: &Authority, target: PathAndQuery) -> Option<String> {
    let (status, words) = timeout(LONGEST, answer(endpoint, authority, target.clone())).await.ok()??;
    is_about_certificates(status, &words).then(|| {
        let words: String = excerpt(&gist(&words)).chars().flat_map(legible).collect();
        format!("it answers `OPTIONS {target}` with {}: {words}", status.as_u16())
    })
}

async fn answer(endpoint: &DialTarget, authority: &Authority, target: PathAndQuery) -> Option<(StatusCode, String)> {
    let dialed = dial::dial(endpoint, &DialNotes::default()).await.ok()?;
    let Connected { mut sender, mut driver, spent: _ } =
        http::handshake(dialed, Default::default(), endpoint).await.ok()?;
    let mut outgoing = Outgoing {
        method: Method::OPTIONS,
        scheme: Scheme::Https,
        authority: authority.clone(),
        target,
        fields: HeaderMap::new(),
        body: RequestBody::Empty,
    };
    let mut asking = pin!(async {
        let response = sender.send(&mut outgoing).await.ok()?;
        let status = response.status();
        let mut body = sender.read(response.into_body());
        let mut words = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            words.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            if words.len() > MOST_BYTES {
                break;
            }
        }
        Some((status, String::from_utf8_lossy(&words).into_owned()))
    });
    poll_fn(|cx| {
        // It moves the bytes of HTTP/2; once it has ended, what is asked is answered, if only by that.
        driver.take_if(|driver| driver.as_mut().poll(cx).is_ready());
        asking.as_mut().poll(cx)
    })
    .await
}

/// nginx's own codes are 495 and 496, which some say outright. A 401 may speak of certificates too, but was to be expected
/// of a request without a credential.
fn is_about_certificates(status: StatusCode, words: &str) -> bool {
    match status.as_u16() {
        495 | 496 => true,
        400 | 403 => words.to_ascii_lowercase().contains("certificate"),
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
    use super::*;

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
        check(401, "show a token or a certificate", None);
        check(404, "no certificate of that number", None);
        check(405, "", None);
        check(200, "certificates", None);
    }
}
