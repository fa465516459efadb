//! Diagnostics for people and for machines: place, line, marker, help.
//!
//! Only the line of a problem is drawn, with what is secret in it replaced by asterisks of the same length.

use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use super::diagnostic::{Diagnostic, Report, Severity, Text};
use super::value::Span;
use crate::legible::is_legible;

/// Whether a drawing has colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// Escape sequences, for a terminal.
    Colored,
    /// Bare text.
    Plain,
}

/// A problem for machines: an entry of `check --format json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JsonFinding {
    /// `error` or `warning`.
    pub severity: &'static str,
    /// `null` for what was not written in a file.
    pub file: Option<String>,
    /// From 1.
    pub line: Option<usize>,
    /// In characters, from 1.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Report {
    /// Draws every problem, each followed by an empty line.
    #[must_use]
    pub fn render(&self, color: Color) -> String {
        self.drawings(color).into_iter().map(|drawn| drawn + "\n\n").collect()
    }

    /// Every problem drawn by itself.
    fn drawings(&self, color: Color) -> Vec<String> {
        let renderer = match color {
            Color::Colored => Renderer::styled(),
            Color::Plain => Renderer::plain(),
        };
        self.diagnostics().into_iter().map(|diagnostic| renderer.render(&[self.draw(diagnostic)])).collect()
    }

    /// The warnings of a config that is used, for a log whose lines say themselves how bad it is.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let bare = |drawn: String| drawn.strip_prefix("warning: ").map(str::to_owned).unwrap_or(drawn);
        self.drawings(Color::Plain).into_iter().map(bare).collect()
    }

    /// Every problem for machines.
    #[must_use]
    pub fn findings(&self) -> Vec<JsonFinding> {
        self.diagnostics().into_iter().map(|diagnostic| self.finding(diagnostic)).collect()
    }

    fn draw<'d>(&self, diagnostic: &'d Diagnostic) -> Group<'d> {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(&diagnostic.message));
        if let Some(span) = diagnostic.span {
            let primary = Mark { span, kind: AnnotationKind::Primary, label: diagnostic.label.as_deref() };
            let related = diagnostic.related.as_ref();
            let related =
                related.map(|(span, label)| Mark { span: *span, kind: AnnotationKind::Context, label: Some(label) });
            group = self.mark(group, &primary, related.as_ref());
        }
        match &diagnostic.help {
            Some(help) => group.element(Level::HELP.message(help)),
            None => group,
        }
    }

    /// Two marks of one line are drawn together.
    fn mark<'d>(&self, group: Group<'d>, first: &Mark<'d>, second: Option<&Mark<'d>>) -> Group<'d> {
        let Some(file) = self.file(first.span.file) else { return group };
        let place = file.place(first.span);
        if file.text.is_empty() {
            return group.element(Origin::path(file.name.clone()).line(place.line).char_column(place.column));
        }
        let together =
            second.filter(|second| second.span.file == first.span.file && file.place(second.span).line == place.line);
        let marks =
            [Some(first), together].into_iter().flatten().map(|mark| mark.annotation(file.place(mark.span).mark));
        let snippet = Snippet::source(place.text).line_start(place.line).path(file.name.clone()).annotations(marks);
        let group = group.element(snippet);
        match second.filter(|_| together.is_none()) {
            Some(second) => self.mark(group, second, None),
            None => group,
        }
    }

    fn finding(&self, diagnostic: &Diagnostic) -> JsonFinding {
        let file = diagnostic.span.and_then(|span| self.file(span.file));
        let place = file.zip(diagnostic.span).map(|(file, span)| file.place(span));
        JsonFinding {
            severity: match diagnostic.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            file: file.map(|file| file.name.clone()),
            line: place.as_ref().map(|place| place.line),
            column: place.as_ref().map(|place| place.column),
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
        }
    }
}

/// A part of a line that a drawing points at.
struct Mark<'d> {
    span: Span,
    kind: AnnotationKind,
    label: Option<&'d str>,
}

impl<'d> Mark<'d> {
    fn annotation(&self, bytes: Range<usize>) -> Annotation<'d> {
        self.kind.span(bytes).label(self.label)
    }
}

/// Where a span is, and its line as it may be shown.
struct ShownLine {
    line: usize,
    column: usize,
    text: String,
    /// The marked part of `text`, in bytes.
    mark: Range<usize>,
}

impl Text {
    fn place(&self, span: Span) -> ShownLine {
        let start = floor(&self.text, span.start as usize);
        let end = floor(&self.text, span.end as usize).max(start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let length = self.text[line_start..].find('\n').unwrap_or(self.text.len() - line_start);
        let line = line_start..line_start + length;
        // A value of several lines is marked on its first.
        let mark = start - line.start..end.min(line.end).max(start) - line.start;
        let (text, mark) = self.masked(line, mark);
        let line = self.text[..start].matches('\n').count() + 1;
        let column = self.text[line_start..start].chars().count() + 1;
        ShownLine { line, column, text, mark }
    }

    /// The line with one asterisk for each secret character, and the mark moved with the bytes that went away. What nobody
    /// would see, or what would move its neighbors, stands as `�`: it may be what is wrong.
    fn masked(&self, line: Range<usize>, mark: Range<usize>) -> (String, Range<usize>) {
        let masks: Vec<&Range<usize>> =
            self.masks.iter().filter(|mask| mask.start < line.end && mask.end > line.start).collect();
        let mut shown = String::with_capacity(line.len());
        let mut moved = mark.clone();
        for (at, letter) in self.text[line.clone()].char_indices() {
            if at == mark.start {
                moved.start = shown.len();
            }
            if at == mark.end {
                moved.end = shown.len();
            }
            let hidden = masks.iter().any(|mask| mask.contains(&(line.start + at)));
            shown.push(match letter {
                _ if hidden && !letter.is_whitespace() => '*',
                beyond if !beyond.is_ascii() && !is_legible(beyond) => char::REPLACEMENT_CHARACTER,
                other => other,
            });
        }
        moved.start = if mark.start >= line.len() { shown.len() } else { moved.start };
        moved.end = if mark.end >= line.len() { shown.len() } else { moved.end };
        (shown, moved)
    }
}

/// The nearest boundary of a character at or before a byte.
fn floor(text: &str, byte: usize) -> usize {
    (0..=byte.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}
