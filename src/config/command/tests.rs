//! Commands that do as they are told, and others.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;

const SECRET: &str = "hunter2";

fn shell(script: &str) -> SecretCommand {
    SecretCommand::new("sh".to_owned(), vec!["-c".to_owned(), script.to_owned()], Path::new(""))
}

#[track_caller]
fn check(script: &str, expected: Result<&str, &str>) {
    let ran = shell(script).run(&Withheld::new()).map_err(|failure| failure.to_string());
    let ran = ran.as_ref().map(Secret::expose).map_err(String::as_str);
    assert_eq!(ran, expected, "{script}");
}

#[test]
fn what_is_printed_is_the_secret_without_one_newline() {
    check("printf hunter2", Ok(SECRET));
    check("echo hunter2", Ok(SECRET));
    check("printf 'hunter2\\r\\n'", Ok(SECRET));
    check("printf 'hunter2\\n\\n'", Ok("hunter2\n"));
    check("echo hunter2; echo a warning >&2", Ok(SECRET));
}

#[test]
fn a_failure_says_what_went_wrong() {
    check("exit 3", Err("ended with status 3"));
    check("echo 'permission denied' >&2; echo more >&2; exit 3", Err("ended with status 3: permission denied"));
    check("kill -9 $$", Err("was ended by signal 9"));
    check("exit 0", Err("printed nothing: the secret is empty"));
    check("echo", Err("printed nothing: the secret is empty"));
    check("printf '\\377'", Err("printed something that is not UTF-8 text"));
}

#[test]
fn what_is_printed_is_shown_in_no_failure() {
    check("echo hunter2; exit 3", Err("ended with status 3"));
    check("set -x; echo hunter2; exit 3", Err("ended with status 3: + echo ***"));
    let failure = shell("echo hunter2; exit 3").run(&Withheld::new()).unwrap_err();
    assert!(!format!("{failure:?}").contains(SECRET), "{failure:?}");
    check("printf 'a\nab\n'; echo ab >&2; exit 3", Err("ended with status 3: ***"));
    check("x=$(printf 'x%.0s' $(seq 10000)); echo $x; echo $x >&2; exit 3", Err("ended with status 3"));
}

#[test]
fn what_is_said_is_shortened_and_escaped() {
    check("printf '\\n \\033[31mred\\ttape\\n' >&2; exit 1", Err("ended with status 1: \\u{1b}[31mred\\ttape"));
    check("printf 'left\\342\\200\\256right' >&2; exit 1", Err("ended with status 1: left\\u{202e}right"));
    let long = format!("ended with status 1: {}…", "x".repeat(200));
    check("printf 'x%.0s' $(seq 10000) >&2; exit 1", Err(&long));
}

#[test]
fn a_program_that_can_not_be_run_says_why() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("locked"), "#!/bin/sh\necho hunter2\n").unwrap();
    let run = |name: &str| SecretCommand::new(name.to_owned(), Vec::new(), folder.path()).run(&Withheld::new());
    let failure = |name: &str| run(name).unwrap_err().to_string();

    assert_eq!(failure("sidekey-test-no-such-program"), "can't be run: no such program");
    assert_eq!(failure("./missing"), "can't be run: no such program");
    assert_eq!(failure("./locked"), "can't be run: permission denied");
}

#[test]
fn a_program_with_a_slash_starts_at_the_folder_and_runs_in_it() {
    let folder = tempfile::Builder::new().tempdir_in(".").unwrap();
    let name = Path::new(folder.path().file_name().unwrap());
    let script = folder.path().join("script");
    fs::write(&script, "#!/bin/sh\ncat secret\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(folder.path().join("secret"), SECRET).unwrap();

    let secret = SecretCommand::new("./script".to_owned(), Vec::new(), name).run(&Withheld::new());

    assert_eq!(secret.unwrap().expose(), SECRET);
}

#[test]
fn no_shell_has_a_part_in_it() {
    let argument = "$HOME; `id` > *".to_owned();

    let secret = SecretCommand::new("echo".to_owned(), vec![argument.clone()], Path::new("")).run(&Withheld::new());

    assert_eq!(secret.unwrap().expose(), argument);
}

#[test]
fn there_is_nobody_to_ask() {
    check("read answer && echo \"$answer\" || echo nobody", Ok("nobody"));
}

#[test]
fn a_command_that_prints_too_much_is_ended() {
    let most = "x".repeat(LARGEST);
    check("head -c 65536 /dev/zero | tr '\\0' x", Ok(&most));
    check("head -c 65537 /dev/zero | tr '\\0' x", Err("printed more than 64 KiB"));
    check("cat /dev/zero", Err("printed more than 64 KiB"));
    check("cat /dev/zero >&2 & sleep 0.1; kill $!; echo hunter2", Ok(SECRET));
}

#[test]
fn a_command_that_is_too_slow_is_gone_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    // The grandchild holds the FIFO open for as long as it lives.
    let script = "mkfifo held; (exec 3<>held; echo begun >begun; sleep 60) & wait";
    let command = SecretCommand { folder: folder.path().to_owned(), ..shell(script) };

    let failure = command.run_within(Duration::from_secs(1), &Withheld::new()).unwrap_err();

    assert_eq!(failure.to_string(), "has not ended within 1 s");
    assert_eq!(fs::read_to_string(folder.path().join("begun")).unwrap(), "begun\n");
    assert!(!is_held(&folder.path().join("held")), "the grandchild is alive");
}

/// Whether any process has the FIFO open: then it can be written to.
#[track_caller]
fn is_held(fifo: &Path) -> bool {
    use std::os::unix::fs::OpenOptionsExt;
    // The end of a killed process is no moment: its files are closed soon after.
    let held = || fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(fifo).is_ok();
    let deadline = Instant::now() + Duration::from_secs(5);
    while held() && Instant::now() < deadline {
        let _woken = poll(&mut [], poll_timeout(GLANCE));
    }
    held()
}

/// What comes of a script that leaves somebody behind, who holds on to what the script was given.
#[track_caller]
fn check_held(script: &str, expected: Result<&str, &str>) {
    let folder = tempfile::tempdir().unwrap();
    let command = SecretCommand { folder: folder.path().to_owned(), ..shell(script) };

    let ran = command.run(&Withheld::new()).map_err(|failure| failure.to_string());

    let left: i32 = fs::read_to_string(folder.path().join("left")).unwrap().trim().parse().unwrap();
    nix::sys::signal::kill(Pid::from_raw(left), Signal::SIGKILL).expect("it is still there");
    assert_eq!(ran.as_ref().map(Secret::expose).map_err(String::as_str), expected, "{script}");
}

#[test]
fn who_holds_the_output_of_a_program_that_has_ended_is_not_waited_for() {
    check_held("sleep 60 & echo $! >left; echo hunter2", Ok(SECRET));
    check_held("sleep 60 >/dev/null & echo $! >left; echo hunter2", Ok(SECRET));
    check_held("sleep 60 & echo $! >left; echo 'no such key' >&2; exit 3", Err("ended with status 3: no such key"));
    check_held("sleep 60 & echo $! >left; kill -9 $$", Err("was ended by signal 9"));
    check_held("sleep 60 & echo $! >left", Err("printed nothing: the secret is empty"));
}

#[test]
fn all_that_was_printed_is_taken_though_somebody_holds_the_output() {
    let most = "x".repeat(LARGEST);

    check_held("sleep 60 & echo $! >left; head -c 65536 /dev/zero | tr '\\0' x", Ok(&most));
}

#[test]
fn a_command_that_prints_too_much_is_gone_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    // It does not mind that nobody listens: only a signal ends it.
    let script = "mkfifo held; (trap '' PIPE; exec 3<>held; while :; do cat /dev/zero 2>/dev/null; done) & wait";
    let command = SecretCommand { folder: folder.path().to_owned(), ..shell(script) };

    let failure = command.run(&Withheld::new()).unwrap_err();

    assert_eq!(failure.to_string(), "printed more than 64 KiB");
    assert!(!is_held(&folder.path().join("held")), "the grandchild is alive");
}

#[test]
fn a_program_that_goes_on_after_its_output_is_waited_for() {
    check("echo hunter2; exec >&-; sleep 0.1; echo 'too late' >&2; exit 3", Err("ended with status 3: too late"));
}
