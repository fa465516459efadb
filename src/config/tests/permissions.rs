//! What others may do with the files of a config, and what commands get to see.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::super::{Color, ConfigSource, Inputs, Report, Secrets, load};

/// A folder with these files.
fn folder(files: &[(&str, &str, u32)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, mode) in files {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).unwrap();
    }
    folder
}

/// What is said of `sidekey.yaml` in this folder, which loads, without the folder's name.
#[track_caller]
fn said(folder: &Path, secrets: Secrets) -> Vec<String> {
    let (config, report) = load(&ConfigSource::Path(folder.join("sidekey.yaml")), &Inputs::new(secrets));
    assert!(config.is_some() && !report.has_errors(), "{:?}", report.diagnostics());
    messages(&report).iter().map(|message| message.replace(&format!("{}/", folder.display()), "")).collect()
}

fn messages(report: &Report) -> Vec<String> {
    report.diagnostics().iter().map(|diagnostic| diagnostic.message.clone()).collect()
}

/// Two services with these secrets.
fn services(one: &str, other: &str) -> String {
    let service = |name, token| {
        format!("  {name}: {{ url: 'https://{name}.example', auth: {{ type: bearer, token: {token} }} }}\n")
    };
    format!("services:\n{}{}", service("a", one), service("b", other))
}

#[test]
fn a_config_with_a_secret_in_it_that_others_can_read_gets_one_warning() {
    let inside = services("hunter22", "{ env: NOT_SET_ANYWHERE, default: hunter23 }");
    let elsewhere = services("{ file: secret }", "{ file: secret }");
    let warning = "`sidekey.yaml` holds a secret, and others can read it";
    for (text, mode, expected) in
        [(&inside, 0o644, &[warning][..]), (&inside, 0o600, &[]), (&inside, 0o640, &[]), (&elsewhere, 0o644, &[])]
    {
        let folder = folder(&[("sidekey.yaml", text, mode), ("secret", "hunter22", 0o600)]);

        assert_eq!(said(folder.path(), Secrets::Read), expected, "{mode:o}");
        assert_eq!(said(folder.path(), Secrets::Skip), expected, "{mode:o}");
    }
}

#[test]
fn what_others_can_change_gets_one_warning_for_each_file() {
    let config = services("{ file: secret }", "{ command: [./token] }") + "x-again: { file: secret }\n";
    let files = |mode| {
        [
            ("sidekey.yaml", &*config, mode),
            ("secret", "hunter22", mode),
            ("token", "#!/bin/sh\necho hunter23", mode | 0o700),
        ]
    };

    let (tight, loose) = (folder(&files(0o620)), folder(&files(0o602)));

    assert_eq!(said(tight.path(), Secrets::Read), [""; 0]);
    let warnings = ["sidekey.yaml", "secret", "token"].map(|file| format!("`{file}` can be changed by others"));
    assert_eq!(said(loose.path(), Secrets::Read), warnings);
}

#[test]
fn nothing_is_said_of_what_kubernetes_mounts() {
    let config = services("hunter22", "{ file: secret }");
    let folder = folder(&[]);
    fs::create_dir(folder.path().join("..1")).unwrap();
    symlink("..1", folder.path().join("..data")).unwrap();
    for (name, text) in [("sidekey.yaml", &*config), ("secret", "hunter23")] {
        let path = folder.path().join("..1").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        symlink(Path::new("..data").join(name), folder.path().join(name)).unwrap();
    }

    assert_eq!(said(folder.path(), Secrets::Read), [""; 0]);
}

#[test]
fn what_is_said_of_permissions_says_what_to_do() {
    let config = services("hunter22", "{ file: secret }");
    let folder = folder(&[("sidekey.yaml", &config, 0o646), ("secret", "hunter23", 0o600)]);

    let (_, report) = load(&ConfigSource::Path(folder.path().join("sidekey.yaml")), &Inputs::new(Secrets::Read));

    let drawn = report.render(Color::Plain).replace(&format!("{}/", folder.path().display()), "");
    insta::assert_snapshot!(drawn, @r"
    warning: `sidekey.yaml` can be changed by others
     --> sidekey.yaml:1:1
      |
    1 | services:
      | ^
      |
      = help: chmod o-w sidekey.yaml

    warning: `sidekey.yaml` holds a secret, and others can read it
     --> sidekey.yaml:2:63
      |
    2 |   a: { url: 'https://a.example', auth: { type: bearer, token: ******** } }
      |                                                               ^^^^^^^^
      |
      = help: chmod 600 sidekey.yaml, or write `{ env: NAME }` or `{ file: PATH }` instead of the secret
    ");
}
