//! A program of the lab that says in one line of JSON when it is ready, and ends when its standard input does.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::program::{PATIENCE, state_of};

/// A running part; ends when it is dropped, or when the test dies.
pub struct Part {
    _process: Mortal,
    /// Kept open: a program that can't write a remark ends.
    _output: BufReader<ChildStdout>,
    /// What it said.
    told: Value,
}

impl Part {
    /// Starts `script`, a file of this project, and waits for its line.
    ///
    /// Others wrote the interpreter and most of what the script loads: a start that stands still is done once more
    /// before it fails a test.
    pub async fn start(mut interpreter: Command, script: &str, arguments: &[String]) -> Self {
        interpreter.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(script)).args(arguments);
        interpreter.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let first = match Self::try_start(&mut interpreter, script).await {
            Ok(part) => return part,
            Err(state) => state,
        };
        let second = Self::try_start(&mut interpreter, script).await;
        second.unwrap_or_else(|state| panic!("{script} does not say that it is ready, twice: {first} and {state}"))
    }

    /// It, or what its threads wait for if it says nothing in time.
    async fn try_start(interpreter: &mut Command, script: &str) -> Result<Self, String> {
        let mut process =
            interpreter.spawn().unwrap_or_else(|error| panic!("{script}: {error}; ./test installs what runs it"));
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let process = Mortal(process);
        let said = spawn_blocking(move || {
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            (line, output)
        });
        // Ended, it also ends the reading of its line.
        let Ok(said) = timeout(PATIENCE / 2, said).await else { return Err(state_of(process.0.id())) };
        let (line, output) = said.unwrap();
        let told =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("{script} starts: ./test installs its packages"));
        Ok(Self { _process: process, _output: output, told })
    }

    /// The port that it calls `name`, if it has such a one.
    #[track_caller]
    pub fn port(&self, name: &str) -> Option<u16> {
        self.told[name].as_u64().map(|port| u16::try_from(port).unwrap())
    }

    /// The text that it calls `name`.
    #[track_caller]
    pub fn text(&self, name: &str) -> String {
        self.told[name].as_str().unwrap().to_owned()
    }
}

/// Has a standard input whose end is the program's, and is ended at the latest when it is dropped.
struct Mortal(Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}
