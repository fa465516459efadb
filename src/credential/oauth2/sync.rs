//! What the protocols between workers and refreshers are made of. `tests/models` has another of these, with which every
//! order of their steps is tried.

pub(super) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

pub(super) use arc_swap::{ArcSwap, Guard};
pub(super) use tokio::sync::Notify;
