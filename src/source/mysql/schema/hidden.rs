//! Columns that MariaDB keeps for itself, and that stand in its `TABLE_MAP` and in its rows: hashes of unique keys over long columns.
//!
//! A unique key over a `TEXT`, a `BLOB` or a long `VARCHAR` has a virtual column `DB_ROW_HASH_n` of type `BIGINT UNSIGNED`, after every
//! other column (MariaDB server, `sql/sql_table.cc`, `add_hash_field`). Nobody can select it, and neither the catalogue nor
//! `SELECT *` shows it. `n` is the first number of which the table has no column, so that a column of this name that can be
//! selected may stand beside it.

use crate::model::{Column, ColumnType, IntWidth, TableSchema};

/// How the names begin.
const PREFIX: &str = "DB_ROW_HASH_";

/// Whether a column looks like one that the server keeps for itself. The server itself does not say it.
pub(super) fn looks_hidden(column: &Column) -> bool {
    let is_named = column
        .name
        .strip_prefix(PREFIX)
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
    is_named && column.nullable && column.ty == (ColumnType::Int { width: IntWidth::W8, unsigned: true })
}

/// How many columns of a `TABLE_MAP` are the table's own: those before the hidden ones.
pub(in crate::source::mysql) fn own_columns(schema: &TableSchema) -> usize {
    let hidden = schema.columns.iter().rev().take_while(|column| looks_hidden(column)).count();
    schema.columns.len() - hidden
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ColumnDefault, TableName};

    fn column(name: &str, unsigned: bool) -> Column {
        let ty = ColumnType::Int { width: IntWidth::W8, unsigned };
        Column {
            name: name.into(),
            ty,
            nullable: true,
            default: ColumnDefault::Unknown,
            attributes: None,
            collation: None,
        }
    }

    #[test]
    fn hashes_after_every_other_column_are_hidden() {
        let own = |names: &[&str]| {
            let columns = names.iter().map(|name| column(name, true)).collect();
            own_columns(&TableSchema { name: TableName::new("d", "t"), columns, key: None })
        };
        assert_eq!(own(&["id", "DB_ROW_HASH_1"]), 1);
        assert_eq!(own(&["id", "DB_ROW_HASH_2", "DB_ROW_HASH_13"]), 1);
        assert_eq!(own(&["DB_ROW_HASH_1", "id"]), 2);
        assert_eq!(own(&["id", "db_row_hash_1", "DB_ROW_HASH_", "DB_ROW_HASH_x"]), 4);
        assert!(!looks_hidden(&column("DB_ROW_HASH_1", false)));
        assert!(!looks_hidden(&Column { nullable: false, ..column("DB_ROW_HASH_1", true) }));
    }
}
