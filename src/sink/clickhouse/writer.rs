//! How the rows of one schema are written: through which encoder, by which INSERT.

use bytes::Bytes;
use wal::Lsn;

use super::history::History;
use super::layout::Layout;
use super::length::{put_length, put_string};
use super::mirror::Mirror;
use super::names::quoted;
use crate::error::Failure;
use crate::model::TableName;

/// How the rows of one schema are written.
pub(super) struct Writer {
    pub(super) table: TableName,
    /// Rows before it are stored already: they are older than a change that has begun.
    pub(super) stored_before: Lsn,
    /// `None`: the table is stopped.
    pub(super) rows: Option<Rows>,
    /// The INSERT, and the names and types that its body begins with.
    pub(super) sql: String,
    pub(super) header: Bytes,
}

pub(super) enum Rows {
    Mirror(Mirror),
    History(History),
    /// The table has another shape by now, so all of them must be stored.
    Older,
}

impl Writer {
    /// Of a table that is stopped.
    pub(super) fn stopped(table: TableName) -> Self {
        Self { table, stored_before: Lsn::ZERO, rows: None, sql: String::new(), header: Bytes::new() }
    }
}

pub(super) fn other_shape(table: &TableName) -> Failure {
    Failure::row(format!("rows of {table} have another shape than its table at the target"))
}

/// The INSERT of a table, and what its body begins with: the number of columns, their names, their types.
pub(super) fn insert(database: &str, layout: &Layout) -> (String, Bytes) {
    let columns = layout.insert_columns();
    let names: Vec<_> = columns.iter().map(|(name, _)| quoted(name)).collect();
    let sql = format!(
        "INSERT INTO {}.{} ({}) FORMAT RowBinaryWithNamesAndTypes",
        quoted(database),
        quoted(&layout.target),
        names.join(", ")
    );
    let mut header = Vec::new();
    put_length(columns.len(), &mut header);
    for text in columns.iter().map(|(name, _)| name).chain(columns.iter().map(|(_, ty)| ty)) {
        put_string(text.as_bytes(), &mut header);
    }
    (sql, header.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;
    use crate::sink::clickhouse::layout::TargetColumn;

    #[test]
    fn an_insert_names_its_columns_and_its_body_begins_with_them_and_their_types() {
        let column = TargetColumn { source: 0, name: "i`d".into(), ty: "Int32".into() };
        let layout = Layout { target: "t".into(), mode: Mode::Mirror, columns: vec![column], key: vec![0], soft: None };
        let (sql, header) = insert("d", &layout);
        assert_eq!(sql, "INSERT INTO `d`.`t` (`i\\`d`, `_version`, `_is_deleted`) FORMAT RowBinaryWithNamesAndTypes");
        assert_eq!(&header[..], b"\x03\x03i`d\x08_version\x0b_is_deleted\x05Int32\x06UInt64\x05UInt8");
    }
}
