//! The 11-column table of the project's benchmarks.

#![allow(dead_code, clippy::unwrap_used, reason = "each benchmark takes what it needs, and stops when it cannot go on")]

pub(crate) mod body;

use replicator::model::{Charset, Column, ColumnDefault, ColumnType, IntWidth, Key, KeyKind, TableName, TableSchema};

pub(crate) const LABELS: [&str; 4] = ["new", "paid", "shipped", "done"];

/// The table.
pub(crate) fn schema() -> TableSchema {
    let int = |width, unsigned| ColumnType::Int { width, unsigned };
    let varchar = |max_bytes| ColumnType::VarChar { max_bytes, charset: Charset::new("utf8mb4") };
    let columns = [
        ("id", int(IntWidth::W8, true)),
        ("customer_id", int(IntWidth::W4, false)),
        ("status", ColumnType::Enum { members: LABELS.map(str::to_owned).to_vec() }),
        ("email", varchar(256)),
        ("note", varchar(1020)),
        ("amount", ColumnType::Decimal { precision: 12, scale: 2 }),
        ("qty", int(IntWidth::W2, false)),
        ("is_gift", int(IntWidth::W1, false)),
        ("created_at", ColumnType::DateTime { fsp: 6 }),
        ("updated_at", ColumnType::Timestamp { fsp: 3 }),
        ("score", ColumnType::Double),
    ];
    let column = |(name, ty): (&str, ColumnType)| Column {
        nullable: matches!(name, "note" | "score"),
        name: name.to_owned(),
        ty,
        default: ColumnDefault::Unknown,
        attributes: None,
        collation: None,
    };
    TableSchema {
        name: TableName::new("bench", "orders"),
        columns: columns.into_iter().map(column).collect(),
        key: Some(Key { kind: KeyKind::Primary, columns: vec![0] }),
    }
}
