//! Where each method puts its credential, as people are told, and that no two put theirs in the same place.

use std::iter;

use http::{HeaderName, header};

use super::{Attachment, Auth, NotBuiltIn, OAuth2, Static};
use crate::config::diagnostic::Report;
use crate::config::value::{At, Span};
use crate::spelling::folded_name;

/// A part of the request that a credential takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestPlace {
    /// The name as it is compared.
    Header(String),
    Query(String),
    Cookie(String),
}

impl RequestPlace {
    /// All spellings of a field are one place.
    pub(super) fn header(name: &str) -> Self {
        Self::Header(folded_name(name))
    }

    /// A cookie is a part of the field `Cookie`.
    fn overlaps(&self, other: &Self) -> bool {
        let cookies = |place: &Self| matches!(place, Self::Header(name) if name == "cookie");
        let cookie = |place: &Self| matches!(place, Self::Cookie(_));
        self == other || (cookies(self) && cookie(other)) || (cookie(self) && cookies(other))
    }

    fn describe(&self) -> String {
        match self {
            Self::Header(name) => format!("the field `{name}`"),
            Self::Query(name) => format!("the query parameter `{name}`"),
            Self::Cookie(name) => format!("the cookie `{name}`"),
        }
    }
}

/// Reports two methods of a service that would set the same.
pub(super) fn report_overlap(methods: &[At<Auth>], report: &mut Report) {
    let places: Vec<Vec<(RequestPlace, Span)>> = methods.iter().map(places).collect();
    for (at, later) in places.iter().enumerate() {
        for (place, span) in later {
            let earlier = places[..at].iter().flatten().find(|(earlier, _)| earlier.overlaps(place));
            if let Some((_, first)) = earlier {
                report
                    .error(*span, format!("two methods set {}", place.describe()))
                    .label("again here")
                    .also(*first, "first here")
                    .help("keep one of them");
            }
        }
    }
}

/// Reports a field of those that `headers` names which one of the methods sets.
pub(in crate::config) fn report_overlap_with_headers<'n>(
    methods: &[At<Auth>],
    named: impl Iterator<Item = &'n At<HeaderName>>,
    report: &mut Report,
) {
    let taken: Vec<(RequestPlace, Span)> = methods.iter().flat_map(places).collect();
    for name in named {
        let place = RequestPlace::header(name.value.as_str());
        if let Some((_, method)) = taken.iter().find(|(taken, _)| taken.overlaps(&place)) {
            report
                .error(name.span, format!("the field `{}` carries the credential of this service", name.value))
                .also(*method, "set by this method")
                .help("remove it here");
        }
    }
}

/// Reports a field in which the app is to say something else, and which one of the methods sets.
pub(in crate::config) fn report_overlap_with_field(methods: &[At<Auth>], name: &At<HeaderName>, report: &mut Report) {
    let place = RequestPlace::header(name.value.as_str());
    let mut taken = methods.iter().flat_map(places);
    if let Some((_, method)) = taken.find(|(taken, _)| taken.overlaps(&place)) {
        report
            .error(name.span, format!("the field `{}` carries the credential of this service", name.value))
            .also(method, "set by this method")
            .help("choose another field");
    }
}

fn places(method: &At<Auth>) -> Vec<(RequestPlace, Span)> {
    places_of(&method.value, method.span)
}

fn places_of(method: &Auth, span: Span) -> Vec<(RequestPlace, Span)> {
    match method {
        Auth::Static(Static { attachments, .. }) => {
            attachments.iter().map(|attachment| (attachment.value.place(), attachment.span)).collect()
        }
        Auth::OAuth2(oauth2) => {
            let proof = oauth2.dpop.then_some("dpop");
            let names = iter::once(oauth2.token_header.as_str()).chain(proof);
            names.map(|name| (RequestPlace::header(name), span)).collect()
        }
        Auth::Unavailable(NotBuiltIn { method, .. }) => places_of(method, span),
        Auth::Signs(signature) => signature.method().places(span),
        Auth::Files(_) | Auth::Transforms(_) => Vec::new(),
    }
}

impl Attachment {
    fn place(&self) -> RequestPlace {
        match self {
            Self::Basic { .. } => RequestPlace::header(header::AUTHORIZATION.as_str()),
            Self::Header { name, .. } => RequestPlace::header(name.as_str()),
            Self::Query { name, .. } => RequestPlace::Query(name.clone()),
            Self::Cookie { name, .. } => RequestPlace::Cookie(name.clone()),
        }
    }

    fn field(&self) -> Option<HeaderName> {
        match self {
            Self::Basic { .. } => Some(header::AUTHORIZATION),
            Self::Header { name, .. } => Some(name.clone()),
            Self::Query { .. } | Self::Cookie { .. } => None,
        }
    }

    fn masked(&self) -> String {
        match self {
            Self::Basic { .. } => "authorization: Basic ***".to_owned(),
            Self::Header { name, prefix, .. } => format!("{name}: {prefix}***"),
            Self::Query { name, prefix, .. } => format!("query parameter {name}={prefix}***"),
            Self::Cookie { name, prefix, .. } => format!("cookie {name}={prefix}***"),
        }
    }
}

impl Auth {
    /// The fields that the method sets.
    pub(crate) fn fields(&self) -> Vec<HeaderName> {
        match self {
            Self::Static(Static { attachments, .. }) => {
                attachments.iter().filter_map(|attachment| attachment.value.field()).collect()
            }
            Self::OAuth2(oauth2) => {
                let proof = oauth2.dpop.then(|| HeaderName::from_static("dpop"));
                iter::once(oauth2.token_header.clone()).chain(proof).collect()
            }
            Self::Unavailable(NotBuiltIn { method, .. }) => method.fields(),
            Self::Signs(signature) => signature.method().fields(),
            Self::Files(_) | Self::Transforms(_) => Vec::new(),
        }
    }

    /// The field by which a request says on whose behalf it is made.
    pub(crate) fn subject_field(&self) -> Option<&HeaderName> {
        match self {
            Self::OAuth2(oauth2) => oauth2.grant.subject_field(),
            Self::Unavailable(NotBuiltIn { method, .. }) => method.subject_field(),
            Self::Static(_) | Self::Signs(_) | Self::Files(_) | Self::Transforms(_) => None,
        }
    }

    /// The query parameters that it sets.
    pub(crate) fn query_parameters(&self) -> impl Iterator<Item = &str> {
        self.attachments().filter_map(|attachment| match attachment {
            Attachment::Query { name, .. } => Some(name.as_str()),
            _ => None,
        })
    }

    /// The cookies that it sets.
    pub(crate) fn cookies(&self) -> impl Iterator<Item = &str> {
        self.attachments().filter_map(|attachment| match attachment {
            Attachment::Cookie { name, .. } => Some(name.as_str()),
            _ => None,
        })
    }

    fn attachments(&self) -> impl Iterator<Item = &Attachment> {
        let attachments = match self {
            Self::Static(Static { attachments, .. }) => &attachments[..],
            _ => &[],
        };
        attachments.iter().map(|attachment| &attachment.value)
    }

    /// What the method puts on a request, a line each, values masked.
    #[must_use]
    pub fn masked(&self) -> Vec<String> {
        match self {
            Self::Static(Static { attachments, .. }) => {
                attachments.iter().map(|attachment| attachment.value.masked()).collect()
            }
            Self::OAuth2(oauth2) => {
                let OAuth2 { token_header, token_prefix, endpoint, dpop, .. } = &**oauth2;
                let space = if token_prefix.is_empty() { "" } else { " " };
                let whose = match oauth2.grant.subject_field() {
                    Some(name) => format!(", in exchange for the one in the request's `{name}`"),
                    None => String::new(),
                };
                let from = format!("a token from {}{whose}", endpoint.value);
                let token = format!("{token_header}: {token_prefix}{space}*** ({from})");
                let proof = dpop.then(|| "dpop: *** (a proof of its own for each sending)".to_owned());
                iter::once(token).chain(proof).collect()
            }
            Self::Unavailable(NotBuiltIn { method, .. }) => method.masked(),
            Self::Signs(signature) => signature.method().masked(),
            Self::Files(login) => login.masked(),
            Self::Transforms(transform) => transform.masked(),
        }
    }
}
