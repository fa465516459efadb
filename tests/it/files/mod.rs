//! Services that are file servers: SFTP and FTP, on servers that others wrote.

mod door;
mod interruptions;
mod memory;
mod misled;
mod online;
mod rights;
mod servers;
mod settings;
mod table;
mod trouble;

use std::fs;
use std::path::Path;

/// What is in a folder on the server's disk.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What a variable of the environment says, if it is there.
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|number| number.parse().unwrap())
}
