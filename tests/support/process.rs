//! A child process with its output in a file, ended by its own process id and never left behind.
//!
//! The child stays in the test's process group, so that a test that is killed for taking too long takes it along.

use std::fs::{self, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often a wait looks again: short against everything waited for, and long enough not to keep a core busy.
pub const POLL: Duration = Duration::from_millis(10);

/// A running (or ended) child.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with stdin closed, and with stdout and stderr appended to the file `log`.
    pub fn spawn(name: &str, command: &mut Command, log: &Path) -> Self {
        Self::spawn_reading(Stdio::null(), name, command, log)
    }

    /// [`Process::spawn`] of a program that runs until its stdin ends: it is open until the value is dropped.
    pub fn spawn_with_open_stdin(name: &str, command: &mut Command, log: &Path) -> Self {
        Self::spawn_reading(Stdio::piped(), name, command, log)
    }

    fn spawn_reading(stdin: Stdio, name: &str, command: &mut Command, log: &Path) -> Self {
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap_or_else(|error| panic!("open {}: {error}", log.display()));
        let child = command
            .stdin(stdin)
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("start {name} ({}): {error}", command.get_program().display()));
        Self { name: name.to_owned(), child, log: log.to_owned(), ended: None }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if the process has ended by now.
    pub fn poll(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended
    }

    /// Sends `signal`; a process that has ended is left alone, because its id may belong to another by now.
    pub fn signal(&mut self, signal: Signal) {
        if self.poll().is_none() {
            let id = Pid::from_child(&self.child);
            kill_process(id, signal).unwrap_or_else(|error| panic!("signal {}: {error}", self.name));
        }
    }

    /// Waits for the process to end by itself, and fails the test with the end of its log if it does not.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.poll() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{} (process {}) has not ended within {limit:?}; its log ends:\n{}",
                self.name,
                self.id(),
                self.log_end(40)
            );
            thread::sleep(POLL);
        }
    }

    /// Ends the process with signal 9 and waits until it is gone.
    pub fn kill(&mut self) {
        if self.poll().is_none() {
            // An error means that it ended in between, which wait reports.
            drop(self.child.kill());
            self.ended = Some(self.child.wait().unwrap());
        }
    }

    /// The whole output so far.
    pub fn log(&self) -> String {
        fs::read(&self.log).map_or_else(
            |error| format!("(no log at {}: {error})", self.log.display()),
            |bytes| String::from_utf8_lossy(&bytes).into_owned(),
        )
    }

    /// The last `lines` lines of the output so far.
    pub fn log_end(&self, lines: usize) -> String {
        let log = self.log();
        let skipped = log.lines().count().saturating_sub(lines);
        log.lines().skip(skipped).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// "exit code 2" or "signal 9", for messages.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}
