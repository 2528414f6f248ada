//! A copy that is built beside the one that readers see, and takes its place. All of it happens inside the round's transaction: a reader sees one
//! or the other.
//!
//! Indexes and triggers that a user put on the old copy are made on the new one when it takes the old one's place: their names are taken until
//! then. One that no longer fits stops the table by name, and the old copy stays. Views name the table that they always named.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _};
use rustix::fs::statvfs;

use super::layout::{Layout, quoted, same_name};
use super::rebuild::{columns, extras, rename};
use super::registry::under_name;
use crate::sink::definitions::{Fate, Room, Swap};

/// Makes the table `new` as that of `layout` is defined, whatever a user has added to its columns. Softly deleted rows come along, and so that they are known
/// not to be there if they do not come again, live ones as deleted.
pub(super) fn copy(connection: &Connection, layout: &Layout, new: &str, sink: &str) -> rusqlite::Result<()> {
    let found = under_name(connection, &layout.target)?;
    let definition = found.as_ref().and_then(|(_, sql)| definition(sql));
    let made = definition.map_or_else(
        || layout.create_statement(new, sink),
        |definition| format!("CREATE TABLE {} {definition}", quoted(new)),
    );
    connection.execute_batch(&made)?;
    let Some(soft) = &layout.soft else { return Ok(()) };
    let names = columns(connection, &layout.target)?.into_iter().map(|(name, _)| name);
    let names: Vec<_> = names.filter(|name| !same_name(name, soft)).map(|name| quoted(&name)).collect();
    let (names, soft) = (names.join(", "), quoted(soft));
    let only = if layout.key.is_empty() { format!(" WHERE {soft} <> 0") } else { String::new() };
    let (from, into) = (quoted(&layout.target), quoted(new));
    connection.execute_batch(&format!("INSERT INTO {into} ({names}, {soft}) SELECT {names}, 1 FROM {from}{only}"))
}

/// What stands after the name in a statement that made a table. SQLite keeps the statement, with each change of the table in it.
fn definition(sql: &str) -> Option<&str> {
    let name = sql.strip_prefix("CREATE TABLE ")?;
    let after = match name.strip_prefix('"') {
        // A name that has a quote in it has it twice.
        Some(quoted) => {
            let mut rest = quoted;
            loop {
                rest = rest.get(rest.find('"')? + 1..)?;
                match rest.strip_prefix('"') {
                    Some(more) => rest = more,
                    None => break rest,
                }
            }
        }
        None => name.get(name.find(|c: char| c.is_whitespace() || c == '(')?..)?,
    };
    Some(after.trim_start()).filter(|definition| definition.starts_with('('))
}

/// Puts a copy in the place of another one.
pub(super) fn swap(connection: &Connection, swap: &Swap<'_>) -> rusqlite::Result<()> {
    let Swap { new, at_target, fate, .. } = swap;
    let made_again = match fate {
        Fate::Drop { is_alike: true } => extras(connection, at_target)?,
        Fate::Drop { is_alike: false } | Fate::SetAside(_) => Vec::new(),
    };
    match fate {
        Fate::Drop { .. } => connection.execute_batch(&format!("DROP TABLE IF EXISTS {}", quoted(at_target)))?,
        Fate::SetAside(aside) if under_name(connection, at_target)?.is_some() => rename(connection, at_target, aside)?,
        Fate::SetAside(_) => {}
    }
    rename(connection, new, at_target)?;
    made_again.iter().try_for_each(|sql| connection.execute_batch(sql))
}

/// What a second copy of a table takes, and what is free for it: on the disk, and in the file.
pub(super) fn room(connection: &Connection, file: &Path, target: &str) -> rusqlite::Result<Option<Room>> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| Ok(row.get::<_, i64>(0)?.unsigned_abs()));
    let (page, pages, unused) = (pragma("page_size")?, pragma("page_count")?, pragma("freelist_count")?);
    let directory = file.parent().filter(|directory| !directory.as_os_str().is_empty());
    let disk = match statvfs(directory.unwrap_or(Path::new("."))) {
        Ok(disk) => disk,
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "the disk does not tell how much room it has");
            return Ok(None);
        }
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize).saturating_add(unused.saturating_mul(page));
    let used = pages.saturating_sub(unused).saturating_mul(page);
    // No table takes more than all of them: the pages of this one are counted only where that says too little.
    let needed = if used <= free { used } else { size(connection, target)? };
    Ok(Some(Room { needed, free }))
}

/// Bytes that a table and its indexes take.
pub(super) fn size(connection: &Connection, target: &str) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare(
        "SELECT sum(\"pgsize\") FROM \"dbstat\" WHERE \"name\" IN
           (SELECT \"name\" FROM \"sqlite_schema\" WHERE \"tbl_name\" = ?1 COLLATE NOCASE) AND \"aggregate\" = 1",
    )?;
    let size = statement.query_row([target], |row| row.get::<_, Option<i64>>(0)).optional()?.flatten();
    Ok(size.map_or(0, i64::unsigned_abs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_a_table_is_what_stands_after_its_name() {
        for (sql, is) in [
            ("CREATE TABLE \"t\" (\"id\" INTEGER PRIMARY KEY) /* x */", Some("(\"id\" INTEGER PRIMARY KEY) /* x */")),
            ("CREATE TABLE \"a \"\"( b\"(\"id\")", Some("(\"id\")")),
            ("CREATE TABLE t(id)", Some("(id)")),
            ("CREATE TABLE t AS SELECT 1", None),
            ("CREATE VIEW v (a) AS SELECT 1", None),
            ("CREATE TABLE \"t", None),
        ] {
            assert_eq!(definition(sql), is, "{sql}");
        }
    }
}
