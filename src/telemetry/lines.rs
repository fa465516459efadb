//! The lines of the log on their way out: whatever a stranger's words in them are, they do not mislead the eye.

use std::io::{self, Write};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use crate::legible::{legible_json, legible_lines};

/// Writes lines of which only what is legible is left as it is. Here, for a value can come into an event in many ways,
/// and leaves it in this one.
pub(super) struct Lines<W>(pub(super) W);

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Lines<W> {
    type Writer = LegibleLine<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        LegibleLine(self.0.make_writer())
    }

    fn make_writer_for(&'w self, metadata: &Metadata<'_>) -> Self::Writer {
        LegibleLine(self.0.make_writer_for(metadata))
    }
}

/// One line, which comes in one piece.
pub(super) struct LegibleLine<W>(W);

impl<W: Write> Write for LegibleLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Nearly all are. What is ASCII and no text has been escaped by who formatted the event.
        if line.is_ascii() {
            return self.0.write(line);
        }
        let text = String::from_utf8_lossy(line);
        let legible = if text.starts_with('{') { legible_json(&text) } else { legible_lines(&text) };
        self.0.write_all(legible.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
