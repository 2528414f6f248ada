//! Where a read stands against the stream, on each kind of server.
//!
//! A chunk needs two facts ([`super::handoff`]): what it reads contains everything up to *low*, and low is not before the
//! position at which its window was opened; and it contains nothing after *high*.
//!
//! *Low*, given by [`open_view`] before the `SELECT`:
//! - MariaDB: `START TRANSACTION WITH CONSISTENT SNAPSHOT` pins view and binlog position together (`binlog_snapshot_file`,
//!   `binlog_snapshot_position`), so low is that position; it is asked for again until it has reached the window's.
//! - MySQL with `gtid_mode=ON`: `@@gtid_executed` lists a transaction only after its commit in the engine, so once it contains the
//!   stream's set (`WAIT_FOR_EXECUTED_GTID_SET`), a `SELECT` that starts after sees all of that. A file position would not do:
//!   a transaction stands in the binlog before it is visible, so a stale row could overwrite a newer one.
//! - MySQL otherwise: while `LOCK TABLES t READ` is held, no transaction that changed the table is between binlog and engine
//!   (its metadata lock is released after both), so a view opened under the lock contains all of the table that the binlog
//!   holds, and that contains what the stream has read.
//!
//! *High*, given by [`binlog_end`] after the last row: the end of the binlog then. Everything visible is in the binlog
//! before. It is later than need be, which costs a little waiting; in return it also covers a change of the table's
//! definition between view, description and `SELECT`: that stands in the binlog between the window's position and high, and
//! the loop discards the chunk.

use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row};

use super::session::Server;
use super::slots::Slot;
use crate::error::Failure;
use crate::model::{FilePos, SourcePosition, TableName};
use crate::source::mysql::schema::{Flavour, query_failure, table_identifier, text_literal};

/// `WAIT_FOR_EXECUTED_GTID_SET`'s limit, in seconds: commits follow the binlog within milliseconds, so a wait that runs out
/// tells of a server in trouble.
const GTID_WAIT_SECONDS: u32 = 5;
/// How often and how long apart MariaDB's snapshot position is asked for until it reaches the stream's.
const SNAPSHOT_TRIES: u32 = 400;
const SNAPSHOT_PAUSE: Duration = Duration::from_millis(5);

/// `ER_DBACCESS_DENIED_ERROR`, `ER_TABLEACCESS_DENIED_ERROR`, `ER_SPECIFIC_ACCESS_DENIED_ERROR`.
const DENIED: [u16; 3] = [1044, 1142, 1227];

/// Opens the slot's view of `table` such that it contains everything that the stream had read at `stream`. The next
/// `SELECT` on the slot's reader reads it; [`close_view`] ends it.
pub(super) async fn open_view(
    server: Server,
    slot: &mut Slot,
    table: &TableName,
    stream: &SourcePosition,
) -> Result<(), Failure> {
    match server.flavour {
        Flavour::MariaDb => {
            snapshot_reaching(&mut slot.reader, &FilePos { file: stream.file.clone(), pos: stream.pos }).await?;
        }
        // Asked for each time: with another mode transactions without a GTID may come.
        Flavour::MySql if gtid_mode_is_on(&mut slot.control).await? => {
            wait_for_gtids(&mut slot.control, &stream.gtid).await?;
        }
        Flavour::MySql => {
            lock_table(&mut slot.control, table).await?;
            let opened = start_snapshot(&mut slot.reader).await;
            let unlocked = unlock_tables(&mut slot.control).await;
            opened.and(unlocked)?;
        }
    }
    Ok(())
}

/// Opens a view for tables that are read together, as [`open_view`] does for one, where [`can_share_views`].
pub(super) async fn open_shared_view(server: Server, slot: &mut Slot, stream: &SourcePosition) -> Result<(), Failure> {
    match server.flavour {
        Flavour::MariaDb => {
            let at = FilePos { file: stream.file.clone(), pos: stream.pos };
            snapshot_reaching(&mut slot.reader, &at).await.map(drop)
        }
        Flavour::MySql => wait_for_gtids(&mut slot.control, &stream.gtid).await,
    }
}

/// Whether [`open_shared_view`] can open a view here: without GTIDs MySQL takes a lock of each table for one.
pub(super) async fn can_share_views(server: Server, slot: &mut Slot) -> Result<bool, Failure> {
    match server.flavour {
        Flavour::MariaDb => Ok(true),
        Flavour::MySql => gtid_mode_is_on(&mut slot.control).await,
    }
}

/// Ends the view, so that the server can forget old row versions.
pub(super) async fn close_view(conn: &mut Conn) -> Result<(), Failure> {
    conn.query_drop("COMMIT").await.map_err(|error| query_failure("end the snapshot's transaction", error))
}

/// The end of the binlog.
pub(super) async fn binlog_end(conn: &mut Conn, server: Server) -> Result<FilePos, Failure> {
    let sql = match server.flavour {
        Flavour::MySql if server.version >= (8, 2, 0) => "SHOW BINARY LOG STATUS",
        Flavour::MySql | Flavour::MariaDb => "SHOW MASTER STATUS",
    };
    let row: Option<Row> =
        conn.query_first(sql).await.map_err(|error| query_failure("ask for the binlog position", error))?;
    row.and_then(|mut row| {
        let file = row.take_opt::<String, _>(0)?.ok()?;
        Some(FilePos { file, pos: row.take_opt::<u64, _>(1)?.ok()? })
    })
    .ok_or_else(|| Failure::fatal("the source writes no binlog").hint("start the server with log_bin"))
}

/// MariaDB: opens a view at a position that is not before `at`, and gives that position.
pub(super) async fn snapshot_reaching(conn: &mut Conn, at: &FilePos) -> Result<FilePos, Failure> {
    for _ in 0..SNAPSHOT_TRIES {
        start_snapshot(conn).await?;
        let here = snapshot_position(conn).await?;
        match here.reaches(at) {
            Some(true) => return Ok(here),
            // The stream has read a transaction whose commit is not complete yet.
            Some(false) => close_view(conn).await?,
            None => {
                return Err(Failure::fatal(format!(
                    "binlog file names \"{}\" and \"{}\" cannot be compared",
                    here.file, at.file
                )));
            }
        }
        tokio::time::sleep(SNAPSHOT_PAUSE).await;
    }
    Err(Failure::retry(format!(
        "the source's snapshot position does not reach {}:{}, where the stream is",
        at.file, at.pos
    )))
}

/// Opens a view with the transaction.
pub(super) async fn start_snapshot(conn: &mut Conn) -> Result<(), Failure> {
    conn.query_drop("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        .await
        .map_err(|error| query_failure("open a consistent snapshot", error))
}

async fn snapshot_position(conn: &mut Conn) -> Result<FilePos, Failure> {
    let rows: Vec<(String, String)> = conn
        .query("SHOW STATUS WHERE Variable_name IN ('Binlog_snapshot_file', 'Binlog_snapshot_position')")
        .await
        .map_err(|error| query_failure("ask for the snapshot's binlog position", error))?;
    let value = |name: &str| {
        rows.iter().find(|(variable, _)| variable.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    };
    let position = || {
        let file = value("binlog_snapshot_file").filter(|file| !file.is_empty())?;
        Some(FilePos { file, pos: value("binlog_snapshot_position")?.parse().ok()? })
    };
    position().ok_or_else(|| {
        Failure::fatal("the source does not tell the binlog position of a snapshot")
            .hint("the server must run with log_bin and have an InnoDB storage engine")
    })
}

async fn gtid_mode_is_on(conn: &mut Conn) -> Result<bool, Failure> {
    let mode: Option<String> = conn
        .query_first("SELECT @@GLOBAL.gtid_mode")
        .await
        .map_err(|error| query_failure("ask for gtid_mode", error))?;
    Ok(mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ON")))
}

async fn wait_for_gtids(conn: &mut Conn, set: &str) -> Result<(), Failure> {
    let sql = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET({}, {GTID_WAIT_SECONDS})", text_literal(set));
    let timed_out: Option<i64> =
        conn.query_first(sql).await.map_err(|error| query_failure("wait for the stream's GTID set", error))?;
    if timed_out == Some(0) {
        return Ok(());
    }
    Err(Failure::retry(format!(
        "the source has not executed the GTID set that its binlog holds within {GTID_WAIT_SECONDS} seconds"
    )))
}

/// Locks a table against writers until [`unlock_tables`].
pub(super) async fn lock_table(conn: &mut Conn, table: &TableName) -> Result<(), Failure> {
    let Err(error) = conn.query_drop(format!("LOCK TABLES {} READ", table_identifier(table))).await else {
        return Ok(());
    };
    let denied = matches!(&error, mysql_async::Error::Server(server) if DENIED.contains(&server.code));
    let failure = query_failure(&format!("lock table \"{table}\" for a moment"), error);
    Err(if denied {
        failure.hint(format!("GRANT LOCK TABLES, SELECT ON `{}`.* to the account of source.url", table.database))
    } else {
        failure
    })
}

/// Ends every lock of [`lock_table`].
pub(super) async fn unlock_tables(conn: &mut Conn) -> Result<(), Failure> {
    conn.query_drop("UNLOCK TABLES").await.map_err(|error| query_failure("unlock tables", error))
}
