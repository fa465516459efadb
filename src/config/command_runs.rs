//! The commands of one load: each is run once, and what came of it is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::command::{SecretCommand, Withheld};
use super::tolerated::ToleratedFailures;
use super::watched::WatchedCommand;
use crate::secret::Secret;

/// What has been run, and how it failed where it did.
#[derive(Debug)]
pub(super) struct CommandRuns {
    ran: BTreeMap<SecretCommand, Ran>,
    tolerated: ToleratedFailures,
    /// Why commands of the entry of `auth` that is being read failed, as far as that is tolerated; `None` elsewhere.
    failures: Option<Vec<String>>,
    /// Commands that failed in any of them.
    failing: BTreeSet<SecretCommand>,
    /// Variables of the environment that the config reads as secrets: what no command inherits. `None` where they are
    /// still being found out, and no command is run.
    withheld: Option<Arc<Withheld>>,
    /// Those that were read so far.
    secret_variables: Withheld,
}

/// What came of a command in this load.
#[derive(Debug)]
struct Ran {
    outcome: Result<Secret, String>,
    /// The shortest of all places that name it.
    refresh: Option<Duration>,
}

impl CommandRuns {
    /// None so far.
    pub(super) fn none() -> Self {
        Self { withheld: Some(Arc::default()), ..Self::rehearsal() }
    }

    /// None, ever: it is found out what commands must not inherit.
    pub(super) fn rehearsal() -> Self {
        Self {
            ran: BTreeMap::new(),
            tolerated: ToleratedFailures::none(),
            failures: None,
            failing: BTreeSet::new(),
            withheld: None,
            secret_variables: Withheld::new(),
        }
    }

    pub(super) fn tolerate(&mut self, tolerated: ToleratedFailures) {
        self.tolerated = tolerated;
    }

    /// What commands do not inherit; `None` where none is run.
    pub(super) fn withheld(&self) -> Option<Arc<Withheld>> {
        self.withheld.clone()
    }

    pub(super) fn withhold(&mut self, variables: Withheld) {
        self.withheld = Some(Arc::new(variables));
    }

    pub(super) fn read_variable_of_secret(&mut self, name: &str) {
        self.secret_variables.insert(name.to_owned());
    }

    pub(super) fn secret_variables(self) -> Withheld {
        self.secret_variables
    }

    pub(super) fn begin_method(&mut self) {
        self.failures = Some(Vec::new());
    }

    pub(super) fn end_method(&mut self) -> Vec<String> {
        self.failures.take().unwrap_or_default()
    }

    /// Whether a command of the entry of `auth` that is being read failed, and that is tolerated.
    pub(super) fn has_failed_in_method(&self) -> bool {
        self.failures.as_ref().is_some_and(|failures| !failures.is_empty())
    }

    pub(super) fn failing(&self) -> ToleratedFailures {
        ToleratedFailures::these(self.failing.clone())
    }

    /// What it printed, or why it failed. It is run if it has not been.
    pub(super) fn run(
        &mut self,
        command: &SecretCommand,
        refresh: Option<Duration>,
        withheld: &Withheld,
    ) -> Result<Zeroizing<String>, String> {
        let run = || command.run(withheld).map_err(|failure| failure.to_string());
        let ran = self.ran.entry(command.clone()).or_insert_with(|| Ran { outcome: run(), refresh });
        ran.refresh = ran.refresh.into_iter().chain(refresh).min();
        let printed = |secret: &Secret| Zeroizing::new(secret.expose().to_owned());
        ran.outcome.as_ref().map(printed).map_err(String::clone)
    }

    /// Whether this failure is tolerated here; it is kept then.
    pub(super) fn note_tolerated(&mut self, command: SecretCommand, failure: &str) -> bool {
        match &mut self.failures {
            Some(failures) if self.tolerated.has(&command) => {
                failures.push(failure.to_owned());
                self.failing.insert(command);
                true
            }
            _ => false,
        }
    }

    /// All that were run.
    pub(super) fn watched(&self) -> Vec<WatchedCommand> {
        let command = |(command, ran): (&SecretCommand, &Ran)| {
            WatchedCommand::new(command.clone(), ran.refresh, self.withheld().unwrap_or_default(), &ran.outcome)
        };
        self.ran.iter().map(command).collect()
    }
}
