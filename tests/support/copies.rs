//! What a sink has made of a source database, as the comparison and the replay of changelogs read it. Each sink has a [`Copied`].

use std::path::Path;

use rusqlite::Connection;

use super::cells::{Cell, Content, open_sqlite, sqlite_columns, sqlite_rows, sqlite_tables};
use super::clickhouse::ClickHouse;
use super::replica::{as_replicated, replica_columns, replica_rows, replica_tables};

/// The tables of one sink that can be read.
pub trait Copied {
    /// What failures call it.
    fn name(&self) -> String;

    /// The tables that are not the sink's own bookkeeping, sorted; those that are being built are among them.
    async fn tables(&self) -> Vec<String>;

    /// The columns of a table in its order.
    async fn columns(&self, table: &str) -> Vec<String>;

    /// The sink's own columns of a mirror, besides the one that marks deleted rows.
    fn own_columns(&self, is_soft: bool) -> &'static [&'static str];

    /// The given columns of every row that counts: not of one that a newer row has taken the place of.
    async fn rows(&self, table: &str, columns: &[String]) -> Vec<Vec<Cell>>;

    /// The source's rows as the copy is to hold them, in columns of the same names behind `prefix`.
    async fn expected(&self, source: Content, table: &str, prefix: &str) -> Content;
}

/// A SQLite file.
pub struct SqliteCopy(Connection);

impl SqliteCopy {
    /// Opens the file as any other reader would: all tables are of one moment.
    pub fn open(path: &Path) -> Self {
        let connection = open_sqlite(path);
        connection.execute_batch("BEGIN").unwrap();
        Self(connection)
    }
}

impl Copied for SqliteCopy {
    fn name(&self) -> String {
        self.0.path().unwrap_or_default().to_owned()
    }

    async fn tables(&self) -> Vec<String> {
        sqlite_tables(&self.0)
    }

    async fn columns(&self, table: &str) -> Vec<String> {
        sqlite_columns(&self.0, table)
    }

    fn own_columns(&self, _: bool) -> &'static [&'static str] {
        &[]
    }

    async fn rows(&self, table: &str, columns: &[String]) -> Vec<Vec<Cell>> {
        sqlite_rows(&self.0, table, columns, "1")
    }

    async fn expected(&self, source: Content, _: &str, _: &str) -> Content {
        source
    }
}

/// One database of a ClickHouse, as FINAL shows it.
pub struct ClickHouseCopy<'a> {
    pub server: &'a ClickHouse,
    pub database: &'a str,
}

impl Copied for ClickHouseCopy<'_> {
    fn name(&self) -> String {
        format!("clickhouse, database {},", self.database)
    }

    async fn tables(&self) -> Vec<String> {
        replica_tables(self.server, self.database).await
    }

    async fn columns(&self, table: &str) -> Vec<String> {
        let columns = replica_columns(self.server, self.database, table).await;
        columns.into_iter().map(|column| column.name).collect()
    }

    fn own_columns(&self, is_soft: bool) -> &'static [&'static str] {
        if is_soft { &["_version"] } else { &["_version", "_is_deleted"] }
    }

    async fn rows(&self, table: &str, columns: &[String]) -> Vec<Vec<Cell>> {
        replica_rows(self.server, self.database, table, columns).await
    }

    async fn expected(&self, source: Content, table: &str, prefix: &str) -> Content {
        as_replicated(source, &replica_columns(self.server, self.database, table).await, prefix)
    }
}
