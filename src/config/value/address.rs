//! Where to listen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use schemars::{Schema, SchemaGenerator};

use super::At;
use crate::config::diagnostic::Reported;
use crate::config::node::Node;
use crate::config::read::{FromNode, FromText, SectionReader, Wrong};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenAddress {
    /// `localhost:9800`: 127.0.0.1 and, where there is IPv6, `[::1]`.
    Localhost {
        /// 0 lets the system choose.
        port: u16,
    },
    /// `host:port` of an IP address.
    Tcp(SocketAddr),
    /// `unix:/path`.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Whether only processes of this machine get there.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Localhost { .. } | Self::Unix(_) => true,
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
        }
    }

    /// The port, unless the system chooses one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.sockets().first().map(SocketAddr::port).filter(|port| *port != 0)
    }

    /// Whether both can't be bound at once.
    #[must_use]
    pub fn collides_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unix(one), Self::Unix(other)) => one == other,
            _ => self.sockets().iter().any(|one| other.sockets().iter().any(|other| collide(one, other))),
        }
    }

    fn sockets(&self) -> Vec<SocketAddr> {
        match self {
            Self::Localhost { port } => {
                vec![(Ipv4Addr::LOCALHOST, *port).into(), (Ipv6Addr::LOCALHOST, *port).into()]
            }
            Self::Tcp(address) => vec![*address],
            Self::Unix(_) => Vec::new(),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::from_text(text).map_err(Wrong::in_one_line)
    }
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Localhost { port } => write!(formatter, "localhost:{port}"),
            Self::Tcp(address) => write!(formatter, "{address}"),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

impl FromText for ListenAddress {
    const WHAT: &'static str = "an address to listen on";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path);
        }
        let wrong = || {
            Wrong::new("this is no address to listen on")
                .help("write `localhost:9800`, `127.0.0.1:9800` or `unix:/path`")
        };
        if let Ok(port) = text.trim_start_matches(':').parse::<u16>() {
            return Err(Wrong::new("the host is missing").help(format!("write `localhost:{port}`")));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        if !host.is_empty()
            && !host.contains(':')
            && host.parse::<IpAddr>().is_err()
            && !host.eq_ignore_ascii_case("localhost")
        {
            return Err(Wrong::new("only `localhost` and IP addresses can be listened on")
                .help("write `localhost:9800`, `127.0.0.1:9800` or `unix:/path`"));
        }
        if host.eq_ignore_ascii_case("localhost") {
            return Ok(Self::Localhost { port: port.parse().map_err(|_| wrong())? });
        }
        text.parse().map(Self::Tcp).map_err(|_| wrong())
    }

    fn placeholder() -> Self {
        Self::Localhost { port: 0 }
    }
}

/// The addresses of one service: as elsewhere, or a port alone.
pub(in crate::config) struct OwnListen(Vec<At<OwnAddress>>);

/// An address of a service's own.
struct OwnAddress(ListenAddress);

impl FromText for OwnAddress {
    const WHAT: &'static str = "an address to listen on";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        match text.parse() {
            Ok(port) if is_number => Ok(Self(ListenAddress::Localhost { port })),
            _ if is_number => Err(Wrong::new("a port is a number from 0 to 65535")),
            _ => ListenAddress::from_text(text).map(Self),
        }
    }

    fn placeholder() -> Self {
        Self(ListenAddress::placeholder())
    }
}

impl FromNode for OwnListen {
    fn from_node(node: &Node, reader: &mut SectionReader<'_>) -> Result<Self, Reported> {
        FromNode::from_node(node, reader).map(Self)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<At<OwnAddress>>::schema(generator)
    }
}

impl From<OwnListen> for Vec<At<ListenAddress>> {
    fn from(listen: OwnListen) -> Self {
        listen.0.into_iter().map(|address| At { value: address.value.0, span: address.span }).collect()
    }
}

fn unix(path: &str) -> Result<ListenAddress, Wrong> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(Wrong::new("a unix socket needs an absolute path").help("write `unix:/run/sidekey.sock`"));
    }
    if path.len() > LONGEST_SOCKET_PATH {
        return Err(Wrong::new(format!("the path of a unix socket has at most {LONGEST_SOCKET_PATH} bytes")));
    }
    Ok(ListenAddress::Unix(path.into()))
}

/// The same port, and the same address or one that stands for all of its family. The system chooses for port 0.
fn collide(one: &SocketAddr, other: &SocketAddr) -> bool {
    let family = one.is_ipv4() == other.is_ipv4();
    let address = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && family && address
}

/// `sockaddr_un` has 108 bytes, the last of them 0.
const LONGEST_SOCKET_PATH: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let read = ListenAddress::from_text(text).map(|address| address.to_string()).map_err(|wrong| wrong.message);
        assert_eq!(read, expected.map(str::to_owned).map_err(str::to_owned), "{text:?}");
    }

    #[test]
    fn an_address_is_localhost_an_ip_address_or_a_unix_socket() {
        check("localhost:9800", Ok("localhost:9800"));
        check("LOCALHOST:0", Ok("localhost:0"));
        check("0.0.0.0:80", Ok("0.0.0.0:80"));
        check("[::1]:9800", Ok("[::1]:9800"));
        check("unix:/run/a.sock", Ok("unix:/run/a.sock"));
        check("unix:run/a.sock", Err("a unix socket needs an absolute path"));
        check(":9800", Err("the host is missing"));
        check("9800", Err("the host is missing"));
        check("localhost", Err("this is no address to listen on"));
        check("localhost:99999", Err("this is no address to listen on"));
        check("::1:9800", Err("this is no address to listen on"));
        check("example.com:80", Err("only `localhost` and IP addresses can be listened on"));
    }

    #[test]
    fn of_a_service_a_port_alone_is_one_of_localhost() {
        let read = |text: &str| OwnAddress::from_text(text).map(|own| own.0.to_string()).map_err(|wrong| wrong.message);

        assert_eq!(read("9810"), Ok("localhost:9810".to_owned()));
        assert_eq!(read("127.0.0.1:9810"), Ok("127.0.0.1:9810".to_owned()));
        assert_eq!(read("unix:/run/a.sock"), Ok("unix:/run/a.sock".to_owned()));
        assert_eq!(read("98100"), Err("a port is a number from 0 to 65535".to_owned()));
        assert_eq!(read(":9810"), Err("the host is missing".to_owned()));
        assert_eq!(read("+9810"), Err("the host is missing".to_owned()));
    }

    #[track_caller]
    fn check_collision(one: &str, other: &str, expected: bool) {
        let (one, other) = (ListenAddress::from_text(one).unwrap(), ListenAddress::from_text(other).unwrap());
        assert_eq!(one.collides_with(&other), expected, "{one} {other}");
        assert_eq!(other.collides_with(&one), expected, "{other} {one}");
    }

    #[test]
    fn addresses_collide_where_one_socket_would_take_the_others_place() {
        check_collision("localhost:1", "127.0.0.1:1", true);
        check_collision("localhost:1", "[::1]:1", true);
        check_collision("0.0.0.0:1", "127.0.0.1:1", true);
        check_collision("0.0.0.0:1", "[::1]:1", false);
        check_collision("localhost:0", "localhost:0", false);
        check_collision("localhost:1", "localhost:2", false);
        check_collision("unix:/a", "unix:/a", true);
        check_collision("unix:/a", "unix:/b", false);
    }
}
