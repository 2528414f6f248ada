//! Which daemon writes the file for a sink, table `_replicator_writer`.
//!
//! | column | |
//! |---|---|
//! | `sink` | name of the sink, the primary key |
//! | `claim`, `writer` | the last [opening](crate::sink::claim), and whose it is |
//! | `log_id` | of the log that it was opened for |
//!
//! It is written when the sink is opened, and looked at in the transaction of every round: a round is stored by the daemon that opened the
//! file last, or not at all. A file in which there is no such line was written by a version that had none.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use wal::{LogId, Lsn};

use super::{cursor, registry};
use crate::error::Failure;
use crate::sink::TargetState;
use crate::sink::claim::{Claim, Opener, taken};
use crate::sink::epoch::Owner;

/// The claims of a sink: what is in the file, and the one that is to be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// As last seen or written.
    seen: Option<Line>,
    ours: Line,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    claim: Claim,
    log: LogId,
}

/// Creates the table if there is none.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS \"_replicator_writer\" (
           \"sink\" TEXT NOT NULL PRIMARY KEY,
           \"claim\" INTEGER NOT NULL,
           \"writer\" TEXT NOT NULL,
           \"log_id\" TEXT NOT NULL
         ) STRICT, WITHOUT ROWID",
    )
}

/// Opens the file, in this state, for `log`. What belongs to another log is not claimed by looking at it, but by the first round that is
/// written.
pub(super) fn open(
    connection: &Connection,
    sink: &str,
    log: LogId,
    (state, opener): (TargetState, &mut Opener),
) -> rusqlite::Result<Result<Held, Failure>> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let mut held = match next(&transaction, sink, log, (state, opener))? {
        Ok(held) => held,
        Err(failure) => return Ok(Err(failure)),
    };
    if state.is_for(log) {
        held.write(&transaction, sink)?;
        transaction.commit()?;
        held.is_written();
        opener.holds(held.ours.claim);
    }
    Ok(Ok(held))
}

/// Opens the file, in this state, and takes it over: the claim, the cursor at `at`, and the dates of stops are one transaction.
pub(super) fn take_over(
    connection: &Connection,
    sink: &str,
    (owner, at): (Owner, Lsn),
    (state, opener): (TargetState, &mut Opener),
) -> rusqlite::Result<Result<Held, Failure>> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let mut held = match next(&transaction, sink, owner.log, (state, opener))? {
        Ok(held) => held,
        Err(failure) => return Ok(Err(failure)),
    };
    cursor::write(&transaction, sink, owner.log, owner.epoch, at)?;
    registry::date_back_stops(&transaction, sink)?;
    held.write(&transaction, sink)?;
    transaction.commit()?;
    held.is_written();
    opener.holds(held.ours.claim);
    Ok(Ok(held))
}

/// The next claim of a file in this state; not written.
fn next(
    connection: &Connection,
    sink: &str,
    log: LogId,
    (state, opener): (TargetState, &Opener),
) -> rusqlite::Result<Result<Held, Failure>> {
    if cursor::read(connection, sink)?.ok() != Some(state) {
        return Ok(Err(Failure::retry(format!("the target of sink \"{sink}\" was written to while it was opened"))));
    }
    let seen = match read(connection, sink)? {
        Ok(seen) => seen,
        Err(failure) => return Ok(Err(failure)),
    };
    let Some(claim) = opener.next(seen.map(|line| line.claim)) else {
        return Ok(Err(taken(sink, "path", (log, seen.map_or(log, |line| line.log)))));
    };
    Ok(Ok(Held { seen, ours: Line { claim, log } }))
}

impl Held {
    /// Sees to it, inside the transaction of a round, that nobody has opened the file since.
    pub(super) fn check(&self, connection: &Connection, sink: &str) -> rusqlite::Result<Result<(), Failure>> {
        let found = match read(connection, sink)? {
            Ok(found) => found,
            Err(failure) => return Ok(Err(failure)),
        };
        if found.is_none() && self.seen.is_some() {
            return Ok(Err(Failure::fatal(format!(
                "the line of sink \"{sink}\" in \"_replicator_writer\" is gone from its target"
            ))
            .hint("somebody deleted it: start again")));
        }
        if found != self.seen {
            return Ok(Err(taken(sink, "path", (self.ours.log, found.map_or(self.ours.log, |line| line.log)))));
        }
        if found != Some(self.ours) {
            self.write(connection, sink)?;
        }
        Ok(Ok(()))
    }

    /// The transaction of the check, or of the opening, is committed.
    pub(super) fn is_written(&mut self) {
        self.seen = Some(self.ours);
    }

    fn write(&self, connection: &Connection, sink: &str) -> rusqlite::Result<()> {
        let Line { claim: Claim { number, writer }, log } = self.ours;
        let number = i64::try_from(number).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        let sql = "INSERT OR REPLACE INTO \"_replicator_writer\" (\"sink\", \"claim\", \"writer\", \"log_id\") VALUES (?1, ?2, ?3, ?4)";
        let values = params![sink, number, writer.to_string(), log.to_string()];
        connection.execute(sql, values).map(|_| ())
    }
}

fn read(connection: &Connection, sink: &str) -> rusqlite::Result<Result<Option<Line>, Failure>> {
    let mut statement = connection
        .prepare_cached("SELECT \"claim\", \"writer\", \"log_id\" FROM \"_replicator_writer\" WHERE \"sink\" = ?1")?;
    let line = statement
        .query_row([sink], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?)))
        .optional()?;
    let Some((number, writer, log)) = line else { return Ok(Ok(None)) };
    let line = || {
        let claim = Claim { number: u64::try_from(number).ok()?, writer: writer.parse().ok()? };
        Some(Line { claim, log: log.parse().ok()? })
    };
    Ok(line().map(Some).ok_or_else(|| {
        Failure::fatal(format!("the writer of sink \"{sink}\" in its target is not readable"))
            .hint("something else changed \"_replicator_writer\": delete the sink's line from it while no daemon runs, and start again")
    }))
}
