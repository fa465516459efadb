//! The servers themselves, asked by the clients that everybody has: what the other tests stand on stands.

use std::fs;
use std::process::Command;

use crate::lab::files::{FileServer, Kind, Protocol};
use crate::lab::{Lab, program, until};

/// Those that `./test` installs.
pub static SERVERS: [Kind; 9] = [
    Kind { name: "OpenSSH", script: "openssh", protocol: Protocol::Sftp },
    Kind { name: "AsyncSSH", script: "asyncssh", protocol: Protocol::Sftp },
    Kind { name: "ProFTPD's mod_sftp", script: "proftpd-sftp", protocol: Protocol::Sftp },
    Kind { name: "ProFTPD", script: "proftpd", protocol: Protocol::Ftp },
    Kind { name: "ProFTPD, implicit TLS", script: "proftpd-implicit", protocol: Protocol::Ftps },
    Kind { name: "ProFTPD, no TLS", script: "proftpd-plain", protocol: Protocol::FtpWithoutTls },
    Kind { name: "vsftpd", script: "vsftpd", protocol: Protocol::Ftp },
    Kind { name: "vsftpd, implicit TLS", script: "vsftpd-implicit", protocol: Protocol::Ftps },
    Kind { name: "vsftpd, no TLS", script: "vsftpd-plain", protocol: Protocol::FtpWithoutTls },
];

/// Those that `./test field` installs beside them.
pub static FIELD: [Kind; 6] = [
    Kind { name: "Paramiko", script: "paramiko", protocol: Protocol::Sftp },
    Kind { name: "dropbear", script: "dropbear", protocol: Protocol::Sftp },
    Kind { name: "Pure-FTPd", script: "pureftpd", protocol: Protocol::Ftp },
    Kind { name: "Pure-FTPd, no TLS", script: "pureftpd-plain", protocol: Protocol::FtpWithoutTls },
    Kind { name: "pyftpdlib", script: "pyftpdlib", protocol: Protocol::Ftp },
    Kind { name: "pyftpdlib, no TLS", script: "pyftpdlib-plain", protocol: Protocol::FtpWithoutTls },
];

/// One of all of them.
#[track_caller]
pub fn server(name: &str) -> &'static Kind {
    SERVERS.iter().chain(&FIELD).find(|kind| kind.name == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_server_of_the_lab_serves_its_folder_until_it_is_killed() {
    check_all(&SERVERS).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "these servers are installed by ./test field"]
async fn every_file_server_of_the_field_serves_its_folder_until_it_is_killed() {
    check_all(&FIELD).await;
}

async fn check_all(kinds: &'static [Kind]) {
    let lab = Lab::start().await;
    for kind in kinds {
        check(&lab, kind).await;
    }
}

async fn check(lab: &Lab, kind: &'static Kind) {
    let server = FileServer::start(lab, kind).await;
    assert!(server.version().contains('.'), "{}: {:?}", kind.name, server.version());
    fs::write(server.root.join("statement.csv"), "1;2\n").unwrap();

    let listed = list(lab, &server);

    assert!(listed.contains("statement.csv"), "{}: {listed}", kind.name);
    server.kill();
    let what = format!("the end of {}", kind.name);
    until(&what, async || tokio::net::TcpStream::connect(("127.0.0.1", server.port)).await.err()).await;
}

/// What OpenSSH's client or curl sees in its root.
fn list(lab: &Lab, server: &FileServer) -> String {
    if server.kind.protocol == Protocol::Sftp { list_by_sftp(lab, server) } else { list_by_curl(lab, server) }
}

fn list_by_sftp(lab: &Lab, server: &FileServer) -> String {
    let base = server.url();
    let path = base.splitn(4, '/').nth(3).unwrap_or_default();
    let known = lab.path("known_hosts").display().to_string();
    let mut sftp = Command::new("sftp");
    sftp.args(["-q", "-b", "-", "-P", &server.port.to_string(), "-i"]).arg(server.key(lab));
    for option in ["IdentitiesOnly=yes", "StrictHostKeyChecking=no", &format!("UserKnownHostsFile={known}")] {
        sftp.args(["-o", option]);
    }
    sftp.arg(format!("{}@127.0.0.1", server.username())).stdin(std::process::Stdio::piped());
    let output = program::output_with(&mut sftp, &format!("ls -1 /{path}\n"));
    assert!(output.status.success(), "{}: {}", server.kind.name, String::from_utf8_lossy(&output.stderr));
    // The port is another one for each server, and so is the line; the key is the one that the server says it has.
    let host = format!("[127.0.0.1]:{}", server.port);
    let found = program::output(Command::new("ssh-keygen").args(["-l", "-F", &host, "-f", &known]));
    let found = String::from_utf8(found.stdout).unwrap();
    assert!(found.contains(&server.fingerprint()), "{}: {found} {}", server.kind.name, server.fingerprint());
    String::from_utf8(output.stdout).unwrap()
}

fn list_by_curl(lab: &Lab, server: &FileServer) -> String {
    let tls = if server.kind.protocol == Protocol::FtpWithoutTls { "" } else { "--ssl-reqd " };
    // An absolute path, which curl wants to be told with two slashes.
    let url = server.url().replacen(&format!(":{}/", server.port), &format!(":{}//", server.port), 1);
    lab.curl(&format!("{tls}-u {}:{} {url}/", server.username(), server.password()))
}
