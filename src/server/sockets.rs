//! The open listening sockets: what a config wants is compared with what is open, and only the difference moves.

use std::io;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::listener::{self, Socket, Unbound};
use crate::admin::{Listening, Role};
use crate::config::{At, Config, ListenAddress};

/// What has connections of a role from now on; `stop` ends it.
pub(crate) type Serve = Box<dyn Fn(Role, Arc<Socket>, watch::Receiver<bool>)>;

/// Every open listening socket of the process.
pub(crate) struct Sockets {
    open: Vec<Open>,
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
pub(crate) struct Closing(Vec<watch::Sender<bool>>);

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
    role: Role,
    /// `None`: it was inherited.
    address: Option<ListenAddress>,
    sockets: Vec<Arc<Socket>>,
    stop: watch::Sender<bool>,
}

/// New sockets, bound and not yet served: nothing has changed until it is carried out.
pub(crate) struct Plan {
    wanted: Vec<(Role, ListenAddress)>,
    bound: Vec<Open>,
    unix_mode: u32,
}

impl Sockets {
    /// No socket yet, but for those that were inherited.
    pub(crate) fn new(inherited: Vec<Socket>, serve: Serve, shown: Arc<ArcSwap<Vec<Listening>>>) -> Self {
        let stands_in = if inherited.is_empty() { Inherited::No } else { Inherited::Yes };
        let mut sockets = Self { open: Vec::new(), inherited: stands_in, serve, shown };
        for socket in inherited {
            let (stop, _) = watch::channel(false);
            sockets.start(Open { role: Role::Traffic, address: None, sockets: vec![Arc::new(socket)], stop });
        }
        sockets
    }

    /// Binds what `config` wants and is not open.
    ///
    /// # Errors
    /// When an address can't be bound: all is as it was then.
    pub(crate) fn prepare(&self, config: &Config) -> Result<Plan, Unbound> {
        let unix_mode = config.access.unix_mode.value;
        let wanted = self.wanted(config);
        self.refuse_exposed(config)?;
        let mut bound = Vec::new();
        for (role, address) in &wanted {
            if !self.open.iter().any(|open| open.is(*role, address)) {
                let sockets = listener::bind(address, unix_mode)?.into_iter().map(Arc::new).collect();
                let (stop, _) = watch::channel(false);
                bound.push(Open { role: *role, address: Some(address.clone()), sockets, stop });
            }
        }
        Ok(Plan { wanted, bound, unix_mode })
    }

    /// Serves what is new, and closes what is not wanted any more; the connections that came through it go on.
    pub(crate) fn carry_out(&mut self, plan: Plan) {
        self.open.retain(|open| {
            let kept = open.address.is_none() || plan.wanted.iter().any(|(role, address)| open.is(*role, address));
            if !kept {
                open.stop();
            }
            kept
        });
        for open in &self.open {
            open.sockets.iter().for_each(|socket| socket.set_mode(plan.unix_mode));
        }
        plan.bound.into_iter().for_each(|open| self.start(open));
        self.show();
    }

    /// Stops every socket of `role`; they are closed once their queues are empty.
    pub(crate) fn take(&mut self, role: Role) -> Closing {
        let (taken, kept): (Vec<_>, Vec<_>) = self.open.drain(..).partition(|open| open.role == role);
        self.open = kept;
        taken.iter().for_each(Open::stop);
        self.show();
        // The accepting loops alone keep the sockets open now.
        Closing(taken.into_iter().map(|open| open.stop).collect())
    }

    /// Addresses of a role, as status shows them.
    pub(crate) fn addresses(&self, role: Role) -> Vec<String> {
        let of_role = self.open.iter().filter(|open| open.role == role);
        of_role.flat_map(|open| open.sockets.iter().map(|socket| socket.address())).collect()
    }

    fn wanted(&self, config: &Config) -> Vec<(Role, ListenAddress)> {
        let addresses = |role, written: &[At<ListenAddress>]| {
            written.iter().map(|address| (role, address.value.clone())).collect::<Vec<_>>()
        };
        let mut wanted = Vec::new();
        if self.inherited == Inherited::No {
            wanted.extend(addresses(Role::Traffic, &config.listen));
        }
        if let Some(admin) = &config.admin {
            wanted.extend(addresses(Role::Admin, &admin.listen));
            wanted.extend(addresses(Role::Health, &admin.health));
        }
        wanted
    }

    /// A socket that was handed over is open to the network on the same terms as one of `listen`.
    fn refuse_exposed(&self, config: &Config) -> Result<(), Unbound> {
        let inherited = self.open.iter().filter(|open| open.address.is_none());
        let exposed = inherited.flat_map(|open| &open.sockets).find(|socket| socket.is_remote());
        match exposed {
            Some(socket) if !(config.access.allow_remote && config.access.token.is_some()) => {
                let reason = "not a loopback address: set `access.allow_remote: true` and `access.token`";
                Err(Unbound { address: socket.address(), source: io::Error::other(reason) })
            }
            _ => Ok(()),
        }
    }

    fn start(&mut self, open: Open) {
        for socket in &open.sockets {
            (self.serve)(open.role, Arc::clone(socket), open.stop.subscribe());
        }
        self.open.push(open);
    }

    fn show(&self) {
        let listening = |open: &Open| {
            let role = open.role;
            open.sockets.iter().map(move |socket| Listening { role, address: socket.address() }).collect::<Vec<_>>()
        };
        self.shown.store(Arc::new(self.open.iter().flat_map(listening).collect()));
    }
}

impl Open {
    fn is(&self, role: Role, address: &ListenAddress) -> bool {
        self.role == role && self.address.as_ref() == Some(address)
    }

    fn stop(&self) {
        self.stop.send_replace(true);
    }
}
