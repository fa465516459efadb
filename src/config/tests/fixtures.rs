//! Each file of `tests/fixtures/config/invalid` is drawn as the text beside it says; each of `valid` and each example
//! loads.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::super::{Color, Config, ConfigSource, Inputs, Report, Secrets, Severity, load};

const FOLDER: &str = "tests/fixtures/config";

/// Files and folders of fixtures, in name order.
fn fixtures(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    // Not every build transfers files.
    let is_of_build = |path: &PathBuf| cfg!(feature = "files") || !path.to_string_lossy().ends_with("files.yaml");
    let mut found: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_none_or(|extension| extension != "txt"))
        .filter(is_of_build)
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no fixture in {folder}");
    found
}

/// A copy that only its owner can read: what a checkout's umask makes of the files is not what is looked at here.
struct Copied {
    _folder: tempfile::TempDir,
    /// As it is named from here: what is told of relative paths is looked at too.
    path: PathBuf,
}

impl Copied {
    fn of_fixtures() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(Path::new(FOLDER), folder.path());
        let up = std::env::current_dir().unwrap().components().skip(1).map(|_| "..").collect::<PathBuf>();
        Self { path: up.join(folder.path().strip_prefix("/").unwrap()), _folder: folder }
    }

    /// Loads the copy of a fixture.
    fn load(&self, fixture: &Path) -> (Option<Config>, Report) {
        load(&ConfigSource::Path(self.path.join(fixture.strip_prefix(FOLDER).unwrap())), &Inputs::new(Secrets::Read))
    }

    /// What is drawn, as if the fixture had been loaded itself.
    fn drawn(&self, report: &Report) -> String {
        report.render(Color::Plain).replace(&self.path.display().to_string(), FOLDER)
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
            let executable = fs::metadata(&from).unwrap().permissions().mode() & 0o100;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600 | executable)).unwrap();
        }
    }
}

/// Compares, or writes what is expected if `UPDATE_FIXTURES` is set.
fn compare(fixture: &Path, drawn: &str, wrong: &mut Vec<String>) {
    let expected = fixture.with_extension("txt");
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        fs::write(&expected, drawn).unwrap();
    }
    if fs::read_to_string(&expected).unwrap_or_default() != drawn {
        wrong.push(format!("{} is not what is drawn:\n{drawn}", expected.display()));
    }
}

#[test]
fn every_invalid_config_is_explained_as_its_fixture_says() {
    let (mut wrong, copied) = (Vec::new(), Copied::of_fixtures());

    for fixture in fixtures("tests/fixtures/config/invalid") {
        let (config, report) = copied.load(&fixture);

        let warns_only = report.diagnostics().iter().all(|diagnostic| diagnostic.severity == Severity::Warning);
        assert!(config.is_some() || !warns_only, "{}", fixture.display());
        compare(&fixture, &copied.drawn(&report), &mut wrong);
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[cfg(not(feature = "files"))]
fn a_build_without_files_says_so() {
    let config = "services: { a: { url: 'sftp://a.example' }, b: { url: 'https://b.example', auth: { type: ftp } } }";
    let (_, report) = load(&ConfigSource::Text(config.to_owned()), &Inputs::new(Secrets::Read));

    let told: Vec<_> = report
        .diagnostics()
        .iter()
        .map(|found| (found.message.clone(), found.help.clone().unwrap_or_default()))
        .collect();
    let help = "use a build with the cargo feature `files`, which is on unless it is switched off".to_owned();
    assert_eq!(
        told,
        [
            ("this build of Sidekey transfers no files by SFTP or FTP".to_owned(), help.clone()),
            ("this build of Sidekey has no `ftp`".to_owned(), help),
        ]
    );
}

#[test]
fn every_valid_config_loads_without_a_word() {
    let copied = Copied::of_fixtures();

    for fixture in fixtures("tests/fixtures/config/valid") {
        let (config, report) = copied.load(&fixture);

        assert_eq!(report.render(Color::Plain), "", "{}", fixture.display());
        assert!(config.is_some(), "{}", fixture.display());
    }
}

#[test]
fn every_example_loads_without_its_secrets() {
    for example in fixtures("config") {
        let (config, report) = load(&ConfigSource::Path(example.clone()), &Inputs::new(Secrets::Skip));

        assert_eq!(report.render(Color::Plain), "", "{}", example.display());
        assert!(config.is_some(), "{}", example.display());
    }
}
