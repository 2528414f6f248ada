//! Measures the log on this machine: `cargo run --release -p replicator-wal --example measure [DIRECTORY]`.
//!
//! Prints what it appended, how fast, and what the file took on disk. The directory must be on the disk in question, not on tmpfs.

use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use wal::{Appender, GroupEnd, Lsn, Options, Positions, Wal};

type Outcome<T> = Result<T, Box<dyn Error>>;

const FRAME: usize = 500;
const MIB: u64 = 1 << 20;

fn main() -> Outcome<()> {
    let base = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        small_groups(&base).await?;
        for max_size in [64, 256, 1024] {
            steady(&base, max_size * MIB).await?;
        }
        bulk(&base).await?;
        let status = std::fs::read_to_string("/proc/self/status")?;
        let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM: unknown");
        say(&format!("peak memory {peak}"))
    })
}

fn say(line: &str) -> Outcome<()> {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

fn fresh(base: &Path, max_size: u64) -> Outcome<(tempfile::TempDir, Wal, Appender)> {
    let directory = tempfile::tempdir_in(base)?;
    let (wal, appender) = Wal::open(directory.path(), Options::new(max_size))?;
    Ok((directory, wal, appender))
}

fn float(count: u64) -> Outcome<f64> {
    Ok(f64::from(u32::try_from(count)?))
}

/// A million frames in flushes of 1 MiB, each committed on its own or with what has queued.
async fn bulk(base: &Path) -> Outcome<()> {
    const FRAMES: u64 = 2_000_000;
    let (directory, wal, mut appender) = fresh(base, 8192 * MIB)?;
    let payload = [7; FRAME];
    let start = Instant::now();
    let mut appending = Duration::ZERO;
    let mut since = Instant::now();
    for _ in 0..FRAMES {
        appender.append(&[&payload], GroupEnd::Ends)?;
        if appender.pending_bytes() >= 1 << 20 {
            appending += since.elapsed();
            appender.flush().await?;
            since = Instant::now();
        }
    }
    appender.flush_durable().await?;
    let took = start.elapsed().as_secs_f64();
    let stats = wal.stats()?;
    say(&format!(
        "bulk: {FRAMES} frames of {FRAME} bytes in {took:.2} s: {:.0} MB/s, {:.2} M frames/s, {} commits, {:.3} bytes on disk per byte; append alone {:.1} ns a frame",
        float(stats.appended_bytes)? / took / 1e6,
        float(FRAMES)? / took / 1e6,
        stats.commits,
        float(stats.disk_bytes / 1024)? / float(stats.appended_bytes / 1024)?,
        appending.as_secs_f64() * 1e9 / float(FRAMES)?,
    ))?;
    // What a kill leaves is the file as it is now.
    let copy = tempfile::tempdir_in(base)?;
    std::fs::copy(directory.path().join("log.redb"), copy.path().join("log.redb"))?;
    wal.shutdown().await?;
    let start = Instant::now();
    drop(Wal::open(directory.path(), Options::new(8192 * MIB))?);
    let clean = start.elapsed();
    let start = Instant::now();
    drop(Wal::open(copy.path(), Options::new(8192 * MIB))?);
    say(&format!("opening it again: {clean:.1?} after a clean stop, {:.1?} after a kill", start.elapsed()))
}

/// Groups of one frame, each waited for.
async fn small_groups(base: &Path) -> Outcome<()> {
    const GROUPS: u32 = 5_000;
    let (_directory, wal, mut appender) = fresh(base, 1024 * MIB)?;
    let payload = [7; FRAME];
    let mut times = Vec::new();
    let start = Instant::now();
    for group in 0..GROUPS {
        let since = Instant::now();
        appender.append(&[&payload], GroupEnd::Ends)?;
        appender.put_state(b"position", Some(&group.to_le_bytes()));
        appender.flush_durable().await?;
        times.push(since.elapsed());
    }
    let took = start.elapsed().as_secs_f64();
    times.sort();
    let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
    say(&format!(
        "single groups, each durable: {:.0} commits/s, p99 {:.2} ms, {:.2} stored bytes per byte",
        f64::from(GROUPS) / took,
        p99.as_secs_f64() * 1e3,
        float(wal.stats()?.disk_bytes)? / float(wal.stats()?.appended_bytes)?,
    ))
}

/// Appends twenty times the limit while a cursor follows, then stalls until the log is full, then catches up, several times.
async fn steady(base: &Path, max_size: u64) -> Outcome<()> {
    let (directory, wal, mut appender) = fresh(base, max_size)?;
    wal.create_cursor("c", Lsn::ZERO).await?;
    let follower = tokio::spawn(follow(wal.clone(), wal.positions()));
    let payload = [7; FRAME];
    let path = directory.path().join("log.redb");
    let mut most = 0;
    let start = Instant::now();
    let total = max_size.saturating_mul(8).max(2048 * MIB);
    let mut through = 0;
    while through < total {
        appender.append(&[&payload], GroupEnd::Ends)?;
        through += u64::try_from(FRAME)?;
        if appender.pending_bytes() >= 1 << 20 {
            appender.flush().await?;
            most = most.max(disk(&path)?);
        }
    }
    appender.flush_durable().await?;
    let took = start.elapsed().as_secs_f64();
    let stats = wal.stats()?;
    follower.abort();
    say(&format!(
        "max_size {} MiB, capacity {} MiB: {} MiB through in {took:.1} s ({:.0} MB/s), at most {:.1} MiB on disk, file {:.1} MiB",
        max_size / MIB,
        stats.capacity_bytes / MIB,
        total / MIB,
        float(total / 1024)? * 1024.0 / took / 1e6,
        float(most)? / 1_048_576.0,
        float(stats.file_bytes)? / 1_048_576.0,
    ))
}

fn disk(path: &Path) -> Outcome<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(path.metadata()?.blocks() * 512)
}

/// Lets the log fill, then reads until it is empty, then follows closely for a while, and again.
async fn follow(wal: Wal, mut positions: watch::Receiver<Positions>) -> Result<(), wal::Error> {
    let reader = wal.reader();
    let mut at = Lsn::ZERO;
    let mut closely = 0;
    loop {
        if closely == 0 && positions.wait_for(|positions| positions.full).await.is_err() {
            return Ok(());
        }
        closely = (closely + 1) % 500;
        let blocks = reader.read(at, 1 << 20)?;
        match blocks.last() {
            Some(block) => {
                at = block.last_lsn();
                wal.ack("c", at, b"", Vec::new()).await?;
            }
            None => {
                if positions.changed().await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}
