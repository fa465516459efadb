//! Programs of others that say something and end: one that hangs is named, with what it does, and not waited for.

use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Runs it to its end, which has to come in time.
#[track_caller]
pub fn output(command: &mut Command) -> Output {
    output_with(command.stdin(Stdio::null()), "")
}

/// As [`output`], with a standard input where the command has a pipe for it.
#[track_caller]
pub fn output_with(command: &mut Command, input: &str) -> Output {
    let what = format!("{command:?}");
    let mut process = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{what}: {error}; ./test installs it"));
    let pid = process.id();
    let (ended, watched) = channel::<()>();
    let watch = thread::spawn(move || {
        let hangs = watched.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        hangs.then(|| {
            let state = state_of(pid);
            let _gone = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
            state
        })
    });
    if let Some(mut stdin) = process.stdin.take() {
        // One that ends before it has read all says why on its standard error.
        let _ended = stdin.write_all(input.as_bytes());
    }
    let output = process.wait_with_output().unwrap();
    drop(ended);
    if let Some(state) = watch.join().unwrap() {
        panic!("{what} hung: {state}");
    }
    output
}

/// What the threads of a process wait for, as far as the kernel says.
pub fn state_of(pid: u32) -> String {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_each = threads.map(|thread| {
        let read = |name: &str| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        format!("{} {} {}", read("comm").trim(), read("wchan").trim(), read("syscall").trim())
    });
    of_each.collect::<Vec<_>>().join("; ")
}

/// A busy machine starts Python, or makes a database, in ten seconds; a token request may take as long, and ten are made at
/// once.
pub const PATIENCE: Duration = Duration::from_secs(90);
