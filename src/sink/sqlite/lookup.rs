//! Where the rows of a table without a key are, by a hash of their values.
//!
//! A row without a key is found by a scan that compares all of its values. Where many rows change, one scan notes the number and the
//! hash of each row in a table of the connection's TEMP database, with an index on the hash; from then on a row is found there, and
//! then compared as a scan would. The user's file holds none of it, and memory is bounded: SQLite spills TEMP tables to files.
//!
//! **What is known of the rows lies in the TEMP database alone.** It takes part in transactions and savepoints as the rows do, so a
//! rollback of either takes both back. Nothing is kept in memory that a rollback would make wrong.
//!
//! A lookup is used as long as nobody else has changed the rows. Other connections are seen by SQLite's `data_version`, definitions by
//! its `schema_version`, and what the sink itself does with a whole table by the place of the last row. Who changes single rows by
//! another way than [`super::keyless`] calls [`forget`]. A table that a trigger may change has no lookup.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::layout::{Layout, quoted};
use super::row_hash::RowHash;

/// The TEMP table that names the lookups.
const LOOKUPS: &str = "_replicator_lookups";

/// Prefix of the TEMP tables that have the rows.
const ROWS: &str = "_replicator_rows_";

/// What a lookup is of.
#[derive(Debug)]
pub(super) struct Subject {
    target: String,
    /// The name of SQLite's row number.
    rowid: &'static str,
    columns: Vec<String>,
    soft: Option<String>,
}

impl Subject {
    /// The rows of a layout that are not softly deleted.
    pub(super) fn new(layout: &Layout, rowid: &'static str) -> Self {
        Self {
            target: layout.target.clone(),
            rowid,
            columns: layout.columns.iter().map(|column| quoted(&column.name)).collect(),
            soft: layout.soft.as_deref().map(quoted),
        }
    }

    /// The condition of live rows, behind `word`.
    fn live(&self, word: &str) -> String {
        self.soft.as_deref().map(|soft| format!(" {word} {soft} = 0")).unwrap_or_default()
    }

    /// The most rows that the table may have, by its row numbers. It costs nothing.
    pub(super) fn extent(&self, connection: &Connection) -> rusqlite::Result<u64> {
        let (rowid, target) = (self.rowid, quoted(&self.target));
        let sql = format!("SELECT (SELECT max({rowid}) FROM main.{target}), (SELECT min({rowid}) FROM main.{target})");
        let ends = |row: &rusqlite::Row<'_>| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?));
        let (max, min) = connection.prepare_cached(&sql)?.query_row([], ends)?;
        Ok(max.zip(min).map_or(0, |(max, min)| max.abs_diff(min).saturating_add(1)))
    }

    /// Whether a trigger may change the table: one on it, or one that names it. In SQL, a name with a quote may stand in several ways.
    fn has_triggers(&self, connection: &Connection) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM main.\"sqlite_schema\" WHERE \"type\" = 'trigger'
            AND (\"tbl_name\" = ?1 COLLATE NOCASE OR instr(lower(\"sql\"), lower(?1)) > 0 OR ?2))";
        let quotes = self.target.contains(['"', '`', '\'', ']']);
        connection.prepare_cached(sql)?.query_row(params![self.target, quotes], |row| row.get(0))
    }
}

/// A lookup that holds every live row.
#[derive(Debug)]
pub(super) struct Lookup {
    find: String,
    put: String,
    remove: String,
    /// Whether it has the last row of the table, and nothing behind it.
    ends_alike: String,
}

impl Lookup {
    fn new(number: i64, subject: &Subject) -> Self {
        let Subject { target, rowid, columns, soft } = subject;
        let rows = format!("temp.{ROWS}{number}");
        let target = quoted(target);
        let names: Vec<_> = columns.iter().map(|column| format!("t.{column}")).collect();
        let numbers: Vec<_> = (1..=columns.len()).map(|place| format!("?{place}")).collect();
        let live = soft.as_deref().map(|soft| format!(" AND t.{soft} = 0")).unwrap_or_default();
        let last = format!("(SELECT max(number) FROM {rows})");
        Self {
            find: format!(
                "SELECT r.number FROM {rows} AS r CROSS JOIN main.{target} AS t ON t.{rowid} = r.number
                 WHERE r.hash = ?{} AND ({}) IS ({}){live} LIMIT 1",
                columns.len() + 1,
                names.join(", "),
                numbers.join(", "),
            ),
            put: format!("INSERT OR REPLACE INTO {rows} (number, hash) VALUES (?1, ?2)"),
            remove: format!("DELETE FROM {rows} WHERE number = ?1"),
            ends_alike: match soft {
                None => format!("SELECT {last} IS (SELECT max({rowid}) FROM main.{target})"),
                // Behind the last live row there may be any number of deleted ones.
                Some(soft) => format!(
                    "SELECT {last} IS NOT NULL
                     AND EXISTS (SELECT 1 FROM main.{target} WHERE {rowid} = {last} AND {soft} = 0)"
                ),
            },
        }
    }

    /// The lookup of a table, if it has one that is right.
    pub(super) fn of(connection: &Connection, subject: &Subject) -> rusqlite::Result<Option<Self>> {
        let any = "SELECT EXISTS (SELECT 1 FROM temp.sqlite_schema WHERE name = ?1)";
        if !connection.prepare_cached(any)?.query_row([LOOKUPS], |row| row.get::<_, bool>(0))? {
            return Ok(None);
        }
        let named = format!(
            "SELECT number, columns = ?2 AND schema_version = ?3 AND data_version = ?4 FROM temp.{LOOKUPS} WHERE target = ?1"
        );
        let (schema, data) = versions(connection)?;
        let found: Option<(i64, bool)> = connection
            .prepare_cached(&named)?
            .query_row(params![subject.target, subject.columns.join(","), schema, data], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let Some((number, same)) = found else { return Ok(None) };
        let lookup = Self::new(number, subject);
        if same && connection.prepare_cached(&lookup.ends_alike)?.query_row([], |row| row.get(0))? {
            return Ok(Some(lookup));
        }
        forget(connection, &subject.target)?;
        Ok(None)
    }

    /// Makes a lookup by one scan; `None` where a trigger may change the table.
    pub(super) fn make(connection: &Connection, subject: &Subject) -> rusqlite::Result<Option<Self>> {
        if subject.has_triggers(connection)? {
            return Ok(None);
        }
        connection.execute_batch("SAVEPOINT _replicator_lookup")?;
        let made = Self::scan(connection, subject);
        if made.is_err() && !connection.is_autocommit() {
            connection.execute_batch("ROLLBACK TO _replicator_lookup")?;
        }
        if !connection.is_autocommit() {
            connection.execute_batch("RELEASE _replicator_lookup")?;
        }
        made.map(Some)
    }

    fn scan(connection: &Connection, subject: &Subject) -> rusqlite::Result<Self> {
        connection.execute_batch(&format!(
            "CREATE TABLE IF NOT EXISTS temp.{LOOKUPS} (
                number INTEGER PRIMARY KEY, target TEXT NOT NULL UNIQUE, columns TEXT NOT NULL,
                schema_version INTEGER NOT NULL, data_version INTEGER NOT NULL
            )"
        ))?;
        forget(connection, &subject.target)?;
        let (schema, data) = versions(connection)?;
        connection
            .prepare_cached(&format!(
                "INSERT INTO temp.{LOOKUPS} (target, columns, schema_version, data_version) VALUES (?1, ?2, ?3, ?4)"
            ))?
            .execute(params![subject.target, subject.columns.join(","), schema, data])?;
        let number = connection.last_insert_rowid();
        connection
            .execute_batch(&format!("CREATE TABLE temp.{ROWS}{number} (number INTEGER PRIMARY KEY, hash INTEGER)"))?;
        let lookup = Self::new(number, subject);
        let (rowid, live) = (subject.rowid, subject.live("WHERE"));
        let columns = subject.columns.join(", ");
        let mut scan =
            connection.prepare(&format!("SELECT {rowid}, {columns} FROM main.{}{live}", quoted(&subject.target)))?;
        let mut rows = scan.query([])?;
        let mut put = connection.prepare_cached(&lookup.put)?;
        let mut hash = RowHash::new();
        while let Some(row) = rows.next()? {
            for place in 1..=subject.columns.len() {
                hash.value(row.get_ref(place)?);
            }
            put.execute(params![row.get::<_, i64>(0)?, hash.finish()])?;
        }
        // At the end: SQLite sorts once, on disk if need be, instead of looking for a place for each row.
        connection.execute_batch(&format!("CREATE INDEX temp.{ROWS}{number}_hash ON {ROWS}{number} (hash)"))?;
        Ok(lookup)
    }

    /// Finds a row by its values, the parameters from 1 on, and their hash behind them.
    pub(super) fn find(&self) -> &str {
        &self.find
    }

    /// Notes the values that a row has now.
    pub(super) fn put(&self, connection: &Connection, row: i64, hash: i64) -> rusqlite::Result<()> {
        connection.prepare_cached(&self.put)?.execute([row, hash]).map(|_| ())
    }

    /// A row is gone.
    pub(super) fn remove(&self, connection: &Connection, row: i64) -> rusqlite::Result<()> {
        connection.prepare_cached(&self.remove)?.execute([row]).map(|_| ())
    }
}

/// Drops the lookup of a target, if it has one.
pub(super) fn forget(connection: &Connection, target: &str) -> rusqlite::Result<()> {
    let any: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM temp.sqlite_schema WHERE name = ?1)")?
        .query_row([LOOKUPS], |row| row.get(0))?;
    if !any {
        return Ok(());
    }
    let sql = format!("DELETE FROM temp.{LOOKUPS} WHERE target = ?1 RETURNING number");
    let number: Option<i64> = connection.prepare_cached(&sql)?.query_row([target], |row| row.get(0)).optional()?;
    match number {
        Some(number) => connection.execute_batch(&format!("DROP TABLE temp.{ROWS}{number}")),
        None => Ok(()),
    }
}

/// What changes with every definition of the file, and with what other connections write.
fn versions(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    let of = |pragma: &str| connection.prepare_cached(pragma)?.query_row([], |row| row.get(0));
    Ok((of("PRAGMA main.schema_version")?, of("PRAGMA main.data_version")?))
}
