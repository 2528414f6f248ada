//! The real `replicator` program: started, watched through its own `status`, and ended.

use std::path::Path;
use std::process::{Command, ExitStatus, Output};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::process::{POLL, Process, describe};
use super::server::PASSWORD;

/// How long a condition may take to become true. Everything waited for takes milliseconds; the limit is for a machine
/// busy with other tests.
pub const LIMIT: Duration = Duration::from_mins(1);

/// A running `replicator start`.
pub struct Daemon {
    process: Process,
    config: std::path::PathBuf,
}

impl Daemon {
    /// Starts `replicator start ARGUMENTS --config CONFIG` with its output appended to `log`.
    pub fn start(config: &Path, arguments: &[&str], log: &Path) -> Self {
        let mut command = program_for(config);
        command.arg("start").args(arguments).arg("--config").arg(config);
        Self { process: Process::spawn("replicator", &mut command, log), config: config.to_owned() }
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Everything that all starts on this log file wrote to stdout and stderr.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// What `status --json` says, or the reason why it says nothing (the daemon is starting or has ended).
    pub fn status(&self) -> Result<Value, String> {
        let output = run(&self.config, &["status", "--json"], LIMIT);
        // 3: an operator has to look, and the document says why.
        if !matches!(output.status.code(), Some(0 | 3)) {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("status is no JSON: {error}\n{}", String::from_utf8_lossy(&output.stdout)))
    }

    /// Waits until `condition` holds of the status and returns that status; `what` names the condition in the failure.
    pub async fn wait_until(&mut self, what: &str, condition: impl FnMut(&Value) -> bool) -> Value {
        self.wait_until_within(LIMIT, what, condition).await
    }

    /// [`Daemon::wait_until`] with a limit of its own.
    pub async fn wait_until_within(
        &mut self,
        limit: Duration,
        what: &str,
        mut condition: impl FnMut(&Value) -> bool,
    ) -> Value {
        let start = Instant::now();
        let deadline = start + limit;
        loop {
            let seen = match self.status() {
                Ok(status) if condition(&status) => return status,
                Ok(status) => serde_json::to_string_pretty(&status).unwrap(),
                Err(reason) => reason,
            };
            if let Some(status) = self.process.poll() {
                panic!("replicator ended with {} before {what}", describe(status));
            }
            assert!(Instant::now() < deadline, "not within {limit:?}: {what}; the last status:\n{seen}");
            // Every look is a process of its own, which would take a long wait's time from what is waited for.
            tokio::time::sleep((start.elapsed() / 20).clamp(POLL, 50 * POLL)).await;
        }
    }

    /// The exit status, if it has ended by now.
    pub fn poll(&mut self) -> Option<ExitStatus> {
        self.process.poll()
    }

    /// Ends it with signal 9, wherever it is.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&mut self) {
        self.process.signal(Signal::TERM);
    }

    /// Asks it to read its configuration again (SIGHUP).
    pub fn reload(&mut self) {
        self.process.signal(Signal::HUP);
    }

    /// Waits for it to end by itself and returns the exit code.
    pub fn wait(&mut self, limit: Duration) -> i32 {
        let status = self.process.wait(limit);
        status.code().unwrap_or_else(|| panic!("replicator ended with {}", describe(status)))
    }

    /// Stops it in good order: SIGTERM, exit code 0 within the 10 s that it promises (and a margin for a busy machine).
    pub fn stop(&mut self) {
        self.terminate();
        let code = self.wait(Duration::from_secs(20));
        assert_eq!(code, 0, "exit code after SIGTERM");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the end of replicator's log\n{}", self.process.log_end(60));
        }
    }
}

/// Runs `replicator ARGUMENTS --config CONFIG` to its end, for at most `limit`.
pub fn run(config: &Path, arguments: &[&str], limit: Duration) -> Output {
    let mut command = program_for(config);
    command.args(arguments).arg("--config").arg(config);
    run_to_end(&mut command, limit)
}

/// The program with what every test gives it: the source's password, and backtraces.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_replicator"));
    command.env("REPLICATOR_SOURCE_PASSWORD", PASSWORD).env("RUST_BACKTRACE", "1");
    command
}

/// The program for a configuration: one that names a file of the source's password gets none from the environment.
fn program_for(config: &Path) -> Command {
    let mut command = program();
    let text = std::fs::read_to_string(config).unwrap_or_default();
    let config: Value = serde_json::from_str(&text).unwrap_or_default();
    if config["source"]["password_file"].is_string() {
        command.env_remove("REPLICATOR_SOURCE_PASSWORD");
    }
    command
}

/// Runs a command whose output goes to files, not pipes: nothing can fill up while nobody reads.
pub fn run_to_end(command: &mut Command, limit: Duration) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let (stdout, stderr) = (directory.path().join("stdout"), directory.path().join("stderr"));
    let mut child = command
        .stdin(std::process::Stdio::null())
        .stdout(std::fs::File::create(&stdout).unwrap())
        .stderr(std::fs::File::create(&stderr).unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() >= deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            let said = std::fs::read(&stderr).unwrap();
            panic!("{command:?} has not ended within {limit:?}; stderr:\n{}", String::from_utf8_lossy(&said));
        }
        thread::sleep(Duration::from_millis(2));
    };
    Output { status, stdout: std::fs::read(&stdout).unwrap(), stderr: std::fs::read(&stderr).unwrap() }
}
