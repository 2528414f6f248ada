//! Names of tables: one that is read where the grammar has it, and all that a text may mean.

use std::collections::HashSet;

use super::cursor::Cursor;
use super::tokens::Token;
use crate::model::{Names, TableName};

/// Takes `table`, `database.table` or `.table`, the last of which is in the default database.
pub(super) fn table(cursor: &mut Cursor<'_>, default_database: &str) -> Option<TableName> {
    let names = cursor.names();
    if cursor.eat_symbol(b'.') {
        return Some(named(names, default_database, cursor.identifier()?));
    }
    let first = cursor.identifier()?;
    if !cursor.eat_symbol(b'.') {
        return Some(named(names, default_database, first));
    }
    let second = cursor.identifier()?;
    // A third part is no name of a table that these servers have.
    (!cursor.is_symbol(b'.')).then(|| named(names, first, second))
}

/// Takes the name of a database.
pub(super) fn database(cursor: &mut Cursor<'_>) -> Option<String> {
    let names = cursor.names();
    cursor.identifier().map(|name| names.fold(&name).into_owned())
}

/// A table by the name that the server knows it by.
fn named(names: Names, database: impl Into<String>, table: impl Into<String>) -> TableName {
    names.table(TableName::new(database, table))
}

/// Takes a comma-separated list of tables.
pub(super) fn tables(cursor: &mut Cursor<'_>, default_database: &str) -> Option<Vec<TableName>> {
    let mut tables = vec![table(cursor, default_database)?];
    while cursor.eat_symbol(b',') {
        tables.push(table(cursor, default_database)?);
    }
    Some(tables)
}

/// Every table that the rest of the statement may mean, each once, in order of first mention.
///
/// More than the truth, never less: a column or an alias counts as a table of the default database, and `a.b` counts
/// as the table `b` of `a` and as a column of the table `a`. Only unquoted reserved words, strings, numbers and variables are left out.
pub(super) fn mentioned(mut cursor: Cursor<'_>, default_database: &str) -> Vec<TableName> {
    let names = cursor.names();
    let mut seen = HashSet::new();
    let mut mentions = Vec::new();
    let mut mention = |name: TableName| {
        if seen.insert(name.clone()) {
            mentions.push(name);
        }
    };
    while let Some(token) = cursor.peek() {
        let dotted = cursor.eat_symbol(b'.');
        if !dotted && matches!(token, Token::Word(word) if is_reserved(word)) {
            cursor.take();
            // `set.x` is no name, but what stands behind the dot may be the start of one.
            continue;
        }
        let Some(first) = cursor.identifier() else {
            if !dotted {
                cursor.take();
            }
            continue;
        };
        if cursor.eat_symbol(b'.')
            && let Some(second) = cursor.identifier()
        {
            mention(named(names, first.clone(), second));
            if cursor.eat_symbol(b'.') {
                cursor.identifier();
            }
        }
        mention(named(names, default_database, first));
    }
    mentions
}

/// Words of statements that both servers reserve in every version read here, so that unquoted they name no table.
const RESERVED: &[&str] = &[
    "ADD",
    "ALL",
    "ALTER",
    "ANALYZE",
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BIGINT",
    "BINARY",
    "BLOB",
    "BOTH",
    "BY",
    "CALL",
    "CASE",
    "CHANGE",
    "CHAR",
    "CHECK",
    "COLLATE",
    "COLUMN",
    "CONSTRAINT",
    "CONVERT",
    "CREATE",
    "CROSS",
    "CURRENT_TIMESTAMP",
    "DATABASE",
    "DECIMAL",
    "DEFAULT",
    "DELAYED",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DIV",
    "DOUBLE",
    "DROP",
    "ELSE",
    "ENCLOSED",
    "ESCAPED",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FLOAT",
    "FOR",
    "FOREIGN",
    "FROM",
    "FULLTEXT",
    "GRANT",
    "GROUP",
    "HAVING",
    "HIGH_PRIORITY",
    "IF",
    "IGNORE",
    "IN",
    "INDEX",
    "INFILE",
    "INNER",
    "INSERT",
    "INT",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "KEY",
    "KEYS",
    "KILL",
    "LEADING",
    "LEFT",
    "LIKE",
    "LIMIT",
    "LINES",
    "LOAD",
    "LOCK",
    "LONGBLOB",
    "LONGTEXT",
    "LOW_PRIORITY",
    "MATCH",
    "MOD",
    "NATURAL",
    "NOT",
    "NULL",
    "NUMERIC",
    "ON",
    "OPTIMIZE",
    "OPTION",
    "OPTIONALLY",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "PRIMARY",
    "PROCEDURE",
    "PURGE",
    "READ",
    "RECURSIVE",
    "REFERENCES",
    "REGEXP",
    "RELEASE",
    "RENAME",
    "REPLACE",
    "REQUIRE",
    "RESTRICT",
    "REVOKE",
    "RIGHT",
    "RLIKE",
    "SCHEMA",
    "SELECT",
    "SET",
    "SHOW",
    "SMALLINT",
    "SPATIAL",
    "STARTING",
    "STRAIGHT_JOIN",
    "TABLE",
    "TERMINATED",
    "THEN",
    "TINYINT",
    "TO",
    "TRAILING",
    "TRIGGER",
    "TRUE",
    "UNION",
    "UNIQUE",
    "UNLOCK",
    "UNSIGNED",
    "UPDATE",
    "USE",
    "USING",
    "VALUES",
    "VARBINARY",
    "VARCHAR",
    "WHEN",
    "WHERE",
    "WHILE",
    "WITH",
    "WRITE",
    "XOR",
];

fn is_reserved(word: &str) -> bool {
    RESERVED
        .binary_search_by(|reserved| reserved.bytes().cmp(word.bytes().map(|byte| byte.to_ascii_uppercase())))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::mysql::ddl::{SqlMode, parse, parse_under};

    fn cursor(sql: &str) -> Cursor<'_> {
        Cursor::new(sql, SqlMode::default())
    }

    fn mentions(sql: &str) -> Vec<String> {
        mentioned(cursor(sql), "d").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_table_is_read_in_each_way_of_writing_it() {
        for (sql, database, name) in [
            ("t", "d", "t"),
            ("`t`", "d", "t"),
            ("a.t", "a", "t"),
            ("a . `t`", "a", "t"),
            ("`a`.t", "a", "t"),
            (".t", "d", "t"),
            ("`a``b`.`c.d`", "a`b", "c.d"),
            ("a.1t", "a", "1t"),
            ("a.select", "a", "select"),
            ("caf\u{e9}.\u{65e5}\u{672c}", "caf\u{e9}", "\u{65e5}\u{672c}"),
        ] {
            assert_eq!(table(&mut cursor(sql), "d"), Some(TableName::new(database, name)), "{sql}");
        }
    }

    #[test]
    fn every_statement_names_tables_as_the_server_knows_them() {
        for sql in [
            "CREATE TABLE T (A INT)",
            "CREATE TABLE S.T LIKE U",
            "CREATE TABLE `T` (LIKE `S`.`U`)",
            "CREATE TABLE T AS SELECT * FROM U",
            "CREATE OR REPLACE TABLE T (A INT)",
            "CREATE TEMPORARY TABLE T (A INT)",
            "ALTER TABLE S.T CHANGE A B INT, RENAME TO U",
            "ALTER TABLE T RENAME .U",
            "ALTER TABLE T EXCHANGE PARTITION P WITH TABLE S.U",
            "ALTER IGNORE TABLE T ADD UNIQUE (A)",
            "RENAME TABLE T TO U, S.T TO S.V, U TO T",
            "DROP TABLE T, S.U",
            "DROP TEMPORARY TABLE T",
            "DROP SEQUENCE T",
            "DROP DATABASE S",
            "CREATE DATABASE S",
            "CREATE OR REPLACE SCHEMA `S`",
            "TRUNCATE T",
            "TRUNCATE TABLE S.T",
            "CREATE UNIQUE INDEX I ON T (A)",
            "DROP INDEX I ON S.T",
            "INSERT INTO T VALUES (1)",
            "REPLACE S.T SELECT * FROM U",
            "UPDATE T, S.U SET A = 1",
            "DELETE FROM S.T WHERE A = 1",
            "DELETE T FROM T JOIN S.U",
            "LOAD DATA INFILE 'X' INTO TABLE S.T",
            "WITH C AS (SELECT 1) DELETE FROM T",
            "CALL P(T)",
            "FROBNICATE T, S.`U`",
            "SET STATEMENT max_statement_time = 1 FOR TRUNCATE T",
        ] {
            let folded = parse_under(Names::Folded, sql, "D", SqlMode::default());
            let spelled = |name: &str| {
                let (upper, lower) = (format!("\"{name}\""), format!("\"{}\"", name.to_ascii_lowercase()));
                move |text: String| {
                    text.replace(&format!("database: {upper}"), &format!("database: {lower}"))
                        .replace(&format!("table: {upper}"), &format!("table: {lower}"))
                }
            };
            let exact = format!("{:?}", parse(sql, "D", SqlMode::default()));
            let expected = ["A", "C", "D", "I", "P", "S", "T", "U", "V"]
                .into_iter()
                .fold(exact.clone(), |text, name| spelled(name)(text));
            let expected = expected
                .replace("DropDatabase(\"S\")", "DropDatabase(\"s\")")
                .replace("CreateDatabase { name: \"S\"", "CreateDatabase { name: \"s\"");
            assert_eq!(format!("{folded:?}"), expected, "{sql}");
            assert_ne!(expected, exact, "{sql} names something");
        }
    }

    #[test]
    fn what_cannot_name_a_table_is_not_taken_for_one() {
        for sql in ["", "'t'", "a.", "a.b.c", "(t)", "``", "5"] {
            assert_eq!(table(&mut cursor(sql), "d"), None, "{sql}");
        }
    }

    #[test]
    fn mentions_hold_every_way_to_read_a_dotted_name() {
        assert_eq!(mentions("UPDATE a.b SET a.b.c = 'x.y', c = 1.5"), ["a.b", "d.a", "d.c"]);
        assert_eq!(mentions("INSERT INTO .t SELECT `values` FROM t"), ["d.t", "d.values"]);
        assert_eq!(mentions("DELETE FROM a.set WHERE a.x = @y"), ["a.set", "d.a", "a.x"]);
        assert_eq!(mentions("t. , u"), ["d.t", "d.u"]);
        assert_eq!(mentions("."), Vec::<String>::new());
    }

    #[test]
    fn the_reserved_words_are_sorted_and_upper_case() {
        assert!(RESERVED.is_sorted());
        assert!(RESERVED.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')));
    }
}
