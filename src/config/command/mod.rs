//! Secrets that a command prints.
//!
//! Promises that no shell has a part in it, that a command is bounded in time and output, and that one which is given
//! up is gone with all that it started. What it prints is the secret: it is in no error, and our copies of it are
//! wiped. Besides `source` this is the only place of the room that touches the system.
//!
//! A command inherits the environment, since most of them need one (`HOME`, `VAULT_ADDR`, …), but for what the config
//! reads from there as secrets, which are no business of this one. It inherits neither standard input nor a terminal:
//! there is nobody who could answer its questions. Nor does it inherit a limit of open files that we have raised for
//! ourselves: to a program that goes through all that it may have open, a million is no favor.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{self, Child, ChildStderr, ChildStdout, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, rlim_t, setrlimit};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use zeroize::Zeroizing;

use super::source;
use crate::legible::legible;
use crate::secret::Secret;

/// A program, its arguments, and where it runs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SecretCommand {
    /// As it was written.
    name: String,
    /// Looked for in `PATH` if it has no slash.
    program: PathBuf,
    arguments: Vec<String>,
    /// The folder of the config; empty: our own.
    folder: PathBuf,
}

/// Says that this process has raised its limit of open files, and from what: each command that runs later gets that.
pub(crate) fn hand_on_open_files(soft: rlim_t, hard: rlim_t) {
    // It is raised once, at the start.
    let _known = OPEN_FILES.set((soft, hard));
}

/// The variables of the environment that no command inherits.
pub(super) type Withheld = BTreeSet<String>;

/// Arguments are no place for secrets, and hold them all the same.
impl fmt::Debug for SecretCommand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Command").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a command gave no secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandFailure {
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

impl SecretCommand {
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

    /// Where the program is, if it is found.
    pub(super) fn file(&self) -> Option<PathBuf> {
        if self.name.contains('/') { Some(self.program.clone()) } else { source::in_search_path(&self.program) }
    }

    /// Runs it without these variables, and takes what it prints without one newline at its end. Blocks, for ten seconds
    /// at most.
    pub(super) fn run(&self, withheld: &Withheld) -> Result<Secret, CommandFailure> {
        self.run_within(LONGEST, withheld)
    }

    fn run_within(&self, longest: Duration, withheld: &Withheld) -> Result<Secret, CommandFailure> {
        let mut running = Running::start(self, withheld)?;
        let status = running.wait(longest)?;
        if !status.success() {
            return Err(running.failure(status));
        }
        let text = std::str::from_utf8(running.printed.bytes()).map_err(|_| CommandFailure::NotText)?;
        match without_newline(text) {
            "" => Err(CommandFailure::Empty),
            secret => Ok(Secret::new(secret.to_owned())),
        }
    }

    fn spawn(&self, withheld: &Withheld) -> io::Result<Child> {
        let mut command = process::Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if !self.folder.as_os_str().is_empty() {
            command.current_dir(&self.folder);
        }
        withheld.iter().for_each(|variable| {
            command.env_remove(variable);
        });
        lower_open_files(&mut command);
        // A group of its own can be ended as a whole.
        command.process_group(0).spawn()
    }
}

/// Has the command begin with the limit that we began with.
///
/// In the child, before the program: from outside it would come when that may have looked already, and a limit of ours that is
/// lowered meanwhile would cost connections.
fn lower_open_files(command: &mut process::Command) {
    let Some(&(soft, hard)) = OPEN_FILES.get() else { return };
    let lower = move || setrlimit(Resource::RLIMIT_NOFILE, soft, hard).map_err(io::Error::from);
    // SAFETY: between fork and exec only what is async-signal-safe may be called. This is one system call; neither it nor its
    // error touches the heap or a lock.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(lower);
    }
}

/// Printers end a line with a newline that is no part of the value.
pub(super) fn without_newline(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line))
}

/// A command under way.
struct Running {
    child: Child,
    is_reaped: bool,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    printed: OutputBuffer,
    said: OutputBuffer,
}

impl Running {
    fn start(command: &SecretCommand, withheld: &Withheld) -> Result<Self, CommandFailure> {
        let mut child = command.spawn(withheld).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => CommandFailure::Missing,
            io::ErrorKind::PermissionDenied => CommandFailure::Denied,
            _ => CommandFailure::System(error),
        })?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        // One byte more tells what is too large from what is just not.
        let (printed, said) = (OutputBuffer::new(LARGEST + 1), OutputBuffer::new(SAID));
        Ok(Self { child, is_reaped: false, stdout, stderr, printed, said })
    }

    /// Takes what comes until the program has ended. Its output may go on: what it left behind, an agent that it
    /// started, has the other end of the pipe too, and may keep it for ever.
    fn wait(&mut self, longest: Duration) -> Result<ExitStatus, CommandFailure> {
        let deadline = Instant::now() + longest;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(CommandFailure::TooSlow(longest));
            }
            // Asked first: what it printed is in the pipe when it has ended, and is taken below.
            let has_ended = self.has_ended()?;
            // Nothing wakes us when the program ends and its output does not.
            let took = self.take(if has_ended { Duration::ZERO } else { left.min(GLANCE) })?;
            if self.printed.is_full() {
                return Err(CommandFailure::TooLarge);
            }
            if has_ended && !took {
                return self.reap();
            }
        }
    }

    /// Whether the program has ended. It is not reaped by this: as long as nobody has done that, its number is nobody
    /// else's, and the group can be killed.
    fn has_ended(&self) -> io::Result<bool> {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        Ok(waitid(Id::Pid(self.pid()), flags)? != WaitStatus::StillAlive)
    }

    fn reap(&mut self) -> Result<ExitStatus, CommandFailure> {
        let status = self.child.wait()?;
        self.is_reaped = true;
        Ok(status)
    }

    /// Takes what there is, and waits for it up to `timeout`; whether there was something worth taking.
    fn take(&mut self, timeout: Duration) -> Result<bool, CommandFailure> {
        let stdout = is_ready(self.stdout.as_ref(), self.stderr.as_ref(), timeout)?;
        let stderr = is_ready(self.stderr.as_ref(), None::<&ChildStdout>, Duration::ZERO)?;
        if stdout && !self.printed.take_from(self.stdout.as_mut())? {
            self.stdout = None;
        }
        // What is said beyond that is not kept, and nobody need wait until it has all been said.
        let is_news = stderr && !self.said.is_full();
        if stderr && !self.said.take_from(self.stderr.as_mut())? {
            self.stderr = None;
        }
        Ok(stdout || is_news)
    }

    fn pid(&self) -> Pid {
        // Linux has no larger ones.
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    fn failure(&self, status: ExitStatus) -> CommandFailure {
        let said = shown(self.said.bytes(), self.printed.bytes());
        match (status.code(), status.signal()) {
            (None, Some(signal)) => CommandFailure::Signal { signal, said },
            (status, _) => CommandFailure::Status { status: status.unwrap_or_default(), said },
        }
    }
}

/// Nothing that a command started outlives it when it is given up.
impl Drop for Running {
    fn drop(&mut self) {
        if self.is_reaped {
            return;
        }
        // It may have gone meanwhile, or belong to another user by now.
        let _killed = killpg(self.pid(), Signal::SIGKILL);
        let deadline = Instant::now() + LAST_BREATH;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            let _woken = poll(&mut [], poll_timeout(GLANCE));
        }
    }
}

/// Whether `first` has something to take, or has ended; `other` ends the wait too.
fn is_ready(first: Option<&impl AsFd>, other: Option<&impl AsFd>, longest: Duration) -> Result<bool, CommandFailure> {
    let mut waited: Vec<PollFd<'_>> = Vec::with_capacity(2);
    waited.extend(first.map(|first| PollFd::new(first.as_fd(), PollFlags::POLLIN)));
    waited.extend(other.map(|other| PollFd::new(other.as_fd(), PollFlags::POLLIN)));
    match poll(&mut waited, poll_timeout(longest)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(CommandFailure::System(error.into())),
    }
    Ok(first.is_some() && waited.first().and_then(PollFd::any).unwrap_or(false))
}

/// Rounded up, so that a wait of less than a millisecond is none that spins.
fn poll_timeout(longest: Duration) -> PollTimeout {
    PollTimeout::try_from(longest.as_micros().div_ceil(1_000)).unwrap_or(PollTimeout::MAX)
}

/// The beginning of what comes through a pipe, in memory that never moves: a copy left behind would not be wiped.
struct OutputBuffer {
    memory: Zeroizing<Vec<u8>>,
    length: usize,
}

impl OutputBuffer {
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
    let more = line.chars().nth(SHOWN).map(|_| '…');
    line.chars().take(SHOWN).flat_map(legible).chain(more).collect()
}

fn colon(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// The limits of open files that this process was started with, once it has raised its own.
static OPEN_FILES: OnceLock<(rlim_t, rlim_t)> = OnceLock::new();

/// As large as a secret may be.
const LARGEST: usize = 64 << 10;

/// The longest that a command may take.
const LONGEST: Duration = Duration::from_secs(10);

/// As much is kept of standard error.
const SAID: usize = 4 << 10;

/// As many characters of it are shown.
const SHOWN: usize = 200;

/// How often a program is looked at: it may end without a word.
const GLANCE: Duration = Duration::from_millis(10);

/// How long a killed program may take to end: one of another user's is not ours to kill.
const LAST_BREATH: Duration = Duration::from_secs(1);
