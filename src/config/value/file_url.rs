//! What holds of the URL of a service that files are asked of, beside what holds of every URL.

use percent_encoding::percent_decode_str;

use super::url::Url;
use crate::config::text::Wrong;

/// Refuses a base path under which no file could ever be asked for.
pub(super) fn check(url: &Url) -> Result<(), Wrong> {
    if !cfg!(feature = "files") {
        return Err(Wrong::new("this build of Sidekey transfers no files by SFTP or FTP").help(WITHOUT_FEATURE));
    }
    let path = url.path.strip_suffix('/').unwrap_or(&url.path);
    for segment in path.split('/').skip(1) {
        let name: Vec<u8> = percent_decode_str(segment).collect();
        if name.is_empty() {
            return Err(Wrong::new("the path of a file has no empty segment, `//`").help("write one `/`"));
        }
        if name.contains(&b'/') {
            return Err(Wrong::new("a `%2F` is in no name of a file").help("write `/` between names"));
        }
        if let Some(byte) = name.iter().find(|byte| matches!(byte, b'\r' | b'\n' | 0xff)) {
            return Err(Wrong::new(format!("a `%{byte:02X}` is in no name of a file")));
        }
        if name.len() > LONGEST_NAME {
            return Err(Wrong::new(format!("a name of a file has at most {LONGEST_NAME} bytes")));
        }
    }
    Ok(())
}

/// What to do about a build that lacks them.
const WITHOUT_FEATURE: &str = "use a build with the cargo feature `files`, which is on unless it is switched off";
const LONGEST_NAME: usize = 255;

#[cfg(test)]
#[cfg(feature = "files")]
mod tests {
    use crate::config::text::FromText;
    use crate::config::value::{At, ServiceUrl, Span, Url};

    #[track_caller]
    fn check(text: &str, expected: Result<(&str, u16, &str), &str>) {
        let read = ServiceUrl::from_text(text).map(|value| At::<Url>::from(At { value, span: Span::NOWHERE }).value);
        let read = read.map(|url| (url.to_string(), url.authority.port, url.path));
        let expected = expected.map(|(shown, port, path)| (shown.to_owned(), port, path.to_owned()));
        assert_eq!(read.map_err(|wrong| wrong.message), expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn a_service_is_reached_by_sftp_and_ftp_at_their_ports() {
        check("sftp://Files.Bank.example/out", Ok(("sftp://files.bank.example/out", 22, "/out")));
        check("ftp://h/~/in/", Ok(("ftp://h/~/in/", 21, "/~/in/")));
        check("FTPS://h", Ok(("ftps://h", 990, "")));
        check("ftps://[::1]:21", Ok(("ftps://[::1]:21", 21, "")));
        check("sftp://h:22/", Ok(("sftp://h/", 22, "/")));
        check("sftp://h/a%20b/%C3%BC", Ok(("sftp://h/a%20b/%C3%BC", 22, "/a%20b/%C3%BC")));
    }

    #[test]
    fn a_folder_under_which_no_file_can_be_asked_for_is_refused() {
        check("sftp://h/a//b", Err("the path of a file has no empty segment, `//`"));
        check("sftp://h/a%2Fb", Err("a `%2F` is in no name of a file"));
        check("ftp://h/a%0d", Err("a `%0D` is in no name of a file"));
        check("ftp://h/%ff", Err("a `%FF` is in no name of a file"));
        check(&format!("ftp://h/{}", "%C3%BC".repeat(128)), Err("a name of a file has at most 255 bytes"));
        check("sftp://h/..", Err("the path of a URL has no `.` or `..`"));
        check("sftp://u:p@h/", Err("a URL does not carry a user or a password"));
        check("sftp://h/a?b", Err("the URL of a service has no query"));
    }
}
