//! What numbers that cross threads are made of. `tests/models` has another of these, with which every order of their steps is
//! tried.

pub(super) use std::sync::OnceLock;
pub(super) use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
