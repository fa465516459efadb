//! Replies (RFC 959 §4.2): a number of three digits, and text in one line or many. Pure.

use super::error::Error;

/// What the server says to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FtpReply {
    pub(crate) code: u16,
    /// Its lines without the number, one after the other.
    pub(crate) lines: Vec<Vec<u8>>,
}

/// Takes a reply together, line by line.
#[derive(Debug, Default)]
pub(super) struct ReplyReader {
    code: Option<u16>,
    lines: Vec<Vec<u8>>,
    bytes: usize,
}

/// The server closes the connection.
pub(super) const GOODBYE: u16 = 421;
/// The most of one line, and of all of a reply.
pub(super) const LONGEST_LINE: usize = 8 * 1024;
const LONGEST_REPLY: usize = 64 * 1024;

impl ReplyReader {
    /// Takes a line without its end; the reply, if that was its last.
    pub(super) fn take(&mut self, line: &[u8]) -> Result<Option<FtpReply>, Error> {
        self.bytes += line.len() + 1;
        if self.bytes > LONGEST_REPLY {
            return Err(Error::Protocol("a reply is longer than 64 KiB"));
        }
        let (code, separator, text) = numbered(line);
        match self.code {
            None => {
                let code = code.ok_or_else(|| Error::Protocol(what_it_is(line)))?;
                self.lines.push(text.to_vec());
                self.code = Some(code);
                Ok(self.finished(separator != Some(b'-')))
            }
            // A line in the midst of it may begin with anything, also with this number and a dash.
            Some(first) if code == Some(first) && separator != Some(b'-') => {
                self.lines.push(text.to_vec());
                Ok(self.finished(true))
            }
            Some(first) => {
                let text = if code == Some(first) { text } else { line };
                self.lines.push(text.to_vec());
                Ok(None)
            }
        }
    }

    fn finished(&mut self, is_last: bool) -> Option<FtpReply> {
        let code = self.code.filter(|_| is_last)?;
        let lines = std::mem::take(self).lines;
        Some(FtpReply { code, lines })
    }
}

/// Who says such a line instead of a reply.
fn what_it_is(line: &[u8]) -> &'static str {
    match line {
        _ if line.starts_with(b"SSH-") => "it is a server of SSH: a url of SFTP begins with sftp://",
        _ if line.starts_with(b"HTTP/") || line.starts_with(b"<") => "it is a server of HTTP",
        _ if line.starts_with(b"* OK") || line.starts_with(b"+OK") => "it is a server of mail",
        [0x15 | 0x16, 3, ..] => "it speaks TLS from the first byte: its url begins with ftps://",
        _ => "a reply does not begin with three digits",
    }
}

/// The number in front of a line, what follows it at once, and the rest.
fn numbered(line: &[u8]) -> (Option<u16>, Option<u8>, &[u8]) {
    let Some((digits, rest)) = line.split_first_chunk::<3>() else { return (None, None, line) };
    if !(b'1'..=b'6').contains(&digits[0]) || !digits.iter().all(u8::is_ascii_digit) {
        return (None, None, line);
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    match rest.split_first() {
        None => (Some(code), None, rest),
        Some((separator @ (b' ' | b'-'), text)) => (Some(code), Some(*separator), text),
        Some(_) => (None, None, line),
    }
}

impl FtpReply {
    /// The first digit: 1 for what has begun, 2 for done, 3 for go on, 4 for not now, 5 for no.
    pub(crate) fn class(&self) -> u16 {
        self.code / 100
    }

    /// Its words in one line, bounded and legible.
    pub(crate) fn text(&self) -> String {
        let lines = self.lines.iter().map(|line| String::from_utf8_lossy(line));
        let text =
            lines.map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
        text.chars().filter(|c| !c.is_control()).take(200).collect()
    }

    /// The port in the answer to `EPSV` (RFC 2428 §3).
    pub(super) fn extended_passive_port(&self) -> Option<u16> {
        let text = self.lines.last()?;
        let open = text.iter().position(|byte| *byte == b'(')?;
        let inner = text.get(open + 1..)?;
        let delimiter = *inner.first()?;
        let mut fields = inner.split(|byte| *byte == delimiter).skip(3);
        port(fields.next()?)
    }

    /// The port in the answer to `PASV`. The address before it is not looked at: it may be anybody's.
    pub(super) fn passive_port(&self) -> Option<u16> {
        let text = self.lines.last()?;
        // Six numbers, with or without parentheses.
        let numbers = text.split(|byte| !(byte.is_ascii_digit() || *byte == b','));
        let six = numbers.map(|run| run.split(|byte| *byte == b',').map(number).collect::<Option<Vec<u8>>>());
        let six = six.flatten().find(|numbers| numbers.len() == 6)?;
        let port = u16::from_be_bytes([*six.get(4)?, *six.get(5)?]);
        (port != 0).then_some(port)
    }

    /// The path in the answer to `PWD` (RFC 959, appendix II): quotes in it are doubled.
    pub(super) fn quoted(&self) -> Option<Vec<u8>> {
        let mut rest = self.lines.first()?.iter().copied().skip_while(|byte| *byte != b'"').skip(1);
        let mut path = Vec::new();
        loop {
            match rest.next()? {
                b'"' if rest.next() != Some(b'"') => return Some(path),
                byte => path.push(byte),
            }
        }
    }
}

fn port(digits: &[u8]) -> Option<u16> {
    let port = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (port != 0).then_some(port)
}

fn number(digits: &[u8]) -> Option<u8> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<FtpReply> {
        let mut reader = ReplyReader::default();
        text.lines().filter_map(|line| reader.take(line.as_bytes()).unwrap()).collect()
    }

    fn one(text: &str) -> FtpReply {
        let [reply] = read(text).try_into().unwrap();
        reply
    }

    #[test]
    fn a_reply_of_many_lines_ends_with_its_number_and_a_blank() {
        let features = one("211-Features:\n MDTM\n 211 is no end here\n211-nor here\nSIZE\n2110\n211 End");
        assert_eq!(features.code, 211);
        assert_eq!(features.lines.len(), 7);
        assert_eq!(features.lines[3], b"nor here");
        assert_eq!(read("220 a\n331 b\n230").iter().map(|reply| reply.code).collect::<Vec<_>>(), [220, 331, 230]);
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for line in ["SSH-2.0-OpenSSH", "", "22", "099 x", "700 x", "2200", "22a x"] {
            assert!(ReplyReader::default().take(line.as_bytes()).is_err(), "{line:?}");
        }
        let told = |line: &[u8]| ReplyReader::default().take(line).unwrap_err().to_string();
        assert!(told(b"SSH-2.0-OpenSSH_9.2").contains("a server of SSH"));
        assert!(told(b"HTTP/1.1 400 Bad Request").contains("a server of HTTP"));
        assert!(told(b"\x15\x03\x01\0\x02").contains("ftps://"));
        assert!(told(b"what").contains("three digits"));
        let mut reader = ReplyReader::default();
        reader.take(b"220-begins").unwrap();
        let long = [b'x'; LONGEST_LINE];
        assert!((0..9).any(|_| reader.take(&long).is_err()));
    }

    #[test]
    fn ports_are_found_and_addresses_passed_over() {
        assert_eq!(one("229 Entering Extended Passive Mode (|||6446|)").extended_passive_port(), Some(6446));
        assert_eq!(one("229 ok (!!!1!)").extended_passive_port(), Some(1));
        assert_eq!(one("229 ok (|||0|)").extended_passive_port(), None);
        assert_eq!(one("229 ok |||70000|").extended_passive_port(), None);
        assert_eq!(one("227 Entering Passive Mode (10,0,0,1,25,46).").passive_port(), Some(6446));
        assert_eq!(one("227 =10,0,0,1,25,46").passive_port(), Some(6446));
        assert_eq!(one("227 2 ways, (10,0,0,1,25)").passive_port(), None);
    }

    #[test]
    fn the_folder_that_a_session_is_in_is_quoted() {
        assert_eq!(one("257 \"/home/a\"\"b\" is current").quoted().unwrap(), b"/home/a\"b");
        assert_eq!(one("257 /home").quoted(), None);
        assert_eq!(one("257 \"/home").quoted(), None);
    }

    proptest! {
        #[test]
        fn any_lines_are_read_or_refused(lines in proptest::collection::vec("[0-9a -]{0,6}", 0..8)) {
            let mut reader = ReplyReader::default();
            for line in &lines {
                if let Ok(Some(reply)) = reader.take(line.as_bytes()) {
                    let _ports = (reply.passive_port(), reply.extended_passive_port(), reply.quoted());
                    assert!((100..700).contains(&reply.code));
                }
            }
        }
    }
}
