//! Each file of `tests/fixtures/config/invalid` is drawn as the text beside it says; each of `valid` and each example
//! loads.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::{Color, Secrets, Severity, Source, load};

/// Files and folders of fixtures, in name order.
fn fixtures(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_none_or(|extension| extension != "txt")).collect();
    found.sort();
    assert!(!found.is_empty(), "no fixture in {folder}");
    found
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
    let mut wrong = Vec::new();

    for fixture in fixtures("tests/fixtures/config/invalid") {
        let (config, report) = load(&Source::Path(fixture.clone()), Secrets::Read);

        let warns_only = report.diagnostics().iter().all(|diagnostic| diagnostic.severity == Severity::Warning);
        assert!(config.is_some() || !warns_only, "{}", fixture.display());
        compare(&fixture, &report.render(Color::Plain), &mut wrong);
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_valid_config_loads_without_a_word() {
    for fixture in fixtures("tests/fixtures/config/valid") {
        let (config, report) = load(&Source::Path(fixture.clone()), Secrets::Read);

        assert_eq!(report.render(Color::Plain), "", "{}", fixture.display());
        assert!(config.is_some(), "{}", fixture.display());
    }
}

#[test]
fn every_example_loads_without_its_secrets() {
    for example in fixtures("config") {
        let (config, report) = load(&Source::Path(example.clone()), Secrets::Skip);

        assert_eq!(report.render(Color::Plain), "", "{}", example.display());
        assert!(config.is_some(), "{}", example.display());
    }
}
