//! One thread that carries traffic: its own runtime, view and connections.

use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
#[cfg(feature = "files")]
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{mpsc, oneshot, watch};
#[cfg(feature = "files")]
use tokio::time::timeout;

use super::accept::{self, Accepted, Carriers, ConnectionLimit, HandedOver, Stop};
use super::connection::{self, ThreadShared};
use super::listener::ListeningSocket;
use super::pulse::{BEAT, Pulse};
use super::vital::{Due, Vital, passing};
use crate::clock::Moment;
use crate::heap;
use crate::name::ServiceName;
use crate::proxy::{self, DrainPhase};
#[cfg(feature = "files")]
use crate::upstream;

/// How far the process is in its life; every worker watches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    /// Idle connections close, the others after their answer.
    Closing,
    /// What is still open is cut.
    Cut,
}

/// A running worker.
#[derive(Debug)]
pub(crate) struct RunningWorker {
    number: usize,
    orders: mpsc::UnboundedSender<Order>,
    /// Connections that it carries.
    open: Arc<AtomicUsize>,
    /// Its other end goes with the thread, after all that was on it.
    alive: watch::Receiver<()>,
    pulse: Pulse,
}

/// What a worker is asked to do.
enum Order {
    /// One that came to the own port of a service, or to that of all.
    Serve(HandedOver, Option<ServiceName>),
    /// The lone worker accepts by itself: no connection changes threads.
    Accept {
        socket: Arc<ListeningSocket>,
        own: Option<ServiceName>,
        gate: Arc<ConnectionLimit>,
        stop: watch::Receiver<Stop>,
    },
    /// To say for how many ticks the connection has been silent that has been so for longest.
    LongestSilence(oneshot::Sender<Option<u32>>),
    /// To end that connection.
    DismissLongestSilent,
    /// To do this on its thread.
    #[cfg(test)]
    Do(Box<dyn FnOnce() + Send>),
}

impl RunningWorker {
    /// Starts the thread, whose end before [`Phase::Cut`] is that of the process; `context` is called on it.
    ///
    /// # Errors
    /// When the system gives no thread or no runtime.
    pub(crate) fn start(
        number: usize,
        phase: watch::Receiver<Phase>,
        vital: &Vital,
        context: impl FnOnce() -> proxy::Context + Send + 'static,
    ) -> io::Result<Self> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let open = Arc::new(AtomicUsize::new(0));
        let pulse = Pulse::default();
        let (counted, upkeep) = (Arc::clone(&open), (vital.clone(), pulse.clone()));
        let runtime = runtime_of_one_thread();
        let (started, has_started) = std::sync::mpsc::sync_channel(1);
        let (lives, alive) = watch::channel(());
        vital.thread(format!("worker-{number}"), move || {
            // Dropped last: the runtime, with each connection, is gone by then.
            let _lives = lives;
            let (runtime, outcome) = match runtime() {
                Ok(runtime) => (Some(runtime), Ok(())),
                Err(error) => (None, Err(error)),
            };
            // Whoever starts it waits for this.
            let _heard = started.send(outcome);
            if let Some(runtime) = runtime {
                let (vital, pulse) = upkeep;
                runtime.block_on(run(context(), inbox, counted, phase, vital, pulse.clone()));
                // Every connection is dropped here. Not by dropping the runtime: that waits, without limit, for look-ups
                // that are under way on its other threads.
                runtime.shutdown_background();
                pulse.end();
            }
            Ok(Due)
        })?;
        // The channel closes without a word only if the thread panicked.
        has_started.recv().map_err(io::Error::other)??;
        Ok(Self { number, orders, open, alive, pulse })
    }

    /// Its place among the workers, from 0.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    /// Moves on for as long as the worker turns.
    pub(crate) fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Whether its thread is there: nobody serves what is given to one that is gone.
    pub(crate) fn is_alive(&self) -> bool {
        !self.orders.is_closed()
    }

    /// Whether it hangs, for all that was seen of its pulse: it does nothing of what it is asked for now.
    pub(crate) fn hangs(&self) -> bool {
        self.pulse.is_still()
    }

    /// For how many ticks one of its connections has been silent, the longest; `None`: none is. Asked at once, whenever
    /// the answer is waited for: a worker that hangs gives none.
    pub(crate) fn longest_silence(&self) -> impl Future<Output = Option<u32>> + use<> {
        let (tell, told) = oneshot::channel();
        self.order(Order::LongestSilence(tell));
        // A worker that is gone has none.
        async { told.await.ok().flatten() }
    }

    /// Ends the connection that has been silent for longest.
    pub(crate) fn dismiss_longest_silent(&self) {
        self.order(Order::DismissLongestSilent);
    }

    /// How many connections it carries.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Gives it a connection, which came to the own port of a service if one is named.
    pub(crate) fn serve(&self, connection: HandedOver, own: Option<ServiceName>) {
        // Counted here, not when it arrives: a burst must not all go to one worker.
        self.open.fetch_add(1, Ordering::Relaxed);
        self.order(Order::Serve(connection, own));
    }

    /// Lets it accept from `socket` by itself.
    pub(crate) fn accept(
        &self,
        socket: Arc<ListeningSocket>,
        own: Option<ServiceName>,
        gate: Arc<ConnectionLimit>,
        stop: watch::Receiver<Stop>,
    ) {
        self.order(Order::Accept { socket, own, gate, stop });
    }

    /// Waits for its end, which [`Phase::Cut`] brings about.
    pub(crate) async fn ended(&self) {
        let mut alive = self.alive.clone();
        // Nothing is ever sent.
        while alive.changed().await.is_ok() {}
    }

    /// Has its thread do this.
    #[cfg(test)]
    pub(crate) fn has_done(&self, this: impl FnOnce() + Send + 'static) {
        self.order(Order::Do(Box::new(this)));
    }

    fn order(&self, order: Order) {
        // A worker that is gone has been cut: what it is offered closes.
        let _cut = self.orders.send(order);
    }
}

/// A runtime that stays on the thread it is made on.
pub(crate) fn runtime_of_one_thread() -> impl FnOnce() -> io::Result<LocalRuntime> + Send {
    || Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

async fn run(
    context: proxy::Context,
    mut inbox: mpsc::UnboundedReceiver<Order>,
    open: Arc<AtomicUsize>,
    mut phase: watch::Receiver<Phase>,
    vital: Vital,
    pulse: Pulse,
) {
    let shared = Rc::new(ThreadShared::default());
    let context = Rc::new(context);
    start_upkeep(&shared, &context, &vital, pulse);
    loop {
        tokio::select! {
            order = inbox.recv() => match order {
                Some(Order::Serve(connection, own)) => {
                    let counted = Counted(Arc::clone(&open));
                    match connection.receive() {
                        Ok(accepted) => carry(accepted, own, &context, &shared, counted),
                        Err(error) => tracing::warn!(%error, "an accepted connection can't be watched"),
                    }
                }
                Some(Order::Accept { socket, own, gate, stop }) => {
                    let (context, shared, open) = (Rc::clone(&context), Rc::clone(&shared), Arc::clone(&open));
                    let here = Carriers::Here(Rc::clone(&shared));
                    vital.finite(accept::NAME, accept::run(socket, gate, stop, here, move |accepted| {
                        open.fetch_add(1, Ordering::Relaxed);
                        carry(accepted, own.clone(), &context, &shared, Counted(Arc::clone(&open)));
                    }));
                }
                // Whoever asked may be gone.
                Some(Order::LongestSilence(tell)) => drop(tell.send(shared.sweep.longest_silence())),
                Some(Order::DismissLongestSilent) => drop(shared.sweep.dismiss_longest_silent()),
                #[cfg(test)]
                Some(Order::Do(this)) => this(),
                None => return,
            },
            changed = phase.changed() => {
                let now = *phase.borrow_and_update();
                match now {
                    Phase::Serving if changed.is_ok() => {}
                    Phase::Closing if changed.is_ok() => shared.close(),
                    // The runtime is shut down then, with every connection: those in an exchange are reset. What is half
                    // there at a partner, as its app is gone, is removed before that.
                    _ => {
                        #[cfg(feature = "files")]
                        let _late = timeout(LAST_REMOVALS, upstream::nothing_left_over()).await;
                        return;
                    }
                }
            }
        }
    }
}

/// Less than a worker is waited for.
#[cfg(feature = "files")]
const LAST_REMOVALS: Duration = Duration::from_secs(4);

fn carry(
    accepted: Accepted,
    own: Option<ServiceName>,
    context: &Rc<proxy::Context>,
    shared: &Rc<ThreadShared>,
    counted: Counted,
) {
    let (context, shared) = (Rc::clone(context), Rc::clone(shared));
    passing(async move {
        let _held = (counted, accepted.place);
        connection::serve(accepted.stream, accepted.peer, own, context, shared).await;
    });
}

/// One connection less when it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The tasks that every worker has beside its connections.
fn start_upkeep(shared: &Rc<ThreadShared>, context: &Rc<proxy::Context>, vital: &Vital, pulse: Pulse) {
    let swept = Rc::clone(shared);
    vital.endless("a worker's sweep", async move { swept.sweep.run().await });
    let followed = Rc::clone(context);
    vital.endless("a worker's follower of the config", async move { followed.follow().await });
    vital.endless("a worker's upkeep", keep_up(Rc::clone(shared), Rc::clone(context), pulse));
}

/// Looks through the pools once a second, and shows that the worker turns.
async fn keep_up(shared: Rc<ThreadShared>, context: Rc<proxy::Context>, pulse: Pulse) -> Infallible {
    let mut interval = tokio::time::interval(BEAT);
    loop {
        interval.tick().await;
        pulse.beat();
        let closed = context.sweep(Moment::now());
        if shared.trims.is_due(closed) {
            heap::trim();
        }
    }
}

impl ThreadShared {
    /// The drain begins.
    pub(crate) fn close(&self) {
        self.drain.set(DrainPhase::Begun);
        self.sweep.wake_all();
    }
}
