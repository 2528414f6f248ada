//! Which columns tell rows apart, and along which a table is cut into chunks.
//!
//! The server takes the first unique key over whole not-null columns for the primary key of a table that declares none,
//! and `TABLE_MAP` tells it as the primary key; so it is [`KeyKind::Primary`] here too. A unique key over not-null
//! columns of which some stand with a prefix only is never told by `TABLE_MAP`; it still tells rows apart
//! ([`KeyKind::Unique`]).

use std::collections::HashMap;

use mysql_async::Conn;
use mysql_async::prelude::{FromValue, Queryable as _};
use serde::{Deserialize, Serialize};

use super::columns::RawColumn;
use super::failure::{query_failure, says_denied, says_no_such_table};
use super::quote::{table_identifier, text_literal};
use crate::error::Failure;
use crate::model::{Charset, ColumnType, Key, KeyKind, TableName};

/// A key along which a table is cut into chunks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkKey {
    /// Name of its index.
    pub index: String,
    /// Its columns in order.
    pub parts: Vec<KeyPart>,
}

/// A column of a [`ChunkKey`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPart {
    /// Place in the schema.
    pub column: u16,
    /// Name.
    pub name: String,
    /// How its values are written into SQL.
    pub class: KeyClass,
}

/// How a key column's values are written into SQL so that the server compares them as it orders the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyClass {
    /// Integers, decimals, years: digits.
    Number,
    /// `ENUM` and `SET`: ordered by ordinal and mask, so as numbers.
    Ordinal,
    /// Text, in the column's own character set and collation.
    Text {
        /// Character set.
        charset: Charset,
        /// Collation.
        collation: String,
    },
    /// Bytes.
    Binary,
    /// Dates and times: quoted as printed.
    Temporal,
    /// MariaDB's `UUID`, in an order of its own.
    Uuid,
    /// MariaDB's `INET6`.
    Inet6,
    /// MariaDB's `INET4`.
    Inet4,
}

/// One column of one unique index, as `SHOW KEYS` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawKeyPart {
    pub(super) index: String,
    /// `None`: an expression.
    pub(super) column: Option<String>,
    /// Of a prefix of the column only, or hashed (MariaDB's unique keys over long columns): the server neither promotes nor
    /// orders by it.
    pub(super) prefix: bool,
}

/// The columns of the unique indexes, in the server's own order of them; `None`: there is no such table for this account, which saw
/// its columns a moment ago.
pub(super) async fn fetch(conn: &mut Conn, table: &TableName) -> Result<Option<Vec<RawKeyPart>>, Failure> {
    let rows: Vec<mysql_async::Row> = match conn.query(format!("SHOW KEYS FROM {}", table_identifier(table))).await {
        Ok(rows) => rows,
        Err(error) if says_no_such_table(&error) || says_denied(&error) => return Ok(None),
        Err(error) => return Err(query_failure(&format!("list the keys of table \"{table}\""), error)),
    };
    let mut parts = Vec::new();
    for row in &rows {
        let unreadable = || Failure::fatal(format!("the catalogue's answer about keys of \"{table}\" is not readable"));
        if field::<u64>(row, "Non_unique").ok_or_else(unreadable)? != 0 {
            continue;
        }
        let index: String = field(row, "Key_name").ok_or_else(unreadable)?;
        let kind: String = field(row, "Index_type").ok_or_else(unreadable)?;
        let prefix = field::<Option<u64>>(row, "Sub_part").ok_or_else(unreadable)?.is_some();
        parts.push(RawKeyPart {
            prefix: prefix || (kind == "HASH" && index != "PRIMARY"),
            index,
            column: field::<Option<String>>(row, "Column_name").ok_or_else(unreadable)?,
        });
    }
    Ok(Some(parts))
}

/// The columns of the primary keys of tables of a database, in order, by the names of the tables.
pub(super) async fn fetch_primary(
    conn: &mut Conn,
    database: &str,
    tables: &[&str],
) -> Result<HashMap<String, Vec<RawKeyPart>>, Failure> {
    let listed: Vec<String> = tables.iter().map(|table| text_literal(table)).collect();
    let sql = format!(
        "SELECT TABLE_NAME, COLUMN_NAME, SUB_PART IS NOT NULL FROM information_schema.STATISTICS \
         WHERE TABLE_SCHEMA = {} AND TABLE_NAME IN ({}) AND INDEX_NAME = 'PRIMARY' ORDER BY TABLE_NAME, SEQ_IN_INDEX",
        text_literal(database),
        listed.join(", ")
    );
    let purpose = format!("list the primary keys of \"{database}\"");
    let rows: Vec<(String, Option<String>, bool)> =
        conn.query(sql).await.map_err(|error| query_failure(&purpose, error))?;
    let mut keys: HashMap<String, Vec<RawKeyPart>> = HashMap::new();
    for (table, column, prefix) in rows {
        keys.entry(table).or_default().push(RawKeyPart { index: "PRIMARY".to_owned(), column, prefix });
    }
    Ok(keys)
}

fn field<T: FromValue>(row: &mysql_async::Row, name: &str) -> Option<T> {
    row.get_opt::<T, _>(name)?.ok()
}

/// A unique index over not-null columns.
struct Candidate {
    index: String,
    columns: Vec<u16>,
    prefix: bool,
}

/// The unique indexes over not-null columns, in the order of the catalogue.
fn candidates(columns: &[RawColumn], parts: &[RawKeyPart]) -> Vec<Candidate> {
    let mut found = Vec::new();
    let mut rest = parts;
    while let Some(first) = rest.first() {
        let len = rest.iter().take_while(|part| part.index == first.index).count();
        let (index, after) = rest.split_at(len);
        rest = after;
        let places: Option<Vec<u16>> = index
            .iter()
            .map(|part| {
                let name = part.column.as_deref()?;
                let place = columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))?;
                let not_null = columns.get(place).is_some_and(|column| !column.nullable);
                u16::try_from(place).ok().filter(|_| not_null)
            })
            .collect();
        if let Some(columns) = places {
            let prefix = index.iter().any(|part| part.prefix);
            found.push(Candidate { index: first.index.clone(), columns, prefix });
        }
    }
    found
}

/// The key that tells rows apart, and the key for chunks; either may be missing.
pub(super) fn choose(
    columns: &[RawColumn],
    types: &[ColumnType],
    parts: &[RawKeyPart],
) -> (Option<Key>, Option<ChunkKey>) {
    let candidates = candidates(columns, parts);
    let primary = candidates.iter().find(|key| key.index == "PRIMARY");
    let promoted = || candidates.iter().find(|key| !key.prefix);
    let key = match primary.or_else(promoted) {
        Some(key) => Some(Key { kind: KeyKind::Primary, columns: key.columns.clone() }),
        None => candidates.first().map(|key| Key { kind: KeyKind::Unique, columns: key.columns.clone() }),
    };
    // The order of chunks need not be the identity's: whatever cuts the table into ranges serves.
    let chunk_key =
        primary.into_iter().chain(&candidates).filter(|key| !key.prefix).find_map(|key| chunk_key(columns, types, key));
    (key, chunk_key)
}

fn chunk_key(columns: &[RawColumn], types: &[ColumnType], key: &Candidate) -> Option<ChunkKey> {
    let parts: Option<Vec<KeyPart>> = key
        .columns
        .iter()
        .map(|&place| {
            let raw = columns.get(usize::from(place))?;
            let class = class(raw, types.get(usize::from(place))?)?;
            Some(KeyPart { column: place, name: raw.name.clone(), class })
        })
        .collect();
    Some(ChunkKey { index: key.index.clone(), parts: parts? })
}

/// `None`: bounds of this type are not written into SQL exactly, or the server does not order by them as it compares.
fn class(raw: &RawColumn, ty: &ColumnType) -> Option<KeyClass> {
    match ty {
        ColumnType::Int { .. } | ColumnType::Decimal { .. } | ColumnType::Year => Some(KeyClass::Number),
        ColumnType::Enum { .. } | ColumnType::Set { .. } => Some(KeyClass::Ordinal),
        ColumnType::Char { charset, .. } | ColumnType::VarChar { charset, .. } | ColumnType::Text { charset, .. } => {
            Some(KeyClass::Text { charset: charset.clone(), collation: raw.collation.clone()? })
        }
        ColumnType::Binary { .. } | ColumnType::VarBinary { .. } | ColumnType::Blob { .. } => Some(KeyClass::Binary),
        ColumnType::Date | ColumnType::Time { .. } | ColumnType::DateTime { .. } | ColumnType::Timestamp { .. } => {
            Some(KeyClass::Temporal)
        }
        ColumnType::Uuid => Some(KeyClass::Uuid),
        ColumnType::Inet6 => Some(KeyClass::Inet6),
        ColumnType::Inet4 => Some(KeyClass::Inet4),
        ColumnType::Float
        | ColumnType::Double
        | ColumnType::Bit { .. }
        | ColumnType::Json
        | ColumnType::Geometry
        | ColumnType::Vector
        | ColumnType::Unsupported { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::columns::raw;
    use super::*;

    fn not_null(name: &str) -> RawColumn {
        RawColumn { nullable: false, ..raw(name, "int", "int") }
    }

    fn part(index: &str, column: &str) -> RawKeyPart {
        RawKeyPart { index: index.to_owned(), column: Some(column.to_owned()), prefix: false }
    }

    fn int() -> ColumnType {
        ColumnType::Int { width: crate::model::IntWidth::W4, unsigned: false }
    }

    #[test]
    fn the_primary_key_is_taken_before_any_other() {
        let columns = [not_null("a"), not_null("b")];
        let parts = [part("u", "a"), part("PRIMARY", "b"), part("PRIMARY", "a")];
        let (key, chunk) = choose(&columns, &[int(), int()], &parts);
        assert_eq!(key.unwrap(), Key { kind: KeyKind::Primary, columns: vec![1, 0] });
        assert_eq!(chunk.unwrap().index, "PRIMARY");
    }

    #[test]
    fn without_one_the_first_unique_key_over_whole_not_null_columns_is_the_primary_key_as_the_server_has_it() {
        let columns = [raw("n", "int", "int"), not_null("a"), not_null("b")];
        let prefix = RawKeyPart { prefix: true, ..part("p", "a") };
        let parts = [part("nullable", "n"), prefix.clone(), part("u", "b"), part("v", "a")];
        let types = [int(), int(), int()];
        let (key, chunk) = choose(&columns, &types, &parts);
        assert_eq!(key.unwrap(), Key { kind: KeyKind::Primary, columns: vec![2] });
        assert_eq!(chunk.unwrap().index, "u");

        let (key, chunk) = choose(&columns, &types, &[part("nullable", "n"), prefix]);
        assert_eq!(key.unwrap(), Key { kind: KeyKind::Unique, columns: vec![1] });
        assert_eq!(chunk, None);
    }

    #[test]
    fn an_index_over_an_expression_is_no_key() {
        let expression = RawKeyPart { index: "f".into(), column: None, prefix: false };
        assert_eq!(choose(&[not_null("a")], &[int()], &[expression]), (None, None));
    }

    #[test]
    fn chunks_go_along_another_unique_key_when_the_identity_cannot_be_written_into_sql() {
        let columns = [not_null("f"), not_null("i")];
        let parts = [part("PRIMARY", "f"), part("u", "i")];
        let (key, chunk) = choose(&columns, &[ColumnType::Float, int()], &parts);
        assert_eq!(key.unwrap().columns, [0]);
        assert_eq!(chunk.unwrap().parts, [KeyPart { column: 1, name: "i".into(), class: KeyClass::Number }]);
    }
}
