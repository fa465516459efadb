//! What FTP servers say given as any bytes, as the fuzz targets and their test do it.

use super::super::found::of_entry;
use super::super::listing::Form;
use super::super::path::{FilePath, href};
use super::FtpEntry;
use super::lines::LineReader;
use super::listing::{self, entry};
use super::reply::{self, FtpReply, ReplyReader};

/// Panics unless replies that come in pieces are read as if they had come at once, and each of them is one that can be
/// told and bounded. Says whether there are any.
pub(crate) fn replies_are_read_alike(whole: &[u8], pieces: &[&[u8]]) -> bool {
    let read = replies(&[whole]);
    assert_eq!(replies(pieces), read, "{}", whole.escape_ascii());
    for reply in &read.0 {
        assert!((1..=6).contains(&reply.class()), "{reply:?}");
        let text = reply.text();
        assert!(text.chars().count() <= 200 && !text.contains(char::is_control), "{text:?}");
        assert!(reply.lines.iter().map(Vec::len).sum::<usize>() <= whole.len(), "more was read than came");
        assert!(![reply.passive_port(), reply.extended_passive_port()].contains(&Some(0)), "{reply:?}");
        let home = reply.quoted().unwrap_or_default();
        assert!(home.len() <= whole.len() && !home.contains(&b'\n'), "{reply:?}");
    }
    !read.0.is_empty()
}

/// All replies up to the first that is none, and whether there was such a one.
fn replies(pieces: &[&[u8]]) -> (Vec<FtpReply>, bool) {
    let (mut lines, mut reader) = (LineReader::new(reply::LONGEST_LINE, 16), ReplyReader::default());
    let mut replies = Vec::new();
    for piece in pieces {
        lines.room().extend_from_slice(piece);
        loop {
            let line = match lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(_) => return (replies, true),
            };
            match reader.take(&line) {
                Ok(reply) => replies.extend(reply),
                Err(_) => return (replies, true),
            }
        }
    }
    (replies, false)
}

/// Panics unless the lines of a listing that come in pieces are read as if they had come at once, and become entries that
/// the app can read and go by. `tells_facts`: they are of `MLSD`. Says whether there are any.
pub(crate) fn listings_are_read_alike(whole: &[u8], pieces: &[&[u8]], tells_facts: bool) -> bool {
    let read = entries(&[whole], tells_facts);
    assert_eq!(entries(pieces, tells_facts), read, "{}", whole.escape_ascii());
    let Some(entries) = read else { return false };
    let mut json = Vec::new();
    Form::Json.begin(&mut json);
    for (place, (name, entry)) in entries.iter().enumerate() {
        assert!(!matches!(&**name, b"" | b"." | b".."), "{}", name.escape_ascii());
        // To a name that no request can have there is none.
        let path = FilePath::read(&format!("/{}", href(name, false)));
        let leads_there = path.as_ref().is_ok_and(|path| path.name() == Some(&**name));
        assert!(leads_there || path.is_err(), "{}", name.escape_ascii());
        Form::Json.write(name, &of_entry(entry), place == 0, &mut json);
    }
    Form::Json.end(&mut json);
    let told: serde_json::Value = serde_json::from_slice(&json).unwrap_or_else(|error| panic!("no JSON: {error}"));
    assert_eq!(told["entries"].as_array().map(Vec::len), Some(entries.len()));
    !entries.is_empty()
}

/// `None`: one line was too long to be read.
fn entries(pieces: &[&[u8]], tells_facts: bool) -> Option<Vec<(Vec<u8>, FtpEntry)>> {
    let mut lines = LineReader::new(listing::LONGEST_LINE, 64);
    let mut entries = Vec::new();
    let mut take = |line: &[u8]| {
        let read = entry(line, tells_facts).ok().flatten();
        entries.extend(read.map(|(name, entry)| (name.to_vec(), entry)));
    };
    for piece in pieces {
        lines.room().extend_from_slice(piece);
        while let Some(line) = lines.next().ok()? {
            take(&line);
        }
    }
    if let Some(line) = lines.rest() {
        take(&line);
    }
    Some(entries)
}
