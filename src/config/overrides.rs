//! What the command line and the environment say instead of the file.

use super::schema::{AdminConfig, Config, LogFormat, LogLevel};
use super::value::{At, ListenAddress};

/// Settings that stand above the file: flag, then environment, then file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--listen`; empty: as in the file.
    pub listen: Vec<ListenAddress>,
    /// Which of the two has said so.
    pub listen_from: OverrideSource,
    /// `--admin`.
    pub admin: Option<AdminOverride>,
    /// Which of the two has said so.
    pub admin_from: OverrideSource,
    /// `--log-level`.
    pub log_level: Option<LogLevel>,
    /// `--log-format`.
    pub log_format: Option<LogFormat>,
    /// `--workers`.
    pub workers: Option<usize>,
}

/// Who has said something instead of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OverrideSource {
    /// The command line.
    #[default]
    Flag,
    /// The environment.
    Variable,
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
    /// What names the addresses of `listen`, for people; `None`: the file, or nobody.
    pub(crate) fn listen_named_by(&self) -> Option<&'static str> {
        (!self.listen.is_empty()).then(|| self.listen_from.word("--listen", "the variable SIDEKEY_LISTEN"))
    }

    /// What names the addresses of the admin port, for people; `None`: the file, or nobody.
    pub(crate) fn admin_named_by(&self) -> Option<&'static str> {
        self.admin.is_some().then(|| self.admin_from.word("--admin", "the variable SIDEKEY_ADMIN"))
    }

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

impl OverrideSource {
    fn word(self, flag: &'static str, variable: &'static str) -> &'static str {
        match self {
            Self::Flag => flag,
            Self::Variable => variable,
        }
    }
}

fn nowhere(addresses: &[ListenAddress]) -> Vec<At<ListenAddress>> {
    addresses.iter().cloned().map(At::nowhere).collect()
}
