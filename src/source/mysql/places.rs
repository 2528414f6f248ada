//! What the source says about its binlog: its files, where it ends, and which GTIDs lie where.

use futures_util::TryStreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row};

use super::connect::classify;
use super::gtid::GtidSet;
use super::server::{Flavour, ServerInfo, query, text};
use crate::error::Failure;
use crate::model::{FilePos, SourcePosition};

/// A binlog file as the server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinlogFile {
    /// Name.
    pub name: String,
    /// Bytes.
    pub size: u64,
}

/// The binlog files the server still has, in order.
///
/// # Errors
/// A classified [`Failure`].
pub async fn binlog_files(connection: &mut Conn) -> Result<Vec<BinlogFile>, Failure> {
    let purpose = "list the source's binlog files";
    let rows: Vec<Row> = query(connection, "SHOW BINARY LOGS", purpose).await?;
    rows.iter()
        .map(|row| {
            let (name, size) = (row.get_opt(0), row.get_opt(1));
            match (name, size) {
                (Some(Ok(name)), Some(Ok(size))) => Ok(BinlogFile { name, size }),
                _ => Err(Failure::fatal(format!("cannot {purpose}: the list has an unknown form"))),
            }
        })
        .collect()
}

/// The end of the binlog now, with its GTIDs.
///
/// On MySQL with GTIDs the set is read before the file's position: a transaction that commits between is in the file and not
/// in the set, so a dump by that set sends it. On MariaDB the list is computed from the position itself, for which the server
/// reads the file up to there.
///
/// # Errors
/// A classified [`Failure`]; fatal when the server writes no binlog.
pub async fn current_position(connection: &mut Conn, server: &ServerInfo) -> Result<SourcePosition, Failure> {
    let set = match server.flavour {
        Flavour::MySql => executed(connection).await?,
        Flavour::MariaDb => String::new(),
    };
    let FilePos { file, pos } = binlog_end(connection, server).await?;
    let gtid = match server.flavour {
        Flavour::MySql => set,
        Flavour::MariaDb => gtid_at(connection, &file, pos).await?.unwrap_or_default(),
    };
    Ok(SourcePosition { server: server.identity.clone(), file, pos, file_created: 0, gtid })
}

/// Where the binlog ends now.
///
/// # Errors
/// A classified [`Failure`]; fatal when the server writes no binlog.
pub async fn binlog_end(connection: &mut Conn, server: &ServerInfo) -> Result<FilePos, Failure> {
    end_of_binlog(connection, server.flavour, server.version).await
}

/// [`binlog_end`] of a server of which only this is known.
///
/// # Errors
/// As there.
pub async fn end_of_binlog(
    connection: &mut Conn,
    flavour: Flavour,
    version: (u16, u16, u16),
) -> Result<FilePos, Failure> {
    let purpose = "read the source's binlog position";
    let modern = flavour == Flavour::MySql && version >= (8, 2, 0);
    let statement = if modern { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
    let row: Option<Row> = connection.query_first(statement).await.map_err(|error: Error| classify(error, purpose))?;
    let row = row.ok_or_else(|| {
        Failure::fatal(format!("cannot {purpose}: the server writes no binlog"))
            .hint("restart the server with log_bin = binlog in its configuration file")
    })?;
    let (Some(Ok(file)), Some(Ok(pos))) = (row.get_opt::<String, _>(0), row.get_opt::<u64, _>(1)) else {
        return Err(Failure::fatal(format!("cannot {purpose}: {statement} has an unknown form")));
    };
    Ok(FilePos { file, pos })
}

/// MySQL's executed GTID set.
///
/// # Errors
/// A classified [`Failure`].
pub async fn executed(connection: &mut Conn) -> Result<String, Failure> {
    text(connection, "SELECT @@GLOBAL.gtid_executed", "read the source's executed GTIDs").await
}

/// MySQL's purged GTID set.
///
/// # Errors
/// A classified [`Failure`].
pub async fn purged(connection: &mut Conn) -> Result<String, Failure> {
    text(connection, "SELECT @@GLOBAL.gtid_purged", "read the source's purged GTIDs").await
}

/// MariaDB's GTID list at the end of the binlog.
///
/// # Errors
/// A classified [`Failure`].
pub async fn binlog_gtids(connection: &mut Conn) -> Result<String, Failure> {
    text(connection, "SELECT @@GLOBAL.gtid_binlog_pos", "read the source's GTID position").await
}

/// The last GTID of each server in each domain of MariaDB's binlog.
///
/// # Errors
/// A classified [`Failure`].
pub async fn binlog_state(connection: &mut Conn) -> Result<String, Failure> {
    text(connection, "SELECT @@GLOBAL.gtid_binlog_state", "read the state of the source's binlog").await
}

/// MariaDB's GTID list at a position; `None` when the server does not know the position.
///
/// # Errors
/// A classified [`Failure`].
pub async fn gtid_at(connection: &mut Conn, file: &str, pos: u64) -> Result<Option<String>, Failure> {
    let purpose = "read the source's GTIDs at a binlog position";
    let row: Option<Option<String>> = connection
        .exec_first("SELECT BINLOG_GTID_POS(?, ?)", (file, pos))
        .await
        .map_err(|error: Error| classify(error, purpose))?;
    Ok(row.flatten())
}

/// MySQL's executed set as of an offset: what the file says was before it, and the GTIDs in it up to there. Without it, a later
/// start by GTIDs would get everything again that was before the offset.
///
/// # Errors
/// A classified [`Failure`].
pub async fn executed_before(connection: &mut Conn, file: &str, pos: u64) -> Result<GtidSet, Failure> {
    /// An event's header; no event is shorter.
    const SHORTEST: u64 = 19;
    let quoted = file.replace('\\', "\\\\").replace('\'', "''");
    let all = format!("SHOW BINLOG EVENTS IN '{quoted}'");
    // At least the format description and what was before the file; a start at a file's beginning reads no more of it.
    let most = pos / SHORTEST + 2;
    let (set, is_whole) = executed_in(connection, &format!("{all} LIMIT {most}"), pos).await?;
    // The events of a compressed transaction are listed too, so there can be more of them in front of the offset.
    if is_whole { Ok(set) } else { Ok(executed_in(connection, &all, pos).await?.0) }
}

/// The executed set in front of an offset, as a list of events tells it, and whether the list went on up to there. Without a set that
/// was before the file it did not.
async fn executed_in(connection: &mut Conn, list: &str, pos: u64) -> Result<(GtidSet, bool), Failure> {
    let purpose = "read the GTIDs in front of source.specific";
    let failed = |error: Error| classify(error, purpose);
    let parse =
        |text: &str| GtidSet::parse(text).map_err(|error| Failure::fatal(format!("cannot {purpose}")).caused_by(error));
    let mut set = GtidSet::default();
    let mut last = 0;
    let mut begins = false;
    let mut events = connection.query_iter(list).await.map_err(failed)?;
    if let Some(mut rows) = events.stream::<Row>().await.map_err(failed)? {
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            let (Some(Ok(start)), Some(Ok(kind)), Some(Ok(end)), Some(Ok(info))) = (
                row.get_opt::<u64, _>(1),
                row.get_opt::<String, _>(2),
                row.get_opt::<u64, _>(4),
                row.get_opt::<String, _>(5),
            ) else {
                return Err(Failure::fatal(format!("cannot {purpose}: SHOW BINLOG EVENTS has an unknown form")));
            };
            last = last.max(end);
            if kind == "Previous_gtids" {
                set.union(&parse(&info)?);
                begins = true;
            } else if kind.starts_with("Gtid") && start < pos {
                // Events behind `pos` are read to the end of the answer, which keeps the connection usable.
                // SET @@SESSION.GTID_NEXT= 'uuid:number'
                let gtid = info.split('\'').nth(1).unwrap_or_default();
                set.union(&parse(gtid)?);
            }
        }
    }
    events.drop_result().await.map_err(failed)?;
    Ok((set, begins && last >= pos))
}
