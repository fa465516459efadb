//! URLs of services and token endpoints.
//!
//! A URL that exists is sent as it was written: nothing in it is decoded, and what could name something else for
//! somebody behind us (dot segments, broken percent-encodings) is refused here.

use std::fmt;
use std::net::IpAddr;

use schemars::{Schema, json_schema};

use super::At;
use super::file_url;
use super::host::{host, parse_port, split_port};
use super::openpgp_url;
use crate::config::text::{FromText, Wrong};

/// What is spoken. Only a service's own URL has one beside `http` and `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP, plain.
    Http,
    /// HTTP with TLS.
    Https,
    /// Files over SSH.
    Sftp,
    /// Files, with TLS once that is agreed on, or plain if the config says so.
    Ftp,
    /// Files, with TLS from the first byte.
    Ftps,
    /// Nothing: bodies are encrypted or decrypted, and come back.
    OpenPgp,
}

/// Host and port of a URL. The host is lower case, without a trailing dot; an IPv6 address has no brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UrlAuthority {
    /// A name or an IP address.
    pub host: String,
    /// The port as written, or the scheme's default.
    pub port: u16,
    /// Whether `port` is the default of the URL's scheme.
    pub default_port: bool,
}

/// An absolute URL without userinfo, query or fragment (a token endpoint may have a query).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    /// What comes before `://`.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: UrlAuthority,
    /// The path as written, `""` if there is none; a trailing slash is kept.
    pub path: String,
    /// Only a token endpoint may have one.
    pub query: Option<String>,
}

/// As it is written, without a port that is the scheme's default.
impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scheme == Scheme::OpenPgp {
            return formatter.write_str(self.scheme.start());
        }
        write!(formatter, "{}{}{}", self.scheme.start(), self.authority, self.path)?;
        match &self.query {
            Some(query) => write!(formatter, "?{query}"),
            None => Ok(()),
        }
    }
}

/// As `Host` and `:authority` have it: an IPv6 address in brackets, no default port.
impl fmt::Display for UrlAuthority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(formatter, "{open}{}{close}", self.host)?;
        if self.default_port { Ok(()) } else { write!(formatter, ":{}", self.port) }
    }
}

impl Scheme {
    /// Whether files are asked for there, and not HTTP.
    #[must_use]
    pub fn is_of_files(self) -> bool {
        match self {
            Self::Http | Self::Https | Self::OpenPgp => false,
            Self::Sftp | Self::Ftp | Self::Ftps => true,
        }
    }

    /// What URLs with it begin with.
    #[must_use]
    pub fn start(self) -> &'static str {
        match self {
            Self::Http => "http://",
            Self::Https => "https://",
            Self::Sftp => "sftp://",
            Self::Ftp => "ftp://",
            Self::Ftps => "ftps://",
            Self::OpenPgp => "openpgp:",
        }
    }

    /// Its port, where a URL names none.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Sftp => 22,
            Self::Ftp => 21,
            Self::Ftps => 990,
            Self::OpenPgp => 0,
        }
    }

    fn named(name: &str) -> Option<Self> {
        let all = [Self::Http, Self::Https, Self::Sftp, Self::Ftp, Self::Ftps];
        all.into_iter().find(|scheme| scheme.start().strip_suffix("://") == Some(name))
    }
}

impl Url {
    /// Whether the host is a loopback address or `localhost`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.authority.host.as_str();
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }

    /// Whether the host is this machine whatever a resolver says: as [`Url::is_loopback`], or a name below `localhost`
    /// (RFC 6761 §6.3).
    #[must_use]
    pub fn is_on_this_machine(&self) -> bool {
        self.is_loopback() || self.authority.host.ends_with(".localhost")
    }

    /// Whether it stands for one that is not read.
    pub(in crate::config) fn is_placeholder(&self) -> bool {
        *self == placeholder()
    }

    /// Whether what is sent there by HTTP can be read on the way.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.scheme == Scheme::Http && !self.is_loopback()
    }

    /// The URL of a token endpoint that somebody else names, by the rules for those that are written.
    pub(crate) fn endpoint(text: &str) -> Option<Self> {
        parse(text).ok()
    }
}

/// The URL of a service.
pub(in crate::config) struct ServiceUrl(Url);

/// The URL of a token endpoint, which may have a query.
#[derive(Clone)]
pub(in crate::config) struct EndpointUrl(Url);

impl From<At<ServiceUrl>> for At<Url> {
    fn from(url: At<ServiceUrl>) -> Self {
        Self { value: url.value.0, span: url.span }
    }
}

/// An issuer, by its URL, which has no query (RFC 8414 §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// Where its metadata is asked for.
    pub url: Url,
    /// The URL as it is written: issuers are compared byte for byte (RFC 8414 §3.3).
    pub written: String,
}

impl From<EndpointUrl> for Url {
    fn from(url: EndpointUrl) -> Self {
        url.0
    }
}

impl FromText for ServiceUrl {
    const WHAT: &'static str = "a URL";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if let Some(url) = openpgp_url::read(text) {
            return url.map(Self);
        }
        let url = parse_any(text, "`http://`, `https://`, `sftp://`, `ftp://` and `ftps://`")?;
        if url.scheme.is_of_files() {
            file_url::check(&url)?;
        }
        match url.query {
            Some(_) => Err(Wrong::new("the URL of a service has no query").help("remove the `?` and what follows")),
            None => Ok(Self(url)),
        }
    }

    fn placeholder() -> Self {
        Self(placeholder())
    }

    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(([Hh][Tt][Tt][Pp][Ss]?|[Ss][Ff][Tt][Pp]|[Ff][Tt][Pp][Ss]?)://[^?#@]+|[Oo][Pp][Ee][Nn][Pp][Gg][Pp]:)$",
        })
    }
}

impl FromText for Issuer {
    const WHAT: &'static str = "a URL";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let url = parse(text)?;
        if let Some(issuer) = whose_metadata(&url) {
            let wrong = Wrong::new("this is where an issuer has its metadata, and not the issuer itself");
            return Err(wrong.help(format!("write `issuer: {issuer}`, as the `issuer` in its metadata is")));
        }
        match url.query {
            Some(_) => Err(Wrong::new("the URL of an issuer has no query").help("remove the `?` and what follows")),
            None => Ok(Self { url, written: text.to_owned() }),
        }
    }

    fn placeholder() -> Self {
        Self { url: placeholder(), written: String::new() }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^?#@]+$" })
    }
}

/// The issuer whose metadata are here: of its path, what comes before `/.well-known/`, or what comes after the name (RFC 8414
/// §3.1). `None`: they are no metadata.
fn whose_metadata(url: &Url) -> Option<Url> {
    let (before, after) = url.path.split_once("/.well-known/")?;
    let after = after.find('/').map_or("", |slash| &after[slash..]);
    let path = if before.is_empty() { after } else { before };
    Some(Url { path: path.to_owned(), query: None, ..url.clone() })
}

impl FromText for EndpointUrl {
    const WHAT: &'static str = "a URL";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        parse(text).map(Self)
    }

    fn placeholder() -> Self {
        Self(placeholder())
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^#@]+$" })
    }
}

pub(super) fn placeholder() -> Url {
    let authority = UrlAuthority { host: "placeholder.invalid".to_owned(), port: 443, default_port: true };
    Url { scheme: Scheme::Https, authority, path: String::new(), query: None }
}

/// What is meant by a scheme that names a dialect, or TLS, where that has a key of its own.
fn help_for_scheme(scheme: &str) -> &'static str {
    match scheme {
        "ws" => "write `http://`: a WebSocket begins as a request",
        "wss" => "write `https://`: a WebSocket begins as a request",
        "h2c" | "grpc" => "write `http://`, and `http_version: 2` beside it; or `https://`, if it speaks TLS",
        "grpcs" | "h2" => "write `https://`",
        "scp" | "ssh" => "write `sftp://`: files are transferred by SFTP",
        _ => "write `https://host/path`",
    }
}

/// A URL that HTTP is spoken to.
pub(super) fn parse(text: &str) -> Result<Url, Wrong> {
    let url = parse_any(text, "`http://` and `https://`")?;
    if url.scheme.is_of_files() {
        let wrong = Wrong::new("only `http://` and `https://` can be spoken to here");
        return Err(wrong.help("only the `url` of a service may begin with `sftp://`, `ftp://` or `ftps://`"));
    }
    Ok(url)
}

fn parse_any(text: &str, spoken: &str) -> Result<Url, Wrong> {
    if text.trim() != text {
        return Err(Wrong::new("there is white space around this URL").help("remove it"));
    }
    let whole = "write `https://host/path`";
    let (scheme, rest) = text.split_once("://").ok_or_else(|| Wrong::new("this is no URL").help(whole))?;
    let name = scheme.to_ascii_lowercase();
    let Some(scheme) = Scheme::named(&name) else {
        return Err(Wrong::new(format!("only {spoken} can be spoken to")).help(help_for_scheme(&name)));
    };
    if rest.contains('#') {
        return Err(Wrong::new("a URL that is sent has no fragment").help("remove the `#` and what follows"));
    }
    let (before_query, query) = match rest.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (rest, None),
    };
    let (authority, path) = before_query.split_at(before_query.find('/').unwrap_or(before_query.len()));
    let authority = parse_authority(authority, scheme)?;
    check_path(path)?;
    check_characters(query.unwrap_or_default())?;
    Ok(Url { scheme, authority, path: path.to_owned(), query: query.map(str::to_owned) })
}

fn parse_authority(text: &str, scheme: Scheme) -> Result<UrlAuthority, Wrong> {
    if text.contains('@') {
        let method = match scheme {
            Scheme::Http | Scheme::Https | Scheme::OpenPgp => "use `auth: { type: basic, … }`",
            Scheme::Sftp => "use `auth: { type: sftp, username: …, … }`",
            Scheme::Ftp | Scheme::Ftps => "use `auth: { type: ftp, username: …, … }`",
        };
        return Err(Wrong::new("a URL does not carry a user or a password").help(method));
    }
    let (name, port) = split_port(text);
    let default = scheme.default_port();
    let port = match port {
        None => default,
        Some(port) => parse_port(port)?,
    };
    Ok(UrlAuthority { host: host(name)?, port, default_port: port == default })
}

/// Refuses what could lead outside the path for whoever decodes it.
fn check_path(path: &str) -> Result<(), Wrong> {
    check_characters(path)?;
    if path.starts_with("//") {
        return Err(Wrong::new("the path of a URL does not begin with `//`"));
    }
    let dots = |segment: &str| matches!(segment.split(';').next().unwrap_or_default(), "." | "..");
    // An encoded slash separates segments for whoever decodes before splitting.
    let decoded = path.to_ascii_lowercase().replace("%2f", "/").replace("%5c", "/").replace("%2e", ".");
    if decoded.split('/').any(dots) {
        return Err(Wrong::new("the path of a URL has no `.` or `..`").help("write the path that it leads to"));
    }
    Ok(())
}

fn check_characters(text: &str) -> Result<(), Wrong> {
    let legal = |byte: u8| {
        byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'^' | b'|')
    };
    if !text.bytes().all(legal) {
        return Err(Wrong::new("a URL has only letters, digits and punctuation of ASCII")
            .help("percent-encode what is none: a space is `%20`"));
    }
    let broken = text.match_indices('%').any(|(at, _)| {
        let code = text.get(at + 1..at + 3);
        code.is_none_or(|code| code == "00" || !code.bytes().all(|digit| digit.is_ascii_hexdigit()))
    });
    if broken { Err(Wrong::new("a `%` is followed by two hexadecimal digits, and not by `00`")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<(&str, u16, &str), &str>) {
        let read = parse(text).map(|url| (url.authority.host, url.authority.port, url.path));
        let expected = expected.map(|(host, port, path)| (host.to_owned(), port, path.to_owned()));
        assert_eq!(read.map_err(|wrong| wrong.message), expected.map_err(str::to_owned), "{text:?}");
    }

    #[test]
    fn an_issuer_is_no_place_of_metadata() {
        let check = |text: &str, issuer: &str| {
            let wrong = Issuer::from_text(text).expect_err(text).in_one_line();
            assert!(wrong.contains(&format!("write `issuer: {issuer}`")), "{wrong}");
        };
        check("https://idp.example/.well-known/openid-configuration", "https://idp.example");
        check("https://idp.example/realms/x/.well-known/openid-configuration", "https://idp.example/realms/x");
        check("https://idp.example/.well-known/oauth-authorization-server/realms/x", "https://idp.example/realms/x");
        check("https://idp.example:8443/t/.well-known/openid-configuration?appid=1", "https://idp.example:8443/t");
        assert!(Issuer::from_text("https://idp.example/well-known/x").is_ok());
    }

    #[test]
    fn a_url_is_taken_apart_and_its_path_kept_as_written() {
        check("https://api.example/v1", Ok(("api.example", 443, "/v1")));
        check("HTTP://API.Example.:8080/a%2Fb/;x//y/", Ok(("api.example", 8080, "/a%2Fb/;x//y/")));
        check("https://[::1]:1/", Ok(("::1", 1, "/")));
        check("https://[0:0:0:0:0:0:0:1]", Ok(("::1", 443, "")));
        check("https://10.0.0.1", Ok(("10.0.0.1", 443, "")));
    }

    #[test]
    fn a_url_that_could_name_something_else_is_refused() {
        let dots = Err("the path of a URL has no `.` or `..`");
        check("https://a/x/../y", dots);
        check("https://a/%2E%2e", dots);
        check("https://a/x%2f..;p/y", dots);
        check("https://a//x", Err("the path of a URL does not begin with `//`"));
        check("https://a/%zz", Err("a `%` is followed by two hexadecimal digits, and not by `00`"));
        check("https://a/%0", Err("a `%` is followed by two hexadecimal digits, and not by `00`"));
        check("https://a/ü", Err("a URL has only letters, digits and punctuation of ASCII"));
        check("https://a/x y", Err("a URL has only letters, digits and punctuation of ASCII"));
        let spaced = Err("there is white space around this URL");
        check("https://a/x ", spaced);
        check(" https://a/x", spaced);
        check("https://a/t\n", spaced);
        check("https://u:p@a/", Err("a URL does not carry a user or a password"));
        check("https://a/#x", Err("a URL that is sent has no fragment"));
        check("https://a:0/", Err("a port is a number from 1 to 65535"));
        check("https://a:+1/", Err("a port is a number from 1 to 65535"));
        check("https:///x", Err("the host is missing"));
        check("ftp://a/", Err("only `http://` and `https://` can be spoken to here"));
        check("gopher://a/", Err("only `http://` and `https://` can be spoken to"));
        check("a/b", Err("this is no URL"));
    }

    #[test]
    fn a_scheme_that_names_a_dialect_is_told_what_to_write() {
        for (url, help) in [
            ("wss://a/", "write `https://`: a WebSocket begins as a request"),
            ("GRPC://a:50051", "write `http://`, and `http_version: 2` beside it; or `https://`, if it speaks TLS"),
        ] {
            assert_eq!(ServiceUrl::from_text(url).err().unwrap().help.as_deref(), Some(help), "{url}");
        }
    }

    #[test]
    fn only_a_token_endpoint_has_a_query() {
        assert_eq!(EndpointUrl::from_text("https://a/t?x=1").unwrap().0.query.as_deref(), Some("x=1"));
        assert_eq!(
            ServiceUrl::from_text("https://a/t?x=1").err().unwrap().message,
            "the URL of a service has no query"
        );
    }

    #[test]
    fn localhost_and_loopback_addresses_are_loopback() {
        for (text, expected) in [
            ("http://localhost", true),
            ("http://127.8.0.1", true),
            ("http://[::1]", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("http://localhost.example", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(parse(text).unwrap().is_loopback(), expected, "{text}");
        }
    }
}
