//! An answer that brings no token: what it says instead, whose turn it is, and what to do about it.
//!
//! Pure, as `answer` is.

use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, DATE, LOCATION};
use http::{HeaderMap, StatusCode};
use httpdate::HttpDate;

use super::answer::{
    AnswerExpectation, HELP_REDIRECT, LONGEST_DESCRIPTION, LONGEST_WORD, TokenAnswer, has_error, is_compressed,
    is_object, readable, retry_after,
};
use super::complaint::Complaint;
use super::failure::{FailureKind, TokenFailure};

impl AnswerExpectation<'_> {
    /// The answer brings no token: what it says instead, and whose turn it is.
    pub(super) fn refusal(&self, answer: &TokenAnswer<'_>, now: SystemTime) -> TokenFailure {
        let complaint = readable(answer).map(|body| Complaint::of(body, answer.fields, answer.status, self.secrets));
        let complaint = complaint.unwrap_or_default();
        let error = complaint.code.as_deref().unwrap_or_default();
        let kind = kind_of(answer.status, error, has_error(answer));
        let mut help = match answer.status.as_u16() {
            300..=399 => HELP_REDIRECT.into(),
            _ => self.given.advice(kind, &complaint, answer.status, self.learnt),
        };
        let is_about_jwt = kind == FailureKind::Rejected && matches!(error, "invalid_client" | "invalid_grant");
        if is_about_jwt && self.given.has_jwt() && clocks_differ(answer.fields, now) {
            help = HELP_CLOCKS.into();
        }
        self.failure(kind, self.what(answer, &complaint), help, retry_after(answer.fields, now))
    }

    fn what(&self, answer: &TokenAnswer<'_>, complaint: &Complaint) -> String {
        let status = answer.status.as_u16();
        if let Some(target) = answer.fields.get(LOCATION).filter(|_| answer.status.is_redirection()) {
            let target = String::from_utf8_lossy(target.as_bytes());
            let target = self.secrets.words(&target, LONGEST_DESCRIPTION).map(|target| format!(" to {target}"));
            return format!("answered {status}, a redirect{}", target.unwrap_or_default());
        }
        let words = complaint.words.as_deref().and_then(|words| self.secrets.words(words, LONGEST_DESCRIPTION));
        let what = match answer {
            TokenAnswer { body: None, .. } => format!("answered {status} with more than 64 KiB"),
            TokenAnswer { fields, .. } if is_compressed(fields) => {
                format!("answered {status} compressed, though it was asked not to (`Accept-Encoding: identity`)")
            }
            _ if complaint.code.is_some() => {
                let code = complaint.code.as_deref().and_then(|code| self.secrets.code(code, LONGEST_WORD));
                format!("answered {status}{}", code.map(|code| format!(" `{code}`")).unwrap_or_default())
            }
            TokenAnswer { body: Some([]), .. } => format!("answered {status} with an empty body"),
            _ if is_object(answer) && answer.status.is_success() => {
                format!("answered {status} without an `access_token`")
            }
            _ if is_object(answer) => format!("answered {status}"),
            TokenAnswer { fields, .. } => format!("answered {status} with {}", self.content(fields)),
        };
        match words {
            Some(words) => format!("{what} ({words})"),
            None => what,
        }
    }

    fn content(&self, fields: &HeaderMap) -> String {
        let named = fields.get(CONTENT_TYPE).and_then(|name| name.to_str().ok());
        let named = named.and_then(|name| self.secrets.words(name, LONGEST_WORD)).map(|name| format!(", but {name}"));
        format!("something that is no token answer in JSON{}", named.unwrap_or_default())
    }
}

/// Whose turn it is after this status and this error.
fn kind_of(status: StatusCode, error: &str, has_error: bool) -> FailureKind {
    match (status.as_u16(), error) {
        (_, "temporarily_unavailable" | "server_error") => FailureKind::Unavailable,
        (200..=299, _) if has_error => FailureKind::Rejected,
        // It will be there tomorrow too, and there is where it says (RFC 9110 §15.4.2, §15.4.9).
        (301 | 308 | 501, _) => FailureKind::Rejected,
        // Of a proxy or a gateway on the way, of the moment, or of a lock.
        (407 | 408 | 409 | 421 | 423 | 425 | 429 | 460 | 499, _) => FailureKind::Unavailable,
        (400..=499, _) => FailureKind::Rejected,
        _ => FailureKind::Unavailable,
    }
}

/// Whether the endpoint's clock is so far from ours that a JWT of a minute's life is over, or not yet begun, over there.
fn clocks_differ(fields: &HeaderMap, now: SystemTime) -> bool {
    let theirs = fields.get(DATE).and_then(|date| date.to_str().ok()?.parse::<HttpDate>().ok());
    theirs.map(SystemTime::from).is_some_and(|theirs| {
        let apart = theirs.duration_since(now).unwrap_or_else(|earlier| earlier.duration());
        apart > LARGEST_DIFFERENCE
    })
}

const HELP_CLOCKS: &str = "its clock and ours are more than a minute apart, too far for a JWT that is signed here: set them \
     right";

const LARGEST_DIFFERENCE: Duration = Duration::from_secs(60);
