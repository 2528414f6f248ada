//! Opening the database file: pragmas, and what they promise.
//!
//! - `journal_mode=WAL`: readers read while the sink writes, and see whole rounds only.
//! - `synchronous=FULL`: a commit that returned stands against power loss; the replicator's log is trimmed on that word.
//! - The page cache is bounded and spills: a transaction of any size takes no more memory than a small one.
//! - Foreign keys are not enforced: rows come in the source's order, which its own checks allowed.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::error::sqlite;
use crate::error::Failure;

/// Bytes of a page in a new file. Against SQLite's own 4096, rows of about 120 bytes go in a fifth faster; 16384 would
/// double what a small transaction writes.
const PAGE_BYTES: u32 = 8192;

/// Size of the page cache in KiB. Smaller makes random updates of large tables read more, larger is taken from the
/// process's memory limit.
const CACHE_KIB: u32 = 24 * 1024;

/// What the cache takes while the lines of the tables are read, which is once.
const LITTLE_CACHE_KIB: u32 = 512;

/// Pages in the write-ahead file after which a commit copies them into the database: 32 MiB. Smaller copies hot pages more
/// often, larger makes readers slower and the file bigger.
const CHECKPOINT_PAGES: u32 = 4096;

/// What the write-ahead file is cut down to after a huge transaction.
const JOURNAL_LIMIT: u32 = 64 << 20;

/// How long a write waits for another process's lock before it fails with a retryable error. It must stay well below the
/// ten seconds a shutdown may take.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Prepared statements kept; a table takes one to three. A miss costs a prepare (tens of microseconds) per section.
const STATEMENTS: usize = 256;

/// Opens the file, which is created with its directory if there is none.
pub(super) fn open(path: &Path) -> Result<Connection, Failure> {
    create_directory(path)?;
    let fail = |error| sqlite(path, "open the database", error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
    set_up(&connection, path).map_err(fail)??;
    Ok(connection)
}

/// Reads with little of a cache: the pages of the lines of many tables would fill it, and nothing reads them again.
pub(super) fn with_little_cache<T>(
    connection: &Connection,
    read: impl FnOnce() -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.pragma_update(None, "cache_size", -i64::from(LITTLE_CACHE_KIB))?;
    let read = read();
    connection.pragma_update(None, "cache_size", -i64::from(CACHE_KIB))?;
    read
}

fn set_up(connection: &Connection, path: &Path) -> rusqlite::Result<Result<(), Failure>> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // A misspelt column in double quotes is an error and never a text.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    // Only a new file takes the page size.
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    let mode: String = connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        let failure = Failure::fatal(format!("\"{}\" cannot use a write-ahead log", path.display()))
            .hint("put the file on a local file system: network file systems lack the shared memory it needs");
        return Ok(Err(failure));
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "fullfsync", "ON")?;
    connection.pragma_update(None, "foreign_keys", "OFF")?;
    connection.pragma_update(None, "recursive_triggers", "OFF")?;
    connection.pragma_update(None, "cache_size", -i64::from(CACHE_KIB))?;
    connection.pragma_update(None, "cache_spill", "ON")?;
    connection.query_row(&format!("PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}"), [], |_| Ok(()))?;
    connection.query_row(&format!("PRAGMA journal_size_limit={JOURNAL_LIMIT}"), [], |_| Ok(()))?;
    let encoding: String = connection.query_row("PRAGMA encoding", [], |row| row.get(0))?;
    if encoding != "UTF-8" {
        let failure = Failure::fatal(format!("\"{}\" holds its text as {encoding}", path.display()))
            .hint("set another `path`: the sink writes UTF-8 databases only; one that has written to another file before needs `replicator sink reset NAME`");
        return Ok(Err(failure));
    }
    Ok(Ok(()))
}

/// Creates the directory of the file, durably: SQLite syncs the directory it writes in, not the ones above.
fn create_directory(path: &Path) -> Result<(), Failure> {
    let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) else {
        return Ok(());
    };
    if directory.is_dir() {
        return Ok(());
    }
    let fail = |error: std::io::Error| {
        Failure::fatal(format!("cannot create the directory \"{}\"", directory.display()))
            .caused_by(error)
            .hint("create it, writable for this user, or set another `path`")
    };
    std::fs::create_dir_all(directory).map_err(fail)?;
    for above in directory.ancestors().skip(1) {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match File::open(above).and_then(|above| above.sync_all()) {
            Ok(()) => {}
            // A directory that cannot be read was there before and is not ours to sync.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => break,
            Err(error) => return Err(fail(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorClass;

    #[test]
    fn a_new_file_gets_its_directory_and_the_pragmas_that_promise_durability() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b/replica.db");
        let connection = open(&path).unwrap();
        let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(pragma("synchronous"), 2);
        assert_eq!(pragma("page_size"), i64::from(PAGE_BYTES));
        assert_eq!(pragma("foreign_keys"), 0);
        assert_eq!(pragma("cache_size"), -i64::from(CACHE_KIB));
        assert_eq!(pragma("wal_autocheckpoint"), i64::from(CHECKPOINT_PAGES));
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
    }

    #[test]
    fn a_file_that_is_no_database_is_refused_by_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.txt");
        std::fs::write(&path, "this is a text file, and it is longer than one hundred bytes ".repeat(20)).unwrap();
        let failure = open(&path).unwrap_err();
        assert_eq!(failure.class, ErrorClass::Fatal);
        assert!(failure.message.contains("notes.txt"), "{}", failure.message);
        assert!(failure.message.contains("is not an SQLite database"), "{}", failure.message);
    }
}
