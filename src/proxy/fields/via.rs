//! `Via`: who we are, and whether we have seen this request before.

use http::Version;
use http::header::{HeaderMap, HeaderValue, VIA};

use super::list;

/// This process as it names itself in `Via`: `sidekey-<8 hex>`, drawn at start.
#[derive(Debug)]
pub(crate) struct Instance {
    name: String,
    /// For what was received as HTTP/1.0, HTTP/1.1 and HTTP/2.
    received: [HeaderValue; 3],
}

impl Instance {
    /// `hex` are the digits that tell this process from others.
    pub(crate) fn new(hex: &str) -> Self {
        let name = format!("sidekey-{hex}");
        let received = ["1.0", "1.1", "2"].map(|version| {
            let text = format!("{version} {name}");
            HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("1.1 sidekey"))
        });
        Self { name, received }
    }

    /// Whether a request came through this process already: a loop.
    pub(crate) fn stands_in(&self, fields: &HeaderMap) -> bool {
        let mut hops = fields.get_all(VIA).iter().flat_map(list);
        hops.any(|hop| hop.split_ascii_whitespace().nth(1) == Some(&self.name))
    }

    /// Adds us as the last that a message which was received in `version` came through.
    pub(super) fn sign(&self, fields: &mut HeaderMap, version: Version) {
        let [http_10, http_11, http_2] = &self.received;
        let received = match version {
            Version::HTTP_10 => http_10,
            Version::HTTP_2 => http_2,
            _ => http_11,
        };
        fields.append(VIA, received.clone());
    }
}
