//! What is wrong with a config, and the report that collects it from every room that compiles a part of one.
//!
//! The report keeps the config's text for drawing, wiped when it is dropped, and which parts of it are secret.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::mask;
use super::node::{MappingEntry, Node};
use super::value::Span;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The config is used all the same.
    Warning,
    /// The config is not used.
    Error,
}

/// One problem of the config: where, what, and what to write instead.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Where; `None` for what was not written in a file (a flag, say).
    pub span: Option<Span>,
    /// What is wrong, without any secret.
    pub message: String,
    /// What stands under the marked text.
    pub label: Option<String>,
    /// Another place that has to do with it, and what it is.
    pub related: Option<(Span, String)>,
    /// What to write instead.
    pub help: Option<String>,
}

impl Diagnostic {
    pub(crate) fn label(&mut self, text: impl Into<String>) -> &mut Self {
        self.label = Some(text.into());
        self
    }

    pub(crate) fn help(&mut self, text: impl Into<String>) -> &mut Self {
        self.help = Some(text.into());
        self
    }

    /// Shows another place beside the first.
    pub(crate) fn also(&mut self, place: Span, text: impl Into<String>) -> &mut Self {
        self.related = Some((place, text.into()));
        self
    }
}

/// What was wrong has been reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reported;

/// Collects the problems of one load, from every room that compiles a part of the config.
#[derive(Debug, Default)]
pub struct Report {
    texts: Vec<Text>,
    diagnostics: Vec<Diagnostic>,
}

/// The text of one file of the config.
pub(super) struct Text {
    pub(super) name: String,
    /// Where relative paths of this file start.
    pub(super) folder: PathBuf,
    pub(super) text: Arc<Zeroizing<String>>,
    /// What is never drawn, in bytes of `text`.
    pub(super) masks: Vec<Range<usize>>,
}

impl Text {
    /// The same, of which nothing is ever drawn.
    fn without_masks(&self) -> Self {
        let (name, folder) = (self.name.clone(), self.folder.clone());
        Self { name, folder, text: Arc::clone(&self.text), masks: Vec::new() }
    }
}

impl Text {
    fn masked_alike(&self) -> Self {
        Self { masks: self.masks.clone(), ..self.without_masks() }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Text").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Report {
    /// A report of the same texts that nobody hears of.
    pub(super) fn rehearsal(&self) -> Self {
        Self { texts: self.texts.iter().map(Text::without_masks).collect(), diagnostics: Vec::new() }
    }

    /// A report of the same texts, for what is found wrong when this one was told already.
    pub(crate) fn sequel(&self) -> Self {
        Self { texts: self.texts.iter().map(Text::masked_alike).collect(), diagnostics: Vec::new() }
    }

    /// Adds an error; the config will not be used. Chain `.label()` and `.help()`.
    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Error, span, message.into())
    }

    /// Adds a warning.
    pub(crate) fn warning(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.add(Severity::Warning, span, message.into())
    }

    /// Whether an error was added.
    pub(crate) fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Every problem, in the order of the files.
    pub fn diagnostics(&self) -> Vec<&Diagnostic> {
        let mut sorted: Vec<&Diagnostic> = self.diagnostics.iter().collect();
        sorted.sort_by_key(|diagnostic| diagnostic.span.map(|span| (span.file, span.start)));
        sorted
    }

    /// How many problems there are so far.
    pub(super) fn count(&self) -> usize {
        self.diagnostics.len()
    }

    /// Drops what was reported before, of the problems from the one numbered `first` on: what is read again and again
    /// is wrong in one place. Says how many errors are left of them.
    pub(super) fn forget_repeated(&mut self, first: usize) -> usize {
        let mut errors = 0;
        for diagnostic in self.diagnostics.split_off(first.min(self.diagnostics.len())) {
            let same = |known: &Diagnostic| known.span == diagnostic.span && known.message == diagnostic.message;
            if !self.diagnostics.iter().any(same) {
                errors += usize::from(diagnostic.severity == Severity::Error);
                self.diagnostics.push(diagnostic);
            }
        }
        errors
    }

    fn add(&mut self, severity: Severity, span: Span, message: String) -> &mut Diagnostic {
        let span = (span != Span::NOWHERE).then_some(span);
        self.diagnostics.push(Diagnostic { severity, span, message, label: None, related: None, help: None });
        // Invariant: the line above pushed one.
        #[allow(clippy::expect_used)]
        self.diagnostics.last_mut().expect("a diagnostic was pushed")
    }
}

/// The texts of the config, for this room alone.
impl Report {
    /// Adds a file of the config, and numbers it.
    pub(super) fn add_text(&mut self, name: String, folder: PathBuf, text: Zeroizing<String>) -> u16 {
        let masks = mask::of_urls(&text);
        self.texts.push(Text { name, folder, text: Arc::new(text), masks });
        // `source` reads at most a thousand files.
        u16::try_from(self.texts.len() - 1).unwrap_or(u16::MAX)
    }

    pub(super) fn text(&self, file: u16) -> Arc<Zeroizing<String>> {
        self.file(file).map(|text| Arc::clone(&text.text)).unwrap_or_default()
    }

    pub(super) fn file(&self, file: u16) -> Option<&Text> {
        self.texts.get(usize::from(file))
    }

    pub(super) fn folder(&self, file: u16) -> Option<&Path> {
        self.file(file).map(|text| text.folder.as_path())
    }

    /// Puts a label on the problem that was added last.
    pub(super) fn label_last(&mut self, text: String) {
        if let Some(last) = self.diagnostics.last_mut() {
            last.label = Some(text);
        }
    }

    /// Keeps a part of the config out of every drawing.
    pub(super) fn mask(&mut self, span: Span) {
        if let Some(text) = self.texts.get_mut(usize::from(span.file)) {
            text.masks.push(span.start as usize..span.end as usize);
        }
    }

    /// Masks every scalar of a tree, and its keys.
    pub(super) fn mask_all(&mut self, node: &Node) {
        mask::all(node, &mut |span| self.mask(span));
    }

    /// Masks what is secret in an entry that does not become part of the tree.
    pub(super) fn mask_entry(&mut self, entry: &MappingEntry) {
        mask::of_entry(entry, &mut |span| self.mask(span));
    }

    /// Masks what is secret in a tree, by its keys.
    pub(super) fn mask_secrets(&mut self, file: u16, tree: &Node) {
        let comments = mask::of_comments(&self.text(file));
        mask::of_tree(tree, &mut |span| self.mask(span));
        if let Some(text) = self.texts.get_mut(usize::from(file)) {
            text.masks.extend(comments);
        }
    }

    /// Masks what may be secret in a text that is no YAML.
    pub(super) fn mask_unparsed(&mut self, file: u16) {
        let masks = mask::of_text(&self.text(file));
        if let Some(text) = self.texts.get_mut(usize::from(file)) {
            text.masks.extend(masks);
        }
    }

    /// Masks from a place to the end of its line.
    pub(super) fn mask_line(&mut self, span: Span) {
        let text = self.text(span.file);
        let rest = text.get(span.start as usize..).unwrap_or_default();
        let length = rest.find('\n').unwrap_or(rest.len());
        if let Some(text) = self.texts.get_mut(usize::from(span.file)) {
            text.masks.push(span.start as usize..span.start as usize + length);
        }
    }
}
