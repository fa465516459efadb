//! An answer read from bytes alone, as tests and the fuzz target do it.

use std::task::{Context, Poll, Waker};

use http::{HeaderMap, Method, Version};

use super::download::Download;
use super::upload::WrittenToEnd;
use crate::transport::ProtocolSwitch;

/// An answer that was read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) version: Version,
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, Vec<u8>)>,
    /// Whether another request might follow, if the connection did not end here.
    pub(crate) reusable: bool,
}

/// Reads the answer to a request of this method; after the last piece the connection ends.
///
/// # Errors
///
/// Why there is no answer, or no whole one.
pub(crate) fn read<'a>(method: &Method, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Whole, String> {
    let mut reader = TrialReader::default();
    reader.begin();
    reader.download.asked(WrittenToEnd::on_trial());
    for piece in pieces {
        reader.take(method, piece)?;
    }
    reader.end()
}

/// Panics unless an answer that comes in pieces is read as if it had come at once: each byte of `cuts` is the length
/// of a piece, again and again. Says whether it is an answer.
pub(crate) fn pieces_make_no_difference(answer: &[u8], cuts: &[u8]) -> bool {
    let mut is_answer = false;
    for method in [Method::GET, Method::HEAD] {
        let whole = read(&method, [answer]);
        let cut = read(&method, pieces(answer, cuts));
        match (&whole, &cut) {
            (Err(_), Err(_)) => {}
            _ => assert_eq!(whole, cut, "{method}, cut {cuts:?}: {:?}", String::from_utf8_lossy(answer)),
        }
        if let Ok(whole) = &whole {
            let told = whole.body.len() + whole.fields.len() + whole.trailers.len();
            assert!(told <= answer.len(), "more was read than came");
            is_answer = true;
        }
    }
    is_answer
}

/// Panics unless a connection is used again only after an exchange that ended on both sides, and then reads what comes as
/// one that was never used. A service says `bytes`, cut as by [`pieces`]; each of `late` says how many pieces come before a
/// request was written to its end. Says whether it was used again.
pub(crate) fn reuse_is_earned(bytes: &[u8], cuts: &[u8], late: &[u8]) -> bool {
    let mut pieces = pieces(bytes, cuts).into_iter();
    let (mut reader, mut is_used_again) = (TrialReader::default(), false);
    for wait in late.iter().map(|wait| usize::from(wait % 4)).cycle().take(bytes.len()) {
        reader.begin();
        let mut came = Vec::new();
        let mut is_early = wait > 0;
        for turn in 0.. {
            if turn == wait {
                is_early = reader.answer.is_some();
                reader.download.asked(WrittenToEnd::on_trial());
            }
            let Some(piece) = pieces.next() else { return is_used_again };
            came.extend_from_slice(piece);
            if reader.take(&Method::GET, piece).is_err() {
                return is_used_again;
            }
            if reader.answer.is_some() && reader.download.is_over() {
                // It was written in the end, and too late.
                reader.download.asked(WrittenToEnd::on_trial());
                break;
            }
        }
        if !reader.download.is_reusable() || reader.left_over {
            return is_used_again;
        }
        assert!(!is_early, "it was answered early: {:?}", String::from_utf8_lossy(&came));
        let seen = reader.answer.take().map(|answer| Whole { reusable: true, ..answer });
        assert_eq!(read(&Method::GET, [&came[..]]).ok(), seen, "{:?}", String::from_utf8_lossy(&came));
        is_used_again = true;
    }
    is_used_again
}

/// `answer` in pieces as long as `cuts` says.
pub(crate) fn pieces<'a>(answer: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut lengths = cuts.iter().copied().filter(|length| *length > 0).map(usize::from).cycle();
    let mut rest = answer;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let length = lengths.next().unwrap_or(rest.len()).min(rest.len());
        let (piece, after) = rest.split_at(length);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Names and values, in their order.
pub(crate) fn listed(fields: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    fields.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

struct TrialReader {
    download: Download,
    answer: Option<Whole>,
    left_over: bool,
}

impl Default for TrialReader {
    fn default() -> Self {
        Self { download: Download::none(), answer: None, left_over: false }
    }
}

impl TrialReader {
    fn begin(&mut self) {
        self.download.begin(ProtocolSwitch::NotAsked);
        (self.answer, self.left_over) = (None, false);
    }

    fn take(&mut self, method: &Method, mut piece: &[u8]) -> Result<(), String> {
        while !piece.is_empty() {
            if self.answer.is_some() && self.download.is_over() {
                self.left_over = true;
                return Ok(());
            }
            let cx = &mut Context::from_waker(Waker::noop());
            let filled = self.download.poll_fill(&mut piece, cx);
            assert!(matches!(filled, Poll::Ready(Ok(bytes)) if bytes > 0), "there is room for a read");
            self.go_on(method)?;
        }
        Ok(())
    }

    fn go_on(&mut self, method: &Method) -> Result<(), String> {
        if self.answer.is_none() {
            let mut fields = HeaderMap::new();
            let taken = self.download.take_head(method, &mut fields, || ()).map_err(|error| error.to_string())?;
            let Some((head, body)) = taken else { return Ok(()) };
            self.answer = Some(Whole {
                status: head.status.as_u16(),
                version: head.version,
                fields: listed(&fields),
                body: body.unwrap_or_default().to_vec(),
                ..Whole::default()
            });
        }
        let Some(answer) = &mut self.answer else { return Ok(()) };
        while let Some(frame) = self.download.take_frame().map_err(|error| error.to_string())? {
            match frame.into_data() {
                Ok(data) => answer.body.extend_from_slice(&data),
                Err(frame) => answer.trailers = frame.trailers_ref().map(listed).unwrap_or_default(),
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<Whole, String> {
        let Some(answer) = self.answer else { return Err(self.download.shortfall().to_owned()) };
        let reusable = self.download.is_reusable() && !self.left_over;
        self.download.close().map_err(|error| error.to_string())?;
        Ok(Whole { reusable, ..answer })
    }
}
