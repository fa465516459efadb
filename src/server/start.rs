//! From the config to ports that answer.

use std::cell::RefCell;
use std::io;
use std::panic::{self, PanicHookInfo};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;

use super::accept::ConnectionLimit;
use super::background::Background;
use super::descriptors::{self, Capacity};
use super::drain::{self, Signals};
use super::lifecycle::{Lifecycle, RightToChange};
use super::listener::ListeningSocket;
use super::pulse::Pulses;
use super::sockets::Sockets;
use super::unbound;
use super::vital::{Due, Vital};
use super::worker::{Phase, RunningWorker};
use super::{Error, Options, Started};
use crate::admin::{self, Readiness, Role};
use crate::blocking;
use crate::config::{self, Color, Config, ConfigSource, Overrides, Ready, Report};
use crate::credential::{Slot, Slots};
use crate::name::ServiceName;
use crate::proxy;
use crate::reload::watch::Watcher;
use crate::reload::{ChangeProcess, Changed, Loaded, Loader, Reloader, Reloads, Spawn, warn_of};
use crate::snapshot::{Published, Snapshot};
use crate::telemetry::log::{self, Flush, LogSettings};
use crate::telemetry::metrics::Metrics;

/// A config that was loaded and compiled, before anything is opened.
pub(super) struct Start {
    loader: Arc<Loader>,
    slots: Arc<Slots>,
    snapshot: Snapshot,
    watched: config::Watched,
    /// Of the same config, for what is found wrong with it when its addresses are bound.
    report: Report,
    inherited: Vec<io::Result<ListeningSocket>>,
    log: LogSettings,
    /// Writes what is left of the log when the server has ended.
    _flush: Flush,
}

impl Start {
    /// Loads, beside the background's thread; `None`: a signal asked for the end before that was through.
    pub(super) async fn load_unless_ended(options: Options, signals: &mut Signals) -> Result<Option<Self>, Error> {
        let runtime = Handle::current();
        let loading = spawn_blocking(move || Self::load(options, &runtime));
        tokio::select! {
            loaded = loading => loaded.unwrap_or_else(|error| panic::resume_unwind(error.into_panic())).map(Some),
            cause = signals.end_of_start() => {
                tracing::info!(cause, "ended before the start was through");
                Ok(None)
            }
        }
    }

    /// Loads and compiles the config, and starts the log as it says. Blocks; what it does not wait for goes on at `runtime`.
    fn load(options: Options, runtime: &Handle) -> Result<Self, Error> {
        let loader = Arc::new(Loader { source: options.source, overrides: options.overrides });
        let slots = Arc::new(Slots::default());
        // The config may name commands, which these are not for.
        let inherited = ListeningSocket::inherited();
        let Loaded { snapshot, report, watched } = loader.load(None, &slots);
        let Some(snapshot) = snapshot else { return Err(Error::Config(Box::new(report))) };
        let (log, flush) = log::start(log_settings(&snapshot.config));
        panic::set_hook(Box::new(tell_panic));
        tracing::info!(version = env!("CARGO_PKG_VERSION"), config = whole_path(&loader.source), "starting");
        warn_of(&report);
        snapshot.claim().map_err(|unclaimed| Error::State(unclaimed.to_string()))?.commit(runtime);
        Ok(Self { loader, slots, snapshot, watched, report: report.sequel(), inherited, log, _flush: flush })
    }

    /// What may still be on its way to the disk when all else has ended.
    pub(super) fn slots(&self) -> Arc<Slots> {
        Arc::clone(&self.slots)
    }

    /// Opens the ports, serves until a signal, and drains.
    pub(super) async fn run(self, signals: Signals, started: impl FnOnce(Started)) -> Result<(), Error> {
        harden();
        let descriptors = descriptors::raise();
        let (vital, mut deaths) = Vital::new();
        let config = Arc::clone(&self.snapshot.config);
        let published = Arc::new(Published::new(self.snapshot));
        let metrics = Arc::new(Metrics::default());
        let (reloads, queue) = Reloads::new();
        let readiness = Arc::new(Readiness::default());
        let liveness = Arc::default();
        let lifecycle = Rc::new(Lifecycle::new(Arc::clone(&readiness)));
        lifecycle.waits_for("the ports are being opened");
        let listening = Arc::new(ArcSwap::from_pointee(Vec::new()));
        let admin = Rc::new(admin::AdminContext {
            published: Arc::clone(&published),
            metrics: Arc::clone(&metrics),
            reloads: Arc::clone(&reloads),
            listeners: Arc::clone(&listening),
            readiness,
            liveness: Arc::clone(&liveness),
            started_at: SystemTime::now(),
            config_path: describe(&self.loader.source),
        });

        let (phase, _) = watch::channel(Phase::Serving);
        let capacity = capacity(&config, descriptors);
        let gate = Arc::new(ConnectionLimit::new(capacity.traffic));
        let workers: Rc<[RunningWorker]> = start_workers(&config, &published, &metrics, &phase, &vital)?.into();
        vital.endless("the look at the workers", Pulses::new(workers.iter().map(RunningWorker::pulse), liveness).run());
        let background = Background::new(Rc::clone(&workers), Arc::clone(&gate), admin, capacity.others, &vital);
        let mut sockets = Sockets::new(ListeningSocket::usable(self.inherited), background.serve(), listening);
        let (overrides, mut report) = (self.loader.overrides.clone(), self.report);
        let open = |right: &RightToChange| {
            let plan = sockets.prepare(&config, right).map_err(|unbound| {
                unbound::tell(&unbound, &config, &overrides, &mut report);
                Error::Listen(Box::new(std::mem::take(&mut report)))
            })?;
            sockets.carry_out(plan, right);
            Ok::<_, Error>(())
        };
        // Invariant: nobody has asked it to end before it listens.
        #[allow(clippy::expect_used)]
        lifecycle.change(open).expect("a process that starts")?;
        let sockets = Rc::new(RefCell::new(sockets));

        let reloader = Reloader {
            loader: self.loader,
            published: Arc::clone(&published),
            slots: Arc::clone(&self.slots),
            metrics,
            reloads: Arc::clone(&reloads),
            queue,
            watcher: Watcher::new(self.watched),
            spawn: starter(&vital),
            change: change(&lifecycle, &sockets, &gate, descriptors, self.log, overrides),
        };
        vital.endless("the log of what hangs", blocking::tell_of_hangs());
        vital.endless("the reloader of the config", reloader.run());
        let stop = Arc::new(Notify::new());
        let addresses = |role| sockets.borrow().addresses(role);
        let up = Started { traffic: addresses(Role::Traffic), admin: addresses(Role::Admin), stop: Arc::clone(&stop) };
        tell_addresses(&up, &sockets.borrow().own_addresses(), &addresses(Role::Health));
        let become_ready = become_ready(Arc::clone(&published), Rc::clone(&lifecycle));
        vital.finite("the wait for the first tokens", async { Ok(become_ready.await) });
        started(up);

        let (slots, life) = (self.slots, Rc::clone(&lifecycle));
        let last = Arc::clone(&slots);
        let drain =
            drain::Drain { stop, reloads, published, slots, lifecycle, sockets, background, gate, phase, workers };
        // At every stage of its life: half a process drains no better than it serves.
        let mut draining = pin!(drain.run(signals));
        let ended = tokio::select! {
            death = deaths.first() => Err(Error::Died(death.to_string())),
            ended = &mut draining => ended,
        };
        if let Err(Error::Died(_)) = ended {
            // As after a second signal: whatever has died, a refresh token that has come must not be lost with it.
            drain::hear_out(&last).await;
        }
        drop(tokio::time::timeout(LAST_WORDS, life.told()).await);
        ended
    }
}

/// Starts what the reloader needs: each ends when nobody needs it any more.
fn starter(vital: &Vital) -> Spawn {
    let vital = vital.clone();
    Box::new(move |name, task| {
        vital.finite(name, async {
            task.await;
            Ok(Due)
        });
    })
}

fn start_workers(
    config: &Config,
    published: &Arc<Published>,
    metrics: &Arc<Metrics>,
    phase: &watch::Sender<Phase>,
    vital: &Vital,
) -> Result<Vec<RunningWorker>, Error> {
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let count = config.workers.unwrap_or_else(cores);
    let instance: Arc<str> = format!("{:08x}", fastrand::u32(..)).into();
    let start = |number| {
        let (published, metrics, instance) = (Arc::clone(published), Arc::clone(metrics), Arc::clone(&instance));
        let context = move || proxy::Context::new(published, metrics, number, count, &instance);
        RunningWorker::start(number, phase.subscribe(), vital, context).map_err(Error::from)
    };
    (0..count).map(start).collect()
}

/// What a reload changes: beside the snapshot the sockets, the number of connections, the log.
fn change(
    lifecycle: &Rc<Lifecycle>,
    sockets: &Rc<RefCell<Sockets>>,
    gate: &Arc<ConnectionLimit>,
    descriptors: u64,
    log: LogSettings,
    overrides: Overrides,
) -> ChangeProcess {
    let (lifecycle, sockets, gate) = (Rc::clone(lifecycle), Rc::clone(sockets), Arc::clone(gate));
    Rc::new(move |change, publish| {
        let changed = lifecycle.change(|right| {
            let Changed::Config(config, report) = change else {
                publish(right);
                return Ok(());
            };
            // The one step that may fail, and so the first.
            let plan = sockets.borrow().prepare(config, right).map_err(|unbound| {
                let mut report = report.sequel();
                unbound::tell(&unbound, config, &overrides, &mut report);
                report.render(Color::Plain)
            })?;
            publish(right);
            sockets.borrow_mut().carry_out(plan, right);
            gate.resize(capacity(config, descriptors).traffic);
            log.change(log_settings(config));
            Ok(())
        });
        changed.unwrap_or_else(|ending| Err(format!("error: {ending}")))
    })
}

/// Ready once each service that is `ready: required` has held its first token; losing it later changes nothing.
async fn become_ready(published: Arc<Published>, lifecycle: Rc<Lifecycle>) -> Due {
    let required = |snapshot: &Snapshot| -> Vec<(String, Arc<Slot>)> {
        let services = snapshot.services.iter().filter(|service| service.ready == Ready::Required);
        let slots =
            services.flat_map(|service| service.slots().map(|slot| (service.name.to_string(), Arc::clone(slot))));
        slots.filter(|(_, slot)| !slot.is_live()).collect()
    };
    loop {
        // Anew each time: a reload may have mended, or removed, the service that is waited for.
        let mut changed = pin!(published.changed());
        changed.as_mut().enable();
        if let Some(reason) = unavailable(&published.current().load()) {
            lifecycle.waits_for(reason);
            changed.as_mut().await;
            continue;
        }
        let waiting = required(&published.current().load());
        let Some((name, slot)) = waiting.first() else { break };
        lifecycle.waits_for(format!("the service `{name}` is `ready: required` and has no token yet"));
        tokio::select! {
            () = slot.first_attempt() => tokio::time::sleep(LOOK_AGAIN).await,
            // The one from before the look: a publication since then is not missed.
            () = changed.as_mut() => {}
        }
    }
    if !lifecycle.ready() {
        return Due;
    }
    tracing::info!("ready");
    Due
}

/// Why a service that is `ready: required` can't even ask for its first token.
fn unavailable(snapshot: &Snapshot) -> Option<String> {
    let mut required = snapshot.services.iter().filter(|service| service.ready == Ready::Required);
    required.find_map(|service| {
        let reason = service.identities.all().iter().find_map(|identity| identity.credential.unavailable())?;
        Some(format!("the service `{}` is `ready: required` and has no credential yet: {reason}", service.name))
    })
}

/// Secrets are in memory: no core dump, and no other process of this user may look.
fn harden() {
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!(%error, "the memory of this process can't be protected from other processes of this user");
    }
}

/// How many connections there may be; says so where it is fewer than the config wants.
fn capacity(config: &Config, descriptors: u64) -> Capacity {
    let wanted = config.limits.connections;
    let capacity = Capacity::fit(wanted, descriptors);
    if capacity.traffic < wanted {
        tracing::warn!(
            descriptors,
            "`limits.connections: {wanted}` is more than the open files of this process allow (`ulimit -n`, \
             `LimitNOFILE=`): {} at a time are served",
            capacity.traffic
        );
    }
    capacity
}

fn tell_addresses(up: &Started, own: &[(ServiceName, String)], health: &[String]) {
    for address in up.traffic() {
        tracing::info!(%address, "listening");
    }
    for (service, address) in own {
        tracing::info!(%address, %service, "listening for one service");
    }
    for address in up.admin() {
        tracing::info!(%address, "admin port listening");
    }
    for address in health {
        tracing::info!(%address, "health port listening");
    }
}

/// Logs a panic, which costs one request or connection, like everything else that happens.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    let message = own_words(panic.payload_as_str().unwrap_or("no message"));
    tracing::error!(place, "panic: {message}");
}

/// The standard library quotes the text that was cut in the wrong place, and that may be a request's.
fn own_words(message: &str) -> &str {
    message.split_once(" of `").map_or(message, |(own, _)| own)
}

fn log_settings(config: &Config) -> log::Settings {
    let level = match config.log.level {
        config::LogLevel::Error => tracing::Level::ERROR,
        config::LogLevel::Warn => tracing::Level::WARN,
        config::LogLevel::Info => tracing::Level::INFO,
        config::LogLevel::Debug => tracing::Level::DEBUG,
        config::LogLevel::Trace => tracing::Level::TRACE,
    };
    let format = config.log.format.map(|format| match format {
        config::LogFormat::Text => log::LineFormat::Text,
        config::LogFormat::Json => log::LineFormat::Json,
    });
    log::Settings { level, format }
}

fn describe(source: &ConfigSource) -> String {
    match source {
        ConfigSource::Path(path) | ConfigSource::Found(path) => path.display().to_string(),
        ConfigSource::StandardInput => "-".to_owned(),
        ConfigSource::Text(_) => "text".to_owned(),
    }
}

/// Where the config is, wherever the process was started.
fn whole_path(source: &ConfigSource) -> String {
    match source {
        ConfigSource::Path(path) | ConfigSource::Found(path) => {
            std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string()
        }
        ConfigSource::StandardInput | ConfigSource::Text(_) => describe(source),
    }
}

/// A service manager that does not listen must not hold up the end.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// After a failed attempt the next is some time away.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panics_message_is_told_without_the_text_that_it_quotes() {
        let quoted = panic::catch_unwind(|| "h\u{fc}nter2"[..2].len()).unwrap_err();
        let message = quoted.downcast_ref::<String>().expect("a formatted message");

        assert!(message.contains("nter2"), "{message}");
        assert!(!own_words(message).contains("nter2"), "{}", own_words(message));
        assert_eq!(own_words("a fault of ours"), "a fault of ours");
    }
}
