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

/// A statement as far as anybody reads it: one of a thousand columns is as long as they are.
pub(super) fn shown(sql: &str) -> std::borrow::Cow<'_, str> {
    const LONGEST: usize = 2000;
    if sql.len() <= LONGEST {
        return sql.into();
    }
    match sql.get(..sql.floor_char_boundary(LONGEST)) {
        Some(begin) => format!("{begin} .. ({} bytes)", sql.len()).into(),
        None => sql.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_cannot_end_early() {
        assert_eq!(quoted("a`b\\c"), r"`a\`b\\c`");
        assert_eq!(literal(r"it's \ "), r"'it\'s \\ '");
    }

    #[test]
    fn a_long_statement_is_shown_in_part() {
        assert_eq!(shown("ALTER TABLE t DROP COLUMN a"), "ALTER TABLE t DROP COLUMN a");
        let long = "\u{fc}".repeat(1200);
        assert_eq!(shown(&long), format!("{} .. (2400 bytes)", "\u{fc}".repeat(1000)));
    }
}
