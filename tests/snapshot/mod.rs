//! The snapshot at its seam: the coordinator against real servers, with an ingest loop that only keeps what it is given.

pub mod fake_loop;
mod same_row;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use replicator::config::SnapshotPlan;
use replicator::error::Failure;
use replicator::model::{ServerIdentity, TableName};
use replicator::source::mysql::snapshot::handoff::SnapshotMark;
use replicator::source::mysql::snapshot::{Backfill, Job};
use replicator::source::mysql::stream_server::StreamServer;
use replicator::table::{Ask, At, Capture, Cause, Event, Reach, State, Stated, TableRecord, step};
use replicator::telemetry::ReadShown;
use tokio::sync::oneshot;
use wal::Lsn;

use self::fake_loop::{Log, Run, SMALL, identity};
use crate::support::cells::source_rows;
use crate::support::compare::rows_differ;
use crate::support::server::{Kind, PASSWORD, Server, ServerOptions, USER};

fn table(name: &str) -> TableName {
    TableName::new("d", name)
}

fn named(names: &[&str]) -> Vec<TableName> {
    names.iter().map(|name| table(name)).collect()
}

/// Asks for a read as an operator does; gives the answer.
fn backfill(
    run: &Run,
    name: &str,
    condition: Option<&str>,
    replace: bool,
) -> oneshot::Receiver<Result<Option<u32>, Failure>> {
    let (reply, answer) = oneshot::channel();
    let condition = condition.map(str::to_owned);
    run.jobs
        .send(Job::Backfill(Backfill { table: table(name), condition, chunk_rows: Some(4), replace, reply }))
        .unwrap();
    answer
}

fn state(records: &BTreeMap<TableName, TableRecord>, name: &str) -> Stated {
    records[&table(name)].state(None).unwrap_or_else(|| panic!("{name} is not captured: {records:?}"))
}

fn log() -> Arc<Mutex<Log>> {
    Arc::default()
}

/// Every row of the table, by value, exactly once.
async fn assert_copied(server: &Server, log: &Mutex<Log>, name: &str) {
    let source = source_rows(server, "d", name, &[]).await;
    let found = log.lock().unwrap().rows(&table(name), &source.columns);
    let differences = rows_differ(&source, found);
    assert!(differences.is_empty(), "{} {name}:\n{differences}", server.kind());
}

/// A table and 100 rows of it, by the number n.
async fn fill(server: &Server, create: &str, insert: &str) {
    server
        .exec(format!(
            "CREATE DATABASE IF NOT EXISTS d; USE d; SET sql_mode = 'ALLOW_INVALID_DATES'; SET NAMES utf8mb4; \
             CREATE TEMPORARY TABLE n AS WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 100) SELECT n FROM s; \
             {create}; {insert}"
        ))
        .await;
}

both_servers! {
    async fn a_read_on_another_server_than_the_streams_is_tried_again_and_never_taken(kind: Kind) {
        let server = Server::start(kind).await;
        fill(&server, "CREATE TABLE t (id INT PRIMARY KEY); CREATE TABLE k (v INT)", "INSERT INTO t SELECT n FROM n; INSERT INTO k SELECT n FROM n").await;
        let (here, elsewhere) = (identity(&server), ServerIdentity::MariaDb { server_id: 77, domain_id: 0 });
        // The stream is elsewhere, when the connections are opened, or when it says where it is.
        for (said, positions) in [(&elsewhere, &here), (&here, &elsewhere)] {
            let stream = StreamServer::new(said.clone());
            let beside = (stream.clone(), positions.clone());
            let run = Run::start_beside(&server, USER, beside, SMALL, log(), &named(&["t", "k"]));
            let refused = |read: &ReadShown| {
                let error = read.reader.error.as_deref().unwrap_or_default();
                error.contains("the stream reads mariadb server_id=77") && error.contains(&format!("has reached {here}"))
            };
            run.until_reads(|reads| reads.len() == 2 && reads.iter().all(refused)).await;
            {
                let log = run.log.lock().unwrap();
                assert!(log.chunks.is_empty() && log.whole.is_empty() && log.announced.is_empty());
            }

            if *said == elsewhere {
                // It has come here.
                stream.set(here.clone());
                run.settle().await;
                let log = run.end().await;
                assert_copied(&server, &log, "t").await;
                assert_copied(&server, &log, "k").await;
            } else {
                run.end().await;
            }
        }
    }

    async fn a_table_of_an_integer_key_is_read_in_chunks(kind: Kind) {
        let server = Server::start(kind).await;
        fill(&server, "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))", "INSERT INTO t SELECT n * 3 - 150, CONCAT('v', n) FROM n").await;

        let run = Run::start(&server, SMALL, log(), &named(&["t"]));
        let records = run.settle().await;
        let log = run.end().await;

        assert_copied(&server, &log, "t").await;
        assert_eq!(state(&records, "t").state, State::Complete);
        let log = log.lock().unwrap();
        assert!(log.chunks.len() >= 15 && log.chunks.iter().all(|(_, images)| images.rows <= 7));
        let table = table("t");
        let begun = SnapshotMark::Begun { table: table.clone(), number: 1, at_once: false };
        assert_eq!(log.marks, [begun, SnapshotMark::Finished { table, number: 1 }]);
    }

    async fn keys_of_every_kind_are_read_in_chunks(kind: Kind) {
        let server = Server::start(kind).await;
        for (name, create, insert) in KEYS {
            fill(&server, &format!("CREATE TABLE {name} ({create})"), &format!("INSERT INTO {name} {insert}")).await;
        }
        let names: Vec<&str> = KEYS.iter().map(|(name, ..)| *name).collect();

        let run = Run::start(&server, SMALL, log(), &named(&names));
        let records = run.settle().await;
        let log = run.end().await;

        assert!(names.iter().all(|name| state(&records, name).state == State::Complete), "{records:?}");
        for (name, ..) in KEYS {
            assert_copied(&server, &log, name).await;
        }
        let log = log.lock().unwrap();
        for (name, ..) in KEYS {
            let chunks = log.chunks.iter().filter(|(schema, _)| schema.name == table(name)).count();
            assert!(chunks >= 15, "{name} was read in {chunks} chunks");
        }
    }

    async fn tables_without_a_key_for_chunks_are_read_whole(kind: Kind) {
        let server = Server::start(kind).await;
        let tables = [
            ("no_key", "a INT, b VARCHAR(5)", "SELECT n % 10, 'x' FROM n"),
            ("null_key", "a INT, UNIQUE (a)", "SELECT n FROM n"),
            ("prefixed", "a TEXT NOT NULL, PRIMARY KEY (a(4))", "SELECT LPAD(n, 4, '0') FROM n"),
            ("reals", "a FLOAT PRIMARY KEY", "SELECT n / 7 FROM n"),
            ("bits", "a BIT(20) PRIMARY KEY", "SELECT n FROM n"),
            ("isam", "a INT) ENGINE=MyISAM", "SELECT n FROM n"),
            ("no_rows", "a INT", "SELECT n FROM n WHERE n < 0"),
        ];
        for (name, create, insert) in &tables {
            let create = if create.ends_with("MyISAM") { (*create).to_owned() } else { format!("{create})") };
            fill(&server, &format!("CREATE TABLE {name} ({create}"), &format!("INSERT INTO {name} {insert}")).await;
        }
        let names: Vec<&str> = tables.iter().map(|(name, ..)| *name).collect();

        let run = Run::start(&server, SMALL, log(), &named(&names));
        let records = run.settle().await;
        let log = run.end().await;

        assert!(names.iter().all(|name| state(&records, name).state == State::Complete), "{records:?}");
        for name in &names {
            assert_copied(&server, &log, name).await;
        }
        let log = log.lock().unwrap();
        assert!(log.chunks.is_empty() && log.whole.len() == names.len());
    }

    async fn an_empty_table_ends_without_a_chunk(kind: Kind) {
        let server = Server::start(kind).await;
        server.exec("CREATE DATABASE d; CREATE TABLE d.t (id INT PRIMARY KEY)").await;

        let run = Run::start(&server, SMALL, log(), &named(&["t"]));
        run.settle().await;
        let log = run.end().await;

        let log = log.lock().unwrap();
        assert!(log.chunks.is_empty() && log.whole.is_empty());
        assert_eq!(log.announced.iter().map(|schema| &schema.name).collect::<Vec<_>>(), [&table("t")]);
        assert_eq!(log.marks.last().unwrap(), &SnapshotMark::Finished { table: table("t"), number: 1 });
    }

    async fn after_a_crash_only_unfinished_chunks_are_read_again(kind: Kind) {
        let server = Server::start(kind).await;
        fill(&server, "CREATE TABLE t (a VARCHAR(9), b INT, PRIMARY KEY (a, b))", "INSERT INTO t SELECT CONCAT('k', n % 9), n FROM n").await;
        let log = log();

        for _ in 0..4 {
            log.lock().unwrap().chunks_to_live = Some(3);
            let before = log.lock().unwrap().chunks.len();
            let run = Run::start(&server, SMALL, Arc::clone(&log), &named(&["t"]));
            run.until(|log| log.chunks.len() == before + 3).await;
            run.end().await;
        }
        log.lock().unwrap().chunks_to_live = None;
        let run = Run::start(&server, SMALL, Arc::clone(&log), &[]);
        let records = run.settle().await;
        run.end().await;

        assert_copied(&server, &log, "t").await;
        assert_eq!(state(&records, "t").state, State::Complete);

        let run = Run::start(&server, SMALL, Arc::clone(&log), &named(&["t"]));
        run.settle().await;
        run.end().await;
        assert_copied(&server, &log, "t").await;
    }

    async fn a_doubt_waits_while_the_log_is_more_than_half_full_and_what_is_asked_for_does_not(kind: Kind) {
        let server = Server::start(kind).await;
        for name in ["doubted", "asked"] {
            fill(&server, &format!("CREATE TABLE {name} (id INT PRIMARY KEY)"), &format!("INSERT INTO {name} SELECT n FROM n")).await;
        }
        let log = log();
        let at = At::new(Lsn::FIRST, 0);
        let doubt = Event::Asked(Ask::doubt(Reach::Replace, Cause::Rows, "a statement"));
        let doubted = step(&step(&TableRecord::default(), Event::Created, at).0, doubt, at).0;
        log.lock().unwrap().records.insert(table("doubted"), doubted);
        log.lock().unwrap().is_more_than_half_full = true;

        let run = Run::start(&server, SMALL, log, &named(&["asked"]));
        run.until(|log| log.records[&table("asked")].read.is_none()).await;
        let waits = |log: &Log| log.records[&table("doubted")].read.as_ref().is_some_and(|read| !read.has_begun());
        assert!(waits(&run.log.lock().unwrap()));
        run.log.lock().unwrap().is_more_than_half_full = false;
        let records = run.settle().await;
        let log = run.end().await;

        assert_eq!(state(&records, "doubted").state, State::Complete);
        assert_copied(&server, &log, "doubted").await;
    }

    async fn a_discarded_chunk_is_read_again(kind: Kind) {
        let server = Server::start(kind).await;
        fill(&server, "CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t SELECT n FROM n").await;
        let log = log();
        log.lock().unwrap().discard = 5;

        let run = Run::start(&server, SMALL, Arc::clone(&log), &named(&["t"]));
        run.settle().await;
        run.end().await;

        assert_eq!(log.lock().unwrap().discard, 0);
        assert_copied(&server, &log, "t").await;
    }

    async fn a_chunk_is_cut_when_its_buffer_is_full(kind: Kind) {
        let server = Server::start(kind).await;
        // 100 rows of 200 KB, inserted small and then grown, with statistics of before.
        fill(&server, "CREATE TABLE t (a VARCHAR(20) PRIMARY KEY, v LONGTEXT)", "INSERT INTO t SELECT CONCAT('k', n), 'x' FROM n").await;
        server.exec("ANALYZE TABLE d.t; UPDATE d.t SET v = REPEAT('y', 200000)").await;

        let settings = SnapshotPlan { chunk_rows: 50_000, ..SMALL };
        let run = Run::start(&server, settings, log(), &named(&["t"]));
        run.settle().await;
        let log = run.end().await;

        assert_copied(&server, &log, "t").await;
        let log = log.lock().unwrap();
        let largest = log.chunks.iter().map(|(_, images)| images.bytes.len()).max().unwrap();
        assert!(log.chunks.len() > 1 && largest < 9 << 20, "{} chunks, the largest of {largest} bytes", log.chunks.len());
    }

    async fn a_backfill_reads_the_rows_of_its_condition_and_a_whole_one_may_replace(kind: Kind) {
        let server = Server::start(kind).await;
        fill(&server, "CREATE TABLE t (id INT PRIMARY KEY, v INT)", "INSERT INTO t SELECT n, n % 10 FROM n").await;
        let run = Run::start(&server, SMALL, log(), &named(&["t"]));
        run.settle().await;
        run.log.lock().unwrap().chunks.clear();
        backfill(&run, "t", Some("v = 3 OR id < 5"), false).await.unwrap().unwrap();
        run.settle().await;
        assert_eq!(run.log.lock().unwrap().chunks.iter().map(|(_, images)| images.rows).sum::<u32>(), 13);
        run.log.lock().unwrap().chunks.clear();

        backfill(&run, "t", None, true).await.unwrap().unwrap();
        let records = run.settle().await;
        let log = run.end().await;
        assert_copied(&server, &log, "t").await;
        assert_eq!((state(&records, "t").state, records[&table("t")].reads), (State::Complete, 3));
    }

    async fn a_table_that_the_account_may_not_see_cannot_be_read_and_one_that_is_gone_waits_for_the_stream(kind: Kind) {
        let server = Server::start(kind).await;
        fill(&server, "CREATE TABLE hidden (id INT PRIMARY KEY)", "INSERT INTO hidden SELECT n FROM n").await;
        fill(&server, "CREATE TABLE seen (id INT PRIMARY KEY)", "INSERT INTO seen SELECT n FROM n").await;
        fill(&server, "CREATE TABLE gone (id INT PRIMARY KEY)", "INSERT INTO gone SELECT n FROM n").await;
        server
            .exec(format!(
                "CREATE USER poor@'%' IDENTIFIED BY '{PASSWORD}'; GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO poor@'%';
                 GRANT SELECT ON d.seen TO poor@'%'; GRANT SELECT ON d.gone TO poor@'%'; DROP TABLE d.gone"
            ))
            .await;

        let run = Run::start_as(&server, "poor", SMALL, log(), &named(&["hidden", "seen", "gone"]));
        let records = run.settle().await;
        let log = run.end().await;

        let hidden = state(&records, "hidden");
        let why = hidden.why.unwrap();
        assert_eq!((hidden.state, state(&records, "seen").state), (State::Unreadable, State::Complete));
        assert!(why.contains("\"d.hidden\"") && why.contains("GRANT SELECT ON `d`.`hidden`"), "{why}");
        let awaited = records[&table("gone")].awaits.as_ref();
        assert!(awaited.is_some_and(|awaited| !awaited.exists), "{records:?}");
        assert_copied(&server, &log, "seen").await;
    }

    async fn a_table_is_read_once_the_account_may_read_it(kind: Kind) {
        let server = Server::start(kind).await;
        fill(&server, "CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t SELECT n FROM n").await;
        server
            .exec(format!(
                "CREATE USER poor@'%' IDENTIFIED BY '{PASSWORD}'; GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO poor@'%'"
            ))
            .await;
        let log = log();
        let run = Run::start_as(&server, "poor", SMALL, Arc::clone(&log), &named(&["t"]));
        assert_eq!(state(&run.settle().await, "t").state, State::Unreadable);
        run.end().await;

        server.exec("GRANT SELECT ON d.t TO poor@'%'").await;
        let run = Run::start_as(&server, "poor", SMALL, Arc::clone(&log), &[]);
        run.until(|log| log.records[&table("t")].read.is_none()).await;
        run.end().await;
        assert_copied(&server, &log, "t").await;
    }

    async fn what_an_operator_asks_for_and_cannot_be_read_is_refused_and_leaves_nothing(kind: Kind) {
        let server = Server::start(kind).await;
        fill(&server, "CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t SELECT n FROM n").await;
        server.exec("CREATE TABLE d.keyless (id INT); CREATE VIEW d.v AS SELECT * FROM d.t").await;
        let engine = if kind == Kind::MySql { "BLACKHOLE" } else { "MERGE" };
        server.exec(&format!("CREATE TABLE d.hole (id INT) ENGINE={engine}")).await;

        let run = Run::start(&server, SMALL, log(), &[]);
        for (name, condition, part) in [
            ("missing", None, "table \"d.missing\" does not exist at the source"),
            ("t", Some("no_such_column = 1"), "no_such_column"),
            ("t", Some("id ="), "syntax"),
            ("keyless", Some("id = 1"), "would stand twice"),
            ("v", None, "is a view"),
            ("hole", None, engine),
        ] {
            let refused = backfill(&run, name, condition, false).await.unwrap().unwrap_err();
            assert!(refused.chain().contains(part), "{name} {condition:?}: {}", refused.chain());
        }
        backfill(&run, "t", None, false).await.unwrap().unwrap();
        let records = run.settle().await;
        let log = run.end().await;
        assert_eq!(records.keys().collect::<Vec<_>>(), [&table("t")]);
        assert!(matches!(records[&table("t")].capture, Capture::Since(_)));
        assert_copied(&server, &log, "t").await;
    }
}

const KEYS: [(&str, &str, &str); 17] = [
    ("ints", "a INT PRIMARY KEY, v TEXT", "SELECT n * 1000 - 50000, n FROM n"),
    ("bigs", "a BIGINT UNSIGNED PRIMARY KEY", "SELECT 18446744073709551615 - n * 3 FROM n"),
    ("tinies", "a TINYINT PRIMARY KEY", "SELECT n - 50 FROM n"),
    ("decs", "a DECIMAL(30,10) PRIMARY KEY", "SELECT (n - 50) / 7 FROM n"),
    (
        "utfs",
        "a VARCHAR(40) CHARACTER SET utf8mb4 PRIMARY KEY",
        "SELECT CONCAT(ELT(n % 4 + 1, 'a', 'B', CHAR(0xC389 USING utf8mb4), CHAR(0xF09F9880 USING utf8mb4)), n) FROM n",
    ),
    (
        "latin",
        "a CHAR(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci PRIMARY KEY",
        "SELECT CONCAT(_latin1 x'E9', CHAR(96 + n % 26 + 1), n, \"'\") FROM n",
    ),
    ("wide", "a VARCHAR(40) CHARACTER SET utf16 PRIMARY KEY", "SELECT CONCAT('k', n) FROM n"),
    ("bin", "a BINARY(8) PRIMARY KEY", "SELECT UNHEX(LPAD(HEX(n * 7919), 8, '0')) FROM n"),
    (
        "varbin",
        "a VARBINARY(20) PRIMARY KEY",
        "SELECT UNHEX(CONCAT('00', LPAD(HEX(n * 104729), 10, '0'), '5C27')) FROM n",
    ),
    ("day", "a DATE PRIMARY KEY", "SELECT IF(n = 1, '0000-00-00', DATE '1969-12-01' + INTERVAL n DAY) FROM n"),
    ("moment", "a DATETIME(6) PRIMARY KEY", "SELECT DATE '2020-01-01' + INTERVAL n * 1000001 MICROSECOND FROM n"),
    ("stamp", "a TIMESTAMP(3) PRIMARY KEY", "SELECT TIMESTAMP '2020-10-25 00:00:00' + INTERVAL n * 1001 SECOND FROM n"),
    ("span", "a TIME(2) PRIMARY KEY", "SELECT SEC_TO_TIME((n - 50) * 33333) FROM n"),
    ("yr", "a YEAR PRIMARY KEY, b INT", "SELECT IF(n = 1, 0, 1900 + n), n FROM n"),
    (
        "choice",
        "e ENUM('z','a','m') NOT NULL, s SET('p','q','r') NOT NULL, n INT, PRIMARY KEY (e, s, n)",
        "SELECT n % 3 + 1, n % 8, n FROM n",
    ),
    (
        "several",
        "a VARCHAR(10) CHARACTER SET latin1, b INT, c DATETIME, v INT, PRIMARY KEY (a, b, c)",
        "SELECT ELT(n % 3 + 1, 'a', 'B', 'c'), n % 5, DATE '2020-01-01' + INTERVAL n DAY, n FROM n",
    ),
    (
        "uniq",
        "v INT, a BIGINT NOT NULL, o VARCHAR(9), UNIQUE (o), UNIQUE (a)",
        "SELECT n, 100 - n, IF(n < 9, NULL, n) FROM n",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_are_read_under_a_moments_lock_where_there_are_no_gtids_on_mysql() {
    let server = ServerOptions::new(Kind::MySql).without_gtid().start().await;
    fill(&server, "CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t SELECT n FROM n").await;

    let run = Run::start(&server, SMALL, log(), &named(&["t"]));
    let records = run.settle().await;
    let log = run.end().await;

    assert_eq!(state(&records, "t").state, State::Complete);
    assert_copied(&server, &log, "t").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_privilege_to_lock_the_error_names_the_grant_on_mysql() {
    let server = ServerOptions::new(Kind::MySql).without_gtid().start().await;
    fill(&server, "CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t SELECT n FROM n").await;
    server
        .exec(format!(
            "CREATE USER poor@'%' IDENTIFIED BY '{PASSWORD}'; GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO poor@'%'"
        ))
        .await;

    let run = Run::start_as(&server, "poor", SMALL, log(), &named(&["t"]));
    let records = run.settle().await;
    run.end().await;

    let stated = state(&records, "t");
    assert_eq!(stated.state, State::Unreadable);
    assert!(stated.why.as_ref().unwrap().contains("GRANT LOCK TABLES"), "{stated:?}");
}
