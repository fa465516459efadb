//! Whose config is used: one that nobody named belongs to who runs it, or to root.

use std::fs;
use std::os::unix::fs::{chown, symlink};

use crate::lab::Lab;

const CONFIG: &str = "listen: localhost:0\nadmin: off\nservices:\n  a:\n    url: https://a.example\n    \
                      auth: { type: bearer, token: { command: [sh, -c, touch ran; echo hunter22] } }\n";

/// Somebody who is neither who runs the tests nor root.
const STRANGER: u32 = 54_321;

const COMMANDS: [&str; 6] =
    ["run", "check", "check --no-secrets", "token a", "explain http://localhost/a", "healthcheck"];

#[tokio::test]
async fn a_config_of_somebody_elses_is_not_used_unless_it_is_named() {
    if !nix::unistd::geteuid().is_root() {
        // Only root can give a file away.
        return;
    }
    let lab = Lab::start().await;
    lab.write("sidekey.yaml", CONFIG);
    chown(lab.path("sidekey.yaml"), Some(STRANGER), None).unwrap();

    for command in COMMANDS {
        let finished = lab.run(command);

        assert_eq!(finished.code, Some(2), "{command}: {finished:?}");
        let says = "the config is not used: it was found and not named, and belongs to another user (uid 54321)";
        assert!(finished.stderr.contains(says), "{command}: {finished:?}");
        assert!(finished.stderr.contains("name it: `--config ./sidekey.yaml`"), "{command}: {finished:?}");
        assert!(!finished.stderr.contains("hunter22") && !lab.path("ran").exists(), "{command}: {finished:?}");
    }
    let named = lab.run("check --config sidekey.yaml");
    assert!(named.code == Some(0) && lab.path("ran").exists(), "{named:?}");
}

#[tokio::test]
async fn a_link_or_a_folder_of_somebody_elses_is_not_used_either() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let lab = Lab::start().await;
    lab.write("own.yaml", CONFIG);
    symlink("own.yaml", lab.path("sidekey.yaml")).unwrap();
    assert_eq!(lab.run("check").code, Some(0));

    std::os::unix::fs::lchown(lab.path("sidekey.yaml"), Some(STRANGER), None).unwrap();
    assert_eq!(lab.run("check").code, Some(2));

    fs::remove_file(lab.path("sidekey.yaml")).unwrap();
    lab.write("sidekey.yaml/a.yaml", CONFIG);
    assert_eq!(lab.run("check").code, Some(0));
    chown(lab.path("sidekey.yaml"), Some(STRANGER), None).unwrap();
    assert_eq!(lab.run("check").code, Some(2));
}

#[tokio::test]
async fn a_reload_does_not_take_what_a_start_would_not() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let lab = Lab::start().await;
    let sidekey = lab.sidekey_found("services: { payments: { url: $SERVICE } }").await;

    lab.write("theirs.yaml", &(sidekey.written() + "x-theirs: 1\n"));
    chown(lab.path("theirs.yaml"), Some(STRANGER), None).unwrap();
    fs::rename(lab.path("theirs.yaml"), lab.path("sidekey.yaml")).unwrap();

    let error = sidekey.until_reload_refused().await;
    assert!(error.contains("belongs to another user (uid 54321)"), "{error}");
}
