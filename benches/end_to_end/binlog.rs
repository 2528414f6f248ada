//! The stream into the durable log, against the server's own tool writing the same binary log to a file.
//!
//! The tool is measured twice: as it is, which leaves what it has written in the kernel's memory, and with a sync of the file
//! and of its directory inside the timed part, which is what the log has done when it ends. Bulk loads are held against the
//! second, small transactions against the first: the tool's own work on each event is what they cost.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::load;
use crate::measure::{Run, Table, best, disk_bytes, run};
use crate::support::daemon;
use crate::support::programs;
use crate::support::sandbox::Sandbox;
use crate::support::server::{Kind, PASSWORD, Server, USER};

const RUNS: u32 = 5;

/// A server ends the dump of a reader that has gone at its second heartbeat behind that, and MariaDB lets the next one with the same
/// server id wait 0.1 s if it comes before.
pub const FORGOTTEN: Duration = Duration::from_millis(2500);

/// Transactions of 1,000 rows.
pub async fn bulk(kind: Kind, table: &mut Table) {
    let mut sandbox = load::sandbox(kind).await;
    let start = next_file(&sandbox.server).await;
    load::bulk(&sandbox.server).await;
    compare(&mut sandbox, &start, "bulk binlog to the log", Against::Synced(1.15), table).await;
}

/// Transactions of three row images.
pub async fn small(kind: Kind, table: &mut Table) {
    let mut sandbox = load::sandbox(kind).await;
    load::bulk(&sandbox.server).await;
    let start = next_file(&sandbox.server).await;
    load::small(&sandbox.server).await;
    compare(&mut sandbox, &start, "small transactions to the log", Against::Raw(0.7), table).await;
}

/// What the daemon is held against, and how many times as long it may take.
#[derive(Clone, Copy, Debug)]
enum Against {
    /// `mysqlbinlog --raw`.
    Raw(f64),
    /// The same, and a sync of what it has written.
    Synced(f64),
}

async fn compare(sandbox: &mut Sandbox, start: &str, what: &str, against: Against, table: &mut Table) {
    let kind = sandbox.server.kind();
    sandbox
        .set("/sinks", json!([]))
        .set("/source/startup_mode", json!("specific"))
        .set("/source/specific", json!({ "file": start, "pos": 4 }));
    let (mut ours, mut raw, mut synced) = (Vec::new(), Vec::new(), Vec::new());
    // In turns: the machine's own speed moves while this runs.
    for _ in 0..RUNS {
        raw.push(raw_copy(sandbox, start, false));
        thread::sleep(FORGOTTEN);
        synced.push(raw_copy(sandbox, start, true));
        forget(sandbox);
        thread::sleep(FORGOTTEN);
        ours.push(once(sandbox));
    }
    let (ours, raw, synced) = (best(ours.into_iter()), best(raw.into_iter()), best(synced.into_iter()));

    let (end, bytes) = sandbox.server.position().await;
    assert_eq!(end, start, "the load is in one binlog file");
    let (raw_limit, synced_limit) = match against {
        Against::Raw(limit) => (Some(limit), None),
        Against::Synced(limit) => (None, Some(limit)),
    };
    table.ratio(&format!("{what}, {kind}"), ours.seconds, ("mysqlbinlog --raw", raw.seconds), raw_limit);
    let reference = ("mysqlbinlog --raw and a sync", synced.seconds);
    table.ratio(&format!("{what}, {kind}: synced"), ours.seconds, reference, synced_limit);
    table.value(&format!("{what}, {kind}: peak memory"), ours.peak_mb, "MB", 150.0);
    table.value(
        &format!("{what}, {kind}: log bytes per binlog byte"),
        share(disk_bytes(&sandbox.wal_directory()), bytes),
        "x",
        1.3,
    );
}

fn share(part: u64, whole: u64) -> f64 {
    // Megabytes, so that both are exact in f64 whatever the sizes.
    let megabytes = |bytes: u64| f64::from(u32::try_from(bytes >> 10).unwrap()) / 1024.0;
    megabytes(part) / megabytes(whole)
}

/// Begins a new binlog file and returns its name.
pub async fn next_file(server: &Server) -> String {
    server.exec("FLUSH BINARY LOGS").await;
    server.position().await.0
}

/// One `replicator start --once` with the sandbox's configuration.
pub fn once(sandbox: &Sandbox) -> Run {
    let mut command = daemon::program();
    command.args(["start", "--once", "--config"]).arg(sandbox.written_config());
    run(&mut command, &sandbox.path("bench.log"))
}

/// Removes the log and the copy, so that the next start is a first start.
pub fn forget(sandbox: &Sandbox) {
    let absent = |path: &Path| assert!(!path.exists(), "{} is still there", path.display());
    drop(fs::remove_dir_all(sandbox.wal_directory()));
    absent(&sandbox.wal_directory());
    for suffix in ["", "-wal", "-shm"] {
        let file = sandbox.path(&format!("replica.db{suffix}"));
        drop(fs::remove_file(&file));
        absent(&file);
    }
}

/// One copy of a binary log by the server's own tool, which with `sync` ends when the file is on the disk, and its name too.
fn raw_copy(sandbox: &Sandbox, file: &str, sync: bool) -> Run {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(programs::binlog_reader(sandbox.server.kind()));
    command
        .args(["--no-defaults", "--read-from-remote-server", "--raw", "--host=127.0.0.1"])
        .arg(format!("--port={}", sandbox.server.port()))
        .arg(format!("--user={USER}"))
        .arg(format!("--password={PASSWORD}"))
        .args(without_tls(sandbox.server.kind()))
        .arg(format!("--result-file={}/", directory.path().display()))
        .arg(file);
    let start = Instant::now();
    let copied = run(&mut command, &sandbox.path("reference.log"));
    if !sync {
        return copied;
    }
    File::open(directory.path().join(file)).unwrap().sync_all().unwrap();
    File::open(directory.path()).unwrap().sync_all().unwrap();
    Run { seconds: start.elapsed().as_secs_f64(), ..copied }
}

/// Turns TLS off in the server's own tools, as it is off for the daemon here.
pub fn without_tls(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::MySql => &["--ssl-mode=DISABLED", "--get-server-public-key"],
        Kind::MariaDb => &["--skip-ssl"],
    }
}
