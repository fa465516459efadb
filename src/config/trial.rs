//! The loader given any bytes, as the fuzz target and its test do it.

use super::{Color, ConfigSource, Inputs, Secrets, load};
use crate::legible::is_legible;

/// Panics unless what is wrong with a text is told in one way, at places that it has, legibly, and without the secret of a
/// service that stands before it. Says whether it is a config.
pub(crate) fn problems_are_told(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let (is_config, told) = tell(&text);
    assert_eq!(told, tell(&text).1, "told in another way: {text:?}");

    let (_, told) = tell(&format!("{BEFORE}{text}"));
    assert!(text.contains(SECRET) || !told.contains(SECRET), "a secret is shown after {text:?}: {told}");
    is_config
}

/// Whether it is a config, and all that people and machines are told of it.
fn tell(text: &str) -> (bool, String) {
    let (config, report) = load(&ConfigSource::Text(text.to_owned()), &Inputs::new(Secrets::Skip));
    assert!(config.is_some() || !report.diagnostics().is_empty(), "refused without a word: {text:?}");
    let mut told = report.render(Color::Plain);
    assert!(told.chars().all(|shown| shown == '\n' || is_legible(shown)), "{text:?} is drawn as {told:?}");
    let lines = text.split('\n').count();
    for finding in report.findings() {
        let line = finding.line.unwrap_or(1);
        assert!((1..=lines).contains(&line), "line {line} of {lines}: {text:?}");
        told += &format!("{finding:?}\n");
    }
    (config.is_some() && !report.has_errors(), told)
}

const SECRET: &str = "correct-horse-battery";
const BEFORE: &str = "access: { token: correct-horse-battery }\n";
