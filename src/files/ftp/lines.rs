//! Lines of what a server says, however it is cut on its way. Pure.

use bytes::{Buf, BytesMut};

/// Takes lines out of what came.
pub(super) struct LineReader {
    came: BytesMut,
    /// Up to where there is no line end in it.
    looked: usize,
    longest: usize,
    at_a_time: usize,
}

/// A line, or what came of one, is longer than may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LineTooLong;

/// A line that nobody understands: what it says of which name is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnreadLine;

impl LineReader {
    /// Lines of up to `longest` bytes, for which so many are made room for at a time.
    pub(super) fn new(longest: usize, at_a_time: usize) -> Self {
        Self { came: BytesMut::new(), looked: 0, longest, at_a_time }
    }

    /// Where what comes next belongs.
    pub(super) fn room(&mut self) -> &mut BytesMut {
        if self.came.capacity() - self.came.len() < self.at_a_time / 4 {
            self.came.reserve(self.at_a_time);
        }
        &mut self.came
    }

    /// Whether nothing is left of what came.
    pub(super) fn is_empty(&self) -> bool {
        self.came.is_empty()
    }

    /// The next line, once all of it is there, without its end.
    pub(super) fn next(&mut self) -> Result<Option<BytesMut>, LineTooLong> {
        let found = self.came.iter().skip(self.looked).position(|byte| *byte == b'\n');
        let end = found.map_or(self.came.len(), |at| at + self.looked);
        // Also where its end is there: what is refused does not hang on how it came.
        if end > self.longest {
            return Err(LineTooLong);
        }
        if found.is_none() {
            self.looked = end;
            return Ok(None);
        }
        let line = self.came.split_to(end);
        self.came.advance(1);
        self.looked = 0;
        Ok(Some(without_return(line)))
    }

    /// What is there of a line that has no end, once no more comes.
    pub(super) fn rest(&mut self) -> Option<BytesMut> {
        self.looked = 0;
        (!self.came.is_empty()).then(|| without_return(self.came.split()))
    }
}

fn without_return(mut line: BytesMut) -> BytesMut {
    if line.last() == Some(&b'\r') {
        line.truncate(line.len() - 1);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<Result<Vec<u8>, LineTooLong>> {
        let (mut reader, mut lines) = (LineReader::new(8, 4), Vec::new());
        for piece in pieces {
            reader.room().extend_from_slice(piece);
            loop {
                match reader.next() {
                    Ok(None) => break,
                    Ok(Some(line)) => lines.push(Ok(line.to_vec())),
                    Err(error) => {
                        lines.push(Err(error));
                        return lines;
                    }
                }
            }
        }
        lines.extend(reader.rest().map(|line| Ok(line.to_vec())));
        lines
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        let text = b"220 a\r\n\n\r\n12345678\n x\r";

        let whole = read(&[text]);

        assert_eq!(whole, [&b"220 a"[..], b"", b"", b"12345678", b" x"].map(|line| Ok(line.to_vec())));
        assert_eq!(read(&text.chunks(1).collect::<Vec<_>>()), whole);
    }

    #[test]
    fn a_line_that_is_too_long_is_refused_however_it_comes() {
        let text = b"a\n123456789\nb\n";

        let whole = read(&[text]);

        assert_eq!(whole, [Ok(b"a".to_vec()), Err(LineTooLong)]);
        assert_eq!(read(&text.chunks(1).collect::<Vec<_>>()), whole);
    }
}
