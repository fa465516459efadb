//! `connect`: tunnels for apps that open TLS themselves.

use crate::config::section::{read_section, section};
use crate::config::value::{At, TunnelTarget};

section! {
    with defaults
    /// `connect`: where `CONNECT` opens a tunnel through which bytes pass as they are.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ConnectConfig {
        /// `host:port`, or `*.suffix:port` for every name below; nothing is added to what passes. By default none.
        pub allow: Vec<At<TunnelTarget>> = Vec::new(),
    }
}

read_section!(ConnectConfig);
