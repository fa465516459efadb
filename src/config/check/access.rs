//! Who may use the proxy and the admin port: settings that lock everybody out, or let in more than was meant.

use std::net::IpAddr;

use crate::config::diagnostic::Report;
use crate::config::inputs::Inputs;
use crate::config::schema::{AccessConfig, Config};
use crate::config::value::header_value;

pub(super) fn check(config: &Config, inputs: &Inputs, report: &mut Report) {
    check_tokens(config, inputs, report);
    check_token_in_url(&config.access, report);
    check_origins(&config.access, report);
    check_hosts(&config.access, report);
    check_unix_mode(&config.access, report);
}

/// A token that can't be the value of a field would lock everybody out, and a short one would keep nobody out.
fn check_tokens(config: &Config, inputs: &Inputs, report: &mut Report) {
    let admin = config.admin.as_ref().and_then(|admin| admin.token.as_ref());
    for token in config.access.token.iter().chain(admin) {
        let text = token.value.expose();
        if let Err(wrong) = header_value(text) {
            wrong.report(token.span, report);
        }
        // What stands in for a token that is not read is short.
        if inputs.reads_secrets() && text.len() < SHORTEST_TOKEN {
            report
                .warning(
                    token.span,
                    "this token is short enough to be guessed: whoever gets here may try as often as they like",
                )
                .help(format!("use {SHORTEST_TOKEN} characters or more, as `openssl rand -hex 32` makes them"));
        }
    }
}

/// A client that is given the token in a URL may send it as it is encoded there, and then shows another one.
fn check_token_in_url(access: &AccessConfig, report: &mut Report) {
    let Some(token) = &access.token else { return };
    if !token.value.expose().bytes().all(stands_in_url) {
        report
            .warning(
                token.span,
                "this token has to be percent-encoded in a URL (`http://x:TOKEN@localhost:9800`), and some clients send it so",
            )
            .help("make it of letters, digits, `-`, `.`, `_` and `~`, as `openssl rand -hex 32` does");
    }
}

/// Whether a byte stands for itself in a URL's password for everybody: RFC 3986 §3.2.1, less what parsers of the WHATWG's
/// kind, as Node's is, encode all the same.
fn stands_in_url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,".contains(&byte)
}

/// A page that knows no token is refused all the same.
fn check_origins(access: &AccessConfig, report: &mut Report) {
    let star = access.origins.iter().find(|origin| origin.value == "*");
    let Some(star) = star.filter(|_| access.token.is_none()) else { return };
    report.warning(star.span, "any web page may use the proxy: nothing that browsers send is refused").help(
        "name the pages that may, or set `access.token`, unless this is for replayed browser traffic, or for an app that \
         passes on what browsers sent it",
    );
}

/// Under these names a browser says little of itself, so a page may be taken for an app.
fn check_hosts(access: &AccessConfig, report: &mut Report) {
    for host in &access.hosts {
        if host.value.parse().is_ok_and(leads_here) {
            report
                .warning(host.span, format!("`{}` leads to this machine from every web page, and no browser says there that a page is behind it", host.value))
                .help("remove it, and call `localhost` or `127.0.0.1`, which need no entry");
        } else if access.token.is_none() && !needs_no_entry(&host.value) {
            report
                .warning(
                    host.span,
                    format!("who can point the name `{}` at this machine gets to every service", host.value),
                )
                .help("set `access.token` too: then only apps that have it do");
        }
    }
}

/// Whether an address that is no local name is this machine all the same.
fn leads_here(address: IpAddr) -> bool {
    !address.is_loopback() && (address.to_canonical().is_loopback() || address.to_canonical().is_unspecified())
}

fn needs_no_entry(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn check_unix_mode(access: &AccessConfig, report: &mut Report) {
    let mode = &access.unix_mode;
    if mode.value & WRITE_OF_OTHERS != 0 && access.unix_users.is_empty() {
        report
            .warning(mode.span, "every user of this machine may use the proxy through its unix sockets")
            .help("name those who may in `access.unix_users`, or let only the group in: `\"0660\"`");
    }
}

/// As many bytes as a random number of 64 bits has hexadecimal digits.
const SHORTEST_TOKEN: usize = 16;

/// Who may write to a socket may connect to it.
const WRITE_OF_OTHERS: u32 = 0o002;
