//! Questions about one table, asked while the stream goes on.
//!
//! A definition is read while the table's metadata lock is held: no statement changes it between its columns, its keys and the end
//! of the binlog. So it is the definition at that end, and at every earlier place from which to there the stream meets no
//! statement about the table.

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use super::connect;
use super::places::binlog_end;
use super::schema::{self, Locked};
use super::server::ServerInfo;
use super::stream_server::StreamServer;
use crate::config::SourcePlan;
use crate::error::Failure;
use crate::model::{FilePos, TableName, TableSchema};

/// Longest wait on a table's metadata lock, in seconds: the least that the servers take. A table that is locked for longer is
/// asked about again, so that its question does not keep others from being asked.
const LOCK_WAIT: u32 = 1;

/// A table's definition, and where the binlog ended when it was that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// `None`: the account sees no such table.
    pub schema: Option<TableSchema>,
    /// The end of the binlog.
    pub end: FilePos,
}

/// A connection for questions to the server that the stream reads.
///
/// # Errors
/// A classified [`Failure`]; to retry where the address leads to another server.
pub async fn open(plan: &SourcePlan, stream_server: &StreamServer) -> Result<Conn, Failure> {
    let mut conn = connect::connect(plan).await?;
    stream_server.require(&mut conn).await?;
    let session = format!("SET SESSION lock_wait_timeout = {LOCK_WAIT}, autocommit = 1");
    connect::execute(&mut conn, &session, "prepare the connection for questions about tables").await?;
    Ok(conn)
}

/// The table's definition at the current end of the binlog; `None` while another session keeps the table locked.
///
/// # Errors
/// A classified [`Failure`]. The connection is of no more use then: it may hold the table's metadata lock.
pub async fn definition(
    conn: &mut Conn,
    server: &ServerInfo,
    table: &TableName,
) -> Result<Option<Definition>, Failure> {
    connect::execute(conn, "START TRANSACTION", "begin a question about a table").await?;
    let schema = match schema::lock_definition(conn, table).await? {
        Locked::Held => schema::describe_visible(conn, server.flavour, table).await?.map(|described| described.schema),
        Locked::NoSuchTable => None,
        Locked::ByAnother => {
            connect::execute(conn, "ROLLBACK", "end a question about a table").await?;
            return Ok(None);
        }
    };
    let end = binlog_end(conn, server).await?;
    connect::execute(conn, "COMMIT", "end a question about a table").await?;
    Ok(Some(Definition { schema, end }))
}

/// Whether the table's engine takes changes back (`None`: there is no such table), and where the binlog ended after that.
///
/// # Errors
/// A classified [`Failure`].
pub async fn is_transactional(
    conn: &mut Conn,
    server: &ServerInfo,
    table: &TableName,
) -> Result<(Option<bool>, FilePos), Failure> {
    let transactional = schema::engine_is_transactional(conn, table).await?;
    Ok((transactional, binlog_end(conn, server).await?))
}

/// Ends a connection for questions.
pub async fn close(mut conn: Conn) {
    // The server forgets the session either way.
    drop(conn.query_drop("ROLLBACK").await);
    drop(conn.disconnect().await);
}
