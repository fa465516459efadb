//! Who may use the proxy: local names, web pages, the token, the users of a unix socket.
//!
//! Only answers. Which answer counts where is decided in `proxy::admit` and by the admin port: the token on TCP, users
//! on unix sockets, pages where browsers get to.

use std::collections::HashSet;
use std::net::IpAddr;

use nix::errno::Errno;
use nix::unistd::User;

use crate::config::{self, At, ListenAddress, Report, Span};
use crate::secret::Secret;

/// The compiled `access`.
#[derive(Debug)]
pub(crate) struct Access {
    /// Beside `localhost` and loopback addresses.
    hosts: HashSet<String>,
    origins: NamedUsers<String>,
    /// Whether people may look at services by host.
    browsers: bool,
    /// Of `listen`, services' own included: an origin with one of them is our own.
    ports: Vec<u16>,
    token: Option<Secret>,
    users: NamedUsers<u32>,
}

/// Why a name is a local one, under which every route counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LocalName {
    /// Browsers take it for this machine as well (RFC 6761 §6.3, Secure Contexts §3.1): what a page makes them send there
    /// says so, in `Sec-Fetch-Site` and its kin. Chromium and Firefox agree on these names to the letter.
    OfThisMachine,
    /// In `access.hosts`. To a browser it is any name, and where there is no TLS it says nothing of itself there.
    Listed,
}

/// Who is named, where "all" can be said too.
#[derive(Debug)]
enum NamedUsers<T> {
    All,
    Only(HashSet<T>),
}

impl Access {
    /// Resolves names of users to numbers, which asks the system and may take as long as its directory service does.
    /// `None`: a user that can't be resolved has been reported.
    pub(crate) fn compile<'a>(
        written: &config::AccessConfig,
        listen: impl Iterator<Item = &'a At<ListenAddress>>,
        report: &mut Report,
    ) -> Option<Self> {
        let (access, findings) = Self::build(written, listen);
        for (span, fault) in &findings {
            report.error(*span, fault.to_string()).help("a number is taken as a uid and not looked up");
        }
        findings.is_empty().then_some(access)
    }

    /// Whether `host`, spelt as `route::authority` spells it, is a local name, and why.
    pub(crate) fn local_name(&self, host: &str) -> Option<LocalName> {
        if host == "localhost" || host.ends_with(".localhost") || is_loopback(host) {
            return Some(LocalName::OfThisMachine);
        }
        self.hosts.contains(host).then_some(LocalName::Listed)
    }

    /// Whether a page of this origin, as its browser wrote it, may call.
    pub(crate) fn allows_origin(&self, origin: &str) -> bool {
        match &self.origins {
            NamedUsers::All => true,
            NamedUsers::Only(named) => named.contains(origin),
        }
    }

    /// Whether any page may, with or without an `Origin`: then nothing else that a browser says is looked at either.
    pub(crate) fn any_origin(&self) -> bool {
        matches!(self.origins, NamedUsers::All)
    }

    /// Whether people may look at services with a browser, under a name that one service alone has.
    pub(crate) fn lets_people_look(&self) -> bool {
        self.browsers
    }

    /// Whether the proxy listens on this port, as far as the config says.
    pub(crate) fn listens_on(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }

    /// What is asked for on TCP listeners.
    pub(crate) fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    /// Whether this user may use a unix socket that its mode lets them open.
    pub(crate) fn admits_uid(&self, uid: u32) -> bool {
        match &self.users {
            NamedUsers::All => true,
            NamedUsers::Only(named) => named.contains(&uid),
        }
    }

    fn build<'a>(
        written: &config::AccessConfig,
        listen: impl Iterator<Item = &'a At<ListenAddress>>,
    ) -> (Self, Vec<(Span, UserError)>) {
        let texts = |written: &[At<String>]| written.iter().map(|text| text.value.clone()).collect::<HashSet<_>>();
        let (users, findings) = resolve(&written.unix_users);
        let origins: HashSet<String> =
            texts(&written.origins).iter().map(|origin| as_sent(origin).to_owned()).collect();
        let access = Self {
            hosts: texts(&written.hosts),
            origins: if origins.contains("*") { NamedUsers::All } else { NamedUsers::Only(origins) },
            browsers: written.browsers,
            ports: listen.filter_map(|address| address.value.port()).collect(),
            token: written.token.as_ref().map(|token| token.value.clone()),
            users: if written.unix_users.is_empty() { NamedUsers::All } else { NamedUsers::Only(users) },
        };
        (access, findings)
    }
}

fn resolve(users: &[At<String>]) -> (HashSet<u32>, Vec<(Span, UserError)>) {
    let mut uids = HashSet::new();
    let mut findings = Vec::new();
    for At { value, span } in users {
        match uid_of(value) {
            Ok(uid) => drop(uids.insert(uid)),
            Err(fault) => findings.push((*span, fault)),
        }
    }
    (uids, findings)
}

fn uid_of(written: &str) -> Result<u32, UserError> {
    if let Ok(uid) = written.parse() {
        return Ok(uid);
    }
    match User::from_name(written) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err(UserError::UnknownUser(written.to_owned())),
        Err(errno) => Err(UserError::UserLookUp(written.to_owned(), errno)),
    }
}

fn is_loopback(host: &str) -> bool {
    // Not `::ffff:127.0.0.1`: it leads here, but no browser trusts it, so none would say that a page made it call.
    host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Why a user can't be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum UserError {
    #[error("this system has no user `{0}`")]
    UnknownUser(String),
    #[error("the user `{0}` can't be looked up: {1}")]
    UserLookUp(String, Errno),
}

/// An origin as browsers send it: without the port that its scheme has anyway (RFC 6454 §6.2).
fn as_sent(origin: &str) -> &str {
    let port = if origin.starts_with("https:") { ":443" } else { ":80" };
    origin.strip_suffix(port).unwrap_or(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(texts: &[&str]) -> Vec<At<String>> {
        texts.iter().map(|text| At { value: (*text).to_owned(), span: Span::default() }).collect()
    }

    fn build(written: config::AccessConfig) -> Access {
        let (access, findings) = Access::build(&written, [].iter());
        assert_eq!(findings, []);
        access
    }

    #[test]
    fn a_local_name_is_localhost_a_loopback_address_or_a_listed_host() {
        let access =
            build(config::AccessConfig { hosts: at(&["sidekey.internal", "10.0.0.7", "fd00::1"]), ..<_>::default() });
        let trusted = ["localhost", "payments.localhost", "127.0.0.1", "127.255.0.9", "::1"];
        let foreign = ["localhost.example", "xlocalhost", "128.0.0.1", "0.0.0.0", "::", "127.1", "2130706433", "::2"];
        let mapped = ["::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "::ffff:10.0.0.7"];

        for host in trusted {
            assert_eq!(access.local_name(host), Some(LocalName::OfThisMachine), "{host}");
        }
        for host in ["sidekey.internal", "10.0.0.7", "fd00::1"] {
            assert_eq!(access.local_name(host), Some(LocalName::Listed), "{host}");
        }
        let others = ["internal", "x.sidekey.internal", "", "attacker.example"];
        for host in foreign.into_iter().chain(mapped).chain(others) {
            assert_eq!(access.local_name(host), None, "{host}");
        }
    }

    #[test]
    fn the_ports_of_the_config_are_our_own() {
        let listen = ["localhost:9800", "unix:/run/a.sock", "[::1]:9801", "127.0.0.1:0"];
        let listen = listen.map(|text| At::nowhere(text.parse().expect("an address")));
        let (access, _) = Access::build(&config::AccessConfig::default(), listen.iter());

        assert!(access.listens_on(9800) && access.listens_on(9801));
        assert!(!access.listens_on(9802) && !access.listens_on(0));
    }

    #[test]
    fn no_page_may_call_unless_its_origin_is_listed() {
        let none = build(config::AccessConfig::default());
        let one = build(config::AccessConfig { origins: at(&["https://app.example", "null"]), ..<_>::default() });

        assert!(!none.allows_origin("https://app.example") && !none.any_origin());
        assert!(one.allows_origin("https://app.example") && one.allows_origin("null") && !one.any_origin());
        for (written, sent) in
            [("https://a.example:443", "https://a.example"), ("http://a.example:80", "http://a.example")]
        {
            assert!(
                build(config::AccessConfig { origins: at(&[written]), ..<_>::default() }).allows_origin(sent),
                "{written}"
            );
        }
        for origin in ["https://app.example.evil.example", "http://app.example", "https://app.example:8443", "*", ""] {
            assert!(!one.allows_origin(origin), "{origin}");
        }
    }

    #[test]
    fn a_star_lets_every_page_call() {
        let access = build(config::AccessConfig { origins: at(&["https://app.example", "*"]), ..<_>::default() });

        assert!(access.any_origin() && access.allows_origin("https://evil.example"));
    }

    #[test]
    fn listed_users_alone_may_use_a_unix_socket() {
        let all = build(config::AccessConfig::default());
        let some = build(config::AccessConfig { unix_users: at(&["root", "1234"]), ..<_>::default() });

        assert!(all.admits_uid(0) && all.admits_uid(4242));
        assert!(some.admits_uid(0) && some.admits_uid(1234) && !some.admits_uid(1235));
    }

    #[test]
    fn the_token_is_kept_and_not_shown() {
        let token = At { value: Secret::new("hunter2".to_owned()), span: Span::default() };
        let access = build(config::AccessConfig { token: Some(token), ..<_>::default() });

        assert!(access.token().is_some_and(|token| token.is(b"hunter2")));
        assert!(!format!("{access:?}").contains("hunter2"));
    }

    #[test]
    fn each_user_that_the_system_does_not_know_is_reported() {
        let written = config::AccessConfig { unix_users: at(&["no-such-user-here", "root", "-1"]), ..<_>::default() };

        let (_, findings) = Access::build(&written, [].iter());

        let texts: Vec<_> = findings.iter().map(|(_, fault)| fault.to_string()).collect();
        assert_eq!(texts, ["this system has no user `no-such-user-here`", "this system has no user `-1`"]);
    }
}
