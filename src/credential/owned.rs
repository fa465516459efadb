//! What a credential owns on a request.

use http::HeaderName;

use crate::config::Auth;

/// What a credential owns on a request: the field names (lower case), query parameters and cookies that only it sets.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) fields: Vec<HeaderName>,
    /// Fields by which apps say on whose behalf they ask: meant for us, and for nobody behind us.
    pub(crate) subjects: Vec<HeaderName>,
    pub(crate) query: Vec<String>,
    pub(crate) cookies: Vec<String>,
}

impl Owned {
    /// What these methods own, as far as that is known without a secret: of one whose secret can't be had it is what it
    /// would own.
    pub(crate) fn written<'a>(methods: impl Iterator<Item = &'a Auth>) -> Self {
        let mut owned = Self::default();
        for method in methods {
            owned.fields.extend(method.fields());
            owned.subjects.extend(method.subject_field().cloned());
            owned.query.extend(method.query_parameters().map(str::to_owned));
            owned.cookies.extend(method.cookies().map(str::to_owned));
        }
        owned
    }

    /// Adds what another credential owns.
    pub(crate) fn add(&mut self, other: &Self) {
        add_new(&mut self.fields, &other.fields);
        add_new(&mut self.subjects, &other.subjects);
        add_new(&mut self.query, &other.query);
        add_new(&mut self.cookies, &other.cookies);
    }
}

fn add_new<T: PartialEq + Clone>(all: &mut Vec<T>, more: &[T]) {
    for one in more {
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
}
