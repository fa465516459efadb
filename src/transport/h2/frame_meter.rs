//! How much a service sends that brings no request on.
//!
//! h2 bounds what takes up memory, and passes over the rest in silence: PRIORITY, frames of unknown kinds, PING, SETTINGS,
//! WINDOW_UPDATE, heads for streams that were given up. A service that sends nothing else keeps a core busy, for as long as
//! it likes. So the bytes of all frames but DATA are counted here; they are forgotten whenever a request comes on, and in
//! the course of time: an idle connection that is kept alive by a PING now and then may be so for ever.

use crate::clock::Moment;

/// Follows a connection's frames, in whatever pieces they are read.
#[derive(Debug)]
pub(super) struct FrameMeter {
    /// As much as came of the next frame's head.
    head: [u8; HEAD],
    head_bytes: usize,
    /// What is still to come of the last frame.
    payload_left: usize,
    window_began: Moment,
}

impl FrameMeter {
    pub(super) fn new(now: Moment) -> Self {
        Self { head: [0; HEAD], head_bytes: 0, payload_left: 0, window_began: now }
    }

    /// How many bytes belong to frames that carry no content, of those that begin in this piece.
    pub(super) fn idle_bytes(&mut self, mut piece: &[u8]) -> u64 {
        let mut idle = 0;
        loop {
            let skipped = self.payload_left.min(piece.len());
            self.payload_left -= skipped;
            piece = piece.split_at(skipped).1;
            if piece.is_empty() {
                return idle;
            }
            let (taken, rest) = piece.split_at((HEAD - self.head_bytes).min(piece.len()));
            for (place, byte) in self.head.iter_mut().skip(self.head_bytes).zip(taken) {
                *place = *byte;
            }
            self.head_bytes += taken.len();
            piece = rest;
            if self.head_bytes == HEAD {
                self.head_bytes = 0;
                idle += self.begin();
            }
        }
    }

    /// As much came as is borne in a window: whether that was too soon. If not, another window begins. Only who comes here has
    /// the clock read.
    pub(super) fn is_flood(&mut self, now: Moment) -> bool {
        let is_flood = now.since(self.window_began).as_millis() < WINDOW_MILLISECONDS;
        self.window_began = now;
        is_flood
    }

    /// A frame's head is there: what the frame counts.
    fn begin(&mut self) -> u64 {
        let [high, middle, low, kind, ..] = self.head;
        self.payload_left = u32::from_be_bytes([0, high, middle, low]) as usize;
        // Content is bounded by its windows, and by whoever reads it. A frame that is longer than any may be ends the connection
        // as what it is: mostly no frame at all.
        let is_content = kind == DATA && self.payload_left > 0;
        if is_content || self.payload_left > LONGEST_FRAME { 0 } else { (HEAD + self.payload_left) as u64 }
    }
}

/// RFC 9113 §4.1.
const HEAD: usize = 9;
const DATA: u8 = 0;
/// What a service may send unless we say otherwise (§6.5.2), which we never do.
const LONGEST_FRAME: usize = 16_384;

/// So long a service has for what is borne of it: see `watched`.
const WINDOW_MILLISECONDS: u128 = 1_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let [_, length @ ..] = u32::try_from(payload).unwrap().to_be_bytes();
        [&length[..], &[kind, 0, 0, 0, 0, 1], &vec![DATA; payload]].concat()
    }

    #[test]
    fn frames_are_counted_however_they_are_cut() {
        let frames = [frame(6, 8), frame(0, 0), frame(0, 70_000), frame(0x77, 300), frame(0, 1), frame(2, 5)].concat();
        let expected = 17 + 9 + 309 + 14;

        for size in [1, 2, 8, 9, 10, 17, 16 * 1024, frames.len()] {
            let mut meter = FrameMeter::new(Moment::now());
            let counted: u64 = frames.chunks(size).map(|piece| meter.idle_bytes(piece)).sum();
            assert_eq!(counted, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn what_is_no_frame_is_no_flood() {
        assert_eq!(FrameMeter::new(Moment::now()).idle_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n"), 0);
        assert_eq!(FrameMeter::new(Moment::now()).idle_bytes(&frame(6, 16_384)), 16_393);
        assert_eq!(FrameMeter::new(Moment::now()).idle_bytes(&frame(6, 16_385)), 0);
    }

    #[test]
    fn what_is_too_much_for_a_second_is_not_for_two() {
        let began = Moment::now();
        let mut meter = FrameMeter::new(began);

        assert!(!meter.is_flood(began + Duration::from_millis(1_000)));
        assert!(meter.is_flood(began + Duration::from_millis(1_999)));
    }
}
