//! The config file: found, read, parsed, every problem at once.
//!
//! A load goes through four steps, one module each: `document` gathers and merges the files (`source` reads them,
//! `yaml` parses them into a tree of `node`s), the sections of `schema` and `auth` are read from the tree by the rules
//! of `read`, `check` looks at what must hold between them, and `render` draws what went wrong. The result is what was
//! written, with references resolved and defaults filled in; higher floors compile it into what runs.
//!
//! Promises that no secret of the file is ever drawn (`mask`), that the same declarations make the loader and its JSON
//! Schema (`section`), and that nothing else is read or run than what the file names (`source`, `command`), which is
//! remembered for the watcher (`inputs`).

pub mod auth;
mod check;
mod command;
mod command_runs;
mod csv;
pub mod diagnostic;
mod document;
mod exposed;
mod inputs;
mod json_schema;
mod mask;
mod names;
mod node;
mod overrides;
mod pasted;
mod path;
mod proxy_variables;
mod read;
mod reference;
mod render;
pub mod schema;
mod secret_clothes;
mod secret_value;
mod section;
mod source;
mod suggest;
#[cfg(test)]
mod tests;
mod text;
mod tolerated;
#[cfg(any(test, feature = "bench"))]
pub(crate) mod trial;
pub mod value;
mod watched;
mod yaml;

pub use auth::Auth;
pub(crate) use command::hand_on_open_files;
pub use diagnostic::{Diagnostic, Report, Severity};
pub use inputs::{Inputs, Secrets};
pub use json_schema::json_schema;
pub use overrides::{AdminOverride, OverrideSource, Overrides};
pub use proxy_variables::EnvironmentProxy;
pub use render::{Color, JsonFinding};
pub use schema::*;
pub(crate) use source::read_as_used;
pub use source::{ConfigSource, NoConfig};
pub use value::{
    At, HostHeader, HostKeyFingerprint, ListenAddress, NoProxy, ProxyAddress, ProxyLogin, Rate, Scheme, Span,
    TunnelGrant, TunnelTarget, Url, UrlAuthority, parse_duration,
};
pub use watched::{Watched, WatchedCommand};

pub(crate) use tolerated::ToleratedFailures;

use diagnostic::Reported;
use read::{FromNode, SectionReader};

/// Loads a config: `None` if it can't be read as a whole. The report holds what is wrong with it, and a config with
/// errors is only good for finding more of them.
///
/// Higher floors go on to compile it with the same inputs and report, so that a user sees every problem at once.
#[must_use]
pub fn load(source: &ConfigSource, inputs: &Inputs) -> (Option<Config>, Report) {
    load_with(source, inputs, &Overrides::default())
}

/// As [`load`], with settings that stand above the file.
#[must_use]
pub fn load_with(source: &ConfigSource, inputs: &Inputs, overrides: &Overrides) -> (Option<Config>, Report) {
    let mut report = Report::default();
    let config = read_config(source, overrides, inputs, &mut report).ok();
    (config, report)
}

fn read_config(
    source: &ConfigSource,
    overrides: &Overrides,
    inputs: &Inputs,
    report: &mut Report,
) -> Result<Config, Reported> {
    let tree = document::read(source, inputs, report)?;
    if reference::has_command(&tree) {
        // The first command may be run before the last secret is read: it is found out before which variables hold one.
        let (rehearsal, mut nobody) = (inputs.rehearsal(), report.rehearsal());
        let _unused = Config::from_node(&tree, &mut SectionReader::new(&tree, &rehearsal, &mut nobody));
        inputs.withhold(rehearsal.secret_variables());
    }
    let mut config = Config::from_node(&tree, &mut SectionReader::new(&tree, inputs, report))?;
    overrides.apply(&mut config);
    check::config(&config, inputs, report);
    Ok(config)
}
