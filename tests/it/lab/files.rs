//! File servers that others wrote (`tests/files`), each alone with a folder of its own.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::part::Part;
use super::{Lab, bed, free_port, relay};

/// How one of them is started, and what is spoken to it.
pub struct Kind {
    /// As docs/files.md calls it.
    pub name: &'static str,
    /// As `tests/files/servers.py` calls it.
    pub script: &'static str,
    pub protocol: Protocol,
}

/// What is spoken to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Sftp,
    /// TLS once the client asks for it (`AUTH TLS`).
    Ftp,
    /// TLS from the beginning.
    Ftps,
    FtpWithoutTls,
}

/// A running one; ends when it is dropped.
pub struct FileServer {
    part: Part,
    pub kind: &'static Kind,
    pub port: u16,
    /// What it serves, on disk.
    pub root: PathBuf,
}

impl FileServer {
    pub async fn start(lab: &Lab, kind: &'static Kind) -> Self {
        Self::start_at(lab, kind, free_port(), None).await
    }

    /// As [`FileServer::start`], behind a way that can be cut.
    pub async fn start_behind_relay(lab: &Lab, kind: &'static Kind) -> (Self, relay::Relay) {
        let ports = free_ports(RELAYED);
        let data = ports.start() + 1..=*ports.end();
        let server = Self::start_at(lab, kind, *ports.start(), Some(data)).await;
        (server, relay::Relay::start(ports).await)
    }

    /// With `data`, an FTP server offers no other ports for data.
    async fn start_at(lab: &Lab, kind: &'static Kind, port: u16, data: Option<RangeInclusive<u16>>) -> Self {
        // vsftpd shows no key but RSA's in TLS 1.2.
        lab.write_pair("files", &lab.ca.server_with_rsa(&["localhost", "127.0.0.1", relay::HOST]));
        let mut arguments = vec![lab.folder().display().to_string(), kind.script.to_owned(), port.to_string()];
        arguments.extend(data.into_iter().flat_map(|ports| [ports.start().to_string(), ports.end().to_string()]));
        let part = Part::start(bed::python(), "tests/files/servers.py", &arguments).await;
        Self { root: part.text("root").into(), part, kind, port }
    }

    /// The url of its root, which ends without a slash.
    pub fn url(&self) -> String {
        let scheme = match self.kind.protocol {
            Protocol::Sftp => "sftp",
            Protocol::Ftp | Protocol::FtpWithoutTls => "ftp",
            Protocol::Ftps => "ftps",
        };
        format!("{scheme}://localhost:{}{}", self.port, self.part.text("base"))
    }

    /// The same by way of the relay.
    pub fn relayed_url(&self) -> String {
        self.url().replacen("localhost", relay::HOST, 1)
    }

    pub fn username(&self) -> String {
        self.part.text("username")
    }

    /// Empty where it wants the key.
    pub fn password(&self) -> String {
        self.part.text("password")
    }

    /// The private key that an SFTP server lets in.
    pub fn key(&self, lab: &Lab) -> PathBuf {
        lab.path(self.kind.script).join("acme")
    }

    /// Of the host key, as OpenSSH writes it; empty where there is none.
    pub fn fingerprint(&self) -> String {
        self.part.text("host_key")
    }

    pub fn version(&self) -> String {
        self.part.text("version")
    }

    /// What a config says beside `url`, so that a service goes there with the password, or with the key where there is none.
    pub fn login(&self) -> String {
        let (username, password) = (self.username(), self.password());
        let secret = match password.as_str() {
            "" => format!("private_key: {}/acme", self.kind.script),
            password => format!("password: {password}"),
        };
        match self.kind.protocol {
            Protocol::Sftp => {
                format!("auth: {{ type: sftp, username: {username}, {secret}, host_key: '{}' }}", self.fingerprint())
            }
            Protocol::FtpWithoutTls => format!("auth: {{ type: ftp, username: {username}, {secret}, tls: off }}"),
            Protocol::Ftp | Protocol::Ftps => {
                format!("auth: {{ type: ftp, username: {username}, {secret} }}, tls: {{ ca: tls/ca.pem }}")
            }
        }
    }

    /// Ends it and all that it has started for its clients at once, as a power cut would.
    pub fn kill(&self) {
        let first: i32 = self.part.text("pid").parse().unwrap();
        // Stopped, it starts nothing more while the list is made.
        signal(first, Signal::SIGSTOP);
        for process in with_descendants(first) {
            signal(process, Signal::SIGKILL);
        }
    }
}

/// As [`free_port`], so many in a row.
fn free_ports(number: u16) -> RangeInclusive<u16> {
    loop {
        let first = free_port();
        if (1..number).all(|next| free_port() == first + next) {
            return first..=first + number - 1;
        }
    }
}

/// One for control, the others for data: one transfer goes on at a time, and a server may be slow to let go of a port.
const RELAYED: u16 = 9;

fn signal(process: i32, signal: Signal) {
    // One that has ended by itself is none to end.
    let _gone = kill(Pid::from_raw(process), signal);
}

fn with_descendants(first: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| relation(&entry.path())).collect();
    let mut family = vec![first];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(process, _)| *process));
        next += 1;
    }
    family
}

/// A process and its parent (proc_pid_stat(5)); its name, in parentheses, may have spaces.
fn relation(entry: &Path) -> Option<(i32, i32)> {
    let process = entry.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(entry.join("stat")).ok()?;
    let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
    Some((process, parent))
}
