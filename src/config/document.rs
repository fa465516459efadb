//! One tree from the files of a config: read, parsed, merged.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::diagnostic::{Report, Reported};
use super::inputs::Inputs;
use super::node::{MappingEntry, Node, Value};
use super::read::report_repeated;
use super::source::{self, ConfigSource, UnreadableFile};
use super::value::Span;
use super::yaml;

/// Reads the whole config as one mapping, without its `x-…` keys.
pub(super) fn read(source: &ConfigSource, inputs: &Inputs, report: &mut Report) -> Result<Node, Reported> {
    let files = read_files(source, inputs, report)?;
    let trees: Vec<Result<Node, Reported>> = files.into_iter().map(|file| parse(file, report)).collect();
    // A file that does not parse may hold the names that the others refer to: nothing more can be said.
    let trees = trees.into_iter().collect::<Result<Vec<Node>, Reported>>()?;
    merge(trees, report)
}

/// Reads the texts, and numbers them.
fn read_files(source: &ConfigSource, inputs: &Inputs, report: &mut Report) -> Result<Vec<u16>, Reported> {
    match source {
        ConfigSource::Text(text) => {
            Ok(vec![report.add_text("<text>".to_owned(), PathBuf::new(), Zeroizing::new(text.clone()))])
        }
        ConfigSource::StandardInput => {
            let text = source::standard_input(LARGEST);
            add("<stdin>".to_owned(), PathBuf::new(), text, report).map(|file| vec![file])
        }
        ConfigSource::Path(path) => gather_path(path, Naming::Named, inputs, report),
        ConfigSource::Found(path) => gather_path(path, Naming::Found, inputs, report),
    }
}

/// Whether somebody said that this is the config.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Naming {
    Named,
    /// Then it has to belong to us or root.
    Found,
}

fn gather_path(path: &Path, trust: Naming, inputs: &Inputs, report: &mut Report) -> Result<Vec<u16>, Reported> {
    if path.is_dir() {
        gather_folder(path, trust, inputs, report)
    } else {
        gather_file(path, trust, inputs, report).map(|file| vec![file])
    }
}

fn gather_folder(folder: &Path, trust: Naming, inputs: &Inputs, report: &mut Report) -> Result<Vec<u16>, Reported> {
    if trust == Naming::Found {
        source::refuse_foreign_folder(folder)
            .map_err(|reason| refuse_config(folder, PathBuf::new(), &reason, report))?;
    }
    let files =
        inputs.list_config(folder, LARGEST).map_err(|reason| refuse_folder(folder, &reason.to_string(), report))?;
    match files.len() {
        0 => Err(refuse_folder(folder, "the folder has no `*.yaml` file", report)),
        1..=MOST_FILES => {
            let read: Vec<Result<u16, Reported>> =
                files.iter().map(|file| gather_file(file, trust, inputs, report)).collect();
            read.into_iter().collect()
        }
        _ => Err(refuse_folder(folder, &format!("the folder has more than {MOST_FILES} `*.yaml` files"), report)),
    }
}

fn refuse_folder(folder: &Path, reason: &str, report: &mut Report) -> Reported {
    let file = report.add_text(folder.display().to_string(), folder.to_owned(), Zeroizing::default());
    report.error(start_of(file), reason);
    Reported
}

fn gather_file(path: &Path, trust: Naming, inputs: &Inputs, report: &mut Report) -> Result<u16, Reported> {
    let read = inputs.read_config(path, LARGEST);
    // What was read is what is asked about, not what stands in its place by now.
    let read = read.and_then(|(text, access)| match trust {
        Naming::Named => Ok((text, access)),
        Naming::Found => source::refuse_foreign(path, access).map(|()| (text, access)),
    });
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    match read {
        Ok((text, access)) => {
            let file = report.add_text(path.display().to_string(), folder, text);
            inputs.file_may(file, path, access, report);
            Ok(file)
        }
        Err(reason) => Err(refuse_config(path, folder, &reason, report)),
    }
}

fn add(
    name: String,
    folder: PathBuf,
    text: Result<Zeroizing<String>, UnreadableFile>,
    report: &mut Report,
) -> Result<u16, Reported> {
    match text {
        Ok(text) => Ok(report.add_text(name, folder, text)),
        Err(reason) => Err(refuse(name, folder, &reason, report)),
    }
}

fn refuse_config(path: &Path, folder: PathBuf, reason: &UnreadableFile, report: &mut Report) -> Reported {
    refuse(path.display().to_string(), folder, reason, report)
}

fn refuse(name: String, folder: PathBuf, reason: &UnreadableFile, report: &mut Report) -> Reported {
    let help = format!("what it names would be read and run as you; if you trust it, name it: `--config {name}`");
    let file = report.add_text(name, folder, Zeroizing::default());
    match reason {
        UnreadableFile::Foreign(_) => {
            report.error(start_of(file), format!("the config is not used: {reason}")).help(help)
        }
        _ => report.error(start_of(file), format!("the config can't be read: {reason}")),
    };
    Reported
}

fn parse(file: u16, report: &mut Report) -> Result<Node, Reported> {
    let tree = yaml::parse(file, report)?;
    report.mask_secrets(file, &tree);
    match &tree.value {
        Value::Mapping(_) => Ok(tree),
        Value::Null => {
            report.error(start_of(file), "the config is empty").help("a config has at least `services`");
            Err(Reported)
        }
        _ => {
            // Text at the top is no key, so nothing tells whether it is a secret.
            report.mask_all(&tree);
            report
                .error(tree.span, format!("expected a mapping, found {}", tree.kind()))
                .help("a config begins with a key, like `services:`");
            Err(Reported)
        }
    }
}

fn merge(trees: Vec<Node>, report: &mut Report) -> Result<Node, Reported> {
    let mut sections: Vec<MappingEntry> = Vec::new();
    let first = trees.first().map_or(Span::NOWHERE, |tree| start_of(tree.span.file));
    for tree in trees {
        let Value::Mapping(entries) = tree.value else { return Err(Reported) };
        for entry in entries.into_iter().filter(|entry| !entry.key.text.starts_with("x-")) {
            match sections.iter_mut().find(|section| section.key.text == entry.key.text) {
                Some(section) => join(section, entry, report),
                None => sections.push(entry),
            }
        }
    }
    Ok(Node { span: first, defined: first, value: Value::Mapping(sections) })
}

/// Adds what a later file says to a section: named things and routes come together, all else is said once.
fn join(section: &mut MappingEntry, later: MappingEntry, report: &mut Report) {
    match (section.key.text.as_str(), &mut section.value.value, later.value.value) {
        ("services" | "certificates", Value::Mapping(named), Value::Mapping(more)) => {
            for entry in more {
                match named.iter().find(|first| first.key.text == entry.key.text) {
                    Some(first) => report_repeated(&entry, first.key.span, report),
                    None => named.push(entry),
                }
            }
        }
        ("routes", Value::Sequence(routes), Value::Sequence(more)) => routes.extend(more),
        (_, _, value) => {
            let later = MappingEntry { key: later.key, value: Node { value, ..later.value } };
            report_repeated(&later, section.key.span, report);
        }
    }
}

fn start_of(file: u16) -> Span {
    Span { file, start: 0, end: 0 }
}

/// The largest file of a config.
const LARGEST: usize = 1 << 20;

/// The most files of a folder.
const MOST_FILES: usize = 1000;
