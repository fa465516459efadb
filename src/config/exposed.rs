//! What other users of the machine may do with the files of a config, and should not: a warning for each, once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::diagnostic::Report;
use super::source::{self, FileAccess};
use super::value::Span;

/// What others may do with the files of one config.
#[derive(Debug, Default)]
pub(super) struct Exposed {
    /// What has been warned of.
    warned: BTreeSet<(PathBuf, Exposure)>,
    /// Files of the config itself that others can read, by the numbers of their texts.
    public: BTreeMap<u16, PathBuf>,
}

/// What others may do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Exposure {
    Readable,
    Writable,
}

impl Exposed {
    /// Warns, once, of a file with a secret that any user of the machine can read.
    pub(super) fn warn_of_public(&mut self, path: &Path, span: Span, report: &mut Report) {
        if self.is_news(path, Exposure::Readable) {
            report
                .warning(span, format!("`{}` holds a secret that others can read", path.display()))
                .help(format!("chmod 600 {}", path.display()));
        }
    }

    /// Warns, once, if others can change what the config goes by.
    pub(super) fn warn_of_writable(&mut self, path: &Path, access: FileAccess, span: Span, report: &mut Report) {
        if access.is_writable_by_others() && self.is_news(path, Exposure::Writable) {
            report
                .warning(span, format!("`{}` can be changed by others", path.display()))
                .help(format!("chmod o-w {}", path.display()));
        }
    }

    /// Takes note of what others may do with a file of the config, and warns if they can change it.
    pub(super) fn file_may(&mut self, file: u16, path: &Path, access: FileAccess, report: &mut Report) {
        self.warn_of_writable(path, access, Span { file, start: 0, end: 0 }, report);
        if access.is_readable_by_others() {
            self.public.insert(file, path.to_owned());
        }
    }

    /// A secret stands in the config itself: warns, once for each file, if others can read that.
    pub(super) fn has_secret_inside(&mut self, span: Span, report: &mut Report) {
        let Some(path) = self.public.get(&span.file).cloned() else { return };
        if self.is_news(&path, Exposure::Readable) {
            report.warning(span, format!("`{}` holds a secret, and others can read it", path.display())).help(format!(
                "chmod 600 {}, or write `{{ env: NAME }}` or `{{ file: PATH }}` instead of the secret",
                path.display()
            ));
        }
    }

    /// Inside a pod everybody may do everything with what is mounted there, and nobody else is there.
    fn is_news(&mut self, path: &Path, exposure: Exposure) -> bool {
        !source::is_kubernetes_link(path) && self.warned.insert((path.to_owned(), exposure))
    }
}
