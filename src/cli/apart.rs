//! Looking into the log of a stopped daemon in a process of its own.
//!
//! The database below the log trusts what stands in its pages. A damaged one can make it panic, which is caught where it is called;
//! overflow its stack, ask for any amount of memory, or go in a circle, which nothing in the process can catch. So what only looks into
//! a stopped log (`wal verify`, `wal inspect`, `dlq list` and `show`, `status`) starts the same command again as a child, whose memory and
//! processor time are bounded by the size of the log's file, and says in its place what ended it. Time on the processor, not on the clock: a slow disk is no
//! damage.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};

/// Set for the child: it does the work itself.
const CHILD: &str = "REPLICATOR_READS_STOPPED_LOG";

/// Memory that any log needs.
const MEMORY: u64 = 512 << 20;
/// Memory for the rows of a frame of the largest size, in the log and as they are printed: bytes take twice as many digits, and the line
/// of a document is made of them.
const MEMORY_OF_FRAMES: u64 = 12 << 30;
/// Processor time that any log needs, in seconds.
const SECONDS: u64 = 10;
/// Bytes of the file for which there is one second more: a hundredth of what one core checks.
const BYTES_A_SECOND: u64 = 8 << 20;
/// What is kept of what the child says on stderr.
const STDERR: u64 = 1 << 20;

/// How the child ended.
pub(super) enum Ended {
    /// By itself, with an exit code. All was said.
    Code(u8),
    /// It was ended; this is why.
    Damage(String),
}

/// The child has said everything; only its exit code is left to give.
#[derive(Debug, thiserror::Error)]
#[error("the child ended with exit code {0}")]
pub(super) struct Passed(pub(super) u8);

/// Whether this process is the child.
pub(super) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs the command of this process again as a child.
pub(super) fn run() -> anyhow::Result<Ended> {
    let program = std::env::current_exe().context("cannot find the program's own file")?;
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut child = Command::new(program)
        .args(arguments)
        .env(CHILD, "1")
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start the process that reads the log")?;
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let mut stderr = stderr.take(STDERR);
        stderr.read_to_end(&mut said).context("cannot read what the process that reads the log says")?;
        // Whatever is more is read and dropped, so that the child does not wait for it to be read.
        std::io::copy(&mut stderr.into_inner(), &mut std::io::sink())
            .context("cannot read what the process that reads the log says")?;
    }
    let status = child.wait().context("cannot wait for the process that reads the log")?;
    let Some(code) = status.code().and_then(|code| u8::try_from(code).ok()) else {
        let signal = status.signal().unwrap_or_default();
        if signal == Signal::KILL.as_raw() || signal == Signal::TERM.as_raw() || signal == Signal::INT.as_raw() {
            // Nothing that a log does to its reader.
            anyhow::bail!(
                "the process that reads the log was ended with signal {signal}: by an operator, or because this machine has no memory left"
            );
        }
        return Ok(Ended::Damage(ended_by(signal)));
    };
    // Without a stderr there is nowhere left to say it.
    drop(std::io::stderr().write_all(&said));
    Ok(Ended::Code(code))
}

fn ended_by(signal: i32) -> String {
    if signal == Signal::XCPU.as_raw() {
        "reading it takes more processor time than an undamaged log of this size can: it leads in a circle".to_owned()
    } else if signal == Signal::ABORT.as_raw() {
        "reading it takes more memory than an undamaged log of this size can, or gave up in the middle".to_owned()
    } else {
        format!("reading it crashed with signal {signal}")
    }
}

/// In the child: bounds what reading the log at `path` may take.
pub(super) fn bound(path: &Path) -> anyhow::Result<()> {
    let file = if path.is_dir() { path.join("log.redb") } else { path.to_owned() };
    // A file that is not there is somebody else's error.
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    let memory = MEMORY + size.saturating_mul(8).min(MEMORY_OF_FRAMES);
    let seconds = SECONDS + size / BYTES_A_SECOND;
    let limit = |resource, soft: u64, hard: u64| {
        // A limit that this process was given already may be lower, and nobody may raise it.
        let given = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        let (soft, hard) = (soft.min(given), hard.min(given));
        setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })
            .context("cannot bound what reading the log may take")
    };
    limit(Resource::Core, 0, 0)?;
    limit(Resource::As, memory, memory)?;
    limit(Resource::Cpu, seconds, seconds + 1)?;
    // A command that was ended by an operator does not leave its child at work.
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot bind this process to its parent")
}
