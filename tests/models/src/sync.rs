//! What the protocols are made of, as loom knows it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

pub(super) use loom::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};

use loom::sync::Mutex;

/// A value that is replaced whole.
#[derive(Debug)]
pub(super) struct ArcSwap<T>(Mutex<Arc<T>>);

pub(super) type Guard<T> = T;

impl<T> ArcSwap<T> {
    pub(super) fn from_pointee(value: T) -> Self {
        Self(Mutex::new(Arc::new(value)))
    }

    pub(super) fn load(&self) -> Guard<Arc<T>> {
        self.load_full()
    }

    pub(super) fn load_full(&self) -> Arc<T> {
        Arc::clone(&self.0.lock().unwrap())
    }

    pub(super) fn store(&self, value: Arc<T>) {
        *self.0.lock().unwrap() = value;
    }
}

/// A value that one thread puts there, once. Whoever sees it sees what that thread did before.
#[derive(Debug)]
pub(super) struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
    is_there: AtomicBool,
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self { value: std::sync::OnceLock::new(), is_there: AtomicBool::new(false) }
    }
}

impl<T> OnceLock<T> {
    pub(super) fn get(&self) -> Option<&T> {
        self.is_there.load(Ordering::Acquire).then(|| self.value.get().unwrap())
    }

    pub(super) fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        if !self.is_there.load(Ordering::Acquire) {
            assert!(self.value.set(make()).is_ok(), "one thread fills it");
            self.is_there.store(true, Ordering::Release);
        }
        self.value.get().unwrap()
    }
}

/// Keeps what tokio's promises: `notify_one` wakes the one who has waited longest, or whoever waits next; `notify_waiters`
/// wakes all who are registered, and nobody who comes later.
#[derive(Debug)]
pub(super) struct Notify(Mutex<Waiters>);

#[derive(Debug, Default)]
struct Waiters {
    permit: bool,
    next: u64,
    registered: Vec<(u64, Option<Waker>)>,
    woken: Vec<u64>,
}

pub(super) struct Notified<'a> {
    notify: &'a Notify,
    /// `None`: not registered yet, or done.
    number: Option<u64>,
    done: bool,
}

impl Default for Notify {
    fn default() -> Self {
        Self(Mutex::new(Waiters::default()))
    }
}

impl Notify {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn notify_one(&self) {
        let waker = {
            let mut waiters = self.0.lock().unwrap();
            if waiters.registered.is_empty() {
                waiters.permit = true;
                None
            } else {
                let (number, waker) = waiters.registered.remove(0);
                waiters.woken.push(number);
                waker
            }
        };
        waker.into_iter().for_each(Waker::wake);
    }

    pub(super) fn notify_waiters(&self) {
        let registered = {
            let mut waiters = self.0.lock().unwrap();
            let registered = std::mem::take(&mut waiters.registered);
            waiters.woken.extend(registered.iter().map(|(number, _)| *number));
            registered
        };
        registered.into_iter().filter_map(|(_, waker)| waker).for_each(Waker::wake);
    }

    pub(super) fn notified(&self) -> Notified<'_> {
        Notified { notify: self, number: None, done: false }
    }
}

impl Notified<'_> {
    /// Registers without a waker, as tokio's does.
    pub(super) fn enable(mut self: Pin<&mut Self>) -> bool {
        self.step(None)
    }

    fn step(&mut self, waker: Option<&Waker>) -> bool {
        if self.done {
            return true;
        }
        let mut waiters = self.notify.0.lock().unwrap();
        let Some(number) = self.number else {
            if std::mem::take(&mut waiters.permit) {
                self.done = true;
            } else {
                let number = waiters.next;
                waiters.next += 1;
                waiters.registered.push((number, waker.cloned()));
                self.number = Some(number);
            }
            return self.done;
        };
        if let Some(at) = waiters.woken.iter().position(|woken| *woken == number) {
            waiters.woken.swap_remove(at);
            (self.number, self.done) = (None, true);
        } else if let Some((_, registered)) = waiters.registered.iter_mut().find(|(at, _)| *at == number) {
            *registered = waker.cloned();
        }
        self.done
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.step(Some(cx.waker())) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut waiters = self.notify.0.lock().unwrap();
        waiters.registered.retain(|(at, _)| *at != number);
        waiters.woken.retain(|woken| *woken != number);
    }
}
