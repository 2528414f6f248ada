//! The sink's cursor in the target: what log it belongs to and the last LSN applied, written in the transaction of the rows.
//!
//! | table `_replicator_cursor` | |
//! |---|---|
//! | `sink` | name of the sink, the primary key |
//! | `format` | version of the sink's own tables, [`FORMAT`] |
//! | `log_id` | identity of the log, 32 hexadecimal digits |
//! | `lsn` | last LSN applied: every change up to it is in the target, none after it |
//!
//! A sink without a line here has never committed.

use rusqlite::{Connection, OptionalExtension as _, params};
use wal::{LogId, Lsn};

use crate::codec::version::Epoch;
use crate::error::Failure;
use crate::sink::TargetState;

/// Version of `_replicator_cursor` and `_replicator_tables`.
const FORMAT: i64 = 1;

/// Creates the table if there is none.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS \"_replicator_cursor\" (
           \"sink\" TEXT NOT NULL PRIMARY KEY,
           \"format\" INTEGER NOT NULL,
           \"log_id\" TEXT NOT NULL,
           \"lsn\" INTEGER NOT NULL
         ) STRICT, WITHOUT ROWID",
    )
}

/// What the target says about `sink`.
pub(super) fn read(connection: &Connection, sink: &str) -> rusqlite::Result<Result<TargetState, Failure>> {
    let row = connection
        .query_row(
            "SELECT \"format\", \"log_id\", \"lsn\" FROM \"_replicator_cursor\" WHERE \"sink\" = ?1",
            [sink],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?)),
        )
        .optional()?;
    Ok(match row {
        None => Ok(TargetState::Fresh),
        Some((FORMAT, log, lsn)) => match (u128::from_str_radix(&log, 16), u64::try_from(lsn)) {
            (Ok(log), Ok(lsn)) => {
                Ok(TargetState::At { log: LogId::new(log), epoch: Epoch::FIRST, applied: Lsn::new(lsn) })
            }
            _ => Err(Failure::fatal(format!("the cursor of sink \"{sink}\" in its target is not readable"))
                .hint("somebody changed \"_replicator_cursor\"; move the database file away to copy everything anew")),
        },
        Some((format, ..)) => Err(Failure::fatal(format!(
            "the target of sink \"{sink}\" was written in format {format}, this version knows {FORMAT}"
        ))
        .hint("use the version that wrote it, or move the database file away to copy everything anew")),
    })
}

/// Sets the cursor inside the open transaction.
pub(super) fn write(connection: &Connection, sink: &str, log: LogId, lsn: Lsn) -> rusqlite::Result<()> {
    let lsn = i64::try_from(lsn.raw()).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO \"_replicator_cursor\" (\"sink\", \"format\", \"log_id\", \"lsn\") VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (\"sink\") DO UPDATE SET \"log_id\" = excluded.\"log_id\", \"lsn\" = excluded.\"lsn\"",
    )?;
    statement.execute(params![sink, FORMAT, format!("{:032x}", log.raw()), lsn]).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_another_format_is_refused() {
        let connection = Connection::open_in_memory().unwrap();
        create(&connection).unwrap();
        assert_eq!(read(&connection, "local").unwrap().unwrap(), TargetState::Fresh);
        write(&connection, "local", LogId::new(0xff << 100), Lsn::new(7)).unwrap();
        write(&connection, "local", LogId::new(0xff << 100), Lsn::new(8)).unwrap();
        let state = TargetState::At { log: LogId::new(0xff << 100), epoch: Epoch::FIRST, applied: Lsn::new(8) };
        assert_eq!(read(&connection, "local").unwrap().unwrap(), state);
        assert_eq!(read(&connection, "other").unwrap().unwrap(), TargetState::Fresh);
        connection.execute("UPDATE _replicator_cursor SET format = 2", []).unwrap();
        let failure = read(&connection, "local").unwrap().unwrap_err();
        assert!(failure.message.contains("format 2"), "{}", failure.message);
    }
}
