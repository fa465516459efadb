//! The app speaks plain HTTP to localhost; Sidekey speaks mutual TLS and OAuth 2.0 to the world.
//!
//! The crate is the `sidekey` program; it is a library so that tests and benches reach inside. Start reading at
//! `proxy::handle`, which takes one request to its service. `ARCHITECTURE.md` walks through it file by file.
//!
//! A file imports from its own room (a folder with all below it) and from floors below it, never up, never sideways:
//!
//! ```text
//!  11  cli                          one file per command
//!  10  demo                         an embedded token endpoint and service
//!   9  server                       ports, connections, workers, start and drain
//!   8  admin                        probes, metrics, status, reload
//!   7  proxy                        admit, route, authorize, send, relay
//!   6  reload                       watch, run commands again, publish the new or keep the old
//!   5  snapshot                     what runs
//!   4  credential · upstream        what is put on a request · one service's connections
//!   3  transport                    name look-up, TCP, TLS, HTTP
//!   2  tls · route · files · openpgp  certificates and trust · which service a request is for · SFTP and FTP · OpenPGP
//!   1  config                       the file: every problem at once
//!   0  aside secret name code clock deadline blocking coalesced_writes digest guard hex bearer incoming legible locked raw_query spelling telemetry heap
//! ```

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, reason = "tests may block and panic")
)]

mod admin;
mod aside;
mod bearer;
#[cfg(any(test, feature = "bench"))]
#[doc(hidden)]
pub mod bench;
mod blocking;
pub mod cli;
mod clock;
mod coalesced_writes;
mod code;
pub mod config;
mod credential;
mod deadline;
#[cfg(any(test, feature = "demo"))]
pub mod demo;
mod digest;
#[cfg(feature = "files")]
mod files;
mod guard;
mod heap;
mod hex;
mod incoming;
mod legible;
mod locked;
mod name;
#[cfg(feature = "openpgp")]
mod openpgp;
mod proxy;
mod raw_query;
mod reload;
mod route;
mod secret;
pub mod server;
mod snapshot;
mod spelling;
mod telemetry;
mod tls;
mod transport;
mod upstream;
