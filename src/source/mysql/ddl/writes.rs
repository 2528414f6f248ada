//! The one table that a plain `INSERT`, `REPLACE`, `UPDATE`, `DELETE` or `LOAD DATA` writes to.
//!
//! Tables that are only read do not matter: monitoring and checksum tools write in statement format from captured tables
//! into their own, and must not stop the stream. Forms that write to several tables are not read here; for them every name counts.

use super::cursor::Cursor;
use super::names;
use super::tokens::Token;
use crate::model::TableName;

/// Behind `INSERT` or `REPLACE`.
pub(super) fn insert(mut cursor: Cursor<'_>, default_database: &str) -> Option<TableName> {
    while cursor.eat_any(&["LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "IGNORE"]) {}
    cursor.eat("INTO");
    names::table(&mut cursor, default_database)
}

/// Behind `UPDATE`.
pub(super) fn update(mut cursor: Cursor<'_>, default_database: &str) -> Option<TableName> {
    while cursor.eat_any(&["LOW_PRIORITY", "IGNORE"]) {}
    let table = names::table(&mut cursor, default_database)?;
    stands_alone(cursor, &["SET"]).then_some(table)
}

/// Behind `DELETE`.
pub(super) fn delete(mut cursor: Cursor<'_>, default_database: &str) -> Option<TableName> {
    while cursor.eat_any(&["LOW_PRIORITY", "QUICK", "IGNORE", "HISTORY"]) {}
    if !cursor.eat("FROM") {
        return None;
    }
    let table = names::table(&mut cursor, default_database)?;
    stands_alone(cursor, &["WHERE", "ORDER", "LIMIT", "RETURNING"]).then_some(table)
}

/// Behind `LOAD`.
pub(super) fn load(mut cursor: Cursor<'_>, default_database: &str) -> Option<TableName> {
    while !cursor.eat_all(&["INTO", "TABLE"]) {
        cursor.take_in_item()?;
    }
    names::table(&mut cursor, default_database)
}

/// Whether nothing but an alias, partitions or a period stands between a table and one of the words that may follow it.
fn stands_alone(mut cursor: Cursor<'_>, followers: &[&str]) -> bool {
    while !cursor.is_any(followers) {
        match cursor.take_in_item() {
            None => return cursor.at_end(),
            Some(Token::Word(word)) if is_join(word) => return false,
            Some(_) => {}
        }
    }
    true
}

fn is_join(word: &str) -> bool {
    ["JOIN", "STRAIGHT_JOIN", "USING"].iter().any(|join| word.eq_ignore_ascii_case(join))
}
