//! The open listening sockets: what a config wants is compared with what is open, and only the difference moves.
//!
//! Compared is where sockets are bound, and not how that was written or whom it was for: `127.0.0.1:9800` that becomes
//! `localhost:9800`, or the admin port's, is handed on as it is. One that becomes wider (`0.0.0.0:9800`) stays open beside the
//! wider one, which it takes connections from; one that becomes narrower is bound beside the old one before that is closed.
//! So there is no moment in which an address of both configs takes none.

use std::io;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::accept::Stop;
use super::lifecycle::{Draining, RightToChange};
use super::listener::{self, BindError, ListeningSocket};
use crate::admin::{Listening, Role};
use crate::config::{At, Config, ListenAddress};
use crate::name::ServiceName;

/// What has connections for a purpose from now on; `stop` ends it.
pub(crate) type Serve = Box<dyn Fn(&Purpose, Arc<ListeningSocket>, watch::Receiver<Stop>)>;

/// Every open listening socket of the process.
pub(crate) struct Sockets {
    open: Vec<Open>,
    /// Those that are not wanted any more, while their queues are emptied.
    closing: Vec<Weak<ListeningSocket>>,
    /// Sockets that the service manager handed over stand in for `listen`, whatever a reload says.
    inherited: Inherited,
    serve: Serve,
    /// What status shows.
    shown: Arc<ArcSwap<Vec<Listening>>>,
}

/// Whether traffic arrives on sockets of the service manager's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inherited {
    No,
    Yes,
}

/// Sockets whose queues are being emptied.
pub(crate) struct Closing(Vec<watch::Sender<Stop>>);

impl Closing {
    /// Resolves once all are closed.
    pub(crate) async fn closed(&self) {
        for stop in &self.0 {
            // Each accepting loop holds a receiver until it has ended.
            stop.closed().await;
        }
    }
}

struct Open {
    listener: RoleSocket,
    stop: watch::Sender<Stop>,
}

/// What a socket is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Purpose {
    pub(crate) role: Role,
    /// Of traffic: the service that has all of it; `None`: the routes decide.
    pub(crate) service: Option<ServiceName>,
}

impl Purpose {
    fn of_all(role: Role) -> Self {
        Self { role, service: None }
    }
}

/// A socket, and what it is for.
struct RoleSocket {
    purpose: Purpose,
    /// `None`: it was inherited.
    address: Option<ListenAddress>,
    socket: Arc<ListeningSocket>,
    /// The socket of `address` itself is a wider one, which would take its connections if this one were closed.
    is_covered: bool,
}

/// The sockets of a config, bound; those that are new are not yet served. Nothing has changed until it is carried out.
pub(crate) struct Plan {
    listeners: Vec<RoleSocket>,
    unix_mode: u32,
}

impl Sockets {
    /// No socket yet, but for those that were inherited.
    pub(crate) fn new(inherited: Vec<ListeningSocket>, serve: Serve, shown: Arc<ArcSwap<Vec<Listening>>>) -> Self {
        let stands_in = if inherited.is_empty() { Inherited::No } else { Inherited::Yes };
        let mut sockets = Self { open: Vec::new(), closing: Vec::new(), inherited: stands_in, serve, shown };
        for socket in inherited {
            let socket = Arc::new(socket);
            sockets.start(RoleSocket {
                purpose: Purpose::of_all(Role::Traffic),
                address: None,
                socket,
                is_covered: false,
            });
        }
        sockets
    }

    /// Binds what `config` wants and is not open.
    ///
    /// # Errors
    /// When an address can't be bound: all is as it was then.
    pub(crate) fn prepare(&self, config: &Config, _: &RightToChange) -> Result<Plan, BindError> {
        self.refuse_exposed(config)?;
        let unix_mode = config.access.unix_mode.value;
        let ours = self.ours();
        let mut listeners = Vec::new();
        for (purpose, address) in self.wanted(config) {
            self.refuse_inherited(&address)?;
            let found = match self.chosen_by_system(&purpose, &address) {
                found if found.is_empty() => listener::bind(&address, unix_mode, &ours)?,
                found => found,
            };
            let covered = ours.iter().filter(|socket| socket.is_covered_by(&address)).cloned();
            let all = found.into_iter().map(|socket| (socket, false)).chain(covered.map(|socket| (socket, true)));
            let of = |(socket, is_covered)| {
                let (purpose, address) = (purpose.clone(), Some(address.clone()));
                RoleSocket { purpose, address, socket, is_covered }
            };
            listeners.extend(all.map(of));
        }
        Ok(Plan { listeners, unix_mode })
    }

    /// Serves what is new or for somebody else now, and closes what is not wanted any more; the connections that came
    /// through it go on.
    pub(crate) fn carry_out(&mut self, plan: Plan, _: &RightToChange) {
        let (inherited, mut before): (Vec<_>, Vec<_>) =
            self.open.drain(..).partition(|open| open.listener.address.is_none());
        self.open = inherited;
        for listener in plan.listeners {
            let known = before.iter().position(|open| Arc::ptr_eq(&open.listener.socket, &listener.socket));
            match known.map(|place| before.swap_remove(place)) {
                Some(open) if open.listener.purpose == listener.purpose => self.open.push(Open { listener, ..open }),
                known => {
                    // What is in its queue goes to whom it is for now.
                    known.inspect(|open| open.stop(Stop::HandedOn));
                    self.start(listener);
                }
            }
        }
        for open in before {
            open.stop(Stop::Closing);
            self.closing.push(Arc::downgrade(&open.listener.socket));
        }
        self.closing.retain(|socket| socket.strong_count() > 0);
        self.open.iter().for_each(|open| open.listener.socket.set_mode(plan.unix_mode));
        self.show();
    }

    /// Stops every socket of `role`; they are closed once their queues are empty.
    pub(crate) fn take(&mut self, role: Role, _: &Draining) -> Closing {
        let (taken, kept): (Vec<_>, Vec<_>) = self.open.drain(..).partition(|open| open.listener.purpose.role == role);
        self.open = kept;
        taken.iter().for_each(|open| open.stop(Stop::Closing));
        self.show();
        // The accepting loops alone keep the sockets open now.
        Closing(taken.into_iter().map(|open| open.stop).collect())
    }

    /// Addresses of a role, as status shows them, but for those that services have for their own.
    pub(crate) fn addresses(&self, role: Role) -> Vec<String> {
        let purpose = Purpose::of_all(role);
        self.named().filter(|listener| listener.purpose == purpose).map(|listener| listener.socket.address()).collect()
    }

    /// The addresses that services have for their own.
    pub(crate) fn own_addresses(&self) -> Vec<(ServiceName, String)> {
        let own = |listener: &RoleSocket| Some((listener.purpose.service.clone()?, listener.socket.address()));
        self.named().filter_map(own).collect()
    }

    /// The sockets that a config may have: also one that a config before has let go of, and whose queue is not empty yet.
    fn ours(&self) -> Vec<Arc<ListeningSocket>> {
        let open = self.open.iter().filter(|open| open.listener.address.is_some());
        let open = open.map(|open| Arc::clone(&open.listener.socket));
        open.chain(self.closing.iter().filter_map(Weak::upgrade)).collect()
    }

    /// The sockets of an address without a port of its own: they have one that nobody could ask for again.
    fn chosen_by_system(&self, purpose: &Purpose, address: &ListenAddress) -> Vec<Arc<ListeningSocket>> {
        let is_it = |open: &&Open| open.listener.purpose == *purpose && open.listener.address.as_ref() == Some(address);
        let open = self.open.iter().filter(|_| address.port().is_none());
        open.filter(is_it).map(|open| Arc::clone(&open.listener.socket)).collect()
    }

    fn wanted(&self, config: &Config) -> Vec<(Purpose, ListenAddress)> {
        let addresses = |purpose: Purpose, written: &[At<ListenAddress>]| {
            written.iter().map(|address| (purpose.clone(), address.value.clone())).collect::<Vec<_>>()
        };
        let mut wanted = Vec::new();
        if self.inherited == Inherited::No {
            wanted.extend(addresses(Purpose::of_all(Role::Traffic), &config.listen));
        }
        for (name, service) in &config.services {
            let purpose = Purpose { role: Role::Traffic, service: Some(name.clone()) };
            wanted.extend(addresses(purpose, &service.value.listen));
        }
        if let Some(admin) = &config.admin {
            wanted.extend(addresses(Purpose::of_all(Role::Admin), &admin.listen));
            wanted.extend(addresses(Purpose::of_all(Role::Health), &admin.health));
        }
        wanted
    }

    /// A socket that was handed over is open to the network on the same terms as one of `listen`.
    fn refuse_exposed(&self, config: &Config) -> Result<(), BindError> {
        let exposed = self.inherited().find(|socket| socket.is_remote());
        match exposed {
            Some(socket) if !(config.access.allow_remote && config.access.token.is_some()) => {
                let reason = "not a loopback address: set `access.allow_remote: true` and `access.token`";
                Err(BindError { address: socket.address(), source: io::Error::other(reason) })
            }
            _ => Ok(()),
        }
    }

    /// Traffic arrives there, and nobody else has taken the address.
    fn refuse_inherited(&self, address: &ListenAddress) -> Result<(), BindError> {
        match self.inherited().find(|socket| socket.overlaps(address)) {
            Some(socket) => {
                let reason = format!("the service manager has handed over {}, for traffic", socket.address());
                Err(BindError { address: address.to_string(), source: io::Error::other(reason) })
            }
            None => Ok(()),
        }
    }

    fn inherited(&self) -> impl Iterator<Item = &Arc<ListeningSocket>> {
        let inherited = self.open.iter().filter(|open| open.listener.address.is_none());
        inherited.map(|open| &open.listener.socket)
    }

    fn start(&mut self, listener: RoleSocket) {
        let (stop, stopped) = watch::channel(Stop::No);
        (self.serve)(&listener.purpose, Arc::clone(&listener.socket), stopped);
        self.open.push(Open { listener, stop });
    }

    /// Those that somebody has written.
    fn named(&self) -> impl Iterator<Item = &RoleSocket> {
        self.open.iter().map(|open| &open.listener).filter(|listener| !listener.is_covered)
    }

    fn show(&self) {
        let listening = |listener: &RoleSocket| Listening {
            role: listener.purpose.role,
            service: listener.purpose.service.as_ref().map(ToString::to_string),
            address: listener.socket.address(),
        };
        self.shown.store(Arc::new(self.named().map(listening).collect()));
    }
}

impl Open {
    fn stop(&self, how: Stop) {
        self.stop.send_replace(how);
    }
}
