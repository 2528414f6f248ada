//! Names and literals in the server's SQL.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_cannot_end_early() {
        assert_eq!(quoted("a`b\\c"), r"`a\`b\\c`");
        assert_eq!(literal(r"it's \ "), r"'it\'s \\ '");
    }
}
