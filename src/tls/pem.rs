//! What is in a PEM file (RFC 7468): its sections, whatever stands before, between and after them.
//!
//! One promise holds the rest together: as many sections are read as begin, or the file is damaged. A section that a
//! reader passes over without a word is a chain that ends too soon, or a CA that is not trusted, on a day of nobody's
//! choosing. The errors never quote the file: a key whose line breaks were lost is one line, and would be quoted whole.

use std::ops::Range;

use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, Engine};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::certificate_error::CertificateError;
use super::foreign::Foreign;

/// All sections of a file, in order.
#[derive(Debug)]
pub(super) struct Pem<'f> {
    file: &'f [u8],
    sections: Vec<Section<'f>>,
}

/// What stands between a line that begins and one that ends.
#[derive(Debug)]
pub(super) struct Section<'f> {
    /// `CERTIFICATE`, `ENCRYPTED PRIVATE KEY`, ….
    pub(super) label: &'f str,
    text: &'f [u8],
    /// Of its first line, counted from 1.
    line: usize,
}

impl<'f> Pem<'f> {
    /// Finds the sections.
    ///
    /// # Errors
    /// Where something begins and is no whole section.
    pub(super) fn read(file: &'f [u8]) -> Result<Self, CertificateError> {
        let begins = places_of(BEGIN, file);
        let ends = begins.iter().skip(1).copied().chain([file.len()]);
        let sections = begins.iter().zip(ends).map(|(&begin, end)| section(file, begin..end)).collect::<Result<_, _>>();
        Ok(Self { file, sections: sections? })
    }

    pub(super) fn sections(&self) -> &[Section<'f>] {
        &self.sections
    }

    /// All certificates, in order; at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        let certificates = self.sections.iter().filter(|section| CERTIFICATE.contains(&section.label));
        let certificates = certificates.map(|section| Ok(section.decoded()?.to_vec().into()));
        let certificates: Vec<_> = certificates.collect::<Result<_, CertificateError>>()?;
        if certificates.is_empty() {
            return Err(CertificateError::NoCertificate { found: self.found() });
        }
        Ok(certificates)
    }

    /// What stands in place of a private key that has a label of its own.
    pub(super) fn foreign_key(&self) -> Option<Foreign> {
        let keys = self.sections.iter().find(|section| section.label.ends_with("PRIVATE KEY"));
        keys.map(|section| Foreign::Section(section.label.to_owned()))
    }

    /// What a file without the label that was looked for holds instead.
    pub(super) fn found(&self) -> Option<Foreign> {
        let label = self.sections.first().map(|section| Foreign::Section(section.label.to_owned()));
        label.or_else(|| Foreign::of(self.file))
    }
}

impl Section<'_> {
    /// The bytes that its text stands for. Fields before it (RFC 1421) and white space count for nothing.
    pub(super) fn decoded(&self) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
        let text = self.fields().map_or(self.text, |fields| &self.text[fields.end..]);
        // Taken at its full size at once: a buffer that grew would leave copies of a key behind.
        let mut base64 = Zeroizing::new(Vec::with_capacity(text.len()));
        base64.extend(text.iter().filter(|byte| !byte.is_ascii_whitespace()));
        let mut decoded = Zeroizing::new(vec![0; base64.len() / 4 * 3 + 3]);
        let length = BASE64.decode_slice(&*base64, &mut decoded).map_err(|_| self.damaged("is no base64"))?;
        decoded.truncate(length);
        Ok(decoded)
    }

    /// Whether it is OpenSSL's format from before PKCS#8, whose key derivation is one round of MD5.
    pub(super) fn is_traditionally_encrypted(&self) -> bool {
        self.fields().is_some_and(|fields| find(b"4,ENCRYPTED", &self.text[fields]).is_some())
    }

    /// Fields such as `Proc-Type: 4,ENCRYPTED`, up to the empty line after them.
    fn fields(&self) -> Option<Range<usize>> {
        let last = self.text.iter().rposition(|byte| *byte == b':')?;
        let mut lines = self.text[last..].split_inclusive(|byte| *byte == b'\n');
        let mut end = last;
        for line in lines.by_ref() {
            end += line.len();
            if line.trim_ascii().is_empty() {
                return Some(0..end);
            }
        }
        None
    }

    fn damaged(&self, what: &'static str) -> CertificateError {
        CertificateError::DamagedPem { line: self.line, what }
    }
}

/// The section that begins where `within` does; the next one begins where that ends.
fn section(file: &[u8], within: Range<usize>) -> Result<Section<'_>, CertificateError> {
    let line = line(&file[..within.start]);
    let damaged = |what| CertificateError::DamagedPem { line, what };
    let whole = &file[within];

    let first = whole.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    let (label, rest) = label(&first[BEGIN.len()..]).ok_or_else(|| damaged("does not begin as one"))?;
    if !rest.trim_ascii().is_empty() {
        let is_escaped = rest.starts_with(b"\\n") || rest.starts_with(b"\\r\\n");
        return Err(if is_escaped { CertificateError::EscapedPem } else { damaged(FLATTENED) });
    }
    let text = &whole[first.len()..];
    let end = find(END, text).ok_or_else(|| damaged("does not end"))?;
    match self::label(&text[end + END.len()..]) {
        Some((last, _)) if last == label => Ok(Section { label, text: &text[..end], line }),
        Some(_) => Err(damaged("ends with another name than it begins with")),
        None => Err(damaged("does not end")),
    }
}

/// The label after `-----BEGIN` or `-----END`, and what comes behind its dashes.
fn label(text: &[u8]) -> Option<(&str, &[u8])> {
    let length = find(DASHES, text)?;
    let label = std::str::from_utf8(&text[..length]).ok()?.strip_prefix(' ')?;
    let is_one = !label.is_empty() && label.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    is_one.then_some((label, &text[length + DASHES.len()..]))
}

/// The number of the line that follows what stands above it; old Macs ended theirs with `\r` alone.
fn line(above: &[u8]) -> usize {
    let count = |end: u8| above.iter().filter(|byte| **byte == end).count();
    1 + count(b'\n').max(count(b'\r'))
}

fn places_of(pattern: &[u8], text: &[u8]) -> Vec<usize> {
    let starts = text.windows(pattern.len()).enumerate();
    starts.filter(|(_, window)| *window == pattern).map(|(place, _)| place).collect()
}

fn find(pattern: &[u8], text: &[u8]) -> Option<usize> {
    text.windows(pattern.len()).position(|window| window == pattern)
}

const BEGIN: &[u8] = b"-----BEGIN";
const END: &[u8] = b"-----END";
const DASHES: &[u8] = b"-----";
const FLATTENED: &str = "goes on in the line that begins it; line breaks may have been lost";
/// The second is what OpenSSL wrote before 1997; both hold the same.
const CERTIFICATE: [&str; 2] = ["CERTIFICATE", "X509 CERTIFICATE"];
/// Files written by hand lack the padding now and then.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n";

    /// The labels of a file, and what its sections hold; or what is wrong with it.
    fn read(file: &str) -> Result<Vec<(String, Vec<u8>)>, String> {
        let pem = Pem::read(file.as_bytes()).map_err(|unusable| unusable.to_string())?;
        let decoded = |section: &Section<'_>| Ok((section.label.to_owned(), section.decoded()?.to_vec()));
        let sections = pem.sections().iter().map(decoded).collect::<Result<_, CertificateError>>();
        sections.map_err(|unusable| unusable.to_string())
    }

    #[track_caller]
    fn check_read(file: &str, labels: &[&str]) {
        let expected: Vec<_> = labels.iter().map(|label| ((*label).to_owned(), vec![0, 1, 2])).collect();
        assert_eq!(read(file), Ok(expected), "{file:?}");
    }

    #[track_caller]
    fn check_damaged(file: &str, line: usize, what: &str) {
        let said = format!("the PEM text is damaged: the section that begins in line {line} {what}");
        assert_eq!(read(file), Err(said), "{file:?}");
    }

    #[test]
    fn sections_are_read_whatever_stands_around_them() {
        const C: &str = "CERTIFICATE";
        check_read(ONE, &[C]);
        check_read(ONE.trim_end(), &[C]);
        check_read(&[ONE.trim_end(), ONE].concat(), &[C, C]);
        check_read(&[ONE.trim_end(), ONE.trim_end(), ONE].concat(), &[C, C, C]);
        check_read(&["\u{feff}", ONE].concat(), &[C]);
        check_read(&["# CN=app\nsubject=/CN=app ", ONE, "\ntext\n\n", ONE, "END"].concat(), &[C, C]);
        check_read(&ONE.replace('\n', "\r\n"), &[C]);
        check_read(&ONE.replace('\n', "\r"), &[C]);
        check_read(&ONE.replace('\n', " \t\n"), &[C]);
        check_read(&ONE.replace('\n', "\n    "), &[C]);
        check_read(&ONE.replace("AAEC", "A\nA\n\nE C"), &[C]);
        check_read(&ONE.replace("AAEC", "Proc-Type: 4,CLEAR\nX: y\n\nAAEC"), &[C]);
        check_read(&[ONE, &ONE.replace(C, "EC PRIVATE KEY")].concat(), &[C, "EC PRIVATE KEY"]);
        check_read("", &[]);
        check_read("half a certif", &[]);
    }

    #[test]
    fn what_begins_and_is_no_whole_section_is_damage_and_its_line_is_named() {
        let flat = "goes on in the line that begins it; line breaks may have been lost";
        check_damaged(&ONE.replace('\n', ""), 1, flat);
        check_damaged(&[ONE, &ONE.replace('\n', " ")].concat(), 4, flat);
        check_damaged(&[ONE, &ONE[..35]].concat(), 4, "does not end");
        check_damaged(&[&ONE[..35], ONE].concat(), 1, "does not end");
        check_damaged(&ONE.replace("E-----\nAA", "E----\nAA"), 1, "does not begin as one");
        check_damaged(&[ONE, "-----BEGIN"].concat(), 4, "does not begin as one");
        check_damaged(&ONE.replace("BEGIN C", "BEGINC"), 1, "does not begin as one");
        check_damaged(&ONE.replace("END CERTIFICATE-----", "END CERTIFICATE---"), 1, "does not end");
        check_damaged(&ONE.replace("END CERT", "END X509 CERT"), 1, "ends with another name than it begins with");
        check_damaged(&["\r\n\r\n", &ONE.replace("AAEC", "AA!C")].concat(), 3, "is no base64");
    }

    #[test]
    fn as_many_sections_are_read_as_begin_or_the_file_is_damaged() {
        let pieces = [ONE, ONE.trim_end(), "\n", "x", "-----", "-----BEGIN", "-----BEGIN A-----\n", "-----END A-----"];
        for number in 0..pieces.len().pow(4) {
            let piece = |place: u32| pieces[number / pieces.len().pow(place) % pieces.len()];
            let file: String = (0..4).map(piece).collect();

            let Ok(sections) = Pem::read(file.as_bytes()).map(|pem| pem.sections.len()) else { continue };

            assert_eq!(sections, file.matches("-----BEGIN").count(), "{file:?}");
        }
    }

    #[test]
    fn an_error_never_quotes_the_file() {
        for file in ["-----BEGIN PRIVATE KEY-----c2VjcmV0-----END PRIVATE KEY-----\n", "-----BEGIN c2VjcmV0\n"] {
            assert!(!read(file).unwrap_err().contains("c2VjcmV0"));
        }
    }
}
