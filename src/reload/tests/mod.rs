//! Whole configs on real files: what a load takes over, what a reload changes, how a rotation goes.

mod adoption;
mod lab;
mod reloads;
mod rotations;
