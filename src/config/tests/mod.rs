//! What holds for the config as a whole: every diagnostic as it is drawn, the examples, the schema, and that no secret
//! gets out.

mod fixtures;
mod pasted;
mod permissions;
mod report;
mod robustness;
mod schema;
mod sources;

use super::{Color, Config, ConfigSource, Inputs, Report, Secrets, load};

/// Loads a text that is expected to be right.
#[track_caller]
pub(super) fn valid(text: &str) -> Config {
    let (config, report) = load(&ConfigSource::Text(text.to_owned()), &Inputs::new(Secrets::Read));
    config.unwrap_or_else(|| panic!("{}", report.render(Color::Plain)))
}

/// Loads a text that is expected to be wrong.
#[track_caller]
pub(super) fn invalid(text: &str) -> Report {
    let (_, report) = load(&ConfigSource::Text(text.to_owned()), &Inputs::new(Secrets::Read));
    assert!(report.has_errors(), "{text}");
    report
}

/// Checks the messages of all problems of a text.
#[track_caller]
pub(super) fn check_messages(text: &str, expected: &[&str]) {
    let (_, report) = load(&ConfigSource::Text(text.to_owned()), &Inputs::new(Secrets::Read));
    let messages: Vec<&str> = report.diagnostics().iter().map(|diagnostic| diagnostic.message.as_str()).collect();
    assert_eq!(messages, expected, "{}", report.render(Color::Plain));
}
