//! Time and memory of a process, and the table of results.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What one run of a process took.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub seconds: f64,
    /// Largest resident set seen; looked at every few milliseconds, and the kernel keeps the maximum in between.
    pub peak_mb: f64,
}

/// Runs a command to its end, with its output in `log`.
pub fn run(command: &mut Command, log: &Path) -> Run {
    let output = fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .spawn()
        .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    let mut peak_mb = 0.0_f64;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        peak_mb = peak_mb.max(peak_memory_mb(child.id()).unwrap_or(0.0));
        assert!(start.elapsed() < Duration::from_mins(15), "{command:?} runs for 15 minutes");
        thread::sleep(Duration::from_millis(2));
    };
    let seconds = start.elapsed().as_secs_f64();
    assert!(status.success(), "{command:?}: {status}\n{}", fs::read_to_string(log).unwrap_or_default());
    Run { seconds, peak_mb }
}

/// The peak of a running process's resident memory, as the kernel counts it (`VmHWM` in proc(5)).
pub fn peak_memory_mb(process: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kilobytes / 1024.0)
}

/// The best of several runs: what the machine can do when nothing else is in the way.
pub fn best(mut runs: impl Iterator<Item = Run>) -> Run {
    let first = runs.next().expect("at least one run");
    runs.fold(first, |best, run| Run { seconds: best.seconds.min(run.seconds), peak_mb: best.peak_mb.max(run.peak_mb) })
}

/// Bytes of all files in a directory, as allocated on disk.
pub fn disk_bytes(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().metadata().unwrap().blocks() * 512).sum()
}

/// One line of the result.
struct Line {
    what: String,
    ours: String,
    reference: String,
    value: f64,
    /// Without one, the line is only shown.
    limit: Option<f64>,
    unit: &'static str,
    /// The limit is the least, not the most.
    is_least: bool,
}

/// All results so far.
#[derive(Default)]
pub struct Table {
    lines: Vec<Line>,
}

impl Table {
    /// A time against a reference time, with or without a limit on it.
    pub fn ratio(&mut self, what: &str, ours: f64, reference: (&str, f64), limit: impl Into<Option<f64>>) {
        self.add(Line {
            what: what.to_owned(),
            ours: format!("{ours:.2} s"),
            reference: format!("{}: {:.2} s", reference.0, reference.1),
            value: ours / reference.1,
            limit: limit.into(),
            unit: "x",
            is_least: false,
        });
    }

    /// A measured value against a limit.
    pub fn value(&mut self, what: &str, value: f64, unit: &'static str, limit: f64) {
        self.measured(what, value, unit, limit, false);
    }

    /// A measured value that must not be below a limit.
    pub fn at_least(&mut self, what: &str, value: f64, unit: &'static str, limit: f64) {
        self.measured(what, value, unit, limit, true);
    }

    fn measured(&mut self, what: &str, value: f64, unit: &'static str, limit: f64, is_least: bool) {
        let (ours, reference) = (String::new(), String::new());
        let limit = Some(limit);
        self.add(Line { what: what.to_owned(), ours, reference, value, limit, unit, is_least });
    }

    /// Shown at once as well: a run takes many minutes, and a later scenario may fail.
    fn add(&mut self, line: Line) {
        eprintln!("{line}");
        self.lines.push(line);
    }

    pub fn every_limit_is_kept(&self) -> bool {
        self.lines.iter().all(Line::is_kept)
    }
}

impl Line {
    fn is_kept(&self) -> bool {
        self.limit.is_none_or(|limit| if self.is_least { self.value >= limit } else { self.value <= limit })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| what | replicator | reference | result | limit | kept |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, ours, reference, value, limit, unit, is_least } = self;
        let result = format!("| {what} | {ours} | {reference} | {value:.2} {unit} |");
        let Some(limit) = limit else {
            return write!(f, "{result} | |");
        };
        let bound = if *is_least { "at least " } else { "" };
        let kept = if self.is_kept() { "yes" } else { "NO" };
        write!(f, "{result} {bound}{limit} {unit} | {kept} |")
    }
}
