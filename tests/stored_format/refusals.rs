//! A log of another format is refused by name, with what to do, by every command that opens one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use replicator::codec::stored::{self, LogFormat};
use tempfile::TempDir;
use wal::{GroupEnd, Lsn, Options, Wal};

use super::unpack;
use crate::support::daemon::{program, run_to_end};

/// Nothing here waits for anything but itself.
const LIMIT: Duration = Duration::from_mins(1);

/// Every command that opens the log of the configuration while no daemon runs.
const COMMANDS: [&[&str]; 8] = [
    &["start", "--once"],
    &["status"],
    &["status", "--json"],
    &["wal", "inspect"],
    &["wal", "verify"],
    &["wal", "drop-cursor", "local"],
    &["check"],
    &["backfill", "--database", "shop", "--table", "users"],
];

/// A directory with a configuration whose server does not exist.
struct Shell(TempDir);

impl Shell {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let shell = Self(directory);
        shell.configure("./log", "./replica.db");
        shell
    }

    fn configure(&self, log: &str, target: &str) {
        let text = format!(
            "source: {{ url: 'mysql://nobody@127.0.0.1:1', server_id: 1, include: ['shop.*'] }}\n\
             wal: {{ path: {log}, max_size: 64MiB }}\n\
             sinks: [{{ name: copy, type: sqlite, path: {target} }}]\n\
             http: {{ listen: none }}\n"
        );
        std::fs::write(self.0.path().join("replicator.yaml"), text).unwrap();
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("log")
    }

    /// Whether a command failed, and all that it printed.
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = run_to_end(program().args(arguments).current_dir(self.0.path()), LIMIT);
        let printed = [output.stdout, output.stderr].concat();
        (output.status.code() == Some(1), String::from_utf8(printed).unwrap())
    }
}

/// A log with a frame, and the format that it says it has.
async fn make_log(directory: &Path, format: Option<u32>) {
    let (wal, mut appender) = Wal::open(directory, Options::new(64 << 20)).unwrap();
    wal.create_cursor("local", Lsn::ZERO).await.unwrap();
    if let Some(format) = format {
        appender.put_state(stored::FORMAT.key(), Some(&stored::encode(&LogFormat(format)).unwrap()));
    }
    appender.append(&[b"a frame"], GroupEnd::Ends).unwrap();
    appender.flush_durable().await.unwrap();
    wal.shutdown().await.unwrap();
}

#[tokio::test]
async fn every_command_refuses_a_log_of_another_format_by_name() {
    for (format, says, hint) in [
        (None, "the log was written in format 1, this version reads and writes format 2", "set a new `wal.path`"),
        (Some(3), "the log was written in format 3, this version reads and writes format 2", "or a newer one"),
    ] {
        let shell = Shell::new();
        make_log(&shell.log(), format).await;
        for command in COMMANDS {
            let (failed, printed) = shell.run(command);
            assert!(failed, "{command:?} took it: {printed}");
            assert!(printed.contains(says) && printed.contains(hint), "{command:?}: {printed}");
        }
    }
}

#[tokio::test]
async fn a_log_that_was_written_by_an_earlier_version_is_refused_and_not_changed() {
    let shell = Shell::new();
    let file = shell.log().join("log.redb");
    // The fixture of the log crate: its blocks did not change, what is in them did.
    unpack("../../wal/tests/fixtures/v1.redb.gz", &file);
    let before = std::fs::read(&file).unwrap();
    for command in [&["status"][..], &["wal", "inspect"], &["check"]] {
        let (failed, printed) = shell.run(command);
        assert!(failed && printed.contains("the log was written in format 1"), "{command:?}: {printed}");
    }
    assert!(std::fs::read(&file).unwrap() == before, "the log was written to");
}

#[tokio::test]
async fn a_new_log_and_a_new_target_are_taken_as_the_hint_says() {
    let shell = Shell::new();
    make_log(&shell.log(), None).await;
    shell.configure("./new-log", "./new.db");
    // There is no server to start with: the refusal is of the source, and no longer of the log.
    let (_, printed) = shell.run(&["check"]);
    assert!(!printed.contains("format 1"), "{printed}");
    assert!(printed.contains("start will make it in \"./new-log\""), "{printed}");
}
