//! What other users of the machine may do with the files of a config, and should not: a warning for each, once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::diagnostic::Report;
use super::source::{self, FileAccess};
use super::value::Span;

/// What has been warned of.
#[derive(Debug, Default)]
pub(super) struct Exposed(BTreeSet<(PathBuf, Matter)>);

/// What others may do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Matter {
    Readable,
    Writable,
}

impl Exposed {
    /// Inside a pod everybody may do everything with what is mounted there, and nobody else is there.
    fn is_news(&mut self, path: &Path, matter: Matter) -> bool {
        !source::is_kubernetes_link(path) && self.0.insert((path.to_owned(), matter))
    }
}

impl Report {
    /// Warns, once, of a file with a secret that any user of the machine can read.
    pub(super) fn warn_of_public(&mut self, path: &Path, span: Span) {
        if self.exposed.is_news(path, Matter::Readable) {
            self.warning(span, format!("`{}` holds a secret that others can read", path.display()))
                .help(format!("chmod 600 {}", path.display()));
        }
    }

    /// Warns, once, if others can change what the config goes by.
    pub(super) fn warn_of_writable(&mut self, path: &Path, access: FileAccess, span: Span) {
        if access.is_writable_by_others() && self.exposed.is_news(path, Matter::Writable) {
            self.warning(span, format!("`{}` can be changed by others", path.display()))
                .help(format!("chmod o-w {}", path.display()));
        }
    }

    /// Takes note of what others may do with a file of the config, and warns if they can change it.
    pub(super) fn file_may(&mut self, file: u16, path: &Path, access: FileAccess) {
        self.warn_of_writable(path, access, Span { file, start: 0, end: 0 });
        if access.is_readable_by_others() {
            self.set_public(file, path.to_owned());
        }
    }

    /// A secret stands in the config itself: warns, once for each file, if others can read that.
    pub(super) fn has_secret_inside(&mut self, span: Span) {
        let Some(path) = self.file(span.file).and_then(|text| text.public.clone()) else { return };
        if self.exposed.is_news(&path, Matter::Readable) {
            self.warning(span, format!("`{}` holds a secret, and others can read it", path.display())).help(format!(
                "chmod 600 {}, or write `{{ env: NAME }}` or `{{ file: PATH }}` instead of the secret",
                path.display()
            ));
        }
    }
}
