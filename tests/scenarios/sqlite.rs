//! The SQLite sink as the scenarios see it: a file for the mirror, and one for the changelogs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::target::{Mode, Target};
use crate::support::cells::open_sqlite;
use crate::support::copies::SqliteCopy;

/// How long the daemon's own transaction may hold the lock that a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Sqlite {
    directory: PathBuf,
    /// Hold the write locks of both files.
    locks: Vec<Connection>,
}

impl Sqlite {
    fn file(&self, mode: Mode) -> PathBuf {
        self.directory.join(format!("{}.db", mode.name()))
    }

    fn exec_at(&self, mode: Mode, sql: &str) {
        let connection = open_sqlite(&self.file(mode));
        connection.busy_timeout(PATIENCE).unwrap();
        connection.execute_batch(sql).unwrap_or_else(|error| panic!("{error}\n{sql}"));
    }
}

impl Target for Sqlite {
    type Copy<'t> = SqliteCopy;

    const KILLS: (&'static str, u32) = ("REPLICATOR_KILLS", 50);
    const HAS_SERVER: bool = false;
    const HOLDS_KEYLESS: bool = true;
    const NOT_HELD: &'static [&'static str] = &[];

    async fn start(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), locks: Vec::new() }
    }

    fn sink(&self, mode: Mode) -> Value {
        json!({
            "name": mode.name(),
            "type": "sqlite",
            "path": self.file(mode),
            "table_name": "{table}",
            "mode": mode.name(),
        })
    }

    fn copy(&self, mode: Mode) -> SqliteCopy {
        SqliteCopy::open(&self.file(mode))
    }

    fn named(&self, table: &str) -> String {
        table.to_owned()
    }

    async fn exec(&self, sql: &str) {
        self.exec_at(Mode::Mirror, sql);
    }

    async fn refuse(&self, mode: Mode, table: &str, column: &str) {
        for event in ["INSERT", "UPDATE"] {
            self.exec_at(
                mode,
                &format!(
                    "CREATE TRIGGER unlucky_{event} BEFORE {event} ON \"{table}\" WHEN new.\"{column}\" = 13
                     BEGIN SELECT RAISE(ABORT, 'unlucky'); END"
                ),
            );
        }
    }

    async fn take_all(&self, mode: Mode, _table: &str) {
        self.exec_at(mode, "DROP TRIGGER unlucky_INSERT; DROP TRIGGER unlucky_UPDATE");
    }

    async fn value(&self, sql: &str) -> String {
        let value =
            open_sqlite(&self.file(Mode::Mirror)).query_row(sql, [], |row| row.get::<_, rusqlite::types::Value>(0));
        match value.unwrap_or_else(|error| panic!("{error}\n{sql}")) {
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => panic!("{sql} gives {other:?}"),
        }
    }

    async fn key(&self, table: &str) -> Vec<String> {
        let connection = open_sqlite(&self.file(Mode::Mirror));
        let mut statement =
            connection.prepare("SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk").unwrap();
        let names = statement.query_map([table], |row| row.get(0)).unwrap();
        names.collect::<Result<_, _>>().unwrap()
    }

    async fn go_away(&mut self) {
        for mode in [Mode::Mirror, Mode::History] {
            // The daemon may be about to make the file.
            let lock = Connection::open(self.file(mode)).unwrap();
            lock.busy_timeout(PATIENCE).unwrap();
            lock.execute_batch("BEGIN IMMEDIATE").unwrap();
            self.locks.push(lock);
        }
    }

    fn away_error(&self) -> String {
        "another process holds a lock".to_owned()
    }

    async fn come_back(&mut self) {
        self.locks.clear();
    }

    fn kill(&mut self) {
        unreachable!("it has no server");
    }

    async fn start_again(&mut self) {}
}
