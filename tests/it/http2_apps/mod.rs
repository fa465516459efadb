//! Apps that speak HTTP/2 by prior knowledge, to services of both dialects.

mod clients;
mod conversations;
mod endings;
mod grpc;
mod hostile;
pub mod malformed;
mod twins;

use crate::lab::Lab;
use crate::lab::mirror::Mirror;
use crate::lab::sidekey::Sidekey;

/// A service of each dialect that sends back what it gets, as `one` and `two`, with Sidekey before them.
struct Bench {
    lab: Lab,
    one: Mirror,
    two: Mirror,
    sidekey: Sidekey,
}

impl Bench {
    async fn start() -> Self {
        Self::start_with("").await
    }

    /// `more` is added to each service.
    async fn start_with(more: &str) -> Self {
        let (lab, one, two) = (Lab::start().await, Mirror::http1().await, Mirror::http2().await);
        let sidekey = lab.sidekey(&config(&one, &two, more)).await;
        Self { lab, one, two, sidekey }
    }

    /// Each service with its name.
    fn services(&self) -> [(&'static str, &Mirror); 2] {
        [("one", &self.one), ("two", &self.two)]
    }
}

fn config(one: &Mirror, two: &Mirror, more: &str) -> String {
    format!(
        "services:
  one: {{ url: '{}', auth: {{ type: bearer, token: services-own }}{more} }}
  two: {{ url: '{}', http_version: 2, auth: {{ type: bearer, token: services-own }}{more} }}
",
        one.url(),
        two.url()
    )
}

pub fn resident_kib(sidekey: &Sidekey) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", sidekey.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
