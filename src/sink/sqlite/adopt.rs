//! A table of the file that the sink did not make: how it is, and how it becomes the sink's.
//!
//! What has to be the same of a type is its affinity, which decides what SQLite makes of a value that is bound
//! ("Datatypes In SQLite", section 3): a `VARCHAR(20)` keeps what a `TEXT` keeps.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::layout::{Layout, mark, quoted};
use super::registry;
use crate::model::TableSchema;
use crate::sink::adopt::{OurColumn, OurTable, TheirColumn, TheirTable, Under};

/// How the definitions of all tables begin that any sink of replicator made.
const ANY_MARK: &str = "/* replicator sink ";

/// What SQLite makes of values in a column of this declared type.
fn affinity(declared: &str) -> &'static str {
    let declared = declared.to_ascii_uppercase();
    let has = |parts: &[&str]| parts.iter().any(|part| declared.contains(part));
    if has(&["INT"]) {
        "INTEGER"
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        "TEXT"
    } else if declared.is_empty() || has(&["BLOB"]) {
        "BLOB"
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        "REAL"
    } else {
        "NUMERIC"
    }
}

/// The table that the sink makes of a layout; of its columns those may refuse NULL that the source has none in.
pub(super) fn ours(layout: &Layout, schema: Option<&TableSchema>) -> OurTable {
    let is_filled =
        |source: usize| schema.and_then(|schema| schema.columns.get(source)).is_some_and(|column| !column.nullable);
    let mut columns: Vec<OurColumn> = layout
        .columns
        .iter()
        .enumerate()
        .map(|(place, column)| OurColumn {
            name: column.name.clone(),
            ty: column.ty.declared().to_owned(),
            kind: affinity(column.ty.declared()).to_owned(),
            may_refuse_null: layout.key.contains(&place) || is_filled(column.source),
        })
        .collect();
    columns.extend(layout.soft.iter().map(|soft| OurColumn {
        name: soft.clone(),
        ty: "INTEGER".to_owned(),
        kind: affinity("INTEGER").to_owned(),
        may_refuse_null: true,
    }));
    let key = layout.key_columns().map(|column| column.name.clone()).collect();
    let statement = layout.create_statement(&layout.target, "").replacen(&format!("{} ", mark("")), "", 1);
    OurTable { columns, key, statement }
}

/// What is under a name in the file.
pub(super) fn under(connection: &Connection, target: &str, sink: &str) -> rusqlite::Result<Under> {
    let Some((kind, sql)) = registry::under_name(connection, target)? else { return Ok(Under::Nothing) };
    if kind == "table" && sql.contains(&mark(sink)) {
        return Ok(Under::Made);
    }
    if kind != "table" {
        let article = if kind == "index" { "an" } else { "a" };
        return Ok(Under::Theirs(TheirTable { own: vec![format!("it is {article} {kind}")], ..TheirTable::default() }));
    }
    let mut theirs = read(connection, target)?;
    if sql.contains(ANY_MARK) {
        theirs.own.push("another sink of replicator made it".to_owned());
    } else if sql.to_ascii_uppercase().starts_with("CREATE VIRTUAL") {
        theirs.own.push("it is a virtual table".to_owned());
    } else if list_of(&sql).is_none() {
        theirs.own.push("its definition in the file cannot be read".to_owned());
    }
    Ok(Under::Theirs(theirs))
}

/// A table as SQLite describes it.
fn read(connection: &Connection, target: &str) -> rusqlite::Result<TheirTable> {
    let is_strict: bool = connection
        .query_row("SELECT \"strict\" FROM pragma_table_list(?1) WHERE \"schema\" = 'main'", [target], |row| row.get(0))
        .optional()?
        .unwrap_or(false);
    let mut columns = Vec::new();
    let mut key: Vec<(i64, String)> = Vec::new();
    let mut statement = connection
        .prepare("SELECT \"name\", \"type\", \"notnull\", \"dflt_value\" IS NOT NULL, \"pk\", \"hidden\" FROM pragma_table_xinfo(?1)")?;
    let mut rows = statement.query([target])?;
    while let Some(row) = rows.next()? {
        let (name, ty): (String, String) = (row.get(0)?, row.get(1)?);
        let (refuses_null, has_default): (bool, bool) = (row.get(2)?, row.get(3)?);
        let (pk, hidden): (i64, i64) = (row.get(4)?, row.get(5)?);
        if pk > 0 {
            key.push((pk, name.clone()));
        }
        // In a strict table a column of type ANY keeps every value as it is.
        let kind = if is_strict && ty.eq_ignore_ascii_case("ANY") { affinity("") } else { affinity(&ty) };
        columns.push(TheirColumn {
            name,
            kind: kind.to_owned(),
            ty,
            refuses_null: refuses_null && pk == 0,
            may_be_left_out: !refuses_null || has_default,
            is_computed: hidden > 1,
        });
    }
    key.sort_unstable();
    let own = folding(connection, target)?
        .map(|column| format!("its key compares column \"{column}\" by a collation, and has to by bytes"));
    Ok(TheirTable { columns, key: key.into_iter().map(|(_, name)| name).collect(), own: own.into_iter().collect() })
}

/// A column of the key that is not compared by its bytes.
fn folding(connection: &Connection, target: &str) -> rusqlite::Result<Option<String>> {
    connection
        .query_row(
            "SELECT parts.\"name\" FROM pragma_index_list(?1) AS list JOIN pragma_index_xinfo(list.\"name\") AS parts
             WHERE list.\"origin\" = 'pk' AND parts.\"key\" = 1 AND parts.\"coll\" <> 'BINARY' LIMIT 1",
            [target],
            |row| row.get(0),
        )
        .optional()
}

/// Where the list of columns begins in a statement that made a table, as SQLite keeps it: `CREATE TABLE`, a name in
/// any of its quotes or without them, and the list. With anything else before the list, such as a comment, there is
/// none: a parenthesis may be part of that.
fn list_of(sql: &str) -> Option<usize> {
    const BEGIN: &str = "CREATE TABLE ";
    let name = sql.strip_prefix(BEGIN)?;
    let close = match name.chars().next()? {
        quote @ ('"' | '`' | '\'') => Some(quote),
        '[' => Some(']'),
        _ => None,
    };
    let mut at = BEGIN.len();
    match close {
        Some(close) => {
            at += 1;
            loop {
                at += sql.get(at..)?.find(close)? + 1;
                // A quote in a name is there twice.
                if !sql.get(at..)?.starts_with(close) || close == ']' {
                    break;
                }
                at += 1;
            }
        }
        None => {
            let is_in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
            at += name.find(|c| !is_in_name(c))?;
        }
    }
    let rest = sql.get(at..)?;
    rest.trim_start().starts_with('(').then(|| at + rest.len() - rest.trim_start().len())
}

/// Puts the sink's mark into the definition of a table, inside the open transaction: a comment where the sink has it in
/// the tables that it makes, which follows the table through every change. Nothing else of the table changes. A program
/// that has the file open reads its schema again, as after any change: SQLite alters a table by places in its text.
pub(super) fn take_in(connection: &Connection, target: &str, sink: &str) -> rusqlite::Result<()> {
    let Some((_, sql)) = registry::under_name(connection, target)? else { return Ok(()) };
    let Some((before, list)) = list_of(&sql).and_then(|at| sql.split_at_checked(at + 1)) else { return Ok(()) };
    let version: i64 = connection.pragma_query_value(None, "schema_version", |row| row.get(0))?;
    connection.pragma_update(None, "writable_schema", "ON")?;
    let marked = connection.execute(
        "UPDATE \"sqlite_schema\" SET \"sql\" = ?2 WHERE \"type\" = 'table' AND \"name\" = ?1 COLLATE NOCASE",
        params![target, format!("{before}{} {list}", mark(sink))],
    );
    let marked = marked.and_then(|_| connection.pragma_update(None, "schema_version", version + 1));
    // With it the connection's own copy of the schema goes.
    connection.pragma_update(None, "writable_schema", "RESET")?;
    marked?;
    // A definition that SQLite cannot read is taken back with the transaction.
    connection.prepare(&format!("SELECT * FROM {}", quoted(target))).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;
    use crate::sink::adopt::differences;
    use crate::sink::columns::NameRule;
    use crate::sink::sqlite::layout::Sqlite;
    use crate::sink::sqlite::testing::{int, key, options, schema, text};

    fn found(sql: &str) -> Under {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        under(&connection, "T", "s").unwrap()
    }

    /// In what a table of this statement is not what the sink makes of (id INT, name TEXT), with `id` as the key.
    fn compared(sql: &str) -> Vec<String> {
        let schema = schema(vec![int("id"), text("name")], key(&[0]));
        let layout = Layout::new(&Sqlite, &schema, &options(Mode::Mirror), "t".into()).unwrap();
        let Under::Theirs(theirs) = found(sql) else { panic!("{sql}: {:?}", found(sql)) };
        differences(&ours(&layout, Some(&schema)), &theirs, NameRule::AsciiCaseFolds)
    }

    #[test]
    fn a_table_of_the_same_affinities_and_key_is_alike() {
        for sql in [
            "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)",
            "CREATE TABLE t (name VARCHAR(20), ID BIGINT NOT NULL, extra, PRIMARY KEY (id)) WITHOUT ROWID",
            "CREATE TABLE t (id INT PRIMARY KEY, name TEXT, day TEXT NOT NULL DEFAULT '') STRICT",
        ] {
            assert_eq!(compared(sql), [""; 0], "{sql}");
        }
    }

    #[test]
    fn what_would_change_a_value_or_lose_a_row_is_a_difference() {
        for (sql, difference) in [
            ("CREATE TABLE t (id TEXT PRIMARY KEY, name TEXT)", "its column \"id\" is TEXT, and has to be INTEGER"),
            ("CREATE TABLE t (id INTEGER PRIMARY KEY, name JSON)", "its column \"name\" is JSON, and has to be TEXT"),
            (
                "CREATE TABLE t (id INTEGER PRIMARY KEY, name)",
                "its column \"name\" is without a type, and has to be TEXT",
            ),
            ("CREATE TABLE t (id INTEGER, name TEXT)", "it has no key, and has to have the key (id)"),
            (
                "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT AS (id || 'x'))",
                "its column \"name\" is computed, and has to be a plain one",
            ),
            ("CREATE VIEW t AS SELECT 1 AS id, 'a' AS name", "it is a view"),
            (
                "CREATE TABLE t (/* replicator sink other */ id INTEGER PRIMARY KEY, name TEXT)",
                "another sink of replicator made it",
            ),
            (
                "CREATE TABLE t /* a (b) */ (id INTEGER PRIMARY KEY, name TEXT)",
                "its definition in the file cannot be read",
            ),
            (
                "CREATE TABLE t (id INT COLLATE NOCASE PRIMARY KEY, name TEXT) WITHOUT ROWID",
                "its key compares column \"id\" by a collation, and has to by bytes",
            ),
        ] {
            assert_eq!(compared(sql), [difference], "{sql}");
        }
    }

    #[test]
    fn a_table_that_is_taken_over_is_the_sinks_and_stays_what_it_was() {
        let connection = Connection::open_in_memory().unwrap();
        let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT)";
        connection.execute_batch(&format!("{sql}; INSERT INTO t VALUES (1, 'a'); BEGIN")).unwrap();
        take_in(&connection, "T", "s").unwrap();
        connection.execute_batch("COMMIT").unwrap();
        assert_eq!(under(&connection, "t", "s").unwrap(), Under::Made);
        assert!(matches!(under(&connection, "t", "other").unwrap(), Under::Theirs(_)));
        for sql in [
            "ALTER TABLE t ADD COLUMN x TEXT",
            "ALTER TABLE t RENAME COLUMN name TO n",
            "ALTER TABLE t DROP COLUMN x",
            "ALTER TABLE t RENAME TO u",
        ] {
            connection.execute_batch(sql).unwrap();
        }
        assert_eq!(under(&connection, "u", "s").unwrap(), Under::Made);
        let row: (i64, String) =
            connection.query_row("SELECT id, n FROM u", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(row, (1, "a".to_owned()));
        let sound: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
    }

    #[test]
    fn the_list_of_columns_is_found_after_every_name() {
        for sql in [
            "CREATE TABLE t(id)",
            "CREATE TABLE t\n (id)",
            "CREATE TABLE \"a (\"\"b\" (id)",
            "CREATE TABLE [a (b] (id)",
            "CREATE TABLE `a``(` (id)",
            "CREATE TABLE 'it''s (' (id)",
        ] {
            let at = list_of(sql).unwrap();
            assert_eq!(&sql[at..], "(id)", "{sql}");
        }
        for sql in [
            "CREATE TABLE \"t",
            "CREATE VIEW v AS SELECT 1",
            "CREATE VIRTUAL TABLE t USING fts5(a)",
            "CREATE TABLE t /* a (b) */ (id)",
            "CREATE TABLE \"t\" -- (b)\n (id)",
        ] {
            assert_eq!(list_of(sql), None, "{sql}");
        }
    }

    #[test]
    fn the_statement_of_a_refusal_makes_a_table_that_is_taken_over() {
        let schema = schema(vec![int("id"), text("na\"me"), text("k")], key(&[2, 0]));
        let layout = Layout::new(&Sqlite, &schema, &options(Mode::Mirror), "t".into()).unwrap();
        let ours = ours(&layout, Some(&schema));
        let Under::Theirs(theirs) = found(&ours.statement) else { panic!("{}", ours.statement) };
        assert_eq!(differences(&ours, &theirs, NameRule::AsciiCaseFolds), [""; 0]);
    }
}
