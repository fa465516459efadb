//! The documentation, held against the program: its configs load, its links lead somewhere, its lists are whole.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A page of the documentation.
struct Page {
    path: PathBuf,
    text: String,
}

#[test]
fn every_config_in_the_documentation_is_valid() {
    let examples = files("config", "yaml");
    assert!(examples.len() >= 4, "found only {} examples", examples.len());
    let mut snippets = 0;

    for example in &examples {
        check(&example.path.display().to_string(), &example.text);
    }
    for page in pages() {
        for (line, snippet) in page.yaml().filter(|(_, snippet)| is_whole_config(snippet)) {
            snippets += 1;
            check(&format!("{}:{line}", page.path.display()), &snippet);
        }
    }

    assert!(snippets >= 5, "found only {snippets} snippets");
}

#[test]
fn every_link_of_the_documentation_leads_somewhere() {
    let mut links = 0;

    for page in pages() {
        for link in page.links().filter(|link| !link.contains("://")) {
            links += 1;
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let folder = page.path.parent().unwrap();
            let target = if file.is_empty() { page.path.clone() } else { folder.join(file) };
            assert!(target.exists(), "{}: {link} leads nowhere", page.path.display());
            if !heading.is_empty() {
                let anchors = Page::read(target).anchors();
                assert!(anchors.contains(heading), "{}: {link}, but there are {anchors:?}", page.path.display());
            }
        }
    }

    assert!(links > 20, "found only {links} links");
}

#[test]
fn every_example_in_the_benches_comes_true() {
    let told = files("benches/peers", "py").into_iter().filter(|file| file.text.contains(">>>"));
    let mut examples = 0;

    for file in told {
        examples += 1;
        let mut doctest = Command::new("python3");
        doctest.args(["-B", "-m", "doctest"]).arg(&file.path).env("PYTHONPATH", root().join("benches"));
        let output = doctest.output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert!(output.status.success() && said.is_empty(), "{}:\n{said}", file.path.display());
    }

    assert!(examples >= 1, "no examples");
}

#[test]
fn every_code_and_its_proxy_status_is_explained() {
    let words = literals("src/code.rs", |word| word.contains('_'));
    assert!(words.len() > 25, "found only {words:?}");

    assert_explained("docs/errors.md", &words);
}

#[test]
fn every_metric_is_explained() {
    let metrics =
        literals("src/telemetry/exposition.rs", |word| word.starts_with("sidekey_") || word.starts_with("process_"));
    assert!(metrics.len() > 15, "found only {metrics:?}");

    assert_explained("docs/metrics.md", &metrics);
}

#[test]
fn every_test_that_shows_a_method_is_there() {
    assert_tests_are_there("docs/authentication.md", 25);
}

#[test]
fn every_test_that_shows_a_crossing_is_there() {
    assert_tests_are_there("docs/protocols.md", 25);
}

/// Asserts that the tests that a page names in its tables exist, and that there are more than `few`.
#[track_caller]
fn assert_tests_are_there(page: &str, few: usize) {
    let page = Page::read(root().join(page));
    let rows = page.text.lines().filter(|line| line.starts_with("| ") && line.contains("::"));
    let named: BTreeSet<_> = rows.flat_map(|row| row.split('`')).filter_map(|word| word.split_once("::")).collect();
    assert!(named.len() > few, "found only {named:?}");

    for (file, test) in named {
        let text = fs::read_to_string(root().join(format!("tests/it/{file}.rs"))).unwrap();
        assert!(text.contains(&format!("fn {test}()")), "{file} has no test {test}");
    }
}

/// Asserts that `sidekey check` takes `config`, with whatever secrets it names.
#[track_caller]
fn check(place: &str, config: &str) {
    let mut checking = Command::new(env!("CARGO_BIN_EXE_sidekey"))
        .args(["check", "--no-secrets", "--config", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    checking.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
    let ended = checking.wait_with_output().unwrap();

    assert!(ended.status.success(), "{place}\n{}", String::from_utf8_lossy(&ended.stderr));
}

/// Asserts that each word stands in the page as code, or begins one.
#[track_caller]
fn assert_explained(page: &str, words: &BTreeSet<String>) {
    let page = Page::read(root().join(page));
    let missing: Vec<_> = words.iter().filter(|word| !page.text.contains(&format!("`{word}"))).collect();

    assert!(missing.is_empty(), "not in {}: {missing:?}", page.path.display());
}

/// The words in lower case that a source has between quotes, its tests aside.
fn literals(source: &str, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(source)).unwrap();
    let (text, _tests) = text.split_once("#[cfg(test)]").unwrap();
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    text.split('"').filter(|word| is_word(word) && wanted(word)).map(str::to_owned).collect()
}

/// A snippet that shows less than a whole config has no services.
fn is_whole_config(snippet: &str) -> bool {
    snippet.lines().any(|line| line.starts_with("services:"))
}

impl Page {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        Self { path, text }
    }

    /// Each block of YAML with the line on which it begins.
    fn yaml(&self) -> impl Iterator<Item = (usize, String)> {
        let lines = self.text.lines().enumerate();
        let begins = lines.filter(|(_, line)| *line == "```yaml").map(|(number, _)| number + 1);
        begins.map(|begin| {
            let block = self.text.lines().skip(begin).take_while(|line| *line != "```");
            (begin + 1, block.map(|line| format!("{line}\n")).collect())
        })
    }

    /// Where its links lead.
    fn links(&self) -> impl Iterator<Item = String> {
        self.prose().into_iter().flat_map(|line| {
            let ends = line.split("](").skip(1);
            ends.filter_map(|rest| Some(rest.split_once(')')?.0.to_owned())).collect::<Vec<_>>()
        })
    }

    /// What a link may name behind `#`, as GitHub makes it from a heading.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.prose().into_iter().filter(|line| line.starts_with('#'));
        let anchor = |heading: &str| {
            let kept = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = kept.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
            kept.map(|it| if it == ' ' { '-' } else { it }).collect()
        };
        headings.map(anchor).collect()
    }

    /// The lines outside of code blocks.
    fn prose(&self) -> Vec<&str> {
        let mut in_code = false;
        let outside = self.text.lines().filter(|line| {
            let fence = line.starts_with("```");
            in_code ^= fence;
            !in_code && !fence
        });
        outside.collect()
    }
}

fn pages() -> Vec<Page> {
    let pages: Vec<_> = ["", "docs"].into_iter().flat_map(|folder| files(folder, "md")).collect();
    assert!(pages.len() > 8, "found only {} pages", pages.len());
    pages
}

fn files(folder: &str, extension: &str) -> Vec<Page> {
    let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|it| it == extension)).map(Page::read).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
