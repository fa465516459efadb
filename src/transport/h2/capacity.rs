//! How many requests a connection may carry, and who waits for it to carry more. Pure.

use std::task::Waker;

pub(super) struct StreamCapacity {
    most: usize,
    /// The service has said what it wants.
    is_settled: bool,
    /// So much waits for the socket that no request is begun before it is empty: each that was given up leaves its head.
    is_overfull: bool,
    /// How often it has come to carry more than before.
    growths: u32,
    waiting: Vec<Waker>,
}

impl StreamCapacity {
    pub(super) fn new() -> Self {
        Self { most: STREAMS, is_settled: false, is_overfull: false, growths: 0, waiting: Vec::new() }
    }

    /// How many it carries at a time: before a service has said how many it bears one may go, and others would only be refused;
    /// one that reads nothing of what it is sent is sent no more.
    pub(super) fn most(&self) -> usize {
        match self.is_settled {
            _ if self.is_overfull => 0,
            true => self.most,
            false => 1,
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// Whether the service takes no request at all, which it should not do for long (RFC 9113 §6.5.2).
    pub(super) fn takes_none_for_now(&self) -> bool {
        self.is_settled && self.most == 0
    }

    /// What the service's settings say; `None`: nothing of this, and so what they said before.
    pub(super) fn settle(&mut self, streams: Option<u32>) {
        let before = self.most();
        if let Some(streams) = streams {
            self.most = STREAMS.min(streams as usize);
        }
        // The first settings are news even where they say no more than one: who waits for them may look elsewhere.
        if !std::mem::replace(&mut self.is_settled, true) || self.most() > before {
            self.grow();
        }
    }

    /// So many bytes wait for the socket.
    pub(super) fn queued(&mut self, bytes: usize) {
        self.is_overfull |= bytes > OUTBOX_BYTES;
    }

    /// None do.
    pub(super) fn drained(&mut self) {
        if std::mem::take(&mut self.is_overfull) {
            self.grow();
        }
    }

    /// How often it has come to carry more than before.
    pub(super) fn growths(&self) -> u32 {
        self.growths
    }

    /// Wakes whoever waits for that, also if it will carry none any more.
    pub(super) fn wait(&mut self, waker: &Waker) {
        if !self.waiting.iter().any(|waiting| waiting.will_wake(waker)) {
            self.waiting.push(waker.clone());
        }
    }

    pub(super) fn wake_waiting(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }

    fn grow(&mut self) {
        self.growths = self.growths.wrapping_add(1);
        self.wake_waiting();
    }
}

/// How many requests one connection carries at most; another one is made beside it. RFC 9113 §6.5.2 has services allow 100.
pub(super) const STREAMS: usize = 128;

/// What may wait for the socket and another request still be begun: 32 uploads' shares.
const OUTBOX_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_allow_more_are_told_and_those_that_allow_less_are_not() {
        let mut capacity = StreamCapacity::new();
        let mut after = |streams| {
            capacity.settle(streams);
            (capacity.most(), capacity.growths())
        };

        assert_eq!(after(Some(1)), (1, 1));
        assert_eq!(after(Some(1)), (1, 1));
        assert_eq!(after(Some(0)), (0, 1));
        assert_eq!(after(None), (0, 1));
        assert_eq!(after(Some(1_000)), (STREAMS, 2));
    }

    #[test]
    fn what_waits_for_the_socket_leaves_room_for_requests_again_once_all_of_it_went() {
        let mut capacity = StreamCapacity::new();
        capacity.settle(None);

        capacity.queued(OUTBOX_BYTES);
        assert_eq!(capacity.most(), STREAMS);
        capacity.queued(OUTBOX_BYTES + 1);
        capacity.queued(1);
        assert_eq!(capacity.most(), 0);
        assert!(!capacity.takes_none_for_now());
        capacity.drained();

        assert_eq!((capacity.most(), capacity.growths()), (STREAMS, 2));
    }
}
