//! What damage on disk looks like to an operator: every command that opens the log of a stopped daemon says what it finds. None ends
//! with a backtrace, and none runs without end.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use flate2::read::GzDecoder;

use crate::support::daemon::run_to_end;

/// Bytes of a page of the database.
const PAGE: usize = 4096;
/// Bytes of the database's header: what is said of the file, and the two commit slots.
const HEADER: usize = 320;
/// Where in a page a byte is changed: its kind, its count of entries, their ends, and what follows.
const PLACES: [usize; 6] = [0, 2, 5, 8, 24, 1000];
/// A bound, and no measure: a command that runs without end is ended by it.
const LIMIT: Duration = Duration::from_mins(2);

/// A directory with a log, one byte of which can be another.
struct Damaged {
    directory: tempfile::TempDir,
    whole: Vec<u8>,
}

impl Damaged {
    fn of(whole: Vec<u8>) -> Self {
        let damaged = Self { directory: tempfile::tempdir().unwrap(), whole };
        std::fs::create_dir(damaged.log()).unwrap();
        let configuration = "source: { url: 'mysql://nobody@127.0.0.1:1', server_id: 1, include: ['shop.*'] }\n\
             wal: { path: ./log, max_size: 64MiB }\n\
             sinks: [{ name: local, type: sqlite, path: ./replica.db }]\n\
             http: { listen: none }\n";
        std::fs::write(damaged.directory.path().join("replicator.yaml"), configuration).unwrap();
        damaged
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Puts the log there, with another byte at `at`.
    fn flip(&self, at: usize) {
        let mut bytes = self.whole.clone();
        bytes[at] ^= 0x41;
        std::fs::write(self.log().join("log.redb"), bytes).unwrap();
    }

    /// Exit code, stdout and stderr.
    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_replicator"));
        command.args(arguments).current_dir(self.directory.path()).env("RUST_BACKTRACE", "1");
        let output = run_to_end(&mut command, LIMIT);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap_or_else(|| panic!("{arguments:?} ended by {:?}", output.status));
        (code, text(output.stdout), text(output.stderr))
    }

    /// A command says what it says, and ends as it should.
    fn says(&self, arguments: &[&str], at: usize) -> (i32, String, String) {
        let (code, stdout, stderr) = self.run(arguments);
        let context = format!("{arguments:?}, byte {at} of page {}: {code}\n{stdout}{stderr}", at / PAGE);
        assert!(code == 0 || code == 1, "{context}");
        assert!(code == 0 || stderr.starts_with("error: "), "{context}");
        for word in ["panicked at", "stack backtrace", "RUST_BACKTRACE", "memory allocation of"] {
            assert!(!stdout.contains(word) && !stderr.contains(word), "{context}");
        }
        (code, stdout, stderr)
    }
}

/// A log with every kind of frame and of record in it, of 46 pages.
fn small_log() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/log/format-2.redb.gz");
    let mut whole = Vec::new();
    std::io::Read::read_to_end(&mut GzDecoder::new(std::fs::File::open(path).unwrap()), &mut whole).unwrap();
    assert_eq!(whole.len() % PAGE, 0);
    whole
}

/// Runs `check` for every place, on two threads.
fn each(places: &[usize], check: fn(&Damaged, usize)) {
    let whole = small_log();
    let (left, right) = places.split_at(places.len() / 2);
    std::thread::scope(|scope| {
        for half in [left, right] {
            let damaged = Damaged::of(whole.clone());
            scope.spawn(move || half.iter().for_each(|at| check(&damaged, *at)));
        }
    });
}

fn places_of_pages(within: &[usize]) -> Vec<usize> {
    let pages = small_log().len() / PAGE;
    (0..pages).flat_map(|page| within.iter().map(move |place| page * PAGE + place)).collect()
}

#[test]
fn verify_says_what_it_finds_whichever_byte_of_a_log_is_another() {
    let mut places: Vec<usize> = (0..HEADER).collect();
    places.extend(places_of_pages(&PLACES));
    each(&places, |damaged, at| {
        damaged.flip(at);
        let (code, stdout, stderr) = damaged.says(&["wal", "verify", "--path", "log"], at);
        let verdict = stdout.lines().last().unwrap_or_default();
        let has_findings = stdout.lines().count() > 1 && verdict.ends_with(": damaged");
        match code {
            0 => assert!(verdict.ends_with(": sound") && stderr.is_empty(), "byte {at}: {stdout}{stderr}"),
            _ => assert!(has_findings || stderr.contains("the file is not a log"), "byte {at}: {stdout}{stderr}"),
        }
    });
}

#[test]
fn every_command_that_opens_a_stopped_log_names_damage_instead_of_breaking_off() {
    each(&places_of_pages(&[4]), |damaged, at| {
        for arguments in [
            &["wal", "inspect", "--rows", "--path", "log"][..],
            &["status"],
            &["dlq", "list"],
            &["wal", "drop-cursor", "nobody"],
            &["check"],
        ] {
            damaged.flip(at);
            damaged.says(arguments, at);
        }
    });
}
