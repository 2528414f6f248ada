//! The server refuses, hangs, is full, breaks off, or says yes and then no: nothing is lost and nothing comes twice.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::geteuid;
use serde_json::json;

use super::watch::{error_with, keyed, number, stopped};
use crate::support::clickhouse::{ClickHouse, ClickHouseOptions};
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::{Kind, Server};
use crate::support::workload::{Shape, Workload};

const ALL: [&str; 3] = ["ALL ON replica.*", "SELECT ON system.*", "TABLE ENGINE ON *"];

async fn sandbox_with(kind: Kind, options: ClickHouseOptions) -> Sandbox {
    Sandbox::with_clickhouse_on(Server::start(kind).await, options.start().await).await
}

/// One table with one row.
async fn one_row(sandbox: &Sandbox) {
    sandbox
        .server
        .exec(format!("USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a')"))
        .await;
}

/// While it lives nobody, root included, makes or removes parts of any table below a data directory.
struct NoWrites<'d> {
    data: &'d Path,
}

impl<'d> NoWrites<'d> {
    fn below(data: &'d Path) -> Self {
        set_writable(data, false);
        Self { data }
    }
}

impl Drop for NoWrites<'_> {
    fn drop(&mut self) {
        set_writable(self.data, true);
    }
}

/// Changes the tables' own directories, `store/xyz/UUID`.
fn set_writable(data: &Path, writable: bool) {
    let change: &[&str] = match (geteuid().is_root(), writable) {
        (true, false) => &["chattr", "+i"],
        (true, true) => &["chattr", "-i"],
        (false, false) => &["chmod", "u-w"],
        (false, true) => &["chmod", "u+w"],
    };
    let mut command = Command::new("find");
    command.arg(data.join("store")).args(["-mindepth", "2", "-maxdepth", "2", "-type", "d", "-exec"]);
    let status = command.args(change).args(["{}", "+"]).status().unwrap();
    assert!(status.success(), "{command:?}");
}

both_servers! {
    async fn a_wrong_password_is_named_and_a_right_one_goes_on(kind: Kind) {
        let mut sandbox = sandbox_with(kind, ClickHouseOptions::default().user("writer", "sesame", &ALL)).await;
        one_row(&sandbox).await;
        let file = sandbox.path("password");
        sandbox.set("/sinks/0/user", json!("writer"));
        sandbox.set("/sinks/0/password_file", json!(file));
        fs::write(&file, "not-sesame\n").unwrap();

        let mut daemon = sandbox.start();
        let error = error_with(&mut daemon, "writer").await;
        daemon.stop();
        fs::write(&file, "sesame\n").unwrap();
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert!(!error.contains("sesame") && !daemon.log().contains("sesame"), "{error}");
        sandbox.assert_mirrored_to_clickhouse().await;
    }

    async fn a_missing_database_is_named_with_the_statement_that_makes_it(kind: Kind) {
        let sandbox = Sandbox::with_clickhouse(kind).await;
        one_row(&sandbox).await;
        sandbox.clickhouse().exec("DROP DATABASE replica SYNC").await;

        let mut daemon = sandbox.start();
        let error = error_with(&mut daemon, "CREATE DATABASE").await;
        daemon.stop();
        sandbox.clickhouse().exec("CREATE DATABASE replica").await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert!(error.contains("replica"), "{error}");
        sandbox.assert_mirrored_to_clickhouse().await;
    }

    async fn a_missing_privilege_is_named_and_nothing_is_lost(kind: Kind) {
        let grants = ["SELECT, CREATE TABLE ON replica.*", "SELECT ON system.*", "TABLE ENGINE ON *"];
        let mut sandbox = sandbox_with(kind, ClickHouseOptions::default().user("writer", "", &grants)).await;
        one_row(&sandbox).await;
        sandbox.set("/sinks/0/user", json!("writer"));

        let mut daemon = sandbox.start();
        error_with(&mut daemon, "INSERT").await;
        daemon.stop();
        sandbox.set("/sinks/0/user", json!("default"));
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        sandbox.assert_mirrored_to_clickhouse().await;
    }

    async fn too_many_parts_are_waited_out(kind: Kind) {
        let sandbox = Sandbox::with_clickhouse(kind).await;
        let workload = Workload::new(DATABASE).with_shapes(&[Shape::Integer, Shape::Text]);
        workload.create(&sandbox.server, 100).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        let table = "replica.by_integer";
        sandbox.clickhouse().exec(format!("SYSTEM STOP MERGES {table}")).await;
        sandbox
            .clickhouse()
            .exec(format!("ALTER TABLE {table} MODIFY SETTING parts_to_throw_insert = 3, parts_to_delay_insert = 0"))
            .await;

        let writing = workload.start(&sandbox.server);
        let error = error_with(&mut daemon, "252").await;
        writing.progressed_by(100).await;
        writing.stop().await;
        sandbox.clickhouse().exec(format!("SYSTEM START MERGES {table}")).await;
        sandbox.clickhouse().exec(format!("ALTER TABLE {table} RESET SETTING parts_to_throw_insert, parts_to_delay_insert")).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert!(error.to_lowercase().contains("too many parts"), "{error}");
        sandbox.assert_mirrored_to_clickhouse().await;
    }

    async fn a_full_disk_is_waited_out(kind: Kind) {
        let full = "<storage_configuration><disks><default><keep_free_space_bytes>1000000000000000</keep_free_space_bytes></default></disks></storage_configuration>";
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        let workload = Workload::new(DATABASE).with_shapes(&keyed());
        workload.create(&sandbox.server, 100).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        sandbox.clickhouse_mut().restart_with(|options| options.configuration(full)).await;
        let writing = workload.start(&sandbox.server);
        error_with(&mut daemon, "243").await;
        writing.progressed_by(100).await;
        sandbox.clickhouse_mut().restart_with(|_| ClickHouseOptions::default()).await;
        writing.progressed_by(50).await;
        writing.stop().await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        sandbox.assert_mirrored_to_clickhouse().await;
    }

    async fn a_disk_that_takes_no_writes_loses_nothing(kind: Kind) {
        let sandbox = Sandbox::with_clickhouse(kind).await;
        let workload = Workload::new(DATABASE).with_shapes(&[Shape::Integer, Shape::Composite]);
        workload.create(&sandbox.server, 100).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        let data = sandbox.clickhouse().data_directory();

        let no_writes = NoWrites::below(&data);
        let writing = workload.start(&sandbox.server);
        let failing = daemon.wait_until("the sink says what is wrong", |status| {
            status["sinks"][0]["error"].is_string() || status["sinks"][0]["stopped_tables"][0].is_object()
        }).await;
        writing.progressed_by(100).await;
        drop(no_writes);
        writing.progressed_by(50).await;
        writing.stop().await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(stopped(&failing), [""; 0], "a disk is no table's fault: {failing:#}");
        sandbox.assert_mirrored_to_clickhouse().await;
    }

    async fn a_server_that_says_nothing_is_tried_again_after_the_timeout(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        let workload = Workload::new(DATABASE).with_shapes(&keyed());
        workload.create(&sandbox.server, 100).await;
        let proxy = sandbox.clickhouse_behind_proxy().await;
        sandbox.set("/sinks/0/timeout", json!("1s"));
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        proxy.hold();
        workload.run(&sandbox.server, 100).await;
        error_with(&mut daemon, "1s").await;
        proxy.release();
        workload.run(&sandbox.server, 100).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        sandbox.assert_mirrored_to_clickhouse().await;
    }

    async fn requests_and_answers_cut_anywhere_leave_no_trace(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        let workload = Workload::new(DATABASE).with_shapes(&keyed());
        workload.create(&sandbox.server, 300).await;
        let proxy = sandbox.clickhouse_behind_proxy().await;

        let writing = workload.start(&sandbox.server);
        let mut daemon = sandbox.start();
        let mut cuts = 0;
        for bytes in [10, 700, 3_000, 40_000, 120_000] {
            // Some of these fall into the statements of the sink's opening, most into the rows of an insert.
            proxy.cut_after_sent(bytes);
            cuts += 1;
            proxy.cuts_reach(cuts).await;
        }
        for bytes in [5, 20, 400, 1_500, 6_000] {
            proxy.cut_after(bytes);
            cuts += 1;
            proxy.cuts_reach(cuts).await;
        }
        writing.stop().await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        sandbox.assert_mirrored_to_clickhouse().await;
    }

    async fn a_changelog_has_no_duplicate_when_answers_are_lost(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        let workload = Workload::new(DATABASE).with_shapes(&[Shape::Integer, Shape::Text]);
        workload.create(&sandbox.server, 100).await;
        sandbox.set("/sinks/0/mode", json!("history"));
        let proxy = sandbox.clickhouse_behind_proxy().await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        for round in 0..6_u64 {
            // The rows have arrived; what is cut is the server's word for it.
            proxy.cut_after(1 + 40 * round);
            workload.run(&sandbox.server, 40).await;
            proxy.cuts_reach(round + 1).await;
        }
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        for table in workload.tables() {
            let (server, target) = (&sandbox.server, sandbox.clickhouse());
            let lines = crate::support::history::assert_history_in_clickhouse(server, DATABASE, &table.name, target).await;
            assert!(lines > 100, "{} has {lines} lines", table.name);
        }
    }

    async fn an_error_after_the_status_200_is_an_error(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        let workload = Workload::new(DATABASE).with_shapes(&[Shape::Integer]);
        workload.create(&sandbox.server, 50).await;
        let proxy = sandbox.clickhouse_behind_proxy().await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        proxy.fail_next_insert_after_its_status("Code: 241. DB::Exception: made up by a test. (MEMORY_LIMIT_EXCEEDED)");
        workload.run(&sandbox.server, 50).await;
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert!(!proxy.error_is_waiting(), "no insert met the error");
        assert!(daemon.log().contains("241"), "the error was taken for a success:\n{}", daemon.log());
        sandbox.assert_mirrored_to_clickhouse().await;
    }

    async fn a_server_short_of_memory_is_tried_again(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        let workload = Workload::new(DATABASE).with_shapes(&[Shape::Integer]);
        workload.create(&sandbox.server, 500).await;

        // In the sink's own requests alone: the server keeps itself alive by a query, too.
        sandbox.set("/sinks/0/settings", json!({ "max_memory_usage": 100_000, "max_untracked_memory": 0 }));
        let mut daemon = sandbox.start();
        error_with(&mut daemon, "241").await;
        daemon.stop();
        sandbox.set("/sinks/0/settings", json!({}));
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        assert_eq!(sandbox.assert_mirrored_to_clickhouse().await.rows, 500);
    }

    async fn a_transaction_larger_than_a_batch_arrives_whole(kind: Kind) {
        let mut sandbox = Sandbox::with_clickhouse(kind).await;
        sandbox.set("/sinks/0/batch", json!({ "max_rows": 100, "max_bytes": "64KiB", "max_delay": "0s" }));
        sandbox.server.exec(format!("USE {DATABASE}; CREATE TABLE t (id INT PRIMARY KEY, v TEXT)")).await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;

        let values: Vec<String> = (0..5000).map(|id| format!("({id}, REPEAT('x', 200))")).collect();
        sandbox.server.exec(format!(
            "USE {DATABASE}; START TRANSACTION; INSERT INTO t VALUES {}; UPDATE t SET v = 'y' WHERE id % 2; DELETE FROM t WHERE id % 3 = 0; COMMIT",
            values.join(", ")
        )).await;
        sandbox.caught_up_within(Duration::from_mins(2), &mut daemon).await;
        daemon.stop();

        assert_eq!(sandbox.assert_mirrored_to_clickhouse().await.rows, 3333);
        assert_eq!(number(&sandbox, "SELECT count() FROM replica.t FINAL WHERE v = 'y'").await, 1667);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_sinks_do_not_wait_for_each_other_on_mariadb() {
    let mut sandbox = Sandbox::with_clickhouse(Kind::MariaDb).await;
    let second = ClickHouse::start().await;
    let mut sink = sandbox.config()["sinks"][0].clone();
    sink["name"] = json!("second");
    sink["url"] = json!(second.url());
    let first = sandbox.config()["sinks"][0].clone();
    sandbox.set("/sinks", json!([first, sink]));
    one_row(&sandbox).await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;

    sandbox.clickhouse_mut().kill();
    sandbox.server.exec(format!("INSERT INTO {DATABASE}.t VALUES (2, 'b')")).await;
    daemon
        .wait_until("the second sink alone has everything", |status| {
            let applied = |sink: usize| status["sinks"][sink]["applied_lsn"].as_u64().unwrap_or_default();
            applied(1) > applied(0)
        })
        .await;
    assert_eq!(second.query("SELECT id FROM replica.t FINAL ORDER BY id").await, "1\n2\n");
    sandbox.clickhouse_mut().start_again().await;
    sandbox.caught_up(&mut daemon).await;
    daemon.stop();

    sandbox.assert_mirrored_to_clickhouse().await;
}
