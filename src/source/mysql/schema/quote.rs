//! Names and texts written into SQL.
//!
//! Assumes what every session of the snapshot sets: the client speaks utf8mb4, `sql_mode` has neither `ANSI_QUOTES` nor
//! `NO_BACKSLASH_ESCAPES`.

use crate::model::TableName;

/// A name in backquotes.
pub(in crate::source::mysql) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// `database`.`table`.
pub(in crate::source::mysql) fn table_identifier(table: &TableName) -> String {
    format!("{}.{}", identifier(&table.database), identifier(&table.table))
}

/// A text in quotes.
pub(in crate::source::mysql) fn text_literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_inside_names_and_texts_are_doubled() {
        assert_eq!(table_identifier(&TableName::new("a`b", "c.d")), "`a``b`.`c.d`");
        assert_eq!(text_literal(r"it's \n"), r"'it''s \\n'");
    }
}
