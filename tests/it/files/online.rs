//! What the commands and the admin port say of a service whose partner speaks SFTP or FTP: `explain`, `check --online`, the
//! probe.

use serde_json::Value;

use super::servers::server;
use crate::lab::client::{Request, exchange};
use crate::lab::files::{FileServer, Kind, Protocol};
use crate::lab::relay::{Cut, Direction};
use crate::lab::sidekey::{Finished, Sidekey};
use crate::lab::{Lab, free_port};

#[tokio::test]
async fn explain_says_where_a_file_is_who_logs_in_and_no_secret() {
    let lab = Lab::start().await;
    let key = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    lab.write(
        "sidekey.yaml",
        &format!(
            "services:
  sftp: {{ url: 'sftp://files.example/~/in', auth: {{ type: sftp, username: acme, password: hunter2-hunter2, host_key: '{key}' }} }}
  ftp: {{ url: 'ftp://files.example:2121/in', auth: {{ type: ftp, username: acme, password: hunter2-hunter2 }} }}
  ftps: {{ url: 'ftps://files.example', auth: {{ type: ftp, username: acme, password: hunter2-hunter2 }} }}
  open: {{ url: 'ftp://localhost', auth: {{ type: ftp, username: acme, password: hunter2-hunter2, tls: off }} }}"
        ),
    );

    for (request, sends, login) in [
        ("/sftp/a%20b.csv", "GET sftp://files.example/~/in/a%20b.csv", "login: acme by SFTP\n"),
        ("-X PUT /ftp/a.csv", "PUT ftp://files.example:2121/in/a.csv", "login: acme by FTP over TLS\n"),
        ("/ftps/folder/", "GET ftps://files.example/folder/", "login: acme by FTP over TLS\n"),
        ("/open/a.csv", "GET ftp://localhost/a.csv", "login: acme by FTP without TLS\n"),
    ] {
        let said = lab.run(&format!("explain {request}"));

        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{request}: {said:?}");
        assert!(said.stdout.contains(&format!("sends      {sends}\n")), "{request}: {}", said.stdout);
        assert!(said.stdout.contains(login), "{request}: {}", said.stdout);
        assert_eq!(said.stdout.contains(&format!("to a server with the host key {key}\n")), request.contains("/sftp"));
        assert!(!said.stdout.contains("hunter2"), "{}", said.stdout);
    }
}

/// A server of each protocol, and services that go there, or not.
/// Nobody is let in without a client certificate.
static DEMANDS: Kind = Kind { name: "vsftpd", script: "vsftpd-demands", protocol: Protocol::Ftp };

struct Scene {
    lab: Lab,
    servers: [FileServer; 5],
}

/// Name, whether it is well, the phase that fails, and the code, as the probe tells them; what a message, and what help of the
/// command says.
type Row = (&'static str, Option<[&'static str; 4]>);

const ROWS: [Row; 15] = [
    ("sftp", None),
    ("sftp-nobody", Some(["tcp", "connection_refused", "no connection to localhost:", "check that it is up"])),
    ("sftp-other-key", Some(["host_key", "host_key_mismatch", "SHA256:", "in another way than by this connection"])),
    ("sftp-other-password", Some(["login", "login_rejected", "password", "check `username`, and `password`"])),
    ("sftp-other-folder", Some(["listing", "file_not_found", "o such file", "check the path of `url`"])),
    (
        "sftp-of-ftp",
        Some([
            "host_key",
            "file_error",
            "speaks no SSH: it is a server of FTP or mail: `220",
            "check that `url` leads to",
        ]),
    ),
    ("ftp", None),
    ("ftp-nobody", Some(["tcp", "connection_refused", "no connection to localhost:", "check that it is up"])),
    ("ftp-other-ca", Some(["tls", "tls_certificate_error", "a CA that is not trusted here", "check `tls.ca`"])),
    ("ftp-other-password", Some(["login", "login_rejected", "(530)", "check `username`, and `password`"])),
    ("ftp-other-folder", Some(["listing", "file_not_found", "o such file", "check the path of `url`"])),
    ("ftps", None),
    // It asks for a client certificate, and takes none.
    ("asks", None),
    ("demands", Some(["tls", "tls_alert_received", "client certificate", "name one of `certificates`"])),
    ("ftps-other-ca", Some(["tls", "tls_certificate_error", "a CA that is not trusted here", "check `tls.ca`"])),
];

impl Scene {
    async fn start() -> Self {
        let lab = Lab::start().await;
        let servers = [
            FileServer::start(&lab, server("AsyncSSH")).await,
            FileServer::start(&lab, server("ProFTPD")).await,
            FileServer::start(&lab, server("ProFTPD, implicit TLS")).await,
            FileServer::start(&lab, server("vsftpd")).await,
            FileServer::start(&lab, &DEMANDS).await,
        ];
        // AsyncSSH serves all that is there.
        Self { lab, servers }
    }

    /// A line for each of [`ROWS`].
    fn config(&self) -> String {
        let lines = ROWS.map(|(name, _)| {
            let (protocol, what) = name.split_once('-').unwrap_or((name, ""));
            let [sftp, ftp, ftps, asks, demands] = &self.servers;
            let server = match protocol {
                "sftp" => sftp,
                "ftp" => ftp,
                "asks" => asks,
                "demands" => demands,
                _ => ftps,
            };
            let (mut url, mut login) = (server.url(), server.login());
            match what {
                "nobody" => url = url.replace(&server.port.to_string(), &free_port().to_string()),
                "other-key" => login = login.replace(&server.fingerprint(), OTHER_KEY),
                "other-password" => login = login.replace(&server.password(), "hunter2-hunter2"),
                "other-folder" => url += "/nowhere",
                "other-ca" => login = login.replace("tls/ca.pem", "tls/stranger-ca.pem"),
                "of-ftp" => url = url.replace(&server.port.to_string(), &ftp.port.to_string()),
                _ => {}
            }
            format!("  {name}: {{ url: '{url}', {login} }}\n")
        });
        format!("services:\n{}", lines.concat())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_online_says_of_each_server_how_far_a_login_comes() {
    let scene = Scene::start().await;
    scene.lab.write("sidekey.yaml", &scene.config());

    let ended = tokio::task::block_in_place(|| scene.lab.run("check --online --format json"));
    let text = tokio::task::block_in_place(|| scene.lab.run("check --online"));

    assert_eq!((ended.code, text.code), (Some(1), Some(1)), "{ended:?}");
    let problems: Value = serde_json::from_str(&ended.stdout).unwrap();
    let is_error = |problem: &&Value| problem["severity"] == "error";
    let problems: Vec<_> = problems.as_array().unwrap().iter().filter(is_error).collect();
    let wrong = ROWS.iter().enumerate().filter_map(|(line, (name, wrong))| Some((line + 2, name, (*wrong)?)));
    for (line, name, [_, _, message, help]) in wrong.clone() {
        let of_it: Vec<_> = problems.iter().filter(|problem| problem["line"] == line).collect();
        assert_eq!(of_it.len(), 1, "{name}: {problems:#?}");
        let (told, helped) = (of_it[0]["message"].as_str().unwrap(), of_it[0]["help"].as_str().unwrap());
        assert!(told.starts_with(&format!("`{name}`: ")) && told.contains(message), "{name}: {told}");
        assert!(helped.contains(help), "{name}: {helped}");
    }
    assert_eq!(problems.len(), wrong.count(), "{problems:#?}");
    welcomed(&text);
    assert!(!format!("{ended:?}{text:?}").contains("hunter2"), "{ended:?}");
}

/// Looks at the lines of those that are well.
fn welcomed(text: &Finished) {
    let mut lines = text.stdout.lines();
    assert_eq!(lines.next(), Some("the config is valid"));
    for (name, steps) in [
        ("asks", ["connection", "TLS", "login", "listing"]),
        ("ftp", ["connection", "TLS", "login", "listing"]),
        ("ftps", ["connection", "TLS", "login", "listing"]),
        ("sftp", ["connection", "host key", "login", "listing"]),
    ] {
        let line = lines.next().unwrap_or_default();
        let (told, rest) = line.split_once(": ").unwrap_or((line, ""));
        assert_eq!(told, name, "{}", text.stdout);
        let told: Vec<_> = rest.split(", ").map(|step| step.split_once(" ok (").unwrap_or((step, "")).0).collect();
        assert_eq!(told, steps, "{line}");
        assert_eq!(rest.matches(" ms)").count(), steps.len(), "{line}");
    }
    assert_eq!(lines.next(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_says_how_far_a_login_comes_and_how_long_each_step_took() {
    let scene = Scene::start().await;
    let sidekey = scene.lab.sidekey(&scene.config()).await;

    for (name, wrong) in ROWS {
        let probe = probe(&sidekey, name).await;

        assert_eq!(probe["ok"], wrong.is_none(), "{name}: {probe:#}");
        let failures = probe["failures"].as_array().unwrap();
        assert_eq!(failures.len(), usize::from(wrong.is_some()), "{name}: {probe:#}");
        let secured = if name.starts_with("sftp") { "host_key" } else { "tls" };
        let steps = ["dns", "tcp", secured, "login", "listing"];
        let come = wrong.map_or(steps.len(), |[phase, ..]| steps.iter().position(|step| *step == phase).unwrap());
        for (number, step) in steps.iter().enumerate() {
            assert_eq!(probe["timings"][step].is_number(), number < come, "{name}: {step}: {probe:#}");
        }
        match wrong {
            None => assert_eq!(probe["protocol"], "file", "{name}: {probe:#}"),
            Some([phase, code, message, _]) => {
                let failure = &failures[0];
                assert_eq!((&failure["phase"], &failure["code"]), (&phase.into(), &code.into()), "{name}: {probe:#}");
                assert!(failure["detail"].as_str().unwrap().contains(message), "{name}: {probe:#}");
            }
        }
        assert!(!probe.to_string().contains("hunter2"), "{probe:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_shows_a_wrong_password_once_and_tells_the_same_while_none_is_shown() {
    let lab = Lab::start().await;
    let (server, relay) = FileServer::start_behind_relay(&lab, server("AsyncSSH")).await;
    let login = server.login().replace(&server.password(), "hunter2-hunter2");
    let config = format!("services: {{ box: {{ url: '{}', {login} }} }}", server.relayed_url());
    let sidekey = lab.sidekey(&config).await;

    let (first, second) = (probe(&sidekey, "box").await, probe(&sidekey, "box").await);

    for probe in [&first, &second] {
        assert_eq!(probe["failures"][0]["code"], "login_rejected", "{probe:#}");
    }
    assert_eq!(relay.opened(), 1, "{second:#}");
    let request = sidekey.get("/box/a.csv").await;
    request.problem("login_rejected");
    assert_eq!(relay.opened(), 1);
}

/// A server that ends the connection, or a way that is interrupted, has not looked at the password.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_ends_in_the_middle_of_a_login_is_told_as_that() {
    for name in ["OpenSSH", "AsyncSSH", "ProFTPD"] {
        let lab = Lab::start().await;
        let (server, relay) = FileServer::start_behind_relay(&lab, server(name)).await;
        let config = format!("services: {{ box: {{ url: '{}', {} }} }}", server.relayed_url(), server.login());
        // Each login of its own: after one that has failed there is none for a while.
        relay.mend();
        let well = probe(&lab.sidekey(&config).await, "box").await;
        assert_eq!(well["ok"], true, "{well:#}");
        let [_, whole] = relay.mend();
        for part in 0..6 {
            let sidekey = lab.sidekey(&config).await;
            let after = whole * part / 6;
            relay.cut(Cut { direction: Direction::ToClient, after, all: true, hard: part % 2 == 0 });

            let probe = probe(&sidekey, "box").await;

            let code = probe["failures"][0]["code"].as_str();
            // A reset that is quicker than the look at what has become of connecting is taken for its end.
            let is_reset_at_once = after == 0 && code == Some("connection_refused");
            let is_terminated = code == Some("connection_terminated");
            assert!(is_terminated || is_reset_at_once, "{name}: after {after} of {whole} bytes: {probe:#}");
        }
    }
}

async fn probe(sidekey: &Sidekey, service: &str) -> Value {
    let target = format!("/api/services/{service}/probe");
    let answer = exchange(&sidekey.admin, Request::post(&target, "").field("Sidekey-Admin", "1")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

const OTHER_KEY: &str = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
