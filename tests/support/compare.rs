//! The whole content of a source database against its copy: every table, every row, every column, by value.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::path::Path;

use super::cells::{Cell, Content, source_rows, source_tables};
use super::clickhouse::{ClickHouse, REPLICA};
use super::copies::{ClickHouseCopy, Copied, SqliteCopy};
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
    assert_copied(view, server, database, &SqliteCopy::open(sqlite)).await
}

/// Asserts that a ClickHouse mirrors all of `database` as `view` says.
pub async fn assert_mirrored_to_clickhouse(
    view: &View,
    server: &Server,
    database: &str,
    target: &ClickHouse,
) -> Compared {
    assert_copied(view, server, database, &ClickHouseCopy { server: target, database: REPLICA }).await
}

/// Asserts that `copy` mirrors all of `database` as `view` says.
pub async fn assert_copied(view: &View, server: &Server, database: &str, copy: &impl Copied) -> Compared {
    match compare_copy(view, server, database, copy).await {
        Ok(compared) => {
            assert!(compared.tables > 0, "there is no table to compare");
            compared
        }
        Err(differences) => panic!("{} and {} differ:\n{differences}", server.kind(), copy.name()),
    }
}

/// Compares; the error lists the first differences of every table.
pub async fn compare(view: &View, server: &Server, database: &str, sqlite: &Path) -> Result<Compared, String> {
    compare_copy(view, server, database, &SqliteCopy::open(sqlite)).await
}

/// [`compare`] with a ClickHouse.
pub async fn compare_with_clickhouse(
    view: &View,
    server: &Server,
    database: &str,
    target: &ClickHouse,
) -> Result<Compared, String> {
    compare_copy(view, server, database, &ClickHouseCopy { server: target, database: REPLICA }).await
}

async fn compare_copy(view: &View, server: &Server, database: &str, copy: &impl Copied) -> Result<Compared, String> {
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
        let mut own: Vec<String> = copy.own_columns(soft.is_some()).iter().map(|column| (*column).to_owned()).collect();
        own.extend(soft.clone());
        let difference = match columns_differ(&source, &copy.columns(&table).await, &own) {
            Some(difference) => difference,
            None => rows_differ(&source, live_rows(copy, &table, &source.columns, soft).await),
        };
        if !difference.is_empty() {
            write!(report, "table {table} (key: {:?})\n{difference}", &source.columns[..source.key]).unwrap();
        }
        compared.tables += 1;
        compared.rows += source.rows.len();
    }
    if report.is_empty() { Ok(compared) } else { Err(report) }
}

/// The rows that are not marked as deleted.
async fn live_rows(copy: &impl Copied, table: &str, columns: &[String], soft: Option<String>) -> Vec<Vec<Cell>> {
    let Some(mark) = soft else { return copy.rows(table, columns).await };
    let columns: Vec<String> = columns.iter().cloned().chain([mark]).collect();
    let mut rows = copy.rows(table, &columns).await;
    rows.retain(|row| row.last() == Some(&Cell::Integer(0)));
    for row in &mut rows {
        row.pop();
    }
    rows
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
