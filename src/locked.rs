//! Mutexes: of what is seldom touched, and never held across an await.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks it. A panic elsewhere leaves what is in it whole: every change is one insertion or assignment.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
