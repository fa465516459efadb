//! Logins to servers of files: what is wrong with their files, and what a reload keeps of them.

use std::process::Command;
use std::sync::Arc;

use super::lab::{Lab, run};
use crate::credential::Slots;
use crate::files::{FileServer, ServerAccess};
use crate::snapshot::Snapshot;
use crate::snapshot::difference::Difference;

const SERVER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPDMyW3mIJC1Q7dPRHYIPWz1sC3YyoL3EYJ7gQ0Vwk9i";
const KEY_AND_KNOWN_HOSTS: &str = "services: { bank: { url: 'sftp://files.example', auth: { type: sftp, username: a, \
                                   private_key: key, known_hosts: known_hosts } } }";

/// Runs one line of a shell in the lab's folder, which makes a key there.
fn make(lab: &Lab, line: &str) {
    let line = format!("rm -f key && {line}");
    let output = Command::new("sh").args(["-c", &line]).current_dir(lab.path(".")).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A lab with the key of a user, and one of a server.
async fn lab() -> Lab {
    let lab = Lab::start().await;
    make(&lab, "ssh-keygen -q -t ed25519 -N '' -f key");
    lab.write("known_hosts", &format!("files.example {SERVER}\n"));
    lab
}

/// What is said, without the places.
fn told(lab: &Lab) -> Vec<String> {
    let folder = format!("{}/", lab.path("").display().to_string().trim_end_matches('/'));
    let drawn = lab.complaints().replace(&folder, "");
    let told = |line: &&str| ["error: ", "warning: ", "  = help: "].iter().any(|start| line.starts_with(start));
    drawn.lines().filter(told).map(|line| line.trim_start_matches([' ', '=']).to_owned()).collect()
}

#[test]
fn what_is_wrong_with_a_key_is_told_with_what_to_do() {
    run(async || {
        let lab = lab().await;
        let with = |beside: &str| {
            lab.config(&KEY_AND_KNOWN_HOSTS.replace("private_key: key", &format!("private_key: key{beside}")));
        };

        let opened = ", passphrase: horse-horse";
        let cases = [
            (
                "ssh-keygen -q -t ed25519 -N mule -f key",
                opened,
                [
                    "error: `key`: the passphrase is wrong",
                    "help: one trailing newline of a passphrase file is dropped; all else counts, spaces too",
                ],
            ),
            (
                "ssh-keygen -q -t ed25519 -N mule1 -f key",
                "",
                [
                    "error: `key`: the private key is encrypted, and there is no passphrase",
                    "help: add `passphrase`, say `passphrase: { file: PATH }`",
                ],
            ),
            (
                "ssh-keygen -q -t ed25519 -N '' -f key",
                opened,
                [
                    "error: `key`: there is a passphrase, but the private key is not encrypted",
                    "help: remove `passphrase`, or use the encrypted key",
                ],
            ),
            (
                "ssh-keygen -q -t ed25519 -N '' -f key && mv key.pub key",
                "",
                [
                    "error: `key`: this is a public key, where a private key is wanted",
                    "help: name the file that `ssh-keygen` made without `.pub`: it begins with `-----BEGIN`",
                ],
            ),
            (
                "ssh-keygen -q -t ed25519 -N '' -f key && ssh-keygen -q -s key -I me key.pub && mv key-cert.pub key",
                "",
                [
                    "error: `key`: this is a certificate of OpenSSH, where a private key is wanted",
                    "help: name the file that `ssh-keygen` made without `.pub`: it begins with `-----BEGIN`",
                ],
            ),
            (
                "cp partner.pem key",
                "",
                [
                    "error: `key`: this is a certificate of TLS, where a private key is wanted",
                    "help: name the file that `ssh-keygen` made without `.pub`: it begins with `-----BEGIN`",
                ],
            ),
            (
                "echo 'PuTTY-User-Key-File-3: ssh-ed25519' > key",
                "",
                [
                    "error: `key`: this is a key in PuTTY's format",
                    "help: convert it: puttygen key -O private-openssh -o NEW",
                ],
            ),
            ("true", "", ["error: `key` can't be read: no such file", ""]),
        ];
        for (line, beside, expected) in cases {
            make(&lab, &format!("{line} && chmod -f 600 key; true"));
            with(beside);

            let told = told(&lab);

            let expected: Vec<_> = expected.into_iter().filter(|line| !line.is_empty()).collect();
            let error = told.iter().position(|line| line.starts_with("error")).unwrap();
            assert_eq!(told[error..error + expected.len()], expected, "{line}");
        }
    });
}

#[test]
fn a_server_that_nobody_knows_is_told_with_what_to_do() {
    run(async || {
        let lab = lab().await;
        let check = |known_hosts: &str, url: &str, expected: [&str; 2]| {
            lab.write("known_hosts", known_hosts);
            lab.config(&KEY_AND_KNOWN_HOSTS.replace("sftp://files.example", url));
            assert_eq!(told(&lab), expected, "{known_hosts} {url}");
        };

        check(
            &format!("other.example {SERVER}\n"),
            "sftp://files.example",
            [
                "error: `known_hosts` has no key for `files.example`",
                "help: ssh-keyscan files.example >> known_hosts, and compare with what the server's owner tells",
            ],
        );
        check(
            &format!("files.example {SERVER}\n"),
            "sftp://files.example:2222/in",
            [
                "error: `known_hosts` has no key for `[files.example]:2222`",
                "help: ssh-keyscan -p 2222 files.example >> known_hosts, and compare with what the server's owner tells",
            ],
        );
        check(
            &format!("# keys\nfiles.example {SERVER}\nfiles.example ssh-ed25519\n"),
            "sftp://files.example",
            [
                "error: `known_hosts`: line 3 is no entry of a `known_hosts` file",
                "help: a line has names, the kind of a key and the key: `host ssh-ed25519 AAAA…`",
            ],
        );
    });
}

#[test]
fn a_short_rsa_key_is_warned_of() {
    run(async || {
        let lab = lab().await;
        make(&lab, "ssh-keygen -q -t rsa -b 1024 -N '' -f key");
        // Another service is wrong, so that the report is drawn.
        lab.config(&KEY_AND_KNOWN_HOSTS.replace("services: {", "services: { wrong: { url: 'sftp://b' },"));

        let told = told(&lab);

        let warning = "warning: the private key is an RSA key of 1024 bits, which servers refuse";
        assert!(told.iter().any(|line| line == warning), "{told:?}");
    });
}

/// The snapshot of the config as it stands, and what it changes.
fn next(lab: &Lab, previous: &Snapshot, slots: &Slots) -> (Snapshot, Vec<String>) {
    let next = lab.load(Some(previous), slots);
    let lines = Difference::between(previous, &next).lines();
    (next, lines)
}

fn is_kept(one: &Snapshot, other: &Snapshot) -> bool {
    Arc::ptr_eq(&server(one), &server(other))
}

fn server(snapshot: &Snapshot) -> Arc<FileServer> {
    snapshot.service("bank").unwrap().files.as_ref().expect("a server of files").server.clone()
}

#[test]
fn a_login_that_was_refused_is_so_to_all_that_have_the_same_also_if_they_are_never_published() {
    run(async || {
        let (lab, slots) = (lab().await, Slots::default());
        lab.config(KEY_AND_KNOWN_HOSTS);
        let running = lab.load(None, &slots);
        let is_refused = |snapshot: &Snapshot| server(snapshot).refusal().is_some();
        let changed = |from: &str, to: &str| {
            lab.config(&KEY_AND_KNOWN_HOSTS.replace(from, to));
            lab.load(Some(&running), &slots)
        };

        // Compiled, and given up; or published, while a login of the one before is under way.
        let (titled, moved) = (changed("url:", "title: Bank, url:"), changed("files.example'", "files.example/in'"));
        server(&running).refuse();
        let later = changed("url:", "title: Bank, url:");
        let another_user = changed("username: a", "username: b");

        assert_eq!([&running, &titled, &moved, &later].map(is_refused), [true; 4]);
        assert!(!is_refused(&another_user));
    });
}

#[test]
fn a_login_is_another_once_one_of_its_files_is() {
    run(async || {
        let (lab, slots) = (lab().await, Slots::default());
        lab.config(KEY_AND_KNOWN_HOSTS);
        let first = lab.load(None, &slots);
        assert!(matches!(server(&first).access, ServerAccess::Sftp(_)));

        lab.write("known_hosts", &format!("other.example {OTHER}\nfiles.example {SERVER} comment\n"));
        let (second, lines) = next(&lab, &first, &slots);
        assert_eq!((lines, is_kept(&first, &second)), (vec![], true));

        lab.write("known_hosts", &format!("files.example {SERVER}\nfiles.example {OTHER}\n"));
        let (third, lines) = next(&lab, &second, &slots);
        assert_eq!((lines, is_kept(&second, &third)), (vec!["service `bank` changed (auth)".to_owned()], false));

        make(&lab, "ssh-keygen -q -t ed25519 -N '' -f key");
        let (fourth, lines) = next(&lab, &third, &slots);
        assert_eq!((lines, is_kept(&third, &fourth)), (vec!["service `bank` changed (auth)".to_owned()], false));

        lab.config(&KEY_AND_KNOWN_HOSTS.replace("url:", "title: Bank, url:"));
        let (fifth, lines) = next(&lab, &fourth, &slots);
        assert_eq!((lines, is_kept(&fourth, &fifth)), (vec!["service `bank` changed (title)".to_owned()], false));

        lab.config(&KEY_AND_KNOWN_HOSTS.replace("url:", "title: Bank, files: { upload: direct }, url:"));
        let (sixth, lines) = next(&lab, &fifth, &slots);
        assert_eq!((lines, is_kept(&fifth, &sixth)), (vec!["service `bank` changed (files)".to_owned()], false));
    });
}

#[test]
fn a_login_by_ftp_is_another_once_its_password_or_its_trust_is() {
    run(async || {
        let (lab, slots) = (lab().await, Slots::default());
        let config = |scheme: &str| {
            let login = "auth: { type: ftp, username: a, password: { file: password } }";
            lab.config(&format!(
                "services: {{ bank: {{ url: '{scheme}://localhost:21', certificate: partner, tls: {{ ca: ca.pem }}, {login} }} }}\n\
                 certificates: {{ partner: {{ chain: partner.pem, key: partner.key }} }}"
            ));
        };
        lab.write("password", "hunter2-hunter2\n");
        config("ftp");
        let first = lab.load(None, &slots);
        let changed = |lines: Vec<String>, keys: &str| {
            assert!(lines.contains(&format!("service `bank` changed ({keys})")), "{keys}: {lines:?}");
        };

        let (second, lines) = next(&lab, &first, &slots);
        assert_eq!((lines, is_kept(&first, &second)), (vec![], true));

        lab.write("password", "hunter3-hunter3\n");
        let (third, lines) = next(&lab, &second, &slots);
        changed(lines, "auth");
        assert!(!is_kept(&second, &third));

        let ca = std::fs::read_to_string(lab.path("partner.pem")).unwrap();
        lab.write("ca.pem", &ca);
        let (fourth, lines) = next(&lab, &third, &slots);
        changed(lines, "tls");
        assert!(!is_kept(&third, &fourth));

        lab.rotate("partner");
        let (fifth, lines) = next(&lab, &fourth, &slots);
        changed(lines, "certificate");
        assert!(!is_kept(&fourth, &fifth));

        config("ftps");
        let (sixth, lines) = next(&lab, &fifth, &slots);
        changed(lines, "url");
        assert!(!is_kept(&fifth, &sixth));
    });
}

#[test]
fn a_file_of_a_login_that_changes_is_loaded_by_itself() {
    run(async || {
        let lab = lab().await;
        lab.config(KEY_AND_KNOWN_HOSTS);
        let running = lab.run();

        lab.write("known_hosts", &format!("files.example {OTHER}\n"));
        running.until_generation(2).await;
        make(&lab, "ssh-keygen -q -t ed25519 -N '' -f new && mv new key");
        running.until_generation(3).await;

        assert_eq!(running.reloads.history().applied[0].difference.lines(), ["service `bank` changed (auth)"]);
    });
}
