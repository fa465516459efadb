//! Secrets that a command prints.
//!
//! Promises that no shell has a part in it, that a command is bounded in time and output, and that one which is given
//! up is gone with all that it started. What it prints is the secret: it is in no error, and our copies of it are
//! wiped. Besides `source` this is the only place of the room that touches the system.
//!
//! A command inherits the environment, since most of them need one (`HOME`, `VAULT_ADDR`, …), and neither standard
//! input nor a terminal: there is nobody who could answer its questions.

use std::fmt;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{self, Child, ChildStderr, ChildStdout, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use zeroize::Zeroizing;

use crate::secret::Secret;

/// A program, its arguments, and where it runs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Command {
    /// As it was written.
    name: String,
    /// Looked for in `PATH` if it has no slash.
    program: PathBuf,
    arguments: Vec<String>,
    /// The folder of the config; empty: our own.
    folder: PathBuf,
}

/// Arguments are no place for secrets, and hold them all the same.
impl fmt::Debug for Command {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Command").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a command gave no secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("can't be run: no such program")]
    Missing,
    #[error("can't be run: permission denied")]
    Denied,
    #[error("can't be run: {0}")]
    System(#[from] io::Error),
    #[error("ended with status {status}{}", colon(said))]
    Status { status: i32, said: String },
    #[error("was ended by signal {signal}{}", colon(said))]
    Signal { signal: i32, said: String },
    #[error("has not ended within {} s", .0.as_secs())]
    TooSlow(Duration),
    #[error("printed more than {} KiB", LARGEST / 1024)]
    TooLarge,
    #[error("printed something that is not UTF-8 text")]
    NotText,
    #[error("printed nothing: the secret is empty")]
    Empty,
}

impl Command {
    /// A program with its arguments, which runs in `folder`.
    pub(super) fn new(name: String, arguments: Vec<String>, folder: &Path) -> Self {
        let program = PathBuf::from(&name);
        let program = if name.contains('/') {
            let program = folder.join(program);
            // It is looked for after the change to `folder`, and a relative one would start there once more.
            std::path::absolute(&program).unwrap_or(program)
        } else {
            program
        };
        Self { name, program, arguments, folder: folder.to_owned() }
    }

    /// The program as it was written.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Runs it, and takes what it prints without one newline at its end. Blocks, for ten seconds at most.
    pub(super) fn run(&self) -> Result<Secret, Failure> {
        self.run_within(LONGEST)
    }

    fn run_within(&self, longest: Duration) -> Result<Secret, Failure> {
        let mut running = Running::start(self)?;
        let status = running.wait(longest)?;
        if !status.success() {
            return Err(running.failure(status));
        }
        let text = std::str::from_utf8(running.printed.bytes()).map_err(|_| Failure::NotText)?;
        match without_newline(text) {
            "" => Err(Failure::Empty),
            secret => Ok(Secret::new(secret.to_owned())),
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        let mut command = process::Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if !self.folder.as_os_str().is_empty() {
            command.current_dir(&self.folder);
        }
        // A group of its own can be ended as a whole.
        command.process_group(0).spawn()
    }
}

/// Printers end a line with a newline that is no part of the value.
pub(super) fn without_newline(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line))
}

/// A command under way.
struct Running {
    child: Child,
    has_ended: bool,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    printed: Kept,
    said: Kept,
}

impl Running {
    fn start(command: &Command) -> Result<Self, Failure> {
        let mut child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Failure::Missing,
            io::ErrorKind::PermissionDenied => Failure::Denied,
            _ => Failure::System(error),
        })?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        // One byte more tells what is too large from what is just not.
        let (printed, said) = (Kept::new(LARGEST + 1), Kept::new(SAID));
        Ok(Self { child, has_ended: false, stdout, stderr, printed, said })
    }

    /// Takes what comes until the output has ended and the program too.
    fn wait(&mut self, longest: Duration) -> Result<ExitStatus, Failure> {
        let deadline = Instant::now() + longest;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::TooSlow(longest));
            }
            // Nothing wakes us when the program ends after its output did.
            self.take(if self.stdout.is_some() { left } else { left.min(GLANCE) })?;
            if self.printed.is_full() {
                return Err(Failure::TooLarge);
            }
            // Not looked at before: as long as nobody has asked, its number is nobody else's, and can be killed.
            if self.stdout.is_none()
                && let Some(status) = self.child.try_wait()?
            {
                self.has_ended = true;
                self.take(Duration::ZERO)?;
                return Ok(status);
            }
        }
    }

    /// Takes what there is, and waits for it up to `patience`.
    fn take(&mut self, patience: Duration) -> Result<(), Failure> {
        let stdout = is_ready(self.stdout.as_ref(), self.stderr.as_ref(), patience)?;
        let stderr = is_ready(self.stderr.as_ref(), None::<&ChildStdout>, Duration::ZERO)?;
        if stdout && !self.printed.take_from(self.stdout.as_mut())? {
            self.stdout = None;
        }
        if stderr && !self.said.take_from(self.stderr.as_mut())? {
            self.stderr = None;
        }
        Ok(())
    }

    fn failure(&self, status: ExitStatus) -> Failure {
        let said = shown(self.said.bytes(), self.printed.bytes());
        match (status.code(), status.signal()) {
            (None, Some(signal)) => Failure::Signal { signal, said },
            (status, _) => Failure::Status { status: status.unwrap_or_default(), said },
        }
    }
}

/// Nothing that a command started outlives it when it is given up.
impl Drop for Running {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        if let Ok(group) = i32::try_from(self.child.id()) {
            // It may have gone meanwhile, or belong to another user by now.
            let _killed = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let deadline = Instant::now() + LAST_BREATH;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            let _woken = poll(&mut [], patience(GLANCE));
        }
    }
}

/// Whether `first` has something to take, or has ended; `other` ends the wait too.
fn is_ready(first: Option<&impl AsFd>, other: Option<&impl AsFd>, longest: Duration) -> Result<bool, Failure> {
    let mut waited: Vec<PollFd<'_>> = Vec::with_capacity(2);
    waited.extend(first.map(|first| PollFd::new(first.as_fd(), PollFlags::POLLIN)));
    waited.extend(other.map(|other| PollFd::new(other.as_fd(), PollFlags::POLLIN)));
    match poll(&mut waited, patience(longest)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(Failure::System(error.into())),
    }
    Ok(first.is_some() && waited.first().and_then(PollFd::any).unwrap_or(false))
}

/// Rounded up, so that a wait of less than a millisecond is none that spins.
fn patience(longest: Duration) -> PollTimeout {
    PollTimeout::try_from(longest.as_micros().div_ceil(1_000)).unwrap_or(PollTimeout::MAX)
}

/// The beginning of what comes through a pipe, in memory that never moves: a copy left behind would not be wiped.
struct Kept {
    memory: Zeroizing<Vec<u8>>,
    length: usize,
}

impl Kept {
    fn new(most: usize) -> Self {
        Self { memory: Zeroizing::new(vec![0; most]), length: 0 }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[..self.length]
    }

    fn is_full(&self) -> bool {
        self.length == self.memory.len()
    }

    /// `false`: it has ended. What does not fit is taken all the same, so that its writer can go on.
    fn take_from(&mut self, pipe: Option<&mut impl Read>) -> io::Result<bool> {
        let mut rest = Zeroizing::new([0; 512]);
        let space = if self.is_full() { &mut rest[..] } else { &mut self.memory[self.length..] };
        let read = match pipe.map(|pipe| pipe.read(space)) {
            Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            read => read.transpose()?.unwrap_or(0),
        };
        self.length = (self.length + read).min(self.memory.len());
        Ok(read > 0)
    }
}

/// The first line of what a command has to say about its failure, in one line and without what it printed: a shell
/// that traces its commands says that too.
fn shown(said: &[u8], printed: &[u8]) -> String {
    let mut said = Zeroizing::new(String::from_utf8_lossy(said).into_owned());
    let printed = Zeroizing::new(String::from_utf8_lossy(printed).into_owned());
    if !printed.is_empty() && said.len() >= SAID && !said.contains('\n') {
        // A secret that was cut short in it could not be told from other words.
        return String::new();
    }
    let mut secrets: Vec<&str> = printed.lines().map(str::trim).filter(|secret| !secret.is_empty()).collect();
    // The longest first: one that is part of another would leave the other's rest behind.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets {
        said = Zeroizing::new(said.replace(secret, "***"));
    }
    let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let escaped = line.chars().take(SHOWN).map(|letter| match letter {
        letter if letter.is_control() => letter.escape_debug().to_string(),
        letter => letter.to_string(),
    });
    let more = if line.chars().nth(SHOWN).is_some() { "…" } else { "" };
    escaped.chain([more.to_owned()]).collect()
}

fn colon(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// As large as a secret may be.
const LARGEST: usize = 64 << 10;

/// The longest that a command may take.
const LONGEST: Duration = Duration::from_secs(10);

/// As much is kept of standard error.
const SAID: usize = 4 << 10;

/// As many characters of it are shown.
const SHOWN: usize = 200;

/// How often a program is looked at that has ended its output.
const GLANCE: Duration = Duration::from_millis(10);

/// How long a killed program may take to end: one of another user's is not ours to kill.
const LAST_BREATH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const SECRET: &str = "hunter2";

    fn shell(script: &str) -> Command {
        Command::new("sh".to_owned(), vec!["-c".to_owned(), script.to_owned()], Path::new(""))
    }

    #[track_caller]
    fn check(script: &str, expected: Result<&str, &str>) {
        let ran = shell(script).run().map_err(|failure| failure.to_string());
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
        let failure = shell("echo hunter2; exit 3").run().unwrap_err();
        assert!(!format!("{failure:?}").contains(SECRET), "{failure:?}");
        check("printf 'a\nab\n'; echo ab >&2; exit 3", Err("ended with status 3: ***"));
        check("x=$(printf 'x%.0s' $(seq 10000)); echo $x; echo $x >&2; exit 3", Err("ended with status 3"));
    }

    #[test]
    fn what_is_said_is_shortened_and_escaped() {
        check("printf '\\n \\033[31mred\\ttape\\n' >&2; exit 1", Err("ended with status 1: \\u{1b}[31mred\\ttape"));
        let long = format!("ended with status 1: {}…", "x".repeat(200));
        check("printf 'x%.0s' $(seq 10000) >&2; exit 1", Err(&long));
    }

    #[test]
    fn a_program_that_can_not_be_run_says_why() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("locked"), "#!/bin/sh\necho hunter2\n").unwrap();
        let run = |name: &str| Command::new(name.to_owned(), Vec::new(), folder.path()).run();
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

        let secret = Command::new("./script".to_owned(), Vec::new(), name).run();

        assert_eq!(secret.unwrap().expose(), SECRET);
    }

    #[test]
    fn no_shell_has_a_part_in_it() {
        let argument = "$HOME; `id` > *".to_owned();

        let secret = Command::new("echo".to_owned(), vec![argument.clone()], Path::new("")).run();

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
        let command = Command { folder: folder.path().to_owned(), ..shell(script) };

        let failure = command.run_within(Duration::from_secs(1)).unwrap_err();

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
            let _woken = poll(&mut [], patience(GLANCE));
        }
        held()
    }

    #[test]
    fn output_that_stays_open_ends_with_the_time() {
        let failure = shell("sleep 60 & echo hunter2").run_within(Duration::from_millis(1_000)).unwrap_err();

        assert_eq!(failure.to_string(), "has not ended within 1 s");
    }

    #[test]
    fn a_program_that_goes_on_after_its_output_is_waited_for() {
        check("echo hunter2; exec >&-; sleep 0.1; echo 'too late' >&2; exit 3", Err("ended with status 3: too late"));
    }
}
