//! What the command line and the environment say instead of the file.

use super::schema::{AdminConfig, Config, LogFormat, LogLevel};
use super::value::{At, ListenAddress};

/// Settings that stand above the file: flag, then environment, then file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen`; empty: as in the file.
    pub listen: Vec<ListenAddress>,
    /// `--admin`.
    pub admin: Option<AdminOverride>,
    /// `--log-level`.
    pub log_level: Option<LogLevel>,
    /// `--log-format`.
    pub log_format: Option<LogFormat>,
    /// `--workers`.
    pub workers: Option<usize>,
}

/// What `--admin` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminOverride {
    /// No admin port.
    Off,
    /// Other addresses; token and health listener stay the file's.
    Listen(Vec<ListenAddress>),
}

impl Overrides {
    pub(super) fn apply(&self, config: &mut Config) {
        if !self.listen.is_empty() {
            config.listen = nowhere(&self.listen);
        }
        match &self.admin {
            None => {}
            Some(AdminOverride::Off) => config.admin = None,
            Some(AdminOverride::Listen(addresses)) => {
                config.admin.get_or_insert_with(AdminConfig::default).listen = nowhere(addresses);
            }
        }
        config.log.level = self.log_level.unwrap_or(config.log.level);
        config.log.format = self.log_format.or(config.log.format);
        config.workers = self.workers.or(config.workers);
    }
}

fn nowhere(addresses: &[ListenAddress]) -> Vec<At<ListenAddress>> {
    addresses.iter().cloned().map(At::nowhere).collect()
}
