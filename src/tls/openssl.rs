//! The `openssl` command, for the formats that only other tools write.

use std::process::Command;

use tempfile::TempDir;

/// A fresh folder to run it in.
pub(super) struct Openssl(TempDir);

impl Openssl {
    pub(super) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// Runs one command; words are separated by spaces.
    #[track_caller]
    pub(super) fn run(&self, line: &str) {
        let output = Command::new("openssl").args(line.split(' ')).current_dir(&self.0).output().unwrap();
        assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs one line of a shell.
    #[track_caller]
    pub(super) fn shell(&self, line: &str) {
        let output = Command::new("sh").args(["-c", line]).current_dir(&self.0).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    #[track_caller]
    pub(super) fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.0.path().join(file)).unwrap()
    }

    pub(super) fn write(&self, file: &str, contents: &[u8]) {
        std::fs::write(self.0.path().join(file), contents).unwrap();
    }

    /// Runs a command that writes the file `out`, and reads that.
    #[track_caller]
    pub(super) fn make(&self, line: &str) -> Vec<u8> {
        self.run(line);
        self.read("out")
    }
}
