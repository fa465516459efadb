//! The path of a request as that of a file: bytes, segment by segment. Pure.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

/// Where a file or a folder is at its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FilePath {
    /// Under the folder in which a login begins, and not under the root.
    from_home: bool,
    segments: Vec<Vec<u8>>,
    /// It ends in `/`: a folder is meant.
    is_folder: bool,
}

/// Why a path names no file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PathError {
    #[error("its path has an empty segment, `//`, which names no file")]
    Empty,
    #[error("a segment of its path is longer than 255 bytes")]
    TooLong,
    #[error("a name in its path has the byte 0x{0:02X}, which is in no name of a file")]
    Byte(u8),
    #[error("a name in its path is `{0}`, which is no file's")]
    Dots(&'static str),
}

/// What `href` leaves as it is: RFC 3986's unreserved characters. Everything else has a meaning somewhere.
const IN_HREF: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'!')
    .add(b'"')
    .add(b'#')
    .add(b'$')
    .add(b'%')
    .add(b'&')
    .add(b'\'')
    .add(b'(')
    .add(b')')
    .add(b'*')
    .add(b'+')
    .add(b',')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
const LONGEST_NAME: usize = 255;

impl FilePath {
    /// The path of a request's target, percent-encoded as it came.
    pub(crate) fn read(path: &str) -> Result<Self, PathError> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (from_home, path) = match path.strip_prefix('~') {
            Some("") => (true, ""),
            Some(rest) if rest.starts_with('/') => (true, rest.get(1..).unwrap_or_default()),
            _ => (false, path),
        };
        if path.is_empty() {
            return Ok(Self { from_home, segments: Vec::new(), is_folder: true });
        }
        // One slash at the end says what is meant, and another one has a name before it that is empty.
        let (path, is_folder) = path.strip_suffix('/').map_or((path, false), |path| (path, true));
        let segments = path.split('/').map(segment).collect::<Result<_, _>>()?;
        Ok(Self { from_home, segments, is_folder })
    }

    /// Whether a folder is meant.
    pub(crate) fn is_folder(&self) -> bool {
        self.is_folder
    }

    /// The name of it, without where it is; `None`: the root, or where the login begins.
    pub(crate) fn name(&self) -> Option<&[u8]> {
        self.segments.last().map(Vec::as_slice)
    }

    /// The folders in which it is, from the first name on, and then itself.
    pub(crate) fn steps(&self) -> impl Iterator<Item = Self> + '_ {
        (1..=self.segments.len()).map(|count| {
            let segments = self.segments.get(..count).unwrap_or_default().to_vec();
            Self { segments, ..self.clone() }
        })
    }

    /// The same in the same folder, under another name.
    pub(crate) fn sibling(&self, name: Vec<u8>) -> Self {
        let mut segments = self.segments.clone();
        segments.pop();
        segments.push(name);
        Self { segments, ..self.clone() }
    }

    /// The same with this at the end of its name.
    pub(crate) fn with_suffix(&self, suffix: &str) -> Self {
        let mut longer = self.clone();
        if let Some(name) = longer.segments.last_mut() {
            name.extend_from_slice(suffix.as_bytes());
        }
        longer
    }

    /// Whether its name with this at the end is not too long for any disk.
    pub(crate) fn has_room_for(&self, suffix: &str) -> bool {
        self.name().is_none_or(|name| name.len() + suffix.len() <= LONGEST_NAME)
    }

    /// As servers take it that know where a login begins: SFTP's do.
    pub(crate) fn relative(&self) -> Vec<u8> {
        match self.from_home {
            true if self.segments.is_empty() => b".".to_vec(),
            true => self.segments.join(&b'/'),
            false => self.absolute(b""),
        }
    }

    /// As servers have it; `home` is where the login begins.
    pub(crate) fn absolute(&self, home: &[u8]) -> Vec<u8> {
        let mut path = if self.from_home { home.strip_suffix(b"/").unwrap_or(home).to_vec() } else { Vec::new() };
        for segment in &self.segments {
            path.push(b'/');
            path.extend_from_slice(segment);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        path
    }
}

/// A name is bytes; what would part it into two names, or end it, was meant for somebody else.
fn segment(written: &str) -> Result<Vec<u8>, PathError> {
    let name: Vec<u8> = percent_decode_str(written).collect();
    match &*name {
        b"" => return Err(PathError::Empty),
        b"." => return Err(PathError::Dots(".")),
        b".." => return Err(PathError::Dots("..")),
        _ => {}
    }
    if name.len() > LONGEST_NAME {
        return Err(PathError::TooLong);
    }
    match name.iter().find(|byte| matches!(byte, b'/' | b'\r' | b'\n' | 0 | 0xFF)) {
        Some(byte) => Err(PathError::Byte(*byte)),
        None => Ok(name),
    }
}

/// A name as part of a URL, relative to its folder.
pub(crate) fn href(name: &[u8], is_folder: bool) -> String {
    // Bare, in the root, it would be the folder in which a login begins.
    let mut href = if name == b"~" { "%7E".to_owned() } else { percent_encode(name, IN_HREF).to_string() };
    if is_folder {
        href.push('/');
    }
    href
}

/// A name under which nobody looks for the file yet: beside it, random, and not too long for any disk.
pub(crate) fn temporary(name: &[u8], suffix: &str, random: u64) -> Vec<u8> {
    let tail = format!(".{random:016x}{suffix}");
    let room = LONGEST_NAME.saturating_sub(tail.len() + 1);
    let mut end = name.len().min(room);
    // Not in the middle of a character, where it is UTF-8.
    while end > 0 && name.get(end).is_some_and(|byte| byte & 0xC0 == 0x80) {
        end -= 1;
    }
    // Hidden from listings, where servers hide such names.
    let mut temporary = vec![b'.'];
    temporary.extend_from_slice(name.get(..end).unwrap_or_default());
    temporary.extend_from_slice(tail.as_bytes());
    temporary
}

/// Where a file waits beside its place while another one takes that. `place`: what its server calls it.
pub(super) fn aside(place: &[u8], random: u64) -> Vec<u8> {
    let name = place.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (folder, name) = place.split_at(name);
    [folder, &temporary(name, ".old", random)].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_waits_in_the_folder_in_which_it_is() {
        assert_eq!(aside(b"/in/a.csv", 255), b"/in/.a.csv.00000000000000ff.old");
        assert_eq!(aside(b"a.csv", 255), b".a.csv.00000000000000ff.old");
    }

    #[track_caller]
    fn check(path: &str, absolute: Result<&[u8], PathError>, is_folder: bool) {
        let read = FilePath::read(path);
        assert_eq!(
            read.as_ref().map(|path| path.absolute(b"/home/acme")).map_err(Clone::clone),
            absolute.map(<[u8]>::to_vec),
            "{path}"
        );
        if let Ok(read) = read {
            assert_eq!(read.is_folder(), is_folder, "{path}");
        }
    }

    #[test]
    fn paths_are_bytes_segment_by_segment() {
        check("/out/a", Ok(b"/out/a"), false);
        check("/out/", Ok(b"/out"), true);
        check("/", Ok(b"/"), true);
        check("/~/a", Ok(b"/home/acme/a"), false);
        check("/~/", Ok(b"/home/acme"), true);
        check("/~", Ok(b"/home/acme"), true);
        check("/~a", Ok(b"/~a"), false);
        check("/a%20b%E9;c", Ok(b"/a b\xE9;c"), false);
        check("/a//b", Err(PathError::Empty), false);
        check("//", Err(PathError::Empty), false);
        check("/a//", Err(PathError::Empty), false);
        check("/~//", Err(PathError::Empty), false);
        check("/a%2Fb", Err(PathError::Byte(b'/')), false);
        check("/a%0Db", Err(PathError::Byte(b'\r')), false);
        check("/a%FFb", Err(PathError::Byte(0xFF)), false);
        check("/a/%2e%2e/b", Err(PathError::Dots("..")), false);
        check(&format!("/{}", "a".repeat(256)), Err(PathError::TooLong), false);
    }

    #[test]
    fn a_temporary_name_fits_on_any_disk() {
        assert_eq!(temporary(b"pay.csv", ".part", 0xAB), b".pay.csv.00000000000000ab.part");
        let long = "\u{e9}".repeat(127);
        let name = temporary(long.as_bytes(), ".part", 1);
        assert!(name.len() <= 255 && std::str::from_utf8(&name).is_ok(), "{name:?}");
    }

    proptest! {
        #[test]
        fn a_href_leads_to_its_name(name in proptest::collection::vec(any::<u8>(), 1..40)) {
            let (href, read) = (href(&name, false), |href: &str| FilePath::read(&format!("/{href}")));
            match read(&href) {
                Ok(path) => prop_assert_eq!(path.segments, vec![name]),
                Err(_) => prop_assert!(name == b"." || name == b".." || name.iter().any(|byte| b"/\r\n\0\xFF".contains(byte))),
            }
        }
    }
}
