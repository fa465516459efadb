//! The HTTP proxy on the way out, as a URL names it.

use percent_encoding::percent_decode_str;
use schemars::{Schema, json_schema};

use super::url::{Scheme, Url, UrlAuthority, parse};
use crate::config::text::{FromText, Wrong};
use crate::secret::Secret;

/// Where an HTTP proxy is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyAddress {
    /// `https`: the proxy itself is reached over TLS.
    pub scheme: Scheme,
    /// Host and port; without a port the scheme's own.
    pub authority: UrlAuthority,
}

/// With what a proxy lets its users in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyLogin {
    /// Has no colon (RFC 7617 §2).
    pub username: String,
    /// May be empty where it comes from the environment.
    pub password: Secret,
}

/// `http://proxy.corp:3128`: never with a user or a password, so it may be shown.
impl std::fmt::Display for ProxyAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}{}", self.scheme.start(), self.authority)
    }
}

impl FromText for ProxyAddress {
    const WHAT: &'static str = "the URL of a proxy";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if text.contains('@') {
            return Err(Wrong::new("the URL of a proxy does not carry a user or a password here")
                .help("write `outbound_proxy: { url: …, username: …, password: … }`"));
        }
        address(text)
    }

    fn placeholder() -> Self {
        let Url { scheme, authority, .. } = super::url::placeholder();
        Self { scheme, authority }
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^?#@/]+/?$" })
    }
}

/// Reads what a variable of the environment says: there the scheme may be missing, and a user and a password stand in the
/// URL, percent-encoded.
pub(in crate::config) fn from_variable(text: &str) -> Result<(ProxyAddress, Option<ProxyLogin>), Wrong> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (userinfo, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let address = address(&format!("{scheme}://{host}{path}"))?;
    Ok((address, userinfo.filter(|userinfo| !userinfo.is_empty()).map(login).transpose()?))
}

fn address(text: &str) -> Result<ProxyAddress, Wrong> {
    let wrong = |what: &str| Wrong::new(what).help("write `http://proxy.example:3128`");
    match text.split_once("://") {
        None if ["off", "false", "no", "direct"].contains(&text) => {
            return Err(Wrong::new("this is no URL of a proxy").help("write `none` to go without one"));
        }
        // A host that was meant is not replaced by one of ours.
        None if text.contains(['.', ':']) && format!("http://{text}").parse::<http::Uri>().is_ok() => {
            return Err(Wrong::new("this is no URL of a proxy").help(format!("write `http://{text}`")));
        }
        None => return Err(wrong("this is no URL of a proxy")),
        Some((scheme, _)) if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) => {
            return Err(wrong("a proxy is spoken to by `http://` or `https://`"));
        }
        Some(_) => {}
    }
    let Url { scheme, authority, path, query } = parse(text)?;
    if !path.trim_start_matches('/').is_empty() || query.is_some() {
        return Err(wrong("the URL of a proxy ends with its port"));
    }
    Ok(ProxyAddress { scheme, authority })
}

fn login(userinfo: &str) -> Result<ProxyLogin, Wrong> {
    let (username, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(std::borrow::Cow::into_owned);
    let (Ok(username), Ok(password)) = (decoded(username), decoded(password).map(Secret::new)) else {
        return Err(Wrong::new("its user or its password is no UTF-8 text"));
    };
    check_username(&username)?;
    Ok(ProxyLogin { username, password })
}

/// A colon in it would end it for whoever decodes it.
pub(in crate::config) fn check_username(username: &str) -> Result<(), Wrong> {
    if username.contains(':') { Err(Wrong::new("the user of a proxy has no colon in its name")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where it is, and who asks it.
    type ReadProxy<'a> = (&'a str, Option<(&'a str, &'a str)>);

    #[track_caller]
    fn check(text: &str, expected: Result<ReadProxy<'_>, &str>) {
        let read = from_variable(text);

        let read = read.as_ref().map(|(address, login)| {
            let login = login.as_ref().map(|login| (login.username.as_str(), login.password.expose()));
            (address.to_string(), login)
        });
        let expected = expected.map(|(address, login)| (address.to_owned(), login));
        assert_eq!(read.map_err(|wrong| wrong.message.as_str()), expected, "{text:?}");
    }

    #[test]
    fn a_variable_says_where_the_proxy_is_and_who_asks_it() {
        check("http://proxy.corp:3128", Ok(("http://proxy.corp:3128", None)));
        check("http://proxy.corp:3128/", Ok(("http://proxy.corp:3128", None)));
        check("proxy.corp:3128", Ok(("http://proxy.corp:3128", None)));
        check("Proxy.Corp", Ok(("http://proxy.corp", None)));
        check("HTTPS://proxy.corp", Ok(("https://proxy.corp", None)));
        check("http://[::1]:3128", Ok(("http://[::1]:3128", None)));
        check("http://me:pa%40ss%3A@proxy.corp:3128", Ok(("http://proxy.corp:3128", Some(("me", "pa@ss:")))));
        check("me:pa@ss@proxy.corp:3128", Ok(("http://proxy.corp:3128", Some(("me", "pa@ss")))));
        check("http://me@proxy.corp", Ok(("http://proxy.corp", Some(("me", "")))));
        check("http://@proxy.corp", Ok(("http://proxy.corp", None)));
    }

    #[test]
    fn a_variable_that_names_no_http_proxy_is_refused() {
        let scheme = Err("a proxy is spoken to by `http://` or `https://`");
        check("socks5://proxy.corp:1080", scheme);
        check("://proxy.corp", scheme);
        check("http://proxy.corp:3128/pac", Err("the URL of a proxy ends with its port"));
        check("http://proxy.corp:0", Err("a port is a number from 1 to 65535"));
        check("http://", Err("the host is missing"));
        check("http://a%3Ab:c@proxy.corp", Err("the user of a proxy has no colon in its name"));
        check("http://%ff:c@proxy.corp", Err("its user or its password is no UTF-8 text"));
    }

    #[test]
    fn neither_user_nor_password_is_ever_shown() {
        let (address, login) = from_variable("http://me:hunter2@proxy.corp").unwrap();

        assert_eq!(address.to_string(), "http://proxy.corp");
        assert!(!format!("{address:?} {login:?}").contains("hunter2"));
    }
}
