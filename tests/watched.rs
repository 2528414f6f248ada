//! What happens to the source's binlog, or to its address, while the stream's connection lives on: it is noticed, and
//! named with the way out, or followed.

use replicator::config::{Password, SnapshotPlan, SourcePlan, Startup, TableFilter, TlsMode, TlsPlan};
use replicator::error::ErrorClass;
use replicator::model::ServerIdentity;
use replicator::source::mysql::question;
use replicator::source::mysql::stream_server::StreamServer;
use serde_json::json;

use crate::failover::{promote, replica_of};
use crate::support::daemon::{Daemon, LIMIT};
use crate::support::sandbox::Sandbox;
use crate::support::server::{Kind, PASSWORD, Server, ServerOptions, USER};

/// Resets the binlogs. Creation times have whole seconds: the new file is made in a later one than the file that was
/// read.
fn reset(kind: Kind) -> &'static str {
    match kind {
        Kind::MySql => "DO SLEEP(1.1); RESET BINARY LOGS AND GTIDS",
        Kind::MariaDb => "DO SLEEP(1.1); RESET MASTER",
    }
}

/// A daemon that has copied two rows of `shop.t`, the second one from the stream.
async fn streaming(sandbox: &Sandbox) -> Daemon {
    sandbox
        .server
        .exec("CREATE TABLE shop.t (a INT PRIMARY KEY, b VARCHAR(200)); INSERT INTO shop.t VALUES (1, 'x')")
        .await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;
    sandbox.server.exec("INSERT INTO shop.t VALUES (2, 'x')").await;
    sandbox.caught_up(&mut daemon).await;
    daemon
}

/// The daemon ends by itself, with what has happened and the way out; and so does every next start.
fn assert_named(sandbox: &Sandbox, mut daemon: Daemon, words: &[&str]) {
    assert_eq!(daemon.wait(LIMIT), 1, "exit code");
    let log = daemon.log();
    let named = |text: &str| words.iter().chain(&["`replicator start --resync`"]).all(|words| text.contains(words));
    let stopped = log.lines().find(|line| line.contains("source stopped")).expect("the source has stopped");
    assert!(named(stopped), "{words:?} in: {stopped}");
    let again = sandbox.run(&["start", "--once"]);
    let said = String::from_utf8_lossy(&again.stderr);
    assert_eq!(again.status.code(), Some(1), "{said}");
    assert!(said.contains("reset") && said.contains("`replicator start --resync`"), "{said}");
}

/// What the message says is done, and the copy is the source again.
async fn follow(sandbox: &Sandbox) {
    let output = sandbox.run(&["start", "--once", "--resync"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("so it was not captured from"), "{said}");
    sandbox.assert_mirrored().await;
    sandbox.server.exec("INSERT INTO shop.t VALUES (-1, 'after'); DELETE FROM shop.t WHERE a = 2").await;
    sandbox.run_once();
    sandbox.assert_mirrored().await;
}

both_servers! {
    async fn binlogs_that_are_reset_under_the_stream_are_named_although_nothing_is_written_after(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        let daemon = streaming(&sandbox).await;

        sandbox.server.exec(reset(kind)).await;

        assert_named(&sandbox, daemon, &["the source lacks transactions that the log has read from it", "were reset"]);
        follow(&sandbox).await;
    }

    async fn binlogs_that_are_reset_and_grow_past_the_stream_are_named(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        let daemon = streaming(&sandbox).await;

        sandbox.server.exec(reset(kind)).await;
        for row in 3..50 {
            sandbox.server.exec(format!("INSERT INTO shop.t VALUES ({row}, REPEAT('y', 150))")).await;
        }

        assert_named(&sandbox, daemon, &["were reset"]);
        follow(&sandbox).await;
    }

    async fn binlogs_that_are_reset_and_rotated_are_named_and_nothing_after_is_taken(kind: Kind) {
        let sandbox = Sandbox::new(kind).await;
        let daemon = streaming(&sandbox).await;

        sandbox.server.exec(format!("{}; INSERT INTO shop.t VALUES (3, 'not sent'); FLUSH BINARY LOGS", reset(kind))).await;
        // The dump goes on here, with GTIDs that it has sent before and others.
        for row in 4..50 {
            sandbox.server.exec(format!("INSERT INTO shop.t VALUES ({row}, REPEAT('y', 150))")).await;
        }

        assert_named(&sandbox, daemon, &["were reset"]);
        let copied: u32 = rusqlite::Connection::open(sandbox.sqlite())
            .unwrap()
            .query_row("SELECT count(*) FROM t", (), |row| row.get(0))
            .unwrap();
        assert_eq!(copied, 2);
        follow(&sandbox).await;
    }

    async fn a_file_that_ends_in_a_crash_of_the_server_is_gone_on_from(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        let mut daemon = streaming(&sandbox).await;

        for row in 3..6 {
            sandbox.server.exec(format!("INSERT INTO shop.t VALUES ({row}, 'y')")).await;
            sandbox.server.kill();
            sandbox.server.start_again().await;
        }
        sandbox.caught_up(&mut daemon).await;
        daemon.kill();
        // All in one dump.
        for row in 6..9 {
            sandbox.server.exec(format!("INSERT INTO shop.t VALUES ({row}, 'y')")).await;
            sandbox.server.kill();
            sandbox.server.start_again().await;
        }
        sandbox.server.exec("FLUSH BINARY LOGS; INSERT INTO shop.t VALUES (9, 'y')").await;
        let mut daemon = sandbox.start();
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();

        sandbox.assert_mirrored().await;
    }

    async fn a_stream_follows_when_its_address_moves_to_a_replica_and_its_own_connection_lives_on(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        let mut replica = replica_of(&sandbox.server, kind).await;
        let proxy = sandbox.behind_proxy().await;
        let mut daemon = streaming(&sandbox).await;
        let before = daemon.status().unwrap()["source"]["server"].clone();

        promote(&replica, &sandbox.server).await;
        proxy.move_to(replica.port());
        std::mem::swap(&mut sandbox.server, &mut replica);
        // The table is asked about where the stream is, and not where the address leads to now.
        sandbox.server.exec("CREATE TABLE shop.u (a INT PRIMARY KEY); INSERT INTO shop.u VALUES (1); INSERT INTO shop.t VALUES (3, 'z')").await;

        let what = "the stream is at the replica";
        let moved = daemon.wait_until(what, |status| status["source"]["server"] != before && status["source"]["state"] == "streaming").await;
        assert_eq!(moved["source"]["error"], json!(null), "{moved:#}");
        sandbox.caught_up(&mut daemon).await;
        assert!(daemon.log().contains("a new connection to the same address has reached"), "{}", daemon.log());
        daemon.stop();
        sandbox.assert_mirrored().await;
    }

    async fn a_server_that_lacks_what_was_read_is_named_when_the_address_moves_to_it(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        let mut other = ServerOptions::new(kind).argument("--server-id=7").start().await;
        let proxy = sandbox.behind_proxy().await;
        let mut daemon = streaming(&sandbox).await;

        proxy.move_to(other.port());

        assert_eq!(daemon.wait(LIMIT), 1, "exit code");
        let log = daemon.log();
        assert!(log.contains("lacks transactions that the log has read from"), "{log}");
        assert!(log.contains("let this server catch up with the other one before it becomes the source"), "{log}");
        other.exec("CREATE DATABASE shop; CREATE TABLE shop.t (a INT PRIMARY KEY, b VARCHAR(200)); INSERT INTO shop.t VALUES (9, 'z')").await;
        std::mem::swap(&mut sandbox.server, &mut other);
        follow(&sandbox).await;
    }

    async fn a_stream_that_no_look_confirms_goes_on_and_says_so(kind: Kind) {
        let mut sandbox = Sandbox::new(kind).await;
        let proxy = sandbox.behind_proxy().await;
        let mut daemon = streaming(&sandbox).await;

        // New connections are refused, and the stream's own stays.
        proxy.refuse_new();
        let unproven = |status: &serde_json::Value| {
            let error = status["source"]["error"].as_str().unwrap_or_default();
            error.contains("the server has not confirmed for 30 s") && error.contains("cannot connect")
        };
        let shown = daemon.wait_until("nothing proves what is read", unproven).await;
        assert_eq!(shown["source"]["state"], "streaming", "{shown:#}");
        assert_eq!(shown["health"]["status"], "degraded", "{shown:#}");
        // It is at least as old as the last look that fits.
        assert!(shown["source"]["lag_seconds"].as_f64().unwrap() > 0.0);
        sandbox.server.exec("INSERT INTO shop.t VALUES (3, 'z')").await;
        sandbox.logged_within(LIMIT, &mut daemon).await;

        proxy.allow();
        let confirmed = daemon
            .wait_until("the server confirms what is read", |status| status["source"]["error"] == json!(null))
            .await;
        assert_eq!((&confirmed["source"]["state"], &confirmed["source"]["reconnects"]), (&json!("streaming"), &json!(0)));
        sandbox.caught_up(&mut daemon).await;
        daemon.stop();
        sandbox.assert_mirrored().await;
    }

    async fn a_question_is_asked_of_the_streams_server_or_of_none(kind: Kind) {
        let server = Server::start(kind).await;
        let plan = SourcePlan {
            name: "source".to_owned(),
            host: "127.0.0.1".into(),
            port: server.port(),
            user: USER.into(),
            password: Password::fixed(PASSWORD),
            server_id: 5400,
            startup: Startup::Latest,
            filter: TableFilter::new(globset::GlobSet::empty(), globset::GlobSet::empty()),
            describe_wait: std::time::Duration::from_secs(2),
            doubts: replicator::config::DoubtPlan::default(),
            on_purged: replicator::config::OnPurged::Stop,
            spool_max: 1 << 30,
            xa_bytes: 64 << 20,
            xa_wait: std::time::Duration::from_mins(5),
            snapshot: SnapshotPlan { chunk_rows: 1000, parallel: 1, max_rows_per_second: 0 },
            tls: TlsPlan { mode: TlsMode::Disabled, ca_file: None },
        };
        let stream = StreamServer::new(ServerIdentity::MariaDb { server_id: 77, domain_id: 0 });

        let failure = question::open(&plan, &stream).await.unwrap_err();

        assert_eq!(failure.class, ErrorClass::Retry, "{}", failure.chain());
        assert!(failure.chain().contains("the stream reads mariadb server_id=77"), "{}", failure.chain());
        assert!(failure.hint.unwrap().contains("leads to several servers"));
        let mut connection = replicator::source::mysql::connect::connect(&plan).await.unwrap();
        let known = replicator::source::mysql::server::Known::ask(&mut connection).await.unwrap();
        stream.set(known.identity);
        question::close(question::open(&plan, &stream).await.unwrap()).await;
        question::close(connection).await;
    }
}

#[tokio::test]
async fn without_gtids_binlogs_that_are_reset_under_the_stream_are_named_on_mysql() {
    let sandbox = Sandbox::on(ServerOptions::new(Kind::MySql).without_gtid().start().await).await;
    let daemon = streaming(&sandbox).await;

    sandbox.server.exec(reset(Kind::MySql)).await;

    assert_named(&sandbox, daemon, &["the log has read", "were reset"]);
    follow(&sandbox).await;
}

#[tokio::test]
async fn a_stream_by_gtids_goes_on_by_file_when_gtid_mode_is_turned_off_and_on_again_on_mysql() {
    let sandbox = Sandbox::new(Kind::MySql).await;
    let mut daemon = streaming(&sandbox).await;
    let mut row = 2;
    let mut set = async |mode: &str| {
        row += 1;
        sandbox.server.exec(format!("SET GLOBAL gtid_mode = {mode}; INSERT INTO shop.t VALUES ({row}, 'z')")).await;
    };

    set("ON_PERMISSIVE").await;
    let opened_again = |status: &serde_json::Value| {
        status["source"]["reconnects"] == json!(1) && status["source"]["state"] == "streaming"
    };
    let status = daemon.wait_until("the stream is opened again", opened_again).await;
    assert_eq!(status["source"]["error"], json!(null));
    assert!(
        daemon.log().contains("gtid_mode is ON_PERMISSIVE, and the stream was asked for by GTIDs"),
        "{}",
        daemon.log()
    );
    for mode in ["OFF_PERMISSIVE", "OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"] {
        set(mode).await;
    }

    let status = sandbox.caught_up(&mut daemon).await;
    assert_eq!(
        (&status["source"]["state"], &status["source"]["reconnects"]),
        (&json!("streaming"), &json!(1)),
        "{status:#}"
    );
    daemon.stop();
    sandbox.assert_mirrored().await;
}

#[tokio::test]
async fn a_stream_by_gtids_that_meets_a_transaction_without_one_goes_on_by_file_on_mysql() {
    let sandbox = Sandbox::new(Kind::MySql).await;
    let mut daemon = streaming(&sandbox).await;

    sandbox
        .server
        .exec("SET GLOBAL gtid_mode = ON_PERMISSIVE; SET GLOBAL gtid_mode = OFF_PERMISSIVE; INSERT INTO shop.t VALUES (3, 'z')")
        .await;

    sandbox.caught_up(&mut daemon).await;
    daemon.stop();
    sandbox.assert_mirrored().await;
}
