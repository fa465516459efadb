//! One exchange of a client's connection, as the server sees it: what belongs to it and not to the connection.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use http::Response;

use super::persistence::{Persistence, RequestPersistence};
use crate::deadline::ExchangeDeadline;
use crate::proxy::{DrainPhase, OpenedTunnel, ResponseBody};

/// An exchange: its deadline, how much of its request has been read, and whether its answer closes.
///
/// HTTP/1 carries one exchange after the other, so a connection has one of these and each exchange begins it anew: none
/// costs memory of its own.
#[derive(Debug)]
pub(super) struct ServedExchange {
    deadline: Rc<ExchangeDeadline>,
    asked: RefCell<RequestPersistence>,
    /// The answer's head is known: a `100 Continue` alone is no answer.
    answering: Cell<bool>,
    /// What the answer opens, until that has left.
    opened: OpenedCell,
}

/// A tunnel that waits for its turn.
#[derive(Default)]
struct OpenedCell(Cell<Option<Box<OpenedTunnel>>>);

impl fmt::Debug for OpenedCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenedCell")
    }
}

impl ServedExchange {
    /// One that is still to begin.
    pub(super) fn new(deadline: Rc<ExchangeDeadline>) -> Self {
        Self {
            deadline,
            asked: RefCell::new(RequestPersistence::none()),
            answering: Cell::new(false),
            opened: OpenedCell::default(),
        }
    }

    /// A request was taken.
    pub(super) fn begin(&self, asked: RequestPersistence) {
        self.asked.replace(asked);
        self.answering.set(false);
        self.deadline.begin(LONG_EXCHANGE);
    }

    /// The answer's head is here: says in it whether another request may follow.
    pub(super) fn answered(&self, answer: &mut Response<ResponseBody>, drain: DrainPhase) -> Persistence {
        self.answering.set(true);
        self.asked.borrow().persist(answer, drain)
    }

    /// The answer's head is here, and opens a tunnel.
    pub(super) fn opened(&self, tunnel: Box<OpenedTunnel>) -> Persistence {
        self.opened.0.set(Some(tunnel));
        self.answering.set(true);
        Persistence::Tunnel
    }

    /// What the answer opens, for whoever can show that it has left.
    pub(super) fn take_tunnel(&self) -> Option<Box<OpenedTunnel>> {
        self.opened.0.take()
    }

    /// Whether nothing has shown for long if the client is still there: it has sent all, and gets nothing yet. Writing to
    /// a client that left fails soon enough.
    pub(super) fn is_silent(&self) -> bool {
        self.deadline.is_long() && !self.answering.get() && self.asked.borrow().is_read()
    }

    /// What it waits for. That is the port's to arm: the connection only gives it time when bytes of the answer move.
    pub(super) fn deadline(&self) -> &Rc<ExchangeDeadline> {
        &self.deadline
    }
}

/// In ticks: how long an exchange goes on before anybody asks whether its client is still there. Most are over by then,
/// and an app that closed its sending side only has its answer.
const LONG_EXCHANGE: u32 = 2;
