//! The roots of this machine, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name instead.
//!
//! They are parsed once and shared by all services for as long as their files stay what they are: two hundred
//! services must not cost two hundred times 140 certificates, neither at a load nor in memory.

use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustls_native_certs::{CertificateResult, ErrorKind, load_certs_from_paths, load_native_certs};

use super::certificate_error::CertificateError;
use super::pem::Pem;
use super::trust::TrustAnchors;
use crate::blocking;
use crate::config::{Inputs, Report, Span};
use crate::digest::Digest;
use crate::locked::locked;

/// The system's roots, at least one; `place` is where the URL stands that needs them.
pub(super) fn roots(place: Span, inputs: &Inputs, report: &mut Report) -> Option<TrustAnchors> {
    static PARSED: Parsed = Parsed::nothing();
    let places = Places::named_by(|name| std::env::var_os(name), place, inputs, report)?;
    // Before they are read: what changes in between is found by the next look.
    places.watched().iter().for_each(|path| inputs.watch(path));
    PARSED.roots(&places, place, report)
}

/// The last set of roots, and the stamp of what it was parsed from.
struct Parsed(Mutex<Option<([u8; 32], TrustAnchors)>>);

impl Parsed {
    const fn nothing() -> Self {
        Self(Mutex::new(None))
    }

    fn roots(&self, places: &Places, place: Span, report: &mut Report) -> Option<TrustAnchors> {
        let stamp = places.stamp();
        let mut parsed = locked(&self.0);
        if let Some((of, trust)) = &*parsed
            && *of == stamp
        {
            return Some(trust.clone());
        }
        let trust = places.load(place, report)?;
        *parsed = Some((stamp, trust.clone()));
        Some(trust)
    }
}

/// Where the roots are.
enum Places {
    Default,
    Named {
        /// Contents of `SSL_CERT_FILE`, which is watched then, for the load has read it.
        file: Option<Vec<u8>>,
        /// `SSL_CERT_DIR`.
        folders: Vec<PathBuf>,
    },
}

impl Places {
    fn named_by(
        variable: impl Fn(&str) -> Option<OsString>,
        place: Span,
        inputs: &Inputs,
        report: &mut Report,
    ) -> Option<Self> {
        let (file, folders) = (variable(FILE), variable(FOLDERS));
        for (name, value) in [(FILE, &file), (FOLDERS, &folders)] {
            if value.as_ref().is_some_and(|value| value.is_empty()) {
                report
                    .error(place, format!("{name} is set, but empty"))
                    .help("unset it to use this machine's root certificates");
                return None;
            }
        }
        if file.is_none() && folders.is_none() {
            return Some(Self::Default);
        }
        let file = match file {
            Some(path) => Some(inputs.read(Path::new(&path), place, report)?),
            None => None,
        };
        let folders = folders.map(|folders| std::env::split_paths(&folders).collect()).unwrap_or_default();
        Some(Self::Named { file, folders })
    }

    /// What a change of the roots shows in. `SSL_CERT_FILE` was read as an input of the load, and so is watched.
    fn watched(&self) -> Vec<PathBuf> {
        match self {
            Self::Default => DEFAULT.iter().map(PathBuf::from).collect(),
            Self::Named { folders, .. } => {
                let inside = folders.iter().flat_map(|folder| files(folder));
                folders.iter().cloned().chain(inside).collect()
            }
        }
    }

    /// Changes when the files do.
    fn stamp(&self) -> [u8; 32] {
        let mut stamp = Digest::new();
        match self {
            Self::Default => DEFAULT.iter().for_each(|path| stat(Path::new(path), &mut stamp)),
            Self::Named { file, folders } => {
                stamp.list(file.iter());
                folders.iter().for_each(|folder| stat_files(folder, &mut stamp));
            }
        }
        stamp.finish()
    }

    fn load(&self, place: Span, report: &mut Report) -> Option<TrustAnchors> {
        let _mark = blocking::mark("reading the root certificates of this machine".to_owned());
        let loaded = match self {
            Self::Default => load_native_certs(),
            Self::Named { file, folders } => match load(file.as_deref(), folders) {
                Ok(loaded) => loaded,
                Err(unusable) => {
                    report.error(place, format!("{FILE}: {unusable}"));
                    return None;
                }
            },
        };
        let trust = TrustAnchors::new(loaded.certs, None);
        if trust.roots.is_empty() {
            self.report_none(loaded.errors.first(), place, report);
            return None;
        }
        Some(trust)
    }

    fn report_none(&self, error: Option<&rustls_native_certs::Error>, place: Span, report: &mut Report) {
        let (message, help) = match self {
            Self::Default => (
                "this machine has no root certificates to check the service with",
                "install ca-certificates, set SSL_CERT_FILE, or name the service's CA: tls: { ca: PATH }",
            ),
            Self::Named { .. } => (
                "SSL_CERT_FILE and SSL_CERT_DIR lead to no root certificate",
                "unset them to use this machine's roots, or name the service's CA: tls: { ca: PATH }",
            ),
        };
        let diagnostic = report.error(place, message).help(help);
        if let Some(ErrorKind::Io { inner, path }) = error.map(|error| &error.kind) {
            diagnostic.label(format!("{}: {inner}", path.display()));
        }
    }
}

/// A file without a certificate counts for nothing, beside folders; one that is damaged would leave out nobody knows what.
fn load(file: Option<&[u8]>, folders: &[PathBuf]) -> Result<CertificateResult, CertificateError> {
    let mut loaded = CertificateResult::default();
    match file.map(|text| Pem::read(text).and_then(|pem| pem.certificates())) {
        Some(Ok(certificates)) => loaded.certs = certificates,
        Some(Err(CertificateError::NoCertificate { .. })) | None => {}
        Some(Err(damaged)) => return Err(damaged),
    }
    for folder in folders {
        let more = load_certs_from_paths(None, Some(folder));
        loaded.certs.extend(more.certs);
        loaded.errors.extend(more.errors);
    }
    Ok(loaded)
}

fn stat_files(folder: &Path, stamp: &mut Digest) {
    files(folder).iter().for_each(|file| stat(file, stamp));
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let _mark = blocking::mark_reading(folder);
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}

fn stat(path: &Path, stamp: &mut Digest) {
    let facts = std::fs::metadata(path).map(|of| facts(&of)).unwrap_or_default();
    stamp.field(path.as_os_str().as_bytes());
    stamp.list(facts.map(u64::to_be_bytes).iter());
}

fn facts(of: &Metadata) -> [u64; 5] {
    [of.dev(), of.ino(), of.size(), of.mtime().cast_unsigned(), of.mtime_nsec().cast_unsigned()]
}

const FILE: &str = "SSL_CERT_FILE";
const FOLDERS: &str = "SSL_CERT_DIR";

/// Where distributions keep their roots; a folder's own time changes as a certificate in it is added or replaced.
const DEFAULT: [&str; 7] = [
    "/etc/ssl/certs",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use tempfile::TempDir;

    use super::*;
    use crate::config::Secrets;
    use crate::demo::certificates::{CertificateAuthority, certificate_pem};

    /// The variables, and the cache that they lead to.
    struct Environment {
        file: Option<OsString>,
        folders: Option<OsString>,
        parsed: Parsed,
    }

    impl Environment {
        fn new(file: Option<&Path>, folders: Option<&Path>) -> Self {
            let [file, folders] = [file, folders].map(|path| path.map(|path| path.as_os_str().to_owned()));
            Self { file, folders, parsed: Parsed::nothing() }
        }

        /// The roots, or the first thing that is wrong.
        fn roots(&self) -> Result<TrustAnchors, String> {
            let (inputs, mut report) = (Inputs::new(Secrets::Read), Report::default());
            let variable = |name: &str| if name == FILE { self.file.clone() } else { self.folders.clone() };
            let places = Places::named_by(variable, Span::default(), &inputs, &mut report);
            let trust = places.and_then(|places| self.parsed.roots(&places, Span::default(), &mut report));
            trust.ok_or_else(|| report.diagnostics()[0].message.clone())
        }
    }

    fn ca() -> String {
        certificate_pem(CertificateAuthority::new("Test CA").unwrap().certificate())
    }

    #[test]
    fn roots_are_parsed_once_as_long_as_their_files_do_not_change() {
        let folder = TempDir::new().unwrap();
        let (file, link) = (folder.path().join("ca.pem"), folder.path().join("01234567.0"));
        fs::write(&file, ca()).unwrap();
        std::os::unix::fs::symlink("ca.pem", &link).unwrap();

        for environment in [Environment::new(Some(&file), None), Environment::new(None, Some(folder.path()))] {
            let first = environment.roots().unwrap();
            let second = environment.roots().unwrap();
            fs::write(&file, [ca(), ca()].concat()).unwrap();
            let third = environment.roots().unwrap();

            assert!(Arc::ptr_eq(&first.roots, &second.roots));
            assert_ne!(first.fingerprint, third.fingerprint);
            assert_eq!(third.roots.len(), 2);
        }
    }

    #[test]
    fn a_change_of_the_roots_is_a_change_of_what_the_load_has_read() {
        let folder = TempDir::new().unwrap();
        let (elsewhere, inside) = (folder.path().join("elsewhere.pem"), folder.path().join("certs"));
        fs::create_dir(&inside).unwrap();
        fs::write(&elsewhere, ca()).unwrap();
        std::os::unix::fs::symlink("../elsewhere.pem", inside.join("01234567.0")).unwrap();
        let seen = || {
            let places = Places::Named { file: None, folders: vec![inside.clone()] };
            let inputs = Inputs::new(Secrets::Read);
            places.watched().iter().for_each(|path| inputs.watch(path));
            inputs.watched()
        };

        let before = seen();
        assert_eq!(before.again(), before);
        fs::write(&elsewhere, [ca(), ca()].concat()).unwrap();
        assert_ne!(before.again(), before, "a file that a link of the folder leads to");

        let before = seen();
        fs::write(inside.join("one.pem"), ca()).unwrap();
        assert_ne!(before.again(), before, "a file more");
    }

    #[test]
    fn the_bundle_of_this_machine_is_watched() {
        let watched = Places::Default.watched();

        assert!(watched.contains(&PathBuf::from("/etc/ssl/certs/ca-certificates.crt")), "{watched:?}");
    }

    #[test]
    fn file_and_folder_add_up() {
        let folder = TempDir::new().unwrap();
        let inner = folder.path().join("certs");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("one.pem"), ca()).unwrap();
        let file = folder.path().join("ca.pem");
        fs::write(&file, ca()).unwrap();

        assert_eq!(Environment::new(Some(&file), Some(&inner)).roots().unwrap().roots.len(), 2);
    }

    #[test]
    fn a_variable_that_is_set_but_leads_nowhere_is_an_error() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("empty.pem");
        fs::write(&file, "").unwrap();
        let damaged = folder.path().join("damaged.pem");
        fs::write(&damaged, [&ca(), "-----BEGIN CERTIFICATE-----\n"].concat()).unwrap();
        let said = |file: Option<&Path>, folders: Option<&Path>| Environment::new(file, folders).roots().unwrap_err();

        assert_eq!(said(Some(Path::new("")), None), "SSL_CERT_FILE is set, but empty");
        assert_eq!(said(None, Some(Path::new(""))), "SSL_CERT_DIR is set, but empty");
        assert_eq!(said(Some(&file), None), "SSL_CERT_FILE and SSL_CERT_DIR lead to no root certificate");
        assert!(
            said(Some(&damaged), None).starts_with("SSL_CERT_FILE: the PEM text is damaged: the section that begins")
        );
        assert!(said(Some(&folder.path().join("missing")), None).contains("missing` can't be read"));
    }
}
