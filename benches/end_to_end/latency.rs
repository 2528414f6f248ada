//! From the commit's return at the source to the row's being visible in SQLite, at 500 transactions a second. Then the same
//! beside storms of doubts about other tables: checksums written as statements, and a session that always writes MINIMAL images.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use tokio::task::JoinHandle;

use crate::load;
use crate::measure::Table;
use crate::support::cells::open_sqlite;
use crate::support::sandbox::{DATABASE, Sandbox};
use crate::support::server::Kind;

const PER_SECOND: u32 = 500;
const SECONDS: u32 = 10;

/// Statements of a storm a second, of each kind.
const STORM_PER_SECOND: u32 = 20;
/// Rows of the tables that the storm is about.
const STORM_ROWS: u32 = 20_000;

pub async fn run(kind: Kind, table: &mut Table) {
    let quiet = delays(load::sandbox(kind).await, &[]).await;
    table.value(&format!("commit to visible, {kind}: p50"), percentile(&quiet, 50), "ms", 5.0);
    table.value(&format!("commit to visible, {kind}: p99"), percentile(&quiet, 99), "ms", 25.0);

    let mut sandbox = load::sandbox(kind).await;
    sandbox.set("/source/reread_pause", serde_json::json!("1s"));
    let tables = format!(
        "USE {DATABASE};
         CREATE TABLE checksums (tbl VARCHAR(40), chunk INT, crc INT UNSIGNED, PRIMARY KEY (tbl, chunk));
         CREATE TABLE minimal (id INT PRIMARY KEY, a INT NOT NULL, b VARCHAR(40) NOT NULL DEFAULT 'b');
         INSERT INTO minimal (id, a) WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
           SELECT x.i * 1000 + y.i, y.i FROM n AS x JOIN n AS y ON x.i <= {}",
        STORM_ROWS / 1000
    );
    sandbox.server.exec(tables).await;
    let statements = Storm {
        session: "SET SESSION binlog_format = 'STATEMENT'",
        statement: |number| {
            let chunk = number % 50;
            format!(
                "REPLACE INTO checksums SELECT 'minimal', {chunk}, CRC32(GROUP_CONCAT(a)) FROM minimal WHERE id < 1100"
            )
        },
    };
    let images = Storm {
        session: "SET SESSION binlog_row_image = 'MINIMAL'",
        statement: |number| {
            format!("UPDATE minimal SET a = a + 1 WHERE id BETWEEN {0} AND {0} + 20", number % 900 + 1001)
        },
    };
    let stormy = delays(sandbox, &[statements, images]).await;
    table.value(&format!("commit to visible beside storms of doubts, {kind}: p50"), percentile(&stormy, 50), "ms", 5.0);
    table.value(
        &format!("commit to visible beside storms of doubts, {kind}: p99"),
        percentile(&stormy, 99),
        "ms",
        25.0,
    );
}

/// A session that writes statements for as long as it is let.
struct Storm {
    session: &'static str,
    statement: fn(u32) -> String,
}

impl Storm {
    fn begin(&self, options: OptsBuilder) -> JoinHandle<()> {
        let Self { session, statement } = *self;
        tokio::spawn(async move {
            let mut connection = Conn::new(options).await.unwrap();
            connection.query_drop(session).await.unwrap();
            for number in 0.. {
                connection.query_drop(statement(number)).await.unwrap();
                tokio::time::sleep(Duration::from_secs(1) / STORM_PER_SECOND).await;
            }
        })
    }
}

fn percentile(delays: &[f64], percent: usize) -> f64 {
    delays[delays.len() * percent / 100]
}

/// The delays of transactions of one row beside storms, in milliseconds, in order.
async fn delays(sandbox: Sandbox, storms: &[Storm]) -> Vec<f64> {
    sandbox
        .server
        .exec(format!("CREATE TABLE {DATABASE}.ticks (id INT PRIMARY KEY); INSERT INTO {DATABASE}.ticks VALUES (0)"))
        .await;
    let mut daemon = sandbox.start();
    sandbox.caught_up(&mut daemon).await;

    let transactions = PER_SECOND * SECONDS;
    let path = sandbox.sqlite();
    let (ready, made) = tokio::sync::oneshot::channel();
    let reader = std::thread::spawn(move || {
        let copy = open_sqlite(&path);
        let tables = "SELECT COUNT(*) FROM sqlite_master WHERE name = 'ticks'";
        while copy.query_row(tables, [], |row| row.get::<_, u32>(0)).unwrap() == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
        ready.send(()).unwrap();
        let mut newest = copy.prepare("SELECT COALESCE(MAX(id), 0) FROM ticks").unwrap();
        let mut visible: Vec<Instant> = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(u64::from(SECONDS) + 60);
        let wanted = usize::try_from(transactions).unwrap();
        while visible.len() < wanted {
            let id: u32 = newest.query_row([], |row| row.get(0)).unwrap();
            let now = Instant::now();
            visible.resize(visible.len().max(usize::try_from(id).unwrap()), now);
            assert!(now < deadline, "only {} of {wanted} rows became visible", visible.len());
            std::thread::sleep(Duration::from_micros(200));
        }
        visible
    });

    let mut connection = Conn::new(sandbox.server.root().db_name(Some(DATABASE))).await.unwrap();
    made.await.unwrap();
    let root = || sandbox.server.root().db_name(Some(DATABASE));
    let storms: Vec<_> = storms.iter().map(|storm| storm.begin(root())).collect();
    let mut committed = Vec::new();
    let start = Instant::now();
    for id in 1..=transactions {
        tokio::time::sleep_until((start + Duration::from_secs(1) / PER_SECOND * id).into()).await;
        connection.query_drop(format!("INSERT INTO ticks VALUES ({id})")).await.unwrap();
        committed.push(Instant::now());
    }
    let visible = reader.join().unwrap();
    storms.iter().for_each(JoinHandle::abort);
    daemon.stop();

    let mut delays: Vec<f64> = committed
        .iter()
        .zip(&visible)
        .map(|(committed, visible)| visible.saturating_duration_since(*committed).as_secs_f64() * 1000.0)
        .collect();
    delays.sort_by(f64::total_cmp);
    delays
}
