//! The whole content of a source database against its copy: every table, every row, every column, by value.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::path::Path;

use rusqlite::Connection;

use super::cells::{
    Cell, Content, open_sqlite, source_rows, source_tables, sqlite_columns, sqlite_rows, sqlite_tables,
};
use super::clickhouse::{ClickHouse, REPLICA};
use super::replica::{as_replicated, replica_columns, replica_rows, replica_tables};
use super::server::Server;

/// Differences printed per table; the rest is counted.
const SHOWN: usize = 10;

/// How the copy is meant to differ from the source.
#[derive(Clone, Default)]
pub struct View {
    /// (source table, source column, target column)
    pub renamed: Vec<(String, String, String)>,
    /// (source table, source column)
    pub dropped: Vec<(String, String)>,
    /// Tables whose deleted rows stay with this column at 1: only the others are compared.
    pub soft_deleted: Vec<(String, String)>,
    /// Source tables that have no mirror: not captured, or kept as a changelog.
    pub left_out: Vec<String>,
    /// Tables that the copy has besides: a dropped source table's, for example.
    pub additional: Vec<String>,
}

/// What was compared, for tests to assert that it was something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    pub tables: usize,
    pub rows: usize,
}

/// Asserts that `sqlite` mirrors all of `database`, which nobody is writing to any more.
pub async fn assert_mirrored(server: &Server, database: &str, sqlite: &Path) -> Compared {
    assert_mirrored_as(&View::default(), server, database, sqlite).await
}

/// Asserts that `sqlite` mirrors all of `database` as `view` says.
pub async fn assert_mirrored_as(view: &View, server: &Server, database: &str, sqlite: &Path) -> Compared {
    asserted(server, &sqlite.display().to_string(), compare(view, server, database, sqlite).await)
}

/// Asserts that a ClickHouse mirrors all of `database` as `view` says.
pub async fn assert_mirrored_to_clickhouse(
    view: &View,
    server: &Server,
    database: &str,
    target: &ClickHouse,
) -> Compared {
    asserted(server, "clickhouse", compare_with_clickhouse(view, server, database, target).await)
}

fn asserted(server: &Server, copy: &str, result: Result<Compared, String>) -> Compared {
    match result {
        Ok(compared) => {
            assert!(compared.tables > 0, "there is no table to compare");
            compared
        }
        Err(differences) => panic!("{} and {copy} differ:\n{differences}", server.kind()),
    }
}

/// Compares; the error lists the first differences of every table.
pub async fn compare(view: &View, server: &Server, database: &str, sqlite: &Path) -> Result<Compared, String> {
    let copy = open_sqlite(sqlite);
    // One read transaction, so that all tables are of one moment.
    copy.execute_batch("BEGIN").unwrap();
    compare_copy(view, server, database, Copy::Sqlite(&copy)).await
}

/// [`compare`] with a ClickHouse.
pub async fn compare_with_clickhouse(
    view: &View,
    server: &Server,
    database: &str,
    target: &ClickHouse,
) -> Result<Compared, String> {
    compare_copy(view, server, database, Copy::ClickHouse(target, REPLICA)).await
}

/// A copy that can be read.
#[derive(Clone, Copy)]
pub(super) enum Copy<'a> {
    Sqlite(&'a Connection),
    /// One of its databases.
    ClickHouse(&'a ClickHouse, &'a str),
}

impl Copy<'_> {
    async fn tables(self) -> Vec<String> {
        match self {
            Self::Sqlite(connection) => sqlite_tables(connection),
            Self::ClickHouse(server, database) => replica_tables(server, database).await,
        }
    }

    async fn columns(self, table: &str) -> Vec<String> {
        match self {
            Self::Sqlite(connection) => sqlite_columns(connection, table),
            Self::ClickHouse(server, database) => {
                let columns = replica_columns(server, database, table).await;
                columns.into_iter().map(|column| column.name).collect()
            }
        }
    }

    /// The sink's own columns of a mirror.
    fn own_columns(self, soft: Option<&String>) -> Vec<String> {
        let own = match (self, soft) {
            (Self::Sqlite(_), _) => &[][..],
            (Self::ClickHouse(..), None) => &["_version", "_is_deleted"][..],
            (Self::ClickHouse(..), Some(_)) => &["_version"][..],
        };
        own.iter().map(|name| (*name).to_owned()).chain(soft.cloned()).collect()
    }

    pub(super) async fn rows(self, table: &str, columns: &[String], condition: &str) -> Vec<Vec<Cell>> {
        match self {
            Self::Sqlite(connection) => sqlite_rows(connection, table, columns, condition),
            Self::ClickHouse(server, database) => replica_rows(server, database, table, columns, condition).await,
        }
    }

    /// The source's rows as the copy is to hold them, in columns of the same names behind `prefix`.
    pub(super) async fn expected(self, source: Content, table: &str, prefix: &str) -> Content {
        match self {
            Self::Sqlite(_) => source,
            Self::ClickHouse(server, database) => {
                as_replicated(source, &replica_columns(server, database, table).await, prefix)
            }
        }
    }
}

async fn compare_copy(view: &View, server: &Server, database: &str, copy: Copy<'_>) -> Result<Compared, String> {
    let mut tables = source_tables(server, database).await;
    tables.retain(|table| !view.left_out.contains(table));
    let mut target_tables = copy.tables().await;
    target_tables.retain(|table| !view.additional.contains(table) && !view.left_out.contains(table));
    if tables != target_tables {
        return Err(format!("tables at the source: {tables:?}\ntables at the sink:   {target_tables:?}"));
    }

    let mut compared = Compared { tables: 0, rows: 0 };
    let mut report = String::new();
    for table in tables {
        let dropped = pick(&view.dropped, &table);
        let mut source = source_rows(server, database, &table, &dropped).await;
        for (of, from, to) in &view.renamed {
            if *of == table {
                let position = source.columns.iter().position(|column| column == from);
                source.columns[position.unwrap_or_else(|| panic!("no column {from} in {table} to rename"))]
                    .clone_from(to);
            }
        }
        let source = copy.expected(source, &table, "").await;
        let soft = pick(&view.soft_deleted, &table).pop();
        let own = copy.own_columns(soft.as_ref());
        let difference = match columns_differ(&source, &copy.columns(&table).await, &own) {
            Some(difference) => difference,
            None => {
                let condition = soft.map_or_else(|| "1".to_owned(), |column| format!("\"{column}\" = 0"));
                rows_differ(&source, copy.rows(&table, &source.columns, &condition).await)
            }
        };
        if !difference.is_empty() {
            write!(report, "table {table} (key: {:?})\n{difference}", &source.columns[..source.key]).unwrap();
        }
        compared.tables += 1;
        compared.rows += source.rows.len();
    }
    if report.is_empty() { Ok(compared) } else { Err(report) }
}

fn pick(pairs: &[(String, String)], table: &str) -> Vec<String> {
    pairs.iter().filter(|(of, _)| of == table).map(|(_, column)| column.clone()).collect()
}

fn columns_differ(source: &Content, target: &[String], own: &[String]) -> Option<String> {
    let mut expected: Vec<&String> = source.columns.iter().chain(own).collect();
    let mut found: Vec<&String> = target.iter().collect();
    expected.sort();
    found.sort();
    (expected != found).then(|| format!("  columns expected: {expected:?}\n  columns at the sink: {found:?}\n"))
}

/// Compares two contents as multisets; rows of one key are shown side by side. Empty: they are equal.
pub fn rows_differ(source: &Content, mut target: Vec<Vec<Cell>>) -> String {
    let mut expected: Vec<&Vec<Cell>> = source.rows.iter().collect();
    expected.sort();
    target.sort();
    // Without a key, the whole row is what identifies it.
    let key = if source.key == 0 { source.columns.len() } else { source.key };

    let mut differences = Vec::new();
    let (mut left, mut right) = (expected.into_iter().peekable(), target.iter().peekable());
    loop {
        let order = match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(want), Some(have)) => want[..key].cmp(&have[..key]),
        };
        let want = if order == Ordering::Greater { None } else { left.next() };
        let have = if order == Ordering::Less { None } else { right.next() };
        differences.push(match (want, have) {
            (Some(want), None) => format!("  missing at the sink: {want:?}"),
            (None, Some(have)) => format!("  only at the sink:    {have:?}"),
            (Some(want), Some(have)) if want != have => {
                let columns = source.columns.iter().zip(want.iter().zip(have));
                let unequal: Vec<String> = columns
                    .filter(|(_, (want, have))| want != have)
                    .map(|(name, (want, have))| format!("{name}: source {want:?}, sink {have:?}"))
                    .collect();
                format!("  row {:?}: {}", &want[..key], unequal.join("; "))
            }
            _ => continue,
        });
    }
    let more = differences.len().saturating_sub(SHOWN);
    differences.truncate(SHOWN);
    let mut report: String = differences.into_iter().map(|line| line + "\n").collect();
    if more > 0 {
        writeln!(report, "  and {more} more").unwrap();
    }
    report
}
