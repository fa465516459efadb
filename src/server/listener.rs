//! Listening sockets: one per address, bound once, accepted from by one loop.
//!
//! Two sockets with `SO_REUSEPORT` would share the connections unevenly, and closing one resets those in its queue.

#![allow(clippy::disallowed_methods, reason = "files of unix sockets are what the background may wait for")]

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use socket2::{Domain, Protocol, SockAddr, SockRef, Type};

use super::socket_file::SocketFile;
use crate::blocking;
use crate::config::ListenAddress;

/// An open listening socket.
#[derive(Debug)]
pub(crate) enum ListeningSocket {
    Tcp(TcpListener),
    /// With the file to remove when it is closed; `None` if it was inherited.
    Unix(UnixListener, Option<SocketFile>),
}

/// An address that can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {}", reason(.address, .source))]
pub(crate) struct BindError {
    pub(crate) address: String,
    pub(crate) source: io::Error,
}

/// The sockets of an address: one, or the two of `localhost`. Those among `ours` that are it already are taken as they
/// are, and what is new is bound beside the others.
///
/// # Errors
/// When the address is in use, is not this machine's, or may not be used. What is open is as it was then.
pub(crate) fn bind(
    address: &ListenAddress,
    unix_mode: u32,
    ours: &[Arc<ListeningSocket>],
) -> Result<Vec<Arc<ListeningSocket>>, BindError> {
    let tcp = |address: SocketAddr| {
        let open = ours.iter().find(|socket| socket.tcp_address() == Some(address) && address.port() != 0);
        open.map_or_else(|| bind_tcp(address, ours).map(Arc::new), |socket| Ok(Arc::clone(socket)))
    };
    let bound = match address {
        ListenAddress::Localhost { port } => bind_localhost(*port, tcp),
        ListenAddress::Tcp(address) => tcp(*address).map(|socket| vec![socket]),
        ListenAddress::Unix(path) => match ours.iter().find(|socket| socket.is_at(path)) {
            Some(socket) => Ok(vec![Arc::clone(socket)]),
            None => bind_unix(path, unix_mode).map(|socket| vec![Arc::new(socket)]),
        },
    };
    bound.map_err(|source| BindError { address: address.to_string(), source })
}

impl ListeningSocket {
    /// Where it listens, as status and logs show it.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Tcp(socket) => socket.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string()),
            // It was bound beside its path.
            Self::Unix(_, Some(file)) => format!("unix:{}", file.path().display()),
            Self::Unix(socket, None) => {
                let address = socket.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                path.map_or_else(|| "unix:?".to_owned(), |path| format!("unix:{}", path.display()))
            }
        }
    }

    fn tcp(&self) -> Option<&TcpListener> {
        match self {
            Self::Tcp(socket) => Some(socket),
            Self::Unix(..) => None,
        }
    }

    fn tcp_address(&self) -> Option<SocketAddr> {
        self.tcp()?.local_addr().ok()
    }

    /// Whether one of the two takes connections that the other would take if it were alone.
    pub(crate) fn overlaps(&self, address: &ListenAddress) -> bool {
        match (self.tcp_address(), address) {
            (Some(own), address) => ListenAddress::Tcp(own).collides_with(address),
            (None, ListenAddress::Unix(path)) => self.is_at(path),
            (None, _) => false,
        }
    }

    /// Whether a socket at this address takes all that this one does, and more.
    pub(crate) fn is_covered_by(&self, address: &ListenAddress) -> bool {
        let ListenAddress::Tcp(wider) = address else { return false };
        wider.ip().is_unspecified() && self.overlaps(address) && self.tcp_address() != Some(*wider)
    }

    /// Whether it is the socket at this path, however that is written.
    fn is_at(&self, path: &Path) -> bool {
        let Self::Unix(_, Some(file)) = self else { return false };
        let own = file.path();
        if own == path {
            return true;
        }
        let _mark = blocking::mark(format!("looking for the socket `{}`", path.display()));
        fs::canonicalize(own).is_ok_and(|own| fs::canonicalize(path).is_ok_and(|path| own == path))
    }

    /// Whether others than this machine can connect.
    pub(crate) fn is_remote(&self) -> bool {
        match self {
            Self::Tcp(socket) => !socket.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback()),
            Self::Unix(..) => false,
        }
    }

    /// Sets who may connect to a unix socket that we made.
    pub(crate) fn set_mode(&self, mode: u32) {
        if let Self::Unix(_, Some(file)) = self {
            file.set_mode(mode);
        }
    }

    /// Takes the sockets that a service manager handed over (`LISTEN_FDS`), TCP or unix. What is not taken would be
    /// handed on to each command that is run.
    pub(crate) fn inherited() -> Vec<io::Result<Self>> {
        let mut handed = listenfd::ListenFd::from_env();
        (0..handed.len()).filter_map(|place| Self::take_inherited(&mut handed, place).transpose()).collect()
    }

    /// Those of `inherited` that can be used; says what is wrong with the others.
    pub(crate) fn usable(inherited: Vec<io::Result<Self>>) -> Vec<Self> {
        let said = |error: &io::Error| tracing::error!(%error, "a socket of LISTEN_FDS can't be used");
        inherited.into_iter().filter_map(|socket| socket.inspect_err(said).ok()).collect()
    }

    fn take_inherited(handed: &mut listenfd::ListenFd, place: usize) -> io::Result<Option<Self>> {
        let tcp = handed.take_tcp_listener(place).map(|socket| socket.map(Self::Tcp));
        let socket =
            tcp.or_else(|_| handed.take_unix_listener(place).map(|unix| unix.map(|unix| Self::Unix(unix, None))));
        socket.and_then(|socket| {
            socket.as_ref().map_or(Ok(()), Self::set_nonblocking)?;
            Ok(socket)
        })
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.set_nonblocking(true),
            Self::Unix(listener, _) => listener.set_nonblocking(true),
        }
    }
}

/// `127.0.0.1` and, where there is IPv6, `[::1]`, on one port.
fn bind_localhost(
    port: u16,
    bind: impl Fn(SocketAddr) -> io::Result<Arc<ListeningSocket>>,
) -> io::Result<Vec<Arc<ListeningSocket>>> {
    let mut tries = if port == 0 { PORTS_TRIED } else { 1 };
    loop {
        tries -= 1;
        let four = bind((Ipv4Addr::LOCALHOST, port).into())?;
        let Some(bound) = four.tcp_address() else { return Ok(vec![four]) };
        match bind((Ipv6Addr::LOCALHOST, bound.port()).into()) {
            Ok(six) => return Ok(vec![four, six]),
            Err(error) if has_no_ipv6(&error) => return Ok(vec![four]),
            // A port that the system chose for IPv4 may be taken on IPv6.
            Err(error) if error.kind() == ErrorKind::AddrInUse && tries > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

fn has_no_ipv6(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// Binds it beside those of `ours` that are wider or narrower: each connection goes to the narrowest of them.
///
/// So one takes another's place without a moment in which there is neither. The kernel has that where all of them say
/// `SO_REUSEPORT` as the new one is bound. They don't at any other time: a second process by mistake should hear that the address
/// is in use, and not get a share of the connections.
fn bind_tcp(address: SocketAddr, ours: &[Arc<ListeningSocket>]) -> io::Result<ListeningSocket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the last run to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    let beside = ours.iter().filter(|socket| socket.overlaps(&ListenAddress::Tcp(address)));
    let mut sharing = Sharing(beside.filter_map(|socket| socket.tcp()).map(SockRef::from).collect());
    if !sharing.0.is_empty() {
        sharing.0.push(SockRef::from(&socket));
        sharing.0.iter().try_for_each(|socket| socket.set_reuse_port(true))?;
    }
    socket.bind(&address.into())?;
    // Asks for the port once more.
    socket.listen(BACKLOG)?;
    drop(sharing);
    socket.set_nonblocking(true)?;
    Ok(ListeningSocket::Tcp(socket.into()))
}

/// Sockets that share a port with whoever asks, until this is dropped.
struct Sharing<'a>(Vec<SockRef<'a>>);

impl Drop for Sharing<'_> {
    fn drop(&mut self) {
        for socket in &self.0 {
            if let Err(error) = socket.set_reuse_port(false) {
                tracing::warn!(%error, "another process of this user may join a listening socket");
            }
        }
    }
}

/// Binds beside the path and renames: nobody sees the socket with wrong permissions, and a stale one is replaced.
fn bind_unix(path: &Path, mode: u32) -> io::Result<ListeningSocket> {
    let _mark = blocking::mark(format!("making the socket `{}`", path.display()));
    refuse_what_is_in_use(path)?;
    // Drawn, for in two containers that share a folder both processes are number 1.
    let beside = path.with_extension(format!("{:08x}.new", fastrand::u32(..)));
    let socket = bind_no_wider(&beside, mode)?;
    // What the umask took off is added now; it is listened on when it has the mode that it is to have.
    let placed = fs::set_permissions(&beside, fs::Permissions::from_mode(mode))
        .and_then(|()| socket.listen(BACKLOG))
        .and_then(|()| socket.set_nonblocking(true))
        .and_then(|()| fs::rename(&beside, path));
    if let Err(error) = placed {
        // The error that matters is the one in hand.
        let _left = fs::remove_file(&beside);
        return Err(error);
    }
    Ok(ListeningSocket::Unix(socket.into(), Some(SocketFile::made(path, mode)?)))
}

/// Binds a socket that nobody can connect to whom `mode` keeps out, not for a moment: on Linux the file gets what mode
/// the socket itself has, less the umask. (The umask is of the whole process: it is not for us to change it.)
fn bind_no_wider(path: &Path, mode: u32) -> io::Result<socket2::Socket> {
    // As a file, for that is what can have its mode changed.
    let file = File::from(OwnedFd::from(socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?));
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    let socket = socket2::Socket::from(OwnedFd::from(file));
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket)
}

fn refuse_what_is_in_use(path: &Path) -> io::Result<()> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file of this name that is no socket"));
    }
    let probe = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Whoever listens there may have no room in its queue, and would hold a connection that waits for as long as it likes.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => Ok(()),
        _ => Err(ErrorKind::AddrInUse.into()),
    }
}

fn reason(address: &str, error: &io::Error) -> String {
    let is_unix = address.starts_with("unix:");
    match error.kind() {
        ErrorKind::NotFound if is_unix => "its folder does not exist".to_owned(),
        ErrorKind::PermissionDenied if is_unix => {
            "permission denied; the user that runs Sidekey has to be able to write to its folder".to_owned()
        }
        ErrorKind::InvalidInput if is_unix => "its path is longer than a unix socket's may be (107 bytes)".to_owned(),
        ErrorKind::AddrInUse => "address in use; is another process listening there?".to_owned(),
        ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        ErrorKind::PermissionDenied => "permission denied; ports below 1024 need CAP_NET_BIND_SERVICE".to_owned(),
        _ => error.to_string(),
    }
}

/// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
pub(super) const BACKLOG: i32 = 4096;
const PORTS_TRIED: u32 = 16;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_address_in_use_is_said_to_be() {
        let first = bind(&ListenAddress::Localhost { port: 0 }, 0o600, &[]).expect("a free port");
        let ListeningSocket::Tcp(listener) = &*first[0] else { panic!("{first:?}") };
        let taken = ListenAddress::Tcp(listener.local_addr().expect("an address"));

        let error = bind(&taken, 0o600, &[]).expect_err("the port is taken");

        assert!(error.to_string().contains("address in use"), "{error}");
    }

    #[test]
    fn both_sockets_of_localhost_have_one_port() {
        let sockets = bind(&ListenAddress::Localhost { port: 0 }, 0o600, &[]).expect("a free port");

        let ports: Vec<_> =
            sockets.iter().map(|socket| socket.address().rsplit(':').next().map(str::to_owned)).collect();

        let has_both = std::net::UdpSocket::bind("[::1]:0").is_ok();
        assert_eq!(ports, vec![ports[0].clone(); 1 + usize::from(has_both)]);
    }

    #[test]
    fn a_wider_socket_is_bound_beside_a_narrower_one_of_ours_and_nobody_elses() {
        let any = ListenAddress::Tcp((Ipv4Addr::LOCALHOST, 0).into());
        let narrow = bind(&any, 0o600, &[]).expect("a free port");
        let address = narrow[0].tcp_address().expect("an address");
        let wide = ListenAddress::Tcp((Ipv4Addr::UNSPECIFIED, address.port()).into());
        assert!(bind(&wide, 0o600, &[]).is_err(), "not ours, for all that is known");

        let both = bind(&wide, 0o600, &narrow).expect("beside our own");

        assert!(narrow[0].is_covered_by(&wide) && !both[0].is_covered_by(&wide));
        for taken in [&wide, &ListenAddress::Tcp(address)] {
            let error = bind(taken, 0o600, &[]).expect_err("as before, for everybody else");
            assert!(error.to_string().contains("address in use"), "{error}");
        }
        let again = bind(&ListenAddress::Tcp(address), 0o600, &narrow).expect("it is ours");
        assert!(Arc::ptr_eq(&again[0], &narrow[0]));
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sidekey.sock");
        drop(UnixListener::bind(&path).expect("a socket that is left behind"));
        let address = ListenAddress::Unix(path.clone());

        let live = bind(&address, 0o600, &[]).expect("the stale one is replaced");

        let mode = fs::metadata(&path).expect("the socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let error = bind(&address, 0o600, &[]).expect_err("it is in use");
        assert!(error.to_string().contains("address in use"), "{error}");
        drop(live);
        assert!(!path.exists());
    }

    #[test]
    fn a_unix_socket_whose_queue_is_full_is_in_use_and_holds_nobody_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sidekey.sock");
        let unix = || socket2::Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        let address = SockAddr::unix(&path).expect("an address");
        let busy = unix();
        busy.bind(&address).expect("a free path");
        busy.listen(0).expect("a queue");
        let waiting = (0..64).map(|_| unix()).map(|client| {
            client.set_nonblocking(true).expect("a mode");
            client.connect(&address).map(|()| client)
        });
        let (queued, full): (Vec<_>, Vec<_>) = waiting.partition(Result::is_ok);
        assert!(!queued.is_empty() && !full.is_empty(), "the queue is full");

        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(bind(&ListenAddress::Unix(path), 0o600, &[])));
        let bound = told.recv_timeout(Duration::from_secs(10)).expect("an answer");

        assert!(bound.expect_err("it is in use").to_string().contains("address in use"));
    }

    #[test]
    fn a_unix_socket_has_its_mode_from_the_moment_in_which_it_has_a_name() {
        let folder = tempfile::tempdir().expect("a folder");

        for mode in [0o600, 0o000, 0o640] {
            let path = folder.path().join(format!("{mode:o}.sock"));
            let _socket = bind_no_wider(&path, mode).expect("a socket");

            let found = fs::metadata(&path).expect("the socket").permissions().mode() & 0o777;
            assert_eq!(found & !mode, 0, "{found:o} lets in whom {mode:o} keeps out");
        }
    }

    #[test]
    fn a_wide_mode_is_wide_whatever_the_umask_and_nothing_is_left_beside() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sidekey.sock");

        let _socket = bind(&ListenAddress::Unix(path.clone()), 0o666, &[]).expect("a socket");

        let mode = fs::metadata(&path).expect("the socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
        assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1);
        UnixStream::connect(&path).expect("it is listened on");
    }

    #[test]
    fn the_mode_of_a_socket_is_set_where_it_is_another_and_its_file_is_left_alone_otherwise() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sidekey.sock");
        let sockets = bind(&ListenAddress::Unix(path.clone()), 0o600, &[]).expect("a socket");
        let found = || fs::metadata(&path).expect("the socket").permissions().mode() & 0o777;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("a mode");

        sockets[0].set_mode(0o600);
        assert_eq!(found(), 0o640, "it was touched");

        sockets[0].set_mode(0o660);
        assert_eq!(found(), 0o660);
    }

    #[test]
    fn a_file_in_the_way_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notes.txt");
        fs::write(&path, "mine").expect("a file");

        let error = bind(&ListenAddress::Unix(path.clone()), 0o600, &[]).expect_err("it is no socket");

        assert!(error.to_string().contains("no socket"), "{error}");
        assert_eq!(fs::read_to_string(path).expect("still there"), "mine");
    }
}
