//! Members of lists in which each hop signs with its name (RFC 9209 §2, Server Timing).

use http::{HeaderMap, HeaderName, HeaderValue};

/// Takes out of a service's field the members that are named like us; all others stay byte for byte.
pub(super) fn remove_ours(fields: &mut HeaderMap, name: &HeaderName) {
    if !fields.get_all(name).iter().any(|line| members(line.as_bytes()).any(is_ours)) {
        return;
    }
    let lines: Vec<HeaderValue> = fields.get_all(name).iter().filter_map(without_ours).collect();
    fields.remove(name);
    for line in lines {
        fields.append(name, line);
    }
}

/// `None`: nothing is left of it.
fn without_ours(line: &HeaderValue) -> Option<HeaderValue> {
    if !members(line.as_bytes()).any(is_ours) {
        return Some(line.clone());
    }
    let others: Vec<&[u8]> = members(line.as_bytes()).filter(|member| !is_ours(member)).collect();
    let others = others.join(&b',');
    // Invariant: pieces of a field's value, joined by what stood between them.
    HeaderValue::from_bytes(others.trim_ascii()).ok().filter(|line| !line.is_empty())
}

/// A member's name is a token or a string (RFC 8941 §3.3), and its parameters follow a `;`.
fn is_ours(member: &[u8]) -> bool {
    let name = member.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let name = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")).unwrap_or(name);
    name.eq_ignore_ascii_case(b"sidekey")
}

/// What stands between the commas; one inside of a string parts nothing. Where a string does not end, every comma
/// does: who reads such a line at all may read it so.
fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut reader = MemberReader::default();
    line.iter().for_each(|byte| reader.take(*byte));
    let strings_end = !reader.in_string;
    let mut reader = MemberReader::default();
    line.split(move |byte| {
        reader.take(*byte);
        *byte == b',' && !(reader.in_string && strings_end)
    })
}

/// Knows whether it is inside of a string.
#[derive(Default)]
struct MemberReader {
    in_string: bool,
    is_escaped: bool,
}

impl MemberReader {
    fn take(&mut self, byte: u8) {
        match byte {
            _ if self.is_escaped => self.is_escaped = false,
            b'\\' if self.in_string => self.is_escaped = true,
            b'"' => self.in_string = !self.in_string,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static NAME: HeaderName = HeaderName::from_static("proxy-status");

    #[track_caller]
    fn check(lines: &[&'static str], expected: &[&str]) {
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(&NAME, HeaderValue::from_static(line));
        }

        remove_ours(&mut fields, &NAME);

        assert_eq!(fields.get_all(&NAME).iter().collect::<Vec<_>>(), expected, "{lines:?}");
    }

    #[test]
    fn a_member_with_our_name_goes_and_no_other() {
        check(&["sidekey; error=dns_error"], &[]);
        check(&["Sidekey"], &[]);
        check(&["\"sidekey\";error=x , cdn"], &["cdn"]);
        check(&["a;x=1,  b , sidekey;dur=1,c"], &["a;x=1,  b ,c"]);
        check(&["a", " sidekey ", "b"], &["a", "b"]);
        check(&["sidekey-cdn, a;sidekey, xsidekey"], &["sidekey-cdn, a;sidekey, xsidekey"]);
    }

    #[test]
    fn a_comma_in_a_string_parts_nothing() {
        check(&["a; d=\"x, sidekey; y\", sidekey"], &["a; d=\"x, sidekey; y\""]);
        check(&[r#"a; d="x\", sidekey; y", sidekey"#], &[r#"a; d="x\", sidekey; y""#]);
    }

    #[test]
    fn a_string_without_an_end_hides_nothing() {
        check(&["a; d=\"x, sidekey; error=y, b"], &["a; d=\"x, b"]);
    }
}
