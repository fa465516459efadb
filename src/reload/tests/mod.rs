//! Whole configs on real files: what a load takes over, what a reload changes, how a rotation goes.

mod adoption;
#[cfg(feature = "files")]
mod file_logins;
mod lab;
mod reloads;
mod rotations;
