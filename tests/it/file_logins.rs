//! Logins to servers of files, as `sidekey check` sees them.

use std::process::Command;

use crate::lab::Lab;
use crate::lab::certificates::openssl;

/// Runs `sidekey check` in the lab's folder: whether it found nothing wrong, and what it said.
fn check(lab: &Lab, config: &str) -> (bool, String) {
    lab.write("files.yaml", config);
    let checking = Command::new(env!("CARGO_BIN_EXE_sidekey"))
        .args(["check", "--config", "files.yaml"])
        .current_dir(lab.path(""))
        .output()
        .unwrap();
    (checking.status.success(), String::from_utf8(checking.stderr).unwrap())
}

#[tokio::test]
async fn a_login_by_sftp_is_checked_down_to_its_files() {
    let lab = Lab::start().await;
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
    lab.write("known_hosts", &format!("[localhost]:2222 {key}\n"));
    openssl(&lab.path(""), "genpkey -algorithm ed25519 -out open.key");
    openssl(&lab.path(""), "pkcs8 -topk8 -in open.key -passout pass:correct-horse -out key");
    let config = "services: { files: { url: 'sftp://localhost:2222/~/in', auth: { type: sftp, username: me, \
                  private_key: key, passphrase: correct-horse, known_hosts: known_hosts } } }";

    let (is_fine, said) = check(&lab, config);
    assert!(is_fine, "{said}");

    let (is_fine, said) = check(&lab, &config.replace("correct-horse", "hunter2-hunter2"));
    assert!(!is_fine && said.contains("`key`: the passphrase is wrong"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");

    let (is_fine, said) = check(&lab, &config.replace("2222", "2223"));
    assert!(!is_fine && said.contains("ssh-keyscan -p 2223 localhost >> known_hosts"), "{said}");

    let (is_fine, said) = check(&lab, &config.replace("private_key: key,", "private_key: tls/partner.pem,"));
    assert!(!is_fine && said.contains("this is a certificate of TLS, where a private key is wanted"), "{said}");
}

#[tokio::test]
async fn a_login_by_ftp_is_checked_down_to_its_files() {
    let lab = Lab::start().await;
    lab.write("password", "correct horse\n");
    let config = "services: { files: { url: 'ftp://files.example', tls: { ca: tls/ca.pem }, \
                  auth: { type: ftp, username: me, password: { file: password } } } }";

    let (is_fine, said) = check(&lab, config);
    assert!(is_fine, "{said}");

    let (is_fine, said) = check(&lab, &config.replace("tls/ca.pem", "tls/none.pem"));
    assert!(!is_fine && said.contains("`tls/none.pem` can't be read"), "{said}");

    let (is_fine, said) = check(&lab, &config.replace("username: me", "username: me, tls: off"));
    assert!(!is_fine && said.contains("credentials would be sent unencrypted to another machine"), "{said}");
}
