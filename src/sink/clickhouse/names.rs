//! Names and literals in the server's SQL.

use crate::model::TableName;

/// Tables of the sink's own.
pub(super) const CURSORS: &str = "_replicator_cursors";
/// See [`CURSORS`].
pub(super) const TABLES: &str = "_replicator_tables";
/// See [`CURSORS`].
pub(super) const STOPPED: &str = "_replicator_stopped_tables";
/// See [`CURSORS`].
pub(super) const REFUSED: &str = "_replicator_refused_tables";

/// A name in back quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// A text literal.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// What brings a stopped table back, for hints.
pub(super) fn way_back(table: &TableName) -> String {
    format!(
        "mend it, then run `replicator backfill --replace --database {} --table {}`: the table is made anew and read again",
        table.database, table.table
    )
}

/// What is left to do about a stopped table that the source does not have any more.
pub(super) fn way_out(table: &TableName) -> String {
    format!(
        "create it again at the source and run `replicator backfill --replace --database {} --table {}`, which makes the copy anew; \
         or drop or rename the copy at the target and start the daemon again",
        table.database, table.table
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_cannot_end_early() {
        assert_eq!(quoted("a`b\\c"), r"`a\`b\\c`");
        assert_eq!(literal(r"it's \ "), r"'it\'s \\ '");
    }
}
