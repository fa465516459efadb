//! The proxy that the environment names, for every service that does not say otherwise.
//!
//! `HTTPS_PROXY` and `NO_PROXY`, in capitals or not, and no more: `http_proxy` is where apps of this very shell find
//! Sidekey, and `ALL_PROXY` is mostly one of SOCKS.

use super::text::Wrong;
use super::value::{NoProxy, ProxyAddress, ProxyLogin, proxy_from_variable};

/// The proxy that the environment names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentProxy {
    /// Where it is.
    pub address: ProxyAddress,
    /// With what it lets us in.
    pub login: Option<ProxyLogin>,
    /// What is reached without it.
    pub exempt: NoProxy,
}

/// What the environment says of a proxy, and in which variable.
pub(super) struct ProxyVariables {
    /// The name of the variable, and what it says.
    pub(super) named: Option<(&'static str, Result<EnvironmentProxy, Wrong>)>,
}

impl ProxyVariables {
    /// `variable` gives what one of the environment holds. One that is empty counts as unset.
    pub(super) fn read(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Self {
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| Some((name, variable(name).filter(|value| !value.is_empty())?)))
        };
        let exempt = first(["NO_PROXY", "no_proxy"]).map(|(_, list)| NoProxy::parse(&list.to_string_lossy()));
        let named = first(["HTTPS_PROXY", "https_proxy"]).map(|(name, value)| {
            let text = value.to_str().ok_or_else(|| Wrong::new("it is no UTF-8 text"));
            let proxy = text
                .and_then(|text| proxy_from_variable(text.trim()))
                .map(|(address, login)| EnvironmentProxy { address, login, exempt: exempt.unwrap_or_default() });
            (name, proxy)
        });
        Self { named }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variables: &[(&str, &str)], expected: Option<(&str, &str)>) {
        let read = ProxyVariables::read(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into())
        });

        let named = read.named.map(|(name, proxy)| (name, proxy.unwrap().address.to_string()));
        assert_eq!(named.as_ref().map(|(name, proxy)| (*name, proxy.as_str())), expected, "{variables:?}");
    }

    #[test]
    fn the_first_variable_that_says_something_counts() {
        let proxy = |name| Some((name, "http://proxy.corp:3128"));
        check(&[("HTTPS_PROXY", "http://proxy.corp:3128")], proxy("HTTPS_PROXY"));
        check(&[("https_proxy", " proxy.corp:3128 ")], proxy("https_proxy"));
        check(&[("https_proxy", "http://other"), ("HTTPS_PROXY", "http://proxy.corp:3128")], proxy("HTTPS_PROXY"));
        check(&[("https_proxy", "http://proxy.corp:3128"), ("HTTPS_PROXY", "")], proxy("https_proxy"));
    }

    #[test]
    fn no_other_variable_counts() {
        check(&[], None);
        check(
            &[("http_proxy", "http://a"), ("HTTP_PROXY", "http://a"), ("ALL_PROXY", "http://a"), ("all_proxy", "a")],
            None,
        );
    }

    #[test]
    fn the_list_of_what_is_exempt_goes_with_the_proxy() {
        let read = ProxyVariables::read(|name| match name {
            "https_proxy" => Some("http://proxy.corp".into()),
            "no_proxy" => Some("example.com".into()),
            _ => None,
        });

        let (_, proxy) = read.named.unwrap();
        assert!(proxy.unwrap().exempt.covers("api.example.com", 443));
    }
}
