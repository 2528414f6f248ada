//! A disk that is full. Without room for a second copy of a table, a replace of it is refused by name before anything is
//! built, and the copy that is there stays. Without room for the log, the daemon ends, and says what to do.
//!
//! The disk is a file system in memory, so the test needs the right to mount one: it runs as root, as the scripts that install its servers do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::cells::{Cell, open_sqlite, sqlite_rows};
use crate::support::clickhouse::ClickHouseOptions;
use crate::support::daemon::{Daemon, LIMIT};
use crate::support::directory::fresh;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, Server};
use crate::support::status::{stop_of, stopped, table_of};

/// A small disk, mounted until it is dropped.
struct Disk(PathBuf);

impl Disk {
    fn mount(place: &Path, size: &str) -> Self {
        fs::create_dir(place).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(place).status();
        assert!(mounted.unwrap().success(), "a test of a full disk needs the right to mount one");
        Self(place.to_owned())
    }

    /// Takes so many bytes of the disk.
    fn fill(&self, bytes: usize) {
        fs::write(self.0.join("filler"), vec![7; bytes]).unwrap();
    }

    /// Gives them back.
    fn empty(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }

    fn free(&self) -> usize {
        let output = Command::new("df").args(["--output=avail", "-B1"]).arg(&self.0).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().nth(1).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a daemon of a test that failed may have files on it.
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

fn replace(sandbox: &Sandbox) {
    assert!(sandbox.run(&["backfill", "--replace", "--table", "shop.t"]).status.success());
}

/// `check` says that there is no room, and a replace stops its table. Gives the reason.
async fn refused(sandbox: &Sandbox, daemon: &mut Daemon) -> String {
    let checked = sandbox.run(&["check"]);
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.contains("a second copy of \"t\"") && checked.contains("free some room"), "{checked}");
    replace(sandbox);
    stop_of(daemon, "shop.t").await
}

async fn replaced_without_room(kind: Kind) {
    let mut sandbox = Sandbox::new(kind).await;
    let disk = Disk::mount(&sandbox.path("disk"), "32m");
    let file = disk.0.join("replica.db");
    sandbox.set("/sinks/0/path", json!(file));
    sandbox
        .server
        .exec(format!(
            "USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY, v TEXT); CREATE TABLE u (id INT PRIMARY KEY); INSERT INTO u VALUES (1);
             INSERT INTO t WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM n WHERE id < 900) SELECT id, REPEAT('x', 6000) FROM n"
        ))
        .await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;
    let rows = || sqlite_rows(&open_sqlite(&file), "t", &["id", "v"].map(str::to_owned), "1");
    let before: Vec<Vec<Cell>> = rows();
    assert_eq!(before.len(), 900);
    // The copy takes some 7 MB.
    disk.fill(disk.free() - (3 << 20));

    let reason = refused(&sandbox, &mut daemon).await;
    assert!(
        reason.contains("shop.t is not replaced: a second copy of \"t\"")
            && reason.contains("free some room at the target"),
        "{reason}"
    );
    assert_eq!(rows(), before);
    sandbox.server.exec(format!("INSERT INTO {DATABASE}.u VALUES (2)")).await;
    let status = sandbox.caught_up(&mut daemon).await;
    assert_eq!(stopped(&status), ["shop.t"], "the others go on");

    // As the hint says.
    disk.empty();
    replace(&sandbox);
    daemon.wait_until("no table is stopped", |status| stopped(status).is_empty()).await;
    let status = sandbox.caught_up(&mut daemon).await;
    assert_eq!(table_of(&status, "shop.t")["sinks"]["local"]["state"], "complete", "{status:#}");
    daemon.stop();
    assert_eq!(rows(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replace_without_room_at_a_clickhouse_stops_its_table_by_name_on_mariadb() {
    let directory = fresh("disk");
    let disk = Disk::mount(&directory.path().join("disk"), "512m");
    let clickhouse = ClickHouseOptions::default().data_directory(&disk.0.join("data")).start().await;
    let sandbox = Sandbox::with_clickhouse_on(Server::start(Kind::MariaDb).await, clickhouse).await;
    // Values that do not compress.
    sandbox
        .server
        .exec(format!(
            "USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY, v BLOB); CREATE TABLE u (id INT PRIMARY KEY); INSERT INTO u VALUES (1);
             INSERT INTO t WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL SELECT id + 1 FROM n WHERE id < 900)
             SELECT id, CONCAT(RANDOM_BYTES(1000), RANDOM_BYTES(1000), RANDOM_BYTES(1000), RANDOM_BYTES(1000), RANDOM_BYTES(1000),
               RANDOM_BYTES(1000), RANDOM_BYTES(1000), RANDOM_BYTES(1000), RANDOM_BYTES(1000), RANDOM_BYTES(1000)) FROM n"
        ))
        .await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;
    let before = sandbox.clickhouse().query("SELECT count(), sum(cityHash64(*)) FROM replica.t FINAL").await;
    // The copy takes some 9 MB.
    disk.fill(disk.free() - (5 << 20));

    let reason = refused(&sandbox, &mut daemon).await;
    assert!(reason.contains("shop.t is not replaced: a second copy of \"t\""), "{reason}");
    assert_eq!(sandbox.clickhouse().query("SELECT count(), sum(cityHash64(*)) FROM replica.t FINAL").await, before);

    disk.empty();
    replace(&sandbox);
    daemon.wait_until("no table is stopped", |status| stopped(status).is_empty()).await;
    sandbox.caught_up(&mut daemon).await;
    daemon.stop();
    sandbox.assert_mirrored_to_clickhouse().await;
}

both_servers! {
    async fn a_replace_without_room_for_a_second_copy_stops_its_table_by_name(kind: Kind) {
        replaced_without_room(kind).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_disk_is_full_ends_the_daemon_with_what_is_free_and_what_to_do_on_mariadb() {
    let mut sandbox = Sandbox::new(Kind::MariaDb).await;
    let disk = Disk::mount(&sandbox.path("disk"), "96m");
    sandbox.set("/wal/path", json!(disk.0.join("wal")));
    sandbox
        .server
        .exec(format!("USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v LONGBLOB); INSERT INTO t (v) VALUES ('a')"))
        .await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;
    disk.fill(disk.free());
    for _ in 0..4 {
        sandbox.server.exec(format!("INSERT INTO {DATABASE}.t (v) VALUES (REPEAT(RANDOM_BYTES(1000), 4000))")).await;
    }

    assert_eq!(daemon.wait(LIMIT), 1, "{}", daemon.log());
    let hint = |said: &str| {
        let words = format!("hint: the disk of wal.path (\"{}\") is full, ", disk.0.join("wal").display());
        assert!(said.contains(&words) && said.contains(" are free: make room there"), "{said}");
    };
    hint(&daemon.log());
    let again = sandbox.run(&["start", "--once"]);
    assert_eq!(again.status.code(), Some(1));
    hint(&String::from_utf8_lossy(&again.stderr));

    // As the hint says.
    disk.empty();
    sandbox.run_once();
    sandbox.assert_mirrored().await;
}
