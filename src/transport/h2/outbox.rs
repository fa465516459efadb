//! What waits for the socket. Pure.

use crate::transport::scratch;

/// All that is ready goes in one write.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) bytes: Vec<u8>,
    /// How many of them went.
    gone: usize,
    /// How many went before.
    written: u64,
    pub(super) round: OutboxRound,
}

/// From one time that the outbox was emptied to the next: what was written in another waits no more.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct OutboxRound(u32);

impl Outbox {
    /// Memory to write into, if there is none.
    pub(super) fn open(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = scratch::lines();
            self.bytes.clear();
        }
        &mut self.bytes
    }

    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.gone..).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// So many went on. Says whether these were all.
    pub(super) fn advance(&mut self, bytes: usize) -> bool {
        self.gone += bytes;
        self.written += bytes as u64;
        let is_all = self.gone >= self.bytes.len();
        if is_all {
            self.clear();
        }
        is_all
    }

    /// What waits goes nowhere.
    pub(super) fn clear(&mut self) {
        self.gone = 0;
        self.round = OutboxRound(self.round.0.wrapping_add(1));
        self.bytes.clear();
    }

    /// Nobody writes for now.
    pub(super) fn spare(&mut self) {
        if self.is_empty() {
            scratch::keep_lines(std::mem::take(&mut self.bytes));
        }
    }

    /// How many bytes went since the connection was made, and how many will have gone when all that waits did.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn position(&self) -> u64 {
        self.written + self.rest().len() as u64
    }
}
