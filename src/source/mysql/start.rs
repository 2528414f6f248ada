//! Where the dump starts: a stored position or a startup mode, checked against the server that is there now.
//!
//! A position is only good on the server it was read from, or, by its GTIDs, on a server that has executed all of them and
//! still has everything after them. Whatever else is found - purged files, a reset or restored server, another server -
//! stops with what happened and the way out. Nothing here ever starts from "now" instead: an operator says so, and gets
//! [`current`].
//!
//! | server | position is used by |
//! |---|---|
//! | MySQL, the same server, in a file that was read there | file and offset |
//! | MySQL otherwise, `gtid_mode=ON` | executed GTID set, with its gaps and tags |
//! | MySQL otherwise, other modes | file and offset; the same server only |
//! | MariaDB, the same server | file and offset |
//! | MariaDB, another server, or a position given as GTIDs | GTID list |
//!
//! A position used by file and offset is checked once more by the decoder: the file's creation time, which only the
//! stream tells, must be the one stored. That is why the same server is asked by file wherever it can be: binlogs that were
//! reset and have grown again may have every GTID that was read, for other transactions. It also makes the stream independent
//! of changes of `gtid_mode`. A position that no stream has confirmed is used by GTIDs first: a transaction that committed
//! while it was asked for can be in front of the offset and not in the set.

use mysql_async::Conn;

use super::gtid::{GtidList, GtidSet, GtidTextError};
use super::places::{self, BinlogFile};
use super::server::{Flavour, GtidMode, ServerInfo};
use crate::config::{SpecificStart, Startup};
use crate::error::{Failure, Unusable};
use crate::model::{ServerIdentity, SourcePosition};

/// How the dump is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DumpBy {
    /// By file and offset.
    FilePos {
        /// MariaDB needs to be told that the reader knows GTIDs.
        mariadb: bool,
    },
    /// Everything that is not in this set.
    MySqlGtid(GtidSet),
    /// Everything behind this list.
    MariaDbGtid(GtidList),
}

/// A checked start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartPoint {
    /// What is in the log, or counts as read. Its file is empty when only GTIDs are known.
    pub position: SourcePosition,
    /// How the dump is asked for.
    pub by: DumpBy,
}

/// The way out where the log's position is of no use any more.
pub const RESYNC: &str =
    "`replicator start --resync` continues at the source's current position and reads every table again";

/// The start of the stream: `stored` if the log has a position, else what the startup mode says.
///
/// # Errors
/// A fatal [`Failure`] when the position cannot be used on this server; a classified one when the server cannot be asked.
pub async fn resolve(
    connection: &mut Conn,
    server: &ServerInfo,
    stored: Option<&SourcePosition>,
    startup: &Startup,
) -> Result<StartPoint, Failure> {
    if let Some(stored) = stored {
        return resume(connection, server, stored).await;
    }
    match startup {
        Startup::Initial | Startup::Latest => current(connection, server).await,
        Startup::Specific(SpecificStart::Gtid(text)) => specific_gtid(connection, server, text).await,
        Startup::Specific(SpecificStart::FilePos { file, pos }) => specific_file(connection, server, file, *pos).await,
    }
}

/// The start at the server's current position.
///
/// # Errors
/// A classified [`Failure`].
pub async fn current(connection: &mut Conn, server: &ServerInfo) -> Result<StartPoint, Failure> {
    let position = places::current_position(connection, server).await?;
    let by = match server.flavour {
        Flavour::MariaDb => DumpBy::FilePos { mariadb: true },
        Flavour::MySql => {
            let set = parse_set(&position.gtid)?;
            // An empty set means that nothing has a GTID yet; transactions without one cannot be asked for by set.
            if server.gtid_mode == GtidMode::On && !set.is_empty() {
                DumpBy::MySqlGtid(set)
            } else {
                DumpBy::FilePos { mariadb: false }
            }
        }
    };
    Ok(StartPoint { position, by })
}

fn parse_set(text: &str) -> Result<GtidSet, Failure> {
    GtidSet::parse(text).map_err(not_gtids)
}

fn parse_list(text: &str) -> Result<GtidList, Failure> {
    GtidList::parse(text).map_err(not_gtids)
}

fn not_gtids(error: GtidTextError) -> Failure {
    Failure::fatal("the position's GTIDs are not readable").hint("check source.specific.gtid").caused_by(error)
}

async fn resume(connection: &mut Conn, server: &ServerInfo, stored: &SourcePosition) -> Result<StartPoint, Failure> {
    match (&stored.server, &server.identity) {
        (ServerIdentity::MySql { server_uuid: before }, ServerIdentity::MySql { server_uuid: now }) => {
            resume_mysql(connection, server, stored, before == now).await
        }
        (before @ ServerIdentity::MariaDb { .. }, now @ ServerIdentity::MariaDb { .. }) => {
            resume_mariadb(connection, server, stored, before == now).await
        }
        (before, now) => Err(Failure::fatal(format!("the log was read from {before}, the source is {now}"))
            .unusable(Unusable::Otherwise)
            .hint(format!("positions of MySQL and MariaDB mean nothing to each other; {RESYNC}"))),
    }
}

async fn resume_mysql(
    connection: &mut Conn,
    server: &ServerInfo,
    stored: &SourcePosition,
    same_server: bool,
) -> Result<StartPoint, Failure> {
    let ours = parse_set(&stored.gtid)?;
    let executed = parse_set(&places::executed(connection).await?)?;
    let lost = ours.subtract(&executed);
    if !lost.is_empty() {
        return Err(lacks_ours(server, stored, same_server, &lost.to_string()));
    }
    // Without any GTID of ours there is nothing to ask by: the server got its GTIDs after our position.
    let by_gtid = server.gtid_mode == GtidMode::On && !ours.is_empty();
    if !by_gtid && !same_server {
        return Err(Failure::fatal(format!(
            "the source is {}, the log was read from {}, and without GTIDs its position means nothing there",
            server.identity, stored.server
        ))
        .unusable(Unusable::Otherwise)
        .hint(format!("point source.url at the server the log was read from; or, {RESYNC}")));
    }
    let purged = if by_gtid { parse_set(&places::purged(connection).await?)? } else { GtidSet::default() };
    // What is purged is in no file: nothing that was read is left in one. Its GTIDs count, also after a reset that declared
    // them.
    if by_gtid && (!same_server || stored.file_created == 0 || ours.is_subset(&purged)) {
        require_not_purged(&purged, &ours)?;
        let in_its_file = same_server && stored.file_created == 0;
        let position = if in_its_file { stored.clone() } else { elsewhere(server, stored) };
        return Ok(StartPoint { position, by: DumpBy::MySqlGtid(ours) });
    }
    let files = places::binlog_files(connection).await?;
    match by_file(&files, stored) {
        Ok(position) => Ok(StartPoint { position, by: DumpBy::FilePos { mariadb: false } }),
        Err(_) if by_gtid && is_too_far(&files, stored) => {
            require_not_purged(&purged, &ours)?;
            Ok(StartPoint { position: stored.clone(), by: DumpBy::MySqlGtid(ours) })
        }
        Err(failure) => Err(failure),
    }
}

/// Whether the file holds the position, at an offset that the dump cannot be asked for.
fn is_too_far(files: &[BinlogFile], stored: &SourcePosition) -> bool {
    let holds = |file: &BinlogFile| file.name == stored.file && stored.pos <= file.size;
    u32::try_from(stored.pos).is_err() && files.iter().any(holds)
}

async fn resume_mariadb(
    connection: &mut Conn,
    server: &ServerInfo,
    stored: &SourcePosition,
    same_server: bool,
) -> Result<StartPoint, Failure> {
    let ours = parse_list(&stored.gtid)?;
    let end = parse_list(&places::binlog_gtids(connection).await?)?;
    if let Some(domain) = ours.first_domain_ahead_of(&end)
        && !has_out_of_order(connection, stored, same_server, &ours).await?
    {
        return Err(lacks_ours(
            server,
            stored,
            same_server,
            &format!("domain {domain}: the log is at {ours}, the source at {end}"),
        ));
    }
    let by_gtid = |position: SourcePosition| StartPoint { position, by: DumpBy::MariaDbGtid(ours.clone()) };
    if !same_server {
        if ours.is_empty() {
            return Err(Failure::fatal(format!(
                "the source is {}, the log was read from {} and has no GTIDs",
                server.identity, stored.server
            ))
            .unusable(Unusable::Otherwise)
            .hint(format!("point source.url at the server the log was read from; or, {RESYNC}")));
        }
        let files = places::binlog_files(connection).await?;
        // Numbers that are as high do not say that another server has the same transactions.
        require_begin(connection, &files, &ours, Unusable::Otherwise).await?;
        return Ok(by_gtid(elsewhere(server, stored)));
    }
    if stored.file.is_empty() {
        return Ok(by_gtid(stored.clone()));
    }
    let files = places::binlog_files(connection).await?;
    let position = match by_file(&files, stored) {
        Ok(position) => position,
        // The server may still know where the GTIDs after ours begin.
        Err(_) if is_purged(&files, &stored.file) && !ours.is_empty() => {
            require_begin(connection, &files, &ours, Unusable::Purged).await?;
            return Ok(by_gtid(elsewhere(server, stored)));
        }
        Err(error) => return Err(error),
    };
    if u32::try_from(position.pos).is_err() && !ours.is_empty() {
        return Ok(by_gtid(elsewhere(server, stored)));
    }
    if is_the_end(connection, server, &position, (&end, &ours)).await? {
        return Ok(StartPoint { position, by: DumpBy::FilePos { mariadb: true } });
    }
    let there = places::gtid_at(connection, &position.file, position.pos).await?.unwrap_or_default();
    let there = parse_list(&there)?;
    if there != ours {
        // After a move to this server by GTIDs, a domain can be ahead of the file's offset; with one domain it cannot.
        if ours.domains() > 1 && there.first_domain_ahead_of(&ours).is_none() {
            return Ok(by_gtid(elsewhere(server, stored)));
        }
        return Err(Failure::fatal(format!(
            "the source has GTIDs \"{there}\" at {}:{}, the log has \"{ours}\": its binlogs were reset, or the server was restored",
            position.file, position.pos
        ))
        .unusable(Unusable::Otherwise)
        .hint(RESYNC));
    }
    Ok(StartPoint { position, by: DumpBy::FilePos { mariadb: true } })
}

/// MariaDB: whether the source has GTIDs of ours whose sequences are ahead of its end. Without `gtid_strict_mode` a domain may go back in
/// its sequence, so the end alone does not say what came before it. What each server has written to the domain does, and, where one
/// server went back in its own, what the binlog says of the place up to which it was read.
async fn has_out_of_order(
    connection: &mut Conn,
    stored: &SourcePosition,
    same_server: bool,
    ours: &GtidList,
) -> Result<bool, Failure> {
    if ours.is_in_binlog(&places::binlog_state(connection).await?).map_err(not_gtids)? {
        return Ok(true);
    }
    if !same_server || by_file(&places::binlog_files(connection).await?, stored).is_err() {
        return Ok(false);
    }
    let there = places::gtid_at(connection, &stored.file, stored.pos).await?.unwrap_or_default();
    Ok(parse_list(&there)? == *ours)
}

/// MariaDB: refuses where the oldest file begins after the log's GTIDs. The dump would be refused there, too.
async fn require_begin(
    connection: &mut Conn,
    files: &[BinlogFile],
    ours: &GtidList,
    unusable: Unusable,
) -> Result<(), Failure> {
    /// Every binlog file starts with a magic of 4 bytes.
    const FIRST_EVENT: u64 = 4;
    let Some(first) = files.first() else { return Ok(()) };
    let begin = places::gtid_at(connection, &first.name, FIRST_EVENT).await?.unwrap_or_default();
    let begin = parse_list(&begin)?;
    if begin.first_domain_ahead_of(ours).is_none() {
        return Ok(());
    }
    Err(Failure::fatal(format!(
        "the source has purged binlogs with transactions that the log has not read: its oldest file {} begins at GTIDs \"{begin}\", and the log \
         has read up to \"{ours}\"",
        first.name
    ))
    .unusable(unusable)
    .hint(format!("keep binlogs longer (binlog_expire_logs_seconds); {RESYNC}")))
}

/// Whether the binlog ends at the position, with our GTIDs. The server tells the GTIDs of an end at once; for those of another
/// position it reads the file up to there.
async fn is_the_end(
    connection: &mut Conn,
    server: &ServerInfo,
    position: &SourcePosition,
    (before, ours): (&GtidList, &GtidList),
) -> Result<bool, Failure> {
    if before != ours {
        return Ok(false);
    }
    let end = places::binlog_end(connection, server).await?;
    // The same before and after the end was read, so they are the end's.
    let after = places::binlog_gtids(connection).await?;
    Ok(end.file == position.file && end.pos == position.pos && parse_list(&after)? == *ours)
}

/// The stored GTIDs on another server: its files are not ours.
fn elsewhere(server: &ServerInfo, stored: &SourcePosition) -> SourcePosition {
    SourcePosition {
        server: server.identity.clone(),
        file: String::new(),
        pos: 0,
        file_created: 0,
        gtid: stored.gtid.clone(),
    }
}

fn lacks_ours(server: &ServerInfo, stored: &SourcePosition, same_server: bool, what: &str) -> Failure {
    if same_server {
        Failure::fatal(format!(
            "the source lacks transactions that the log has read from it ({what}): its binlogs were reset, or it was restored from a backup"
        ))
        .unusable(Unusable::Otherwise)
        .hint(format!("what the log has is not what the source has; {RESYNC}"))
    } else {
        Failure::fatal(format!(
            "the source {} lacks transactions that the log has read from {} ({what})",
            server.identity, stored.server
        ))
        .unusable(Unusable::Otherwise)
        .hint(format!("let this server catch up with the other one before it becomes the source; or, {RESYNC}"))
    }
}

fn require_not_purged(purged: &GtidSet, ours: &GtidSet) -> Result<(), Failure> {
    let missing = purged.subtract(ours);
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::fatal(format!("the source has purged binlogs with transactions that the log has not read: {missing}"))
        .unusable(Unusable::Purged)
        .hint(format!("keep binlogs longer (SET PERSIST binlog_expire_logs_seconds = ...); {RESYNC}")))
}

/// Whether the file is older than all that are left.
fn is_purged(files: &[BinlogFile], file: &str) -> bool {
    let number = |name: &str| name.rsplit_once('.').and_then(|(_, number)| number.parse::<u64>().ok());
    match (files.first().and_then(|first| number(&first.name)), number(file)) {
        (Some(first), Some(ours)) => ours < first,
        _ => false,
    }
}

/// The position, where the server has its file, and has that much of it.
fn by_file(files: &[BinlogFile], stored: &SourcePosition) -> Result<SourcePosition, Failure> {
    let SourcePosition { file, pos, .. } = stored;
    let Some(at) = files.iter().position(|known| known.name == *file) else {
        let listed = match (files.first(), files.last()) {
            (Some(first), Some(last)) => format!("it has {} to {}", first.name, last.name),
            _ => "it has none".to_owned(),
        };
        let failure = Failure::fatal(format!("the source no longer has binlog file \"{file}\"; {listed}"));
        return Err(if is_purged(files, file) {
            failure
                .unusable(Unusable::Purged)
                .hint(format!("it was purged; keep binlogs longer (binlog_expire_logs_seconds); {RESYNC}"))
        } else {
            failure
                .unusable(Unusable::Otherwise)
                .hint(format!("its binlogs were reset, or the server was restored or replaced; {RESYNC}"))
        });
    };
    let size = files.get(at).map_or(0, |known| known.size);
    if *pos > size {
        return Err(Failure::fatal(format!("binlog file \"{file}\" has {size} bytes, the log has read {pos}"))
            .unusable(Unusable::Otherwise)
            .hint(format!("its binlogs were reset, or the server was restored or lost data in a crash; {RESYNC}")));
    }
    // The dump command has 32 bits for the offset. A file is that long only if its last transaction made it so.
    if u32::try_from(*pos).is_err() {
        const ROTATE_AND_STOP: u64 = 512;
        return match files.get(at + 1) {
            Some(next) if size - pos <= ROTATE_AND_STOP => {
                Ok(SourcePosition { file: next.name.clone(), pos: 4, file_created: 0, ..stored.clone() })
            }
            _ => Err(Failure::fatal(format!(
                "offset {pos} in \"{file}\" is beyond 4 GiB, which the dump cannot be asked for"
            ))
            .hint("run FLUSH BINARY LOGS on the source; or turn GTIDs on")),
        };
    }
    Ok(stored.clone())
}

/// A position that was never read from has nothing that could be resynced.
fn no_such_start(failure: Failure) -> Failure {
    let failure = failure.hint("check source.specific against SHOW BINARY LOGS and @@GLOBAL.gtid_purged: the source has to have what follows it");
    Failure { unusable: None, ..failure }
}

async fn specific_gtid(connection: &mut Conn, server: &ServerInfo, text: &str) -> Result<StartPoint, Failure> {
    let mut position = SourcePosition {
        server: server.identity.clone(),
        file: String::new(),
        pos: 0,
        file_created: 0,
        gtid: String::new(),
    };
    match server.flavour {
        Flavour::MariaDb => {
            let list = parse_list(text)?;
            position.gtid = list.to_string();
            Ok(StartPoint { position, by: DumpBy::MariaDbGtid(list) })
        }
        Flavour::MySql => {
            if server.gtid_mode != GtidMode::On {
                return Err(Failure::fatal("source.specific.gtid needs gtid_mode=ON on the source")
                    .hint("give source.specific.file and source.specific.pos"));
            }
            let set = parse_set(text)?;
            let executed = parse_set(&places::executed(connection).await?)?;
            let unknown = set.subtract(&executed);
            if !unknown.is_empty() {
                return Err(Failure::fatal(format!("the source has not executed {unknown}"))
                    .hint("check source.specific.gtid against SELECT @@GLOBAL.gtid_executed"));
            }
            require_not_purged(&parse_set(&places::purged(connection).await?)?, &set).map_err(no_such_start)?;
            position.gtid = set.to_string();
            Ok(StartPoint { position, by: DumpBy::MySqlGtid(set) })
        }
    }
}

async fn specific_file(
    connection: &mut Conn,
    server: &ServerInfo,
    file: &str,
    pos: u64,
) -> Result<StartPoint, Failure> {
    // The first event of a file stands behind four bytes that say what the file is.
    let asked = SourcePosition {
        server: server.identity.clone(),
        file: file.to_owned(),
        pos: pos.max(4),
        file_created: 0,
        gtid: String::new(),
    };
    let files = places::binlog_files(connection).await?;
    let mut position = by_file(&files, &asked).map_err(no_such_start)?;
    let mariadb = server.flavour == Flavour::MariaDb;
    position.gtid = if mariadb {
        places::gtid_at(connection, &position.file, position.pos).await?.unwrap_or_default()
    } else {
        places::executed_before(connection, &position.file, position.pos).await?.to_string()
    };
    Ok(StartPoint { position, by: DumpBy::FilePos { mariadb } })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> Vec<BinlogFile> {
        let file = |number: u32, size| BinlogFile { name: format!("binlog.{number:06}"), size };
        vec![file(5, 1000), file(6, (5 << 30) + 40), file(7, 300)]
    }

    fn at(file: &str, pos: u64) -> SourcePosition {
        SourcePosition {
            server: ServerIdentity::MySql { server_uuid: "u".into() },
            file: file.into(),
            pos,
            file_created: 9,
            gtid: String::new(),
        }
    }

    #[test]
    fn a_position_is_used_only_where_its_file_is_there_and_long_enough() {
        assert_eq!(by_file(&files(), &at("binlog.000005", 1000)).unwrap(), at("binlog.000005", 1000));
        for (file, pos, part) in [
            ("binlog.000004", 100, "it was purged"),
            ("binlog.000008", 100, "reset"),
            ("other.000005", 100, "reset"),
            ("binlog.000007", 301, "reset"),
        ] {
            let failure = by_file(&files(), &at(file, pos)).unwrap_err();
            assert!(failure.hint.as_deref().unwrap().contains(part), "{file}:{pos}: {:?}", failure.hint);
            assert!(failure.message.contains(file));
        }
    }

    #[test]
    fn an_offset_that_the_dump_cannot_be_asked_for_goes_on_in_the_next_file_if_nothing_lies_between() {
        let next = SourcePosition { file_created: 0, ..at("binlog.000007", 4) };
        assert_eq!(by_file(&files(), &at("binlog.000006", 5 << 30)).unwrap(), next);
        assert!(by_file(&files(), &at("binlog.000006", (5 << 30) - 4000)).is_err());
    }
}
