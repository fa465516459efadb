//! What Sidekey promises, asked of the built program among real parts. One file for each area, one test for each
//! promise; `lab` is what they stand on.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on has failed")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "what blocks here is a test, and it may print"
)]
#![allow(unreachable_pub, reason = "in a program of its own `pub` says what the lab offers to the tests")]

mod lab;

mod access;
mod admin;
mod admin_services;
mod assertions;
mod authorization_servers;
mod browsers;
mod certificates;
mod clients;
mod commands;
mod conformance;
mod crossings;
mod discovery;
mod docs;
mod dpop;
mod endings;
mod errors;
mod exchanges;
mod field_compression;
mod fields;
mod file_logins;
mod files;
mod framing;
mod grants;
mod hangs;
mod host_header;
mod hostile_proxies;
mod house;
mod http1_required;
mod http2_apps;
mod http2_services;
mod identities;
mod identity_provider;
mod isolation;
mod limits;
mod listeners;
mod load;
mod log;
mod model;
mod naming;
mod online;
mod openpgp;
mod outbound_proxy;
mod own_ports;
mod ownership;
mod pages;
mod partners;
mod parts;
mod refresh_tokens;
mod reload;
mod resumption;
mod routes;
mod secrets;
mod server_timing;
mod signers;
mod silence;
mod spellings;
mod start_and_stop;
mod subjects;
mod targets;
mod timeouts_and_retry;
mod tls_partners;
mod tls_servers;
mod token_answers;
mod tokens;
mod tunnels;
mod unauthorized;
mod uploads;
mod websockets;

/// One binary links once; a file that nobody named here would never run.
#[test]
fn every_file_of_this_folder_is_part_of_this_program() {
    let main = include_str!("main.rs");
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "main.rs")
        .collect();
    assert!(names.len() > 10, "found only {names:?}");

    let forgotten: Vec<_> =
        names.iter().filter(|name| !main.contains(&format!("\nmod {};", name.trim_end_matches(".rs")))).collect();

    assert!(forgotten.is_empty(), "not in main.rs: {forgotten:?}");
}
