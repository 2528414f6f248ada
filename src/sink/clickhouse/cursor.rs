//! The sink's cursor in the target, table `_replicator_cursors`: how far a log has been applied. It is written after the rows of a
//! round are stored, so it is never ahead of them; rows that are ahead of it are sent again, and their versions make that harmless.
//!
//! It grows with the log, whatever the clock of the server does. It is what tells a restored, emptied or exchanged target from the one that was written to.
//!
//! | column | |
//! |---|---|
//! | `sink`, `epoch` | the key: a log that takes the target over begins a new line |
//! | `log` | the log whose rows carry that epoch in their versions |
//! | `format` | [`FORMAT`], of all tables of the sinks' own in this database |
//! | `lsn` | the last LSN applied; 0 until the first round is stored |
//! | `written` | when |
//!
//! The line is there before anything else of the sink is: a target without it has no row of this sink.

use wal::{LogId, Lsn};

use super::client::Client;
use super::epoch::Owner;
use super::error::Refused;
use super::names::{CURSORS, literal, quoted};
use crate::codec::version::Epoch;
use crate::error::Failure;
use crate::sink::TargetState;

/// Format of the tables of the sinks' own. Format 1 had neither an epoch nor this number.
pub const FORMAT: u16 = 2;

/// A sink's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Whose rows there are.
    pub(super) owner: Owner,
    /// Up to which LSN.
    pub(super) applied: Lsn,
}

/// What the target says to `log`, where it has a line for the sink, or has tables of the sink's.
///
/// # Errors
/// When there are tables without a line, which was there before them.
pub(super) fn state(sink: &str, cursor: Option<Cursor>, log: LogId, has_tables: bool) -> Result<TargetState, Failure> {
    match cursor {
        None if has_tables => Err(Failure::fatal(format!(
            "the target of sink '{sink}' has tables of the sink, but no cursor in \"{CURSORS}\": it was emptied in part"
        ))
        .hint("restore the target, or give the sink a new name and a new, empty database: it then starts afresh, with a new snapshot")),
        // A log that has stored nothing leaves nothing to another one. A round of this one may have been cut short.
        None => Ok(TargetState::Fresh),
        Some(Cursor { owner, applied: Lsn::ZERO }) if owner.log == log || !has_tables => Ok(TargetState::Fresh),
        Some(Cursor { owner: Owner { log, epoch }, applied }) => Ok(TargetState::At { log, epoch, applied }),
    }
}

/// Creates the table if there is none; refuses one of another format.
pub(super) async fn create(client: &Client, database: &str) -> Result<(), Failure> {
    check_format(client, database).await?;
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {} (sink String, epoch UInt8, log String, format UInt16, lsn UInt64, \
         written DateTime64(3, 'UTC') DEFAULT now64(3)) ENGINE = ReplacingMergeTree(lsn) ORDER BY (sink, epoch) \
         SETTINGS fsync_after_insert = 1, fsync_part_directory = 1",
        quoted(CURSORS)
    );
    client.execute(&sql, false).await.map_err(|error| error.failure("make the sink's own tables"))
}

/// Refuses tables that another version of this program has made. It changes nothing.
pub(super) async fn check_format(client: &Client, database: &str) -> Result<(), Failure> {
    let failed = |error: Refused| error.failure("read the format of the sink's own tables");
    let sql = format!(
        "SELECT count(), countIf(name = 'format') FROM system.columns WHERE database = {} AND table = {}",
        literal(database),
        literal(CURSORS)
    );
    let columns: Vec<(u64, u64)> = client.rows(&sql).await.map_err(failed)?;
    let other = match columns.first() {
        None | Some((0, _)) => return Ok(()),
        Some((_, 0)) => Some(1),
        Some(_) => {
            let sql = format!("SELECT max(format) FROM {} WHERE format != {FORMAT}", quoted(CURSORS));
            let formats: Vec<(u16,)> = client.rows(&sql).await.map_err(failed)?;
            formats.first().map(|(format,)| *format).filter(|format| *format > 0)
        }
    };
    match other {
        None => Ok(()),
        Some(format) => Err(Failure::fatal(format!(
            "the tables that replicator made in database \"{database}\" are of format {format}, this version writes format {FORMAT}"
        ))
        .hint(
            "create an empty database, set the sink's `database` to it and start again: every table is copied into it; \
             drop the old database when nothing reads it any more",
        )),
    }
}

/// The sink's line, if there is one. Of two logs the later one counts.
pub(super) async fn read(client: &Client, sink: &str) -> Result<Option<Cursor>, Failure> {
    let sql = format!(
        "SELECT log, epoch, lsn FROM {} FINAL WHERE sink = {} ORDER BY epoch DESC LIMIT 1",
        quoted(CURSORS),
        literal(sink)
    );
    let rows: Vec<(String, u64, u64)> =
        client.rows(&sql).await.map_err(|error| error.failure("read the sink's cursor"))?;
    let Some((log, epoch, lsn)) = rows.into_iter().next() else { return Ok(None) };
    let (Ok(log), Some(epoch)) = (log.parse::<LogId>(), Epoch::new(epoch)) else {
        return Err(Failure::fatal(format!("the cursor of sink '{sink}' in \"{CURSORS}\" names no log and epoch"))
            .hint("restore the target, or give the sink a new name: it then starts afresh, with a new snapshot"));
    };
    Ok(Some(Cursor { owner: Owner { log, epoch }, applied: Lsn::new(lsn) }))
}

/// Says that everything up to `applied` is stored.
pub(super) async fn write(client: &Client, sink: &str, cursor: Cursor) -> Result<(), Refused> {
    let Cursor { owner: Owner { log, epoch }, applied } = cursor;
    let row = serde_json::json!({
        "sink": sink, "epoch": epoch.number(), "log": log.to_string(), "format": FORMAT, "lsn": applied.raw()
    });
    let sql = format!("INSERT INTO {} (sink, epoch, log, format, lsn) FORMAT JSONEachRow", quoted(CURSORS));
    client.insert(&sql, row.to_string().into_bytes()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: LogId = LogId::new(7);

    fn cursor(log: LogId, applied: u64) -> Cursor {
        Cursor { owner: Owner { log, epoch: Epoch::FIRST }, applied: Lsn::new(applied) }
    }

    #[test]
    fn a_target_is_fresh_until_the_first_round_of_this_log_is_stored() {
        let state = |cursor, has_tables| state("ch", cursor, OURS, has_tables).unwrap();
        assert_eq!(state(None, false), TargetState::Fresh);
        assert_eq!(state(Some(cursor(OURS, 0)), false), TargetState::Fresh);
        assert_eq!(state(Some(cursor(OURS, 0)), true), TargetState::Fresh, "killed in its first round");
        let at = TargetState::At { log: OURS, epoch: Epoch::FIRST, applied: Lsn::new(1) };
        assert_eq!(state(Some(cursor(OURS, 1)), true), at);
    }

    #[test]
    fn a_target_belongs_to_another_log_once_that_has_made_a_table() {
        let other = LogId::new(8);
        assert_eq!(state("ch", Some(cursor(other, 0)), OURS, false).unwrap(), TargetState::Fresh);
        for applied in [0, 3] {
            let at = TargetState::At { log: other, epoch: Epoch::FIRST, applied: Lsn::new(applied) };
            assert_eq!(state("ch", Some(cursor(other, applied)), OURS, true).unwrap(), at);
        }
        let emptied = state("ch", None, OURS, true).unwrap_err();
        assert!(emptied.message.contains("emptied in part") && emptied.hint.is_some(), "{emptied}");
    }
}
