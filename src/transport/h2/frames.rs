//! Frames (RFC 9113 §4 and §6), read and written. Pure: bytes, no connection.

use std::ops::Range;

use h2::Reason;

/// The head of a frame (§4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

/// What the service wants of us, of what matters here (§6.5.2); `None`: it did not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ServiceSettings {
    pub(super) table: Option<TableSettings>,
    pub(super) streams: Option<u32>,
    pub(super) window: Option<u32>,
}

/// How much the table of HPACK may hold: one frame may say that twice, and both count (RFC 7541 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TableSettings {
    pub(super) least: u32,
    pub(super) last: u32,
}

/// Whether a part is the last that its stream carries.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamEnd {
    Later,
    Here,
}

impl FrameHead {
    /// The one that `bytes` begin with; `None`: not all of it is there.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let &[l2, l1, l0, kind, flags, s3, s2, s1, s0] = bytes.first_chunk::<FRAME_HEAD_BYTES>()?;
        let length = u32::from_be_bytes([0, l2, l1, l0]) as usize;
        // The highest bit means nothing.
        Some(Self { length, kind, flags, stream: u32::from_be_bytes([s3 & 0x7f, s2, s1, s0]) })
    }

    pub(super) fn bytes(self) -> [u8; FRAME_HEAD_BYTES] {
        let ([_, l2, l1, l0], [s3, s2, s1, s0]) = ((self.length as u32).to_be_bytes(), self.stream.to_be_bytes());
        [l2, l1, l0, self.kind, self.flags, s3, s2, s1, s0]
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Where in the payload of DATA or HEADERS the content is.
    ///
    /// # Errors
    ///
    /// When it is filled up with more than there is (§6.1, §6.2).
    pub(super) fn content(self, payload: &[u8]) -> Result<Range<usize>, Reason> {
        let (padding, mut begin) = match payload.first() {
            Some(padding) if self.has(PADDED) => (usize::from(*padding), 1),
            None if self.has(PADDED) => return Err(Reason::FRAME_SIZE_ERROR),
            _ => (0, 0),
        };
        if self.kind == HEADERS && self.has(PRIORITIZED) {
            begin += 5;
        }
        match payload.len().checked_sub(padding) {
            Some(end) if end >= begin => Ok(begin..end),
            _ => Err(Reason::PROTOCOL_ERROR),
        }
    }
}

/// The payload of SETTINGS.
///
/// # Errors
///
/// When it is none, or has what no service may want.
pub(super) fn read_settings(payload: &[u8]) -> Result<ServiceSettings, Reason> {
    let mut settings = ServiceSettings::default();
    let (all, []) = payload.as_chunks::<6>() else { return Err(Reason::FRAME_SIZE_ERROR) };
    for &[k1, k0, v3, v2, v1, v0] in all {
        let value = u32::from_be_bytes([v3, v2, v1, v0]);
        match u16::from_be_bytes([k1, k0]) {
            TABLE_BYTES => {
                let least = settings.table.map_or(value, |before| before.least.min(value));
                settings.table = Some(TableSettings { least, last: value });
            }
            STREAMS => settings.streams = Some(value),
            WINDOW if value > LARGEST_WINDOW => return Err(Reason::FLOW_CONTROL_ERROR),
            WINDOW => settings.window = Some(value),
            // No service pushes what it was told not to, and none sends frames that are shorter than all must bear.
            PUSH if value != 0 => return Err(Reason::PROTOCOL_ERROR),
            FRAME_LENGTH if !(1 << 14..1 << 24).contains(&value) => return Err(Reason::PROTOCOL_ERROR),
            _ => {}
        }
    }
    Ok(settings)
}

/// The payload of a frame that is one number, or begins with it.
pub(super) fn read_number(payload: &[u8]) -> Result<u32, Reason> {
    payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)).ok_or(Reason::FRAME_SIZE_ERROR)
}

pub(super) fn write(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&FrameHead { length: payload.len(), kind, flags, stream }.bytes());
    out.extend_from_slice(payload);
}

/// What a connection begins with (§3.4): who we are, and what we want. From there on the window of all streams together is
/// `all_window`.
pub(super) fn write_preface(window: u32, all_window: u32, head_bytes: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    let mut payload = Vec::with_capacity(18);
    for (key, value) in [(PUSH, 0), (WINDOW, window), (HEAD_BYTES_BORNE, head_bytes)] {
        payload.extend_from_slice(&key.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    write(SETTINGS, 0, 0, &payload, out);
    write_window_update(0, all_window - FIRST_WINDOW, out);
}

pub(super) fn write_window_update(stream: u32, bytes: u32, out: &mut Vec<u8>) {
    write(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes(), out);
}

pub(super) fn write_reset(stream: u32, reason: Reason, out: &mut Vec<u8>) {
    write(RST_STREAM, 0, stream, &u32::from(reason).to_be_bytes(), out);
}

/// No stream of the service's was ever looked at (§6.8).
pub(super) fn write_goaway(reason: Reason, out: &mut Vec<u8>) {
    write(GOAWAY, 0, 0, &[[0; 4], u32::from(reason).to_be_bytes()].concat(), out);
}

pub(super) fn write_data(stream: u32, end: StreamEnd, data: &[u8], out: &mut Vec<u8>) {
    write(DATA, end.flag(), stream, data, out);
}

/// Makes what stands in `out` from `begin` on the head of `stream`, in as many frames as it takes (§6.10). Room was left for
/// the head of the first.
pub(super) fn frame_head(begin: usize, stream: u32, end: StreamEnd, out: &mut Vec<u8>) {
    let length = out.len() - begin - FRAME_HEAD_BYTES;
    let whole = length <= FRAME_BYTES;
    let first = FrameHead {
        length: length.min(FRAME_BYTES),
        kind: HEADERS,
        flags: end.flag() | if whole { END_HEADERS } else { 0 },
        stream,
    };
    // Invariant: `begin` is where the room was left.
    out[begin..begin + FRAME_HEAD_BYTES].copy_from_slice(&first.bytes());
    if whole {
        return;
    }
    let rest = out.split_off(begin + FRAME_HEAD_BYTES + FRAME_BYTES);
    let mut left = rest.len().div_ceil(FRAME_BYTES);
    for part in rest.chunks(FRAME_BYTES) {
        left -= 1;
        write(CONTINUATION, if left == 0 { END_HEADERS } else { 0 }, stream, part, out);
    }
}

impl StreamEnd {
    fn flag(self) -> u8 {
        match self {
            Self::Later => 0,
            Self::Here => END_STREAM,
        }
    }
}

pub(super) const FRAME_HEAD_BYTES: usize = 9;

/// What everybody bears in one frame (§4.2); nobody is told of more, and we write no more.
pub(super) const FRAME_BYTES: usize = 16 * 1024;

/// What every window has at first, but for what SETTINGS say of those of streams (§6.9.2), and the most it may have.
pub(super) const FIRST_WINDOW: u32 = 65_535;
pub(super) const LARGEST_WINDOW: u32 = (1 << 31) - 1;

// §6.1 to §6.10.
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
/// Of SETTINGS and PING.
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITIZED: u8 = 32;

// §6.5.2.
const TABLE_BYTES: u16 = 1;
const PUSH: u16 = 2;
const STREAMS: u16 = 3;
const WINDOW: u16 = 4;
const FRAME_LENGTH: u16 = 5;
const HEAD_BYTES_BORNE: u16 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_written_in_as_many_frames_as_it_takes() {
        for (bytes, frames) in [(0, 1), (1, 1), (FRAME_BYTES, 1), (FRAME_BYTES + 1, 2), (3 * FRAME_BYTES + 7, 4)] {
            let block: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
            let mut out = b"before".to_vec();
            out.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
            out.extend_from_slice(&block);

            frame_head(6, 7, StreamEnd::Here, &mut out);

            let (mut rest, mut read, mut count) = (&out[6..], Vec::new(), 0);
            while let Some(head) = FrameHead::of(rest) {
                count += 1;
                assert_eq!((head.kind, head.stream), (if count == 1 { HEADERS } else { CONTINUATION }, 7));
                assert_eq!(head.has(END_HEADERS), count == frames);
                assert_eq!(head.has(END_STREAM), count == 1);
                read.extend_from_slice(&rest[FRAME_HEAD_BYTES..][..head.length]);
                rest = &rest[FRAME_HEAD_BYTES + head.length..];
            }
            assert_eq!((count, read == block, rest.len()), (frames, true, 0), "{bytes}");
        }
    }

    #[test]
    fn content_is_what_neither_fills_up_nor_sets_a_priority() {
        let head = |kind, flags| FrameHead { length: 0, kind, flags, stream: 1 };
        let (data, padded) = (head(DATA, 0), head(DATA, PADDED));
        assert_eq!(data.content(b"abc"), Ok(0..3));
        assert_eq!(head(DATA, PRIORITIZED).content(b"abc"), Ok(0..3));
        assert_eq!(padded.content(b"\x02abc"), Ok(1..2));
        assert_eq!(padded.content(b"\x03abc"), Ok(1..1));
        assert_eq!(padded.content(b"\x04abc"), Err(Reason::PROTOCOL_ERROR));
        assert_eq!(padded.content(b""), Err(Reason::FRAME_SIZE_ERROR));
        assert_eq!(head(HEADERS, PRIORITIZED).content(b"12345x"), Ok(5..6));
        assert_eq!(head(HEADERS, PRIORITIZED | PADDED).content(b"\x0112345x."), Ok(6..7));
        assert_eq!(head(HEADERS, PRIORITIZED).content(b"1234"), Err(Reason::PROTOCOL_ERROR));
    }

    #[test]
    fn settings_that_no_service_may_want_are_refused() {
        let setting = |key: u16, value: u32| [&key.to_be_bytes()[..], &value.to_be_bytes()].concat();
        let said = [(3, 100), (0x77, 1), (4, 7), (1, 9), (1, 0), (1, 5), (3, 99)];
        let both = said.map(|(key, value)| setting(key, value)).concat();
        let table = Some(TableSettings { least: 0, last: 5 });
        let read = ServiceSettings { table, streams: Some(99), window: Some(7) };
        assert_eq!(read_settings(&both), Ok(read));
        for (settings, reason) in [
            (setting(2, 1), Reason::PROTOCOL_ERROR),
            (setting(4, 1 << 31), Reason::FLOW_CONTROL_ERROR),
            (setting(5, (1 << 14) - 1), Reason::PROTOCOL_ERROR),
            (setting(5, 1 << 24), Reason::PROTOCOL_ERROR),
            (vec![0; 7], Reason::FRAME_SIZE_ERROR),
        ] {
            assert_eq!(read_settings(&settings), Err(reason), "{settings:?}");
        }
    }
}
