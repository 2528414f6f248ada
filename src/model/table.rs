//! Tables: their names and schemas.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Column, same_column};

/// A table of the source, by database and name as the source spells them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableName {
    /// Database (schema) name.
    pub database: String,
    /// Table name.
    pub table: String,
}

impl TableName {
    /// From its two parts.
    pub fn new(database: impl Into<String>, table: impl Into<String>) -> Self {
        Self { database: database.into(), table: table.into() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.database, self.table)
    }
}

/// Number of one version of one table's schema, given out by the log's owner, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SchemaId(pub u32);

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What kind of constraint makes a [`Key`] unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum KeyKind {
    /// The primary key.
    Primary,
    /// A unique key over not-null columns, taken because there is no primary key.
    Unique,
}

/// The columns that identify a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Where it comes from.
    pub kind: KeyKind,
    /// Places of its columns in [`TableSchema::columns`], in key order. Prefix keys count with the whole column: rows that
    /// differ in the prefix differ in the whole.
    pub columns: Vec<u16>,
}

/// The primary key of a schema, if it has one.
pub(super) fn primary(schema: &TableSchema) -> Option<&Key> {
    schema.key.as_ref().filter(|key| key.kind == KeyKind::Primary)
}

/// One version of a table's schema.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TableSchema {
    /// The table.
    pub name: TableName,
    /// Columns in the order of the row image.
    pub columns: Vec<Column>,
    /// `None`: rows are told apart only by all their values.
    pub key: Option<Key>,
}

impl TableSchema {
    /// Place of a column by name; MySQL compares column names without case.
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| same_column(&column.name, name))
    }

    /// Whether a row image written under `self` means the same under `other`: names, types and nullability in order, and the
    /// primary key. Defaults are left out, and so is a unique key, which a `TABLE_MAP` does not tell.
    pub fn same_image(&self, other: &Self) -> bool {
        self.name == other.name
            && self.columns.len() == other.columns.len()
            && self
                .columns
                .iter()
                .zip(&other.columns)
                .all(|(a, b)| a.name == b.name && a.ty == b.ty && a.nullable == b.nullable)
            && primary(self) == primary(other)
    }

    /// The first column whose type this version cannot read.
    pub fn first_unsupported(&self) -> Option<(&Column, &str)> {
        self.columns.iter().find_map(|column| match &column.ty {
            super::ColumnType::Unsupported { name, .. } => Some((column, name.as_str())),
            _ => None,
        })
    }
}
