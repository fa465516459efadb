//! Huffman's code of HPACK (RFC 7541 §5.2 and Appendix B), read; nothing of ours is written in it.
//!
//! The code is canonical: the lengths of all symbols' codes say which codes these are. So the lengths are all that stands
//! here, and what is read by is made of them when this is compiled. What fields are mostly made of takes one look-up a letter.

use bytes::BytesMut;

/// What is no text in this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotHuffman;

/// Appends what `coded` says to `text`.
///
/// # Errors
///
/// When it has the symbol for the end, or is filled up with anything but the beginning of that (§5.2): `text` is no longer
/// what it was.
pub(super) fn decode(coded: &[u8], text: &mut BytesMut) -> Result<(), NotHuffman> {
    let before = text.len();
    // No code has fewer than five bits.
    text.resize(before + coded.len() * 8 / 5, 0);
    let mut bits = CodedBits { coming: coded.iter(), held: 0, count: 0 };
    let mut length = before;
    for place in text.iter_mut().skip(before) {
        let Some(symbol) = bits.next_symbol()? else { break };
        *place = symbol;
        length += 1;
    }
    // With room for every symbol there may be, what is left now is what fills up the last byte.
    if bits.next_symbol()?.is_some() {
        return Err(NotHuffman);
    }
    text.truncate(length);
    Ok(())
}

/// What of a text was not read yet.
struct CodedBits<'a> {
    coming: std::slice::Iter<'a, u8>,
    /// The lowest `count` of its bits come next; those above were read.
    held: u64,
    count: u32,
}

impl CodedBits<'_> {
    /// `None`: all was read.
    fn next_symbol(&mut self) -> Result<Option<u8>, NotHuffman> {
        if self.count < LONGEST_CODE {
            self.fill();
        }
        if self.count >= SHORT_CODE {
            // Invariant: the table has a place for each value of so many bits.
            let short = SHORT_CODES[(self.held >> (self.count - SHORT_CODE)) as usize % SHORT_CODES.len()];
            if short != 0 {
                self.count -= u32::from(short >> 8);
                return Ok(Some(short as u8));
            }
        }
        // No code is so short and has ones alone: it is what fills up the last byte.
        if self.count < 8 && self.held & ((1 << self.count) - 1) == (1 << self.count) - 1 {
            return Ok(None);
        }
        self.next_rare_symbol()
    }

    /// Of any length.
    #[cold]
    fn next_rare_symbol(&mut self) -> Result<Option<u8>, NotHuffman> {
        // Ones stand for what is missing at the end, as they do for what fills up the last byte.
        let missing = LONGEST_CODE.saturating_sub(self.count);
        let window = ((self.held << missing) | ((1 << missing) - 1)) >> (self.count + missing - LONGEST_CODE);
        let window = (window as u32) & ((1 << LONGEST_CODE) - 1);
        let (symbol, length) = symbol(window);
        self.count = self.count.checked_sub(length).ok_or(NotHuffman)?;
        u8::try_from(symbol).map(Some).map_err(|_| NotHuffman)
    }

    fn fill(&mut self) {
        while self.count <= u64::BITS - 8 {
            let Some(byte) = self.coming.next() else { return };
            self.held = self.held << 8 | u64::from(*byte);
            self.count += 8;
        }
    }
}

/// The symbol whose code these bits begin with, and how long that is.
fn symbol(window: u32) -> (u16, u32) {
    let mut length = 1;
    // Invariant: no code is longer than the longest, and all ones are within that.
    while LAST_CODES[length as usize] < window || LAST_CODES[length as usize] == 0 {
        length += 1;
    }
    // Invariant: the code is one of those of this length, so it is not so far from the last.
    let from_the_last = (LAST_CODES[length as usize] - window) >> (LONGEST_CODE - length);
    (BY_CODE[LAST_PLACES[length as usize] - from_the_last as usize], length)
}

/// The longest of all codes, and the longest that is looked up.
const LONGEST_CODE: u32 = 30;
const SHORT_CODE: u32 = 10;

const SYMBOLS: usize = 257;

/// For each beginning of so many bits the symbol, and above it the length of its code; 0: it is longer.
static SHORT_CODES: [u16; 1 << SHORT_CODE] = short_codes();

/// All symbols in the order of their codes.
static BY_CODE: [u16; SYMBOLS] = by_code();

/// For each length the last code of it, filled up with ones, and its symbol's place in that order.
static LAST_CODES: [u32; LONGEST_CODE as usize + 1] = last_codes().0;
static LAST_PLACES: [usize; LONGEST_CODE as usize + 1] = last_codes().1;

const fn by_code() -> [u16; SYMBOLS] {
    let mut all = [0; SYMBOLS];
    let (mut place, mut length) = (0, 1);
    while length <= LONGEST_CODE {
        let mut symbol = 0;
        while symbol < SYMBOLS {
            // Invariant: each symbol has one length, so there are as many places.
            if CODE_LENGTHS[symbol] as u32 == length {
                all[place] = symbol as u16;
                place += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    all
}

const fn last_codes() -> ([u32; LONGEST_CODE as usize + 1], [usize; LONGEST_CODE as usize + 1]) {
    let mut last = ([0; LONGEST_CODE as usize + 1], [0; LONGEST_CODE as usize + 1]);
    let all = by_code();
    let (mut place, mut next) = (0, 0_u32);
    while place < SYMBOLS {
        // Invariant: all symbols have a place, and none is longer than the longest.
        let length = CODE_LENGTHS[all[place] as usize] as u32;
        // As a number of as many bits as the longest has.
        next += 1 << (LONGEST_CODE - length);
        // Invariant: none is longer than the longest.
        last.0[length as usize] = next - 1;
        last.1[length as usize] = place;
        place += 1;
    }
    last
}

const fn short_codes() -> [u16; 1 << SHORT_CODE] {
    let mut all = [0; 1 << SHORT_CODE];
    let symbols = by_code();
    let (mut place, mut at) = (0, 0);
    while place < SYMBOLS {
        // Invariant: all symbols have a place.
        let length = CODE_LENGTHS[symbols[place] as usize] as u32;
        if length > SHORT_CODE {
            return all;
        }
        let after = at + (1 << (SHORT_CODE - length));
        while at < after {
            // Invariant: short codes, filled up, are within so many bits.
            all[at] = symbols[place] | (length as u16) << 8;
            at += 1;
        }
        place += 1;
    }
    all
}

/// How many bits each symbol takes (Appendix B); the last one is the end.
const CODE_LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
    30,
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The code of a symbol, by the definition: as many before it, of each length.
    fn code(symbol: usize) -> (u32, u32) {
        let length = u32::from(CODE_LENGTHS[symbol]);
        let mut code = 0;
        for bits in 1..=length {
            let before = |other: &usize| u32::from(CODE_LENGTHS[*other]) == bits && (bits < length || *other < symbol);
            code = (code << 1) + (0..SYMBOLS).filter(before).count() as u32;
            // What follows a length begins with it.
            if bits == length {
                return (code, length);
            }
        }
        unreachable!("each has a length")
    }

    fn encode(text: &[u8]) -> Vec<u8> {
        let bits = text.iter().flat_map(|byte| {
            let (code, length) = code(usize::from(*byte));
            (0..length).rev().map(move |bit| code >> bit & 1 == 1)
        });
        let bits: Vec<bool> = bits.collect();
        let byte = |bits: &[bool]| (0..8).fold(0, |byte, at| byte << 1 | u8::from(*bits.get(at).unwrap_or(&true)));
        bits.chunks(8).map(byte).collect()
    }

    fn decoded(coded: &[u8]) -> Result<Vec<u8>, NotHuffman> {
        let mut text = BytesMut::from(&b"before"[..]);
        decode(coded, &mut text)?;
        assert!(text.starts_with(b"before"));
        Ok(text[6..].to_vec())
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        // RFC 7541, appendix C.4 and C.6.
        for (coded, text) in [
            (&[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff][..], "www.example.com"),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf], "custom-value"),
            (&[0x64, 0x02], "302"),
            (&[0x9b, 0xd9, 0xab], "gzip"),
            (&[], ""),
        ] {
            assert_eq!(decoded(coded).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn each_byte_is_read_as_it_was_written() {
        for byte in 0..=u8::MAX {
            for text in [vec![byte], vec![byte; 7], vec![b'a', byte, b'0']] {
                assert_eq!(decoded(&encode(&text)).unwrap(), text);
            }
        }
    }

    #[test]
    fn what_fills_up_the_last_byte_is_the_beginning_of_the_end_and_no_more() {
        // `a` has five bits, 00011.
        assert_eq!(decoded(&[0b0001_1111]).unwrap(), b"a");
        for coded in [&[0b0001_1110][..], &[0b0001_1011], &[0b0001_1111, 0xff], &[0xff], &[0xff; 4], &[0xff; 9]] {
            assert_eq!(decoded(coded), Err(NotHuffman), "{coded:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_was_written_is_read(text in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(decoded(&encode(&text)).unwrap(), text);
        }

        #[test]
        fn what_is_read_is_what_it_is_written_as(coded in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(text) = decoded(&coded) {
                prop_assert_eq!(encode(&text), coded);
            }
        }
    }
}
