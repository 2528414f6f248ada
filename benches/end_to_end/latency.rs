//! From the commit's return at the source to the row's being visible in SQLite, at 500 transactions a second.

use std::time::{Duration, Instant};

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::load;
use crate::measure::Table;
use crate::support::cells::open_sqlite;
use crate::support::sandbox::DATABASE;
use crate::support::server::Kind;

const PER_SECOND: u32 = 500;
const SECONDS: u32 = 10;

pub async fn run(kind: Kind, table: &mut Table) {
    let sandbox = load::sandbox(kind).await;
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
    let mut committed = Vec::new();
    let start = Instant::now();
    for id in 1..=transactions {
        tokio::time::sleep_until((start + Duration::from_secs(1) / PER_SECOND * id).into()).await;
        connection.query_drop(format!("INSERT INTO ticks VALUES ({id})")).await.unwrap();
        committed.push(Instant::now());
    }
    let visible = reader.join().unwrap();
    daemon.stop();

    let mut delays: Vec<f64> = committed
        .iter()
        .zip(&visible)
        .map(|(committed, visible)| visible.saturating_duration_since(*committed).as_secs_f64() * 1000.0)
        .collect();
    delays.sort_by(f64::total_cmp);
    let percentile = |percent: usize| delays[delays.len() * percent / 100];
    table.value(&format!("commit to visible, {kind}: p50"), percentile(50), "ms", 5.0);
    table.value(&format!("commit to visible, {kind}: p99"), percentile(99), "ms", 25.0);
}
