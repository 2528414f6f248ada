//! The sink's cursor in the target: what log it belongs to and the last LSN applied, written in the transaction of
//! the rows.
//!
//! | table `_replicator_cursor` | |
//! |---|---|
//! | `sink` | name of the sink, the primary key |
//! | `format` | version of the sink's tables, [`FORMAT`] |
//! | `log_id` | identity of the log, 32 hexadecimal digits |
//! | `epoch` | [epoch](crate::codec::version::Epoch) of the versions that this log writes, 1 to 127 |
//! | `lsn` | last LSN applied: every change up to it is in the target, none after it |
//!
//! A sink without a line here has never committed. A file of which any line is of another format is refused: the
//! sinks of a file share these tables.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use wal::{LogId, Lsn};

use super::registry;
use crate::codec::version::Epoch;
use crate::error::Failure;
use crate::sink::{Lost, TargetState};

/// Version of `_replicator_cursor`, of `_replicator_tables` and of the columns that a changelog has of its own.
/// Version 1 had no epoch, and made a version of LSN and ordinal. Version 2 had no stops, and tables without the mark of their sink. Version 3
/// had no copies that are built beside others.
pub const FORMAT: i64 = 4;

/// Creates the table if there is none. One of format 1 that no sink has written a line to is replaced.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    if has_epoch(connection)? {
        return Ok(());
    }
    // Another sink may create it at the same time.
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    if exists(connection)? && !has_epoch(connection)? && is_empty(connection)? {
        connection.execute_batch("DROP TABLE \"_replicator_cursor\"")?;
    }
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS \"_replicator_cursor\" (
           \"sink\" TEXT NOT NULL PRIMARY KEY,
           \"format\" INTEGER NOT NULL,
           \"log_id\" TEXT NOT NULL,
           \"epoch\" INTEGER NOT NULL,
           \"lsn\" INTEGER NOT NULL
         ) STRICT, WITHOUT ROWID",
    )?;
    transaction.commit()
}

/// What the target says about `sink`. It changes nothing.
pub(super) fn read(connection: &Connection, sink: &str) -> rusqlite::Result<Result<TargetState, Failure>> {
    if !exists(connection)? || is_empty(connection)? {
        return without(connection, sink);
    }
    if let Some(failure) = other_format(connection)? {
        return Ok(Err(failure));
    }
    let row = connection
        .query_row(
            "SELECT \"log_id\", \"epoch\", \"lsn\" FROM \"_replicator_cursor\" WHERE \"sink\" = ?1",
            [sink],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)),
        )
        .optional()?;
    let Some((log, epoch, lsn)) = row else { return without(connection, sink) };
    let state = || {
        let log = LogId::new(u128::from_str_radix(&log, 16).ok()?);
        let epoch = Epoch::new(u64::try_from(epoch).ok()?)?;
        Some(TargetState::At { log, epoch, applied: Lsn::new(u64::try_from(lsn).ok()?) })
    };
    Ok(Ok(state().unwrap_or(TargetState::Lost(Lost::Unreadable))))
}

/// What a target says in which the sink has no line: the line is there before any table.
fn without(connection: &Connection, sink: &str) -> rusqlite::Result<Result<TargetState, Failure>> {
    let is_lost = registry::is_there(connection)? && registry::has_any(connection, sink)?;
    Ok(Ok(if is_lost { TargetState::Lost(Lost::Gone) } else { TargetState::Fresh }))
}

/// How an operator gets a new copy in place of one that cannot be used.
const COPY_AGAIN: &str = "to copy everything again, stop the replicator, move the database file away with its -wal and -shm files, \
                          run `replicator sink reset NAME` for each sink that writes to it, and start";

/// Whether any sink has written to the file in another format.
fn other_format(connection: &Connection) -> rusqlite::Result<Option<Failure>> {
    let line: Option<(String, i64)> = connection
        .query_row(
            "SELECT \"sink\", \"format\" FROM \"_replicator_cursor\" WHERE \"format\" <> ?1 ORDER BY \"sink\" LIMIT 1",
            [FORMAT],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    Ok(line.map(|(sink, format)| {
        Failure::fatal(format!(
            "the target of sink \"{sink}\" was written in format {format}, this version reads and writes format {FORMAT}"
        ))
        .hint(format!("use the version that wrote it; or, {COPY_AGAIN}"))
    }))
}

fn exists(connection: &Connection) -> rusqlite::Result<bool> {
    connection.table_exists(None, "_replicator_cursor")
}

/// Whether the table is there, in the shape of this format.
fn has_epoch(connection: &Connection) -> rusqlite::Result<bool> {
    connection.column_exists(None, "_replicator_cursor", "epoch")
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM \"_replicator_cursor\")", [], |row| row.get(0))
}

/// Sets the cursor inside the open transaction.
pub(super) fn write(connection: &Connection, sink: &str, log: LogId, epoch: Epoch, lsn: Lsn) -> rusqlite::Result<()> {
    let lsn = i64::try_from(lsn.raw()).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO \"_replicator_cursor\" (\"sink\", \"format\", \"log_id\", \"epoch\", \"lsn\")
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (\"sink\") DO UPDATE SET
           \"log_id\" = excluded.\"log_id\", \"epoch\" = excluded.\"epoch\", \"lsn\" = excluded.\"lsn\"",
    )?;
    statement.execute(params![sink, FORMAT, format!("{:032x}", log.raw()), epoch.number(), lsn]).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: LogId = LogId::new(0xff << 100);

    fn at(lsn: u64, epoch: Epoch) -> TargetState {
        TargetState::At { log: LOG, epoch, applied: Lsn::new(lsn) }
    }

    #[test]
    fn a_cursor_reads_back_with_its_epoch() {
        let connection = Connection::open_in_memory().unwrap();
        let second = Epoch::FIRST.next().unwrap();
        assert_eq!(read(&connection, "local").unwrap().unwrap(), TargetState::Fresh);
        create(&connection).unwrap();
        assert_eq!(read(&connection, "local").unwrap().unwrap(), TargetState::Fresh);
        write(&connection, "local", LOG, Epoch::FIRST, Lsn::new(7)).unwrap();
        assert_eq!(read(&connection, "local").unwrap().unwrap(), at(7, Epoch::FIRST));
        write(&connection, "local", LOG, second, Lsn::new(8)).unwrap();
        create(&connection).unwrap();
        assert_eq!(read(&connection, "local").unwrap().unwrap(), at(8, second));
        assert_eq!(read(&connection, "other").unwrap().unwrap(), TargetState::Fresh);
    }

    #[test]
    fn a_cursor_that_cannot_be_one_is_refused() {
        for change in ["epoch = 0", "epoch = 128", "lsn = -1", "log_id = 'mine'"] {
            let connection = Connection::open_in_memory().unwrap();
            create(&connection).unwrap();
            write(&connection, "local", LOG, Epoch::FIRST, Lsn::new(7)).unwrap();
            connection.execute(&format!("UPDATE _replicator_cursor SET {change}"), []).unwrap();
            assert_eq!(read(&connection, "local").unwrap().unwrap(), TargetState::Lost(Lost::Unreadable), "{change}");
            write(&connection, "local", LOG, Epoch::FIRST, Lsn::new(8)).unwrap();
            assert_eq!(read(&connection, "local").unwrap().unwrap(), at(8, Epoch::FIRST), "{change}");
        }
    }

    #[test]
    fn a_cursor_that_is_gone_while_tables_are_there_is_missed() {
        let connection = Connection::open_in_memory().unwrap();
        registry::create(&connection).unwrap();
        assert_eq!(read(&connection, "local").unwrap().unwrap(), TargetState::Fresh);
        let line = "INSERT INTO _replicator_tables VALUES ('local', 'shop', 't', 't', '', '', '', '')";
        connection.execute_batch(line).unwrap();
        for _ in 0..2 {
            assert_eq!(read(&connection, "local").unwrap().unwrap(), TargetState::Lost(Lost::Gone));
            assert_eq!(read(&connection, "other").unwrap().unwrap(), TargetState::Fresh);
            create(&connection).unwrap();
        }
    }

    #[test]
    fn a_newer_format_is_refused_for_every_sink_of_the_file() {
        let connection = Connection::open_in_memory().unwrap();
        create(&connection).unwrap();
        write(&connection, "local", LOG, Epoch::FIRST, Lsn::new(7)).unwrap();
        connection.execute("UPDATE _replicator_cursor SET format = 5", []).unwrap();
        for sink in ["local", "other"] {
            let failure = read(&connection, sink).unwrap().unwrap_err();
            let says = "the target of sink \"local\" was written in format 5, this version reads and writes format 4";
            assert_eq!(failure.message, says);
        }
    }
}
