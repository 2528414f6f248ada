//! The sink's cursor in the target, table `_replicator_cursors`: how far a log has been applied. It is written after the rows of a
//! round are stored, so it is never ahead of them; rows that are ahead of it are sent again, and their versions make that harmless.
//!
//! It grows with the log, whatever the clock of the server does. It is what tells a restored, emptied or exchanged target from the one that was written to.
//!
//! | column | |
//! |---|---|
//! | `sink`, `epoch`, `writer` | the key: a log that takes the target over begins a new line, and so does a daemon that is started |
//! | `claim` | the number of the [opening](crate::sink::claim) of that writer |
//! | `log` | the log whose rows carry that epoch in their versions; empty: the line is void |
//! | `format` | [`FORMAT`], of all tables of the sinks' own in this database |
//! | `lsn` | the last LSN applied; 0 until the first round is stored |
//! | `written` | when |
//!
//! The line is there before anything else of the sink is: a target without it has no row of this sink.
//!
//! The server has no write that depends on what is there. So a writer writes nothing but its own line, and the line that counts is that
//! of the last claim: what a daemon writes that does not know yet that it is no longer the one moves no cursor but its own. With each write it
//! looks at the last claim, and fails when that is another's.

use wal::{LogId, Lsn};

use super::client::Client;
use super::error::Refused;
use super::names::{CURSORS, literal, quoted};
use crate::codec::version::Epoch;
use crate::error::Failure;
use crate::sink::claim::{Claim, taken};
use crate::sink::epoch::Owner;
use crate::sink::{Lost, TargetState};

/// Format of the tables of the sinks' own. Format 1 had neither an epoch nor this number, format 2 no writers, and no log in the comments
/// of the tables.
/// Format 3 had plain LSNs as the versions of lines, and no epoch in the comments.
pub const FORMAT: u16 = 4;

/// A sink's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Whose rows there are.
    pub(super) owner: Owner,
    /// Under which opening it was written.
    pub(super) claim: Claim,
    /// Up to which LSN.
    pub(super) applied: Lsn,
}

/// What the target has in the place of a sink's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Cursor(Cursor),
    Nothing,
    /// The line that counts is none that this program has written.
    Unreadable,
}

impl Found {
    /// The line, if there is one that can be read.
    pub(super) fn cursor(self) -> Option<Cursor> {
        match self {
            Self::Cursor(cursor) => Some(cursor),
            Self::Nothing | Self::Unreadable => None,
        }
    }
}

/// What the target says to `log`, where it has a line for the sink, or has tables of the sink's: the line was there before them.
pub(super) fn state(found: Found, log: LogId, has_tables: bool) -> TargetState {
    match found {
        Found::Unreadable => TargetState::Lost(Lost::Unreadable),
        Found::Nothing if has_tables => TargetState::Lost(Lost::Gone),
        // A log that has stored nothing leaves nothing to another one. A round of this one may have been cut short.
        Found::Nothing => TargetState::Fresh,
        Found::Cursor(Cursor { owner, applied: Lsn::ZERO, .. }) if owner.log == log || !has_tables => {
            TargetState::Fresh
        }
        Found::Cursor(Cursor { owner: Owner { log, epoch }, applied, .. }) => TargetState::At { log, epoch, applied },
    }
}

/// Creates the table if there is none; refuses one of another format.
pub(super) async fn create(client: &Client, database: &str) -> Result<(), Failure> {
    check_format(client, database).await?;
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {} (sink String, epoch UInt8, writer String, claim UInt64, log String, format UInt16, lsn UInt64, \
         written DateTime64(3, 'UTC') DEFAULT now64(3)) ENGINE = ReplacingMergeTree(lsn) ORDER BY (sink, epoch, writer) \
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
            "create an empty database, set the sink's `database` to it, run `replicator sink reset NAME` for each sink that writes to it, and \
             start again: every table is copied into it; drop the old database when nothing reads it any more",
        )),
    }
}

/// A line as it is stored: log, epoch, LSN, claim, writer.
type Line = (String, u64, u64, u64, String);

/// The sink's line, if there is one. Of two logs, and of two writers, the later one counts. One without a log is [void].
pub(super) async fn read(client: &Client, sink: &str) -> Result<Found, Failure> {
    let sql = format!(
        "SELECT log, epoch, lsn, claim, writer FROM {} FINAL WHERE sink = {} AND log != '' ORDER BY epoch DESC, claim DESC, writer DESC LIMIT 1",
        quoted(CURSORS),
        literal(sink)
    );
    let rows: Vec<Line> = client.rows(&sql).await.map_err(|error| error.failure("read the sink's cursor"))?;
    Ok(rows.first().map_or(Found::Nothing, |line| cursor_of(line).map_or(Found::Unreadable, Found::Cursor)))
}

fn cursor_of((log, epoch, lsn, number, writer): &Line) -> Option<Cursor> {
    let (log, epoch, writer) = (log.parse::<LogId>().ok()?, Epoch::new(*epoch)?, writer.parse().ok()?);
    Some(Cursor { owner: Owner { log, epoch }, claim: Claim { number: *number, writer }, applied: Lsn::new(*lsn) })
}

/// Voids the lines that cannot be read: a line of the same key without a log takes the place of each. The user of the sink need not be
/// allowed to delete.
pub(super) async fn void(client: &Client, sink: &str) -> Result<(), Failure> {
    let sql = format!(
        "SELECT log, epoch, lsn, claim, writer FROM {} FINAL WHERE sink = {} AND log != ''",
        quoted(CURSORS),
        literal(sink)
    );
    let lines: Vec<Line> = client.rows(&sql).await.map_err(|error| error.failure("read the sink's cursors"))?;
    for (_, epoch, _, _, writer) in lines.iter().filter(|line| cursor_of(line).is_none()) {
        let row = serde_json::json!({
            "sink": sink, "epoch": epoch, "writer": writer, "claim": 0, "log": "", "format": FORMAT, "lsn": u64::MAX
        });
        append(client, &row).await.map_err(|error| error.failure("void a line of the sink's cursors"))?;
    }
    Ok(())
}

/// Claims the target for this opening: from then on the line of no earlier one counts.
///
/// # Errors
/// Fatal, when another daemon claims it at the same moment and counts.
pub(super) async fn claim(client: &Client, sink: &str, cursor: Cursor) -> Result<(), Failure> {
    write(client, sink, cursor).await.map_err(|error| error.failure("write the sink's first cursor"))?;
    still_ours(sink, cursor, read(client, sink).await?)
}

/// Says that everything up to `applied` is stored.
///
/// # Errors
/// Fatal, when another daemon has claimed the target since.
pub(super) async fn advance(client: &Client, sink: &str, cursor: Cursor) -> Result<(), Failure> {
    let (written, found) = tokio::join!(write(client, sink, cursor), read(client, sink));
    still_ours(sink, cursor, found?)?;
    written.map_err(|error| error.failure("write the sink's cursor"))
}

fn still_ours(sink: &str, ours: Cursor, found: Found) -> Result<(), Failure> {
    match found.cursor() {
        Some(found) if (found.owner.epoch, found.claim) > (ours.owner.epoch, ours.claim) => {
            Err(taken(sink, "database", (ours.owner.log, found.owner.log)))
        }
        _ => Ok(()),
    }
}

/// Writes the line of a writer.
async fn write(client: &Client, sink: &str, cursor: Cursor) -> Result<(), Refused> {
    let Cursor { owner: Owner { log, epoch }, claim: Claim { number, writer }, applied } = cursor;
    let row = serde_json::json!({
        "sink": sink, "epoch": epoch.number(), "writer": writer.to_string(), "claim": number, "log": log.to_string(),
        "format": FORMAT, "lsn": applied.raw()
    });
    append(client, &row).await
}

async fn append(client: &Client, row: &serde_json::Value) -> Result<(), Refused> {
    let sql =
        format!("INSERT INTO {} (sink, epoch, writer, claim, log, format, lsn) FORMAT JSONEachRow", quoted(CURSORS));
    client.insert(&sql, row.to_string().into_bytes()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::claim::Opener;

    const OURS: LogId = LogId::new(7);

    fn cursor(log: LogId, applied: u64) -> Cursor {
        let claim = Opener::new().next(None).unwrap();
        Cursor { owner: Owner { log, epoch: Epoch::FIRST }, claim, applied: Lsn::new(applied) }
    }

    #[test]
    fn a_target_is_fresh_until_the_first_round_of_this_log_is_stored() {
        let state = |found, has_tables| state(found, OURS, has_tables);
        let of = |applied| Found::Cursor(cursor(OURS, applied));
        assert_eq!(state(Found::Nothing, false), TargetState::Fresh);
        assert_eq!(state(of(0), false), TargetState::Fresh);
        assert_eq!(state(of(0), true), TargetState::Fresh, "killed in its first round");
        let at = TargetState::At { log: OURS, epoch: Epoch::FIRST, applied: Lsn::new(1) };
        assert_eq!(state(of(1), true), at);
    }

    #[test]
    fn a_target_belongs_to_another_log_once_that_has_made_a_table() {
        let other = LogId::new(8);
        assert_eq!(state(Found::Cursor(cursor(other, 0)), OURS, false), TargetState::Fresh);
        for applied in [0, 3] {
            let at = TargetState::At { log: other, epoch: Epoch::FIRST, applied: Lsn::new(applied) };
            assert_eq!(state(Found::Cursor(cursor(other, applied)), OURS, true), at);
        }
        assert_eq!(state(Found::Nothing, OURS, true), TargetState::Lost(Lost::Gone));
        assert_eq!(state(Found::Unreadable, OURS, true), TargetState::Lost(Lost::Unreadable));
    }

    #[test]
    fn the_line_of_a_later_epoch_or_claim_is_refused_and_an_earlier_one_is_not() {
        let ours = cursor(OURS, 5);
        let later = |epoch, number| {
            let claim = Claim { number, ..cursor(OURS, 0).claim };
            Found::Cursor(Cursor { owner: Owner { log: OURS, epoch }, claim, applied: Lsn::ZERO })
        };
        let second = Epoch::FIRST.next().unwrap();
        assert!(still_ours("ch", ours, Found::Nothing).is_ok() && still_ours("ch", ours, Found::Cursor(ours)).is_ok());
        assert!(still_ours("ch", ours, later(Epoch::FIRST, 0)).is_ok());
        assert!(still_ours("ch", ours, later(Epoch::FIRST, 2)).is_err());
        assert!(still_ours("ch", ours, later(second, 0)).is_err());
    }
}
