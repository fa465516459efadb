//! Commands that may fail while a service's `auth` is read: the service is loaded, and has no credential.

use std::collections::BTreeSet;

use super::command::SecretCommand;

/// The commands whose failure is no error of the config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToleratedFailures(Commands);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Commands {
    Any,
    These(BTreeSet<SecretCommand>),
}

impl ToleratedFailures {
    /// None of them: somebody wants to hear of every problem.
    pub(crate) fn none() -> Self {
        Self(Commands::These(BTreeSet::new()))
    }

    /// Any of them: a start must not depend on what is elsewhere.
    pub(crate) fn any() -> Self {
        Self(Commands::Any)
    }

    pub(super) fn these(commands: BTreeSet<SecretCommand>) -> Self {
        Self(Commands::These(commands))
    }

    pub(super) fn has(&self, command: &SecretCommand) -> bool {
        match &self.0 {
            Commands::Any => true,
            Commands::These(commands) => commands.contains(command),
        }
    }
}
