//! From a text of the config to the path of a file.

use std::path::PathBuf;

use super::diagnostic::{Report, Reported};
use super::node::Node;
use super::pasted;

/// The one way from a text of the config to the path of a file. A path is quoted wherever its file can't be read, so that
/// what somebody pasted in its place must never become one.
pub(super) fn path(text: &str, node: &Node, report: &mut Report) -> Result<PathBuf, Reported> {
    if text.is_empty() || text.contains('\0') {
        report.error(node.span, "this is not a path");
        return Err(Reported);
    }
    if let Some(what) = pasted::no_path(text) {
        report.mask_all(node);
        report
            .error(node.span, format!("this is {what}, where the path of a file is wanted"))
            .help("put it into a file that only the user who runs Sidekey can read, and write the path of that file");
        return Err(Reported);
    }
    Ok(report.folder(node.span.file).map_or_else(|| PathBuf::from(text), |folder| folder.join(text)))
}
