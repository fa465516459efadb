//! How a text becomes a value.

use std::fmt::Display;

use schemars::{Schema, json_schema};

use super::diagnostic::{Report, Reported};
use super::value::Span;

/// Something that a text of the file, or one from elsewhere, can be read as.
pub(super) trait FromText: Sized {
    /// What it is, with its article.
    const WHAT: &'static str;

    /// Reads it.
    fn from_text(text: &str) -> Result<Self, Wrong>;

    /// A value that stands in for one that is not read (`check --no-secrets`), and passes every check.
    fn placeholder() -> Self;

    /// Describes the text, for the JSON Schema; what YAML takes for a number is text as it was spelled.
    fn schema() -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// Why a text is not what it should be. It never quotes the text, which may be a secret in the wrong place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Wrong {
    pub(super) fn new(message: impl Display) -> Self {
        Self { message: message.to_string(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// For the command line, where a place can't be drawn.
    pub(super) fn in_one_line(self) -> String {
        match self.help {
            Some(help) => format!("{}: {help}", self.message),
            None => self.message,
        }
    }

    /// Reports it at the place of the text.
    pub(super) fn report(self, span: Span, report: &mut Report) -> Reported {
        let error = report.error(span, self.message);
        error.help = self.help;
        Reported
    }
}
