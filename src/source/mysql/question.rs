//! Questions about one table, asked while the stream goes on.
//!
//! A definition is read while the table's metadata lock is held: no statement changes it between its columns, its keys and the end
//! of the binlog. So it is the definition at that end, and at every earlier place from which to there the stream meets no
//! statement about the table.

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

use super::connect;
use super::ddl::{self, SqlMode, Statement};
use super::places::binlog_end;
use super::schema::{self, Instead, LeftOutBy, Locked, Nature, Relation, query_failure, table_identifier};
use super::server::ServerInfo;
use super::stream_server::StreamServer;
use crate::config::{SourcePlan, TableFilter};
use crate::error::Failure;
use crate::model::{FilePos, TableName, TableSchema};

/// Longest wait on a table's metadata lock, in seconds: the least that the servers take. A table that is locked for longer is
/// asked about again, so that its question does not keep others from being asked.
const LOCK_WAIT: u32 = 1;

/// A table's definition, and where the binlog ended when it was that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// What there is under the name.
    pub shown: Shown,
    /// The end of the binlog.
    pub end: FilePos,
}

/// What the server shows under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A table that can be copied.
    Table(TableSchema),
    /// Something else, or nothing.
    Instead(Instead),
    /// Nothing that the account may see.
    Hidden,
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
    let shown = match schema::lock_definition(conn, table).await? {
        Locked::Held => show(conn, server, table).await?,
        Locked::Instead(instead) => Shown::Instead(instead),
        Locked::NotSeen => Shown::Hidden,
        Locked::ByAnother => {
            connect::execute(conn, "ROLLBACK", "end a question about a table").await?;
            return Ok(None);
        }
    };
    let end = binlog_end(conn, server).await?;
    connect::execute(conn, "COMMIT", "end a question about a table").await?;
    Ok(Some(Definition { shown, end }))
}

/// What there is under the name, whose metadata lock is held.
async fn show(conn: &mut Conn, server: &ServerInfo, table: &TableName) -> Result<Shown, Failure> {
    let described = schema::describe_visible(conn, server.flavour, table).await?;
    if let Some(described) = described {
        return Ok(match described.nature {
            Nature::Copied => Shown::Table(described.schema),
            Nature::LeftOut(LeftOutBy::Merge { .. }) => {
                let members = members(conn, server, table).await?;
                Shown::Instead(Instead::LeftOut(LeftOutBy::Merge { members }))
            }
            Nature::LeftOut(by) => Shown::Instead(Instead::LeftOut(by)),
        });
    }
    let instead = schema::relation(conn, table).await?.and_then(|relation| relation.instead());
    Ok(instead.map_or(Shown::Hidden, Shown::Instead))
}

/// The tables that a MERGE table consists of; `None`: the server does not say it in a way that is understood.
async fn members(conn: &mut Conn, server: &ServerInfo, table: &TableName) -> Result<Option<Vec<TableName>>, Failure> {
    let sql = format!("SHOW CREATE TABLE {}", table_identifier(table));
    let shown: Option<(String, String)> = conn
        .query_first(sql)
        .await
        .map_err(|error| query_failure(&format!("ask which tables \"{table}\" consists of"), error))?;
    // Quotes of identifiers are those of this session, whose mode is the server's.
    let parsed = shown.map(|(_, text)| ddl::parse_under(server.names, &text, &table.database, SqlMode::default()));
    Ok(match parsed {
        // Without members it has no UNION.
        Some(Statement::CreateTable(create)) => Some(create.union.unwrap_or_default()),
        _ => None,
    })
}

/// How all captured tables are defined.
///
/// # Errors
/// A classified [`Failure`].
pub async fn all(conn: &mut Conn, server: &ServerInfo, filter: &TableFilter) -> Result<Vec<TableSchema>, Failure> {
    schema::describe_all(conn, server.flavour, filter).await
}

/// Whether the table is a MERGE table (`None`: there is no such table, or the account does not see it), and where the binlog ended after
/// that.
///
/// # Errors
/// A classified [`Failure`].
pub async fn is_merge(
    conn: &mut Conn,
    server: &ServerInfo,
    table: &TableName,
) -> Result<(Option<bool>, FilePos), Failure> {
    let relation = schema::relation(conn, table).await?;
    let merge = relation.map(|relation| matches!(relation, Relation::Table(Nature::LeftOut(LeftOutBy::Merge { .. }))));
    Ok((merge, binlog_end(conn, server).await?))
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
