//! Methods that put nothing on a request, and change its body or that of its answer.

use super::{Auth, GpgDecrypt, GpgEncrypt, NotBuiltIn};
use crate::config::diagnostic::Report;
use crate::config::value::At;

/// What becomes of a body on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transform {
    /// It is encrypted.
    Encrypt(Box<GpgEncrypt>),
    /// It is decrypted.
    Decrypt(Box<GpgDecrypt>),
}

impl Transform {
    /// What the config calls the method.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::Encrypt(_) => "gpg_encrypt",
            Self::Decrypt(_) => "gpg_decrypt",
        }
    }

    /// What becomes of bodies, a line.
    pub(super) fn masked(&self) -> Vec<String> {
        vec![match self {
            Self::Encrypt(encrypt) => {
                let files = encrypt.recipients.iter().map(|file| format!("`{}`", file.value.display()));
                let signed = if encrypt.sign_with.is_some() { ", signed" } else { "" };
                format!("the request's body, encrypted for {}{signed}", files.collect::<Vec<_>>().join(" and "))
            }
            Self::Decrypt(_) => "the answer's body, decrypted".to_owned(),
        }]
    }
}

impl Auth {
    /// What it does with bodies.
    pub(crate) fn transform(&self) -> Option<&Transform> {
        match self {
            Self::Transforms(transform) => Some(transform),
            Self::Unavailable(NotBuiltIn { method, .. }) => method.transform(),
            _ => None,
        }
    }
}

/// Reports a second method of a kind: a body goes one way.
pub(super) fn report_repeated(methods: &[At<Auth>], report: &mut Report) {
    let named = |method: &At<Auth>| method.value.transform().map(Transform::method);
    for (at, later) in methods.iter().enumerate() {
        let Some(name) = named(later) else { continue };
        let earlier = methods.iter().take(at).find(|earlier| named(earlier) == Some(name));
        if let Some(first) = earlier {
            report
                .error(later.span, format!("`{name}` is there twice"))
                .label("again here")
                .also(first.span, "first here")
                .help("keep one of them, with all of the keys");
        }
    }
}
