//! Tests of which name is checked, and what is read for it.

use super::*;
use crate::config::{Inputs, Secrets};

/// Compiles trust for `host`; what is said comes back as messages with their place.
fn compile(tls: config::Tls, host: &str, secrets: Secrets) -> (Option<ClientTls>, Vec<String>) {
    let tls = At { value: tls, span: at(1) };
    let url = TlsPlace { url: at(2), origin: TlsOrigin::Service };
    let (inputs, mut report) = (Inputs::new(secrets), Report::default());

    let client = ClientTls::compile(Some(&tls), host, None, HttpVersion::Auto, url, &inputs, &mut report);

    let line = |diagnostic: &&config::Diagnostic| {
        format!("{}: {}", diagnostic.span.map_or(0, |span| span.start), diagnostic.message)
    };
    (client, report.diagnostics().iter().map(line).collect())
}

fn at(start: u32) -> Span {
    Span { file: 0, start, end: start + 1 }
}

#[test]
fn the_name_to_check_is_the_hosts_unless_another_is_written() {
    let skip = config::Tls { danger_skip_verification: true, ..config::Tls::default() };
    let named =
        |name: &str| config::Tls { server_name: Some(At { value: name.to_owned(), span: at(3) }), ..skip.clone() };
    let warning = "1: danger_skip_verification: anybody on the way can pose as this service";

    let (client, said) = compile(skip.clone(), "::1", Secrets::Read);
    assert_eq!((client.unwrap().server_name.to_str().as_ref(), said), ("::1", vec![warning.to_owned()]));

    let (client, _) = compile(named("inner.example"), "127.0.0.1", Secrets::Read);
    assert_eq!(client.unwrap().server_name.to_str(), "inner.example");

    let (client, said) = compile(named("not a name"), "127.0.0.1", Secrets::Read);
    assert!(client.is_none());
    assert_eq!(said[1], "3: `not a name` is neither a DNS name nor an IP address");

    let (_, said) = compile(skip, "bad_host!", Secrets::Read);
    assert_eq!(said[1], "2: `bad_host!` is neither a DNS name nor an IP address");
}

#[test]
fn no_ca_is_read_where_secrets_are_left_alone() {
    let ca = vec![At { value: "/nowhere/ca.pem".into(), span: at(3) }];

    let (client, said) = compile(config::Tls { ca, ..config::Tls::default() }, "localhost", Secrets::Skip);

    assert!(client.is_none());
    assert_eq!(said, [""; 0]);
}
