//! Where a config comes from, and where its values do.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use super::super::{Color, Config, ConfigSource, Inputs, Report, Secrets, Severity, ToleratedFailures, load};
use super::{check_messages, valid};
use crate::config::auth::Attachment;
use crate::config::{Auth, Watched};

const BEARER: &str = "services: { a: { url: 'https://a.example', auth: { type: bearer, token: { file: secret } } } }";

fn load_file(path: &Path) -> (Option<Config>, Report) {
    load(&ConfigSource::Path(path.to_owned()), &Inputs::new(Secrets::Read))
}

fn watched_by_load(path: &Path) -> Watched {
    let inputs = Inputs::new(Secrets::Read);
    assert!(load(&ConfigSource::Path(path.to_owned()), &inputs).0.is_some());
    inputs.watched()
}

#[track_caller]
fn token(config: &Config) -> &str {
    match &config.services["a"].value.auth[0].value {
        Auth::Static(fixed) => match &fixed.attachments[0].value {
            Attachment::Header { value, .. } => value.expose(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn write_secret(path: &Path, secret: &str, mode: u32) {
    fs::write(path, secret).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn an_empty_name_of_a_config_counts_as_none() {
    let find = |named: Option<&str>| ConfigSource::find(named.map(OsStr::new)).map_err(|error| error.to_string());

    assert_eq!(find(Some("a.yaml")), Ok(ConfigSource::Path("a.yaml".into())));
    assert_eq!(find(Some("-")), Ok(ConfigSource::StandardInput));
    // Neither place has a config where tests run.
    let none = "no config found at ./sidekey.yaml or /etc/sidekey/sidekey.yaml; name one with `--config`";
    assert_eq!(find(None), Err(none.to_owned()));
    assert_eq!(find(Some("")), Err(none.to_owned()));
}

#[test]
fn a_secret_file_starts_at_the_configs_folder_and_loses_one_newline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sidekey.yaml");
    fs::write(&path, BEARER).unwrap();
    write_secret(&folder.path().join("secret"), "hunter2-hunter2\n", 0o600);

    let inputs = Inputs::new(Secrets::Read);

    let (config, report) = load(&ConfigSource::Path(path.clone()), &inputs);

    assert_eq!(token(&config.unwrap()), "hunter2-hunter2");
    assert_eq!(report.render(Color::Plain), "");
    let watched: Vec<_> = inputs.watched().paths().map(Path::to_owned).collect();
    assert_eq!(watched, [folder.path().join("secret"), path]);
}

#[test]
fn a_secret_file_that_others_can_read_gets_one_warning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sidekey.yaml");
    let twice = "services:\n  a: { url: 'https://a.example', auth: { type: bearer, token: { file: secret } } }\n  \
                 b: { url: 'https://b.example', auth: { type: bearer, token: { file: secret } } }\n";
    fs::write(&path, twice).unwrap();
    write_secret(&folder.path().join("secret"), "hunter2-hunter2", 0o644);

    let (config, report) = load_file(&path);

    assert!(config.is_some());
    let secret = folder.path().join("secret");
    let messages: Vec<_> = report.diagnostics().iter().map(|warning| warning.message.clone()).collect();
    assert_eq!(messages, [format!("`{}` holds a secret that others can read", secret.display())]);
}

#[test]
fn a_secret_behind_kubernetes_data_link_gets_no_warning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sidekey.yaml");
    fs::write(&path, BEARER).unwrap();
    fs::create_dir(folder.path().join("..2026_01_01")).unwrap();
    write_secret(&folder.path().join("..2026_01_01/secret"), "hunter2-hunter2", 0o644);
    symlink("..2026_01_01", folder.path().join("..data")).unwrap();
    symlink("..data/secret", folder.path().join("secret")).unwrap();

    let (config, report) = load_file(&path);

    assert_eq!(token(&config.unwrap()), "hunter2-hunter2");
    assert_eq!(report.render(Color::Plain), "");
}

#[test]
fn a_secret_is_a_regular_file_of_at_most_64_kib() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sidekey.yaml");
    fs::write(&path, BEARER).unwrap();
    let secret = folder.path().join("secret");
    let message = || load_file(&path).1.diagnostics()[0].message.clone();

    assert!(std::process::Command::new("mkfifo").arg(&secret).status().unwrap().success());
    assert_eq!(message(), format!("`{}` can't be read: not a regular file", secret.display()));

    fs::remove_file(&secret).unwrap();
    fs::create_dir(&secret).unwrap();
    assert_eq!(message(), format!("`{}` can't be read: not a regular file", secret.display()));

    fs::remove_dir(&secret).unwrap();
    write_secret(&secret, &"x".repeat((64 << 10) + 1), 0o600);
    assert_eq!(message(), format!("`{}` can't be read: larger than 64 KiB", secret.display()));

    write_secret(&secret, "\n", 0o600);
    assert_eq!(message(), "the secret is empty");

    write_secret(&secret, "two\nlines\n", 0o600);
    assert_eq!(message(), "the secret has a line break in it");
}

#[test]
fn the_files_of_a_folder_are_merged_in_name_order() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write(
        "10-base.yaml",
        "listen: localhost:1\nroutes: [{ path: /a, service: a }]\nservices: { a: { url: 'https://a' } }",
    );
    write("20-more.yaml", "x-note: ignored\nroutes: [{ path: /b, service: b }]\nservices: { b: { url: 'https://b' } }");
    write(".hidden.yaml", "nonsense");
    write("notes.txt", "nonsense");

    let (config, report) = load_file(folder.path());

    assert_eq!(report.render(Color::Plain), "");
    let config = config.unwrap();
    assert_eq!(config.services.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(config.routes.len(), 2);
}

#[test]
fn a_new_file_in_the_folder_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), "services: {}").unwrap();
    let watched = watched_by_load(folder.path());

    fs::write(folder.path().join("b.yaml"), "").unwrap();

    assert_ne!(watched.again(), watched);
}

#[test]
fn a_config_that_cannot_be_read_says_so_at_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let message = |path: &Path| {
        let (config, report) = load_file(path);
        assert!(config.is_none());
        let finding = report.findings().remove(0);
        (finding.file.unwrap(), finding.message)
    };

    let missing = folder.path().join("missing.yaml");
    assert_eq!(message(&missing), (missing.display().to_string(), "the config can't be read: no such file".to_owned()));
    let empty = folder.path();
    assert_eq!(message(empty), (empty.display().to_string(), "the folder has no `*.yaml` file".to_owned()));

    let large = folder.path().join("large.yaml");
    fs::write(&large, "#".repeat((1 << 20) + 1)).unwrap();
    assert_eq!(message(&large).1, "the config can't be read: larger than 1024 KiB");
    fs::write(&large, b"a: \xff").unwrap();
    assert_eq!(message(&large).1, "the config can't be read: not UTF-8 text");
}

#[test]
fn json_is_yaml() {
    let config =
        valid(r#"{"services": {"a": {"url": "https://a.example", "auth": {"type": "bearer", "token": "hunter2"}}}}"#);

    assert_eq!(token(&config), "hunter2");
}

#[test]
fn a_variable_stands_for_any_text_and_its_default_for_a_variable_that_is_not_set() {
    let config = valid(
        "services:\n  a:\n    url: { env: SIDEKEY_TEST_UNSET, default: 'https://a.example' }\n    \
         title: { env: CARGO_PKG_NAME }\n",
    );

    let service = &config.services["a"].value;
    assert_eq!((service.url.value.authority.host.as_str(), service.title.as_deref()), ("a.example", Some("sidekey")));
}

#[test]
fn anchors_aliases_and_merge_keys_share_settings() {
    let config = valid(
        "x-common: &common\n  auth: { type: bearer, token: hunter2 }\n  timeouts: { connect: 1s }\n\
         services:\n  a: { <<: *common, url: 'https://a' }\n  \
         b: { <<: *common, url: 'https://b', timeouts: { connect: 2s } }\n",
    );

    assert_eq!(token(&config), "hunter2");
    let connect = |name: &str| config.services[name].value.timeouts.connect.unwrap().as_secs();
    assert_eq!((connect("a"), connect("b")), (1, 2));
}

#[test]
fn a_number_is_text_as_it_was_spelled() {
    let config = valid(
        "services: { a: { url: 'https://a', http_version: 1.1, tls: { min_version: 1.3 }, \
         auth: { type: api_key, header: X-Key, key: 12e3456, prefix: 007 } } }",
    );

    let service = &config.services["a"].value;
    assert_eq!(service.http_version, crate::config::HttpVersion::Http1);
    match &service.auth[0].value {
        Auth::Static(fixed) => match &fixed.attachments[0].value {
            Attachment::Header { prefix, value, .. } => {
                assert_eq!((value.expose(), prefix.as_str()), ("12e3456", "007"));
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_alias_bomb_is_refused_quickly() {
    let mut bomb = String::from("x-0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let row = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("x-{level}: &a{level} [{row}]\n"));
    }

    check_messages(&bomb, &["the aliases of this file expand to too much"]);
}

#[test]
fn depth_is_bounded() {
    check_messages(&format!("a: {}", "[".repeat(10_000)), &["the file is nested too deeply or has too many values"]);
}

#[test]
fn without_secrets_nothing_but_the_config_is_read() {
    let text = "
certificates:
  c: { chain: /nowhere/c.pem, key: /nowhere/c.key, passphrase: { env: SIDEKEY_TEST_UNSET } }
services:
  a:
    url: { env: SIDEKEY_TEST_UNSET }
    certificate: { env: SIDEKEY_TEST_UNSET }
    timeouts: { connect: { file: /nowhere/timeout } }
    auth:
      - { type: bearer, token: { credential: a } }
      - { type: api_key, header: X-Key, key: { file: /nowhere/key } }
      - { type: { env: SIDEKEY_TEST_UNSET }, username: x }
      - { type: headers, set: { X-Other: { command: [/nowhere/program, { env: SIDEKEY_TEST_UNSET }], refresh: 1m } } }
";

    let inputs = Inputs::new(Secrets::Skip);

    let (config, report) = load(&ConfigSource::Text(text.to_owned()), &inputs);

    assert_eq!(report.render(Color::Plain), "");
    assert!(config.is_some());
    assert_eq!((inputs.watched().paths().count(), inputs.watched().commands().len()), (0, 0));
}

#[test]
fn a_command_is_run_once_in_a_load_however_many_places_name_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sidekey.yaml");
    let command = "command: [sh, -c, 'echo run >>runs; echo hunter2']";
    let service = |name: &str, refresh: &str| {
        format!("  {name}: {{ url: 'https://a.example', auth: {{ type: bearer, token: {{ {command}{refresh} }} }} }}\n")
    };
    let (once, again) = (service("a", ""), service("b", ", refresh: 10m") + &service("c", ", refresh: 1m"));
    fs::write(&path, format!("services:\n{once}{again}")).unwrap();

    let inputs = Inputs::new(Secrets::Read);

    let (config, report) = load(&ConfigSource::Path(path), &inputs);

    assert_eq!(token(&config.unwrap()), "hunter2");
    assert_eq!(fs::read_to_string(folder.path().join("runs")).unwrap(), "run\n");
    let watched = inputs.watched();
    let refreshed: Vec<_> = watched.commands().iter().map(|command| (command.name(), command.refresh())).collect();
    assert_eq!(refreshed, [("sh", Some(Duration::from_secs(60)))]);
    let shown = format!("{report:?}{inputs:?}{watched:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_command_that_prints_something_else_now_is_told_from_one_that_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sidekey.yaml");
    fs::write(&path, BEARER.replace("file: secret", "command: [cat, secret]")).unwrap();
    write_secret(&folder.path().join("secret"), "hunter2\n", 0o600);
    let watched = watched_by_load(&path);
    let [before] = watched.commands() else { panic!("{watched:?}") };

    assert_eq!(before.again(), *before);
    write_secret(&folder.path().join("secret"), "hunter3\n", 0o600);
    assert_ne!(before.again(), *before);
    fs::remove_file(folder.path().join("secret")).unwrap();
    let failure = before.again().failure().map(str::to_owned).unwrap_or_default();
    assert!(failure.starts_with("ended with status 1: cat: "), "{failure}");
    assert_eq!(watched.again(), watched, "a command is no file");
}

#[test]
fn a_service_knows_in_which_keys_another_version_differs() {
    let service =
        |text: &str| valid(&format!("services: {{ a: {{ url: 'https://a', {text} }} }}")).services["a"].value.clone();
    let before = service("title: A, ready: optional, auth: { type: bearer, token: one }");

    let after = service("auth: { type: bearer, token: two }, title: B");

    assert_eq!(before.changed_keys(&after), ["title", "auth"]);
    assert_eq!(before.changed_keys(&before), [""; 0]);
}

const FAILING: &str = "
services:
  a: { url: 'https://a.example', auth: { type: bearer, token: { command: [sh, -c, 'echo hunter2; exit 3'] } } }
";

fn load_tolerating(text: &str, tolerated: ToleratedFailures) -> (Option<Config>, Report) {
    load(&ConfigSource::Text(text.to_owned()), &Inputs::new(Secrets::Read).tolerating(tolerated))
}

#[test]
fn a_start_forgives_a_command_of_a_method_and_says_what_is_missing() {
    let (config, report) = load_tolerating(FAILING, ToleratedFailures::any());

    assert_eq!(
        report.render(Color::Plain),
        "warning: the command `sh` ended with status 3
 --> <text>:3:63
  |
3 |   a: { url: 'https://a.example', auth: { type: bearer, token: { command: [sh, -c, 'echo hunter2; exit 3'] } } }
  |                                                               ^
  |
  = help: requests of this service are answered 503 until it gives the secret

"
    );
    let config = config.unwrap();
    let [method] = &config.services["a"].value.auth[..] else { panic!("one method") };
    let Auth::Unavailable(missing) = &method.value else { panic!("{method:?}") };
    assert_eq!((missing.name, missing.reason.as_str()), ("bearer", "the command `sh` ended with status 3"));
}

#[test]
fn a_reload_forgives_only_commands_that_failed_before() {
    let before = Inputs::new(Secrets::Read).tolerating(ToleratedFailures::any());
    assert!(load(&ConfigSource::Text(FAILING.to_owned()), &before).0.is_some());

    assert!(!load_tolerating(FAILING, before.failing()).1.has_errors());
    let (_, report) = load_tolerating(&FAILING.replace("exit 3", "exit 4"), before.failing());
    assert!(report.has_errors());
    assert_eq!(report.diagnostics()[0].message, "the command `sh` ended with status 4");
    assert!(load_tolerating(FAILING, ToleratedFailures::none()).1.has_errors());
}

#[test]
fn a_command_outside_of_a_method_is_never_forgiven() {
    let text = format!("{FAILING}access: {{ token: {{ command: ['false'] }} }}\n");

    let (_, report) = load_tolerating(&text, ToleratedFailures::any());

    let severe: Vec<_> = report.diagnostics().iter().map(|found| (found.severity, found.message.as_str())).collect();
    assert_eq!(
        severe,
        [
            (Severity::Warning, "the command `sh` ended with status 3"),
            (Severity::Error, "the command `false` ended with status 1"),
        ]
    );
}

#[test]
fn a_method_whose_command_failed_is_checked_in_all_else() {
    let text = "
services:
  a:
    url: http://a.example
    auth:
      - { type: basic, username: 'a:b', password: { command: ['false'] } }
      - { type: bearer, token: { command: ['false'] } }
      - { type: headers, set: { Authorization: hunter2 } }
      - { type: oauth2_client_credentials, token_url: 'http://idp.example', client_id: a, client_auth: post,
          client_secret: { command: ['false'] }, token_header: X-Token }
";

    let (_, report) = load_tolerating(text, ToleratedFailures::any());

    let errors = report.diagnostics().into_iter().filter(|found| found.severity == Severity::Error);
    let errors: Vec<_> = errors.map(|error| error.message.as_str()).collect();
    assert_eq!(errors, ["a user name for Basic has no colon", "two methods set the field `authorization`"]);
}
