//! A file of credentials as AWS's own tools keep it: `[name]`, and lines `key = value` below it.

use std::path::PathBuf;

use super::{AwsKey, KeyId};
use crate::config::diagnostic::Reported;
use crate::config::read::{FromText, SectionReader, Wrong};
use crate::config::value::{At, Span, header_value};
use crate::secret::Secret;

/// A profile as the config names it.
pub(super) struct Profile {
    pub(super) file: At<PathBuf>,
    pub(super) name: String,
    pub(super) span: Span,
}

/// Reads the profile's key. The file is watched: a key that is changed there is used from then on.
pub(super) fn read(profile: &Profile, reader: &mut SectionReader<'_>) -> Result<AwsKey, Reported> {
    if !reader.inputs.reads_secrets() {
        let placeholder = || "placeholder".to_owned();
        return Ok(AwsKey { id: placeholder(), secret: Secret::new(placeholder()), session_token: None });
    }
    let Profile { file, name, span } = profile;
    let bytes = reader.inputs.read_secret(&file.value, file.span, reader.report).ok_or(Reported)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Wrong::new("this file is not text"));
    let text = text.map_err(|wrong| wrong.report(file.span, reader.report))?;
    key(text, name).map_err(|wrong| wrong.report(*span, reader.report))
}

/// The key of a profile; what is wrong with it is told without it.
fn key(text: &str, name: &str) -> Result<AwsKey, Wrong> {
    let Some(settings) = settings(text, name) else {
        return Err(Wrong::new(format!("the file has no profile `{name}`")).help("`name` is a `[name]` of the file"));
    };
    let setting = |key: &str| {
        let found = settings.iter().find(|(written, _)| written.eq_ignore_ascii_case(key));
        found.map(|(_, value)| *value).filter(|value| !value.is_empty())
    };
    let required = |key: &str| setting(key).ok_or_else(|| Wrong::new(format!("profile `{name}` has no `{key}`")));
    let id = KeyId::from_text(required("aws_access_key_id")?)?.0;
    let secret = Secret::new(required("aws_secret_access_key")?.to_owned());
    let session_token = setting("aws_session_token");
    session_token.map(header_value).transpose()?;
    Ok(AwsKey { id, secret, session_token: session_token.map(|token| Secret::new(token.to_owned())) })
}

/// The lines of a profile, as keys and values; `None` if the file has no such profile.
fn settings<'t>(text: &'t str, name: &str) -> Option<Vec<(&'t str, &'t str)>> {
    let mut lines = text.lines().map(str::trim);
    // AWS's file of settings, which may hold keys too, writes `[profile name]`.
    let begins =
        |line: &str| heading(line).is_some_and(|found| found.strip_prefix("profile ").unwrap_or(found).trim() == name);
    lines.by_ref().find(|line| begins(line))?;
    let own = lines.take_while(|line| heading(line).is_none());
    let settings = own.filter(|line| !line.starts_with(['#', ';'])).filter_map(|line| line.split_once('='));
    Some(settings.map(|(key, value)| (key.trim(), value.trim())).collect())
}

fn heading(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix('[')?.split_once(']')?;
    Some(name.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
# made by hand
[default]
aws_access_key_id = AKIDEFAULT
aws_secret_access_key=abc/def+ghi=

[ other ]
; an old one
;aws_access_key_id = AKIDOLD
AWS_ACCESS_KEY_ID=AKIDOTHER
  aws_secret_access_key = s
aws_session_token = t==
region = eu-central-1
[profile third]
aws_access_key_id = AKIDTHIRD
";

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_profile_has_its_own_lines_and_no_other() {
        let default = AwsKey { id: "AKIDEFAULT".to_owned(), secret: secret("abc/def+ghi="), session_token: None };
        let other = AwsKey { id: "AKIDOTHER".to_owned(), secret: secret("s"), session_token: Some(secret("t==")) };

        assert_eq!(key(FILE, "default"), Ok(default));
        assert_eq!(key(FILE, "other"), Ok(other));
    }

    #[test]
    fn what_a_profile_lacks_is_named() {
        let message = |name| key(FILE, name).expect_err("no key").message;

        assert_eq!(message("third"), "profile `third` has no `aws_secret_access_key`");
        assert_eq!(message("fourth"), "the file has no profile `fourth`");
    }
}
