//! The roots of this machine, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name instead.
//!
//! They are parsed once and shared by all services for as long as their files stay what they are: two hundred
//! services must not cost two hundred times 140 certificates, neither at a load nor in memory.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustls_native_certs::{ErrorKind, load_certs_from_paths, load_native_certs};
use rustls_pki_types::CertificateDer;

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
    let places = Places::named_by(|name| std::env::var_os(name), place, inputs, report);
    // Before they are read: what changes in between is found by the next look.
    places.watched().iter().for_each(|path| inputs.watch(path));
    PARSED.roots(&places, place, report)
}

/// The last set of roots, and the stamp of what it was parsed from.
struct Parsed(Mutex<Option<([u8; 32], SystemRoots)>>);

/// Roots, at least one, and what leads to none of them.
#[derive(Clone, Debug)]
struct SystemRoots {
    trust: TrustAnchors,
    idle: Vec<IdleVariable>,
}

/// A variable that leads to no root, though it should.
#[derive(Clone, Debug)]
struct IdleVariable {
    name: &'static str,
    why: String,
}

impl Parsed {
    const fn nothing() -> Self {
        Self(Mutex::new(None))
    }

    fn roots(&self, places: &Places, place: Span, report: &mut Report) -> Option<TrustAnchors> {
        let stamp = places.stamp();
        let mut parsed = locked(&self.0);
        let roots = match &*parsed {
            Some((of, roots)) if *of == stamp => roots.clone(),
            _ => {
                let roots = places.load(place, report)?;
                *parsed = Some((stamp, roots.clone()));
                roots
            }
        };
        roots.warn(place, report);
        Some(roots.trust)
    }
}

impl SystemRoots {
    /// Once in a load, however many services need them: the variables are none of a service's.
    fn warn(&self, place: Span, report: &mut Report) {
        for idle in &self.idle {
            let is_said = report.diagnostics().iter().any(|said| said.message == idle.why);
            if !is_said {
                let help = format!("services are checked with the other roots alone; unset {}, or mend it", idle.name);
                report.warning(place, idle.why.clone()).help(help);
            }
        }
    }
}

/// Where the roots are.
enum Places {
    Default,
    Named {
        /// `SSL_CERT_FILE`: contents, or why there are none. It is watched then, for the load has read it.
        file: Option<(PathBuf, Result<Vec<u8>, String>)>,
        /// `SSL_CERT_DIR`; `None` if it is not set.
        folders: Option<Vec<PathBuf>>,
    },
}

impl Places {
    fn named_by(
        variable: impl Fn(&str) -> Option<OsString>,
        place: Span,
        inputs: &Inputs,
        report: &mut Report,
    ) -> Self {
        let (file, folders) = (variable(FILE), variable(FOLDERS));
        if file.is_none() && folders.is_none() {
            return Self::Default;
        }
        let file = file.map(PathBuf::from).map(|path| {
            let read = if path.as_os_str().is_empty() { Ok(Vec::new()) } else { inputs.try_read(&path, place, report) };
            (path, read)
        });
        let paths = |folders: OsString| std::env::split_paths(&folders).filter(|path| *path != Path::new("")).collect();
        Self::Named { file, folders: folders.map(paths) }
    }

    /// What a change of the roots shows in. `SSL_CERT_FILE` was read as an input of the load, and so is watched.
    fn watched(&self) -> Vec<PathBuf> {
        match self {
            Self::Default => DEFAULT.iter().map(PathBuf::from).collect(),
            Self::Named { folders, .. } => {
                let folders = folders.iter().flatten();
                folders.flat_map(|folder| std::iter::once(folder.clone()).chain(files(folder))).collect()
            }
        }
    }

    /// Changes when the files do.
    fn stamp(&self) -> [u8; 32] {
        let mut stamp = Digest::new();
        match self {
            Self::Default => DEFAULT.iter().for_each(|path| stat(Path::new(path), &mut stamp)),
            Self::Named { file, folders } => {
                if let Some((_, read)) = file {
                    stamp.list(read.iter());
                    stamp.list(read.as_ref().err().map(String::as_bytes).iter());
                }
                for folder in folders.iter().flatten() {
                    stat(folder, &mut stamp);
                    files(folder).iter().for_each(|file| stat(file, &mut stamp));
                }
            }
        }
        stamp.finish()
    }

    fn load(&self, place: Span, report: &mut Report) -> Option<SystemRoots> {
        let _mark = blocking::mark("reading the root certificates of this machine".to_owned());
        match self {
            Self::Default => load_default(place, report),
            Self::Named { file, folders } => {
                let mut idle = Vec::new();
                let file = file.as_ref().map(|(path, read)| load_file(path, read, &mut idle));
                let mut certificates = match file.unwrap_or(Ok(Vec::new())) {
                    Ok(certificates) => certificates,
                    Err(damaged) => {
                        report.error(place, format!("{FILE}: {damaged}"));
                        return None;
                    }
                };
                certificates.extend(folders.iter().flat_map(|folders| load_folders(folders, &mut idle)));
                let trust = TrustAnchors::new(certificates, None);
                if trust.roots.is_empty() {
                    report_none(&idle, place, report);
                    return None;
                }
                Some(SystemRoots { trust, idle })
            }
        }
    }
}

fn load_default(place: Span, report: &mut Report) -> Option<SystemRoots> {
    let loaded = load_native_certs();
    let trust = TrustAnchors::new(loaded.certs, None);
    if !trust.roots.is_empty() {
        return Some(SystemRoots { trust, idle: Vec::new() });
    }
    let diagnostic = report
        .error(place, "this machine has no root certificates to check the service with")
        .help("install ca-certificates, set SSL_CERT_FILE, or name the service's CA: tls: { ca: PATH }");
    if let Some(ErrorKind::Io { inner, path }) = loaded.errors.first().map(|error| &error.kind) {
        diagnostic.label(format!("{}: {inner}", path.display()));
    }
    None
}

fn report_none(idle: &[IdleVariable], place: Span, report: &mut Report) {
    let why: Vec<_> = idle.iter().map(|idle| idle.why.as_str()).collect();
    let names: Vec<_> = idle.iter().map(|idle| idle.name).collect();
    let unset = if names.windows(2).all(|pair| pair[0] == pair[1]) { names[..1].join("") } else { names.join(" and ") };
    report
        .error(place, format!("there is no root certificate to check the service with: {}", why.join("; ")))
        .help(format!("unset {unset} to use this machine's roots, or name the service's CA: tls: {{ ca: PATH }}"));
}

/// One that is damaged would leave out nobody knows what; one without a certificate leaves out nothing, and is told.
fn load_file(
    path: &Path,
    read: &Result<Vec<u8>, String>,
    idle: &mut Vec<IdleVariable>,
) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let path = path.display();
    let why = match read {
        Ok(_) if path.to_string().is_empty() => format!("{FILE} is set, but empty"),
        Ok(text) => match Pem::read(text).and_then(|pem| pem.certificates()) {
            Ok(certificates) => return Ok(certificates),
            Err(CertificateError::NoCertificate { .. }) => format!("`{path}` of {FILE} has no certificate in it"),
            Err(damaged) => return Err(damaged),
        },
        Err(reason) => format!("`{path}` of {FILE} can't be read: {reason}"),
    };
    idle.push(IdleVariable { name: FILE, why });
    Ok(Vec::new())
}

fn load_folders(folders: &[PathBuf], idle: &mut Vec<IdleVariable>) -> Vec<CertificateDer<'static>> {
    let mut push = |why| idle.push(IdleVariable { name: FOLDERS, why });
    if folders.is_empty() {
        push(format!("{FOLDERS} is set, but empty"));
    }
    let mut certificates = Vec::new();
    for folder in folders {
        let loaded = load_certs_from_paths(None, Some(folder)).certs;
        let path = folder.display();
        match std::fs::read_dir(folder) {
            Err(error) => push(format!("the folder `{path}` of {FOLDERS} can't be read: {}", reason(&error))),
            Ok(_) if loaded.is_empty() => push(format!("the folder `{path}` of {FOLDERS} has no certificate in it")),
            Ok(_) => certificates.extend(loaded),
        }
    }
    certificates
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such folder".to_owned(),
        io::ErrorKind::NotADirectory => "it is no folder".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
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

        /// The roots, or what is wrong.
        fn roots(&self) -> Result<TrustAnchors, String> {
            let (trust, said) = self.load();
            trust.ok_or_else(|| said.join("\n"))
        }

        /// As two services need them, and all that is said of it.
        fn load(&self) -> (Option<TrustAnchors>, Vec<String>) {
            let (inputs, mut report) = (Inputs::new(Secrets::Read), Report::default());
            let variable = |name: &str| if name == FILE { self.file.clone() } else { self.folders.clone() };
            let places = Places::named_by(variable, Span::default(), &inputs, &mut report);
            let trust = self.parsed.roots(&places, Span::default(), &mut report);
            if trust.is_some() {
                self.parsed.roots(&places, Span::default(), &mut report);
            }
            (trust, report.diagnostics().iter().map(|said| said.message.clone()).collect())
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
            let places = Places::Named { file: None, folders: Some(vec![inside.clone()]) };
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
    fn a_variable_that_leads_to_no_root_is_told_once_and_is_an_error_if_none_remains() {
        let folder = TempDir::new().unwrap();
        let at = |name: &str| folder.path().join(name);
        let [good, good_file, empty, empty_file] = ["good", "good/one.pem", "empty", "empty.pem"].map(at);
        fs::create_dir(&good).unwrap();
        fs::create_dir(&empty).unwrap();
        fs::write(&good_file, ca()).unwrap();
        fs::write(&empty_file, "no certificate\n").unwrap();
        let missing = at("missing");
        let unset = Path::new("");
        let shown = |path: &Path| path.display().to_string();
        let wrong_files = [
            (unset, "SSL_CERT_FILE is set, but empty".to_owned()),
            (&empty_file, format!("`{}` of SSL_CERT_FILE has no certificate in it", shown(&empty_file))),
            (&missing, format!("`{}` of SSL_CERT_FILE can't be read: no such file", shown(&missing))),
            (&empty, format!("`{}` of SSL_CERT_FILE can't be read: not a regular file", shown(&empty))),
        ];
        let wrong_folders = [
            (unset, "SSL_CERT_DIR is set, but empty".to_owned()),
            (&empty, format!("the folder `{}` of SSL_CERT_DIR has no certificate in it", shown(&empty))),
            (&missing, format!("the folder `{}` of SSL_CERT_DIR can't be read: no such folder", shown(&missing))),
            (
                &empty_file,
                format!("the folder `{}` of SSL_CERT_DIR can't be read: it is no folder", shown(&empty_file)),
            ),
        ];
        let none = "there is no root certificate to check the service with";

        for (file, why) in &wrong_files {
            let (trust, said) = Environment::new(Some(file), Some(&good)).load();
            assert_eq!((trust.map(|trust| trust.roots.len()), &said), (Some(1), &vec![why.clone()]));
            assert_eq!(Environment::new(Some(file), None).roots().unwrap_err(), format!("{none}: {why}"));
        }
        for (folders, why) in &wrong_folders {
            let (trust, said) = Environment::new(Some(&good_file), Some(folders)).load();
            assert_eq!((trust.map(|trust| trust.roots.len()), &said), (Some(1), &vec![why.clone()]));
            assert_eq!(Environment::new(None, Some(folders)).roots().unwrap_err(), format!("{none}: {why}"));
            let (file, first) = &wrong_files[1];
            assert_eq!(
                Environment::new(Some(file), Some(folders)).roots().unwrap_err(),
                format!("{none}: {first}; {why}")
            );
        }
        let both = std::env::join_paths([&missing, &good]).unwrap();
        let (trust, said) = Environment::new(None, Some(Path::new(&both))).load();
        assert_eq!((trust.map(|trust| trust.roots.len()), said), (Some(1), vec![wrong_folders[2].1.clone()]));
    }

    #[test]
    fn a_damaged_file_is_an_error_whatever_else_there_is() {
        let folder = TempDir::new().unwrap();
        let damaged = folder.path().join("damaged.pem");
        fs::write(folder.path().join("good.pem"), ca()).unwrap();
        fs::write(&damaged, [&ca(), "-----BEGIN CERTIFICATE-----\n"].concat()).unwrap();

        let said = Environment::new(Some(&damaged), Some(folder.path())).roots().unwrap_err();

        assert!(said.starts_with("SSL_CERT_FILE: the PEM text is damaged: the section that begins"), "{said}");
    }
}
