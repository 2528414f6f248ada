//! From SQLite's result codes to a [`Failure`]: its class, and what the operator can do. The one table of that mapping.
//!
//! No message holds a row value: SQLite's own messages name tables, columns and constraints only.

use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use super::bind::RowError;
use crate::error::{ErrorClass, Failure};
use crate::model::TableName;
use crate::sink::rows::no_room;

/// An error of SQLite while doing `what` ("open the database", "commit").
pub(super) fn sqlite(path: &Path, what: &str, error: rusqlite::Error) -> Failure {
    let path = path.display();
    let failure = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed) => {
            Failure::retry(format!("cannot {what}: another process holds a lock on \"{path}\""))
                .hint("end the program that writes to the file, or that holds a lock on it; readers do not hinder")
        }
        Some(ErrorCode::SchemaChanged) => {
            Failure::retry(format!("cannot {what}: another process changed the tables of \"{path}\""))
        }
        Some(ErrorCode::DiskFull) => Failure::retry(format!("cannot {what}: the disk of \"{path}\" is full"))
            .hint("free space on that file system; the sink goes on by itself"),
        // After a failed sync the kernel may count the lost pages as written, so a second try could report success for rows
        // that no disk holds. Hence no retry for any I/O error.
        Some(ErrorCode::SystemIoFailure) => {
            Failure::fatal(format!("cannot {what}: input/output error on \"{path}\"")).hint(
                "look for disk errors in the system's log; check the file with `PRAGMA integrity_check`, then start again",
            )
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            Failure::fatal(format!("cannot {what}: \"{path}\" cannot be written"))
                .hint("give this user write permission on the file and on its directory")
        }
        Some(ErrorCode::CannotOpen) => Failure::fatal(format!("cannot {what}: \"{path}\" cannot be opened"))
            .hint("the directory must exist and this user must be able to write in it"),
        Some(ErrorCode::DatabaseCorrupt) => Failure::fatal(format!("cannot {what}: \"{path}\" is damaged"))
            .hint("stop the replicator, move the file and its -wal and -shm companions away, run `replicator sink reset NAME`, and start: the tables are read again"),
        Some(ErrorCode::NotADatabase) => {
            Failure::fatal(format!("cannot {what}: \"{path}\" is not an SQLite database")).hint("set another `path`; a sink that has written to another file before needs `replicator sink reset NAME`")
        }
        Some(ErrorCode::TooBig) => Failure::row(format!("cannot {what}: a value or row is beyond SQLite's size limit"))
            .hint("SQLite holds at most 1,000,000,000 bytes in a row; leave the column out with `drop`"),
        Some(ErrorCode::ConstraintViolation) => {
            Failure::row(format!("cannot {what}: a constraint of a table in \"{path}\" refuses the row"))
                .hint("drop the unique index, trigger or constraint that was added to the copied table")
        }
        _ => Failure::fatal(format!("cannot {what} in \"{path}\"")),
    };
    failure.caused_by(error)
}

/// As [`sqlite`], of a statement about one table: what SQLite says of the statement itself is about that table alone.
pub(super) fn of_table(path: &Path, what: &str, error: rusqlite::Error) -> Failure {
    let is_of_statement = matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::Unknown | ErrorCode::TypeMismatch | ErrorCode::ConstraintViolation | ErrorCode::TooBig)
    );
    let failure = sqlite(path, what, error);
    if is_of_statement { Failure { class: ErrorClass::Row, ..failure } } else { failure }
}

/// An error of one row of `table`.
pub(super) fn row(path: &Path, table: &TableName, error: RowError) -> Failure {
    match error {
        RowError::Sqlite(error) => of_table(path, &format!("write a row of {table}"), error),
        RowError::Image(error) => Failure::fatal(format!("a row image of {table} is damaged")).caused_by(error),
        RowError::Value(problem) => {
            problem.causes(Failure::row(format!("a value of {table} cannot be written to \"{}\"", path.display())))
        }
        RowError::Full(error) => no_room(table, error),
    }
}

/// Why a row change becomes a dead letter.
///
/// # Errors
/// The error itself, where it is not about the row. What SQLite says of the statement, and not of the row, is about the table.
pub(super) fn reason(
    connection: &Connection,
    (path, table): (&Path, &TableName),
    error: RowError,
) -> Result<String, RowError> {
    let is_of_row = match &error {
        RowError::Value(_) => true,
        RowError::Image(_) | RowError::Full(_) => false,
        // With the whole round taken back, the rows before this one are not written.
        RowError::Sqlite(_) if connection.is_autocommit() => false,
        RowError::Sqlite(error) => matches!(
            error.sqlite_error_code(),
            Some(ErrorCode::TypeMismatch | ErrorCode::ConstraintViolation | ErrorCode::TooBig)
        ),
    };
    if is_of_row { Ok(row(path, table, error).fact()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    fn of(code: i32) -> Failure {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        sqlite(Path::new("/data/replica.db"), "commit", error)
    }

    #[test]
    fn each_result_code_has_its_class_and_names_the_file() {
        let table = [
            (ffi::SQLITE_BUSY, ErrorClass::Retry),
            (ffi::SQLITE_BUSY_SNAPSHOT, ErrorClass::Retry),
            (ffi::SQLITE_LOCKED, ErrorClass::Retry),
            (ffi::SQLITE_FULL, ErrorClass::Retry),
            (ffi::SQLITE_IOERR_FSYNC, ErrorClass::Fatal),
            (ffi::SQLITE_READONLY, ErrorClass::Fatal),
            (ffi::SQLITE_CANTOPEN, ErrorClass::Fatal),
            (ffi::SQLITE_CORRUPT, ErrorClass::Fatal),
            (ffi::SQLITE_NOTADB, ErrorClass::Fatal),
            (ffi::SQLITE_MISUSE, ErrorClass::Fatal),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, ErrorClass::Row),
        ];
        for (code, class) in table {
            let failure = of(code);
            assert_eq!(failure.class, class, "code {code}");
            assert!(failure.message.contains("/data/replica.db"), "{}", failure.message);
        }
        assert_eq!(of(ffi::SQLITE_TOOBIG).class, ErrorClass::Row);
    }
}
